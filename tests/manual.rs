//! punktfunk.conf(5), the parser's table and `punktfunkd -T` say the same.

#[allow(dead_code, unused_imports, reason = "the manual is held to a part of it")]
#[path = "../src/host/conf/mod.rs"]
mod conf;
#[allow(dead_code, reason = "the manual is held to a part of it")]
#[path = "../src/host/grants.rs"]
mod grants;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use conf::directive::{APP, Directive, Fallback, GLOBAL, INCLUDE, SECTION, When};

const MANUAL: &str = include_str!("../man/punktfunk.conf.5");
const EXAMPLE_FILE: &str = include_str!("../scripts/punktfunk.conf");

/// What the manual says of one directive.
#[derive(Debug, PartialEq)]
struct Entry {
    keyword: String,
    syntax: String,
    default: Option<String>,
    when: String,
}

impl Entry {
    /// What the table says of one directive.
    fn of<T>(directive: &Directive<T>) -> Entry {
        let default = match directive.default {
            Fallback::Fixed(text) => text,
            Fallback::Derived { words, .. } => words,
        };
        let when = match directive.when {
            When::Reload => "reload",
            When::Restart { .. } => "restart",
            When::Session => "the next session",
        };
        Entry {
            keyword: directive.keyword.to_owned(),
            // The manual's brackets come from macros.
            syntax: directive.syntax.replace(['[', ']'], ""),
            default: Some(default.to_owned()),
            when: when.to_owned(),
        }
    }
}

/// The entries of the manual's DIRECTIVES, in its order.
fn manual_entries() -> Vec<Entry> {
    let section = manual_section("DIRECTIVES");
    section.split("\n.It Cm ").skip(1).map(manual_entry).collect()
}

fn manual_section(name: &str) -> &'static str {
    let start = format!("\n.Sh {name}\n");
    let (_, section) = MANUAL.split_once(&start).expect("the manual has the section");
    section.split("\n.Sh ").next().unwrap_or(section)
}

fn manual_entry(text: &str) -> Entry {
    let (head, body) = text.split_once('\n').unwrap_or((text, ""));
    let mut words = head.split_whitespace();
    let keyword = words.next().unwrap_or_default().to_owned();
    let syntax: Vec<&str> = words.filter(|word| !["Ar", "Cm", "Op"].contains(word)).collect();
    // Macro lines of one argument and plain lines, as one text.
    let text: Vec<&str> = body.lines().map(|line| line.trim_start_matches(".Cm ")).collect();
    let text = text.join(" ").replace(" .", ".");
    let sentence = |start: &str, end: &str| {
        let (_, rest) = text.split_once(start)?;
        Some(rest.split_once(end)?.0.to_owned())
    };
    Entry {
        keyword,
        syntax: syntax.join(" "),
        default: sentence("Default: ", ". Takes effect"),
        when: sentence("Takes effect on ", ".").unwrap_or_default(),
    }
}

/// Runs the daemon on a configuration, in an environment that is always the same.
fn punktfunkd(option: &str, conf: &str) -> Output {
    let file = Folder::new();
    let path = file.0.join("punktfunk.conf");
    fs::write(&path, conf).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    Command::new(env!("CARGO_BIN_EXE_punktfunkd"))
        .args([option, "-c"])
        .arg(&path)
        .env_clear()
        .envs([("HOME", "/home/den"), ("XDG_RUNTIME_DIR", "/run/user/1000")])
        .output()
        .unwrap()
}

/// A folder for one run, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("manual-{}-{count}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn the_manual_has_every_directive_of_the_table_and_no_other() {
    let own = |keyword: &str, syntax: &str| Entry {
        keyword: keyword.to_owned(),
        syntax: syntax.to_owned(),
        default: None,
        when: "reload".to_owned(),
    };
    let mut table: Vec<Entry> = GLOBAL.iter().map(Entry::of).collect();
    table.push(own(INCLUDE, "path ..."));
    table.push(own(SECTION, "name"));
    table.extend(APP.iter().map(Entry::of));

    let mut manual = manual_entries();

    let by_keyword = |one: &Entry, other: &Entry| one.keyword.cmp(&other.keyword);
    table.sort_by(by_keyword);
    manual.sort_by(by_keyword);
    let names = |entries: &[Entry]| -> Vec<String> {
        entries.iter().map(|entry| entry.keyword.clone()).collect()
    };
    assert_eq!(names(&manual), names(&table));
    for (manual, table) in manual.iter().zip(&table) {
        assert_eq!(manual, table);
    }
}

#[test]
fn the_daemon_prints_every_directive_of_the_table_with_the_manuals_default() {
    let output = punktfunkd("-T", "");

    let text = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<(&str, &str)> = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split_once(" # ").expect("every value has its origin").0.trim())
        .map(|line| line.split_once(' ').expect("every directive has a value"))
        .collect();
    let keywords: Vec<&str> = printed.iter().map(|(keyword, _)| *keyword).collect();
    let table = GLOBAL.iter().map(|it| it.keyword).chain([SECTION]);
    let table: Vec<&str> = table.chain(APP.iter().map(|it| it.keyword)).collect();
    assert_eq!(keywords, table);
    let is_derived = |keyword: &str| {
        let directive = GLOBAL.iter().find(|it| it.keyword == keyword);
        directive.is_some_and(|it| matches!(it.default, Fallback::Derived { .. }))
    };
    for entry in manual_entries().iter().filter(|it| !is_derived(&it.keyword)) {
        let value = printed.iter().find(|(keyword, _)| *keyword == entry.keyword);
        if let Some(default) = &entry.default {
            assert_eq!(value.map(|it| it.1), Some(default.as_str()), "{}", entry.keyword);
        }
    }
    assert!(printed.contains(&("App", "Desktop")));
}

#[test]
fn what_the_daemon_prints_is_a_configuration_that_means_the_same() {
    let rich = include_str!("../src/host/conf/rich.conf");
    let values = |text: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(text);
        text.lines().map(|line| line.split(" # ").next().unwrap_or(line).to_owned()).collect()
    };

    let printed = punktfunkd("-T", rich);
    let again = punktfunkd("-T", &String::from_utf8_lossy(&printed.stdout));

    assert!(printed.status.success() && again.status.success());
    assert_eq!(values(&printed.stdout), values(&again.stdout));
}

#[test]
fn every_example_of_the_manual_is_right() {
    let blocks = manual_section("EXAMPLES").split(".Bd -literal -offset indent\n").skip(1);
    let examples: Vec<String> = blocks
        .map(|block| block.split("\n.Ed").next().unwrap_or(block))
        .map(|text| text.replace("\\&", "").replace("\\e", "\\"))
        .collect();

    assert!(examples.len() >= 4);
    for example in examples {
        // Not -t, which also looks whether this machine has the users and groups.
        let output = punktfunkd("-T", &example);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{example}\n{errors}");
    }
}

#[test]
fn the_example_file_changes_nothing_and_all_that_it_offers_is_right() {
    let offered: Vec<&str> = EXAMPLE_FILE
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.starts_with(' ') || line.starts_with("    "))
        .collect();

    let as_it_is = punktfunkd("-T", EXAMPLE_FILE);
    let empty = punktfunkd("-T", "");
    let with_all = punktfunkd("-T", &offered.join("\n"));

    assert!(EXAMPLE_FILE.lines().all(|line| line.is_empty() || line.starts_with('#')));
    assert_eq!(as_it_is.stdout, empty.stdout);
    assert!(offered.len() > 5);
    let errors = String::from_utf8_lossy(&with_all.stderr);
    assert!(with_all.status.success() && errors.is_empty(), "{errors}");
}

#[test]
fn a_wrong_configuration_is_told_whole_and_ends_the_daemon_with_1() {
    let output = punktfunkd("-t", "Prot 1\nMdns maybe\n");

    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines.len(), 2, "{errors}");
    assert!(lines[0].ends_with(":1:1: unknown keyword 'Prot', see punktfunk.conf(5)"), "{errors}");
    assert!(lines[1].ends_with(":2:6: 'maybe' is neither yes nor no"), "{errors}");
}
