//! What streams is killed, which leaves no time to tidy up: the client is told, all is undone, and
//! the next session is as good.

mod support;

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use support::device::Device;
use support::sound::Sound;
use support::sway::Sway;
use support::{Daemon, Folder, command, eventually, free_port, need_encoders, output, tool};

/// The only output of the desktop before and after.
const SIZE: [u64; 2] = [1024, 768];

/// One desktop at a time, so that each has the machine for itself.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    need_encoders();
    tool("foot");
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A daemon with these lines in its configuration, beside an app that is prepared for by making the
/// file `own/prepared` and undone by removing that, and these variables in its environment.
fn start(folder: Folder, port: u16, lines: &str, variables: &[(&str, &str)]) -> Daemon {
    let own = folder.path().join("own");
    let own = own.display();
    let lines = format!(
        "{lines}\nLingerTime 0s\nApp Desktop\n    Prepare touch {own}/prepared\n    \
         Undo rm {own}/prepared\n    Command sh -c \"echo $$ >{own}/pid; exec foot sleep 1000\""
    );
    let daemon = Daemon::begin(folder, port, &lines, |command| {
        command.envs(variables.iter().copied());
    });
    daemon.wait_ready();
    daemon.wait_log("encoders: h264: software");
    daemon
}

/// A folder for such a daemon.
fn folder() -> Folder {
    let folder = Folder::with_identity();
    folder.folder("own", 0o700);
    folder
}

fn paired(daemon: &Daemon) -> Device {
    let mut device = Device::new(daemon, "127.0.0.1");
    device.pair(daemon, "1234");
    device
}

fn is_prepared(daemon: &Daemon) -> bool {
    daemon.folder().path().join("own/prepared").exists()
}

#[track_caller]
fn is_undone(daemon: &Daemon) {
    eventually("what was prepared is undone", || (!is_prepared(daemon)).then_some(()));
}

/// The next session has a display of its own and everything else.
#[track_caller]
fn next_is_as_good(daemon: &Daemon, device: &Device) {
    let next = device.stream(&["--seconds", "2"]);

    assert_eq!(next["error"], Value::Null, "{next}\n{}", daemon.log());
    assert_eq!(next["is_terminated"], json!(false), "{next}");
    daemon.wait_log("session 2: display private");
    is_undone(daemon);
}

#[test]
fn an_app_that_is_killed_ends_its_session_and_is_undone() {
    let _alone = alone();
    let daemon = start(folder(), free_port(), "Display private", &[]);
    let device = paired(&daemon);

    let stream = device.begin_stream(&["--seconds", "60"]);
    daemon.wait_log("first picture sent");
    let pid = daemon.folder().path().join("own/pid");
    let is_whole = |text: &String| text.ends_with('\n');
    let pid = eventually("the app runs", || fs::read_to_string(&pid).ok().filter(is_whole));
    assert!(is_prepared(&daemon));
    let killed = output(command("kill").args(["-KILL", pid.trim()]));
    let report = stream.report();

    assert!(killed.status.success(), "{killed:?}");
    assert_eq!((&report["is_terminated"], &report["termination_code"]), (&json!(true), &json!(0)));
    daemon.wait_log("session 1: ended");
    is_undone(&daemon);
    next_is_as_good(&daemon, &device);
}

#[test]
fn a_desktop_that_is_killed_ends_the_session_on_it_and_the_next_has_its_own() {
    let _alone = alone();
    let mut sway = Sway::start("1024x768@60Hz");
    let runtime = sway.run();
    let variables = [("XDG_RUNTIME_DIR", runtime.to_str().unwrap())];
    let daemon = start(folder(), free_port(), "Display auto", &variables);
    let device = paired(&daemon);

    let stream = device.begin_stream(&["--seconds", "60"]);
    daemon.wait_log("first picture sent");
    daemon.wait_log("session 1: display virtual");
    assert!(is_prepared(&daemon));
    sway.kill();
    let report = stream.report();

    assert_eq!(report["is_terminated"], json!(true), "{report}");
    is_undone(&daemon);
    next_is_as_good(&daemon, &device);
}

#[test]
fn a_daemon_that_is_killed_on_a_desktop_leaves_it_as_it_was_once_it_is_back() {
    let _alone = alone();
    let sway = Sway::start("1024x768@60Hz");
    let (folder, port, runtime) = (folder(), free_port(), sway.run());
    let sound = Sound::start(&folder.path().join("own"));
    let address = sound.address();
    let variables =
        [("XDG_RUNTIME_DIR", runtime.to_str().unwrap()), ("PULSE_SERVER", address.as_str())];
    let daemon = start(folder, port, "Display virtual", &variables);
    let device = paired(&daemon);
    // Outputs that are not parked, and the default sink.
    let desktop = || {
        let sizes = sway.modes().into_iter().filter(|size| *size != [320, 240]);
        let sink = String::from_utf8(sound.default_sink()).unwrap();
        (sizes.collect::<Vec<_>>(), sink.trim().to_owned())
    };
    let before = desktop();

    let _stream = device.begin_stream(&["--seconds", "60"]);
    daemon.wait_log("first picture sent");
    eventually("the session has its sink", || (desktop().1 != before.1).then_some(()));
    let (during, was_prepared) = (desktop(), is_prepared(&daemon));
    let (_, folder) = daemon.end("KILL");
    let daemon = start(folder, port, "Display virtual", &variables);

    assert_eq!(before, (vec![SIZE], "speakers".to_owned()));
    assert_eq!((during.0, was_prepared), (vec![SIZE, [1280, 720]], true));
    is_undone(&daemon);
    eventually("output and sink are as they were", || (desktop() == before).then_some(()));
    assert_eq!(sound.sinks(), ["speakers"]);
}
