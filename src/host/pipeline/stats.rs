//! What a session's threads count and measure.
//!
//! Each number has one thread that writes it; the reactor reads. Nothing here allocates, locks or
//! asks the time.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Buckets to each doubling of the time: an error of a twelfth at most.
const STEPS: usize = 8;
/// Doublings, from 1 us to some 16 s.
const OCTAVES: usize = 24;
const BUCKET_COUNT: usize = STEPS * OCTAVES;

/// All numbers of one session.
#[derive(Debug, Default)]
pub struct Stats {
    counters: [AtomicU64; COUNTERS.len()],
    stages: [Histogram; STAGES.len()],
}

/// Things that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Access units that were encoded.
    Frames,
    /// IDR frames among them.
    Idrs,
    /// Frames among them that made an IDR frame needless after a loss.
    Healed,
    /// Bytes that were encoded.
    EncodedBytes,
    /// Pictures left out because it was too late for them.
    SkippedLate,
    /// Pictures left out because the packet thread was behind.
    SkippedBehind,
    /// Times that the encoder was lost and opened anew.
    EncoderReopened,
    /// Datagrams of pictures that were sent, parity included.
    Datagrams,
    /// Those among them that were parity.
    ParityDatagrams,
    /// Bytes of datagrams of pictures.
    SentBytes,
    /// System calls that sent them.
    SendCalls,
    /// Datagrams that the system did not take.
    SendDropped,
    /// Frames with less parity than configured, because they were large.
    ParityLowered,
    /// Frames without parity, because they were larger still.
    ParityNone,
    /// Frames too large to be sent at all.
    TooLong,
    /// Packets of sound that were sent.
    SoundPackets,
    /// Packets of sound that the system did not take.
    SoundDropped,
    /// Packets of silence in place of sound that could not be had.
    SoundGaps,
}

/// All counters with their names, in the order of the enum.
pub const COUNTERS: [(Counter, &str); 18] = [
    (Counter::Frames, "frames"),
    (Counter::Idrs, "idrs"),
    (Counter::Healed, "healed"),
    (Counter::EncodedBytes, "encoded_bytes"),
    (Counter::SkippedLate, "skipped_late"),
    (Counter::SkippedBehind, "skipped_behind"),
    (Counter::EncoderReopened, "encoder_reopened"),
    (Counter::Datagrams, "datagrams"),
    (Counter::ParityDatagrams, "parity_datagrams"),
    (Counter::SentBytes, "sent_bytes"),
    (Counter::SendCalls, "send_calls"),
    (Counter::SendDropped, "send_dropped"),
    (Counter::ParityLowered, "parity_lowered"),
    (Counter::ParityNone, "parity_none"),
    (Counter::TooLong, "too_long"),
    (Counter::SoundPackets, "sound_packets"),
    (Counter::SoundDropped, "sound_dropped"),
    (Counter::SoundGaps, "sound_gaps"),
];

/// Parts of a frame's way that are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Until the picture is there.
    Capture,
    /// To the encoder's colours.
    Convert,
    /// To an access unit.
    Encode,
    /// To sealed datagrams, parity included.
    Packetise,
    /// Into the system, without the time that pacing waits.
    Send,
    /// From captured to the last datagram sent, with all waiting.
    Total,
}

/// All stages with their names, in the order of the enum.
pub const STAGES: [(Stage, &str); 6] = [
    (Stage::Capture, "capture"),
    (Stage::Convert, "convert"),
    (Stage::Encode, "encode"),
    (Stage::Packetise, "packetise"),
    (Stage::Send, "send"),
    (Stage::Total, "total"),
];

/// Times in buckets that grow with them.
#[derive(Debug)]
pub struct Histogram([AtomicU32; BUCKET_COUNT]);

/// What a histogram says, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// How many there were.
    pub count: u64,
    /// Half took no longer.
    pub p50_us: u64,
    /// 95 in a hundred took no longer.
    pub p95_us: u64,
    /// 99 in a hundred took no longer.
    pub p99_us: u64,
    /// 999 in a thousand took no longer.
    pub p999_us: u64,
}

impl Stats {
    /// Counts some more. Only the thread whose counter it is may.
    pub fn add(&self, counter: Counter, more: u64) {
        let counter = &self.counters[counter as usize];
        counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    /// Takes in how long a stage took. Only the thread whose stage it is may.
    pub fn time(&self, stage: Stage, time: Duration) {
        self.stages[stage as usize].add(time);
    }

    /// What was counted so far.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Ordering::Relaxed)
    }

    /// How long a stage took so far.
    pub fn percentiles(&self, stage: Stage) -> Percentiles {
        self.stages[stage as usize].percentiles()
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram([const { AtomicU32::new(0) }; BUCKET_COUNT])
    }
}

impl Histogram {
    fn add(&self, time: Duration) {
        let bucket = &self.0[bucket(time.as_micros().min(u128::from(u32::MAX)) as u64)];
        bucket.store(bucket.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
    }

    fn percentiles(&self) -> Percentiles {
        let counts: Vec<u64> =
            self.0.iter().map(|bucket| bucket.load(Ordering::Relaxed).into()).collect();
        let count: u64 = counts.iter().sum();
        let at = |per_mille: u64| {
            let rank = (count * per_mille).div_ceil(1000).max(1);
            let mut seen = 0;
            let reached = counts.iter().position(|bucket| {
                seen += bucket;
                seen >= rank
            });
            reached.map_or(0, upper_us)
        };
        let (p50_us, p95_us, p99_us, p999_us) = (at(500), at(950), at(990), at(999));
        Percentiles { count, p50_us, p95_us, p99_us, p999_us }
    }
}

/// The bucket of a time. The first holds 0 to 7 us one by one, each doubling after that has eight.
fn bucket(us: u64) -> usize {
    if us < STEPS as u64 {
        return us as usize;
    }
    let octave = us.ilog2() as usize - 2; // 8 us begin the first
    let step = (us >> (us.ilog2() - 3)) as usize - STEPS;
    (octave * STEPS + step).min(BUCKET_COUNT - 1)
}

/// The longest time of a bucket.
fn upper_us(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let (octave, step) = (bucket / STEPS, bucket % STEPS);
    (((STEPS + step + 1) as u64) << (octave - 1)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_the_order_of_their_enums() {
        for (index, (counter, _)) in COUNTERS.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
        for (index, (stage, _)) in STAGES.iter().enumerate() {
            assert_eq!(*stage as usize, index);
        }
    }

    #[test]
    fn every_time_is_in_a_bucket_that_ends_with_it_or_a_little_later() {
        let times =
            (0..5000).chain((12..23).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]));
        for us in times {
            let upper = upper_us(bucket(us));

            assert!(us <= upper && upper <= us + us / 8, "{us} us: {upper}");
        }
        assert_eq!(bucket(u64::from(u32::MAX)), BUCKET_COUNT - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_times() {
        let stats = Stats::default();
        for us in 1..=1000 {
            stats.time(Stage::Send, Duration::from_micros(us));
        }

        let percentiles = stats.percentiles(Stage::Send);

        assert_eq!(percentiles.count, 1000);
        for (reached, exact) in [
            (percentiles.p50_us, 500),
            (percentiles.p95_us, 950),
            (percentiles.p99_us, 990),
            (percentiles.p999_us, 999),
        ] {
            assert!((exact..=exact + exact / 8).contains(&reached), "{reached} for {exact}");
        }
        assert_eq!(stats.percentiles(Stage::Total), Percentiles::default());
    }
}
