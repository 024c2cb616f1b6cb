//! One link of a responder, and what is under way on it.

#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::zone::Set;

/// No set is multicast on a link more often, RFC 6762 section 6.
pub(super) const SET_INTERVAL: Duration = Duration::from_secs(1);

/// The protocol that carries packets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Family {
    /// IPv4, to 224.0.0.251.
    V4,
    /// IPv6, to ff02::fb.
    V6,
}

/// One interface by one address family.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The kernel's index of the interface.
    pub interface: u32,
    /// The family that packets are sent by. Either carries addresses of both.
    pub family: Family,
    /// What is published there: the interface's addresses of both families. The first 16 count.
    pub addresses: Vec<IpAddr>,
}

/// What is under way on one link.
#[derive(Debug)]
pub(super) struct State {
    /// As it was given, with no more addresses than are published.
    pub link: Link,
    pub phase: Phase,
    pub owed: Vec<Owed>,
    /// When a set was last multicast here.
    sent: Vec<(Set, Instant)>,
}

/// How far the names are ours on a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// Names may belong to somebody else; so many probes were sent.
    Probing(u8, Instant),
    /// Names are ours; so many announcements were sent.
    Announcing(usize, Instant),
    /// There is nothing to do until somebody asks.
    Settled,
}

/// A multicast answer that is not given yet.
#[derive(Debug)]
pub(super) struct Owed {
    pub set: Set,
    /// When it is due.
    pub at: Instant,
    /// Who asked, if it was one host only.
    pub asker: Option<IpAddr>,
}

impl Link {
    pub(super) fn is_same(&self, interface: u32, family: Family) -> bool {
        self.interface == interface && self.family == family
    }
}

impl State {
    /// Nothing was sent there yet.
    pub fn new(link: Link, phase: Phase) -> State {
        State { link, phase, owed: Vec::new(), sent: Vec::new() }
    }

    /// Has the link announced, if these are others.
    pub fn set_addresses(&mut self, addresses: Vec<IpAddr>, now: Instant) {
        if self.link.addresses == addresses {
            return;
        }
        self.link.addresses = addresses;
        self.sent.retain(|(set, _)| !matches!(set, Set::A | Set::Aaaa | Set::HostTypes));
        if !matches!(self.phase, Phase::Probing(..)) {
            self.phase = Phase::Announcing(0, now);
        }
    }

    /// Has the names proved from `at` on, as if nothing had been said before.
    pub fn probe_again(&mut self, at: Instant) {
        self.phase = Phase::Probing(0, at);
        self.owed.clear();
        self.sent.clear();
    }

    /// Will multicast `set` at `at`, unless that is too soon after the last time.
    pub fn owe(&mut self, set: Set, at: Instant, interval: Duration, asker: Option<IpAddr>) {
        let at = self.last_sent(set).map_or(at, |last| at.max(last + interval));
        match self.owed.iter_mut().find(|owed| owed.set == set) {
            Some(owed) => {
                owed.at = owed.at.min(at);
                owed.asker = owed.asker.filter(|_| owed.asker == asker);
            }
            None => self.owed.push(Owed { set, at, asker }),
        }
    }

    /// When `set` was multicast last.
    pub fn last_sent(&self, set: Set) -> Option<Instant> {
        self.sent.iter().find(|(other, _)| *other == set).map(|(_, at)| *at)
    }

    /// Whether `set` was not multicast too recently.
    pub fn may_send(&self, set: Set, now: Instant) -> bool {
        self.last_sent(set).is_none_or(|at| at + SET_INTERVAL <= now)
    }

    /// Notes that `sets` were multicast, so they are owed no more.
    pub fn note_sent<'a>(&mut self, sets: impl Iterator<Item = &'a Set>, now: Instant) {
        for set in sets {
            self.owed.retain(|owed| owed.set != *set);
            self.sent.retain(|(other, _)| other != set);
            self.sent.push((*set, now));
        }
    }
}
