//! Listening sockets.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::sockaddr::{Name, check};

/// Connections that the kernel completes before we accept them. One more is made to try again a
/// second later, so a flood must not fill this between two turns.
const BACKLOG: i32 = 4096;

/// A listening, non-blocking socket. `[::]` takes IPv4 as well; any other IPv6 address does not.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: `fd` was returned by socket() just now and is owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set_flag(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, true)?;
    if let IpAddr::V6(ip) = address.ip() {
        set_flag(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, ip != Ipv6Addr::UNSPECIFIED)?;
    }
    let name = Name::from(address);
    let (place, len) = name.as_raw();
    // SAFETY: `place` has `len` bytes, in `name`, which outlives the call.
    check(unsafe { libc::bind(fd, place, len) })?;
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd, BACKLOG) })?;
    Ok(TcpListener::from(socket))
}

fn set_flag(fd: RawFd, level: i32, option: i32, on: bool) -> io::Result<()> {
    let value = i32::from(on);
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` is an int of `len` bytes and outlives the call.
    check(unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), len) })?;
    Ok(())
}

/// The user and process behind a Unix stream, as they were when it was connected (unix(7)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnixPeer {
    /// Process id, 0 when it lies in another namespace.
    pub pid: i32,
    /// Effective user id.
    pub uid: u32,
}

/// Who is at the other end of a Unix stream.
pub fn unix_peer(socket: &impl AsRawFd) -> io::Result<UnixPeer> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of_val(&credentials) as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    let place = (&raw mut credentials).cast();
    // SAFETY: `credentials` has `len` writable bytes and outlives the call.
    check(unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, place, &mut len) })?;
    Ok(UnixPeer { pid: credentials.pid, uid: credentials.uid })
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn the_unspecified_ipv6_address_takes_both_families() {
        let listener = listen("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();

        for address in ["127.0.0.1", "::1"] {
            let ip: IpAddr = address.parse().unwrap();
            TcpStream::connect(SocketAddr::new(ip, port)).expect(address);
        }
    }

    #[test]
    fn a_port_in_use_is_an_error() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();

        let error = listen(listener.local_addr().unwrap()).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
