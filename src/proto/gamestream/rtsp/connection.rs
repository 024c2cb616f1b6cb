//! One TCP connection of a client: bytes in, one message out.
//!
//! Whose message it is, only the handshakes can tell that are pending. A peer that closes without
//! a byte is a client that looks for a way to the host. The host closes after its answer; before,
//! it reads what there is, because closing on unread bytes resets the connection.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::{Duration, Instant};

use super::message::{self, Request, Scanner};
use super::sealed::{self, FRAME_LEN_MAX, Frame};

/// From accepted to whole message. Clients wait 15 seconds for the answer.
pub const REQUEST_TIME: Duration = Duration::from_secs(10);

/// What a connection brought.
#[derive(Debug, PartialEq)]
pub enum Message<'a> {
    /// A request in the clear.
    Plain(Request<'a>),
    /// Something that only who has the key can read.
    Sealed(Frame<'a>),
}

/// Why a connection comes to nothing. No handshake is the worse for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// What is in the clear is no request.
    Message(message::Error),
    /// What is sealed is no frame.
    Sealed(sealed::Error),
    /// It took too long.
    TimedOut,
    /// More bytes than any message has.
    TooLong,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Message(error) => error.fmt(f),
            Error::Sealed(error) => error.fmt(f),
            Error::TimedOut => f.write_str("request took too long"),
            Error::TooLong => f.write_str("request too long"),
        }
    }
}

/// A connection until its message is whole.
#[derive(Debug)]
pub struct Connection {
    inbox: Vec<u8>,
    scanner: Scanner,
    deadline: Instant,
}

impl Connection {
    /// One that was accepted at `now`.
    pub fn new(now: Instant) -> Connection {
        Connection { inbox: Vec::new(), scanner: Scanner::default(), deadline: now + REQUEST_TIME }
    }

    /// Takes bytes in whatever pieces the socket gave them. After a message or an error there is
    /// nothing to be had from the connection.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<Option<Message<'_>>, Error> {
        if self.inbox.len() + bytes.len() > FRAME_LEN_MAX {
            return Err(Error::TooLong);
        }
        self.inbox.extend_from_slice(bytes);
        match self.inbox.first() {
            Some(first) if Frame::begins_with(*first) => {
                let frame = Frame::parse(&self.inbox).map_err(Error::Sealed)?;
                Ok(frame.map(Message::Sealed))
            }
            Some(_) => {
                let request = self.scanner.handle_input(&self.inbox).map_err(Error::Message)?;
                Ok(request.map(Message::Plain))
            }
            None => Ok(None),
        }
    }

    /// When to call `handle_timeout`.
    pub fn poll_timeout(&self) -> Instant {
        self.deadline
    }

    /// Errs once the message is late.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if now < self.deadline { Ok(()) } else { Err(Error::TimedOut) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::gamestream::rtsp::message::{BODY_LEN_MAX, Method};
    use crate::proto::gamestream::rtsp::sealed::{End, Sealing};
    use crate::proto::gamestream::secret::Secret;

    const OPTIONS: &[u8] = b"OPTIONS rtsp://10.0.0.2:48010 RTSP/1.0\r\nCSeq: 1\r\n\r\n";

    #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_message_comes_byte_by_byte_plain_or_sealed() {
        let frame = Sealing::new(Secret::new([7; 16]), End::Client).seal(OPTIONS).unwrap();
        for bytes in [OPTIONS, &frame] {
            let mut connection = Connection::new(epoch());
            let (last, others) = bytes.split_last().unwrap();
            for byte in others {
                assert_eq!(connection.handle_input(&[*byte]), Ok(None));
            }

            match connection.handle_input(&[*last]).unwrap().unwrap() {
                Message::Plain(request) => assert_eq!(request.method, Method::Options),
                Message::Sealed(frame) => assert_eq!(frame.sequence, 1),
            }
        }
    }

    #[test]
    fn what_is_no_message_is_refused_as_soon_as_that_is_clear() {
        let table: [(&[u8], _); 5] = [
            (b"", Ok(())),
            (
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
                Err(Error::Message(message::Error::Malformed)),
            ),
            (b"GET / HTTP/1.1\r\n\r\n", Err(Error::Message(message::Error::Malformed))),
            (b"\xff\xff\xff\xff", Err(Error::Sealed(sealed::Error::Len))),
            (&[b'a'; FRAME_LEN_MAX + 1], Err(Error::TooLong)),
        ];
        for (bytes, expected) in table {
            let mut connection = Connection::new(epoch());

            let result = connection.handle_input(bytes).map(|message| assert!(message.is_none()));
            assert_eq!(result, expected);
        }
    }

    #[test]
    fn the_longest_body_has_room() {
        let head = format!(
            "{OPTIONS}Content-Length: {BODY_LEN_MAX}\r\n\r\n",
            OPTIONS = "OPTIONS / RTSP/1.0\r\nCSeq: 1\r\n"
        );
        let mut connection = Connection::new(epoch());
        assert_eq!(connection.handle_input(head.as_bytes()), Ok(None));

        let message = connection.handle_input(&[b'a'; BODY_LEN_MAX]).unwrap();

        assert!(
            matches!(message, Some(Message::Plain(request)) if request.body.len() == BODY_LEN_MAX)
        );
    }

    #[test]
    fn a_connection_is_given_ten_seconds() {
        let now = epoch();
        let mut connection = Connection::new(now);
        connection.handle_input(b"OPTIONS rtsp://").unwrap();

        let deadline = now + Duration::from_secs(10);

        assert_eq!(connection.poll_timeout(), deadline);
        assert_eq!(connection.handle_timeout(deadline - Duration::from_nanos(1)), Ok(()));
        assert_eq!(connection.handle_timeout(deadline), Err(Error::TimedOut));
    }
}
