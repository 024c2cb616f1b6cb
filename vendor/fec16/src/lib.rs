//! Reed-Solomon erasure code over GF(2^16) by additive FFT, with the parity of Leopard.
//!
//! k data shards of one length are protected by m parity shards of that length; from any k of the
//! k + m the lost data shards are recovered. Thousands of shards are no problem: the work grows with
//! n log n. k and m, rounded up to a power of two, are 65,536 together at most. Shards are slices
//! wherever the caller has them, at any alignment, of any positive multiple of 64 bytes; they are
//! read and written in place. Memory is taken when a [`Workspace`] is made, and never after.
//!
//! ```
//! use fec16::{Code, Workspace};
//!
//! let code = Code::new(3, 2)?;
//! let mut workspace = Workspace::new(code);
//! let data = [[1; 64], [2; 64], [3; 64]];
//! let mut parity = [[0; 64]; 2];
//! code.protect(&mut workspace, &data, &mut parity)?;
//!
//! // Shards 0 and 2 are lost. Parity shards are numbered behind the data shards.
//! let received = [(1, data[1]), (3, parity[0]), (4, parity[1])];
//! let mut lost = [(0, [0; 64]), (2, [0; 64])];
//! code.recover(&mut workspace, &received, &mut lost)?;
//! assert_eq!(lost, [(0, data[0]), (2, data[2])]);
//! # Ok::<(), fec16::Error>(())
//! ```
//!
//! [`Protector`] and [`Recoverer`] do the same while the shards are still coming.
//!
//! # The code
//!
//! A shard is a row of words of 16 bits, and all words at one position are a code of their own: the
//! values of a polynomial over the field of 65,536 elements, one at each of as many places. `field`
//! says which field and what a word of it is, `transform` how values become coefficients and what
//! the parity is, `recover` how lost values come back.
//!
//! On the wire 64 bytes of a shard are 32 words, first their lower bytes, then their upper bytes.
//! The parity is bit for bit that of Leopard's FF16 at its high rate, and so that of
//! reed-solomon-simd's `HighRateEncoder`, to which the tests hold it.
//!
//! # What an erasure code does not see
//!
//! Wrong *arguments* are refused with an [`Error`]. Wrong *content* cannot be noticed: a damaged
//! shard among those received gives damaged data without a word. Who cannot trust the shards
//! authenticates them first.
//!
//! # Speed
//!
//! The best [`Backend`] that the processor has computes, which is asked at run time. Blocks of up to
//! a thousand shards stay in the caches of a core and are the fastest. Tables take [`TABLES_LEN`]
//! bytes; 256 KiB of them are made by the first [`Workspace`] of the process, in a fraction of a
//! millisecond. `benches/fec16.rs` measures all of it.

mod code;
mod error;
mod field;
mod incremental;
mod kernels;
mod locator;
mod maps;
mod plan;
mod protect;
mod recover;
mod survey;
mod transform;
mod workspace;

pub use code::Code;
pub use error::Error;
pub use incremental::{Protector, Recoverer};
pub use kernels::Backend;
pub use maps::TABLES_LEN;
pub use plan::Method;
pub use workspace::Workspace;
