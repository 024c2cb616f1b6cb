//! PEM: DER as text (RFC 7468).
//!
//! One block with a given label is read, in lines of any length and with any line ends, with
//! nothing but white space around it. Emitted lines have 64 characters and end with LF.

#![forbid(unsafe_code)]

/// Bytes of text at most that [`parse`] looks at; longer text is refused.
pub const TEXT_LEN_MAX: usize = 32 * 1024;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const LINE_LEN: usize = 64;

/// The bytes in the one block that is there; `None` when the text is anything else.
pub fn parse(label: &str, text: &[u8]) -> Option<Vec<u8>> {
    if text.len() > TEXT_LEN_MAX {
        return None;
    }
    let text = text.trim_ascii();
    let text = text.strip_prefix(format!("-----BEGIN {label}-----").as_bytes())?;
    let text = text.strip_suffix(format!("-----END {label}-----").as_bytes())?;
    parse_base64(text)
}

/// The block, with a line end behind it. `parse(label, emit(label, x)) == x` as long as that is
/// not too long.
pub fn emit(label: &str, bytes: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in bytes.chunks(LINE_LEN / 4 * 3) {
        for group in line.chunks(3) {
            emit_group(group, &mut text);
        }
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// One to three bytes as four characters.
fn emit_group(group: &[u8], text: &mut String) {
    let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    for index in 0..4 {
        let is_padding = index > group.len();
        let digit = ALPHABET[(bits >> (18 - 6 * index) & 63) as usize];
        text.push(if is_padding { '=' } else { char::from(digit) });
    }
}

/// White space counts for nothing; padding must be there, and unused bits must be zero.
fn parse_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut characters: Vec<u8> =
        text.iter().copied().filter(|character| !character.is_ascii_whitespace()).collect();
    if characters.is_empty() || !characters.len().is_multiple_of(4) {
        return None;
    }
    let padding_count = characters.iter().rev().take(2).take_while(|it| **it == b'=').count();
    characters.truncate(characters.len() - padding_count);
    let mut bytes = Vec::with_capacity(characters.len() / 4 * 3 + 3);
    // Four characters each; padding leaves two or three for the last.
    for group in characters.chunks(4) {
        let mut bits = 0_u32;
        for index in 0..4 {
            let digit = group.get(index).map_or(Some(0), |character| digit(*character))?;
            bits = bits << 6 | digit;
        }
        let [_, group_bytes @ ..] = bits.to_be_bytes();
        let byte_count = group.len() - 1;
        let (used, unused) = group_bytes.split_at(byte_count);
        if unused.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(used);
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u32> {
    let value = match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(body: &str) -> String {
        format!("-----BEGIN X-----{body}-----END X-----")
    }

    #[test]
    fn what_is_emitted_is_parsed_back() {
        let bytes: Vec<u8> = (0..=255).rev().collect();
        for len in 1..bytes.len() {
            let text = emit("X", &bytes[..len]);

            assert_eq!(parse("X", text.as_bytes()), Some(bytes[..len].to_vec()), "{len}");
            assert!(text.lines().all(|line| line.len() <= LINE_LEN), "{text}");
        }
        assert_eq!(emit("X", b"Man!"), "-----BEGIN X-----\nTWFuIQ==\n-----END X-----\n");
    }

    #[test]
    fn line_ends_and_white_space_around_count_for_nothing() {
        for text in ["\r\nTWFu\r\n", "\nTW\nFu\n", "TWFu", " T W\tF u \n\n"] {
            let text = format!("\r\n {} \n\n", block(text));

            assert_eq!(parse("X", text.as_bytes()).as_deref(), Some(&b"Man"[..]), "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let bodies = [
            "",
            "\n",
            "T",
            "TW",
            "TWF",
            "TWFuI",
            "====",
            "T===",
            "TWE=TWE=",
            "TWF=",
            "TR==",
            "TW=E",
            "=TWF",
            "TWF-",
            "TWFu-----END X-----\n-----BEGIN X-----TWFu",
            "a: b\n\nTWFu",
        ];
        let texts = bodies.map(block).into_iter().chain(
            ["", "TWFu", "-----BEGIN X-----", "-----BEGIN X----------", "-----END X-----"]
                .map(str::to_owned),
        );
        for text in texts {
            assert_eq!(parse("X", text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse("Y", block("TWFu").as_bytes()), None);
        assert_eq!(parse("X", format!("{}x", block("TWFu")).as_bytes()), None);
        assert_eq!(parse("X", block(&"A".repeat(TEXT_LEN_MAX)).as_bytes()), None);
    }
}
