//! Every kernel that this machine has, held to the scalar one; that one, to the definition.

#![forbid(unsafe_code)]

use super::*;
use crate::field::multiply_polynomials;
use random::Random;

#[path = "../../tests/random/mod.rs"]
mod random;

/// Random sums of `count` sources of `len` bytes, by this kernel. Source s begins `offset` + s bytes
/// behind where memory was given, sum r 3 `offset` + r; what is around the sums is returned as well.
fn random_sums<const R: usize>(
    kernel: Kernel,
    seed: u64,
    (count, len, offset): (usize, usize, usize),
    start: Start,
) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    let coefficients: Vec<[u8; R]> =
        (0..count).map(|_| std::array::from_fn(|_| random.next() as u8)).collect();
    let sources: Vec<Vec<u8>> = (0..count).map(|_| random.bytes(len + offset + count)).collect();
    let sources: Vec<&[u8]> =
        sources.iter().enumerate().map(|(s, bytes)| &bytes[offset + s..][..len]).collect();
    let mut sums: Vec<Vec<u8>> = (0..R).map(|_| random.bytes(len + 3 * offset + R + 70)).collect();
    let mut rows = sums.iter_mut().enumerate();
    let rows = std::array::from_fn(|_| {
        let (r, bytes) = rows.next().unwrap();
        &mut bytes[3 * offset + r..][..len]
    });
    kernel.sum::<R>(&coefficients, &sources, rows, start);
    sums
}

#[track_caller]
fn hold_to_scalar<const R: usize>(case: (usize, usize, usize)) {
    for start in [Start::Zero, Start::Sums] {
        let expected = random_sums::<R>(Kernel(Backend::Scalar), 7, case, start);
        for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
            let found = random_sums::<R>(kernel, 7, case, start);
            assert!(found == expected, "{:?}: {R} rows, {case:?}, {start:?}", kernel.backend());
        }
    }
}

#[test]
fn the_scalar_kernel_multiplies_by_the_definition() {
    let source: Vec<u8> = (0..=255).collect();
    for coefficient in 0..=255 {
        let mut sum = vec![0x5A; 256];

        scalar::sum(&[[coefficient]], &[&source], [&mut sum], Start::Sums);

        for (byte, sum) in source.iter().zip(&sum) {
            assert_eq!(*sum, 0x5A ^ multiply_polynomials(coefficient, *byte));
        }
    }
}

#[test]
fn every_kernel_multiplies_by_every_coefficient() {
    let source: Vec<u8> = (0..=255).collect();
    for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
        for coefficient in 0..=255 {
            let (mut sum, mut expected) = (vec![0; 256], vec![0; 256]);

            kernel.sum(&[[coefficient]], &[&source], [&mut sum], Start::Zero);

            scalar::sum(&[[coefficient]], &[&source], [&mut expected], Start::Zero);
            assert_eq!(sum, expected, "{:?} {coefficient}", kernel.backend());
        }
    }
}

#[test]
fn every_kernel_takes_every_length() {
    for len in 1..=600 {
        hold_to_scalar::<1>((3, len, 0));
        hold_to_scalar::<3>((2, len, 0));
        hold_to_scalar::<8>((2, len, 0));
    }
}

#[test]
fn every_kernel_takes_every_alignment() {
    for offset in 0..64 {
        for len in [1, 15, 16, 63, 64, 65, 129, 333] {
            hold_to_scalar::<2>((3, len, offset));
            hold_to_scalar::<7>((3, len, offset));
        }
    }
}

#[test]
fn every_kernel_takes_every_number_of_rows_and_sources() {
    for count in 0..=16 {
        for len in [5, 100, 257] {
            hold_to_scalar::<1>((count, len, 1));
            hold_to_scalar::<2>((count, len, 1));
            hold_to_scalar::<3>((count, len, 1));
            hold_to_scalar::<4>((count, len, 1));
            hold_to_scalar::<5>((count, len, 1));
            hold_to_scalar::<6>((count, len, 1));
            hold_to_scalar::<7>((count, len, 1));
            hold_to_scalar::<8>((count, len, 1));
        }
    }
}

#[test]
fn x86_has_all_its_kernels_where_the_processor_has() {
    assert!(Backend::Scalar.is_available());
    assert_eq!(Backend::Neon.is_available(), cfg!(target_arch = "aarch64"));
    let missing = Backend::ALL.into_iter().filter(|backend| !backend.is_available());
    println!("not tested on this machine: {:?}", missing.collect::<Vec<_>>());
}

#[test]
fn a_matrix_of_bits_is_the_coefficient() {
    for (c, matrix) in MATRICES.iter().enumerate() {
        for byte in 0..=255_u8 {
            let mut product = 0;
            for i in 0..8 {
                let row = matrix.to_le_bytes()[7 - i];
                product |= ((row & byte).count_ones() as u8 & 1) << i;
            }
            assert_eq!(product, multiply_polynomials(c as u8, byte));
        }
    }
}
