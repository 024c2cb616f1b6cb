//! The maps of bytes that the kernels apply.
//!
//! Multiplication by a constant is linear over the two-element field, and so is the change between
//! words and planes. All that the kernels do to a byte is one of the linear maps here, which are
//! known by number. They are given in two forms: as an 8 x 8 matrix of bits, for which x86 has an
//! instruction, and as the images of the sixteen lower and the sixteen upper halves of a byte, for
//! shuffles (Plank, Greenan, Miller: Screaming Fast Galois Field Arithmetic Using Intel SIMD
//! Instructions, FAST 2013).

#![forbid(unsafe_code)]

use crate::field::{multiply_by_definition, planes_of_bit, times_d, to_planes};

/// What a byte is multiplied by, an element of the field of 256: the map of this number, from 0.
pub(crate) const TIMES: usize = 0;
/// The same after `LOW`.
const TIMES_LOW: usize = 256;
/// The same after `HIGH`.
const TIMES_HIGH: usize = 512;
/// What the upper byte of a word adds to the lower plane.
pub(crate) const LOW: usize = TIMES_LOW + 1;
/// The upper plane of the upper byte of a word.
pub(crate) const HIGH: usize = TIMES_HIGH + 1;
/// The upper byte of the word by the upper plane.
pub(crate) const HIGH_BACK: usize = 768;
/// What the upper plane adds to the lower byte of the word.
pub(crate) const LOW_BACK: usize = 769;
const COUNT: usize = 770;

/// Multiplication by an element of the large field, on planes: the maps `[a, s, d]` of c0, c0 + c1
/// and d c1. With them (x0, x1) becomes (a x0 + d x1, s (x0 + x1) + a x0).
pub(crate) fn times(word: u16) -> [usize; 3] {
    let (c0, c1) = to_planes(word);
    [c0, c0 ^ c1, TIMES_D[usize::from(c1)]].map(|c| TIMES + usize::from(c))
}

/// Multiplication of a word as it is on the wire, with a result in planes: the maps from the lower
/// byte to either plane, and the pairs of maps whose sums lead from the upper byte to either plane.
pub(crate) fn times_wire(word: u16) -> ([usize; 2], [(usize, usize); 2]) {
    let (c0, c1) = to_planes(word);
    let [c0, c1, sum, dc1] = [c0, c1, c0 ^ c1, TIMES_D[usize::from(c1)]].map(usize::from);
    (
        [TIMES + c0, TIMES + c1],
        [(TIMES_LOW + c0, TIMES_HIGH + dc1), (TIMES_LOW + c1, TIMES_HIGH + sum)],
    )
}

static TIMES_D: [u8; 256] = {
    let mut times = [0; 256];
    let mut c = 0;
    while c < 256 {
        times[c] = times_d(c as u8);
        c += 1;
    }
    times
};

/// The images of the bits of a byte.
type Columns = [u8; 8];

const HIGH_COLUMNS: Columns = {
    let mut columns = [0; 8];
    let mut bit = 0;
    while bit < 8 {
        columns[bit] = planes_of_bit(bit).1;
        bit += 1;
    }
    columns
};

const LOW_COLUMNS: Columns = {
    let mut columns = [0; 8];
    let mut bit = 0;
    while bit < 8 {
        columns[bit] = planes_of_bit(bit).0;
        bit += 1;
    }
    columns
};

const HIGH_BACK_COLUMNS: Columns = {
    let mut columns = [0; 8];
    let mut byte = 0_u16;
    while byte < 256 {
        let image = image(&HIGH_COLUMNS, byte as u8);
        if image.is_power_of_two() {
            columns[image.trailing_zeros() as usize] = byte as u8;
        }
        byte += 1;
    }
    columns
};

/// The columns of all maps.
const ALL: [Columns; COUNT] = {
    let mut all = [[0; 8]; COUNT];
    // By single bits first; the others are their sums.
    let mut c = 1_usize;
    while c < 256 {
        let lowest = c & (!c + 1);
        let mut bit = 0;
        while bit < 8 {
            let mut kind = 0;
            while kind < 3 {
                let x = [1 << bit, LOW_COLUMNS[bit], HIGH_COLUMNS[bit]][kind];
                let at = 256 * kind;
                all[at + c][bit] = if c == lowest {
                    multiply_by_definition(c as u16, x as u16) as u8
                } else {
                    all[at + lowest][bit] ^ all[at + c - lowest][bit]
                };
                kind += 1;
            }
            bit += 1;
        }
        c += 1;
    }
    all[HIGH_BACK] = HIGH_BACK_COLUMNS;
    let mut bit = 0;
    while bit < 8 {
        all[LOW_BACK][bit] = image(&LOW_COLUMNS, HIGH_BACK_COLUMNS[bit]);
        bit += 1;
    }
    all
};

const fn image(columns: &Columns, byte: u8) -> u8 {
    let (mut image, mut bit) = (0, 0);
    while bit < 8 {
        if byte >> bit & 1 == 1 {
            image ^= columns[bit];
        }
        bit += 1;
    }
    image
}

/// The maps as matrices of bits: row i has bit n set where the image of bit n has bit i set. GFNI
/// wants row i in byte 7 - i.
#[cfg(any(target_arch = "x86_64", test))]
pub(crate) static MATRICES: [u64; COUNT] = {
    let mut matrices = [0; COUNT];
    let mut map = 0;
    while map < COUNT {
        let mut n = 0;
        while n < 8 {
            let column = ALL[map][n] as u64;
            let mut i = 0;
            while i < 8 {
                matrices[map] |= (column >> i & 1) << (8 * (7 - i) + n);
                i += 1;
            }
            n += 1;
        }
        map += 1;
    }
    matrices
};

/// The maps as images: of the lower halves of a byte, then of the upper halves.
pub(crate) static HALVES: [[[u8; 16]; 2]; COUNT] = {
    let mut halves = [[[0; 16]; 2]; COUNT];
    let mut map = 0;
    while map < COUNT {
        let mut n = 1;
        while n < 16 {
            let lowest = (n as u32).trailing_zeros() as usize;
            let rest = n & (n - 1);
            halves[map][0][n] = halves[map][0][rest] ^ ALL[map][lowest];
            halves[map][1][n] = halves[map][1][rest] ^ ALL[map][4 + lowest];
            n += 1;
        }
        map += 1;
    }
    halves
};

/// Bytes of all tables of this crate: constants, and the 256 KiB that the first
/// [`Workspace`](crate::Workspace) makes.
pub const TABLES_LEN: usize = size_of_val(&HALVES)
    + COUNT * size_of::<u64>()
    + size_of_val(&TIMES_D)
    + crate::field::TABLES_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(map: usize, byte: u8) -> u8 {
        let halves = &HALVES[map];
        halves[0][usize::from(byte & 15)] ^ halves[1][usize::from(byte >> 4)]
    }

    #[test]
    fn products_are_those_of_the_definition() {
        let mut word = 1_u16;
        for _ in 0..20_000 {
            word = word.wrapping_mul(0x9E35).wrapping_add(0x3619);
            let x = word.rotate_left(7) ^ 0x0F1E;
            let expected = to_planes(multiply_by_definition(word, x));

            let [a, s, d] = times(word);
            let (x0, x1) = to_planes(x);
            let planes = (mapped(a, x0) ^ mapped(d, x1), mapped(s, x0 ^ x1) ^ mapped(a, x0));
            let (from_low, from_high) = times_wire(word);
            let [low, high] = [x as u8, (x >> 8) as u8];
            let [low_plane, high_plane] = [0, 1].map(|plane| {
                let (first, second) = from_high[plane];
                mapped(from_low[plane], low) ^ mapped(first, high) ^ mapped(second, high)
            });

            assert_eq!(planes, expected);
            assert_eq!((low_plane, high_plane), expected);
        }
    }

    #[test]
    fn planes_become_words_again() {
        for word in 0..=u16::MAX {
            let [low, high] = word.to_le_bytes();
            let planes = (low ^ mapped(LOW, high), mapped(HIGH, high));
            assert_eq!(planes, to_planes(word));
            let back = [planes.0 ^ mapped(LOW_BACK, planes.1), mapped(HIGH_BACK, planes.1)];
            assert_eq!(u16::from_le_bytes(back), word);
        }
    }

    #[test]
    fn matrices_are_the_same_maps() {
        for (map, matrix) in MATRICES.iter().enumerate() {
            for byte in [0x01, 0x02, 0x10, 0x80, 0xA7, 0xFF_u8] {
                let rows = matrix.to_le_bytes();
                let image = (0..8)
                    .fold(0, |image, i| image | ((rows[7 - i] & byte).count_ones() as u8 & 1) << i);
                assert_eq!(image, mapped(map, byte), "{map} {byte}");
            }
        }
    }
}
