//! What a host is told by its callers and tells them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::wire::Connect;

/// The two ends of what a datagram travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The peer's.
    pub remote: SocketAddr,
    /// Ours: what the peer addressed and what replies leave from. `None` leaves it to the system.
    pub local: Option<IpAddr>,
}

impl From<SocketAddr> for Path {
    fn from(remote: SocketAddr) -> Path {
        Path { remote, local: None }
    }
}

/// One peer of one host, never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerId {
    pub(crate) index: u16,
    pub(crate) generation: u64,
}

/// Somebody asks to be connected. The host has kept nothing of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knock {
    /// Whence it came.
    pub path: Path,
    /// The connect data, by which an invited guest can be told from a stranger.
    pub data: u32,
    pub(crate) connect: Connect,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// It was taken in; events and datagrams may have come of it.
    Handled,
    /// A stranger asks to be connected: to be admitted or forgotten.
    Knock(Knock),
    /// It says it is this peer's, but comes from another address. Nothing was done with it.
    Stray(PeerId),
}

/// What happened to a peer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The handshake is through; messages can be sent.
    Connected {
        /// Who.
        peer: PeerId,
        /// Channels that both ends have.
        channel_count: u8,
    },
    /// It is gone and its `PeerId` means nothing any more. Once for every peer, other than those
    /// that the caller put an end to at once.
    Disconnected {
        /// Who.
        peer: PeerId,
        /// How it ended.
        departure: Departure,
    },
    /// A message arrived, whole and in its turn.
    Message {
        /// Whose.
        peer: PeerId,
        /// The channel it came on.
        channel: u8,
        /// All of it.
        bytes: Vec<u8>,
    },
}

/// How a peer went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// As we asked; it acknowledged.
    Dismissed,
    /// By itself, with this to say.
    Left(u32),
    /// It acknowledged nothing for too long.
    TimedOut,
}

/// Why a datagram, or the rest of it, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Events wait to be polled, more than there should be.
    Busy,
    /// It is compressed.
    Compressed,
    /// Every place for a peer is taken.
    Full,
    /// It is cut short, has an unknown command, or numbers that contradict each other.
    Malformed,
    /// It is for a peer that is not there.
    Stranger,
    /// A command that does not belong there in this state of the connection.
    Unexpected,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Busy => "events not polled",
            Error::Compressed => "compressed datagram",
            Error::Full => "no place for another peer",
            Error::Malformed => "malformed datagram",
            Error::Stranger => "datagram for an unknown peer",
            Error::Unexpected => "command out of place",
        })
    }
}

impl std::error::Error for Error {}

/// Why a message is not sent, or a peer not spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The connection does not have this channel.
    NoChannel,
    /// The peer is gone, going, or not there yet.
    NotConnected,
    /// The peer has not acknowledged enough of what it was sent before.
    QueueFull,
    /// The message is longer than the host takes, or unsequenced and longer than a datagram.
    TooLong,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::NoChannel => "unknown channel",
            SendError::NotConnected => "peer not connected",
            SendError::QueueFull => "queue full",
            SendError::TooLong => "message too long",
        })
    }
}

impl std::error::Error for SendError {}
