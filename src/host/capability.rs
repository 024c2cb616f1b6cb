//! What this program and this machine can do, in words: `-V` and `-n`.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::path::Path;

use punktfunk_core::net::{netlink, process};

use crate::conf::{Conf, Environment};
use crate::encode::prober::{self, Prober};
use crate::listen::launch;
use crate::state::Directory;

/// What this program can do, for programs that talk to it.
pub const FEATURES: [&str; 3] = ["gamestream-pairing", "management", "mdns"];

/// Version, features and licence.
pub fn version() -> String {
    let (version, features) = (env!("CARGO_PKG_VERSION"), FEATURES.join(" "));
    format!("punktfunkd {version}\nfeatures: {features}\nlicence: MIT")
}

/// What a session on this machine could use. Looks, and changes nothing.
pub fn report(conf: &Conf, environment: &Environment) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<16}{value}");
    };
    let uid = process::uid();
    let user = process::user_by_uid(uid).ok().flatten();
    line("user", &user.map_or(format!("uid {uid}"), |user| format!("{} (uid {uid})", user.name)));
    line("state", &conf.state_directory.display().to_string());
    line("runtime", &conf.runtime_directory.display().to_string());
    match netlink::interfaces() {
        Err(error) => line("interfaces", &format!("unknown: {error}")),
        Ok(interfaces) => {
            for interface in interfaces.iter().filter(|it| it.up && !it.addresses.is_empty()) {
                let addresses: Vec<String> =
                    interface.addresses.iter().map(ToString::to_string).collect();
                line("interface", &format!("{}: {}", interface.name, addresses.join(" ")));
            }
        }
    }
    line("wayland", &wayland_sockets(environment));
    line("render nodes", &names_in("/dev/dri", "renderD"));
    line("nvidia", &names_in("/dev", "nvidia"));
    let uinput = OpenOptions::new().write(true).open("/dev/uinput");
    line("uinput", &uinput.map_or_else(|error| error.to_string(), |_| "writable".into()));
    let threads = std::thread::available_parallelism();
    line("processors", &threads.map_or("unknown".into(), |count| count.to_string()));
    for (name, needle) in [("real time", "Max realtime priority"), ("locked memory", "Max locked")]
    {
        line(name, &soft_limit(needle).unwrap_or_else(|| "unknown".into()));
    }
    for (name, value) in encoders(conf) {
        line(name, &value);
    }
    for (name, file) in [("send buffer", "wmem_max"), ("receive buffer", "rmem_max")] {
        let value = fs::read_to_string(Path::new("/proc/sys/net/core").join(file));
        line(
            name,
            &value.map_or("unknown".into(), |value| format!("{} bytes at most", value.trim())),
        );
    }
    text
}

/// What the state directory remembers of encoders.
fn encoders(conf: &Conf) -> Vec<(&'static str, String)> {
    let path = &conf.state_directory;
    // Opening one that is not there would make it.
    let known = match path.is_dir().then(|| Directory::open(path, conf.strict_modes)) {
        None => None,
        Some(Err(error)) => return vec![("encoders", format!("unknown: {error}"))],
        Some(Ok(directory)) => prober::load(&directory),
    };
    match known {
        None => vec![("encoders", "not probed yet".into())],
        known => Prober::new(known).report(&launch::directives(conf)),
    }
}

fn wayland_sockets(environment: &Environment) -> String {
    let Some(directory) = &environment.xdg_runtime_dir else {
        return "no XDG_RUNTIME_DIR".into();
    };
    names_in(directory, "wayland-")
}

fn names_in(directory: impl AsRef<Path>, prefix: &str) -> String {
    let mut names: Vec<String> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix) && !name.ends_with(".lock"))
        .collect();
    names.sort();
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

/// The soft limit of a line of /proc/self/limits, whose columns proc(5) gives.
pub fn soft_limit(name: &str) -> Option<String> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with(name))?;
    line.get(26..)?.split_whitespace().next().map(str::to_owned)
}
