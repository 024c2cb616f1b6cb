//! The pace of sound that has no clock of its own.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use punktfunk_core::net::clock;

/// Periods that are made up for after a delay; what is longer is left out.
const LATE_COUNT_MAX: u32 = 4;

/// One beat a period, without drift.
#[derive(Debug)]
pub struct Metronome {
    period: Duration,
    last: Option<Instant>,
}

impl Metronome {
    /// The first beat is one period after the first call.
    pub fn new(period: Duration) -> Metronome {
        Metronome { period, last: None }
    }

    /// Waits for the next beat.
    pub fn wait(&mut self) {
        clock::sleep_until(self.next(clock::now()));
    }

    /// Begins anew: other sound has had a pace of its own meanwhile.
    pub fn restart(&mut self) {
        self.last = None;
    }

    fn next(&mut self, now: Instant) -> Instant {
        let next = self.last.unwrap_or(now) + self.period;
        let next = if now > next + self.period * LATE_COUNT_MAX { now } else { next };
        self.last = Some(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_keep_their_pace_and_long_delays_are_left_out() {
        let start = clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut metronome = Metronome::new(Duration::from_millis(5));
        let table =
            [(0, 5), (5, 10), (11, 15), (24, 20), (24, 25), (25, 30), (55, 35), (61, 61), (62, 66)];
        for (now, expected) in table {
            assert_eq!(metronome.next(at(now)), at(expected), "{now}");
        }
        metronome.restart();
        assert_eq!(metronome.next(at(100)), at(105));
    }
}
