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
    /// Shards are at least one byte long.
    Empty,
    /// No code has this many shards: one of each kind at least, and 255 together at most.
    Geometry {
        /// Data shards.
        data_count: usize,
        /// Parity shards.
        parity_count: usize,
    },
    /// No shard of the code has this index, or it is to be recovered and no data shard.
    Index(usize),
    /// A shard is not as long as the first one.
    Len {
        /// Bytes of the first shard.
        expected: usize,
        /// Bytes of this shard.
        found: usize,
    },
    /// Fewer shards were received than the code has data shards.
    TooFew {
        /// As many as it takes.
        needed: usize,
        /// As many as were given.
        found: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Backend(backend) => write!(f, "no {backend} on this machine"),
            Error::Count { expected, found } => write!(f, "{found} shards instead of {expected}"),
            Error::Duplicate(index) => write!(f, "shard {index} twice"),
            Error::Empty => write!(f, "shard of no bytes"),
            Error::Geometry { data_count, parity_count } => {
                write!(f, "no code of {data_count} data and {parity_count} parity shards")
            }
            Error::Index(index) => write!(f, "shard {index} out of range"),
            Error::Len { expected, found } => {
                write!(f, "shard of {found} bytes instead of {expected}")
            }
            Error::TooFew { needed, found } => write!(f, "{found} shards of {needed} needed"),
        }
    }
}

impl std::error::Error for Error {}
