//! The library for C and whatever speaks it: include/punktfunk_core.h, punktfunk_core(3).
//!
//! The header is made of [`exports`], what it names, and the text in front of it. Sessions are values
//! behind handles; everything here but [`exports`] and [`memory`] is ordinary Rust that sees slices
//! and structs.
//!
//! ```text
//!   C -> exports (panics, pointers) -> table (handles, locks) -> host, client, link
//! ```

mod client;
pub mod exports;
mod host;
mod link;
mod memory;
mod session;
mod status;
mod structs;
mod table;

pub use status::Status;
pub use structs::{Address, Config, Event, Keys, LinkOptions, PathState, Sound, Unit};
pub use structs::{Probe, ProbeReport, ProbeSent};
