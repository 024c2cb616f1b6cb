//! A display of the session's own: a sway without a screen, started for it and ended with it.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use punktfunk_core::net::process as system;
use punktfunk_core::proto::gamestream::http::Mode;

use super::app::{self, App, Setting};
use super::journal::{Entry, Journal, Mark};
use super::keeper::{Keeper, Program};
use super::process::{self, Process};
use super::sway::{self, Desktop};
use super::told::Told;
use super::{Backend, Error, Surroundings, Wanted, folder_name};
use crate::code::Code;

/// The compositor has this long to be there.
const PATIENCE: Duration = Duration::from_secs(5);
/// What it said before it ended has this long to be read.
const LAST_WORDS_TIME: Duration = Duration::from_millis(200);
/// The display for X11 may take this long more, before it is done without.
const X11_PATIENCE: Duration = Duration::from_secs(1);
/// Bytes in the path of a socket at most, unix(7).
const SOCKET_LEN_MAX: usize = 107;
/// The longest name of a socket there.
const WAYLAND: &str = "wayland-32";
/// Its socket for commands, in its folder; a short name, as paths of sockets are short.
const IPC: &str = "ipc";
const CONFIG: &str = "config";
/// Where its display for X11 is written, where it has one.
const X11: &str = "x11";
/// What is seen where no window is.
const BACKGROUND: &str = "#20262e";

/// A compositor and the session's programs in it.
pub struct Private {
    folder: PathBuf,
    /// Known once it answers.
    desktop: Option<Desktop>,
    output: String,
    mode: Mode,
    scale_percent: u32,
    x11: Option<OsString>,
    mark: Option<Mark>,
    journal: Arc<Journal>,
    session: u32,
    programs: Vec<Program>,
    compositor: Option<Program>,
    /// Ends after them.
    keeper: Keeper,
}

impl Private {
    /// Starts the compositor and waits until it shows the mode wanted.
    pub fn open(
        wanted: &Wanted,
        surroundings: &Surroundings,
        journal: &Arc<Journal>,
    ) -> Result<Private, Error> {
        if system::uid() == 0 {
            return Err(Error::Root);
        }
        let sway = app::find("sway", surroundings).ok_or(Error::Missing("sway"))?;
        let folder = surroundings.runtime.join(folder_name(wanted.session));
        if folder.join(WAYLAND).as_os_str().len() > SOCKET_LEN_MAX {
            return Err(Error::LongPath(folder));
        }
        let (ipc, programs) = (folder.join(IPC), Vec::new());
        let entry = Entry::Private { folder: folder.clone(), ipc, programs };
        let keeper = Keeper::start(wanted.session).map_err(Error::system("thread not started"))?;
        let mark = Some(journal.add(entry)?);
        // From here on all of it is undone whatever happens.
        let mut private = Private {
            folder,
            desktop: None,
            output: String::new(),
            mode: wanted.mode,
            scale_percent: wanted.scale_percent,
            x11: None,
            mark,
            journal: Arc::clone(journal),
            session: wanted.session,
            programs: Vec::new(),
            compositor: None,
            keeper,
        };
        private.start(&sway, surroundings)?;
        Ok(private)
    }

    fn start(&mut self, sway: &Path, surroundings: &Surroundings) -> Result<(), Error> {
        make_folder(&self.folder)?;
        let has = |name| app::find(name, surroundings).is_some();
        let config = config(self.mode, self.scale_percent, has("swaybg"), has("Xwayland"));
        let path = self.folder.join(CONFIG);
        fs::write(&path, config).map_err(Error::system("configuration of sway not written"))?;
        let mut command = Command::new(sway);
        command.arg("-c").arg(&path).current_dir(&self.folder);
        command.env_clear().envs(app::environment(surroundings));
        command.env("XDG_RUNTIME_DIR", &self.folder).env("SWAYSOCK", self.folder.join(IPC));
        command.envs([
            ("WLR_BACKENDS", "headless"),
            ("WLR_LIBINPUT_NO_DEVICES", "1"),
            ("WLR_RENDERER", "pixman"),
            ("XDG_CURRENT_DESKTOP", "sway"),
        ]);
        let program = self
            .keeper
            .spawn(command, process::GRACE)
            .map_err(Error::system("sway not started"))?;
        let compositor = program.process();
        self.compositor = Some(program);
        self.note(compositor)?;
        let desktop = self.wait_desktop(compositor)?;
        self.output = self.wait_output(&desktop)?;
        sway::set_mode(&mut desktop.connect()?, &self.output, self.mode, self.scale_percent)?;
        if has("Xwayland") {
            self.x11 = self.wait_x11();
        }
        self.desktop = Some(desktop);
        Ok(())
    }

    /// Waits until both sockets of the compositor answer.
    fn wait_desktop(&self, compositor: Process) -> Result<Desktop, Error> {
        let ipc = self.folder.join(IPC);
        let mut found = None;
        process::wait(PATIENCE, || {
            found = sway::desktop(&ipc, &self.folder).filter(|it| it.process == compositor);
            found.is_some() || !compositor.is_alive()
        });
        match found {
            Some(desktop) => Ok(desktop),
            None if compositor.is_alive() => Err(Error::Late { log: self.last_line() }),
            None => {
                // Another thread reads them, and may be on its way.
                process::wait(LAST_WORDS_TIME, || self.keeper.log().ends_with('\n'));
                Err(Error::Ended { log: self.last_line() })
            }
        }
    }

    fn wait_output(&self, desktop: &Desktop) -> Result<String, Error> {
        let mut client = desktop.connect()?;
        let mut found = Ok(None);
        process::wait(PATIENCE, || {
            found = sway::names(&mut client).map(|names| names.into_iter().next());
            !matches!(found, Ok(None))
        });
        found?.ok_or_else(|| Error::Late { log: self.last_line() })
    }

    /// The name of the display for X11, unless sway does without.
    fn wait_x11(&self) -> Option<OsString> {
        let path = self.folder.join(X11);
        let mut found = None;
        process::wait(X11_PATIENCE, || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            found = text.strip_suffix('\n').map(str::to_owned);
            found.is_some()
        });
        found.filter(|name| !name.is_empty()).map(OsString::from)
    }

    /// Writes down a process that has to be ended.
    fn note(&self, process: Process) -> Result<(), Error> {
        let Some(mark) = &self.mark else { return Ok(()) };
        self.journal.update(mark, |entry| {
            if let Some(programs) = entry.programs() {
                programs.push(process);
            }
        })
    }

    /// What the compositor said last, for people.
    fn last_line(&self) -> String {
        let log = self.keeper.log();
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        crate::ipc::one_line(last.unwrap_or("it said nothing"))
    }

    fn opened(&self) -> &Desktop {
        self.desktop.as_ref().expect("open() has waited for it")
    }
}

impl Backend for Private {
    fn name(&self) -> String {
        format!("{} of its own", self.opened().title())
    }

    fn needs_program(&self) -> bool {
        true
    }

    fn socket(&self) -> &Path {
        &self.opened().wayland
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
        sway::set_mode(&mut self.opened().connect()?, &self.output, mode, self.scale_percent)?;
        self.mode = mode;
        Ok(())
    }

    fn is_alive(&self) -> bool {
        self.compositor.as_ref().is_some_and(Program::is_alive)
    }

    fn setting(&self, app: &App, surroundings: &Surroundings, told: &Told) -> Setting {
        let desktop = self.opened();
        let own: [(&str, OsString); 2] = [
            ("WAYLAND_DISPLAY", desktop.wayland.clone().into()),
            ("SWAYSOCK", desktop.ipc.clone().into()),
        ];
        let mut setting = app::setting(app, surroundings, told, own);
        let mut add = |name: &str, value: &OsStr| {
            // What the configuration says has the last word.
            setting.variables.entry(name.into()).or_insert_with(|| value.into());
        };
        // Where the user has a directory of the kind, that stands there.
        add("XDG_RUNTIME_DIR", self.folder.as_os_str());
        if let Some(x11) = &self.x11 {
            add("DISPLAY", x11);
        }
        setting
    }

    fn run(&mut self, app: &App, setting: &Setting) -> Result<(), Error> {
        let command = app::command(app, setting)?;
        let program = self.keeper.spawn(command, app.exit_time);
        let program = program.map_err(|error| app::not_started(app, error))?;
        let process = program.process();
        self.programs.push(program);
        self.note(process)
    }

    fn end_programs(&mut self) {
        self.programs.clear();
    }

    fn has_programs(&self) -> bool {
        self.programs.iter().any(Program::runs)
    }

    fn log(&self) -> String {
        self.keeper.log()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // While they still have a display to say goodbye to.
        self.programs.clear();
        self.compositor = None;
        let Some(mark) = self.mark.take() else { return };
        let written = match fs::remove_dir_all(&self.folder) {
            Err(error) if self.folder.exists() => {
                self.journal.leave(mark);
                Err(Error::system("folder not removed")(error))
            }
            _ => self.journal.remove(mark),
        };
        if let Err(error) = written {
            log::warn!("session {}: display: {error} [{}]", self.session, Code::LeftOvers);
        }
    }
}

/// Makes the folder for this user alone. What is there already is left of a session with the same
/// number, whose daemon has ended.
fn make_folder(folder: &Path) -> Result<(), Error> {
    let fail = Error::system("folder for sway not made");
    if fs::symlink_metadata(folder).is_ok() {
        fs::remove_dir_all(folder).map_err(Error::system("folder for sway not emptied"))?;
    }
    DirBuilder::new().mode(0o700).create(folder).map_err(fail)
}

/// What the compositor is told: one output at that mode and scale, and nothing beside the windows.
fn config(mode: Mode, scale_percent: u32, has_background: bool, has_x11: bool) -> String {
    let (mode, scale) = (sway::emit(mode), sway::emit_scale(scale_percent));
    let mut lines = vec![
        format!("output * mode --custom {mode} scale {scale}"),
        "default_border none".to_owned(),
        "default_floating_border none".to_owned(),
    ];
    if has_background {
        lines.push(format!("output * bg {BACKGROUND} solid_color"));
    }
    if has_x11 {
        // Written whole or not at all, as somebody waits for it.
        lines.push(format!(
            "exec cd \"$XDG_RUNTIME_DIR\" && echo \"$DISPLAY\" >{X11}.new && mv {X11}.new {X11}"
        ));
    } else {
        lines.push("xwayland disable".to_owned());
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_the_mode_and_what_is_installed() {
        let mode = Mode { width: 1600, height: 900, refresh_mhz: 90_000 };

        let all = config(mode, 125, true, true);
        let least = config(mode, 100, false, false);

        assert!(all.starts_with("output * mode --custom 1600x900@90.0004Hz scale 1.25\n"), "{all}");
        assert!(all.contains("\noutput * bg #") && !all.contains("xwayland disable"), "{all}");
        assert!(!least.contains(" bg ") && least.ends_with("\nxwayland disable\n"), "{least}");
    }
}
