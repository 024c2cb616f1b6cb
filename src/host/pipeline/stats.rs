//! What a session's threads count and measure.
//!
//! Each number has one thread that writes it; the reactor reads. Nothing here allocates, locks or
//! asks the time.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use punktfunk_core::proto::histogram::{bucket, quantile};

/// Times are told apart up to this one, more than an hour.
const TIME_MAX_US: u64 = u32::MAX as u64;
const BUCKET_COUNT: usize = bucket(TIME_MAX_US) + 1;

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
        let bucket = &self.0[bucket(time.as_micros().min(TIME_MAX_US.into()) as u64)];
        bucket.store(bucket.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
    }

    fn percentiles(&self) -> Percentiles {
        let counts = self.0.iter().map(|bucket| bucket.load(Ordering::Relaxed).into());
        let [p50_us, p95_us, p99_us, p999_us] =
            [500, 950, 990, 999].map(|per_mille| quantile(counts.clone(), per_mille));
        Percentiles { count: counts.sum(), p50_us, p95_us, p99_us, p999_us }
    }
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
            assert!((exact..=exact + exact / 16).contains(&reached), "{reached} for {exact}");
        }
        assert_eq!(stats.percentiles(Stage::Total), Percentiles::default());
        stats.time(Stage::Total, Duration::MAX);
        assert_eq!(stats.percentiles(Stage::Total).p50_us, TIME_MAX_US);
    }
}
