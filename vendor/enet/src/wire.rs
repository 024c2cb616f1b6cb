//! Datagrams and commands, from bytes and to bytes.
//!
//! A datagram is a header and up to 32 commands back to back. All numbers are big-endian. There is
//! no written standard; this follows what libenet 1.3.17 sends.

use crate::Error;

/// Peers that a header can name.
pub const PEER_COUNT_MAX: u16 = 0xfff;
/// In place of a peer's number, where it has none yet.
pub const PEER_NONE: u16 = 0xfff;
/// Channels that a connection can have.
pub const CHANNEL_COUNT_MAX: u8 = 0xff;
/// In place of a channel, where a command is the connection's.
pub const CHANNEL_NONE: u8 = 0xff;
/// In place of a session number, where there was none before.
pub const SESSION_NONE: u8 = 0xff;
/// Bytes of a datagram, at least, that both ends take.
pub const MTU_MIN: u16 = 576;
/// Bytes of a datagram, at most.
pub const MTU_MAX: u16 = 4096;
/// Commands of a datagram.
pub const COMMAND_COUNT_MAX: usize = 32;
/// Bytes of a header with a time.
pub const HEADER_LEN_MAX: usize = 4;
/// Bytes of a fragment's command without its data.
pub const FRAGMENT_LEN: usize = 24;

const COMPRESSED: u16 = 0x4000;
const TIMED: u16 = 0x8000;
const SESSION_SHIFT: u32 = 12;
const SESSION_MASK: u8 = 3;
const ACKNOWLEDGE: u8 = 0x80;
const UNSEQUENCED: u8 = 0x40;
const NUMBER: u8 = 0x0f;

/// What a datagram begins with, 2 or 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The receiver's number for the sender, bits 0 to 11.
    pub peer: u16,
    /// Which use of that number it is, 0 to 3, bits 12 and 13.
    pub session: u8,
    /// Low 16 bits of the sender's clock in milliseconds. Bit 15 says that it is there, which it is
    /// in front of any command that wants an acknowledgement.
    pub sent_time: Option<u16>,
}

/// One command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// Its receiver is to acknowledge it.
    pub acknowledge: bool,
    /// It has no place in any sequence.
    pub unsequenced: bool,
    /// 0 to 254, or [`CHANNEL_NONE`].
    pub channel: u8,
    /// Its number among the reliable ones of the channel, or that of the one before it.
    pub sequence: u16,
    /// What it says.
    pub body: Body,
    /// Its part of a message; empty where the command carries none.
    pub data: &'a [u8],
}

/// What a command says, by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// 1: a command arrived.
    Acknowledge {
        /// That command's.
        sequence: u16,
        /// As its datagram said.
        sent_time: u16,
    },
    /// 2: asks for a connection.
    Connect(Connect),
    /// 3: grants it.
    VerifyConnect(Terms),
    /// 4: ends it.
    Disconnect {
        /// The application's.
        data: u32,
    },
    /// 5: wants nothing but an acknowledgement.
    Ping,
    /// 6: a message.
    Reliable,
    /// 7: a message that may get lost.
    Unreliable {
        /// Its number behind the reliable one.
        number: u16,
    },
    /// 8: a piece of a message.
    Fragment(Fragment),
    /// 9: a message that may get lost or overtaken.
    Unsequenced {
        /// By which duplicates are told.
        group: u16,
    },
    /// 10: bytes per second that the sender takes and gives.
    BandwidthLimit {
        /// What it takes, 0 for any.
        incoming: u32,
        /// What it gives, 0 for any.
        outgoing: u32,
    },
    /// 11: how its sender wants unreliable messages throttled.
    ThrottleConfigure {
        /// As in [`Terms`].
        throttle: [u32; 3],
    },
    /// 12: a piece of a message that may get lost.
    UnreliableFragment(Fragment),
}

/// What CONNECT and VERIFY_CONNECT have in common, 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The sender's number for the receiver.
    pub peer: u16,
    /// Session of what the asking end receives.
    pub incoming_session: u8,
    /// Session of what the asking end sends.
    pub outgoing_session: u8,
    /// Bytes of a datagram.
    pub mtu: u32,
    /// Bytes of reliable messages under way.
    pub window: u32,
    /// Channels.
    pub channel_count: u32,
    /// Bytes per second, 0 for any.
    pub incoming_bandwidth: u32,
    /// Bytes per second, 0 for any.
    pub outgoing_bandwidth: u32,
    /// Interval in milliseconds, acceleration, deceleration; returned unchanged.
    pub throttle: [u32; 3],
    /// Opaque; returned unchanged.
    pub connect_id: u32,
}

/// The body of CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// What is asked for.
    pub terms: Terms,
    /// The application's.
    pub data: u32,
}

/// Where a piece of a message belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The first fragment's number, reliable or unreliable.
    pub start: u16,
    /// Fragments of the message.
    pub count: u32,
    /// Which of them it is.
    pub number: u32,
    /// Bytes of the message.
    pub total_len: u32,
    /// Bytes of the message before this piece.
    pub offset: u32,
}

impl Header {
    /// The header, and the commands behind it.
    pub fn parse(bytes: &[u8]) -> Result<(Header, Commands<'_>), Error> {
        let mut input = Input(bytes);
        let word = input.u16()?;
        if word & COMPRESSED != 0 {
            return Err(Error::Compressed);
        }
        let sent_time = if word & TIMED != 0 { Some(input.u16()?) } else { None };
        let session = (word >> SESSION_SHIFT) as u8 & SESSION_MASK;
        let header = Header { peer: word & PEER_NONE, session, sent_time };
        Ok((header, Commands { input, count: 0 }))
    }

    /// Appends the header.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let session = u16::from(self.session & SESSION_MASK) << SESSION_SHIFT;
        let timed = if self.sent_time.is_some() { TIMED } else { 0 };
        put16(out, self.peer & PEER_NONE | session | timed);
        if let Some(time) = self.sent_time {
            put16(out, time);
        }
    }
}

/// The commands of a datagram, up to the first that cannot be read.
#[derive(Clone, Debug)]
pub struct Commands<'a> {
    input: Input<'a>,
    count: usize,
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.input.0.is_empty() {
            return None;
        }
        self.count += 1;
        let command = match self.count {
            ..=COMMAND_COUNT_MAX => Command::parse(&mut self.input),
            _ => Err(Error::Malformed),
        };
        if command.is_err() {
            self.input = Input(&[]);
        }
        Some(command)
    }
}

/// Channel and bytes of the messages that a datagram has whole, for whoever wants to look at it
/// before it is handled.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let commands = Header::parse(datagram).ok().map(|(_, commands)| commands);
    commands.into_iter().flatten().map_while(Result::ok).filter_map(|command| {
        let is_whole = matches!(
            command.body,
            Body::Reliable | Body::Unreliable { .. } | Body::Unsequenced { .. }
        );
        is_whole.then_some((command.channel, command.data))
    })
}

impl<'a> Command<'a> {
    /// Bytes of it.
    pub fn wire_len(&self) -> usize {
        self.body.len() + self.data.len()
    }

    fn parse(input: &mut Input<'a>) -> Result<Command<'a>, Error> {
        let [first, channel] = input.array()?;
        let sequence = input.u16()?;
        let (body, data_len) = Body::parse(first & NUMBER, input)?;
        Ok(Command {
            acknowledge: first & ACKNOWLEDGE != 0,
            unsequenced: first & UNSEQUENCED != 0,
            channel,
            sequence,
            body,
            data: input.take(data_len.into())?,
        })
    }

    /// Appends the command. Data is for the bodies that carry some, and fits 16 bits.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let acknowledge = if self.acknowledge { ACKNOWLEDGE } else { 0 };
        let unsequenced = if self.unsequenced { UNSEQUENCED } else { 0 };
        out.extend([self.body.number() | acknowledge | unsequenced, self.channel]);
        put16(out, self.sequence);
        self.body.emit(self.data.len() as u16, out);
        out.extend_from_slice(self.data);
    }
}

impl Body {
    /// The body, and how many bytes of data follow it.
    fn parse(number: u8, input: &mut Input<'_>) -> Result<(Body, u16), Error> {
        let body = match number {
            1 => Body::Acknowledge { sequence: input.u16()?, sent_time: input.u16()? },
            2 => Body::Connect(Connect { terms: Terms::parse(input)?, data: input.u32()? }),
            3 => Body::VerifyConnect(Terms::parse(input)?),
            4 => Body::Disconnect { data: input.u32()? },
            5 => Body::Ping,
            6 => return Ok((Body::Reliable, input.u16()?)),
            7 => return Ok((Body::Unreliable { number: input.u16()? }, input.u16()?)),
            8 => return Fragment::parse(input).map(|(it, len)| (Body::Fragment(it), len)),
            9 => return Ok((Body::Unsequenced { group: input.u16()? }, input.u16()?)),
            10 => Body::BandwidthLimit { incoming: input.u32()?, outgoing: input.u32()? },
            11 => Body::ThrottleConfigure { throttle: input.throttle()? },
            12 => {
                return Fragment::parse(input).map(|(it, len)| (Body::UnreliableFragment(it), len));
            }
            _ => return Err(Error::Malformed),
        };
        Ok((body, 0))
    }

    fn emit(&self, data_len: u16, out: &mut Vec<u8>) {
        match *self {
            Body::Acknowledge { sequence, sent_time } => {
                put16(out, sequence);
                put16(out, sent_time);
            }
            Body::Connect(connect) => {
                connect.terms.emit(out);
                put32(out, connect.data);
            }
            Body::VerifyConnect(terms) => terms.emit(out),
            Body::Disconnect { data } => put32(out, data),
            Body::Ping => {}
            Body::Reliable => put16(out, data_len),
            Body::Unreliable { number: word } | Body::Unsequenced { group: word } => {
                put16(out, word);
                put16(out, data_len);
            }
            Body::Fragment(fragment) | Body::UnreliableFragment(fragment) => {
                fragment.emit(data_len, out);
            }
            Body::BandwidthLimit { incoming, outgoing } => {
                put32(out, incoming);
                put32(out, outgoing);
            }
            Body::ThrottleConfigure { throttle } => {
                throttle.into_iter().for_each(|value| put32(out, value));
            }
        }
    }

    fn number(&self) -> u8 {
        match self {
            Body::Acknowledge { .. } => 1,
            Body::Connect(_) => 2,
            Body::VerifyConnect(_) => 3,
            Body::Disconnect { .. } => 4,
            Body::Ping => 5,
            Body::Reliable => 6,
            Body::Unreliable { .. } => 7,
            Body::Fragment(_) => 8,
            Body::Unsequenced { .. } => 9,
            Body::BandwidthLimit { .. } => 10,
            Body::ThrottleConfigure { .. } => 11,
            Body::UnreliableFragment(_) => 12,
        }
    }

    /// Bytes of the command without its data.
    fn len(&self) -> usize {
        match self {
            Body::Ping => 4,
            Body::Reliable => 6,
            Body::Acknowledge { .. }
            | Body::Disconnect { .. }
            | Body::Unreliable { .. }
            | Body::Unsequenced { .. } => 8,
            Body::BandwidthLimit { .. } => 12,
            Body::ThrottleConfigure { .. } => 16,
            Body::Fragment(_) | Body::UnreliableFragment(_) => FRAGMENT_LEN,
            Body::VerifyConnect(_) => 44,
            Body::Connect(_) => 48,
        }
    }
}

impl Terms {
    fn parse(input: &mut Input<'_>) -> Result<Terms, Error> {
        let peer = input.u16()?;
        let [incoming_session, outgoing_session] = input.array()?;
        Ok(Terms {
            peer,
            incoming_session,
            outgoing_session,
            mtu: input.u32()?,
            window: input.u32()?,
            channel_count: input.u32()?,
            incoming_bandwidth: input.u32()?,
            outgoing_bandwidth: input.u32()?,
            throttle: input.throttle()?,
            connect_id: input.u32()?,
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        put16(out, self.peer);
        out.extend([self.incoming_session, self.outgoing_session]);
        let [interval, acceleration, deceleration] = self.throttle;
        let words = [
            self.mtu,
            self.window,
            self.channel_count,
            self.incoming_bandwidth,
            self.outgoing_bandwidth,
            interval,
            acceleration,
            deceleration,
            self.connect_id,
        ];
        words.into_iter().for_each(|word| put32(out, word));
    }
}

impl Fragment {
    /// The fragment, and how many bytes of data follow it.
    fn parse(input: &mut Input<'_>) -> Result<(Fragment, u16), Error> {
        let (start, data_len) = (input.u16()?, input.u16()?);
        let fragment = Fragment {
            start,
            count: input.u32()?,
            number: input.u32()?,
            total_len: input.u32()?,
            offset: input.u32()?,
        };
        Ok((fragment, data_len))
    }

    fn emit(&self, data_len: u16, out: &mut Vec<u8>) {
        put16(out, self.start);
        put16(out, data_len);
        let words = [self.count, self.number, self.total_len, self.offset];
        words.into_iter().for_each(|word| put32(out, word));
    }
}

/// What is left of a datagram.
#[derive(Clone, Copy, Debug)]
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Error::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Error::Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    fn throttle(&mut self) -> Result<[u32; 3], Error> {
        Ok([self.u32()?, self.u32()?, self.u32()?])
    }
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend(value.to_be_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment() -> Fragment {
        Fragment { start: 9, count: 3, number: 1, total_len: 2000, offset: 872 }
    }

    fn terms() -> Terms {
        Terms {
            peer: 7,
            incoming_session: 1,
            outgoing_session: 2,
            mtu: 900,
            window: 65_536,
            channel_count: 48,
            incoming_bandwidth: 1,
            outgoing_bandwidth: 2,
            throttle: [5000, 2, 2],
            connect_id: 0xb861_9c0a,
        }
    }

    /// Every body, its length on the wire and the data that it may carry.
    fn bodies() -> [(Body, usize, &'static [u8]); 12] {
        [
            (Body::Acknowledge { sequence: 1, sent_time: 2 }, 8, b""),
            (Body::Connect(Connect { terms: terms(), data: 5 }), 48, b""),
            (Body::VerifyConnect(terms()), 44, b""),
            (Body::Disconnect { data: 9 }, 8, b""),
            (Body::Ping, 4, b""),
            (Body::Reliable, 6, b"abc"),
            (Body::Unreliable { number: 4 }, 8, b"abc"),
            (Body::Fragment(fragment()), 24, b"abc"),
            (Body::Unsequenced { group: 4 }, 8, b"abc"),
            (Body::BandwidthLimit { incoming: 1, outgoing: 2 }, 12, b""),
            (Body::ThrottleConfigure { throttle: [1, 2, 3] }, 16, b""),
            (Body::UnreliableFragment(fragment()), 24, b"abc"),
        ]
    }

    #[test]
    fn what_is_emitted_is_parsed_back_and_nothing_shorter_is() {
        for (index, (body, len, data)) in bodies().into_iter().enumerate() {
            let command = Command {
                acknowledge: index % 2 == 0,
                unsequenced: index % 3 == 0,
                channel: index as u8,
                sequence: 0x1234,
                body,
                data,
            };
            let header = Header { peer: 0x123, session: 2, sent_time: Some(7) };

            let mut bytes = Vec::new();
            header.emit(&mut bytes);
            command.emit(&mut bytes);

            assert_eq!(bytes.len(), HEADER_LEN_MAX + len + data.len(), "{body:?}");
            assert_eq!(command.wire_len(), len + data.len());
            let (parsed, commands) = Header::parse(&bytes).unwrap();
            assert_eq!(parsed, header);
            assert_eq!(commands.collect::<Vec<_>>(), [Ok(command)]);
            for end in HEADER_LEN_MAX + 1..bytes.len() {
                let (_, mut commands) = Header::parse(&bytes[..end]).unwrap();
                assert_eq!(commands.next(), Some(Err(Error::Malformed)), "{body:?} {end}");
                assert_eq!(commands.next(), None);
            }
        }
    }

    #[test]
    fn headers_say_what_is_behind_them() {
        let cases: [(&[u8], Result<Header, Error>); 6] = [
            (b"", Err(Error::Malformed)),
            (b"\0", Err(Error::Malformed)),
            (b"\x80\0\0", Err(Error::Malformed)),
            (b"\x4f\xff", Err(Error::Compressed)),
            (b"\x0f\xff", Ok(Header { peer: PEER_NONE, session: 0, sent_time: None })),
            (b"\xb0\x05\x01\x02", Ok(Header { peer: 5, session: 3, sent_time: Some(0x102) })),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Header::parse(bytes).map(|(header, _)| header), expected, "{bytes:?}");
        }
    }

    #[test]
    fn numbers_that_mean_nothing_end_a_datagram() {
        for number in [0, 13, 14, 15] {
            let bytes = [0, 0, 0x85, 0xff, 0, 1, number, 0, 0, 0, 5, 0xff, 0, 2];

            let commands: Vec<_> = Header::parse(&bytes).unwrap().1.collect();

            assert!(matches!(commands[..], [Ok(_), Err(Error::Malformed)]), "{number}");
        }
        let bytes = [&[0, 0][..], &[5, 0xff, 0, 1].repeat(33)].concat();
        assert_eq!(Header::parse(&bytes).unwrap().1.filter(Result::is_ok).count(), 32);
    }

    #[test]
    fn whole_messages_can_be_looked_at() {
        let bytes = b"\0\0\x85\xff\0\x01\x86\x03\0\x01\0\x02hi\x07\x04\0\x01\0\x01\0\x01!\0";

        let found: Vec<_> = messages(bytes).collect();

        assert_eq!(found, [(3, &b"hi"[..]), (4, b"!")]);
        assert_eq!(messages(b"\x40\0").count(), 0);
    }
}
