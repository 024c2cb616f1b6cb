//! A UDP socket for a multicast group of the local link, on as many interfaces as are joined.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::net::sockaddr::{self, Name, check};
use crate::net::udp::message::{self, Control};

/// linux/in6.h; libc has it for some targets only.
const IPV6_MULTICAST_ALL: i32 = 29;

/// The hop count by which receivers know that a datagram did not pass a router.
const HOPS: i32 = 255;

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
                Ipv4Addr::UNSPECIFIED.into()
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
        message::set(self.socket.as_fd(), level, option, value)
    }

    /// Takes the next datagram into `buffer`, `None` if there is none. One that is longer than
    /// `buffer`, or of which the kernel does not say where it came in, is dropped. After many of
    /// these the rest waits for the next to arrive, as if there were none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
        let arrival = message::receive(self.socket.as_fd(), buffer)?;
        Ok(arrival.map(|it| Datagram {
            len: it.len,
            from: it.from,
            to: it.to,
            interface: it.interface,
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
        let source = match (self.group, source) {
            (SocketAddr::V4(_), Some(IpAddr::V4(source))) => source.into(),
            (SocketAddr::V4(_), _) => Ipv4Addr::UNSPECIFIED.into(),
            (SocketAddr::V6(_), Some(IpAddr::V6(source))) => source.into(),
            (SocketAddr::V6(_), _) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut control = Control::new();
        control.put_source(source, interface);
        message::send(self.socket.as_fd(), bytes, to, &mut control)
    }
}

impl AsRawFd for MulticastSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
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
