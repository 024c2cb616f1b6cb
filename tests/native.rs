//! The data plane of punktfunk/1 from access units to datagrams and back, over a way that loses,
//! repeats and disorders them.

#[path = "support/counting.rs"]
mod counting;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use counting::COUNT;
use punktfunk_core::net::clock;
use punktfunk_core::proto::gamestream::secret::Secret;
use punktfunk_core::proto::packet::native::header::{
    FrameHeader, FramePrefix, Kind, PACKET_HEADER_LEN, SHARD_HEADER_LEN, ShardHeader, TAG_LEN,
};
use punktfunk_core::proto::packet::native::packetize::{self, Packetizer, Parity, Shape};
use punktfunk_core::proto::packet::native::reassemble::{Event, Limits, Reassembler};
use punktfunk_core::proto::packet::native::seal::{self, Keys, Opener, Sealer};
use punktfunk_core::proto::units::FrameIndex;

const PATIENCE: Duration = Duration::from_millis(2);
const STALL: Duration = Duration::from_millis(50);
const SHARD_LEN: usize = 192;
const BLOCK_DATA_MAX: usize = 20;
const UNIT_LEN_MAX: usize = 100_000;

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
}

fn keys(number: u8) -> Keys {
    Keys { key: Secret::new([number; 16]), iv: Secret::new([number ^ 0xaa; 12]) }
}

fn limits() -> Limits {
    Limits {
        shard_len: SHARD_LEN,
        unit_len_max: UNIT_LEN_MAX,
        block_data_max: BLOCK_DATA_MAX,
        frame_count: 4,
        patience: PATIENCE,
        stall: STALL,
    }
}

fn shape() -> Shape {
    let (shard_len, block_data_max) = (SHARD_LEN, BLOCK_DATA_MAX);
    Shape { shard_len, block_data_max, parity_percent: 20, parity_count_min: 1 }
}

fn frame(index: u32, is_idr: bool) -> FrameHeader {
    FrameHeader { index: FrameIndex(index), is_idr, is_anchor: false, epoch: 1 }
}

fn bytes(index: u32, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u32 ^ index.wrapping_mul(0x9e37)) as u8).collect()
}

/// What a client is told, in its own memory.
#[derive(Debug, PartialEq)]
enum Told {
    Unit(u32, Vec<u8>),
    Lost(u32, u32),
}

/// A host and a client.
struct Pair {
    packetizer: Packetizer,
    opener: Opener,
    reassembler: Reassembler,
    now: Instant,
}

impl Pair {
    fn new(shape: Shape) -> Pair {
        Pair {
            packetizer: Packetizer::new(shape, &keys(1)),
            opener: Opener::new(&keys(1), 0),
            reassembler: Reassembler::new(limits()),
            now: clock::now(),
        }
    }

    /// The datagrams of an access unit, block by block.
    fn send(&mut self, header: FrameHeader, bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let prefix = FramePrefix { captured_us: 7, latency_us: 8 };
        let unit = packetize::Unit { header, prefix, bytes };
        let plan = self.packetizer.plan(&unit).unwrap();
        let datagram_len = self.packetizer.datagram_len();
        let blocks: Vec<Vec<Vec<u8>>> = (0..plan.block_count)
            .map(|index| {
                let block = self.packetizer.block(&unit, index).unwrap();
                block.chunks(datagram_len).map(<[u8]>::to_vec).collect()
            })
            .collect();
        assert_eq!(plan.datagram_count, blocks.iter().map(Vec::len).sum::<usize>());
        blocks
    }

    /// What comes of some datagrams, each event as soon as it can be had.
    fn receive(&mut self, datagrams: impl IntoIterator<Item = Vec<u8>>) -> Vec<Told> {
        let mut told = Vec::new();
        for mut datagram in datagrams {
            match self.opener.open(&mut datagram) {
                Ok(opened) => self.reassembler.handle_payload(opened.payload, self.now).unwrap(),
                Err(error) => assert_eq!(error, seal::Error::Replay),
            }
            told.extend(self.told());
        }
        told
    }

    fn told(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(event) = self.reassembler.poll_event(self.now, 0) {
            told.push(match event {
                Event::Unit(unit) => {
                    assert_eq!(unit.prefix, FramePrefix { captured_us: 7, latency_us: 8 });
                    Told::Unit(unit.header.index.0, unit.bytes.to_vec())
                }
                Event::Lost(first, last) => Told::Lost(first.0, last.0),
            });
        }
        told
    }
}

#[test]
fn access_units_of_any_length_come_out_as_they_went_in() {
    let mut pair = Pair::new(shape());
    let shard = SHARD_LEN - 16;
    let edges = [0, 1, shard - 1, shard, shard + 1, BLOCK_DATA_MAX * SHARD_LEN - 16];
    let lens = edges.into_iter().chain((0..60).map(|step| step * 1663)).chain([UNIT_LEN_MAX]);
    for (index, len) in (1..).zip(lens) {
        let unit = bytes(index, len);

        let datagrams = pair.send(frame(index, index == 1), &unit).concat();
        let (last, first) = datagrams.split_last().unwrap();
        let early = pair.receive(first.to_vec());
        let told = early.into_iter().chain(pair.receive([last.clone()])).collect::<Vec<_>>();

        assert_eq!(told, [Told::Unit(index, unit)], "{len} bytes");
    }
    assert_eq!(pair.reassembler.counters().lost_units, 0);
    assert_eq!(pair.reassembler.counters().recovered, 0);
}

#[test]
fn the_longest_access_unit_comes_out_whole_with_a_loss_in_each_block() {
    let (shard_len, block_data_max, unit_len_max) = (1408, 1000, packetize::UNIT_LEN_MAX);
    let mut packetizer = Packetizer::new(Shape { shard_len, block_data_max, ..shape() }, &keys(1));
    let mut opener = Opener::new(&keys(1), 0);
    let mut reassembler = Reassembler::new(Limits {
        shard_len,
        unit_len_max,
        block_data_max,
        frame_count: 2,
        ..limits()
    });
    let (bytes, now) = (bytes(1, unit_len_max), clock::now());
    let prefix = FramePrefix { captured_us: 1, latency_us: 1 };
    let unit = packetize::Unit { header: frame(1, true), prefix, bytes: &bytes };
    let plan = packetizer.plan(&unit).unwrap();
    let mut datagram = vec![0; packetizer.datagram_len()];

    for index in 0..plan.block_count {
        let block = packetizer.block(&unit, index).unwrap();
        let lost = index * 31;
        for (at, sent) in block.chunks_exact(datagram.len()).enumerate() {
            if at != lost % 900 {
                datagram.copy_from_slice(sent);
                let opened = opener.open(&mut datagram).unwrap();
                reassembler.handle_payload(opened.payload, now).unwrap();
            }
        }
    }
    let Some(Event::Unit(unit)) = reassembler.poll_event(now, 1) else { panic!("it is lost") };
    assert!(unit.bytes == bytes);

    assert_eq!(plan.block_count, 48);
    assert_eq!(reassembler.counters().recovered, plan.block_count as u64);
    // No more than what was agreed on, and parity in memory that doubles.
    let shards = (16 + unit_len_max).div_ceil(shard_len) + 2 * plan.parity_count;
    let capacity = reassembler.unit_capacity();
    assert!(capacity <= shards * shard_len + (1 << 16), "{capacity}");
}

#[test]
fn as_many_shards_as_a_block_has_parity_may_be_lost_in_any_order() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for parity_percent in [1, 20, 50, 100] {
        let mut pair = Pair::new(Shape { parity_percent, ..shape() });
        for index in 1..200 {
            let unit = bytes(index, random.below(40_000));
            let mut datagrams = Vec::new();
            for mut block in pair.send(frame(index, false), &unit) {
                let (_, shard) = block[0].split_at(PACKET_HEADER_LEN);
                assert!(shard.len() > SHARD_HEADER_LEN + TAG_LEN);
                let parity_count =
                    block.len() * usize::from(parity_percent) / (100 + usize::from(parity_percent));
                for _ in 0..parity_count {
                    let number = random.below(block.len());
                    block.swap_remove(number);
                }
                datagrams.extend(block);
            }
            // Some come twice, all in some order.
            for _ in 0..datagrams.len() / 10 {
                datagrams.push(datagrams[random.below(datagrams.len())].clone());
            }
            for last in (1..datagrams.len()).rev() {
                datagrams.swap(last, random.below(last + 1));
            }

            let told = pair.receive(datagrams);

            assert_eq!(told, [Told::Unit(index, unit)], "{parity_percent} %");
        }
        let counters = pair.reassembler.counters();
        assert!(counters.recovered > 0, "{counters:?}");
        assert_eq!((counters.lost_units, counters.refused), (0, 0));
    }
}

#[test]
fn what_cannot_be_recovered_is_named_once_and_the_rest_goes_on() {
    let mut pair = Pair::new(shape());
    // There is none of number 0.
    let units: Vec<Vec<u8>> = (0..10).map(|index| bytes(index, 5000)).collect();
    let mut sent: Vec<Vec<Vec<u8>>> =
        (1..10).map(|it| pair.send(frame(it, false), &units[it as usize]).concat()).collect();
    sent.insert(0, Vec::new());
    // 27 data shards in two blocks of 14 and 13, with 3 of parity each.
    assert_eq!(sent[1].len(), 33);
    let late = sent[3].split_off(13);
    sent[6].truncate(0);
    sent[7].drain(0..4);
    let unit = |index: usize| Told::Unit(index as u32, units[index].clone());

    assert_eq!(pair.receive(sent[1].clone()), [unit(1)]);
    assert_eq!(pair.receive(sent[2].clone()), [unit(2)]);
    // The next waits for what may have been held up, and not for long.
    assert_eq!(pair.receive([&sent[3][..], &sent[4]].concat()), []);
    assert_eq!(pair.reassembler.poll_timeout(), Some(pair.now + PATIENCE));
    assert_eq!(pair.receive(late[..1].to_vec()), []);
    pair.now += PATIENCE;
    assert_eq!(pair.told(), [Told::Lost(3, 3), unit(4)]);
    assert_eq!(pair.receive(late), []);
    // Two in a row, one of which nothing came.
    assert_eq!(pair.receive(sent[5].clone()), [unit(5)]);
    assert_eq!(pair.receive([&sent[7][..], &sent[8]].concat()), []);
    pair.now += PATIENCE;
    assert_eq!(pair.told(), [Told::Lost(6, 7), unit(8)]);
    assert_eq!(pair.receive(sent[9].clone()), [unit(9)]);

    let counters = pair.reassembler.counters();
    assert_eq!((counters.units, counters.lost_units), (6, 3));
    assert_eq!(pair.reassembler.poll_timeout(), None);
}

#[test]
fn what_is_lost_before_a_silence_is_named_too() {
    let mut pair = Pair::new(shape());
    let units = (1..=7).map(|index| bytes(index, 3000));
    let sent = units.zip(1..).map(|(unit, index)| pair.send(frame(index, false), &unit).concat());
    let sent: Vec<Vec<Vec<u8>>> = sent.collect();
    let named = |pair: &mut Pair| {
        let at = pair.reassembler.poll_timeout().expect("there is something that is waited for");
        assert_eq!(pair.told(), []);
        pair.now = at;
        pair.told()
    };

    // A part of one has come. Each shard gives it more time.
    assert_eq!(pair.receive(sent[0][..3].to_vec()), []);
    pair.now += STALL / 2;
    assert_eq!(pair.receive(sent[0][3..5].to_vec()), []);
    let began = pair.now;
    assert_eq!(named(&mut pair), [Told::Lost(1, 1)]);
    assert_eq!((pair.now, pair.reassembler.poll_timeout()), (began + STALL, None));

    // Nothing of two has come, and a part of one behind them.
    assert_eq!(pair.receive(sent[3][..5].to_vec()), []);
    assert_eq!(named(&mut pair), [Told::Lost(2, 3), Told::Lost(4, 4)]);

    // Nothing of two has come, of which the host tells, more than once.
    for last in [5, 6, 6, 3] {
        pair.reassembler.handle_last(FrameIndex(last), pair.now);
    }
    assert_eq!(named(&mut pair), [Told::Lost(5, 6)]);
    for nothing in [6, u32::MAX] {
        pair.reassembler.handle_last(FrameIndex(nothing), pair.now);
        assert_eq!(pair.reassembler.poll_timeout(), None);
    }
    assert_eq!(pair.receive(sent[6].clone()), [Told::Unit(7, bytes(7, 3000))]);
    assert_eq!(pair.reassembler.poll_timeout(), None);
}

#[test]
fn an_access_unit_that_was_held_up_is_in_time_before_the_patience_ends() {
    let mut pair = Pair::new(shape());
    let units = [1, 2].map(|index| bytes(index, 3000));
    let [first, second] = [1, 2].map(|it| pair.send(frame(it, false), &units[it as usize - 1]));
    let mut first = first.concat();
    let held = first.split_off(10);

    assert_eq!(pair.receive(first), []);
    assert_eq!(pair.receive(second.concat()), []);
    pair.now += PATIENCE / 2;

    let [one, two] = units;
    assert_eq!(pair.receive(held), [Told::Unit(1, one), Told::Unit(2, two)]);
}

#[test]
fn an_access_unit_has_come_when_it_is_whole_whenever_it_is_polled() {
    let mut pair = Pair::new(shape());
    let mut sent = [1, 2, 3].map(|it| pair.send(frame(it, false), &bytes(it, 3000)).concat());
    let held = sent[1].split_off(10);
    let [first, second, third] = sent;
    let mut delays = Vec::new();
    let (began, step) = (pair.now, PATIENCE / 4);

    // All have one time of capture. The third is whole before the second.
    for (datagrams, is_polled) in [(first, false), (third, true), (second, true), (held, true)] {
        for mut datagram in datagrams {
            let opened = pair.opener.open(&mut datagram).unwrap();
            pair.reassembler.handle_payload(opened.payload, pair.now).unwrap();
        }
        pair.now += step;
        let now_us = (pair.now - began).as_micros() as u64;
        while is_polled && pair.reassembler.poll_event(pair.now, now_us).is_some() {
            delays.push(pair.reassembler.delay().excess_us());
        }
    }

    // Behind the first the second came by three steps later, the third by one.
    assert_eq!(delays, [0, 3, 1].map(|steps| steps * step.as_micros() as u64));
}

#[test]
fn an_idr_waits_for_nothing_and_a_leap_makes_room() {
    let mut pair = Pair::new(shape());
    let send = |pair: &mut Pair, index, is_idr| {
        let unit = bytes(index, 2000);
        (pair.send(frame(index, is_idr), &unit).concat(), Told::Unit(index, unit))
    };
    let (mut first, _) = send(&mut pair, 1, false);
    first.truncate(2);
    let (idr, idr_told) = send(&mut pair, 3, true);
    let (whole, whole_told) = send(&mut pair, 5, false);
    let (far, far_told) = send(&mut pair, 4_000_000_000, false);

    assert_eq!(pair.receive(first), []);
    assert_eq!(pair.receive(idr), [Told::Lost(1, 2), idr_told]);
    assert_eq!(pair.receive(whole), []);
    // Its first shard finds no place, as what waits has to be told first; parity makes up for it.
    let told = pair.receive(far);

    let rest = Told::Lost(6, 3_999_999_996);
    assert_eq!(told[..3], [Told::Lost(4, 4), whole_told, rest]);
    assert_eq!(told[3..], []);
    pair.now += PATIENCE;
    assert_eq!(pair.told(), [Told::Lost(3_999_999_997, 3_999_999_999), far_told]);
    let counters = pair.reassembler.counters();
    assert_eq!((counters.early, counters.recovered, counters.units), (1, 1, 3));
}

#[test]
fn a_leap_costs_nothing_of_what_is_behind_it() {
    let mut pair = Pair::new(Shape { parity_percent: 0, ..shape() });
    let send =
        |pair: &mut Pair, index| pair.send(frame(index, false), &bytes(index, 2000)).concat();
    let (mut begun, far, farther) = (send(&mut pair, 1), send(&mut pair, 90), send(&mut pair, 999));
    begun.truncate(2);
    let unit = |index| Told::Unit(index, bytes(index, 2000));

    // All at once, and polled when all of it is there.
    for mut datagram in [begun, far[..3].to_vec(), farther].concat() {
        let opened = pair.opener.open(&mut datagram).unwrap();
        pair.reassembler.handle_payload(opened.payload, pair.now).unwrap();
    }
    assert_eq!(pair.told(), [Told::Lost(1, 995)]);
    pair.now += PATIENCE;
    assert_eq!(pair.told(), [Told::Lost(996, 998), unit(999)]);

    let counters = pair.reassembler.counters();
    assert_eq!((counters.early, counters.lost_units, counters.units), (0, 998, 1));
}

#[test]
fn numbers_have_an_end_and_nothing_comes_twice_there() {
    let mut pair = Pair::new(shape());
    let send = |pair: &mut Pair, index| pair.send(frame(index, true), b"unit").concat();
    let last = send(&mut pair, u32::MAX - 1);
    let (behind, again) = (send(&mut pair, u32::MAX), send(&mut pair, u32::MAX - 1));

    let told = pair.receive([last, behind, again].concat());

    assert_eq!(told.last(), Some(&Told::Unit(u32::MAX - 1, b"unit".to_vec())));
    assert_eq!(told.iter().filter(|it| matches!(it, Told::Unit(..))).count(), 1);
    assert_eq!(pair.reassembler.counters().late, 5);
}

#[test]
fn a_new_key_within_an_access_unit_loses_nothing() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut pair = Pair::new(shape());
    // The low byte of the phase, which is all that is on the wire, begins anew on the way.
    for index in 1..600 {
        let unit = bytes(index, 5000);
        let next = keys(index as u8);
        assert_eq!(pair.opener.wanted_phase(), Some(index));
        pair.opener.set_next_keys(&next);
        let number = pair.packetizer.sealer().number();
        let prefix = FramePrefix { captured_us: 7, latency_us: 8 };
        let of_unit = packetize::Unit { header: frame(index, false), prefix, bytes: &unit };
        let datagram_len = pair.packetizer.datagram_len();
        let mut datagrams = Vec::new();
        for block in 0..2 {
            let block = pair.packetizer.block(&of_unit, block).unwrap();
            datagrams.extend(block.chunks(datagram_len).map(<[u8]>::to_vec));
            if pair.packetizer.sealer().phase() < index {
                pair.packetizer.sealer().next_phase(&next);
            }
        }
        assert_eq!(pair.packetizer.sealer().number(), number + datagrams.len() as u64);
        // Those of both keys in some order.
        for last in (1..datagrams.len()).rev() {
            datagrams.swap(last, random.below(last + 1));
        }

        assert_eq!(pair.receive(datagrams), [Told::Unit(index, unit)]);
        assert_eq!(pair.opener.phase(), index);
    }
    let loss = pair.opener.window().loss();
    assert_eq!((loss.lost, pair.opener.window().missing_count()), (0, 0));
}

/// Payloads that are sealed rightly and lie.
#[test]
fn an_authenticated_liar_costs_a_bounded_memory_and_no_panic() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut reassembler = Reassembler::new(limits());
    let mut now = clock::now();
    let mut lost = BTreeSet::new();
    for _ in 0..200_000 {
        let count = |random: &mut Random, usual: usize| match random.below(8) {
            0 => random.next() as u16,
            _ => random.below(usual) as u16,
        };
        let index = match random.below(50) {
            0 => random.next() as u32,
            _ => random.below(1000) as u32,
        };
        let header = ShardHeader {
            frame: frame(index, random.below(9) == 0),
            block: count(&mut random, 3),
            is_last_block: random.below(3) == 0,
            first: count(&mut random, 60).into(),
            data_count: count(&mut random, 20),
            parity_count: count(&mut random, 5),
            index: count(&mut random, 20),
            padding: count(&mut random, 2),
        };
        let len = [SHARD_LEN, SHARD_LEN, SHARD_LEN, 64, 0, 191][random.below(6)];
        let payload = [&header.emit()[..], &vec![random.next() as u8; len]].concat();
        let payload = &payload[..payload.len() - if random.below(20) == 0 { 1 } else { 0 }];

        let _ = reassembler.handle_payload(payload, now);
        now += Duration::from_micros(100);
        while let Some(event) = reassembler.poll_event(now, random.next()) {
            if let Event::Lost(first, last) = event {
                assert!(first <= last && lost.insert(first), "{first} to {last}");
            }
        }
    }

    // Data and parity, and what is known of blocks, of which there are no more than data shards; in
    // memory that doubles.
    let data_max = (16 + UNIT_LEN_MAX).div_ceil(SHARD_LEN);
    let most = 5 * ((2 * data_max + BLOCK_DATA_MAX) * SHARD_LEN + 100 * data_max);
    assert!(reassembler.unit_capacity() <= 2 * most, "{}", reassembler.unit_capacity());
    assert!(reassembler.counters().refused > 1000);
}

/// As above, with lies that fit each other more often: what is given out is all from its shards.
#[test]
fn what_a_liar_makes_whole_has_no_holes() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut reassembler = Reassembler::new(limits());
    let (now, mut whole_count, mut index) = (clock::now(), 0, 1);
    let data_shard = |index: u32, place: usize| {
        let mut shard = [(index ^ 0x55) as u8 ^ (place as u8) << 5; SHARD_LEN];
        if place == 0 {
            let prefix = FramePrefix { captured_us: 1, latency_us: 2 };
            shard[..16].copy_from_slice(&prefix.emit());
        }
        shard
    };
    for _ in 0..100_000 {
        let block = random.below(3);
        let first = if random.below(4) == 0 { random.below(4) } else { block };
        let data_count = 1 + usize::from(random.below(8) == 0);
        let header = ShardHeader {
            frame: frame(index, true),
            block: block as u16,
            is_last_block: block == 2 || random.below(9) == 0,
            first: first as u32,
            data_count: data_count as u16,
            parity_count: 0,
            index: random.below(data_count) as u16,
            padding: 0,
        };
        let shard = data_shard(index, first + usize::from(header.index));

        reassembler.handle_payload(&[&header.emit()[..], &shard].concat(), now).unwrap();
        if let Some(Event::Unit(unit)) = reassembler.poll_event(now, 1) {
            whole_count += 1;
            let (index, shards) = (unit.header.index.0, (unit.bytes.len() + 16) / SHARD_LEN);
            let expected: Vec<u8> = (0..shards).flat_map(|at| data_shard(index, at)).collect();
            assert!(unit.bytes == &expected[16..], "{shards} shards");
        }
        // Some come to no end.
        if random.below(12) == 0 {
            index += 1;
        }
    }

    assert!(whole_count > 1000, "{whole_count}");
}

#[test]
fn a_thousand_access_units_allocate_nothing_on_either_side() {
    let mut random = Random(0x1357_9bdf_0246_8ace);
    let mut packetizer = Packetizer::new(shape(), &keys(1));
    let mut opener = Opener::new(&keys(1), 0);
    let mut reassembler = Reassembler::new(limits());
    let datagram_len = packetizer.datagram_len();
    let (unit, mut datagram) = (bytes(1, UNIT_LEN_MAX), vec![0; datagram_len]);
    let now = clock::now();
    let mut whole_count = 0;
    let before = COUNT.get();
    let mut warm = before;
    for index in 1..=1100 {
        let prefix = FramePrefix { captured_us: 1, latency_us: 1 };
        let len = if index <= 8 { UNIT_LEN_MAX } else { random.below(UNIT_LEN_MAX) };
        // Parity is another one each time, after the most there can be.
        let percent = if index <= 8 { 100 } else { 10 + (index % 20) as u8 };
        packetizer.set_parity(Parity { percent, count_min: (index % 5) as u8 });
        let unit = packetize::Unit { header: frame(index, true), prefix, bytes: &unit[..len] };
        let plan = packetizer.plan(&unit).unwrap();
        for block in 0..plan.block_count {
            let block = packetizer.block(&unit, block).unwrap();
            for sent in block.chunks(datagram_len) {
                // One in nine: most blocks need their parity, some are lost.
                if random.below(9) == 0 {
                    continue;
                }
                datagram.copy_from_slice(sent);
                let opened = opener.open(&mut datagram).unwrap();
                reassembler.handle_payload(opened.payload, now).unwrap();
                while let Some(event) = reassembler.poll_event(now, 1) {
                    whole_count += u32::from(matches!(event, Event::Unit(_)));
                }
            }
        }
        if index == 100 {
            warm = COUNT.get();
        }
    }
    let after = COUNT.get();

    assert!(warm > before, "allocations are counted");
    assert_eq!(after - warm, 0);
    let counters = reassembler.counters();
    assert!(whole_count > 200 && counters.lost_units > 20, "{whole_count} {counters:?}");
    assert!(counters.recovered > 10_000, "{counters:?}");
}

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

    fn keys(&self) -> Keys {
        Keys {
            key: Secret::new(self.bytes("key").try_into().unwrap()),
            iv: Secret::new(self.bytes("iv").try_into().unwrap()),
        }
    }

    fn index(&self) -> FrameIndex {
        FrameIndex(self.number("frame").try_into().unwrap())
    }

    fn prefix(&self) -> FramePrefix {
        let latency_us = self.number("latency_us").try_into().unwrap();
        FramePrefix { captured_us: self.number("captured_us"), latency_us }
    }
}

fn hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[test]
fn datagrams_are_those_of_the_vectors() {
    let vector = Vector(include_str!("vectors/native/video"));
    let shape =
        Shape { shard_len: 64, block_data_max: 20, parity_percent: 50, parity_count_min: 1 };
    let header = FrameHeader { index: vector.index(), is_idr: true, is_anchor: false, epoch: 3 };
    let bytes = vector.bytes("unit");
    let unit = packetize::Unit { header, prefix: vector.prefix(), bytes: &bytes };
    let mut packetizer = Packetizer::new(shape, &vector.keys());

    let datagrams = packetizer.block(&unit, 0).unwrap().to_vec();

    assert_eq!(datagrams, hex(&vector.all("datagram").concat()));
}

#[test]
fn blocks_with_more_parity_under_a_later_key_are_those_of_the_vectors() {
    let vector = Vector(include_str!("vectors/native/blocks"));
    let shape = Shape { shard_len: 64, block_data_max: 6, parity_percent: 50, parity_count_min: 1 };
    let header = FrameHeader { index: vector.index(), is_idr: false, is_anchor: true, epoch: 4 };
    let bytes = vector.bytes("unit");
    let unit = packetize::Unit { header, prefix: vector.prefix(), bytes: &bytes };
    let mut packetizer = Packetizer::new(shape, &keys(1));
    let mut opener = Opener::new(&keys(1), 0);
    for _ in 0..2 {
        packetizer.sealer().seal(Kind::Ping, &mut [0; 64]).unwrap();
    }
    packetizer.sealer().next_phase(&vector.keys());
    opener.set_next_keys(&vector.keys());

    let made = [0, 1].map(|block| packetizer.block(&unit, block).unwrap().to_vec());
    assert_eq!(made.concat(), hex(&vector.all("datagram").concat()));

    // Any five of the eight of a block give it, so three are lost each time.
    let datagrams: Vec<Vec<u8>> = vector.all("datagram").into_iter().map(hex).collect();
    let payloads: Vec<Vec<u8>> = datagrams
        .into_iter()
        .map(|mut datagram| opener.open(&mut datagram).unwrap().payload.to_vec())
        .collect();
    let now = clock::now();
    for lost in (0_u32..1 << 8).filter(|lost| lost.count_ones() == 3) {
        let mut reassembler = Reassembler::new(Limits { shard_len: 64, ..limits() });
        reassembler.handle_last(FrameIndex(vector.index().0 - 1), now);
        assert!(matches!(reassembler.poll_event(now + STALL, 1), Some(Event::Lost(..))));
        let kept = payloads.iter().enumerate().filter(|(at, _)| lost >> (at % 8) & 1 == 0);
        kept.for_each(|(_, payload)| reassembler.handle_payload(payload, now).unwrap());

        let Some(Event::Unit(unit)) = reassembler.poll_event(now, 1) else { panic!("{lost:b}") };
        assert_eq!((unit.header, unit.prefix), (header, vector.prefix()));
        assert!(unit.bytes == bytes, "{lost:b}");
    }
}

#[test]
fn other_kinds_of_packets_share_the_numbers() {
    let mut pair = Pair::new(shape());
    let mut ping = [0; PACKET_HEADER_LEN + 8 + TAG_LEN];
    pair.packetizer.sealer().seal(Kind::Ping, &mut ping).unwrap();
    let datagrams = pair.send(frame(1, true), b"unit").concat();

    let opened = pair.opener.open(&mut ping).unwrap();

    assert_eq!((opened.kind, opened.number, opened.payload.len()), (Kind::Ping, 0, 8));
    assert_eq!(pair.receive(datagrams), [Told::Unit(1, b"unit".to_vec())]);
    assert_eq!((pair.opener.window().end(), pair.opener.window().missing_count()), (3, 0));
    assert_eq!(Sealer::new(&keys(1)).number(), 0);
}
