//! Opus frames to datagrams.

#![forbid(unsafe_code)]

use std::fmt;

use super::{
    AUDIO_DATAGRAM_LEN_MAX, AUDIO_HEADER_LEN, AudioPacket, FRAME_LEN_MAX, PACKET_HEADER_LEN,
    SAMPLE_COUNT_MAX, TAG_LEN,
};
use crate::proto::packet::native::header::Kind;
use crate::proto::packet::native::packetize::Error;
use crate::proto::packet::native::seal::Sealer;

/// Where the frames begin in a datagram.
const FRAMES_START: usize = PACKET_HEADER_LEN + AUDIO_HEADER_LEN;

/// Makes the datagrams of a session's sound. It has all its memory.
pub struct AudioPacketizer {
    sample_count: u16,
    /// Of the last frame; 0 before the first.
    number: u32,
    before: [u8; FRAME_LEN_MAX],
    before_len: usize,
    datagram: [u8; AUDIO_DATAGRAM_LEN_MAX],
}

impl AudioPacketizer {
    /// For frames of so many samples of each channel, at 48 kHz.
    ///
    /// # Panics
    ///
    /// If Opus has no such frames.
    pub fn new(sample_count: u16) -> AudioPacketizer {
        assert!((1..=SAMPLE_COUNT_MAX).contains(&sample_count), "{sample_count} samples");
        AudioPacketizer {
            sample_count,
            number: 0,
            before: [0; FRAME_LEN_MAX],
            before_len: 0,
            datagram: [0; AUDIO_DATAGRAM_LEN_MAX],
        }
    }

    /// The datagram of the next frame, which is not empty. One that is too long has its number, so
    /// that the client knows that there is a gap. One for which the key has no room has none: it
    /// may be given again under the next key.
    pub fn packet(
        &mut self,
        frame: &[u8],
        captured_us: u64,
        sealer: &mut Sealer,
    ) -> Result<&[u8], Error> {
        if self.number >= u32::MAX - 1 {
            return Err(Error::Exhausted);
        }
        let (number, before_len) = (self.number + 1, self.before_len);
        if frame.is_empty() || frame.len() > FRAME_LEN_MAX {
            (self.number, self.before_len) = (number, 0);
            return Err(Error::TooLong);
        }
        let packet = AudioPacket {
            number,
            sample_count: self.sample_count,
            captured_us,
            before: &self.before[..before_len],
            frame,
        };
        let len = FRAMES_START + before_len + frame.len() + TAG_LEN;
        let datagram = &mut self.datagram[..len];
        datagram[PACKET_HEADER_LEN..FRAMES_START].copy_from_slice(&packet.emit_header());
        datagram[FRAMES_START..][..before_len].copy_from_slice(packet.before);
        datagram[FRAMES_START + before_len..][..frame.len()].copy_from_slice(frame);
        sealer.seal(Kind::Audio, datagram)?;
        self.before[..frame.len()].copy_from_slice(frame);
        (self.number, self.before_len) = (number, frame.len());
        Ok(datagram)
    }
}

impl fmt::Debug for AudioPacketizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioPacketizer").field("number", &self.number).finish_non_exhaustive()
    }
}
