//! A display on a desktop that runs already: an output made for the session, or one that is there.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use punktfunk_core::proto::gamestream::http::Mode;

use super::app::{self, App, Setting};
use super::journal::{Entry, Journal, Mark};
use super::keeper::{Keeper, Program};
use super::sway::{self, Desktop, Removal};
use super::told::Told;
use super::{Error, Surroundings, Wanted};

/// An output of somebody's desktop, and the session's programs there.
pub struct Attached {
    desktop: Desktop,
    output: String,
    mode: Mode,
    /// Takes effect with its next mode.
    pub scale_percent: u32,
    /// Only of an output that was made for the session.
    mark: Option<Mark>,
    journal: Arc<Journal>,
    session: u32,
    programs: Vec<Program>,
    /// Ends after them.
    keeper: Option<Keeper>,
}

impl Attached {
    /// Makes an output at the mode wanted, or takes one that an earlier session could not remove.
    pub fn make(
        desktop: Desktop,
        wanted: &Wanted,
        journal: &Arc<Journal>,
    ) -> Result<Attached, Error> {
        let mut client = desktop.connect()?;
        let turn = journal.turn();
        let before = sway::names(&mut client)?;
        let parked = loop {
            match journal.take_parked(&desktop)? {
                // Whoever has another way to remove it may have done so.
                Some((mark, name)) if !before.contains(&name) => journal.remove(mark)?,
                other => break other,
            }
        };
        let (mark, name) = match parked {
            Some((mark, name)) => (mark, Some(name)),
            None => {
                let entry = Entry::Output {
                    compositor: (&desktop).into(),
                    before: before.clone(),
                    name: None,
                    programs: Vec::new(),
                };
                (journal.add(entry)?, None)
            }
        };
        let made = match name {
            Some(name) => Ok(name),
            None => sway::create(&mut client, &before),
        };
        let output = match made {
            Ok(name) => name,
            Err(error) => {
                journal.remove(mark)?;
                return Err(error);
            }
        };
        // From here on it is removed whatever happens.
        let attached = Attached {
            desktop,
            output: output.clone(),
            mode: wanted.mode,
            scale_percent: wanted.scale_percent,
            mark: Some(mark),
            journal: Arc::clone(journal),
            session: wanted.session,
            programs: Vec::new(),
            keeper: None,
        };
        if let Some(mark) = &attached.mark {
            attached.journal.update(mark, |entry| {
                if let Entry::Output { name, .. } = entry {
                    *name = Some(output.clone());
                }
            })?;
        }
        drop(turn);
        sway::set_mode(&mut client, &output, wanted.mode, wanted.scale_percent)?;
        Ok(attached)
    }

    /// Takes an output as it is.
    pub fn mirror(
        desktop: Desktop,
        name: &str,
        wanted: &Wanted,
        journal: &Arc<Journal>,
    ) -> Result<Attached, Error> {
        let output = sway::output(&mut desktop.connect()?, name)?;
        let mode = output.mode().ok_or_else(|| Error::Dark(name.to_owned()))?;
        Ok(Attached {
            desktop,
            output: output.name,
            mode,
            scale_percent: wanted.scale_percent,
            mark: None,
            journal: Arc::clone(journal),
            session: wanted.session,
            programs: Vec::new(),
            keeper: None,
        })
    }

    /// Its Wayland socket.
    pub fn socket(&self) -> &Path {
        &self.desktop.wayland
    }

    /// The name of its output.
    pub fn output(&self) -> &str {
        &self.output
    }

    /// Whose desktop it is, for people.
    pub fn desktop(&self) -> &Desktop {
        &self.desktop
    }

    /// What it shows. Of an output that was there, what it showed when it was last asked.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Changes the mode of an output that was made for the session; of another, only reads it.
    pub fn set_mode(&mut self, mode: Mode) -> Result<(), Error> {
        let mut client = self.desktop.connect()?;
        if self.mark.is_some() {
            sway::set_mode(&mut client, &self.output, mode, self.scale_percent)?;
            self.mode = mode;
        } else {
            let shown = sway::output(&mut client, &self.output)?.mode();
            self.mode = shown.ok_or_else(|| Error::Dark(self.output.clone()))?;
        }
        Ok(())
    }

    /// Whether the desktop still runs.
    pub fn is_alive(&self) -> bool {
        self.desktop.process.is_alive()
    }

    /// What programs there are started with.
    pub fn setting(&self, app: &App, surroundings: &Surroundings, told: &Told) -> Setting {
        let own: [(&str, OsString); 2] = [
            ("WAYLAND_DISPLAY", self.desktop.wayland.clone().into()),
            ("SWAYSOCK", self.desktop.ipc.clone().into()),
        ];
        app::setting(app, surroundings, told, own)
    }

    /// Starts a program there. On an output of the session's own, that takes the focus.
    pub fn run(&mut self, app: &App, setting: &Setting) -> Result<(), Error> {
        let command = app::command(app, setting)?;
        if self.mark.is_some() {
            sway::focus(&mut self.desktop.connect()?, &self.output)?;
        }
        let keeper = match self.keeper.take() {
            Some(keeper) => keeper,
            None => Keeper::start(self.session).map_err(Error::system("thread not started"))?,
        };
        let program = keeper.spawn(command, app.exit_time);
        self.keeper = Some(keeper);
        let program = program.map_err(|error| app::not_started(app, error))?;
        let process = program.process();
        self.programs.push(program);
        if let Some(mark) = &self.mark {
            self.journal
                .update(mark, |it| it.programs().into_iter().for_each(|it| it.push(process)))?;
        }
        Ok(())
    }

    /// Ends the session's programs.
    pub fn end_programs(&mut self) {
        self.programs.clear();
    }

    /// Whether a program of the session runs.
    pub fn has_programs(&self) -> bool {
        self.programs.iter().any(Program::runs)
    }

    /// The last that its programs have said.
    pub fn log(&self) -> String {
        self.keeper.as_ref().map(Keeper::log).unwrap_or_default()
    }

    /// Removes the output; returns whether it is parked instead.
    fn remove(&self) -> Result<Removal, Error> {
        let removed = self.desktop.connect().and_then(|mut it| sway::remove(&mut it, &self.output));
        match removed {
            // It is gone with its desktop.
            Err(_) if !self.is_alive() => Ok(Removal::Gone),
            removed => removed,
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.programs.clear();
        let Some(mark) = self.mark.take() else { return };
        let written = match self.remove() {
            Ok(Removal::Gone) => self.journal.remove(mark),
            Ok(Removal::Parked) => {
                let (compositor, name) = ((&self.desktop).into(), self.output.clone());
                self.journal.update(&mark, |entry| *entry = Entry::Parked { compositor, name })
            }
            // The next start tries again.
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            log::warn!("session {}: output {} left: {error}", self.session, self.output);
        }
    }
}
