//! The command line of punktfunkctl(8).

#![forbid(unsafe_code)]

use std::ffi::OsString;

use argh::FromArgs;

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
    LogLevel(LogLevel),
    Pair(Pair),
    Reload(Reload),
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

/// show the host at a glance
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "status", help_triggers("-h", "--help"))]
pub struct Status {}

/// show the version of the running daemon
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "version", help_triggers("-h", "--help"))]
pub struct Version {}

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
    fn help_is_asked_for_and_mistakes_are_not() {
        let table = [
            ("-h", true),
            ("pair --help", true),
            ("pair -h", true),
            ("pair pin -h", true),
            ("", false),
            ("stats", false),
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
