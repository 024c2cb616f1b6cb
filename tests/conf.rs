//! The command line and the configuration of the running program, as an administrator meets them.

#![allow(clippy::disallowed_methods, reason = "tests run real programs in real time")]

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Output;

use support::{Daemon, Folder, command, free_port, output, program, refusal, write_conf};

/// What the daemon says with these words, when it ends by itself.
fn punktfunkd(words: &[&str]) -> Output {
    output(command(program("punktfunkd")).args(words))
}

/// As [`punktfunkd`], on the configuration of a folder.
fn on_conf(folder: &Folder, words: &[&str]) -> Output {
    let conf = folder.path().join("punktfunk.conf");
    output(command(program("punktfunkd")).arg("-c").arg(conf).args(words))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Names in a folder.
fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The host's name as clients see it.
fn host_name(daemon: &Daemon) -> String {
    let (_, body) = daemon.http("/serverinfo?uniqueid=0123456789ABCDEF");
    let (_, rest) = body.split_once("<hostname>").unwrap();
    rest.split_once("</hostname>").unwrap().0.to_owned()
}

#[test]
fn help_and_version_are_printed_and_mistakes_are_told_on_standard_error() {
    let table: [(&[&str], i32, &str, &str); 9] = [
        (&["-h"], 0, "Usage: punktfunkd", ""),
        (&["--help"], 0, "Usage: punktfunkd", ""),
        (&["-V"], 0, "punktfunkd 0", ""),
        (&["-V"], 0, "licence: MIT", ""),
        (&["-x"], 2, "", "punktfunkd: Unrecognized argument: -x"),
        (&["-c"], 2, "", "punktfunkd: "),
        (&["-o"], 2, "", "punktfunkd: "),
        (&["word"], 2, "", "word"),
        (&["-dq"], 2, "", "-d and -q contradict each other"),
    ];
    for (words, status, said, complained) in table {
        let output = punktfunkd(words);

        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(status), "{words:?} {stderr}");
        assert!(stdout.contains(said) && stderr.contains(complained), "{words:?} {output:?}");
        assert_eq!((stdout.is_empty(), stderr.is_empty()), (status != 0, status == 0), "{words:?}");
    }
}

#[test]
fn an_argument_that_is_no_text_is_a_mistake_of_the_command_line() {
    let output = output(command(program("punktfunkd")).arg(OsStr::from_bytes(b"-c\xff")));

    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).starts_with("punktfunkd: "), "{output:?}");
}

#[test]
fn output_that_cannot_be_written_is_told() {
    let folder = Folder::new();
    let conf = write_conf(&folder, 47_989, "");
    for option in ["-h", "-V", "-T", "-n"] {
        let full = File::options().write(true).open("/dev/full").unwrap();

        let mut daemon = command(program("punktfunkd"));
        let output = daemon.arg("-c").arg(&conf).arg(option).stdout(full).output().unwrap();

        let stderr = text(&output.stderr);
        assert!(stderr.contains("standard output: No space left"), "{option} {stderr}");
        assert_eq!(output.status.code(), Some(1), "{option}");
    }
}

#[test]
fn a_right_configuration_is_checked_without_a_word_and_without_a_trace() {
    let folder = Folder::new();
    write_conf(&folder, 47_989, "HostName den\nApp Desktop");

    let output = on_conf(&folder, &["-t"]);

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(names(&folder), ["punktfunk.conf"]);
}

#[test]
fn every_mistake_is_told_with_its_place_and_nothing_is_begun() {
    let folder = Folder::new();
    let conf = write_conf(&folder, 47_989, "Prot 1\nMdns maybe\nApp A\n    Hidden 1");
    let conf = conf.display();
    // Above these lines are four of its own.
    let expected = format!(
        "{conf}:5:1: unknown keyword 'Prot', see punktfunk.conf(5)\n\
         {conf}:6:6: 'maybe' is neither yes nor no\n\
         {conf}:8:12: '1' is neither yes nor no\n\
         -o:1:1: unknown keyword 'Foo', see punktfunk.conf(5)\n"
    );
    for words in [&["-oFoo=1", "-t"][..], &["-oFoo=1", "-T"], &["-oFoo=1", "-n"], &["-oFoo=1"]] {
        let output = on_conf(&folder, words);

        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), expected.clone()));
        assert_eq!(names(&folder), ["punktfunk.conf"]);
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let folder = Folder::new();

    let output = on_conf(&folder, &["-t"]);

    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.starts_with(&format!("{}/punktfunk.conf: ", folder.path().display())));
    assert!(stderr.contains("No such file or directory"), "{stderr}");
}

#[test]
fn the_effective_configuration_names_its_origins_and_means_the_same_when_read_again() {
    let folder = Folder::new();
    let conf =
        write_conf(&folder, 48_989, "HostName \"a # b\"\nApp \"Big \\\"Picture\"\n    Hidden yes");
    let conf = conf.display().to_string();

    let first = on_conf(&folder, &["-oMdns=no", "-oLoginGraceTime=20s", "-T"]);
    let printed = text(&first.stdout);
    folder.file("punktfunk.conf", &printed, 0o644);
    let second = on_conf(&folder, &["-T"]);

    assert_eq!((first.status.code(), text(&first.stderr)), (Some(0), String::new()));
    let origin = |keyword: &str| {
        let line = printed.lines().find(|line| line.split(' ').next() == Some(keyword)).unwrap();
        let (value, origin) = line.rsplit_once(" # ").unwrap();
        (value.trim_end().to_owned(), origin.to_owned())
    };
    let table = [
        ("GameStreamPort", "GameStreamPort 48989", format!("{conf}:3")),
        ("LoginGraceTime", "LoginGraceTime 20s", "-o".to_owned()),
        ("MaxConnections", "MaxConnections 64", "default".to_owned()),
        ("Mdns", "Mdns no", "-o".to_owned()),
    ];
    for (keyword, value, from) in table {
        assert_eq!(origin(keyword), (value.to_owned(), from));
    }
    let values = |text: &str| -> Vec<String> {
        let value =
            |line: &str| line.rsplit_once(" # ").map_or("", |it| it.0).trim_end().to_owned();
        text.lines().map(value).collect()
    };
    assert_eq!(values(&text(&second.stdout)), values(&printed), "{printed}");
    assert!(!text(&second.stdout).contains("# default"));
}

#[test]
fn a_report_of_the_machine_opens_nothing_and_leaves_nothing() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("[::]:0").unwrap();
    write_conf(&folder, taken.local_addr().unwrap().port(), "");

    let output = on_conf(&folder, &["-n"]);

    let report = text(&output.stdout);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    for name in ["user", "state", "runtime", "interface", "processors", "locked memory"] {
        assert!(report.lines().any(|line| line.starts_with(name)), "{name} {report}");
    }
    assert!(report.contains("lo: 127.0.0.1"), "{report}");
    assert_eq!(names(&folder), ["punktfunk.conf"]);
}

#[test]
fn the_command_line_says_how_much_is_logged() {
    let table: [(&[&str], &str, bool, bool, bool); 5] = [
        (&[], "", true, false, false),
        (&["-d"], "LogLevel error", true, true, false),
        (&["-dd"], "", true, true, true),
        (&["-q"], "LogLevel debug", false, false, false),
        (&["-oLogLevel=error"], "LogLevel trace", false, false, false),
    ];
    for (words, lines, has_info, has_debug, has_trace) in table {
        let daemon = Daemon::begin(Folder::with_identity(), free_port(), lines, |command| {
            command.args(words);
        });
        daemon.wait_ready();
        daemon.http("/nothing");
        // A reload does not take it back.
        daemon.ctl_json(&["reload"]);
        daemon.http("/nothing");
        let (status, folder) = daemon.stop();

        let log = fs::read_to_string(folder.path().join("log")).unwrap();
        let has = |level: &str| log.lines().any(|line| line.contains(&format!("Z {level} ")));
        assert!(status.success());
        assert_eq!((has("info"), has("debug")), (has_info, has_debug), "{words:?} {log}");
        assert!(has_trace || !has("trace"), "{words:?} {log}");
    }
}

#[test]
fn a_reload_takes_what_can_change_and_names_what_needs_a_restart() {
    let daemon = Daemon::start("HostName before\nApp Desktop");
    let other = if daemon.port == 40_000 { 40_001 } else { 40_000 };
    let lines = "HostName after\nLogLevel debug\nApp Desktop\nApp Steam\n    Hidden yes";
    let conf = write_conf(daemon.folder(), other, lines);
    let untouched = (fs::read(&conf).unwrap(), fs::metadata(&conf).unwrap().mtime_nsec());

    assert_eq!(host_name(&daemon), "before");
    daemon.signal("HUP");
    daemon.wait_log("App Steam: added");
    daemon.http("/nothing");

    assert_eq!(host_name(&daemon), "after");
    let apps = daemon.ctl_json(&["apps"]);
    let titles: Vec<_> = apps["apps"].as_array().unwrap().iter().map(|app| &app["title"]).collect();
    assert_eq!(titles, ["Desktop", "Steam"]);
    let (log, port) = (daemon.log(), daemon.port);
    for line in [
        "info   configuration: HostName after, was before".to_owned(),
        "info   configuration: LogLevel debug, was info".to_owned(),
        format!(
            "warn   configuration: GameStreamPort {other}, was {port}: needs a restart [PF-C01]"
        ),
    ] {
        assert!(log.lines().any(|it| it.ends_with(&line)), "{line}\n{log}");
    }
    assert!(log.contains("Z debug "), "{log}");
    daemon.ctl_json(&["status"]);
    let now = (fs::read(&conf).unwrap(), fs::metadata(&conf).unwrap().mtime_nsec());
    assert_eq!(now, untouched);
}

#[test]
fn multicast_dns_is_taken_up_and_given_up_by_a_reload() {
    let daemon = Daemon::start("");
    for (lines, change) in [
        ("Mdns yes\nMdnsInterface lo", "configuration: Mdns yes, was no"),
        ("Mdns no\nMdnsInterface lo", "configuration: Mdns no, was yes"),
    ] {
        daemon.configure(lines);

        daemon.signal("HUP");

        daemon.wait_log(change);
        let status = daemon.ctl_json(&["status"]);
        let is_on = !status["mdns"]["instance"].is_null();
        assert!(is_on == lines.contains("yes") || daemon.log().contains("mdns: off"), "{status}");
    }
}

#[test]
fn a_reload_of_a_wrong_configuration_changes_nothing_and_tells_every_mistake() {
    let daemon = Daemon::start("HostName before");
    daemon.configure("HostName after\nMdns maybe\nProt 1");
    let conf = daemon.folder().path().join("punktfunk.conf");
    let mistakes = [
        format!("{}:6:6: 'maybe' is neither yes nor no", conf.display()),
        format!("{}:7:1: unknown keyword 'Prot', see punktfunk.conf(5)", conf.display()),
    ];

    daemon.signal("HUP");
    daemon.wait_log("configuration: kept as it was");
    let refused = daemon.ctl(&["reload"]);
    let told = daemon.ctl(&["--json", "reload"]);

    assert_eq!(host_name(&daemon), "before");
    let (log, stderr) = (daemon.log(), text(&refused.stderr));
    for mistake in &mistakes {
        let error = format!("error  {mistake}");
        assert_eq!(log.lines().filter(|line| line.ends_with(&error)).count(), 3, "{log}");
        assert!(stderr.lines().any(|line| line == mistake), "{stderr}");
    }
    assert_eq!((refused.status.code(), told.status.code()), (Some(1), Some(1)));
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["error"]["details"], serde_json::json!(mistakes));
    daemon.configure("HostName after");
    assert_eq!(daemon.ctl_json(&["reload"])["changed"][0], "HostName after, was before");
    assert_eq!(host_name(&daemon), "after");
}

#[test]
fn a_reload_without_a_change_or_without_a_file_says_so() {
    let daemon = Daemon::start("");

    daemon.signal("HUP");
    daemon.wait_log("configuration: read again, nothing changed");
    fs::remove_file(daemon.folder().path().join("punktfunk.conf")).unwrap();
    daemon.signal("HUP");
    daemon.wait_log("punktfunk.conf: No such file or directory");
    daemon.wait_log("configuration: kept as it was");

    assert_eq!(daemon.http("/serverinfo").0, 200);
}

#[test]
fn a_file_that_others_may_change_is_no_configuration() {
    let folder = Folder::with_identity();
    let conf = write_conf(&folder, free_port(), "");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(&conf, mode).unwrap();

    let (status, log) = refusal(&folder, &[]);

    let what = "mode 0666 lets others change it: chmod go-w it, or set StrictModes no";
    assert_eq!((status, log), (1, format!("{}: {what}\n", conf.display())));
    assert!(!Path::new(&folder.path().join("run")).exists());
}
