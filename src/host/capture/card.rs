//! The card in a test picture: colours that are known, for whoever measures what became of them.
//!
//! It is as large as the barcode and lies to the right of it. In cells of the barcode it is 16 wide
//! and 8 high: a row of eight greys, a row of eight colours, each a patch of 2 by 2 cells; below them
//! four gradients, each a cell high and as wide as the card. The formula is all integers, and
//! tests/moonlight/measure.py has the same.

#![forbid(unsafe_code)]

use super::PIXEL_LEN;
use super::barcode::{COLUMN_COUNT, ROW_COUNT};

/// Red, green, blue: dark and light ones of every hue.
const COLOURS: [[u8; 3]; 8] = [
    [192, 32, 32],
    [32, 160, 32],
    [32, 64, 192],
    [192, 176, 32],
    [32, 160, 176],
    [176, 48, 176],
    [224, 160, 128],
    [80, 56, 40],
];

/// The whole card, rows of BGRx without a gap.
pub fn pixels(cell_len: usize) -> Vec<u8> {
    let (width, height) = (COLUMN_COUNT * cell_len, ROW_COUNT * cell_len);
    let mut pixels = Vec::with_capacity(width * height * PIXEL_LEN);
    for y in 0..height {
        for x in 0..width {
            let [red, green, blue] = colour(x, y, cell_len);
            pixels.extend_from_slice(&[blue, green, red, 0]);
        }
    }
    pixels
}

/// Red, green and blue of a pixel.
fn colour(x: usize, y: usize, cell_len: usize) -> [u8; 3] {
    let patch = x / (2 * cell_len);
    let rise = (x * 255 / (COLUMN_COUNT * cell_len - 1)) as u8;
    let fall = 255 - rise;
    match y / cell_len {
        0 | 1 => [(16 + 31 * patch) as u8; 3],
        2 | 3 => COLOURS[patch],
        4 => [rise, rise, rise],
        5 => [rise, 128, fall],
        6 => [fall, rise, 128],
        _ => [128, fall, rise],
    }
}
