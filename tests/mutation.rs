//! Parsers hold what they must, whatever is done to good input. Seeded: every run tries the same.

mod parsers;

use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parsers::{PARSERS, Parser};

/// Where all cases come from.
const SEED: u64 = 0x70e5_7f0a_91d3_4c2b;
/// Bytes of an input at most.
const LEN_MAX: usize = 16 * 1024;
/// Numbers at which something ends, in whatever width they are written.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];
/// Bytes that mean something to one parser or another.
const SIGNS: &[u8] = b"\0\t\n\r \"#%&'/:=?@\\[]{}<>.,-+0129axX\x1b\x7f\x80\xc0\xff";

/// Xorshift. Each case has its own, so that it can be tried alone.
struct Random(u64);

impl Random {
    fn new(parser: &Parser, case: u64) -> Random {
        let name = parser.name.bytes().fold(case, |sum, byte| sum << 5 ^ u64::from(byte));
        let mut random = Random(SEED ^ name.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to one less than `bound`, and 0 where there is nothing else.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 8) as usize % bound.max(1)
    }

    fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }
}

/// One input of one case.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(seeds).clone();
    for _ in 0..=random.below(4) {
        mutate(&mut bytes, seeds, random);
    }
    bytes.truncate(LEN_MAX);
    bytes
}

fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let end = (at + 1 + random.below(16)).min(bytes.len());
    match random.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.next() as u8,
        2 if at < bytes.len() => bytes[at] = *random.pick(SIGNS),
        3 => bytes.insert(at, *random.pick(SIGNS)),
        4 => drop(bytes.drain(at..end)),
        5 => bytes.truncate(at),
        6 => {
            let other = random.pick(seeds);
            let from = random.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        7 => {
            let block = bytes[at..end].repeat(1 + random.below(64));
            bytes.splice(at..at, block);
        }
        _ => {
            let number = *random.pick(&NUMBERS);
            let text = match random.below(3) {
                0 => number.to_string().into_bytes(),
                1 => number.to_be_bytes()[8 - (1 << random.below(4))..].to_vec(),
                _ => format!("{number:x}").into_bytes(),
            };
            bytes.splice(at..end, text);
        }
    }
}

fn run(parser: &Parser, bytes: &[u8], what: &str) {
    if catch_unwind(AssertUnwindSafe(|| (parser.check)(bytes))).is_err() {
        let mut hex = String::new();
        for byte in bytes {
            let _ = write!(hex, "{byte:02x}");
        }
        panic!("parser {}, {what}, seed {SEED:#x}, input {hex}", parser.name);
    }
}

fn try_all(parser: &Parser) {
    let seeds = (parser.seeds)();
    for (index, seed) in seeds.iter().enumerate() {
        run(parser, seed, &format!("seed input {index}"));
    }
    run(parser, b"", "empty input");
    for case in 0..parser.thousands * 1000 {
        let bytes = mutated(&seeds, &mut Random::new(parser, case));
        run(parser, &bytes, &format!("case {case}"));
    }
}

#[test]
fn parsers_hold_what_they_must_whatever_they_are_given() {
    std::thread::scope(|scope| {
        for parser in &PARSERS {
            scope.spawn(|| try_all(parser));
        }
    });
}

#[test]
fn every_parser_has_its_fuzz_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();

    let mut targets: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder.join("targets")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
        assert!(text.contains(&format!("check(\"{name}\", bytes)")), "{name}");
        targets.push(name);
    }

    targets.sort();
    assert_eq!(targets, PARSERS.map(|parser| parser.name));
}
