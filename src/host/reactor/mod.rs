//! The loop: wait, take in what happened, give everyone a bounded turn, carry out what was
//! decided, expire timers.

#![forbid(unsafe_code)]

mod connection;
mod relay;
mod streams;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use punktfunk_core::net::Interface;
use punktfunk_core::net::clock;
use punktfunk_core::net::process::{self, Signal, Signals};
use punktfunk_core::proto::http;
use punktfunk_core::proto::input::GamepadIndex;
use rustls::ServerConfig;

use crate::audio::pactl::Server;
use crate::code::Code;
use crate::conf::{self, Conf};
use crate::daemon::{Daemon, Effect};
use crate::encode::abilities::Abilities;
use crate::encode::{probe, prober};
use crate::errand::Errands;
use crate::hooks::Hooks;
use crate::inhibit::Inhibitor;
use crate::inject::devices::{self, Devices};
use crate::inject::uinput::{self, Pad};
use crate::listen::mdns::Mdns;
use crate::listen::media::Ports;
use crate::listen::mgmt::{self, Engine, Facts, Post, front};
use crate::listen::table::{Connection, FIRST_TOKEN, Key, Plane, Pool, QUEUES, Table};
use crate::listen::{Door, gamestream};
use crate::notify::Notify;
use crate::pipeline::Services;
use crate::quota::Quota;
use crate::{apps, doctor, state, trust};
use streams::Streams;

const SIGNALS: Token = Token(0);
const WAKER: Token = Token(1);
const MDNS: [Token; 3] = [Token(2), Token(3), Token(4)];
const FIRST_DOOR: usize = 8; // up to FIRST_PORT
const FIRST_PORT: usize = 512; // up to streams::FIRST_DEVICE

/// The engine goes when nobody has asked it for so long.
const ENGINE_IDLE_TIME: Duration = Duration::from_secs(60);
/// Requests of the engine that wait for the reactor.
const POST_COUNT_MAX: usize = 16;
/// Errands that may wait before a picture: clients must not keep trust from being written.
const IMAGE_WAITING_COUNT_MAX: usize = 8;
/// Answers that are being made when the end comes have this long.
const STOP_TIME: Duration = Duration::from_millis(500);
/// Clients that stream then have this long to hear of it.
const STOP_TIME_STREAMING: Duration = Duration::from_secs(2);
/// Displays of sessions have this long to end their programs and to undo what was prepared for them,
/// and hooks to end.
/// The units of the service manager grant two seconds more.
const STOP_TIME_DISPLAYS: Duration = Duration::from_secs(8);

/// Makes the responder for a configuration, the addresses that are listened on, and the time.
pub type OpenMdns = Box<dyn Fn(&Conf, &[IpAddr], Instant) -> Option<Mdns>>;

/// What an errand brought.
pub enum Done {
    Conf(Box<Result<Conf, Vec<conf::Error>>>),
    Devices(u32, Result<Devices, devices::Error>),
    /// These runs have ended by themselves.
    Ended(Vec<u32>),
    Gamepad(u32, GamepadIndex, Result<Box<Pad>, uinput::Error>),
    Image(Key, io::Result<Vec<u8>>),
    Probed(Box<Result<Abilities, String>>),
    /// Memory of sessions was given back.
    Released,
    /// The machine was looked at, and whoever asked was told.
    Examined,
    /// What old sessions had changed is undone.
    Restored(Result<(), String>),
    /// Something was remembered that can be found out again.
    Stored(Result<(), String>),
    Written(Result<(), String>),
}

/// What the loop is made of that `main` has to make.
pub struct Parts {
    pub daemon: Daemon,
    pub doors: Vec<Door>,
    /// The ports of sessions, unless GameStream is off.
    pub ports: Option<Ports>,
    /// What the threads of sessions share.
    pub services: Services,
    /// How children are started that find out what can be encoded.
    pub prober: probe::Program,
    /// As many as this process may have.
    pub descriptor_count: usize,
    /// Whose sound is streamed.
    pub sound_server: Server,
    /// The environment of this process.
    pub variables: Vec<(OsString, OsString)>,
    pub directory: Arc<state::Directory>,
    pub tls: Arc<ServerConfig>,
    pub token: Option<front::Token>,
    pub signals: Signals,
    pub notify: Notify,
    /// Where the engine of the management API listens.
    pub engine_path: PathBuf,
    pub mdns: Option<Mdns>,
    /// Reads the configuration again; runs off the reactor.
    pub load: Arc<dyn Fn() -> Result<Conf, Vec<conf::Error>> + Send + Sync>,
    /// Makes the responder anew when the configuration asks for it.
    pub open_mdns: OpenMdns,
    /// Log levels and format of the command line over those of the configuration.
    pub configure_log: Box<dyn Fn(&Conf)>,
    /// Keeps other instances off the state directory.
    pub _lock: state::Lock,
}

/// What the responder was made for; while this stays, so does it.
#[derive(PartialEq)]
struct Announced {
    is_on: bool,
    host_name: String,
    interfaces: Vec<String>,
}

impl Announced {
    fn of(conf: &Conf) -> Announced {
        Announced {
            is_on: conf.mdns,
            host_name: conf.host_name.clone(),
            interfaces: conf.mdns_interfaces.clone(),
        }
    }
}

/// See the module.
pub struct Reactor {
    poll: Poll,
    waker: Arc<Waker>,
    parts: Parts,
    table: Table,
    streams: Streams,
    errands: Errands<Done>,
    /// Probes of encoders: drivers may hang, and nothing else is to wait for them.
    probes: Errands<Done>,
    /// Displays that nobody looks at, and what was left at desktops and at the sound server: these may
    /// hang as well, and what undoes something takes its time.
    desktops: Errands<Done>,
    hooks: Hooks,
    inhibitor: Inhibitor,
    /// What `punktfunkctl doctor` asks for, which takes seconds where something hangs.
    examinations: Errands<Done>,
    /// Gamepads that are made and closed, which waits for the kernel alone.
    gamepads: Errands<Done>,
    announced: Announced,
    posts: Receiver<Post>,
    post_sender: SyncSender<Post>,
    engine: Option<(Engine, Instant)>,
    interfaces: Option<(Instant, Vec<Interface>)>,
    next_alive: Option<Instant>,
    /// When the daemon ends, whatever is still under way.
    stop_at: Option<Instant>,
    /// The same while threads or hooks of sessions are there.
    stop_streams_at: Option<Instant>,
    /// Lines about connections that could not be taken.
    exhausted_lines: Quota,
    /// Lines about clients that may not connect from where they are.
    refused_lines: Quota,
    /// Lines about pictures that cannot be read.
    image_lines: Quota,
    /// Lines about callers of the management API without the token.
    unauthorised_lines: Quota,
}

impl Reactor {
    /// Watches everything that is to be watched.
    pub fn new(mut parts: Parts) -> io::Result<Reactor> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        let waker = Arc::new(Waker::new(registry, WAKER)?);
        let fd = parts.signals.as_raw_fd();
        registry.register(&mut SourceFd(&fd), SIGNALS, Interest::READABLE)?;
        for (index, door) in parts.doors.iter_mut().enumerate() {
            door.register(registry, Token(FIRST_DOOR + index))?;
        }
        if let Some(ports) = &parts.ports {
            ports.register(registry, Token(FIRST_PORT))?;
        }
        if let Some(mdns) = &mut parts.mdns {
            mdns.register(registry, MDNS)?;
        }
        let (post_sender, posts) = sync_channel(POST_COUNT_MAX);
        Ok(Reactor {
            errands: Errands::new(Arc::clone(&waker)),
            probes: Errands::new(Arc::clone(&waker)),
            desktops: Errands::new(Arc::clone(&waker)),
            hooks: Hooks::new(Arc::clone(&waker)),
            inhibitor: Inhibitor::new(parts.services.displays.plain_setting().clone()),
            examinations: Errands::new(Arc::clone(&waker)),
            gamepads: Errands::new(Arc::clone(&waker)),
            waker,
            table: Table::default(),
            streams: Streams::default(),
            announced: Announced::of(&parts.daemon.conf),
            posts,
            post_sender,
            engine: None,
            interfaces: None,
            next_alive: None,
            stop_at: None,
            stop_streams_at: None,
            exhausted_lines: Quota::default(),
            image_lines: Quota::default(),
            refused_lines: Quota::default(),
            unauthorised_lines: Quota::default(),
            poll,
            parts,
        })
    }

    /// Runs until the daemon is told to stop.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        self.warn_of_descriptors();
        self.parts.notify.ready(&self.status());
        self.next_alive = self.parts.notify.alive_interval().map(|time| clock::now() + time);
        self.probe_encoders();
        self.restore_sound();
        self.restore_displays();
        while !self.is_over(clock::now()) {
            let timeout = self.timeout(clock::now());
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let now = clock::now();
            for event in &events {
                self.handle_event(event.token(), event.is_readable(), event.is_writable(), now);
            }
            self.turn(now);
            self.expire(now);
            self.carry_out(now);
            self.act(now);
        }
        self.say_goodbye();
        Ok(())
    }

    fn handle_event(&mut self, token: Token, readable: bool, writable: bool, now: Instant) {
        match token {
            SIGNALS => {
                while let Some(signal) = self.parts.signals.poll() {
                    self.on_signal(signal, now);
                }
            }
            WAKER => {} // errands and posts are asked each turn
            token if MDNS.contains(&token) => {
                if let Some(mdns) = &mut self.parts.mdns {
                    mdns.note_ready(token);
                }
            }
            token if (streams::FIRST_DEVICE..FIRST_TOKEN).contains(&token.0) => {
                self.note_devices(token, now);
            }
            Token(index) if (FIRST_PORT..FIRST_TOKEN).contains(&index) => {
                if let Some(ports) = &mut self.parts.ports {
                    ports.note_ready(index - FIRST_PORT);
                }
            }
            Token(index) if index < FIRST_PORT => {
                let door = index.checked_sub(FIRST_DOOR);
                if let Some(door) = door.and_then(|index| self.parts.doors.get_mut(index)) {
                    door.handle_ready();
                }
            }
            token => self.table.handle_ready(token, readable, writable),
        }
    }

    /// One bounded turn for everyone.
    fn turn(&mut self, now: Instant) {
        while let Some(done) = self.poll_done() {
            self.on_done(done, now);
        }
        while let Ok(post) = self.posts.try_recv() {
            let facts = self.facts();
            self.parts.daemon.handle_post(post, &facts, now);
        }
        self.probe_encoders();
        for index in 0..self.parts.doors.len() {
            for accepted in self.parts.doors[index].poll_turn(now) {
                self.on_accepted(accepted, now);
            }
        }
        for queue in QUEUES {
            self.serve_queue(queue, now);
        }
        if let Some(mdns) = &mut self.parts.mdns {
            mdns.turn(now);
        }
        self.turn_streams(now);
    }

    /// Does what was decided. What that leads to is decided and done as well.
    fn carry_out(&mut self, now: Instant) {
        while let Some(effect) = self.parts.daemon.poll_effect() {
            match effect {
                Effect::Answer(key, bytes) => self.answer(key, &bytes, now),
                Effect::Configured => self.on_configured(now),
                Effect::Cut(fingerprint) => {
                    let is_its = |connection: &Connection| {
                        let client = connection.client.as_ref();
                        client.is_some_and(|client| client.fingerprint() == fingerprint)
                    };
                    for key in self.table.keys(is_its) {
                        self.remove(key, now);
                    }
                }
                Effect::Examine(reply) => self.examine(reply),
                Effect::Hook(event, told) => self.run_hook(event, told, now),
                Effect::LoadConf => {
                    let load = Arc::clone(&self.parts.load);
                    if let Err(error) = self.errands.give(move || Done::Conf(Box::new(load()))) {
                        let errors = vec![conf::Error::system("configuration", &error)];
                        self.parts.daemon.handle_conf(Err(errors));
                    }
                }
                Effect::ReadImage(key, _)
                    if self.errands.waiting_count() >= IMAGE_WAITING_COUNT_MAX =>
                {
                    self.answer(key, &gamestream::not_found(), now);
                }
                Effect::ReadImage(key, path) => {
                    let job = move || Done::Image(key, apps::read_image(&path));
                    if let Err(error) = self.errands.give(job) {
                        self.on_done(Done::Image(key, Err(error)), now);
                    }
                }
                Effect::WriteClients(bytes) => {
                    let directory = Arc::clone(&self.parts.directory);
                    let job = move || {
                        let written = directory.write(trust::FILE, &bytes);
                        Done::Written(written.map_err(|error| error.to_string()))
                    };
                    if let Err(error) = self.errands.give(job) {
                        self.parts.daemon.handle_written(Err(error.to_string()), now);
                    }
                }
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        self.parts.daemon.handle_timeout(now);
        self.expire_streams(now);
        for key in self.table.expired(now) {
            self.on_expired(key, now);
        }
        if self.next_alive.is_some_and(|at| at <= now) {
            self.parts.notify.alive();
            self.next_alive = self.parts.notify.alive_interval().map(|time| now + time);
        }
        let is_unused = |(_, used): &(Engine, Instant)| now >= *used + ENGINE_IDLE_TIME;
        if self.engine.as_ref().is_some_and(is_unused)
            && let Some((engine, _)) = self.engine.take()
        {
            engine.stop();
        }
    }

    fn timeout(&mut self, now: Instant) -> Option<Duration> {
        let has_work = self.table.has_work()
            || self.parts.doors.iter().any(|door| door.has_work(now))
            || self.parts.ports.as_ref().is_some_and(Ports::has_work)
            || self.parts.mdns.as_ref().is_some_and(Mdns::has_work);
        if has_work {
            return Some(Duration::ZERO);
        }
        let devices = self.devices_timeout();
        let doors = self.parts.doors.iter().filter_map(Door::poll_timeout);
        let engine = self.engine.as_ref().map(|(_, used)| *used + ENGINE_IDLE_TIME);
        let mdns = self.parts.mdns.as_ref().and_then(Mdns::poll_timeout);
        doors
            .chain(self.table.poll_timeout())
            .chain(self.parts.daemon.poll_timeout())
            .chain(devices)
            .chain(self.streams.poll_timeout())
            .chain(self.parts.daemon.sessions.poll_timeout())
            .chain(self.parts.ports.as_ref().and_then(Ports::poll_timeout))
            .chain(mdns)
            .chain(engine)
            .chain(self.next_alive)
            .chain(self.stop_by())
            .min()
            .map(|deadline| deadline.saturating_duration_since(now))
    }

    fn on_signal(&mut self, signal: Signal, now: Instant) {
        match signal {
            Signal::Dump => {
                for line in self.parts.daemon.dump(now) {
                    ::log::info!("{line}");
                }
                let count = |pool| self.table.count(pool);
                ::log::info!(
                    "state: {} connections from the network, {} local, {} local over TCP",
                    count(Pool::Network),
                    count(Pool::Local),
                    count(Pool::Api),
                );
            }
            Signal::Reload => self.parts.daemon.reload(None),
            // Logs go to standard error; there is no file to open again.
            Signal::Reopen => ::log::debug!("signal: USR2 has no meaning here"),
            Signal::Stop if self.stop_at.is_none() => {
                ::log::info!("stopping");
                self.parts.notify.stopping();
                let is_streaming =
                    !self.streams.is_idle() || !self.parts.daemon.sessions.runs().is_empty();
                self.parts.daemon.stop(now);
                self.parts.doors.clear();
                self.stop_at =
                    Some(now + if is_streaming { STOP_TIME_STREAMING } else { STOP_TIME });
                self.stop_streams_at = Some(now + STOP_TIME_DISPLAYS);
                if let Some(mdns) = &mut self.parts.mdns {
                    mdns.close(now);
                }
            }
            Signal::Stop => (self.stop_at, self.stop_streams_at) = (Some(now), Some(now)),
        }
    }

    /// When the daemon ends, as things are.
    fn stop_by(&self) -> Option<Instant> {
        let is_idle = self.streams.is_idle() && self.hooks.is_idle();
        if is_idle { self.stop_at } else { self.stop_streams_at }
    }

    /// Whether the end has come: all that was begun is done, or there is no more time for it.
    fn is_over(&self, now: Instant) -> bool {
        self.stop_by().is_some_and(|stop_at| {
            let is_answered = self.table.keys(Connection::owes).is_empty();
            let has_left = self.parts.ports.as_ref().is_none_or(Ports::is_idle);
            let is_idle = is_answered
                && has_left
                && self.streams.is_idle()
                && self.hooks.is_idle()
                && self.parts.daemon.is_idle()
                && self.errands.is_idle();
            is_idle || stop_at <= now
        })
    }

    fn say_goodbye(self) {
        if self.engine.is_some() {
            // Its thread may wait for an answer still, and ends with the process.
            let _ = fs::remove_file(&self.parts.engine_path);
        }
        ::log::info!("stopped");
    }

    fn poll_done(&self) -> Option<Done> {
        let all = [&self.errands, &self.probes, &self.desktops, &self.examinations, &self.gamepads];
        all.into_iter().find_map(Errands::poll).or_else(|| self.streams.poll_opened())
    }

    fn on_done(&mut self, done: Done, now: Instant) {
        match done {
            Done::Devices(id, opened) => self.attach(id, opened, now),
            Done::Ended(runs) => self.parts.daemon.sessions.on_runs_ended(&runs),
            Done::Gamepad(id, index, opened) => self.attach_gamepad(id, index, opened, now),
            Done::Conf(loaded) => self.parts.daemon.handle_conf(*loaded),
            Done::Image(key, Ok(bytes)) => {
                let answer = http::respond(200, apps::image_type(&bytes), &[], &bytes);
                self.answer(key, &answer, now);
            }
            Done::Image(key, Err(error)) => {
                let level = self.image_lines.level(::log::Level::Warn, now);
                ::log::log!(level, "box art: {error}");
                self.answer(key, &gamestream::not_found(), now);
            }
            Done::Probed(probed) => self.on_probed(*probed),
            Done::Examined | Done::Released | Done::Restored(Ok(())) | Done::Stored(Ok(())) => {}
            Done::Restored(Err(why)) => {
                ::log::warn!("sound: sinks of old sessions stay: {why} [{}]", Code::LeftOvers);
            }
            Done::Stored(Err(why)) => ::log::warn!("encoders: not remembered: {why}"),
            Done::Written(written) => {
                self.parts.daemon.handle_written(written, now);
                self.parts.notify.status(&self.status());
            }
        }
    }

    /// Has it found out what can be encoded, where somebody wants to know.
    fn probe_encoders(&mut self) {
        if self.stop_at.is_some() || !self.parts.daemon.prober.poll_probe() {
            return;
        }
        let plugins = Arc::clone(&self.parts.services.plugins);
        let program = self.parts.prober.clone();
        let cached = self.parts.daemon.prober.cached().cloned();
        let job = move || {
            let plugin = plugins.find().map_err(|error| error.to_string());
            Done::Probed(Box::new(plugin.and_then(|it| probe::run(&program, &it, cached.as_ref()))))
        };
        if let Err(error) = self.probes.give(job) {
            self.on_probed(Err(error.to_string()));
        }
    }

    /// Has the machine looked at for whoever asks, one after another.
    fn examine(&mut self, reply: SyncSender<mgmt::Answer>) {
        if self.examinations.waiting_count() > 0 {
            // Whoever asked may have gone.
            let _ = reply.try_send(Err(mgmt::Refusal::busy()));
            return;
        }
        let daemon = &self.parts.daemon;
        let ports = self.parts.ports.iter().flat_map(Ports::addresses);
        let ports = ports.map(|(name, address)| (name.to_owned(), format!("{address}/udp")));
        let doors = self.parts.doors.iter().filter(|door| door.plane != Plane::Control);
        let doors = doors.map(|door| (door.plane.to_string(), door.address.clone()));
        let choice = daemon.choice();
        let announced = self.parts.mdns.as_ref();
        let running = doctor::Running {
            displays: Arc::clone(&self.parts.services.displays),
            sound_server: self.parts.sound_server.clone(),
            is_probed: daemon.prober.abilities().is_some(),
            choice,
            listen: doors.chain(ports).collect(),
            announced: announced.map(|it| (it.instance().to_owned(), it.interfaces())),
            has_sessions: !daemon.sessions.all().is_empty()
                || !daemon.sessions.runs().is_empty()
                || !self.streams.is_idle(),
        };
        let (conf, load) = (daemon.conf.clone(), Arc::clone(&self.parts.load));
        let variables = self.parts.variables.clone();
        let subject =
            doctor::Subject { conf: conf.clone(), load, variables, running: Some(running) };
        let job = move || {
            let report = doctor::report(&doctor::examine(subject), Some(&conf));
            let _ = reply.try_send(Ok(mgmt::route::Report(report)));
            process::release_memory();
            Done::Examined
        };
        // An error drops the reply, which is an answer too.
        if let Err(error) = self.examinations.give(job) {
            ::log::warn!("doctor: no thread for it: {error}");
        }
    }

    /// Has undone what displays of a process before this one have left.
    fn restore_displays(&self) {
        let displays = Arc::clone(&self.parts.services.displays);
        let job = move || {
            for line in displays.restore() {
                ::log::info!("displays: {line}");
            }
            Done::Released
        };
        if let Err(error) = self.desktops.give(job) {
            ::log::warn!("displays: those of old sessions stay: {error} [{}]", Code::LeftOvers);
        }
    }

    /// Has undone at the sound server what a process before this one could not.
    fn restore_sound(&self) {
        let sinks = Arc::clone(&self.parts.services.sinks);
        let job = move || {
            let restored =
                sinks.lock().unwrap_or_else(PoisonError::into_inner).restore_from_journal();
            Done::Restored(restored.map_err(|error| error.to_string()))
        };
        if let Err(error) = self.desktops.give(job) {
            ::log::warn!("sound: sinks of old sessions stay: {error} [{}]", Code::LeftOvers);
        }
    }

    fn on_probed(&mut self, probed: Result<Abilities, String>) {
        let daemon = &mut self.parts.daemon;
        if let Some(abilities) = daemon.prober.handle_probed(probed).cloned() {
            let directory = Arc::clone(&self.parts.directory);
            let job = move || {
                let stored = prober::store(&directory, &abilities);
                Done::Stored(stored.map_err(|error| error.to_string()))
            };
            if let Err(error) = self.errands.give(job) {
                ::log::warn!("encoders: not remembered: {error}");
            }
        }
        let choice = daemon.choice();
        // Software where the machine has nothing else is as it should be.
        let is_named = daemon.encoder_directives().encoder.is_some();
        for served in choice.codecs() {
            let is_poorer = is_named && served.by.is_none_or(|service| service.is_fallback);
            if is_poorer {
                ::log::warn!("encoders: {served} [{}]", Code::EncoderHardware);
            } else {
                ::log::info!("encoders: {served}");
            }
        }
        if choice.refusal().is_some() {
            ::log::warn!("encoders: none, so there will be no session [{}]", Code::Encoders);
        }
    }

    fn on_configured(&mut self, now: Instant) {
        (self.parts.configure_log)(&self.parts.daemon.conf);
        self.warn_of_descriptors();
        self.parts.notify.status(&self.status());
        let announced = Announced::of(&self.parts.daemon.conf);
        if self.announced == announced {
            return;
        }
        self.announced = announced;
        let bound: Vec<IpAddr> = self.parts.doors.iter().filter_map(Door::announced_ip).collect();
        if let Some(mut mdns) = self.parts.mdns.take() {
            mdns.close(now);
            mdns.deregister(self.poll.registry());
        }
        let mut mdns = (self.parts.open_mdns)(&self.parts.daemon.conf, &bound, now);
        if let Some(new) = &mut mdns
            && let Err(error) = new.register(self.poll.registry(), MDNS)
        {
            ::log::warn!("mdns: not watched: {error}");
            mdns = None;
        }
        self.parts.mdns = mdns;
    }

    fn facts(&self) -> Facts {
        Facts {
            listen: self
                .parts
                .doors
                .iter()
                .map(|door| (door.plane, door.address.clone()))
                .collect(),
            connection_count: self.table.count(Pool::Network),
            connections_by: self
                .parts
                .daemon
                .ledger
                .trust()
                .clients()
                .iter()
                .map(|client| {
                    let fingerprint = client.certificate.fingerprint();
                    (fingerprint, self.table.count_by(fingerprint))
                })
                .collect(),
            mdns_instance: self.parts.mdns.as_ref().map(|mdns| mdns.instance().to_owned()),
            mdns_interfaces: self.parts.mdns.as_ref().map(Mdns::interfaces).unwrap_or_default(),
            streams: self.streams.figures(),
        }
    }

    fn status(&self) -> String {
        let addresses: Vec<&str> =
            self.parts.doors.iter().map(|door| door.address.as_str()).collect();
        let clients = self.parts.daemon.ledger.trust().clients().len();
        format!("Listening on {}; {clients} clients paired", addresses.join(", "))
    }
}
