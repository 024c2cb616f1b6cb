//! What calls return.

#![forbid(unsafe_code)]

use std::any::Any;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::proto::packet::native::packetize;

/// What is wrong with a call. Functions return 0 or a count where nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum Status {
    /// A pointer is null that must not be.
    Null = -1,
    /// The struct_size is less than what must be given, or members are set that this version of the
    /// library does not know.
    StructSize = -2,
    /// A value is out of its range.
    Value = -3,
    /// No such session or link is open: it was closed, or never was.
    Handle = -4,
    /// This is a call for the other end of a session.
    Role = -5,
    /// Datagrams of what was submitted before are still to be polled. Nothing has changed.
    Full = -6,
    /// An access unit or a frame of sound is longer than was agreed on.
    TooLong = -7,
    /// The memory has no room for a datagram. Nothing has changed.
    Room = -8,
    /// The key has sealed as much as it may, or numbers have come to their end.
    Exhausted = -9,
    /// As many sessions or links are open as can be.
    TooMany = -10,
    /// The phase before has not begun yet, or no speed test has.
    Early = -11,
    /// An earlier call on this session or link ended in a defect. It can only be closed.
    Broken = -98,
    /// A defect of the library ended this call.
    Defect = -99,
}

/// All of them.
const ALL: [(Status, &CStr); 13] = [
    (Status::Null, c"null pointer"),
    (Status::StructSize, c"struct_size too small, or unknown members are set"),
    (Status::Value, c"value out of range"),
    (Status::Handle, c"no such session or link is open"),
    (Status::Role, c"call for the other end of a session"),
    (Status::Full, c"datagrams of what was submitted before are still to be polled"),
    (Status::TooLong, c"longer than agreed on"),
    (Status::Room, c"no room for a datagram"),
    (Status::Exhausted, c"key or numbers used up"),
    (Status::TooMany, c"too many sessions or links"),
    (Status::Early, c"phase before, or speed test, has not begun yet"),
    (Status::Broken, c"broken by an earlier defect"),
    (Status::Defect, c"defect of the library"),
];

impl From<packetize::Error> for Status {
    fn from(error: packetize::Error) -> Status {
        match error {
            packetize::Error::Exhausted => Status::Exhausted,
            packetize::Error::TooLong => Status::TooLong,
        }
    }
}

/// What a returned number means, in a few words.
pub(super) fn text(status: i32) -> &'static CStr {
    if status >= 0 {
        return c"no error";
    }
    let known = ALL.iter().find(|(it, _)| *it as i32 == status);
    known.map_or(c"unknown error", |(_, text)| text)
}

/// Runs what a call is for. A panic goes no further: frames of C cannot be unwound.
///
/// What the panic interrupted is behind a lock, which is poisoned by it: nobody sees it again.
pub(super) fn guard(call: impl FnOnce() -> Result<i32, Status>) -> i32 {
    let ended: Result<_, Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(call));
    match ended {
        Ok(Ok(count)) => count,
        Ok(Err(status)) => status as i32,
        Err(_) => Status::Defect as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_text() {
        for (status, expected) in ALL {
            assert_eq!(text(status as i32), expected);
        }
        assert_eq!(
            (text(0), text(7), text(i32::MIN)),
            (c"no error", c"no error", c"unknown error")
        );
    }

    #[test]
    fn a_panic_becomes_a_status() {
        assert_eq!(guard(|| panic!("as a defect would")), Status::Defect as i32);
        assert_eq!((guard(|| Ok(3)), guard(|| Err(Status::Role))), (3, -5));
    }
}
