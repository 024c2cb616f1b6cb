//! Announces the host on the local network: sockets, interfaces and the clock for
//! `proto::mdns`.
//!
//! It follows the interfaces as they come and go. Without a configured list it serves those that
//! are up, multicast, and lead to other machines: not the loopback, no tunnels, and none that
//! container engines or hypervisors made, going by their names.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use punktfunk_core::net::Interface;
use punktfunk_core::net::netlink::{self, Changes};
use punktfunk_core::net::udp::{Datagram, MulticastSocket};
use punktfunk_core::proto::mdns::{
    self, Arrival, Destination, Family, GROUP_V4, GROUP_V6, Link, PACKET_LEN_MAX, PORT, Responder,
};
use ring::rand::{SecureRandom, SystemRandom};

use crate::code::Code;
use crate::quota::Quota;

/// Datagrams of either socket in one turn.
const RECEIVE_BUDGET: usize = 64;
/// Bytes of either socket in one turn: what is long takes long.
const RECEIVE_LEN_BUDGET: usize = 16 * 1024;

/// Bytes of an instance's name, RFC 1035 section 2.3.4.
const INSTANCE_LEN_MAX: usize = 63;
/// For a machine whose name has no letter that may be used.
const INSTANCE_FALLBACK: &str = "punktfunk";

/// Why nothing is announced.
#[derive(Debug)]
pub enum Error {
    /// The kernel does not show its interfaces.
    Interfaces(io::Error),
    /// A name cannot be published.
    Name(mdns::Error),
    /// No address family has a socket.
    Socket(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Interfaces(error) => write!(f, "network interfaces: {error}"),
            Error::Name(error) => write!(f, "{error}"),
            Error::Socket(error) => write!(f, "no socket at UDP port {PORT}: {error}"),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Mdns {
    responder: Responder,
    /// One for each family that this machine has.
    sockets: Vec<Endpoint>,
    changes: Changes,
    /// What listens: only such addresses are announced.
    bound: Vec<IpAddr>,
    /// The interfaces that the configuration names; all that suit if there are none.
    wanted: Vec<String>,
    /// Those that are served.
    served: Vec<Interface>,
    /// The name that was logged last.
    instance: String,
    /// Lines about names that somebody else has.
    taken_lines: Quota,
    tokens: Option<[Token; 3]>,
    has_changed: bool,
    buffer: Vec<u8>,
}

/// The socket of one family.
#[derive(Debug)]
struct Endpoint {
    family: Family,
    socket: MulticastSocket,
    is_ready: bool,
    /// Indices of interfaces whose group it is in.
    joined: Vec<u32>,
    /// Indices of interfaces where something went wrong, which is logged once.
    failed: Vec<u32>,
}

/// The label by which a host is shown: letters, digits and hyphens of its name, spaces as hyphens,
/// up to the first other character.
pub fn instance_name(host_name: &str) -> String {
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '-';
    let letters = host_name.chars().map(|letter| if letter == ' ' { '-' } else { letter });
    let name: String = letters.take_while(is_plain).take(INSTANCE_LEN_MAX).collect();
    if name.is_empty() { INSTANCE_FALLBACK.to_owned() } else { name }
}

impl Mdns {
    /// Announces `instance` of each of `kinds`, pairs of a kind such as `_nvstream._tcp` and a
    /// port, as soon as an interface is there. The host is called `host_label`.local.
    pub fn open(
        instance: &str,
        host_label: &str,
        kinds: Vec<(String, u16)>,
        bound: Vec<IpAddr>,
        interfaces: &[String],
        now: Instant,
    ) -> Result<Mdns, Error> {
        let seed = random();
        let responder = Responder::new(instance, host_label, &kinds, seed).map_err(Error::Name)?;
        let mut mdns = Mdns {
            instance: responder.instance(),
            responder,
            sockets: open_sockets()?,
            changes: Changes::open().map_err(Error::Interfaces)?,
            bound,
            wanted: interfaces.to_vec(),
            served: Vec::new(),
            taken_lines: Quota::default(),
            tokens: None,
            has_changed: false,
            buffer: vec![0; PACKET_LEN_MAX],
        };
        let all = netlink::interfaces().map_err(Error::Interfaces)?;
        for name in &mdns.wanted {
            if !all.iter().any(|interface| interface.name == *name) {
                ::log::warn!("mdns: no interface is called {name:?} now [{}]", Code::Mdns);
            }
        }
        mdns.serve(all, now);
        Ok(mdns)
    }

    /// Makes `registry` report what happens: by IPv4, by IPv6, to the interfaces.
    pub fn register(&mut self, registry: &Registry, tokens: [Token; 3]) -> io::Result<()> {
        for endpoint in &self.sockets {
            let fd = endpoint.socket.as_raw_fd();
            let token = tokens[endpoint.family as usize];
            registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        }
        let fd = self.changes.as_raw_fd();
        registry.register(&mut SourceFd(&fd), tokens[2], Interest::READABLE)?;
        self.tokens = Some(tokens);
        Ok(())
    }

    /// Has `registry` forget the sockets.
    pub fn deregister(&mut self, registry: &Registry) {
        if self.tokens.take().is_none() {
            return;
        }
        let sockets = self.sockets.iter().map(|endpoint| endpoint.socket.as_raw_fd());
        for fd in sockets.chain([self.changes.as_raw_fd()]) {
            if let Err(error) = registry.deregister(&mut SourceFd(&fd)) {
                ::log::debug!("mdns: {error}");
            }
        }
    }

    /// Notes what mio reports.
    pub fn note_ready(&mut self, token: Token) {
        let Some(tokens) = self.tokens else {
            return;
        };
        self.has_changed |= token == tokens[2];
        for endpoint in &mut self.sockets {
            endpoint.is_ready |= token == tokens[endpoint.family as usize];
        }
    }

    /// Takes what arrived, as much as one turn may, and says what is due.
    pub fn turn(&mut self, now: Instant) {
        for index in 0..self.sockets.len() {
            self.receive(index, now);
        }
        if std::mem::take(&mut self.has_changed) && self.changes.poll() {
            match netlink::interfaces() {
                Ok(all) => self.serve(all, now),
                Err(error) => ::log::warn!("mdns: interfaces: {error}"),
            }
        }
        if self.responder.poll_timeout().is_some_and(|at| at <= now) {
            self.responder.handle_timeout(now);
        }
        self.send();
        let instance = self.responder.instance();
        if instance != self.instance {
            let level = self.taken_lines.level(::log::Level::Info, now);
            ::log::log!(level, "mdns: {:?} is taken, announcing {instance:?}", self.instance);
            self.instance = instance;
        }
    }

    /// Whether a turn would find something.
    pub fn has_work(&self) -> bool {
        self.has_changed || self.sockets.iter().any(|endpoint| endpoint.is_ready)
    }

    /// When the next turn is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.responder.poll_timeout()
    }

    /// Takes back what was announced. Later turns say nothing more.
    pub fn close(&mut self, now: Instant) {
        self.responder.close();
        self.send();
        // Nothing is served any more, so a change of interfaces must not begin anew.
        self.bound.clear();
        self.serve(Vec::new(), now);
    }

    /// The name as it is announced, which is another than was wanted where somebody else has that.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Names of the interfaces that are served now.
    pub fn interfaces(&self) -> Vec<String> {
        self.served.iter().map(|interface| interface.name.clone()).collect()
    }

    /// Serves those of `all` interfaces that it should, and no other.
    fn serve(&mut self, all: Vec<Interface>, now: Instant) {
        let is_served = |interface: &Interface| {
            is_wanted(interface, &self.wanted) && !announced(interface, &self.bound).is_empty()
        };
        let served: Vec<Interface> = all.into_iter().filter(is_served).collect();
        let mut links = Vec::new();
        for endpoint in &mut self.sockets {
            endpoint.leave_all_but(&served);
            for interface in &served {
                let has_family = endpoint.source(interface).is_some();
                if has_family && endpoint.join(interface) {
                    links.push(Link {
                        interface: interface.index,
                        family: endpoint.family,
                        addresses: announced(interface, &self.bound),
                    });
                }
            }
        }
        let is_linked =
            |interface: &Interface| links.iter().any(|link| link.interface == interface.index);
        self.served = served.into_iter().filter(is_linked).collect();
        self.responder.set_links(links, now);
    }

    fn receive(&mut self, index: usize, now: Instant) {
        let (mut count, mut len) = (0, 0);
        while self.sockets[index].is_ready && count < RECEIVE_BUDGET && len < RECEIVE_LEN_BUDGET {
            match self.sockets[index].socket.receive(&mut self.buffer) {
                Ok(Some(datagram)) => {
                    (count, len) = (count + 1, len + datagram.len);
                    self.take(datagram, now);
                }
                Ok(None) => self.sockets[index].is_ready = false,
                // What is left comes with the next datagram.
                Err(error) => {
                    ::log::debug!("mdns: {error}");
                    self.sockets[index].is_ready = false;
                }
            }
        }
    }

    fn take(&mut self, datagram: Datagram, now: Instant) {
        let interface = self.served.iter().find(|it| it.index == datagram.interface);
        let source = datagram.from.ip();
        let is_local =
            interface.is_some_and(|it| it.networks.iter().any(|network| network.contains(source)));
        let arrival = Arrival {
            interface: datagram.interface,
            source: datagram.from,
            to: datagram.to,
            is_local,
        };
        let bytes = &self.buffer[..datagram.len];
        if let Err(error) = self.responder.handle_input(bytes, &arrival, now) {
            ::log::trace!("mdns: {} bytes from {}: {error}", datagram.len, datagram.from);
        }
        self.send();
    }

    /// Sends what the responder has ready. What the network does not take now is lost: whoever
    /// misses it asks again.
    fn send(&mut self) {
        while let Some(transmit) = self.responder.poll_output() {
            let (to, from) = match transmit.destination {
                Destination::Multicast(_) => (None, None),
                Destination::Unicast { to, from } => (Some(to), from),
            };
            let family = match transmit.destination {
                Destination::Multicast(family) => family,
                Destination::Unicast { to: SocketAddr::V4(_), .. } => Family::V4,
                Destination::Unicast { to: SocketAddr::V6(_), .. } => Family::V6,
            };
            let interface = self.served.iter().find(|it| it.index == transmit.interface);
            let endpoint = self.sockets.iter_mut().find(|endpoint| endpoint.family == family);
            let (Some(interface), Some(endpoint)) = (interface, endpoint) else {
                continue;
            };
            let source = from.or(endpoint.source(interface));
            let sent = endpoint.socket.send(&transmit.bytes, interface.index, to, source);
            if let Err(error) = sent {
                endpoint.note_failure(interface, "sending", &error);
            }
        }
    }
}

impl Endpoint {
    /// The address that packets come from, if the family can be used there at all.
    fn source(&self, interface: &Interface) -> Option<IpAddr> {
        let addresses = &interface.addresses;
        match self.family {
            Family::V4 => addresses.iter().copied().find(IpAddr::is_ipv4),
            Family::V6 => {
                let is_v6 = |ip: &&IpAddr| ip.is_ipv6();
                let is_link_local = |ip: &&IpAddr| is_link_local(ip);
                let own = addresses.iter().find(is_link_local);
                own.or_else(|| addresses.iter().find(is_v6)).copied()
            }
        }
    }

    /// Whether it is in the group on that interface now.
    fn join(&mut self, interface: &Interface) -> bool {
        if self.joined.contains(&interface.index) {
            return true;
        }
        match self.socket.join(interface.index) {
            Ok(()) => {
                self.joined.push(interface.index);
                true
            }
            Err(error) => {
                self.note_failure(interface, "joining", &error);
                false
            }
        }
    }

    fn leave_all_but(&mut self, served: &[Interface]) {
        let is_served = |index: &u32| served.iter().any(|interface| interface.index == *index);
        self.failed.retain(is_served);
        for index in self.joined.extract_if(.., |index| !is_served(index)) {
            // An error means that the interface is gone, and with it the membership.
            let _ = self.socket.leave(index);
        }
    }

    fn note_failure(&mut self, interface: &Interface, what: &str, error: &io::Error) {
        let (name, family) = (&interface.name, self.family);
        if self.failed.contains(&interface.index) {
            ::log::debug!("mdns: {name}: {what} by {family:?}: {error}");
        } else {
            ::log::warn!("mdns: {name}: {what} by {family:?}: {error} [{}]", Code::Mdns);
            self.failed.push(interface.index);
        }
    }
}

fn open_sockets() -> Result<Vec<Endpoint>, Error> {
    let groups = [(Family::V4, IpAddr::from(GROUP_V4)), (Family::V6, GROUP_V6.into())];
    let (mut sockets, mut last_error) = (Vec::new(), None);
    for (family, group) in groups {
        match MulticastSocket::open(SocketAddr::new(group, PORT)) {
            Ok(socket) => {
                let (joined, failed) = (Vec::new(), Vec::new());
                sockets.push(Endpoint { family, socket, is_ready: true, joined, failed });
            }
            Err(error) => {
                ::log::debug!("mdns: {family:?}: {error}");
                last_error.get_or_insert(error);
            }
        }
    }
    match last_error {
        Some(error) if sockets.is_empty() => Err(Error::Socket(error)),
        _ => Ok(sockets),
    }
}

/// Whether the configuration means that interface.
fn is_wanted(interface: &Interface, wanted: &[String]) -> bool {
    if !interface.up {
        return false;
    }
    if !wanted.is_empty() {
        return wanted.contains(&interface.name);
    }
    let leads_nowhere =
        interface.is_loopback || interface.is_point_to_point || interface.is_virtual;
    interface.is_multicast && !leads_nowhere
}

/// The addresses of an interface where something listens. Link-local ones of IPv6 help only
/// clients that keep the interface in mind, so they are for machines that have no other.
fn announced(interface: &Interface, bound: &[IpAddr]) -> Vec<IpAddr> {
    let is_bound = |ip: &IpAddr| {
        bound.iter().any(|bound| match bound {
            IpAddr::V6(any) if any.is_unspecified() => true,
            IpAddr::V4(any) if any.is_unspecified() => ip.is_ipv4(),
            bound => bound == ip,
        })
    };
    let all: Vec<IpAddr> = interface.addresses.iter().copied().filter(is_bound).collect();
    let wide: Vec<IpAddr> = all.iter().copied().filter(|ip| !is_link_local(ip)).collect();
    if wide.is_empty() { all } else { wide }
}

fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Eight bytes of chance; zero where the system has none, as delays are all that hangs on it.
fn random() -> u64 {
    let mut bytes = [0; 8];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u64::from_ne_bytes(bytes),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll};
    use punktfunk_core::net::clock;

    use super::*;

    fn interface(name: &str, addresses: &[&str]) -> Interface {
        Interface {
            name: name.to_owned(),
            index: 7,
            up: true,
            is_multicast: true,
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            ..Interface::default()
        }
    }

    #[test]
    fn instance_names_keep_plain_letters_only() {
        let long = "a".repeat(80);
        let cases = [
            ("living-room", "living-room"),
            ("Living Room 2", "Living-Room-2"),
            ("living.room", "living"),
            ("wohnzimmer_2", "wohnzimmer"),
            ("büro", "b"),
            ("書斎", "punktfunk"),
            ("", "punktfunk"),
            (&long, &long[..63]),
        ];
        for (host_name, expected) in cases {
            assert_eq!(instance_name(host_name), expected, "{host_name}");
        }
    }

    #[test]
    fn only_bound_addresses_are_announced() {
        let all = ["192.0.2.1", "2001:db8::1", "fe80::1"];
        let cases: [(&[&str], &[&str], &[&str]); 7] = [
            (&["::"], &all, &["192.0.2.1", "2001:db8::1"]),
            (&["0.0.0.0"], &all, &["192.0.2.1"]),
            (&["2001:db8::1"], &all, &["2001:db8::1"]),
            (&["192.0.2.1", "fe80::1"], &all, &["192.0.2.1"]),
            (&["127.0.0.1"], &all, &[]),
            (&["::"], &["fe80::1"], &["fe80::1"]),
            (&[], &all, &[]),
        ];
        for (bound, has, expected) in cases {
            let parse = |list: &[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
            let (bound, expected): (Vec<IpAddr>, Vec<IpAddr>) = (parse(bound), parse(expected));

            assert_eq!(announced(&interface("eth0", has), &bound), expected, "{bound:?} {has:?}");
        }
    }

    #[test]
    fn interfaces_that_lead_to_other_machines_are_served() {
        let plain = interface("eth0", &["192.0.2.1"]);
        let cases = [
            (plain.clone(), true, true),
            (Interface { up: false, ..plain.clone() }, false, false),
            (Interface { is_loopback: true, ..plain.clone() }, false, true),
            (Interface { is_multicast: false, ..plain.clone() }, false, true),
            (Interface { is_point_to_point: true, ..plain.clone() }, false, true),
            (Interface { is_virtual: true, ..plain }, false, true),
        ];
        for (interface, by_itself, by_name) in cases {
            let names = [interface.name.clone()];
            assert_eq!(is_wanted(&interface, &[]), by_itself, "{interface:?}");
            assert_eq!(is_wanted(&interface, &names), by_name, "{interface:?}");
            assert!(!is_wanted(&interface, &["wlan0".to_owned()]), "{interface:?}");
        }
    }

    #[test]
    fn two_hosts_on_the_loopback_interface_tell_themselves_apart() {
        let lo = ["lo".to_owned()];
        // The process id keeps tests that run at the same time apart.
        let (name, label) = (format!("twin-{}", std::process::id()), "punktfunk-twin");
        let open = |port, now| {
            let kinds = vec![("_nvstream._tcp".to_owned(), port)];
            let bound = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
            Mdns::open(&name, label, kinds, bound, &lo, now).unwrap()
        };
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(16);
        let mut hosts = [open(1, clock::now()), open(2, clock::now())];
        for (index, host) in hosts.iter_mut().enumerate() {
            assert_eq!(host.interfaces(), lo);
            host.register(poll.registry(), [0, 1, 2].map(|token| Token(10 * index + token)))
                .unwrap();
        }

        let end = clock::now() + Duration::from_secs(10);
        let wanted = [name.clone(), format!("{name} (2)")];
        let mut names = Vec::new();
        while clock::now() < end && names != wanted {
            let timeout = hosts.iter().filter_map(Mdns::poll_timeout).min();
            let timeout = timeout.map(|at| at.saturating_duration_since(clock::now()));
            poll.poll(&mut events, timeout).unwrap();
            for host in &mut hosts {
                events.iter().for_each(|event| host.note_ready(event.token()));
                host.turn(clock::now());
                assert!(!host.has_work());
            }
            names = hosts.iter().map(|host| host.instance().to_owned()).collect();
            names.sort();
        }

        assert_eq!(names, wanted);
        for host in &mut hosts {
            host.close(clock::now());
            host.deregister(poll.registry());
            assert_eq!(host.poll_timeout(), None);
        }
    }
}
