//! A program as it is started in a display: its command and what its environment says.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::steps::Step;
use super::told::Told;
use super::{Error, Surroundings};

/// What programs keep of the daemon's environment, beside names that begin as [`KEPT_PREFIXES`].
const KEPT: [&str; 16] = [
    "DBUS_SESSION_BUS_ADDRESS",
    "LANG",
    "LANGUAGE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "PULSE_SERVER",
    "SHELL",
    "TERMINFO",
    "TZ",
    "USER",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_DIRS",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
];
const KEPT_PREFIXES: [&str; 5] = ["LC_", "LIBGL_", "MESA_", "XCURSOR_", "XKB_DEFAULT_"];
/// Where programs are looked for when the daemon has no PATH.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A program that a session runs.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// The program, a path or looked for in PATH, and its arguments. No shell sees them. Without
    /// words there is none, but there may be something to prepare.
    pub argv: Vec<OsString>,
    /// What comes before and after it.
    pub steps: Vec<Step>,
    /// How long each of these commands may take.
    pub hook_time: Duration,
    /// Where all of them start; without one, at home.
    pub directory: Option<PathBuf>,
    /// More for their environment, which has the last word.
    pub variables: Vec<(OsString, OsString)>,
    /// How long the program has to end when it is asked to.
    pub exit_time: Duration,
    /// Whether the session ends with it.
    pub ends_session: bool,
}

impl Default for App {
    fn default() -> App {
        App {
            argv: Vec::new(),
            steps: Vec::new(),
            hook_time: Duration::from_secs(10),
            directory: None,
            variables: Vec::new(),
            exit_time: Duration::from_secs(5),
            ends_session: true,
        }
    }
}

/// What programs of a display are started with.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Where they start.
    pub directory: PathBuf,
    /// All of their environment.
    pub variables: BTreeMap<OsString, OsString>,
}

/// What every program of a display has in its environment.
pub fn environment(surroundings: &Surroundings) -> Vec<(OsString, OsString)> {
    let is_kept = |name: &OsStr| {
        let text = name.to_str().unwrap_or_default();
        KEPT.contains(&text) || KEPT_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
    };
    let kept = surroundings.variables.iter().filter(|(name, _)| is_kept(name)).cloned();
    let mut environment: Vec<_> = kept.collect();
    let has_path = environment.iter().any(|(name, _)| name == "PATH");
    environment.extend((!has_path).then(|| ("PATH".into(), PATH.into())));
    environment.push(("HOME".into(), surroundings.home.clone().into()));
    environment
}

/// What an app and the commands around it are started with; `own` is what the display adds to their
/// environment.
pub fn setting<const N: usize>(
    app: &App,
    surroundings: &Surroundings,
    told: &Told,
    own: [(&str, OsString); N],
) -> Setting {
    let mut setting = plain_setting(surroundings);
    if let Some(directory) = &app.directory {
        setting.directory.clone_from(directory);
    }
    let session = [("XDG_SESSION_TYPE", "wayland"), ("XDG_CURRENT_DESKTOP", "sway")];
    let session = session.map(|(name, value)| (name, value.into()));
    let told = told.variables().into_iter().map(|(name, value)| (name, value.into()));
    for (name, value) in session.into_iter().chain(own).chain(told) {
        setting.variables.insert(name.into(), value);
    }
    setting.variables.extend(app.variables.iter().cloned());
    setting
}

/// What a command is started with that belongs to no display.
pub fn plain_setting(surroundings: &Surroundings) -> Setting {
    let home = Some(&surroundings.home).filter(|home| home.is_dir());
    let directory = home.map_or("/".into(), PathBuf::clone);
    let mut variables: BTreeMap<_, _> = environment(surroundings).into_iter().collect();
    // Sound servers and the bus of the user are there.
    variables.insert("XDG_RUNTIME_DIR".into(), surroundings.xdg_runtime.clone().into());
    Setting { directory, variables }
}

/// The command for an app.
pub fn command(app: &App, setting: &Setting) -> Result<Command, Error> {
    let Some((program, arguments)) = app.argv.split_first() else {
        return Err(Error::NoCommand);
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&setting.directory);
    command.env_clear().envs(&setting.variables);
    Ok(command)
}

/// Why an app does not run.
pub fn not_started(app: &App, source: io::Error) -> Error {
    let name = app.argv.first().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
    Error::App { name, source }
}

/// The program of that name in PATH.
pub fn find(name: &str, surroundings: &Surroundings) -> Option<PathBuf> {
    let environment = environment(surroundings);
    let (_, path) = environment.iter().find(|(name, _)| name == "PATH")?;
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path).map(|folder| folder.join(name)).find(is_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings() -> Surroundings {
        let variables = [("PATH", "/bin"), ("LC_ALL", "C"), ("DISPLAY", ":0"), ("SECRET", "x")];
        Surroundings {
            runtime: "/run/pf".into(),
            xdg_runtime: "/run/user/7".into(),
            home: "/no/home".into(),
            variables: variables.map(|(name, value)| (name.into(), value.into())).to_vec(),
        }
    }

    #[test]
    fn a_program_is_told_of_its_session_and_nothing_of_the_daemon() {
        let app = App {
            argv: vec!["game".into(), "-x y".into()],
            variables: vec![("PUNKTFUNK_SESSION".into(), "1".into()), ("B".into(), "2".into())],
            ..App::default()
        };
        let told = Told { session: 3, app_id: 5, client_name: "tv".into(), ..Told::default() };

        let setting = setting(&app, &surroundings(), &told, [("WAYLAND_DISPLAY", "/w".into())]);
        let command = command(&app, &setting).unwrap();

        let said: Vec<String> = command
            .get_envs()
            .map(|(name, value)| {
                format!("{}={}", name.display(), value.unwrap_or_default().display())
            })
            .collect();
        let expected = [
            "B=2",
            "HOME=/no/home",
            "LC_ALL=C",
            "PATH=/bin",
            "PUNKTFUNK_APP_ID=5",
            "PUNKTFUNK_APP_NAME=",
            "PUNKTFUNK_CLIENT_NAME=tv",
            "PUNKTFUNK_HDR=no",
            "PUNKTFUNK_SESSION=1",
            "WAYLAND_DISPLAY=/w",
            "XDG_CURRENT_DESKTOP=sway",
            "XDG_RUNTIME_DIR=/run/user/7",
            "XDG_SESSION_TYPE=wayland",
        ];
        assert_eq!(said, expected);
        assert_eq!(command.get_current_dir(), Some("/".as_ref()));
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["-x y"]);
    }

    #[test]
    fn programs_are_found_in_path_alone() {
        assert_eq!(find("sh", &surroundings()), Some("/bin/sh".into()));
        assert_eq!(find("no-such-program", &surroundings()), None);
    }
}
