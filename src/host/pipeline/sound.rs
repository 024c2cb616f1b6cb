//! The sound thread: from the sound server, or the test tones, to datagrams.
//!
//! A packet leaves when its time is over. Numbers and times go on whatever happens: where there is
//! no sound, silence is sent.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use punktfunk_core::net::thread as schedule;
use punktfunk_core::net::udp::{Batch, Path, UdpSocket};
use punktfunk_core::proto::gamestream::rtsp::describe;
use punktfunk_core::proto::gamestream::secret::Secret;
use punktfunk_core::proto::packet::sound::{SoundConfig, SoundPacketizer};
use rtrb::Consumer;

use super::{Counter, Order, Report, Reports, Stats};
use crate::audio::capture::Capture;
use crate::audio::metronome::Metronome;
use crate::audio::opus::{Encoder, Layout};
use crate::audio::sink::{self, Playback, Sinks};
use crate::audio::{Source, sample_count};
use crate::capture::tone::Tone;

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
    sinks: Arc<Mutex<Sinks>>,
    socket: UdpSocket,
    orders: Consumer<Order>,
    stats: Arc<Stats>,
    reports: Reports,
    is_stopped: Arc<AtomicBool>,
}

impl SoundPlan {
    /// `None` for a number of channels that no client has.
    fn opus_layout(&self) -> Option<Layout> {
        let count = self.channel_count as u8;
        let own = self.layout.filter(|layout| layout.channel_count == count);
        own.and_then(|layout| Layout::of_client(&layout, self.is_high_quality))
            .or_else(|| Layout::of(count, self.is_high_quality))
    }

    fn source(&self, sinks: Arc<Mutex<Sinks>>) -> Source {
        if self.is_test {
            return Source::Tone(Tone::new(self.channel_count), Metronome::new(self.packet_time));
        }
        let plan = match &self.sink {
            Some(sink) => sink::Plan::Existing(sink.clone()),
            None => sink::Plan::Own {
                client_name: self.client_name.clone(),
                channel_count: self.channel_count,
                playback: if self.is_heard_here { Playback::Both } else { Playback::Client },
            },
        };
        let (session, packet) = (self.session, self.packet_time);
        let capture = Capture::open(sinks, session, plan, self.channel_count, packet);
        Source::Capture(Box::new(capture))
    }
}

impl Thread {
    pub fn new(
        plan: SoundPlan,
        sinks: Arc<Mutex<Sinks>>,
        socket: UdpSocket,
        orders: Consumer<Order>,
        stats: Arc<Stats>,
        reports: Reports,
        is_stopped: Arc<AtomicBool>,
    ) -> Thread {
        Thread { plan, sinks, socket, orders, stats, reports, is_stopped }
    }

    pub fn run(mut self) {
        schedule::sharpen_timers();
        let Some(layout) = self.plan.opus_layout() else {
            return;
        };
        let mut encoder = match Encoder::new(&layout, self.plan.packet_time) {
            Ok(encoder) => encoder,
            Err(error) => return self.reports.push(Report::Sound(format!("no sound: {error}"))),
        };
        let mut source = self.plan.source(Arc::clone(&self.sinks));
        let mut packetizer = SoundPacketizer::new(&SoundConfig {
            key: self.plan.key.take(),
            packet_ms: self.plan.packet_time.as_millis() as u32,
        });
        let mut samples = vec![0.0; sample_count(self.plan.channel_count, self.plan.packet_time)];
        let mut opus = vec![0; encoder.packet_len()];
        let mut batch = Batch::new(SEND_WAIT_MAX);
        let mut path = None;
        while !self.is_stopped.load(Ordering::Acquire) {
            if !source.read(&mut samples) {
                self.stats.add(Counter::SoundGaps, 1);
            }
            while let Some(news) = source.poll_news() {
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
