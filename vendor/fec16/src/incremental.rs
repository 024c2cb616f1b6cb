//! Parity and recovery while the data shards are still coming.
//!
//! The parity is the transform of a sum, to which each chunk of data shards (`Code::chunk_count`)
//! contributes its own inverse transform (`transform`). So does recovery begin. The contribution
//! can be added as soon as the chunk is there, and when the last one is there, most of the work is
//! done.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::code::{Code, common_len};
use crate::error::Error;
use crate::plan::Plan;
use crate::recover::Work;
use crate::transform::Transform;
use crate::workspace::{ALIGNMENT, Workspace, tile};

/// Parity under way: the data shards of one block come one after the other.
pub struct Protector {
    sums: Sums,
    /// Data shards that are in the parity.
    count: usize,
}

/// Recovery under way: data shards are worked on as they arrive.
pub struct Recoverer {
    sums: Sums,
    /// Which data shards have been added.
    added: Vec<bool>,
}

/// The sum of the inverse transforms of the chunks so far, tile by tile.
struct Sums {
    workspace: Workspace,
    code: Code,
    /// Bytes of a shard.
    len: usize,
    len_max: usize,
    bytes: Vec<u8>,
    /// Where they are aligned.
    start: usize,
}

impl Protector {
    /// Takes the memory for blocks of this code, and of all that have no more shards of either
    /// kind, with shards of `len_max` bytes and shorter. It begins a block of this code and length.
    pub fn new(largest: Code, len_max: usize) -> Result<Protector, Error> {
        Ok(Protector { sums: Sums::new(largest, len_max)?, count: 0 })
    }

    /// Begins another block, whatever came of the last one.
    pub fn begin(&mut self, code: Code, len: usize) -> Result<(), Error> {
        self.sums.begin(code, len)?;
        self.count = 0;
        Ok(())
    }

    /// Adds the next data shards. The call costs least, for each shard, when it brings whole chunks
    /// or what is left of one.
    pub fn add<D: AsRef<[u8]>>(&mut self, data: &[D]) -> Result<(), Error> {
        if data.len() > self.left() {
            return Err(Error::Count { expected: self.left(), found: data.len() });
        }
        self.sums.add(self.count, data)?;
        self.count += data.len();
        Ok(())
    }

    /// Data shards that are still to come.
    pub fn left(&self) -> usize {
        self.sums.code.data_count() - self.count
    }

    /// Writes the parity shards when all data shards have been added.
    pub fn finish<P: AsMut<[u8]>>(&mut self, parity: &mut [P]) -> Result<(), Error> {
        let (code, len) = (self.sums.code, self.sums.len);
        if self.left() > 0 {
            return Err(Error::TooFew { needed: code.data_count(), found: self.count });
        }
        if parity.len() != code.parity_count() {
            return Err(Error::Count { expected: code.parity_count(), found: parity.len() });
        }
        let lens = parity.iter_mut().map(|shard| shard.as_mut().len());
        common_len(std::iter::once(len).chain(lens))?;
        for (index, range) in tiles(code.log(), len) {
            let transform = self.sums.transform(&range);
            // The transform works in place; a copy leaves the sums for another call.
            let (rows, _) = self.sums.workspace.rows(transform.len(code.log()));
            rows.copy_from_slice(part(&self.sums.bytes, self.sums.start, transform, code, index));
            transform.store(rows, code.log(), &range, parity);
        }
        Ok(())
    }
}

impl Recoverer {
    /// Takes the memory for blocks of this code, and of all that have no more shards of either
    /// kind, with shards of `len_max` bytes and shorter. It begins a block of this code and length.
    pub fn new(largest: Code, len_max: usize) -> Result<Recoverer, Error> {
        Ok(Recoverer {
            sums: Sums::new(largest, len_max)?,
            added: vec![false; largest.data_count()],
        })
    }

    /// Begins another block, whatever came of the last one.
    pub fn begin(&mut self, code: Code, len: usize) -> Result<(), Error> {
        self.sums.begin(code, len)?;
        self.added.fill(false);
        Ok(())
    }

    /// Adds data shards that arrived and follow each other, from index `first` on. The call costs
    /// least, for each shard, when they are a whole chunk. Shards need not be added before
    /// `finish`.
    pub fn add<D: AsRef<[u8]>>(&mut self, first: usize, data: &[D]) -> Result<(), Error> {
        let end = first.checked_add(data.len()).ok_or(Error::Index(first))?;
        if end > self.sums.code.data_count() {
            return Err(Error::Index(end - 1));
        }
        if let Some(index) = (first..end).find(|index| self.added[*index]) {
            return Err(Error::Duplicate(index));
        }
        self.sums.add(first, data)?;
        self.added[first..end].fill(true);
        Ok(())
    }

    /// Writes lost data shards as `Code::recover` does. `received` is all shards that arrived,
    /// those that were added too. Nothing can be added behind this call.
    pub fn finish<R, L>(
        &mut self,
        received: &[(usize, R)],
        lost: &mut [(usize, L)],
    ) -> Result<(), Error>
    where
        R: AsRef<[u8]>,
        L: AsMut<[u8]>,
    {
        let Sums { workspace, code, len, .. } = &mut self.sums;
        let (code, len) = (*code, *len);
        workspace.survey.list(&code, received, lost)?;
        let received_lens = received.iter().map(|(_, shard)| shard.as_ref().len());
        let lost_lens = lost.iter_mut().map(|(_, shard)| shard.as_mut().len());
        common_len(std::iter::once(len).chain(received_lens).chain(lost_lens))?;
        let added = &self.added[..code.data_count()];
        if let Some(index) = (0..added.len()).find(|i| added[*i] && !workspace.survey.is_here(*i)) {
            return Err(Error::Withdrawn(index));
        }
        if lost.is_empty() {
            return Ok(());
        }
        let plan = Plan::whole(&code, &mut workspace.survey);
        workspace.locate(&code);
        for (index, range) in tiles(code.log(), len) {
            let transform = self.sums.transform(&range);
            let size = transform.len(code.log());
            let (survey, (sums, rows), factors) = self.sums.workspace.parts();
            let (sums, rows) = (&mut sums[..size], &mut rows[..size]);
            sums.copy_from_slice(part(&self.sums.bytes, self.sums.start, transform, code, index));
            let work = Work { code: &code, survey, plan, received, len, factors, added };
            work.fold_data(transform, sums, rows, &range);
            work.finish(transform, sums, rows, &range, lost);
        }
        Ok(())
    }
}

impl Sums {
    fn new(largest: Code, len_max: usize) -> Result<Sums, Error> {
        common_len(std::iter::once(len_max))?;
        let workspace = Workspace::new(largest);
        let len = (0..=largest.log())
            .map(|log| {
                let row = Transform::new(&largest, workspace.logarithms, tile(log), len_max);
                row.len(log) * len_max.div_ceil(tile(log))
            })
            .max()
            .unwrap_or(0);
        let bytes = vec![0; len + ALIGNMENT];
        let start = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Ok(Sums { workspace, code: largest, len: len_max, len_max, bytes, start })
    }

    fn begin(&mut self, code: Code, len: usize) -> Result<(), Error> {
        common_len(std::iter::once(len))?;
        let log = code.log();
        let size = Transform::new(&code, self.workspace.logarithms, tile(log), len).len(log)
            * len.div_ceil(tile(log));
        if !self.workspace.suits(&code) || len > self.len_max {
            return Err(Error::Memory);
        }
        (self.code, self.len) = (code, len);
        self.bytes[self.start..][..size].fill(0);
        Ok(())
    }

    fn transform(&self, range: &Range<usize>) -> Transform {
        Transform::new(&self.code, self.workspace.logarithms, range.len(), self.len)
    }

    /// Adds what these data shards contribute.
    fn add<D: AsRef<[u8]>>(&mut self, first: usize, data: &[D]) -> Result<(), Error> {
        let lens = data.iter().map(|shard| shard.as_ref().len());
        common_len(std::iter::once(self.len).chain(lens))?;
        let (log, chunk) = (self.code.log(), self.code.chunk_count());
        let present = chunk + first..chunk + first + data.len();
        for (index, range) in tiles(log, self.len) {
            let transform = self.transform(&range);
            let (rows, _) = self.workspace.rows(transform.len(log));
            let start = self.start + index * full_len(transform, self.code);
            let sums = &mut self.bytes[start..][..transform.len(log)];
            let shard = |place: usize| match place.checked_sub(present.start) {
                Some(at) if at < data.len() => &data[at].as_ref()[range.clone()],
                _ => &[],
            };
            for place in (present.start >> log << log..present.end).step_by(chunk) {
                transform.fold(rows, sums, log, place, &present, None, &shard);
            }
        }
        Ok(())
    }
}

/// The tiles of a shard, numbered.
fn tiles(log: u32, len: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let tile = tile(log);
    (0..len).step_by(tile).enumerate().map(move |(at, start)| (at, start..len.min(start + tile)))
}

/// Bytes of the sums of a tile that is no shorter than the others.
fn full_len(transform: Transform, code: Code) -> usize {
    transform.with_row(tile(code.log())).len(code.log())
}

/// The sums of a tile.
fn part(bytes: &[u8], start: usize, transform: Transform, code: Code, index: usize) -> &[u8] {
    &bytes[start + index * full_len(transform, code)..][..transform.len(code.log())]
}
