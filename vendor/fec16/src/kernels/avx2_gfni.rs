//! GFNI on vectors of AVX2: a map is a matrix of bits, which one instruction applies.

use std::arch::x86_64::*;

use super::vector::{
    factors, fetch, forward_layers, inverse_layers, load_planes, load_rows, load_shards, piece,
    piece_mut, vector_kernels,
};
use crate::maps::{self, MATRICES};

const LEN: usize = 32;
/// Rows at once in sums.
const SOURCES: usize = 2;

type Vector = __m256i;
/// The matrix, once for every eight bytes.
type Map = __m256i;

vector_kernels!(#[target_feature(enable = "avx2,gfni")]);

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn map(number: usize) -> Map {
    _mm256_set1_epi64x(MATRICES[number].cast_signed())
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn map_of_sum(a: usize, b: usize) -> Map {
    _mm256_set1_epi64x((MATRICES[a] ^ MATRICES[b]).cast_signed())
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn apply(map: Map, vector: Vector) -> Vector {
    _mm256_gf2p8affine_epi64_epi8::<0>(vector, map)
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
#[target_feature(enable = "avx2,gfni")]
fn add3(a: Vector, b: Vector, c: Vector) -> Vector {
    add(a, add(b, c))
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn load_vector(bytes: &[u8; LEN]) -> Vector {
    // SAFETY: `bytes` is LEN bytes long, and the load wants no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn store_vector(vector: Vector, bytes: &mut [u8; LEN]) {
    // SAFETY: `bytes` is LEN bytes long and ours, and the store wants no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn load_wire(shard: &[u8], at: usize) -> Pair {
    match piece(shard, at) {
        Some(piece) => load_pair(piece),
        None => (zero(), zero()),
    }
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn store_wire(bytes: Pair, shard: &mut [u8], at: usize) {
    if let Some(piece) = piece_mut(shard, at) {
        store_pair(bytes, piece);
    }
}
