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
use punktfunk_core::net::udp::{Path, UdpSocket};
use punktfunk_core::proto::gamestream::control::CHANNEL_COUNT;

use super::BindError;
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
    /// Bytes of its buffers.
    granted_len: usize,
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
        let granted_len = ports.iter().map(|port: &Port| port.granted_len).min().unwrap_or(0);
        if granted_len < buffer_len {
            let is_short = granted_len < BUFFER_LEN_MIN;
            let level = if is_short { log::Level::Warn } else { log::Level::Info };
            log::log!(
                level,
                "udp: buffers of {granted_len} bytes, for all that SocketBuffer says {buffer_len}: \
                 net.core.wmem_max and net.core.rmem_max of sysctl(8) allow no more",
            );
        }
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
            self.drain_events(sessions, now);
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
                self.drain_events(sessions, now);
            }
        }
    }

    fn drain_events(&mut self, sessions: &mut Sessions, now: Instant) {
        while let Some(event) = self.host.poll_event() {
            match event {
                Event::Connected { .. } => {} // it says something, or it is nobody
                Event::Disconnected { peer, departure } => {
                    let has_left = !matches!(departure, Departure::TimedOut);
                    sessions.on_control_gone(peer, has_left, now);
                }
                Event::Message { peer, bytes, .. } => sessions.handle_control(peer, bytes, now),
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
        let fail = |source| BindError {
            address: format!("{address}/udp"),
            holder: None,
            is_control: false,
            source,
        };
        let (socket, bound) =
            super::bind_or_fall_back(address, UdpSocket::bind).map_err(|(_, error)| fail(error))?;
        let granted_len = match socket.set_buffers(buffer_len) {
            Ok(len) => len,
            Err(error) => {
                log::debug!("udp: buffers stay as they are: {error}");
                0
            }
        };
        Ok(Port { socket, bound: bound.ip(), purpose, granted_len, is_ready: true })
    }
}
