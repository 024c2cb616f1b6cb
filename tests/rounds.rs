//! Clients come and go, and the daemon is afterwards what it was before.

#![allow(clippy::disallowed_methods, reason = "scripts/rounds says how many by the environment")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use punktfunk_core::net::clock;
use serde_json::{Value, json};
use support::{Daemon, Folder, PATIENCE, eventually, need_encoders, python};

/// Certificates of clients. Some come again before they are missed, some later.
const CLIENTS: &[&str] = &["rsa-2048", "p-256", "x509-v1", "expired", "serial-0"];
/// Rounds, unless the environment says otherwise. The last session is missed when nothing else
/// happens any more.
const ROUND_COUNT: usize = 52;
/// Rounds after which everything that is made once was made.
const WARM_COUNT: usize = 12;
/// What may be resident afterwards over what was then, in KiB. Stacks and arenas are kept for later,
/// as many as sessions have overlapped; the rings of one session alone are two hundred.
const GROWTH_KIB_MAX: u64 = 4 * 1024;
/// Rounds to learn from what is resident.
const SAMPLE_COUNT: usize = 5;
/// What the log calls the ends that there are.
const ENDS: &[&str] = &[
    "client left",
    "client does not answer",
    "app cancelled",
    "client did not connect",
    "another session took its place",
];
const CONF: &str = "\
Capture test
Encoder software
IdleTimeout 2s
MaxSessions 16
SessionConflict separate
";

/// What a daemon without sessions takes.
#[derive(Debug, PartialEq)]
struct Rest {
    /// Kinds of descriptors.
    descriptors: Vec<String>,
    /// Names of threads.
    threads: Vec<String>,
}

impl Rest {
    fn of(daemon: &Daemon) -> Rest {
        let process = PathBuf::from(format!("/proc/{}", daemon.pid()));
        // What is gone before it is looked at does not count.
        let all = |folder: &str, what: fn(PathBuf) -> Option<String>| {
            let entries = fs::read_dir(process.join(folder)).unwrap();
            let mut all: Vec<_> = entries.filter_map(|entry| what(entry.ok()?.path())).collect();
            all.sort();
            all
        };
        Rest {
            descriptors: all("fd", |path| {
                let target = fs::read_link(path).ok()?.into_os_string().into_string().ok()?;
                Some(target.split_once(":[").map_or(target.clone(), |(kind, _)| kind.to_owned()))
            }),
            threads: all("task", |path| fs::read_to_string(path.join("comm")).ok()),
        }
    }
}

/// Waits until every session is over, and all that it had is given back.
#[track_caller]
fn wait_for(rest: &Rest, daemon: &Daemon) {
    eventually("every session is over", || {
        let log = daemon.log();
        let begun_count = log.matches(" launches ").count() + log.matches(" resumes ").count();
        (begun_count == log.matches(": ended after ").count()).then_some(())
    });
    let end = clock::now() + PATIENCE;
    loop {
        let now = Rest::of(daemon);
        if now == *rest {
            return;
        }
        assert!(clock::now() < end, "{now:?}, {rest:?} before");
        thread::sleep(Duration::from_millis(20));
    }
}

/// What is resident after one more round. What the allocator keeps for later differs from round to
/// round by some megabytes; what leaks is there after each.
#[track_caller]
fn resident_kib(daemon: &Daemon, rest: &Rest, identities: &[PathBuf]) -> u64 {
    run(daemon, identities, 0, 1);
    wait_for(rest, daemon);
    daemon.resident_kib()
}

/// Has the stock client come and go so often; with 0, every client cancels what it has.
#[track_caller]
fn run(daemon: &Daemon, identities: &[PathBuf], first: usize, count: usize) {
    let numbers = [usize::from(daemon.port), first, count].map(|number| number.to_string());
    let output = python()
        .args(["-W", "ignore", "tests/moonlight/rounds.py", "127.0.0.1"])
        .args(numbers)
        .args(identities)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["failures"], json!([]), "{report}");
    println!("{count} rounds in {} s", report["seconds"]);
}

#[test]
fn however_often_clients_come_and_however_they_go_nothing_is_left() {
    need_encoders();
    let count = std::env::var("ROUNDS").map_or(ROUND_COUNT, |count| count.parse().unwrap());
    let daemon = Daemon::start_paired(CONF, CLIENTS);
    let folder = Folder::new();
    let identities: Vec<PathBuf> = CLIENTS.iter().map(|name| folder.identity(name)).collect();
    daemon.wait_log("encoders: h264: software");
    let rest = eventually("what it learnt of encoders is stored", || {
        let rest = Rest::of(&daemon);
        (rest.threads.len() == 1 && rest == Rest::of(&daemon)).then_some(rest)
    });
    run(&daemon, &identities, 0, WARM_COUNT);
    run(&daemon, &identities, 0, 0);
    wait_for(&rest, &daemon);
    let sample = || resident_kib(&daemon, &rest, &identities);
    let before_kib = (0..SAMPLE_COUNT).map(|_| sample()).min().unwrap();

    run(&daemon, &identities, WARM_COUNT, count);
    wait_for(&rest, &daemon);
    run(&daemon, &identities, 0, 0);

    let limit_kib = before_kib + GROWTH_KIB_MAX;
    let mut samples = Vec::new();
    while samples.len() < SAMPLE_COUNT && samples.last().is_none_or(|last| *last > limit_kib) {
        samples.push(sample());
    }
    println!("resident: {samples:?} KiB after {count} rounds, {before_kib} KiB before");
    for end in ENDS {
        println!("{end}: {}", daemon.log().matches(end).count());
        assert!(daemon.log().contains(end), "{end}");
    }
    assert!(samples.last() <= Some(&limit_kib), "{samples:?} KiB, {before_kib} KiB before");
}
