//! Gamepads as programs see them, in a machine with a kernel of its own: no test makes devices on
//! the machine that it runs on.
//!
//! This program starts the machine, and is what runs in it.

#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/grants.rs"]
mod grants;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/inject/mod.rs"]
mod inject;
#[path = "guest/inside.rs"]
mod inside;
mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{Folder, output, tool};

/// Seconds that the machine may be up; it needs some ten.
const UP_S: &str = "100";

/// What scripts/setup fetched for the machine.
fn part(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.guest").join(name);
    assert!(path.is_file(), "{} is not there: run scripts/setup test", path.display());
    path
}

/// Lays the root of the machine into a folder: the shell, the modules, and this program with its
/// libraries.
fn lay_root(root: &Path) {
    for folder in ["bin", "dev", "modules", "proc", "sys", "tmp"] {
        fs::create_dir(root.join(folder)).unwrap();
    }
    let busybox = PathBuf::from("/bin/busybox");
    assert!(busybox.is_file(), "busybox is not there: run scripts/setup test");
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for name in ["echo", "insmod", "ip", "mount", "sh", "sleep", "sync"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    for name in ["evdev.ko", "joydev.ko", "uinput.ko"] {
        fs::copy(part(name), root.join("modules").join(name)).unwrap();
    }
    let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/init");
    fs::copy(init, root.join("init")).unwrap();
    let program = std::env::current_exe().unwrap();
    output(tool("strip").arg("-o").arg(root.join("tests")).arg(&program));
    let libraries = output(tool("ldd").arg(&program));
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    for path in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
}

/// The names of the tests that are for the machine.
fn names() -> Vec<String> {
    let list = output(Command::new(std::env::current_exe().unwrap()).args(["--list", "--ignored"]));
    let list = String::from_utf8(list.stdout).unwrap();
    list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[test]
fn gamepads_are_what_programs_take_them_for() {
    let folder = Folder::new();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    lay_root(&root);
    let archive = folder.path().join("root.cpio");
    let pack = format!("find . | cpio -o -H newc --quiet >{}", archive.display());
    assert!(tool("cpio").arg("--version").stdout(Stdio::null()).status().unwrap().success());
    output(Command::new("sh").arg("-c").arg(pack).current_dir(&root));

    let log = folder.path().join("log");
    let status = tool("timeout")
        .arg(UP_S)
        .arg(tool("qemu-system-x86_64").get_program())
        .args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1"])
        .args(["-m", "512", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-serial", "stdio", "-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
        .arg("-kernel")
        .arg(part("vmlinuz"))
        .arg("-initrd")
        .arg(&archive)
        .stdin(Stdio::null())
        .stdout(File::create(&log).unwrap())
        .status()
        .unwrap();

    let log = fs::read_to_string(log).unwrap().replace('\r', "");
    assert!(status.success() && log.contains("\nguest: exit status 0\n"), "{status}\n{log}");
    let names = names();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        let is_passed =
            |line: &str| line.starts_with(&format!("test {name} ")) && line.ends_with("... ok");
        assert!(log.lines().any(is_passed), "{name} did not run:\n{log}");
    }
}
