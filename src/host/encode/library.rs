//! The encoder plug-in, libavenc.so: its C interface, where it lies and how it is loaded.

#![allow(unsafe_code, reason = "calls of the plug-in's C interface")]

use std::ffi::{CStr, c_char, c_int};
use std::fmt;
use std::path::{Path, PathBuf};

use punktfunk_core::net::library::{self, Library};
use punktfunk_core::proto::gamestream::rtsp::announce::Codec;

use super::abilities::{Backend, Can, WHY_LEN_MAX, one_line};

/// The interface that this program speaks.
const ABI: u32 = 1;
/// The file.
const NAME: &str = "libavenc.so";

/// Results of the interface.
pub(super) const OK: c_int = 0;
pub(super) const NOT_NOW: c_int = 1;
pub(super) const E_ARGUMENT: c_int = -1;
pub(super) const E_MISSING: c_int = -2;

/// Bits of what a codec of a backend can do.
const CAN_ENCODE: u32 = 1;
const CAN_10_BIT: u32 = 2;
const CAN_INVALIDATE: u32 = 4;
const CAN_SET_BITRATE: u32 = 8;

/// An encoder of the plug-in; only ever behind a pointer.
#[repr(C)]
pub(super) struct RawEncoder {
    _private: [u8; 0],
}

/// `avenc_config`.
#[repr(C)]
pub(super) struct RawConfig {
    pub struct_size: u32,
    pub codec: u32,
    pub backend: u32,
    pub space: u32,
    pub quality: u32,
    pub width: u32,
    pub height: u32,
    pub refresh_mhz: u32,
    pub bitrate_kbps: u32,
    pub frame_len_max: u32,
    pub slice_count: u32,
    pub reference_count_max: u32,
    pub bit_depth: u32,
    pub full_range: u32,
    pub thread_count: u32,
    pub device: *const c_char,
}

/// `avenc_picture`.
#[repr(C)]
pub(super) struct RawPicture {
    pub struct_size: u32,
    pub planes: [*const u8; 3],
    pub strides: [u32; 3],
    pub number: u64,
}

/// `avenc_unit`.
#[repr(C)]
pub(super) struct RawUnit {
    pub struct_size: u32,
    pub bytes: *const u8,
    pub len: usize,
    pub number: u64,
    pub is_idr: u32,
    pub heals: u32,
}

type Probe = unsafe extern "C" fn(
    codec: u32,
    backend: u32,
    device: *const c_char,
    abilities: *mut u32,
    why: *mut c_char,
    why_len: usize,
) -> c_int;
type Open = unsafe extern "C" fn(
    config: *const RawConfig,
    encoder: *mut *mut RawEncoder,
    why: *mut c_char,
    why_len: usize,
) -> c_int;

/// The plug-in, loaded. It stays so as long as the process.
#[derive(Clone, Copy, Debug)]
pub struct Plugin {
    version: unsafe extern "C" fn() -> *const c_char,
    probe: Probe,
    pub(super) open: Open,
    pub(super) layout: unsafe extern "C" fn(*const RawEncoder) -> u32,
    pub(super) name: unsafe extern "C" fn(*const RawEncoder) -> *const c_char,
    pub(super) submit: unsafe extern "C" fn(*mut RawEncoder, *const RawPicture) -> c_int,
    pub(super) poll: unsafe extern "C" fn(*mut RawEncoder, *mut RawUnit) -> c_int,
    pub(super) request_idr: unsafe extern "C" fn(*mut RawEncoder),
    pub(super) invalidate: unsafe extern "C" fn(*mut RawEncoder, u64, u64) -> c_int,
    pub(super) set_bitrate: unsafe extern "C" fn(*mut RawEncoder, u32, u32) -> c_int,
    pub(super) error: unsafe extern "C" fn(*const RawEncoder) -> *const c_char,
    pub(super) close: unsafe extern "C" fn(*mut RawEncoder),
}

/// Why there is no plug-in.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// It speaks another interface.
    Abi {
        /// Which file.
        path: PathBuf,
        /// What it speaks.
        abi: u32,
    },
    /// The loader refuses it, or something that it needs.
    Loader {
        /// Which file.
        path: PathBuf,
        /// What the loader says.
        source: library::Error,
    },
    /// There is none.
    Missing {
        /// Where one was looked for.
        looked: Vec<PathBuf>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Abi { path, abi } => {
                let path = path.display();
                write!(f, "{path}: interface {abi}, this program speaks {ABI}")?;
                f.write_str(": install the encoder plug-in of the same version")
            }
            Error::Loader { path, source } => {
                let (path, source) = (path.display().to_string(), source.to_string());
                // The loader names the file that it cannot open, which may be another one.
                match source.starts_with(&path) {
                    true => write!(f, "encoder plug-in: {source}"),
                    false => write!(f, "encoder plug-in {path}: {source}"),
                }
            }
            Error::Missing { looked } => {
                let looked: Vec<_> = looked.iter().map(|path| path.display().to_string()).collect();
                write!(
                    f,
                    "the encoder plug-in {NAME} is not there (looked for {})",
                    looked.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for Error {}

/// Where the plug-in may lie, seen from the program in that file: beside it, where builds put it,
/// and where it is installed.
pub fn candidates(program: &Path) -> Vec<PathBuf> {
    let folder = program.parent().unwrap_or(Path::new("/"));
    let mut paths = vec![folder.join(NAME), folder.join("deps").join(NAME)];
    paths.extend(folder.parent().map(|prefix| prefix.join("lib/punktfunk").join(NAME)));
    paths
}

/// The first of these that is there.
pub fn find(candidates: &[PathBuf]) -> Result<PathBuf, Error> {
    let found = candidates.iter().find(|path| path.is_file()).cloned();
    found.ok_or_else(|| Error::Missing { looked: candidates.to_vec() })
}

impl Plugin {
    /// Loads the plug-in in that file, with the libraries that it needs: milliseconds at best.
    pub fn open(path: &Path) -> Result<Plugin, Error> {
        let refused = |source| Error::Loader { path: path.to_owned(), source };
        let library = Library::open(path).map_err(refused)?;
        // SAFETY: as avenc.h declares it in every version.
        let abi = unsafe { function::<unsafe extern "C" fn() -> u32>(library, c"avenc_abi") };
        // SAFETY: takes nothing and returns a number.
        let abi = unsafe { abi.map_err(refused)?() };
        if abi != ABI {
            return Err(Error::Abi { path: path.to_owned(), abi });
        }
        // SAFETY: the types are those of avenc.h of this ABI.
        unsafe { Plugin::with_functions(library) }.map_err(refused)
    }

    /// # Safety
    ///
    /// The library has to speak this program's `ABI`.
    unsafe fn with_functions(library: Library) -> Result<Plugin, library::Error> {
        // SAFETY: the fields have the types of the functions; the rest is the caller's promise.
        unsafe {
            Ok(Plugin {
                version: function(library, c"avenc_version")?,
                probe: function(library, c"avenc_probe")?,
                open: function(library, c"avenc_open")?,
                layout: function(library, c"avenc_layout")?,
                name: function(library, c"avenc_name")?,
                submit: function(library, c"avenc_submit")?,
                poll: function(library, c"avenc_poll")?,
                request_idr: function(library, c"avenc_request_idr")?,
                invalidate: function(library, c"avenc_invalidate")?,
                set_bitrate: function(library, c"avenc_set_bitrate")?,
                error: function(library, c"avenc_error")?,
                close: function(library, c"avenc_close")?,
            })
        }
    }

    /// Versions of everything in it that decides what can be encoded, in one line.
    pub fn version(&self) -> String {
        // SAFETY: takes nothing; the text is the plug-in's and stays.
        unsafe { text((self.version)()) }
    }

    /// Tries an encoder with a small picture, on the first device that works. Takes up to seconds,
    /// and runs the drivers of graphics cards.
    pub fn probe(&self, backend: Backend, codec: Codec) -> Result<Can, String> {
        let mut bits = 0;
        let mut why = Why::default();
        let (to, len) = why.room();
        let (codec, backend) = (codec_number(codec), backend_number(backend));
        // SAFETY: `bits` and the `len` bytes at `to` are this function's; no device is named.
        let result = unsafe { (self.probe)(codec, backend, std::ptr::null(), &mut bits, to, len) };
        if result < OK {
            return Err(why.text());
        }
        let has = |bit| bits & bit != 0;
        let can = Can {
            encode: has(CAN_ENCODE),
            ten_bit: has(CAN_10_BIT),
            invalidate: has(CAN_INVALIDATE),
            set_bitrate: has(CAN_SET_BITRATE),
        };
        if can.encode || can.ten_bit { Ok(can) } else { Err("neither 8 nor 10 bits".to_owned()) }
    }
}

/// Room for why a call failed.
pub(super) struct Why([u8; WHY_LEN_MAX]);

impl Default for Why {
    fn default() -> Why {
        Why([0; WHY_LEN_MAX])
    }
}

impl Why {
    /// Where it is to be written, and how many bytes fit.
    pub fn room(&mut self) -> (*mut c_char, usize) {
        (self.0.as_mut_ptr().cast(), self.0.len())
    }

    /// What was written, in one line.
    pub fn text(&self) -> String {
        let len = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        one_line(&self.0[..len])
    }
}

/// What the plug-in says, in one line.
///
/// # Safety
///
/// The pointer is null, or to a string that ends and does not change during the call.
pub(super) unsafe fn text(from: *const c_char) -> String {
    if from.is_null() {
        return one_line(b"");
    }
    // SAFETY: not null; the rest is the caller's promise.
    one_line(unsafe { CStr::from_ptr(from) }.to_bytes())
}

/// # Safety
///
/// `F` is the type of a pointer to the function of that name.
unsafe fn function<F: Copy>(library: Library, name: &CStr) -> Result<F, library::Error> {
    const { assert!(size_of::<F>() == size_of::<*const ()>()) };
    let address = library.symbol(name)?;
    // SAFETY: pointers to functions are as wide as those to data here, and not null; the rest is
    // the caller's promise.
    Ok(unsafe { std::mem::transmute_copy(&address) })
}

/// As in `enum avenc_codec`.
pub(super) fn codec_number(codec: Codec) -> u32 {
    match codec {
        Codec::H264 => 0,
        Codec::Hevc => 1,
        Codec::Av1 => 2,
    }
}

/// As in `enum avenc_backend`.
pub(super) fn backend_number(backend: Backend) -> u32 {
    match backend {
        Backend::Software => 0,
        Backend::Nvenc => 1,
        Backend::Vaapi => 2,
        Backend::Vulkan => 3,
        Backend::V4l2 => 4,
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::super::stub;
    use super::*;
    use crate::state::tests::Folder;

    #[test]
    fn structs_and_numbers_are_those_of_the_header() {
        let expected = [
            size_of::<RawConfig>(),
            offset_of!(RawConfig, quality),
            offset_of!(RawConfig, frame_len_max),
            offset_of!(RawConfig, thread_count),
            offset_of!(RawConfig, device),
            size_of::<RawPicture>(),
            offset_of!(RawPicture, planes),
            offset_of!(RawPicture, strides),
            offset_of!(RawPicture, number),
            size_of::<RawUnit>(),
            offset_of!(RawUnit, bytes),
            offset_of!(RawUnit, len),
            offset_of!(RawUnit, number),
            offset_of!(RawUnit, is_idr),
            offset_of!(RawUnit, heals),
            ABI as usize,
            (CAN_ENCODE | CAN_10_BIT << 8 | CAN_INVALIDATE << 16 | CAN_SET_BITRATE << 24) as usize,
            (OK + NOT_NOW * 8 - E_ARGUMENT * 64 - E_MISSING * 512) as usize,
            codec_number(Codec::Hevc) as usize + codec_number(Codec::Av1) as usize * 8,
            Backend::ALL.into_iter().fold(0, |sum, it| sum * 8 + backend_number(it) as usize),
        ];
        let source = r#"
            #include "avenc.h"
            #define OF(type, field) offsetof(struct avenc_##type, field)
            const size_t numbers[20] = {
                sizeof(struct avenc_config), OF(config, quality), OF(config, frame_len_max),
                OF(config, thread_count), OF(config, device),
                sizeof(struct avenc_picture), OF(picture, planes), OF(picture, strides),
                OF(picture, number),
                sizeof(struct avenc_unit), OF(unit, bytes), OF(unit, len), OF(unit, number),
                OF(unit, is_idr), OF(unit, heals),
                AVENC_ABI,
                AVENC_CAN_ENCODE | AVENC_CAN_10_BIT << 8 | AVENC_CAN_INVALIDATE << 16
                    | AVENC_CAN_SET_BITRATE << 24,
                AVENC_OK + AVENC_NOT_NOW * 8 - AVENC_E_ARGUMENT * 64 - AVENC_E_MISSING * 512,
                AVENC_HEVC + AVENC_AV1 * 8,
                (((AVENC_NVENC * 8 + AVENC_VAAPI) * 8 + AVENC_VULKAN) * 8 + AVENC_V4L2) * 8
                    + AVENC_SOFTWARE,
            };
        "#;
        let folder = Folder::new();
        let library = Library::open(&stub::compile(folder.path(), source, &[])).unwrap();

        let numbers = library.symbol(c"numbers").unwrap().cast::<[usize; 20]>();

        // SAFETY: as declared in the source above, and constant.
        assert_eq!(unsafe { numbers.read() }, expected);
    }

    #[test]
    fn a_plug_in_says_its_version_and_what_it_can_do() {
        let folder = Folder::new();
        let plugin = Plugin::open(&stub::build(folder.path(), &[])).unwrap();

        let software = plugin.probe(Backend::Software, Codec::H264);
        let nvenc = plugin.probe(Backend::Nvenc, Codec::H264);

        assert_eq!(plugin.version(), "stub 1");
        let can = Can { encode: true, ten_bit: false, invalidate: true, set_bitrate: true };
        assert_eq!(software, Ok(can));
        assert_eq!(nvenc, Err("Cannot load libcuda.so.1".to_owned()));
    }

    #[test]
    fn a_plug_in_that_cannot_be_used_is_refused_in_a_sentence() {
        let folder = Folder::new();
        let table = [
            ("STUB_ABI=2", ": interface 2, this program speaks 1: install "),
            ("STUB_NO_POLL", "avenc_poll"),
        ];
        for (define, part) in table {
            let path = stub::build(folder.path(), &[define]);

            let error = Plugin::open(&path).unwrap_err().to_string();

            assert!(error.contains(part) && error.contains("libavenc"), "{error}");
        }
    }

    #[test]
    fn a_plug_in_whose_libraries_are_missing_says_which() {
        let folder = Folder::new();
        let path = stub::build_without_library(folder.path());

        let error = Plugin::open(&path).unwrap_err().to_string();

        assert!(error.contains("libnosuchcodec.so.59: cannot open"), "{error}");
        assert!(error.starts_with("encoder plug-in /"), "{error}");
    }

    #[test]
    fn the_plug_in_lies_beside_the_program_or_where_it_is_installed() {
        let folder = Folder::new();
        let program = folder.path().join("sbin/punktfunkd");
        let candidates = candidates(&program);

        let missing = find(&candidates).unwrap_err();
        let installed = folder.path().join("lib/punktfunk/libavenc.so");
        std::fs::create_dir_all(installed.parent().unwrap()).unwrap();
        std::fs::write(&installed, "").unwrap();

        let text = missing.to_string();
        assert!(text.contains("libavenc.so is not there (looked for /"), "{text}");
        assert!(text.contains("/sbin/libavenc.so, /") && text.contains("/sbin/deps/"), "{text}");
        assert_eq!(find(&candidates), Ok(installed));
    }
}
