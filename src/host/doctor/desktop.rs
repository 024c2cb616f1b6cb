//! What sessions see, and what input of clients arrives at.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

use punktfunk_core::net::process;
use wayland_protocols_misc::zwp_virtual_keyboard_v1::client::zwp_virtual_keyboard_manager_v1::ZwpVirtualKeyboardManagerV1;
use wayland_protocols_wlr::virtual_pointer::v1::client::zwlr_virtual_pointer_manager_v1::ZwlrVirtualPointerManagerV1;

use super::{Finding, PROGRAM_TIME_MAX, Running, SYSTEM_PATH, Subject, line};
use crate::child;
use crate::code::Code;
use crate::conf::{Capture, Compositor, Display};
use crate::display::look::{Desktop, Sight};
use crate::inject::desk::Link;
use crate::inject::wayland;

/// Whether there is something to see, and what is in it.
pub(super) fn check(subject: &Subject, running: &Running) -> Vec<Finding> {
    if subject.conf.capture == Capture::Test {
        return vec![Finding::well(Code::Display, "a test picture, as Capture says")];
    }
    let sight = running.displays.look(subject.conf.compositor);
    let is_full = |desktop: &Desktop| matches!(desktop.output_count_max(), Ok(Some(0)));
    let is_private = match subject.conf.display {
        Display::Auto => sight.desktop.as_ref().is_none_or(is_full),
        Display::Private => true,
        Display::Mirror(_) | Display::Virtual => false,
    };
    if !is_private {
        return vec![check_desktop(&subject.conf.display, subject.conf.compositor, &sight)];
    }
    let mut findings = vec![check_private(&sight, process::uid() == 0)];
    findings.extend(check_programs(&sight));
    findings
}

/// The desktop that runs, where sessions are to be on it.
fn check_desktop(wanted: &Display, compositor: Compositor, sight: &Sight) -> Finding {
    let code = Code::Display;
    let Some(desktop) = &sight.desktop else {
        let place = sight.directory.to_string_lossy();
        let kind = match compositor {
            Compositor::Auto => "sway or other compositor of wlroots",
            Compositor::Sway => "sway",
            Compositor::Wlroots => "compositor of wlroots other than sway",
        };
        return Finding::broken(
            code,
            format_args!("no {kind} of this user in {place}{}", others(sight)),
        )
        .remedy("start one as this user, or set Display auto");
    };
    let title = desktop.title();
    if let Display::Mirror(name) = wanted {
        return match desktop.outputs() {
            Err(error) => Finding::broken(code, error),
            Ok(names) if names.contains(name) => {
                Finding::well(code, format_args!("{title} has output {name}"))
            }
            Ok(names) => {
                let what = format_args!("no output {name}, there are: {}", names.join(" "));
                Finding::broken(code, what).remedy("name one of these with Display mirror")
            }
        };
    }
    match desktop.output_count_max() {
        Err(error) => Finding::broken(code, error),
        Ok(None) => Finding::well(code, format_args!("{title} runs: sessions get an output of it")),
        Ok(Some(0)) => {
            Finding::broken(code, format_args!("{title} has no output without a screen")).remedy(
                "start it with WLR_BACKENDS=headless in its environment, or set Display auto",
            )
        }
        Ok(Some(count)) => {
            let what = "sessions are lent outputs of it that show on no screen";
            Finding::well(code, format_args!("{title} runs: {what}, of which there are {count}"))
        }
    }
}

/// The sway that is started for each session.
fn check_private(sight: &Sight, is_root: bool) -> Finding {
    let code = Code::Display;
    if is_root {
        let what = "sway refuses to run as root";
        return Finding::broken(code, what).remedy("name an ordinary user with RunAs");
    }
    let Some(sway) = &sight.sway else {
        return Finding::broken(code, "no sway in PATH").remedy("install the package sway");
    };
    let desktops = match &sight.desktop {
        Some(desktop) => format!("{} of this user runs too", desktop.title()),
        None => format!("no desktop of this user runs{}", others(sight)),
    };
    match version(sway) {
        Ok(version) => {
            Finding::well(code, format_args!("{version} of its own for each session; {desktops}"))
        }
        Err(why) => Finding::broken(code, format_args!("{} does not start: {why}", sway.display()))
            .remedy("install the package sway anew"),
    }
}

/// What `sway --version` says.
fn version(sway: &Path) -> Result<String, String> {
    let mut command = Command::new(sway);
    command.arg("--version").env_clear().env("PATH", SYSTEM_PATH).env("LC_ALL", "C");
    let end = child::run(&mut command, PROGRAM_TIME_MAX).map_err(|error| error.to_string())?;
    let end = end.ok_or("it does not end")?;
    let said = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        line(text.lines().next().unwrap_or_default())
    };
    match end.status.success() {
        true => Ok(said(&end.stdout).replace(" version ", " ")),
        false => Err(format!("{}, {}", end.status, said(&end.stderr))),
    }
}

/// Programs that a session's own sway has in it where they are installed.
fn check_programs(sight: &Sight) -> Option<Finding> {
    const PROGRAMS: [(&str, &str, &str); 3] = [
        ("foot", "a session without an app shows nothing", "foot"),
        ("swaybg", "there is no background", "swaybg"),
        ("Xwayland", "programs for X11 do not run", "xwayland"),
    ];
    let is_missing = |program: &&(&str, &str, &str)| sight.missing.contains(&program.0);
    let missing: Vec<_> = PROGRAMS.iter().filter(is_missing).collect();
    let (_, loss, _) = missing.first()?;
    let list = |column: fn(&(&'static str, &'static str, &'static str)) -> &'static str| {
        missing.iter().map(|program| column(program)).collect::<Vec<_>>()
    };
    let what = format!("no {}: {loss}", list(|it| it.0).join(", no "));
    let remedy = format!("install {}", list(|it| it.2).join(" "));
    Some(Finding::note(Code::DisplayPrograms, what).remedy(remedy))
}

/// Compositors that give no displays.
fn others(sight: &Sight) -> String {
    match sight.others.as_slice() {
        [] => String::new(),
        others => format!("; {} runs, which gives no displays", others.join(", ")),
    }
}

/// Whether keys and pointers of clients arrive.
pub(super) fn check_input(subject: &Subject, running: &Running) -> Vec<Finding> {
    let code = Code::Input;
    if subject.conf.capture == Capture::Test {
        return vec![Finding::well(code, "counted, and goes nowhere, as Capture says")];
    }
    let desktop = match subject.conf.display {
        Display::Private => None,
        _ => running.displays.look(subject.conf.compositor).desktop,
    };
    let finding = match desktop {
        None => Finding::well(code, "a keyboard and a pointer in each session's own sway"),
        Some(desktop) => match serves_input(desktop.wayland()) {
            Ok(()) => {
                let title = desktop.title();
                Finding::well(code, format_args!("{title} takes keyboards and pointers"))
            }
            Err(error) => {
                Finding::broken(code, error).remedy("set Display private, or update the compositor")
            }
        },
    };
    vec![finding]
}

/// Whether a compositor takes keyboards and pointers; makes none.
fn serves_input(socket: &Path) -> Result<(), wayland::Error> {
    let (link, desk) = Link::open(socket)?;
    link.bind::<ZwpVirtualKeyboardManagerV1>(&desk, 1)?;
    link.bind::<ZwlrVirtualPointerManagerV1>(&desk, 2)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::State;
    use super::*;
    use crate::state::tests::Folder;

    #[test]
    fn a_sway_of_its_own_needs_a_program_that_starts() {
        let folder = Folder::new();
        let script = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            Some(path)
        };
        let good = script("good", "echo sway version 1.9");
        let bad = script("bad", "echo 'no libwlroots' >&2; exit 127");
        let sight = |sway| Sight { sway, ..Sight::default() };
        let told = |finding: Finding| (finding.state, finding.what);

        let (state, what) = told(check_private(&sight(good.clone()), false));
        assert_eq!(state, State::Well);
        assert!(what.starts_with("sway 1.9 of its own"), "{what}");
        let (state, what) = told(check_private(&sight(bad), false));
        assert_eq!(state, State::Broken);
        assert!(what.ends_with("exit status: 127, no libwlroots"), "{what}");
        assert_eq!(told(check_private(&sight(None), false)).1, "no sway in PATH");
        assert_eq!(told(check_private(&sight(good), true)).1, "sway refuses to run as root");
    }

    #[test]
    fn programs_that_are_missing_are_one_line() {
        let none = Sight::default();
        let some = Sight { missing: vec!["foot", "Xwayland"], ..Sight::default() };

        assert_eq!(check_programs(&none), None);
        let finding = check_programs(&some).unwrap();
        assert_eq!(finding.what, "no foot, no Xwayland: a session without an app shows nothing");
        assert_eq!(finding.remedy.as_deref(), Some("install foot xwayland"));
    }

    #[test]
    fn a_desktop_that_is_wanted_and_not_there_is_broken() {
        let others = vec!["gnome-shell (pid 7)".to_owned()];
        let sight = Sight { directory: "/run/user/7".into(), others, ..Sight::default() };

        let told = |compositor| check_desktop(&Display::Virtual, compositor, &sight);

        let there =
            "of this user in /run/user/7; gnome-shell (pid 7) runs, which gives no displays";
        for (compositor, kind) in [
            (Compositor::Auto, "sway or other compositor of wlroots"),
            (Compositor::Sway, "sway"),
            (Compositor::Wlroots, "compositor of wlroots other than sway"),
        ] {
            let finding = told(compositor);
            assert_eq!(finding.state, State::Broken);
            assert_eq!(finding.what, format!("no {kind} {there}"));
        }
    }
}
