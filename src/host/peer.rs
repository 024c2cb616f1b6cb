//! Whom an address counts for when places are shared out.

#![forbid(unsafe_code)]

use std::net::IpAddr;

/// The address itself, or for IPv6 its network: one host has a whole /64 to speak from.
pub fn holder(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_holder() {
        let table = [
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
        ];
        for (one, other, is_same) in table {
            let [one, other] = [one, other].map(|ip| holder(ip.parse().unwrap()));
            assert_eq!(one == other, is_same, "{one} {other}");
        }
    }
}
