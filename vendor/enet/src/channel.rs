//! The receiving end of one channel: puts messages into order.
//!
//! Reliable numbers are 16 bits on the wire and are counted on here, so that the order of what waits
//! is the order of its numbers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::Error;
use crate::assembly::{Assembly, check};
use crate::inbox::Room;
use crate::wire::Fragment;

/// Reliable numbers ahead of the last delivered that are taken.
pub(crate) const WINDOW: u16 = 4096;

/// What became of a part of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Too far ahead: not to be acknowledged.
    Beyond,
    /// No room, where there might be some: not to be acknowledged.
    Full,
    /// Delivered, kept, or had before.
    Taken,
}

#[derive(Debug, Default)]
pub(crate) struct Channel {
    /// Of the last reliable message delivered.
    reliable: u64,
    /// Of the last unreliable message delivered behind that.
    unreliable: u16,
    /// Reliable messages by their first number, all above `reliable`.
    waiting: BTreeMap<u64, Held>,
    /// Unreliable messages by reliable and unreliable number, above what was delivered.
    loose: BTreeMap<(u64, u16), Held>,
}

#[derive(Debug)]
enum Held {
    Parts(Assembly),
    Whole(Vec<u8>),
}

/// Where a reliable number lies.
enum Place {
    Ahead(u64),
    Behind,
    Beyond,
}

impl Channel {
    pub(crate) fn handle_reliable(
        &mut self,
        sequence: u16,
        data: &[u8],
        room: &mut Room,
        out: &mut Vec<Vec<u8>>,
    ) -> Verdict {
        let sequence = match self.place(sequence) {
            Place::Ahead(sequence) => sequence,
            Place::Behind => return Verdict::Taken,
            Place::Beyond => return Verdict::Beyond,
        };
        if sequence == self.reliable + 1 {
            self.deliver(sequence, data.to_vec(), room, out);
            self.release(room, out);
        } else if let Entry::Vacant(place) = self.waiting.entry(sequence) {
            if !room.take_waiting(data.len()) {
                return Verdict::Full;
            }
            place.insert(Held::Whole(data.to_vec()));
        }
        Verdict::Taken
    }

    pub(crate) fn handle_fragment(
        &mut self,
        sequence: u16,
        fragment: &Fragment,
        data: &[u8],
        room: &mut Room,
        out: &mut Vec<Vec<u8>>,
    ) -> Result<Verdict, Error> {
        check(fragment, data, room.message_len_max())?;
        if sequence != fragment.start.wrapping_add(fragment.number as u16) {
            return Err(Error::Malformed);
        }
        let start = match self.place(fragment.start) {
            Place::Ahead(start) => start,
            Place::Behind => return Ok(Verdict::Taken),
            Place::Beyond => return Ok(Verdict::Beyond),
        };
        if start + u64::from(fragment.count - 1) > self.reliable + u64::from(WINDOW) {
            return Ok(Verdict::Beyond);
        }
        let held = match self.waiting.entry(start) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(place) if room.take_waiting(Assembly::cost(fragment)) => {
                place.insert(Held::Parts(Assembly::new(fragment)))
            }
            Entry::Vacant(_) => return Ok(Verdict::Full),
        };
        match held {
            Held::Parts(assembly) => assembly.insert(fragment, data)?,
            Held::Whole(_) => return Err(Error::Malformed),
        }
        self.release(room, out);
        Ok(Verdict::Taken)
    }

    pub(crate) fn handle_unreliable(
        &mut self,
        sequence: u16,
        number: u16,
        data: &[u8],
        room: &mut Room,
        out: &mut Vec<Vec<u8>>,
    ) -> Verdict {
        let Some(key) = self.loose_key(sequence, number) else {
            return Verdict::Taken;
        };
        if key.0 == self.reliable {
            self.deliver_loose(key, data.to_vec(), room, out);
        } else if let Entry::Vacant(place) = self.loose.entry(key) {
            if !room.take_loose(data.len()) {
                return Verdict::Full;
            }
            place.insert(Held::Whole(data.to_vec()));
        }
        Verdict::Taken
    }

    pub(crate) fn handle_unreliable_fragment(
        &mut self,
        sequence: u16,
        fragment: &Fragment,
        data: &[u8],
        room: &mut Room,
        out: &mut Vec<Vec<u8>>,
    ) -> Result<Verdict, Error> {
        check(fragment, data, room.message_len_max())?;
        let Some(key) = self.loose_key(sequence, fragment.start) else {
            return Ok(Verdict::Taken);
        };
        let held = match self.loose.entry(key) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(place) if room.take_loose(Assembly::cost(fragment)) => {
                place.insert(Held::Parts(Assembly::new(fragment)))
            }
            Entry::Vacant(_) => return Ok(Verdict::Full),
        };
        match held {
            Held::Parts(assembly) => assembly.insert(fragment, data)?,
            Held::Whole(_) => return Err(Error::Malformed),
        }
        self.release_loose(room, out);
        Ok(Verdict::Taken)
    }

    /// Gives up every unreliable message that is incomplete or ahead of its turn.
    pub(crate) fn drop_loose(&mut self, room: &mut Room) {
        for held in std::mem::take(&mut self.loose).into_values() {
            room.give_loose(held.len());
        }
    }

    fn place(&self, sequence: u16) -> Place {
        match sequence.wrapping_sub(self.reliable as u16) {
            0 | 0x8000.. => Place::Behind,
            ahead @ 1..=WINDOW => Place::Ahead(self.reliable + u64::from(ahead)),
            _ => Place::Beyond,
        }
    }

    /// `None` for what is late or too far ahead.
    fn loose_key(&self, sequence: u16, number: u16) -> Option<(u64, u16)> {
        let ahead = sequence.wrapping_sub(self.reliable as u16);
        let is_due = (ahead == 0 && number > self.unreliable) || (1..=WINDOW).contains(&ahead);
        is_due.then_some((self.reliable + u64::from(ahead), number))
    }

    /// Delivers every reliable message whose turn it is, and what was sent between them.
    fn release(&mut self, room: &mut Room, out: &mut Vec<Vec<u8>>) {
        while let Some(first) = self.waiting.first_entry() {
            if *first.key() > self.reliable {
                if *first.key() > self.reliable + 1 || !first.get().is_complete() {
                    return;
                }
                let held = first.remove();
                room.give_waiting(held.len());
                let last = self.reliable + u64::from(held.count());
                self.deliver(last, held.into_bytes(), room, out);
            } else {
                // Inside a message that was delivered: a lie.
                room.give_waiting(first.remove().len());
            }
        }
    }

    /// `last` is the last number of the message.
    fn deliver(&mut self, last: u64, bytes: Vec<u8>, room: &mut Room, out: &mut Vec<Vec<u8>>) {
        self.reliable = last;
        self.unreliable = 0;
        out.push(bytes);
        self.forget_loose((last, 0), room);
        self.release_loose(room, out);
    }

    fn release_loose(&mut self, room: &mut Room, out: &mut Vec<Vec<u8>>) {
        let turn = (self.reliable, 0)..=(self.reliable, u16::MAX);
        while let Some(key) =
            self.loose.range(turn.clone()).find(|(_, held)| held.is_complete()).map(|(key, _)| *key)
        {
            let held = self.loose.remove(&key).expect("found above");
            room.give_loose(held.len());
            self.deliver_loose(key, held.into_bytes(), room, out);
        }
    }

    fn deliver_loose(
        &mut self,
        key: (u64, u16),
        bytes: Vec<u8>,
        room: &mut Room,
        out: &mut Vec<Vec<u8>>,
    ) {
        self.unreliable = key.1;
        out.push(bytes);
        self.forget_loose(key, room);
    }

    /// Gives up what could only be delivered up to `key`.
    fn forget_loose(&mut self, key: (u64, u16), room: &mut Room) {
        while let Some(first) = self.loose.first_entry() {
            if *first.key() > key {
                return;
            }
            room.give_loose(first.remove().len());
        }
    }
}

impl Held {
    fn len(&self) -> usize {
        match self {
            Held::Parts(assembly) => assembly.held_len(),
            Held::Whole(bytes) => bytes.len(),
        }
    }

    /// Numbers that it takes.
    fn count(&self) -> u32 {
        match self {
            Held::Parts(assembly) => assembly.count(),
            Held::Whole(_) => 1,
        }
    }

    fn is_complete(&self) -> bool {
        match self {
            Held::Parts(assembly) => assembly.is_complete(),
            Held::Whole(_) => true,
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        match self {
            Held::Parts(assembly) => assembly.into_bytes(),
            Held::Whole(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    struct End {
        channel: Channel,
        room: Room,
    }

    impl End {
        fn new() -> End {
            End { channel: Channel::default(), room: Room::new(&Config::default()) }
        }

        fn at(reliable: u64) -> End {
            let mut end = End::new();
            end.channel.reliable = reliable;
            end
        }

        fn reliable(&mut self, sequence: u16, data: &str) -> (Verdict, Vec<String>) {
            let mut out = Vec::new();
            let data = data.as_bytes();
            let verdict = self.channel.handle_reliable(sequence, data, &mut self.room, &mut out);
            (verdict, texts(out))
        }

        fn unreliable(&mut self, sequence: u16, number: u16, data: &str) -> (Verdict, Vec<String>) {
            let mut out = Vec::new();
            let data = data.as_bytes();
            let verdict =
                self.channel.handle_unreliable(sequence, number, data, &mut self.room, &mut out);
            (verdict, texts(out))
        }

        /// A piece of one byte of a message as long as `count` says.
        fn fragment(
            &mut self,
            start: u16,
            count: u32,
            number: u32,
        ) -> Result<(Verdict, Vec<String>), Error> {
            let fragment = Fragment { start, count, number, total_len: count, offset: number };
            let sequence = start.wrapping_add(number as u16);
            let mut out = Vec::new();
            let verdict = self.channel.handle_fragment(
                sequence,
                &fragment,
                b"f",
                &mut self.room,
                &mut out,
            )?;
            Ok((verdict, texts(out)))
        }

        fn unreliable_fragment(&mut self, sequence: u16, start: u16, number: u32) -> Vec<String> {
            let fragment = Fragment { start, count: 2, number, total_len: 2, offset: number };
            let mut out = Vec::new();
            self.channel
                .handle_unreliable_fragment(sequence, &fragment, b"u", &mut self.room, &mut out)
                .unwrap();
            texts(out)
        }
    }

    fn texts(out: Vec<Vec<u8>>) -> Vec<String> {
        out.into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }

    fn taken(messages: &[&str]) -> (Verdict, Vec<String>) {
        (Verdict::Taken, messages.iter().map(|&text| text.into()).collect())
    }

    #[test]
    fn reliable_messages_come_out_once_and_in_order() {
        for start in [0_u64, 65_534, 65_535, 131_000] {
            let mut end = End::at(start);
            let number = |ahead: i64| (start as i64 + ahead) as u16;
            let steps: [(i64, &str, &[&str]); 7] = [
                (3, "c", &[]),
                (2, "b", &[]),
                (2, "again", &[]),
                (1, "a", &["a", "b", "c"]),
                (1, "again", &[]),
                (-9, "old", &[]),
                (4, "d", &["d"]),
            ];
            for (ahead, text, expected) in steps {
                assert_eq!(end.reliable(number(ahead), text), taken(expected), "{start} {text}");
            }
            assert!(end.room.is_empty());
        }
    }

    #[test]
    fn numbers_beyond_the_window_are_not_taken() {
        let cases = [
            (1, Verdict::Taken),
            (4096, Verdict::Taken),
            (4097, Verdict::Beyond),
            (0x7fff, Verdict::Beyond),
            (0x8000, Verdict::Taken), // long ago
        ];
        for (ahead, expected) in cases {
            let mut end = End::at(7);
            assert_eq!(end.reliable(7 + ahead, "x").0, expected, "{ahead}");
        }
        assert_eq!(End::new().fragment(4000, 98, 0).unwrap().0, Verdict::Beyond);
        assert_eq!(End::new().fragment(4000, 97, 0).unwrap().0, Verdict::Taken);
    }

    #[test]
    fn a_message_of_fragments_has_as_many_numbers() {
        let mut end = End::at(65_534);
        assert_eq!(end.fragment(65_535, 3, 1), Ok(taken(&[])));
        assert_eq!(end.reliable(2, "next"), taken(&[]));
        assert_eq!(end.fragment(65_535, 3, 0), Ok(taken(&[])));

        assert_eq!(end.fragment(65_535, 3, 2), Ok(taken(&["fff", "next"])));

        assert_eq!(end.fragment(65_535, 3, 2), Ok(taken(&[])));
        assert_eq!(end.reliable(3, "x"), taken(&["x"]));
        assert!(end.room.is_empty());
    }

    #[test]
    fn messages_inside_others_are_given_up() {
        let mut end = End::new();
        end.reliable(2, "inside");
        end.fragment(3, 9, 0).unwrap();
        end.fragment(1, 4, 0).unwrap();

        for number in 1..4 {
            end.fragment(1, 4, number).unwrap();
        }

        assert!(end.room.is_empty());
        assert_eq!(end.reliable(5, "next"), taken(&["next"]));
        assert_eq!(end.fragment(7, 2, 0), Ok(taken(&[])));
        assert_eq!(end.reliable(7, "whole"), taken(&[]));
        assert_eq!(end.reliable(6, "six"), taken(&["six"]));
        end.reliable(9, "nine");
        assert_eq!(end.fragment(9, 2, 0), Err(Error::Malformed));
    }

    #[test]
    fn unreliable_messages_are_never_late() {
        let mut end = End::new();
        let steps: [(u16, u16, &[&str]); 8] = [
            (0, 1, &["0.1"]),
            (0, 3, &["0.3"]),
            (0, 2, &[]),
            (0, 3, &[]),
            (1, 2, &[]),
            (1, 1, &[]),
            (2, 1, &[]),
            (0x9000, 5, &[]),
        ];
        for (sequence, number, expected) in steps {
            let text = format!("{sequence}.{number}");
            assert_eq!(end.unreliable(sequence, number, &text), taken(expected), "{text}");
        }

        assert_eq!(end.reliable(2, "2"), taken(&[]));
        assert_eq!(end.reliable(1, "1"), taken(&["1", "1.1", "1.2", "2", "2.1"]));

        assert_eq!(end.unreliable(1, 3, "late"), taken(&[]));
        assert!(end.room.is_empty());
    }

    #[test]
    fn a_newer_unreliable_message_ends_the_wait_for_fragments() {
        let mut end = End::new();
        assert_eq!(end.unreliable_fragment(0, 1, 0), [""; 0]);
        assert_eq!(end.unreliable_fragment(0, 2, 1), [""; 0]);

        assert_eq!(end.unreliable_fragment(0, 2, 0), ["uu"]);

        assert!(end.room.is_empty());
        assert_eq!(end.unreliable_fragment(0, 1, 1), [""; 0]);
        assert_eq!(end.unreliable(0, 3, "x"), taken(&["x"]));
    }

    #[test]
    fn what_may_wait_is_limited() {
        let mut end = End::new();
        let mut waiting = (2..).map(|sequence| end.reliable(sequence, "x").0);
        assert_eq!(waiting.position(|verdict| verdict == Verdict::Full), Some(512));
        assert_eq!(end.reliable(1, "x").1.len(), 513);

        let mut loose = (1..).map(|number| end.unreliable(514, number, "x").0);
        assert_eq!(loose.position(|verdict| verdict == Verdict::Full), Some(64));
        end.channel.drop_loose(&mut end.room);
        assert!(end.room.is_empty());

        let big = "x".repeat(60_000);
        let mut waiting = (515..).map(|sequence| end.reliable(sequence, &big).0);
        assert_eq!(waiting.position(|verdict| verdict == Verdict::Full), Some(4));
    }
}
