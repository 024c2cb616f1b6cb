//! The control streams of sessions: who may connect, what is said, and how it is parted.

#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::time::Instant;

use enet::{Parting, PeerId};
use punktfunk_core::proto::gamestream::control::seal::{self, Opener, Scheme, Sealer};
use punktfunk_core::proto::gamestream::control::{
    ClientMessage, Gamepads, HostMessage, Termination,
};
use punktfunk_core::proto::gamestream::secret::Secret;
use punktfunk_core::proto::input::{Feedback, GamepadIndex};

use super::{Act, End, PEER_COUNT_MAX, Session, Sessions};
use crate::pipeline::Order;

/// Packets that do not open, in a row, before the session is over. One may be damaged.
const FORGED_COUNT_MAX: u32 = 8;

/// One session's end of its control stream.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// Once it is announced how.
    sealing: Option<Sealing>,
    /// Those that know the connect data. Only who has the key is the client.
    peers: Vec<PeerId>,
    /// The client.
    client: Option<PeerId>,
    gamepads: Gamepads,
    forged_count: u32,
}

/// Both directions.
#[derive(Debug)]
struct Sealing {
    scheme: Scheme,
    sealer: Sealer,
    opener: Opener,
}

impl Control {
    /// Seals under this key from now on. A stream that is begun anew goes on with its numbers.
    pub(super) fn set_scheme(&mut self, scheme: Scheme, rikey: &Secret<16>) {
        if self.sealing.as_ref().is_none_or(|sealing| sealing.scheme != scheme) {
            let (sealer, opener) = (Sealer::new(scheme, rikey), Opener::new(scheme, rikey));
            self.sealing = Some(Sealing { scheme, sealer, opener });
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.is_some()
    }

    /// The last words.
    pub(super) fn part(&mut self, termination: Option<Termination>) -> Vec<Act> {
        let client = self.client;
        let mut acts = Vec::new();
        if let (Some(peer), Some(termination)) = (client, termination) {
            acts.extend(self.say(peer, &HostMessage::Termination(termination)));
        }
        for peer in self.peers.drain(..) {
            // The client parts by itself when it has read that; who says nothing is told at once.
            let is_told = Some(peer) == client && termination.is_some();
            let parting = if is_told { Parting::WhenSent } else { Parting::AtOnce };
            acts.push(Act::Part(peer, parting));
        }
        self.client = None;
        acts
    }

    fn say(&mut self, peer: PeerId, message: &HostMessage) -> Option<Act> {
        // Without numbers left, some years from now, there is nothing to be said.
        let sealing = self.sealing.as_mut()?;
        sealing.sealer.seal(&message.emit()).ok().map(|bytes| Act::Say(peer, bytes))
    }
}

impl Sessions {
    /// Whether a stranger with this connect data, from there, is the client of a session.
    pub fn invites(&self, data: u32, ip: IpAddr) -> Option<u32> {
        let is_its = |session: &&Session| {
            let has_room = session.control.peers.len() < PEER_COUNT_MAX;
            let knows =
                session.connect_data.get() == data || (data == 0 && session.is_told_by_address(ip));
            session.stream.is_some() && has_room && knows
        };
        self.sessions.iter().find(is_its).map(|session| session.id)
    }

    /// A stranger that a session invited is its peer.
    pub fn on_admitted(&mut self, id: u32, peer: PeerId) {
        if let Some(session) = self.get_mut(id) {
            session.control.peers.push(peer);
        }
    }

    /// Whether a message is one of a peer's client, wherever it came from. Takes no notice of it.
    pub fn vouches(&self, peer: PeerId, message: &[u8]) -> bool {
        let sealing = self.of_peer(peer).and_then(|session| session.control.sealing.as_ref());
        sealing.is_some_and(|sealing| sealing.opener.recognises(message))
    }

    /// A peer is gone.
    pub fn on_control_gone(&mut self, peer: PeerId, has_left: bool, now: Instant) {
        let Some(session) = self.of_peer_mut(peer) else {
            return;
        };
        session.control.peers.retain(|other| *other != peer);
        if session.control.client == Some(peer) {
            session.control.client = None;
            let id = session.id;
            self.end(id, if has_left { &End::ClientLeft } else { &End::ClientGone }, now);
        }
    }

    /// Takes a message of a peer, which came from there.
    pub fn handle_control(
        &mut self,
        peer: PeerId,
        ip: Option<IpAddr>,
        mut packet: Vec<u8>,
        now: Instant,
    ) {
        let Some(session) = self.of_peer_mut(peer) else {
            return;
        };
        let id = session.id;
        let Some(sealing) = &mut session.control.sealing else {
            return;
        };
        let message = match sealing.opener.open(&mut packet) {
            Ok(message) => message,
            Err(seal::Error::Replay) => return self.note_stray(),
            Err(error) => {
                session.control.forged_count += 1;
                log::debug!("session {id}: control: {error}");
                if session.control.forged_count >= FORGED_COUNT_MAX {
                    self.end(id, &End::Tampered, now);
                }
                return self.note_stray();
            }
        };
        session.control.forged_count = 0;
        session.client_ip = ip.or(session.client_ip);
        let message = ClientMessage::parse(message);
        let arrived = session.arrive(peer);
        self.acts.extend(arrived);
        match message {
            Err(error) => log::debug!("session {id}: control: {error}"),
            Ok(message) => self.on_message(id, message, now),
        }
    }

    /// Has something done to a gamepad of a client, where it is there and can do that.
    pub fn give_feedback(&mut self, id: u32, gamepad: GamepadIndex, feedback: Feedback) -> bool {
        let Some(session) = self.get_mut(id) else {
            return false;
        };
        let Some(act) = session.feed_back(gamepad, feedback) else {
            return false;
        };
        self.acts.push_back(act);
        true
    }

    fn on_message(&mut self, id: u32, message: ClientMessage, now: Instant) {
        let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) else {
            return;
        };
        match message {
            ClientMessage::Input(packet) => {
                for input in session.control.gamepads.handle(packet) {
                    session.input.handle(&input);
                }
                self.acts.extend(session.settle_gamepads(now));
            }
            ClientMessage::Invalidate { first, last } => {
                self.acts.push_back(Act::Order(id, Order::Invalidate(first, last)));
            }
            ClientMessage::RequestIdr => {
                self.acts.push_back(Act::Order(id, Order::RequestIdr));
            }
            ClientMessage::FecStatus(_)
            | ClientMessage::LossStats
            | ClientMessage::LtrAck(_)
            | ClientMessage::Ping
            | ClientMessage::StartB => {}
            ClientMessage::Unknown(kind) => {
                log::debug!("session {id}: control: unknown message {kind:#06x}");
            }
        }
    }

    fn of_peer(&self, peer: PeerId) -> Option<&Session> {
        self.sessions.iter().find(|session| session.control.peers.contains(&peer))
    }

    fn of_peer_mut(&mut self, peer: PeerId) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.control.peers.contains(&peer))
    }
}

impl Session {
    /// What its gamepads want done, and what the client is to be told of them.
    pub(super) fn settle_gamepads(&mut self, now: Instant) -> Vec<Act> {
        let mut acts = Vec::new();
        while let Some(act) = self.input.gamepads().poll_act() {
            acts.push(Act::Gamepad(self.id, act));
        }
        while let Some((gamepad, feedback)) = self.input.gamepads().poll_feedback(now) {
            acts.extend(self.feed_back(gamepad, feedback));
        }
        acts
    }

    /// Has something done to a gamepad of the client, where it is there and can do that.
    fn feed_back(&mut self, gamepad: GamepadIndex, feedback: Feedback) -> Option<Act> {
        let can = self.input.sees(gamepad) && self.control.gamepads.take(gamepad, &feedback);
        let peer = self.control.client.filter(|_| can)?;
        self.control.say(peer, &HostMessage::Feedback { gamepad, feedback })
    }

    /// The client has shown itself by its key, at this peer.
    fn arrive(&mut self, peer: PeerId) -> Vec<Act> {
        let mut acts = Vec::new();
        if self.control.client == Some(peer) {
            return acts;
        }
        self.control.client = Some(peer);
        self.handshake = None;
        for other in self.control.peers.extract_if(.., |other| *other != peer) {
            acts.push(Act::Part(other, Parting::AtOnce));
        }
        if self.announce().is_some_and(|announce| announce.video.format.is_10_bit) {
            acts.extend(self.control.say(peer, &HostMessage::Hdr(None)));
        }
        self.look_for_arrival();
        acts
    }
}
