//! Recording from a PulseAudio server, or PipeWire in its place, by libpulse.
//!
//! The library is loaded when the first recorder is opened. It is driven from the caller's thread
//! by its plain main loop, so a recorder adds no thread and no call waits for ever. What is recorded is never moved to another source: when a monitor goes away, the
//! server's choice may be a microphone.

#![allow(unsafe_code, reason = "libpulse is a C library")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fmt, mem};

use punktfunk_core::net::clock;
use punktfunk_core::net::library::{self, Library};

use super::{CHANNEL_COUNT_MAX, SAMPLE_RATE};

/// A server that gives no sound, and does not answer, for so long is lost. A recorder's source
/// runs as long as it is recorded from, silence or not.
pub const STALL_MAX: Duration = Duration::from_secs(1);

/// What is newly recorded from may take this long to give sound: an idle sink has played two
/// seconds of silence in advance.
const OPEN_TIME_MAX: Duration = Duration::from_secs(4);

const LIBRARY: &str = "libpulse.so.0";

// From pulse/sample.h, def.h and channelmap.h, which are the same for every libpulse.so.0.
const SAMPLE_FLOAT32_LE: c_int = 5;
const CONTEXT_READY: c_int = 4;
const CONTEXT_FAILED: c_int = 5;
const STREAM_READY: c_int = 2;
const STREAM_FAILED: c_int = 3;
const CONTEXT_NO_AUTOSPAWN: c_int = 0x1;
const STREAM_DONT_MOVE: c_int = 0x200;
const STREAM_ADJUST_LATENCY: c_int = 0x2000;
/// FL FR FC LFE BL BR SL SR.
const POSITIONS: [c_int; CHANNEL_COUNT_MAX] = [1, 2, 3, 7, 5, 6, 10, 11];
/// The server chooses.
const DEFAULT: u32 = u32::MAX;

/// `pa_sample_spec`.
#[repr(C)]
struct SampleSpec {
    format: c_int,
    rate: u32,
    channel_count: u8,
}

/// `pa_channel_map`.
#[repr(C)]
struct ChannelMap {
    channel_count: u8,
    positions: [c_int; 32],
}

/// `pa_buffer_attr`.
#[repr(C)]
struct BufferAttributes {
    len_max: u32,
    target_len: u32,
    prebuffer_len: u32,
    request_len_min: u32,
    fragment_len: u32,
}

type Opaque = *mut c_void;

/// The functions of the library that are used, each with its name there and its type.
macro_rules! functions {
    ($($field:ident: $name:literal $type:ty;)*) => {
        struct Api {
            $($field: $type,)*
        }

        impl Api {
            fn find(library: Library) -> Result<Api, library::Error> {
                $(
                    let address = library.symbol($name)?.as_ptr();
                    // SAFETY: not null, and the library's headers declare a function of that name
                    // and type. Its ABI is part of the name of its file.
                    let $field = unsafe { mem::transmute::<*mut c_void, $type>(address) };
                )*
                Ok(Api { $($field,)* })
            }
        }
    };
}

functions! {
    mainloop_new: c"pa_mainloop_new" unsafe extern "C" fn() -> Opaque;
    mainloop_free: c"pa_mainloop_free" unsafe extern "C" fn(Opaque);
    mainloop_get_api: c"pa_mainloop_get_api" unsafe extern "C" fn(Opaque) -> Opaque;
    mainloop_prepare: c"pa_mainloop_prepare" unsafe extern "C" fn(Opaque, c_int) -> c_int;
    mainloop_poll: c"pa_mainloop_poll" unsafe extern "C" fn(Opaque) -> c_int;
    mainloop_dispatch: c"pa_mainloop_dispatch" unsafe extern "C" fn(Opaque) -> c_int;
    context_new: c"pa_context_new" unsafe extern "C" fn(Opaque, *const c_char) -> Opaque;
    context_connect: c"pa_context_connect"
        unsafe extern "C" fn(Opaque, *const c_char, c_int, *const c_void) -> c_int;
    context_get_state: c"pa_context_get_state" unsafe extern "C" fn(Opaque) -> c_int;
    context_errno: c"pa_context_errno" unsafe extern "C" fn(Opaque) -> c_int;
    context_disconnect: c"pa_context_disconnect" unsafe extern "C" fn(Opaque);
    context_unref: c"pa_context_unref" unsafe extern "C" fn(Opaque);
    stream_new: c"pa_stream_new"
        unsafe extern "C" fn(Opaque, *const c_char, *const SampleSpec, *const ChannelMap) -> Opaque;
    stream_connect_record: c"pa_stream_connect_record"
        unsafe extern "C" fn(Opaque, *const c_char, *const BufferAttributes, c_int) -> c_int;
    stream_get_state: c"pa_stream_get_state" unsafe extern "C" fn(Opaque) -> c_int;
    stream_peek: c"pa_stream_peek"
        unsafe extern "C" fn(Opaque, *mut *const c_void, *mut usize) -> c_int;
    stream_drop: c"pa_stream_drop" unsafe extern "C" fn(Opaque) -> c_int;
    stream_disconnect: c"pa_stream_disconnect" unsafe extern "C" fn(Opaque) -> c_int;
    stream_unref: c"pa_stream_unref" unsafe extern "C" fn(Opaque);
    strerror: c"pa_strerror" unsafe extern "C" fn(c_int) -> *const c_char;
}

/// Why there is no sound from the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The library is not there, or not what it should be.
    Library(library::Error),
    /// A name with a byte in it that ends names.
    Name(String),
    /// What the server, or the library in its place, says.
    Server {
        /// What did not happen, as in "not connected".
        not_done: &'static str,
        /// Why.
        text: String,
    },
    /// Nothing from the server for so long.
    Stalled(Duration),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Library(error) => {
                write!(f, "{error}: the package libpulse0 brings {LIBRARY}")
            }
            Error::Name(name) => write!(f, "no name for a server or source: {name:?}"),
            Error::Server { not_done, text } => write!(f, "{not_done}: {text}"),
            Error::Stalled(time) => write!(f, "nothing heard for {} ms", time.as_millis()),
        }
    }
}

impl std::error::Error for Error {}

impl Api {
    /// The one of this process.
    fn load() -> Result<&'static Api, Error> {
        static API: OnceLock<Result<Api, library::Error>> = OnceLock::new();
        let api = API.get_or_init(|| Library::open(Path::new(LIBRARY)).and_then(Api::find));
        api.as_ref().map_err(|error| Error::Library(error.clone()))
    }
}

/// Until when something is waited for, and for how long in all.
#[derive(Clone, Copy)]
struct Deadline {
    at: Instant,
    time: Duration,
}

impl Deadline {
    fn after(time: Duration) -> Deadline {
        Deadline { at: clock::now() + time, time }
    }
}

/// The library's main loop and a connection of it to a server.
struct Connection {
    api: &'static Api,
    mainloop: NonNull<c_void>,
    context: NonNull<c_void>,
}

/// A source that is recorded from.
pub struct Recorder {
    connection: Connection,
    stream: NonNull<c_void>,
    /// The fragment that is being read; null for a hole, which is heard as silence.
    fragment: *const f32,
    /// Samples of the fragment, and how many of them are read.
    fragment_count: usize,
    read_count: usize,
}

// SAFETY: the library's objects are bound to no thread, and `&mut self`, or the value itself, is
// needed for every call on them.
unsafe impl Send for Recorder {}

impl Connection {
    /// Connects, to the library's choice of a server without a name of one.
    fn open(server: Option<&CStr>, deadline: Deadline) -> Result<Connection, Error> {
        let api = Api::load()?;
        // SAFETY: takes nothing.
        let mainloop = NonNull::new(unsafe { (api.mainloop_new)() }).ok_or_else(out_of_memory)?;
        // SAFETY: the loop lives; the name is a string that ends.
        let context = unsafe {
            let loop_api = (api.mainloop_get_api)(mainloop.as_ptr());
            (api.context_new)(loop_api, c"punktfunkd".as_ptr())
        };
        let Some(context) = NonNull::new(context) else {
            // SAFETY: the loop is this function's, and nothing refers to it.
            unsafe { (api.mainloop_free)(mainloop.as_ptr()) };
            return Err(out_of_memory());
        };
        let mut connection = Connection { api, mainloop, context };
        let name = server.map_or(ptr::null(), CStr::as_ptr);
        // SAFETY: the context lives; `name` is null or a string that ends; no spawn functions.
        let result = unsafe {
            (api.context_connect)(context.as_ptr(), name, CONTEXT_NO_AUTOSPAWN, ptr::null())
        };
        if result < 0 {
            return Err(connection.error("not connected"));
        }
        loop {
            // SAFETY: the context lives.
            let state = unsafe { (api.context_get_state)(context.as_ptr()) };
            match state {
                CONTEXT_READY => return Ok(connection),
                CONTEXT_FAILED.. => return Err(connection.error("not connected")),
                _ => connection.iterate(deadline)?,
            }
        }
    }

    /// Waits for the server to say something, and takes it in.
    fn iterate(&mut self, deadline: Deadline) -> Result<(), Error> {
        let left = deadline.at.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Err(Error::Stalled(deadline.time));
        }
        let left_us = c_int::try_from(left.as_micros()).unwrap_or(c_int::MAX).max(1);
        let (api, mainloop) = (self.api, self.mainloop.as_ptr());
        // SAFETY: the loop lives, and the calls are in the order that it wants. No callback runs.
        let is_done = unsafe {
            (api.mainloop_prepare)(mainloop, left_us) >= 0
                && (api.mainloop_poll)(mainloop) >= 0
                && (api.mainloop_dispatch)(mainloop) >= 0
        };
        if is_done { Ok(()) } else { Err(self.error("not heard")) }
    }

    fn error(&self, not_done: &'static str) -> Error {
        // SAFETY: the context lives; the text is null or a constant of the library.
        let text = unsafe {
            let text = (self.api.strerror)((self.api.context_errno)(self.context.as_ptr()));
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        Error::Server { not_done, text: text.unwrap_or_else(|| "no reason given".to_owned()) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: both are this value's, and nothing refers to them any more.
        unsafe {
            (self.api.context_disconnect)(self.context.as_ptr());
            (self.api.context_unref)(self.context.as_ptr());
            (self.api.mainloop_free)(self.mainloop.as_ptr());
        }
    }
}

impl Recorder {
    /// Records from a source of a server, or of the one that the library finds without a name.
    ///
    /// `channel_count` is at most 8, in the order FL FR FC LFE BL BR SL SR; the server sends as
    /// much at a time as a `packet` takes. Returns when there is sound, and errs within some
    /// seconds.
    pub fn open(
        server: Option<&str>,
        source_name: &str,
        channel_count: usize,
        packet: Duration,
    ) -> Result<Recorder, Error> {
        assert!((1..=CHANNEL_COUNT_MAX).contains(&channel_count), "channels are 1 to 8");
        let deadline = Deadline::after(OPEN_TIME_MAX);
        let server = server.map(c_string).transpose()?;
        let source_name = c_string(source_name)?;
        let connection = Connection::open(server.as_deref(), deadline)?;

        let api = connection.api;
        let spec = SampleSpec {
            format: SAMPLE_FLOAT32_LE,
            rate: SAMPLE_RATE,
            channel_count: channel_count as u8,
        };
        let mut map = ChannelMap { channel_count: channel_count as u8, positions: [0; 32] };
        map.positions[..channel_count].copy_from_slice(&POSITIONS[..channel_count]);
        // SAFETY: the context lives, and the rest are valid for the call.
        let stream = unsafe {
            let name = c"session".as_ptr();
            (api.stream_new)(connection.context.as_ptr(), name, &raw const spec, &raw const map)
        };
        let Some(stream) = NonNull::new(stream) else {
            return Err(connection.error("no stream"));
        };
        let mut recorder = Recorder {
            connection,
            stream,
            fragment: ptr::null(),
            fragment_count: 0,
            read_count: 0,
        };
        recorder.connect(&source_name, super::sample_count(channel_count, packet), deadline)?;
        while !recorder.next_fragment()? {
            recorder.connection.iterate(deadline)?;
        }
        Ok(recorder)
    }

    fn connect(
        &mut self,
        source_name: &CStr,
        packet_count: usize,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let api = self.connection.api;
        let attributes = BufferAttributes {
            len_max: DEFAULT,
            target_len: DEFAULT,
            prebuffer_len: DEFAULT,
            request_len_min: DEFAULT,
            fragment_len: (packet_count * size_of::<f32>()) as u32,
        };
        let flags = STREAM_ADJUST_LATENCY | STREAM_DONT_MOVE;
        // SAFETY: the stream lives, and the rest are valid for the call.
        let result = unsafe {
            let source_name = source_name.as_ptr();
            (api.stream_connect_record)(
                self.stream.as_ptr(),
                source_name,
                &raw const attributes,
                flags,
            )
        };
        if result < 0 {
            return Err(self.connection.error("source not recorded"));
        }
        loop {
            match self.state() {
                STREAM_READY => return Ok(()),
                STREAM_FAILED.. => return Err(self.connection.error("source not recorded")),
                _ => self.connection.iterate(deadline)?,
            }
        }
    }

    /// Fills `out` with what is recorded next, whole frames of all channels in turn. Waits for it,
    /// at most [`STALL_MAX`]. After an error the recorder is of no more use.
    pub fn read(&mut self, out: &mut [f32]) -> Result<(), Error> {
        let mut rest = out;
        let mut deadline = None;
        while !rest.is_empty() {
            if self.read_count == self.fragment_count && !self.next_fragment()? {
                let deadline = *deadline.get_or_insert_with(|| Deadline::after(STALL_MAX));
                self.connection.iterate(deadline)?;
                continue;
            }
            let count = rest.len().min(self.fragment_count - self.read_count);
            let (now, later) = rest.split_at_mut(count);
            if self.fragment.is_null() {
                now.fill(0.0);
            } else {
                // SAFETY: the fragment is the library's until it is dropped, and has
                // `fragment_count` samples, of which `count` follow `read_count`. The bytes of
                // `now` are none of the library's.
                unsafe {
                    let from = self.fragment.add(self.read_count).cast::<u8>();
                    let len = count * size_of::<f32>();
                    ptr::copy_nonoverlapping(from, now.as_mut_ptr().cast::<u8>(), len);
                }
            }
            self.read_count += count;
            rest = later;
        }
        Ok(())
    }

    /// Goes on to the next fragment; false when there is none yet.
    fn next_fragment(&mut self) -> Result<bool, Error> {
        let (api, stream) = (self.connection.api, self.stream.as_ptr());
        if self.fragment_count > 0 {
            // SAFETY: the stream lives and has a fragment that was peeked at.
            unsafe { (api.stream_drop)(stream) };
            (self.fragment, self.fragment_count, self.read_count) = (ptr::null(), 0, 0);
        }
        if self.state() != STREAM_READY {
            return Err(self.connection.error("source gone"));
        }
        let (mut data, mut len) = (ptr::null(), 0);
        // SAFETY: the stream lives and both places are valid for the call.
        let result = unsafe { (api.stream_peek)(stream, &raw mut data, &raw mut len) };
        if result < 0 {
            return Err(self.connection.error("not read"));
        }
        // The library sends whole samples only.
        self.fragment = data.cast();
        self.fragment_count = len / size_of::<f32>();
        Ok(self.fragment_count > 0)
    }

    fn state(&self) -> c_int {
        // SAFETY: the stream lives.
        unsafe { (self.connection.api.stream_get_state)(self.stream.as_ptr()) }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let api = self.connection.api;
        // SAFETY: the stream is this value's, and nothing refers to it any more. The connection
        // lives until after this.
        unsafe {
            (api.stream_disconnect)(self.stream.as_ptr());
            (api.stream_unref)(self.stream.as_ptr());
        }
    }
}

fn c_string(name: &str) -> Result<CString, Error> {
    CString::new(name).map_err(|_| Error::Name(name.to_owned()))
}

fn out_of_memory() -> Error {
    Error::Server { not_done: "not connected", text: "no memory".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_server_the_error_says_what_the_library_says() {
        let packet = Duration::from_millis(5);

        let refused = Recorder::open(Some("unix:/nonexistent/native"), "x", 2, packet).err();
        let nameless = Recorder::open(None, "x\0y", 2, packet).err();

        let refused = refused.expect("nobody listens there").to_string();
        assert_eq!(refused, "not connected: Connection refused");
        assert!(matches!(nameless, Some(Error::Name(_))));
    }

    #[test]
    fn a_missing_library_is_named_with_its_package() {
        let missing = Library::open(Path::new("libno-such-thing.so.1")).unwrap_err();

        let text = Error::Library(missing).to_string();

        assert!(text.contains("libno-such-thing.so.1"), "{text}");
        assert!(text.ends_with(": the package libpulse0 brings libpulse.so.0"), "{text}");
    }
}
