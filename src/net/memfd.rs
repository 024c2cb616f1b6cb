//! Files that are nowhere but in memory, for handing bytes to another process by a descriptor.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::FromRawFd;

/// An empty file. The name is for whoever looks at the process; it need not be the only one.
pub fn create(name: &CStr) -> io::Result<File> {
    // SAFETY: a string that ends, and flags that memfd_create(2) knows.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// A file with these bytes.
pub fn with(name: &CStr, bytes: &[u8]) -> io::Result<File> {
    let mut file = create(name)?;
    file.write_all(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    #[test]
    fn a_file_holds_what_was_written() {
        let mut file = with(c"test", b"bytes").unwrap();

        file.rewind().unwrap();

        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"bytes");
    }
}
