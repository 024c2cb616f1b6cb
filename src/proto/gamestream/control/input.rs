//! Input as clients send it: a size, a kind and data, inside a control message.
//!
//! Integers are of either byte order, as the kind has it; floats are little-endian. Numbers out of
//! range become the nearest within it, infinite ones too; what is not a number is refused.

#![forbid(unsafe_code)]

use std::fmt;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;

use super::keys;
use crate::proto::input::{
    Abilities, Area, Arrival, Battery, BatteryState, Buttons, Contact, Fraction, Gamepad,
    GamepadEvent, GamepadIndex, GamepadKind, GamepadState, Input, KeyEvent, Modifiers, Motion, Pen,
    PenButtons, Phase, Point, Pointer, PointerButton, Reach, Sensor, Stick, TEXT_LEN_MAX, Text,
    Tool, Touch, Touchpad, Wheel,
};

/// Bytes of size and kind.
const HEADER_LEN: usize = 8;
/// Bytes of the kind, which the size counts.
const KIND_LEN: usize = 4;
/// Bytes that a newer client may append to what is known of a packet.
const SURPLUS_LEN_MAX: usize = 32;
/// Bytes of the payload of a control message with input.
pub(super) const PAYLOAD_LEN: RangeInclusive<usize> = HEADER_LEN..=128;

/// What a packet says.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// All of one gamepad, and whether it is there.
    Gamepad {
        /// Which.
        index: GamepadIndex,
        /// Whether it is there.
        is_present: bool,
        /// What is pressed and bent.
        state: GamepadState,
    },
    /// Nothing that means anything to a host, or nothing known.
    Ignored,
    /// Something that was done.
    Input(Input),
}

/// Why a packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A virtual key that Linux has no key for.
    Key(u8),
    /// Shorter or longer than its kind has it, or than it says.
    Length,
    /// A float that is not a number.
    NotANumber,
    /// Text that is not UTF-8.
    Text,
    /// A number that stands for nothing: of what.
    Value(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Key(key) => write!(f, "unknown virtual key {key:#04x}"),
            Error::Length => f.write_str("wrong length of an input packet"),
            Error::NotANumber => f.write_str("input that is not a number"),
            Error::Text => f.write_str("text that is not UTF-8"),
            Error::Value(what) => write!(f, "unknown {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// A kind of packet: the lengths that it may have by its own account, kind and data, and what
/// reads the data.
struct Row {
    kind: u32,
    len: RangeInclusive<usize>,
    parse: fn(Data<'_>) -> Result<Packet, Error>,
}

const fn row(kind: u32, len: usize, parse: fn(Data<'_>) -> Result<Packet, Error>) -> Row {
    Row { kind, len: len..=len + SURPLUS_LEN_MAX, parse }
}

const TABLE: [Row; 17] = [
    row(0x03, 10, |data| parse_key(data, true)),
    row(0x04, 10, |data| parse_key(data, false)),
    row(0x05, 14, parse_move_to),
    row(0x07, 8, parse_move_by),
    row(0x08, 5, |data| parse_button(data, true)),
    row(0x09, 5, |data| parse_button(data, false)),
    row(0x0a, 10, |data| parse_scroll(data, Wheel::Vertical)),
    row(0x0c, 30, parse_gamepad),
    row(0x0d, 6, |_| Ok(Packet::Ignored)), // haptics, which clients turn on and never off
    Row { kind: 0x17, len: KIND_LEN + 1..=KIND_LEN + TEXT_LEN_MAX, parse: parse_text },
    row(0x5500_0001, 6, |data| parse_scroll(data, Wheel::Horizontal)),
    row(0x5500_0002, 32, parse_touch),
    row(0x5500_0003, 32, parse_pen),
    row(0x5500_0004, 12, parse_arrival),
    row(0x5500_0005, 24, parse_touchpad),
    row(0x5500_0006, 20, parse_motion),
    row(0x5500_0007, 8, parse_battery),
];

impl Packet {
    /// Reads the payload of a control message. What comes behind the size is not looked at.
    pub fn parse(payload: &[u8]) -> Result<Packet, Error> {
        let (header, _) = payload.split_first_chunk::<HEADER_LEN>().ok_or(Error::Length)?;
        let [s0, s1, s2, s3, k0, k1, k2, k3] = *header;
        let size = u32::from_be_bytes([s0, s1, s2, s3]);
        let size = usize::try_from(size).map_err(|_| Error::Length)?;
        let packet = payload[HEADER_LEN - KIND_LEN..].get(..size).ok_or(Error::Length)?;
        let data = packet.get(KIND_LEN..).ok_or(Error::Length)?;
        let kind = u32::from_le_bytes([k0, k1, k2, k3]);
        let Some(row) = TABLE.iter().find(|row| row.kind == kind) else {
            return Ok(Packet::Ignored);
        };
        if !row.len.contains(&size) {
            return Err(Error::Length);
        }
        (row.parse)(Data(data))
    }
}

/// What follows the kind. Places are counted from the start of the payload.
#[derive(Clone, Copy)]
struct Data<'a>(&'a [u8]);

impl Data<'_> {
    fn bytes<const N: usize>(self, at: usize) -> Result<[u8; N], Error> {
        let bytes = at.checked_sub(HEADER_LEN).and_then(|at| self.0.get(at..));
        bytes.and_then(|bytes| bytes.first_chunk()).copied().ok_or(Error::Length)
    }

    fn u8(self, at: usize) -> Result<u8, Error> {
        self.bytes(at).map(u8::from_le_bytes)
    }

    fn u16_le(self, at: usize) -> Result<u16, Error> {
        self.bytes(at).map(u16::from_le_bytes)
    }

    fn u32_le(self, at: usize) -> Result<u32, Error> {
        self.bytes(at).map(u32::from_le_bytes)
    }

    fn i16_le(self, at: usize) -> Result<i16, Error> {
        self.bytes(at).map(i16::from_le_bytes)
    }

    fn i16_be(self, at: usize) -> Result<i16, Error> {
        self.bytes(at).map(i16::from_be_bytes)
    }

    fn f32_le(self, at: usize) -> Result<f32, Error> {
        self.bytes(at).map(f32::from_le_bytes)
    }

    fn fraction(self, at: usize) -> Result<Fraction, Error> {
        Fraction::clamped(self.f32_le(at)?).ok_or(Error::NotANumber)
    }

    /// A fraction of which 0 stands for what the client cannot tell.
    fn known_fraction(self, at: usize) -> Result<Option<Fraction>, Error> {
        Ok(Some(self.fraction(at)?).filter(|fraction| *fraction != Fraction::default()))
    }

    fn point(self, x_at: usize, y_at: usize) -> Result<Point, Error> {
        Ok(Point { x: self.fraction(x_at)?, y: self.fraction(y_at)? })
    }

    fn contact(self, major_at: usize, minor_at: usize) -> Result<Contact, Error> {
        let (major, minor) = (self.known_fraction(major_at)?, self.known_fraction(minor_at)?);
        Ok(Contact { major, minor })
    }

    fn reach(self, at: usize, phase: Phase) -> Result<Reach, Error> {
        let fraction = self.known_fraction(at)?;
        Ok(match phase {
            Phase::Hover | Phase::HoverLeave => Reach::Distance(fraction),
            _ => Reach::Pressure(fraction),
        })
    }

    fn phase(self, at: usize) -> Result<Phase, Error> {
        Ok(match self.u8(at)? {
            0 => Phase::Hover,
            1 => Phase::Down,
            2 => Phase::Up,
            3 => Phase::Move,
            4 => Phase::Cancel,
            5 => Phase::Buttons,
            6 => Phase::HoverLeave,
            7 => Phase::CancelAll,
            _ => return Err(Error::Value("touch event")),
        })
    }

    fn rotation(self, at: usize) -> Result<Option<u16>, Error> {
        Ok(Some(self.u16_le(at)?).filter(|degrees| *degrees < 360))
    }

    fn stick(self, x_at: usize, y_at: usize) -> Result<Stick, Error> {
        Ok(Stick { x: self.i16_le(x_at)?, y: self.i16_le(y_at)? })
    }

    fn gamepad(self, index: u16, event: GamepadEvent) -> Result<Packet, Error> {
        Ok(Packet::Input(Input::Gamepad(Gamepad { index: gamepad_index(index)?, event })))
    }
}

fn gamepad_index(index: u16) -> Result<GamepadIndex, Error> {
    GamepadIndex::new(index).ok_or(Error::Value("controller number"))
}

fn parse_key(data: Data<'_>, is_down: bool) -> Result<Packet, Error> {
    let [virtual_key, _] = data.bytes(9)?; // the upper byte of the code means nothing
    if matches!(virtual_key, 0x00 | 0xff) {
        return Ok(Packet::Ignored);
    }
    let is_marked = data.u8(8)? & 1 != 0;
    let key = keys::key(virtual_key, is_marked).ok_or(Error::Key(virtual_key))?;
    let modifiers = Modifiers::from_bits(data.u8(11)?);
    Ok(Packet::Input(Input::Key(KeyEvent { key, is_down, modifiers })))
}

fn parse_text(data: Data<'_>) -> Result<Packet, Error> {
    let text = std::str::from_utf8(data.0).map_err(|_| Error::Text)?;
    Text::new(text).map(|text| Packet::Input(Input::Text(text))).ok_or(Error::Length)
}

fn parse_move_to(data: Data<'_>) -> Result<Packet, Error> {
    let side = |last: i16| u16::try_from(last).ok().and_then(NonZeroU16::new);
    let (width, height) = (side(data.i16_be(14)?), side(data.i16_be(16)?));
    let (Some(width), Some(height)) = (width, height) else {
        return Ok(Packet::Ignored); // a client without a window yet
    };
    let x = Fraction::of(data.i16_be(8)?, width);
    let y = Fraction::of(data.i16_be(10)?, height);
    // The fields are one less than the sides are.
    let area = Area { width: width.saturating_add(1), height: height.saturating_add(1) };
    Ok(Packet::Input(Input::Pointer(Pointer::MoveTo { at: Point { x, y }, area })))
}

fn parse_move_by(data: Data<'_>) -> Result<Packet, Error> {
    let (dx, dy) = (data.i16_be(8)?, data.i16_be(10)?);
    Ok(Packet::Input(Input::Pointer(Pointer::MoveBy { dx, dy })))
}

fn parse_button(data: Data<'_>, is_down: bool) -> Result<Packet, Error> {
    let button = match data.u8(8)? {
        1 => PointerButton::Left,
        2 => PointerButton::Middle,
        3 => PointerButton::Right,
        4 => PointerButton::Side,
        5 => PointerButton::Extra,
        _ => return Err(Error::Value("mouse button")),
    };
    Ok(Packet::Input(Input::Pointer(Pointer::Button { button, is_down })))
}

fn parse_scroll(data: Data<'_>, wheel: Wheel) -> Result<Packet, Error> {
    let amount = data.i16_be(8)?; // said twice of the vertical wheel
    Ok(Packet::Input(Input::Pointer(Pointer::Scroll { wheel, amount })))
}

fn parse_gamepad(data: Data<'_>) -> Result<Packet, Error> {
    let index = gamepad_index(data.u16_le(10)?)?;
    let is_present = data.u16_le(12)? >> index.value() & 1 != 0;
    let buttons = u32::from(data.u16_le(30)?) << 16 | u32::from(data.u16_le(16)?);
    let state = GamepadState {
        buttons: Buttons::from_bits(buttons),
        trigger_left: data.u8(18)?,
        trigger_right: data.u8(19)?,
        stick_left: data.stick(20, 22)?,
        stick_right: data.stick(24, 26)?,
    };
    Ok(Packet::Gamepad { index, is_present, state })
}

fn parse_arrival(data: Data<'_>) -> Result<Packet, Error> {
    let kind = match data.u8(9)? {
        1 => GamepadKind::Xbox,
        2 => GamepadKind::PlayStation,
        3 => GamepadKind::Nintendo,
        4 => GamepadKind::Steam,
        _ => GamepadKind::Unknown,
    };
    let abilities = Abilities::from_bits(data.u16_le(10)?);
    let buttons = Buttons::from_bits(data.u32_le(12)?);
    let arrival = Arrival { kind, abilities, buttons };
    data.gamepad(data.u8(8)?.into(), GamepadEvent::Arrived(arrival))
}

fn parse_touch(data: Data<'_>) -> Result<Packet, Error> {
    let phase = data.phase(8)?;
    Ok(Packet::Input(Input::Touch(Touch {
        pointer: data.u32_le(12)?,
        phase,
        at: data.point(16, 20)?,
        reach: data.reach(24, phase)?,
        contact: data.contact(28, 32)?,
        rotation_degrees: data.rotation(10)?,
    })))
}

fn parse_pen(data: Data<'_>) -> Result<Packet, Error> {
    const TILT_UNKNOWN: u8 = 0xff;
    let phase = data.phase(8)?;
    let tool = match data.u8(9)? {
        1 => Tool::Pen,
        2 => Tool::Eraser,
        _ => Tool::Unknown,
    };
    let tilt = data.u8(26)?;
    Ok(Packet::Input(Input::Pen(Pen {
        phase,
        tool,
        buttons: PenButtons::from_bits(data.u8(10)?),
        at: data.point(12, 16)?,
        reach: data.reach(20, phase)?,
        contact: data.contact(28, 32)?,
        rotation_degrees: data.rotation(24)?,
        tilt_degrees: (tilt != TILT_UNKNOWN).then_some(tilt.min(90)),
    })))
}

fn parse_touchpad(data: Data<'_>) -> Result<Packet, Error> {
    let phase = data.phase(9)?;
    let touchpad_index = data.u8(11)?;
    if touchpad_index > 1 {
        return Err(Error::Value("touchpad"));
    }
    let touchpad = Touchpad {
        touchpad_index,
        pointer: data.u32_le(12)?,
        phase,
        at: data.point(16, 20)?,
        reach: data.reach(24, phase)?,
    };
    data.gamepad(data.u8(8)?.into(), GamepadEvent::Touchpad(touchpad))
}

fn parse_motion(data: Data<'_>) -> Result<Packet, Error> {
    let sensor = match data.u8(9)? {
        1 => Sensor::Accelerometer,
        2 => Sensor::Gyroscope,
        _ => return Err(Error::Value("sensor")),
    };
    let axes = [data.f32_le(12)?, data.f32_le(16)?, data.f32_le(20)?];
    let motion = Motion::clamped(sensor, axes).ok_or(Error::NotANumber)?;
    data.gamepad(data.u8(8)?.into(), GamepadEvent::Motion(motion))
}

fn parse_battery(data: Data<'_>) -> Result<Packet, Error> {
    const PERCENT_UNKNOWN: u8 = 0xff;
    let state = match data.u8(9)? {
        1 => BatteryState::Missing,
        2 => BatteryState::Discharging,
        3 => BatteryState::Charging,
        4 => BatteryState::NotCharging,
        5 => BatteryState::Full,
        _ => BatteryState::Unknown,
    };
    let percent = data.u8(10)?;
    let percent = (percent != PERCENT_UNKNOWN).then_some(percent.min(100));
    data.gamepad(data.u8(8)?.into(), GamepadEvent::Battery(Battery { state, percent }))
}

#[cfg(test)]
mod tests;
