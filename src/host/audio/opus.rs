//! Sound on its way to a client: Opus, as GameStream has it.
//!
//! All packets of a session are equally long, or clients give up its FEC: the bitrate is constant,
//! and hard.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use opus::{Application, Bitrate, MSEncoder};
use punktfunk_core::proto::gamestream::rtsp::describe;

use super::{CHANNEL_COUNT_MAX, SAMPLE_RATE};

/// Bytes of the longest packet: one datagram of sound has no more, less its header and padding.
pub const PACKET_LEN_MAX: usize = 1372;
/// Of 0 to 10. Beyond it is a search of stereo that takes up to a fifth more time and gains a tenth
/// of a decibel; below it a pure tone loses eight.
const COMPLEXITY: i32 = 7;

/// Which channels go into which streams, and how many bits they get.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// 2, 6 or 8, and as much as both other counts together.
    pub channel_count: u8,
    /// Streams, of one or two channels.
    pub stream_count: u8,
    /// Streams of two channels. They come first.
    pub coupled_count: u8,
    /// Where each channel goes; `channel_count` entries count.
    pub mapping: [u8; CHANNEL_COUNT_MAX],
    /// Bits per second, of all streams together.
    pub bitrate: i32,
}

/// What the library refused.
#[derive(Debug)]
pub struct Error(opus::Error);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.function(), self.0.description())
    }
}

impl std::error::Error for Error {}

impl Layout {
    /// The layout that clients take a channel count for; `None` unless that is 2, 6 or 8.
    pub fn of(channel_count: u8, is_high_quality: bool) -> Option<Layout> {
        let (stream_count, coupled_count, bitrate) = match (channel_count, is_high_quality) {
            (2, false) => (1, 1, 96_000),
            (2, true) => (1, 1, 512_000),
            (6, false) => (4, 2, 256_000),
            (6, true) => (6, 0, 1_536_000),
            (8, false) => (5, 3, 450_000),
            (8, true) => (8, 0, 2_048_000),
            _ => return None,
        };
        let mapping = [0, 1, 2, 3, 4, 5, 6, 7];
        Some(Layout { channel_count, stream_count, coupled_count, mapping, bitrate })
    }

    /// The layout that a client brought, with the bitrate of those that it replaces; `None` where
    /// there is nothing to replace.
    pub fn of_client(layout: &describe::Layout, is_high_quality: bool) -> Option<Layout> {
        let replaced = Layout::of(layout.channel_count, is_high_quality)?;
        Some(Layout {
            stream_count: layout.stream_count,
            coupled_count: layout.coupled_count,
            mapping: layout.mapping,
            ..replaced
        })
    }
}

/// An encoder of one session's sound.
#[derive(Debug)]
pub struct Encoder {
    encoder: MSEncoder,
    sample_count: usize,
    packet_len: usize,
}

impl Encoder {
    /// `packet` is 5 or 10 ms, the time that a packet takes to play.
    pub fn new(layout: &Layout, packet: Duration) -> Result<Encoder, Error> {
        let channel_count = usize::from(layout.channel_count).min(CHANNEL_COUNT_MAX);
        let mut encoder = MSEncoder::new(
            SAMPLE_RATE,
            layout.stream_count,
            layout.coupled_count,
            &layout.mapping[..channel_count],
            Application::LowDelay,
        )
        .map_err(Error)?;
        let packet_us = packet.as_micros() as i64;
        let len = i64::from(layout.bitrate) * packet_us / 8_000_000;
        let packet_len = usize::try_from(len).unwrap_or(0).min(PACKET_LEN_MAX);
        let bitrate = packet_len as i64 * 8_000_000 / packet_us.max(1);
        encoder.set_vbr(false).map_err(Error)?;
        encoder.set_bitrate(Bitrate::Bits(bitrate as i32)).map_err(Error)?;
        encoder.set_complexity(COMPLEXITY).map_err(Error)?;
        let sample_count = super::sample_count(channel_count, packet);
        Ok(Encoder { encoder, sample_count, packet_len })
    }

    /// Bytes of every packet.
    pub fn packet_len(&self) -> usize {
        self.packet_len
    }

    /// Encodes one packet: as many samples as it takes, all channels in turn. Returns its length,
    /// which is always the same; `out` has that room at least.
    pub fn encode(&mut self, pcm: &[f32], out: &mut [u8]) -> Result<usize, Error> {
        assert_eq!(pcm.len(), self.sample_count, "one packet is encoded at a time");
        let room = self.packet_len.min(out.len());
        self.encoder.encode_float(pcm, &mut out[..room]).map_err(Error)
    }
}

#[cfg(test)]
mod tests {
    use opus::MSDecoder;

    use super::*;
    use crate::audio::tests::{FREQUENCIES, strength};

    const MS_5: Duration = Duration::from_millis(5);
    const MS_10: Duration = Duration::from_millis(10);

    fn layout(channel_count: u8, is_high_quality: bool) -> Layout {
        Layout::of(channel_count, is_high_quality).unwrap()
    }

    /// Encodes a second with a tone in each channel, and decodes it with the given mapping.
    /// Returns the samples and the lengths of the packets.
    fn through(layout: &Layout, packet: Duration, mapping: &[u8]) -> (Vec<f32>, Vec<usize>) {
        let channel_count = usize::from(layout.channel_count);
        let mut encoder = Encoder::new(layout, packet).unwrap();
        let (streams, coupled) = (layout.stream_count, layout.coupled_count);
        let mut decoder = MSDecoder::new(SAMPLE_RATE, streams, coupled, mapping).unwrap();
        let mut samples: Vec<f32> = (0..SAMPLE_RATE)
            .flat_map(|at| FREQUENCIES[..channel_count].iter().map(move |hz| (at, *hz)))
            .map(|(at, hz)| {
                (at as f32 * hz as f32 / SAMPLE_RATE as f32 * std::f32::consts::TAU).sin() / 2.0
            })
            .collect();
        let mut lens = Vec::new();
        for pcm in samples.chunks_exact_mut(encoder.sample_count) {
            let mut bytes = [0; PACKET_LEN_MAX];
            let len = encoder.encode(pcm, &mut bytes).unwrap();
            decoder.decode_float(&bytes[..len], pcm, false).unwrap();
            lens.push(len);
        }
        (samples, lens)
    }

    /// The last half second has the tone in each channel that `expected` names, and no other.
    fn assert_tones(samples: &[f32], expected: &[u32]) {
        let half = &samples[samples.len() / 2..];
        for (channel, own) in expected.iter().enumerate() {
            for hz in expected {
                let heard = strength(half, channel, expected.len(), *hz);
                let is_right = if hz == own { heard > 0.4 } else { heard < 0.05 };
                assert!(is_right, "{hz} Hz is {heard} strong in channel {channel}");
            }
        }
    }

    #[test]
    fn every_layout_carries_each_channel_in_packets_of_one_length() {
        let table = [
            (2, false, MS_5, 60),
            (2, false, MS_10, 120),
            (2, true, MS_5, 320),
            (6, false, MS_5, 160),
            (6, true, MS_5, 960),
            (8, false, MS_5, 281),
            (8, false, MS_10, 562),
            (8, true, MS_5, 1280),
            // More does not go into a datagram.
            (8, true, MS_10, PACKET_LEN_MAX),
        ];
        for (channel_count, is_high_quality, packet, expected_len) in table {
            let layout = layout(channel_count, is_high_quality);
            let channel_count = usize::from(channel_count);

            let (samples, lens) = through(&layout, packet, &layout.mapping[..channel_count]);

            assert!(lens.iter().all(|len| *len == expected_len), "{layout:?}: {lens:?}");
            assert_tones(&samples, &FREQUENCIES[..channel_count]);
        }
    }

    #[test]
    fn a_layout_of_the_client_is_kept_to() {
        let theirs = describe::Layout::parse("642014235").unwrap();

        let layout = Layout::of_client(&theirs, false).unwrap();
        let (samples, _) = through(&layout, MS_5, &[0, 1, 4, 2, 3, 5]);

        assert_eq!(layout.bitrate, 256_000);
        let [fl, fr, fc, lfe, bl, br, ..] = FREQUENCIES;
        assert_tones(&samples, &[fl, fr, fc, lfe, bl, br]);
        let (swapped, _) = through(&layout, MS_5, &[1, 0, 4, 2, 3, 5]);
        assert_tones(&swapped, &[fr, fl, fc, lfe, bl, br]);
    }

    #[test]
    fn silence_and_noise_make_packets_of_the_same_length() {
        let layout = layout(6, false);
        let mut encoder = Encoder::new(&layout, MS_5).unwrap();
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state as f32 / u32::MAX as f32 * 2.0 - 1.0
        };
        for is_noise in [false, true, true, false, false] {
            let pcm: Vec<f32> =
                (0..6 * 240).map(|_| if is_noise { noise() } else { 0.0 }).collect();

            let len = encoder.encode(&pcm, &mut [0; PACKET_LEN_MAX]).unwrap();

            assert_eq!(len, encoder.packet_len());
        }
    }

    #[test]
    fn what_opus_cannot_carry_is_refused() {
        assert_eq!(Layout::of(4, false), None);
        let wrong = Layout { stream_count: 1, ..layout(6, false) };

        let error = Encoder::new(&wrong, MS_5).unwrap_err().to_string();

        assert_eq!(error, "opus_multistream_encoder_create: invalid argument");
    }
}
