//! Where the keyboard of a seat goes, among the windows of its output.
//!
//! sway gives a new window the focus of every seat, or that of none, by where seat0 is. A session's
//! own seat is put right after that: a new window on its output has its focus, one elsewhere does
//! not.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// A window that comes to the output so long after it was made is still new.
const NEW_TIME: Duration = Duration::from_secs(2);

/// What is to be done with the seat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wish<W> {
    /// Give its focus to this window.
    Focus(W),
    /// Have its pointer bring it back to its output, where no window had it.
    Return,
}

/// The windows of a desktop, as one output and its seat have it.
#[derive(Debug)]
pub struct Windows<W> {
    windows: Vec<Window<W>>,
    /// The last on the output that had the focus. Only that a window got it is well known: sway says
    /// that it is lost where any one of several seats goes.
    last: Option<W>,
    /// Those of the beginning are all told.
    is_settled: bool,
}

#[derive(Debug)]
struct Window<W> {
    window: W,
    made: Instant,
    /// Outputs that show it.
    output_count: usize,
    /// Whether that of the seat is one.
    is_here: bool,
    is_active: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// It has been dealt with.
    Known,
    /// No output shows it yet.
    New,
    /// It was new and elsewhere; it may come.
    Passing,
}

impl<W> Default for Windows<W> {
    fn default() -> Windows<W> {
        Windows { windows: Vec::new(), last: None, is_settled: false }
    }
}

impl<W: Clone + PartialEq> Windows<W> {
    /// There is another.
    pub fn on_window(&mut self, window: W, now: Instant) {
        let state = if self.is_settled { State::New } else { State::Known };
        let (output_count, is_here, is_active) = (0, false, false);
        self.windows.push(Window { window, made: now, output_count, is_here, is_active, state });
    }

    /// An output shows it: whether that of the seat.
    pub fn on_enter(&mut self, window: &W, is_here: bool) {
        if let Some(window) = self.get_mut(window) {
            window.output_count += 1;
            window.is_here |= is_here;
        }
        self.look_for_last(window);
    }

    /// An output shows it no more.
    pub fn on_leave(&mut self, window: &W, is_here: bool) {
        if let Some(window) = self.get_mut(window) {
            window.output_count = window.output_count.saturating_sub(1);
            window.is_here &= !is_here;
        }
    }

    /// Whether some seat has its focus there.
    pub fn on_active(&mut self, window: &W, is_active: bool) {
        if let Some(window) = self.get_mut(window) {
            window.is_active = is_active;
        }
        self.look_for_last(window);
    }

    /// It is gone.
    pub fn on_closed(&mut self, window: &W) {
        self.windows.retain(|it| it.window != *window);
        self.last.take_if(|last| last == window);
    }

    /// All is told of it for now.
    pub fn on_done(&mut self, window: &W, now: Instant) -> Option<Wish<W>> {
        let found = self.get_mut(window)?;
        if found.output_count == 0 {
            return None;
        }
        let is_late = now.saturating_duration_since(found.made) > NEW_TIME;
        let (is_here, is_active) = (found.is_here, found.is_active);
        let next = if is_here || is_late { State::Known } else { State::Passing };
        let state = std::mem::replace(&mut found.state, next);
        match state {
            State::Known => {
                found.state = State::Known;
                None
            }
            State::New | State::Passing if is_here => {
                (state == State::New || !is_late).then(|| self.focus(Some(window.clone())))
            }
            // It has not taken the focus of anybody.
            State::New if !is_active => None,
            State::New => Some(self.focus(self.last.clone())),
            State::Passing => None,
        }
    }

    /// All windows of the beginning are told. Which of them is to have the focus.
    pub fn settle(&mut self) -> Wish<W> {
        self.is_settled = true;
        let here = self.windows.iter().rev().find(|it| it.is_here).map(|it| it.window.clone());
        self.focus(self.last.clone().or(here))
    }

    fn focus(&mut self, window: Option<W>) -> Wish<W> {
        self.last = window.clone();
        window.map_or(Wish::Return, Wish::Focus)
    }

    fn look_for_last(&mut self, window: &W) {
        if self.get_mut(window).is_some_and(|it| it.is_here && it.is_active) {
            self.last = Some(window.clone());
        }
    }

    fn get_mut(&mut self, window: &W) -> Option<&mut Window<W>> {
        self.windows.iter_mut().find(|it| it.window == *window)
    }
}

#[cfg(test)]
mod tests {
    use punktfunk_core::net::clock;

    use super::*;

    /// Windows 1 and 2 on the output, of which 2 has the focus, and 9 elsewhere.
    fn windows(now: Instant) -> Windows<u32> {
        let mut windows = Windows::default();
        for (window, is_here) in [(1, true), (2, true), (9, false)] {
            windows.on_window(window, now);
            windows.on_enter(&window, is_here);
            windows.on_active(&window, window == 2);
            assert_eq!(windows.on_done(&window, now), None);
        }
        assert_eq!(windows.settle(), Wish::Focus(2));
        windows
    }

    #[test]
    fn a_new_window_has_the_focus_of_its_own_output_alone() {
        let now = clock::now();
        // Where it is, whether it took the focus of all, what is to be done.
        let table = [
            (true, true, Some(Wish::Focus(3))),
            (true, false, Some(Wish::Focus(3))),
            (false, true, Some(Wish::Focus(2))),
            (false, false, None),
        ];
        for (is_here, takes_focus, expected) in table {
            let mut windows = windows(now);
            windows.on_window(3, now);
            if takes_focus {
                windows.on_active(&2, false);
                windows.on_active(&3, true);
            }
            assert_eq!(windows.on_done(&3, now), None, "nobody knows yet where it is");
            windows.on_enter(&3, is_here);

            assert_eq!(windows.on_done(&3, now), expected, "{is_here} {takes_focus}");
            assert_eq!(windows.on_done(&3, now), None);
        }
    }

    #[test]
    fn a_window_that_opens_elsewhere_and_comes_at_once_is_new_here() {
        let now = clock::now();
        for (passed, expected) in [(NEW_TIME, Some(Wish::Focus(3))), (NEW_TIME * 2, None)] {
            let mut windows = windows(now);
            windows.on_window(3, now);
            windows.on_enter(&3, false);
            windows.on_done(&3, now);
            windows.on_leave(&3, false);
            windows.on_enter(&3, true);

            assert_eq!(windows.on_done(&3, now + passed), expected);
        }
    }

    #[test]
    fn without_a_window_the_pointer_brings_the_focus_back() {
        let now = clock::now();
        let mut windows = windows(now);
        windows.on_closed(&2);
        for (window, gone) in [(3, None), (4, Some(1))] {
            if let Some(gone) = gone {
                windows.on_active(&gone, true);
                windows.on_closed(&gone);
            }
            windows.on_window(window, now);
            windows.on_active(&window, true);
            windows.on_enter(&window, false);
            assert_eq!(windows.on_done(&window, now), Some(Wish::Return));
        }
        assert_eq!(Windows::<u32>::default().settle(), Wish::Return);
    }
}
