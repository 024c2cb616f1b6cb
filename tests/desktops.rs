//! Clients on a running desktop: each sees an output of its own, and types there.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use support::device::{Device, Stream, psnr};
use support::phoc::Phoc;
use support::sway::Sway;
use support::{Daemon, Folder, eventually, free_port, need_encoders, program, tool};

/// Of luma, in decibels: what is seen below that is not what the output shows.
const PSNR_MIN: f64 = 30.0;
/// Modes of the clients, their widths, the colours of their terminals, and what they type.
const CLIENTS: [(&str, u64, &str, &str); 2] =
    [("1280x720x60", 1280, "#204060", "one"), ("960x540x60", 960, "#602040", "two")];

/// A daemon on the desktop whose sockets are there. Its Desktop is a terminal that shows what is typed
/// and keeps it in the folder `own`, by the width of its output; without the cursor and the pointer,
/// which show whether somebody looks. The file `own/starts` has a line for each start of it.
fn start(runtime: &Path) -> Daemon {
    start_with(runtime, "")
}

/// As [`start`], with these lines in the configuration.
fn start_with(runtime: &Path, lines: &str) -> Daemon {
    start_in(Folder::with_identity(), lines, &[("XDG_RUNTIME_DIR", runtime)])
}

/// As above, in this folder and with these variables in its environment.
fn start_in(folder: Folder, lines: &str, variables: &[(&str, &Path)]) -> Daemon {
    let own = folder.folder("own", 0o700);
    let script = format!(
        "echo up >>{}/starts; stty -icanon; [ $PUNKTFUNK_WIDTH = 960 ] && printf '\\033]11;{}\\007'; \
         printf '\\033[?25lready'; exec cat > {}/typed-$PUNKTFUNK_WIDTH",
        own.display(),
        CLIENTS[1].2,
        own.display()
    );
    let file = folder.file("script", script, 0o644);
    let conf = format!(
        "{lines}\nDisplay virtual\nLingerTime 10m\nApp Desktop\n    Command foot --config=/dev/null \
         --override=mouse.hide-when-typing=yes sh {}",
        file.display()
    );
    let daemon = Daemon::begin(folder, free_port(), &conf, |command| {
        command.envs(variables.iter().copied());
    });
    daemon.wait_ready();
    daemon.wait_log("encoders: h264: software");
    daemon
}

/// One desktop at a time, so that each has the machine for itself.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    need_encoders();
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn typed(daemon: &Daemon, width: u64) -> String {
    let path = daemon.folder().path().join(format!("own/typed-{width}"));
    fs::read_to_string(path).unwrap_or_default()
}

fn begin(device: &Device, (mode, _, _, text): (&str, u64, &str, &str), record: &Path) -> Stream {
    let record = record.to_str().unwrap();
    let words = ["--mode", mode, "--type", "12", "--text", text, "--seconds", "14"];
    device.begin_stream(&[&words[..], &["--record", record]].concat())
}

/// What stands on a screenshot is in the last picture of a record, and was not before the client had
/// typed.
#[track_caller]
fn is_seen(report: &Value, record: &Path, shot: &Path) {
    let untyped = psnr(record, shot, report["untyped_count"].as_u64());
    let psnr = psnr(record, shot, None);
    assert!(untyped < PSNR_MIN && psnr > PSNR_MIN, "{untyped} dB untyped, {psnr} dB");
}

#[test]
fn two_clients_of_one_desktop_see_and_type_each_its_own() {
    see_and_type(&Sway::start("1024x768@60Hz"), false);
}

#[test]
fn two_clients_of_a_desktop_with_their_seats_do_so_though_it_is_configured_anew() {
    let seats = [1, 2].map(|it| format!("seat punktfunk-{it} attach punktfunk-{it}\n"));
    see_and_type(&Sway::start_with("1024x768@60Hz", &seats.concat()), true);
}

fn see_and_type(sway: &Sway, reloads: bool) {
    let _alone = alone();
    let daemon = start(&sway.run());
    let devices = ["1234", "5678"].map(|pin| {
        let mut device = Device::new(&daemon, "127.0.0.1");
        device.pair(&daemon, pin);
        device
    });
    let path = |name: &str| daemon.folder().path().join("own").join(name);
    let records: [PathBuf; 2] = ["record-1", "record-2"].map(path);

    let streams = [0, 1].map(|it| begin(&devices[it], CLIENTS[it], &records[it]));
    for (_, width, _, text) in CLIENTS {
        eventually("what is typed is read", || {
            typed(&daemon, width).contains(&text.repeat(3)).then_some(())
        });
    }
    if reloads {
        sway.message(&["reload"]);
        let restored = "as it was, after sway has read its configuration anew";
        eventually("all is put right", || {
            (daemon.log().matches(restored).count() == 2).then_some(())
        });
        for (_, width, _, text) in CLIENTS {
            let before = typed(&daemon, width).len();
            let goal = before + 2 * text.len();
            eventually("input arrives again", || {
                (typed(&daemon, width).len() >= goal).then_some(())
            });
        }
    }
    let reports = streams.map(Stream::report);
    // The desktops stay as their clients have seen them last.
    let shots = [0, 1].map(|it| {
        let shot = path(&format!("shot-{it}"));
        fs::write(&shot, sway.shot_file(&sway.output_of(CLIENTS[it].1))).unwrap();
        shot
    });

    for (report, (_, width, _, text)) in reports.iter().zip(CLIENTS) {
        assert_eq!(report["error"], Value::Null, "{report}\n{}", daemon.log());
        assert_eq!(report["video"]["pictures"]["size"], json!([width, width * 9 / 16]));
        let typed = typed(&daemon, width);
        assert_eq!(typed.replace(text, ""), "", "{typed}");
    }
    for (report, (record, shot)) in reports.iter().zip(records.iter().zip(&shots)) {
        is_seen(report, record, shot);
    }
    for run in ["1", "2"] {
        assert!(daemon.ctl(&["run", "stop", run]).status.success());
    }
    eventually("the outputs are gone or parked", || (outputs(sway) == [[1024, 768]]).then_some(()));
}

/// The app went on where it was: it has been started once.
#[track_caller]
fn has_gone_on(daemon: &Daemon) {
    let starts = fs::read_to_string(daemon.folder().path().join("own/starts"));
    assert_eq!(starts.unwrap(), "up\n");
}

/// Width and height of the outputs that are not parked.
fn outputs(sway: &Sway) -> Vec<[u64; 2]> {
    sway.modes().into_iter().filter(|mode| *mode != [320, 240]).collect()
}

#[test]
fn a_client_that_takes_over_has_the_desktop_of_another_at_its_own_mode() {
    let _alone = alone();
    let sway = Sway::start("1024x768@60Hz");
    let daemon = start_with(&sway.run(), "SessionConflict takeover");
    let [first, second] = ["1234", "5678"].map(|pin| {
        let mut device = Device::new(&daemon, "127.0.0.1");
        device.pair(&daemon, pin);
        device
    });

    let stream = first.begin_stream(&["--mode", "1280x720x60", "--seconds", "60"]);
    daemon.wait_log("first picture sent");
    let taken = second.begin_stream(&["--resume", "--mode", "1600x900x90", "--seconds", "3"]);
    let left = stream.report();
    let taken = taken.report();
    let kept = outputs(&sway);

    assert_eq!((&left["is_terminated"], &left["termination_code"]), (&json!(true), &json!(0)));
    assert_eq!(left["video"]["pictures"]["size"], json!([1280, 720]));
    assert_eq!(taken["error"], Value::Null, "{taken}\n{}", daemon.log());
    assert_eq!(taken["video"]["pictures"]["size"], json!([1600, 900]));
    assert_eq!(kept, [[1024, 768], [1600, 900]]);
    daemon.wait_log("session 1: ended");
    has_gone_on(&daemon);
}

#[test]
fn a_client_that_comes_back_finds_its_output_at_the_mode_that_it_asks_for_then() {
    let _alone = alone();
    let sway = Sway::start("1024x768@60Hz");
    let daemon = start(&sway.run());
    let mut device = Device::new(&daemon, "127.0.0.1");
    device.pair(&daemon, "1234");

    let first = device.begin_stream(&["--seconds", "2"]).report();
    daemon.wait_log("its display is kept for 600 s");
    let kept = outputs(&sway);
    let words = ["--resume", "--mode", "1600x900x90", "--seconds", "2", "--quit"];
    let second = device.begin_stream(&words).report();

    for (report, size) in [(first, [1280, 720]), (second, [1600, 900])] {
        assert_eq!(report["error"], Value::Null, "{report}\n{}", daemon.log());
        assert_eq!(report["video"]["pictures"]["size"], json!(size));
    }
    assert_eq!(kept, [[1024, 768], [1280, 720]]);
    has_gone_on(&daemon);
    eventually("the output is gone or parked", || (outputs(&sway) == [[1024, 768]]).then_some(()));
}

#[test]
fn a_desktop_that_starts_after_the_daemon_is_found() {
    let _alone = alone();
    let folder = Sway::folder();
    let daemon = start(&folder.path().join("run"));
    let mut device = Device::new(&daemon, "127.0.0.1");
    device.pair(&daemon, "1234");

    let before = device.begin_stream(&["--seconds", "30"]).report();
    let sway = Sway::start_in(folder, "1024x768@60Hz");
    let report = device.begin_stream(&["--seconds", "2"]).report();

    assert!(before["error"].is_object(), "{before}");
    daemon.wait_log("no picture: no sway of this user in ");
    is_shown_on(&sway, &report, &daemon);
}

#[test]
fn a_desktop_is_found_where_its_user_has_it_after_the_login() {
    let _alone = alone();
    let sway = Sway::start("1024x768@60Hz");
    let (folder, runtime) = (Folder::with_identity(), sway.run());
    let user = fs::metadata(&runtime).unwrap().uid();
    // It sees the desktop's sockets there alone, once the user has logged in, and is told nothing.
    let [login, there] = ["login", "there"].map(|name| folder.path().join(name));
    let script = format!(
        "#!/bin/sh\n\
         exec unshare --user --map-root-user --mount sh -ec '\n\
         mount -t tmpfs none /run\n\
         ( ( until [ -e {} ]; do sleep 0.05; done\n\
             mkdir -p -m 700 /run/user/{user}\n\
             mount --bind {} /run/user/{user}\n\
             touch {} ) & )\n\
         exec unshare --user --map-user={user} --map-group={user} {} \"$@\"' sh \"$@\"\n",
        login.display(),
        runtime.display(),
        there.display(),
        program("punktfunkd").display(),
    );
    tool("unshare");
    folder.folder("bin", 0o755);
    folder.file("bin/punktfunkd", script, 0o755);
    let daemon = start_in(folder, "", &[]);
    let mut device = Device::new(&daemon, "127.0.0.1");
    device.pair(&daemon, "1234");
    fs::write(&login, "").unwrap();
    eventually("the user's folder is there", || there.exists().then_some(()));

    let report = device.begin_stream(&["--seconds", "2"]).report();

    is_shown_on(&sway, &report, &daemon);
}

/// The session had an output on that desktop.
#[track_caller]
fn is_shown_on(sway: &Sway, report: &Value, daemon: &Daemon) {
    assert_eq!(report["error"], Value::Null, "{report}\n{}", daemon.log());
    assert_eq!(report["video"]["pictures"]["size"], json!([1280, 720]));
    let line = format!("({}), as Display says, at 1280x720@60", sway.pid());
    assert!(daemon.log().contains(&line), "{}", daemon.log());
    assert_eq!(outputs(sway), [[1024, 768], [1280, 720]]);
}

#[test]
fn a_client_is_lent_the_output_of_a_desktop_that_makes_none() {
    let _alone = alone();
    let phoc = Phoc::start();
    let daemon = start(&phoc.run());
    let mut device = Device::new(&daemon, "127.0.0.1");
    device.pair(&daemon, "1234");
    let [record, shot] =
        ["record", "shot"].map(|name| daemon.folder().path().join("own").join(name));
    let client = ("1600x900x90", 1600, "", "aB\u{fc}");

    let stream = begin(&device, client, &record);
    eventually("what is typed is read", || {
        typed(&daemon, 1600).contains(&client.3.repeat(3)).then_some(())
    });
    let report = stream.report();
    fs::write(&shot, phoc.shot_file().unwrap()).unwrap();

    assert_eq!(report["error"], Value::Null, "{report}\n{}", daemon.log());
    assert_eq!(report["video"]["pictures"]["size"], json!([1600, 900]));
    daemon.wait_log(&format!("display virtual, HEADLESS-1 of phoc ({}), not sway: ", phoc.pid()));
    daemon.wait_log("at 1600x900@90");
    assert_eq!(typed(&daemon, 1600).replace(client.3, ""), "");
    is_seen(&report, &record, &shot);
    assert!(daemon.ctl(&["run", "stop", "1"]).status.success());
    eventually("the output is as it was", || (phoc.size() == Some([1280, 720])).then_some(()));
}
