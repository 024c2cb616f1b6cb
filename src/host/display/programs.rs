//! The programs of a session on a desktop that is not its own.

#![forbid(unsafe_code)]

use super::Error;
use super::app::{self, App, Setting};
use super::keeper::{Keeper, Program};
use super::process::Process;

/// See the module. They end with the value.
pub struct Programs {
    session: u32,
    programs: Vec<Program>,
    /// Ends after them.
    keeper: Option<Keeper>,
}

impl Programs {
    /// None yet, of the session of that number.
    pub fn new(session: u32) -> Programs {
        Programs { session, programs: Vec::new(), keeper: None }
    }

    /// Starts one.
    pub fn start(&mut self, app: &App, setting: &Setting) -> Result<Process, Error> {
        let command = app::command(app, setting)?;
        let keeper = match self.keeper.take() {
            Some(keeper) => keeper,
            None => Keeper::start(self.session).map_err(Error::system("thread not started"))?,
        };
        let program = keeper.spawn(command, app.exit_time);
        self.keeper = Some(keeper);
        let program = program.map_err(|error| app::not_started(app, error))?;
        let process = program.process();
        self.programs.push(program);
        Ok(process)
    }

    /// Whether one of them has started the process of that number, or whoever did.
    pub fn have_started(&self, pid: u32) -> bool {
        self.programs.iter().any(|program| program.process().has_started(pid))
    }

    /// Ends all of them.
    pub fn end(&mut self) {
        self.programs.clear();
    }

    /// Whether one of them runs.
    pub fn run(&self) -> bool {
        self.programs.iter().any(Program::runs)
    }

    /// The last that they have said.
    pub fn log(&self) -> String {
        self.keeper.as_ref().map(Keeper::log).unwrap_or_default()
    }
}
