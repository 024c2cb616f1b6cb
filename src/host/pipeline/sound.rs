//! The sound thread.
#![forbid(unsafe_code)]
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use punktfunk_core::net::udp::UdpSocket;
use punktfunk_core::proto::gamestream::rtsp::describe::Layout;
use punktfunk_core::proto::gamestream::secret::Secret;
use rtrb::Consumer;

use super::{Order, Reports, Stats};

/// How sound is to be.
#[derive(Debug)]
pub struct SoundPlan {
    pub session: u32,
    pub client_name: String,
    pub is_test: bool,
    pub channel_count: usize,
    pub is_high_quality: bool,
    pub layout: Option<Layout>,
    pub packet_time: Duration,
    pub key: Option<(Secret<16>, u32)>,
    pub dscp: Option<u8>,
    pub is_heard_here: bool,
    pub sink: Option<String>,
}
pub struct Thread {}
impl Thread {
    pub fn new(
        _plan: SoundPlan,
        _socket: UdpSocket,
        _orders: Consumer<Order>,
        _stats: Arc<Stats>,
        _reports: Reports,
        _is_stopped: Arc<AtomicBool>,
    ) -> Thread {
        Thread {}
    }
    pub fn run(self) {}
}
