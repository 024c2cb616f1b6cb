//! The speed test, both ends of it, over ways that are slower, lose, and hold up.

use std::time::{Duration, Instant};

use super::*;
use crate::net::clock;
use crate::proto::gamestream::secret::Secret;
use crate::proto::packet::native::seal::{Keys, Opener, Sealer};

const DATAGRAM_LEN: u16 = 1452;

fn keys() -> Keys {
    Keys { key: Secret::new([1; 16]), iv: Secret::new([2; 12]) }
}

/// A way: what it carries in a second at most, and what it does with each datagram.
struct Way {
    rate: Kbps,
    /// Every so many it loses one; none where it is 0.
    loses_each: u64,
    /// As many of each hundred the socket does not take.
    drops_percent: u64,
    /// How late the sender's thread is, every now and then.
    late: Duration,
}

const GOOD: Way =
    Way { rate: Kbps(10_000_000), loses_each: 0, drops_percent: 0, late: Duration::ZERO };

/// Runs a test to its end.
fn run(target: Kbps, duration: Duration, way: &Way) -> (Sent, Report, Report) {
    let began = clock::now();
    let us = |at: Instant| (at - began).as_micros() as u64;
    let (mut sealer, mut opener) = (Sealer::new(&keys()), Opener::new(&keys(), 0));
    let mut sender = ProbeSender::new(7, target, duration, DATAGRAM_LEN, began);
    let mut receiver = ProbeReceiver::new(7);
    let mut datagram = vec![0; DATAGRAM_LEN.into()];
    let each = Duration::from_nanos(u64::from(DATAGRAM_LEN) * 8_000_000 / u64::from(way.rate.0));
    let mut free = began;
    let (mut count, mut wakes) = (0_u64, 0_u32);
    let mut now = began;
    loop {
        for _ in 0..sender.poll_due(now) {
            sender.datagram(&mut datagram, &mut sealer, us(now)).unwrap();
            count += 1;
            if count % 100 < way.drops_percent {
                sender.note_send_dropped(1);
                continue;
            }
            if way.loses_each > 0 && count.is_multiple_of(way.loses_each) {
                continue;
            }
            let opened = opener.open(&mut datagram).unwrap();
            free = free.max(now) + each;
            receiver.handle_payload(opened.payload, free, us(free)).unwrap();
        }
        wakes += 1;
        let Some(next) = sender.poll_timeout() else {
            break;
        };
        assert!(next > now);
        now = if wakes.is_multiple_of(50) { next + way.late } else { next };
    }
    assert!(u128::from(wakes) <= duration.as_millis() * 2 + 2, "{wakes}");
    let sent = sender.sent();
    (sent, receiver.report(None), receiver.report(Some(&sent)))
}

fn is_about(rate: Kbps, expected: u32) -> bool {
    rate.0.abs_diff(expected) * 100 <= expected
}

#[test]
fn a_good_way_carries_what_is_asked_for() {
    for target in [500, 20_000, 1_000_000] {
        let (sent, alone, report) = run(Kbps(target), Duration::from_secs(2), &GOOD);

        assert!(is_about(sent.rate(), target), "{sent:?}");
        assert!(is_about(report.achieved, target), "{report:?}");
        assert_eq!((report.lost, report.send_dropped, report.test), (0, 0, 7));
        assert_eq!((report.received, alone), (sent.datagrams, report));
        assert_eq!(sent.duration, Duration::from_secs(2));
    }
}

#[test]
fn a_narrow_way_shows_its_rate_and_its_queue() {
    let way = Way { rate: Kbps(50_000), ..GOOD };

    let (_, _, report) = run(Kbps(60_000), Duration::from_secs(1), &way);

    assert!(is_about(report.achieved, 50_000), "{report:?}");
    // What is sent in a fifth of a second is in the queue at the end.
    assert!((195_000..=201_000).contains(&report.queue_us_max), "{report:?}");
}

#[test]
fn what_the_socket_drops_is_not_what_the_way_loses() {
    let way = Way { loses_each: 50, drops_percent: 10, ..GOOD };

    let (sent, alone, report) = run(Kbps(100_000), Duration::from_secs(1), &way);

    let taken = sent.datagrams - sent.send_dropped;
    assert!(sent.send_dropped.abs_diff(sent.datagrams / 10) < 10, "{sent:?}");
    assert_eq!((report.send_dropped, report.lost), (sent.send_dropped, taken - report.received));
    // Of each hundred, one of those that would be lost was dropped before.
    assert!(report.lost.abs_diff(sent.datagrams / 100) < 10, "{report:?}");
    assert!(alone.lost > report.lost && alone.send_dropped == 0, "{alone:?}");
}

#[test]
fn a_thread_that_is_late_makes_no_burst_of_it() {
    let way = Way { late: Duration::from_millis(100), ..GOOD };

    let (sent, _, report) = run(Kbps(100_000), Duration::from_secs(2), &way);

    // Nearly all of the time it was late.
    assert!(sent.rate() < Kbps(40_000), "{sent:?}");
    assert!(report.queue_us_max < 5000, "{report:?}");
    assert_eq!(report.lost, 0);
}

#[test]
fn a_test_has_its_limits_and_can_be_stopped() {
    let now = clock::now();
    let new = |target, secs| {
        let mut sender = ProbeSender::new(1, Kbps(target), Duration::from_secs(secs), 1452, now);
        sender.poll_due(now + Duration::from_secs(3600));
        sender
    };

    let sender = new(u32::MAX, u64::MAX);
    assert_eq!((sender.sent().target, sender.sent().duration), (RATE_MAX, DURATION_MAX));
    assert_eq!(sender.poll_timeout(), None);
    assert_eq!(new(0, 1).sent().target, Kbps(1));

    let mut sender = ProbeSender::new(1, Kbps(1000), DURATION_MAX, 1452, now);
    let later = now + Duration::from_millis(400);
    sender.poll_due(now);
    sender.stop(later);
    assert_eq!(sender.poll_timeout().map(|at| at <= later), Some(true));
    sender.poll_due(later);
    assert_eq!(sender.poll_timeout(), None);
    assert_eq!(sender.sent().duration, Duration::from_millis(400));
}

#[test]
fn nothing_in_a_payload_is_too_strange() {
    let now = clock::now();
    let mut receiver = ProbeReceiver::new(7);
    for (test, index, sent_us) in [(8, 3, 1), (7, u32::MAX, u64::MAX), (7, 0, 0)] {
        let header = ProbeHeader { test, index, sent_us };
        assert_eq!(ProbeHeader::parse(&header.emit()), Ok(header));
        receiver.handle_payload(&header.emit(), now, 1 << 63).unwrap();
    }
    assert_eq!(receiver.handle_payload(&[0; 15], now, 0), Err(Error::TooShort));

    let report = receiver.report(None);
    assert_eq!((report.received, report.achieved), (2, Kbps(0)));
    assert_eq!(report.lost, u64::from(u32::MAX) - 1);
    let sent = Sent {
        test: 7,
        target: Kbps(1),
        datagrams: 1,
        send_dropped: 2,
        datagram_len: 1452,
        duration: Duration::ZERO,
    };
    assert_eq!((receiver.report(Some(&sent)).lost, sent.rate()), (0, Kbps(0)));
}
