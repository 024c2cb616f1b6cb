//! A client of sway's IPC, sway-ipc(7): a request and its answer, each a head and a payload in JSON.
//!
//! The head is `i3-ipc`, the length of the payload and its type, both of 32 bits in the order of
//! this machine. Nothing is trusted in length or content, and no request takes longer than
//! [`TIMEOUT`].

#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use punktfunk_core::net::clock;
use punktfunk_core::net::peer::{self, Peer};
use punktfunk_core::proto::gamestream::http::Mode;
use serde::Deserialize;

/// A request and its answer take this long at most.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer's payload at most.
const PAYLOAD_LEN_MAX: usize = 16 << 20;
/// Payloads grow by this much as they come, whatever their heads promise.
const CHUNK_LEN: usize = 64 << 10;

/// The head. 14 bytes.
mod field {
    use super::Range;

    pub(super) const MAGIC: Range<usize> = 0..6;
    pub(super) const LEN: Range<usize> = 6..10; // of the payload, native order
    pub(super) const KIND: Range<usize> = 10..14; // native order
    pub(super) const HEAD_LEN: usize = 14;
}

const MAGIC: &[u8; 6] = b"i3-ipc";

/// Types of requests; answers have the same.
mod kind {
    pub(super) const RUN_COMMAND: u32 = 0;
    pub(super) const SUBSCRIBE: u32 = 2;
    pub(super) const GET_OUTPUTS: u32 = 3;
    pub(super) const GET_VERSION: u32 = 7;
    pub(super) const GET_INPUTS: u32 = 100;
    pub(super) const GET_SEATS: u32 = 101;
    // Events.
    pub(super) const WORKSPACE: u32 = 0x8000_0000;
    pub(super) const WINDOW: u32 = 0x8000_0003;
}

/// A connection to a compositor.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

/// What a compositor tells without being asked.
#[derive(Debug)]
pub struct Events {
    stream: UnixStream,
    /// What was read and is no whole event yet.
    bytes: Vec<u8>,
}

/// What a desktop has told since it was last asked.
#[derive(Debug, Default, PartialEq)]
pub struct News {
    /// It has read its configuration anew.
    pub has_reloaded: bool,
    /// Windows that it has now.
    pub windows: Vec<Window>,
}

/// A window.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
pub struct Window {
    /// What commands call it.
    pub id: i64,
    /// The process that it is of, if that is known.
    #[serde(default)]
    pub pid: Option<i64>,
}

/// What happened to a workspace or to a window.
#[derive(Debug, Deserialize)]
struct Change {
    change: String,
    #[serde(default)]
    container: Option<Window>,
}

/// A place where a compositor shows pictures.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct Output {
    /// Such as HEADLESS-1 or DP-2.
    pub name: String,
    /// Whether anything is shown there.
    #[serde(default)]
    pub active: bool,
    /// Whether what is typed goes there.
    #[serde(default)]
    pub focused: bool,
    /// Logical pixels for each of the picture's; none where nothing is shown.
    #[serde(default)]
    pub scale: Option<f64>,
    /// Where it lies among the others, in logical pixels.
    #[serde(default)]
    pub rect: Rect,
    #[serde(default)]
    current_mode: Option<CurrentMode>,
    /// How it is turned, such as "normal" or "flipped-90".
    #[serde(default)]
    pub transform: Option<String>,
}

/// A part of the desktop, in logical pixels.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
pub struct Rect {
    /// Of its left edge.
    pub x: i64,
    /// Of its upper edge.
    pub y: i64,
    /// From left to right.
    pub width: i64,
    /// From top to bottom.
    pub height: i64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
struct CurrentMode {
    width: u32,
    height: u32,
    /// In millihertz; 0 where the compositor does not know.
    refresh: u32,
}

/// Which sway it is.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Version {
    /// For people, such as "1.7".
    pub human_readable: String,
}

/// Keyboards and pointers that have one focus.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct Seat {
    /// Such as seat0.
    pub name: String,
    #[serde(default)]
    devices: Vec<Device>,
}

/// A device for input.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct InputDevice {
    /// What commands call it: numbers of vendor and product, and its name.
    pub identifier: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Device {
    #[serde(default)]
    vendor: i64,
    #[serde(default)]
    product: i64,
}

/// What came of one command.
#[derive(Debug, Deserialize)]
struct Outcome {
    success: bool,
    #[serde(default)]
    error: Option<String>,
}

/// Why a compositor did not do or say what it was asked for.
#[derive(Debug)]
pub enum Error {
    /// The answer is none that sway gives.
    Answer(String),
    /// The connection, or its end.
    Io(io::Error),
    /// The compositor says no.
    Refused(String),
    /// The answer does not come.
    TimedOut,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Answer(what) => write!(f, "unexpected answer of sway: {what}"),
            Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                write!(f, "connection to sway: closed by it")
            }
            Error::Io(error) => write!(f, "connection to sway: {error}"),
            Error::Refused(why) => write!(f, "refused by sway: {why}"),
            Error::TimedOut => write!(f, "no answer of sway within {} s", TIMEOUT.as_secs()),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::TimedOut,
            _ => Error::Io(error),
        }
    }
}

impl Output {
    /// What it shows, where it shows anything, to whoever looks at it upright.
    pub fn mode(&self) -> Option<Mode> {
        let CurrentMode { width, height, refresh } = self.current_mode.filter(|_| self.active)?;
        let transform = self.transform.as_deref().unwrap_or_default();
        let is_on_its_side = transform.ends_with("90") || transform.ends_with("270");
        let (width, height) = if is_on_its_side { (height, width) } else { (width, height) };
        Some(Mode { width, height, refresh_mhz: refresh })
    }
}

impl Seat {
    /// Whether something one can touch belongs to it. Programs' devices have no numbers.
    pub fn has_hardware(&self) -> bool {
        self.devices.iter().any(|device| device.vendor != 0 || device.product != 0)
    }
}

impl Client {
    /// Connects to the socket of that path, without waiting for one that does not accept.
    pub fn connect(path: &Path) -> Result<Client, Error> {
        connect(path).map(|stream| Client { stream }).map_err(Error::Io)
    }

    /// The compositor's process.
    pub fn peer(&self) -> io::Result<Peer> {
        peer::of(&self.stream)
    }

    /// Runs commands, separated by semicolons; an error says why the first one failed. Success says
    /// that sway understood, not that an output took its mode.
    pub fn run(&mut self, commands: &str) -> Result<(), Error> {
        let outcomes: Vec<Outcome> = parse(&self.ask(kind::RUN_COMMAND, commands.as_bytes())?)?;
        match outcomes.into_iter().find(|outcome| !outcome.success) {
            None => Ok(()),
            Some(Outcome { error, .. }) => {
                let why = error.unwrap_or_else(|| "for no reason".to_owned());
                Err(Error::Refused(one_line(&why)))
            }
        }
    }

    /// All outputs that are not turned off for good.
    pub fn outputs(&mut self) -> Result<Vec<Output>, Error> {
        parse(&self.ask(kind::GET_OUTPUTS, b"")?)
    }

    /// All seats.
    pub fn seats(&mut self) -> Result<Vec<Seat>, Error> {
        parse(&self.ask(kind::GET_SEATS, b"")?)
    }

    /// All devices for input.
    pub fn inputs(&mut self) -> Result<Vec<InputDevice>, Error> {
        parse(&self.ask(kind::GET_INPUTS, b"")?)
    }

    /// Which sway it is.
    pub fn version(&mut self) -> Result<Version, Error> {
        let mut version: Version = parse(&self.ask(kind::GET_VERSION, b"")?)?;
        version.human_readable = one_line(&version.human_readable);
        Ok(version)
    }

    /// Makes this connection one for events.
    pub fn subscribe(mut self) -> Result<Events, Error> {
        let outcome: Outcome = parse(&self.ask(kind::SUBSCRIBE, br#"["workspace", "window"]"#)?)?;
        if !outcome.success {
            return Err(Error::Refused("events".to_owned()));
        }
        self.stream.set_nonblocking(true)?;
        Ok(Events { stream: self.stream, bytes: Vec::new() })
    }

    fn ask(&mut self, kind: u32, payload: &[u8]) -> Result<Vec<u8>, Error> {
        let deadline = clock::now() + TIMEOUT;
        self.stream.set_write_timeout(Some(TIMEOUT))?;
        self.stream.write_all(&emit(kind, payload))?;
        read(&mut Timed { stream: &self.stream, deadline }, kind)
    }
}

impl Events {
    /// What there is. Does not wait.
    pub fn take(&mut self) -> Result<News, Error> {
        let (mut news, mut chunk) = (News::default(), [0; 4096]);
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Error::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(len) => self.bytes.extend_from_slice(&chunk[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(news),
                Err(error) => return Err(Error::Io(error)),
            }
            while let Some((len, kind)) = message(&self.bytes)? {
                let change: Change = parse(&self.bytes[field::HEAD_LEN..len])?;
                match kind {
                    kind::WINDOW if change.change == "new" => news.windows.extend(change.container),
                    kind::WORKSPACE => news.has_reloaded |= change.change == "reload",
                    _ => {}
                }
                self.bytes.drain(..len);
            }
        }
    }
}

/// How long the first message is, and of which type, if it is there as a whole.
fn message(bytes: &[u8]) -> Result<Option<(usize, u32)>, Error> {
    let Some(head) = bytes.first_chunk::<{ field::HEAD_LEN }>() else { return Ok(None) };
    let (len, kind) = parse_head(head)?;
    let len = field::HEAD_LEN + len;
    Ok((bytes.len() >= len).then_some((len, kind)))
}

/// Connects to a local socket, without waiting where too many do already. Reading and writing wait.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::from(OwnedFd::from(mio::net::UnixStream::connect(path)?));
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A stream that gives up at a point in time, however few bytes come at once.
struct Timed<'a> {
    stream: &'a UnixStream,
    deadline: Instant,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

fn emit(kind: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("commands are short");
    [&MAGIC[..], &len.to_ne_bytes(), &kind.to_ne_bytes(), payload].concat()
}

/// The payload of one answer, which has to be of that type.
fn read(from: &mut impl Read, kind_wanted: u32) -> Result<Vec<u8>, Error> {
    let mut head = [0; field::HEAD_LEN];
    from.read_exact(&mut head)?;
    let (len, kind) = parse_head(&head)?;
    if kind != kind_wanted {
        return Err(Error::Answer(format!("type {kind} instead of {kind_wanted}")));
    }
    let mut payload = Vec::new();
    while payload.len() < len {
        let at = payload.len();
        payload.resize(len.min(at + CHUNK_LEN), 0);
        from.read_exact(&mut payload[at..])?;
    }
    Ok(payload)
}

/// The length of the payload, and its type.
fn parse_head(head: &[u8; field::HEAD_LEN]) -> Result<(usize, u32), Error> {
    let number = |range: Range<usize>| {
        u32::from_ne_bytes(head[range].try_into().expect("ranges of four bytes"))
    };
    if head[field::MAGIC] != MAGIC[..] {
        return Err(Error::Answer("no head of an answer".to_owned()));
    }
    let (len, kind) = (number(field::LEN) as usize, number(field::KIND));
    if len > PAYLOAD_LEN_MAX {
        return Err(Error::Answer(format!("{len} bytes")));
    }
    Ok((len, kind))
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(payload).map_err(|error| Error::Answer(error.to_string()))
}

/// Whether a name is one word of a command, whatever a compositor calls its outputs.
pub fn is_word(name: &str) -> bool {
    let may = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
    (1..=64).contains(&name.len()) && name.bytes().all(may)
}

/// Text of a compositor as part of a log line.
pub fn one_line(text: &str) -> String {
    const LEN_MAX: usize = 200;
    let shown = text.trim().chars().take(LEN_MAX);
    shown.map(|it| if it.is_control() { ' ' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUTS: &str = r#"[{"name":"HEADLESS-1","active":true,"scale":1.0,"make":"headless",
        "rect":{"x":1280,"y":0,"width":1600,"height":900},"modes":[],
        "current_mode":{"width":1600,"height":900,"refresh":90000}},
        {"name":"DP-1","active":false,"rect":{"x":0,"y":0,"width":0,"height":0}}]"#;

    /// A compositor that answers with these bytes and closes.
    fn answering(bytes: Vec<u8>) -> Client {
        let (stream, mut other) = UnixStream::pair().unwrap();
        let answer = move || {
            let mut head = [0; field::HEAD_LEN];
            other.read_exact(&mut head).unwrap();
            let len = u32::from_ne_bytes(head[field::LEN].try_into().unwrap());
            other.read_exact(&mut vec![0; len as usize]).unwrap();
            let _ = other.write_all(&bytes);
        };
        std::thread::Builder::new().spawn(answer).unwrap();
        Client { stream }
    }

    #[test]
    fn outputs_are_read_and_those_without_a_picture_have_no_mode() {
        let mut client = answering(emit(kind::GET_OUTPUTS, OUTPUTS.as_bytes()));

        let outputs = client.outputs().unwrap();

        let mode = Mode { width: 1600, height: 900, refresh_mhz: 90_000 };
        let rect = Rect { x: 1280, y: 0, width: 1600, height: 900 };
        assert_eq!((outputs[0].mode(), outputs[0].rect), (Some(mode), rect));
        assert_eq!((outputs[1].name.as_str(), outputs[1].mode()), ("DP-1", None));
        let sideways = Mode { width: 900, height: 1600, ..mode };
        let table = [
            ("normal", mode),
            ("90", sideways),
            ("180", mode),
            ("270", sideways),
            ("flipped", mode),
            ("flipped-90", sideways),
            ("flipped-180", mode),
            ("flipped-270", sideways),
        ];
        for (transform, expected) in table {
            let turned = Output { transform: Some(transform.to_owned()), ..outputs[0].clone() };
            assert_eq!(turned.mode(), Some(expected), "{transform}");
        }
    }

    #[test]
    fn devices_of_programs_are_no_hardware() {
        let answer = r#"[{"name":"seat0","capabilities":3,"focus":4,"devices":[
            {"identifier":"0:0:virtual_pointer","vendor":0,"product":0,"type":"pointer"},
            {"identifier":"1:1:AT_Keyboard","vendor":1,"product":1,"type":"keyboard"}]},
            {"name":"a","devices":[{"vendor":0,"product":0}]},{"name":"b"}]"#;

        let seats = answering(emit(kind::GET_SEATS, answer.as_bytes())).seats().unwrap();

        let seats = seats.iter().map(|seat| (seat.name.as_str(), seat.has_hardware()));
        assert_eq!(seats.collect::<Vec<_>>(), [("seat0", true), ("a", false), ("b", false)]);
    }

    #[test]
    fn a_command_fails_with_the_reason_of_the_first_that_does() {
        let table = [
            (r#"[{"success":true},{"success":true}]"#, None),
            ("[]", None),
            (
                r#"[{"success":true},{"success":false,"parse_error":true,"error":"No\nway"}]"#,
                Some("refused by sway: No way"),
            ),
            (r#"[{"success":false}]"#, Some("refused by sway: for no reason")),
            (
                r#"{"success":true}"#,
                Some("unexpected answer of sway: invalid type: map, expected a sequence"),
            ),
        ];
        for (answer, expected) in table {
            let outcome = answering(emit(kind::RUN_COMMAND, answer.as_bytes())).run("x");
            let said = outcome.map_err(|error| error.to_string()).err();
            match expected {
                None => assert_eq!(said, None, "{answer}"),
                Some(part) => assert!(said.unwrap().starts_with(part), "{answer}"),
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_refused_without_being_stored() {
        let head = |magic: &[u8], len: u32, kind: u32| {
            [magic, &len.to_ne_bytes(), &kind.to_ne_bytes()].concat()
        };
        let table = [
            (Vec::new(), "connection to sway: closed by it"),
            (b"i3-ip".to_vec(), "connection to sway: closed by it"),
            (head(b"HTTP/1", 2, 7), "unexpected answer of sway: no head of an answer"),
            (head(MAGIC, 2, 3), "unexpected answer of sway: type 3 instead of 7"),
            (head(MAGIC, 2, 0x8000_0007), "unexpected answer of sway: type 2147483655"),
            (head(MAGIC, u32::MAX, 7), "unexpected answer of sway: 4294967295 bytes"),
            (head(MAGIC, (16 << 20) + 1, 7), "unexpected answer of sway: 16777217 bytes"),
            (head(MAGIC, 16 << 20, 7), "connection to sway: closed by it"),
            (head(MAGIC, 0, 7), "unexpected answer of sway: EOF while parsing"),
            (emit(7, b"\xff\xfe"), "unexpected answer of sway: expected value"),
            (emit(7, b"{}"), "unexpected answer of sway: missing field"),
            (emit(7, &b"[".repeat(100_000)), "unexpected answer of sway: "),
        ];
        for (bytes, expected) in table {
            let error = answering(bytes).version().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn no_change_of_an_answer_makes_it_more_than_an_error() {
        let answer = emit(kind::GET_OUTPUTS, OUTPUTS.as_bytes());
        for at in 0..answer.len() {
            for byte in [0, 1, b'"', b'}', b'9', 0x7f, 0x80, 0xff] {
                let mut changed = answer.clone();
                changed[at] = byte;
                if let Ok(payload) = read(&mut &changed[..], kind::GET_OUTPUTS) {
                    let _ = parse::<Vec<Output>>(&payload);
                }
            }
            assert!(read(&mut &answer[..at], kind::GET_OUTPUTS).is_err());
        }
    }

    #[test]
    fn bytes_that_come_one_by_one_are_an_answer_too() {
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(&mut buffer[..1])
            }
        }
        let answer = emit(kind::GET_OUTPUTS, OUTPUTS.as_bytes());

        let payload = read(&mut Slow(&answer), kind::GET_OUTPUTS).unwrap();

        assert_eq!(payload, OUTPUTS.as_bytes());
    }

    #[test]
    fn reloads_and_new_windows_are_heard_however_they_come() {
        let (stream, mut other) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut events = Events { stream, bytes: Vec::new() };
        let bytes = [
            emit(kind::WORKSPACE, br#"{"change":"focus","current":null}"#),
            emit(kind::WORKSPACE, br#"{"change":"reload","old":null}"#),
            emit(kind::WINDOW, br#"{"change":"new","container":{"id":7,"pid":12,"name":"a"}}"#),
            emit(kind::WINDOW, br#"{"change":"focus","container":{"id":8}}"#),
        ];

        let mut heard = Vec::new();
        for byte in bytes.concat() {
            other.write_all(&[byte]).unwrap();
            heard.push(events.take().unwrap());
        }

        heard.retain(|news| *news != News::default());
        let window = Window { id: 7, pid: Some(12) };
        let expected = [
            News { has_reloaded: true, windows: Vec::new() },
            News { has_reloaded: false, windows: vec![window] },
        ];
        assert_eq!((&heard[..], events.bytes.len()), (&expected[..], 0));
        for bytes in [emit(kind::WINDOW, b"{}"), [&MAGIC[..], &[0xff; 8]].concat(), vec![0; 14]] {
            other.write_all(&bytes).unwrap();
            assert!(events.take().is_err());
            events.bytes.clear();
        }
        drop(other);
        assert!(events.take().is_err());
    }

    #[test]
    fn a_compositor_that_says_nothing_is_given_up() {
        let (stream, _silent) = UnixStream::pair().unwrap();
        let mut timed = Timed { stream: &stream, deadline: clock::now() };

        let error = read(&mut timed, kind::GET_VERSION).unwrap_err();

        assert_eq!(error.to_string(), "no answer of sway within 2 s");
    }
}
