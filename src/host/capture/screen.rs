//! Pictures of one output of a Wayland compositor, in shared memory, each when the output changed.
//!
//! One connection for one output, which belongs to the thread that uses it. There are two buffers:
//! one is lent, the compositor fills the other, and it is asked to as soon as it has filled the one
//! before, so that it misses no change however long its picture is in use. ext-image-copy-capture-v1
//! is preferred to wlr-screencopy-unstable-v1. The pointer is in the picture.

#![forbid(unsafe_code)]

mod buffers;
mod wire;

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use punktfunk_core::net::bell::Bell;
use punktfunk_core::net::clock;
use wayland_client::backend::{Backend, WaylandError};
use wayland_client::{Connection, DispatchError, EventQueue};

use self::buffers::Buffers;
use self::wire::{Outcome, Wire};
use super::{Next, Picture};

/// What a compositor answers at once may take this long, because it may be busy.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How long after a frame that failed the next is asked for.
const RETRY_TIME: Duration = Duration::from_millis(50);
/// So many frames in a row fail while a mode is changed or an output is off, and no more.
const FAILURE_COUNT_MAX: u32 = 40;

/// Why there are no pictures.
#[derive(Debug)]
pub enum Error {
    /// The socket does not answer.
    Connect(io::Error),
    /// Pixels in an unknown format, by its number.
    Format(u32),
    /// The compositor has ended, or ended the connection: its words, or the system's.
    Gone(String),
    /// What the compositor does not serve.
    Lacks(&'static str),
    /// There is no output of that name.
    NoOutput {
        /// What was looked for.
        name: String,
        /// What there is.
        there: Vec<String>,
    },
    /// The output was removed.
    OutputGone,
    /// The compositor says of every frame that it failed.
    Refused,
    /// A picture that has no sides, or is too large: its width and height.
    Shape(usize, usize),
    /// The compositor does not answer.
    Silent,
    /// The system lacks memory or descriptors.
    System(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Connect(error) => write!(f, "no compositor: {error}"),
            Error::Format(format) => write!(f, "unknown pixel format {format:#x}"),
            Error::Gone(why) => write!(f, "compositor gone: {why}"),
            Error::Lacks(what) => write!(f, "compositor without {what}"),
            Error::NoOutput { name, there } if there.is_empty() => {
                write!(f, "no output {name}, nor any other")
            }
            Error::NoOutput { name, there } => {
                write!(f, "no output {name}, only {}", there.join(", "))
            }
            Error::OutputGone => f.write_str("output removed"),
            Error::Refused => f.write_str("no frame from the compositor, only failures"),
            Error::Shape(width, height) => write!(f, "impossible picture of {width}x{height}"),
            Error::Silent => f.write_str("silent compositor"),
            Error::System(error) => write!(f, "shared memory: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// See the module.
#[derive(Debug)]
pub struct Screen {
    connection: Connection,
    backend: Backend,
    queue: EventQueue<Wire>,
    wire: Wire,
    buffers: Option<Buffers>,
    /// The buffer with the newest picture.
    newest: Option<usize>,
    /// When that was shown.
    captured: Instant,
    size: (usize, usize),
    /// No frame is asked for before.
    retry: Instant,
    failure_count: u32,
}

/// What there is to tell the caller.
enum News {
    Picture,
    Resized,
}

impl Screen {
    /// Connects to the compositor at this socket, by an absolute path, and asks for the first
    /// picture of an output, named as `wl_output` names it. Waits for the answers.
    pub fn open(socket: &Path, output: &str) -> Result<Screen, Error> {
        let stream = UnixStream::connect(socket).map_err(Error::Connect)?;
        let backend = Backend::connect(stream).map_err(|error| Error::Gone(error.to_string()))?;
        let connection = Connection::from_backend(backend.clone());
        let queue = connection.new_event_queue();
        let now = clock::now();
        let mut screen = Screen {
            connection,
            backend,
            queue,
            wire: Wire::default(),
            buffers: None,
            newest: None,
            captured: now,
            size: (0, 0),
            retry: now,
            failure_count: 0,
        };
        screen.begin(output, now + ANSWER_TIME)?;
        Ok(screen)
    }

    /// Pixels in a row, and rows.
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Waits for the next changed picture, no longer than `until` and not while there is other work,
    /// for which `bell` is rung.
    pub fn next(
        &mut self,
        bell: &Bell,
        has_work: impl Fn() -> bool,
        until: Instant,
    ) -> Result<Next<'_>, Error> {
        loop {
            self.pump()?;
            let now = clock::now();
            match self.advance(now)? {
                Some(News::Picture) => break,
                Some(News::Resized) => return Ok(Next::Resized),
                None if now >= until || has_work() => return Ok(Next::Nothing),
                None => self.wait(bell, &has_work, until, now),
            }
        }
        let captured = self.captured;
        Ok(self.last().map_or(Next::Nothing, |picture| Next::Picture(picture, captured)))
    }

    /// The newest picture once more. `None` before the first, and before the first of a new size.
    pub fn last(&self) -> Option<Picture<'_>> {
        Some(self.buffers.as_ref()?.picture(self.newest?))
    }

    fn begin(&mut self, output: &str, deadline: Instant) -> Result<(), Error> {
        self.connection.display().get_registry(&self.queue.handle(), ());
        // The first answer is what there is, the second what that is called.
        self.sync(deadline)?;
        self.sync(deadline)?;
        self.wire.choose(output, &self.queue.handle())?;
        self.wait_until(deadline, |screen| {
            screen.advance(clock::now())?;
            Ok(screen.buffers.is_some())
        })
    }

    /// Waits for the answers to all that was asked.
    fn sync(&mut self, deadline: Instant) -> Result<(), Error> {
        self.wire.is_synced = false;
        self.connection.display().sync(&self.queue.handle(), ());
        self.wait_until(deadline, |screen| Ok(screen.wire.is_synced))
    }

    fn wait_until(
        &mut self,
        deadline: Instant,
        mut is_done: impl FnMut(&mut Screen) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        // Nobody rings it.
        let bell = Bell::new().map_err(Error::System)?;
        loop {
            self.pump()?;
            if is_done(self)? {
                return self.flush();
            }
            self.flush()?;
            let now = clock::now();
            if now >= deadline {
                return Err(Error::Silent);
            }
            self.wait(&bell, &|| false, deadline, now);
        }
    }

    fn wait(&self, bell: &Bell, has_work: &impl Fn() -> bool, until: Instant, now: Instant) {
        let until = if self.retry > now { until.min(self.retry) } else { until };
        bell.sleep_with(has_work, Some(until), Some(self.backend.poll_fd()));
    }

    /// Takes in all that the compositor has said. Does not wait.
    fn pump(&mut self) -> Result<(), Error> {
        self.flush()?;
        loop {
            self.queue.dispatch_pending(&mut self.wire).map_err(|error| self.gone(error))?;
            let Some(guard) = self.queue.prepare_read() else { continue };
            match guard.read() {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(WaylandError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(());
                }
                Err(error) => return Err(self.gone(error.into())),
            }
        }
    }

    fn flush(&self) -> Result<(), Error> {
        match self.connection.flush() {
            // A compositor that hangs. It has the rest with the next flush.
            Err(WaylandError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(self.gone(error.into())),
            Ok(()) => Ok(()),
        }
    }

    fn gone(&self, error: DispatchError) -> Error {
        Error::Gone(match (self.connection.protocol_error(), error) {
            (Some(protocol), _) => protocol.to_string(),
            (None, DispatchError::Backend(WaylandError::Io(error))) => error.to_string(),
            (None, error) => error.to_string(),
        })
    }

    /// Takes a frame that is there and asks for the next.
    fn advance(&mut self, now: Instant) -> Result<Option<News>, Error> {
        let mut news = None;
        match self.wire.take_outcome()? {
            Some(Outcome::Ready { presented, is_inverted }) => {
                self.failure_count = 0;
                let filled = Buffers::other(self.newest);
                if let Some(buffers) = &mut self.buffers {
                    buffers.mend(filled, is_inverted);
                    self.newest = Some(filled);
                    self.captured = presented.and_then(clock::at_monotonic).unwrap_or(now);
                    news = Some(News::Picture);
                }
            }
            Some(Outcome::Failed) => {
                self.failure_count += 1;
                self.retry = now + RETRY_TIME;
                if self.failure_count > FAILURE_COUNT_MAX {
                    return Err(Error::Refused);
                }
            }
            None => {}
        }
        if now < self.retry {
            return Ok(news);
        }
        let handle = self.queue.handle();
        self.wire.prepare(&handle);
        if let Some(shape) = self.wire.offer()?
            && !self.wire.is_armed()
        {
            let known = self.buffers.as_ref().map(Buffers::shape);
            if known != Some(shape) {
                let buffers = Buffers::new(self.wire.shm()?, &handle, shape)?;
                self.buffers = Some(buffers);
                self.newest = None;
                self.size = (shape.width, shape.height);
                // The picture that was just taken went with its buffer.
                news = known.map(|_| News::Resized);
            }
            if let Some(buffers) = &self.buffers {
                let buffer = buffers.buffer(Buffers::other(self.newest));
                let at_once = known.is_some() && self.newest.is_none();
                self.wire.arm(buffer, at_once, &handle);
                self.wire.prepare(&handle);
            }
        }
        self.flush()?;
        Ok(news)
    }
}
