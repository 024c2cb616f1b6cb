//! DER as certificates and keys need it (X.690): definite lengths of at most 0xffff, tag numbers
//! below 31.
//!
//! The reader borrows, and gives `None` for whatever is not DER; the writer makes nothing that the
//! reader does not take. What the elements mean is for others.

#![forbid(unsafe_code)]

pub mod pem;

use super::calendar::DateTime;

/// Identifier octets.
pub mod tag {
    /// INTEGER.
    pub const INTEGER: u8 = 0x02;
    /// BIT STRING.
    pub const BIT_STRING: u8 = 0x03;
    /// OCTET STRING.
    pub const OCTET_STRING: u8 = 0x04;
    /// NULL.
    pub const NULL: u8 = 0x05;
    /// OBJECT IDENTIFIER.
    pub const OID: u8 = 0x06;
    /// UTF8String.
    pub const UTF8_STRING: u8 = 0x0c;
    /// UTCTime.
    pub const UTC_TIME: u8 = 0x17;
    /// GeneralizedTime.
    pub const GENERALIZED_TIME: u8 = 0x18;
    /// SEQUENCE.
    pub const SEQUENCE: u8 = 0x30;
    /// SET.
    pub const SET: u8 = 0x31;
    /// The constructed element of context-specific tag 0.
    pub const CONTEXT_0: u8 = 0xa0;
}

/// The low five bits of an identifier octet that say that the tag number follows.
const LONG_TAG: u8 = 0x1f;
/// Content bytes of an element at most.
const CONTENT_LEN_MAX: usize = 0xffff;
/// The first moment that UTCTime cannot say: 2050-01-01.
const UTC_TIME_END_S: u64 = 2_524_608_000;
/// The last moment that GeneralizedTime can say: 9999-12-31 23:59:59.
pub const TIME_S_MAX: u64 = 253_402_300_799;

/// One element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Element<'a> {
    /// The identifier octet.
    pub tag: u8,
    /// What is inside.
    pub content: &'a [u8],
    /// Identifier, length and content.
    pub whole: &'a [u8],
}

/// Elements one after another.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// The next element, whatever it is.
    pub fn read(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.rest.split_first()?;
        if tag & LONG_TAG == LONG_TAG {
            return None;
        }
        let (len, rest) = read_len(rest)?;
        let (content, after) = rest.split_at_checked(len)?;
        let whole = &self.rest[..self.rest.len() - after.len()];
        self.rest = after;
        Some(Element { tag, content, whole })
    }

    /// The content of the next element, which must have this tag. What has another stays.
    pub fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let element = ahead.read().filter(|element| element.tag == tag)?;
        *self = ahead;
        Some(element.content)
    }

    /// The elements of the next element, which must be a SEQUENCE.
    pub fn sequence(&mut self) -> Option<Reader<'a>> {
        self.expect(tag::SEQUENCE).map(Reader::new)
    }

    /// The next element, an INTEGER above 0: big-endian, without the zero in front that keeps a
    /// set top bit from meaning a sign.
    pub fn positive(&mut self) -> Option<&'a [u8]> {
        match self.expect(tag::INTEGER)? {
            [0, digits @ ..] if digits.first().is_some_and(|digit| *digit >= 0x80) => Some(digits),
            digits @ [1..=0x7f, ..] => Some(digits),
            _ => None,
        }
    }

    /// The next element, a BIT STRING of whole bytes.
    pub fn bit_string(&mut self) -> Option<&'a [u8]> {
        match self.expect(tag::BIT_STRING)? {
            [0, bytes @ ..] => Some(bytes),
            _ => None,
        }
    }

    /// `Some` when nothing is left, to end a chain of reads.
    pub fn end(&self) -> Option<()> {
        self.is_empty().then_some(())
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// The length octets in front of `bytes`, in the one form that DER allows, and what follows them.
fn read_len(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [len @ 0..=0x7f, rest @ ..] => Some((usize::from(*len), rest)),
        [0x81, len @ 0x80..=0xff, rest @ ..] => Some((usize::from(*len), rest)),
        [0x82, high @ 1..=0xff, low, rest @ ..] => {
            Some((usize::from(*high) << 8 | usize::from(*low), rest))
        }
        _ => None,
    }
}

/// An element with this content, which must fit.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() <= CONTENT_LEN_MAX, "lengths have two bytes");
    let [high, low] = (content.len() as u16).to_be_bytes();
    let mut bytes = Vec::with_capacity(content.len() + 4);
    bytes.push(tag);
    match (high, low) {
        (0, 0..=0x7f) => bytes.push(low),
        (0, _) => bytes.extend([0x81, low]),
        _ => bytes.extend([0x82, high, low]),
    }
    bytes.extend_from_slice(content);
    bytes
}

/// A SEQUENCE of these elements.
pub fn seq(elements: &[&[u8]]) -> Vec<u8> {
    tlv(tag::SEQUENCE, &elements.concat())
}

/// An INTEGER from 0 up, from its big-endian bytes, however many zeros are in front.
pub fn int(bytes: &[u8]) -> Vec<u8> {
    let zero_count = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = &bytes[zero_count..];
    match digits {
        [0..=0x7f, ..] => tlv(tag::INTEGER, digits),
        _ => tlv(tag::INTEGER, &[&[0], digits].concat()),
    }
}

/// A BIT STRING of whole bytes.
pub fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(tag::BIT_STRING, &[&[0], bytes].concat())
}

/// A time of a certificate: UTCTime until 2049, GeneralizedTime from then on (RFC 5280, 4.1.2.5).
/// Times behind [`TIME_S_MAX`] become that.
pub fn time(unix_s: u64) -> Vec<u8> {
    let unix_s = unix_s.min(TIME_S_MAX);
    let DateTime { year, month, day, hour, minute, second } = DateTime::of(unix_s);
    let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    if unix_s < UTC_TIME_END_S {
        tlv(tag::UTC_TIME, format!("{:02}{rest}", year % 100).as_bytes())
    } else {
        tlv(tag::GENERALIZED_TIME, format!("{year:04}{rest}").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_every_length_are_read_back() {
        for len in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff] {
            let content = vec![7; len];

            let whole = tlv(tag::OCTET_STRING, &content);
            let mut reader = Reader::new(&whole);

            let element = Element { tag: tag::OCTET_STRING, content: &content, whole: &whole };
            assert_eq!(reader.read(), Some(element), "{len}");
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn what_is_not_der_is_refused() {
        let table: [(&[u8], &str); 11] = [
            (b"", "nothing"),
            (b"\x30", "no length"),
            (b"\x1f\x01\x00", "a long tag"),
            (b"\x30\x01", "too short"),
            (b"\x30\x80\x00\x00", "an indefinite length"),
            (b"\x30\x81", "a length cut off"),
            (b"\x30\x81\x7f", "a long form for a short length"),
            (b"\x30\x82\x00\xff", "two bytes for a length of one"),
            (b"\x30\x82\x01", "a length cut off after one byte"),
            (b"\x30\x83\x01\x00\x00", "a length of three bytes"),
            (b"\x30\xff", "the reserved length"),
        ];
        for (bytes, what) in table {
            assert_eq!(Reader::new(bytes).read(), None, "{what}");
        }
    }

    #[test]
    fn an_element_with_another_tag_stays_where_it_is() {
        let bytes = seq(&[&int(&[1])]);
        let mut reader = Reader::new(&bytes);

        assert_eq!(reader.expect(tag::INTEGER), None);
        let mut inside = reader.sequence().unwrap();

        assert_eq!(inside.positive(), Some(&[1][..]));
        assert_eq!((inside.end(), reader.end()), (Some(()), Some(())));
    }

    #[test]
    fn integers_have_exactly_the_zeros_they_need() {
        let table: [(&[u8], &[u8], &[u8]); 6] = [
            (&[], &[2, 1, 0], &[]),
            (&[0, 0], &[2, 1, 0], &[]),
            (&[0, 0x7f], &[2, 1, 0x7f], &[0x7f]),
            (&[0x80], &[2, 2, 0, 0x80], &[0x80]),
            (&[0, 0, 0xff, 1], &[2, 3, 0, 0xff, 1], &[0xff, 1]),
            (&[1, 0], &[2, 2, 1, 0], &[1, 0]),
        ];
        for (bytes, der, positive) in table {
            assert_eq!(int(bytes), der);
            assert_eq!(Reader::new(der).positive().unwrap_or(&[]), positive, "{der:?}");
        }
        for der in [&[2, 0][..], &[2, 1, 0x80], &[2, 2, 0, 1], &[3, 1, 1]] {
            assert_eq!(Reader::new(der).positive(), None, "{der:?}");
        }
    }

    #[test]
    fn bit_strings_are_whole_bytes() {
        assert_eq!(Reader::new(&bit_string(&[5, 6])).bit_string(), Some(&[5, 6][..]));
        assert_eq!(Reader::new(&[3, 2, 1, 0xfe]).bit_string(), None);
        assert_eq!(Reader::new(&[3, 0]).bit_string(), None);
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let table = [
            (0, tag::UTC_TIME, "700101000000Z"),
            (951_782_399, tag::UTC_TIME, "000228235959Z"),
            (951_782_400, tag::UTC_TIME, "000229000000Z"),
            (1_795_601_863, tag::UTC_TIME, "261125101743Z"),
            (UTC_TIME_END_S - 1, tag::UTC_TIME, "491231235959Z"),
            (UTC_TIME_END_S, tag::GENERALIZED_TIME, "20500101000000Z"),
            (4_107_542_400, tag::GENERALIZED_TIME, "21000301000000Z"),
            (TIME_S_MAX, tag::GENERALIZED_TIME, "99991231235959Z"),
            (u64::MAX, tag::GENERALIZED_TIME, "99991231235959Z"),
        ];
        for (unix_s, tag, text) in table {
            assert_eq!(time(unix_s), tlv(tag, text.as_bytes()), "{unix_s}");
        }
    }
}
