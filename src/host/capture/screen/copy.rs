//! Copies of frames in DMA-BUFs. The buffer of a frame is the one that the output shows, and the
//! compositor draws there again soon, so what is in it is taken over at once.

#![forbid(unsafe_code)]

use punktfunk_core::net::dmabuf::Reading;

use super::export::{DmaBuf, Error};
use crate::capture::{PIXEL_LEN, Picture};

/// What is new in a copy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Nothing: the compositor shows the same again.
    Nothing,
    /// Some pixels.
    Pixels,
    /// The size, and all pixels with it.
    Size,
}

/// A copy of the newest picture, made as the picture comes. Its memory is used again while the size
/// is the same.
#[derive(Debug, Default)]
pub struct Copy {
    /// Rows of BGRx without gaps.
    bytes: Vec<u8>,
    width: usize,
    height: usize,
    row: Vec<u8>,
}

impl Copy {
    /// Takes over what is in a frame. This is one pass over it, row by row; what is as it was is not
    /// written again.
    pub fn take(&mut self, frame: &DmaBuf) -> Result<Change, Error> {
        let (file, rows) = frame.rows()?;
        let reading = Reading::begin(file, rows.end()).map_err(Error::Read)?;
        let size = (rows.len / PIXEL_LEN, rows.count);
        let is_resized = size != self.size();
        if is_resized {
            (self.width, self.height) = size;
            self.bytes = vec![0; rows.len * rows.count];
            self.row = vec![0; rows.len];
        }
        let mut is_changed = false;
        for (y, to) in self.bytes.chunks_exact_mut(rows.len).enumerate() {
            reading.copy(rows.begin(y), &mut self.row);
            if rows.is_red_first {
                let pixels = self.row.as_chunks_mut::<PIXEL_LEN>().0;
                pixels.iter_mut().for_each(|pixel| pixel.swap(0, 2));
            }
            if *to != *self.row {
                to.copy_from_slice(&self.row);
                is_changed = true;
            }
        }
        Ok(match (is_resized, is_changed) {
            (true, _) => Change::Size,
            (false, true) => Change::Pixels,
            (false, false) => Change::Nothing,
        })
    }

    /// Pixels in a row, and rows; none before the first picture.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The picture.
    pub fn picture(&self) -> Picture<'_> {
        let Copy { bytes, width, height, .. } = self;
        Picture { bytes, stride: width * PIXEL_LEN, width: *width, height: *height }
    }
}

#[cfg(test)]
mod tests {
    use super::super::export::tests::{HEAD, dma_buf, frame, object, ready};
    use super::super::export::{Head, Y_INVERT};
    use super::*;

    #[test]
    fn a_picture_is_rows_of_blue_green_and_red_from_the_top() {
        // Something else, a row above, and a pixel left of either row.
        let bytes = b"...................abcdefgh....ijklmnop";
        let crop = Head { offset: (1, 1), ..HEAD };
        let table = [
            (crop, b"abcdefghijklmnop"),
            (Head { buffer_flags: Y_INVERT, ..crop }, b"ijklmnopabcdefgh"),
            (Head { format: u32::from_le_bytes(*b"XB24"), ..crop }, b"cbadgfehkjilonmp"),
        ];
        for (head, expected) in table {
            let object = object(0, bytes, 39, 3, 12);
            let frame = dma_buf([frame(head), object, ready()]);
            let mut copy = Copy::default();

            assert_eq!(copy.take(&frame).unwrap(), Change::Size);

            let picture = copy.picture();
            assert_eq!((picture.width, picture.height, picture.stride), (2, 2, 8));
            assert_eq!(picture.bytes, expected);
            assert_eq!(copy.take(&frame).unwrap(), Change::Nothing);
        }
    }

    #[test]
    fn one_pixel_is_a_change() {
        let mut copy = Copy::default();
        let mut bytes = [7; 16];
        let mut take = |bytes: &[u8]| {
            let frame = dma_buf([frame(HEAD), object(0, bytes, 16, 0, 8), ready()]);
            assert_eq!(frame.to_string(), "XR24, 8 bytes a row");
            copy.take(&frame).unwrap()
        };

        assert_eq!(take(&bytes), Change::Size);
        assert_eq!(take(&bytes), Change::Nothing);
        bytes[15] = 8;
        assert_eq!(take(&bytes), Change::Pixels);
        assert_eq!(take(&bytes), Change::Nothing);
    }
}
