//! Wrong arguments are refused, and nothing is written then.

mod random;

use fec16::{Backend, Code, Error, Method, Protector, Recoverer, Workspace};
use random::Random;

const UNTOUCHED: u8 = 0xA5;

#[test]
fn codes_have_a_shard_of_each_kind_and_places_for_all() {
    let cases = [
        (1, 1, true),
        (0, 1, false),
        (1, 0, false),
        (65_535, 1, true),
        (65_536, 1, false),
        (65_534, 2, true),
        (32_768, 32_768, true),
        (32_769, 32_768, false),
        (1, 32_769, false),
        (40_000, 20_000, false),
        (usize::MAX, 1, false),
        (1, usize::MAX, false),
    ];

    for (data_count, parity_count, is_code) in cases {
        let error = Error::Geometry { data_count, parity_count };
        assert_eq!(Code::new(data_count, parity_count).err(), (!is_code).then_some(error));
    }
}

#[test]
fn back_ends_of_other_machines_are_refused() {
    let code = Code::new(3, 2).unwrap();

    for backend in Backend::ALL {
        let found = code.with_backend(backend).map(|code| code.backend());
        let expected =
            if backend.is_available() { Ok(backend) } else { Err(Error::Backend(backend)) };
        assert_eq!(found, expected);
    }
}

fn memory(lens: &[usize]) -> Vec<Vec<u8>> {
    lens.iter().map(|len| vec![UNTOUCHED; *len]).collect()
}

#[test]
fn protection_wants_all_shards_in_one_length() {
    type Lens<'a> = &'a [usize];
    let cases: &[(Lens<'_>, Lens<'_>, Result<(), Error>)] = &[
        (&[64, 64, 64], &[64, 64], Ok(())),
        (&[64, 64], &[64, 64], Err(Error::Count { expected: 3, found: 2 })),
        (&[64, 64, 64, 64], &[64, 64], Err(Error::Count { expected: 3, found: 4 })),
        (&[64, 64, 64], &[64], Err(Error::Count { expected: 2, found: 1 })),
        (&[64, 64, 64], &[], Err(Error::Count { expected: 2, found: 0 })),
        (&[64, 128, 64], &[64, 64], Err(Error::Len { expected: 64, found: 128 })),
        (&[64, 64, 64], &[64, 0], Err(Error::Len { expected: 64, found: 0 })),
        (&[0, 0, 0], &[0, 0], Err(Error::Len { expected: 0, found: 0 })),
        (&[63, 63, 63], &[63, 63], Err(Error::Len { expected: 0, found: 63 })),
        (&[96, 96, 96], &[96, 96], Err(Error::Len { expected: 0, found: 96 })),
    ];
    let code = Code::new(3, 2).unwrap();

    for (data, parity, expected) in cases {
        let (data, mut parity) = (memory(data), memory(parity));

        let found = code.protect(&mut Workspace::new(code), &data, &mut parity);

        assert_eq!(found, *expected);
        assert!(found.is_ok() || parity.concat().iter().all(|byte| *byte == UNTOUCHED));
    }
}

#[test]
fn memory_of_a_smaller_code_is_refused() {
    let small = &mut Workspace::new(Code::new(3, 2).unwrap());
    let shards = memory(&[64; 4]);

    for (k, m) in [(4, 2), (3, 3)] {
        let code = Code::new(k, m).unwrap();
        let mut parity = memory(&vec![64; m]);
        let received: Vec<(usize, &[u8])> = (1..=k).map(|i| (i, &shards[0][..])).collect();
        let found = code.protect(small, &shards[..k], &mut parity);
        assert_eq!(found, Err(Error::Memory));
        let found = code.recover(small, &received, &mut [(0, vec![0; 64])]);
        assert_eq!(found, Err(Error::Memory));
    }
}

#[test]
fn recovery_wants_enough_shards_each_once() {
    type List<'a> = &'a [(usize, usize)];
    let cases: &[(List<'_>, List<'_>, Result<(), Error>)] = &[
        (&[(0, 64), (3, 64), (4, 64)], &[(1, 64), (2, 64)], Ok(())),
        (&[(0, 64), (1, 64), (2, 64)], &[], Ok(())),
        (&[(0, 64), (1, 64)], &[(2, 64)], Err(Error::TooFew { needed: 3, found: 2 })),
        (&[], &[(0, 64)], Err(Error::TooFew { needed: 3, found: 0 })),
        (&[(0, 64), (0, 64), (3, 64)], &[(1, 64)], Err(Error::Duplicate(0))),
        (&[(0, 64), (3, 64), (3, 64)], &[(1, 64)], Err(Error::Duplicate(3))),
        (&[(0, 64), (1, 64), (3, 64)], &[(1, 64)], Err(Error::Duplicate(1))),
        (&[(0, 64), (3, 64), (4, 64)], &[(1, 64), (1, 64)], Err(Error::Duplicate(1))),
        (&[(0, 64), (1, 64), (5, 64)], &[(2, 64)], Err(Error::Index(5))),
        (&[(0, 64), (1, 64), (usize::MAX, 64)], &[(2, 64)], Err(Error::Index(usize::MAX))),
        (&[(0, 64), (1, 64), (3, 64)], &[(3, 64)], Err(Error::Index(3))),
        (&[(0, 64), (1, 128), (3, 64)], &[(2, 64)], Err(Error::Len { expected: 64, found: 128 })),
        (&[(0, 64), (1, 64), (3, 64)], &[(2, 0)], Err(Error::Len { expected: 64, found: 0 })),
        (&[(0, 65), (1, 65), (3, 65)], &[(2, 65)], Err(Error::Len { expected: 0, found: 65 })),
    ];
    let code = Code::new(3, 2).unwrap();
    // The memory is for a larger code, whose numbers must not be taken for those of this one.
    let workspace = &mut Workspace::new(Code::new(30, 20).unwrap());

    for (received, lost, expected) in cases {
        let with = |byte: u8, list: List<'_>| -> Vec<(usize, Vec<u8>)> {
            list.iter().map(|(index, len)| (*index, vec![byte; *len])).collect()
        };
        let received = with(0, received);
        for method in [None, Some(Method::Direct), Some(Method::Syndrome), Some(Method::Transform)]
        {
            let mut lost = with(UNTOUCHED, lost);

            let found = match method {
                None => code.recover(workspace, &received, &mut lost),
                Some(method) => code.recover_by(method, workspace, &received, &mut lost),
            };

            assert_eq!(found, *expected, "{lost:?}");
            let byte = if found.is_ok() { 0 } else { UNTOUCHED };
            assert!(lost.iter().all(|(_, shard)| shard.iter().all(|found| *found == byte)));
        }
    }
}

#[test]
fn parity_under_way_keeps_its_length_and_its_count() {
    let code = Code::new(3, 1).unwrap();
    let mut protector = Protector::new(code, 128).unwrap();
    let shard = [7_u8; 64];

    assert_eq!(Protector::new(code, 100).err(), Some(Error::Len { expected: 0, found: 100 }));
    assert_eq!(protector.begin(code, 192), Err(Error::Memory));
    assert_eq!(protector.begin(Code::new(3, 2).unwrap(), 64), Err(Error::Memory));
    protector.begin(code, 64).unwrap();
    protector.add(&[shard, shard]).unwrap();
    assert_eq!(protector.add(&[[7_u8; 128]]), Err(Error::Len { expected: 64, found: 128 }));
    assert_eq!(protector.add(&[shard; 2]), Err(Error::Count { expected: 1, found: 2 }));
    let early = protector.finish(&mut [[0; 64]]);
    assert_eq!(early, Err(Error::TooFew { needed: 3, found: 2 }));
    protector.add(&[shard]).unwrap();
    let other = protector.finish(&mut [[0; 128]]);
    assert_eq!(other, Err(Error::Len { expected: 64, found: 128 }));
    let mut parity = [[0; 64]];
    protector.finish(&mut parity).unwrap();
    assert_eq!(parity, [shard]);
}

#[test]
fn recovery_under_way_takes_every_shard_once() {
    let code = Code::new(3, 2).unwrap();
    let mut recoverer = Recoverer::new(code, 64).unwrap();
    let shard = [7_u8; 64];

    recoverer.add(1, &[shard]).unwrap();
    assert_eq!(recoverer.add(0, &[shard, shard]), Err(Error::Duplicate(1)));
    assert_eq!(recoverer.add(2, &[shard, shard]), Err(Error::Index(3)));
    assert_eq!(recoverer.add(usize::MAX, &[shard]), Err(Error::Index(usize::MAX)));
    let received = [(0, shard), (3, shard), (4, shard)];
    let found = recoverer.finish(&received, &mut [(2, [0; 64])]);
    assert_eq!(found, Err(Error::Withdrawn(1)));
}

#[test]
fn nothing_makes_it_panic() {
    let random = &mut Random(8);
    let mut good = 0;
    for _ in 0..10_000 {
        let code = Code::new(1 + random.below(9), 1 + random.below(6)).unwrap();
        let (k, n) = (code.data_count(), code.data_count() + code.parity_count());
        let mut indices: Vec<usize> = (0..n).collect();
        random.shuffle(&mut indices);
        let (lost, received): (Vec<usize>, Vec<usize>) =
            indices.iter().partition(|index| random.below(4) == 0 && **index < k);
        let mut lists = [received, lost]
            .map(|list| list.into_iter().map(|i| (i, vec![7_u8; 64])).collect::<Vec<_>>());
        for _ in 0..random.below(3) {
            let list = &mut lists[random.below(2)];
            let index = random.below(n + 2);
            let at = random.below(list.len().max(1));
            match (random.below(5), list.get_mut(at)) {
                (0, Some(shard)) => shard.0 = index,
                (1, Some(shard)) => shard.0 = random.next() as usize,
                (2, Some(shard)) => shard.1 = vec![7; random.below(130)],
                (3, Some(_)) => drop(list.remove(at)),
                (_, _) => list.push((index, vec![7; 64])),
            }
        }
        let [received, mut lost] = lists;

        good += u32::from(code.recover(&mut Workspace::new(code), &received, &mut lost).is_ok());
    }
    assert!((1_000..9_000).contains(&good), "{good} good calls");
}

#[test]
fn errors_read_as_phrases() {
    let cases = [
        (Error::Backend(Backend::Neon), "no NEON on this machine"),
        (Error::Count { expected: 3, found: 2 }, "2 shards instead of 3"),
        (Error::Duplicate(7), "shard 7 twice"),
        (
            Error::Geometry { data_count: 0, parity_count: 1 },
            "no code of 0 data and 1 parity shards",
        ),
        (Error::Index(9), "shard 9 out of range"),
        (Error::Len { expected: 64, found: 2 }, "shard of 2 bytes instead of 64"),
        (Error::Len { expected: 0, found: 2 }, "shard of 2 bytes, no positive multiple of 64"),
        (Error::Memory, "code or shards larger than the memory taken"),
        (Error::TooFew { needed: 3, found: 2 }, "2 shards of 3 needed"),
        (Error::Withdrawn(4), "shard 4 added and not received"),
    ];

    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
    }
}
