//! DMA-BUFs: memory of a graphics driver, or of another process, that a descriptor stands for. Here
//! they are read.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::{error, fmt};

/// Of the file system that DMA-BUFs alone are of, linux/magic.h.
const DMA_BUF_MAGIC: u64 = 0x444d_4142;
/// DMA_BUF_IOCTL_SYNC of linux/dma-buf.h: `_IOW('b', 0, u64)`.
const IOCTL_SYNC: libc::Ioctl = 0x4008_6200;
const SYNC_READ: u64 = 1;
const SYNC_END: u64 = 4;
/// A driver that is interrupted is asked again so often.
const SYNC_COUNT_MAX: usize = 100;

/// Why a descriptor's memory is not read.
#[derive(Debug)]
pub enum Error {
    /// Another process can make it shorter while it is read: neither a DMA-BUF nor sealed.
    Shrinkable,
    /// It ends before what is to be read does: how many bytes it has.
    Short(u64),
    /// The driver refuses.
    System(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Shrinkable => f.write_str("neither a DMA-BUF nor memory of fixed length"),
            Error::Short(len) => write!(f, "no more than {len} bytes"),
            Error::System(error) => error.fmt(f),
        }
    }
}

impl error::Error for Error {}

/// The first bytes of a DMA-BUF, or of a memory file that is sealed against shrinking, while they
/// are read. Whoever writes there is asked to be done before, and told when this goes.
#[derive(Debug)]
pub struct Reading<'a> {
    file: BorrowedFd<'a>,
    address: NonNull<u8>,
    len: usize,
    is_dma_buf: bool,
}

impl<'a> Reading<'a> {
    /// Begins to read `len` bytes, at least one. Waits for what the driver still draws there.
    pub fn begin(file: BorrowedFd<'a>, len: usize) -> Result<Reading<'a>, Error> {
        let is_dma_buf = is_dma_buf(file).map_err(Error::System)?;
        if !is_dma_buf && !is_sealed(file) {
            return Err(Error::Shrinkable);
        }
        let file_len = file_len(file).map_err(Error::System)?;
        if len as u64 > file_len {
            return Err(Error::Short(file_len));
        }
        let (rights, flags) = (libc::PROT_READ, libc::MAP_SHARED | libc::MAP_POPULATE);
        // SAFETY: a new mapping where the kernel likes, so none that exists is changed.
        let address =
            unsafe { libc::mmap(ptr::null_mut(), len, rights, flags, file.as_raw_fd(), 0) };
        if address == libc::MAP_FAILED {
            return Err(Error::System(io::Error::last_os_error()));
        }
        let address = NonNull::new(address.cast());
        let address = address.ok_or_else(|| Error::System(io::ErrorKind::OutOfMemory.into()))?;
        let reading = Reading { file, address, len, is_dma_buf };
        reading.sync(SYNC_READ).map_err(Error::System)?;
        Ok(reading)
    }

    /// Copies what lies at `offset`, which is all within the length that was begun with.
    ///
    /// Somebody who draws meanwhile, whatever was agreed, is seen in what is copied.
    pub fn copy(&self, offset: usize, to: &mut [u8]) {
        let end = offset.checked_add(to.len());
        assert!(end.is_some_and(|end| end <= self.len), "{offset} and on are not read");
        // SAFETY: `to.len()` bytes from `offset` are within the mapping, as the line above says, and
        // the mapping within a file that cannot become shorter. `to` is borrowed mutably, so that it
        // is no part of it. No reference into the mapping is made.
        unsafe {
            ptr::copy_nonoverlapping(self.address.as_ptr().add(offset), to.as_mut_ptr(), to.len());
        }
    }

    fn sync(&self, flags: u64) -> io::Result<()> {
        if !self.is_dma_buf {
            return Ok(());
        }
        let mut error = io::Error::from(io::ErrorKind::Interrupted);
        for _ in 0..SYNC_COUNT_MAX {
            // SAFETY: the descriptor is a DMA-BUF, whose driver reads 8 bytes there.
            if unsafe { libc::ioctl(self.file.as_raw_fd(), IOCTL_SYNC, &raw const flags) } == 0 {
                return Ok(());
            }
            error = io::Error::last_os_error();
            let again = [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock];
            if !again.contains(&error.kind()) {
                break;
            }
        }
        Err(error)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        // What was read is read, whatever the driver makes of it.
        let _ = self.sync(SYNC_READ | SYNC_END);
        // SAFETY: the mapping of `begin`, into which no reference was made.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.len) };
    }
}

fn is_dma_buf(file: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: a struct of numbers, for which zeros are numbers.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the struct outlives the call, which fills it.
    if unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut stat) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.f_type as u64 == DMA_BUF_MAGIC)
}

/// Whether it is a file in memory that cannot become shorter.
fn is_sealed(file: BorrowedFd<'_>) -> bool {
    // SAFETY: F_GET_SEALS takes nothing.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & libc::F_SEAL_SHRINK != 0
}

/// Bytes of a file; the offset that all who have it share is at its end afterwards.
fn file_len(file: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: lseek(2) takes numbers.
    let len = unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_END) };
    u64::try_from(len).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;
    use crate::net::memfd;
    use crate::net::shm::SharedMemory;

    #[test]
    fn what_is_in_sealed_memory_is_read_to_its_last_byte() {
        let mut memory = SharedMemory::new(c"test", 10_000).unwrap();
        memory.bytes_mut()[9_997..].copy_from_slice(b"abc");
        let reading = Reading::begin(memory.as_fd(), 10_000).unwrap();
        let mut bytes = [0; 4];

        reading.copy(9_996, &mut bytes);
        reading.copy(10_000, &mut []);

        assert_eq!(&bytes, b"\0abc");
    }

    #[test]
    #[should_panic(expected = "9997 and on are not read")]
    fn what_lies_behind_is_not_read() {
        let memory = SharedMemory::new(c"test", 10_000).unwrap();
        let reading = Reading::begin(memory.as_fd(), 10_000).unwrap();

        reading.copy(9_997, &mut [0; 4]);
    }

    #[test]
    fn what_is_too_short_or_may_become_so_is_refused() {
        let sealed = SharedMemory::new(c"test", 100).unwrap();
        let open = memfd::with(c"test", &[0; 100]).unwrap();
        let (other, _end) = std::io::pipe().unwrap();

        let short = Reading::begin(sealed.as_fd(), 101).unwrap_err();
        let nothing = Reading::begin(sealed.as_fd(), 0).unwrap_err();
        let shrinkable = Reading::begin(open.as_fd(), 100).unwrap_err();
        let null = Reading::begin(File::open("/dev/null").unwrap().as_fd(), 1).map(drop);
        let pipe = Reading::begin(other.as_fd(), 1).map(drop);

        assert!(matches!(short, Error::Short(100)), "{short}");
        assert!(matches!(nothing, Error::System(_)), "{nothing}");
        assert!(matches!(shrinkable, Error::Shrinkable), "{shrinkable}");
        assert!(null.is_err() && pipe.is_err());
        assert_eq!(short.to_string(), "no more than 100 bytes");
    }
}
