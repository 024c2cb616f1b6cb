//! What a client sends to the RTSP port, in the clear and sealed, in whatever order.

use std::num::NonZeroU32;
use std::time::Duration;

use punktfunk_core::proto::gamestream::rtsp::announce::{Announce, Codec, Encryption, Format};
use punktfunk_core::proto::gamestream::rtsp::connection::{Connection, Error, Message};
use punktfunk_core::proto::gamestream::rtsp::describe::{Layout, Offer};
use punktfunk_core::proto::gamestream::rtsp::handshake::{
    self, Event, Handshake, PingPayload, Ports, Terms,
};
use punktfunk_core::proto::gamestream::rtsp::message::{BODY_LEN_MAX, Method, Request};
use punktfunk_core::proto::gamestream::rtsp::sealed::{End, Frame, Sealing};
use punktfunk_core::proto::gamestream::secret::Secret;

const OPTIONS: &[u8] = include_bytes!("../vectors/rtsp/options");
const DESCRIBE: &[u8] = include_bytes!("../vectors/rtsp/describe");
const AUDIO: &[u8] = include_bytes!("../vectors/rtsp/setup-audio");
const VIDEO: &[u8] = include_bytes!("../vectors/rtsp/setup-video");
const CONTROL: &[u8] = include_bytes!("../vectors/rtsp/setup-control");
const ANNOUNCE: &[u8] = include_bytes!("../vectors/rtsp/announce");
const SURROUND: &[u8] = include_bytes!("../vectors/rtsp/announce-surround");
const PLAY: &[u8] = include_bytes!("../vectors/rtsp/play");
const WINDOW: Duration = Duration::from_secs(30);

/// What the requests of one handshake are joined with.
const SEPARATOR: u8 = 0;

pub fn seeds() -> Vec<Vec<u8>> {
    let frame = sealing(End::Client).seal(OPTIONS).unwrap();
    let handshakes: [&[&[u8]]; 9] = [
        &[OPTIONS, DESCRIBE, AUDIO, VIDEO, CONTROL, ANNOUNCE, PLAY],
        &[OPTIONS, DESCRIBE, AUDIO, CONTROL, VIDEO, SURROUND, PLAY, OPTIONS, DESCRIBE],
        &[OPTIONS, DESCRIBE, AUDIO, AUDIO, PLAY],
        &[ANNOUNCE],
        &[SURROUND],
        &[b"OPTIONS / RTSP/1.0\ncseq:4294967295\n\n", PLAY],
        &[b"SETUP streamid=mic/0/0 RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 16385\r\n\r\n"],
        &[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
        &[&frame],
    ];
    let mut seeds: Vec<Vec<u8>> =
        handshakes.iter().map(|requests| requests.join(&SEPARATOR)).collect();
    seeds.push(b"642014235\x0088001234567".to_vec());
    seeds
}

pub fn check(bytes: &[u8]) {
    let now = super::epoch();
    let mut handshake = Handshake::new(terms(), None, now, WINDOW);
    let mut has_announced = false;
    for part in bytes.split(|byte| *byte == SEPARATOR).take(12) {
        check_announce(part);
        check_layout(part);
        let mut connection = Connection::new(now);
        let whole = connection.handle_input(part);
        check_pieces(part, &whole);
        let Ok(Some(message)) = whole else {
            continue;
        };
        if let Message::Plain(request) = &message {
            check_request(request);
            check_announce(request.body);
        }
        let result = handshake.handle_message(&message, now);
        let mut answer = Vec::new();
        handshake.poll_output(&mut answer);
        check_answer(&result, &answer);
        has_announced = check_order(&result, has_announced);
    }
}

pub fn sealed_seeds() -> Vec<Vec<u8>> {
    let mut client = sealing(End::Client);
    let all = [OPTIONS, DESCRIBE, AUDIO, VIDEO, CONTROL, ANNOUNCE, SURROUND, PLAY];
    let mut seeds = all.map(|text| client.seal(text).unwrap()).to_vec();
    seeds.push(sealing(End::Host).seal(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n").unwrap());
    seeds.push(b"\x80\x00\x50\x00\x00\x00\x00\x01".to_vec());
    seeds.push(b"\x80\x00\x50\x01\x00\x00\x00\x01".to_vec());
    seeds.extend(all.map(<[u8]>::to_vec));
    seeds
}

/// Takes bytes as a frame, and as the text of one.
pub fn check_sealed(bytes: &[u8]) {
    let now = super::epoch();
    if let Ok(Some(frame)) = Frame::parse(bytes) {
        assert!(Frame::begins_with(bytes[0]));
        for len in [0, 1, 3, 4, 23, 24, bytes.len() - 1] {
            assert_eq!(Frame::parse(&bytes[..len.min(bytes.len() - 1)]), Ok(None));
        }
        let mut handshake = Handshake::new(terms(), Some(sealing(End::Host)), now, WINDOW);
        let opened = sealing(End::Host).open(&frame);
        let result = handshake.handle_message(&Message::Sealed(frame), now);
        let mut answer = Vec::new();
        handshake.poll_output(&mut answer);
        assert!(opened.is_ok() || answer.is_empty());
        assert!(opened.is_ok() || result.is_err_and(|error| error.is_foreign()));
    }

    let mut client = sealing(End::Client);
    let mut handshake = Handshake::new(terms(), Some(sealing(End::Host)), now, WINDOW);
    let mut has_announced = false;
    for text in [OPTIONS, bytes, DESCRIBE, AUDIO, VIDEO, CONTROL, bytes, bytes] {
        let Ok(frame) = client.seal(text) else {
            continue;
        };
        let frame = Frame::parse(&frame).unwrap().unwrap();
        assert_eq!(sealing(End::Host).open(&frame).unwrap(), text);
        let result = handshake.handle_message(&Message::Sealed(frame), now);
        let mut answer = Vec::new();
        handshake.poll_output(&mut answer);
        match Frame::parse(&answer) {
            Ok(Some(frame)) => check_answer(&result, &client.open(&frame).unwrap()),
            _ => assert!(matches!(result, Err(handshake::Error::Message(_)))),
        }
        has_announced = check_order(&result, has_announced);
        // The same again is a replay, unless it is where a handshake begins.
        let again = handshake.handle_message(&Message::Sealed(frame), now);
        assert!(frame.sequence == 1 || again.is_err_and(|error| error.is_foreign()));
    }
}

fn sealing(end: End) -> Sealing {
    Sealing::new(Secret::new([7; 16]), end)
}

fn terms() -> Terms {
    let formats = [Codec::H264, Codec::Hevc];
    Terms {
        offer: Offer {
            formats: formats.map(|codec| Format { codec, is_10_bit: false, is_444: false }).into(),
            invalidates: true,
            takes_touch: true,
            takes_motion: true,
            can_seal: Encryption::ALL,
            wants_sealed: Encryption::CONTROL,
            must_seal: Encryption::CONTROL,
            layout: None,
        },
        ports: Ports { audio: 48000, control: 47999, video: 47998 },
        session: [0xab; 8],
        audio_ping: PingPayload::new([1; 8]),
        video_ping: PingPayload::new([2; 8]),
        connect_data: NonZeroU32::MIN,
    }
}

/// What comes of bytes that arrive bit by bit is what comes of all at once, but that an error in
/// bytes behind a message is not seen.
fn check_pieces(bytes: &[u8], whole: &Result<Option<Message<'_>>, Error>) {
    let mut connection = Connection::new(super::epoch());
    for piece in bytes.chunks(1 + bytes.len() / 7) {
        match connection.handle_input(piece) {
            Ok(None) => {}
            Ok(Some(message)) => match whole {
                Ok(whole) => return assert_eq!(whole.as_ref(), Some(&message)),
                Err(error) => return assert!(matches!(error, Error::Sealed(_) | Error::TooLong)),
            },
            Err(error) => return assert_eq!(whole.as_ref().err(), Some(&error)),
        }
    }
    assert_eq!(*whole, Ok(None));
}

fn check_request(request: &Request<'_>) {
    assert!(request.body.len() <= BODY_LEN_MAX);
    assert!(!request.target.is_empty() && !request.target.contains([' ', '\r', '\n']));
    for name in ["Host", "Session", "Transport"] {
        // Or it could end a line of what is made of it.
        assert!(request.value(name).is_none_or(|value| !value.contains(['\r', '\n', '\0'])));
    }
    if request.method == Method::Unknown {
        return;
    }
    let (method, target, cseq) = (request.method, request.target, request.cseq);
    let len = request.body.len();
    let head =
        format!("{method} {target} RTSP/1.0\r\nCSeq: {cseq}\r\nContent-length: {len}\r\n\r\n");
    let emitted = [head.as_bytes(), request.body].concat();
    let again = Request::parse(&emitted).unwrap();
    let parts = (again.method, again.target, again.cseq, again.body);
    assert_eq!(parts, (method, target, cseq, request.body));
}

fn check_announce(body: &[u8]) {
    let announce = match Announce::parse(body, Some("10.0.0.2")) {
        Ok(announce) => announce,
        Err(error) => return assert!(!error.to_string().contains(char::is_control)),
    };
    let (video, audio) = (announce.video, announce.audio);
    for side in [video.width, video.height] {
        assert!((2..=16_384).contains(&side) && side % 2 == 0);
    }
    assert!((990..=999_999).contains(&video.refresh_mhz));
    assert!((1..=10_000_000).contains(&video.bitrate_kbps));
    assert!((128..=8960).contains(&video.packet_len) && video.packet_len % 16 == 0);
    assert!((1..=64).contains(&video.slice_count) && video.parity_count_min <= 255);
    assert!(video.reference_count_max.is_none_or(|count| (1..=16).contains(&count)));
    assert!([2, 6, 8].contains(&audio.channel_count));
    assert_eq!(audio.channel_mask.count_ones(), audio.channel_count);
    assert!([5, 10].contains(&audio.packet_time.as_millis()));
}

fn check_layout(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(layout) = Layout::parse(&text) {
        assert_eq!(layout.to_string(), text);
        assert_eq!(layout.stream_count + layout.coupled_count, layout.channel_count);
    }
}

/// Every request has an answer that clients can read, and 200 says that it was met.
fn check_answer(result: &Result<Option<Event>, handshake::Error>, answer: &[u8]) {
    if let Err(error) = result {
        assert!(!error.to_string().contains(char::is_control));
        if error.is_foreign() {
            return assert!(answer.is_empty());
        }
    }
    let text = std::str::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(head.starts_with("RTSP/1.0 200 OK\r\nCSeq: "), result.is_ok());
    assert!(head.split("\r\n").skip(1).all(|line| {
        line.split_once(": ").is_some_and(|(name, value)| !name.is_empty() && !value.is_empty())
    }));
    assert!(result.is_ok() || body.is_empty());
}

/// Nobody plays what was not announced. Whether something is, from now on.
fn check_order(result: &Result<Option<Event>, handshake::Error>, has_announced: bool) -> bool {
    match result {
        Ok(Some(Event::Announced(_))) => true,
        Ok(Some(Event::Play)) => {
            assert!(has_announced);
            false
        }
        Ok(None) => has_announced,
        Err(error) => has_announced && error.is_foreign(),
    }
}
