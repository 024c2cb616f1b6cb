//! What every encoder does, whichever library is behind it.

#![forbid(unsafe_code)]

use std::ffi::CStr;

use crate::error::Error;
use crate::settings::{Layout, Rate};

/// A picture of the caller's. Its planes are readable and as large as the encoder's layout asks
/// for, as long as the picture is borrowed.
pub(crate) struct Picture {
    pub(crate) planes: [*const u8; 3],
    /// Bytes from row to row.
    pub(crate) strides: [u32; 3],
    pub(crate) number: u64,
}

/// An encoded picture.
pub(crate) struct Unit<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) number: u64,
    pub(crate) is_idr: bool,
    pub(crate) heals: bool,
}

/// An open encoder.
pub(crate) trait Encoder {
    /// The layout that pictures are to have.
    fn layout(&self) -> Layout;

    /// The library's name for it.
    fn name(&self) -> &'static CStr;

    /// Takes a picture in.
    fn submit(&mut self, picture: &Picture) -> Result<(), Error>;

    /// Gives the unit of the picture out, once.
    fn poll(&mut self) -> Result<Option<Unit<'_>>, Error>;

    /// The next picture becomes an IDR frame.
    fn request_idr(&mut self);

    /// The next picture refers to nothing of this range, nor to what does. Returns false where it
    /// becomes an IDR frame instead.
    fn invalidate(&mut self, first: u64, last: u64) -> bool;

    /// Changes the rate from the next picture on. Returns false where it stays as it was.
    fn set_rate(&mut self, rate: Rate) -> Result<bool, Error>;
}
