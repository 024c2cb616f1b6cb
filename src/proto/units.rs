//! Numbers that must not be taken for one another.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

/// Which access unit of a session, counted from 1 in the order of encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameIndex(pub u32);

impl fmt::Display for FrameIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A time of a media clock of 90 kHz, as RTP has it for video. It wraps every 13 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticks90k(pub u32);

impl Ticks90k {
    /// The ticks in that time, as many as 32 bits hold.
    pub fn from_duration(time: Duration) -> Ticks90k {
        Ticks90k((time.as_micros() * 9 / 100) as u32)
    }
}
