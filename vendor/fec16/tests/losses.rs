//! What is lost is recovered.

mod random;

use fec16::{Backend, Code, Method, Protector, Recoverer, Workspace};
use random::Random;

/// A block of random data with its parity.
fn block(code: Code, len: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let mut block: Vec<Vec<u8>> = (0..code.data_count()).map(|_| random.bytes(len)).collect();
    let mut parity: Vec<Vec<u8>> = (0..code.parity_count()).map(|_| random.bytes(len)).collect();
    code.protect(&mut Workspace::new(code), &block, &mut parity).unwrap();
    block.append(&mut parity);
    block
}

/// Recovers what is missing from the shards with these indices, in this order.
#[track_caller]
fn recovers(code: Code, workspace: &mut Workspace, block: &[Vec<u8>], at_hand: &[usize]) {
    let mut is_here = vec![false; block.len()];
    at_hand.iter().for_each(|index| is_here[*index] = true);
    let received: Vec<(usize, &[u8])> =
        at_hand.iter().map(|index| (*index, block[*index].as_slice())).collect();
    let mut lost: Vec<(usize, Vec<u8>)> = (0..code.data_count())
        .filter(|index| !is_here[*index])
        .map(|index| (index, vec![0xEE; block[0].len()]))
        .collect();

    code.recover(workspace, &received, &mut lost).unwrap();
    for (index, shard) in &lost {
        assert!(*shard == block[*index], "shard {index} of {code:?} from {at_hand:?}");
    }
    for method in [Method::Direct, Method::Syndrome, Method::Transform] {
        // Some of the lost shards are not wanted, and those that are come in another order.
        let mut wanted: Vec<(usize, Vec<u8>)> =
            lost.iter().rev().step_by(2).map(|(i, shard)| (*i, vec![0; shard.len()])).collect();
        code.recover_by(method, workspace, &received, &mut wanted).unwrap();
        for (index, shard) in &wanted {
            assert!(*shard == block[*index], "{method:?}: shard {index} of {code:?}");
        }
    }
}

fn indices(bits: u32) -> Vec<usize> {
    (0..32).filter(|index| bits >> index & 1 == 1).collect()
}

#[test]
fn small_blocks_are_recovered_from_every_set_of_enough_shards() {
    for k in 1..=8 {
        for m in 1..=12 - k.max(4) {
            let code = Code::new(k, m).unwrap();
            let workspace = &mut Workspace::new(code);
            let block = block(code, 64, &mut Random(1));
            for bits in (0..1_u32 << (k + m)).filter(|bits| bits.count_ones() as usize >= k) {
                let mut at_hand = indices(bits);
                recovers(code, workspace, &block, &at_hand);
                at_hand.reverse();
                recovers(code, workspace, &block, &at_hand);
            }
        }
    }
}

#[test]
fn every_back_end_recovers_random_blocks_from_random_shards() {
    let random = &mut Random(2);
    for _ in 0..60 {
        let m = 1 + (random.below(1 << 20) >> random.below(20)) % 300;
        let k = 1 + (random.below(1 << 20) >> random.below(20)) % 1500;
        for backend in Backend::ALL {
            let Ok(code) = Code::new(k, m).unwrap().with_backend(backend) else { continue };
            let workspace = &mut Workspace::new(code);
            let block = block(code, 64 * (1 + random.below(5)), random);
            for _ in 0..4 {
                // Some lost, of any shards, or only of the data, or only early ones.
                let lost = random.below(m + 1);
                let mut order: Vec<usize> = (0..k + m).collect();
                match random.below(3) {
                    0 => random.shuffle(&mut order),
                    1 => random.shuffle(&mut order[..k]),
                    _ => {}
                }
                let mut at_hand = order.split_off(lost);
                random.shuffle(&mut at_hand);
                recovers(code, workspace, &block, &at_hand);
            }
        }
    }
}

#[test]
fn parity_is_the_same_in_pieces() {
    let random = &mut Random(4);
    for backend in Backend::ALL {
        let Ok(largest) = Code::new(400, 130).unwrap().with_backend(backend) else { continue };
        let mut protector = Protector::new(largest, 2 * 1280).unwrap();
        for _ in 0..12 {
            let code = Code::new(1 + random.below(400), 1 + random.below(130)).unwrap();
            let code = code.with_backend(backend).unwrap();
            let len = 64 * (1 + random.below(40));
            let block = block(code, len, random);
            let k = code.data_count();
            let mut parity: Vec<Vec<u8>> =
                (0..code.parity_count()).map(|_| random.bytes(len)).collect();

            protector.begin(code, len).unwrap();
            while protector.left() > 0 {
                let first = k - protector.left();
                let count = (1 + random.below(200)).min(protector.left());
                protector.add(&block[first..first + count]).unwrap();
            }
            protector.finish(&mut parity).unwrap();

            assert!(parity == block[k..], "{code:?} {len}");
        }
    }
}

#[test]
fn lost_shards_are_recovered_as_others_arrive() {
    let random = &mut Random(5);
    for backend in Backend::ALL {
        let Ok(largest) = Code::new(400, 130).unwrap().with_backend(backend) else { continue };
        let mut recoverer = Recoverer::new(largest, 2 * 1280).unwrap();
        for _ in 0..12 {
            let code = Code::new(1 + random.below(400), 1 + random.below(130)).unwrap();
            let code = code.with_backend(backend).unwrap();
            let (k, m) = (code.data_count(), code.parity_count());
            let len = 64 * (1 + random.below(40));
            let block = block(code, len, random);
            let mut order: Vec<usize> = (0..k + m).collect();
            random.shuffle(&mut order);
            let missing = order.split_off(k + random.below(m + 1));
            order.sort_unstable();

            recoverer.begin(code, len).unwrap();
            for run in order.chunk_by(|a, b| a + 1 == *b).filter(|run| run[run.len() - 1] < k) {
                if random.below(3) > 0 {
                    recoverer.add(run[0], &block[run[0]..run[0] + run.len()]).unwrap();
                }
            }
            let received: Vec<(usize, &[u8])> =
                order.iter().map(|i| (*i, &block[*i][..])).collect();
            let mut lost: Vec<(usize, Vec<u8>)> =
                missing.iter().filter(|i| **i < k).map(|i| (*i, vec![0xEE; len])).collect();
            recoverer.finish(&received, &mut lost).unwrap();

            for (index, shard) in &lost {
                assert!(*shard == block[*index], "shard {index} of {code:?}, {len} bytes");
            }
        }
    }
}

#[test]
fn shards_lie_anywhere_in_one_buffer() {
    // Packets of 149 bytes with the shard from byte 21 on, the parity behind the data.
    let code = Code::new(5, 2).unwrap();
    let workspace = &mut Workspace::new(code);
    let mut buffer = Random(7).bytes(7 * 149);
    let before = buffer.clone();

    let mut shards: Vec<&mut [u8]> =
        buffer.chunks_mut(149).map(|packet| &mut packet[21..]).collect();
    let (data, parity) = shards.split_at_mut(5);
    code.protect(workspace, data, parity).unwrap();

    for (index, (packet, before)) in buffer.chunks(149).zip(before.chunks(149)).enumerate() {
        assert_eq!(packet[..21], before[..21]);
        assert_eq!(packet[21..] == before[21..], index < 5);
    }
    let complete = buffer.clone();
    let mut shards: Vec<&mut [u8]> =
        buffer.chunks_mut(149).map(|packet| &mut packet[21..]).collect();
    let (first, others) = shards.split_at_mut(2);
    first.iter_mut().for_each(|shard| shard.fill(0));
    let received: Vec<(usize, &[u8])> =
        others.iter().enumerate().map(|(at, shard)| (at + 2, &**shard)).collect();
    let [a, b] = first else { unreachable!() };
    code.recover(workspace, &received, &mut [(1, &mut **b), (0, &mut **a)]).unwrap();
    assert!(buffer == complete);
}
