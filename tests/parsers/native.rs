//! Packets and shards of punktfunk/1.

use std::time::Duration;

use punktfunk_core::proto::gamestream::secret::Secret;
use punktfunk_core::proto::packet::native::header::{
    FRAME_PREFIX_LEN, FrameHeader, FramePrefix, PACKET_HEADER_LEN, PacketHeader, SHARD_HEADER_LEN,
    ShardHeader,
};
use punktfunk_core::proto::packet::native::reassemble::{Event, Limits, Reassembler};
use punktfunk_core::proto::packet::native::seal::{Keys, Opener};
use punktfunk_core::proto::units::FrameIndex;

const SHARD_LEN: usize = 64;
const UNIT_LEN_MAX: usize = 2000;
const BLOCK_DATA_MAX: usize = 8;
const FRAME_COUNT: usize = 3;

fn header() -> ShardHeader {
    ShardHeader {
        frame: FrameHeader { index: FrameIndex(1), is_idr: true, is_anchor: false, epoch: 2 },
        block: 0,
        is_last_block: true,
        first: 0,
        data_count: 2,
        parity_count: 1,
        index: 0,
        padding: 12,
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let vectors = [
        include_str!("../vectors/native/blocks"),
        include_str!("../vectors/native/ping"),
        include_str!("../vectors/native/video"),
    ];
    let lines = vectors.into_iter().flat_map(str::lines);
    let datagrams = lines.filter_map(|line| line.split_once(' '));
    let datagrams = datagrams.filter(|(name, _)| ["datagram", "ping", "answer"].contains(name));
    let bytes = |hex: &str| {
        let pairs = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect::<Vec<u8>>()
    };
    let mut seeds: Vec<Vec<u8>> = datagrams.map(|(_, hex)| bytes(hex)).collect();
    seeds.push([&header().emit()[..], &[7; SHARD_LEN]].concat());
    seeds.push([&FramePrefix { captured_us: 1, latency_us: 2 }.emit()[..], b"unit"].concat());
    seeds
}

/// What is read is written as it was; what is not sealed is not opened.
pub fn check(bytes: &[u8]) {
    if let Ok(header) = PacketHeader::parse(bytes) {
        assert_eq!(header.emit(), bytes[..PACKET_HEADER_LEN]);
    }
    if let Ok((header, shard)) = ShardHeader::parse(bytes) {
        let mut emitted = header.emit();
        // Bits of later versions are not kept.
        emitted[4] |= bytes[4] & !0x07;
        assert_eq!(emitted, bytes[..SHARD_HEADER_LEN]);
        assert_eq!(shard.len(), bytes.len() - SHARD_HEADER_LEN);
        assert!(usize::from(header.padding) < shard.len());
    }
    if let Ok((prefix, rest)) = FramePrefix::parse(bytes) {
        assert_eq!(prefix.emit()[4..], bytes[4..FRAME_PREFIX_LEN]);
        assert!(bytes.ends_with(rest) && rest.len() <= bytes.len() - FRAME_PREFIX_LEN);
    }
    // The key is another than that of the vectors.
    let keys = Keys { key: Secret::new([9; 16]), iv: Secret::new([9; 12]) };
    let mut opener = Opener::new(&keys, 0);
    assert!(opener.open(&mut bytes.to_vec()).is_err());
    assert_eq!(opener.window().end(), 0);
}

/// Payloads, each behind its length in a byte, and a byte for the time that passes.
pub fn shard_seeds() -> Vec<Vec<u8>> {
    let step = |header: ShardHeader, byte: u8| {
        let mut shard = [byte; SHARD_LEN];
        shard[..FRAME_PREFIX_LEN]
            .copy_from_slice(&FramePrefix { captured_us: 1, latency_us: 2 }.emit());
        let payload = [&header.emit()[..], &shard].concat();
        [&[payload.len() as u8, 1][..], &payload].concat()
    };
    let of = |index: u32, shard: u16| {
        let frame = FrameHeader { index: FrameIndex(index), ..header().frame };
        ShardHeader { frame, index: shard, ..header() }
    };
    vec![
        [step(of(1, 0), 1), step(of(1, 1), 2)].concat(),
        [step(of(1, 0), 1), step(of(1, 2), 2)].concat(),
        [step(of(1, 0), 1), step(of(2, 0), 1), step(of(2, 2), 1)].concat(),
        [step(of(1, 0), 1), step(of(900, 0), 1), step(of(900, 2), 1)].concat(),
        [step(ShardHeader { block: 1, first: 2, ..of(1, 0) }, 1), step(of(1, 1), 2)].concat(),
    ]
}

/// Whatever is sealed rightly: memory is bounded, each access unit comes or is named as lost, once
/// and in its turn, and time goes on.
pub fn check_shards(bytes: &[u8]) {
    let mut reassembler = Reassembler::new(Limits {
        shard_len: SHARD_LEN,
        unit_len_max: UNIT_LEN_MAX,
        block_data_max: BLOCK_DATA_MAX,
        frame_count: FRAME_COUNT,
        patience: Duration::from_millis(2),
        stall: Duration::from_millis(1),
    });
    let (mut rest, mut now, mut next) = (bytes, super::epoch(), 1_u64);
    while let [len, wait, payloads @ ..] = rest {
        let payload = &payloads[..payloads.len().min((*len).into())];
        rest = &payloads[payload.len()..];
        now += Duration::from_micros(u64::from(*wait) * 10);
        let _ = reassembler.handle_payload(payload, now);
        while let Some(event) = reassembler.poll_event(now, u64::from(*wait)) {
            let (first, last) = match event {
                Event::Unit(unit) => {
                    assert!(unit.bytes.len() <= UNIT_LEN_MAX + SHARD_LEN);
                    (unit.header.index, unit.header.index)
                }
                Event::Lost(first, last) => (first, last),
            };
            assert!(next == u64::from(first.0) && first <= last);
            next = u64::from(last.0) + 1;
        }
        if let Some(at) = reassembler.poll_timeout() {
            assert!(at > now && at <= now + Duration::from_millis(2));
        }
    }
    // What is known of blocks too, of which there are no more than data shards.
    let data_max = (UNIT_LEN_MAX + SHARD_LEN) / SHARD_LEN;
    let most = (2 * data_max + BLOCK_DATA_MAX) * SHARD_LEN + 100 * data_max;
    assert!(reassembler.unit_capacity() <= 2 * (FRAME_COUNT + 1) * most);
}
