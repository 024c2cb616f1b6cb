//! FFmpeg's objects, which are freed with what owns them here.

use std::ffi::{CStr, CString, c_int};
use std::ptr::{self, NonNull};

use crate::encoder::Picture;
use crate::error::Error;
use crate::ffmpeg;
use crate::formats;
use crate::log;
use crate::settings::{Layout, Settings};

/// An AVCodecContext, freed with it.
pub(crate) struct Context(pub(crate) NonNull<ffmpeg::AVCodecContext>);

impl Context {
    pub(crate) fn new(codec: *const ffmpeg::AVCodec) -> Result<Context, Error> {
        // SAFETY: a codec of the library's, which live for ever.
        let context = unsafe { ffmpeg::avcodec_alloc_context3(codec) };
        NonNull::new(context).map(Context).ok_or_else(no_memory)
    }

    /// Sets a private option. One that this FFmpeg does not know is left out.
    pub(crate) fn set(&mut self, name: &CStr, value: &str) -> Result<(), Error> {
        let text = CString::new(value).map_err(|_| Error::Argument("an option with a NUL"))?;
        // SAFETY: the context is live, its private part the codec's; the strings end.
        let code = unsafe {
            ffmpeg::av_opt_set((*self.0.as_ptr()).priv_data, name.as_ptr(), text.as_ptr(), 0)
        };
        if code >= 0 || code == ffmpeg::AVERROR_OPTION_NOT_FOUND {
            return Ok(());
        }
        let why = log::or(|| log::error_text(code));
        Err(Error::Failed(format!("option {}={value}: {why}", name.to_string_lossy())))
    }

    /// Pictures will be surfaces of a device.
    pub(crate) fn use_frames(&mut self, frames: &Buffer) -> Result<(), Error> {
        // SAFETY: a live reference; the new one is freed with the context.
        let frames = unsafe { ffmpeg::av_buffer_ref(frames.0.as_ptr()) };
        if frames.is_null() {
            return Err(no_memory());
        }
        // SAFETY: live and not opened yet.
        unsafe { self.0.as_mut() }.hw_frames_ctx = frames;
        Ok(())
    }

    pub(crate) fn open(&mut self, codec: *const ffmpeg::AVCodec) -> Result<(), Error> {
        // SAFETY: a live context that was made for this codec.
        let code = unsafe { ffmpeg::avcodec_open2(self.0.as_ptr(), codec, ptr::null_mut()) };
        if code >= 0 {
            log::take();
            return Ok(());
        }
        Err(Error::Failed(log::or(|| log::error_text(code))))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let mut context = self.0.as_ptr();
        // SAFETY: live until here.
        unsafe { ffmpeg::avcodec_free_context(&mut context) };
    }
}

/// An AVFrame in the program's memory, freed with it.
pub(crate) struct Frame(pub(crate) NonNull<ffmpeg::AVFrame>);

impl Frame {
    pub(crate) fn new(layout: Layout, settings: &Settings) -> Result<Frame, Error> {
        // SAFETY: no arguments.
        let frame = NonNull::new(unsafe { ffmpeg::av_frame_alloc() }).ok_or_else(no_memory)?;
        let mut frame = Frame(frame);
        // SAFETY: live and nobody else's.
        let fields = unsafe { frame.0.as_mut() };
        fields.format = formats::pixel_format(layout) as c_int;
        fields.width = settings.width as c_int;
        fields.height = settings.height as c_int;
        let (primaries, transfer, matrix) = formats::description(settings.space);
        fields.color_primaries = primaries;
        fields.color_trc = transfer;
        fields.colorspace = matrix;
        fields.color_range = formats::range(settings.is_full_range);
        // SAFETY: format and size are set, as the function wants.
        let code = unsafe { ffmpeg::av_frame_get_buffer(frame.0.as_ptr(), 0) };
        if code < 0 {
            return Err(no_memory());
        }
        Ok(frame)
    }

    /// Copies a picture in. Returns an error number of FFmpeg's.
    pub(crate) fn fill(&mut self, picture: &Picture, layout: Layout, settings: &Settings) -> c_int {
        // The encoder has let go of the last picture, so this allocates nothing.
        // SAFETY: live, with buffers.
        let code = unsafe { ffmpeg::av_frame_make_writable(self.0.as_ptr()) };
        if code < 0 {
            return code;
        }
        // SAFETY: live and nobody else's, as was just made sure.
        let frame = unsafe { self.0.as_mut() };
        for index in 0..layout.plane_count() {
            let (row_len, rows) = layout.plane(index, settings.width, settings.height);
            let to_stride = frame.linesize[index] as usize;
            let stride = picture.strides[index] as usize;
            for row in 0..rows {
                // SAFETY: `Picture` promises planes of as many rows of as many bytes; the frame was
                // allocated for the same format and size.
                unsafe {
                    ptr::copy_nonoverlapping(
                        picture.planes[index].add(row * stride),
                        frame.data[index].add(row * to_stride),
                        row_len,
                    );
                }
            }
        }
        0
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let mut frame = self.0.as_ptr();
        // SAFETY: live until here.
        unsafe { ffmpeg::av_frame_free(&mut frame) };
    }
}

/// An AVPacket, freed with it.
pub(crate) struct Packet(pub(crate) NonNull<ffmpeg::AVPacket>);

impl Packet {
    pub(crate) fn new() -> Result<Packet, Error> {
        // SAFETY: no arguments.
        NonNull::new(unsafe { ffmpeg::av_packet_alloc() }).map(Packet).ok_or_else(no_memory)
    }

    /// What the encoder put there last.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: live.
        let packet = unsafe { self.0.as_ref() };
        if packet.data.is_null() {
            return &[];
        }
        // SAFETY: a packet has as many bytes as it says, and keeps them until it is filled anew,
        // for which it is borrowed.
        unsafe { std::slice::from_raw_parts(packet.data, packet.size.max(0) as usize) }
    }

    pub(crate) fn is_key(&self) -> bool {
        // SAFETY: live.
        unsafe { self.0.as_ref() }.flags & ffmpeg::AV_PKT_FLAG_KEY as c_int != 0
    }

    /// The number of the picture, which went in as its time.
    pub(crate) fn pts(&self) -> Option<u64> {
        // SAFETY: live.
        let pts = unsafe { self.0.as_ref() }.pts;
        (pts != ffmpeg::AV_NOPTS_VALUE).then_some(pts as u64)
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        let mut packet = self.0.as_ptr();
        // SAFETY: live until here.
        unsafe { ffmpeg::av_packet_free(&mut packet) };
    }
}

/// A reference of FFmpeg's, given back with it.
pub(crate) struct Buffer(pub(crate) NonNull<ffmpeg::AVBufferRef>);

impl Buffer {
    pub(crate) fn new(buffer: *mut ffmpeg::AVBufferRef) -> Result<Buffer, Error> {
        NonNull::new(buffer).map(Buffer).ok_or_else(no_memory)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut buffer = self.0.as_ptr();
        // SAFETY: a reference of ours until here.
        unsafe { ffmpeg::av_buffer_unref(&mut buffer) };
    }
}

/// FFmpeg allocates nothing more.
pub(crate) fn no_memory() -> Error {
    Error::Failed("no memory".to_owned())
}
