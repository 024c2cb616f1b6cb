//! Products of the distances between places, by their logarithms.
//!
//! Recovery needs, for each place y of some, the product of (x + y) over the places x of a set,
//! divided by the same over another set. As sums of logarithms: f(y) = sum over x of g(x) log(x + y)
//! with g(x) 1 on the first set, -1 on the second and 0 elsewhere. The distance of two places is
//! their exclusive or, so this is a convolution over the group of words under exclusive or, and the
//! Walsh transform turns it into products (Didier: Efficient erasure decoding of Reed-Solomon codes,
//! 2009). Words below a power of two are closed under exclusive or, so no more places are needed
//! than the block has. All numbers count modulo 65,535, the order of the multiplicative group.

#![forbid(unsafe_code)]

use crate::field::{Logarithms, ORDER};

/// Up to so many places sums of logarithms are taken one by one.
const FEW: usize = 48;

const MODULUS: i32 = ORDER as i32;

/// Memory for the sums over a number of places.
pub(crate) struct Locator {
    values: Vec<i32>,
    /// The Walsh transform of the logarithms of the first `walsh_count` words.
    walsh: Vec<i32>,
    walsh_count: usize,
}

impl Locator {
    /// For places below `place_count`, a power of two.
    pub(crate) fn new(place_count: usize) -> Locator {
        Locator { values: vec![0; place_count], walsh: vec![0; place_count], walsh_count: 0 }
    }

    /// For every place of either list, in `sums`, first those of `positive`: the sum of the
    /// logarithms of its distances from the other places in `positive`, minus that sum for
    /// `negative`; modulo `ORDER`. All places are below `place_count`, a power of two.
    pub(crate) fn sums(
        &mut self,
        logarithms: &Logarithms,
        place_count: usize,
        positive: &[u32],
        negative: &[u32],
        sums: &mut [u32],
    ) {
        let places = positive.iter().chain(negative);
        if positive.len() + negative.len() <= FEW {
            for (sum, place) in sums.iter_mut().zip(places) {
                *sum = one_by_one(logarithms, *place, positive, negative);
            }
            return;
        }
        self.prepare(logarithms, place_count);
        let values = &mut self.values[..place_count];
        values.fill(0);
        positive.iter().for_each(|place| values[*place as usize] = 1);
        negative.iter().for_each(|place| values[*place as usize] = -1);
        walsh(values);
        for (value, factor) in values.iter_mut().zip(&self.walsh) {
            *value = (i64::from(*value) * i64::from(*factor) % i64::from(MODULUS)) as i32;
        }
        walsh(values);
        // The transform is its own inverse but for the factor `place_count`, of which the inverse
        // is a power of two as well, since 2^16 is 1 modulo the order.
        let inverse = i64::from((1 << 16) / place_count as u32);
        for (sum, place) in sums.iter_mut().zip(places) {
            let value = i64::from(values[*place as usize]) * inverse;
            *sum = value.rem_euclid(i64::from(MODULUS)) as u32;
        }
    }

    fn prepare(&mut self, logarithms: &Logarithms, place_count: usize) {
        if self.walsh_count != place_count {
            let values = &mut self.walsh[..place_count];
            for (value, log) in values.iter_mut().zip(logarithms.logs()) {
                *value = i32::from(*log);
            }
            walsh(values);
            values.iter_mut().for_each(|value| *value %= MODULUS);
            self.walsh_count = place_count;
        }
    }
}

fn one_by_one(logarithms: &Logarithms, place: u32, positive: &[u32], negative: &[u32]) -> u32 {
    // The logarithm of 0, the distance from itself, counts nothing.
    let total = |places: &[u32]| -> u32 {
        places.iter().map(|other| logarithms.log((place ^ other) as usize)).sum()
    };
    (total(positive) % ORDER + ORDER - total(negative) % ORDER) % ORDER
}

/// The Walsh transform modulo the order, of a power of two of numbers whose absolute values are at
/// most the order.
fn walsh(values: &mut [i32]) {
    let mut apart = 1;
    while apart < values.len() {
        for block in values.chunks_exact_mut(2 * apart) {
            let (first, second) = block.split_at_mut(apart);
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        apart *= 2;
        if apart == 256 {
            // Every layer doubles the range, and it is 2^16 at the start.
            values.iter_mut().for_each(|value| *value %= MODULUS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_many_are_those_of_few() {
        let logarithms = Logarithms::shared();
        for (place_count, step) in [(256, 3), (4096, 31), (65_536, 401), (65_536, 2)] {
            let places = (0..place_count as u32).step_by(step).collect::<Vec<_>>();
            let (negative, positive) = places.split_at(places.len() / 3);
            let mut locator = Locator::new(place_count);
            let mut sums = vec![0; places.len()];

            locator.sums(logarithms, place_count, positive, negative, &mut sums);

            let order = positive.iter().chain(negative);
            for (sum, place) in sums.iter().zip(order).step_by(1 + places.len() / 50) {
                assert_eq!(*sum, one_by_one_wide(logarithms, *place, positive, negative));
            }
        }
    }

    fn one_by_one_wide(
        logarithms: &Logarithms,
        place: u32,
        positive: &[u32],
        negative: &[u32],
    ) -> u32 {
        let total = |places: &[u32]| -> i64 {
            places.iter().map(|other| i64::from(logarithms.log((place ^ other) as usize))).sum()
        };
        (total(positive) - total(negative)).rem_euclid(i64::from(MODULUS)) as u32
    }
}
