//! Memory of callers: what pointers and sizes of theirs allow.
//!
//! What can be told from the numbers alone is refused: null, misaligned, a struct without its first
//! members, more bytes than there can be. That the memory is there, is nobody else's meanwhile, and
//! is as long as said, is the caller's promise.

use std::mem::{MaybeUninit, offset_of};
use std::slice;

use super::status::Status;
use super::structs::{
    Config, Event, LinkOptions, PathState, Probe, ProbeReport, ProbeSent, Sound, Unit,
};
use crate::proto::packet::stats::Stats;

/// Bytes of any struct that will ever be: more are no size.
const SIZE_MAX: usize = 1 << 16;
/// Bytes of the struct_size that every struct begins with.
const HEAD_LEN: usize = size_of::<u32>();

/// A struct that begins with its size.
///
/// # Safety
///
/// It is laid out as C does it, begins with a `u32`, has no padding, and may have any bytes.
pub(super) unsafe trait Record: Copy {
    /// Bytes that must be there. Those behind it may be missing, and are 0 then.
    const SIZE_MIN: usize;
}

// SAFETY: `repr(C)`, of integers and arrays of them; the sizes of its members add up to its own.
unsafe impl Record for Config {
    const SIZE_MIN: usize = offset_of!(Config, datagram_len_max);
}

// SAFETY: as above, and a pointer, which is not followed here.
unsafe impl Record for Unit {
    const SIZE_MIN: usize = offset_of!(Unit, latency_us);
}

// SAFETY: as above.
unsafe impl Record for Event {
    const SIZE_MIN: usize = offset_of!(Event, captured_us);
}

// SAFETY: as above.
unsafe impl Record for Sound {
    const SIZE_MIN: usize = offset_of!(Sound, captured_us);
}

// SAFETY: as above.
unsafe impl Record for LinkOptions {
    const SIZE_MIN: usize = offset_of!(LinkOptions, burst_len);
}

// SAFETY: as above.
unsafe impl Record for PathState {
    const SIZE_MIN: usize = offset_of!(PathState, rtt_us);
}

// SAFETY: as above.
unsafe impl Record for Probe {
    const SIZE_MIN: usize = size_of::<Probe>();
}

// SAFETY: as above.
unsafe impl Record for ProbeSent {
    const SIZE_MIN: usize = offset_of!(ProbeSent, rate_kbps);
}

// SAFETY: as above.
unsafe impl Record for ProbeReport {
    const SIZE_MIN: usize = offset_of!(ProbeReport, rate_kbps);
}

// SAFETY: as above.
unsafe impl Record for Stats {
    const SIZE_MIN: usize = offset_of!(Stats, units_sent);
}

/// A place that a value is to be written to.
pub(super) struct Out<T>(*mut T);

/// A struct of the caller's that is to be filled.
pub(super) struct OutRecord<T> {
    place: *mut T,
    size: usize,
}

/// A struct of the caller's: what it has of the members that are known here, zeros for the others.
///
/// # Safety
///
/// `pointer` is null, or may be read for as many bytes as the struct says.
pub(super) unsafe fn read<T: Record>(pointer: *const T) -> Result<T, Status> {
    // SAFETY: the caller's promise.
    let size = unsafe { size(pointer) }?;
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: `pointer` may be read for `size` bytes; `value` has room for as many as are copied.
    unsafe {
        let (from, to) = (pointer.cast::<u8>(), value.as_mut_ptr().cast::<u8>());
        from.copy_to_nonoverlapping(to, size.min(size_of::<T>()));
    }
    if let Some(rest_len) = size.checked_sub(size_of::<T>()) {
        // SAFETY: these are the bytes from the end of what is known up to `size`.
        let rest =
            unsafe { slice::from_raw_parts(pointer.cast::<u8>().add(size - rest_len), rest_len) };
        if rest.iter().any(|byte| *byte != 0) {
            return Err(Status::StructSize);
        }
    }
    // SAFETY: all of its bytes are written, and a record may have any.
    Ok(unsafe { value.assume_init() })
}

/// A value of a kind that never grows.
///
/// # Safety
///
/// `pointer` is null, or may be read.
pub(super) unsafe fn value<T: Copy>(pointer: *const T) -> Result<T, Status> {
    check(pointer)?;
    // SAFETY: neither null nor misaligned, and otherwise the caller's promise.
    Ok(unsafe { pointer.read() })
}

/// So many bytes to be read.
///
/// # Safety
///
/// `pointer` is null, or may be read for `len` bytes as long as `'a`.
pub(super) unsafe fn bytes<'a>(pointer: *const u8, len: usize) -> Result<&'a [u8], Status> {
    check_bytes(pointer, len)?;
    // SAFETY: neither null nor too long, and otherwise the caller's promise.
    Ok(unsafe { slice::from_raw_parts(pointer, len) })
}

/// So many bytes to be written.
///
/// # Safety
///
/// `pointer` is null, or may be read and written for `len` bytes, by nobody else, as long as `'a`.
pub(super) unsafe fn bytes_mut<'a>(pointer: *mut u8, len: usize) -> Result<&'a mut [u8], Status> {
    check_bytes(pointer, len)?;
    // SAFETY: neither null nor too long, and otherwise the caller's promise.
    Ok(unsafe { slice::from_raw_parts_mut(pointer, len) })
}

impl<T: Copy> Out<T> {
    /// # Safety
    ///
    /// `pointer` is null, or may be written as long as this value lives.
    pub(super) unsafe fn new(pointer: *mut T) -> Result<Out<T>, Status> {
        check(pointer)?;
        Ok(Out(pointer))
    }

    pub(super) fn put(self, value: T) {
        // SAFETY: neither null nor misaligned, and writable by the promise to `new`.
        unsafe { self.0.write(value) }
    }
}

impl<T: Record> OutRecord<T> {
    /// # Safety
    ///
    /// `pointer` is null, or may be read and written, for as many bytes as the struct says, as long
    /// as this value lives.
    pub(super) unsafe fn new(pointer: *mut T) -> Result<OutRecord<T>, Status> {
        // SAFETY: the caller's promise.
        let size = unsafe { size(pointer) }?;
        Ok(OutRecord { place: pointer, size })
    }

    /// Fills it as far as it goes, all but its size. Members that are not known here become 0.
    pub(super) fn put(self, value: T) {
        let known = self.size.min(size_of::<T>());
        let (from, to) = ((&raw const value).cast::<u8>(), self.place.cast::<u8>());
        // SAFETY: `to` may be written for `self.size` bytes by the promise to `new`, of which there
        // are at least HEAD_LEN; a record has no padding, so `from` has bytes throughout.
        unsafe {
            from.add(HEAD_LEN).copy_to_nonoverlapping(to.add(HEAD_LEN), known - HEAD_LEN);
            to.add(known).write_bytes(0, self.size - known);
        }
    }
}

/// The size that a struct of the caller's says it has.
///
/// # Safety
///
/// `pointer` is null, or may be read for as many bytes as the struct says.
unsafe fn size<T: Record>(pointer: *const T) -> Result<usize, Status> {
    check(pointer)?;
    // SAFETY: neither null nor misaligned; a record begins with this number.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    if (T::SIZE_MIN..=SIZE_MAX).contains(&size) { Ok(size) } else { Err(Status::StructSize) }
}

fn check<T>(pointer: *const T) -> Result<(), Status> {
    if pointer.is_null() {
        return Err(Status::Null);
    }
    if pointer.is_aligned() { Ok(()) } else { Err(Status::Value) }
}

fn check_bytes(pointer: *const u8, len: usize) -> Result<(), Status> {
    if pointer.is_null() {
        return Err(Status::Null);
    }
    let is_possible = isize::try_from(len).is_ok() && pointer.addr().checked_add(len).is_some();
    if is_possible { Ok(()) } else { Err(Status::Value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A struct of which callers know more or less.
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Sample {
        struct_size: u32,
        first: u32,
        second: u32,
        third: u32,
    }

    // SAFETY: four numbers.
    unsafe impl Record for Sample {
        const SIZE_MIN: usize = 8;
    }

    /// The same in a later version.
    #[repr(C)]
    struct Later {
        sample: Sample,
        fourth: u32,
        fifth: u32,
    }

    fn later(struct_size: usize, fifth: u32) -> Later {
        let struct_size = struct_size as u32;
        Later { sample: Sample { struct_size, first: 1, second: 2, third: 3 }, fourth: 0, fifth }
    }

    fn read_of(later: &Later) -> Result<[u32; 3], Status> {
        // SAFETY: no size in these tests is beyond that of `Later`, or it is no size.
        let read = unsafe { read((&raw const *later).cast::<Sample>()) };
        read.map(|it| [it.first, it.second, it.third])
    }

    #[test]
    fn what_a_caller_does_not_know_of_a_struct_is_0() {
        let table = [
            (0, 0, Err(Status::StructSize)),
            (7, 0, Err(Status::StructSize)),
            (8, 9, Ok([1, 0, 0])),
            (12, 9, Ok([1, 2, 0])),
            (16, 9, Ok([1, 2, 3])),
            (20, 9, Ok([1, 2, 3])),
            (24, 0, Ok([1, 2, 3])),
            (24, 9, Err(Status::StructSize)),
            (SIZE_MAX + 1, 0, Err(Status::StructSize)),
            (u32::MAX as usize, 0, Err(Status::StructSize)),
        ];
        for (size, fifth, expected) in table {
            assert_eq!(read_of(&later(size, fifth)), expected, "{size} {fifth}");
        }
        // SAFETY: null is refused.
        assert_eq!(unsafe { read(std::ptr::null::<Sample>()) }, Err(Status::Null));
        let words = [16_u32; 8];
        // SAFETY: what is not aligned is refused.
        let askew = unsafe { read(words.as_ptr().cast::<u8>().wrapping_add(1).cast::<Sample>()) };
        assert_eq!(askew, Err(Status::Value));
    }

    #[test]
    fn a_struct_is_filled_as_far_as_it_goes() {
        for (size, expected) in [
            (8, [8, 5, 2, 3, 7, 7]),
            (12, [12, 5, 6, 3, 7, 7]),
            (16, [16, 5, 6, 7, 7, 7]),
            (20, [20, 5, 6, 7, 0, 7]),
            (24, [24, 5, 6, 7, 0, 0]),
        ] {
            let mut words = [size, 1, 2, 3, 7, 7];
            // SAFETY: there are 24 bytes, and no size is more than that.
            let out = unsafe { OutRecord::new(words.as_mut_ptr().cast::<Sample>()) }.unwrap();
            out.put(Sample { struct_size: 99, first: 5, second: 6, third: 7 });
            assert_eq!(words, expected);
        }
    }

    #[test]
    fn no_memory_is_at_null_or_beyond_the_end() {
        let null = std::ptr::null_mut();
        // SAFETY: what these say is refused.
        unsafe {
            assert_eq!(bytes(null, 0), Err(Status::Null));
            assert_eq!(bytes_mut(null, 1), Err(Status::Null));
            assert_eq!(bytes(&7, usize::MAX), Err(Status::Value));
            assert_eq!(bytes(&7, isize::MAX as usize + 1), Err(Status::Value));
            assert!(Out::new(std::ptr::null_mut::<u32>()).is_err());
        }
        let mut byte = 7;
        // SAFETY: there is one.
        assert_eq!(unsafe { bytes_mut(&raw mut byte, 1) }, Ok(&mut [7][..]));
    }

    #[test]
    fn no_struct_has_a_hole() {
        let pointer = size_of::<usize>();
        assert_eq!(size_of::<Config>(), 13 * 4 + 2 * (16 + 12));
        assert_eq!(size_of::<Unit>(), 4 * 4 + 8 + 2 * pointer);
        assert_eq!(size_of::<Event>(), 8 * 4 + 8 + 2 * pointer);
        assert_eq!(size_of::<Sound>(), 4 * 4 + 8 + 2 * pointer);
        assert_eq!(size_of::<LinkOptions>(), 6 * 4 + 8);
        assert_eq!(size_of::<PathState>(), 2 * 4 + 2 * 8);
        assert_eq!(size_of::<Probe>(), 4 * 4);
        assert_eq!(size_of::<ProbeSent>(), 2 * 4 + 3 * 8);
        assert_eq!(size_of::<ProbeReport>(), 2 * 4 + 5 * 8);
    }
}
