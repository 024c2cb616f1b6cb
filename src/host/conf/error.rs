//! What is wrong with a configuration, and where.

#![forbid(unsafe_code)]

use std::fmt::{self, Display};
use std::sync::Arc;

/// One mistake, or one thing that the system refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    source: Arc<str>,
    /// Line and column, from 1; none where the whole of `source` is meant.
    position: Option<(usize, usize)>,
    /// Files count in the order in which they are read.
    order: usize,
    what: String,
}

/// A line of a file, or one `-o` of the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The file's name, or `-o`.
    pub source: Arc<str>,
    /// Files count in the order in which they are read.
    pub order: usize,
    /// From 1.
    pub number: usize,
}

/// What is wrong within a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Complaint {
    /// In characters, from 1.
    pub column: usize,
    /// What, and what would be right.
    pub what: String,
}

impl Error {
    /// Something outside of any file.
    pub fn system(what: impl Into<String>, why: &dyn Display) -> Error {
        let what = what.into();
        Error { source: what.into(), position: None, order: usize::MAX, what: why.to_string() }
    }

    /// Something that is wrong with a file as a whole.
    pub fn file(source: Arc<str>, order: usize, why: &dyn Display) -> Error {
        Error { source, position: None, order, what: why.to_string() }
    }

    /// Files in their order, lines in theirs.
    pub fn sort_key(&self) -> (usize, Option<(usize, usize)>) {
        (self.order, self.position)
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.source, self.what),
            None => write!(f, "{}: {}", self.source, self.what),
        }
    }
}

impl std::error::Error for Error {}

impl Line {
    /// A complaint about this line, with its place.
    pub fn error(&self, complaint: Complaint) -> Error {
        Error {
            source: Arc::clone(&self.source),
            position: Some((self.number, complaint.column)),
            order: self.order,
            what: complaint.what,
        }
    }

    /// This line, as somebody on `other` would call it.
    pub fn seen_from(&self, other: &Line) -> String {
        if self.order == other.order && &*self.source != "-o" {
            format!("on line {}", self.number)
        } else {
            format!("at {}:{}", self.source, self.number)
        }
    }
}

/// Text for people, on one line: what would steer a terminal is escaped.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '"' || character == '\'' || character == '\\' {
            out.push(character);
        } else {
            out.extend(character.escape_debug());
        }
    }
    out
}

/// The candidate that `word` probably stands for.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LEN_MAX: usize = 32;
    if word.chars().count() > LEN_MAX {
        return None;
    }
    let near = candidates.map(|candidate| (distance(word, candidate), candidate));
    let (distance, candidate) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1.max(candidate.len() / 3)).then_some(candidate)
}

/// Letters to insert, remove, replace or swap with their neighbour to make one of the other; upper
/// and lower case are the same.
fn distance(one: &str, other: &str) -> usize {
    let lower = |text: &str| text.chars().map(|it| it.to_ascii_lowercase()).collect::<Vec<_>>();
    let (one, other) = (lower(one), lower(other));
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for i in 1..=one.len() {
        let mut next = vec![i; other.len() + 1];
        for j in 1..=other.len() {
            let is_same = one[i - 1] == other[j - 1];
            let replaced = row[j - 1] + usize::from(!is_same);
            next[j] = replaced.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                next[j] = next[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut row, next);
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_is_recognised_and_another_is_not() {
        let words = ["Port", "Mdns", "LogLevel", "GameStreamPort"];
        let table = [
            ("Prot", Some("Port")),
            ("mdn", Some("Mdns")),
            ("LoggLevels", Some("LogLevel")),
            ("gamestreamport", Some("GameStreamPort")),
            ("Encoder", None),
            ("", None),
            ("GameStreamPortGameStreamPortGameStreamPort", None),
        ];
        for (word, expected) in table {
            assert_eq!(nearest(word, words.into_iter()), expected, "{word}");
        }
    }
}
