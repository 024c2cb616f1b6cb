//! Hexadecimal text, as GameStream and fingerprints use it.

#![forbid(unsafe_code)]

/// Two lower-case digits per byte, no separators.
pub fn emit(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Digits of either case; `None` for an odd count or any other character.
pub fn parse(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// As [`parse`], for a length that is known.
pub fn parse_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    parse(text)?.try_into().ok()
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_emitted_is_parsed_back_in_either_case() {
        let bytes: Vec<u8> = (0..=255).collect();

        let text = emit(&bytes);

        assert_eq!(parse(&text), Some(bytes.clone()));
        assert_eq!(parse(&text.to_uppercase()), Some(bytes));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["a", "0g", "é0", "+1", " 0", "00 "] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse_array::<2>("0001"), Some([0, 1]));
        assert_eq!(parse_array::<2>("000102"), None);
    }
}
