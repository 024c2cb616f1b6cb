//! What a client's keyboard and pointer are made with: the compositor, or the kernel.

#![forbid(unsafe_code)]

use std::fmt;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use punktfunk_core::net::uinput;
use punktfunk_core::proto::input::Input;

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
    /// At a compositor.
    Compositor(Box<wayland::Devices>),
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

impl Devices {
    /// Makes devices for a display at that place. Waits for the compositor, for 15 seconds at most,
    /// and for the kernel, some milliseconds.
    pub fn open(place: &Place, way: Way) -> Result<Devices, Error> {
        let compositor = || Ok(Devices::Compositor(Box::new(wayland::Devices::open(place)?)));
        let kernel = || Ok(Devices::Kernel(Box::new(kernel::Devices::open()?)));
        match way {
            Way::Compositor => compositor().map_err(Error::Compositor),
            Way::Uinput => kernel().map_err(Error::Kernel),
            Way::Auto => match compositor() {
                Err(missing @ wayland::Error::Missing(..)) => {
                    kernel().map_err(|error| Error::Neither(missing, error))
                }
                opened => opened.map_err(Error::Compositor),
            },
        }
    }

    /// What they are made with, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Devices::Compositor(_) => "the compositor",
            Devices::Kernel(_) => "uinput",
        }
    }

    /// What is to be watched for [`Devices::handle_ready`], if anything.
    pub fn fd(&self) -> Option<RawFd> {
        match self {
            Devices::Compositor(devices) => Some(devices.as_raw_fd()),
            Devices::Kernel(_) => None,
        }
    }

    /// Takes what a client does. Never blocks.
    pub fn handle(&mut self, input: &Input) {
        match self {
            Devices::Compositor(devices) => devices.handle(input),
            Devices::Kernel(devices) => devices.handle(input),
        }
    }

    /// Everything that is down goes up.
    pub fn release_all(&mut self) {
        match self {
            Devices::Compositor(devices) => devices.release_all(),
            Devices::Kernel(devices) => devices.release_all(),
        }
    }

    /// Does what is due by now.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self {
            Devices::Compositor(devices) => devices.handle_timeout(now),
            Devices::Kernel(devices) => devices.handle_timeout(now),
        }
    }

    /// When to call [`Devices::handle_timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Devices::Compositor(devices) => devices.poll_timeout(),
            Devices::Kernel(devices) => devices.poll_timeout(),
        }
    }

    /// To be called when the descriptor becomes readable or writable; edges are enough.
    pub fn handle_ready(&mut self) {
        if let Devices::Compositor(devices) = self {
            devices.handle_ready();
        }
    }

    /// Whether input goes nowhere any more. There may be devices elsewhere instead.
    pub fn is_lost(&self) -> bool {
        match self {
            Devices::Compositor(devices) => devices.is_lost(),
            Devices::Kernel(_) => false,
        }
    }

    /// Motion and scrolling that were dropped because nobody read them.
    pub fn dropped_count(&self) -> u64 {
        match self {
            Devices::Compositor(devices) => devices.dropped_count(),
            Devices::Kernel(_) => 0,
        }
    }
}
