//! FFmpeg's libraries, loaded when the first encoder of theirs is asked for. With all that they
//! depend on they are a hundred, and libx264 by its own interface needs none of them.
//!
//! Types and constants are those of the headers. Functions have the names and types of the headers
//! too, and may be called once [`load`] has said that they are there.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fmt::Display;
use std::mem::transmute_copy;
use std::ptr::NonNull;
use std::sync::OnceLock;

pub(crate) use ffmpeg_sys_next::*;

use crate::error::Error;
use crate::log;

static FUNCTIONS: OnceLock<Result<Functions, String>> = OnceLock::new();

/// Loads the libraries, if nobody has before. Their messages are kept from then on, in the whole
/// process. Takes some ten milliseconds.
pub(crate) fn load() -> Result<(), Error> {
    let loaded = FUNCTIONS.get_or_init(Functions::look_up);
    loaded.as_ref().map_err(|why| Error::Missing(why.clone()))?;
    // SAFETY: the callback has the signature that is asked for, and may be called from any thread at
    // any time.
    unsafe { av_log_set_callback(Some(log::keep)) };
    Ok(())
}

fn functions() -> &'static Functions {
    let loaded = FUNCTIONS.get().and_then(|loaded| loaded.as_ref().ok());
    loaded.expect("FFmpeg is loaded before an encoder of it is opened")
}

/// Declares functions: a place for each, how it is found, and how it is called.
macro_rules! functions {
    ($($library:ident fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        struct Functions {
            $($name: unsafe extern "C" fn($($type),*) $(-> $result)?,)*
        }

        // A type that is not the header's does not compile. A constant does not make the linker ask
        // for the library.
        $(const _: unsafe extern "C" fn($($type),*) $(-> $result)? = ffmpeg_sys_next::$name;)*

        impl Functions {
            fn look_up() -> Result<Functions, String> {
                let libraries = Libraries {
                    avcodec: Library::open("avcodec", LIBAVCODEC_VERSION_MAJOR)?,
                    avutil: Library::open("avutil", LIBAVUTIL_VERSION_MAJOR)?,
                };
                Ok(Functions {
                    $($name: {
                        let address = libraries.$library.symbol(concat!(stringify!($name), "\0"))?;
                        // SAFETY: the address of a function whose type is that of the field, as
                        // the header of this major version says.
                        unsafe { transmute_copy(&address) }
                    },)*
                })
            }
        }

        $(
            pub(crate) unsafe fn $name($($argument: $type),*) $(-> $result)? {
                // SAFETY: the function is the library's; the rest is the caller's promise.
                unsafe { (functions().$name)($($argument),*) }
            }
        )*
    };
}

functions! {
    avcodec fn avcodec_alloc_context3(codec: *const AVCodec) -> *mut AVCodecContext;
    avcodec fn avcodec_find_encoder_by_name(name: *const c_char) -> *const AVCodec;
    avcodec fn avcodec_free_context(context: *mut *mut AVCodecContext);
    avcodec fn avcodec_open2(
        context: *mut AVCodecContext, codec: *const AVCodec, options: *mut *mut AVDictionary
    ) -> c_int;
    avcodec fn avcodec_receive_packet(
        context: *mut AVCodecContext, packet: *mut AVPacket
    ) -> c_int;
    avcodec fn avcodec_send_frame(context: *mut AVCodecContext, frame: *const AVFrame) -> c_int;
    avcodec fn avcodec_version() -> c_uint;
    avcodec fn av_packet_alloc() -> *mut AVPacket;
    avcodec fn av_packet_free(packet: *mut *mut AVPacket);
    avutil fn av_buffer_ref(buffer: *const AVBufferRef) -> *mut AVBufferRef;
    avutil fn av_buffer_unref(buffer: *mut *mut AVBufferRef);
    avutil fn av_frame_alloc() -> *mut AVFrame;
    avutil fn av_frame_copy_props(to: *mut AVFrame, from: *const AVFrame) -> c_int;
    avutil fn av_frame_free(frame: *mut *mut AVFrame);
    avutil fn av_frame_get_buffer(frame: *mut AVFrame, align: c_int) -> c_int;
    avutil fn av_frame_make_writable(frame: *mut AVFrame) -> c_int;
    avutil fn av_frame_unref(frame: *mut AVFrame);
    avutil fn av_hwdevice_ctx_create(
        device: *mut *mut AVBufferRef, kind: AVHWDeviceType, name: *const c_char,
        options: *mut AVDictionary, flags: c_int
    ) -> c_int;
    avutil fn av_hwdevice_ctx_create_derived(
        device: *mut *mut AVBufferRef, kind: AVHWDeviceType, source: *mut AVBufferRef, flags: c_int
    ) -> c_int;
    avutil fn av_hwframe_ctx_alloc(device: *mut AVBufferRef) -> *mut AVBufferRef;
    avutil fn av_hwframe_ctx_init(frames: *mut AVBufferRef) -> c_int;
    avutil fn av_hwframe_get_buffer(
        frames: *mut AVBufferRef, frame: *mut AVFrame, flags: c_int
    ) -> c_int;
    avutil fn av_hwframe_transfer_data(
        to: *mut AVFrame, from: *const AVFrame, flags: c_int
    ) -> c_int;
    avutil fn av_log_set_callback(
        callback: Option<unsafe extern "C" fn(*mut c_void, c_int, *const c_char, log::VaList)>
    );
    avutil fn av_opt_set(
        object: *mut c_void, name: *const c_char, value: *const c_char, flags: c_int
    ) -> c_int;
    avutil fn av_strerror(code: c_int, text: *mut c_char, len: usize) -> c_int;
    avutil fn av_version_info() -> *const c_char;
}

struct Libraries {
    avcodec: Library,
    avutil: Library,
}

/// A loaded library, which stays so.
struct Library(NonNull<c_void>);

impl Library {
    /// By the name that a major version has, and its interface with it.
    fn open(name: &str, major: impl Display) -> Result<Library, String> {
        let name = CString::new(format!("lib{name}.so.{major}")).unwrap_or_default();
        // SAFETY: a string that ends, and flags that dlopen(3) knows.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        NonNull::new(handle).map(Library).ok_or_else(last_error)
    }

    /// The address of what has this name, which ends with a NUL.
    fn symbol(&self, name: &'static str) -> Result<NonNull<c_void>, String> {
        // SAFETY: the handle is of dlopen and never closed, the string ends.
        let address = unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr().cast()) };
        NonNull::new(address).ok_or_else(last_error)
    }
}

/// What the loader says, in this thread.
fn last_error() -> String {
    // SAFETY: takes nothing; the string is this thread's until the next call.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "the loader does not say why".to_owned();
    }
    // SAFETY: not null, so a string that ends, as above.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
