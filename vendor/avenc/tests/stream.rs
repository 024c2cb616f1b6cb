//! Streams of every encoder in software: what goes in comes out, in the shape that clients take.

mod support;

use avenc::annexb::{self, Syntax};
use avenc::*;
use support::*;

const SOFTWARE: [(&str, u32); 3] =
    [("libx264", AVENC_H264), ("libx265", AVENC_HEVC), ("libaom-av1", AVENC_AV1)];

/// What a client looks at in the first packet of an access unit.
const FIRST_SHARD_LEN: usize = 1_300;

/// Types of NAL units or OBUs, one after the other.
fn types(codec: u32, unit: &[u8]) -> Vec<u8> {
    let syntax = match codec {
        AVENC_H264 => Syntax::H264,
        AVENC_HEVC => Syntax::Hevc,
        _ => return obus(unit).iter().map(|(kind, _)| *kind).collect(),
    };
    annexb::nals(unit).map(|nal| syntax.nal_type(unit[nal.header])).collect()
}

/// Types and payloads of OBUs, which all have a size: AV1 specification, section 5.3.
fn obus(mut unit: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let [header, rest @ ..] = unit {
        assert_eq!(header & 0b10, 0b10, "an OBU without a size");
        let mut len = 0usize;
        let mut at = 0;
        loop {
            len |= usize::from(rest[at] & 0x7f) << (7 * at);
            at += 1;
            if rest[at - 1] & 0x80 == 0 {
                break;
            }
        }
        found.push((header >> 3 & 0xf, &rest[at..at + len]));
        unit = &rest[at + len..];
    }
    found
}

#[test]
fn a_unit_comes_for_each_picture_and_looks_like_it() {
    for (name, codec) in SOFTWARE {
        for bit_depth in [8, 10] {
            let mut encoder = open(&avenc_config { bit_depth, ..config(codec) }).unwrap();
            let mut decoder = Decoder::open(codec);

            for number in 0..60 {
                let unit = encoder.encode();
                assert_eq!(unit.is_idr, number == 0, "{name} {number}");
                let decoded = decoder.decode(&unit.bytes);
                let decoded = decoded.unwrap_or_else(|| panic!("{name}: {number} is held back"));
                let [luma, ..] = source(WIDTH, HEIGHT, number);
                let psnr = psnr(&decoded.luma, &luma);
                assert!(psnr > 30.0, "{name}, {bit_depth} bits, {number}: {psnr} dB");
            }
        }
    }
}

#[test]
fn idr_frames_come_when_they_are_asked_for_and_never_else() {
    for (name, codec) in SOFTWARE {
        let mut encoder = open(&avenc_config { width: 64, height: 64, ..config(codec) }).unwrap();

        for number in 0..610 {
            if number == 600 {
                encoder.request_idr();
                encoder.request_idr();
            }
            let unit = encoder.encode();
            assert_eq!(unit.is_idr, number == 0 || number == 600, "{name} {number}");
            assert!(!unit.heals, "{name} {number}");
        }
    }
}

#[test]
fn units_begin_as_clients_expect() {
    // Parameter sets, slices of an IDR frame and of others; OBUs for AV1.
    let cases = [
        (AVENC_H264, vec![7, 8], 5, 1),
        (AVENC_HEVC, vec![32, 33, 34], 19, 1),
        (AVENC_AV1, vec![2, 1], 6, 6),
    ];

    for (codec, headers, idr, other) in cases {
        let mut encoder = open(&config(codec)).unwrap();
        for number in 0..40 {
            if number == 20 {
                encoder.request_idr();
            }
            let unit = encoder.encode();
            let (begin, slice) = match (unit.is_idr, codec) {
                (true, _) => (&headers[..], idr),
                (false, AVENC_AV1) => (&headers[..1], other),
                (false, _) => (&[][..], other),
            };
            let types = types(codec, &unit.bytes);
            assert_eq!(&types[..begin.len()], begin, "{codec} {number}: {types:?}");
            let slices = &types[begin.len()..];
            assert!(!slices.is_empty(), "{codec} {number}");
            assert!(
                slices.iter().all(|found| *found == slice || codec == AVENC_HEVC && *found == 20),
                "{codec} {number}: {types:?}"
            );
            if codec != AVENC_AV1 {
                let first = annexb::nals(&unit.bytes).nth(begin.len()).unwrap();
                assert!(first.header < FIRST_SHARD_LEN, "{codec} {number}");
                assert!(
                    unit.bytes.starts_with(&[0, 0, 1]) || unit.bytes.starts_with(&[0, 0, 0, 1])
                );
            }
        }
    }
}

#[test]
fn colours_are_described_as_they_are() {
    let cases = [
        (AVENC_BT601, 8, (6, 6, 6)),
        (AVENC_BT709, 8, (1, 1, 1)),
        (AVENC_BT2020, 8, (9, 14, 9)),
        (AVENC_BT2020_PQ, 10, (9, 16, 9)),
    ];

    for (name, codec) in SOFTWARE {
        for (space, bit_depth, expected) in cases {
            for full_range in [0, 1] {
                let config = avenc_config {
                    space,
                    bit_depth,
                    full_range,
                    width: 64,
                    height: 64,
                    ..config(codec)
                };
                let unit = open(&config).unwrap().encode();
                let decoded = Decoder::open(codec).decode(&unit.bytes).unwrap();
                assert_eq!(decoded.description, expected, "{name} {space}");
                assert_eq!(decoded.is_full_range, full_range == 1, "{name} {space}");
            }
        }
    }
}

#[test]
fn references_are_as_many_as_wanted_or_as_level_4_2_allows() {
    // Wanted, size, expected, level.
    let cases = [
        (1, (WIDTH, HEIGHT), 1, None),
        (3, (WIDTH, HEIGHT), 3, None),
        (0, (WIDTH, HEIGHT), 5, None),
        (0, (1920, 1080), 4, Some(42)),
        (0, (2560, 1440), 5, Some(51)),
    ];

    for (wanted, (width, height), expected, level) in cases {
        let config =
            avenc_config { reference_count_max: wanted, width, height, ..config(AVENC_H264) };
        let mut decoder = Decoder::open(AVENC_H264);
        decoder.decode(&open(&config).unwrap().encode().bytes);
        assert_eq!(decoder.reference_count(), expected, "{width}x{height}");
        assert!(level.is_none_or(|level| level == decoder.level()), "{}", decoder.level());
    }
}

#[test]
fn slices_are_as_many_as_wanted() {
    for (slice_count, thread_count) in [(1, 1), (2, 1), (4, 1), (4, 2), (1, 2)] {
        let config = avenc_config { slice_count, thread_count, height: 480, ..config(AVENC_H264) };
        let mut encoder = open(&config).unwrap();
        for _ in 0..3 {
            let types = types(AVENC_H264, &encoder.encode().bytes);
            let slices = types.iter().filter(|kind| matches!(kind, 1 | 5)).count() as u32;
            assert_eq!(slices, slice_count.max(thread_count), "{slice_count} {thread_count}");
        }
    }
}

#[test]
fn another_bitrate_makes_units_of_another_size() {
    let mut encoder = open(&config(AVENC_H264)).unwrap();
    let len_of_60 =
        |encoder: &mut Encoder| (0..60).map(|_| encoder.encode().bytes.len()).sum::<usize>();

    len_of_60(&mut encoder);
    let before = len_of_60(&mut encoder);
    assert_eq!(encoder.set_bitrate(1_000), AVENC_OK);
    len_of_60(&mut encoder);
    let lower = len_of_60(&mut encoder);
    assert_eq!(encoder.set_bitrate(4_000), AVENC_OK);
    len_of_60(&mut encoder);
    let higher = len_of_60(&mut encoder);

    assert!(lower * 2 < before, "{before} {lower}");
    assert!(lower * 2 < higher, "{lower} {higher}");
}

#[test]
fn an_encoder_that_cannot_change_its_bitrate_says_so_and_goes_on() {
    for codec in [AVENC_HEVC, AVENC_AV1] {
        let mut encoder = open(&config(codec)).unwrap();
        encoder.encode();

        assert_eq!(encoder.set_bitrate(1_000), AVENC_NOT_NOW);
        assert!(!encoder.encode().is_idr);
    }
}

#[test]
fn any_size_and_quality_is_encoded() {
    let cases = [
        (16, 16, 1_000, 0, AVENC_FASTEST),
        (66, 50, 200_000, 0, AVENC_FASTEST),
        (1366, 768, 20_000, 0, AVENC_BALANCED),
        (130, 1000, 100, 0, AVENC_BEST),
        (64, 64, 1, 1, AVENC_FASTEST),
        (64, 64, 1_000_000, u32::MAX, AVENC_FASTEST),
    ];

    for (name, codec) in SOFTWARE {
        for (width, height, bitrate_kbps, frame_len_max, quality) in cases {
            let config = avenc_config {
                width,
                height,
                bitrate_kbps,
                frame_len_max,
                quality,
                thread_count: 0,
                slice_count: 4,
                ..config(codec)
            };
            let mut encoder = open(&config)
                .unwrap_or_else(|why| panic!("{name} {width}x{height} {bitrate_kbps}: {why:?}"));
            let mut decoder = Decoder::open(codec);
            for _ in 0..3 {
                let unit = encoder.encode();
                assert!(decoder.decode(&unit.bytes).is_some(), "{name} {width}x{height}");
            }
        }
    }
}

/// Prints of a library would be the program's. The tests of this program are run again without
/// the capture of what they print, since that does not catch what is printed by C.
#[test]
fn the_libraries_print_nothing() {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "--nocapture", "units_begin_as_clients_expect"];

    let output = std::process::Command::new(program).args(arguments).output().unwrap();

    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_picture_that_there_are_too_few_bits_for_is_poor_but_whole() {
    // A column of cells, each dark or light by turns, in pictures that share nothing else.
    let mut encoder = open(&avenc_config { bitrate_kbps: 200, ..config(AVENC_H264) }).unwrap();
    let mut decoder = Decoder::open(AVENC_H264);
    let level = |number: u64, cell: u64| if (number + cell).is_multiple_of(2) { 30 } else { 220 };
    let mut state = 1_u32;
    for number in 0..30 {
        let [mut luma, blue, red] = source(WIDTH, HEIGHT, number);
        for (pixel, at) in luma.iter_mut().zip(0..) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let is_cell = at % WIDTH < 16;
            let cell = u64::from(at / WIDTH / 16);
            *pixel = if is_cell { level(number, cell) } else { 64 + (state >> 25) as u8 };
        }

        let unit = encoder.encode_picture(&[luma, blue, red]);

        let seen = decoder.decode(&unit.bytes).unwrap();
        for cell in 0..HEIGHT / 16 {
            let rows = seen.luma.chunks_exact(WIDTH as usize).skip(cell as usize * 16).take(16);
            let sum: u32 = rows.flat_map(|row| &row[..16]).map(|it| u32::from(*it)).sum();
            let (mean, expected) = (sum / 256, u32::from(level(number, cell.into())));
            assert!(mean.abs_diff(expected) < 60, "{number}, cell {cell}: {mean}, not {expected}");
        }
    }
}
