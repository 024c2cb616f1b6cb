//! One line of the table: access units of one shape over one way.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use punktfunk_core::net::clock;
use punktfunk_core::proto::gamestream::secret::Secret;
use punktfunk_core::proto::packet::native::header::{FRAME_PREFIX_LEN, FrameHeader, FramePrefix};
use punktfunk_core::proto::packet::native::packetize::{self, BLOCK_DATA_MAX, Packetizer};
use punktfunk_core::proto::packet::native::reassemble::{Event, Limits, Reassembler};
use punktfunk_core::proto::packet::native::seal::{Keys, Opener};
use punktfunk_core::proto::units::FrameIndex;

use super::way::{Random, Way};

/// The shortest there are: what is in them does not matter here.
const SHARD_LEN: usize = 64;
/// Any would do: no time passes.
const PATIENCE: Duration = Duration::from_secs(1);
/// Standard deviations that what is lost may be off: one run in ten million is, by chance.
const DEVIATIONS: f64 = 5.0;

/// What access units are made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Data shards of one.
    pub data_count: usize,
    /// Parity shards for each hundred of them.
    pub parity_percent: u8,
}

/// What became of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    shape: Shape,
    way: Way,
    parity_count: usize,
    frame_count: u32,
    lost_count: u32,
    /// As many as theory expects to be lost.
    expected: f64,
    recovered_count: u64,
    /// Those that came and were not what was sent.
    wrong_count: u32,
}

impl Outcome {
    /// What the columns are.
    pub const HEAD: &str =
        "  data parity way            frames    lost  expected  recovered  verdict";

    /// Whether chance explains what was lost, and nothing was wrong.
    pub fn is_likely(&self) -> bool {
        let probability = self.expected / f64::from(self.frame_count).max(1.0);
        let deviation = (self.expected * (1.0 - probability)).sqrt();
        let is_off = (f64::from(self.lost_count) - self.expected).abs();
        // Where next to none is expected, one or none are, whatever the deviation.
        self.wrong_count == 0 && is_off <= DEVIATIONS * deviation + 0.999
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6} {:>6} {:<14} {:>7} {:>7} {:>9.2} {:>10}  {}",
            self.shape.data_count,
            self.parity_count,
            self.way.name,
            self.frame_count,
            self.lost_count,
            self.expected,
            self.recovered_count,
            if self.is_likely() { "as expected" } else { "NOT AS EXPECTED" },
        )
    }
}

/// Sends so many access units of that shape over that way.
pub fn run(shape: Shape, way: Way, frame_count: u32, seed: u64) -> Outcome {
    let Shape { data_count, parity_percent } = shape;
    let keys = Keys { key: Secret::new([1; 16]), iv: Secret::new([2; 12]) };
    let cut = packetize::Shape {
        shard_len: SHARD_LEN,
        block_data_max: BLOCK_DATA_MAX,
        parity_percent,
        parity_count_min: 1,
    };
    let parity_count = cut.parity_count(data_count);
    let mut packetizer = Packetizer::new(cut, &keys);
    let mut opener = Opener::new(&keys, 4 * (data_count + parity_count));
    let len = data_count * SHARD_LEN - FRAME_PREFIX_LEN;
    let mut reassembler = Reassembler::new(Limits {
        shard_len: SHARD_LEN,
        unit_len_max: len,
        block_data_max: BLOCK_DATA_MAX,
        frame_count: 2,
        patience: PATIENCE,
        stall: PATIENCE,
    });
    let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + at / 251) as u8).collect();
    let mut random = Random::new(seed);
    let now = clock::now();
    let (mut wrong_count, mut whole_count) = (0, 0);
    let datagram_len = packetizer.datagram_len();
    let mut datagram = vec![0; datagram_len];
    for index in 1..=frame_count {
        // Each can be decoded by itself, so none waits for one that is lost.
        let header =
            FrameHeader { index: FrameIndex(index), is_idr: true, is_anchor: false, epoch: 0 };
        let prefix = FramePrefix { captured_us: 0, latency_us: 0 };
        let unit = packetize::Unit { header, prefix, bytes: &bytes };
        let block = packetizer.block(&unit, 0).expect("the key lasts for this");
        for packet in way.arrivals(data_count + parity_count, &mut random) {
            datagram.copy_from_slice(&block[packet * datagram_len..][..datagram_len]);
            let Ok(opened) = opener.open(&mut datagram) else {
                continue; // it came before
            };
            wrong_count += u32::from(reassembler.handle_payload(opened.payload, now).is_err());
            while let Some(event) = reassembler.poll_event(now, 0) {
                if let Event::Unit(unit) = event {
                    whole_count += 1;
                    wrong_count += u32::from(unit.bytes != bytes);
                }
            }
        }
    }
    let exceeds = way.chain.exceeds(data_count + parity_count, parity_count);
    Outcome {
        shape,
        way,
        parity_count,
        frame_count,
        lost_count: frame_count - whole_count,
        expected: exceeds * f64::from(frame_count),
        recovered_count: reassembler.counters().recovered,
        wrong_count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_what_theory_says() {
        let (mut lost_count, mut recovered_count) = (0, 0);
        for shape in [(8, 25), (33, 20), (163, 5)] {
            let shape = Shape { data_count: shape.0, parity_percent: shape.1 };
            for way in Way::ALL {
                let outcome = run(shape, way, 150, 0x1234_5678_9abc_def1);
                assert!(outcome.is_likely(), "{outcome}");
                lost_count += outcome.lost_count;
                recovered_count += outcome.recovered_count;
            }
        }

        assert!(lost_count > 100 && recovered_count > 1000, "{lost_count} {recovered_count}");
    }

    #[test]
    fn less_parity_than_is_counted_on_would_show() {
        let shape = Shape { data_count: 33, parity_percent: 20 };
        let way = Way::ALL[4];
        let outcome = run(shape, way, 400, 0x1234_5678_9abc_def1);
        assert!(outcome.is_likely(), "{outcome}");

        let one_less = way.chain.exceeds(40, outcome.parity_count - 1) * 400.0;

        assert!(!Outcome { expected: one_less, ..outcome }.is_likely());
    }
}
