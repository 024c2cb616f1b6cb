//! The field of 65,536 elements, GF(2^16), and the words that stand for its elements.
//!
//! An element is a polynomial over the two-element field of degree below 16, modulo
//! x^16 + x^5 + x^3 + x^2 + 1 (0x1002D), which is primitive: the powers of x are all elements but 0.
//! Addition is exclusive or.
//!
//! The *word* of an element is not its coefficients. It is its coordinates with respect to a basis
//! b0 .. b15 of the field over the two-element field: word w stands for the sum of the bi for which
//! bit i of w is set. The basis is Cantor's (D. Cantor: On arithmetical algorithms over finite
//! fields, 1989):
//!
//! - b0 = 1, and bi^2 + bi = b(i-1).
//!
//! The map s(x) = x^2 + x is linear over the two-element field, since squaring is. On words it is
//! the shift to the right by one bit. Two things follow that the code stands on.
//!
//! - The words below 2^i are a subspace of the field, and s applied i times is the polynomial of
//!   degree 2^i that vanishes exactly there. Its value at word w is the word `w >> i`: no table is
//!   needed for it (`transform`).
//! - The words below 2, 4, 16, 256 are subfields: s applied 2^k times is x^(2^(2^k)) + x, because
//!   the binomial coefficients between are even, and its zeros are the field of 2^(2^k) elements.
//!
//! # The tower
//!
//! By the second, GF(2^16) is a plane over F = GF(2^8), the words below 256: every element is
//! x0 + x1 g with x0, x1 in F and g = b8, and g^2 = g + d where d = b7. So products are made of
//! products in F:
//!
//! (x0 + x1 g)(c0 + c1 g) = (x0 c0 + x1 d c1) + ((x0 + x1)(c0 + c1) + x0 c0) g
//!
//! with three of them, or two if c lies in F. Most factors of the transforms do. Work is done in
//! these coordinates, *planes*: the upper byte of a word, which are the coordinates along
//! b8 .. b15, becomes the pair of `PLANES` and is added to the lower one.

#![forbid(unsafe_code)]

use std::sync::OnceLock;

/// Elements other than 0, and so the period of the powers of x.
pub(crate) const ORDER: u32 = 65_535;

const POLYNOMIAL: u32 = 0x1002D;

/// The basis, as polynomials.
const BASIS: [u16; 16] = [
    0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012, 0x6C98, 0x10D8, 0x6A72, 0xB900,
    0xFDB8, 0xFB34, 0xFF38, 0x991E,
];

/// The word of x^i at i: the inverse of `BASIS` as a matrix.
const WORDS: [u16; 16] = invert(BASIS);

/// The coordinate along b8 squared is itself and this.
const D: u16 = 1 << 7;

/// The planes of the words whose lower byte is 0, by the upper byte: what it adds to the lower
/// plane, and the upper plane.
static PLANES: [(u8, u8); 256] = planes();

/// The product of two words by the definition.
pub(crate) const fn multiply_by_definition(a: u16, b: u16) -> u16 {
    let (a, b) = (apply(&BASIS, a) as u32, apply(&BASIS, b) as u32);
    let mut product = 0;
    let mut bit = 16;
    while bit > 0 {
        bit -= 1;
        product <<= 1;
        if product & 1 << 16 != 0 {
            product ^= POLYNOMIAL;
        }
        if b >> bit & 1 == 1 {
            product ^= a;
        }
    }
    apply(&WORDS, product as u16)
}

/// The sum of the columns that the bits of `vector` select.
pub(crate) const fn apply(columns: &[u16; 16], vector: u16) -> u16 {
    let (mut sum, mut bit) = (0, 0);
    while bit < 16 {
        if vector >> bit & 1 == 1 {
            sum ^= columns[bit];
        }
        bit += 1;
    }
    sum
}

/// The inverse of an invertible matrix given by columns: whatever column operations turn it into
/// the identity turn the identity into the inverse.
const fn invert(mut columns: [u16; 16]) -> [u16; 16] {
    let mut inverse = [0; 16];
    let mut at = 0;
    while at < 16 {
        inverse[at] = 1 << at;
        at += 1;
    }
    let mut row = 0;
    while row < 16 {
        let mut pivot = row;
        while columns[pivot] >> row & 1 == 0 {
            pivot += 1;
        }
        (columns[row], columns[pivot]) = (columns[pivot], columns[row]);
        (inverse[row], inverse[pivot]) = (inverse[pivot], inverse[row]);
        let mut other = 0;
        while other < 16 {
            if other != row && columns[other] >> row & 1 == 1 {
                columns[other] ^= columns[row];
                inverse[other] ^= inverse[row];
            }
            other += 1;
        }
        row += 1;
    }
    inverse
}

/// The planes of the word `1 << (8 + bit)`.
pub(crate) const fn planes_of_bit(bit: usize) -> (u8, u8) {
    // The words g u for u in F have upper bytes of their own, each one: search for this one.
    let wanted = 1_u16 << bit;
    let mut columns = [0; 16];
    let mut at = 0;
    while at < 8 {
        columns[at] = multiply_by_definition(1 << 8, 1 << at);
        at += 1;
    }
    let mut u = 0_u16;
    while apply(&columns, u) >> 8 != wanted {
        u += 1;
    }
    ((apply(&columns, u) & 0xFF) as u8, u as u8)
}

const fn planes() -> [(u8, u8); 256] {
    let mut planes = [(0, 0); 256];
    let mut bit = 0;
    while bit < 8 {
        let (low, high) = planes_of_bit(bit);
        let mut below = 0;
        while below < 1 << bit {
            planes[(1 << bit) + below] = (planes[below].0 ^ low, planes[below].1 ^ high);
            below += 1;
        }
        bit += 1;
    }
    planes
}

/// Bytes of the tables here.
pub(crate) const TABLES_LEN: usize = size_of_val(&PLANES) + 2 * 2 * 65_536;

/// A word as planes.
pub(crate) fn to_planes(word: u16) -> (u8, u8) {
    let (low, high) = PLANES[usize::from(word >> 8)];
    (word as u8 ^ low, high)
}

/// d c of the module's text, for c in F.
pub(crate) const fn times_d(c: u8) -> u8 {
    multiply_by_definition(c as u16, D) as u8
}

/// Logarithms to the base x, and powers of x, both of words.
pub(crate) struct Logarithms {
    log: Box<[u16]>,
    power: Box<[u16]>,
}

impl Logarithms {
    /// Those of everybody. The first call makes them, in a fraction of a millisecond; they take
    /// 256 KiB.
    pub(crate) fn shared() -> &'static Logarithms {
        static SHARED: OnceLock<Logarithms> = OnceLock::new();
        SHARED.get_or_init(Logarithms::new)
    }

    fn new() -> Logarithms {
        let (lower, upper) = (sums(&WORDS[..8]), sums(&WORDS[8..]));
        let mut log = vec![0; 1 << 16].into_boxed_slice();
        let mut power = vec![1; 1 << 16].into_boxed_slice();
        let mut polynomial = 1_u32;
        for (exponent, power) in (0..ORDER as u16).zip(&mut power) {
            *power = lower[(polynomial & 0xFF) as usize] ^ upper[(polynomial >> 8) as usize];
            log[usize::from(*power)] = exponent;
            polynomial <<= 1;
            // All bits set where the degree became 16, else none.
            polynomial ^= (polynomial >> 16).wrapping_neg() & POLYNOMIAL;
        }
        Logarithms { log, power }
    }

    /// Below `ORDER`. That of 0, which has none, is given as 0.
    pub(crate) fn log(&self, word: usize) -> u32 {
        u32::from(self.log[word & 0xFFFF])
    }

    /// Of words from 0 on.
    pub(crate) fn logs(&self) -> &[u16] {
        &self.log
    }

    /// x to this exponent, whatever it is.
    pub(crate) fn power(&self, exponent: u32) -> u16 {
        let folded = (exponent & 0xFFFF) + (exponent >> 16); // 2^16 is 1 modulo the order
        let folded = (folded & 0xFFFF) + (folded >> 16);
        self.power[folded as usize & 0xFFFF]
    }
}

/// The sums of all selections of eight columns.
fn sums(columns: &[u16]) -> [u16; 256] {
    let mut sums = [0; 256];
    for (bit, column) in columns.iter().enumerate() {
        for below in 0..1 << bit {
            sums[(1 << bit) + below] = sums[below] ^ column;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_basis_is_cantors() {
        for bit in 1..16 {
            let b = 1 << bit;
            assert_eq!(multiply_by_definition(b, b) ^ b, b >> 1);
        }
        assert_eq!(BASIS[0], 1);
        assert!((0..=u16::MAX).all(|word| apply(&WORDS, apply(&BASIS, word)) == word));
    }

    #[test]
    fn words_below_256_are_a_field() {
        for a in 0..256 {
            for b in 0..256 {
                assert!(multiply_by_definition(a, b) < 256);
            }
        }
    }

    #[test]
    fn planes_are_coordinates_over_that_field() {
        for word in 0..=u16::MAX {
            let (low, high) = to_planes(word);
            assert_eq!(u16::from(low) ^ multiply_by_definition(256, u16::from(high)), word);
        }
    }

    #[test]
    fn logarithms_agree_with_the_definition() {
        let logarithms = Logarithms::shared();
        let mut word = 1_u16;
        for _ in 0..70_000 {
            word = word.wrapping_mul(0x9E35).wrapping_add(0x3619);
            let other = word.rotate_left(5) ^ 0x1234;
            if word == 0 || other == 0 {
                continue;
            }
            let sum = logarithms.log(word.into()) + logarithms.log(other.into());
            assert_eq!(logarithms.power(sum), multiply_by_definition(word, other));
        }
        assert_eq!(logarithms.power(ORDER), 1);
        assert_eq!(logarithms.power(0), 1);
        assert_eq!(logarithms.power(3 * ORDER), 1);
    }
}
