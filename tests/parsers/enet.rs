//! Datagrams of ENet: from strangers, from a peer, and from a host that was called.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use enet::wire::{Body, Command, Header, PEER_NONE};
use enet::{Config, Delivery, Event, Host, Outcome, Path, PeerId};

/// Deadlines of a host to which nobody speaks, until all its peers are gone.
const STEP_COUNT_MAX: usize = 8000;
/// Datagrams with which one datagram is answered at most.
const ANSWER_COUNT_MAX: usize = 200;

pub fn seeds() -> Vec<Vec<u8>> {
    super::owned(&[
        // CONNECT and its answer.
        b"\x8f\xff\xe0\xf3\x82\xff\0\x01\0\0\xff\xff\0\0\x03\x84\0\x01\0\0\0\0\0\x30\0\0\0\0\0\0\0\0\
          \0\0\x13\x88\0\0\0\x02\0\0\0\x02\0\0\0\x07\xde\xad\xbe\xef",
        b"\x80\0\x40\xe9\x83\xff\0\x01\0\0\0\0\0\0\x03\x84\0\x01\0\0\0\0\0\x30\0\0\0\0\0\0\0\0\
          \0\0\x13\x88\0\0\0\x02\0\0\0\x02\0\0\0\x07",
        // An acknowledgement and a ping; messages, in and out of their turn, on two channels.
        b"\x80\0\xe0\xf4\x01\xff\0\x01\0\x01\0\0\x85\xff\0\x02",
        b"\x80\0\xe0\xf4\x86\0\0\x01\0\x05hello\x86\x01\0\x02\0\x02no\x86\x01\0\x01\0\x02so",
        b"\0\0\x07\x02\0\0\0\x01\0\x01u\x07\x02\0\0\0\x02\0\x01v\x07\x02\0\x01\0\x01\0\x01w",
        b"\0\0\x49\x03\0\0\0\x01\0\x01g\x49\x03\0\0\0\x01\0\x01g",
        // A message of three fragments; two of three that may get lost.
        b"\x80\0\0\0\x88\0\0\x01\0\x01\0\x02\0\0\0\x03\0\0\0\0\0\0\0\x05\0\0\0\0ab\
          \x88\0\0\x03\0\x01\0\x01\0\0\0\x03\0\0\0\x02\0\0\0\x05\0\0\0\x04e\
          \x88\0\0\x02\0\x01\0\x02\0\0\0\x03\0\0\0\x01\0\0\0\x05\0\0\0\x02cd",
        b"\0\0\x0c\0\0\0\0\x01\0\x02\0\0\0\x03\0\0\0\0\0\0\0\x05\0\0\0\0ab\
          \x0c\0\0\0\0\x01\0\x01\0\0\0\x03\0\0\0\x02\0\0\0\x05\0\0\0\x04e",
        // Limits, and both farewells.
        b"\x80\0\0\0\x8a\xff\0\x03\0\0\0\0\0\0\0\0\x8b\xff\0\x04\0\0\x13\x88\0\0\0\x02\0\0\0\x02",
        b"\x80\0\0\0\x84\xff\0\x05\0\0\0\x07",
        b"\0\0\x44\xff\0\0\0\0\0\x07",
        // The longest message that there may be, of which one byte comes.
        b"\x80\0\0\0\x88\0\0\x02\0\x02\0\x01\0\0\x10\0\0\0\0\0\0\x01\0\0\0\0\0\0z",
        b"\x4f\xff",
    ])
}

fn address(number: u8) -> Path {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, number), 47_999)).into()
}

/// What is read is written as it was, and read again the same.
fn check_wire(bytes: &[u8]) {
    let Ok((header, commands)) = Header::parse(bytes) else {
        return;
    };
    let mut out = Vec::new();
    header.emit(&mut out);
    let mut count = 0;
    for command in commands.map_while(Result::ok) {
        command.emit(&mut out);
        count += 1;
    }
    let (again, commands) = Header::parse(&out).expect("it was read before");
    assert_eq!((again, commands.filter(Result::is_ok).count()), (header, count));
    let same =
        out.iter().zip(bytes).skip(2).all(|(one, other)| one == other || is_flag(one, other));
    assert!(same && out.len() <= bytes.len());
    let _ = enet::wire::messages(bytes).map(|(_, data)| data.len()).sum::<usize>();
}

/// Two bits of a command have no meaning, and are not kept.
fn is_flag(one: &u8, other: &u8) -> bool {
    (one ^ other) & !0x30 == 0
}

fn drain(host: &mut Host, now: Instant) -> Vec<(Path, Vec<u8>)> {
    let mut sent = Vec::new();
    let mut out = Vec::new();
    while let Some(to) = host.poll_datagram(now, &mut out) {
        assert!(out.len() <= 900 && sent.len() < ANSWER_COUNT_MAX);
        Header::parse(&out).expect("it sends what can be read");
        sent.push((to, out.clone()));
    }
    sent
}

fn events(host: &mut Host) -> Vec<Event> {
    std::iter::from_fn(|| host.poll_event()).collect()
}

/// Carries what both have to say to each other.
fn exchange(hosts: &mut [Host; 2], paths: [Path; 2], now: Instant) {
    for _ in 0..8 {
        for from in 0..2 {
            for (to, bytes) in drain(&mut hosts[from], now) {
                let outcome = match to == paths[1 - from] {
                    true => hosts[1 - from].handle_datagram(paths[from], &bytes, now),
                    false => continue, // for the one who is nobody
                };
                if let Ok(Outcome::Knock(knock)) = outcome {
                    hosts[1 - from].admit(knock, now).unwrap();
                }
            }
        }
    }
}

/// A host with one honest peer, and that peer.
fn pair(now: Instant, paths: [Path; 2]) -> ([Host; 2], PeerId) {
    let mut hosts = [Host::new(Config::default(), now), Host::new(Config::default(), now)];
    let honest = hosts[1].connect(paths[0], 48, 1, 2, now).unwrap();
    exchange(&mut hosts, paths, now);
    assert!(matches!(events(&mut hosts[0])[..], [Event::Connected { .. }]));
    (hosts, honest)
}

/// Makes the sender a peer, once it has said that it wants to be.
fn admit(host: &mut Host, from: Path, now: Instant) -> u16 {
    let connect = &seeds()[0];
    let Ok(Outcome::Knock(knock)) = host.handle_datagram(from, connect, now) else {
        panic!("no knock");
    };
    host.admit(knock, now).unwrap();
    let answer = drain(host, now).remove(0).1;
    let (_, mut commands) = Header::parse(&answer).unwrap();
    let Some(Ok(Command { body: Body::VerifyConnect(terms), sequence, .. })) = commands.next()
    else {
        panic!("no answer");
    };
    let mut out = Vec::new();
    Header { peer: terms.peer, session: 0, sent_time: None }.emit(&mut out);
    let body = Body::Acknowledge { sequence, sent_time: 0 };
    let (acknowledge, unsequenced, channel, data) = (false, false, 0xff, &[][..]);
    Command { acknowledge, unsequenced, channel, sequence, body, data }.emit(&mut out);
    host.handle_datagram(from, &out, now).unwrap();
    terms.peer
}

pub fn check(bytes: &[u8]) {
    check_wire(bytes);
    let mut now = super::epoch();
    let paths = [address(1), address(2)];
    let (mut hosts, honest) = pair(now, paths);
    let stranger = address(3);

    // From a stranger, from one whose number is guessed, then from a peer.
    assert_eq!(hosts[0].held_len(), 0);
    for from in [stranger, paths[1]] {
        if Header::parse(bytes).is_ok_and(|(header, _)| header.peer == PEER_NONE)
            || from == stranger
        {
            let _ = hosts[0].handle_datagram(from, bytes, now);
            assert_eq!((hosts[0].peer_count(), hosts[0].held_len()), (1, 0));
        }
    }
    let index = admit(&mut hosts[0], stranger, now);
    let mut own = bytes.to_vec();
    if let Some(word) = own.first_chunk_mut() {
        *word = [word[0] & 0x80, index as u8];
    }
    for _ in 0..3 {
        let _ = hosts[0].handle_datagram(stranger, &own, now);
        assert!(hosts[0].held_len() <= Config::default().held_len_max);
        events(&mut hosts[0]);
        drain(&mut hosts[0], now);
        now += Duration::from_millis(20);
    }

    // The honest one is served as before.
    hosts[1].send(honest, 4, b"still here", Delivery::Reliable).unwrap();
    exchange(&mut hosts, paths, now);
    let is_heard = |event: &Event| matches!(event, Event::Message { channel: 4, bytes, .. } if bytes == b"still here");
    assert!(events(&mut hosts[0]).iter().any(is_heard));

    // One that was called says it, before and after it answered.
    let mut caller = Host::new(Config::default(), now);
    caller.connect(stranger, 48, 7, 0, now).unwrap();
    drain(&mut caller, now);
    let _ = caller.handle_datagram(stranger, bytes, now);
    let _ = caller.handle_datagram(stranger, &seeds()[1], now);
    let _ = caller.handle_datagram(stranger, bytes, now);

    // In the end nothing is left.
    for host in [&mut hosts[0], &mut caller] {
        let mut count = 0;
        drain(host, now);
        while let Some(at) = host.poll_timeout() {
            now = now.max(at);
            host.handle_timeout(now);
            drain(host, now);
            events(host);
            count += 1;
            assert!(count < STEP_COUNT_MAX, "no rest after {count} deadlines");
        }
        assert_eq!((host.peer_count(), host.held_len()), (0, 0));
    }
}
