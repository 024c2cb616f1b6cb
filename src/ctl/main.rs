//! punktfunkctl.
fn main() {}
