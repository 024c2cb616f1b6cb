//! The layers of the tree, which the compiler alone does not keep.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder of src/, and what its code may not name.
const WALLS: &[(&str, &[&str])] = &[
    (
        "proto",
        &[
            "crate::net",
            "crate::client",
            "crate::abi",
            "libc::",
            "mio::",
            "rustls::",
            "std::env",
            "std::fs",
            "std::os",
            "std::process",
            "std::thread",
            "TcpListener",
            "TcpStream",
            "UdpSocket",
            "UnixDatagram",
            "UnixStream",
            "SystemTime",
            "Instant::now",
            "Mutex",
            "RwLock",
        ],
    ),
    ("net", &["crate::client", "crate::abi", "gamestream"]),
    ("abi", &["std::env", "std::fs", "std::process", "std::thread", "Instant::now"]),
];

/// Files, and folders of files, that may do without `#![forbid(unsafe_code)]`, because some of it is
/// system calls, devices, or the memory of callers in C.
const UNSAFE_PLACES: &[&str] =
    &["abi/exports.rs", "abi/memory.rs", "host/audio", "host/encode", "net"];

#[test]
fn nobody_names_what_stands_above() {
    let mut wrong = Vec::new();
    for (folder, forbidden) in WALLS {
        for (path, text) in sources(&root().join("src").join(folder)) {
            for (number, line) in code(&text) {
                let named = forbidden.iter().filter(|word| line.contains(**word));
                wrong.extend(named.map(|word| format!("{}:{number}: {word}", path.display())));
            }
        }
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_code_is_only_where_it_may_be() {
    for (path, text) in sources(&root().join("src")) {
        let relative = path.strip_prefix(root().join("src")).unwrap();
        let may = UNSAFE_PLACES.iter().any(|folder| relative.starts_with(folder));
        let has = code(&text).any(|(_, line)| {
            line.contains("unsafe {") || line.contains("unsafe impl") || line.contains("unsafe fn")
        });
        // What a program's first file forbids, no module of it could allow.
        let lint = if path.ends_with("host/main.rs") { "deny" } else { "forbid" };
        let forbids = text.contains(&format!("#![{lint}(unsafe_code)]"));
        let is_list = code(&text).all(|(_, line)| {
            let line = line.trim();
            line.is_empty()
                || ["mod ", "pub mod ", "pub use "].iter().any(|it| line.starts_with(it))
        });

        assert!(may || !has, "{} has unsafe code", relative.display());
        assert!(has || forbids || is_list, "{} does not forbid unsafe code", relative.display());
    }
}

#[test]
fn features_choose_targets_and_never_code() {
    for (path, text) in sources(&root().join("src")) {
        let chooses = code(&text)
            .any(|(_, line)| line.contains("cfg(feature") || line.contains("cfg(not(feature"));

        assert!(!chooses, "{} has a feature", path.display());
    }
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut section = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        }
        let is_dependency = section.ends_with("dependencies") && line.contains(" = ");
        assert!(!is_dependency || line.contains(" # "), "Cargo.toml: no word on {line}");
    }
}

#[test]
fn one_library_does_all_cryptography() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();

    for other in ["aws-lc", "openssl", "mbedtls"] {
        assert!(!lock.contains(&format!("name = \"{other}")), "{other} is in Cargo.lock");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder, which has to have some, but those that are tests.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "nothing below {}", folder.display());
    found
}

/// Lines that are no comments, with their numbers, up to the tests of the file.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}
