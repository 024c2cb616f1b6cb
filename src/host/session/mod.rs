//! Clients' stays: who has launched what, whose datagrams are whose, and how each stay ends.
//!
//! Everything here decides and touches nothing. What is to be done about it comes out as [`Act`]s,
//! which the reactor carries out.
//!
//! ```text
//!   launch --> announced (RTSP) --> streaming (control stream and pings are there) --> gone
//!                                                                                       |
//!   an app goes on when its client leaves, for a time:             run <-- resume ------+
//! ```

#![forbid(unsafe_code)]

mod control;
mod end;
mod plan;
mod run;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use enet::{Parting, PeerId};
use punktfunk_core::net::udp::Path;
use punktfunk_core::proto::cert::Fingerprint;
use punktfunk_core::proto::gamestream::control::seal::Scheme;
use punktfunk_core::proto::gamestream::http::{Mode, SessionKeys, Wishes};
use punktfunk_core::proto::gamestream::rtsp::announce::Announce;
use punktfunk_core::proto::gamestream::rtsp::connection::Message;
use punktfunk_core::proto::gamestream::rtsp::describe::Offer;
use punktfunk_core::proto::gamestream::rtsp::handshake::{
    self, Event, Handshake, PingPayload, Ports, Terms,
};
use punktfunk_core::proto::gamestream::rtsp::sealed::{End as Side, Sealing};
use punktfunk_core::proto::input::GamepadIndex;

use crate::display::Told;
use crate::encode::Settings;
use crate::grants::{Grant, Grants};
use crate::hooks;
use crate::inject::devices::Devices;
use crate::inject::uinput::Pad;
use crate::inject::wayland::Place;
use crate::inject::{Injector, uinput};
use crate::pipeline::{Order, Plan, Report};
use control::Control;
pub use end::End;
pub use plan::{Circumstances, plan};
pub use run::{Lingers, Run};

/// From launch to PLAY.
const HANDSHAKE_TIME: Duration = Duration::from_secs(20);
/// From ANNOUNCE to the control stream and the first ping.
const ARRIVAL_TIME: Duration = Duration::from_secs(10);
/// How often it is looked whether what runs without its client has ended.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Until devices are opened again that could not be. A compositor that hangs takes seconds each time.
const REOPEN_TIME: Duration = Duration::from_secs(2);
/// What clients send that know of no ping payload.
const LEGACY_PING: &[u8] = b"PING";
/// Peers of the control stream that a session may have: the one that is there, and the one that
/// comes back before that is missed.
const PEER_COUNT_MAX: usize = 2;

/// Something for the reactor to do.
#[derive(Debug)]
pub enum Act {
    /// Make a gamepad for a session, or close one.
    Gamepad(u32, uinput::Act),
    /// Close the display of a run, once the threads of its sessions have ended.
    Close(u32),
    /// Find out which of these runs have ended by themselves.
    LookAt(Vec<u32>),
    /// Have it known that this has happened to a session.
    Hook(hooks::Event, Box<Told>),
    /// Make the threads of a session.
    Start(u32, Box<Plan>),
    /// Let go of devices for input, in which nothing is down.
    CloseDevices(Devices),
    /// Open devices for input there.
    OpenDevices(u32, Place),
    /// Tell the threads of its picture something.
    Order(u32, Order),
    /// Tell the thread of its sound where to send.
    SoundTo(u32, Path),
    /// End the threads of a session.
    Stop(u32),
    /// Send a message on the control stream, reliably.
    Say(PeerId, Vec<u8>),
    /// Part from a peer of the control stream.
    Part(PeerId, Parting),
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The client has said what it wants, and is to connect.
    Announced,
    /// The client is to say what it wants.
    Launched,
    /// Everything is connected.
    Streaming,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Announced => "announced",
            State::Launched => "launched",
            State::Streaming => "streaming",
        })
    }
}

/// Who asks for a session, and how it is to be.
#[derive(Debug)]
pub struct Launch {
    /// The client that TLS has proved.
    pub client: Fingerprint,
    /// What it is called.
    pub client_name: String,
    /// What it may do.
    pub grants: Grants,
    /// How gamepads of it are made.
    pub gamepads: uinput::Terms,
    /// The id of the app.
    pub app: u32,
    /// What people call it.
    pub title: String,
    /// The run that is resumed.
    pub resumes: Option<u32>,
    /// How long the app may wait for its client; without that, for as long as it takes.
    pub linger: Option<Duration>,
    /// Apps that may run at once. Of more, those that have waited longest are ended.
    pub run_count_max: usize,
    /// Where the request came from.
    pub address: IpAddr,
    /// The address of the host that was asked.
    pub local: IpAddr,
    /// The keys that came with it.
    pub keys: SessionKeys,
    /// What else came with it.
    pub wishes: Wishes,
    /// What the client is to be offered.
    pub offer: Offer,
    /// Where the host listens.
    pub ports: Ports,
    /// What programs and hooks are told, as far as it is known.
    pub told: Told,
}

/// Random numbers for one session.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// Names it in RTSP.
    pub session: [u8; 8],
    /// Opens its sound.
    pub audio_ping: [u8; 8],
    /// Opens its pictures.
    pub video_ping: [u8; 8],
    /// Opens its control stream.
    pub connect_data: NonZeroU32,
}

/// Which stream a ping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

/// One client's stay.
#[derive(Debug)]
pub struct Session {
    /// Counted from 1.
    pub id: u32,
    /// Whose it is.
    pub client: Fingerprint,
    /// What the client is called.
    pub client_name: String,
    /// What the client may do.
    pub grants: Grants,
    /// The id of its app.
    pub app: u32,
    /// The number of its run.
    pub run: u32,
    /// Where it was launched from.
    pub address: IpAddr,
    /// When it was launched.
    pub began: Instant,
    /// What the client does.
    pub input: Injector,
    /// The encoder at work, once it is.
    pub encoder: Option<String>,
    linger: Option<Duration>,
    /// What programs and hooks are told.
    pub told: Told,
    /// Whether its client has been sent a picture of the stream that there is.
    has_picture: bool,
    /// Where its input goes, once it has a display.
    place: Option<Place>,
    /// Whether devices could not be opened there, and when it is tried again.
    lacks_devices: bool,
    reopen_at: Option<Instant>,
    keys: SessionKeys,
    wishes: Wishes,
    local: IpAddr,
    audio_ping: PingPayload,
    video_ping: PingPayload,
    connect_data: NonZeroU32,
    /// Until the control stream is connected: a recorded handshake must not begin it anew.
    handshake: Option<Handshake>,
    stream: Option<Stream>,
    control: Control,
    /// Where the client was when it last said something on the control stream.
    client_ip: Option<IpAddr>,
    /// Streams that were begun with these keys. Nonces must differ.
    stream_count: u64,
}

/// What was announced, and what has come of it.
#[derive(Debug)]
struct Stream {
    announce: Announce,
    /// What its pictures are encoded with.
    encoding: Settings,
    /// When the client must be there.
    deadline: Option<Instant>,
    video_path: Option<Path>,
    audio_path: Option<Path>,
}

/// All sessions, and the apps that run.
#[derive(Debug, Default)]
pub struct Sessions {
    sessions: Vec<Session>,
    runs: Vec<Run>,
    acts: VecDeque<Act>,
    last_id: u32,
    last_run_id: u32,
    /// When runs without a client are looked at next.
    look_at: Option<Instant>,
    /// Datagrams to the ports of sessions that were nobody's.
    stray_count: u64,
}

impl Sessions {
    /// The next thing to do.
    pub fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// Everyone who is there, in the order of arrival.
    pub fn all(&self) -> &[Session] {
        &self.sessions
    }

    /// One that is there.
    pub fn get(&self, id: u32) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == id)
    }

    /// Datagrams to the ports of sessions that were nobody's.
    pub fn stray_count(&self) -> u64 {
        self.stray_count
    }

    /// Counts a datagram that was nobody's.
    pub fn note_stray(&mut self) {
        self.stray_count += 1;
    }

    /// Lets a client in. One that has a session already begins anew, and its app does so unless it
    /// is resumed. Whoever looks at what is resumed makes room.
    pub fn launch(&mut self, launch: Launch, draw: Draw, now: Instant) -> u32 {
        let run = self.resume_run(&launch, now).unwrap_or_else(|| self.begin_run(&launch));
        self.end_all(|session| session.client == launch.client, &End::Replaced, now);
        self.end_runs(|other| other.client == launch.client && other.id != run);
        self.make_room(launch.run_count_max);
        self.last_id += 1;
        let id = self.last_id;
        let terms = Terms {
            offer: launch.offer,
            ports: launch.ports,
            session: draw.session,
            audio_ping: PingPayload::new(draw.audio_ping),
            video_ping: PingPayload::new(draw.video_ping),
            connect_data: draw.connect_data,
        };
        let seals = launch.wishes.seals_rtsp;
        let sealing = seals.then(|| Sealing::new(launch.keys.rikey.clone(), Side::Host));
        self.sessions.push(Session {
            id,
            client: launch.client,
            client_name: launch.client_name,
            grants: launch.grants,
            app: launch.app,
            run,
            linger: launch.linger,
            address: launch.address,
            began: now,
            input: Injector::new(launch.grants, launch.gamepads),
            encoder: None,
            told: Told { session: id, ..launch.told },
            has_picture: false,
            place: None,
            lacks_devices: false,
            reopen_at: None,
            control: Control::default(),
            client_ip: None,
            keys: launch.keys,
            wishes: launch.wishes,
            local: launch.local,
            audio_ping: terms.audio_ping,
            video_ping: terms.video_ping,
            connect_data: terms.connect_data,
            handshake: Some(Handshake::new(terms, sealing, now, HANDSHAKE_TIME)),
            stream: None,
            stream_count: 0,
        });
        self.note(id, hooks::Event::Connect);
        id
    }

    /// Whether anybody is to come by RTSP.
    pub fn has_handshakes(&self) -> bool {
        self.sessions.iter().any(|session| session.handshake.is_some())
    }

    /// Takes what came by RTSP. `None` says that it is nobody's; otherwise whose it is, and what it
    /// means. The answer waits in [`Sessions::poll_rtsp`].
    pub fn handle_rtsp(
        &mut self,
        peer: IpAddr,
        message: &Message<'_>,
        now: Instant,
    ) -> Option<(u32, Result<Option<Event>, handshake::Error>)> {
        self.sessions.iter_mut().find_map(|session| {
            // In the clear there is nothing but the address to know it by.
            let is_plain = matches!(message, Message::Plain(_));
            if is_plain && session.address != peer {
                return None;
            }
            let handshake = session.handshake.as_mut()?;
            match handshake.handle_message(message, now) {
                Err(error) if error.is_foreign() => None,
                result => Some((session.id, result)),
            }
        })
    }

    /// Appends the answer that a session owes to what it was last asked by RTSP.
    pub fn poll_rtsp(&mut self, id: u32, out: &mut Vec<u8>) {
        if let Some(session) = self.get_mut(id)
            && let Some(handshake) = &mut session.handshake
        {
            handshake.poll_output(out);
        }
    }

    /// Begins the stream that a client announced, anew if it was begun before.
    pub fn begin(&mut self, id: u32, announce: Announce, plan: Plan, now: Instant) {
        let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) else {
            return;
        };
        if session.stream.is_some() {
            self.acts.push_back(Act::Stop(id));
        }
        if std::mem::take(&mut session.has_picture) {
            let event = hooks::Event::StreamEnd("stream begun anew".into());
            self.acts.push_back(Act::Hook(event, Box::new(session.told.clone())));
        }
        let video = &announce.video;
        let (width, height, refresh_mhz) = (video.width, video.height, plan.encoder.refresh_mhz);
        session.told.mode = Some(Mode { width, height, refresh_mhz });
        session.told.channel_count = Some(announce.audio.channel_count);
        session.stream_count += 1;
        if let Some(run) = self.runs.iter_mut().find(|run| run.id == session.run) {
            run.has_display = plan.display.is_some();
        }
        let scheme = if announce.encryption.control { Scheme::V2 } else { Scheme::V1 };
        session.control.set_scheme(scheme, &session.keys.rikey);
        session.stream = Some(Stream {
            announce,
            encoding: plan.encoder.clone(),
            deadline: Some(now + ARRIVAL_TIME),
            video_path: None,
            audio_path: None,
        });
        self.acts.push_back(Act::Start(id, Box::new(plan)));
    }

    /// Tells a client that what it announced cannot be.
    pub fn refuse(&mut self, id: u32) {
        if let Some(handshake) = self.get_mut(id).and_then(|session| session.handshake.as_mut()) {
            // It can only fail where no answer can be made, and then there is none.
            let _ = handshake.refuse();
        }
    }

    /// Takes a datagram of a port of pictures or sound: a ping, or nothing.
    pub fn handle_ping(&mut self, media: Media, bytes: &[u8], path: Path) {
        let Some(session) = self.sessions.iter_mut().find(|it| it.is_pinged(media, bytes, &path))
        else {
            return self.note_stray();
        };
        let id = session.id;
        let ip = path.remote.ip();
        let Some(stream) = &mut session.stream else {
            // Sound is pinged before ANNOUNCE; it will be again.
            return;
        };
        let known = match media {
            Media::Audio => stream.audio_path,
            Media::Video => stream.video_path,
        };
        // Pings can be recorded and sent by others. Once the client has shown by its key where it is,
        // streams move only there.
        let is_elsewhere = known.is_some_and(|known| known.remote.ip() != ip)
            && session.client_ip.is_some_and(|client_ip| client_ip != ip);
        if is_elsewhere {
            return self.note_stray();
        }
        match media {
            Media::Video if stream.video_path != Some(path) => {
                stream.video_path = Some(path);
                self.acts.push_back(Act::Order(id, Order::SendTo(path)));
            }
            Media::Audio if stream.audio_path != Some(path) => {
                stream.audio_path = Some(path);
                self.acts.push_back(Act::SoundTo(id, path));
            }
            _ => {}
        }
        session.look_for_arrival();
    }

    /// What a session's threads have to say. Returns the line for the log.
    pub fn handle_report(&mut self, id: u32, report: Report, now: Instant) -> Option<String> {
        let session = self.get_mut(id)?;
        match report {
            Report::Ready(name) => {
                let line = format!("encoded by {name}");
                session.encoder = Some(name);
                Some(line)
            }
            Report::AppEnded(words) => {
                self.end(id, &End::AppEnded, now);
                words.map(|words| format!("said last in its display: {words}"))
            }
            Report::Display(why, place) => {
                (session.place, session.reopen_at) = (Some(place.clone()), None);
                self.acts.push_back(Act::OpenDevices(id, place));
                Some(format!("display {why}"))
            }
            Report::Pictures(what) | Report::Sending(what) => Some(what),
            Report::FirstFrame(time) => {
                session.has_picture = true;
                self.note(id, hooks::Event::StreamStart);
                Some(format!("first picture sent after {} ms", time.as_millis()))
            }
            Report::Reopened(why, time) => {
                Some(format!("encoder lost ({why}), reopened in {} ms", time.as_millis()))
            }
            Report::Resized(width, height, time) => {
                Some(format!("screen is {width}x{height} now, ready in {} ms", time.as_millis()))
            }
            Report::Sound(what) => Some(what),
            Report::Failed(why) => {
                self.end(id, &End::NoPicture(why), now);
                None
            }
        }
    }

    /// Tells the threads of a session's pictures something. `false`: it has no pictures yet.
    pub fn order(&mut self, id: u32, order: Order) -> bool {
        let Some(stream) = self.get_mut(id).and_then(|session| session.stream.as_mut()) else {
            return false;
        };
        if let Order::Bitrate(kbps) = order {
            stream.encoding.bitrate_kbps = kbps;
        }
        self.acts.push_back(Act::Order(id, order));
        true
    }

    /// Holds the sessions of a client to what it may do now. Whether there is sound is settled when
    /// a session begins, and stays.
    pub fn set_grants(&mut self, client: Fingerprint, grants: Grants, now: Instant) {
        if !grants.contains(Grant::View) {
            return self.end_all(|session| session.client == client, &End::Revoked, now);
        }
        for session in self.sessions.iter_mut().filter(|session| session.client == client) {
            session.grants = grants;
            session.input.set_grants(grants);
            self.acts.extend(session.settle_gamepads(now));
        }
    }

    /// A client is not known any more: its sessions end, and so does its app.
    pub fn forget(&mut self, client: Fingerprint, now: Instant) {
        self.end_all(|session| session.client == client, &End::Unpaired, now);
        self.end_runs(|run| run.client == client);
    }

    /// Everyone who has a session or an app, some perhaps twice.
    pub fn clients(&self) -> Vec<Fingerprint> {
        let sessions = self.sessions.iter().map(|session| session.client);
        sessions.chain(self.runs.iter().map(|run| run.client)).collect()
    }

    /// The devices for a session's input are there.
    pub fn attach(&mut self, id: u32, devices: Devices) -> Option<&mut Devices> {
        let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) else {
            self.acts.push_back(Act::CloseDevices(devices));
            return None;
        };
        if std::mem::take(&mut session.lacks_devices) {
            log::info!("session {id}: input arrives from now on");
        }
        session.reopen_at = None;
        self.acts.extend(session.input.attach(devices).map(Act::CloseDevices));
        session.input.devices()
    }

    /// There are no devices for a session's input. Where the reason may pass, they are opened again
    /// in a while. Returns whether there were no failures before.
    pub fn on_no_devices(&mut self, id: u32, may_pass: bool, now: Instant) -> bool {
        let Some(session) = self.get_mut(id) else { return false };
        session.reopen_at = may_pass.then_some(now + REOPEN_TIME);
        !std::mem::replace(&mut session.lacks_devices, true)
    }

    /// All devices for input that are not lost, with their sessions.
    pub fn devices(&mut self) -> impl Iterator<Item = (u32, &mut Devices)> {
        let sessions = self.sessions.iter_mut();
        sessions.filter_map(|session| {
            let devices = session.input.devices().filter(|devices| !devices.is_lost())?;
            Some((session.id, devices))
        })
    }

    /// Has devices opened again that are lost: their compositor may only have taken them from their
    /// seat.
    pub fn restore_devices(&mut self) {
        for session in &mut self.sessions {
            if session.input.drop_lost()
                && let Some(place) = &session.place
            {
                self.acts.push_back(Act::OpenDevices(session.id, place.clone()));
            }
        }
    }

    /// A gamepad of a session was made, or could not be. Returns it where it is there to stay.
    pub fn attach_gamepad(
        &mut self,
        id: u32,
        index: GamepadIndex,
        opened: Result<Box<Pad>, uinput::Error>,
        now: Instant,
    ) -> Option<&mut Pad> {
        let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) else {
            self.acts.extend(opened.ok().map(|pad| Act::Gamepad(id, uinput::Act::Close(pad))));
            return None;
        };
        session.input.attach_gamepad(index, opened);
        self.acts.extend(session.settle_gamepads(now));
        session.input.gamepads().get_mut(index)
    }

    /// Takes what programs want of the gamepads of the sessions for which `is_it` holds.
    pub fn handle_gamepads_ready(&mut self, is_it: impl Fn(u32) -> bool, now: Instant) {
        for session in self.sessions.iter_mut().filter(|session| is_it(session.id)) {
            session.input.gamepads().handle_ready(now);
            self.acts.extend(session.settle_gamepads(now));
        }
    }

    /// Ends the sessions for which `is_it` holds.
    pub fn end_all(&mut self, is_it: impl Fn(&Session) -> bool, end: &End, now: Instant) {
        for id in self.ids(is_it) {
            self.end(id, end, now);
        }
    }

    /// Ends everything.
    pub fn stop(&mut self, now: Instant) {
        self.end_all(|_| true, &End::Stopped, now);
        self.end_runs(|_| true);
    }

    /// Ends a session: its client is told what it is to be told, its threads end.
    pub fn end(&mut self, id: u32, end: &End, now: Instant) {
        let Some(index) = self.sessions.iter().position(|session| session.id == id) else {
            return;
        };
        let mut session = self.sessions.remove(index);
        self.acts.extend(session.input.close().map(Act::CloseDevices));
        self.acts.extend(session.settle_gamepads(now));
        self.acts.extend(session.control.part(end.termination()));
        if session.stream.is_some() {
            self.acts.push_back(Act::Stop(id));
        }
        let told = Box::new(session.told);
        if session.has_picture {
            let event = hooks::Event::StreamEnd(end.to_string());
            self.acts.push_back(Act::Hook(event, told.clone()));
        }
        self.acts.push_back(Act::Hook(hooks::Event::Disconnect(end.to_string()), told));
        let refused_count = session.input.refused_count();
        if refused_count > 0 {
            log::info!("session {id}: {refused_count} inputs were refused");
        }
        let lingers = end.leaves_app() && session.linger != Some(Duration::ZERO);
        let level = match end {
            End::NoPicture(_) | End::Tampered => log::Level::Warn,
            _ => log::Level::Info,
        };
        let time_s = now.duration_since(session.began).as_secs();
        log::log!(level, "session {id}: ended after {time_s} s, {end}");
        let is_its = |run: &Run| run.id == session.run;
        match self.runs.iter_mut().find(|run| is_its(run)) {
            // It has ended before.
            None => {}
            Some(_) if *end == End::Resumed => {}
            Some(run) if lingers => {
                run.lingers = Some(Lingers { since: now, time: session.linger });
                if run.has_display {
                    self.look_at.get_or_insert(now + LOOK_INTERVAL);
                    let time = session.linger.map_or("until it is ended".to_owned(), |time| {
                        format!("for {} s", time.as_secs())
                    });
                    log::info!("session {id}: its display is kept {time}");
                }
            }
            Some(_) => self.end_runs(is_its),
        }
    }

    /// When to call [`Sessions::handle_timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sessions = self.sessions.iter().filter_map(Session::deadline);
        let runs = self.runs.iter().filter_map(|run| run.lingers?.until());
        let gamepads = self.sessions.iter().filter_map(|session| session.input.poll_timeout());
        let reopened = self.sessions.iter().filter_map(|session| session.reopen_at);
        sessions.chain(runs).chain(gamepads).chain(reopened).chain(self.look_at).min()
    }

    /// Ends those whose clients did not come, or did not come back, and what motors of gamepads have
    /// done long enough. Opens devices again.
    pub fn handle_timeout(&mut self, now: Instant) {
        for session in &mut self.sessions {
            if session.input.poll_timeout().is_some_and(|at| at <= now) {
                self.acts.extend(session.settle_gamepads(now));
            }
            if session.reopen_at.take_if(|at| *at <= now).is_some()
                && let Some(place) = &session.place
            {
                self.acts.push_back(Act::OpenDevices(session.id, place.clone()));
            }
        }
        let is_late = |session: &Session| session.deadline().is_some_and(|it| it <= now);
        self.end_all(is_late, &End::NeverCame, now);
        let until = |run: &Run| run.lingers.and_then(|lingers| lingers.until());
        let is_over = |run: &Run| until(run).is_some_and(|until| until <= now);
        for run in self.runs.iter().filter(|run| is_over(run)) {
            log::info!("app {:?}: ended, {} did not come back", run.title, run.client_name);
        }
        self.end_runs(is_over);
        if self.look_at.is_some_and(|at| at <= now) {
            let waits = |run: &&Run| run.lingers.is_some() && run.has_display;
            let ids: Vec<u32> = self.runs.iter().filter(waits).map(|run| run.id).collect();
            self.look_at = (!ids.is_empty()).then_some(now + LOOK_INTERVAL);
            if !ids.is_empty() {
                self.acts.push_back(Act::LookAt(ids));
            }
        }
    }

    /// Has it known what has happened to a session.
    fn note(&mut self, id: u32, event: hooks::Event) {
        if let Some(session) = self.get(id) {
            let told = Box::new(session.told.clone());
            self.acts.push_back(Act::Hook(event, told));
        }
    }

    fn ids(&self, is_it: impl Fn(&Session) -> bool) -> Vec<u32> {
        self.sessions.iter().filter(|session| is_it(session)).map(|session| session.id).collect()
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.id == id)
    }
}

impl Session {
    /// How the client wants it, once that is announced.
    pub fn announce(&self) -> Option<&Announce> {
        self.stream.as_ref().map(|stream| &stream.announce)
    }

    /// What its pictures are encoded with, once that is settled.
    pub fn encoding(&self) -> Option<&Settings> {
        self.stream.as_ref().map(|stream| &stream.encoding)
    }

    /// How far it has come.
    pub fn state(&self) -> State {
        match &self.stream {
            None => State::Launched,
            Some(stream) if stream.deadline.is_some() => State::Announced,
            Some(_) => State::Streaming,
        }
    }

    /// Whether the control stream is connected.
    pub fn is_connected(&self) -> bool {
        self.control.is_connected()
    }

    /// Where the client is and what it has addressed, as far as its launch tells.
    pub fn path(&self) -> Path {
        Path { remote: SocketAddr::new(self.address, 0), local: Some(self.local) }
    }

    fn deadline(&self) -> Option<Instant> {
        match (&self.handshake, &self.stream) {
            (_, Some(stream)) => stream.deadline,
            (Some(handshake), None) => handshake.poll_timeout(),
            (None, None) => None,
        }
    }

    /// Everything that the client has to connect is connected: there is no hurry any more.
    fn look_for_arrival(&mut self) {
        let is_connected = self.is_connected();
        if let Some(stream) = &mut self.stream
            && stream.video_path.is_some()
            && is_connected
        {
            stream.deadline = None;
        }
    }

    fn is_pinged(&self, media: Media, bytes: &[u8], path: &Path) -> bool {
        let payload = match media {
            Media::Audio => &self.audio_ping,
            Media::Video => &self.video_ping,
        };
        if bytes.len() >= payload.bytes().len() {
            return bytes.starts_with(payload.bytes());
        }
        bytes == LEGACY_PING && self.is_told_by_address(path.remote.ip())
    }

    /// Whether this client can only be known by where it is, and is there.
    fn is_told_by_address(&self, ip: IpAddr) -> bool {
        let knows_ids = self.announce().is_none_or(|announce| announce.has_session_id);
        !knows_ids && self.address == ip.to_canonical()
    }
}
