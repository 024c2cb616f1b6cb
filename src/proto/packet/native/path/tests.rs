//! The way of the data plane, both ends of it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::net::clock;

#[test]
fn pings_and_answers_are_read_as_they_are_written() {
    let token = Token::new([7; 16]);
    for token in [None, token] {
        let ping = Ping { sent_us: 1 << 60, token };
        assert_eq!(Ping::parse(&ping.emit()), Ok(ping));
        assert_eq!(Answer::parse(&ping.emit()), Err(Error::Contradiction));
    }
    let token = token.unwrap();
    for (has_media, last_unit) in [(false, None), (true, Some(FrameIndex(0xfedc_ba98)))] {
        let answer = Answer { sent_us: 3, host_us: u64::MAX, has_media, last_unit, token };
        let longer = [&answer.emit()[..], b"more"].concat();
        assert_eq!(Answer::parse(&longer), Ok(answer));
        assert_eq!(Ping::parse(&longer), Err(Error::Contradiction));
        assert_eq!(Answer::parse(&longer[..PING_LEN - 1]), Err(Error::TooShort));
    }
    let mut without = Ping { sent_us: 1, token: None }.emit();
    without[0] = ANSWER;
    assert_eq!(Answer::parse(&without), Err(Error::Contradiction));
    assert_eq!(Token::new([0; 16]), None);
}

const MS: Duration = Duration::from_millis(1);

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 4000))
}

/// Both ends. Packets are numbered by hand, times are those of one clock.
struct Pair {
    host: HostPath,
    client: ClientPath,
    began: Instant,
    now: Instant,
    ping_number: u64,
    answer_number: u64,
    chance: u8,
}

impl Pair {
    fn new() -> Pair {
        let now = clock::now();
        Pair {
            host: HostPath::default(),
            client: ClientPath::new(now),
            began: now,
            now,
            ping_number: 0,
            answer_number: 0,
            chance: 0,
        }
    }

    fn now_us(&self) -> u64 {
        (self.now - self.began).as_micros() as u64
    }

    /// The ping that is due, and its number.
    fn ping(&mut self) -> Option<(u64, [u8; PING_LEN])> {
        let ping = self.client.poll_ping(self.now, self.now_us())?;
        self.ping_number += 1;
        Some((self.ping_number, ping.emit()))
    }

    /// The next ping, when it is due.
    fn next_ping(&mut self) -> (u64, [u8; PING_LEN]) {
        self.now = self.client.poll_timeout().max(self.now);
        self.ping().expect("one is due then")
    }

    fn arrive(&mut self, from: u8, (number, ping): (u64, [u8; PING_LEN])) -> Outcome {
        self.chance = self.chance.wrapping_add(1).max(1);
        let token = Token::new([self.chance; 16]).unwrap();
        let us = self.now_us() + 1_000_000;
        self.host.handle_ping(address(from), number, &ping, token, self.now, us).unwrap()
    }

    /// What the client makes of an answer.
    fn answer(&mut self, outcome: &Outcome) -> Option<ClientEvent> {
        self.answer_number += 1;
        let answer = outcome.answer.unwrap().emit();
        let us = self.now_us();
        self.client.handle_answer(self.answer_number, &answer, self.now, us).unwrap().0
    }

    /// Pings from an address until media go there.
    fn open(&mut self, from: u8) {
        for _ in 0..2 {
            let ping = self.next_ping();
            let outcome = self.arrive(from, ping);
            self.answer(&outcome);
        }
        assert_eq!(self.host.address(self.now), Some(address(from)));
    }
}

#[test]
fn answers_tell_the_last_access_unit_and_older_ones_change_nothing() {
    let mut pair = Pair::new();
    pair.open(1);
    assert_eq!(pair.client.last_unit(), None);
    let answers = [3, 7].map(|number| {
        pair.host.note_unit(FrameIndex(number));
        let ping = pair.next_ping();
        pair.arrive(1, ping).answer.unwrap().emit()
    });

    for (number, answer) in [(9, &answers[1]), (8, &answers[0])] {
        pair.client.handle_answer(number, answer, pair.now, 0).unwrap();
    }

    assert_eq!(pair.client.last_unit(), Some(FrameIndex(7)));
}

#[test]
fn media_go_to_an_address_that_has_shown_its_token() {
    let mut pair = Pair::new();

    let first = pair.next_ping();
    let outcome = pair.arrive(1, first);
    assert_eq!((outcome.event, pair.host.address(pair.now)), (None, None));
    pair.now += 5 * MS;
    assert_eq!(pair.answer(&outcome), None);

    // Not after the usual interval: the token is shown at once.
    let second = pair.next_ping();
    assert_eq!(pair.now - pair.began, 10 * MS);
    let outcome = pair.arrive(1, second);
    assert_eq!(outcome.event, Some(HostEvent::Opened(address(1))));
    assert_eq!(pair.answer(&outcome), Some(ClientEvent::Opened));

    pair.next_ping();
    assert_eq!(pair.now - pair.began, 1010 * MS);
}

#[test]
fn no_answer_is_longer_than_what_it_answers() {
    let mut pair = Pair::new();
    let (number, ping) = pair.next_ping();
    let token = Token::new([1; 16]).unwrap();

    for len in 0..PING_LEN {
        let short = &ping[..len];
        let result = pair.host.handle_ping(address(1), number, short, token, pair.now, 0);
        assert_eq!(result, Err(Error::TooShort));
    }
    let outcome = pair.arrive(1, (number, ping));

    assert_eq!(outcome.answer.unwrap().emit().len(), ping.len());
}

#[test]
fn a_ping_that_another_sends_first_leads_nowhere() {
    let mut pair = Pair::new();
    pair.open(1);
    for _ in 0..20 {
        let ping = pair.next_ping();
        // Whoever is on the way is quicker, from an address of its own choice; the client's own is
        // a replay then. What is sent there, the client never reads.
        let stolen = pair.arrive(66, ping);
        assert_eq!(stolen.event, None);
        assert!(!stolen.answer.unwrap().has_media);

        // The next one comes through.
        let ping = pair.next_ping();
        let outcome = pair.arrive(1, ping);
        assert_eq!(outcome.event, None);
        pair.answer(&outcome);
        assert_eq!(pair.host.address(pair.now), Some(address(1)));
    }
}

#[test]
fn media_follow_the_client_and_no_older_ping_moves_them_back() {
    let mut pair = Pair::new();
    pair.open(1);
    // One that stays on its way for long.
    let held = pair.next_ping();

    pair.client.handle_rebind(pair.now);
    let ping = pair.next_ping();
    assert_eq!(ping.0, held.0 + 1);
    let outcome = pair.arrive(2, ping);
    assert_eq!((outcome.event, pair.host.address(pair.now)), (None, Some(address(1))));
    assert_eq!(pair.answer(&outcome), Some(ClientEvent::Closed));
    let ping = pair.next_ping();
    let outcome = pair.arrive(2, ping);
    assert_eq!(outcome.event, Some(HostEvent::Moved(address(2))));
    assert_eq!(pair.answer(&outcome), Some(ClientEvent::Opened));

    // It has the right token for where it comes from, and is answered, but moves nothing.
    let outcome = pair.arrive(1, held);
    assert_eq!((outcome.event, outcome.answer.unwrap().has_media), (None, false));
    assert_eq!(pair.host.address(pair.now), Some(address(2)));

    // Back again, both know each other.
    pair.client.handle_rebind(pair.now);
    let ping = pair.next_ping();
    let outcome = pair.arrive(1, ping);
    assert_eq!(outcome.event, None, "it shows the token of the other address");
    pair.answer(&outcome);
    let ping = pair.next_ping();
    assert_eq!(pair.arrive(1, ping).event, Some(HostEvent::Moved(address(1))));
}

#[test]
fn silence_ends_media_and_an_old_ping_does_not_revive_them() {
    let mut pair = Pair::new();
    pair.open(1);
    let held = pair.next_ping();
    let ping = pair.next_ping();
    pair.arrive(1, ping);
    let end = pair.now + 5 * 1000 * MS;
    assert_eq!(pair.host.poll_timeout(), Some(end));
    assert_eq!(
        (pair.host.poll_event(end - MS), pair.host.address(end - MS)),
        (None, Some(address(1)))
    );

    assert_eq!(pair.host.poll_event(end), Some(HostEvent::Closed));
    assert_eq!((pair.host.poll_event(end), pair.host.poll_timeout()), (None, None));
    pair.now = end;
    assert_eq!((pair.arrive(1, held).event, pair.host.address(end)), (None, None));
    let ping = pair.next_ping();
    assert_eq!(pair.arrive(1, ping).event, Some(HostEvent::Opened(address(1))));
}

#[test]
fn a_client_that_is_silent_again_and_again_keeps_one_place() {
    let mut pair = Pair::new();
    pair.open(1);
    for _ in 0..2 * host::ADDRESS_COUNT_MAX {
        // Longer than any token holds.
        pair.now += Duration::from_secs(60);
        let ping = pair.next_ping();
        assert!(pair.arrive(1, ping).answer.is_some());
    }
    pair.now += Duration::from_secs(60);
    let ping = pair.next_ping();
    assert!(pair.arrive(2, ping).answer.is_some());
}

#[test]
fn a_client_that_hears_nothing_pings_more_often_and_says_so() {
    let mut pair = Pair::new();
    pair.open(1);
    let heard = pair.now;

    let mut pings = Vec::new();
    let mut events = Vec::new();
    while pair.now < heard + 4 * 1000 * MS {
        pair.now = pair.client.poll_timeout();
        events.extend(pair.client.poll_event(pair.now).map(|event| (event, pair.now - heard)));
        pings.extend(pair.ping().map(|_| (pair.now - heard).as_millis()));
    }

    assert_eq!(events, [(ClientEvent::Closed, 3000 * MS)]);
    assert_eq!(pings[..3], [1000, 1100, 1200]);
    assert_eq!(pings.len(), 31);
    // The way is there again.
    let ping = pair.next_ping();
    let outcome = pair.arrive(1, ping);
    assert_eq!(pair.answer(&outcome), Some(ClientEvent::Opened));
}

#[test]
fn times_give_the_way_there_and_back_and_the_offset_of_the_clocks() {
    let mut pair = Pair::new();
    let ping = pair.next_ping();
    pair.now += 4 * MS;
    let outcome = pair.arrive(1, ping);
    pair.now += 6 * MS;
    let answer = outcome.answer.unwrap();

    let us = pair.now_us();
    let (_, sample) = pair.client.handle_answer(9, &answer.emit(), pair.now, us).unwrap();
    // The way there was a millisecond shorter than the way back.
    assert_eq!(sample, Some(Sample { rtt_us: 10_000, offset_us: 999_000 }));

    // A host that makes up times harms nothing.
    for (sent_us, host_us) in [(u64::MAX, 0), (0, u64::MAX), (us, 1 << 63), (us + 1, 0)] {
        let answer = Answer { sent_us, host_us, ..answer };
        let (_, sample) = pair.client.handle_answer(10, &answer.emit(), pair.now, us).unwrap();
        assert_eq!(sample.is_some(), sent_us <= us);
    }
}

#[test]
fn pings_from_everywhere_cost_a_bounded_memory_and_a_bounded_rate() {
    let mut pair = Pair::new();
    pair.open(1);
    let began = pair.now;
    let mut answer_count = 0;
    for number in 100..10_000 {
        pair.now += MS;
        let from = 2 + (number % 200) as u8;
        let ping = Ping { sent_us: 0, token: Token::new([from; 16]) }.emit();
        answer_count += u32::from(pair.arrive(from, (number, ping)).answer.is_some());
        if number % 500 == 0 {
            // The right ones do not drown.
            let (_, ping) = pair.next_ping();
            assert_eq!(pair.arrive(1, (number + 10_000, ping)).event, None);
        }
    }

    let seconds = (pair.now - began).as_secs() as u32 + 1;
    assert!(answer_count <= 32 * seconds && answer_count > 16 * seconds, "{answer_count}");
    assert_eq!(pair.host.address(pair.now), Some(address(1)));
    assert!(size_of::<HostPath>() < 1024);
}

#[test]
fn whatever_comes_media_go_only_where_a_token_was_shown() {
    let mut state = 0x1357_9bdf_0246_8ace_u64;
    let mut random = move |end: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % end
    };
    for _ in 0..200 {
        let mut pair = Pair::new();
        // Tokens that were sent to each address, and what was shown from there.
        let (mut given, mut shown) = (Vec::new(), HashSet::new());
        let mut highest = 0;
        for _ in 0..200 {
            pair.now += Duration::from_millis(random(100) * random(30));
            let from = random(6) as u8;
            let token = match random(3) {
                0 => None,
                _ => given.get(random(given.len() as u64 + 1) as usize).map(|(_, token)| *token),
            };
            let number = 1 + random(1000);
            let is_good = token.is_some_and(|token| given.contains(&(from, token)));

            let outcome = pair.arrive(from, (number, Ping { sent_us: 0, token }.emit()));

            if is_good {
                shown.insert(address(from));
            }
            given.extend(outcome.answer.map(|answer| (from, answer.token)));
            if let Some(HostEvent::Moved(to) | HostEvent::Opened(to)) = outcome.event {
                assert!(is_good && to == address(from) && number >= highest);
            }
            if pair.host.address(pair.now) == Some(address(from)) && outcome.event.is_some() {
                highest = number;
            }
            assert!(pair.host.address(pair.now).is_none_or(|to| shown.contains(&to)));
        }
    }
}
