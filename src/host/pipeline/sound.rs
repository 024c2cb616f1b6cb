//! The sound thread: from the sound server, or the test tones, to datagrams.
//!
//! A packet leaves when its time is over. Numbers and times go on whatever happens: where there is
//! no sound, silence is sent.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use punktfunk_core::net::thread as schedule;
use punktfunk_core::net::udp::{Batch, Path, UdpSocket};
use punktfunk_core::proto::gamestream::rtsp::describe;
use punktfunk_core::proto::gamestream::secret::Secret;
use punktfunk_core::proto::packet::sound::{SoundConfig, SoundPacketizer};
use rtrb::Consumer;

use super::{Counter, Order, Report, Reports, Stats};
use crate::audio::opus::{Encoder, Layout, PACKET_LEN_MAX, sample_count};
use crate::audio::supply::Supply;

/// How long a full socket is waited for before a datagram is dropped.
const SEND_WAIT_MAX: Duration = Duration::from_millis(1);

/// How sound is to be.
#[derive(Debug)]
pub struct SoundPlan {
    /// The number of the session.
    pub session: u32,
    /// What the client is called.
    pub client_name: String,
    /// Tones, in place of what is played here.
    pub is_test: bool,
    /// 2, 6 or 8.
    pub channel_count: usize,
    /// At a high bitrate.
    pub is_high_quality: bool,
    /// A layout that the client brought.
    pub layout: Option<describe::Layout>,
    /// What a packet lasts, 5 or 10 ms.
    pub packet_time: Duration,
    /// What packets are encrypted under, where they are.
    pub key: Option<(Secret<16>, u32)>,
    /// The class that routers are told.
    pub dscp: Option<u8>,
    /// Whether what is played is heard at the host as well.
    pub is_heard_here: bool,
    /// The sink that is listened to, in place of one of our own.
    pub sink: Option<String>,
}

/// See the module.
pub struct Thread {
    plan: SoundPlan,
    socket: UdpSocket,
    orders: Consumer<Order>,
    stats: Arc<Stats>,
    reports: Reports,
    is_stopped: Arc<AtomicBool>,
}

impl SoundPlan {
    fn layout(&self) -> Layout {
        let is_fitting =
            |layout: &&describe::Layout| usize::from(layout.channel_count) == self.channel_count;
        match self.layout.as_ref().filter(is_fitting) {
            Some(layout) => Layout::custom(layout, self.is_high_quality),
            None => Layout::of(self.channel_count, self.is_high_quality),
        }
    }
}

impl Thread {
    pub fn new(
        plan: SoundPlan,
        socket: UdpSocket,
        orders: Consumer<Order>,
        stats: Arc<Stats>,
        reports: Reports,
        is_stopped: Arc<AtomicBool>,
    ) -> Thread {
        Thread { plan, socket, orders, stats, reports, is_stopped }
    }

    pub fn run(mut self) {
        schedule::sharpen_timers();
        let mut encoder = match Encoder::new(&self.plan.layout()) {
            Ok(encoder) => encoder,
            Err(error) => return self.reports.push(Report::Sound(format!("no sound: {error}"))),
        };
        let mut supply = Supply::open(&self.plan);
        let mut packetizer = SoundPacketizer::new(&SoundConfig {
            key: self.plan.key.take(),
            packet_ms: self.plan.packet_time.as_millis() as u32,
        });
        let mut samples = vec![0.0; sample_count(self.plan.channel_count, self.plan.packet_time)];
        let mut opus = vec![0; PACKET_LEN_MAX];
        let mut batch = Batch::new(SEND_WAIT_MAX);
        let mut path = None;
        while !self.is_stopped.load(Ordering::Acquire) {
            if !supply.read(&mut samples) {
                self.stats.add(Counter::SoundGaps, 1);
            }
            while let Some(news) = supply.poll_news() {
                self.reports.push(Report::Sound(news));
            }
            while let Ok(order) = self.orders.pop() {
                if let Order::SendTo(to) = order {
                    path = Some(to);
                }
            }
            let Ok(len) = encoder.encode(&samples, &mut opus) else {
                self.stats.add(Counter::SoundDropped, 1);
                continue;
            };
            if let Some(path) = &path {
                self.send(&mut packetizer, &mut batch, path, &opus[..len]);
            }
        }
    }

    fn send(&self, packetizer: &mut SoundPacketizer, batch: &mut Batch, path: &Path, opus: &[u8]) {
        let mut dropped = 0;
        let mut send = |bytes: &[u8]| {
            let sent = batch.send(&self.socket, path, bytes, bytes.len(), self.plan.dscp);
            dropped += sent.dropped as u64;
        };
        match packetizer.packet(opus) {
            Ok(datagram) => send(datagram),
            Err(_) => return self.stats.add(Counter::SoundDropped, 1),
        }
        for datagram in packetizer.parity().into_iter().flatten() {
            send(datagram);
        }
        self.stats.add(Counter::SoundPackets, 1);
        self.stats.add(Counter::SoundDropped, dropped);
    }
}
