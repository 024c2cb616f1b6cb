//! What stands in front of the bytes of a datagram and of a shard. All numbers are big-endian.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;

use crate::proto::units::FrameIndex;

/// Shards have a multiple of so many bytes.
pub const SHARD_UNIT: usize = 64;
/// Bytes of a packet header, in the clear and authenticated.
pub const PACKET_HEADER_LEN: usize = 8;
/// Bytes of the tag behind the sealed payload.
pub const TAG_LEN: usize = 16;
/// Bytes of the header in front of a shard, sealed.
pub const SHARD_HEADER_LEN: usize = 20;
/// Bytes in front of an access unit, in its first data shard. Hosts of later versions may put more.
pub const FRAME_PREFIX_LEN: usize = 16;
/// Packet numbers are below this.
pub const NUMBER_END: u64 = 1 << 48;
/// Places of a block: data shards, and parity shards rounded up to a power of two.
const PLACE_COUNT_MAX: usize = 65_536;

/// The header of a packet.
mod field {
    use super::Range;

    pub(super) const KIND: usize = 0;
    pub(super) const PHASE: usize = 1;
    pub(super) const NUMBER: Range<usize> = 2..8;
}

/// The header of a shard.
mod shard_field {
    use super::Range;

    pub(super) const FRAME: Range<usize> = 0..4;
    pub(super) const FLAGS: usize = 4;
    pub(super) const EPOCH: usize = 5;
    pub(super) const BLOCK: Range<usize> = 6..8;
    pub(super) const FIRST: Range<usize> = 8..12;
    pub(super) const DATA_COUNT: Range<usize> = 12..14;
    pub(super) const PARITY_COUNT: Range<usize> = 14..16;
    pub(super) const INDEX: Range<usize> = 16..18;
    pub(super) const PADDING: Range<usize> = 18..20;
}

/// The prefix of an access unit.
mod prefix_field {
    use super::Range;

    pub(super) const LEN: Range<usize> = 0..2; // of the prefix itself
    pub(super) const LATENCY: Range<usize> = 4..8;
    pub(super) const CAPTURED: Range<usize> = 8..16;
}

/// Bits of the flags of a shard.
mod flag {
    pub(super) const LAST_BLOCK: u8 = 0x01;
    pub(super) const IDR: u8 = 0x02;
    pub(super) const ANCHOR: u8 = 0x04;
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The numbers of a shard contradict each other.
    Contradiction,
    /// No packet is of this kind.
    Kind(u8),
    /// There are fewer bytes than a header has.
    TooShort,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Contradiction => f.write_str("numbers that contradict each other"),
            Error::Kind(number) => write!(f, "packet of unknown kind {number}"),
            Error::TooShort => f.write_str("fewer bytes than a header has"),
        }
    }
}

impl std::error::Error for Error {}

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A shard of an access unit.
    Video,
    /// Sound.
    Audio,
    /// Opens the way of the data plane, and keeps it open.
    Ping,
    /// Measures the way.
    Probe,
}

impl Kind {
    /// As it is on the wire.
    pub fn number(self) -> u8 {
        match self {
            Kind::Video => 1,
            Kind::Audio => 2,
            Kind::Ping => 3,
            Kind::Probe => 4,
        }
    }

    fn parse(number: u8) -> Result<Kind, Error> {
        match number {
            1 => Ok(Kind::Video),
            2 => Ok(Kind::Audio),
            3 => Ok(Kind::Ping),
            4 => Ok(Kind::Probe),
            other => Err(Error::Kind(other)),
        }
    }
}

/// In front of each datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHeader {
    /// What it is for.
    pub kind: Kind,
    /// The low byte of the phase of its key.
    pub phase: u8,
    /// Below [`NUMBER_END`]. No two packets of one direction have the same.
    pub number: u64,
}

impl PacketHeader {
    /// Reads the first [`PACKET_HEADER_LEN`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<PacketHeader, Error> {
        let header: &[u8; PACKET_HEADER_LEN] = bytes.first_chunk().ok_or(Error::TooShort)?;
        let mut number = [0; 8];
        number[2..].copy_from_slice(&header[field::NUMBER]);
        Ok(PacketHeader {
            kind: Kind::parse(header[field::KIND])?,
            phase: header[field::PHASE],
            number: u64::from_be_bytes(number),
        })
    }

    /// Its bytes.
    pub fn emit(&self) -> [u8; PACKET_HEADER_LEN] {
        let mut bytes = [0; PACKET_HEADER_LEN];
        bytes[field::KIND] = self.kind.number();
        bytes[field::PHASE] = self.phase;
        bytes[field::NUMBER].copy_from_slice(&self.number.to_be_bytes()[2..]);
        bytes
    }
}

/// What all shards of an access unit say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Which access unit it is.
    pub index: FrameIndex,
    /// Whether a decoder can start from it.
    pub is_idr: bool,
    /// Whether it refers to nothing that the client has reported as lost.
    pub is_anchor: bool,
    /// Of the mode that it shows; counts the changes of mode, and wraps.
    pub epoch: u8,
}

/// In front of each shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardHeader {
    /// Its access unit.
    pub frame: FrameHeader,
    /// Counted from 0.
    pub block: u16,
    /// Whether no block of the access unit follows.
    pub is_last_block: bool,
    /// How many data shards of the access unit stand before its block.
    pub first: u32,
    /// Data shards of its block, one at least.
    pub data_count: u16,
    /// Parity shards of its block.
    pub parity_count: u16,
    /// Which shard of the block it is. Parity shards are behind the data shards.
    pub index: u16,
    /// Bytes at the end of the block's last data shard that are not of the access unit.
    pub padding: u16,
}

impl ShardHeader {
    /// Reads the first [`SHARD_HEADER_LEN`] bytes; the rest is the shard.
    pub fn parse(bytes: &[u8]) -> Result<(ShardHeader, &[u8]), Error> {
        let (header, shard) =
            bytes.split_first_chunk::<SHARD_HEADER_LEN>().ok_or(Error::TooShort)?;
        let short = |range: Range<usize>| {
            u16::from_be_bytes([header[range.start], header[range.start + 1]])
        };
        let long = |range: Range<usize>| {
            let start = range.start;
            u32::from_be_bytes([
                header[start],
                header[start + 1],
                header[start + 2],
                header[start + 3],
            ])
        };
        let flags = header[shard_field::FLAGS];
        let header = ShardHeader {
            frame: FrameHeader {
                index: FrameIndex(long(shard_field::FRAME)),
                is_idr: flags & flag::IDR != 0,
                is_anchor: flags & flag::ANCHOR != 0,
                epoch: header[shard_field::EPOCH],
            },
            block: short(shard_field::BLOCK),
            is_last_block: flags & flag::LAST_BLOCK != 0,
            first: long(shard_field::FIRST),
            data_count: short(shard_field::DATA_COUNT),
            parity_count: short(shard_field::PARITY_COUNT),
            index: short(shard_field::INDEX),
            padding: short(shard_field::PADDING),
        };
        let is_whole = header.is_possible() && usize::from(header.padding) < shard.len();
        if is_whole { Ok((header, shard)) } else { Err(Error::Contradiction) }
    }

    /// Whether a block can be like that.
    fn is_possible(&self) -> bool {
        let (data_count, parity_count) =
            (usize::from(self.data_count), usize::from(self.parity_count));
        let place_count = match parity_count {
            0 => data_count,
            count => data_count + count.next_power_of_two(),
        };
        let is_padded = self.padding == 0 || self.is_last_block;
        data_count > 0
            && usize::from(self.index) < data_count + parity_count
            && place_count <= PLACE_COUNT_MAX
            && is_padded
    }

    /// Its bytes.
    pub fn emit(&self) -> [u8; SHARD_HEADER_LEN] {
        let mut bytes = [0; SHARD_HEADER_LEN];
        let frame = &self.frame;
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        bytes[shard_field::FRAME].copy_from_slice(&frame.index.0.to_be_bytes());
        bytes[shard_field::FLAGS] = bit(self.is_last_block, flag::LAST_BLOCK)
            | bit(frame.is_idr, flag::IDR)
            | bit(frame.is_anchor, flag::ANCHOR);
        bytes[shard_field::EPOCH] = frame.epoch;
        bytes[shard_field::BLOCK].copy_from_slice(&self.block.to_be_bytes());
        bytes[shard_field::FIRST].copy_from_slice(&self.first.to_be_bytes());
        bytes[shard_field::DATA_COUNT].copy_from_slice(&self.data_count.to_be_bytes());
        bytes[shard_field::PARITY_COUNT].copy_from_slice(&self.parity_count.to_be_bytes());
        bytes[shard_field::INDEX].copy_from_slice(&self.index.to_be_bytes());
        bytes[shard_field::PADDING].copy_from_slice(&self.padding.to_be_bytes());
        bytes
    }
}

/// In front of each access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePrefix {
    /// When it was captured, by the host's clock, in microseconds.
    pub captured_us: u64,
    /// How long it has been with the host until it was cut, in microseconds.
    pub latency_us: u32,
}

impl FramePrefix {
    /// Reads it from the beginning of an access unit; what is behind it is the access unit itself.
    pub fn parse(bytes: &[u8]) -> Result<(FramePrefix, &[u8]), Error> {
        let prefix: &[u8; FRAME_PREFIX_LEN] = bytes.first_chunk().ok_or(Error::TooShort)?;
        let len = usize::from(u16::from_be_bytes([prefix[0], prefix[1]]));
        if len < FRAME_PREFIX_LEN {
            return Err(Error::Contradiction);
        }
        let (_, captured_us) = prefix.split_last_chunk().ok_or(Error::TooShort)?;
        let mut latency_us = [0; 4];
        latency_us.copy_from_slice(&prefix[prefix_field::LATENCY]);
        let rest = bytes.get(len..).ok_or(Error::TooShort)?;
        let prefix = FramePrefix {
            captured_us: u64::from_be_bytes(*captured_us),
            latency_us: u32::from_be_bytes(latency_us),
        };
        Ok((prefix, rest))
    }

    /// Its bytes.
    pub fn emit(&self) -> [u8; FRAME_PREFIX_LEN] {
        let mut bytes = [0; FRAME_PREFIX_LEN];
        bytes[prefix_field::LEN].copy_from_slice(&(FRAME_PREFIX_LEN as u16).to_be_bytes());
        bytes[prefix_field::LATENCY].copy_from_slice(&self.latency_us.to_be_bytes());
        bytes[prefix_field::CAPTURED].copy_from_slice(&self.captured_us.to_be_bytes());
        bytes
    }
}

/// Bytes of a datagram with a shard.
pub fn datagram_len(shard_len: usize) -> usize {
    PACKET_HEADER_LEN + SHARD_HEADER_LEN + shard_len + TAG_LEN
}

/// The longest shards of which a datagram fits in so many bytes, if any do.
pub fn shard_len(datagram_len_max: usize) -> Option<usize> {
    let len = datagram_len_max.checked_sub(datagram_len(0))? / SHARD_UNIT * SHARD_UNIT;
    (len > 0).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard_header() -> ShardHeader {
        ShardHeader {
            frame: FrameHeader {
                index: FrameIndex(0x0102_0304),
                is_idr: true,
                is_anchor: false,
                epoch: 9,
            },
            block: 2,
            is_last_block: true,
            first: 2000,
            data_count: 700,
            parity_count: 140,
            index: 839,
            padding: 63,
        }
    }

    #[test]
    fn headers_are_read_as_they_are_written() {
        let packet = PacketHeader { kind: Kind::Audio, phase: 3, number: 0x0405_0607_0809 };
        assert_eq!(packet.emit(), [2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(PacketHeader::parse(&packet.emit()), Ok(packet));

        let bytes = [&shard_header().emit()[..], &[7; 64]].concat();
        assert_eq!(ShardHeader::parse(&bytes), Ok((shard_header(), &[7; 64][..])));

        let prefix = FramePrefix { captured_us: 5, latency_us: 6 };
        let bytes = [&prefix.emit()[..], b"unit"].concat();
        assert_eq!(FramePrefix::parse(&bytes), Ok((prefix, &b"unit"[..])));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let good = shard_header();
        let table = [
            ShardHeader { data_count: 0, ..good },
            ShardHeader { index: 840, ..good },
            ShardHeader { padding: 64, ..good },
            ShardHeader { is_last_block: false, ..good },
            ShardHeader { data_count: 65_535, parity_count: 2, index: 0, ..good },
        ];
        for header in table {
            let bytes = [&header.emit()[..], &[0; 64]].concat();
            assert_eq!(ShardHeader::parse(&bytes), Err(Error::Contradiction), "{header:?}");
        }
        let most = ShardHeader { data_count: 65_535, parity_count: 1, index: 0, ..good };
        assert!(ShardHeader::parse(&[&most.emit()[..], &[0; 64]].concat()).is_ok());
        assert_eq!(ShardHeader::parse(&[0; 19]), Err(Error::TooShort));
        assert_eq!(PacketHeader::parse(&[1; 7]), Err(Error::TooShort));
        assert_eq!(PacketHeader::parse(&[5; 8]), Err(Error::Kind(5)));
    }

    #[test]
    fn a_prefix_may_have_become_longer_but_no_shorter() {
        let prefix = FramePrefix { captured_us: 1, latency_us: 2 };
        let with_len = |len: u16| {
            let mut bytes = [&prefix.emit()[..], b"more", b"unit"].concat();
            bytes[..2].copy_from_slice(&len.to_be_bytes());
            FramePrefix::parse(&bytes).map(|(prefix, unit)| (prefix, unit.len()))
        };

        assert_eq!(with_len(20), Ok((prefix, 4)));
        assert_eq!(with_len(24), Ok((prefix, 0)));
        assert_eq!(with_len(25), Err(Error::TooShort));
        assert_eq!(with_len(15), Err(Error::Contradiction));
    }

    #[test]
    fn shards_fill_what_a_path_carries() {
        // What IPv6 and IPv4 leave of 1500 bytes, and of 9000.
        assert_eq!((shard_len(1452), datagram_len(1408)), (Some(1408), 1452));
        assert_eq!((shard_len(1472), shard_len(8972)), (Some(1408), Some(8896)));
        assert_eq!((shard_len(107), shard_len(108), shard_len(0)), (None, Some(64), None));
    }
}
