#![no_main]

#[path = "../../parsers/mod.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::check("probe", bytes));
