//! What there is for displays, for whoever says what is missing.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::journal::Entry;
use super::{Displays, Error, TERMINAL, app, sway, wlroots};
use crate::conf::Compositor;

/// What there is for displays.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// Where desktops of this user are looked for.
    pub directory: PathBuf,
    /// The desktop that runs.
    pub desktop: Option<Desktop>,
    /// The program that would be started.
    pub sway: Option<PathBuf>,
    /// Programs that a sway of a session's own would have in it.
    pub missing: Vec<&'static str>,
    /// Compositors that are not that desktop, with their pids.
    pub others: Vec<String>,
}

/// A desktop that sessions may have displays on.
#[derive(Clone, Debug, PartialEq)]
pub enum Desktop {
    /// sway, which makes an output for each session.
    Sway(sway::Desktop),
    /// Another compositor of wlroots, which lends them those that it has.
    Wlroots(wlroots::Desktop),
}

impl Desktop {
    fn find(runtime: &Path, wanted: Compositor) -> Option<Desktop> {
        let is = |compositor| wanted == Compositor::Auto || wanted == compositor;
        let sway = sway::find(runtime).filter(|_| is(Compositor::Sway));
        let wlroots = || wlroots::find(runtime).ok().filter(|_| is(Compositor::Wlroots));
        sway.map(Desktop::Sway).or_else(|| wlroots().map(Desktop::Wlroots))
    }

    /// Which it is, for people.
    pub fn title(&self) -> String {
        match self {
            Desktop::Sway(desktop) => format!("sway {} (pid {})", desktop.version, self.pid()),
            Desktop::Wlroots(desktop) => format!("{} (pid {})", desktop.name, self.pid()),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        match self {
            Desktop::Sway(desktop) => desktop.process.pid,
            Desktop::Wlroots(desktop) => desktop.process.pid,
        }
    }

    /// Its Wayland socket.
    pub fn wayland(&self) -> &Path {
        match self {
            Desktop::Sway(desktop) => &desktop.wayland,
            Desktop::Wlroots(desktop) => &desktop.wayland,
        }
    }

    /// The names of its outputs.
    pub fn outputs(&self) -> Result<Vec<String>, Error> {
        match self {
            Desktop::Sway(desktop) => sway::names(&mut desktop.connect()?),
            Desktop::Wlroots(desktop) => {
                Ok(desktop.connect()?.heads().into_iter().map(|head| head.name).collect())
            }
        }
    }

    /// How many sessions it has outputs for; none says that there is no bound.
    pub fn output_count_max(&self) -> Result<Option<usize>, Error> {
        match self {
            Desktop::Sway(_) => Ok(None),
            Desktop::Wlroots(_) => {
                Ok(Some(self.outputs()?.iter().filter(|it| wlroots::is_headless(it)).count()))
            }
        }
    }
}

impl Displays {
    /// What there is for displays now, on desktops of that kind, and what is missing.
    pub fn look(&self, compositor: Compositor) -> Sight {
        let is_missing = |name: &&str| app::find(name, &self.surroundings).is_none();
        let directory = self.surroundings.xdg_runtime.clone();
        let desktop = Desktop::find(&directory, compositor);
        let known = desktop.as_ref().map(Desktop::pid);
        Sight {
            sway: app::find("sway", &self.surroundings),
            others: sway::others(&directory, known),
            missing: [TERMINAL, "swaybg", "Xwayland"].into_iter().filter(is_missing).collect(),
            desktop,
            directory,
        }
    }

    /// Changes for sessions that are not undone. What is parked is, as far as its sway can.
    pub fn change_count(&self) -> usize {
        let is_change = |entry: &&Entry| !matches!(entry, Entry::Parked { .. });
        self.journal.entries().iter().filter(is_change).count()
    }
}
