//! GFNI on vectors of AVX-512: the coefficient is a matrix of bits, which one instruction applies.

use std::arch::x86_64::*;

use super::{MATRICES, vector_kernel};
use crate::combine::Start;

/// Sums at once. More fit the 32 registers, and are no faster.
pub(super) const ROWS: usize = 8;

const LEN: usize = 64;
/// Vectors of a source at once.
const WIDTH: usize = 2;
/// Sources at once: AVX-512 adds the products of two to a sum in one instruction.
const SOURCES: usize = 2;

type Vector = __m512i;
type Operand = __m512i;
/// The matrix, once for every eight bytes.
type Factor = __m512i;

vector_kernel!("avx512f,gfni");

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn load(bytes: &[u8; LEN]) -> Vector {
    // SAFETY: `bytes` is LEN bytes long, and the load wants no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn store(vector: Vector, bytes: &mut [u8; LEN]) {
    // SAFETY: `bytes` is LEN bytes long and ours, and the store wants no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn zero() -> Vector {
    _mm512_setzero_si512()
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_xor_si512(a, b)
}

#[inline]
fn operand(bytes: Vector) -> Operand {
    bytes
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn factor(coefficient: u8) -> Factor {
    _mm512_set1_epi64(MATRICES[usize::from(coefficient)].cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn multiply(factor: Factor, operand: Operand) -> Vector {
    _mm512_gf2p8affine_epi64_epi8::<0>(operand, factor)
}
