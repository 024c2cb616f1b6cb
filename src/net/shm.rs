//! Memory shared with another process: a file without a name, mapped.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};

/// A file of fixed length in memory, and this process's view of it. Whoever is given the descriptor
/// can read and write it, but neither end can make it shorter.
///
/// The other process must not write a part while this one reads it: whose turn it is, the protocol
/// between them says.
#[derive(Debug)]
pub struct SharedMemory {
    file: OwnedFd,
    address: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process and not to a thread, and this value alone has it.
unsafe impl Send for SharedMemory {}

impl SharedMemory {
    /// Memory of `len` bytes, at least one, all of them zero. They are taken at once. The name is
    /// for those who list a process's files.
    pub fn new(name: &CStr, len: usize) -> io::Result<SharedMemory> {
        let size = libc::off_t::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        // SAFETY: a string that ends, and flags of memfd_create(2).
        let fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor just made, which nobody else has.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: ftruncate(2) takes two numbers.
        if unsafe { libc::ftruncate(fd, size) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: F_ADD_SEALS takes a number.
        if unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping where the kernel likes, so none that exists is changed.
        let address =
            unsafe { libc::mmap(ptr::null_mut(), len, rights, flags | libc::MAP_POPULATE, fd, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(SharedMemory { file, address, len })
    }

    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes are mapped for reading until this value is dropped, and the file cannot
        // become shorter. Nobody in this process has them mutably, for that takes `self` so; the
        // other process keeps to its turn.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.len) }
    }

    /// As [`SharedMemory::bytes`], to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, mapped for writing too, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.address.as_ptr(), self.len) }
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, of which no slice can be left, because they borrow `self`.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn what_either_end_writes_the_other_reads() {
        let mut memory = SharedMemory::new(c"test", 10_000).unwrap();
        let other = File::from(memory.as_fd().try_clone_to_owned().unwrap());

        memory.bytes_mut()[9_999] = 7;
        other.write_all_at(b"abc", 5_000).unwrap();
        let mut byte = [0];
        other.read_exact_at(&mut byte, 9_999).unwrap();

        assert_eq!(byte, [7]);
        assert_eq!(&memory.bytes()[4_999..5_004], b"\0abc\0");
    }

    #[test]
    fn nobody_can_make_it_shorter_and_nothing_is_none() {
        let memory = SharedMemory::new(c"test", 100).unwrap();
        let other = File::from(memory.as_fd().try_clone_to_owned().unwrap());

        assert!(other.set_len(10).is_err());
        assert!(SharedMemory::new(c"test", 0).is_err());
        assert!(SharedMemory::new(c"test", usize::MAX).is_err());
    }
}
