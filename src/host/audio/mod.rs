//! Sound: where it comes from, and how it is encoded.
//!
//! All of it blocks, and belongs on the sound thread of a session, never on the reactor.

pub mod capture;
pub mod journal;
pub mod metronome;
pub mod opus;
pub mod pactl;
pub mod pulse;
pub mod retry;
pub mod sink;
#[cfg(test)]
mod tests;

use std::time::Duration;

use capture::Capture;
use metronome::Metronome;

use crate::capture::tone::Tone;

/// Samples of a channel in a second: what Opus takes, and GameStream has.
pub const SAMPLE_RATE: u32 = 48_000;
/// Channels at most: FL FR FC LFE BL BR SL SR. Fewer are the first of these.
pub const CHANNEL_COUNT_MAX: usize = 8;

/// Where a session's sound comes from.
pub enum Source {
    /// The sound server.
    Capture(Box<Capture>),
    /// Made here, for tests.
    Tone(Tone, Metronome),
}

impl Source {
    /// Fills `out` with one packet, all channels in turn. Waits for it: packets come at the pace at
    /// which they are played. False if it is silence because the sound server gives nothing.
    pub fn read(&mut self, out: &mut [f32]) -> bool {
        match self {
            Source::Capture(capture) => capture.read(out),
            Source::Tone(tone, metronome) => {
                metronome.wait();
                tone.fill(out);
                true
            }
        }
    }

    /// What the administrator should hear of.
    pub fn poll_news(&mut self) -> Option<String> {
        match self {
            Source::Capture(capture) => capture.poll_news(),
            Source::Tone(..) => None,
        }
    }
}

/// Samples of all channels that a packet has.
pub fn sample_count(channel_count: usize, packet: Duration) -> usize {
    let frame_count = u64::from(SAMPLE_RATE) * packet.as_micros() as u64 / 1_000_000;
    channel_count * frame_count as usize
}
