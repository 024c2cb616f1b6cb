//! Connections: let in, served in turn, answered, cut off.

#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use punktfunk_core::net::netlink::{self, Network};
use punktfunk_core::net::stream::Stream;
use punktfunk_core::net::{Interface, clock};
use punktfunk_core::proto::gamestream::rtsp::sealed::FRAME_LEN_MAX;
use punktfunk_core::proto::http::{self, Limits};
use rustls::ServerConnection;

use super::Reactor;
use crate::listen::gamestream::{self, Asker};
use crate::listen::mgmt::{self, front};
use crate::listen::table::{Connection, Key, Phase, Plane, Pool, Queue, TURN_COUNT_MAX, TURN_TIME};
use crate::listen::{Accepted, Knock};

/// Connections over the control socket at most, those from us to the engine included.
const LOCAL_COUNT_MAX: usize = 64;
/// Connections to the management API over TCP at most.
const API_COUNT_MAX: usize = 16;
/// Descriptors that connections from the network leave to everything else: files, listeners, and
/// four for each caller of the management API, which are its own, ours to the engine, and the two
/// without which the engine's library panics.
const DESCRIPTORS_RESERVED: usize = 64 + 4 * (LOCAL_COUNT_MAX + API_COUNT_MAX);
/// An answer is on its way out for this long at most.
const CLOSING_TIME: Duration = Duration::from_secs(10);
/// Bits of an IPv6 network that is one link (RFC 4291, 2.5.4); shorter ones are whole sites.
const LINK_BITS: u8 = 64;
/// How long what the kernel said of interfaces is believed.
const INTERFACES_AGE_MAX: Duration = Duration::from_secs(30);

impl Reactor {
    pub(super) fn on_accepted(&mut self, accepted: Accepted, now: Instant) {
        match accepted {
            Accepted::Empty => {}
            Accepted::Exhausted(error) => {
                self.parts.daemon.counters.accept_errors += 1;
                let level = self.exhausted_lines.level(::log::Level::Warn, now);
                ::log::log!(level, "connections: none can be taken for the moment: {error}");
                self.evict(Pool::Network, now);
            }
            Accepted::Knock(knock) => self.admit(*knock, now),
        }
    }

    /// Takes in a connection, if it may come in and there is room, or room can be made.
    pub(super) fn admit(&mut self, knock: Knock, now: Instant) {
        let pool = knock.plane.pool();
        if pool == Pool::Network && !knock.peer.is_some_and(|peer| self.admits(peer.ip(), now)) {
            self.parts.daemon.counters.refused += 1;
            let level = self.refused_lines.level(::log::Level::Info, now);
            let peer =
                knock.peer.map_or("somebody".into(), |peer| peer.ip().to_canonical().to_string());
            ::log::log!(
                level,
                "{}: {peer} refused, for GameStream, AllowFrom or DenyFrom keeps it out",
                knock.plane,
            );
            return;
        }
        if knock.plane == Plane::Rtsp && !self.parts.daemon.sessions.has_handshakes() {
            return; // nobody has been told to come
        }
        let count_max = match pool {
            Pool::Api => API_COUNT_MAX,
            Pool::Local => LOCAL_COUNT_MAX,
            Pool::Network => self.network_count_max(),
        };
        if self.table.count(pool) >= count_max {
            self.evict(pool, now);
            if self.table.count(pool) >= count_max {
                return;
            }
        }
        let tls = match knock.plane {
            Plane::Https => match ServerConnection::new(Arc::clone(&self.parts.tls)) {
                Ok(tls) => Some(tls),
                Err(error) => return ::log::warn!("https: no connection can be made: {error}"),
            },
            _ => None,
        };
        self.parts.daemon.counters.accepted += 1;
        let limits = limits(knock.plane);
        let stream = Stream::new(knock.socket, tls, limits.head_len_max + limits.body_len_max);
        let deadline = now + self.parts.daemon.conf.login_grace;
        let mut connection = Connection::new(stream, knock.plane, now, deadline);
        connection.peer = knock.peer;
        connection.local = knock.local;
        self.table.insert(connection, self.poll.registry());
    }

    /// As the configuration says, as long as enough descriptors are left.
    fn network_count_max(&self) -> usize {
        let descriptor_count = self.parts.descriptor_count;
        let left = descriptor_count - DESCRIPTORS_RESERVED.min(descriptor_count / 2);
        self.parts.daemon.conf.connections_max.min(left)
    }

    /// Says so where fewer connections fit than the configuration wants.
    pub(super) fn warn_of_descriptors(&self) {
        let (wanted, count_max) =
            (self.parts.daemon.conf.connections_max, self.network_count_max());
        if count_max < wanted {
            ::log::warn!(
                "MaxConnections {wanted}: only {count_max}, because this process may have no more \
                 than {} descriptors",
                self.parts.descriptor_count,
            );
        }
    }

    pub(super) fn evict(&mut self, pool: Pool, now: Instant) {
        if let Some(victim) = self.table.victim(pool) {
            self.parts.daemon.counters.evicted += 1;
            self.remove(victim, now);
        }
    }

    /// A turn for the connections of one queue.
    pub(super) fn serve_queue(&mut self, queue: Queue, now: Instant) {
        let end = clock::now() + TURN_TIME;
        for _ in 0..TURN_COUNT_MAX {
            let Some(key) = self.table.poll_turn(queue) else {
                return;
            };
            self.serve(key, now);
            if clock::now() >= end {
                return;
            }
        }
    }

    /// One turn of one connection.
    fn serve(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.table.get_mut(key) else {
            return;
        };
        let was_handshaking = connection.stream.is_handshaking();
        connection.pump();
        if connection.stream.is_closed() || connection.is_forsaken() {
            if was_handshaking && connection.stream.is_handshaking() {
                self.parts.daemon.counters.handshake_failures += 1;
            }
            return self.remove(key, now);
        }
        if connection.phase == Phase::Receiving {
            self.receive(key, now);
        }
        let Some(connection) = self.table.get_mut(key) else {
            return;
        };
        if connection.stream.is_closed() {
            self.remove(key, now);
        } else if connection.stream.wants_pump() {
            self.table.enqueue(key);
        }
    }

    /// Looks whether a request is whole by now.
    pub(super) fn receive(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.table.get_mut(key) else {
            return;
        };
        let plane = connection.plane;
        match plane {
            Plane::Backend => return self.receive_backend(key, now),
            Plane::Rtsp => return self.receive_rtsp(key, now),
            _ => {}
        }
        let limits = limits(plane);
        let bytes = connection.stream.take_inbox();
        match connection.scanner.handle_input(&bytes, &limits) {
            Ok(None) if connection.stream.peer_closed() => self.remove(key, now),
            Ok(None) => connection.stream.put_back(bytes),
            Ok(Some(request)) => {
                connection.stream.stop_collecting();
                connection.phase = Phase::Waiting;
                // Whoever makes the answer has a time limit of its own.
                connection.deadline = now + self.parts.daemon.answer_time();
                match plane {
                    Plane::Api | Plane::Control => self.relay(key, &request, now),
                    _ => self.ask(key, &request, now),
                }
            }
            Err(error) => {
                self.parts.daemon.counters.bad_requests += 1;
                let answer = match plane {
                    Plane::Api | Plane::Control => front::bad_request(error),
                    _ => gamestream::bad_request(error),
                };
                self.answer(key, &answer, now);
            }
        }
    }

    /// Looks whether a message of RTSP is whole by now. The answer is the last thing that its
    /// connection carries; there is none for what is nobody's.
    fn receive_rtsp(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.table.get_mut(key) else {
            return;
        };
        let bytes = connection.stream.take_inbox();
        let peer = connection.peer_ip().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let has_ended = connection.stream.peer_closed();
        let daemon = &mut self.parts.daemon;
        let answer = match connection.rtsp.handle_input(&bytes) {
            Ok(None) if !has_ended => return,
            Ok(None) => None, // a client that looks for a way to the host says nothing
            Ok(Some(message)) => daemon.handle_rtsp(peer, &message, now),
            Err(error) => {
                daemon.counters.bad_requests += 1;
                ::log::debug!("rtsp: from {peer}: {error}");
                None
            }
        };
        match answer {
            Some(bytes) => {
                connection.stream.stop_collecting();
                self.answer(key, &bytes, now);
            }
            None => self.remove(key, now),
        }
    }

    /// Hands a GameStream request to the daemon.
    pub(super) fn ask(&mut self, key: Key, request: &http::Request<'_>, now: Instant) {
        let Some(connection) = self.table.get(key) else {
            return;
        };
        let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let local = connection.local.map_or(unknown, |local| local.ip().to_canonical());
        let asker = Asker {
            connection: key,
            plane: connection.plane,
            peer: connection.peer_ip().unwrap_or(unknown),
            local,
            certificate: connection.client.clone(),
            mac: None,
        };
        let is_https = asker.plane == Plane::Https;
        let mac = if is_https { self.mac_of(local, now) } else { None };
        self.parts.daemon.handle_gamestream(&Asker { mac, ..asker }, request, now);
        // An answer that is there already is owed even to a device that has shut its end.
        self.carry_out(now);
    }

    pub(super) fn answer(&mut self, key: Key, bytes: &[u8], now: Instant) {
        if let Some(connection) = self.table.get_mut(key) {
            connection.answer(bytes, now + CLOSING_TIME);
            self.table.enqueue(key);
        }
    }

    pub(super) fn on_expired(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.table.get_mut(key) else {
            return;
        };
        match (connection.plane, connection.phase) {
            (Plane::Api | Plane::Control, Phase::Waiting) => {
                self.answer(key, &front::refuse(&mgmt::Refusal::no_answer()), now);
            }
            (_, Phase::Receiving) => {
                self.parts.daemon.counters.timed_out += 1;
                self.remove(key, now);
            }
            _ => self.remove(key, now),
        }
    }

    pub(super) fn remove(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.table.remove(key, self.poll.registry()) else {
            return;
        };
        self.parts.daemon.connection_closed(key, now);
        if connection.plane != Plane::Backend
            && let Some(backend) = connection.partner
        {
            self.table.remove(backend, self.poll.registry());
        }
    }

    fn admits(&mut self, ip: IpAddr, now: Instant) -> bool {
        self.parts.daemon.admits(ip, false)
            || (self.is_on_link(ip, now) && self.parts.daemon.admits(ip, true))
    }

    /// Whether an address is this machine's own, or an IPv6 one of a network that this machine is
    /// in: devices at home have such addresses and use them, though they are of the wide world.
    fn is_on_link(&mut self, ip: IpAddr, now: Instant) -> bool {
        let ip = ip.to_canonical();
        self.interfaces(now).iter().any(|interface| {
            let mut networks = interface.networks.iter();
            let is_link = |network: &Network| network.prefix_len >= LINK_BITS && ip.is_ipv6();
            interface.addresses.contains(&ip)
                || networks.any(|network| is_link(network) && network.contains(ip))
        })
    }

    fn mac_of(&mut self, local: IpAddr, now: Instant) -> Option<[u8; 6]> {
        let mut interfaces = self.interfaces(now).iter();
        interfaces.find(|interface| interface.addresses.contains(&local))?.mac
    }

    fn interfaces(&mut self, now: Instant) -> &[Interface] {
        let is_old = |(asked, _): &(Instant, _)| now >= *asked + INTERFACES_AGE_MAX;
        if self.interfaces.as_ref().is_none_or(is_old) {
            self.interfaces = Some((now, netlink::interfaces().unwrap_or_default()));
        }
        self.interfaces.as_ref().map_or(&[], |(_, interfaces)| interfaces)
    }
}

fn limits(plane: Plane) -> Limits {
    match plane {
        Plane::Http => gamestream::LIMITS,
        Plane::Https => Limits { accepts_1_0: false, ..gamestream::LIMITS },
        Plane::Api | Plane::Backend | Plane::Control => front::LIMITS,
        Plane::Rtsp => Limits { head_len_max: FRAME_LEN_MAX, body_len_max: 0, accepts_1_0: false },
    }
}
