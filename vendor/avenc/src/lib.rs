//! Video encoders for streaming behind a small C interface, `include/avenc.h`.
//!
//! Built as libavenc.so, which a program loads when it first encodes. FFmpeg and what it brings are
//! some hundred libraries, and loaded when an encoder of theirs is first asked for.
//!
//! ```text
//!   avenc_open ------> settings ------> x264        H.264 in software, by libx264 itself
//!   avenc_submit                  '---> av          everything else, by FFmpeg's encoders
//!   avenc_poll <------ annexb <---------'            |
//!                                                    '-- hardware   devices and their frames
//! ```
//!
//! [`annexb`] puts access units in the order that clients want; [`references`] knows which pictures
//! a loss can be healed from.
//!
//! Here is the border: pointers are checked, panics are caught, errors become numbers and texts.

use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::OnceLock;

mod abi;
pub mod annexb;
mod av;
mod encoder;
mod error;
mod ffmpeg;
mod formats;
mod hardware;
mod kinds;
mod log;
mod owned;
pub mod references;
mod settings;
mod version;
mod x264;

pub use abi::*;

use encoder::{Encoder, Picture};
use error::Error;
use settings::{Backend, Codec, Rate, Settings};

/// Picture numbers become times of the libraries, which are 64 bits with a sign and may be scaled.
const NUMBER_MAX: u64 = 1 << 40;

/// An open encoder; opaque to C.
#[allow(non_camel_case_types)]
pub struct avenc_encoder {
    encoder: Box<dyn Encoder>,
    settings: Settings,
    /// Of the last picture that was taken.
    number: Option<u64>,
    /// A unit that was not polled yet.
    is_waiting: bool,
    /// It does not work any more; the error says why.
    has_failed: bool,
    error: CString,
}

impl avenc_encoder {
    fn open(settings: Settings) -> Result<avenc_encoder, Error> {
        let encoder: Box<dyn Encoder> = match (settings.backend, settings.codec) {
            (Backend::Software, Codec::H264) => Box::new(x264::X264::open(&settings)?),
            _ => Box::new(av::AvEncoder::open(&settings)?),
        };
        Ok(avenc_encoder {
            encoder,
            settings,
            number: None,
            is_waiting: false,
            has_failed: false,
            error: CString::default(),
        })
    }

    /// Runs a call and keeps why it failed.
    fn keep(&mut self, call: impl FnOnce(&mut Self) -> Result<c_int, Error>) -> c_int {
        if self.has_failed {
            return AVENC_E_FAILED;
        }
        let result = catch_unwind(AssertUnwindSafe(|| call(self)))
            .unwrap_or_else(|_| Err(Error::Failed("the encoder's driver panicked".to_owned())));
        result.unwrap_or_else(|error| {
            self.has_failed = !matches!(error, Error::Argument(_));
            self.error = c_string(&error.to_string());
            if self.has_failed { AVENC_E_FAILED } else { error.code() }
        })
    }

    fn submit(&mut self, picture: &avenc_picture) -> Result<c_int, Error> {
        if picture.number > NUMBER_MAX || self.number.is_some_and(|last| picture.number != last + 1)
        {
            return Err(Error::Argument("number rises by 1 with each picture, up to 2^40"));
        }
        if self.is_waiting {
            return Err(Error::Argument("the unit of the last picture is not polled yet"));
        }
        let layout = self.encoder.layout();
        for index in 0..layout.plane_count() {
            let (row_len, _) = layout.plane(index, self.settings.width, self.settings.height);
            let stride = picture.strides[index];
            if picture.planes[index].is_null() {
                return Err(Error::Argument("a plane is null"));
            }
            if (stride as usize) < row_len || stride > i32::MAX as u32 {
                return Err(Error::Argument("a stride is shorter than a row"));
            }
        }
        self.encoder.submit(&Picture {
            planes: picture.planes,
            strides: picture.strides,
            number: picture.number,
        })?;
        self.number = Some(picture.number);
        self.is_waiting = true;
        Ok(AVENC_OK)
    }

    fn poll(&mut self, to: &mut avenc_unit) -> Result<c_int, Error> {
        let Some(unit) = self.encoder.poll()? else {
            // Hardware may take its time; the next picture is welcome all the same.
            self.is_waiting = false;
            return Ok(AVENC_NOT_NOW);
        };
        self.is_waiting = false;
        to.bytes = unit.bytes.as_ptr();
        to.len = unit.bytes.len();
        to.number = unit.number;
        to.is_idr = unit.is_idr.into();
        to.heals = unit.heals.into();
        Ok(AVENC_OK)
    }

    /// Encodes a grey picture.
    fn try_picture(&mut self) -> Result<(), Error> {
        let Settings { width, height, .. } = self.settings;
        let layout = self.encoder.layout();
        let (row_len, rows) = layout.plane(0, width, height);
        // The largest plane serves as all of them. As 16-bit words this is 0x0101, which 10 bits
        // hold in either half.
        let grey = vec![if self.settings.is_10_bit { 1 } else { 128u8 }; row_len * rows];
        let picture = avenc_picture {
            struct_size: 0,
            planes: [grey.as_ptr(); 3],
            strides: [row_len as u32; 3],
            number: 0,
        };
        self.submit(&picture)?;
        match self.encoder.poll()? {
            Some(unit) if unit.is_idr => Ok(()),
            Some(_) => Err(Error::Missing("the first picture is no IDR frame".to_owned())),
            None => Err(Error::Missing("the encoder holds pictures back".to_owned())),
        }
    }
}

/// What an encoder can do, found out by having it encode.
fn probe(codec: Codec, backend: Backend, device: Option<CString>) -> Result<u32, Error> {
    let settings = Settings::probe(codec, backend, device);
    let mut encoder = avenc_encoder::open(settings.clone())?;
    encoder.try_picture()?;
    let mut abilities = AVENC_CAN_ENCODE;
    if encoder.encoder.set_rate(Rate::new(1_000, 0)?)? {
        abilities |= AVENC_CAN_SET_BITRATE;
    }
    if backend == Backend::Software && codec == Codec::H264 {
        abilities |= AVENC_CAN_INVALIDATE;
    }
    drop(encoder);
    let settings = Settings { is_10_bit: true, ..settings };
    if avenc_encoder::open(settings).is_ok_and(|mut encoder| encoder.try_picture().is_ok()) {
        abilities |= AVENC_CAN_10_BIT;
    }
    Ok(abilities)
}

/// The text up to its first NUL, of which ours have none.
fn c_string(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

/// Runs a call that has no encoder yet, and writes why it failed.
///
/// # Safety
///
/// `why` is null or has `why_len` bytes to write to.
unsafe fn explain(
    why: *mut c_char,
    why_len: usize,
    call: impl FnOnce() -> Result<c_int, Error>,
) -> c_int {
    let result = catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(Error::Failed("the encoder's driver panicked".to_owned())));
    let (code, text) = match result {
        Ok(code) => (code, CString::default()),
        Err(error) => (error.code(), c_string(&error.to_string())),
    };
    if !why.is_null() && why_len > 0 {
        let text = text.to_bytes();
        let mut len = text.len().min(why_len - 1);
        // Not in the middle of a character.
        while len < text.len() && len > 0 && text[len] & 0xc0 == 0x80 {
            len -= 1;
        }
        // SAFETY: `len` and the NUL behind it fit in `why_len`; the text is ours, so they do not
        // overlap.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr(), why.cast(), len);
            why.add(len).write(0);
        }
    }
    code
}

/// A struct of the caller's that begins with its size, where it is as large as ours.
///
/// # Safety
///
/// The pointer is null or points to a struct, of the size that it says.
unsafe fn checked<T: Copy>(pointer: *const T) -> Result<T, Error> {
    if pointer.is_null() {
        return Err(Error::Argument("a struct is null"));
    }
    // SAFETY: not null, and its first field is its size.
    let size = unsafe { pointer.cast::<u32>().read() };
    if (size as usize) < size_of::<T>() {
        return Err(Error::Argument("struct_size is smaller than the struct"));
    }
    // SAFETY: at least as large as a T, as above.
    Ok(unsafe { pointer.read() })
}

/// The version of the interface that this library has.
#[unsafe(no_mangle)]
pub extern "C" fn avenc_abi() -> u32 {
    AVENC_ABI
}

/// Versions of everything that decides what can be encoded.
#[unsafe(no_mangle)]
pub extern "C" fn avenc_version() -> *const c_char {
    static TEXT: OnceLock<CString> = OnceLock::new();
    let text = catch_unwind(|| TEXT.get_or_init(|| c_string(&version::text())).as_c_str());
    text.unwrap_or(c"").as_ptr()
}

/// Tries an encoder with a small picture.
///
/// # Safety
///
/// As in C: pointers are null or valid, `device` ends, `why` has `why_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn avenc_probe(
    codec: u32,
    backend: u32,
    device: *const c_char,
    abilities: *mut u32,
    why: *mut c_char,
    why_len: usize,
) -> c_int {
    let call = || {
        let codec = Codec::new(codec)?;
        let backend = Backend::new(backend)?;
        if abilities.is_null() {
            return Err(Error::Argument("abilities is null"));
        }
        // SAFETY: not null, so a string that ends, as the caller promises.
        let device = (!device.is_null()).then(|| unsafe { CStr::from_ptr(device) }.to_owned());
        let found = probe(codec, backend, device);
        // SAFETY: not null, so writable, as the caller promises.
        unsafe { abilities.write(*found.as_ref().unwrap_or(&0)) };
        found.map(|_| AVENC_OK)
    };
    // SAFETY: as the caller promises.
    unsafe { explain(why, why_len, call) }
}

/// Opens an encoder.
///
/// # Safety
///
/// As in C: pointers are null or valid, `why` has `why_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn avenc_open(
    config: *const avenc_config,
    encoder: *mut *mut avenc_encoder,
    why: *mut c_char,
    why_len: usize,
) -> c_int {
    let call = || {
        if encoder.is_null() {
            return Err(Error::Argument("encoder is null"));
        }
        // SAFETY: not null, so writable, as the caller promises.
        unsafe { encoder.write(ptr::null_mut()) };
        // SAFETY: null or a struct that begins with its size, as the caller promises.
        let config = unsafe { checked(config) }?;
        // SAFETY: its device is null or a string that ends, as the caller promises.
        let settings = unsafe { Settings::new(&config) }?;
        let opened = avenc_encoder::open(settings)?;
        // SAFETY: as above.
        unsafe { encoder.write(Box::into_raw(Box::new(opened))) };
        Ok(AVENC_OK)
    };
    // SAFETY: as the caller promises.
    unsafe { explain(why, why_len, call) }
}

/// The layout in which pictures are to come.
///
/// # Safety
///
/// The encoder is null or open, and not in use by another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn avenc_layout(encoder: *const avenc_encoder) -> u32 {
    // SAFETY: null or open, as the caller promises.
    unsafe { encoder.as_ref() }.map_or(AVENC_I420, |encoder| encoder.encoder.layout().number())
}

/// The name of what encodes; "" for no encoder.
///
/// # Safety
///
/// The encoder is null or open, and not in use by another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn avenc_name(encoder: *const avenc_encoder) -> *const c_char {
    // SAFETY: null or open, as the caller promises.
    unsafe { encoder.as_ref() }.map_or(c"", |encoder| encoder.encoder.name()).as_ptr()
}

/// Takes a picture in.
///
/// # Safety
///
/// The encoder is null or open, and not in use by another thread; the picture is null or valid, its
/// planes null or as large as the layout asks for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn avenc_submit(
    encoder: *mut avenc_encoder,
    picture: *const avenc_picture,
) -> c_int {
    // SAFETY: null or open and nobody else's, as the caller promises.
    let Some(encoder) = (unsafe { encoder.as_mut() }) else {
        return AVENC_E_ARGUMENT;
    };
    encoder.keep(|encoder| {
        // SAFETY: null or a struct that begins with its size, as the caller promises.
        let picture = unsafe { checked(picture) }?;
        encoder.submit(&picture)
    })
}

/// Gives a unit out.
///
/// # Safety
///
/// The encoder is null or open, and not in use by another thread; the unit is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn avenc_poll(encoder: *mut avenc_encoder, unit: *mut avenc_unit) -> c_int {
    // SAFETY: null or open and nobody else's, as the caller promises.
    let Some(encoder) = (unsafe { encoder.as_mut() }) else {
        return AVENC_E_ARGUMENT;
    };
    encoder.keep(|encoder| {
        // SAFETY: null or a struct that begins with its size, as the caller promises.
        let mut filled = unsafe { checked(unit) }?;
        let code = encoder.poll(&mut filled)?;
        // SAFETY: not null and large enough, as was checked.
        unsafe { unit.write(filled) };
        Ok(code)
    })
}

/// The next picture becomes an IDR frame.
///
/// # Safety
///
/// The encoder is null or open, and not in use by another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn avenc_request_idr(encoder: *mut avenc_encoder) {
    // SAFETY: null or open and nobody else's, as the caller promises.
    let Some(encoder) = (unsafe { encoder.as_mut() }) else {
        return;
    };
    encoder.keep(|encoder| {
        encoder.encoder.request_idr();
        Ok(AVENC_OK)
    });
}

/// Pictures `first` to `last` are lost to the decoder.
///
/// # Safety
///
/// The encoder is null or open, and not in use by another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn avenc_invalidate(
    encoder: *mut avenc_encoder,
    first: u64,
    last: u64,
) -> c_int {
    // SAFETY: null or open and nobody else's, as the caller promises.
    let Some(encoder) = (unsafe { encoder.as_mut() }) else {
        return AVENC_E_ARGUMENT;
    };
    encoder.keep(|encoder| match encoder.encoder.invalidate(first, last) {
        true => Ok(AVENC_OK),
        false => Ok(AVENC_NOT_NOW),
    })
}

/// Changes the bitrate from the next picture on.
///
/// # Safety
///
/// The encoder is null or open, and not in use by another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn avenc_set_bitrate(
    encoder: *mut avenc_encoder,
    bitrate_kbps: u32,
    frame_len_max: u32,
) -> c_int {
    // SAFETY: null or open and nobody else's, as the caller promises.
    let Some(encoder) = (unsafe { encoder.as_mut() }) else {
        return AVENC_E_ARGUMENT;
    };
    encoder.keep(|encoder| {
        let rate = Rate::new(bitrate_kbps, frame_len_max)?;
        Ok(if encoder.encoder.set_rate(rate)? { AVENC_OK } else { AVENC_NOT_NOW })
    })
}

/// Why the last call that failed did; "" where none did.
///
/// # Safety
///
/// The encoder is null or open, and not in use by another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn avenc_error(encoder: *const avenc_encoder) -> *const c_char {
    // SAFETY: null or open, as the caller promises.
    unsafe { encoder.as_ref() }.map_or(c"", |encoder| encoder.error.as_c_str()).as_ptr()
}

/// Closes an encoder. Units of it are gone then.
///
/// # Safety
///
/// The encoder is null or open, not in use by another thread, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn avenc_close(encoder: *mut avenc_encoder) {
    if encoder.is_null() {
        return;
    }
    // SAFETY: not null, so of avenc_open and not closed yet, as the caller promises.
    let encoder = unsafe { Box::from_raw(encoder) };
    // A panic that cannot be told to anyone is not passed on either.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(encoder)));
}
