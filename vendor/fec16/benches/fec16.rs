//! What parity and recovery cost, beside reed-solomon-simd and a copy of the data.
//!
//! Run by `RUSTFLAGS='-C target-cpu=native' cargo bench -p fec16 --bench fec16`: the contender is
//! then compiled for the processor, while this crate asks it at run time either way. A number
//! behind `--` is the only K that is measured. Contenders take turns, each after a run that is not
//! measured, and the best of all turns counts. At the end is what was aimed at and what came of it.

use std::hint::black_box;
use std::time::Duration;

use fec16::{Backend, Code, Method, TABLES_LEN, Workspace};
use reed_solomon_erasure::galois_8::ReedSolomon;
use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{HighRateDecoder, HighRateEncoder, RateDecoder, RateEncoder};

const SHARD_LEN: usize = 1280;
/// Shards begin this far apart, as in packets with headers.
const STRIDE: usize = 1316;
const TURNS: usize = 9;

const DATA_COUNTS: [usize; 6] = [64, 200, 400, 1000, 4000, 20_000];
const PARITY_PERCENTS: [usize; 4] = [10, 20, 25, 50];

fn main() {
    let mut goals = Goals::default();
    first_use(&mut goals);
    let only: Option<usize> = std::env::args().find_map(|argument| argument.parse().ok());
    for k in DATA_COUNTS.into_iter().filter(|k| only.is_none_or(|only| only == *k)) {
        for percent in PARITY_PERCENTS {
            block(k, percent, &mut goals);
        }
    }
    if only.is_none() {
        methods(&mut goals);
    }
    gf8(&mut goals);
    goals.print();
}

/// The methods of recovery against the one that is chosen: how much slower than the best that is.
fn methods(goals: &mut Goals) {
    for (k, m) in [(8, 2), (20, 5), (64, 13), (200, 40), (400, 80), (1000, 200)] {
        let (mut data, mut parity, mut found) = (vec![], vec![], vec![]);
        let data: Vec<&[u8]> = shards(&mut data, k).into_iter().map(|shard| &*shard).collect();
        let mut parity = shards(&mut parity, m);
        let mut found = shards(&mut found, m);
        let code = Code::new(k, m).unwrap();
        let workspace = &mut Workspace::new(code);
        code.protect(workspace, &data, &mut parity).unwrap();
        for lost in [1, 2, 3, 4, 6, 8, 12, 20, 40, 80, 200].into_iter().filter(|lost| *lost <= m) {
            let (received, mut results) = loss(&data, &parity, lost, found.iter_mut());
            let mut race = Race::new(k);
            for _ in 0..TURNS {
                race.turn(0, || code.recover(workspace, &received, &mut results).unwrap());
                for (contender, method) in (1..).zip(METHODS) {
                    race.turn(contender, || {
                        code.recover_by(method, workspace, &received, &mut results).unwrap();
                    });
                }
            }
            let [chosen, methods @ ..] = race.best;
            let best = methods.into_iter().fold(f64::INFINITY, f64::min);
            println!(
                "{k:>5}+{m:<5} methods {lost:>4} lost  direct {:.2} us  syndrome {:.2}  \
                 transform {:.2}  chosen {chosen:.2}",
                methods[0], methods[1], methods[2]
            );
            goals.at_most("method chosen, x the best one", 1.25, 1.1, chosen / best);
        }
    }
}

const METHODS: [Method; 3] = [Method::Direct, Method::Syndrome, Method::Transform];

/// Shards by their index in the block.
type List<S> = Vec<(usize, S)>;

/// Lists for the loss of so many data shards all over the block; results are put in memory for as
/// many.
fn loss<'a, S>(
    data: &[&'a [u8]],
    parity: &'a [&mut [u8]],
    lost: usize,
    memory: impl Iterator<Item = S>,
) -> (List<&'a [u8]>, List<S>) {
    let k = data.len();
    let mut here = vec![true; k];
    let lost: Vec<usize> = (0..lost).map(|number| number * k / lost).collect();
    lost.iter().for_each(|index| here[*index] = false);
    let received = (0..k).filter(|index| here[*index]).map(|index| (index, data[index]));
    let parity = (k..).zip(&parity[..lost.len()]).map(|(index, shard)| (index, &**shard));
    (received.chain(parity).collect(), lost.into_iter().zip(memory).collect())
}

#[expect(clippy::disallowed_methods, reason = "a bench asks the time")]
fn time(work: impl FnOnce()) -> Duration {
    let start = std::time::Instant::now();
    work();
    start.elapsed()
}

fn first_use(goals: &mut Goals) {
    let first = time(|| drop(black_box(Workspace::new(Code::new(1, 1).unwrap()))));
    let ms = first.as_secs_f64() * 1e3;
    println!("first use {ms:.2} ms, tables {} KiB", TABLES_LEN / 1024);
    goals.at_most("first use, ms", 1.0, 0.3, ms);
    goals.at_most("tables, KiB", 600.0, 16.0, TABLES_LEN as f64 / 1024.0);
}

/// Shards at a stride, with something in them.
fn shards(memory: &mut Vec<u8>, count: usize) -> Vec<&mut [u8]> {
    *memory = (0..count * STRIDE).map(|at| (at * 31 % 251) as u8).collect();
    memory.chunks_mut(STRIDE).map(|packet| &mut packet[STRIDE - SHARD_LEN..]).collect()
}

fn block(k: usize, percent: usize, goals: &mut Goals) {
    let m = (k * percent).div_ceil(100);
    let (mut data, mut parity, mut copy) = (vec![], vec![], vec![]);
    let data: Vec<&[u8]> = shards(&mut data, k).into_iter().map(|shard| &*shard).collect();
    let mut parity = shards(&mut parity, m);
    let mut copy = shards(&mut copy, k);
    let code = Code::new(k, m).unwrap();
    let avx2 = code.with_backend(Backend::Avx2).ok();
    let workspace = &mut Workspace::new(code);
    let engine = DefaultEngine::new();
    let mut encoder = HighRateEncoder::new(k, m, SHARD_LEN, engine, None).unwrap();

    let mut race = Race::new(k);
    for _ in 0..TURNS {
        race.turn(0, || copy.iter_mut().zip(&data).for_each(|(to, from)| to.copy_from_slice(from)));
        race.turn(1, || {
            data.iter().for_each(|shard| encoder.add_original_shard(shard).unwrap());
            black_box(encoder.encode().unwrap());
        });
        race.turn(2, || code.protect(workspace, &data, &mut parity).unwrap());
        if let Some(avx2) = avx2 {
            race.turn(3, || avx2.protect(workspace, &data, &mut parity).unwrap());
        }
    }
    let [memcpy, simd, own, by_avx2] = race.best;
    println!(
        "{k:>5}+{m:<5} encode          memcpy {memcpy:>7.1} us  reed-solomon-simd {simd:>8.1}  \
         {} {own:>8.1}: {:.2}x, {:.2} memcpy  AVX2 {by_avx2:>8.1}: {:.2}x",
        code.backend(),
        simd / own,
        own / memcpy,
        simd / by_avx2,
    );
    if k <= 4000 {
        goals.at_least("encode, K <= 4000, x reed-solomon-simd", 2.3, 4.0, simd / own);
    } else {
        goals.at_least("encode, K > 4000, x reed-solomon-simd", 2.0, 4.0, simd / own);
    }
    if k <= 1000 && percent <= 25 {
        goals.at_most("encode, K <= 1000, parity <= 25 %, memcpy", 3.0, 2.0, own / memcpy);
    }
    goals.at_least("AVX2: encode, x reed-solomon-simd", 1.1, 1.3, simd / by_avx2);

    for lost in [1, 8, m / 2, m] {
        let row = Losses { k, m, percent, lost, memcpy };
        if lost <= m {
            row.run([Some(code), avx2], workspace, &data, &parity, goals);
        }
    }
}

struct Losses {
    k: usize,
    m: usize,
    percent: usize,
    lost: usize,
    memcpy: f64,
}

impl Losses {
    fn run(
        &self,
        codes: [Option<Code>; 2],
        workspace: &mut Workspace,
        data: &[&[u8]],
        parity: &[&mut [u8]],
        goals: &mut Goals,
    ) {
        let (k, m, lost) = (self.k, self.m, self.lost);
        let mut memory = vec![];
        let memory = shards(&mut memory, lost);
        let (received, mut results) = loss(data, parity, lost, memory.into_iter());
        let engine = DefaultEngine::new();
        let mut decoder = HighRateDecoder::new(k, m, SHARD_LEN, engine, None).unwrap();

        let mut race = Race::new(k);
        for _ in 0..TURNS {
            race.turn(1, || {
                for (index, shard) in &received {
                    if *index < k {
                        decoder.add_original_shard(*index, shard).unwrap();
                    } else {
                        decoder.add_recovery_shard(index - k, shard).unwrap();
                    }
                }
                black_box(decoder.decode().unwrap());
            });
            for (contender, code) in codes.iter().enumerate() {
                if let Some(code) = code {
                    race.turn(2 + contender, || {
                        code.recover(workspace, &received, &mut results).unwrap();
                    });
                }
            }
        }
        assert!(results.iter().all(|(index, shard)| **shard == *data[*index]));
        let [_, simd, own, by_avx2] = race.best;
        println!(
            "{k:>5}+{m:<5} decode {lost:>5} lost              reed-solomon-simd {simd:>8.1}  \
             own {own:>8.1}: {:.2}x, {:.2} memcpy  AVX2 {by_avx2:>8.1}: {:.2}x",
            simd / own,
            own / self.memcpy,
            simd / by_avx2,
        );
        let ratio = simd / own;
        match lost {
            1 => {
                goals.at_least("decode, 1 lost, x reed-solomon-simd", 40.0, 40.0, ratio);
                goals.at_most("decode, 1 lost, memcpy", 1.2, 1.0, own / self.memcpy);
            }
            8 if lost != m / 2 && lost != m => {
                goals.at_least("AVX2: decode, 8 lost", 6.0, 8.0, simd / by_avx2);
            }
            _ if lost == m => {
                if self.percent == 50 {
                    goals.at_least("decode, M lost, parity 50 %", 2.5, 5.0, ratio);
                } else {
                    goals.at_least("decode, M lost", 3.0, 5.0, ratio);
                }
                goals.at_least("AVX2: decode, M lost", 1.6, 2.5, simd / by_avx2);
            }
            _ if k <= 1000 && self.percent <= 25 => {
                goals.at_least("decode, M/2 lost, K <= 1000, parity <= 25 %", 6.0, 10.0, ratio);
            }
            _ => {}
        }
    }
}

/// The code over GF(2^8) beside this one.
fn gf8(goals: &mut Goals) {
    let (k, m) = (64, 13);
    let (mut data, mut parity) = (vec![], vec![]);
    let data: Vec<&[u8]> = shards(&mut data, k).into_iter().map(|shard| &*shard).collect();
    let mut parity = shards(&mut parity, m);
    let erasure = ReedSolomon::new(k, m).unwrap();
    let code = fec8::Code::video(k, m).unwrap();
    let mut race = Race::new(k);
    for _ in 0..TURNS {
        race.turn(1, || erasure.encode_sep(&data, &mut parity).unwrap());
        race.turn(2, || code.protect(&data, &mut parity).unwrap());
    }
    let [_, erasure, own, _] = race.best;
    println!(
        "fec8 {k}+{m} encode reed-solomon-erasure {erasure:.1} us  own {own:.1}: {:.1}x",
        erasure / own
    );
    goals.at_least("fec8: encode 64+13, x reed-solomon-erasure", 20.0, 40.0, erasure / own);
}

/// The best times of contenders, in microseconds.
struct Race {
    best: [f64; 4],
    repeats: u32,
}

impl Race {
    fn new(k: usize) -> Race {
        Race { best: [f64::INFINITY; 4], repeats: 1 + (4000 / k) as u32 }
    }

    fn turn(&mut self, contender: usize, mut run: impl FnMut()) {
        run(); // brings its memory into the caches, whoever was before it
        let turn = time(|| (0..self.repeats).for_each(|_| run()));
        let us = turn.as_secs_f64() * 1e6 / f64::from(self.repeats);
        self.best[contender] = self.best[contender].min(us);
    }
}

/// What is aimed at, with the worst that was found.
#[derive(Default)]
struct Goals(Vec<Goal>);

struct Goal {
    name: &'static str,
    must: f64,
    aim: f64,
    worst: f64,
    is_least: bool,
}

impl Goals {
    fn at_least(&mut self, name: &'static str, must: f64, aim: f64, found: f64) {
        self.add(Goal { name, must, aim, worst: found, is_least: true });
    }

    fn at_most(&mut self, name: &'static str, must: f64, aim: f64, found: f64) {
        self.add(Goal { name, must, aim, worst: found, is_least: false });
    }

    fn add(&mut self, goal: Goal) {
        match self.0.iter_mut().find(|other| other.name == goal.name) {
            Some(other) if goal.is_least => other.worst = other.worst.min(goal.worst),
            Some(other) => other.worst = other.worst.max(goal.worst),
            None => self.0.push(goal),
        }
    }

    fn print(&self) {
        for Goal { name, must, aim, worst, is_least } in &self.0 {
            let meets = |limit: f64| if *is_least { *worst >= limit } else { *worst <= limit };
            let verdict = match (meets(*aim), meets(*must)) {
                (true, _) => "aim met",
                (_, true) => "met",
                _ => "missed",
            };
            println!("{name:<48} worst {worst:>7.2}  must {must:>6.1}  aim {aim:>5.1}  {verdict}");
        }
    }
}
