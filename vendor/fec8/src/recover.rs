//! Lost data shards from the shards that arrived.

#![forbid(unsafe_code)]

use crate::code::{COUNT_MAX, Code, common_len};
use crate::combine::{Combination, Start};
use crate::error::Error;
use crate::solve::{Problem, Solution};

impl Code {
    /// Writes lost data shards, whatever their memory held.
    ///
    /// Both lists give each shard with its index in the block, in any order; parity shards are
    /// behind the data shards. `received` is all data shards that arrived and at least as many
    /// parity shards as data shards are missing, of which the first are used. `lost` names the
    /// missing data shards that are wanted, which need not be all.
    ///
    /// Costs one multiplication per byte for each pair of a wanted shard and a data shard of the
    /// block.
    pub fn recover<R, L>(
        &self,
        received: &[(usize, R)],
        lost: &mut [(usize, L)],
    ) -> Result<(), Error>
    where
        R: AsRef<[u8]>,
        L: AsMut<[u8]>,
    {
        let survey = self.survey(received, lost)?;
        if lost.is_empty() {
            return Ok(());
        }
        let mut wanted = [0; COUNT_MAX];
        for (place, (index, _)) in wanted.iter_mut().zip(lost.iter()) {
            *place = *index as u8; // below k
        }
        let count = survey.missing_count;
        let problem = Problem {
            missing: &survey.missing[..count],
            parity: &survey.parity[..count],
            at_hand: &survey.at_hand[..self.data_count()],
            wanted: &wanted[..lost.len()],
        };
        let solution = Solution::new(self, &problem);
        Combination {
            len: survey.len,
            count: self.data_count(),
            source: |number: usize| received[usize::from(survey.places[number])].1.as_ref(),
            coefficient: |row: usize, number: usize| solution.coefficient(row, number),
        }
        .write(self.kernel(), Start::Zero, lost, |(_, shard)| shard.as_mut());
        Ok(())
    }

    /// Checks the arguments of `recover` and chooses what is used of them.
    fn survey<R, L>(
        &self,
        received: &[(usize, R)],
        lost: &mut [(usize, L)],
    ) -> Result<Survey, Error>
    where
        R: AsRef<[u8]>,
        L: AsMut<[u8]>,
    {
        let mut seen = [false; COUNT_MAX];
        self.mark(&mut seen, self.data_count() + self.parity_count(), received)?;
        let mut survey = Survey::new(&seen[..self.data_count()]);
        self.mark(&mut seen, self.data_count(), lost)?;
        let found = received.len();
        if found < self.data_count() {
            return Err(Error::TooFew { needed: self.data_count(), found });
        }
        let received_lens = received.iter().map(|(_, shard)| shard.as_ref().len());
        let lost_lens = lost.iter_mut().map(|(_, shard)| shard.as_mut().len());
        survey.len = common_len(received_lens.chain(lost_lens))?;
        survey.choose(self.data_count(), received.iter().map(|(index, _)| *index));
        Ok(survey)
    }

    /// Marks the indices of a list, all of which have to be below the end and new.
    fn mark<T>(
        &self,
        seen: &mut [bool; COUNT_MAX],
        end: usize,
        list: &[(usize, T)],
    ) -> Result<(), Error> {
        for (index, _) in list {
            let seen = seen[..end].get_mut(*index).ok_or(Error::Index(*index))?;
            if std::mem::replace(seen, true) {
                return Err(Error::Duplicate(*index));
            }
        }
        Ok(())
    }
}

/// What there is to recover from.
struct Survey {
    /// Bytes of every shard.
    len: usize,
    /// Data shards that did not arrive, ascending.
    missing: [u8; COUNT_MAX],
    missing_count: usize,
    /// Parity shards that are used, by their index in the block; as many as are missing.
    parity: [u8; COUNT_MAX],
    /// The k shards that are used, by their index in the block.
    at_hand: [u8; COUNT_MAX],
    /// Where those stand in the list of those received.
    places: [u8; COUNT_MAX],
}

impl Survey {
    /// Of a block in which these data shards arrived.
    fn new(data: &[bool]) -> Survey {
        let (mut missing, mut missing_count) = ([0; COUNT_MAX], 0);
        for index in (0..=u8::MAX).zip(data).filter(|(_, seen)| !**seen).map(|(index, _)| index) {
            missing[missing_count] = index;
            missing_count += 1;
        }
        Survey {
            len: 0,
            missing,
            missing_count,
            parity: [0; COUNT_MAX],
            at_hand: [0; COUNT_MAX],
            places: [0; COUNT_MAX],
        }
    }

    /// Uses all data shards and the first parity shards, k together.
    fn choose(&mut self, data_count: usize, received: impl Iterator<Item = usize>) {
        let (mut count, mut parity_count) = (0, 0);
        for (place, index) in (0..=u8::MAX).zip(received) {
            let shard = index as u8; // below k + m
            if index >= data_count {
                if parity_count == self.missing_count {
                    continue;
                }
                self.parity[parity_count] = shard;
                parity_count += 1;
            }
            self.at_hand[count] = shard;
            self.places[count] = place;
            count += 1;
        }
    }
}
