//! SSSE3: a byte is two halves, and a shuffle looks up the products of sixteen halves at once.

use std::arch::x86_64::*;

use super::vector_kernel;
use crate::combine::Start;
use crate::field::{PRODUCTS, TIMES_16};

/// Sums at once. With the halves of two vectors and two tables they fill the sixteen registers.
pub(super) const ROWS: usize = 4;

const LEN: usize = 16;
/// Vectors of a source at once.
const WIDTH: usize = 2;
/// Sources at once.
const SOURCES: usize = 1;

type Vector = __m128i;
/// The lower and the upper halves of bytes.
type Operand = (__m128i, __m128i);
/// The products of the sixteen lower and of the sixteen upper halves.
type Factor = (__m128i, __m128i);

vector_kernel!("ssse3");

#[inline]
#[target_feature(enable = "ssse3")]
fn load(bytes: &[u8; LEN]) -> Vector {
    // SAFETY: `bytes` is LEN bytes long, and the load wants no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "ssse3")]
fn store(vector: Vector, bytes: &mut [u8; LEN]) {
    // SAFETY: `bytes` is LEN bytes long and ours, and the store wants no alignment.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "ssse3")]
fn zero() -> Vector {
    _mm_setzero_si128()
}

#[inline]
#[target_feature(enable = "ssse3")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm_xor_si128(a, b)
}

#[inline]
#[target_feature(enable = "ssse3")]
fn operand(bytes: Vector) -> Operand {
    let half = _mm_set1_epi8(15);
    // The shift takes bits over from the byte beside, which the mask drops.
    (_mm_and_si128(bytes, half), _mm_and_si128(_mm_srli_epi64::<4>(bytes), half))
}

#[inline]
#[target_feature(enable = "ssse3")]
fn factor(coefficient: u8) -> Factor {
    let upper = TIMES_16[usize::from(coefficient)];
    (load(&PRODUCTS[usize::from(coefficient)]), load(&PRODUCTS[usize::from(upper)]))
}

#[inline]
#[target_feature(enable = "ssse3")]
fn multiply(factor: Factor, operand: Operand) -> Vector {
    add(_mm_shuffle_epi8(factor.0, operand.0), _mm_shuffle_epi8(factor.1, operand.1))
}
