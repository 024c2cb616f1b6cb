//! RTSP as GameStream speaks it: how a client that was let in by /launch agrees with the host on
//! its session.
//!
//! Seven requests, each on a TCP connection of its own that the host closes after its answer. A
//! `connection` takes the bytes of one of them, in the clear or sealed; the `handshake` of a
//! session takes what they brought, in turn. Which handshakes are pending, and whose a connection
//! may be, is the listener's.

pub mod announce;
pub mod connection;
pub mod describe;
pub mod handshake;
pub mod message;
pub mod sealed;
