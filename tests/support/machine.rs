//! A machine with a kernel and a graphics card of its own, in which a test program runs a second
//! time: its tests that are ignored elsewhere.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Folder, output, tool};

/// Seconds that the machine may be up; it needs some thirty.
const UP_S: &str = "240";
/// What the first program there is made of.
const TOOLS: [&str; 8] = ["chmod", "chroot", "insmod", "ip", "mkdir", "mount", "sh", "sleep"];

/// Runs the ignored tests of this program there. Each of them has to pass.
pub fn run_ignored() {
    let folder = Folder::new();
    let archive = lay_root(&folder);
    let log = folder.path().join("log");
    let status = tool("timeout")
        .arg(UP_S)
        .arg(tool("qemu-system-x86_64").get_program())
        .args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"])
        .args(["-m", "2048", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-device", "virtio-gpu-pci", "-serial", "stdio"])
        .args([
            "-virtfs",
            "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
        ])
        .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
        .arg("-kernel")
        .arg(part("vmlinuz"))
        .arg("-initrd")
        .arg(archive)
        .stdin(Stdio::null())
        .stdout(File::create(&log).unwrap())
        .status()
        .unwrap();

    let log = String::from_utf8_lossy(&fs::read(log).unwrap()).replace('\r', "");
    assert!(status.success() && log.contains("\nguest: exit status 0\n"), "{status}\n{log}");
    let names = ignored();
    assert!(!names.is_empty());
    for name in names {
        let passed = format!("test {name} ... ok");
        assert!(log.lines().any(|line| line.starts_with(&passed)), "{name} did not run:\n{log}");
    }
}

/// What scripts/setup has fetched for the machine.
fn part(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.guest").join(name);
    assert!(path.is_file(), "{} is not there: run scripts/setup test", path.display());
    path
}

/// Makes an archive of what the machine has at first.
fn lay_root(folder: &Folder) -> PathBuf {
    let root = folder.folder("root", 0o755);
    for name in ["bin", "dev", "host", "modules", "proc", "sys"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let busybox = Path::new("/bin/busybox");
    assert!(busybox.is_file(), "busybox is not there: run scripts/setup test");
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for name in TOOLS {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    let list = fs::read_to_string(part("list")).unwrap();
    for module in list.lines() {
        let name = format!("{}.ko", module.rsplit('/').next().unwrap());
        fs::copy(part(&name), root.join("modules").join(name)).unwrap();
    }
    fs::write(root.join("modules/list"), list).unwrap();
    let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/desktop-init");
    fs::copy(init, root.join("init")).unwrap();
    let program = std::env::current_exe().unwrap();
    fs::write(root.join("program"), format!("{}\n", program.display())).unwrap();
    let archive = folder.path().join("root.cpio");
    tool("cpio");
    let line = "find . | cpio -o -H newc --quiet >../root.cpio";
    let packed = output(Command::new("sh").args(["-c", line]).current_dir(root));
    assert!(packed.status.success(), "{packed:?}");
    archive
}

/// The names of the tests that are for the machine.
fn ignored() -> Vec<String> {
    let list = output(Command::new(std::env::current_exe().unwrap()).args(["--list", "--ignored"]));
    let list = String::from_utf8(list.stdout).unwrap();
    list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}
