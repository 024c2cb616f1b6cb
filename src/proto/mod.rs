//! Protocols: bytes and instants in, bytes and events out. No socket, clock or thread.

pub mod calendar;
pub mod cert;
pub mod der;
pub mod gamestream;
pub mod hex;
pub mod histogram;
pub mod http;
pub mod input;
pub mod mdns;
pub mod packet;
pub mod query;
pub mod units;
pub mod xml;
