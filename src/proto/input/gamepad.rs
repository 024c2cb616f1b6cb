//! Gamepads: what is done at them, and what is done to them in return.

#![forbid(unsafe_code)]

use super::{Phase, Point, Reach};

/// Gamepads of one client at most.
pub const GAMEPAD_COUNT_MAX: usize = 16;

/// Which gamepad of a client, below [`GAMEPAD_COUNT_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GamepadIndex(u8);

impl GamepadIndex {
    /// The gamepad of this number, if there can be one.
    pub fn new(index: u16) -> Option<GamepadIndex> {
        let index = u8::try_from(index).ok()?;
        (usize::from(index) < GAMEPAD_COUNT_MAX).then_some(GamepadIndex(index))
    }

    /// The number.
    pub fn value(self) -> u8 {
        self.0
    }
}

/// What happens at a gamepad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gamepad {
    /// Which.
    pub index: GamepadIndex,
    /// What.
    pub event: GamepadEvent,
}

/// What happens. Between an arrival and the departure that follows there may be any of the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GamepadEvent {
    /// It is there from now on. Instead of the one of the same number, if there was one.
    Arrived(Arrival),
    /// Its battery.
    Battery(Battery),
    /// It is gone.
    Left,
    /// A sample of a sensor.
    Motion(Motion),
    /// All that is pressed and bent.
    State(GamepadState),
    /// A finger on one of its touchpads.
    Touchpad(Touchpad),
}

/// A gamepad as the client describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Whose make.
    pub kind: GamepadKind,
    /// What it has.
    pub abilities: Abilities,
    /// The buttons that it has.
    pub buttons: Buttons,
}

impl Arrival {
    /// Whether it can do that.
    pub fn takes(&self, feedback: &Feedback) -> bool {
        let needed = match feedback {
            Feedback::AdaptiveTriggers { .. } => return self.kind == GamepadKind::PlayStation,
            Feedback::Led { .. } => Abilities::LED,
            Feedback::MotionRate { sensor: Sensor::Accelerometer, .. } => Abilities::ACCELEROMETER,
            Feedback::MotionRate { sensor: Sensor::Gyroscope, .. } => Abilities::GYROSCOPE,
            Feedback::Rumble { .. } => Abilities::RUMBLE,
            Feedback::RumbleTriggers { .. } => Abilities::RUMBLE_TRIGGERS,
        };
        self.abilities.contain(needed)
    }
}

/// Makes of gamepads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GamepadKind {
    /// Switch Pro and its like.
    Nintendo,
    /// DualShock, DualSense.
    PlayStation,
    /// Steam Deck, Steam Controller.
    Steam,
    /// The client cannot tell.
    Unknown,
    /// Xbox and most others.
    Xbox,
}

/// What a gamepad has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities(u16);

impl Abilities {
    /// Triggers with a way between up and down.
    pub const ANALOG_TRIGGERS: Abilities = Abilities(0x01);
    /// The two motors of the body.
    pub const RUMBLE: Abilities = Abilities(0x02);
    /// A motor in each trigger.
    pub const RUMBLE_TRIGGERS: Abilities = Abilities(0x04);
    /// A touchpad.
    pub const TOUCHPAD: Abilities = Abilities(0x08);
    /// An accelerometer.
    pub const ACCELEROMETER: Abilities = Abilities(0x10);
    /// A gyroscope.
    pub const GYROSCOPE: Abilities = Abilities(0x20);
    /// A battery that tells its state.
    pub const BATTERY: Abilities = Abilities(0x40);
    /// A light of any colour.
    pub const LED: Abilities = Abilities(0x80);
    /// A second touchpad.
    pub const TOUCHPAD_SECOND: Abilities = Abilities(0x100);

    /// The known ones among these bits.
    pub const fn from_bits(bits: u16) -> Abilities {
        Abilities(bits & 0x1ff)
    }

    /// This set and `others` together.
    pub const fn with(self, others: Abilities) -> Abilities {
        Abilities(self.0 | others.0)
    }

    /// Whether all of `others` are in this set.
    pub fn contain(self, others: Abilities) -> bool {
        self.0 & others.0 == others.0
    }
}

/// A set of buttons, named by where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buttons(u32);

impl Buttons {
    /// Up on the directional pad.
    pub const UP: Buttons = Buttons(0x0001);
    /// Down on the directional pad.
    pub const DOWN: Buttons = Buttons(0x0002);
    /// Left on the directional pad.
    pub const LEFT: Buttons = Buttons(0x0004);
    /// Right on the directional pad.
    pub const RIGHT: Buttons = Buttons(0x0008);
    /// Start, play, plus.
    pub const START: Buttons = Buttons(0x0010);
    /// Back, select, minus.
    pub const BACK: Buttons = Buttons(0x0020);
    /// The left stick, pressed.
    pub const STICK_LEFT: Buttons = Buttons(0x0040);
    /// The right stick, pressed.
    pub const STICK_RIGHT: Buttons = Buttons(0x0080);
    /// The left bumper.
    pub const BUMPER_LEFT: Buttons = Buttons(0x0100);
    /// The right bumper.
    pub const BUMPER_RIGHT: Buttons = Buttons(0x0200);
    /// Guide, home, the maker's sign.
    pub const GUIDE: Buttons = Buttons(0x0400);
    /// A of Xbox.
    pub const SOUTH: Buttons = Buttons(0x1000);
    /// B of Xbox.
    pub const EAST: Buttons = Buttons(0x2000);
    /// X of Xbox.
    pub const WEST: Buttons = Buttons(0x4000);
    /// Y of Xbox.
    pub const NORTH: Buttons = Buttons(0x8000);
    /// The first paddle.
    pub const PADDLE_1: Buttons = Buttons(0x01_0000);
    /// The second paddle.
    pub const PADDLE_2: Buttons = Buttons(0x02_0000);
    /// The third paddle.
    pub const PADDLE_3: Buttons = Buttons(0x04_0000);
    /// The fourth paddle.
    pub const PADDLE_4: Buttons = Buttons(0x08_0000);
    /// The touchpad, pressed.
    pub const TOUCHPAD: Buttons = Buttons(0x10_0000);
    /// Share, microphone, capture.
    pub const MISC: Buttons = Buttons(0x20_0000);
    /// Every one that has a name.
    pub const ALL: Buttons = Buttons(0x3f_f7ff);

    /// The known ones among these bits.
    pub const fn from_bits(bits: u32) -> Buttons {
        Buttons(bits & Buttons::ALL.0)
    }

    /// The bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `others` are in this set.
    pub fn contain(self, others: Buttons) -> bool {
        self.0 & others.0 == others.0
    }
}

/// All that is pressed and bent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GamepadState {
    /// Those that are pressed.
    pub buttons: Buttons,
    /// The left trigger; 255 is all the way down.
    pub trigger_left: u8,
    /// The right trigger.
    pub trigger_right: u8,
    /// The left stick.
    pub stick_left: Stick,
    /// The right stick.
    pub stick_right: Stick,
}

/// How a stick is bent; the whole range of the integer is the whole way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stick {
    /// To the right.
    pub x: i16,
    /// Up, which is the other way round in evdev.
    pub y: i16,
}

/// A finger on a touchpad of the gamepad, whose area the place is in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Touchpad {
    /// Which: 0 or 1.
    pub touchpad_index: u8,
    /// Which finger: the client's number for it, any.
    pub pointer: u32,
    /// What it does.
    pub phase: Phase,
    /// Where.
    pub at: Point,
    /// How near.
    pub reach: Reach,
}

/// A sample of a sensor. Seen by whoever holds the gamepad, x is right, y up and z towards him.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Motion {
    /// Which sensor.
    pub sensor: Sensor,
    /// Along x, y and z, in the sensor's unit and within its range.
    pub axes: [f32; 3],
}

impl Motion {
    /// The sample nearest to these numbers. There is none near to what is not a number.
    pub fn clamped(sensor: Sensor, axes: [f32; 3]) -> Option<Motion> {
        let axes = axes.map(|axis| axis.clamp(-sensor.range(), sensor.range()));
        (!axes.iter().any(|axis| axis.is_nan())).then_some(Motion { sensor, axes })
    }
}

/// Sensors of motion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensor {
    /// In metres per second squared, with gravity.
    Accelerometer,
    /// In degrees per second.
    Gyroscope,
}

impl Sensor {
    /// Either way from 0; ten times what sensors of gamepads reach, and nothing else.
    pub fn range(self) -> f32 {
        match self {
            Sensor::Accelerometer => 1_000.0,
            Sensor::Gyroscope => 20_000.0,
        }
    }
}

/// A gamepad's battery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Battery {
    /// What it does.
    pub state: BatteryState,
    /// 0 to 100, where the client can tell.
    pub percent: Option<u8>,
}

/// What a battery does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatteryState {
    /// It is being filled.
    Charging,
    /// It is being used.
    Discharging,
    /// It is full.
    Full,
    /// There is none.
    Missing,
    /// It is plugged in and not being filled.
    NotCharging,
    /// The client cannot tell.
    Unknown,
}

/// What is done to a gamepad by the program that it plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// Resistance of the triggers of a DualSense; `None` leaves one as it is.
    AdaptiveTriggers {
        /// Of the left one.
        left: Option<TriggerEffect>,
        /// Of the right one.
        right: Option<TriggerEffect>,
    },
    /// The colour of the light.
    Led {
        /// 0 to 255.
        red: u8,
        /// 0 to 255.
        green: u8,
        /// 0 to 255.
        blue: u8,
    },
    /// How often a sensor is to be sampled.
    MotionRate {
        /// Which.
        sensor: Sensor,
        /// Samples per second; none are wanted at 0.
        rate_hz: u16,
    },
    /// The motors of the body; 0 stops one.
    Rumble {
        /// The strong one.
        low_frequency: u16,
        /// The weak one.
        high_frequency: u16,
    },
    /// The motors of the triggers; 0 stops one.
    RumbleTriggers {
        /// The left one.
        left: u16,
        /// The right one.
        right: u16,
    },
}

/// What a trigger of a DualSense is told, in its own terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriggerEffect {
    /// Which effect.
    pub mode: u8,
    /// What the effect goes by.
    pub parameters: [u8; 10],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_sixteen_gamepads() {
        for (index, expected) in [(0, Some(0)), (15, Some(15)), (16, None), (0x100, None)] {
            assert_eq!(GamepadIndex::new(index).map(GamepadIndex::value), expected, "{index}");
        }
    }

    #[test]
    fn feedback_is_for_gamepads_that_can_do_it() {
        let rate = |sensor| Feedback::MotionRate { sensor, rate_hz: 100 };
        let cases = [
            (Abilities::LED, Feedback::Led { red: 1, green: 2, blue: 3 }),
            (Abilities::ACCELEROMETER, rate(Sensor::Accelerometer)),
            (Abilities::GYROSCOPE, rate(Sensor::Gyroscope)),
            (Abilities::RUMBLE, Feedback::Rumble { low_frequency: 0, high_frequency: 0 }),
            (Abilities::RUMBLE_TRIGGERS, Feedback::RumbleTriggers { left: 1, right: 0 }),
        ];
        let mut arrival = Arrival {
            kind: GamepadKind::Xbox,
            abilities: Abilities::default(),
            buttons: Buttons::ALL,
        };
        for (needed, feedback) in cases {
            arrival.abilities = needed;
            assert!(arrival.takes(&feedback), "{feedback:?}");
            arrival.abilities = Abilities(!needed.0);
            assert!(!arrival.takes(&feedback), "{feedback:?}");
        }
        let triggers = Feedback::AdaptiveTriggers { left: None, right: None };
        assert!(!arrival.takes(&triggers));
        arrival.kind = GamepadKind::PlayStation;
        assert!(arrival.takes(&triggers));
    }

    #[test]
    fn samples_are_numbers_within_the_sensors_range() {
        let axes = [f32::INFINITY, -2_000.0, 9.81];

        let motion = Motion::clamped(Sensor::Accelerometer, axes).unwrap();

        assert_eq!(motion.axes, [1_000.0, -1_000.0, 9.81]);
        assert_eq!(Motion::clamped(Sensor::Gyroscope, [0.0, f32::NAN, 0.0]), None);
    }
}
