//! Who knocks.

mod mdns;
mod mgmt;
