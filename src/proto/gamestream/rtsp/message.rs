//! Requests and answers in the clear: a subset of RTSP 1.0 (RFC 2326 section 4 to 7).
//!
//! Lines of a request may end with or without a carriage return. A request has one CSeq, and a
//! body only with its Content-Length; bytes behind it are never looked at. Of an answer, clients
//! want names spelt as here, one space behind each colon and no empty value.

#![forbid(unsafe_code)]

use std::fmt::{self, Write as _};

use crate::proto::gamestream::http::decimal;

/// Bytes of the request line and headers, with the empty line. Those of clients have some 300.
pub const HEAD_LEN_MAX: usize = 4096;
/// Bytes of a body. An ANNOUNCE has some 2500.
pub const BODY_LEN_MAX: usize = 16 * 1024;
/// Lines of the head behind the first.
const HEADER_COUNT_MAX: usize = 32;

/// A whole request, borrowed from the bytes that it came in.
#[derive(Debug, PartialEq)]
pub struct Request<'a> {
    /// What is asked.
    pub method: Method,
    /// Of what: a URL, `streamid=...` or `/`.
    pub target: &'a str,
    /// The value of CSeq. The answer repeats it.
    pub cseq: u32,
    /// Exactly Content-Length bytes.
    pub body: &'a [u8],
    headers: Vec<(&'a str, &'a str)>,
}

/// What a request asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Hear how the session is to be.
    Announce,
    /// Say what can be had.
    Describe,
    /// Say what can be asked.
    Options,
    /// Begin.
    Play,
    /// Name the port of one stream.
    Setup,
    /// Something that is not part of GameStream.
    Unknown,
}

/// Why bytes are no request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// The body would be longer than any is.
    BodyTooLong,
    /// Content-Length twice, or no plain number.
    ContentLength,
    /// CSeq missing, twice, or no number of 32 bits.
    Cseq,
    /// The head is longer than any is, or has too many lines.
    HeadTooLong,
    /// No RTSP request at all.
    Malformed,
    /// Not all of it is there.
    Truncated,
    /// Not version 1.0.
    Version,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::BodyTooLong => "body too long",
            Error::ContentLength => "content length repeated or not a number",
            Error::Cseq => "cseq missing, repeated or not a number",
            Error::HeadTooLong => "head too long",
            Error::Malformed => "not an RTSP request",
            Error::Truncated => "request incomplete",
            Error::Version => "RTSP version not supported",
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::Announce => "ANNOUNCE",
            Method::Describe => "DESCRIBE",
            Method::Options => "OPTIONS",
            Method::Play => "PLAY",
            Method::Setup => "SETUP",
            Method::Unknown => "unknown method",
        })
    }
}

impl Method {
    fn parse(text: &str) -> Method {
        match text {
            "ANNOUNCE" => Method::Announce,
            "DESCRIBE" => Method::Describe,
            "OPTIONS" => Method::Options,
            "PLAY" => Method::Play,
            "SETUP" => Method::Setup,
            _ => Method::Unknown,
        }
    }
}

/// Finds the end of requests that come in pieces, reading each byte of the head once and the head
/// itself twice.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Bytes in which no head ends.
    scanned_len: usize,
    /// Bytes of the request, once its head is there.
    whole_len: Option<usize>,
}

impl Scanner {
    /// The request at the start of `bytes`, or `None` while more bytes are needed. `bytes` is
    /// everything received so far, and only grows between two calls.
    pub fn handle_input<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Request<'a>>, Error> {
        if self.whole_len.is_some_and(|len| bytes.len() < len) {
            return Ok(None);
        }
        let Some(head_len) = head_len(bytes, self.scanned_len) else {
            self.scanned_len = bytes.len();
            let is_too_long = bytes.len() >= HEAD_LEN_MAX;
            return if is_too_long { Err(Error::HeadTooLong) } else { Ok(None) };
        };
        // The next call finds the same end again at once.
        self.scanned_len = head_len - 1;
        let (mut request, body_len) = Request::parse_head(&bytes[..head_len])?;
        self.whole_len = Some(head_len + body_len);
        let Some(body) = bytes[head_len..].get(..body_len) else {
            return Ok(None);
        };
        request.body = body;
        Ok(Some(request))
    }
}

/// Bytes up to and with the first empty line, of which none ends before `scanned_len`.
fn head_len(bytes: &[u8], scanned_len: usize) -> Option<usize> {
    let is_end = |index: &usize| {
        let line = &bytes[..*index];
        bytes[*index] == b'\n' && (line.ends_with(b"\n") || line.ends_with(b"\n\r"))
    };
    (scanned_len..bytes.len()).find(is_end).map(|index| index + 1)
}

impl<'a> Request<'a> {
    /// The request at the start of `bytes`, all of which are there.
    pub fn parse(bytes: &'a [u8]) -> Result<Request<'a>, Error> {
        Scanner::default().handle_input(bytes)?.ok_or(Error::Truncated)
    }

    /// The request without its body, and how many bytes that has.
    fn parse_head(head: &'a [u8]) -> Result<(Request<'a>, usize), Error> {
        if head.len() > HEAD_LEN_MAX {
            return Err(Error::HeadTooLong);
        }
        let is_shown = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
        let head = std::str::from_utf8(head).map_err(|_| Error::Malformed)?;
        if !head.bytes().all(|byte| is_shown(&byte)) {
            return Err(Error::Malformed);
        }
        // The last two are the empty line and what is behind it.
        let mut lines = head.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Error::Malformed);
        };
        if method.is_empty() || target.is_empty() || !version.starts_with("RTSP/") {
            return Err(Error::Malformed);
        }
        if version != "RTSP/1.0" {
            return Err(Error::Version);
        }
        let mut headers = Vec::new();
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or(Error::Malformed)?;
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if name.is_empty() || !name.bytes().all(is_name) || value.contains('\r') {
                return Err(Error::Malformed);
            }
            if headers.len() == HEADER_COUNT_MAX {
                return Err(Error::HeadTooLong);
            }
            headers.push((name, value.trim_matches([' ', '\t'])));
        }
        if [method, target].iter().any(|word| word.contains(['\r', '\t'])) {
            return Err(Error::Malformed);
        }
        let method = Method::parse(method);
        let mut request = Request { method, target, cseq: 0, body: &[], headers };
        request.cseq = request.value("cseq").and_then(decimal).ok_or(Error::Cseq)?;
        let body_len = request.content_len()?;
        Ok((request, body_len))
    }

    /// The value of a header that stands exactly once. The name matches in any case.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        let mut values = self.values(name);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    fn content_len(&self) -> Result<usize, Error> {
        let mut values = self.values("content-length");
        let Some(value) = values.next() else {
            return Ok(0);
        };
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || values.next().is_some() {
            return Err(Error::ContentLength);
        }
        // More digits than fit are a length, only too long.
        let len = value.parse().unwrap_or(usize::MAX);
        if len > BODY_LEN_MAX { Err(Error::BodyTooLong) } else { Ok(len) }
    }
}

/// An answer in full. `headers` and `body` are ours, never a peer's; no value is empty.
pub fn respond(status: u16, cseq: u32, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("RTSP/1.0 {status} {}\r\nCSeq: {cseq}\r\n", reason(status));
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text + "\r\n" + body
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "BAD REQUEST",
        403 => "Forbidden",
        404 => "NOT FOUND",
        408 => "Request Timeout",
        454 => "Session Not Found",
        455 => "Method Not Valid in This State",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETUP: &[u8] = b"SETUP streamid=video/0/0 RTSP/1.0\r\n\
        CSeq: 4\r\n\
        X-GS-ClientVersion: 14\r\n\
        Host: 0.0.0.0\r\n\
        Session: DEADBEEFCAFE\r\n\
        Transport: unicast;X-GS-ClientPort=50000-50001\r\n\
        If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
        \r\n";

    #[test]
    fn a_request_of_the_stock_client_is_understood() {
        let request = Request::parse(SETUP).unwrap();

        assert_eq!(request.method, Method::Setup);
        assert_eq!((request.target, request.cseq), ("streamid=video/0/0", 4));
        assert_eq!(request.value("host"), Some("0.0.0.0"));
        assert_eq!(request.value("If-Modified-Since"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        assert_eq!(request.value("Accept"), None);
        assert_eq!(request.body, b"");
    }

    #[test]
    fn a_request_may_come_in_any_pieces() {
        let whole = b"ANNOUNCE streamid=control/13/0 RTSP/1.0\r\nCSeq: 6\r\n\
            Content-length: 5\r\n\r\nv=0\r\n";
        for step in 1..whole.len() {
            let mut scanner = Scanner::default();
            for len in (0..whole.len()).step_by(step) {
                assert_eq!(scanner.handle_input(&whole[..len]), Ok(None), "{len} by {step}");
            }
            assert_eq!(scanner.handle_input(whole).unwrap().unwrap().body, b"v=0\r\n");
        }
    }

    #[test]
    fn no_beginning_of_a_request_is_one() {
        for len in 0..SETUP.len() {
            assert_eq!(Request::parse(&SETUP[..len]), Err(Error::Truncated), "{len}");
        }
    }

    #[test]
    fn a_request_has_one_meaning_or_none() {
        let one = |body: &'static [u8]| Ok((Method::Options, "/", 1, body));
        let table: [(&[u8], _); 25] = [
            (b"OPTIONS / RTSP/1.0\r\nCSeq: 1\r\n\r\n", one(b"")),
            (b"OPTIONS / RTSP/1.0\nCSeq: 1\n\n", one(b"")),
            (b"OPTIONS / RTSP/1.0\r\nCSeq: 1\n\r\n", one(b"")),
            (b"OPTIONS / RTSP/1.0\r\ncseq:\t1 \r\n\r\nbehind", one(b"")),
            (b"OPTIONS / RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 2\r\n\r\nabc", one(b"ab")),
            (b"OPTIONS / RTSP/1.0\r\nCSeq: 1\r\nA:\r\n\r\n", one(b"")),
            (b"GET / RTSP/1.0\r\nCSeq: 1\r\n\r\n", Ok((Method::Unknown, "/", 1, b""))),
            (b"options / RTSP/1.0\r\nCSeq: 1\r\n\r\n", Ok((Method::Unknown, "/", 1, b""))),
            (b"OPTIONS / RTSP/1.0\r\n\r\n", Err(Error::Cseq)),
            (b"OPTIONS / RTSP/1.0\r\nCSeq: 1\r\nCSEQ: 1\r\n\r\n", Err(Error::Cseq)),
            (b"OPTIONS / RTSP/1.0\r\nCSeq: -1\r\n\r\n", Err(Error::Cseq)),
            (b"OPTIONS / RTSP/1.0\r\nCSeq: 4294967296\r\n\r\n", Err(Error::Cseq)),
            (b"OPTIONS / RTSP/1.0\r\nCSeq 1\r\n\r\n", Err(Error::Malformed)),
            (b"OPTIONS / RTSP/1.0\r\nCSeq : 1\r\n\r\n", Err(Error::Malformed)),
            (b"OPTIONS / RTSP/1.0\r\nCSeq: 1\rA: 2\r\n\r\n", Err(Error::Malformed)),
            (b"OPTIONS / RTSP/1.0\r\nCSeq: 1\r\nA: \x1b[2J\r\n\r\n", Err(Error::Malformed)),
            (b"OPTIONS / RTSP/1.0\r\nCSeq: 1\r\nA: \xc3\xbc\r\n\r\n", Err(Error::Malformed)),
            (b"OPTIONS  / RTSP/1.0\r\nCSeq: 1\r\n\r\n", Err(Error::Malformed)),
            (b"OPTIONS /\r\nCSeq: 1\r\n\r\n", Err(Error::Malformed)),
            (b"\r\n\r\n", Err(Error::Malformed)),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Err(Error::Malformed)),
            (b"OPTIONS / RTSP/2.0\r\nCSeq: 1\r\n\r\n", Err(Error::Version)),
            (
                b"OPTIONS / RTSP/1.0\r\nCSeq: 1\r\nContent-Length: +2\r\n\r\n",
                Err(Error::ContentLength),
            ),
            (
                b"OPTIONS / RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 0\r\nContent-length: 0\r\n\r\n",
                Err(Error::ContentLength),
            ),
            (
                b"OPTIONS / RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                Err(Error::BodyTooLong),
            ),
        ];
        for (bytes, expected) in table {
            let request = Request::parse(bytes);

            let parts = request.map(|it| (it.method, it.target, it.cseq, it.body));
            assert_eq!(parts, expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn head_and_body_have_their_bounds() {
        let head = |fill: usize| {
            format!("OPTIONS / RTSP/1.0\r\nCSeq: 1\r\nA: {}\r\n\r\n", "a".repeat(fill))
        };
        let fill_max = HEAD_LEN_MAX - head(0).len();
        let lines =
            |count| format!("OPTIONS / RTSP/1.0\r\nCSeq: 1\r\n{}\r\n", "A: 1\r\n".repeat(count));
        let body = |len| format!("OPTIONS / RTSP/1.0\r\nCSeq: 1\r\nContent-Length: {len}\r\n\r\n");
        let table = [
            (head(fill_max), None),
            (head(fill_max + 1), Some(Error::HeadTooLong)),
            ("a".repeat(HEAD_LEN_MAX), Some(Error::HeadTooLong)),
            (lines(HEADER_COUNT_MAX - 1), None),
            (lines(HEADER_COUNT_MAX), Some(Error::HeadTooLong)),
            (body(BODY_LEN_MAX), Some(Error::Truncated)),
            (body(BODY_LEN_MAX + 1), Some(Error::BodyTooLong)),
        ];
        for (text, error) in table {
            assert_eq!(Request::parse(text.as_bytes()).err(), error, "{} bytes", text.len());
        }
    }

    #[test]
    fn answers_are_spelt_as_clients_read_them() {
        let headers = [
            ("Session", "DEADBEEFCAFE;timeout = 90"),
            ("Transport", "server_port=48000"),
            ("X-SS-Ping-Payload", "3f9a0c5511e2d47b"),
        ];

        assert_eq!(
            respond(200, 3, &headers, ""),
            "RTSP/1.0 200 OK\r\nCSeq: 3\r\nSession: DEADBEEFCAFE;timeout = 90\r\n\
             Transport: server_port=48000\r\nX-SS-Ping-Payload: 3f9a0c5511e2d47b\r\n\r\n"
        );
        assert_eq!(
            respond(404, 9, &[], "a=b\r\n"),
            "RTSP/1.0 404 NOT FOUND\r\nCSeq: 9\r\n\r\na=b\r\n"
        );
    }
}
