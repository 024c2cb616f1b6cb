//! What a directive is. All of them stand in two tables, which parser, `-T`, reload and manual share.

#![forbid(unsafe_code)]

mod app;
mod global;

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::Complaint;
use super::lexer::Word;
use super::{Environment, Origin};

pub use app::APP;
pub use global::GLOBAL;

/// Takes other files into this one; the parser's own.
pub const INCLUDE: &str = "Include";
/// Begins a section; the parser's own.
pub const SECTION: &str = "App";

/// Those that may be given several times, each time for one more.
const REPEATED: [&str; 3] = ["Environment", "Prepare", "Undo"];
/// How often each of those may be given.
pub const REPEAT_COUNT_MAX: usize = 16;

/// Bytes of an app's title at most.
pub const TITLE_LEN_MAX: usize = 100;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// One directive about a `T`.
pub struct Directive<T: 'static> {
    /// As the manual writes it; any case is read.
    pub keyword: &'static str,
    /// What follows the keyword, as in the manual.
    pub syntax: &'static str,
    /// How many values it takes.
    pub values: RangeInclusive<usize>,
    /// What holds when nobody says anything.
    pub default: Fallback<T>,
    /// When a change takes effect.
    pub when: When<T>,
    /// Takes as many values as `values` says.
    pub set: fn(&mut T, &[Word]) -> Result<(), Complaint>,
    /// The values as `set` takes them; of one that is given several times, a line for each.
    pub show: fn(&T) -> String,
}

impl<T> Directive<T> {
    /// Whether it may be given several times.
    pub fn repeats(&self) -> bool {
        REPEATED.contains(&self.keyword)
    }
}

/// A value and where it comes from, or why it is unknown.
pub type Derivation = Result<(String, Origin), &'static str>;

/// The value of a directive that is not given.
pub enum Fallback<T: 'static> {
    /// Values that the table knows, separated by spaces.
    Fixed(&'static str),
    /// One that depends on the machine or on directives further up in the table.
    Derived {
        /// What it is, for people.
        words: &'static str,
        /// Asks the machine, and the directives that have their values already.
        make: fn(&Environment, &T) -> Derivation,
    },
}

/// When a change takes effect.
pub enum When<T> {
    /// When the configuration is read again.
    Reload,
    /// When the daemon is started again; until then `keep` copies the value that is in use.
    Restart {
        /// To the first from the second.
        keep: fn(&mut T, &T),
    },
    /// With the next session, once the configuration is read again.
    Session,
}
