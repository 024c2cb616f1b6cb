//! AVX2: as SSSE3, twice as many bytes at once.

use std::arch::x86_64::*;

use super::vector_kernel;
use crate::combine::Start;
use crate::field::{PRODUCTS, TIMES_16};

/// Sums at once. With the halves of two vectors and two tables they fill the sixteen registers.
pub(super) const ROWS: usize = 4;

const LEN: usize = 32;
/// Vectors of a source at once.
const WIDTH: usize = 2;
/// Sources at once.
const SOURCES: usize = 1;

type Vector = __m256i;
/// The lower and the upper halves of bytes.
type Operand = (__m256i, __m256i);
/// The products of the sixteen lower and of the sixteen upper halves, in either half.
type Factor = (__m256i, __m256i);

vector_kernel!("avx2");

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; LEN]) -> Vector {
    // SAFETY: `bytes` is LEN bytes long, and the load wants no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(vector: Vector, bytes: &mut [u8; LEN]) {
    // SAFETY: `bytes` is LEN bytes long and ours, and the store wants no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn zero() -> Vector {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm256_xor_si256(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn operand(bytes: Vector) -> Operand {
    let half = _mm256_set1_epi8(15);
    // The shift takes bits over from the byte beside, which the mask drops.
    (_mm256_and_si256(bytes, half), _mm256_and_si256(_mm256_srli_epi64::<4>(bytes), half))
}

#[inline]
#[target_feature(enable = "avx2")]
fn factor(coefficient: u8) -> Factor {
    let upper = TIMES_16[usize::from(coefficient)];
    (both_halves(&PRODUCTS[usize::from(coefficient)]), both_halves(&PRODUCTS[usize::from(upper)]))
}

#[inline]
#[target_feature(enable = "avx2")]
fn both_halves(table: &[u8; 16]) -> __m256i {
    // SAFETY: `table` is 16 bytes long, and the load wants no alignment.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn multiply(factor: Factor, operand: Operand) -> Vector {
    add(_mm256_shuffle_epi8(factor.0, operand.0), _mm256_shuffle_epi8(factor.1, operand.1))
}
