//! Upright pictures of outputs that are turned or mirrored.

#![forbid(unsafe_code)]

use crate::capture::{PIXEL_LEN, Picture};
use crate::turn::Turn;

/// Pixels of a square that is copied at once, so that the columns of one picture and the rows of the
/// other are both in the processor's cache.
const TILE: usize = 32;

/// Puts the upright picture of a buffer into `to`, in rows without gaps.
pub fn copy(turn: Turn, from: &Picture<'_>, to: &mut Vec<u8>) {
    let (width, height) = turn.size((from.width, from.height));
    let last = (from.width.saturating_sub(1), from.height.saturating_sub(1));
    to.resize(width * height * PIXEL_LEN, 0);
    for top in (0..height).step_by(TILE) {
        for left in (0..width).step_by(TILE) {
            let count = TILE.min(width - left);
            for y in top..height.min(top + TILE) {
                let row = &mut to[(y * width + left) * PIXEL_LEN..][..count * PIXEL_LEN];
                for (pixel, x) in row.as_chunks_mut::<PIXEL_LEN>().0.iter_mut().zip(left..) {
                    let (x, y) = turn.on_screen((x, y), last);
                    let at = y * from.stride + x * PIXEL_LEN;
                    pixel.copy_from_slice(&from.bytes[at..][..PIXEL_LEN]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wayland_client::protocol::wl_output::Transform;

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

            copy(turn, &from, &mut to);

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

        copy(Transform::_270.into(), &from, &mut to);

        let expected = (0..width).rev().flat_map(|x| (0..height).map(move |y| y * width + x));
        let pixels = to.as_chunks().0.iter().map(|it| u32::from_le_bytes(*it) as usize);
        assert!(pixels.eq(expected));
    }
}
