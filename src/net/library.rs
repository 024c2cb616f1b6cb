//! Shared libraries that are loaded when they are needed, so that the program starts without them.

use std::ffi::{CStr, CString, c_void};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;

/// A loaded library. It stays loaded as long as the process: code of it may have threads.
#[derive(Clone, Copy, Debug)]
pub struct Library(NonNull<c_void>);

// SAFETY: a handle of dlopen belongs to the process, and dlsym may be called from any thread.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

/// Why a library, or something in it, is not to be had: what the loader says.
#[derive(Clone, Debug, PartialEq)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl Library {
    /// Loads a library, by its path or by the name that the loader looks for. Its initialisers
    /// run, so it must be one that is trusted as this program is.
    pub fn open(path: &Path) -> Result<Library, Error> {
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error("a path without an end".to_owned()))?;
        // SAFETY: a string that ends, and flags that dlopen(3) knows.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        NonNull::new(handle).map(Library).ok_or_else(last_error)
    }

    /// The address of a function or variable.
    pub fn symbol(self, name: &CStr) -> Result<NonNull<c_void>, Error> {
        // SAFETY: the handle is of dlopen and never closed.
        let address = unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr()) };
        NonNull::new(address).ok_or_else(last_error)
    }
}

fn last_error() -> Error {
    // SAFETY: the string that it returns is this thread's until the next call.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return Error("the loader does not say why".to_owned());
    }
    // SAFETY: not null, so a string that ends, as above.
    Error(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_and_can_be_called() {
        let library = Library::open(Path::new("libc.so.6")).unwrap();

        let getpid = library.symbol(c"getpid").unwrap();

        // SAFETY: getpid(2) takes nothing and returns a number.
        let getpid: extern "C" fn() -> i32 = unsafe { std::mem::transmute(getpid) };
        assert_eq!(getpid(), std::process::id() as i32);
    }

    #[test]
    fn what_is_missing_is_named() {
        let library = Library::open(Path::new("libc.so.6")).unwrap();

        let symbol = library.symbol(c"no_such_thing").unwrap_err();
        let file = Library::open(Path::new("libno-such-thing.so.1")).unwrap_err();

        assert!(symbol.to_string().contains("no_such_thing"), "{symbol}");
        assert!(file.to_string().contains("libno-such-thing.so.1"), "{file}");
    }
}
