//! The reference, in no special instructions.

#![forbid(unsafe_code)]

use super::vector::{
    factors, fetch, forward_layers, inverse_layers, load_planes, load_rows, load_shards, piece,
    piece_mut, vector_kernels,
};
use crate::maps::{self, HALVES};

const LEN: usize = 32;
/// Rows at once in sums.
const SOURCES: usize = 1;

type Vector = [u8; LEN];
/// The images of the sixteen lower halves and of the sixteen upper halves.
type Map = [[u8; 16]; 2];

vector_kernels!();

#[inline]
fn map(number: usize) -> Map {
    HALVES[number]
}

#[inline]
fn map_of_sum(a: usize, b: usize) -> Map {
    let (mut sum, other) = (map(a), map(b));
    for (image, other) in sum.as_flattened_mut().iter_mut().zip(other.as_flattened()) {
        *image ^= other;
    }
    sum
}

#[inline]
fn apply(map: Map, mut vector: Vector) -> Vector {
    for byte in &mut vector {
        *byte = map[0][usize::from(*byte & 15)] ^ map[1][usize::from(*byte >> 4)];
    }
    vector
}

#[inline]
fn zero() -> Vector {
    [0; LEN]
}

#[inline]
fn add(mut a: Vector, b: Vector) -> Vector {
    for (a, b) in a.iter_mut().zip(b) {
        *a ^= b;
    }
    a
}

#[inline]
fn add3(a: Vector, b: Vector, c: Vector) -> Vector {
    add(a, add(b, c))
}

#[inline]
fn load_vector(bytes: &[u8; LEN]) -> Vector {
    *bytes
}

#[inline]
fn store_vector(vector: Vector, bytes: &mut [u8; LEN]) {
    *bytes = vector;
}

#[inline]
fn load_wire(shard: &[u8], at: usize) -> Pair {
    match piece(shard, at) {
        Some(piece) => load_pair(piece),
        None => (zero(), zero()),
    }
}

#[inline]
fn store_wire(bytes: Pair, shard: &mut [u8], at: usize) {
    if let Some(piece) = piece_mut(shard, at) {
        store_pair(bytes, piece);
    }
}
