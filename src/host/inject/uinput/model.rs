//! The gamepads that are imitated: what the kernel's drivers make of the real ones, so that games
//! know them. xpad for those of Xbox, hid-nintendo, hid-playstation.

#![forbid(unsafe_code)]

use punktfunk_core::net::uinput::{Axis, Id, Shape};
use punktfunk_core::proto::input::{Arrival, Buttons, GamepadKind, GamepadState};

use super::codes::*;

/// A trigger is down as a button beyond this, of 255.
const TRIGGER_DOWN: u8 = 30;
/// What ff-memless offers where a driver has two motors.
const EFFECTS: &[u16] = &[FF_RUMBLE, FF_PERIODIC, FF_SQUARE, FF_TRIANGLE, FF_SINE, FF_GAIN];

/// A kind of gamepad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// DualShock 4, second edition, with its motion sensors and touchpad.
    DualShock4,
    /// Switch Pro Controller.
    SwitchPro,
    /// Xbox 360.
    Xbox360,
    /// Xbox One S.
    XboxOne,
}

impl Model {
    /// What suits a gamepad that the client describes so.
    pub fn like(arrival: &Arrival) -> Model {
        match arrival.kind {
            GamepadKind::Nintendo => Model::SwitchPro,
            GamepadKind::PlayStation => Model::DualShock4,
            // What every game knows.
            GamepadKind::Steam | GamepadKind::Unknown => Model::Xbox360,
            GamepadKind::Xbox => Model::XboxOne,
        }
    }

    /// As the kernel calls it.
    pub fn name(self) -> &'static str {
        self.layout().name
    }

    /// What the node for buttons and axes is made from.
    pub fn shape(self) -> Shape {
        let layout = self.layout();
        Shape {
            name: layout.name.into(),
            id: layout.id,
            keys: layout.buttons.iter().map(|(code, _)| *code).collect(),
            axes: layout.axes.iter().map(|(axis, _)| *axis).collect(),
            effects: EFFECTS.to_vec(),
            ..Shape::default()
        }
    }

    /// Gives type, code and value of every event that tells this state.
    pub fn report(self, state: &GamepadState, mut give: impl FnMut(u16, u16, i32)) {
        let layout = self.layout();
        for (code, press) in layout.buttons {
            give(EV_KEY, *code, press.is_down(state).into());
        }
        for (axis, bend) in layout.axes {
            give(EV_ABS, axis.code, bend.value(axis, state));
        }
    }

    fn layout(self) -> &'static Layout {
        match self {
            Model::DualShock4 => &DUAL_SHOCK_4,
            Model::SwitchPro => &SWITCH_PRO,
            Model::Xbox360 => &XBOX_360,
            Model::XboxOne => &XBOX_ONE,
        }
    }
}

/// What a driver makes of a gamepad.
struct Layout {
    name: &'static str,
    id: Id,
    buttons: &'static [(u16, Press)],
    axes: &'static [(Axis, Bend)],
}

/// What presses a button.
#[derive(Clone, Copy)]
enum Press {
    Button(Buttons),
    TriggerLeft,
    TriggerRight,
}

/// What bends an axis. Those of sticks point right and down.
#[derive(Clone, Copy)]
enum Bend {
    HatX,
    HatY,
    LeftX,
    LeftY,
    RightX,
    RightY,
    TriggerLeft,
    TriggerRight,
}

impl Press {
    fn is_down(self, state: &GamepadState) -> bool {
        match self {
            Press::Button(button) => state.buttons.contain(button),
            Press::TriggerLeft => state.trigger_left > TRIGGER_DOWN,
            Press::TriggerRight => state.trigger_right > TRIGGER_DOWN,
        }
    }
}

impl Bend {
    fn value(self, axis: &Axis, state: &GamepadState) -> i32 {
        let held = |button| i32::from(state.buttons.contain(button));
        let trigger = |value: u8| i32::from(value) * axis.max / i32::from(u8::MAX);
        let stick = |value: i32| {
            let value = if axis.min < 0 { value } else { (value + 0x8000) >> 8 };
            value.clamp(axis.min, axis.max)
        };
        match self {
            Bend::HatX => held(Buttons::RIGHT) - held(Buttons::LEFT),
            Bend::HatY => held(Buttons::DOWN) - held(Buttons::UP),
            Bend::LeftX => stick(state.stick_left.x.into()),
            Bend::LeftY => stick(-i32::from(state.stick_left.y)),
            Bend::RightX => stick(state.stick_right.x.into()),
            Bend::RightY => stick(-i32::from(state.stick_right.y)),
            Bend::TriggerLeft => trigger(state.trigger_left),
            Bend::TriggerRight => trigger(state.trigger_right),
        }
    }
}

const fn button(code: u16, button: Buttons) -> (u16, Press) {
    (code, Press::Button(button))
}

const fn hat(code: u16, bend: Bend) -> (Axis, Bend) {
    (Axis::new(code, -1, 1), bend)
}

const XBOX_BUTTONS: &[(u16, Press)] = &[
    button(BTN_SOUTH, Buttons::SOUTH),
    button(BTN_EAST, Buttons::EAST),
    // xpad goes by the letters on the buttons, not by where they are.
    button(BTN_NORTH, Buttons::WEST),
    button(BTN_WEST, Buttons::NORTH),
    button(BTN_TL, Buttons::BUMPER_LEFT),
    button(BTN_TR, Buttons::BUMPER_RIGHT),
    button(BTN_SELECT, Buttons::BACK),
    button(BTN_START, Buttons::START),
    button(BTN_MODE, Buttons::GUIDE),
    button(BTN_THUMBL, Buttons::STICK_LEFT),
    button(BTN_THUMBR, Buttons::STICK_RIGHT),
];

const fn xbox_stick(code: u16, bend: Bend) -> (Axis, Bend) {
    (Axis { fuzz: 16, flat: 128, ..Axis::new(code, -32_768, 32_767) }, bend)
}

static XBOX_360: Layout = Layout {
    name: "Microsoft X-Box 360 pad",
    id: Id { bus: BUS_USB, vendor: 0x045e, product: 0x028e, version: 0x0114 },
    buttons: XBOX_BUTTONS,
    axes: &[
        xbox_stick(ABS_X, Bend::LeftX),
        xbox_stick(ABS_Y, Bend::LeftY),
        (Axis::new(ABS_Z, 0, 255), Bend::TriggerLeft),
        xbox_stick(ABS_RX, Bend::RightX),
        xbox_stick(ABS_RY, Bend::RightY),
        (Axis::new(ABS_RZ, 0, 255), Bend::TriggerRight),
        hat(ABS_HAT0X, Bend::HatX),
        hat(ABS_HAT0Y, Bend::HatY),
    ],
};

static XBOX_ONE: Layout = Layout {
    name: "Microsoft X-Box One S pad",
    id: Id { bus: BUS_USB, vendor: 0x045e, product: 0x02ea, version: 0x0408 },
    buttons: XBOX_BUTTONS,
    axes: &[
        xbox_stick(ABS_X, Bend::LeftX),
        xbox_stick(ABS_Y, Bend::LeftY),
        (Axis::new(ABS_Z, 0, 1_023), Bend::TriggerLeft),
        xbox_stick(ABS_RX, Bend::RightX),
        xbox_stick(ABS_RY, Bend::RightY),
        (Axis::new(ABS_RZ, 0, 1_023), Bend::TriggerRight),
        hat(ABS_HAT0X, Bend::HatX),
        hat(ABS_HAT0Y, Bend::HatY),
    ],
};

const fn switch_stick(code: u16, bend: Bend) -> (Axis, Bend) {
    (Axis { fuzz: 250, flat: 500, ..Axis::new(code, -32_767, 32_767) }, bend)
}

/// The version has its top bit set by the driver, which tells its axes from those of hid-generic.
static SWITCH_PRO: Layout = Layout {
    name: "Nintendo Switch Pro Controller",
    id: Id { bus: BUS_USB, vendor: 0x057e, product: 0x2009, version: 0x8111 },
    buttons: &[
        button(BTN_SOUTH, Buttons::SOUTH),
        button(BTN_EAST, Buttons::EAST),
        button(BTN_NORTH, Buttons::NORTH),
        button(BTN_WEST, Buttons::WEST),
        button(BTN_Z, Buttons::MISC),
        button(BTN_TL, Buttons::BUMPER_LEFT),
        button(BTN_TR, Buttons::BUMPER_RIGHT),
        (BTN_TL2, Press::TriggerLeft),
        (BTN_TR2, Press::TriggerRight),
        button(BTN_SELECT, Buttons::BACK),
        button(BTN_START, Buttons::START),
        button(BTN_MODE, Buttons::GUIDE),
        button(BTN_THUMBL, Buttons::STICK_LEFT),
        button(BTN_THUMBR, Buttons::STICK_RIGHT),
    ],
    axes: &[
        switch_stick(ABS_X, Bend::LeftX),
        switch_stick(ABS_Y, Bend::LeftY),
        switch_stick(ABS_RX, Bend::RightX),
        switch_stick(ABS_RY, Bend::RightY),
        hat(ABS_HAT0X, Bend::HatX),
        hat(ABS_HAT0Y, Bend::HatY),
    ],
};

const fn sony_stick(code: u16, bend: Bend) -> (Axis, Bend) {
    (Axis { rest: 128, ..Axis::new(code, 0, 255) }, bend)
}

/// The version has its top bit set by the driver, as with Nintendo's.
static DUAL_SHOCK_4: Layout = Layout {
    name: "Sony Interactive Entertainment Wireless Controller",
    id: Id { bus: BUS_USB, vendor: 0x054c, product: 0x09cc, version: 0x8111 },
    buttons: &[
        button(BTN_SOUTH, Buttons::SOUTH),
        button(BTN_EAST, Buttons::EAST),
        button(BTN_NORTH, Buttons::NORTH),
        button(BTN_WEST, Buttons::WEST),
        button(BTN_TL, Buttons::BUMPER_LEFT),
        button(BTN_TR, Buttons::BUMPER_RIGHT),
        (BTN_TL2, Press::TriggerLeft),
        (BTN_TR2, Press::TriggerRight),
        button(BTN_SELECT, Buttons::BACK),
        button(BTN_START, Buttons::START),
        button(BTN_MODE, Buttons::GUIDE),
        button(BTN_THUMBL, Buttons::STICK_LEFT),
        button(BTN_THUMBR, Buttons::STICK_RIGHT),
    ],
    axes: &[
        sony_stick(ABS_X, Bend::LeftX),
        sony_stick(ABS_Y, Bend::LeftY),
        (Axis::new(ABS_Z, 0, 255), Bend::TriggerLeft),
        sony_stick(ABS_RX, Bend::RightX),
        sony_stick(ABS_RY, Bend::RightY),
        (Axis::new(ABS_RZ, 0, 255), Bend::TriggerRight),
        hat(ABS_HAT0X, Bend::HatX),
        hat(ABS_HAT0Y, Bend::HatY),
    ],
};

#[cfg(test)]
mod tests {
    use punktfunk_core::proto::input::{Abilities, Stick};

    use super::*;

    const ALL: [Model; 4] = [Model::DualShock4, Model::SwitchPro, Model::Xbox360, Model::XboxOne];

    /// The value of one event of a report.
    fn value(model: Model, state: &GamepadState, kind: u16, code: u16) -> Option<i32> {
        let mut found = None;
        model.report(state, |it_kind, it_code, value| {
            if (it_kind, it_code) == (kind, code) {
                assert_eq!(found.replace(value), None, "told twice: {model:?} {kind} {code}");
            }
        });
        found
    }

    #[test]
    fn buttons_have_the_codes_that_the_kernels_drivers_give_them() {
        use Buttons as B;
        // A button, its code of Xbox, Switch and DualShock.
        let table = [
            (B::SOUTH, Some(0x130), Some(0x130), Some(0x130)),
            (B::EAST, Some(0x131), Some(0x131), Some(0x131)),
            (B::WEST, Some(0x133), Some(0x134), Some(0x134)),
            (B::NORTH, Some(0x134), Some(0x133), Some(0x133)),
            (B::BUMPER_LEFT, Some(0x136), Some(0x136), Some(0x136)),
            (B::BUMPER_RIGHT, Some(0x137), Some(0x137), Some(0x137)),
            (B::BACK, Some(0x13a), Some(0x13a), Some(0x13a)),
            (B::START, Some(0x13b), Some(0x13b), Some(0x13b)),
            (B::GUIDE, Some(0x13c), Some(0x13c), Some(0x13c)),
            (B::STICK_LEFT, Some(0x13d), Some(0x13d), Some(0x13d)),
            (B::STICK_RIGHT, Some(0x13e), Some(0x13e), Some(0x13e)),
            (B::MISC, None, Some(0x135), None),
            (B::PADDLE_1, None, None, None),
            (B::TOUCHPAD, None, None, None),
        ];
        for (buttons, xbox, switch, sony) in table {
            let state = GamepadState { buttons, ..GamepadState::default() };
            for (model, expected) in ALL.into_iter().zip([sony, switch, xbox, xbox]) {
                let mut down = Vec::new();
                model.report(&state, |kind, code, value| {
                    if kind == EV_KEY && value == 1 {
                        down.push(code);
                    }
                });
                assert_eq!(down, Vec::from_iter(expected), "{model:?} {buttons:?}");
            }
        }
    }

    #[test]
    fn sticks_use_the_whole_range_of_each_model_and_rest_in_its_middle() {
        // Of a stick's x and y, then where they are: DualShock, Switch, both of Xbox.
        let table = [
            (0, 0, (128, 128), (0, 0), (0, 0)),
            (i16::MAX, i16::MAX, (255, 0), (32_767, -32_767), (32_767, -32_767)),
            (i16::MIN, i16::MIN, (0, 255), (-32_767, 32_767), (-32_768, 32_767)),
            (256, 256, (129, 127), (256, -256), (256, -256)),
        ];
        for (x, y, sony, switch, xbox) in table {
            let stick = Stick { x, y };
            let left = GamepadState { stick_left: stick, ..GamepadState::default() };
            let right = GamepadState { stick_right: stick, ..GamepadState::default() };
            for (model, expected) in ALL.into_iter().zip([sony, switch, xbox, xbox]) {
                let at = |state, x, y| {
                    let axis = |code| value(model, state, EV_ABS, code).unwrap();
                    (axis(x), axis(y))
                };
                assert_eq!(at(&left, ABS_X, ABS_Y), expected, "{model:?}");
                assert_eq!(at(&right, ABS_RX, ABS_RY), expected, "{model:?}");
            }
        }
    }

    #[test]
    fn triggers_are_axes_and_where_the_driver_says_so_buttons() {
        // How far a trigger is down; the axis of DualShock, both of Xbox; the button.
        let table = [
            (0, 0, 0, 0, 0),
            (30, 30, 30, 120, 0),
            (31, 31, 31, 124, 1),
            (255, 255, 255, 1_023, 1),
        ];
        for (trigger, sony, x360, xone, button) in table {
            let state = GamepadState {
                trigger_left: trigger,
                trigger_right: trigger,
                ..GamepadState::default()
            };
            let axes = [Some(sony), None, Some(x360), Some(xone)];
            let buttons = [Some(button), Some(button), None, None];
            for ((model, axis), button) in ALL.into_iter().zip(axes).zip(buttons) {
                for (axis_code, button_code) in [(ABS_Z, BTN_TL2), (ABS_RZ, BTN_TR2)] {
                    assert_eq!(value(model, &state, EV_ABS, axis_code), axis, "{model:?}");
                    assert_eq!(value(model, &state, EV_KEY, button_code), button, "{model:?}");
                }
            }
        }
    }

    #[test]
    fn directional_pads_are_hats() {
        use Buttons as B;
        let table = [
            (B::UP, 0, -1),
            (B::DOWN, 0, 1),
            (B::LEFT, -1, 0),
            (B::RIGHT, 1, 0),
            (B::from_bits(B::UP.bits() | B::RIGHT.bits()), 1, -1),
            (B::from_bits(B::LEFT.bits() | B::RIGHT.bits()), 0, 0),
        ];
        for (buttons, x, y) in table {
            let state = GamepadState { buttons, ..GamepadState::default() };
            for model in ALL {
                assert_eq!(value(model, &state, EV_ABS, ABS_HAT0X), Some(x), "{buttons:?}");
                assert_eq!(value(model, &state, EV_ABS, ABS_HAT0Y), Some(y), "{buttons:?}");
            }
        }
    }

    #[test]
    fn every_value_is_within_its_axis_and_rests_where_it_says() {
        let ends = [i16::MIN, -1, 0, 1, i16::MAX];
        for model in ALL {
            let axes = model.shape().axes;
            for (stick, trigger) in ends.into_iter().zip([0, 1, 128, 254, 255]) {
                let stick = Stick { x: stick, y: stick };
                let state = GamepadState {
                    buttons: Buttons::ALL,
                    trigger_left: trigger,
                    trigger_right: trigger,
                    stick_left: stick,
                    stick_right: stick,
                };
                for axis in &axes {
                    let value = value(model, &state, EV_ABS, axis.code).unwrap();
                    assert!((axis.min..=axis.max).contains(&value), "{model:?} {axis:?} {value}");
                }
            }
            for axis in &axes {
                let rest = value(model, &GamepadState::default(), EV_ABS, axis.code);
                assert_eq!(rest, Some(axis.rest), "{model:?} {axis:?}");
            }
        }
    }

    #[test]
    fn a_gamepad_is_imitated_by_one_of_its_maker() {
        let table = [
            (GamepadKind::Nintendo, Model::SwitchPro),
            (GamepadKind::PlayStation, Model::DualShock4),
            (GamepadKind::Steam, Model::Xbox360),
            (GamepadKind::Unknown, Model::Xbox360),
            (GamepadKind::Xbox, Model::XboxOne),
        ];
        for (kind, expected) in table {
            let arrival = Arrival { kind, abilities: Abilities::default(), buttons: Buttons::ALL };
            assert_eq!(Model::like(&arrival), expected);
        }
    }
}
