//! Wakes a thread that waits for a ring buffer. Costs the producer a system call only where the
//! consumer sleeps.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Instant;

use super::clock;

/// One consumer sleeps, any number of producers ring.
#[derive(Debug)]
pub struct Bell {
    event: OwnedFd,
    is_asleep: AtomicBool,
}

impl Bell {
    /// A bell that nobody waits for yet.
    pub fn new() -> io::Result<Bell> {
        // SAFETY: eventfd(2) takes two numbers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor just made, which nobody else has.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Bell { event, is_asleep: AtomicBool::new(false) })
    }

    /// Wakes the consumer if it sleeps. Called after there is something for it.
    pub fn ring(&self) {
        // Either the consumer sees what was made before this fence, or this sees that it sleeps:
        // the other fence is in `sleep`. Without both, a wake-up can be lost.
        fence(Ordering::SeqCst);
        if self.is_asleep.load(Ordering::Relaxed) && self.is_asleep.swap(false, Ordering::AcqRel) {
            let one = 1_u64.to_ne_bytes();
            // SAFETY: eight bytes of a buffer that outlives the call. It can only fail where the
            // counter is full, and then the consumer wakes all the same.
            unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    /// Sleeps until the bell rings or `until` has come, unless there is work already. It may wake
    /// without either.
    pub fn sleep(&self, has_work: impl Fn() -> bool, until: Option<Instant>) {
        self.is_asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !has_work() {
            self.wait(until);
        }
        self.is_asleep.store(false, Ordering::Relaxed);
    }

    fn wait(&self, until: Option<Instant>) {
        let left = until.map(|until| until.saturating_duration_since(clock::now()));
        let timeout = left.map(|left| libc::timespec {
            tv_sec: left.as_secs() as libc::time_t,
            tv_nsec: left.subsec_nanos().into(),
        });
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let mut poll =
            libc::pollfd { fd: self.event.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd and a timeout that outlive the call; no signal mask.
        let count = unsafe { libc::ppoll(&raw mut poll, 1, timeout, std::ptr::null()) };
        if count > 0 {
            let mut counter = [0; 8];
            let fd = self.event.as_raw_fd();
            // SAFETY: eight bytes of a buffer that outlives the call. What is read means nothing.
            unsafe { libc::read(fd, counter.as_mut_ptr().cast(), counter.len()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_item_is_met_by_a_consumer_that_sleeps_between_them() {
        const COUNT: u32 = 20_000;
        let bell = Arc::new(Bell::new().unwrap());
        let made = Arc::new(AtomicU32::new(0));
        let producer = std::thread::Builder::new().spawn({
            let (bell, made) = (Arc::clone(&bell), Arc::clone(&made));
            move || {
                for _ in 0..COUNT {
                    made.fetch_add(1, Ordering::Release);
                    bell.ring();
                }
            }
        });

        let mut met = 0;
        while met < COUNT {
            bell.sleep(|| made.load(Ordering::Acquire) > met, None);
            met = made.load(Ordering::Acquire);
        }

        producer.unwrap().join().unwrap();
        assert_eq!(met, COUNT);
    }

    #[test]
    fn who_waits_for_a_time_wakes_then() {
        let bell = Bell::new().unwrap();
        let until = clock::now() + Duration::from_millis(20);

        while clock::now() < until {
            bell.sleep(|| false, Some(until));
        }

        bell.sleep(|| true, None);
    }
}
