//! Sound of punktfunk/1: what is in its packets.
//!
//! Each has an Opus frame and the one before, so that a single loss costs nothing but the wait for
//! the next packet.

#![forbid(unsafe_code)]

mod packetize;
mod receive;

use std::ops::Range;

pub use packetize::AudioPacketizer;
pub use receive::{AudioReceiver, Counters, Event, Frame};

use super::header::{Error, PACKET_HEADER_LEN, TAG_LEN};

/// Bytes of an Opus frame at most. Two of them fit the least datagram of IPv6, 1232 bytes; frames
/// of 5 ms may have 947 kbit/s, which is more than any encoder makes of eight channels.
pub const FRAME_LEN_MAX: usize = 592;
/// Bytes in front of the frames.
pub const AUDIO_HEADER_LEN: usize = 16;
/// Bytes of the longest datagram.
pub const AUDIO_DATAGRAM_LEN_MAX: usize =
    PACKET_HEADER_LEN + AUDIO_HEADER_LEN + 2 * FRAME_LEN_MAX + TAG_LEN;
/// Samples of the longest Opus packet, 120 ms.
const SAMPLE_COUNT_MAX: u16 = 5760;

mod field {
    use super::Range;

    pub(super) const NUMBER: Range<usize> = 0..4;
    pub(super) const SAMPLE_COUNT: Range<usize> = 4..6;
    pub(super) const BEFORE_LEN: Range<usize> = 6..8;
    pub(super) const CAPTURED: Range<usize> = 8..16;
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioPacket<'a> {
    /// Which frame it is, counted from 1.
    pub number: u32,
    /// Samples of each channel in a frame, at 48 kHz: 1 to 5760.
    pub sample_count: u16,
    /// When the first sample was captured, by the host's clock, in microseconds.
    pub captured_us: u64,
    /// The frame before, unless it is empty.
    pub before: &'a [u8],
    /// The frame, which is not empty.
    pub frame: &'a [u8],
}

impl AudioPacket<'_> {
    /// Reads a payload, which is all of it.
    pub fn parse(bytes: &[u8]) -> Result<AudioPacket<'_>, Error> {
        let (header, frames) =
            bytes.split_first_chunk::<AUDIO_HEADER_LEN>().ok_or(Error::TooShort)?;
        let [a, b, c, d, samples_high, samples_low, len_high, len_low, captured @ ..] = *header;
        let before_len = usize::from(u16::from_be_bytes([len_high, len_low]));
        let (before, frame) = frames.split_at_checked(before_len).ok_or(Error::TooShort)?;
        let packet = AudioPacket {
            number: u32::from_be_bytes([a, b, c, d]),
            sample_count: u16::from_be_bytes([samples_high, samples_low]),
            captured_us: u64::from_be_bytes(captured),
            before,
            frame,
        };
        if packet.is_possible() { Ok(packet) } else { Err(Error::Contradiction) }
    }

    fn is_possible(&self) -> bool {
        let is_number = match self.number {
            0 | u32::MAX => false,
            1 => self.before.is_empty(),
            _ => true,
        };
        is_number
            && (1..=SAMPLE_COUNT_MAX).contains(&self.sample_count)
            && (1..=FRAME_LEN_MAX).contains(&self.frame.len())
            && self.before.len() <= FRAME_LEN_MAX
    }

    /// The header. Both frames follow it.
    pub fn emit_header(&self) -> [u8; AUDIO_HEADER_LEN] {
        let mut bytes = [0; AUDIO_HEADER_LEN];
        bytes[field::NUMBER].copy_from_slice(&self.number.to_be_bytes());
        bytes[field::SAMPLE_COUNT].copy_from_slice(&self.sample_count.to_be_bytes());
        // It is at most FRAME_LEN_MAX.
        bytes[field::BEFORE_LEN].copy_from_slice(&(self.before.len() as u16).to_be_bytes());
        bytes[field::CAPTURED].copy_from_slice(&self.captured_us.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests;
