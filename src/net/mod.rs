//! Drivers: sockets, clocks and the process, for either end. They carry bytes and know no message.

pub mod bell;
pub mod clock;
pub mod dmabuf;
pub mod holder;
pub mod library;
pub mod memfd;
pub mod netlink;
pub mod peer;
pub mod poll;
pub mod process;
pub mod qdisc;
pub mod shm;
mod sockaddr;
pub mod stream;
pub mod tcp;
pub mod thread;
pub mod tls;
pub mod udp;
pub mod uinput;

pub use netlink::Interface;
