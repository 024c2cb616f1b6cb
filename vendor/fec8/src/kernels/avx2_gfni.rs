//! GFNI on vectors of AVX2: the coefficient is a matrix of bits, which one instruction applies.

use std::arch::x86_64::*;

use super::{MATRICES, vector_kernel};
use crate::combine::Start;

/// Sums at once. With two vectors of a source and a matrix they fill the sixteen registers.
pub(super) const ROWS: usize = 6;

const LEN: usize = 32;
/// Vectors of a source at once.
const WIDTH: usize = 2;
/// Sources at once.
const SOURCES: usize = 1;

type Vector = __m256i;
type Operand = __m256i;
/// The matrix, once for every eight bytes.
type Factor = __m256i;

vector_kernel!("avx2,gfni");

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn load(bytes: &[u8; LEN]) -> Vector {
    // SAFETY: `bytes` is LEN bytes long, and the load wants no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn store(vector: Vector, bytes: &mut [u8; LEN]) {
    // SAFETY: `bytes` is LEN bytes long and ours, and the store wants no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn zero() -> Vector {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm256_xor_si256(a, b)
}

#[inline]
fn operand(bytes: Vector) -> Operand {
    bytes
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn factor(coefficient: u8) -> Factor {
    _mm256_set1_epi64x(MATRICES[usize::from(coefficient)].cast_signed())
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn multiply(factor: Factor, operand: Operand) -> Vector {
    _mm256_gf2p8affine_epi64_epi8::<0>(operand, factor)
}
