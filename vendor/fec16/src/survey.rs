//! Which shards of a block are here, missing, wanted and used.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::code::Code;
use crate::error::Error;

/// What is known of a shard, by its index.
#[derive(Clone, Copy)]
enum State {
    Absent,
    /// Where it stands in the list of those received.
    Here(u32),
    /// Where it stands in the list of those to be recovered.
    Wanted(u32),
}

/// Lists for the blocks of one code. Their memory is taken once.
pub(crate) struct Survey {
    states: Vec<State>,
    data_count: usize,
    /// Data shards that did not arrive, ascending.
    pub(crate) missing: Vec<u32>,
    /// Data shards that are to be recovered, ascending.
    pub(crate) wanted: Vec<u32>,
    /// Parity shards that are used, counted from the first one, ascending; as many as are missing.
    pub(crate) used: Vec<u32>,
}

impl Survey {
    /// Memory for this code and smaller ones.
    pub(crate) fn new(largest: &Code) -> Survey {
        let (k, m) = (largest.data_count(), largest.parity_count());
        Survey {
            states: vec![State::Absent; k + m],
            data_count: 0,
            missing: Vec::with_capacity(m.min(k)),
            wanted: Vec::with_capacity(m.min(k)),
            used: Vec::with_capacity(m.min(k)),
        }
    }

    /// Takes down the shards of a block.
    pub(crate) fn list<R, L>(
        &mut self,
        code: &Code,
        received: &[(usize, R)],
        lost: &[(usize, L)],
    ) -> Result<(), Error> {
        let (k, m) = (code.data_count(), code.parity_count());
        self.states.iter_mut().for_each(|state| *state = State::Absent);
        self.data_count = k;
        for (place, (index, _)) in (0..).zip(received) {
            self.mark(*index, k + m, State::Here(place))?;
        }
        for (place, (index, _)) in (0..).zip(lost) {
            self.mark(*index, k, State::Wanted(place))?;
        }
        if received.len() < k {
            return Err(Error::TooFew { needed: k, found: received.len() });
        }
        self.missing.clear();
        self.wanted.clear();
        for (index, state) in (0..).zip(&self.states[..k]) {
            if !matches!(state, State::Here(_)) {
                self.missing.push(index);
            }
            if matches!(state, State::Wanted(_)) {
                self.wanted.push(index);
            }
        }
        Ok(())
    }

    fn mark(&mut self, index: usize, end: usize, mark: State) -> Result<(), Error> {
        let state = self.states[..end].get_mut(index).ok_or(Error::Index(index))?;
        if !matches!(state, State::Absent) {
            return Err(Error::Duplicate(index));
        }
        *state = mark;
        Ok(())
    }

    /// Uses the first parity shards in this range, as many as are missing; false if there are
    /// fewer.
    pub(crate) fn choose(&mut self, parity: Range<usize>) -> bool {
        self.used.clear();
        let states = &self.states[self.data_count..][parity.clone()];
        let here = (parity.start as u32..).zip(states).filter(|(_, s)| matches!(s, State::Here(_)));
        self.used.extend(here.map(|(j, _)| j).take(self.missing.len()));
        self.used.len() == self.missing.len()
    }

    /// Where a shard stands in the list of those received.
    pub(crate) fn place(&self, index: usize) -> Option<usize> {
        match self.states[index] {
            State::Here(place) => Some(place as usize),
            _ => None,
        }
    }

    pub(crate) fn is_here(&self, index: usize) -> bool {
        self.place(index).is_some()
    }

    /// Where a shard that is to be recovered stands in the list of those.
    pub(crate) fn lost_place(&self, index: usize) -> usize {
        match self.states[index] {
            State::Wanted(place) => place as usize,
            _ => unreachable!("only wanted shards are recovered"),
        }
    }

    /// The place in the field of a missing shard, and its number among those missing.
    pub(crate) fn missing_number(&self, code: &Code, index: u32) -> (usize, usize) {
        let number = self.missing.binary_search(&index).expect("a missing shard");
        (code.chunk_count() + index as usize, number)
    }

    /// Whether a parity shard at one of these places is used.
    pub(crate) fn uses(&self, places: Range<usize>) -> bool {
        is_any(&self.used, places.start, places.end)
    }

    /// Whether a data shard at one of these places is wanted, the first one being at `first`.
    pub(crate) fn wants(&self, first: usize, places: Range<usize>) -> bool {
        is_any(&self.wanted, places.start.saturating_sub(first), places.end - first)
    }
}

fn is_any(list: &[u32], start: usize, end: usize) -> bool {
    let at = list.partition_point(|value| (*value as usize) < start);
    list.get(at).is_some_and(|value| (*value as usize) < end)
}
