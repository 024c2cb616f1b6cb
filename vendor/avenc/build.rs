//! Finds libx264 and makes its interface from the header that is installed.

use std::path::PathBuf;

use bindgen::callbacks::{ItemInfo, ParseCallbacks};

/// Functions are named after the build of the library (`x264_encoder_open_164`), so that a program
/// cannot meet a library whose structs are others. The crate's own names go without; the linker's
/// stay.
#[derive(Debug)]
struct WithoutBuild;

impl ParseCallbacks for WithoutBuild {
    fn item_name(&self, item: ItemInfo<'_>) -> Option<String> {
        let (name, build) = item.name.rsplit_once('_')?;
        let is_build = !build.is_empty() && build.bytes().all(|byte| byte.is_ascii_digit());
        (name.starts_with("x264_encoder_") && is_build).then(|| name.to_owned())
    }
}

#[expect(clippy::disallowed_methods, reason = "how cargo says where to write")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // From 0.153 on one library encodes 8 and 10 bits.
    let x264 = pkg_config::Config::new()
        .atleast_version("0.153")
        .probe("x264")
        .expect("libx264 and its header, package libx264-dev");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("set by cargo"));
    bindgen::Builder::default()
        .header_contents("x264_all.h", "#include <stdint.h>\n#include <x264.h>\n")
        .clang_args(x264.include_paths.iter().map(|path| format!("-I{}", path.display())))
        .allowlist_function("x264_(encoder|param|picture)_.*")
        .allowlist_var("X264_(BUILD|CSP|KEYINT|LOG|RC|TYPE|WEIGHTP).*")
        .allowlist_type("x264_(param|picture|nal|image)_t|nal_unit_type_e")
        .parse_callbacks(Box::new(WithoutBuild))
        .derive_debug(false)
        .layout_tests(false)
        .generate()
        .expect("bindings of x264.h")
        .write_to_file(out.join("x264.rs"))
        .expect("a writable folder");
}
