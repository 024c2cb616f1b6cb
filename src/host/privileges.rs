//! The user that the daemon runs as, and what it gives up before it serves anybody.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use punktfunk_core::net::process::{self, User};

use crate::conf::Conf;
use crate::{Exit, Failure};

/// The user of RunAs, if one is named. Root is none that may be named.
pub fn run_as(conf: &Conf) -> Result<Option<User>, Failure> {
    let Some(name) = &conf.run_as else {
        return Ok(None);
    };
    let user = process::user_by_name(name)
        .map_err(|error| Exit::Conf.because(format!("RunAs {name}: {error}")))?
        .ok_or_else(|| Exit::Conf.because(format!("RunAs {name}: there is no such user")))?;
    if user.uid == 0 {
        return Err(Exit::Conf.because(format!("RunAs {name}: root may not serve clients")));
    }
    Ok(Some(user))
}

/// Becomes the user that the configuration names, where root started the daemon, after making the
/// directories that only root can make.
pub fn take_off(conf: &Conf) -> Result<(), Failure> {
    process::forbid_new_privileges().map_err(|error| Exit::Fault.because(error))?;
    become_run_as(conf)?;
    // The kernel forbids core dumps where a process becomes another user.
    let set = if conf.core_dumps { process::allow_core_dumps } else { process::forbid_core_dumps };
    set().map_err(|error| Exit::Fault.because(error))
}

fn become_run_as(conf: &Conf) -> Result<(), Failure> {
    let uid = process::uid();
    let Some(user) = run_as(conf)? else {
        if uid != 0 {
            return Ok(());
        }
        return Err(Exit::Conf.because(
            "root may not serve clients: start punktfunkd as the user whose session is streamed, \
             or name that user with RunAs",
        ));
    };
    let name = &user.name;
    if uid == user.uid {
        return Ok(());
    }
    if uid != 0 {
        let why = format!(
            "RunAs {name}: only root can become another user, and this is not root; leave RunAs \
             out and start punktfunkd as that user, which User= does in a unit"
        );
        return Err(Exit::Conf.because(why));
    }
    for (path, mode) in [(&conf.state_directory, 0o700), (&conf.runtime_directory, 0o755)] {
        make_directory_for(path, mode, &user)
            .map_err(|error| Exit::State.because(format!("{}: {error}", path.display())))?;
    }
    process::become_user(&user)
        .map_err(|error| Exit::Conf.because(format!("RunAs {name}: {error}")))?;
    ::log::info!("running as {name}");
    Ok(())
}

fn make_directory_for(path: &Path, mode: u32, user: &User) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        // Whose it is was somebody's decision; the daemon says later if it does not fit.
        return Ok(());
    }
    // Below what others may change, root makes nothing; the user does that itself, later. In a
    // sticky directory such as /tmp nobody can change what is root's.
    let is_safe = |folder: &Path| {
        fs::metadata(folder)
            .is_ok_and(|it| it.uid() == 0 && (it.mode() & 0o022 == 0 || it.mode() & 0o1000 != 0))
    };
    let real = path.parent().and_then(|parent| fs::canonicalize(parent).ok());
    if !real.is_some_and(|real| real.ancestors().all(is_safe)) {
        return Ok(());
    }
    fs::DirBuilder::new().mode(mode).create(path)?;
    std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid))
}
