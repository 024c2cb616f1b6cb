//! Sinks of our own at the sound server, one a session: programs play to them, and what is played
//! is recorded from their monitors.
//!
//! Everything that is changed is written to the journal before, and is undone when the session
//! ends or, after a crash, at the next start. Modules are known by the name of the sink that they
//! were given, never by a remembered number: a restarted server gives the numbers to others.

#![forbid(unsafe_code)]

use std::fmt;

use super::journal::{self, Changes, Journal};
use super::pactl::{self, Server};
use super::{CHANNEL_COUNT_MAX, SAMPLE_RATE};

const CHANNELS: [&str; CHANNEL_COUNT_MAX] = [
    "front-left",
    "front-right",
    "front-center",
    "lfe",
    "rear-left",
    "rear-right",
    "side-left",
    "side-right",
];
const NULL_SINK: &str = "module-null-sink";
const LOOPBACK: &str = "module-loopback";
/// What the host hears is late by this at least; less crackles on busy machines.
const LOOPBACK_LATENCY_MS: u32 = 40;
/// Characters of a client's name that are shown.
const CLIENT_NAME_LEN_MAX: usize = 48;
/// Names that are tried when another daemon has taken the first.
const NAME_COUNT_MAX: u32 = 16;

/// Where a session's sound is heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Playback {
    /// At the client and at the host.
    Both,
    /// At the client only.
    Client,
}

/// From where a session's sound is taken.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// What is played to a sink that is there. Nothing is changed.
    Existing(String),
    /// What is played to a sink of the session's own, which becomes the default.
    Own {
        /// Shown to the user of the host.
        client_name: String,
        /// 2, 6 or 8.
        channel_count: usize,
        /// Where it is heard.
        playback: Playback,
    },
}

/// The sinks of all sessions.
#[derive(Debug)]
pub struct Sinks {
    server: Server,
    journal: Journal,
    /// What the journal says.
    changes: Changes,
    /// Sessions that have sinks, the newest last, with the sinks' names.
    sessions: Vec<(u32, String)>,
}

/// Why a sink is not to be had, or something not undone.
#[derive(Debug)]
pub enum Error {
    /// The journal is not written or read, so nothing is changed.
    Journal(journal::Error),
    /// There is no sink of the configured name.
    Missing(String),
    /// The sound server.
    Server(pactl::Error),
    /// Every name that a sink could have is taken.
    Taken,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Journal(error) => error.fmt(f),
            Error::Missing(name) => write!(f, "no sink {name:?} with a monitor"),
            Error::Server(error) => error.fmt(f),
            Error::Taken => f.write_str("no free name for a sink"),
        }
    }
}

impl std::error::Error for Error {}

impl From<journal::Error> for Error {
    fn from(error: journal::Error) -> Error {
        Error::Journal(error)
    }
}

impl From<pactl::Error> for Error {
    fn from(error: pactl::Error) -> Error {
        Error::Server(error)
    }
}

impl Sinks {
    /// None yet.
    pub fn new(server: Server, journal: Journal) -> Sinks {
        Sinks { server, journal, changes: Changes::default(), sessions: Vec::new() }
    }

    /// The server that they are at.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Undoes what a process before this one could not. To be called once, before any session;
    /// what cannot be undone now is tried again with the next session.
    pub fn restore_from_journal(&mut self) -> Result<(), Error> {
        self.changes = self.journal.read()?;
        self.sweep()
    }

    /// Makes ready what the session's sound is recorded from, and returns the name of that source.
    ///
    /// For a session that is known, everything is made anew: the server may be another. Takes the
    /// time of some ten calls of pactl, normally 100 ms.
    pub fn open(&mut self, session: u32, plan: &Plan) -> Result<String, Error> {
        let (client_name, channel_count, playback) = match plan {
            Plan::Existing(sink) => {
                let source = monitor(sink);
                let is_there = self.server.sources()?.contains(&source);
                return if is_there { Ok(source) } else { Err(Error::Missing(sink.clone())) };
            }
            Plan::Own { client_name, channel_count, playback } => {
                (client_name, *channel_count, *playback)
            }
        };
        let rank = self.sessions.iter().position(|(known, _)| *known == session);
        if let Some(rank) = rank {
            let name = self.sessions[rank].1.clone();
            self.undo(&name)?;
        }
        self.sweep()?;

        let sinks = self.server.sinks()?;
        let name = free_name(session, &sinks).ok_or(Error::Taken)?;
        let default = self.server.default_sink()?;
        if let Some(default) = default.filter(|default| !self.changes.sinks.contains(default)) {
            self.changes.original_sink = Some(default);
        }
        self.changes.sinks.push(name.clone());
        if let Err(error) = self.journal.write(&self.changes) {
            self.changes.sinks.pop();
            return Err(error.into());
        }
        // A session keeps its place among the others. With an error below, it is there to be
        // closed, or opened again.
        match rank {
            Some(rank) => self.sessions[rank].1 = name.clone(),
            None => self.sessions.push((session, name.clone())),
        }
        let is_newest = self.sessions.last().is_some_and(|(newest, _)| *newest == session);
        self.make(&name, client_name, channel_count, playback, is_newest)?;
        Ok(monitor(&name))
    }

    fn make(
        &self,
        name: &str,
        client_name: &str,
        channel_count: usize,
        playback: Playback,
        is_newest: bool,
    ) -> Result<(), pactl::Error> {
        let map = CHANNELS[..channel_count.min(CHANNEL_COUNT_MAX)].join(",");
        let (sink, rate) = (sink_argument(name), format!("rate={SAMPLE_RATE}"));
        let channels = format!("channels={channel_count}");
        let map = format!("channel_map={map}");
        let title = description(client_name);
        let properties = format!("sink_properties=\"device.description='{title}'\"");
        // Without rewinds a sink of PulseAudio plays 50 ms in advance, else two seconds, after
        // which the first sound is heard.
        let arguments =
            [&sink, &rate, "format=float32le", &channels, &map, &properties, "norewinds=1"];
        let (_, known_of_old) = arguments.split_last().expect("there are seven");
        match self.server.load_module(NULL_SINK, &arguments) {
            Err(pactl::Error::Refused { .. }) => {
                self.server.load_module(NULL_SINK, known_of_old)?;
            }
            result => result?,
        }
        if let (Playback::Both, Some(original)) = (playback, &self.changes.original_sink) {
            // Were either end moved to what is left when the other goes, it could be heard by
            // itself, over and over.
            self.server.load_module(
                LOOPBACK,
                &[
                    &source_argument(name),
                    &format!("sink={original}"),
                    &format!("latency_msec={LOOPBACK_LATENCY_MS}"),
                    "source_dont_move=true",
                    "sink_dont_move=true",
                ],
            )?;
        }
        if is_newest { self.server.set_default_sink(name) } else { Ok(()) }
    }

    /// Undoes what was done for the session, if anything was. What cannot be undone stays in the
    /// journal, and is tried again with the next session or at the next start.
    pub fn close(&mut self, session: u32) -> Result<(), Error> {
        let Some(index) = self.sessions.iter().position(|(known, _)| *known == session) else {
            return Ok(());
        };
        let (_, name) = self.sessions.remove(index);
        self.undo(&name)
    }

    /// Undoes what is left over of sessions that are no more.
    fn sweep(&mut self) -> Result<(), Error> {
        let is_left = |name: &String| !self.sessions.iter().any(|(_, sink)| sink == name);
        let left: Vec<String> = self.changes.sinks.iter().filter(|n| is_left(n)).cloned().collect();
        left.iter().try_for_each(|name| self.undo(name))
    }

    fn undo(&mut self, name: &str) -> Result<(), Error> {
        let sinks = self.server.sinks()?;
        let is_there = |name: &String| sinks.contains(name);
        // A default that somebody else chose meanwhile is kept.
        let default = self.server.default_sink()?;
        if default.is_none_or(|default| default == name || !is_there(&default)) {
            let others = self.sessions.iter().rev().map(|(_, sink)| sink);
            let mut heirs = others.chain(&self.changes.original_sink);
            if let Some(heir) = heirs.find(|sink| *sink != name && is_there(sink)) {
                self.server.set_default_sink(heir)?;
            }
        }
        self.server.unload_modules(LOOPBACK, &source_argument(name))?;
        self.server.unload_modules(NULL_SINK, &sink_argument(name))?;
        self.changes.sinks.retain(|sink| sink != name);
        if self.changes.sinks.is_empty() {
            self.changes.original_sink = None;
        }
        Ok(self.journal.write(&self.changes)?)
    }
}

fn free_name(session: u32, taken: &[String]) -> Option<String> {
    let first = format!("punktfunk-{session}");
    let others = (2..=NAME_COUNT_MAX).map(|number| format!("punktfunk-{session}-{number}"));
    std::iter::once(first).chain(others).find(|name| !taken.contains(name))
}

fn monitor(sink: &str) -> String {
    format!("{sink}.monitor")
}

fn sink_argument(name: &str) -> String {
    format!("sink_name={name}")
}

fn source_argument(name: &str) -> String {
    format!("source={}", monitor(name))
}

/// The client's name without anything that ends a quotation or means something in one.
fn description(client_name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || " -_.".contains(c) { c } else { '_' };
    let name: String = client_name.chars().take(CLIENT_NAME_LEN_MAX).map(plain).collect();
    format!("punktfunk - {}", name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_taken_are_passed_over() {
        let taken = ["st", "punktfunk-3", "punktfunk-3-2"].map(String::from);

        assert_eq!(free_name(3, &taken).as_deref(), Some("punktfunk-3-3"));
        assert_eq!(free_name(4, &taken).as_deref(), Some("punktfunk-4"));
        let all: Vec<String> = std::iter::successors(Some(Vec::new()), |taken: &Vec<String>| {
            Some([taken.clone(), vec![free_name(1, taken)?]].concat())
        })
        .last()
        .unwrap();
        assert_eq!(all.len(), NAME_COUNT_MAX as usize);
    }

    #[test]
    fn no_name_of_a_client_leaves_its_quotation() {
        let table = [
            ("Anna's tablet", "punktfunk - Anna_s tablet"),
            ("\"' x=y\\\n\t", "punktfunk - __ x_y___"),
            ("Küche 2.0", "punktfunk - Küche 2.0"),
            ("", "punktfunk - "),
        ];
        for (name, expected) in table {
            assert_eq!(description(name), expected);
        }
        assert_eq!(description(&"x".repeat(1000)).len(), "punktfunk - ".len() + 48);
    }
}
