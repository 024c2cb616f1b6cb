//! One device of the kernel's, made by uinput: events in, and what programs want of its motors out.
//!
//! By the interface of linux/uinput.h, version 5, which Linux has since 4.5. The crate evdev 0.13
//! offers the same but for the physical path, whose ioctl it numbers wrongly, and panics at effects
//! that it does not know.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::ptr;
use std::time::Duration;

/// What devices are made with.
pub const PATH: &str = "/dev/uinput";

const BASE: u32 = b'U' as u32;
const UI_DEV_CREATE: libc::Ioctl = libc::_IO(BASE, 1);
const UI_DEV_SETUP: libc::Ioctl = libc::_IOW::<libc::uinput_setup>(BASE, 3);
const UI_ABS_SETUP: libc::Ioctl = libc::_IOW::<libc::uinput_abs_setup>(BASE, 4);
const UI_SET_EVBIT: libc::Ioctl = libc::_IOW::<c_int>(BASE, 100);
const UI_SET_KEYBIT: libc::Ioctl = libc::_IOW::<c_int>(BASE, 101);
const UI_SET_RELBIT: libc::Ioctl = libc::_IOW::<c_int>(BASE, 102);
const UI_SET_MSCBIT: libc::Ioctl = libc::_IOW::<c_int>(BASE, 104);
const UI_SET_FFBIT: libc::Ioctl = libc::_IOW::<c_int>(BASE, 107);
const UI_SET_PHYS: libc::Ioctl = libc::_IOW::<*const c_char>(BASE, 108);
const UI_SET_PROPBIT: libc::Ioctl = libc::_IOW::<c_int>(BASE, 110);
const UI_BEGIN_FF_UPLOAD: libc::Ioctl = libc::_IOWR::<libc::uinput_ff_upload>(BASE, 200);
const UI_END_FF_UPLOAD: libc::Ioctl = libc::_IOW::<libc::uinput_ff_upload>(BASE, 201);
const UI_BEGIN_FF_ERASE: libc::Ioctl = libc::_IOWR::<libc::uinput_ff_erase>(BASE, 202);
const UI_END_FF_ERASE: libc::Ioctl = libc::_IOW::<libc::uinput_ff_erase>(BASE, 203);

/// Of linux/input-event-codes.h and linux/uinput.h.
const EV_SYN: u16 = 0x00;
const EV_KEY: u16 = 0x01;
const EV_REL: u16 = 0x02;
const EV_ABS: u16 = 0x03;
const EV_MSC: u16 = 0x04;
const EV_FF: u16 = 0x15;
const EV_UINPUT: u16 = 0x0101;
const SYN_REPORT: u16 = 0;
const UI_FF_UPLOAD: u16 = 1;
const UI_FF_ERASE: u16 = 2;
const FF_RUMBLE: u16 = 0x50;
const FF_PERIODIC: u16 = 0x51;
const FF_GAIN: u16 = 0x60;

/// Effects of one device at once, as the kernel's ff-memless has them.
pub const EFFECT_COUNT_MAX: usize = 16;

/// Why there is no device.
#[derive(Debug)]
pub enum Error {
    /// This user may not.
    Denied(io::Error),
    /// The kernel has no uinput, or not now.
    Missing,
    /// Something else.
    Refused(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Denied(error) => write!(
                f,
                "{PATH}: {error}: its user needs 60-punktfunk.rules of udev, and where it has no \
                 seat the group punktfunk"
            ),
            Error::Missing => write!(f, "no {PATH}: 'modprobe uinput' brings it"),
            Error::Refused(error) => write!(f, "{PATH}: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        match (error.kind(), error.raw_os_error()) {
            (ErrorKind::PermissionDenied, _) => Error::Denied(error),
            (ErrorKind::NotFound, _) | (_, Some(libc::ENODEV | libc::ENXIO)) => Error::Missing,
            _ => Error::Refused(error),
        }
    }
}

/// What programs know a device by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Id {
    /// `BUS_*`.
    pub bus: u16,
    /// Of USB.
    pub vendor: u16,
    /// The vendor's number.
    pub product: u16,
    /// The product's.
    pub version: u16,
}

/// An absolute axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Axis {
    /// `ABS_*`.
    pub code: u16,
    /// The least value.
    pub min: i32,
    /// The greatest.
    pub max: i32,
    /// Changes up to this are noise.
    pub fuzz: i32,
    /// Values up to this off the middle are the middle.
    pub flat: i32,
    /// Steps to a unit.
    pub resolution: i32,
    /// Where it is while nobody touches it.
    pub rest: i32,
}

impl Axis {
    /// One that goes so far, rests at 0 and is exact.
    pub const fn new(code: u16, min: i32, max: i32) -> Axis {
        Axis { code, min, max, fuzz: 0, flat: 0, resolution: 0, rest: 0 }
    }
}

/// What a device is made from.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// At most 79 bytes.
    pub name: String,
    /// What programs know it by.
    pub id: Id,
    /// `BTN_*` and `KEY_*`.
    pub keys: Vec<u16>,
    /// `REL_*`.
    pub ways: Vec<u16>,
    /// Absolute axes.
    pub axes: Vec<Axis>,
    /// `MSC_*`.
    pub miscs: Vec<u16>,
    /// `INPUT_PROP_*`.
    pub properties: Vec<u16>,
    /// `FF_*`.
    pub effects: Vec<u16>,
}

/// What a program uploads: once played, it waits, then runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What it does while it runs.
    pub force: Force,
    /// It waits so long.
    pub delay: Duration,
    /// It runs so long; zero is for ever.
    pub length: Duration,
}

/// What an effect does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It swings.
    Periodic {
        /// How far, of 32767; either sign shakes.
        magnitude: i16,
        /// How long it takes from what magnitude to its own.
        attack: (Duration, u16),
        /// How long it takes from its own magnitude to which.
        fade: (Duration, u16),
    },
    /// It turns motors; 65535 is all they can.
    Rumble {
        /// The heavy one.
        strong: u16,
        /// The light one.
        weak: u16,
    },
}

/// What programs want of the motors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The effect of that number is no more.
    Erase(usize),
    /// All strengths are multiplied by this; 65535 is once.
    Gain(u16),
    /// The effect of that number runs so often; none or less stops it.
    Play(usize, i32),
    /// That number stands for this effect.
    Upload(usize, Effect),
}

/// See the module. The device goes with the value, for which the kernel waits for its readers.
pub struct Node {
    file: File,
    /// Those that were put and not sent.
    events: Vec<libc::input_event>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Node {
    /// Makes a device that is said to be plugged in there. Takes the kernel milliseconds, some more where udev is busy.
    pub fn open(shape: &Shape, phys: &CStr) -> Result<Node, Error> {
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(PATH)?;
        let node = Node { file, events: Vec::with_capacity(64) };
        // SAFETY: the string ends and outlives the call, which copies it.
        unsafe { node.control(UI_SET_PHYS, phys.as_ptr().cast()) }?;
        for (kind, request, codes) in [
            (Some(EV_KEY), UI_SET_KEYBIT, &shape.keys),
            (Some(EV_REL), UI_SET_RELBIT, &shape.ways),
            (Some(EV_MSC), UI_SET_MSCBIT, &shape.miscs),
            (Some(EV_FF), UI_SET_FFBIT, &shape.effects),
            (None, UI_SET_PROPBIT, &shape.properties),
        ] {
            if let Some(kind) = kind.filter(|_| !codes.is_empty()) {
                node.set(UI_SET_EVBIT, kind)?;
            }
            codes.iter().try_for_each(|code| node.set(request, *code))?;
        }
        if !shape.axes.is_empty() {
            node.set(UI_SET_EVBIT, EV_ABS)?;
        }
        // The kernel sets the bit of the axis with it.
        shape.axes.iter().try_for_each(|axis| node.set_axis(axis))?;
        node.create(shape)?;
        Ok(node)
    }

    fn set(&self, request: libc::Ioctl, code: u16) -> io::Result<()> {
        // SAFETY: the request takes a number.
        unsafe { self.control(request, ptr::without_provenance(code.into())) }
    }

    fn set_axis(&self, axis: &Axis) -> io::Result<()> {
        let setup = libc::uinput_abs_setup {
            code: axis.code,
            absinfo: libc::input_absinfo {
                value: axis.rest,
                minimum: axis.min,
                maximum: axis.max,
                fuzz: axis.fuzz,
                flat: axis.flat,
                resolution: axis.resolution,
            },
        };
        // SAFETY: the value outlives the call, which reads it.
        unsafe { self.control(UI_ABS_SETUP, (&raw const setup).cast()) }
    }

    fn create(&self, shape: &Shape) -> io::Result<()> {
        let mut setup = libc::uinput_setup {
            id: libc::input_id {
                bustype: shape.id.bus,
                vendor: shape.id.vendor,
                product: shape.id.product,
                version: shape.id.version,
            },
            name: [0; libc::UINPUT_MAX_NAME_SIZE],
            ff_effects_max: if shape.effects.is_empty() { 0 } else { EFFECT_COUNT_MAX as u32 },
        };
        // The last byte stays 0.
        let room = &mut setup.name[..libc::UINPUT_MAX_NAME_SIZE - 1];
        for (to, from) in room.iter_mut().zip(shape.name.bytes()) {
            *to = from as c_char;
        }
        // SAFETY: the value outlives the call, which reads it.
        unsafe { self.control(UI_DEV_SETUP, (&raw const setup).cast()) }?;
        // SAFETY: the request takes nothing.
        unsafe { self.control(UI_DEV_CREATE, ptr::null()) }
    }

    /// Puts an event into the packet to come.
    pub fn put(&mut self, kind: u16, code: u16, value: i32) {
        let time = libc::timeval { tv_sec: 0, tv_usec: 0 };
        self.events.push(libc::input_event { time, type_: kind, code, value });
    }

    /// Sends the packet, at once and by one call. What is as it was is left out by the kernel.
    pub fn send(&mut self) {
        self.put(EV_SYN, SYN_REPORT, 0);
        let len = mem::size_of_val(&self.events[..]);
        // SAFETY: the events are `len` bytes of plain numbers, borrowed until the call returns.
        let sent = unsafe { libc::write(self.as_raw_fd(), self.events.as_ptr().cast(), len) };
        if sent < 0 {
            log::debug!("input: {PATH}: {}", io::Error::last_os_error());
        }
        self.events.clear();
    }

    /// The next thing that a program wants. Whoever uploads or erases is answered at once; it waits
    /// for that.
    pub fn poll(&mut self) -> Option<Request> {
        loop {
            let event = self.read()?;
            let id = usize::from(event.code);
            match (event.type_, event.code) {
                (EV_UINPUT, UI_FF_UPLOAD) => {
                    if let Some((id, effect)) = self.take_upload(event.value as u32) {
                        return Some(Request::Upload(id, effect));
                    }
                }
                (EV_UINPUT, UI_FF_ERASE) => {
                    if let Some(id) = self.take_erase(event.value as u32) {
                        return Some(Request::Erase(id));
                    }
                }
                (EV_FF, FF_GAIN) => {
                    let gain = event.value.clamp(0, u16::MAX.into());
                    return Some(Request::Gain(gain as u16));
                }
                (EV_FF, _) if id < EFFECT_COUNT_MAX => {
                    return Some(Request::Play(id, event.value));
                }
                _ => {}
            }
        }
    }

    fn read(&self) -> Option<libc::input_event> {
        let mut event = mem::MaybeUninit::<libc::input_event>::uninit();
        let len = mem::size_of::<libc::input_event>();
        // SAFETY: there is room for `len` bytes.
        let read = unsafe { libc::read(self.as_raw_fd(), event.as_mut_ptr().cast(), len) };
        // SAFETY: all of it was written, and any bytes are an event.
        (usize::try_from(read) == Ok(len)).then(|| unsafe { event.assume_init() })
    }

    fn take_upload(&self, request_id: u32) -> Option<(usize, Effect)> {
        // SAFETY: numbers alone, for which zero is a value.
        let mut upload: libc::uinput_ff_upload = unsafe { mem::zeroed() };
        upload.request_id = request_id;
        // SAFETY: the value outlives the call, which reads and writes it.
        unsafe { self.control(UI_BEGIN_FF_UPLOAD, (&raw mut upload).cast()) }.ok()?;
        let id = usize::try_from(upload.effect.id).ok().filter(|id| *id < EFFECT_COUNT_MAX);
        let taken = id.zip(parse(&upload.effect));
        upload.retval = if taken.is_some() { 0 } else { -libc::EINVAL };
        // SAFETY: the value outlives the call, which reads it.
        unsafe { self.control(UI_END_FF_UPLOAD, (&raw const upload).cast()) }.ok()?;
        taken
    }

    fn take_erase(&self, request_id: u32) -> Option<usize> {
        let mut erase = libc::uinput_ff_erase { request_id, retval: 0, effect_id: 0 };
        // SAFETY: the value outlives the call, which reads and writes it.
        unsafe { self.control(UI_BEGIN_FF_ERASE, (&raw mut erase).cast()) }.ok()?;
        erase.retval = 0;
        // SAFETY: the value outlives the call, which reads it.
        unsafe { self.control(UI_END_FF_ERASE, (&raw const erase).cast()) }.ok()?;
        usize::try_from(erase.effect_id).ok()
    }

    /// # Safety
    ///
    /// The argument is what the request takes; what it points to lives until the call returns.
    unsafe fn control(&self, request: libc::Ioctl, argument: *const c_void) -> io::Result<()> {
        // SAFETY: the descriptor is open, and the rest is the caller's promise.
        let result = unsafe { libc::ioctl(self.as_raw_fd(), request, argument) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsRawFd for Node {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// An effect of the two kinds that motors can do: struct ff_rumble_effect and struct
/// ff_periodic_effect in linux/input.h.
fn parse(effect: &libc::ff_effect) -> Option<Effect> {
    let mut bytes = [0; 32];
    for (to, word) in bytes.chunks_exact_mut(mem::size_of_val(&effect.u[0])).zip(effect.u) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    let number = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let time = |ms: u16| Duration::from_millis(ms.into());
    let force = match effect.type_ {
        FF_RUMBLE => Force::Rumble { strong: number(0), weak: number(2) },
        FF_PERIODIC => Force::Periodic {
            magnitude: number(4) as i16,
            attack: (time(number(10)), number(12)),
            fade: (time(number(14)), number(16)),
        },
        _ => return None,
    };
    let (delay, length) = (time(effect.replay.delay), time(effect.replay.length));
    Some(Effect { force, delay, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(kind: u16, bytes: &[u8]) -> libc::ff_effect {
        // SAFETY: numbers alone, for which zero is a value.
        let mut effect: libc::ff_effect = unsafe { mem::zeroed() };
        effect.type_ = kind;
        effect.replay = libc::ff_replay { length: 300, delay: 20 };
        let len = mem::size_of_val(&effect.u[0]);
        let mut padded = bytes.to_vec();
        padded.resize(len * effect.u.len(), 0);
        for (word, bytes) in effect.u.iter_mut().zip(padded.chunks_exact(len)) {
            *word = u64::from_ne_bytes(bytes.try_into().unwrap());
        }
        effect
    }

    fn bytes(numbers: &[u16]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
    }

    #[test]
    fn effects_of_two_kinds_turn_motors() {
        let rumble = parse(&effect(FF_RUMBLE, &bytes(&[0x1234, 0xffff]))).unwrap();
        let magnitude = -0x4000_i16 as u16;
        let numbers = [0x5a, 10, magnitude, 0, 0, 100, 0x7fff, 200, 0x0001];
        let periodic = parse(&effect(FF_PERIODIC, &bytes(&numbers))).unwrap();

        let [length, delay] = [300, 20].map(Duration::from_millis);
        assert_eq!(rumble.force, Force::Rumble { strong: 0x1234, weak: 0xffff });
        assert_eq!((rumble.delay, rumble.length), (delay, length));
        let [attack, fade] = [100, 200].map(Duration::from_millis);
        let (attack, fade) = ((attack, 0x7fff), (fade, 1));
        assert_eq!(periodic.force, Force::Periodic { magnitude: -0x4000, attack, fade });
        assert_eq!(parse(&effect(0x52, &[])), None);
    }

    #[test]
    fn what_is_missing_is_told() {
        let table = [
            (libc::ENOENT, "no /dev/uinput: 'modprobe uinput' brings it"),
            (libc::ENODEV, "no /dev/uinput: 'modprobe uinput' brings it"),
            (
                libc::EACCES,
                "/dev/uinput: Permission denied (os error 13): its user needs 60-punktfunk.rules of \
                 udev, and where it has no seat the group punktfunk",
            ),
            (libc::ENOMEM, "/dev/uinput: Cannot allocate memory (os error 12)"),
        ];
        for (number, expected) in table {
            assert_eq!(Error::from(io::Error::from_raw_os_error(number)).to_string(), expected);
        }
    }
}
