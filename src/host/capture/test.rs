//! `Capture test`: moving pictures without a screen, for tests, and for trying a network.
//!
//! A canvas larger than the picture is painted once: clouds, and pages of something like text. A
//! window pans over it, and what is in the window is the picture, so that no frame copies it. What
//! moves by itself (shapes, a patch of noise) and what stays in its place (the barcode and the card)
//! is drawn into the canvas for one frame and taken out again before the next. A frame depends on its
//! number and time alone.

#![forbid(unsafe_code)]

use super::barcode::{self, Pen, Reading};
use super::{PIXEL_LEN, Picture, card};

/// How far the window pans, pixels across and down.
const PAN: (usize, usize) = (256, 128);
/// Pixels a second that the window pans, across and down.
const PAN_SPEED: (usize, usize) = (120, 60);
/// Both sides of the painting that covers the canvas like tiles; a power of two.
const TILE_LEN: usize = 512;
/// Bytes that rows of the canvas begin at multiples of.
const ROW_ALIGNMENT: usize = 64;

/// The source. Its memory is taken once.
#[derive(Debug)]
pub struct TestSource {
    width: usize,
    height: usize,
    refresh_mhz: u32,
    /// Rows of BGRx, and one row more, so that the last row of a window is as long as its stride.
    canvas: Vec<u8>,
    stride: usize,
    /// In the order in which they are drawn.
    sprites: Vec<Sprite>,
    /// Where in the canvas the picture begins, once one is drawn.
    window: Option<usize>,
}

/// Something drawn over the canvas.
#[derive(Debug)]
struct Sprite {
    kind: Kind,
    width: usize,
    height: usize,
    /// Rows of BGRx without a gap, at least `height` of them.
    pixels: Vec<u8>,
    /// What the canvas has where the sprite is.
    under: Vec<u8>,
    /// Where in the canvas it is drawn, if it is.
    offset: Option<usize>,
}

#[derive(Debug)]
enum Kind {
    /// At the top left.
    Barcode(Pen),
    /// To the right of the barcode.
    Card,
    /// At the bottom right, and other rows of it in every frame.
    Noise,
    /// To and fro, pixels a second across and down.
    Shape { speed: (usize, usize) },
}

impl TestSource {
    /// Paints the canvas for pictures of `width` times `height` pixels, both even and at least 64.
    /// Things move as fast whatever the refresh, in thousandths of a hertz.
    pub fn new(width: usize, height: usize, refresh_mhz: u32) -> TestSource {
        let (canvas_width, canvas_height) = (width + PAN.0, height + PAN.1);
        let stride = (canvas_width * PIXEL_LEN).next_multiple_of(ROW_ALIGNMENT);
        let mut canvas = vec![0; stride * (canvas_height + 1)];
        let tile = Tile::paint();
        for (row, y) in canvas.chunks_exact_mut(stride).zip(0..canvas_height) {
            let painted = &tile.pixels[y % TILE_LEN * Tile::ROW_LEN..][..Tile::ROW_LEN];
            for piece in row.chunks_mut(Tile::ROW_LEN) {
                piece.copy_from_slice(&painted[..piece.len()]);
            }
        }
        TestSource {
            width,
            height,
            refresh_mhz: refresh_mhz.max(1),
            canvas,
            stride,
            sprites: sprites(width, height),
            window: None,
        }
    }

    /// Draws the picture of source frame `number`, captured at `time_us` of the host's clock, and
    /// lends it.
    pub fn draw(&mut self, number: u32, time_us: u64) -> Picture<'_> {
        for sprite in self.sprites.iter_mut().rev() {
            sprite.take_out(&mut self.canvas, self.stride);
        }
        let travel = |speed: usize, range: usize| travel(number, self.refresh_mhz, speed, range);
        let (x, y) = (travel(PAN_SPEED.0, PAN.0), travel(PAN_SPEED.1, PAN.1));
        let window = y * self.stride + x * PIXEL_LEN;
        for sprite in &mut self.sprites {
            let room = (self.width - sprite.width, self.height - sprite.height);
            let mut first_row = 0;
            let (x, y) = match &sprite.kind {
                Kind::Barcode(pen) => {
                    pen.draw(Reading { number, time_us }, &mut sprite.pixels);
                    (0, 0)
                }
                Kind::Card => (sprite.width, 0),
                Kind::Noise => {
                    // Every frame begins some rows further, and few frames at the same.
                    first_row = number as usize * 37 % sprite.height;
                    room
                }
                Kind::Shape { speed } => (travel(speed.0, room.0), travel(speed.1, room.1)),
            };
            let offset = window + y * self.stride + x * PIXEL_LEN;
            sprite.put_in(&mut self.canvas, self.stride, offset, first_row);
        }
        self.window = Some(window);
        self.picture(window)
    }

    /// The picture that was drawn last.
    pub fn last(&self) -> Option<Picture<'_>> {
        self.window.map(|window| self.picture(window))
    }

    fn picture(&self, window: usize) -> Picture<'_> {
        Picture {
            bytes: &self.canvas[window..][..self.stride * self.height],
            stride: self.stride,
            width: self.width,
            height: self.height,
        }
    }
}

impl Sprite {
    fn new(kind: Kind, width: usize, height: usize, pixels: Vec<u8>) -> Sprite {
        let under = vec![0; width * height * PIXEL_LEN];
        Sprite { kind, width, height, pixels, under, offset: None }
    }

    fn put_in(&mut self, canvas: &mut [u8], stride: usize, offset: usize, first_row: usize) {
        let row_len = self.width * PIXEL_LEN;
        let under = self.under.chunks_exact_mut(row_len);
        let pixels = self.pixels[first_row * row_len..].chunks_exact(row_len);
        for ((under, pixels), y) in under.zip(pixels).zip(0..) {
            let row = &mut canvas[offset + y * stride..][..row_len];
            under.copy_from_slice(row);
            row.copy_from_slice(pixels);
        }
        self.offset = Some(offset);
    }

    fn take_out(&mut self, canvas: &mut [u8], stride: usize) {
        let Some(offset) = self.offset.take() else {
            return;
        };
        let row_len = self.width * PIXEL_LEN;
        for (under, y) in self.under.chunks_exact(row_len).zip(0..) {
            canvas[offset + y * stride..][..row_len].copy_from_slice(under);
        }
    }
}

/// How far something is by this frame that goes to and fro over `range` pixels.
fn travel(number: u32, refresh_mhz: u32, speed: usize, range: usize) -> usize {
    let (range, speed) = (range as u64, speed as u64);
    let distance = u64::from(number) * speed * 1000 / u64::from(refresh_mhz);
    match distance.checked_rem(2 * range) {
        None => 0,
        Some(distance) => distance.min(2 * range - distance) as usize,
    }
}

fn sprites(width: usize, height: usize) -> Vec<Sprite> {
    let mut random = Random::new();
    let side = width.min(height) / 6;
    let (noise_width, noise_height) = (width / 5, height / 5);
    // Twice as many rows as are shown, to begin anywhere in.
    let noise = (0..noise_width * noise_height * 2).flat_map(|_| {
        let level = 96 + random.below(24) as u8;
        [level, level, level, 0]
    });
    let noise = Sprite::new(Kind::Noise, noise_width, noise_height, noise.collect());
    let shape = |speed, width, height, colour| {
        Sprite::new(Kind::Shape { speed }, width, height, shape(width, height, colour))
    };
    let mut sprites = vec![
        noise,
        shape((480, 270), side, side, [40, 90, 220]),
        shape((390, 450), side * 2, side / 2, [60, 200, 90]),
        shape((270, 570), side / 2, side, [220, 160, 60]),
    ];
    if let Some(cell_len) = barcode::cell_len(width, height) {
        let size = (barcode::COLUMN_COUNT * cell_len, barcode::ROW_COUNT * cell_len);
        let blank = vec![0; size.0 * size.1 * PIXEL_LEN];
        sprites.push(Sprite::new(Kind::Barcode(Pen::new(cell_len)), size.0, size.1, blank));
        sprites.push(Sprite::new(Kind::Card, size.0, size.1, card::pixels(cell_len)));
    }
    sprites
}

/// A rectangle that shades from one corner to the other and has a bright edge.
fn shape(width: usize, height: usize, [blue, green, red]: [u8; 3]) -> Vec<u8> {
    let pixel = |index: usize| {
        let (x, y) = (index % width, index / width);
        let is_edge = x < 2 || y < 2 || x + 2 >= width || y + 2 >= height;
        let shade = |level: u8| {
            let full = (width + height) * 2;
            (usize::from(level) * (full - x - y) / full) as u8
        };
        if is_edge { [235, 235, 235, 0] } else { [shade(blue), shade(green), shade(red), 0] }
    };
    (0..width * height).flat_map(pixel).collect()
}

/// What the canvas is covered with. Its edges fit one another.
struct Tile {
    pixels: Vec<u8>,
}

impl Tile {
    const ROW_LEN: usize = TILE_LEN * PIXEL_LEN;

    fn paint() -> Tile {
        let mut random = Random::new();
        let clouds = clouds(&mut random);
        let at = |x: usize, y: usize| i32::from(clouds[y % TILE_LEN * TILE_LEN + x % TILE_LEN]);
        let mut pixels = Vec::with_capacity(TILE_LEN * Tile::ROW_LEN);
        for y in 0..TILE_LEN {
            for x in 0..TILE_LEN {
                let light = 40 + at(x, y) * 11 / 16;
                let (warm, cold) = (at(x + 171, y + 85) - 128, at(x + 85, y + 171) - 128);
                let level = |level: i32| level.clamp(0, 255) as u8;
                let red = level(light + warm / 3);
                let green = level(light - warm / 6 - cold / 6);
                let blue = level(light + cold / 3);
                pixels.extend_from_slice(&[blue, green, red, 0]);
            }
        }
        let mut tile = Tile { pixels };
        for (x, y) in [(120, 60), (330, 24), (40, 290), (300, 350)] {
            tile.write(&mut random, x, y);
        }
        tile
    }

    /// A page of 136 by 120 pixels with lines of words, dark on light.
    fn write(&mut self, random: &mut Random, left: usize, top: usize) {
        const PAGE: (usize, usize) = (136, 120);
        for y in 0..PAGE.1 {
            let row = &mut self.pixels[(top + y) * Tile::ROW_LEN + left * PIXEL_LEN..];
            row[..PAGE.0 * PIXEL_LEN].fill(204);
        }
        for line in (8..PAGE.1 - 12).step_by(12) {
            for letter in (8..PAGE.0 - 12).step_by(6) {
                // A letter is 4 by 7 pixels, any of them; every fifth or so is a space.
                let bits = if random.below(5) == 0 { 0 } else { random.next() };
                for bit in (0..28).filter(|bit| bits >> bit & 1 == 1) {
                    let (x, y) = (left + letter + bit % 4, top + line + bit / 4);
                    self.pixels[y * Tile::ROW_LEN + x * PIXEL_LEN..][..PIXEL_LEN].fill(32);
                }
            }
        }
    }
}

/// Levels as rough at every scale as photographs are: each point is the mean of the four around it
/// that were there before, and a bit of chance that is smaller the nearer they are.
fn clouds(random: &mut Random) -> Vec<u8> {
    let mut levels = vec![128; TILE_LEN * TILE_LEN];
    let index = |x: usize, y: usize| y % TILE_LEN * TILE_LEN + x % TILE_LEN;
    let mut step = TILE_LEN / 4;
    for y in (0..TILE_LEN).step_by(step) {
        for x in (0..TILE_LEN).step_by(step) {
            levels[index(x, y)] = random.below(256) as u8;
        }
    }
    while step > 1 {
        let half = step / 2;
        let chance = (step as u32 * 3 / 2).min(96) + 8;
        let mut fill = |x: usize, y: usize, around: [(usize, usize); 4]| {
            let sum: u32 = around.iter().map(|(x, y)| u32::from(levels[index(*x, *y)])).sum();
            let level = (sum / 4 + random.below(chance)).saturating_sub(chance / 2);
            levels[index(x, y)] = level.min(255) as u8;
        };
        for y in (0..TILE_LEN).step_by(step) {
            for x in (0..TILE_LEN).step_by(step) {
                let corners = [(x, y), (x + step, y), (x, y + step), (x + step, y + step)];
                fill(x + half, y + half, corners);
            }
        }
        for y in (0..TILE_LEN).step_by(half) {
            let first = if (y / half).is_multiple_of(2) { half } else { 0 };
            for x in (first..TILE_LEN).step_by(step) {
                // A side is added lest a neighbour be left of the edge.
                let (left, above) = (x + TILE_LEN - half, y + TILE_LEN - half);
                fill(x, y, [(left, y), (x + half, y), (x, above), (x, y + half)]);
            }
        }
        step = half;
    }
    levels
}

/// A xorshift generator: the same numbers every time.
struct Random(u32);

impl Random {
    fn new() -> Random {
        Random(0x2545_F491)
    }

    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn below(&mut self, end: u32) -> u32 {
        ((u64::from(self.next()) * u64::from(end)) >> 32) as u32
    }
}
