//! Displays on phoc, a compositor of wlroots that makes no outputs by protocol, and on no other.

use std::io::Write;

use super::*;

/// A compositor of the user's without a screen, which the daemon has nothing to do with.
struct Desktop {
    child: Child,
    folder: PathBuf,
    name: String,
}

/// What another client is told of an output: name, width, height, millihertz, place, scale.
type Seen = (String, [u64; 3], [i64; 2], f64);

impl Desktop {
    /// One that runs that command, with so many outputs.
    fn start(machine: &Machine, words: &[&str], output_count: u32) -> Desktop {
        let folder = machine.path.join("xdg");
        let sockets = || {
            let names = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().file_name());
            let names = names.map(|it| it.into_string().unwrap());
            names.filter(|it| it.starts_with("wayland-") && !it.contains('.')).collect::<Vec<_>>()
        };
        let before = sockets();
        let child = Command::new(words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &machine.path)
            .env("XDG_RUNTIME_DIR", &folder)
            .env("GSETTINGS_BACKEND", "keyfile")
            .env("WLR_HEADLESS_OUTPUTS", output_count.to_string())
            .envs([("WLR_BACKENDS", "headless"), ("WLR_RENDERER", "pixman")])
            .env("WLR_LIBINPUT_NO_DEVICES", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let name = eventually("the compositor listens", || {
            sockets().into_iter().find(|it| !before.contains(it))
        });
        Desktop { child, folder, name }
    }

    /// phoc, which leaves windows where they open and as large as they are.
    fn phoc(machine: &Machine, output_count: u32) -> Desktop {
        let settings = machine.path.join(".config/glib-2.0/settings");
        fs::create_dir_all(&settings).unwrap();
        fs::write(settings.join("keyfile"), "[sm/puri/phoc]\nauto-maximize=false\n").unwrap();
        let phoc = Desktop::start(machine, &["phoc"], output_count);
        let is_up = || (phoc.outputs().len() == output_count as usize).then_some(());
        eventually("phoc has its outputs", is_up);
        phoc
    }

    fn randr(&self, words: &[&str]) -> Output {
        Command::new("wlr-randr")
            .args(words)
            .env("XDG_RUNTIME_DIR", &self.folder)
            .env("WAYLAND_DISPLAY", &self.name)
            .output()
            .unwrap()
    }

    /// Its outputs, by their names.
    fn outputs(&self) -> Vec<Seen> {
        let said = self.randr(&[]);
        let text = String::from_utf8(said.stdout).unwrap();
        let mut outputs: Vec<Seen> = Vec::new();
        for line in text.lines() {
            if !line.starts_with(' ') {
                let name = line.split(' ').next().unwrap().to_owned();
                outputs.push((name, [0; 3], [0; 2], 0.0));
                continue;
            }
            let (_, mode, place, scale) = outputs.last_mut().unwrap();
            let line = line.trim();
            if let Some((size, refresh)) = line.split_once(" px, ") {
                let (width, height) = size.split_once('x').unwrap();
                let hertz: f64 = refresh.split(' ').next().unwrap().parse().unwrap();
                let refresh_mhz = (hertz * 1000.0).round() as u64;
                *mode = [width.parse().unwrap(), height.parse().unwrap(), refresh_mhz];
            } else if let Some(at) = line.strip_prefix("Position: ") {
                let (x, y) = at.split_once(',').unwrap();
                *place = [x.parse().unwrap(), y.parse().unwrap()];
            } else if let Some(words) = line.strip_prefix("Scale: ") {
                *scale = words.parse().unwrap();
            }
        }
        outputs.sort_by(|one, other| one.0.cmp(&other.0));
        outputs
    }

    fn output(&self, name: &str) -> Seen {
        self.outputs().into_iter().find(|it| it.0 == name).unwrap()
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // Another takes its place by that name.
        let _ = fs::remove_file(self.folder.join(&self.name));
    }
}

/// How many pixels of an output have that colour.
fn count_of(display: &Display, colour: [u8; 3]) -> usize {
    let (socket, output) = display.wayland();
    let said = Command::new("grim")
        .args(["-t", "ppm", "-o", &output, "-"])
        .env("WAYLAND_DISPLAY", socket)
        .env("XDG_RUNTIME_DIR", "/tmp")
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let mut head = said.stdout.splitn(4, |byte| byte.is_ascii_whitespace());
    let pixels = head.nth(3).unwrap().strip_prefix(b"255\n").unwrap();
    pixels.as_chunks::<3>().0.iter().filter(|pixel| **pixel == colour).count()
}

/// A terminal of one colour.
fn coloured(colour: &str) -> App {
    let words = ["foot", "--config=/dev/null", "-o", "csd.preferred=none", "sh", "-c"];
    let script = format!("printf '\\033]11;#{colour}\\007'; exec sleep 1000");
    let argv = words.into_iter().map(Into::into).chain([script.into()]).collect();
    App { argv, ..App::default() }
}

#[test]
fn outputs_without_a_screen_are_lent_to_sessions_and_are_as_before_afterwards() {
    const NAME: &str =
        "phoc::outputs_without_a_screen_are_lent_to_sessions_and_are_as_before_afterwards";
    as_user(NAME, || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let phoc = Desktop::phoc(&machine, 2);
        let before = phoc.outputs();
        let (surroundings, journal) = (machine.surroundings(), machine.journal());
        let open = |kind, session, mode, scale_percent| {
            let wanted = Wanted { scale_percent, ..machine.wanted(kind, session, mode) };
            Display::open(&wanted, &surroundings, &journal)
        };

        let mut one = open(Kind::Auto, 1, HD, 100).unwrap();
        let other = open(Kind::Virtual, 2, ODD, 150).unwrap();
        let none = open(Kind::Virtual, 3, HD, 100).err().unwrap().to_string();
        one.set_mode(Mode { refresh_mhz: 143_981, ..FAST }).unwrap();

        let pid = phoc.child.id();
        let place = folder.path().join("xdg");
        let why = one.why();
        assert_eq!(
            why,
            format!(
                "virtual, HEADLESS-1 of phoc ({pid}), not sway: no sway of this user in {}, not \
                 private: a desktop runs, at 1600x900@143.981",
                place.display()
            )
        );
        let full = format!("every output of phoc ({pid}) without a screen has a session: 2");
        assert!(none.ends_with(&full), "{none}");
        assert_eq!(one.wayland(), (place.join(&phoc.name), "HEADLESS-1".to_owned()));
        assert_eq!(other.wayland().1, "HEADLESS-2");
        let (_, mode, at, scale) = phoc.output("HEADLESS-1");
        assert_eq!((mode, scale), ([1600, 900, 143_981], 1.0));
        let (_, mode, at_other, scale) = phoc.output("HEADLESS-2");
        assert_eq!((mode, scale), (numbers(ODD), 1.5));
        assert!(at[0] + 1600 <= at_other[0] || at_other[0] + 911 <= at[0], "{at:?} {at_other:?}");
        assert_eq!((seen(&one), seen(&other)), ((1600, 900), (1366, 768)));
        drop(other);
        drop(one);

        assert_eq!(phoc.outputs(), before);
        machine.assert_clean();
        assert_eq!(journal.entries(), []);
    });
}

#[test]
fn what_a_session_starts_opens_on_its_output() {
    as_user("phoc::what_a_session_starts_opens_on_its_output", || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let _phoc = Desktop::phoc(&machine, 2);
        let (surroundings, journal) = (machine.surroundings(), machine.journal());
        let mut displays = [(1, HD), (2, ODD)].map(|(session, mode)| {
            let wanted = machine.wanted(Kind::Virtual, session, mode);
            Display::open(&wanted, &surroundings, &journal).unwrap()
        });

        let colours = [("123456", [0x12, 0x34, 0x56]), ("654321", [0x65, 0x43, 0x21])];
        // The one that the compositor would not choose, first.
        for index in [1, 0] {
            displays[index].run(&coloured(colours[index].0), &surroundings).unwrap();
            eventually("the window is on the output of its session", || {
                (count_of(&displays[index], colours[index].1) > 10_000).then_some(())
            });
        }

        assert_eq!(count_of(&displays[0], colours[1].1), 0);
        assert_eq!(count_of(&displays[1], colours[0].1), 0);
        assert!(displays.iter().all(Display::has_programs));
        drop(displays);
        machine.assert_clean();
    });
}

#[test]
fn an_output_that_others_set_up_otherwise_is_put_right() {
    as_user("phoc::an_output_that_others_set_up_otherwise_is_put_right", || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let phoc = Desktop::phoc(&machine, 1);
        let (surroundings, journal) = (machine.surroundings(), machine.journal());
        let wanted = machine.wanted(Kind::Virtual, 1, FAST);
        let mut display = Display::open(&wanted, &surroundings, &journal).unwrap();
        let others = |mode: &str| {
            let set = phoc.randr(&["--output", "HEADLESS-1", "--custom-mode", mode]);
            assert!(set.status.success(), "{set:?}");
        };

        others("800x600@50Hz");
        eventually("it is put right", || {
            assert!(!display.restore().unwrap());
            (phoc.output("HEADLESS-1").1 == numbers(FAST)).then_some(())
        });

        assert_eq!(seen(&display), (1600, 900));
        // Whoever does it time and again has the last word.
        for _ in 0..20 {
            others("800x600@50Hz");
            assert!(!display.restore().unwrap());
        }
        assert_eq!(phoc.output("HEADLESS-1").1, [800, 600, 50_000]);
        drop(phoc);
        eventually("the end is noticed", || display.restore().is_err().then_some(()));
        drop(display);
        machine.assert_clean();
        assert_eq!(journal.entries(), []);
    });
}

#[test]
fn an_output_that_a_hung_desktop_did_not_take_back_is_lent_to_the_next_session() {
    const NAME: &str =
        "phoc::an_output_that_a_hung_desktop_did_not_take_back_is_lent_to_the_next_session";
    as_user(NAME, || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let phoc = Desktop::phoc(&machine, 1);
        let before = phoc.outputs();
        let displays = machine.displays();
        let open = |session, mode| displays.open(machine.wanted(Kind::Virtual, session, mode));
        drop(open(1, FAST).unwrap());

        kill("STOP", phoc.child.id());
        displays.close(1);
        let hung = open(2, ODD).err().unwrap().to_string();
        kill("CONT", phoc.child.id());
        let left_count = displays.change_count();
        let lent = open(3, ODD).unwrap();

        assert!(hung.contains("no answer of the compositor within 2 s"), "{hung}");
        assert_eq!(left_count, 1);
        assert_eq!((lent.wayland().1.as_str(), seen(&lent)), ("HEADLESS-1", (1366, 768)));
        drop(lent);
        displays.close(3);
        assert_eq!((displays.change_count(), phoc.outputs()), (0, before));
        machine.assert_clean();
    });
}

#[test]
fn a_mirror_of_it_is_left_as_it_is() {
    as_user("phoc::a_mirror_of_it_is_left_as_it_is", || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let phoc = Desktop::phoc(&machine, 1);
        let before = phoc.outputs();
        let (surroundings, journal) = (machine.surroundings(), machine.journal());
        let open = |name: &str| {
            let wanted = machine.wanted(Kind::Mirror(name.into()), 1, FAST);
            Display::open(&wanted, &surroundings, &journal)
        };

        let mut mirror = open("HEADLESS-1").unwrap();
        mirror.set_mode(FAST).unwrap();
        let error = open("DP-1").err().unwrap().to_string();

        assert_eq!(numbers(mirror.mode()), before[0].1);
        assert!(mirror.why().starts_with("mirror, HEADLESS-1 of phoc ("), "{}", mirror.why());
        assert!(error.ends_with("no output DP-1, there are: HEADLESS-1"), "{error}");
        assert_eq!(journal.entries(), []);
        drop(mirror);
        assert_eq!(phoc.outputs(), before);
    });
}

#[test]
fn the_compositor_is_the_one_that_the_administrator_names() {
    as_user("phoc::the_compositor_is_the_one_that_the_administrator_names", || {
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let (surroundings, journal) = (machine.surroundings(), machine.journal());
        let why = |compositor| {
            let wanted = Wanted { compositor, ..machine.wanted(Kind::Virtual, 1, HD) };
            let opened = Display::open(&wanted, &surroundings, &journal);
            opened.map_or_else(|error| error.to_string(), |display| display.why())
        };
        let place = folder.path().join("xdg");
        let no_other = format!("no other compositor of wlroots in {}", place.display());

        // One whose outputs nobody can set is none.
        let cage = Desktop::start(&machine, &["cage", "--", "sleep", "1000"], 1);
        let lacks = format!(
            "{no_other}, cage ({}): compositor without zwlr_output_manager_v1",
            cage.child.id()
        );
        assert_eq!(why(Compositor::Wlroots), lacks);
        assert_eq!(why(Compositor::Auto), lacks);
        drop(cage);
        let _sway = Sway::start(&machine);
        assert_eq!(why(Compositor::Wlroots), no_other);
        let _phoc = Desktop::phoc(&machine, 1);
        for (compositor, expected) in [
            (Compositor::Auto, "virtual, HEADLESS-2 of sway 1."),
            (Compositor::Sway, "virtual, HEADLESS-2 of sway 1."),
            (Compositor::Wlroots, "virtual, HEADLESS-1 of phoc ("),
        ] {
            let why = why(compositor);
            assert!(why.starts_with(expected), "{why}");
            let says = compositor != Compositor::Auto;
            assert_eq!(why.contains(", as Compositor says,"), says, "{why}");
        }
    });
}

#[test]
fn what_a_killed_daemon_has_changed_is_as_before_at_the_next_start() {
    const NAME: &str = "phoc::what_a_killed_daemon_has_changed_is_as_before_at_the_next_start";
    as_user(NAME, || {
        if let Some(path) = std::env::var_os(HOLD) {
            hold(Path::new(&path));
        }
        let folder = Folder::new();
        let machine = Machine::new(folder.path());
        let phoc = Desktop::phoc(&machine, 2);
        let before = phoc.outputs();
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
        assert_eq!(phoc.output("HEADLESS-1").1, numbers(FAST));

        daemon.kill().unwrap();
        daemon.wait().unwrap();
        assert_eq!(phoc.output("HEADLESS-1").1, numbers(FAST));
        let undone = machine.journal().restore();

        assert!(undone.contains(&"output HEADLESS-1 as it was".to_owned()), "{undone:?}");
        assert_eq!(phoc.outputs(), before);
        assert_eq!(machine.journal().entries(), []);
        assert_eq!(machine.journal().restore(), [] as [String; 0]);
    });
}

/// A daemon with a display that is killed.
fn hold(path: &Path) -> ! {
    let machine = Machine::new(path);
    let (surroundings, journal) = (machine.surroundings(), machine.journal());
    let wanted = machine.wanted(Kind::Virtual, 1, FAST);
    let _display = Display::open(&wanted, &surroundings, &journal).unwrap();
    println!("open");
    loop {
        std::thread::park();
    }
}

/// What listens at a Wayland socket and says nothing, or nonsense, is passed over in time.
#[test]
fn a_socket_that_says_nothing_or_nonsense_is_no_desktop() {
    use std::os::unix::net::UnixListener;
    let folder = Folder::new();
    let machine = Machine::new(folder.path());
    let at = |name: &str| UnixListener::bind(machine.path.join("xdg").join(name)).unwrap();
    let (_silent, nonsense) = (at("wayland-0"), at("wayland-1"));
    let speaks = std::thread::spawn(move || {
        for stream in nonsense.incoming().take(4) {
            let _ = stream.unwrap().write_all(&[0xff; 4096]);
        }
    });
    let wanted = machine.wanted(Kind::Virtual, 1, HD);

    let opened = Display::open(&wanted, &machine.surroundings(), &machine.journal());

    let error = opened.err().unwrap().to_string();
    assert!(error.contains("no answer of the compositor within 2 s"), "{error}");
    assert!(error.contains("compositor lost: "), "{error}");
    drop(speaks);
}
