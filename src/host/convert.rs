//! Pictures of a screen turned into the planes that encoders take: BGRx to 4:2:0.
//!
//! The matrices are those of ITU-R BT.601, BT.709 and BT.2020 (non-constant luminance). A colour is
//! the mean of the four pixels that it is for. What the fourth byte of a pixel is does not matter.
//! The yuv crate makes planes of 8 bits; for 10 bits it has no kernel that takes pixels of 8.

#![forbid(unsafe_code)]

use punktfunk_core::proto::gamestream::rtsp::announce::{Colour, ColourSpace};
use yuv::{
    BufferStoreMut, YuvBiPlanarImageMut, YuvConversionMode, YuvPlanarImageMut, YuvRange,
    YuvStandardMatrix,
};

use super::capture::{PIXEL_LEN, Picture};
use super::picture::{Layout, Plane, Planes};

/// How 8 bits are reckoned: the most exact way without further features of the crate.
const MODE: YuvConversionMode = YuvConversionMode::Balanced;
/// Pixels of two rows that are converted to 10 bits at a time.
const SPAN: usize = 256;

/// Turns pictures into planes of one kind.
#[derive(Debug)]
pub struct Converter {
    layout: Layout,
    range: YuvRange,
    matrix: YuvStandardMatrix,
    /// For layouts of 10 bits.
    wide: Option<Box<Wide>>,
}

/// Two rows of pixels on their way to 10 bits.
#[derive(Debug)]
struct Wide {
    weights: [Weights; 3],
    /// Blue, green and red of either row.
    parts: [[[f32; SPAN]; 3]; 2],
    /// The same over squares of four.
    means: [[f32; SPAN / 2]; 3],
    y: [[u16; SPAN]; 2],
    u: [u16; SPAN / 2],
    v: [u16; SPAN / 2],
}

/// What a sample of 10 bits is made of.
#[derive(Clone, Copy, Debug)]
struct Weights {
    /// Steps for one of 255 of blue, green and red.
    parts: [f32; 3],
    /// Of black, or of no colour.
    floor: f32,
}

impl Converter {
    /// For planes of this layout, in which numbers mean these colours.
    pub fn new(layout: Layout, colour: Colour) -> Converter {
        let matrix = match colour.space {
            ColourSpace::Bt601 => YuvStandardMatrix::Bt601,
            ColourSpace::Bt709 => YuvStandardMatrix::Bt709,
            ColourSpace::Bt2020 => YuvStandardMatrix::Bt2020,
        };
        let range = if colour.is_full_range { YuvRange::Full } else { YuvRange::Limited };
        let wide = (layout.sample_len() == 2).then(|| Box::new(Wide::new(colour)));
        Converter { layout, range, matrix, wide }
    }

    /// Fills `planes`, which are of the converter's layout and the picture's size.
    pub fn convert(&mut self, picture: &Picture<'_>, planes: &mut Planes) {
        assert_eq!(planes.layout(), self.layout);
        assert_eq!((planes.width(), planes.height()), (picture.width, picture.height));
        assert!(picture.bytes.len() >= picture.stride * picture.height);
        match self.layout {
            Layout::I420 => self.convert_to_i420(picture, planes),
            Layout::I420P10 | Layout::P010 => self.convert_to_10_bits(picture, planes),
            Layout::Nv12 => self.convert_to_nv12(picture, planes),
        }
    }

    fn convert_to_i420(&self, picture: &Picture<'_>, planes: &mut Planes) {
        let [y, u, v] = planes.planes_mut() else { unreachable!("three planes") };
        let mut image = YuvPlanarImageMut {
            y_stride: y.stride as u32,
            u_stride: u.stride as u32,
            v_stride: v.stride as u32,
            y_plane: BufferStoreMut::Borrowed(&mut y.bytes),
            u_plane: BufferStoreMut::Borrowed(&mut u.bytes),
            v_plane: BufferStoreMut::Borrowed(&mut v.bytes),
            width: picture.width as u32,
            height: picture.height as u32,
        };
        let (bytes, stride, mode) = (picture.bytes, picture.stride as u32, MODE);
        yuv::bgra_to_yuv420(&mut image, bytes, stride, self.range, self.matrix, mode)
            .expect("sizes are compared above");
    }

    fn convert_to_nv12(&self, picture: &Picture<'_>, planes: &mut Planes) {
        let [y, uv] = planes.planes_mut() else { unreachable!("two planes") };
        let mut image = YuvBiPlanarImageMut {
            y_stride: y.stride as u32,
            uv_stride: uv.stride as u32,
            y_plane: BufferStoreMut::Borrowed(&mut y.bytes),
            uv_plane: BufferStoreMut::Borrowed(&mut uv.bytes),
            width: picture.width as u32,
            height: picture.height as u32,
        };
        let (bytes, stride, mode) = (picture.bytes, picture.stride as u32, MODE);
        yuv::bgra_to_yuv_nv12(&mut image, bytes, stride, self.range, self.matrix, mode)
            .expect("sizes are compared above");
    }

    fn convert_to_10_bits(&mut self, picture: &Picture<'_>, planes: &mut Planes) {
        let wide = self.wide.as_mut().expect("made for layouts of 10 bits");
        for y in (0..picture.height).step_by(2) {
            let rows = [picture.row(y), picture.row(y + 1)];
            for x in (0..picture.width).step_by(SPAN) {
                let width = SPAN.min(picture.width - x);
                let from = x * PIXEL_LEN..(x + width) * PIXEL_LEN;
                wide.convert(rows.map(|row| &row[from.clone()]), width);
                wide.put(x, y, width, planes);
            }
        }
    }
}

impl Wide {
    fn new(colour: Colour) -> Wide {
        Wide {
            weights: weights(colour),
            parts: [[[0.0; SPAN]; 3]; 2],
            means: [[0.0; SPAN / 2]; 3],
            y: [[0; SPAN]; 2],
            u: [0; SPAN / 2],
            v: [0; SPAN / 2],
        }
    }

    /// Takes `width` pixels of either row.
    fn convert(&mut self, rows: [&[u8]; 2], width: usize) {
        let [luma, blue, red] = self.weights;
        for ((row, parts), y) in rows.into_iter().zip(&mut self.parts).zip(&mut self.y) {
            let (pixels, _) = row.as_chunks();
            split(&pixels[..width], parts);
            let [b, g, r] = parts;
            luma.blend([&b[..width], &g[..width], &r[..width]], &mut y[..width]);
        }
        let half = width / 2;
        let [upper, lower] = &self.parts;
        for ((upper, lower), mean) in upper.iter().zip(lower).zip(&mut self.means) {
            average(&upper[..width], &lower[..width], &mut mean[..half]);
        }
        let means = self.means.each_ref().map(|mean| &mean[..half]);
        blue.blend(means, &mut self.u[..half]);
        red.blend(means, &mut self.v[..half]);
    }

    /// Puts what was converted where it belongs.
    fn put(&self, x: usize, y: usize, width: usize, planes: &mut Planes) {
        let (y0, y1) = (&self.y[0][..width], &self.y[1][..width]);
        let (u, v) = (&self.u[..width / 2], &self.v[..width / 2]);
        match planes.planes_mut() {
            [luma, blue, red] => {
                put(luma, x, y, y0, 0);
                put(luma, x, y + 1, y1, 0);
                put(blue, x / 2, y / 2, u, 0);
                put(red, x / 2, y / 2, v, 0);
            }
            [luma, both] => {
                put(luma, x, y, y0, 6);
                put(luma, x, y + 1, y1, 6);
                let pairs = row(both, x, y / 2, width).chunks_exact_mut(4);
                for (bytes, (u, v)) in pairs.zip(u.iter().zip(v)) {
                    bytes[..2].copy_from_slice(&(u << 6).to_le_bytes());
                    bytes[2..].copy_from_slice(&(v << 6).to_le_bytes());
                }
            }
            _ => unreachable!("two planes or three"),
        }
    }
}

impl Weights {
    /// Makes samples of blue, green and red, all of which are as many.
    fn blend(&self, [blue, green, red]: [&[f32]; 3], samples: &mut [u16]) {
        /// Here one step of the last bit of a float is one.
        const UNIT: f32 = 8_388_608.0;
        let [of_blue, of_green, of_red] = self.parts;
        for (((sample, blue), green), red) in samples.iter_mut().zip(blue).zip(green).zip(red) {
            let value = of_blue * blue + of_green * green + of_red * red + self.floor;
            *sample = (value.min(1023.0) + UNIT).to_bits() as u16;
        }
    }
}

/// Puts the parts of pixels apart.
fn split(pixels: &[[u8; PIXEL_LEN]], [blue, green, red]: &mut [[f32; SPAN]; 3]) {
    let parts = blue.iter_mut().zip(green).zip(red);
    for (pixel, ((blue, green), red)) in pixels.iter().zip(parts) {
        let pixel = u32::from_le_bytes(*pixel) as i32;
        *blue = (pixel & 255) as f32;
        *green = (pixel >> 8 & 255) as f32;
        *red = (pixel >> 16 & 255) as f32;
    }
}

/// Means of squares of four.
fn average(upper: &[f32], lower: &[f32], mean: &mut [f32]) {
    let (upper, lower) = (upper.as_chunks::<2>().0, lower.as_chunks::<2>().0);
    for ((mean, upper), lower) in mean.iter_mut().zip(upper).zip(lower) {
        *mean = (upper[0] + upper[1] + lower[0] + lower[1]) * 0.25;
    }
}

/// Of Y, U and V.
fn weights(colour: Colour) -> [Weights; 3] {
    let (kr, kb) = match colour.space {
        ColourSpace::Bt601 => (0.299, 0.114),
        ColourSpace::Bt709 => (0.2126, 0.0722),
        ColourSpace::Bt2020 => (0.2627, 0.0593),
    };
    let kg = 1.0 - kr - kb;
    let (black, y_steps, uv_steps) =
        if colour.is_full_range { (0.0, 1023.0, 1023.0) } else { (64.0, 876.0, 896.0) };
    let weights = |parts: [f64; 3], steps: f64, floor: f32| Weights {
        parts: parts.map(|part| (part * steps / 255.0) as f32),
        floor,
    };
    let (of_u, of_v) = (2.0 - 2.0 * kb, 2.0 - 2.0 * kr);
    [
        weights([kb, kg, kr], y_steps, black),
        weights([0.5, -kg / of_u, -kr / of_u], uv_steps, 512.0),
        weights([-kb / of_v, -kg / of_v, 0.5], uv_steps, 512.0),
    ]
}

/// The bytes of `count` samples of 16 bits.
fn row(plane: &mut Plane, x: usize, y: usize, count: usize) -> &mut [u8] {
    &mut plane.bytes[y * plane.stride + 2 * x..][..2 * count]
}

fn put(plane: &mut Plane, x: usize, y: usize, samples: &[u16], shift: u32) {
    let bytes = row(plane, x, y, samples.len()).chunks_exact_mut(2);
    for (bytes, sample) in bytes.zip(samples) {
        bytes.copy_from_slice(&(sample << shift).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUTS: [Layout; 4] = [Layout::I420, Layout::I420P10, Layout::Nv12, Layout::P010];
    const SPACES: [ColourSpace; 3] = [ColourSpace::Bt601, ColourSpace::Bt709, ColourSpace::Bt2020];

    /// Y, U and V as the recommendations define them, in steps of `depth` bits.
    fn exact([blue, green, red]: [f64; 3], colour: Colour, depth: u32) -> [f64; 3] {
        let (kr, kb) = match colour.space {
            ColourSpace::Bt601 => (0.299, 0.114),
            ColourSpace::Bt709 => (0.2126, 0.0722),
            ColourSpace::Bt2020 => (0.2627, 0.0593),
        };
        let y = kr * red + (1.0 - kr - kb) * green + kb * blue;
        let (u, v) = ((blue - y) / (2.0 - 2.0 * kb), (red - y) / (2.0 - 2.0 * kr));
        let step = f64::from(1 << (depth - 8));
        let most = f64::from((1 << depth) - 1);
        let (scale, floor, swing) = match colour.is_full_range {
            true => (most, 0.0, most),
            false => (219.0 * step, 16.0 * step, 224.0 * step),
        };
        let middle = 128.0 * step;
        [floor + y / 255.0 * scale, middle + u / 255.0 * swing, middle + v / 255.0 * swing]
    }

    /// Sample `index` of a row, in steps of its depth.
    fn sample(plane: &Plane, layout: Layout, index: usize, y: usize) -> f64 {
        let at = y * plane.stride + index * layout.sample_len();
        let wide = || u16::from_le_bytes([plane.bytes[at], plane.bytes[at + 1]]);
        f64::from(match layout {
            Layout::I420 | Layout::Nv12 => u16::from(plane.bytes[at]),
            Layout::I420P10 => wide(),
            Layout::P010 => wide() >> 6,
        })
    }

    fn yuv(planes: &Planes, x: usize, y: usize) -> [f64; 3] {
        let layout = planes.layout();
        let luma = sample(&planes.planes()[0], layout, x, y);
        match planes.planes() {
            [_, u, v] => {
                let colour = |plane| sample(plane, layout, x / 2, y / 2);
                [luma, colour(u), colour(v)]
            }
            [_, uv] => {
                let colour = |part| sample(uv, layout, x / 2 * 2 + part, y / 2);
                [luma, colour(0), colour(1)]
            }
            _ => unreachable!(),
        }
    }

    /// Every pixel of a picture whose 2 by 2 blocks have one colour each, and its X bytes any value.
    fn check(layout: Layout, colour: Colour, width: usize, height: usize, gap: usize) {
        let pixel = |x: usize, y: usize| -> [u8; 3] {
            let block = y / 2 * width + x / 2;
            [0, 1, 2].map(|part| match block % 3 {
                0 => (block * (37 + 30 * part)) as u8,
                _ if block >> part & 4 == 0 => 0,
                _ => 255,
            })
        };
        let stride = width * PIXEL_LEN + gap;
        let mut bytes = vec![0xA5; stride * height];
        for y in 0..height {
            for x in 0..width {
                bytes[y * stride + x * PIXEL_LEN..][..3].copy_from_slice(&pixel(x, y));
            }
        }
        let mut planes = Planes::new(layout, width, height);

        let picture = Picture { bytes: &bytes, stride, width, height };
        Converter::new(layout, colour).convert(&picture, &mut planes);

        let depth = if layout.sample_len() == 2 { 10 } else { 8 };
        for y in 0..height {
            for x in 0..width {
                let expected = exact(pixel(x, y).map(f64::from), colour, depth);
                let got = yuv(&planes, x, y);
                let is_near = got.iter().zip(&expected).all(|(got, it)| (got - it).abs() <= 1.5);
                assert!(
                    is_near,
                    "{layout:?} {colour:?} {width} {x},{y}: {got:?}, not {expected:?}"
                );
            }
        }
    }

    #[test]
    fn colours_are_those_of_the_recommendations_in_every_layout() {
        for layout in LAYOUTS {
            for space in SPACES {
                for is_full_range in [false, true] {
                    check(layout, Colour { space, is_full_range }, 130, 6, 0);
                }
            }
        }
    }

    #[test]
    fn rows_of_any_length_and_with_any_gap_are_converted() {
        let colour = Colour { space: ColourSpace::Bt601, is_full_range: false };
        for layout in LAYOUTS {
            for (width, height, gap) in [
                (2, 2, 0),
                (2, 2, 1),
                (14, 4, 3),
                (66, 2, 64),
                (258, 4, 7),
                (514, 2, 12),
                (1366, 4, 0),
            ] {
                check(layout, colour, width, height, gap);
            }
        }
    }

    #[test]
    fn a_colour_is_the_mean_of_its_four_pixels() {
        let colour = Colour { space: ColourSpace::Bt709, is_full_range: false };
        let block = [[0, 0, 200, 0], [200, 100, 0, 0], [0, 100, 200, 0], [200, 0, 0, 0]];
        let bytes: Vec<u8> = block.concat();
        for layout in LAYOUTS {
            let mut planes = Planes::new(layout, 2, 2);

            let picture = Picture { bytes: &bytes, stride: 8, width: 2, height: 2 };
            Converter::new(layout, colour).convert(&picture, &mut planes);

            let depth = if layout.sample_len() == 2 { 10 } else { 8 };
            let [_, u, v] = exact([100.0, 50.0, 100.0], colour, depth);
            let [_, got_u, got_v] = yuv(&planes, 1, 1);
            let is_near = (got_u - u).abs() <= 1.5 && (got_v - v).abs() <= 1.5;
            assert!(is_near, "{layout:?}: {got_u} {got_v}, not {u} {v}");
        }
    }
}
