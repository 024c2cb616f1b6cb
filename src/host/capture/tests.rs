//! What the test source draws, and that Python's reader of it agrees.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use punktfunk_core::proto::gamestream::rtsp::announce::{Colour, ColourSpace};
use serde_json::{Value, json};

use super::barcode::{self, Reading};
use super::test::TestSource;
use super::tone::{FREQUENCIES, Tone};
use super::{PIXEL_LEN, Picture, card};
use crate::convert::Converter;
use crate::picture::{Layout, Planes};

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

/// What tests/moonlight/measure.py makes of these bytes.
#[track_caller]
fn measure(arguments: &str, bytes: &[u8]) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("tests/.venv/bin/python");
    assert!(python.is_file(), "tests/.venv is not there: run scripts/setup test");
    let mut child = Command::new(python)
        .arg("tests/moonlight/measure.py")
        .args(arguments.split(' '))
        .env("SVT_LOG", "0")
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Frames 1000, 1001 and so on as encoders get them, row after row without a gap.
fn planes(width: usize, height: usize, count: u32, colour: Colour) -> Vec<u8> {
    let mut source = TestSource::new(width, height, 60_000);
    let mut converter = Converter::new(Layout::I420, colour);
    let mut planes = Planes::new(Layout::I420, width, height);
    let mut bytes = Vec::new();
    for number in 1000..1000 + count {
        converter.convert(&source.draw(number, time_us(number)), &mut planes);
        for (plane, row_len) in planes.planes().iter().zip([width, width / 2, width / 2]) {
            plane.bytes.chunks(plane.stride).for_each(|row| bytes.extend(&row[..row_len]));
        }
    }
    bytes
}

/// Times of which any cell may be black or white.
fn time_us(number: u32) -> u64 {
    u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[test]
fn pictures_have_the_colours_that_python_expects_of_their_card() {
    for (arguments, space, is_full_range) in [
        ("", ColourSpace::Bt601, false),
        (" --colour 709", ColourSpace::Bt709, false),
        (" --colour 2020 --full-range", ColourSpace::Bt2020, true),
    ] {
        let bytes = planes(640, 480, 2, Colour { space, is_full_range });

        let report = measure(&format!("pictures - 640x480{arguments}"), &bytes);

        for plane in ["psnr_luma", "psnr_chroma"] {
            let least = report[plane]["min"].as_f64().unwrap();
            assert!(least > 50.0, "{arguments} {plane}: {least}");
        }
    }
}

#[test]
fn encoded_pictures_keep_their_barcodes_at_any_bitrate_and_their_cards_at_a_good_one() {
    const COUNT: u32 = 24;
    let colour = Colour { space: ColourSpace::Bt601, is_full_range: false };
    for (width, height, codec, kbps, psnr_min) in [
        (1280, 720, "h264", 20_000, 35.0),
        (1280, 720, "h264", 1_000, 20.0),
        (320, 180, "h264", 200, 20.0),
        (640, 360, "hevc", 4_000, 35.0),
        (640, 360, "av1", 4_000, 35.0),
    ] {
        let bytes = planes(width, height, COUNT, colour);

        let arguments = format!("pictures - {width}x{height} --encode {codec}:{kbps}");
        let report = measure(&arguments, &bytes);

        let expected: Vec<Value> =
            (0..COUNT).map(|index| json!([index, 1000 + index, time_us(1000 + index)])).collect();
        assert_eq!(report["readings"], json!(expected), "{arguments}");
        assert_eq!((&report["count"], &report["unreadable_count"]), (&json!(COUNT), &json!(0)));
        assert_eq!(report["strictly_rising"], true);
        assert_eq!(report["largest_jump"], 1);
        let psnr = report["psnr_luma"]["p50"].as_f64().unwrap();
        assert!(psnr > psnr_min, "{arguments}: {psnr}");
    }
}

#[test]
fn pictures_without_room_have_nothing_to_read() {
    let colour = Colour { space: ColourSpace::Bt601, is_full_range: false };

    let report = measure("pictures - 64x64", &planes(64, 64, 3, colour));

    assert_eq!((&report["count"], &report["unreadable_count"]), (&json!(3), &json!(3)));
    assert_eq!(report["psnr_luma"], Value::Null);
}

#[test]
fn tones_are_told_apart_after_opus_had_them() {
    for (channel_count, opus) in [
        (2, ""),
        (2, " --opus 1:1:96"),
        (6, " --opus 4:2:256"),
        (8, " --opus 5:3:450"),
        (8, " --opus 8:0:2048"),
    ] {
        let mut samples = vec![0.0; 48_000 * channel_count];
        Tone::new(channel_count).fill(&mut samples);
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_ne_bytes()).collect();

        let report = measure(&format!("sound - {channel_count}{opus}"), &bytes);

        let tones = report.as_array().unwrap();
        assert_eq!(tones.len(), channel_count);
        for (tone, frequency) in tones.iter().zip(FREQUENCIES) {
            let (got, level) = (&tone["frequency"], &tone["level"]);
            assert!((got.as_f64().unwrap() - frequency as f64).abs() <= 2.0, "{opus}: {report}");
            assert!((level.as_f64().unwrap() - 0.25).abs() < 0.03, "{opus}: {report}");
        }
    }
}
