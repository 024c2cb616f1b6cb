//! The name by which programs look for the library when they start.

#![forbid(unsafe_code)]

fn main() {
    println!("cargo:rerun-if-changed=src/build.rs");
    // The number is ABI_VERSION of src/abi/exports.rs; a test compares them.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libpunktfunk_core.so.1");
}
