//! Reed-Solomon erasure code over GF(2^8), as Moonlight decodes it.
//!
//! k data shards of one length are protected by m parity shards of that length; from any k of the
//! k + m the lost data shards are recovered. k + m is at most 255. Shards are slices wherever the
//! caller has them, of any length from 1 and at any alignment; results are written in place, and
//! nothing is allocated.
//!
//! ```
//! let code = fec8::Code::video(3, 2)?;
//! let data = [b"one..", b"two..", b"three"];
//! let mut parity = [[0; 5]; 2];
//! code.protect(&data, &mut parity)?;
//!
//! // Shards 0 and 2 are lost. Parity shards are numbered behind the data shards.
//! let received = [(1, data[1]), (3, &parity[0]), (4, &parity[1])];
//! let mut lost = [(0, [0; 5]), (2, [0; 5])];
//! code.recover(&received, &mut lost)?;
//! assert_eq!(lost, [(0, *b"one.."), (2, *b"three")]);
//! # Ok::<(), fec8::Error>(())
//! ```
//!
//! # The code
//!
//! Every byte position of the shards is a small system of linear equations of its own over the
//! field of 256 elements (`field`): parity byte j is the sum over i of M\[j\]\[i\] times data byte i.
//! With M under the k x k identity, each shard is one row of a (k + m) x k matrix times the data.
//! Any k shards give the data back if any k of those rows are independent, and they are exactly
//! when every square part of M is invertible: take the rows of some data shards and of e parity
//! shards, strike out the data shards that are there, and what is left is the square part of M in
//! which those e rows meet the e columns of the lost data shards.
//!
//! The matrices of [`Code`] have that property; `solve` shows why and inverts their parts.
//!
//! # What an erasure code does not see
//!
//! Wrong *arguments* are refused with an [`Error`]. Wrong *content* cannot be noticed: a damaged
//! shard among those received gives damaged data without a word. Who cannot trust the shards
//! authenticates them first.
//!
//! # Speed
//!
//! The sums are taken by the best [`Backend`] that the processor has, which is asked at run time.
//! A back end takes several sums in one pass over the data, and data and sums are taken in tiles
//! that stay in the cache. All tables together take less than 8 KiB and are constants.

mod code;
mod combine;
mod error;
mod field;
mod kernels;
mod recover;
mod solve;

pub use code::{Code, Protector};
pub use error::Error;
pub use kernels::Backend;
