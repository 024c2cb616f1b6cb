//! Orders to a sound server by pactl(1), which knows PulseAudio and PipeWire alike.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::child::{self, End};

/// A call that takes longer is ended. Servers answer within milliseconds.
const CALL_TIME_MAX: Duration = Duration::from_secs(3);
/// Where pactl is looked for.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Which sound server, as the environment of its clients says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Server {
    /// PULSE_SERVER; without it the libraries look in the other two.
    pub address: Option<String>,
    /// XDG_RUNTIME_DIR.
    pub runtime_directory: Option<PathBuf>,
    /// HOME, in which the server's cookie lies.
    pub home: Option<PathBuf>,
}

/// Why something was not done.
#[derive(Debug)]
pub enum Error {
    /// There is no such program.
    Missing,
    /// What pactl says.
    Refused {
        /// The first argument.
        verb: String,
        /// Its last line.
        text: String,
    },
    /// The system does not run programs.
    System(io::Error),
    /// No answer in time.
    TimedOut {
        /// The first argument.
        verb: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing => f.write_str("no pactl: the package pulseaudio-utils brings it"),
            Error::Refused { verb, text } => write!(f, "pactl {verb}: {text}"),
            Error::System(error) => write!(f, "pactl: not run: {error}"),
            Error::TimedOut { verb } => {
                write!(f, "pactl {verb}: no answer for {} ms", CALL_TIME_MAX.as_millis())
            }
        }
    }
}

impl std::error::Error for Error {}

impl Server {
    /// The names of all sinks.
    pub fn sinks(&self) -> Result<Vec<String>, Error> {
        self.names("sinks")
    }

    /// The names of all sources.
    pub fn sources(&self) -> Result<Vec<String>, Error> {
        self.names("sources")
    }

    fn names(&self, what: &str) -> Result<Vec<String>, Error> {
        let list = self.call(&["list", "short", what])?;
        Ok(rows(&list).map(|row| row.name.to_owned()).collect())
    }

    /// The sink that programs play to when they name none; there may be none at all.
    pub fn default_sink(&self) -> Result<Option<String>, Error> {
        let info = self.call(&["info"])?;
        let line = info.lines().find_map(|line| line.strip_prefix("Default Sink:"));
        // What stands for a default that nobody set begins with an at sign.
        let name = line.map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('@'));
        Ok(name.map(str::to_owned))
    }

    /// What the server calls itself.
    pub fn name(&self) -> Result<String, Error> {
        let info = self.call(&["info"])?;
        let name = info.lines().find_map(|line| line.strip_prefix("Server Name:"));
        Ok(name.unwrap_or("a server without a name").trim().to_owned())
    }

    /// Makes a sink the default.
    pub fn set_default_sink(&self, name: &str) -> Result<(), Error> {
        self.call(&["set-default-sink", name]).map(drop)
    }

    /// Loads a module.
    pub fn load_module(&self, name: &str, arguments: &[&str]) -> Result<(), Error> {
        let mut words = vec!["load-module", name];
        words.extend(arguments);
        self.call(&words).map(drop)
    }

    /// Unloads every module of that name that has been given that argument.
    pub fn unload_modules(&self, name: &str, argument: &str) -> Result<(), Error> {
        let indices = || {
            let list = self.call(&["list", "short", "modules"])?;
            Ok(module_indices(&list, name, argument))
        };
        for index in indices()? {
            // One that is gone by itself is refused, and is what is wanted.
            if let Err(error) = self.call(&["unload-module", &index.to_string()])
                && indices()?.contains(&index)
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Runs pactl and returns what it prints.
    fn call(&self, arguments: &[&str]) -> Result<String, Error> {
        self.call_program("pactl", arguments, CALL_TIME_MAX)
    }

    fn call_program(
        &self,
        program: &str,
        arguments: &[&str],
        time_max: Duration,
    ) -> Result<String, Error> {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", PATH).env("LC_ALL", "C").current_dir("/");
        command.envs(self.address.iter().map(|value| ("PULSE_SERVER", value)));
        command.envs(self.runtime_directory.iter().map(|value| ("XDG_RUNTIME_DIR", value)));
        command.envs(self.home.iter().map(|value| ("HOME", value)));
        let ended = child::run(&mut command, time_max).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Missing,
            _ => Error::System(error),
        })?;
        let verb = || arguments.first().copied().unwrap_or_default().to_owned();
        let Some(End { status, stdout, stderr }) = ended else {
            return Err(Error::TimedOut { verb: verb() });
        };
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).into_owned());
        }
        let text = String::from_utf8_lossy(&stderr);
        let text = text.lines().rev().find(|line| !line.trim().is_empty());
        let text = text.map_or_else(|| status.to_string(), |line| line.trim().to_owned());
        Err(Error::Refused { verb: verb(), text })
    }
}

/// A line of 'pactl list short': a number, a name, and more.
struct Row<'a> {
    index: u32,
    name: &'a str,
    rest: &'a str,
}

/// The lines that are such; arguments of modules may go on over others.
fn rows(list: &str) -> impl Iterator<Item = Row<'_>> {
    list.lines().filter_map(|line| {
        let mut columns = line.splitn(3, '\t');
        let index = columns.next()?.parse().ok()?;
        Some(Row { index, name: columns.next()?, rest: columns.next().unwrap_or_default() })
    })
}

fn module_indices(list: &str, name: &str, argument: &str) -> Vec<u32> {
    let is_ours = |row: &Row<'_>| {
        row.name == name && row.rest.split_ascii_whitespace().any(|word| word == argument)
    };
    rows(list).filter(is_ours).map(|row| row.index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_by_name_and_whole_argument() {
        let list = "0\tmodule-null-sink\tsink_name=punktfunk-1 rate=48000\t\n\
                    16\tlibpipewire-module-access\t{\n    # sink_name=punktfunk-1\n\t}\t\n\
                    536870914\tmodule-null-sink\trate=48000 sink_name=punktfunk-10\n\
                    536870915\tmodule-loopback\tsource=punktfunk-1.monitor sink=st\n\
                    x\tmodule-null-sink\tsink_name=punktfunk-1\n\
                    99999999999\tmodule-null-sink\tsink_name=punktfunk-1\n\
                    7\n\n\
                    8\tmodule-null-sink\tsink_name=punktfunk-1";
        let table: [(&str, &str, &[u32]); 5] = [
            ("module-null-sink", "sink_name=punktfunk-1", &[0, 8]),
            ("module-null-sink", "sink_name=punktfunk-10", &[536_870_914]),
            ("module-loopback", "source=punktfunk-1.monitor", &[536_870_915]),
            ("module-loopback", "sink_name=punktfunk-1", &[]),
            ("module-null-sink", "sink_name=punktfunk", &[]),
        ];
        for (name, argument, expected) in table {
            assert_eq!(module_indices(list, name, argument), expected, "{name} {argument}");
        }
    }

    #[test]
    fn programs_are_ended_in_time_and_their_last_words_told() {
        let server = Server { address: Some("here".into()), ..Server::default() };
        let run = |script: &str, time_max| {
            server.call_program("/bin/sh", &["-c", script], time_max).map_err(|e| e.to_string())
        };
        let (long, short) = (Duration::from_secs(60), Duration::from_millis(50));

        assert_eq!(run("echo $PULSE_SERVER $HOME $LC_ALL", long).unwrap(), "here C\n");
        let refused = run("echo first >&2; echo 'Failure: No such entity' >&2; exit 1", long);
        assert_eq!(refused.unwrap_err(), "pactl -c: Failure: No such entity");
        assert_eq!(run("exit 3", long).unwrap_err(), "pactl -c: exit status: 3");
        for script in ["exec sleep 60", "exec sleep 60 >&- 2>&-"] {
            assert_eq!(run(script, short).unwrap_err(), "pactl -c: no answer for 3000 ms");
        }
        let much = run("head -c 3000000 /dev/zero", long).unwrap();
        assert_eq!(much.len(), child::OUTPUT_LEN_MAX);
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let server = Server::default();

        let missing = server.call_program("/nonexistent/pactl", &["info"], CALL_TIME_MAX);

        let text = missing.unwrap_err().to_string();
        assert_eq!(text, "no pactl: the package pulseaudio-utils brings it");
    }
}
