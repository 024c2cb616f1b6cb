//! Sound, both ends of it.

use std::time::{Duration, Instant};

use super::receive::FRAME_COUNT;
use super::*;
use crate::net::clock;
use crate::proto::gamestream::secret::Secret;
use crate::proto::packet::native::packetize;
use crate::proto::packet::native::seal::{Keys, Opener, Sealer};

const PATIENCE: Duration = Duration::from_millis(10);
/// Samples in 5 ms.
const SAMPLE_COUNT: u16 = 240;

#[derive(Clone, Debug, PartialEq)]
enum Told {
    Frame(u32),
    Lost(u32, u32),
}

fn frame(number: u32) -> Vec<u8> {
    (0..1 + number % 100).map(|at| (at ^ number.wrapping_mul(77)) as u8).collect()
}

fn payload(number: u32) -> Vec<u8> {
    let (before, frame) = (frame(number - 1), frame(number));
    let before = if number == 1 { &[][..] } else { &before };
    let captured_us = 5000 * u64::from(number);
    let packet =
        AudioPacket { number, sample_count: SAMPLE_COUNT, captured_us, before, frame: &frame };
    [&packet.emit_header()[..], before, &frame].concat()
}

/// A client, and its time.
struct Client {
    receiver: AudioReceiver,
    now: Instant,
}

impl Client {
    fn new() -> Client {
        Client { receiver: AudioReceiver::new(PATIENCE), now: clock::now() }
    }

    fn take(&mut self, number: u32) -> Vec<Told> {
        self.receiver.handle_payload(&payload(number), self.now).unwrap();
        self.told()
    }

    fn told(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(event) = self.receiver.poll_event(self.now) {
            told.push(match event {
                Event::Frame(got) => {
                    assert_eq!(got.bytes, frame(got.number));
                    assert_eq!(got.captured_us, 5000 * u64::from(got.number));
                    assert_eq!(got.sample_count, SAMPLE_COUNT);
                    Told::Frame(got.number)
                }
                Event::Lost(first, last) => Told::Lost(first, last),
            });
        }
        told
    }
}

#[test]
fn packets_are_read_as_they_are_written() {
    let before = [8; FRAME_LEN_MAX];
    let packet = AudioPacket {
        number: 0x0102_0304,
        sample_count: 0x0506,
        captured_us: 0x090a_0b0c_0d0e_0f10,
        before: &before[..3],
        frame: b"frame",
    };
    let bytes = [&packet.emit_header()[..], packet.before, packet.frame].concat();

    assert_eq!(bytes[..8], [1, 2, 3, 4, 5, 6, 0, 3]);
    assert_eq!(AudioPacket::parse(&bytes), Ok(packet));
    let table = [
        AudioPacket { number: 0, ..packet },
        AudioPacket { number: 1, ..packet },
        AudioPacket { number: u32::MAX, ..packet },
        AudioPacket { sample_count: 0, ..packet },
        AudioPacket { sample_count: 5761, ..packet },
        AudioPacket { frame: b"", ..packet },
        AudioPacket { frame: &[7; FRAME_LEN_MAX + 1], ..packet },
        AudioPacket { before: &[7; FRAME_LEN_MAX + 1], ..packet },
    ];
    for packet in table {
        let bytes = [&packet.emit_header()[..], packet.before, packet.frame].concat();
        assert_eq!(AudioPacket::parse(&bytes), Err(Error::Contradiction), "{packet:?}");
    }
    let longest = AudioPacket { before: &before, frame: &before, ..packet };
    let bytes = [&longest.emit_header()[..], &before, &before].concat();
    assert_eq!(AudioPacket::parse(&bytes), Ok(longest));
    assert_eq!(AudioPacket::parse(&bytes[..AUDIO_HEADER_LEN - 1]), Err(Error::TooShort));
    assert_eq!(AudioPacket::parse(&bytes[..FRAME_LEN_MAX]), Err(Error::TooShort));
}

#[test]
fn datagrams_have_a_frame_and_the_one_before() {
    let keys = Keys { key: Secret::new([1; 16]), iv: Secret::new([2; 12]) };
    let (mut sealer, mut opener) = (Sealer::new(&keys), Opener::new(&keys, 0));
    let mut packetizer = AudioPacketizer::new(SAMPLE_COUNT);
    let long = [7; FRAME_LEN_MAX + 1];
    let frames: [&[u8]; 6] = [b"one", b"two", &long, b"", b"five", &long[1..]];

    let mut packets = Vec::new();
    for (number, frame) in (1..).zip(frames) {
        let datagram = match packetizer.packet(frame, number, &mut sealer) {
            Ok(datagram) => datagram,
            Err(error) => {
                assert_eq!(error, packetize::Error::TooLong);
                continue;
            }
        };
        assert!(datagram.len() <= AUDIO_DATAGRAM_LEN_MAX);
        let mut datagram = datagram.to_vec();
        let opened = opener.open(&mut datagram).unwrap();
        let packet = AudioPacket::parse(opened.payload).unwrap();
        assert_eq!((packet.captured_us, packet.sample_count), (number, SAMPLE_COUNT));
        packets.push((packet.number, packet.before.to_vec(), packet.frame.to_vec()));
    }

    let expected: [(u32, &[u8], &[u8]); 4] =
        [(1, b"", b"one"), (2, b"one", b"two"), (5, b"", b"five"), (6, b"five", &long[1..])];
    assert_eq!(packets, expected.map(|(it, before, frame)| (it, before.to_vec(), frame.to_vec())));
}

#[test]
fn a_frame_for_which_the_key_has_no_room_may_be_given_again() {
    let keys = |number| Keys { key: Secret::new([number; 16]), iv: Secret::new([7; 12]) };
    let (mut sealer, mut opener) = (Sealer::new(&keys(1)), Opener::new(&keys(1), 0));
    let mut packetizer = AudioPacketizer::new(SAMPLE_COUNT);
    packetizer.packet(&frame(1), 5000, &mut sealer).unwrap();
    sealer.leave_room(AUDIO_DATAGRAM_LEN_MAX, 0);

    let refused = packetizer.packet(&frame(2), 10_000, &mut sealer).map(<[u8]>::len);
    sealer.next_phase(&keys(2));
    opener.set_next_keys(&keys(2));
    let mut datagram = packetizer.packet(&frame(2), 10_000, &mut sealer).unwrap().to_vec();

    assert_eq!(refused, Err(packetize::Error::Exhausted));
    assert_eq!(opener.open(&mut datagram).unwrap().payload, payload(2));
}

#[test]
fn a_single_loss_costs_nothing_but_the_wait_for_the_next() {
    let mut client = Client::new();
    let mut told = Vec::new();
    // The first too.
    for number in (1..=300).filter(|number| number % 2 == 0) {
        let come = client.take(number);
        assert_eq!(come, [Told::Frame(number - 1), Told::Frame(number)]);
        told.extend(come);
    }

    let counters = client.receiver.counters();
    assert_eq!((counters.frames, counters.recovered, counters.lost), (300, 150, 0));
    assert_eq!(client.receiver.poll_timeout(), None);
}

#[test]
fn a_gap_is_waited_for_and_named_once() {
    let mut client = Client::new();
    assert_eq!(client.take(1), [Told::Frame(1)]);
    assert_eq!(client.take(5), []);
    client.now += PATIENCE / 2;
    assert_eq!(client.take(6), []);
    assert_eq!(client.receiver.poll_timeout(), Some(client.now + PATIENCE / 2));
    // Some of it was held up.
    assert_eq!(client.take(2), [Told::Frame(2)]);
    client.now += PATIENCE / 2;

    assert_eq!(client.told(), [Told::Lost(3, 3), Told::Frame(4), Told::Frame(5), Told::Frame(6)]);
    assert_eq!(client.take(3), []);
    assert_eq!(client.take(6), []);
    assert_eq!(client.take(7), [Told::Frame(7)]);

    let counters = client.receiver.counters();
    assert_eq!((counters.frames, counters.lost, counters.needless), (6, 1, 2));
}

#[test]
fn a_gap_that_closes_in_time_is_none() {
    let mut client = Client::new();
    assert_eq!(client.take(4), []);
    client.now += PATIENCE - Duration::from_micros(1);
    assert_eq!(client.take(3), []);

    assert_eq!(client.take(1), [1, 2, 3, 4].map(Told::Frame));
}

#[test]
fn a_leap_gives_up_what_is_stale() {
    let mut client = Client::new();
    assert_eq!(client.take(5), []);

    let far = FRAME_COUNT as u32 + 1;
    assert_eq!(client.take(far), [Told::Lost(1, far - 2), Told::Frame(far - 1), Told::Frame(far)]);
    let last = u32::MAX - 1;
    let told = [Told::Lost(far + 1, last - 2), Told::Frame(last - 1), Told::Frame(last)];
    assert_eq!(client.take(last), told);
    assert_eq!(client.take(last), []);
}

#[test]
fn whatever_the_way_does_every_frame_is_told_once_and_in_order() {
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = move |end: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % end
    };
    for _ in 0..200 {
        let mut client = Client::new();
        let (mut next, mut told) = (1, Vec::new());
        for _ in 0..300 {
            next += [1, 1, 1, 1, 2, 2, 3, 30][random(8) as usize];
            let number = next - random(12).min(u64::from(next) - 1) as u32;
            client.now += Duration::from_millis(random(8));
            told.extend(client.take(number));
        }
        client.now += PATIENCE;
        told.extend(client.told());

        let mut expected = 1;
        for event in told {
            let (first, last) = match event {
                Told::Frame(number) => (number, number),
                Told::Lost(first, last) => (first, last),
            };
            assert!(first == expected && first <= last, "{first} to {last}, not {expected}");
            expected = last + 1;
        }
        assert_eq!(client.receiver.poll_timeout(), None);
        let counters = client.receiver.counters();
        assert_eq!(counters.frames + counters.lost, u64::from(expected - 1));
    }
}
