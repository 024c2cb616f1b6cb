//! The data planes: access units to datagrams, sound to datagrams, and when each of them leaves.
//! That of punktfunk/1 is in [`native`], what is beside it here is GameStream's.
//!
//! An access unit is cut into blocks of data shards, each block gets its parity shards, every shard
//! its header, and where the session is encrypted every packet is sealed. All of that happens in one
//! piece of memory, in which the datagrams of a block lie one behind the other as they are sent.

#![forbid(unsafe_code)]

mod fec;
pub mod native;
pub mod pace;
mod seal;
pub mod sound;
mod split;
pub mod stats;
pub mod video;

use std::fmt;

/// Why something cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// An access unit of more shards than their numbers can tell apart, or a packet of sound that
    /// clients have no room for.
    TooLong,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::TooLong => "more bytes than the protocol carries",
        })
    }
}

impl std::error::Error for Error {}
