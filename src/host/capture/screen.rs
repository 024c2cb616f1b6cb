//! Pictures of one output of a Wayland compositor, each when the output changed.
//!
//! One connection for one output, which belongs to the thread that uses it. In shared memory there
//! are two buffers: one is lent, the compositor fills the other, and it is asked to as soon as it has
//! filled the one before, so that it misses no change however long its picture is in use.
//! ext-image-copy-capture-v1 is preferred to wlr-screencopy-unstable-v1. The pointer is in the
//! picture, which is upright however the output is turned.
//!
//! DMA-BUFs are the compositor's own buffers, by wlr-export-dmabuf-unstable-v1. It does not say
//! whether anything changed and soon draws there again, so each is copied as it comes, and a copy
//! that is as the one before is no picture. Where that does not work, shared memory takes its place.

#![forbid(unsafe_code)]

mod buffers;
mod copy;
mod export;
mod upright;
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

use self::buffers::{Buffers, Shape};
use self::copy::{Change, Copy};
use self::export::DmaBuf;
use self::wire::{Outcome, Wire};
use super::{Memory, Next, Picture};

/// What a compositor answers at once may take this long, because it may be busy.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// The first frame in a DMA-BUF may take this long: an output that shows nothing has none.
const EXPORT_TIME: Duration = Duration::from_secs(2);
/// How long after a frame that failed the next is asked for.
const RETRY_TIME: Duration = Duration::from_millis(50);
/// So many frames in a row fail while a mode is changed or an output is off, and no more.
const FAILURE_COUNT_MAX: u32 = 40;

/// Why there are no pictures.
#[derive(Debug)]
pub enum Error {
    /// The socket does not answer.
    Connect(io::Error),
    /// A frame in a DMA-BUF is no picture.
    Export(export::Error),
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
            Error::Export(error) => error.fmt(f),
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
    /// Of pictures in DMA-BUFs, as long as these are used.
    copy: Option<Copy>,
    /// The newest picture is the first of its size, and nobody was given it yet.
    is_unseen: bool,
    /// For pictures in shared memory.
    buffers: Option<Buffers>,
    /// The buffer with the newest picture.
    newest: Option<usize>,
    /// What the pictures are in, until it is asked for.
    news: Option<String>,
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
    pub fn open(socket: &Path, output: &str, memory: Memory) -> Result<Screen, Error> {
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
            copy: None,
            is_unseen: false,
            buffers: None,
            newest: None,
            news: None,
            captured: now,
            size: (0, 0),
            retry: now,
            failure_count: 0,
        };
        screen.begin(output, memory, now + ANSWER_TIME)?;
        Ok(screen)
    }

    /// What pictures are in from now on, in words, if that is new.
    pub fn take_news(&mut self) -> Option<String> {
        self.news.take()
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
            if std::mem::take(&mut self.is_unseen) {
                break;
            }
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
        match &self.copy {
            _ if self.is_unseen => None,
            Some(copy) => Some(copy.picture()),
            None => Some(self.buffers.as_ref()?.picture(self.newest?)),
        }
    }

    fn begin(&mut self, output: &str, memory: Memory, deadline: Instant) -> Result<(), Error> {
        self.connection.display().get_registry(&self.queue.handle(), ());
        // The first answer is what there is, the second what that is called.
        self.sync(deadline)?;
        self.sync(deadline)?;
        self.wire.choose(output)?;
        match memory {
            Memory::DmaBuf => self.begin_export()?,
            Memory::Shared => {
                self.wire.share(&self.queue.handle())?;
                self.news = Some("pictures in shared memory".to_owned());
            }
        }
        if self.copy.is_some() {
            return Ok(());
        }
        self.wait_until(deadline, |screen| {
            screen.advance(clock::now())?;
            Ok(screen.buffers.is_some())
        })
    }

    /// Waits for the first picture in a DMA-BUF, or for the reason why there is none.
    fn begin_export(&mut self) -> Result<(), Error> {
        if let Err(error) = self.wire.export() {
            return self.share(&error);
        }
        self.copy = Some(Copy::default());
        let deadline = clock::now() + EXPORT_TIME;
        let begun = self.wait_until(deadline, |screen| {
            screen.is_unseen |= screen.advance(clock::now())?.is_some();
            Ok(screen.is_unseen || screen.copy.is_none())
        });
        match begun {
            Err(Error::Silent) => self.share(&Error::Silent),
            other => other,
        }
    }

    /// Gives DMA-BUFs up.
    fn share(&mut self, why: &Error) -> Result<(), Error> {
        self.wire.share(&self.queue.handle())?;
        (self.copy, self.is_unseen) = (None, false);
        self.failure_count = 0;
        self.news = Some(format!("pictures in shared memory, not in DMA-BUFs: {why}"));
        Ok(())
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
        let mut news = match self.wire.take_outcome()? {
            Some(Outcome::Exported(frame, presented)) => self.on_export(&frame, presented, now)?,
            Some(Outcome::Failed) => {
                self.on_failure(now)?;
                None
            }
            Some(Outcome::NotExported(error)) => {
                self.share(&Error::Export(error))?;
                None
            }
            Some(Outcome::Ready { presented, is_inverted }) => {
                self.on_filled(presented, is_inverted, now)
            }
            None => None,
        };
        if now < self.retry {
            return Ok(news);
        }
        let handle = self.queue.handle();
        if self.copy.is_some() && !self.wire.is_armed() {
            self.wire.arm_export(&handle);
        }
        self.wire.prepare(&handle);
        if let Some(shape) = self.wire.offer()?
            && !self.wire.is_armed()
        {
            let known = self.buffers.as_ref().map(Buffers::shape);
            if known != Some(shape) {
                // The picture that was just taken went with its buffer.
                news = self.make_buffers(shape)?.then_some(News::Resized);
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

    /// The compositor has filled a buffer of ours.
    fn on_filled(
        &mut self,
        presented: Option<Duration>,
        is_inverted: bool,
        now: Instant,
    ) -> Option<News> {
        self.failure_count = 0;
        let filled = Buffers::other(self.newest);
        let buffers = self.buffers.as_mut()?;
        buffers.mend(filled, is_inverted, self.wire.turn());
        self.is_unseen = buffers.size() != self.size;
        self.size = buffers.size();
        self.newest = Some(filled);
        self.captured = presented.and_then(clock::at_monotonic).unwrap_or(now);
        Some(if self.is_unseen { News::Resized } else { News::Picture })
    }

    /// The compositor lends a buffer of its own.
    fn on_export(
        &mut self,
        frame: &DmaBuf,
        presented: Option<Duration>,
        now: Instant,
    ) -> Result<Option<News>, Error> {
        self.failure_count = 0;
        let Some(copy) = &mut self.copy else { return Ok(None) };
        let is_first = copy.size() == (0, 0);
        let change = match copy.take(frame, self.wire.turn()) {
            Ok(change) => change,
            Err(error) => {
                self.share(&Error::Export(error))?;
                return Ok(None);
            }
        };
        if change == Change::Nothing {
            return Ok(None);
        }
        self.size = copy.size();
        self.captured = presented.and_then(clock::at_monotonic).unwrap_or(now);
        if is_first {
            self.news = Some(format!("pictures in DMA-BUFs, {frame}, copied"));
            return Ok(Some(News::Picture));
        }
        self.is_unseen = change == Change::Size;
        Ok(Some(if self.is_unseen { News::Resized } else { News::Picture }))
    }

    fn on_failure(&mut self, now: Instant) -> Result<(), Error> {
        self.failure_count += 1;
        self.retry = now + RETRY_TIME;
        match (self.failure_count > FAILURE_COUNT_MAX, &self.copy) {
            (false, _) => Ok(()),
            (true, None) => Err(Error::Refused),
            (true, Some(_)) => self.share(&Error::Refused),
        }
    }

    /// Makes buffers of this shape in place of those that there are. Returns whether pictures were
    /// of another size before.
    fn make_buffers(&mut self, shape: Shape) -> Result<bool, Error> {
        let handle = self.queue.handle();
        let buffers = Buffers::new(self.wire.shm()?, &handle, shape, self.wire.turn())?;
        let size = buffers.size();
        let was_other = self.buffers.is_some() || ![(0, 0), size].contains(&self.size);
        self.buffers = Some(buffers);
        (self.newest, self.is_unseen, self.size) = (None, false, size);
        Ok(was_other)
    }
}
