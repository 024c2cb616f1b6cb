//! One encoder at work: pictures in, access units out.

#![allow(unsafe_code, reason = "calls of the plug-in's C interface")]

use std::ffi::{CString, c_int};
use std::fmt;
use std::ptr::{self, NonNull};

use punktfunk_core::proto::gamestream::rtsp::announce::{Codec, Colour, ColourSpace};
use punktfunk_core::proto::units::FrameIndex;

use super::abilities::Backend;
use super::library::{self, Plugin, RawConfig, RawEncoder, RawPicture, RawUnit, Why, text};
use crate::picture::{Layout, Planes};

/// How an encoder is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What comes out.
    pub codec: Codec,
    /// By what.
    pub backend: Backend,
    /// 16 to 16384 pixels, even.
    pub width: u32,
    /// 16 to 16384 pixels, even.
    pub height: u32,
    /// 59940 is 59.94 Hz.
    pub refresh_mhz: u32,
    /// Of access units alone.
    pub bitrate_kbps: u32,
    /// Bytes that an access unit should not exceed; `None` is the share of the bitrate that one
    /// frame has.
    pub frame_len_max: Option<u32>,
    /// Slices wanted of each frame. There may be more.
    pub slice_count: u32,
    /// Reference frames at most; `None` leaves it to the encoder.
    pub reference_count_max: Option<u32>,
    /// 10 bits a sample, otherwise 8.
    pub is_10_bit: bool,
    /// How numbers become colours while the picture is not HDR.
    pub colour: Colour,
    /// BT.2020 with the PQ curve, in place of what `colour` says of the space.
    pub is_hdr: bool,
    /// How much time it may take.
    pub quality: Quality,
    /// Of software; `None` is one for each processor.
    pub thread_count: Option<u32>,
    /// The render or video node; `None` is the first that works.
    pub device: Option<CString>,
}

/// What a picture may cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quality {
    /// As little time as can be.
    Fastest,
    /// In between.
    Balanced,
    /// As long as the rate of pictures allows.
    Best,
}

/// What an encoder does about lost frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Invalidation {
    /// The next unit refers to nothing that is lost, and is no IDR.
    Obeyed,
    /// The next unit is an IDR.
    IdrInstead,
}

/// An access unit. Its bytes are the encoder's until that is asked for anything else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit<'a> {
    /// Annex B, or OBUs.
    pub bytes: &'a [u8],
    /// Which frame it is of.
    pub frame: FrameIndex,
    /// A decoder can start from it.
    pub is_idr: bool,
    /// It is the first that refers to nothing that was invalidated, and no IDR.
    pub heals: bool,
}

/// Why an encoder does not do what it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// Asked for something that cannot be.
    Argument(String),
    /// It failed, and will not work again.
    Failed(String),
    /// There is no such encoder here.
    Missing(String),
    /// The picture has another layout or size than the encoder.
    Picture,
    /// The plug-in did what its interface rules out.
    Plugin(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Argument(why) | Error::Failed(why) | Error::Missing(why) => f.write_str(why),
            Error::Picture => f.write_str("a picture of another layout or size"),
            Error::Plugin(what) => write!(f, "fault of the encoder plug-in: {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// An encoder, and with it what it has of a graphics card. Belongs to one thread at a time.
#[derive(Debug)]
pub struct Encoder {
    plugin: Plugin,
    raw: NonNull<RawEncoder>,
    layout: Layout,
    name: String,
    width: usize,
    height: usize,
    numbers: Numbers,
}

// SAFETY: the interface ties an encoder to one thread at a time, not to the one that made it; the
// pointer is this value's alone.
unsafe impl Send for Encoder {}

/// Numbers of the pictures that are inside. The interface has 64 bits, so frames that are counted
/// on from the last of 32 bits stay in order.
#[derive(Debug, Default)]
struct Numbers {
    /// Of the last picture that went in.
    last_in: Option<u64>,
    /// Of the last unit that came out.
    last_out: Option<u64>,
}

impl Encoder {
    /// Opens an encoder. Takes up to a second, and memory for some pictures.
    pub fn open(plugin: &Plugin, settings: &Settings) -> Result<Encoder, Error> {
        let config = raw_config(settings);
        let (mut raw, mut why) = (ptr::null_mut(), Why::default());
        let (to, len) = why.room();
        // SAFETY: `config`, and the device's name in `settings`, live until the call returns; so
        // do `raw` and the `len` bytes at `to`, which it fills.
        let result = unsafe { (plugin.open)(&config, &mut raw, to, len) };
        if result < library::OK {
            return Err(error(result, why.text()));
        }
        let raw = NonNull::new(raw).ok_or(Error::Plugin("it opened nothing"))?;
        let mut encoder = Encoder {
            plugin: *plugin,
            raw,
            layout: Layout::I420,
            name: String::new(),
            width: settings.width as usize,
            height: settings.height as usize,
            numbers: Numbers::default(),
        };
        // SAFETY: the encoder is open; its name lasts as long as it and is copied at once.
        let layout = unsafe {
            encoder.name = text((plugin.name)(raw.as_ptr()));
            (plugin.layout)(raw.as_ptr())
        };
        encoder.layout = layout_of(layout).ok_or(Error::Plugin("a layout that is none"))?;
        let sample_len = if settings.is_10_bit { 2 } else { 1 };
        if encoder.layout.sample_len() != sample_len {
            return Err(Error::Plugin("a layout of another depth"));
        }
        Ok(encoder)
    }

    /// How pictures are to come.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What encodes, such as "libx264".
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives it a picture, which is read before this returns. `frame` is one more than that of the
    /// picture before.
    pub fn submit(&mut self, planes: &Planes, frame: FrameIndex) -> Result<(), Error> {
        let number = self.numbers.next(frame)?;
        let mut picture = RawPicture {
            struct_size: size_of::<RawPicture>() as u32,
            planes: [ptr::null(); 3],
            strides: [0; 3],
            number,
        };
        self.check(planes)?;
        for (index, plane) in planes.planes().iter().enumerate() {
            picture.planes[index] = plane.bytes.as_ptr();
            picture.strides[index] = u32::try_from(plane.stride).map_err(|_| Error::Picture)?;
        }
        // SAFETY: the encoder is open. `picture` and the planes, which are borrowed, live until the
        // call returns; each plane of the layout is there and, as checked, as long as its rows.
        let result = unsafe { (self.plugin.submit)(self.raw.as_ptr(), &picture) };
        self.outcome(result)?;
        self.numbers.last_in = Some(number);
        Ok(())
    }

    /// The next access unit, in the order of the pictures, if one is ready.
    pub fn poll(&mut self) -> Result<Option<Unit<'_>>, Error> {
        let mut unit = RawUnit {
            struct_size: size_of::<RawUnit>() as u32,
            bytes: ptr::null(),
            len: 0,
            number: 0,
            is_idr: 0,
            heals: 0,
        };
        // SAFETY: the encoder is open, and `unit` lives until the call returns.
        let result = unsafe { (self.plugin.poll)(self.raw.as_ptr(), &mut unit) };
        self.outcome(result)?;
        if result != library::OK {
            return Ok(None);
        }
        if unit.bytes.is_null() || unit.len == 0 || unit.len > isize::MAX as usize {
            return Err(Error::Plugin("an access unit without bytes"));
        }
        self.numbers.on_out(unit.number)?;
        // SAFETY: not null, and `len` bytes that the plug-in leaves alone until its next call, for
        // which this encoder would have to be borrowed anew.
        let bytes = unsafe { std::slice::from_raw_parts(unit.bytes, unit.len) };
        let frame = FrameIndex(unit.number as u32);
        let is_idr = unit.is_idr != 0;
        Ok(Some(Unit { bytes, frame, is_idr, heals: unit.heals != 0 && !is_idr }))
    }

    /// The next picture becomes an IDR.
    pub fn request_idr(&mut self) {
        // SAFETY: the encoder is open.
        unsafe { (self.plugin.request_idr)(self.raw.as_ptr()) }
    }

    /// The client has lost these frames: the next picture refers to none of them, nor to one that
    /// does. Frames that never were, or are longer gone than 2^31 frames, lead to an IDR.
    pub fn invalidate(&mut self, first: FrameIndex, last: FrameIndex) -> Invalidation {
        if let Some((first, last)) = self.numbers.range(first, last) {
            // SAFETY: the encoder is open.
            let result = unsafe { (self.plugin.invalidate)(self.raw.as_ptr(), first, last) };
            match result {
                library::OK => return Invalidation::Obeyed,
                library::NOT_NOW => return Invalidation::IdrInstead,
                _ => {}
            }
        }
        self.request_idr();
        Invalidation::IdrInstead
    }

    /// Changes the bitrate from the next picture on. `false`: as before; the encoder has to be
    /// opened anew for that. `frame_len_max` is as in [`Settings`].
    pub fn set_bitrate(&mut self, bitrate_kbps: u32, frame_len_max: Option<u32>) -> bool {
        let (raw, len) = (self.raw.as_ptr(), frame_len_max.unwrap_or(0));
        // SAFETY: the encoder is open.
        unsafe { (self.plugin.set_bitrate)(raw, bitrate_kbps, len) == library::OK }
    }

    /// Whether every row that the encoder will read is there.
    fn check(&self, planes: &Planes) -> Result<(), Error> {
        let layout = self.layout;
        let is_alike =
            (planes.layout(), planes.width(), planes.height()) == (layout, self.width, self.height);
        if !is_alike || planes.planes().len() != layout.plane_count() {
            return Err(Error::Picture);
        }
        for (index, plane) in planes.planes().iter().enumerate() {
            let (sample_count, row_count) = match (index, layout.plane_count()) {
                (0, _) => (self.width, self.height),
                (_, 2) => (self.width, self.height / 2),
                _ => (self.width / 2, self.height / 2),
            };
            let row_len = sample_count * layout.sample_len();
            let len = plane.stride.checked_mul(row_count);
            if plane.stride < row_len || len.is_none_or(|len| plane.bytes.len() < len) {
                return Err(Error::Picture);
            }
        }
        Ok(())
    }

    fn outcome(&self, result: c_int) -> Result<(), Error> {
        if result >= library::OK {
            return Ok(());
        }
        // SAFETY: the encoder is open; the text is its until its next call and copied at once.
        Err(error(result, unsafe { text((self.plugin.error)(self.raw.as_ptr())) }))
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: the encoder is open, and nobody has the pointer after this.
        unsafe { (self.plugin.close)(self.raw.as_ptr()) }
    }
}

impl Numbers {
    /// The number of a frame that is near the last one; before the first there is nothing to be
    /// near to.
    fn of(&self, frame: FrameIndex) -> u64 {
        let Some(last) = self.last_in else {
            return u64::from(frame.0);
        };
        let distance = frame.0.wrapping_sub(last as u32).cast_signed();
        last.wrapping_add_signed(distance.into())
    }

    fn next(&self, frame: FrameIndex) -> Result<u64, Error> {
        let number = self.of(frame);
        if self.last_in.is_some_and(|last| number != last + 1) {
            return Err(Error::Argument(format!("frame {frame} is not the next")));
        }
        Ok(number)
    }

    fn on_out(&mut self, number: u64) -> Result<(), Error> {
        let is_in = self.last_in.is_some_and(|last| number <= last);
        if !is_in || self.last_out.is_some_and(|last| number <= last) {
            return Err(Error::Plugin("an access unit of no picture"));
        }
        self.last_out = Some(number);
        Ok(())
    }

    /// Numbers of frames that were, from the first to the last.
    fn range(&self, first: FrameIndex, last: FrameIndex) -> Option<(u64, u64)> {
        let (first, last) = (self.of(first), self.of(last));
        (first <= last && self.last_in.is_some_and(|newest| last <= newest))
            .then_some((first, last))
    }
}

fn raw_config(settings: &Settings) -> RawConfig {
    let space = match (settings.is_hdr, settings.colour.space) {
        (true, _) => 3,
        (false, ColourSpace::Bt601) => 0,
        (false, ColourSpace::Bt709) => 1,
        (false, ColourSpace::Bt2020) => 2,
    };
    let quality = match settings.quality {
        Quality::Fastest => 0,
        Quality::Balanced => 1,
        Quality::Best => 2,
    };
    RawConfig {
        struct_size: size_of::<RawConfig>() as u32,
        codec: library::codec_number(settings.codec),
        backend: library::backend_number(settings.backend),
        space,
        quality,
        width: settings.width,
        height: settings.height,
        refresh_mhz: settings.refresh_mhz,
        bitrate_kbps: settings.bitrate_kbps,
        frame_len_max: settings.frame_len_max.unwrap_or(0),
        slice_count: settings.slice_count,
        reference_count_max: settings.reference_count_max.unwrap_or(0),
        bit_depth: if settings.is_10_bit { 10 } else { 8 },
        full_range: u32::from(settings.colour.is_full_range),
        thread_count: settings.thread_count.unwrap_or(0),
        device: settings.device.as_ref().map_or(ptr::null(), |device| device.as_ptr()),
    }
}

/// As in `enum avenc_layout`.
fn layout_of(number: u32) -> Option<Layout> {
    Some(match number {
        0 => Layout::I420,
        1 => Layout::I420P10,
        2 => Layout::Nv12,
        3 => Layout::P010,
        _ => return None,
    })
}

fn error(result: c_int, why: String) -> Error {
    match result {
        library::E_ARGUMENT => Error::Argument(why),
        library::E_MISSING => Error::Missing(why),
        _ => Error::Failed(why),
    }
}

#[cfg(test)]
mod tests;
