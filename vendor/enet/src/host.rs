//! All connections of one socket: finds the peer of a datagram, and a place for a new one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::outbox::Delivery;
use crate::peer::{Context, Parting, Peer, Sessions, terms};
use crate::wire::{Body, CHANNEL_COUNT_MAX, Commands, Connect, Header, PEER_NONE};
use crate::{Config, Error, Event, Knock, Outcome, Path, PeerId, SendError};

/// Events that may wait to be polled before datagrams are refused. One datagram can free as many
/// messages as waited for it, so there may be some more.
const EVENT_COUNT_MAX: usize = 1024;

/// Both ends of ENet: admits peers, and asks others for a connection.
#[derive(Debug)]
pub struct Host {
    config: Config,
    /// Where our clock of milliseconds begins.
    epoch: Instant,
    /// By our number for a peer. As many as there ever were peers at once.
    places: Vec<Place>,
    events: VecDeque<Event>,
    /// Peers that there ever were.
    generation: u64,
    /// The place whose turn it is to send.
    turn: usize,
}

#[derive(Debug)]
struct Place {
    generation: u64,
    /// Those of the last peer here.
    sessions: Sessions,
    peer: Option<Box<Peer>>,
}

impl Host {
    /// A host without peers.
    pub fn new(config: Config, now: Instant) -> Host {
        Host {
            config: config.clamped(),
            epoch: now,
            places: Vec::new(),
            events: VecDeque::new(),
            generation: 0,
            turn: 0,
        }
    }

    /// Takes a datagram. Where it is refused, the commands before the wrong one have been taken.
    pub fn handle_datagram(
        &mut self,
        path: Path,
        bytes: &[u8],
        now: Instant,
    ) -> Result<Outcome, Error> {
        if self.events.len() >= EVENT_COUNT_MAX {
            return Err(Error::Busy);
        }
        let (header, commands) = Header::parse(bytes)?;
        if header.peer == PEER_NONE {
            return self.handle_stranger(path, commands);
        }
        let now_time = self.time(now);
        let place = self.places.get_mut(usize::from(header.peer)).ok_or(Error::Stranger)?;
        let peer = place.peer.as_mut().ok_or(Error::Stranger)?;
        if !peer.has_session(header.session) {
            return Err(Error::Stranger);
        }
        let id = PeerId { index: header.peer, generation: place.generation };
        if !is_same(peer.path().remote, path.remote) {
            return if peer.is_present() { Ok(Outcome::Stray(id)) } else { Err(Error::Stranger) };
        }
        let mut context = Context { id, now, now_time, events: &mut self.events };
        let result = peer.handle_commands(header, commands, &mut context);
        place.tidy(now);
        result.map(|()| Outcome::Handled)
    }

    fn handle_stranger(
        &mut self,
        path: Path,
        mut commands: Commands<'_>,
    ) -> Result<Outcome, Error> {
        let command = commands.next().ok_or(Error::Malformed)??;
        let Body::Connect(connect) = command.body else {
            return Err(Error::Stranger);
        };
        if !(1..=u32::from(CHANNEL_COUNT_MAX)).contains(&connect.terms.channel_count) {
            return Err(Error::Malformed);
        }
        let knock = Knock { path, data: connect.data, connect };
        if self.knows(&knock) {
            return Ok(Outcome::Handled); // what was answered is answered again by the clock
        }
        self.free_place().ok_or(Error::Full)?;
        Ok(Outcome::Knock(knock))
    }

    /// Grants a stranger the connection. [`Event::Connected`] follows when it has heard of it.
    pub fn admit(&mut self, knock: Knock, now: Instant) -> Result<PeerId, Error> {
        if self.knows(&knock) {
            return Err(Error::Unexpected);
        }
        let index = self.free_place().ok_or(Error::Full)?;
        let place = self.place(index);
        let last = place.sessions;
        let terms = knock.connect.terms;
        let peer = Peer::grant(knock.path, index as u16, terms, last, &self.config, now);
        Ok(self.enter(index, peer))
    }

    /// Asks for a connection with so many channels, 1 at least. `connect_id` is random; `data` is
    /// for the other end's application.
    pub fn connect(
        &mut self,
        path: Path,
        channel_count: u8,
        connect_id: u32,
        data: u32,
        now: Instant,
    ) -> Result<PeerId, Error> {
        let index = self.free_place().ok_or(Error::Full)?;
        let last = self.place(index).sessions;
        let channel_count = channel_count.clamp(1, self.config.channel_count_max);
        let terms = terms(index as u16, last, self.config.mtu, channel_count, connect_id);
        let peer = Peer::ask(path, Connect { terms, data }, &self.config, now);
        Ok(self.enter(index, peer))
    }

    /// Queues a message for a peer that is connected.
    pub fn send(
        &mut self,
        peer: PeerId,
        channel: u8,
        bytes: &[u8],
        delivery: Delivery,
    ) -> Result<(), SendError> {
        self.peer_mut(peer).ok_or(SendError::NotConnected)?.send(channel, bytes, delivery)
    }

    /// Puts an end to a connection. `data` is for the other end's application. Nothing happens to
    /// one that ends already, other than that it may do so sooner.
    pub fn disconnect(&mut self, peer: PeerId, data: u32, parting: Parting) {
        if let Some(peer) = self.peer_mut(peer) {
            peer.disconnect(data, parting);
        }
    }

    /// Forgets a peer without a word, and without an event.
    pub fn forget(&mut self, peer: PeerId) {
        if self.peer_mut(peer).is_some() {
            self.places[usize::from(peer.index)].leave();
        }
    }

    /// A peer is to be reached elsewhere from now on, and heard from there only.
    pub fn peer_moved(&mut self, peer: PeerId, path: Path) {
        if let Some(peer) = self.peer_mut(peer) {
            peer.set_path(path);
        }
    }

    /// What happened, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next datagram: its bytes, in place of what `out` has, and where it goes.
    pub fn poll_datagram(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Path> {
        let now_time = self.time(now);
        let count = self.places.len();
        for _ in 0..count {
            let place = &mut self.places[self.turn];
            self.turn = (self.turn + 1) % count;
            let Some(peer) = &mut place.peer else {
                continue;
            };
            let path = peer.path();
            if peer.poll(now, now_time, out) {
                place.tidy(now);
                return Some(path);
            }
        }
        out.clear();
        None
    }

    /// When to call [`Host::handle_timeout`], if ever. It is exact: nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.peers().filter_map(Peer::poll_timeout).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now_time = self.time(now);
        for (index, place) in self.places.iter_mut().enumerate() {
            let id = PeerId { index: index as u16, generation: place.generation };
            if let Some(peer) = &mut place.peer {
                peer.handle_timeout(&mut Context { id, now, now_time, events: &mut self.events });
            }
            place.tidy(now);
        }
    }

    /// Where a peer is, while it is there.
    pub fn path(&self, peer: PeerId) -> Option<Path> {
        self.peer(peer).map(Peer::path)
    }

    /// Mean time from sending to acknowledgement; half a second until it has been measured.
    pub fn rtt(&self, peer: PeerId) -> Option<Duration> {
        self.peer(peer).map(Peer::rtt)
    }

    /// Commands that a peer has not been sent or has not acknowledged. At 0 it has all that is
    /// reliable.
    pub fn unacknowledged_count(&self, peer: PeerId) -> usize {
        self.peer(peer).map_or(0, Peer::unacknowledged_count)
    }

    /// Peers that are connected, about to be, or about to be gone.
    pub fn peer_count(&self) -> usize {
        self.peers().filter(|peer| peer.is_present()).count()
    }

    /// Bytes held of messages that are incomplete or wait for an earlier one, of all peers.
    pub fn held_len(&self) -> usize {
        self.peers().map(Peer::held_len).sum()
    }

    fn enter(&mut self, index: usize, peer: Peer) -> PeerId {
        self.generation += 1;
        let generation = self.generation;
        let place = self.place(index);
        *place = Place { generation, sessions: peer.sessions(), peer: Some(Box::new(peer)) };
        PeerId { index: index as u16, generation }
    }

    /// The place of a number that [`Host::free_place`] gave.
    fn place(&mut self, index: usize) -> &mut Place {
        if index == self.places.len() {
            self.places.push(Place { generation: 0, sessions: Sessions::NONE, peer: None });
        }
        let place = &mut self.places[index];
        place.leave();
        place
    }

    /// An empty one, a new one, or that of a peer that is only told good-bye.
    fn free_place(&self) -> Option<usize> {
        let empty = self.places.iter().position(|place| place.peer.is_none());
        let count = self.places.len();
        let new = (count < usize::from(self.config.peer_count_max)).then_some(count);
        let is_gone = |place: &Place| place.peer.as_ref().is_some_and(|peer| peer.is_gone());
        empty.or(new).or_else(|| self.places.iter().position(is_gone))
    }

    /// Whether this CONNECT has been admitted already.
    fn knows(&self, knock: &Knock) -> bool {
        self.peers().any(|peer| {
            peer.connect_id() == knock.connect.terms.connect_id
                && is_same(peer.path().remote, knock.path.remote)
        })
    }

    fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.places.iter().filter_map(|place| place.peer.as_deref())
    }

    fn peer(&self, id: PeerId) -> Option<&Peer> {
        let place = self.places.get(usize::from(id.index))?;
        let peer = place.peer.as_deref().filter(|peer| peer.is_present());
        peer.filter(|_| place.generation == id.generation)
    }

    fn peer_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        let place = self.places.get_mut(usize::from(id.index))?;
        let generation = place.generation;
        let peer = place.peer.as_deref_mut().filter(|peer| peer.is_present());
        peer.filter(|_| generation == id.generation)
    }

    /// Our clock as datagrams carry it: the low 16 bits of milliseconds.
    fn time(&self, now: Instant) -> u16 {
        now.duration_since(self.epoch).as_millis() as u16
    }
}

impl Place {
    /// Is free again once its peer is over.
    fn tidy(&mut self, now: Instant) {
        if self.peer.as_ref().is_some_and(|peer| peer.is_over(now)) {
            self.leave();
        }
    }

    fn leave(&mut self) {
        if let Some(peer) = self.peer.take() {
            self.sessions = peer.sessions();
        }
    }
}

/// Whether two addresses are one; a flow label is no part of an address.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    let scope = |address: SocketAddr| match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    };
    (one.ip(), one.port(), scope(one)) == (other.ip(), other.port(), scope(other))
}
