//! The query of a request target (RFC 3986 section 3.4), as `name=value` pairs joined by `&`.
//!
//! `%41` stands for a byte and `+` for itself: Moonlight's URLs write a space as `%20`. Empty
//! segments are skipped, since clients join their lists with one `&` too many. A name without `=`
//! has the empty value. Which names mean something is the caller's.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use crate::proto::hex;

/// Bytes of a query at most, as sent.
pub const QUERY_LEN_MAX: usize = 16 * 1024;
/// Pairs at most; a launch of a current client has some twenty-five.
pub const PAIR_COUNT_MAX: usize = 64;

/// The pairs of a query, decoded, in the order they were sent.
pub struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Why a query is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// A percent sign without two hexadecimal digits behind it.
    Escape,
    /// More bytes than [`QUERY_LEN_MAX`].
    TooLong,
    /// More pairs than [`PAIR_COUNT_MAX`].
    TooManyPairs,
    /// What the escapes stand for is no text.
    Utf8,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Escape => "percent sign without two hexadecimal digits",
            Error::TooLong => "query too long",
            Error::TooManyPairs => "too many parameters",
            Error::Utf8 => "parameter is not UTF-8",
        })
    }
}

impl<'a> Query<'a> {
    /// Takes what stands behind the question mark.
    pub fn parse(text: &'a str) -> Result<Query<'a>, Error> {
        if text.len() > QUERY_LEN_MAX {
            return Err(Error::TooLong);
        }
        let mut pairs = Vec::new();
        for segment in text.split('&').filter(|segment| !segment.is_empty()) {
            if pairs.len() == PAIR_COUNT_MAX {
                return Err(Error::TooManyPairs);
            }
            let (name, value) = segment.split_once('=').unwrap_or((segment, ""));
            pairs.push((unescape(name)?, unescape(value)?));
        }
        Ok(Query { pairs })
    }

    /// The value of a name, the first if there are several.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }
}

fn unescape(text: &str) -> Result<Cow<'_, str>, Error> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(Error::Escape)?;
        let [byte] = hex::parse_array(digits).ok_or(Error::Escape)?;
        bytes.push(byte);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Error::Utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_name_whatever_stands_around_it() {
        let table = [
            ("a=1", Some("1")),
            ("a=1&a=2", Some("1")),
            ("&&x=0&&a=1&&", Some("1")),
            ("b=2&a=", Some("")),
            ("a", Some("")),
            ("a=1=2", Some("1=2")),
            ("%61=1", Some("1")),
            ("a=%26%3d%25", Some("&=%")),
            ("a=x+y%20z%2B", Some("x+y z+")),
            ("a=%c3%BC\u{fc}", Some("\u{fc}\u{fc}")),
            ("a=%00", Some("\0")),
            ("A=1&=1&aa=1", None),
            ("", None),
        ];
        for (text, value) in table {
            let query = Query::parse(text).unwrap();
            assert_eq!(query.value("a"), value, "{text}");
        }
    }

    #[test]
    fn a_query_that_cannot_be_read_is_refused_with_a_reason() {
        let long = "a".repeat(QUERY_LEN_MAX + 1);
        let many = "a=1&".repeat(PAIR_COUNT_MAX + 1);
        let table = [
            ("a=%", Error::Escape),
            ("a=%4", Error::Escape),
            ("a=%4g", Error::Escape),
            ("a=%%41", Error::Escape),
            ("a=%+1", Error::Escape),
            ("a=%\u{fc}", Error::Escape),
            ("a=%4\u{fc}", Error::Escape),
            ("unknown=%", Error::Escape),
            ("a=%ff", Error::Utf8),
            ("%c3=%bc", Error::Utf8),
            (&long, Error::TooLong),
            (&many, Error::TooManyPairs),
        ];
        for (text, error) in table {
            assert_eq!(Query::parse(text).err(), Some(error), "{text:.20}");
        }
    }

    #[test]
    fn the_longest_query_is_read() {
        let long = "a".repeat(QUERY_LEN_MAX);
        let many = "a=1&".repeat(PAIR_COUNT_MAX);

        assert!(Query::parse(&long).is_ok());
        assert!(Query::parse(&many).is_ok());
    }
}
