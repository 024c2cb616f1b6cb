//! Sound to Opus packets, all of one length: clients recover lost ones only if they are.

#![forbid(unsafe_code)]

use std::time::Duration;

use opus::{Application, Bitrate, Error, MSEncoder};
use punktfunk_core::proto::gamestream::rtsp::describe;

/// Samples of each channel in a second.
pub const RATE: u32 = 48_000;
/// Bytes that an encoder may fill. More than any bitrate below comes to.
pub const PACKET_LEN_MAX: usize = 4096;

/// How channels are carried, and at which rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// 2, 6 or 8.
    pub channel_count: usize,
    stream_count: u8,
    coupled_count: u8,
    /// Where each channel is found in the streams.
    mapping: Vec<u8>,
    bitrate: i32,
}

impl Layout {
    /// The usual one for 2, 6 or 8 channels.
    pub fn of(channel_count: usize, is_high_quality: bool) -> Layout {
        let (stream_count, coupled_count, bitrate) = match (channel_count, is_high_quality) {
            (6, false) => (4, 2, 256_000),
            (6, true) => (6, 0, 1_536_000),
            (8, false) => (5, 3, 450_000),
            (8, true) => (8, 0, 2_048_000),
            (_, false) => (1, 1, 96_000),
            (_, true) => (1, 1, 512_000),
        };
        let mapping = (0..channel_count as u8).collect();
        Layout { channel_count, stream_count, coupled_count, mapping, bitrate }
    }

    /// One that the client brought, at the usual rate.
    pub fn custom(layout: &describe::Layout, is_high_quality: bool) -> Layout {
        let channel_count = usize::from(layout.channel_count);
        Layout {
            stream_count: layout.stream_count,
            coupled_count: layout.coupled_count,
            mapping: layout.mapping[..channel_count].to_vec(),
            ..Layout::of(channel_count, is_high_quality)
        }
    }
}

/// One at work.
#[derive(Debug)]
pub struct Encoder {
    encoder: MSEncoder,
}

impl Encoder {
    /// An encoder of packets that last so long.
    pub fn new(layout: &Layout) -> Result<Encoder, Error> {
        let Layout { stream_count, coupled_count, mapping, bitrate, .. } = layout;
        let mode = Application::LowDelay;
        let mut encoder = MSEncoder::new(RATE, *stream_count, *coupled_count, mapping, mode)?;
        encoder.set_vbr(false)?;
        encoder.set_bitrate(Bitrate::Bits(*bitrate))?;
        Ok(Encoder { encoder })
    }

    /// Encodes one packet's worth of samples, a sample of every channel in turn. Returns how many
    /// bytes it has filled.
    pub fn encode(&mut self, samples: &[f32], out: &mut [u8]) -> Result<usize, Error> {
        self.encoder.encode_float(samples, out)
    }
}

/// Samples of all channels in one packet.
pub fn sample_count(channel_count: usize, packet_time: Duration) -> usize {
    channel_count * (u64::from(RATE) * packet_time.as_millis() as u64 / 1000) as usize
}

#[cfg(test)]
mod tests {
    use opus::MSDecoder;

    use super::*;
    use crate::capture::tone::Tone;

    /// How often a wave passes zero upwards in a second.
    fn frequency(samples: &[f32], channel: usize, channel_count: usize) -> usize {
        let wave: Vec<f32> = samples.iter().skip(channel).step_by(channel_count).copied().collect();
        let passes = wave.windows(2).filter(|pair| pair[0] <= 0.0 && pair[1] > 0.0).count();
        passes * RATE as usize / wave.len()
    }

    #[test]
    fn each_layout_carries_each_channel_in_packets_of_one_length() {
        for (channels, is_high, packet_ms) in [
            (2, false, 5),
            (2, true, 5),
            (2, false, 10),
            (6, false, 5),
            (6, false, 10),
            (6, true, 5),
            (8, false, 5),
            (8, true, 5),
        ] {
            let layout = Layout::of(channels, is_high);
            let packet_time = Duration::from_millis(packet_ms);
            let mut encoder = Encoder::new(&layout).unwrap();
            let Layout { stream_count, coupled_count, mapping, .. } = &layout;
            let mut decoder = MSDecoder::new(RATE, *stream_count, *coupled_count, mapping).unwrap();
            let mut tone = Tone::new(channels);
            let mut samples = vec![0.0; sample_count(channels, packet_time)];
            let mut packet = [0; PACKET_LEN_MAX];
            let (mut heard, mut sent) = (Vec::new(), Vec::new());
            let mut lens = Vec::new();
            for _ in 0..1000 / packet_ms {
                tone.fill(&mut samples);
                sent.extend_from_slice(&samples);
                let len = encoder.encode(&samples, &mut packet).unwrap();
                lens.push(len);
                let mut out = vec![0.0; samples.len()];
                decoder.decode_float(&packet[..len], &mut out, false).unwrap();
                heard.extend(out);
            }

            lens.dedup();
            assert_eq!(lens.len(), 1, "{channels} channels");
            // Behind what the decoder needs to begin.
            let begin = heard.len() / 10 / channels * channels;
            for channel in 0..channels {
                let sent = frequency(&sent[begin..], channel, channels);
                let heard = frequency(&heard[begin..], channel, channels);
                assert!(sent.abs_diff(heard) <= 2, "channel {channel}: {heard} for {sent} Hz");
            }
        }
    }
}
