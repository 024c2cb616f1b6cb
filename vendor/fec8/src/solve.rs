//! What recovers the lost data shards: the inverse of a square part of the matrix.
//!
//! Let E be the lost data shards, e of them, and P be e parity shards that were received. A parity
//! shard p minus what the data shards at hand put into it is the sum of M\[p\]\[l\] d_l over l in E,
//! so d is the inverse of the part A = M\[P\]\[E\] times those differences. Written out, each lost
//! shard is a combination of the k shards at hand, and this module says with which coefficients:
//! the inverse of A for the parity shards, the inverse of A times M for the data shards.
//!
//! # The Cauchy matrix
//!
//! Give each parity shard j the field element x_j = j and each data shard i the element
//! y_i = m + i; they are all different. Then M\[j\]\[i\] = 1 / (x_j + y_i), which is a Cauchy matrix;
//! plus is minus in this field.
//!
//! Let B be any e x e matrix and look at one of its rows, l. The function
//!
//! > f(z) = sum over p in P of B\[l\]\[p\] / (x_p + z)
//!
//! gives at z = y_i the entry (l, i) of B times M. Brought to the common denominator
//! W(z) = product over p of (x_p + z), its numerator is a polynomial of degree below e. B is the
//! inverse of A if f is 1 at y_l and 0 at the e - 1 other lost y. A polynomial of degree below e is
//! fixed by its values at e places, so there is exactly one such f, for any E and P whatever:
//! every square part of M has an inverse. The numerator has the other lost y as its zeros, so with
//! L(z) = product over t in E of (y_t + z), and L'(y_l) the same product without its factor 0,
//!
//! > f(z) = (W(y_l) / L'(y_l)) (L(z) / W(z)) / (y_l + z)
//!
//! At z = y_i this is the coefficient of data shard i. The coefficient of parity shard p is
//! B\[l\]\[p\], what is left of f at its pole x_p: the same expression with W(x_p) taken without its
//! factor 0. With g = L / W, factors 0 left out, all of it is one formula
//!
//! > coefficient (l, shard at z) = g(z) / g(y_l) / (y_l + z)
//!
//! in which g is computed once for each shard. (The closed form is Cauchy's; for its use in codes
//! see Roth and Seroussi, On Generator Matrices of MDS Codes, IEEE Trans. Inf. Theory 31 (1985),
//! and Blömer et al., An XOR-Based Erasure-Resilient Coding Scheme, ICSI TR-95-048.)
//!
//! # The rows of audio
//!
//! No formula, but at most two equations: Cramer's rule. That none of the parts is singular is
//! finite to check, and a test does.

#![forbid(unsafe_code)]

use crate::code::{AUDIO_DATA_COUNT, AUDIO_PARITY_COUNT, AUDIO_ROWS, COUNT_MAX, Code, Matrix};
use crate::field::{EXP, INVERSE, LOG, ORDER, multiply};

/// Coefficients by which lost data shards are made of the shards at hand.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack of one call")]
pub(crate) enum Solution {
    /// By the row and the number of the shard at hand.
    Audio([[u8; AUDIO_DATA_COUNT]; AUDIO_PARITY_COUNT]),
    /// Of the rows, and of the shards at hand by number.
    Cauchy { rows: [Place; COUNT_MAX], at_hand: [Place; COUNT_MAX] },
}

/// Where a shard stands in the Cauchy matrix.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    /// The element that stands for it: x of parity, y of data.
    point: u8,
    /// The logarithm of g there.
    logarithm: u8,
}

/// What there is to solve; all shards by their index in the block.
pub(crate) struct Problem<'a> {
    /// All data shards that are not there.
    pub(crate) missing: &'a [u8],
    /// As many parity shards.
    pub(crate) parity: &'a [u8],
    /// The k shards that everything is made of: the data shards that are there, and `parity`.
    pub(crate) at_hand: &'a [u8],
    /// Some of those missing: the rows.
    pub(crate) wanted: &'a [u8],
}

impl Solution {
    pub(crate) fn new(code: &Code, problem: &Problem<'_>) -> Solution {
        debug_assert_eq!(problem.missing.len(), problem.parity.len());
        match code.matrix {
            Matrix::Audio => Solution::Audio(problem.audio()),
            Matrix::Cauchy => problem.cauchy(code),
        }
    }

    /// What a row takes a shard at hand times.
    #[inline]
    pub(crate) fn coefficient(&self, row: usize, number: usize) -> u8 {
        match self {
            Solution::Audio(coefficients) => coefficients[row][number],
            Solution::Cauchy { rows, at_hand } => {
                let (row, shard) = (rows[row], at_hand[number]);
                let sum = LOG[usize::from(row.point ^ shard.point)];
                let below = usize::from(row.logarithm) + usize::from(sum);
                EXP[2 * ORDER + usize::from(shard.logarithm) - below]
            }
        }
    }
}

impl Problem<'_> {
    fn cauchy(&self, code: &Code) -> Solution {
        let zeros = points(code, self.missing);
        let poles = points(code, self.parity);
        let count = self.missing.len();
        let places = |shards: &[u8]| {
            let mut places = [Place::default(); COUNT_MAX];
            for (place, point) in places.iter_mut().zip(points(code, shards)).take(shards.len()) {
                let logarithm = logarithm(point, &zeros[..count], &poles[..count]);
                *place = Place { point, logarithm };
            }
            places
        };
        Solution::Cauchy { rows: places(self.wanted), at_hand: places(self.at_hand) }
    }

    fn audio(&self) -> [[u8; AUDIO_DATA_COUNT]; AUDIO_PARITY_COUNT] {
        let inverse = self.audio_inverse();
        let mut coefficients = [[0; AUDIO_DATA_COUNT]; AUDIO_PARITY_COUNT];
        for (row, wanted) in coefficients.iter_mut().zip(self.wanted) {
            let place = self.missing.iter().take_while(|missing| *missing != wanted).count();
            for (value, shard) in row.iter_mut().zip(self.at_hand) {
                for (p, factor) in self.parity.iter().zip(inverse[place]) {
                    if usize::from(*shard) < AUDIO_DATA_COUNT {
                        *value ^= multiply(factor, audio_entry(*p, *shard));
                    } else if p == shard {
                        *value = factor;
                    }
                }
            }
        }
        coefficients
    }

    /// Of the part of the rows that belongs to the missing shards.
    fn audio_inverse(&self) -> [[u8; AUDIO_PARITY_COUNT]; AUDIO_PARITY_COUNT] {
        let entry = |p: usize, l: usize| audio_entry(self.parity[p], self.missing[l]);
        match self.missing.len() {
            0 => [[0; 2]; 2],
            1 => [[INVERSE[usize::from(entry(0, 0))], 0], [0; 2]],
            _ => {
                let (a, b, c, d) = (entry(0, 0), entry(0, 1), entry(1, 0), entry(1, 1));
                let determinant = multiply(a, d) ^ multiply(b, c);
                let over = INVERSE[usize::from(determinant)];
                [[d, b], [c, a]].map(|row| row.map(|cofactor| multiply(cofactor, over)))
            }
        }
    }
}

/// The elements that stand for shards.
fn points(code: &Code, shards: &[u8]) -> [u8; COUNT_MAX] {
    let (k, m) = (code.data_count(), code.parity_count());
    let mut points = [0; COUNT_MAX];
    for (point, shard) in points.iter_mut().zip(shards) {
        let shard = usize::from(*shard);
        let element = if shard < k { m + shard } else { shard - k };
        *point = element as u8; // below k + m
    }
    points
}

/// The logarithm of g at z. A factor 0 counts as absent, because `LOG[0]` is 0.
fn logarithm(z: u8, zeros: &[u8], poles: &[u8]) -> u8 {
    let sum = |points: &[u8]| -> usize {
        points.iter().map(|point| usize::from(LOG[usize::from(z ^ point)])).sum()
    };
    ((sum(zeros) + ORDER * poles.len() - sum(poles)) % ORDER) as u8
}

fn audio_entry(parity: u8, data: u8) -> u8 {
    AUDIO_ROWS[usize::from(parity) - AUDIO_DATA_COUNT][usize::from(data)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_square_part_of_the_audio_rows_has_an_inverse() {
        let determinant = |a: usize, b: usize| {
            multiply(AUDIO_ROWS[0][a], AUDIO_ROWS[1][b])
                ^ multiply(AUDIO_ROWS[0][b], AUDIO_ROWS[1][a])
        };

        assert!(AUDIO_ROWS.iter().flatten().all(|entry| *entry != 0));
        for a in 0..AUDIO_DATA_COUNT {
            for b in 0..a {
                assert_ne!(determinant(a, b), 0, "{a} {b}");
            }
        }
    }

    #[test]
    fn the_closed_form_is_the_inverse() {
        let code = Code::video(9, 7).unwrap();
        let missing = [0, 3, 4, 8];
        let parity = [9, 10, 13, 15];
        let at_hand = [1, 2, 9, 5, 6, 10, 7, 13, 15];

        let solution = Solution::new(
            &code,
            &Problem { missing: &missing, parity: &parity, at_hand: &at_hand, wanted: &missing },
        );

        // Made of the shards at hand, each of which is a row over the data shards, a lost shard is
        // itself and nothing of another.
        for (row, lost) in (0..).zip(missing) {
            for column in 0..9 {
                let total = (0..).zip(at_hand).fold(0, |total, (number, shard)| {
                    let entry = match shard {
                        0..9 => u8::from(shard == column),
                        _ => code.coefficient(usize::from(shard) - 9, usize::from(column)),
                    };
                    total ^ multiply(solution.coefficient(row, number), entry)
                });
                assert_eq!(total, u8::from(column == lost), "{lost} {column}");
            }
        }
    }
}
