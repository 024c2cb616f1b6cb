//! Pictures of outputs that are turned or mirrored. A compositor draws for the screen, which hangs
//! on its side or upside down; what is to be seen is upright.

#![forbid(unsafe_code)]

use wayland_client::protocol::wl_output::Transform;

use crate::capture::{PIXEL_LEN, Picture};

/// Pixels of a square that is copied at once, so that the columns of one picture and the rows of the
/// other are both in the processor's cache.
const TILE: usize = 32;

/// How a picture lies in its buffer, by where a pixel of the upright picture comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Turn {
    /// Rows are columns. This comes before the others.
    is_on_its_side: bool,
    /// Pixels count from the right of the buffer.
    is_from_right: bool,
    /// Rows count from its bottom.
    is_from_bottom: bool,
}

impl From<Transform> for Turn {
    fn from(transform: Transform) -> Turn {
        let (is_on_its_side, is_from_right, is_from_bottom) = match transform {
            Transform::_90 => (true, false, true),
            Transform::_180 => (false, true, true),
            Transform::_270 => (true, true, false),
            Transform::Flipped => (false, true, false),
            Transform::Flipped90 => (true, false, false),
            Transform::Flipped180 => (false, false, true),
            Transform::Flipped270 => (true, true, true),
            _ => (false, false, false),
        };
        Turn { is_on_its_side, is_from_right, is_from_bottom }
    }
}

impl Turn {
    /// Whether a picture is upright in its buffer.
    pub fn is_none(self) -> bool {
        self == Turn::default()
    }

    /// Width and height of the upright picture of a buffer.
    pub fn size(self, (width, height): (usize, usize)) -> (usize, usize) {
        if self.is_on_its_side { (height, width) } else { (width, height) }
    }

    /// Puts the upright picture of a buffer into `to`, in rows without gaps.
    pub fn copy(self, from: &Picture<'_>, to: &mut Vec<u8>) {
        let (width, height) = self.size((from.width, from.height));
        to.resize(width * height * PIXEL_LEN, 0);
        for top in (0..height).step_by(TILE) {
            for left in (0..width).step_by(TILE) {
                let count = TILE.min(width - left);
                for y in top..height.min(top + TILE) {
                    let row = &mut to[(y * width + left) * PIXEL_LEN..][..count * PIXEL_LEN];
                    for (pixel, x) in row.as_chunks_mut::<PIXEL_LEN>().0.iter_mut().zip(left..) {
                        pixel.copy_from_slice(&from.bytes[self.offset(from, x, y)..][..PIXEL_LEN]);
                    }
                }
            }
        }
    }

    /// Where a pixel of the upright picture is in the buffer.
    fn offset(self, from: &Picture<'_>, x: usize, y: usize) -> usize {
        let (x, y) = if self.is_on_its_side { (y, x) } else { (x, y) };
        let x = if self.is_from_right { from.width - 1 - x } else { x };
        let y = if self.is_from_bottom { from.height - 1 - y } else { y };
        y * from.stride + x * PIXEL_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_upright_whichever_way_its_output_hangs() {
        // Three pixels by two, with a gap after each row.
        let bytes = b"aaaabbbbcccc....ddddeeeeffff....";
        let from = Picture { bytes, stride: 16, width: 3, height: 2 };
        let table = [
            (Transform::Normal, (3, 2), "abcdef"),
            (Transform::_90, (2, 3), "daebfc"),
            (Transform::_180, (3, 2), "fedcba"),
            (Transform::_270, (2, 3), "cfbead"),
            (Transform::Flipped, (3, 2), "cbafed"),
            (Transform::Flipped90, (2, 3), "adbecf"),
            (Transform::Flipped180, (3, 2), "defabc"),
            (Transform::Flipped270, (2, 3), "fcebda"),
        ];
        for (transform, size, expected) in table {
            let turn = Turn::from(transform);
            // What was there before may have been longer.
            let mut to = vec![b'z'; 100];

            turn.copy(&from, &mut to);

            let expected: String = expected.chars().flat_map(|it| [it; PIXEL_LEN]).collect();
            assert_eq!(String::from_utf8(to).unwrap(), expected, "{transform:?}");
            assert_eq!(turn.size((3, 2)), size);
            assert_eq!(turn.is_none(), transform == Transform::Normal);
        }
    }

    #[test]
    fn a_picture_of_many_squares_is_whole() {
        let (width, height) = (2 * TILE + 3, TILE + 1);
        let bytes: Vec<u8> = (0..width * height).flat_map(|it| (it as u32).to_le_bytes()).collect();
        let from = Picture { bytes: &bytes, stride: width * PIXEL_LEN, width, height };
        let mut to = Vec::new();

        Turn::from(Transform::_270).copy(&from, &mut to);

        let expected = (0..width).rev().flat_map(|x| (0..height).map(move |y| y * width + x));
        let pixels = to.as_chunks().0.iter().map(|it| u32::from_le_bytes(*it) as usize);
        assert!(pixels.eq(expected));
    }
}
