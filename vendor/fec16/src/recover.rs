//! Lost data shards from the shards that arrived.
//!
//! Notation as in `transform`: places are words, m is a power of two, the parity lies at the places
//! below m, the data behind it, and s is the polynomial that vanishes below m: s(x) is the word
//! x >> log m, and its derivative is 1.
//!
//! # What a block satisfies
//!
//! Take all 2^16 places, or any number N = 2^r of them that holds the block; where nothing was sent
//! the shard is 0. The block is the values of a polynomial of degree below N - m. So the sum over
//! all places of c(x) h(x) is 0 for every polynomial h of degree below m: the product has a degree
//! below N - 1, its coefficient at x^(N-1) is therefore 0, and that is what the values on a
//! subspace of N elements add up to (interpolation: the vanishing polynomial has derivative 1).
//!
//! # Fewer parity shards, smaller transforms
//!
//! Let e data shards be missing, at the places E. Use e parity shards, at places P of one aligned
//! block B of b = 2^i >= e places of the parity; those places of B that are not used are U. Let t be
//! the polynomial of degree b that vanishes on B: t(x) is the word (x xor B's first) >> i. As h run
//! only through the multiples of s / t, which vanishes at all parity places but those of B, where it
//! is s' / t' = 1. With c'(x) = c(x) s(x) / t(x) at the data places and c' = c in B, that is
//!
//! - the sum over B and the data of c'(x) h(x) is 0 for all h of degree below b:
//!
//! the condition of a code with b parity places. So the block behaves as one of that code, in which
//! the shards of each aligned run of b data places are multiplied by a constant of the run, and all
//! transforms have size b. (A received shard that is counted among the unknown ones costs nothing:
//! there is parity for it or it is not in B.)
//!
//! # Syndromes
//!
//! Set the lost shards to 0 and compute the parity in B anew, as `protect` does: fold the inverse
//! transforms of the runs, each times its constant, and transform to B. Its difference d(p) from
//! what was received in P comes from the lost shards alone. Let L be the polynomial with the simple
//! zeros E and U, as many as b. The inverse transform of a shard v at l alone is
//! v (t(x) + t(l)) / (x + l): of degree below b, and v at l, and 0 on the rest of l's run. So with
//! sums over the unknown places l, the polynomial S of all folded transforms satisfies
//!
//! L S = t w + r, with w = sum of v'(l) L(x) / (x + l), r = sum of v'(l) t(l) L(x) / (x + l).
//!
//! On B, t is 0, so r(x) = L(x) S(x) there; and r has degree below b, so those b values determine
//! it. On U the values are 0, whatever was in those shards, since L is; on P they are L(p) d(p), as S
//! has the value d(p) there. And at a lost place r(l) = v'(l) t(l) L'(l), hence
//!
//! v(l) = r(l) / (s(l) L'(l)).
//!
//! The three methods differ in how they get from d to r(l).
//!
//! - *Transform*: an inverse transform on B gives r, a transform to each run in which a shard is
//!   lost evaluates it. b log b steps for each. This is the error evaluator of Forney's formula
//!   (Blahut: Algebraic Codes for Digital Communication, 2003), but at the size of the loss.
//! - *Syndrome*: by Lagrange's formula r(l) is the sum over P of L(p) d(p) t(l) / (l + p). This is
//!   the inverse of the e x e matrix in closed form, e^2 steps.
//! - *Direct*: every step is linear, so v(l) is a sum of multiples of all k shards in use. Take
//!   h(x) = s(x) G(x) / (x + l) with G(x) = product over E of (x + l') / product over P of (x + p),
//!   a polynomial of degree m - 1 with zeros at all unknown places but l: the factors are
//!   h(x) / h(l). e k steps, and the block is read once.
//!
//! For one lost shard, b = 1, all three do the same; so that one is direct.
//!
//! The numbers L(p), L'(l) and G(x) are products of distances, which `locator` takes by logarithms:
//! L = t G, and at p the zero of t cancels the pole of G.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::code::{Code, common_len};
use crate::error::Error;
use crate::field::{Logarithms, ORDER};
use crate::kernels::Kernel;
use crate::plan::{Method, Plan};
use crate::survey::Survey;
use crate::transform::Transform;
use crate::workspace::{Workspace, tile};

/// Shards that `combine` gets at once.
const GROUP: usize = 64;

impl Code {
    /// Writes lost data shards, whatever their memory held.
    ///
    /// Both lists give each shard with its index in the block, in any order; parity shards are
    /// behind the data shards. `received` is all data shards that arrived and at least as many
    /// parity shards as data shards are missing. `lost` names the missing data shards that are
    /// wanted, which need not be all.
    pub fn recover<R, L>(
        &self,
        workspace: &mut Workspace,
        received: &[(usize, R)],
        lost: &mut [(usize, L)],
    ) -> Result<(), Error>
    where
        R: AsRef<[u8]>,
        L: AsMut<[u8]>,
    {
        self.recover_as(workspace, received, lost, None)
    }

    /// As [`Code::recover`], by this method and not by the one that seems to cost least.
    pub fn recover_by<R, L>(
        &self,
        method: Method,
        workspace: &mut Workspace,
        received: &[(usize, R)],
        lost: &mut [(usize, L)],
    ) -> Result<(), Error>
    where
        R: AsRef<[u8]>,
        L: AsMut<[u8]>,
    {
        self.recover_as(workspace, received, lost, Some(method))
    }

    fn recover_as<R, L>(
        &self,
        workspace: &mut Workspace,
        received: &[(usize, R)],
        lost: &mut [(usize, L)],
        method: Option<Method>,
    ) -> Result<(), Error>
    where
        R: AsRef<[u8]>,
        L: AsMut<[u8]>,
    {
        if !workspace.suits(self) {
            return Err(Error::Memory);
        }
        workspace.survey.list(self, received, lost)?;
        let received_lens = received.iter().map(|(_, shard)| shard.as_ref().len());
        let lost_lens = lost.iter_mut().map(|(_, shard)| shard.as_mut().len());
        let len = common_len(received_lens.chain(lost_lens))?;
        if lost.is_empty() {
            return Ok(());
        }
        let plan = Plan::new(self, &mut workspace.survey, method);
        workspace.locate(self);
        let (survey, rows, factors) = workspace.parts();
        let work = Work { code: self, survey, plan, received, len, factors, added: &[] };
        match plan.method {
            Method::Direct => work.direct(rows, lost),
            Method::Syndrome | Method::Transform => work.by_syndromes(rows, lost),
        }
        Ok(())
    }
}

/// What the methods have in common.
pub(crate) struct Work<'a, R> {
    pub(crate) code: &'a Code,
    pub(crate) survey: &'a Survey,
    pub(crate) plan: Plan,
    pub(crate) received: &'a [(usize, R)],
    /// Bytes of a shard.
    pub(crate) len: usize,
    pub(crate) factors: Factors<'a>,
    /// Which data shards are in the sums already; beyond its end, none.
    pub(crate) added: &'a [bool],
}

/// The numbers that the methods multiply by.
#[derive(Clone, Copy)]
pub(crate) struct Factors<'a> {
    pub(crate) logarithms: &'static Logarithms,
    /// The sums of `Locator`: of the missing shards, then of the parity shards in use.
    pub(crate) sums: &'a [u32],
}

impl<R: AsRef<[u8]>> Work<'_, R> {
    /// Bytes of the shard with this index, and nothing if it did not arrive.
    fn shard(&self, index: usize, range: &Range<usize>) -> &[u8] {
        match self.survey.place(index) {
            Some(place) => &self.received[place].1.as_ref()[range.clone()],
            None => &[],
        }
    }

    fn kernel(&self) -> Kernel {
        self.code.kernel()
    }

    /// Every wanted shard is a sum of multiples of the k shards at hand.
    fn direct<L: AsMut<[u8]>>(&self, (sums, _): (&mut [u8], &mut [u8]), lost: &mut [(usize, L)]) {
        for start in (0..self.len).step_by(tile(0)) {
            let range = start..self.len.min(start + tile(0));
            for wanted in self.survey.wanted.chunks(4) {
                match wanted.len() {
                    1 => self.direct_rows::<1, L>(sums, &range, wanted, lost),
                    2 => self.direct_rows::<2, L>(sums, &range, wanted, lost),
                    3 => self.direct_rows::<3, L>(sums, &range, wanted, lost),
                    _ => self.direct_rows::<4, L>(sums, &range, wanted, lost),
                }
            }
        }
    }

    fn direct_rows<const N: usize, L: AsMut<[u8]>>(
        &self,
        sums: &mut [u8],
        range: &Range<usize>,
        wanted: &[u32],
        lost: &mut [(usize, L)],
    ) {
        let row = Transform::new(self.code, self.factors.logarithms, range.len(), self.len).row;
        let sums = &mut sums[..N * row];
        sums.fill(0);
        let mut bases = [(0, 0); N];
        for (base, index) in bases.iter_mut().zip(wanted) {
            let (place, number) = self.survey.missing_number(self.code, *index);
            *base = (place, self.log_of_lost(place, number));
        }
        let (mut factors, mut shards, mut count) = ([[0; N]; GROUP], [&[][..]; GROUP], 0);
        let data = (0..self.code.data_count()).filter(|index| self.survey.is_here(*index));
        let parity = self.survey.used.iter().enumerate();
        let sources =
            data.map(|index| (index, self.code.chunk_count() + index, None)).chain(parity.map(
                |(number, j)| (self.code.data_count() + *j as usize, *j as usize, Some(number)),
            ));
        for (index, place, number) in sources {
            let log = match number {
                Some(number) => self.factors.sums[self.survey.missing.len() + number],
                None => self.log_of_data(place),
            };
            for (factor, (lost_place, lost_log)) in factors[count].iter_mut().zip(bases) {
                let distance = self.factors.logarithms.log(place ^ lost_place);
                *factor = self.factors.logarithms.power(log + 2 * ORDER - distance - lost_log);
            }
            shards[count] = self.shard(index, range);
            count += 1;
            if count == GROUP {
                self.kernel().combine(&factors, &shards, parts(sums));
                count = 0;
            }
        }
        self.kernel().combine(&factors[..count], &shards[..count], parts(sums));
        for (row, index) in sums.chunks_exact(row).zip(wanted) {
            self.emit(row, *index as usize, range, 1, lost);
        }
    }

    /// G of the module's text at a data place, times s.
    fn log_of_data(&self, place: usize) -> u32 {
        let log = |word: usize| self.factors.logarithms.log(word);
        let first = self.code.chunk_count();
        let missing: u32 =
            self.survey.missing.iter().map(|i| log(place ^ (first + *i as usize))).sum();
        let used: u32 = self.survey.used.iter().map(|j| ORDER - log(place ^ *j as usize)).sum();
        (log(place >> self.code.log()) + missing + used) % ORDER
    }

    /// s times the derivative of the locator, at a lost place.
    fn log_of_lost(&self, place: usize, number: usize) -> u32 {
        (self.factors.logarithms.log(place >> self.code.log()) + self.factors.sums[number]) % ORDER
    }

    fn by_syndromes<L: AsMut<[u8]>>(
        &self,
        (sums, rows): (&mut [u8], &mut [u8]),
        lost: &mut [(usize, L)],
    ) {
        let log = self.plan.log;
        for start in (0..self.len).step_by(tile(log)) {
            let range = start..self.len.min(start + tile(log));
            let transform =
                Transform::new(self.code, self.factors.logarithms, range.len(), self.len);
            let sums = &mut sums[..transform.len(log)];
            let rows = &mut rows[..transform.len(log)];
            sums.fill(0);
            self.fold_data(transform, sums, rows, &range);
            self.finish(transform, sums, rows, &range, lost);
        }
    }

    /// Adds the inverse transforms of the data that arrived.
    pub(crate) fn fold_data(
        &self,
        transform: Transform,
        sums: &mut [u8],
        rows: &mut [u8],
        range: &Range<usize>,
    ) {
        let log = self.plan.log;
        let first = self.code.chunk_count();
        let places = first..first + self.code.data_count();
        let shard = |place: usize| {
            let index = place - first;
            let is_left = places.contains(&place) && self.is_left(index);
            if is_left { self.shard(index, range) } else { &[] }
        };
        for place in places.clone().step_by(1 << log) {
            let end = places.end.min(place + (1 << log));
            if (place - first..end - first).any(|index| self.is_left(index)) {
                transform.fold(rows, sums, log, place, &places, self.multiplier(place), &shard);
            }
        }
    }

    /// Whether a data shard arrived and is not in the sums.
    fn is_left(&self, index: usize) -> bool {
        self.survey.is_here(index) && self.added.get(index) != Some(&true)
    }

    /// What the values of the 2^log places from this one on are multiplied by.
    fn multiplier(&self, place: usize) -> Option<u16> {
        let (log, whole) = (self.plan.log, self.code.log());
        (log < whole).then(|| {
            let logs = self.factors.logarithms;
            logs.power(
                logs.log(place >> whole) + ORDER - logs.log((place ^ self.plan.block) >> log),
            )
        })
    }

    /// From the sum of the inverse transforms of the data to lost shards.
    pub(crate) fn finish<L: AsMut<[u8]>>(
        &self,
        transform: Transform,
        sums: &mut [u8],
        rows: &mut [u8],
        range: &Range<usize>,
        lost: &mut [(usize, L)],
    ) {
        let (log, block) = (self.plan.log, self.plan.block);
        transform.forward(sums, log, block, &|places| self.survey.uses(places));
        let is_transform = self.plan.method == Method::Transform;
        let mut used = self.survey.used.iter().enumerate().peekable();
        for place in block..block + (1 << log) {
            let row = transform.row_mut(sums, place - block);
            match used.next_if(|(_, j)| **j as usize == place) {
                Some((number, j)) => {
                    let sum = self.factors.sums[self.survey.missing.len() + number];
                    let factor = if is_transform { self.factors.logarithms.power(sum) } else { 1 };
                    let index = self.code.data_count() + *j as usize;
                    self.kernel().absorb(row, self.shard(index, range), factor);
                }
                None => row.fill(0),
            }
        }
        if is_transform {
            self.evaluate(transform, sums, rows, range, lost);
        } else {
            self.invert(transform, sums, rows, range, lost);
        }
    }

    /// The lost shards by transforms of the evaluator.
    fn evaluate<L: AsMut<[u8]>>(
        &self,
        transform: Transform,
        sums: &mut [u8],
        rows: &mut [u8],
        range: &Range<usize>,
        lost: &mut [(usize, L)],
    ) {
        let (log, block) = (self.plan.log, self.plan.block);
        transform.inverse(sums, log, block);
        let first = self.code.chunk_count();
        let mut wanted = &self.survey.wanted[..];
        while let Some(index) = wanted.first() {
            let place = (first + *index as usize) >> log << log;
            let here = wanted.partition_point(|i| first + (*i as usize) < place + (1 << log));
            rows.copy_from_slice(sums);
            transform.forward(rows, log, place, &|places| self.survey.wants(first, places));
            for index in &wanted[..here] {
                let (lost_place, number) = self.survey.missing_number(self.code, *index);
                let row = transform.row(rows, lost_place - place);
                let logs = self.factors.logarithms;
                let log =
                    self.log_of_lost(lost_place, number) + logs.log((lost_place ^ block) >> log);
                self.emit(row, *index as usize, range, logs.power(2 * ORDER - log), lost);
            }
            wanted = &wanted[here..];
        }
    }

    /// The lost shards by the inverse of a matrix.
    fn invert<L: AsMut<[u8]>>(
        &self,
        transform: Transform,
        sums: &mut [u8],
        rows: &mut [u8],
        range: &Range<usize>,
        lost: &mut [(usize, L)],
    ) {
        for wanted in self.survey.wanted.chunks(4) {
            match wanted.len() {
                1 => self.invert_rows::<1, L>(transform, sums, rows, range, wanted, lost),
                2 => self.invert_rows::<2, L>(transform, sums, rows, range, wanted, lost),
                3 => self.invert_rows::<3, L>(transform, sums, rows, range, wanted, lost),
                _ => self.invert_rows::<4, L>(transform, sums, rows, range, wanted, lost),
            }
        }
    }

    fn invert_rows<const N: usize, L: AsMut<[u8]>>(
        &self,
        transform: Transform,
        sums: &[u8],
        rows: &mut [u8],
        range: &Range<usize>,
        wanted: &[u32],
        lost: &mut [(usize, L)],
    ) {
        let results = &mut rows[..N * transform.row];
        results.fill(0);
        let logs = self.factors.logarithms;
        for (number, j) in self.survey.used.iter().enumerate() {
            let place = *j as usize;
            let mut factors = [0; N];
            for (factor, index) in factors.iter_mut().zip(wanted) {
                let (lost_place, lost_number) = self.survey.missing_number(self.code, *index);
                let up = self.factors.sums[self.survey.missing.len() + number];
                let down = self.log_of_lost(lost_place, lost_number) + logs.log(place ^ lost_place);
                *factor = logs.power(up + 2 * ORDER - down);
            }
            let row = transform.row(sums, place - self.plan.block);
            self.kernel().combine_rows(&[factors], &[row], parts(results));
        }
        for (row, index) in results.chunks_exact(transform.row).zip(wanted) {
            self.emit(row, *index as usize, range, 1, lost);
        }
    }

    fn emit<L: AsMut<[u8]>>(
        &self,
        row: &[u8],
        index: usize,
        range: &Range<usize>,
        factor: u16,
        lost: &mut [(usize, L)],
    ) {
        let shard = lost[self.survey.lost_place(index)].1.as_mut();
        self.kernel().emit(row, &mut shard[range.clone()], factor);
    }
}

/// N rows of one piece of memory.
fn parts<const N: usize>(rows: &mut [u8]) -> [&mut [u8]; N] {
    let mut rows = rows.chunks_exact_mut(rows.len() / N);
    std::array::from_fn(|_| rows.next().expect("N rows"))
}
