//! One connection, at either end of it: its states, from CONNECT to the last acknowledgement.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::inbox::Inbox;
use crate::outbox::{Delivery, Outbox};
use crate::rtt::Rtt;
use crate::wire::{
    Body, CHANNEL_NONE, Command, Commands, Connect, HEADER_LEN_MAX, Header, MTU_MAX, MTU_MIN,
    PEER_NONE, SESSION_NONE, Terms,
};
use crate::{Config, Departure, Error, Event, Path, PeerId, SendError};

/// Bytes of reliable messages under way, in either direction.
const WINDOW_MIN: u32 = 4096;
const WINDOW_MAX: u32 = 65_536;
/// Interval in milliseconds, acceleration and deceleration that libenet asks for by default.
const THROTTLE: [u32; 3] = [5000, 2, 2];
/// How long after its last farewell a peer that left is still told that we know: longer than libenet
/// waits before it says so again.
const LINGER: Duration = Duration::from_secs(5);
const SESSION_MASK: u8 = 3;

/// How to put an end to a connection. A peer that is not connected yet goes
/// [at once](Parting::AtOnce) in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Tells the peer with one datagram, which may get lost. No event follows.
    AtOnce,
    /// Tells the peer until it acknowledges; what is queued for it is dropped.
    Graceful,
    /// As `Graceful`, once all that is queued has been acknowledged.
    WhenSent,
}

/// The two session numbers of a place, of which the last ones are never used again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sessions {
    /// In what the peer sends.
    pub(crate) incoming: u8,
    /// In what we send.
    pub(crate) outgoing: u8,
}

impl Sessions {
    pub(crate) const NONE: Sessions = Sessions { incoming: SESSION_NONE, outgoing: SESSION_NONE };

    /// Those for the next peer in this place, who had others before.
    fn next(self, terms: &Terms) -> Sessions {
        let next = |theirs: u8, ours: u8| {
            let last = if theirs == SESSION_NONE { ours } else { theirs };
            let next = last.wrapping_add(1) & SESSION_MASK;
            if next == ours { (next + 1) & SESSION_MASK } else { next }
        };
        Sessions {
            incoming: next(terms.outgoing_session, self.incoming),
            outgoing: next(terms.incoming_session, self.outgoing),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Peer {
    path: Path,
    state: State,
    /// What the end that asked for the connection asked for.
    asked: Terms,
    /// The peer's number for us.
    their_index: u16,
    sessions: Sessions,
    inbox: Inbox,
    outbox: Outbox,
    rtt: Rtt,
    /// When it last acknowledged something.
    heard_at: Instant,
    /// Since when something waits to be acknowledged and nothing was.
    unanswered_since: Option<Instant>,
    timeout: Duration,
    ping_interval: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Connected,
    /// We asked for a connection.
    Connecting,
    /// We told the peer that it is over.
    Disconnecting,
    /// Over. Repeated farewells are acknowledged until this time.
    Gone {
        until: Instant,
    },
    /// We grant a connection.
    Granting,
    /// One datagram says that it is over.
    Leaving {
        data: u32,
    },
    /// It is over when all has been sent.
    Parting {
        data: u32,
    },
}

/// What is around a peer while it is given something.
pub(crate) struct Context<'a> {
    pub(crate) id: PeerId,
    pub(crate) now: Instant,
    /// Our clock as datagrams carry it.
    pub(crate) now_time: u16,
    pub(crate) events: &'a mut VecDeque<Event>,
}

impl Peer {
    /// One whom we ask for a connection.
    pub(crate) fn ask(path: Path, connect: Connect, config: &Config, now: Instant) -> Peer {
        let terms = connect.terms;
        let sessions =
            Sessions { incoming: terms.incoming_session, outgoing: terms.outgoing_session };
        let channel_count = terms.channel_count as u8;
        let mut peer = Peer::new(path, terms, sessions, channel_count, config, now);
        peer.outbox.command(Body::Connect(connect));
        peer
    }

    /// One who asked for a connection and gets it. `index` is our number for it.
    pub(crate) fn grant(
        path: Path,
        index: u16,
        terms: Terms,
        last: Sessions,
        config: &Config,
        now: Instant,
    ) -> Peer {
        let sessions = last.next(&terms);
        let channel_count = terms.channel_count.min(config.channel_count_max.into()) as u8;
        let mut peer = Peer::new(path, terms, sessions, channel_count, config, now);
        peer.state = State::Granting;
        peer.their_index = terms.peer;
        let (mtu, window) = peer.agree(&terms, config.mtu);
        peer.outbox.command(Body::VerifyConnect(Terms {
            peer: index,
            incoming_session: sessions.outgoing,
            outgoing_session: sessions.incoming,
            mtu: mtu.into(),
            window,
            channel_count: channel_count.into(),
            incoming_bandwidth: 0,
            outgoing_bandwidth: 0,
            throttle: terms.throttle,
            connect_id: terms.connect_id,
        }));
        peer
    }

    fn new(
        path: Path,
        asked: Terms,
        sessions: Sessions,
        channel_count: u8,
        config: &Config,
        now: Instant,
    ) -> Peer {
        Peer {
            path,
            state: State::Connecting,
            asked,
            their_index: PEER_NONE,
            sessions,
            inbox: Inbox::new(channel_count, config),
            outbox: Outbox::new(channel_count, config),
            rtt: Rtt::default(),
            heard_at: now,
            unanswered_since: None,
            timeout: config.timeout,
            ping_interval: config.ping_interval,
        }
    }

    /// Takes the smaller of what both ends can do.
    fn agree(&mut self, terms: &Terms, mtu_max: u16) -> (u16, u32) {
        let mtu = terms.mtu.clamp(MTU_MIN.into(), MTU_MAX.into()) as u16;
        let mtu = mtu.min(mtu_max);
        let window = terms.window.clamp(WINDOW_MIN, WINDOW_MAX);
        let channel_count = terms.channel_count.min(self.inbox.channel_count().into()) as u8;
        self.inbox.limit_channels(channel_count);
        self.outbox.set_limits(channel_count, mtu, window);
        (mtu, window)
    }

    /// Takes the commands of a datagram, up to the first that is wrong.
    pub(crate) fn handle_commands(
        &mut self,
        header: Header,
        commands: Commands<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Error> {
        for command in commands {
            let command = command?;
            if !command.acknowledge {
                self.handle_command(&command, context)?;
                continue;
            }
            let sent_time = header.sent_time.ok_or(Error::Malformed)?;
            if self.handle_command(&command, context)? {
                self.outbox.acknowledge(command.channel, command.sequence, sent_time);
            }
        }
        Ok(())
    }

    /// Whether the command may be acknowledged, should it ask for it.
    fn handle_command(
        &mut self,
        command: &Command<'_>,
        context: &mut Context<'_>,
    ) -> Result<bool, Error> {
        match (self.state, command.body) {
            (State::Gone { .. }, Body::Disconnect { .. }) => {
                self.state = State::Gone { until: context.now + LINGER };
                Ok(true)
            }
            (State::Gone { .. }, _) => Ok(false),
            (_, Body::Acknowledge { sequence, sent_time }) => {
                self.handle_acknowledgement(command.channel, sequence, sent_time, context)?;
                Ok(false)
            }
            (State::Connecting, Body::VerifyConnect(terms)) => self.verify(&terms, context),
            (State::Connecting | State::Leaving { .. }, _) => Err(Error::Unexpected),
            (_, Body::Disconnect { data }) => {
                let lingers = command.acknowledge && self.state != State::Disconnecting;
                let until = if lingers { context.now + LINGER } else { context.now };
                self.end(Departure::Left(data), until, context);
                Ok(lingers)
            }
            (State::Disconnecting | State::Granting, _) => Err(Error::Unexpected),
            (State::Connected | State::Parting { .. }, body) => match body {
                Body::Connect(_) => Err(Error::Unexpected),
                Body::BandwidthLimit { .. }
                | Body::Ping
                | Body::ThrottleConfigure { .. }
                | Body::VerifyConnect(_) => Ok(true),
                _ => self.handle_message(command, context),
            },
        }
    }

    fn handle_acknowledgement(
        &mut self,
        channel: u8,
        sequence: u16,
        sent_time: u16,
        context: &mut Context<'_>,
    ) -> Result<(), Error> {
        let Some(body) = self.outbox.handle_acknowledgement(channel, sequence) else {
            return Ok(());
        };
        self.rtt.measure(sent_time, context.now_time);
        self.on_heard(context.now);
        match (self.state, body) {
            (State::Connecting, _) => return Err(Error::Unexpected),
            (State::Disconnecting, Body::Disconnect { .. }) => {
                self.end(Departure::Dismissed, context.now, context);
            }
            (State::Granting, Body::VerifyConnect(_)) => self.on_connected(context),
            (State::Parting { data }, _) if self.outbox.is_empty() => self.dismiss(data),
            _ => {}
        }
        Ok(())
    }

    /// Takes what is granted, if it is what was asked for.
    fn verify(&mut self, terms: &Terms, context: &mut Context<'_>) -> Result<bool, Error> {
        let fits = (1..=u32::from(u8::MAX)).contains(&terms.channel_count)
            && terms.throttle == self.asked.throttle
            && terms.connect_id == self.asked.connect_id;
        if !fits {
            return Err(Error::Unexpected);
        }
        let _ = self.outbox.handle_acknowledgement(CHANNEL_NONE, 1);
        self.on_heard(context.now);
        self.agree(terms, self.asked.mtu as u16);
        self.their_index = terms.peer;
        self.sessions = Sessions {
            incoming: terms.incoming_session & SESSION_MASK,
            outgoing: terms.outgoing_session & SESSION_MASK,
        };
        self.on_connected(context);
        Ok(true)
    }

    fn handle_message(
        &mut self,
        command: &Command<'_>,
        context: &mut Context<'_>,
    ) -> Result<bool, Error> {
        let mut messages = Vec::new();
        let is_kept = self.inbox.handle(command, &mut messages)?;
        let (peer, channel) = (context.id, command.channel);
        let events = messages.into_iter().map(|bytes| Event::Message { peer, channel, bytes });
        context.events.extend(events);
        Ok(is_kept)
    }

    fn on_connected(&mut self, context: &mut Context<'_>) {
        self.state = State::Connected;
        let (peer, channel_count) = (context.id, self.inbox.channel_count());
        context.events.push_back(Event::Connected { peer, channel_count });
    }

    fn on_heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.unanswered_since = self.outbox.has_flights().then_some(now);
    }

    /// Sends again what was not acknowledged, pings, or gives the peer up.
    pub(crate) fn handle_timeout(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        if matches!(self.state, State::Gone { .. } | State::Leaving { .. }) {
            return;
        }
        if self.unanswered_since.is_some_and(|since| now >= since + self.timeout) {
            self.end(Departure::TimedOut, now, context);
            return;
        }
        self.outbox.handle_timeout(now, &self.rtt, self.timeout);
        if self.ping_at().is_some_and(|at| now >= at) {
            self.outbox.command(Body::Ping);
        }
    }

    /// When to call [`Peer::handle_timeout`], if ever.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if let State::Gone { until } = self.state {
            return Some(until);
        }
        let dies_at = self.unanswered_since.map(|since| since + self.timeout);
        [self.outbox.poll_timeout(), dies_at, self.ping_at()].into_iter().flatten().min()
    }

    fn ping_at(&self) -> Option<Instant> {
        let is_idle = self.state == State::Connected && self.outbox.is_empty();
        is_idle.then(|| self.heard_at + self.ping_interval)
    }

    /// Writes the next datagram, if there is one.
    pub(crate) fn poll(&mut self, now: Instant, now_time: u16, out: &mut Vec<u8>) -> bool {
        out.clear();
        out.resize(HEADER_LEN_MAX, 0);
        let mut wants_time = false;
        if let State::Leaving { data } = self.state {
            farewell(data).emit(out);
            self.state = State::Gone { until: now };
        } else {
            wants_time = self.outbox.poll(now, self.rtt.wait(self.timeout), out);
        }
        if out.len() == HEADER_LEN_MAX {
            return false;
        }
        if wants_time {
            self.unanswered_since.get_or_insert(now);
        }
        // Before it is granted, a connection has no session.
        let session = if self.their_index == PEER_NONE { 0 } else { self.sessions.outgoing };
        let sent_time = wants_time.then_some(now_time);
        let mut header = Vec::with_capacity(HEADER_LEN_MAX);
        Header { peer: self.their_index, session, sent_time }.emit(&mut header);
        out.splice(..HEADER_LEN_MAX, header);
        true
    }

    /// Queues a message.
    pub(crate) fn send(
        &mut self,
        channel: u8,
        bytes: &[u8],
        delivery: Delivery,
    ) -> Result<(), SendError> {
        if self.state != State::Connected {
            return Err(SendError::NotConnected);
        }
        self.outbox.send(channel, bytes, delivery)
    }

    /// Begins to put an end to it.
    pub(crate) fn disconnect(&mut self, data: u32, parting: Parting) {
        match (self.state, parting) {
            (State::Connecting, _) => self.leave(data),
            (State::Granting, _) | (_, Parting::AtOnce) => self.leave(data),
            (State::Connected | State::Parting { .. }, Parting::WhenSent)
                if !self.outbox.is_empty() =>
            {
                self.state = State::Parting { data };
            }
            (State::Connected | State::Parting { .. }, _) => self.dismiss(data),
            _ => {}
        }
    }

    fn dismiss(&mut self, data: u32) {
        self.clear();
        // Moonlight looks whether a farewell comes alone.
        self.outbox.clear_acknowledgements();
        self.state = State::Disconnecting;
        self.outbox.command(Body::Disconnect { data });
    }

    fn leave(&mut self, data: u32) {
        self.clear();
        self.state = State::Leaving { data };
    }

    fn end(&mut self, departure: Departure, until: Instant, context: &mut Context<'_>) {
        self.clear();
        self.state = State::Gone { until };
        context.events.push_back(Event::Disconnected { peer: context.id, departure });
    }

    fn clear(&mut self) {
        self.inbox.close();
        self.outbox.clear();
        self.unanswered_since = None;
    }

    /// From now on it is to be reached there, and heard from there only.
    pub(crate) fn set_path(&mut self, path: Path) {
        self.path = path;
    }

    pub(crate) fn path(&self) -> Path {
        self.path
    }

    pub(crate) fn sessions(&self) -> Sessions {
        self.sessions
    }

    /// Opaque, of the one who asked for the connection.
    pub(crate) fn connect_id(&self) -> u32 {
        self.asked.connect_id
    }

    /// Whether a datagram with this session is the peer's.
    pub(crate) fn has_session(&self, session: u8) -> bool {
        self.their_index == PEER_NONE || session == self.sessions.incoming
    }

    /// Whether it is of the application's concern.
    pub(crate) fn is_present(&self) -> bool {
        !matches!(self.state, State::Gone { .. } | State::Leaving { .. })
    }

    /// Whether nothing is left to do and its place is free.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        matches!(self.state, State::Gone { until } if now >= until)
    }

    /// Whether its place is free if no other is.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone { .. })
    }

    pub(crate) fn rtt(&self) -> Duration {
        self.rtt.mean()
    }

    pub(crate) fn held_len(&self) -> usize {
        self.inbox.held_len()
    }

    pub(crate) fn unacknowledged_count(&self) -> usize {
        self.outbox.count()
    }
}

/// What we ask for. `index` is our number for the peer.
pub(crate) fn terms(index: u16, last: Sessions, mtu: u16, channels: u8, connect_id: u32) -> Terms {
    Terms {
        peer: index,
        incoming_session: last.incoming,
        outgoing_session: last.outgoing,
        mtu: mtu.into(),
        window: WINDOW_MAX,
        channel_count: channels.into(),
        incoming_bandwidth: 0,
        outgoing_bandwidth: 0,
        throttle: THROTTLE,
        connect_id,
    }
}

/// The DISCONNECT that nobody acknowledges.
fn farewell(data: u32) -> Command<'static> {
    Command {
        acknowledge: false,
        unsequenced: true,
        channel: CHANNEL_NONE,
        sequence: 0,
        body: Body::Disconnect { data },
        data: &[],
    }
}
