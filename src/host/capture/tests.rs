//! What the test source draws, and that Python's reader of it agrees.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::barcode::{self, Reading};
use super::test::TestSource;
use super::{PIXEL_LEN, Picture, card};

const SIZES: [(usize, usize); 7] =
    [(64, 64), (66, 400), (318, 180), (320, 180), (642, 482), (1080, 1920), (1920, 1080)];

fn hash(picture: &Picture<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (0..picture.height).for_each(|y| picture.row(y).hash(&mut hasher));
    hasher.finish()
}

/// The mean of the levels of every eighth row.
fn brightness(picture: &Picture<'_>) -> u64 {
    let sum = |row: &[u8]| row.iter().map(|level| u64::from(*level)).sum::<u64>();
    let total: u64 = (0..picture.height).step_by(8).map(|y| sum(picture.row(y))).sum();
    total / (picture.width * picture.height.div_ceil(8) * 3) as u64
}

#[test]
fn every_frame_differs_from_those_around_it_and_none_is_dark() {
    for (width, height) in SIZES {
        let mut source = TestSource::new(width, height, 60_000);

        let mut seen = HashSet::new();
        for number in 0..6 {
            let picture = source.draw(number, 0);
            assert_eq!((picture.width, picture.height), (width, height));
            assert_eq!(picture.bytes.len(), picture.stride * height);
            assert!(
                seen.insert(hash(&picture)),
                "{width}x{height}: frame {number} was there before"
            );
            let brightness = brightness(&picture);
            assert!((60..200).contains(&brightness), "{width}x{height}: {brightness}");
        }
    }
}

#[test]
fn a_frame_is_the_same_whatever_was_drawn_before() {
    for (width, height) in [(64, 64), (642, 482)] {
        for number in [0, 7, 1_000_003, u32::MAX] {
            let mut fresh = TestSource::new(width, height, 59_940);
            let mut used = TestSource::new(width, height, 59_940);
            for earlier in 0..50 {
                used.draw(earlier * 77, 5);
            }

            assert_eq!(hash(&fresh.draw(number, 9)), hash(&used.draw(number, 9)));
        }
    }
}

#[test]
fn the_barcode_tells_number_and_time_wherever_it_has_room() {
    for (width, height) in SIZES {
        let mut source = TestSource::new(width, height, 60_000);

        for (number, time_us) in [(0, 0), (1, 16_667), (u32::MAX, u64::MAX), (123_456, 1 << 45)] {
            let has_room = width >= 320 && height >= 180;
            let expected = has_room.then_some(Reading { number, time_us });
            assert_eq!(barcode::read(&source.draw(number, time_us)), expected, "{width}x{height}");
        }
    }
}

#[test]
fn the_card_stays_in_its_place() {
    let mut source = TestSource::new(1280, 720, 60_000);
    let cell_len = barcode::cell_len(1280, 720).unwrap();
    let row_len = barcode::COLUMN_COUNT * cell_len * PIXEL_LEN;
    let expected = card::pixels(cell_len);

    for number in 0..100 {
        let picture = source.draw(number, 0);
        for (y, row) in expected.chunks_exact(row_len).enumerate() {
            assert_eq!(&picture.row(y)[row_len..2 * row_len], row, "frame {number}, row {y}");
        }
    }
}
