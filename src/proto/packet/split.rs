//! How the data shards of an access unit are divided into blocks, and how much parity each gets.
//!
//! The numbers travel in the headers of packets: four blocks, ten bits for the data shards of one,
//! eight for the percentage, from which the client computes how many parity shards there are.

#![forbid(unsafe_code)]

use crate::proto::packet::Error;
use crate::proto::packet::video::Parity;

/// Blocks of an access unit, at most.
pub(super) const BLOCK_COUNT_MAX: usize = 4;
/// Data shards of a block without parity, at most.
pub(super) const DATA_COUNT_MAX: usize = 1023;
/// Data and parity shards of a block with parity, at most.
pub(super) const SHARD_COUNT_MAX: usize = 255;
/// The largest minimum that can be kept: three parity shards for one of data are 300 %.
const PARITY_COUNT_MIN_MAX: usize = 2;

/// How much parity a client is to get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// 1 to 100.
    percent: usize,
    /// Of every block.
    parity_count_min: usize,
}

impl Rule {
    /// A minimum above 2 counts as 2.
    ///
    /// # Panics
    ///
    /// If `percent` is not within 1 to 100.
    pub(super) fn new(percent: u8, parity_count_min: u8) -> Rule {
        assert!((1..=100).contains(&percent), "{percent} % of parity");
        Rule {
            percent: percent.into(),
            parity_count_min: PARITY_COUNT_MIN_MAX.min(parity_count_min.into()),
        }
    }

    /// Divides an access unit of so many data shards, at least one.
    pub(super) fn split(&self, data_count: usize) -> Result<Split, Error> {
        let block_len_max = SHARD_COUNT_MAX * 100 / (100 + self.percent);
        let block_count = data_count.div_ceil(block_len_max);
        if block_count <= BLOCK_COUNT_MAX {
            return Ok(Split::new(*self, data_count, block_count, Parity::AsConfigured));
        }
        let block_len = data_count.div_ceil(BLOCK_COUNT_MAX);
        if block_len > DATA_COUNT_MAX {
            return Err(Error::TooLong);
        }
        // The largest whole number for which the parity fits: ceil(k * p / 100) <= 255 - k.
        let percent = SHARD_COUNT_MAX.saturating_sub(block_len) * 100 / block_len;
        let rule = Rule { percent, ..*self };
        let parity = match percent {
            0 => Parity::None,
            percent => Parity::Lowered(percent as u8), // below the 100 that may be configured
        };
        Ok(Split::new(rule, data_count, BLOCK_COUNT_MAX, parity))
    }
}

/// One access unit, divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    /// As it is for this access unit; 0 % is no parity at all.
    rule: Rule,
    data_count: usize,
    /// Data shards of every block but the last, which has the rest.
    block_len: usize,
    pub(super) block_count: usize,
    pub(super) parity: Parity,
}

/// One block of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Block {
    /// The first data shard, counted from the beginning of the access unit.
    pub(super) first: usize,
    /// Where the block's first shard is among all that are sent of the access unit.
    pub(super) position: usize,
    pub(super) data_count: usize,
    pub(super) parity_count: usize,
    /// What the client is told: ceil(k * p / 100) is the number of parity shards.
    pub(super) percent: u8,
}

impl Block {
    pub(super) fn shard_count(&self) -> usize {
        self.data_count + self.parity_count
    }
}

impl Split {
    fn new(rule: Rule, data_count: usize, block_count: usize, parity: Parity) -> Split {
        let block_len = data_count.div_ceil(block_count);
        Split { rule, data_count, block_len, block_count, parity }
    }

    /// The block of an index below the count.
    pub(super) fn block(&self, index: usize) -> Block {
        debug_assert!(index < self.block_count);
        let first = index * self.block_len;
        let data_count = self.block_len.min(self.data_count - first);
        let (parity_count, percent) = self.rule.parity(data_count);
        // Every block before this one is a full one.
        let position = index * (self.block_len + self.rule.parity(self.block_len).0);
        Block { first, position, data_count, parity_count, percent }
    }

    /// Data and parity shards of all blocks.
    pub(super) fn shard_count(&self) -> usize {
        let last = self.block(self.block_count - 1);
        last.position + last.shard_count()
    }

    /// Parity shards of all blocks.
    pub(super) fn parity_count(&self) -> usize {
        self.shard_count() - self.data_count
    }
}

impl Rule {
    /// Parity shards of a block of so many data shards, and the percentage that gives them.
    fn parity(&self, data_count: usize) -> (usize, u8) {
        if self.percent == 0 {
            return (0, 0);
        }
        let count = (data_count * self.percent).div_ceil(100);
        if count >= self.parity_count_min {
            return (count, self.percent as u8); // at most 100
        }
        let count = self.parity_count_min;
        (count, (100 * count / data_count) as u8) // at most 200, as the minimum is at most 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_units_are_divided_evenly() {
        use Parity::{AsConfigured, Lowered, None};
        // Data shards, percentage, minimum; data and parity shards and percentage of the blocks.
        type Shape = (usize, usize, u8);
        let cases: &[(usize, u8, u8, Parity, &[Shape])] = &[
            (1, 20, 0, AsConfigured, &[(1, 1, 20)]),
            (1, 20, 1, AsConfigured, &[(1, 1, 20)]),
            (1, 20, 2, AsConfigured, &[(1, 2, 200)]),
            (1, 20, 255, AsConfigured, &[(1, 2, 200)]),
            (3, 20, 2, AsConfigured, &[(3, 2, 66)]),
            (10, 20, 2, AsConfigured, &[(10, 2, 20)]),
            (212, 20, 2, AsConfigured, &[(212, 43, 20)]),
            (213, 20, 2, AsConfigured, &[(107, 22, 20), (106, 22, 20)]),
            (848, 20, 2, AsConfigured, &[(212, 43, 20); 4]),
            (
                849,
                20,
                2,
                Lowered(19),
                &[(213, 41, 19), (213, 41, 19), (213, 41, 19), (210, 40, 19)],
            ),
            (127, 100, 0, AsConfigured, &[(127, 127, 100)]),
            (
                509,
                100,
                0,
                Lowered(99),
                &[(128, 127, 99), (128, 127, 99), (128, 127, 99), (125, 124, 99)],
            ),
            (1008, 20, 2, Lowered(1), &[(252, 3, 1); 4]),
            (1008, 1, 2, AsConfigured, &[(252, 3, 1); 4]),
            (1009, 20, 2, None, &[(253, 0, 0), (253, 0, 0), (253, 0, 0), (250, 0, 0)]),
            (4092, 1, 2, None, &[(1023, 0, 0); 4]),
        ];
        for &(data_count, percent, minimum, parity, expected) in cases {
            let split = Rule::new(percent, minimum).split(data_count).unwrap();

            let blocks = (0..split.block_count).map(|index| split.block(index));
            let shapes: Vec<Shape> =
                blocks.map(|it| (it.data_count, it.parity_count, it.percent)).collect();
            assert_eq!((split.parity, &shapes[..]), (parity, expected), "{data_count} {percent}");
        }
        assert_eq!(Rule::new(20, 2).split(4093).unwrap_err(), Error::TooLong);
    }

    #[test]
    fn clients_compute_the_parity_that_there_is() {
        for (percent, minimum) in (1..=100).flat_map(|percent| [(percent, 0), (percent, 2)]) {
            let rule = Rule::new(percent, minimum);
            for data_count in 1..=BLOCK_COUNT_MAX * DATA_COUNT_MAX {
                let split = rule.split(data_count).unwrap();
                let (mut first, mut position) = (0, 0);
                for block in (0..split.block_count).map(|index| split.block(index)) {
                    let computed = (block.data_count * usize::from(block.percent)).div_ceil(100);
                    let count_max = if block.percent == 0 { 1023 } else { 255 };

                    assert_eq!(computed, block.parity_count, "{percent} {minimum} {data_count}");
                    assert_eq!((first, position), (block.first, block.position));
                    assert!(block.data_count > 0 && block.shard_count() <= count_max);
                    first += block.data_count;
                    position += block.shard_count();
                }
                assert_eq!((first, position), (data_count, split.shard_count()));
            }
        }
    }

    #[test]
    fn parity_is_lowered_no_more_than_it_must_be() {
        for data_count in 849..=1008 {
            let split = Rule::new(20, 2).split(data_count).unwrap();
            let Parity::Lowered(percent) = split.parity else { panic!("{data_count}") };
            let block_len = data_count.div_ceil(4);

            let more = (block_len * (usize::from(percent) + 1)).div_ceil(100);
            assert!(percent < 20 && block_len + more > 255, "{data_count} {percent}");
        }
    }
}
