//! The way of the data plane: where the host sends to, and how the client keeps it open.
//!
//! A client opens it by pings, and the host answers each with a token for the address from which
//! it came. Sealed as it is, a ping says nothing of the address from which it came: whoever is on
//! the way can send it from another one first. Media go to an address from which a ping came with
//! the token of that address, so somebody there has read what was sent there.
//!
//! What is in a ping and in its answer is here, in one form of one length: no answer is longer than
//! what it answers.

#![forbid(unsafe_code)]

mod client;
mod host;

use std::fmt;
use std::ops::Range;

pub use client::{ClientEvent, ClientPath, Sample};
pub use host::{HostEvent, HostPath, Outcome};

use super::header::{Error, Kind, PACKET_HEADER_LEN, TAG_LEN};
use super::seal::{Exhausted, Sealer};
use crate::proto::units::FrameIndex;

/// Bytes of a ping and of an answer. There may be more behind them, of later versions.
pub const PING_LEN: usize = 40;
/// Bytes of a datagram with either.
pub const PING_DATAGRAM_LEN: usize = PACKET_HEADER_LEN + PING_LEN + TAG_LEN;

mod field {
    use super::Range;

    pub(super) const WHAT: usize = 0;
    pub(super) const FLAGS: usize = 1;
    pub(super) const LAST_UNIT: Range<usize> = 4..8;
    pub(super) const SENT: Range<usize> = 8..16;
    pub(super) const HOST_TIME: Range<usize> = 16..24;
    pub(super) const TOKEN: Range<usize> = 24..40;
}

const PING: u8 = 1;
const ANSWER: u8 = 2;
/// Media go where this answer goes.
const FLAG_MEDIA: u8 = 0x01;

/// What proves that somebody at an address reads what is sent there. Sixteen bytes of chance, of
/// which not all are 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token([u8; 16]);

impl Token {
    /// None of sixteen zeros.
    pub fn new(bytes: [u8; 16]) -> Option<Token> {
        (bytes != [0; 16]).then_some(Token(bytes))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// From the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// When it was sent by the client's clock, in microseconds.
    pub sent_us: u64,
    /// What the client was told last.
    pub token: Option<Token>,
}

/// From the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the ping says.
    pub sent_us: u64,
    /// When it was answered by the host's clock, in microseconds.
    pub host_us: u64,
    /// Whether media go where it goes.
    pub has_media: bool,
    /// The last access unit that was sent, if any was. Access units are counted from 1.
    pub last_unit: Option<FrameIndex>,
    /// That of the address from which the ping came.
    pub token: Token,
}

impl Ping {
    /// Reads the first [`PING_LEN`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Ping, Error> {
        let bytes: &[u8; PING_LEN] = bytes.first_chunk().ok_or(Error::TooShort)?;
        if bytes[field::WHAT] != PING {
            return Err(Error::Contradiction);
        }
        Ok(Ping { sent_us: time(bytes, field::SENT), token: token(bytes) })
    }

    /// Its bytes.
    pub fn emit(&self) -> [u8; PING_LEN] {
        let mut bytes = [0; PING_LEN];
        bytes[field::WHAT] = PING;
        bytes[field::SENT].copy_from_slice(&self.sent_us.to_be_bytes());
        if let Some(Token(token)) = &self.token {
            bytes[field::TOKEN].copy_from_slice(token);
        }
        bytes
    }

    /// The datagram to send.
    pub fn seal(&self, sealer: &mut Sealer) -> Result<[u8; PING_DATAGRAM_LEN], Exhausted> {
        seal(&self.emit(), sealer)
    }
}

impl Answer {
    /// Reads the first [`PING_LEN`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Answer, Error> {
        let bytes: &[u8; PING_LEN] = bytes.first_chunk().ok_or(Error::TooShort)?;
        if bytes[field::WHAT] != ANSWER {
            return Err(Error::Contradiction);
        }
        let mut last_unit = [0; 4];
        last_unit.copy_from_slice(&bytes[field::LAST_UNIT]);
        let last_unit = u32::from_be_bytes(last_unit);
        Ok(Answer {
            sent_us: time(bytes, field::SENT),
            host_us: time(bytes, field::HOST_TIME),
            has_media: bytes[field::FLAGS] & FLAG_MEDIA != 0,
            last_unit: (last_unit != 0).then_some(FrameIndex(last_unit)),
            token: token(bytes).ok_or(Error::Contradiction)?,
        })
    }

    /// Its bytes.
    pub fn emit(&self) -> [u8; PING_LEN] {
        let mut bytes = [0; PING_LEN];
        bytes[field::WHAT] = ANSWER;
        bytes[field::FLAGS] = if self.has_media { FLAG_MEDIA } else { 0 };
        let last_unit = self.last_unit.map_or(0, |last| last.0);
        bytes[field::LAST_UNIT].copy_from_slice(&last_unit.to_be_bytes());
        bytes[field::SENT].copy_from_slice(&self.sent_us.to_be_bytes());
        bytes[field::HOST_TIME].copy_from_slice(&self.host_us.to_be_bytes());
        bytes[field::TOKEN].copy_from_slice(&self.token.0);
        bytes
    }

    /// The datagram to send.
    pub fn seal(&self, sealer: &mut Sealer) -> Result<[u8; PING_DATAGRAM_LEN], Exhausted> {
        seal(&self.emit(), sealer)
    }
}

fn seal(
    payload: &[u8; PING_LEN],
    sealer: &mut Sealer,
) -> Result<[u8; PING_DATAGRAM_LEN], Exhausted> {
    let mut datagram = [0; PING_DATAGRAM_LEN];
    datagram[PACKET_HEADER_LEN..][..PING_LEN].copy_from_slice(payload);
    sealer.seal(Kind::Ping, &mut datagram)?;
    Ok(datagram)
}

fn time(bytes: &[u8; PING_LEN], field: Range<usize>) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[field]);
    u64::from_be_bytes(number)
}

fn token(bytes: &[u8; PING_LEN]) -> Option<Token> {
    let mut token = [0; 16];
    token.copy_from_slice(&bytes[field::TOKEN]);
    Token::new(token)
}

#[cfg(test)]
mod tests;
