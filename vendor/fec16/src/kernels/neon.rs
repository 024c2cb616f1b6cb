//! NEON: a byte is two halves, and TBL looks up the images of sixteen halves at once.

use std::arch::aarch64::*;

use super::vector::{
    factors, fetch, forward_layers, halves, halves_mut, inverse_layers, load_planes, load_rows,
    load_shards, vector_kernels,
};
use crate::maps::{self, HALVES};

const LEN: usize = 16;
/// Rows at once in sums.
const SOURCES: usize = 1;

type Vector = uint8x16_t;
/// The images of the sixteen lower halves and of the sixteen upper halves.
type Map = (uint8x16_t, uint8x16_t);

vector_kernels!(#[target_feature(enable = "neon")]);

#[inline]
#[target_feature(enable = "neon")]
fn map(number: usize) -> Map {
    let [lower, upper] = &HALVES[number];
    (load_vector(lower), load_vector(upper))
}

#[inline]
#[target_feature(enable = "neon")]
fn apply(map: Map, vector: Vector) -> Vector {
    let (lower, upper) = (vandq_u8(vector, vdupq_n_u8(15)), vshrq_n_u8::<4>(vector));
    add(vqtbl1q_u8(map.0, lower), vqtbl1q_u8(map.1, upper))
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
fn load_vector(bytes: &[u8; LEN]) -> Vector {
    // SAFETY: `bytes` is LEN bytes long, and the load wants no alignment.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store_vector(vector: Vector, bytes: &mut [u8; LEN]) {
    // SAFETY: `bytes` is LEN bytes long and ours, and the store wants no alignment.
    unsafe { vst1q_u8(bytes.as_mut_ptr(), vector) }
}

#[inline]
#[target_feature(enable = "neon")]
fn map_of_sum(a: usize, b: usize) -> Map {
    let (a, b) = (map(a), map(b));
    (add(a.0, b.0), add(a.1, b.1))
}

#[inline]
#[target_feature(enable = "neon")]
fn add3(a: Vector, b: Vector, c: Vector) -> Vector {
    add(a, add(b, c))
}

#[inline]
#[target_feature(enable = "neon")]
fn load_wire(shard: &[u8], at: usize) -> Pair {
    match halves(shard, at) {
        Some((low, high)) => (load_vector(low), load_vector(high)),
        None => (zero(), zero()),
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn store_wire(bytes: Pair, shard: &mut [u8], at: usize) {
    if let Some((low, high)) = halves_mut(shard, at) {
        store_vector(bytes.0, low);
        store_vector(bytes.1, high);
    }
}
