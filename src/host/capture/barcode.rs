//! The barcode in a test picture: which frame of the source it is, and when that was captured.
//!
//! 16 columns and 8 rows of square cells, light for one and dark for zero, at the top left of the
//! picture. The first row is always the same and tells a reader what light and dark look like by
//! now. The others are 112 bits in reading order, high ones first: number (32), time (64), and the
//! CRC-16 of the 12 bytes that these are (polynomial 1021, register beginning as FFFF).
//!
//! A cell is 8 pixels for every 640 the picture is wide, so that it meets the blocks of encoders and
//! outlives them at any bitrate, and so that a picture that is scaled keeps its barcode where a reader
//! of the new size looks. Pictures below 320x180 have no room for it. Cells are not of one colour but
//! shaded and rough: fast AV1 encoders (libaom, SVT-AV1) take a flat block whose level alone changes
//! for one that does not change.

#![forbid(unsafe_code)]

use super::PIXEL_LEN;
#[cfg(test)]
use super::Picture;

/// Cells in a row.
pub const COLUMN_COUNT: usize = 16;
/// Rows of cells.
pub const ROW_COUNT: usize = 8;

/// The first row.
const SYNC: u16 = 0xAC53;
/// Of the levels of dark and light, of 255; below it there is no barcode.
#[cfg(test)]
const CONTRAST_MIN: u32 = 32;
/// All rows, one bit to a cell, from the first down.
type Cells = [u16; ROW_COUNT];

/// What a barcode says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Of the frame, as the source counts.
    pub number: u32,
    /// When it was captured, by the clock of the host.
    pub time_us: u64,
}

impl Reading {
    fn bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.number.to_be_bytes());
        bytes[4..].copy_from_slice(&self.time_us.to_be_bytes());
        bytes
    }

    fn cells(self) -> Cells {
        let bytes = self.bytes();
        let mut cells = [0; ROW_COUNT];
        cells[0] = SYNC;
        for (row, pair) in cells[1..].iter_mut().zip(bytes.chunks_exact(2)) {
            *row = u16::from_be_bytes([pair[0], pair[1]]);
        }
        cells[ROW_COUNT - 1] = crc(&bytes);
        cells
    }
}

/// Pixels along a side of a cell in pictures of this size, if these have a barcode.
pub fn cell_len(width: usize, height: usize) -> Option<usize> {
    let has_room = width >= 320 && height >= 180;
    has_room.then(|| 8 * (width / 640).min(height / 360).max(1))
}

/// Draws barcodes of one size.
#[derive(Debug)]
pub struct Pen {
    cell_len: usize,
    /// The pixels of a dark cell and of a light one.
    inks: [Vec<u8>; 2],
}

impl Pen {
    /// For cells of so many pixels along a side.
    pub fn new(cell_len: usize) -> Pen {
        let ink = |is_light: bool| {
            let mut noise = 1_u32;
            let pixel = |index: usize| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let depth = 16 + (noise >> 27) as u8 + (index % cell_len * 80 / cell_len) as u8;
                let level = if is_light { 255 - depth } else { depth };
                [level, level, level, 0]
            };
            (0..cell_len * cell_len).flat_map(pixel).collect()
        };
        Pen { cell_len, inks: [ink(false), ink(true)] }
    }

    /// Draws a barcode, and nothing else, into `pixels`: rows without a gap.
    pub fn draw(&self, reading: Reading, pixels: &mut [u8]) {
        let ink_len = self.cell_len * PIXEL_LEN;
        let cells = reading.cells();
        for (y, row) in pixels.chunks_exact_mut(COLUMN_COUNT * ink_len).enumerate() {
            let bits = cells[y / self.cell_len];
            let from = y % self.cell_len * ink_len;
            for (column, cell) in row.chunks_exact_mut(ink_len).enumerate() {
                let ink = &self.inks[usize::from(is_set(bits, column))];
                cell.copy_from_slice(&ink[from..][..ink_len]);
            }
        }
    }
}

/// What the barcode of a picture says, if there is one and no bit of it is wrong.
#[cfg(test)]
pub fn read(picture: &Picture<'_>) -> Option<Reading> {
    let cell_len = cell_len(picture.width, picture.height)?;
    let level = |row: usize, column: usize| level(picture, cell_len, row, column);
    let mean = |is_light: bool| {
        let columns = (0..COLUMN_COUNT).filter(|column| is_set(SYNC, *column) == is_light);
        columns.map(|column| level(0, column)).sum::<u32>() / (COLUMN_COUNT as u32 / 2)
    };
    let (dark, light) = (mean(false), mean(true));
    if light < dark + CONTRAST_MIN {
        return None;
    }
    let threshold = (dark + light) / 2;
    let row = |row: usize| {
        (0..COLUMN_COUNT)
            .fold(0, |bits, column| bits << 1 | u16::from(level(row, column) > threshold))
    };
    let cells: Cells = std::array::from_fn(row);
    let wide = |rows: &[u16]| rows.iter().fold(0, |value, row| value << 16 | u64::from(*row));
    let reading = Reading { number: wide(&cells[1..3]) as u32, time_us: wide(&cells[3..7]) };
    (reading.cells() == cells).then_some(reading)
}

fn is_set(bits: u16, column: usize) -> bool {
    bits >> (COLUMN_COUNT - 1 - column) & 1 == 1
}

/// The mean of the middle of a cell, of 255.
#[cfg(test)]
fn level(picture: &Picture<'_>, cell_len: usize, row: usize, column: usize) -> u32 {
    let (margin, middle_len) = (cell_len / 4, cell_len / 2);
    let mut sum = 0;
    for y in 0..middle_len {
        let from = (column * cell_len + margin) * PIXEL_LEN;
        let pixels = &picture.row(row * cell_len + margin + y)[from..][..middle_len * PIXEL_LEN];
        for pixel in pixels.chunks_exact(PIXEL_LEN) {
            sum += pixel[..3].iter().map(|part| u32::from(*part)).sum::<u32>();
        }
    }
    sum / (3 * middle_len * middle_len) as u32
}

fn crc(bytes: &[u8]) -> u16 {
    let step = |crc: u16, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
    bytes.iter().fold(0xFFFF, |crc, byte| (0..8).fold(crc ^ u16::from(*byte) << 8, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    const READING: Reading = Reading { number: 0x0102_0304, time_us: 0xFEDC_BA98_7654_3210 };

    /// A grey picture with a barcode.
    fn pixels(width: usize, height: usize) -> Vec<u8> {
        let mut pixels = vec![90; width * height * PIXEL_LEN];
        let cell_len = cell_len(width, height).unwrap();
        let row_len = COLUMN_COUNT * cell_len * PIXEL_LEN;
        let mut barcode = vec![0; row_len * ROW_COUNT * cell_len];
        Pen::new(cell_len).draw(READING, &mut barcode);
        let rows = pixels.chunks_exact_mut(width * PIXEL_LEN);
        for (row, drawn) in rows.zip(barcode.chunks_exact(row_len)) {
            row[..row_len].copy_from_slice(drawn);
        }
        pixels
    }

    fn picture(bytes: &[u8], width: usize, height: usize) -> Picture<'_> {
        Picture { bytes, stride: width * PIXEL_LEN, width, height }
    }

    #[test]
    fn the_crc_is_that_of_the_catalogue() {
        assert_eq!(crc(b"123456789"), 0x29B1);
    }

    #[test]
    fn cells_grow_with_the_picture_and_fit_it() {
        for (width, height, expected) in [
            (64, 64, None),
            (318, 180, None),
            (320, 178, None),
            (320, 180, Some(8)),
            (1280, 720, Some(16)),
            (1280, 800, Some(16)),
            (1920, 1080, Some(24)),
            (1080, 1920, Some(8)),
            (5120, 1440, Some(32)),
            (7680, 4320, Some(96)),
        ] {
            assert_eq!(cell_len(width, height), expected, "{width}x{height}");
        }
    }

    #[test]
    fn what_is_drawn_is_read_whatever_became_of_its_levels() {
        let sharp = pixels(640, 360);
        let pale: Vec<u8> = sharp.iter().map(|level| 60 + level / 2).collect();
        let flat: Vec<u8> = sharp.iter().map(|level| 60 + level / 8).collect();

        assert_eq!(read(&picture(&sharp, 640, 360)), Some(READING));
        assert_eq!(read(&picture(&pale, 640, 360)), Some(READING));
        assert_eq!(read(&picture(&flat, 640, 360)), None);
        assert_eq!(read(&picture(&vec![90; sharp.len()], 640, 360)), None);
    }

    #[test]
    fn a_barcode_with_a_wrong_cell_is_not_read() {
        let sharp = pixels(640, 360);

        for cell in 0..COLUMN_COUNT * ROW_COUNT {
            let (row, column) = (cell / COLUMN_COUNT, cell % COLUMN_COUNT);
            let mut damaged = sharp.clone();
            for y in row * 8..(row + 1) * 8 {
                let from = (y * 640 + column * 8) * PIXEL_LEN;
                damaged[from..][..8 * PIXEL_LEN].iter_mut().for_each(|level| *level ^= 255);
            }
            assert_eq!(read(&picture(&damaged, 640, 360)), None, "{row} {column}");
        }
    }
}
