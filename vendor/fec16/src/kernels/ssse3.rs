//! SSSE3: a byte is two halves, and a shuffle looks up the images of sixteen halves at once.

use std::arch::x86_64::*;

use super::vector::{
    factors, fetch, forward_layers, halves, halves_mut, inverse_layers, load_planes, load_rows,
    load_shards, vector_kernels,
};
use crate::maps::{self, HALVES};

const LEN: usize = 16;
/// Rows at once in sums.
const SOURCES: usize = 1;

type Vector = __m128i;
/// The images of the sixteen lower halves and of the sixteen upper halves.
type Map = (__m128i, __m128i);

vector_kernels!(#[target_feature(enable = "ssse3")]);

#[inline]
#[target_feature(enable = "ssse3")]
fn map(number: usize) -> Map {
    let [lower, upper] = &HALVES[number];
    (load_vector(lower), load_vector(upper))
}

#[inline]
#[target_feature(enable = "ssse3")]
fn apply(map: Map, vector: Vector) -> Vector {
    let half = _mm_set1_epi8(15);
    let lower = _mm_and_si128(vector, half);
    // The shift takes bits over from the byte beside, which the mask drops.
    let upper = _mm_and_si128(_mm_srli_epi64::<4>(vector), half);
    add(_mm_shuffle_epi8(map.0, lower), _mm_shuffle_epi8(map.1, upper))
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
fn load_vector(bytes: &[u8; LEN]) -> Vector {
    // SAFETY: `bytes` is LEN bytes long, and the load wants no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "ssse3")]
fn store_vector(vector: Vector, bytes: &mut [u8; LEN]) {
    // SAFETY: `bytes` is LEN bytes long and ours, and the store wants no alignment.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "ssse3")]
fn map_of_sum(a: usize, b: usize) -> Map {
    let (a, b) = (map(a), map(b));
    (add(a.0, b.0), add(a.1, b.1))
}

#[inline]
#[target_feature(enable = "ssse3")]
fn add3(a: Vector, b: Vector, c: Vector) -> Vector {
    add(a, add(b, c))
}

#[inline]
#[target_feature(enable = "ssse3")]
fn load_wire(shard: &[u8], at: usize) -> Pair {
    match halves(shard, at) {
        Some((low, high)) => (load_vector(low), load_vector(high)),
        None => (zero(), zero()),
    }
}

#[inline]
#[target_feature(enable = "ssse3")]
fn store_wire(bytes: Pair, shard: &mut [u8], at: usize) {
    if let Some((low, high)) = halves_mut(shard, at) {
        store_vector(bytes.0, low);
        store_vector(bytes.1, high);
    }
}
