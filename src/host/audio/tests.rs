//! Sound through real servers, PulseAudio and PipeWire: every test is run with both.

use std::f64::consts::TAU;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use punktfunk_core::net::clock;

use super::capture::Capture;
use super::journal::Journal;
use super::pactl::{self, Server};
use super::sink::{Plan, Playback, Sinks};
use super::{SAMPLE_RATE, sample_count};
use crate::state::Directory;
use crate::state::tests::Folder;

/// Something that takes longer will not come.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks whether something has come.
const GLANCE: Duration = Duration::from_millis(20);
const PACKET: Duration = Duration::from_millis(5);
/// Of the tone in each channel, Hz; the fourth is LFE.
pub const FREQUENCIES: [u32; 8] = [200, 300, 400, 50, 600, 700, 800, 900];
/// With all that could end a quotation.
const CLIENT_NAME: &str = "Änna's \"new\" tablet; \\ x=y";
/// The sink that the host has before there are sessions.
const ORIGINAL: &str = "original";

/// Two servers at a time make machines with two processors late.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A kind of sound server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    PipeWire,
    PulseAudio,
}

/// A sound server of the test's own, with one sink, which is the default.
struct Rig {
    kind: Kind,
    children: Vec<Child>,
    server: Server,
    folder: Folder,
    _turn: MutexGuard<'static, ()>,
}

impl Rig {
    fn new(kind: Kind) -> Rig {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let folder = Folder::new();
        let runtime = folder.path().join("run");
        fs::create_dir_all(runtime.join("pulse")).unwrap();
        for path in [&runtime, &runtime.join("pulse")] {
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            fs::set_permissions(path, private).unwrap();
        }
        let server = Server {
            address: Some(format!("unix:{}", runtime.join("pulse/native").display())),
            runtime_directory: Some(runtime),
            home: Some(folder.path().to_owned()),
        };
        let mut rig = Rig { kind, children: Vec::new(), server, folder, _turn: turn };
        rig.start();
        rig.make_sink(ORIGINAL);
        rig.make_default(ORIGINAL);
        rig
    }

    fn make_sink(&self, name: &str) {
        let map = "channel_map=front-left,front-right";
        let arguments = [&format!("sink_name={name}"), "rate=48000", map];
        self.server.load_module("module-null-sink", &arguments).unwrap();
        self.until("the sink is there", |server| has(server, name));
    }

    fn make_default(&self, name: &str) {
        // PipeWire refuses this until its session manager has begun.
        self.until("the sink is the default", |server| {
            server.set_default_sink(name).is_ok() && default(server) == name
        });
    }

    fn start(&mut self) {
        match self.kind {
            Kind::PipeWire => {
                self.spawn("dbus-daemon", "dbus", &["--session", "--nofork", &self.bus()]);
                self.spawn("pipewire", "pipewire", &[]);
                self.await_path("pipewire-0");
                self.spawn("wireplumber", "wireplumber", &[]);
                self.spawn("pipewire-pulse", "pipewire-pulse", &[]);
            }
            Kind::PulseAudio => {
                let socket = self.runtime().join("pulse/native");
                let load = format!(
                    "--load=module-native-protocol-unix auth-anonymous=1 socket={}",
                    socket.display()
                );
                let words = ["-n", "-F", "/dev/null", "--daemonize=no", "--exit-idle-time=-1"];
                let more = ["--disallow-exit", "--use-pid-file=no", "--log-level=error", &load];
                self.spawn("pulseaudio", "pulseaudio", &[&words[..], &more[..]].concat());
            }
        }
        self.until("the server answers", |server| match server.sinks() {
            Err(error @ pactl::Error::Missing) => panic!("{error}, 'scripts/setup test' as well"),
            answer => answer.is_ok(),
        });
    }

    /// Ends the server at once, as a crash does.
    fn kill(&mut self) {
        for mut child in self.children.drain(..).rev() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let _ = fs::remove_file(self.runtime().join("pulse/native"));
        let _ = fs::remove_file(self.runtime().join("pipewire-0"));
    }

    /// Sends a signal to what clients speak to.
    fn signal(&self, name: &str) {
        let pid = self.children.last().unwrap().id().to_string();
        let status = Command::new("/bin/kill").arg(format!("-{name}")).arg(pid).status();
        let hint = "kill is in the package procps, 'scripts/setup test' brings it";
        assert!(status.unwrap_or_else(|error| panic!("{hint}: {error}")).success());
    }

    fn runtime(&self) -> &Path {
        self.server.runtime_directory.as_deref().unwrap()
    }

    fn bus(&self) -> String {
        format!("--address=unix:path={}", self.runtime().join("bus").display())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        command.env("HOME", self.folder.path()).env("XDG_RUNTIME_DIR", self.runtime());
        command.env("PULSE_SERVER", self.server.address.as_ref().unwrap());
        let bus = format!("unix:path={}", self.runtime().join("bus").display());
        command.env("DBUS_SESSION_BUS_ADDRESS", bus);
        command.stdin(Stdio::null());
        command
    }

    fn spawn(&mut self, program: &str, package: &str, arguments: &[&str]) {
        let log = File::create(self.folder.path().join(format!("{program}.log"))).unwrap();
        let mut command = self.command(program);
        command.args(arguments).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn();
        let hint = format!("{program} is in the package {package}, 'scripts/setup test' brings it");
        self.children.push(child.unwrap_or_else(|error| panic!("{hint}: {error}")));
    }

    fn await_path(&self, name: &str) {
        self.until(name, |server| server.runtime_directory.as_ref().unwrap().join(name).exists());
    }

    fn until(&self, what: &str, mut is_so: impl FnMut(&Server) -> bool) {
        until(&format!("{:?}: {what}", self.kind), || is_so(&self.server));
    }

    fn sinks(&self) -> Sinks {
        let state = self.folder.path().join("state");
        let directory = Directory::open(&state, true).unwrap();
        Sinks::new(self.server.clone(), Journal::new(Arc::new(directory)))
    }

    /// Plays a tone in each channel of a sink, for a minute or as long as the value lives.
    fn play(&self, sink: &str, channel_count: usize) -> Player {
        self.play_with(&[&format!("--device={sink}")], channel_count)
    }

    fn play_with(&self, options: &[&str], channel_count: usize) -> Player {
        let file = self.folder.path().join(format!("{channel_count}.wav"));
        if !file.exists() {
            make_tones(&file, channel_count);
        }
        let mut command = self.command("paplay");
        command.args(options).arg(&file).stderr(Stdio::null());
        let child = command.spawn();
        let hint = "paplay is in the package pulseaudio-utils, 'scripts/setup test' brings it";
        Player(child.unwrap_or_else(|error| panic!("{hint}: {error}")))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program that plays.
struct Player(Child);

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn make_tones(file: &PathBuf, channel_count: usize) {
    let mut command = Command::new("sox");
    command.args(["-n", "-r", "48000", "-b", "16", "-c", &channel_count.to_string()]).arg(file);
    command.args(["synth", "60"]);
    for frequency in &FREQUENCIES[..channel_count] {
        command.args(["sine", &frequency.to_string()]);
    }
    command.args(["gain", "-6"]);
    let status = command.status();
    let hint = "sox is in the package sox, 'scripts/setup test' brings it";
    assert!(status.unwrap_or_else(|error| panic!("{hint}: {error}")).success());
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = clock::now() + PATIENCE;
    while !is_so() {
        assert!(clock::now() < end, "{what}: not within {} s", PATIENCE.as_secs());
        clock::sleep_until(clock::now() + GLANCE);
    }
}

fn has(server: &Server, sink: &str) -> bool {
    server.sinks().is_ok_and(|sinks| sinks.iter().any(|name| name == sink))
}

fn default(server: &Server) -> String {
    server.default_sink().ok().flatten().unwrap_or_default()
}

fn own(channel_count: usize, playback: Playback) -> Plan {
    Plan::Own { client_name: CLIENT_NAME.to_owned(), channel_count, playback }
}

fn capture(sinks: &Arc<Mutex<Sinks>>, plan: Plan, channel_count: usize) -> Capture {
    Capture::open(Arc::clone(sinks), 1, plan, channel_count, PACKET)
}

/// The strength of one frequency in one channel (Goertzel's algorithm): 1 for a full sine.
pub fn strength(samples: &[f32], channel: usize, channel_count: usize, frequency: u32) -> f64 {
    let factor = 2.0 * (TAU * f64::from(frequency) / f64::from(SAMPLE_RATE)).cos();
    let (mut last, mut before, mut count) = (0.0, 0.0, 0.0);
    for sample in samples.iter().skip(channel).step_by(channel_count) {
        (last, before) = (f64::from(*sample) + factor * last - before, last);
        count += 1.0;
    }
    2.0 * (last * last + before * before - factor * last * before).max(0.0).sqrt() / count
}

/// Reads a tenth of a second, in which every tone has whole periods.
fn hear(capture: &mut Capture, channel_count: usize) -> Vec<f32> {
    let packet = sample_count(channel_count, PACKET);
    let mut samples = vec![0.0; 20 * packet];
    for out in samples.chunks_mut(packet) {
        capture.read(out);
    }
    samples
}

/// Which tone is in each channel, if it is one alone.
fn tones(samples: &[f32], channel_count: usize) -> Vec<Option<u32>> {
    let tone = |channel| {
        let mut loud = FREQUENCIES[..channel_count]
            .iter()
            .filter(|frequency| strength(samples, channel, channel_count, **frequency) > 0.1);
        loud.next().copied().filter(|_| loud.next().is_none())
    };
    (0..channel_count).map(tone).collect()
}

fn await_tones(capture: &mut Capture, channel_count: usize) {
    let expected: Vec<_> = FREQUENCIES[..channel_count].iter().copied().map(Some).collect();
    let end = clock::now() + PATIENCE;
    loop {
        let heard = tones(&hear(capture, channel_count), channel_count);
        if heard == expected {
            return;
        }
        assert!(clock::now() < end, "{heard:?} for {expected:?}, {:?}", capture.poll_news());
    }
}

fn await_silence(capture: &mut Capture) {
    until("silence", || tones(&hear(capture, 2), 2) == [None, None]);
}

const KINDS: [Kind; 2] = [Kind::PulseAudio, Kind::PipeWire];

#[test]
fn what_is_played_in_a_channel_is_heard_in_it() {
    for kind in KINDS {
        let rig = Rig::new(kind);
        for channel_count in [2, 6, 8] {
            let sinks = Arc::new(Mutex::new(rig.sinks()));
            let plan = own(channel_count, Playback::Client);
            let mut capture = capture(&sinks, plan, channel_count);
            rig.until("there is a sink", |server| default(server) == "punktfunk-1");
            let _player = rig.play("punktfunk-1", channel_count);

            await_tones(&mut capture, channel_count);

            drop(capture);
            assert!(!has(&rig.server, "punktfunk-1"));
            assert_eq!(default(&rig.server), ORIGINAL);
        }
    }
}

#[test]
fn sound_comes_back_with_the_server() {
    for kind in KINDS {
        let mut rig = Rig::new(kind);
        let sinks = Arc::new(Mutex::new(rig.sinks()));
        let mut capture = capture(&sinks, own(2, Playback::Client), 2);
        rig.until("there is a sink", |server| default(server) == "punktfunk-1");
        let player = rig.play("punktfunk-1", 2);
        await_tones(&mut capture, 2);
        assert_eq!(capture.poll_news(), None);

        rig.kill();
        drop(player);
        let silence = hear(&mut capture, 2);
        let told = capture.poll_news();
        rig.start();
        let mut packet = vec![0.0; sample_count(2, PACKET)];
        let is_back = |news: Option<String>| news.as_deref() == Some("sound is back");
        until("sound is back", || {
            while_short(|| capture.read(&mut packet));
            is_back(capture.poll_news())
        });
        let _player = rig.play("punktfunk-1", 2);
        await_tones(&mut capture, 2);

        assert!(told.is_some_and(|told| told.starts_with("no sound: ")), "{kind:?}");
        assert_eq!(tones(&silence[silence.len() / 2..], 2), [None, None], "{kind:?}");
    }
}

/// Goes on reading for a while.
fn while_short(mut read: impl FnMut() -> bool) {
    let end: Instant = clock::now() + GLANCE;
    while clock::now() < end {
        read();
    }
}

#[test]
fn a_server_that_hangs_is_noticed_and_taken_again() {
    for kind in KINDS {
        let rig = Rig::new(kind);
        let sinks = Arc::new(Mutex::new(rig.sinks()));
        let mut capture = capture(&sinks, own(2, Playback::Client), 2);
        let mut packet = vec![0.0; sample_count(2, PACKET)];
        until("there is sound", || capture.read(&mut packet));

        rig.signal("STOP");
        until("the server gives nothing", || !capture.read(&mut packet));
        let told = capture.poll_news();
        rig.signal("CONT");
        until("there is sound again", || capture.read(&mut packet));

        assert_eq!(
            told.as_deref(),
            Some("no sound: nothing heard for 1000 ms [PF-S01]"),
            "{kind:?}"
        );
        assert_eq!(capture.poll_news().as_deref(), Some("sound is back"), "{kind:?}");
    }
}

#[test]
fn what_is_playing_already_goes_to_the_session_and_back() {
    for kind in KINDS {
        let rig = Rig::new(kind);
        let sinks = Arc::new(Mutex::new(rig.sinks()));
        let plan = Plan::Existing(ORIGINAL.to_owned());
        let mut host = Capture::open(Arc::clone(&sinks), 2, plan, 2, PACKET);
        let _player = rig.play_with(&[], 2);
        await_tones(&mut host, 2);

        let mut client = capture(&sinks, own(2, Playback::Client), 2);
        await_tones(&mut client, 2);
        await_silence(&mut host);
        drop(client);

        await_tones(&mut host, 2);
    }
}

#[test]
fn the_user_of_the_host_sees_whose_sink_it_is() {
    for kind in KINDS {
        let rig = Rig::new(kind);
        let mut sinks = rig.sinks();

        sinks.open(1, &own(8, Playback::Client)).unwrap();

        let output = rig.command("pactl").args(["list", "sinks"]).output().unwrap();
        let list = String::from_utf8_lossy(&output.stdout).into_owned();
        let title = "Description: punktfunk - Änna_s _new_ tablet_ _ x_y\n";
        assert!(list.contains(title), "{kind:?}: {list}");
    }
}

#[test]
fn what_a_crash_left_is_undone_at_the_next_start() {
    for kind in KINDS {
        let rig = Rig::new(kind);
        let mut before = rig.sinks();
        before.open(1, &own(6, Playback::Both)).unwrap();
        before.open(2, &own(2, Playback::Client)).unwrap();
        assert_eq!(default(&rig.server), "punktfunk-2", "{kind:?}");
        drop(before);

        let mut after = rig.sinks();
        after.restore_from_journal().unwrap();

        assert_eq!(default(&rig.server), ORIGINAL, "{kind:?}");
        assert_eq!(rig.server.sinks().unwrap(), [ORIGINAL], "{kind:?}");
        rig.sinks().restore_from_journal().unwrap();
        after.open(1, &own(2, Playback::Client)).unwrap();
        assert_eq!(default(&rig.server), "punktfunk-1", "{kind:?}");
    }
}

#[test]
fn the_default_goes_to_the_newest_session_and_back() {
    for kind in KINDS {
        let rig = Rig::new(kind);
        let mut sinks = rig.sinks();
        let plan = own(2, Playback::Client);
        let now = || default(&rig.server);

        for session in [1, 2, 3] {
            let source = sinks.open(session, &plan).unwrap();
            assert_eq!(source, format!("punktfunk-{session}.monitor"));
        }
        assert_eq!(now(), "punktfunk-3", "{kind:?}");
        sinks.close(2).unwrap();
        assert_eq!(now(), "punktfunk-3", "{kind:?}");
        sinks.close(3).unwrap();
        assert_eq!(now(), "punktfunk-1", "{kind:?}");
        // The user chooses another.
        rig.make_sink("chosen");
        rig.make_default("chosen");
        sinks.close(1).unwrap();
        assert_eq!(now(), "chosen", "{kind:?}");
        // What is gone is not gone back to.
        sinks.open(4, &plan).unwrap();
        rig.server.unload_modules("module-null-sink", "sink_name=chosen").unwrap();
        sinks.close(4).unwrap();
        rig.until("another is the default", |server| default(server) == ORIGINAL);
        assert!(!has(&rig.server, "punktfunk-4"), "{kind:?}");
    }
}

#[test]
fn a_sink_of_the_user_is_listened_to_and_left_alone() {
    for kind in KINDS {
        let rig = Rig::new(kind);
        let sinks = Arc::new(Mutex::new(rig.sinks()));
        let mut missing = capture(&sinks, Plan::Existing("none".to_owned()), 2);
        let mut capture = capture(&sinks, Plan::Existing(ORIGINAL.to_owned()), 2);
        let _player = rig.play(ORIGINAL, 2);

        await_tones(&mut capture, 2);
        let mut news = None;
        until("the missing is told of", || {
            while_short(|| missing.read(&mut [0.0; 480]));
            news = missing.poll_news();
            news.is_some()
        });

        assert_eq!(news.unwrap(), "no sound: no sink \"none\" with a monitor [PF-S01]", "{kind:?}");
        assert_eq!(rig.server.sinks().unwrap(), [ORIGINAL], "{kind:?}");
    }
}

#[test]
fn nothing_else_is_recorded_when_a_sink_goes() {
    for kind in KINDS {
        let rig = Rig::new(kind);
        let sinks = Arc::new(Mutex::new(rig.sinks()));
        rig.make_sink("chosen");
        let mut capture = capture(&sinks, Plan::Existing("chosen".to_owned()), 2);
        let mut packet = vec![0.0; sample_count(2, PACKET)];
        until("there is sound", || capture.read(&mut packet));
        let plan = Plan::Existing(ORIGINAL.to_owned());
        let mut other = Capture::open(Arc::clone(&sinks), 2, plan, 2, PACKET);
        let _player = rig.play(ORIGINAL, 2);
        await_tones(&mut other, 2);

        rig.server.unload_modules("module-null-sink", "sink_name=chosen").unwrap();
        let mut is_silent = true;
        until("the loss is noticed", || {
            let is_sound = capture.read(&mut packet);
            is_silent &= packet.iter().all(|sample| *sample == 0.0);
            !is_sound
        });

        assert!(is_silent, "{kind:?}");
        assert!(capture.poll_news().is_some_and(|news| news.starts_with("no sound: ")));
        assert_eq!(tones(&hear(&mut capture, 2), 2), [None, None], "{kind:?}");
    }
}

#[test]
fn what_the_client_hears_is_heard_at_the_host_if_that_is_wanted() {
    for kind in KINDS {
        let rig = Rig::new(kind);
        for (playback, is_heard) in [(Playback::Both, true), (Playback::Client, false)] {
            let sinks = Arc::new(Mutex::new(rig.sinks()));
            let mut client = capture(&sinks, own(2, playback), 2);
            rig.until("there is a sink", |server| default(server) == "punktfunk-1");
            let plan = Plan::Existing(ORIGINAL.to_owned());
            let mut host = Capture::open(Arc::clone(&sinks), 2, plan, 2, PACKET);
            let _player = rig.play("punktfunk-1", 2);

            await_tones(&mut client, 2);
            if is_heard {
                await_tones(&mut host, 2);
            } else {
                while_short(|| host.read(&mut [0.0; 480]));
                let heard = tones(&hear(&mut host, 2), 2);
                assert_eq!(heard, [None, None], "{kind:?}");
            }
        }
    }
}
