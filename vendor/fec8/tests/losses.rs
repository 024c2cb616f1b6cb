//! What is lost is recovered.

mod random;

use fec8::{Backend, Code};
use random::Random;

/// A block of random data with its parity.
fn block(code: Code, len: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let mut block: Vec<Vec<u8>> = (0..code.data_count()).map(|_| random.bytes(len)).collect();
    let mut parity: Vec<Vec<u8>> = (0..code.parity_count()).map(|_| random.bytes(len)).collect();
    code.protect(&block, &mut parity).unwrap();
    block.append(&mut parity);
    block
}

/// Recovers what is missing from the shards with these indices, in this order.
#[track_caller]
fn recovers(code: Code, block: &[Vec<u8>], at_hand: &[usize]) {
    let received: Vec<(usize, &[u8])> =
        at_hand.iter().map(|index| (*index, block[*index].as_slice())).collect();
    let mut lost: Vec<(usize, Vec<u8>)> = (0..code.data_count())
        .filter(|index| !at_hand.contains(index))
        .map(|index| (index, vec![0xEE; block[0].len()]))
        .collect();

    code.recover(&received, &mut lost).unwrap();

    for (index, shard) in &lost {
        assert!(*shard == block[*index], "shard {index} of {code:?} from {at_hand:?}");
    }
}

fn indices(bits: u32) -> Vec<usize> {
    (0..32).filter(|index| bits >> index & 1 == 1).collect()
}

/// Every set of k shards or more.
#[track_caller]
fn recovers_from_every_set(code: Code) {
    let (k, n) = (code.data_count(), code.data_count() + code.parity_count());
    let block = block(code, 3, &mut Random(1));
    for bits in (0..1_u32 << n).filter(|bits| bits.count_ones() as usize >= k) {
        let mut at_hand = indices(bits);
        recovers(code, &block, &at_hand);
        at_hand.reverse();
        recovers(code, &block, &at_hand);
    }
}

#[test]
fn video_is_recovered_from_every_set_of_enough_shards() {
    for k in 1..=8 {
        for m in 1..=12 - k.max(4) {
            recovers_from_every_set(Code::video(k, m).unwrap());
        }
    }
}

#[test]
fn audio_is_recovered_from_every_set_of_enough_shards() {
    recovers_from_every_set(Code::audio());
}

#[test]
fn every_back_end_recovers_large_blocks_in_any_order() {
    let random = &mut Random(2);
    for (k, m) in [(1, 254), (254, 1), (64, 13), (200, 40), (128, 127), (33, 7), (212, 43), (4, 2)]
    {
        for backend in Backend::ALL {
            let Ok(code) = Code::video(k, m).unwrap().with_backend(backend) else { continue };
            let block = block(code, 1 + random.below(200), random);
            for _ in 0..6 {
                let mut at_hand: Vec<usize> = (0..k + m).collect();
                random.shuffle(&mut at_hand);
                at_hand.truncate(k + random.below(m + 1));
                recovers(code, &block, &at_hand);
            }
        }
    }
}

#[test]
fn shards_longer_than_a_tile_are_recovered() {
    let random = &mut Random(3);
    for backend in Backend::ALL {
        let Ok(code) = Code::video(40, 9).unwrap().with_backend(backend) else { continue };
        for len in [2047, 2048, 2049, 4096 + 17, 10_000] {
            let block = block(code, len, random);
            recovers(code, &block, &(9..49).collect::<Vec<_>>());
        }
    }
}

#[test]
fn parity_is_the_same_in_pieces() {
    let random = &mut Random(4);
    for backend in Backend::ALL {
        let Ok(code) = Code::video(70, 13).unwrap().with_backend(backend) else { continue };
        for len in [1, 31, 1392, 2100] {
            let block = block(code, len, random);
            let mut parity: Vec<Vec<u8>> = (0..13).map(|_| random.bytes(len)).collect();

            let mut protector = code.protector();
            while protector.left() > 0 {
                let first = 70 - protector.left();
                let count = (1 + random.below(40)).min(protector.left());
                protector.add(&block[first..first + count], &mut parity).unwrap();
            }

            assert!(parity == block[70..], "{backend} {len}");
        }
    }
}

#[test]
fn every_back_end_gives_the_same_parity() {
    let random = &mut Random(5);
    for _ in 0..150 {
        let k = 1 + random.below(254);
        let m = 1 + random.below((255 - k).min(30));
        let len = 1 + random.below(300);
        let code = Code::video(k, m).unwrap();
        let seed = random.next();
        let blocks = Backend::ALL.into_iter().filter_map(|backend| code.with_backend(backend).ok());
        let mut blocks = blocks.map(|code| block(code, len, &mut Random(seed)));

        let first = blocks.next().unwrap();

        assert!(blocks.all(|other| other == first), "{k}+{m} of {len} bytes");
    }
}

#[test]
fn only_what_is_wanted_is_recovered() {
    let code = Code::video(6, 3).unwrap();
    let block = block(code, 100, &mut Random(6));
    let received = [1, 3, 5, 6, 7, 8].map(|index| (index, &block[index]));

    let mut lost = [(4, vec![0; 100])];
    code.recover(&received, &mut lost).unwrap();

    assert_eq!(lost[0].1, block[4]);
}

#[test]
fn shards_lie_anywhere_in_one_buffer() {
    // Packets of 101 bytes with the shard from byte 24 on, the parity behind the data.
    let code = Code::video(5, 2).unwrap();
    let mut buffer = Random(7).bytes(7 * 101);
    let before = buffer.clone();

    let mut shards: Vec<&mut [u8]> =
        buffer.chunks_mut(101).map(|packet| &mut packet[24..]).collect();
    let (data, parity) = shards.split_at_mut(5);
    code.protect(data, parity).unwrap();
    let parity: Vec<Vec<u8>> = parity.iter().map(|shard| shard.to_vec()).collect();

    for (index, (packet, before)) in buffer.chunks(101).zip(before.chunks(101)).enumerate() {
        assert_eq!(packet[..24], before[..24]);
        assert_eq!(packet[24..], *if index < 5 { &before[24..] } else { &parity[index - 5] });
    }
    let received = [(0, &buffer[24..101]), (6, &parity[1]), (3, &buffer[327..404])];
    let more = [(5, &parity[0][..]), (1, &buffer[125..202])];
    let mut lost = [(2, [0; 77]), (4, [0; 77])];
    code.recover(&[&received[..], &more].concat(), &mut lost).unwrap();
    assert_eq!(lost[0].1, buffer[226..303]);
    assert_eq!(lost[1].1, buffer[428..505]);
}
