//! Who is at the other end of a local socket.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// A process, as the kernel noted it when it connected or began to listen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peer {
    /// Its id, as this process sees it. It may have ended since; then the number may be another's.
    pub pid: u32,
    /// The effective user id that it had.
    pub uid: u32,
}

/// The process at the other end (unix(7), SO_PEERCRED).
pub fn of(socket: &UnixStream) -> io::Result<Peer> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `found` has `len` writable bytes; both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut len,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // 0 is a process that this one cannot see, as in another container.
    Ok(Peer { pid: u32::try_from(found.pid).unwrap_or(0), uid: found.uid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::process;

    #[test]
    fn the_other_end_of_a_pair_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();

        assert_eq!(of(&one).unwrap(), Peer { pid: std::process::id(), uid: process::uid() });
    }
}
