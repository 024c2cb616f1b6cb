//! HTTP heads, queries, and the documents that repeat what they held.

use punktfunk_core::proto::http::{Error, HEADER_COUNT_MAX, Limits, Request, Scanner};
use punktfunk_core::proto::query::{QUERY_LEN_MAX, Query};
use punktfunk_core::proto::xml::Document;

/// As GameStream's listeners have them, and as the API's, with smaller numbers.
const LIMITS: [Limits; 2] = [
    Limits { head_len_max: 1024, body_len_max: 0, accepts_1_0: true },
    Limits { head_len_max: 512, body_len_max: 64, accepts_1_0: false },
];

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::owned(&[
        b"GET /serverinfo?uniqueid=0123456789ABCDEF&uuid=7d HTTP/1.1\r\nHost: 127.0.0.1:47989\r\n\
          User-Agent: Mozilla/5.0\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        b"GET /applist HTTP/1.0\r\n\r\n",
        b"POST /v1/x?y=1 HTTP/1.1\r\nhost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1099511627776\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer  abc\r\nA:\t b \t\r\n\r\n",
        b"GET /b HTTP/1.1\r\nHost: a\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]);
    let headers: String = (0..HEADER_COUNT_MAX).map(|number| format!("a{number}:\r\n")).collect();
    seeds.push(format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n").into_bytes());
    seeds.push(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(480)).into_bytes());
    seeds
}

pub fn check(bytes: &[u8]) {
    for limits in &LIMITS {
        let whole = Scanner::default().handle_input(bytes, limits);
        if let Ok(Some(request)) = &whole {
            check_request(request, limits);
        }
        assert_eq!(in_pieces(bytes, limits), whole.map(|request| request.map(parts)));
    }
}

type Parts<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, &'a [u8]);

fn parts(request: Request<'_>) -> Parts<'_> {
    (request.method, request.target, request.headers, request.body)
}

/// What comes of bytes that arrive bit by bit.
fn in_pieces<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Option<Parts<'a>>, Error> {
    let mut scanner = Scanner::default();
    for len in (0..bytes.len()).step_by(1 + bytes.len() / 7) {
        match scanner.handle_input(&bytes[..len], limits)? {
            None => {}
            Some(request) => return Ok(Some(parts(request))),
        }
    }
    Ok(scanner.handle_input(bytes, limits)?.map(parts))
}

fn check_request(request: &Request<'_>, limits: &Limits) {
    assert!(request.target.starts_with('/') && request.target.starts_with(request.path()));
    assert!(request.body.len() <= limits.body_len_max);
    assert!(request.headers.len() <= HEADER_COUNT_MAX);
    assert!(request.value("transfer-encoding").is_none());
    let says = [request.method, request.target];
    let values = request.headers.iter().flat_map(|(name, value)| [*name, *value]);
    for text in says.into_iter().chain(values) {
        // Or it could end a line of what is made of it.
        assert!(!text.contains(['\r', '\n', '\0']), "{text:?}");
    }
    if let Some(token) = request.bearer() {
        assert!(!token.starts_with(' '));
    }
    let emitted = emit(request);
    // A line that ended with a bare line feed has grown by a byte.
    let limits = Limits { head_len_max: 2 * limits.head_len_max, ..*limits };
    let again = Scanner::default().handle_input(&emitted, &limits).unwrap().unwrap();
    assert_eq!(
        parts(again),
        (request.method, request.target, request.headers.clone(), request.body)
    );
}

fn emit(request: &Request<'_>) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}:{value}\r\n"));
    }
    text.push_str("\r\n");
    [text.as_bytes(), request.body].concat()
}

pub fn query_seeds() -> Vec<Vec<u8>> {
    super::owned(&[
        b"uniqueid=0123456789ABCDEF&uuid=7d&appid=1&&corever=1",
        b"a=%26%3d%25&b=%c3%BC&c=x+y%20z",
        b"a=\xc3\xbc&a=%00%0d%0a&=&%61=2",
        b"&&=&&a&a=&%&a=%4&a=%4g&%ff=1",
        "<a href=\"x\">&amp;'\u{7}\u{1b}[2J]]>\u{85}\u{2028}\u{feff}\u{ffff}".as_bytes(),
    ])
}

pub fn check_query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(query) = Query::parse(text) {
        assert!(text.len() <= QUERY_LEN_MAX);
        assert!(query.value("a").is_none_or(|value| value.len() <= text.len()));
    }
    let escaped: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
    let emitted = format!("a={escaped}");
    if emitted.len() <= QUERY_LEN_MAX {
        assert_eq!(Query::parse(&emitted).unwrap().value("a"), Some(text));
    }
}

pub fn check_xml(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut document = Document::new(&[("a", &text)]);
    document.text("b", &text);

    let document = document.finish();

    let rest = document.strip_prefix("<?xml version=\"1.0\" encoding=\"utf-8\"?><root a=\"");
    let (attribute, rest) = rest.unwrap().split_once("\"><b>").unwrap();
    let element = rest.strip_suffix("</b></root>").unwrap();
    assert_eq!(attribute, element);
    assert!(!element.contains(['<', '>', '"', '\'']) && !element.contains(char::is_control));
    let read = ["&lt;<", "&gt;>", "&quot;\"", "&apos;'", "&amp;&"];
    let read = read.iter().fold(element.to_owned(), |read, pair| {
        let (escape, character) = pair.split_at(pair.len() - 1);
        read.replace(escape, character)
    });
    // What XML cannot say becomes another character, one for one.
    assert_eq!(read.chars().count(), text.chars().count());
    assert!(read.chars().zip(text.chars()).all(|(read, sent)| read == sent || read == '\u{fffd}'));
}
