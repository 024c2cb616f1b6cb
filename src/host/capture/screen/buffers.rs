//! Memory that a compositor draws pictures into: two buffers in one shared file.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use punktfunk_core::net::shm::SharedMemory;
use wayland_client::QueueHandle;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_shm::{self, WlShm};
use wayland_client::protocol::wl_shm_pool::WlShmPool;

use super::Error;
use super::upright;
use super::wire::Wire;
use crate::capture::{PIXEL_LEN, Picture};
use crate::turn::Turn;

/// One that is lent, and one that the compositor fills.
const BUFFER_COUNT: usize = 2;

/// How the compositor wants a buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// What the bytes of a pixel are.
    pub format: wl_shm::Format,
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from the beginning of a row to that of the next.
    pub stride: usize,
}

/// In which order the bytes of a pixel are, the fourth of which means nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Bgrx,
    Rgbx,
}

/// Two buffers of one shape.
#[derive(Debug)]
pub struct Buffers {
    shape: Shape,
    order: Order,
    memory: SharedMemory,
    pool: WlShmPool,
    buffers: [WlBuffer; BUFFER_COUNT],
    /// How the newest picture lies in its buffer, and that upright where it does not.
    turn: Turn,
    upright: Vec<u8>,
}

/// Whether pictures can be had from buffers of this format. Words of 32 bits, little-endian: what
/// ends in B has blue in its first byte.
pub fn is_known(format: wl_shm::Format) -> bool {
    order(format).is_some()
}

fn order(format: wl_shm::Format) -> Option<Order> {
    match format {
        wl_shm::Format::Argb8888 | wl_shm::Format::Xrgb8888 => Some(Order::Bgrx),
        wl_shm::Format::Abgr8888 | wl_shm::Format::Xbgr8888 => Some(Order::Rgbx),
        _ => None,
    }
}

impl Shape {
    /// Bytes of a buffer; `None` if no buffer can be like that.
    fn len(self) -> Option<usize> {
        let is_sound = self.width > 0 && self.height > 0 && self.stride >= self.width * PIXEL_LEN;
        // Sizes of a pool are signed and of 32 bits.
        let len = self.stride.checked_mul(self.height)?;
        let is_short = len.checked_mul(BUFFER_COUNT)? <= i32::MAX as usize;
        (is_sound && is_short).then_some(len)
    }
}

impl Buffers {
    /// Makes both, and tells the compositor. Pictures are expected to lie there like that.
    pub fn new(
        shm: &WlShm,
        handle: &QueueHandle<Wire>,
        shape: Shape,
        turn: Turn,
    ) -> Result<Buffers, Error> {
        let order = order(shape.format).ok_or(Error::Format(shape.format as u32))?;
        let len = shape.len().ok_or(Error::Shape(shape.width, shape.height))?;
        let memory =
            SharedMemory::new(c"punktfunk-screen", len * BUFFER_COUNT).map_err(Error::System)?;
        let pool = shm.create_pool(memory.as_fd(), (len * BUFFER_COUNT) as i32, handle, ());
        let buffer = |index: usize| {
            let (width, height) = (shape.width as i32, shape.height as i32);
            let (offset, stride) = ((index * len) as i32, shape.stride as i32);
            pool.create_buffer(offset, width, height, stride, shape.format, handle, ())
        };
        let buffers = std::array::from_fn(buffer);
        Ok(Buffers { shape, order, memory, pool, buffers, turn, upright: Vec::new() })
    }

    /// How they are.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Width and height of pictures.
    pub fn size(&self) -> (usize, usize) {
        self.turn.size((self.shape.width, self.shape.height))
    }

    /// The buffer beside this one.
    pub fn other(index: Option<usize>) -> usize {
        index.map_or(0, |index| (index + 1) % BUFFER_COUNT)
    }

    /// A buffer as the compositor knows it.
    pub fn buffer(&self, index: usize) -> &WlBuffer {
        &self.buffers[index]
    }

    /// Makes the newest [`Picture`] of what the compositor has put there like that: upright, rows
    /// from the top, BGRx. Costs nothing where it is that already, as compositors without a GPU have
    /// it whose outputs are not turned.
    pub fn mend(&mut self, index: usize, is_inverted: bool, turn: Turn) {
        let (shape, len) = (self.shape, self.shape.stride * self.shape.height);
        let bytes = &mut self.memory.bytes_mut()[index * len..][..len];
        if is_inverted {
            invert(bytes, shape.stride);
        }
        if self.order == Order::Rgbx {
            bytes.as_chunks_mut::<PIXEL_LEN>().0.iter_mut().for_each(|pixel| pixel.swap(0, 2));
        }
        self.turn = turn;
        if !turn.is_none() {
            let Shape { width, height, stride, .. } = shape;
            upright::copy(turn, &Picture { bytes, stride, width, height }, &mut self.upright);
        }
    }

    /// What is in the buffer that was mended last.
    pub fn picture(&self, index: usize) -> Picture<'_> {
        let Shape { stride, height, .. } = self.shape;
        let (len, size) = (stride * height, self.size());
        let bytes = &self.memory.bytes()[index * len..][..len];
        let (bytes, stride) = if self.turn.is_none() {
            (bytes, stride)
        } else {
            (&*self.upright, size.0 * PIXEL_LEN)
        };
        Picture { bytes, stride, width: size.0, height: size.1 }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        self.buffers.iter().for_each(WlBuffer::destroy);
        self.pool.destroy();
    }
}

/// Turns the order of rows round.
fn invert(bytes: &mut [u8], stride: usize) {
    let mut rows = bytes.chunks_exact_mut(stride);
    while let (Some(first), Some(last)) = (rows.next(), rows.next_back()) {
        first.swap_with_slice(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_from_the_bottom_become_rows_from_the_top() {
        let table: [(&[u8], usize, &[u8]); 4] = [
            (b"aabbcc", 2, b"ccbbaa"),
            (b"aabbccdd", 2, b"ddccbbaa"),
            (b"aaabbb", 3, b"bbbaaa"),
            (b"aa", 2, b"aa"),
        ];
        for (given, stride, expected) in table {
            let mut bytes = given.to_vec();

            invert(&mut bytes, stride);

            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn a_shape_that_no_buffer_can_have_is_none() {
        let table = [
            (1280, 720, 5120, Some(3_686_400)),
            (1279, 3, 5120, Some(15_360)),
            (1280, 720, 5119, None),
            (0, 720, 5120, None),
            (1280, 0, 5120, None),
            (20_000, 20_000, 80_000, None),
            (1, usize::MAX, 4, None),
        ];
        for (width, height, stride, expected) in table {
            let shape = Shape { format: wl_shm::Format::Xrgb8888, width, height, stride };

            assert_eq!(shape.len(), expected, "{shape:?}");
        }
    }

    #[test]
    fn pixels_of_known_formats_have_blue_first_or_red() {
        for (format, expected) in [
            (wl_shm::Format::Xrgb8888, Some(Order::Bgrx)),
            (wl_shm::Format::Argb8888, Some(Order::Bgrx)),
            (wl_shm::Format::Xbgr8888, Some(Order::Rgbx)),
            (wl_shm::Format::Abgr8888, Some(Order::Rgbx)),
            (wl_shm::Format::Rgb888, None),
            (wl_shm::Format::Xrgb2101010, None),
        ] {
            assert_eq!(order(format), expected, "{format:?}");
            assert_eq!(is_known(format), expected.is_some());
        }
    }
}
