//! The stock Moonlight client's own code decodes what is protected here, and the other way round.

mod random;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use fec8::Code;
use random::Random;

/// The client's library, in a process of its own.
struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Client {
    fn new() -> Client {
        let python = root().join("tests/.venv/bin/python");
        assert!(python.exists(), "tests/.venv is not there: run scripts/setup test");
        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/moonlight/peer.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Client { child, input, output }
    }

    /// The shards that it answers with.
    #[track_caller]
    fn ask(&mut self, verb: &str, code: Code, shards: &[Option<&[u8]>]) -> Vec<Vec<u8>> {
        let name = if code == Code::audio() { "audio" } else { "video" };
        let words: Vec<String> = shards.iter().map(|shard| word(*shard)).collect();
        let (k, m) = (code.data_count(), code.parity_count());
        writeln!(self.input, "{verb} {name} {k} {m} {}", words.join(" ")).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "no answer to {verb} {name} {k} {m}");
        line.split_whitespace().map(bytes).collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may be gone already, which its answers have told.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Of the repository, in which scripts/setup makes the Python environment.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn word(shard: Option<&[u8]>) -> String {
    match shard {
        Some(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        None => "-".to_owned(),
    }
}

fn bytes(word: &str) -> Vec<u8> {
    (0..word.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&word[at..at + 2], 16).unwrap())
        .collect()
}

/// What is tried: audio, and video as a host makes it, small, large and odd.
fn codes() -> Vec<Code> {
    let video = [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
        (3, 2),
        (4, 2),
        (5, 4),
        (20, 4),
        (33, 7),
        (64, 13),
        (100, 100),
        (200, 40),
        (212, 43),
        (254, 1),
        (1, 254),
    ];
    let video = video.into_iter().map(|(k, m)| Code::video(k, m).unwrap());
    [Code::audio()].into_iter().chain(video).collect()
}

fn data(code: Code, len: usize, random: &mut Random) -> Vec<Vec<u8>> {
    (0..code.data_count()).map(|_| random.bytes(len)).collect()
}

/// Loses as many shards as may be lost, or fewer, at random. At least one data shard is among them.
fn lose(code: Code, random: &mut Random) -> Vec<bool> {
    let (k, n) = (code.data_count(), code.data_count() + code.parity_count());
    let mut order: Vec<usize> = (0..n).collect();
    random.shuffle(&mut order);
    let first = order.iter().position(|index| *index < k).unwrap();
    order.swap(0, first);
    let count = 1 + random.below(code.parity_count());
    (0..n).map(|index| order[..count].contains(&index)).collect()
}

#[test]
fn the_client_makes_the_same_parity() {
    let random = &mut Random(9);
    let mut client = Client::new();
    for code in codes() {
        for len in [1, 16, 63, 1000 + random.below(393)] {
            let data = data(code, len, random);
            let mut parity = vec![vec![0; len]; code.parity_count()];
            code.protect(&data, &mut parity).unwrap();

            let mut shards: Vec<Option<&[u8]>> = data.iter().map(|it| Some(&it[..])).collect();
            shards.resize(code.data_count() + code.parity_count(), None);
            let theirs = client.ask("protect", code, &shards);

            assert!(theirs == parity, "{code:?}, {len} bytes");
        }
    }
}

#[test]
fn the_client_recovers_what_is_protected_here() {
    let random = &mut Random(10);
    let mut client = Client::new();
    for code in codes() {
        for len in [1, 63, 1000 + random.below(393)] {
            let data = data(code, len, random);
            let mut parity = vec![vec![0; len]; code.parity_count()];
            code.protect(&data, &mut parity).unwrap();
            let is_lost = lose(code, random);

            let shards: Vec<Option<&[u8]>> = data
                .iter()
                .chain(&parity)
                .zip(&is_lost)
                .map(|(shard, is_lost)| (!is_lost).then_some(&shard[..]))
                .collect();
            let theirs = client.ask("recover", code, &shards);

            assert!(theirs == data, "{code:?}, {len} bytes, lost {is_lost:?}");
        }
    }
}

#[test]
fn what_the_client_protects_is_recovered_here() {
    let random = &mut Random(11);
    let mut client = Client::new();
    for code in codes() {
        for len in [1, 63, 1000 + random.below(393)] {
            let data = data(code, len, random);
            let mut shards: Vec<Option<&[u8]>> = data.iter().map(|it| Some(&it[..])).collect();
            shards.resize(code.data_count() + code.parity_count(), None);
            let parity = client.ask("protect", code, &shards);
            let is_lost = lose(code, random);

            let block: Vec<&Vec<u8>> = data.iter().chain(&parity).collect();
            let received: Vec<(usize, &Vec<u8>)> =
                (0..block.len()).filter(|i| !is_lost[*i]).map(|i| (i, block[i])).collect();
            let mut lost: Vec<(usize, Vec<u8>)> = (0..code.data_count())
                .filter(|index| is_lost[*index])
                .map(|index| (index, vec![0; len]))
                .collect();
            code.recover(&received, &mut lost).unwrap();

            for (index, shard) in lost {
                assert!(shard == data[index], "{code:?}, {len} bytes, shard {index}");
            }
        }
    }
}
