use super::*;
use crate::proto::hex;
use crate::proto::input::Key;

fn parse(text: &str) -> Result<Packet, Error> {
    Packet::parse(&hex::parse(&text.replace(' ', "")).unwrap())
}

/// A packet of this kind with these bytes behind it.
fn packet(kind: u32, data: &[u8]) -> Vec<u8> {
    let size = (KIND_LEN + data.len()) as u32;
    [&size.to_be_bytes()[..], &kind.to_le_bytes(), data].concat()
}

/// Bytes and where they are, counted from the start of the payload.
type Parts<'a> = &'a [(usize, &'a [u8])];

/// As `packet`, with these bytes at these places of an otherwise empty one.
fn filled(kind: u32, parts: Parts<'_>) -> Vec<u8> {
    let row = TABLE.iter().find(|row| row.kind == kind).unwrap();
    let mut bytes = packet(kind, &vec![0; row.len.start() - KIND_LEN]);
    for (at, part) in parts {
        bytes[*at..*at + part.len()].copy_from_slice(part);
    }
    bytes
}

fn fraction(value: f32) -> Fraction {
    Fraction::clamped(value).unwrap()
}

fn point(x: f32, y: f32) -> Point {
    Point { x: fraction(x), y: fraction(y) }
}

fn event(index: u16, event: GamepadEvent) -> Result<Packet, Error> {
    let index = GamepadIndex::new(index).unwrap();
    Ok(Packet::Input(Input::Gamepad(Gamepad { index, event })))
}

#[test]
fn keyboard_pointer_and_text_are_understood() {
    let key = |code, is_down, modifiers| {
        let modifiers = Modifiers::from_bits(modifiers);
        Input::Key(KeyEvent { key: Key(code), is_down, modifiers })
    };
    let side = |side| NonZeroU16::new(side).unwrap();
    let at = Point { x: Fraction::of(100, side(639)), y: Fraction::of(200, side(359)) };
    let area = Area { width: side(640), height: side(360) };
    let button = |button, is_down| Input::Pointer(Pointer::Button { button, is_down });
    let scroll = |wheel, amount| Input::Pointer(Pointer::Scroll { wheel, amount });
    let cases = [
        ("0000000a 03000000 00 4180 01 0000", key(30, true, 1)),
        ("0000000a 04000000 00 4100 f8 0000", key(30, false, 8)),
        ("0000000a 03000000 00 dc80 00 0000", key(43, true, 0)),
        ("0000000a 03000000 01 dc80 00 0000", key(124, true, 0)),
        ("0000000a 03000000 01 e280 00 0000", key(89, true, 0)),
        ("00000008 07000000 0005 fff9", Input::Pointer(Pointer::MoveBy { dx: 5, dy: -7 })),
        (
            "0000000e 05000000 0064 00c8 0000 027f 0167",
            Input::Pointer(Pointer::MoveTo { at, area }),
        ),
        ("00000005 08000000 01", button(PointerButton::Left, true)),
        ("00000005 09000000 02", button(PointerButton::Middle, false)),
        ("00000005 08000000 03", button(PointerButton::Right, true)),
        ("00000005 08000000 04", button(PointerButton::Side, true)),
        ("00000005 09000000 05", button(PointerButton::Extra, false)),
        ("0000000a 0a000000 ff88 ff88 0000", scroll(Wheel::Vertical, -120)),
        ("00000006 01000055 0078", scroll(Wheel::Horizontal, 120)),
        ("00000007 17000000 e282ac", Input::Text(Text::new("\u{20ac}").unwrap())),
        ("00000005 17000000 41 42", Input::Text(Text::new("A").unwrap())), // one byte of surplus
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text), Ok(Packet::Input(expected)), "{text}");
    }
}

#[test]
fn what_means_nothing_is_ignored() {
    let cases = [
        "0000000a 03000000 00 0080 00 0000",          // virtual key 0
        "0000000a 04000000 00 ff80 00 0000",          // virtual key 255
        "0000000e 05000000 0064 00c8 0000 0000 0167", // no width
        "0000000e 05000000 0064 00c8 0000 027f 0000", // no height
        "0000000e 05000000 0064 00c8 0000 ffff 0167", // less than none
        "00000006 0d000000 0100",                     // haptics
        "00000004 06000000",                          // a mouse of old
        "0000000a ffffff55 000000000000",             // a kind to come
    ];
    for text in cases {
        assert_eq!(parse(text), Ok(Packet::Ignored), "{text}");
    }
}

#[test]
fn gamepads_are_understood() {
    let sample =
        "0000001e 0c000000 1a00 0000 0100 1400 0010 0a 14 0100 feff 0300 fcff 9c00 1000 5500";
    let state = GamepadState {
        buttons: Buttons::from_bits(0x10_1000),
        trigger_left: 10,
        trigger_right: 20,
        stick_left: Stick { x: 1, y: -2 },
        stick_right: Stick { x: 3, y: -4 },
    };
    let index = GamepadIndex::new(0).unwrap();
    assert_eq!(parse(sample), Ok(Packet::Gamepad { index, is_present: true, state }));
    // Of the mask, the packet's own bit.
    for (mask, is_present) in [([0x08, 0], true), ([0xf7, 0xff], false)] {
        let bytes = filled(0x0c, &[(10, &[3]), (12, &mask)]);
        let index = GamepadIndex::new(3).unwrap();
        let state = GamepadState::default();
        assert_eq!(Packet::parse(&bytes), Ok(Packet::Gamepad { index, is_present, state }));
    }

    let arrival = |kind, abilities| {
        let abilities = Abilities::from_bits(abilities);
        GamepadEvent::Arrived(Arrival { kind, abilities, buttons: Buttons::ALL })
    };
    let battery = |state, percent| GamepadEvent::Battery(Battery { state, percent });
    let motion = |sensor, axes| GamepadEvent::Motion(Motion { sensor, axes });
    let touchpad = GamepadEvent::Touchpad(Touchpad {
        touchpad_index: 1,
        pointer: 0x0403_0201,
        phase: Phase::Down,
        at: point(0.5, 1.0),
        reach: Reach::Pressure(Some(fraction(0.25))),
    });
    let cases = [
        ("0000000c 04000055 0f 01 ff01 ffffffff", 15, arrival(GamepadKind::Xbox, 0x1ff)),
        ("0000000c 04000055 00 02 0300 fff73f00", 0, arrival(GamepadKind::PlayStation, 3)),
        ("0000000c 04000055 00 03 0000 ffffffff", 0, arrival(GamepadKind::Nintendo, 0)),
        ("0000000c 04000055 00 04 00fe ffffffff", 0, arrival(GamepadKind::Steam, 0)),
        ("0000000c 04000055 00 00 0000 ffffffff", 0, arrival(GamepadKind::Unknown, 0)),
        ("0000000c 04000055 00 09 0000 ffffffff", 0, arrival(GamepadKind::Unknown, 0)),
        ("00000018 05000055 02 01 00 01 01020304 0000003f 0000803f 0000803e", 2, touchpad),
        (
            "00000014 06000055 01 01 0000 0000803f 000000c0 0000807f",
            1,
            motion(Sensor::Accelerometer, [1.0, -2.0, 1_000.0]),
        ),
        (
            "00000014 06000055 01 02 0000 0000803f 000000c0 000080ff",
            1,
            motion(Sensor::Gyroscope, [1.0, -2.0, -20_000.0]),
        ),
        ("00000008 07000055 00 00 ff 00", 0, battery(BatteryState::Unknown, None)),
        ("00000008 07000055 00 01 00 00", 0, battery(BatteryState::Missing, Some(0))),
        ("00000008 07000055 00 02 32 00", 0, battery(BatteryState::Discharging, Some(50))),
        ("00000008 07000055 00 03 65 00", 0, battery(BatteryState::Charging, Some(100))),
        ("00000008 07000055 00 04 64 00", 0, battery(BatteryState::NotCharging, Some(100))),
        ("00000008 07000055 00 05 64 00", 0, battery(BatteryState::Full, Some(100))),
    ];
    for (text, index, expected) in cases {
        assert_eq!(parse(text), event(index, expected), "{text}");
    }
}

#[test]
fn fingers_are_understood() {
    let touch = |phase, reach, rotation_degrees| {
        Input::Touch(Touch {
            pointer: 7,
            phase,
            at: point(0.5, 0.25),
            reach,
            contact: Contact { major: Some(fraction(1.0)), minor: None },
            rotation_degrees,
        })
    };
    let half = Some(fraction(0.5));
    let cases = [
        (0, 359, 0.5, touch(Phase::Hover, Reach::Distance(half), Some(359))),
        (1, 0, 0.5, touch(Phase::Down, Reach::Pressure(half), Some(0))),
        (2, 0xffff, 0.0, touch(Phase::Up, Reach::Pressure(None), None)),
        (3, 360, -1.0, touch(Phase::Move, Reach::Pressure(None), None)),
        (4, 90, 0.5, touch(Phase::Cancel, Reach::Pressure(half), Some(90))),
        (5, 90, 0.5, touch(Phase::Buttons, Reach::Pressure(half), Some(90))),
        (6, 90, 0.5, touch(Phase::HoverLeave, Reach::Distance(half), Some(90))),
        (7, 90, 0.5, touch(Phase::CancelAll, Reach::Pressure(half), Some(90))),
    ];
    for (phase, rotation, reach, expected) in cases {
        let bytes = filled(
            0x5500_0002,
            &[
                (8, &[phase]),
                (10, &u16::to_le_bytes(rotation)),
                (12, &[7]),
                (16, &0.5_f32.to_le_bytes()),
                (20, &0.25_f32.to_le_bytes()),
                (24, &f32::to_le_bytes(reach)),
                (28, &f32::INFINITY.to_le_bytes()),
            ],
        );
        assert_eq!(Packet::parse(&bytes), Ok(Packet::Input(expected)), "event {phase}");
    }
}

#[test]
fn pens_are_understood() {
    let cases = [
        (0, 0, 0xff, Tool::Unknown, None),
        (1, 0xff, 0, Tool::Pen, Some(0)),
        (2, 2, 90, Tool::Eraser, Some(90)),
        (3, 4, 91, Tool::Unknown, Some(90)),
    ];
    for (tool, buttons, tilt, expected_tool, tilt_degrees) in cases {
        let bytes = filled(
            0x5500_0003,
            &[
                (8, &[1, tool, buttons]),
                (12, &0.5_f32.to_le_bytes()),
                (16, &f32::NEG_INFINITY.to_le_bytes()),
                (20, &1.0_f32.to_le_bytes()),
                (24, &[0x2c, 1, tilt]),
                (32, &0.5_f32.to_le_bytes()),
            ],
        );
        let expected = Pen {
            phase: Phase::Down,
            tool: expected_tool,
            buttons: PenButtons::from_bits(buttons),
            at: point(0.5, 0.0),
            reach: Reach::Pressure(Some(fraction(1.0))),
            contact: Contact { major: None, minor: Some(fraction(0.5)) },
            rotation_degrees: Some(300),
            tilt_degrees,
        };
        assert_eq!(Packet::parse(&bytes), Ok(Packet::Input(Input::Pen(expected))), "{tool}");
    }
}

#[test]
fn what_stands_for_nothing_is_refused() {
    let nan = &f32::NAN.to_le_bytes()[..];
    let cases: [(u32, Parts<'_>, Error); 19] = [
        (0x03, &[(9, &[0x07])], Error::Key(0x07)),
        (0x08, &[(8, &[0])], Error::Value("mouse button")),
        (0x09, &[(8, &[6])], Error::Value("mouse button")),
        (0x0c, &[(10, &[16])], Error::Value("controller number")),
        (0x0c, &[(10, &[0, 1])], Error::Value("controller number")),
        (0x17, &[(8, b"\xff")], Error::Text),
        (0x17, &[(8, b"\xc3")], Error::Text),
        (0x5500_0002, &[(8, &[8])], Error::Value("touch event")),
        (0x5500_0002, &[(16, nan)], Error::NotANumber),
        (0x5500_0002, &[(32, nan)], Error::NotANumber),
        (0x5500_0003, &[(8, &[0xff])], Error::Value("touch event")),
        (0x5500_0003, &[(20, nan)], Error::NotANumber),
        (0x5500_0004, &[(8, &[16])], Error::Value("controller number")),
        (0x5500_0005, &[(8, &[0xff])], Error::Value("controller number")),
        (0x5500_0005, &[(11, &[2])], Error::Value("touchpad")),
        (0x5500_0006, &[(9, &[0])], Error::Value("sensor")),
        (0x5500_0006, &[(9, &[1]), (20, nan)], Error::NotANumber),
        (0x5500_0006, &[(8, &[16, 2])], Error::Value("controller number")),
        (0x5500_0007, &[(8, &[16])], Error::Value("controller number")),
    ];
    for (kind, parts, expected) in cases {
        assert_eq!(Packet::parse(&filled(kind, parts)), Err(expected), "{kind:#x}, {parts:?}");
    }
}

#[test]
fn each_kind_has_its_shortest_and_its_longest_form() {
    for row in &TABLE {
        for len in 0..200 {
            let parsed = Packet::parse(&packet(row.kind, &vec![0; len]));
            let is_within = row.len.contains(&(KIND_LEN + len));
            assert_eq!(parsed != Err(Error::Length), is_within, "{:#x}, {len}", row.kind);
        }
        assert!(KIND_LEN + row.len.end() <= *PAYLOAD_LEN.end(), "{:#x}", row.kind);
    }
}

#[test]
fn a_packet_holds_what_its_size_says() {
    for row in &TABLE {
        let bytes = packet(row.kind, &vec![0x20; row.len.start() - KIND_LEN]);
        let parsed = Packet::parse(&bytes);
        for len in 0..bytes.len() {
            assert_eq!(Packet::parse(&bytes[..len]), Err(Error::Length), "{:#x}", row.kind);
        }
        // What is behind it is not the packet's.
        let longer = [&bytes[..], &[0xff; 16]].concat();
        assert_eq!(Packet::parse(&longer), parsed, "{:#x}", row.kind);
    }
    for size in [0, 3, 5, u32::MAX] {
        let bytes = [&size.to_be_bytes()[..], &0x07_u32.to_le_bytes()].concat();
        assert_eq!(Packet::parse(&bytes), Err(Error::Length), "{size}");
    }
}
