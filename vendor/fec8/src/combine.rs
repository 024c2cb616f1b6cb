//! Sums of multiples of shards, tile by tile.
//!
//! All the work of the code is one operation: row r becomes the sum over s of a coefficient (r, s)
//! times source s. What would be slow about it is memory, so it is cut three times: by columns and
//! by sources, so that a tile stays in the cache while it is read for one group of rows after the
//! other; and by rows, as many as a kernel sums in registers while it reads a source once.

#![forbid(unsafe_code)]

use crate::kernels::{Kernel, ROWS_MAX};

/// Bytes of a shard that are worked on at once. Packets fit whole.
const COLUMNS: usize = 2048;

/// Sources that are worked on at once. With packets of 1392 bytes that is 44 KiB, more than a
/// small first-level cache, but the kernels wait for arithmetic, not for the second level: 64 + 13
/// such shards take 6.1 us with 16 sources, 5.7 with 32, and 6.1 where narrower columns keep the
/// tile in 24 KiB (Zen 4, AVX-512 with GFNI).
const SOURCES: usize = 32;

/// What the sums begin with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Start {
    /// What the rows hold already.
    Sums,
    /// Nothing; the rows are written whatever they held.
    Zero,
}

/// What is summed.
pub(crate) struct Combination<S, C> {
    /// Bytes of every source and every row.
    pub(crate) len: usize,
    /// How many sources there are.
    pub(crate) count: usize,
    /// A source by its number.
    pub(crate) source: S,
    /// What a row takes a source times.
    pub(crate) coefficient: C,
}

impl<'a, S, C> Combination<S, C>
where
    S: Fn(usize) -> &'a [u8],
    C: Fn(usize, usize) -> u8,
{
    /// Sums into the rows, of which `slice` gives the bytes.
    pub(crate) fn write<T>(
        &self,
        kernel: Kernel,
        start: Start,
        rows: &mut [T],
        slice: impl Fn(&mut T) -> &mut [u8],
    ) {
        for left in (0..self.len).step_by(COLUMNS) {
            let columns = left..self.len.min(left + COLUMNS);
            let mut start = start;
            for first in (0..self.count).step_by(SOURCES) {
                let taken = SOURCES.min(self.count - first);
                let mut sources: [&[u8]; SOURCES] = [&[]; SOURCES];
                for (offset, source) in sources[..taken].iter_mut().enumerate() {
                    *source = &(self.source)(first + offset)[columns.clone()];
                }
                let mut done = 0;
                while done < rows.len() {
                    let group = group_len(rows.len() - done, kernel.rows_max());
                    let group = &mut rows[done..done + group];
                    let tile = Tile { sources: &sources[..taken], columns: &columns, start };
                    let coefficient = |row, source| (self.coefficient)(done + row, first + source);
                    tile.sum(kernel, group, &slice, coefficient);
                    done += group.len();
                }
                start = Start::Sums;
            }
        }
    }
}

/// Rows of the next group, when the groups are to be about equal.
fn group_len(rows: usize, rows_max: usize) -> usize {
    rows.div_ceil(rows.div_ceil(rows_max))
}

/// Some columns of some sources.
struct Tile<'a> {
    sources: &'a [&'a [u8]],
    columns: &'a std::ops::Range<usize>,
    start: Start,
}

impl Tile<'_> {
    /// Sums into one group of rows.
    fn sum<T>(
        &self,
        kernel: Kernel,
        rows: &mut [T],
        slice: &impl Fn(&mut T) -> &mut [u8],
        coefficient: impl Fn(usize, usize) -> u8,
    ) {
        macro_rules! by_len {
            ($($len:literal)*) => {
                match rows.len() {
                    $($len => self.sum_rows::<$len, T>(kernel, rows, slice, coefficient),)*
                    len => unreachable!("a group of {len} rows"),
                }
            };
        }
        const { assert!(ROWS_MAX == 8) };
        by_len!(1 2 3 4 5 6 7 8);
    }

    fn sum_rows<const R: usize, T>(
        &self,
        kernel: Kernel,
        rows: &mut [T],
        slice: &impl Fn(&mut T) -> &mut [u8],
        coefficient: impl Fn(usize, usize) -> u8,
    ) {
        let mut coefficients = [[0; R]; SOURCES];
        for (source, column) in coefficients[..self.sources.len()].iter_mut().enumerate() {
            for (row, value) in column.iter_mut().enumerate() {
                *value = coefficient(row, source);
            }
        }
        let rows: &mut [T; R] = rows.try_into().expect("group of R rows");
        let sums = rows.each_mut().map(|row| &mut slice(row)[self.columns.clone()]);
        kernel.sum(&coefficients[..self.sources.len()], self.sources, sums, self.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_about_equal() {
        let cases: &[(usize, usize, usize)] =
            &[(1, 8, 1), (8, 8, 8), (9, 8, 5), (13, 8, 7), (6, 8, 6), (13, 6, 5), (17, 8, 6)];

        for &(rows, rows_max, expected) in cases {
            assert_eq!(group_len(rows, rows_max), expected, "{rows} {rows_max}");
        }
    }
}
