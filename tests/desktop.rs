//! The stock client sees a desktop that the daemon makes for it, types in it, and leaves nothing.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use support::device::{Device, psnr};
use support::sound::Sound;
use support::{
    Daemon, Folder, command, eventually, free_port, need_encoders, output, python, tool,
};

/// Of luma, in decibels: what is seen below that is not what the desktop shows.
const PSNR_MIN: f64 = 30.0;
/// A terminal in which the pointer is not seen once something is typed.
const TERMINAL: &str = "foot --config=/dev/null --override=mouse.hide-when-typing=yes";

/// One desktop at a time, so that each has the machine for itself.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    need_encoders();
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A daemon whose Desktop runs a script in a terminal, and a device that is paired with it. `%` in
/// the script is a folder that it can write to.
fn start(script: &str) -> (Daemon, Device) {
    start_lingering("0s", &format!("foot sh -c \"{script}\""))
}

/// As [`start`], with a command.
fn start_command(command: &str) -> (Daemon, Device) {
    start_lingering("0s", command)
}

/// As above, where apps wait so long for their clients.
fn start_lingering(time: &str, command: &str) -> (Daemon, Device) {
    let folder = Folder::with_identity();
    let own = folder.folder("own", 0o700);
    let command = command.replace('%', own.to_str().unwrap());
    let conf = format!("Display private\nLingerTime {time}\nApp Desktop\n    Command {command}");
    let daemon = Daemon::start_in(folder, free_port(), &conf);
    daemon.wait_log("encoders: h264: software");
    let mut device = Device::new(&daemon, "127.0.0.1");
    device.pair(&daemon, "1234");
    (daemon, device)
}

/// Nothing is left of a session.
#[track_caller]
fn is_gone(daemon: &Daemon, session: u32) {
    let folder = compositor(daemon, session);
    eventually("the compositor and its folder go", || {
        (!folder.exists() && programs(&folder).is_empty()).then_some(())
    });
}

/// The folder of the compositor of a session.
fn compositor(daemon: &Daemon, session: u32) -> PathBuf {
    daemon.folder().path().join(format!("run/private/display-{session}"))
}

/// The numbers of programs whose command lines name this folder.
fn programs(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let names_it = |entry: &fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(folder)
    };
    let entries = fs::read_dir("/proc").unwrap().flatten().filter(names_it);
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

fn screenshot(folder: &Path, to: &Path) {
    let sockets = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let is_wayland = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("wayland-") && !name.ends_with(".lock")
    };
    let socket = sockets.into_iter().find(is_wayland).unwrap();
    let shot = output(
        command("grim")
            .env("XDG_RUNTIME_DIR", folder)
            .env("WAYLAND_DISPLAY", socket)
            .args(["-c", "-t", "ppm"])
            .arg(to),
    );
    assert!(shot.status.success(), "{shot:?}");
}

#[test]
fn a_client_sees_a_desktop_of_its_own_types_in_it_and_leaves_nothing() {
    let _alone = alone();
    // Without the cursor and the pointer, which show whether somebody looks.
    let script = "stty -icanon; printf '\\\\033[?25lready'; cat > %/typed";
    let (daemon, device) = start_lingering("10m", &format!("{TERMINAL} sh -c \"{script}\""));
    let own = daemon.folder().path().join("own");
    let (record, shot) = (daemon.folder().path().join("record"), own.join("shot"));

    let words = ["--type", "6", "--seconds", "8", "--record", record.to_str().unwrap()];
    let report = device.begin_stream(&words).report();
    // The desktop stays as its client has seen it last.
    screenshot(&compositor(&daemon, 1), &shot);
    let stopped = daemon.ctl(&["run", "stop", "1"]);

    assert_eq!(report["error"], Value::Null, "{report}");
    assert_eq!(report["video"]["pictures"]["size"], json!([1280, 720]));
    assert_eq!(report["video"]["missing_numbers"], json!([]));
    let typed = fs::read_to_string(own.join("typed")).unwrap();
    assert!(typed.contains("aBgr\u{fc}\u{df}"), "{typed:?}");
    let untyped = psnr(&record, &shot, report["untyped_count"].as_u64());
    let psnr = psnr(&record, &shot, None);
    assert!(untyped < PSNR_MIN && psnr > PSNR_MIN, "{untyped} dB untyped, {psnr} dB");
    daemon.wait_log("session 1: pictures in shared memory\n");
    assert!(stopped.status.success(), "{stopped:?}");
    is_gone(&daemon, 1);
}

#[test]
fn a_desktop_at_rest_is_shown_twice_a_second_and_sends_next_to_nothing() {
    const REST_US: u64 = 15_000_000;
    let _alone = alone();
    let (daemon, device) = start("printf ready; sleep 1000");

    let report = device.begin_stream(&["--seconds", "18"]).report();

    assert_eq!((&report["error"], &report["is_terminated"]), (&Value::Null, &json!(false)));
    let video = &report["video"];
    assert_eq!(video["missing_numbers"], json!([]));
    let times: Vec<u64> =
        video["times_us"].as_array().unwrap().iter().map(|time| time.as_u64().unwrap()).collect();
    let rests = |time: &&u64| **time + REST_US > *times.last().unwrap();
    let count = times.iter().filter(rests).count();
    assert!((25..=32).contains(&count), "{count} frames");
    // With the first picture, which is most of it.
    let kbps = video["kbps"].as_u64().unwrap();
    assert!(kbps < 80, "{kbps} kbit/s");
    is_gone(&daemon, 1);
}

#[test]
fn each_session_has_the_mode_that_its_client_wants() {
    let _alone = alone();
    let (daemon, device) = start("sleep 60");

    let report = device.stream(&["--mode", "1600x900x90", "--seconds", "2"]);

    assert_eq!(report["error"], Value::Null, "{report}");
    assert_eq!(report["video"]["pictures"]["size"], json!([1600, 900]));
    is_gone(&daemon, 1);
}

#[test]
fn an_app_that_ends_ends_its_session() {
    let _alone = alone();
    let (daemon, device) = start("sleep 3");

    let report = device.stream(&["--seconds", "20"]);

    assert_eq!((&report["is_terminated"], &report["termination_code"]), (&json!(true), &json!(0)));
    daemon.wait_log("app ended");
    is_gone(&daemon, 1);
}

#[test]
fn a_client_that_comes_back_finds_its_desktop_at_the_mode_that_it_asks_for_then() {
    let _alone = alone();
    let (daemon, device) = start_lingering("10m", "foot sh -c \"echo up >> %/starts; sleep 1000\"");

    let first = device.stream(&["--seconds", "2"]);
    daemon.wait_log("its display is kept for 600 s");
    let run = &daemon.ctl_json(&["runs"])["runs"][0];
    assert_eq!((&run["id"], &run["session"]), (&json!(1), &Value::Null));
    assert!(run["away_s"].is_u64() && run["left_s"].as_u64() > Some(500), "{run}");
    let words = ["--resume", "--mode", "1600x900x90", "--seconds", "2", "--quit"];
    let second = device.stream(&words);

    for (report, size) in [(first, [1280, 720]), (second, [1600, 900])] {
        assert_eq!(report["error"], Value::Null, "{report}");
        assert_eq!(report["video"]["pictures"]["size"], json!(size), "{report}");
    }
    daemon.wait_log("kept since the session before");
    let starts = fs::read_to_string(daemon.folder().path().join("own/starts"));
    assert_eq!(starts.unwrap(), "up\n");
    is_gone(&daemon, 1);
}

#[test]
fn a_desktop_that_nobody_comes_back_to_goes() {
    let _alone = alone();
    let table = [
        ("3s", "did not come back", "sleep 1000"),
        ("10m", "ended while", "while [ ! -e %/end ]; do sleep 0.1; done"),
    ];
    for (time, line, script) in table {
        let (daemon, device) = start_lingering(time, &format!("foot sh -c \"{script}\""));

        let report = device.stream(&["--seconds", "2"]);
        daemon.wait_log("its display is kept");
        assert!(compositor(&daemon, 1).exists());
        daemon.folder().file("own/end", "", 0o600);

        assert_eq!(report["error"], Value::Null, "{report}");
        daemon.wait_log(line);
        is_gone(&daemon, 1);
    }
}

#[test]
fn a_desktop_that_waits_for_its_client_ends_with_the_daemon() {
    let _alone = alone();
    let (daemon, device) = start_lingering("10m", "foot sleep 1000");
    device.stream(&["--seconds", "2"]);
    daemon.wait_log("its display is kept");
    let compositor = compositor(&daemon, 1);

    let (status, _folder) = daemon.stop();

    assert!(status.success());
    assert!(!compositor.exists() && programs(&compositor).is_empty());
}

#[test]
fn a_compositor_that_dies_ends_its_session_and_the_next_is_as_good() {
    let _alone = alone();
    let (daemon, device) = start("sleep 60");

    let stream = device.begin_stream(&["--seconds", "20"]);
    daemon.wait_log("first picture sent");
    let killed = output(command("kill").arg("-KILL").args(programs(&compositor(&daemon, 1))));
    let report = stream.report();
    let next = device.stream(&["--seconds", "2"]);

    assert!(killed.status.success(), "{killed:?}");
    assert_eq!(report["is_terminated"], json!(true), "{report}");
    assert_eq!(next["error"], Value::Null, "{next}");
    for session in [1, 2] {
        is_gone(&daemon, session);
    }
}

#[test]
fn a_daemon_that_is_killed_leaves_nothing_and_the_next_streams() {
    let _alone = alone();
    let (daemon, device) = start("sleep 1000");
    let port = daemon.port;

    let stream = device.begin_stream(&["--seconds", "60"]);
    daemon.wait_log("first picture sent");
    let compositor = compositor(&daemon, 1);
    assert!(!programs(&compositor).is_empty());
    let (_, folder) = daemon.end("KILL");
    let report = stream.report();
    eventually("its compositor goes", || programs(&compositor).is_empty().then_some(()));
    let lines = "Display private\nLingerTime 0s\nApp Desktop\n    Command foot sleep 1000";
    let daemon = Daemon::start_in(folder, port, lines);
    daemon.wait_log("encoders: h264: software");
    let next = device.stream(&["--seconds", "2"]);

    assert_eq!(report["is_terminated"], json!(true), "{report}");
    assert_eq!(next["error"], Value::Null, "{next}");
    is_gone(&daemon, 1);
}

/// A daemon whose Desktop is this command, with that sound server, and a device that is paired with
/// it.
fn start_with_sound(folder: Folder, sound: &Sound, command: &str) -> (Daemon, Device) {
    let conf = format!("Display private\nLingerTime 0s\nApp Desktop\n    Command {command}");
    let daemon = Daemon::begin(folder, free_port(), &conf, |command| {
        command.env("PULSE_SERVER", sound.address());
    });
    daemon.wait_ready();
    daemon.wait_log("encoders: h264: software");
    let mut device = Device::new(&daemon, "127.0.0.1");
    device.pair(&daemon, "1234");
    (daemon, device)
}

/// The stock client has heard these tones.
#[track_caller]
fn hears_tones(report: &Value, daemon: &Daemon) {
    let tones = report["audio"]["tones"].as_array().unwrap();
    for (tone, frequency) in tones.iter().zip([640.0, 1010.0]) {
        let heard = tone["frequency"].as_f64().unwrap();
        assert!((heard - frequency).abs() < frequency * 0.02, "{tones:?}\n{}", daemon.log());
    }
    assert_eq!(tones.len(), 2);
}

#[test]
fn what_programs_of_the_desktop_play_is_heard() {
    let _alone = alone();
    let folder = Folder::with_identity();
    let sound = Sound::start(&folder.folder("own", 0o700));
    let script = "sox -q -n -t wav - synth 60 sine 640 sine 1010 vol 0.5 channels 2 | paplay";
    let (daemon, device) = start_with_sound(folder, &sound, &format!("sh -c \"{script}\""));

    let report = device.stream(&["--seconds", "5"]);

    eventually("the default sink is as it was before", || {
        (sound.default_sink().trim_ascii() == b"speakers").then_some(())
    });
    hears_tones(&report, &daemon);
    is_gone(&daemon, 1);
}

#[test]
fn a_video_arrives_with_every_frame_and_its_sound() {
    const RATE_MIN: f64 = 57.0;
    let _alone = alone();
    tool("mpv");
    let folder = Folder::with_identity();
    let own = folder.folder("own", 0o755);
    let video = own.join("video");
    let made =
        output(python().arg("tests/moonlight/video.py").arg(&video).args(["1280x720", "60", "20"]));
    assert!(made.status.success(), "{made:?}");
    let sound = Sound::start(&own);
    let command = format!(
        "mpv --no-config --vo=wlshm --ao=pulse --fs --no-osc --osd-level=0 {}",
        video.display()
    );
    let (daemon, device) = start_with_sound(folder, &sound, &command);

    // Where other programs take the machine, mpv leaves frames out; then once more, some times.
    let mut best = 0.0;
    let mut last = Value::Null;
    for _ in 0..6 {
        last = device.stream(&["--seconds", "8"]);
        assert_eq!(last["error"], Value::Null, "{last}\n{}", daemon.log());
        best = distinct_per_second(&last).max(best);
        if best >= RATE_MIN {
            break;
        }
    }

    assert!((RATE_MIN..=60.5).contains(&best), "{best} frames a second");
    hears_tones(&last, &daemon);
}

/// How many different frames of a video.py's video a second arrived, without the first two seconds.
fn distinct_per_second(report: &Value) -> f64 {
    let readings = report["video"]["pictures"]["readings"].as_array().unwrap();
    let times = report["video"]["times_us"].as_array().unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let first = number(&times[0]) + 2_000_000;
    let seen: Vec<(u64, u64)> = readings
        .iter()
        .map(|it| (number(&times[number(&it[0]) as usize - 1]), number(&it[1])))
        .filter(|(time, _)| *time >= first)
        .collect();
    let numbers: std::collections::HashSet<u64> = seen.iter().map(|it| it.1).collect();
    let time_us = seen.last().unwrap().0 - seen[0].0;
    numbers.len() as f64 * 1e6 / time_us as f64
}

#[test]
fn what_a_client_does_with_its_pointer_arrives_at_its_place() {
    let _alone = alone();
    tool("wev");
    let (daemon, device) = start_command("sh -c \"stdbuf -oL wev > %/wev\"");
    let own = daemon.folder().path().join("own");
    let (log, go) = (own.join("wev"), own.join("go"));
    let said = || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };

    let stream = device.begin_stream(&["--seconds", "12", "--input-when", go.to_str().unwrap()]);
    eventually("wev has its keyboard", || said().contains("wl_keyboard] enter").then_some(()));
    fs::write(&go, "").unwrap();
    // In the order in which the client does it.
    let parts = [
        // The client counts from 0 to 639.
        "x, y: 641.000000, 361.",
        "button: 272 (left), state: 1 (pressed)",
        "state: 0 (released)",
        "axis: 0 (vertical), value: -15.000000",
        "axis: 0 (vertical), value: 7.500000",
        "axis: 1 (horizontal), value: 15.000000",
        "axis: 1 (horizontal), value: -7.500000",
    ];
    eventually("all of it arrives", || {
        let text = said();
        let mut rest = &text[..];
        parts.iter().all(|part| rest.split_once(part).map(|it| rest = it.1).is_some()).then_some(())
    });
    let report = stream.report();

    assert_eq!(report["error"], Value::Null, "{report}\n{}", daemon.log());
    assert!(said().contains("sym: B ("), "{}", said());
    is_gone(&daemon, 1);
}

#[test]
fn a_key_changes_the_picture() {
    let _alone = alone();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/moonlight/keys.sh");
    // Not everybody may look where the tests are.
    let folder = Folder::with_identity();
    let script = folder.file("keys.sh", fs::read(script).unwrap(), 0o755);
    let read = folder.folder("own", 0o700).join("read");
    let conf = format!(
        "Display private\nLingerTime 0s\nApp Desktop\n    Command foot --config=/dev/null bash {} {}",
        script.display(),
        read.display()
    );
    let daemon = Daemon::start_in(folder, free_port(), &conf);
    daemon.wait_log("encoders: h264: software");
    let mut device = Device::new(&daemon, "127.0.0.1");
    device.pair(&daemon, "1234");

    let report = device.stream(&["--seconds", "25", "--press", "5"]);

    assert_eq!(report["error"], Value::Null, "{report}\n{}", daemon.log());
    let presses = report["presses"].as_array().unwrap();
    assert_eq!(presses.len(), 5, "{presses:?}");
    let read = fs::read_to_string(read).unwrap();
    for (press, read_us) in presses.iter().zip(read.lines()) {
        let [sent_us, received_us, decoded_us] = [0, 1, 2].map(|it| press[it].as_u64().unwrap());
        let read_us = read_us.parse().unwrap();
        assert!(sent_us < read_us && read_us < received_us && received_us <= decoded_us);
    }
    is_gone(&daemon, 1);
}
