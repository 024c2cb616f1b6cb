//! The bounds of a host.

use std::time::Duration;

use crate::wire::{CHANNEL_COUNT_MAX, MTU_MAX, MTU_MIN, PEER_COUNT_MAX};

/// What a host grants its peers. Values beyond what the wire can say are taken as the nearest that
/// it can.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Peers at once, those included whose handshake is under way; 4095 at most.
    pub peer_count_max: u16,
    /// Channels that a peer is granted, 1 to 255. Moonlight wants 48.
    pub channel_count_max: u8,
    /// Bytes of a datagram, 576 to 4096; a peer that asks for less gets less.
    pub mtu: u16,
    /// Bytes of a message, in either direction.
    pub message_len_max: usize,
    /// Bytes held of one peer's messages that are incomplete or wait for an earlier one.
    pub held_len_max: usize,
    /// Bytes queued for one peer, sent and unacknowledged ones included.
    pub queue_len_max: usize,
    /// A peer that acknowledges nothing for so long is gone.
    pub timeout: Duration,
    /// A peer that has had nothing to acknowledge for so long is pinged.
    pub ping_interval: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            peer_count_max: 128,
            channel_count_max: 48,
            mtu: 900,
            message_len_max: 64 * 1024,
            held_len_max: 256 * 1024,
            queue_len_max: 256 * 1024,
            timeout: Duration::from_secs(10),
            ping_interval: Duration::from_millis(500),
        }
    }
}

impl Config {
    /// The same, with everything within what the wire can say.
    pub(crate) fn clamped(mut self) -> Config {
        self.peer_count_max = self.peer_count_max.min(PEER_COUNT_MAX);
        self.channel_count_max = self.channel_count_max.clamp(1, CHANNEL_COUNT_MAX);
        self.mtu = self.mtu.clamp(MTU_MIN, MTU_MAX);
        self
    }
}
