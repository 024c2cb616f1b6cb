//! What a compositor has: its outputs and seats by their names, its windows, and the connection that
//! tells.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use punktfunk_core::net::clock;
use wayland_client::backend::WaylandError;
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::protocol::wl_output::{self, WlOutput};
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::protocol::wl_seat::{self, WlSeat};
use wayland_client::{
    Connection, Dispatch, EventQueue, Proxy, QueueHandle, WEnum, delegate_noop, event_created_child,
};
use wayland_protocols_misc::zwp_virtual_keyboard_v1::client::{
    zwp_virtual_keyboard_manager_v1::ZwpVirtualKeyboardManagerV1,
    zwp_virtual_keyboard_v1::ZwpVirtualKeyboardV1,
};
use wayland_protocols_wlr::foreign_toplevel::v1::client::{
    zwlr_foreign_toplevel_handle_v1::{self, ZwlrForeignToplevelHandleV1 as Toplevel},
    zwlr_foreign_toplevel_manager_v1::{self, ZwlrForeignToplevelManagerV1},
};
use wayland_protocols_wlr::virtual_pointer::v1::client::{
    zwlr_virtual_pointer_manager_v1::ZwlrVirtualPointerManagerV1,
    zwlr_virtual_pointer_v1::ZwlrVirtualPointerV1,
};

use super::focus::{Windows, Wish};
use super::wayland::Error;
use crate::turn::Turn;

/// How long a compositor may take for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that never blocks but where its function says so.
pub struct Link {
    connection: Connection,
    queue: EventQueue<Desk>,
    registry: WlRegistry,
}

impl Link {
    /// Connects to a compositor's socket and waits for what it has.
    pub fn open(socket: &Path) -> Result<(Link, Desk), Error> {
        // The standard library's would wait where a compositor does not accept.
        let stream = mio::net::UnixStream::connect(socket).map_err(Error::Connect)?;
        let stream = std::os::unix::net::UnixStream::from(OwnedFd::from(stream));
        let connection = Connection::from_socket(stream)
            .map_err(|error| Error::Connect(io::Error::other(error)))?;
        let queue = connection.new_event_queue();
        let registry = connection.display().get_registry(&queue.handle(), ());
        let (mut link, mut desk) = (Link { connection, queue, registry }, Desk::default());
        link.roundtrip(&mut desk)?;
        desk.bind(&link.registry, &link.queue.handle());
        link.roundtrip(&mut desk)?;
        Ok((link, desk))
    }

    /// Waits until the compositor has done all that it was asked for.
    pub fn roundtrip(&mut self, desk: &mut Desk) -> Result<(), Error> {
        let deadline = clock::now() + ANSWER_TIMEOUT;
        desk.is_synced = false;
        self.connection.display().sync(&self.queue.handle(), ());
        let mut poll = Poll::new().map_err(Error::Connect)?;
        let mut events = Events::with_capacity(4);
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut SourceFd(&self.as_raw_fd()), Token(0), interest)
            .map_err(Error::Connect)?;
        loop {
            self.pump(desk)?;
            if desk.is_synced {
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

    /// Binds what there is one of, in this version.
    pub fn bind<I: Proxy + 'static>(&self, desk: &Desk, version: u32) -> Result<I, Error>
    where
        Desk: Dispatch<I, ()>,
    {
        let name = I::interface().name;
        let global = desk.globals.iter().find(|it| it.interface == name && it.version >= version);
        let global = global.ok_or(Error::Missing(name, version))?;
        Ok(self.registry.bind(global.name, version, &self.queue.handle(), ()))
    }

    /// What new objects are made with.
    pub fn handle(&self) -> QueueHandle<Desk> {
        self.queue.handle()
    }

    /// Takes all that there is to read and gives what is owed. Whether nothing is owed any more.
    pub fn pump(&mut self, desk: &mut Desk) -> Result<bool, Error> {
        loop {
            self.queue.dispatch_pending(desk)?;
            let Some(guard) = self.queue.prepare_read() else {
                continue;
            };
            match guard.read() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if is_would_block(&error) => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.flush()
    }

    /// Gives what is owed. Whether nothing is owed any more.
    pub fn flush(&self) -> Result<bool, Error> {
        match self.connection.flush() {
            Ok(()) => Ok(true),
            Err(error) if is_would_block(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.connection.as_fd().as_raw_fd()
    }
}

fn is_would_block(error: &WaylandError) -> bool {
    matches!(error, WaylandError::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// What the compositor has shown.
#[derive(Default)]
pub struct Desk {
    globals: Vec<Global>,
    outputs: Vec<Output>,
    seats: Vec<Seat>,
    is_synced: bool,
    /// The output whose windows are looked at, by its place.
    watched: Option<usize>,
    windows: Windows<Toplevel>,
    wish: Option<Wish<Toplevel>>,
}

struct Global {
    name: u32,
    interface: String,
    version: u32,
}

/// An output.
pub struct Output {
    output: WlOutput,
    name: String,
    /// The number of its global.
    number: u32,
    is_gone: bool,
    /// Of its mode.
    size: Option<(u32, u32)>,
    turn: Turn,
}

/// A seat.
pub struct Seat {
    seat: WlSeat,
    name: String,
    /// The number of its global.
    number: u32,
    has_devices: bool,
}

impl Desk {
    /// Binds all outputs and seats, for their names.
    fn bind(&mut self, registry: &WlRegistry, handle: &QueueHandle<Desk>) {
        for Global { name, interface, version } in &self.globals {
            if interface == WlOutput::interface().name {
                let output = registry.bind(*name, (*version).min(4), handle, self.outputs.len());
                self.outputs.push(Output {
                    output,
                    number: *name,
                    is_gone: false,
                    name: String::new(),
                    size: None,
                    turn: Turn::default(),
                });
            } else if interface == WlSeat::interface().name {
                let seat = registry.bind(*name, (*version).min(2), handle, self.seats.len());
                self.seats.push(Seat {
                    seat,
                    name: String::new(),
                    number: *name,
                    has_devices: false,
                });
            }
        }
    }

    /// The place of the output of that name.
    pub fn output_index(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|output| output.name == name)
    }

    /// The output at a place that [`Desk::output_index`] told.
    pub fn output(&self, index: usize) -> &Output {
        &self.outputs[index]
    }

    /// Looks at windows as this output has it, once they are bound.
    pub fn watch(&mut self, output_index: usize) {
        self.watched = Some(output_index);
    }

    /// All windows that there were are told.
    pub fn settle(&mut self) {
        self.wish = Some(self.windows.settle());
    }

    /// What the focus of the output's seat needs.
    pub fn take_wish(&mut self) -> Option<Wish<Toplevel>> {
        self.wish.take()
    }

    fn is_watched(&self, output: &WlOutput) -> bool {
        self.watched.is_some_and(|index| self.outputs[index].output == *output)
    }

    /// The place of the seat of that name, or of the first one.
    pub fn seat_index(&self, name: Option<&str>) -> Option<usize> {
        self.seats.iter().position(|seat| name.is_none_or(|name| seat.name == name))
    }

    /// The seat at a place that [`Desk::seat_index`] told.
    pub fn seat(&self, index: usize) -> &Seat {
        &self.seats[index]
    }
}

impl Seat {
    /// The seat as the compositor knows it.
    pub fn proxy(&self) -> &WlSeat {
        &self.seat
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is there and has both a keyboard and a pointer.
    pub fn has_devices(&self) -> bool {
        self.has_devices
    }
}

impl Output {
    /// The output as the compositor knows it.
    pub fn proxy(&self) -> &WlOutput {
        &self.output
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the compositor has it no more.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Its width and height as one sees them.
    pub fn size(&self) -> Option<(u32, u32)> {
        self.size.map(|size| self.turn.size(size))
    }

    /// How its screen hangs.
    pub fn turn(&self) -> Turn {
        self.turn
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
            // What comes later is for other devices.
            wl_registry::Event::Global { name, interface, version } if !desk.is_synced => {
                desk.globals.push(Global { name, interface, version });
            }
            wl_registry::Event::GlobalRemove { name } => {
                for output in desk.outputs.iter_mut().filter(|output| output.number == name) {
                    output.is_gone = true;
                }
                for seat in desk.seats.iter_mut().filter(|seat| seat.number == name) {
                    seat.has_devices = false;
                }
            }
            _ => {}
        }
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
        let output = &mut desk.outputs[*index];
        match event {
            wl_output::Event::Geometry { transform: WEnum::Value(transform), .. } => {
                output.turn = transform.into();
            }
            wl_output::Event::Mode { flags: WEnum::Value(flags), width, height, .. }
                if flags.contains(wl_output::Mode::Current) =>
            {
                let side = |side: i32| u32::try_from(side).ok().filter(|side| *side > 0);
                output.size = side(width).zip(side(height));
            }
            wl_output::Event::Name { name } => output.name = name,
            _ => {}
        }
    }
}

impl Dispatch<WlSeat, usize> for Desk {
    fn event(
        desk: &mut Desk,
        _: &WlSeat,
        event: wl_seat::Event,
        index: &usize,
        _: &Connection,
        _: &QueueHandle<Desk>,
    ) {
        let seat = &mut desk.seats[*index];
        match event {
            wl_seat::Event::Capabilities { capabilities: WEnum::Value(capabilities) } => {
                use wl_seat::Capability as C;
                seat.has_devices = capabilities.contains(C::Keyboard | C::Pointer);
            }
            wl_seat::Event::Name { name } => seat.name = name,
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

impl Dispatch<ZwlrForeignToplevelManagerV1, ()> for Desk {
    fn event(
        desk: &mut Desk,
        _: &ZwlrForeignToplevelManagerV1,
        event: zwlr_foreign_toplevel_manager_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Desk>,
    ) {
        if let zwlr_foreign_toplevel_manager_v1::Event::Toplevel { toplevel } = event {
            desk.windows.on_window(toplevel, clock::now());
        }
    }

    event_created_child!(Desk, ZwlrForeignToplevelManagerV1, [
        zwlr_foreign_toplevel_manager_v1::EVT_TOPLEVEL_OPCODE => (Toplevel, ()),
    ]);
}

impl Dispatch<Toplevel, ()> for Desk {
    fn event(
        desk: &mut Desk,
        window: &Toplevel,
        event: zwlr_foreign_toplevel_handle_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Desk>,
    ) {
        use zwlr_foreign_toplevel_handle_v1::Event as E;
        match event {
            E::Closed => {
                desk.windows.on_closed(window);
                window.destroy();
            }
            E::Done => {
                let wish = desk.windows.on_done(window, clock::now());
                desk.wish = wish.or(desk.wish.take());
            }
            E::OutputEnter { output } => {
                desk.windows.on_enter(window, desk.is_watched(&output));
            }
            E::OutputLeave { output } => {
                desk.windows.on_leave(window, desk.is_watched(&output));
            }
            E::State { state } => {
                let activated = zwlr_foreign_toplevel_handle_v1::State::Activated as u32;
                let mut states = state.as_chunks::<4>().0.iter();
                let is_active = states.any(|it| u32::from_ne_bytes(*it) == activated);
                desk.windows.on_active(window, is_active);
            }
            _ => {}
        }
    }
}

delegate_noop!(Desk: ZwpVirtualKeyboardManagerV1);
delegate_noop!(Desk: ZwpVirtualKeyboardV1);
delegate_noop!(Desk: ZwlrVirtualPointerManagerV1);
delegate_noop!(Desk: ZwlrVirtualPointerV1);
