//! An ENet 1.3 host without I/O: both ends of the protocol, wire-compatible with libenet 1.3.17 and
//! with the fork of it that Moonlight brings.
//!
//! ENet carries messages over UDP between peers, on up to 255 channels: reliable and in order,
//! unreliable but never late, or unsequenced. A [`Host`] is a value. It takes datagrams and the
//! time, gives datagrams and events, and says when it wants to be called next. It owns no socket,
//! asks no clock, draws no random numbers and calls nobody back.
//!
//! ```text
//!   socket ----> handle_datagram -->+------+--> poll_event -----> Connected, Message, Disconnected
//!                 |       |         |      |
//!               Knock   Stray       | Host |<-- send, disconnect
//!                 |       |         |      |
//!               admit  peer_moved ->|      |--> poll_datagram --> socket
//!   timer -----> handle_timeout --->+------+--> poll_timeout ---> timer
//! ```
//!
//! After every call that gives it something, the driver polls events and datagrams until there are
//! none left, then sets its timer.
//!
//! **Strangers cost nothing.** A CONNECT comes back from [`Host::handle_datagram`] as a [`Knock`], a
//! value that the host keeps no trace of. Handed to [`Host::admit`] it becomes a peer; dropped, it
//! was never there. A datagram of a peer from an address that is not the peer's comes back as
//! [`Outcome::Stray`], unprocessed: once the driver has authenticated a message in it
//! ([`wire::messages`]) it calls [`Host::peer_moved`] and hands the datagram in again.
//!
//! **Everything is bounded**, by [`Config`] and by constants beside what they bound: peers, channels,
//! bytes and messages held for a peer in either direction, fragments, acknowledgements, events. What
//! does not fit is not acknowledged, so that an honest peer sends it again.
//!
//! Not here: compression and checksums (neither Moonlight nor its hosts use them; a compressed
//! datagram is refused), the bandwidth limits and the packet throttle (the commands are read and
//! acknowledged, the values ignored).
//!
//! Top to bottom, as a datagram falls: [`wire`] turns bytes into commands and back; `host` finds the
//! peer; `peer` is the state machine of one connection; `inbox`, `channel` and `assembly` put
//! messages into order; `outbox` queues, sends and repeats them by the clock of `rtt`.

#![forbid(unsafe_code)]

mod assembly;
mod channel;
mod config;
mod event;
mod host;
mod inbox;
mod outbox;
mod peer;
mod rtt;
pub mod wire;

pub use config::Config;
pub use event::{Departure, Error, Event, Knock, Outcome, Path, PeerId, SendError};
pub use host::Host;
pub use outbox::Delivery;
pub use peer::Parting;
