//! A program as it is started in a display: its command and what its environment says.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use punktfunk_core::proto::gamestream::http::Mode;

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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct App {
    /// As clients know it.
    pub id: u32,
    /// What people read.
    pub title: String,
    /// The program, a path or looked for in PATH, and its arguments. No shell sees them.
    pub argv: Vec<OsString>,
    /// Where it starts; without one, at home.
    pub directory: Option<PathBuf>,
    /// More for its environment, which has the last word.
    pub variables: Vec<(OsString, OsString)>,
}

/// What a program is told of its session.
pub struct Told<'a> {
    /// The number of the session.
    pub session: u32,
    /// What its display shows.
    pub mode: Mode,
    /// Whom it is for.
    pub client_name: &'a str,
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

/// The command for an app; `own` is what the display adds to its environment.
pub fn command<const N: usize>(
    app: &App,
    surroundings: &Surroundings,
    told: &Told<'_>,
    own: [(&str, OsString); N],
) -> Result<Command, Error> {
    let Some((program, arguments)) = app.argv.split_first() else {
        return Err(Error::NoCommand(app.title.clone()));
    };
    let home = Some(&surroundings.home).filter(|home| home.is_dir());
    let directory = app.directory.as_ref().or(home);
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory.map_or("/".as_ref(), PathBuf::as_path));
    command.env_clear().envs(environment(surroundings));
    if let Some(runtime) = &surroundings.xdg_runtime {
        // Sound servers and the bus of the user are there.
        command.env("XDG_RUNTIME_DIR", runtime);
    }
    command.env("XDG_SESSION_TYPE", "wayland").env("XDG_CURRENT_DESKTOP", "sway");
    command.envs(own).envs(names(app, told));
    command.envs(app.variables.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// What is told of the session, under the names that scripts for Sunshine know and under ours.
fn names(app: &App, told: &Told<'_>) -> Vec<(&'static str, String)> {
    let Mode { width, height, refresh_mhz } = told.mode;
    let fps = refresh_mhz.saturating_add(500) / 1000;
    vec![
        ("PUNKTFUNK_APP_ID", app.id.to_string()),
        ("PUNKTFUNK_APP_NAME", app.title.clone()),
        ("PUNKTFUNK_CLIENT_NAME", told.client_name.to_owned()),
        ("PUNKTFUNK_HEIGHT", height.to_string()),
        ("PUNKTFUNK_REFRESH_MHZ", refresh_mhz.to_string()),
        ("PUNKTFUNK_SESSION", told.session.to_string()),
        ("PUNKTFUNK_WIDTH", width.to_string()),
        ("SUNSHINE_APP_ID", app.id.to_string()),
        ("SUNSHINE_APP_NAME", app.title.clone()),
        ("SUNSHINE_CLIENT_FPS", fps.to_string()),
        ("SUNSHINE_CLIENT_HEIGHT", height.to_string()),
        ("SUNSHINE_CLIENT_WIDTH", width.to_string()),
    ]
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
            xdg_runtime: Some("/run/user/7".into()),
            home: "/no/home".into(),
            variables: variables.map(|(name, value)| (name.into(), value.into())).to_vec(),
        }
    }

    #[test]
    fn a_program_is_told_of_its_session_and_nothing_of_the_daemon() {
        let app = App {
            id: 5,
            title: "A b".into(),
            argv: vec!["game".into(), "-x y".into()],
            variables: vec![("SUNSHINE_CLIENT_FPS".into(), "1".into())],
            ..App::default()
        };
        let mode = Mode { width: 1600, height: 900, refresh_mhz: 59_940 };
        let told = Told { session: 3, mode, client_name: "tv" };

        let own = [("WAYLAND_DISPLAY", "/w".into())];
        let command = command(&app, &surroundings(), &told, own).unwrap();

        let said: Vec<String> = command
            .get_envs()
            .map(|(name, value)| {
                format!("{}={}", name.display(), value.unwrap_or_default().display())
            })
            .collect();
        let expected = [
            "HOME=/no/home",
            "LC_ALL=C",
            "PATH=/bin",
            "PUNKTFUNK_APP_ID=5",
            "PUNKTFUNK_APP_NAME=A b",
            "PUNKTFUNK_CLIENT_NAME=tv",
            "PUNKTFUNK_HEIGHT=900",
            "PUNKTFUNK_REFRESH_MHZ=59940",
            "PUNKTFUNK_SESSION=3",
            "PUNKTFUNK_WIDTH=1600",
            "SUNSHINE_APP_ID=5",
            "SUNSHINE_APP_NAME=A b",
            "SUNSHINE_CLIENT_FPS=1",
            "SUNSHINE_CLIENT_HEIGHT=900",
            "SUNSHINE_CLIENT_WIDTH=1600",
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
