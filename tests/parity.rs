//! Parity follows what the way loses: both ends of the data plane, a way with losses in bursts, and
//! reports that take their time, in time that is a variable.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use punktfunk_core::net::clock;
use punktfunk_core::proto::gamestream::secret::Secret;
use punktfunk_core::proto::packet::native::header::{FrameHeader, FramePrefix};
use punktfunk_core::proto::packet::native::packetize::{self, Packetizer, Parity, Shape};
use punktfunk_core::proto::packet::native::parity::{Control, Policy};
use punktfunk_core::proto::packet::native::reassemble::{Counters, Event, Limits, Reassembler};
use punktfunk_core::proto::packet::native::report::{Ecn, INTERVAL, Report};
use punktfunk_core::proto::packet::native::seal::{Keys, Opener};
use punktfunk_core::proto::units::FrameIndex;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const SHARD_LEN: usize = 64;
/// Data shards of an access unit.
const DATA_COUNT: usize = 33;
/// 60 in a second.
const FRAME_TIME: Duration = Duration::from_micros(16_667);
/// What packets take, and reports.
const WAY_TIME: Duration = Duration::from_millis(20);
const LEAST: Parity = Parity { percent: 4, count_min: 1 };
const MOST: Parity = Parity { percent: 100, count_min: 24 };
const LOST_ONE_IN: u32 = 1000;

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn is_so(&mut self, probability: f64) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        (number as f64) < probability * (1_u64 << 53) as f64
    }
}

/// The share of packets that a way loses, in bursts of so many on average: Gilbert's model.
#[derive(Clone, Copy)]
struct Way {
    rate: f64,
    burst_len: f64,
}

const GOOD: Way = Way { rate: 0.0, burst_len: 1.0 };

struct Network {
    random: Random,
    is_bad: bool,
    packetizer: Packetizer,
    opener: Opener,
    reassembler: Reassembler,
    /// None where parity stays as it is.
    control: Option<Control>,
    reports: VecDeque<(Instant, Report)>,
    index: u32,
    now: Instant,
    reported: Instant,
    data_sent: u64,
    parity_sent: u64,
}

/// What a stretch of time was like.
#[derive(Debug)]
struct Stretch {
    frames: u64,
    lost: u64,
    recovered: u64,
    /// Parity for each hundred data shards.
    parity_percent: f64,
}

impl Network {
    fn new(parity: Parity, adapts: bool) -> Network {
        let keys = Keys { key: Secret::new([1; 16]), iv: Secret::new([2; 12]) };
        let now = clock::now();
        let shape = Shape {
            shard_len: SHARD_LEN,
            block_data_max: 50,
            parity_percent: parity.percent,
            parity_count_min: parity.count_min,
        };
        let policy = Policy { least: LEAST, most: MOST, lost_one_in: LOST_ONE_IN };
        Network {
            random: Random(SEED),
            is_bad: false,
            packetizer: Packetizer::new(shape, &keys),
            opener: Opener::new(&keys, 0),
            reassembler: Reassembler::new(Limits {
                shard_len: SHARD_LEN,
                unit_len_max: DATA_COUNT * SHARD_LEN,
                block_data_max: 50,
                frame_count: 4,
                patience: Duration::from_millis(5),
                stall: Duration::from_millis(50),
            }),
            control: adapts.then(|| Control::new(policy, now)),
            reports: VecDeque::new(),
            index: 0,
            now,
            reported: now,
            data_sent: 0,
            parity_sent: 0,
        }
    }

    fn counters(&self) -> (Counters, u64, u64) {
        (self.reassembler.counters(), self.data_sent, self.parity_sent)
    }

    /// Streams over such a way for so many seconds.
    fn stream(&mut self, seconds: u64, way: Way) -> Stretch {
        let (before, data_before, parity_before) = self.counters();
        for _ in 0..seconds * 60 {
            self.frame(way);
        }
        let (after, data, parity) = self.counters();
        let parity_percent = 100.0 * (parity - parity_before) as f64 / (data - data_before) as f64;
        Stretch {
            frames: seconds * 60,
            lost: after.lost_units - before.lost_units,
            recovered: after.recovered - before.recovered,
            parity_percent,
        }
    }

    fn frame(&mut self, way: Way) {
        self.now += FRAME_TIME;
        let (now, came) = (self.now, self.now + WAY_TIME);
        while let Some((_, report)) = self.reports.pop_front_if(|(at, _)| *at <= now) {
            if let Some(control) = &mut self.control {
                self.packetizer.set_parity(control.handle_report(&report, DATA_COUNT, now));
            }
        }
        self.index += 1;
        let header = FrameHeader {
            index: FrameIndex(self.index),
            is_idr: false,
            is_anchor: false,
            epoch: 0,
        };
        let bytes = [7; DATA_COUNT * SHARD_LEN - 16];
        let prefix = FramePrefix { captured_us: 0, latency_us: 0 };
        let unit = packetize::Unit { header, prefix, bytes: &bytes };
        let plan = self.packetizer.plan(&unit).unwrap();
        self.data_sent += (plan.datagram_count - plan.parity_count) as u64;
        self.parity_sent += plan.parity_count as u64;
        let len = self.packetizer.datagram_len();
        let mut block = self.packetizer.block(&unit, 0).unwrap().to_vec();
        for datagram in block.chunks_mut(len) {
            let Way { rate, burst_len } = way;
            let to_bad = rate / burst_len / (1.0 - rate);
            let is_bad = if self.is_bad { 1.0 - 1.0 / burst_len } else { to_bad };
            self.is_bad = self.random.is_so(is_bad);
            if !self.is_bad {
                let opened = self.opener.open(datagram).unwrap();
                self.reassembler.handle_payload(opened.payload, came).unwrap();
                poll(&mut self.reassembler, came, &bytes);
            }
        }
        if let Some(at) = self.reassembler.poll_timeout() {
            poll(&mut self.reassembler, at, &bytes);
        }
        if now >= self.reported + INTERVAL {
            self.reported = now;
            let counters = self.reassembler.counters();
            let delay = *self.reassembler.delay();
            let report = Report::new(&mut self.opener, &counters, &delay, Ecn::default());
            self.reports.push_back((came + WAY_TIME, report));
        }
    }
}

/// What comes is what was sent.
fn poll(reassembler: &mut Reassembler, now: Instant, bytes: &[u8]) {
    while let Some(event) = reassembler.poll_event(now, 0) {
        if let Event::Unit(unit) = event {
            assert_eq!(unit.bytes, bytes);
        }
    }
}

#[test]
fn few_access_units_are_lost_once_parity_has_adapted_and_it_comes_down_again() {
    let ways = [
        Way { rate: 0.01, burst_len: 1.0 },
        Way { rate: 0.05, burst_len: 1.05 },
        Way { rate: 0.01, burst_len: 2.0 },
        Way { rate: 0.02, burst_len: 3.0 },
    ];
    for way in ways {
        let mut fixed = Network::new(LEAST, false);
        let mut network = Network::new(LEAST, true);
        let label = format!("{} in {}", way.rate, way.burst_len);

        let before = network.stream(5, GOOD);
        network.stream(2, way);
        let adapted = network.stream(60, way);
        network.stream(30, GOOD);
        let after = network.stream(30, GOOD);
        let without = fixed.stream(60, way);

        let least = 100.0 * LEAST.count(DATA_COUNT) as f64 / DATA_COUNT as f64;
        assert_eq!((before.parity_percent, before.lost), (least, 0), "{label}");
        // By chance there may be twice as many as were aimed at.
        assert!(
            adapted.lost * u64::from(LOST_ONE_IN) <= 2 * adapted.frames,
            "{label}: {adapted:?}"
        );
        assert!(adapted.recovered > 1000, "{label}: {adapted:?}");
        assert!(without.lost >= 10 * (1 + adapted.lost), "{label}: {without:?} {adapted:?}");
        assert_eq!((after.parity_percent, after.lost), (least, 0), "{label}");
    }
}
