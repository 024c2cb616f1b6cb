//! What has to be prepared for a program, and undone after it.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::sync::Arc;

use super::Error;
use super::app::{App, Setting};
use super::journal::{Entry, Journal, Mark};
use super::script::Script;
use crate::code::Code;

/// One preparation, and what undoes it. Without words there is nothing to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Has to succeed before the program starts.
    pub prepare: Vec<OsString>,
    /// Runs after the program has ended, if the preparation was begun.
    pub undo: Vec<OsString>,
}

impl Step {
    /// From two lists: what stands at the same place belongs together.
    pub fn pair(prepare: &[Vec<String>], undo: &[Vec<String>]) -> Vec<Step> {
        let words = |list: &[Vec<String>], index: usize| {
            list.get(index).into_iter().flatten().map(OsString::from).collect()
        };
        let count = prepare.len().max(undo.len());
        let step = |index| Step { prepare: words(prepare, index), undo: words(undo, index) };
        (0..count).map(step).collect()
    }
}

/// What is to be undone, which is in the journal until that is done.
pub struct Undo {
    scripts: Vec<Script>,
    mark: Option<Mark>,
    journal: Arc<Journal>,
    session: u32,
}

impl Undo {
    /// Nothing yet.
    pub fn new(session: u32, journal: &Arc<Journal>) -> Undo {
        Undo { scripts: Vec::new(), mark: None, journal: Arc::clone(journal), session }
    }

    /// Prepares for a program, one step after another up to the first that fails. Blocks.
    pub fn prepare(&mut self, app: &App, setting: &Setting) -> Result<(), Error> {
        if app.steps.is_empty() {
            return Ok(());
        }
        let journal = Arc::clone(&self.journal);
        let _nobody_undoes = journal.preparing();
        let script = |words: &[OsString]| Script {
            argv: words.to_vec(),
            directory: setting.directory.clone(),
            variables: setting.variables.clone(),
            time_max: app.hook_time,
        };
        for step in &app.steps {
            if !step.undo.is_empty() {
                self.scripts.push(script(&step.undo));
                self.write()?;
            }
            if !step.prepare.is_empty() {
                let script = script(&step.prepare);
                script.run().map_err(|failure| Error::Prepare { name: script.name(), failure })?;
            }
        }
        Ok(())
    }

    /// Has the programs end and undoes it, the last first. Blocks.
    pub fn run_after(&mut self, end_programs: impl FnOnce()) {
        let journal = Arc::clone(&self.journal);
        let _nobody_prepares = (!self.scripts.is_empty()).then(|| journal.undoing());
        end_programs();
        self.run();
    }

    fn run(&mut self) {
        while let Some(script) = self.scripts.last() {
            if let Err(failure) = script.run() {
                let (session, name) = (self.session, script.name());
                log::warn!("session {session}: undo \"{name}\": {failure} [{}]", Code::LeftOvers);
            }
            self.scripts.pop();
            if let Err(error) = self.write() {
                log::warn!("session {}: {error} [{}]", self.session, Code::LeftOvers);
            }
        }
    }

    /// Brings the journal to what is to be undone now.
    fn write(&mut self) -> Result<(), Error> {
        match self.mark.take() {
            Some(mark) if self.scripts.is_empty() => self.journal.remove(mark),
            Some(mark) => {
                let written =
                    self.journal.update(&mark, |entry| *entry = Entry::undo(&self.scripts));
                self.mark = Some(mark);
                written
            }
            None if self.scripts.is_empty() => Ok(()),
            None => {
                self.mark = Some(self.journal.add(Entry::undo(&self.scripts))?);
                Ok(())
            }
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        self.run_after(|| {});
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::state::Directory;
    use crate::state::tests::Folder;

    fn journal(folder: &Folder) -> Arc<Journal> {
        let directory = Directory::open(&folder.path().join("state"), true).unwrap();
        Arc::new(Journal::open(Arc::new(directory)).unwrap())
    }

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn app(prepare: &[Vec<String>], undo: &[Vec<String>]) -> App {
        App {
            steps: Step::pair(prepare, undo),
            hook_time: Duration::from_secs(30),
            ..App::default()
        }
    }

    fn setting(folder: &Folder) -> Setting {
        let variables = [("PATH".into(), "/usr/bin:/bin".into())].into();
        Setting { directory: folder.path().to_owned(), variables }
    }

    /// What the commands of a test have written.
    fn done(folder: &Folder) -> String {
        fs::read_to_string(folder.path().join("done")).unwrap_or_default().replace('\n', " ")
    }

    #[test]
    fn steps_are_prepared_in_order_and_undone_in_reverse() {
        let folder = Folder::new();
        let journal = journal(&folder);
        let say = |words: &[&str]| -> Vec<Vec<String>> {
            let script = |word: &&str| match *word {
                "" => Vec::new(),
                word => shell(&format!("echo {word} >>done")),
            };
            words.iter().map(script).collect()
        };
        let app = app(&say(&["a", "b", "c"]), &say(&["-a", "", "-c", "-d"]));

        let mut undo = Undo::new(1, &journal);
        undo.prepare(&app, &setting(&folder)).unwrap();
        let (prepared, entry_count) = (done(&folder), journal.entries().len());
        drop(undo);

        assert_eq!((prepared.as_str(), entry_count), ("a b c ", 1));
        assert_eq!(done(&folder), "a b c -d -c -a ");
        assert_eq!(journal.entries(), []);
    }

    #[test]
    fn what_was_begun_is_undone_where_a_preparation_fails_and_the_rest_is_not() {
        let folder = Folder::new();
        let journal = journal(&folder);
        let prepare =
            [shell("echo a >>done"), shell("echo bad >&2; exit 7"), shell("echo c >>done")];
        let undo = ["-a", "-b", "-c"].map(|word| shell(&format!("echo {word} >>done; false")));

        let mut undo_value = Undo::new(1, &journal);
        let error = undo_value.prepare(&app(&prepare, &undo), &setting(&folder)).unwrap_err();
        drop(undo_value);

        let expected = "prepare \"sh -c echo bad >&2; exit 7\": exit status: 7: bad";
        assert_eq!(error.to_string(), expected);
        assert_eq!(done(&folder), "a -b -a ");
        assert_eq!(journal.entries(), []);
    }

    #[test]
    fn what_is_prepared_next_waits_until_the_last_is_undone() {
        let folder = Folder::new();
        let journal = journal(&folder);
        let first = app(&[], &[shell("sleep 0.3; echo -a >>done")]);
        let second = app(&[shell("echo b >>done")], &[]);
        let (begun, begins) = std::sync::mpsc::channel();
        let mut undo = Undo::new(1, &journal);
        undo.prepare(&first, &setting(&folder)).unwrap();

        std::thread::scope(|scope| {
            scope.spawn(|| undo.run_after(|| begun.send(()).unwrap()));
            begins.recv().unwrap();
            Undo::new(2, &journal).prepare(&second, &setting(&folder)).unwrap();
        });

        assert_eq!(done(&folder), "-a b ");
    }

    #[test]
    fn nothing_is_prepared_that_the_journal_cannot_hold() {
        let folder = Folder::new();
        let journal = journal(&folder);
        fs::create_dir(folder.path().join("state/displays.json")).unwrap();
        let app = app(&[shell("echo a >>done")], &[shell("echo -a >>done")]);

        let error = Undo::new(1, &journal).prepare(&app, &setting(&folder)).unwrap_err();

        assert!(error.to_string().contains("not written"), "{error}");
        assert_eq!(done(&folder), "-a ");
    }
}
