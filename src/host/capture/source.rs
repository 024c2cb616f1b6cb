//! What a session's pictures come from, whatever it is.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use punktfunk_core::net::bell::Bell;
use punktfunk_core::net::clock;

use super::screen::{self, Screen};
use super::test::TestSource;
use super::{Memory, Next, Picture};

/// Where to take pictures from.
#[derive(Clone, Debug, PartialEq)]
pub enum SourcePlan {
    /// An output of a compositor.
    Screen {
        /// The compositor's socket, by an absolute path.
        socket: PathBuf,
        /// The name of the output.
        output: String,
        /// In what they are to be handed over.
        memory: Memory,
    },
    /// The daemon makes them.
    Test,
}

/// A source of pictures, used by one thread.
#[derive(Debug)]
pub enum Source {
    /// A picture when the output changed.
    Screen(Box<Screen>),
    /// A picture at every tick.
    Test(Clockwork),
}

/// The test source and its time.
#[derive(Debug)]
pub struct Clockwork {
    source: TestSource,
    size: (usize, usize),
    interval_ps: u64,
    /// Of the first picture, once there was one.
    began: Option<Instant>,
    /// Of the next picture.
    number: u64,
    late_count: u64,
}

impl Source {
    /// Opens a source. A screen has its own size; the test source has this one and this refresh.
    pub fn open(
        plan: &SourcePlan,
        (width, height): (usize, usize),
        refresh_mhz: u32,
    ) -> Result<Source, screen::Error> {
        Ok(match plan {
            SourcePlan::Screen { socket, output, memory } => {
                Source::Screen(Box::new(Screen::open(socket, output, *memory)?))
            }
            SourcePlan::Test => Source::Test(Clockwork {
                source: TestSource::new(width, height, refresh_mhz),
                size: (width, height),
                interval_ps: 1_000_000_000_000_000 / u64::from(refresh_mhz),
                began: None,
                number: 0,
                late_count: 0,
            }),
        })
    }

    /// Pixels in a row, and rows.
    pub fn size(&self) -> (usize, usize) {
        match self {
            Source::Screen(screen) => screen.size(),
            Source::Test(clockwork) => clockwork.size,
        }
    }

    /// What there is for the log.
    pub fn take_news(&mut self) -> Option<String> {
        match self {
            Source::Screen(screen) => screen.take_news(),
            Source::Test(_) => None,
        }
    }

    /// Waits for the next picture, no longer than `until` and not while there is other work, for
    /// which `bell` is rung.
    pub fn next(
        &mut self,
        bell: &Bell,
        has_work: impl Fn() -> bool,
        until: Instant,
    ) -> Result<Next<'_>, screen::Error> {
        match self {
            Source::Screen(screen) => screen.next(bell, has_work, until),
            Source::Test(clockwork) => Ok(clockwork.next(bell, has_work, until)),
        }
    }

    /// The newest picture once more, if there is one.
    pub fn last(&self) -> Option<Picture<'_>> {
        match self {
            Source::Screen(screen) => screen.last(),
            Source::Test(clockwork) => clockwork.source.last(),
        }
    }

    /// Whether pictures come only when there is something new, so that between them the last one is
    /// to be shown again.
    pub fn rests(&self) -> bool {
        matches!(self, Source::Screen(_))
    }

    /// Pictures that were never made because it was too late for them, since it was last asked.
    pub fn take_late_count(&mut self) -> u64 {
        match self {
            Source::Screen(_) => 0,
            Source::Test(clockwork) => std::mem::take(&mut clockwork.late_count),
        }
    }
}

impl Clockwork {
    fn next(&mut self, bell: &Bell, has_work: impl Fn() -> bool, until: Instant) -> Next<'_> {
        let began = *self.began.get_or_insert_with(clock::now);
        let due = began + Duration::from_nanos(self.number * self.interval_ps / 1000);
        loop {
            let now = clock::now();
            if now >= due {
                let passed_ps = now.duration_since(began).as_nanos() as u64 * 1000;
                let current = passed_ps / self.interval_ps;
                self.late_count += current.saturating_sub(self.number);
                let number = self.number.max(current);
                self.number = number + 1;
                return Next::Picture(self.source.draw(number as u32, clock::unix_us()), now);
            }
            if now >= until || has_work() {
                return Next::Nothing;
            }
            bell.sleep(&has_work, Some(due.min(until)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_source_has_a_picture_for_every_tick_and_leaves_out_what_is_late() {
        let plan = SourcePlan::Test;
        let mut source = Source::open(&plan, (64, 64), 1_000_000).unwrap();
        let bell = Bell::new().unwrap();
        let far = clock::now() + Duration::from_secs(60);
        let next = |source: &mut Source| match source.next(&bell, || false, far) {
            Ok(Next::Picture(_, captured)) => captured,
            other => panic!("{other:?}"),
        };

        assert!(source.last().is_none());
        let first = next(&mut source);
        while clock::now() < first + Duration::from_millis(10) {}
        let late = next(&mut source);

        assert!(late >= first + Duration::from_millis(10));
        assert!(source.take_late_count() >= 9);
        assert_eq!(source.take_late_count(), 0);
        assert_eq!(source.last().unwrap().width, 64);
        assert!(!source.rests());
    }

    #[test]
    fn other_work_goes_first_but_not_before_a_picture_that_is_due() {
        let mut source = Source::open(&SourcePlan::Test, (64, 64), 1_000).unwrap();
        let bell = Bell::new().unwrap();
        let far = clock::now() + Duration::from_secs(60);

        assert!(matches!(source.next(&bell, || true, far), Ok(Next::Picture(..))));
        // The next tick is a second away.
        assert!(matches!(source.next(&bell, || true, far), Ok(Next::Nothing)));
        assert!(matches!(source.next(&bell, || false, clock::now()), Ok(Next::Nothing)));
    }
}
