//! What gamepads are made with.

#![forbid(unsafe_code)]

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;

use punktfunk_core::net::process;

use super::{Finding, Running, Subject, daemon};
use crate::code::Code;

const UINPUT: &str = "/dev/uinput";
const RULES: &str = "/etc/udev/rules.d/61-punktfunk-uinput.rules";
/// Whether this user may make gamepads.
pub(super) fn check(_: &Subject, _: &Running) -> Vec<Finding> {
    let opened = OpenOptions::new().write(true).open(UINPUT).map(drop);
    let metadata = fs::metadata(UINPUT).ok();
    let access = metadata.map(|it| Access { mode: it.mode(), uid: it.uid(), gid: it.gid() });
    let (user, group) = (daemon::user(), daemon::group());
    vec![judge(opened, access, &user, &group)]
}

/// Whose the device is.
struct Access {
    mode: u32,
    uid: u32,
    gid: u32,
}

fn judge(opened: io::Result<()>, access: Option<Access>, user: &str, group: &str) -> Finding {
    let error = match opened {
        Ok(()) => return Finding::well(Code::Uinput, format_args!("{UINPUT} may be written")),
        Err(error) => error,
    };
    let note = |what: &str| Finding::note(Code::Uinput, format_args!("no gamepads: {what}"));
    // ENXIO and ENODEV: there is a file, and no module behind it.
    let has_no_module = matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV));
    if error.kind() == ErrorKind::NotFound || has_no_module {
        return note(&format!("there is no {UINPUT}"))
            .remedy("modprobe uinput; a line 'uinput' in /etc/modules-load.d keeps it");
    }
    // EPERM is not of the file's mode: cgroups forbid devices so.
    if error.raw_os_error() == Some(libc::EPERM) {
        return note(&format!("the unit keeps {UINPUT} away"))
            .remedy("'DeviceAllow=/dev/uinput rw' in the unit: systemctl edit punktfunkd");
    }
    if error.kind() != ErrorKind::PermissionDenied {
        return note(&format!("{UINPUT}: {error}"));
    }
    let Some(Access { mode, uid, gid }) = access else {
        return note(&format!("{UINPUT}: {error}"));
    };
    let what =
        format!("{user} may not write {UINPUT} (mode {:04o}, uid {uid}, gid {gid})", mode & 0o777);
    match process::group_by_id(gid) {
        Ok(Some(group)) if gid != 0 && mode & 0o020 != 0 => note(&what)
            .remedy(format_args!("usermod -aG {group} {user}, then log in or start anew")),
        _ => note(&what).remedy(format_args!(
            "echo 'KERNEL==\"uinput\", GROUP=\"{group}\", MODE=\"0660\"' >{RULES} && udevadm control \
             --reload && udevadm trigger {UINPUT}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_keeps_gamepads_away_has_a_remedy_of_its_own() {
        let error = |number| Err(io::Error::from_raw_os_error(number));
        let access = |mode, gid| Some(Access { mode, uid: 0, gid });
        let tty = process::group_by_name("tty").unwrap().expect("every machine has it");
        let table = [
            (error(libc::ENOENT), None, "modprobe uinput"),
            (error(libc::ENODEV), access(0o600, 0), "modprobe uinput"),
            (error(libc::EPERM), access(0o660, tty), "DeviceAllow"),
            (error(libc::EACCES), access(0o20_660, tty), "usermod -aG tty den"),
            (error(libc::EACCES), access(0o20_600, tty), "GROUP=\"family\""),
            (error(libc::EACCES), access(0o20_660, 0), "GROUP=\"family\""),
        ];
        for (opened, access, remedy) in table {
            let finding = judge(opened, access, "den", "family");

            assert_eq!(finding.state, State::Note);
            assert!(finding.remedy.as_ref().unwrap().contains(remedy), "{finding:?}");
        }
        assert_eq!(judge(Ok(()), None, "den", "family").state, State::Well);
    }
}
