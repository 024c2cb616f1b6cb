//! Messages inside ENet: what client and host tell each other during a session.
//!
//! Every message of an encrypted stream comes in an envelope ([`seal`]). What a client's user does
//! is told by one kind of message ([`input`]); whose gamepads are there follows ([`Gamepads`]).

#![forbid(unsafe_code)]

mod gamepads;
mod host;
pub mod input;
mod keys;
pub mod seal;

use std::fmt;
use std::ops::RangeInclusive;

pub use gamepads::Gamepads;
pub use host::{Chromaticity, HdrMetadata, HostMessage, Termination};

use crate::proto::units::FrameIndex;

/// Channels that a client asks for.
pub const CHANNEL_COUNT: usize = 0x30;

/// Bytes of kind and length.
const HEADER_LEN: usize = 4;
/// Bytes that a newer client may append to what is known of a message.
const SURPLUS_LEN_MAX: usize = 32;

/// What a client says.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// How a frame came through that lost something.
    FecStatus(FecStatus),
    /// Something its user did.
    Input(input::Packet),
    /// These frames are lost or lean on lost ones: no further one may lean on them.
    Invalidate {
        /// The first.
        first: FrameIndex,
        /// The last, which is not before the first.
        last: FrameIndex,
    },
    /// How much was lost, as clients of old put it.
    LossStats,
    /// A long-term reference has arrived.
    LtrAck(FrameIndex),
    /// It is there. Said ten times a second.
    Ping,
    /// It needs an IDR. Also the first message of all.
    RequestIdr,
    /// The second message of all.
    StartB,
    /// Nothing that this host knows.
    Unknown(u16),
}

/// How a frame came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FecStatus {
    /// Which.
    pub frame: FrameIndex,
    /// RTP sequence number of the last packet that came.
    pub sequence_highest: u16,
    /// RTP sequence number up to which nothing is missing.
    pub sequence_next_contiguous: u16,
    /// Packets missing before the last that came.
    pub missing_count: u16,
    /// Data shards of the block.
    pub data_count: u16,
    /// Parity shards of the block.
    pub parity_count: u16,
    /// Data shards that came.
    pub data_received_count: u16,
    /// Parity shards that came.
    pub parity_received_count: u16,
    /// Parity shards per hundred data shards.
    pub parity_percent: u8,
    /// Which block of the frame.
    pub block_index: u8,
    /// Blocks of the frame.
    pub block_count: u8,
}

/// Why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Input that is none.
    Input(input::Error),
    /// Shorter or longer than its kind has it, or than it says.
    Length,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Input(error) => error.fmt(f),
            Error::Length => f.write_str("wrong length of a control message"),
        }
    }
}

impl std::error::Error for Error {}

/// A kind of message: how long its payload may be, and what reads it.
struct Row {
    kind: u16,
    len: RangeInclusive<usize>,
    parse: fn(&[u8]) -> Result<ClientMessage, Error>,
}

const fn row(kind: u16, len: usize, parse: fn(&[u8]) -> Result<ClientMessage, Error>) -> Row {
    Row { kind, len: len..=len + SURPLUS_LEN_MAX, parse }
}

const TABLE: [Row; 8] = [
    row(0x0200, 8, |_| Ok(ClientMessage::Ping)),
    row(0x0201, 32, |_| Ok(ClientMessage::LossStats)),
    Row { kind: 0x0206, len: input::PAYLOAD_LEN, parse: parse_input },
    row(0x0301, 24, parse_invalidate),
    row(0x0302, 2, |_| Ok(ClientMessage::RequestIdr)),
    row(0x0307, 1, |_| Ok(ClientMessage::StartB)),
    row(0x0350, 8, parse_ltr_ack),
    row(0x5502, 21, parse_fec_status),
];

impl ClientMessage {
    /// Reads a message that was opened or came in the clear.
    pub fn parse(message: &[u8]) -> Result<ClientMessage, Error> {
        let (header, payload) = message.split_first_chunk::<HEADER_LEN>().ok_or(Error::Length)?;
        let [kind_low, kind_high, len_low, len_high] = *header;
        if usize::from(u16::from_le_bytes([len_low, len_high])) != payload.len() {
            return Err(Error::Length);
        }
        let kind = u16::from_le_bytes([kind_low, kind_high]);
        match TABLE.iter().find(|row| row.kind == kind) {
            None => Ok(ClientMessage::Unknown(kind)),
            Some(row) if row.len.contains(&payload.len()) => (row.parse)(payload),
            Some(_) => Err(Error::Length),
        }
    }
}

fn parse_input(payload: &[u8]) -> Result<ClientMessage, Error> {
    input::Packet::parse(payload).map(ClientMessage::Input).map_err(Error::Input)
}

/// First and last as 64 bits each of which clients fill 32. A range that is none asks for what it
/// can only mean.
fn parse_invalidate(payload: &[u8]) -> Result<ClientMessage, Error> {
    let first = FrameIndex(u32::from_le_bytes(chunk(payload, 0)?));
    let last = FrameIndex(u32::from_le_bytes(chunk(payload, 8)?));
    if first > last {
        return Ok(ClientMessage::RequestIdr);
    }
    Ok(ClientMessage::Invalidate { first, last })
}

fn parse_ltr_ack(payload: &[u8]) -> Result<ClientMessage, Error> {
    Ok(ClientMessage::LtrAck(FrameIndex(u32::from_le_bytes(chunk(payload, 0)?))))
}

/// Big-endian.
fn parse_fec_status(payload: &[u8]) -> Result<ClientMessage, Error> {
    let number = |at| chunk(payload, at).map(u16::from_be_bytes);
    let [parity_percent, block_index, block_count] = chunk(payload, 18)?;
    Ok(ClientMessage::FecStatus(FecStatus {
        frame: FrameIndex(u32::from_be_bytes(chunk(payload, 0)?)),
        sequence_highest: number(4)?,
        sequence_next_contiguous: number(6)?,
        missing_count: number(8)?,
        data_count: number(10)?,
        parity_count: number(12)?,
        data_received_count: number(14)?,
        parity_received_count: number(16)?,
        parity_percent,
        block_index,
        block_count,
    }))
}

fn chunk<const N: usize>(payload: &[u8], at: usize) -> Result<[u8; N], Error> {
    let bytes = payload.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes.copied().ok_or(Error::Length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::hex;
    use crate::proto::input::{Input, Key, KeyEvent, Modifiers};

    fn bytes(text: &str) -> Vec<u8> {
        hex::parse(&text.replace(' ', "")).unwrap()
    }

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes()[..], &(payload.len() as u16).to_le_bytes(), payload].concat()
    }

    #[test]
    fn what_clients_say_is_understood() {
        let key = KeyEvent { key: Key(30), is_down: true, modifiers: Modifiers::default() };
        let status = FecStatus {
            frame: FrameIndex(1),
            sequence_highest: 0x16,
            sequence_next_contiguous: 2,
            missing_count: 1,
            data_count: 22,
            parity_count: 5,
            data_received_count: 21,
            parity_received_count: 1,
            parity_percent: 20,
            block_index: 0,
            block_count: 1,
        };
        let range = |first, last| ClientMessage::Invalidate {
            first: FrameIndex(first),
            last: FrameIndex(last),
        };
        let cases = [
            ("0203 0200 0000", ClientMessage::RequestIdr),
            ("0703 0100 00", ClientMessage::StartB),
            ("0002 0800 0400 00000000 abcd", ClientMessage::Ping),
            (&format!("0102 2000 {}", "00".repeat(32)), ClientMessage::LossStats),
            ("5003 0800 05010000 00000000", ClientMessage::LtrAck(FrameIndex(0x105))),
            ("0103 1800 5f000000 00000000 60000000 00000000 00000000 00000000", range(0x5f, 0x60)),
            ("0103 1800 60000000 00000000 60000000 00000000 00000000 00000000", range(0x60, 0x60)),
            (
                "0103 1800 61000000 00000000 60000000 00000000 00000000 00000000",
                ClientMessage::RequestIdr,
            ),
            (
                "0255 1500 00000001 0016 0002 0001 0016 0005 0015 0001 14 00 01",
                ClientMessage::FecStatus(status),
            ),
            (
                "0602 0e00 0000000a 03000000 00 4180 00 0000",
                ClientMessage::Input(input::Packet::Input(Input::Key(key))),
            ),
            ("0030 0100 07", ClientMessage::Unknown(0x3000)),
            ("0402 0000", ClientMessage::Unknown(0x0204)),
        ];
        for (text, expected) in cases {
            assert_eq!(ClientMessage::parse(&bytes(text)), Ok(expected), "{text}");
        }
    }

    #[test]
    fn each_kind_has_its_shortest_and_its_longest_form() {
        for row in &TABLE {
            for len in 0..=300 {
                let parsed = ClientMessage::parse(&message(row.kind, &vec![0; len]));
                let is_length = parsed == Err(Error::Length);
                assert_eq!(!is_length, row.len.contains(&len), "{:#x}, {len}", row.kind);
                if row.kind != 0x0206 {
                    assert_eq!(parsed.is_ok(), row.len.contains(&len), "{:#x}, {len}", row.kind);
                }
            }
        }
    }

    #[test]
    fn a_message_is_as_long_as_it_says() {
        let message = bytes("0203 0200 0000");
        for len in 0..message.len() {
            assert_eq!(ClientMessage::parse(&message[..len]), Err(Error::Length), "{len}");
        }
        let longer = [&message[..], &[0]].concat();
        assert_eq!(ClientMessage::parse(&longer), Err(Error::Length));
    }

    #[test]
    fn errors_of_input_are_the_messages() {
        let packet = bytes("0602 0e00 0000000a 03000000 00 0780 00 0000");

        let error = ClientMessage::parse(&packet).unwrap_err();

        assert_eq!(error, Error::Input(input::Error::Key(7)));
        assert_eq!(error.to_string(), "unknown virtual key 0x07");
    }
}
