//! Where input arrives: decrypted, bounded, typed, and only what its client may do.

#![forbid(unsafe_code)]

use punktfunk_core::proto::input::{GamepadEvent, Input, Pointer, Wheel};

use crate::grants::{Grant, Grants};

/// Everything that one client does.
#[derive(Debug)]
pub struct Injector {
    grants: Grants,
    counts: [u64; KINDS.len()],
    refused_count: u64,
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
    /// For a client that may do this much.
    pub fn new(grants: Grants) -> Injector {
        Injector { grants, counts: [0; KINDS.len()], refused_count: 0 }
    }

    /// Takes what the client does.
    pub fn handle(&mut self, input: &Input) {
        let kind = kind(input);
        if self.grants.contains(KINDS[kind].1) {
            self.counts[kind] += 1;
        } else {
            self.refused_count += 1;
        }
    }

    /// The session ends: nothing that is down may stay down.
    pub fn release_all(&mut self) {}

    /// What came so far, by kind.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS.iter().zip(self.counts).map(|((name, _), count)| (*name, count))
    }

    /// What the client may not do and tried.
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
    use punktfunk_core::proto::input::{Key, KeyEvent, Modifiers, Text};

    use super::*;

    fn key(is_down: bool) -> Input {
        Input::Key(KeyEvent { key: Key(30), is_down, modifiers: Modifiers::default() })
    }

    #[test]
    fn what_is_granted_arrives_and_the_rest_is_counted() {
        let text = Input::Text(Text::new("a").unwrap());
        let button = Input::Pointer(Pointer::MoveBy { dx: 1, dy: 0 });
        let mut injector = Injector::new(Grants::parse(["keyboard", "view"]).unwrap());

        for input in [key(true), key(false), text, button] {
            injector.handle(&input);
        }

        let came: Vec<_> = injector.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(came, [("key_down", 1), ("key_up", 1), ("text", 1)]);
        assert_eq!(injector.refused_count(), 1);
    }
}
