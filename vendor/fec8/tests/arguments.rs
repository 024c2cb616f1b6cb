//! Wrong arguments are refused by name, whatever they are, and nothing is written then.

mod random;

use fec8::{Code, Error};
use random::Random;

/// What a wrong call may not write to.
const UNTOUCHED: u8 = 0xEE;

#[test]
fn a_code_has_a_shard_of_each_kind_and_at_most_255() {
    let cases: &[(usize, usize, bool)] = &[
        (0, 0, false),
        (0, 1, false),
        (1, 0, false),
        (1, 1, true),
        (254, 1, true),
        (1, 254, true),
        (255, 1, false),
        (128, 128, false),
        (256, 1, false),
        (257, usize::MAX - 256, false),
        (usize::MAX, 1, false),
        (usize::MAX, usize::MAX, false),
    ];

    for &(data_count, parity_count, is_code) in cases {
        let error = Error::Geometry { data_count, parity_count };
        let found = Code::video(data_count, parity_count).map(|code| code.data_count());

        assert_eq!(found, if is_code { Ok(data_count) } else { Err(error) });
    }
}

#[test]
fn parity_wants_all_shards_and_one_length() {
    let shard = |len: usize| vec![UNTOUCHED; len];
    type Lens<'a> = &'a [usize];
    let cases: &[(Lens<'_>, Lens<'_>, Result<(), Error>)] = &[
        (&[5, 5, 5], &[5, 5], Ok(())),
        (&[5, 5], &[5, 5], Err(Error::Count { expected: 3, found: 2 })),
        (&[], &[5, 5], Err(Error::Count { expected: 3, found: 0 })),
        (&[5, 5, 5, 5], &[5, 5], Err(Error::Count { expected: 3, found: 4 })),
        (&[5, 5, 5], &[5], Err(Error::Count { expected: 2, found: 1 })),
        (&[5, 5, 5], &[5, 5, 5], Err(Error::Count { expected: 2, found: 3 })),
        (&[5, 4, 5], &[5, 5], Err(Error::Len { expected: 5, found: 4 })),
        (&[5, 5, 5], &[5, 6], Err(Error::Len { expected: 5, found: 6 })),
        (&[0, 0, 0], &[0, 0], Err(Error::Empty)),
        (&[5, 0, 5], &[5, 5], Err(Error::Len { expected: 5, found: 0 })),
    ];

    for (data, parity, expected) in cases {
        let data: Vec<Vec<u8>> = data.iter().map(|len| vec![1; *len]).collect();
        let mut parity: Vec<Vec<u8>> = parity.iter().map(|len| shard(*len)).collect();

        let found = Code::video(3, 2).unwrap().protect(&data, &mut parity);

        assert_eq!(found, *expected);
        assert_eq!(found.is_err(), parity.concat().iter().all(|byte| *byte == UNTOUCHED));
    }
}

#[test]
fn parity_under_way_keeps_its_length_and_its_count() {
    let mut protector = Code::video(3, 1).unwrap().protector();
    let mut parity = [[0; 4]];
    protector.add(&[[1; 4], [2; 4]], &mut parity).unwrap();

    let longer = protector.add(&[[3; 5]], &mut [[0; 5]]);
    let too_many = protector.add(&[[3; 4], [4; 4]], &mut parity);
    let nothing = protector.add::<[u8; 4], _>(&[], &mut parity);
    let before = parity;
    let last = protector.add(&[[3; 4]], &mut parity);
    let behind = protector.add(&[[3; 4]], &mut parity);

    assert_eq!(longer, Err(Error::Len { expected: 4, found: 5 }));
    assert_eq!(too_many, Err(Error::Count { expected: 1, found: 2 }));
    assert_eq!(nothing, Ok(()));
    assert_eq!(last, Ok(()));
    assert_ne!(before, parity);
    assert_eq!(behind, Err(Error::Count { expected: 0, found: 1 }));
    assert_eq!(protector.left(), 0);
}

#[test]
fn recovery_wants_enough_shards_each_once() {
    type List<'a> = &'a [(usize, usize)];
    let cases: &[(List<'_>, List<'_>, Result<(), Error>)] = &[
        (&[(0, 4), (3, 4), (4, 4)], &[(1, 4), (2, 4)], Ok(())),
        (&[(0, 4), (1, 4), (2, 4)], &[], Ok(())),
        (&[(0, 4), (1, 4)], &[(2, 4)], Err(Error::TooFew { needed: 3, found: 2 })),
        (&[(0, 4), (1, 4)], &[], Err(Error::TooFew { needed: 3, found: 2 })),
        (&[], &[(0, 4)], Err(Error::TooFew { needed: 3, found: 0 })),
        (&[(0, 4), (0, 4), (3, 4)], &[(1, 4)], Err(Error::Duplicate(0))),
        (&[(0, 4), (3, 4), (3, 4)], &[(1, 4)], Err(Error::Duplicate(3))),
        (&[(0, 4), (1, 4), (3, 4)], &[(1, 4)], Err(Error::Duplicate(1))),
        (&[(0, 4), (3, 4), (4, 4)], &[(1, 4), (1, 4)], Err(Error::Duplicate(1))),
        (&[(0, 4), (1, 4), (5, 4)], &[(2, 4)], Err(Error::Index(5))),
        (&[(0, 4), (1, 4), (usize::MAX, 4)], &[(2, 4)], Err(Error::Index(usize::MAX))),
        (&[(0, 4), (1, 4), (3, 4)], &[(3, 4)], Err(Error::Index(3))),
        (&[(0, 4), (1, 4), (3, 4)], &[(255, 4)], Err(Error::Index(255))),
        (&[(0, 4), (1, 3), (3, 4)], &[(2, 4)], Err(Error::Len { expected: 4, found: 3 })),
        (&[(0, 4), (1, 4), (3, 4)], &[(2, 5)], Err(Error::Len { expected: 4, found: 5 })),
        (&[(0, 0), (1, 0), (3, 0)], &[(2, 0)], Err(Error::Empty)),
    ];

    for (received, lost, expected) in cases {
        let received: Vec<(usize, Vec<u8>)> =
            received.iter().map(|(index, len)| (*index, vec![1; *len])).collect();
        let mut lost: Vec<(usize, Vec<u8>)> =
            lost.iter().map(|(index, len)| (*index, vec![UNTOUCHED; *len])).collect();

        let found = Code::video(3, 2).unwrap().recover(&received, &mut lost);

        assert_eq!(found, *expected, "{received:?} {lost:?}");
        if found.is_err() {
            assert!(lost.iter().all(|(_, shard)| shard.iter().all(|byte| *byte == UNTOUCHED)));
        }
    }
}

/// What the answer has to be, by another way of asking.
fn may_recover(code: Code, received: &[(usize, Vec<u8>)], lost: &[(usize, Vec<u8>)]) -> bool {
    let end = code.data_count() + code.parity_count();
    let mut indices: Vec<usize> = received.iter().chain(lost).map(|(index, _)| *index).collect();
    let count = indices.len();
    indices.sort_unstable();
    indices.dedup();
    let len = received.first().map_or(0, |(_, shard)| shard.len());
    len > 0
        && indices.len() == count
        && received.len() >= code.data_count()
        && received.iter().all(|(index, _)| *index < end)
        && lost.iter().all(|(index, _)| *index < code.data_count())
        && received.iter().chain(lost).all(|(_, shard)| shard.len() == len)
}

#[test]
fn nothing_makes_it_panic() {
    let random = &mut Random(8);
    let mut good = 0;
    for round in 0..20_000 {
        let code = match random.below(4) {
            0 => Code::audio(),
            _ => Code::video(1 + random.below(7), 1 + random.below(5)).unwrap(),
        };
        let n = code.data_count() + code.parity_count();
        let len = random.below(70);
        let mut indices: Vec<usize> = (0..n).collect();
        random.shuffle(&mut indices);
        let (lost, received): (Vec<usize>, Vec<usize>) =
            indices.iter().partition(|index| random.below(4) == 0 && **index < code.data_count());
        let mut lists = [received, lost]
            .map(|list| list.into_iter().map(|i| (i, vec![7_u8; len])).collect::<Vec<_>>());
        // Up to two mistakes.
        for _ in 0..random.below(3) {
            let list = &mut lists[random.below(2)];
            let index = random.below(n + 2);
            let at = random.below(list.len().max(1));
            match (random.below(5), list.get_mut(at)) {
                (0, Some(shard)) => shard.0 = index,
                (1, Some(shard)) => shard.0 = random.next() as usize,
                (2, Some(shard)) => shard.1 = vec![7; random.below(70)],
                (3, Some(_)) => drop(list.remove(at)),
                (_, _) => list.push((index, vec![7; len])),
            }
        }
        let [received, mut lost] = lists;

        let expected = may_recover(code, &received, &lost);
        let found = code.recover(&received, &mut lost);

        assert_eq!(found.is_ok(), expected, "round {round}: {code:?} {received:?} {lost:?}");
        good += u32::from(expected);
    }
    assert!((2_000..18_000).contains(&good), "{good} good calls");
}

#[test]
fn errors_read_as_phrases() {
    let cases = [
        (Error::Count { expected: 3, found: 2 }, "2 shards instead of 3"),
        (Error::Duplicate(7), "shard 7 twice"),
        (Error::Empty, "shard of no bytes"),
        (
            Error::Geometry { data_count: 0, parity_count: 1 },
            "no code of 0 data and 1 parity shards",
        ),
        (Error::Index(9), "shard 9 out of range"),
        (Error::Len { expected: 3, found: 2 }, "shard of 2 bytes instead of 3"),
        (Error::TooFew { needed: 3, found: 2 }, "2 shards of 3 needed"),
        (Error::Backend(fec8::Backend::Neon), "no NEON on this machine"),
    ];

    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
    }
}
