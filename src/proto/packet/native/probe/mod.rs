//! The speed test: what is in its packets, and what comes of it.
//!
//! The host sends packets of filler at a rate for a while, and both ends count.

#![forbid(unsafe_code)]

mod receive;
mod send;

use std::ops::Range;
use std::time::Duration;

pub use receive::ProbeReceiver;
pub use send::ProbeSender;

use super::header::{Error, PACKET_HEADER_LEN, TAG_LEN};
use crate::proto::units::Kbps;

/// The highest rate of a test.
pub const RATE_MAX: Kbps = Kbps(3_000_000);
/// The longest test.
pub const DURATION_MAX: Duration = Duration::from_secs(10);
/// Bytes in front of the filler.
pub const PROBE_HEADER_LEN: usize = 16;
/// Bytes of the shortest datagram, without filler.
pub const PROBE_DATAGRAM_LEN_MIN: usize = PACKET_HEADER_LEN + PROBE_HEADER_LEN + TAG_LEN;

mod field {
    use super::Range;

    pub(super) const TEST: Range<usize> = 0..4;
    pub(super) const INDEX: Range<usize> = 4..8;
    pub(super) const SENT: Range<usize> = 8..16;
}

/// In front of the filler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeHeader {
    /// Which test of the session it is.
    pub test: u32,
    /// Which packet of the test it is, counted from 0.
    pub index: u32,
    /// When it was made by the host's clock, in microseconds.
    pub sent_us: u64,
}

impl ProbeHeader {
    /// Reads the first [`PROBE_HEADER_LEN`] bytes; the rest is filler, whatever it is.
    pub fn parse(bytes: &[u8]) -> Result<ProbeHeader, Error> {
        let header: &[u8; PROBE_HEADER_LEN] = bytes.first_chunk().ok_or(Error::TooShort)?;
        let [a, b, c, d, e, f, g, h, sent @ ..] = *header;
        Ok(ProbeHeader {
            test: u32::from_be_bytes([a, b, c, d]),
            index: u32::from_be_bytes([e, f, g, h]),
            sent_us: u64::from_be_bytes(sent),
        })
    }

    /// Its bytes.
    pub fn emit(&self) -> [u8; PROBE_HEADER_LEN] {
        let mut bytes = [0; PROBE_HEADER_LEN];
        bytes[field::TEST].copy_from_slice(&self.test.to_be_bytes());
        bytes[field::INDEX].copy_from_slice(&self.index.to_be_bytes());
        bytes[field::SENT].copy_from_slice(&self.sent_us.to_be_bytes());
        bytes
    }
}

/// What the host has sent of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Which test of the session it is.
    pub test: u32,
    /// The rate that it was to have, which is within [`RATE_MAX`].
    pub target: Kbps,
    /// Datagrams that were made, those among them that the socket did not take.
    pub datagrams: u64,
    /// Datagrams that the socket did not take.
    pub send_dropped: u64,
    /// Bytes of a datagram.
    pub datagram_len: u16,
    /// From the first to the end.
    pub duration: Duration,
}

impl Sent {
    /// What left the host.
    pub fn rate(&self) -> Kbps {
        let datagrams = self.datagrams.saturating_sub(self.send_dropped);
        Kbps::of(datagrams * u64::from(self.datagram_len), self.duration)
    }
}

/// What a test says of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which test of the session it is.
    pub test: u32,
    /// Datagrams that came.
    pub received: u64,
    /// Datagrams that the way lost: what the socket did not take is none of them.
    pub lost: u64,
    /// Datagrams that the host's socket did not take; 0 while the host has not said so.
    pub send_dropped: u64,
    /// What came, from the first to the last.
    pub achieved: Kbps,
    /// How much longer the slowest took than the quickest, in microseconds: what was in queues.
    pub queue_us_max: u64,
    /// The interarrival jitter of RFC 3550 at the end, in microseconds.
    pub jitter_us: u64,
}

#[cfg(test)]
mod tests;
