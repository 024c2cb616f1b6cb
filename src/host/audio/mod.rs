//! Sound: where it comes from, and how it is encoded.

#![forbid(unsafe_code)]

pub mod opus;
pub mod supply;
