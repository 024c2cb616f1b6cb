//! The client's end of the way: when to send a ping, and what the answers say.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::{Answer, Ping, Token};
use crate::proto::packet::native::header::Error;
use crate::proto::units::FrameIndex;

/// From one ping to the next while nothing is answered.
pub const INTERVAL_OPENING: Duration = Duration::from_millis(100);
/// From a ping that was answered to the next. Mappings of address translators last for 30 s at
/// least where anything works.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// A way without answers for so long is none.
pub const SILENCE_MAX: Duration = Duration::from_secs(3);
/// From one ping to the next at least, whatever the host says.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What became of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// Media do not come here any more: there was no answer for [`SILENCE_MAX`], or one says so.
    /// Pings go on.
    Closed,
    /// Media come here from now on.
    Opened,
}

/// What the times of a ping and its answer say. The host answers at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// There and back, in microseconds.
    pub rtt_us: u64,
    /// What the host's clock shows more than the client's, in microseconds; off by half of
    /// `rtt_us` at most.
    pub offset_us: i64,
}

/// See the module.
#[derive(Debug)]
pub struct ClientPath {
    token: Option<Token>,
    /// The highest packet number of an answer.
    newest: Option<u64>,
    is_open: bool,
    last_unit: Option<FrameIndex>,
    answered: Instant,
    /// The last ping.
    pinged: Option<Instant>,
    next: Instant,
}

impl ClientPath {
    /// A ping is due at once.
    pub fn new(now: Instant) -> ClientPath {
        ClientPath {
            token: None,
            newest: None,
            is_open: false,
            last_unit: None,
            answered: now,
            pinged: None,
            next: now,
        }
    }

    /// The ping that is due, if one is. `now_us` is the time by the client's own clock.
    pub fn poll_ping(&mut self, now: Instant, now_us: u64) -> Option<Ping> {
        if now < self.next {
            return None;
        }
        self.pinged = Some(now);
        self.next = now + INTERVAL_OPENING;
        Some(Ping { sent_us: now_us, token: self.token })
    }

    /// What has happened because nothing came.
    pub fn poll_event(&mut self, now: Instant) -> Option<ClientEvent> {
        let is_silent = self.is_open && now >= self.answered + SILENCE_MAX;
        self.is_open &= !is_silent;
        is_silent.then_some(ClientEvent::Closed)
    }

    /// Takes the payload of an answer that was opened, and its packet number. There is no sample of
    /// times that cannot be.
    pub fn handle_answer(
        &mut self,
        number: u64,
        payload: &[u8],
        now: Instant,
        now_us: u64,
    ) -> Result<(Option<ClientEvent>, Option<Sample>), Error> {
        let answer = Answer::parse(payload)?;
        let sample = sample(&answer, now_us);
        if self.newest.is_some_and(|newest| number < newest) {
            return Ok((None, sample));
        }
        self.newest = Some(number);
        self.last_unit = answer.last_unit;
        self.answered = now;
        let is_new = self.token.replace(answer.token) != Some(answer.token);
        // A new token is to be shown at once, an old one when the mapping needs it.
        let wait = if is_new { INTERVAL_MIN } else { INTERVAL };
        if is_new || answer.has_media {
            self.next = self.pinged.map_or(now, |pinged| pinged + wait);
        }
        let was_open = std::mem::replace(&mut self.is_open, answer.has_media);
        let event = match (was_open, answer.has_media) {
            (false, true) => Some(ClientEvent::Opened),
            (true, false) => Some(ClientEvent::Closed),
            _ => None,
        };
        Ok((event, sample))
    }

    /// The client's socket or network is another one. The host learns it from a ping at once;
    /// packets that arrive meanwhile are as good as any.
    pub fn handle_rebind(&mut self, now: Instant) {
        self.next = now;
    }

    /// Whether media come here.
    pub fn is_open(&self, now: Instant) -> bool {
        self.is_open && now < self.answered + SILENCE_MAX
    }

    /// The last access unit that the host had sent when it answered, if any: what has not come of it
    /// and those before it soon is lost.
    pub fn last_unit(&self) -> Option<FrameIndex> {
        self.last_unit
    }

    /// When to poll again, if nothing comes.
    pub fn poll_timeout(&self) -> Instant {
        if self.is_open { self.next.min(self.answered + SILENCE_MAX) } else { self.next }
    }
}

fn sample(answer: &Answer, now_us: u64) -> Option<Sample> {
    let rtt_us = now_us.checked_sub(answer.sent_us)?;
    let half_way_us = answer.sent_us + rtt_us / 2;
    let offset_us = answer.host_us.wrapping_sub(half_way_us) as i64;
    Some(Sample { rtt_us, offset_us })
}
