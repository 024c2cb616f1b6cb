//! Every connection of the daemon, from accepted to gone, and whose turn it is.
//!
//! A connection is served a little and goes to the end of its queue. There is a queue per kind of
//! work, and a turn takes a bounded number from each, so a flood on one listener lengthens the
//! turn of the others by that much and no more. TLS handshakes have a queue of their own: each
//! costs a millisecond of RSA.

#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::{Registry, Token};
use punktfunk_core::net::stream::Stream;
use punktfunk_core::proto::cert::{Certificate, Fingerprint};
use punktfunk_core::proto::gamestream::rtsp::connection as rtsp;
use punktfunk_core::proto::http::Scanner;

use crate::peer;

/// The first token that names a connection; those below are the reactor's.
pub const FIRST_TOKEN: usize = 1024;

/// Where a connection was accepted, which says what it may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plane {
    /// The management API over TCP.
    Api,
    /// From us to the engine of the management API.
    Backend,
    /// The management API over its Unix socket.
    Control,
    /// GameStream in the clear.
    Http,
    /// GameStream under TLS.
    Https,
    /// GameStream's sessions being agreed on.
    Rtsp,
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Plane::Api => "api",
            Plane::Backend => "engine",
            Plane::Control => "control",
            Plane::Http => "http",
            Plane::Https => "https",
            Plane::Rtsp => "rtsp",
        })
    }
}

/// Connections that share a limit, so that none of them can take the others' places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pool {
    /// From this machine over TCP: whoever is logged in.
    Api,
    /// From the administrator, and ours to the engine.
    Local,
    /// From the network.
    Network,
}

impl Plane {
    /// Which limit its connections count against.
    pub fn pool(self) -> Pool {
        match self {
            Plane::Api => Pool::Api,
            Plane::Backend | Plane::Control => Pool::Local,
            Plane::Http | Plane::Https | Plane::Rtsp => Pool::Network,
        }
    }
}

/// Names a connection for good: a later one in the same slot has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    index: usize,
    generation: u64,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// The request is not whole.
    Receiving,
    /// The answer is being made.
    Waiting,
    /// The answer, or the end, is on its way out.
    Closing,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// The bytes.
    pub stream: Stream,
    /// Where it came in.
    pub plane: Plane,
    /// The other end's address; `None` for Unix sockets.
    pub peer: Option<SocketAddr>,
    /// Our end's address; `None` for Unix sockets.
    pub local: Option<SocketAddr>,
    /// How far it is.
    pub phase: Phase,
    /// When it is cut off.
    pub deadline: Instant,
    /// Finds the end of the request.
    pub scanner: Scanner,
    /// The same for [`Plane::Rtsp`].
    pub rtsp: rtsp::Connection,
    /// For [`Plane::Backend`], whom the answer is for; for a relayed request, who answers.
    pub partner: Option<Key>,
    /// The client that TLS has proved, paired or not.
    pub client: Option<Certificate>,
    accepted: Instant,
    is_queued: bool,
}

/// A kind of work that waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Queue {
    /// The management API.
    Local,
    /// Requests in the clear.
    Plain,
    /// Requests under TLS that is agreed on.
    Tls,
    /// TLS being agreed on.
    Handshake,
}

/// All queues, in the order of their turns.
pub const QUEUES: [Queue; 4] = [Queue::Local, Queue::Plain, Queue::Tls, Queue::Handshake];
/// Connections of a queue that are served in one turn at most.
pub const TURN_COUNT_MAX: usize = 16;
/// How long a queue may go on in one turn before another connection of it has to wait for the
/// next. A handshake takes a millisecond or two, anything else some microseconds.
pub const TURN_TIME: Duration = Duration::from_millis(2);

/// All connections.
#[derive(Debug, Default)]
pub struct Table {
    slots: Vec<Option<(u64, Connection)>>,
    free: Vec<usize>,
    last_generation: u64,
    queues: [VecDeque<Key>; QUEUES.len()],
    counts: [usize; 3],
}

impl Connection {
    /// A connection just accepted, which has until `deadline` to send a whole request.
    pub fn new(stream: Stream, plane: Plane, now: Instant, deadline: Instant) -> Connection {
        Connection {
            stream,
            plane,
            peer: None,
            local: None,
            phase: Phase::Receiving,
            deadline,
            scanner: Scanner::default(),
            rtsp: rtsp::Connection::new(now),
            partner: None,
            client: None,
            accepted: now,
            is_queued: false,
        }
    }

    /// Sends `bytes` as the last thing, until `deadline`.
    pub fn answer(&mut self, bytes: &[u8], deadline: Instant) {
        self.stream.send(bytes);
        self.close(deadline);
    }

    /// Sends what is owed and no more, until `deadline`.
    pub fn close(&mut self, deadline: Instant) {
        self.stream.finish();
        self.phase = Phase::Closing;
        self.deadline = deadline;
    }

    /// Serves the stream once.
    pub fn pump(&mut self) {
        self.stream.pump();
        if self.plane == Plane::Https && self.client.is_none() {
            self.client = self.stream.peer_certificate();
        }
    }

    /// The other end's address, an IPv4 one as such.
    pub fn peer_ip(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }

    /// Whether it is closing and the peer does not have everything yet.
    pub fn owes(&self) -> bool {
        self.phase == Phase::Closing && !self.stream.is_flushed()
    }

    /// Whether nobody waits for its answer any more. Only devices are believed to have gone when
    /// they shut their end: programs that talk to the API may do so to say that they are through.
    pub fn is_forsaken(&self) -> bool {
        self.plane.pool() == Pool::Network
            && self.phase == Phase::Waiting
            && self.stream.peer_closed()
    }

    /// What is lost when it is cut off, from nothing upwards; `None` where it may not be.
    fn loss(&self) -> Option<u8> {
        match self.phase {
            Phase::Closing if self.stream.is_flushed() => Some(0),
            Phase::Receiving if self.stream.has_received() => Some(2),
            Phase::Receiving => Some(1),
            Phase::Closing => Some(3),
            Phase::Waiting => None,
        }
    }

    /// Whom it counts for; `None` for Unix sockets.
    fn holder(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer::holder(peer.ip()))
    }

    fn queue(&self) -> Queue {
        match self.plane {
            Plane::Http | Plane::Rtsp => Queue::Plain,
            Plane::Https if self.stream.is_handshaking() => Queue::Handshake,
            Plane::Https => Queue::Tls,
            Plane::Api | Plane::Backend | Plane::Control => Queue::Local,
        }
    }
}

impl Table {
    /// Takes a connection in, which `registry` reports from now on. It has its first turn once it
    /// has said something.
    pub fn insert(&mut self, mut connection: Connection, registry: &Registry) -> Option<Key> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if let Err(error) = connection.stream.register(registry, Token(FIRST_TOKEN + index)) {
            log::debug!("connection: not watched: {error}");
            self.free.push(index);
            return None;
        }
        self.last_generation += 1;
        self.counts[connection.plane.pool() as usize] += 1;
        let key = Key { index, generation: self.last_generation };
        self.slots[index] = Some((key.generation, connection));
        Some(key)
    }

    /// Drops a connection.
    pub fn remove(&mut self, key: Key, registry: &Registry) -> Option<Connection> {
        self.get(key)?;
        let (_, mut connection) = self.slots[key.index].take()?;
        self.free.push(key.index);
        self.counts[connection.plane.pool() as usize] -= 1;
        // The descriptor is closed with the stream, which takes it out as well.
        let _ = connection.stream.deregister(registry);
        Some(connection)
    }

    /// A connection that is still there.
    pub fn get(&self, key: Key) -> Option<&Connection> {
        let (generation, connection) = self.slots.get(key.index)?.as_ref()?;
        (*generation == key.generation).then_some(connection)
    }

    /// As [`Table::get`].
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Connection> {
        let (generation, connection) = self.slots.get_mut(key.index)?.as_mut()?;
        (*generation == key.generation).then_some(connection)
    }

    /// Notes what mio reports.
    pub fn handle_ready(&mut self, token: Token, readable: bool, writable: bool) {
        let index = token.0 - FIRST_TOKEN;
        let Some(Some((generation, connection))) = self.slots.get_mut(index) else {
            return;
        };
        connection.stream.handle_ready(readable, writable);
        if connection.stream.wants_pump() {
            let key = Key { index, generation: *generation };
            self.enqueue(key);
        }
    }

    /// Gives a connection a turn, unless it waits for one already.
    pub fn enqueue(&mut self, key: Key) {
        let Some(connection) = self.get_mut(key) else {
            return;
        };
        if !connection.is_queued {
            connection.is_queued = true;
            let queue = connection.queue();
            self.queues[queue as usize].push_back(key);
        }
    }

    /// The one whose turn it is in a queue; it is out of the queue then. Those that are gone are
    /// passed over.
    pub fn poll_turn(&mut self, queue: Queue) -> Option<Key> {
        loop {
            let key = self.queues[queue as usize].pop_front()?;
            if let Some(connection) = self.get_mut(key) {
                connection.is_queued = false;
                return Some(key);
            }
        }
    }

    /// Whether any connection has a turn due.
    pub fn has_work(&self) -> bool {
        self.queues.iter().any(|queue| !queue.is_empty())
    }

    /// The earliest deadline of all.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.iter().map(|(_, connection)| connection.deadline).min()
    }

    /// Those whose time is up.
    pub fn expired(&self, now: Instant) -> Vec<Key> {
        self.keys(|connection| connection.deadline <= now)
    }

    /// Every connection for which `is_it` holds.
    pub fn keys(&self, is_it: impl Fn(&Connection) -> bool) -> Vec<Key> {
        self.iter().filter(|(_, connection)| is_it(connection)).map(|(key, _)| key).collect()
    }

    /// How many connections count against a limit.
    pub fn count(&self, pool: Pool) -> usize {
        self.counts[pool as usize]
    }

    /// How many connections a client has.
    pub fn count_by(&self, fingerprint: Fingerprint) -> usize {
        let is_its = |connection: &Connection| {
            connection.client.as_ref().is_some_and(|client| client.fingerprint() == fingerprint)
        };
        self.iter().filter(|(_, connection)| is_its(connection)).count()
    }

    /// The connection that goes first when a pool is full. It is one of the address that holds
    /// most, and of these the one that loses least by it: one that has its answer, else one that
    /// has sent nothing, else one whose request is not whole, the oldest first. Those whose answer
    /// is being made stay.
    pub fn victim(&self, pool: Pool) -> Option<Key> {
        let candidates = || {
            self.iter().filter_map(|(key, connection)| {
                let loss = connection.loss()?;
                (connection.plane.pool() == pool).then_some((key, connection, loss))
            })
        };
        let mut held: HashMap<Option<IpAddr>, usize> = HashMap::new();
        for (_, connection, _) in candidates() {
            *held.entry(connection.holder()).or_default() += 1;
        }
        candidates()
            .min_by_key(|(_, connection, loss)| {
                (usize::MAX - held[&connection.holder()], *loss, connection.accepted)
            })
            .map(|(key, ..)| key)
    }

    fn iter(&self) -> impl Iterator<Item = (Key, &Connection)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let (generation, connection) = slot.as_ref()?;
            Some((Key { index, generation: *generation }, connection))
        })
    }
}
