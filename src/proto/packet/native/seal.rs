//! Sealing and opening: AES-128-GCM in place, the packet header as associated data, the nonce from
//! the packet number as QUIC makes it (RFC 9001 section 5.3).
//!
//! A number belongs to one packet of its direction, whatever the kind and whatever the key: it does
//! not begin anew with another phase.

#![forbid(unsafe_code)]

use std::fmt;

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::header::{self, Kind, NUMBER_END, PACKET_HEADER_LEN, PacketHeader, TAG_LEN};
use super::window::Window;
use crate::proto::gamestream::secret::Secret;

/// Datagrams no longer than this count as short ones: 2^11 bytes, RFC 9001 appendix B.1.
const SHORT_LEN_MAX: usize = 1 << 11;
/// Short packets that one key may seal.
const COUNT_MAX: u64 = 1 << 28;
/// A longer packet takes as much of a key as so many short ones: of long ones it may seal 2^23.
const LONG_WEIGHT: u64 = 32;

/// What one direction is sealed under, for one phase.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Of AES-128.
    pub key: Secret<16>,
    /// The nonce is this, and the packet number over its last eight bytes.
    pub iv: Secret<12>,
}

/// Why a packet is not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("key or packet numbers used up")
    }
}

impl std::error::Error for Exhausted {}

/// Why a datagram was refused. Nothing has changed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is none of ours.
    Header(header::Error),
    /// Its key is not there, any more or yet.
    Phase(u8),
    /// Seen before, or older than the replay window.
    Replay,
    /// The tag does not match: damaged, forged, or sealed under another key.
    Tag,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Header(error) => error.fmt(f),
            Error::Phase(phase) => write!(f, "no key of phase {phase}"),
            Error::Replay => f.write_str("packet seen before, or too old"),
            Error::Tag => f.write_str("tag that does not match"),
        }
    }
}

impl std::error::Error for Error {}

/// A key.
struct Phase {
    number: u32,
    key: LessSafeKey,
    iv: Secret<12>,
}

impl Phase {
    fn new(number: u32, keys: &Keys) -> Phase {
        let key = UnboundKey::new(&AES_128_GCM, keys.key.bytes()).expect("a key of AES-128");
        Phase { number, key: LessSafeKey::new(key), iv: keys.iv.clone() }
    }

    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = *self.iv.bytes();
        for (byte, counted) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= counted;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Seals what one end sends.
pub struct Sealer {
    phase: Phase,
    /// Of the next packet.
    number: u64,
    /// What the key has sealed so far, in short packets' worth.
    count: u64,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Sealer {
    /// Seals under these keys, which are of phase 0.
    pub fn new(keys: &Keys) -> Sealer {
        Sealer { phase: Phase::new(0, keys), number: 0, count: 0 }
    }

    /// Goes on under the keys of the next phase.
    pub fn next_phase(&mut self, keys: &Keys) {
        self.phase = Phase::new(self.phase.number.wrapping_add(1), keys);
        self.count = 0;
    }

    /// The phase at work.
    pub fn phase(&self) -> u32 {
        self.phase.number
    }

    /// Whether the next phase should begin: half of what the key may seal is sealed.
    pub fn is_key_due(&self) -> bool {
        self.count >= COUNT_MAX / 2
    }

    /// The number of the next packet.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many more datagrams of a length it seals under this key.
    pub fn room(&self, datagram_len: usize) -> u64 {
        let of_key = COUNT_MAX.saturating_sub(self.count) / weight(datagram_len);
        of_key.min(NUMBER_END.saturating_sub(self.number))
    }

    /// As if it had sealed so much that so many datagrams of a length are left.
    #[cfg(test)]
    pub(in crate::proto::packet) fn leave_room(&mut self, datagram_len: usize, count: u64) {
        self.count = COUNT_MAX - count * weight(datagram_len);
    }

    /// Seals a datagram in place: room for the packet header, the payload, room for the tag.
    ///
    /// # Panics
    ///
    /// If there is no room for both.
    pub fn seal(&mut self, kind: Kind, datagram: &mut [u8]) -> Result<(), Exhausted> {
        if self.room(datagram.len()) == 0 {
            return Err(Exhausted);
        }
        self.count += weight(datagram.len());
        let number = self.number;
        self.number += 1;
        let header = PacketHeader { kind, phase: self.phase.number as u8, number }.emit();
        let (front, sealed) = datagram.split_at_mut(PACKET_HEADER_LEN);
        let (payload, back) = sealed.split_at_mut(sealed.len() - TAG_LEN);
        front.copy_from_slice(&header);
        let tag = self
            .phase
            .key
            .seal_in_place_separate_tag(self.phase.nonce(number), Aad::from(header), payload)
            .expect("a datagram is shorter than AES-GCM's limit");
        back.copy_from_slice(tag.as_ref());
        Ok(())
    }
}

/// What a datagram takes of its key, in short packets' worth.
fn weight(datagram_len: usize) -> u64 {
    if datagram_len <= SHORT_LEN_MAX { 1 } else { LONG_WEIGHT }
}

/// A datagram that was opened.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// What it is for.
    pub kind: Kind,
    /// Its number.
    pub number: u64,
    /// What was sealed.
    pub payload: &'a mut [u8],
}

/// Opens what one end receives.
pub struct Opener {
    /// The one before, while its last packets may be on their way.
    before: Option<Phase>,
    current: Phase,
    /// The one behind, so that the sender may begin it at any time.
    next: Option<Phase>,
    /// The least number that was opened in the current phase: all of the one before are less.
    first: u64,
    window: Window,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("window", &self.window).finish_non_exhaustive()
    }
}

impl Opener {
    /// Opens what is sealed under these keys, which are of phase 0. No packet is taken twice, and
    /// none that is older than so many others.
    pub fn new(keys: &Keys, window_len: usize) -> Opener {
        Opener {
            before: None,
            current: Phase::new(0, keys),
            next: None,
            first: NUMBER_END,
            window: Window::new(window_len),
        }
    }

    /// The phase of which it wants the keys now, so that they are there before the first packet is:
    /// at the beginning, and whenever the sender has begun the next one.
    pub fn wanted_phase(&self) -> Option<u32> {
        self.next.is_none().then(|| self.current.number.wrapping_add(1))
    }

    /// Takes the keys of [`Opener::wanted_phase`].
    pub fn set_next_keys(&mut self, keys: &Keys) {
        self.next = Some(Phase::new(self.current.number.wrapping_add(1), keys));
    }

    /// The phase of the newest packets.
    pub fn phase(&self) -> u32 {
        self.current.number
    }

    /// Which packets have come.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Takes what has not come by the last time this was called as lost: see [`Window::settle`].
    pub fn settle(&mut self) {
        self.window.settle();
    }

    /// Opens a datagram in place. What is refused may have been overwritten.
    pub fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Result<Opened<'a>, Error> {
        let header = PacketHeader::parse(datagram).map_err(Error::Header)?;
        if datagram.len() < PACKET_HEADER_LEN + TAG_LEN {
            return Err(Error::Header(header::Error::TooShort));
        }
        let phase = self.phase_of(&header).ok_or(Error::Phase(header.phase))?;
        let number = phase.number;
        if !self.window.is_new(header.number) {
            return Err(Error::Replay);
        }
        let (front, sealed) = datagram.split_at_mut(PACKET_HEADER_LEN);
        let payload = phase
            .key
            .open_in_place(phase.nonce(header.number), Aad::from(front), sealed)
            .map_err(|_| Error::Tag)?;
        self.window.note(header.number);
        if number == self.current.number.wrapping_add(1) {
            let next = self.next.take().expect("it has opened this packet");
            self.before = Some(std::mem::replace(&mut self.current, next));
            self.first = header.number;
        } else if number == self.current.number {
            self.first = self.first.min(header.number);
        }
        Ok(Opened { kind: header.kind, number: header.number, payload })
    }

    /// What a packet that says so is to be opened with. Those of the phase before have less numbers
    /// than those of this one.
    fn phase_of(&self, header: &PacketHeader) -> Option<&Phase> {
        let before = self.before.as_ref().filter(|_| header.number < self.first);
        let phases = [Some(&self.current), before, self.next.as_ref()];
        phases.into_iter().flatten().find(|phase| phase.number as u8 == header.phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(number: u8) -> Keys {
        Keys { key: Secret::new([number; 16]), iv: Secret::new([number ^ 0x55; 12]) }
    }

    fn sealed(sealer: &mut Sealer, payload: &[u8]) -> Vec<u8> {
        let mut datagram = [&[0; PACKET_HEADER_LEN][..], payload, &[0; TAG_LEN]].concat();
        sealer.seal(Kind::Video, &mut datagram).unwrap();
        datagram
    }

    #[test]
    fn what_is_sealed_is_opened_once() {
        let (mut sealer, mut opener) = (Sealer::new(&keys(1)), Opener::new(&keys(1), 0));
        let datagrams = [b"first".as_slice(), b"", b"third"].map(|it| sealed(&mut sealer, it));

        for (number, payload) in [(2, b"third".as_slice()), (0, b"first"), (1, b"")] {
            let mut datagram = datagrams[number as usize].clone();
            let opened = opener.open(&mut datagram).unwrap();
            assert_eq!((opened.kind, opened.number), (Kind::Video, number));
            assert_eq!(opened.payload, payload);
            let mut again = datagrams[number as usize].clone();
            assert_eq!(opener.open(&mut again), Err(Error::Replay));
        }
    }

    #[test]
    fn no_byte_can_be_changed_and_a_forgery_moves_no_window() {
        let (mut sealer, mut opener) = (Sealer::new(&keys(1)), Opener::new(&keys(1), 0));
        let datagram = sealed(&mut sealer, b"payload");

        for index in 0..datagram.len() {
            for bit in 0..8 {
                let mut forged = datagram.clone();
                forged[index] ^= 1 << bit;
                assert!(opener.open(&mut forged).is_err(), "byte {index}");
            }
        }
        for len in 0..datagram.len() {
            assert!(opener.open(&mut datagram[..len].to_vec()).is_err());
        }

        assert_eq!(opener.window().end(), 0);
        assert!(opener.open(&mut datagram.clone()).is_ok());
    }

    #[test]
    fn the_next_phase_begins_with_its_first_packet_and_numbers_go_on() {
        let (mut sealer, mut opener) = (Sealer::new(&keys(1)), Opener::new(&keys(1), 0));
        let mut of_phases = Vec::new();
        for phase in 0..4 {
            of_phases.push([0, 1, 2].map(|_| sealed(&mut sealer, &[phase])));
            sealer.next_phase(&keys(phase + 2));
        }
        let open = |opener: &mut Opener, phase: usize, index: usize| {
            opener.open(&mut of_phases[phase][index].clone()).map(|opened| opened.number)
        };

        assert_eq!(opener.wanted_phase(), Some(1));
        assert_eq!(open(&mut opener, 1, 0), Err(Error::Phase(1)));
        opener.set_next_keys(&keys(2));
        assert_eq!((opener.wanted_phase(), opener.phase()), (None, 0));
        assert_eq!((open(&mut opener, 0, 0), opener.phase()), (Ok(0), 0));
        // The second of the new phase overtakes the first, and one of the old.
        assert_eq!((open(&mut opener, 1, 1), opener.phase()), (Ok(4), 1));
        assert_eq!((open(&mut opener, 1, 0), open(&mut opener, 0, 1)), (Ok(3), Ok(1)));
        assert_eq!(open(&mut opener, 2, 0), Err(Error::Phase(2)));
        assert_eq!(opener.wanted_phase(), Some(2));
        opener.set_next_keys(&keys(3));
        assert_eq!((open(&mut opener, 2, 2), opener.phase()), (Ok(8), 2));
        assert_eq!(
            (open(&mut opener, 0, 2), open(&mut opener, 1, 2)),
            (Err(Error::Phase(0)), Ok(5))
        );
    }

    #[test]
    fn a_forgery_begins_no_phase_and_an_old_key_seals_nothing_new() {
        let (mut sealer, mut opener) = (Sealer::new(&keys(1)), Opener::new(&keys(1), 0));
        let mut old = Sealer::new(&keys(1));
        opener.set_next_keys(&keys(2));
        let mut forged = sealed(&mut sealer, b"first");
        forged[1] = 1;
        assert_eq!(opener.open(&mut forged), Err(Error::Tag));
        assert_eq!(opener.phase(), 0);

        sealer.next_phase(&keys(2));
        let mut begins = sealed(&mut sealer, b"second");
        assert_eq!(opener.open(&mut begins).map(|opened| opened.number), Ok(1));

        old.number = 2;
        assert_eq!(opener.open(&mut sealed(&mut old, b"third")), Err(Error::Phase(0)));
        old.number = 0;
        assert!(opener.open(&mut sealed(&mut old, b"first")).is_ok());
    }

    #[test]
    fn a_nonce_is_never_used_twice_over_three_hundred_phases() {
        let (mut sealer, mut opener) = (Sealer::new(&keys(0)), Opener::new(&keys(0), 0));
        for phase in 0..300_u32 {
            // Due long before the key is used up, in time for the other end.
            sealer.count = COUNT_MAX / 2 - 1;
            assert!(!sealer.is_key_due());
            let number = sealer.number();
            let mut datagram = sealed(&mut sealer, b"payload");
            assert!(sealer.is_key_due());
            assert_eq!(number, u64::from(phase));
            assert_eq!(opener.open(&mut datagram).map(|opened| opened.number), Ok(number));
            assert_eq!((sealer.phase(), opener.phase()), (phase, phase));

            let keys = keys(phase as u8 ^ 0x5a);
            let wanted = opener.wanted_phase();
            assert_eq!(wanted, Some(phase + 1));
            opener.set_next_keys(&keys);
            sealer.next_phase(&keys);
        }
    }

    #[test]
    fn a_key_seals_no_more_than_it_may() {
        let mut sealer = Sealer::new(&keys(1));
        (sealer.count, sealer.number) = (COUNT_MAX - 1, COUNT_MAX - 1);
        let mut datagram = [0; 64];
        assert!(sealer.is_key_due());
        assert_eq!(sealer.seal(Kind::Ping, &mut datagram), Ok(()));
        assert_eq!(sealer.seal(Kind::Ping, &mut datagram), Err(Exhausted));
        sealer.next_phase(&keys(2));
        assert!(!sealer.is_key_due());
        assert_eq!(sealer.seal(Kind::Ping, &mut datagram), Ok(()));
        assert_eq!(sealer.number(), COUNT_MAX + 1);

        // Those of either length take of the same key.
        let mut long = [0; SHORT_LEN_MAX + 1];
        assert_eq!(sealer.room(long.len()), (1 << 23) - 1);
        sealer.leave_room(long.len(), 1);
        assert_eq!(sealer.room(datagram.len()), 32);
        assert_eq!(sealer.seal(Kind::Ping, &mut datagram), Ok(()));
        assert_eq!(sealer.seal(Kind::Probe, &mut long), Err(Exhausted));
        assert_eq!(sealer.room(datagram.len()), 31);
        sealer.number = NUMBER_END;
        assert_eq!(sealer.seal(Kind::Ping, &mut datagram), Err(Exhausted));
    }
}
