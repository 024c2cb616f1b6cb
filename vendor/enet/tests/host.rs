//! One host against bytes: those that Moonlight was seen to send, and those that nobody should.

#![forbid(unsafe_code)]

mod pair;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use enet::wire::{Body, Command, Commands, Header};
use enet::{
    Config, Delivery, Departure, Error, Event, Host, Knock, Outcome, Parting, Path, PeerId,
};
use pair::{address, epoch};

/// Moonlight's CONNECT, with 0xdeadbeef as its data.
const CONNECT: &str = "8fff e0f3 82ff0001 0000 ff ff 00000384 00010000 00000030 00000000 00000000
    00001388 00000002 00000002 b8619c0a deadbeef";
/// The answer to it, sent at 0x40e9.
const VERIFY: &str = "8000 40e9 83ff0001 0000 00 00 00000384 00010000 00000030 00000000 00000000
    00001388 00000002 00000002 b8619c0a";
/// The acknowledgement of that and a ping; then a message; later the end.
const PING: &str = "8000 e0f4 01ff0001 0001 40e9 85ff0002";
const START_A: &str = "8000 e0f4 86000001 001e 0100 1a00 00000000 a45a2dfdfedff91907432588b043b6ec
    e470e4a408c4";
const BANDWIDTH: &str = "8000 e4dc 8aff0003 00000000 00000000";
const LEAVE: &str = "8000 e4dd 84ff0004 00000000";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|it| it.to_digit(16)).map(|it| it as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

struct Bench {
    host: Host,
    now: Instant,
}

impl Bench {
    /// Its clock says 0x40e9.
    fn new(config: Config) -> Bench {
        let start = epoch();
        Bench { host: Host::new(config, start), now: start + Duration::from_millis(0x40e9) }
    }

    fn take(&mut self, from: Path, hex: &str) -> Result<Outcome, Error> {
        self.host.handle_datagram(from, &bytes(hex), self.now)
    }

    fn knock(&mut self, from: Path, hex: &str) -> Knock {
        match self.take(from, hex) {
            Ok(Outcome::Knock(knock)) => knock,
            outcome => panic!("{outcome:?}"),
        }
    }

    /// With Moonlight connected, as peer 0.
    fn connected() -> (Bench, PeerId) {
        let mut bench = Bench::new(Config::default());
        let knock = bench.knock(address(1), CONNECT);
        let peer = bench.host.admit(knock, bench.now).unwrap();
        bench.sent();
        bench.take(address(1), PING).unwrap();
        bench.sent();
        assert!(matches!(bench.host.poll_event(), Some(Event::Connected { .. })));
        (bench, peer)
    }

    fn sent(&mut self) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        let mut out = Vec::new();
        while self.host.poll_datagram(self.now, &mut out).is_some() {
            datagrams.push(out.clone());
        }
        datagrams
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.host.poll_event()).collect()
    }
}

#[test]
fn moonlight_is_answered_byte_for_byte() {
    let mut bench = Bench::new(Config::default());

    let knock = bench.knock(address(1), CONNECT);
    assert_eq!((knock.data, knock.path), (0xdead_beef, address(1)));
    assert_eq!((bench.sent(), bench.host.peer_count()), (vec![], 0));
    let peer = bench.host.admit(knock, bench.now).unwrap();
    assert_eq!(bench.sent(), [bytes(VERIFY)]);

    let message = bytes(START_A)[10..].to_vec();
    let message = Event::Message { peer, channel: 0, bytes: message };
    let left = Event::Disconnected { peer, departure: Departure::Left(0) };
    let steps: [(&str, &[&str], Vec<Event>); 5] = [
        (PING, &["0000 01ff0002 0002 e0f4"], vec![Event::Connected { peer, channel_count: 48 }]),
        (START_A, &["0000 01000001 0001 e0f4"], vec![message]),
        (BANDWIDTH, &["0000 01ff0003 0003 e4dc"], vec![]),
        (LEAVE, &["0000 01ff0004 0004 e4dd"], vec![left]),
        (LEAVE, &["0000 01ff0004 0004 e4dd"], vec![]), // again, because the answer got lost
    ];
    for (given, answers, events) in steps {
        assert_eq!(bench.take(address(1), given), Ok(Outcome::Handled), "{given}");
        let answers: Vec<_> = answers.iter().map(|answer| bytes(answer)).collect();
        assert_eq!(bench.sent(), answers, "{given}");
        assert_eq!(bench.events(), events, "{given}");
    }
    assert_eq!(bench.host.peer_count(), 0);
}

#[test]
fn what_is_not_acknowledged_is_sent_again_at_known_times() {
    let mut bench = Bench::new(Config::default());
    let knock = bench.knock(address(1), CONNECT);
    bench.host.admit(knock, bench.now).unwrap();
    let start = bench.now;

    // After 504 ms, once, twice and three times that, then every two seconds up to the end.
    for at_ms in [0, 504, 1008, 2016, 3528, 5528, 7528, 9528] {
        let sent = bench.sent();
        assert_eq!(bench.now - start, Duration::from_millis(at_ms));
        assert_eq!(sent.len(), 1, "{at_ms}");
        assert_eq!(sent[0][4..], bytes(VERIFY)[4..]);
        bench.now = bench.host.poll_timeout().unwrap();
        bench.host.handle_timeout(bench.now);
    }

    assert_eq!(bench.now - start, Duration::from_secs(10));
    assert!(matches!(
        bench.events()[..],
        [Event::Disconnected { departure: Departure::TimedOut, .. }]
    ));
    assert_eq!((bench.host.peer_count(), bench.host.poll_timeout()), (0, None));
}

#[test]
fn datagrams_that_belong_to_nobody_change_nothing() {
    let other = |channels: &str| CONNECT.replace("00000030", channels);
    let cases = [
        ("", Error::Malformed),
        ("80", Error::Malformed),
        ("8fff e0f3", Error::Malformed),
        ("8fff e0f3 85ff0001", Error::Stranger),
        ("8000 e0f3 85ff0001", Error::Stranger), // no peer 0
        ("8001 e0f3 85ff0001", Error::Stranger),
        ("cfff e0f3 82ff0001", Error::Compressed),
        (&CONNECT[..CONNECT.len() - 2], Error::Malformed),
        (&other("00000000"), Error::Malformed),
        (&other("00000100"), Error::Malformed),
    ];
    for (hex, expected) in cases {
        let mut bench = Bench::new(Config::default());
        assert_eq!(bench.take(address(1), hex), Err(expected), "{hex}");
        assert_eq!((bench.sent().len(), bench.events().len()), (0, 0), "{hex}");
        assert_eq!((bench.host.peer_count(), bench.host.poll_timeout()), (0, None), "{hex}");
    }
}

#[test]
fn commands_out_of_place_end_a_datagram() {
    let cases = [
        ("9000 e0f4 85ff0003", Error::Stranger), // another session
        ("8000 e0f4 86300001 0000", Error::Unexpected), // channel 48 of 48
        ("0000 86000001 0000", Error::Malformed), // to be acknowledged, but with no time
        (
            "8000 e0f4 82ff0001 0000 ffff 00000384 00010000 00000030 00000000 00000000 00001388
            00000002 00000002 00000001 00000000",
            Error::Unexpected,
        ),
        ("8000 e0f4 80ff0001", Error::Malformed),
        ("8000 e0f4 86000001 0005 00", Error::Malformed),
        ("8000 e0f4 88000001 0001 0001 00000002 00000002 00000002 00000000 00", Error::Malformed),
    ];
    for (hex, expected) in cases {
        let (mut bench, _) = Bench::connected();
        assert_eq!(bench.take(address(1), hex), Err(expected), "{hex}");
        assert_eq!((bench.sent().len(), bench.events().len()), (0, 0), "{hex}");
        assert_eq!(bench.host.held_len(), 0, "{hex}");
        assert_eq!(bench.take(address(1), START_A), Ok(Outcome::Handled), "{hex}");
        assert_eq!(bench.events().len(), 1, "{hex}");
    }
}

#[test]
fn a_repeated_connect_is_no_other_peer() {
    let mut bench = Bench::new(Config { peer_count_max: 2, ..Config::default() });
    let knock = bench.knock(address(1), CONNECT);
    bench.host.admit(knock, bench.now).unwrap();

    assert_eq!(bench.take(address(1), CONNECT), Ok(Outcome::Handled));
    assert_eq!(bench.host.admit(knock, bench.now), Err(Error::Unexpected));
    assert_eq!(bench.host.peer_count(), 1);

    // Another call from there is another peer, and there is a limit to them.
    let second = CONNECT.replace("b8619c0a", "00000001");
    let knock = bench.knock(address(1), &second);
    bench.host.admit(knock, bench.now).unwrap();
    let third = CONNECT.replace("b8619c0a", "00000002");
    assert_eq!(bench.take(address(1), &third), Err(Error::Full));
    assert_eq!(bench.host.peer_count(), 2);
}

#[test]
fn sessions_of_a_place_differ_from_those_before() {
    // What the next one says of its own sessions; then those it gets.
    let cases = [("ff ff", "01 01"), ("00 01", "01 02"), ("02 03", "03 01"), ("03 00", "01 01")];
    for (asked, expected) in cases {
        let (mut bench, peer) = Bench::connected();
        bench.host.forget(peer);
        let next = CONNECT.replace("ff ff", asked);

        let knock = bench.knock(address(1), &next);
        let other = bench.host.admit(knock, bench.now).unwrap();

        let answer = bench.sent().remove(0);
        assert_eq!(answer[10..12], bytes(expected), "{asked}");
        assert_ne!(peer, other);
        assert_eq!(bench.host.path(peer), None);
        assert_eq!(bench.take(address(1), PING), Err(Error::Stranger), "{asked}");
    }
}

#[test]
fn a_peer_moves_only_when_it_is_said_so() {
    let (mut bench, peer) = Bench::connected();
    let elsewhere = Path::from(SocketAddr::from(([198, 51, 100, 7], 9)));

    for hex in [START_A, LEAVE, PING] {
        assert_eq!(bench.take(elsewhere, hex), Ok(Outcome::Stray(peer)));
    }
    assert_eq!((bench.sent().len(), bench.events().len()), (0, 0));
    let datagram = bytes(START_A);
    let messages: Vec<_> = enet::wire::messages(&datagram).collect();
    assert_eq!(messages, [(0, &datagram[10..])]);

    bench.host.peer_moved(peer, elsewhere);
    assert_eq!(bench.take(elsewhere, START_A), Ok(Outcome::Handled));
    assert_eq!(bench.take(address(1), START_A), Ok(Outcome::Stray(peer)));
    let mut out = Vec::new();
    assert_eq!(bench.host.poll_datagram(bench.now, &mut out), Some(elsewhere));
    assert_eq!(bench.events().len(), 1);
}

#[test]
fn replies_leave_from_where_the_peer_called() {
    let mut bench = Bench::new(Config::default());
    let path = Path { local: Some([10, 0, 0, 9].into()), ..address(1) };

    let knock = bench.knock(path, CONNECT);
    let peer = bench.host.admit(knock, bench.now).unwrap();

    assert_eq!(bench.host.poll_datagram(bench.now, &mut Vec::new()), Some(path));
    assert_eq!(bench.host.path(peer), Some(path));
}

#[test]
fn farewells_are_what_moonlight_expects() {
    let (mut bench, peer) = Bench::connected();
    bench.host.send(peer, 0, b"dropped", Delivery::Reliable).unwrap();
    bench.host.disconnect(peer, 0x1234, Parting::Graceful);
    assert_eq!(bench.sent(), [bytes("8000 40e9 84ff0002 00001234")]);
    bench.take(address(1), "0000 01ff0002 0002 40e9").unwrap();
    assert_eq!(bench.events(), [Event::Disconnected { peer, departure: Departure::Dismissed }]);

    let (mut bench, peer) = Bench::connected();
    bench.host.disconnect(peer, 0x1234, Parting::AtOnce);
    assert_eq!(bench.sent(), [bytes("0000 44ff0000 00001234")]);
    assert_eq!((bench.events().len(), bench.host.peer_count()), (0, 0));
}

#[test]
fn mtu_window_and_channels_are_the_smaller_of_both() {
    // MTU, window and channels: asked for, then granted.
    let cases = [
        ([900, 65_536, 48], [900, 65_536, 48]),
        ([1400, 1 << 20, 255], [900, 65_536, 48]),
        ([100, 0, 1], [576, 4096, 1]),
        ([600, 5000, 47], [600, 5000, 47]),
    ];
    for (asked, granted) in cases {
        let mut datagram = bytes(CONNECT);
        for (index, value) in asked.into_iter().enumerate() {
            datagram[12 + index * 4..][..4].copy_from_slice(&u32::to_be_bytes(value));
        }
        let mut bench = Bench::new(Config::default());
        let outcome = bench.host.handle_datagram(address(1), &datagram, bench.now);
        let Ok(Outcome::Knock(knock)) = outcome else {
            panic!("{asked:?}: {outcome:?}");
        };

        bench.host.admit(knock, bench.now).unwrap();

        let answer = bench.sent().remove(0);
        let body = Header::parse(&answer).unwrap().1.next().unwrap().unwrap().body;
        let Body::VerifyConnect(terms) = body else {
            panic!("{asked:?}: {body:?}");
        };
        assert_eq!([terms.mtu, terms.window, terms.channel_count], granted, "{asked:?}");
    }
}

#[test]
fn events_that_nobody_polls_stop_the_host() {
    let (mut bench, _) = Bench::connected();
    let mut sequence = 0_u16;
    let refused = loop {
        sequence += 1;
        let mut datagram = Vec::new();
        Header { peer: 0, session: 0, sent_time: Some(0) }.emit(&mut datagram);
        let body = Body::Reliable;
        Command { acknowledge: true, unsequenced: false, channel: 0, sequence, body, data: b"" }
            .emit(&mut datagram);
        if let Err(error) = bench.host.handle_datagram(address(1), &datagram, bench.now) {
            break error;
        }
    };
    assert_eq!((refused, sequence), (Error::Busy, 1025));
    // Acknowledgements that nobody polls are forgotten.
    let count: usize = bench.sent().iter().map(|datagram| commands(datagram).count()).sum();
    assert_eq!(count, 256);
    assert_eq!(bench.events().len(), 1024);
    assert_eq!(bench.take(address(1), "8000 0000 85ff0005"), Ok(Outcome::Handled));
}

fn commands(datagram: &[u8]) -> Commands<'_> {
    Header::parse(datagram).unwrap().1
}
