//! UDP: a socket for many peers, bursts of datagrams to one of them, and multicast of the link.

mod batch;
mod message;
mod multicast;
mod socket;

pub use batch::{Batch, Sent};
pub use multicast::{Datagram, MulticastSocket};
pub use socket::{Path, Received, UdpSocket};
