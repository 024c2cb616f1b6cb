//! What a client's user does: keyboard, pointer, touch, pen, gamepad. One vocabulary for any
//! protocol, in terms of Linux: keys are evdev codes, positions are shares of the picture.

#![forbid(unsafe_code)]

mod gamepad;

use std::num::NonZeroU16;

pub use gamepad::{
    Abilities, Arrival, Battery, BatteryState, Buttons, Feedback, GAMEPAD_COUNT_MAX, Gamepad,
    GamepadEvent, GamepadIndex, GamepadKind, GamepadState, Motion, Sensor, Stick, Touchpad,
    TriggerEffect,
};

/// Bytes of a text at most.
pub const TEXT_LEN_MAX: usize = 32;

/// One thing done. Each variant is a kind that a client may or may not be allowed.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// At a gamepad.
    Gamepad(Gamepad),
    /// A key of the keyboard.
    Key(KeyEvent),
    /// A pen on or above the picture.
    Pen(Pen),
    /// A mouse, or what acts as one.
    Pointer(Pointer),
    /// Text that was typed without keys.
    Text(Text),
    /// A finger on or above the picture.
    Touch(Touch),
}

/// A key as Linux numbers them, `KEY_A` being 30.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u16);

/// A key goes down or up. Held keys are not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// Which.
    pub key: Key,
    /// Down or up.
    pub is_down: bool,
    /// What the client holds for held at that moment, maybe without an event of its own.
    pub modifiers: Modifiers,
}

/// A set of modifiers, whichever side of the keyboard they are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modifiers(u8);

impl Modifiers {
    /// Shift.
    pub const SHIFT: Modifiers = Modifiers(1);
    /// Control.
    pub const CTRL: Modifiers = Modifiers(2);
    /// Alt.
    pub const ALT: Modifiers = Modifiers(4);
    /// Meta, the key with the window on it.
    pub const META: Modifiers = Modifiers(8);

    /// The known ones among these bits.
    pub fn from_bits(bits: u8) -> Modifiers {
        Modifiers(bits & 0x0f)
    }

    /// Whether all of `others` are in this set.
    pub fn contain(self, others: Modifiers) -> bool {
        self.0 & others.0 == others.0
    }
}

/// UTF-8, at least one and at most [`TEXT_LEN_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Box<str>);

impl Text {
    /// A text of these characters, if it is neither empty nor too long.
    pub fn new(text: &str) -> Option<Text> {
        (1..=TEXT_LEN_MAX).contains(&text.len()).then(|| Text(text.into()))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a pointer does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pointer {
    /// A button goes down or up.
    Button {
        /// Which.
        button: PointerButton,
        /// Down or up.
        is_down: bool,
    },
    /// It moves, in counts of the device.
    MoveBy {
        /// To the right.
        dx: i16,
        /// Down.
        dy: i16,
    },
    /// It is put somewhere.
    MoveTo {
        /// Where.
        at: Point,
        /// The client's area that `at` is a place in. Its shape tells whether the picture has bars.
        area: Area,
    },
    /// A wheel turns.
    Scroll {
        /// Which.
        wheel: Wheel,
        /// How far: 120 to a click, positive is up or to the right.
        amount: i16,
    },
}

/// Buttons of a mouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointerButton {
    /// `BTN_EXTRA`.
    Extra,
    /// `BTN_LEFT`.
    Left,
    /// `BTN_MIDDLE`.
    Middle,
    /// `BTN_RIGHT`.
    Right,
    /// `BTN_SIDE`.
    Side,
}

/// Wheels of a mouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wheel {
    /// From side to side.
    Horizontal,
    /// Up and down.
    Vertical,
}

/// Width and height in units of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// From left to right.
    pub width: NonZeroU16,
    /// From top to bottom.
    pub height: NonZeroU16,
}

/// From 0 to 1, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Fraction(f32);

impl Fraction {
    /// The nearest fraction. There is none near to what is not a number.
    pub fn clamped(value: f32) -> Option<Fraction> {
        (!value.is_nan()).then(|| Fraction(value.clamp(0.0, 1.0)))
    }

    /// `part` of `whole`, within it.
    pub fn of(part: i16, whole: NonZeroU16) -> Fraction {
        Fraction((f32::from(part) / f32::from(whole.get())).clamp(0.0, 1.0))
    }

    /// The number.
    pub fn value(self) -> f32 {
        self.0
    }
}

/// A place in the picture, from its upper left corner.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: Fraction,
    /// Down.
    pub y: Fraction,
}

/// What a finger or a pen does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is above the surface and may have moved.
    Hover,
    /// It touches.
    Down,
    /// It is lifted.
    Up,
    /// It moves while it touches. One that is late may follow the lifting.
    Move,
    /// It is gone without having meant anything.
    Cancel,
    /// Nothing but a pen's buttons has changed.
    Buttons,
    /// It is no longer above the surface.
    HoverLeave,
    /// As `Cancel`, for all there are; the pointer of the event means nothing.
    CancelAll,
}

/// How near something is to the surface; `None` where the client cannot tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reach {
    /// It touches, with this share of the highest pressure.
    Pressure(Option<Fraction>),
    /// It is above, at this share of the largest distance.
    Distance(Option<Fraction>),
}

/// The size of what touches, as shares of the picture; `None` where the client cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Contact {
    /// The longer axis.
    pub major: Option<Fraction>,
    /// The shorter axis.
    pub minor: Option<Fraction>,
}

/// A finger's event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Touch {
    /// Which finger: the client's number for it, any.
    pub pointer: u32,
    /// What it does.
    pub phase: Phase,
    /// Where.
    pub at: Point,
    /// How near.
    pub reach: Reach,
    /// How large.
    pub contact: Contact,
    /// 0 to 359, clockwise.
    pub rotation_degrees: Option<u16>,
}

/// A pen's event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pen {
    /// What it does.
    pub phase: Phase,
    /// Which end of it.
    pub tool: Tool,
    /// Those that are pressed.
    pub buttons: PenButtons,
    /// Where.
    pub at: Point,
    /// How near.
    pub reach: Reach,
    /// How large.
    pub contact: Contact,
    /// Where it leans to: 0 to 359, clockwise.
    pub rotation_degrees: Option<u16>,
    /// How much it leans: 0 is upright, 90 is flat.
    pub tilt_degrees: Option<u8>,
}

/// Ends of a pen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// The one that rubs out.
    Eraser,
    /// The one that writes.
    Pen,
    /// The client cannot tell.
    Unknown,
}

/// A set of a pen's buttons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PenButtons(u8);

impl PenButtons {
    /// `BTN_STYLUS`.
    pub const PRIMARY: PenButtons = PenButtons(1);
    /// `BTN_STYLUS2`.
    pub const SECONDARY: PenButtons = PenButtons(2);
    /// `BTN_STYLUS3`.
    pub const TERTIARY: PenButtons = PenButtons(4);

    /// The known ones among these bits.
    pub fn from_bits(bits: u8) -> PenButtons {
        PenButtons(bits & 0x07)
    }

    /// Whether all of `others` are in this set.
    pub fn contain(self, others: PenButtons) -> bool {
        self.0 & others.0 == others.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_stay_between_0_and_1() {
        let cases = [
            (f32::NEG_INFINITY, Some(0.0)),
            (-0.5, Some(0.0)),
            (0.25, Some(0.25)),
            (1.5, Some(1.0)),
            (f32::INFINITY, Some(1.0)),
            (f32::NAN, None),
        ];
        for (value, expected) in cases {
            assert_eq!(Fraction::clamped(value).map(Fraction::value), expected, "{value}");
        }
        let whole = NonZeroU16::new(200).unwrap();
        for (part, expected) in [(-1, 0.0), (0, 0.0), (50, 0.25), (200, 1.0), (201, 1.0)] {
            assert_eq!(Fraction::of(part, whole).value(), expected, "{part}");
        }
    }

    #[test]
    fn texts_are_neither_empty_nor_long() {
        for (len, is_taken) in [(0, false), (1, true), (32, true), (33, false)] {
            assert_eq!(Text::new(&"x".repeat(len)).is_some(), is_taken, "{len}");
        }
        assert_eq!(Text::new("\u{1f600}").unwrap().as_str(), "\u{1f600}");
    }

    #[test]
    fn sets_keep_what_they_know() {
        let modifiers = Modifiers::from_bits(0xf9);
        let buttons = PenButtons::from_bits(0xfe);

        assert!(modifiers.contain(Modifiers::SHIFT) && modifiers.contain(Modifiers::META));
        assert!(!modifiers.contain(Modifiers::CTRL) && !modifiers.contain(Modifiers::ALT));
        assert_eq!(modifiers, Modifiers::from_bits(9));
        assert!(buttons.contain(PenButtons::SECONDARY) && buttons.contain(PenButtons::TERTIARY));
        assert!(!buttons.contain(PenButtons::PRIMARY));
        assert_eq!(buttons, PenButtons::from_bits(6));
    }
}
