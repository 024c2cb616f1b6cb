//! GFNI on vectors of AVX-512: a map is a matrix of bits, which one instruction applies.

use std::arch::x86_64::*;

use super::SHARD_UNIT;
use super::vector::{
    factors, fetch, forward_layers, inverse_layers, load_planes, load_rows, load_shards,
    vector_kernels,
};
use crate::maps::{self, MATRICES};

const LEN: usize = 64;
const HALF: usize = LEN / 2;
/// Rows at once in sums: with their maps, sixteen, they fit the registers.
const SOURCES: usize = 4;

type Vector = __m512i;
/// The matrix.
type Map = u64;

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
    MATRICES[number]
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn map_of_sum(a: usize, b: usize) -> Map {
    MATRICES[a] ^ MATRICES[b]
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn apply(map: Map, vector: Vector) -> Vector {
    _mm512_gf2p8affine_epi64_epi8::<0>(vector, _mm512_set1_epi64(map.cast_signed()))
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn load_wire(shard: &[u8], at: usize) -> Pair {
    match shard.as_chunks::<PAIR>().0.get(at) {
        Some(bytes) => {
            let [a, b, c, d] = bytes.as_chunks::<HALF>().0 else { unreachable!("four halves") };
            (load_halves(a, c), load_halves(b, d))
        }
        None => load_last(shard, at),
    }
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn store_wire(bytes: Pair, shard: &mut [u8], at: usize) {
    let len = shard.len();
    match shard.as_chunks_mut::<PAIR>().0.get_mut(at) {
        Some(piece) => {
            let [a, b, c, d] = piece.as_chunks_mut::<HALF>().0 else { unreachable!("four halves") };
            store_halves(bytes.0, a, c);
            store_halves(bytes.1, b, d);
        }
        None if len > at * PAIR => store_last(deal(bytes.0, bytes.1).0, shard, at),
        None => {}
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

/// A vector from two places. Shards lie anywhere, and loads of half the length cross the lines of
/// the cache half as often.
#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn load_halves(lower: &[u8; HALF], upper: &[u8; HALF]) -> Vector {
    // SAFETY: both are HALF bytes long, and the loads want no alignment.
    let (lower, upper) = unsafe {
        (_mm256_loadu_si256(lower.as_ptr().cast()), _mm256_loadu_si256(upper.as_ptr().cast()))
    };
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(lower), upper)
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn store_halves(vector: Vector, lower: &mut [u8; HALF], upper: &mut [u8; HALF]) {
    // SAFETY: both are HALF bytes long and ours, and the stores want no alignment.
    unsafe {
        _mm256_storeu_si256(lower.as_mut_ptr().cast(), _mm512_castsi512_si256(vector));
        _mm256_storeu_si256(upper.as_mut_ptr().cast(), _mm512_extracti64x4_epi64::<1>(vector));
    }
}

/// The lower halves of both, and the upper halves.
#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn deal(a: Vector, b: Vector) -> (Vector, Vector) {
    (_mm512_shuffle_i64x2::<0b01_00_01_00>(a, b), _mm512_shuffle_i64x2::<0b11_10_11_10>(a, b))
}
