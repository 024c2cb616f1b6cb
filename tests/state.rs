//! What the running program keeps and needs: its files, its sockets, room on the disk.

#![allow(clippy::disallowed_methods, reason = "tests run real programs in real time")]

mod support;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::{Daemon, Folder, USER, free_port, is_root, refusal, write_conf};

const CLIENT: &str = include_str!("vectors/certificates/rsa-2048.pem");
const CLIENT_KEY: &str = include_str!("vectors/certificates/rsa-2048.key.pem");
const HOST_ID: &str = "6F1C2A54-9B1B-4B0E-9E8A-0A5B6C7D8E9F\n";

/// A list of one paired client, called so.
fn clients(name: &str) -> String {
    let client = json!({
        "name": name, "protocol": "gamestream", "paired_unix_s": 1, "certificate": CLIENT,
    });
    json!({ "version": 1, "clients": [client] }).to_string()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The names in a folder, sorted.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Writes something else in the configuration of a folder.
fn reconfigure(folder: &Folder, from: &str, to: &str) {
    let path = folder.path().join("punktfunk.conf");
    let conf = fs::read_to_string(&path).unwrap().replace(from, to);
    fs::write(path, conf).unwrap();
}

#[test]
fn the_first_start_makes_an_identity_that_later_starts_keep() {
    let port = free_port();
    let identity = |daemon: &Daemon| {
        let status = daemon.ctl_json(&["status"]);
        let (_, document) = daemon.http("/serverinfo?uniqueid=0123456789ABCDEF");
        let id = status["host_id"].as_str().unwrap().to_owned();
        assert!(document.contains(&format!("<uniqueid>{id}</uniqueid>")), "{document}");
        (id, status["fingerprint"].clone())
    };

    let first = Daemon::start_in(Folder::new(), port, "");
    let was = identity(&first);
    let (log, state, run) = (first.log(), first.state(), first.folder().path().join("run"));
    let modes = [
        (state.clone(), 0o700),
        (state.join("gamestream_key.pem"), 0o600),
        (state.join("gamestream_cert.pem"), 0o600),
        (state.join("host_id"), 0o600),
        (state.join("lock"), 0o600),
        (run.clone(), 0o755),
        (run.join("private"), 0o700),
        (run.join("control"), 0o660),
    ];
    for (path, wanted) in modes {
        assert_eq!(mode(&path), wanted, "{}", path.display());
    }
    assert_eq!(names(&state), ["gamestream_cert.pem", "gamestream_key.pem", "host_id", "lock"]);
    let key = fs::read(state.join("gamestream_key.pem")).unwrap();
    let (_, folder) = first.stop();
    let second = Daemon::start_in(folder, port, "");

    for what in ["host id", "key", "certificate"] {
        assert!(log.contains(&format!("identity: new {what} in ")), "{log}");
    }
    assert!(!second.log().contains("identity: new"), "{}", second.log());
    assert_eq!(identity(&second), was);
    assert_eq!(fs::read(second.state().join("gamestream_key.pem")).unwrap(), key);
}

#[test]
fn a_state_that_cannot_be_used_is_named_with_what_would_be_right() {
    type Damage = fn(&Folder, &Path);
    let table: &[(&str, Damage, &str)] = &[
        (
            "a directory open to its group",
            |_, state| set_mode(state, 0o750),
            "/state: mode 0750 lets other users in, must be 0700: 'chmod 0700 ",
        ),
        (
            "a key open to its group",
            |_, state| set_mode(state.join("gamestream_key.pem"), 0o640),
            "/state/gamestream_key.pem: mode 0640 lets other users in, must be 0600: 'chmod 0600 ",
        ),
        (
            "a file in its place",
            |folder, state| {
                fs::remove_dir_all(state).unwrap();
                folder.file("state", "", 0o600);
            },
            "/state: not a directory",
        ),
        (
            "a symbolic link in its place",
            |folder, state| {
                fs::rename(state, folder.path().join("elsewhere")).unwrap();
                symlink("elsewhere", state).unwrap();
            },
            "/state: not a directory",
        ),
        (
            "a directory that cannot be written",
            |_, state| set_mode(state, 0o500),
            "/state/lock: not locked: Permission denied",
        ),
        (
            "a directory that cannot be made",
            |folder, _| {
                folder.folder("closed", 0o555);
                reconfigure(folder, "/state\n", "/closed/state\n");
            },
            "/closed/state: not made: Permission denied",
        ),
        (
            "a damaged key",
            |folder, _| drop(folder.file("state/gamestream_key.pem", "no key", 0o600)),
            "/state/gamestream_key.pem: no private key in PEM (PKCS#8): restore ",
        ),
        (
            "a damaged certificate",
            |folder, _| drop(folder.file("state/gamestream_cert.pem", "no certificate", 0o600)),
            "/state/gamestream_cert.pem: ",
        ),
        (
            "a key of another certificate",
            |folder, _| drop(folder.file("state/gamestream_key.pem", CLIENT_KEY, 0o600)),
            "/state/gamestream_cert.pem: for another key than gamestream_key.pem: restore ",
        ),
        (
            "a certificate without its key",
            |_, state| fs::remove_file(state.join("gamestream_key.pem")).unwrap(),
            "/state/gamestream_key.pem: missing, its certificate is there: restore ",
        ),
        (
            "a damaged id",
            |folder, _| drop(folder.file("state/host_id", "seven\n", 0o600)),
            "/state/host_id: no UUID: restore ",
        ),
        (
            "a damaged list of clients",
            |folder, _| {
                folder.file("state/host_id", HOST_ID, 0o600);
                folder.file("state/clients.json", &clients("tv")[..900], 0o600);
            },
            "/state: clients.json: EOF while parsing",
        ),
        (
            "a list of clients of a later version",
            |folder, _| {
                folder.file("state/host_id", HOST_ID, 0o600);
                folder.file("state/clients.json", r#"{"version":2,"grants":[]}"#, 0o600);
            },
            "/state: clients.json: version 2, this program reads 1",
        ),
        (
            "a runtime directory that others can write to",
            |folder, _| drop(folder.folder("run", 0o777)),
            "/run: must be a directory that this user owns and nobody else can write to",
        ),
        (
            "a runtime directory whose parent is missing",
            |folder, _| reconfigure(folder, "/run\n", "/none/run\n"),
            "/none/run: No such file or directory",
        ),
    ];
    for (what, damage, expected) in table {
        let folder = Folder::with_identity();
        write_conf(&folder, free_port(), "");
        damage(&folder, &folder.path().join("state"));

        let (status, log) = refusal(&folder, &[]);

        // Else it cannot be removed.
        let _ = fs::set_permissions(folder.path().join("state"), Permissions::from_mode(0o700));
        assert_eq!(status, 4, "{what}: {log}");
        let line = log.lines().last().unwrap();
        assert!(line.contains("Z error  ") && line.contains(expected), "{what}: {log}");
        assert!(!folder.path().join("run/control").exists(), "{what}");
    }
}

#[test]
fn a_state_of_another_user_is_refused() {
    let folder = Folder::with_identity();
    // Only root can give a directory away; to others everything under / is another user's.
    let mut words = vec!["-oMdns=no"];
    if is_root() {
        chown(folder.path().join("state"), Some(1), None).unwrap();
        set_mode(folder.path().join("state"), 0o700);
    } else {
        words.push("-oStateDirectory=/usr");
    }
    write_conf(&folder, free_port(), "StrictModes no");

    let (status, log) = refusal(&folder, &words);

    assert_eq!(status, 4, "{log}");
    assert!(log.contains(": owned by uid ") && log.contains(", which punktfunkd runs as"), "{log}");
}

#[test]
fn wide_modes_are_taken_where_the_configuration_says_so() {
    let folder = Folder::with_identity();
    set_mode(folder.path().join("state"), 0o755);
    set_mode(folder.path().join("state/gamestream_key.pem"), 0o644);

    let daemon = Daemon::start_in(folder, free_port(), "StrictModes no");

    assert_eq!(daemon.http("/serverinfo").0, 200);
}

#[test]
fn a_port_in_use_is_named_with_who_holds_it() {
    // A process whose memory is not to be seen hides its descriptors as well.
    let open = Daemon::start("CoreDumps yes");
    let hidden = Daemon::start("");
    let foreign = TcpListener::bind("[::]:0").unwrap();
    let foreign_port = foreign.local_addr().unwrap().port();
    let unseen = "another program listens there, 'ss -lptn' as root names it".to_owned();
    let ours = format!(" (pid {}) listens there", std::process::id());
    let table = [
        (open.port, format!("punktfunkd (pid {}) listens there", open.pid())),
        (hidden.port, unseen.clone()),
        (foreign_port, if is_root() { unseen } else { ours }),
    ];
    for (port, holder) in table {
        let folder = Folder::with_identity();
        write_conf(&folder, port, "");

        let (status, log) = refusal(&folder, &[]);

        assert_eq!(status, 3, "{log}");
        let line = log.lines().last().unwrap();
        assert!(line.contains("Z error  cannot listen on "), "{log}");
        assert!(
            line.contains(&format!(":{port}: ")) && line.ends_with(&format!("{holder} [PF-P01]")),
            "{log}"
        );
        assert!(!folder.path().join("run/control").exists());
    }
}

#[test]
fn an_address_of_another_machine_is_told() {
    let folder = Folder::with_identity();
    write_conf(&folder, free_port(), "Listen 192.0.2.1");

    let (status, log) = refusal(&folder, &[]);

    assert_eq!(status, 3, "{log}");
    assert!(log.contains("cannot listen on 192.0.2.1:"), "{log}");
    assert!(log.contains(": Cannot assign requested address"), "{log}");
}

#[test]
fn a_second_instance_is_refused_and_does_not_disturb_the_first() {
    let first = Daemon::start("");
    let second = Folder::with_identity();
    let state = format!("-oStateDirectory={}", first.state().display());
    let socket = format!("-oControlSocket={}", first.socket().display());
    let table = [
        (
            state,
            format!("another punktfunkd (pid {}) uses {}", first.pid(), first.state().display()),
        ),
        (
            socket,
            format!(
                "cannot listen on {}: another punktfunkd listens there",
                first.socket().display()
            ),
        ),
    ];
    for (word, sentence) in table {
        write_conf(&second, free_port(), "");

        let (status, log) = refusal(&second, &[&word]);

        assert_eq!(status, 6, "{log}");
        let sentence = format!("{sentence} [PF-G01]");
        assert!(log.lines().last().unwrap().ends_with(&sentence), "{log}");
        assert_eq!(first.ctl_json(&["version"])["name"], "punktfunkd");
    }
}

#[test]
fn what_a_killed_daemon_leaves_does_not_hinder_the_next() {
    let mut first = Daemon::start("");
    let port = first.port;
    first.signal("KILL");
    assert_eq!(first.wait().code(), None);
    assert!(first.socket().exists());
    let folder = Folder::with_identity();
    for name in ["state", "run"] {
        let to = folder.path().join(name);
        let _ = fs::remove_dir_all(&to);
        fs::rename(first.folder().path().join(name), to).unwrap();
    }
    folder.file("state/clients.json.new", "half of a li", 0o600);

    let next = Daemon::start_in(folder, port, "");

    assert_eq!(next.ctl_json(&["version"])["name"], "punktfunkd");
}

#[test]
fn a_file_in_the_place_of_the_control_socket_is_left_alone() {
    let folder = Folder::with_identity();
    folder.folder("run", 0o755);
    let file = folder.file("run/control", "somebody's", 0o600);
    write_conf(&folder, free_port(), "");

    let (status, log) = refusal(&folder, &[]);

    assert_eq!(status, 3, "{log}");
    assert!(log.ends_with("run/control: there is something that is no socket [PF-P01]\n"), "{log}");
    assert_eq!(fs::read_to_string(file).unwrap(), "somebody's");
}

/// Holds that the list of clients cannot be written for this reason, and all that follows from it;
/// `make_room` ends the reason.
#[track_caller]
fn hold_what_a_full_disk_does(daemon: &Daemon, reason: &str, make_room: impl FnOnce()) {
    let file = daemon.state().join("clients.json");
    let (was, files) = (fs::read(&file).unwrap(), names(&daemon.state()));
    let name = || daemon.ctl_json(&["clients"])["clients"][0]["name"].clone();

    let refused = daemon.ctl(&["client", "rename", "tv", "couch"]);

    let sentence = format!("{}: not written: {reason}", file.display());
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&sentence), "{stderr}");
    assert!(daemon.log().contains(&sentence), "{}", daemon.log());
    assert_eq!((fs::read(&file).unwrap(), names(&daemon.state())), (was, files));
    assert_eq!((name(), daemon.http("/serverinfo").0), (Value::from("tv"), 200));
    make_room();
    daemon.ctl_json(&["client", "rename", "tv", "couch"]);
    assert_eq!(name(), "couch");
    assert!(fs::read_to_string(&file).unwrap().contains("\"couch\""));
}

#[test]
fn a_list_of_clients_that_may_not_grow_stays_whole_and_the_daemon_goes_on() {
    let folder = Folder::with_identity();
    folder.file("state/host_id", HOST_ID, 0o600);
    folder.file("state/clients.json", clients("tv"), 0o600);
    let daemon = Daemon::start_in(folder, free_port(), "LogLevel error");
    // Less than the list has, more than the log grows to.
    let limit = |soft: &str| {
        let mut prlimit = support::command("prlimit");
        let pid = daemon.pid().to_string();
        prlimit.args(["--pid", &pid]).arg(format!("--fsize={soft}:"));
        assert!(prlimit.status().unwrap().success());
    };

    limit("1000");

    hold_what_a_full_disk_does(&daemon, "File too large", || limit("unlimited"));
}

/// A file system of its own, which goes with the value.
struct Disk(PathBuf);

impl Disk {
    /// A small one in the place of this folder.
    fn mount(path: &Path) -> Disk {
        let options = format!("size=64k,mode=0700,uid={0},gid={0}", USER);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "punktfunk-test"]).arg(path);
        assert!(mount.status().unwrap().success());
        Disk(path.to_owned())
    }

    /// Leaves no byte free. Returns the file that takes them.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut ballast = File::create(&path).unwrap();
        while ballast.write_all(&[0; 1024]).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_named_the_list_of_clients_stays_whole_and_the_daemon_goes_on() {
    if !is_root() {
        // Nobody else may mount one: a file that may not grow stands for it, in the test above.
        return;
    }
    let folder = Folder::new();
    let disk = Disk::mount(&folder.folder("state", 0o700));
    let identity = Folder::with_identity();
    for name in ["gamestream_key.pem", "gamestream_cert.pem"] {
        let content = fs::read(identity.path().join("state").join(name)).unwrap();
        folder.file(&format!("state/{name}"), content, 0o600);
    }
    folder.file("state/host_id", HOST_ID, 0o600);
    folder.file("state/clients.json", clients("tv"), 0o600);
    let daemon = Daemon::start_in(folder, free_port(), "");

    let ballast = disk.fill();

    let make_room = || fs::remove_file(&ballast).unwrap();
    hold_what_a_full_disk_does(&daemon, "No space left on device", make_room);

    // A client that is taken off is off at once, whatever the disk says.
    disk.fill();
    let unpaired = daemon.ctl(&["client", "unpair", "couch"]);
    let stderr = String::from_utf8(unpaired.stderr).unwrap();
    assert_eq!(unpaired.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("unpaired, but known again after a restart, because not stored: "));
    assert_eq!(daemon.ctl_json(&["clients"])["clients"], json!([]));

    // An identity cannot be made either.
    let (_, folder) = daemon.stop();
    for name in ["ballast", "clients.json", "host_id"] {
        fs::remove_file(folder.path().join("state").join(name)).unwrap();
    }
    disk.fill();
    let (status, log) = refusal(&folder, &[]);
    assert_eq!(status, 4, "{log}");
    assert!(log.contains("/state/host_id: not written: No space left on device"), "{log}");
    drop(disk);
}
