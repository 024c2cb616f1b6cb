//! Samples, a packet's worth at its time, whatever becomes of where they come from.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use punktfunk_core::net::clock;

use crate::capture::tone::Tone;
use crate::pipeline::SoundPlan;

/// What a session hears.
pub struct Supply {
    source: Source,
    news: Option<String>,
}

enum Source {
    /// Made here.
    Tone(Tone, Metronome),
}

/// One beat for each packet, at times that do not drift.
struct Metronome {
    next: Instant,
    interval: Duration,
}

impl Supply {
    /// What the plan asks for. Takes as long as the sound server does.
    pub fn open(plan: &SoundPlan) -> Supply {
        let metronome = Metronome { next: clock::now(), interval: plan.packet_time };
        Supply { source: Source::Tone(Tone::new(plan.channel_count), metronome), news: None }
    }

    /// Waits for the next packet's worth of samples. Returns whether they are sound, and not
    /// silence in its place.
    pub fn read(&mut self, samples: &mut [f32]) -> bool {
        match &mut self.source {
            Source::Tone(tone, metronome) => {
                metronome.wait();
                tone.fill(samples);
                true
            }
        }
    }

    /// What the administrator should hear of.
    pub fn poll_news(&mut self) -> Option<String> {
        self.news.take()
    }
}

impl Metronome {
    /// Sleeps until the next beat. Beats that were missed are left out.
    fn wait(&mut self) {
        self.next += self.interval;
        let now = clock::now();
        if now > self.next + 4 * self.interval {
            self.next = now;
        }
        clock::sleep_until(self.next);
    }
}
