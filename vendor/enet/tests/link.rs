//! Both ends over a link that loses, delays, reorders and repeats. The clock is a variable.

#![forbid(unsafe_code)]

mod pair;

use std::time::Duration;

use enet::{Config, Delivery, Departure, Event, Parting, SendError};
use pair::{Link, Pair};

const SECOND: Duration = Duration::from_secs(1);
const GOOD: Link = Link { loss_percent: 0, duplicate_percent: 0, delay_ms: 10, jitter_ms: 0 };
const BAD: Link = Link { loss_percent: 25, duplicate_percent: 10, delay_ms: 20, jitter_ms: 30 };

/// A message whose every byte follows from its number.
fn message(number: u32, len: usize) -> Vec<u8> {
    let number = number.to_be_bytes();
    let filling = (0..).map(|index: u32| (index * 7 + index / 251) as u8 ^ number[3]);
    number.into_iter().chain(filling).take(len.max(4)).collect()
}

fn number(message: &[u8]) -> u32 {
    u32::from_be_bytes(*message.first_chunk().unwrap())
}

#[test]
fn every_reliable_message_arrives_once_and_in_order() {
    for seed in 0..12 {
        let config = Config { queue_len_max: 1_000_000, ..Config::default() };
        let mut pair = Pair::connected(seed, BAD, config);
        let lens = [4, 871, 872, 873, 1744, 1745, 20_000, 64 * 1024];

        for end in 0..2 {
            for index in 0..60 {
                let len =
                    lens[if index % 20 == 7 { index as usize % 8 } else { index as usize % 5 }];
                let peer = pair.peer(end);
                for channel in [0, 47] {
                    let bytes = message(index, len);
                    pair.hosts[end].send(peer, channel, &bytes, Delivery::Reliable).unwrap();
                }
            }
        }
        let all = |pair: &Pair| {
            (0..2)
                .all(|end| pair.messages(end, 0).len() == 60 && pair.messages(end, 47).len() == 60)
        };

        assert!(pair.run(60 * SECOND, all), "seed {seed} after {:?}", pair.now - pair.start);
        for (end, channel) in [(0, 0), (0, 47), (1, 0), (1, 47)] {
            for (index, bytes) in pair.messages(end, channel).into_iter().enumerate() {
                assert_eq!(bytes, message(index as u32, bytes.len()), "seed {seed}");
            }
        }
        pair.run(SECOND, |_| false);
        assert_eq!(pair.messages(0, 0).len(), 60, "seed {seed}");
        assert_eq!(pair.hosts[0].held_len() + pair.hosts[1].held_len(), 0, "seed {seed}");
    }
}

#[test]
fn long_messages_arrive_as_far_as_both_ends_allow() {
    for (mtu, len) in [(576, 200_000), (900, 300_000), (4096, 500_000)] {
        let config = Config {
            mtu,
            message_len_max: 600_000,
            held_len_max: 1_000_000,
            queue_len_max: 1_000_000,
            ..Config::default()
        };
        let mut pair = Pair::connected(7, GOOD, Config { mtu: mtu.min(900), ..config });
        let peer = pair.peer(1);
        let bytes = message(1, len.min(400_000));

        pair.hosts[1].send(peer, 5, &bytes, Delivery::Reliable).unwrap();

        assert!(pair.run(20 * SECOND, |pair| !pair.messages(0, 5).is_empty()), "{mtu}");
        assert_eq!(pair.messages(0, 5), [bytes], "{mtu}");
    }
}

#[test]
fn ten_thousand_messages_pass_every_window() {
    let mut pair = Pair::connected(3, Link { loss_percent: 5, ..GOOD }, Config::default());
    let peer = pair.peer(1);
    let mut sent = 0;

    while sent < 70_000 {
        for _ in 0..1000 {
            match pair.hosts[1].send(peer, 0, &message(sent, 4), Delivery::Reliable) {
                Ok(()) => sent += 1,
                Err(error) => assert_eq!(error, SendError::QueueFull),
            }
        }
        pair.run(SECOND / 10, |_| false);
        let expected = sent - pair.hosts[1].unacknowledged_count(peer) as u32;
        let last = pair.messages(0, 0).last().map_or(0, |bytes| number(bytes) + 1);
        assert!(last + 1024 >= expected, "{last} of {sent}");
    }
    pair.run(10 * SECOND, |pair| pair.hosts[1].unacknowledged_count(peer) == 0);

    let numbers: Vec<u32> = pair.messages(0, 0).into_iter().map(number).collect();
    assert!(numbers.into_iter().eq(0..sent));
}

#[test]
fn unreliable_messages_are_lost_but_never_late_or_twice() {
    for seed in 0..8 {
        let mut pair = Pair::connected(seed, BAD, Config::default());
        let peer = pair.peer(1);

        for index in 0..400 {
            let len = if index % 7 == 3 { 3000 } else { 50 };
            pair.hosts[1].send(peer, 1, &message(index, len), Delivery::Unreliable).unwrap();
            pair.hosts[1].send(peer, 2, &message(index, 50), Delivery::Unsequenced).unwrap();
            if index % 10 == 0 {
                pair.hosts[1].send(peer, 1, &message(index, 50), Delivery::Reliable).unwrap();
            }
            pair.run(SECOND / 50, |_| false);
        }
        pair.run(5 * SECOND, |_| false);

        let ordered: Vec<u32> = pair.messages(0, 1).into_iter().map(number).collect();
        let mut unsequenced: Vec<u32> = pair.messages(0, 2).into_iter().map(number).collect();
        assert!(ordered.is_sorted(), "seed {seed}: {ordered:?}");
        assert!(ordered.len() > 120 && ordered.len() < 430, "seed {seed}: {}", ordered.len());
        let reliable = (0..400).step_by(10).all(|index| ordered.contains(&index));
        assert!(reliable, "seed {seed}");
        assert!(unsequenced.len() > 200, "seed {seed}: {}", unsequenced.len());
        unsequenced.sort_unstable();
        assert!(unsequenced.is_sorted_by(|one, other| one < other), "seed {seed}");
    }
}

#[test]
fn a_quiet_connection_stays_up_and_costs_four_datagrams_a_second() {
    let mut pair = Pair::connected(1, GOOD, Config::default());
    let before = pair.sent_counts;

    pair.run(60 * SECOND, |_| false);

    assert_eq!(pair.events, [vec![], vec![]]);
    // Every 520 ms a ping from either end, and the answer to the other's.
    let counts = [pair.sent_counts[0] - before[0], pair.sent_counts[1] - before[1]];
    assert!(counts.iter().all(|count| (200..=240).contains(count)), "{counts:?}");
}

#[test]
fn a_peer_that_is_not_heard_for_ten_seconds_is_gone() {
    let mut pair = Pair::connected(1, GOOD, Config::default());
    pair.run(SECOND, |_| false);
    pair.link.loss_percent = 100;
    let start = pair.now;

    assert!(pair.run(20 * SECOND, |pair| pair.events.iter().all(|events| !events.is_empty())));

    for end in 0..2 {
        let peer = pair.peer(end);
        let departure = Departure::TimedOut;
        assert_eq!(pair.events[end], [Event::Disconnected { peer, departure }]);
        assert_eq!(pair.hosts[end].peer_count(), 0);
        assert_eq!(pair.hosts[end].poll_timeout(), None);
    }
    let took = pair.now - start;
    assert!((9 * SECOND..=11 * SECOND).contains(&took), "{took:?}");
}

#[test]
fn nobody_answers_a_call_that_is_not_admitted() {
    let mut pair = Pair::new(1, GOOD, Config::default());
    pair.admits = false;

    pair.call();
    pair.run(20 * SECOND, |pair| !pair.events[1].is_empty());

    let departure = Departure::TimedOut;
    assert_eq!(pair.events[1], [Event::Disconnected { peer: pair.peer(1), departure }]);
    assert_eq!(pair.now - pair.start, 10 * SECOND);
    assert!(pair.knocks.len() > 3 && pair.knocks.iter().all(|knock| knock.data == 9));
    assert_eq!((pair.sent_counts[0], pair.hosts[0].peer_count()), (0, 0));
}

#[test]
fn who_leaves_is_heard() {
    // How it is done; whether a message sent just before arrives, and whether an event comes of it.
    let cases = [
        (Parting::AtOnce, GOOD, false, false),
        (Parting::Graceful, GOOD, false, true),
        (Parting::Graceful, BAD, false, true),
        (Parting::WhenSent, GOOD, true, true),
        (Parting::WhenSent, BAD, true, true),
    ];
    for seed in 0..10 {
        for (parting, link, arrives, has_event) in cases {
            let what = format!("seed {seed}, {parting:?}, {link:?}");
            let mut pair = Pair::connected(seed, link, Config::default());
            let (peer, other) = (pair.peer(1), pair.peer(0));
            pair.hosts[1].send(peer, 0, &message(0, 3000), Delivery::Reliable).unwrap();

            pair.hosts[1].disconnect(peer, 77, parting);
            let refused = pair.hosts[1].send(peer, 0, b"", Delivery::Reliable);
            pair.run(30 * SECOND, |_| false);

            assert_eq!(refused, Err(SendError::NotConnected), "{what}");
            assert_eq!(!pair.messages(0, 0).is_empty(), arrives, "{what}");
            let departure = Departure::Left(77);
            let left = Event::Disconnected { peer: other, departure };
            assert_eq!(pair.events[0].last(), Some(&left), "{what}");
            let departure = Departure::Dismissed;
            let dismissed = has_event.then_some(Event::Disconnected { peer, departure });
            assert_eq!(pair.events[1].last(), dismissed.as_ref(), "{what}");
            assert!(pair.hosts.iter().all(|host| host.poll_timeout().is_none()), "{what}");
        }
    }
}

#[test]
fn a_place_can_be_taken_again_and_again() {
    let config = Config { peer_count_max: 1, ..Config::default() };
    let mut pair = Pair::connected(4, GOOD, config);
    for round in 0..10 {
        let peer = pair.peer(1);
        pair.hosts[1].send(peer, 0, &message(round, 8), Delivery::Reliable).unwrap();
        pair.hosts[1].disconnect(peer, 0, Parting::WhenSent);
        let gone = |event: &Event| matches!(event, Event::Disconnected { .. });
        pair.run(5 * SECOND, |pair| pair.events[1].last().is_some_and(gone));

        pair.call();

        assert!(pair.run(5 * SECOND, Pair::is_connected), "round {round}");
        assert_eq!(pair.messages(0, 0), [message(round, 8)]);
        pair.events = [vec![], vec![]];
    }
}

#[test]
fn a_queue_has_an_end_in_bytes_and_in_messages() {
    let config = Config { queue_len_max: 10_000, ..Config::default() };
    let mut pair = Pair::connected(2, GOOD, config);
    let peer = pair.peer(1);
    let mut send =
        |channel, len, delivery| pair.hosts[1].send(peer, channel, &message(0, len), delivery);

    assert_eq!(send(48, 4, Delivery::Reliable), Err(SendError::NoChannel));
    assert_eq!(send(0, 64 * 1024 + 1, Delivery::Reliable), Err(SendError::TooLong));
    assert_eq!(send(0, 873, Delivery::Unsequenced), Err(SendError::TooLong));
    assert_eq!(send(0, 6000, Delivery::Reliable), Ok(()));
    assert_eq!(send(0, 4001, Delivery::Unreliable), Err(SendError::QueueFull));
    assert_eq!(send(0, 4000, Delivery::Unreliable), Ok(()));
    assert!(pair.run(SECOND, |pair| pair.hosts[1].unacknowledged_count(peer) == 0));

    let mut count = 0;
    while pair.hosts[1].send(peer, 0, b"", Delivery::Reliable).is_ok() {
        count += 1;
    }
    assert_eq!(count, 4096);
    assert!(pair.run(20 * SECOND, |pair| pair.hosts[1].unacknowledged_count(peer) == 0));
    assert_eq!(pair.messages(0, 0).len(), 2 + count);
}
