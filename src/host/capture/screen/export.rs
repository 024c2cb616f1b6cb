//! Frames in DMA-BUFs of the compositor's, from what zwlr_export_dmabuf_frame_v1 says of them.

#![forbid(unsafe_code)]

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use punktfunk_core::net::dmabuf;
use wayland_protocols_wlr::export_dmabuf::v1::client::zwlr_export_dmabuf_frame_v1::Event;

use crate::capture::PIXEL_LEN;

/// Objects of a frame at most.
const OBJECT_COUNT_MAX: usize = 4;
/// Pixels of a row, and rows, at most.
const SIDE_MAX: u32 = 16_384;
/// DRM_FORMAT_MOD_LINEAR of drm_fourcc.h: row after row.
const LINEAR: u64 = 0;
/// DRM_FORMAT_MOD_INVALID: as the driver has it by itself.
const IMPLICIT: u64 = 0x00ff_ffff_ffff_ffff;
/// Of the bits of zwp_linux_buffer_params_v1: rows are from the bottom.
pub const Y_INVERT: u32 = 1;
/// Every other row.
const INTERLACED: u32 = 2;

/// A frame, as far as the compositor has said what it is.
#[derive(Debug, Default)]
pub struct Export {
    head: Option<Head>,
    planes: [Option<Plane>; OBJECT_COUNT_MAX],
}

/// What the compositor says first.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub width: u32,
    pub height: u32,
    /// Pixels left of the picture, and rows above it.
    pub offset: (u32, u32),
    pub buffer_flags: u32,
    /// A DRM_FORMAT.
    pub format: u32,
    pub modifier: u64,
    pub object_count: usize,
}

#[derive(Debug)]
struct Plane {
    file: OwnedFd,
    index: u32,
    /// Bytes that the compositor says are there.
    len: u32,
    offset: u32,
    stride: u32,
}

/// What an event leads to.
#[derive(Debug)]
pub enum Progress {
    /// Something else is to follow.
    More,
    /// There is a frame, and when it was shown, by CLOCK_MONOTONIC in most compositors.
    Ready(DmaBuf, Option<Duration>),
    /// There is none this time.
    Failed,
    /// There will be none.
    Never(Error),
}

/// Why there is no picture of a frame.
#[derive(Debug)]
pub enum Error {
    /// The compositor says that no frame can be had.
    Cancelled,
    /// Every other row only.
    Interlaced,
    /// Pixels in an unknown format, by its number.
    Format(u32),
    /// Pixels in an order that only graphics drivers know, by its number.
    Modifier(u64),
    /// A picture of several planes: how many.
    PlaneCount(usize),
    /// The memory is not readable.
    Read(dmabuf::Error),
    /// What is said of it cannot be.
    Wrong(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Cancelled => f.write_str("refused by the compositor"),
            Error::Interlaced => f.write_str("interlaced"),
            Error::Format(format) => write!(f, "unknown pixel format {}", Fourcc(*format)),
            Error::Modifier(IMPLICIT) => f.write_str("in an order that only the driver knows"),
            Error::Modifier(modifier) => write!(f, "not linear but modifier {modifier:#x}"),
            Error::PlaneCount(count) => write!(f, "{count} planes"),
            Error::Read(error) => write!(f, "not readable: {error}"),
            Error::Wrong(what) => write!(f, "fault of the compositor: {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// A format as people know it, such as XR24.
struct Fourcc(u32);

impl fmt::Display for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.to_le_bytes();
        match std::str::from_utf8(&bytes) {
            Ok(name) if bytes.iter().all(u8::is_ascii_graphic) => f.write_str(name),
            _ => write!(f, "{:#x}", self.0),
        }
    }
}

impl Export {
    /// Takes what the compositor says. Nothing more is to be taken once it has come to an end.
    pub fn handle(&mut self, event: Event) -> Progress {
        match self.take(event) {
            Ok(progress) => progress,
            Err(what) => Progress::Never(Error::Wrong(what)),
        }
    }

    fn take(&mut self, event: Event) -> Result<Progress, &'static str> {
        match event {
            Event::Frame {
                width,
                height,
                offset_x,
                offset_y,
                buffer_flags,
                format,
                mod_high,
                mod_low,
                num_objects,
                ..
            } => {
                let object_count = num_objects as usize;
                if self.head.is_some() {
                    return Err("a frame within a frame");
                }
                if !(1..=OBJECT_COUNT_MAX).contains(&object_count) {
                    return Err("more objects than there can be, or none");
                }
                let modifier = u64::from(mod_high) << 32 | u64::from(mod_low);
                let offset = (offset_x, offset_y);
                let head =
                    Head { width, height, offset, buffer_flags, format, modifier, object_count };
                self.head = Some(head);
                Ok(Progress::More)
            }
            Event::Object { index, fd, size, offset, stride, plane_index } => {
                let count = self.head.map_or(0, |head| head.object_count);
                let place = self.planes[..count].get_mut(index as usize);
                match place.ok_or("an object of no frame")? {
                    Some(_) => Err("an object twice"),
                    empty => {
                        let index = plane_index;
                        *empty = Some(Plane { file: fd, index, len: size, offset, stride });
                        Ok(Progress::More)
                    }
                }
            }
            Event::Ready { tv_sec_hi, tv_sec_lo, tv_nsec } => {
                let Export { head, planes } = std::mem::take(self);
                let head = head.ok_or("ready without a frame")?;
                if planes.iter().flatten().count() != head.object_count {
                    return Err("a frame without its objects");
                }
                let presented = super::wire::time(tv_sec_hi, tv_sec_lo, tv_nsec);
                Ok(Progress::Ready(DmaBuf { head, planes }, presented))
            }
            Event::Cancel { reason } => {
                /// As in the enum cancel_reason.
                const PERMANENT: u32 = 1;
                let is_final = u32::from(reason) == PERMANENT;
                Ok(if is_final { Progress::Never(Error::Cancelled) } else { Progress::Failed })
            }
            _ => Ok(Progress::More),
        }
    }
}

/// A frame where the compositor has it. Its descriptors are closed with it.
#[derive(Debug)]
pub struct DmaBuf {
    head: Head,
    /// As many as the frame has objects.
    planes: [Option<Plane>; OBJECT_COUNT_MAX],
}

/// Where the rows of a picture lie in a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rows {
    /// Of the first.
    offset: usize,
    /// From one to the next.
    stride: usize,
    /// Of one.
    pub len: usize,
    /// How many there are, one at least.
    pub count: usize,
    /// Red comes first in a pixel, not blue.
    pub is_red_first: bool,
    /// They are from the bottom.
    is_inverted: bool,
}

impl Rows {
    /// Where one begins, counted from the top of the picture.
    pub fn begin(&self, y: usize) -> usize {
        let index = if self.is_inverted { self.count - 1 - y } else { y };
        self.offset + index * self.stride
    }

    /// Where all of them end.
    pub fn end(&self) -> usize {
        self.offset + (self.count - 1) * self.stride + self.len
    }
}

impl DmaBuf {
    /// To be called for frames that the compositor's processor has drawn: where the driver is left
    /// to have it as it likes, it has it row after row then, for nothing else could be drawn so.
    pub fn settle_modifier(&mut self) {
        if self.head.modifier == IMPLICIT {
            self.head.modifier = LINEAR;
        }
    }

    /// Where the picture is, if anybody but the graphics driver can know.
    pub fn rows(&self) -> Result<(BorrowedFd<'_>, Rows), Error> {
        let head = &self.head;
        let is_red_first = match &head.format.to_le_bytes() {
            b"AR24" | b"XR24" => false,
            b"AB24" | b"XB24" => true,
            _ => return Err(Error::Format(head.format)),
        };
        if head.modifier != LINEAR {
            return Err(Error::Modifier(head.modifier));
        }
        if head.buffer_flags & INTERLACED != 0 {
            return Err(Error::Interlaced);
        }
        let [Some(plane), None, None, None] = &self.planes else {
            return Err(Error::PlaneCount(self.planes.iter().flatten().count()));
        };
        let sides = 1..=SIDE_MAX;
        if !sides.contains(&head.width) || !sides.contains(&head.height) {
            return Err(Error::Wrong("a picture of an impossible size"));
        }
        let (left, above) = head.offset;
        let begin = u64::from(left) * PIXEL_LEN as u64;
        let len = u64::from(head.width) * PIXEL_LEN as u64;
        let stride = u64::from(plane.stride);
        if plane.index != 0 || begin + len > stride {
            return Err(Error::Wrong("rows that are longer than from one to the next"));
        }
        // Numbers of 32 bits, so none of this is too large.
        let offset = u64::from(plane.offset) + u64::from(above) * stride + begin;
        let end = offset.saturating_add(u64::from(head.height - 1) * stride + len);
        if end > u64::from(plane.len) {
            return Err(Error::Wrong("a picture that is longer than its object"));
        }
        let rows = Rows {
            offset: offset as usize,
            stride: stride as usize,
            len: len as usize,
            count: head.height as usize,
            is_red_first,
            is_inverted: head.buffer_flags & Y_INVERT != 0,
        };
        Ok((plane.file.as_fd(), rows))
    }
}

impl fmt::Display for DmaBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stride = self.planes.iter().flatten().next().map_or(0, |plane| plane.stride);
        write!(f, "{}, {stride} bytes a row", Fourcc(self.head.format))
    }
}

#[cfg(test)]
pub mod tests {
    use punktfunk_core::net::shm::SharedMemory;
    use wayland_client::WEnum;

    use super::super::copy::Copy;
    use super::*;
    use crate::turn::Turn;

    const XR24: u32 = u32::from_le_bytes(*b"XR24");

    /// A frame of 2 by 2 pixels, of one object.
    pub const HEAD: Head = Head {
        width: 2,
        height: 2,
        offset: (0, 0),
        buffer_flags: 0,
        format: XR24,
        modifier: LINEAR,
        object_count: 1,
    };

    pub fn frame(head: Head) -> Event {
        Event::Frame {
            width: head.width,
            height: head.height,
            offset_x: head.offset.0,
            offset_y: head.offset.1,
            buffer_flags: head.buffer_flags,
            flags: WEnum::Unknown(1),
            format: head.format,
            mod_high: (head.modifier >> 32) as u32,
            mod_low: head.modifier as u32,
            num_objects: head.object_count as u32,
        }
    }

    /// An object with these bytes.
    pub fn object(index: u32, bytes: &[u8], len: u32, offset: u32, stride: u32) -> Event {
        let mut memory = SharedMemory::new(c"test", bytes.len()).unwrap();
        memory.bytes_mut().copy_from_slice(bytes);
        let fd = memory.as_fd().try_clone_to_owned().unwrap();
        Event::Object { index, fd, size: len, offset, stride, plane_index: index }
    }

    pub fn ready() -> Event {
        Event::Ready { tv_sec_hi: 0, tv_sec_lo: 3, tv_nsec: 4 }
    }

    /// What the last of these events leads to.
    fn last(events: impl IntoIterator<Item = Event>) -> Progress {
        let mut export = Export::default();
        let mut last = Progress::More;
        for event in events {
            assert!(matches!(last, Progress::More), "{last:?}");
            last = export.handle(event);
        }
        last
    }

    pub fn dma_buf(events: impl IntoIterator<Item = Event>) -> DmaBuf {
        match last(events) {
            Progress::Ready(frame, presented) => {
                assert_eq!(presented, Some(Duration::new(3, 4)));
                frame
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_frame_is_said_in_its_order_or_there_is_none() {
        let head = || frame(HEAD);
        let plain = |index| object(index, &[0; 16], 16, 0, 8);
        let many = |object_count| frame(Head { object_count, ..HEAD });
        let cancel = |reason| Event::Cancel { reason: WEnum::from(reason) };
        let wrong = "fault of the compositor: ";
        let table: [(Vec<Event>, &str); 12] = [
            (vec![head(), plain(0), ready()], "ready"),
            (vec![many(2), plain(1), plain(0), ready()], "ready"),
            (vec![head(), head()], "a frame within a frame"),
            (vec![many(0)], "more objects than there can be, or none"),
            (vec![many(5)], "more objects than there can be, or none"),
            (vec![plain(0)], "an object of no frame"),
            (vec![head(), plain(1)], "an object of no frame"),
            (vec![many(2), plain(1), plain(1)], "an object twice"),
            (vec![ready()], "ready without a frame"),
            (vec![many(2), plain(0), ready()], "a frame without its objects"),
            (vec![head(), cancel(1)], "refused by the compositor"),
            (vec![cancel(77)], "failed"),
        ];
        for (events, expected) in table {
            let said = match last(events) {
                Progress::More => "more".to_owned(),
                Progress::Ready(..) => "ready".to_owned(),
                Progress::Failed => "failed".to_owned(),
                Progress::Never(error) => error.to_string().replace(wrong, ""),
            };
            assert_eq!(said, expected);
        }
        assert!(matches!(last([frame(HEAD), cancel(0)]), Progress::Failed));
        assert!(matches!(last([frame(HEAD), cancel(2)]), Progress::Failed));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_says_why() {
        let bytes = [0; 24];
        let whole = |index| object(index, &bytes, 24, 0, 8);
        let huge = u32::MAX;
        let table: [(Head, Event, &str); 14] = [
            (Head { format: u32::from_le_bytes(*b"NV12"), ..HEAD }, whole(0), "format NV12"),
            (Head { format: 7, ..HEAD }, whole(0), "format 0x7"),
            (Head { modifier: 1 << 56, ..HEAD }, whole(0), "modifier 0x100000000000000"),
            (Head { modifier: IMPLICIT, ..HEAD }, whole(0), "only the driver knows"),
            (Head { buffer_flags: INTERLACED, ..HEAD }, whole(0), "interlaced"),
            (Head { width: 0, ..HEAD }, whole(0), "impossible size"),
            (Head { height: 16_385, ..HEAD }, whole(0), "impossible size"),
            (Head { width: 3, ..HEAD }, whole(0), "rows that are longer"),
            (Head { offset: (huge, huge), ..HEAD }, whole(0), "rows that are longer"),
            (Head { offset: (0, huge), ..HEAD }, whole(0), "longer than its object"),
            (Head { height: 4, ..HEAD }, whole(0), "longer than its object"),
            (HEAD, object(0, &bytes, 24, huge, huge), "longer than its object"),
            // The object is said to be longer than it is.
            (Head { height: 4, ..HEAD }, object(0, &bytes, huge, 0, 8), "more than 24 bytes"),
            (HEAD, object(0, &bytes, huge, 0, huge - 8), "more than 24 bytes"),
        ];
        for (head, object, expected) in table {
            let frame = dma_buf([frame(head), object, ready()]);
            let mut copy = Copy::default();

            let error = copy.take(&frame, Turn::default()).unwrap_err().to_string();

            assert!(error.contains(expected), "{error}, not {expected}");
            assert_eq!(copy.size(), (0, 0));
        }
        let two = Head { object_count: 2, ..HEAD };
        let frame = dma_buf([frame(two), whole(0), whole(1), ready()]);
        assert_eq!(
            Copy::default().take(&frame, Turn::default()).unwrap_err().to_string(),
            "2 planes"
        );
    }

    #[test]
    fn what_a_processor_has_drawn_is_row_after_row() {
        for (modifier, expected) in [(IMPLICIT, true), (LINEAR, true), (1, false)] {
            let head = Head { modifier, ..HEAD };
            let mut frame = dma_buf([frame(head), object(0, &[0; 16], 16, 0, 8), ready()]);

            frame.settle_modifier();

            assert_eq!(frame.rows().is_ok(), expected, "{modifier:#x}");
        }
    }
}
