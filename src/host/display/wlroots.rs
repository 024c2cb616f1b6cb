//! A client of compositors of wlroots that are not sway: found without any environment, their outputs
//! set and read back by wlr-output-management-unstable-v1.
//!
//! That protocol makes no outputs, so those count that show on no screen: compositors of wlroots call
//! them HEADLESS-1 and so on. Nothing is trusted in length or content, and no answer is waited for
//! longer than [`ANSWER_TIME`].

#![forbid(unsafe_code)]

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use punktfunk_core::net::peer::{self, Peer};
use punktfunk_core::net::{clock, process as system};
use punktfunk_core::proto::gamestream::http::Mode;
use serde::{Deserialize, Serialize};
use wayland_client::backend::WaylandError;
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::protocol::wl_output::{self, Transform, WlOutput};
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::{
    Connection, Dispatch, DispatchError, EventQueue, Proxy, QueueHandle, WEnum, delegate_noop,
    event_created_child,
};
use wayland_protocols_wlr::output_management::v1::client::zwlr_output_configuration_head_v1::ZwlrOutputConfigurationHeadV1;
use wayland_protocols_wlr::output_management::v1::client::zwlr_output_configuration_v1::{
    self, ZwlrOutputConfigurationV1,
};
use wayland_protocols_wlr::output_management::v1::client::zwlr_output_head_v1::{
    self, ZwlrOutputHeadV1,
};
use wayland_protocols_wlr::output_management::v1::client::zwlr_output_manager_v1::{
    self, ZwlrOutputManagerV1,
};
use wayland_protocols_wlr::output_management::v1::client::zwlr_output_mode_v1::{
    self, ZwlrOutputModeV1,
};
use wayland_protocols_wlr::virtual_pointer::v1::client::zwlr_virtual_pointer_manager_v1::ZwlrVirtualPointerManagerV1;
use wayland_protocols_wlr::virtual_pointer::v1::client::zwlr_virtual_pointer_v1::ZwlrVirtualPointerV1;

use super::process::{self, Process};
use super::sway;
use crate::ipc;

/// How long a compositor may take for an answer.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// A compositor has this long to show what it said it does.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a configuration is made anew that others have overtaken.
const TRY_COUNT_MAX: usize = 5;
/// Outputs that are looked at, and modes of each.
const HEAD_COUNT_MAX: usize = 64;
const MODE_COUNT_MAX: usize = 1024;
/// Interfaces that it may offer; what comes behind them is passed over.
const GLOBAL_COUNT_MAX: usize = 1024;
/// Reads in a row, of up to some thousand bytes each, before somebody looks at the time.
const READ_COUNT_MAX: usize = 256;
/// Scales come in parts of this.
const SCALE_PARTS: f64 = 256.0;
/// What outputs that show on no screen are called, before their numbers.
const HEADLESS: &str = "HEADLESS-";

const MANAGER: &str = "zwlr_output_manager_v1";
/// What pictures come by: one of these, in this version or a later one.
const COPIERS: [(&str, u32); 2] =
    [("zwlr_screencopy_manager_v1", 3), ("ext_image_copy_capture_manager_v1", 1)];

/// A compositor of this user.
#[derive(Clone, Debug, PartialEq)]
pub struct Desktop {
    /// Its process.
    pub process: Process,
    /// What its program is called.
    pub name: String,
    /// Its Wayland socket.
    pub wayland: PathBuf,
}

/// How an output is set up.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Whether anything is shown there.
    pub is_enabled: bool,
    /// In pixels, as long as something is shown; so are the others.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// 0 where the compositor does not know.
    pub refresh_mhz: u32,
    /// Where it lies among the others, in logical pixels.
    pub x: i32,
    /// As above.
    pub y: i32,
    /// Pixels for each logical one.
    pub scale: f64,
    /// `wl_output.transform`.
    pub transform: u32,
}

/// An output.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Such as HEADLESS-1.
    pub name: String,
    /// How it is now.
    pub setup: Setup,
}

/// Why a compositor did not do or say what it was asked for.
#[derive(Debug)]
pub enum Error {
    /// The socket cannot be connected to.
    Connect(io::Error),
    /// The compositor went, or broke off.
    Lost(String),
    /// It lacks this interface.
    Missing(&'static str),
    /// It has no such output.
    NoHead(String),
    /// It shows something else than it was told.
    NotDone(Setup),
    /// Others change the outputs all the time.
    Overtaken,
    /// It says no.
    Refused,
    /// The answer does not come.
    TimedOut,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Connect(error) => write!(f, "no connection to the compositor: {error}"),
            Error::Lost(why) => write!(f, "compositor lost: {why}"),
            Error::Missing(interface) => write!(f, "compositor without {interface}"),
            Error::NoHead(name) => write!(f, "no output {name}"),
            Error::NotDone(setup) => {
                let Setup { width, height, refresh_mhz, scale, .. } = setup;
                let refresh = f64::from(*refresh_mhz) / 1000.0;
                write!(f, "output shows {width}x{height}@{refresh} at scale {scale} instead")
            }
            Error::Overtaken => f.write_str("outputs that others change all the time"),
            Error::Refused => f.write_str("mode refused by the compositor"),
            Error::TimedOut => {
                write!(f, "no answer of the compositor within {} s", ANSWER_TIME.as_secs())
            }
        }
    }
}

impl From<WaylandError> for Error {
    fn from(error: WaylandError) -> Error {
        Error::Lost(ipc::one_line(&error.to_string()))
    }
}

impl From<DispatchError> for Error {
    fn from(error: DispatchError) -> Error {
        Error::Lost(ipc::one_line(&error.to_string()))
    }
}

/// The compositor of this user in that directory whose outputs can be set and seen, and is no sway;
/// the one that started last, where there are several. Without one, what is amiss with each.
pub fn find(runtime: &Path) -> Result<Desktop, Vec<String>> {
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for (wayland, peer) in sway::peers(runtime) {
        let is_ours = peer.uid == system::uid() && !sway::is_sway(peer.pid, runtime);
        let Some(process) = Process::find(peer.pid).filter(|_| is_ours) else { continue };
        let name = name(peer.pid);
        match Client::connect(&wayland) {
            Ok(client) if client.peer.pid == peer.pid => {
                found.push(Desktop { process, name, wayland });
            }
            Ok(_) => {}
            Err(error) => others.push(format!("{name} ({}): {error}", peer.pid)),
        }
    }
    found.into_iter().max_by_key(|desktop| desktop.process.start_ticks).ok_or(others)
}

/// What a program is called.
fn name(pid: u32) -> String {
    ipc::one_line(&fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default())
}

/// Whether an output shows on no screen.
pub fn is_headless(name: &str) -> bool {
    name.strip_prefix(HEADLESS).is_some_and(|number| number.parse::<u32>().is_ok())
}

impl Setup {
    /// What it shows, to whoever looks at it upright.
    pub fn mode(&self) -> Option<Mode> {
        let (width, height) = self.size();
        self.is_enabled.then_some(Mode { width, height, refresh_mhz: self.refresh_mhz })
    }

    /// Width and height, upright.
    fn size(&self) -> (u32, u32) {
        let is_on_its_side = self.transform % 2 == 1;
        if is_on_its_side { (self.height, self.width) } else { (self.width, self.height) }
    }

    /// Left, upper, right and lower edge, in logical pixels; none where nothing is shown.
    fn edges(&self) -> Option<[i64; 4]> {
        let (width, height) = self.size();
        let scale = if self.scale > 0.0 { self.scale } else { 1.0 };
        let [width, height] = [width, height].map(|side| (f64::from(side) / scale).ceil() as i64);
        let (x, y) = (i64::from(self.x), i64::from(self.y));
        self.is_enabled.then_some([x, y, x + width, y + height])
    }

    /// Upright at that mode and scale: where it was, unless it would cover one of the others; then to
    /// the right of them all.
    pub fn shown_as(&self, mode: Mode, scale_percent: u32, others: &[Setup]) -> Setup {
        let Mode { width, height, refresh_mhz } = mode;
        // As it comes back.
        let scale = (f64::from(scale_percent) / 100.0 * SCALE_PARTS).round() / SCALE_PARTS;
        let mut setup = Setup {
            is_enabled: true,
            width,
            height,
            refresh_mhz,
            x: self.x,
            y: self.y,
            scale,
            transform: Transform::Normal.into(),
        };
        let others: Vec<[i64; 4]> = others.iter().filter_map(Setup::edges).collect();
        let own = setup.edges().unwrap_or_default();
        let covers =
            |it: &[i64; 4]| own[0] < it[2] && it[0] < own[2] && own[1] < it[3] && it[1] < own[3];
        if !self.is_enabled || others.iter().any(covers) {
            let edge = others.iter().map(|it| it[2]).max().unwrap_or_default();
            (setup.x, setup.y) = (i32::try_from(edge).unwrap_or_default(), 0);
        }
        setup
    }

    /// Whether an output that is this way is as wanted. Where nothing is shown, nothing else counts.
    pub fn is(&self, wanted: &Setup) -> bool {
        let is_close = (self.scale - wanted.scale).abs() < 1.5 / SCALE_PARTS;
        let is_dark = !self.is_enabled && !wanted.is_enabled;
        is_dark || (Setup { scale: wanted.scale, ..*self } == *wanted && is_close)
    }
}

/// A connection to a compositor, which knows all of its outputs.
pub struct Client {
    connection: Connection,
    queue: EventQueue<Desk>,
    registry: WlRegistry,
    desk: Desk,
    /// The compositor's process.
    pub peer: Peer,
}

impl Client {
    /// Connects to a compositor and waits until it has told its outputs. One whose outputs cannot be
    /// set, or not be seen, is an error.
    pub fn connect(socket: &Path) -> Result<Client, Error> {
        let stream = ipc::connect(socket).map_err(Error::Connect)?;
        let peer = peer::of(&stream).map_err(Error::Connect)?;
        stream.set_nonblocking(true).map_err(Error::Connect)?;
        let connection = Connection::from_socket(stream)
            .map_err(|error| Error::Connect(io::Error::other(error)))?;
        let queue = connection.new_event_queue();
        let registry = connection.display().get_registry(&queue.handle(), ());
        let mut client = Client { connection, queue, registry, desk: Desk::default(), peer };
        client.roundtrip()?;
        let is_there = |(name, version): &(&'static str, u32)| {
            client.desk.globals.iter().any(|it| it.interface == *name && it.version >= *version)
        };
        if !COPIERS.iter().any(is_there) {
            return Err(Error::Missing(COPIERS[0].0));
        }
        let manager: ZwlrOutputManagerV1 = client.bind(1)?;
        client.desk.manager = Some(manager);
        client.roundtrip()?;
        client.wait(|desk| desk.serial.is_some())?;
        Ok(client)
    }

    /// All outputs.
    pub fn heads(&self) -> Vec<Head> {
        let head = |row: &Row| Head { name: row.name.clone(), setup: row.setup() };
        self.desk.rows.iter().map(head).collect()
    }

    /// The output of that name.
    pub fn head(&self, name: &str) -> Result<Head, Error> {
        let found = self.heads().into_iter().find(|head| head.name == name);
        found.ok_or_else(|| Error::NoHead(name.to_owned()))
    }

    /// Takes what the compositor has said. Does not wait.
    pub fn pump(&mut self) -> Result<(), Error> {
        self.flush()?;
        for _ in 0..READ_COUNT_MAX {
            self.queue.dispatch_pending(&mut self.desk)?;
            let Some(guard) = self.queue.prepare_read() else { continue };
            match guard.read() {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(WaylandError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sets an output up and reads back that it is so. Others stay as they are.
    pub fn set(&mut self, name: &str, wanted: &Setup) -> Result<(), Error> {
        for _ in 0..TRY_COUNT_MAX {
            self.pump()?;
            if self.head(name)?.setup.is(wanted) {
                return Ok(());
            }
            match self.configure(name, wanted)? {
                Outcome::Cancelled => {}
                Outcome::Failed => return Err(Error::Refused),
                Outcome::Succeeded => {
                    let shown = |client: &mut Client| Ok(client.head(name)?.setup);
                    let mut last = shown(self);
                    process::wait(PATIENCE, || {
                        last = self.pump().and_then(|()| shown(self));
                        last.as_ref().map_or(true, |setup| setup.is(wanted))
                    });
                    let last = last?;
                    return if last.is(wanted) { Ok(()) } else { Err(Error::NotDone(last)) };
                }
            }
        }
        Err(Error::Overtaken)
    }

    /// Asks for one change. Outputs that are not in it would make it fail.
    fn configure(&mut self, name: &str, wanted: &Setup) -> Result<Outcome, Error> {
        let (Some(manager), Some(serial)) = (&self.desk.manager, self.desk.serial) else {
            return Err(Error::Missing(MANAGER));
        };
        let handle = self.queue.handle();
        let configuration = manager.create_configuration(serial, &handle, ());
        for row in &self.desk.rows {
            let is_it = row.name == name;
            if !(if is_it { wanted.is_enabled } else { row.is_enabled }) {
                configuration.disable_head(&row.head);
                continue;
            }
            let head = configuration.enable_head(&row.head, &handle, ());
            if is_it {
                let number = |it: u32| i32::try_from(it).unwrap_or(i32::MAX);
                let (width, height) = (number(wanted.width), number(wanted.height));
                head.set_custom_mode(width, height, number(wanted.refresh_mhz));
                head.set_position(wanted.x, wanted.y);
                head.set_scale(wanted.scale);
                let transform = Transform::try_from(wanted.transform);
                head.set_transform(transform.unwrap_or(Transform::Normal));
            }
        }
        self.desk.outcome = None;
        configuration.apply();
        let waited = self.wait(|desk| desk.outcome.is_some());
        configuration.destroy();
        waited?;
        Ok(self.desk.outcome.take().unwrap_or(Outcome::Failed))
    }

    /// Puts the pointer of the first seat into the middle of an output, where compositors open new
    /// windows. Where it cannot be put anywhere, an error says why.
    pub fn point_at(&mut self, name: &str) -> Result<(), Error> {
        let handle = self.queue.handle();
        self.desk.outputs.clear();
        for Global { name, interface, version } in &self.desk.globals {
            if interface == WlOutput::interface().name {
                let index = self.desk.outputs.len();
                let version = (*version).min(4);
                let output = self.registry.bind::<WlOutput, _, _>(*name, version, &handle, index);
                self.desk.outputs.push((output, String::new()));
            }
        }
        let pointers: ZwlrVirtualPointerManagerV1 = self.bind(2)?;
        let seat: WlSeat = self.bind(1)?;
        self.roundtrip()?;
        let found = self.desk.outputs.iter().find(|(_, its)| its == name);
        let (output, _) = found.ok_or_else(|| Error::NoHead(name.to_owned()))?;
        let pointer =
            pointers.create_virtual_pointer_with_output(Some(&seat), Some(output), &handle, ());
        pointer.motion_absolute(0, 1, 1, 2, 2);
        pointer.frame();
        let done = self.roundtrip();
        pointer.destroy();
        pointers.destroy();
        for (output, _) in self.desk.outputs.drain(..).filter(|it| it.0.version() >= 3) {
            output.release();
        }
        self.flush()?;
        done
    }

    fn bind<I: Proxy + 'static>(&self, version: u32) -> Result<I, Error>
    where
        Desk: Dispatch<I, ()>,
    {
        let name = I::interface().name;
        let mut globals = self.desk.globals.iter();
        let global = globals.find(|it| it.interface == name && it.version >= version);
        let global = global.ok_or(Error::Missing(name))?;
        Ok(self.registry.bind(global.name, version, &self.queue.handle(), ()))
    }

    fn roundtrip(&mut self) -> Result<(), Error> {
        self.desk.is_synced = false;
        self.connection.display().sync(&self.queue.handle(), ());
        self.wait(|desk| desk.is_synced)
    }

    /// Waits until something holds of what the compositor has said.
    fn wait(&mut self, is_done: impl Fn(&Desk) -> bool) -> Result<(), Error> {
        let deadline = clock::now() + ANSWER_TIME;
        let mut poll = Poll::new().map_err(Error::Connect)?;
        let mut events = Events::with_capacity(4);
        let fd = self.connection.as_fd().as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut SourceFd(&fd), Token(0), interest).map_err(Error::Connect)?;
        loop {
            self.pump()?;
            if is_done(&self.desk) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Err(Error::TimedOut);
            }
            match poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(Error::Connect(error));
                }
                _ => {}
            }
        }
    }

    fn flush(&self) -> Result<(), Error> {
        match self.connection.flush() {
            // The rest goes with the next.
            Err(WaylandError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            flushed => Ok(flushed?),
        }
    }
}

impl Desktop {
    /// Which it is, for people.
    pub fn title(&self) -> String {
        format!("{} ({})", self.name, self.process.pid)
    }

    /// Connects to it, and to no other that has taken its place.
    pub fn connect(&self) -> Result<Client, super::Error> {
        connect(&self.wayland, self.process)
    }
}

/// Connects to the socket, if it is that of a process that still runs.
pub fn connect(socket: &Path, process: Process) -> Result<Client, super::Error> {
    let client = match Client::connect(socket) {
        Err(_) if !process.is_alive() => return Err(super::Error::Gone),
        connected => connected?,
    };
    let is_it = client.peer.pid == process.pid && process.is_alive();
    if is_it { Ok(client) } else { Err(super::Error::Gone) }
}

/// What came of a configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Cancelled,
    Failed,
    Succeeded,
}

/// What the compositor has shown.
#[derive(Default)]
struct Desk {
    globals: Vec<Global>,
    is_synced: bool,
    manager: Option<ZwlrOutputManagerV1>,
    /// Of the outputs as they are now, once all are told.
    serial: Option<u32>,
    rows: Vec<Row>,
    outcome: Option<Outcome>,
    /// While the pointer is put somewhere.
    outputs: Vec<(WlOutput, String)>,
}

struct Global {
    name: u32,
    interface: String,
    version: u32,
}

/// What is told of an output.
struct Row {
    head: ZwlrOutputHeadV1,
    name: String,
    is_enabled: bool,
    modes: Vec<(ZwlrOutputModeV1, Mode)>,
    current: Option<ZwlrOutputModeV1>,
    x: i32,
    y: i32,
    scale: f64,
    transform: u32,
}

impl Row {
    fn setup(&self) -> Setup {
        let mut modes = self.modes.iter();
        let current = modes.find(|(mode, _)| Some(mode) == self.current.as_ref());
        let Mode { width, height, refresh_mhz } =
            current.map_or(Mode { width: 0, height: 0, refresh_mhz: 0 }, |it| it.1);
        let Row { is_enabled, x, y, scale, transform, .. } = *self;
        Setup { is_enabled, width, height, refresh_mhz, x, y, scale, transform }
    }
}

impl Dispatch<WlRegistry, ()> for Desk {
    fn event(
        desk: &mut Desk,
        _: &WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Desk>,
    ) {
        match event {
            wl_registry::Event::Global { name, interface, version }
                if desk.globals.len() < GLOBAL_COUNT_MAX =>
            {
                desk.globals.push(Global { name, interface, version });
            }
            wl_registry::Event::GlobalRemove { name } => {
                desk.globals.retain(|global| global.name != name);
            }
            _ => {}
        }
    }
}

impl Dispatch<WlCallback, ()> for Desk {
    fn event(
        desk: &mut Desk,
        _: &WlCallback,
        event: wl_callback::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Desk>,
    ) {
        desk.is_synced |= matches!(event, wl_callback::Event::Done { .. });
    }
}

impl Dispatch<WlOutput, usize> for Desk {
    fn event(
        desk: &mut Desk,
        _: &WlOutput,
        event: wl_output::Event,
        index: &usize,
        _: &Connection,
        _: &QueueHandle<Desk>,
    ) {
        if let (wl_output::Event::Name { name }, Some(output)) =
            (event, desk.outputs.get_mut(*index))
        {
            output.1 = name;
        }
    }
}

impl Dispatch<ZwlrOutputManagerV1, ()> for Desk {
    fn event(
        desk: &mut Desk,
        _: &ZwlrOutputManagerV1,
        event: zwlr_output_manager_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Desk>,
    ) {
        match event {
            zwlr_output_manager_v1::Event::Done { serial } => desk.serial = Some(serial),
            zwlr_output_manager_v1::Event::Finished => desk.manager = None,
            zwlr_output_manager_v1::Event::Head { head } if desk.rows.len() < HEAD_COUNT_MAX => {
                desk.rows.push(Row {
                    head,
                    name: String::new(),
                    is_enabled: false,
                    modes: Vec::new(),
                    current: None,
                    x: 0,
                    y: 0,
                    scale: 1.0,
                    transform: 0,
                });
            }
            _ => {}
        }
    }

    event_created_child!(Desk, ZwlrOutputManagerV1, [
        zwlr_output_manager_v1::EVT_HEAD_OPCODE => (ZwlrOutputHeadV1, ()),
    ]);
}

impl Dispatch<ZwlrOutputHeadV1, ()> for Desk {
    fn event(
        desk: &mut Desk,
        head: &ZwlrOutputHeadV1,
        event: zwlr_output_head_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Desk>,
    ) {
        use zwlr_output_head_v1::Event as E;
        let Some(row) = desk.rows.iter_mut().find(|row| row.head == *head) else { return };
        match event {
            E::Name { name } => row.name = ipc::one_line(&name),
            E::Enabled { enabled } => row.is_enabled = enabled != 0,
            E::Mode { mode } if row.modes.len() < MODE_COUNT_MAX => {
                row.modes.push((mode, Mode { width: 0, height: 0, refresh_mhz: 0 }));
            }
            E::CurrentMode { mode } => row.current = Some(mode),
            E::Position { x, y } => (row.x, row.y) = (x, y),
            E::Scale { scale } => row.scale = scale,
            E::Transform { transform: WEnum::Value(transform) } => row.transform = transform.into(),
            E::Finished => desk.rows.retain(|row| row.head != *head),
            _ => {}
        }
    }

    event_created_child!(Desk, ZwlrOutputHeadV1, [
        zwlr_output_head_v1::EVT_MODE_OPCODE => (ZwlrOutputModeV1, ()),
    ]);
}

impl Dispatch<ZwlrOutputModeV1, ()> for Desk {
    fn event(
        desk: &mut Desk,
        mode: &ZwlrOutputModeV1,
        event: zwlr_output_mode_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Desk>,
    ) {
        use zwlr_output_mode_v1::Event as E;
        let number = |it: i32| u32::try_from(it).unwrap_or_default();
        for row in &mut desk.rows {
            let Some(index) = row.modes.iter().position(|(its, _)| its == mode) else { continue };
            let (_, shown) = &mut row.modes[index];
            match event {
                E::Size { width, height } => {
                    (shown.width, shown.height) = (number(width), number(height));
                }
                E::Refresh { refresh } => shown.refresh_mhz = number(refresh),
                E::Finished => drop(row.modes.swap_remove(index)),
                _ => {}
            }
            return;
        }
    }
}

impl Dispatch<ZwlrOutputConfigurationV1, ()> for Desk {
    fn event(
        desk: &mut Desk,
        _: &ZwlrOutputConfigurationV1,
        event: zwlr_output_configuration_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Desk>,
    ) {
        use zwlr_output_configuration_v1::Event as E;
        desk.outcome = match event {
            E::Cancelled => Some(Outcome::Cancelled),
            E::Failed => Some(Outcome::Failed),
            E::Succeeded => Some(Outcome::Succeeded),
            _ => desk.outcome,
        };
    }
}

delegate_noop!(Desk: ignore WlSeat);
delegate_noop!(Desk: ignore ZwlrOutputConfigurationHeadV1);
delegate_noop!(Desk: ignore ZwlrVirtualPointerManagerV1);
delegate_noop!(Desk: ignore ZwlrVirtualPointerV1);

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(x: i32, width: u32) -> Setup {
        let (height, refresh_mhz, scale) = (720, 60_000, 1.0);
        Setup { is_enabled: true, width, height, refresh_mhz, x, y: 0, scale, transform: 0 }
    }

    #[test]
    fn an_output_stays_in_its_place_unless_it_would_cover_another() {
        let dark = Setup { is_enabled: false, ..setup(0, 0) };
        // Itself, its width and scale then, the others, where it lies then.
        let table: [(Setup, u32, u32, &[Setup], i32); 7] = [
            (setup(0, 1280), 1280, 100, &[setup(1280, 1280)], 0),
            (setup(0, 1280), 1600, 100, &[setup(1280, 1280)], 2560),
            (setup(0, 1280), 1600, 125, &[setup(1280, 1280)], 0),
            (setup(0, 1280), 1600, 100, &[dark], 0),
            (setup(0, 1280), 3840, 100, &[setup(-1280, 1280)], 0),
            (dark, 1280, 100, &[setup(0, 1280), setup(1280, 800)], 2080),
            (dark, 1280, 100, &[], 0),
        ];
        for (own, width, scale_percent, others, expected) in table {
            let mode = Mode { width, height: 720, refresh_mhz: 59_940 };
            let shown = own.shown_as(mode, scale_percent, others);
            assert_eq!((shown.mode(), shown.x), (Some(mode), expected), "{own:?} {others:?}");
        }
    }

    #[test]
    fn an_output_that_stands_is_as_wide_as_its_mode_is_high() {
        let standing = Setup { transform: 1, scale: 2.0, ..setup(0, 1280) };
        let mode = Mode { width: 720, height: 1280, refresh_mhz: 60_000 };
        assert_eq!((standing.edges(), standing.mode()), (Some([0, 0, 360, 640]), Some(mode)));
        assert_eq!(Setup { is_enabled: false, ..standing }.edges(), None);
    }

    #[test]
    fn scales_are_what_the_wire_makes_of_them() {
        let wanted = Setup { scale: 1.1, ..setup(0, 1280) };
        assert!(Setup { scale: 1.1015625, ..wanted }.is(&wanted));
        assert!(!Setup { scale: 1.25, ..wanted }.is(&wanted));
        assert!(!Setup { refresh_mhz: 59_940, ..wanted }.is(&wanted));
        let dark = Setup { is_enabled: false, ..wanted };
        assert!(Setup { width: 1, ..dark }.is(&dark) && !dark.is(&wanted));
    }

    #[test]
    fn outputs_without_a_screen_are_known_by_their_names() {
        for (name, expected) in [
            ("HEADLESS-1", true),
            ("HEADLESS-12", true),
            ("HEADLESS-", false),
            ("HEADLESS-1; exec sh", false),
            ("DP-1", false),
            ("", false),
        ] {
            assert_eq!(is_headless(name), expected, "{name}");
        }
    }
}
