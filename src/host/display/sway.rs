//! A sway that runs: found without any environment, given outputs at exact modes, rid of them.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use punktfunk_core::net::peer::{self, Peer};
use punktfunk_core::net::process as system;
use punktfunk_core::proto::gamestream::http::Mode;

use super::Error;
use super::process::{self, Process};
use crate::ipc::{self, Client, Output};

/// A compositor has this long to do what it said it does.
const PATIENCE: Duration = Duration::from_secs(1);
/// What an output shows that cannot be removed and that nobody looks at.
const PARKED: Mode = Mode { width: 320, height: 240, refresh_mhz: 1000 };

/// A sway of this user.
#[derive(Clone, Debug, PartialEq)]
pub struct Desktop {
    /// Its process.
    pub process: Process,
    /// For people, such as "1.7".
    pub version: String,
    /// Its IPC socket.
    pub ipc: PathBuf,
    /// Its Wayland socket.
    pub wayland: PathBuf,
}

/// What became of an output that is not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Removal {
    /// It is not there any more.
    Gone,
    /// It stays, and costs next to nothing.
    Parked,
}

/// The sway of this user whose sockets are in that directory; the one that started last, where
/// there are several. Sockets that lead nowhere are passed over.
pub fn find(runtime: &Path) -> Option<Desktop> {
    let found = sockets(runtime, is_ipc).into_iter().filter_map(|ipc| desktop(&ipc, runtime));
    found.max_by_key(|desktop| desktop.process.start_ticks)
}

/// The sway behind an IPC socket, if it is of this user and has its Wayland socket in the directory.
pub fn desktop(ipc: &Path, runtime: &Path) -> Option<Desktop> {
    let mut client = Client::connect(ipc).ok()?;
    let peer = client.peer().ok().filter(|peer| peer.uid == system::uid())?;
    let process = Process::find(peer.pid)?;
    let wayland = sockets(runtime, is_wayland);
    let wayland = wayland.into_iter().find(|path| leads_to(path, peer.pid))?;
    let version = client.version().ok()?.human_readable;
    Some(Desktop { process, version, ipc: ipc.to_owned(), wayland })
}

/// What else listens at Wayland sockets of the directory, for people.
pub fn others(runtime: &Path, known: Option<u32>) -> Vec<String> {
    let pids = peers(runtime).into_iter().map(|(_, peer)| peer.pid);
    let name = |pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("{} (pid {pid})", name.trim_end())
    };
    pids.filter(|pid| Some(*pid) != known && *pid != 0).map(name).collect()
}

/// The Wayland sockets of the directory that lead somewhere, and who listens there.
pub fn peers(runtime: &Path) -> Vec<(PathBuf, Peer)> {
    let paths = sockets(runtime, is_wayland).into_iter();
    let peer = |path: PathBuf| {
        let peer = ipc::connect(&path).and_then(|it| peer::of(&it)).ok()?;
        Some((path, peer))
    };
    paths.filter_map(peer).collect()
}

/// Whether a process listens at an IPC socket of sway's in the directory.
pub fn is_sway(pid: u32, runtime: &Path) -> bool {
    sockets(runtime, is_ipc).iter().any(|path| leads_to(path, pid))
}

/// Whether there is a Wayland socket in the directory, whatever it leads to.
pub fn has_socket(runtime: &Path) -> bool {
    !sockets(runtime, is_wayland).is_empty()
}

fn is_ipc(name: &str) -> bool {
    name.starts_with("sway-ipc.") && name.ends_with(".sock")
}

fn is_wayland(name: &str) -> bool {
    name.starts_with("wayland-") && !name.contains('.')
}

/// Files of a directory whose names are right, in their order.
fn sockets(directory: &Path, is_right: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let right = entries.filter(|entry| entry.file_name().to_str().is_some_and(&is_right));
    let mut paths: Vec<PathBuf> = right.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Whether that process listens at the socket.
fn leads_to(path: &Path, pid: u32) -> bool {
    let peer = ipc::connect(path).and_then(|stream| peer::of(&stream));
    peer.is_ok_and(|peer| peer.pid == pid)
}

impl Desktop {
    /// Which it is, for people.
    pub fn title(&self) -> String {
        format!("sway {} ({})", self.version, self.process.pid)
    }

    /// Connects to it, and to no other that has taken its place.
    pub fn connect(&self) -> Result<Client, Error> {
        connect(&self.ipc, self.process)
    }
}

/// Connects to the socket, if it is that of a process that still runs.
pub fn connect(ipc: &Path, process: Process) -> Result<Client, Error> {
    let client = Client::connect(ipc)?;
    let peer = client.peer().map_err(ipc::Error::Io)?;
    if peer.pid == process.pid && process.is_alive() { Ok(client) } else { Err(Error::Gone) }
}

/// The names of all outputs.
pub fn names(client: &mut Client) -> Result<Vec<String>, Error> {
    Ok(client.outputs()?.into_iter().map(|output| output.name).collect())
}

/// The output of that name.
pub fn output(client: &mut Client, name: &str) -> Result<Output, Error> {
    let outputs = client.outputs()?;
    let others = outputs.iter().map(|output| output.name.clone()).collect();
    let found = outputs.into_iter().find(|output| output.name == name);
    found.ok_or(Error::NoOutput { name: name.to_owned(), others })
}

/// Makes an output beside those; returns its name.
pub fn create(client: &mut Client, before: &[String]) -> Result<String, Error> {
    client.run("create_output")?;
    let mut made = Ok(None);
    process::wait(PATIENCE, || {
        made = names(client).map(|names| first_made(before, &names));
        !matches!(made, Ok(None))
    });
    made?.ok_or(Error::NotMade)
}

/// How the outputs are called that sway makes when it is asked to: where it has no window to be in,
/// where it is a window of another compositor, and where it is one of X11.
const MADE: [&str; 3] = ["HEADLESS-", "WL-", "X11-"];

/// The first output that was made after those, if it can be named in a command. One of a screen that
/// was plugged in meanwhile is not taken for it.
pub fn first_made(before: &[String], now: &[String]) -> Option<String> {
    let is_made = |name: &&String| MADE.iter().any(|start| name.starts_with(start));
    let made = now.iter().filter(|name| !before.contains(name)).filter(is_made);
    // HEADLESS-9 is older than HEADLESS-10.
    made.filter(|name| ipc::is_word(name)).min_by_key(|name| (name.len(), name.as_str())).cloned()
}

/// Makes an output show that mode upright, in so many pixels for each hundred of its programs,
/// whatever the configuration of the desktop says, and reads back that it does.
pub fn set_mode(
    client: &mut Client,
    name: &str,
    mode: Mode,
    scale_percent: u32,
) -> Result<(), Error> {
    if !ipc::is_word(name) {
        return Err(Error::NoOutput { name: name.to_owned(), others: Vec::new() });
    }
    let (mode_words, scale) = (emit(mode), emit_scale(scale_percent));
    client.run(&format!(
        "output {name} enable mode --custom {mode_words} scale {scale} transform normal dpms on"
    ))?;
    let mut found = Ok(None);
    process::wait(PATIENCE, || {
        found = output(client, name).map(|output| output.mode());
        found.as_ref().map_or(true, |found| *found == Some(mode))
    });
    let found = found?;
    if found == Some(mode) { Ok(()) } else { Err(Error::Mode { wanted: mode, found }) }
}

/// Removes an output that was made here. Before version 1.8 sway cannot: then it is parked.
pub fn remove(client: &mut Client, name: &str) -> Result<Removal, Error> {
    if !names(client)?.iter().any(|it| it == name) {
        return Ok(Removal::Gone);
    }
    if ipc::is_word(name) && client.run(&format!("output {name} unplug")).is_ok() {
        let is_gone = || names(client).is_ok_and(|names| !names.iter().any(|it| it == name));
        if process::wait(PATIENCE, is_gone) {
            return Ok(Removal::Gone);
        }
    }
    set_mode(client, name, PARKED, 100)?;
    leave(client, name).map(|()| Removal::Parked)
}

/// Takes the focus off an output that nobody looks at, if there is one that somebody may.
fn leave(client: &mut Client, name: &str) -> Result<(), Error> {
    let outputs = client.outputs()?;
    let is_focused = outputs.iter().any(|it| it.name == name && it.focused);
    let may = |it: &&Output| it.name != name && it.active && it.mode() != Some(PARKED);
    match outputs.iter().find(may).filter(|_| is_focused) {
        Some(other) => focus(client, &other.name),
        None => Ok(()),
    }
}

/// Gives an output the focus of the keyboard, so that what is started opens there.
pub fn focus(client: &mut Client, name: &str) -> Result<(), Error> {
    if !ipc::is_word(name) {
        return Err(Error::NoOutput { name: name.to_owned(), others: Vec::new() });
    }
    Ok(client.run(&format!("focus output {name}"))?)
}

/// Has the windows of a process open on an output, without the focus of any seat. sway forgets it
/// with the next reload.
pub fn assign(client: &mut Client, process: Process, name: &str) -> Result<(), Error> {
    if !ipc::is_word(name) {
        return Err(Error::NoOutput { name: name.to_owned(), others: Vec::new() });
    }
    Ok(client.run(&format!("assign [pid={}] output {name}", process.pid))?)
}

/// Moves a window to an output, if it is not there.
pub fn bring(client: &mut Client, window: i64, name: &str) -> Result<(), Error> {
    if !ipc::is_word(name) {
        return Err(Error::NoOutput { name: name.to_owned(), others: Vec::new() });
    }
    Ok(client.run(&format!("[con_id={window}] move container to output {name}"))?)
}

/// A mode as commands have it. sway computes millihertz in floating point and cuts what is behind
/// the point, so that there is something to cut.
pub fn emit(mode: Mode) -> String {
    let Mode { width, height, refresh_mhz } = mode;
    format!("{width}x{height}@{}.{:03}4Hz", refresh_mhz / 1000, refresh_mhz % 1000)
}

/// A scale as commands have it.
pub fn emit_scale(percent: u32) -> String {
    format!("{}.{:02}", percent / 100, percent % 100)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::state::tests::Folder;

    #[test]
    fn a_refresh_is_told_with_more_than_its_last_digit() {
        let table = [
            (90_000, "1600x900@90.0004Hz"),
            (59_940, "1600x900@59.9404Hz"),
            (23_976, "1600x900@23.9764Hz"),
            (1, "1600x900@0.0014Hz"),
        ];
        for (refresh_mhz, expected) in table {
            assert_eq!(emit(Mode { width: 1600, height: 900, refresh_mhz }), expected);
        }
    }

    #[test]
    fn the_output_that_was_made_first_is_the_one() {
        let table: [(&[&str], &[&str], Option<&str>); 7] = [
            (&["HEADLESS-1"], &["HEADLESS-1", "HEADLESS-10", "HEADLESS-9"], Some("HEADLESS-9")),
            (&["HEADLESS-1"], &["HEADLESS-1"], None),
            (&["DP-1"], &["DP-1", "DP-2", "HEADLESS-3"], Some("HEADLESS-3")),
            (&["WL-1"], &["WL-1", "WL-2"], Some("WL-2")),
            (&[], &["DP-1"], None),
            (&[], &["HEADLESS-1; exec sh"], None),
            (&["DP-1"], &[], None),
        ];
        for (before, now, expected) in table {
            let [before, now] =
                [before, now].map(|it| it.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
            assert_eq!(first_made(&before, &now).as_deref(), expected);
        }
    }

    #[test]
    fn sockets_that_lead_nowhere_are_no_desktop() {
        let folder = Folder::new();
        let path = |name: &str| folder.path().join(name);
        assert_eq!(find(folder.path()), None);
        fs::write(path("sway-ipc.0.1.sock"), "").unwrap();
        drop(UnixListener::bind(path("sway-ipc.0.2.sock")).unwrap());
        let _wayland = UnixListener::bind(path("wayland-1")).unwrap();

        assert_eq!(find(folder.path()), None);
        assert_eq!(find(&path("missing")), None);
        assert!(leads_to(&path("wayland-1"), std::process::id()));
        assert!(!leads_to(&path("sway-ipc.0.2.sock"), std::process::id()));
    }
}
