//! The life of the running program: what it says to whoever started it, signals, and its end.

#![allow(clippy::disallowed_methods, reason = "tests run real programs in real time")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Daemon, Folder, PATIENCE, command, eventually, free_port, process_status};

const CLIENT: &str = include_str!("vectors/certificates/rsa-2048.pem");
/// The end comes within this, whatever is under way.
const STOP_TIME_MAX: Duration = Duration::from_secs(1);

/// A daemon that is started in its own way, and not waited for.
fn begin(change: impl FnOnce(&Path, &mut std::process::Command)) -> Daemon {
    let folder = Folder::with_identity();
    let path = folder.path().to_owned();
    Daemon::begin(folder, free_port(), "", |command| change(&path, command))
}

/// Waits until it answers clients.
#[track_caller]
fn wait_served(daemon: &Daemon) {
    let address = ("127.0.0.1", daemon.port);
    eventually("an open port", || TcpStream::connect(address).ok());
    assert_eq!(daemon.http("/serverinfo?uniqueid=0123456789ABCDEF").0, 200);
}

/// A device that has asked to pair and waits for its PIN.
fn waiting_device(daemon: &Daemon) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    let certificate: String = CLIENT.bytes().map(|byte| format!("{byte:02x}")).collect();
    let request = format!(
        "GET /pair?uniqueid=0123456789ABCDEF&devicename=roth&updateState=1&phrase=getservercert\
         &salt={}&clientcert={certificate} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "5a".repeat(16)
    );
    socket.write_all(request.as_bytes()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    daemon.wait_log("pairing 1: 127.0.0.1 asks to pair");
    socket
}

/// A socket for a service manager that has no path.
fn abstract_manager(name: &str) -> (UnixDatagram, String) {
    let name = format!("punktfunk-test-{name}-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    (manager, format!("@{name}"))
}

fn hear(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let len = manager.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..len].to_vec()).unwrap()
}

#[test]
fn the_service_manager_hears_of_the_start_of_changes_and_of_the_end() {
    let daemon = Daemon::begin(Folder::with_identity(), free_port(), "", |_| {});

    let ready = daemon.notification();
    daemon.signal("HUP");
    let reloaded = daemon.notification();
    daemon.signal("TERM");
    let stopping = daemon.notification();

    let port = daemon.port;
    let (first, status) = ready.split_once('\n').unwrap();
    assert_eq!(first, "READY=1");
    assert!(status.starts_with("STATUS=Listening on "), "{status}");
    assert!(status.contains(&format!(":{port}, ")), "{status}");
    assert!(status.contains(&format!("{}; 0 clients paired", daemon.socket().display())));
    assert_eq!(reloaded, status);
    assert!(stopping.starts_with("STOPPING=1\n"), "{stopping}");
}

#[test]
fn a_service_manager_without_a_path_hears_that_the_daemon_lives() {
    let (manager, name) = abstract_manager("watchdog");
    let daemon = begin(|_, command| {
        command.env("NOTIFY_SOCKET", &name).env("WATCHDOG_USEC", "200000");
    });

    let ready = hear(&manager);
    let alive: Vec<String> = (0..3).map(|_| hear(&manager)).collect();

    assert!(ready.starts_with("READY=1\n"), "{ready}");
    assert_eq!(alive, ["WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]);
    drop(manager);
    wait_served(&daemon);
}

#[test]
fn a_service_manager_that_cannot_be_reached_is_no_reason_not_to_start() {
    let mut daemon = begin(|path, command| {
        command.env("NOTIFY_SOCKET", path.join("nobody"));
    });

    daemon.wait_log("service manager: not reached: ");
    wait_served(&daemon);

    assert!(daemon.is_running());
    assert!(daemon.stop().0.success());
}

#[test]
fn the_journal_gets_priorities_and_only_where_standard_error_leads_there() {
    let number = |path: &Path, of: &str| {
        let metadata = fs::metadata(path.join(of)).unwrap();
        format!("{}:{}", metadata.dev(), metadata.ino())
    };
    let start = |of: &str| {
        let daemon = begin(|path, command| {
            command.arg("-d").env("JOURNAL_STREAM", number(path, of));
        });
        daemon.wait_ready();
        daemon.http("/nothing");
        daemon.wait_log("nothing");
        daemon.log()
    };

    // What leads elsewhere was inherited from a service further up.
    let (journal, inherited) = (start("log"), start("punktfunk.conf"));

    for line in journal.lines() {
        assert!(line.starts_with("<6>") || line.starts_with("<7>"), "{line}");
    }
    assert!(journal.contains("\n<6>") && journal.contains("\n<7>"), "{journal}");
    assert!(inherited.lines().all(|line| line.contains("Z info ") || line.contains("Z debug ")));
}

#[test]
fn mistakes_of_the_configuration_have_their_priority_in_the_journal() {
    let folder = Folder::new();
    let conf = folder.file("punktfunk.conf", "Prot 1\nMdns 1\n", 0o644);
    let mut daemon = command(support::program("punktfunkd"));
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let metadata = log.metadata().unwrap();
    let stream = format!("{}:{}", metadata.dev(), metadata.ino());

    let daemon = daemon.arg("-c").arg(&conf).env("JOURNAL_STREAM", stream).stderr(log);
    let status = daemon.status().unwrap();

    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(status.code(), Some(1));
    let mistake = format!("<3>{}:", conf.display());
    assert!(log.lines().filter(|line| line.starts_with(&mistake)).count() >= 2, "{log}");
    assert!(log.lines().all(|line| line.starts_with("<3>")), "{log}");
}

#[test]
fn every_line_in_json_is_an_object_with_time_level_module_and_message() {
    let folder = Folder::with_identity();
    let daemon = Daemon::start_in(folder, free_port(), "LogFormat json\nLogLevel debug");
    daemon.http("/nothing");
    daemon.signal("USR1");
    daemon.wait_log("state: up ");
    let (_, folder) = daemon.stop();

    let log = fs::read_to_string(folder.path().join("log")).unwrap();

    assert!(log.lines().count() > 5, "{log}");
    for line in log.lines() {
        let value: Value = serde_json::from_str(line).expect(line);
        for key in ["time", "level", "module", "message"] {
            assert!(value[key].is_string(), "{line}");
        }
    }
    assert!(log.contains(r#""message":"stopped""#), "{log}");
}

#[test]
fn term_and_int_end_the_daemon_and_take_its_socket_away() {
    for signal in ["TERM", "INT"] {
        let mut daemon = Daemon::start("");
        assert!(daemon.socket().exists());

        daemon.signal(signal);
        let status = daemon.wait();

        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(!daemon.socket().exists(), "{signal}");
        let log = daemon.log();
        assert!(log.ends_with("info   stopped\n") && log.contains("info   stopping\n"), "{log}");
    }
}

#[test]
fn the_end_waits_for_nobody_who_waits_for_a_pin() {
    for signals in [&["TERM"][..], &["TERM", "INT"]] {
        let mut daemon = Daemon::start("");
        let silent = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
        let half = TcpStream::connect(("127.0.0.1", daemon.port - 5)).unwrap();
        let mut device = waiting_device(&daemon);

        let begin = Instant::now();
        for signal in signals {
            daemon.signal(signal);
        }
        let status = daemon.wait();
        let time = begin.elapsed();

        assert_eq!(status.code(), Some(0), "{signals:?}");
        assert!(time < STOP_TIME_MAX, "{signals:?}: {time:?}");
        assert!(!daemon.socket().exists());
        let mut answer = Vec::new();
        let _ = device.read_to_end(&mut answer);
        assert!(!String::from_utf8_lossy(&answer).contains("<paired>1"));
        drop((silent, half));
    }
}

#[test]
fn usr1_logs_the_state_and_usr2_nothing() {
    let mut daemon = Daemon::start("");
    let _device = waiting_device(&daemon);

    daemon.signal("USR2");
    daemon.signal("USR1");
    daemon.wait_log(" local over TCP");

    let log = daemon.log();
    assert!(log.contains("0 clients paired, 1 pairings under way"), "{log}");
    assert!(log.contains("state: pairing 1 from 127.0.0.1, "), "{log}");
    assert!(log.contains("state: 1 connections from the network, 0 local"), "{log}");
    assert!(daemon.is_running());
}

#[test]
fn closed_standard_streams_do_not_matter() {
    let daemon = begin(|_, command| {
        let mut shell = support::command("/bin/sh");
        shell.args(["-c", "exec \"$0\" \"$@\" <&- >&- 2>&-"]).arg(command.get_program());
        shell.args(command.get_args());
        for (name, value) in command.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        *command = shell;
    });

    daemon.wait_ready();
    wait_served(&daemon);
    daemon.signal("USR1");
    daemon.ctl_json(&["status"]);

    assert_eq!(daemon.log(), "");
    assert!(daemon.stop().0.success());
}

/// A daemon whose standard error is a socket, as under systemd, and the end where it is read.
fn begin_logging_to(stderr: UnixStream) -> Daemon {
    let daemon = begin(|_, command| {
        command.arg("-d").stderr(OwnedFd::from(stderr));
    });
    daemon.wait_ready();
    wait_served(&daemon);
    daemon.ctl_json(&["status"]);
    daemon
}

#[test]
fn a_reader_of_the_log_that_has_gone_does_not_end_the_daemon() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(ours);

    let daemon = begin_logging_to(theirs);

    assert!(daemon.stop().0.success());
}

#[test]
fn a_reader_of_the_log_that_does_not_read_does_not_stop_the_daemon_and_learns_what_it_missed() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    while theirs.write(&[b'\n'; 4096]).is_ok() {}
    theirs.set_nonblocking(false).unwrap();

    let daemon = begin_logging_to(theirs);

    ours.set_nonblocking(true).unwrap();
    let mut log = Vec::new();
    eventually("a line that says what was lost", || {
        let _ = ours.read_to_end(&mut log);
        daemon.http("/nothing");
        let log = String::from_utf8_lossy(&log);
        log.contains(" lines lost, standard error took no more").then_some(())
    });
    assert!(daemon.stop().0.success());
    let _ = ours.read_to_end(&mut log);
    assert!(log.ends_with(b"stopped\n"), "{}", String::from_utf8_lossy(&log).trim_start());
}

#[test]
fn an_idle_daemon_is_one_thread() {
    let daemon = Daemon::start("");
    daemon.http("/serverinfo?uniqueid=0123456789ABCDEF");
    daemon.signal("HUP");
    daemon.wait_log("configuration: read again");

    eventually("one thread", || (process_status(daemon.pid(), "Threads") == "1").then_some(()));
}
