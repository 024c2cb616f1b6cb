//! The reference, in no special instructions.

#![forbid(unsafe_code)]

use crate::combine::Start;
use crate::field::{PRODUCTS, TIMES_16};

/// Sums at once, of which it makes nothing.
pub(super) const ROWS: usize = 8;

/// See `Kernel::sum`.
pub(super) fn sum<const R: usize>(
    coefficients: &[[u8; R]],
    sources: &[&[u8]],
    mut sums: [&mut [u8]; R],
    start: Start,
) {
    if start == Start::Zero {
        sums.iter_mut().for_each(|sum| sum.fill(0));
    }
    for (column, source) in coefficients.iter().zip(sources) {
        for (coefficient, sum) in column.iter().zip(&mut sums) {
            add_multiple(*coefficient, source, sum);
        }
    }
}

fn add_multiple(coefficient: u8, source: &[u8], sum: &mut [u8]) {
    let lower = &PRODUCTS[usize::from(coefficient)];
    let upper = &PRODUCTS[usize::from(TIMES_16[usize::from(coefficient)])];
    for (byte, sum) in source.iter().zip(sum) {
        *sum ^= lower[usize::from(byte & 15)] ^ upper[usize::from(byte >> 4)];
    }
}
