//! The data plane from access units to datagrams, with a client at the other end.

use std::net::UdpSocket as Peer;
use std::time::Duration;

use punktfunk_core::net::udp::{Batch, Path, UdpSocket};
use punktfunk_core::proto::gamestream::secret::Secret;
use punktfunk_core::proto::packet::pace::Pace;
use punktfunk_core::proto::packet::sound::{SoundConfig, SoundPacketizer};
use punktfunk_core::proto::packet::video::{FrameKind, Packetizer, Parity, Unit, VideoConfig};
use punktfunk_core::proto::units::{FrameIndex, Ticks90k};

#[path = "support/counting.rs"]
mod counting;
#[path = "packet/receiver.rs"]
mod receiver;

use counting::COUNT;
use receiver::{Arrived, Receiver};

const KEY: [u8; 16] = *b"sixteen bytes ..";

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for index in (1..list.len()).rev() {
            list.swap(index, self.below(index + 1));
        }
    }
}

fn config(packet_len: usize, parity_percent: u8, is_sealed: bool) -> VideoConfig {
    VideoConfig {
        packet_len,
        parity_percent,
        parity_count_min: 2,
        key: is_sealed.then(|| Secret::new(KEY)),
        nonce: 1000,
    }
}

#[test]
fn access_units_survive_whatever_loss_their_parity_covers() {
    let mut random = Random(0x5eed);
    for (parity_percent, is_sealed) in [(1, false), (20, true), (20, false), (100, true)] {
        let packet_len = 48;
        let mut packetizer = Packetizer::new(&config(packet_len, parity_percent, is_sealed));
        let mut receiver = Receiver::new(packet_len, is_sealed.then_some(KEY), 1000);
        let shards = |count: usize| count * (packet_len - 16) - 8;
        let lens = [
            0,
            1,
            shards(1),
            shards(1) + 1,
            shards(5) - 1,
            shards(100),
            shards(212),
            shards(212) + 1,
            shards(600),
            shards(848),
            shards(849),
            shards(1008),
            shards(1009) - 1,
            shards(4 * 1023),
            7,
        ];
        for (index, len) in (1..).zip(lens) {
            let bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
            let unit = Unit {
                index: FrameIndex(index),
                kind: FrameKind::Healed,
                timestamp: Ticks90k(index.wrapping_mul(0x1234_5678)),
                latency_us: 1200,
                bytes: &bytes,
            };
            let plan = packetizer.begin(&unit).unwrap();
            let mut blocks = Vec::new();
            let (mut sent, mut parity_count) = (Vec::new(), 0);
            for index in 0..plan.block_count {
                let len = packetizer.datagram_len();
                let block = packetizer.block(&unit, index);
                let mut datagrams: Vec<Vec<u8>> = block.chunks(len).map(<[u8]>::to_vec).collect();
                sent.push(datagrams.len());
                parity_count += receiver.parity_count(&datagrams[0]);
                random.shuffle(&mut datagrams);
                let lost_count = random.below(receiver.parity_count(&datagrams[0]) + 1);
                datagrams.truncate(datagrams.len() - lost_count);
                blocks.push(datagrams);
            }

            let arrived = receiver.handle_frame(&blocks, &sent);

            let timestamp = unit.timestamp.0;
            let counts = (plan.datagram_count, plan.parity_count);
            assert_eq!((sent.iter().sum::<usize>(), parity_count), counts);
            assert_eq!(plan.parity == Parity::None, parity_count == 0);
            let expected = Arrived { kind: 5, latency_100us: 12, timestamp, bytes };
            assert!(arrived == expected, "{parity_percent} % {len} bytes");
        }
    }
}

#[test]
fn a_thousand_frames_allocate_nothing() {
    let peer = Peer::bind("127.0.0.1:0").unwrap();
    let path = Path { remote: peer.local_addr().unwrap(), local: None };
    let socket = UdpSocket::bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let mut batch = Batch::new(Duration::from_secs(1));
    let pace = Pace::new(20_000, Duration::from_millis(16), 50);
    let mut packetizer = Packetizer::new(&config(1360, 20, true));
    let key = Some((Secret::new(KEY), 1));
    let mut sound = SoundPacketizer::new(&SoundConfig { key, packet_ms: 5 });
    let bytes = vec![7; 400_000];
    let mut sent_count = 0;

    let before = COUNT.get();
    for index in 1..=1000 {
        // Mostly small ones, and some of two blocks.
        let len = if index % 100 == 0 { bytes.len() } else { 1000 + index as usize };
        let unit = Unit {
            index: FrameIndex(index),
            kind: FrameKind::P,
            timestamp: Ticks90k(index),
            latency_us: 1200,
            bytes: &bytes[..len],
        };
        let plan = packetizer.begin(&unit).unwrap();
        let datagram_len = packetizer.datagram_len();
        let schedule = pace.schedule(plan.datagram_count, datagram_len);
        for block in 0..plan.block_count {
            let datagrams = packetizer.block(&unit, block);
            for burst in datagrams.chunks(schedule.burst_len() * datagram_len) {
                sent_count += batch.send(&socket, &path, burst, datagram_len, Some(40)).datagrams;
            }
        }
        let opus = sound.packet(&bytes[..60]).unwrap();
        batch.send(&socket, &path, opus, opus.len(), Some(48));
        if let Some(parity) = sound.parity() {
            for datagram in parity {
                batch.send(&socket, &path, datagram, datagram.len(), Some(48));
            }
        }
    }
    let count = COUNT.get() - before;

    assert!(before > 0, "allocations are counted");
    assert_eq!(count, 0);
    assert_eq!(sent_count as u64 + 1000, packetizer.nonce());
}
