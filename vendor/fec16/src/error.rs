//! Why a call was refused.

#![forbid(unsafe_code)]

use std::fmt;

use crate::kernels::Backend;

/// Why a call was refused. Nothing was written then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// This machine cannot run the back end.
    Backend(Backend),
    /// There are more or fewer shards than the code has.
    Count {
        /// As many as the code has, or still takes.
        expected: usize,
        /// As many as were given.
        found: usize,
    },
    /// The shard was named before: received twice, to be recovered twice, or both.
    Duplicate(usize),
    /// No code has this many shards: one of each kind at least, and the data shards together with
    /// the parity shards, these rounded up to a power of two, 65,536 at most.
    Geometry {
        /// Data shards.
        data_count: usize,
        /// Parity shards.
        parity_count: usize,
    },
    /// No shard of the code has this index, or it is to be recovered and no data shard.
    Index(usize),
    /// The length of a shard is no positive multiple of 64, or not that of the first one.
    Len {
        /// Bytes of the first shard; 0 if it is the first one whose length is wrong.
        expected: usize,
        /// Bytes of this shard.
        found: usize,
    },
    /// The memory that was taken is for smaller codes or shorter shards.
    Memory,
    /// Fewer shards were received than the code has data shards.
    TooFew {
        /// As many as it takes.
        needed: usize,
        /// As many as were given.
        found: usize,
    },
    /// The shard was added and is not among those received.
    Withdrawn(usize),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Backend(backend) => write!(f, "no {backend} on this machine"),
            Error::Count { expected, found } => write!(f, "{found} shards instead of {expected}"),
            Error::Duplicate(index) => write!(f, "shard {index} twice"),
            Error::Geometry { data_count, parity_count } => {
                write!(f, "no code of {data_count} data and {parity_count} parity shards")
            }
            Error::Index(index) => write!(f, "shard {index} out of range"),
            Error::Len { expected: 0, found } => {
                write!(f, "shard of {found} bytes, no positive multiple of 64")
            }
            Error::Len { expected, found } => {
                write!(f, "shard of {found} bytes instead of {expected}")
            }
            Error::Memory => write!(f, "code or shards larger than the memory taken"),
            Error::TooFew { needed, found } => write!(f, "{found} shards of {needed} needed"),
            Error::Withdrawn(index) => write!(f, "shard {index} added and not received"),
        }
    }
}

impl std::error::Error for Error {}
