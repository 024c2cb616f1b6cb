//! The transform between the values of a polynomial and its coefficients, in n log n steps.
//!
//! TEXT

#![forbid(unsafe_code)]

use std::array;
use std::ops::Range;

use crate::kernels::{Kernel, ROW_UNIT};

/// Calls a function of R values for 2^layers of them.
macro_rules! by_layers {
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
}

impl Transform {
    /// For tiles of this many bytes of a shard.
    pub(crate) fn new(kernel: Kernel, tile: usize) -> Transform {
        Transform { kernel, row: tile.next_multiple_of(ROW_UNIT) }
    }

    /// Bytes of 2^log rows.
    pub(crate) fn len(self, log: u32) -> usize {
        self.row << log
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
        let (layers, below) = self.split(log);
        let kernel = self.kernel;
        if below == 0 {
            by_layers!(layers, kernel.load::<R>(sources(place, shard), rows_mut(rows), place));
            return;
        }
        for (index, rows) in rows.chunks_exact_mut(self.len(below)).enumerate() {
            self.load(rows, below, place + (index << below), present, shard);
        }
        by_layers!(layers, kernel.inverse::<R>(rows_mut(rows), place >> below));
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
        let (layers, below) = self.split(log);
        let kernel = self.kernel;
        if below == 0 {
            let shards = place;
            by_layers!(
                layers,
                kernel.load_fold::<R>(sources(shards, shard), rows_mut(sums), place, factor)
            );
            return;
        }
        for (index, rows) in rows.chunks_exact_mut(self.len(below)).enumerate() {
            self.load(rows, below, place + (index << below), present, shard);
        }
        by_layers!(
            layers,
            kernel.fold::<R>(rows_ref(rows), rows_mut(sums), place >> below, factor)
        );
    }

    /// The inverse transform of the rows of the 2^log places from `place` on.
    pub(crate) fn inverse(self, rows: &mut [u8], log: u32, place: usize) {
        let (layers, below) = self.split(log);
        let kernel = self.kernel;
        if below > 0 {
            for (index, rows) in rows.chunks_exact_mut(self.len(below)).enumerate() {
                self.inverse(rows, below, place + (index << below));
            }
        }
        by_layers!(layers, kernel.inverse::<R>(rows_mut(rows), place >> below));
    }

    /// The transform to the 2^log places from `place` on, as far as they are wanted.
    pub(crate) fn forward(
        self,
        rows: &mut [u8],
        log: u32,
        place: usize,
        is_wanted: &impl Fn(Range<usize>) -> bool,
    ) {
        let (layers, below) = self.split(log);
        let kernel = self.kernel;
        by_layers!(layers, kernel.forward::<R>(rows_mut(rows), place >> below));
        if below > 0 {
            for (index, rows) in rows.chunks_exact_mut(self.len(below)).enumerate() {
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
        let (layers, below) = self.split(log);
        let kernel = self.kernel;
        if below == 0 {
            let shards = &mut shards[place..];
            by_layers!(layers, kernel.store::<R>(rows_ref(rows), sinks(shards, range), place));
            return;
        }
        by_layers!(layers, kernel.forward::<R>(rows_mut(rows), place >> below));
        for (index, rows) in rows.chunks_exact_mut(self.len(below)).enumerate() {
            self.store_from(rows, below, place + (index << below), range, shards);
        }
    }

    /// The layers of the pass that pairs the most distant of 2^log values, and the layers below.
    fn split(self, log: u32) -> (u32, u32) {
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

fn rows_ref<const R: usize>(rows: &[u8]) -> [&[u8]; R] {
    let mut parts = rows.chunks_exact(rows.len() / R);
    array::from_fn(|_| parts.next().expect("R parts"))
}

fn rows_mut<const R: usize>(rows: &mut [u8]) -> [&mut [u8]; R] {
    let mut parts = rows.chunks_exact_mut(rows.len() / R);
    array::from_fn(|_| parts.next().expect("R parts"))
}
