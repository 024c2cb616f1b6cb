//! What there is for displays, for whoever says what is missing.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::sway::{self, Desktop};
use super::{Displays, TERMINAL, app};

/// What there is for displays.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// Where desktops of this user are looked for.
    pub directory: Option<PathBuf>,
    /// The sway that runs.
    pub desktop: Option<Desktop>,
    /// The program that would be started.
    pub sway: Option<PathBuf>,
    /// Programs that a sway of a session's own would have in it.
    pub missing: Vec<&'static str>,
    /// Compositors that are not the sway that runs, with their pids.
    pub others: Vec<String>,
}

impl Displays {
    /// What there is for displays now, and what is missing.
    pub fn look(&self) -> Sight {
        let is_missing = |name: &&str| app::find(name, &self.surroundings).is_none();
        let directory = self.surroundings.xdg_runtime.clone();
        let desktop = directory.as_deref().and_then(sway::find);
        let sway = desktop.as_ref().map(|desktop| desktop.process.pid);
        Sight {
            sway: app::find("sway", &self.surroundings),
            others: directory.as_deref().map_or_else(Vec::new, |it| sway::others(it, sway)),
            missing: [TERMINAL, "swaybg", "Xwayland"].into_iter().filter(is_missing).collect(),
            desktop,
            directory,
        }
    }

    /// Changes for sessions that are not undone.
    pub fn change_count(&self) -> usize {
        self.journal.entries().len()
    }
}
