//! The handshake of one session, the host's end: OPTIONS, DESCRIBE, a SETUP for each stream in any
//! order, ANNOUNCE, PLAY.
//!
//! Each request comes by a connection of its own, so a handshake outlives them. One that is out of
//! order or cannot be met ends it; OPTIONS begins it anew, as a client does that tries again. A
//! handshake that was recorded looks just like that, so its owner drops it as soon as the control
//! stream is connected.

#![forbid(unsafe_code)]

use std::fmt;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::announce::{self, Announce, Format};
use super::connection::Message;
use super::describe::Offer;
use super::message::{self, Method, Request, respond};
use super::sealed::{self, Sealing};
use crate::proto::hex;

/// What the host tells a client, made for one session.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// What it can do and wants.
    pub offer: Offer,
    /// Where it listens.
    pub ports: Ports,
    /// Random, so that requests of others do not fit in.
    pub session: [u8; 8],
    /// What tells the client's datagrams to the audio port from others.
    pub audio_ping: PingPayload,
    /// What tells the client's datagrams to the video port from others.
    pub video_ping: PingPayload,
    /// Random, and what the client connects its control stream with. Clients that do not know of
    /// it connect with 0.
    pub connect_data: NonZeroU32,
}

/// UDP ports of the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ports {
    /// Sound.
    pub audio: u16,
    /// The control stream.
    pub control: u16,
    /// Pictures.
    pub video: u16,
}

/// Sixteen characters with which the client's pings begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PingPayload([u8; 16]);

/// What a request means to the session.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// How the session is to be. It is made before the answer is sent, or `refuse` is called. One
    /// that was there already begins anew, but for its nonces.
    Announced(Announce),
    /// The client is about to connect its control stream.
    Play,
}

/// Why a message is not met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// Part of what is announced cannot be.
    Announce(announce::Error),
    /// More is to be sealed than the host offers to.
    Encryption,
    /// A format that the host does not offer.
    Format(Format),
    /// It opened, but is no request.
    Message(message::Error),
    /// Nothing that is asked for in GameStream.
    NotFound,
    /// In the clear where the session is sealed, or the other way round. Not of this handshake.
    OtherKind,
    /// Another request was due.
    OutOfOrder(Method),
    /// It did not open, was opened before, or cannot be answered.
    Sealed(sealed::Error),
    /// It does not name the session that it belongs to.
    Session,
    /// The handshake took too long.
    TimedOut,
    /// Less is to be sealed than the host demands.
    Unsealed,
}

impl Error {
    /// Whether the message is none of this handshake's, which goes on as if it had not come.
    pub fn is_foreign(&self) -> bool {
        matches!(self, Error::OtherKind | Error::Sealed(sealed::Error::Replay | sealed::Error::Tag))
    }

    /// The status of the answer.
    fn status(&self) -> u16 {
        match self {
            Error::Announce(_) | Error::Encryption | Error::Format(_) | Error::Message(_) => 400,
            Error::Unsealed => 403,
            Error::NotFound => 404,
            Error::TimedOut => 408,
            Error::Session => 454,
            Error::OutOfOrder(_) => 455,
            Error::OtherKind | Error::Sealed(_) => 500,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Announce(error) => error.fmt(f),
            Error::Encryption => f.write_str("encryption that is not offered"),
            Error::Format(format) => {
                let bits = if format.is_10_bit { 10 } else { 8 };
                let chroma = if format.is_444 { "4:4:4" } else { "4:2:0" };
                write!(f, "{} with {bits} bits in {chroma} not offered", format.codec)
            }
            Error::Message(error) => error.fmt(f),
            Error::NotFound => f.write_str("unknown method or stream"),
            Error::OtherKind => f.write_str("plain in a sealed session, or sealed in a plain one"),
            Error::OutOfOrder(method) => write!(f, "{method} out of order"),
            Error::Sealed(error) => error.fmt(f),
            Error::Session => f.write_str("another session named, or none"),
            Error::TimedOut => f.write_str("handshake took too long"),
            Error::Unsealed => f.write_str("demanded encryption missing"),
        }
    }
}

impl PingPayload {
    /// That of random bytes.
    pub fn new(random: [u8; 8]) -> PingPayload {
        let mut digits = [0; 16];
        digits.copy_from_slice(hex::emit(&random).as_bytes());
        PingPayload(digits)
    }

    /// As clients send it.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are text")
    }
}

/// One client on its way to a session.
#[derive(Debug)]
pub struct Handshake {
    terms: Terms,
    sealing: Option<Sealing>,
    step: Step,
    /// The CSeq of the last request.
    cseq: u32,
    outbox: Vec<u8>,
    window: Duration,
    deadline: Option<Instant>,
}

/// Which request is due.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Options,
    Describe,
    Setup { done: Streams },
    Announce,
    Play,
    Playing,
}

/// Which streams have had their SETUP.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Streams {
    audio: bool,
    control: bool,
    video: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stream {
    Audio,
    Control,
    Video,
}

impl Handshake {
    /// The handshake of a launch at `now`, due within `window`. `sealing` is there when the launch
    /// was answered with `rtspenc://`.
    pub fn new(
        terms: Terms,
        sealing: Option<Sealing>,
        now: Instant,
        window: Duration,
    ) -> Handshake {
        Handshake {
            terms,
            sealing,
            step: Step::Options,
            cseq: 0,
            outbox: Vec::new(),
            window,
            deadline: Some(now + window),
        }
    }

    /// Takes what a connection brought. Its answer, which may be a refusal, is owed to that
    /// connection; what is foreign has none.
    pub fn handle_message(
        &mut self,
        message: &Message<'_>,
        now: Instant,
    ) -> Result<Option<Event>, Error> {
        match message {
            Message::Plain(request) if self.sealing.is_none() => self.on_request(request, now),
            Message::Plain(_) => Err(Error::OtherKind),
            Message::Sealed(frame) => {
                let sealing = self.sealing.as_mut().ok_or(Error::OtherKind)?;
                let text = sealing.open(frame).map_err(Error::Sealed)?;
                let request = Request::parse(&text);
                let is_beginning =
                    request.as_ref().is_ok_and(|request| request.method == Method::Options);
                sealing.accept(frame, is_beginning).map_err(Error::Sealed)?;
                match request {
                    Ok(request) => self.on_request(&request, now),
                    Err(error) => {
                        self.outbox.clear();
                        self.step = Step::Options;
                        Err(Error::Message(error))
                    }
                }
            }
        }
    }

    /// Makes the answer that is owed to an ANNOUNCE a refusal: the host cannot do what it offered.
    pub fn refuse(&mut self) -> Result<(), Error> {
        self.step = Step::Options;
        self.owe(respond(500, self.cseq, &[], ""))
    }

    /// Appends the bytes owed to the client. The connection is closed behind them.
    pub fn poll_output(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.outbox);
    }

    /// When to call `handle_timeout`, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Errs once the handshake is late.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.step = Step::Options;
            return Err(Error::TimedOut);
        }
        Ok(())
    }

    fn on_request(&mut self, request: &Request<'_>, now: Instant) -> Result<Option<Event>, Error> {
        self.cseq = request.cseq;
        match self.meet(request, now) {
            Ok((answer, event)) => self.owe(answer).map(|()| event),
            Err(error) => {
                self.step = Step::Options;
                self.owe(respond(error.status(), request.cseq, &[], ""))?;
                Err(error)
            }
        }
    }

    /// The answer to a request, and what it means.
    fn meet(
        &mut self,
        request: &Request<'_>,
        now: Instant,
    ) -> Result<(String, Option<Event>), Error> {
        self.handle_timeout(now)?;
        let step = self.step.after(request)?;
        if self.step.is_in_session() && request.method != Method::Options {
            self.check_session(request)?;
        }
        let mut event = None;
        let answer = match request.method {
            Method::Describe => respond(200, request.cseq, &[], &self.terms.offer.emit()),
            Method::Setup => self.setup(Stream::parse(request.target)?, request.cseq),
            method => {
                match method {
                    Method::Announce => event = Some(Event::Announced(self.announced(request)?)),
                    Method::Play => event = Some(Event::Play),
                    _ => {}
                }
                respond(200, request.cseq, &[], "")
            }
        };
        match step {
            Step::Describe => _ = self.deadline.get_or_insert(now + self.window),
            Step::Playing => self.deadline = None,
            _ => {}
        }
        self.step = step;
        Ok((answer, event))
    }

    fn announced(&self, request: &Request<'_>) -> Result<Announce, Error> {
        let announce =
            Announce::parse(request.body, request.value("host")).map_err(Error::Announce)?;
        let offer = &self.terms.offer;
        if !announce.encryption.contains(offer.must_seal) {
            return Err(Error::Unsealed);
        }
        if !offer.can_seal.contains(announce.encryption) {
            return Err(Error::Encryption);
        }
        if !offer.formats.contains(&announce.video.format) {
            return Err(Error::Format(announce.video.format));
        }
        Ok(announce)
    }

    /// Clients repeat the session up to its semicolon.
    fn check_session(&self, request: &Request<'_>) -> Result<(), Error> {
        let named = request.value("session").and_then(|value| value.split(';').next());
        let is_this = named.is_some_and(|named| named == hex::emit(&self.terms.session));
        if is_this { Ok(()) } else { Err(Error::Session) }
    }

    fn setup(&self, stream: Stream, cseq: u32) -> String {
        let Terms { ports, audio_ping, video_ping, connect_data, .. } = &self.terms;
        let (port, name, value) = match stream {
            Stream::Audio => (ports.audio, "X-SS-Ping-Payload", audio_ping.text().to_owned()),
            Stream::Control => (ports.control, "X-SS-Connect-Data", connect_data.to_string()),
            Stream::Video => (ports.video, "X-SS-Ping-Payload", video_ping.text().to_owned()),
        };
        let session = format!("{};timeout = 90", hex::emit(&self.terms.session));
        let transport = format!("server_port={port}");
        let headers = [("Session", &*session), ("Transport", &transport), (name, &value)];
        respond(200, cseq, &headers, "")
    }

    /// The answer to the request at hand, and to no other.
    fn owe(&mut self, answer: String) -> Result<(), Error> {
        self.outbox.clear();
        self.outbox = match &mut self.sealing {
            Some(sealing) => sealing.seal(answer.as_bytes()).map_err(Error::Sealed)?,
            None => answer.into_bytes(),
        };
        Ok(())
    }
}

impl Step {
    /// The whole protocol: which request may follow.
    fn after(self, request: &Request<'_>) -> Result<Step, Error> {
        match (self, request.method) {
            (_, Method::Options) => Ok(Step::Describe),
            (Step::Describe, Method::Describe) => Ok(Step::Setup { done: Streams::default() }),
            (Step::Setup { done }, Method::Setup) => {
                match done.with(Stream::parse(request.target)?) {
                    Some(Streams { audio: true, control: true, video: true }) => Ok(Step::Announce),
                    Some(done) => Ok(Step::Setup { done }),
                    None => Err(Error::OutOfOrder(Method::Setup)),
                }
            }
            (Step::Announce, Method::Announce) => Ok(Step::Play),
            (Step::Play, Method::Play) => Ok(Step::Playing),
            (_, Method::Unknown) => Err(Error::NotFound),
            (_, method) => Err(Error::OutOfOrder(method)),
        }
    }

    /// Whether the client knows which session it is in.
    fn is_in_session(self) -> bool {
        match self {
            Step::Setup { done } => done != Streams::default(),
            Step::Options | Step::Describe => false,
            Step::Announce | Step::Play | Step::Playing => true,
        }
    }
}

impl Streams {
    /// With one more, unless it is among them.
    fn with(mut self, stream: Stream) -> Option<Streams> {
        let done = match stream {
            Stream::Audio => &mut self.audio,
            Stream::Control => &mut self.control,
            Stream::Video => &mut self.video,
        };
        (!std::mem::replace(done, true)).then_some(self)
    }
}

impl Stream {
    /// Takes `streamid=NAME`, with whatever follows a slash.
    fn parse(target: &str) -> Result<Stream, Error> {
        let id = target.strip_prefix("streamid=").and_then(|id| id.split('/').next());
        match id {
            Some("audio") => Ok(Stream::Audio),
            Some("control") => Ok(Stream::Control),
            Some("video") => Ok(Stream::Video),
            _ => Err(Error::NotFound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::gamestream::rtsp::announce::{Codec, Encryption};
    use crate::proto::gamestream::rtsp::sealed::{End, Frame};
    use crate::proto::gamestream::secret::Secret;

    const WINDOW: Duration = Duration::from_secs(30);
    const OPTIONS: &[u8] = include_bytes!("../../../../tests/vectors/rtsp/options");
    const DESCRIBE: &[u8] = include_bytes!("../../../../tests/vectors/rtsp/describe");
    const AUDIO: &[u8] = include_bytes!("../../../../tests/vectors/rtsp/setup-audio");
    const VIDEO: &[u8] = include_bytes!("../../../../tests/vectors/rtsp/setup-video");
    const CONTROL: &[u8] = include_bytes!("../../../../tests/vectors/rtsp/setup-control");
    const ANNOUNCE: &[u8] = include_bytes!("../../../../tests/vectors/rtsp/announce");
    const PLAY: &[u8] = include_bytes!("../../../../tests/vectors/rtsp/play");
    const ALL: [&[u8]; 7] = [OPTIONS, DESCRIBE, AUDIO, VIDEO, CONTROL, ANNOUNCE, PLAY];

    #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn terms() -> Terms {
        let format = Format { codec: Codec::H264, is_10_bit: false, is_444: false };
        Terms {
            offer: Offer {
                formats: vec![format],
                invalidates: false,
                takes_touch: true,
                takes_motion: true,
                can_seal: Encryption::ALL,
                wants_sealed: Encryption::CONTROL,
                must_seal: Encryption::CONTROL,
                layout: None,
            },
            ports: Ports { audio: 48000, control: 47999, video: 47998 },
            session: [0xab; 8],
            audio_ping: PingPayload::new([0x3f, 0x9a, 0x0c, 0x55, 0x11, 0xe2, 0xd4, 0x7b]),
            video_ping: PingPayload::new([0; 8]),
            connect_data: NonZeroU32::new(0xdead_beef).unwrap(),
        }
    }

    /// A client of a host, with a clock that is a variable.
    struct Client {
        handshake: Handshake,
        sealing: Option<Sealing>,
        now: Instant,
    }

    impl Client {
        fn plain() -> Client {
            Client::of(terms(), None)
        }

        fn sealed() -> Client {
            Client::of(terms(), Some(7))
        }

        fn of(terms: Terms, key: Option<u8>) -> Client {
            let sealing = |end| key.map(|key| Sealing::new(Secret::new([key; 16]), end));
            let now = epoch();
            let handshake = Handshake::new(terms, sealing(End::Host), now, WINDOW);
            Client { handshake, sealing: sealing(End::Client), now }
        }

        fn ask(&mut self, request: &[u8]) -> Result<Option<Event>, Error> {
            match &mut self.sealing {
                None => self.bring(request),
                Some(sealing) => {
                    let frame = sealing.seal(request).unwrap();
                    self.bring(&frame)
                }
            }
        }

        /// Bytes as they are, sealed or not.
        fn bring(&mut self, bytes: &[u8]) -> Result<Option<Event>, Error> {
            let message = if Frame::begins_with(bytes[0]) {
                Message::Sealed(Frame::parse(bytes).unwrap().unwrap())
            } else {
                Message::Plain(Request::parse(bytes).unwrap())
            };
            self.handshake.handle_message(&message, self.now)
        }

        fn answer(&mut self) -> String {
            let mut bytes = Vec::new();
            self.handshake.poll_output(&mut bytes);
            if let Some(sealing) = self.sealing.as_ref().filter(|_| !bytes.is_empty()) {
                bytes = sealing.open(&Frame::parse(&bytes).unwrap().unwrap()).unwrap();
            }
            String::from_utf8(bytes).unwrap()
        }
    }

    #[test]
    fn the_stock_client_is_led_to_play() {
        let session = "Session: abababababababab;timeout = 90\r\n";
        let ok = |cseq, rest: &str| format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n{rest}\r\n");
        let setup = |cseq, port, rest| {
            ok(cseq, &format!("{session}Transport: server_port={port}\r\n{rest}\r\n"))
        };
        let answers = [
            ok(1, ""),
            ok(2, "") + &terms().offer.emit(),
            setup(3, 48000, "X-SS-Ping-Payload: 3f9a0c5511e2d47b"),
            setup(4, 47998, "X-SS-Ping-Payload: 0000000000000000"),
            setup(5, 47999, "X-SS-Connect-Data: 3735928559"),
            ok(6, ""),
            ok(7, ""),
        ];
        for mut client in [Client::plain(), Client::sealed()] {
            let mut events = Vec::new();
            for (request, answer) in ALL.iter().zip(&answers) {
                events.extend(client.ask(request).unwrap());
                assert_eq!(client.answer(), *answer);
            }

            assert!(matches!(&events[..], [Event::Announced(_), Event::Play]));
            assert_eq!(client.handshake.poll_timeout(), None);
        }
    }

    #[test]
    fn streams_are_set_up_in_any_order() {
        let video = [b"SETUP streamid=video RTSP/1.0\r\nCSeq: 3\r\n\r\n".as_slice(), AUDIO];
        let in_session = |request: &[u8]| {
            let text = std::str::from_utf8(request).unwrap().replace("Session: ", "Other: ");
            text.replacen("\r\n", "\r\nSession: abababababababab;timeout = 90\r\n", 1)
        };
        let orders: [[&[u8]; 3]; 3] = [
            [AUDIO, CONTROL, VIDEO],
            [video[0], in_session(AUDIO).leak().as_bytes(), CONTROL],
            [CONTROL, in_session(AUDIO).leak().as_bytes(), VIDEO],
        ];
        for order in orders {
            let mut client = Client::plain();
            for request in [OPTIONS, DESCRIBE].into_iter().chain(order) {
                client.ask(request).unwrap();
            }

            assert!(matches!(client.ask(ANNOUNCE), Ok(Some(Event::Announced(_)))));
            assert_eq!(client.ask(PLAY), Ok(Some(Event::Play)));
        }
    }

    #[test]
    fn what_is_out_of_order_ends_the_handshake() {
        let table: [(&[&[u8]], Method); 12] = [
            (&[DESCRIBE], Method::Describe),
            (&[AUDIO], Method::Setup),
            (&[ANNOUNCE], Method::Announce),
            (&[PLAY], Method::Play),
            (&[OPTIONS, AUDIO], Method::Setup),
            (&[OPTIONS, PLAY], Method::Play),
            (&[OPTIONS, DESCRIBE, DESCRIBE], Method::Describe),
            (&[OPTIONS, DESCRIBE, AUDIO, AUDIO], Method::Setup),
            (&[OPTIONS, DESCRIBE, AUDIO, VIDEO, ANNOUNCE], Method::Announce),
            (&[OPTIONS, DESCRIBE, AUDIO, VIDEO, CONTROL, PLAY], Method::Play),
            (&[OPTIONS, DESCRIBE, AUDIO, VIDEO, CONTROL, ANNOUNCE, ANNOUNCE], Method::Announce),
            (&[OPTIONS, DESCRIBE, AUDIO, VIDEO, CONTROL, ANNOUNCE, PLAY, PLAY], Method::Play),
        ];
        for (requests, method) in table {
            let mut client = Client::sealed();
            let (last, before) = requests.split_last().unwrap();
            for request in before {
                client.ask(request).unwrap();
            }

            assert_eq!(client.ask(last), Err(Error::OutOfOrder(method)));
            assert!(client.answer().starts_with("RTSP/1.0 455 Method Not Valid in This State\r\n"));
            for request in &ALL[1..] {
                assert!(matches!(client.ask(request), Err(Error::OutOfOrder(_))));
            }
        }
    }

    #[test]
    fn a_request_that_cannot_be_met_is_told_why() {
        let announce = |from: &str, to: &str| {
            let text = std::str::from_utf8(ANNOUNCE).unwrap();
            assert!(text.contains(from));
            text.replace(from, to).into_bytes()
        };
        let format = Format { codec: Codec::Hevc, is_10_bit: false, is_444: false };
        let bad = announce::Error::Bad("x-nv-aqos.packetDuration");
        let table = [
            (b"GET / RTSP/1.0\r\nCSeq: 6\r\n\r\n".to_vec(), Error::NotFound, 404),
            (announce("Duration:5", "Duration:6"), Error::Announce(bad), 400),
            (announce("StreamFormat:0", "StreamFormat:1"), Error::Format(format), 400),
            (announce("Enabled:7", "Enabled:6"), Error::Unsealed, 403),
            (announce("Session: a", "Session: b"), Error::Session, 454),
            (announce("Session", "Sessions"), Error::Session, 454),
        ];
        for (request, error, status) in table {
            let mut client = Client::plain();
            for request in &ALL[..5] {
                client.ask(request).unwrap();
            }

            assert_eq!(client.ask(&request), Err(error));
            assert!(!error.is_foreign());
            assert!(client.answer().starts_with(&format!("RTSP/1.0 {status} ")), "{error}");
            assert_eq!(client.ask(ANNOUNCE), Err(Error::OutOfOrder(Method::Announce)));
        }
    }

    #[test]
    fn no_more_is_sealed_than_is_offered() {
        let mut terms = terms();
        terms.offer.can_seal = Encryption { video: false, ..Encryption::ALL };
        let mut client = Client::of(terms, None);
        for request in &ALL[..5] {
            client.ask(request).unwrap();
        }

        assert_eq!(client.ask(ANNOUNCE), Err(Error::Encryption));
    }

    #[test]
    fn a_stream_that_does_not_exist_is_not_found() {
        for target in ["streamid=", "streamid=mic/0/0", "streamid=Audio/0/0", "audio/0/0", "/"] {
            let mut client = Client::plain();
            client.ask(OPTIONS).unwrap();
            client.ask(DESCRIBE).unwrap();

            let request = format!("SETUP {target} RTSP/1.0\r\nCSeq: 3\r\n\r\n");

            assert_eq!(client.ask(request.as_bytes()), Err(Error::NotFound), "{target}");
            assert_eq!(client.answer(), "RTSP/1.0 404 NOT FOUND\r\nCSeq: 3\r\n\r\n");
        }
    }

    #[test]
    fn what_strangers_send_does_no_harm() {
        let mut client = Client::sealed();
        let recorded = client.sealing.as_mut().unwrap().seal(b"DESCRIBE / RTSP/1.0\r\n").unwrap();
        let options = client.sealing.as_mut().unwrap().seal(OPTIONS).unwrap();
        let forged = Client::of(terms(), Some(8)).sealing.unwrap().seal(OPTIONS).unwrap();
        client.bring(&options).unwrap();
        client.answer();
        let table = [
            (recorded, Error::Sealed(sealed::Error::Replay)),
            (options, Error::Sealed(sealed::Error::Replay)),
            (forged, Error::Sealed(sealed::Error::Tag)),
            (OPTIONS.to_vec(), Error::OtherKind),
        ];
        for (bytes, error) in table {
            assert_eq!(client.bring(&bytes), Err(error));
            assert!(error.is_foreign() && client.answer().is_empty());
        }

        for request in &ALL[1..] {
            client.ask(request).unwrap();
        }
        let sealed = Client::sealed().sealing.unwrap().seal(OPTIONS).unwrap();
        assert_eq!(Client::plain().bring(&sealed), Err(Error::OtherKind));
    }

    #[test]
    fn what_opens_and_is_no_request_ends_the_handshake() {
        let mut client = Client::sealed();
        client.ask(OPTIONS).unwrap();

        let cut = client.ask(&DESCRIBE[..DESCRIBE.len() - 1]);

        assert_eq!(cut, Err(Error::Message(message::Error::Truncated)));
        assert_eq!(client.ask(DESCRIBE), Err(Error::OutOfOrder(Method::Describe)));
    }

    #[test]
    fn a_client_may_begin_anew_and_the_host_never_repeats_a_nonce() {
        let mut client = Client::sealed();
        let mut frames = Vec::new();
        for _ in 0..2 {
            client.sealing = Client::sealed().sealing;
            for request in ALL {
                client.ask(request).unwrap();
                let mut frame = Vec::new();
                client.handshake.poll_output(&mut frame);
                frames.push(frame);
            }
        }

        for (index, frame) in frames.iter().enumerate() {
            let frame = Frame::parse(frame).unwrap().unwrap();
            assert_eq!(frame.sequence as usize, index + 1);
        }
    }

    #[test]
    fn a_session_that_cannot_be_is_refused_after_all() {
        let mut client = Client::sealed();
        for request in &ALL[..6] {
            client.ask(request).unwrap();
        }

        client.handshake.refuse().unwrap();

        assert_eq!(client.answer(), "RTSP/1.0 500 Internal Server Error\r\nCSeq: 6\r\n\r\n");
        assert_eq!(client.ask(PLAY), Err(Error::OutOfOrder(Method::Play)));
    }

    #[test]
    fn a_handshake_is_given_its_window() {
        let mut client = Client::plain();
        let deadline = client.now + WINDOW;
        client.ask(OPTIONS).unwrap();
        client.now = deadline - Duration::from_nanos(1);
        client.ask(DESCRIBE).unwrap();

        // Beginning anew is no way to stay.
        client.ask(OPTIONS).unwrap();
        assert_eq!(client.handshake.poll_timeout(), Some(deadline));
        assert_eq!(client.handshake.handle_timeout(client.now), Ok(()));
        client.now = deadline;
        assert_eq!(client.handshake.handle_timeout(client.now), Err(Error::TimedOut));
        assert_eq!(client.ask(OPTIONS), Err(Error::TimedOut));
    }

    #[test]
    fn a_handshake_after_play_has_a_window_of_its_own() {
        let mut client = Client::plain();
        for request in ALL {
            client.ask(request).unwrap();
        }
        client.now += 2 * WINDOW;

        client.ask(OPTIONS).unwrap();

        assert_eq!(client.handshake.poll_timeout(), Some(client.now + WINDOW));
    }
}
