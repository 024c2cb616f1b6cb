//! AVX2: a byte is two halves, and a shuffle looks up the images of 32 halves at once.

use std::arch::x86_64::*;

use super::vector::{
    factors, fetch, forward_layers, inverse_layers, load_planes, load_rows, load_shards, piece,
    piece_mut, vector_kernels,
};
use crate::maps::{self, HALVES};

const LEN: usize = 32;
/// Rows at once in sums.
const SOURCES: usize = 1;

type Vector = __m256i;
/// The images of the sixteen lower halves and of the sixteen upper halves, in either lane.
type Map = (__m256i, __m256i);

vector_kernels!(#[target_feature(enable = "avx2")]);

#[inline]
#[target_feature(enable = "avx2")]
fn map(number: usize) -> Map {
    let [lower, upper] = &HALVES[number];
    (twice(lower), twice(upper))
}

#[inline]
#[target_feature(enable = "avx2")]
fn map_of_sum(a: usize, b: usize) -> Map {
    let (a, b) = (map(a), map(b));
    (add(a.0, b.0), add(a.1, b.1))
}

#[inline]
#[target_feature(enable = "avx2")]
fn twice(bytes: &[u8; 16]) -> Vector {
    // SAFETY: `bytes` is 16 bytes long, and the load wants no alignment.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn apply(map: Map, vector: Vector) -> Vector {
    let half = _mm256_set1_epi8(15);
    let lower = _mm256_and_si256(vector, half);
    // The shift takes bits over from the byte beside, which the mask drops.
    let upper = _mm256_and_si256(_mm256_srli_epi64::<4>(vector), half);
    add(_mm256_shuffle_epi8(map.0, lower), _mm256_shuffle_epi8(map.1, upper))
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
fn add3(a: Vector, b: Vector, c: Vector) -> Vector {
    add(a, add(b, c))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_vector(bytes: &[u8; LEN]) -> Vector {
    // SAFETY: `bytes` is LEN bytes long, and the load wants no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_vector(vector: Vector, bytes: &mut [u8; LEN]) {
    // SAFETY: `bytes` is LEN bytes long and ours, and the store wants no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_wire(shard: &[u8], at: usize) -> Pair {
    match piece(shard, at) {
        Some(piece) => load_pair(piece),
        None => (zero(), zero()),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_wire(bytes: Pair, shard: &mut [u8], at: usize) {
    if let Some(piece) = piece_mut(shard, at) {
        store_pair(bytes, piece);
    }
}
