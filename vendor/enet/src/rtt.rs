//! How long a peer takes to acknowledge, and so how long to wait before sending again.

use std::time::Duration;

const INITIAL_MS: u32 = 500;
/// Part of the timeout of a peer that one wait takes at most.
const TIMEOUT_SHARE: u32 = 5;

/// Mean and variance of the round trip as ENet reckons them, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rtt {
    mean_ms: u32,
    variance_ms: u32,
    is_measured: bool,
}

impl Default for Rtt {
    fn default() -> Rtt {
        Rtt { mean_ms: INITIAL_MS, variance_ms: 0, is_measured: false }
    }
}

impl Rtt {
    /// Takes one round trip: both ends of it by our own clock, of which only 16 bits came back.
    /// `false` if it ended before it began.
    pub(crate) fn measure(&mut self, sent_time: u16, now_time: u16) -> bool {
        let rtt_ms = now_time.wrapping_sub(sent_time);
        if rtt_ms >= 0x8000 {
            return false;
        }
        self.add(u32::from(rtt_ms).max(1));
        true
    }

    fn add(&mut self, rtt_ms: u32) {
        if !self.is_measured {
            *self = Rtt { mean_ms: rtt_ms, variance_ms: rtt_ms.div_ceil(2), is_measured: true };
            return;
        }
        self.variance_ms -= self.variance_ms.div_ceil(4);
        let difference = rtt_ms.abs_diff(self.mean_ms);
        self.variance_ms += difference.div_ceil(4);
        if rtt_ms >= self.mean_ms {
            self.mean_ms += difference.div_ceil(8);
        } else {
            self.mean_ms -= difference.div_ceil(8);
        }
    }

    /// The mean; half a second before the first measurement.
    pub(crate) fn mean(&self) -> Duration {
        Duration::from_millis(self.mean_ms.into())
    }

    /// How long to wait for the acknowledgement of what is sent for the first time.
    pub(crate) fn wait(&self, timeout: Duration) -> Duration {
        self.wait_again(1, timeout)
    }

    /// As [`Rtt::wait`], after so many attempts.
    pub(crate) fn wait_again(&self, attempts: u32, timeout: Duration) -> Duration {
        let margin_ms = self.mean_ms.min(self.variance_ms.max(1) * 4);
        let wait = Duration::from_millis((self.mean_ms + margin_ms).into());
        (wait * attempts).min(timeout / TIMEOUT_SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn round_trips_are_averaged_as_libenet_does() {
        // Sent, arrived; then mean, variance, wait.
        let cases = [
            (100, 120, (20, 10, 40)),
            (200, 220, (20, 7, 40)),
            (300, 404, (31, 26, 62)),
            (65_530, 4, (28, 25, 56)), // the clock's 16 bits wrap
            (500, 500, (24, 25, 48)),
        ];
        let mut rtt = Rtt::default();
        assert_eq!((rtt.mean_ms, rtt.wait(TIMEOUT)), (500, Duration::from_millis(504)));
        for (sent, arrived, (mean, variance, wait)) in cases {
            assert!(rtt.measure(sent, arrived));
            assert_eq!((rtt.mean_ms, rtt.variance_ms), (mean, variance), "{sent} {arrived}");
            assert_eq!(rtt.wait(TIMEOUT), Duration::from_millis(wait), "{sent} {arrived}");
        }
    }

    #[test]
    fn times_to_come_are_no_measurement_and_no_wait_is_endless() {
        let mut rtt = Rtt::default();

        assert!(!rtt.measure(101, 100));
        assert_eq!(rtt, Rtt::default());

        assert!(rtt.measure(0, 0x7fff));
        assert_eq!(rtt.wait(TIMEOUT), Duration::from_secs(2));
    }
}
