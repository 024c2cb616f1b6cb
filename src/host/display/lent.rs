//! A display on a desktop of wlroots that makes no outputs by protocol: one that is there and shows on
//! no screen is lent to the session, or one is seen as it is.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use punktfunk_core::proto::gamestream::http::Mode;

use super::app::{self, App, Setting};
use super::journal::{Entry, Journal, Mark};
use super::programs::Programs;
use super::told::Told;
use super::wlroots::{self, Client, Desktop, Head, Setup};
use super::{Backend, Error, Surroundings, Wanted};
use crate::code::Code;

/// How often an output is set up again that others set up otherwise. Some do it each time.
const REPAIR_COUNT_MAX: u32 = 8;

/// An output of somebody's desktop, and the session's programs there.
pub struct Lent {
    desktop: Desktop,
    client: Client,
    output: String,
    mode: Mode,
    scale_percent: u32,
    /// Only of an output that was lent to the session.
    loan: Option<Loan>,
    repair_count: u32,
    journal: Arc<Journal>,
    session: u32,
    programs: Programs,
}

/// What there is to undo.
struct Loan {
    mark: Mark,
    /// How the output was.
    before: Setup,
    /// How it is to be as long as the session has it.
    wanted: Setup,
}

impl Lent {
    /// Takes an output that nobody else has, and sets it up at the mode wanted.
    pub fn take(desktop: Desktop, wanted: &Wanted, journal: &Arc<Journal>) -> Result<Lent, Error> {
        let mut client = desktop.connect()?;
        if let Some(said) = journal.on_answer(desktop.process) {
            said.iter().for_each(|line| log::info!("displays: {line}"));
            // For how its outputs are by now.
            client = desktop.connect()?;
        }
        let turn = journal.turn();
        let taken = journal.lent_by(desktop.process);
        let heads = client.heads();
        let free = first_free(&heads, |name| taken.iter().any(|(its, _)| its == name));
        let Some(Head { name, setup: before }) = free else {
            return Err(Error::NoneFree { desktop: desktop.title(), lent_count: taken.len() });
        };
        let entry = Entry::Lent {
            process: desktop.process,
            wayland: desktop.wayland.clone(),
            name: name.clone(),
            before,
            programs: Vec::new(),
        };
        let mark = journal.add(entry)?;
        drop(turn);
        // From here on it is given back whatever happens.
        let mut lent = Lent {
            client,
            output: name,
            mode: wanted.mode,
            scale_percent: wanted.scale_percent,
            loan: Some(Loan { mark, before, wanted: before }),
            repair_count: 0,
            journal: Arc::clone(journal),
            session: wanted.session,
            programs: Programs::new(wanted.session),
            desktop,
        };
        lent.set_mode(wanted.mode)?;
        Ok(lent)
    }

    /// Sees an output as it is.
    pub fn mirror(
        desktop: Desktop,
        name: &str,
        wanted: &Wanted,
        journal: &Arc<Journal>,
    ) -> Result<Lent, Error> {
        let client = desktop.connect()?;
        let heads = client.heads();
        let Some(head) = heads.iter().find(|head| head.name == name) else {
            let others = heads.into_iter().map(|head| head.name).collect();
            return Err(Error::NoOutput { name: name.to_owned(), others });
        };
        let mode = head.setup.mode().ok_or_else(|| Error::Dark(name.to_owned()))?;
        Ok(Lent {
            client,
            output: name.to_owned(),
            mode,
            scale_percent: wanted.scale_percent,
            loan: None,
            repair_count: 0,
            journal: Arc::clone(journal),
            session: wanted.session,
            programs: Programs::new(wanted.session),
            desktop,
        })
    }

    /// Puts the output right where others have set it up otherwise.
    fn repair(&mut self) -> Result<(), Error> {
        let found = self.client.head(&self.output)?.setup;
        let Some(loan) = self.loan.as_ref().filter(|it| !found.is(&it.wanted)) else {
            return Ok(());
        };
        if self.repair_count == REPAIR_COUNT_MAX {
            return Ok(());
        }
        self.repair_count += 1;
        let (session, output) = (self.session, &self.output);
        let last = if self.repair_count == REPAIR_COUNT_MAX { ", for the last time" } else { "" };
        log::warn!("session {session}: output {output} set up again, as others did it{last}");
        Ok(self.client.set(&self.output, &loan.wanted)?)
    }
}

impl Backend for Lent {
    fn name(&self) -> String {
        format!("{} of {}", self.output, self.desktop.title())
    }

    fn socket(&self) -> &Path {
        &self.desktop.wayland
    }

    fn output(&self) -> &str {
        &self.output
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn set_scale(&mut self, percent: u32) {
        self.scale_percent = percent;
    }

    fn set_mode(&mut self, mode: Mode) -> Result<(), Error> {
        self.client.pump()?;
        let Some(loan) = &mut self.loan else {
            let shown = self.client.head(&self.output)?.setup.mode();
            self.mode = shown.ok_or_else(|| Error::Dark(self.output.clone()))?;
            return Ok(());
        };
        // Two sessions are not to find the same place.
        let _turn = self.journal.turn();
        let heads = self.client.heads().into_iter();
        let others = heads.filter(|head| head.name != self.output).map(|head| head.setup);
        let lent = self.journal.lent_by(self.desktop.process).into_iter();
        // Where others are to be again some time is taken, too.
        let places = lent.filter(|(name, _)| *name != self.output).map(|(_, before)| before);
        let others: Vec<Setup> = others.chain(places).collect();
        loan.wanted = loan.before.shown_as(mode, self.scale_percent, &others);
        self.client.set(&self.output, &loan.wanted)?;
        self.mode = mode;
        Ok(())
    }

    fn restore(&mut self) -> Result<bool, Error> {
        self.client.pump()?;
        self.repair()?;
        Ok(false)
    }

    fn is_alive(&self) -> bool {
        self.desktop.process.is_alive()
    }

    fn setting(&self, app: &App, surroundings: &Surroundings, told: &Told) -> Setting {
        let own: [(&str, OsString); 2] = [
            ("WAYLAND_DISPLAY", self.desktop.wayland.clone().into()),
            ("XDG_CURRENT_DESKTOP", self.desktop.name.clone().into()),
        ];
        app::setting(app, surroundings, told, own)
    }

    fn run(&mut self, app: &App, setting: &Setting) -> Result<(), Error> {
        if self.loan.is_some()
            && let Err(error) = self.client.point_at(&self.output)
        {
            log::debug!("session {}: windows open where they like: {error}", self.session);
        }
        let process = self.programs.start(app, setting)?;
        if let Some(Loan { mark, .. }) = &self.loan {
            self.journal
                .update(mark, |it| it.programs().into_iter().for_each(|it| it.push(process)))?;
        }
        Ok(())
    }

    fn end_programs(&mut self) {
        self.programs.end();
    }

    fn has_programs(&self) -> bool {
        self.programs.run()
    }

    fn log(&self) -> String {
        self.programs.log()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.programs.end();
        let Some(Loan { mark, before, .. }) = self.loan.take() else { return };
        let given_back =
            self.desktop.connect().and_then(|mut it| give_back(&mut it, &self.output, &before));
        let written = match given_back {
            // It is gone with its desktop.
            Err(_) if !self.is_alive() => self.journal.remove(mark),
            Ok(()) => self.journal.remove(mark),
            Err(error) => {
                self.journal.leave(mark);
                Err(error)
            }
        };
        if let Err(error) = written {
            let (session, output) = (self.session, &self.output);
            log::warn!("session {session}: output {output} left: {error} [{}]", Code::LeftOvers);
        }
    }
}

/// Has an output be as it was, if it is there.
pub fn give_back(client: &mut Client, name: &str, before: &Setup) -> Result<(), Error> {
    match client.set(name, before) {
        Err(wlroots::Error::NoHead(_)) => Ok(()),
        set => Ok(set?),
    }
}

/// The output that a session may have: one that nothing is shown on before others, and those with low
/// numbers first.
fn first_free(heads: &[Head], is_taken: impl Fn(&str) -> bool) -> Option<Head> {
    let free = heads.iter().filter(|it| wlroots::is_headless(&it.name) && !is_taken(&it.name));
    free.min_by_key(|it| (it.setup.is_enabled, it.name.len(), it.name.clone())).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_an_output_without_a_screen_that_nobody_uses() {
        let head = |name: &str, is_enabled| Head {
            name: name.into(),
            setup: Setup { is_enabled, ..Setup::default() },
        };
        let heads = [
            head("DP-1", false),
            head("HEADLESS-10", true),
            head("HEADLESS-9", true),
            head("HEADLESS-11", false),
        ];
        let table: [(&[&str], Option<&str>); 4] = [
            (&[], Some("HEADLESS-11")),
            (&["HEADLESS-11"], Some("HEADLESS-9")),
            (&["HEADLESS-11", "HEADLESS-9"], Some("HEADLESS-10")),
            (&["HEADLESS-11", "HEADLESS-9", "HEADLESS-10"], None),
        ];
        for (taken, expected) in table {
            let free = first_free(&heads, |name| taken.contains(&name));
            assert_eq!(free.map(|head| head.name).as_deref(), expected);
        }
    }
}
