//! When a frame is made: of a new picture as soon as may be, and of the last one again while
//! nothing changes.
//!
//! No more frames than the mode has, over any time, whatever the source does. A picture that comes
//! too early waits for its time and is left out if a newer one comes first. Is it too early? If
//! another may still come before its time, by how the last two followed one another; otherwise it
//! goes at once, because waiting would only make it old. So a source that is a little faster than
//! the mode loses a picture now and then, and none of the others waits.
//!
//! After a change the last picture is encoded again for a while, so that its quality settles, and
//! then now and then, so that the client sees that the stream lives.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// How long after the last change pictures settle.
const SETTLE_TIME: Duration = Duration::from_millis(500);
/// Between two frames of a picture that has settled.
const KEEP_ALIVE_TIME: Duration = Duration::from_millis(500);

/// The times of one stream.
#[derive(Debug)]
pub struct Rhythm {
    interval: Duration,
    /// When the next frame may be made, from this moment on without looking at anything else.
    due: Instant,
    /// The newest picture has not been made a frame of.
    is_fresh: bool,
    /// The last frame is to be followed by another at once.
    is_owing: bool,
    /// When the newest picture came.
    arrived: Instant,
    /// Between the last two pictures, but no longer than the interval.
    gap: Duration,
    /// When the last frame was made.
    made: Instant,
}

impl Rhythm {
    /// For a stream of this many frames a second at most, in thousandths, which begins now.
    pub fn new(refresh_mhz: u32, now: Instant) -> Rhythm {
        let interval = Duration::from_nanos(1_000_000_000_000 / u64::from(refresh_mhz.max(1)));
        Rhythm {
            interval,
            due: now,
            is_fresh: false,
            is_owing: false,
            arrived: now,
            gap: interval,
            made: now,
        }
    }

    /// A new picture is there. Returns whether it takes the place of one that no frame was made of.
    pub fn on_picture(&mut self, now: Instant) -> bool {
        self.gap = now.saturating_duration_since(self.arrived).min(self.interval);
        self.arrived = now;
        std::mem::replace(&mut self.is_fresh, true)
    }

    /// The client waits for a frame, even of the last picture.
    pub fn on_order(&mut self) {
        self.is_owing = true;
    }

    /// A frame was made of the newest picture.
    pub fn on_made(&mut self, now: Instant) {
        self.due = (self.due + self.interval).max(now);
        (self.is_fresh, self.is_owing, self.made) = (false, false, now);
    }

    /// A frame could not be made; another time.
    pub fn on_full(&mut self, now: Instant) {
        self.due = now + self.interval;
    }

    /// The newest picture is gone before a frame was made of it.
    pub fn on_lost(&mut self) {
        self.is_fresh = false;
    }

    /// Whether the newest picture is still to be made a frame of.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// When to make a frame of the newest picture, which may be past. `None` is not before there is
    /// another picture. `repeats` says that the last picture may be used again, and `idr` from when
    /// on an IDR frame is wanted.
    pub fn frame_at(&self, repeats: bool, idr: Option<Instant>) -> Option<Instant> {
        if self.is_fresh {
            let is_early = self.arrived + self.gap <= self.due;
            return Some(if is_early { self.due } else { self.arrived });
        }
        if !repeats {
            return None;
        }
        let settled = self.arrived + SETTLE_TIME;
        // Half an interval later than a source at full rate would have its next.
        let settling = (self.made + self.interval * 3 / 2).max(self.due);
        let idle = if settling < settled { settling } else { self.made + KEEP_ALIVE_TIME };
        let owed = self.is_owing.then_some(self.due);
        let idr = idr.map(|idr| idr.max(self.due));
        [owed, idr].into_iter().flatten().chain([idle]).min()
    }
}

#[cfg(test)]
mod tests {
    use punktfunk_core::net::clock;

    use super::*;

    const REFRESH_MHZ: u32 = 60_000;

    /// Frames and the time that their pictures waited, for pictures that come every `gap_us`.
    fn run(gap_us: u64, time: Duration) -> Vec<(Duration, Duration)> {
        let began = clock::now();
        let mut rhythm = Rhythm::new(REFRESH_MHZ, began);
        let mut frames = Vec::new();
        let mut arrived = began;
        for number in 0.. {
            let now = began + Duration::from_micros(gap_us) * number;
            while let Some(at) = rhythm.frame_at(false, None).filter(|at| *at < now) {
                frames.push((at - began, at - arrived));
                rhythm.on_made(at);
            }
            if now >= began + time {
                break;
            }
            rhythm.on_picture(now);
            arrived = now;
        }
        frames
    }

    #[test]
    fn a_source_has_as_many_frames_as_it_has_pictures_or_the_mode_allows() {
        // Between pictures; the frames of ten seconds, and the longest time that one waits.
        let table = [
            (33_333, 301, 0),
            (16_667, 600, 0),
            // Whole milliseconds: 62.5 a second. Each waits either not at all or is left out.
            (16_000, 600, 16_000),
            (6_944, 600, 6_944),
            (4_167, 600, 4_167),
            (1_000, 600, 1_000),
        ];
        for (gap_us, count, wait_us) in table {
            let frames = run(gap_us, Duration::from_secs(10));

            let longest = frames.iter().map(|frame| frame.1).max().unwrap();
            assert!(frames.len().abs_diff(count) <= 2, "{gap_us}: {}", frames.len());
            assert!(longest.as_micros() <= wait_us, "{gap_us}: {longest:?}");
        }
    }

    #[test]
    fn a_source_a_little_faster_than_the_mode_keeps_no_picture_waiting() {
        let frames = run(16_000, Duration::from_secs(10));

        let waiting = frames.iter().filter(|frame| !frame.1.is_zero()).count();
        assert!(waiting <= 1, "{waiting} of {}", frames.len());
    }

    #[test]
    fn a_picture_after_a_rest_goes_at_once() {
        let began = clock::now();
        let mut rhythm = Rhythm::new(REFRESH_MHZ, began);
        rhythm.on_picture(began);
        rhythm.on_made(began);
        let later = began + Duration::from_secs(7);

        rhythm.on_picture(later);

        assert_eq!(rhythm.frame_at(true, None), Some(later));
    }

    /// Frames in the time after a picture at its beginning.
    fn rest(rhythm: &mut Rhythm, from: Instant, until: Instant) -> Vec<Duration> {
        let mut frames = Vec::new();
        while let Some(at) = rhythm.frame_at(true, None).filter(|at| *at < until) {
            frames.push(at - from);
            rhythm.on_made(at);
        }
        frames
    }

    #[test]
    fn a_picture_settles_and_is_then_kept_alive_twice_a_second() {
        let began = clock::now();
        let mut rhythm = Rhythm::new(REFRESH_MHZ, began);
        rhythm.on_picture(began);

        let frames = rest(&mut rhythm, began, began + Duration::from_secs(10));

        let settling = frames.iter().filter(|at| **at < SETTLE_TIME).count();
        assert!((18..=21).contains(&settling), "{frames:?}");
        assert!((18..=20).contains(&(frames.len() - settling)), "{frames:?}");
        assert!(frames.is_sorted());
    }

    #[test]
    fn what_a_client_waits_for_does_not_wait_for_a_change() {
        let began = clock::now();
        let mut rhythm = Rhythm::new(REFRESH_MHZ, began);
        rhythm.on_picture(began);
        let frames = rest(&mut rhythm, began, began + Duration::from_secs(3));
        let last = began + *frames.last().unwrap();
        let now = last + Duration::from_millis(100);

        // By now the next frame may have been made for long.
        assert!(rhythm.frame_at(true, None) > Some(now));
        assert!(rhythm.frame_at(true, Some(now)) <= Some(now));
        assert_eq!(rhythm.frame_at(false, Some(now)), None);
        rhythm.on_order();

        assert!(rhythm.frame_at(true, None) <= Some(now));
        rhythm.on_made(now);
        assert!(rhythm.frame_at(true, None) > Some(now));
    }

    #[test]
    fn a_frame_for_which_there_is_no_room_is_made_an_interval_later() {
        let now = clock::now();
        let mut rhythm = Rhythm::new(REFRESH_MHZ, now);
        rhythm.on_picture(now);

        rhythm.on_full(now);

        assert!(rhythm.is_fresh());
        assert_eq!(rhythm.frame_at(true, None), Some(now + rhythm.interval));
    }
}
