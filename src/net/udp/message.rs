//! What goes with a datagram through recvmsg and sendmsg: addresses and control messages.

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use crate::net::sockaddr::{self, Name, check};

/// Datagrams that one call to [`receive`] drops before it gives up.
const DROP_COUNT_MAX: usize = 64;

/// Room for all control messages that are asked for or given with one datagram.
const CONTROL_LEN: usize = 128;

/// What SO_MEMINFO tells, of which the last is what found no room; linux/sock_diag.h.
const MEMORY_NUMBER_COUNT: usize = 9;

/// Control messages, aligned as their headers need it.
#[repr(C, align(8))]
pub(super) struct Control {
    bytes: [u8; CONTROL_LEN],
    len: usize,
}

const _: () = assert!(align_of::<libc::cmsghdr>() <= 8);

impl Control {
    /// Bytes that there is room for.
    pub(super) const CAPACITY: usize = CONTROL_LEN;

    pub(super) const fn new() -> Control {
        Control { bytes: [0; CONTROL_LEN], len: 0 }
    }

    /// Bytes of what was put there.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where they are.
    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.bytes.as_mut_ptr().cast()
    }

    /// Adds one. `value` is the structure or number that the option takes, without padding.
    pub(super) fn put<T: Copy>(&mut self, level: i32, kind: i32, value: T) {
        let value_len = size_of::<T>() as u32;
        // SAFETY: these compute numbers only.
        let (len, space) = unsafe { (libc::CMSG_LEN(value_len), libc::CMSG_SPACE(value_len)) };
        let place = &mut self.bytes[self.len..][..space as usize];
        let header: *mut libc::cmsghdr = place.as_mut_ptr().cast();
        // SAFETY: `place` has `space` bytes, which is a header, what aligns it, and a `T`. It begins
        // at a multiple of what headers are aligned to, since `bytes` does and every space is one.
        unsafe {
            (*header).cmsg_len = len as _;
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        }
        self.len += space as usize;
    }

    /// Adds the address of this machine and the interface that a datagram leaves by; unspecified
    /// and 0 leave the choice to the kernel.
    pub(super) fn put_source(&mut self, source: IpAddr, interface: u32) {
        match source {
            IpAddr::V4(ip) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: interface as i32,
                    ipi_spec_dst: sockaddr::in_addr(ip),
                    ipi_addr: sockaddr::in_addr(Ipv4Addr::UNSPECIFIED),
                };
                self.put(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            IpAddr::V6(ip) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: sockaddr::in6_addr(ip),
                    ipi6_ifindex: interface,
                };
                self.put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
    }
}

/// One datagram that was received, in a buffer of the caller's.
pub(super) struct Arrival {
    pub(super) len: usize,
    pub(super) from: SocketAddr,
    pub(super) to: IpAddr,
    pub(super) interface: u32,
}

/// Takes the next datagram into `buffer`, `None` if there is none. One that is longer than
/// `buffer`, or of which the kernel does not say where it came in, is dropped. After many of these
/// the rest waits for the next to arrive, as if there were none.
pub(super) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
    for _ in 0..DROP_COUNT_MAX {
        match receive_one(fd, buffer) {
            Ok(Some(arrival)) => return Ok(Some(arrival)),
            Ok(None) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(None),
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
    Ok(None)
}

/// One system call; `None` for a datagram that is dropped.
fn receive_one(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
    let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut control = Control::new();
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeroes is a msghdr with nothing in it.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr();
    message.msg_controllen = CONTROL_LEN as _;
    // SAFETY: everything that `message` points to is writable, as long as it says, and outlives the
    // call.
    let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, 0) };
    if len < 0 {
        return Err(io::Error::last_os_error());
    }
    if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        return Ok(None);
    }
    // SAFETY: `name` is zeroed, so of no family, unless the kernel wrote a whole address there.
    let from = unsafe { sockaddr::read(name.as_ptr().cast()) };
    // SAFETY: the kernel filled `message` and `control`, and both are still there.
    let info = unsafe { packet_info(&message) };
    Ok(from.zip(info).map(|(from, (to, interface))| Arrival {
        len: len as usize,
        from,
        to,
        interface,
    }))
}

/// Where a datagram was sent to, and the interface it came in through.
///
/// # Safety
///
/// `message` was filled by recvmsg, and its control messages are still there.
unsafe fn packet_info(message: &libc::msghdr) -> Option<(IpAddr, u32)> {
    // SAFETY: the control messages are valid by this function's contract.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: null, or a header within them.
    while let Some(header) = unsafe { next.as_ref() } {
        // SAFETY: `next` is a header within the control messages.
        let data = unsafe { libc::CMSG_DATA(next) };
        match (header.cmsg_level, header.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: the kernel puts a whole in_pktinfo into a message of this type.
                let info = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
                let to = sockaddr::from_in_addr(info.ipi_addr);
                return Some((to.into(), info.ipi_ifindex as u32));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: the kernel puts a whole in6_pktinfo into a message of this type.
                let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
                return Some((Ipv6Addr::from(info.ipi6_addr.s6_addr).into(), info.ipi6_ifindex));
            }
            // SAFETY: `next` is a header within the control messages.
            _ => next = unsafe { libc::CMSG_NXTHDR(message, next) },
        }
    }
    None
}

/// Sends one datagram. A socket that can take no more now is an error.
pub(super) fn send(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    to: SocketAddr,
    control: &mut Control,
) -> io::Result<()> {
    let name = Name::from(to);
    let (place, len) = name.as_raw();
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zeroes is a msghdr with nothing in it.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = place.cast_mut().cast();
    message.msg_namelen = len;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr();
    message.msg_controllen = control.len() as _;
    loop {
        // SAFETY: everything that `message` points to is as long as it says and outlives the call,
        // which only reads it.
        let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, 0) };
        if sent >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Messages for which a socket had no room, as the kernel counts them in 32 bits.
pub(super) fn dropped_count(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut numbers = [0_u32; MEMORY_NUMBER_COUNT];
    let mut len = size_of_val(&numbers) as libc::socklen_t;
    let place = numbers.as_mut_ptr().cast();
    let (level, option) = (libc::SOL_SOCKET, libc::SO_MEMINFO);
    // SAFETY: `place` has `len` writable bytes, and both outlive the call.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, option, place, &raw mut len) })?;
    Ok(numbers[MEMORY_NUMBER_COUNT - 1])
}

/// Sets an option of a socket. `value` is the number or structure that the option takes.
pub(super) fn set<T>(fd: BorrowedFd<'_>, level: i32, option: i32, value: &T) -> io::Result<()> {
    let (place, len) = (ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t);
    // SAFETY: `value` has `len` readable bytes and outlives the call.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, place, len) })?;
    Ok(())
}
