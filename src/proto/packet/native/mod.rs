//! The data plane of punktfunk/1: access units to sealed datagrams and back,
//! punktfunk-protocol(7).
//!
//! ```text
//!   access unit -> blocks of data shards -> parity -> headers -> seals      (packetize)
//!   datagram -> open -> replay window -> shard -> block -> access unit      (seal, reassemble)
//! ```
//!
//! A receiver authenticates first and parses second: everything but kind, phase and number of a
//! packet is inside its seal. What an authenticated host sends is held to the limits that were
//! agreed on all the same.

#![forbid(unsafe_code)]

pub mod audio;
pub mod delay;
mod frame;
pub mod header;
pub mod packetize;
pub mod parity;
pub mod path;
pub mod probe;
pub mod reassemble;
pub mod report;
pub mod seal;
pub mod window;
