//! Pings, sound and probes of punktfunk/1.

use std::net::SocketAddr;
use std::time::Duration;

use punktfunk_core::proto::packet::native::audio::{
    self, AudioPacket, AudioReceiver, FRAME_LEN_MAX,
};
use punktfunk_core::proto::packet::native::path::{
    Answer, ClientPath, HostEvent, HostPath, PING_LEN, Ping, Token,
};
use punktfunk_core::proto::packet::native::probe::{PROBE_HEADER_LEN, ProbeHeader, ProbeReceiver};
use punktfunk_core::proto::units::FrameIndex;

/// Payloads, and what comes to a host: where each is from, its number, a byte for the time that
/// passes, and the ping.
pub fn ping_seeds() -> Vec<Vec<u8>> {
    let token = |byte: u8| Token::new([byte; 16]).unwrap();
    let ping = |token: Option<Token>| Ping { sent_us: 7, token }.emit();
    let last_unit = Some(FrameIndex(10));
    let answer = Answer { sent_us: 7, host_us: 8, has_media: true, last_unit, token: token(9) };
    let answer = answer.emit();
    let step = |from: u8, number: u8, token: Option<Token>| {
        [&[from, number, 1][..], &ping(token)].concat()
    };
    vec![
        ping(None).to_vec(),
        ping(Some(token(1))).to_vec(),
        answer.to_vec(),
        // The first token is of ones, the second of twos.
        [step(1, 1, None), step(1, 2, Some(token(1)))].concat(),
        [step(1, 1, None), step(2, 2, None), step(2, 3, Some(token(2)))].concat(),
        [step(1, 9, None), step(1, 3, Some(token(1))), step(1, 2, Some(token(1)))].concat(),
    ]
}

/// What is read is written as it was. Media go only where a token was shown, and no answer is longer
/// than the ping; a client pings no more often than it may.
pub fn check_ping(bytes: &[u8]) {
    if let Ok(ping) = Ping::parse(bytes) {
        let emitted = ping.emit();
        assert_eq!((emitted[0], &emitted[8..16]), (bytes[0], &bytes[8..16]));
        assert_eq!(emitted[24..], bytes[24..PING_LEN]);
    }
    if let Ok(answer) = Answer::parse(bytes) {
        let emitted = answer.emit();
        assert_eq!((emitted[0], emitted[1]), (bytes[0], bytes[1] & 0x01));
        assert_eq!(emitted[4..], bytes[4..PING_LEN]);
    }
    let (mut rest, mut now, mut client_now) = (bytes, super::epoch(), super::epoch());
    let (mut host, mut client) = (HostPath::default(), ClientPath::new(client_now));
    let (mut count, mut newest, mut pinged) = (0_u16, 0, None);
    while let [from, number, wait, payloads @ ..] = rest {
        let payload = &payloads[..payloads.len().min(PING_LEN)];
        rest = &payloads[payload.len()..];
        now += Duration::from_millis(u64::from(*wait) * 10);
        count += 1;
        let fresh = token(count);
        let address = SocketAddr::from(([192, 0, 2, *from], 1));
        let before = host.address(now);
        let taken = host.handle_ping(address, u64::from(*number), payload, fresh, now, 0);
        let after = host.address(now);
        let event = taken.as_ref().ok().and_then(|outcome| outcome.event);
        match event {
            Some(HostEvent::Moved(to) | HostEvent::Opened(to)) => {
                // The token was given out before, so it is not the fresh one.
                let shown = Ping::parse(payload).unwrap().token;
                assert!(shown.is_some() && shown != Some(fresh));
                assert!(to == address && after == Some(to) && *number >= newest);
                newest = *number;
            }
            Some(HostEvent::Closed) => panic!("that is what time does"),
            None => assert_eq!(after, before),
        }
        if let Ok(outcome) = taken {
            assert!(outcome.answer.is_none_or(|answer| answer.emit().len() <= payload.len()));
        }
        host.poll_event(now);
        assert!(host.poll_timeout().is_none_or(|at| at > now && host.address(now).is_some()));

        let _ = client.handle_answer(u64::from(*number), payload, client_now, u64::from(*wait));
        let at = client.poll_timeout();
        client_now = at.max(client_now);
        client.poll_event(client_now);
        if client.poll_ping(client_now, 0).is_some() {
            let least = Duration::from_millis(10);
            assert!(pinged.is_none_or(|pinged| client_now >= pinged + least));
            pinged = Some(client_now);
        }
    }
}

/// That of a step, which no other has: the first is of ones, the second of twos, and so on.
fn token(count: u16) -> Token {
    let [high, low] = count.to_be_bytes();
    let mut bytes = [low; 16];
    bytes[0] ^= high;
    Token::new(bytes).unwrap()
}

/// Payloads of sound, and steps of a receiver: a byte for the time that passes, the length of a
/// payload in a byte, the payload.
pub fn audio_seeds() -> Vec<Vec<u8>> {
    let packet = |number: u32| {
        let before: &[u8] = if number == 1 { b"" } else { b"before" };
        let packet =
            AudioPacket { number, sample_count: 240, captured_us: 9, before, frame: b"frame" };
        [&packet.emit_header()[..], before, b"frame"].concat()
    };
    let step = |number: u32| [&[1, packet(number).len() as u8][..], &packet(number)].concat();
    vec![
        packet(1),
        packet(7),
        [step(1), step(2), step(3)].concat(),
        [step(1), step(3), step(2)].concat(),
        [step(5), step(2), step(900), step(901)].concat(),
    ]
}

/// What is read is written as it was. Every frame is told once, in order, and in a bounded time.
pub fn check_audio(bytes: &[u8]) {
    if let Ok(packet) = AudioPacket::parse(bytes) {
        let emitted = [&packet.emit_header()[..], packet.before, packet.frame].concat();
        assert_eq!(emitted, bytes);
        assert!(packet.frame.len() <= FRAME_LEN_MAX && packet.before.len() <= FRAME_LEN_MAX);
    }
    let patience = Duration::from_millis(10);
    let mut receiver = AudioReceiver::new(patience);
    let (mut rest, mut now, mut next) = (bytes, super::epoch(), 1);
    while let [wait, len, payloads @ ..] = rest {
        let payload = &payloads[..payloads.len().min((*len).into())];
        rest = &payloads[payload.len()..];
        now += Duration::from_micros(u64::from(*wait) * 100);
        let _ = receiver.handle_payload(payload, now);
        while let Some(event) = receiver.poll_event(now) {
            let (first, last) = match event {
                audio::Event::Frame(frame) => (frame.number, frame.number),
                audio::Event::Lost(first, last) => (first, last),
            };
            assert!(first == next && first <= last);
            next = last + 1;
        }
        assert!(receiver.poll_timeout().is_none_or(|at| at > now && at <= now + patience));
    }
}

/// Payloads of a speed test.
pub fn probe_seeds() -> Vec<Vec<u8>> {
    let header = ProbeHeader { test: 1, index: 2, sent_us: 3 };
    let payload = [&header.emit()[..], &[0; 50]].concat();
    vec![header.emit().to_vec(), payload.clone(), payload.repeat(3)]
}

/// What is read is written as it was, and no numbers are too strange to be counted.
pub fn check_probe(bytes: &[u8]) {
    let Ok(header) = ProbeHeader::parse(bytes) else {
        assert!(bytes.len() < PROBE_HEADER_LEN);
        return;
    };
    assert_eq!(header.emit(), bytes[..PROBE_HEADER_LEN]);
    let mut receiver = ProbeReceiver::new(1);
    let now = super::epoch();
    for (at, payload) in (0..).zip(bytes.chunks(50)) {
        let _ = receiver.handle_payload(payload, now + Duration::from_micros(at), at);
    }
    let report = receiver.report(None);
    assert!(report.received <= bytes.len().div_ceil(50) as u64);
    assert!(report.lost <= u64::from(u32::MAX) + 1);
}
