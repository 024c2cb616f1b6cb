//! Which packets have come: none is taken twice, and those that did not come are counted.
//!
//! The window holds the newest number and so many before it. What leaves it and was not there is
//! lost, or what was not there for long enough: a direction counts its packets from 0. Whether a
//! packet is genuine is known before the window moves.

#![forbid(unsafe_code)]

/// Packets that a window covers at least.
pub const LEN_MIN: usize = 1024;
/// Lengths of bursts that are told apart: 1, 2 and 3, 4 to 7, and so on.
pub const BURST_CLASS_COUNT: usize = 16;

/// What became of a direction's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Those that came.
    pub received: u64,
    /// Those that were given up.
    pub lost: u64,
    /// Those that came after they were given up. They are among the received ones too.
    pub late: u64,
    /// How often so many in a row were lost, by the power of two: 1, 2 and 3, 4 to 7, and so on.
    pub bursts: [u64; BURST_CLASS_COUNT],
}

/// See the module.
#[derive(Debug)]
pub struct Window {
    /// A bit for each number, at its remainder.
    bits: Box<[u64]>,
    /// One more than the highest number that came; 0 before the first.
    end: u64,
    /// What became of those below it is counted.
    settled: u64,
    /// What was the end when it was settled last.
    mark: u64,
    /// Lost ones in a row, at the end of what is settled.
    run: u64,
    loss: Loss,
}

impl Window {
    /// Covers so many packets at least.
    pub fn new(len: usize) -> Window {
        let len = len.max(LEN_MIN).next_power_of_two();
        Window {
            bits: vec![0; len / 64].into(),
            end: 0,
            settled: 0,
            mark: 0,
            run: 0,
            loss: Loss::default(),
        }
    }

    /// Packets that it covers.
    pub fn reach(&self) -> u64 {
        self.bits.len() as u64 * 64
    }

    /// Whether a packet of that number has not come, and is not too old to know.
    pub fn is_new(&self, number: u64) -> bool {
        number >= self.end || (number + self.reach() >= self.end && !self.has(number))
    }

    /// Notes a packet that is new and genuine.
    pub fn note(&mut self, number: u64) {
        if number >= self.end {
            self.slide(number + 1);
        }
        let (word, bit) = self.place(number);
        self.bits[word] |= bit;
        self.loss.received += 1;
        self.loss.late += u64::from(number < self.settled);
    }

    /// Gives up what was missing when this was called last and still is. Called every so often, it
    /// makes losses known after twice that time at most, however few packets there are.
    pub fn settle(&mut self) {
        self.settle_to(self.mark);
        self.mark = self.end;
    }

    /// What became of them so far.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// One more than the highest number that came.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Packets that have not come, and are not given up.
    pub fn missing_count(&self) -> u64 {
        (self.settled..self.end).filter(|number| !self.has(*number)).count() as u64
    }

    fn slide(&mut self, end: u64) {
        let len = self.reach();
        // Numbers that leave, and were in the window at some time.
        let first = self.end.saturating_sub(len);
        let left = end.saturating_sub(len).min(self.end);
        self.settle_to(left);
        for number in first..left {
            let (word, bit) = self.place(number);
            self.bits[word] &= !bit;
        }
        // Numbers that were never in it.
        let passed = end.saturating_sub(len).saturating_sub(self.end);
        if passed > 0 {
            self.leave(false, passed);
            self.settled += passed;
        }
        self.end = end;
    }

    /// Counts those below a number of the window.
    fn settle_to(&mut self, end: u64) {
        for number in self.settled..end {
            self.leave(self.has(number), 1);
        }
        self.settled = self.settled.max(end);
    }

    fn leave(&mut self, is_here: bool, count: u64) {
        if !is_here {
            self.loss.lost += count;
            self.run += count;
        } else if self.run > 0 {
            let class = (self.run.ilog2() as usize).min(BURST_CLASS_COUNT - 1);
            self.loss.bursts[class] += 1;
            self.run = 0;
        }
    }

    fn has(&self, number: u64) -> bool {
        let (word, bit) = self.place(number);
        self.bits[word] & bit != 0
    }

    fn place(&self, number: u64) -> (usize, u64) {
        ((number / 64) as usize % self.bits.len(), 1 << (number % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(numbers: impl IntoIterator<Item = u64>) -> Window {
        let mut window = Window::new(0);
        for number in numbers {
            assert!(window.is_new(number), "{number}");
            window.note(number);
        }
        window
    }

    #[test]
    fn a_packet_is_new_once_and_while_the_window_covers_it() {
        let window = window([5, 3, 4, 2000]);

        let table = [
            (5, false),  // too old to know
            (977, true), // the last that is covered
            (976, false),
            (1999, true),
            (2000, false), // here
            (2001, true),
            (1 << 47, true),
        ];
        for (number, expected) in table {
            assert_eq!(window.is_new(number), expected, "{number}");
        }
    }

    #[test]
    fn what_leaves_the_window_without_having_come_is_lost_in_bursts() {
        let lost = [10..11, 20..23, 40..47, 100..101];
        let is_lost = |number: &u64| lost.iter().any(|range| range.contains(number));

        let mut window = window((0..500).filter(|number| !is_lost(number)));
        assert_eq!((window.loss().lost, window.missing_count()), (0, 12));
        // Somewhat late, but in time.
        window.note(100);
        for number in 500..2000 {
            window.note(number);
        }

        let loss = window.loss();
        assert_eq!((loss.received, loss.lost, window.missing_count()), (1989, 11, 0));
        assert_eq!(loss.bursts[..4], [1, 1, 1, 0]);
    }

    #[test]
    fn what_does_not_come_between_two_calls_is_lost_however_few_there_are() {
        let mut window = window([0, 1, 4, 6]);

        window.settle();
        assert_eq!((window.loss().lost, window.missing_count()), (0, 3));
        // One of them was held up, and is in time.
        window.note(3);
        window.note(8);
        window.settle();
        assert_eq!((window.loss().lost, window.missing_count()), (2, 1));
        assert_eq!(window.loss().bursts[0], 2);
        window.settle();
        // One is too late to be taken back, and none is counted twice.
        window.note(2);
        for number in 9..3000 {
            window.note(number);
        }

        let loss = window.loss();
        assert_eq!((loss.received, loss.lost, loss.late), (2998, 3, 1));
        assert_eq!((loss.bursts[0], loss.bursts[1]), (3, 0));
    }

    #[test]
    fn a_leap_costs_no_more_than_the_window_is_long() {
        let mut window = window([7]);

        window.note((1 << 48) - 1);

        let loss = window.loss();
        assert_eq!(loss.lost + loss.received + window.missing_count(), 1 << 48);
        assert_eq!(window.missing_count(), 1023);
    }

    #[test]
    fn what_is_before_the_first_that_came_is_lost_too() {
        let window = window(2000..2100);

        assert_eq!((window.loss().lost, window.missing_count()), (1076, 924));
    }

    #[test]
    fn counting_agrees_with_a_list_whatever_the_order() {
        let mut state = 0x1234_5678_9abc_def1_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..50 {
            let (mut window, mut came) = (Window::new(0), std::collections::HashSet::new());
            let mut next = random() % 1000;
            for _ in 0..5000 {
                next += [1, 1, 1, 2, 30, 2000][(random() % 6) as usize];
                if random() % 50 == 0 {
                    window.settle();
                }
                let number = next - random() % next.min(40);
                if came.insert(number) {
                    assert!(window.is_new(number) || number + 1024 < window.end());
                    if window.is_new(number) {
                        window.note(number);
                    } else {
                        came.remove(&number);
                    }
                } else {
                    assert!(!window.is_new(number));
                }
            }
            let loss = window.loss();
            assert_eq!(loss.received, came.len() as u64);
            let missing = loss.lost + window.missing_count();
            assert_eq!(missing + loss.received, window.end() + loss.late);
        }
    }
}
