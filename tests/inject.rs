//! Input of clients at a real compositor, as programs of its desktop see it.

#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/code.rs"]
mod code;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/grants.rs"]
mod grants;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/inject/mod.rs"]
mod inject;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/ipc.rs"]
mod ipc;
mod support;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/turn.rs"]
mod turn;

use std::fs::{self, File};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grants::Grants;
use inject::Injector;
use inject::devices::{Devices as Either, Way};
use inject::surface::Surface;
use inject::uinput::{self, Terms};
use inject::wayland::{Devices, Error, Place};
use punktfunk_core::net::clock;
use punktfunk_core::proto::input::{
    Abilities, Area, Arrival, Buttons, Contact, Fraction, Gamepad, GamepadEvent, GamepadIndex,
    GamepadKind, GamepadState, Input, Key, KeyEvent, Modifiers, Pen, PenButtons, Phase, Point,
    Pointer, PointerButton, Reach, Text, Tool, Touch, Wheel,
};
use support::{Folder, PATIENCE, command, eventually, machine, output, tool};

/// Of the output, in pixels.
const WIDTH: u16 = 1280;
const HEIGHT: u16 = 720;

const CONF: &str = "output * mode 1280x720@60Hz\ndefault_border none\nfocus_follows_mouse no\n\
                    bindsym Mod4+k exec touch bound\n";

/// A running sway without a screen, and the programs that were started in it.
struct Desktop {
    folder: Folder,
    sway: Child,
    programs: Vec<Child>,
}

impl Desktop {
    fn start() -> Desktop {
        Desktop::start_on(&[("WLR_BACKENDS", "headless"), ("WLR_LIBINPUT_NO_DEVICES", "1")], CONF)
    }

    /// One on the screen of this machine, with the devices of this machine, which nobody else may
    /// use.
    fn start_on_card() -> Desktop {
        let variables = [
            // On a card alone, sway 1.7 makes no outputs.
            ("WLR_BACKENDS", "drm,libinput,headless"),
            ("WLR_HEADLESS_OUTPUTS", "0"),
            ("LIBSEAT_BACKEND", "seatd"),
            ("SYSTEMD_IGNORE_CHROOT", "1"),
        ];
        Desktop::start_on(&variables, "default_border none\nfocus_follows_mouse no\n")
    }

    fn start_on(variables: &[(&str, &str)], conf: &str) -> Desktop {
        let folder = Folder::new();
        let runtime = folder.folder("run", 0o700);
        let conf = folder.file("sway.conf", conf, 0o644);
        let log = File::create(folder.path().join("sway.log")).unwrap();
        let sway = command(path_of("sway"))
            .arg("-c")
            .arg(conf)
            .current_dir(folder.path())
            .env("XDG_RUNTIME_DIR", &runtime)
            .env("WLR_RENDERER", "pixman")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let desktop = Desktop { folder, sway, programs: Vec::new() };
        // Its socket for window managers comes after that for programs.
        eventually("sway", || {
            desktop.sockets().any(|name| name.starts_with("sway-ipc")).then_some(())
        });
        desktop
    }

    fn sockets(&self) -> impl Iterator<Item = String> {
        let entries = fs::read_dir(self.folder.path().join("run")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/wayland-1")
    }

    /// Starts a program in it, whose output goes to a file.
    fn run(&mut self, words: &[&str], output: &str) -> PathBuf {
        let path = self.folder.path().join(output);
        let file = File::create(&path).unwrap();
        let child = command(path_of(words[0]))
            .args(&words[1..])
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("LC_ALL", "C.UTF-8")
            .env("XDG_RUNTIME_DIR", self.folder.path().join("run"))
            .env("WAYLAND_DISPLAY", "wayland-1")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        self.programs.push(child);
        path
    }

    /// What sway answers to a message.
    fn say(&self, words: &[&str]) -> String {
        let is_it = |name: &String| name.starts_with("sway-ipc");
        let name = self.sockets().find(is_it).expect("sway has started");
        let socket = self.folder.path().join("run").join(name);
        let output = output(command(path_of("swaymsg")).arg("-rs").arg(socket).args(words));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A wev on the whole output that has the focus of a keyboard that is there.
    fn wev(&mut self) -> Wev {
        let wev = Wev { path: self.run(&["stdbuf", "-oL", "wev"], "wev.log"), seen: 0.into() };
        wev.wait("wl_keyboard] enter");
        wev
    }

    /// A terminal that keeps what is typed in it, and where the pointer is seen if it says so.
    fn terminal(&mut self, name: &str) -> Typed {
        let path = self.folder.path().join(format!("typed-{name}"));
        let script = format!(
            "stty raw -echo; printf '\\033[?1003h\\033[?1006h'; exec cat > {}",
            path.display()
        );
        self.run(&["foot", "-a", name, "sh", "-c", &script], "foot.log");
        eventually("foot", || {
            let tree = self.say(&["-t", "get_tree"]);
            (path.exists() && tree.contains(&format!("\"app_id\": \"{name}\""))).then_some(())
        });
        Typed { path, passed: 0.into() }
    }

    fn open(&self) -> Injector {
        self.open_at("HEADLESS-1", None)
    }

    fn place(&self, output: &str, seat: Option<&str>) -> Place {
        Place {
            socket: self.socket(),
            output: output.into(),
            seat: seat.map(Into::into),
            ipc: None,
        }
    }

    /// A client that may do everything, with devices there.
    fn open_at(&self, output: &str, seat: Option<&str>) -> Injector {
        let devices = Devices::open(&self.place(output, seat)).unwrap();
        let grants = Grants::parse(["keyboard", "mouse", "touch", "pen", "view"]).unwrap();
        let mut injector = Injector::new(grants, Terms { count_max: 4, ..Terms::default() });
        injector.attach(Either::Compositor(Box::new(devices), None));
        injector
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for child in self.programs.iter_mut().chain([&mut self.sway]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What wev tells of events.
struct Wev {
    path: PathBuf,
    /// Bytes that were looked at.
    seen: std::cell::Cell<usize>,
}

impl Wev {
    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    /// Waits until these parts of lines came, in this order, after what was waited for before.
    #[track_caller]
    fn wait_all(&self, parts: &[&str]) {
        for part in parts {
            self.wait(part);
        }
    }

    #[track_caller]
    fn wait(&self, part: &str) {
        let end = clock::now() + PATIENCE;
        loop {
            let text = self.text();
            let text = squeezed(&text);
            let seen = self.seen.get();
            if let Some(at) = text[seen..].find(part) {
                self.seen.set(seen + at + part.len());
                return;
            }
            assert!(clock::now() < end, "no {part:?} in\n{}", &text[seen..]);
            clock::sleep_until(clock::now() + Duration::from_millis(10));
        }
    }
}

/// What a terminal has got.
struct Typed {
    path: PathBuf,
    /// Characters that do not count.
    passed: std::cell::Cell<usize>,
}

impl Typed {
    /// What was typed, and what is told of the pointer.
    fn read(&self) -> (String, Vec<String>) {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let (mut keys, mut pointers) = (String::new(), Vec::new());
        for (index, part) in text.split("\u{1b}[<").enumerate() {
            let end =
                if index == 0 { 0 } else { part.find(['M', 'm']).map_or(part.len(), |at| at + 1) };
            keys.push_str(&part[end..]);
            pointers.extend((end > 0).then(|| part[..end].to_owned()));
        }
        (keys.chars().skip(self.passed.get()).collect(), pointers)
    }

    fn keys(&self) -> String {
        self.read().0
    }

    fn pointers(&self) -> Vec<String> {
        self.read().1
    }

    /// What came so far does not count, once there is no more of it.
    fn settle(&self) {
        let mut seen = self.keys();
        loop {
            clock::sleep_until(clock::now() + Duration::from_millis(200));
            let now = self.keys();
            if now == seen {
                break;
            }
            seen = now;
        }
        self.passed.set(self.passed.get() + seen.chars().count());
    }

    /// Waits until this was typed and nothing else.
    #[track_caller]
    fn wait(&self, expected: &str) {
        let end = clock::now() + PATIENCE;
        while self.keys() != expected {
            assert!(clock::now() < end, "{:?} instead of {expected:?}", self.keys());
            clock::sleep_until(clock::now() + Duration::from_millis(10));
        }
    }

    /// Waits until this is told of the pointer.
    #[track_caller]
    fn wait_pointer(&self, expected: &str) {
        let end = clock::now() + PATIENCE;
        while !self.pointers().iter().any(|it| it == expected) {
            assert!(clock::now() < end, "{expected} not in {:?}", self.pointers());
            clock::sleep_until(clock::now() + Duration::from_millis(10));
        }
    }
}

/// Runs of spaces as one.
fn squeezed(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.map(|line| line + "\n").collect()
}

#[track_caller]
fn path_of(name: &str) -> PathBuf {
    PathBuf::from(tool(name).get_program())
}

fn key_event(key: u16, is_down: bool, modifiers: u8) -> Input {
    let modifiers = Modifiers::from_bits(modifiers);
    Input::Key(KeyEvent { key: Key(key), is_down, modifiers })
}

fn press(injector: &mut Injector, key: u16, modifiers: u8) {
    injector.handle(&key_event(key, true, modifiers));
    injector.handle(&key_event(key, false, modifiers));
}

fn text(text: &str) -> Input {
    Input::Text(Text::new(text).unwrap())
}

fn place(x: u16, y: u16) -> Input {
    place_on((x, y), (WIDTH, HEIGHT))
}

/// The same on an output of that size.
fn place_on((x, y): (u16, u16), (width, height): (u16, u16)) -> Input {
    let side = |side| NonZeroU16::new(side).unwrap();
    let share =
        |part: u16, whole: u16| Fraction::clamped(f32::from(part) / f32::from(whole)).unwrap();
    Input::Pointer(Pointer::MoveTo {
        at: Point { x: share(x, width), y: share(y, height) },
        area: Area { width: side(width - 1), height: side(height - 1) },
    })
}

fn share(value: f32) -> Fraction {
    Fraction::clamped(value).unwrap()
}

fn touch(pointer: u32, phase: Phase, x: f32, y: f32) -> Input {
    Input::Touch(Touch {
        pointer,
        phase,
        at: Point { x: share(x), y: share(y) },
        reach: Reach::Pressure(None),
        contact: Contact::default(),
        rotation_degrees: None,
    })
}

fn pen(phase: Phase, x: f32, y: f32) -> Input {
    Input::Pen(Pen {
        phase,
        tool: Tool::Pen,
        buttons: PenButtons::default(),
        at: Point { x: share(x), y: share(y) },
        reach: if phase == Phase::Hover {
            Reach::Distance(Some(share(0.5)))
        } else {
            Reach::Pressure(Some(share(0.75)))
        },
        contact: Contact::default(),
        rotation_degrees: None,
        tilt_degrees: None,
    })
}

fn button(button: PointerButton, is_down: bool) -> Input {
    Input::Pointer(Pointer::Button { button, is_down })
}

fn scroll(wheel: Wheel, amount: i16) -> Input {
    Input::Pointer(Pointer::Scroll { wheel, amount })
}

#[test]
fn keys_are_those_of_an_american_keyboard() {
    // Key, modifiers that the client names, what a program sees.
    let table = [
        (30, 0, "a"),
        (30, 1, "A"),
        (3, 1, "at"),
        (13, 1, "plus"),
        (26, 0, "bracketleft"),
        (40, 1, "quotedbl"),
        (43, 1, "bar"),
        (53, 1, "question"),
        (86, 0, "less"),
        (1, 0, "Escape"),
        (14, 0, "BackSpace"),
        (28, 0, "Return"),
        (59, 0, "F1"),
        (88, 0, "F12"),
        (183, 0, "F13"),
        (194, 0, "F24"),
        (103, 0, "Up"),
        (105, 0, "Left"),
        (106, 0, "Right"),
        (108, 0, "Down"),
        (102, 0, "Home"),
        (111, 0, "Delete"),
        (82, 0, "KP_0"),
        (96, 0, "KP_Enter"),
        (98, 0, "KP_Divide"),
        (99, 0, "Print"),
        (125, 0, "Super_L"),
        (127, 0, "Menu"),
        (113, 0, "XF86AudioMute"),
        (124, 0, "yen"),
        (353, 0, "Select"),
    ];
    let mut desktop = Desktop::start();
    let mut injector = desktop.open();
    let wev = desktop.wev();

    for (key, modifiers, symbol) in table {
        press(&mut injector, key, modifiers);

        let (down, up) = (format!("state: 1 (pressed)\nsym: {symbol} ("), "state: 0 (released)");
        wev.wait_all(&[&format!("key: {}; {down}", key + 8), &format!("key: {}; {up}", key + 8)]);
    }
    // Num Lock is of no concern to bindings.
    injector.handle(&key_event(125, true, 0));
    press(&mut injector, 37, 8);
    injector.handle(&key_event(125, false, 0));
    let bound = desktop.folder.path().join("bound");
    eventually("the binding", || bound.exists().then_some(()));
}

#[test]
fn pointers_move_click_and_scroll_where_the_client_does() {
    use PointerButton::{Extra, Left, Middle, Right, Side};
    let mut desktop = Desktop::start();
    let mut injector = desktop.open();
    let wev = desktop.wev();

    injector.handle(&place(100, 200));
    wev.wait("x, y: 100.000000, 200.000000");
    injector.handle(&Input::Pointer(Pointer::MoveBy { dx: 5, dy: -7 }));
    wev.wait("x, y: 105.000000, 193.000000");
    for (which, code) in [(Left, 272), (Right, 273), (Middle, 274), (Side, 275), (Extra, 276)] {
        injector.handle(&button(which, true));
        injector.handle(&button(which, false));
        wev.wait_all(&[&format!("button: {code} "), "state: 1 (pressed)", "state: 0 (released)"]);
    }
    for (wheel, amount, axis, discrete) in [
        (Wheel::Vertical, 120, "axis: 0 (vertical), value: -15.000000", Some(-1)),
        (Wheel::Vertical, -240, "axis: 0 (vertical), value: 30.000000", Some(2)),
        (Wheel::Horizontal, 120, "axis: 1 (horizontal), value: 15.000000", Some(1)),
        (Wheel::Horizontal, 60, "axis: 1 (horizontal), value: 7.500000", None),
        (Wheel::Horizontal, 60, "axis: 1 (horizontal), value: 7.500000", Some(1)),
    ] {
        injector.handle(&scroll(wheel, amount));
        if let Some(count) = discrete {
            wev.wait(&format!("discrete: {count}"));
        }
        wev.wait(axis);
    }
    assert_eq!(wev.text().matches("axis: 0 (vertical), value").count(), 2, "{}", wev.text());
}

#[test]
fn places_on_an_output_that_is_turned_are_those_of_its_upright_picture() {
    let mut desktop = Desktop::start();
    let mut devices = Devices::open(&desktop.place("HEADLESS-1", None)).unwrap();
    let wev = desktop.wev();
    // The sides change with each, so that it is seen when sway has turned the output.
    let turns =
        ["90", "180", "270", "flipped", "flipped-90", "flipped-180", "flipped-270", "normal"];
    for (index, turn) in (1..).zip(turns) {
        let is_on_its_side = turn.ends_with("90") || turn.ends_with("270");
        let (width, height) = if is_on_its_side { (HEIGHT, WIDTH) } else { (WIDTH, HEIGHT) };
        let (x, y) = (100 + 8 * index, 200 + 8 * index);

        desktop.say(&["output", "HEADLESS-1", "transform", turn]);
        wev.wait(&format!("width: {width}; height: {height}"));

        let seen = wev.seen.get();
        eventually(turn, || {
            devices.handle_ready();
            devices.handle(&place_on((x, y), (width, height)));
            clock::sleep_until(clock::now() + Duration::from_millis(20));
            let text = squeezed(&wev.text());
            text[seen..].contains(&format!("x, y: {x}.000000, {y}.000000")).then_some(())
        });
    }
}

#[test]
fn in_a_machine_with_a_screen_devices_of_the_kernel_reach_programs() {
    machine::run_ignored();
}

#[test]
#[ignore = "for the machine of its own: it makes devices"]
fn devices_of_the_kernel_are_taken_for_real_ones() {
    // Who reads devices hears of new ones from it.
    let udev = Command::new("/usr/lib/systemd/systemd-udevd")
        .arg("--daemon")
        .env("SYSTEMD_IGNORE_CHROOT", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(udev.is_ok_and(|status| status.success()), "no udevd: run scripts/setup test");
    let nowhere = Place { socket: "/".into(), output: String::new(), seat: None, ipc: None };
    let grants = Grants::parse(["keyboard", "mouse", "touch", "pen", "view"]).unwrap();
    let mut injector = Injector::new(grants, Terms::default());
    injector.attach(Either::open(&nowhere, Way::Uinput).unwrap());
    let settled = Command::new("udevadm").arg("settle").env("SYSTEMD_IGNORE_CHROOT", "1").status();
    assert!(settled.is_ok_and(|status| status.success()));
    let mut desktop = Desktop::start_on_card();
    eventually("sway has the devices", || {
        let inputs = desktop.say(&["-t", "get_inputs"]);
        let names = ["keyboard", "mouse", "tablet", "touch ", "pen "];
        let names = names.map(|name| format!("punktfunk {name}"));
        names.iter().all(|name| inputs.contains(name)).then_some(())
    });
    let wev = desktop.wev();

    press(&mut injector, 30, 0);
    wev.wait_all(&["key: 38; state: 1", "key: 38; state: 0"]);
    injector.handle(&text("zB"));
    wev.wait_all(&["utf8: 'z'", "utf8: 'B'"]);
    // In the middle of the screen, which has 1280 by 800 pixels.
    injector.handle(&place(WIDTH / 2, HEIGHT / 2));
    wev.wait("x, y: 640.000000, 400.000000");
    injector.handle(&Input::Pointer(Pointer::MoveBy { dx: 5, dy: -7 }));
    wev.wait("wl_pointer] motion");
    injector.handle(&button(PointerButton::Left, true));
    injector.handle(&button(PointerButton::Left, false));
    wev.wait_all(&["button: 272 ", "state: 1 (pressed)", "state: 0 (released)"]);
    injector.handle(&scroll(Wheel::Vertical, 120));
    wev.wait("axis: 0 (vertical), value: -15.000000");
    injector.handle(&scroll(Wheel::Horizontal, -120));
    wev.wait("axis: 1 (horizontal), value: -15.000000");
    injector.handle(&touch(7, Phase::Down, 0.5, 0.5));
    wev.wait_all(&["wl_touch] down", "id: 0", "x, y: 640.0", ", 400.0"]);
    injector.handle(&touch(9, Phase::Down, 0.25, 0.75));
    wev.wait_all(&["wl_touch] down", "id: 1", "x, y: 320.0", ", 599.9"]);
    injector.handle(&touch(7, Phase::Move, 0.75, 0.5));
    wev.wait_all(&["wl_touch] motion", "id: 0", "x, y: 959.9", ", 400.0"]);
    injector.handle(&touch(9, Phase::Up, 0.25, 0.75));
    wev.wait_all(&["wl_touch] up", "id: 1"]);
    // wev knows no pens: sway makes a pointer of it, at the same place.
    injector.handle(&pen(Phase::Hover, 0.25, 0.25));
    wev.wait_all(&["x, y: 320.0", ", 200.0"]);
    injector.handle(&pen(Phase::Down, 0.25, 0.25));
    wev.wait_all(&["wl_pointer] button", "button: 272 ", "state: 1 (pressed)"]);
    injector.handle(&key_event(31, true, 0));
    wev.wait("key: 39; state: 1");
    let before = squeezed(&wev.text()).len();

    drop(injector);

    wev.wait("key: 39; state: 0");
    eventually("no finger is down, and no pen", || {
        let text = squeezed(&wev.text());
        let after = &text[before..];
        (after.contains("wl_touch] up") && after.contains("state: 0 (released)")).then_some(())
    });
    fingers_belong_to_the_output_of_the_session(&mut desktop);
}

/// Where sway reads devices of the kernel, fingers of a session are on its own output.
fn fingers_belong_to_the_output_of_the_session(desktop: &mut Desktop) {
    desktop.say(&["create_output"]);
    let name = eventually("an output without a screen", || {
        let outputs = desktop.say(&["-t", "get_outputs"]);
        let number = outputs.split_once("\"HEADLESS-")?.1.split_once('"')?.0.to_owned();
        Some(format!("HEADLESS-{number}"))
    });
    // It stands: what is seen of it has 900 by 1600 pixels.
    desktop.say(&["output", &name, "mode", "1600x900@60Hz", "transform", "90"]);
    desktop.say(&["focus", "output", &name]);
    let socket = desktop.sockets().find(|name| name.starts_with("sway-ipc")).unwrap();
    let ipc = desktop.folder.path().join("run").join(socket);
    let place = desktop.place(&name, None);
    let mut surface = Surface::open().unwrap();
    // This machine is slow: sway may take longer than it is waited for.
    eventually("sway takes the devices in", || {
        surface.map(&ipc, &name).is_ok_and(|is_mapped| is_mapped).then_some(())
    });
    let devices = Box::new(Devices::open(&place).unwrap());
    let devices = Either::Compositor(devices, Some(Box::new(surface)));
    assert_eq!(devices.name(), "the compositor, touch and pen by uinput");
    let grants = Grants::parse(["touch", "pen", "view"]).unwrap();
    let mut injector = Injector::new(grants, Terms::default());
    injector.attach(devices);
    let wev = desktop.wev();

    // sway makes nothing of the first finger on a window that no pointer was in.
    eventually("a finger is where the client sees the place", || {
        injector.handle(&touch(7, Phase::Down, 0.75, 0.25));
        clock::sleep_until(clock::now() + Duration::from_millis(500));
        injector.handle(&touch(7, Phase::Up, 0.75, 0.25));
        let text = squeezed(&wev.text());
        let down = text.lines().filter(|line| line.contains("wl_touch] down"));
        let mut places = down.filter_map(|line| Some(line.split_once("x, y: ")?.1));
        places.any(|place| place.starts_with("674.9") && place.contains(", 400.0")).then_some(())
    });
    injector.handle(&pen(Phase::Hover, 0.25, 0.25));
    wev.wait_all(&["x, y: 225.0", ", 400.0"]);
    injector.attach(Either::open(&place, Way::Compositor).unwrap());
    // Without them it is the first finger that is a pointer.
    injector.handle(&touch(1, Phase::Down, 0.5, 0.5));
    wev.wait_all(&["wl_pointer] button", "button: 272 ", "state: 1 (pressed)"]);
}

#[test]
fn gamepads_that_cannot_be_made_are_refused_on_a_desktop() {
    let desktop = Desktop::start();
    let devices = Devices::open(&desktop.place("HEADLESS-1", None)).unwrap();
    let grants = Grants::parse(["gamepad", "keyboard", "view"]).unwrap();
    let mut injector = Injector::new(grants, Terms { count_max: 4, ..Terms::default() });
    injector.attach(Either::Compositor(Box::new(devices), None));
    let index = GamepadIndex::new(0).unwrap();
    let gamepad = |event| Input::Gamepad(Gamepad { index, event });
    let kind = GamepadKind::Unknown;
    let arrival = Arrival { kind, abilities: Abilities::default(), buttons: Buttons::ALL };
    injector.handle(&gamepad(GamepadEvent::Arrived(arrival)));

    injector.attach_gamepad(index, Err(uinput::Error::Missing));
    injector.handle(&gamepad(GamepadEvent::State(GamepadState::default())));
    injector.handle(&key_event(30, true, 0));

    let came: Vec<_> = injector.counts().filter(|(_, count)| *count > 0).collect();
    assert_eq!(came, [("gamepad_arrived", 1), ("key_down", 1)]);
    assert_eq!(injector.refused_count(), 1);
    injector.drop_lost();
    assert!(injector.devices().is_some(), "they are there as long as their desktop is");
}

#[test]
fn texts_arrive_whatever_they_are_made_of() {
    let mut desktop = Desktop::start();
    let mut injector = desktop.open();
    desktop.run(
        &["foot", "sh", "-c", "touch ready; read x; echo \"$x\" > typed; sleep 60"],
        "foot.log",
    );
    let path = |name: &str| desktop.folder.path().join(name);
    eventually("foot", || {
        let tree = desktop.say(&["-t", "get_tree"]);
        (path("ready").exists() && tree.contains("\"app_id\": \"foot\"")).then_some(())
    });

    press(&mut injector, 35, 1);
    press(&mut injector, 23, 0);
    injector.handle(&text(" \u{e4}\u{df}\u{20ac}\u{65e5} ~{|}\\\\ "));
    injector.handle(&text("\u{e4}Z\u{1f600}\u{43f}\u{e4}"));
    press(&mut injector, 28, 0);

    let typed = eventually("the text", || {
        fs::read_to_string(path("typed")).ok().filter(|typed| typed.ends_with('\n'))
    });
    assert_eq!(typed, "Hi \u{e4}\u{df}\u{20ac}\u{65e5} ~{|}\\ \u{e4}Z\u{1f600}\u{43f}\u{e4}\n");
}

#[test]
fn nothing_stays_down() {
    let mut desktop = Desktop::start();
    let mut injector = desktop.open();
    let wev = desktop.wev();
    injector.handle(&place(100, 200));
    for key in [29, 42, 30] {
        injector.handle(&key_event(key, true, 0));
    }
    injector.handle(&button(PointerButton::Right, true));
    wev.wait("button: 273 ");

    injector.release_all();

    wev.wait_all(&["button: 273 ", "state: 0 (released)"]);
    wev.wait_all(&["key: 38; state: 0", "key: 37; state: 0", "key: 50; state: 0"]);
    wev.wait("depressed: 00000000");
    press(&mut injector, 31, 0);
    wev.wait("sym: s (");
}

#[test]
fn nothing_stays_down_when_the_host_goes_without_a_word() {
    let mut desktop = Desktop::start();
    let mut injector = desktop.open();
    let wev = desktop.wev();
    injector.handle(&place(100, 200));
    for key in [42, 30] {
        injector.handle(&key_event(key, true, 0));
    }
    injector.handle(&button(PointerButton::Right, true));
    wev.wait("key: 38; state: 1");

    // SAFETY: shutdown(2) takes a descriptor, which is open.
    unsafe { libc::shutdown(injector.devices().unwrap().fd().unwrap(), libc::SHUT_RDWR) };

    // The compositor lets go of keys, and takes the pointer from the program with its buttons.
    wev.wait_all(&["button: 273 ", "wl_pointer] leave"]);
    wev.wait_all(&["key: 38; state: 0", "key: 50; state: 0"]);
}

/// A client that is given each event of its compositor in its time, as the daemon does it.
struct Client(Arc<Mutex<Injector>>, Arc<AtomicBool>);

impl Client {
    fn new(injector: Injector) -> Client {
        let (shared, is_over) = (Arc::new(Mutex::new(injector)), Arc::default());
        let client = Client(Arc::clone(&shared), Arc::clone(&is_over));
        let turn = move || {
            while !is_over.load(Ordering::Relaxed) {
                if let Some(devices) = shared.lock().unwrap().devices() {
                    devices.handle_ready();
                    let now = clock::now();
                    if devices.poll_timeout().is_some_and(|at| at <= now) {
                        devices.handle_timeout(now);
                    }
                }
                clock::sleep_until(clock::now() + Duration::from_millis(1));
            }
        };
        std::thread::Builder::new().spawn(turn).unwrap();
        client
    }

    fn handle(&self, input: &Input) {
        self.0.lock().unwrap().handle(input);
    }

    fn type_text(&self, typed: &str) {
        self.handle(&text(typed));
    }

    /// Types until it arrives there: a program needs a moment for a seat with its first keyboard.
    #[track_caller]
    fn reach(&self, terminal: &Typed) {
        eventually("something typed arrives", || {
            self.type_text(".");
            terminal.keys().ends_with('.').then_some(())
        });
        terminal.settle();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

#[test]
fn two_clients_type_and_point_each_on_their_own_output() {
    let mut desktop = Desktop::start();
    let places = [("HEADLESS-2", "pf1"), ("HEADLESS-3", "pf2")];
    // Any word of seats takes virtual devices from theirs, so all words come first.
    for (output, seat) in places {
        desktop.say(&["create_output"]);
        desktop.say(&["seat", seat, "attach", seat]);
        desktop.say(&["assign", &format!("[app_id={seat}]"), "output", output]);
    }
    let clients = places.map(|(output, seat)| Client::new(desktop.open_at(output, Some(seat))));
    let terminals = places.map(|(_, seat)| desktop.terminal(seat));

    for (client, terminal) in clients.iter().zip(&terminals) {
        client.reach(terminal);
    }
    for (one, other) in [('a', 'b'), ('\u{e4}', '\u{df}'), ('c', 'd'), ('e', 'f')] {
        clients[0].type_text(&one.to_string());
        clients[1].type_text(&other.to_string());
    }

    terminals[0].wait("a\u{e4}ce");
    terminals[1].wait("b\u{df}df");
    for (client, [own, other]) in clients.iter().zip([[0, 1], [1, 0]]) {
        let before = terminals[other].pointers();
        client.handle(&place(320, 180));
        client.handle(&button(PointerButton::Left, true));
        client.handle(&button(PointerButton::Left, false));
        // Cells are 7 pixels wide and 14 high, and counted from 1.
        for expected in ["0;46;13M", "0;46;13m"] {
            terminals[own].wait_pointer(expected);
        }
        assert_eq!(terminals[other].pointers(), before);
    }
}

#[test]
fn a_new_window_has_the_keyboard_of_its_own_output_alone() {
    let mut desktop = Desktop::start();
    desktop.say(&["create_output"]);
    let places = [("HEADLESS-1", "pf0"), ("HEADLESS-2", "pf1")];
    for (_, seat) in places {
        desktop.say(&["seat", seat, "attach", seat]);
    }
    let clients = places.map(|(output, seat)| Client::new(desktop.open_at(output, Some(seat))));
    desktop.say(&["focus", "output", "HEADLESS-1"]);
    let one = desktop.terminal("one");
    clients[0].reach(&one);

    // Where seat0 is, sway gives a new window the keyboards of all seats.
    desktop.say(&["focus", "output", "HEADLESS-2"]);
    let two = desktop.terminal("two");
    clients[1].reach(&two);
    clients[0].type_text("one");
    clients[1].type_text("two");

    one.wait("one");
    two.wait("two");
    // Where it is not, sway gives a new window no keyboard.
    desktop.say(&["focus", "output", "HEADLESS-1"]);
    desktop.say(&["assign", "[app_id=three]", "output", "HEADLESS-2"]);
    let three = desktop.terminal("three");
    clients[1].reach(&three);
    clients[0].type_text("+");
    clients[1].type_text("three");

    one.wait("one+");
    three.wait("three");
    // Until the third was there, it was the second that had the keyboard.
    assert_eq!(two.keys().trim_end_matches('.'), "two");
}

#[test]
fn devices_that_are_taken_from_their_seat_are_lost_and_those_of_the_first_seat_stay() {
    let mut desktop = Desktop::start();
    desktop.say(&["seat", "seat0", "fallback", "true"]);
    desktop.say(&["seat", "pf0", "attach", "pf0"]);
    let (mut user, mut client) = (desktop.open(), desktop.open_at("HEADLESS-1", Some("pf0")));
    let terminal = desktop.terminal("terminal");
    let wait_lost = |client: &mut Injector| {
        eventually("the loss is noticed", || {
            let devices = client.devices().unwrap();
            devices.handle_ready();
            devices.is_lost().then_some(())
        });
        client.handle(&key_event(45, true, 0));
        assert!(client.drop_lost());
    };
    for key in [30, 31] {
        press(&mut user, key, 0);
        press(&mut client, key, 1);
        terminal.wait(if key == 30 { "aA" } else { "aAsS" });
    }

    desktop.say(&["seat", "pf1", "attach", "pf1"]);

    wait_lost(&mut client);
    let devices = Devices::open(&desktop.place("HEADLESS-1", Some("pf0"))).unwrap();
    client.attach(Either::Compositor(Box::new(devices), None));
    press(&mut user, 32, 0);
    terminal.wait("aAsSd");
    press(&mut client, 32, 1);
    terminal.wait("aAsSdD");

    // With a reload, sway removes seats that are not in its configuration, which the terminal does
    // not survive.
    desktop.say(&["reload"]);

    wait_lost(&mut client);
    let error = Devices::open(&desktop.place("HEADLESS-1", Some("pf0"))).unwrap_err();
    assert_eq!(error.to_string(), "no seat \"pf0\"");
    let devices = user.devices().unwrap();
    devices.handle_ready();
    assert!(!devices.is_lost());
}

#[test]
fn a_compositor_that_reads_nothing_costs_motion_alone() {
    let mut desktop = Desktop::start();
    let mut injector = desktop.open();
    let wev = desktop.wev();
    let signal = |desktop: &Desktop, name: &str| {
        let pid = desktop.sway.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    };

    signal(&desktop, "STOP");
    for step in 0..5_000 {
        injector.handle(&Input::Pointer(Pointer::MoveBy { dx: step % 2, dy: 1 }));
    }
    injector.handle(&place(1000, 500));
    press(&mut injector, 30, 0);
    let dropped_count = injector.devices().unwrap().dropped_count();
    signal(&desktop, "CONT");

    assert!((1..5_000).contains(&dropped_count), "{dropped_count}");
    eventually("the key", || {
        injector.devices().unwrap().handle_ready();
        squeezed(&wev.text()).contains("key: 38; state: 0").then_some(())
    });
    // The last place counts, though those before it are lost.
    wev.wait("x, y: 1000.000000, 500.000000");
    assert!(!injector.devices().unwrap().is_lost());
}

#[test]
fn a_compositor_that_is_gone_is_noticed() {
    let mut desktop = Desktop::start();
    let mut injector = desktop.open();
    injector.handle(&key_event(30, true, 0));

    desktop.sway.kill().unwrap();
    desktop.sway.wait().unwrap();

    let devices = injector.devices().unwrap();
    devices.handle_ready();
    assert!(devices.is_lost());
    injector.handle(&key_event(30, false, 0));
    injector.release_all();
    let error = Devices::open(&desktop.place("HEADLESS-1", None)).unwrap_err();
    assert!(matches!(error, Error::Connect(_)), "{error}");
}

#[test]
fn devices_are_for_outputs_and_seats_that_there_are() {
    fn is_send<T: Send>(_: &T) {}
    let desktop = Desktop::start();
    let open = |output: &str, seat| {
        Devices::open(&desktop.place(output, seat)).map_err(|it| it.to_string())
    };

    desktop.say(&["seat", "pf1", "attach", "pf1"]);
    let own = open("HEADLESS-1", Some("pf1")).unwrap();
    is_send(&own);
    assert_eq!(open("DP-1", None).unwrap_err(), "no output \"DP-1\"");
    assert_eq!(open("HEADLESS-1", Some("pf2")).unwrap_err(), "no seat \"pf2\"");
    let nowhere = Place { socket: "/nowhere".into(), ..desktop.place("DP-1", None) };
    let error = Devices::open(&nowhere).unwrap_err().to_string();
    assert!(error.starts_with("no connection to the compositor: "), "{error}");
}
