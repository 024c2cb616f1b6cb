//! Sealed RTSP, the framing behind `rtspenc://`: one message to a frame, AES-128-GCM under the key
//! of the launch.
//!
//! A nonce is the sender's sequence number, which never returns under one key at this end, and two
//! letters for the direction.

#![forbid(unsafe_code)]

use std::fmt;

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};

use super::message::{BODY_LEN_MAX, HEAD_LEN_MAX};
use crate::proto::gamestream::secret::Secret;

/// The head of a frame. Big-endian, 24 bytes.
mod field {
    use std::ops::Range;

    pub(super) const LEN: Range<usize> = 0..4; // of the text; the top bit says that it is sealed
    pub(super) const SEQUENCE: Range<usize> = 4..8;
    pub(super) const TAG: Range<usize> = 8..24;
    pub(super) const TEXT: usize = 24;
}

/// Set in the length of every frame. No message in the clear begins with a byte that has it.
const SEALED: u32 = 0x8000_0000;
/// Bytes of the text: a whole request.
const TEXT_LEN_MAX: usize = HEAD_LEN_MAX + BODY_LEN_MAX;
/// Bytes of a frame at most.
pub const FRAME_LEN_MAX: usize = field::TEXT + TEXT_LEN_MAX;

/// A whole frame, borrowed from the bytes that it came in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame<'a> {
    /// The sender's number of it. Clients begin with 1.
    pub sequence: u32,
    tag: [u8; 16],
    text: &'a [u8],
}

/// Why a frame is refused, or not made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// Bytes behind the frame; there is one to a connection.
    Excess,
    /// The sequence numbers of this end are used up.
    Exhausted,
    /// The text would be longer than any request is, or is empty.
    Len,
    /// The number is not above that of the frame before.
    Replay,
    /// The tag does not match: damaged, forged, or sealed under another key.
    Tag,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Excess => "bytes behind the sealed message",
            Error::Exhausted => "sequence numbers used up",
            Error::Len => "sealed message of a length that none has",
            Error::Replay => "sequence number not above the last",
            Error::Tag => "tag does not match",
        })
    }
}

impl<'a> Frame<'a> {
    /// Whether what begins with this byte is a frame, and no message in the clear.
    pub fn begins_with(byte: u8) -> bool {
        byte & 0x80 != 0
    }

    /// The frame that `bytes` are, or `None` while more are needed.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Frame<'a>>, Error> {
        let Some(len) = bytes.first_chunk().map(|len| u32::from_be_bytes(*len)) else {
            return Ok(None);
        };
        let len = (len ^ SEALED) as usize;
        if !(1..=TEXT_LEN_MAX).contains(&len) {
            return Err(Error::Len);
        }
        let Some(text) = bytes.get(field::TEXT..field::TEXT + len) else {
            return Ok(None);
        };
        if bytes.len() > field::TEXT + len {
            return Err(Error::Excess);
        }
        let sequence = bytes[field::SEQUENCE].try_into().expect("four bytes");
        let tag = bytes[field::TAG].try_into().expect("sixteen bytes");
        Ok(Some(Frame { sequence: u32::from_be_bytes(sequence), tag, text }))
    }
}

/// An end of the handshake, as nonces tell it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// Who began.
    Client,
    /// Who answers.
    Host,
}

impl End {
    fn other(self) -> End {
        match self {
            End::Client => End::Host,
            End::Host => End::Client,
        }
    }

    fn nonce(self, sequence: u32) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&sequence.to_le_bytes());
        nonce[10] = match self {
            End::Client => b'C',
            End::Host => b'H',
        };
        nonce[11] = b'R';
        Nonce::assume_unique_for_key(nonce)
    }
}

/// One end's sealing and opening under one key.
#[derive(Debug)]
pub struct Sealing {
    rikey: Secret<16>,
    end: End,
    /// The number of the last frame that was made. It goes on when a handshake begins anew.
    sent: u32,
    /// The number of the last frame that was accepted.
    accepted: u32,
}

impl Sealing {
    /// That of `end`, under the key of the launch.
    pub fn new(rikey: Secret<16>, end: End) -> Sealing {
        Sealing { rikey, end, sent: 0, accepted: 0 }
    }

    /// The text of a frame from the other end. Whether that is new is asked of `accept`.
    pub fn open(&self, frame: &Frame<'_>) -> Result<Vec<u8>, Error> {
        let mut text = [frame.text, &frame.tag].concat();
        let nonce = self.end.other().nonce(frame.sequence);
        let opened = self.key().open_in_place(nonce, Aad::empty(), &mut text);
        let len = opened.map_err(|_| Error::Tag)?.len();
        text.truncate(len);
        Ok(text)
    }

    /// Takes a frame that was opened for one to act upon. Numbers rise, and may begin again with 1
    /// where the message itself begins a handshake.
    pub fn accept(&mut self, frame: &Frame<'_>, is_beginning: bool) -> Result<(), Error> {
        if frame.sequence <= self.accepted && !(is_beginning && frame.sequence == 1) {
            return Err(Error::Replay);
        }
        self.accepted = frame.sequence;
        Ok(())
    }

    /// The frame of a text of this end.
    pub fn seal(&mut self, text: &[u8]) -> Result<Vec<u8>, Error> {
        if !(1..=TEXT_LEN_MAX).contains(&text.len()) {
            return Err(Error::Len);
        }
        let sequence = self.sent.checked_add(1).ok_or(Error::Exhausted)?;
        // Never one nonce twice, not even if sealing itself goes wrong.
        self.sent = sequence;
        let mut frame = vec![0; field::TEXT];
        frame.extend_from_slice(text);
        let (head, text) = frame.split_at_mut(field::TEXT);
        let tag = self.tag(sequence, text);
        head[field::LEN].copy_from_slice(&(SEALED | text.len() as u32).to_be_bytes());
        head[field::SEQUENCE].copy_from_slice(&sequence.to_be_bytes());
        head[field::TAG].copy_from_slice(tag.as_ref());
        Ok(frame)
    }

    fn tag(&self, sequence: u32, text: &mut [u8]) -> Tag {
        let nonce = self.end.nonce(sequence);
        let sealed = self.key().seal_in_place_separate_tag(nonce, Aad::empty(), text);
        sealed.expect("the text is far shorter than what GCM takes")
    }

    fn key(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_128_GCM, self.rikey.bytes());
        LessSafeKey::new(key.expect("sixteen bytes are a key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::hex;

    const OPTIONS: &[u8] = b"OPTIONS rtspenc://10.0.0.2:48010 RTSP/1.0\r\nCSeq: 1\r\n\
        X-GS-ClientVersion: 14\r\nHost: 10.0.0.2\r\n\r\n";
    const OPTIONS_FRAME: &str = "8000005e000000012d08db93e955792ddd3a6271f2d5a8dd\
        9fe452003a42126629e9a38df3e5ba69a1abdaec51aa1661850e8735998f849928429fae652a7d7788916ae9\
        ff8d5721d8bff2ab045348a1a29682f061923eb620ad7296ec124ce9376925fd34731fbb9a57546d489c9a45\
        9a48b2bbecf2";
    const OK: &[u8] = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n";
    const OK_FRAME: &str = "8000001c00000001f1734c68fca6356daf5717bc54c6f6a2\
        600872b43a271f6b4fc685cedf9a7cb84351077c0cc521456e1d06e9";

    fn sealing(end: End) -> Sealing {
        Sealing::new(Secret::new(std::array::from_fn(|index| index as u8)), end)
    }

    #[test]
    fn either_end_seals_and_opens_as_published() {
        let table = [
            (End::Client, End::Host, OPTIONS, OPTIONS_FRAME),
            (End::Host, End::Client, OK, OK_FRAME),
        ];
        for (sender, receiver, text, frame) in table {
            let bytes = hex::parse(frame).unwrap();

            assert_eq!(sealing(sender).seal(text).unwrap(), bytes);
            let frame = Frame::parse(&bytes).unwrap().unwrap();
            assert_eq!(frame.sequence, 1);
            assert_eq!(sealing(receiver).open(&frame).unwrap(), text);
            // What an end has said itself is not taken from the other.
            assert_eq!(sealing(sender).open(&frame), Err(Error::Tag));
        }
    }

    #[test]
    fn no_byte_of_a_frame_may_differ() {
        let bytes = hex::parse(OPTIONS_FRAME).unwrap();
        for index in 4..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[index] ^= 1 << bit;

                let frame = Frame::parse(&bytes).unwrap().unwrap();
                assert_eq!(sealing(End::Host).open(&frame), Err(Error::Tag), "{index}");
            }
        }
    }

    #[test]
    fn a_frame_is_as_long_as_it_says() {
        let bytes = hex::parse(OK_FRAME).unwrap();
        for len in 0..bytes.len() {
            assert_eq!(Frame::parse(&bytes[..len]), Ok(None), "{len}");
        }
        assert_eq!(Frame::parse(&[&bytes[..], b"a"].concat()), Err(Error::Excess));

        let max = SEALED | TEXT_LEN_MAX as u32;
        let table = [
            (SEALED, Err(Error::Len)),
            (SEALED + 1, Ok(None)),
            (max, Ok(None)),
            (max + 1, Err(Error::Len)),
            (u32::MAX, Err(Error::Len)),
            (28, Err(Error::Len)),
        ];
        for (len, expected) in table {
            assert_eq!(Frame::parse(&len.to_be_bytes()), expected, "{len:x}");
        }
    }

    #[test]
    fn numbers_rise_until_a_handshake_begins_anew() {
        let frame = |sequence| Frame { sequence, tag: [0; 16], text: b"a" };
        let mut host = sealing(End::Host);
        let table = [
            (0, false, Err(Error::Replay)),
            (1, true, Ok(())),
            (1, false, Err(Error::Replay)),
            (2, false, Ok(())),
            (2, true, Err(Error::Replay)),
            (7, false, Ok(())),
            (6, false, Err(Error::Replay)),
            (1, true, Ok(())),
            (2, false, Ok(())),
            (u32::MAX, false, Ok(())),
            (0, true, Err(Error::Replay)),
        ];
        for (sequence, is_beginning, expected) in table {
            assert_eq!(host.accept(&frame(sequence), is_beginning), expected, "{sequence}");
        }
    }

    #[test]
    fn no_number_is_used_twice() {
        let mut host = sealing(End::Host);
        let first = host.seal(OK).unwrap();
        assert_ne!(host.seal(OK).unwrap(), first);

        host.sent = u32::MAX;

        assert_eq!(host.seal(OK), Err(Error::Exhausted));
        assert_eq!(host.seal(b""), Err(Error::Len));
    }

    #[test]
    fn the_key_is_not_shown() {
        assert!(format!("{:?}", sealing(End::Host)).contains("rikey: Secret,"));
    }
}
