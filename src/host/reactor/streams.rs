//! Sessions in the loop: their ports, their threads, and what was decided about them.

#![forbid(unsafe_code)]

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Token};

use punktfunk_core::net::process;
use punktfunk_core::proto::input::GamepadIndex;

use super::{Done, Reactor};
use crate::code::Code;
use crate::conf;
use crate::display::Told;
use crate::errand::Errands;
use crate::hooks::Event;
use crate::inhibit;
use crate::inject::devices::{self, Devices, Way};
use crate::inject::uinput::{self, Pad};
use crate::inject::wayland::Place;
use crate::listen::mgmt::Figures;
use crate::pipeline::{Aside, Counter, Order, Pipeline, Plan, STAGES, Sockets, Stats};
use crate::session::{Act, End, Media, Session};

/// Tokens of devices, one for each session. Sessions whose numbers share one are told of each other's
/// readiness, which does no harm.
pub(super) const FIRST_DEVICE: usize = 768;
const DEVICE_COUNT: usize = 256; // up to the tokens of connections

/// Where the system has no thread, one is wanted again after this time.
const CLOSE_INTERVAL: Duration = Duration::from_secs(1);

/// The threads of all sessions.
#[derive(Default)]
pub(super) struct Streams {
    /// By the number of their session.
    running: Vec<(u32, Pipeline)>,
    /// Told to end, and not through with it.
    ending: Vec<(u32, Pipeline)>,
    /// The numbers of runs that are over, and whose displays are not being closed yet.
    over: Vec<u32>,
    /// When that is tried again, where there was no thread for it.
    close_at: Option<Instant>,
    /// Displays that are being closed, by the number of their run.
    closing: Vec<(u32, Aside)>,
    /// Ends of sessions that are known when their threads and displays are through, and the numbers
    /// of their runs.
    partings: Vec<(Event, Box<Told>, u32)>,
    /// Devices for input that are being opened, by the number of their session.
    openings: Vec<(u32, Errands<Done>)>,
}

impl Streams {
    /// What the threads of each session have counted and measured.
    pub(super) fn figures(&self) -> Vec<(u32, Figures)> {
        let running = self.running.iter();
        running.map(|(id, pipeline)| (*id, Figures::of(pipeline.stats()))).collect()
    }

    /// Whether nobody has a thread any more.
    pub(super) fn is_idle(&self) -> bool {
        let has_threads = !self.running.is_empty() || !self.ending.is_empty();
        !has_threads && self.over.is_empty() && self.closing.is_empty()
    }

    /// When there is something to do that nobody else tells of.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.close_at
    }

    /// Devices that were opened, or could not be.
    pub(super) fn poll_opened(&self) -> Option<Done> {
        self.openings.iter().find_map(|(_, opening)| opening.poll())
    }

    /// The run of a session whose threads are told to end and are not through.
    fn ending_run(&self, id: u32) -> Option<u32> {
        let ending = self.ending.iter().find(|(other, _)| *other == id);
        ending.map(|(_, pipeline)| pipeline.run())
    }

    /// Whether a session has a thread, or the display of its run is being closed.
    fn is_parting(&self, id: u32, run: u32) -> bool {
        self.ending_run(id).is_some()
            || self.over.contains(&run)
            || self.closing.iter().any(|(other, _)| *other == run)
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut Pipeline> {
        self.running.iter_mut().find(|(other, _)| *other == id).map(|(_, pipeline)| pipeline)
    }
}

impl Reactor {
    /// Takes datagrams and reports, and does what follows from them.
    pub(super) fn turn_streams(&mut self, now: Instant) {
        if let Some(ports) = &mut self.parts.ports {
            ports.turn(&mut self.parts.daemon.sessions, now);
        }
        self.take_reports(now);
        let had_threads = !self.streams.is_idle();
        self.streams.ending.retain_mut(|(_, pipeline)| !pipeline.is_over());
        self.close_displays(now);
        self.streams.closing.retain_mut(|(_, aside)| !aside.is_over());
        self.streams.openings.retain(|(_, opening)| !opening.is_idle());
        if had_threads && self.streams.is_idle() {
            // What a session had is some megabytes, and the next may be long in coming.
            let job = || {
                process::release_memory();
                Done::Released
            };
            if let Err(error) = self.errands.give(job) {
                log::debug!("memory: kept: {error}");
            }
        }
        for (event, told, run) in std::mem::take(&mut self.streams.partings) {
            if self.streams.is_parting(told.session, run) {
                self.streams.partings.push((event, told, run));
            } else {
                self.run_hook(event, told, now);
            }
        }
        self.act(now);
    }

    /// Has the hook for what has happened run. A client is gone when its display is, if that goes
    /// with it.
    pub(super) fn run_hook(&mut self, event: Event, told: Box<Told>, now: Instant) {
        if let (Event::Disconnect(_), Some(run)) = (&event, self.streams.ending_run(told.session)) {
            return self.streams.partings.push((event, told, run));
        }
        let daemon = &mut self.parts.daemon;
        let setting = daemon.displays.plain_setting();
        if !self.hooks.handle(&event, &told, &daemon.conf, setting, now) {
            daemon.counters.hooks_left_out += 1;
        }
    }

    /// Ends what has waited too long.
    pub(super) fn expire_streams(&mut self, now: Instant) {
        self.parts.daemon.sessions.handle_timeout(now);
        for (_, devices) in self.parts.daemon.sessions.devices() {
            devices.handle_timeout(now);
        }
        if let Some(ports) = &mut self.parts.ports {
            ports.handle_timeout(&mut self.parts.daemon.sessions, now);
        }
        self.act(now);
    }

    /// Carries out what was decided about sessions, and sends what is owed to their clients.
    pub(super) fn act(&mut self, now: Instant) {
        while let Some(act) = self.parts.daemon.sessions.poll_act() {
            match act {
                Act::Close(run) => {
                    self.streams.over.push(run);
                    self.close_displays(now);
                }
                Act::LookAt(runs) => self.look_at(runs),
                Act::Order(id, order) => {
                    if let Some(pipeline) = self.streams.get_mut(id) {
                        pipeline.order(order);
                    }
                }
                Act::CloseDevices(devices) => self.close_devices(devices),
                Act::Gamepad(id, uinput::Act::Open(order)) => self.open_gamepad(id, order, now),
                Act::Gamepad(_, uinput::Act::Close(pad)) => self.close_gamepad(pad),
                Act::Hook(event, told) => self.run_hook(event, told, now),
                Act::OpenDevices(id, place) => self.open_devices(id, place, now),
                Act::Part(peer, parting) => {
                    if let Some(ports) = &mut self.parts.ports {
                        ports.part(peer, parting);
                    }
                }
                Act::Say(peer, bytes) => {
                    if let Some(ports) = &mut self.parts.ports {
                        ports.say(peer, &bytes);
                    }
                }
                Act::SoundTo(id, path) => {
                    if let Some(pipeline) = self.streams.get_mut(id) {
                        pipeline.send_sound_to(Order::SendTo(path));
                    }
                }
                Act::Start(id, plan) => self.start_stream(id, *plan, now),
                Act::Stop(id) => self.stop_stream(id),
            }
        }
        let is_streaming = !self.streams.running.is_empty();
        let wanted = if is_streaming { inhibit::wanted(&self.parts.daemon.conf) } else { &[] };
        self.inhibitor.set(wanted);
        if let Some(ports) = &mut self.parts.ports {
            ports.flush(now);
        }
    }

    fn start_stream(&mut self, id: u32, plan: Plan, now: Instant) {
        let path = self.parts.daemon.sessions.get(id).map(Session::path);
        let (Some(ports), Some(path)) = (&self.parts.ports, path) else {
            return;
        };
        let socket = |media| ports.socket(media, &path);
        let sockets = socket(Media::Video)
            .and_then(|video| Ok(Sockets { video, audio: socket(Media::Audio)? }));
        let started = sockets
            .and_then(|sockets| Pipeline::start(plan, &self.parts.services, sockets, &self.waker));
        match started {
            Ok(pipeline) => self.streams.running.push((id, pipeline)),
            Err(error) => {
                let end = End::NoPicture(format!("no threads for it: {error}"));
                self.parts.daemon.sessions.end(id, &end, now);
            }
        }
    }

    /// Has the displays closed of runs that are over, once no thread of theirs is left: a display
    /// may be at hand there still.
    fn close_displays(&mut self, now: Instant) {
        let Streams { running, ending, over, closing, close_at, .. } = &mut self.streams;
        if close_at.is_some_and(|at| now < at) {
            return;
        }
        *close_at = None;
        let is_left = |run: u32| {
            let runs = running.iter().map(|(_, pipeline)| pipeline.run());
            runs.chain(ending.iter().map(|(_, pipeline)| pipeline.run())).any(|other| other == run)
        };
        over.retain(|run| {
            if is_left(*run) {
                return true;
            }
            let (run, displays) = (*run, Arc::clone(&self.parts.services.displays));
            // What is asked to end may take its time, and others are not to wait for it.
            match Aside::start("display-close", &self.waker, move || displays.close(run)) {
                Ok(aside) => closing.push((run, aside)),
                Err(error) => {
                    log::warn!("app of run {run}: display not closed yet: {error}");
                    *close_at = Some(now + CLOSE_INTERVAL);
                    return true;
                }
            }
            false
        });
    }

    /// Has it found out which of the runs have ended by themselves, unless that waits to be done.
    fn look_at(&self, runs: Vec<u32>) {
        let displays = Arc::clone(&self.parts.services.displays);
        if self.desktops.waiting_count() > 0 {
            return;
        }
        if let Err(error) = self.desktops.give(move || Done::Ended(displays.ended(&runs))) {
            log::debug!("displays: not looked at: {error}");
        }
    }

    /// Has devices opened, which waits for their compositor, and nobody else's: for each session by a
    /// thread of its own, one after another.
    fn open_devices(&mut self, id: u32, place: Place, now: Instant) {
        let way = match self.parts.daemon.conf.input {
            conf::Input::Auto => Way::Auto,
            conf::Input::Compositor => Way::Compositor,
            conf::Input::Uinput => Way::Uinput,
        };
        let openings = &mut self.streams.openings;
        let index = openings.iter().position(|(other, _)| *other == id).unwrap_or_else(|| {
            openings.push((id, Errands::new(Arc::clone(&self.waker))));
            openings.len() - 1
        });
        let job = move || Done::Devices(id, Devices::open(&place, way));
        if let Err(error) = openings[index].1.give(job) {
            self.do_without_devices(id, &error.to_string(), true, now);
        }
    }

    /// Input of a session goes nowhere, for now or for good.
    fn do_without_devices(&mut self, id: u32, why: &str, may_pass: bool, now: Instant) {
        let is_news = self.parts.daemon.sessions.on_no_devices(id, may_pass, now);
        let level = if is_news { log::Level::Warn } else { log::Level::Debug };
        log::log!(level, "session {id}: no input: {why} [{}]", Code::Input);
    }

    /// Input of a session goes to these devices from now on.
    pub(super) fn attach(
        &mut self,
        id: u32,
        opened: Result<Devices, devices::Error>,
        now: Instant,
    ) {
        let devices = match opened {
            Ok(devices) => devices,
            Err(error) => {
                return self.do_without_devices(id, &error.to_string(), error.may_pass(), now);
            }
        };
        let Some(devices) = self.parts.daemon.sessions.attach(id, devices) else {
            return; // it is over
        };
        log::debug!("session {id}: input by {}", devices.name());
        if let Some(fd) = devices.fd() {
            let (registry, token) = (self.poll.registry(), device_token(id));
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Err(error) = registry.register(&mut SourceFd(&fd), token, interest) {
                log::warn!("session {id}: input is not watched: {error}");
            }
        }
        devices.handle_ready();
        self.parts.daemon.sessions.restore_devices();
    }

    /// Has devices closed, for which the kernel waits where they are its own.
    fn close_devices(&mut self, devices: Devices) {
        let job = move || {
            drop(devices);
            Done::Released
        };
        if let Err(error) = self.gamepads.give(job) {
            log::debug!("input: closed at once: {error}");
        }
    }

    /// Has a gamepad made, which takes the kernel milliseconds.
    fn open_gamepad(&mut self, id: u32, order: uinput::Order, now: Instant) {
        let index = order.index;
        let job = move || Done::Gamepad(id, index, Pad::open(&order).map(Box::new));
        if let Err(error) = self.gamepads.give(job) {
            self.attach_gamepad(id, index, Err(error.into()), now);
        }
    }

    /// Has a gamepad closed, for which the kernel waits until nobody can be reading from it.
    fn close_gamepad(&mut self, pad: Box<Pad>) {
        let fd = pad.as_raw_fd();
        if let Err(error) = self.poll.registry().deregister(&mut SourceFd(&fd)) {
            log::debug!("gamepad: was not watched: {error}");
        }
        let job = move || {
            drop(pad);
            Done::Released
        };
        if let Err(error) = self.gamepads.give(job) {
            log::debug!("gamepad: closed at once: {error}");
        }
    }

    /// A gamepad of a session is there, or will not be.
    pub(super) fn attach_gamepad(
        &mut self,
        id: u32,
        index: GamepadIndex,
        opened: Result<Box<Pad>, uinput::Error>,
        now: Instant,
    ) {
        let sessions = &mut self.parts.daemon.sessions;
        let Some(pad) = sessions.attach_gamepad(id, index, opened, now) else {
            return;
        };
        log::info!("session {id}: gamepad {} is a {}", index.value(), pad.model().name());
        let fd = pad.as_raw_fd();
        let watched =
            self.poll.registry().register(&mut SourceFd(&fd), device_token(id), Interest::READABLE);
        if let Err(error) = watched {
            log::warn!("session {id}: gamepad is not watched: {error}");
        }
    }

    /// Notes what mio reports of devices under that token.
    pub(super) fn note_devices(&mut self, token: Token, now: Instant) {
        let is_its = |id| device_token(id) == token;
        self.parts.daemon.sessions.handle_gamepads_ready(is_its, now);
        for (id, devices) in self.parts.daemon.sessions.devices() {
            if device_token(id) == token {
                devices.handle_ready();
            }
        }
        self.parts.daemon.sessions.restore_devices();
    }

    /// When devices want to be called next, if ever.
    pub(super) fn devices_timeout(&mut self) -> Option<Instant> {
        let devices = self.parts.daemon.sessions.devices();
        devices.filter_map(|(_, devices)| devices.poll_timeout()).min()
    }

    fn stop_stream(&mut self, id: u32) {
        let running = &mut self.streams.running;
        let Some(index) = running.iter().position(|(other, _)| *other == id) else {
            return;
        };
        let (_, mut pipeline) = running.swap_remove(index);
        pipeline.stop();
        log::info!("session {id}: {}", summary(pipeline.stats()));
        log::debug!("session {id}: {}", stages(pipeline.stats()));
        self.streams.ending.push((id, pipeline));
    }

    fn take_reports(&mut self, now: Instant) {
        let mut lines = Vec::new();
        for (id, pipeline) in &mut self.streams.running {
            while let Some(report) = pipeline.poll_report() {
                lines.push((*id, self.parts.daemon.sessions.handle_report(*id, report, now)));
            }
        }
        for (id, line) in lines {
            if let Some(line) = line {
                log::info!("session {id}: {line}");
            }
        }
    }
}

fn device_token(id: u32) -> Token {
    Token(FIRST_DEVICE + id as usize % DEVICE_COUNT)
}

/// What became of a stream, in one line.
fn summary(stats: &Stats) -> String {
    let count = |counter| stats.count(counter);
    let skipped = count(Counter::SkippedLate) + count(Counter::SkippedBehind);
    format!(
        "sent {} frames, {} of them IDR, {} healed; {skipped} left out; {} of {} datagrams not sent",
        count(Counter::Frames),
        count(Counter::Idrs),
        count(Counter::Healed),
        count(Counter::SendDropped),
        count(Counter::Datagrams) + count(Counter::SendDropped),
    )
}

/// How long the stages of a frame took, percentiles 50, 95 and 99 of each, in one line.
fn stages(stats: &Stats) -> String {
    let stage = |&(stage, name)| {
        let times = stats.percentiles(stage);
        format!("{name} {}/{}/{}", times.p50_us, times.p95_us, times.p99_us)
    };
    let stages: Vec<String> = STAGES.iter().map(stage).collect();
    format!("stages in us: {}", stages.join(", "))
}
