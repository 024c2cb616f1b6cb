//! When a recorder is read, and when another is looked for: sound that goes on when the sound
//! server does not.
//!
//! A value that is told what came of everything and says what to do next; the caller does it.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// Between two attempts.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(1);

/// What to do for the next packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Read the recorder.
    Read,
    /// Send silence, and begin an attempt to open a recorder. It may take longer than a packet.
    Attempt,
    /// Send silence. If an attempt is under way, look whether something came of it.
    Silence,
}

/// Whether there is a recorder.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Recording,
    Lost { attempt_at: Option<Instant> },
    Attempting { begun: Instant },
}

/// Whether one session's sound is there, and since when it is not.
#[derive(Debug)]
pub struct Retry {
    state: State,
    /// The loss that is going on has been told.
    is_told: bool,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { state: State::Lost { attempt_at: None }, is_told: false }
    }
}

impl Retry {
    /// What to do for the next packet. An attempt that it asks for is under way from then on.
    pub fn poll(&mut self, now: Instant) -> Step {
        match self.state {
            State::Recording => Step::Read,
            State::Lost { attempt_at } if attempt_at.is_none_or(|at| at <= now) => {
                self.state = State::Attempting { begun: now };
                Step::Attempt
            }
            State::Attempting { .. } | State::Lost { .. } => Step::Silence,
        }
    }

    /// There is a recorder. True if that is to be told, because the loss was.
    pub fn on_open(&mut self) -> bool {
        self.state = State::Recording;
        std::mem::take(&mut self.is_told)
    }

    /// The recorder is no more, or the attempt came to nothing. True if that is to be told,
    /// because it is the first time since there was sound.
    pub fn on_loss(&mut self, now: Instant) -> bool {
        let attempt_at = match self.state {
            State::Attempting { begun } => begun + ATTEMPT_INTERVAL,
            State::Recording | State::Lost { .. } => now + ATTEMPT_INTERVAL,
        };
        self.state = State::Lost { attempt_at: Some(attempt_at) };
        !std::mem::replace(&mut self.is_told, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punktfunk_core::net::clock;

    /// What happens before the next packet.
    #[derive(Clone, Copy)]
    enum Event {
        Nothing,
        Opened,
        Lost,
    }

    #[test]
    fn sound_is_looked_for_once_a_second_and_told_of_once() {
        use Event::{Lost, Nothing, Opened};
        let start = clock::now();
        let mut retry = Retry::default();
        // Milliseconds, what happened, whether it is told; what to do.
        let table = [
            (0, Nothing, false, Step::Attempt),
            (5, Nothing, false, Step::Silence),
            (40, Opened, false, Step::Read),
            (45, Nothing, false, Step::Read),
            (50, Lost, true, Step::Silence),
            (1_049, Nothing, false, Step::Silence),
            (1_050, Nothing, false, Step::Attempt),
            (1_060, Lost, false, Step::Silence),
            (2_049, Nothing, false, Step::Silence),
            (2_050, Nothing, false, Step::Attempt),
            // A slow attempt is followed by the next at once, and there is one at a time.
            (5_000, Nothing, false, Step::Silence),
            (5_050, Lost, false, Step::Attempt),
            (5_060, Opened, true, Step::Read),
            (6_000, Lost, true, Step::Silence),
            (7_000, Nothing, false, Step::Attempt),
            (7_001, Opened, true, Step::Read),
        ];
        for (ms, event, is_told, step) in table {
            let now = start + Duration::from_millis(ms);
            let told = match event {
                Event::Nothing => false,
                Event::Opened => retry.on_open(),
                Event::Lost => retry.on_loss(now),
            };
            assert_eq!((told, retry.poll(now)), (is_told, step), "{ms} ms");
        }
    }
}
