//! Plug-ins for tests, compiled from `stub.c` when they are needed.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

const HEADER: &str = include_str!("../../../vendor/avenc/include/avenc.h");
const SOURCE: &str = include_str!("stub.c");

/// Builds one in a folder, which misbehaves as `defines` say.
pub fn build(folder: &Path, defines: &[&str]) -> PathBuf {
    let defines: Vec<String> = defines.iter().map(|define| format!("-D{define}")).collect();
    let defines: Vec<&str> = defines.iter().map(String::as_str).collect();
    compile(folder, SOURCE, &defines)
}

/// Builds one that needs a library that is not there.
pub fn build_without_library(folder: &Path) -> PathBuf {
    let library =
        compile(folder, "int codec(void) { return 0; }", &["-Wl,-soname,libnosuchcodec.so.59"]);
    let library = library.to_str().expect("made of ASCII");
    compile(folder, SOURCE, &["-Wl,--no-as-needed", library])
}

/// Compiles what includes `avenc.h` to a library.
pub fn compile(folder: &Path, source: &str, arguments: &[&str]) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    // The loader takes files of one name for different ones only where their folders differ.
    let folder = folder.join(number.to_string());
    std::fs::create_dir(&folder).unwrap();
    let (file, library) = (folder.join("source.c"), folder.join("libavenc.so"));
    std::fs::write(&file, source).unwrap();
    std::fs::write(folder.join("avenc.h"), HEADER).unwrap();
    let mut command = Command::new("cc");
    command
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(&file)
        .args(arguments);
    let output = command.output().expect("cc is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    library
}
