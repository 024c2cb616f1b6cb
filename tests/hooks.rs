//! Commands around sessions and apps: in order, told what they have to know, and undone whatever
//! happens.

mod support;

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use support::device::Device;
use support::{Daemon, Folder, command, eventually, free_port, need_encoders, tool};

/// Writes its first argument, and its environment, where tests look for it. More arguments are a
/// command that it becomes.
const SAY: &str = r#"#!/bin/sh
env >"%/env-$1.new" && mv "%/env-$1.new" "%/env-$1"
echo "$1" >>"%/said"
shift
if [ $# -gt 0 ]; then exec "$@"; fi
"#;

/// One desktop at a time, so that each has the machine for itself.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    need_encoders();
    for name in ["sway", "foot"] {
        tool(name);
    }
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A daemon with these lines, in which `say` is the script above and `%` a folder of its own, and a
/// device that is paired with it.
fn start(lines: &str) -> (Daemon, Device) {
    let folder = Folder::with_identity();
    let own = folder.folder("own", 0o700);
    let own = own.to_str().unwrap();
    folder.file("own/say", SAY.replace('%', own), 0o755);
    let lines = lines.replace(" say ", &format!(" {own}/say ")).replace('%', own);
    let daemon = Daemon::start_in(folder, free_port(), &lines);
    daemon.wait_log("encoders: h264: software");
    let mut device = Device::new(&daemon, "127.0.0.1");
    device.pair(&daemon, "1234");
    (daemon, device)
}

fn own(daemon: &Daemon) -> PathBuf {
    daemon.folder().path().join("own")
}

/// What was said, in order.
fn said(daemon: &Daemon) -> Vec<String> {
    let text = fs::read_to_string(own(daemon).join("said")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn wait_said(daemon: &Daemon, word: &str) {
    let what = format!("{word} is said");
    eventually(&what, || said(daemon).iter().any(|it| it == word).then_some(()));
}

/// The environment of whoever said that.
fn environment(daemon: &Daemon, word: &str) -> HashMap<String, String> {
    let text = fs::read_to_string(own(daemon).join(format!("env-{word}"))).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Asserts that these have these values.
#[track_caller]
fn assert_told(environment: &HashMap<String, String>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(environment.get(*name).map(String::as_str), Some(*value), "{name}");
    }
}

/// Whether a process with the number in that file runs.
fn is_alive(file: &Path) -> bool {
    let pid = fs::read_to_string(file).unwrap_or_default();
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// Nothing is left to be undone.
#[track_caller]
fn is_undone(daemon: &Daemon) {
    eventually("the journal is empty", || {
        let text = fs::read_to_string(daemon.state().join("displays.json")).unwrap();
        let journal: Value = serde_json::from_str(&text).unwrap();
        (journal["entries"] == json!([])).then_some(())
    });
}

#[test]
fn an_app_is_prepared_for_and_undone_in_order_and_all_are_told_of_the_session() {
    let _alone = alone();
    let (daemon, device) = start(
        "Display private\nLingerTime 0s\nOnConnect say connect\nOnDisconnect say disconnect\n\
         OnStreamStart say stream-start\nOnStreamEnd say stream-end\n\
         Prepare say all-prepare\nUndo say all-undo\nApp Desktop\n\
         Command say app sleep 1000\nWorkingDirectory %\nEnvironment WORD=told \"TWO=a b\"\n\
         Prepare say prepare\nUndo none\nPrepare sh -c \"pwd >%/pwd\"\nUndo say undo",
    );

    let report = device.stream(&["--seconds", "2"]);
    wait_said(&daemon, "disconnect");

    assert_eq!(report["error"], Value::Null, "{report}");
    let hooks = ["connect", "stream-start", "stream-end", "disconnect"];
    let (of_client, of_app): (Vec<_>, Vec<_>) =
        said(&daemon).into_iter().partition(|word| hooks.contains(&word.as_str()));
    assert_eq!(of_client, hooks);
    assert_eq!(of_app, ["all-prepare", "prepare", "app", "undo", "all-undo"]);
    assert_eq!(said(&daemon).last().map(String::as_str), Some("disconnect"));
    is_undone(&daemon);
    for word in hooks {
        let environment = environment(&daemon, word);
        let told = [
            ("PUNKTFUNK_APP_NAME", "Desktop"),
            ("PUNKTFUNK_CLIENT_ADDRESS", "127.0.0.1"),
            ("PUNKTFUNK_EVENT", word),
            ("PUNKTFUNK_SESSION", "1"),
            ("PUNKTFUNK_WIDTH", "1280"),
            ("SUNSHINE_CLIENT_FPS", "60"),
        ];
        assert_told(&environment, &told);
        let reason = environment.get("PUNKTFUNK_REASON").map(String::as_str);
        let is_end = ["stream-end", "disconnect"].contains(&word);
        assert_eq!(reason, Some("client left").filter(|_| is_end));
        assert!(!environment.contains_key("WAYLAND_DISPLAY"), "{environment:?}");
    }
    let pwd = fs::read_to_string(own(&daemon).join("pwd")).unwrap();
    assert_eq!(Path::new(pwd.trim()), own(&daemon));
    for word in ["all-prepare", "prepare", "app", "undo", "all-undo"] {
        let environment = environment(&daemon, word);
        assert_told(
            &environment,
            &[
                ("PUNKTFUNK_APP_NAME", "Desktop"),
                ("PUNKTFUNK_CHANNELS", "2"),
                ("PUNKTFUNK_CLIENT_ADDRESS", "127.0.0.1"),
                ("PUNKTFUNK_HEIGHT", "720"),
                ("PUNKTFUNK_REFRESH_MHZ", "60000"),
                ("PUNKTFUNK_SESSION", "1"),
                ("SUNSHINE_APP_NAME", "Desktop"),
                ("SUNSHINE_CLIENT_AUDIO_CONFIGURATION", "2.0"),
                ("SUNSHINE_CLIENT_FPS", "60"),
                ("SUNSHINE_CLIENT_HDR", "false"),
                ("SUNSHINE_CLIENT_WIDTH", "1280"),
                ("TWO", "a b"),
                ("WORD", "told"),
            ],
        );
        assert!(environment["WAYLAND_DISPLAY"].contains("/display-1/wayland-"), "{environment:?}");
    }
}

#[test]
fn what_was_prepared_for_a_display_that_waits_is_undone_when_it_goes() {
    let _alone = alone();
    let (daemon, device) = start(
        "Display private\nLingerTime 10m\nOnDisconnect say disconnect\nApp Desktop\n\
         \x20 Command say app sleep 1000\n  Prepare say prepare\n  Undo say undo",
    );

    device.stream(&["--seconds", "2"]);
    daemon.wait_log("its display is kept");
    wait_said(&daemon, "disconnect");
    assert_eq!(said(&daemon), ["prepare", "app", "disconnect"]);
    device.stream(&["--resume", "--seconds", "2", "--quit"]);
    wait_said(&daemon, "undo");

    // The client leaves, and quits the app then.
    assert_eq!(said(&daemon), ["prepare", "app", "disconnect", "disconnect", "undo"]);
    is_undone(&daemon);
}

#[test]
fn a_preparation_that_fails_ends_the_session_and_is_undone() {
    let _alone = alone();
    let (daemon, device) = start(
        "Display private\nLingerTime 0s\nLegacyEnvironment off\nApp Desktop\n  Command say app sleep 1000\n\
         Prepare say one\nUndo say undo-one\n\
         Prepare say two sh -c \"echo no room >&2; exit 9\"\nUndo say undo-two\n\
         Prepare say three\nUndo say undo-three",
    );

    let report = device.stream(&["--seconds", "20"]);
    wait_said(&daemon, "undo-one");
    is_undone(&daemon);

    assert_eq!(report["is_terminated"], json!(true), "{report}");
    assert_eq!(said(&daemon), ["one", "two", "undo-two", "undo-one"]);
    daemon.wait_log("exit status: 9: no room");
    let environment = environment(&daemon, "one");
    assert!(!environment.keys().any(|name| name.starts_with("SUNSHINE_")), "{environment:?}");
}

#[test]
fn what_a_killed_daemon_has_prepared_is_undone_once_by_the_next() {
    let _alone = alone();
    let (mut daemon, device) = start(
        "Display private\nLingerTime 0s\nPrepare say prepare\nUndo say undo\nApp Desktop\n\
         Command sh -c \"sh -c 'trap : TERM; echo $$ >%/pid; while :; do sleep 1; done' & exec sleep 1000\"",
    );

    let stream = device.begin_stream(&["--seconds", "20"]);
    daemon.wait_log("first picture sent");
    let pid = own(&daemon).join("pid");
    eventually("the app runs", || is_alive(&pid).then_some(()));
    daemon.crash();
    daemon.wait_log("say undo\" done");
    let is_left = is_alive(&pid);
    daemon.crash();
    is_undone(&daemon);
    drop(stream);

    assert_eq!(said(&daemon), ["prepare", "undo"]);
    assert_eq!(environment(&daemon, "undo")["PUNKTFUNK_SESSION"], "1");
    assert!(!is_left, "{}", daemon.log());
    assert!(!daemon.log().contains("undo"));
}

#[test]
fn a_daemon_that_stops_undoes_what_it_has_prepared_before() {
    let _alone = alone();
    let (daemon, device) = start(
        "Display private\nLingerTime 0s\nApp Desktop\n  Command say app sh -c \
         \"trap 'echo bye >>%/said; exit' TERM; while :; do sleep 0.1; done\"\n\
         Undo say undo sh -c \"sleep 3; echo undone >>%/said\"",
    );

    let stream = device.begin_stream(&["--seconds", "20"]);
    daemon.wait_log("first picture sent");
    let (status, folder) = daemon.stop();
    let report = stream.report();

    assert!(status.success(), "{status}");
    assert_eq!(report["is_terminated"], json!(true), "{report}");
    let said = fs::read_to_string(folder.path().join("own/said")).unwrap();
    assert_eq!(said, "app\nbye\nundo\nundone\n");
    let journal = fs::read_to_string(folder.path().join("state/displays.json")).unwrap();
    assert!(journal.contains("\"entries\":[]"), "{journal}");
}

#[test]
fn what_a_launcher_has_started_is_the_app_and_ends_with_the_session() {
    let _alone = alone();
    let (daemon, device) = start(
        "Display private\nLingerTime 0s\nApp Desktop\n  ExitTimeout 200ms\n  Command say app sh -c \
         \"setsid sh -c 'trap : TERM; echo $$ >%/pid; while :; do sleep 1; done' &\"",
    );
    let pid = own(&daemon).join("pid");

    let report = device.stream(&["--seconds", "3"]);

    assert_eq!(report["error"], Value::Null, "{report}");
    assert_eq!(report["is_terminated"], json!(false), "{report}");
    assert!(pid.exists(), "{}", daemon.log());
    eventually("it ends with the session", || (!is_alive(&pid)).then_some(()));
}

#[test]
fn when_the_last_of_what_a_launcher_has_started_ends_so_does_the_session() {
    let _alone = alone();
    let (daemon, device) = start(
        "Display private\nLingerTime 0s\nApp Desktop\n  Command sh -c \"setsid sh -c 'echo $$ >%/pid; sleep 3' &\"",
    );

    let report = device.stream(&["--seconds", "20"]);

    assert_eq!((&report["is_terminated"], &report["termination_code"]), (&json!(true), &json!(0)));
    daemon.wait_log("app ended");
}

#[test]
fn a_session_goes_on_without_its_app_where_that_is_wanted() {
    let _alone = alone();
    let (daemon, device) =
        start("Display private\nLingerTime 0s\nApp Desktop\n  Command say app\n  EndOnExit no");

    let report = device.stream(&["--seconds", "3"]);

    assert_eq!(report["error"], Value::Null, "{report}");
    assert_eq!(report["is_terminated"], json!(false), "{report}");
    assert_eq!(said(&daemon), ["app"]);
}

#[test]
fn programs_have_the_limits_and_the_mask_that_the_daemon_was_started_with() {
    let _alone = alone();
    let folder = Folder::with_identity();
    let own = folder.folder("own", 0o700).display().to_string();
    let lines = "Display private\nLingerTime 0s\nOnConnect sh -c \"(ulimit -Sn; umask) >%/hook\"\n\
        App Desktop\nPrepare sh -c \"(ulimit -Sn; umask) >%/prepare\"\n\
        Command sh -c \"(ulimit -Sn; umask) >%/app; exec sleep 1000\"";
    let daemon = Daemon::begin(folder, free_port(), &lines.replace('%', &own), |command| {
        let limit = libc::rlimit { rlim_cur: 700, rlim_max: 4096 };
        let start = move || {
            // SAFETY: `limit` is a whole rlimit and outlives the call; the other takes an integer.
            unsafe {
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
                libc::umask(0o002);
            }
            Ok(())
        };
        // SAFETY: between fork and exec there are two system calls and nothing else.
        unsafe { command.pre_exec(start) };
    });
    daemon.wait_ready();
    daemon.wait_log("encoders: h264: software");
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let mut device = Device::new(&daemon, "127.0.0.1");
    device.pair(&daemon, "1234");

    let report = device.stream(&["--seconds", "2"]);

    assert_eq!(report["error"], Value::Null, "{report}");
    let raised = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert!(raised.split_whitespace().any(|word| word == "4096"), "{raised}");
    assert!(!raised.split_whitespace().any(|word| word == "700"), "{raised}");
    for name in ["hook", "prepare", "app"] {
        let told = fs::read_to_string(self::own(&daemon).join(name)).unwrap();
        assert_eq!(told, "700\n0002\n", "{name}");
    }
}

#[test]
fn an_app_is_ended_and_undone_once_there_is_a_thread_for_it() {
    let _alone = alone();
    let (daemon, device) = start(
        "Display private\nLingerTime 4s\nApp Desktop\n  Command say app sleep 1000\n  Undo say undo",
    );
    let pid = daemon.pid().to_string();
    let limit = |processes: &str| {
        let processes = format!("--nproc={processes}");
        let mut prlimit = command("prlimit");
        let limited = prlimit.args(["--pid", &pid, &processes]).status().unwrap();
        assert!(limited.success());
    };
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let processes = limits.lines().find(|line| line.starts_with("Max processes")).unwrap();
    let before = processes.split_whitespace().nth(2).unwrap();

    let report = device.stream(&["--seconds", "1"]);
    daemon.wait_log("its display is kept");
    limit("0:");
    daemon.wait_log("app of run 1: display not closed yet: ");
    let said_before = said(&daemon);
    limit(&format!("{before}:"));
    wait_said(&daemon, "undo");

    assert_eq!((&report["error"], said_before), (&Value::Null, vec!["app".to_owned()]));
    is_undone(&daemon);
}

#[test]
fn a_hook_that_hangs_is_killed_and_keeps_nobody_waiting() {
    let _alone = alone();
    let (daemon, device) = start(
        "Capture test\nHookTimeout 3s\nOnPairRequest say pairing\nOnDisconnect say disconnect\n\
         OnConnect sh -c \"trap : TERM; sh -c 'trap : TERM; echo $$ >%/pid; \
         while :; do sleep 1; done' & wait; sleep 1000\"",
    );

    let report = device.stream(&["--seconds", "1"]);
    wait_said(&daemon, "disconnect");

    assert_eq!(report["error"], Value::Null, "{report}");
    daemon.wait_log("killed after 3000 ms (HookTimeout)");
    let pid = own(&daemon).join("pid");
    assert!(pid.exists() && !is_alive(&pid));
    let pairing = environment(&daemon, "pairing");
    assert_told(&pairing, &[("PUNKTFUNK_EVENT", "pair-request"), ("PUNKTFUNK_PAIRING", "1")]);
    assert_eq!(said(&daemon), ["pairing", "disconnect"]);
}

#[test]
fn a_daemon_that_stops_runs_the_hooks_for_that_before() {
    let _alone = alone();
    let (daemon, device) =
        start("Capture test\nOnDisconnect say disconnect sh -c \"sleep 1; echo done >>%/said\"");

    let stream = device.begin_stream(&["--seconds", "20"]);
    daemon.wait_log("first picture sent");
    let (status, folder) = daemon.stop();
    let report = stream.report();

    assert!(status.success(), "{status}");
    assert_eq!(report["is_terminated"], json!(true), "{report}");
    let said = fs::read_to_string(folder.path().join("own/said")).unwrap();
    assert_eq!(said, "disconnect\ndone\n");
}
