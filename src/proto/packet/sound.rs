//! Opus packets to datagrams of GameStream sound.
//!
//! Four packets are a block, and have two parity packets over what they carry, behind their
//! headers. That takes packets of one length, as an encoder of constant bitrate makes them.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;

use aes::Aes128;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockEncrypt, KeyInit};
use fec8::Code;

use crate::proto::gamestream::secret::Secret;
use crate::proto::packet::Error;

/// Clients have so much room for a datagram.
pub const DATAGRAM_LEN_MAX: usize = 1400;

const DATA_COUNT: usize = 4;
const PARITY_COUNT: usize = 2;
/// What a parity packet has room for, and so the longest that a packet may carry.
const PAYLOAD_LEN_MAX: usize = DATAGRAM_LEN_MAX - field::PARITY_PAYLOAD;
/// Bytes of a block of AES.
const CIPHER_LEN: usize = 16;

const RTP_FLAGS: u8 = 0x80;
const KIND_DATA: u8 = 97;
const KIND_PARITY: u8 = 127;

/// The RTP header, and behind it in parity packets that of the block, all big-endian.
mod field {
    use super::Range;

    pub(super) const FLAGS: usize = 0;
    pub(super) const KIND: usize = 1;
    pub(super) const SEQUENCE: Range<usize> = 2..4;
    pub(super) const TIMESTAMP: Range<usize> = 4..8; // milliseconds
    pub(super) const PAYLOAD: usize = 12; // behind the SSRC, which is 0

    pub(super) const SHARD_INDEX: usize = 12;
    pub(super) const DATA_KIND: usize = 13;
    pub(super) const BASE_SEQUENCE: Range<usize> = 14..16;
    pub(super) const BASE_TIMESTAMP: Range<usize> = 16..20;
    pub(super) const PARITY_PAYLOAD: usize = 24; // behind the SSRC once more
}

/// What was agreed on for the sound of a session.
#[derive(Debug)]
pub struct SoundConfig {
    /// What packets are encrypted under, and the number of that key, where they are. Nobody
    /// authenticates them: the protocol has no place for it.
    pub key: Option<(Secret<16>, u32)>,
    /// Sound in a packet.
    pub packet_ms: u32,
}

/// Makes the datagrams of a session's sound.
pub struct SoundPacketizer {
    cipher: Option<Cipher>,
    packet_ms: u32,
    /// Of the next packet.
    sequence: u16,
    timestamp: u32,
    /// Data packets of the block that are there, 1 to 4 but before the first.
    count: usize,
    uneven_count: u64,
    data: Box<[Datagram; DATA_COUNT]>,
    parity: Box<[Datagram; PARITY_COUNT]>,
}

/// A datagram in its memory.
#[derive(Clone, Copy)]
struct Datagram {
    bytes: [u8; DATAGRAM_LEN_MAX],
    len: usize,
}

impl Datagram {
    const EMPTY: Datagram = Datagram { bytes: [0; DATAGRAM_LEN_MAX], len: 0 };

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl SoundPacketizer {
    /// Takes all memory there will be.
    pub fn new(config: &SoundConfig) -> SoundPacketizer {
        SoundPacketizer {
            cipher: config.key.as_ref().map(|(key, number)| Cipher::new(key, *number)),
            packet_ms: config.packet_ms,
            sequence: 0,
            timestamp: 0,
            count: 0,
            uneven_count: 0,
            data: Box::new([Datagram::EMPTY; DATA_COUNT]),
            parity: Box::new([Datagram::EMPTY; PARITY_COUNT]),
        }
    }

    /// The datagram of the next Opus packet. One that is too long leaves no trace in the numbers.
    pub fn packet(&mut self, opus: &[u8]) -> Result<&[u8], Error> {
        let is_padded = self.cipher.is_some();
        let len = if is_padded { padded_len(opus.len()) } else { opus.len() };
        if len > PAYLOAD_LEN_MAX {
            return Err(Error::TooLong);
        }
        let index = self.count % DATA_COUNT;
        let datagram = &mut self.data[index];
        datagram.len = field::PAYLOAD + len;
        let (header, payload) = datagram.bytes.split_at_mut(field::PAYLOAD);
        header[field::FLAGS] = RTP_FLAGS;
        header[field::KIND] = KIND_DATA;
        header[field::SEQUENCE].copy_from_slice(&self.sequence.to_be_bytes());
        header[field::TIMESTAMP].copy_from_slice(&self.timestamp.to_be_bytes());
        payload[..opus.len()].copy_from_slice(opus);
        if let Some(cipher) = &self.cipher {
            payload[opus.len()..len].fill((len - opus.len()) as u8); // 1 to 16
            cipher.encrypt(self.sequence, &mut payload[..len]);
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.packet_ms);
        self.count = index + 1;
        if self.count == DATA_COUNT && !self.is_even() {
            self.uneven_count += 1;
        }
        Ok(self.data[index].bytes())
    }

    /// The parity datagrams of the block, when its fourth packet was the last that was made and all
    /// four have one length.
    pub fn parity(&mut self) -> Option<[&[u8]; PARITY_COUNT]> {
        if self.count != DATA_COUNT || !self.is_even() {
            return None;
        }
        let [base, ..] = &*self.data;
        let len = base.len - field::PAYLOAD;
        let base_sequence = u16::from_be_bytes([base.bytes[2], base.bytes[3]]);
        for (index, datagram) in (0..).zip(&mut *self.parity) {
            let header = &mut datagram.bytes;
            let sequence = base_sequence.wrapping_add(DATA_COUNT as u16 + u16::from(index));
            header[field::FLAGS] = RTP_FLAGS;
            header[field::KIND] = KIND_PARITY;
            header[field::SEQUENCE].copy_from_slice(&sequence.to_be_bytes());
            header[field::SHARD_INDEX] = index;
            header[field::DATA_KIND] = KIND_DATA;
            header[field::BASE_SEQUENCE].copy_from_slice(&base_sequence.to_be_bytes());
            header[field::BASE_TIMESTAMP].copy_from_slice(&base.bytes[field::TIMESTAMP]);
            datagram.len = field::PARITY_PAYLOAD + len;
        }
        let data = self.data.each_ref().map(|it| &it.bytes()[field::PAYLOAD..]);
        let mut parity =
            self.parity.each_mut().map(|it| &mut it.bytes[field::PARITY_PAYLOAD..][..len]);
        if len > 0 {
            let result = Code::audio().protect(&data, &mut parity);
            result.expect("the shards are of one length");
        }
        Some(self.parity.each_ref().map(|datagram| datagram.bytes()))
    }

    /// Blocks without parity so far, because their packets were not of one length.
    pub fn uneven_count(&self) -> u64 {
        self.uneven_count
    }

    fn is_even(&self) -> bool {
        self.data.iter().all(|datagram| datagram.len == self.data[0].len)
    }
}

impl fmt::Debug for SoundPacketizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoundPacketizer").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// AES-128 in CBC, begun anew for every packet.
struct Cipher {
    key: Aes128,
    key_number: u32,
}

impl Cipher {
    fn new(key: &Secret<16>, key_number: u32) -> Cipher {
        Cipher { key: Aes128::new(GenericArray::from_slice(key.bytes())), key_number }
    }

    /// Encrypts whole blocks. The first vector follows from the 16 bits of the packet's number, so
    /// it repeats; clients compute it so.
    fn encrypt(&self, sequence: u16, payload: &mut [u8]) {
        let mut chain = [0; CIPHER_LEN];
        let number = self.key_number.wrapping_add(sequence.into());
        chain[..4].copy_from_slice(&number.to_be_bytes());
        let (blocks, _) = payload.as_chunks_mut::<CIPHER_LEN>();
        for block in blocks {
            for (byte, other) in block.iter_mut().zip(chain) {
                *byte ^= other;
            }
            self.key.encrypt_block(GenericArray::from_mut_slice(block));
            chain = *block;
        }
    }
}

/// With PKCS #7 padding, which is a byte at least.
fn padded_len(len: usize) -> usize {
    (len / CIPHER_LEN + 1) * CIPHER_LEN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::hex;

    fn sealed(key_number: u32) -> SoundPacketizer {
        let key = Secret::new(std::array::from_fn(|index| index as u8));
        SoundPacketizer::new(&SoundConfig { key: Some((key, key_number)), packet_ms: 5 })
    }

    fn plain() -> SoundPacketizer {
        SoundPacketizer::new(&SoundConfig { key: None, packet_ms: 5 })
    }

    #[test]
    fn packets_are_encrypted_as_clients_expect() {
        let mut sound = sealed(0x0102_0304);
        let opus: Vec<u8> = (0..20).collect();
        sound.packet(&opus).unwrap();
        sound.packet(&opus).unwrap();

        let datagram = sound.packet(&opus).unwrap();

        let expected = "806100020000000a00000000\
                        7a5d58df27684aa45641365a00669c0d4f6f54e3170cedb782ab39a132812176";
        assert_eq!(hex::emit(datagram), expected);
    }

    #[test]
    fn numbers_of_keys_wrap() {
        // The second packet of one is encrypted like the first of the other.
        let [mut last, mut zero] = [u32::MAX, 0].map(sealed);
        last.packet(b"other").unwrap();

        let last = last.packet(b"same").unwrap()[12..].to_vec();
        assert_eq!(last, zero.packet(b"same").unwrap()[12..]);
    }

    #[test]
    fn four_packets_of_one_length_have_two_of_parity() {
        let mut sound = plain();
        for _ in 0..4 {
            sound.packet(b"data").unwrap();
        }
        let payloads = [
            [0, 1, 2, 3],
            [0x10, 0x11, 0x12, 0x13],
            [0xaa, 0xbb, 0xcc, 0xdd],
            [255, 254, 253, 252],
        ];
        for payload in payloads {
            let datagram = sound.packet(&payload).unwrap();
            assert_eq!(datagram[12..], payload);
        }

        let parity = sound.parity().map(|pair| pair.map(hex::emit));

        let expected = [
            "807f0008000000000000000000610004000000140000000048ee5ff9",
            "807f0009000000000000000001610004000000140000000074a59849",
        ];
        assert_eq!(parity, Some(expected.map(str::to_owned)));
    }

    #[test]
    fn parity_stands_behind_whole_blocks_only() {
        let mut sound = plain();
        assert_eq!(sound.parity(), None);
        // Lengths of the packets; whether the block is protected, and how many were not.
        let blocks = [([3, 3, 3, 3], true, 0), ([3, 3, 3, 4], false, 1), ([4, 4, 4, 4], true, 1)];
        for (lens, expected, uneven_count) in blocks {
            for (index, len) in (1..).zip(lens) {
                sound.packet(&[7; 4][..len]).unwrap();
                assert_eq!(sound.parity().is_some(), expected && index == 4, "{lens:?} {index}");
            }
            assert_eq!(sound.uneven_count(), uneven_count);
        }
    }

    #[test]
    fn datagrams_are_as_long_as_clients_take_them() {
        let longest = [7; 1377];
        for (mut sound, len_max, expected) in [(plain(), 1376, 1388), (sealed(1), 1375, 1388)] {
            for len in [len_max + 1, len_max, len_max, len_max, len_max] {
                let found = sound.packet(&longest[..len]).map(<[u8]>::len);
                let expected = if len > len_max { Err(Error::TooLong) } else { Ok(expected) };
                assert_eq!(found, expected, "{len}");
            }
            assert_eq!(sound.parity().map(|pair| pair.map(<[u8]>::len)), Some([1400; 2]));
        }
    }

    #[test]
    fn numbers_of_packets_wrap_within_whole_blocks() {
        let mut sound = plain();
        sound.sequence = 0xfffc;
        sound.timestamp = 0xffff_fffb;
        for expected in ["fffcfffffffb", "fffd00000000", "fffe00000005", "ffff0000000a"] {
            assert_eq!(hex::emit(&sound.packet(b"data").unwrap()[2..8]), expected);
        }

        let parity = sound.parity().map(|pair| pair.map(|it| hex::emit(&it[2..20])));

        let expected = [
            "00000000000000000000".to_owned() + "0061" + "fffc" + "fffffffb",
            "00010000000000000000".to_owned() + "0161" + "fffc" + "fffffffb",
        ];
        assert_eq!(parity, Some(expected));
        assert_eq!(hex::emit(&sound.packet(b"data").unwrap()[2..4]), "0000");
    }
}
