//! How regularly access units come: their jitter, and whether the way is getting longer.
//!
//! The clocks of both ends differ by a constant and drift slowly, so only differences of delays
//! mean anything.

#![forbid(unsafe_code)]

/// What the trend forgets with each access unit: an eighth.
const TREND_SHIFT: u32 = 3;
/// The least delay so far rises by a microsecond in so many access units, for clocks that drift.
const DRIFT_COUNT: u32 = 32;
/// A delay that changes by more, some days, says nothing any more.
const CHANGE_MAX: i64 = 1 << 40;

/// See the module. All numbers are microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// Of the last access unit, by two clocks.
    last: Option<i64>,
    /// The least so far, by two clocks.
    least: i64,
    count: u32,
    /// Scaled by 16.
    jitter: i64,
    /// Scaled by 2 to the power of [`TREND_SHIFT`].
    trend: i64,
}

impl Delay {
    /// Takes an access unit that was captured and has come then, each by a clock of its end.
    pub fn note(&mut self, captured_us: u64, came_us: u64) {
        let delay = came_us.wrapping_sub(captured_us) as i64;
        self.count = self.count.wrapping_add(1);
        let Some(last) = self.last.replace(delay) else {
            self.least = delay;
            return;
        };
        if self.count.is_multiple_of(DRIFT_COUNT) {
            self.least = self.least.saturating_add(1);
        }
        self.least = self.least.min(delay);
        let change = delay.saturating_sub(last).clamp(-CHANGE_MAX, CHANGE_MAX);
        // RFC 3550 appendix A.8.
        self.jitter += change.abs() - ((self.jitter + 8) >> 4);
        self.trend += change - (self.trend >> TREND_SHIFT);
    }

    /// The interarrival jitter of RFC 3550.
    pub fn jitter_us(&self) -> u64 {
        (self.jitter.max(0) >> 4) as u64
    }

    /// How much longer the last one took than the quickest so far.
    pub fn excess_us(&self) -> u64 {
        self.last.map_or(0, |last| last.saturating_sub(self.least).max(0) as u64)
    }

    /// By how much the delay grows from one access unit to the next, of late.
    pub fn trend_us(&self) -> i64 {
        self.trend >> TREND_SHIFT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Access units every 10 ms, each with such a delay.
    fn after(delays: impl IntoIterator<Item = u64>) -> Delay {
        let mut delay = Delay::default();
        for (index, of_this) in delays.into_iter().enumerate() {
            let captured_us = 1_000_000 + 10_000 * index as u64;
            // A clock that shows less than the other does no harm.
            delay.note(captured_us, captured_us.wrapping_add(of_this).wrapping_sub(900_000));
        }
        delay
    }

    #[test]
    fn a_steady_way_has_no_jitter_and_no_trend() {
        let delay = after([3000; 100]);

        assert_eq!((delay.jitter_us(), delay.excess_us(), delay.trend_us()), (0, 0, 0));
    }

    #[test]
    fn jitter_is_the_mean_of_differences() {
        let delay = after((0..1000).map(|index| if index % 2 == 0 { 3000 } else { 3400 }));

        assert!((390..=400).contains(&delay.jitter_us()), "{}", delay.jitter_us());
        assert_eq!(delay.excess_us(), 400);
    }

    #[test]
    fn a_queue_that_grows_shows() {
        let delay = after((0..100).map(|index| 3000 + 50 * index));

        assert!((45..=55).contains(&delay.trend_us()), "{}", delay.trend_us());
        // Less what a drifting clock may be the reason for.
        assert!((4940..=4950).contains(&delay.excess_us()), "{}", delay.excess_us());
    }

    #[test]
    fn no_times_are_too_strange() {
        let mut delay = Delay::default();
        for (captured_us, came_us) in [(u64::MAX, 0), (0, u64::MAX), (1 << 63, 0), (0, 1 << 63)] {
            for _ in 0..100 {
                delay.note(captured_us, came_us);
                delay.note(came_us, captured_us);
            }
        }
        let _ = (delay.jitter_us(), delay.excess_us(), delay.trend_us());
    }
}
