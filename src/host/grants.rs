//! What clients may do: grants, and sets of them.
//!
//! A set is written as the names of its grants, in configuration, files and API alike. Names that
//! are unknown or stand twice are errors everywhere.

#![forbid(unsafe_code)]

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// Something that a client may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Grant {
    /// Hear the host.
    Audio,
    /// Use gamepads.
    Gamepad,
    /// Type.
    Keyboard,
    /// Start and end apps.
    Launch,
    /// Move the pointer, click and scroll.
    Mouse,
    /// Draw with a pen.
    Pen,
    /// Touch the picture.
    Touch,
    /// See the picture.
    View,
}

/// A set of grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<&'static str>")]
pub struct Grants(u8);

/// Why names are no set of grants.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The name at this place, counted from 0, stands before it as well.
    Twice(usize, String),
    /// The name at this place, counted from 0, is that of no grant.
    Unknown(usize, String),
}

/// Every grant and its name, in the order in which sets are written.
const NAMES: [(&str, Grant); 8] = [
    ("view", Grant::View),
    ("keyboard", Grant::Keyboard),
    ("mouse", Grant::Mouse),
    ("gamepad", Grant::Gamepad),
    ("touch", Grant::Touch),
    ("pen", Grant::Pen),
    ("audio", Grant::Audio),
    ("launch", Grant::Launch),
];
/// Characters of a wrong name that are told.
const SHOWN_LEN_MAX: usize = 32;

impl Grants {
    /// No grant.
    pub const NONE: Grants = Grants(0);

    /// The set of the grants that have these names.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Grants, Error> {
        let mut grants = Grants::NONE;
        for (index, name) in names.into_iter().enumerate() {
            let shown = || name.chars().take(SHOWN_LEN_MAX).collect();
            let found = NAMES.iter().find(|(known, _)| *known == name);
            let (_, grant) = found.ok_or_else(|| Error::Unknown(index, shown()))?;
            if grants.contains(*grant) {
                return Err(Error::Twice(index, shown()));
            }
            grants.0 |= grant.bit();
        }
        Ok(grants)
    }

    /// Whether `grant` is in it.
    pub fn contains(self, grant: Grant) -> bool {
        self.0 & grant.bit() != 0
    }

    /// What is in this set, in `other` or in both.
    pub fn with(self, other: Grants) -> Grants {
        Grants(self.0 | other.0)
    }

    /// What is in this set and not in `other`.
    pub fn without(self, other: Grants) -> Grants {
        Grants(self.0 & !other.0)
    }

    /// Whether a grant is in both.
    pub fn overlaps(self, other: Grants) -> bool {
        self.0 & other.0 != 0
    }

    /// The names of the grants in it.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().filter(move |(_, grant)| self.contains(*grant)).map(|(name, _)| name)
    }
}

impl Grant {
    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Error {
    /// Which of the names is wrong, counted from 0.
    pub fn index(&self) -> usize {
        let (Error::Twice(index, _) | Error::Unknown(index, _)) = self;
        *index
    }
}

impl Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Grants::NONE {
            return f.write_str("none");
        }
        f.write_str(&self.names().collect::<Vec<_>>().join(" "))
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Twice(_, name) => write!(f, "grant {name:?} stands there twice"),
            Error::Unknown(_, name) => {
                write!(f, "unknown grant {name:?}, one of")?;
                NAMES.iter().try_for_each(|(known, _)| write!(f, " {known}"))
            }
        }
    }
}

impl std::error::Error for Error {}

impl TryFrom<Vec<String>> for Grants {
    type Error = Error;

    fn try_from(names: Vec<String>) -> Result<Grants, Error> {
        Grants::parse(names.iter().map(String::as_str))
    }
}

impl From<Grants> for Vec<&'static str> {
    fn from(grants: Grants) -> Vec<&'static str> {
        grants.names().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Grants, Error> {
        Grants::parse(line.split_whitespace())
    }

    #[test]
    fn a_set_is_written_in_one_order_and_read_in_any() {
        let table = [
            ("", "none"),
            ("view", "view"),
            ("launch view", "view launch"),
            (
                "launch audio pen touch gamepad mouse keyboard view",
                "view keyboard mouse gamepad touch pen audio launch",
            ),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn a_wrong_name_is_told_with_its_place() {
        let unknown = "unknown grant \"fly\\u{1b}\", one of view keyboard mouse gamepad touch pen \
                       audio launch";
        let table = [
            ("view fly\u{1b}", 1, unknown),
            ("pen view pen", 2, "grant \"pen\" stands there twice"),
        ];
        for (line, index, expected) in table {
            let error = parse(line).unwrap_err();
            assert_eq!((error.index(), error.to_string().as_str()), (index, expected));
        }
        assert!(parse(&"x".repeat(10_000)).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn sets_are_joined_and_taken_from_each_other() {
        let (one, other) = (parse("view mouse").unwrap(), parse("mouse pen").unwrap());

        assert_eq!(one.with(other), parse("view mouse pen").unwrap());
        assert_eq!(one.without(other), parse("view").unwrap());
        assert!(one.overlaps(other) && !one.without(other).overlaps(other));
        assert!(one.contains(Grant::View) && !one.contains(Grant::Pen));
    }

    #[test]
    fn in_json_a_set_is_a_list_of_names() {
        let table = [
            ("[]", true),
            ("[\"view\",\"pen\"]", true),
            ("[\"view\",\"view\"]", false),
            ("[\"View\"]", false),
            ("[1]", false),
            ("\"view\"", false),
            ("255", false),
            ("null", false),
        ];
        for (text, is_set) in table {
            let grants: Option<Grants> = serde_json::from_str(text).ok();
            assert_eq!(grants.is_some(), is_set, "{text}");
            if let Some(grants) = grants {
                assert_eq!(serde_json::to_string(&grants).unwrap(), text);
            }
        }
    }
}
