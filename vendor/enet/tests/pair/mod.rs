//! Two hosts, a link between them that is as bad as it is told to be, and a clock that is a variable.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use enet::{Config, Event, Host, Knock, Outcome, Path, PeerId};

/// Xorshift.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    /// From 0 to one less than `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn happens(&mut self, percent: u8) -> bool {
        self.below(100) < percent.into()
    }
}

/// What a link does to datagrams, either way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    pub loss_percent: u8,
    pub duplicate_percent: u8,
    pub delay_ms: u64,
    /// Added to the delay of each on its own, so that they overtake each other.
    pub jitter_ms: usize,
}

/// The end that is called is 0, the one that calls 1.
pub struct Pair {
    pub hosts: [Host; 2],
    pub events: [Vec<Event>; 2],
    pub link: Link,
    pub random: Random,
    pub now: Instant,
    pub start: Instant,
    /// Knocks are let in.
    pub admits: bool,
    pub knocks: Vec<Knock>,
    /// The peer at either end, once there is one.
    pub peers: [Option<PeerId>; 2],
    /// Datagrams sent by either end, those included that got lost.
    pub sent_counts: [usize; 2],
    under_way: BTreeMap<(Instant, usize), (usize, Vec<u8>)>,
}

pub fn address(end: usize) -> Path {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, end as u8 + 1), 48_010)).into()
}

#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
pub fn epoch() -> Instant {
    Instant::now()
}

impl Pair {
    pub fn new(seed: u64, link: Link, config: Config) -> Pair {
        let start = epoch();
        Pair {
            hosts: [Host::new(config.clone(), start), Host::new(config, start)],
            events: [vec![], vec![]],
            link,
            random: Random::new(seed),
            now: start,
            start,
            admits: true,
            knocks: vec![],
            peers: [None; 2],
            sent_counts: [0; 2],
            under_way: BTreeMap::new(),
        }
    }

    /// As [`Pair::new`], with the handshake through.
    pub fn connected(seed: u64, link: Link, config: Config) -> Pair {
        let mut pair = Pair::new(seed, link, config);
        pair.call();
        pair.run(Duration::from_secs(10), Pair::is_connected);
        assert!(pair.is_connected(), "seed {seed}: {:?}", pair.events);
        pair.events = [vec![], vec![]];
        pair
    }

    /// End 1 asks for a connection.
    pub fn call(&mut self) {
        let connect_id = self.random.next() as u32;
        let now = self.now;
        self.peers[1] = Some(self.hosts[1].connect(address(0), 48, connect_id, 9, now).unwrap());
    }

    pub fn is_connected(&self) -> bool {
        let is_connected = |event: &Event| matches!(event, Event::Connected { .. });
        self.events.iter().all(|events| events.iter().any(is_connected))
    }

    pub fn peer(&self, end: usize) -> PeerId {
        self.peers[end].unwrap()
    }

    /// Sends, delivers and waits until something is so or the time is over; whether it is so.
    pub fn run(&mut self, limit: Duration, is_so: impl Fn(&Pair) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.drain();
            if is_so(self) {
                return true;
            }
            let arrival = self.under_way.first_key_value().map(|(key, _)| key.0);
            let timeouts = self.hosts.iter().filter_map(Host::poll_timeout);
            let next = timeouts.chain(arrival).min().unwrap_or(end);
            if next >= end {
                self.now = end;
                return false;
            }
            assert!(next >= self.now || arrival.is_none_or(|at| at >= self.now));
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn step(&mut self) {
        for host in &mut self.hosts {
            if host.poll_timeout().is_some_and(|at| at <= self.now) {
                host.handle_timeout(self.now);
                assert!(host.poll_timeout().is_none_or(|at| at > self.now), "a deadline is done");
            }
        }
        self.drain();
        while let Some(first) = self.under_way.first_entry() {
            if first.key().0 > self.now {
                return;
            }
            let (end, bytes) = first.remove();
            match self.hosts[end].handle_datagram(address(1 - end), &bytes, self.now) {
                Ok(Outcome::Knock(knock)) => {
                    self.knocks.push(knock);
                    if self.admits {
                        self.peers[end] = Some(self.hosts[end].admit(knock, self.now).unwrap());
                    }
                }
                Ok(outcome) => assert_eq!(outcome, Outcome::Handled),
                Err(_) => {} // late for a peer that is gone, or early for one that is not there yet
            }
            self.drain();
        }
    }

    fn drain(&mut self) {
        for end in 0..2 {
            while let Some(event) = self.hosts[end].poll_event() {
                self.events[end].push(event);
            }
            let mut bytes = Vec::new();
            while let Some(to) = self.hosts[end].poll_datagram(self.now, &mut bytes) {
                assert_eq!(to, address(1 - end));
                assert!(bytes.len() <= 900);
                self.sent_counts[end] += 1;
                self.carry(1 - end, &bytes);
            }
        }
    }

    fn carry(&mut self, to: usize, bytes: &[u8]) {
        if self.random.happens(self.link.loss_percent) {
            return;
        }
        let count = 1 + usize::from(self.random.happens(self.link.duplicate_percent));
        for _ in 0..count {
            let jitter_ms = self.random.below(self.link.jitter_ms + 1) as u64;
            let at = self.now + Duration::from_millis(self.link.delay_ms + jitter_ms);
            let number = self.sent_counts[0] + self.sent_counts[1];
            let number = number * 2 + self.random.below(2);
            self.under_way.insert((at, number), (to, bytes.to_vec()));
        }
    }

    /// The messages that came to this end on this channel.
    pub fn messages(&self, end: usize, wanted: u8) -> Vec<&[u8]> {
        let of_channel = |event| match event {
            &Event::Message { channel, ref bytes, .. } if channel == wanted => Some(&bytes[..]),
            _ => None,
        };
        self.events[end].iter().filter_map(of_channel).collect()
    }
}
