//! Files and overrides, into settings that have been checked for place and count only.

#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directive::{APP, Directive, GLOBAL, INCLUDE, REPEAT_COUNT_MAX, SECTION, TITLE_LEN_MAX};
use super::error::{Complaint, Error, Line, nearest, visible};
use super::file::{Content, FILE_LEN_MAX, Files, is_pattern, matches};
use super::lexer::{Statement, Word, statement};
use super::value;

/// Errors told at most; more help nobody.
pub const ERROR_COUNT_MAX: usize = 100;
/// Files read at most.
const FILE_COUNT_MAX: usize = 64;
/// Files that include each other, one within the other, at most.
const DEPTH_MAX: usize = 8;
/// Sections at most.
const SECTION_COUNT_MAX: usize = 256;

/// The values of one directive, and where they stand.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where the directive stands.
    pub line: Line,
    /// Of the keyword.
    pub column: usize,
    /// As many as the directive takes.
    pub values: Vec<Word>,
    /// Where it may be given several times, those after the first.
    pub more: Vec<Setting>,
}

/// One `App` section.
#[derive(Debug)]
pub struct Section {
    /// Its header.
    pub line: Line,
    /// What the header names; none where the header is wrong, to hold what follows it.
    pub title: Option<String>,
    /// By the order of [`APP`].
    pub settings: Vec<Option<Setting>>,
}

/// A file that was read, for the check of its mode.
#[derive(Debug)]
pub struct Source {
    /// Its name.
    pub name: Arc<str>,
    /// Its place among the files.
    pub order: usize,
    /// Its owner.
    pub uid: u32,
    /// Its permission bits.
    pub mode: u32,
}

/// Everything that the files and the command line say.
pub struct Parser<'a> {
    files: &'a dyn Files,
    /// By the order of [`GLOBAL`].
    pub settings: Vec<Option<Setting>>,
    /// From the command line, by the order of [`GLOBAL`].
    pub overrides: Vec<Option<Setting>>,
    /// In the order of the files.
    pub sections: Vec<Section>,
    /// Those that were read.
    pub sources: Vec<Source>,
    /// In the order in which they were found.
    pub errors: Vec<Error>,
    /// Those being read, the innermost last.
    open: Vec<(u64, u64)>,
    file_count: usize,
}

impl<'a> Parser<'a> {
    /// One that has read nothing.
    pub fn new(files: &'a dyn Files) -> Parser<'a> {
        Parser {
            files,
            settings: none(&GLOBAL),
            overrides: none(&GLOBAL),
            sections: Vec::new(),
            sources: Vec::new(),
            errors: Vec::new(),
            open: Vec::new(),
            file_count: 0,
        }
    }

    /// Reads a file and what it includes.
    pub fn handle_file(&mut self, path: &Path) {
        let order = self.file_count;
        self.file_count += 1;
        let name: Arc<str> = visible(&path.to_string_lossy()).into();
        match self.files.read(path) {
            Ok(content) => self.content(path, name, order, &content),
            Err(error) => self.errors.push(Error::file(name, order, &error)),
        }
    }

    /// Reads one `Keyword=value` of the command line, the `number`th.
    pub fn handle_override(&mut self, number: usize, text: &str) {
        let line = Line { source: "-o".into(), order: self.file_count, number };
        let statement = match statement(text) {
            Ok(Some(statement)) => statement,
            Ok(None) => {
                let what = "no directive, write Keyword=value".into();
                return self.errors.push(line.error(Complaint { column: 1, what }));
            }
            Err(complaint) => return self.errors.push(line.error(complaint)),
        };
        let keyword = &statement.keyword;
        let own = [INCLUDE, SECTION].into_iter();
        let is_global = |name: &str| GLOBAL.iter().any(|it| it.keyword == name);
        let own = own.chain(APP.iter().map(|it| it.keyword).filter(|name| !is_global(name)));
        let stored = match own.into_iter().find(|name| name.eq_ignore_ascii_case(&keyword.text)) {
            Some(name) => Err(Complaint {
                column: keyword.column,
                what: format!("{name} stands in files only"),
            }),
            None => store(&GLOBAL, &mut self.overrides, &line, statement, &[]),
        };
        self.errors.extend(stored.err().map(|complaint| line.error(complaint)));
    }

    fn content(&mut self, path: &Path, name: Arc<str>, order: usize, content: &Content) {
        let Content { bytes, uid, mode, identity } = content;
        self.sources.push(Source { name: Arc::clone(&name), order, uid: *uid, mode: *mode });
        if bytes.len() > FILE_LEN_MAX {
            let why = format!("larger than {FILE_LEN_MAX} bytes");
            return self.errors.push(Error::file(name, order, &why));
        }
        self.open.push(*identity);
        // What follows belongs to the last section, once one has begun in this file.
        let mut has_section = false;
        for (index, line_bytes) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if self.errors.len() >= ERROR_COUNT_MAX {
                break;
            }
            let line = Line { source: Arc::clone(&name), order, number: index + 1 };
            if let Err(complaint) = self.line(path, &line, line_bytes, &mut has_section) {
                self.errors.push(line.error(complaint));
            }
        }
        self.open.pop();
    }

    fn line(
        &mut self,
        path: &Path,
        line: &Line,
        bytes: &[u8],
        has_section: &mut bool,
    ) -> Result<(), Complaint> {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let good = &bytes[..error.valid_up_to()];
            let column = 1 + String::from_utf8_lossy(good).chars().count();
            Complaint { column, what: "not UTF-8, which the whole file has to be".into() }
        })?;
        let Some(statement) = statement(text)? else {
            return Ok(());
        };
        let keyword = statement.keyword.text.as_str();
        if SECTION.eq_ignore_ascii_case(keyword) {
            *has_section = true;
            return self.section(line, &statement);
        }
        if INCLUDE.eq_ignore_ascii_case(keyword) {
            if *has_section {
                let what = format!("{INCLUDE} stands before the first section of a file");
                return Err(Complaint { column: statement.keyword.column, what });
            }
            return self.include(path, line, &statement);
        }
        let section = if *has_section { self.sections.last_mut() } else { None };
        match section {
            Some(section) => store(&APP, &mut section.settings, line, statement, &[SECTION]),
            None => store(&GLOBAL, &mut self.settings, line, statement, &[INCLUDE, SECTION]),
        }
    }

    fn section(&mut self, line: &Line, statement: &Statement) -> Result<(), Complaint> {
        if self.sections.len() == SECTION_COUNT_MAX {
            let what = format!("more than {SECTION_COUNT_MAX} sections");
            return Err(Complaint { column: statement.keyword.column, what });
        }
        let title = check_count(SECTION, "name", &(1..=1), statement)
            .and_then(|()| value::title(&statement.values[0], TITLE_LEN_MAX))
            .and_then(|title| {
                match self.sections.iter().find(|it| it.title.as_ref() == Some(&title)) {
                    Some(first) => {
                        let place = first.line.seen_from(line);
                        Err(statement.values[0]
                            .complain(format_args!("is an App already, {place}")))
                    }
                    None => Ok(title),
                }
            });
        let (title, result) = match title {
            Ok(title) => (Some(title), Ok(())),
            Err(complaint) => (None, Err(complaint)),
        };
        self.sections.push(Section { line: line.clone(), title, settings: none(&APP) });
        result
    }

    fn include(
        &mut self,
        path: &Path,
        line: &Line,
        statement: &Statement,
    ) -> Result<(), Complaint> {
        check_count(INCLUDE, "path ...", &(1..=64), statement)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for word in &statement.values {
            let paths = self.find(folder, word).unwrap_or_else(|complaint| {
                self.errors.push(line.error(complaint));
                Vec::new()
            });
            for path in paths {
                if let Err(complaint) = self.include_file(&path, word) {
                    self.errors.push(line.error(complaint));
                }
            }
        }
        Ok(())
    }

    /// The files that one value of Include names, in the order of their names.
    fn find(&self, folder: &Path, word: &Word) -> Result<Vec<PathBuf>, Complaint> {
        let path = folder.join(&word.text);
        if !is_pattern(&word.text) {
            return Ok(vec![path]);
        }
        let (parent, pattern) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if !word.text.ends_with('/') => (parent, name),
            _ => return Err(word.complain("names no file")),
        };
        let pattern = pattern.to_string_lossy();
        if is_pattern(word.text.strip_suffix(&*pattern).unwrap_or_default()) {
            return Err(word.complain("has a wildcard that is not in its last part"));
        }
        let mut names = match self.files.names(parent) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let folder = visible(&parent.to_string_lossy());
                let what = format!("{folder}: {error}");
                return Err(Complaint { column: word.column, what });
            }
        };
        names.retain(|name| matches(&pattern, &name.to_string_lossy()));
        names.sort();
        Ok(names.into_iter().map(|name| parent.join(name)).collect())
    }

    fn include_file(&mut self, path: &Path, word: &Word) -> Result<(), Complaint> {
        let name = visible(&path.to_string_lossy());
        let fail = |what: &dyn std::fmt::Display| {
            Err(Complaint { column: word.column, what: format!("{name}: {what}") })
        };
        if self.file_count == FILE_COUNT_MAX {
            return fail(&format_args!("more than {FILE_COUNT_MAX} files"));
        }
        let content = match self.files.read(path) {
            Ok(content) => content,
            Err(error) => return fail(&error),
        };
        if self.open.contains(&content.identity) {
            return fail(&"includes itself");
        }
        if self.open.len() == DEPTH_MAX {
            return fail(&format_args!("more than {DEPTH_MAX} files within each other"));
        }
        let order = self.file_count;
        self.file_count += 1;
        self.content(path, name.into(), order, &content);
        Ok(())
    }
}

/// No setting for any directive of a table.
fn none<T>(table: &[Directive<T>]) -> Vec<Option<Setting>> {
    table.iter().map(|_| None).collect()
}

/// Keeps a statement in the place of its directive. `others` are keywords that would be right here
/// too.
fn store<T>(
    table: &[Directive<T>],
    settings: &mut [Option<Setting>],
    line: &Line,
    statement: Statement,
    others: &[&'static str],
) -> Result<(), Complaint> {
    let keyword = &statement.keyword;
    let column = keyword.column;
    let is_it = |name: &str| name.eq_ignore_ascii_case(&keyword.text);
    let Some(index) = table.iter().position(|it| is_it(it.keyword)) else {
        return Err(Complaint { column, what: misplaced(table, keyword, others) });
    };
    let directive = &table[index];
    if let Some(first) = settings[index].as_ref().filter(|_| !directive.repeats()) {
        let place = first.line.seen_from(line);
        let what = format!("{} already set {place}", directive.keyword);
        return Err(Complaint { column, what });
    }
    check_count(directive.keyword, directive.syntax, &directive.values, &statement)?;
    let (line, values) = (line.clone(), statement.values);
    let setting = Setting { line, column, values, more: Vec::new() };
    let Some(first) = &mut settings[index] else {
        settings[index] = Some(setting);
        return Ok(());
    };
    if first.more.len() + 1 == REPEAT_COUNT_MAX {
        let what = format!("{} more than {REPEAT_COUNT_MAX} times", directive.keyword);
        return Err(Complaint { column, what });
    }
    first.more.push(setting);
    Ok(())
}

/// What is wrong with a keyword that a table does not have.
fn misplaced<T>(table: &[Directive<T>], keyword: &Word, others: &[&'static str]) -> String {
    let is_it = |name: &str| name.eq_ignore_ascii_case(&keyword.text);
    if let Some(directive) = GLOBAL.iter().find(|it| is_it(it.keyword)) {
        return format!("{} stands before the first section of a file", directive.keyword);
    }
    if let Some(directive) = APP.iter().find(|it| is_it(it.keyword)) {
        return format!("{} stands in a section that '{SECTION} name' begins", directive.keyword);
    }
    let known = table.iter().map(|it| it.keyword).chain(others.iter().copied());
    match nearest(&keyword.text, known) {
        Some(near) => format!("unknown keyword {}, did you mean {near}?", keyword.quoted()),
        None => format!("unknown keyword {}, see punktfunk.conf(5)", keyword.quoted()),
    }
}

fn check_count(
    keyword: &str,
    syntax: &str,
    values: &std::ops::RangeInclusive<usize>,
    statement: &Statement,
) -> Result<(), Complaint> {
    let count = statement.values.len();
    if count < *values.start() {
        let what = format!("{keyword} without a value, write {keyword} {syntax}");
        return Err(Complaint { column: statement.keyword.column, what });
    }
    match statement.values.get(*values.end()) {
        Some(word) => Err(word.complain(format_args!("is one too many, write {keyword} {syntax}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::memory::Memory;
    use super::*;

    /// The names of files, and what they hold.
    type Texts<'a> = &'a [(&'a str, &'a str)];

    /// What is wrong with a main file beside some others.
    fn errors(main: &str, others: Texts<'_>) -> Vec<String> {
        let files = Memory::with(&[&[("/etc/p.conf", main)], others].concat());
        let mut parser = Parser::new(&files);
        parser.handle_file(Path::new("/etc/p.conf"));
        parser.errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_what_would_be_right() {
        let table = [
            ("Prot 1", "1:1: unknown keyword 'Prot', see punktfunk.conf(5)"),
            ("\nMdn no", "2:1: unknown keyword 'Mdn', did you mean Mdns?"),
            ("  Aps", "1:3: unknown keyword 'Aps', did you mean App?"),
            ("mdns no\n\nMDNS no", "3:1: Mdns already set on line 1"),
            ("Mdns", "1:1: Mdns without a value, write Mdns yes | no"),
            ("Mdns yes no", "1:10: 'no' is one too many, write Mdns yes | no"),
            ("Hidden no", "1:1: Hidden stands in a section that 'App name' begins"),
            ("App A\nMdns no", "2:1: Mdns stands before the first section of a file"),
            ("App A\nInclude b", "2:1: Include stands before the first section of a file"),
            ("App A\nHiden no", "2:1: unknown keyword 'Hiden', did you mean Hidden?"),
            ("App A\nHidden no\nhidden no", "3:1: Hidden already set on line 2"),
            ("App A\nApp B\nApp A", "3:5: 'A' is an App already, on line 1"),
            ("App", "1:1: App without a value, write App name"),
            ("App A B", "1:7: 'B' is one too many, write App name"),
            ("App \"\"\nHidden no", "1:5: '' is no name"),
            ("Include", "1:1: Include without a value, write Include path ..."),
            ("Mdns no\r\n\u{1b}", "2:1: control character U+001B, only a tab may stand here"),
        ];
        for (text, expected) in table {
            assert_eq!(errors(text, &[]), [format!("/etc/p.conf:{expected}")], "{text}");
        }
    }

    #[test]
    fn some_directives_may_be_given_several_times_but_not_endlessly() {
        let many = "Undo true\n".repeat(REPEAT_COUNT_MAX + 1);
        let table = [
            ("Prepare a\nMdns no\nPrepare b", None),
            ("App A\nPrepare a\nEnvironment A=b\nprepare b\nEnvironment C=", None),
            ("Prepare a\nPrepare", Some("2:1: Prepare without a value")),
            (many.as_str(), Some("17:1: Undo more than 16 times")),
        ];
        for (text, expected) in table {
            let errors = errors(text, &[]);
            let is_it = |text| errors.len() == 1 && errors[0].contains(text);
            assert!(expected.map_or(errors.is_empty(), is_it), "{text} {errors:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_text_is_refused() {
        let mut files = Memory::with(&[]);
        files.add("/latin", b"# fine\nHostName \"caf\xe9\"\n");
        files.add("/long", &[b'#'; FILE_LEN_MAX + 1]);
        files.add("/wide", &[b'a'; 5000]);
        let table = [
            ("/latin", "/latin:2:14: not UTF-8, which the whole file has to be"),
            ("/long", "/long: larger than 65536 bytes"),
            ("/wide", "/wide:1:1: line of 5000 bytes, at most 4096 are allowed"),
            ("/none", "/none: entity not found"),
        ];
        for (path, expected) in table {
            let mut parser = Parser::new(&files);
            parser.handle_file(Path::new(path));
            assert_eq!(parser.errors.len(), 1);
            assert_eq!(parser.errors[0].to_string(), expected);
        }
    }

    #[test]
    fn included_files_are_found_beside_the_one_that_includes_them() {
        let files = Memory::with(&[
            ("/etc/p.conf", "Include p.d/*.conf /opt/x.conf none.d/*\nMdns no"),
            ("/etc/p.d/b.conf", "App B"),
            ("/etc/p.d/a.conf", "App A\nHidden yes"),
            ("/etc/p.d/.c.conf", "App C"),
            ("/etc/p.d/d.conf~", "App D"),
            ("/opt/x.conf", "Include y"),
            ("/opt/y", "GameStream off"),
        ]);

        let mut parser = Parser::new(&files);
        parser.handle_file(Path::new("/etc/p.conf"));

        let titles: Vec<_> = parser.sections.iter().filter_map(|it| it.title.clone()).collect();
        let said: Vec<_> = parser.settings.iter().flatten().map(|it| &*it.line.source).collect();
        assert_eq!(parser.errors, []);
        assert_eq!(titles, ["A", "B"]);
        assert_eq!(said, ["/opt/y", "/etc/p.conf"]);
    }

    #[test]
    fn what_cannot_be_included_is_told_at_its_place() {
        let table: [(&str, Texts<'_>, &str); 8] = [
            ("Include x", &[], "/etc/p.conf:1:9: /etc/x: entity not found"),
            ("Include *.x/a.*", &[], "1:9: '*.x/a.*' has a wildcard that is not in its last part"),
            ("Include */", &[], "1:9: '*/' names no file"),
            ("Include p.conf", &[], "1:9: /etc/p.conf: includes itself"),
            (
                "Include a",
                &[("/etc/a", "Include p.conf")],
                "/etc/a:1:9: /etc/p.conf: includes itself",
            ),
            (
                "Mdns no\nInclude a",
                &[("/etc/a", "Mdns no")],
                "/etc/a:1:1: Mdns already set at /etc/p.conf:1",
            ),
            ("App A", &[], ""),
            (
                "Include a\nApp A",
                &[("/etc/a", "\nApp A")],
                "2:5: 'A' is an App already, at /etc/a:2",
            ),
        ];
        for (main, others, expected) in table {
            let found = errors(main, others).join("\n");
            assert!(found.ends_with(expected), "{main}: {found}");
            assert_eq!(found.is_empty(), expected.is_empty(), "{main}");
        }
    }

    #[test]
    fn files_within_files_and_files_beside_files_have_an_end() {
        let deep: Vec<String> = (0..20).map(|it| format!("Include {}", it + 1)).collect();
        let mut files =
            Memory::with(&[("/etc/p.conf", "Include 0"), ("/etc/q.conf", "Include d/*")]);
        for (index, text) in deep.iter().enumerate() {
            files.add(&format!("/etc/{index}"), text.as_bytes());
        }
        for index in 0..100 {
            files.add(&format!("/etc/d/{index}"), b"");
        }
        let [deep, wide] = ["/etc/p.conf", "/etc/q.conf"].map(|path| {
            let mut parser = Parser::new(&files);
            parser.handle_file(Path::new(path));
            parser.errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        });
        let many = errors(&"x\n".repeat(20_000), &[]);
        let apps: String = (0..300).map(|it| format!("App {it}\n")).collect();

        assert_eq!(deep, ["/etc/6:1:9: /etc/7: more than 8 files within each other"]);
        assert_eq!(wide.len(), 37);
        assert!(wide[0].ends_with("more than 64 files"), "{}", wide[0]);
        assert_eq!(many.len(), ERROR_COUNT_MAX);
        assert_eq!(errors(&apps, &[])[0], "/etc/p.conf:257:1: more than 256 sections");
    }

    #[test]
    fn overrides_are_directives_with_their_own_place() {
        let table = [
            ("Mdns=no", ""),
            ("mdns no", ""),
            ("", "-o:1:1: no directive, write Keyword=value"),
            ("Mdns", "-o:1:1: Mdns without a value, write Mdns yes | no"),
            ("Prt=1", "-o:1:1: unknown keyword 'Prt', see punktfunk.conf(5)"),
            ("Include=a", "-o:1:1: Include stands in files only"),
            ("app=a", "-o:1:1: App stands in files only"),
            ("Hidden=no", "-o:1:1: Hidden stands in files only"),
            ("HostName=\"a", "-o:1:10: quote without an end, it ends on the same line"),
            ("HostName=a\nMdns=no", "-o:1:11: control character U+000A, only a tab may stand here"),
        ];
        for (text, expected) in table {
            let files = Memory::with(&[]);
            let mut parser = Parser::new(&files);
            parser.handle_override(1, text);
            let found: Vec<String> = parser.errors.iter().map(ToString::to_string).collect();
            assert_eq!(found.join("\n"), expected, "{text}");
        }
        let files = Memory::with(&[]);
        let mut parser = Parser::new(&files);
        parser.handle_override(1, "Mdns=no");
        parser.handle_override(2, "Mdns=yes");
        assert_eq!(parser.errors[0].to_string(), "-o:2:1: Mdns already set at -o:1");
    }
}
