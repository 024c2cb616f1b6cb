//! A keyboard and a pointer of a client's own, at a compositor of wlroots: virtual-keyboard-v1 and
//! wlr-virtual-pointer-v1.
//!
//! The pointer belongs to one output and does not leave it. Both belong to one seat; clients that
//! share a seat share its focus. Gamepads are not devices of compositors and not taken here.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;
use std::time::Instant;

use punktfunk_core::net::{clock, memfd};
use punktfunk_core::proto::input::{Input, PointerButton, Wheel};
use wayland_client::DispatchError;
use wayland_client::backend::WaylandError;
use wayland_client::protocol::wl_keyboard::KeymapFormat;
use wayland_client::protocol::wl_pointer::{Axis, AxisSource, ButtonState};
use wayland_protocols_misc::zwp_virtual_keyboard_v1::client::{
    zwp_virtual_keyboard_manager_v1::ZwpVirtualKeyboardManagerV1,
    zwp_virtual_keyboard_v1::ZwpVirtualKeyboardV1,
};
use wayland_protocols_wlr::foreign_toplevel::v1::client::zwlr_foreign_toplevel_manager_v1::ZwlrForeignToplevelManagerV1;
use wayland_protocols_wlr::virtual_pointer::v1::client::{
    zwlr_virtual_pointer_manager_v1::ZwlrVirtualPointerManagerV1,
    zwlr_virtual_pointer_v1::ZwlrVirtualPointerV1,
};

use super::desk::{Desk, Link};
use super::focus::Wish;
use super::keyboard::{self, Keyboard};
use super::pointer::{self, Mouse};
use crate::turn::Turn;

/// Acts that a compositor may leave unread before motion and scrolling are dropped.
const MOTION_OWED_MAX: usize = 256;
/// Acts that a compositor may leave unread before it is given up.
const OWED_MAX: usize = 8192;
/// As how many acts a keymap counts, which keeps a descriptor open until it is read.
const KEYMAP_WEIGHT: usize = 512;

/// The whole width or height of an output, in requests that put the pointer somewhere.
const EXTENT: u32 = 1 << 24;
/// What compositors say for one click of a wheel: degrees, as libinput has it.
const DEGREES_PER_CLICK: f64 = 15.0;
/// Parts of a click.
const CLICK: f64 = 120.0;

/// Where devices are for.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The socket of the compositor.
    pub socket: PathBuf,
    /// The output that the pointer does not leave.
    pub output: String,
    /// The seat that nothing else has devices at; without one, the first that there is.
    pub seat: Option<String>,
    /// Where commands go to a sway that may read devices of the kernel.
    pub ipc: Option<PathBuf>,
}

/// Why there are no devices.
#[derive(Debug)]
pub enum Error {
    /// The socket cannot be connected to.
    Connect(io::Error),
    /// The keymap cannot be handed over.
    Keymap(io::Error),
    /// The compositor went, or broke off.
    Lost(String),
    /// The compositor lacks this interface, in this version or a later one.
    Missing(&'static str, u32),
    /// The compositor has no such output.
    NoOutput(String),
    /// The compositor has no such seat, or none at all.
    NoSeat(String),
    /// The seat is gone, or the compositor took the devices from it.
    SeatLost(String),
    /// The compositor reads nothing any more.
    Stalled,
    /// The compositor did not answer in time.
    TimedOut,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Connect(error) => write!(f, "no connection to the compositor: {error}"),
            Error::Keymap(error) => write!(f, "no memory for a keymap: {error}"),
            Error::Lost(why) => write!(f, "compositor lost: {why}"),
            Error::Missing(interface, version) => {
                write!(f, "compositor without {interface} version {version}")
            }
            Error::NoOutput(name) => write!(f, "no output {name:?}"),
            Error::NoSeat(name) => write!(f, "no seat {name:?}"),
            Error::SeatLost(name) => write!(f, "devices taken from the seat {name:?}"),
            Error::Stalled => f.write_str("compositor that reads nothing"),
            Error::TimedOut => f.write_str("no answer from the compositor"),
        }
    }
}

impl std::error::Error for Error {}

impl From<WaylandError> for Error {
    fn from(error: WaylandError) -> Error {
        Error::Lost(error.to_string())
    }
}

impl From<DispatchError> for Error {
    fn from(error: DispatchError) -> Error {
        Error::Lost(error.to_string())
    }
}

/// The devices of one client. When the value goes, so do they, and nothing of them stays down.
pub struct Devices {
    link: Link,
    desk: Desk,
    /// The output that the pointer belongs to, by its place in the desk.
    output_index: usize,
    /// The seat, where it is theirs alone, by its place in the desk.
    seat_index: Option<usize>,
    pointer: ZwlrVirtualPointerV1,
    keyboard: ZwpVirtualKeyboardV1,
    keys: Keyboard,
    mouse: Mouse,
    /// Memory for what an input means; empty in between.
    key_acts: Vec<keyboard::Act>,
    pointer_acts: Vec<pointer::Act>,
    /// From when on times of events count.
    opened: Instant,
    /// Acts since the compositor has last read everything.
    owed_count: usize,
    dropped_count: u64,
    /// The last place that was dropped and when it was.
    dropped_place: Option<(pointer::Act, u32)>,
    is_lost: bool,
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Devices")
            .field("keys", &self.keys)
            .field("mouse", &self.mouse)
            .field("is_lost", &self.is_lost)
            .finish_non_exhaustive()
    }
}

impl Devices {
    /// Makes devices at that place. Waits for the compositor, for 15 seconds at most, so this is
    /// nothing for a thread that others wait for; the value may be given to another one.
    pub fn open(place: &Place) -> Result<Devices, Error> {
        let Place { socket, output, seat, .. } = place;
        let (link, desk) = Link::open(socket)?;
        let keyboards: ZwpVirtualKeyboardManagerV1 = link.bind(&desk, 1)?;
        let pointers: ZwlrVirtualPointerManagerV1 = link.bind(&desk, 2)?;
        let output_index = desk.output_index(output);
        let output_index = output_index.ok_or_else(|| Error::NoOutput(output.to_owned()))?;
        let seat_index = desk.seat_index(seat.as_deref());
        let seat_index =
            seat_index.ok_or_else(|| Error::NoSeat(seat.clone().unwrap_or_default()))?;
        let (output, handle) = (desk.output(output_index).proxy(), link.handle());
        let seat_index_own = seat.as_ref().map(|_| seat_index);
        let seat = desk.seat(seat_index).proxy();
        let pointer =
            pointers.create_virtual_pointer_with_output(Some(seat), Some(output), &handle, ());
        let keyboard = keyboards.create_virtual_keyboard(seat, &handle, ());
        pointers.destroy();
        let mut devices = Devices {
            link,
            desk,
            output_index,
            seat_index: seat_index_own,
            pointer,
            keyboard,
            keys: Keyboard::new(),
            mouse: Mouse::default(),
            key_acts: Vec::with_capacity(64),
            pointer_acts: Vec::with_capacity(8),
            opened: clock::now(),
            owed_count: 0,
            dropped_count: 0,
            dropped_place: None,
            is_lost: false,
        };
        devices.give_keymap().map_err(Error::Keymap)?;
        devices.tell_modifiers(devices.keys.held());
        // What it refuses, it has refused by the end of this.
        devices.link.roundtrip(&mut devices.desk)?;
        match devices.loss() {
            Some(error) => Err(error),
            None => {
                devices.watch_windows()?;
                Ok(devices)
            }
        }
    }

    /// Begins to keep the focus of a seat of their own on the output, where the compositor tells of
    /// windows.
    fn watch_windows(&mut self) -> Result<(), Error> {
        if self.seat_index.is_none() {
            return Ok(());
        }
        self.desk.watch(self.output_index);
        match self.link.bind::<ZwlrForeignToplevelManagerV1>(&self.desk, 1) {
            Ok(_) => self.link.roundtrip(&mut self.desk)?,
            Err(error) => log::debug!("input: a new window may take the focus: {error}"),
        }
        self.desk.settle();
        self.put_focus_right();
        Ok(())
    }

    /// Does what the focus of the seat needs.
    fn put_focus_right(&mut self) {
        let Some((wish, index)) = self.desk.take_wish().zip(self.seat_index) else { return };
        match wish {
            Wish::Focus(window) => window.activate(self.desk.seat(index).proxy()),
            Wish::Return => {
                let time = clock::now().saturating_duration_since(self.opened).as_millis() as u32;
                self.give(pointer::Act::MoveBy { dx: 0, dy: 0 }, time);
            }
        }
        let flushed = self.link.flush();
        self.on_flushed(flushed);
    }

    /// Takes what a client does. Never blocks; what the compositor does not read is owed, see
    /// [`Devices::handle_ready`].
    pub fn handle(&mut self, input: &Input) {
        let now = clock::now();
        let acts = &mut self.pointer_acts;
        match input {
            Input::Gamepad(_) => {}
            Input::Key(event) => {
                self.mouse.settle(acts);
                self.keys.handle_key(*event, &mut self.key_acts);
            }
            Input::Pen(pen) => self.mouse.handle_pen(pen, acts),
            Input::Pointer(pointer) => {
                let size = self.desk.output(self.output_index).size();
                self.mouse.handle_pointer(*pointer, size, now, acts);
            }
            Input::Text(text) => {
                self.mouse.settle(acts);
                self.keys.handle_text(text, &mut self.key_acts);
            }
            Input::Touch(touch) => self.mouse.handle_touch(touch, acts),
        }
        self.tell(now);
    }

    /// Every key, button and modifier that is down goes up.
    pub fn release_all(&mut self) {
        self.mouse.release_all(&mut self.pointer_acts);
        self.keys.release_all(&mut self.key_acts);
        self.tell(clock::now());
    }

    /// Does what is due by now.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.mouse.handle_timeout(now, &mut self.pointer_acts);
        self.tell(now);
    }

    /// When to call [`Devices::handle_timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.mouse.poll_timeout()
    }

    /// Takes what the compositor says and gives it what is owed. To be called whenever the
    /// descriptor becomes readable or writable; edges are enough. Never blocks.
    pub fn handle_ready(&mut self) {
        if self.is_lost {
            return;
        }
        let pumped = self.link.pump(&mut self.desk);
        self.on_flushed(pumped);
        if self.is_lost {
            return;
        }
        match self.loss() {
            Some(error) => {
                self.release_all();
                self.lose(&error);
            }
            None => self.put_focus_right(),
        }
    }

    /// Why input would go where it is not for.
    fn loss(&self) -> Option<Error> {
        let output = self.desk.output(self.output_index);
        let seat = self.seat_index.map(|index| self.desk.seat(index));
        if output.is_gone() {
            // Without its output the pointer would be everywhere.
            Some(Error::NoOutput(output.name().to_owned()))
        } else {
            // sway gives the devices of a seat to the user's with any command about seats.
            let seat = seat.filter(|seat| !seat.has_devices());
            seat.map(|seat| Error::SeatLost(seat.name().to_owned()))
        }
    }

    /// Whether the compositor, the output or the seat is gone. Input goes nowhere then; there may be
    /// devices elsewhere instead.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// How the screen of the output hangs.
    pub fn turn(&self) -> Turn {
        self.desk.output(self.output_index).turn()
    }

    /// Motion and scrolling that were dropped because the compositor did not read.
    pub fn dropped_count(&self) -> u64 {
        self.dropped_count
    }

    /// Tells the compositor all that is to be told.
    fn tell(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.opened).as_millis() as u32;
        let mut pointer_acts = std::mem::take(&mut self.pointer_acts);
        let mut key_acts = std::mem::take(&mut self.key_acts);
        let is_nothing = pointer_acts.is_empty() && key_acts.is_empty();
        if !self.is_lost && !is_nothing {
            for act in &pointer_acts {
                self.tell_pointer(*act, time);
            }
            for act in &key_acts {
                self.tell_key(*act, time);
            }
            let flushed = self.link.flush();
            self.on_flushed(flushed);
        }
        pointer_acts.clear();
        key_acts.clear();
        (self.pointer_acts, self.key_acts) = (pointer_acts, key_acts);
    }

    /// Takes whether everything was read.
    fn on_flushed(&mut self, flushed: Result<bool, Error>) {
        match flushed {
            Ok(true) if self.dropped_place.is_some() => {
                self.owed_count = 0;
                self.catch_up();
                let flushed = self.link.flush();
                self.on_flushed(flushed);
            }
            Ok(true) => self.owed_count = 0,
            Ok(false) if self.owed_count < OWED_MAX => {}
            Ok(false) => self.lose(&Error::Stalled),
            Err(error) => self.lose(&error),
        }
    }

    fn lose(&mut self, error: &Error) {
        log::warn!("input: {error}");
        self.is_lost = true;
    }

    fn tell_pointer(&mut self, act: pointer::Act, time: u32) {
        let is_button = matches!(act, pointer::Act::Button { .. });
        if !is_button && self.owed_count >= MOTION_OWED_MAX {
            self.dropped_count += 1;
            if matches!(act, pointer::Act::MoveTo { .. }) {
                self.dropped_place = Some((act, time));
            }
            return;
        }
        self.catch_up();
        self.give(act, time);
    }

    /// Puts the pointer where it would be: buttons are for that place.
    fn catch_up(&mut self) {
        if let Some((act, time)) = self.dropped_place.take() {
            self.give(act, time);
        }
    }

    fn give(&mut self, act: pointer::Act, time: u32) {
        self.owed_count += 1;
        let pointer = &self.pointer;
        match act {
            pointer::Act::Button { button, is_down } => {
                let state = if is_down { ButtonState::Pressed } else { ButtonState::Released };
                pointer.button(time, code(button), state);
            }
            pointer::Act::MoveBy { dx, dy } => pointer.motion(time, dx.into(), dy.into()),
            pointer::Act::MoveTo { x, y } => {
                let (x, y) = self.turn().on_screen((x, y), (1.0, 1.0));
                let [x, y] = [x, y].map(|share| (share * f64::from(EXTENT)).round() as u32);
                pointer.motion_absolute(time, x, y, EXTENT, EXTENT);
            }
            pointer::Act::Scroll { wheel, amount, click_count } => {
                // The axis of Wayland points down.
                let (axis, sign) = match wheel {
                    Wheel::Horizontal => (Axis::HorizontalScroll, 1),
                    Wheel::Vertical => (Axis::VerticalScroll, -1),
                };
                let degrees = f64::from(sign * amount) * DEGREES_PER_CLICK / CLICK;
                pointer.axis(time, axis, degrees);
                pointer.axis_source(AxisSource::Wheel);
                if click_count != 0 {
                    pointer.axis_discrete(time, axis, degrees, sign * click_count);
                }
            }
        }
        pointer.frame();
    }

    fn tell_key(&mut self, act: keyboard::Act, time: u32) {
        self.owed_count += if act == keyboard::Act::Keymap { KEYMAP_WEIGHT } else { 1 };
        match act {
            keyboard::Act::Key { key, is_down } => {
                self.keyboard.key(time, key.into(), is_down.into());
            }
            keyboard::Act::Keymap => {
                if let Err(error) = self.give_keymap() {
                    log::warn!("input: {}", Error::Keymap(error));
                }
            }
            keyboard::Act::Modifiers(held) => self.tell_modifiers(held),
        }
    }

    fn tell_modifiers(&self, held: keyboard::Held) {
        self.keyboard.modifiers(held.depressed_bits, 0, held.locked_bits, 0);
    }

    fn give_keymap(&self) -> io::Result<()> {
        let text = self.keys.keymap().to_text();
        let file = memfd::with(c"keymap", &text)?;
        self.keyboard.keymap(KeymapFormat::XkbV1.into(), file.as_fd(), text.len() as u32);
        Ok(())
    }
}

impl AsRawFd for Devices {
    fn as_raw_fd(&self) -> RawFd {
        self.link.as_raw_fd()
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        self.release_all();
        if !self.is_lost {
            self.pointer.destroy();
            self.keyboard.destroy();
            let _ = self.link.flush();
        }
    }
}

/// `BTN_*` of Linux.
fn code(button: PointerButton) -> u32 {
    match button {
        PointerButton::Left => 0x110,
        PointerButton::Right => 0x111,
        PointerButton::Middle => 0x112,
        PointerButton::Side => 0x113,
        PointerButton::Extra => 0x114,
    }
}
