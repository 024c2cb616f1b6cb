//! The host's end of the way: to which address media go.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Answer, Ping, Token};
use crate::proto::packet::native::header::Error;
use crate::proto::units::FrameIndex;

/// Addresses that it knows at a time, that of media among them.
pub const ADDRESS_COUNT_MAX: usize = 4;
/// Answers in a second, to all addresses together.
pub const ANSWER_COUNT_MAX: u32 = 32;
/// Media end so long after the last ping from where they go.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A token holds so long after the last ping from its address.
const TOKEN_LIFE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

/// What a ping changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// Media may go nowhere: there was no ping from where they went for [`SILENCE_MAX`].
    Closed,
    /// Media are to go to this address from now on. Nothing that was learnt of the way to the one
    /// before is true of this one: neither delay nor loss nor rate.
    Moved(SocketAddr),
    /// Media may go to this address: there was none so far, or it was silent for too long.
    Opened(SocketAddr),
}

/// What comes of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// To be sent to where the ping came from, unless there were too many.
    pub answer: Option<Answer>,
    /// Unless everything is as it was.
    pub event: Option<HostEvent>,
}

/// An address, and its token.
#[derive(Clone, Copy, Debug)]
struct Known {
    address: SocketAddr,
    token: Token,
    /// The last ping from there.
    seen: Instant,
}

/// Where media go.
#[derive(Clone, Copy, Debug)]
struct Media {
    address: SocketAddr,
    /// That of the newest ping with a token.
    number: u64,
    /// The last ping with the token from there.
    seen: Instant,
    /// Whether it is told that media end.
    is_closed: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct HostPath {
    known: [Option<Known>; ADDRESS_COUNT_MAX],
    media: Option<Media>,
    /// Answers since then.
    answers: Option<(Instant, u32)>,
    /// The last access unit that was sent.
    last_unit: Option<FrameIndex>,
}

impl HostPath {
    /// Takes the payload of a ping that was opened, and its packet number. `token` is fresh chance,
    /// which is used if the address is new. `now_us` is the time by the host's own clock.
    pub fn handle_ping(
        &mut self,
        from: SocketAddr,
        number: u64,
        payload: &[u8],
        token: Token,
        now: Instant,
        now_us: u64,
    ) -> Result<Outcome, Error> {
        let ping = Ping::parse(payload)?;
        // An address that is new has shown nothing, whatever the ping says.
        let known = self.place_of(from).and_then(|place| self.known[place]);
        let known = known.filter(|known| !is_over(known, now));
        let event = known.and_then(|known| self.take(&known, number, &ping, now));
        if !self.may_answer(now) {
            return Ok(Outcome { answer: None, event });
        }
        let known = self.meet(from, token, now);
        let answer = Answer {
            sent_us: ping.sent_us,
            host_us: now_us,
            has_media: self.address(now) == Some(from),
            last_unit: self.last_unit,
            token: known.token,
        };
        Ok(Outcome { answer: Some(answer), event })
    }

    /// Takes the number of an access unit that is sent, which answers tell from then on.
    pub fn note_unit(&mut self, index: FrameIndex) {
        self.last_unit = Some(index);
    }

    /// Where media may go, if anywhere.
    pub fn address(&self, now: Instant) -> Option<SocketAddr> {
        let media = self.media.filter(|media| now < media.seen + SILENCE_MAX)?;
        Some(media.address)
    }

    /// What has happened because nothing came.
    pub fn poll_event(&mut self, now: Instant) -> Option<HostEvent> {
        let media = self.media.as_mut().filter(|media| !media.is_closed)?;
        media.is_closed = now >= media.seen + SILENCE_MAX;
        media.is_closed.then_some(HostEvent::Closed)
    }

    /// When to call [`HostPath::poll_event`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let media = self.media.filter(|media| !media.is_closed)?;
        Some(media.seen + SILENCE_MAX)
    }

    /// What a ping from an address that is known changes: one with its token makes it that of media,
    /// unless a newer one came from elsewhere.
    fn take(&mut self, known: &Known, number: u64, ping: &Ping, now: Instant) -> Option<HostEvent> {
        if ping.token != Some(known.token) {
            return None;
        }
        if self.media.is_some_and(|media| number < media.number) {
            return None;
        }
        let address = known.address;
        let before = self.media.map(|media| media.address);
        let is_closed = self.address(now).is_none();
        self.media = Some(Media { address, number, seen: now, is_closed: false });
        match before {
            Some(before) if before != address => Some(HostEvent::Moved(address)),
            _ => is_closed.then_some(HostEvent::Opened(address)),
        }
    }

    /// What is known of an address. A new one gets the token, and a place: a free one, or that of
    /// the one that was silent the longest.
    fn meet(&mut self, from: SocketAddr, token: Token, now: Instant) -> Known {
        let place = self.place_of(from).unwrap_or_else(|| self.place_for_another());
        let known = self.known[place].filter(|known| known.address == from && !is_over(known, now));
        let token = known.map_or(token, |known| known.token);
        *self.known[place].insert(Known { address: from, token, seen: now })
    }

    /// An address has one place, also when its token is over: those of media are never all.
    fn place_of(&self, address: SocketAddr) -> Option<usize> {
        self.known.iter().position(|known| known.is_some_and(|known| known.address == address))
    }

    /// Never that of the address of media.
    fn place_for_another(&self) -> usize {
        let media = self.media.map(|media| media.address);
        let others = self.known.iter().enumerate();
        let others = others.filter(|(_, known)| known.is_none_or(|it| Some(it.address) != media));
        let oldest = others.min_by_key(|(_, known)| known.map(|known| known.seen));
        oldest.expect("one place at most is that of media").0
    }

    fn may_answer(&mut self, now: Instant) -> bool {
        let (since, count) =
            self.answers.filter(|(since, _)| now < *since + SECOND).unwrap_or((now, 0));
        self.answers = Some((since, (count + 1).min(ANSWER_COUNT_MAX)));
        count < ANSWER_COUNT_MAX
    }
}

fn is_over(known: &Known, now: Instant) -> bool {
    now >= known.seen + TOKEN_LIFE
}
