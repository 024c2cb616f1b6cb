//! What runs in the guest: a client's gamepads on one side, programs that read them on the other.

#![allow(clippy::disallowed_methods, reason = "tests run real programs in real time")]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use evdev::{
    AbsoluteAxisCode, Device, EventType, FFEffectData, FFEffectKind, FFEnvelope, FFReplay,
    FFTrigger, FFWaveform, InputEvent, KeyCode,
};
use punktfunk_core::net::clock;
use punktfunk_core::proto::input::{
    self, Abilities, Arrival, Buttons, Contact, Feedback, Fraction, Gamepad, GamepadEvent,
    GamepadIndex, GamepadKind, GamepadState, Input, Motion, PenButtons, Phase, Point, Reach,
    Sensor, Stick, Tool, Touch, Touchpad,
};

use crate::grants::Grants;
use crate::inject::Injector;
use crate::inject::devices::{Devices, Way};
use crate::inject::uinput::{Act, Pad, Terms};
use crate::inject::wayland::Place;
use crate::sdl::{self, Sdl};
use crate::support::device::give_pin;
use crate::support::{Daemon, Folder, eventually};

/// What the administrator of the guest types.
pub const PIN: &str = "1234";
/// The base port that the machine outside forwards to.
const PORT: &str = "PUNKTFUNK_TEST_PORT";
/// Set for the other process of a test, which is killed.
const OTHER: &str = "PUNKTFUNK_TEST_OTHER";

/// One client, and the loop that its gamepads need.
struct Client {
    injector: Injector,
    /// What its gamepads are to do, and when it was told.
    told: Vec<(Instant, u8, Feedback)>,
    /// Those that are to be closed, which others would do now.
    closing: Vec<Pad>,
}

impl Client {
    fn new() -> Client {
        let terms = Terms { count_max: 4, model: None, owner: "0123abcd".into() };
        let grants = Grants::parse(["gamepad", "view"]).unwrap();
        Client { injector: Injector::new(grants, terms), told: Vec::new(), closing: Vec::new() }
    }

    /// Takes an event, and does what follows from it.
    fn handle(&mut self, index: u16, event: GamepadEvent) {
        let index = GamepadIndex::new(index).unwrap();
        self.injector.handle(&Input::Gamepad(Gamepad { index, event }));
        self.turn();
    }

    fn arrive(&mut self, index: u16, kind: GamepadKind) {
        let sensors = Abilities::ACCELEROMETER.with(Abilities::GYROSCOPE);
        let abilities = Abilities::RUMBLE.with(sensors);
        let arrival = Arrival { kind, abilities, buttons: Buttons::ALL };
        self.handle(index, GamepadEvent::Arrived(arrival));
    }

    fn hold(&mut self, index: u16, buttons: Buttons) {
        self.handle(index, GamepadEvent::State(GamepadState { buttons, ..Default::default() }));
    }

    fn turn(&mut self) {
        let now = clock::now();
        self.injector.gamepads().handle_ready(now);
        while let Some(act) = self.injector.gamepads().poll_act() {
            match act {
                Act::Close(pad) => self.closing.push(*pad),
                Act::Open(order) => {
                    let opened = Pad::open(&order).map(Box::new);
                    self.injector.attach_gamepad(order.index, opened);
                }
            }
        }
        while let Some((index, feedback)) = self.injector.gamepads().poll_feedback(now) {
            self.told.push((now, index.value(), feedback));
        }
    }

    /// Turns until a program that runs meanwhile has ended and nothing is due any more.
    fn serve<T: Send>(&mut self, program: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let program = scope.spawn(program);
            while !program.is_finished() || self.injector.poll_timeout().is_some() {
                self.turn();
                clock::sleep_until(clock::now() + Duration::from_millis(1));
            }
            self.turn();
            program.join().unwrap()
        })
    }
}

/// The nodes of a gamepad, by name.
fn nodes(index: u16) -> BTreeMap<String, Device> {
    let phys = format!("punktfunk/0123abcd/{index}");
    let devices = evdev::enumerate().map(|(_, device)| device);
    let its = devices.filter(|device| device.physical_path() == Some(phys.as_str()));
    its.map(|device| (device.name().unwrap().to_owned(), device)).collect()
}

/// The node whose name begins so.
#[track_caller]
fn named(begin: &str) -> Device {
    let mut devices = evdev::enumerate().map(|(_, device)| device);
    let found = devices.find(|it| it.name().is_some_and(|name| name.starts_with(begin)));
    found.unwrap_or_else(|| panic!("no {begin}"))
}

/// The only node of a gamepad.
#[track_caller]
fn node(index: u16) -> Device {
    let mut nodes = nodes(index);
    assert_eq!(nodes.len(), 1, "{:?}", nodes.keys());
    nodes.pop_first().unwrap().1
}

/// All that came at a node and was not read yet, without the ends of packets.
fn read(device: &mut Device) -> Vec<(u16, u16, i32)> {
    device.set_nonblocking(true).unwrap();
    let mut seen = Vec::new();
    while let Ok(events) = device.fetch_events() {
        let plain = |event: InputEvent| (event.event_type().0, event.code(), event.value());
        seen.extend(events.map(plain).filter(|(kind, ..)| *kind != 0));
    }
    seen
}

fn keys(device: &Device) -> Vec<u16> {
    device.supported_keys().map_or(Vec::new(), |keys| keys.iter().map(|key| key.0).collect())
}

/// Code, least, greatest, fuzz, flat and resolution of every axis.
fn axes(device: &Device) -> Vec<[i32; 6]> {
    let Ok(axes) = device.get_absinfo() else {
        return Vec::new();
    };
    let row = |(code, it): (AbsoluteAxisCode, evdev::AbsInfo)| {
        [code.0.into(), it.minimum(), it.maximum(), it.fuzz(), it.flat(), it.resolution()]
    };
    axes.map(row).collect()
}

fn properties(device: &Device) -> Vec<u16> {
    device.properties().iter().map(|property| property.0).collect()
}

fn effects(device: &Device) -> Vec<u16> {
    device.supported_ff().map_or(Vec::new(), |effects| effects.iter().map(|it| it.0).collect())
}

const XBOX_KEYS: &[u16] =
    &[0x130, 0x131, 0x133, 0x134, 0x136, 0x137, 0x13a, 0x13b, 0x13c, 0x13d, 0x13e];
const SWITCH_KEYS: &[u16] = &[
    0x130, 0x131, 0x133, 0x134, 0x135, 0x136, 0x137, 0x138, 0x139, 0x13a, 0x13b, 0x13c, 0x13d,
    0x13e,
];
const SONY_KEYS: &[u16] =
    &[0x130, 0x131, 0x133, 0x134, 0x136, 0x137, 0x138, 0x139, 0x13a, 0x13b, 0x13c, 0x13d, 0x13e];

/// Axes of Xbox controllers, whose triggers go so far.
fn xbox_axes(trigger_max: i32) -> Vec<[i32; 6]> {
    let stick = |code| [code, -32_768, 32_767, 16, 128, 0];
    let trigger = |code| [code, 0, trigger_max, 0, 0, 0];
    let hat = |code| [code, -1, 1, 0, 0, 0];
    vec![stick(0), stick(1), trigger(2), stick(3), stick(4), trigger(5), hat(16), hat(17)]
}

#[test]
#[ignore = "for the guest: it makes devices"]
fn each_kind_is_what_its_driver_would_show() {
    let hat = |code| [code, -1, 1, 0, 0, 0];
    let switch = |code| [code, -32_767, 32_767, 250, 500, 0];
    let byte = |code| [code, 0, 255, 0, 0, 0];
    let switch_axes = vec![switch(0), switch(1), switch(3), switch(4), hat(16), hat(17)];
    let sony_axes = [0, 1, 2, 3, 4, 5].map(byte).into_iter().chain([hat(16), hat(17)]).collect();
    let sony = "Sony Interactive Entertainment Wireless Controller";
    type Row = (GamepadKind, &'static str, [u16; 4], &'static [u16], Vec<[i32; 6]>);
    let table: [Row; 4] = [
        (
            GamepadKind::Unknown,
            "Microsoft X-Box 360 pad",
            [3, 0x045e, 0x028e, 0x0114],
            XBOX_KEYS,
            xbox_axes(255),
        ),
        (
            GamepadKind::Xbox,
            "Microsoft X-Box One S pad",
            [3, 0x045e, 0x02ea, 0x0408],
            XBOX_KEYS,
            xbox_axes(1_023),
        ),
        (
            GamepadKind::Nintendo,
            "Nintendo Switch Pro Controller",
            [3, 0x057e, 0x2009, 0x8111],
            SWITCH_KEYS,
            switch_axes,
        ),
        (GamepadKind::PlayStation, sony, [3, 0x054c, 0x09cc, 0x8111], SONY_KEYS, sony_axes),
    ];
    let mut client = Client::new();
    for (index, (kind, ..)) in (0..).zip(&table) {
        client.arrive(index, *kind);
    }

    for (index, (kind, name, id, its_keys, its_axes)) in (0..).zip(table) {
        let nodes = nodes(index);
        let device = &nodes[name];
        let it = device.input_id();
        assert_eq!([it.bus_type().0, it.vendor(), it.product(), it.version()], id, "{name}");
        assert_eq!(keys(device), its_keys, "{name}");
        assert_eq!(axes(device), its_axes, "{name}");
        assert_eq!(effects(device), [0x50, 0x51, 0x58, 0x59, 0x5a, 0x60], "{name}");
        assert_eq!(device.max_ff_effects(), 16, "{name}");
        assert_eq!(properties(device), [0; 0], "{name}");
        assert_eq!(nodes.len(), if kind == GamepadKind::PlayStation { 3 } else { 1 }, "{name}");
    }
    let nodes = nodes(3);
    let [sensors, touchpad] =
        ["Motion Sensors", "Touchpad"].map(|it| &nodes[&format!("{sony} {it}")]);
    let acceleration = |code| [code, -32_768, 32_768, 16, 0, 8_192];
    let rotation = |code| [code, -2_097_152, 2_097_152, 16, 0, 1_024];
    let sensor_axes =
        [0, 1, 2].map(acceleration).into_iter().chain([3, 4, 5].map(rotation)).collect::<Vec<_>>();
    assert_eq!((axes(sensors), keys(sensors)), (sensor_axes, Vec::new()));
    assert_eq!(properties(sensors), [6]);
    assert!(sensors.misc_properties().unwrap().iter().map(|it| it.0).eq([5]));
    let (x, y) = ([0, 1_919, 0, 0, 0], [0, 941, 0, 0, 0]);
    let axis = |code: i32, rest: [i32; 5]| [code, rest[0], rest[1], rest[2], rest[3], rest[4]];
    let slots = [0x2f, 0, 1, 0, 0, 0];
    let ids = [0x39, 0, 0xffff, 0, 0, 0];
    let touch_axes = [axis(0, x), axis(1, y), slots, axis(0x35, x), axis(0x36, y), ids];
    assert_eq!(axes(touchpad), touch_axes);
    assert_eq!(keys(touchpad), [0x110, 0x145, 0x14a, 0x14d]);
    assert_eq!(properties(touchpad), [0, 2]);
    let rate = |sensor| Feedback::MotionRate { sensor, rate_hz: 100 };
    let told: Vec<_> = client.told.iter().map(|(_, index, feedback)| (*index, *feedback)).collect();
    assert_eq!(told, [(3, rate(Sensor::Accelerometer)), (3, rate(Sensor::Gyroscope))]);
}

#[test]
#[ignore = "for the guest: it makes devices"]
fn what_is_done_at_a_gamepad_arrives() {
    let (key, axis) = (EventType::KEY.0, EventType::ABSOLUTE.0);
    let pressed = [Buttons::SOUTH, Buttons::WEST, Buttons::GUIDE, Buttons::UP, Buttons::RIGHT];
    let bits = pressed.iter().fold(Buttons::TOUCHPAD.bits(), |bits, it| bits | it.bits());
    let state = GamepadState {
        buttons: Buttons::from_bits(bits),
        trigger_left: 255,
        trigger_right: 128,
        stick_left: Stick { x: -32_768, y: 32_767 },
        stick_right: Stick { x: 16_384, y: -16_384 },
    };
    // What a program reads, in the order of the driver's.
    let table = [
        (
            GamepadKind::Unknown,
            vec![(key, 0x130, 1), (key, 0x133, 1), (key, 0x13c, 1)],
            vec![-32_768, -32_767, 255, 16_384, 16_384, 128, 1, -1],
        ),
        (
            GamepadKind::Xbox,
            vec![(key, 0x130, 1), (key, 0x133, 1), (key, 0x13c, 1)],
            vec![-32_768, -32_767, 1_023, 16_384, 16_384, 513, 1, -1],
        ),
        (
            GamepadKind::Nintendo,
            vec![
                (key, 0x130, 1),
                (key, 0x134, 1),
                (key, 0x138, 1),
                (key, 0x139, 1),
                (key, 0x13c, 1),
            ],
            vec![-32_767, -32_767, 16_384, 16_384, 1, -1],
        ),
        (
            GamepadKind::PlayStation,
            vec![
                (key, 0x130, 1),
                (key, 0x134, 1),
                (key, 0x138, 1),
                (key, 0x139, 1),
                (key, 0x13c, 1),
            ],
            vec![0, 0, 255, 192, 192, 128, 1, -1],
        ),
    ];
    for (kind, keys, values) in table {
        let mut client = Client::new();
        client.arrive(0, kind);
        let mut nodes = nodes(0);
        let name = nodes.keys().next().unwrap().clone();
        let device = nodes.get_mut(&name).unwrap();

        client.handle(0, GamepadEvent::State(state));
        let came = read(device);
        client.handle(0, GamepadEvent::State(state));
        let again = read(device);
        client.hold(0, Buttons::default());
        let after = read(device);

        let codes = axes(device).into_iter().map(|row| row[0] as u16);
        let bent = codes.zip(values).map(|(code, value)| (axis, code, value));
        assert_eq!(came, keys.into_iter().chain(bent).collect::<Vec<_>>(), "{kind:?}");
        assert_eq!(again, [], "{kind:?}");
        assert_eq!(after.len(), came.len(), "{kind:?}");
        let rests = |(kind, code, value): &(u16, u16, i32)| {
            let is_byte = *kind == axis && name.starts_with("Sony") && [0, 1, 3, 4].contains(code);
            *value == if is_byte { 128 } else { 0 }
        };
        assert!(after.iter().all(rests), "{kind:?} {after:?}");
        if let Some(touchpad) = nodes.get_mut(&format!("{name} Touchpad")) {
            assert_eq!(read(touchpad), [(key, 0x110, 1), (key, 0x110, 0)]);
        }
    }
}

#[test]
#[ignore = "for the guest: it makes devices"]
fn a_dualshock_tells_motion_and_fingers() {
    let (key, axis, misc) = (EventType::KEY.0, EventType::ABSOLUTE.0, EventType::MISC.0);
    let mut client = Client::new();
    client.arrive(0, GamepadKind::PlayStation);
    let mut nodes = nodes(0);
    let mut take = |end: &str| {
        let name = nodes.keys().find(|name| name.ends_with(end)).unwrap().clone();
        nodes.remove(&name).unwrap()
    };
    let (mut sensors, mut touchpad) = (take("Sensors"), take("Touchpad"));
    let motion = |sensor, axes| GamepadEvent::Motion(Motion::clamped(sensor, axes).unwrap());
    let touch = |pointer, phase, x, y| {
        let share = |value| Fraction::clamped(value).unwrap();
        let (at, reach) = (Point { x: share(x), y: share(y) }, Reach::Pressure(None));
        GamepadEvent::Touchpad(Touchpad { touchpad_index: 0, pointer, phase, at, reach })
    };

    client.handle(0, motion(Sensor::Accelerometer, [9.806_65, -19.613_3, 999.0]));
    client.handle(0, motion(Sensor::Gyroscope, [90.0, -1.0, 20_000.0]));
    client.handle(0, touch(5, Phase::Down, 0.5, 0.25));
    client.handle(0, touch(6, Phase::Down, 1.0, 1.0));
    client.handle(0, touch(5, Phase::Up, 0.5, 0.25));
    client.handle(0, touch(6, Phase::Up, 1.0, 1.0));

    let moved: Vec<_> = read(&mut sensors).into_iter().filter(|it| it.0 != misc).collect();
    let expected = [
        (axis, 0, 8_192),
        (axis, 1, -16_384),
        (axis, 2, 32_768),
        (axis, 3, 92_160),
        (axis, 4, -1_024),
        (axis, 5, 2_097_152),
    ];
    assert_eq!(moved, expected);
    let touched = read(&mut touchpad);
    let expected = [
        // One finger, which is the pointer too.
        (axis, 0x39, 0),
        (axis, 0x35, 960),
        (axis, 0x36, 235),
        (key, 0x14a, 1),
        (key, 0x145, 1),
        (axis, 0, 960),
        (axis, 1, 235),
        // A second one.
        (axis, 0x2f, 1),
        (axis, 0x39, 1),
        (axis, 0x35, 1_919),
        (axis, 0x36, 941),
        (key, 0x145, 0),
        (key, 0x14d, 1),
        // The first goes, and the other is the pointer.
        (axis, 0x2f, 0),
        (axis, 0x39, -1),
        (key, 0x145, 1),
        (key, 0x14d, 0),
        (axis, 0, 1_919),
        (axis, 1, 941),
        (axis, 0x2f, 1),
        (axis, 0x39, -1),
        (key, 0x14a, 0),
        (key, 0x145, 0),
    ];
    assert_eq!(touched, expected);
    // Another gamepad of the kind in its place has no finger down, and is asked for motion as well.
    client.handle(0, touch(5, Phase::Down, 0.5, 0.25));
    client.arrive(0, GamepadKind::PlayStation);
    assert!(read(&mut touchpad).ends_with(&[(axis, 0x39, -1), (key, 0x14a, 0), (key, 0x145, 0)]));
    assert_eq!(client.told.len(), 4);
}

/// What the client's gamepads were told of motors, in order.
fn motors(client: &Client) -> Vec<(u16, u16)> {
    let strengths = |(_, _, feedback): &(Instant, u8, Feedback)| match feedback {
        Feedback::Rumble { low_frequency, high_frequency } => {
            Some((*low_frequency, *high_frequency))
        }
        _ => None,
    };
    client.told.iter().filter_map(strengths).collect()
}

fn rumble(strong: u16, weak: u16, length: u16) -> FFEffectData {
    FFEffectData {
        direction: 0,
        trigger: FFTrigger::default(),
        replay: FFReplay { length, delay: 0 },
        kind: FFEffectKind::Rumble { strong_magnitude: strong, weak_magnitude: weak },
    }
}

/// The other process of a test.
fn other(test: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", test]).env(OTHER, "").stdout(Stdio::null());
    command.spawn().unwrap()
}

/// Waits to be killed.
fn park() -> ! {
    loop {
        thread::park();
    }
}

/// A moment in which the client is told.
fn pause() {
    clock::sleep_until(clock::now() + Duration::from_millis(40));
}

#[test]
#[ignore = "for the guest: it makes devices"]
fn programs_make_gamepads_rumble_and_it_stops() {
    for kind in [GamepadKind::Unknown, GamepadKind::Nintendo, GamepadKind::PlayStation] {
        let mut client = Client::new();
        client.arrive(0, kind);
        client.told.clear();
        let name = nodes(0).into_keys().next().unwrap();

        let started = clock::now();
        client.serve(move || {
            let mut device = nodes(0).remove(&name).unwrap();
            // It stops by itself.
            let mut effect = device.upload_ff_effect(rumble(0x1234, 0xffff, 200)).unwrap();
            effect.play(2).unwrap();
            clock::sleep_until(clock::now() + Duration::from_millis(500));
            // It is changed while it plays, stopped, and played with half the gain.
            effect.update(rumble(0x4000, 0x2000, 0)).unwrap();
            effect.play(1).unwrap();
            pause();
            effect.update(rumble(0x8000, 0, 0)).unwrap();
            pause();
            effect.stop().unwrap();
            pause();
            device.set_ff_gain(0x8000).unwrap();
            effect.play(1).unwrap();
            pause();
            device.set_ff_gain(0xffff).unwrap();
            effect.stop().unwrap();
            pause();
            // What swings turns both motors.
            let envelope =
                FFEnvelope { attack_length: 0, attack_level: 0, fade_length: 0, fade_level: 0 };
            let (waveform, magnitude) = (FFWaveform::Sine, -0x2000);
            let swing = FFEffectKind::Periodic {
                waveform,
                period: 10,
                magnitude,
                offset: 0,
                phase: 0,
                envelope,
            };
            let data = FFEffectData { kind: swing, ..rumble(0, 0, 0) };
            let mut swing = device.upload_ff_effect(data).unwrap();
            swing.play(1).unwrap();
            pause();
            // What motors cannot do is refused.
            let constant = FFEffectKind::Constant { level: 1, envelope };
            let refused = FFEffectData { kind: constant, ..rumble(0, 0, 0) };
            assert!(device.upload_ff_effect(refused).is_err());
            // What is dropped plays no more.
            drop((effect, swing));
        });

        let expected = [
            (0x1234, 0xffff),
            (0, 0),
            (0x4000, 0x2000),
            (0x8000, 0),
            (0, 0),
            (0x4000, 0),
            (0, 0),
            (0x4000, 0x4000),
            (0, 0),
        ];
        assert_eq!(motors(&client), expected, "{kind:?}");
        assert!(client.told[1].0 - started >= Duration::from_millis(400), "{:?}", client.told);
        assert!(client.told[1].0 - client.told[0].0 >= Duration::from_millis(400));
    }
}

#[test]
#[ignore = "for the guest: it makes devices"]
fn a_program_that_dies_leaves_no_motor_running() {
    if std::env::var_os(OTHER).is_some() {
        let mut device = node(0);
        let mut effect = device.upload_ff_effect(rumble(0xffff, 0, 0)).unwrap();
        effect.play(1).unwrap();
        park();
    }
    let mut client = Client::new();
    client.arrive(0, GamepadKind::Unknown);
    let mut program = other("inside::a_program_that_dies_leaves_no_motor_running");
    eventually("it plays", || {
        client.turn();
        (motors(&client) == [(0xffff, 0)]).then_some(())
    });

    program.kill().unwrap();

    eventually("it has stopped", || {
        client.turn();
        (motors(&client) == [(0xffff, 0), (0, 0)]).then_some(())
    });
    program.wait().unwrap();
}

#[test]
#[ignore = "for the guest: it makes devices"]
fn games_that_use_sdl_know_every_kind() {
    use Buttons as B;
    // Of a gamepad, what SDL takes it for by its number.
    let kinds = [
        (GamepadKind::Unknown, 1),
        (GamepadKind::Xbox, 2),
        (GamepadKind::PlayStation, 4),
        (GamepadKind::Nintendo, 5),
    ];
    // In the order of `sdl::BUTTONS`.
    let buttons = [
        B::SOUTH,
        B::EAST,
        B::WEST,
        B::NORTH,
        B::BACK,
        B::GUIDE,
        B::START,
        B::STICK_LEFT,
        B::STICK_RIGHT,
        B::BUMPER_LEFT,
        B::BUMPER_RIGHT,
        B::UP,
        B::DOWN,
        B::LEFT,
        B::RIGHT,
    ];
    for (kind, number) in kinds {
        let mut client = Client::new();
        client.arrive(0, kind);
        let sdl = Sdl::start();
        let controllers = sdl.controllers();
        let [controller] = &controllers[..] else {
            panic!("{kind:?}: {} gamepads", controllers.len());
        };
        assert_eq!(controller.kind(), number, "{kind:?}: {}", controller.name());

        for (button, name) in buttons.into_iter().zip(sdl::BUTTONS) {
            client.hold(0, button);
            sdl.update();
            assert_eq!(controller.down(), [name], "{kind:?}");
        }
        let (full, none) = (i16::MAX, 0);
        // Both sticks' x and y and both triggers, as the client has them.
        for axis in 0..sdl::AXIS_COUNT {
            let bent = |index| if index == axis { full } else { none };
            let state = GamepadState {
                buttons: B::default(),
                stick_left: Stick { x: bent(0), y: bent(1) },
                stick_right: Stick { x: bent(2), y: bent(3) },
                trigger_left: if axis == 4 { 255 } else { 0 },
                trigger_right: if axis == 5 { 255 } else { 0 },
            };
            client.handle(0, GamepadEvent::State(state));
            sdl.update();
            // Up is up, of which the kernel and SDL say less than nothing.
            let sign = if [1, 3].contains(&axis) { -1 } else { 1 };
            let axes = controller.axes().map(i32::from);
            let is_as_it_should = |(index, value): (usize, i32)| match index == axis {
                true => value * sign > 32_000,
                false => value.abs() < 300,
            };
            assert!(axes.into_iter().enumerate().all(is_as_it_should), "{kind:?} {axis} {axes:?}");
        }
        assert!(client.serve(|| controller.rumble(0x4000, 0x8000, 100)), "{kind:?}");
        client.serve(|| drop(controllers));
        assert_eq!(motors(&client), [(0x4000, 0x8000), (0, 0)], "{kind:?}");
    }
}

#[test]
#[ignore = "for the guest: it makes devices"]
fn a_gamepad_keeps_its_slot_and_comes_back_as_itself() {
    let mut client = Client::new();
    client.arrive(0, GamepadKind::Xbox);
    client.arrive(1, GamepadKind::Nintendo);
    let mut other = node(1);
    let before = node(0);

    client.arrive(0, GamepadKind::Xbox);
    client.hold(1, Buttons::SOUTH);
    client.handle(0, GamepadEvent::Left);
    client.closing.clear();

    assert!(nodes(0).is_empty());
    assert!(before.get_key_state().is_err(), "the device is gone");
    client.hold(1, Buttons::EAST);
    let (key, south, east) = (EventType::KEY.0, 0x130, 0x131);
    let seen = [(key, south, 1), (key, south, 0), (key, east, 1)];
    assert_eq!(read(&mut other), seen, "the other gamepad goes on");
    client.arrive(0, GamepadKind::Xbox);
    let mut after = node(0);
    assert_eq!(after.name(), before.name());
    client.hold(0, Buttons::SOUTH);
    assert_eq!(read(&mut after), [(key, south, 1)]);
    // A gamepad of another kind in its place is another device of the same place.
    client.arrive(0, GamepadKind::Nintendo);
    client.closing.clear();
    assert_eq!(node(0).name(), other.name());
    drop(client);
    let mut client = Client::new();
    client.arrive(1, GamepadKind::Nintendo);
    assert_eq!(node(1).name(), other.name(), "a client that comes back finds its place");
}

#[test]
#[ignore = "for the guest: it makes devices"]
fn nothing_stays_down_when_a_client_goes_or_may_not_any_more() {
    let key = EventType::KEY.0;
    for how in ["it leaves", "it may not", "the session ends"] {
        let mut client = Client::new();
        client.arrive(0, GamepadKind::Unknown);
        let mut device = node(0);
        client.hold(0, Buttons::SOUTH);
        assert_eq!(read(&mut device), [(key, 0x130, 1)]);

        match how {
            "it leaves" => client.handle(0, GamepadEvent::Left),
            "it may not" => {
                client.injector.set_grants(Grants::parse(["view"]).unwrap());
                client.turn();
            }
            _ => {
                client.injector.close();
                client.turn();
            }
        }

        assert_eq!(read(&mut device), [(key, 0x130, 0)], "{how}");
        client.closing.clear();
        assert!(device.get_key_state().is_err(), "{how}: the device is gone");
        assert!(nodes(0).is_empty(), "{how}");
    }
    // What may be again is there again, without a word of the client's.
    let mut client = Client::new();
    client.arrive(0, GamepadKind::Unknown);
    client.injector.set_grants(Grants::parse(["view"]).unwrap());
    client.turn();
    client.closing.clear();
    client.hold(0, Buttons::SOUTH);
    assert_eq!((nodes(0).len(), client.injector.refused_count()), (0, 1));
    client.injector.set_grants(Grants::parse(["gamepad", "view"]).unwrap());
    client.turn();
    assert_eq!(node(0).get_key_state().unwrap().iter().count(), 0);
}

#[test]
#[ignore = "for the guest: it makes devices"]
fn nothing_stays_down_when_the_host_is_killed() {
    if std::env::var_os(OTHER).is_some() {
        let mut client = Client::new();
        client.arrive(2, GamepadKind::Unknown);
        client.hold(2, Buttons::SOUTH);
        park();
    }
    let mut holder = other("inside::nothing_stays_down_when_the_host_is_killed");
    let device = eventually("the gamepad", || {
        let device = nodes(2).pop_first()?.1;
        device.get_key_state().ok()?.contains(KeyCode::BTN_SOUTH).then_some(device)
    });

    holder.kill().unwrap();
    holder.wait().unwrap();

    assert!(device.get_key_state().is_err(), "the device is gone");
    assert!(nodes(2).is_empty());
}

#[test]
#[ignore = "for the guest: it makes devices"]
fn a_program_and_the_stock_client_feel_each_other() {
    let port = std::env::var(PORT).unwrap().parse().unwrap();
    let lines = "Listen 0.0.0.0\nCapture test\nEncoder software\nCodecs h264\nAudio off\n";
    let daemon = Daemon::start_in(Folder::with_identity(), port, lines);
    let pairing = eventually("a client that asks", || daemon.pairings().first().cloned());
    assert!(give_pin(&daemon, &pairing, PIN, &[]).status.success());
    let sony = |device: &Device| device.name().is_some_and(|name| name.ends_with("Controller"));
    let mut device =
        eventually("its gamepad", || evdev::enumerate().map(|(_, device)| device).find(sony));

    let (key, axis) = (EventType::KEY.0, EventType::ABSOLUTE.0);
    let keys = [(key, 0x130, 1), (key, 0x131, 1), (key, 0x139, 1)];
    let answer = [keys, [(axis, 3, 0), (axis, 4, 0), (axis, 5, 255)]].concat();
    // The kernel shows a device a moment before it takes requests for it.
    let mut effect = eventually("an effect of the program's", || {
        device.upload_ff_effect(rumble(1_000, 65_535, 0)).ok()
    });
    effect.play(1).unwrap();
    let mut seen = Vec::new();
    eventually("its answer", || {
        seen.extend(read(&mut device));
        seen.ends_with(&answer).then_some(())
    });
    effect.stop().unwrap();

    eventually("its farewell", || device.get_key_state().is_err().then_some(()));
    daemon.wait_log("client left");
}

/// A client with devices of the kernel's for all but gamepads.
fn client_of_kernel() -> Injector {
    let nowhere = Place { socket: "/".into(), output: String::new(), seat: None, ipc: None };
    let mut injector =
        Injector::new(Grants::parse(["touch", "pen", "view"]).unwrap(), Terms::default());
    injector.attach(Devices::open(&nowhere, Way::Uinput).unwrap());
    injector
}

fn at(x: f32, y: f32) -> Point {
    let share = |value| Fraction::clamped(value).unwrap();
    Point { x: share(x), y: share(y) }
}

fn finger(pointer: u32, phase: Phase, at: Point) -> Input {
    let major = Fraction::clamped(0.5);
    let contact = Contact { major, minor: None };
    let reach = Reach::Pressure(Fraction::clamped(1.0));
    Input::Touch(Touch { pointer, phase, at, reach, contact, rotation_degrees: None })
}

fn pen(phase: Phase, tool: Tool, buttons: u8) -> Input {
    let share = Fraction::clamped(0.5);
    Input::Pen(input::Pen {
        phase,
        tool,
        buttons: PenButtons::from_bits(buttons),
        at: at(1.0, 0.0),
        reach: if phase == Phase::Hover { Reach::Distance(share) } else { Reach::Pressure(share) },
        contact: Contact::default(),
        rotation_degrees: Some(270),
        tilt_degrees: Some(30),
    })
}

#[test]
#[ignore = "for the guest: it makes devices"]
fn fingers_and_pens_are_those_of_a_screen() {
    const DIRECT: u16 = 1;
    let mut client = client_of_kernel();
    let (mut screen, mut tablet) = (named("punktfunk touch "), named("punktfunk pen "));
    for device in [&screen, &tablet] {
        assert_eq!(properties(device), [DIRECT]);
    }
    let last = 65_535;
    let places = |code, resolution| [code, 0, last, 0, 0, resolution];
    assert_eq!(
        axes(&screen),
        [
            places(0, 0),
            places(1, 0),
            [47, 0, 15, 0, 0, 0],
            places(48, 0),
            places(49, 0),
            places(53, 0),
            places(54, 0),
            places(57, 0),
            [58, 0, 1023, 0, 0, 0],
        ]
    );
    let tilt = |code| [code, -90, 90, 0, 0, 57];
    let near = [[24, 0, 4095, 0, 0, 0], [25, 0, 1023, 0, 0, 0]];
    assert_eq!(
        axes(&tablet),
        [places(0, 100), places(1, 100), near[0], near[1], tilt(26), tilt(27)]
    );

    // Slot 47, tracking id 57, place 53 and 54, pressure 58, size 48; then the first finger's.
    client.handle(&finger(70, Phase::Down, at(0.0, 1.0)));
    let first =
        [(3, 57, 0), (3, 54, last), (3, 58, 1023), (3, 48, 32_768), (1, 0x14a, 1), (3, 1, last)];
    assert_eq!(read(&mut screen), first);
    client.handle(&finger(9, Phase::Down, at(1.0, 0.0)));
    let second = [(3, 47, 1), (3, 57, 1), (3, 53, last), (3, 58, 1023), (3, 48, 32_768)];
    assert_eq!(read(&mut screen), second);
    client.handle(&finger(70, Phase::Up, at(0.0, 1.0)));
    let lifted = [(3, 47, 0), (3, 57, -1), (3, 0, last), (3, 1, 0)];
    assert_eq!(read(&mut screen), lifted);

    // The pen's end 0x140, place 0 and 1, distance 25, tilt 26; its button 0x14b.
    client.handle(&pen(Phase::Hover, Tool::Pen, 1));
    let hovers = [(1, 0x140, 1), (3, 0, last), (3, 26, 30), (3, 25, 512), (1, 0x14b, 1)];
    assert_eq!(read(&mut tablet), hovers);
    client.handle(&pen(Phase::Down, Tool::Pen, 0));
    assert_eq!(read(&mut tablet), [(3, 24, 2048), (3, 25, 0), (1, 0x14b, 0), (1, 0x14a, 1)]);
    client.handle(&pen(Phase::Hover, Tool::Eraser, 0));
    let [lift, go, rub] = [(1, 0x14a, 0), (1, 0x140, 0), (1, 0x141, 1)];
    assert_eq!(read(&mut tablet), [lift, (3, 24, 0), go, rub, (3, 25, 512)]);

    // What the client may not any more, it has let go of.
    client.handle(&pen(Phase::Down, Tool::Eraser, 0));
    read(&mut tablet);
    client.set_grants(Grants::parse(["view"]).unwrap());

    assert_eq!(read(&mut screen), [(3, 47, 1), (3, 57, -1), (1, 0x14a, 0)]);
    assert_eq!(read(&mut tablet), [lift, (3, 24, 0), (1, 0x141, 0)]);
    drop(client);
    let is_gone = |device: &Device| evdev::enumerate().all(|(_, it)| it.name() != device.name());
    assert!(is_gone(&screen) && is_gone(&tablet));
}

#[test]
#[ignore = "for the guest: it makes devices"]
fn no_finger_stays_down_when_the_host_is_killed() {
    if std::env::var_os(OTHER).is_some() {
        let mut client = client_of_kernel();
        client.handle(&finger(1, Phase::Down, at(0.5, 0.5)));
        client.handle(&pen(Phase::Down, Tool::Pen, 1));
        park();
    }
    let mut host = other("inside::no_finger_stays_down_when_the_host_is_killed");
    let has = |begin: &str| {
        evdev::enumerate().any(|(_, it)| it.name().is_some_and(|it| it.starts_with(begin)))
    };
    let is_down = || {
        let devices = evdev::enumerate().map(|(_, it)| it);
        let mut pens =
            devices.filter(|it| it.name().is_some_and(|it| it.starts_with("punktfunk pen ")));
        pens.any(|it| it.get_key_state().is_ok_and(|keys| keys.contains(KeyCode::BTN_TOUCH)))
            .then_some(())
    };
    eventually("the pen is down", is_down);

    host.kill().unwrap();
    host.wait().unwrap();

    let is_gone = || (!has("punktfunk touch ") && !has("punktfunk pen ")).then_some(());
    eventually("both are gone, and with them what was down", is_gone);
}
