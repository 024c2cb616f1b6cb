//! One line of a configuration, into its words.
//!
//! A keyword, then white space or one `=`, then values separated by white space. `#` at the start
//! of a word begins a comment. A value with white space stands in double quotes, in which `\"` and
//! `\\` stand for the character after the backslash.

#![forbid(unsafe_code)]

use std::iter::{Enumerate, Peekable};
use std::str::Chars;

use super::error::{Complaint, visible};

/// Bytes of a line at most.
pub const LINE_LEN_MAX: usize = 4096;
/// Characters of a word that an error shows.
const SHOWN_LEN_MAX: usize = 60;

/// A keyword and its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// As it is written.
    pub keyword: Word,
    /// Without their quotes.
    pub values: Vec<Word>,
}

/// A word and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// Without quotes.
    pub text: String,
    /// Of its first character, from 1.
    pub column: usize,
}

type Characters<'a> = Peekable<Enumerate<Chars<'a>>>;

impl Word {
    /// A complaint that begins with this word, in quotes.
    pub fn complain(&self, what: impl std::fmt::Display) -> Complaint {
        Complaint { column: self.column, what: format!("{} {what}", self.quoted()) }
    }

    /// This word for people, shortened.
    pub fn quoted(&self) -> String {
        let shown: String = self.text.chars().take(SHOWN_LEN_MAX).collect();
        let dots = if shown.len() < self.text.len() { "..." } else { "" };
        format!("'{}{dots}'", visible(&shown))
    }
}

/// Takes a line, without its end, apart. A line without words is none.
pub fn statement(line: &str) -> Result<Option<Statement>, Complaint> {
    if line.len() > LINE_LEN_MAX {
        let what = format!("line of {} bytes, at most {LINE_LEN_MAX} are allowed", line.len());
        return Err(Complaint { column: 1, what });
    }
    let is_bad = |character: char| character.is_control() && character != '\t';
    if let Some((index, bad)) = line.chars().enumerate().find(|(_, it)| is_bad(*it)) {
        let what = format!("control character U+{:04X}, only a tab may stand here", u32::from(bad));
        return Err(Complaint { column: index + 1, what });
    }
    let mut characters = line.chars().enumerate().peekable();
    skip_space(&mut characters);
    let Some(&(index, first)) = characters.peek() else {
        return Ok(None);
    };
    let column = index + 1;
    match first {
        '#' => return Ok(None),
        '"' => return Err(Complaint { column, what: "keywords stand without quotes".into() }),
        '=' => return Err(Complaint { column, what: "no keyword before '='".into() }),
        _ => {}
    }
    let ends = |it: char| it.is_whitespace() || it == '=' || it == '"';
    let keyword = Word { text: take_until(&mut characters, ends), column };
    skip_space(&mut characters);
    if characters.next_if(|(_, character)| *character == '=').is_some() {
        skip_space(&mut characters);
    }
    let mut values = Vec::new();
    while let Some(&(index, character)) = characters.peek() {
        let text = match character {
            '#' => break,
            '"' => quoted(&mut characters)?,
            _ => bare(&mut characters)?,
        };
        values.push(Word { text, column: index + 1 });
        skip_space(&mut characters);
    }
    Ok(Some(Statement { keyword, values }))
}

/// A word as it has to be written to be read as `text`.
pub fn emit(text: &str) -> String {
    let is_bare = !text.is_empty()
        && !text.starts_with(['#', '='])
        && !text.contains(|it: char| it.is_whitespace() || it == '"');
    if is_bare {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn bare(characters: &mut Characters<'_>) -> Result<String, Complaint> {
    let text = take_until(characters, |it| it.is_whitespace() || it == '"');
    match characters.peek() {
        Some((index, '"')) => {
            let what = "quote inside a word, quotes go around the whole of it".into();
            Err(Complaint { column: index + 1, what })
        }
        _ => Ok(text),
    }
}

fn quoted(characters: &mut Characters<'_>) -> Result<String, Complaint> {
    let start = characters.next().map_or(1, |(index, _)| index + 1);
    let mut text = String::new();
    loop {
        match characters.next() {
            None => {
                let what = "quote without an end, it ends on the same line".into();
                return Err(Complaint { column: start, what });
            }
            Some((_, '"')) => break,
            Some((index, '\\')) => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                _ => {
                    let what = r#"backslash in quotes, write \\ for it or \" for a quote"#.into();
                    return Err(Complaint { column: index + 1, what });
                }
            },
            Some((_, character)) => text.push(character),
        }
    }
    match characters.peek() {
        Some((index, character)) if !character.is_whitespace() => {
            let what = "no white space after the closing quote".into();
            Err(Complaint { column: index + 1, what })
        }
        _ => Ok(text),
    }
}

fn skip_space(characters: &mut Characters<'_>) {
    while characters.next_if(|(_, character)| character.is_whitespace()).is_some() {}
}

fn take_until(characters: &mut Characters<'_>, ends: impl Fn(char) -> bool) -> String {
    let mut text = String::new();
    while let Some((_, character)) = characters.next_if(|(_, character)| !ends(*character)) {
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_its_words() {
        let table: [(&str, &[&str]); 13] = [
            ("", &[]),
            ("  # Mdns no", &[]),
            ("Mdns no", &["Mdns", "no"]),
            ("\tMdns\t=\tno # off", &["Mdns", "no"]),
            ("Mdns=no", &["Mdns", "no"]),
            ("Mdns==no", &["Mdns", "=no"]),
            ("Listen 10.0.0.1   ::1", &["Listen", "10.0.0.1", "::1"]),
            ("LogLevel info mdns=debug", &["LogLevel", "info", "mdns=debug"]),
            (r#"App "a \"b\" \\ c""#, &["App", r#"a "b" \ c"#]),
            (r#"App """#, &["App", ""]),
            (r#"App"x""#, &["App", "x"]),
            (r"App a\b#c", &["App", r"a\b#c"]),
            ("Ключ ж", &["Ключ", "ж"]),
        ];
        for (line, expected) in table {
            let words: Vec<String> = statement(line)
                .unwrap()
                .map(|it| [it.keyword].into_iter().chain(it.values).map(|it| it.text).collect())
                .unwrap_or_default();
            assert_eq!(words, expected, "{line}");
        }
    }

    #[test]
    fn a_bad_line_is_refused_where_it_is_bad() {
        let table = [
            ("Mdns no\0", "8: control character U+0000, only a tab may stand here"),
            ("é \u{1b}[2J", "3: control character U+001B, only a tab may stand here"),
            ("\"Mdns\" no", "1: keywords stand without quotes"),
            (" = no", "2: no keyword before '='"),
            ("App \"Steam", "5: quote without an end, it ends on the same line"),
            ("App St\"eam\"", "7: quote inside a word, quotes go around the whole of it"),
            ("App \"St\"eam", "9: no white space after the closing quote"),
            (r#"App "a\n""#, r#"7: backslash in quotes, write \\ for it or \" for a quote"#),
        ];
        for (line, expected) in table {
            let complaint = statement(line).unwrap_err();
            assert_eq!(format!("{}: {}", complaint.column, complaint.what), expected, "{line}");
        }
    }

    #[test]
    fn what_is_emitted_is_read_back() {
        for text in ["", "a", "#a", "a#", "=", "a b", "a\"b", "\\", "\\ \"", "\u{3000}", "ж"] {
            let line = format!("App {}", emit(text));
            assert_eq!(statement(&line).unwrap().unwrap().values[0].text, text, "{line}");
        }
    }
}
