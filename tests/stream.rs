//! The stock client streams from the running daemon: pictures, sound and input of sessions that go
//! well, and the sentences that those get which may not be.

mod support;

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use support::device::{Device, Stream};
use support::{Daemon, eventually, need_encoders};

const IPV4: &str = "127.0.0.1";
const IPV6: &str = "[::1]";
/// What every daemon here has in its configuration.
const CONF: &str = "Capture test\nCodecs hevc h264\n";
/// Hertz by channel, as src/host/capture/tone.rs has them, and how loud they are.
const FREQUENCIES: [f64; 8] = [320.0, 480.0, 600.0, 60.0, 750.0, 960.0, 1200.0, 1500.0];
const AMPLITUDE: f64 = 0.25;
/// Of luma, in decibels: what is seen below that is not the picture that was sent.
const PSNR_MIN: f64 = 30.0;

/// Waits until nobody else streams: this machine has not processors for two tests at a time.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    need_encoders();
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A daemon with these lines in its configuration, once it knows its encoders.
fn start(lines: &str) -> Daemon {
    let daemon = Daemon::start(&format!("{CONF}{lines}"));
    for codec in ["hevc", "h264"] {
        daemon.wait_log(&format!("encoders: {codec}: software"));
    }
    daemon
}

fn paired(daemon: &Daemon, host: &str, pin: &str) -> Device {
    let mut device = Device::new(daemon, host);
    device.pair(daemon, pin);
    device
}

/// What the daemon says at the end of a session: frames sent, IDR frames among them, those that
/// healed, pictures left out.
#[track_caller]
fn ended(daemon: &Daemon, session: u32) -> [u64; 4] {
    let begin = format!("session {session}: sent ");
    daemon.wait_log(&begin);
    let log = daemon.log();
    let line = log.lines().find_map(|line| line.split_once(&begin)).unwrap().1;
    let mut numbers = line.split(|it: char| !it.is_ascii_digit()).filter_map(|it| it.parse().ok());
    std::array::from_fn(|_| numbers.next().unwrap())
}

/// What must hold of every stream on a network that loses nothing.
#[track_caller]
fn check(name: &str, report: &Value, channel_count: usize, daemon: &Daemon, device: &Device) {
    let [sent, _, healed, left_out] = ended(daemon, session_of(daemon, device));
    let video = &report["video"];
    let pictures = &video["pictures"];
    let seen: Vec<u64> = pictures["readings"]
        .as_array()
        .unwrap_or(&Vec::new())
        .iter()
        .map(|reading| reading[1].as_u64().unwrap())
        .collect();
    let unseen: u64 = seen.windows(2).map(|pair| pair[1] - pair[0] - 1).sum();
    let count = video["access_unit_count"].as_u64().unwrap_or(0);
    let context = || {
        let mut short = report.clone();
        short["video"]["pictures"]["readings"] = Value::Null;
        format!("{name}: sent {sent}, left out {left_out}, unseen {unseen}: {short}")
    };
    assert_eq!(report["error"], Value::Null, "{}", context());
    assert_eq!(video["missing_numbers"], json!([]), "{}", context());
    assert_eq!(video["are_numbers_rising"], true, "{}", context());
    assert_eq!(video["idr_numbers"][0], video["first_number"], "{}", context());
    assert_eq!(video["decode_error_count"], 0, "{}", context());
    assert_eq!((&pictures["unreadable_count"], healed), (&json!(0), 0), "{}", context());
    assert_eq!(pictures["strictly_rising"], true, "{}", context());
    assert!(unseen <= left_out, "{}", context());
    assert!(count > 0 && count <= sent, "{}", context());
    assert!(pictures["psnr_luma"]["min"].as_f64().unwrap() > PSNR_MIN, "{}", context());
    let tones = report["audio"]["tones"].as_array().unwrap();
    assert_eq!(tones.len(), channel_count, "{}", context());
    for (tone, frequency) in tones.iter().zip(FREQUENCIES) {
        let of = |name: &str| tone[name].as_f64().unwrap();
        assert!((of("frequency") / frequency - 1.0).abs() < 0.02, "{frequency}: {}", context());
        assert!((of("level") - AMPLITUDE).abs() < 0.05, "{frequency}: {}", context());
    }
}

/// The number of the session that this device launched or resumed last.
#[track_caller]
fn session_of(daemon: &Daemon, device: &Device) -> u32 {
    let log = daemon.log();
    let named = |verb: &str| format!(": moonlight-{} {verb} ", device.address);
    let line = log
        .lines()
        .rfind(|line| ["launches", "resumes"].iter().any(|it| line.contains(&named(it))));
    let (_, rest) = line.unwrap().split_once("session ").unwrap();
    rest.split_once(':').unwrap().0.parse().unwrap()
}

/// A device that streams until it is dropped, once it has its first picture.
fn occupy(daemon: &Daemon, device: &Device) -> Stream {
    let stream = device.begin_stream(&["--seconds", "60", "--mode", "640x360x30"]);
    daemon.wait_log("first picture sent");
    stream
}

/// What of the stream is sealed: 1 is the control stream, 2 pictures, 4 sound.
fn sealed(report: &Value) -> u64 {
    report["facts"]["EncryptionFeaturesEnabled"].as_u64().unwrap()
}

#[track_caller]
fn assert_refused(name: &str, report: &Value, status: u16, sentence: &str) {
    let error = &report["error"];
    assert_eq!(
        (&error["kind"], &error["status"]),
        (&json!("HttpResponseError"), &json!(status)),
        "{name}: {error}"
    );
    assert!(error["message"].as_str().unwrap().contains(sentence), "{name}: {error}");
}

#[test]
fn pictures_and_sound_of_every_kind_arrive_whole() {
    let _alone = alone();
    let daemon = start("");
    let (four, six) = (paired(&daemon, IPV4, "1234"), paired(&daemon, IPV6, "2345"));
    // Name, device, words to the client, what is sealed, channels.
    let cases: [(&str, &Device, &str, u64, usize); 6] = [
        ("H.264", &four, "", 7, 2),
        ("plain pictures", &four, "--plain-video", 5, 2),
        ("1080p", &four, "--mode 1920x1080x60", 7, 2),
        ("HEVC, 5.1", &four, "--codec hevc --mode 1280x720x30 --audio 51", 7, 6),
        ("IPv6, 7.1", &six, "--audio 71", 7, 8),
        ("100 Mbit/s", &four, "--bitrate 100000", 7, 2),
    ];
    for (name, device, words, is_sealed, channel_count) in cases {
        let words: Vec<&str> = words.split_whitespace().chain(["--seconds", "3"]).collect();

        let report = device.stream(&words);

        check(name, &report, channel_count, &daemon, device);
        let video = &report["video"];
        assert_eq!((&video["idr_numbers"], sealed(&report)), (&json!([1]), is_sealed), "{name}");
        let len = video["len"]["p50"].as_f64().unwrap();
        assert!(!words.contains(&"100000") || len > 60_000.0, "{name}: {len}");
    }
}

#[test]
fn clients_that_stream_at_once_have_pictures_of_their_own() {
    let _alone = alone();
    let daemon = start("");
    let devices = [paired(&daemon, IPV4, "1234"), paired(&daemon, IPV6, "2345")];
    let words = ["--mode", "1280x720x30", "--seconds", "4"];

    let streams = devices.each_ref().map(|device| device.begin_stream(&words));
    let reports = streams.map(Stream::report);

    let times = |report: &Value| -> HashSet<u64> {
        let readings = report["video"]["pictures"]["readings"].as_array().unwrap();
        readings.iter().map(|reading| reading[2].as_u64().unwrap()).collect()
    };
    for (device, report) in devices.iter().zip(&reports) {
        check(&device.address, report, 2, &daemon, device);
    }
    assert!(times(&reports[0]).is_disjoint(&times(&reports[1])));
}

#[test]
fn an_app_goes_on_without_its_client_until_it_is_cancelled() {
    let _alone = alone();
    let daemon = start("");
    let mut device = paired(&daemon, IPV4, "1234");
    let app = |device: &mut Device| device.ask(&["info"])["ok"]["app"].as_u64().unwrap();
    let words = ["--mode", "640x360x30", "--seconds", "3"];
    assert_eq!(app(&mut device), 0);

    let launched = device.stream(&words);
    check("launched", &launched, 2, &daemon, &device);
    let between = app(&mut device);
    let resumed = device.stream(&[&words[..], &["--resume", "--quit"]].concat());

    check("resumed", &resumed, 2, &daemon, &device);
    assert_ne!(between, 0);
    assert_eq!(app(&mut device), 0);
    assert_refused("again", &device.stream(&["--resume"]), 503, "No running app to resume");
}

#[test]
fn who_comes_second_is_refused_or_takes_over() {
    let _alone = alone();
    for (lines, sentence) in [
        ("SessionConflict refuse", "Another client is streaming from this host"),
        ("MaxSessions 1", "This host streams to 1 client"),
    ] {
        let daemon = start(lines);
        let (first, second) = (paired(&daemon, IPV4, "1234"), paired(&daemon, IPV6, "2345"));
        let _stream = occupy(&daemon, &first);

        let report = second.stream(&[]);

        assert_refused(lines, &report, 503, sentence);
        assert!(!daemon.log().contains("session 1: ended"), "{lines}");
    }
    let daemon = start("SessionConflict takeover");
    let (first, second) = (paired(&daemon, IPV4, "1234"), paired(&daemon, IPV6, "2345"));
    let stream = occupy(&daemon, &first);

    let taken = second.stream(&["--mode", "640x360x30", "--seconds", "3"]);
    let left = stream.report();

    check("takeover", &taken, 2, &daemon, &second);
    assert_eq!((&left["is_terminated"], &left["error"]), (&json!(true), &Value::Null));
    daemon.wait_log("session 1: ended");
}

/// Lets the administrator `grant` or `revoke` what starts and ends apps.
#[track_caller]
fn change_launch(daemon: &Daemon, device: &Device, change: &str) {
    let done = daemon.ctl(&["client", change, &device.fingerprint, "launch"]);
    assert!(done.status.success(), "{done:?}");
}

/// The status of an answer to the device; 0 is success.
fn became(device: &mut Device, words: &[&str]) -> u64 {
    let answer = device.ask(words);
    answer["error"].as_str().map_or(0, |_| answer["status"].as_u64().unwrap())
}

fn run_count(daemon: &Daemon) -> usize {
    daemon.ctl_json(&["runs"])["runs"].as_array().unwrap().len()
}

#[test]
fn without_the_grant_launch_nobody_takes_or_ends_the_app_of_another() {
    let _alone = alone();
    // Lines, whether the first client has left, and what becomes of the second's resume and quit,
    // then of its quit with the grant, which leaves so many apps.
    let table = [
        ("SessionConflict takeover", false, [403, 403, 0], 0),
        ("SessionConflict takeover", true, [403, 403, 0], 0),
        ("SessionConflict refuse", true, [403, 403, 0], 0),
        // It sees nothing that it could end.
        ("SessionConflict separate", true, [503, 0, 0], 1),
    ];
    for (lines, leaves, expected, left_count) in table {
        let daemon = start(lines);
        let (first, mut second) = (paired(&daemon, IPV4, "1234"), paired(&daemon, IPV6, "2345"));
        let _stream = (!leaves).then(|| occupy(&daemon, &first));
        if leaves {
            first.stream(&["--mode", "640x360x30", "--seconds", "1"]);
        }

        change_launch(&daemon, &second, "revoke");
        let [resumes, quits] = [["resume"], ["quit"]].map(|words| became(&mut second, &words));
        let count = run_count(&daemon);
        change_launch(&daemon, &second, "grant");
        let may_quit = became(&mut second, &["quit"]);

        assert_eq!(([resumes, quits, may_quit], count), (expected, 1), "{lines} {leaves}");
        assert_eq!(run_count(&daemon), left_count, "{lines} {leaves}");
    }
}

#[test]
fn without_the_grant_launch_a_client_returns_to_its_own_app_where_nobody_has_to_go() {
    let _alone = alone();
    let daemon = start("SessionConflict takeover");
    let (mut first, mut second) = (paired(&daemon, IPV4, "1234"), paired(&daemon, IPV6, "2345"));
    first.stream(&["--mode", "640x360x30", "--seconds", "1"]);
    change_launch(&daemon, &first, "revoke");
    assert_eq!(became(&mut second, &["launch", "Desktop"]), 0);

    let in_the_way = [["resume"], ["quit"]].map(|words| became(&mut first, &words));
    let count = run_count(&daemon);
    let quits = became(&mut second, &["quit"]);
    let alone = [["resume"], ["quit"]].map(|words| became(&mut first, &words));

    assert_eq!((in_the_way, count, quits), ([403, 403], 2, 0));
    assert_eq!((alone, run_count(&daemon)), ([0, 403], 1));
}

#[test]
fn a_client_streams_only_what_it_may_and_as_it_must() {
    let _alone = alone();
    let plain = "--plain-rtsp";
    let demands = "This host demands encryption, which this version of Moonlight has not";
    // Lines, words to the client, status and sentence, or what is sealed.
    type Expected<'a> = Result<u64, (u16, &'a str)>;
    let cases: [(&str, &str, Expected<'_>); 4] = [
        ("DefaultGrants view", "", Err((403, "may not do that here (grant launch)"))),
        ("", plain, Ok(7)),
        ("Encryption required", plain, Err((403, demands))),
        // The client gives in.
        ("Encryption required", "--plain-video", Ok(7)),
    ];
    for (lines, words, expected) in cases {
        let name = format!("{lines} {words}");
        let daemon = start(lines);
        let device = paired(&daemon, IPV4, "1234");
        let words = words.split_whitespace().chain(["--mode", "640x360x30", "--seconds", "3"]);

        let report = device.stream(&words.collect::<Vec<_>>());

        match expected {
            Err((status, sentence)) => assert_refused(&name, &report, status, sentence),
            Ok(is_sealed) => {
                check(&name, &report, 2, &daemon, &device);
                assert_eq!(sealed(&report), is_sealed, "{name}");
            }
        }
    }
}

#[test]
fn input_of_every_kind_and_requests_for_idr_frames_leave_the_stream_whole() {
    let _alone = alone();
    let mut daemon = start("");
    let device = paired(&daemon, IPV4, "1234");

    let report = device.stream(&["--input", "--idr", "2", "--seconds", "3"]);

    check("input", &report, 2, &daemon, &device);
    let sent = report["input"].as_array().unwrap();
    assert!(sent.len() > 20 && sent.iter().all(|it| it[1] == 0), "{sent:?}");
    let [_, idr_count, ..] = ended(&daemon, session_of(&daemon, &device));
    let idrs = report["video"]["idr_numbers"].as_array().unwrap();
    assert_eq!((idrs[0].as_u64(), idrs.len(), idr_count), (Some(1), 3, 3), "{idrs:?}");
    assert!(daemon.is_running());
}

#[test]
fn input_arrives_by_its_kind_and_gamepads_are_told_what_they_can_do() {
    const KINDS: [&str; 16] = [
        "gamepad_arrived",
        "gamepad_battery",
        "gamepad_motion",
        "gamepad_state",
        "gamepad_touchpad",
        "key_down",
        "key_up",
        "pen",
        "pointer_button_down",
        "pointer_button_up",
        "pointer_move",
        "pointer_place",
        "scroll_horizontal",
        "scroll_vertical",
        "text",
        "touch",
    ];
    let _alone = alone();
    let daemon = start("");
    let device = paired(&daemon, IPV4, "1234");
    let stream = device.begin_stream(&[
        "--input",
        "--wait-rumble",
        "--seconds",
        "15",
        "--mode",
        "640x360x30",
    ]);

    let input = eventually("input of every kind arrives", || {
        let (_, report) = daemon.api("GET", "/v1/sessions", "");
        let input = report["sessions"][0]["input"].clone();
        let has_come = |kind: &&str| input["counts"][kind].as_u64().is_some_and(|count| count > 0);
        KINDS.iter().all(has_come).then_some(input)
    });
    let feedback = json!({ "gamepad": 0, "rumble": { "low": 1000, "high": 65535 } });
    let (status, _) = daemon.api("POST", "/v1/sessions/1/feedback", &feedback.to_string());
    let report = stream.report();

    assert_eq!(input["refused"], json!(0), "{input}");
    assert_eq!(status, 200);
    assert_eq!(report["error"], Value::Null, "{report}");
    let rumble = |event: &Value| {
        event.as_array().unwrap()[1..] == [json!("rumble"), json!(0), json!(1000), json!(65535)]
    };
    assert!(report["events"].as_array().unwrap().iter().any(rumble), "{}", report["events"]);
}
