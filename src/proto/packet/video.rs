//! Access units to datagrams of GameStream video.
//!
//! A frame header and the access unit are cut into data shards of one length. Parity is computed
//! over whole packets, in which the fields that it is to restore are set and the others are 0; those
//! are written afterwards, into parity shards too. Sealing comes last, so parity protects what is
//! sealed and not the seals.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;

use fec8::Code;

use crate::proto::gamestream::secret::Secret;
use crate::proto::packet::Error;
use crate::proto::packet::fec::Fec;
use crate::proto::packet::seal::{PREFIX_LEN, Sealer};
use crate::proto::packet::split::{Block, DATA_COUNT_MAX, Rule, SHARD_COUNT_MAX, Split};
use crate::proto::units::{FrameIndex, Ticks90k};

/// The smallest packet length that leaves room for the frame header in the first shard, and some.
pub const PACKET_LEN_MIN: usize = 32;
/// With both headers and the prefix of a seal, the largest that UDP carries over IPv4.
pub const PACKET_LEN_MAX: usize = 65_507 - PREFIX_LEN - RTP_LEN;

/// What a packet has in front of what clients count as packet length.
const RTP_LEN: usize = 16;
const FRAME_HEADER_LEN: usize = 8;

/// Version 2, and the extension that makes clients skip the four bytes behind the RTP header.
const RTP_FLAGS: u8 = 0x90;
/// On every block: clients are told of its parity in the header.
const MULTI_FEC_FLAGS: u8 = 0x10;

/// The header of a packet: RTP, big-endian, then NV_VIDEO_PACKET, little-endian.
mod field {
    use super::Range;

    pub(super) const RTP_FLAGS: usize = 0;
    pub(super) const SEQUENCE: Range<usize> = 2..4; // of every shard, parity too
    pub(super) const TIMESTAMP: Range<usize> = 4..8;
    pub(super) const STREAM_INDEX: Range<usize> = 16..20; // 24 bits, shifted left by 8
    pub(super) const FRAME_INDEX: Range<usize> = 20..24;
    pub(super) const FLAGS: usize = 24;
    pub(super) const MULTI_FEC_FLAGS: usize = 26;
    pub(super) const MULTI_FEC_BLOCKS: usize = 27; // index << 4, last index << 6
    pub(super) const FEC_INFO: Range<usize> = 28..32; // percent << 4, shard << 12, data count << 22
    pub(super) const PAYLOAD: usize = 32;
}

/// Bits of the flags of a data shard.
mod flag {
    pub(super) const PICTURE: u8 = 0x01;
    pub(super) const BLOCK_END: u8 = 0x02;
    pub(super) const BLOCK_START: u8 = 0x04;
}

/// What was agreed on for the video of a session.
#[derive(Debug)]
pub struct VideoConfig {
    /// What ANNOUNCE calls the packet size: the header of NVIDIA's and the payload, without RTP's
    /// and without the prefix of a seal. [`PACKET_LEN_MIN`] to [`PACKET_LEN_MAX`].
    pub packet_len: usize,
    /// Parity shards per hundred data shards of a block, rounded up; 1 to 100.
    pub parity_percent: u8,
    /// Parity shards of a block, at least. What is above 2 counts as 2.
    pub parity_count_min: u8,
    /// Packets are sealed under it, where there is one.
    pub key: Option<Secret<16>>,
    /// Of the first datagram. Under a key that was used before, [`Packetizer::nonce`] of then.
    pub nonce: u64,
}

/// What a decoder can do with an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Predicted from the access unit before it.
    P,
    /// A decoder can start from it.
    Idr,
    /// The first whole picture of an intra refresh.
    IntraRefresh,
    /// Predicted, but from nothing that the client reported as lost.
    Healed,
}

impl FrameKind {
    /// As the frame header has it.
    fn number(self) -> u8 {
        match self {
            FrameKind::P => 1,
            FrameKind::Idr => 2,
            FrameKind::IntraRefresh => 4,
            FrameKind::Healed => 5,
        }
    }
}

/// One access unit.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    /// Clients take a gap for lost access units.
    pub index: FrameIndex,
    /// What a decoder can do with it.
    pub kind: FrameKind,
    /// When it was captured.
    pub timestamp: Ticks90k,
    /// From capture to sending; 0 if that is not known. Clients are told of 6.5 s at most.
    pub latency_us: u32,
    /// What the encoder made.
    pub bytes: &'a [u8],
}

impl Unit<'_> {
    /// Of the frame header and the bytes together.
    fn len(&self) -> usize {
        FRAME_HEADER_LEN + self.bytes.len()
    }

    fn frame_header(&self, payload_len: usize) -> [u8; FRAME_HEADER_LEN] {
        // Rounded up, because 0 is that it is unknown.
        let latency = u16::try_from(self.latency_us.div_ceil(100)).unwrap_or(u16::MAX);
        let last_len = (self.len() - 1) % payload_len + 1;
        let mut header = [0; FRAME_HEADER_LEN];
        header[0] = 1;
        header[1..3].copy_from_slice(&latency.to_le_bytes());
        header[3] = self.kind.number();
        header[4..6].copy_from_slice(&(last_len as u16).to_le_bytes()); // a payload is below 64 KiB
        header
    }
}

/// How much parity an access unit has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// The percentage of the configuration.
    AsConfigured,
    /// This percentage, because more does not fit beside so many data shards.
    Lowered(u8),
    /// None at all fits.
    None,
}

/// What an access unit becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// 1 to 4.
    pub block_count: usize,
    /// Of all blocks, parity too.
    pub datagram_count: usize,
    /// How many of them are parity.
    pub parity_count: usize,
    /// How much that is.
    pub parity: Parity,
}

/// Makes the datagrams of a session's video.
pub struct Packetizer {
    /// Of a packet, which is a shard.
    shard_len: usize,
    rule: Rule,
    sealer: Option<Sealer>,
    /// The counter of a session that does not seal.
    nonce: u64,
    /// Number of the next access unit's first packet. RTP and NVIDIA count alike.
    position: u32,
    frame: Option<Frame>,
    /// The datagrams of one block.
    buffer: Box<[u8]>,
}

/// The access unit that is begun.
#[derive(Clone, Copy, Debug)]
struct Frame {
    index: FrameIndex,
    len: usize,
    /// Number of its first packet.
    position: u32,
    split: Split,
}

impl Packetizer {
    /// Takes all memory there will be. Of that, what no block was long enough for yet costs
    /// addresses only.
    ///
    /// # Panics
    ///
    /// If the configuration is not within its limits.
    pub fn new(config: &VideoConfig) -> Packetizer {
        let packet_len = config.packet_len;
        assert!((PACKET_LEN_MIN..=PACKET_LEN_MAX).contains(&packet_len), "{packet_len} bytes");
        let sealer = config.key.as_ref().map(|key| Sealer::new(key, config.nonce));
        let shard_len = packet_len + RTP_LEN;
        let prefix_len = if sealer.is_some() { PREFIX_LEN } else { 0 };
        Packetizer {
            shard_len,
            rule: Rule::new(config.parity_percent, config.parity_count_min),
            sealer,
            nonce: config.nonce,
            position: 0,
            frame: None,
            buffer: vec![0; DATA_COUNT_MAX * (prefix_len + shard_len)].into_boxed_slice(),
        }
    }

    /// Bytes of every datagram.
    pub fn datagram_len(&self) -> usize {
        self.prefix_len() + self.shard_len
    }

    /// The counter of the next datagram that is sealed.
    pub fn nonce(&self) -> u64 {
        self.sealer.as_ref().map_or(self.nonce, |sealer| sealer.nonce)
    }

    /// Begins an access unit, whatever became of the one before. One that is too long leaves no
    /// trace in the numbers of packets.
    pub fn begin(&mut self, unit: &Unit<'_>) -> Result<Plan, Error> {
        let split = self.rule.split(unit.len().div_ceil(self.payload_len()))?;
        let datagram_count = split.shard_count();
        let (index, len, position) = (unit.index, unit.len(), self.position);
        self.frame = Some(Frame { index, len, position, split });
        self.position = position.wrapping_add(datagram_count as u32); // a few thousand
        Ok(Plan {
            block_count: split.block_count,
            datagram_count,
            parity_count: split.parity_count(),
            parity: split.parity,
        })
    }

    /// Writes the datagrams of a block of the access unit that was begun, one behind the other,
    /// each [`Packetizer::datagram_len`] bytes. Clients take the blocks in their order only; those
    /// left out are lost.
    ///
    /// # Panics
    ///
    /// If it is another access unit, or has no such block.
    pub fn block(&mut self, unit: &Unit<'_>, index: usize) -> &[u8] {
        let frame = self.frame.expect("an access unit was begun");
        assert_eq!((frame.index, frame.len), (unit.index, unit.len()), "another access unit");
        assert!(index < frame.split.block_count, "block {index}");
        let block = frame.split.block(index);
        let position = frame.position.wrapping_add(block.position as u32);
        let (datagram_len, prefix_len) = (self.datagram_len(), self.prefix_len());
        let payload_len = self.payload_len();
        let datagrams = &mut self.buffer[..block.shard_count() * datagram_len];

        let data = datagrams.chunks_exact_mut(datagram_len).take(block.data_count);
        for (shard, datagram) in data.enumerate() {
            write_data(unit, &block, shard, position, payload_len, &mut datagram[prefix_len..]);
        }
        if block.parity_count > 0 {
            let code = Code::video(block.data_count, block.parity_count);
            let fec = Fec::Gf8(code.expect("a block with parity has 255 shards at most"));
            fec.protect::<SHARD_COUNT_MAX>(datagrams, datagram_len, prefix_len..datagram_len);
        }
        let last_index = frame.split.block_count - 1;
        let stamp = Stamp { unit, block, position, blocks: (index << 4 | last_index << 6) as u8 };
        for (shard, datagram) in datagrams.chunks_exact_mut(datagram_len).enumerate() {
            stamp.write(shard, &mut datagram[prefix_len..]);
            if let Some(sealer) = &mut self.sealer {
                sealer.seal(datagram, unit.index);
            }
        }
        datagrams
    }

    fn prefix_len(&self) -> usize {
        if self.sealer.is_some() { PREFIX_LEN } else { 0 }
    }

    /// Bytes of the frame header and the access unit in every shard.
    fn payload_len(&self) -> usize {
        self.shard_len - field::PAYLOAD
    }
}

impl fmt::Debug for Packetizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Packetizer");
        debug.field("datagram_len", &self.datagram_len()).field("position", &self.position);
        debug.finish_non_exhaustive()
    }
}

/// Writes a data shard as parity is computed over it: its payload, and of the header what a client
/// has to restore.
fn write_data(
    unit: &Unit<'_>,
    block: &Block,
    shard: usize,
    position: u32,
    payload_len: usize,
    packet: &mut [u8],
) {
    let (header, payload) = packet.split_at_mut(field::PAYLOAD);
    header.fill(0);
    let stream_index = position.wrapping_add(shard as u32) << 8;
    header[field::STREAM_INDEX].copy_from_slice(&stream_index.to_le_bytes());
    header[field::FLAGS] = flag::PICTURE
        | if shard == 0 { flag::BLOCK_START } else { 0 }
        | if shard + 1 == block.data_count { flag::BLOCK_END } else { 0 };
    header[field::MULTI_FEC_FLAGS] = MULTI_FEC_FLAGS;

    let start = (block.first + shard) * payload_len;
    let (rest, from) = match start {
        0 => {
            let (head, rest) = payload.split_at_mut(FRAME_HEADER_LEN);
            head.copy_from_slice(&unit.frame_header(payload_len));
            (rest, unit.bytes)
        }
        start => (payload, &unit.bytes[start - FRAME_HEADER_LEN..]),
    };
    let len = rest.len().min(from.len());
    let (used, padding) = rest.split_at_mut(len);
    used.copy_from_slice(&from[..len]);
    padding.fill(0);
}

/// What is written into all shards of a block behind its parity.
struct Stamp<'a> {
    unit: &'a Unit<'a>,
    block: Block,
    /// Number of the block's first packet.
    position: u32,
    blocks: u8,
}

impl Stamp<'_> {
    fn write(&self, shard: usize, packet: &mut [u8]) {
        let sequence = self.position.wrapping_add(shard as u32) as u16;
        let percent = u32::from(self.block.percent);
        let fec_info = percent << 4 | (shard as u32) << 12 | (self.block.data_count as u32) << 22;
        packet[field::RTP_FLAGS] = RTP_FLAGS;
        packet[field::SEQUENCE].copy_from_slice(&sequence.to_be_bytes());
        packet[field::TIMESTAMP].copy_from_slice(&self.unit.timestamp.0.to_be_bytes());
        packet[field::FRAME_INDEX].copy_from_slice(&self.unit.index.0.to_le_bytes());
        packet[field::MULTI_FEC_BLOCKS] = self.blocks;
        packet[field::FEC_INFO].copy_from_slice(&fec_info.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::hex;

    fn config() -> VideoConfig {
        VideoConfig { packet_len: 32, parity_percent: 20, parity_count_min: 2, key: None, nonce: 0 }
    }

    fn unit(bytes: &[u8]) -> Unit<'_> {
        Unit {
            index: FrameIndex(1),
            kind: FrameKind::Idr,
            timestamp: Ticks90k(90_000),
            latency_us: 1200,
            bytes,
        }
    }

    /// An access unit of 29 bytes.
    fn small() -> Vec<u8> {
        [0, 0, 0, 1].into_iter().chain(0x65..=0x7d).collect()
    }

    fn bytes(text: &str) -> Vec<u8> {
        hex::parse(&text.replace([' ', '\n'], "")).unwrap()
    }

    #[test]
    fn an_access_unit_becomes_the_datagrams_that_clients_know() {
        let access_unit = small();
        let unit = unit(&access_unit);
        let mut packetizer = Packetizer::new(&config());

        let plan = packetizer.begin(&unit).unwrap();
        let datagrams = packetizer.block(&unit, 0);

        let expected = bytes(
            "90000000 00015f90 00000000 00000000 00000000 01000000 05 00 10 00 2004c000 \
             010c0002050000000000000165666768 \
             90000001 00015f90 00000000 00000000 00010000 01000000 01 00 10 00 2014c000 \
             696a6b6c6d6e6f707172737475767778 \
             90000002 00015f90 00000000 00000000 00020000 01000000 03 00 10 00 2024c000 \
             797a7b7c7d0000000000000000000000 \
             90000003 00015f90 00000000 00000000 007a0000 01000000 b1 00 f7 00 2034c000 \
             f0b0053a04d125db2f2edaa264ea901c \
             90000004 00015f90 00000000 00000000 00dd0000 01000000 79 00 51 00 2044c000 \
             f17a577da237b938b639b7ce971963ef",
        );
        assert_eq!(hex::emit(datagrams), hex::emit(&expected));
        let parity = Parity::AsConfigured;
        let expected = Plan { block_count: 1, datagram_count: 5, parity_count: 2, parity };
        assert_eq!(plan, expected);
        assert_eq!((packetizer.datagram_len(), packetizer.nonce()), (48, 0));
    }

    #[test]
    fn packets_are_sealed_as_clients_open_them() {
        let access_unit = small();
        let unit = unit(&access_unit);
        let key = Some(Secret::new(std::array::from_fn(|index| index as u8)));
        let mut packetizer = Packetizer::new(&VideoConfig { key, nonce: 7, ..config() });

        packetizer.begin(&unit).unwrap();
        let datagrams = packetizer.block(&unit, 0);

        let expected = bytes(
            "07000000000000000000 0056 01000000 0b6508dffdb07879d81b80fc50d1b493 \
             e46860946877de8f0f37822615e1c4a7e4e57023d41203e16b834cff88f88cb1 \
             7314d4f3e4037b9b570fd4d77afa9394",
        );
        assert_eq!(hex::emit(&datagrams[..80]), hex::emit(&expected));
        assert_eq!(datagrams.len(), 5 * 80);
        assert_eq!((packetizer.datagram_len(), packetizer.nonce()), (80, 12));
    }

    #[test]
    fn the_frame_header_tells_kind_latency_and_what_is_used_of_the_last_shard() {
        use FrameKind::{Healed, Idr, IntraRefresh, P};
        let cases: &[(FrameKind, u32, usize, [u8; 8])] = &[
            (P, 0, 0, [1, 0, 0, 1, 8, 0, 0, 0]),
            (Idr, 1, 1, [1, 1, 0, 2, 9, 0, 0, 0]),
            (IntraRefresh, 100, 8, [1, 1, 0, 4, 16, 0, 0, 0]),
            (Healed, 101, 9, [1, 2, 0, 5, 1, 0, 0, 0]),
            (P, 6_553_400, 24, [1, 0xfe, 0xff, 1, 16, 0, 0, 0]),
            (P, 6_553_600, 25, [1, 0xff, 0xff, 1, 1, 0, 0, 0]),
            (P, u32::MAX, 25, [1, 0xff, 0xff, 1, 1, 0, 0, 0]),
        ];
        for &(kind, latency_us, len, expected) in cases {
            let access_unit = vec![7; len];
            let unit = Unit { kind, latency_us, ..unit(&access_unit) };

            assert_eq!(unit.frame_header(16), expected, "{kind:?} {latency_us} {len}");
        }
    }

    #[test]
    fn numbers_of_packets_go_on_over_access_units() {
        let access_unit = small();
        let mut packetizer = Packetizer::new(&config());
        packetizer.position = 0xffff_fffd;
        let mut numbers = Vec::new();
        for index in 1..=2 {
            let unit = Unit { index: FrameIndex(index), ..unit(&access_unit) };
            packetizer.begin(&unit).unwrap();
            for packet in packetizer.block(&unit, 0).chunks(48).take(3) {
                numbers.push((hex::emit(&packet[2..4]), hex::emit(&packet[16..20])));
            }
        }

        let expected = [
            ("fffd", "00fdffff"),
            ("fffe", "00feffff"),
            ("ffff", "00ffffff"),
            ("0002", "00020000"),
            ("0003", "00030000"),
            ("0004", "00040000"),
        ];
        let expected = expected.map(|(rtp, nvidia)| (rtp.to_owned(), nvidia.to_owned()));
        assert_eq!(numbers, expected);
    }

    #[test]
    fn what_is_too_long_is_refused_and_leaves_no_gap() {
        let access_unit = vec![7; 4 * 1023 * 16];
        let mut packetizer = Packetizer::new(&config());

        let longest = unit(&access_unit[8..]);
        assert_eq!(packetizer.begin(&unit(&access_unit[7..])), Err(Error::TooLong));
        let plan = packetizer.begin(&longest).unwrap();

        assert_eq!((plan.datagram_count, plan.parity), (4 * 1023, Parity::None));
        assert_eq!(packetizer.block(&longest, 0)[2..4], [0, 0]);
        assert_eq!(packetizer.block(&longest, 3).len(), 1023 * 48);
    }
}
