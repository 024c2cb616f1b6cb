//! Whether the packet filter of this machine lets clients in.
//!
//! Its rules are for root alone to read, which the daemon never is: it says what it knows without
//! them. punktfunkctl that is run by root has [`examine_as_root`] look.

#![forbid(unsafe_code)]

use std::fs;
use std::process::Command;

use punktfunk_core::net::holder::Port;
use punktfunk_core::net::process;
use serde_json::{Value, json};

use super::ruleset::{Passage, Ruleset};
use super::{Finding, PROGRAM_TIME_MAX, SYSTEM_PATH, Subject, line, parse_port, ports};
use crate::child;
use crate::code::Code;
use crate::conf::Conf;

/// Where hosts are announced.
const MDNS: Port = Port::Udp(5353);

/// Something that makes the rules, and wants to be told instead of them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manager {
    Firewalld,
    Ufw,
}

/// Ports that packets of clients come to.
pub(super) fn wanted(conf: &Conf) -> Vec<Port> {
    let mut wanted = ports::wanted(conf);
    if !wanted.is_empty() && conf.mdns {
        wanted.push(MDNS);
    }
    wanted
}

/// Whether clients get through.
pub(super) fn check(subject: &Subject) -> Vec<Finding> {
    let wanted = wanted(&subject.conf);
    if wanted.is_empty() {
        return Vec::new();
    }
    vec![examine(&wanted)]
}

/// What root finds about ports such as `tcp/47989`, with commas in between, as JSON.
pub fn examine_as_root(ports: &str) -> Option<Value> {
    let ports = ports.split(',').map(parse_port).collect::<Option<Vec<Port>>>()?;
    let finding = examine(&ports);
    Some(json!({ "findings": [finding.value()] }))
}

fn examine(wanted: &[Port]) -> Finding {
    let manager = manager();
    if process::uid() != 0 {
        return unread(manager, wanted);
    }
    match read_ruleset() {
        Ok(document) => {
            let allowed = if manager == Some(Manager::Ufw) { ufw_rules() } else { String::new() };
            judge(&document, manager, &allowed, wanted)
        }
        Err(why) => Finding::note(Code::Firewall, format_args!("rules are not known: {why}")),
    }
}

/// What ufw was told, a line each.
fn ufw_rules() -> String {
    let mut command = Command::new("ufw");
    command.args(["show", "added"]).env_clear().env("PATH", SYSTEM_PATH).env("LC_ALL", "C");
    let end = child::run(&mut command, PROGRAM_TIME_MAX).ok().flatten();
    end.map_or_else(String::new, |end| String::from_utf8_lossy(&end.stdout).into_owned())
}

/// Whether a line lets everybody to that port, as in `ufw allow 47984,47989/tcp`.
fn is_allowed(lines: &str, port: Port) -> bool {
    let (wanted, number) = match port {
        Port::Tcp(number) => ("tcp", number),
        Port::Udp(number) => ("udp", number),
    };
    let has = |part: &str| match part.split_once(':') {
        Some((first, last)) => {
            let range = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
            range.is_some_and(|(first, last)| (first..=last).contains(&number))
        }
        None => part.parse() == Ok(number),
    };
    lines.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["ufw", "allow", ports] = words[..] else {
            return false;
        };
        let (ports, transport) = ports.split_once('/').unwrap_or((ports, wanted));
        transport == wanted && ports.split(',').any(has)
    })
}

/// The rules as JSON.
fn read_ruleset() -> Result<Value, String> {
    let mut command = Command::new("nft");
    command.args(["-j", "list", "ruleset"]).env_clear().env("PATH", SYSTEM_PATH).env("LC_ALL", "C");
    let end =
        child::run(&mut command, PROGRAM_TIME_MAX).map_err(|error| format!("nft: {error}"))?;
    let end = end.ok_or("nft does not end")?;
    if !end.status.success() {
        return Err(format!("nft: {}", line(String::from_utf8_lossy(&end.stderr))));
    }
    serde_json::from_slice(&end.stdout).map_err(|error| format!("nft: {error}"))
}

/// What can be said without the rules.
fn unread(manager: Option<Manager>, wanted: &[Port]) -> Finding {
    let code = Code::Firewall;
    match manager {
        Some(manager) => Finding::note(code, format_args!("{} is on", manager.name()))
            .remedy(format_args!("if clients do not get through: {}", manager.command(wanted))),
        None => Finding::note(code, "rules are not known: they are for root to read")
            .remedy("run 'punktfunkctl doctor' as root"),
    }
}

/// `allowed` is what ufw was told, as `ufw show added` prints it.
fn judge(document: &Value, manager: Option<Manager>, allowed: &str, wanted: &[Port]) -> Finding {
    let code = Code::Firewall;
    let Some(ruleset) = Ruleset::parse(document) else {
        return Finding::note(code, "rules are not known: nft prints something else");
    };
    let (mut blocked, mut unsure, mut by) = (Vec::new(), Vec::new(), String::new());
    for port in wanted {
        match ruleset.passage(*port) {
            Passage::Free => {}
            // Several ports in one rule are what nft does not show.
            Passage::Perhaps(_) if is_allowed(allowed, *port) => {}
            Passage::Blocked(chain) => {
                blocked.push(*port);
                by = chain;
            }
            Passage::Perhaps(chain) => {
                unsure.push(*port);
                if blocked.is_empty() {
                    by = chain;
                }
            }
        }
    }
    let command = |ports: &[Port]| match manager {
        Some(manager) => manager.command(ports),
        None => nft_commands(&by, ports),
    };
    if !blocked.is_empty() {
        let what = format_args!("chain {by} keeps clients from {}", list(&blocked));
        return Finding::broken(code, what).remedy(command(&blocked));
    }
    if !unsure.is_empty() {
        let what = format_args!("chain {by} may keep clients from {}", list(&unsure));
        let remedy = format!("if clients do not get through: {}", command(&unsure));
        return Finding::note(code, what).remedy(remedy);
    }
    if has_legacy_rules() {
        return Finding::note(code, "rules of iptables-legacy are not looked at")
            .remedy("if clients do not get through: 'iptables-legacy -L INPUT' shows them");
    }
    Finding::well(code, "rules let clients through")
}

fn list(ports: &[Port]) -> String {
    ports.iter().map(Port::to_string).collect::<Vec<_>>().join(", ")
}

/// The ports of each transport.
fn split(ports: &[Port]) -> [(&'static str, Vec<String>); 2] {
    let of = |choose: fn(Port) -> Option<u16>| {
        ports.iter().copied().filter_map(choose).map(|port| port.to_string()).collect()
    };
    let tcp = of(|port| if let Port::Tcp(port) = port { Some(port) } else { None });
    let udp = of(|port| if let Port::Udp(port) = port { Some(port) } else { None });
    [("tcp", tcp), ("udp", udp)]
}

fn nft_commands(chain: &str, ports: &[Port]) -> String {
    let parts = split(ports).into_iter().filter(|(_, ports)| !ports.is_empty());
    let commands = parts.map(|(transport, ports)| {
        format!("nft insert rule {chain} {transport} dport '{{ {} }}' accept", ports.join(", "))
    });
    commands.collect::<Vec<_>>().join(" && ")
}

impl Manager {
    fn name(self) -> &'static str {
        match self {
            Manager::Firewalld => "firewalld",
            Manager::Ufw => "ufw",
        }
    }

    /// What lets packets to the ports through.
    fn command(self, ports: &[Port]) -> String {
        let parts = split(ports).into_iter().filter(|(_, ports)| !ports.is_empty());
        match self {
            Manager::Firewalld => {
                let words = parts.flat_map(|(transport, ports)| {
                    ports.into_iter().map(move |port| format!(" --add-port={port}/{transport}"))
                });
                let words: String = words.collect();
                format!("firewall-cmd --permanent{words} && firewall-cmd --reload")
            }
            Manager::Ufw => {
                let commands = parts
                    .map(|(transport, ports)| format!("ufw allow {}/{transport}", ports.join(",")));
                commands.collect::<Vec<_>>().join(" && ")
            }
        }
    }
}

/// Whether there are rules that nft does not show.
fn has_legacy_rules() -> bool {
    let tables = fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    tables.lines().any(|table| table == "filter")
}

fn manager() -> Option<Manager> {
    let ufw = fs::read_to_string("/etc/ufw/ufw.conf").unwrap_or_default();
    if is_ufw_on(&ufw) {
        return Some(Manager::Ufw);
    }
    ports::processes().any(|(name, _)| name.trim_end() == "firewalld").then_some(Manager::Firewalld)
}

fn is_ufw_on(conf: &str) -> bool {
    conf.lines().any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes"))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    const PORTS: [Port; 3] = [Port::Tcp(47_984), Port::Tcp(47_989), Port::Udp(47_998)];

    #[test]
    fn a_filter_that_drops_is_named_with_the_command_of_whoever_makes_its_rules() {
        let document = json!({ "nftables": [{ "chain": { "family": "ip", "table": "t",
            "name": "in", "hook": "input", "type": "filter", "policy": "drop" } }] });
        let table = [
            (
                None,
                "nft insert rule ip t in tcp dport '{ 47984, 47989 }' accept && \
                 nft insert rule ip t in udp dport '{ 47998 }' accept",
            ),
            (Some(Manager::Ufw), "ufw allow 47984,47989/tcp && ufw allow 47998/udp"),
            (
                Some(Manager::Firewalld),
                "firewall-cmd --permanent --add-port=47984/tcp --add-port=47989/tcp \
                 --add-port=47998/udp && firewall-cmd --reload",
            ),
        ];
        for (manager, remedy) in table {
            let finding = judge(&document, manager, "", &PORTS);

            assert_eq!(finding.state, State::Broken);
            let what = "chain ip t in keeps clients from TCP 47984, TCP 47989, UDP 47998";
            assert_eq!((finding.what.as_str(), finding.remedy.as_deref()), (what, Some(remedy)));
        }
    }

    #[test]
    fn what_ufw_was_told_to_allow_is_open() {
        let lines = "Added user rules (see 'ufw status' for running firewall):\n\
                     ufw allow 47984,47989/tcp\nufw allow 47998:48000/udp\nufw allow 22\n\
                     ufw deny 80/tcp\nufw allow from 10.0.0.0/8 to any port 81 proto tcp\n\
                     ufw allow 1:2:3/tcp\nufw allow\n\nufw allow x/y/z\n";
        let table = [
            (Port::Tcp(47_984), true),
            (Port::Tcp(47_989), true),
            (Port::Udp(47_989), false),
            (Port::Udp(47_999), true),
            (Port::Udp(48_001), false),
            (Port::Tcp(22), true),
            (Port::Udp(22), true),
            (Port::Tcp(80), false),
            (Port::Tcp(81), false),
            (Port::Tcp(2), false),
        ];
        for (port, expected) in table {
            assert_eq!(is_allowed(lines, port), expected, "{port}");
        }
    }

    #[test]
    fn no_rules_are_well_and_what_is_not_known_is_a_note() {
        assert_eq!(judge(&json!({ "nftables": [] }), None, "", &PORTS).state, State::Well);
        assert_eq!(judge(&json!({}), None, "", &PORTS).state, State::Note);
        assert_eq!(unread(None, &PORTS).state, State::Note);
        assert!(unread(Some(Manager::Ufw), &PORTS).remedy.unwrap().contains("ufw allow"));
        assert!(is_ufw_on("# x\nENABLED=yes\n") && !is_ufw_on("#ENABLED=yes\nENABLED=no\n"));
        assert!(examine_as_root("").is_none() && examine_as_root("tcp/1,x").is_none());
    }
}
