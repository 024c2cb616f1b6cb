//! What displays have changed on this machine, on the disk before it is done, so that the next start
//! can undo what a crash left behind.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use super::process::Process;
use super::seats::Seats;
use super::sway::{self, Desktop, Removal};
use super::{Error, ipc};
use crate::state::Directory;

/// The file, in the state directory.
pub const FILE: &str = "displays.json";
const FILE_LEN_MAX: usize = 1 << 20;
const VERSION: u32 = 1;
/// Process ids and times count from a start of the machine; this is another text after each.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// One change.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// An output on a desktop that runs.
    Output {
        /// Whose.
        compositor: Compositor,
        /// Those that were there before.
        before: Vec<String>,
        /// Which it is, once that is known.
        name: Option<String>,
        /// Programs of its session.
        programs: Vec<Process>,
    },
    /// An output of ours that could not be removed and waits for its next session.
    Parked {
        /// Whose.
        compositor: Compositor,
        /// Which.
        name: String,
    },
    /// A compositor of our own.
    Private {
        /// Where its sockets are.
        folder: PathBuf,
        /// Its socket for commands.
        ipc: PathBuf,
        /// Itself, first, and the programs of its session.
        programs: Vec<Process>,
    },
}

/// A sway that is not ours.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Compositor {
    /// Its process.
    pub process: Process,
    /// Its IPC socket.
    pub ipc: PathBuf,
}

impl From<&Desktop> for Compositor {
    fn from(desktop: &Desktop) -> Compositor {
        Compositor { process: desktop.process, ipc: desktop.ipc.clone() }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    boot: String,
    entries: Vec<Entry>,
}

/// All changes that are not undone. One for all sessions.
#[derive(Debug)]
pub struct Journal {
    directory: Arc<Directory>,
    boot: String,
    state: Mutex<State>,
    turns: Mutex<()>,
    seats: Arc<Seats>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    entries: Vec<(u64, Entry)>,
}

/// An entry of the journal, as long as its change is not undone.
#[derive(Debug)]
pub struct Mark(u64);

impl Journal {
    /// Reads what is left of a daemon before. [`Journal::restore`] undoes it.
    pub fn open(directory: Arc<Directory>) -> Result<Journal, Error> {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        let bytes = directory.read(FILE, FILE_LEN_MAX).map_err(Error::Journal)?;
        let document = bytes.map(|bytes| serde_json::from_slice::<Document>(&bytes));
        let entries = match document {
            None => Vec::new(),
            Some(Ok(document)) if document.version == VERSION => {
                let is_now = document.boot == boot;
                document.entries.into_iter().filter_map(|it| it.of_boot(is_now)).collect()
            }
            Some(document) => {
                let why = document.err().map_or("another version".to_owned(), |it| it.to_string());
                log::warn!("displays: {FILE} not understood, what it says is not undone: {why}");
                Vec::new()
            }
        };
        let entries: Vec<_> = (0..).zip(entries).collect();
        let state = Mutex::new(State { next: entries.len() as u64, entries });
        Ok(Journal { directory, boot, state, turns: Mutex::new(()), seats: Arc::default() })
    }

    /// Who has which seat. Seats cannot be undone, so there is nothing of them on the disk.
    pub fn seats(&self) -> &Arc<Seats> {
        &self.seats
    }

    /// Sessions make outputs one after another, as a new one is known by not having been there
    /// before.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.turns.lock().expect("no thread outlives a panic")
    }

    /// Writes down what is about to be done.
    pub fn add(&self, entry: Entry) -> Result<Mark, Error> {
        self.change(|state| {
            let number = state.next;
            state.next += 1;
            state.entries.push((number, entry));
            Mark(number)
        })
    }

    /// Writes down more of it.
    pub fn update(&self, mark: &Mark, change: impl FnOnce(&mut Entry)) -> Result<(), Error> {
        self.change(|state| {
            if let Some((_, entry)) = state.entries.iter_mut().find(|it| it.0 == mark.0) {
                change(entry);
            }
        })
    }

    /// Forgets what is undone.
    pub fn remove(&self, mark: Mark) -> Result<(), Error> {
        self.change(|state| state.entries.retain(|it| it.0 != mark.0))
    }

    /// A parked output of that desktop, from now on in use.
    pub fn take_parked(&self, desktop: &Desktop) -> Result<Option<(Mark, String)>, Error> {
        let wanted = Compositor::from(desktop);
        let is_parked = |entry: &Entry| matches!(entry, Entry::Parked { compositor, .. } if *compositor == wanted);
        if !self.entries().iter().any(is_parked) {
            return Ok(None);
        }
        self.change(|state| {
            let (number, entry) = state.entries.iter_mut().find(|it| is_parked(&it.1))?;
            let Entry::Parked { compositor, name } = entry.clone() else { return None };
            let (before, programs) = (Vec::new(), Vec::new());
            *entry = Entry::Output { compositor, before, name: Some(name.clone()), programs };
            Some((Mark(*number), name))
        })
    }

    /// Undoes everything that is written down, as far as it is still there; returns a line for each.
    /// To be called before the first display is opened. Blocks for seconds where much is left.
    pub fn restore(&self) -> Vec<String> {
        let mut said = Vec::new();
        let mut left = Vec::new();
        for entry in self.entries() {
            left.extend(undo(entry, &mut said));
        }
        let kept = self.change(|state| {
            state.entries = (state.next..).zip(left).collect();
            state.next += state.entries.len() as u64;
        });
        if let Err(error) = kept {
            log::warn!("displays: {error}");
        }
        said
    }

    /// Everything that is written down.
    pub fn entries(&self) -> Vec<Entry> {
        let state = self.state.lock().expect("no thread outlives a panic");
        state.entries.iter().map(|(_, entry)| entry.clone()).collect()
    }

    /// Changes the entries, first here and then on the disk.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        let mut state = self.state.lock().expect("no thread outlives a panic");
        let result = change(&mut state);
        let entries = state.entries.iter().map(|(_, entry)| entry.clone()).collect();
        let document = Document { version: VERSION, boot: self.boot.clone(), entries };
        let bytes = serde_json::to_vec(&document).expect("strings and numbers only");
        self.directory.write(FILE, &bytes).map_err(Error::Journal)?;
        Ok(result)
    }
}

impl Entry {
    /// Its programs, to add to.
    pub fn programs(&mut self) -> Option<&mut Vec<Process>> {
        match self {
            Entry::Output { programs, .. } | Entry::Private { programs, .. } => Some(programs),
            Entry::Parked { .. } => None,
        }
    }

    /// What of it can still be there. Of an earlier start of the machine, that is folders alone.
    fn of_boot(self, is_now: bool) -> Option<Entry> {
        match self {
            entry if is_now => Some(entry),
            Entry::Private { folder, ipc, .. } => {
                Some(Entry::Private { folder, ipc, programs: Vec::new() })
            }
            _ => None,
        }
    }
}

/// Undoes one change, as far as it can be; returns what stays.
fn undo(entry: Entry, said: &mut Vec<String>) -> Option<Entry> {
    match entry {
        Entry::Output { compositor, before, name, programs } => {
            end(&programs, said);
            match undo_output(&compositor, &before, name.as_deref()) {
                Ok(None) => None,
                Ok(Some((name, Removal::Gone))) => {
                    said.push(format!("output {name} removed"));
                    None
                }
                Ok(Some((name, Removal::Parked))) => {
                    said.push(format!("output {name} parked, which this sway cannot remove"));
                    Some(Entry::Parked { compositor, name })
                }
                // What is gone with its compositor needs no undoing.
                Err(_) if !compositor.process.is_alive() => None,
                Err(error) => {
                    said.push(format!("output {}: {error}", name.as_deref().unwrap_or("new")));
                    Some(Entry::Output { compositor, before, name, programs: Vec::new() })
                }
            }
        }
        Entry::Parked { compositor, name } => {
            let is_there = || -> Result<bool, Error> {
                let mut client = sway::connect(&compositor.ipc, compositor.process)?;
                Ok(sway::names(&mut client)?.contains(&name))
            };
            let is_gone = is_there().map_or(!compositor.process.is_alive(), |is_there| !is_there);
            if is_gone { None } else { Some(Entry::Parked { compositor, name }) }
        }
        Entry::Private { folder, ipc, mut programs } => {
            // One that started in the last moment of a daemon is known by its socket alone.
            programs.extend(listener(&ipc).filter(|it| !programs.contains(it)));
            end(&programs, said);
            remove_folder(&folder, said);
            None
        }
    }
}

fn undo_output(
    compositor: &Compositor,
    before: &[String],
    name: Option<&str>,
) -> Result<Option<(String, Removal)>, Error> {
    let mut client = sway::connect(&compositor.ipc, compositor.process)?;
    let now = sway::names(&mut client)?;
    let name = match name {
        Some(name) => now.into_iter().find(|it| it == name),
        None => sway::first_made(before, &now),
    };
    let Some(name) = name else { return Ok(None) };
    let removal = sway::remove(&mut client, &name)?;
    Ok(Some((name, removal)))
}

/// The process of this user that listens at a socket for commands.
fn listener(ipc: &Path) -> Option<Process> {
    let peer = ipc::Client::connect(ipc).ok()?.peer().ok()?;
    Process::find(peer.pid)
}

/// Ends programs, those that came last first.
fn end(programs: &[Process], said: &mut Vec<String>) {
    for program in programs.iter().rev().filter(|it| it.is_alive()) {
        program.end();
        let left = if program.is_alive() { "still runs" } else { "ended" };
        said.push(format!("process {} {left}", program.pid));
    }
}

fn remove_folder(folder: &Path, said: &mut Vec<String>) {
    // Only a folder that a display can have made.
    let is_ours = folder.file_name().and_then(|it| it.to_str()).is_some_and(super::is_folder_name);
    if !is_ours || fs::symlink_metadata(folder).is_err() {
        return;
    }
    match fs::remove_dir_all(folder) {
        Ok(()) => said.push(format!("{} removed", folder.display())),
        Err(error) => said.push(format!("{} not removed: {error}", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::display::keeper::Keeper;
    use crate::state::tests::Folder;

    fn journal(folder: &Folder) -> Journal {
        let directory = Directory::open(&folder.path().join("state"), true).unwrap();
        Journal::open(Arc::new(directory)).unwrap()
    }

    fn private(folder: &Folder, programs: Vec<Process>) -> Entry {
        let folder = folder.path().join("display-7");
        Entry::Private { ipc: folder.join("ipc"), folder, programs }
    }

    fn parked(name: &str, start_ticks: u64) -> Entry {
        let process = Process { pid: std::process::id(), start_ticks };
        let compositor = Compositor { process, ipc: "/nowhere/sway".into() };
        Entry::Parked { compositor, name: name.to_owned() }
    }

    #[test]
    fn what_is_added_is_on_the_disk_until_it_is_removed() {
        let folder = Folder::new();
        let opened = journal(&folder);
        let mark = opened.add(private(&folder, Vec::new())).unwrap();
        let other = opened.add(parked("HEADLESS-2", 1)).unwrap();
        let process = Process { pid: 1, start_ticks: 2 };
        opened.update(&mark, |it| it.programs().unwrap().push(process)).unwrap();

        let expected = [private(&folder, vec![process]), parked("HEADLESS-2", 1)];
        assert_eq!(journal(&folder).entries(), expected);
        opened.remove(mark).unwrap();
        assert_eq!(journal(&folder).entries(), expected[1..]);
        opened.remove(other).unwrap();
        assert_eq!(journal(&folder).entries(), []);
    }

    #[test]
    fn a_journal_that_cannot_be_written_stops_the_change() {
        let folder = Folder::new();
        let opened = journal(&folder);
        fs::create_dir(folder.path().join("state/displays.json")).unwrap();

        let error = opened.add(parked("HEADLESS-2", 1)).unwrap_err().to_string();

        assert!(error.contains("displays.json: not written: "), "{error}");
    }

    #[test]
    fn what_is_no_journal_is_none() {
        for text in ["", "{", "[]", r#"{"version":2,"boot":"","entries":[]}"#, "\0\0"] {
            let folder = Folder::new();
            let path = folder.path().join("state");
            Directory::open(&path, true).unwrap().write(FILE, text.as_bytes()).unwrap();

            assert_eq!(journal(&folder).entries(), [], "{text}");
        }
    }

    #[test]
    fn after_the_machine_has_started_again_folders_alone_are_left() {
        let folder = Folder::new();
        let opened = journal(&folder);
        let process = Process::find(std::process::id()).unwrap();
        opened.add(private(&folder, vec![process])).unwrap();
        opened.add(parked("HEADLESS-2", process.start_ticks)).unwrap();
        let path = folder.path().join("state/displays.json");
        let text = fs::read_to_string(&path).unwrap().replace(&opened.boot, "another");
        fs::write(&path, text).unwrap();

        assert_eq!(journal(&folder).entries(), [private(&folder, Vec::new())]);
    }

    #[test]
    fn only_what_is_ours_is_undone() {
        let folder = Folder::new();
        let keeper = Keeper::start(7).unwrap();
        let sleeper = || {
            let mut command = Command::new("sleep");
            command.arg("1000");
            keeper.spawn(command).unwrap()
        };
        let (ours, later) = (sleeper(), sleeper());
        let (own, process) = (ours.process(), later.process());
        let earlier = Process { start_ticks: process.start_ticks - 1, ..process };
        let foreign = folder.path().join("precious");
        for path in [&foreign, &folder.path().join("display-7")] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("file"), "").unwrap();
        }
        let opened = journal(&folder);
        opened.add(private(&folder, vec![own, earlier])).unwrap();
        let entry = Entry::Private { ipc: "/x".into(), folder: foreign.clone(), programs: vec![] };
        opened.add(entry).unwrap();
        opened.add(parked("HEADLESS-2", 1)).unwrap();

        let said = journal(&folder).restore();

        let gone = folder.path().join("display-7");
        assert_eq!(
            said,
            [format!("process {} ended", own.pid), format!("{} removed", gone.display())]
        );
        assert!(!ours.is_alive() && later.is_alive() && foreign.exists() && !gone.exists());
        assert_eq!(journal(&folder).entries(), []);
    }
}
