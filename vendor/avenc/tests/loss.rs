//! A picture that is lost on the way to the decoder, and what comes after it.

mod support;

use avenc::*;
use support::*;

#[test]
fn a_lost_picture_is_healed_without_an_idr_frame() {
    let mut encoder = open(&avenc_config { reference_count_max: 5, ..config(AVENC_H264) }).unwrap();
    let mut whole = Decoder::open(AVENC_H264);
    let mut lossy = Decoder::open(AVENC_H264);
    let mut differing = Vec::new();

    for number in 0..80 {
        if number == 24 {
            assert_eq!(encoder.invalidate(20, 20), AVENC_OK);
        }
        let unit = encoder.encode();
        assert_eq!(unit.is_idr, number == 0, "{number}");
        assert_eq!(unit.heals, number == 24, "{number}");
        let sent = whole.decode(&unit.bytes).unwrap();
        let seen = (number != 20).then(|| lossy.decode(&unit.bytes)).flatten();
        if seen.is_none_or(|seen| seen.luma != sent.luma) {
            differing.push(number);
        }
    }

    assert_eq!(differing, [20, 21, 22, 23]);
}

#[test]
fn a_loss_that_cannot_be_healed_is_answered_by_an_idr_frame() {
    // Codec, references, what is lost before picture 24.
    let cases = [
        ("one reference", AVENC_H264, 1, (23, 23)),
        ("older than what is kept", AVENC_H264, 3, (20, 20)),
        ("everything", AVENC_H264, 0, (0, 23)),
        ("what is not sent yet", AVENC_H264, 0, (23, 30)),
        ("a range upside down", AVENC_H264, 0, (23, 22)),
        ("HEVC", AVENC_HEVC, 0, (23, 23)),
        ("AV1", AVENC_AV1, 0, (23, 23)),
    ];

    for (name, codec, reference_count_max, (first, last)) in cases {
        let config = avenc_config { reference_count_max, width: 64, height: 64, ..config(codec) };
        let mut encoder = open(&config).unwrap();
        for number in 0..30 {
            if number == 24 {
                assert_eq!(encoder.invalidate(first, last), AVENC_NOT_NOW, "{name}");
            }
            let unit = encoder.encode();
            assert_eq!(unit.is_idr, number == 0 || number == 24, "{name} {number}");
            assert_eq!(unit.heals, number == 24, "{name} {number}");
        }
        assert_eq!(encoder.invalidate(20, 23), AVENC_OK, "{name}");
        assert!(!encoder.encode().is_idr, "{name}");
    }
}

/// Random losses, some of them of what was to heal another. The client asks two pictures later, and
/// shows nothing from a loss to the next unit that heals or is an IDR frame. All it shows is right.
#[test]
fn what_follows_a_heal_is_what_was_sent() {
    let mut encoder = open(&config(AVENC_H264)).unwrap();
    let mut whole = Decoder::open(AVENC_H264);
    let mut lossy = Decoder::open(AVENC_H264);
    let mut state = 7u32;
    let mut lost: Option<u64> = None; // the first that was, while the client waits
    let (mut losses, mut heals, mut idrs) = (0, 0, 0);

    for number in 0..400u64 {
        if let Some(first) = lost
            && number >= first + 2
        {
            encoder.invalidate(first, number - 1);
        }
        let unit = encoder.encode();
        let sent = whole.decode(&unit.bytes).unwrap();
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if number > 0 && state >> 24 < 16 {
            losses += 1;
            lost = lost.or(Some(number));
            continue;
        }
        let seen = lossy.decode(&unit.bytes);
        if lost.is_some() && (unit.heals || unit.is_idr) {
            heals += u32::from(!unit.is_idr);
            idrs += u32::from(unit.is_idr);
            lost = None;
        }
        if lost.is_none() {
            assert_eq!(seen.unwrap().luma, sent.luma, "{number}");
        }
    }

    assert!(losses > 15 && heals > 10, "{losses} losses, {heals} heals, {idrs} IDR frames");
}
