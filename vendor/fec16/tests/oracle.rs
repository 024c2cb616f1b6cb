//! The parity is that of Leopard, as another library has it.

mod random;

use fec16::{Backend, Code, Workspace};
use random::Random;
use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{HighRateEncoder, RateEncoder};

/// The parity by reed-solomon-simd.
fn expected(data: &[Vec<u8>], parity_count: usize) -> Vec<Vec<u8>> {
    let engine = DefaultEngine::new();
    let mut encoder =
        HighRateEncoder::new(data.len(), parity_count, data[0].len(), engine, None).unwrap();
    data.iter().for_each(|shard| encoder.add_original_shard(shard).unwrap());
    encoder.encode().unwrap().recovery_iter().map(<[u8]>::to_vec).collect()
}

#[track_caller]
fn agrees(data_count: usize, parity_count: usize, len: usize, backends: &[Backend]) {
    let random = &mut Random((data_count * 70_000 + parity_count) as u64);
    let data: Vec<Vec<u8>> = (0..data_count).map(|_| random.bytes(len)).collect();
    let expected = expected(&data, parity_count);
    for backend in backends {
        let Ok(code) = Code::new(data_count, parity_count).unwrap().with_backend(*backend) else {
            continue;
        };
        let mut parity: Vec<Vec<u8>> = (0..parity_count).map(|_| random.bytes(len)).collect();

        code.protect(&mut Workspace::new(code), &data, &mut parity).unwrap();

        assert!(parity == expected, "{data_count}+{parity_count} of {len} bytes, {backend}");
    }
}

#[test]
fn small_blocks_have_the_parity_of_leopard() {
    for data_count in 1..=40 {
        for parity_count in 1..=40 {
            agrees(data_count, parity_count, 64, &Backend::ALL);
        }
    }
}

#[test]
fn blocks_of_all_sizes_have_the_parity_of_leopard() {
    let random = &mut Random(1);
    for _ in 0..60 {
        let parity_count = 1 + (random.below(1 << 20) >> random.below(20)) % 1000;
        let data_count = 1 + (random.below(1 << 20) >> random.below(20)) % 3000;
        agrees(data_count, parity_count, 64 * (1 + random.below(4)), &Backend::ALL);
    }
}

#[test]
fn the_largest_blocks_have_the_parity_of_leopard() {
    let fast = &Backend::ALL[..3];
    for (data_count, parity_count) in [
        (65_535, 1),
        (65_534, 2),
        (1, 32_768),
        (32_768, 32_768),
        (49_152, 16_384),
        (32_768, 20_000),
    ] {
        agrees(data_count, parity_count, 64, fast);
    }
}

#[test]
fn shards_of_every_length_have_the_parity_of_leopard() {
    for units in 1..=45 {
        agrees(70, 13, 64 * units, &Backend::ALL);
        agrees(37, 3, 64 * units, &Backend::ALL);
    }
}
