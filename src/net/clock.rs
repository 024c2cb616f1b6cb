//! The one place that asks the time.

#![forbid(unsafe_code)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time, for deadlines.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Instant {
    Instant::now()
}

/// Sleeps until then. Only threads whose trade it is may: those that pace.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn sleep_until(until: Instant) {
    let left = until.saturating_duration_since(now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}

/// Seconds since 1970-01-01 UTC, for what is stored and shown. 0 on a machine set before that.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// As [`unix_s`], in microseconds, for log lines.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_micros() as u64)
}
