//! The effective configuration: what `-T` prints.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use super::directive::{APP, GLOBAL, SECTION};
use super::lexer::emit;
use super::{Conf, Origin};

/// Where the comment begins, if the line is short enough.
const COMMENT_COLUMN: usize = 48;

impl Conf {
    /// Every directive with its value and where that comes from. It is a configuration itself, and
    /// means the same.
    pub fn print(&self) -> String {
        let mut text = String::new();
        for (directive, origin) in GLOBAL.iter().zip(&self.origins) {
            push_lines(&mut text, directive.keyword, &(directive.show)(self), origin);
        }
        for (app, origins) in self.apps.iter().zip(&self.app_origins) {
            text.push('\n');
            let mut origins = origins.iter();
            if let Some(origin) = origins.next() {
                push_line(&mut text, &format!("{SECTION} {}", emit(&app.title)), origin);
            }
            for (directive, origin) in APP.iter().zip(origins) {
                let keyword = format!("    {}", directive.keyword);
                push_lines(&mut text, &keyword, &(directive.show)(app), origin);
            }
        }
        text
    }
}

/// A directive, with a line for each time that it is given.
fn push_lines(text: &mut String, keyword: &str, values: &str, origin: &Origin) {
    for (index, values) in values.split('\n').enumerate() {
        let origin = match origin {
            Origin::Each(origins) => origins.get(index).unwrap_or(origin),
            origin => origin,
        };
        push_line(text, &format!("{keyword} {values}"), origin);
    }
}

fn push_line(text: &mut String, line: &str, origin: &Origin) {
    let _ = write!(text, "{line:<COMMENT_COLUMN$} # ");
    let _ = match origin {
        Origin::Default | Origin::Each(_) => writeln!(text, "default"),
        Origin::Environment(name) => writeln!(text, "environment: {name}"),
        Origin::File { source, line } => writeln!(text, "{source}:{line}"),
        Origin::Override => writeln!(text, "-o"),
    };
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::file::memory::Memory;
    use super::super::{Environment, Sources, load_from};
    use super::*;

    fn load(text: &str, overrides: &[String]) -> Conf {
        let environment = Environment {
            home: Some("/home/den".into()),
            xdg_runtime_dir: Some("/run/user/1000".into()),
            host_name: "den".into(),
            uid: 1000,
            ..Environment::default()
        };
        let file = Some(Path::new("/p.conf"));
        let sources = Sources { file, overrides, environment: &environment };
        load_from(&sources, &Memory::with(&[("/p.conf", text)])).unwrap()
    }

    /// Without comments.
    fn values(text: &str) -> Vec<&str> {
        text.lines().map(|line| line.rsplit_once(" # ").map_or(line, |it| it.0).trim()).collect()
    }

    #[test]
    fn what_is_printed_is_read_as_the_same() {
        let odd = "App \"#\"\nApp \"\\\\\"\nApp \"a  b\"\nApp \"=\"\nApp \"\\\"\"";
        for text in ["", include_str!("rich.conf"), odd] {
            let printed = load(text, &[]).print();
            let again = load(&printed, &[]).print();
            assert_eq!(values(&printed), values(&again));
        }
    }

    #[test]
    fn no_directive_of_the_rich_file_is_lost() {
        let printed = load(include_str!("rich.conf"), &[]).print();

        for directive in &GLOBAL {
            let line = printed.lines().find(|it| it.split(' ').next() == Some(directive.keyword));
            assert!(line.is_some_and(|it| it.contains(" # /p.conf:")), "{}", directive.keyword);
        }
    }

    #[test]
    fn every_value_says_where_it_comes_from() {
        let text = "Mdns no\nApp A\n  Hidden yes\n  Prepare a \"b c\"\n  Undo none\n  Prepare d";

        let printed = load(text, &["Pairing=off".into()]).print();

        let table = [
            ("HostName den", "environment: host name"),
            ("StateDirectory /home/den/.local/state/punktfunk", "environment: HOME"),
            ("RuntimeDirectory /run/user/1000/punktfunk", "environment: XDG_RUNTIME_DIR"),
            ("GameStreamPort 47989", "default"),
            ("Mdns no", "/p.conf:1"),
            ("Pairing off", "-o"),
            ("App A", "/p.conf:2"),
            ("    Image none", "default"),
            ("    Hidden yes", "/p.conf:3"),
            ("    Prepare a \"b c\"", "/p.conf:4"),
            ("    Prepare d", "/p.conf:6"),
            ("    Undo none", "/p.conf:5"),
            ("Prepare none", "default"),
        ];
        for (line, origin) in table {
            let expected = format!("{line:<48} # {origin}");
            assert!(printed.lines().any(|it| it == expected), "{expected}\n{printed}");
        }
    }
}
