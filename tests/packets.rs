//! Pings, sound and probes of punktfunk/1 are those of the vectors, and none asks for memory.

#[path = "support/counting.rs"]
mod counting;

use std::net::SocketAddr;
use std::time::Duration;

use counting::COUNT;
use punktfunk_core::net::clock;
use punktfunk_core::proto::gamestream::secret::Secret;
use punktfunk_core::proto::packet::native::audio::{self, AudioPacketizer, AudioReceiver};
use punktfunk_core::proto::packet::native::delay::Delay;
use punktfunk_core::proto::packet::native::header::Kind;
use punktfunk_core::proto::packet::native::packetize::Parity;
use punktfunk_core::proto::packet::native::parity::{Control, Policy};
use punktfunk_core::proto::packet::native::path::{
    Answer, ClientEvent, ClientPath, HostEvent, HostPath, Ping, Token,
};
use punktfunk_core::proto::packet::native::probe::{ProbeHeader, ProbeReceiver, ProbeSender};
use punktfunk_core::proto::packet::native::reassemble::Counters;
use punktfunk_core::proto::packet::native::report::{Ecn, INTERVAL, Report};
use punktfunk_core::proto::packet::native::seal::{Keys, Opener, Sealer};
use punktfunk_core::proto::units::{FrameIndex, Kbps};

/// A file of tests/vectors/native, a name and a value a line.
struct Vector(&'static str);

impl Vector {
    fn all(&self, name: &str) -> Vec<&'static str> {
        let named = self.0.lines().filter_map(|line| line.split_once(' '));
        named.filter(|(it, _)| *it == name).map(|(_, value)| value).collect()
    }

    fn number(&self, name: &str) -> u64 {
        self.all(name)[0].parse().unwrap()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex(self.all(name)[0])
    }

    fn keys(&self, key: &str, iv: &str) -> Keys {
        Keys {
            key: Secret::new(self.bytes(key).try_into().unwrap()),
            iv: Secret::new(self.bytes(iv).try_into().unwrap()),
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn keys(number: u8) -> Keys {
    Keys { key: Secret::new([number; 16]), iv: Secret::new([number ^ 0xaa; 12]) }
}

#[test]
fn pings_are_those_of_the_vectors() {
    let vector = Vector(include_str!("vectors/native/ping"));
    let (sent_us, host_us) = (vector.number("sent_us"), vector.number("host_us"));
    let token = Token::new(vector.bytes("token").try_into().unwrap()).unwrap();
    let client_keys = vector.keys("client_key", "client_iv");
    let (mut client, mut at_host) = (Sealer::new(&client_keys), Opener::new(&client_keys, 0));
    let mut at_client = Opener::new(&vector.keys("host_key", "host_iv"), 0);

    for (name, token) in [("ping", None), ("ping_token", Some(token))] {
        let ping = Ping { sent_us, token };
        let mut datagram = vector.bytes(name);
        assert_eq!(ping.seal(&mut client).unwrap().to_vec(), datagram);
        let opened = at_host.open(&mut datagram).unwrap();
        assert_eq!((opened.kind, Ping::parse(opened.payload)), (Kind::Ping, Ok(ping)));
    }
    let last = u32::try_from(vector.number("last_unit")).unwrap();
    for (name, has_media, last_unit, number) in [
        ("answer", false, None, 0x12_3456),
        ("answer_media", true, Some(FrameIndex(last)), 0x12_3457),
    ] {
        let answer = Answer { sent_us, host_us, has_media, last_unit, token };
        let mut datagram = vector.bytes(name);
        let opened = at_client.open(&mut datagram).unwrap();
        assert_eq!((opened.kind, opened.number), (Kind::Ping, number));
        assert_eq!(
            (Answer::parse(opened.payload), opened.payload),
            (Ok(answer), &mut answer.emit()[..])
        );
    }
}

#[test]
fn a_thousand_pings_over_both_ends_ask_for_no_memory() {
    let (mut client_sealer, mut at_host) = (Sealer::new(&keys(1)), Opener::new(&keys(1), 0));
    let (mut host_sealer, mut at_client) = (Sealer::new(&keys(2)), Opener::new(&keys(2), 0));
    let mut now = clock::now();
    let (mut host, mut client) = (HostPath::default(), ClientPath::new(now));
    let counts_at_all = COUNT.get() > 0;
    let before = COUNT.get();
    let (mut moves, mut opens) = (0, 0);

    for round in 0..2000_u16 {
        now = client.poll_timeout().max(now);
        let Some(ping) = client.poll_ping(now, 7) else { continue };
        let mut datagram = ping.seal(&mut client_sealer).unwrap();
        let opened = at_host.open(&mut datagram).unwrap();
        // Every now and then it is somewhere else.
        let from = SocketAddr::from(([192, 0, 2, (round / 20) as u8], 1));
        let token = Token::new([1 + (round % 200) as u8; 16]).unwrap();
        let outcome = host.handle_ping(from, opened.number, opened.payload, token, now, 7).unwrap();
        moves += u32::from(matches!(outcome.event, Some(HostEvent::Moved(_))));
        now += Duration::from_millis(5);
        if let Some(answer) = outcome.answer {
            let mut datagram = answer.seal(&mut host_sealer).unwrap();
            let opened = at_client.open(&mut datagram).unwrap();
            let (event, _) = client.handle_answer(opened.number, opened.payload, now, 8).unwrap();
            opens += u32::from(event == Some(ClientEvent::Opened));
        }
    }

    assert!(counts_at_all);
    assert_eq!(COUNT.get() - before, 0);
    assert_eq!((moves, opens), (99, 100));
}

#[test]
fn sound_is_that_of_the_vectors() {
    let vector = Vector(include_str!("vectors/native/audio"));
    let keys = vector.keys("key", "iv");
    let (mut sealer, mut opener) = (Sealer::new(&keys), Opener::new(&keys, 0));
    let mut packetizer = AudioPacketizer::new(vector.number("samples").try_into().unwrap());
    let frames: Vec<Vec<u8>> = vector.all("frame").into_iter().map(hex).collect();
    let captured: Vec<u64> =
        vector.all("captured_us").into_iter().map(|it| it.parse().unwrap()).collect();
    let datagrams: Vec<Vec<u8>> = vector.all("datagram").into_iter().map(hex).collect();
    let now = clock::now();
    let mut receiver = AudioReceiver::new(Duration::ZERO);

    for ((frame, captured_us), datagram) in frames.iter().zip(&captured).zip(&datagrams) {
        assert_eq!(packetizer.packet(frame, *captured_us, &mut sealer), Ok(&datagram[..]));
    }
    // The second is lost, and made up for; its time is told to the sample.
    for index in [0, 2] {
        let mut datagram = datagrams[index].clone();
        let opened = opener.open(&mut datagram).unwrap();
        assert_eq!(opened.kind, Kind::Audio);
        receiver.handle_payload(opened.payload, now).unwrap();
    }
    for (number, (frame, captured_us)) in
        (1..).zip(frames.iter().zip([1_000_000, 1_005_001, 1_010_001]))
    {
        let expected = audio::Frame { number, sample_count: 240, captured_us, bytes: frame };
        assert_eq!(receiver.poll_event(now), Some(audio::Event::Frame(expected)));
    }
    assert_eq!(receiver.poll_event(now), None);
}

#[test]
fn sound_over_a_bad_way_asks_for_no_memory() {
    let (mut sealer, mut opener) = (Sealer::new(&keys(1)), Opener::new(&keys(1), 0));
    let mut packetizer = AudioPacketizer::new(240);
    let mut receiver = AudioReceiver::new(Duration::from_millis(10));
    let (mut now, mut datagram) = (clock::now(), [0; audio::AUDIO_DATAGRAM_LEN_MAX]);
    let frame = [7; audio::FRAME_LEN_MAX];
    let counts_at_all = COUNT.get() > 0;
    let before = COUNT.get();

    for index in 0..10_000_u64 {
        let len = 1 + (index * 37) as usize % frame.len();
        let sent = packetizer.packet(&frame[..len], 5000 * index, &mut sealer).unwrap();
        // One in ten is lost, and each hundredth time three in a row.
        if index % 10 == 9 || index % 1000 >= 997 {
            continue;
        }
        let datagram = &mut datagram[..sent.len()];
        datagram.copy_from_slice(sent);
        let opened = opener.open(datagram).unwrap();
        now += Duration::from_millis(5);
        receiver.handle_payload(opened.payload, now).unwrap();
        while let Some(event) = receiver.poll_event(now) {
            if let audio::Event::Frame(got) = event {
                assert_eq!(
                    got.bytes,
                    &frame[..1 + (u64::from(got.number - 1) * 37) as usize % frame.len()]
                );
            }
        }
    }

    assert!(counts_at_all);
    assert_eq!(COUNT.get() - before, 0);
    let counters = receiver.counters();
    // Of the three in a row, the last is in the packet behind them.
    assert_eq!((counters.lost, counters.recovered), (18, 999), "{counters:?}");
}

#[test]
fn probes_are_those_of_the_vectors() {
    let vector = Vector(include_str!("vectors/native/probe"));
    let keys = vector.keys("key", "iv");
    let (test, sent_us) = (vector.number("test") as u32, vector.number("sent_us"));
    let index = vector.number("index");
    let mut expected = vector.bytes("datagram");
    let second = Duration::from_secs(1);
    let len = expected.len() as u16;
    let mut sender = ProbeSender::new(test, Kbps(1000), second, len, clock::now());
    let mut datagram = expected.clone();

    // Those before it are sealed by another, so that its number is 0.
    let mut before = Sealer::new(&keys);
    for _ in 0..index {
        sender.datagram(&mut datagram, &mut before, 0).unwrap();
    }
    sender.datagram(&mut datagram, &mut Sealer::new(&keys), sent_us).unwrap();

    assert_eq!(datagram, expected);
    let mut opener = Opener::new(&keys, 0);
    let opened = opener.open(&mut expected).unwrap();
    let header = ProbeHeader { test, index: index as u32, sent_us };
    assert_eq!((opened.kind, ProbeHeader::parse(opened.payload)), (Kind::Probe, Ok(header)));
}

#[test]
fn a_speed_test_asks_for_no_memory() {
    let (mut sealer, mut opener) = (Sealer::new(&keys(1)), Opener::new(&keys(1), 0));
    let (mut now, mut datagram) = (clock::now(), [0; 1452]);
    let counts_at_all = COUNT.get() > 0;
    let before = COUNT.get();

    let second = Duration::from_secs(1);
    let mut sender = ProbeSender::new(1, Kbps(100_000), second, 1452, now);
    let mut receiver = ProbeReceiver::new(1);
    loop {
        for _ in 0..sender.poll_due(now) {
            sender.datagram(&mut datagram, &mut sealer, 7).unwrap();
            let opened = opener.open(&mut datagram).unwrap();
            receiver.handle_payload(opened.payload, now, 7).unwrap();
        }
        let Some(next) = sender.poll_timeout() else { break };
        now = next;
    }

    assert!(counts_at_all);
    assert_eq!(COUNT.get() - before, 0);
    assert_eq!(receiver.report(Some(&sender.sent())).received, 100_000_000 / 8 / 1452 + 1);
}

#[test]
fn forged_datagrams_of_every_kind_cost_nothing() {
    let (mut sealer, mut opener) = (Sealer::new(&keys(1)), Opener::new(&keys(1), 0));
    opener.set_next_keys(&keys(2));
    let mut genuine = Ping { sent_us: 1, token: None }.seal(&mut sealer).unwrap();
    opener.open(&mut genuine).unwrap();
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut datagram = [0; 100];
    let counts_at_all = COUNT.get() > 0;
    let before = COUNT.get();

    for _ in 0..100_000 {
        for chunk in datagram.chunks_mut(8) {
            chunk.copy_from_slice(&random().to_be_bytes()[..chunk.len()]);
        }
        // Mostly like one of ours: a kind and a phase that there are, a number not far from here.
        datagram[0] = (random() % 6) as u8;
        datagram[1] = (random() % 3) as u8;
        if random() % 2 == 0 {
            datagram[2..7].fill(0);
        }
        let len = (random() % 101) as usize;
        assert!(opener.open(&mut datagram[..len]).is_err());
    }

    assert!(counts_at_all);
    assert_eq!(COUNT.get() - before, 0);
    assert_eq!((opener.phase(), opener.wanted_phase()), (0, None));
    assert_eq!((opener.window().end(), opener.window().loss().received), (1, 1));
}

#[test]
fn reports_and_what_parity_becomes_of_them_ask_for_no_memory() {
    let (mut sealer, mut opener) = (Sealer::new(&keys(1)), Opener::new(&keys(1), 0));
    let least = Parity { percent: 5, count_min: 1 };
    let most = Parity { percent: 60, count_min: 12 };
    let mut now = clock::now();
    let mut control = Control::new(Policy { least, most, lost_one_in: 1000 }, now);
    let counts_at_all = COUNT.get() > 0;
    let before = COUNT.get();

    for index in 0..5000_u32 {
        let mut datagram = Ping { sent_us: 1, token: None }.seal(&mut sealer).unwrap();
        if index % 25 != 7 {
            opener.open(&mut datagram).unwrap();
        }
        if index % 50 == 49 {
            now += INTERVAL;
            let (counters, delay) = (Counters::default(), Delay::default());
            let report = Report::new(&mut opener, &counters, &delay, Ecn::default());
            control.handle_report(&report, 100, now);
        }
    }

    assert!(counts_at_all);
    assert_eq!(COUNT.get() - before, 0);
    assert!(control.parity().percent > least.percent);
}
