//! Where clients connect to, and who else is there.

#![forbid(unsafe_code)]

use std::fs;

use punktfunk_core::net::holder::{self, Holder, Port};

use super::{Finding, Running, Subject};
use crate::code::Code;
use crate::conf::{Conf, GameStream};
use crate::listen::media::{AUDIO_OFFSET, CONTROL_OFFSET, RTSP_OFFSET, VIDEO_OFFSET};

/// Where clients look for a host that names no port.
const USUAL_PORTS: [Port; 7] = [
    Port::Tcp(47_984),
    Port::Tcp(47_989),
    Port::Tcp(47_990),
    Port::Tcp(48_010),
    Port::Udp(47_998),
    Port::Udp(47_999),
    Port::Udp(48_000),
];
/// Other streaming hosts, as their processes are called.
const HOSTS: [&str; 6] = ["apollo", "gamestream", "moonshine", "sunshine", "vibeshine", "wolf"];
/// Processes that are looked at.
const PROCESS_COUNT_MAX: usize = 65_536;

/// The ports that clients have to reach.
pub(super) fn wanted(conf: &Conf) -> Vec<Port> {
    if conf.gamestream == GameStream::Off {
        return Vec::new();
    }
    let base = conf.gamestream_port;
    let tcp = [base - 5, base, base + RTSP_OFFSET].map(Port::Tcp);
    let udp = [VIDEO_OFFSET, CONTROL_OFFSET, AUDIO_OFFSET].map(|offset| Port::Udp(base + offset));
    [tcp, udp].concat()
}

/// What a running daemon listens on: everything that it should, or it would not run.
pub(super) fn check(subject: &Subject, running: &Running) -> Vec<Finding> {
    let listen: Vec<String> =
        running.listen.iter().map(|(name, address)| format!("{name} {address}")).collect();
    let code = Code::Ports;
    if subject.conf.gamestream == GameStream::Off {
        let what = format_args!("none for clients, as GameStream says; {}", listen.join(", "));
        return vec![Finding::note(code, what)];
    }
    vec![Finding::well(code, listen.join(", "))]
}

/// Whether a daemon that does not run could have its ports.
pub(super) fn check_free(subject: &Subject) -> Vec<Finding> {
    let mut ports = wanted(&subject.conf);
    ports.extend(subject.conf.http.map(|address| Port::Tcp(address.port())));
    let holders = holder::find(&ports);
    let held: Vec<(Port, Holder)> =
        ports.into_iter().zip(holders).filter_map(|(port, it)| Some((port, it?))).collect();
    let code = Code::Ports;
    if held.is_empty() {
        return vec![Finding::well(code, "all are free")];
    }
    let is_daemon = |holder: &Holder| {
        holder.process.as_ref().is_some_and(|process| process.name == "punktfunkd")
    };
    let finding = Finding::broken(code, list(&held));
    vec![match held.iter().all(|(_, holder)| is_daemon(holder)) {
        true => finding.remedy("that daemon runs: give its control socket to punktfunkctl with -s"),
        false => finding.remedy("stop that program, or choose another GameStreamPort"),
    }]
}

/// Each holder once, with its ports.
fn list(held: &[(Port, Holder)]) -> String {
    let mut groups: Vec<(&Holder, Vec<String>)> = Vec::new();
    for (port, holder) in held {
        match groups.iter_mut().find(|(other, _)| *other == holder) {
            Some((_, ports)) => ports.push(port.to_string()),
            None => groups.push((holder, vec![port.to_string()])),
        }
    }
    let words = groups.iter().map(|(holder, ports)| format!("{holder} has {}", ports.join(", ")));
    words.collect::<Vec<_>>().join("; ")
}

/// Whether another streaming host runs, or has the ports that clients try first.
pub(super) fn check_others(subject: &Subject) -> Vec<Finding> {
    let code = Code::OtherHosts;
    let mut known = wanted(&subject.conf);
    known.extend(subject.conf.http.map(|address| Port::Tcp(address.port())));
    let ports: Vec<Port> = USUAL_PORTS.into_iter().filter(|port| !known.contains(port)).collect();
    let holders = holder::find(&ports);
    let held: Vec<(Port, Holder)> =
        ports.into_iter().zip(holders).filter_map(|(port, it)| Some((port, it?))).collect();
    let mut words = Vec::new();
    let hosts = hosts(processes());
    if !hosts.is_empty() {
        words.push(format!("{} runs", hosts.join(", ")));
    }
    if !held.is_empty() {
        words.push(list(&held));
    }
    if words.is_empty() {
        return vec![Finding::well(code, "no other streaming host runs")];
    }
    vec![Finding::note(code, words.join("; ")).remedy(
        "stop it if it is not wanted: clients see both, and the first that starts has the ports",
    )]
}

/// All processes: name and number.
pub(super) fn processes() -> impl Iterator<Item = (String, u32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((fs::read_to_string(entry.path().join("comm")).ok()?, pid))
    });
    processes.take(PROCESS_COUNT_MAX)
}

/// Those that are streaming hosts.
fn hosts(processes: impl Iterator<Item = (String, u32)>) -> Vec<String> {
    let host = |(name, pid): (String, u32)| {
        let name = name.trim_end();
        let is_host = HOSTS.contains(&name.to_ascii_lowercase().as_str());
        is_host.then(|| format!("{name} (pid {pid})"))
    };
    processes.filter_map(host).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::State;
    use super::super::tests::subject;
    use super::*;

    #[test]
    fn ports_that_are_held_are_named_with_their_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // The port of HTTP alone, which may be any.
        let with = |port: u16| {
            let http = format!("Http=127.0.0.1:{port}");
            check_free(&subject(&["GameStream=off", &http])).remove(0)
        };

        let held = with(port);

        assert_eq!(held.state, State::Broken);
        let pid = std::process::id();
        assert!(held.what.contains(&format!("(pid {pid}) has TCP {port}")), "{held:?}");
        assert_eq!(with(1).state, State::Well);
    }

    #[test]
    fn a_holder_is_named_once() {
        let holder =
            |pid| Holder { uid: 7, process: Some(holder::Process { name: "a".into(), pid }) };
        let unknown = Holder { uid: 7, process: None };
        let held = [(Port::Tcp(1), holder(2)), (Port::Udp(3), unknown), (Port::Udp(4), holder(2))];

        assert_eq!(list(&held), "a (pid 2) has TCP 1, UDP 4; a program of uid 7 has UDP 3");
    }

    #[test]
    fn other_hosts_are_known_by_their_names() {
        let processes = [("sunshine\n", 7), ("Wolf\n", 8), ("werewolf\n", 9), ("", 1)];

        let found = hosts(processes.into_iter().map(|(name, pid)| (name.to_owned(), pid)));

        assert_eq!(found, ["sunshine (pid 7)", "Wolf (pid 8)"]);
    }
}
