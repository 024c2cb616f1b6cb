//! A keyboard, a pointer, a touch screen and a pen of a client's own made by the kernel, for desktops
//! whose compositor has no way for such: any program that reads input devices takes them for real
//! ones.
//!
//! Keyboard and pointer belong to no output and no seat but the first, so they are right where one output is. What
//! the keys mean the desktop's own layout says; texts have the characters of an American keyboard
//! alone. Motion that says where is a tablet's, the rest a mouse's.

#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::time::Instant;

use punktfunk_core::net::clock;
use punktfunk_core::net::uinput::{Axis, Error, Id, Node, Shape};
use punktfunk_core::proto::input::{Input, PointerButton, Wheel};

use super::keyboard::{self, Held, Keyboard, MODIFIERS};
use super::pointer::{self, Mouse};
use super::surface::Surface;

/// Of linux/input-event-codes.h and linux/input.h.
const EV_KEY: u16 = 0x01;
const EV_REL: u16 = 0x02;
const EV_ABS: u16 = 0x03;
const REL_X: u16 = 0x00;
const REL_Y: u16 = 0x01;
const REL_HWHEEL: u16 = 0x06;
const REL_WHEEL: u16 = 0x08;
const REL_WHEEL_HI_RES: u16 = 0x0b;
const REL_HWHEEL_HI_RES: u16 = 0x0c;
const ABS_X: u16 = 0x00;
const ABS_Y: u16 = 0x01;
const BTN_LEFT: u16 = 0x110;
const BTN_RIGHT: u16 = 0x111;
const BTN_MIDDLE: u16 = 0x112;
const BTN_SIDE: u16 = 0x113;
const BTN_EXTRA: u16 = 0x114;
const BUS_VIRTUAL: u16 = 0x06;
const KEY_CAPS_LOCK: u16 = 58;
const CAPS_LOCK: u32 = 1 << 1;

/// Keys that a keyboard has: all that are no buttons.
const KEY_END: u16 = 0x100;
/// The width and the height of what the tablet lies on.
const EXTENT: i32 = 65_535;
const PHYS: &CStr = c"punktfunk";

/// The devices of one client. When the value goes, so do they, and nothing of them stays down.
#[derive(Debug)]
pub struct Devices {
    keyboard: Node,
    mouse: Node,
    tablet: Node,
    surface: Surface,
    keys: Keyboard,
    pointer: Mouse,
    held: Modifiers,
    /// Memory for what an input means; empty in between.
    key_acts: Vec<keyboard::Act>,
    pointer_acts: Vec<pointer::Act>,
}

/// Keys of modifiers as the kernel was told, which works out by itself what they mean.
#[derive(Debug, Default)]
struct Modifiers {
    /// Whether the left and the right key of each is down.
    down: [[bool; 2]; MODIFIERS.len()],
    is_caps_locked: bool,
}

impl Devices {
    /// Makes the devices. Takes the kernel milliseconds, some more where udev is busy.
    pub fn open() -> Result<Devices, Error> {
        let shape = |name: &str, product: u16| Shape {
            name: format!("punktfunk {name}"),
            id: Id { bus: BUS_VIRTUAL, vendor: 0, product, version: 1 },
            ..Shape::default()
        };
        let buttons = vec![BTN_LEFT, BTN_RIGHT, BTN_MIDDLE, BTN_SIDE, BTN_EXTRA];
        let wheels = [REL_HWHEEL, REL_WHEEL, REL_WHEEL_HI_RES, REL_HWHEEL_HI_RES];
        let keyboard = Shape { keys: (1..KEY_END).collect(), ..shape("keyboard", 1) };
        let ways = [REL_X, REL_Y].into_iter().chain(wheels).collect();
        let mouse = Shape { keys: buttons, ways, ..shape("mouse", 2) };
        let axes = [ABS_X, ABS_Y].map(|code| Axis::new(code, 0, EXTENT)).to_vec();
        // With others, joydev would take it for a joystick.
        let tablet =
            Shape { keys: vec![BTN_LEFT, BTN_RIGHT, BTN_MIDDLE], axes, ..shape("tablet", 3) };
        Ok(Devices {
            keyboard: Node::open(&keyboard, PHYS)?,
            mouse: Node::open(&mouse, PHYS)?,
            tablet: Node::open(&tablet, PHYS)?,
            surface: Surface::open()?,
            keys: Keyboard::of_one_layout(),
            pointer: Mouse::default(),
            held: Modifiers::default(),
            key_acts: Vec::with_capacity(64),
            pointer_acts: Vec::with_capacity(8),
        })
    }

    /// The touch screen and the pen.
    pub fn surface(&mut self) -> &mut Surface {
        &mut self.surface
    }

    /// Takes what a client does.
    pub fn handle(&mut self, input: &Input) {
        let acts = &mut self.pointer_acts;
        match input {
            Input::Gamepad(_) => {}
            Input::Pen(_) | Input::Touch(_) => {
                self.pointer.settle(acts);
                self.surface.handle(input);
            }
            Input::Key(event) => {
                self.pointer.settle(acts);
                self.keys.handle_key(*event, &mut self.key_acts);
            }
            Input::Pointer(pointer) => {
                self.pointer.handle_pointer(*pointer, None, clock::now(), acts);
            }
            Input::Text(text) => {
                self.pointer.settle(acts);
                self.keys.handle_text(text, &mut self.key_acts);
            }
        }
        self.tell();
    }

    /// Everything that is down goes up.
    pub fn release_all(&mut self) {
        self.surface.release_all();
        self.pointer.release_all(&mut self.pointer_acts);
        self.keys.release_all(&mut self.key_acts);
        self.tell();
    }

    /// Does what is due by now.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.pointer.handle_timeout(now, &mut self.pointer_acts);
        self.tell();
    }

    /// When to call [`Devices::handle_timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pointer.poll_timeout()
    }

    fn tell(&mut self) {
        for act in self.pointer_acts.drain(..) {
            let node = match act {
                pointer::Act::MoveTo { .. } => &mut self.tablet,
                _ => &mut self.mouse,
            };
            for (kind, code, value) in events(act).into_iter().flatten() {
                node.put(kind, code, value);
            }
            node.send();
        }
        for act in self.key_acts.drain(..) {
            let keyboard = &mut self.keyboard;
            let mut press = |key: u16, is_down: bool| {
                if key < KEY_END {
                    keyboard.put(EV_KEY, key, is_down.into());
                    keyboard.send();
                }
            };
            match act {
                keyboard::Act::Key { key, is_down } => {
                    self.held.note(key, is_down);
                    press(key, is_down);
                }
                // A keyboard of one layout has none.
                keyboard::Act::Keymap => {}
                keyboard::Act::Modifiers(held) => self.held.become_so(held, &mut press),
            }
        }
    }
}

impl Modifiers {
    fn note(&mut self, key: u16, is_down: bool) {
        for (down, (_, keys, _)) in self.down.iter_mut().zip(MODIFIERS) {
            for (down, of) in down.iter_mut().zip(keys) {
                *down = if of == key { is_down } else { *down };
            }
        }
        self.is_caps_locked ^= key == KEY_CAPS_LOCK && is_down;
    }

    /// Presses what makes these hold, and no others.
    fn become_so(&mut self, held: Held, press: &mut impl FnMut(u16, bool)) {
        for (down, (_, keys, bit)) in self.down.iter_mut().zip(MODIFIERS) {
            match (held.depressed_bits & bit != 0, *down) {
                (true, [false, false]) => {
                    press(keys[0], true);
                    *down = [true, false];
                }
                (false, before) => {
                    for (key, _) in keys.into_iter().zip(before).filter(|(_, is_down)| *is_down) {
                        press(key, false);
                    }
                    *down = [false, false];
                }
                (true, _) => {}
            }
        }
        if self.is_caps_locked != (held.locked_bits & CAPS_LOCK != 0) {
            self.is_caps_locked = !self.is_caps_locked;
            press(KEY_CAPS_LOCK, true);
            press(KEY_CAPS_LOCK, false);
        }
    }
}

/// The events of one act: kind, code and value.
fn events(act: pointer::Act) -> [Option<(u16, u16, i32)>; 2] {
    match act {
        pointer::Act::Button { button, is_down } => {
            [Some((EV_KEY, button_code(button), is_down.into())), None]
        }
        pointer::Act::MoveBy { dx, dy } => [(REL_X, dx), (REL_Y, dy)]
            .map(|(code, way)| (way != 0).then_some((EV_REL, code, way.into()))),
        pointer::Act::MoveTo { x, y } => {
            let place = |share: f64| (share * f64::from(EXTENT)).round() as i32;
            [Some((EV_ABS, ABS_X, place(x))), Some((EV_ABS, ABS_Y, place(y)))]
        }
        pointer::Act::Scroll { wheel, amount, click_count } => {
            let (fine, coarse) = match wheel {
                Wheel::Horizontal => (REL_HWHEEL_HI_RES, REL_HWHEEL),
                Wheel::Vertical => (REL_WHEEL_HI_RES, REL_WHEEL),
            };
            let clicks = (click_count != 0).then_some((EV_REL, coarse, click_count));
            [Some((EV_REL, fine, amount)), clicks]
        }
    }
}

fn button_code(button: PointerButton) -> u16 {
    match button {
        PointerButton::Extra => BTN_EXTRA,
        PointerButton::Left => BTN_LEFT,
        PointerButton::Middle => BTN_MIDDLE,
        PointerButton::Right => BTN_RIGHT,
        PointerButton::Side => BTN_SIDE,
    }
}

#[cfg(test)]
mod tests {
    use punktfunk_core::proto::input::{Key, KeyEvent, Modifiers as Bits, Text};

    use super::*;

    /// What a kernel is told of keys.
    fn told(inputs: &[Input]) -> Vec<(u16, bool)> {
        let (mut keys, mut held) = (Keyboard::of_one_layout(), Modifiers::default());
        let (mut acts, mut told) = (Vec::new(), Vec::new());
        for input in inputs {
            match input {
                Input::Key(event) => keys.handle_key(*event, &mut acts),
                Input::Text(text) => keys.handle_text(text, &mut acts),
                _ => panic!("no key"),
            }
        }
        keys.release_all(&mut acts);
        for act in acts {
            match act {
                keyboard::Act::Key { key, is_down } => {
                    held.note(key, is_down);
                    told.push((key, is_down));
                }
                keyboard::Act::Keymap => panic!("a layout that the desktop does not have"),
                keyboard::Act::Modifiers(now) => {
                    held.become_so(now, &mut |key, is_down| told.push((key, is_down)));
                }
            }
        }
        told
    }

    fn key(key: u16, is_down: bool) -> Input {
        let modifiers = Bits::default();
        Input::Key(KeyEvent { key: Key(key), is_down, modifiers })
    }

    fn text(text: &str) -> Input {
        Input::Text(Text::new(text).unwrap())
    }

    #[test]
    fn a_text_presses_shift_where_it_has_to_and_leaves_out_what_no_key_has() {
        let (a, b, shift) = (30, 48, 42);

        let told = told(&[text("aBü")]);

        let expected =
            [(a, true), (a, false), (shift, true), (b, true), (b, false), (shift, false)];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_held_while_a_text_is_typed_holds_afterwards_until_all_is_let_go_of() {
        let (a, ctrl) = (30, 29);

        let told = told(&[key(ctrl, true), text("a")]);

        let expected =
            [(ctrl, true), (ctrl, false), (a, true), (a, false), (ctrl, true), (ctrl, false)];
        assert_eq!(told, expected);
    }

    #[test]
    fn capitals_are_locked_and_set_free_by_their_key() {
        let (a, caps) = (30, KEY_CAPS_LOCK);
        let tap = |key| [(key, true), (key, false)];

        let told = told(&[key(caps, true), key(caps, false), text("a")]);

        // Off for the text, on again behind it, and off in the end.
        assert_eq!(told, [caps, caps, a, caps, caps].map(tap).concat());
    }

    #[test]
    fn a_wheel_turns_finely_and_by_clicks() {
        let scroll = |wheel, amount, click_count| {
            events(pointer::Act::Scroll { wheel, amount, click_count })
        };

        assert_eq!(scroll(Wheel::Vertical, 60, 0), [Some((EV_REL, REL_WHEEL_HI_RES, 60)), None]);
        assert_eq!(
            scroll(Wheel::Horizontal, -120, -1),
            [Some((EV_REL, REL_HWHEEL_HI_RES, -120)), Some((EV_REL, REL_HWHEEL, -1))]
        );
        assert_eq!(
            events(pointer::Act::MoveBy { dx: 0, dy: -3 }),
            [None, Some((EV_REL, REL_Y, -3))]
        );
        assert_eq!(
            events(pointer::Act::MoveTo { x: 0.5, y: 1.0 }),
            [Some((EV_ABS, ABS_X, 32_768)), Some((EV_ABS, ABS_Y, EXTENT))]
        );
    }
}
