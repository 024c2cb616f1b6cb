//! The loops around the instructions, which are the same for all back ends.
//!
//! In registers, a value of the transform is a pair of vectors: as many lower planes as a vector
//! has bytes, and the upper planes of the same words. R values are taken through log2 R layers
//! between a load and a store, so that a byte is loaded and stored once for two or three layers.
//!
//! The *factor* of a butterfly is a word t (`transform` says which). If t is below 256 it is called
//! *small*: it lies in the field of 256, and a product by it is a product of either plane. Else it
//! takes three products and the sums around them (`field`). Every layer has words of half the size
//! of those of the layer before, so the factors of the upper layers are small where those of the
//! lower ones are not. Where all are, the planes need not be together: one is taken through the
//! layers and then the other, with room for twice as many values.

use super::SHARD_UNIT;

// What follows is text and no functions, since functions of this size are called and not inlined,
// and their arguments go through memory then.

/// The factors of the layers of R values, as `$make` makes them of layers and words. Those of the values that are 1
/// apart are the last R / 2, those of the values 2 apart the R / 4 before them, and so on.
macro_rules! factors {
    ($place:expr, $R:expr, $make:expr) => {{
        let mut factors = [$make(0, 0); $R];
        for layer in 0..$R.ilog2() as usize {
            for block in 0..$R >> (layer + 1) {
                // Words are below 65,536.
                let word = (($place >> layer) + 2 * block) as u16;
                factors[($R >> (layer + 1)) + block] = $make(layer, word);
            }
        }
        factors
    }};
}
pub(super) use factors;

/// The layers of the inverse transform on R values, the nearest pairs first. `$multiply` adds the
/// multiple of a value, given the layer.
macro_rules! inverse_layers {
    ($x:expr, $R:expr, $add:path, $multiply:expr, $factors:expr) => {{
        let mut x = $x;
        if $R > 1 {
            inverse_layers!(layer 0 of x, $R, $add, $multiply, $factors);
        }
        if $R > 2 {
            inverse_layers!(layer 1 of x, $R, $add, $multiply, $factors);
        }
        if $R > 4 {
            inverse_layers!(layer 2 of x, $R, $add, $multiply, $factors);
        }
        if $R > 8 {
            inverse_layers!(layer 3 of x, $R, $add, $multiply, $factors);
        }
        x
    }};
    (layer $layer:literal of $x:ident, $R:expr, $add:path, $multiply:expr, $factors:expr) => {
        for block in 0..$R >> ($layer + 1) {
            for j in 0..1 << $layer {
                let i = (block << ($layer + 1)) + j;
                let k = i + (1 << $layer);
                $x[k] = $add($x[k], $x[i]);
                $x[i] = $multiply($layer, $x[i], $x[k], &$factors[($R >> ($layer + 1)) + block]);
            }
        }
    };
}
pub(super) use inverse_layers;

/// The layers of the transform on R values, the farthest pairs first. `FIRST` are those at word 0:
/// the first factor of each layer is 0 then.
macro_rules! forward_layers {
    ($x:expr, $R:expr, $FIRST:expr, $add:path, $multiply:expr, $factors:expr) => {{
        let mut x = $x;
        if $R > 8 {
            forward_layers!(layer 3 of x, $R, $FIRST, $add, $multiply, $factors);
        }
        if $R > 4 {
            forward_layers!(layer 2 of x, $R, $FIRST, $add, $multiply, $factors);
        }
        if $R > 2 {
            forward_layers!(layer 1 of x, $R, $FIRST, $add, $multiply, $factors);
        }
        if $R > 1 {
            forward_layers!(layer 0 of x, $R, $FIRST, $add, $multiply, $factors);
        }
        x
    }};
    (layer $layer:literal of $x:ident, $R:expr, $FIRST:expr, $add:path, $multiply:expr, $factors:expr) => {
        for block in 0..$R >> ($layer + 1) {
            for j in 0..1 << $layer {
                let i = (block << ($layer + 1)) + j;
                let k = i + (1 << $layer);
                if !$FIRST || block > 0 {
                    $x[i] = $multiply($layer, $x[i], $x[k], &$factors[($R >> ($layer + 1)) + block]);
                }
                $x[k] = $add($x[k], $x[i]);
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

/// R values from rows.
macro_rules! load_rows {
    ($rows:expr, $R:expr, $at:expr) => {{
        let mut x = [(zero(), zero()); $R];
        for (x, row) in x.iter_mut().zip(&$rows) {
            *x = load_pair(&row[$at]);
        }
        x
    }};
}
pub(super) use load_rows;

/// A plane of R values from rows.
macro_rules! load_planes {
    ($rows:expr, $R:expr, $at:expr, $plane:expr) => {{
        let mut x = [zero(); $R];
        for (x, row) in x.iter_mut().zip(&$rows) {
            *x = load_vector(&row[$at].as_chunks().0[$plane]);
        }
        x
    }};
}
pub(super) use load_planes;

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

        /// As `factor`, of a word that is small but in the first LARGE layers.
        #[inline]
        $(#[$features])?
        fn factor_of<const LARGE: usize>(layer: usize, word: u16) -> Factor {
            if layer < LARGE { factor(word) } else { [small_factor(layer, word); 3] }
        }

        /// As `factor`, of a small word.
        #[inline]
        $(#[$features])?
        fn small_factor(_layer: usize, word: u16) -> Map {
            map(maps::times(word)[0])
        }

        #[inline]
        $(#[$features])?
        fn add_small_multiple(_layer: usize, sum: Vector, x: Vector, factor: &Map) -> Vector {
            add(sum, apply(*factor, x))
        }

        #[inline]
        $(#[$features])?
        fn add_pair(a: Pair, b: Pair) -> Pair {
            (add(a.0, b.0), add(a.1, b.1))
        }

        /// How many of the layers of R values, the first ones, have a factor that is not small.
        #[inline]
        fn large_layers<const R: usize>(place: usize) -> usize {
            (0..R.ilog2() as usize).take_while(|layer| (place + R) >> layer > 256).count()
        }

        /// `sum` plus the multiple of `x`, by a factor that is small but in the first LARGE layers.
        #[inline]
        $(#[$features])?
        fn add_multiple<const LARGE: usize>(
            layer: usize,
            sum: Pair,
            x: Pair,
            factor: &Factor,
        ) -> Pair {
            let [a, s, d] = *factor;
            let ax = apply(a, x.0);
            if layer >= LARGE {
                (add(sum.0, ax), add(sum.1, apply(a, x.1)))
            } else {
                let sx = apply(s, add(x.0, x.1));
                (add3(sum.0, ax, apply(d, x.1)), add3(sum.1, ax, sx))
            }
        }

        #[inline]
        $(#[$features])?
        fn multiple(x: Pair, factor: &Factor) -> Pair {
            add_multiple::<1>(0, (zero(), zero()), x, factor)
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

        /// The lower or upper planes of a pair.
        #[inline]
        fn plane_mut(pair: &mut [u8; PAIR], plane: usize) -> &mut [u8; LEN] {
            &mut pair.as_chunks_mut().0[plane]
        }

        /// Has the processor fetch what is needed soon, unless the first is empty.
        #[inline]
        fn fetch_all<const R: usize>(shards: &[&[u8]; R], at: usize) {
            if !shards[0].is_empty() {
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
            match large_layers::<R>(place) {
                0 => load_by::<R, 0>(shards, ahead, rows, place),
                1 => load_by::<R, 1>(shards, ahead, rows, place),
                2 => load_by::<R, 2>(shards, ahead, rows, place),
                _ => load_by::<R, 3>(shards, ahead, rows, place),
            }
        }

        #[inline]
        $(#[$features])?
        fn load_by<const R: usize, const LARGE: usize>(
            shards: [&[u8]; R],
            ahead: [&[u8]; R],
            rows: [&mut [u8]; R],
            place: usize,
        ) {
            let (factors, maps) = (factors!(place, R, factor_of::<LARGE>), inward());
            let mut rows = rows.map(pairs_mut);
            for at in 0..rows[0].len() {
                let factors = super::vector::remain_in_memory(R == 8 && LARGE > 0, &factors);
                fetch_all(&ahead, at);
                let x = load_shards!(shards, R, at, maps);
                let x = inverse_layers!(x, R, add_pair, add_multiple::<LARGE>, factors);
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
            match (large_layers::<R>(place), by) {
                (0, None) => load_fold_by::<R, 0, false>(shards, ahead, sums, place, 0),
                (_, None) => load_fold_by::<R, 3, false>(shards, ahead, sums, place, 0),
                (0, Some(by)) => load_fold_by::<R, 0, true>(shards, ahead, sums, place, by),
                (_, Some(by)) => load_fold_by::<R, 3, true>(shards, ahead, sums, place, by),
            }
        }

        #[inline]
        $(#[$features])?
        fn load_fold_by<const R: usize, const LARGE: usize, const BY: bool>(
            shards: [&[u8]; R],
            ahead: [&[u8]; R],
            sums: [&mut [u8]; R],
            place: usize,
            by: u16,
        ) {
            let (factors, maps, by) = (factors!(place, R, factor_of::<LARGE>), inward(), factor(by));
            let mut sums = sums.map(pairs_mut);
            for at in 0..sums[0].len() {
                fetch_all(&ahead, at);
                let x = load_shards!(shards, R, at, maps);
                let x = inverse_layers!(x, R, add_pair, add_multiple::<LARGE>, factors);
                for (x, sum) in x.into_iter().zip(&mut sums) {
                    add_to::<BY>(&mut sum[at], x, &by);
                }
            }
        }

        #[inline]
        $(#[$features])?
        fn add_to<const BY: bool>(sum: &mut [u8; PAIR], x: Pair, by: &Factor) {
            let before = load_pair(sum);
            let after =
                if BY { add_multiple::<1>(0, before, x, by) } else { add_pair(before, x) };
            store_pair(after, sum);
        }

        /// See `Kernel::inverse`.
        $(#[$features])?
        pub(super) fn inverse<const R: usize>(rows: [&mut [u8]; R], place: usize) {
            match large_layers::<R>(place) {
                0 => inverse_small(rows, place),
                _ if R > 8 => unreachable!("not that many large values at once"),
                1 => inverse_by::<R, 1>(rows, place),
                2 => inverse_by::<R, 2>(rows, place),
                _ => inverse_by::<R, 3>(rows, place),
            }
        }

        #[inline]
        $(#[$features])?
        fn inverse_by<const R: usize, const LARGE: usize>(rows: [&mut [u8]; R], place: usize) {
            let factors = factors!(place, R, factor_of::<LARGE>);
            let mut rows = rows.map(pairs_mut);
            for at in 0..rows[0].len() {
                let x = load_rows!(rows, R, at);
                let x = inverse_layers!(x, R, add_pair, add_multiple::<LARGE>, factors);
                for (x, row) in x.into_iter().zip(&mut rows) {
                    store_pair(x, &mut row[at]);
                }
            }
        }

        #[inline]
        $(#[$features])?
        fn inverse_small<const R: usize>(rows: [&mut [u8]; R], place: usize) {
            let factors = factors!(place, R, small_factor);
            let mut rows = rows.map(pairs_mut);
            for at in 0..rows[0].len() {
                for plane in 0..2 {
                    let x = load_planes!(rows, R, at, plane);
                    let x = inverse_layers!(x, R, add, add_small_multiple, factors);
                    for (x, row) in x.into_iter().zip(&mut rows) {
                        store_vector(x, plane_mut(&mut row[at], plane));
                    }
                }
            }
        }

        /// See `Kernel::forward`.
        $(#[$features])?
        pub(super) fn forward<const R: usize>(rows: [&mut [u8]; R], place: usize) {
            match large_layers::<R>(place) {
                0 if place == 0 => forward_small::<R, true>(rows, place),
                0 => forward_small::<R, false>(rows, place),
                _ if R > 8 => unreachable!("not that many large values at once"),
                1 => forward_by::<R, 1>(rows, place),
                2 => forward_by::<R, 2>(rows, place),
                _ => forward_by::<R, 3>(rows, place),
            }
        }

        #[inline]
        $(#[$features])?
        fn forward_by<const R: usize, const LARGE: usize>(rows: [&mut [u8]; R], place: usize) {
            let factors = factors!(place, R, factor_of::<LARGE>);
            let mut rows = rows.map(pairs_mut);
            for at in 0..rows[0].len() {
                let x = load_rows!(rows, R, at);
                let x = forward_layers!(x, R, false, add_pair, add_multiple::<LARGE>, factors);
                for (x, row) in x.into_iter().zip(&mut rows) {
                    store_pair(x, &mut row[at]);
                }
            }
        }

        #[inline]
        $(#[$features])?
        fn forward_small<const R: usize, const FIRST: bool>(rows: [&mut [u8]; R], place: usize) {
            let factors = factors!(place, R, small_factor);
            let mut rows = rows.map(pairs_mut);
            for at in 0..rows[0].len() {
                for plane in 0..2 {
                    let x = load_planes!(rows, R, at, plane);
                    let x = forward_layers!(x, R, FIRST, add, add_small_multiple, factors);
                    for (x, row) in x.into_iter().zip(&mut rows) {
                        store_vector(x, plane_mut(&mut row[at], plane));
                    }
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
            match (large_layers::<R>(place), by) {
                (0, None) => fold_small(rows, sums, place),
                _ if R > 8 => unreachable!("not that many large values at once"),
                (_, None) => fold_by::<R, 3, false>(rows, sums, place, 0),
                (0, Some(by)) => fold_by::<R, 0, true>(rows, sums, place, by),
                (_, Some(by)) => fold_by::<R, 3, true>(rows, sums, place, by),
            }
        }

        #[inline]
        $(#[$features])?
        fn fold_by<const R: usize, const LARGE: usize, const BY: bool>(
            rows: [&[u8]; R],
            sums: [&mut [u8]; R],
            place: usize,
            by: u16,
        ) {
            let (factors, by) = (factors!(place, R, factor_of::<LARGE>), factor(by));
            let rows = rows.map(pairs);
            let mut sums = sums.map(pairs_mut);
            for at in 0..sums[0].len() {
                let x = load_rows!(rows, R, at);
                let x = inverse_layers!(x, R, add_pair, add_multiple::<LARGE>, factors);
                for (x, sum) in x.into_iter().zip(&mut sums) {
                    add_to::<BY>(&mut sum[at], x, &by);
                }
            }
        }

        #[inline]
        $(#[$features])?
        fn fold_small<const R: usize>(rows: [&[u8]; R], sums: [&mut [u8]; R], place: usize) {
            let factors = factors!(place, R, small_factor);
            let rows = rows.map(pairs);
            let mut sums = sums.map(pairs_mut);
            for at in 0..sums[0].len() {
                for plane in 0..2 {
                    let x = load_planes!(rows, R, at, plane);
                    let x = inverse_layers!(x, R, add, add_small_multiple, factors);
                    for (x, sum) in x.into_iter().zip(&mut sums) {
                        let sum = plane_mut(&mut sum[at], plane);
                        store_vector(add(load_vector(sum), x), sum);
                    }
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
            match large_layers::<R>(place) {
                0 if place == 0 => store_by::<R, 0, true>(rows, shards, place),
                0 => store_by::<R, 0, false>(rows, shards, place),
                1 => store_by::<R, 1, false>(rows, shards, place),
                2 => store_by::<R, 2, false>(rows, shards, place),
                _ => store_by::<R, 3, false>(rows, shards, place),
            }
        }

        #[inline]
        $(#[$features])?
        fn store_by<const R: usize, const LARGE: usize, const FIRST: bool>(
            rows: [&[u8]; R],
            mut shards: [&mut [u8]; R],
            place: usize,
        ) {
            let (factors, maps) = (factors!(place, R, factor_of::<LARGE>), outward());
            let rows = rows.map(pairs);
            for at in 0..rows[0].len() {
                let factors = super::vector::remain_in_memory(R == 8 && LARGE > 0, &factors);
                let x = load_rows!(rows, R, at);
                let x = forward_layers!(x, R, FIRST, add_pair, add_multiple::<LARGE>, factors);
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
                let ahead = groups.get(index + 1).unwrap_or(&[&[]; SOURCES]);
                combine_group(columns, group, ahead, &mut sums);
            }
            for (column, shard) in more_columns.iter().zip(more_shards) {
                combine_group(&[*column], &[*shard], &[&[]], &mut sums);
            }
        }

        #[inline]
        $(#[$features])?
        fn combine_group<const R: usize, const S: usize>(
            by: &[[u16; R]; S],
            shards: &[&[u8]; S],
            ahead: &[&[u8]; S],
            sums: &mut [&mut [u8]; R],
        ) {
            let mut factors = [[[map(0); 4]; S]; R];
            for (r, factors) in factors.iter_mut().enumerate() {
                for (factors, by) in factors.iter_mut().zip(by) {
                    let ([ll, lh], [hl, hh]) = maps::times_wire(by[r]);
                    *factors =
                        [map(ll), map_of_sum(hl.0, hl.1), map(lh), map_of_sum(hh.0, hh.1)];
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
                        store_pair(add_multiple::<1>(0, load_pair(bytes), x, factor), bytes);
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

/// The same factors, which the compiler has to take for others each time if `is_so`: it would get
/// them all ready for use before the loop, more than there are registers, and save them to memory.
#[inline]
pub(super) fn remain_in_memory<T>(is_so: bool, factors: &T) -> &T {
    if is_so { std::hint::black_box(factors) } else { factors }
}

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

/// Has the processor fetch `len` bytes from `at` on.
#[inline]
pub(super) fn fetch(bytes: &[u8], at: usize, len: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for line in (0..len).step_by(64) {
            // SAFETY: a hint about an address may be given for any address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(at + line).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, at, len);
}
