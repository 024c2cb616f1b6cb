//! Encoders that FFmpeg wraps: HEVC and AV1 in software, everything of hardware.
//!
//! What they have in common is set on FFmpeg's context; what each needs besides is said in
//! `kinds`.

use std::ffi::{CStr, c_int};

use crate::annexb::{self, Shape, Syntax};
use crate::encoder::{Encoder, Picture, Unit};
use crate::error::Error;
use crate::ffmpeg;
use crate::formats;
use crate::hardware::{self, Uploader};
use crate::kinds::{self, KINDS, Kind, Variant};
use crate::log;
use crate::owned::{Context, Frame, Packet};
use crate::settings::{Backend, Layout, Rate, Settings};

/// Frames from one IDR frame to the next where none is asked for: years. A negative number would
/// be the library's default, a few seconds.
const GOP_SIZE: c_int = 1 << 30;

/// An AV1 temporal delimiter, which every unit begins with: an OBU of type 2 with a size, 0.
const TEMPORAL_DELIMITER: [u8; 2] = [0x12, 0x00];

/// An open encoder of FFmpeg's.
pub(crate) struct AvEncoder {
    kind: &'static Kind,
    context: Context,
    /// The picture in the program's memory; reused, so that taking one in costs a copy.
    frame: Frame,
    uploader: Option<Uploader>,
    packet: Packet,
    /// The packet holds a unit that waits to be polled.
    is_full: bool,
    layout: Layout,
    settings: Settings,
    is_idr_next: bool,
    /// Something was lost since the last IDR frame.
    heals_next: bool,
    newest: Option<u64>,
    idr: Option<u64>,
    /// Parameter sets, from drivers that give them out once and apart from pictures.
    headers: Vec<u8>,
    /// The unit as clients want it, where the encoder's is otherwise.
    rewritten: Vec<u8>,
}

impl AvEncoder {
    /// Opens the encoder of a codec and a backend on its device, or on the first that works.
    pub(crate) fn open(settings: &Settings) -> Result<AvEncoder, Error> {
        let kind = KINDS
            .iter()
            .find(|kind| kind.codec == settings.codec && kind.backend == settings.backend)
            .ok_or_else(|| Error::Missing("there is no such encoder for this codec".to_owned()))?;
        ffmpeg::load()?;
        let nodes = match (kind.backend, &settings.device) {
            (Backend::Vaapi, None) => hardware::render_nodes()?,
            (_, device) => vec![device.clone()],
        };
        let mut refusal = None;
        for node in &nodes {
            for variant in kinds::variants(kind, settings.is_10_bit) {
                match AvEncoder::open_on(kind, settings, node.as_deref(), &variant) {
                    Ok(encoder) => return Ok(encoder),
                    // Why the best one is not to be had says most.
                    Err(error) => _ = refusal.get_or_insert(error),
                }
            }
        }
        Err(refusal.unwrap_or_else(|| Error::Missing("there is no device".to_owned())))
    }

    fn open_on(
        kind: &'static Kind,
        settings: &Settings,
        device: Option<&CStr>,
        variant: &Variant,
    ) -> Result<AvEncoder, Error> {
        log::take();
        // SAFETY: a string that ends.
        let codec = unsafe { ffmpeg::avcodec_find_encoder_by_name(kind.name.as_ptr()) };
        if codec.is_null() {
            let name = kind.name.to_string_lossy();
            return Err(Error::Missing(format!("this FFmpeg has no encoder {name}")));
        }
        let layout = variant.layout;
        let mut context = Context::new(codec)?;
        configure(&mut context, kind, settings, layout);
        for (name, value) in kinds::options(kind, settings) {
            context.set(name, &value)?;
        }
        for (name, value) in variant.options {
            context.set(name, value)?;
        }
        let uploader = match kind.device {
            None => None,
            Some(device_type) => Some(Uploader::open(
                device_type,
                device,
                formats::pixel_format(layout),
                settings.width as c_int,
                settings.height as c_int,
            )?),
        };
        if let Some(uploader) = &uploader {
            context.use_frames(uploader.frames())?;
        }
        context.open(codec).map_err(|error| match (kind.backend, error) {
            (Backend::Software, error) => error,
            (_, error) => Error::Missing(error.to_string()),
        })?;
        Ok(AvEncoder {
            kind,
            context,
            frame: Frame::new(layout, settings)?,
            uploader,
            packet: Packet::new()?,
            is_full: false,
            layout,
            settings: settings.clone(),
            is_idr_next: true,
            heals_next: false,
            newest: None,
            idr: None,
            headers: Vec::new(),
            rewritten: Vec::with_capacity(settings.unit_len()),
        })
    }

    /// Takes a unit from the encoder, where it has one.
    fn receive(&mut self) -> Result<(), Error> {
        while !self.is_full {
            // SAFETY: context and packet are live.
            let code = unsafe {
                ffmpeg::avcodec_receive_packet(self.context.0.as_ptr(), self.packet.0.as_ptr())
            };
            if code == ffmpeg::AVERROR(ffmpeg::EAGAIN) {
                return Ok(());
            }
            self.check(code)?;
            let bytes = self.packet.bytes();
            if bytes.is_empty() {
                return Err(Error::Failed("the encoder made a unit of nothing".to_owned()));
            }
            let syntax = self.kind.codec.syntax();
            if syntax.is_some_and(|syntax| annexb::shape(bytes, syntax) == Shape::Headers) {
                self.headers.clear();
                self.headers.extend_from_slice(bytes);
            } else {
                self.is_full = true;
            }
        }
        Ok(())
    }

    fn check(&self, code: c_int) -> Result<(), Error> {
        if code >= 0 {
            return Ok(());
        }
        let name = self.kind.name.to_string_lossy();
        let why = log::or(|| log::error_text(code));
        Err(Error::Failed(format!("{name}: {why}")))
    }
}

/// Sets what all encoders have in common.
fn configure(context: &mut Context, kind: &Kind, settings: &Settings, layout: Layout) {
    // SAFETY: live and not opened yet, so nobody else's.
    let context = unsafe { context.0.as_mut() };
    context.width = settings.width as c_int;
    context.height = settings.height as c_int;
    context.pix_fmt = match kind.device {
        Some(device) => formats::surface_format(device),
        None => formats::pixel_format(layout),
    };
    context.framerate = ffmpeg::AVRational { num: settings.refresh_mhz as c_int, den: 1_000 };
    context.time_base = ffmpeg::AVRational { num: 1_000, den: settings.refresh_mhz as c_int };
    context.gop_size = GOP_SIZE;
    context.max_b_frames = 0;
    context.has_b_frames = 0;
    context.flags |= ffmpeg::AV_CODEC_FLAG_LOW_DELAY as c_int;
    context.slices = settings.slice_count as c_int;
    context.thread_count = settings.thread_count as c_int;
    if settings.reference_count_max > 0 {
        context.refs = settings.reference_count_max as c_int;
    }
    let (primaries, transfer, matrix) = formats::description(settings.space);
    context.color_primaries = primaries;
    context.color_trc = transfer;
    context.colorspace = matrix;
    context.color_range = formats::range(settings.is_full_range);
    set_rate(context, kind, settings.rate, settings.refresh_mhz);
}

fn set_rate(context: &mut ffmpeg::AVCodecContext, kind: &Kind, rate: Rate, refresh_mhz: u32) {
    let bits = i64::from(rate.kbps_max(refresh_mhz)) * 1_000;
    context.bit_rate = bits;
    context.rc_max_rate = bits;
    context.rc_min_rate = bits;
    let buffer_bits = rate.buffer_bits(refresh_mhz) as i64 * kind.buffer_frames;
    context.rc_buffer_size = buffer_bits.min(c_int::MAX.into()) as c_int;
    // Half full, as it is on average.
    context.rc_initial_buffer_occupancy = context.rc_buffer_size / 2;
}

impl Encoder for AvEncoder {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn name(&self) -> &'static CStr {
        self.kind.name
    }

    fn submit(&mut self, picture: &Picture) -> Result<(), Error> {
        log::take();
        self.is_full = false;
        let code = self.frame.fill(picture, self.layout, &self.settings);
        self.check(code)?;
        let frame = match &mut self.uploader {
            None => self.frame.0,
            Some(uploader) => uploader.upload(self.frame.0)?,
        };
        // SAFETY: a live frame, which only this encoder writes to.
        unsafe {
            (*frame.as_ptr()).pts = picture.number as i64;
            (*frame.as_ptr()).pict_type = match self.is_idr_next {
                true => ffmpeg::AVPictureType::AV_PICTURE_TYPE_I,
                false => ffmpeg::AVPictureType::AV_PICTURE_TYPE_NONE,
            };
        }
        // SAFETY: both are live; the encoder takes a reference of its own.
        let code = unsafe { ffmpeg::avcodec_send_frame(self.context.0.as_ptr(), frame.as_ptr()) };
        self.check(code)?;
        if self.is_idr_next {
            self.idr = Some(picture.number);
            self.is_idr_next = false;
        }
        self.newest = Some(picture.number);
        self.receive()
    }

    fn poll(&mut self) -> Result<Option<Unit<'_>>, Error> {
        self.receive()?;
        if !std::mem::take(&mut self.is_full) {
            return Ok(None);
        }
        let bytes = self.packet.bytes();
        let (is_idr, is_rewritten) = match self.kind.codec.syntax() {
            Some(syntax) => order(bytes, syntax, &self.headers, &mut self.rewritten),
            None => (self.packet.is_key(), delimit(bytes, &mut self.rewritten)),
        };
        let number = self.packet.pts().or(self.newest).unwrap_or(0);
        Ok(Some(Unit {
            bytes: if is_rewritten { &self.rewritten } else { bytes },
            number,
            is_idr,
            heals: is_idr && std::mem::take(&mut self.heals_next),
        }))
    }

    fn request_idr(&mut self) {
        self.is_idr_next = true;
    }

    fn invalidate(&mut self, first: u64, last: u64) -> bool {
        if !self.is_idr_next && first <= last && self.idr > Some(last) {
            return true; // the IDR frame that came since has dealt with it
        }
        self.is_idr_next = true;
        self.heals_next = true;
        false
    }

    fn set_rate(&mut self, rate: Rate) -> Result<bool, Error> {
        if !self.kind.follows_bitrate {
            return Ok(false);
        }
        // SAFETY: live, and nobody else's between two calls of the library.
        let context = unsafe { self.context.0.as_mut() };
        set_rate(context, self.kind, rate, self.settings.refresh_mhz);
        Ok(true)
    }
}

/// Writes a unit of H.264 or HEVC as clients want it to `out`: an IDR frame behind its parameter
/// sets, nothing else in front. Returns whether it is an IDR frame, and whether it had to be
/// written; `out` is as it was where not.
fn order(unit: &[u8], syntax: Syntax, headers: &[u8], out: &mut Vec<u8>) -> (bool, bool) {
    let shape = annexb::shape(unit, syntax);
    let is_stripped = annexb::strip(unit, syntax, out);
    if shape != (Shape::Idr { has_parameter_sets: false }) || headers.is_empty() {
        return (shape != Shape::Other, is_stripped);
    }
    if is_stripped {
        out.splice(..0, headers.iter().copied());
    } else {
        out.clear();
        out.extend_from_slice(headers);
        out.extend_from_slice(unit);
    }
    (true, true)
}

/// Writes an AV1 unit behind a temporal delimiter to `out`. Returns false, and leaves `out` as it
/// was, where it has one already.
fn delimit(unit: &[u8], out: &mut Vec<u8>) -> bool {
    if unit.starts_with(&TEMPORAL_DELIMITER) {
        return false;
    }
    out.clear();
    out.extend_from_slice(&TEMPORAL_DELIMITER);
    out.extend_from_slice(unit);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A unit, headers that came apart, and whether it is an IDR frame and is written anew.
    type Case<'a> = (&'a [u8], &'a [u8], (bool, bool));

    #[test]
    fn idr_frames_come_behind_their_parameter_sets() {
        const HEADERS: &[u8] = &[0, 0, 1, 0x67, 7, 0, 0, 1, 0x68, 8];
        const BARE: &[u8] = &[0, 0, 1, 0x65, 1];
        let whole = [HEADERS, BARE].concat();
        let with_sei = [&[0, 0, 1, 6, 5], BARE].concat();
        let other = [0, 0, 1, 0x41, 1];
        let cases: [Case; 5] = [
            (&whole, &[], (true, false)),
            (&whole, HEADERS, (true, false)),
            (BARE, HEADERS, (true, true)),
            (&with_sei, HEADERS, (true, true)),
            (&other, HEADERS, (false, false)),
        ];

        for (unit, headers, expected) in cases {
            let mut out = Vec::new();
            assert_eq!(order(unit, Syntax::H264, headers, &mut out), expected, "{unit:?}");
            assert!(!expected.1 || out == whole, "{unit:?}");
        }
    }

    #[test]
    fn a_unit_has_one_temporal_delimiter() {
        let mut out = Vec::new();

        assert!(!delimit(&[0x12, 0, 0x32, 1, 9], &mut out));
        assert!(delimit(&[0x32, 1, 9], &mut out));
        assert_eq!(out, [0x12, 0, 0x32, 1, 9]);
    }
}
