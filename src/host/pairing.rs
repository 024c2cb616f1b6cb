//! Pairings under way: which devices wait for their PIN, and what became of the last ones.
//!
//! Every exchange belongs to one client address, because the stages after the first carry nothing
//! else to know it by. Exchanges are bounded in number and time; any error erases the one it
//! happens in. A PIN comes from the administrator for one exchange, named by its number and by the
//! fingerprint that the administrator was shown, and works once.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use punktfunk_core::proto::cert::{Certificate, Fingerprint};
use punktfunk_core::proto::gamestream::pairing::{
    self, Exchange, HostKeys, PairRequest, Pin, Reply,
};
use ring::rand::SecureRandom;

use crate::peer;

/// Exchanges at most at a time, over all addresses.
const PENDING_COUNT_MAX: usize = 8;
/// Of these, those of one holder of addresses, which has many in IPv6.
const HELD_COUNT_MAX: usize = 4;
/// Exchanges that are over and still shown.
const RECENT_COUNT_MAX: usize = 16;
/// How long a PIN that was used is refused for another exchange.
const USED_PIN_MEMORY: Duration = Duration::from_secs(600);

/// How many attempts may fail, and in which time, before new ones are refused.
#[derive(Clone, Copy, Debug)]
pub struct AttemptLimit {
    /// Failed attempts.
    pub count: usize,
    /// Time in which they are counted.
    pub window: Duration,
}

/// The pairings of one host. `C` names a connection that waits for its answer.
#[derive(Debug)]
pub struct Pairings<C> {
    pending: Vec<Pending<C>>,
    /// Those whose last stage held, until [`Pairings::conclude`]. Nothing ends them any more.
    proved: Vec<Entry>,
    /// Those that are over, the newest first.
    recent: VecDeque<Entry>,
    /// When an attempt failed after its PIN was given: only those were guesses.
    failed: Vec<Instant>,
    /// PINs, and when each was used.
    used_pins: Vec<(Instant, Pin)>,
    last_id: u64,
}

#[derive(Debug)]
struct Pending<C> {
    entry: Entry,
    exchange: Exchange,
    /// The connection of the first stage, until it is answered.
    waiting: Option<C>,
}

/// What is shown of an exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Counts from 1; never used twice in a run.
    pub id: u64,
    /// Where the device asks from.
    pub address: IpAddr,
    /// The certificate that would be trusted.
    pub fingerprint: Fingerprint,
    /// What the device calls itself, when it is not the constant of every Moonlight.
    pub device_name: Option<Box<str>>,
    /// When the first stage came.
    pub began: Instant,
    /// How far it is.
    pub state: State,
}

/// How far an exchange is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Over without trust, for this reason.
    Failed(Failure),
    /// Over; the client is trusted.
    Paired,
    /// The PIN is given, the two ends prove it to each other.
    Proving,
    /// The administrator has not given the PIN.
    Waiting,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Failed(failure) => write!(f, "failed: {failure}"),
            State::Paired => f.write_str("paired"),
            State::Proving => f.write_str("proving its PIN"),
            State::Waiting => f.write_str("waiting for its PIN"),
        }
    }
}

/// Why an exchange ended without trust.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The device took its request back.
    Cancelled,
    /// What the device sent is no request.
    Malformed,
    /// The new list of clients could not be written.
    NotStored(String),
    /// What the device sent does not fit the protocol or its step.
    Protocol(pairing::Error),
    /// The administrator said no.
    Rejected,
    /// The host is on its way out.
    Stopping,
    /// Nothing came in time.
    TimedOut,
    /// The PIN had been used before.
    UsedPin,
    /// The device broke off after the host's proof: it was given another PIN there.
    WrongPin,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Cancelled => f.write_str("cancelled on the device"),
            Failure::Malformed => f.write_str("the device sent no proper request"),
            Failure::NotStored(why) => write!(f, "not stored: {why}"),
            Failure::Protocol(error) => error.fmt(f),
            Failure::Rejected => f.write_str("rejected by the administrator"),
            Failure::Stopping => f.write_str("the host is stopping"),
            Failure::TimedOut => f.write_str("nothing heard in time"),
            Failure::UsedPin => f.write_str("that PIN was used before"),
            Failure::WrongPin => f.write_str("wrong PIN"),
        }
    }
}

/// Why a first stage is not begun, or a PIN not taken.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// The address has an exchange under way.
    Busy,
    /// What the device sent cannot begin an exchange.
    Exchange(pairing::Error),
    /// As many exchanges as there may be are under way.
    Full,
    /// The fingerprint is not that of the pending exchange.
    OtherFingerprint,
    /// Four digits make a PIN.
    PinFormat,
    /// The PIN was used before; the exchange is erased.
    PinUsed,
    /// The exchange has its PIN already, or is over.
    NotWaiting,
    /// Too many attempts failed; one is forgotten after so many minutes.
    TooManyFailures(u16),
    /// No exchange has that number.
    Unknown,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Busy => f.write_str("Another pairing is in progress from this address"),
            Refusal::Exchange(error) => error.fmt(f),
            Refusal::Full => f.write_str("Too many pairings are in progress"),
            Refusal::OtherFingerprint => {
                f.write_str("the pairing with this number has another certificate fingerprint")
            }
            Refusal::PinFormat => f.write_str("a PIN is 4 digits"),
            Refusal::PinUsed => f.write_str(
                "this PIN was used before; start the pairing again on the device for a new one",
            ),
            Refusal::NotWaiting => f.write_str("this pairing does not wait for a PIN"),
            Refusal::TooManyFailures(minutes) => {
                write!(f, "Too many pairings have failed, try again in {minutes} min")
            }
            Refusal::Unknown => f.write_str("no such pairing"),
        }
    }
}

/// An exchange that ended, with the connection that still waits for an answer, if one does.
#[derive(Debug, PartialEq)]
pub struct Ended<C> {
    /// How it ended.
    pub entry: Entry,
    /// Owed an answer.
    pub waiting: Option<C>,
}

/// Why something was not taken, and the exchange that ended of it, if one did.
pub type Refused<E, C> = (E, Option<Ended<C>>);

/// What a later stage came to.
#[derive(Debug)]
pub struct Step {
    /// The exchange's number.
    pub id: u64,
    /// The answer. When it carries a certificate, it is to be trusted before the answer is sent,
    /// and [`Pairings::conclude`] is to be told.
    pub reply: Reply,
}

impl<C> Default for Pairings<C> {
    fn default() -> Self {
        Pairings {
            pending: Vec::new(),
            proved: Vec::new(),
            recent: VecDeque::new(),
            failed: Vec::new(),
            used_pins: Vec::new(),
            last_id: 0,
        }
    }
}

impl<C: Copy + PartialEq> Pairings<C> {
    /// Begins an exchange. `waiting` is the connection that is answered once the PIN is given, at
    /// most `window` from now.
    pub fn begin(
        &mut self,
        request: &PairRequest,
        address: IpAddr,
        waiting: C,
        now: Instant,
        window: Duration,
        limit: AttemptLimit,
    ) -> Result<Entry, Refused<Refusal, C>> {
        if let Some(position) = self.position_at(address) {
            // One that waits for its PIN goes on; one that is past it has lost its order.
            let is_waiting = self.pending[position].entry.state == State::Waiting;
            let failure = Failure::Protocol(pairing::Error::OutOfOrder);
            let ended = (!is_waiting).then(|| self.end(position, failure, now));
            return Err((Refusal::Busy, ended));
        }
        self.failed.retain(|at| now.duration_since(*at) < limit.window);
        if self.failed.len() >= limit.count {
            let oldest = self.failed[self.failed.len() - limit.count];
            let wait = limit.window.saturating_sub(now.duration_since(oldest));
            let minutes = u16::try_from(wait.as_secs().div_ceil(60)).unwrap_or(u16::MAX);
            return Err((Refusal::TooManyFailures(minutes), None));
        }
        let is_its = |it: &&Pending<C>| peer::holder(it.entry.address) == peer::holder(address);
        let held_count = self.pending.iter().filter(is_its).count();
        if self.pending_count() >= PENDING_COUNT_MAX || held_count >= HELD_COUNT_MAX {
            return Err((Refusal::Full, None));
        }
        let PairRequest::GetServerCert { certificate, device_name, .. } = request else {
            return Err((Refusal::Exchange(pairing::Error::OutOfOrder), None));
        };
        let exchange = Exchange::begin(request, now, window)
            .map_err(|error| (Refusal::Exchange(error), None))?;
        self.last_id += 1;
        let entry = Entry {
            id: self.last_id,
            address,
            fingerprint: certificate.fingerprint(),
            device_name: device_name.as_deref().map(Into::into),
            began: now,
            state: State::Waiting,
        };
        let waiting = Some(waiting);
        self.pending.push(Pending { entry: entry.clone(), exchange, waiting });
        Ok(entry)
    }

    /// Takes the administrator's PIN. Returns the connection that waited, and its answer.
    pub fn handle_pin(
        &mut self,
        id: u64,
        fingerprint: Fingerprint,
        pin: &str,
        host: &Certificate,
        now: Instant,
    ) -> Result<(C, String), Refused<Refusal, C>> {
        let position = self.position_of(id).map_err(|refusal| (refusal, None))?;
        let pending = &self.pending[position];
        if pending.entry.fingerprint != fingerprint {
            return Err((Refusal::OtherFingerprint, None));
        }
        let pin = Pin::parse(pin).ok_or((Refusal::PinFormat, None))?;
        let Some(waiting) = pending.waiting.filter(|_| pending.entry.state == State::Waiting)
        else {
            return Err((Refusal::NotWaiting, None));
        };
        self.used_pins.retain(|(at, _)| now.duration_since(*at) < USED_PIN_MEMORY);
        if self.used_pins.iter().any(|(_, used)| *used == pin) {
            let ended = self.end(position, Failure::UsedPin, now);
            return Err((Refusal::PinUsed, Some(ended)));
        }
        let pending = &mut self.pending[position];
        let answered = pending.exchange.handle_pin(&pin, host, now);
        self.used_pins.push((now, pin));
        match answered {
            Ok(body) => {
                pending.entry.state = State::Proving;
                pending.waiting = None;
                Ok((waiting, body))
            }
            Err(error) => {
                let ended = self.end(position, Failure::Protocol(error), now);
                Err((Refusal::Exchange(error), Some(ended)))
            }
        }
    }

    /// Takes stages two to four, which are known by the address alone.
    pub fn handle_request(
        &mut self,
        request: &PairRequest,
        address: IpAddr,
        host: &HostKeys<'_>,
        random: &dyn SecureRandom,
        now: Instant,
    ) -> Result<Step, Refused<pairing::Error, C>> {
        let Some(position) = self.position_at(address) else {
            return Err((pairing::Error::NotUnderWay, None));
        };
        let pending = &mut self.pending[position];
        match pending.exchange.handle_request(request, host, random, now) {
            Ok(reply) => {
                let step = Step { id: pending.entry.id, reply };
                if step.reply.is_refused {
                    self.end(position, Failure::WrongPin, now);
                } else if step.reply.paired.is_some() {
                    let entry = self.pending.remove(position).entry;
                    self.proved.push(entry);
                }
                Ok(step)
            }
            Err(error) => {
                let ended = self.end(position, Failure::Protocol(error), now);
                Err((error, Some(ended)))
            }
        }
    }

    /// The client of an exchange whose last stage held is stored, or could not be.
    pub fn conclude(&mut self, id: u64, stored: Result<(), String>, now: Instant) {
        let Some(position) = self.proved.iter().position(|entry| entry.id == id) else {
            return;
        };
        let mut entry = self.proved.remove(position);
        match stored {
            Ok(()) => {
                entry.state = State::Paired;
                self.remember(entry);
            }
            Err(why) => {
                self.fail(entry, Failure::NotStored(why), now);
            }
        }
    }

    /// The administrator says no.
    pub fn reject(&mut self, id: u64, now: Instant) -> Result<Ended<C>, Refusal> {
        let position = self.position_of(id)?;
        Ok(self.end(position, Failure::Rejected, now))
    }

    /// The device asks to forget its exchange, as it does after a wrong PIN.
    pub fn abort(&mut self, address: IpAddr, unique_id: &str, now: Instant) -> Option<Ended<C>> {
        let position = self.position_at(address)?;
        let pending = &self.pending[position];
        if pending.exchange.unique_id() != unique_id {
            return None;
        }
        let failure = match pending.entry.state {
            State::Proving => Failure::WrongPin,
            _ => Failure::Cancelled,
        };
        Some(self.end(position, failure, now))
    }

    /// Ends the exchange of an address for what came from there.
    pub fn erase_at(
        &mut self,
        address: IpAddr,
        failure: Failure,
        now: Instant,
    ) -> Option<Ended<C>> {
        let position = self.position_at(address)?;
        Some(self.end(position, failure, now))
    }

    /// A connection is gone; the exchange whose first stage waited on it goes with it.
    pub fn connection_closed(&mut self, connection: C, now: Instant) -> Option<Ended<C>> {
        let is_it = |pending: &Pending<C>| pending.waiting == Some(connection);
        let position = self.pending.iter().position(is_it)?;
        self.pending[position].waiting = None;
        Some(self.end(position, Failure::Cancelled, now))
    }

    /// The next exchange that waits for its PIN, which will not come any more.
    pub fn poll_waiting(&mut self, now: Instant) -> Option<Ended<C>> {
        let is_waiting = |pending: &Pending<C>| pending.entry.state == State::Waiting;
        let position = self.pending.iter().position(is_waiting)?;
        Some(self.end(position, Failure::Stopping, now))
    }

    /// The next exchange whose time is up.
    pub fn poll_expired(&mut self, now: Instant) -> Option<Ended<C>> {
        let is_due = |pending: &Pending<C>| pending.exchange.poll_timeout() <= now;
        let position = self.pending.iter().position(is_due)?;
        Some(self.end(position, Failure::TimedOut, now))
    }

    /// When to call [`Pairings::poll_expired`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.exchange.poll_timeout()).min()
    }

    /// Those under way, the oldest first, then those that are over, the newest first. With each
    /// that waits for something from outside, when its time is up.
    pub fn entries(&self) -> impl Iterator<Item = (&Entry, Option<Instant>)> {
        let pending = self
            .pending
            .iter()
            .map(|pending| (&pending.entry, Some(pending.exchange.poll_timeout())));
        let rest = self.proved.iter().chain(&self.recent).map(|entry| (entry, None));
        pending.chain(rest)
    }

    /// How many are under way.
    pub fn pending_count(&self) -> usize {
        self.pending.len() + self.proved.len()
    }

    fn position_of(&self, id: u64) -> Result<usize, Refusal> {
        let position = self.pending.iter().position(|pending| pending.entry.id == id);
        position.ok_or_else(|| match self.entries().any(|(entry, _)| entry.id == id) {
            true => Refusal::NotWaiting,
            false => Refusal::Unknown,
        })
    }

    fn position_at(&self, address: IpAddr) -> Option<usize> {
        self.pending.iter().position(|pending| pending.entry.address == address)
    }

    /// Erases an exchange.
    fn end(&mut self, position: usize, failure: Failure, now: Instant) -> Ended<C> {
        let Pending { entry, waiting, .. } = self.pending.remove(position);
        Ended { entry: self.fail(entry, failure, now), waiting }
    }

    fn fail(&mut self, mut entry: Entry, failure: Failure, now: Instant) -> Entry {
        // Whoever broke off after the PIN was given may have been guessing; our disk was not.
        if entry.state == State::Proving && !matches!(failure, Failure::NotStored(_)) {
            self.failed.push(now);
        }
        entry.state = State::Failed(failure);
        self.remember(entry.clone());
        entry
    }

    fn remember(&mut self, entry: Entry) {
        self.recent.truncate(RECENT_COUNT_MAX - 1);
        self.recent.push_front(entry);
    }
}

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "nobody hurries here")]
mod tests;
