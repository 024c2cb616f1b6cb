//! The daemon itself: who it is, its unit, its configuration, its files.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use punktfunk_core::net::process;

use super::{Finding, PROGRAM_TIME_MAX, Running, SYSTEM_PATH, Subject};
use crate::child;
use crate::code::Code;
use crate::conf;
use crate::state::Directory;

/// The unit that scripts/install makes.
const UNIT: &str = "punktfunkd.service";
/// Files of the state directory that are looked at.
const FILE_COUNT_MAX: usize = 256;

/// Who the daemon is.
pub(super) fn check(_: &Subject, _: &Running) -> Vec<Finding> {
    let (version, who) = (env!("CARGO_PKG_VERSION"), user());
    vec![Finding::well(Code::Daemon, format_args!("punktfunkd {version} runs as {who}"))]
}

/// The user of this process.
pub(super) fn user() -> String {
    name_of(process::uid())
}

/// The first group of that user.
pub(super) fn group() -> String {
    let user = process::user_by_uid(process::uid()).ok().flatten();
    let name = user.and_then(|user| process::group_by_id(user.gid).ok().flatten());
    name.unwrap_or_else(|| "input".to_owned())
}

fn name_of(uid: u32) -> String {
    let user = process::user_by_uid(uid).ok().flatten();
    user.map_or(format!("uid {uid}"), |user| user.name)
}

/// What the service manager says of a daemon that does not answer: that of the machine, and that
/// of this user.
pub(super) fn check_service(subject: &Subject) -> Vec<Finding> {
    let mut command = systemctl(&[]);
    let system = show(&mut command);
    let runtime = subject.variables.iter().find(|(name, _)| name == "XDG_RUNTIME_DIR");
    let users = runtime.filter(|_| process::uid() != 0).and_then(|(name, value)| {
        show(systemctl(&["--user"]).env(name, value)).filter(|it| it.is_there())
    });
    let finding = match (users, system) {
        (Some(unit), _) => unit.finding("systemctl --user", "journalctl --user"),
        (None, Some(unit)) if unit.is_there() => unit.finding("systemctl", "journalctl"),
        (None, Some(_)) => Finding::note(Code::Service, format_args!("no unit is called {UNIT}"))
            .remedy("scripts/install makes it; 'punktfunkd' starts without one"),
        (None, None) => Finding::note(Code::Service, "no systemd runs here")
            .remedy("'punktfunkd' starts without one"),
    };
    vec![finding]
}

fn systemctl(words: &[&str]) -> Command {
    let mut command = Command::new("systemctl");
    command.args(words).args(["show", UNIT]);
    command.arg("--property=LoadState,ActiveState,Result,ExecMainStatus");
    command.env_clear().env("PATH", SYSTEM_PATH).env("LC_ALL", "C");
    command
}

fn show(command: &mut Command) -> Option<Unit> {
    let end = child::run(command, PROGRAM_TIME_MAX).ok().flatten()?;
    let text = String::from_utf8_lossy(&end.stdout);
    end.status.success().then(|| Unit::parse(&text)).flatten()
}

/// What systemctl(1) shows of a unit.
#[derive(Debug, PartialEq)]
struct Unit {
    load: String,
    active: String,
    result: String,
    status: String,
}

impl Unit {
    fn parse(text: &str) -> Option<Unit> {
        let properties: HashMap<&str, &str> =
            text.lines().filter_map(|line| line.split_once('=')).collect();
        let property = |name| properties.get(name).map(|value: &&str| (*value).to_owned());
        Some(Unit {
            load: property("LoadState")?,
            active: property("ActiveState")?,
            result: property("Result").unwrap_or_default(),
            status: property("ExecMainStatus").unwrap_or_default(),
        })
    }

    fn is_there(&self) -> bool {
        self.load != "not-found"
    }

    fn finding(&self, systemctl: &str, journalctl: &str) -> Finding {
        let Unit { load, active, result, status } = self;
        match active.as_str() {
            _ if load != "loaded" => {
                Finding::broken(Code::Service, format_args!("the unit {UNIT} is {load}"))
                    .remedy(format_args!("{systemctl} status {UNIT} says why"))
            }
            "active" => Finding::note(
                Code::Service,
                format_args!("the unit {UNIT} runs, and its control socket is another"),
            )
            .remedy("give that to punktfunkctl with -s"),
            "failed" => {
                let what = format_args!("the unit {UNIT} has failed: {result}, status {status}");
                Finding::broken(Code::Service, what)
                    .remedy(format_args!("{journalctl} -e -u {UNIT} says why"))
            }
            _ => Finding::broken(Code::Service, format_args!("the unit {UNIT} is {active}"))
                .remedy(format_args!("{systemctl} start {UNIT}")),
        }
    }
}

/// Whether a start would find its configuration right, and what it would change.
pub(super) fn check_configuration(subject: &Subject) -> Vec<Finding> {
    let code = Code::Configuration;
    let finding = match (subject.load)() {
        Err(errors) => mistakes(&errors),
        Ok(conf) => {
            let changes = subject.conf.reload(conf);
            let count = changes.changed.len() + changes.needs_restart.len();
            match (changes.needs_restart.first(), changes.changed.first()) {
                (None, None) => Finding::well(code, "is right"),
                (Some(first), _) => {
                    Finding::note(code, format_args!("{count} changes do not hold yet: {first}"))
                        .remedy("restart punktfunkd")
                }
                (None, Some(first)) => {
                    Finding::note(code, format_args!("{count} changes do not hold yet: {first}"))
                        .remedy("punktfunkctl reload")
                }
            }
        }
    };
    vec![finding]
}

/// A configuration that a start would refuse.
pub fn mistakes(errors: &[conf::Error]) -> Finding {
    let first = errors.first().map(ToString::to_string).unwrap_or_default();
    let more = match errors.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    Finding::broken(Code::Configuration, format_args!("{first}{more}"))
        .remedy("correct it; 'punktfunkd -t' lists all errors")
}

/// Whether the state directory is its owner's alone.
pub(super) fn check_state(subject: &Subject) -> Vec<Finding> {
    let (code, path) = (Code::State, &subject.conf.state_directory);
    let shown = path.display();
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && subject.running.is_none() => {
            return vec![Finding::well(code, format_args!("{shown} is made at the first start"))];
        }
        Err(error) => return vec![Finding::broken(code, format_args!("{shown}: {error}"))],
        Ok(metadata) => metadata,
    };
    let own = process::uid();
    if own == 0 && subject.running.is_none() {
        // It is of the user that the daemon will be.
        return vec![judge_state(path, &metadata, subject.conf.strict_modes)];
    }
    if metadata.uid() != own && subject.running.is_none() {
        let what = format_args!("{shown} is of uid {}, another user's", metadata.uid());
        return vec![Finding::note(code, what).remedy("ask as that user, or as root")];
    }
    // Opening one that is there changes nothing.
    if let Err(error) = Directory::open(path, subject.conf.strict_modes) {
        return vec![Finding::broken(code, error)];
    }
    vec![judge_state(path, &metadata, subject.conf.strict_modes)]
}

/// Whether the directory and all files in it are its owner's alone.
fn judge_state(path: &Path, metadata: &Metadata, is_strict: bool) -> Finding {
    let (code, shown, mode) = (Code::State, path.display(), metadata.mode() & 0o7777);
    if !metadata.is_dir() {
        return Finding::broken(code, format_args!("{shown} is no directory"));
    }
    if is_strict && mode & 0o077 != 0 {
        return Finding::broken(code, format_args!("{shown} has mode {mode:04o}"))
            .remedy(format_args!("chmod 0700 {shown}"));
    }
    match wrong_file(path, metadata.uid(), is_strict) {
        Err(error) => Finding::broken(code, format_args!("{shown}: {error}")),
        Ok(Some(finding)) => finding,
        Ok(None) => {
            let user = name_of(metadata.uid());
            Finding::well(code, format_args!("{shown} is of {user} alone"))
        }
    }
}

/// The first file of the directory that the daemon would refuse.
fn wrong_file(directory: &Path, owner: u32, is_strict: bool) -> io::Result<Option<Finding>> {
    for entry in fs::read_dir(directory)?.take(FILE_COUNT_MAX) {
        let path = entry?.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue; // gone since
        };
        let (shown, mode) = (path.display(), metadata.mode() & 0o7777);
        if metadata.is_file() && metadata.uid() != owner {
            let what = format!("{shown} is of {}", name_of(metadata.uid()));
            let remedy = format!("chown {} {shown}", name_of(owner));
            return Ok(Some(Finding::broken(Code::State, what).remedy(remedy)));
        }
        if metadata.is_file() && is_strict && mode & 0o077 != 0 {
            let what = format!("{shown} has mode {mode:04o}, others may look at it");
            let remedy = format!("chmod 0600 {shown}");
            return Ok(Some(Finding::broken(Code::State, what).remedy(remedy)));
        }
    }
    Ok(None)
}

/// Whether sessions that are gone have left something behind.
pub(super) fn check_left_overs(_: &Subject, running: &Running) -> Vec<Finding> {
    let finding = match running.displays.change_count() {
        count if count > 0 && !running.has_sessions => Finding::note(
            Code::LeftOvers,
            format_args!("{count} changes of displays by old sessions are not undone"),
        )
        .remedy("start a session, which tries again"),
        _ => Finding::well(Code::LeftOvers, "nothing of old sessions"),
    };
    vec![finding]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

    use super::super::State;
    use super::super::tests::{conf as read, subject};
    use super::*;
    use crate::state::tests::Folder;

    #[test]
    fn a_unit_is_what_systemctl_shows() {
        let table = [
            ("LoadState=loaded\nActiveState=active\n", State::Note, "-s"),
            ("ActiveState=inactive\nLoadState=loaded", State::Broken, "systemctl start"),
            (
                "LoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainStatus=3\n",
                State::Broken,
                "journalctl",
            ),
            ("LoadState=masked\nActiveState=inactive\n", State::Broken, "systemctl status"),
        ];
        for (text, state, remedy) in table {
            let finding = Unit::parse(text).unwrap().finding("systemctl", "journalctl");

            assert_eq!(finding.state, state, "{text}");
            assert!(finding.remedy.as_ref().unwrap().contains(remedy), "{finding:?}");
        }
        assert!(!Unit::parse("LoadState=not-found\nActiveState=inactive").unwrap().is_there());
        for text in ["", "LoadState", "LoadState=loaded", "\0=\n==\n"] {
            assert_eq!(Unit::parse(text), None);
        }
    }

    #[test]
    fn a_configuration_that_a_restart_would_change_is_noted() {
        let with = |conf_line: &str, text: &str| {
            let (mut subject, text) = (subject(&[conf_line]), text.to_owned());
            subject.load = std::sync::Arc::new(move || Ok(read(&[&text])));
            let finding = check_configuration(&subject).remove(0);
            (finding.state, finding.remedy)
        };
        let restart = Some("restart punktfunkd".to_owned());
        let reload = Some("punktfunkctl reload".to_owned());

        assert_eq!(with("Mdns=no", "Mdns=no"), (State::Well, None));
        assert_eq!(with("Mdns=no", "GameStreamPort=5000"), (State::Note, restart));
        assert_eq!(with("Mdns=no", "Mdns=yes"), (State::Note, reload));
    }

    #[test]
    fn files_that_others_may_read_are_named_with_the_command_that_helps() {
        let folder = Folder::new();
        let path = folder.path().join("state");
        let file = path.join("key.pem");
        let state = |is_strict: bool| {
            let strict = format!("StrictModes={}", if is_strict { "yes" } else { "no" });
            let directory = format!("StateDirectory={}", path.display());
            check_state(&subject(&[&strict, &directory])).remove(0)
        };
        assert_eq!(state(true).state, State::Well);
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();

        let (strict, lax) = (state(true), state(false));

        assert_eq!((strict.state, lax.state), (State::Broken, State::Well));
        assert_eq!(strict.remedy.unwrap(), format!("chmod 0600 {}", file.display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let open = format!("{:?}", state(true));
        assert!(open.contains(&format!("chmod 0700 {}", path.display())), "{open}");
    }
}
