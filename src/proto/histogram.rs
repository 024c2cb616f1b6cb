//! How numbers are spread, in a memory that does not grow with them.
//!
//! Numbers up to 31 have a bucket each, and every doubling after that has sixteen. What is told is
//! the end of a bucket: the number itself, or more than it by less than a sixteenth.

#![forbid(unsafe_code)]

/// Buckets of a doubling, as a power of two.
const STEP_BITS: u32 = 4;
const STEPS: usize = 1 << STEP_BITS;
/// For all numbers of 64 bits.
pub const BUCKET_COUNT: usize = bucket(u64::MAX) + 1;

/// Numbers, and how many of each there were. No two threads share one.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u64; BUCKET_COUNT],
    count: u64,
    min: u64,
    max: u64,
}

/// What a histogram says. Zeros where there was nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Summary {
    /// How many there were.
    pub count: u64,
    /// The least.
    pub min: u64,
    /// Half of them are no more than this; it is too much by less than a sixteenth.
    pub p50: u64,
    /// 90 in a hundred, likewise.
    pub p90: u64,
    /// 99 in a hundred, likewise.
    pub p99: u64,
    /// 999 in a thousand, likewise.
    pub p999: u64,
    /// The most.
    pub max: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: [0; BUCKET_COUNT], count: 0, min: u64::MAX, max: 0 }
    }
}

impl Histogram {
    /// Takes a number in.
    pub fn add(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// The number that so many in a thousand do not exceed, or less than a sixteenth more. 0 where
    /// there was none.
    pub fn quantile(&self, per_mille: u64) -> u64 {
        quantile(self.counts.iter().copied(), per_mille).min(self.max)
    }

    /// What it says.
    pub fn summary(&self) -> Summary {
        let [p50, p90, p99, p999] = [500, 900, 990, 999].map(|it| self.quantile(it));
        let min = if self.count == 0 { 0 } else { self.min };
        Summary { count: self.count, min, p50, p90, p99, p999, max: self.max }
    }
}

/// The bucket of a number.
pub const fn bucket(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    shift as usize * STEPS + (value >> shift) as usize
}

/// The highest number of a bucket.
const fn upper(bucket: usize) -> u64 {
    if bucket < 2 * STEPS {
        return bucket as u64;
    }
    let (shift, step) = (bucket / STEPS - 1, bucket % STEPS + STEPS);
    // The end of the last one is 2 to the power of 64.
    ((step as u64 + 1) << shift).wrapping_sub(1)
}

/// The end of the bucket that so many in a thousand do not exceed, of counts of buckets from the
/// first on. 0 where all are. Counts may grow between two looks at them.
pub fn quantile(counts: impl Iterator<Item = u64> + Clone, per_mille: u64) -> u64 {
    let count: u64 = counts.clone().sum();
    let rank = (u128::from(count) * u128::from(per_mille.min(1000))).div_ceil(1000).max(1);
    let mut seen = 0;
    let mut counts = counts;
    let reached = counts.position(|count| {
        seen += u128::from(count);
        seen >= rank
    });
    reached.map_or(0, upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random numbers, of as many small ones as large ones.
    fn values(seed: u64, count: usize) -> Vec<u64> {
        let mut state = seed;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d)
        };
        (0..count).map(|_| next() >> (next() % 64)).collect()
    }

    #[test]
    fn every_number_is_in_a_bucket_that_ends_with_it_or_a_sixteenth_later() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for value in (0..5000).chain(edges).chain(values(7, 100_000)).chain([u64::MAX]) {
            let upper = upper(bucket(value));

            assert!(value <= upper && upper - value <= value / 16, "{value}: {upper}");
        }
        assert_eq!(BUCKET_COUNT, 976);
        for number in 1..BUCKET_COUNT {
            assert_eq!(bucket(upper(number - 1) + 1), number);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_numbers_within_a_sixteenth() {
        for (seed, count) in [(1, 1), (2, 2), (3, 7), (4, 100), (5, 999), (6, 1000), (7, 20_000)] {
            let mut sorted = values(seed, count);
            let mut histogram = Histogram::default();
            sorted.iter().for_each(|value| histogram.add(*value));
            sorted.sort_unstable();

            for per_mille in [0, 1, 10, 500, 900, 990, 999, 1000] {
                let rank = (count * per_mille).div_ceil(1000).max(1);
                let exact = sorted[rank - 1];
                let told = histogram.quantile(per_mille as u64);
                assert!(exact <= told && told - exact <= exact / 16, "{exact}: {told}");
            }
            let summary = histogram.summary();
            assert_eq!((summary.min, summary.max), (sorted[0], sorted[count - 1]));
            assert_eq!(summary.count, count as u64);
            assert_eq!(
                (summary.p50, summary.p999),
                (histogram.quantile(500), histogram.quantile(999))
            );
            assert_eq!(
                (summary.p90, summary.p99),
                (histogram.quantile(900), histogram.quantile(990))
            );
        }
    }

    #[test]
    fn of_nothing_there_is_nothing_to_tell() {
        assert_eq!(Histogram::default().summary(), Summary::default());
        assert_eq!(quantile([].into_iter(), 500), 0);
    }
}
