//! A session's threads: pictures and sound in, datagrams out.
//!
//! ```text
//!   frame thread     capture -> convert -> encode --+
//!                                                   |  ring of access units, one per session
//!   packet thread    packetise -> fec -> seal -> pace -> udp
//!   sound thread     capture -> opus -> seal -> udp
//! ```
//!
//! The reactor orders, by a ring and a bell to each thread, and hears reports. Memory is taken when
//! a session begins. The threads do not log: they count, and the reactor reports.

#![forbid(unsafe_code)]

mod frame;
mod outbox;
mod packet;
mod rhythm;
mod sound;
mod stats;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::Waker;
use punktfunk_core::net::bell::Bell;
use punktfunk_core::net::thread as schedule;
use punktfunk_core::net::udp::UdpSocket;
use punktfunk_core::proto::packet::video::{FrameKind, VideoConfig};
use punktfunk_core::proto::units::FrameIndex;
use rtrb::{Consumer, Producer, RingBuffer};

pub use outbox::Order;
use outbox::Outbox;
pub use sound::SoundPlan;
pub use stats::{COUNTERS, Counter, Percentiles, STAGES, Stage, Stats};

use crate::audio::sink::Sinks;
use crate::capture::Memory;
use crate::display::{Displays, Wanted};
use crate::encode::{Plugins, Settings};
use crate::inject::wayland::Place;

/// Access units between the frame thread and the packet thread. One is being filled, one is sent,
/// one waits; when all are taken, the frame thread leaves pictures out until one comes back.
const UNIT_COUNT: usize = 3;
/// Reports that the reactor has not taken yet. A thread has one or two to give in its life.
const REPORT_COUNT: usize = 16;
/// Of the real-time priorities 1 to 99 a low one: kernel threads that serve us are above.
pub const PRIORITY: u8 = 10;
/// How often a real-time thread looks whether it is a burden.
const WATCH_TIME: Duration = Duration::from_secs(1);
/// The share of a processor, in percent, that a real-time thread may take for so long.
const WATCH_PERCENT: u32 = 90;

/// How a session's pictures and sound are to be.
#[derive(Debug)]
pub struct Plan {
    /// The number of the session.
    pub session: u32,
    /// The number of its run.
    pub run: u32,
    /// The display that pictures come from; without one they are made here.
    pub display: Option<Wanted>,
    /// In what pictures of a display are handed over.
    pub memory: Memory,
    /// The picture and how it is encoded.
    pub encoder: Settings,
    /// How access units become datagrams.
    pub video: VideoConfig,
    /// Bytes of an access unit that still has all of its parity.
    pub protected_len: u32,
    /// Whether the datagrams of a frame are spread over time.
    pub paces: bool,
    /// Over how much of the time between two frames, in percent.
    pub spread_percent: u8,
    /// Whether the kernel may be asked to cut datagrams.
    pub segments: bool,
    /// The class that routers are told.
    pub video_dscp: Option<u8>,
    /// The least time between two IDR frames.
    pub idr_interval_min: Duration,
    /// Sound, if there is any.
    pub sound: Option<SoundPlan>,
    /// Where the threads run.
    pub schedule: Schedule,
}

impl Plan {
    /// Bytes for an access unit: IDR frames are longer than others, whatever they should be.
    fn unit_len(&self) -> usize {
        let encoder = &self.encoder;
        let share = u64::from(encoder.bitrate_kbps) * 125_000 / u64::from(encoder.refresh_mhz);
        let picture_len = encoder.width as usize * encoder.height as usize / 2;
        (share as usize * 4).max(picture_len).max(64 * 1024)
    }
}

/// Where threads run, and before whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    /// The processors of the frame thread and of the packet thread; none where there are too few.
    pub processors: Option<[usize; 2]>,
    /// Whether they go before ordinary threads, as far as this process may.
    pub is_real_time: bool,
}

/// What the session hears of its threads.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// What ran in the session's display has ended: what was said last there.
    AppEnded(Option<String>),
    /// Pictures can be encoded, by this encoder.
    Ready(String),
    /// There is a display: which and why, and where input for it goes.
    Display(String, Place),
    /// In what pictures come, in words.
    Pictures(String),
    /// How datagrams are sent, and why so, in words.
    Sending(String),
    /// The first frame has left, so long after the order to send.
    FirstFrame(Duration),
    /// The encoder was lost and is there again: why, and after how long.
    Reopened(String, Duration),
    /// There will be no more pictures: why.
    Failed(String),
    /// Pictures are of another size, at which they can be encoded after so long.
    Resized(usize, usize, Duration),
    /// Sound is missing, or there again.
    Sound(String),
}

/// One encoded frame on its way to the packet thread.
#[derive(Debug)]
struct AccessUnit {
    index: FrameIndex,
    kind: FrameKind,
    captured: Instant,
    bytes: Vec<u8>,
}

/// A thread's way to the reactor.
struct Reports {
    ring: Producer<Report>,
    waker: Arc<Waker>,
}

impl Reports {
    /// Says something. What does not fit is lost: the reactor would have to be dead.
    fn push(&mut self, report: Report) {
        let _ = self.ring.push(report);
        // A waker can only fail where the reactor is gone.
        let _ = self.waker.wake();
    }
}

/// That a thread is at work. The reactor is told when it has given back all that it had: nothing
/// else may happen for a long time that would make the reactor look.
struct Presence {
    count: Arc<AtomicUsize>,
    waker: Arc<Waker>,
}

impl Presence {
    fn new(count: &Arc<AtomicUsize>, waker: &Arc<Waker>) -> Presence {
        count.fetch_add(1, Ordering::Relaxed);
        Presence { count: Arc::clone(count), waker: Arc::clone(waker) }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Release);
        // A waker can only fail where the reactor is gone.
        let _ = self.waker.wake();
    }
}

/// Something that takes its time, on a thread of its own, seen from the reactor.
#[derive(Debug)]
pub struct Aside {
    thread: Option<JoinHandle<()>>,
    present_count: Arc<AtomicUsize>,
}

impl Aside {
    /// Begins it. `waker` is woken when it is done.
    pub fn start(
        name: &str,
        waker: &Arc<Waker>,
        job: impl FnOnce() + Send + 'static,
    ) -> io::Result<Aside> {
        let present_count = Arc::new(AtomicUsize::new(0));
        let presence = Presence::new(&present_count, waker);
        let thread = Some(spawn(name.to_owned(), presence, job)?);
        Ok(Aside { thread, present_count })
    }

    /// Whether it is done.
    pub fn is_over(&mut self) -> bool {
        if self.present_count.load(Ordering::Acquire) > 0 {
            return false;
        }
        if let Some(thread) = self.thread.take() {
            // It has a few instructions left.
            let _ = thread.join();
        }
        true
    }
}

/// The threads of one session, seen from the reactor.
#[derive(Debug)]
pub struct Pipeline {
    run: u32,
    threads: Vec<JoinHandle<()>>,
    present_count: Arc<AtomicUsize>,
    is_stopped: Arc<AtomicBool>,
    bells: Vec<Arc<Bell>>,
    frame: Outbox,
    packet: Outbox,
    sound: Option<Outbox>,
    reports: Vec<Consumer<Report>>,
    stats: Arc<Stats>,
}

/// What the threads of all sessions share.
#[derive(Clone, Debug)]
pub struct Services {
    /// Displays of sessions.
    pub displays: Arc<Displays>,
    /// The encoders, once they are needed.
    pub plugins: Arc<Plugins>,
    /// What sessions have changed at the sound server.
    pub sinks: Arc<Mutex<Sinks>>,
}

/// The sockets that a session sends from, its own handles of them.
#[derive(Debug)]
pub struct Sockets {
    /// For pictures.
    pub video: UdpSocket,
    /// For sound.
    pub audio: UdpSocket,
}

impl Pipeline {
    /// Makes the threads. They prepare themselves and wait for [`Order::SendTo`].
    pub fn start(
        mut plan: Plan,
        services: &Services,
        sockets: Sockets,
        waker: &Arc<Waker>,
    ) -> io::Result<Pipeline> {
        let stats = Arc::new(Stats::default());
        let is_stopped = Arc::new(AtomicBool::new(false));
        let present_count = Arc::new(AtomicUsize::new(0));
        let presence = || Presence::new(&present_count, waker);
        let frame_bell = Arc::new(Bell::new()?);
        let packet_bell = Arc::new(Bell::new()?);
        let (frame, frame_orders) = Outbox::new(Arc::clone(&frame_bell));
        let (packet, packet_orders) = Outbox::new(Arc::clone(&packet_bell));
        let (mut reports, mut threads) = (Vec::new(), Vec::new());
        let mut make_reports = || {
            let (ring, consumer) = RingBuffer::new(REPORT_COUNT);
            reports.push(consumer);
            Reports { ring, waker: Arc::clone(waker) }
        };
        let (full, filled) = RingBuffer::new(UNIT_COUNT);
        let (mut empty, emptied) = RingBuffer::new(UNIT_COUNT);
        for _ in 0..UNIT_COUNT {
            // There is room for as many as there are.
            let _ = empty.push(AccessUnit::with_capacity(plan.unit_len()));
        }
        let (number, run) = (plan.session, plan.run);
        let name = |of: &str| format!("pf-{of}-{number}");
        let packet_thread = packet::Thread::new(
            &plan,
            sockets.video,
            packet::Ends { units: filled, empty, orders: packet_orders },
            Arc::clone(&packet_bell),
            Arc::clone(&stats),
            make_reports(),
            Arc::clone(&is_stopped),
        );
        let sound = match plan.sound.take() {
            None => None,
            Some(sound_plan) => {
                let bell = Arc::new(Bell::new()?);
                let (outbox, orders) = Outbox::new(bell);
                let thread = sound::Thread::new(
                    sound_plan,
                    Arc::clone(&services.sinks),
                    sockets.audio,
                    orders,
                    Arc::clone(&stats),
                    make_reports(),
                    Arc::clone(&is_stopped),
                );
                threads.push(spawn(name("sound"), presence(), move || thread.run())?);
                Some(outbox)
            }
        };
        let frame_thread = frame::Thread::new(
            plan,
            services.clone(),
            frame::Ends { units: full, empty: emptied, orders: frame_orders },
            [Arc::clone(&frame_bell), Arc::clone(&packet_bell)],
            Arc::clone(&stats),
            make_reports(),
            Arc::clone(&is_stopped),
        );
        let bells = vec![frame_bell, packet_bell];
        let mut pipeline = Pipeline {
            run,
            threads,
            present_count: Arc::clone(&present_count),
            is_stopped,
            bells,
            frame,
            packet,
            sound,
            reports,
            stats,
        };
        let packet = spawn(name("packet"), presence(), move || packet_thread.run())?;
        pipeline.threads.push(packet);
        let frame = spawn(name("frame"), presence(), move || frame_thread.run())?;
        pipeline.threads.push(frame);
        Ok(pipeline)
    }

    /// Tells the threads of pictures something.
    pub fn order(&mut self, order: Order) {
        match order {
            Order::Bitrate(_) | Order::SendTo(_) => {
                // The packet thread must know where to before there is anything to send.
                self.packet.push(order);
                self.frame.push(order);
            }
            order => self.frame.push(order),
        }
    }

    /// Tells the thread of sound where to send.
    pub fn send_sound_to(&mut self, order: Order) {
        if let Some(sound) = &mut self.sound {
            sound.push(order);
        }
    }

    /// Something that a thread had to say.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.iter_mut().find_map(|reports| reports.pop().ok())
    }

    /// The number of the run that it is of.
    pub fn run(&self) -> u32 {
        self.run
    }

    /// What the threads count.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Asks the threads to end. Does not wait for them.
    pub fn stop(&mut self) {
        self.is_stopped.store(true, Ordering::Release);
        for bell in &self.bells {
            bell.ring();
        }
    }

    /// Whether the threads have ended.
    pub fn is_over(&mut self) -> bool {
        if self.present_count.load(Ordering::Acquire) > 0 {
            return false;
        }
        // They have a few instructions left.
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        true
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.stop();
    }
}

impl AccessUnit {
    fn with_capacity(len: usize) -> AccessUnit {
        let (index, kind) = (FrameIndex(0), FrameKind::P);
        AccessUnit {
            index,
            kind,
            captured: punktfunk_core::net::clock::now(),
            bytes: Vec::with_capacity(len),
        }
    }
}

fn spawn(
    name: String,
    presence: Presence,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(move || {
        run();
        drop(presence);
    })
}

/// Keeps a real-time thread from taking the machine: one that does not rest becomes ordinary.
struct Watch {
    since: Instant,
    processor_time: Duration,
    is_real_time: bool,
}

impl Watch {
    /// Puts this thread where it belongs. What is not allowed is done without.
    fn begin(schedule: &Schedule, index: usize, now: Instant) -> Watch {
        schedule::sharpen_timers();
        if let Some(processors) = schedule.processors {
            let _ = schedule::pin(&[processors[index]]);
        }
        let is_real_time = schedule.is_real_time && schedule::set_real_time(Some(PRIORITY)).is_ok();
        Watch { since: now, processor_time: schedule::processor_time(), is_real_time }
    }

    /// Called with each frame.
    fn look(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if !self.is_real_time || passed < WATCH_TIME {
            return;
        }
        let had = schedule::processor_time();
        if (had - self.processor_time) * 100 > passed * WATCH_PERCENT {
            let _ = schedule::set_real_time(None);
            self.is_real_time = false;
        }
        (self.since, self.processor_time) = (now, had);
    }
}
