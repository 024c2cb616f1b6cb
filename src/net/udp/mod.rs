//! UDP: a socket for many peers, bursts of datagrams to one of them and many datagrams at once from
//! all, and multicast of the link.

mod batch;
mod intake;
mod message;
mod multicast;
mod pacer;
mod socket;

pub use batch::{Batch, Sent, set_segment_len};
pub use intake::{Intake, Taken};
pub use multicast::{Datagram, MulticastSocket};
pub use pacer::{Choice, Departure, Pacer};
pub use socket::{Buffers, Path, Received, UdpSocket};
