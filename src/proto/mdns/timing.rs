//! Timing: delays by chance, counts within a stretch of time.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// Events within a stretch of time that begins with the first of them.
#[derive(Debug, Default)]
pub(super) struct Window {
    begin: Option<Instant>,
    count: u32,
}

impl Window {
    /// Counts one more; how many there are then.
    pub fn count(&mut self, now: Instant, len: Duration) -> u32 {
        if self.begin.is_none_or(|begin| begin + len <= now) {
            *self = Window { begin: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }

    /// Whether there were `count` within the stretch that `now` is in.
    pub fn has(&self, count: u32, now: Instant, len: Duration) -> bool {
        self.begin.is_some_and(|begin| now < begin + len) && self.count >= count
    }
}

/// Xorshift: good enough to keep hosts from talking all at once.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Any seed will do.
    pub fn new(seed: u64) -> Random {
        Random(seed | 1) // zero is followed by zeroes only
    }

    /// A delay from `low` to `high` milliseconds, both included.
    pub fn between_ms(&mut self, (low, high): (u32, u32)) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let share = (self.0 >> 32) as u32 % (high - low + 1);
        Duration::from_millis(u64::from(low + share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_fill_their_range_and_stay_within() {
        let mut random = Random::new(0);

        let delays: Vec<u128> =
            (0..10_000).map(|_| random.between_ms((20, 120)).as_millis()).collect();

        assert_eq!(delays.iter().min(), Some(&20));
        assert_eq!(delays.iter().max(), Some(&120));
    }
}
