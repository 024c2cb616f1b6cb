//! GFNI on vectors of AVX-512: a map is a matrix of bits, which one instruction applies.

use std::arch::x86_64::*;

use super::SHARD_UNIT;
use super::vector::{factors, forward_layers, inverse_layers, load_shards, vector_kernels};
use crate::maps::{self, MATRICES};

const LEN: usize = 64;
/// Rows at once in sums: with their maps, sixteen, they fit the registers.
const SOURCES: usize = 4;

type Vector = __m512i;
/// The matrix, once for every eight bytes.
type Map = __m512i;

vector_kernels!(#[target_feature(enable = "avx512f,gfni")]);

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
#[target_feature(enable = "avx512f,gfni")]
fn add3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c) // the truth table of the sum of three bits
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn load_vector(bytes: &[u8; LEN]) -> Vector {
    // SAFETY: `bytes` is LEN bytes long, and the load wants no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn store_vector(vector: Vector, bytes: &mut [u8; LEN]) {
    // SAFETY: `bytes` is LEN bytes long and ours, and the store wants no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn map(number: usize) -> Map {
    _mm512_set1_epi64(MATRICES[number].cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn map_of_sum(a: usize, b: usize) -> Map {
    _mm512_set1_epi64((MATRICES[a] ^ MATRICES[b]).cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn apply(map: Map, vector: Vector) -> Vector {
    _mm512_gf2p8affine_epi64_epi8::<0>(vector, map)
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn load_wire(shard: &[u8], at: usize) -> Pair {
    match shard.as_chunks::<PAIR>().0.get(at) {
        Some(bytes) => {
            let pair = load_pair(bytes);
            deal(pair.0, pair.1)
        }
        None => load_last(shard, at),
    }
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn store_wire(bytes: Pair, shard: &mut [u8], at: usize) {
    let pieces = deal(bytes.0, bytes.1);
    match shard.as_chunks_mut::<PAIR>().0.get_mut(at) {
        Some(bytes) => store_pair(pieces, bytes),
        None => store_last(pieces.0, shard, at),
    }
}

/// The last piece of a shard that has an odd number, and zeros, or all zeros.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx512f,gfni")]
fn load_last(shard: &[u8], at: usize) -> Pair {
    match shard.as_chunks::<SHARD_UNIT>().0.get(2 * at) {
        Some(piece) => deal(load_vector(piece), zero()),
        None => (zero(), zero()),
    }
}

#[cold]
#[inline(never)]
#[target_feature(enable = "avx512f,gfni")]
fn store_last(bytes: Vector, shard: &mut [u8], at: usize) {
    if let Some(piece) = shard.as_chunks_mut::<SHARD_UNIT>().0.get_mut(2 * at) {
        store_vector(bytes, piece);
    }
}

/// The lower halves of both, and the upper halves.
#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn deal(a: Vector, b: Vector) -> (Vector, Vector) {
    (_mm512_shuffle_i64x2::<0b01_00_01_00>(a, b), _mm512_shuffle_i64x2::<0b11_10_11_10>(a, b))
}
