//! The command line of punktfunkd(8).

#![forbid(unsafe_code)]

use std::ffi::OsString;

use argh::FromArgs;

use crate::encode::abilities::Backend;

/// Stream this machine's desktop and games to Moonlight clients. See punktfunkd(8).
#[derive(FromArgs, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Arguments {
    /// configuration file (default /etc/punktfunk.conf, then the user's own)
    #[argh(option, short = 'c', arg_name = "file")]
    pub conf: Option<String>,

    /// check the configuration and exit; says nothing if it is right
    #[argh(switch, short = 't')]
    pub test: bool,

    /// print the effective configuration, with where each value comes from, and exit
    #[argh(switch, short = 'T')]
    pub effective: bool,

    /// set a directive, over what the file says; may be repeated
    #[argh(option, short = 'o', arg_name = "Keyword=value")]
    pub option: Vec<String>,

    /// log debug messages; twice: trace messages
    #[argh(switch, short = 'd')]
    pub debug: u8,

    /// report what this machine offers and exit, without touching the network
    #[argh(switch, short = 'n')]
    pub no_network: bool,

    /// log errors only
    #[argh(switch, short = 'q')]
    pub quiet: bool,

    /// print the version and exit
    #[argh(switch, short = 'V')]
    pub version: bool,

    /// look at what keeps a daemon from starting: for punktfunkctl doctor
    #[argh(switch, hidden_help)]
    pub doctor: bool,

    /// look whether the firewall lets packets to these ports through: for punktfunkctl doctor
    #[argh(option, hidden_help, arg_name = "ports")]
    pub examine_firewall: Option<String>,

    /// say of the encoder plug-in in a file what version it is, and exit: for the daemon itself
    #[argh(option, hidden_help, arg_name = "file")]
    pub probe_encoders: Option<String>,

    /// with that, say what a backend can do in place of the version
    #[argh(option, hidden_help, arg_name = "name", from_str_fn(backend))]
    pub probe_backend: Option<Backend>,
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
    /// Parses the command line, its first word apart.
    pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Arguments, EarlyExit> {
        let words = words.map(OsString::into_string).collect::<Result<Vec<_>, _>>();
        let words = words.map_err(|word| EarlyExit {
            output: format!("{word:?} is no text in UTF-8"),
            is_help: false,
        })?;
        let words = unbundle(words.into_iter());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let arguments = Arguments::from_args(&["punktfunkd"], &words).map_err(|exit| {
            EarlyExit { output: exit.output.trim_end().to_owned(), is_help: exit.status.is_ok() }
        })?;
        if arguments.quiet && arguments.debug > 0 {
            let output = "-d and -q contradict each other".to_owned();
            return Err(EarlyExit { output, is_help: false });
        }
        Ok(arguments)
    }
}

fn backend(text: &str) -> Result<Backend, String> {
    text.parse().map_err(|()| format!("unknown backend {text:?}"))
}

/// Takes letters behind one dash apart, and a value from its letter, as getopt(3) does.
fn unbundle(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut apart = Vec::new();
    let mut is_value = false;
    for word in words {
        let letters = match word.strip_prefix('-') {
            Some(letters) if !is_value && !letters.is_empty() && !letters.starts_with('-') => {
                letters
            }
            _ => {
                is_value = false;
                apart.push(word);
                continue;
            }
        };
        for (at, letter) in letters.char_indices() {
            apart.push(format!("-{letter}"));
            if matches!(letter, 'c' | 'o') {
                let value = &letters[at + 1..];
                is_value = value.is_empty();
                if !is_value {
                    apart.push(value.to_owned());
                }
                break;
            }
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, EarlyExit> {
        Arguments::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn letters_may_stand_together_and_values_next_to_theirs() {
        let arguments = parse("-ddt -c a.conf -oMdns=no -o -x").unwrap();

        assert_eq!((arguments.debug, arguments.test), (2, true));
        assert_eq!(arguments.conf.as_deref(), Some("a.conf"));
        assert_eq!(arguments.option, ["Mdns=no", "-x"]);
    }

    #[test]
    fn help_is_asked_for_and_mistakes_are_not() {
        let table = [
            ("-h", true),
            ("--help", true),
            ("-x", false),
            ("-c", false),
            ("-dq", false),
            ("a", false),
        ];
        for (line, is_help) in table {
            let exit = parse(line).unwrap_err();
            assert_eq!(exit.is_help, is_help, "{line}");
            assert!(!exit.output.is_empty());
        }
    }
}
