//! Devices of hardware encoders, and the surfaces on them that pictures are copied to.

use std::ffi::{CStr, CString, c_int};
use std::fs;
use std::ptr::{self, NonNull};

use crate::ffmpeg;

use ffmpeg::AVHWDeviceType::{self, AV_HWDEVICE_TYPE_DRM, AV_HWDEVICE_TYPE_VULKAN};
use ffmpeg::AVPixelFormat;

use crate::error::Error;
use crate::formats::surface_format;
use crate::log;
use crate::owned::{Buffer, no_memory};

/// Surfaces that are kept: the one being filled, one that is encoded, and references.
const SURFACE_COUNT: c_int = 8;

/// The render nodes of this machine, in order. None at all is an error.
pub(crate) fn render_nodes() -> Result<Vec<Option<CString>>, Error> {
    let mut names: Vec<String> = fs::read_dir("/dev/dri")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("renderD"))
        .collect();
    if names.is_empty() {
        return Err(Error::Missing("there is no render node in /dev/dri".to_owned()));
    }
    names.sort();
    Ok(names.into_iter().map(|name| CString::new(format!("/dev/dri/{name}")).ok()).collect())
}

/// Copies pictures to surfaces of a device.
pub(crate) struct Uploader {
    frames: Buffer,
    surface: NonNull<ffmpeg::AVFrame>,
}

impl Uploader {
    /// Opens a device, by the path of its node or the one that the library takes for the first,
    /// and surfaces of a format and size on it.
    pub(crate) fn open(
        device_type: AVHWDeviceType,
        node: Option<&CStr>,
        format: AVPixelFormat,
        width: c_int,
        height: c_int,
    ) -> Result<Uploader, Error> {
        let device = open_device(device_type, node)?;
        // SAFETY: a live reference to a device.
        let frames = Buffer::new(unsafe { ffmpeg::av_hwframe_ctx_alloc(device.0.as_ptr()) })?;
        // SAFETY: the data of such a buffer is an AVHWFramesContext, and nobody else's yet.
        let fields = unsafe { &mut *(*frames.0.as_ptr()).data.cast::<ffmpeg::AVHWFramesContext>() };
        fields.format = surface_format(device_type);
        fields.sw_format = format;
        fields.width = width;
        fields.height = height;
        fields.initial_pool_size = SURFACE_COUNT;
        // SAFETY: filled in, as the function wants.
        check(unsafe { ffmpeg::av_hwframe_ctx_init(frames.0.as_ptr()) })?;
        // SAFETY: no arguments.
        let surface = NonNull::new(unsafe { ffmpeg::av_frame_alloc() }).ok_or_else(no_memory)?;
        Ok(Uploader { frames, surface })
    }

    /// The pool that surfaces come from, for the encoder to look at.
    pub(crate) fn frames(&self) -> &Buffer {
        &self.frames
    }

    /// Copies a frame to a surface, which is the uploader's until its next call.
    pub(crate) fn upload(
        &mut self,
        frame: NonNull<ffmpeg::AVFrame>,
    ) -> Result<NonNull<ffmpeg::AVFrame>, Error> {
        // SAFETY: all are live; the surface that was filled before goes back to the pool once the
        // encoder lets go of it too.
        unsafe {
            ffmpeg::av_frame_unref(self.surface.as_ptr());
            failed(ffmpeg::av_hwframe_get_buffer(
                self.frames.0.as_ptr(),
                self.surface.as_ptr(),
                0,
            ))?;
            failed(ffmpeg::av_hwframe_transfer_data(self.surface.as_ptr(), frame.as_ptr(), 0))?;
            failed(ffmpeg::av_frame_copy_props(self.surface.as_ptr(), frame.as_ptr()))?;
        }
        Ok(self.surface)
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        let mut surface = self.surface.as_ptr();
        // SAFETY: live until here.
        unsafe { ffmpeg::av_frame_free(&mut surface) };
    }
}

fn open_device(device_type: AVHWDeviceType, node: Option<&CStr>) -> Result<Buffer, Error> {
    // Vulkan counts its devices; by its node it is to be had through DRM only.
    let is_derived = device_type == AV_HWDEVICE_TYPE_VULKAN && node.is_some();
    let opened = if is_derived { AV_HWDEVICE_TYPE_DRM } else { device_type };
    let mut device = ptr::null_mut();
    let name = node.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: the name is null or a string that ends; what comes back is a reference of ours.
    check(unsafe {
        ffmpeg::av_hwdevice_ctx_create(&mut device, opened, name, ptr::null_mut(), 0)
    })?;
    let device = Buffer::new(device)?;
    if !is_derived {
        return Ok(device);
    }
    let mut derived = ptr::null_mut();
    // SAFETY: a live reference to a device; what comes back is a reference of ours.
    check(unsafe {
        ffmpeg::av_hwdevice_ctx_create_derived(&mut derived, device_type, device.0.as_ptr(), 0)
    })?;
    Buffer::new(derived)
}

/// A device that does not open is a missing one.
fn check(code: c_int) -> Result<(), Error> {
    match code {
        0.. => Ok(()),
        _ => Err(Error::Missing(log::or(|| log::error_text(code)))),
    }
}

/// A device that opened and does not work any more has failed.
fn failed(code: c_int) -> Result<(), Error> {
    match code {
        0.. => Ok(()),
        _ => Err(Error::Failed(log::or(|| log::error_text(code)))),
    }
}
