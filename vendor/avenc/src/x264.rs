//! H.264 by libx264's own interface, which FFmpeg's does not reach: it invalidates references.
//!
//! Slices of a picture are encoded side by side, pictures one after the other, so that each comes
//! out of the call that took it in.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use crate::annexb::{self, Syntax};
use crate::encoder::{Encoder, Picture, Unit};
use crate::error::Error;
use crate::log;
use crate::references::{References, Remedy};
use crate::settings::{Layout, Quality, Rate, Settings};

/// What bindgen makes of the x264.h that is installed.
#[expect(non_camel_case_types, non_upper_case_globals, unused, reason = "the names of a C header")]
mod sys {
    include!(concat!(env!("OUT_DIR"), "/x264.rs"));
}

/// The log callbacks of both libraries, which differ by the generated name of va_list only.
type OfFfmpeg = unsafe extern "C" fn(*mut c_void, c_int, *const c_char, log::VaList);
type OfX264 = unsafe extern "C" fn(*mut c_void, c_int, *const c_char, VaList);

#[cfg(target_arch = "x86_64")]
type VaList = *mut sys::__va_list_tag;
#[cfg(not(target_arch = "x86_64"))]
type VaList = sys::va_list;

/// The build of the library, which is the version of its interface.
pub(crate) const BUILD: u32 = sys::X264_BUILD;

/// Pictures that can be referred to where the client sets no limit. A loss is healed as long as one
/// from before it is left: at 60 Hz that is up to 66 ms after it was sent. The encoder searches the
/// newest only, so more cost memory and nothing else.
const REFERENCE_COUNT: u32 = 5;

/// The coarsest quantiser of 8 bits; each further bit adds 6.
const QP_MAX: c_int = 51;

pub(crate) struct X264 {
    encoder: NonNull<sys::x264_t>,
    settings: Settings,
    references: References,
    unit: Option<Output>,
    /// The unit without its SEI, where it had any.
    stripped: Vec<u8>,
}

/// An access unit that waits to be polled.
struct Output {
    bytes: NonNull<u8>,
    len: usize,
    is_stripped: bool,
    number: u64,
    is_idr: bool,
    heals: bool,
}

impl X264 {
    pub(crate) fn open(settings: &Settings) -> Result<X264, Error> {
        log::take();
        let reference_count = reference_count(settings);
        let mut param = param(settings, reference_count)?;
        // SAFETY: filled in by the library and by `param`; the library copies what it keeps.
        let encoder = unsafe { sys::x264_encoder_open(&mut param) };
        let encoder = NonNull::new(encoder)
            .ok_or_else(|| Error::Failed(log::or(|| "libx264 takes no such picture".to_owned())))?;
        Ok(X264 {
            encoder,
            settings: settings.clone(),
            references: References::new(reference_count as usize),
            unit: None,
            stripped: Vec::with_capacity(settings.unit_len()),
        })
    }

    /// The picture as the library takes it, pointing into the caller's planes.
    fn picture(&self, picture: &Picture) -> sys::x264_picture_t {
        let mut input = MaybeUninit::uninit();
        // SAFETY: the function fills all of it.
        let mut input: sys::x264_picture_t = unsafe {
            sys::x264_picture_init(input.as_mut_ptr());
            input.assume_init()
        };
        let layout = self.layout();
        input.i_type = match self.references.is_idr_next() {
            true => sys::X264_TYPE_IDR,
            false => sys::X264_TYPE_AUTO,
        } as c_int;
        input.i_pts = picture.number as i64;
        input.img.i_csp = csp(layout);
        input.img.i_plane = layout.plane_count() as c_int;
        for index in 0..layout.plane_count() {
            input.img.plane[index] = picture.planes[index].cast_mut();
            input.img.i_stride[index] = picture.strides[index] as c_int;
        }
        input
    }
}

/// Pictures that can be referred to. Many decoders of hardware end at level 4.2, so a size and rate
/// that it allows is not taken beyond it: tables of the specification.
fn reference_count(settings: &Settings) -> u32 {
    const MACROBLOCKS: u32 = 8_704;
    const MACROBLOCKS_PER_SECOND: u64 = 522_240;
    const MACROBLOCKS_KEPT: u32 = 34_816;
    if settings.reference_count_max > 0 {
        return settings.reference_count_max;
    }
    let count = settings.width.div_ceil(16) * settings.height.div_ceil(16);
    let rate = u64::from(count) * u64::from(settings.refresh_mhz) / 1_000;
    match count <= MACROBLOCKS && rate <= MACROBLOCKS_PER_SECOND {
        true => REFERENCE_COUNT.min(MACROBLOCKS_KEPT / count),
        false => REFERENCE_COUNT,
    }
}

/// What the library is opened with.
fn param(settings: &Settings, reference_count: u32) -> Result<sys::x264_param_t, Error> {
    let preset = match settings.quality {
        Quality::Balanced => c"veryfast",
        Quality::Best => c"faster",
        Quality::Fastest => c"superfast",
    };
    let mut param = MaybeUninit::uninit();
    // SAFETY: strings that end; the function fills all of `param`, and says so by returning 0.
    let code = unsafe {
        sys::x264_param_default_preset(param.as_mut_ptr(), preset.as_ptr(), c"zerolatency".as_ptr())
    };
    if code != 0 {
        return Err(Error::Failed("libx264 does not know its presets".to_owned()));
    }
    // SAFETY: filled, as above.
    let mut param: sys::x264_param_t = unsafe { param.assume_init() };

    // SAFETY: in C both are `void (*)(void *, int, const char *, va_list)`.
    param.pf_log = Some(unsafe { std::mem::transmute::<OfFfmpeg, OfX264>(log::keep) });
    param.i_log_level = sys::X264_LOG_ERROR as c_int;

    param.i_width = settings.width as c_int;
    param.i_height = settings.height as c_int;
    param.i_csp = csp(layout(settings)) & sys::X264_CSP_MASK as c_int;
    param.i_bitdepth = if settings.is_10_bit { 10 } else { 8 };
    // One thread makes any number of slices; several make one each.
    param.i_threads = match settings.thread_count {
        1 => 1,
        count => count.max(settings.slice_count) as c_int,
    };
    param.b_sliced_threads = 1;
    // Without pictures to look ahead at, threads for it take their share of a few rows each, and cost
    // more in waking than they save.
    param.i_lookahead_threads = 1;
    param.i_slice_count = settings.slice_count as c_int;

    param.i_fps_num = settings.refresh_mhz;
    param.i_fps_den = 1_000;
    param.i_timebase_num = 1_000;
    param.i_timebase_den = settings.refresh_mhz;
    // With this, each picture would wait for the time of the next.
    param.b_vfr_input = 0;

    param.i_keyint_max = sys::X264_KEYINT_MAX_INFINITE as c_int;
    param.i_scenecut_threshold = 0;
    param.i_bframe = 0;
    param.b_open_gop = 0;
    param.b_intra_refresh = 0; // forbids invalidation
    param.i_frame_reference = param.i_frame_reference.min(reference_count as c_int);
    param.i_dpb_size = reference_count as c_int;

    param.b_annexb = 1;
    param.b_repeat_headers = 1;
    param.b_aud = 0;
    let (primaries, transfer, matrix) = settings.space.description();
    param.vui.i_colorprim = primaries.into();
    param.vui.i_transfer = transfer.into();
    param.vui.i_colmatrix = matrix.into();
    param.vui.b_fullrange = settings.is_full_range.into();

    param.rc.i_rc_method = sys::X264_RC_ABR as c_int;
    // The library goes on beyond the coarsest quantiser that there is, and there it leaves out what
    // has changed, for as long as the bits of a picture do not suffice: the picture is torn.
    param.rc.i_qp_max = QP_MAX + if settings.is_10_bit { 12 } else { 0 };
    set_rate(&mut param, settings.rate, settings.refresh_mhz);

    let profile = if settings.is_10_bit { c"high10" } else { c"high" };
    // SAFETY: `param` is filled, the string ends.
    if unsafe { sys::x264_param_apply_profile(&mut param, profile.as_ptr()) } != 0 {
        return Err(Error::Failed(log::or(|| "libx264 has no such profile".to_owned())));
    }
    Ok(param)
}

fn set_rate(param: &mut sys::x264_param_t, rate: Rate, refresh_mhz: u32) {
    let kbps = rate.kbps_max(refresh_mhz) as c_int;
    param.rc.i_bitrate = kbps;
    param.rc.i_vbv_max_bitrate = kbps;
    param.rc.i_vbv_buffer_size = (rate.buffer_bits(refresh_mhz) / 1_000) as c_int;
}

fn layout(settings: &Settings) -> Layout {
    if settings.is_10_bit { Layout::I420P10 } else { Layout::Nv12 }
}

fn csp(layout: Layout) -> c_int {
    let csp = match layout {
        Layout::I420 => sys::X264_CSP_I420,
        Layout::I420P10 => sys::X264_CSP_I420 | sys::X264_CSP_HIGH_DEPTH,
        Layout::Nv12 => sys::X264_CSP_NV12,
        Layout::P010 => sys::X264_CSP_NV12 | sys::X264_CSP_HIGH_DEPTH,
    };
    csp as c_int
}

impl Encoder for X264 {
    fn layout(&self) -> Layout {
        layout(&self.settings)
    }

    fn name(&self) -> &'static CStr {
        c"libx264"
    }

    fn submit(&mut self, picture: &Picture) -> Result<(), Error> {
        log::take();
        self.unit = None;
        let mut input = self.picture(picture);
        let mut nals = ptr::null_mut();
        let mut nal_count = 0;
        let mut output = MaybeUninit::uninit();
        // SAFETY: the encoder is open; the planes of the picture are as large as the layout asks
        // for, as `Picture` promises, and only read.
        let len = unsafe {
            sys::x264_encoder_encode(
                self.encoder.as_ptr(),
                &mut nals,
                &mut nal_count,
                &mut input,
                output.as_mut_ptr(),
            )
        };
        if len < 0 {
            return Err(Error::Failed(log::or(|| "libx264 failed".to_owned())));
        }
        if len == 0 || nal_count == 0 {
            return Err(Error::Failed("libx264 holds a picture back".to_owned()));
        }
        // SAFETY: the library makes at least one NAL unit and fills in the picture that they are
        // of. Their payloads lie one behind the other, `len` bytes in all, until the next call.
        let (bytes, output) = unsafe { ((*nals).p_payload, output.assume_init()) };
        let bytes = NonNull::new(bytes)
            .ok_or_else(|| Error::Failed("libx264 made a unit of nothing".to_owned()))?;
        let len = len as usize;
        // SAFETY: as above.
        let unit = unsafe { std::slice::from_raw_parts(bytes.as_ptr(), len) };
        let is_idr = output.i_type == sys::X264_TYPE_IDR as c_int;
        self.unit = Some(Output {
            bytes,
            len,
            is_stripped: annexb::strip(unit, Syntax::H264, &mut self.stripped),
            number: output.i_pts as u64,
            is_idr,
            heals: self.references.handle_unit(picture.number, is_idr),
        });
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<Unit<'_>>, Error> {
        let Some(output) = self.unit.take() else {
            return Ok(None);
        };
        let bytes = match output.is_stripped {
            true => &self.stripped[..],
            // SAFETY: set by the last call of the encoder, whose next one needs `self` for itself.
            false => unsafe { std::slice::from_raw_parts(output.bytes.as_ptr(), output.len) },
        };
        Ok(Some(Unit { bytes, number: output.number, is_idr: output.is_idr, heals: output.heals }))
    }

    fn request_idr(&mut self) {
        self.references.request_idr();
    }

    fn invalidate(&mut self, first: u64, last: u64) -> bool {
        let first = match self.references.invalidate(first, last) {
            Remedy::Idr => return false,
            Remedy::Nothing => return true,
            Remedy::ReferBefore(first) => first,
        };
        // SAFETY: the encoder is open.
        let code =
            unsafe { sys::x264_encoder_invalidate_reference(self.encoder.as_ptr(), first as i64) };
        if code != 0 {
            self.references.request_idr();
        }
        code == 0
    }

    fn set_rate(&mut self, rate: Rate) -> Result<bool, Error> {
        let mut param = MaybeUninit::uninit();
        // SAFETY: the encoder is open; the function fills all of `param`.
        let mut param: sys::x264_param_t = unsafe {
            sys::x264_encoder_parameters(self.encoder.as_ptr(), param.as_mut_ptr());
            param.assume_init()
        };
        set_rate(&mut param, rate, self.settings.refresh_mhz);
        // SAFETY: the encoder is open, and `param` its own but for the rate.
        let code = unsafe { sys::x264_encoder_reconfig(self.encoder.as_ptr(), &mut param) };
        Ok(code >= 0)
    }
}

impl Drop for X264 {
    fn drop(&mut self) {
        // SAFETY: open until here, and not used again.
        unsafe { sys::x264_encoder_close(self.encoder.as_ptr()) };
    }
}
