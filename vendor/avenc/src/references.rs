//! Which pictures an H.264 encoder can still refer to, and which of them the decoder has lost.
//!
//! The mirror of the encoder's decoded picture buffer: a sliding window over the pictures since the
//! last IDR frame. Everything that was encoded since a lost picture counts as lost with it, since
//! each picture refers to the one before.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

/// FFmpeg's decoder, which most clients have, fills gaps in frame_num, and forgets when frame_num
/// wraps in one: it then takes the pictures up to the next wrap for old ones and does not show
/// them. The least MaxFrameNum that H.264 allows (7.4.2.1.1), and the one that libx264 uses.
const FRAME_NUM_WRAP: u64 = 16;

/// What has to be done about a loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Remedy {
    /// The next picture refers to one from before this one, which is lost.
    ReferBefore(u64),
    /// Nothing that is left was before the loss: an IDR frame.
    Idr,
    /// It is dealt with already, by the last heal or by an IDR frame since.
    Nothing,
}

/// The pictures that can be referred to.
#[derive(Debug)]
pub struct References {
    /// Oldest first, all since the last IDR frame, at most as many as the capacity.
    pictures: VecDeque<Reference>,
    capacity: usize,
    /// The last IDR frame, where there was one.
    idr: Option<u64>,
    /// What the last heal, done or to come, took for lost: first and last.
    lost: Option<(u64, u64)>,
    heals_next: bool,
    idr_next: bool,
}

#[derive(Debug)]
struct Reference {
    number: u64,
    is_lost: bool,
}

impl References {
    /// A buffer of `capacity` pictures, none yet; the first is to be an IDR frame.
    pub fn new(capacity: usize) -> References {
        References {
            pictures: VecDeque::with_capacity(capacity + 1),
            capacity,
            idr: None,
            lost: None,
            heals_next: false,
            idr_next: true,
        }
    }

    /// The next picture is to be an IDR frame.
    pub fn request_idr(&mut self) {
        self.idr_next = true;
    }

    /// Pictures `first` to `last` are lost to the decoder.
    pub fn invalidate(&mut self, first: u64, last: u64) -> Remedy {
        let newest = self.pictures.back().map(|picture| picture.number);
        if self.idr_next || first > last || newest.is_none_or(|newest| last > newest) {
            return self.remedy_by_idr();
        }
        let is_within = |&(from, to): &(u64, u64)| from <= first && last <= to;
        if self.idr > Some(last) || self.lost.as_ref().is_some_and(is_within) {
            return Remedy::Nothing;
        }
        for picture in self.pictures.iter_mut().filter(|picture| picture.number >= first) {
            picture.is_lost = true;
        }
        let from = match self.lost {
            Some((from, _)) if self.heals_next => first.min(from),
            _ => first,
        };
        let newest = newest.unwrap_or(last);
        if self.pictures.iter().all(|picture| picture.is_lost) || self.wraps(from, newest) {
            return self.remedy_by_idr();
        }
        self.lost = Some((from, newest));
        self.heals_next = true;
        Remedy::ReferBefore(from)
    }

    /// Whether frame_num, which counts from the last IDR frame, begins anew in a range.
    fn wraps(&self, first: u64, last: u64) -> bool {
        let turn = |number: u64| number.saturating_sub(self.idr.unwrap_or(0)) / FRAME_NUM_WRAP;
        first == 0 || turn(first - 1) != turn(last)
    }

    fn remedy_by_idr(&mut self) -> Remedy {
        self.idr_next = true;
        self.heals_next = true;
        Remedy::Idr
    }

    /// A picture was encoded. Returns whether it is the first since a loss that refers to nothing
    /// that was lost.
    pub fn handle_unit(&mut self, number: u64, is_idr: bool) -> bool {
        if is_idr {
            self.pictures.clear();
            self.idr = Some(number);
            self.idr_next = false;
            self.lost = None;
        }
        self.pictures.push_back(Reference { number, is_lost: false });
        if self.pictures.len() > self.capacity {
            self.pictures.pop_front();
        }
        std::mem::take(&mut self.heals_next)
    }

    /// Whether the next picture is to be an IDR frame.
    pub fn is_idr_next(&self) -> bool {
        self.idr_next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buffer of five after pictures 0 to `newest`.
    fn after(newest: u64) -> References {
        let mut references = References::new(5);
        for number in 0..=newest {
            references.handle_unit(number, number == 0);
        }
        references
    }

    #[test]
    fn a_loss_is_healed_from_before_it_while_that_is_kept() {
        let cases = [
            ("the newest", 23, 23, Remedy::ReferBefore(23)),
            ("one with three after it", 20, 20, Remedy::ReferBefore(20)),
            ("the oldest that is kept", 19, 19, Remedy::Idr),
            ("one that is kept no more", 3, 3, Remedy::Idr),
            ("a range", 21, 23, Remedy::ReferBefore(21)),
            ("everything", 0, 23, Remedy::Idr),
            ("one that is to come", 24, 24, Remedy::Idr),
            ("a range that ends in one to come", 22, 24, Remedy::Idr),
            ("a range that ends before it begins", 22, 21, Remedy::Idr),
        ];

        for (name, first, last, expected) in cases {
            let mut references = after(23);
            assert_eq!(references.invalidate(first, last), expected, "{name}");
            assert_eq!(references.is_idr_next(), expected == Remedy::Idr, "{name}");
            assert!(references.handle_unit(24, expected == Remedy::Idr), "{name}");
            assert!(!references.handle_unit(25, false), "{name}");
        }
    }

    #[test]
    fn a_loss_in_which_frame_num_wraps_is_not_healed() {
        // The newest picture, the loss; the IDR frame is picture 0.
        let cases = [
            (31, (30, 31), Remedy::ReferBefore(30)),
            (32, (32, 32), Remedy::Idr),
            (33, (31, 31), Remedy::Idr),
            (33, (33, 33), Remedy::ReferBefore(33)),
        ];

        for (newest, (first, last), expected) in cases {
            assert_eq!(after(newest).invalidate(first, last), expected, "{first} of {newest}");
        }
    }

    #[test]
    fn what_is_healed_is_not_healed_again() {
        let mut references = after(23);

        assert_eq!(references.invalidate(20, 20), Remedy::ReferBefore(20));
        assert_eq!(references.invalidate(20, 22), Remedy::Nothing);
        assert!(references.handle_unit(24, false));

        assert_eq!(references.invalidate(20, 23), Remedy::Nothing);
        assert!(!references.handle_unit(25, false));
    }

    #[test]
    fn a_loss_of_what_healed_is_another_loss() {
        let mut references = after(23);

        references.invalidate(22, 22);
        references.handle_unit(24, false);

        assert_eq!(references.invalidate(22, 24), Remedy::ReferBefore(22));
        assert!(references.handle_unit(25, false));
        assert_eq!(references.invalidate(22, 25), Remedy::ReferBefore(22)); // 21 is left
        assert!(references.handle_unit(26, false));
        assert_eq!(references.invalidate(22, 26), Remedy::Idr);
    }

    #[test]
    fn a_loss_after_a_heal_refers_to_what_healed() {
        let mut references = after(23);

        references.invalidate(20, 20);
        references.handle_unit(24, false);
        references.handle_unit(25, false);

        assert_eq!(references.invalidate(25, 25), Remedy::ReferBefore(25));
    }

    #[test]
    fn an_earlier_loss_widens_the_one_that_waits() {
        let mut references = after(23);

        assert_eq!(references.invalidate(22, 22), Remedy::ReferBefore(22));
        assert_eq!(references.invalidate(21, 21), Remedy::ReferBefore(21));
        assert_eq!(references.invalidate(22, 23), Remedy::Nothing);
    }

    #[test]
    fn a_loss_before_the_last_idr_frame_is_none() {
        let mut references = after(23);
        references.handle_unit(24, true);
        references.handle_unit(25, false);

        assert_eq!(references.invalidate(20, 23), Remedy::Nothing);
        assert_eq!(references.invalidate(20, 24), Remedy::Idr);
    }

    #[test]
    fn one_reference_heals_nothing() {
        let mut references = References::new(1);
        references.handle_unit(0, true);
        references.handle_unit(1, false);

        assert_eq!(references.invalidate(1, 1), Remedy::Idr);
    }
}
