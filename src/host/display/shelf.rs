//! Displays between two sessions of a run: an app goes on while its client is away.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::Display;

/// One place for each run.
pub struct Shelf<T = Display> {
    places: Mutex<HashMap<u32, Place<T>>>,
    /// Rung when a place changes.
    changed: Condvar,
}

/// Where the display of a run is.
enum Place<T> {
    Here(T),
    /// Whoever took it gives it back, or says that there is none.
    Lent,
}

impl<T> Shelf<T> {
    /// What is there for a run. Whoever asks has the place of the run from then on, and
    /// has to [`Shelf::put`] what becomes of it; until then others wait.
    pub fn take(&self, run: u32) -> Option<T> {
        let mut places = self.lock();
        loop {
            match places.insert(run, Place::Lent) {
                None => return None,
                Some(Place::Here(display)) => return Some(display),
                Some(Place::Lent) => {
                    places = self.changed.wait(places).expect("no thread outlives a panic");
                }
            }
        }
    }

    /// Gives the place of a run back, with or without something in it.
    pub fn put(&self, run: u32, display: Option<T>) {
        let mut places = self.lock();
        let before = match display {
            Some(display) => places.insert(run, Place::Here(display)),
            None => places.remove(&run),
        };
        drop(places);
        self.changed.notify_all();
        debug_assert!(!matches!(before, Some(Place::Here(_))), "taken before");
    }

    /// What holds of what is there for a run: `None` if there is nothing, and `false` of what is
    /// lent, where somebody else looks. It is lent meanwhile, which may take long.
    pub fn look(&self, run: u32, holds: impl FnOnce(&mut T) -> bool) -> Option<bool> {
        let mut places = self.lock();
        let Place::Here(mut display) = std::mem::replace(places.get_mut(&run)?, Place::Lent) else {
            return Some(false);
        };
        drop(places);
        let result = holds(&mut display);
        self.put(run, Some(display));
        Some(result)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Place<T>>> {
        self.places.lock().expect("no thread outlives a panic")
    }
}

impl<T> Default for Shelf<T> {
    fn default() -> Shelf<T> {
        Shelf { places: Mutex::new(HashMap::new()), changed: Condvar::new() }
    }
}

impl<T> fmt::Debug for Shelf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shelf of {} runs", self.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_is_left_to_a_run_is_there_for_it_once() {
        let shelf = Shelf::default();

        assert_eq!(shelf.take(1), None);
        shelf.put(1, Some("one"));

        assert_eq!((shelf.look(1, |_| true), shelf.look(2, |_| true)), (Some(true), None));
        assert_eq!((shelf.take(2), shelf.take(1)), (None, Some("one")));
        assert_eq!(shelf.look(1, |_| true), Some(false));
        shelf.put(1, None);
        assert_eq!(shelf.look(1, |_| true), None);
        assert_eq!(shelf.take(1), None);
    }

    #[test]
    fn who_looks_keeps_nobody_waiting_but_for_what_is_looked_at() {
        let shelf = Shelf::default();
        for (run, display) in [(1, "one"), (2, "two")] {
            assert_eq!(shelf.take(run), None);
            shelf.put(run, Some(display));
        }
        let (begun, begins) = std::sync::mpsc::channel();
        let (end, ends) = std::sync::mpsc::channel();
        let holds = move |_: &mut &str| begun.send(()).is_ok() && ends.recv().is_ok();

        let (looked, taken) = thread::scope(|scope| {
            let looker = scope.spawn(|| shelf.look(1, holds));
            begins.recv().unwrap();
            assert_eq!((shelf.take(2), shelf.look(1, |_| true)), (Some("two"), Some(false)));
            let taker = scope.spawn(|| shelf.take(1));
            assert!(!taker.is_finished());
            end.send(()).unwrap();
            (looker.join().unwrap(), taker.join().unwrap())
        });

        assert_eq!((looked, taken), (Some(true), Some("one")));
    }

    #[test]
    fn who_comes_too_early_waits_for_what_is_given_back() {
        let shelf = Shelf::default();
        assert_eq!(shelf.take(1), None);

        let taken = thread::scope(|scope| {
            let waiter = scope.spawn(|| shelf.take(1));
            assert!(!waiter.is_finished());
            shelf.put(1, Some(7));
            waiter.join().unwrap()
        });

        assert_eq!(taken, Some(7));
    }
}
