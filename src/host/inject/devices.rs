//! What a client's keyboard, pointer, touch screen and pen are made with: the compositor, or the
//! kernel.
//!
//! No compositor takes fingers and pens from programs. Where it is sway that reads devices of the
//! kernel, these are used for that, and keyboard and pointer stay the compositor's.

#![forbid(unsafe_code)]

use std::fmt;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use punktfunk_core::net::uinput;
use punktfunk_core::proto::input::Input;

use super::surface::Surface;
use super::wayland::Place;
use super::{kernel, wayland};

/// Which is to be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// The compositor, and the kernel where that has no way.
    #[default]
    Auto,
    /// The compositor.
    Compositor,
    /// The kernel.
    Uinput,
}

/// A keyboard and a pointer. When the value goes, so do they, and nothing of them stays down.
#[derive(Debug)]
pub enum Devices {
    /// At a compositor; fingers and pens there are of the kernel's, or else pointers.
    Compositor(Box<wayland::Devices>, Option<Box<Surface>>),
    /// Of the kernel's.
    Kernel(Box<kernel::Devices>),
}

/// Why there are none.
#[derive(Debug)]
pub enum Error {
    /// The compositor.
    Compositor(wayland::Error),
    /// The kernel.
    Kernel(uinput::Error),
    /// The compositor has no way, and the kernel none either.
    Neither(wayland::Error, uinput::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Compositor(error) => error.fmt(f),
            Error::Kernel(error) => error.fmt(f),
            Error::Neither(compositor, kernel) => write!(f, "{compositor}, and {kernel}"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// Whether there may be devices later: a compositor that hangs does not do so for ever.
    pub fn may_pass(&self) -> bool {
        match self {
            Error::Compositor(wayland::Error::Missing(..)) => false,
            Error::Compositor(_) => true,
            Error::Kernel(_) | Error::Neither(..) => false,
        }
    }
}

impl Devices {
    /// Makes devices for a display at that place. Waits for the compositor, for 15 seconds at most,
    /// and for the kernel, some milliseconds.
    pub fn open(place: &Place, way: Way) -> Result<Devices, Error> {
        let compositor = || wayland::Devices::open(place).map(Box::new);
        match way {
            Way::Compositor => {
                let devices = compositor().map_err(Error::Compositor)?;
                Ok(Devices::Compositor(devices, None))
            }
            Way::Uinput => kernel(place).map_err(Error::Kernel),
            Way::Auto => match compositor() {
                Err(missing @ wayland::Error::Missing(..)) => {
                    kernel(place).map_err(|error| Error::Neither(missing, error))
                }
                Err(error) => Err(Error::Compositor(error)),
                Ok(devices) => {
                    let surface = surface(place).inspect_err(|why| {
                        log::debug!("input: fingers and pens are pointers: {why}");
                    });
                    Ok(Devices::Compositor(devices, surface.ok()))
                }
            },
        }
    }

    /// What they are made with, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Devices::Compositor(_, None) => "the compositor",
            Devices::Compositor(_, Some(_)) => "the compositor, touch and pen by uinput",
            Devices::Kernel(_) => "uinput",
        }
    }

    /// What is to be watched for [`Devices::handle_ready`], if anything.
    pub fn fd(&self) -> Option<RawFd> {
        match self {
            Devices::Compositor(devices, _) => Some(devices.as_raw_fd()),
            Devices::Kernel(_) => None,
        }
    }

    /// Takes what a client does. Never blocks.
    pub fn handle(&mut self, input: &Input) {
        match (self, input) {
            (Devices::Compositor(devices, Some(surface)), Input::Pen(_) | Input::Touch(_)) => {
                surface.set_turn(devices.turn());
                surface.handle(input);
            }
            (Devices::Compositor(devices, _), _) => devices.handle(input),
            (Devices::Kernel(devices), _) => devices.handle(input),
        }
    }

    /// Everything that is down goes up.
    pub fn release_all(&mut self) {
        match self {
            Devices::Compositor(devices, surface) => {
                surface.iter_mut().for_each(|surface| surface.release_all());
                devices.release_all();
            }
            Devices::Kernel(devices) => devices.release_all(),
        }
    }

    /// Does what is due by now.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self {
            Devices::Compositor(devices, _) => devices.handle_timeout(now),
            Devices::Kernel(devices) => devices.handle_timeout(now),
        }
    }

    /// When to call [`Devices::handle_timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Devices::Compositor(devices, _) => devices.poll_timeout(),
            Devices::Kernel(devices) => devices.poll_timeout(),
        }
    }

    /// To be called when the descriptor becomes readable or writable; edges are enough.
    pub fn handle_ready(&mut self) {
        if let Devices::Compositor(devices, _) = self {
            devices.handle_ready();
        }
    }

    /// Whether input goes nowhere any more. There may be devices elsewhere instead.
    pub fn is_lost(&self) -> bool {
        match self {
            Devices::Compositor(devices, _) => devices.is_lost(),
            Devices::Kernel(_) => false,
        }
    }

    /// Motion and scrolling that were dropped because nobody read them.
    pub fn dropped_count(&self) -> u64 {
        match self {
            Devices::Compositor(devices, _) => devices.dropped_count(),
            Devices::Kernel(_) => 0,
        }
    }
}

/// All devices by the kernel. Keyboard and pointer are where the desktop has them, fingers and pens on
/// the output of the session where that can be said.
fn kernel(place: &Place) -> Result<Devices, uinput::Error> {
    let mut devices = kernel::Devices::open()?;
    if let Some(socket) = &place.ipc {
        match devices.surface().map(socket, &place.output) {
            Ok(true) => {}
            Ok(false) => log::debug!("input: sway does not read devices of the kernel"),
            Err(error) => log::debug!("input: touch and pen are for no output: {error}"),
        }
    }
    Ok(Devices::Kernel(Box::new(devices)))
}

/// A touch screen and a pen of the kernel's on the output of the session, or why there are none.
fn surface(place: &Place) -> Result<Box<Surface>, String> {
    // Devices of the kernel are the first seat's, whose focus is not to be taken by another session.
    let socket = place.ipc.as_ref().filter(|_| place.seat.is_none());
    let socket = socket.ok_or("no sway of the user's whose first seat it is")?;
    let mut surface = Surface::open().map_err(|error| error.to_string())?;
    match surface.map(socket, &place.output) {
        Ok(true) => Ok(Box::new(surface)),
        Ok(false) => Err("sway does not read devices of the kernel".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
