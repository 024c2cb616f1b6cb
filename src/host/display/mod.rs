//! Displays: what a session's client sees, at the client's own mode.
//!
//! There are three kinds, with one interface: an output of the session's own on a desktop that runs,
//! a compositor of the session's own, and an output that is there already. A [`Backend`] knows how
//! one compositor does that. What is changed for one is in the [`journal`] before it is done, and
//! undone when the value goes. All of it blocks, for milliseconds as a rule and for seconds where a
//! compositor does not answer, so it is not for the reactor's thread.

#![forbid(unsafe_code)]

mod app;
mod attached;
pub mod journal;
mod keeper;
mod lent;
pub mod look;
mod private;
mod process;
mod programs;
pub mod script;
mod seats;
mod shelf;
mod steps;
mod sway;
mod told;
pub mod wlroots;

use std::ffi::OsString;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use punktfunk_core::proto::gamestream::http::Mode;

pub use self::app::{App, Setting};
use self::attached::Attached;
use self::journal::Journal;
use self::lent::Lent;
use self::private::Private;
use self::shelf::Shelf;
pub use self::steps::Step;
use self::steps::Undo;
pub use self::told::Told;
use crate::conf::{Compositor, Display as Kind};
use crate::ipc;
use crate::state;

/// What a display shows that nothing else is to run in.
const TERMINAL: &str = "foot";

/// What a session wants to see.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Which kind of display.
    pub kind: Kind,
    /// Whose it may be, where it is on a desktop that runs.
    pub compositor: Compositor,
    /// Its mode. A mirror has its own.
    pub mode: Mode,
    /// Its pixels for each hundred that programs reckon with. A mirror has its own.
    pub scale_percent: u32,
    /// The number of the session, which no other has at the time.
    pub session: u32,
    /// The number of the run that it is of: the display may be there from a session before.
    pub run: u32,
    /// What programs are told, beside the mode.
    pub told: Told,
    /// What runs in it from the start.
    pub app: Option<App>,
    /// How many sessions there may be, each with a seat of its own.
    pub sessions_max: u32,
}

/// What is there for displays and their programs.
#[derive(Clone, Debug, PartialEq)]
pub struct Surroundings {
    /// Where this user alone can make folders for sockets: a part of the runtime directory.
    pub runtime: PathBuf,
    /// Where the user's desktops have their sockets: XDG_RUNTIME_DIR. It may come later.
    pub xdg_runtime: PathBuf,
    /// The user's home.
    pub home: PathBuf,
    /// The daemon's environment, of which programs get a part.
    pub variables: Vec<(OsString, OsString)>,
}

/// What the displays of all sessions share.
#[derive(Debug)]
pub struct Displays {
    surroundings: Surroundings,
    plain_setting: Setting,
    journal: Arc<Journal>,
    shelf: Shelf,
}

impl Displays {
    /// Makes none yet.
    pub fn new(surroundings: Surroundings, journal: Journal) -> Displays {
        let plain_setting = app::plain_setting(&surroundings);
        let (journal, shelf) = (Arc::new(journal), Shelf::default());
        Displays { surroundings, plain_setting, journal, shelf }
    }

    /// The display that a session before this one has left to the run, at the mode wanted; without
    /// one, as [`Display::open`]. A compositor of the session's own without an app shows a
    /// terminal, where there is one. What earlier displays have left is undone before.
    pub fn open(self: &Arc<Displays>, wanted: Wanted) -> Result<Lease, Error> {
        for line in self.restore() {
            log::info!("displays: {line}");
        }
        let run = wanted.run;
        let left = self.shelf.take(run).filter(|display| !display.is_over());
        let opened = match left {
            Some(mut display) => match display.resume(&wanted) {
                Ok(()) => Ok(display),
                Err(error) => Err((error, Some(display))),
            },
            None => self.make(wanted).map_err(|error| (error, None)),
        };
        match opened {
            Ok(display) => Ok(Lease { displays: Arc::clone(self), run, display: Some(display) }),
            Err((error, left)) => {
                self.shelf.put(run, left);
                Err(error)
            }
        }
    }

    /// Closes what sessions have left to a run, which takes its time. None may open any more.
    pub fn close(&self, run: u32) {
        drop(self.shelf.take(run));
        self.shelf.put(run, None);
    }

    /// Those of the runs that nothing is left of: programs of theirs have ended, or their
    /// compositor, or they never had a display.
    pub fn ended(&self, runs: &[u32]) -> Vec<u32> {
        // What its desktop has to say is not to wait either.
        let is_over = |display: &mut Display| display.restore().is_err() || display.is_over();
        let is_ended = |run: &u32| self.shelf.look(*run, is_over).unwrap_or(true);
        runs.iter().copied().filter(is_ended).collect()
    }

    fn make(&self, mut wanted: Wanted) -> Result<Display, Error> {
        let mut app = wanted.app.take().unwrap_or_default();
        let mut display = Display::open(&wanted, &self.surroundings, &self.journal)?;
        display.prepare(&app, &self.surroundings)?;
        if app.argv.is_empty() && display.backend.needs_program() {
            app.argv = self.terminal().unwrap_or_default();
        }
        if !app.argv.is_empty() {
            display.run(&app, &self.surroundings)?;
        }
        Ok(display)
    }

    /// Undoes what a daemon before this one could not, and displays of this one. Returns lines for
    /// the log. Whoever opens a display meanwhile waits.
    pub fn restore(&self) -> Vec<String> {
        self.journal.restore()
    }

    /// What commands are started with that belong to no display. Does not look at any file.
    pub fn plain_setting(&self) -> &Setting {
        &self.plain_setting
    }

    /// Why a session would have nothing to see on such a display, as far as that shows without
    /// trying.
    pub fn refusal(&self, kind: &Kind) -> Option<String> {
        let runtime = &self.surroundings.xdg_runtime;
        let may_run = *kind != Kind::Private && sway::has_socket(runtime);
        let is_there = may_run || app::find("sway", &self.surroundings).is_some();
        (!is_there).then(|| Error::Missing("sway").to_string())
    }

    fn terminal(&self) -> Option<Vec<OsString>> {
        let program = app::find(TERMINAL, &self.surroundings)?;
        // The shell of a user for services ends at once, so it is not asked for.
        let variables = &self.surroundings.variables;
        let named =
            variables.iter().find(|(name, _)| name == "SHELL").map(|(_, shell)| shell.clone());
        let found = || app::find("bash", &self.surroundings).map(OsString::from);
        let shell = named.or_else(found).unwrap_or_else(|| "sh".into());
        Some(vec![program.into(), shell])
    }
}

/// A session's display. When it goes, the display is left to the run, until that is over as well.
pub struct Lease {
    displays: Arc<Displays>,
    run: u32,
    /// Until it goes.
    display: Option<Display>,
}

impl Deref for Lease {
    type Target = Display;

    fn deref(&self) -> &Display {
        self.display.as_ref().expect("taken by drop alone")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Display {
        self.display.as_mut().expect("taken by drop alone")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.displays.shelf.put(self.run, self.display.take());
    }
}

/// A display, which is gone with this, as are the programs in it. What was prepared for these is
/// undone between the one and the other.
pub struct Display {
    /// While the display is still there.
    undo: Undo,
    backend: Box<dyn Backend>,
    why: String,
    /// Whether it was there before its session.
    is_kept: bool,
    told: Told,
    /// Whether a program was started in it whose end is that of the session.
    ends_session: bool,
}

/// One kind of display at one kind of compositor. When it goes, what was changed for it is undone.
trait Backend: Send {
    /// Which it is, for people: the output and its compositor.
    fn name(&self) -> String;

    /// The Wayland socket of the compositor.
    fn socket(&self) -> &Path;

    /// What the compositor calls the output.
    fn output(&self) -> &str;

    /// The seat of the session, if it is not the first one.
    fn seat(&self) -> Option<String> {
        None
    }

    /// Where commands go to a sway that may read devices of the kernel.
    fn ipc(&self) -> Option<&Path> {
        None
    }

    /// Whether there is nothing to see but what is started there.
    fn needs_program(&self) -> bool {
        false
    }

    /// What it shows. Of an output that was there, what it showed when it was last asked.
    fn mode(&self) -> Mode;

    /// Pixels for each hundred that programs reckon with, from its next mode on.
    fn set_scale(&mut self, percent: u32);

    /// Changes its mode. One that is seen as it is is only asked for its own.
    fn set_mode(&mut self, mode: Mode) -> Result<(), Error>;

    /// Puts right what others have changed, and returns whether devices for input are lost by that.
    fn restore(&mut self) -> Result<bool, Error> {
        Ok(false)
    }

    /// Whether the compositor still runs.
    fn is_alive(&self) -> bool;

    /// What programs there are started with.
    fn setting(&self, app: &App, surroundings: &Surroundings, told: &Told) -> Setting;

    /// Starts a program there.
    fn run(&mut self, app: &App, setting: &Setting) -> Result<(), Error>;

    /// Ends the session's programs.
    fn end_programs(&mut self);

    /// Whether a program of the session runs.
    fn has_programs(&self) -> bool;

    /// The last that they have said.
    fn log(&self) -> String;
}

/// Why there is no display, or not as it is wanted.
#[derive(Debug)]
pub enum Error {
    /// A program does not start.
    App {
        /// As the administrator calls it.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// An output shows nothing.
    Dark(String),
    /// The compositor ended before it was there.
    Ended {
        /// What it said last.
        log: String,
    },
    /// The desktop has ended.
    Gone,
    /// The outputs of a compositor of wlroots.
    Heads(wlroots::Error),
    /// sway, asked for something.
    Ipc(ipc::Error),
    /// The journal cannot be read or written.
    Journal(state::Error),
    /// The compositor runs and does not answer.
    Late {
        /// What it said last.
        log: String,
    },
    /// No socket can have a path below this.
    LongPath(PathBuf),
    /// A program is not installed.
    Missing(&'static str),
    /// The output shows another mode than it was told.
    Mode {
        /// What it was told.
        wanted: Mode,
        /// What it shows, if anything.
        found: Option<Mode>,
    },
    /// An app has no command.
    NoCommand,
    /// The desktop has no such output.
    NoOutput {
        /// Which is wanted.
        name: String,
        /// What there is.
        others: Vec<String>,
    },
    /// No sway of this user runs.
    NoSway(PathBuf),
    /// No compositor of this user runs that sets its outputs by the protocol of wlroots.
    NoWlroots {
        /// Where it would be.
        directory: PathBuf,
        /// What is amiss with those that run.
        others: Vec<String>,
    },
    /// A desktop that makes no outputs has none for another session.
    NoneFree {
        /// Which, for people.
        desktop: String,
        /// Those that sessions have.
        lent_count: usize,
    },
    /// Every desktop that runs has a reason.
    NoneOf(Vec<Error>),
    /// The compositor says that it made an output, and there is none.
    NotMade,
    /// What had to be done before a program has failed.
    Prepare {
        /// The command.
        name: String,
        /// Why.
        failure: script::Failure,
    },
    /// This process is root.
    Root,
    /// The system.
    System {
        /// What did not happen.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::App { name, source } => write!(f, "{name} not started: {source}"),
            Error::Dark(name) => write!(f, "output {name} shows nothing"),
            Error::Ended { log } => write!(f, "sway ended at once: {log}"),
            Error::Gone => write!(f, "desktop ended"),
            Error::Heads(error) => write!(f, "{error}"),
            Error::Ipc(error) => write!(f, "{error}"),
            Error::Journal(error) => write!(f, "journal of displays: {error}"),
            Error::Late { log } => write!(f, "sway runs and does not answer: {log}"),
            Error::LongPath(path) => {
                write!(f, "path too long for sockets, RuntimeDirectory is: {}", path.display())
            }
            Error::Missing(program) => {
                write!(f, "{program} not found in PATH: the package {program} brings it")
            }
            Error::Mode { wanted, found: Some(found) } => {
                write!(f, "output shows {} instead of {}", Shown(*found), Shown(*wanted))
            }
            Error::Mode { wanted, found: None } => {
                write!(f, "output shows nothing instead of {}", Shown(*wanted))
            }
            Error::NoCommand => write!(f, "app without a command"),
            Error::NoneFree { desktop, lent_count: 0 } => {
                write!(f, "no output of {desktop} without a screen, such as HEADLESS-1")
            }
            Error::NoneFree { desktop, lent_count } => {
                write!(f, "every output of {desktop} without a screen has a session: {lent_count}")
            }
            Error::NoneOf(errors) => {
                for (index, error) in errors.iter().enumerate() {
                    write!(f, "{}{error}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Error::NoSway(path) => write!(f, "no sway of this user in {}", path.display()),
            Error::NoWlroots { directory: path, others } => {
                write!(f, "no other compositor of wlroots in {}", path.display())?;
                others.iter().try_for_each(|it| write!(f, ", {it}"))
            }
            Error::NoOutput { name, others } => {
                let others = if others.is_empty() { "none".into() } else { others.join(" ") };
                write!(f, "no output {name}, there are: {others}")
            }
            Error::NotMade => write!(f, "no new output, for all that sway says"),
            Error::Prepare { name, failure } => write!(f, "prepare \"{name}\": {failure}"),
            Error::Root => write!(
                f,
                "sway refuses to run as root: RunAs in the configuration names an ordinary user"
            ),
            Error::System { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl From<wlroots::Error> for Error {
    fn from(error: wlroots::Error) -> Error {
        Error::Heads(error)
    }
}

impl Error {
    /// Whether a compositor that is there has not answered.
    fn is_late(&self) -> bool {
        matches!(self, Error::Heads(wlroots::Error::TimedOut) | Error::Ipc(ipc::Error::TimedOut))
    }
}

impl From<ipc::Error> for Error {
    fn from(error: ipc::Error) -> Error {
        Error::Ipc(error)
    }
}

impl Error {
    /// Whether it says that no desktop runs.
    fn is_absence(&self) -> bool {
        match self {
            Error::NoSway(_) => true,
            Error::NoWlroots { others, .. } => others.is_empty(),
            _ => false,
        }
    }

    fn system(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::System { what, source }
    }
}

/// A mode for people: 1600x900@59.94.
struct Shown(Mode);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mode { width, height, refresh_mhz } = self.0;
        write!(f, "{width}x{height}@{}", f64::from(refresh_mhz) / 1000.0)
    }
}

impl Display {
    /// Opens a display of the kind wanted. `Auto` is an output on the desktop of this user where one
    /// runs and takes it, else a compositor of its own.
    pub fn open(
        wanted: &Wanted,
        surroundings: &Surroundings,
        journal: &Arc<Journal>,
    ) -> Result<Display, Error> {
        let (backend, why) = choose(wanted, surroundings, journal)?;
        let undo = Undo::new(wanted.session, journal);
        let told = Told { session: wanted.session, ..wanted.told.clone() };
        let mut display = Display { undo, backend, why, is_kept: false, told, ends_session: false };
        if let Some(app) = &wanted.app {
            display.prepare(app, surroundings)?;
            display.run(app, surroundings)?;
        }
        Ok(display)
    }

    /// Which it is and why it is no other, in one line.
    pub fn why(&self) -> String {
        format!("{}, at {}", self.why, Shown(self.mode()))
    }

    /// The Wayland socket and the name of the output: where pictures come from and input goes.
    pub fn wayland(&self) -> (PathBuf, String) {
        (self.backend.socket().to_owned(), self.backend.output().to_owned())
    }

    /// The seat that is its session's alone. Without one, input is for the first seat: that of the
    /// user whose screen is mirrored, or the only one of a compositor of the session's own.
    pub fn seat(&self) -> Option<String> {
        self.backend.seat()
    }

    /// Where commands go to a sway that may read devices of the kernel.
    pub fn ipc(&self) -> Option<PathBuf> {
        self.backend.ipc().map(Path::to_owned)
    }

    /// What it shows.
    pub fn mode(&self) -> Mode {
        self.backend.mode()
    }

    /// Makes it that of another session of its run.
    fn resume(&mut self, wanted: &Wanted) -> Result<(), Error> {
        self.told = Told { session: wanted.session, ..wanted.told.clone() };
        if !self.is_kept {
            self.why = format!("{}, kept since the session before", self.why);
            self.is_kept = true;
        }
        self.backend.set_scale(wanted.scale_percent);
        // A mirror's may have become another since.
        self.set_mode(wanted.mode)
    }

    /// Changes its mode. A mirror is left as it is, and [`Display::mode`] says anew what it shows.
    pub fn set_mode(&mut self, mode: Mode) -> Result<(), Error> {
        self.backend.set_mode(mode)
    }

    /// Brings windows of its programs that opened elsewhere. Puts right what a desktop has changed by
    /// reading its configuration anew, and returns whether it has: devices for input are to be opened
    /// again. To be called now and then.
    pub fn restore(&mut self) -> Result<bool, Error> {
        self.backend.restore()
    }

    /// Whether its compositor still runs.
    pub fn is_alive(&self) -> bool {
        self.backend.is_alive()
    }

    /// Does what an app needs before it starts. Where that fails, all of it is undone with the
    /// display.
    pub fn prepare(&mut self, app: &App, surroundings: &Surroundings) -> Result<(), Error> {
        let setting = self.setting(app, surroundings);
        self.undo.prepare(app, &setting)
    }

    /// Starts a program in it.
    pub fn run(&mut self, app: &App, surroundings: &Surroundings) -> Result<(), Error> {
        let setting = self.setting(app, surroundings);
        self.backend.run(app, &setting)?;
        self.ends_session = app.ends_session;
        Ok(())
    }

    fn setting(&self, app: &App, surroundings: &Surroundings) -> Setting {
        let told = Told { mode: Some(self.mode()), ..self.told.clone() };
        self.backend.setting(app, surroundings, &told)
    }

    /// Whether a program that was started in it still runs, or anything that this has started.
    pub fn has_programs(&self) -> bool {
        self.backend.has_programs()
    }

    /// Whether a program ran in it that the session ends with, and nothing of it runs any more.
    pub fn has_ended(&self) -> bool {
        self.ends_session && !self.has_programs()
    }

    /// Whether there is nothing to see in it any more.
    fn is_over(&self) -> bool {
        self.has_ended() || !self.is_alive()
    }

    /// The last line that its programs have said, if they said anything.
    pub fn last_words(&self) -> Option<String> {
        let log = self.log();
        log.lines().rev().find(|line| !line.trim().is_empty()).map(ipc::one_line)
    }

    /// The last 64 KiB of what its programs have said.
    pub fn log(&self) -> String {
        self.backend.log()
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let backend = &mut self.backend;
        self.undo.run_after(|| backend.end_programs());
    }
}

/// A backend and, in one line, which it is and why it is no other.
type Chosen = (Box<dyn Backend>, String);

fn choose(
    wanted: &Wanted,
    surroundings: &Surroundings,
    journal: &Arc<Journal>,
) -> Result<Chosen, Error> {
    let start = |why_not: &str| -> Result<Chosen, Error> {
        let private = Private::open(wanted, surroundings, journal)?;
        let why = format!("private, {}, {why_not}", private.name());
        Ok((Box::new(private), why))
    };
    match &wanted.kind {
        Kind::Auto => match attach(wanted, surroundings, journal) {
            Ok((backend, why)) => Ok((backend, format!("{why}, not private: a desktop runs"))),
            // Where nothing can be written, no other kind can be either.
            Err(Error::Journal(error)) => Err(Error::Journal(error)),
            Err(error) => start(&format!("not virtual: {error}")),
        },
        Kind::Private => start("as Display says"),
        Kind::Mirror(_) | Kind::Virtual => {
            let (backend, why) = attach(wanted, surroundings, journal)?;
            Ok((backend, format!("{why}, as Display says")))
        }
    }
}

/// Desktops that may run, in the order in which they are looked for.
const DESKTOPS: [(Compositor, &str); 2] =
    [(Compositor::Sway, "sway"), (Compositor::Wlroots, "wlroots")];

/// On the first desktop that runs, may be it and has an output.
fn attach(
    wanted: &Wanted,
    surroundings: &Surroundings,
    journal: &Arc<Journal>,
) -> Result<Chosen, Error> {
    let is_any = wanted.compositor == Compositor::Auto;
    let (mut why_not, mut errors) = (String::new(), Vec::new());
    for (compositor, name) in DESKTOPS {
        if !is_any && wanted.compositor != compositor {
            continue;
        }
        match attach_to(compositor, wanted, surroundings, journal) {
            Ok(backend) => {
                let kind = if let Kind::Mirror(_) = wanted.kind { "mirror" } else { "virtual" };
                let says = if is_any { "" } else { ", as Compositor says" };
                let why = format!("{kind}, {}{says}{why_not}", backend.name());
                return Ok((backend, why));
            }
            Err(Error::Journal(error)) => return Err(Error::Journal(error)),
            Err(error) => {
                why_not += &format!(", not {name}: {error}");
                errors.push(error);
            }
        }
    }
    // One that runs is the one to look at.
    if !errors.iter().all(Error::is_absence) {
        errors.retain(|error| !error.is_absence());
    }
    Err(if errors.len() == 1 { errors.remove(0) } else { Error::NoneOf(errors) })
}

fn attach_to(
    compositor: Compositor,
    wanted: &Wanted,
    surroundings: &Surroundings,
    journal: &Arc<Journal>,
) -> Result<Box<dyn Backend>, Error> {
    let directory = &surroundings.xdg_runtime;
    Ok(match compositor {
        Compositor::Auto | Compositor::Sway => {
            let desktop = sway::find(directory).ok_or_else(|| Error::NoSway(directory.clone()))?;
            Box::new(match &wanted.kind {
                Kind::Mirror(output) => Attached::mirror(desktop, output, wanted, journal)?,
                _ => Attached::make(desktop, wanted, journal)?,
            })
        }
        Compositor::Wlroots => {
            let no_desktop = |others| Error::NoWlroots { directory: directory.clone(), others };
            let desktop = wlroots::find(directory).map_err(no_desktop)?;
            Box::new(match &wanted.kind {
                Kind::Mirror(output) => Lent::mirror(desktop, output, wanted, journal)?,
                _ => Lent::take(desktop, wanted, journal)?,
            })
        }
    })
}

const FOLDER: &str = "display-";

/// What the folder of a session's compositor is called.
fn folder_name(session: u32) -> String {
    format!("{FOLDER}{session}")
}

/// Whether a folder can be one of those.
fn is_folder_name(name: &str) -> bool {
    name.strip_prefix(FOLDER).is_some_and(|number| number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Directory;
    use crate::state::tests::Folder;

    fn wanted(kind: Kind) -> Wanted {
        let mode = Mode { width: 1280, height: 720, refresh_mhz: 60_000 };
        let told = Told::default();
        Wanted {
            kind,
            compositor: Compositor::Auto,
            mode,
            scale_percent: 100,
            session: 1,
            run: 1,
            told,
            app: None,
            sessions_max: 4,
        }
    }

    #[test]
    fn an_error_says_in_one_line_what_is_missing() {
        let folder = Folder::new();
        let path = folder.path();
        let surroundings = Surroundings {
            runtime: path.to_owned(),
            xdg_runtime: path.to_owned(),
            home: path.to_owned(),
            variables: vec![("PATH".into(), path.into())],
        };
        let directory = Directory::open(&path.join("state"), true).unwrap();
        let journal = Arc::new(Journal::open(Arc::new(directory)).unwrap());
        let place = path.display();
        let no_desktop =
            format!("no sway of this user in {place}, no other compositor of wlroots in {place}");
        let no_sway = match punktfunk_core::net::process::uid() {
            0 => "sway refuses to run as root: RunAs in the configuration names an ordinary user",
            _ => "sway not found in PATH: the package sway brings it",
        };
        let table = [
            (Kind::Auto, no_sway),
            (Kind::Mirror("DP-1".into()), &no_desktop),
            (Kind::Private, no_sway),
            (Kind::Virtual, &no_desktop),
        ];
        for (kind, expected) in table {
            let error = Display::open(&wanted(kind), &surroundings, &journal).err().unwrap();
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!(journal.entries(), []);
        assert!(!path.join("display-1").exists());
    }

    #[test]
    fn folders_of_displays_have_their_names_alone() {
        for (name, expected) in
            [("display-1", true), ("display-", false), ("display-x", false), ("..", false)]
        {
            assert_eq!(is_folder_name(name), expected);
        }
        assert!(is_folder_name(&folder_name(u32::MAX)));
    }

    #[test]
    fn a_refresh_is_shown_without_needless_digits() {
        let mode = |refresh_mhz| Mode { width: 1, height: 2, refresh_mhz };
        assert_eq!(Shown(mode(60_000)).to_string(), "1x2@60");
        assert_eq!(Shown(mode(59_940)).to_string(), "1x2@59.94");
    }
}
