//! How a number of measurements is spread.

#![forbid(unsafe_code)]

use std::fmt;

/// Measurements, in nanoseconds.
#[derive(Debug, Default)]
pub struct Spread(Vec<u64>);

impl Spread {
    /// With room for so many; more are left out.
    pub fn with_capacity(count: usize) -> Spread {
        Spread(Vec::with_capacity(count))
    }

    /// Adds one.
    pub fn add(&mut self, nanoseconds: u64) {
        if self.0.len() < self.0.capacity() {
            self.0.push(nanoseconds);
        }
    }

    /// The one that so many in a hundred do not exceed.
    fn percentile(sorted: &[u64], percent: usize) -> u64 {
        let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(index).copied().unwrap_or(0)
    }
}

/// As a value of JSON, in microseconds.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let us = |percent| Spread::percentile(&sorted, percent) as f64 / 1000.0;
        write!(f, "{{\"p50\":{:.1},\"p99\":{:.1},\"max\":{:.1}}}", us(50), us(99), us(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_there_is() {
        let mut spread = Spread::with_capacity(100);
        assert_eq!(spread.to_string(), "{\"p50\":0.0,\"p99\":0.0,\"max\":0.0}");
        for value in (1..=200).rev() {
            spread.add(value * 1000);
        }

        assert_eq!(spread.to_string(), "{\"p50\":150.0,\"p99\":199.0,\"max\":200.0}");
    }
}
