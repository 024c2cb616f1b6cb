//! Pictures on their way to an encoder: which planes there are, and the memory for them.

#![forbid(unsafe_code)]

/// Bytes that rows begin at multiples of, so that vector kernels meet whole lines.
const ROW_ALIGNMENT: usize = 64;

/// How an encoder wants its pictures: 4:2:0, a colour for every four pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Three planes of 8 bits: Y, U, V.
    I420,
    /// Three planes of 16 bits, little-endian, of which the lower 10 count.
    I420P10,
    /// Two planes of 8 bits: Y, and U and V in turn.
    Nv12,
    /// Two planes of 16 bits, little-endian, of which the upper 10 count.
    P010,
}

/// One picture for an encoder. Its memory is taken once and used again for the next.
#[derive(Debug)]
pub struct Planes {
    layout: Layout,
    width: usize,
    height: usize,
    planes: Vec<Plane>,
}

/// Rows of samples.
#[derive(Debug)]
pub struct Plane {
    /// `stride` times as many bytes as there are rows.
    pub bytes: Vec<u8>,
    /// Bytes from the beginning of a row to that of the next.
    pub stride: usize,
}

impl Layout {
    /// Bytes of a sample.
    pub fn sample_len(self) -> usize {
        match self {
            Layout::I420 | Layout::Nv12 => 1,
            Layout::I420P10 | Layout::P010 => 2,
        }
    }

    /// Planes of a picture.
    pub fn plane_count(self) -> usize {
        match self {
            Layout::I420 | Layout::I420P10 => 3,
            Layout::Nv12 | Layout::P010 => 2,
        }
    }
}

impl Planes {
    /// Memory for pictures of `width` times `height` pixels, both even.
    pub fn new(layout: Layout, width: usize, height: usize) -> Planes {
        let plane = |index: usize| {
            // U and V in turn are as many samples as Y has.
            let samples = match (index, layout.plane_count()) {
                (0, _) | (_, 2) => width,
                _ => width / 2,
            };
            let stride = (samples * layout.sample_len()).next_multiple_of(ROW_ALIGNMENT);
            let row_count = if index == 0 { height } else { height / 2 };
            Plane { bytes: vec![0; stride * row_count], stride }
        };
        let planes = (0..layout.plane_count()).map(plane).collect();
        Planes { layout, width, height, planes }
    }

    /// What the planes are.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All planes, as many as the layout has.
    pub fn planes(&self) -> &[Plane] {
        &self.planes
    }

    /// As [`Planes::planes`].
    pub fn planes_mut(&mut self) -> &mut [Plane] {
        &mut self.planes
    }
}
