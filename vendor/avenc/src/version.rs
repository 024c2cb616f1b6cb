//! Everything that decides what can be encoded, as one text.

use std::ffi::CStr;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::ffmpeg;

/// Versions of the libraries and of the driver, and the nodes of graphics cards.
pub(crate) fn text() -> String {
    let mut text = format!(
        "avenc {}, {}, x264 {}",
        env!("CARGO_PKG_VERSION"),
        libavcodec(),
        crate::x264::BUILD,
    );
    machine(Path::new("/proc/driver/nvidia/version"), Path::new("/dev/dri"), &mut text);
    text
}

/// FFmpeg's version, or why it is not there.
fn libavcodec() -> String {
    if let Err(error) = ffmpeg::load() {
        return format!("no libavcodec ({error})");
    }
    // SAFETY: no arguments, a number.
    let version = unsafe { ffmpeg::avcodec_version() };
    // SAFETY: a string that ends and is the library's for ever.
    let build = unsafe { CStr::from_ptr(ffmpeg::av_version_info()) }.to_string_lossy();
    format!("libavcodec {}.{}.{} ({build})", version >> 16, version >> 8 & 0xff, version & 0xff)
}

/// Adds what the machine has.
fn machine(nvidia: &Path, dri: &Path, text: &mut String) {
    let version = fs::read_to_string(nvidia).unwrap_or_default();
    if let Some(line) = version.lines().next() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let _ = write!(text, ", {}", words.join(" "));
    }
    let mut nodes: Vec<String> = fs::read_dir(dri)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("card") || name.starts_with("renderD"))
        .collect();
    nodes.sort();
    for node in nodes {
        let _ = write!(text, ", {node}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_and_cards_are_part_of_it() {
        let folder = std::env::temp_dir().join(format!("avenc-version-{}", std::process::id()));
        fs::create_dir_all(folder.join("by-path")).unwrap();
        fs::write(folder.join("version"), "NVRM version:  NVIDIA  550.1\nGCC version: 12\n")
            .unwrap();
        fs::write(folder.join("renderD128"), "").unwrap();
        fs::write(folder.join("card0"), "").unwrap();

        let mut there = String::new();
        machine(&folder.join("version"), &folder, &mut there);
        let mut absent = String::new();
        machine(&folder.join("none"), &folder.join("none"), &mut absent);
        fs::remove_dir_all(&folder).unwrap();

        assert_eq!(there, ", NVRM version: NVIDIA 550.1, card0, renderD128");
        assert_eq!(absent, "");
    }
}
