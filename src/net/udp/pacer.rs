//! Who makes datagrams leave at their times: the kernel, where the queueing discipline of the way out
//! keeps them until then, or the thread that sends, by timers.

#![forbid(unsafe_code)]

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pacer {
    is_kernel: bool,
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
        Pacer { is_kernel: false }
    }

    /// Looks at the way out of a path, and tells the socket that datagrams will have times, which
    /// takes some system calls. What is not known or not allowed is done by timers.
    pub fn of(socket: &UdpSocket, path: &Path) -> Pacer {
        let times = TxTime { clock: libc::CLOCK_MONOTONIC, flags: 0 };
        let is_kernel = qdisc::way_keeps_times(path.remote.ip()).unwrap_or(false)
            && message::set(socket.as_fd(), libc::SOL_SOCKET, SO_TXTIME, &times).is_ok();
        Pacer { is_kernel }
    }

    /// Whether the kernel does it.
    pub fn is_kernel(&self) -> bool {
        self.is_kernel
    }

    /// Waits until a burst may be given to the kernel, which for a kernel that keeps it is somewhat
    /// before its time; then that is returned, to be told to it.
    pub fn wait(&self, departure: Instant) -> Option<Departure> {
        if self.is_kernel {
            clock::sleep_until(departure.checked_sub(LEAD_TIME).unwrap_or(departure));
        } else {
            clock::wait_until(departure);
        }
        self.at(departure)
    }

    /// What a kernel that keeps a burst is told, without any waiting.
    pub fn at(&self, departure: Instant) -> Option<Departure> {
        self.is_kernel.then(|| Departure(clock::monotonic_ns_at(departure)))
    }
}
