//! Wakes a thread that waits for a ring buffer, or for that and a descriptor. Costs the producer a
//! system call only where the consumer sleeps.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
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
        self.sleep_with(has_work, until, None);
    }

    /// As [`Bell::sleep`], until `other` can be read as well. What other threads do to `other` the
    /// kernel keeps, so it needs no fence: a descriptor that becomes readable just before is still
    /// so when the kernel looks. It is not read here.
    pub fn sleep_with(
        &self,
        has_work: impl Fn() -> bool,
        until: Option<Instant>,
        other: Option<BorrowedFd<'_>>,
    ) {
        self.is_asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !has_work() {
            self.wait(until, other);
        }
        self.is_asleep.store(false, Ordering::Relaxed);
    }

    fn wait(&self, until: Option<Instant>, other: Option<BorrowedFd<'_>>) {
        let left = until.map(|until| until.saturating_duration_since(clock::now()));
        let timeout = left.map(|left| libc::timespec {
            tv_sec: left.as_secs() as libc::time_t,
            tv_nsec: left.subsec_nanos().into(),
        });
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // The kernel passes over negative descriptors.
        let other = other.map_or(-1, |other| other.as_raw_fd());
        let mut polls = [poll(self.event.as_raw_fd()), poll(other)];
        let (first, count) = (polls.as_mut_ptr(), polls.len() as libc::nfds_t);
        // SAFETY: as many pollfds as said and a timeout that outlive the call; no signal mask.
        let count = unsafe { libc::ppoll(first, count, timeout, std::ptr::null()) };
        if count > 0 && polls[0].revents != 0 {
            let mut counter = [0; 8];
            let fd = self.event.as_raw_fd();
            // SAFETY: eight bytes of a buffer that outlives the call. What is read means nothing.
            unsafe { libc::read(fd, counter.as_mut_ptr().cast(), counter.len()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
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

    #[test]
    fn who_waits_for_a_descriptor_too_wakes_for_either() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let bell = Arc::new(Bell::new().unwrap());
        let is_rung = Arc::new(AtomicBool::new(false));

        far.write_all(b"x").unwrap();
        // Without a time to wake at: returning is all that is asserted.
        bell.sleep_with(|| false, None, Some(near.as_fd()));
        let (idle, _kept) = UnixStream::pair().unwrap();
        let ringer = std::thread::Builder::new().spawn({
            let (bell, is_rung) = (Arc::clone(&bell), Arc::clone(&is_rung));
            move || {
                is_rung.store(true, Ordering::Release);
                bell.ring();
            }
        });
        while !is_rung.load(Ordering::Acquire) {
            bell.sleep_with(|| is_rung.load(Ordering::Acquire), None, Some(idle.as_fd()));
        }

        ringer.unwrap().join().unwrap();
        drop(far);
        bell.sleep_with(|| false, None, Some(near.as_fd()));
    }
}
