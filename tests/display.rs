//! Displays on the real sway, as an ordinary user: at the mode asked for, and gone without a trace.

#![allow(clippy::disallowed_methods, reason = "tests run real programs in real time")]

#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/code.rs"]
mod code;
#[allow(dead_code, unused_imports, reason = "the daemon uses the rest")]
#[path = "../src/host/conf/mod.rs"]
mod conf;
#[allow(dead_code, unused_imports, reason = "the daemon uses the rest")]
#[path = "../src/host/display/mod.rs"]
mod display;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/grants.rs"]
mod grants;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/ipc.rs"]
mod ipc;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/state.rs"]
mod state;

#[path = "display/phoc.rs"]
mod phoc;

use std::fs;
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use conf::{Compositor, Display as Kind};
use display::journal::{Entry, Journal};
use display::{App, Display, Displays, Surroundings, Told, Wanted};
use punktfunk_core::proto::gamestream::http::Mode;
use serde_json::Value;
use state::Directory;
use state::tests::Folder;

/// How long anything may take before a test gives up on it. Never what a test is about.
const PATIENCE: Duration = Duration::from_secs(30);
/// Whom tests run as where root starts them: sway refuses root.
const USER: u32 = 65_534;
/// Names the folder of a test to the process that is killed in it.
const HOLD: &str = "PUNKTFUNK_TEST_HOLD";

const HD: Mode = Mode { width: 1280, height: 720, refresh_mhz: 60_000 };
const FAST: Mode = Mode { width: 1600, height: 900, refresh_mhz: 90_000 };
const ODD: Mode = Mode { width: 1366, height: 768, refresh_mhz: 59_940 };

/// Runs a test of this program as an ordinary user.
#[track_caller]
fn as_user(name: &str, test: fn()) {
    for program in ["sway", "Xwayland", "foot", "grim", "phoc", "cage", "wlr-randr"] {
        let is_there = Path::new("/usr/bin").join(program).is_file();
        assert!(is_there, "{program} is not there: run scripts/setup test");
    }
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return test();
    }
    let folder = Folder::new();
    let output = Command::new(copy(&folder))
        .args(["--exact", name, "--nocapture"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .uid(USER)
        .gid(USER)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// A copy of this program that every user can run: the build may lie where only root can look.
fn copy(folder: &Folder) -> PathBuf {
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (own, copy) = (std::env::current_exe().unwrap(), folder.path().join("display"));
    // A process that another test starts could hold what is written here, and a file that somebody
    // may write to is not run.
    let installed = Command::new("install").arg("--mode=755").args([&own, &copy]).status();
    assert!(installed.unwrap().success());
    copy
}

/// Waits until `check` gives something.
#[track_caller]
fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < end, "did not happen in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn private_folder(path: &Path) {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).unwrap();
}

/// The folders of a daemon and of its user.
struct Machine {
    path: PathBuf,
}

impl Machine {
    fn new(path: &Path) -> Machine {
        for name in ["run", "xdg", "home"] {
            private_folder(&path.join(name));
        }
        Machine { path: path.to_owned() }
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            runtime: self.path.join("run"),
            xdg_runtime: self.path.join("xdg"),
            home: self.path.join("home"),
            variables: vec![("PATH".into(), "/usr/bin:/bin".into())],
        }
    }

    /// What a daemon that starts reads.
    fn journal(&self) -> Arc<Journal> {
        let directory = Directory::open(&self.path.join("state"), true).unwrap();
        Arc::new(Journal::open(Arc::new(directory)).unwrap())
    }

    /// All displays of a daemon that starts.
    fn displays(&self) -> Arc<Displays> {
        let directory = Directory::open(&self.path.join("state"), true).unwrap();
        let journal = Journal::open(Arc::new(directory)).unwrap();
        Arc::new(Displays::new(self.surroundings(), journal))
    }

    fn wanted(&self, kind: Kind, session: u32, mode: Mode) -> Wanted {
        let told = Told {
            client_name: "living room".into(),
            app_title: "Terminal".into(),
            has_legacy_names: true,
            ..Told::default()
        };
        Wanted {
            kind,
            compositor: Compositor::Auto,
            mode,
            scale_percent: 100,
            session,
            run: session,
            told,
            app: None,
            sessions_max: 3,
        }
    }

    /// A terminal that writes its environment into a file and stays.
    fn app(&self, name: &str) -> App {
        let script = "env >\"$0.new\" && mv \"$0.new\" \"$0\"; exec sleep 1000";
        let file = self.path.join(name).into_os_string();
        let argv = ["foot", "sh", "-c", script].map(Into::into).into_iter().chain([file]).collect();
        App { argv, ..App::default() }
    }

    /// What such a terminal has written.
    #[track_caller]
    fn told(&self, name: &str, display: &Display) -> String {
        let path = self.path.join(name);
        let read = || fs::read_to_string(&path).ok();
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(text) = read() {
                return text;
            }
            assert!(Instant::now() < end, "no program ran:\n{}", display.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Processes that have a path below this in their environment.
    fn processes(&self, below: &str) -> Vec<u32> {
        let needle = self.path.join(below).into_os_string().into_encoded_bytes();
        let has = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(needle.len()).any(|it| it == needle)
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
        pids.filter(|pid| *pid != std::process::id()).filter(has).collect()
    }

    /// Asserts that nothing is left of displays of the daemon's own.
    #[track_caller]
    fn assert_clean(&self) {
        let is_gone = || self.processes("run").is_empty().then_some(());
        eventually("all processes have ended", is_gone);
        assert_eq!(fs::read_dir(self.path.join("run")).unwrap().count(), 0);
        assert!(!self.journal().entries().iter().any(|it| !matches!(it, Entry::Parked { .. })));
    }
}

/// A sway of the user's, which the daemon has nothing to do with.
struct Sway {
    child: Child,
    folder: PathBuf,
}

impl Sway {
    fn start(machine: &Machine) -> Sway {
        let folder = machine.path.join("xdg");
        let config = machine.path.join("sway.conf");
        fs::write(&config, "output * mode 1024x768@60Hz scale 2 transform 90\nxwayland disable\n")
            .unwrap();
        let child = Command::new("sway")
            .arg("-c")
            .arg(config)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("XDG_RUNTIME_DIR", &folder)
            .envs([("WLR_BACKENDS", "headless"), ("WLR_RENDERER", "pixman")])
            .env("WLR_LIBINPUT_NO_DEVICES", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sway = Sway { child, folder };
        eventually("sway is up", || {
            sway.message(&["-t", "get_version"]).status.success().then_some(())
        });
        sway
    }

    /// What swaymsg says.
    fn message(&self, words: &[&str]) -> Output {
        let entries = fs::read_dir(&self.folder).unwrap().flatten();
        let socket = entries
            .map(|it| it.path())
            .find(|it| it.file_name().unwrap().to_str().unwrap().contains("ipc"));
        swaymsg(&socket.unwrap_or_default(), words)
    }

    /// Its outputs: name, and width, height and refresh.
    fn outputs(&self) -> Vec<(String, [u64; 3])> {
        outputs(&self.message(&["-r", "-t", "get_outputs"]))
    }

    /// All that it tells of an output and of windows there.
    fn on(&self, output: &str) -> String {
        let tree = self.message(&["-r", "-t", "get_tree"]);
        let tree: Value = serde_json::from_slice(&tree.stdout).unwrap();
        let mut places = tree["nodes"].as_array().unwrap().iter();
        places.find(|it| it["name"] == output).unwrap().to_string()
    }

    /// The names of its seats.
    fn seats(&self) -> Vec<String> {
        let said = self.message(&["-r", "-t", "get_seats"]);
        let seats: Value = serde_json::from_slice(&said.stdout).unwrap();
        let seats = seats.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().into());
        let mut seats: Vec<String> = seats.collect();
        seats.sort();
        seats
    }

    /// The output that has the focus.
    fn focused(&self) -> String {
        let said = self.message(&["-r", "-t", "get_outputs"]);
        let outputs: Value = serde_json::from_slice(&said.stdout).unwrap();
        let focused = outputs.as_array().unwrap().iter().find(|it| it["focused"] == true);
        focused.unwrap()["name"].as_str().unwrap().to_owned()
    }
}

impl Drop for Sway {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn swaymsg(socket: &Path, words: &[&str]) -> Output {
    Command::new("swaymsg").arg("-s").arg(socket).args(words).output().unwrap()
}

/// Their names, and width, height and refresh of what is seen there.
fn outputs(said: &Output) -> Vec<(String, [u64; 3])> {
    let outputs: Value = serde_json::from_slice(&said.stdout).unwrap();
    let outputs = outputs.as_array().unwrap().iter().map(|output| {
        let mode = &output["current_mode"];
        let names = match output["transform"].as_str().unwrap() {
            "90" => ["height", "width", "refresh"],
            _ => ["width", "height", "refresh"],
        };
        let mode = names.map(|name| mode[name].as_u64().unwrap());
        (output["name"].as_str().unwrap().to_owned(), mode)
    });
    outputs.collect()
}

fn numbers(mode: Mode) -> [u64; 3] {
    [mode.width.into(), mode.height.into(), mode.refresh_mhz.into()]
}

/// Width and height of the picture that a client sees on the display.
#[track_caller]
fn seen(display: &Display) -> (u32, u32) {
    let (socket, output) = display.wayland();
    let said = Command::new("grim")
        .args(["-t", "ppm", "-o", &output, "-"])
        .env("WAYLAND_DISPLAY", socket)
        .env("XDG_RUNTIME_DIR", "/tmp")
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let head = String::from_utf8_lossy(&said.stdout[..32]).into_owned();
    let mut words = head.split_whitespace().skip(1).map(|word| word.parse().unwrap());
    (words.next().unwrap(), words.next().unwrap())
}

fn kill(signal: &str, pid: u32) {
    let pid = pid.to_string();
    assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
}

#[test]
fn a_private_display_shows_the_mode_and_the_program_wanted_and_leaves_nothing() {
    as_user("a_private_display_shows_the_mode_and_the_program_wanted_and_leaves_nothing", || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let journal = machine.journal();
        let mut wanted = machine.wanted(Kind::Auto, 1, HD);
        wanted.app = Some(machine.app("told"));

        let mut display = Display::open(&wanted, &machine.surroundings(), &journal).unwrap();

        let place = folder.path().join("xdg");
        let place = place.display();
        let no_desktop = format!(
            "not virtual: no sway of this user in {place}, no other compositor of wlroots in {place}"
        );
        assert!(display.why().starts_with("private, sway 1."), "{}", display.why());
        assert!(display.why().contains(&no_desktop), "{}", display.why());
        let (socket, output) = display.wayland();
        let ipc = socket.with_file_name("ipc");
        let shown = || outputs(&swaymsg(&ipc, &["-r", "-t", "get_outputs"]));
        assert_eq!(shown(), [(output.clone(), numbers(HD))]);
        assert_eq!(seen(&display), (1280, 720));
        let told = machine.told("told", &display);
        for line in [
            "PUNKTFUNK_CLIENT_NAME=living room",
            "PUNKTFUNK_WIDTH=1280",
            "SUNSHINE_APP_NAME=Terminal",
            "SUNSHINE_CLIENT_FPS=60",
        ] {
            assert!(told.lines().any(|it| it == line), "{line} not in {told}");
        }
        assert!(display.is_alive() && display.has_programs());
        for mode in [FAST, ODD, Mode { refresh_mhz: 143_981, ..HD }] {
            display.set_mode(mode).unwrap();
            assert_eq!((display.mode(), shown()), (mode, vec![(output.clone(), numbers(mode))]));
            assert_eq!(seen(&display), (mode.width, mode.height));
        }
        assert!(!machine.processes("run").is_empty());

        drop(display);

        machine.assert_clean();
    });
}

#[test]
fn two_private_displays_have_nothing_in_common() {
    as_user("two_private_displays_have_nothing_in_common", || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let (surroundings, journal) = (machine.surroundings(), machine.journal());
        let open = |session, mode| {
            let wanted = machine.wanted(Kind::Private, session, mode);
            Display::open(&wanted, &surroundings, &journal).unwrap()
        };

        let (one, mut other) = (open(1, HD), open(2, FAST));
        drop(one);

        assert_eq!(seen(&other), (1600, 900));
        other.run(&machine.app("told"), &surroundings).unwrap();
        machine.told("told", &other);
        drop(other);
        machine.assert_clean();
    });
}

#[test]
fn the_end_of_a_compositor_is_noticed_and_cleaned_up() {
    as_user("the_end_of_a_compositor_is_noticed_and_cleaned_up", || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let journal = machine.journal();
        let mut wanted = machine.wanted(Kind::Private, 1, HD);
        wanted.app = Some(machine.app("told"));
        let mut display = Display::open(&wanted, &machine.surroundings(), &journal).unwrap();
        machine.told("told", &display);
        let entries = journal.entries();
        let [Entry::Private { programs, .. }] = &entries[..] else { panic!("{entries:?}") };

        kill("KILL", programs[0].pid);

        eventually("the display is dead", || (!display.is_alive()).then_some(()));
        let error = display.set_mode(FAST).unwrap_err().to_string();
        // A thread that is still ending keeps the socket open a moment longer.
        let is_told = error.starts_with("connection to sway: ") || error == "desktop ended";
        assert!(is_told, "{error}");
        drop(display);
        machine.assert_clean();
    });
}

#[test]
fn a_compositor_that_hangs_is_given_up_and_ended() {
    as_user("a_compositor_that_hangs_is_given_up_and_ended", || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let journal = machine.journal();
        let wanted = machine.wanted(Kind::Private, 1, HD);
        let mut display = Display::open(&wanted, &machine.surroundings(), &journal).unwrap();
        let entries = journal.entries();
        let [Entry::Private { programs, .. }] = &entries[..] else { panic!("{entries:?}") };

        kill("STOP", programs[0].pid);
        let error = display.set_mode(FAST).unwrap_err().to_string();
        drop(display);

        assert_eq!(error, "no answer of sway within 2 s");
        machine.assert_clean();
    });
}

#[test]
fn a_compositor_that_does_not_start_is_told_with_its_last_words() {
    as_user("a_compositor_that_does_not_start_is_told_with_its_last_words", || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let programs = folder.path().join("programs");
        fs::create_dir(&programs).unwrap();
        let source = folder.path().join("source");
        fs::write(&source, "#!/bin/sh\necho 'no luck today' >&2\necho\nexit 1\n").unwrap();
        let mut install = Command::new("install");
        let installed = install.arg("--mode=700").args([&source, &programs.join("sway")]).status();
        assert!(installed.unwrap().success());
        let mut surroundings = machine.surroundings();
        let path = format!("{}:/usr/bin:/bin", programs.display());
        surroundings.variables = vec![("PATH".into(), path.into())];
        let wanted = machine.wanted(Kind::Private, 1, HD);

        let ended = Display::open(&wanted, &surroundings, &machine.journal()).err().unwrap();
        surroundings.variables = vec![("PATH".into(), "/nowhere".into())];
        let missing = Display::open(&wanted, &surroundings, &machine.journal()).err().unwrap();
        let mut wanted = machine.wanted(Kind::Private, 1, HD);
        wanted.app = Some(App { argv: vec!["/no/such".into()], ..App::default() });
        let journal = machine.journal();
        let no_app = Display::open(&wanted, &machine.surroundings(), &journal).err().unwrap();

        assert_eq!(ended.to_string(), "sway ended at once: no luck today");
        assert_eq!(missing.to_string(), "sway not found in PATH: the package sway brings it");
        assert!(no_app.to_string().starts_with("/no/such not started: No such file"), "{no_app}");
        machine.assert_clean();
    });
}

#[test]
fn a_desktop_gets_an_output_for_each_session_and_is_rid_of_it_afterwards() {
    as_user("a_desktop_gets_an_output_for_each_session_and_is_rid_of_it_afterwards", || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let sway = Sway::start(&machine);
        let (surroundings, journal) = (machine.surroundings(), machine.journal());
        let open = |kind, session, mode| {
            let wanted = machine.wanted(kind, session, mode);
            Display::open(&wanted, &surroundings, &journal).unwrap()
        };
        let own = ("HEADLESS-1".to_owned(), sway.outputs()[0].1);

        let (mut one, mut other) = std::thread::scope(|scope| {
            let one = scope.spawn(|| open(Kind::Auto, 1, HD));
            let other = scope.spawn(|| open(Kind::Virtual, 2, ODD));
            (one.join().unwrap(), other.join().unwrap())
        });
        // Whoever came first.
        if one.wayland().1 == "HEADLESS-3" {
            one.set_mode(ODD).unwrap();
            other.set_mode(HD).unwrap();
            std::mem::swap(&mut one, &mut other);
        }

        assert!(one.why().starts_with("virtual, HEADLESS-2 of sway 1."), "{}", one.why());
        assert!(other.why().starts_with("virtual, HEADLESS-3 of sway 1."), "{}", other.why());
        assert_eq!(one.wayland(), (folder.path().join("xdg/wayland-1"), "HEADLESS-2".to_owned()));
        // Whoever came first shares the user's seat. There are as many as there may be sessions.
        assert_eq!((one.seat(), other.seat().as_deref()), (None, Some("punktfunk-1")));
        let seats = ["punktfunk-1", "punktfunk-2", "punktfunk-3", "seat0"];
        assert_eq!(sway.seats(), seats);
        let named = |name: &str, mode| (name.to_owned(), numbers(mode));
        let three = [own.clone(), named("HEADLESS-2", HD), named("HEADLESS-3", ODD)];
        assert_eq!(sway.outputs(), three);
        one.set_mode(FAST).unwrap();
        assert_eq!((seen(&one), seen(&other)), ((1600, 900), (1366, 768)));
        for (display, output) in [(&mut one, "HEADLESS-2"), (&mut other, "HEADLESS-3")] {
            display.run(&machine.app(output), &surroundings).unwrap();
            machine.told(output, display);
            eventually("the window is on the output of its session", || {
                sway.on(output).contains("\"foot\"").then_some(())
            });
        }
        assert_eq!(sway.focused(), "HEADLESS-2");
        // What a program starts opens where the user's seat is, and is brought.
        let argv = ["sh", "-c", "sh -c 'foot -a later sleep 1000; :'; :"].map(Into::into);
        let later = App { argv: argv.into(), ..App::default() };
        other.run(&later, &surroundings).unwrap();
        eventually("the window is brought", || {
            assert!(!one.restore().unwrap() && !other.restore().unwrap());
            sway.on("HEADLESS-3").contains("\"later\"").then_some(())
        });
        drop(one);
        drop(other);

        let gone = |name: &str| {
            let left = sway.outputs().into_iter().find(|it| it.0 == name);
            left.is_none_or(|it| it.1 == [320, 240, 1000])
        };
        assert!(gone("HEADLESS-2") && gone("HEADLESS-3"), "{:?}", sway.outputs());
        assert_eq!(sway.outputs()[0], own);
        assert_eq!(sway.focused(), "HEADLESS-1");
        machine.assert_clean();
        let count = sway.outputs().len();
        // The next daemon, too, uses those that could not be removed.
        let again =
            Display::open(&machine.wanted(Kind::Auto, 1, FAST), &surroundings, &machine.journal());
        let again = again.unwrap();
        assert_eq!(sway.outputs().len(), count.max(2));
        assert_eq!(again.seat().as_deref(), Some("punktfunk-1"));
        assert_eq!(sway.seats(), seats);
        assert_eq!(seen(&again), (1600, 900));
    });
}

#[test]
fn a_desktop_that_is_configured_anew_has_outputs_and_seats_of_sessions_as_before() {
    const NAME: &str =
        "a_desktop_that_is_configured_anew_has_outputs_and_seats_of_sessions_as_before";
    as_user(NAME, || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let sway = Sway::start(&machine);
        let (surroundings, journal) = (machine.surroundings(), machine.journal());
        let mut displays = [(1, HD), (2, ODD)].map(|(session, mode)| {
            let wanted = machine.wanted(Kind::Virtual, session, mode);
            Display::open(&wanted, &surroundings, &journal).unwrap()
        });
        let (outputs, seats) = (sway.outputs(), sway.seats());
        for display in &mut displays {
            assert!(!display.restore().unwrap());
        }

        let reloaded = sway.message(&["reload"]);

        assert!(reloaded.status.success(), "{reloaded:?}");
        for display in &mut displays {
            eventually("the reload is noticed", || display.restore().unwrap().then_some(()));
            assert!(!display.restore().unwrap());
        }
        assert_eq!((sway.outputs(), sway.seats()), (outputs, seats));
        assert_eq!(displays.each_ref().map(seen), [(1280, 720), (1366, 768)]);
        drop(sway);
        let error = displays[0].restore().unwrap_err().to_string();
        assert_eq!(error, "connection to sway: closed by it");
    });
}

#[test]
fn an_output_that_a_hung_desktop_kept_is_taken_off_it_by_the_next_session() {
    const NAME: &str = "an_output_that_a_hung_desktop_kept_is_taken_off_it_by_the_next_session";
    as_user(NAME, || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let sway = Sway::start(&machine);
        let displays = machine.displays();
        let open = |session, mode| displays.open(machine.wanted(Kind::Virtual, session, mode));
        drop(open(1, HD).unwrap());

        kill("STOP", sway.child.id());
        displays.close(1);
        kill("CONT", sway.child.id());
        let left_count = displays.change_count();
        let kept = open(2, FAST).unwrap();
        let other = open(3, ODD).unwrap();

        assert_eq!((left_count, displays.change_count()), (1, 2));
        let mut modes: Vec<_> = sway.outputs().into_iter().skip(1).map(|it| it.1).collect();
        modes.sort_unstable();
        assert_eq!(modes, [numbers(ODD), numbers(FAST)]);
        drop((kept, other));
        for run in [2, 3] {
            displays.close(run);
        }
        assert_eq!(displays.change_count(), 0);
        machine.assert_clean();
    });
}

#[test]
fn a_mirror_is_an_output_as_it_is() {
    as_user("a_mirror_is_an_output_as_it_is", || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let sway = Sway::start(&machine);
        let (surroundings, journal) = (machine.surroundings(), machine.journal());
        let before = sway.outputs();
        let open = |name: &str| {
            let wanted = machine.wanted(Kind::Mirror(name.into()), 1, FAST);
            Display::open(&wanted, &surroundings, &journal)
        };

        let mut mirror = open("HEADLESS-1").unwrap();
        mirror.set_mode(FAST).unwrap();
        let error = open("DP-1").err().unwrap().to_string();

        assert_eq!(numbers(mirror.mode()), before[0].1);
        assert_eq!(error, "no output DP-1, there are: HEADLESS-1");
        assert_eq!((mirror.wayland().1.as_str(), mirror.seat()), ("HEADLESS-1", None));
        assert_eq!(journal.entries(), []);
        drop(mirror);
        assert_eq!(sway.outputs(), before);
        drop(sway);
        let error = open("HEADLESS-1").err().unwrap().to_string();
        assert!(error.starts_with("no sway of this user in "), "{error}");
    });
}

#[test]
fn what_a_killed_daemon_leaves_is_undone_at_the_next_start() {
    const NAME: &str = "what_a_killed_daemon_leaves_is_undone_at_the_next_start";
    as_user(NAME, || {
        if let Some(path) = std::env::var_os(HOLD) {
            hold(Path::new(&path));
        }
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let sway = Sway::start(&machine);
        let before = sway.outputs();
        let mut daemon = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(HOLD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"open\n") {
            let mut byte = [0];
            daemon.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
            said.extend(byte);
        }
        assert_eq!(sway.outputs().len(), 2);
        assert!(!machine.processes("run").is_empty());

        daemon.kill().unwrap();
        daemon.wait().unwrap();
        eventually("what it started ends with it", || {
            machine.processes("run").is_empty().then_some(())
        });
        let undone = machine.journal().restore();

        machine.assert_clean();
        assert!(undone.iter().any(|it| it.contains("display-1 removed")), "{undone:?}");
        assert!(undone.iter().any(|it| it.contains("output HEADLESS-2 ")), "{undone:?}");
        let after = sway.outputs();
        assert_eq!(after[0], before[0]);
        assert!(after.len() == 1 || after[1].1 == [320, 240, 1000], "{after:?}");
        assert_eq!(machine.journal().restore(), [] as [String; 0]);
    });
}

/// A daemon with two displays that is killed.
fn hold(path: &Path) -> ! {
    let machine = Machine::new(path);
    let (surroundings, journal) = (machine.surroundings(), machine.journal());
    let mut wanted = machine.wanted(Kind::Private, 1, HD);
    wanted.app = Some(machine.app("told"));
    let private = Display::open(&wanted, &surroundings, &journal).unwrap();
    machine.told("told", &private);
    let wanted = machine.wanted(Kind::Virtual, 2, HD);
    let _output = Display::open(&wanted, &surroundings, &journal).unwrap();
    println!("open");
    loop {
        std::thread::park();
    }
}
