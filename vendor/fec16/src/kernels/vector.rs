//! The loops around the instructions, which are the same for all back ends.
//!
//! In registers, a value of the transform is a pair of vectors: as many lower planes as a vector
//! has bytes, and the upper planes of the same words. R values are taken through log2 R layers
//! between a load and a store, so that a byte is loaded and stored once for two or three layers.
//!
//! The *factor* of a butterfly is a word t (`transform` says which). If t is below 256 it lies in
//! the field of 256, and a product by it is a product of either plane; else it takes three products
//! and the sums around them (`field`). The words of lower layers are the larger ones, and those of
//! the first are the largest, so one look at them decides for all.

use super::SHARD_UNIT;

// What follows is text and no functions, since functions of this size are called and not inlined,
// and their arguments go through memory then.

/// The factors of the layers of R <= 8 values: those of the pairs 1, 2, 4 apart.
macro_rules! factors {
    ($place:expr, $R:expr) => {{
        let mut factors = [[factor(0); 4]; 3];
        for layer in 0..$R.ilog2() as usize {
            for block in 0..$R >> (layer + 1) {
                // Words are below 65,536.
                factors[layer][block] = factor((($place >> layer) + 2 * block) as u16);
            }
        }
        factors
    }};
}
pub(super) use factors;

/// The layers of the inverse transform on R values, the nearest pairs first.
macro_rules! inverse_layers {
    ($x:expr, $R:expr, $SMALL:expr, $factors:expr) => {{
        let mut x = $x;
        for layer in 0..$R.ilog2() as usize {
            let apart = 1 << layer;
            for block in 0..$R >> (layer + 1) {
                for j in 0..apart {
                    let (i, k) = (2 * apart * block + j, 2 * apart * block + j + apart);
                    x[k] = (add(x[k].0, x[i].0), add(x[k].1, x[i].1));
                    x[i] = add_multiple::<$SMALL>(x[i], x[k], &$factors[layer][block]);
                }
            }
        }
        x
    }};
}
pub(super) use inverse_layers;

/// The layers of the transform on R values, the farthest pairs first. `FIRST` are those at word 0:
/// the first factor of each layer is 0 then.
macro_rules! forward_layers {
    ($x:expr, $R:expr, $SMALL:expr, $FIRST:expr, $factors:expr) => {{
        let mut x = $x;
        if $R > 4 {
            forward_layers!(layer 2 of x, $R, $SMALL, $FIRST, $factors);
        }
        if $R > 2 {
            forward_layers!(layer 1 of x, $R, $SMALL, $FIRST, $factors);
        }
        if $R > 1 {
            forward_layers!(layer 0 of x, $R, $SMALL, $FIRST, $factors);
        }
        x
    }};
    (layer $layer:literal of $x:ident, $R:expr, $SMALL:expr, $FIRST:expr, $factors:expr) => {
        for block in 0..$R >> ($layer + 1) {
            for j in 0..1 << $layer {
                let i = (block << ($layer + 1)) + j;
                let k = i + (1 << $layer);
                if !$FIRST || block > 0 {
                    $x[i] = add_multiple::<$SMALL>($x[i], $x[k], &$factors[$layer][block]);
                }
                $x[k] = (add($x[k].0, $x[i].0), add($x[k].1, $x[i].1));
            }
        }
    };
}
pub(super) use forward_layers;

/// R values from shards.
macro_rules! load_shards {
    ($shards:expr, $R:expr, $at:expr, $maps:expr) => {{
        let mut x = [(zero(), zero()); $R];
        for (x, shard) in x.iter_mut().zip(&$shards) {
            *x = enter(load_wire(shard, $at), $maps);
        }
        x
    }};
}
pub(super) use load_shards;

/// The kernels of one back end.
///
/// The file that uses it has the types `Vector` and `Map` (a map of bytes, ready for use), the
/// length `LEN` of a vector in bytes, `SOURCES`, how many rows `combine` takes at once, and the
/// functions `zero`, `add`, `add3`, `load_vector`, `store_vector`, `map`, `map_of_sum`, `apply`, and
/// `load_wire` and `store_wire`, between the pieces of shards and pairs of lower and upper bytes;
/// what lies behind the end of a shard is read as 0 and not written.
macro_rules! vector_kernels {
    ($(#[$features:meta])?) => {
        /// Bytes of a pair.
        const PAIR: usize = 2 * LEN;

        /// The lower planes and the upper planes of as many words.
        type Pair = (Vector, Vector);

        /// A word to multiply by: the maps of `maps::times`.
        type Factor = [Map; 3];

        #[inline]
        $(#[$features])?
        fn factor(word: u16) -> Factor {
            let [a, s, d] = maps::times(word);
            [map(a), map(s), map(d)]
        }

        /// Whether all factors lie in the field of 256.
        #[inline]
        fn is_small<const R: usize>(place: usize) -> bool {
            place + R <= 256
        }

        /// `sum` plus the multiple of `x`.
        #[inline]
        $(#[$features])?
        fn add_multiple<const SMALL: bool>(sum: Pair, x: Pair, factor: &Factor) -> Pair {
            let [a, s, d] = *factor;
            let ax = apply(a, x.0);
            if SMALL {
                (add(sum.0, ax), add(sum.1, apply(a, x.1)))
            } else {
                let sx = apply(s, add(x.0, x.1));
                (add3(sum.0, ax, apply(d, x.1)), add3(sum.1, ax, sx))
            }
        }

        #[inline]
        $(#[$features])?
        fn multiple(x: Pair, factor: &Factor) -> Pair {
            add_multiple::<false>((zero(), zero()), x, factor)
        }

        #[inline]
        $(#[$features])?
        fn load_pair(bytes: &[u8; PAIR]) -> Pair {
            let (low, high) = bytes.split_at(LEN);
            let fits = "half of a pair";
            (load_vector(low.try_into().expect(fits)), load_vector(high.try_into().expect(fits)))
        }

        #[inline]
        $(#[$features])?
        fn store_pair(pair: Pair, bytes: &mut [u8; PAIR]) {
            let (low, high) = bytes.split_at_mut(LEN);
            let fits = "half of a pair";
            store_vector(pair.0, low.try_into().expect(fits));
            store_vector(pair.1, high.try_into().expect(fits));
        }

        /// The change from bytes of words to planes.
        #[derive(Clone, Copy)]
        struct Inward(Map, Map);

        /// The change from planes to bytes of words.
        #[derive(Clone, Copy)]
        struct Outward(Map, Map);

        #[inline]
        $(#[$features])?
        fn inward() -> Inward {
            Inward(map(maps::LOW), map(maps::HIGH))
        }

        #[inline]
        $(#[$features])?
        fn outward() -> Outward {
            Outward(map(maps::LOW_BACK), map(maps::HIGH_BACK))
        }

        #[inline]
        $(#[$features])?
        fn enter(bytes: Pair, maps: Inward) -> Pair {
            (add(bytes.0, apply(maps.0, bytes.1)), apply(maps.1, bytes.1))
        }

        #[inline]
        $(#[$features])?
        fn leave(planes: Pair, maps: Outward) -> Pair {
            (add(planes.0, apply(maps.0, planes.1)), apply(maps.1, planes.1))
        }

        /// Pairs of a row.
        #[inline]
        fn pairs(row: &[u8]) -> &[[u8; PAIR]] {
            row.as_chunks().0
        }

        #[inline]
        fn pairs_mut(row: &mut [u8]) -> &mut [[u8; PAIR]] {
            row.as_chunks_mut().0
        }

        /// Has the processor fetch what is needed soon.
        #[inline]
        fn fetch_all(shards: &[&[u8]], at: usize) {
            if shards.first().is_some_and(|shard| !shard.is_empty()) {
                for shard in shards {
                    fetch(shard, at * PAIR, PAIR);
                }
            }
        }

        /// See `Kernel::load`.
        $(#[$features])?
        pub(super) fn load<const R: usize>(
            shards: [&[u8]; R],
            ahead: [&[u8]; R],
            rows: [&mut [u8]; R],
            place: usize,
        ) {
            if is_small::<R>(place) {
                load_by::<R, true>(shards, ahead, rows, place);
            } else {
                load_by::<R, false>(shards, ahead, rows, place);
            }
        }

        #[inline]
        $(#[$features])?
        fn load_by<const R: usize, const SMALL: bool>(
            shards: [&[u8]; R],
            ahead: [&[u8]; R],
            rows: [&mut [u8]; R],
            place: usize,
        ) {
            let (factors, maps) = (factors!(place, R), inward());
            let mut rows = rows.map(pairs_mut);
            for at in 0..rows[0].len() {
                fetch_all(&ahead, at);
                let x = load_shards!(shards, R, at, maps);
                let x = inverse_layers!(x, R, SMALL, factors);
                for (x, row) in x.into_iter().zip(&mut rows) {
                    store_pair(x, &mut row[at]);
                }
            }
        }

        /// See `Kernel::load_fold`.
        $(#[$features])?
        pub(super) fn load_fold<const R: usize>(
            shards: [&[u8]; R],
            ahead: [&[u8]; R],
            sums: [&mut [u8]; R],
            place: usize,
            by: Option<u16>,
        ) {
            match (is_small::<R>(place), by) {
                (true, None) => load_fold_by::<R, true, false>(shards, ahead, sums, place, 0),
                (false, None) => load_fold_by::<R, false, false>(shards, ahead, sums, place, 0),
                (true, Some(by)) => load_fold_by::<R, true, true>(shards, ahead, sums, place, by),
                (false, Some(by)) => load_fold_by::<R, false, true>(shards, ahead, sums, place, by),
            }
        }

        #[inline]
        $(#[$features])?
        fn load_fold_by<const R: usize, const SMALL: bool, const BY: bool>(
            shards: [&[u8]; R],
            ahead: [&[u8]; R],
            sums: [&mut [u8]; R],
            place: usize,
            by: u16,
        ) {
            let (factors, maps, by) = (factors!(place, R), inward(), factor(by));
            let mut sums = sums.map(pairs_mut);
            for at in 0..sums[0].len() {
                fetch_all(&ahead, at);
                let x = load_shards!(shards, R, at, maps);
                let x = inverse_layers!(x, R, SMALL, factors);
                for (x, sum) in x.into_iter().zip(&mut sums) {
                    add_to::<BY>(&mut sum[at], x, &by);
                }
            }
        }

        #[inline]
        $(#[$features])?
        fn add_to<const BY: bool>(sum: &mut [u8; PAIR], x: Pair, by: &Factor) {
            let before = load_pair(sum);
            let after = if BY {
                add_multiple::<false>(before, x, by)
            } else {
                (add(before.0, x.0), add(before.1, x.1))
            };
            store_pair(after, sum);
        }

        /// See `Kernel::inverse`.
        $(#[$features])?
        pub(super) fn inverse<const R: usize>(rows: [&mut [u8]; R], place: usize) {
            if is_small::<R>(place) {
                inverse_by::<R, true>(rows, place);
            } else {
                inverse_by::<R, false>(rows, place);
            }
        }

        #[inline]
        $(#[$features])?
        fn inverse_by<const R: usize, const SMALL: bool>(rows: [&mut [u8]; R], place: usize) {
            let factors = factors!(place, R);
            let mut rows = rows.map(pairs_mut);
            for at in 0..rows[0].len() {
                let mut x = [(zero(), zero()); R];
                for (x, row) in x.iter_mut().zip(&rows) {
                    *x = load_pair(&row[at]);
                }
                let x = inverse_layers!(x, R, SMALL, factors);
                for (x, row) in x.into_iter().zip(&mut rows) {
                    store_pair(x, &mut row[at]);
                }
            }
        }

        /// See `Kernel::forward`.
        $(#[$features])?
        pub(super) fn forward<const R: usize>(rows: [&mut [u8]; R], place: usize) {
            if place == 0 {
                forward_by::<R, true, true>(rows, place);
            } else if is_small::<R>(place) {
                forward_by::<R, true, false>(rows, place);
            } else {
                forward_by::<R, false, false>(rows, place);
            }
        }

        #[inline]
        $(#[$features])?
        fn forward_by<const R: usize, const SMALL: bool, const FIRST: bool>(rows: [&mut [u8]; R], place: usize) {
            let factors = factors!(place, R);
            let mut rows = rows.map(pairs_mut);
            for at in 0..rows[0].len() {
                let mut x = [(zero(), zero()); R];
                for (x, row) in x.iter_mut().zip(&rows) {
                    *x = load_pair(&row[at]);
                }
                let x = forward_layers!(x, R, SMALL, FIRST, factors);
                for (x, row) in x.into_iter().zip(&mut rows) {
                    store_pair(x, &mut row[at]);
                }
            }
        }

        /// See `Kernel::fold`.
        $(#[$features])?
        pub(super) fn fold<const R: usize>(
            rows: [&[u8]; R],
            sums: [&mut [u8]; R],
            place: usize,
            by: Option<u16>,
        ) {
            match (is_small::<R>(place), by) {
                (true, None) => fold_by::<R, true, false>(rows, sums, place, 0),
                (false, None) => fold_by::<R, false, false>(rows, sums, place, 0),
                (true, Some(by)) => fold_by::<R, true, true>(rows, sums, place, by),
                (false, Some(by)) => fold_by::<R, false, true>(rows, sums, place, by),
            }
        }

        #[inline]
        $(#[$features])?
        fn fold_by<const R: usize, const SMALL: bool, const BY: bool>(
            rows: [&[u8]; R],
            sums: [&mut [u8]; R],
            place: usize,
            by: u16,
        ) {
            let (factors, by) = (factors!(place, R), factor(by));
            let rows = rows.map(pairs);
            let mut sums = sums.map(pairs_mut);
            for at in 0..sums[0].len() {
                let mut x = [(zero(), zero()); R];
                for (x, row) in x.iter_mut().zip(&rows) {
                    *x = load_pair(&row[at]);
                }
                let x = inverse_layers!(x, R, SMALL, factors);
                for (x, sum) in x.into_iter().zip(&mut sums) {
                    add_to::<BY>(&mut sum[at], x, &by);
                }
            }
        }

        /// See `Kernel::store`.
        $(#[$features])?
        pub(super) fn store<const R: usize>(
            rows: [&[u8]; R],
            shards: [&mut [u8]; R],
            place: usize,
        ) {
            if place == 0 {
                store_by::<R, true, true>(rows, shards, place);
            } else if is_small::<R>(place) {
                store_by::<R, true, false>(rows, shards, place);
            } else {
                store_by::<R, false, false>(rows, shards, place);
            }
        }

        #[inline]
        $(#[$features])?
        fn store_by<const R: usize, const SMALL: bool, const FIRST: bool>(
            rows: [&[u8]; R],
            mut shards: [&mut [u8]; R],
            place: usize,
        ) {
            let (factors, maps) = (factors!(place, R), outward());
            let rows = rows.map(pairs);
            for at in 0..rows[0].len() {
                let mut x = [(zero(), zero()); R];
                for (x, row) in x.iter_mut().zip(&rows) {
                    *x = load_pair(&row[at]);
                }
                let x = forward_layers!(x, R, SMALL, FIRST, factors);
                for (x, shard) in x.into_iter().zip(&mut shards) {
                    store_wire(leave(x, maps), shard, at);
                }
            }
        }

        /// See `Kernel::absorb`.
        $(#[$features])?
        pub(super) fn absorb<const R: usize>(rows: [&mut [u8]; R], shards: [&[u8]; R], by: u16) {
            let (by, maps) = (factor(by), inward());
            for (row, shard) in rows.into_iter().zip(shards) {
                for (at, bytes) in pairs_mut(row).iter_mut().enumerate() {
                    let (x, y) = (load_pair(bytes), enter(load_wire(shard, at), maps));
                    store_pair(multiple((add(x.0, y.0), add(x.1, y.1)), &by), bytes);
                }
            }
        }

        /// See `Kernel::emit`.
        $(#[$features])?
        pub(super) fn emit<const R: usize>(rows: [&[u8]; R], shards: [&mut [u8]; R], by: u16) {
            let (by, maps) = (factor(by), outward());
            for (row, shard) in rows.into_iter().zip(shards) {
                for (at, bytes) in pairs(row).iter().enumerate() {
                    store_wire(leave(multiple(load_pair(bytes), &by), maps), shard, at);
                }
            }
        }

        /// See `Kernel::combine`.
        $(#[$features])?
        pub(super) fn combine<const R: usize>(
            by: &[[u16; R]],
            shards: &[&[u8]],
            mut sums: [&mut [u8]; R],
        ) {
            let (columns, more_columns) = by.as_chunks::<SOURCES>();
            let (groups, more_shards) = shards.as_chunks::<SOURCES>();
            for (index, (columns, group)) in columns.iter().zip(groups).enumerate() {
                let ahead = groups.get(index + 1).map_or(&[][..], |group| group);
                combine_group::<R, SOURCES>(columns, group, ahead, &mut sums);
            }
            for (column, shard) in more_columns.iter().zip(more_shards) {
                combine_group::<R, 1>(&[*column], &[*shard], &[], &mut sums);
            }
        }

        #[inline]
        $(#[$features])?
        fn combine_group<const R: usize, const S: usize>(
            by: &[[u16; R]; S],
            shards: &[&[u8]; S],
            ahead: &[&[u8]],
            sums: &mut [&mut [u8]; R],
        ) {
            let mut factors = [[[map(0); 4]; S]; R];
            for (r, factors) in factors.iter_mut().enumerate() {
                for (factors, by) in factors.iter_mut().zip(by) {
                    for (factor, (a, b)) in factors.iter_mut().zip(maps::times_wire(by[r])) {
                        *factor = map_of_sum(a, b);
                    }
                }
            }
            for at in 0..sums[0].len() / PAIR {
                fetch_all(ahead, at);
                let mut x = [(zero(), zero()); S];
                for (x, shard) in x.iter_mut().zip(shards) {
                    *x = load_wire(shard, at);
                }
                for (sum, factors) in sums.iter_mut().zip(&factors) {
                    let bytes = &mut pairs_mut(sum)[at];
                    let mut sum = load_pair(bytes);
                    for (x, [ll, hl, lh, hh]) in x.into_iter().zip(factors) {
                        sum.0 = add3(sum.0, apply(*ll, x.0), apply(*hl, x.1));
                        sum.1 = add3(sum.1, apply(*lh, x.0), apply(*hh, x.1));
                    }
                    store_pair(sum, bytes);
                }
            }
        }

        /// See `Kernel::combine_rows`.
        $(#[$features])?
        pub(super) fn combine_rows<const R: usize>(
            by: &[[u16; R]],
            rows: &[&[u8]],
            sums: [&mut [u8]; R],
        ) {
            let mut sums = sums.map(pairs_mut);
            for (by, row) in by.iter().zip(rows) {
                let mut factors = [factor(0); R];
                for (slot, by) in factors.iter_mut().zip(by) {
                    *slot = factor(*by);
                }
                for (at, bytes) in pairs(row).iter().enumerate() {
                    let x = load_pair(bytes);
                    for (sum, factor) in sums.iter_mut().zip(&factors) {
                        let bytes = &mut sum[at];
                        store_pair(add_multiple::<false>(load_pair(bytes), x, factor), bytes);
                    }
                }
            }
        }

        /// See `Kernel::add`.
        $(#[$features])?
        pub(super) fn add_shards<const R: usize>(shards: &[&[u8]], sum: &mut [u8]) {
            for (at, bytes) in sum.as_chunks_mut::<LEN>().0.iter_mut().enumerate() {
                let mut total = load_vector(bytes);
                for shard in shards {
                    total = add(total, load_vector(&shard.as_chunks::<LEN>().0[at]));
                }
                store_vector(total, bytes);
            }
        }
    };
}
pub(super) use vector_kernels;

/// Piece `at` of a shard: what a pair has where vectors have half the length of a piece.
#[inline]
pub(super) fn piece(shard: &[u8], at: usize) -> Option<&[u8; SHARD_UNIT]> {
    shard.as_chunks().0.get(at)
}

/// The same, to be written.
#[inline]
pub(super) fn piece_mut(shard: &mut [u8], at: usize) -> Option<&mut [u8; SHARD_UNIT]> {
    shard.as_chunks_mut().0.get_mut(at)
}

/// The halves of `at` of a shard: what a pair has where vectors have a quarter of the length of a
/// piece. They are sixteen lower bytes and the sixteen upper bytes of the same words.
#[inline]
#[allow(dead_code, reason = "not all targets have such vectors")]
pub(super) fn halves(shard: &[u8], at: usize) -> Option<(&[u8; 16], &[u8; 16])> {
    let quarters = piece(shard, at / 2)?.as_chunks().0;
    Some((&quarters[at % 2], &quarters[2 + at % 2]))
}

/// The same, to be written.
#[inline]
#[allow(dead_code, reason = "not all targets have such vectors")]
pub(super) fn halves_mut(shard: &mut [u8], at: usize) -> Option<(&mut [u8; 16], &mut [u8; 16])> {
    let (low, high) = piece_mut(shard, at / 2)?.split_at_mut(SHARD_UNIT / 2);
    Some((&mut low.as_chunks_mut().0[at % 2], &mut high.as_chunks_mut().0[at % 2]))
}

/// Has the processor fetch `len` bytes from `at` on, where there are so many.
#[inline]
pub(super) fn fetch(bytes: &[u8], at: usize, len: usize) {
    #[cfg(target_arch = "x86_64")]
    if at + len <= bytes.len() {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for line in (at..at + len).step_by(64) {
            // SAFETY: a hint about an address may be given for any address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(line).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, at, len);
}
