//! Access units to sealed datagrams, block by block: so that a block is still in the caches of the
//! core when its parity is computed, when it is sealed, and when it is sent.
//!
//! A block's datagrams lie one behind the other, as they are sent. Its shards and their parity are
//! made there, and sealed there, burst by burst where they are sent so.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;

use fec16::{Code, Workspace};

use super::header::{
    FRAME_PREFIX_LEN, FrameHeader, FramePrefix, Kind, PACKET_HEADER_LEN, SHARD_HEADER_LEN,
    SHARD_UNIT, ShardHeader, TAG_LEN, datagram_len,
};
use super::seal::{Exhausted, Keys, Sealer};
use crate::proto::packet::fec::Fec;

/// Bytes of an access unit at most.
pub const UNIT_LEN_MAX: usize = 64 << 20;
/// Data shards of a block at most. More are slower, as they do not stay in the caches.
pub const BLOCK_DATA_MAX: usize = 1000;
/// Data shards of a block that is made fastest: of datagrams as long as usual it stays, parity too,
/// within half of a core's cache of 1 MiB.
pub const BLOCK_DATA_FAST: usize = 256;
/// Where a shard begins in its datagram.
const SHARD_START: usize = PACKET_HEADER_LEN + SHARD_HEADER_LEN;

/// How access units are cut and protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of a shard, a positive multiple of [`SHARD_UNIT`].
    pub shard_len: usize,
    /// Data shards of a block at most, 1 to [`BLOCK_DATA_MAX`].
    pub block_data_max: usize,
    /// Parity shards per hundred data shards of a block, rounded up; 100 at most, and 0 is none.
    pub parity_percent: u8,
    /// Parity shards of a block at least, unless it has none at all; no more than a block has data
    /// shards at most.
    pub parity_count_min: u8,
}

/// How much parity there is, as [`Shape`] has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parity {
    /// Parity shards per hundred data shards of a block, rounded up; 100 at most, and 0 is none.
    pub percent: u8,
    /// Parity shards of a block at least, unless it has none at all.
    pub count_min: u8,
}

impl Parity {
    /// Parity shards of a block of so many data shards.
    pub fn count(&self, data_count: usize) -> usize {
        if self.percent == 0 {
            return 0;
        }
        (data_count * usize::from(self.percent)).div_ceil(100).max(self.count_min.into())
    }
}

/// One access unit.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    /// What every shard says of it.
    pub header: FrameHeader,
    /// What stands in front of it.
    pub prefix: FramePrefix,
    /// What the encoder made.
    pub bytes: &'a [u8],
}

/// What an access unit becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One at least.
    pub block_count: usize,
    /// Of all blocks, parity too.
    pub datagram_count: usize,
    /// How many of them are parity.
    pub parity_count: usize,
}

/// Why something is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The key has sealed as much as it may.
    Exhausted,
    /// An access unit of more than [`UNIT_LEN_MAX`] bytes, or of more blocks than have numbers; a
    /// frame of sound that is empty, or longer than a packet takes.
    TooLong,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Exhausted => "key used up",
            Error::TooLong => "more bytes than the protocol carries",
        })
    }
}

impl std::error::Error for Error {}

impl From<Exhausted> for Error {
    fn from(_: Exhausted) -> Error {
        Error::Exhausted
    }
}

/// Makes the datagrams of one direction.
pub struct Packetizer {
    shape: Shape,
    sealer: Sealer,
    workspace: Workspace,
    /// The datagrams of one block.
    buffer: Box<[u8]>,
    /// Bytes of it that are sealed datagrams of the last block.
    made_len: usize,
}

/// A block whose datagrams are in the making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    data_count: usize,
    parity_count: usize,
}

/// How an access unit is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Division {
    data_count: usize,
    /// Data shards of every block but the last, which has the rest.
    block_len: usize,
    block_count: usize,
}

impl Shape {
    fn assert_possible(&self) {
        let Shape { shard_len, block_data_max, parity_percent, parity_count_min } = *self;
        let is_len = shard_len > 0 && shard_len.is_multiple_of(SHARD_UNIT);
        // Padding is a number of 16 bits.
        assert!(is_len && shard_len <= usize::from(u16::MAX), "shards of {shard_len} bytes");
        assert!((1..=BLOCK_DATA_MAX).contains(&block_data_max), "{block_data_max} shards");
        assert!(parity_percent <= 100, "{parity_percent} % of parity");
        assert!(usize::from(parity_count_min) <= block_data_max, "{parity_count_min} at least");
    }

    fn divide(&self, unit_len: usize) -> Result<Division, Error> {
        if unit_len > UNIT_LEN_MAX {
            return Err(Error::TooLong);
        }
        let data_count = (FRAME_PREFIX_LEN + unit_len).div_ceil(self.shard_len);
        let block_len = data_count.div_ceil(data_count.div_ceil(self.block_data_max));
        let block_count = data_count.div_ceil(block_len);
        if block_count > usize::from(u16::MAX) {
            return Err(Error::TooLong);
        }
        Ok(Division { data_count, block_len, block_count })
    }

    /// Parity shards of a block of so many data shards.
    pub fn parity_count(&self, data_count: usize) -> usize {
        let (percent, count_min) = (self.parity_percent, self.parity_count_min);
        Parity { percent, count_min }.count(data_count)
    }
}

impl Block {
    /// Data and parity shards.
    pub fn datagram_count(&self) -> usize {
        self.data_count + self.parity_count
    }
}

impl Division {
    /// Where a block begins, and how many data shards it has.
    fn block(&self, index: usize) -> (usize, usize) {
        let first = index * self.block_len;
        (first, self.block_len.min(self.data_count - first))
    }
}

impl Packetizer {
    /// Takes all memory there will be. Of that, what no block was long enough for yet costs
    /// addresses only.
    ///
    /// # Panics
    ///
    /// If the shape is not within its limits.
    pub fn new(shape: Shape, keys: &Keys) -> Packetizer {
        shape.assert_possible();
        let data_max = shape.block_data_max;
        // Parity may be set to as much as there is data.
        let largest = Code::new(data_max, data_max).expect("a block is far from the limit");
        let buffer = vec![0; 2 * data_max * datagram_len(shape.shard_len)];
        Packetizer {
            shape,
            sealer: Sealer::new(keys),
            workspace: Workspace::new(largest),
            buffer: buffer.into(),
            made_len: 0,
        }
    }

    /// How it cuts and protects.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Takes effect with the next access unit.
    ///
    /// # Panics
    ///
    /// If it is more than 100.
    pub fn set_parity_percent(&mut self, percent: u8) {
        self.set_parity(Parity { percent, count_min: self.shape.parity_count_min });
    }

    /// Takes effect with the next access unit.
    ///
    /// # Panics
    ///
    /// If it is more than 100 percent, or there are more at least than a block has data shards at
    /// most.
    pub fn set_parity(&mut self, parity: Parity) {
        let Parity { percent: parity_percent, count_min: parity_count_min } = parity;
        let shape = Shape { parity_percent, parity_count_min, ..self.shape };
        shape.assert_possible();
        self.shape = shape;
    }

    /// Bytes of every datagram.
    pub fn datagram_len(&self) -> usize {
        datagram_len(self.shape.shard_len)
    }

    /// What seals, for packets of other kinds and for other keys.
    pub fn sealer(&mut self) -> &mut Sealer {
        &mut self.sealer
    }

    /// What an access unit becomes.
    pub fn plan(&self, unit: &Unit<'_>) -> Result<Plan, Error> {
        let division = self.shape.divide(unit.bytes.len())?;
        let last = division.block(division.block_count - 1).1;
        let parity_count = (division.block_count - 1) * self.shape.parity_count(division.block_len)
            + self.shape.parity_count(last);
        Ok(Plan {
            block_count: division.block_count,
            datagram_count: division.data_count + parity_count,
            parity_count,
        })
    }

    /// The datagrams of a block of an access unit, of which it has as many as [`Packetizer::plan`]
    /// says. They are to be made and sent in turn.
    ///
    /// # Panics
    ///
    /// If there is no such block.
    pub fn block(&mut self, unit: &Unit<'_>, index: usize) -> Result<&[u8], Error> {
        let block = self.cut(unit, index)?;
        self.protect(&block);
        Ok(self.seal(&block, 0..block.datagram_count())?)
    }

    /// The first of three steps to the datagrams of a block, for who times each: its headers and
    /// data shards.
    ///
    /// # Panics
    ///
    /// If there is no such block.
    pub fn cut(&mut self, unit: &Unit<'_>, index: usize) -> Result<Block, Error> {
        let division = self.shape.divide(unit.bytes.len())?;
        assert!(index < division.block_count, "block {index}");
        let Shape { shard_len, .. } = self.shape;
        let (first, data_count) = division.block(index);
        let parity_count = self.shape.parity_count(data_count);
        let is_last_block = index + 1 == division.block_count;
        let padding = match is_last_block {
            true => division.data_count * shard_len - FRAME_PREFIX_LEN - unit.bytes.len(),
            false => 0,
        };
        // All of these are far below their limits, or `divide` has looked.
        let header = ShardHeader {
            frame: unit.header,
            block: index as u16,
            is_last_block,
            first: first as u32,
            data_count: data_count as u16,
            parity_count: parity_count as u16,
            index: 0,
            padding: padding as u16,
        };
        self.made_len = 0;
        let prefix = unit.prefix.emit();
        let block = Block { data_count, parity_count };
        let datagram_len = datagram_len(shard_len);
        let datagrams = &mut self.buffer[..block.datagram_count() * datagram_len];
        for (at, datagram) in datagrams.chunks_exact_mut(datagram_len).enumerate() {
            let header = ShardHeader { index: at as u16, ..header };
            datagram[PACKET_HEADER_LEN..SHARD_START].copy_from_slice(&header.emit());
            if at < data_count {
                let shard = &mut datagram[SHARD_START..][..shard_len];
                fill(shard, &prefix, unit.bytes, (first + at) * shard_len);
            }
        }
        Ok(block)
    }

    /// The second step: the parity shards of the block that was cut.
    pub fn protect(&mut self, block: &Block) {
        let Block { data_count, parity_count } = *block;
        if parity_count == 0 {
            return;
        }
        let code = Code::new(data_count, parity_count).expect("a block is far from the limit");
        let datagram_len = self.datagram_len();
        let datagrams = &mut self.buffer[..block.datagram_count() * datagram_len];
        let shard = SHARD_START..datagram_len - TAG_LEN;
        let fec = Fec::Gf16(code, &mut self.workspace);
        fec.protect::<BLOCK_DATA_MAX>(datagrams, datagram_len, shard);
    }

    /// The third step, in as many parts as there are bursts: some datagrams of the block that was
    /// protected. Each is to be sealed once. Either all are, or none is: what was sealed and not sent
    /// would be taken for lost.
    ///
    /// # Panics
    ///
    /// If the block does not have them.
    pub fn seal(&mut self, block: &Block, indices: Range<usize>) -> Result<&[u8], Exhausted> {
        assert!(indices.end <= block.datagram_count(), "datagrams {indices:?}");
        let datagram_len = self.datagram_len();
        if self.sealer.room(datagram_len) < indices.len() as u64 {
            return Err(Exhausted);
        }
        let bytes = indices.start * datagram_len..indices.end * datagram_len;
        let datagrams = &mut self.buffer[bytes.clone()];
        for datagram in datagrams.chunks_exact_mut(datagram_len) {
            self.sealer.seal(Kind::Video, datagram)?;
        }
        self.made_len = bytes.end;
        Ok(&self.buffer[bytes])
    }

    /// The datagrams of the last block that are sealed, once more, for those who do not send it at one go.
    pub fn made(&self) -> &[u8] {
        &self.buffer[..self.made_len]
    }
}

impl fmt::Debug for Packetizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packetizer").field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// Fills a shard with what the prefix and the bytes behind it have from `start` on, and zeros.
fn fill(shard: &mut [u8], prefix: &[u8], bytes: &[u8], start: usize) {
    let mut shard = shard;
    if start < prefix.len() {
        let (front, rest) = shard.split_at_mut((prefix.len() - start).min(shard.len()));
        front.copy_from_slice(&prefix[start..][..front.len()]);
        shard = rest;
    }
    let from = start.saturating_sub(prefix.len()).min(bytes.len());
    let bytes = &bytes[from..];
    let (front, rest) = shard.split_at_mut(bytes.len().min(shard.len()));
    front.copy_from_slice(&bytes[..front.len()]);
    rest.fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::gamestream::secret::Secret;
    use crate::proto::units::FrameIndex;

    fn shape(shard_len: usize, block_data_max: usize) -> Shape {
        Shape { shard_len, block_data_max, parity_percent: 20, parity_count_min: 2 }
    }

    #[test]
    fn access_units_are_divided_evenly() {
        // Bytes of a shard, data shards of a block at most, of the access unit; of each block.
        let table: [(usize, usize, usize, &[usize]); 7] = [
            (64, 1000, 0, &[1]),
            (64, 1000, 48, &[1]),
            (64, 1000, 49, &[2]),
            (1408, 1000, 1_408_000 - 16, &[1000]),
            (1408, 1000, 1_408_000 - 15, &[501, 500]),
            (1408, 1, 3 * 1408 - 16, &[1, 1, 1]),
            (64, 3, 7 * 64 - 16, &[3, 3, 1]),
        ];
        for (shard_len, block_data_max, len, expected) in table {
            let division = shape(shard_len, block_data_max).divide(len).unwrap();
            let blocks = (0..division.block_count).map(|index| division.block(index).1);
            assert_eq!(blocks.collect::<Vec<_>>(), expected, "{len}");
        }
        assert_eq!(shape(1408, 1000).divide(UNIT_LEN_MAX + 1), Err(Error::TooLong));
        assert_eq!(shape(64, 1).divide(65_536 * 64), Err(Error::TooLong));
        assert!(shape(1408, 1000).divide(UNIT_LEN_MAX).is_ok());
    }

    #[test]
    fn parity_follows_from_the_data() {
        let table = [(1, 2), (10, 2), (11, 3), (1000, 200)];
        for (data_count, expected) in table {
            assert_eq!(shape(64, 1000).parity_count(data_count), expected);
        }
        assert_eq!(Shape { parity_percent: 0, ..shape(64, 1000) }.parity_count(1000), 0);
    }

    #[test]
    fn a_block_for_which_the_key_has_no_room_takes_no_numbers() {
        let keys = Keys { key: Secret::new([1; 16]), iv: Secret::new([2; 12]) };
        let frame = FrameHeader { index: FrameIndex(1), is_idr: true, is_anchor: false, epoch: 0 };
        let prefix = FramePrefix { captured_us: 1, latency_us: 2 };
        let unit = Unit { header: frame, prefix, bytes: &[7; 1000] };
        for shard_len in [64, 4096] {
            let mut packetizer = Packetizer::new(shape(shard_len, 1000), &keys);
            let count = packetizer.plan(&unit).unwrap().datagram_count;
            let datagram_len = packetizer.datagram_len();
            packetizer.sealer().leave_room(datagram_len, count as u64 - 1);

            assert_eq!(packetizer.block(&unit, 0), Err(Error::Exhausted));
            assert_eq!((packetizer.sealer().number(), packetizer.made()), (0, &[][..]));
            packetizer.sealer().next_phase(&keys);
            assert!(packetizer.block(&unit, 0).is_ok());

            assert_eq!(packetizer.sealer().number(), count as u64, "{shard_len}");
        }
    }

    #[test]
    fn shards_are_filled_from_both_and_padded() {
        let whole: Vec<u8> = (1..=30).collect();
        let (prefix, bytes) = whole.split_at(16);
        for len in 1..=20 {
            let mut joined = Vec::new();
            for start in (0..40).step_by(len) {
                let mut shard = vec![0xff; len];
                fill(&mut shard, prefix, bytes, start);
                joined.extend(shard);
            }
            assert_eq!(joined[..30], whole, "{len}");
            assert!(joined[30..].iter().all(|byte| *byte == 0), "{len}");
        }
    }
}
