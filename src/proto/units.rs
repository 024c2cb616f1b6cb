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

/// A rate of 1000 bits in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kbps(pub u32);

impl Kbps {
    /// Of so many bytes in that time; 0 where there is none.
    pub fn of(bytes: u64, time: Duration) -> Kbps {
        let rate = (u128::from(bytes) * 8_000_000).checked_div(time.as_nanos()).unwrap_or(0);
        Kbps(u32::try_from(rate).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for Kbps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kbps", self.0)
    }
}
