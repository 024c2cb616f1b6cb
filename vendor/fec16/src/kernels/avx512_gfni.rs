//! GFNI on vectors of AVX-512: a map is a matrix of bits, which one instruction applies.

use std::arch::x86_64::*;

use super::SHARD_UNIT;
use super::vector::vector_kernels;
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

/// Two pieces of a shard, or the last one and zeros; nothing at all is zeros too.
#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn load_wire(shard: &[u8], at: usize) -> Pair {
    let pieces = shard.as_chunks::<SHARD_UNIT>().0;
    let (mut first, mut second) = (zero(), zero());
    if let Some(piece) = pieces.get(2 * at) {
        first = load_vector(piece);
    }
    if let Some(piece) = pieces.get(2 * at + 1) {
        second = load_vector(piece);
    }
    deal(first, second)
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn store_wire(bytes: Pair, shard: &mut [u8], at: usize) {
    let pieces = shard.as_chunks_mut::<SHARD_UNIT>().0;
    let (first, second) = deal(bytes.0, bytes.1);
    if let Some(piece) = pieces.get_mut(2 * at) {
        store_vector(first, piece);
    }
    if let Some(piece) = pieces.get_mut(2 * at + 1) {
        store_vector(second, piece);
    }
}

/// The lower halves of both, and the upper halves.
#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn deal(a: Vector, b: Vector) -> (Vector, Vector) {
    (_mm512_shuffle_i64x2::<0b01_00_01_00>(a, b), _mm512_shuffle_i64x2::<0b11_10_11_10>(a, b))
}
