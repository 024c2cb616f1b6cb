//! Who makes datagrams leave at their times: the kernel, where the queueing discipline of the way out
//! keeps them until then, or the thread that sends, by timers.

#![forbid(unsafe_code)]

use std::fmt;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::net::udp::message;
use crate::net::udp::socket::{Path, UdpSocket};
use crate::net::{clock, qdisc};

/// asm-generic/socket.h; the option, and the control message that goes with a datagram.
const SO_TXTIME: i32 = 61;
pub(super) const SCM_TXTIME: i32 = SO_TXTIME;
/// How long before its time a burst is given to a kernel that keeps it. What waits there takes room
/// in the socket's buffer and in the discipline, which holds a hundred bursts of a socket.
const LEAD_TIME: Duration = Duration::from_millis(2);

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacer {
    choice: Choice,
}

/// Who it is, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The kernel: what is on the way out keeps datagrams until their times.
    Kernel,
    /// Timers: what is on the way out does not.
    NoDiscipline,
    /// Timers: the kernel does not tell what is on the way out.
    NotTold,
    /// Timers: the kernel does not let datagrams of the socket have times.
    Refused,
    /// Timers, as was asked for.
    Timers,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Choice::Kernel => "the kernel, fq is on the way out",
            Choice::NoDiscipline => "timers, fq is not on the way out",
            Choice::NotTold => "timers, the kernel does not tell what is on the way out",
            Choice::Refused => "timers, the kernel lets datagrams have no times",
            Choice::Timers => "timers",
        })
    }
}

/// When a burst leaves, by CLOCK_MONOTONIC, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure(pub(super) u64);

/// `struct sock_txtime`.
#[repr(C)]
struct TxTime {
    clock: libc::clockid_t,
    flags: u32,
}

impl Pacer {
    /// By timers, whatever the kernel can.
    pub const fn timers() -> Pacer {
        Pacer { choice: Choice::Timers }
    }

    /// Looks at the way out of a path, and tells the socket that datagrams will have times, which
    /// takes some system calls. What is not known or not allowed is done by timers.
    pub fn of(socket: &UdpSocket, path: &Path) -> Pacer {
        let times = TxTime { clock: libc::CLOCK_MONOTONIC, flags: 0 };
        let choice = match qdisc::way_keeps_times(path.remote.ip()) {
            Ok(true) => {
                let set = message::set(socket.as_fd(), libc::SOL_SOCKET, SO_TXTIME, &times);
                set.map_or(Choice::Refused, |()| Choice::Kernel)
            }
            Ok(false) => Choice::NoDiscipline,
            Err(_) => Choice::NotTold,
        };
        Pacer { choice }
    }

    /// Who it is, and why.
    pub fn choice(&self) -> Choice {
        self.choice
    }

    /// Whether the kernel does it.
    pub fn is_kernel(&self) -> bool {
        self.choice == Choice::Kernel
    }

    /// Waits until a burst may be given to the kernel, which for a kernel that keeps it is somewhat
    /// before its time; then that is returned, to be told to it.
    pub fn wait(&self, departure: Instant) -> Option<Departure> {
        if self.is_kernel() {
            clock::sleep_until(departure.checked_sub(LEAD_TIME).unwrap_or(departure));
        } else {
            clock::wait_until(departure);
        }
        self.at(departure)
    }

    /// What a kernel that keeps a burst is told, without any waiting.
    pub fn at(&self, departure: Instant) -> Option<Departure> {
        self.is_kernel().then(|| Departure(clock::monotonic_ns_at(departure)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_is_told_with_its_reason() {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let path = Path { remote: socket.local_addr().unwrap(), local: None };

        // Nobody has made a discipline for loopback.
        let pacer = Pacer::of(&socket, &path);

        assert_eq!((pacer.choice(), pacer.is_kernel()), (Choice::NoDiscipline, false));
        assert_eq!(pacer.choice().to_string(), "timers, fq is not on the way out");
        assert_eq!(Pacer::timers().choice(), Choice::Timers);
    }
}
