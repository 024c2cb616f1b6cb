//! What a compositor says, and what is asked of it: wlr-screencopy-unstable-v1 version 3 or
//! ext-image-copy-capture-v1 for pictures in shared memory, wlr-export-dmabuf-unstable-v1 for those
//! in DMA-BUFs. Which of them it is ends here.

#![forbid(unsafe_code)]

use std::time::Duration;

use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::protocol::wl_output::{self, WlOutput};
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::protocol::wl_shm::{self, WlShm};
use wayland_client::protocol::wl_shm_pool::WlShmPool;
use wayland_client::{Connection, Dispatch, Proxy, QueueHandle, WEnum, delegate_noop};
use wayland_protocols::ext::image_capture_source::v1::client::{
    ext_image_capture_source_v1::ExtImageCaptureSourceV1,
    ext_output_image_capture_source_manager_v1::ExtOutputImageCaptureSourceManagerV1,
};
use wayland_protocols::ext::image_copy_capture::v1::client::{
    ext_image_copy_capture_frame_v1::{self, ExtImageCopyCaptureFrameV1},
    ext_image_copy_capture_manager_v1::{ExtImageCopyCaptureManagerV1, Options},
    ext_image_copy_capture_session_v1::{self, ExtImageCopyCaptureSessionV1},
};
use wayland_protocols_wlr::export_dmabuf::v1::client::{
    zwlr_export_dmabuf_frame_v1::{self, ZwlrExportDmabufFrameV1},
    zwlr_export_dmabuf_manager_v1::ZwlrExportDmabufManagerV1,
};
use wayland_protocols_wlr::screencopy::v1::client::{
    zwlr_screencopy_frame_v1::{self, ZwlrScreencopyFrameV1},
    zwlr_screencopy_manager_v1::ZwlrScreencopyManagerV1,
};

use super::Error;
use super::buffers::{Shape, is_known};
use super::export::{self, DmaBuf, Export, Progress};
use crate::capture::PIXEL_LEN;
use crate::turn::Turn;

/// Since then a frame says when all that it takes is said.
const SCREENCOPY_VERSION: u32 = 3;
/// Since then an output says its name.
const OUTPUT_VERSION: u32 = 4;
/// The pointer is part of the picture.
const WITH_POINTER: i32 = 1;

/// What is known of the compositor, and the objects that it has for us.
#[derive(Debug, Default)]
pub struct Wire {
    shm: Option<WlShm>,
    screencopy: Option<ZwlrScreencopyManagerV1>,
    sources: Option<ExtOutputImageCaptureSourceManagerV1>,
    copy_capture: Option<ExtImageCopyCaptureManagerV1>,
    exporter: Option<ZwlrExportDmabufManagerV1>,
    /// It takes buffers of programs that graphics drivers draw, so it draws by them itself.
    has_drivers: bool,
    /// All that there are; once one is chosen, that alone.
    outputs: Vec<Output>,
    is_chosen: bool,
    /// All that was asked before has been answered.
    pub is_synced: bool,
    /// There will be no more pictures of the output.
    is_gone: bool,
    target: Option<Target>,
    /// The frame that the compositor fills.
    armed: Option<Frame>,
    /// What was armed before came to nothing, and the output may not change again.
    is_overdue: bool,
    is_inverted: bool,
    /// What was said last of a frame, which goes before what is said of the output.
    frame_turn: Option<Turn>,
    presented: Option<Duration>,
    export: Export,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
struct Output {
    global: u32,
    proxy: WlOutput,
    name: String,
    mode: (i32, i32),
    turn: Turn,
}

/// The output that is captured, by what the compositor serves.
#[derive(Debug)]
enum Target {
    Export { manager: ZwlrExportDmabufManagerV1 },
    Ext { session: ExtImageCopyCaptureSessionV1, offer: Offer },
    Wlr { output: WlOutput, next: Option<(ZwlrScreencopyFrameV1, Offer)> },
}

/// How buffers are to be, as far as it is said.
#[derive(Debug, Default)]
struct Offer {
    format: Option<wl_shm::Format>,
    /// A format that nothing can be made of.
    unknown_format: Option<u32>,
    width: u32,
    height: u32,
    /// 0 where rows are to follow without a gap.
    stride: u32,
    is_done: bool,
}

#[derive(Debug)]
enum Frame {
    Export(ZwlrExportDmabufFrameV1),
    Ext(ExtImageCopyCaptureFrameV1),
    Wlr(ZwlrScreencopyFrameV1),
}

/// How a frame ended.
#[derive(Debug)]
pub enum Outcome {
    /// It is where the compositor has it. When it was shown is as below.
    Exported(DmaBuf, Option<Duration>),
    /// The compositor did not fill it.
    Failed,
    /// It cannot be exported, nor can those after it.
    NotExported(export::Error),
    /// It is there.
    Ready {
        /// When it was shown, by CLOCK_MONOTONIC in most compositors.
        presented: Option<Duration>,
        /// Rows are from the bottom.
        is_inverted: bool,
    },
}

impl Wire {
    /// Shared memory, once the globals are known.
    pub fn shm(&self) -> Result<&WlShm, Error> {
        self.shm.as_ref().ok_or(Error::Lacks("wl_shm"))
    }

    /// Chooses the output. Globals and names of outputs must be known.
    pub fn choose(&mut self, name: &str) -> Result<(), Error> {
        if self.outputs.iter().any(|output| output.proxy.version() < OUTPUT_VERSION) {
            return Err(Error::Lacks("wl_output version 4"));
        }
        let Some(index) = self.outputs.iter().position(|output| output.name == name) else {
            let there = self.outputs.iter().map(|output| output.name.clone()).collect();
            return Err(Error::NoOutput { name: name.to_owned(), there });
        };
        let chosen = self.outputs.swap_remove(index);
        self.outputs.drain(..).for_each(|other| other.proxy.release());
        self.outputs.push(chosen);
        self.is_chosen = true;
        Ok(())
    }

    /// Pictures of the chosen output are to be in DMA-BUFs.
    pub fn export(&mut self) -> Result<(), Error> {
        let manager = self.exporter.clone().ok_or(Error::Lacks("zwlr_export_dmabuf_manager_v1"))?;
        self.target = Some(Target::Export { manager });
        Ok(())
    }

    /// Pictures of the chosen output are to be in shared memory, whatever they were in before.
    pub fn share(&mut self, handle: &QueueHandle<Wire>) -> Result<(), Error> {
        self.shm()?;
        self.disarm();
        let output = self.output().ok_or(Error::OutputGone)?;
        let target = match (&self.sources, &self.copy_capture, &self.screencopy) {
            (Some(sources), Some(manager), _) => {
                let source = sources.create_source(&output, handle, ());
                let session = manager.create_session(&source, Options::PaintCursors, handle, ());
                source.destroy();
                Target::Ext { session, offer: Offer::default() }
            }
            (_, _, Some(_)) => Target::Wlr { output, next: None },
            _ => {
                return Err(Error::Lacks(
                    "ext_image_copy_capture_manager_v1 or zwlr_screencopy_manager_v1 version 3",
                ));
            }
        };
        self.target = Some(target);
        Ok(())
    }

    /// Asks how the next frame's buffer is to be, unless that is known or asked.
    pub fn prepare(&mut self, handle: &QueueHandle<Wire>) {
        if let (Some(Target::Wlr { output, next }), Some(manager)) =
            (&mut self.target, &self.screencopy)
            && next.is_none()
        {
            let frame = manager.capture_output(WITH_POINTER, output, handle, ());
            *next = Some((frame, Offer::default()));
        }
    }

    /// Has the compositor export the next frame.
    pub fn arm_export(&mut self, handle: &QueueHandle<Wire>) {
        if let (Some(Target::Export { manager }), Some(output)) = (&self.target, self.output()) {
            let frame = manager.capture_output(WITH_POINTER, &output, handle, ());
            self.export = Export::default();
            self.armed = Some(Frame::Export(frame));
        }
    }

    /// The chosen output.
    fn output(&self) -> Option<WlOutput> {
        self.outputs.first().map(|output| output.proxy.clone())
    }

    /// How pictures lie in their buffers.
    pub fn turn(&self) -> Turn {
        let of_output = || self.outputs.first().map(|output| output.turn);
        self.frame_turn.or_else(of_output).unwrap_or_default()
    }

    /// How the next frame's buffer is to be, if that is known.
    pub fn offer(&self) -> Result<Option<Shape>, Error> {
        let offer = match &self.target {
            Some(Target::Ext { offer, .. }) => offer,
            Some(Target::Wlr { next: Some((_, offer)), .. }) => offer,
            Some(Target::Export { .. } | Target::Wlr { next: None, .. }) | None => return Ok(None),
        };
        offer.shape()
    }

    /// Whether the compositor has a buffer to fill.
    pub fn is_armed(&self) -> bool {
        self.armed.is_some()
    }

    /// Has the compositor fill a buffer, which is as it offered: with the next change, or at once
    /// where it can be told to.
    pub fn arm(&mut self, buffer: &WlBuffer, at_once: bool, handle: &QueueHandle<Wire>) {
        let frame = match &mut self.target {
            Some(Target::Ext { session, offer }) => {
                let frame = session.create_frame(handle, ());
                frame.attach_buffer(buffer);
                // What the buffer has is older than what changed last, so all of it is to be drawn.
                frame.damage_buffer(0, 0, offer.width as i32, offer.height as i32);
                frame.capture();
                Frame::Ext(frame)
            }
            Some(Target::Wlr { next, .. }) => {
                let Some((frame, _)) = next.take() else { return };
                if std::mem::take(&mut self.is_overdue) || at_once {
                    frame.copy(buffer)
                } else {
                    frame.copy_with_damage(buffer)
                };
                Frame::Wlr(frame)
            }
            Some(Target::Export { .. }) | None => return,
        };
        (self.is_inverted, self.presented) = (false, None);
        self.armed = Some(frame);
    }

    /// How the armed frame ended, if it has.
    pub fn take_outcome(&mut self) -> Result<Option<Outcome>, Error> {
        if self.is_gone {
            return Err(Error::OutputGone);
        }
        Ok(self.outcome.take())
    }

    /// Ends the armed frame.
    fn end(&mut self, outcome: Outcome) {
        self.disarm();
        self.outcome = Some(outcome);
    }

    fn disarm(&mut self) {
        if let Some(frame) = self.armed.take() {
            frame.destroy();
        }
        // Descriptors of a frame that was half said are closed.
        self.export = Export::default();
    }

    /// The output has another mode or is turned: frames that were asked for are of the old one.
    fn on_change(&mut self) {
        if let Some(Target::Wlr { next, .. }) = &mut self.target {
            if let Some((frame, _)) = next.take() {
                frame.destroy();
            }
            self.disarm();
            self.outcome = None;
            self.is_overdue = true;
        }
    }

    fn is_armed_with(&self, frame: &impl Proxy) -> bool {
        self.armed.as_ref().is_some_and(|armed| match armed {
            Frame::Export(armed) => armed.id() == frame.id(),
            Frame::Ext(armed) => armed.id() == frame.id(),
            Frame::Wlr(armed) => armed.id() == frame.id(),
        })
    }
}

impl Frame {
    fn destroy(&self) {
        match self {
            Frame::Export(frame) => frame.destroy(),
            Frame::Ext(frame) => frame.destroy(),
            Frame::Wlr(frame) => frame.destroy(),
        }
    }
}

impl Offer {
    /// Of several formats, the first that pictures can be made of.
    fn add_format(&mut self, format: WEnum<wl_shm::Format>) {
        match format {
            WEnum::Value(format) if is_known(format) => {
                self.format.get_or_insert(format);
            }
            other => self.unknown_format = Some(other.into()),
        }
    }

    fn shape(&self) -> Result<Option<Shape>, Error> {
        match (self.is_done, self.format, self.unknown_format) {
            (false, _, _) => Ok(None),
            (true, None, None) => Err(Error::Lacks("pictures in shared memory")),
            (true, None, Some(format)) => Err(Error::Format(format)),
            (true, Some(format), _) => {
                let (width, height) = (self.width as usize, self.height as usize);
                let gapless = width.saturating_mul(PIXEL_LEN);
                let stride = if self.stride == 0 { gapless } else { self.stride as usize };
                Ok(Some(Shape { format, width, height, stride }))
            }
        }
    }
}

/// A time of the wire.
pub fn time(seconds_high: u32, seconds_low: u32, nanoseconds: u32) -> Option<Duration> {
    let seconds = u64::from(seconds_high) << 32 | u64::from(seconds_low);
    (nanoseconds < 1_000_000_000).then(|| Duration::new(seconds, nanoseconds))
}

impl Dispatch<WlRegistry, ()> for Wire {
    fn event(
        wire: &mut Wire,
        registry: &WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        handle: &QueueHandle<Wire>,
    ) {
        match event {
            wl_registry::Event::Global { name, interface, version } => match interface.as_str() {
                "wl_shm" => wire.shm = Some(registry.bind(name, 1, handle, ())),
                // Those that come later are not captured.
                "wl_output" if !wire.is_chosen => {
                    let proxy = registry.bind(name, version.min(OUTPUT_VERSION), handle, name);
                    let (name, mode, global) = (String::new(), (0, 0), name);
                    let turn = Turn::default();
                    wire.outputs.push(Output { global, proxy, name, mode, turn });
                }
                "zwlr_screencopy_manager_v1" if version >= SCREENCOPY_VERSION => {
                    wire.screencopy = Some(registry.bind(name, SCREENCOPY_VERSION, handle, ()));
                }
                "ext_output_image_capture_source_manager_v1" => {
                    wire.sources = Some(registry.bind(name, 1, handle, ()));
                }
                "ext_image_copy_capture_manager_v1" => {
                    wire.copy_capture = Some(registry.bind(name, 1, handle, ()));
                }
                "zwlr_export_dmabuf_manager_v1" => {
                    wire.exporter = Some(registry.bind(name, 1, handle, ()));
                }
                "zwp_linux_dmabuf_v1" => wire.has_drivers = true,
                _ => {}
            },
            wl_registry::Event::GlobalRemove { name } => {
                let is_ours = wire.outputs.iter().any(|output| output.global == name);
                wire.is_gone |= wire.is_chosen && is_ours;
                wire.outputs.retain(|output| output.global != name);
            }
            _ => {}
        }
    }
}

impl Dispatch<WlCallback, ()> for Wire {
    fn event(
        wire: &mut Wire,
        _: &WlCallback,
        event: wl_callback::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Wire>,
    ) {
        if let wl_callback::Event::Done { .. } = event {
            wire.is_synced = true;
        }
    }
}

impl Dispatch<WlOutput, u32> for Wire {
    fn event(
        wire: &mut Wire,
        _: &WlOutput,
        event: wl_output::Event,
        global: &u32,
        _: &Connection,
        _: &QueueHandle<Wire>,
    ) {
        let Some(output) = wire.outputs.iter_mut().find(|output| output.global == *global) else {
            return;
        };
        match event {
            wl_output::Event::Geometry { transform: WEnum::Value(transform), .. }
                if output.turn != Turn::from(transform) =>
            {
                output.turn = transform.into();
                wire.on_change();
            }
            wl_output::Event::Name { name } => output.name = name,
            wl_output::Event::Mode { flags: WEnum::Value(flags), width, height, .. }
                if flags.contains(wl_output::Mode::Current) && output.mode != (width, height) =>
            {
                output.mode = (width, height);
                wire.on_change();
            }
            _ => {}
        }
    }
}

impl Dispatch<ZwlrScreencopyFrameV1, ()> for Wire {
    fn event(
        wire: &mut Wire,
        frame: &ZwlrScreencopyFrameV1,
        event: zwlr_screencopy_frame_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Wire>,
    ) {
        use zwlr_screencopy_frame_v1::{Event, Flags};
        if wire.is_armed_with(frame) {
            match event {
                Event::Flags { flags: WEnum::Value(flags) } => {
                    wire.is_inverted = flags.contains(Flags::YInvert);
                }
                Event::Ready { tv_sec_hi, tv_sec_lo, tv_nsec } => {
                    let presented = time(tv_sec_hi, tv_sec_lo, tv_nsec);
                    wire.end(Outcome::Ready { presented, is_inverted: wire.is_inverted });
                }
                Event::Failed => wire.end(Outcome::Failed),
                _ => {}
            }
            return;
        }
        let Some(Target::Wlr { next: slot, .. }) = &mut wire.target else { return };
        let Some((_, offer)) = slot.as_mut().filter(|(next, _)| next == frame) else { return };
        match event {
            Event::Buffer { format, width, height, stride } => {
                offer.add_format(format);
                (offer.width, offer.height, offer.stride) = (width, height, stride);
            }
            Event::BufferDone => offer.is_done = true,
            Event::Failed => {
                frame.destroy();
                *slot = None;
                // What is armed fails by itself, if it does.
                if !wire.is_armed() {
                    wire.outcome = Some(Outcome::Failed);
                }
            }
            _ => {}
        }
    }
}

impl Dispatch<ZwlrExportDmabufFrameV1, ()> for Wire {
    fn event(
        wire: &mut Wire,
        frame: &ZwlrExportDmabufFrameV1,
        event: zwlr_export_dmabuf_frame_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Wire>,
    ) {
        // What came with the event of a frame that is over is closed with it.
        if !wire.is_armed_with(frame) {
            return;
        }
        match wire.export.handle(event) {
            Progress::More => {}
            Progress::Ready(mut frame, presented) => {
                if !wire.has_drivers {
                    frame.settle_modifier();
                }
                wire.end(Outcome::Exported(frame, presented));
            }
            Progress::Failed => wire.end(Outcome::Failed),
            Progress::Never(error) => wire.end(Outcome::NotExported(error)),
        }
    }
}

impl Dispatch<ExtImageCopyCaptureSessionV1, ()> for Wire {
    fn event(
        wire: &mut Wire,
        _: &ExtImageCopyCaptureSessionV1,
        event: ext_image_copy_capture_session_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Wire>,
    ) {
        use ext_image_copy_capture_session_v1::Event;
        let Some(Target::Ext { offer, .. }) = &mut wire.target else { return };
        // After an end, something new is said.
        if offer.is_done && !matches!(event, Event::Stopped) {
            *offer = Offer::default();
        }
        match event {
            Event::BufferSize { width, height } => (offer.width, offer.height) = (width, height),
            Event::ShmFormat { format } => offer.add_format(format),
            Event::Done => offer.is_done = true,
            Event::Stopped => wire.is_gone = true,
            _ => {}
        }
    }
}

impl Dispatch<ExtImageCopyCaptureFrameV1, ()> for Wire {
    fn event(
        wire: &mut Wire,
        frame: &ExtImageCopyCaptureFrameV1,
        event: ext_image_copy_capture_frame_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Wire>,
    ) {
        use ext_image_copy_capture_frame_v1::Event;
        if !wire.is_armed_with(frame) {
            return;
        }
        match event {
            Event::PresentationTime { tv_sec_hi, tv_sec_lo, tv_nsec } => {
                wire.presented = time(tv_sec_hi, tv_sec_lo, tv_nsec);
            }
            Event::Transform { transform: WEnum::Value(transform) } => {
                wire.frame_turn = Some(transform.into());
            }
            Event::Ready => {
                wire.end(Outcome::Ready { presented: wire.presented, is_inverted: false });
            }
            Event::Failed { .. } => wire.end(Outcome::Failed),
            _ => {}
        }
    }
}

delegate_noop!(Wire: ignore WlShm);
delegate_noop!(Wire: ignore WlShmPool);
delegate_noop!(Wire: ignore WlBuffer);
delegate_noop!(Wire: ignore ZwlrExportDmabufManagerV1);
delegate_noop!(Wire: ignore ZwlrScreencopyManagerV1);
delegate_noop!(Wire: ignore ExtOutputImageCaptureSourceManagerV1);
delegate_noop!(Wire: ignore ExtImageCaptureSourceV1);
delegate_noop!(Wire: ignore ExtImageCopyCaptureManagerV1);
