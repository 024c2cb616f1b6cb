//! Seats on desktops that are not ours: no session is to take the focus of another.
//!
//! The first session of a desktop shares seat0 with the user, so that nothing is changed for it. One
//! that comes beside it is given a seat of its own. Any command about seats makes sway 1.7 take the
//! devices of programs from their seats, so as many as there may be sessions are made at once. They
//! stay until sway reads its configuration anew, and then sway removes those that are not named
//! there, which programs do not survive that give up a seat in good order. On a desktop whose
//! configuration has them, the first session has a seat of its own as well.

#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex};

use super::Error;
use super::process::Process;
use crate::ipc::{self, Client};

/// What seats of ours are called, before their numbers.
const NAME: &str = "punktfunk-";
/// The number of seat0.
const SHARED: u32 = 0;

/// Which seats have sessions. One for all sessions.
#[derive(Debug, Default)]
pub struct Seats {
    /// The desktop's process and the number of the seat.
    taken: Mutex<Vec<(Process, u32)>>,
}

/// The seat of one session.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    desktop: Process,
    number: u32,
}

impl Seats {
    /// Takes a seat of a desktop that no session has. If that is to be made, those of so many sessions
    /// are. To be done for one session at a time.
    pub fn take(
        self: &Arc<Seats>,
        desktop: Process,
        client: &mut Client,
        sessions_max: u32,
    ) -> Result<Seat, Error> {
        let has_ours = client.seats()?.iter().any(|seat| seat.name == name(1));
        let seat = self.first_free(desktop, if has_ours { 1 } else { SHARED });
        seat.restore(client, sessions_max)?;
        Ok(seat)
    }

    /// Takes the seat of the user, whoever else has it.
    pub fn share(self: &Arc<Seats>, desktop: Process) -> Seat {
        self.taken.lock().expect("no thread outlives a panic").push((desktop, SHARED));
        Seat { seats: Arc::clone(self), desktop, number: SHARED }
    }

    fn first_free(self: &Arc<Seats>, desktop: Process, first: u32) -> Seat {
        let mut taken = self.taken.lock().expect("no thread outlives a panic");
        let is_free = |number: &u32| !taken.contains(&(desktop, *number));
        let number = (first..).find(is_free).expect("there are fewer sessions than numbers");
        taken.push((desktop, number));
        Seat { seats: Arc::clone(self), desktop, number }
    }
}

impl Seat {
    /// What sway calls it, if it is not the user's.
    pub fn name(&self) -> Option<String> {
        (self.number != SHARED).then(|| name(self.number))
    }

    /// Makes the seats of so many sessions, if this one is not there. To be done for one session at a
    /// time.
    pub fn restore(&self, client: &mut Client, sessions_max: u32) -> Result<(), Error> {
        let Some(name) = self.name() else { return Ok(()) };
        let there = client.seats()?;
        if there.iter().any(|seat| seat.name == name) {
            return Ok(());
        }
        Ok(client.run(&command(sessions_max.max(self.number), &there))?)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().expect("no thread outlives a panic");
        let index = taken.iter().position(|it| *it == (self.desktop, self.number));
        taken.swap_remove(index.expect("put there with this value"));
    }
}

fn name(number: u32) -> String {
    format!("{NAME}{number}")
}

/// What makes those that are missing of so many seats. Each is given a device that there is none of:
/// without such a word sway knows no seat.
fn command(count: u32, there: &[ipc::Seat]) -> String {
    let is_there = |name: &String| there.iter().any(|seat| seat.name == *name);
    let missing = (1..=count).map(name).filter(|name| !is_there(name));
    // Devices of programs stay with the user through this only at a seat that takes those which no
    // seat is named for. With the first device of hardware sway makes that seat0, not before.
    let is_bare = !there.iter().any(ipc::Seat::has_hardware);
    let first = is_bare.then(|| "seat seat0 fallback true".to_owned());
    let others = missing.map(|name| format!("seat {name} attach {name}"));
    first.into_iter().chain(others).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_one_sessions_until_that_goes() {
        let seats = Arc::new(Seats::default());
        let [desktop, other] = [1, 2].map(|pid| Process { pid, start_ticks: 7 });
        let first_free = |first| seats.first_free(desktop, first);

        let (shared, one, mirror) = (first_free(SHARED), first_free(SHARED), seats.share(desktop));
        let elsewhere = seats.first_free(other, 1);
        let names = [&shared, &one, &mirror, &elsewhere].map(Seat::name);
        assert_eq!(names, [None, Some(name(1)), None, Some(name(1))]);
        drop(shared);
        // Somebody still has the user's.
        let two = first_free(SHARED);
        drop((mirror, one));
        assert_eq!(two.name(), Some(name(2)));
        assert_eq!(first_free(SHARED).name(), None);
        assert_eq!(first_free(1).name(), Some(name(1)));
    }

    #[test]
    fn seats_that_are_missing_are_made_at_once() {
        let parse = |text| serde_json::from_str::<Vec<ipc::Seat>>(text).unwrap();
        let there = r#"[{"name":"seat0","devices":[{"vendor":1}]},{"name":"punktfunk-2"}]"#;
        let bare = r#"[{"name":"seat0","devices":[{"vendor":0}]},{"name":"punktfunk-1"}]"#;
        let table = [
            (there, 1, "seat punktfunk-1 attach punktfunk-1"),
            (there, 3, "seat punktfunk-1 attach punktfunk-1; seat punktfunk-3 attach punktfunk-3"),
            (bare, 2, "seat seat0 fallback true; seat punktfunk-2 attach punktfunk-2"),
        ];
        for (there, count, expected) in table {
            assert_eq!(command(count, &parse(there)), expected);
        }
    }
}
