//! Where pictures and sound come from: what `Capture` names in punktfunk.conf(5).

#![forbid(unsafe_code)]

pub mod barcode;
pub mod card;
pub mod screen;
pub mod source;
pub mod test;
pub mod tone;

use std::time::Instant;

/// Bytes of a pixel: blue, green, red, and one that means nothing.
pub const PIXEL_LEN: usize = 4;

/// In what a compositor hands its pictures over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Memory {
    /// In its own buffers, where that is possible.
    DmaBuf,
    /// In memory of this process.
    Shared,
}

/// One frame, lent by what captured it until it captures the next.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Rows of pixels from the top, `stride` times `height` bytes. What follows the pixels of a row
    /// is not part of the picture.
    pub bytes: &'a [u8],
    /// Bytes from the beginning of a row to that of the next.
    pub stride: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// What a source has after a wait.
#[derive(Debug)]
pub enum Next<'a> {
    /// No new picture.
    Nothing,
    /// A new picture, and when it was to be seen.
    #[allow(
        dead_code,
        reason = "the frame thread asks for the last picture when it is time for it"
    )]
    Picture(Picture<'a>, Instant),
    /// Pictures are of another size from now on.
    Resized,
}

impl<'a> Picture<'a> {
    /// Its left upper part, where it is larger than that.
    pub fn cropped(self, width: usize, height: usize) -> Picture<'a> {
        let (width, height) = (self.width.min(width), self.height.min(height));
        Picture { bytes: &self.bytes[..self.stride * height], width, height, ..self }
    }

    /// The pixels of a row.
    pub fn row(&self, y: usize) -> &'a [u8] {
        &self.bytes[y * self.stride..][..self.width * PIXEL_LEN]
    }
}

#[cfg(test)]
mod tests;
