//! Copies of frames in DMA-BUFs. The buffer of a frame is the one that the output shows, and the
//! compositor draws there again soon, so what is in it is taken over at once.

#![forbid(unsafe_code)]

use punktfunk_core::net::dmabuf::Reading;

use super::export::{DmaBuf, Error};
use super::upright;
use crate::capture::{PIXEL_LEN, Picture};
use crate::turn::Turn;

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
    /// How the picture lies there, and that upright where it does not.
    turn: Turn,
    upright: Vec<u8>,
}

impl Copy {
    /// Takes over what is in a frame, where it lies like that. This is one pass over it, row by row;
    /// what is as it was is not written again. Where it is turned, what is changed is another one.
    pub fn take(&mut self, frame: &DmaBuf, turn: Turn) -> Result<Change, Error> {
        let (file, rows) = frame.rows()?;
        let reading = Reading::begin(file, rows.end()).map_err(Error::Read)?;
        let (size, before) = ((rows.len / PIXEL_LEN, rows.count), self.size());
        let mut is_changed = turn != self.turn;
        self.turn = turn;
        if size != (self.width, self.height) {
            is_changed = true;
            (self.width, self.height) = size;
            self.bytes = vec![0; rows.len * rows.count];
            self.row = vec![0; rows.len];
        }
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
        if is_changed && !turn.is_none() {
            upright::copy(turn, &raw(&self.bytes, size), &mut self.upright);
        }
        Ok(match (self.size() != before, is_changed) {
            (true, _) => Change::Size,
            (false, true) => Change::Pixels,
            (false, false) => Change::Nothing,
        })
    }

    /// Pixels in a row, and rows; none before the first picture.
    pub fn size(&self) -> (usize, usize) {
        self.turn.size((self.width, self.height))
    }

    /// The picture.
    pub fn picture(&self) -> Picture<'_> {
        let bytes = if self.turn.is_none() { &self.bytes } else { &self.upright };
        raw(bytes, self.size())
    }
}

/// Rows of that width without gaps.
fn raw(bytes: &[u8], (width, height): (usize, usize)) -> Picture<'_> {
    Picture { bytes, stride: width * PIXEL_LEN, width, height }
}

#[cfg(test)]
mod tests {
    use wayland_client::protocol::wl_output::Transform;

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

            assert_eq!(copy.take(&frame, Turn::default()).unwrap(), Change::Size);

            let picture = copy.picture();
            assert_eq!((picture.width, picture.height, picture.stride), (2, 2, 8));
            assert_eq!(picture.bytes, expected);
            assert_eq!(copy.take(&frame, Turn::default()).unwrap(), Change::Nothing);
        }
    }

    #[test]
    fn a_picture_that_is_turned_is_another_one_and_upright() {
        let head = Head { height: 1, ..HEAD };
        let whole = dma_buf([frame(head), object(0, b"abcdefgh", 8, 0, 8), ready()]);
        let table = [
            (Transform::_90, Change::Size, (1, 2), b"abcdefgh"),
            (Transform::_90, Change::Nothing, (1, 2), b"abcdefgh"),
            (Transform::_270, Change::Pixels, (1, 2), b"efghabcd"),
            (Transform::_180, Change::Size, (2, 1), b"efghabcd"),
            (Transform::Normal, Change::Pixels, (2, 1), b"abcdefgh"),
        ];
        let mut copy = Copy::default();
        for (transform, change, size, expected) in table {
            assert_eq!(copy.take(&whole, transform.into()).unwrap(), change, "{transform:?}");

            let picture = copy.picture();
            assert_eq!((picture.width, picture.height), size);
            assert_eq!(picture.stride, 4 * size.0);
            assert_eq!(picture.bytes, expected, "{transform:?}");
        }
    }

    #[test]
    fn one_pixel_is_a_change() {
        let mut copy = Copy::default();
        let mut bytes = [7; 16];
        let mut take = |bytes: &[u8]| {
            let frame = dma_buf([frame(HEAD), object(0, bytes, 16, 0, 8), ready()]);
            assert_eq!(frame.to_string(), "XR24, 8 bytes a row");
            copy.take(&frame, Turn::default()).unwrap()
        };

        assert_eq!(take(&bytes), Change::Size);
        assert_eq!(take(&bytes), Change::Nothing);
        bytes[15] = 8;
        assert_eq!(take(&bytes), Change::Pixels);
        assert_eq!(take(&bytes), Change::Nothing);
    }
}
