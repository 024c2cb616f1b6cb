//! The UDP ports that all sessions share: pictures, sound, and the control stream over ENet.
//!
//! Whose a datagram is, its payload tells: a ping has what only its client was told, a stranger's
//! CONNECT what only its client was told, anything else a number that ENet gave. Replies leave from
//! the address that was addressed.

#![forbid(unsafe_code)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use enet::{Config, Delivery, Departure, Event, Host, Outcome, Parting, PeerId, wire};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use punktfunk_core::net::holder;
use punktfunk_core::net::udp::{Buffers, Path, UdpSocket};
use punktfunk_core::proto::gamestream::control::CHANNEL_COUNT;

use super::BindError;
use crate::code::Code;
use crate::session::{Media, Sessions};

/// Datagrams of one socket in a turn.
const TURN_COUNT_MAX: usize = 64;
/// Longer ones are nobody's: clients send pings, and control messages in ENet's smallest MTU.
const DATAGRAM_LEN_MAX: usize = 2048;
/// Bytes of a message of the control stream; clients send some hundred.
const MESSAGE_LEN_MAX: usize = 4096;

/// Offsets of the ports from the first one of the family.
pub const VIDEO_OFFSET: u16 = 9;
/// As [`VIDEO_OFFSET`].
pub const CONTROL_OFFSET: u16 = 10;
/// As [`VIDEO_OFFSET`].
pub const AUDIO_OFFSET: u16 = 11;
/// As [`VIDEO_OFFSET`], for RTSP over TCP.
pub const RTSP_OFFSET: u16 = 21;

/// A frame of some hundred Mbit/s fits into a buffer of so many bytes; below, it is lost where the
/// way out is busy.
const BUFFER_LEN_MIN: usize = 1 << 20;

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Control,
    Ping(Media),
}

/// One bound port.
#[derive(Debug)]
struct Port {
    socket: UdpSocket,
    bound: IpAddr,
    purpose: Use,
    granted: Buffers,
    is_ready: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Ports {
    ports: Vec<Port>,
    host: Host,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

impl Ports {
    /// Binds the ports of every address, or none. A client that acknowledges nothing for
    /// `idle_time` is gone.
    pub fn open(
        addresses: &[IpAddr],
        port: u16,
        buffer_len: usize,
        idle_time: Duration,
        now: Instant,
    ) -> Result<Ports, BindError> {
        let uses = [
            (VIDEO_OFFSET, Use::Ping(Media::Video)),
            (CONTROL_OFFSET, Use::Control),
            (AUDIO_OFFSET, Use::Ping(Media::Audio)),
        ];
        let mut ports = Vec::new();
        for ip in addresses {
            for (offset, purpose) in uses {
                ports.push(Port::open(SocketAddr::new(*ip, port + offset), purpose, buffer_len)?);
            }
        }
        log_buffers(&ports, buffer_len);
        let config = Config {
            channel_count_max: CHANNEL_COUNT as u8,
            message_len_max: MESSAGE_LEN_MAX,
            timeout: idle_time,
            ..Config::default()
        };
        Ok(Ports {
            ports,
            host: Host::new(config, now),
            inbox: vec![0; DATAGRAM_LEN_MAX],
            outbox: Vec::new(),
        })
    }

    /// Where it listens, for people.
    pub fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.ports.iter().filter_map(|port| {
            let name = match port.purpose {
                Use::Control => "control",
                Use::Ping(Media::Audio) => "audio",
                Use::Ping(Media::Video) => "video",
            };
            Some((name, port.socket.local_addr().ok()?))
        })
    }

    /// Makes `registry` report datagrams, under a token for each port from `first` on.
    pub fn register(&self, registry: &Registry, first: Token) -> io::Result<()> {
        for (index, port) in self.ports.iter().enumerate() {
            let fd = port.socket.as_raw_fd();
            registry.register(&mut SourceFd(&fd), Token(first.0 + index), Interest::READABLE)?;
        }
        Ok(())
    }

    /// Notes what mio reports of the port of this index.
    pub fn note_ready(&mut self, index: usize) {
        if let Some(port) = self.ports.get_mut(index) {
            port.is_ready = true;
        }
    }

    /// Whether there may be datagrams to take.
    pub fn has_work(&self) -> bool {
        self.ports.iter().any(|port| port.is_ready)
    }

    /// When to call [`Ports::handle_timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.host.poll_timeout()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, sessions: &mut Sessions, now: Instant) {
        if self.host.poll_timeout().is_some_and(|at| at <= now) {
            self.host.handle_timeout(now);
            drain_events(&mut self.host, sessions, now);
        }
    }

    /// Takes as many datagrams as one turn may.
    pub fn turn(&mut self, sessions: &mut Sessions, now: Instant) {
        for index in 0..self.ports.len() {
            for _ in 0..TURN_COUNT_MAX {
                if !self.ports[index].is_ready {
                    break;
                }
                self.take(index, sessions, now);
            }
        }
    }

    /// Sends a message to a peer, reliably. One that is gone does not hear it.
    pub fn say(&mut self, peer: PeerId, bytes: &[u8]) {
        if let Err(error) = self.host.send(peer, 0, bytes, Delivery::Reliable) {
            log::debug!("control: message not sent: {error:?}");
        }
    }

    /// Parts from a peer.
    pub fn part(&mut self, peer: PeerId, parting: Parting) {
        self.host.disconnect(peer, 0, parting);
    }

    /// Sends what is owed.
    pub fn flush(&mut self, now: Instant) {
        while let Some(path) = self.host.poll_datagram(now, &mut self.outbox) {
            let path = Path { remote: path.remote, local: path.local };
            let Some(port) = port_for(&self.ports, Use::Control, &path) else {
                continue;
            };
            // What is lost here is as lost as on the way, and sent again.
            if let Err(error) = port.socket.send(&self.outbox, &path) {
                log::trace!("control: datagram to {} not sent: {error}", path.remote);
            }
        }
    }

    /// Whether every peer has heard everything, or is gone.
    pub fn is_idle(&self) -> bool {
        self.host.peer_count() == 0
    }

    /// A handle of the port that a client finds along this path, for the threads of its session.
    pub fn socket(&self, media: Media, path: &Path) -> io::Result<UdpSocket> {
        let port = port_for(&self.ports, Use::Ping(media), path);
        port.ok_or_else(|| io::Error::other("no port for it"))?.socket.try_clone()
    }

    fn take(&mut self, index: usize, sessions: &mut Sessions, now: Instant) {
        let port = &mut self.ports[index];
        let received = match port.socket.receive(&mut self.inbox) {
            Ok(Some(received)) => received,
            Ok(None) => {
                port.is_ready = false;
                return;
            }
            // What the network said of an earlier datagram; there may be others behind it.
            Err(error) => return log::trace!("udp: {error}"),
        };
        let bytes = &self.inbox[..received.len];
        match port.purpose {
            Use::Ping(media) => sessions.handle_ping(media, bytes, received.path),
            Use::Control => {
                let path = enet::Path { remote: received.path.remote, local: received.path.local };
                take_control(&mut self.host, path, bytes, sessions, now);
                drain_events(&mut self.host, sessions, now);
            }
        }
    }
}

/// Lets a datagram into the host of the control stream, if somebody vouches for it.
fn take_control(
    host: &mut Host,
    path: enet::Path,
    bytes: &[u8],
    sessions: &mut Sessions,
    now: Instant,
) {
    match host.handle_datagram(path, bytes, now) {
        Ok(Outcome::Handled) => {}
        Ok(Outcome::Knock(knock)) => {
            let Some(id) = sessions.invites(knock.data, knock.path.remote.ip()) else {
                return sessions.note_stray();
            };
            match host.admit(knock, now) {
                Ok(peer) => sessions.on_admitted(id, peer),
                Err(error) => log::debug!("session {id}: control: not admitted: {error}"),
            }
        }
        // The client has another address now, if it says something that only it can say.
        Ok(Outcome::Stray(peer)) => {
            if !wire::messages(bytes).any(|(_, message)| sessions.vouches(peer, message)) {
                return sessions.note_stray();
            }
            host.peer_moved(peer, path);
            if let Err(error) = host.handle_datagram(path, bytes, now) {
                log::debug!("control: {error}");
            }
        }
        Err(error) => {
            log::trace!("control: {} from {}", error, path.remote);
            sessions.note_stray();
        }
    }
}

/// Tells sessions what has come of datagrams and of time.
fn drain_events(host: &mut Host, sessions: &mut Sessions, now: Instant) {
    while let Some(event) = host.poll_event() {
        match event {
            Event::Connected { .. } => {} // it says something, or it is nobody
            Event::Disconnected { peer, departure } => {
                let has_left = !matches!(departure, Departure::TimedOut);
                sessions.on_control_gone(peer, has_left, now);
            }
            Event::Message { peer, bytes, .. } => {
                let ip = host.path(peer).map(|path| path.remote.ip().to_canonical());
                sessions.handle_control(peer, ip, bytes, now);
            }
        }
    }
}

/// Tells what was granted, of the ports that got least.
fn log_buffers(ports: &[Port], wanted_len: usize) {
    let least = |len: fn(&Buffers) -> usize| ports.iter().map(|port| len(&port.granted)).min();
    let (Some(send_len), Some(receive_len)) = (least(|it| it.send_len), least(|it| it.receive_len))
    else {
        return;
    };
    let limit = match (send_len < wanted_len, receive_len < wanted_len) {
        (false, false) => {
            log::info!("udp: buffers of {send_len} bytes to send, {receive_len} to receive");
            return;
        }
        (true, false) => "net.core.wmem_max allows",
        (false, true) => "net.core.rmem_max allows",
        (true, true) => "net.core.wmem_max and net.core.rmem_max allow",
    };
    let is_short = send_len.min(receive_len) < BUFFER_LEN_MIN;
    let level = if is_short { log::Level::Warn } else { log::Level::Info };
    log::log!(
        level,
        "udp: buffers of {send_len} bytes to send, {receive_len} to receive, for all that \
         SocketBuffer says {wanted_len}: {limit} no more, which 99-punktfunk-net.conf in \
         /etc/sysctl.d raises [{}]",
        Code::Buffers,
    );
}

/// The port of a purpose that a reply along this path leaves from.
fn port_for<'a>(ports: &'a [Port], purpose: Use, path: &Path) -> Option<&'a Port> {
    let of_purpose = || ports.iter().filter(|port| port.purpose == purpose);
    let is_same_family = |port: &&Port| {
        port.bound.is_unspecified() && (port.bound.is_ipv6() || path.remote.is_ipv4())
    };
    of_purpose()
        .find(|port| path.local.is_some_and(|local| local.to_canonical() == port.bound))
        .or_else(|| of_purpose().find(is_same_family))
}

impl Port {
    fn open(address: SocketAddr, purpose: Use, buffer_len: usize) -> Result<Port, BindError> {
        let fail = |source: io::Error| {
            let in_use = source.kind() == io::ErrorKind::AddrInUse;
            let holder =
                if in_use { holder::name(holder::Port::Udp(address.port())) } else { None };
            BindError { address: format!("{address}/udp"), holder, is_control: false, source }
        };
        let (socket, bound) =
            super::bind_or_fall_back(address, UdpSocket::bind).map_err(|(_, error)| fail(error))?;
        let granted = socket.set_buffers(buffer_len).unwrap_or_else(|error| {
            log::debug!("udp: buffers stay as they are: {error}");
            Buffers::default()
        });
        Ok(Port { socket, bound: bound.ip(), purpose, granted, is_ready: true })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use punktfunk_core::net::clock;
    use punktfunk_core::proto::gamestream::control::seal::{Scheme, Sealer};
    use punktfunk_core::proto::gamestream::rtsp::handshake::PingPayload;

    use super::*;
    use crate::pipeline::Order;
    use crate::session::Act;
    use crate::session::tests::{CONNECT_DATA, Fixture, REQUEST_IDR, announce, draw, rikey};

    const SEED: u64 = 0x0dd5_0c7e_7a11_b4d3;
    const DATAGRAM_COUNT: usize = 30_000;
    /// Clients that are harmed, one after the other.
    const STAY_COUNT: usize = 100;
    /// Bytes of messages that wait for others.
    const HELD_LEN_MAX: usize = 16 * MESSAGE_LEN_MAX;
    /// Datagrams between two messages of the client.
    const MESSAGE_INTERVAL: usize = 100;

    /// Xorshift.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, bound: usize) -> usize {
            (self.next() >> 8) as usize % bound.max(1)
        }

        /// Noise, or something that was said before with some of it changed.
        fn datagram(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
            let mut bytes = match self.below(4) {
                0 => (0..self.below(200)).map(|_| self.next() as u8).collect(),
                _ => seeds[self.below(seeds.len())].clone(),
            };
            for _ in 0..self.below(4) {
                let at = self.below(bytes.len());
                match self.below(4) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, self.next() as u8),
                    _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                    _ => {}
                }
            }
            bytes
        }
    }

    /// Two announced sessions, and the client of the first with its control stream.
    struct Scene {
        sessions: Sessions,
        ids: Vec<u32>,
        host: Host,
        client: Host,
        peer: PeerId,
        sealer: Sealer,
        /// All that the client said.
        said: Vec<Vec<u8>>,
        now: Instant,
    }

    impl Scene {
        fn new() -> Scene {
            let now = clock::now();
            let fixture = Fixture::with(&announce(), &[1, 2]);
            let mut client = Host::new(Config::default(), now);
            let channel_count = CHANNEL_COUNT as u8;
            let peer = client.connect(HOST.into(), channel_count, 7, CONNECT_DATA + 1, now);
            let host = Host::new(Config { message_len_max: 4096, ..Config::default() }, now);
            let (sessions, ids) = (fixture.sessions, fixture.ids);
            let sealer = Sealer::of_client(Scheme::V2, &rikey());
            let (peer, said) = (peer.unwrap(), Vec::new());
            let mut scene = Scene { sessions, ids, host, client, peer, sealer, said, now };
            scene.exchange();
            scene.say();
            assert!(scene.sessions.get(scene.ids[0]).unwrap().is_connected());
            scene
        }

        /// Lets the two talk until they have nothing to say.
        fn exchange(&mut self) {
            let (now, mut bytes) = (self.now, Vec::new());
            loop {
                let mut is_silent = true;
                while self.client.poll_datagram(now, &mut bytes).is_some() {
                    self.said.push(bytes.clone());
                    self.hear(CLIENT, &bytes);
                    is_silent = false;
                }
                while let Some(path) = self.host.poll_datagram(now, &mut bytes) {
                    if path.remote == CLIENT {
                        let _ = self.client.handle_datagram(HOST.into(), &bytes, now);
                        is_silent = false;
                    }
                }
                if is_silent {
                    return;
                }
            }
        }

        fn hear(&mut self, from: SocketAddr, bytes: &[u8]) {
            take_control(&mut self.host, from.into(), bytes, &mut self.sessions, self.now);
            drain_events(&mut self.host, &mut self.sessions, self.now);
        }

        fn say(&mut self) {
            let message = self.sealer.seal(REQUEST_IDR).unwrap();
            // It may have been thrown out.
            let _ = self.client.send(self.peer, 0, &message, Delivery::Reliable);
            self.exchange();
        }

        fn pass_time(&mut self) {
            self.now += Duration::from_millis(100);
            self.client.handle_timeout(self.now);
            self.host.handle_timeout(self.now);
            drain_events(&mut self.host, &mut self.sessions, self.now);
        }
    }

    const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 5000);
    const HOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 99)), 47999);

    #[test]
    fn what_strangers_send_changes_nothing_for_the_client_that_is_there() {
        let (mut scene, mut random) = (Scene::new(), Random(SEED));
        let [video, audio] = [draw(1).video_ping, draw(1).audio_ping].map(PingPayload::new);
        let seeds = [scene.said.clone(), vec![video.bytes().to_vec(), audio.bytes().to_vec()]];
        let mut idr_count = 0;

        for index in 0..DATAGRAM_COUNT {
            let from = SocketAddr::from(([10, 0, 9, random.next() as u8], random.next() as u16));
            scene.hear(from, &random.datagram(&seeds[0]));
            let ping = random.datagram(&seeds[1]);
            // Who has a payload whole is the client.
            if ![&video, &audio].iter().any(|payload| ping.starts_with(payload.bytes())) {
                let path = Path { remote: from, local: None };
                scene.sessions.handle_ping(Media::Video, &ping, path);
                scene.sessions.handle_ping(Media::Audio, &ping, path);
            }
            if index % MESSAGE_INTERVAL == 0 {
                scene.pass_time();
                scene.say();
            }
            while let Some(act) = scene.sessions.poll_act() {
                match act {
                    Act::Order(id, Order::RequestIdr) if id == scene.ids[0] => idr_count += 1,
                    // Whoever knows the connect data and has no key is shown out.
                    Act::Part(peer, Parting::AtOnce) => {
                        assert_ne!(scene.host.path(peer).map(|path| path.remote), Some(CLIENT));
                        scene.host.disconnect(peer, 0, Parting::AtOnce);
                    }
                    other => panic!("datagram {index}, seed {SEED:#x}: {other:?}"),
                }
            }
        }

        assert_eq!(idr_count, 1 + DATAGRAM_COUNT.div_ceil(MESSAGE_INTERVAL));
        assert!(scene.sessions.get(scene.ids[0]).unwrap().is_connected());
        assert!(scene.host.peer_count() <= 4, "{}", scene.host.peer_count());
        assert!(scene.sessions.stray_count() > DATAGRAM_COUNT as u64);
        assert!(scene.host.held_len() <= HELD_LEN_MAX);
    }

    #[test]
    fn who_sends_in_a_client_s_name_harms_that_client_only() {
        let mut random = Random(SEED);
        for number in 0..STAY_COUNT {
            let mut scene = Scene::new();
            let seeds = scene.said.clone();

            for _ in 0..DATAGRAM_COUNT / STAY_COUNT {
                scene.hear(CLIENT, &random.datagram(&seeds));
                if random.below(50) == 0 {
                    scene.pass_time();
                    scene.say();
                }
                while let Some(act) = scene.sessions.poll_act() {
                    let id = match act {
                        Act::Order(id, _) | Act::SoundTo(id, _) | Act::Stop(id) => id,
                        Act::Hook(_, ref told) => told.session,
                        Act::Close(_)
                        | Act::CloseDevices(_)
                        | Act::LookAt(_)
                        | Act::Part(..)
                        | Act::Say(..) => continue,
                        Act::Gamepad(..) | Act::OpenDevices(..) | Act::Start(..) => {
                            panic!("stay {number}, seed {SEED:#x}: {act:?}")
                        }
                    };
                    assert_eq!(id, scene.ids[0], "stay {number}, seed {SEED:#x}: {act:?}");
                }
            }

            assert!(scene.sessions.get(scene.ids[1]).is_some(), "stay {number}, seed {SEED:#x}");
            assert!(scene.host.peer_count() <= 4, "{}", scene.host.peer_count());
            assert!(scene.host.held_len() <= HELD_LEN_MAX, "{}", scene.host.held_len());
        }
    }
}
