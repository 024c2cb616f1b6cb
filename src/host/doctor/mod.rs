//! `punktfunkctl doctor`: what is well with this machine, and the one thing to do where it is not.
//!
//! Each check looks at one subject and says what it found as [`Finding`]s; the table below has all
//! of them. They block, for milliseconds as a rule, and run side by side, each on a thread of its
//! own; one that takes too long is not waited for. A running daemon answers from what it is: its
//! user, configuration and environment. Without one a process of this program looks at what keeps
//! a daemon from starting. Nothing is changed.

#![forbid(unsafe_code)]

mod daemon;
mod desktop;
mod encoders;
mod firewall;
mod gamepads;
mod network;
mod ports;
mod ruleset;
mod sound;
mod system;

use std::ffi::OsString;
use std::fmt::Display;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use punktfunk_core::net::clock;
use punktfunk_core::net::holder::Port;
use serde_json::{Value, json};

pub use self::daemon::mistakes;
pub use self::firewall::examine_as_root;
pub use self::system::clock_fault;
use crate::audio::pactl::Server;
use crate::code::Code;
use crate::conf::{self, Conf};
use crate::display::Displays;
use crate::encode::choice::Choice;

/// All checks together may take this long, which is less than whoever asks waits.
const TIME_MAX: Duration = Duration::from_secs(5);
/// A program that a check runs may take this long.
const PROGRAM_TIME_MAX: Duration = Duration::from_secs(3);
/// Characters of what a program or a driver says that are passed on.
const SAID_LEN_MAX: usize = 300;
/// Where programs of the system are, whatever the daemon's PATH is.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is said of one subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What it is about.
    pub code: Code,
    /// Whether it is well.
    pub state: State,
    /// What was found, on one line.
    pub what: String,
    /// The one thing to do, where there is something.
    pub remedy: Option<String>,
}

/// Whether a subject is well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    /// Something does not work.
    Broken,
    /// Something might be better, or is not known.
    Note,
    /// Nothing is to be done.
    Well,
}

/// Reads the configuration as a start would.
pub type Load = Arc<dyn Fn() -> Result<Conf, Vec<conf::Error>> + Send + Sync>;

/// What is examined.
pub struct Subject {
    /// The configuration that holds.
    pub conf: Conf,
    /// Reads the one that would hold after a restart.
    pub load: Load,
    /// The environment of this process.
    pub variables: Vec<(OsString, OsString)>,
    /// What only a running daemon knows.
    pub running: Option<Running>,
}

/// See [`Subject::running`].
pub struct Running {
    /// What displays are made with.
    pub displays: Arc<Displays>,
    /// Whose sound is streamed.
    pub sound_server: Server,
    /// What serves which codec.
    pub choice: Choice,
    /// Whether that is more than a guess.
    pub is_probed: bool,
    /// Every listener, by name and address.
    pub listen: Vec<(String, String)>,
    /// The name that is announced and on which interfaces, where it is.
    pub announced: Option<(String, Vec<String>)>,
    /// Whether a session or an app is there, or a session is about to go.
    pub has_sessions: bool,
}

/// How a check is called.
enum Look {
    /// Whether a daemon runs or not.
    Always(fn(&Subject) -> Vec<Finding>),
    /// While one runs.
    Running(fn(&Subject, &Running) -> Vec<Finding>),
    /// While none does.
    Stopped(fn(&Subject) -> Vec<Finding>),
}

/// Every check, with the code of its first finding. In the order in which people read.
const CHECKS: &[(Code, Look)] = &[
    (Code::Daemon, Look::Running(daemon::check)),
    (Code::Service, Look::Stopped(daemon::check_service)),
    (Code::Configuration, Look::Always(daemon::check_configuration)),
    (Code::State, Look::Always(daemon::check_state)),
    (Code::LeftOvers, Look::Running(daemon::check_left_overs)),
    (Code::Display, Look::Running(desktop::check)),
    (Code::Input, Look::Running(desktop::check_input)),
    (Code::Uinput, Look::Running(gamepads::check)),
    (Code::Encoders, Look::Running(encoders::check)),
    (Code::Sound, Look::Running(sound::check)),
    (Code::Network, Look::Always(network::check)),
    (Code::Ports, Look::Running(ports::check)),
    (Code::Ports, Look::Stopped(ports::check_free)),
    (Code::OtherHosts, Look::Always(ports::check_others)),
    (Code::Firewall, Look::Always(firewall::check)),
    (Code::Mdns, Look::Running(network::check_mdns)),
    (Code::Buffers, Look::Always(system::check_buffers)),
    (Code::RealTime, Look::Running(system::check_real_time)),
    (Code::Clock, Look::Always(system::check_clock)),
];

impl Finding {
    /// All is well.
    fn well(code: Code, what: impl Display) -> Finding {
        Finding { code, state: State::Well, what: line(what), remedy: None }
    }

    /// It might be better.
    fn note(code: Code, what: impl Display) -> Finding {
        Finding { code, state: State::Note, what: line(what), remedy: None }
    }

    /// It does not work.
    fn broken(code: Code, what: impl Display) -> Finding {
        Finding { code, state: State::Broken, what: line(what), remedy: None }
    }

    /// And this is the one thing to do.
    fn remedy(self, remedy: impl Display) -> Finding {
        Finding { remedy: Some(line(remedy)), ..self }
    }

    fn value(&self) -> Value {
        json!({
            "code": self.code.to_string(),
            "subject": self.code.subject(),
            "state": match self.state {
                State::Broken => "broken",
                State::Note => "note",
                State::Well => "well",
            },
            "what": self.what,
            "remedy": self.remedy,
        })
    }
}

/// Runs every check that there is for the subject, and waits for them, but not for ever.
pub fn examine(subject: Subject) -> Vec<Finding> {
    examine_by(CHECKS, subject, TIME_MAX)
}

fn examine_by(
    checks: &'static [(Code, Look)],
    subject: Subject,
    time_max: Duration,
) -> Vec<Finding> {
    let is_running = subject.running.is_some();
    let subject = Arc::new(subject);
    let checks: Vec<&'static (Code, Look)> = checks
        .iter()
        .filter(|(_, look)| match look {
            Look::Always(_) => true,
            Look::Running(_) => is_running,
            Look::Stopped(_) => !is_running,
        })
        .collect();
    // One message each, so nobody waits for room.
    let (sender, receiver) = sync_channel(checks.len());
    let mut found: Vec<Option<Vec<Finding>>> = vec![None; checks.len()];
    for (index, check) in checks.iter().enumerate() {
        if let Err(error) = begin(index, check, &subject, &sender) {
            found[index] = Some(vec![Finding::note(check.0, format_args!("not known: {error}"))]);
        }
    }
    drop(sender);
    let deadline = clock::now() + time_max;
    while found.iter().any(Option::is_none) {
        let left = deadline.saturating_duration_since(clock::now());
        match receiver.recv_timeout(left) {
            Ok((index, findings)) => found[index] = Some(findings),
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => break,
        }
    }
    let late = |code| {
        let what = format!("not known: nothing heard for {} ms", time_max.as_millis());
        vec![Finding::note(code, what)]
    };
    let found = found.into_iter().zip(checks);
    found.flat_map(|(findings, check)| findings.unwrap_or_else(|| late(check.0))).collect()
}

/// Starts a check. Its thread ends by itself; what it does all has its own bounds.
fn begin(
    index: usize,
    check: &'static (Code, Look),
    subject: &Arc<Subject>,
    sender: &mpsc::SyncSender<(usize, Vec<Finding>)>,
) -> std::io::Result<()> {
    let (subject, sender) = (Arc::clone(subject), sender.clone());
    let run = move || {
        let findings = match (&check.1, &subject.running) {
            (Look::Always(look) | Look::Stopped(look), _) => look(&subject),
            (Look::Running(look), Some(running)) => look(&subject, running),
            (Look::Running(_), None) => Vec::new(),
        };
        // Whoever asked may have given up.
        let _ = sender.try_send((index, findings));
    };
    let builder = thread::Builder::new().name(check.0.to_string()).stack_size(512 * 1024);
    builder.spawn(run).map(drop)
}

/// For programs: findings, how many of them are broken, and the ports that a firewall has to let
/// through as that configuration has it.
pub fn report(findings: &[Finding], conf: Option<&Conf>) -> Value {
    let broken = findings.iter().filter(|finding| finding.state == State::Broken);
    json!({
        "findings": findings.iter().map(Finding::value).collect::<Vec<_>>(),
        "broken_count": broken.count(),
        "ports": conf.map(firewall::wanted).unwrap_or_default().into_iter().map(emit_port).collect::<Vec<_>>(),
    })
}

/// A port in the report, such as `tcp/47989`.
fn emit_port(port: Port) -> String {
    match port {
        Port::Tcp(port) => format!("tcp/{port}"),
        Port::Udp(port) => format!("udp/{port}"),
    }
}

fn parse_port(text: &str) -> Option<Port> {
    let (transport, number) = text.split_once('/')?;
    let number = number.parse().ok()?;
    match transport {
        "tcp" => Some(Port::Tcp(number)),
        "udp" => Some(Port::Udp(number)),
        _ => None,
    }
}

/// What somebody said, as a part of one line that is not too long.
fn line(text: impl Display) -> String {
    let text = text.to_string();
    let shown = text.trim().chars().take(SAID_LEN_MAX);
    shown.map(|it| if it.is_control() { ' ' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration with these lines.
    pub(super) fn conf(lines: &[&str]) -> Conf {
        let environment = conf::Environment {
            home: Some("/home/den".into()),
            state_directory: Some("/nowhere/state".into()),
            runtime_directory: Some("/nowhere/run".into()),
            ..conf::Environment::default()
        };
        let overrides: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let sources =
            conf::Sources { file: None, overrides: &overrides, environment: &environment };
        conf::load(&sources).unwrap()
    }

    /// A daemon that does not run, with that configuration.
    pub(super) fn subject(lines: &[&str]) -> Subject {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let load = move || Ok(conf(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
        let conf = load().unwrap();
        Subject { conf, load: Arc::new(load), variables: Vec::new(), running: None }
    }

    #[test]
    fn a_report_counts_what_is_broken_and_has_every_finding() {
        let findings = [
            Finding::well(Code::Clock, "a"),
            Finding::note(Code::Buffers, "b\nc").remedy("d"),
            Finding::broken(Code::Sound, "e".repeat(1000)),
        ];

        let value = report(&findings, Some(&conf(&["GameStreamPort=10000"])));

        let note = json!({
            "code": "PF-B01", "subject": "buffers", "state": "note", "what": "b c", "remedy": "d",
        });
        assert_eq!(value["findings"][1], note);
        assert_eq!(
            (&value["broken_count"], &value["findings"][0]["remedy"]),
            (&json!(1), &json!(null))
        );
        assert_eq!(value["findings"][2]["what"].as_str().unwrap().len(), SAID_LEN_MAX);
        let ports = [
            "tcp/9995",
            "tcp/10000",
            "tcp/10021",
            "udp/10009",
            "udp/10010",
            "udp/10011",
            "udp/5353",
        ];
        assert_eq!(value["ports"], json!(ports));
    }

    #[test]
    fn a_check_that_hangs_is_not_waited_for() {
        fn hang(_: &Subject) -> Vec<Finding> {
            clock::sleep_until(clock::now() + Duration::from_secs(600));
            Vec::new()
        }
        fn answer(_: &Subject) -> Vec<Finding> {
            vec![Finding::well(Code::Clock, "a"), Finding::well(Code::TimeSync, "b")]
        }
        fn fail(_: &Subject, _: &Running) -> Vec<Finding> {
            unreachable!("no daemon runs")
        }
        const CHECKS: &[(Code, Look)] = &[
            (Code::Sound, Look::Stopped(hang)),
            (Code::Display, Look::Running(fail)),
            (Code::Clock, Look::Always(answer)),
        ];

        let findings = examine_by(CHECKS, subject(&[]), Duration::from_secs(3));

        let expected = [
            Finding::note(Code::Sound, "not known: nothing heard for 3000 ms"),
            Finding::well(Code::Clock, "a"),
            Finding::well(Code::TimeSync, "b"),
        ];
        assert_eq!(findings, expected);
    }

    #[test]
    fn ports_are_read_as_they_are_written() {
        for port in [Port::Tcp(47_989), Port::Udp(1)] {
            assert_eq!(parse_port(&emit_port(port)), Some(port));
        }
        for text in ["", "tcp", "tcp/", "sctp/1", "tcp/65536", "tcp/-1", "/1"] {
            assert_eq!(parse_port(text), None, "{text}");
        }
    }

    #[test]
    fn without_a_daemon_what_keeps_it_from_starting_is_looked_at() {
        let findings = examine(subject(&["GameStream=off", "Http=off"]));

        let codes: Vec<Code> = findings.iter().map(|finding| finding.code).collect();
        for code in [Code::Configuration, Code::State, Code::Ports, Code::Clock] {
            assert!(codes.contains(&code), "{code} {findings:?}");
        }
        assert!(!codes.contains(&Code::Display) && !codes.contains(&Code::Daemon), "{codes:?}");
    }
}
