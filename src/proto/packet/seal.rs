//! Sealing packets of video: AES-128-GCM under the key of the launch, in their place.
//!
//! A datagram is a prefix, and the packet as ciphertext. The nonce is a counter that every datagram
//! carries; it never restarts under one key, so whoever makes a new sealer for an old key tells it
//! where to go on.

#![forbid(unsafe_code)]

use std::ops::Range;

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::proto::gamestream::secret::Secret;
use crate::proto::units::FrameIndex;

/// Bytes in front of a sealed packet.
pub(super) const PREFIX_LEN: usize = 32;

/// The prefix.
mod field {
    use super::Range;

    pub(super) const NONCE: Range<usize> = 0..12;
    pub(super) const FRAME_INDEX: Range<usize> = 12..16; // little-endian, not authenticated
    pub(super) const TAG: Range<usize> = 16..32;
}

/// Seals the packets of one session.
#[derive(Debug)]
pub(super) struct Sealer {
    key: LessSafeKey,
    /// The counter of the next datagram.
    pub(super) nonce: u64,
}

impl Sealer {
    pub(super) fn new(key: &Secret<16>, nonce: u64) -> Sealer {
        let key = UnboundKey::new(&AES_128_GCM, key.bytes()).expect("a key of AES-128");
        Sealer { key: LessSafeKey::new(key), nonce }
    }

    /// Writes the prefix and seals what is behind it. `frame` is a hint in the clear, by which
    /// clients drop what comes too late before they open it.
    pub(super) fn seal(&mut self, datagram: &mut [u8], frame: FrameIndex) {
        let (prefix, packet) = datagram.split_at_mut(PREFIX_LEN);
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.nonce.to_le_bytes());
        nonce[11] = b'V';
        self.nonce += 1;
        prefix[field::NONCE].copy_from_slice(&nonce);
        prefix[field::FRAME_INDEX].copy_from_slice(&frame.0.to_le_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), packet)
            .expect("a packet is shorter than AES-GCM's limit");
        prefix[field::TAG].copy_from_slice(tag.as_ref());
    }
}
