//! A UDP socket for many peers, which tells of each datagram the address of this machine that it
//! was sent to, so that the answer comes from there.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::net::sockaddr::{self, Name, check};
use crate::net::udp::message::{self, Control};

/// Non-blocking. Clones are the same socket.
///
/// An IPv6 socket on every address takes IPv4 too. Addresses of IPv4 are always given and taken as
/// such, never mapped into IPv6.
#[derive(Debug)]
pub struct UdpSocket {
    socket: OwnedFd,
    is_v6: bool,
}

/// Between which two addresses datagrams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The peer's.
    pub remote: SocketAddr,
    /// This machine's; without one, the kernel takes one that suits the way.
    pub local: Option<IpAddr>,
}

/// Bytes of memory for datagrams that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffers {
    /// To be sent.
    pub send_len: usize,
    /// To be received.
    pub receive_len: usize,
}

/// One datagram that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// In bytes.
    pub len: usize,
    /// Where it came from, and where to.
    pub path: Path,
}

impl UdpSocket {
    /// Binds an address; the port is nobody else's.
    pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
        let is_v6 = address.is_ipv6();
        let family = if is_v6 { libc::AF_INET6 } else { libc::AF_INET };
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers.
        let fd = check(unsafe { libc::socket(family, kind, 0) })?;
        // SAFETY: `fd` was returned by socket() just now and is owned by nobody else.
        let socket = UdpSocket { socket: unsafe { OwnedFd::from_raw_fd(fd) }, is_v6 };
        if is_v6 {
            socket.set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
            socket.set(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        } else {
            socket.set(libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        }
        let name = Name::from(address);
        let (place, len) = name.as_raw();
        // SAFETY: `place` has `len` bytes, in `name`, which outlives the call.
        check(unsafe { libc::bind(fd, place, len) })?;
        Ok(socket)
    }

    /// The same socket once more.
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        Ok(UdpSocket { socket: self.socket.try_clone()?, is_v6: self.is_v6 })
    }

    /// The address that is bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
        let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        let (fd, place) = (self.as_raw_fd(), name.as_mut_ptr().cast());
        // SAFETY: `place` has `len` writable bytes, and both outlive the call.
        check(unsafe { libc::getsockname(fd, place, &raw mut len) })?;
        // SAFETY: the kernel wrote a whole address there.
        let address = unsafe { sockaddr::read(place) };
        address.map(canonical).ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Asks for so many bytes of memory for datagrams that wait to be sent, and as many for those
    /// that wait to be received, above the system's limit where this process may. Returns what was
    /// granted, which is no less than before.
    pub fn set_buffers(&self, len: usize) -> io::Result<Buffers> {
        Ok(Buffers {
            send_len: self.set_buffer(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, len)?,
            receive_len: self.set_buffer(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, len)?,
        })
    }

    fn set_buffer(&self, forced: i32, usual: i32, len: usize) -> io::Result<usize> {
        let before = self.buffer_len(usual)?;
        if before >= len {
            return Ok(before);
        }
        let len = i32::try_from(len).unwrap_or(i32::MAX);
        if self.set(libc::SOL_SOCKET, forced, len).is_err() {
            self.set(libc::SOL_SOCKET, usual, len)?;
        }
        self.buffer_len(usual)
    }

    /// The kernel counts its own bookkeeping too, and so doubles what it is asked for.
    fn buffer_len(&self, option: i32) -> io::Result<usize> {
        let (mut value, mut len) = (0_i32, size_of::<i32>() as libc::socklen_t);
        let (fd, place) = (self.as_raw_fd(), (&raw mut value).cast());
        // SAFETY: `place` has `len` writable bytes, and both outlive the call.
        check(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, option, place, &raw mut len) })?;
        Ok(value.max(0) as usize / 2)
    }

    /// Takes the next datagram into `buffer`, `None` if there is none. One that is longer than
    /// `buffer` is dropped. After many of these the rest waits for the next to arrive, as if there
    /// were none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        let arrival = message::receive(self.as_fd(), buffer)?;
        Ok(arrival.map(|arrival| Received {
            len: arrival.len,
            path: Path { remote: canonical(arrival.from), local: Some(arrival.to.to_canonical()) },
        }))
    }

    /// Sends one datagram. A socket that can take no more now is an error.
    pub fn send(&self, bytes: &[u8], path: &Path) -> io::Result<()> {
        message::send(self.as_fd(), bytes, self.name(path), &mut control(path))
    }

    /// The peer's address as this socket takes it.
    pub(super) fn name(&self, path: &Path) -> SocketAddr {
        match canonical(path.remote) {
            SocketAddr::V4(remote) if self.is_v6 => {
                SocketAddr::new(remote.ip().to_ipv6_mapped().into(), remote.port())
            }
            remote => remote,
        }
    }

    fn set(&self, level: i32, option: i32, value: i32) -> io::Result<()> {
        message::set(self.as_fd(), level, option, &value)
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The control message that has datagrams leave from the local address of a path. Those to IPv4
/// take that of IPv4, whichever the socket's own family is.
pub(super) fn control(path: &Path) -> Control {
    let mut control = Control::new();
    match path.local.map(|local| local.to_canonical()) {
        Some(local) if local.is_ipv4() == path.remote.ip().to_canonical().is_ipv4() => {
            control.put_source(local, 0);
        }
        _ => {}
    }
    control
}

/// IPv4 as such, where it is mapped into IPv6.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bind(address: &str) -> UdpSocket {
        UdpSocket::bind(address.parse().unwrap()).unwrap()
    }

    /// A socket that waits, which is not this module's.
    fn peer(ip: &str) -> std::net::UdpSocket {
        let ip: IpAddr = ip.parse().unwrap();
        let peer = std::net::UdpSocket::bind(SocketAddr::new(ip, 0)).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        peer
    }

    fn wait(socket: &UdpSocket) {
        let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which outlives the call.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 5000) }, 1, "nothing arrived");
    }

    #[test]
    fn a_peer_is_answered_from_the_address_it_asked() {
        // Where the socket is bound, the peer's address, and the one it asks.
        let cases = [
            ("0.0.0.0:0", "127.0.0.9", "127.0.0.5"),
            ("[::]:0", "127.0.0.9", "127.0.0.5"),
            ("[::]:0", "::1", "::1"),
            ("127.0.0.5:0", "127.0.0.9", "127.0.0.5"),
            ("[::1]:0", "::1", "::1"),
        ];
        for (address, peer_ip, asked) in cases {
            let socket = bind(address);
            let asked =
                SocketAddr::new(asked.parse().unwrap(), socket.local_addr().unwrap().port());
            let peer = peer(peer_ip);

            peer.send_to(b"question", asked).unwrap();
            wait(&socket);
            let mut buffer = [0; 16];
            let received = socket.receive(&mut buffer).unwrap().unwrap();
            socket.send(b"answer", &received.path).unwrap();

            assert_eq!(&buffer[..received.len], b"question");
            let expected = Path { remote: peer.local_addr().unwrap(), local: Some(asked.ip()) };
            assert_eq!(received.path, expected, "{address}");
            let (len, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], from), (&b"answer"[..], asked), "{address}");
            assert_eq!(socket.receive(&mut buffer).unwrap(), None);
        }
    }

    #[test]
    fn addresses_of_ipv4_may_be_mapped_and_those_of_another_family_are_left_to_the_kernel() {
        // Where the socket is bound, the local address of the path, and where it comes from.
        let cases = [
            ("[::]:0", "::ffff:127.0.0.5", "127.0.0.5"),
            ("0.0.0.0:0", "::ffff:127.0.0.5", "127.0.0.5"),
            ("[::]:0", "::1", "127.0.0.1"),
            ("0.0.0.0:0", "::1", "127.0.0.1"),
        ];
        for (address, local, expected) in cases {
            let (socket, peer) = (bind(address), peer("127.0.0.1"));
            let port = peer.local_addr().unwrap().port();
            let remote = SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), port);

            socket.send(b"hello", &Path { remote, local: Some(local.parse().unwrap()) }).unwrap();

            let (_, from) = peer.recv_from(&mut [0; 16]).unwrap();
            assert_eq!(from.ip().to_string(), expected, "{address} {local}");
        }
    }

    #[test]
    fn a_datagram_longer_than_the_buffer_is_dropped() {
        let (socket, peer) = (bind("127.0.0.1:0"), peer("127.0.0.1"));
        let address = socket.local_addr().unwrap();

        peer.send_to(&[1; 17], address).unwrap();
        peer.send_to(&[2; 16], address).unwrap();

        wait(&socket);
        let mut buffer = [0; 16];
        assert_eq!(socket.receive(&mut buffer).unwrap().unwrap().len, 16);
        assert_eq!(buffer, [2; 16]);
    }

    #[test]
    fn a_port_is_bound_once_and_a_clone_is_the_same_socket() {
        let socket = bind("[::]:0");
        let address = socket.local_addr().unwrap();

        UdpSocket::bind(address).unwrap_err();
        let clone = socket.try_clone().unwrap();
        drop(socket);

        assert_eq!(clone.local_addr().unwrap(), address);
    }

    #[test]
    fn buffers_do_not_shrink() {
        let socket = bind("127.0.0.1:0");

        let granted = socket.set_buffers(16 * 1024).unwrap();
        let more = socket.set_buffers(1024 * 1024).unwrap();

        for (granted, more) in
            [(granted.send_len, more.send_len), (granted.receive_len, more.receive_len)]
        {
            assert!(granted >= 16 * 1024 && more >= granted, "{granted} {more}");
        }
        assert_eq!(socket.set_buffers(0).unwrap(), more);
    }

    #[test]
    fn each_buffer_is_told_as_it_is() {
        let socket = bind("127.0.0.1:0");
        message::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, &40_000_i32).unwrap();
        message::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, &30_000_i32).unwrap();

        let granted = socket.set_buffers(0).unwrap();

        assert_eq!(granted, Buffers { send_len: 40_000, receive_len: 30_000 });
    }
}
