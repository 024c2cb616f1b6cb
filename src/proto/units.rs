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
    /// As people write it, a whole number with k, M or G behind it: `20M`.
    pub fn parse(text: &str) -> Option<Kbps> {
        let units = [("k", 1), ("M", 1000), ("G", 1_000_000)];
        let (digits, unit_kbps) =
            units.iter().find_map(|(unit, kbps)| Some((text.strip_suffix(unit)?, *kbps)))?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let count: u32 = if is_number { digits.parse().ok()? } else { return None };
        count.checked_mul(unit_kbps).map(Kbps)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_whole_number_with_its_unit() {
        let table = [
            ("20M", Some(20_000)),
            ("500k", Some(500)),
            ("10G", Some(10_000_000)),
            ("0k", Some(0)),
            ("4294968M", None),
            ("20", None),
            ("M", None),
            ("", None),
            ("+2M", None),
            ("2.5M", None),
            ("20m", None),
        ];
        for (text, kbps) in table {
            assert_eq!(Kbps::parse(text), kbps.map(Kbps), "{text}");
        }
    }
}
