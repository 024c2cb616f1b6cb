//! A code: how many shards of which kind, and what the parity is made of.

#![forbid(unsafe_code)]

use crate::combine::{Combination, Start};
use crate::error::Error;
use crate::field::INVERSE;
use crate::kernels::{Backend, Kernel};

/// Data and parity shards of a code together, at most: GameStream numbers them in a byte, and the
/// points of the Cauchy matrix are different elements of the field.
pub(crate) const COUNT_MAX: usize = 255;

pub(crate) const AUDIO_DATA_COUNT: usize = 4;
pub(crate) const AUDIO_PARITY_COUNT: usize = 2;

/// The rows of GameStream audio, which follow no formula that GameStream has.
pub(crate) const AUDIO_ROWS: [[u8; AUDIO_DATA_COUNT]; AUDIO_PARITY_COUNT] =
    [[0x77, 0x40, 0x38, 0x0E], [0xC7, 0xA7, 0x0D, 0x6C]];

/// A code of k data and m parity shards. It holds numbers only, no tables: making one is free.
///
/// Data shards have the indices 0 to k - 1, parity shards k to k + m - 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Code {
    pub(crate) matrix: Matrix,
    data_count: u8,
    parity_count: u8,
    kernel: Kernel,
}

/// What the parity is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Matrix {
    /// [`AUDIO_ROWS`].
    Audio,
    /// 1 / ((m + i) xor j) in row j, column i.
    Cauchy,
}

/// Parity under way: the data shards of one block come one after the other.
#[derive(Clone, Debug)]
pub struct Protector {
    code: Code,
    /// Data shards that are in the parity.
    count: usize,
    /// Bytes of a shard, from the first on.
    len: Option<usize>,
}

impl Code {
    /// The code of GameStream video: row j, column i of its matrix is 1 / ((m + i) xor j).
    ///
    /// The matrix depends on m: the first two of three parity shards are not the two of two.
    pub fn video(data_count: usize, parity_count: usize) -> Result<Code, Error> {
        let error = Error::Geometry { data_count, parity_count };
        let is_code = data_count.checked_add(parity_count).is_some_and(|sum| sum <= COUNT_MAX);
        if !is_code || data_count == 0 || parity_count == 0 {
            return Err(error);
        }
        Ok(Code {
            matrix: Matrix::Cauchy,
            data_count: u8::try_from(data_count).map_err(|_| error)?,
            parity_count: u8::try_from(parity_count).map_err(|_| error)?,
            kernel: Kernel::best(),
        })
    }

    /// The code of GameStream audio: 4 data and 2 parity shards.
    pub fn audio() -> Code {
        Code {
            matrix: Matrix::Audio,
            data_count: AUDIO_DATA_COUNT as u8,
            parity_count: AUDIO_PARITY_COUNT as u8,
            kernel: Kernel::best(),
        }
    }

    /// The same code, computed by this back end.
    pub fn with_backend(self, backend: Backend) -> Result<Code, Error> {
        Ok(Code { kernel: Kernel::new(backend).ok_or(Error::Backend(backend))?, ..self })
    }

    /// What computes it.
    pub fn backend(&self) -> Backend {
        self.kernel.backend()
    }

    /// Data shards of a block.
    pub fn data_count(&self) -> usize {
        usize::from(self.data_count)
    }

    /// Parity shards of a block.
    pub fn parity_count(&self) -> usize {
        usize::from(self.parity_count)
    }

    /// Writes the parity shards of a block, whatever they held.
    pub fn protect<D, P>(&self, data: &[D], parity: &mut [P]) -> Result<(), Error>
    where
        D: AsRef<[u8]>,
        P: AsMut<[u8]>,
    {
        if data.len() != self.data_count() {
            return Err(Error::Count { expected: self.data_count(), found: data.len() });
        }
        self.protector().add(data, parity)
    }

    /// Begins the parity of a block whose data shards are still being made.
    pub fn protector(&self) -> Protector {
        Protector { code: *self, count: 0, len: None }
    }

    pub(crate) fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// What a parity shard takes a data shard times.
    pub(crate) fn coefficient(&self, parity: usize, data: usize) -> u8 {
        match self.matrix {
            Matrix::Audio => AUDIO_ROWS[parity][data],
            Matrix::Cauchy => INVERSE[(self.parity_count() + data) ^ parity],
        }
    }
}

impl Protector {
    /// Adds the next data shards to the parity, one or more.
    ///
    /// `parity` is all parity shards of the block, the same memory in every call. The first call
    /// writes them whatever they held; after the last data shard they are complete. A call costs
    /// one pass over the parity beside the work on the data, so a few shards at a time are cheaper
    /// than one.
    pub fn add<D, P>(&mut self, data: &[D], parity: &mut [P]) -> Result<(), Error>
    where
        D: AsRef<[u8]>,
        P: AsMut<[u8]>,
    {
        if data.len() > self.left() {
            return Err(Error::Count { expected: self.left(), found: data.len() });
        }
        if parity.len() != self.code.parity_count() {
            return Err(Error::Count { expected: self.code.parity_count(), found: parity.len() });
        }
        let data_lens = data.iter().map(|shard| shard.as_ref().len());
        let parity_lens = parity.iter_mut().map(|shard| shard.as_mut().len());
        let len = common_len(self.len.into_iter().chain(data_lens).chain(parity_lens))?;
        if data.is_empty() {
            return Ok(());
        }
        let (code, done) = (self.code, self.count);
        Combination {
            len,
            count: data.len(),
            source: |index: usize| data[index].as_ref(),
            coefficient: |row, index| code.coefficient(row, done + index),
        }
        .write(
            code.kernel,
            if done == 0 { Start::Zero } else { Start::Sums },
            parity,
            |shard| shard.as_mut(),
        );
        self.count += data.len();
        self.len = Some(len);
        Ok(())
    }

    /// Data shards that are still to come; at 0 the parity is complete.
    pub fn left(&self) -> usize {
        self.code.data_count() - self.count
    }
}

/// The length that all have, of which there is at least one.
pub(crate) fn common_len(mut lens: impl Iterator<Item = usize>) -> Result<usize, Error> {
    let expected = lens.next().filter(|len| *len > 0).ok_or(Error::Empty)?;
    match lens.find(|len| *len != expected) {
        Some(found) => Err(Error::Len { expected, found }),
        None => Ok(expected),
    }
}
