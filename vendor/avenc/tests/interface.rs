//! The C interface: what its header says, what it makes of odd arguments, and how it tells why.

mod support;

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::fmt::Write as _;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;
use std::{fs, ptr};

use avenc::*;
use support::*;

const BACKENDS: [u32; 4] = [AVENC_NVENC, AVENC_VAAPI, AVENC_VULKAN, AVENC_V4L2];
const CODECS: [u32; 3] = [AVENC_H264, AVENC_HEVC, AVENC_AV1];

/// Result, abilities and why not.
fn probe(codec: u32, backend: u32, device: *const c_char) -> (i32, u32, String) {
    let mut why = [0x7f as c_char; 256];
    let mut abilities = 77;
    // SAFETY: everything lives until the call returns, and is as long as is said.
    let code =
        unsafe { avenc_probe(codec, backend, device, &mut abilities, why.as_mut_ptr(), why.len()) };
    // SAFETY: the library ends it.
    let why = unsafe { CStr::from_ptr(why.as_ptr()) }.to_str().unwrap();
    (code, abilities, why.to_owned())
}

#[test]
fn the_header_says_what_the_library_has() {
    macro_rules! constants {
        ($($name:ident),*) => { vec![$((stringify!($name).to_owned(), $name as i64)),*] };
    }
    macro_rules! layouts {
        ($($name:ident { $($field:ident),* })*) => {
            vec![$(
                (format!("sizeof(struct {})", stringify!($name)), size_of::<$name>() as i64),
                $((
                    format!("offsetof(struct {}, {})", stringify!($name), stringify!($field)),
                    offset_of!($name, $field) as i64,
                ),)*
            )*]
        };
    }
    #[rustfmt::skip]
    let mut expected = constants![
        AVENC_ABI, AVENC_H264, AVENC_HEVC, AVENC_AV1,
        AVENC_SOFTWARE, AVENC_NVENC, AVENC_VAAPI, AVENC_VULKAN, AVENC_V4L2,
        AVENC_I420, AVENC_I420P10, AVENC_NV12, AVENC_P010,
        AVENC_BT601, AVENC_BT709, AVENC_BT2020, AVENC_BT2020_PQ,
        AVENC_FASTEST, AVENC_BALANCED, AVENC_BEST,
        AVENC_CAN_ENCODE, AVENC_CAN_10_BIT, AVENC_CAN_INVALIDATE, AVENC_CAN_SET_BITRATE,
        AVENC_OK, AVENC_NOT_NOW, AVENC_E_ARGUMENT, AVENC_E_MISSING, AVENC_E_FAILED
    ];
    #[rustfmt::skip]
    let layouts = layouts! {
        avenc_config {
            struct_size, codec, backend, space, quality, width, height, refresh_mhz, bitrate_kbps,
            frame_len_max, slice_count, reference_count_max, bit_depth, full_range, thread_count,
            device
        }
        avenc_picture { struct_size, planes, strides, number }
        avenc_unit { struct_size, bytes, len, number, is_idr, heals }
    };
    expected.extend(layouts);

    let said = c_values(expected.iter().map(|(name, _)| name.as_str()));

    for (name, value) in &expected {
        assert_eq!(said[name], *value, "{name}");
    }
    let header = fs::read_to_string(header()).unwrap();
    let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    for name in header.split(word).filter(|word| word.starts_with("AVENC_") && *word != "AVENC_H") {
        assert!(said.contains_key(name), "{name} is in the header only");
    }
}

fn header() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include/avenc.h")
}

/// What a C compiler makes of expressions.
fn c_values<'a>(expressions: impl Iterator<Item = &'a str>) -> BTreeMap<String, i64> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (folder.join("avenc-values.c"), folder.join("avenc-values"));
    let mut text = "#include \"avenc.h\"\n#include <stdio.h>\nint main(void)\n{\n".to_owned();
    for expression in expressions {
        writeln!(text, "    printf(\"{expression}=%ld\\n\", (long)({expression}));").unwrap();
    }
    text.push_str("    return 0;\n}\n");
    fs::write(&source, text).unwrap();
    let status = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .arg(header().parent().unwrap())
        .args([&source, Path::new("-o"), &program].map(|path| path.as_os_str()))
        .status()
        .expect("a C compiler, cc");
    assert!(status.success());
    let output = Command::new(program).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let pairs = lines.lines().map(|line| line.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

#[test]
fn encoders_in_software_are_there() {
    let cases = [
        (
            AVENC_H264,
            AVENC_CAN_ENCODE | AVENC_CAN_10_BIT | AVENC_CAN_INVALIDATE | AVENC_CAN_SET_BITRATE,
        ),
        (AVENC_HEVC, AVENC_CAN_ENCODE | AVENC_CAN_10_BIT),
        (AVENC_AV1, AVENC_CAN_ENCODE | AVENC_CAN_10_BIT),
    ];

    for (codec, abilities) in cases {
        let expected = (AVENC_OK, abilities, String::new());
        assert_eq!(probe(codec, AVENC_SOFTWARE, ptr::null()), expected);
    }
    assert_eq!(avenc_abi(), AVENC_ABI);
}

#[test]
fn hardware_that_is_absent_is_told_in_a_sentence() {
    for backend in BACKENDS {
        let is_there = match backend {
            AVENC_NVENC => Path::new("/dev/nvidiactl").exists() || Path::new("/dev/dxg").exists(),
            AVENC_V4L2 => Path::new("/dev/video0").exists(),
            _ => Path::new("/dev/dri").exists(),
        };
        if is_there {
            continue; // what it can do is the machine's, not this test's
        }
        for codec in CODECS {
            for device in [ptr::null(), c"/dev/dri/renderD250".as_ptr()] {
                let (code, abilities, why) = probe(codec, backend, device);
                assert_eq!((code, abilities), (AVENC_E_MISSING, 0), "{codec} {backend}: {why}");
                assert!(why.len() > 10 && !why.ends_with('.') && !why.contains('\n'), "{why:?}");
            }
            let (code, _) = open(&avenc_config { backend, ..config(codec) }).err().unwrap();
            assert_eq!(code, AVENC_E_MISSING);
        }
    }
}

/// See the test of this name among those of streams.
#[test]
fn the_libraries_print_nothing() {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "--nocapture"];
    let tests = ["hardware_that_is_absent_is_told_in_a_sentence", "encoders_in_software_are_there"];

    let output = Command::new(program).args(arguments).args(tests).output().unwrap();

    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_version_names_the_libraries() {
    // SAFETY: the text ends and stays.
    let version = unsafe { CStr::from_ptr(avenc_version()) }.to_str().unwrap();

    assert!(version.contains("libavcodec ") && version.contains("x264 1"), "{version}");
    assert_eq!(avenc_version(), avenc_version());
}

#[test]
fn a_configuration_that_cannot_be_is_refused() {
    let good = config(AVENC_H264);
    let cases = [
        ("codec", avenc_config { codec: 3, ..good }),
        ("backend", avenc_config { backend: 5, ..good }),
        ("space", avenc_config { space: 4, ..good }),
        ("quality", avenc_config { quality: u32::MAX, ..good }),
        ("width", avenc_config { width: 0, ..good }),
        ("width", avenc_config { width: 321, ..good }),
        ("height", avenc_config { height: 14, ..good }),
        ("height", avenc_config { height: 16_386, ..good }),
        ("refresh_mhz", avenc_config { refresh_mhz: 0, ..good }),
        ("refresh_mhz", avenc_config { refresh_mhz: u32::MAX, ..good }),
        ("bitrate_kbps", avenc_config { bitrate_kbps: 0, ..good }),
        ("bitrate_kbps", avenc_config { bitrate_kbps: u32::MAX, ..good }),
        ("bit_depth", avenc_config { bit_depth: 9, ..good }),
        ("full_range", avenc_config { full_range: 2, ..good }),
        ("struct_size", avenc_config { struct_size: good.struct_size - 1, ..good }),
        ("struct_size", avenc_config { struct_size: 0, ..good }),
    ];

    for (field, config) in cases {
        let (code, why) = open(&config).err().unwrap_or_else(|| panic!("{field}: {config:?}"));
        assert_eq!(code, AVENC_E_ARGUMENT, "{field}");
        assert!(why.contains(field), "{field}: {why}");
    }
    let longer = avenc_config { struct_size: good.struct_size + 8, ..good };
    assert!(open(&longer).is_ok(), "a caller that was built against a later header");
    for (codec, backend) in [(3, AVENC_SOFTWARE), (AVENC_H264, 5), (u32::MAX, u32::MAX)] {
        assert_eq!(probe(codec, backend, ptr::null()).0, AVENC_E_ARGUMENT);
    }
}

#[test]
fn null_is_refused_everywhere() {
    let good = config(AVENC_H264);
    let mut encoder = ptr::null_mut();
    let none: *mut avenc_encoder = ptr::null_mut();

    // SAFETY: null is what the interface has to bear; the rest is valid.
    unsafe {
        assert_eq!(avenc_open(ptr::null(), &mut encoder, none.cast(), 0), AVENC_E_ARGUMENT);
        assert!(encoder.is_null());
        assert_eq!(avenc_open(&good, ptr::null_mut(), none.cast(), 9), AVENC_E_ARGUMENT);
        assert_eq!(
            avenc_probe(AVENC_H264, AVENC_SOFTWARE, ptr::null(), ptr::null_mut(), none.cast(), 9),
            AVENC_E_ARGUMENT
        );
        assert_eq!(avenc_submit(none, ptr::null()), AVENC_E_ARGUMENT);
        assert_eq!(avenc_poll(none, ptr::null_mut()), AVENC_E_ARGUMENT);
        assert_eq!(avenc_invalidate(none, 0, 0), AVENC_E_ARGUMENT);
        assert_eq!(avenc_set_bitrate(none, 1, 0), AVENC_E_ARGUMENT);
        assert_eq!(avenc_layout(none), AVENC_I420);
        assert_eq!(CStr::from_ptr(avenc_name(none)), c"");
        assert_eq!(CStr::from_ptr(avenc_error(none)), c"");
        avenc_request_idr(none);
        avenc_close(none);
    }
}

#[test]
fn a_picture_that_cannot_be_is_refused_and_the_next_is_taken() {
    let mut encoder = open(&config(AVENC_H264)).unwrap();
    assert_eq!(encoder.error(), "");
    encoder.encode();
    let plane = vec![0u8; (WIDTH * HEIGHT) as usize];
    let good = avenc_picture {
        struct_size: size_of::<avenc_picture>() as u32,
        planes: [plane.as_ptr(), plane.as_ptr(), ptr::null()],
        strides: [WIDTH, WIDTH, 0],
        number: 1,
    };
    let strides = |one, other| avenc_picture { strides: [one, other, 0], ..good };
    let cases = [
        ("struct_size", avenc_picture { struct_size: 8, ..good }),
        ("plane", avenc_picture { planes: [ptr::null(), plane.as_ptr(), ptr::null()], ..good }),
        ("plane", avenc_picture { planes: [plane.as_ptr(), ptr::null(), ptr::null()], ..good }),
        ("stride", strides(WIDTH - 1, WIDTH)),
        ("stride", strides(WIDTH, WIDTH / 2)),
        ("stride", strides(u32::MAX, WIDTH)),
        ("number", avenc_picture { number: 0, ..good }),
        ("number", avenc_picture { number: 2, ..good }),
        ("number", avenc_picture { number: u64::MAX, ..good }),
    ];

    for (field, picture) in cases {
        // SAFETY: open; planes are null or large enough for what is taken.
        let code = unsafe { avenc_submit(encoder.pointer, &picture) };
        assert_eq!(code, AVENC_E_ARGUMENT, "{field}");
        assert!(encoder.error().contains(field), "{field}: {}", encoder.error());
    }
    // SAFETY: as above.
    assert_eq!(unsafe { avenc_submit(encoder.pointer, ptr::null()) }, AVENC_E_ARGUMENT);
    // SAFETY: as above.
    assert_eq!(unsafe { avenc_poll(encoder.pointer, ptr::null_mut()) }, AVENC_E_ARGUMENT);
    assert_eq!(encoder.set_bitrate(0), AVENC_E_ARGUMENT);
    assert_eq!(encoder.poll(), None);
    assert!(!encoder.encode().is_idr);
    // SAFETY: open, and valid but for its turn.
    let twice = [2, 3]
        .map(|number| unsafe { avenc_submit(encoder.pointer, &avenc_picture { number, ..good }) });
    assert_eq!(twice, [AVENC_OK, AVENC_E_ARGUMENT]);
}

#[test]
fn why_is_cut_to_the_room_there_is() {
    for room in [0, 1, 2, 10] {
        let mut why = [0x7f as c_char; 12];
        let mut abilities = 0;
        // SAFETY: everything lives until the call returns; there is more room than is said.
        unsafe { avenc_probe(9, 0, ptr::null(), &mut abilities, why.as_mut_ptr(), room) };
        if let Some(last) = room.checked_sub(1) {
            assert_eq!(why[last], 0);
        }
        assert!(why[room..].iter().all(|byte| *byte == 0x7f));
    }
}

/// Numbers may begin anywhere, since a new encoder goes on where the last one was.
#[test]
fn the_first_picture_has_any_number() {
    let plane = vec![0u8; (WIDTH * HEIGHT) as usize];
    for codec in CODECS {
        let mut encoder = open(&config(codec)).unwrap();
        for number in 1_000_000..1_000_010 {
            let picture = avenc_picture {
                struct_size: size_of::<avenc_picture>() as u32,
                planes: [plane.as_ptr(); 3],
                strides: [WIDTH; 3],
                number,
            };
            // SAFETY: open; planes and strides are large enough for any layout of 8 bits.
            assert_eq!(unsafe { avenc_submit(encoder.pointer, &picture) }, AVENC_OK);
            let unit = encoder.poll().unwrap();
            assert_eq!((unit.number, unit.is_idr), (number, number == 1_000_000), "{codec}");
        }
    }
}
