//! UDP sockets.

mod multicast;

pub use multicast::{Datagram, MulticastSocket};
