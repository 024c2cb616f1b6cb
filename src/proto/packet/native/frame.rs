//! One access unit that is being put together: its shards, each where it belongs, and what is known
//! of its blocks.
//!
//! A block whose data shards are all there needs no arithmetic; of another, any so many shards as
//! it has data shards give the rest.

#![forbid(unsafe_code)]

use fec16::{Code, Workspace};

use super::header::{FrameHeader, ShardHeader};
use crate::proto::packet::fec::Fec;

/// Why a shard is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It says something else than those before it.
    Contradiction,
    /// It is there, or what it is for is.
    Needless,
    /// It would make the access unit longer than agreed.
    TooLong,
}

/// What came of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Data shards that were recovered by it.
    pub recovered_count: usize,
    /// Whether the access unit is whole now.
    pub is_whole: bool,
}

/// What a receiver agreed to take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub shard_len: usize,
    /// Data shards of an access unit.
    pub data_max: usize,
    /// Data shards of a block, and as many parity shards.
    pub block_data_max: usize,
}

impl Bounds {
    /// Bytes of parity shards: of each block no more than data shards, or one that has few.
    fn parity_len_max(&self) -> usize {
        (self.data_max + self.block_data_max) * self.shard_len
    }
}

/// See the module. Its memory stays for the next one.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// Once a shard has come.
    pub header: Option<FrameHeader>,
    blocks: Vec<Block>,
    /// A bit for each shard of each block, in the order in which blocks were begun.
    present: Vec<u64>,
    data: Vec<u8>,
    parity: Vec<u8>,
    /// Bytes of `parity` that are given to blocks.
    parity_len: usize,
    /// Data shards in all, once the last block is known.
    total: Option<usize>,
    padding: usize,
    /// Data shards of blocks that are whole.
    done_count: usize,
}

/// One of its blocks.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// Data shards before it.
    first: usize,
    data_count: usize,
    /// 0 before a shard of it has come.
    shard_count: usize,
    is_last: bool,
    padding: usize,
    /// Where its bits begin, in words.
    present_start: usize,
    parity_start: usize,
    here_count: usize,
    data_here_count: usize,
    is_done: bool,
}

impl Block {
    fn of(header: &ShardHeader, present_start: usize, parity_start: usize) -> Block {
        Block {
            first: header.first as usize,
            data_count: header.data_count.into(),
            shard_count: usize::from(header.data_count) + usize::from(header.parity_count),
            is_last: header.is_last_block,
            padding: header.padding.into(),
            present_start,
            parity_start,
            ..Block::default()
        }
    }

    fn agrees(&self, header: &ShardHeader) -> bool {
        self.first == header.first as usize
            && self.data_count == usize::from(header.data_count)
            && self.shard_count == usize::from(header.data_count) + usize::from(header.parity_count)
            && self.is_last == header.is_last_block
            && self.padding == usize::from(header.padding)
    }
}

impl Frame {
    /// Forgets everything but the memory.
    pub(super) fn clear(&mut self) {
        self.header = None;
        self.blocks.clear();
        self.present.clear();
        (self.parity_len, self.total, self.padding, self.done_count) = (0, None, 0, 0);
    }

    /// Whether all of it is there. That as many data shards are as it has says nothing while its
    /// blocks may be of the same ones.
    fn is_whole(&self) -> bool {
        self.total == Some(self.done_count) && self.end() == self.total
    }

    /// Where its blocks end, if each begins where the one before it ends.
    fn end(&self) -> Option<usize> {
        self.blocks.iter().try_fold(0, |end, block| {
            (block.shard_count > 0 && block.first == end).then_some(end + block.data_count)
        })
    }

    /// Bytes of memory that its shards have taken, and what is known of them.
    pub(super) fn capacity(&self) -> usize {
        let blocks = self.blocks.capacity() * size_of::<Block>();
        let present = self.present.capacity() * size_of::<u64>();
        self.data.capacity() + self.parity.capacity() + blocks + present
    }

    /// All of it, prefix too. Of what is not whole, something.
    pub(super) fn bytes(&self, bounds: &Bounds) -> &[u8] {
        let len = self.total.unwrap_or(0) * bounds.shard_len;
        self.data.get(..len.saturating_sub(self.padding)).unwrap_or_default()
    }

    /// Takes a shard of it.
    pub(super) fn take(
        &mut self,
        header: &ShardHeader,
        shard: &[u8],
        bounds: &Bounds,
        recovery: &mut Recovery,
    ) -> Result<Taken, Refusal> {
        if shard.len() != bounds.shard_len {
            return Err(Refusal::Contradiction);
        }
        if self.header.is_some_and(|known| known != header.frame) {
            return Err(Refusal::Contradiction);
        }
        self.begin_block(header, bounds)?;
        self.header = Some(header.frame);
        let number = usize::from(header.block);
        let block = &mut self.blocks[number];
        let index = usize::from(header.index);
        let (word, bit) = (block.present_start + index / 64, 1 << (index % 64));
        if block.is_done || self.present[word] & bit != 0 {
            return Err(Refusal::Needless);
        }
        self.present[word] |= bit;
        block.here_count += 1;
        let len = bounds.shard_len;
        let place = match index.checked_sub(block.data_count) {
            None => {
                block.data_here_count += 1;
                &mut self.data[(block.first + index) * len..][..len]
            }
            Some(index) => &mut self.parity[block.parity_start + index * len..][..len],
        };
        place.copy_from_slice(shard);
        let block = *block;
        if block.here_count < block.data_count {
            return Ok(Taken::default());
        }
        let recovered_count = block.data_count - block.data_here_count;
        if recovered_count > 0 {
            self.recover(&block, len, recovery);
        }
        self.blocks[number].is_done = true;
        self.done_count += block.data_count;
        Ok(Taken { recovered_count, is_whole: self.is_whole() })
    }

    /// Makes room for a block, unless it is known; then it must be as it was.
    fn begin_block(&mut self, header: &ShardHeader, bounds: &Bounds) -> Result<(), Refusal> {
        let number = usize::from(header.block);
        if let Some(block) = self.blocks.get(number).filter(|block| block.shard_count > 0) {
            return if block.agrees(header) { Ok(()) } else { Err(Refusal::Contradiction) };
        }
        let block = Block::of(header, self.present.len(), self.parity_len);
        let end = block.first.checked_add(block.data_count).ok_or(Refusal::TooLong)?;
        let parity_count = block.shard_count - block.data_count;
        let parity_end = self.parity_len + parity_count * bounds.shard_len;
        // Blocks have a data shard at least, so there are no more of them than of those.
        let is_too_long = end > bounds.data_max
            || number >= bounds.data_max
            || block.data_count > bounds.block_data_max
            || parity_count > bounds.block_data_max
            || parity_end > bounds.parity_len_max();
        if is_too_long {
            return Err(Refusal::TooLong);
        }
        let is_behind_the_end = self.total.is_some_and(|total| end > total);
        if is_behind_the_end || (block.is_last && self.total.is_some()) {
            return Err(Refusal::Contradiction);
        }
        if block.is_last {
            (self.total, self.padding) = (Some(end), block.padding);
        }
        if self.blocks.len() <= number {
            self.blocks.resize(number + 1, Block::default());
        }
        self.blocks[number] = block;
        self.present.resize(self.present.len() + block.shard_count.div_ceil(64), 0);
        self.parity_len = parity_end;
        grow(&mut self.data, end * bounds.shard_len, bounds.data_max * bounds.shard_len);
        grow(&mut self.parity, parity_end, bounds.parity_len_max());
        Ok(())
    }

    /// Recovers the data shards of a block that are not there.
    fn recover(&mut self, block: &Block, len: usize, recovery: &mut Recovery) {
        let code = Code::new(block.data_count, block.shard_count - block.data_count)
            .expect("a header is refused that says otherwise");
        let bits = &self.present[block.present_start..];
        let is_here = |index: usize| bits[index / 64] & 1 << (index % 64) != 0;
        let mut here = reuse(std::mem::take(&mut recovery.here));
        let mut lost = reuse(std::mem::take(&mut recovery.lost));
        let data = &mut self.data[block.first * len..][..block.data_count * len];
        for (index, shard) in data.chunks_exact_mut(len).enumerate() {
            if is_here(index) {
                here.push((index, &*shard));
            } else {
                lost.push((index, shard));
            }
        }
        let parity = self.parity[block.parity_start..].chunks_exact(len);
        let indices = block.data_count..block.shard_count;
        here.extend(indices.zip(parity).filter(|(index, _)| is_here(*index)));
        Fec::Gf16(code, &mut recovery.workspace).recover(&here, &mut lost);
        (recovery.here, recovery.lost) = (reuse(here), reuse(lost));
    }
}

/// What recovery works with, for all access units of a receiver.
pub(super) struct Recovery {
    workspace: Workspace,
    /// Empty between two calls: their memory is kept.
    here: Vec<(usize, &'static [u8])>,
    lost: Vec<(usize, &'static mut [u8])>,
}

impl Recovery {
    /// For blocks of so many data shards and as many parity shards at most.
    pub(super) fn new(block_data_max: usize) -> Recovery {
        let largest = Code::new(block_data_max, block_data_max).expect("within the limits");
        Recovery {
            workspace: Workspace::new(largest),
            here: Vec::with_capacity(2 * block_data_max),
            lost: Vec::with_capacity(block_data_max),
        }
    }
}

/// An empty list in the memory of another, which held things of the same shape: collecting in place
/// is what the standard library does with it.
fn reuse<T, U>(mut list: Vec<T>) -> Vec<U> {
    list.clear();
    list.into_iter().map(|_| unreachable!("it is empty")).collect()
}

/// Makes memory so long at least, of `len_max` at most: twice as long as it was, so that blocks that
/// come in turn do not each move those before them.
fn grow(memory: &mut Vec<u8>, len: usize, len_max: usize) {
    if memory.capacity() < len {
        let capacity = len.max(2 * memory.capacity()).min(len_max);
        memory.reserve_exact(capacity - memory.len());
    }
    if memory.len() < len {
        memory.resize(len, 0);
    }
}
