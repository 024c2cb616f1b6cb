//! HTTP/1.1 heads as a host reads them, and the answers it gives (RFC 9110, RFC 9112).
//!
//! One request per connection: every answer says `Connection: close`, so bytes behind the first
//! request are never looked at. Who may ask for what, and what it means, is the listeners'.

#![forbid(unsafe_code)]

use std::fmt;

/// Lines of the head that are kept; one more is an error.
pub const HEADER_COUNT_MAX: usize = 64;

/// What a listener accepts.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of request line and headers, with the empty line.
    pub head_len_max: usize,
    /// Bytes of the body. 0 refuses every body.
    pub body_len_max: usize,
    /// Whether HTTP/1.0, and a request without a Host header, is answered.
    pub accepts_1_0: bool,
}

/// A whole request, borrowed from the bytes it came in.
#[derive(Debug)]
pub struct Request<'a> {
    /// As sent; methods are case-sensitive.
    pub method: &'a str,
    /// Path and query as sent. Begins with `/`.
    pub target: &'a str,
    /// Names as sent, values without surrounding space.
    pub headers: Vec<(&'a str, &'a str)>,
    /// Exactly Content-Length bytes.
    pub body: &'a [u8],
}

/// Why a request is refused. Each has a status that its sender is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// The body would be longer than the listener takes.
    BodyTooLong,
    /// Content-Length twice, or no plain number.
    ContentLength,
    /// The head is longer than the listener takes, or has too many lines.
    HeadTooLong,
    /// No Host header, or more than one.
    Host,
    /// No HTTP request at all.
    Malformed,
    /// The target is no absolute path.
    Target,
    /// A Transfer-Encoding; bodies come with their length here.
    TransferEncoding,
    /// A version of HTTP that the listener does not speak.
    Version,
}

impl Error {
    /// The status code of the answer.
    pub fn status(self) -> u16 {
        match self {
            Error::BodyTooLong => 413,
            Error::HeadTooLong => 431,
            Error::TransferEncoding => 501,
            Error::Version => 505,
            Error::ContentLength | Error::Host | Error::Malformed | Error::Target => 400,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::BodyTooLong => "body too long",
            Error::ContentLength => "content length repeated or not a number",
            Error::HeadTooLong => "head too long",
            Error::Host => "host header missing or repeated",
            Error::Malformed => "not an HTTP request",
            Error::Target => "target is not an absolute path",
            Error::TransferEncoding => "transfer encoding not supported",
            Error::Version => "HTTP version not supported",
        })
    }
}

/// Finds the end of heads that come in pieces, reading each byte once.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Bytes in which no head ends.
    scanned_len: usize,
}

impl Scanner {
    /// The request at the start of `bytes`, or `None` while more bytes are needed. `bytes` is
    /// everything received so far, and only grows between two calls.
    pub fn handle_input<'a>(
        &mut self,
        bytes: &'a [u8],
        limits: &Limits,
    ) -> Result<Option<Request<'a>>, Error> {
        let from = self.scanned_len.saturating_sub(3);
        let end = bytes[from..].windows(4).position(|window| window == b"\r\n\r\n");
        let Some(end) = end else {
            self.scanned_len = bytes.len();
            return if bytes.len() < limits.head_len_max {
                Ok(None)
            } else {
                Err(Error::HeadTooLong)
            };
        };
        // The next call finds the same end again at once.
        self.scanned_len = from + end;
        Request::parse(bytes, from + end + 4, limits)
    }
}

impl<'a> Request<'a> {
    /// The request whose head is the first `head_len` bytes; `None` while its body is incomplete.
    fn parse(
        bytes: &'a [u8],
        head_len: usize,
        limits: &Limits,
    ) -> Result<Option<Request<'a>>, Error> {
        if head_len > limits.head_len_max {
            return Err(Error::HeadTooLong);
        }
        let mut storage = [httparse::EMPTY_HEADER; HEADER_COUNT_MAX];
        let mut head = httparse::Request::new(&mut storage);
        match head.parse(&bytes[..head_len]) {
            // httparse takes a bare line feed for a line end; a head that ends before the empty
            // line found above would be read differently by the next reader.
            Ok(httparse::Status::Complete(len)) if len == head_len => {}
            Ok(_) => return Err(Error::Malformed),
            Err(httparse::Error::TooManyHeaders) => return Err(Error::HeadTooLong),
            Err(httparse::Error::Version) => return Err(Error::Version),
            Err(_) => return Err(Error::Malformed),
        }
        let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version)
        else {
            return Err(Error::Malformed);
        };
        if version != 1 && !limits.accepts_1_0 {
            return Err(Error::Version);
        }
        if !target.starts_with('/') {
            return Err(Error::Target);
        }
        let mut headers = Vec::with_capacity(head.headers.len());
        for header in head.headers.iter() {
            let value = std::str::from_utf8(header.value).map_err(|_| Error::Malformed)?;
            headers.push((header.name, value.trim_matches([' ', '\t'])));
        }
        let mut request = Request { method, target, headers, body: &[] };
        match request.values("host").count() {
            1 => {}
            0 if limits.accepts_1_0 => {}
            _ => return Err(Error::Host),
        }
        if request.values("transfer-encoding").next().is_some() {
            return Err(Error::TransferEncoding);
        }
        let body_len = request.content_len()?;
        if body_len > limits.body_len_max as u64 {
            return Err(Error::BodyTooLong);
        }
        let body_end = head_len + body_len as usize;
        let Some(body) = bytes.get(head_len..body_end) else {
            return Ok(None);
        };
        request.body = body;
        Ok(Some(request))
    }

    /// Every value of a header, in order. Names match in any case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// The value of a header that stands exactly once.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        let mut values = self.values(name);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// The target up to the question mark.
    pub fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// The token of `Authorization: Bearer TOKEN` (RFC 6750).
    pub fn bearer(&self) -> Option<&'a str> {
        let (scheme, token) = self.value("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
    }

    fn content_len(&self) -> Result<u64, Error> {
        let mut values = self.values("content-length");
        let Some(value) = values.next() else {
            return Ok(0);
        };
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || values.next().is_some() {
            return Err(Error::ContentLength);
        }
        // More digits than a u64 holds are a length, only too long.
        Ok(value.parse().unwrap_or(u64::MAX))
    }
}

/// An answer in full. `headers` are lines such as `Allow: GET`, without their ends; they and
/// `content_type` are ours, never a peer's.
pub fn respond(status: u16, content_type: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
        reason(status),
        body.len(),
    );
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { head_len_max: 1024, body_len_max: 64, accepts_1_0: false };

    fn parse(bytes: &[u8]) -> Result<Option<Request<'_>>, Error> {
        Scanner::default().handle_input(bytes, &LIMITS)
    }

    #[test]
    fn a_request_is_parsed_whatever_pieces_it_comes_in() {
        let bytes = b"POST /v1/x?y=1 HTTP/1.1\r\nhost: a\r\nContent-Length: 3\r\n\r\nabcGET";

        let mut scanner = Scanner::default();
        let complete_len = bytes.len() - 3;
        for len in 0..complete_len {
            let early = scanner.handle_input(&bytes[..len], &LIMITS).unwrap();
            assert!(early.is_none(), "{len} bytes are no request");
        }
        let request = scanner.handle_input(bytes, &LIMITS).unwrap().unwrap();

        assert_eq!(
            (request.method, request.target, request.path()),
            ("POST", "/v1/x?y=1", "/v1/x")
        );
        assert_eq!(request.body, b"abc");
        assert_eq!(request.value("HOST"), Some("a"));
    }

    #[test]
    fn what_is_no_plain_request_is_refused_with_a_reason() {
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(1024));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(64));
        let table: &[(&str, Error)] = &[
            ("GET / HTTP/1.1\r\n\r\n", Error::Host),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Error::Host),
            ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", Error::Version),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Error::Version),
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Error::Target),
            ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Error::Target),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", Error::ContentLength),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", Error::ContentLength),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
                Error::ContentLength,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1099511627776\r\n\r\n",
                Error::BodyTooLong,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                Error::BodyTooLong,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                Error::TransferEncoding,
            ),
            ("GET / HTTP/1.1\r\nHost: a\n\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n", Error::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", Error::Malformed),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Error::Malformed),
            ("\x16\x03\x01\x00\r\n\r\n", Error::Malformed),
            (&long, Error::HeadTooLong),
            (&many, Error::HeadTooLong),
            (&long[..1024], Error::HeadTooLong),
        ];
        for (bytes, error) in table {
            assert_eq!(parse(bytes.as_bytes()).err(), Some(*error), "{bytes:?}");
        }
    }

    #[test]
    fn a_bearer_token_is_taken_from_its_header_alone() {
        let table = [
            ("Authorization: Bearer abc", Some("abc")),
            ("authorization: bearer  abc", Some("abc")),
            ("Authorization: Basic abc", None),
            ("Authorization: Bearer", None),
            ("Authorization: Bearer a\r\nAuthorization: Bearer b", None),
            ("X: Bearer a", None),
        ];
        for (header, token) in table {
            let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
            let request = parse(bytes.as_bytes()).unwrap().unwrap();
            assert_eq!(request.bearer(), token, "{header}");
        }
    }
}
