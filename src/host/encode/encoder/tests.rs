//! Encoders of a plug-in that is made for this.

use super::*;
use crate::encode::stub;
use crate::state::tests::Folder;

const COLOUR: Colour = Colour { space: ColourSpace::Bt709, is_full_range: false };

fn settings() -> Settings {
    Settings {
        codec: Codec::H264,
        backend: Backend::Software,
        width: 64,
        height: 32,
        refresh_mhz: 60_000,
        bitrate_kbps: 1000,
        frame_len_max: None,
        slice_count: 1,
        reference_count_max: Some(1),
        is_10_bit: false,
        colour: COLOUR,
        is_hdr: false,
        quality: Quality::Fastest,
        thread_count: Some(1),
        device: None,
    }
}

fn plugin(defines: &[&str]) -> Plugin {
    // What is loaded stays loaded, whatever becomes of its file.
    Plugin::open(&stub::build(Folder::new().path(), defines)).unwrap()
}

fn encoder(defines: &[&str]) -> Encoder {
    Encoder::open(&plugin(defines), &settings()).unwrap()
}

fn planes(encoder: &Encoder) -> Planes {
    Planes::new(encoder.layout(), 64, 32)
}

#[test]
fn every_picture_comes_out_as_one_access_unit() {
    let mut encoder = encoder(&[]);
    let mut planes = planes(&encoder);

    let mut units = Vec::new();
    for (number, grey) in [(7, 1), (8, 2), (9, 3)] {
        planes.planes_mut()[0].bytes.fill(grey);
        encoder.submit(&planes, FrameIndex(number)).unwrap();
        let unit = encoder.poll().unwrap().unwrap();
        // The stub's units end in the first byte of their picture.
        units.push((unit.frame.0, unit.is_idr, *unit.bytes.last().unwrap()));
    }

    assert_eq!((encoder.layout(), encoder.name()), (Layout::I420, "stub"));
    assert_eq!(units, [(7, true, 1), (8, false, 2), (9, false, 3)]);
    assert_eq!(encoder.poll(), Ok(None));
}

#[test]
fn settings_arrive_as_they_are() {
    let mut settings = settings();
    settings.codec = Codec::Hevc;
    settings.frame_len_max = Some(77);
    settings.thread_count = None;
    settings.device = Some(c"/dev/dri/renderD128".to_owned());
    settings.colour = Colour { space: ColourSpace::Bt601, is_full_range: true };
    settings.quality = Quality::Best;
    let plugin = plugin(&["STUB_TELL"]);

    let told = Encoder::open(&plugin, &settings).unwrap_err();
    settings.is_hdr = true;
    settings.is_10_bit = true;
    settings.device = None;
    let told_hdr = Encoder::open(&plugin, &settings).unwrap_err();

    let expected = "1 0 0 2 64 32 60000 1000 77 1 1 8 1 0 /dev/dri/renderD128";
    assert_eq!(told, Error::Argument(expected.to_owned()));
    let expected = "1 0 3 2 64 32 60000 1000 77 1 1 10 1 0 none";
    assert_eq!(told_hdr, Error::Argument(expected.to_owned()));
}

#[test]
fn idr_frames_come_when_asked_for_and_losses_are_healed() {
    let mut encoder = encoder(&[]);
    let planes = planes(&encoder);
    let next = |encoder: &mut Encoder, number| {
        encoder.submit(&planes, FrameIndex(number)).unwrap();
        let unit = encoder.poll().unwrap().unwrap();
        (unit.is_idr, unit.heals)
    };
    next(&mut encoder, 1);
    next(&mut encoder, 2);

    encoder.request_idr();
    let asked_for = next(&mut encoder, 3);
    let obeyed = encoder.invalidate(FrameIndex(3), FrameIndex(3));
    let healed = next(&mut encoder, 4);
    // The stub keeps one frame.
    let instead = encoder.invalidate(FrameIndex(1), FrameIndex(4));
    let idr = next(&mut encoder, 5);

    assert_eq!(asked_for, (true, false));
    assert_eq!((obeyed, healed), (Invalidation::Obeyed, (false, true)));
    assert_eq!((instead, idr), (Invalidation::IdrInstead, (true, false)));
    assert!(encoder.set_bitrate(2000, Some(9000)) && !encoder.set_bitrate(0, None));
}

#[test]
fn losses_of_frames_that_never_were_lead_to_an_idr() {
    for (first, last) in [(2, 1), (1, 4), (4, 4), (u32::MAX, 4), (1, u32::MAX), (3, 2)] {
        let mut encoder = encoder(&[]);
        let planes = planes(&encoder);
        for number in 1..=3 {
            encoder.submit(&planes, FrameIndex(number)).unwrap();
            encoder.poll().unwrap().unwrap();
        }

        let done = encoder.invalidate(FrameIndex(first), FrameIndex(last));
        encoder.submit(&planes, FrameIndex(4)).unwrap();

        assert_eq!(done, Invalidation::IdrInstead, "{first} {last}");
        assert!(encoder.poll().unwrap().unwrap().is_idr, "{first} {last}");
    }
}

#[test]
fn frames_are_counted_on_past_32_bits() {
    let mut encoder = encoder(&[]);
    let planes = planes(&encoder);

    let mut frames = Vec::new();
    for number in [u32::MAX - 1, u32::MAX, 0, 1] {
        encoder.submit(&planes, FrameIndex(number)).unwrap();
        frames.push(encoder.poll().unwrap().unwrap().frame.0);
    }

    assert_eq!(frames, [u32::MAX - 1, u32::MAX, 0, 1]);
    let done = encoder.invalidate(FrameIndex(1), FrameIndex(1));
    assert_eq!(done, Invalidation::Obeyed);
}

#[test]
fn pictures_that_do_not_fit_are_refused() {
    let mut encoder = encoder(&[]);
    let mut short = planes(&encoder);
    short.planes_mut()[2].bytes.pop();
    let mut narrow = planes(&encoder);
    narrow.planes_mut()[0].stride = 63;
    let mut wide = planes(&encoder);
    wide.planes_mut()[0].stride = usize::MAX;
    let table = [
        Planes::new(Layout::Nv12, 64, 32),
        Planes::new(Layout::I420, 64, 30),
        Planes::new(Layout::I420, 62, 32),
        short,
        narrow,
        wide,
    ];
    for planes in &table {
        assert_eq!(encoder.submit(planes, FrameIndex(1)), Err(Error::Picture));
    }
    let planes = planes(&encoder);
    encoder.submit(&planes, FrameIndex(1)).unwrap();
    for number in [1, 3, 0] {
        let refused = encoder.submit(&planes, FrameIndex(number));
        assert!(matches!(refused, Err(Error::Argument(_))), "{number}");
    }
}

#[test]
fn what_fails_says_why() {
    let mut settings = settings();
    settings.backend = Backend::Nvenc;
    let missing = Encoder::open(&plugin(&[]), &settings).unwrap_err();
    let mut encoder = encoder(&["STUB_FAILS"]);
    let planes = planes(&encoder);

    let submitted = encoder.submit(&planes, FrameIndex(1));
    let polled = encoder.poll();

    assert_eq!(missing, Error::Missing("Cannot load libcuda.so.1".to_owned()));
    let failed = Error::Failed("the card is gone".to_owned());
    assert_eq!((submitted, polled), (Err(failed.clone()), Err(failed)));
}

#[test]
fn a_plug_in_that_breaks_its_word_is_not_believed() {
    let opening = [
        ("STUB_OPENS_NOTHING", "it opened nothing"),
        ("STUB_LAYOUT=9", "a layout that is none"),
        ("STUB_LAYOUT=3", "a layout of another depth"),
    ];
    for (define, what) in opening {
        let error = Encoder::open(&plugin(&[define]), &settings()).unwrap_err();
        assert_eq!(error, Error::Plugin(what));
    }
    let polling = [
        ("STUB_NO_BYTES", "an access unit without bytes"),
        ("STUB_NUMBER=9", "an access unit of no picture"),
        ("STUB_NUMBER=-1", "an access unit of no picture"),
    ];
    for (define, what) in polling {
        let mut encoder = encoder(&[define]);
        let planes = planes(&encoder);
        encoder.submit(&planes, FrameIndex(1)).unwrap();

        // Number -1 gives the first picture's again.
        let first = encoder.poll().err();
        let second = encoder.poll().err();

        assert_eq!(first.or(second), Some(Error::Plugin(what)), "{define}");
    }
}
