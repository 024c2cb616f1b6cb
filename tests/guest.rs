//! Gamepads as programs see them, and what takes disciplines that this machine's kernel may not have,
//! in a machine with a kernel of its own: no test makes devices on the machine that it runs on.
//!
//! This program starts the machine, and is what runs in it.

#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/code.rs"]
mod code;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/grants.rs"]
mod grants;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/inject/mod.rs"]
mod inject;
#[path = "guest/inside.rs"]
mod inside;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/ipc.rs"]
mod ipc;
#[path = "guest/pacing.rs"]
mod pacing;
#[path = "guest/sdl.rs"]
mod sdl;
mod support;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/turn.rs"]
mod turn;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use punktfunk_core::net::clock;
use serde_json::{Value, json};
use support::device::Device;
use support::{Folder, free_port, need_encoders, output, tool};

/// How long the machine may be up; it needs some 20 seconds.
const UP_TIME: Duration = Duration::from_secs(100);
/// What is in its root beside the modules, of busybox.
const PROGRAMS: [&str; 12] = [
    "cat", "chmod", "chroot", "cp", "echo", "insmod", "ip", "mkdir", "mount", "sh", "sleep", "sync",
];
/// Ports of GameStream as seen from its base.
const TCP_OFFSETS: [i32; 3] = [-5, 0, 21];
const UDP_OFFSETS: [i32; 3] = [9, 10, 11];

/// The machine, which goes with the value.
struct Guest {
    child: Child,
    /// What it writes on its serial line.
    log: PathBuf,
    /// Where the ports of GameStream are on this machine as well as in the guest.
    port: u16,
    _folder: Folder,
}

impl Guest {
    fn start() -> Guest {
        let (folder, port) = (Folder::new(), free_port());
        let archive = pack_root(&folder);
        let log = folder.path().join("log");
        let forward = |kind: &str, offset: &i32| {
            let port = i32::from(port) + offset;
            format!(",hostfwd={kind}:127.0.0.1:{port}-:{port}")
        };
        let tcp: String = TCP_OFFSETS.iter().map(|offset| forward("tcp", offset)).collect();
        let udp: String = UDP_OFFSETS.iter().map(|offset| forward("udp", offset)).collect();
        let share = "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap";
        let program = std::env::current_exe().unwrap();
        let command_line = format!(
            "console=ttyS0 quiet panic=-1 mitigations=off program={} checkout={} port={port}",
            program.display(),
            env!("CARGO_MANIFEST_DIR"),
        );
        let child = tool("qemu-system-x86_64")
            .args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"])
            .args(["-m", "1024", "-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-serial", "stdio", "-no-reboot", "-virtfs", share])
            .args(["-append", &command_line])
            .args(["-netdev", &format!("user,id=net{tcp}{udp}")])
            .args(["-device", "virtio-net-pci,netdev=net"])
            .arg("-kernel")
            .arg(part("vmlinuz"))
            .arg("-initrd")
            .arg(archive)
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Guest { child, log, port, _folder: folder }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).replace('\r', "")
    }

    /// Waits until `check` gives something, as long as the machine may be up.
    #[track_caller]
    fn wait<T>(&mut self, what: &str, mut check: impl FnMut(&mut Child) -> Option<T>) -> T {
        let end = clock::now() + UP_TIME;
        loop {
            if let Some(value) = check(&mut self.child) {
                return value;
            }
            assert!(clock::now() < end, "did not happen: {what}\n{}", self.log());
            clock::sleep_until(clock::now() + Duration::from_millis(100));
        }
    }

    /// Waits until its daemon answers.
    #[track_caller]
    fn wait_daemon(&mut self) {
        let port = self.port;
        self.wait("the daemon of the guest", |child| {
            assert_eq!(child.try_wait().unwrap(), None, "the guest has ended");
            let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            stream.write_all(b"GET /serverinfo HTTP/1.1\r\nHost: guest\r\n\r\n").ok()?;
            (stream.read(&mut [0; 16]).ok()? > 0).then_some(())
        });
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the guest\n{}---", self.log());
        }
    }
}

/// What scripts/setup fetched for the machine.
fn part(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.guest").join(name);
    assert!(path.is_file(), "{} is not there: run scripts/setup test", path.display());
    path
}

/// The archive of the root that the machine starts with, in which it finds this machine's.
fn pack_root(folder: &Folder) -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = folder.path().join("root");
    for name in ["bin", "dev", "modules", "proc", "root", "sys"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    let busybox = Path::new("/bin/busybox");
    assert!(busybox.is_file(), "busybox is not there: run scripts/setup test");
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for name in PROGRAMS {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    fs::copy(part("list"), root.join("modules/list")).unwrap();
    for line in fs::read_to_string(part("list")).unwrap().lines() {
        let name = format!("{}.ko", line.rsplit('/').next().unwrap());
        fs::copy(part(&name), root.join("modules").join(name)).unwrap();
    }
    fs::copy(checkout.join("tests/guest/init"), root.join("init")).unwrap();
    let archive = folder.path().join("root.cpio");
    let pack = format!("find . | cpio -o -H newc --quiet >'{}'", archive.display());
    let packed = tool("bash").args(["-o", "pipefail", "-c", &pack]).current_dir(&root).status();
    assert!(packed.unwrap().success());
    archive
}

/// The names of the tests that are for the machine.
fn names() -> Vec<String> {
    let list = output(Command::new(std::env::current_exe().unwrap()).args(["--list", "--ignored"]));
    let list = String::from_utf8(list.stdout).unwrap();
    list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[test]
fn gamepads_are_what_programs_take_them_for() {
    need_encoders();
    tool("cpio");
    let mut guest = Guest::start();
    guest.wait_daemon();
    let mut device = Device::knowing("127.0.0.1", guest.port);

    let answer = device.ask(&["pair", inside::PIN]);
    assert!(answer["ok"].is_string(), "{answer}");
    let words = ["--input", "--answer-rumble", "--seconds", "30", "--mode", "640x360x30"];
    let report = device.begin_stream(&words).report();
    let status = guest.wait("the end of the guest", |child| child.try_wait().unwrap());

    let log = guest.log();
    assert!(status.success() && log.contains("\nguest: exit status 0\n"), "{status} {report}");
    let names = names();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        let begin = format!("test {name} ");
        let is_passed = |line: &str| line.starts_with(&begin) && line.ends_with("... ok");
        assert!(log.lines().any(is_passed), "{name} did not run");
    }
    assert_eq!(report["error"], Value::Null, "{report}");
    let events = report["events"].as_array().unwrap();
    let told: Vec<_> = events.iter().map(|event| &event.as_array().unwrap()[1..]).collect();
    let expected = [
        [json!("motion"), json!(0), json!(1), json!(100)],
        [json!("motion"), json!(0), json!(2), json!(100)],
        [json!("rumble"), json!(0), json!(1000), json!(65535)],
        [json!("rumble"), json!(0), json!(0), json!(0)],
    ];
    let is_of_gamepads = |it: &&[Value]| it[0] == "motion" || it[0] == "rumble";
    let told: Vec<_> = told.into_iter().filter(is_of_gamepads).collect();
    assert_eq!(told, expected);
}
