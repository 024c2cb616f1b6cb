//! What keys and texts of a client mean for a virtual keyboard: what goes down and up, and which
//! modifiers hold.
//!
//! Compositors do not work out the modifiers of virtual keyboards: they are told. Clients that have
//! no key for a modifier name it with another key; then its left key goes down for that key.
//! Nothing is repeated here: what has the focus does that.

#![forbid(unsafe_code)]

use punktfunk_core::proto::input::{KeyEvent, Modifiers, Text};

use super::keymap::{Keymap, Stroke};

/// Codes of keys are below this, as Linux has it.
const KEY_COUNT: u16 = 0x300;

const KEY_CAPS_LOCK: u16 = 58;
const KEY_NUM_LOCK: u16 = 69;

const SHIFT: u32 = 1;
const CAPS_LOCK: u32 = 1 << 1;
const NUM_LOCK: u32 = 1 << 4;

/// Modifiers with their left and right keys and their bits in the keymap.
pub(super) const MODIFIERS: [(Modifiers, [u16; 2], u32); 4] = [
    (Modifiers::SHIFT, [42, 54], SHIFT),
    (Modifiers::CTRL, [29, 97], 1 << 2),
    (Modifiers::ALT, [56, 100], 1 << 3),
    (Modifiers::META, [125, 126], 1 << 6),
];

/// Something that the compositor is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A key goes down or up.
    Key {
        /// Its evdev code.
        key: u16,
        /// Down or up.
        is_down: bool,
    },
    /// The keymap is another one.
    Keymap,
    /// These modifiers hold.
    Modifiers(Held),
}

/// Modifiers that hold, as bits of the keymap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// By keys that are down.
    pub depressed_bits: u32,
    /// By locks.
    pub locked_bits: u32,
}

/// The keyboard of one client.
#[derive(Debug)]
pub struct Keyboard {
    /// A bit for each key that is down.
    down: [u64; KEY_COUNT as usize / 64],
    locked_bits: u32,
    keymap: Keymap,
}

impl Keyboard {
    /// Nothing is down. Number keys of the keypad give numbers, for that is what clients mean.
    pub fn new() -> Keyboard {
        Keyboard { down: [0; _], locked_bits: NUM_LOCK, keymap: Keymap::new() }
    }

    /// As [`Keyboard::new`], where the keymap is what it is: other characters are left out of texts.
    pub fn of_one_layout() -> Keyboard {
        Keyboard { keymap: Keymap::fixed(), ..Keyboard::new() }
    }

    /// Takes a key. One that is down already, or up, is not told again.
    pub fn handle_key(&mut self, event: KeyEvent, acts: &mut Vec<Act>) {
        let key = event.key.0;
        if !(1..KEY_COUNT).contains(&key) || self.is_down(key) == event.is_down {
            return;
        }
        let is_modifier = MODIFIERS.iter().any(|(_, keys, _)| keys.contains(&key));
        let missing = |(modifier, keys, _): &&(Modifiers, [u16; 2], u32)| {
            event.modifiers.contain(*modifier) && !keys.iter().any(|key| self.is_down(*key))
        };
        let missing = if event.is_down && !is_modifier {
            MODIFIERS.each_ref().map(|row| missing(&row).then_some(row.1[0]))
        } else {
            [None; 4]
        };

        for modifier in missing.into_iter().flatten() {
            self.press(modifier, true, acts);
        }
        self.press(key, event.is_down, acts);
        for modifier in missing.into_iter().rev().flatten() {
            self.press(modifier, false, acts);
        }
    }

    /// Types a text, whatever modifiers hold. Characters that no keymap has are left out.
    pub fn handle_text(&mut self, text: &Text, acts: &mut Vec<Act>) {
        let text = text.as_str();
        let mut told = Some(self.held());
        if self.keymap.prepare(text) {
            acts.push(Act::Keymap);
            // With a new keymap nothing is known to hold.
            told = None;
        }
        for character in text.chars() {
            if let Some(stroke) = self.keymap.stroke(character) {
                self.type_one(stroke, &mut told, acts);
            }
        }
        if told != Some(self.held()) {
            acts.push(Act::Modifiers(self.held()));
        }
    }

    /// Lets go of everything, locks too.
    pub fn release_all(&mut self, acts: &mut Vec<Act>) {
        let is_modifier = |key: &u16| MODIFIERS.iter().any(|(_, keys, _)| keys.contains(key));
        let down: Vec<u16> = (1..KEY_COUNT).filter(|key| self.is_down(*key)).collect();
        let (modifiers, others): (Vec<u16>, Vec<u16>) = down.into_iter().partition(is_modifier);
        for key in others.into_iter().chain(modifiers) {
            self.press(key, false, acts);
        }
        if self.locked_bits != NUM_LOCK {
            self.locked_bits = NUM_LOCK;
            acts.push(Act::Modifiers(self.held()));
        }
    }

    /// The keymap as it is now.
    pub fn keymap(&self) -> &Keymap {
        &self.keymap
    }

    /// The modifiers that hold.
    pub fn held(&self) -> Held {
        let depressed = MODIFIERS.iter().filter(|row| row.1.iter().any(|key| self.is_down(*key)));
        Held {
            depressed_bits: depressed.fold(0, |bits, row| bits | row.2),
            locked_bits: self.locked_bits,
        }
    }

    fn is_down(&self, key: u16) -> bool {
        self.down[usize::from(key / 64)] & 1 << (key % 64) != 0
    }

    /// A key goes down or up, with what follows for modifiers.
    fn press(&mut self, key: u16, is_down: bool, acts: &mut Vec<Act>) {
        let before = self.held();
        self.set(key, is_down);
        match key {
            KEY_CAPS_LOCK if is_down => self.locked_bits ^= CAPS_LOCK,
            KEY_NUM_LOCK if is_down => self.locked_bits ^= NUM_LOCK,
            _ => {}
        }
        acts.push(Act::Key { key, is_down });
        if self.held() != before {
            acts.push(Act::Modifiers(self.held()));
        }
    }

    fn set(&mut self, key: u16, is_down: bool) {
        let bit = 1 << (key % 64);
        let word = &mut self.down[usize::from(key / 64)];
        *word = if is_down { *word | bit } else { *word & !bit };
    }

    /// Types one character; `told` is what the compositor knows of modifiers.
    fn type_one(&mut self, stroke: Stroke, told: &mut Option<Held>, acts: &mut Vec<Act>) {
        let needed =
            Held { depressed_bits: if stroke.is_shifted { SHIFT } else { 0 }, locked_bits: 0 };
        let key = stroke.key;
        if self.is_down(key) {
            self.set(key, false);
            acts.push(Act::Key { key, is_down: false });
        }
        if *told != Some(needed) {
            *told = Some(needed);
            acts.push(Act::Modifiers(needed));
        }
        acts.push(Act::Key { key, is_down: true });
        acts.push(Act::Key { key, is_down: false });
    }
}

#[cfg(test)]
mod tests {
    use punktfunk_core::proto::input::Key;

    use super::*;

    fn down(key: u16) -> Act {
        Act::Key { key, is_down: true }
    }

    fn up(key: u16) -> Act {
        Act::Key { key, is_down: false }
    }

    /// Modifiers of keys; Num Lock holds.
    fn held(depressed_bits: u32) -> Act {
        Act::Modifiers(Held { depressed_bits, locked_bits: NUM_LOCK })
    }

    fn bare(depressed_bits: u32) -> Act {
        Act::Modifiers(Held { depressed_bits, locked_bits: 0 })
    }

    /// What comes of a key, with the bits of modifiers that the client names.
    fn key(keyboard: &mut Keyboard, key: u16, is_down: bool, modifiers: u8) -> Vec<Act> {
        let modifiers = Modifiers::from_bits(modifiers);
        let mut acts = Vec::new();
        keyboard.handle_key(KeyEvent { key: Key(key), is_down, modifiers }, &mut acts);
        acts
    }

    fn text(keyboard: &mut Keyboard, text: &str) -> Vec<Act> {
        let mut acts = Vec::new();
        keyboard.handle_text(&Text::new(text).unwrap(), &mut acts);
        acts
    }

    #[test]
    fn modifiers_hold_while_one_of_their_keys_is_down() {
        let mut keyboard = Keyboard::new();
        let cases = [
            (42, true, vec![down(42), held(1)]),
            (54, true, vec![down(54)]),
            (29, true, vec![down(29), held(5)]),
            (42, false, vec![up(42)]),
            (54, false, vec![up(54), held(4)]),
            (100, true, vec![down(100), held(0xc)]),
            (126, true, vec![down(126), held(0x4c)]),
        ];
        for (code, is_down, expected) in cases {
            assert_eq!(key(&mut keyboard, code, is_down, 0), expected, "{code} {is_down}");
        }
    }

    #[test]
    fn modifiers_that_are_only_named_hold_for_that_key() {
        let mut keyboard = Keyboard::new();

        let shifted = key(&mut keyboard, 30, true, 1);
        let raised = key(&mut keyboard, 30, false, 1);
        let both = key(&mut keyboard, 31, true, 3);
        key(&mut keyboard, 54, true, 1);
        let held_already = key(&mut keyboard, 32, true, 1);
        let of_a_modifier = key(&mut keyboard, 29, true, 5);

        assert_eq!(shifted, [down(42), held(1), down(30), up(42), held(0)]);
        assert_eq!(raised, [up(30)]);
        let rise = [down(42), held(1), down(29), held(5), down(31)];
        assert_eq!(both, [&rise[..], &[up(29), held(1), up(42), held(0)]].concat());
        assert_eq!(held_already, [down(32)]);
        assert_eq!(of_a_modifier, [down(29), held(5)]);
    }

    #[test]
    fn keys_are_told_once_and_only_those_that_there_are() {
        let mut keyboard = Keyboard::new();
        let cases = [
            (30, true, vec![down(30)]),
            (30, true, vec![]),
            (31, false, vec![]),
            (30, false, vec![up(30)]),
            (30, false, vec![]),
            (0, true, vec![]),
            (0x300, true, vec![]),
            (u16::MAX, true, vec![]),
            (0x2ff, true, vec![down(0x2ff)]),
        ];
        for (code, is_down, expected) in cases {
            assert_eq!(key(&mut keyboard, code, is_down, 0), expected, "{code} {is_down}");
        }
    }

    #[test]
    fn locks_change_when_their_keys_go_down() {
        let mut keyboard = Keyboard::new();
        let locked = |locked_bits| Act::Modifiers(Held { depressed_bits: 0, locked_bits });

        assert_eq!(key(&mut keyboard, 58, true, 0), [down(58), locked(0x12)]);
        assert_eq!(key(&mut keyboard, 58, false, 0), [up(58)]);
        assert_eq!(key(&mut keyboard, 69, true, 0), [down(69), locked(2)]);
        assert_eq!(key(&mut keyboard, 69, false, 0), [up(69)]);
        assert_eq!(key(&mut keyboard, 58, true, 0), [down(58), locked(0)]);
    }

    #[test]
    fn texts_are_typed_whatever_is_held() {
        let mut keyboard = Keyboard::new();
        key(&mut keyboard, 29, true, 0);
        key(&mut keyboard, 30, true, 0);

        let plain = text(&mut keyboard, "aB");
        let other = text(&mut keyboard, "\u{20ac}");
        let again = text(&mut keyboard, "\u{20ac}");

        let strokes = [up(30), bare(0), down(30), up(30), bare(1), down(48), up(48), held(4)];
        assert_eq!(plain, strokes);
        assert_eq!(other, [Act::Keymap, bare(0), down(195), up(195), held(4)]);
        assert_eq!(again, [bare(0), down(195), up(195), held(4)]);
        assert_eq!(key(&mut keyboard, 30, false, 0), []);
        assert_eq!(text(&mut keyboard, "\u{1b}"), []);
    }

    #[test]
    fn nothing_stays_down() {
        let mut keyboard = Keyboard::new();
        for code in [29, 30, 58, 0x2ff] {
            key(&mut keyboard, code, true, 0);
        }
        let (mut acts, mut again) = (Vec::new(), Vec::new());

        keyboard.release_all(&mut acts);
        keyboard.release_all(&mut again);

        let caps = Held { depressed_bits: 0, locked_bits: 0x12 };
        let end = [up(29), Act::Modifiers(caps), held(0)];
        assert_eq!(acts, [&[up(30), up(58), up(0x2ff)][..], &end].concat());
        assert_eq!(again, []);
    }
}
