//! When the datagrams of an access unit leave.
//!
//! They go in bursts, each of which is one message to the kernel: sending costs by the message, not
//! by the byte. Access units that fit into one burst, most of them, leave at once. Longer ones are
//! spread, so that they do not overrun the buffers of the way:
//!
//! - An access unit of mean size takes a quarter of the time between two, and longer ones take
//!   longer in proportion: the rate within one is four times the mean.
//! - None takes more than a given share of that time, so the next one finds the way free.
//! - The datagrams of an access unit are divided evenly among as few bursts as can hold them.

#![forbid(unsafe_code)]

use std::time::Duration;

/// Datagrams of a burst, at most: what the kernel segments of one message.
pub const BURST_COUNT_MAX: usize = 64;
/// Bytes of a burst, at most: somewhat less than a UDP datagram, which it is until it is segmented.
pub const BURST_LEN_MAX: usize = 65_000;

/// An access unit of mean size takes this part of the time between two.
const MEAN_SHARE: u64 = 4;

/// How access units of one session are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    bitrate_kbps: u32,
    spread: Duration,
}

/// How one access unit is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    burst_len: usize,
    /// From one datagram to the next.
    step_ns: u64,
}

impl Pace {
    /// `bitrate_kbps` is of all that is sent, `frame_interval` the time between access units, of
    /// which none takes more than `spread_percent`.
    pub fn new(bitrate_kbps: u32, frame_interval: Duration, spread_percent: u8) -> Pace {
        Pace { bitrate_kbps, spread: frame_interval * u32::from(spread_percent) / 100 }
    }

    /// Spreads so many datagrams, at least one, of so many bytes each.
    pub fn schedule(&self, datagram_count: usize, datagram_len: usize) -> Schedule {
        let fitting = (BURST_LEN_MAX / datagram_len.max(1)).clamp(1, BURST_COUNT_MAX);
        let burst_count = datagram_count.div_ceil(fitting).max(1);
        let burst_len = datagram_count.div_ceil(burst_count).max(1);
        let spread_ns = u64::try_from(self.spread.as_nanos()).unwrap_or(u64::MAX);
        let step_ns_max = spread_ns / datagram_count.max(1) as u64;
        // A kilobit in a second is a bit in a millisecond.
        let rate_kbps = MEAN_SHARE * u64::from(self.bitrate_kbps);
        let step_ns = (8_000_000 * datagram_len as u64).checked_div(rate_kbps);
        Schedule { burst_len, step_ns: step_ns.unwrap_or(u64::MAX).min(step_ns_max) }
    }
}

impl Schedule {
    /// Datagrams of a burst; the last of a block may have fewer.
    pub fn burst_len(&self) -> usize {
        self.burst_len
    }

    /// When the next burst leaves, after so many datagrams, from when the first one does.
    pub fn departure(&self, sent_count: usize) -> Duration {
        Duration::from_nanos(self.step_ns.saturating_mul(sent_count as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 60 access units in a second, rounded to what is easily divided.
    const INTERVAL: Duration = Duration::from_millis(16);

    #[test]
    fn datagrams_are_divided_evenly_among_few_bursts() {
        let cases: &[(usize, usize, usize)] = &[
            (0, 1408, 1),
            (1, 1408, 1),
            (22, 1408, 22),
            (46, 1408, 46),
            (47, 1408, 24),
            (168, 1408, 42),
            (168, 1440, 42),
            (45, 1440, 45),
            (46, 1440, 23),
            (62, 1040, 62),
            (64, 500, 64),
            (65, 500, 33),
            (4092, 1408, 46),
            (10, 9008, 5),
            (3, 65_000, 1),
            (3, 65_507, 1),
            (3, 0, 3),
        ];
        for &(count, len, expected) in cases {
            let schedule = Pace::new(20_000, INTERVAL, 50).schedule(count, len);

            assert_eq!(schedule.burst_len(), expected, "{count} datagrams of {len} bytes");
        }
    }

    #[test]
    fn long_access_units_are_spread() {
        // 40 Mbit/s are 80,000 bytes in an interval, so 64 datagrams of 1250.
        let cases: &[(u32, u8, usize, usize, u64)] = &[
            (40_000, 50, 64, 0, 0),
            (40_000, 50, 64, 64, 4000), // mean: a quarter
            (40_000, 50, 64, 32, 2000),
            (40_000, 50, 128, 128, 8000), // twice that
            (40_000, 50, 256, 256, 8000), // no more than the limit
            (40_000, 50, 1000, 500, 4000),
            (40_000, 100, 256, 256, 16_000),
            (80_000, 50, 64, 64, 2000),
            (40_000, 0, 64, 64, 0),
            (0, 50, 64, 64, 8000),
        ];
        for &(bitrate_kbps, spread_percent, count, sent_count, expected_us) in cases {
            let schedule = Pace::new(bitrate_kbps, INTERVAL, spread_percent).schedule(count, 1250);

            let expected = Duration::from_micros(expected_us);
            let found = schedule.departure(sent_count);
            assert_eq!(found, expected, "{bitrate_kbps} {spread_percent} {count} {sent_count}");
        }
    }

    #[test]
    fn no_numbers_are_too_large() {
        let schedule = Pace::new(u32::MAX, Duration::MAX / 200, 100).schedule(usize::MAX, 65_507);
        assert_eq!(schedule.departure(0), Duration::ZERO);

        let schedule = Pace::new(1, Duration::MAX / 200, 100).schedule(1, 65_507);
        assert!(schedule.departure(usize::MAX) > Duration::from_secs(1));
    }
}
