//! Waiting for one descriptor, for threads that have nothing else to do.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::time::Instant;

use crate::net::clock;

/// Waits until there is something to read, or until then. Returns whether there is.
pub fn wait_readable(fd: &impl AsFd, until: Instant) -> io::Result<bool> {
    let left = until.saturating_duration_since(clock::now());
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    let mut poll = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd and a timespec, which outlive the call; no signal mask.
    match unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, ptr::null()) } {
        -1 => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
        count => Ok(count > 0),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_waits_for_something_to_read_and_no_longer_than_that() {
        let (mut one, other) = UnixStream::pair().unwrap();
        let now = clock::now();

        assert!(!wait_readable(&other, now + Duration::from_millis(5)).unwrap());
        assert!(clock::now() >= now + Duration::from_millis(5));
        assert!(!wait_readable(&other, now).unwrap());
        one.write_all(b"x").unwrap();
        assert!(wait_readable(&other, now + Duration::from_secs(60)).unwrap());
    }
}
