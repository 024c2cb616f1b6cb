//! Frames in DMA-BUFs of the compositor's: what zwlr_export_dmabuf_frame_v1 says of one is put
//! together, and what is in one whose rows lie in order is copied.
//!
//! The buffer is the one that the output shows, so the compositor draws there again soon: it is
//! read at once and closed.

#![forbid(unsafe_code)]

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use punktfunk_core::net::dmabuf::{self, Reading};
use wayland_protocols_wlr::export_dmabuf::v1::client::zwlr_export_dmabuf_frame_v1::Event;

use crate::capture::{PIXEL_LEN, Picture};

/// Objects of a frame at most.
const OBJECT_COUNT_MAX: usize = 4;
/// Pixels of a row, and rows, at most.
const SIDE_MAX: u32 = 16_384;
/// DRM_FORMAT_MOD_LINEAR of drm_fourcc.h: row after row.
const LINEAR: u64 = 0;
/// DRM_FORMAT_MOD_INVALID: as the driver has it by itself.
const IMPLICIT: u64 = 0x00ff_ffff_ffff_ffff;
/// Bits of zwp_linux_buffer_params_v1: rows are from the bottom; every other row.
const Y_INVERT: u32 = 1;
const INTERLACED: u32 = 2;

/// A frame, as far as the compositor has said what it is.
#[derive(Debug, Default)]
pub struct Export {
    head: Option<Head>,
    planes: [Option<Plane>; OBJECT_COUNT_MAX],
}

#[derive(Clone, Copy, Debug)]
struct Head {
    width: u32,
    height: u32,
    /// Pixels left of the picture, and rows above it.
    offset: (u32, u32),
    buffer_flags: u32,
    /// A DRM_FORMAT.
    format: u32,
    modifier: u64,
    object_count: usize,
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

/// Where the rows of a picture lie in a plane.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rows {
    /// Of the first.
    offset: usize,
    /// From one to the next.
    stride: usize,
    /// Of one.
    len: usize,
    count: usize,
    /// Red comes first in a pixel, not blue.
    is_red_first: bool,
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
    fn rows(&self) -> Result<(&Plane, Rows), Error> {
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
        };
        Ok((plane, rows))
    }
}

impl fmt::Display for DmaBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stride = self.planes.iter().flatten().next().map_or(0, |plane| plane.stride);
        write!(f, "{}, {stride} bytes a row", Fourcc(self.head.format))
    }
}

/// What is new in a copy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Nothing: the compositor shows the same again.
    Nothing,
    /// Some pixels.
    Pixels,
    /// The size, and all pixels with it.
    Size,
}

/// A copy of the newest picture, made as the picture comes. Its memory is used again while the size
/// is the same.
#[derive(Debug, Default)]
pub struct Copy {
    /// Rows of BGRx without gaps.
    bytes: Vec<u8>,
    width: usize,
    height: usize,
    row: Vec<u8>,
}

impl Copy {
    /// Takes over what is in a frame. This is one pass over it, row by row; what is as it was is not
    /// written again.
    pub fn take(&mut self, frame: &DmaBuf) -> Result<Change, Error> {
        let (plane, rows) = frame.rows()?;
        let end = rows.offset + (rows.count - 1) * rows.stride + rows.len;
        let reading = Reading::begin(plane.file.as_fd(), end).map_err(Error::Read)?;
        let size = (rows.len / PIXEL_LEN, rows.count);
        let is_resized = size != self.size();
        if is_resized {
            (self.width, self.height) = size;
            self.bytes = vec![0; rows.len * rows.count];
            self.row = vec![0; rows.len];
        }
        let is_inverted = frame.head.buffer_flags & Y_INVERT != 0;
        let mut is_changed = false;
        for (y, to) in self.bytes.chunks_exact_mut(rows.len).enumerate() {
            let from = if is_inverted { rows.count - 1 - y } else { y };
            reading.copy(rows.offset + from * rows.stride, &mut self.row);
            if rows.is_red_first {
                let pixels = self.row.as_chunks_mut::<PIXEL_LEN>().0;
                pixels.iter_mut().for_each(|pixel| pixel.swap(0, 2));
            }
            if *to != *self.row {
                to.copy_from_slice(&self.row);
                is_changed = true;
            }
        }
        Ok(match (is_resized, is_changed) {
            (true, _) => Change::Size,
            (false, true) => Change::Pixels,
            (false, false) => Change::Nothing,
        })
    }

    /// Pixels in a row, and rows; none before the first picture.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The picture.
    pub fn picture(&self) -> Picture<'_> {
        let Copy { bytes, width, height, .. } = self;
        Picture { bytes, stride: width * PIXEL_LEN, width: *width, height: *height }
    }
}

#[cfg(test)]
mod tests {
    use punktfunk_core::net::shm::SharedMemory;
    use wayland_client::WEnum;

    use super::*;

    const XR24: u32 = u32::from_le_bytes(*b"XR24");

    /// A frame of 2 by 2 pixels, of one object.
    const HEAD: Head = Head {
        width: 2,
        height: 2,
        offset: (0, 0),
        buffer_flags: 0,
        format: XR24,
        modifier: LINEAR,
        object_count: 1,
    };

    fn frame(head: Head) -> Event {
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
    fn object(index: u32, bytes: &[u8], len: u32, offset: u32, stride: u32) -> Event {
        let mut memory = SharedMemory::new(c"test", bytes.len()).unwrap();
        memory.bytes_mut().copy_from_slice(bytes);
        let fd = memory.as_fd().try_clone_to_owned().unwrap();
        Event::Object { index, fd, size: len, offset, stride, plane_index: index }
    }

    fn ready() -> Event {
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

    fn dma_buf(events: impl IntoIterator<Item = Event>) -> DmaBuf {
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

            let error = copy.take(&frame).unwrap_err().to_string();

            assert!(error.contains(expected), "{error}, not {expected}");
            assert_eq!(copy.size(), (0, 0));
        }
        let two = Head { object_count: 2, ..HEAD };
        let frame = dma_buf([frame(two), whole(0), whole(1), ready()]);
        assert_eq!(Copy::default().take(&frame).unwrap_err().to_string(), "2 planes");
    }

    #[test]
    fn a_picture_is_rows_of_blue_green_and_red_from_the_top() {
        // Something else, a row above, and a pixel left of either row.
        let bytes = b"...................abcdefgh....ijklmnop";
        let crop = Head { offset: (1, 1), ..HEAD };
        let table = [
            (crop, b"abcdefghijklmnop"),
            (Head { buffer_flags: Y_INVERT, ..crop }, b"ijklmnopabcdefgh"),
            (Head { format: u32::from_le_bytes(*b"XB24"), ..crop }, b"cbadgfehkjilonmp"),
        ];
        for (head, expected) in table {
            let object = object(0, bytes, 39, 3, 12);
            let frame = dma_buf([frame(head), object, ready()]);
            let mut copy = Copy::default();

            assert_eq!(copy.take(&frame).unwrap(), Change::Size);

            let picture = copy.picture();
            assert_eq!((picture.width, picture.height, picture.stride), (2, 2, 8));
            assert_eq!(picture.bytes, expected);
            assert_eq!(copy.take(&frame).unwrap(), Change::Nothing);
        }
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

    #[test]
    fn one_pixel_is_a_change() {
        let mut copy = Copy::default();
        let mut bytes = [7; 16];
        let mut take = |bytes: &[u8]| {
            let frame = dma_buf([frame(HEAD), object(0, bytes, 16, 0, 8), ready()]);
            assert_eq!(frame.to_string(), "XR24, 8 bytes a row");
            copy.take(&frame).unwrap()
        };

        assert_eq!(take(&bytes), Change::Size);
        assert_eq!(take(&bytes), Change::Nothing);
        bytes[15] = 8;
        assert_eq!(take(&bytes), Change::Pixels);
        assert_eq!(take(&bytes), Change::Nothing);
    }
}
