//! The keymap of virtual keyboards: the American layout, and spare keys for all other characters.
//!
//! Keys of clients are places on an American keyboard, so the layout never depends on the client's.
//! Text is typed with the keys of the layout where it has them. A character that it lacks is put on
//! a spare key, and the keymap is given to the compositor anew. The keys that were used last keep
//! their characters.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::ops::RangeInclusive;

/// The keymap in the text format of xkb, version 1.
const TEXT: &str = include_str!("us.xkb");
/// Before this line come the symbols of spare keys.
const MARK: &str = "    // Here follow the keys of other characters.\n";

/// Keys for other characters: those that no client sends. X11 knows keycodes up to 255, so evdev
/// codes up to 247.
const SPARES: [RangeInclusive<u16>; 4] = [195..=209, 211..=216, 218..=225, 227..=245];
/// How many they are. More than a text has characters of two bytes.
const SPARE_COUNT: usize = 48;

/// Rows of the layout: the first key, then what its keys give, then what they give with Shift.
const ROWS: [(u16, &str, &str); 6] = [
    (2, "1234567890-=", "!@#$%^&*()_+"),
    (14, "\u{8}\t", ""),
    (16, "qwertyuiop[]\n", "QWERTYUIOP{}"),
    (30, "asdfghjkl;'`", "ASDFGHJKL:\"~"),
    (43, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
    (57, " ", ""),
];

/// How a character is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stroke {
    /// The key, by its evdev code.
    pub key: u16,
    /// Whether Shift is held.
    pub is_shifted: bool,
}

/// The keymap as it is now.
#[derive(Debug)]
pub struct Keymap {
    /// Whether nothing is added to the layout.
    is_fixed: bool,
    spares: [Spare; SPARE_COUNT],
    /// Texts so far.
    text_count: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spare {
    character: Option<char>,
    /// The number of the text that last had the character.
    used: u64,
}

impl Keymap {
    /// Without a character beyond the layout.
    pub fn new() -> Keymap {
        Keymap { is_fixed: false, spares: [Spare::default(); SPARE_COUNT], text_count: 0 }
    }

    /// Without a character beyond the layout, ever.
    pub fn fixed() -> Keymap {
        Keymap { is_fixed: true, ..Keymap::new() }
    }

    /// Finds keys for all characters of a text. Whether the keymap is another one now.
    pub fn prepare(&mut self, text: &str) -> bool {
        if self.is_fixed {
            return false;
        }
        self.text_count += 1;
        for spare in &mut self.spares {
            if spare.character.is_some_and(|it| text.contains(it)) {
                spare.used = self.text_count;
            }
        }
        let mut is_changed = false;
        for character in text.chars() {
            if character.is_control() || self.stroke(character).is_some() {
                continue;
            }
            // Where a text has too many, its last ones are not typed.
            let oldest = self.spares.iter_mut().min_by_key(|spare| spare.used);
            if let Some(spare) = oldest.filter(|spare| spare.used < self.text_count) {
                *spare = Spare { character: Some(character), used: self.text_count };
                is_changed = true;
            }
        }
        is_changed
    }

    /// How a character is typed, if it can be.
    pub fn stroke(&self, character: char) -> Option<Stroke> {
        in_layout(character).or_else(|| {
            let spare = |spare: &Spare| spare.character == Some(character);
            let index = self.spares.iter().position(spare)?;
            let key = SPARES.into_iter().flatten().nth(index)?;
            Some(Stroke { key, is_shifted: false })
        })
    }

    /// The text for the compositor, with the zero at its end that some compositors need.
    pub fn to_text(&self) -> Vec<u8> {
        let (head, tail) = TEXT.split_once(MARK).expect("the file has the line");
        let mut text = String::with_capacity(TEXT.len() + SPARE_COUNT * 32);
        text.push_str(head);
        for (index, spare) in self.spares.iter().enumerate() {
            if let Some(character) = spare.character {
                let symbol = u32::from(character);
                writeln!(text, "    key <T{index:02}> {{ [ U{symbol:04X} ] }};")
                    .expect("strings take all");
            }
        }
        text.push_str(tail);
        text.push('\0');
        text.into_bytes()
    }
}

/// How the layout itself types a character.
fn in_layout(character: char) -> Option<Stroke> {
    // The Return key ends lines of either kind.
    let character = if character == '\r' { '\n' } else { character };
    ROWS.iter().find_map(|(first, plain, shifted)| {
        let place = |row: &str| row.chars().position(|it| it == character);
        let stroke = |index: usize, is_shifted| Stroke { key: first + index as u16, is_shifted };
        let plain = place(plain).map(|index| stroke(index, false));
        plain.or_else(|| place(shifted).map(|index| stroke(index, true)))
    })
}

#[cfg(test)]
mod tests {
    use punktfunk_core::proto::gamestream::control::Gamepads;
    use punktfunk_core::proto::gamestream::control::input::Packet;
    use punktfunk_core::proto::input::Input;

    use super::*;

    /// The key that GameStream's virtual key stands for.
    fn key(flags: u8, virtual_key: u8) -> Option<u16> {
        let packet = [0, 0, 0, 10, 3, 0, 0, 0, flags, virtual_key, 0x80, 0, 0, 0];
        let packet = Packet::parse(&packet).ok()?;
        Gamepads::default().handle(packet).find_map(|input| match input {
            Input::Key(event) => Some(event.key.0),
            _ => None,
        })
    }

    #[test]
    fn the_layout_types_what_is_printed_on_keys() {
        let cases = [
            ('a', 30, false),
            ('Q', 16, true),
            ('0', 11, false),
            (')', 11, true),
            ('\n', 28, false),
            ('\r', 28, false),
            ('\t', 15, false),
            ('\u{8}', 14, false),
            (' ', 57, false),
            ('\\', 43, false),
            ('|', 43, true),
            ('`', 41, false),
            ('"', 40, true),
            ('/', 53, false),
        ];
        for (character, key, is_shifted) in cases {
            let stroke = Keymap::new().stroke(character);
            assert_eq!(stroke, Some(Stroke { key, is_shifted }), "{character:?}");
        }
        for character in ' '..='~' {
            assert!(in_layout(character).is_some(), "{character:?}");
        }
    }

    #[test]
    fn other_characters_get_spare_keys_and_keep_them() {
        let mut keymap = Keymap::new();

        assert!(!keymap.prepare("plain\u{1b}"));
        assert!(keymap.prepare("a\u{20ac}\u{e4}\u{20ac}"));
        assert!(!keymap.prepare("\u{e4}"));

        assert_eq!(keymap.stroke('\u{20ac}'), Some(Stroke { key: 195, is_shifted: false }));
        assert_eq!(keymap.stroke('\u{e4}'), Some(Stroke { key: 196, is_shifted: false }));
        assert_eq!(keymap.stroke('\u{1b}'), None);
        let text = String::from_utf8(keymap.to_text()).unwrap();
        assert!(text.contains("key <T00> { [ U20AC ] };") && text.ends_with("};\n\0"), "{text}");
        assert!(text.contains("key <T01> { [ U00E4 ] };"), "{text}");
    }

    #[test]
    fn characters_that_were_not_used_for_long_give_way() {
        let mut keymap = Keymap::new();
        let many: Vec<char> = ('\u{400}'..).take(SPARE_COUNT).collect();
        for character in &many {
            assert!(keymap.prepare(&character.to_string()));
        }

        assert!(!keymap.prepare(&many[0].to_string()));
        assert!(keymap.prepare(&format!("{}\u{e4}", many[1])));

        for (character, is_there) in [(many[0], true), (many[1], true), (many[2], false)] {
            assert_eq!(keymap.stroke(character).is_some(), is_there, "{character}");
        }
    }

    #[test]
    fn every_key_that_clients_can_send_is_in_the_keymap() {
        let mut count = 0;
        let all = (0..2).flat_map(|flags| (0..=u8::MAX).map(move |it| (flags, it)));
        for key in all.filter_map(|(flags, virtual_key)| key(flags, virtual_key)) {
            count += 1;
            assert!(TEXT.contains(&format!("> = {};", key + 8)), "{key}");
            assert!(!SPARES.into_iter().flatten().any(|spare| spare == key), "{key}");
        }
        assert!(count >= 300, "{count}");
        for (index, spare) in SPARES.into_iter().flatten().enumerate() {
            assert!(TEXT.contains(&format!(" <T{index:02}> = {};", spare + 8)), "{spare}");
        }
        assert_eq!(SPARES.into_iter().flatten().count(), SPARE_COUNT);
    }
}
