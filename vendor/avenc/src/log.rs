//! What the libraries say when something goes wrong, kept for the caller instead of printed.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};

use crate::ffmpeg;

#[cfg(target_arch = "x86_64")]
pub(crate) type VaList = *mut ffmpeg::__va_list_tag;
#[cfg(not(target_arch = "x86_64"))]
pub(crate) type VaList = ffmpeg::va_list;

unsafe extern "C" {
    /// C's, by which both libraries would format their messages themselves.
    fn vsnprintf(to: *mut c_char, len: usize, format: *const c_char, arguments: VaList) -> c_int;
}

/// Bytes of errors that are kept until they are taken.
const KEPT_LEN: usize = 300;

thread_local! {
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What was said on this thread since the last call, as one sentence without a full stop; "" where
/// nothing was.
pub(crate) fn take() -> String {
    SAID.take()
}

/// `otherwise`, unless the libraries said something better on this thread.
pub(crate) fn or(otherwise: impl FnOnce() -> String) -> String {
    match take() {
        said if said.is_empty() => otherwise(),
        said => said,
    }
}

/// What an error number of FFmpeg's means.
pub(crate) fn error_text(code: c_int) -> String {
    let mut text = [0 as c_char; 64];
    // SAFETY: the buffer is as long as is said; the function ends what it writes there.
    unsafe { ffmpeg::av_strerror(code, text.as_mut_ptr(), text.len()) };
    // SAFETY: it ends, as above, and where nothing was written it is empty.
    unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned()
}

/// A log callback of FFmpeg's and, since the types are the same and its level of errors is lower
/// than FFmpeg's, of x264's.
pub(crate) unsafe extern "C" fn keep(
    _source: *mut c_void,
    level: c_int,
    format: *const c_char,
    arguments: VaList,
) {
    if level > ffmpeg::AV_LOG_ERROR {
        return;
    }
    let mut line = [0 as c_char; 256];
    // SAFETY: format and arguments are what the library passes on to be formatted; the line is as
    // long as is said.
    unsafe { vsnprintf(line.as_mut_ptr(), line.len(), format, arguments) };
    // SAFETY: vsnprintf ends what it writes, and where it fails the line is empty or as long as it was.
    let line = unsafe { CStr::from_ptr(line.as_ptr()) }.to_string_lossy();
    // A thread that is ending has no place for it any more, and nobody who would ask.
    let _ = SAID.try_with(|said| {
        if let Ok(mut said) = said.try_borrow_mut() {
            add(&mut said, &line);
        }
    });
}

/// Adds a line behind those that are there.
fn add(said: &mut String, line: &str) {
    let line = line.trim().trim_end_matches('.');
    if line.is_empty() || said.len() + line.len() > KEPT_LEN {
        return;
    }
    if !said.is_empty() {
        said.push_str(": ");
    }
    said.push_str(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_kept_for_the_thread_and_nothing_else_is() {
        ffmpeg::load().unwrap();
        let say = |level, line: &CStr| {
            // SAFETY: a format without arguments.
            unsafe { ffmpeg_sys_next::av_log(std::ptr::null_mut(), level, line.as_ptr()) };
        };

        say(ffmpeg::AV_LOG_ERROR, c"Cannot load it.\n");
        say(ffmpeg::AV_LOG_WARNING, c"Beware\n");
        say(ffmpeg::AV_LOG_FATAL, c"all is lost\n");

        assert_eq!(take(), "Cannot load it: all is lost");
        assert_eq!(or(|| "silence".to_owned()), "silence");
    }

    #[test]
    fn what_is_said_without_end_is_cut() {
        let mut said = String::new();
        for _ in 0..1_000 {
            add(&mut said, "again and again");
        }

        assert!(said.len() < 2 * KEPT_LEN);
    }
}
