//! Bursts of datagrams of one length to one peer, in as few system calls as it takes.
//!
//! The kernel segments a message into datagrams itself (UDP_SEGMENT), at a fraction of what it
//! costs to give it each of them. It refuses to where the way out computes no checksums, or carries
//! no datagrams of that length; from then on datagrams so long, or longer, are given to it one by
//! one, though still many in one call.

use std::fmt;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;
use std::time::{Duration, Instant};

use crate::net::clock;
use crate::net::sockaddr::Name;
use crate::net::udp::message::{self, Control};
use crate::net::udp::pacer::{Departure, SCM_TXTIME};
use crate::net::udp::socket::{self, Path, UdpSocket};

/// What the kernel segments of one message, at most.
const SEGMENT_COUNT_MAX: usize = 64;
/// Bytes of one message, at most: somewhat less than a UDP datagram, which it is until then.
const MESSAGE_LEN_MAX: usize = 65_000;
/// Messages of one system call.
const MESSAGE_COUNT_MAX: usize = 64;
/// The two bits of congestion of who understands them, RFC 3168 section 5.
const ECT_0: u8 = 2;
/// How long to wait for memory of the kernel, of which it does not say when it is there.
const MEMORY_WAIT: Duration = Duration::from_millis(1);

/// What one thread sends by. It keeps the memory of the calls, and what was learnt of the way.
pub struct Batch {
    wait_max: Duration,
    is_segmented: bool,
    /// Datagrams so long, or longer, it does not segment.
    refused_len: usize,
    is_ecn_capable: bool,
    headers: Box<[libc::mmsghdr; MESSAGE_COUNT_MAX]>,
    parts: Box<[libc::iovec; MESSAGE_COUNT_MAX]>,
}

// SAFETY: the pointers in `headers` and `parts` are written anew in each call of `send` before any
// is followed, and nothing follows them between calls, whichever thread it is.
unsafe impl Send for Batch {}

/// What became of some datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Those that the kernel took.
    pub datagrams: usize,
    /// System calls that it took, but for those that waited.
    pub calls: usize,
    /// Those that are lost: the kernel had no room for too long, or no way to the peer.
    pub dropped: usize,
}

impl Batch {
    /// `wait_max` is how long one call waits, all in all, for a socket that can take no more.
    pub fn new(wait_max: Duration) -> Batch {
        // SAFETY: all zeroes is a header of a message with nothing in it, and a part with no bytes.
        let (headers, parts) = unsafe { (zeroed(), zeroed()) };
        Batch {
            wait_max,
            is_segmented: true,
            refused_len: usize::MAX,
            is_ecn_capable: false,
            headers: Box::new(headers),
            parts: Box::new(parts),
        }
    }

    /// Whether datagrams say that whoever is on a full way may mark them rather than drop them
    /// (ECT(0), RFC 3168). That is for a peer that tells how many were marked.
    pub fn set_ecn_capable(&mut self, is_ecn_capable: bool) {
        self.is_ecn_capable = is_ecn_capable;
    }

    /// Whether the kernel segments. Without, it is not asked to any more.
    pub fn set_segmented(&mut self, is_segmented: bool) {
        self.is_segmented = is_segmented;
    }

    /// Whether the kernel segments, as far as is known: it has not refused to.
    pub fn is_segmented(&self) -> bool {
        self.is_segmented && self.refused_len == usize::MAX
    }

    /// Sends `bytes` in datagrams of `segment_len` bytes, of which the last may be shorter. They
    /// leave from the local address of `path` and are marked with `dscp`, below 64.
    ///
    /// What a datagram meets is no error, since any may be lost: one that the kernel says was
    /// refused by the peer is counted as dropped, and where there is no way, so is the rest.
    pub fn send(
        &mut self,
        socket: &UdpSocket,
        path: &Path,
        bytes: &[u8],
        segment_len: usize,
        dscp: Option<u8>,
    ) -> Sent {
        self.send_at(socket, path, bytes, segment_len, dscp, None)
    }

    /// As [`Batch::send`], and has the kernel keep them until a time that a [`Pacer`] has told, if it
    /// has.
    ///
    /// [`Pacer`]: crate::net::udp::Pacer
    pub fn send_at(
        &mut self,
        socket: &UdpSocket,
        path: &Path,
        bytes: &[u8],
        segment_len: usize,
        dscp: Option<u8>,
        departure: Option<Departure>,
    ) -> Sent {
        let segment_len = segment_len.max(1);
        let name = Name::from(socket.name(path));
        let mut control = socket::control(path);
        let field = dscp.unwrap_or(0) << 2 | if self.is_ecn_capable { ECT_0 } else { 0 };
        if field != 0 {
            mark(&mut control, path, field);
        }
        if let Some(departure) = departure {
            control.put(libc::SOL_SOCKET, SCM_TXTIME, departure.0);
        }
        let single_control_len = control.len();
        control.put(libc::SOL_UDP, libc::UDP_SEGMENT, segment_len as u16); // of a message: < 64 KiB
        let mut burst = Burst {
            bytes,
            segment_len,
            is_segmented: self.is_segmented && segment_len < self.refused_len,
            name,
            control,
            single_control_len,
        };
        let mut sent = Sent::default();
        // Only if a single datagram is taken then was it for want of segmentation.
        let (mut deadline, mut is_refused) = (None, false);
        while !burst.bytes.is_empty() {
            let count = burst.fill(&mut self.headers, &mut self.parts);
            sent.calls += 1;
            // SAFETY: `fill` made `count` messages that point into `burst`, `parts` and the bytes
            // it borrows, as long as they say; all outlive the call.
            let result = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count as u32, 0)
            };
            if result > 0 {
                sent.datagrams += burst.take(result as usize);
                if is_refused {
                    self.refused_len = self.refused_len.min(segment_len);
                }
                continue;
            }
            match io::Error::last_os_error().raw_os_error().unwrap_or(0) {
                libc::EINTR => {}
                libc::EAGAIN if wait(Some(socket.as_fd()), &mut deadline, self.wait_max) => {}
                libc::ENOBUFS if wait(None, &mut deadline, self.wait_max) => {}
                libc::EINVAL | libc::EIO | libc::EMSGSIZE if burst.is_first_segmented() => {
                    (burst.is_segmented, is_refused) = (false, true);
                }
                libc::ECONNREFUSED => sent.dropped += burst.take(1),
                _ => sent.dropped += burst.take(usize::MAX),
            }
        }
        sent
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Batch");
        debug.field("is_segmented", &self.is_segmented()).finish_non_exhaustive()
    }
}

/// What is still to be sent in one call of `send`.
struct Burst<'a> {
    bytes: &'a [u8],
    segment_len: usize,
    is_segmented: bool,
    name: Name,
    /// All control messages; that of segmentation is the last.
    control: Control,
    /// Bytes of the control messages without that one.
    single_control_len: usize,
}

impl Burst<'_> {
    /// Bytes of every message but the last.
    fn message_len(&self) -> usize {
        let fitting = MESSAGE_LEN_MAX / self.segment_len;
        let count = if self.is_segmented { fitting.clamp(1, SEGMENT_COUNT_MAX) } else { 1 };
        count * self.segment_len
    }

    /// Makes messages of what is to be sent, as many as there is room for, and returns how many.
    fn fill(
        &mut self,
        headers: &mut [libc::mmsghdr; MESSAGE_COUNT_MAX],
        parts: &mut [libc::iovec; MESSAGE_COUNT_MAX],
    ) -> usize {
        let (name, name_len) = self.name.as_raw();
        let control = self.control.as_mut_ptr();
        let messages = self.bytes.chunks(self.message_len());
        let count = messages.len().min(MESSAGE_COUNT_MAX);
        for ((bytes, header), part) in messages.zip(headers).zip(parts) {
            let is_single = bytes.len() <= self.segment_len;
            let control_len = if is_single { self.single_control_len } else { self.control.len() };
            part.iov_base = bytes.as_ptr().cast_mut().cast();
            part.iov_len = bytes.len();
            header.msg_hdr.msg_name = name.cast_mut().cast();
            header.msg_hdr.msg_namelen = name_len;
            header.msg_hdr.msg_iov = ptr::from_mut(part);
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control;
            header.msg_hdr.msg_controllen = control_len as _;
        }
        count
    }

    /// Leaves out so many of the messages that `fill` makes, and returns how many datagrams that
    /// is.
    fn take(&mut self, message_count: usize) -> usize {
        let len = self.message_len().saturating_mul(message_count).min(self.bytes.len());
        let (taken, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        taken.len().div_ceil(self.segment_len)
    }

    /// Whether the first of the messages is to be segmented.
    fn is_first_segmented(&self) -> bool {
        self.is_segmented
            && self.bytes.len() > self.segment_len
            && self.message_len() > self.segment_len
    }
}

/// Adds the differentiated services field, which is the DSCP and two bits of congestion.
fn mark(control: &mut Control, path: &Path, field: u8) {
    let field = i32::from(field);
    if path.remote.ip().to_canonical().is_ipv4() {
        control.put(libc::IPPROTO_IP, libc::IP_TOS, field);
    } else {
        control.put(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, field);
    }
}

/// Has the kernel cut each message of a socket into datagrams of so many bytes, below 64 KiB: what
/// a batch is measured against, as there is nothing around it.
pub fn set_segment_len(socket: BorrowedFd<'_>, len: usize) -> io::Result<()> {
    message::set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, &(len as i32))
}

/// Waits until a socket can take more, or without one for a moment. False when the time is over,
/// which begins with the first wait.
fn wait(
    socket: Option<BorrowedFd<'_>>,
    deadline: &mut Option<Instant>,
    wait_max: Duration,
) -> bool {
    let now = clock::now();
    let left = deadline.get_or_insert(now + wait_max).saturating_duration_since(now);
    if left.is_zero() {
        return false;
    }
    let fd = socket.map_or(-1, |socket| socket.as_raw_fd()); // -1 is left out by the kernel
    let left = if socket.is_some() { left } else { left.min(MEMORY_WAIT) };
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one pollfd and a timespec, which outlive the call; no signal mask.
    unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, ptr::null()) };
    true
}

#[cfg(test)]
mod tests;
