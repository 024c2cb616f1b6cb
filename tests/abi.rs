//! The library as programs in C meet it: its header, its symbols, and a program that uses all of it.

#[path = "support/counting.rs"]
mod counting;

use std::fmt::Write as _;
use std::fs;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use counting::COUNT;
use punktfunk_core::abi::exports::*;
use punktfunk_core::abi::{
    Address, Config, Event, Keys, LinkOptions, PathState, Probe, ProbeReport, ProbeSent, Sound,
    Status, Unit,
};
use punktfunk_core::proto::histogram::Summary;
use punktfunk_core::proto::packet::stats::{self, Stats};

const HEADER: &str = include_str!("../include/punktfunk_core.h");
const MANUAL: &str = include_str!("../man/punktfunk_core.3");
/// What pkg-config tells of the library.
const PACKAGE: &str = include_str!("../scripts/punktfunk_core.pc");
/// Where what goes over the border is written down.
const SOURCES: [&str; 5] = [
    "src/proto/histogram.rs",
    "src/proto/packet/stats.rs",
    "src/abi/status.rs",
    "src/abi/structs.rs",
    "src/abi/exports.rs",
];
/// What the library may need of the system.
const SYSTEM: [&str; 4] = ["ld-linux", "libc.so", "libgcc_s.so", "libm.so"];

/// In front of the header.
const PREAMBLE: &str = "\
// punktfunk_core: the data plane of punktfunk/1 for programs in C. See punktfunk_core(3).
//
// Made by cbindgen from src/abi, and held to it by tests/abi.rs: do not edit.
//
// Functions return 0 or a count, and less than 0 if something is wrong: enum punktfunk_status. None
// waits for anything but another call on the same session or link, and none calls back.
//
// Every function may be called by every thread. Calls on one session wait for one another, calls on
// different ones do not. An access unit that was lent stays until the next event of its session is
// polled or it is closed, on whatever thread: so one thread polls.
//
// A child of fork(2) must not use the sessions of its parent: it would send other bytes under the
// same numbers and keys, which gives away both.";

/// Names of the source, and what C calls them.
const NAMES: [(&str, &str); 28] = [
    ("ABI_VERSION", "PUNKTFUNK_ABI_VERSION"),
    ("Address", "punktfunk_address"),
    ("Config", "punktfunk_config"),
    ("EVENT_LOST", "PUNKTFUNK_EVENT_LOST"),
    ("EVENT_UNIT", "PUNKTFUNK_EVENT_UNIT"),
    ("Event", "punktfunk_event"),
    ("Keys", "punktfunk_keys"),
    ("LinkHandle", "punktfunk_link"),
    ("LinkOptions", "punktfunk_link_options"),
    ("NONE", "PUNKTFUNK_NONE"),
    ("PING_LEN", "PUNKTFUNK_PING_LEN"),
    ("PathState", "punktfunk_path"),
    ("Probe", "punktfunk_probe"),
    ("ProbeReport", "punktfunk_probe_report"),
    ("ProbeSent", "punktfunk_probe_sent"),
    ("ROLE_CLIENT", "PUNKTFUNK_ROLE_CLIENT"),
    ("ROLE_HOST", "PUNKTFUNK_ROLE_HOST"),
    ("SessionHandle", "punktfunk_session"),
    ("Sound", "punktfunk_sound"),
    ("Stats", "punktfunk_stats"),
    ("Status", "punktfunk_status"),
    ("Summary", "punktfunk_summary"),
    ("UNIT_ANCHOR", "PUNKTFUNK_UNIT_ANCHOR"),
    ("UNIT_IDR", "PUNKTFUNK_UNIT_IDR"),
    ("Unit", "punktfunk_unit"),
    ("VERSION", "PUNKTFUNK_STATS_VERSION"),
    ("BUCKET_COUNT", "-"),
    ("Histogram", "-"),
];

#[test]
fn the_header_is_what_the_code_says() {
    let made = header();

    let path = scratch("header").join("punktfunk_core.h");
    fs::write(&path, &made).unwrap();
    assert!(made == HEADER, "include/punktfunk_core.h is not {}", path.display());
}

fn header() -> String {
    let mut config = cbindgen::Config {
        language: cbindgen::Language::C,
        header: Some(PREAMBLE.to_owned()),
        include_guard: Some("PUNKTFUNK_CORE_H".to_owned()),
        cpp_compat: true,
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        style: cbindgen::Style::Both,
        documentation_style: cbindgen::DocumentationStyle::C99,
        usize_is_size_t: true,
        line_length: 100,
        tab_width: 4,
        ..cbindgen::Config::default()
    };
    // No function names it: they return numbers.
    config.export.include.push("Status".to_owned());
    config.enumeration.rename_variants = cbindgen::RenameRule::QualifiedScreamingSnakeCase;
    for (name, of_c) in NAMES {
        match of_c {
            "-" => config.export.exclude.push(name.to_owned()),
            _ => drop(config.export.rename.insert(name.to_owned(), of_c.to_owned())),
        }
    }
    let builder = SOURCES.iter().fold(cbindgen::Builder::new().with_config(config), |it, path| {
        it.with_src(root().join(path))
    });
    let mut bytes = Vec::new();
    builder.generate().unwrap().write(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An empty folder of that name for what a test makes.
fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("abi").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn every_function_is_in_the_library_and_in_the_header_and_nothing_else_is() {
    let library = library("libpunktfunk_core.so");
    let declared = declared();

    let exported = said(Command::new("nm").args(["-D", "--defined-only"]).arg(&library));
    let mut exported: Vec<&str> =
        exported.lines().filter_map(|line| line.split(' ').next_back()).collect();
    exported.sort_unstable();
    let dynamic = said(Command::new("readelf").args(["-d", "-W"]).arg(&library));
    let entries = |kind: &str| -> Vec<&str> {
        let lines = dynamic.lines().filter(|line| line.contains(kind));
        lines.filter_map(|line| line.split(['[', ']']).nth(1)).collect()
    };

    assert_eq!(exported, declared);
    assert!(declared.len() > 10);
    let needed = entries("(NEEDED)");
    let is_of_the_system = |it: &&str| SYSTEM.iter().any(|name| it.starts_with(name));
    assert!(!needed.is_empty() && needed.iter().all(is_of_the_system), "{needed:?}");
    assert_eq!(entries("(SONAME)"), [format!("libpunktfunk_core.so.{ABI_VERSION}")]);
}

/// Functions of the header, sorted.
fn declared() -> Vec<&'static str> {
    let code = HEADER.lines().filter(|line| !line.trim_start().starts_with("//"));
    let names = code.filter_map(|line| {
        let (front, _) = line.split_once('(')?;
        let name = front.rsplit([' ', '*']).next()?;
        name.starts_with("punktfunk_").then_some(name)
    });
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names
}

#[test]
fn the_manual_has_every_function() {
    for name in declared() {
        let shows = |line: &str| {
            let mut words = line.split(' ');
            matches!(words.next(), Some(".Fn" | ".Fo")) && words.next() == Some(name)
        };
        assert!(MANUAL.lines().any(shows), "{name}");
    }
}

#[test]
fn the_manual_has_every_status() {
    let listed = |name: &str| MANUAL.contains(&format!("\n.It Dv {name}\n"));
    let mut count = 0;
    for line in HEADER.lines() {
        let Some((name, _)) = line.trim().split_once(" = -") else { continue };
        count += 1;
        assert!(listed(name), "{name}");
    }

    assert!(count > 10, "{count}");
}

#[test]
fn the_header_is_one_of_cpp_too() {
    let source = scratch("cpp").join("empty.cc");
    fs::write(&source, "#include <punktfunk_core.h>\n").unwrap();

    let mut cpp = Command::new("c++");
    cpp.args(["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I"]);
    said(cpp.arg(root().join("include")).arg(source));
}

#[test]
fn no_function_lets_a_panic_out() {
    let source = fs::read_to_string(root().join("src/abi/exports.rs")).unwrap();
    let functions = source.split("#[unsafe(no_mangle)]\n").skip(1);
    let mut unguarded = Vec::new();
    for function in functions {
        let (head, body) = function.split_once("{\n").unwrap();
        if !body.starts_with("    guard(|| ") {
            unguarded.push(head.split(['(', ' ']).find(|it| it.starts_with("punktfunk_")).unwrap());
        }
    }

    // These have nothing that could.
    assert_eq!(unguarded, ["punktfunk_abi_version", "punktfunk_status_text"]);
}

#[test]
fn a_program_in_c_can_do_all_that_the_header_says() {
    let folder = scratch("program");
    fs::write(folder.join("layout.h"), layout()).unwrap();
    let source = root().join("tests/c/core.c");
    for is_static in [false, true] {
        for sanitizer in [&[][..], &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]] {
            let program = compile(&folder, &source, is_static, sanitizer);

            let output = run(&program);

            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{is_static} {sanitizer:?}: {errors}");
            assert_eq!(output.stdout, b"all of it is so\n");
            // Every defect says where it was.
            assert!(errors.contains("the defect that was asked for"), "{errors}");
        }
    }
}

#[test]
fn the_example_of_the_manual_is_a_program() {
    let folder = scratch("example");
    let (_, example) = MANUAL.split_once("\n.Bd -literal\n").unwrap();
    let (example, _) = example.split_once("\n.Ed\n").unwrap();
    let source = folder.join("example.c");
    fs::write(&source, example.replace("\\e", "\\").replace("\\&", "")).unwrap();

    let program = compile(&folder, &source, false, &[]);
    let output = run(&program);

    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let line = String::from_utf8_lossy(&output.stdout);
    assert_eq!(line, "access unit 1: 5000 bytes, shards recovered: 1\n");
}

/// Sizes of structs and offsets of their members, as the library has them.
fn layout() -> String {
    let mut text = String::from("/* Made by tests/abi.rs. */\n");
    macro_rules! hold {
        ($type:ty, $of_c:literal, $($member:ident),*) => {
            let size = size_of::<$type>();
            writeln!(text, "_Static_assert(sizeof(struct {}) == {size}, \"\");", $of_c).unwrap();
            $(
                let (name, offset) = (stringify!($member), offset_of!($type, $member));
                let place = format!("offsetof(struct {}, {name})", $of_c);
                writeln!(text, "_Static_assert({place} == {offset}, \"\");").unwrap();
            )*
        };
    }
    hold!(Keys, "punktfunk_keys", key, iv);
    hold!(
        Config,
        "punktfunk_config",
        struct_size,
        role,
        send,
        receive,
        datagram_len_max,
        unit_len_max,
        block_data_max,
        parity_percent,
        parity_count_min,
        frame_count,
        patience_us,
        window_len,
        sound_sample_count,
        sound_patience_us,
        stall_us
    );
    hold!(Unit, "punktfunk_unit", struct_size, flags, bytes, len, captured_us, latency_us, epoch);
    hold!(
        Event,
        "punktfunk_event",
        struct_size,
        kind,
        first,
        last,
        flags,
        epoch,
        bytes,
        len,
        captured_us,
        latency_us,
        assembly_us
    );
    hold!(Address, "punktfunk_address", ip, port);
    hold!(Probe, "punktfunk_probe", struct_size, test, rate_kbps, duration_ms);
    hold!(ProbeSent, "punktfunk_probe_sent", struct_size, test, datagrams, send_dropped, rate_kbps);
    hold!(
        ProbeReport,
        "punktfunk_probe_report",
        struct_size,
        test,
        received,
        lost,
        rate_kbps,
        queue_us_max,
        jitter_us
    );
    hold!(PathState, "punktfunk_path", struct_size, is_open, rtt_us, offset_us);
    hold!(
        LinkOptions,
        "punktfunk_link_options",
        struct_size,
        loss_ppm,
        seed,
        burst_len,
        repeat_ppm,
        disorder_ppm,
        defect_at
    );
    hold!(
        Sound,
        "punktfunk_sound",
        struct_size,
        sample_count,
        first,
        last,
        bytes,
        len,
        captured_us
    );
    hold!(Summary, "punktfunk_summary", count, min, p50, p90, p99, p999, max);
    hold!(
        Stats,
        "punktfunk_stats",
        struct_size,
        version,
        units_sent,
        packets_send_dropped,
        packets_received,
        burst_counts,
        refused_header,
        units_received,
        shards_refused,
        jitter_us,
        trend_us,
        unit_len,
        excess_us,
        packets_receive_dropped,
        packets_ce,
        send_phase,
        is_key_wanted,
        protect_ns,
        seal_ns
    );
    writeln!(text, "_Static_assert(PUNKTFUNK_STATS_VERSION == {}, \"\");", stats::VERSION).unwrap();
    writeln!(text, "_Static_assert(PUNKTFUNK_STATUS_DEFECT == {}, \"\");", Status::Defect as i32)
        .unwrap();
    text
}

/// A library that was built with this test: they lie side by side.
fn library(name: &str) -> PathBuf {
    let path = std::env::current_exe().unwrap().with_file_name(name);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

/// Compiles and links one program.
fn compile(folder: &Path, source: &Path, is_static: bool, options: &[&str]) -> PathBuf {
    let program = folder.join(format!("program-{is_static}-{}", options.len()));
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread"]);
    cc.args(options).arg("-I").arg(root().join("include")).arg("-I").arg(folder);
    cc.arg("-o").arg(&program).arg(source);
    if is_static {
        let (_, needs) = PACKAGE.split_once("\nLibs.private: ").unwrap();
        cc.arg(library("libpunktfunk_core.a")).args(needs.split_whitespace());
    } else {
        let library = library("libpunktfunk_core.so");
        // Programs look for it by its soname.
        let link = folder.join(format!("libpunktfunk_core.so.{ABI_VERSION}"));
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&library, link).unwrap();
        cc.arg(library).arg(format!("-Wl,-rpath,{}", folder.display()));
    }
    let output = cc.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

/// Runs one. It must be without what tells Rust programs where libraries are.
fn run(program: &Path) -> Output {
    Command::new(program).env_remove("LD_LIBRARY_PATH").output().unwrap()
}

/// What a program says that succeeds.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn config(role: u32) -> Config {
    let keys = Keys { key: [1; 16], iv: [2; 12] };
    Config {
        struct_size: size_of::<Config>() as u32,
        role,
        send: keys,
        receive: keys,
        datagram_len_max: 0,
        unit_len_max: 0,
        block_data_max: 0,
        parity_percent: 0,
        parity_count_min: 0,
        frame_count: 0,
        patience_us: 0,
        window_len: 0,
        sound_sample_count: 0,
        sound_patience_us: 0,
        stall_us: 0,
    }
}

#[test]
fn the_longest_access_unit_goes_through() {
    const LEN: usize = 64 << 20;
    let mut sessions = [0; 2];
    for (session, role) in sessions.iter_mut().zip([1, 2]) {
        let config = Config { unit_len_max: LEN as u32, ..config(role) };
        // SAFETY: both outlive the call.
        assert_eq!(unsafe { punktfunk_session_open(&config, session) }, 0);
    }
    let [host, client] = sessions;
    let bytes: Vec<u8> = (0..LEN).map(|at| (at ^ at >> 11) as u8).collect();
    let (mut room, mut len, mut datagram_count) = (vec![0; 1 << 20], 0, 0_usize);
    let unit = Unit {
        struct_size: size_of::<Unit>() as u32,
        flags: 0,
        bytes: bytes.as_ptr(),
        len: LEN,
        captured_us: 0,
        latency_us: 0,
        epoch: 0,
    };
    // SAFETY: all that is pointed to outlives the calls and is as long as it says.
    let event = unsafe {
        assert_eq!(punktfunk_host_submit(host, &raw const unit, std::ptr::null_mut(), 0), 0);
        let place = room.as_mut_ptr();
        loop {
            let count = punktfunk_session_poll_datagrams(host, place, room.len(), &raw mut len, 0);
            if count <= 0 {
                assert_eq!(count, 0);
                break;
            }
            datagram_count += count as usize;
            // The first of each call is lost.
            let (place, len_all) = (place.add(len), (count as usize - 1) * len);
            assert_eq!(
                punktfunk_session_handle_datagrams(client, place, len_all, len, 0),
                count - 1
            );
        }
        let mut event = std::mem::zeroed::<Event>();
        event.struct_size = size_of::<Event>() as u32;
        assert_eq!(punktfunk_client_poll_event(client, &raw mut event, 0), 1);
        event
    };

    assert_eq!((event.kind, event.len), (1, LEN));
    // SAFETY: it is lent until the next event is polled.
    assert!(unsafe { std::slice::from_raw_parts(event.bytes, event.len) } == bytes);
    assert!(datagram_count * 1408 > LEN * 119 / 100, "with a fifth of parity");
    for session in sessions {
        assert_eq!(punktfunk_session_close(session), 0);
    }
}

#[test]
fn a_second_of_access_units_is_all_that_takes_memory() {
    const ROLES: [u32; 2] = [1, 2];
    let mut sessions = [0; 2];
    for (session, role) in sessions.iter_mut().zip(ROLES) {
        // SAFETY: both outlive the call.
        assert_eq!(unsafe { punktfunk_session_open(&config(role), session) }, 0);
    }
    let [host, client] = sessions;
    let (bytes, mut room) = (vec![7; 100_000], vec![0; 1 << 18]);
    let (mut received, mut heard, mut now_us, mut warm) = (0, 0, 0, 0);
    let before = COUNT.get();
    for index in 1..=1060_usize {
        let unit = Unit {
            struct_size: size_of::<Unit>() as u32,
            flags: 0,
            bytes: bytes.as_ptr(),
            len: if index <= 20 { bytes.len() } else { 1 + index * 7919 % bytes.len() },
            captured_us: now_us,
            latency_us: 0,
            epoch: 0,
        };
        // SAFETY: all that is pointed to outlives the calls and is as long as it says.
        unsafe {
            assert_eq!(
                punktfunk_host_submit(host, &raw const unit, std::ptr::null_mut(), now_us),
                0
            );
            assert_eq!(punktfunk_host_submit_sound(host, bytes.as_ptr(), 80, now_us), 0);
            let (place, mut len) = (room.as_mut_ptr(), 0);
            loop {
                let count =
                    punktfunk_session_poll_datagrams(host, place, room.len(), &raw mut len, now_us);
                if count <= 0 {
                    assert_eq!(count, 0);
                    break;
                }
                for datagram in room.chunks_exact_mut(len).take(count as usize).skip(index % 3) {
                    let place = datagram.as_mut_ptr();
                    punktfunk_session_handle_datagrams(client, place, len, len, now_us);
                }
            }
            now_us += 16_667;
            let mut event = std::mem::zeroed::<Event>();
            event.struct_size = size_of::<Event>() as u32;
            while punktfunk_client_poll_event(client, &raw mut event, now_us) > 0 {
                received += u32::from(event.kind == 1);
            }
            let mut sound = std::mem::zeroed::<Sound>();
            sound.struct_size = size_of::<Sound>() as u32;
            while punktfunk_client_poll_sound(client, &raw mut sound, now_us) > 0 {
                heard += u32::from(!sound.bytes.is_null());
            }
            let mut stats = Stats::default();
            assert_eq!(punktfunk_session_stats(client, &raw mut stats), 0);
        }
        if index == 60 {
            warm = COUNT.get();
        }
    }
    let after = COUNT.get();

    assert!(warm > before, "allocations are counted");
    assert_eq!(after - warm, 0);
    // Of sound the first of three datagrams comes, which has the frame before too.
    assert!(received > 1000 && heard > 700, "{received} {heard}");
    for session in sessions {
        assert_eq!(punktfunk_session_close(session), 0);
    }
}
