//! What the crate promises of its own text.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn unsafe_code_is_only_in_the_kernels() {
    for (path, text) in sources() {
        let may = path.parent().unwrap().ends_with("kernels");
        let is_list = path.ends_with("src/lib.rs");

        assert!(may || is_list || text.contains("#![forbid(unsafe_code)]"), "{}", path.display());
    }
}

#[test]
fn nothing_but_the_standard_library_is_needed() {
    let manifest =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();

    assert!(!manifest.lines().any(|line| line.trim() == "[dependencies]"));
}

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let found: Vec<(PathBuf, String)> = [root.clone(), root.join("kernels")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    assert!(found.len() > 10);
    found
}
