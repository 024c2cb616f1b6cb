//! The one place that asks the time.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long before its time a wait is spent awake: timers are late by as much, half of the time.
const SPIN_TIME: Duration = Duration::from_micros(80);

/// Monotonic time, for deadlines.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Instant {
    Instant::now()
}

/// The moment at which CLOCK_MONOTONIC showed `time`, for times that another process tells. `None`
/// if that is yet to come, or more than an hour ago: then it is of another clock.
///
/// [`Instant`] is of the same clock but does not show its number, so both are read here, one after
/// the other: what is returned is too late by what lies between, far less than a microsecond.
pub fn at_monotonic(time: Duration) -> Option<Instant> {
    let mut passed = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a timespec that outlives the call. This clock is there on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut passed) };
    let now = now();
    let passed = Duration::new(passed.tv_sec as u64, passed.tv_nsec as u32);
    let age = passed.checked_sub(time).filter(|age| *age < Duration::from_secs(3600))?;
    now.checked_sub(age)
}

/// What CLOCK_MONOTONIC shows, in microseconds: for times that are told to another process.
pub fn monotonic_us() -> u64 {
    let mut passed = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a timespec that outlives the call. This clock is there on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut passed) };
    passed.tv_sec as u64 * 1_000_000 + passed.tv_nsec as u64 / 1000
}

/// What CLOCK_MONOTONIC shows then, in nanoseconds; now, if it is over.
pub fn monotonic_ns_at(then: Instant) -> u64 {
    let mut passed = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a timespec that outlives the call. This clock is there on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut passed) };
    let left = then.saturating_duration_since(now());
    (Duration::new(passed.tv_sec as u64, passed.tv_nsec as u32) + left).as_nanos() as u64
}

/// Waits until then to the microsecond: sleeps, and asks the time over and over at the end. Only
/// threads whose trade it is may: those that pace.
pub fn wait_until(until: Instant) {
    if let Some(sleep) = until.checked_sub(SPIN_TIME) {
        sleep_until(sleep);
    }
    while now() < until {
        std::hint::spin_loop();
    }
}

/// Sleeps until then. Only threads whose trade it is may: those that pace. The kernel is told the
/// moment rather than how long it is until then, so whoever takes the processor meanwhile delays
/// nothing.
pub fn sleep_until(until: Instant) {
    while now() < until {
        let ns = monotonic_ns_at(until);
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
            tv_nsec: (ns % 1_000_000_000) as libc::c_long, // below 10^9
        };
        // SAFETY: a timespec that outlives the call; nothing is asked to be told of what is left. An
        // interrupted sleep goes on.
        unsafe {
            let flags = libc::TIMER_ABSTIME;
            libc::clock_nanosleep(
                libc::CLOCK_MONOTONIC,
                flags,
                &raw const time,
                std::ptr::null_mut(),
            );
        }
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

/// Whether somebody keeps this machine's time together with that of others (adjtimex(2)).
pub fn is_synchronised() -> io::Result<bool> {
    // SAFETY: all zeroes is a timex, and one that changes nothing.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: a whole timex that outlives the call.
    match unsafe { libc::adjtimex(&raw mut state) } {
        -1 => Err(io::Error::last_os_error()),
        libc::TIME_ERROR => Ok(false),
        _ => Ok(state.status & libc::STA_UNSYNC == 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monotonic() -> Duration {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a timespec that outlives the call.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    #[test]
    fn the_kernel_says_whether_the_time_is_that_of_others() {
        assert_eq!(is_synchronised().unwrap(), is_synchronised().unwrap());
    }

    #[test]
    fn a_moment_told_by_number_is_found_again() {
        let before = now();
        let time = monotonic();
        let after = now();

        let moment = at_monotonic(time).unwrap();

        // Late by no more than its own reading of the clocks took.
        assert!(before <= moment, "{before:?} {moment:?}");
        assert!(moment <= after + (now() - after), "{after:?} {moment:?}");
    }

    #[test]
    fn a_moment_to_come_has_its_number_and_is_slept_until() {
        let then = now() + Duration::from_millis(20);

        let ns = monotonic_ns_at(then);
        sleep_until(then);

        // The number is early by what lies between two readings of the clocks, and never late.
        assert!(now() >= then);
        assert!(monotonic() >= Duration::from_nanos(ns));
        assert_eq!(
            at_monotonic(Duration::from_nanos(ns)).map(|moment| moment > now()),
            Some(false)
        );
        wait_until(then);
        sleep_until(then);
    }

    #[test]
    fn a_time_of_another_clock_is_none() {
        assert_eq!(at_monotonic(monotonic() + Duration::from_secs(9)), None);
        // A machine that has run for less has no such time.
        if let Some(long_ago) = monotonic().checked_sub(Duration::from_secs(4000)) {
            assert_eq!(at_monotonic(long_ago), None);
        }
    }
}
