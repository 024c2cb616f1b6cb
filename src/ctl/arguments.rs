//! The command line of punktfunkctl(8).

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::ops::RangeInclusive;

use argh::FromArgs;
use punktfunk_core::proto::units::Kbps;

/// Rates that pictures may be encoded at.
const RATE_KBPS: RangeInclusive<u32> = 500..=10_000_000;

/// Administer a running punktfunkd. See punktfunkctl(8).
#[derive(FromArgs, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Arguments {
    /// control socket (default: the machine's daemon, then the user's own)
    #[argh(option, short = 's', arg_name = "path")]
    pub socket: Option<String>,

    /// print JSON, in an envelope with a version
    #[argh(switch)]
    pub json: bool,

    /// print the version of this program and exit
    #[argh(switch, short = 'V')]
    pub version: bool,

    #[argh(subcommand)]
    pub verb: Option<Verb>,
}

/// What is asked.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum Verb {
    Apps(Apps),
    Check(Check),
    Client(Client),
    Clients(Clients),
    Doctor(Doctor),
    Encoders(Encoders),
    LogLevel(LogLevel),
    Pair(Pair),
    Reload(Reload),
    Run(Run),
    Runs(Runs),
    Session(Session),
    Sessions(Sessions),
    Stats(Stats),
    Status(Status),
    Version(Version),
}

/// list what can be launched
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "apps", help_triggers("-h", "--help"))]
pub struct Apps {}

/// check a configuration file, without a running daemon
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "check", help_triggers("-h", "--help"))]
pub struct Check {
    /// the file
    #[argh(positional)]
    pub file: String,
}

/// change one paired client
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "client", help_triggers("-h", "--help"))]
pub struct Client {
    #[argh(subcommand)]
    pub verb: ClientVerb,
}

/// What is done to a client.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum ClientVerb {
    Grant(Grant),
    Rename(Rename),
    Revoke(Revoke),
    Unpair(Unpair),
}

/// let a client do more
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "grant", help_triggers("-h", "--help"))]
pub struct Grant {
    /// its name, or at least 8 digits of its fingerprint
    #[argh(positional)]
    pub client: String,
    /// view, keyboard, mouse, gamepad, touch, pen, audio or launch
    #[argh(positional)]
    pub grant: String,
    /// more of them
    #[argh(positional, arg_name = "grant")]
    pub more: Vec<String>,
}

/// let a client do less
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "revoke", help_triggers("-h", "--help"))]
pub struct Revoke {
    /// its name, or at least 8 digits of its fingerprint
    #[argh(positional)]
    pub client: String,
    /// view, keyboard, mouse, gamepad, touch, pen, audio or launch
    #[argh(positional)]
    pub grant: String,
    /// more of them
    #[argh(positional, arg_name = "grant")]
    pub more: Vec<String>,
}

/// give a client another name
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "rename", help_triggers("-h", "--help"))]
pub struct Rename {
    /// its name, or at least 8 digits of its fingerprint
    #[argh(positional)]
    pub client: String,
    /// the new name
    #[argh(positional)]
    pub name: String,
}

/// forget a client and close its connections
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "unpair", help_triggers("-h", "--help"))]
pub struct Unpair {
    /// its name, or at least 8 digits of its fingerprint
    #[argh(positional)]
    pub client: String,
}

/// list paired clients
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "clients", help_triggers("-h", "--help"))]
pub struct Clients {}

/// say what is well with this machine, and the one thing to do where it is not
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "doctor", help_triggers("-h", "--help"))]
pub struct Doctor {
    /// where no daemon answers, the configuration that it would start with
    #[argh(option, arg_name = "file")]
    pub conf: Option<String>,
}

/// show what can be encoded and by what, or find it out anew
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "encoders", help_triggers("-h", "--help"))]
pub struct Encoders {
    #[argh(subcommand)]
    pub verb: Option<EncodersVerb>,
}

/// What is done about encoders.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum EncodersVerb {
    Probe(EncodersProbe),
}

/// find out anew what can be encoded
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "probe", help_triggers("-h", "--help"))]
pub struct EncodersProbe {}

/// show what is logged, or change it until the next reload
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "log-level", help_triggers("-h", "--help"))]
pub struct LogLevel {
    /// as LogLevel in punktfunk.conf(5)
    #[argh(positional)]
    pub level: Vec<String>,
}

/// pair with devices that ask for it
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "pair", help_triggers("-h", "--help"))]
pub struct Pair {
    #[argh(subcommand)]
    pub verb: PairVerb,
}

/// What is done about pairings.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum PairVerb {
    Deny(PairDeny),
    List(PairList),
    Pin(PairPin),
}

/// refuse a device
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "deny", help_triggers("-h", "--help"))]
pub struct PairDeny {
    /// the pairing's number
    #[argh(positional)]
    pub id: u64,
}

/// list devices that wait, and the last pairings that are over
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "list", help_triggers("-h", "--help"))]
pub struct PairList {}

/// give the PIN that a device shows
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "pin", help_triggers("-h", "--help"))]
pub struct PairPin {
    /// the pairing's number
    #[argh(positional)]
    pub id: u64,
    /// four digits; asked for on the terminal, or read from standard input, when left out
    #[argh(positional)]
    pub pin: Option<String>,
    /// at least 8 digits of the fingerprint that the device must have
    #[argh(option, arg_name = "digits")]
    pub fingerprint: Option<String>,
}

/// have the configuration read again
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "reload", help_triggers("-h", "--help"))]
pub struct Reload {}

/// change one session
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "session", help_triggers("-h", "--help"))]
pub struct Session {
    #[argh(subcommand)]
    pub verb: SessionVerb,
}

/// What is done to a session.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum SessionVerb {
    Bitrate(SessionBitrate),
    Idr(SessionIdr),
    Rumble(SessionRumble),
    Stop(SessionStop),
}

/// have its pictures encoded at another rate
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "bitrate", help_triggers("-h", "--help"))]
pub struct SessionBitrate {
    /// the session's number
    #[argh(positional)]
    pub id: u32,
    /// bits per second, in k, M or G: 20M
    #[argh(positional, from_str_fn(parse_rate), arg_name = "rate")]
    pub kbps: u32,
}

/// have its next picture be an IDR frame
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "idr", help_triggers("-h", "--help"))]
pub struct SessionIdr {
    /// the session's number
    #[argh(positional)]
    pub id: u32,
}

/// turn the motors of a gamepad of its client
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "rumble", help_triggers("-h", "--help"))]
pub struct SessionRumble {
    /// the session's number
    #[argh(positional)]
    pub id: u32,
    /// the gamepad's number, from 0
    #[argh(positional)]
    pub gamepad: u16,
    /// the strong motor, 0 to 65535
    #[argh(positional)]
    pub low: u16,
    /// the weak motor, 0 to 65535
    #[argh(positional)]
    pub high: u16,
}

/// end it, and its app
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "stop", help_triggers("-h", "--help"))]
pub struct SessionStop {
    /// the session's number
    #[argh(positional)]
    pub id: u32,
}

/// change what runs
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "run", help_triggers("-h", "--help"))]
pub struct Run {
    #[argh(subcommand)]
    pub verb: RunVerb,
}

/// What is done to a run.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum RunVerb {
    Stop(RunStop),
}

/// end an app, and the session that looks at it
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "stop", help_triggers("-h", "--help"))]
pub struct RunStop {
    /// the run's number
    #[argh(positional)]
    pub id: u32,
}

/// list apps that run, whether or not somebody looks at them
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "runs", help_triggers("-h", "--help"))]
pub struct Runs {}

/// list sessions
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "sessions", help_triggers("-h", "--help"))]
pub struct Sessions {}

/// show what sessions have counted and measured
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "stats", help_triggers("-h", "--help"))]
pub struct Stats {
    /// the number of one session
    #[argh(positional)]
    pub id: Option<u32>,
}

/// show the host at a glance
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "status", help_triggers("-h", "--help"))]
pub struct Status {}

/// show the version of the running daemon
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "version", help_triggers("-h", "--help"))]
pub struct Version {}

/// A rate as punktfunk.conf(5) writes it, in kbit/s.
fn parse_rate(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is not a rate from 500k to 10G bits per second, such as 20M");
    Kbps::parse(text).map(|rate| rate.0).filter(|kbps| RATE_KBPS.contains(kbps)).ok_or_else(wrong)
}

/// What the command line asks for instead of a run.
#[derive(Debug)]
pub struct EarlyExit {
    /// Text to show.
    pub output: String,
    /// Whether it was asked for; else the command line is wrong.
    pub is_help: bool,
}

impl Arguments {
    /// Parses the command line, its first word apart. `--json` may stand anywhere before a `--`.
    pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Arguments, EarlyExit> {
        let words = words.map(OsString::into_string).collect::<Result<Vec<_>, _>>();
        let mut words = words.map_err(|word| EarlyExit {
            output: format!("{word:?} is no text in UTF-8"),
            is_help: false,
        })?;
        let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
        let json = words[..end].iter().any(|word| word == "--json");
        let mut index = 0;
        words.retain(|word| {
            index += 1;
            index > end || word != "--json"
        });
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut arguments = Arguments::from_args(&["punktfunkctl"], &words).map_err(|exit| {
            EarlyExit { output: exit.output.trim_end().to_owned(), is_help: exit.status.is_ok() }
        })?;
        if arguments.verb.is_none() && !arguments.version {
            let output = "what is to be done? 'punktfunkctl -h' lists the verbs".to_owned();
            return Err(EarlyExit { output, is_help: false });
        }
        if arguments.version {
            arguments.verb = None;
        }
        arguments.json = json;
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, EarlyExit> {
        Arguments::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn json_may_stand_anywhere_but_is_a_word_behind_two_dashes() {
        for line in ["--json status", "status --json", "pair --json list"] {
            assert!(parse(line).unwrap().json, "{line}");
        }

        let renamed = parse("client rename -- tv --json").unwrap();

        assert!(!renamed.json);
    }

    #[test]
    fn a_rate_is_written_as_in_the_configuration() {
        let table = [
            ("20M", Some(20_000)),
            ("500k", Some(500)),
            ("10G", Some(10_000_000)),
            ("499k", None),
            ("11G", None),
            ("4294968M", None),
            ("20", None),
            ("0", None),
            ("M", None),
            ("+2M", None),
            ("2.5M", None),
            ("20m", None),
        ];
        for (text, kbps) in table {
            assert_eq!(parse_rate(text).ok(), kbps, "{text}");
        }
    }

    #[test]
    fn help_is_asked_for_and_mistakes_are_not() {
        let table = [
            ("-h", true),
            ("pair --help", true),
            ("pair -h", true),
            ("pair pin -h", true),
            ("", false),
            ("statistics", false),
            ("stats one", false),
            ("session", false),
            ("session stop", false),
            ("session stop -1", false),
            ("session bitrate 1", false),
            ("session rumble 1 0 65536 0", false),
            ("encoders find", false),
            ("pair pin x", false),
            ("pair pin", false),
            ("client unpair", false),
            ("client grant tv", false),
            ("client revoke tv", false),
        ];
        for (line, is_help) in table {
            let exit = parse(line).unwrap_err();
            assert_eq!(exit.is_help, is_help, "{line}");
            assert!(!exit.output.is_empty());
        }
    }
}
