//! Apps that run, looked at or waiting for their clients.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use punktfunk_core::proto::cert::Fingerprint;

use super::{Act, End, Launch, Sessions};

/// An app that somebody launched, whether or not it is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Counted from 1. Its display is known by it.
    pub id: u32,
    /// Who launched it, or has taken it over.
    pub client: Fingerprint,
    /// What that is called.
    pub client_name: String,
    /// Its id.
    pub app: u32,
    /// What people call it.
    pub title: String,
    /// Since when nobody looks at it, and how long that may last.
    pub lingers: Option<Lingers>,
    /// Whether it has a display, or will have.
    pub(super) has_display: bool,
}

/// How an app waits for its client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lingers {
    /// Since when.
    pub since: Instant,
    /// For so long; without that, for as long as it takes.
    pub time: Option<Duration>,
}

impl Lingers {
    /// When it is over.
    pub fn until(&self) -> Option<Instant> {
        self.time.map(|time| self.since + time)
    }
}

impl Sessions {
    /// Apps that run.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The app that a client launched and did not end.
    pub fn run_of(&self, client: Fingerprint) -> Option<&Run> {
        self.runs.iter().find(|run| run.client == client)
    }

    /// Ends an app and what looks at it.
    pub fn cancel(&mut self, run: u32, now: Instant) {
        self.end_all(|session| session.run == run, &End::Cancelled, now);
        self.end_runs(|other| other.id == run);
    }

    /// These runs have ended by themselves while nobody looked.
    pub fn on_runs_ended(&mut self, ended: &[u32]) {
        for run in self.runs.iter().filter(|run| ended.contains(&run.id) && run.lingers.is_some()) {
            log::info!("app {:?}: ended while {} was away", run.title, run.client_name);
        }
        self.end_runs(|run| ended.contains(&run.id) && run.lingers.is_some());
    }

    /// The run that is resumed, if it is there: whoever looked at it does so no more.
    pub(super) fn resume_run(&mut self, launch: &Launch, now: Instant) -> Option<u32> {
        let id = launch.resumes?;
        self.end_all(|session| session.run == id, &End::Resumed, now);
        let run = self.runs.iter_mut().find(|run| run.id == id)?;
        (run.client, run.client_name) = (launch.client, launch.client_name.clone());
        run.lingers = None;
        Some(id)
    }

    pub(super) fn begin_run(&mut self, launch: &Launch) -> u32 {
        self.last_run_id += 1;
        self.runs.push(Run {
            id: self.last_run_id,
            client: launch.client,
            client_name: launch.client_name.clone(),
            app: launch.app,
            title: launch.title.clone(),
            lingers: None,
            has_display: false,
        });
        self.last_run_id
    }

    /// Ends those that have waited longest, where there are more than that.
    pub(super) fn make_room(&mut self, count_max: usize) {
        while self.runs.len() > count_max {
            let waiting = self.runs.iter().filter(|run| run.lingers.is_some());
            let Some(oldest) = waiting.min_by_key(|run| run.lingers.map(|it| it.since)) else {
                return; // all are looked at
            };
            let id = oldest.id;
            log::info!(
                "app {:?} of {}: ended, others need its place",
                oldest.title,
                oldest.client_name
            );
            self.end_runs(|run| run.id == id);
        }
    }

    pub(super) fn end_runs(&mut self, is_it: impl Fn(&Run) -> bool) {
        let closed = self.runs.extract_if(.., |run| is_it(run)).filter(|run| run.has_display);
        self.acts.extend(closed.map(|run| Act::Close(run.id)));
    }
}
