//! How often something that a stranger can cause is said in the log.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use log::Level;

/// Lines in a window before they go where only debugging shows them.
const LINE_COUNT: u32 = 20;
/// When lines are counted anew.
const WINDOW: Duration = Duration::from_secs(60);

/// The lines of one kind.
#[derive(Debug, Default)]
pub struct Quota {
    began: Option<Instant>,
    count: u32,
}

impl Quota {
    /// At which level the next line is written: as wanted, or as debugging when there have been
    /// too many lately.
    pub fn level(&mut self, wanted: Level, now: Instant) -> Level {
        if self.began.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            *self = Quota { began: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        if self.count == LINE_COUNT {
            log::warn!("log: many lines like the next, more of them only under LogLevel debug");
        }
        if self.count <= LINE_COUNT { wanted } else { wanted.max(Level::Debug) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn lines_above_the_quota_of_a_minute_are_for_debugging() {
        let now = Instant::now();
        let mut quota = Quota::default();

        let levels: Vec<Level> = (0..30).map(|_| quota.level(Level::Info, now)).collect();
        let later = quota.level(Level::Info, now + WINDOW);

        assert_eq!(levels.iter().filter(|level| **level == Level::Info).count(), 20);
        assert!(levels[20..].iter().all(|level| *level == Level::Debug));
        assert_eq!(later, Level::Info);
    }
}
