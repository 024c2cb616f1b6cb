//! Networks of addresses, and who may come in from which.

#![forbid(unsafe_code)]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that begin with the same bits, as in RFC 4632 and RFC 4291 section 2.3.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// Bits after the prefix are zero. Never an IPv4 address in IPv6.
    address: IpAddr,
    prefix_bits: u8,
}

/// Every address.
pub const ANY: [Network; 2] = [v4([0, 0, 0, 0], 0), v6([0, 0], 0)];

/// What lies near: private, link-local, unique local and loopback addresses.
pub const LOCAL: [Network; 8] = [
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([169, 254, 0, 0], 16),
    v4([127, 0, 0, 0], 8),
    v6([0xfe80, 0], 10),
    v6([0xfc00, 0], 7),
    v6([0, 1], 128),
];

const fn v4([a, b, c, d]: [u8; 4], prefix_bits: u8) -> Network {
    Network { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix_bits }
}

/// From the first and the last 16 bits.
const fn v6([first, last]: [u16; 2], prefix_bits: u8) -> Network {
    let address = Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last);
    Network { address: IpAddr::V6(address), prefix_bits }
}

impl Network {
    /// Takes `address` or `address/bits`; says what it is not, or what would be right.
    pub fn parse(text: &str) -> Result<Network, String> {
        const WHAT: &str = "is not a network such as 192.168.1.0/24 or fd00::/8";
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| WHAT)?;
        if address.to_canonical() != address {
            return Err("is an IPv4 network in IPv6, write it as an IPv4 network".into());
        }
        let bits_max = bits_of(address).1;
        let prefix_bits = match bits {
            None => bits_max,
            Some(bits) if bits.is_empty() || !bits.bytes().all(|it| it.is_ascii_digit()) => {
                return Err(WHAT.into());
            }
            Some(bits) => match bits.parse() {
                Ok(bits) if bits <= bits_max => bits,
                _ => return Err(format!("has a prefix longer than {bits_max} bits")),
            },
        };
        let network = Network { address: masked(address, prefix_bits), prefix_bits };
        if network.address != address {
            return Err(format!("has bits after its prefix, write {network}"));
        }
        Ok(network)
    }

    /// Whether `ip` is in it. An IPv4 address in IPv6 is that IPv4 address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.address.is_ipv4() && masked(ip, self.prefix_bits) == self.address
    }

    /// Whether its addresses are those of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether any address is in both.
    pub fn overlaps(&self, other: &Network) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

/// Whether `ip` lies near.
pub fn is_local(ip: IpAddr) -> bool {
    LOCAL.iter().any(|network| network.contains(ip))
}

/// The bits of an address, left-aligned, and their count.
fn bits_of(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// The address with zeros after its first `prefix_bits`.
fn masked(address: IpAddr, prefix_bits: u8) -> IpAddr {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits)).unwrap_or(0);
    let bits = bits_of(address).0 & mask;
    match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits((bits >> 96) as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_with_its_prefix() {
        let table = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.8", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fc00::1", false),
            ("::1", "::1", true),
        ];
        for (network, ip, expected) in table {
            let network = Network::parse(network).unwrap();
            assert_eq!(network.contains(ip.parse().unwrap()), expected, "{network} {ip}");
            assert_eq!(Network::parse(&network.to_string()), Ok(network));
        }
    }

    #[test]
    fn a_bad_network_is_refused_with_what_would_be_right() {
        let table = [
            ("eth0", "is not a network such as 192.168.1.0/24 or fd00::/8"),
            ("10.0.0.0/", "is not a network such as 192.168.1.0/24 or fd00::/8"),
            ("10.0.0.0/+8", "is not a network such as 192.168.1.0/24 or fd00::/8"),
            ("10.0.0.0/33", "has a prefix longer than 32 bits"),
            ("fd00::/129", "has a prefix longer than 128 bits"),
            ("fd00::/999", "has a prefix longer than 128 bits"),
            ("192.168.1.5/24", "has bits after its prefix, write 192.168.1.0/24"),
            ("::ffff:10.0.0.0/104", "is an IPv4 network in IPv6, write it as an IPv4 network"),
        ];
        for (text, expected) in table {
            assert_eq!(Network::parse(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn near_is_what_no_router_of_the_internet_carries() {
        let near = ["127.0.0.1", "10.1.1.1", "172.31.0.1", "192.168.0.1", "169.254.1.1", "::1"];
        let near = near.into_iter().chain(["fe80::1", "fd12::1", "::ffff:192.168.0.1"]);
        let far = ["172.32.0.1", "100.64.0.1", "8.8.8.8", "2001:db8::1", "::2", "::ffff:8.8.8.8"];

        assert!(near.map(|ip| ip.parse().unwrap()).all(is_local));
        assert!(!far.map(|ip| ip.parse().unwrap()).into_iter().any(is_local));
    }
}
