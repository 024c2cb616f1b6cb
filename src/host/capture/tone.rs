//! Sound to test with: in every channel one tone of its own, so that a listener can tell them apart.

#![forbid(unsafe_code)]

use std::f32::consts::TAU;

/// Samples of a channel in a second.
const RATE: usize = 48_000;
/// Of a tone, where 1 is the loudest that can be.
const AMPLITUDE: f32 = 0.25;
/// Hertz by channel: front left and right, centre, subwoofer, back left and right, side left and
/// right. A period of each is a whole number of samples.
pub const FREQUENCIES: [usize; 8] = [320, 480, 600, 60, 750, 960, 1200, 1500];

/// The tones of all channels, and how far each has got.
#[derive(Debug)]
pub struct Tone {
    channels: Vec<Channel>,
}

#[derive(Debug)]
struct Channel {
    /// One period.
    wave: Vec<f32>,
    /// Of the next sample in it.
    index: usize,
}

impl Tone {
    /// For 1 to 8 channels.
    pub fn new(channel_count: usize) -> Tone {
        let channel = |frequency: &usize| {
            let period = RATE / frequency;
            let sample = |index| AMPLITUDE * (TAU * index as f32 / period as f32).sin();
            Channel { wave: (0..period).map(sample).collect(), index: 0 }
        };
        Tone { channels: FREQUENCIES[..channel_count].iter().map(channel).collect() }
    }

    /// Goes on for as long as `out` is: a sample of every channel in turn, 48,000 times a second.
    pub fn fill(&mut self, out: &mut [f32]) {
        for instant in out.chunks_exact_mut(self.channels.len()) {
            for (sample, channel) in instant.iter_mut().zip(&mut self.channels) {
                *sample = channel.wave[channel.index];
                channel.index += 1;
                if channel.index == channel.wave.len() {
                    channel.index = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_has_its_own_whole_period() {
        let mut frequencies = FREQUENCIES.to_vec();
        frequencies.sort_unstable();
        frequencies.dedup();

        assert_eq!(frequencies.len(), 8);
        assert!(frequencies.iter().all(|frequency| RATE.is_multiple_of(*frequency)));
    }

    #[test]
    fn pieces_of_any_length_are_the_tone_as_a_whole() {
        for channel_count in [1, 2, 6, 8] {
            let mut whole = vec![0.0; 4800 * channel_count];
            Tone::new(channel_count).fill(&mut whole);
            let mut pieces = vec![0.0; whole.len()];
            let mut tone = Tone::new(channel_count);
            for piece in pieces.chunks_mut(channel_count * 7) {
                tone.fill(piece);
            }

            assert_eq!(whole, pieces);
            for (channel, frequency) in FREQUENCIES[..channel_count].iter().enumerate() {
                let samples: Vec<f32> =
                    whole.iter().skip(channel).step_by(channel_count).copied().collect();
                let rises = samples.windows(2).filter(|pair| pair[0] <= 0.0 && pair[1] > 0.0);
                let peak = samples.iter().copied().fold(0.0, f32::max);
                assert_eq!(rises.count(), frequency / 10, "{frequency} Hz");
                assert!((peak - AMPLITUDE).abs() < 0.002, "{frequency} Hz: {peak}");
            }
        }
    }
}
