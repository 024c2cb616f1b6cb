//! Whom the running program is, and what it may do.

#![allow(clippy::disallowed_methods, reason = "tests run real programs in real time")]

mod support;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::{Command, Stdio};

use support::{Daemon, Folder, USER, free_port, is_root, process_status, refusal, write_conf};

/// The name of [`USER`].
const NAME: &str = "nobody";

#[test]
fn a_user_that_the_daemon_cannot_become_is_told() {
    let user = |folder: &Folder, lines: &str| {
        write_conf(folder, free_port(), lines);
        refusal(folder, &[])
    };
    let folder = Folder::with_identity();
    let table = [
        ("RunAs daemon", "RunAs daemon: only root can become another user, and this is not root"),
        ("RunAs nosuch", "RunAs nosuch: there is no such user"),
        ("RunAs root", "RunAs root: root may not serve clients"),
    ];
    for (lines, sentence) in table {
        let (status, log) = user(&folder, lines);

        assert_eq!(status, 1, "{log}");
        assert!(log.contains(sentence), "{log}");
    }
    assert!(!folder.path().join("run").exists());
}

#[test]
fn names_that_nobody_has_are_found_by_a_check() {
    let folder = Folder::new();
    let table = [
        ("RunAs nosuch", Some("RunAs nosuch: there is no such user")),
        ("RunAs root", Some("RunAs root: root may not serve clients")),
        ("ControlSocket /tmp/x 0660 nosuch", Some("ControlSocket: no group is called \"nosuch\"")),
        ("RunAs nobody", None),
    ];
    for (lines, sentence) in table {
        write_conf(&folder, free_port(), lines);
        let (status, log) = refusal(&folder, &["-t"]);

        assert_eq!(status, i32::from(sentence.is_some()), "{log}");
        assert!(log.contains(sentence.unwrap_or_default()), "{log}");
    }
}

#[test]
fn the_daemon_has_no_privileges_and_nothing_that_it_starts_can_gain_any() {
    let daemon = Daemon::start("");

    assert_eq!(process_status(daemon.pid(), "NoNewPrivs"), "1");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(process_status(daemon.pid(), set), "0000000000000000", "{set}");
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let columns: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(columns[4..6], ["0", "0"], "{core}");
}

/// A daemon that is started by root, or by somebody who is root to it, on a configuration that
/// root owns. No state is there.
fn begin_as_root(lines: &str) -> Daemon {
    let folder = Folder::new();
    let path = folder.path().to_owned();
    Daemon::begin(folder, free_port(), lines, |command| {
        let mut root = Command::new("unshare");
        if is_root() {
            for owned in [path.clone(), path.join("punktfunk.conf")] {
                chown(owned, Some(0), Some(0)).unwrap();
            }
            root.arg("--uts");
        } else {
            root.args(["--user", "--map-root-user"]);
        }
        root.arg(command.get_program());
        root.args(command.get_args()).env_clear().current_dir("/");
        for (name, value) in command.get_envs() {
            root.env(name, value.unwrap_or_default());
        }
        let log = File::options().append(true).open(path.join("log")).unwrap();
        root.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        *command = root;
    })
}

#[test]
fn root_serves_nobody() {
    let mut daemon = begin_as_root("");

    let status = daemon.wait();

    let log = daemon.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("root may not serve clients: start punktfunkd as the user"), "{log}");
    assert!(!daemon.state().exists());
}

#[test]
fn started_by_root_the_daemon_becomes_the_user_it_is_told_for_good() {
    if !is_root() {
        // Nobody else has users to choose from: that they are refused is shown above.
        return;
    }
    let (name, id) = (NAME, USER);
    let daemon = begin_as_root(&format!("RunAs {name}\nHostName before"));
    daemon.wait_ready();

    let (ids, groups) = (format!("{id} {id} {id} {id}"), process_status(daemon.pid(), "Groups"));
    assert_eq!(
        (process_status(daemon.pid(), "Uid"), process_status(daemon.pid(), "Gid")),
        (ids.clone(), ids)
    );
    assert!(!groups.split(' ').any(|group| group == "0"), "{groups}");
    assert_eq!(process_status(daemon.pid(), "NoNewPrivs"), "1");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(process_status(daemon.pid(), set), "0000000000000000", "{set}");
    }
    let run = daemon.folder().path().join("run");
    for (directory, wanted) in
        [(daemon.state(), 0o700), (run.clone(), 0o755), (run.join("private"), 0o700)]
    {
        let metadata = fs::metadata(&directory).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (id, id), "{}", directory.display());
        assert_eq!(metadata.mode() & 0o7777, wanted, "{}", directory.display());
    }
    daemon.wait_log(&format!("running as {name}"));

    // What only root may read is out of reach from now on, and the old holds.
    let conf = daemon.folder().path().join("punktfunk.conf");
    fs::set_permissions(conf, Permissions::from_mode(0o600)).unwrap();
    daemon.signal("HUP");
    daemon.wait_log("punktfunk.conf: Permission denied");
    daemon.wait_log("configuration: kept as it was");
    let (_, document) = daemon.http("/serverinfo");
    assert!(document.contains("<hostname>before</hostname>"), "{document}");
    let socket = daemon.socket();
    assert!(daemon.stop().0.success());
    assert!(!socket.exists());
}

#[test]
fn core_dumps_are_for_the_configuration_to_allow_whoever_starts_the_daemon() {
    let owner_of_memory = |daemon: &Daemon| {
        daemon.wait_ready();
        // What nobody may read belongs to root, proc(5).
        fs::metadata(format!("/proc/{}/environ", daemon.pid())).unwrap().uid()
    };
    let ours = fs::metadata("/proc/self").unwrap().uid();
    let user = if is_root() { USER } else { ours };
    for (lines, owner) in [("", 0), ("CoreDumps yes", user)] {
        let daemon = Daemon::begin(Folder::with_identity(), free_port(), lines, |_| {});
        assert_eq!(owner_of_memory(&daemon), owner, "{lines}");
        if is_root() {
            let daemon = begin_as_root(&format!("RunAs {}\n{lines}", NAME));
            assert_eq!(owner_of_memory(&daemon), owner, "{lines}");
        }
    }
}
