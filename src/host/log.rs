//! Log lines on standard error, for whoever reads them at night.
//!
//! Under systemd a line begins with its priority as sd-daemon(3) says, and the journal adds the
//! time; elsewhere it begins with time and level.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record};
use punktfunk_core::net::{clock, process};
use punktfunk_core::proto::calendar::DateTime;

use crate::conf::{LogFormat, LogLevels};

static LOGGER: Logger = Logger { settings: RwLock::new(None), lost: AtomicU64::new(0) };

struct Logger {
    settings: RwLock<Option<Settings>>,
    /// Lines since the last one that standard error took.
    lost: AtomicU64,
}

struct Settings {
    levels: LogLevels,
    format: LogFormat,
}

/// Starts logging. `format` is never `Auto`: see [`resolve`].
pub fn start(levels: LogLevels, format: LogFormat) {
    configure(levels, format);
    // An error says that a logger is set already, which is this one.
    let _ = log::set_logger(&LOGGER);
}

/// Changes what is logged and how, from the next line on.
pub fn configure(levels: LogLevels, format: LogFormat) {
    let most = levels.modules.iter().map(|(_, level)| *level).fold(levels.default, Ord::max);
    *LOGGER.settings.write().expect("no thread panics while it holds the lock") =
        Some(Settings { levels, format });
    log::set_max_level(most);
}

/// What is logged.
pub fn levels() -> LogLevels {
    let settings = LOGGER.settings.read().expect("no thread panics while it holds the lock");
    let off = || LogLevels { default: LevelFilter::Off, modules: Vec::new() };
    settings.as_ref().map_or_else(off, |settings| settings.levels.clone())
}

/// Changes what is logged, from the next line on.
pub fn set_levels(levels: LogLevels) {
    let format = {
        let settings = LOGGER.settings.read().expect("no thread panics while it holds the lock");
        settings.as_ref().map_or(LogFormat::Text, |settings| settings.format)
    };
    configure(levels, format);
}

/// The format that `Auto` stands for: the journal's when standard error leads there.
pub fn resolve(format: LogFormat, journal_stream: bool) -> LogFormat {
    match format {
        LogFormat::Auto if journal_stream => LogFormat::Journal,
        LogFormat::Auto => LogFormat::Text,
        other => other,
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let settings = self.settings.read().expect("no thread panics while it holds the lock");
        settings
            .as_ref()
            .is_some_and(|settings| metadata.level() <= settings.level_of(metadata.target()))
    }

    fn log(&self, record: &Record<'_>) {
        let settings = self.settings.read().expect("no thread panics while it holds the lock");
        let Some(settings) = settings.as_ref() else {
            return;
        };
        if record.level() > settings.level_of(record.target()) {
            return;
        }
        // A reader that has stopped reading must not stop the daemon.
        if !process::stderr_has_room() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut lines = String::new();
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let mut record = Record::builder();
            let record = record.level(Level::Warn).target(module_path!());
            let message = format_args!("log: {lost} lines lost, standard error took no more");
            lines = settings.line(&record.args(message).build(), clock::unix_us());
        }
        lines += &settings.line(record, clock::unix_us());
        // Nobody is left to tell when standard error fails.
        let _ = std::io::stderr().write_all(lines.as_bytes());
    }

    fn flush(&self) {}
}

impl Settings {
    /// Our own modules are named without the program: `listen`, `listen::mdns`, `net::tls`.
    /// Packages of others never say more than warnings, except under `trace`.
    fn level_of(&self, target: &str) -> LevelFilter {
        let Some(module) = module(target) else {
            let most = self.levels.default;
            return if most == LevelFilter::Trace { most } else { most.min(LevelFilter::Warn) };
        };
        let named = self.levels.modules.iter().filter(|(name, _)| {
            module
                .strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        let longest = named.max_by_key(|(name, _)| name.len());
        longest.map_or(self.levels.default, |(_, level)| *level)
    }

    fn line(&self, record: &Record<'_>, unix_us: u64) -> String {
        let mut line = String::with_capacity(128);
        match self.format {
            LogFormat::Journal => {
                // The priorities of syslog(3).
                let priority = match record.level() {
                    Level::Error => 3,
                    Level::Warn => 4,
                    Level::Info => 6,
                    Level::Debug | Level::Trace => 7,
                };
                let _ = write!(line, "<{priority}>");
                push_message(&mut line, record);
            }
            LogFormat::Json => {
                let mut message = String::new();
                push_message(&mut message, record);
                let value = serde_json::json!({
                    "time": timestamp(unix_us),
                    "level": record.level().as_str().to_ascii_lowercase(),
                    "module": module(record.target()).unwrap_or(record.target()),
                    "message": message,
                });
                let _ = write!(line, "{value}");
            }
            LogFormat::Auto | LogFormat::Text => {
                let level = record.level().as_str().to_ascii_lowercase();
                let _ = write!(line, "{} {level:<6} ", timestamp(unix_us));
                push_message(&mut line, record);
            }
        }
        line.push('\n');
        line
    }
}

/// The message on one line: what would end it or steer a terminal is escaped.
fn push_message(line: &mut String, record: &Record<'_>) {
    let message = record.args().to_string();
    for character in message.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
}

fn module(target: &str) -> Option<&str> {
    let (package, module) = target.split_once("::").unwrap_or((target, ""));
    matches!(package, "punktfunkd" | "punktfunk_core").then_some(module)
}

/// RFC 3339 in UTC, with microseconds.
fn timestamp(unix_us: u64) -> String {
    let DateTime { year, month, day, hour, minute, second } = DateTime::of(unix_us / 1_000_000);
    let us = unix_us % 1_000_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_as_its_reader_expects_and_stays_one_line() {
        let record = |format| {
            let levels = LogLevels { default: LevelFilter::Info, modules: Vec::new() };
            let settings = Settings { levels, format };
            settings.line(
                &Record::builder()
                    .level(Level::Warn)
                    .target("punktfunkd::listen")
                    .args(format_args!("client \"a\nb\": gone\u{1b}[2J"))
                    .build(),
                0,
            )
        };

        assert_eq!(record(LogFormat::Journal), "<4>client \"a\\nb\": gone\\u{1b}[2J\n");
        assert_eq!(
            record(LogFormat::Text),
            "1970-01-01T00:00:00.000000Z warn   client \"a\\nb\": gone\\u{1b}[2J\n"
        );
        let json: serde_json::Value = serde_json::from_str(&record(LogFormat::Json)).unwrap();
        assert_eq!(json["level"], "warn");
        assert_eq!(json["module"], "listen");
    }

    #[test]
    fn the_longest_module_name_decides_and_other_packages_stay_quiet() {
        let settings = Settings {
            levels: LogLevels {
                default: LevelFilter::Info,
                modules: vec![
                    ("listen".into(), LevelFilter::Debug),
                    ("listen::mdns".into(), LevelFilter::Error),
                ],
            },
            format: LogFormat::Text,
        };
        let table = [
            ("punktfunkd", LevelFilter::Info),
            ("punktfunkd::listen", LevelFilter::Debug),
            ("punktfunkd::listen::gamestream", LevelFilter::Debug),
            ("punktfunkd::listen::mdns", LevelFilter::Error),
            ("punktfunkd::listener", LevelFilter::Info),
            ("punktfunk_core::net::tls", LevelFilter::Info),
            ("mio::poll", LevelFilter::Warn),
        ];
        for (target, level) in table {
            assert_eq!(settings.level_of(target), level, "{target}");
        }
    }
}
