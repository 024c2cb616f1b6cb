//! What is open, by handle.
//!
//! A handle tells what it is of, its place, and how often that place was taken: one that was closed
//! is known as such, whoever has the place by then. 0 is none.

#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::status::Status;

/// Places of a table. One more is refused.
const PLACE_COUNT: usize = 4096;
const PLACE_BITS: u32 = 12;
/// In front of these is what it is of, behind them the place.
const TURN_BITS: u32 = 44;

/// Things of one kind, each behind a lock of its own.
pub(super) struct Table<T> {
    /// Not 0, and different for each table.
    kind: u8,
    places: Mutex<Vec<Place<T>>>,
}

struct Place<T> {
    /// How often it was taken.
    turn: u64,
    thing: Option<Arc<Mutex<T>>>,
}

impl<T> Table<T> {
    pub(super) const fn new(kind: u8) -> Table<T> {
        Table { kind, places: Mutex::new(Vec::new()) }
    }

    /// Gives a thing its handle.
    pub(super) fn open(&self, thing: T) -> Result<u64, Status> {
        let mut places = self.places();
        let free = places.iter().position(|place| place.thing.is_none());
        let index = free.unwrap_or(places.len());
        if index >= PLACE_COUNT {
            return Err(Status::TooMany);
        }
        if free.is_none() {
            places.push(Place { turn: 0, thing: None });
        }
        let place = &mut places[index];
        place.turn += 1;
        place.thing = Some(Arc::new(Mutex::new(thing)));
        Ok(self.handle(index, place.turn))
    }

    /// Takes it back. A call on it that is under way on another thread ends first, or has the last
    /// of it.
    pub(super) fn close(&self, handle: u64) -> Result<(), Status> {
        let thing = self.place(&mut self.places(), handle)?.thing.take();
        drop(thing); // the table is not locked any more
        Ok(())
    }

    /// Calls on one thing wait for one another.
    pub(super) fn with<R>(
        &self,
        handle: u64,
        call: impl FnOnce(&mut T) -> Result<R, Status>,
    ) -> Result<R, Status> {
        let thing = self.place(&mut self.places(), handle)?.thing.clone();
        let thing = thing.ok_or(Status::Handle)?;
        // Poisoned by a panic: what is behind it may be anything.
        let mut thing = thing.lock().map_err(|_| Status::Broken)?;
        call(&mut thing)
    }

    fn place<'a>(
        &self,
        places: &'a mut [Place<T>],
        handle: u64,
    ) -> Result<&'a mut Place<T>, Status> {
        let index = (handle % PLACE_COUNT as u64) as usize;
        let place = places.get_mut(index).ok_or(Status::Handle)?;
        let is_it = place.thing.is_some() && handle == self.handle(index, place.turn);
        if is_it { Ok(place) } else { Err(Status::Handle) }
    }

    fn handle(&self, index: usize, turn: u64) -> u64 {
        let turn = turn % (1 << TURN_BITS);
        u64::from(self.kind) << (TURN_BITS + PLACE_BITS) | turn << PLACE_BITS | index as u64
    }

    /// Nothing panics while it is locked but for want of memory, and then nothing is half done.
    fn places(&self) -> MutexGuard<'_, Vec<Place<T>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::status::guard;

    #[test]
    fn a_handle_is_good_from_open_to_close_in_its_table() {
        let (table, other) = (Table::new(1), Table::new(2));
        let first = table.open('a').unwrap();
        let second = table.open('b').unwrap();
        let elsewhere = other.open('c').unwrap();

        assert_eq!(table.with(first, |it| Ok(*it)), Ok('a'));
        assert_eq!(table.with(second, |it| Ok(*it)), Ok('b'));
        assert_eq!(table.close(first), Ok(()));
        let third = table.open('d').unwrap();
        assert_eq!(table.with(third, |it| Ok(*it)), Ok('d'));
        for wrong in [first, elsewhere, 0, u64::MAX, first ^ 1 << 40, third + 2] {
            assert_eq!(table.with(wrong, |it| Ok(*it)), Err(Status::Handle), "{wrong:x}");
            assert_eq!(table.close(wrong), Err(Status::Handle), "{wrong:x}");
        }
    }

    #[test]
    fn there_are_only_so_many() {
        let table = Table::new(1);
        let handles: Vec<u64> = (0..PLACE_COUNT).map(|it| table.open(it).unwrap()).collect();

        assert_eq!(table.open(0), Err(Status::TooMany));
        table.close(handles[7]).unwrap();
        assert!(table.open(0).is_ok());
    }

    #[test]
    fn a_defect_breaks_what_it_was_in_and_nothing_else() {
        let table = Table::new(1);
        let (broken, whole) = (table.open(1).unwrap(), table.open(2).unwrap());

        let status = guard(|| table.with(broken, |_| panic!("as a defect would")));

        assert_eq!(status, Status::Defect as i32);
        assert_eq!(table.with(broken, |it| Ok(*it)), Err(Status::Broken));
        assert_eq!(table.with(whole, |it| Ok(*it)), Ok(2));
        assert_eq!(table.close(broken), Ok(()));
    }
}
