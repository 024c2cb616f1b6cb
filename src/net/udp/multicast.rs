//! A UDP socket for a multicast group of the local link, on as many interfaces as are joined.

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::net::sockaddr::{self, Name, check};

/// linux/in6.h; libc has it for some targets only.
const IPV6_MULTICAST_ALL: i32 = 29;

/// The hop count by which receivers know that a datagram did not pass a router.
const HOPS: i32 = 255;

/// Datagrams that one call to [`MulticastSocket::receive`] drops before it gives up.
const DROP_COUNT_MAX: usize = 64;

/// Room for the one control message that is asked for or given: a packet info of either family.
const CONTROL_LEN: usize = 64;

/// A non-blocking socket of one address family. Other programs may have the same port, and each of
/// them gets its own copy of what is sent to the group.
#[derive(Debug)]
pub struct MulticastSocket {
    socket: OwnedFd,
    group: SocketAddr,
}

/// One datagram that was received.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Datagram {
    /// In bytes.
    pub len: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// The address it was sent to: the group, or one of this machine's.
    pub to: IpAddr,
    /// Index of the interface it came in through.
    pub interface: u32,
}

/// Control messages, aligned as their header needs it.
#[repr(C)]
union Control {
    _header: libc::cmsghdr,
    bytes: [u8; CONTROL_LEN],
}

impl MulticastSocket {
    /// Binds the port of `group` on every address of its family. Nothing is joined yet.
    pub fn open(group: SocketAddr) -> io::Result<MulticastSocket> {
        let family = if group.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers.
        let fd = check(unsafe { libc::socket(family, kind, 0) })?;
        // SAFETY: `fd` was returned by socket() just now and is owned by nobody else.
        let socket = MulticastSocket { socket: unsafe { OwnedFd::from_raw_fd(fd) }, group };
        socket.set(libc::SOL_SOCKET, libc::SO_REUSEADDR, &1)?;
        socket.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, &1)?;
        let unspecified: IpAddr = match group {
            SocketAddr::V4(_) => {
                let level = libc::IPPROTO_IP;
                socket.set(level, libc::IP_MULTICAST_ALL, &0)?;
                socket.set(level, libc::IP_MULTICAST_LOOP, &1)?;
                socket.set(level, libc::IP_MULTICAST_TTL, &HOPS)?;
                socket.set(level, libc::IP_TTL, &HOPS)?;
                socket.set(level, libc::IP_PKTINFO, &1)?;
                std::net::Ipv4Addr::UNSPECIFIED.into()
            }
            SocketAddr::V6(_) => {
                let level = libc::IPPROTO_IPV6;
                socket.set(level, libc::IPV6_V6ONLY, &1)?;
                socket.set(level, IPV6_MULTICAST_ALL, &0)?;
                socket.set(level, libc::IPV6_MULTICAST_LOOP, &1)?;
                socket.set(level, libc::IPV6_MULTICAST_HOPS, &HOPS)?;
                socket.set(level, libc::IPV6_UNICAST_HOPS, &HOPS)?;
                socket.set(level, libc::IPV6_RECVPKTINFO, &1)?;
                Ipv6Addr::UNSPECIFIED.into()
            }
        };
        let name = Name::from(SocketAddr::new(unspecified, group.port()));
        let (place, len) = name.as_raw();
        // SAFETY: `place` has `len` bytes, in `name`, which outlives the call.
        check(unsafe { libc::bind(fd, place, len) })?;
        Ok(socket)
    }

    /// Takes part in the group on one interface. Once more is no error.
    pub fn join(&self, interface: u32) -> io::Result<()> {
        match self.set_membership(interface, libc::IP_ADD_MEMBERSHIP, libc::IPV6_ADD_MEMBERSHIP) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            result => result,
        }
    }

    /// Takes part no longer; an error where that is so already.
    pub fn leave(&self, interface: u32) -> io::Result<()> {
        self.set_membership(interface, libc::IP_DROP_MEMBERSHIP, libc::IPV6_DROP_MEMBERSHIP)
    }

    fn set_membership(&self, interface: u32, option_v4: i32, option_v6: i32) -> io::Result<()> {
        match self.group.ip() {
            IpAddr::V4(ip) => {
                let request = libc::ip_mreqn {
                    imr_multiaddr: sockaddr::in_addr(ip),
                    imr_address: libc::in_addr { s_addr: 0 },
                    imr_ifindex: interface as i32,
                };
                self.set(libc::IPPROTO_IP, option_v4, &request)
            }
            IpAddr::V6(ip) => {
                let request = libc::ipv6_mreq {
                    ipv6mr_multiaddr: sockaddr::in6_addr(ip),
                    ipv6mr_interface: interface,
                };
                self.set(libc::IPPROTO_IPV6, option_v6, &request)
            }
        }
    }

    fn set<T>(&self, level: i32, option: i32, value: &T) -> io::Result<()> {
        let (fd, len) = (self.socket.as_raw_fd(), size_of::<T>() as libc::socklen_t);
        // SAFETY: `value` has `len` readable bytes and outlives the call; every caller gives the
        // integer or structure that the option takes.
        check(unsafe { libc::setsockopt(fd, level, option, ptr::from_ref(value).cast(), len) })?;
        Ok(())
    }

    /// Takes the next datagram into `buffer`, `None` if there is none. One that is longer than
    /// `buffer`, or of which the kernel does not say where it came in, is dropped. After many of
    /// these the rest waits for the next to arrive, as if there were none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
        for _ in 0..DROP_COUNT_MAX {
            match self.receive_one(buffer) {
                Ok(Some(datagram)) => return Ok(Some(datagram)),
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
    fn receive_one(&self, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
        let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
        let mut control = Control { bytes: [0; CONTROL_LEN] };
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: all zeroes is a msghdr with nothing in it.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_name = name.as_mut_ptr().cast();
        message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = CONTROL_LEN as _;
        // SAFETY: everything that `message` points to is writable, as long as it says, and outlives
        // the call.
        let len = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) };
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
        Ok(from.zip(info).map(|(from, (to, interface))| Datagram {
            len: len as usize,
            from,
            to,
            interface,
        }))
    }

    /// Sends one datagram through `interface`, to the group where no other receiver is named.
    /// `source` is the address it comes from, one that suits the way if there is none. A socket
    /// that can take no more now is an error.
    pub fn send(
        &self,
        bytes: &[u8],
        interface: u32,
        to: Option<SocketAddr>,
        source: Option<IpAddr>,
    ) -> io::Result<()> {
        let mut to = to.unwrap_or(self.group);
        if let SocketAddr::V6(to) = &mut to {
            to.set_scope_id(interface);
        }
        let name = Name::from(to);
        let (place, len) = name.as_raw();
        let mut control = Control { bytes: [0; CONTROL_LEN] };
        let mut part =
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: all zeroes is a msghdr with nothing in it.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_name = place.cast_mut().cast();
        message.msg_namelen = len;
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = CONTROL_LEN as _;
        match self.group {
            SocketAddr::V4(_) => {
                let source = match source {
                    Some(IpAddr::V4(source)) => sockaddr::in_addr(source),
                    _ => libc::in_addr { s_addr: 0 },
                };
                let info = libc::in_pktinfo {
                    ipi_ifindex: interface as i32,
                    ipi_spec_dst: source,
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                // SAFETY: `message` has the zeroed `control`, in which the structure finds room.
                unsafe { put(&mut message, libc::IPPROTO_IP, libc::IP_PKTINFO, info) };
            }
            SocketAddr::V6(_) => {
                let source = match source {
                    Some(IpAddr::V6(source)) => source,
                    _ => Ipv6Addr::UNSPECIFIED,
                };
                let info = libc::in6_pktinfo {
                    ipi6_addr: sockaddr::in6_addr(source),
                    ipi6_ifindex: interface,
                };
                // SAFETY: `message` has the zeroed `control`, in which the structure finds room.
                unsafe { put(&mut message, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info) };
            }
        }
        loop {
            // SAFETY: everything that `message` points to is as long as it says and outlives the
            // call, which only reads it.
            let sent = unsafe { libc::sendmsg(self.socket.as_raw_fd(), &raw const message, 0) };
            if sent >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

impl AsRawFd for MulticastSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
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

/// Makes `value` the one control message of `message`.
///
/// # Safety
///
/// `message` has [`CONTROL_LEN`] zeroed bytes for control messages, aligned as a header is.
unsafe fn put<T>(message: &mut libc::msghdr, level: i32, kind: i32, value: T) {
    const { assert!(size_of::<T>() + 2 * size_of::<libc::cmsghdr>() <= CONTROL_LEN) };
    let len = size_of::<T>() as u32;
    // SAFETY: there is room for a header, by this function's contract.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: `header` is not null because there is room; what follows it holds a `T`, as asserted.
    unsafe {
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(len) as _;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        message.msg_controllen = libc::CMSG_SPACE(len) as _;
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;
    use crate::net::netlink;

    fn loopback() -> u32 {
        let all = netlink::interfaces().unwrap();
        all.iter().find(|interface| interface.is_loopback).unwrap().index
    }

    /// A group that nothing else uses, at a port that was free just now.
    fn group() -> SocketAddr {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        SocketAddr::new("224.0.0.77".parse().unwrap(), port)
    }

    fn wait(socket: &MulticastSocket) {
        let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which outlives the call.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 5000) }, 1, "nothing arrived");
    }

    #[test]
    fn every_member_on_an_interface_hears_what_is_sent_there() {
        let (group, interface) = (group(), loopback());
        let members = [0, 1].map(|_| MulticastSocket::open(group).unwrap());
        for member in &members {
            member.join(interface).unwrap();
            member.join(interface).expect("joining twice");
        }

        // Without a source, the kernel takes one that other machines know.
        let source = IpAddr::from([127, 0, 0, 1]);
        members[0].send(b"hello", interface, None, Some(source)).unwrap();

        for member in &members {
            wait(member);
            let mut buffer = [0; 16];
            let datagram = member.receive(&mut buffer).unwrap().unwrap();
            assert_eq!(&buffer[..datagram.len], b"hello");
            assert_eq!((datagram.to, datagram.interface), (group.ip(), interface));
            assert_eq!(datagram.from, SocketAddr::new(source, group.port()));
            assert_eq!(member.receive(&mut buffer).unwrap(), None);
        }
    }

    #[test]
    fn who_left_or_never_joined_hears_nothing() {
        let (group, interface) = (group(), loopback());
        let [member, gone, stranger] = [0; 3].map(|_| MulticastSocket::open(group).unwrap());
        member.join(interface).unwrap();
        gone.join(interface).unwrap();
        gone.leave(interface).unwrap();

        member.send(b"hello", interface, None, None).unwrap();

        wait(&member);
        for socket in [&gone, &stranger] {
            assert_eq!(socket.receive(&mut [0; 16]).unwrap(), None);
        }
        gone.leave(interface).unwrap_err();
    }

    #[test]
    fn a_datagram_longer_than_the_buffer_is_dropped() {
        let (group, interface) = (group(), loopback());
        let member = MulticastSocket::open(group).unwrap();
        member.join(interface).unwrap();

        member.send(&[1; 17], interface, None, None).unwrap();
        member.send(&[2; 16], interface, None, None).unwrap();

        wait(&member);
        let mut buffer = [0; 16];
        assert_eq!(member.receive(&mut buffer).unwrap().unwrap().len, 16);
        assert_eq!(buffer, [2; 16]);
    }

    #[test]
    fn one_receiver_is_sent_to_from_the_address_that_is_named() {
        for (group, ip) in [("224.0.0.77", "127.0.0.5"), ("ff02::77", "::1")] {
            let receiver = UdpSocket::bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
            receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let to = receiver.local_addr().unwrap();
            let port = self::group().port();
            let group = SocketAddr::new(group.parse().unwrap(), port);
            let sender = MulticastSocket::open(group).unwrap();

            sender.send(b"hello", loopback(), Some(to), Some(to.ip())).unwrap();

            let mut buffer = [0; 16];
            let (len, from) = receiver.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], b"hello");
            assert_eq!((from.ip(), from.port()), (to.ip(), port));
        }
    }
}
