//! The envelope of every message of an encrypted control stream: AES-128-GCM under the key of the
//! launch, in one of the two ways that clients know.
//!
//! In the first way nonces repeat after 256 messages and in both directions, so whoever listens can
//! read and forge: it is for clients that know no other. One sealer and one opener belong to a key,
//! since numbers start at 0 and must not do so twice.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;

use aes_gcm::aead::AeadInPlace;
use aes_gcm::aead::consts::U16;
use aes_gcm::{AesGcm, KeyInit};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};

use crate::proto::gamestream::secret::Secret;

/// Bytes that the envelope adds to a message.
pub const OVERHEAD_LEN: usize = field::MESSAGE;

const KIND: u16 = 0x0001;
const TAG_LEN: usize = 16;
/// Bytes of the shortest message: its own header.
const MESSAGE_LEN_MIN: usize = 4;
/// What the length counts: everything behind it.
const MESSAGE_LEN_MAX: usize = u16::MAX as usize - (field::MESSAGE - field::SEQUENCE.start);
/// Messages of different ENet channels overtake each other by fewer than this.
const WINDOW_COUNT: u32 = 1024;

/// The envelope, little-endian.
mod field {
    use super::Range;

    pub(super) const KIND: Range<usize> = 0..2;
    pub(super) const LEN: Range<usize> = 2..4; // of all that follows
    pub(super) const SEQUENCE: Range<usize> = 4..8;
    pub(super) const TAG: Range<usize> = 8..24;
    pub(super) const MESSAGE: usize = 24;
}

/// Why a packet was refused, or a message not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Every number of this key is used.
    Exhausted,
    /// The length is not that of the packet, or that of no message.
    Length,
    /// Not an envelope. On an encrypted stream nothing else may come.
    Plain,
    /// Opened before, or older than the replay window.
    Replay,
    /// The tag does not match: damaged, forged, or sealed under another key.
    Tag,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Exhausted => "no sequence number left",
            Error::Length => "wrong length of a sealed message",
            Error::Plain => "message in the clear",
            Error::Replay => "replayed message",
            Error::Tag => "message of somebody else",
        })
    }
}

impl std::error::Error for Error {}

/// Which of the two ways a stream is sealed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The first: a nonce of 16 bytes, of which one counts.
    V1,
    /// The second: a nonce of 12 bytes with the whole number and the direction.
    V2,
}

/// Which way a message goes; keeps the nonces of both ways apart.
#[derive(Clone, Copy, Debug)]
enum Direction {
    ClientToHost,
    HostToClient,
}

/// A key in one of the two ways.
enum Cipher {
    V1(Box<AesGcm<aes::Aes128, U16>>),
    V2(Box<LessSafeKey>, Direction),
}

impl Cipher {
    fn new(scheme: Scheme, direction: Direction, rikey: &Secret<16>) -> Cipher {
        match scheme {
            Scheme::V1 => Cipher::V1(Box::new(AesGcm::new(rikey.bytes().into()))),
            Scheme::V2 => {
                let key = UnboundKey::new(&AES_128_GCM, rikey.bytes());
                let key = LessSafeKey::new(key.expect("a key of AES-128 has 16 bytes"));
                Cipher::V2(Box::new(key), direction)
            }
        }
    }

    /// Seals `message` in its place and returns the tag.
    fn seal(&self, sequence: u32, message: &mut [u8]) -> [u8; TAG_LEN] {
        const SHORT: &str = "the message is shorter than AES-GCM's limit";
        let mut tag = [0; TAG_LEN];
        match self {
            Cipher::V1(key) => {
                let nonce = nonce_v1(sequence);
                let sealed = key.encrypt_in_place_detached(&nonce.into(), &[], message);
                tag.copy_from_slice(&sealed.expect(SHORT));
            }
            Cipher::V2(key, direction) => {
                let nonce = direction.nonce(sequence);
                let sealed = key.seal_in_place_separate_tag(nonce, Aad::empty(), message);
                tag.copy_from_slice(sealed.expect(SHORT).as_ref());
            }
        }
        tag
    }

    /// Opens `message` in its place.
    fn open(&self, sequence: u32, tag: [u8; TAG_LEN], message: &mut [u8]) -> Result<(), Error> {
        match self {
            Cipher::V1(key) => {
                let nonce = nonce_v1(sequence);
                let opened =
                    key.decrypt_in_place_detached(&nonce.into(), &[], message, &tag.into());
                opened.map_err(|_| Error::Tag)
            }
            Cipher::V2(key, direction) => {
                let (nonce, tag) = (direction.nonce(sequence), Tag::from(tag));
                let opened = key.open_in_place_separate_tag(nonce, Aad::empty(), tag, message, 0..);
                opened.map(drop).map_err(|_| Error::Tag)
            }
        }
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cipher::V1(_) => "V1",
            Cipher::V2(..) => "V2",
        })
    }
}

fn nonce_v1(sequence: u32) -> [u8; 16] {
    let mut nonce = [0; 16];
    nonce[0] = sequence as u8;
    nonce
}

impl Direction {
    fn nonce(self, sequence: u32) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&sequence.to_le_bytes());
        nonce[10..].copy_from_slice(match self {
            Direction::ClientToHost => b"CC",
            Direction::HostToClient => b"HC",
        });
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Seals what the host says.
#[derive(Debug)]
pub struct Sealer {
    cipher: Cipher,
    /// The number of the next message; none is left behind the last.
    sequence: Option<u32>,
}

impl Sealer {
    /// The host's end of a stream under this key.
    pub fn new(scheme: Scheme, rikey: &Secret<16>) -> Sealer {
        Sealer::towards(scheme, Direction::HostToClient, rikey)
    }

    /// The client's end.
    pub fn of_client(scheme: Scheme, rikey: &Secret<16>) -> Sealer {
        Sealer::towards(scheme, Direction::ClientToHost, rikey)
    }

    fn towards(scheme: Scheme, direction: Direction, rikey: &Secret<16>) -> Sealer {
        Sealer { cipher: Cipher::new(scheme, direction, rikey), sequence: Some(0) }
    }

    /// The packet that carries `message`, which has a header of its own.
    pub fn seal(&mut self, message: &[u8]) -> Result<Vec<u8>, Error> {
        if !(MESSAGE_LEN_MIN..=MESSAGE_LEN_MAX).contains(&message.len()) {
            return Err(Error::Length);
        }
        let sequence = self.sequence.ok_or(Error::Exhausted)?;
        self.sequence = sequence.checked_add(1);
        let len = (field::MESSAGE - field::SEQUENCE.start + message.len()) as u16;
        let mut packet = vec![0; field::MESSAGE];
        packet.extend_from_slice(message);
        packet[field::KIND].copy_from_slice(&KIND.to_le_bytes());
        packet[field::LEN].copy_from_slice(&len.to_le_bytes());
        packet[field::SEQUENCE].copy_from_slice(&sequence.to_le_bytes());
        let tag = self.cipher.seal(sequence, &mut packet[field::MESSAGE..]);
        packet[field::TAG].copy_from_slice(&tag);
        Ok(packet)
    }
}

/// Opens what the client says.
#[derive(Debug)]
pub struct Opener {
    cipher: Cipher,
    window: Window,
}

impl Opener {
    /// The host's end of a stream under this key.
    pub fn new(scheme: Scheme, rikey: &Secret<16>) -> Opener {
        Opener::towards(scheme, Direction::ClientToHost, rikey)
    }

    /// The client's end.
    pub fn of_client(scheme: Scheme, rikey: &Secret<16>) -> Opener {
        Opener::towards(scheme, Direction::HostToClient, rikey)
    }

    fn towards(scheme: Scheme, direction: Direction, rikey: &Secret<16>) -> Opener {
        Opener { cipher: Cipher::new(scheme, direction, rikey), window: Window::default() }
    }

    /// The message of a packet, in its place. Of a packet that is refused nothing may be used.
    pub fn open<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], Error> {
        let (sequence, message) = self.look_into(packet)?;
        self.window.mark(sequence);
        Ok(message)
    }

    /// Whether `open` would open it. Takes a copy: it is asked of what comes from a new address.
    pub fn recognises(&self, packet: &[u8]) -> bool {
        self.look_into(&mut packet.to_vec()).is_ok()
    }

    fn look_into<'a>(&self, packet: &'a mut [u8]) -> Result<(u32, &'a [u8]), Error> {
        let kind = packet.get(field::KIND).ok_or(Error::Length)?;
        if kind != KIND.to_le_bytes() {
            return Err(Error::Plain);
        }
        let (header, message) = packet.split_at_mut_checked(field::MESSAGE).ok_or(Error::Length)?;
        let len = usize::from(u16::from_le_bytes([header[2], header[3]]));
        let len_true = field::MESSAGE - field::SEQUENCE.start + message.len();
        if len != len_true || message.len() < MESSAGE_LEN_MIN {
            return Err(Error::Length);
        }
        let sequence = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        if !self.window.is_new(sequence) {
            return Err(Error::Replay);
        }
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&header[field::TAG]);
        self.cipher.open(sequence, tag, message)?;
        Ok((sequence, message))
    }
}

/// The numbers seen, as far back as the window goes: bit `n % WINDOW_COUNT` is number `n`'s.
#[derive(Debug, Default)]
struct Window {
    highest: Option<u32>,
    seen_bits: [u64; WINDOW_COUNT as usize / 64],
}

impl Window {
    fn is_new(&self, sequence: u32) -> bool {
        let Some(highest) = self.highest else {
            return true;
        };
        let (word, bit) = Window::place(sequence);
        let is_within = highest.saturating_sub(sequence) < WINDOW_COUNT;
        sequence > highest || is_within && self.seen_bits[word] & bit == 0
    }

    fn mark(&mut self, sequence: u32) {
        let highest = self.highest.unwrap_or(0);
        let ahead_count = sequence.saturating_sub(highest).min(WINDOW_COUNT);
        for step in 0..ahead_count {
            let (word, bit) = Window::place(sequence - step);
            self.seen_bits[word] &= !bit;
        }
        self.highest = Some(highest.max(sequence));
        let (word, bit) = Window::place(sequence);
        self.seen_bits[word] |= bit;
    }

    fn place(sequence: u32) -> (usize, u64) {
        let index = sequence % WINDOW_COUNT;
        ((index / 64) as usize, 1 << (index % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::hex;

    fn rikey() -> Secret<16> {
        Secret::new(std::array::from_fn(|index| index as u8))
    }

    /// Packets of a client, numbered from 0.
    fn packets(count: usize) -> Vec<Vec<u8>> {
        let mut client = Sealer::of_client(Scheme::V2, &rikey());
        (0..count).map(|_| client.seal(b"\x02\x03\x02\0\0\0").unwrap()).collect()
    }

    fn bytes(text: &str) -> Vec<u8> {
        hex::parse(&text.replace(' ', "")).unwrap()
    }

    #[test]
    fn packets_of_clients_are_opened() {
        let mut host = Opener::new(Scheme::V2, &rikey());
        let mut packet = bytes(
            "0100 2600 05000000 92f38e8f93fb76656748dcc32e25076e \
             a7fe524c77fb16721ae18411b40704897787",
        );

        let message = host.open(&mut packet).map(hex::emit);

        assert_eq!(message, Ok("06020e000000000a03000000004180000000".to_owned()));
    }

    #[test]
    fn packets_are_sealed_for_clients() {
        let mut host = Sealer::new(Scheme::V2, &rikey());

        let packet = host.seal(&bytes("0901 0400 80030023")).unwrap();

        let expected =
            bytes("0100 1c00 00000000 b835a2b8ace857ddcbad385dce166aa9 f2dd4edacf3be801");
        assert_eq!(packet, expected);
    }

    #[test]
    fn packets_of_the_first_way_are_opened_in_that_way_only() {
        let mut packet = bytes(
            "0100 2600 05000000 0575a236c2558ff4ff6addb8c1c71430 \
             f82a728c62dd9cf0f603adc51b4e5dbdac9a",
        );

        assert_eq!(Opener::new(Scheme::V2, &rikey()).open(&mut packet.clone()), Err(Error::Tag));

        let mut host = Opener::new(Scheme::V1, &rikey());
        assert!(host.recognises(&packet));
        let message = host.open(&mut packet).map(hex::emit);
        assert_eq!(message, Ok("06020e000000000a03000000004180000000".to_owned()));
        assert_eq!(host.open(&mut packet), Err(Error::Replay));
    }

    #[test]
    fn in_the_first_way_both_ends_seal_alike() {
        let mut host = Sealer::new(Scheme::V1, &rikey());
        let mut client = Sealer::of_client(Scheme::V1, &rikey());

        let packet = host.seal(b"\x02\x03\x02\0\0\0").unwrap();

        assert_eq!(client.seal(b"\x02\x03\x02\0\0\0").unwrap(), packet);
    }

    #[test]
    fn what_one_end_seals_the_other_opens() {
        let mut client = Opener::of_client(Scheme::V2, &rikey());
        let mut host = Sealer::new(Scheme::V2, &rikey());
        for len in [4, 5, 16, 17, 1000, MESSAGE_LEN_MAX] {
            let message = vec![0x5a; len];

            let mut packet = host.seal(&message).unwrap();

            assert_eq!(packet.len(), len + OVERHEAD_LEN);
            assert_eq!(
                Opener::new(Scheme::V2, &rikey()).open(&mut packet.clone()),
                Err(Error::Tag),
                "own"
            );
            assert_eq!(client.open(&mut packet), Ok(&message[..]));
        }
        for len in [0, 3, MESSAGE_LEN_MAX + 1] {
            assert_eq!(host.seal(&vec![0; len]), Err(Error::Length), "{len}");
        }
    }

    #[test]
    fn damaged_packets_are_refused_and_spoil_nothing() {
        let mut host = Opener::new(Scheme::V2, &rikey());
        let packet = packets(1).remove(0);
        for index in 0..packet.len() {
            let mut damaged = packet.clone();
            damaged[index] ^= 0x10;
            let expected = match index {
                0..2 => Error::Plain,
                2..4 => Error::Length,
                _ => Error::Tag,
            };
            assert_eq!(host.open(&mut damaged), Err(expected), "{index}");
        }
        for len in 0..packet.len() {
            assert_eq!(host.open(&mut packet.clone()[..len]), Err(Error::Length), "{len}");
        }
        let longer = [&packet[..], &[0]].concat();
        assert_eq!(host.open(&mut longer.clone()), Err(Error::Length));

        assert!(host.open(&mut packet.clone()).is_ok());
    }

    #[test]
    fn an_envelope_holds_a_header_at_least() {
        let mut host = Opener::new(Scheme::V2, &rikey());
        let mut packet = vec![1, 0, 23, 0];
        packet.resize(27, 0);

        assert_eq!(host.open(&mut packet), Err(Error::Length));
    }

    #[test]
    fn messages_overtake_each_other_and_come_once() {
        let mut host = Opener::new(Scheme::V2, &rikey());
        let packets = packets(2000);
        let cases = [
            (1, Ok(())),
            (0, Ok(())),
            (0, Err(Error::Replay)),
            (1, Err(Error::Replay)),
            (1023, Ok(())),
            (1024, Ok(())),
            (1, Err(Error::Replay)),
            (2, Ok(())),
            (1027, Ok(())),
            (3, Err(Error::Replay)), // too old by one
            (4, Ok(())),
            (4, Err(Error::Replay)),
            (1999, Ok(())),
            (976, Ok(())),
            (975, Err(Error::Replay)),
            (1024, Err(Error::Replay)),
            (1025, Ok(())),
        ];
        for (step, (index, expected)) in cases.into_iter().enumerate() {
            let opened = host.open(&mut packets[index].clone()).map(|_| ());
            assert_eq!(opened, expected, "step {step}, number {index}");
        }
    }

    #[test]
    fn a_leap_forgets_what_is_behind_the_window() {
        let mut window = Window::default();

        window.mark(5);
        window.mark(u32::MAX);

        assert!(!window.is_new(5) && !window.is_new(u32::MAX));
        assert!(window.is_new(u32::MAX - 1) && window.is_new(u32::MAX - 1023));
        assert!(!window.is_new(u32::MAX - 1024));
    }

    #[test]
    fn numbers_end_rather_than_begin_anew() {
        let mut host = Sealer::new(Scheme::V2, &rikey());
        host.sequence = Some(u32::MAX);

        assert!(host.seal(&[0; 4]).is_ok());
        assert_eq!(host.seal(&[0; 4]), Err(Error::Exhausted));
    }
}
