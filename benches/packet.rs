//! What it costs to send an access unit, beside a bare send of as many bytes.
//!
//! The bare send gives the kernel the same bursts on a connected socket, with nothing else around
//! it. All go over loopback to a socket that nobody reads. Each line is the best of many turns, and
//! the contenders take turns. Run it on a quiet core:
//!
//!     taskset 1 cargo bench --bench packet

use std::hint::black_box;
use std::net::UdpSocket as Bare;
use std::os::fd::AsFd;
use std::time::Duration;

use punktfunk_core::net::udp::{Batch, Path, UdpSocket, set_segment_len};
use punktfunk_core::proto::gamestream::secret::Secret;
use punktfunk_core::proto::packet::pace::Pace;
use punktfunk_core::proto::packet::video::{FrameKind, Packetizer, Unit, VideoConfig};
use punktfunk_core::proto::units::{FrameIndex, Ticks90k};

const TURNS: usize = 400;
/// Access units of a turn.
const REPETITIONS: u32 = 5;
/// The largest of Moonlight's usual packet sizes.
const PACKET_LEN: usize = 1392;

/// Times some works, which take turns, and returns the best turn of each.
#[expect(clippy::disallowed_methods, reason = "a bench asks the time")]
fn compare<const N: usize>(mut works: [&mut dyn FnMut(); N]) -> [Duration; N] {
    let mut best = [Duration::MAX; N];
    for _ in 0..TURNS {
        for (work, best) in works.iter_mut().zip(&mut best) {
            let began = std::time::Instant::now();
            for _ in 0..REPETITIONS {
                work();
            }
            *best = (*best).min(began.elapsed() / REPETITIONS);
        }
    }
    best
}

fn packetizer(key: Option<Secret<16>>) -> Packetizer {
    let packet_len = PACKET_LEN - if key.is_some() { 32 } else { 0 };
    Packetizer::new(&VideoConfig {
        packet_len,
        parity_percent: 20,
        parity_count_min: 2,
        key,
        nonce: 0,
    })
}

/// A socket whose every message the kernel cuts into segments of one length.
fn bare(peer: &Bare, segment_len: usize) -> Bare {
    let bare = Bare::bind("127.0.0.1:0").unwrap();
    bare.connect(peer.local_addr().unwrap()).unwrap();
    set_segment_len(bare.as_fd(), segment_len).unwrap();
    bare
}

fn measure(data_count: usize, key: Option<Secret<16>>) {
    let (title, payload_len) = match key {
        Some(_) => ("sealed", PACKET_LEN - 48),
        None => ("clear", PACKET_LEN - 16),
    };
    let (mut alone, mut whole) = (packetizer(key.as_ref().map(copy)), packetizer(key));
    let datagram_len = alone.datagram_len();
    // The frame header and the access unit fill the data shards.
    let bytes = vec![7; data_count * payload_len - 8];
    let unit = Unit {
        index: FrameIndex(1),
        kind: FrameKind::P,
        timestamp: Ticks90k(1),
        latency_us: 0,
        bytes: &bytes,
    };
    let plan = alone.begin(&unit).unwrap();
    let schedule = Pace::new(0, Duration::ZERO, 0).schedule(plan.datagram_count, datagram_len);
    let burst_len = schedule.burst_len() * datagram_len;

    let peer = Bare::bind("127.0.0.1:0").unwrap();
    let path = Path { remote: peer.local_addr().unwrap(), local: None };
    let socket = UdpSocket::bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let (mut batch, mut other) = [(); 2].map(|()| Batch::new(Duration::ZERO)).into();
    let datagrams = vec![7; plan.datagram_count * datagram_len];
    let bare = bare(&peer, datagram_len);

    let [bare, send, make, all] = compare([
        &mut || datagrams.chunks(burst_len).for_each(|it| drop(black_box(bare.send(it)))),
        &mut || {
            for burst in datagrams.chunks(burst_len) {
                black_box(batch.send(&socket, &path, burst, datagram_len, Some(40)));
            }
        },
        &mut || {
            alone.begin(&unit).unwrap();
            black_box(alone.block(&unit, 0));
        },
        &mut || {
            whole.begin(&unit).unwrap();
            for burst in whole.block(&unit, 0).chunks(burst_len) {
                black_box(other.send(&socket, &path, burst, datagram_len, Some(40)));
            }
        },
    ]);
    for (name, time) in [("bare send", bare), ("send", send), ("make", make), ("make, send", all)] {
        println!(
            "{:4} datagrams {title:<7} {name:<11} {:8} ns {:6.2} x bare send",
            plan.datagram_count,
            time.as_nanos(),
            time.as_secs_f64() / bare.as_secs_f64(),
        );
    }
}

fn copy(key: &Secret<16>) -> Secret<16> {
    Secret::new(*key.bytes())
}

fn main() {
    for data_count in [18, 140] {
        measure(data_count, None);
        measure(data_count, Some(Secret::new([7; 16])));
    }
}
