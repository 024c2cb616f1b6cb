//! Probes of encoders, with plug-ins that work, crash and hang, by the daemon's own program.

#[allow(dead_code, unused_imports, reason = "the daemon uses the rest")]
#[path = "../src/host/encode/mod.rs"]
mod encode;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/picture.rs"]
mod picture;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/state.rs"]
mod state;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use encode::abilities::{Abilities, Backend, CODECS, Can};
use encode::encoder::{Encoder, Invalidation, Quality, Settings};
use encode::library::{self, Plugin};
use encode::probe::{self, Program};
use encode::stub;
use picture::Planes;
use punktfunk_core::proto::gamestream::rtsp::announce::{Codec, Colour, ColourSpace};
use punktfunk_core::proto::units::FrameIndex;
use state::tests::Folder;

const PUNKTFUNKD: &str = env!("CARGO_BIN_EXE_punktfunkd");
const SOFTWARE_H264: Can =
    Can { encode: true, ten_bit: false, invalidate: true, set_bitrate: true };

fn run(plugin: &Path, cached: Option<&Abilities>) -> Result<Abilities, String> {
    probe::run(&Program::new(PUNKTFUNKD, std::iter::empty()), plugin, cached)
}

fn punktfunkd(arguments: &[&str]) -> Output {
    Command::new(PUNKTFUNKD).args(arguments).env_clear().output().unwrap()
}

#[test]
fn a_probe_finds_what_the_plug_in_can_do_whatever_drivers_write() {
    for define in ["STUB_QUIET", "STUB_TALKS"] {
        let folder = Folder::new();
        let plugin = stub::build(folder.path(), &[define]);

        let abilities = run(&plugin, None).unwrap();

        assert_eq!(abilities.plugin(), "stub 1");
        assert_eq!(abilities.of(Backend::Software, Codec::H264), Ok(SOFTWARE_H264), "{define}");
        assert_eq!(abilities.of(Backend::Software, Codec::Hevc), Err("no such encoder"));
        assert_eq!(abilities.of(Backend::Nvenc, Codec::Av1), Err("Cannot load libcuda.so.1"));
    }
}

#[test]
fn a_driver_that_crashes_costs_its_backend_alone() {
    let folder = Folder::new();
    // NVENC.
    let plugin = stub::build(folder.path(), &["STUB_CRASHES=1", "STUB_CRASHES_AT_EXIT"]);

    let abilities = run(&plugin, None).unwrap();

    for codec in [Codec::H264, Codec::Hevc, Codec::Av1] {
        assert_eq!(abilities.of(Backend::Nvenc, codec), Err("probe ended by SIGSEGV"));
    }
    assert_eq!(abilities.of(Backend::Software, Codec::H264), Ok(SOFTWARE_H264));
}

#[test]
fn a_driver_that_hangs_costs_its_backend_alone() {
    let folder = Folder::new();
    // VA-API.
    let plugin = stub::build(folder.path(), &["STUB_HANGS=2"]);
    let mut program = Program::new(PUNKTFUNKD, std::iter::empty());
    program.timeout = Duration::from_secs(2);

    let abilities = probe::run(&program, &plugin, None).unwrap();

    assert_eq!(abilities.of(Backend::Vaapi, Codec::H264), Err("probe took too long"));
    assert_eq!(abilities.of(Backend::Software, Codec::H264), Ok(SOFTWARE_H264));
}

#[test]
fn a_known_version_is_not_probed_again() {
    let folder = Folder::new();
    let cached = run(&stub::build(folder.path(), &[]), None).unwrap();
    // Software.
    let same = stub::build(folder.path(), &["STUB_CRASHES=0"]);
    let other = stub::build(folder.path(), &["STUB_CRASHES=0", "STUB_VERSION=\"stub 2\""]);

    let kept = run(&same, Some(&cached));
    let probed = run(&other, Some(&cached)).unwrap();

    assert_eq!(kept, Ok(cached));
    assert_eq!(probed.plugin(), "stub 2");
    assert_eq!(probed.of(Backend::Software, Codec::H264), Err("probe ended by SIGSEGV"));
}

#[test]
fn a_plug_in_that_cannot_be_loaded_is_told_in_a_sentence() {
    let folder = Folder::new();
    let table = [
        (stub::build(folder.path(), &["STUB_ABI=7"]), "interface 7, this program speaks 1"),
        (stub::build_without_library(folder.path()), "libnosuchcodec.so.59: cannot open"),
        (stub::build(folder.path(), &["STUB_CRASHES_AT_ONCE"]), "probe ended by SIGSEGV"),
        (folder.path().join("none.so"), "none.so: cannot open"),
    ];
    for (plugin, part) in table {
        let error = run(&plugin, None).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_probe_has_nothing_open_and_steps_back_for_others() {
    let folder = Folder::new();
    let plugin = stub::build(folder.path(), &["STUB_LOOKS_AROUND"]);

    let abilities = run(&plugin, None).unwrap();

    // Descriptors, niceness, core dumps.
    assert_eq!(abilities.plugin(), "3 10 0");
}

#[test]
fn the_option_is_for_the_daemon_alone() {
    let help = punktfunkd(&["-h"]);
    let wrong = punktfunkd(&["--probe-encoders", "x.so", "--probe-backend", "magic"]);

    assert!(!String::from_utf8_lossy(&help.stdout).contains("probe"), "{help:?}");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("unknown backend"), "{wrong:?}");
}

#[test]
fn the_true_plug_in_encodes_in_software() {
    let own = std::env::current_exe().unwrap();
    let path = library::find(&library::candidates(&own)).unwrap();
    let abilities = run(&path, None).unwrap();
    let plugin = Plugin::open(&path).unwrap();
    for codec in CODECS {
        let Ok(can) = abilities.of(Backend::Software, codec) else {
            assert_ne!(codec, Codec::H264, "{abilities:?}");
            continue;
        };
        let settings = |is_10_bit| Settings {
            codec,
            backend: Backend::Software,
            width: 320,
            height: 180,
            refresh_mhz: 60_000,
            bitrate_kbps: 2000,
            frame_len_max: None,
            slice_count: 1,
            reference_count_max: None,
            is_10_bit,
            colour: Colour { space: ColourSpace::Bt709, is_full_range: false },
            is_hdr: is_10_bit,
            quality: Quality::Fastest,
            thread_count: Some(1),
            device: None,
        };
        let depths = [(can.encode, false), (can.ten_bit && codec != Codec::H264, true)];
        for (_, is_10_bit) in depths.into_iter().filter(|(can, _)| *can) {
            let mut encoder = Encoder::open(&plugin, &settings(is_10_bit)).unwrap();
            let planes = Planes::new(encoder.layout(), 320, 180);
            let next = |encoder: &mut Encoder, number| {
                encoder.submit(&planes, FrameIndex(number)).unwrap();
                let unit = encoder.poll().unwrap().expect("one for each picture");
                assert_eq!(unit.frame, FrameIndex(number));
                assert!(!unit.bytes.is_empty());
                (unit.is_idr, unit.heals)
            };

            let before: Vec<_> = (1..=10).map(|number| next(&mut encoder, number)).collect();
            let done = encoder.invalidate(FrameIndex(10), FrameIndex(10));
            let after = next(&mut encoder, 11);
            encoder.request_idr();
            let idr = next(&mut encoder, 12);

            let given = format!("{} {codec} {is_10_bit}", encoder.name());
            let only_the_first = before.iter().enumerate().all(|(at, unit)| unit.0 == (at == 0));
            assert!(only_the_first, "{given}: {before:?}");
            assert_eq!(done == Invalidation::Obeyed, can.invalidate, "{given}");
            assert_eq!(after, (!can.invalidate, can.invalidate), "{given}");
            assert_eq!(idr, (true, false), "{given}");
            assert_eq!(encoder.poll(), Ok(None), "{given}");
            assert_eq!(encoder.set_bitrate(1000, None), can.set_bitrate, "{given}");
        }
    }
}
