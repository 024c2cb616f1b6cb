//! The machine stays awake while somebody streams, as a systemd-inhibit that takes notes sees it.

mod support;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use support::device::Device;
use support::{Daemon, Folder, eventually, free_port, need_encoders};

/// Notes what it is asked for, and holds it as long as the real one does.
const HOLDS: &str = "#!/bin/sh\nfor last; do :; done\necho \"begin $*\" >>%/notes\n\"$last\"\n\
                     echo end >>%/notes\n";
/// Says no as the real one does.
const REFUSES: &str = "#!/bin/sh\necho asked >>%/notes\n\
                       echo 'Failed to inhibit: Access denied' >&2\nexit 1\n";

/// A daemon with these lines whose systemd-inhibit is this script, in which `%` is a folder that it
/// can write to; and a device that is paired with it.
fn start(lines: &str, script: &str) -> (Daemon, Device) {
    need_encoders();
    let folder = Folder::with_identity();
    let own = folder.folder("own", 0o700);
    let own = own.to_str().unwrap();
    folder.file("own/systemd-inhibit", script.replace('%', own), 0o755);
    let path = format!("{own}:/usr/bin:/bin");
    let lines = format!("Capture test\n{lines}");
    let daemon = Daemon::begin(folder, free_port(), &lines, |command| {
        command.env("PATH", path);
    });
    daemon.wait_ready();
    daemon.wait_log("encoders: h264: software");
    let mut device = Device::new(&daemon, "127.0.0.1");
    device.pair(&daemon, "1234");
    (daemon, device)
}

fn path(daemon: &Daemon) -> PathBuf {
    daemon.folder().path().join("own/notes")
}

fn notes(daemon: &Daemon) -> Vec<String> {
    let text = fs::read_to_string(path(daemon)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn wait_count(daemon: &Daemon, count: usize) {
    eventually("it is noted", || (notes(daemon).len() == count).then_some(()));
}

const ASKED: &str = "--who=punktfunk --why=a client streams --mode=block";

#[test]
fn sleep_is_kept_off_once_for_all_sessions_until_the_last_has_ended() {
    let (daemon, device) = start("", HOLDS);
    let mut other = Device::new(&daemon, "127.0.0.1");
    other.pair(&daemon, "4321");
    assert_eq!(notes(&daemon), Vec::<String>::new());

    let first = device.begin_stream(&["--seconds", "8"]);
    wait_count(&daemon, 2);
    let second = other.stream(&["--seconds", "1"]);
    let mut while_first = notes(&daemon);
    while_first.sort();
    let first = first.report();
    wait_count(&daemon, 4);

    assert_eq!((&first["error"], &second["error"]), (&Value::Null, &Value::Null));
    let asked = ["idle", "sleep"].map(|what| format!("begin {ASKED} --what={what} cat"));
    assert_eq!(while_first, asked);
    assert_eq!(notes(&daemon)[2..], ["end", "end"]);
}

#[test]
fn nothing_is_kept_off_by_a_daemon_that_was_killed() {
    let (daemon, device) = start("InhibitIdle no", HOLDS);

    let stream = device.begin_stream(&["--seconds", "20"]);
    wait_count(&daemon, 1);
    daemon.signal("KILL");
    wait_count(&daemon, 2);
    drop(stream);

    assert_eq!(notes(&daemon), [format!("begin {ASKED} --what=sleep cat"), "end".into()]);
}

#[test]
fn a_refusal_is_told_once_with_what_to_do() {
    let (daemon, device) = start("", REFUSES);

    for count in [2, 4] {
        let report = device.begin_stream(&["--seconds", "1"]).report();
        wait_count(&daemon, count);
        assert_eq!(report["error"], Value::Null, "{report}");
    }

    daemon.wait_log("Access denied: logind does not let this user keep the machine awake");
    assert_eq!(daemon.log().matches("logind").count(), 1, "{}", daemon.log());
}

#[test]
fn who_does_not_want_it_or_has_no_logind_hears_nothing_of_it() {
    let nobody = "#!/bin/sh\necho asked >>%/notes\n\
                  echo 'Failed to connect to system bus: No such file or directory' >&2\nexit 1\n";
    let off = "InhibitSleep no\nInhibitIdle no";
    for (lines, script, note_count) in [(off, HOLDS, 0), ("", nobody, 2)] {
        let (daemon, device) = start(lines, script);

        let report = device.begin_stream(&["--seconds", "1"]).report();

        assert_eq!(report["error"], Value::Null, "{report}");
        wait_count(&daemon, note_count);
        assert!(!daemon.log().contains("inhibit"), "{}", daemon.log());
    }
}
