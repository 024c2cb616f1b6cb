//! Every kernel that this machine has, held to the scalar one; that one, to the definition.

#![forbid(unsafe_code)]

use super::*;
use crate::field::multiply_by_definition;
use random::Random;

#[path = "../../tests/random/mod.rs"]
mod random;

const SCALAR: Kernel = Kernel(Backend::Scalar);

/// The words of a shard.
fn words(shard: &[u8]) -> Vec<u16> {
    let pieces = shard.as_chunks::<SHARD_UNIT>().0;
    let words = pieces
        .iter()
        .flat_map(|piece| (0..32).map(|at| u16::from_le_bytes([piece[at], piece[at + 32]])));
    words.collect()
}

/// A block in which parts of this length begin at odd places.
fn parts<const R: usize>(bytes: &[u8], len: usize) -> [&[u8]; R] {
    std::array::from_fn(|at| &bytes[at * (len + 3) + 1..][..len])
}

fn rows<const R: usize>(bytes: &mut [u8], len: usize) -> [&mut [u8]; R] {
    let mut rows = bytes.chunks_exact_mut(len);
    std::array::from_fn(|_| rows.next().unwrap())
}

/// All that the kernels do to R values, with bytes of shards at both ends.
fn everything<const R: usize>(kernel: Kernel, seed: u64, units: usize, place: usize) -> Vec<u8> {
    let random = &mut Random(seed);
    let len = SHARD_UNIT * units;
    let row = len.next_multiple_of(ROW_UNIT);
    let shards = random.bytes(8 * (len + 4));
    let by: [u16; 4] = std::array::from_fn(|_| random.next() as u16);
    let mut first = vec![0; R * row];
    let mut second = vec![0; R * row];
    kernel.load::<R>(parts(&shards, len), parts(&shards, len), rows(&mut first, row), place);
    kernel.inverse::<R>(rows(&mut first, row), place / 2 / R * R);
    kernel.fold::<R>(
        std::array::from_fn(|at| &first[at * row..][..row]),
        rows(&mut second, row),
        place,
        None,
    );
    let none = [&[][..]; R];
    kernel.load_fold::<R>(parts(&shards, len), none, rows(&mut second, row), place, Some(by[0]));
    kernel.fold::<R>(
        std::array::from_fn(|at| &first[at * row..][..row]),
        rows(&mut second, row),
        0,
        Some(by[1]),
    );
    kernel.combine::<R>(
        &[[by[2]; R], [by[3]; R]],
        &parts::<2>(&shards, len),
        rows(&mut second, row),
    );
    kernel.combine_rows::<R>(&[[by[0]; R]], &[&first[..row]], rows(&mut second, row));
    kernel.absorb(&mut second[..row], parts::<1>(&shards, len)[0], by[2]);
    kernel.forward::<R>(rows(&mut second, row), place);
    let mut results = random.bytes((R + 1) * (len + 1));
    let mut sinks = results.chunks_exact_mut(len + 1).map(|sink| &mut sink[1..]);
    let one = sinks.next().unwrap();
    kernel.emit(&second[..row], one, by[3]);
    kernel.store::<R>(
        std::array::from_fn(|at| &second[at * row..][..row]),
        std::array::from_fn(|at| if at == 1 { &mut [][..] } else { sinks.next().unwrap() }),
        place,
    );
    drop(sinks);
    kernel.add(&parts::<2>(&shards, len), &mut results[1..=len]);
    results
}

#[test]
fn the_scalar_kernel_multiplies_by_the_definition() {
    let random = &mut Random(1);
    for _ in 0..100 {
        let (shard, by) = (random.bytes(SHARD_UNIT), random.next() as u16);
        let (mut row, mut wire, mut result) = ([0; ROW_UNIT], [0; ROW_UNIT], [0; SHARD_UNIT]);

        SCALAR.combine(&[[by]], &[&shard], [&mut wire]);
        SCALAR.absorb(&mut row, &shard, by);
        SCALAR.emit(&row, &mut result, 1);

        assert_eq!(row, wire);
        for (found, word) in words(&result).into_iter().zip(words(&shard)) {
            assert_eq!(found, multiply_by_definition(word, by));
        }
    }
}

#[test]
fn the_scalar_kernel_evaluates_a_pair() {
    let random = &mut Random(2);
    for place in [0, 2, 254, 256, 4096, 65_534] {
        let shards = [random.bytes(SHARD_UNIT), random.bytes(SHARD_UNIT)];
        let mut memory = [0; 2 * ROW_UNIT];
        let mut results = [[0; SHARD_UNIT]; 2];

        SCALAR.load::<2>([&shards[0], &shards[1]], [&[]; 2], rows(&mut memory, ROW_UNIT), place);
        let planes = memory;
        SCALAR.emit(&planes[..ROW_UNIT], &mut results[0], 1);
        SCALAR.emit(&planes[ROW_UNIT..], &mut results[1], 1);

        // c0 + c1 x has these values at the words `place` and `place + 1`.
        let [c0, c1] = results.map(|result| words(&result));
        for (at, shard) in shards.iter().enumerate() {
            for (word, value) in words(shard).into_iter().enumerate() {
                let x = (place + at) as u16;
                assert_eq!(c0[word] ^ multiply_by_definition(c1[word], x), value);
            }
        }
    }
}

#[test]
fn every_kernel_does_what_the_scalar_one_does() {
    for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
        for (seed, place) in (0..).zip([0, 8, 240, 248, 256, 504, 512, 1016, 1024, 4088, 65_528]) {
            for units in [1, 2, 3, 4, 5, 8, 11] {
                macro_rules! hold {
                    ($R:literal) => {
                        let found = everything::<$R>(kernel, seed, units, place);
                        let expected = everything::<$R>(SCALAR, seed, units, place);
                        assert!(
                            found == expected,
                            "{}: {} values, {units} units, {place}",
                            kernel.backend(),
                            $R
                        );
                    };
                }
                hold!(2);
                hold!(4);
                hold!(8);
            }
        }
    }
}

/// Every fourth row from this one on.
fn every_fourth(memory: &mut [u8], first: usize) -> [&mut [u8]; 4] {
    let mut rows = memory.chunks_exact_mut(ROW_UNIT).skip(first).step_by(4);
    std::array::from_fn(|_| rows.next().unwrap())
}

#[test]
fn sixteen_values_at_once_are_four_times_four_twice() {
    let is_wide = |kernel: &Kernel| kernel.small_layers_max() == 4;
    let wide = Backend::ALL.into_iter().filter_map(Kernel::new).filter(is_wide);
    for kernel in wide.chain([SCALAR]) {
        for (seed, place) in (10..).zip([0, 16, 128, 240]) {
            let values = Random(seed).bytes(16 * ROW_UNIT);

            let mut expected = values.clone();
            for (group, memory) in expected.chunks_exact_mut(4 * ROW_UNIT).enumerate() {
                SCALAR.inverse::<4>(rows(memory, ROW_UNIT), place + 4 * group);
            }
            for first in 0..4 {
                SCALAR.inverse::<4>(every_fourth(&mut expected, first), place / 4);
            }

            let mut inverse = values.clone();
            kernel.inverse::<16>(rows(&mut inverse, ROW_UNIT), place);
            assert!(inverse == expected, "{}, {place}", kernel.backend());

            kernel.forward::<16>(rows(&mut inverse, ROW_UNIT), place);
            assert!(inverse == values, "{}, {place}", kernel.backend());

            let mut sums = values.clone();
            let sources = std::array::from_fn(|at| &values[at * ROW_UNIT..][..ROW_UNIT]);
            kernel.fold::<16>(sources, rows(&mut sums, ROW_UNIT), place, None);
            let sum = values.iter().zip(&expected).map(|(value, inverse)| value ^ inverse);
            assert!(sum.eq(sums), "{}, {place}", kernel.backend());
        }
    }
}
