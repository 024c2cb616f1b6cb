//! The sound of one session from the sound server, as long as the session lasts and whether or not
//! the server does.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use punktfunk_core::net::clock;

use super::metronome::Metronome;
use super::pulse::{self, Recorder};
use super::retry::{Retry, Step};
use super::sink::{self, Plan, Sinks};
use crate::code::Code;

/// Bytes of stack for an attempt, which starts programs and speaks to the server.
const STACK_LEN: usize = 256 * 1024;

/// Why there is no sound, as told in the log.
#[derive(Debug)]
enum Error {
    Recorder(pulse::Error),
    Sink(sink::Error),
    Thread(std::io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Recorder(error) => error.fmt(f),
            Error::Sink(error) => error.fmt(f),
            Error::Thread(error) => write!(f, "no thread: {error}"),
        }
    }
}

/// A session's sound. It has the session's sink, and gives it back when it is dropped.
pub struct Capture {
    sinks: Arc<Mutex<Sinks>>,
    session: u32,
    plan: Plan,
    channel_count: usize,
    packet: Duration,
    retry: Retry,
    recorder: Option<Recorder>,
    attempt: Option<Receiver<Result<Recorder, Error>>>,
    metronome: Metronome,
    news: Option<String>,
}

impl Capture {
    /// Returns at once. There is silence until the server gives sound, whether that takes a tenth
    /// of a second or never happens.
    pub fn open(
        sinks: Arc<Mutex<Sinks>>,
        session: u32,
        plan: Plan,
        channel_count: usize,
        packet: Duration,
    ) -> Capture {
        let mut capture = Capture {
            sinks,
            session,
            plan,
            channel_count,
            packet,
            retry: Retry::default(),
            recorder: None,
            attempt: None,
            metronome: Metronome::new(packet),
            news: None,
        };
        if capture.retry.poll(clock::now()) == Step::Attempt {
            capture.begin_attempt();
        }
        capture
    }

    /// Fills `out`, one packet, with what is played next, or with silence at the same pace.
    /// Returns whether it is what is played.
    pub fn read(&mut self, out: &mut [f32]) -> bool {
        self.take_attempt();
        let step = self.retry.poll(clock::now());
        if let (Step::Read, Some(recorder)) = (step, &mut self.recorder) {
            match recorder.read(out) {
                Ok(()) => return true,
                Err(error) => {
                    self.recorder = None;
                    self.metronome.restart();
                    self.lose(&Error::Recorder(error));
                }
            }
        } else if step == Step::Attempt {
            self.begin_attempt();
        }
        out.fill(0.0);
        self.metronome.wait();
        false
    }

    /// What the administrator should hear of: that sound is lost, or back.
    pub fn poll_news(&mut self) -> Option<String> {
        self.news.take()
    }

    /// Begins to open a recorder, on a thread that exists only for that: the server may take its
    /// time, and the next packet is due.
    fn begin_attempt(&mut self) {
        let (sender, receiver) = sync_channel(1);
        let (sinks, session, plan) = (Arc::clone(&self.sinks), self.session, self.plan.clone());
        let (channel_count, packet) = (self.channel_count, self.packet);
        let attempt = move || {
            let opened = record(&sinks, session, &plan, channel_count, packet);
            if sender.send(opened).is_err() {
                close(&sinks, session);
            }
        };
        let thread = thread::Builder::new().name("sound-open".into()).stack_size(STACK_LEN);
        match thread.spawn(attempt) {
            Ok(_) => self.attempt = Some(receiver),
            Err(error) => self.lose(&Error::Thread(error)),
        }
    }

    /// Looks whether something came of the attempt that is under way, if one is.
    fn take_attempt(&mut self) {
        let Some(attempt) = &self.attempt else { return };
        let opened = match attempt.try_recv() {
            Ok(opened) => opened,
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => unreachable!("the thread sends before it ends"),
        };
        self.attempt = None;
        match opened {
            Ok(recorder) => {
                self.recorder = Some(recorder);
                if self.retry.on_open() {
                    self.news = Some("sound is back".to_owned());
                }
            }
            Err(error) => self.lose(&error),
        }
    }

    fn lose(&mut self, error: &Error) {
        if self.retry.on_loss(clock::now()) {
            self.news = Some(format!("no sound: {error} [{}]", Code::Sound));
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // An attempt that ends after this finds nobody to send to and closes what it opened.
        self.attempt = None;
        // Before its source goes.
        self.recorder = None;
        close(&self.sinks, self.session);
    }
}

fn record(
    sinks: &Mutex<Sinks>,
    session: u32,
    plan: &Plan,
    channel_count: usize,
    packet: Duration,
) -> Result<Recorder, Error> {
    let (source, address) = {
        let mut sinks = lock(sinks);
        let source = sinks.open(session, plan).map_err(Error::Sink)?;
        (source, sinks.server().address.clone())
    };
    Recorder::open(address.as_deref(), &source, channel_count, packet).map_err(Error::Recorder)
}

fn close(sinks: &Mutex<Sinks>, session: u32) {
    if let Err(error) = lock(sinks).close(session) {
        log::warn!("session {session}: sink not removed: {error} [{}]", Code::LeftOvers);
    }
}

fn lock(sinks: &Mutex<Sinks>) -> MutexGuard<'_, Sinks> {
    sinks.lock().expect("a panic of the other thread ends the process")
}
