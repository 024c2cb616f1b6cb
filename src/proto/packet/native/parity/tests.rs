//! What parity becomes of reports, made up and without a network.

use std::time::{Duration, Instant};

use super::*;
use crate::net::clock;
use crate::proto::packet::native::report::{Ecn, INTERVAL};

const LEAST: Parity = Parity { percent: 5, count_min: 1 };
const MOST: Parity = Parity { percent: 60, count_min: 12 };

/// A host, and reports of 100 packets and 3 access units each.
struct Host {
    control: Control,
    report: Report,
    now: Instant,
}

impl Host {
    fn new() -> Host {
        let now = clock::now();
        let policy = Policy { least: LEAST, most: MOST, lost_one_in: 1000 };
        Host { control: Control::new(policy, now), report: Report::default(), now }
    }

    /// So many reports, each with so many bursts of a class.
    fn run(&mut self, count: usize, class: usize, bursts: u64) -> Parity {
        for _ in 0..count {
            self.now += INTERVAL;
            let lost = bursts << class;
            self.report.received += 100_u64.saturating_sub(lost);
            self.report.lost += lost;
            self.report.bursts[class] += bursts;
            self.report.frames += 3;
            self.control.handle_report(&self.report, 33, self.now);
        }
        self.control.parity()
    }
}

#[test]
fn parity_rises_at_once_and_comes_down_bit_by_bit() {
    let mut host = Host::new();
    assert_eq!(host.run(100, 0, 0), LEAST);

    let second = host.run(20, 0, 2);
    assert!((12..=30).contains(&second.percent) && second.count_min >= 3, "{second:?}");
    let steady = host.run(400, 0, 2);
    assert!(steady.percent.abs_diff(second.percent) <= 4, "{second:?} {steady:?}");

    // What was is remembered, and then forgotten.
    assert_eq!(host.run(80, 0, 0).percent, steady.percent);
    let (mut before, mut steps) = (steady, 0);
    for _ in 0..60 {
        let parity = host.run(20, 0, 0);
        assert!(parity.percent <= before.percent && parity.count_min <= before.count_min);
        assert!(before.percent - parity.percent <= 1 + before.percent / 4);
        steps += u32::from(parity != before);
        before = parity;
    }
    assert_eq!(before, LEAST);
    assert!(steps >= 5, "{steps}");
}

#[test]
fn longer_bursts_take_more_and_the_most_is_the_most() {
    let mut single = Host::new();
    let mut bursts = Host::new();
    let mut many = Host::new();

    // Four of a hundred each: one by one, and in a row.
    let single = single.run(100, 0, 4);
    let bursts = bursts.run(100, 2, 1);
    assert!(bursts.percent >= single.percent + 15, "{single:?} {bursts:?}");
    assert_eq!(many.run(100, 3, 6), MOST);
}

#[test]
fn an_outage_is_nothing_that_parity_is_for() {
    let mut host = Host::new();
    host.run(100, 0, 0);

    assert_eq!(host.run(1, 9, 1), LEAST);
    assert_eq!(host.run(100, 15, 1), LEAST);
}

#[test]
fn a_queue_is_not_answered_with_more_packets() {
    for ecn in [true, false] {
        let mut host = Host::new();
        for _ in 0..100 {
            if ecn {
                host.report.ecn = Ecn { ce: host.report.ecn.ce + 1, ..Ecn::default() };
            } else {
                host.report.delay_excess_us = 40_000;
            }
            let loses = if host.report.frames < 12 { 0 } else { 5 };
            assert_eq!(host.run(1, 0, loses), LEAST);
        }
        host.report.delay_excess_us = 0;
        assert!(host.run(1, 0, 5).percent > LEAST.percent);
    }
}

#[test]
fn more_is_given_where_the_model_does_not_fit() {
    let run = |loses_frames: bool| {
        let mut host = Host::new();
        for _ in 0..200 {
            host.report.frames_lost += u64::from(loses_frames);
            host.run(1, 0, 1);
        }
        (host.control.parity().percent, host.control.frames_lost())
    };
    let ((fits, none), (unfit, some)) = (run(false), run(true));

    assert!(unfit >= 2 * fits, "{fits} {unfit}");
    assert_eq!((none.0, some.0), (0, 200));
}

#[test]
fn a_way_that_is_new_is_judged_anew() {
    let mut host = Host::new();
    let parity = host.run(100, 0, 4);
    host.control.handle_moved(host.now);

    assert_eq!(host.control.frames_lost(), (0, 0));
    assert_eq!(host.run(99, 0, 0), parity, "for five seconds");
    assert!(host.run(40, 0, 0).percent < parity.percent);
}

#[test]
fn a_report_of_all_there_can_be_is_no_harm() {
    let mut host = Host::new();
    host.report.frames = u64::MAX - 3;
    host.report.frames_lost = u64::MAX;

    host.run(1, 0, 0);

    assert_eq!(host.control.frames_lost(), (u64::MAX, u64::MAX));
}

#[test]
fn no_report_is_too_strange_and_policy_holds() {
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> (state % 64)
    };
    let mut host = Host::new();
    for _ in 0..500 {
        host.now += Duration::from_millis(random() % 100_000);
        let mut bursts = [0; BURST_CLASS_COUNT];
        bursts.fill_with(&mut random);
        let report = Report {
            number_end: random(),
            received: random(),
            lost: random(),
            late: random(),
            bursts,
            recovered: random(),
            frames: random(),
            frames_lost: random(),
            jitter_us: random(),
            delay_excess_us: random(),
            delay_trend_us: random() as i64,
            ecn: Ecn { ect_0: random(), ect_1: random(), ce: random() },
        };
        let data_count = random() as usize;
        let parity = host.control.handle_report(&report, data_count, host.now);
        assert!((LEAST.percent..=MOST.percent).contains(&parity.percent));
        assert!((LEAST.count_min..=MOST.count_min).contains(&parity.count_min));
    }
}
