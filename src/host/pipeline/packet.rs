//! The packet thread: everything between the encoder and the wire.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use punktfunk_core::net::bell::Bell;
use punktfunk_core::net::clock;
use punktfunk_core::net::udp::{Batch, Pacer, Path, UdpSocket};
use punktfunk_core::proto::packet::pace::{Pace, Schedule};
use punktfunk_core::proto::packet::video::{Packetizer, Parity, Unit};
use punktfunk_core::proto::units::Ticks90k;
use rtrb::{Consumer, Producer};

use super::{AccessUnit, Counter, Order, Plan, Report, Reports, Stage, Stats, Watch};

/// How long a full socket is waited for before datagrams are dropped.
const SEND_WAIT_MAX: Duration = Duration::from_millis(5);

/// What is said when the kernel does not segment any more.
const SINGLY: &str = "the kernel refused to segment: datagrams are given to it one by one";

/// The rings of this thread.
pub struct Ends {
    /// Filled access units, from the frame thread.
    pub units: Consumer<AccessUnit>,
    /// Empty ones, back to it.
    pub empty: Producer<AccessUnit>,
    /// From the reactor.
    pub orders: Consumer<Order>,
}

/// See the module.
pub struct Thread {
    ends: Ends,
    bell: Arc<Bell>,
    stats: Arc<Stats>,
    reports: Reports,
    is_stopped: Arc<AtomicBool>,
    schedule: super::Schedule,
    plane: Plane,
    /// Where the client is, and since when that is known.
    path: Option<(Path, Instant)>,
    /// Where the 90 kHz clock begins.
    epoch: Instant,
    is_first_sent: bool,
}

/// What a frame falls through.
struct Plane {
    packetizer: Packetizer,
    pace: Option<Pace>,
    pacing: Pacing,
    pacer: Pacer,
    batch: Batch,
    socket: UdpSocket,
    dscp: Option<u8>,
}

/// What pacing follows from, but for the bitrate.
struct Pacing {
    interval: Duration,
    spread_percent: u8,
    parity_percent: u8,
}

impl Pacing {
    fn of(plan: &Plan) -> Pacing {
        Pacing {
            interval: Duration::from_nanos(1_000_000_000_000 / u64::from(plan.encoder.refresh_mhz)),
            spread_percent: plan.spread_percent,
            parity_percent: plan.video.parity_percent,
        }
    }

    /// The pace at a bitrate of the encoder.
    fn pace(&self, kbps: u32) -> Pace {
        let sent_kbps = u64::from(kbps) * (100 + u64::from(self.parity_percent)) / 100;
        let sent_kbps = sent_kbps.min(u32::MAX.into()) as u32;
        Pace::new(sent_kbps, self.interval, self.spread_percent)
    }
}

impl Plane {
    /// The kernel may pace where it segments: of single datagrams it keeps too few. Returns who does
    /// it, in words.
    fn look_at(&mut self, path: &Path) -> String {
        let may_kernel = self.pace.is_some() && self.batch.is_segmented();
        self.pacer = if may_kernel { Pacer::of(&self.socket, path) } else { Pacer::timers() };
        match (self.pace.is_some(), may_kernel) {
            (false, _) => "datagrams are not paced".to_owned(),
            (true, false) => "datagrams paced by timers, the kernel does not segment".to_owned(),
            (true, true) => format!("datagrams paced by {}", self.pacer.choice()),
        }
    }
}

impl Thread {
    pub fn new(
        plan: &Plan,
        socket: UdpSocket,
        ends: Ends,
        bell: Arc<Bell>,
        stats: Arc<Stats>,
        reports: Reports,
        is_stopped: Arc<AtomicBool>,
    ) -> Thread {
        let pacing = Pacing::of(plan);
        let mut batch = Batch::new(SEND_WAIT_MAX);
        batch.set_segmented(plan.segments);
        let plane = Plane {
            packetizer: Packetizer::new(&plan.video),
            pace: plan.paces.then(|| pacing.pace(plan.encoder.bitrate_kbps)),
            pacing,
            pacer: Pacer::timers(),
            batch,
            socket,
            dscp: plan.video_dscp,
        };
        Thread {
            ends,
            bell,
            stats,
            reports,
            is_stopped,
            schedule: plan.schedule.clone(),
            plane,
            path: None,
            epoch: clock::now(),
            is_first_sent: false,
        }
    }

    pub fn run(mut self) {
        let mut watch = Watch::begin(&self.schedule, 1, clock::now());
        while let Some(unit) = self.wait() {
            watch.look(unit.captured);
            if !unit.bytes.is_empty()
                && let Some((path, known)) = self.path
            {
                self.send(&unit, &path);
                if !self.is_first_sent {
                    self.is_first_sent = true;
                    self.reports.push(Report::FirstFrame(clock::now().duration_since(known)));
                }
            }
            // There is room for as many as there are.
            let _ = self.ends.empty.push(unit);
        }
    }

    /// The next access unit; `None` when it is over.
    fn wait(&mut self) -> Option<AccessUnit> {
        loop {
            if self.is_stopped.load(Ordering::Acquire) {
                return None;
            }
            while let Ok(order) = self.ends.orders.pop() {
                match order {
                    Order::Bitrate(kbps) => {
                        let Plane { pace, pacing, .. } = &mut self.plane;
                        *pace = pace.as_ref().map(|_| pacing.pace(kbps));
                    }
                    Order::SendTo(path) => {
                        let before = self.path.map(|_| self.plane.pacer);
                        let paced = self.plane.look_at(&path);
                        if before != Some(self.plane.pacer) {
                            self.reports.push(Report::Sending(paced));
                        }
                        let known = self.path.map_or_else(clock::now, |(_, known)| known);
                        self.path = Some((path, known));
                    }
                    Order::Invalidate(..) | Order::RequestIdr => {}
                }
            }
            if let Ok(unit) = self.ends.units.pop() {
                return Some(unit);
            }
            let (units, orders, is_stopped) =
                (&self.ends.units, &self.ends.orders, &self.is_stopped);
            let has_work =
                || !units.is_empty() || !orders.is_empty() || is_stopped.load(Ordering::Acquire);
            self.bell.sleep(has_work, None);
        }
    }

    /// Sends one frame, block by block, burst by burst.
    fn send(&mut self, unit: &AccessUnit, path: &Path) {
        let began = clock::now();
        let latency = began.saturating_duration_since(unit.captured);
        let captured = unit.captured.saturating_duration_since(self.epoch);
        let frame = Unit {
            index: unit.index,
            kind: unit.kind,
            timestamp: Ticks90k::from_duration(captured),
            latency_us: latency.as_micros().min(u128::from(u32::MAX)) as u32,
            bytes: &unit.bytes,
        };
        let plane = &mut self.plane;
        let was_segmented = plane.batch.is_segmented();
        let Ok(plan) = plane.packetizer.begin(&frame) else {
            self.stats.add(Counter::TooLong, 1);
            return;
        };
        match plan.parity {
            Parity::AsConfigured => {}
            Parity::Lowered(_) => self.stats.add(Counter::ParityLowered, 1),
            Parity::None => self.stats.add(Counter::ParityNone, 1),
        }
        let datagram_len = plane.packetizer.datagram_len();
        let bursts =
            plane.pace.as_ref().map(|pace| pace.schedule(plan.datagram_count, datagram_len));
        let burst_len = bursts.as_ref().map_or(usize::MAX, Schedule::burst_len);
        let (mut packetised, mut sent_time) = (Duration::ZERO, Duration::ZERO);
        let (mut sent_count, mut call_count, mut dropped_count) = (0, 0, 0);
        let mut mark = began;
        for index in 0..plan.block_count {
            let block = plane.packetizer.block(&frame, index);
            let made = clock::now();
            packetised += made - mark;
            mark = made;
            for burst in block.chunks(burst_len.saturating_mul(datagram_len)) {
                let mut departure = None;
                if let Some(bursts) = &bursts {
                    let planned = began + bursts.departure(sent_count + dropped_count);
                    if planned > mark {
                        departure = plane.pacer.wait(planned);
                        mark = clock::now();
                    }
                }
                let Plane { batch, socket, dscp, .. } = plane;
                let sent = batch.send_at(socket, path, burst, datagram_len, *dscp, departure);
                sent_count += sent.datagrams;
                dropped_count += sent.dropped;
                call_count += sent.calls;
                let now = clock::now();
                sent_time += now - mark;
                mark = now;
            }
        }
        if was_segmented && !plane.batch.is_segmented() {
            self.reports.push(Report::Sending(SINGLY.to_owned()));
        }
        self.stats.time(Stage::Packetise, packetised);
        self.stats.time(Stage::Send, sent_time);
        self.stats.time(Stage::Total, mark.saturating_duration_since(unit.captured));
        self.stats.add(Counter::Datagrams, sent_count as u64);
        self.stats.add(Counter::ParityDatagrams, plan.parity_count as u64);
        self.stats.add(Counter::SentBytes, (sent_count * datagram_len) as u64);
        self.stats.add(Counter::SendCalls, call_count as u64);
        self.stats.add(Counter::SendDropped, dropped_count as u64);
    }
}
