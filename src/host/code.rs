//! Codes of what may be wrong with a machine: `punktfunkctl doctor` and the log have the same for
//! the same fault, and punktfunkctl(8) tells what each is about. A code never gets another meaning.

#![forbid(unsafe_code)]

use std::fmt;

/// What may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// How much the sockets of pictures and sound may hold.
    Buffers,
    /// Whether the time is one that can be.
    Clock,
    /// The configuration, as it would be read now.
    Configuration,
    /// The daemon itself.
    Daemon,
    /// What sessions see.
    Display,
    /// Programs that a display of a session's own has in it.
    DisplayPrograms,
    /// Whether anything encodes.
    Encoders,
    /// Whether it is what the machine has for it.
    EncoderHardware,
    /// Whether clients get through.
    Firewall,
    /// Keyboards and pointers of clients.
    Input,
    /// Changes of sessions that were not undone.
    LeftOvers,
    /// Whether the host is announced.
    Mdns,
    /// Whether its announcement is heard.
    MdnsEcho,
    /// Addresses of this machine.
    Network,
    /// Other streaming hosts.
    OtherHosts,
    /// Where clients connect to.
    Ports,
    /// Whether threads of sessions come before others.
    RealTime,
    /// The unit of the service manager.
    Service,
    /// Where sound comes from.
    Sound,
    /// Files of the daemon.
    State,
    /// Whether the time is that of others.
    TimeSync,
    /// What gamepads are made with.
    Uinput,
}

/// Each with its code and the word for its line. In the order of the codes.
const TABLE: [(Code, &str, &str); 22] = [
    (Code::Buffers, "PF-B01", "buffers"),
    (Code::Configuration, "PF-C01", "config"),
    (Code::Display, "PF-D01", "display"),
    (Code::DisplayPrograms, "PF-D02", "display"),
    (Code::Encoders, "PF-E01", "encoders"),
    (Code::EncoderHardware, "PF-E02", "encoders"),
    (Code::Firewall, "PF-F01", "firewall"),
    (Code::Daemon, "PF-G01", "daemon"),
    (Code::Service, "PF-G02", "service"),
    (Code::OtherHosts, "PF-H01", "others"),
    (Code::Input, "PF-I01", "input"),
    (Code::Uinput, "PF-I02", "gamepads"),
    (Code::State, "PF-K01", "state"),
    (Code::LeftOvers, "PF-K02", "left over"),
    (Code::Mdns, "PF-M01", "mdns"),
    (Code::MdnsEcho, "PF-M02", "mdns"),
    (Code::Network, "PF-N01", "network"),
    (Code::Ports, "PF-P01", "ports"),
    (Code::RealTime, "PF-R01", "priority"),
    (Code::Sound, "PF-S01", "sound"),
    (Code::Clock, "PF-T01", "clock"),
    (Code::TimeSync, "PF-T02", "clock"),
];

impl Code {
    /// One word, or two, for people.
    pub fn subject(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> &'static (Code, &'static str, &'static str) {
        TABLE.iter().find(|(code, ..)| *code == self).expect("a test finds every code")
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANUAL: &str = include_str!("../../man/punktfunkctl.8");

    #[test]
    fn the_manual_has_every_code_in_this_order_and_no_other() {
        let described: Vec<&str> =
            MANUAL.lines().filter_map(|line| line.strip_prefix(".It Ql PF-")).collect();

        let expected: Vec<&str> =
            TABLE.iter().map(|(_, code, _)| code.strip_prefix("PF-").unwrap()).collect();
        assert_eq!(described, expected);
    }

    #[test]
    fn every_code_is_its_own_and_the_table_has_them_in_order() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].1 < pair[1].1, "{} {}", pair[0].1, pair[1].1);
        }
        for (index, (code, text, subject)) in TABLE.iter().enumerate() {
            assert_eq!((code.to_string().as_str(), code.subject()), (*text, *subject));
            assert!(TABLE[..index].iter().all(|(other, ..)| other != code), "{text}");
        }
    }
}
