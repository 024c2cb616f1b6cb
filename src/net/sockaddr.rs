//! Socket addresses in the kernel's form.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ptr;

/// One address as system calls take it.
pub(super) enum Name {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
}

impl Name {
    /// The address to be read, and how many bytes of it there are.
    pub fn as_raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        match self {
            Name::V4(name) => (ptr::from_ref(name).cast(), size_of_val(name) as libc::socklen_t),
            Name::V6(name) => (ptr::from_ref(name).cast(), size_of_val(name) as libc::socklen_t),
        }
    }
}

impl From<SocketAddr> for Name {
    fn from(address: SocketAddr) -> Name {
        match address {
            SocketAddr::V4(address) => Name::V4(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: in_addr(*address.ip()),
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(address) => Name::V6(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: in6_addr(*address.ip()),
                sin6_scope_id: address.scope_id(),
            }),
        }
    }
}

/// An IPv4 address as structures have it.
pub(super) fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: ip.to_bits().to_be() }
}

/// An IPv6 address as structures have it.
pub(super) fn in6_addr(ip: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr { s6_addr: ip.octets() }
}

/// What [`in_addr`] made.
pub(super) fn from_in_addr(ip: libc::in_addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from_be(ip.s_addr))
}

/// The address at `name`; `None` if that is null or of another family.
///
/// # Safety
///
/// `name` is null, or points to a whole address of the family that its first two bytes tell.
pub(super) unsafe fn read(name: *const libc::sockaddr) -> Option<SocketAddr> {
    // SAFETY: null or a readable address, by this function's contract.
    let family = i32::from(unsafe { name.as_ref() }?.sa_family);
    match family {
        libc::AF_INET => {
            // SAFETY: an address of this family is a sockaddr_in; it need not be aligned as one.
            let name = unsafe { name.cast::<libc::sockaddr_in>().read_unaligned() };
            let port = u16::from_be(name.sin_port);
            Some(SocketAddrV4::new(from_in_addr(name.sin_addr), port).into())
        }
        libc::AF_INET6 => {
            // SAFETY: an address of this family is a sockaddr_in6; it need not be aligned as one.
            let name = unsafe { name.cast::<libc::sockaddr_in6>().read_unaligned() };
            let (ip, port) = (Ipv6Addr::from(name.sin6_addr.s6_addr), u16::from_be(name.sin6_port));
            Some(SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// As [`read`], without the port.
///
/// # Safety
///
/// That of [`read`].
pub(super) unsafe fn read_ip(name: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: this function's contract is the other's.
    unsafe { read(name) }.map(|address| address.ip())
}

/// The result of a system call, or what went wrong.
pub(super) fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_went() {
        for text in ["192.0.2.1:5353", "[2001:db8::1]:80", "[fe80::1%3]:5353"] {
            let address: SocketAddr = text.parse().unwrap();

            let name = Name::from(address);

            let (place, _) = name.as_raw();
            // SAFETY: `name` is a whole address and is still there.
            assert_eq!(unsafe { read(place) }, Some(address));
        }
    }

    #[test]
    fn no_address_is_nothing() {
        // SAFETY: null is allowed.
        assert_eq!(unsafe { read(ptr::null()) }, None);
    }
}
