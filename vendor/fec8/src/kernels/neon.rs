//! NEON: a byte is two halves, and TBL looks up the products of sixteen halves at once.

use std::arch::aarch64::*;

use super::vector_kernel;
use crate::combine::Start;
use crate::field::{PRODUCTS, TIMES_16};

/// Sums at once. With the halves of two vectors and two tables they fit the 32 registers.
pub(super) const ROWS: usize = 8;

const LEN: usize = 16;
/// Vectors of a source at once.
const WIDTH: usize = 2;
/// Sources at once.
const SOURCES: usize = 1;

type Vector = uint8x16_t;
/// The lower and the upper halves of bytes.
type Operand = (uint8x16_t, uint8x16_t);
/// The products of the sixteen lower and of the sixteen upper halves.
type Factor = (uint8x16_t, uint8x16_t);

vector_kernel!("neon");

#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8; LEN]) -> Vector {
    // SAFETY: `bytes` is LEN bytes long, and the load wants no alignment.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(vector: Vector, bytes: &mut [u8; LEN]) {
    // SAFETY: `bytes` is LEN bytes long and ours, and the store wants no alignment.
    unsafe { vst1q_u8(bytes.as_mut_ptr(), vector) }
}

#[inline]
#[target_feature(enable = "neon")]
fn zero() -> Vector {
    vdupq_n_u8(0)
}

#[inline]
#[target_feature(enable = "neon")]
fn add(a: Vector, b: Vector) -> Vector {
    veorq_u8(a, b)
}

#[inline]
#[target_feature(enable = "neon")]
fn operand(bytes: Vector) -> Operand {
    (vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8::<4>(bytes))
}

#[inline]
#[target_feature(enable = "neon")]
fn factor(coefficient: u8) -> Factor {
    let upper = TIMES_16[usize::from(coefficient)];
    (load(&PRODUCTS[usize::from(coefficient)]), load(&PRODUCTS[usize::from(upper)]))
}

#[inline]
#[target_feature(enable = "neon")]
fn multiply(factor: Factor, operand: Operand) -> Vector {
    add(vqtbl1q_u8(factor.0, operand.0), vqtbl1q_u8(factor.1, operand.1))
}
