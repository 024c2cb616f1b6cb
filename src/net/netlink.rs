//! The machine's network interfaces, and a socket that says when they change.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::net::sockaddr;

/// Interfaces that container engines and hypervisors make begin so: ends of virtual cables,
/// bridges without the outside, taps. A bridge that the administrator made is called otherwise and
/// counts as real, and so does the one cable into a container, which is called `eth0`.
const VIRTUAL_NAMES: [&str; 13] = [
    "br-", "cali", "cni", "docker", "flannel", "lxcbr", "lxdbr", "podman", "tap", "veth", "virbr",
    "vmnet", "vnet",
];

/// One network interface as it was when it was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interface {
    /// As `ip link` shows it.
    pub name: String,
    /// The kernel's number, from 1; a number is not used again soon.
    pub index: u32,
    /// Switched on, and there is a carrier.
    pub up: bool,
    /// Its addresses that may be used now: checked for duplicates, not deprecated.
    pub addresses: Vec<IpAddr>,
    /// The networks that these addresses are in, in the same order.
    pub networks: Vec<Network>,
    /// The hardware address, where it has one.
    pub mac: Option<[u8; 6]>,
    /// Whether it leads to this machine only.
    pub is_loopback: bool,
    /// Whether multicast goes through it.
    pub is_multicast: bool,
    /// Whether it is a tunnel, with one other end.
    pub is_point_to_point: bool,
    /// Whether it leads to virtual machines or containers, going by its name.
    pub is_virtual: bool,
}

/// The addresses that share the first `prefix_len` bits of `address`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// One address of it.
    pub address: IpAddr,
    /// In bits, up to 32 or 128.
    pub prefix_len: u8,
}

impl Network {
    /// Whether `ip` is one of its addresses.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, ip) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u128::from(u32::from(ours)), u128::from(u32::from(theirs)), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (u128::from(ours), u128::from(theirs), 128),
            _ => return false,
        };
        let host_bits = width - u32::from(self.prefix_len).min(width);
        (ours ^ theirs).checked_shr(host_bits).unwrap_or(0) == 0
    }
}

/// All interfaces, in the kernel's order.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut first = ptr::null_mut();
    // SAFETY: `first` is writable; what it points to afterwards is freed below, once.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // /proc is not there in every sandbox; then all addresses count as usable.
    let table = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let unusable = unusable_addresses(&table);
    let mut interfaces = Vec::new();
    let mut next = first;
    // SAFETY: every entry of the list is valid, and nobody else has it, until freeifaddrs.
    while let Some(entry) = unsafe { next.as_ref() } {
        note(entry, &unusable, &mut interfaces);
        next = entry.ifa_next;
    }
    // SAFETY: `first` came from getifaddrs, and no reference into the list is left.
    unsafe { libc::freeifaddrs(first) };
    interfaces.retain(|interface: &Interface| interface.index != 0);
    Ok(interfaces)
}

/// Adds what one entry of getifaddrs says: there is one for each link and for each address.
fn note(entry: &libc::ifaddrs, unusable: &[(Ipv6Addr, u32)], interfaces: &mut Vec<Interface>) {
    // SAFETY: `ifa_name` is a NUL-terminated string that lives as long as the entry.
    let name = unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy();
    let position = interfaces.iter().position(|interface| interface.name == name);
    let position = position.unwrap_or_else(|| {
        interfaces.push(Interface::new(&name, entry.ifa_flags));
        interfaces.len() - 1
    });
    let interface = &mut interfaces[position];
    // SAFETY: `ifa_addr` is null or a socket address that lives as long as the entry.
    let Some(address) = (unsafe { entry.ifa_addr.as_ref() }) else {
        return;
    };
    if i32::from(address.sa_family) == libc::AF_PACKET {
        // SAFETY: an address of the family AF_PACKET is a sockaddr_ll; getifaddrs gives it whole.
        let link = unsafe { entry.ifa_addr.cast::<libc::sockaddr_ll>().read_unaligned() };
        interface.index = link.sll_ifindex as u32;
        if let (6, [mac @ .., _, _]) = (link.sll_halen, link.sll_addr) {
            interface.mac = (mac != [0; 6]).then_some(mac);
        }
        return;
    }
    // SAFETY: null, or a whole address of its family, for as long as the entry lives.
    let (address, mask) =
        unsafe { (sockaddr::read_ip(entry.ifa_addr), sockaddr::read_ip(entry.ifa_netmask)) };
    let Some(address) = address else {
        return;
    };
    let is_unusable = |(ip, index): &(Ipv6Addr, u32)| *ip == address && *index == interface.index;
    if unusable.iter().any(is_unusable) {
        return;
    }
    let prefix_len = match mask {
        Some(IpAddr::V4(mask)) => mask.to_bits().leading_ones(),
        Some(IpAddr::V6(mask)) => mask.to_bits().leading_ones(),
        None if address.is_ipv4() => 32,
        None => 128,
    };
    interface.addresses.push(address);
    interface.networks.push(Network { address, prefix_len: prefix_len as u8 });
}

/// The addresses in /proc/net/if_inet6 that must not be used, or not for anything new, each with
/// the index of its interface. A line is: address, index, prefix length, scope, flags, all
/// hexadecimal, and the name.
fn unusable_addresses(table: &str) -> Vec<(Ipv6Addr, u32)> {
    const DADFAILED: u32 = 0x08; // linux/if_addr.h: IFA_F_...
    const DEPRECATED: u32 = 0x20;
    const TENTATIVE: u32 = 0x40;
    const UNUSABLE: u32 = DADFAILED | DEPRECATED | TENTATIVE;
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let index = u32::from_str_radix(fields.next()?, 16).ok()?;
        let flags = u32::from_str_radix(fields.nth(2)?, 16).ok()?;
        (flags & UNUSABLE != 0).then_some((Ipv6Addr::from_bits(address), index))
    };
    table.lines().filter_map(parse).collect()
}

impl Interface {
    fn new(name: &str, flags: u32) -> Interface {
        let has = |flag: i32| flags & flag as u32 != 0;
        Interface {
            name: name.to_owned(),
            up: has(libc::IFF_UP) && has(libc::IFF_RUNNING),
            is_loopback: has(libc::IFF_LOOPBACK),
            is_multicast: has(libc::IFF_MULTICAST),
            is_point_to_point: has(libc::IFF_POINTOPOINT),
            is_virtual: VIRTUAL_NAMES.iter().any(|prefix| name.starts_with(prefix)),
            ..Interface::default()
        }
    }
}

/// The kernel's word that an interface or an address came, went or changed (rtnetlink(7)). What
/// changed is for [`interfaces`] to say.
#[derive(Debug)]
pub struct Changes {
    socket: OwnedFd,
}

impl Changes {
    /// Listens for changes from now on.
    pub fn open() -> io::Result<Changes> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) };
        sockaddr::check(fd)?;
        // SAFETY: `fd` was returned by socket() just now and is owned by nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all zeroes is a sockaddr_nl: of no family, to nobody.
        let mut name: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        name.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        name.nl_groups = groups as u32;
        let len = size_of_val(&name) as libc::socklen_t;
        // SAFETY: `name` is a whole sockaddr_nl of `len` bytes and outlives the call.
        sockaddr::check(unsafe { libc::bind(fd, (&raw const name).cast(), len) })?;
        Ok(Changes { socket })
    }

    /// Whether something changed since the last call. Empties the socket.
    pub fn poll(&self) -> bool {
        let mut has_changed = false;
        loop {
            match self.receive() {
                Ok(is_kernel) => has_changed |= is_kernel,
                // The kernel had more to say than there was room for.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => has_changed = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return has_changed,
            }
        }
    }

    /// Takes one message; whether the kernel sent it.
    fn receive(&self) -> io::Result<bool> {
        // SAFETY: all zeroes is a sockaddr_nl.
        let mut sender: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        let mut len = size_of_val(&sender) as libc::socklen_t;
        let mut byte = 0_u8;
        // SAFETY: one byte at `byte`, `len` at `sender`; both outlive the call. The rest of the
        // message is dropped.
        let received = unsafe {
            libc::recvfrom(
                self.socket.as_raw_fd(),
                (&raw mut byte).cast(),
                1,
                0,
                (&raw mut sender).cast(),
                &raw mut len,
            )
        };
        if received < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(sender.nl_pid == 0)
    }
}

impl AsRawFd for Changes {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn every_machine_has_a_loopback_interface() {
        let all = interfaces().unwrap();

        let loopback = all.iter().find(|interface| interface.name == "lo").unwrap();
        assert!(loopback.is_loopback && loopback.up && !loopback.is_virtual);
        assert!(loopback.index > 0);
        assert_eq!(loopback.mac, None);
        let at = loopback.addresses.iter().position(|ip| *ip == Ipv4Addr::LOCALHOST).unwrap();
        assert!(loopback.networks[at].contains("127.1.2.3".parse().unwrap()));
        assert_eq!(loopback.addresses.len(), loopback.networks.len());
    }

    #[test]
    fn addresses_are_told_from_their_networks() {
        let cases = [
            ("192.168.1.7", 24, "192.168.1.200", true),
            ("192.168.1.7", 24, "192.168.2.7", false),
            ("192.168.1.7", 0, "8.8.8.8", true),
            ("192.168.1.7", 32, "192.168.1.7", true),
            ("192.168.1.7", 32, "192.168.1.6", false),
            ("192.168.1.7", 255, "192.168.1.7", true),
            ("192.168.1.7", 24, "fe80::1", false),
            ("fe80::1", 64, "fe80::2", true),
            ("fe80::1", 64, "fe80:0:0:1::2", false),
            ("fe80::1", 0, "2001:db8::1", true),
        ];
        for (address, prefix_len, ip, expected) in cases {
            let network = Network { address: address.parse().unwrap(), prefix_len };

            assert_eq!(network.contains(ip.parse().unwrap()), expected, "{network:?} {ip}");
        }
    }

    #[test]
    fn what_is_virtual_shows_in_the_name() {
        let cases = [
            ("veth12ab", true),
            ("docker0", true),
            ("br-0123456789ab", true),
            ("virbr0", true),
            ("br0", false),
            ("eth0", false),
            ("enp4s0", false),
            ("wlan0", false),
        ];
        for (name, expected) in cases {
            assert_eq!(Interface::new(name, 0).is_virtual, expected, "{name}");
        }
    }

    #[test]
    fn tentative_and_deprecated_addresses_are_not_for_use() {
        let table = "fe80000000000000021122fffe334455 02 40 20 80 eth0\n\
             20010db8000000000000000000000001 02 40 00 40 eth0\n\
             20010db8000000000000000000000002 0a 40 00 20 eth1\n\
             nonsense\n\n20010db8 02\n";

        let unusable = unusable_addresses(table);

        let expected = [("2001:db8::1", 2), ("2001:db8::2", 10)]
            .map(|(ip, index)| (ip.parse().unwrap(), index));
        assert_eq!(unusable, expected);
    }

    #[test]
    fn nothing_has_changed_when_nothing_was_said() {
        let changes = Changes::open().unwrap();

        // Another program may change something at this moment, but hardly three times.
        let quiet = (0..3).any(|_| !changes.poll());

        assert!(quiet);
    }
}
