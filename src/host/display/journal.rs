//! What displays have changed on this machine, on the disk before it is done, so that the next start
//! can undo what a crash left behind, and the next session what a compositor did not let be undone.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use punktfunk_core::net::clock;
use serde::{Deserialize, Serialize};

use super::process::{self, Kin, Process};
use super::script::Script;
use super::seats::Seats;
use super::sway::{self, Desktop, Removal};
use super::wlroots::{self, Setup};
use super::{Error, lent};
use crate::code::Code;
use crate::ipc;
use crate::state::Directory;

/// The file, in the state directory.
pub const FILE: &str = "displays.json";
/// What 64 sessions can have of commands, 32 lines of 4 KiB each, and as much of environments.
const FILE_LEN_MAX: usize = 32 << 20;
/// Commands of one entry that are run.
const COMMAND_COUNT_MAX: usize = 32;
/// Bytes of a variable that is kept.
const VARIABLE_LEN_MAX: usize = 4096;
/// The most that a command of an earlier daemon may take.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(600);
/// A compositor that has not answered is not asked again for so long.
const HUNG_TIME: Duration = Duration::from_secs(30);
const VERSION: u32 = 1;
/// Process ids and times count from a start of the machine; this is another text after each.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// One change.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// An output that was there, on a desktop of wlroots.
    Lent {
        /// The compositor.
        process: Process,
        /// Its Wayland socket.
        wayland: PathBuf,
        /// Which output it is.
        name: String,
        /// How that was.
        before: Setup,
        /// Programs of its session.
        programs: Vec<Process>,
    },
    /// An output that was made on a desktop that runs.
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
    /// Commands that were prepared for.
    Undo {
        /// In the order of their preparation; the last is run first.
        commands: Vec<Vec<String>>,
        /// Where they start.
        directory: String,
        /// Their environment.
        variables: BTreeMap<String, String>,
        /// How long each may take.
        time_max_ms: u64,
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
    /// Who wrote this.
    #[serde(default)]
    daemon: Option<Process>,
    entries: Vec<Entry>,
}

/// All changes that are not undone. One for all sessions.
#[derive(Debug)]
pub struct Journal {
    directory: Arc<Directory>,
    boot: String,
    /// The daemon before this one, where it has left something on this start of the machine. None
    /// once that is undone. Whoever undoes something has it.
    before: Mutex<Option<Process>>,
    /// Compositors that have not answered, and when.
    hung: Mutex<Vec<(Process, Instant)>>,
    state: Mutex<State>,
    turns: Mutex<()>,
    commands: RwLock<()>,
    seats: Arc<Seats>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    entries: Vec<(u64, Entry)>,
    /// Those that no display has any more and that are to be undone.
    left: Vec<u64>,
}

/// An entry of the journal that a display has, as long as its change is not undone.
#[derive(Debug)]
pub struct Mark(u64);

impl Journal {
    /// Reads what is left of a daemon before. [`Journal::restore`] undoes it.
    pub fn open(directory: Arc<Directory>) -> Result<Journal, Error> {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        let bytes = directory.read(FILE, FILE_LEN_MAX).map_err(Error::Journal)?;
        let document = bytes.map(|bytes| serde_json::from_slice::<Document>(&bytes));
        let mut before = None;
        let entries = match document {
            None => Vec::new(),
            Some(Ok(document)) if document.version == VERSION => {
                let is_now = document.boot == boot;
                before = document.daemon.filter(|_| is_now);
                document.entries.into_iter().filter_map(|it| it.of_boot(is_now)).collect()
            }
            Some(document) => {
                let why = document.err().map_or("another version".to_owned(), |it| it.to_string());
                let what = "not understood, what it says is not undone";
                log::warn!("displays: {FILE} {what}: {why} [{}]", Code::LeftOvers);
                Vec::new()
            }
        };
        let entries: Vec<_> = (0..).zip(entries).collect();
        let (next, left) = (entries.len() as u64, (0..entries.len() as u64).collect());
        let (state, before) = (Mutex::new(State { next, entries, left }), Mutex::new(before));
        Ok(Journal {
            directory,
            boot,
            before,
            hung: Mutex::default(),
            state,
            turns: Mutex::default(),
            commands: RwLock::default(),
            seats: Arc::default(),
        })
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

    /// To be held while something is prepared, which waits for what is being undone: where a client
    /// comes back at once, its last session must not undo what was prepared for the new one.
    pub fn preparing(&self) -> RwLockReadGuard<'_, ()> {
        self.commands.read().expect("no thread outlives a panic")
    }

    /// To be held from before the programs end until all that was prepared for them is undone.
    pub fn undoing(&self) -> RwLockWriteGuard<'_, ()> {
        self.commands.write().expect("no thread outlives a panic")
    }

    /// Writes down what is about to be done. An entry that is not written is none.
    pub fn add(&self, entry: Entry) -> Result<Mark, Error> {
        let mut state = self.state.lock().expect("no thread outlives a panic");
        let number = state.next;
        state.entries.push((number, entry));
        if let Err(error) = self.write(&state) {
            state.entries.pop();
            return Err(error);
        }
        state.next += 1;
        Ok(Mark(number))
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

    /// Leaves to [`Journal::restore`] what cannot be undone now. It is on the disk already.
    pub fn leave(&self, mark: Mark) {
        self.state.lock().expect("no thread outlives a panic").left.push(mark.0);
    }

    /// A parked output of that desktop, from now on in use. It stays parked where that is not
    /// written.
    pub fn take_parked(&self, desktop: &Desktop) -> Result<Option<(Mark, String)>, Error> {
        let wanted = Compositor::from(desktop);
        let mut state = self.state.lock().expect("no thread outlives a panic");
        let mut entries = state.entries.iter().enumerate();
        let found = entries.find_map(|(place, (number, entry))| match entry {
            Entry::Parked { compositor, name } if *compositor == wanted => {
                Some((place, *number, name.clone()))
            }
            _ => None,
        });
        let Some((place, number, name)) = found else { return Ok(None) };
        let (before, programs) = (Vec::new(), Vec::new());
        let used = Entry::Output { compositor: wanted, before, name: Some(name.clone()), programs };
        let parked = std::mem::replace(&mut state.entries[place].1, used);
        if let Err(error) = self.write(&state) {
            state.entries[place].1 = parked;
            return Err(error);
        }
        state.left.retain(|it| *it != number);
        Ok(Some((Mark(number), name)))
    }

    /// Outputs of that compositor that sessions have, and how they were before.
    pub fn lent_by(&self, compositor: Process) -> Vec<(String, Setup)> {
        let lent = self.entries().into_iter().filter_map(|entry| match entry {
            Entry::Lent { process, name, before, .. } => {
                (process == compositor).then_some((name, before))
            }
            _ => None,
        });
        lent.collect()
    }

    /// Undoes what a daemon before this one has left, and what displays have since, as far as it is
    /// still there; returns a line for each. To be called before a display is opened. Blocks for
    /// seconds where much is left, and while another thread does the same. A compositor that does not
    /// answer is waited for once in half a minute, or until it has answered.
    pub fn restore(&self) -> Vec<String> {
        let mut before = self.before.lock().expect("no thread outlives a panic");
        let mut said = Vec::new();
        let (commands, displays): (Vec<_>, Vec<_>) =
            self.left().into_iter().partition(|it| matches!(it.1, Entry::Undo { .. }));
        let mut hung = self.hung.lock().expect("no thread outlives a panic");
        let start = clock::now();
        hung.retain(|it| it.0.is_alive() && start.saturating_duration_since(it.1) < HUNG_TIME);
        for (number, entry) in displays {
            let compositor = entry.compositor();
            if hung.iter().any(|it| Some(it.0) == compositor) {
                continue;
            }
            // No output is made meanwhile that could be taken for this one.
            let _turn = matches!(entry, Entry::Output { .. }).then(|| self.turn());
            let rest = undo(entry, &self.names_beside(number), &mut said);
            if let (Rest::Hung(_), Some(compositor)) = (&rest, compositor) {
                hung.push((compositor, clock::now()));
            }
            self.settle(number, rest.entry());
        }
        drop(hung);
        if let Some(before) = before.take().filter(|it| !it.is_alive()) {
            end_kin(&before, &mut said);
        }
        // One that is cut short is run again by the next start.
        for (number, entry) in commands {
            let rest = undo(entry, &[], &mut said);
            self.settle(number, rest.entry());
        }
        said
    }

    /// A compositor answers. If it has hung, this is [`Journal::restore`] without the wait.
    pub fn on_answer(&self, compositor: Process) -> Option<Vec<String>> {
        let mut hung = self.hung.lock().expect("no thread outlives a panic");
        let place = hung.iter().position(|it| it.0 == compositor)?;
        hung.swap_remove(place);
        drop(hung);
        Some(self.restore())
    }

    fn left(&self) -> Vec<(u64, Entry)> {
        let state = self.state.lock().expect("no thread outlives a panic");
        let left = state.entries.iter().filter(|(number, _)| state.left.contains(number));
        left.cloned().collect()
    }

    /// The names of all outputs that are known to be of other entries.
    fn names_beside(&self, number: u64) -> Vec<String> {
        let state = self.state.lock().expect("no thread outlives a panic");
        let others = state.entries.iter().filter(|it| it.0 != number);
        let names = others.filter_map(|(_, entry)| match entry {
            Entry::Output { name, .. } => name.clone(),
            Entry::Parked { name, .. } => Some(name.clone()),
            _ => None,
        });
        names.collect()
    }

    /// Notes what stays of an entry that was to be undone.
    fn settle(&self, number: u64, stays: Option<Entry>) {
        let mut state = self.state.lock().expect("no thread outlives a panic");
        if !state.left.contains(&number) {
            // It was parked, and a session has it by now.
            return;
        }
        // Nothing more can be done about one that is parked, until a session wants it.
        if matches!(stays, None | Some(Entry::Parked { .. })) {
            state.left.retain(|it| *it != number);
        }
        let Some(place) = state.entries.iter().position(|it| it.0 == number) else { return };
        match stays {
            // That is what the disk has.
            Some(stays) if stays == state.entries[place].1 => return,
            Some(stays) => state.entries[place].1 = stays,
            None => drop(state.entries.remove(place)),
        }
        if let Err(error) = self.write(&state) {
            log::warn!("displays: {error} [{}]", Code::LeftOvers);
        }
    }

    /// Everything that is written down.
    pub fn entries(&self) -> Vec<Entry> {
        let state = self.state.lock().expect("no thread outlives a panic");
        state.entries.iter().map(|(_, entry)| entry.clone()).collect()
    }

    /// Changes the entries, first here and then on the disk. Here they stay changed whatever becomes
    /// of the disk, which gets them with the next change.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        let mut state = self.state.lock().expect("no thread outlives a panic");
        let result = change(&mut state);
        self.write(&state)?;
        Ok(result)
    }

    fn write(&self, state: &State) -> Result<(), Error> {
        let entries = state.entries.iter().map(|(_, entry)| entry.clone()).collect();
        let (boot, daemon) = (self.boot.clone(), process::this());
        let document = Document { version: VERSION, boot, daemon, entries };
        let bytes = serde_json::to_vec(&document).expect("strings and numbers only");
        self.directory.write(FILE, &bytes).map_err(Error::Journal)
    }
}

impl Entry {
    /// Its programs, to add to.
    pub fn programs(&mut self) -> Option<&mut Vec<Process>> {
        match self {
            Entry::Lent { programs, .. }
            | Entry::Output { programs, .. }
            | Entry::Private { programs, .. } => Some(programs),
            Entry::Parked { .. } | Entry::Undo { .. } => None,
        }
    }

    /// Whose answer its undoing takes.
    fn compositor(&self) -> Option<Process> {
        match self {
            Entry::Lent { process, .. } => Some(*process),
            Entry::Output { compositor, .. } | Entry::Parked { compositor, .. } => {
                Some(compositor.process)
            }
            Entry::Private { .. } | Entry::Undo { .. } => None,
        }
    }

    /// What undoes preparations. What no text can say of the environment is left out.
    pub fn undo(scripts: &[Script]) -> Entry {
        let text = |it: &std::ffi::OsString| it.to_string_lossy().into_owned();
        let words = |script: &Script| script.argv.iter().map(text).collect();
        let first = scripts.first();
        let variables = first.into_iter().flat_map(|script| &script.variables);
        let variables = variables.filter_map(|(name, value)| {
            let is_kept = name.len() + value.len() <= VARIABLE_LEN_MAX;
            Some((name.to_str()?.to_owned(), value.to_str()?.to_owned())).filter(|_| is_kept)
        });
        let time_max = first.map_or(Duration::ZERO, |script| script.time_max);
        Entry::Undo {
            commands: scripts.iter().map(words).collect(),
            directory: first.map_or_else(String::new, |it| it.directory.to_string_lossy().into()),
            variables: variables.collect(),
            time_max_ms: u64::try_from(time_max.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// What of it can still be there. Of an earlier start of the machine, that is folders alone.
    fn of_boot(self, is_now: bool) -> Option<Entry> {
        match self {
            entry if is_now => Some(entry),
            Entry::Private { folder, ipc, .. } => {
                Some(Entry::Private { folder, ipc, programs: Vec::new() })
            }
            // What was prepared may have outlived the machine's start, as a file does.
            entry @ Entry::Undo { .. } => Some(entry),
            _ => None,
        }
    }
}

/// What stays of an entry that was to be undone.
enum Rest {
    /// This, as its compositor does not answer.
    Hung(Entry),
    /// Nothing.
    Nothing,
    /// This.
    Some(Entry),
}

impl Rest {
    /// This, because of that.
    fn after(error: &Error, entry: Entry) -> Rest {
        if error.is_late() { Rest::Hung(entry) } else { Rest::Some(entry) }
    }

    fn entry(self) -> Option<Entry> {
        match self {
            Rest::Hung(entry) | Rest::Some(entry) => Some(entry),
            Rest::Nothing => None,
        }
    }
}

/// Undoes one change, as far as it can be. Outputs of other entries have these names.
fn undo(entry: Entry, others: &[String], said: &mut Vec<String>) -> Rest {
    match entry {
        Entry::Lent { process, wayland, name, before, programs } => {
            end(&programs, said);
            let connected = wlroots::connect(&wayland, process);
            match connected.and_then(|mut client| lent::give_back(&mut client, &name, &before)) {
                Ok(()) => {
                    said.push(format!("output {name} as it was"));
                    Rest::Nothing
                }
                // What is gone with its compositor needs no undoing.
                Err(_) if !process.is_alive() => Rest::Nothing,
                Err(error) => {
                    said.push(format!("output {name}: {error}"));
                    let programs = Vec::new();
                    Rest::after(&error, Entry::Lent { process, wayland, name, before, programs })
                }
            }
        }
        Entry::Output { compositor, before, name, programs } => {
            end(&programs, said);
            let older = [&before, others].concat();
            match undo_output(&compositor, &older, name.as_deref()) {
                Ok(None) => Rest::Nothing,
                Ok(Some((name, Removal::Gone))) => {
                    said.push(format!("output {name} removed"));
                    Rest::Nothing
                }
                Ok(Some((name, Removal::Parked))) => {
                    said.push(format!("output {name} parked, which this sway cannot remove"));
                    Rest::Some(Entry::Parked { compositor, name })
                }
                // What is gone with its compositor needs no undoing.
                Err(_) if !compositor.process.is_alive() => Rest::Nothing,
                Err(error) => {
                    said.push(format!("output {}: {error}", name.as_deref().unwrap_or("new")));
                    let programs = Vec::new();
                    Rest::after(&error, Entry::Output { compositor, before, name, programs })
                }
            }
        }
        Entry::Parked { compositor, name } => {
            let is_there = || -> Result<bool, Error> {
                let mut client = sway::connect(&compositor.ipc, compositor.process)?;
                Ok(sway::names(&mut client)?.contains(&name))
            };
            match is_there() {
                Ok(false) => Rest::Nothing,
                Ok(true) => Rest::Some(Entry::Parked { compositor, name }),
                Err(_) if !compositor.process.is_alive() => Rest::Nothing,
                Err(error) => Rest::after(&error, Entry::Parked { compositor, name }),
            }
        }
        Entry::Private { folder, ipc, mut programs } => {
            // One that started in the last moment of a daemon is known by its socket alone.
            programs.extend(listener(&ipc).filter(|it| !programs.contains(it)));
            end(&programs, said);
            if remove_folder(&folder, said) {
                Rest::Nothing
            } else {
                Rest::Some(Entry::Private { folder, ipc, programs })
            }
        }
        Entry::Undo { commands, directory, variables, time_max_ms } => {
            let time_max = Duration::from_millis(time_max_ms).min(COMMAND_TIME_MAX);
            let variables: BTreeMap<_, _> =
                variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
            // What a folder of a display was is gone with that.
            let is_there = Path::new(&directory).is_dir();
            let directory = PathBuf::from(if is_there { directory } else { "/".to_owned() });
            for words in commands.into_iter().take(COMMAND_COUNT_MAX).rev() {
                let argv = words.into_iter().map(Into::into).collect();
                let (directory, variables) = (directory.clone(), variables.clone());
                let script = Script { argv, directory, variables, time_max };
                said.push(match script.run() {
                    Ok(()) => format!("undo \"{}\" done", script.name()),
                    Err(failure) => format!("undo \"{}\": {failure}", script.name()),
                });
            }
            Rest::Nothing
        }
    }
}

/// Without a name it is the first that was made after the older ones.
fn undo_output(
    compositor: &Compositor,
    older: &[String],
    name: Option<&str>,
) -> Result<Option<(String, Removal)>, Error> {
    let mut client = sway::connect(&compositor.ipc, compositor.process)?;
    let now = sway::names(&mut client)?;
    let name = match name {
        Some(name) => now.into_iter().find(|it| it == name),
        None => sway::first_made(older, &now),
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
        said.push(if program.is_alive() {
            format!("process {} still runs [{}]", program.pid, Code::LeftOvers)
        } else {
            format!("process {} ended", program.pid)
        });
    }
}

/// Ends what programs of a daemon that is gone have started, wherever that went.
fn end_kin(daemon: &Process, said: &mut Vec<String>) {
    let kin = Kin::left_by(daemon);
    let count = kin.members().len();
    if count > 0 {
        kin.end(process::GRACE);
        said.push(format!("{count} processes of old sessions ended"));
    }
}

/// Whether there is nothing left to remove.
fn remove_folder(folder: &Path, said: &mut Vec<String>) -> bool {
    // Only a folder that a display can have made.
    let is_ours = folder.file_name().and_then(|it| it.to_str()).is_some_and(super::is_folder_name);
    if !is_ours || fs::symlink_metadata(folder).is_err() {
        return true;
    }
    let (removed, name) = (fs::remove_dir_all(folder), folder.display());
    said.push(match &removed {
        Ok(()) => format!("{name} removed"),
        Err(error) => format!("{name} not removed: {error} [{}]", Code::LeftOvers),
    });
    removed.is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixListener;
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
        opened.add(parked("HEADLESS-2", 1)).unwrap();
        let Entry::Parked { compositor: Compositor { process, ipc }, .. } = parked("", 1) else {
            unreachable!("that is what it makes")
        };
        let version = "1.7".to_owned();
        let desktop = Desktop { process, version, ipc, wayland: "/nowhere/wayland".into() };
        let path = folder.path().join("state/displays.json");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();

        let added = opened.add(parked("HEADLESS-3", 1)).map(|_| ());
        let taken = opened.take_parked(&desktop).map(|_| ());

        for refused in [added, taken] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains("displays.json: not written: "), "{error}");
        }
        assert_eq!(opened.entries(), [parked("HEADLESS-2", 1)]);
        fs::remove_dir(&path).unwrap();
        assert_eq!(opened.take_parked(&desktop).unwrap().unwrap().1, "HEADLESS-2");
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

    /// A shell that writes into a file, and what it would be told.
    fn undo_of(script: &str, folder: &Folder) -> Script {
        let variables = [("PATH", "/usr/bin:/bin"), ("WORD", "told")];
        Script {
            argv: ["sh", "-c", script].map(Into::into).to_vec(),
            directory: folder.path().to_owned(),
            variables: variables.map(|(name, value)| (name.into(), value.into())).into(),
            time_max: Duration::from_secs(30),
        }
    }

    #[test]
    fn commands_are_undone_once_the_last_first_after_another_start_of_the_machine_too() {
        let folder = Folder::new();
        let opened = journal(&folder);
        let one = undo_of("echo one $WORD >>undone; echo gone >&2; false", &folder);
        let two = undo_of("echo two $WORD >>undone", &folder);
        opened.add(Entry::undo(&[one, two])).unwrap();
        let path = folder.path().join("state/displays.json");
        let text = fs::read_to_string(&path).unwrap().replace(&opened.boot, "another");
        fs::write(&path, text).unwrap();

        let said = journal(&folder).restore();
        let again = journal(&folder).restore();

        let undone = fs::read_to_string(folder.path().join("undone")).unwrap();
        assert_eq!(undone, "two told\none told\n");
        assert_eq!(said.len(), 2);
        assert!(said[0].ends_with(">>undone\" done"), "{said:?}");
        assert!(said[1].ends_with("exit status: 1: gone"), "{said:?}");
        assert_eq!(again, Vec::<String>::new());
    }

    #[test]
    fn a_compositor_that_hangs_is_waited_for_once() {
        let folder = Folder::new();
        let opened = journal(&folder);
        let ipc = folder.path().join("ipc");
        // It accepts nothing.
        let listener = UnixListener::bind(&ipc).unwrap();
        let compositor = Compositor { process: process::this().unwrap(), ipc };
        let output = |number| Entry::Output {
            compositor: compositor.clone(),
            before: Vec::new(),
            name: Some(format!("HEADLESS-{number}")),
            programs: Vec::new(),
        };
        for number in [1, 2] {
            let mark = opened.add(output(number)).unwrap();
            opened.leave(mark);
        }
        let path = folder.path().join("state/displays.json");
        let inode = || fs::metadata(&path).unwrap().ino();
        let before = inode();

        let (said, again) = (opened.restore(), opened.restore());

        assert_eq!(said, ["output HEADLESS-1: no answer of sway within 2 s"]);
        assert_eq!(again, Vec::<String>::new());
        assert_eq!(opened.entries(), [output(1), output(2)]);
        assert_eq!(inode(), before, "nothing has changed");
        drop(listener);
    }

    #[test]
    fn a_folder_that_cannot_be_removed_is_tried_again() {
        let folder = Folder::new();
        let opened = journal(&folder);
        opened.add(private(&folder, Vec::new())).unwrap();
        let path = folder.path().join("display-7");
        // As a folder it is not removed.
        fs::write(&path, "").unwrap();

        let again = journal(&folder);
        let said = [again.restore(), again.restore()].concat();
        let entries = journal(&folder).entries();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let removed = again.restore();

        let start = format!("{} not removed: ", path.display());
        assert_eq!(said.len(), 2);
        assert!(
            said.iter().all(|it| it.starts_with(&start) && it.ends_with("[PF-K02]")),
            "{said:?}"
        );
        assert_eq!(entries, [private(&folder, Vec::new())]);
        assert_eq!(removed, [format!("{} removed", path.display())]);
        assert_eq!(journal(&folder).entries(), []);
    }

    #[test]
    fn only_what_is_ours_is_undone() {
        let folder = Folder::new();
        let keeper = Keeper::start(7).unwrap();
        let sleeper = || {
            let mut command = Command::new("sleep");
            command.arg("1000");
            keeper.spawn(command, process::GRACE).unwrap()
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
