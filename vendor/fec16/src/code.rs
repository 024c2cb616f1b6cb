//! A code: how many shards of which kind, and what computes it.

#![forbid(unsafe_code)]

use crate::error::Error;
use crate::kernels::{Backend, Kernel, SHARD_UNIT};

/// Elements of the field, and so places for shards.
pub(crate) const PLACES: usize = 65_536;

/// A code of k data and m parity shards. It holds numbers only: making one is free.
///
/// Data shards have the indices 0 to k - 1, parity shards k to k + m - 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Code {
    data_count: u32,
    parity_count: u32,
    kernel: Kernel,
}

impl Code {
    /// The code of so many shards: at least one of each kind, and the data shards together with the
    /// parity shards, these rounded up to a power of two, 65,536 at most.
    pub fn new(data_count: usize, parity_count: usize) -> Result<Code, Error> {
        let error = Error::Geometry { data_count, parity_count };
        let places = parity_count
            .checked_next_power_of_two()
            .and_then(|rounded| rounded.checked_add(data_count));
        if data_count == 0 || parity_count == 0 || places.is_none_or(|places| places > PLACES) {
            return Err(error);
        }
        Ok(Code {
            data_count: u32::try_from(data_count).map_err(|_| error)?,
            parity_count: u32::try_from(parity_count).map_err(|_| error)?,
            kernel: Kernel::best(),
        })
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
        self.data_count as usize
    }

    /// Parity shards of a block.
    pub fn parity_count(&self) -> usize {
        self.parity_count as usize
    }

    /// Data shards that are transformed together: the parity shards, rounded up to a power of two.
    pub fn chunk_count(&self) -> usize {
        1 << self.log()
    }

    /// The logarithm of `chunk_count`.
    pub(crate) fn log(&self) -> u32 {
        self.parity_count().next_power_of_two().ilog2()
    }

    /// Places of the parity and the data shards, rounded up to a power of two.
    pub(crate) fn place_count(&self) -> usize {
        (self.chunk_count() + self.data_count()).next_power_of_two()
    }

    pub(crate) fn kernel(&self) -> Kernel {
        self.kernel
    }
}

/// The length that all have, of which there is at least one.
pub(crate) fn common_len(mut lens: impl Iterator<Item = usize>) -> Result<usize, Error> {
    let expected = lens.next().unwrap_or(0);
    if expected == 0 || !expected.is_multiple_of(SHARD_UNIT) {
        return Err(Error::Len { expected: 0, found: expected });
    }
    match lens.find(|len| *len != expected) {
        Some(found) => Err(Error::Len { expected, found }),
        None => Ok(expected),
    }
}
