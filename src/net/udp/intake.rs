//! Datagrams of a socket taken many at a time.
//!
//! One system call takes several messages, and each of these may be many datagrams of one sender
//! that the kernel has kept together (UDP_GRO): as with sending, the cost is by the message. What
//! the kernel had no room for it counts, by the message too, and says with the next one, or when it
//! is asked. How many datagrams that were is to be told by what is in them.

use std::fmt;
use std::io;
use std::mem::zeroed;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use crate::net::sockaddr;
use crate::net::udp::message::{self, Control};
use crate::net::udp::socket::{UdpSocket, canonical};

/// Messages of one system call.
const MESSAGE_COUNT: usize = 16;
/// Bytes of a message at most: as long as a UDP datagram can be, whatever it is made of.
const MESSAGE_LEN: usize = 65_536;

/// What one thread receives by. It keeps the memory of the calls.
pub struct Intake {
    bytes: Box<[u8]>,
    headers: Box<[libc::mmsghdr; MESSAGE_COUNT]>,
    parts: Box<[libc::iovec; MESSAGE_COUNT]>,
    names: Box<[libc::sockaddr_storage; MESSAGE_COUNT]>,
    controls: Box<[Control; MESSAGE_COUNT]>,
    /// As the kernel counts it, in 32 bits.
    overflow: u32,
    dropped_message_count: u64,
    message_count: u64,
}

// SAFETY: the pointers in `headers` and `parts` are written anew in each call of `receive` before
// any is followed, and nothing follows them between calls, whichever thread it is.
unsafe impl Send for Intake {}

/// One datagram.
#[derive(Debug)]
pub struct Taken<'a> {
    /// What is in it.
    pub bytes: &'a mut [u8],
    /// Where it came from.
    pub remote: SocketAddr,
    /// The two bits of congestion, RFC 3168: 3 says that the way was full.
    pub ecn: u8,
}

/// What is said beside a message.
#[derive(Default)]
struct Said {
    segment_len: Option<usize>,
    overflow: Option<u32>,
    ecn: u8,
}

impl Intake {
    /// Has the kernel keep datagrams of the socket together where it can, count those that it had
    /// no room for, and tell what is marked on them. What it does not know it does without.
    pub fn new(socket: &UdpSocket) -> Intake {
        let on = 1_i32;
        for (level, option) in [
            (libc::SOL_UDP, libc::UDP_GRO),
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL),
            (libc::IPPROTO_IP, libc::IP_RECVTOS),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
        ] {
            let _ = message::set(socket.as_fd(), level, option, &on);
        }
        // SAFETY: all zeroes is a header of a message with nothing in it, a part with no bytes, and
        // an address of no family.
        let (headers, parts, names) = unsafe { (zeroed(), zeroed(), zeroed()) };
        Intake {
            bytes: vec![0; MESSAGE_COUNT * MESSAGE_LEN].into(),
            headers: Box::new(headers),
            parts: Box::new(parts),
            names: Box::new(names),
            controls: Box::new([const { Control::new() }; MESSAGE_COUNT]),
            overflow: 0,
            dropped_message_count: 0,
            message_count: 0,
        }
    }

    /// Takes what there is, as much as one system call does, and hands over each datagram. Returns
    /// how many: none if there is nothing. A message that is longer than can be, or of which the
    /// kernel could not say all, as where one datagram ends, is dropped.
    pub fn receive(
        &mut self,
        socket: &UdpSocket,
        mut take: impl FnMut(Taken<'_>),
    ) -> io::Result<usize> {
        self.prepare();
        let (place, count) = (self.headers.as_mut_ptr(), MESSAGE_COUNT as u32);
        // SAFETY: `prepare` made the headers point to memory of this value, which is writable, as
        // long as they say, and outlives the call. No time-out.
        let result =
            unsafe { libc::recvmmsg(socket.as_raw_fd(), place, count, 0, ptr::null_mut()) };
        if result < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        }
        let mut datagram_count = 0;
        let messages = self.bytes.chunks_exact_mut(MESSAGE_LEN).zip(self.headers.iter());
        let messages = messages.zip(self.names.iter()).take(result as usize);
        self.message_count += result as u64;
        let mut overflow = self.overflow;
        for ((bytes, header), name) in messages {
            // SAFETY: the kernel filled the header, and the control messages that it points to are
            // still there.
            let said = unsafe { said(&header.msg_hdr) };
            overflow = said.overflow.unwrap_or(overflow);
            // SAFETY: `name` was zeroed, so it is of no family, unless the kernel wrote a whole
            // address there.
            let remote = unsafe { sockaddr::read(ptr::from_ref(name).cast()) };
            let is_whole = header.msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) == 0;
            let Some(remote) = remote.filter(|_| is_whole).map(canonical) else {
                continue;
            };
            let bytes = &mut bytes[..(header.msg_len as usize).min(MESSAGE_LEN)];
            let segment_len = said.segment_len.unwrap_or(bytes.len()).max(1);
            for bytes in bytes.chunks_mut(segment_len) {
                datagram_count += 1;
                take(Taken { bytes, remote, ecn: said.ecn });
            }
        }
        self.note_overflow(overflow);
        Ok(datagram_count)
    }

    /// Messages that the kernel has given.
    pub fn message_count(&self) -> u64 {
        self.message_count
    }

    /// Messages that the kernel had no room for, as far as it has said so: datagrams that it kept
    /// together, or that the sender did on the same machine, are one.
    pub fn dropped_message_count(&self) -> u64 {
        self.dropped_message_count
    }

    /// As [`Intake::dropped_message_count`], and asks the kernel first: it has not said what came
    /// behind the last message that was taken. That is one system call.
    pub fn poll_dropped(&mut self, socket: &UdpSocket) -> io::Result<u64> {
        let overflow = message::dropped_count(socket.as_fd())?;
        self.note_overflow(overflow);
        Ok(self.dropped_message_count)
    }

    /// What a message says is what was so when it came, which may be less than is known.
    fn note_overflow(&mut self, overflow: u32) {
        let new = overflow.wrapping_sub(self.overflow);
        if new <= u32::MAX / 2 {
            self.dropped_message_count += u64::from(new);
            self.overflow = overflow;
        }
    }

    fn prepare(&mut self) {
        let bytes = self.bytes.chunks_exact_mut(MESSAGE_LEN);
        let memory = bytes.zip(self.names.iter_mut()).zip(self.controls.iter_mut());
        let headers = self.headers.iter_mut().zip(self.parts.iter_mut());
        for (((bytes, name), control), (header, part)) in memory.zip(headers) {
            part.iov_base = bytes.as_mut_ptr().cast();
            part.iov_len = bytes.len();
            name.ss_family = libc::AF_UNSPEC as libc::sa_family_t;
            header.msg_len = 0;
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = ptr::from_mut(part);
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.as_mut_ptr();
            header.msg_hdr.msg_controllen = Control::CAPACITY as _;
            header.msg_hdr.msg_flags = 0;
        }
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("messages", &self.message_count).finish_non_exhaustive()
    }
}

/// What the kernel said beside a message.
///
/// # Safety
///
/// `message` was filled by the kernel, and its control messages are still there.
unsafe fn said(message: &libc::msghdr) -> Said {
    let mut said = Said::default();
    // SAFETY: the control messages are valid by this function's contract.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: null, or a header within them.
    while let Some(header) = unsafe { next.as_ref() } {
        // SAFETY: `next` is a header within the control messages.
        let data = unsafe { libc::CMSG_DATA(next) };
        match (header.cmsg_level, header.cmsg_type) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                // SAFETY: the kernel puts an int into a message of this type.
                let len = unsafe { data.cast::<i32>().read_unaligned() };
                said.segment_len = usize::try_from(len).ok().filter(|len| *len > 0);
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                // SAFETY: the kernel puts a u32 into a message of this type.
                said.overflow = Some(unsafe { data.cast::<u32>().read_unaligned() });
            }
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                // SAFETY: the kernel puts a byte into a message of this type.
                said.ecn = unsafe { data.read() } & 3;
            }
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                // SAFETY: the kernel puts an int into a message of this type.
                said.ecn = (unsafe { data.cast::<i32>().read_unaligned() } & 3) as u8;
            }
            _ => {}
        }
        // SAFETY: `next` is a header within the control messages.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    said
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;
    use crate::net::udp::{Batch, Path};

    fn bind(ip: &str) -> UdpSocket {
        UdpSocket::bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap()
    }

    /// All that comes within a moment.
    fn all(intake: &mut Intake, socket: &UdpSocket) -> Vec<(Vec<u8>, SocketAddr, u8)> {
        let mut taken = Vec::new();
        let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which outlives the call.
        while unsafe { libc::poll(&raw mut poll, 1, 100) } == 1 {
            intake
                .receive(socket, |it| taken.push((it.bytes.to_vec(), it.remote, it.ecn)))
                .unwrap();
        }
        taken
    }

    #[test]
    fn datagrams_come_as_they_were_sent_whether_or_not_the_kernel_keeps_them_together() {
        for (at, from) in [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "::1")] {
            for is_segmented in [true, false] {
                let (socket, sender) = (bind(at), bind(from));
                let mut intake = Intake::new(&socket);
                let ip: IpAddr = from.parse().unwrap();
                let remote = SocketAddr::new(ip, socket.local_addr().unwrap().port());
                let bytes: Vec<u8> = (0..60 * 1408 - 7).map(|index| (index % 253) as u8).collect();
                let mut batch = Batch::new(Duration::from_secs(5));
                batch.set_segmented(is_segmented);

                let path = Path { remote, local: None };
                let sent = batch.send(&sender, &path, &bytes, 1408, Some(40));
                let taken = all(&mut intake, &socket);

                assert_eq!((sent.datagrams, taken.len()), (60, 60), "{at} {is_segmented}");
                for ((datagram, from, ecn), expected) in taken.iter().zip(bytes.chunks(1408)) {
                    assert!(datagram == expected);
                    assert_eq!((*from, *ecn), (sender.local_addr().unwrap(), 0));
                }
                // A message has 46 of them at most.
                let message_count = if is_segmented { 2 } else { 60 };
                assert_eq!(intake.message_count(), message_count, "{at}");
                assert_eq!(intake.poll_dropped(&socket).unwrap(), 0);
            }
        }
    }

    #[test]
    fn what_is_marked_on_the_way_is_told() {
        for ip in ["127.0.0.1", "::1"] {
            let (socket, sender) = (bind(ip), bind(ip));
            let mut intake = Intake::new(&socket);
            let remote = socket.local_addr().unwrap();
            let (level, option) = match remote.is_ipv4() {
                true => (libc::IPPROTO_IP, libc::IP_TOS),
                false => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
            };
            for mark in 0..4_i32 {
                message::set(sender.as_fd(), level, option, &(40 << 2 | mark)).unwrap();
                sender.send(&[mark as u8], &Path { remote, local: None }).unwrap();
            }

            let taken = all(&mut intake, &socket);

            let marks: Vec<(u8, u8)> =
                taken.iter().map(|(bytes, _, ecn)| (bytes[0], *ecn)).collect();
            assert_eq!(marks, [(0, 0), (1, 1), (2, 2), (3, 3)], "{ip}");
        }
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (socket, sender) = (bind("127.0.0.1"), bind("127.0.0.1"));
        message::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, &20_000_i32).unwrap();
        let mut intake = Intake::new(&socket);
        let path = Path { remote: socket.local_addr().unwrap(), local: None };

        let mut came = 0;
        for _ in 0..2 {
            for _ in 0..500 {
                sender.send(&[7; 1000], &path).unwrap();
            }
            came += all(&mut intake, &socket).len() as u64;
        }
        // The kernel says it with a datagram that came after, or when it is asked.
        let said = intake.dropped_message_count();
        let asked = intake.poll_dropped(&socket).unwrap();
        sender.send(&[7; 1000], &path).unwrap();
        came += all(&mut intake, &socket).len() as u64;

        assert!(0 < said && said < asked, "{said} {asked}");
        assert_eq!(intake.dropped_message_count(), asked);
        assert_eq!(came + asked, 1001);
    }

    #[test]
    fn what_is_kept_together_finds_no_room_together() {
        let (socket, sender) = (bind("127.0.0.1"), bind("127.0.0.1"));
        message::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, &100_000_i32).unwrap();
        let mut intake = Intake::new(&socket);
        let path = Path { remote: socket.local_addr().unwrap(), local: None };
        let mut batch = Batch::new(Duration::from_secs(5));

        for _ in 0..50 {
            let sent = batch.send(&sender, &path, &[7; 20 * 1000], 1000, None);
            assert_eq!((sent.datagrams, sent.calls), (20, 1));
        }
        let came = all(&mut intake, &socket).len() as u64;
        let dropped = intake.poll_dropped(&socket).unwrap();

        assert!(dropped > 0 && intake.message_count() == came / 20);
        assert_eq!(intake.message_count() + dropped, 50);
    }

    #[test]
    fn a_message_of_which_not_all_is_told_is_dropped() {
        let (socket, sender) = (bind("::1"), bind("::1"));
        let mut intake = Intake::new(&socket);
        // More than there is room for.
        for (level, option) in [
            (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT),
        ] {
            message::set(socket.as_fd(), level, option, &1_i32).unwrap();
        }
        let path = Path { remote: socket.local_addr().unwrap(), local: None };

        Batch::new(Duration::from_secs(5)).send(&sender, &path, &[7; 2000], 1000, Some(40));

        assert_eq!(all(&mut intake, &socket), []);
        assert_eq!(intake.message_count(), 1);
    }

    #[test]
    fn nothing_is_no_error_and_a_refusal_does_not_end_it() {
        let (socket, sender) = (bind("127.0.0.1"), bind("127.0.0.1"));
        let mut intake = Intake::new(&socket);

        assert_eq!(intake.receive(&socket, |_| panic!("nothing came")).unwrap(), 0);
        sender.send(&[], &Path { remote: socket.local_addr().unwrap(), local: None }).unwrap();
        assert_eq!(all(&mut intake, &socket).len(), 0);
        sender.send(&[1], &Path { remote: socket.local_addr().unwrap(), local: None }).unwrap();

        assert_eq!(all(&mut intake, &socket).len(), 1);
    }
}
