//! Where input arrives: decrypted, bounded, typed, and only what its client may do.

#![forbid(unsafe_code)]

pub mod desk;
pub mod devices;
mod fingers;
pub mod focus;
pub mod kernel;
pub mod keyboard;
pub mod keymap;
mod pen;
pub mod pointer;
pub mod surface;
pub mod uinput;
pub mod wayland;

use std::time::Instant;

use punktfunk_core::proto::input::{GamepadEvent, GamepadIndex, Input, Pointer, Wheel};

use crate::code::Code;
use crate::grants::{Grant, Grants};
use devices::Devices;
use uinput::{Gamepads, Pad, Terms};

/// Everything that one client does.
#[derive(Debug)]
pub struct Injector {
    grants: Grants,
    counts: [u64; KINDS.len()],
    refused_count: u64,
    gamepads: Gamepads,
    /// Where other input goes; without them it is only counted.
    devices: Option<Devices>,
    /// Whether it was told already why there are no gamepads.
    has_told_why: bool,
}

/// Kinds of input that are counted apart, with the grant that each needs. In alphabetical order.
pub const KINDS: [(&str, Grant); 17] = [
    ("gamepad_arrived", Grant::Gamepad),
    ("gamepad_battery", Grant::Gamepad),
    ("gamepad_left", Grant::Gamepad),
    ("gamepad_motion", Grant::Gamepad),
    ("gamepad_state", Grant::Gamepad),
    ("gamepad_touchpad", Grant::Gamepad),
    ("key_down", Grant::Keyboard),
    ("key_up", Grant::Keyboard),
    ("pen", Grant::Pen),
    ("pointer_button_down", Grant::Mouse),
    ("pointer_button_up", Grant::Mouse),
    ("pointer_move", Grant::Mouse),
    ("pointer_place", Grant::Mouse),
    ("scroll_horizontal", Grant::Mouse),
    ("scroll_vertical", Grant::Mouse),
    ("text", Grant::Keyboard),
    ("touch", Grant::Touch),
];

impl Injector {
    /// For a client that may do this much, and has gamepads of this kind.
    pub fn new(grants: Grants, terms: Terms) -> Injector {
        Injector {
            grants,
            counts: [0; KINDS.len()],
            refused_count: 0,
            gamepads: Gamepads::new(terms, grants.contains(Grant::Gamepad)),
            devices: None,
            has_told_why: false,
        }
    }

    /// Input goes to these devices from now on. Returns those before, where nothing is down any
    /// more.
    pub fn attach(&mut self, devices: Devices) -> Option<Devices> {
        self.release_all();
        self.devices.replace(devices)
    }

    /// Input goes nowhere from now on, if the devices are lost. Returns whether they are.
    pub fn drop_lost(&mut self) -> bool {
        let lost = self.devices.take_if(|devices| devices.is_lost());
        if let Some(devices) = &lost {
            log::debug!("input: lost, {} motions were left out before", devices.dropped_count());
        }
        lost.is_some()
    }

    /// Where input goes, for their descriptor, timeout and end.
    pub fn devices(&mut self) -> Option<&mut Devices> {
        self.devices.as_mut()
    }

    /// The client may do this much from now on.
    pub fn set_grants(&mut self, grants: Grants) {
        if self.grants.without(grants) != Grants::NONE {
            // What it holds down it could not let go of any more.
            self.release_all();
        }
        self.grants = grants;
        self.gamepads.set_allowed(grants.contains(Grant::Gamepad));
    }

    /// Gamepads, for what they want done and what they want of the client.
    pub fn gamepads(&mut self) -> &mut Gamepads {
        &mut self.gamepads
    }

    /// Whether a gamepad is one of those that the client may have.
    pub fn sees(&self, gamepad: GamepadIndex) -> bool {
        self.gamepads.sees(gamepad)
    }

    /// When [`Gamepads::poll_feedback`] is to be called, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.gamepads.poll_timeout()
    }

    /// Takes a gamepad that was made, or why it could not be, which is told the first time.
    pub fn attach_gamepad(&mut self, index: GamepadIndex, opened: Result<Box<Pad>, uinput::Error>) {
        if let Err(error) = &opened
            && !std::mem::replace(&mut self.has_told_why, true)
        {
            log::warn!("input: gamepads are refused: {error} [{}]", Code::Uinput);
        }
        self.gamepads.attach(index, opened);
    }

    /// Takes what the client does.
    pub fn handle(&mut self, input: &Input) {
        let kind = kind(input);
        let mut is_taken = self.grants.contains(KINDS[kind].1);
        if let Input::Gamepad(gamepad) = input {
            let is_seen = self.sees(gamepad.index);
            let has_device = is_seen && self.gamepads.handle(gamepad.index, &gamepad.event);
            // With a test picture, all that may be done is only counted where it leads nowhere.
            is_taken &= has_device || (is_seen && self.devices.is_none());
        }
        if !is_taken {
            self.refused_count += 1;
            return;
        }
        self.counts[kind] += 1;
        if let Some(devices) = &mut self.devices {
            devices.handle(input);
        }
    }

    /// Nothing that is down may stay down; gamepads go. Returns the devices, to be let go of.
    pub fn close(&mut self) -> Option<Devices> {
        self.release_all();
        self.gamepads.set_allowed(false);
        self.devices.take()
    }

    /// Nothing that is down may stay down.
    pub fn release_all(&mut self) {
        if let Some(devices) = &mut self.devices {
            devices.release_all();
        }
    }

    /// What came so far, by kind.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS.iter().zip(self.counts).map(|((name, _), count)| (*name, count))
    }

    /// What the client may not do and tried, at gamepads beyond those that it may have too, or at
    /// ones that could not be made.
    pub fn refused_count(&self) -> u64 {
        self.refused_count
    }
}

/// Where a kind is in [`KINDS`].
fn kind(input: &Input) -> usize {
    match input {
        Input::Gamepad(gamepad) => match gamepad.event {
            GamepadEvent::Arrived(_) => 0,
            GamepadEvent::Battery(_) => 1,
            GamepadEvent::Left => 2,
            GamepadEvent::Motion(_) => 3,
            GamepadEvent::State(_) => 4,
            GamepadEvent::Touchpad(_) => 5,
        },
        Input::Key(key) if key.is_down => 6,
        Input::Key(_) => 7,
        Input::Pen(_) => 8,
        Input::Pointer(Pointer::Button { is_down: true, .. }) => 9,
        Input::Pointer(Pointer::Button { .. }) => 10,
        Input::Pointer(Pointer::MoveBy { .. }) => 11,
        Input::Pointer(Pointer::MoveTo { .. }) => 12,
        Input::Pointer(Pointer::Scroll { wheel: Wheel::Horizontal, .. }) => 13,
        Input::Pointer(Pointer::Scroll { .. }) => 14,
        Input::Text(_) => 15,
        Input::Touch(_) => 16,
    }
}

#[cfg(test)]
mod tests {
    use punktfunk_core::proto::input::{
        Abilities, Area, Arrival, Battery, BatteryState, Buttons, Contact, Gamepad, GamepadKind,
        GamepadState, Key, KeyEvent, Modifiers, Motion, Pen, PenButtons, Phase, Point,
        PointerButton, Reach, Sensor, Text, Tool, Touch, Touchpad,
    };

    use super::*;

    fn injector(grants: [&str; 2], count_max: u8) -> Injector {
        let terms = Terms { count_max, ..Terms::default() };
        Injector::new(Grants::parse(grants).unwrap(), terms)
    }

    fn key(is_down: bool) -> Input {
        Input::Key(KeyEvent { key: Key(30), is_down, modifiers: Modifiers::default() })
    }

    #[test]
    fn what_is_granted_arrives_and_the_rest_is_counted() {
        let text = Input::Text(Text::new("a").unwrap());
        let button = Input::Pointer(Pointer::MoveBy { dx: 1, dy: 0 });
        let mut injector = injector(["keyboard", "view"], 4);

        for input in [key(true), key(false), text, button] {
            injector.handle(&input);
        }

        let came: Vec<_> = injector.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(came, [("key_down", 1), ("key_up", 1), ("text", 1)]);
        assert_eq!(injector.refused_count(), 1);
    }

    /// One of each kind, with the grant that lets it in.
    fn one_of_each() -> [(Input, &'static str); 17] {
        let pad = |event| Input::Gamepad(Gamepad { index: GamepadIndex::new(0).unwrap(), event });
        let pointer = |event| (Input::Pointer(event), "mouse");
        let button = |is_down| pointer(Pointer::Button { button: PointerButton::Left, is_down });
        let scroll = |wheel| pointer(Pointer::Scroll { wheel, amount: 120 });
        let (at, reach, phase) = (Point::default(), Reach::Pressure(None), Phase::Down);
        let contact = Contact::default();
        let side = 1.try_into().unwrap();
        let abilities = Abilities::default();
        let arrival = Arrival { kind: GamepadKind::Xbox, abilities, buttons: Buttons::ALL };
        let battery = Battery { state: BatteryState::Full, percent: None };
        let motion = Motion::clamped(Sensor::Gyroscope, [0.0; 3]).unwrap();
        let touchpad = Touchpad { touchpad_index: 0, pointer: 1, phase, at, reach };
        let touch = Touch { pointer: 1, phase, at, reach, contact, rotation_degrees: None };
        let pen = Pen {
            phase,
            tool: Tool::Pen,
            buttons: PenButtons::default(),
            at,
            reach,
            contact,
            rotation_degrees: None,
            tilt_degrees: None,
        };
        [
            (pad(GamepadEvent::Arrived(arrival)), "gamepad"),
            (pad(GamepadEvent::Battery(battery)), "gamepad"),
            (pad(GamepadEvent::Motion(motion)), "gamepad"),
            (pad(GamepadEvent::State(GamepadState::default())), "gamepad"),
            (pad(GamepadEvent::Touchpad(touchpad)), "gamepad"),
            (pad(GamepadEvent::Left), "gamepad"),
            (key(true), "keyboard"),
            (key(false), "keyboard"),
            (Input::Text(Text::new("a").unwrap()), "keyboard"),
            (Input::Pen(pen), "pen"),
            button(true),
            button(false),
            pointer(Pointer::MoveBy { dx: 1, dy: 0 }),
            pointer(Pointer::MoveTo { at, area: Area { width: side, height: side } }),
            scroll(Wheel::Horizontal),
            scroll(Wheel::Vertical),
            (Input::Touch(touch), "touch"),
        ]
    }

    #[test]
    fn each_grant_lets_in_its_kinds_and_no_others() {
        // What comes in of every kind that there is, once.
        let table = [
            ("view", 0),
            ("keyboard", 3),
            ("mouse", 6),
            ("gamepad", 6),
            ("touch", 1),
            ("pen", 1),
            ("audio", 0),
            ("launch", 0),
        ];
        let kinds: Vec<usize> = one_of_each().iter().map(|(input, _)| kind(input)).collect();
        assert!((0..KINDS.len()).all(|it| kinds.contains(&it)), "{kinds:?}");
        for (grant, expected) in table {
            let terms = Terms { count_max: 4, ..Terms::default() };
            let mut injector = Injector::new(Grants::parse([grant]).unwrap(), terms);
            for (input, needs) in one_of_each() {
                let refused = injector.refused_count();

                injector.handle(&input);

                let is_in = injector.refused_count() == refused;
                assert_eq!(is_in, needs == grant, "{grant}: {input:?}");
            }
            let came: u64 = injector.counts().map(|(_, count)| count).sum();
            let makes = injector.gamepads().poll_act().is_some();
            assert_eq!((came, makes), (expected, grant == "gamepad"), "{grant}");
        }
    }

    #[test]
    fn grants_may_change_and_gamepads_have_a_bound() {
        let left = |index| {
            let index = GamepadIndex::new(index).unwrap();
            Input::Gamepad(Gamepad { index, event: GamepadEvent::Left })
        };
        let mut injector = injector(["gamepad", "view"], 2);

        injector.handle(&key(true));
        injector.set_grants(Grants::parse(["keyboard", "gamepad", "view"]).unwrap());
        for input in [key(true), left(0), left(1), left(2), left(15)] {
            injector.handle(&input);
        }

        let came: Vec<_> = injector.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(came, [("gamepad_left", 2), ("key_down", 1)]);
        assert_eq!(injector.refused_count(), 3);
    }
}
