//! The transform between the values of a polynomial and its coefficients, in n log n steps.
//!
//! It is the additive transform of Lin, Chung and Han (Novel polynomial basis and its application to
//! Reed-Solomon erasure codes, FOCS 2014), in Cantor's basis (`field`), in which it is simplest.
//!
//! # The basis of polynomials
//!
//! Let si be the polynomial of degree 2^i that vanishes on the words below 2^i: s0(x) = x, and
//! s(i+1)(x) = si(x)^2 + si(x). It is linear over the two-element field, and its value at word w is
//! the word w >> i; at word 2^i it is 1, and its derivative is 1. Polynomials of degree below 2^n are
//! written as sums of cj Xj with Xj the product of the si for which bit i of j is set. Xj has degree
//! j, so that is a basis.
//!
//! # A layer
//!
//! Such a polynomial of degree below 2^(i+1) is f0(x) + si(x) f1(x), with f0 from the lower half of
//! its coefficients and f1 from the upper one. Take its values at the 2^(i+1) words from w on, a
//! multiple of that number. In the first half si has one value, t = w >> i; in the second half one
//! as well, t + 1. So the values are
//!
//! - in the first half those of f0 + t f1 there,
//! - in the second half those of f0 + t f1 + f1 there,
//!
//! and f0 + t f1 and f0 + t f1 + f1 are polynomials of degree below 2^i whose coefficients are sums
//! of the two halves. Coefficient by coefficient that is the butterfly: x += t y, then y += x. Then
//! both halves are transformed alike; n layers of 2^(n-1) butterflies do all. The inverse undoes
//! them in the opposite order: y += x, then x += t y.
//!
//! # The code
//!
//! Parity shard j is the value at word j, data shard i the value at word m + i, with m the number of
//! parity shards rounded up to a power of two; at all other words of the field the value is 0. (The
//! parity shards up to m that nobody asked for are no exception: they are not sent.) A block is the
//! values of a polynomial of degree below 2^16 - m, which leaves m values to be determined by the
//! others, and any m values.
//!
//! So the inverse transform of all values has 0 for its last m coefficients. Those are easy to
//! follow: the layers above log m compute them by y += x only, and they come out as the sum of the
//! inverse transforms of the runs of m values, each on its own. Hence the inverse transform of the
//! parity is the sum of those of the runs of data, and the parity is the transform of that sum to
//! the words from 0 on. That is m log m steps for each run, and the runs may come one by one.
//! Values that are 0 contribute nothing, so a short block costs what it holds.
//!
//! This is the code that Leopard (C. Taylor) calls its high rate one, in any proportion of data and
//! parity.
//!
//! # Memory
//!
//! Passes take two to four layers at once (`kernels`). The first one reads the shards where they
//! are, the last one writes them. Between, halves are finished one after the other, so that what
//! has just been written is read again soon.

#![forbid(unsafe_code)]

use std::array;
use std::ops::Range;

use crate::code::Code;
use crate::field::Logarithms;
use crate::kernels::{Kernel, ROW_UNIT};

/// Bytes of data that come fast enough unasked: those that fit the caches of a core.
const NEAR_LEN: usize = 2 << 20;

/// Calls a function of R values for 2^layers of them.
macro_rules! by_layers {
    ($layers:expr, $kernel:ident.$function:ident::<R>($($argument:expr),*)) => {
        match $layers {
            4 => $kernel.$function::<16>($($argument),*),
            layers => by_few_layers!(layers, $kernel.$function::<R>($($argument),*)),
        }
    };
}

/// The same for the passes between shards and rows, which are never of so many values.
macro_rules! by_few_layers {
    ($layers:expr, $kernel:ident.$function:ident::<R>($($argument:expr),*)) => {
        match $layers {
            0 => $kernel.$function::<1>($($argument),*),
            1 => $kernel.$function::<2>($($argument),*),
            2 => $kernel.$function::<4>($($argument),*),
            _ => $kernel.$function::<8>($($argument),*),
        }
    };
}

/// What the transforms of one tile have in common.
#[derive(Clone, Copy)]
pub(crate) struct Transform {
    pub(crate) kernel: Kernel,
    /// Bytes of a row, a multiple of `ROW_UNIT`.
    pub(crate) row: usize,
    logarithms: &'static Logarithms,
    /// Whether shards are asked for before they are needed.
    is_far: bool,
}

impl Transform {
    /// For tiles of this many bytes of each of the data shards of a code, which are `len` bytes
    /// long.
    pub(crate) fn new(
        code: &Code,
        logarithms: &'static Logarithms,
        tile: usize,
        len: usize,
    ) -> Transform {
        Transform {
            kernel: code.kernel(),
            row: tile.next_multiple_of(ROW_UNIT),
            logarithms,
            is_far: code.data_count() * len > NEAR_LEN,
        }
    }

    /// The same with rows of so many bytes, a multiple of `ROW_UNIT`.
    pub(crate) fn with_row(self, row: usize) -> Transform {
        Transform { row, ..self }
    }

    /// Bytes of 2^log rows.
    pub(crate) fn len(self, log: u32) -> usize {
        self.offset(1 << log)
    }

    /// Where a row begins. There is a gap behind every 64th row and one more behind every 4096th,
    /// so that rows that far apart do not compete for the same lines of the first-level cache.
    pub(crate) fn offset(self, row: usize) -> usize {
        row * self.row + (row >> 6) * ROW_UNIT + (row >> 12) * ROW_UNIT
    }

    /// A row.
    pub(crate) fn row(self, rows: &[u8], row: usize) -> &[u8] {
        &rows[self.offset(row)..][..self.row]
    }

    /// A row, to be written.
    pub(crate) fn row_mut(self, rows: &mut [u8], row: usize) -> &mut [u8] {
        &mut rows[self.offset(row)..][..self.row]
    }

    /// Part `index` of rows that are cut in parts of 2^log.
    fn part(self, rows: &mut [u8], log: u32, index: usize) -> &mut [u8] {
        &mut rows[self.offset(index << log)..][..self.len_inside(log)]
    }

    /// Bytes of 2^log rows without the gap behind them.
    fn len_inside(self, log: u32) -> usize {
        self.offset((1 << log) - 1) + self.row
    }

    fn parts<const R: usize>(self, rows: &[u8], log: u32) -> [&[u8]; R] {
        array::from_fn(|index| &rows[self.offset(index << log)..][..self.len_inside(log)])
    }

    fn parts_mut<const R: usize>(self, mut rows: &mut [u8], log: u32) -> [&mut [u8]; R] {
        if log == 0 {
            // At most as many as have no gap behind them.
            let mut rows = rows.chunks_exact_mut(self.row);
            return array::from_fn(|_| rows.next().expect("R rows"));
        }
        let mut at = 0;
        array::from_fn(|index| {
            let start = self.offset(index << log);
            let (_, behind) = std::mem::take(&mut rows).split_at_mut(start - at);
            let (part, behind) = behind.split_at_mut(self.len_inside(log));
            (at, rows) = (start + part.len(), behind);
            part
        })
    }

    /// The inverse transform of the values at the 2^log places from `place` on. `shard` gives the
    /// value at a place, and an empty slice where there is none, as nowhere but in `present`.
    pub(crate) fn load<'a>(
        self,
        rows: &mut [u8],
        log: u32,
        place: usize,
        present: &Range<usize>,
        shard: &impl Fn(usize) -> &'a [u8],
    ) {
        if place >= present.end || place + (1 << log) <= present.start {
            rows.fill(0);
            return;
        }
        let (layers, below) = self.split(log, place);
        let kernel = self.kernel;
        if below == 0 {
            by_few_layers!(
                layers,
                kernel.load::<R>(
                    sources(place, shard),
                    self.ahead(place + (1 << log), shard),
                    self.parts_mut(rows, below),
                    place
                )
            );
            return;
        }
        for index in 0..1 << layers {
            let rows = self.part(rows, below, index);
            self.load(rows, below, place + (index << below), present, shard);
        }
        by_layers!(layers, kernel.inverse::<R>(self.parts_mut(rows, below), place >> below));
    }

    /// As `load`, but the result is multiplied by `factor` and added to `sums`; `rows` become
    /// anything.
    #[expect(clippy::too_many_arguments, reason = "as `load`, and two more")]
    pub(crate) fn fold<'a>(
        self,
        rows: &mut [u8],
        sums: &mut [u8],
        log: u32,
        place: usize,
        present: &Range<usize>,
        factor: Option<u16>,
        shard: &impl Fn(usize) -> &'a [u8],
    ) {
        let few = present.end.saturating_sub(place).next_power_of_two().ilog2();
        if few + 2 <= log {
            self.load(rows, few, place, present, shard);
            self.spread(rows, sums, few..log, place, factor);
            return;
        }
        let (layers, below) = match factor {
            None => self.split(log, place),
            Some(_) => self.split_narrow(log),
        };
        let kernel = self.kernel;
        if below == 0 {
            let shards = place;
            by_few_layers!(
                layers,
                kernel.load_fold::<R>(
                    sources(shards, shard),
                    self.ahead(shards + (1 << log), shard),
                    self.parts_mut(sums, below),
                    place,
                    factor
                )
            );
            return;
        }
        for index in 0..1 << layers {
            let rows = self.part(rows, below, index);
            self.load(rows, below, place + (index << below), present, shard);
        }
        by_layers!(
            layers,
            kernel.fold::<R>(
                self.parts(rows, below),
                self.parts_mut(sums, below),
                place >> below,
                factor
            )
        );
    }

    /// The upper layers of an inverse transform where there is nothing but in the first part, added
    /// to `sums`. Every layer makes of (x, 0) the pair ((1 + t) x, x).
    fn spread(
        self,
        rows: &mut [u8],
        sums: &mut [u8],
        layers: Range<u32>,
        place: usize,
        factor: Option<u16>,
    ) {
        let below = layers.start;
        let start = self.logarithms.log(factor.map_or(1, usize::from));
        let factor = |index: usize| {
            let log = layers
                .clone()
                .filter(|layer| index >> (layer - below) & 1 == 0)
                .map(|layer| self.logarithms.log(1 ^ (place >> layer)));
            self.logarithms.power(start + log.sum::<u32>())
        };
        let rows = &rows[..self.len_inside(below)];
        for first in (0..1 << layers.len()).step_by(4) {
            let sums = self.parts_mut::<4>(&mut sums[self.offset(first << below)..], below);
            let factors = array::from_fn(|index| factor(first + index));
            self.kernel.combine_rows::<4>(&[factors], &[rows], sums);
        }
    }

    /// The inverse transform of the rows of the 2^log places from `place` on.
    pub(crate) fn inverse(self, rows: &mut [u8], log: u32, place: usize) {
        let (layers, below) = self.split(log, place);
        let kernel = self.kernel;
        if below > 0 {
            for index in 0..1 << layers {
                let rows = self.part(rows, below, index);
                self.inverse(rows, below, place + (index << below));
            }
        }
        by_layers!(layers, kernel.inverse::<R>(self.parts_mut(rows, below), place >> below));
    }

    /// The transform to the 2^log places from `place` on, as far as they are wanted.
    pub(crate) fn forward(
        self,
        rows: &mut [u8],
        log: u32,
        place: usize,
        is_wanted: &impl Fn(Range<usize>) -> bool,
    ) {
        let (layers, below) = self.split(log, place);
        let kernel = self.kernel;
        by_layers!(layers, kernel.forward::<R>(self.parts_mut(rows, below), place >> below));
        if below > 0 {
            for index in 0..1 << layers {
                let rows = self.part(rows, below, index);
                let place = place + (index << below);
                if is_wanted(place..place + (1 << below)) {
                    self.forward(rows, below, place, is_wanted);
                }
            }
        }
    }

    /// The transform to the places from 0 on. The first of them are those of `shards`, and of these
    /// `range` is written; the others, up to 2^log places, are not wanted.
    pub(crate) fn store<P: AsMut<[u8]>>(
        self,
        rows: &mut [u8],
        log: u32,
        range: &Range<usize>,
        shards: &mut [P],
    ) {
        self.store_from(rows, log, 0, range, shards);
    }

    fn store_from<P: AsMut<[u8]>>(
        self,
        rows: &mut [u8],
        log: u32,
        place: usize,
        range: &Range<usize>,
        shards: &mut [P],
    ) {
        if place >= shards.len() {
            return;
        }
        let (layers, below) = self.split(log, place);
        let kernel = self.kernel;
        if below == 0 {
            let shards = &mut shards[place..];
            by_few_layers!(
                layers,
                kernel.store::<R>(self.parts(rows, below), sinks(shards, range), place)
            );
            return;
        }
        by_layers!(layers, kernel.forward::<R>(self.parts_mut(rows, below), place >> below));
        for index in 0..1 << layers {
            let rows = self.part(rows, below, index);
            self.store_from(rows, below, place + (index << below), range, shards);
        }
    }

    /// What is needed next, if it is to be asked for.
    fn ahead<'a, const R: usize>(
        self,
        place: usize,
        shard: &impl Fn(usize) -> &'a [u8],
    ) -> [&'a [u8]; R] {
        if self.is_far { sources(place, shard) } else { [&[]; R] }
    }

    /// The layers of the pass that pairs the most distant of 2^log values, and the layers below.
    /// That pass takes one layer more than others could, if this spares a pass.
    fn split(self, log: u32, place: usize) -> (u32, u32) {
        let narrow = self.kernel.layers_max();
        let wide = self.kernel.small_layers_max();
        let is_sparing = log > wide && (1..=wide - narrow).contains(&(log % narrow));
        if is_sparing && (place >> (log - wide)) + (1 << wide) <= 256 {
            (wide, log - wide)
        } else {
            self.split_narrow(log)
        }
    }

    /// As `split`, with as many layers in every pass.
    fn split_narrow(self, log: u32) -> (u32, u32) {
        let passes = log.div_ceil(self.kernel.layers_max()).max(1);
        let layers = log / passes;
        (layers, log - layers)
    }
}

fn sources<'a, const R: usize>(place: usize, shard: &impl Fn(usize) -> &'a [u8]) -> [&'a [u8]; R] {
    array::from_fn(|index| shard(place + index))
}

/// The ranges of the first shards, and nothing where there are fewer.
fn sinks<'a, P: AsMut<[u8]>, const R: usize>(
    shards: &'a mut [P],
    range: &Range<usize>,
) -> [&'a mut [u8]; R] {
    let mut shards = shards.iter_mut();
    array::from_fn(|_| match shards.next() {
        Some(shard) => &mut shard.as_mut()[range.clone()],
        None => &mut [],
    })
}
