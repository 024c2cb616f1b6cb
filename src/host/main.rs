//! punktfunkd: arguments, configuration, sockets, privileges; then the loop.

mod conf;
mod identity;
mod listen;
mod state;

fn main() {}
