//! How fast shards are protected and recovered, beside a copy of the data and another library.
//!
//! The contenders of a subject take turns, and each shows its best turn. The library is
//! reed-solomon-erasure as published; it computes another code at the same geometry, and it keeps
//! the inverse of a loss that it has seen, which is its advantage here. Run it on a quiet core:
//!
//!     taskset 1 cargo bench -p fec8

use std::hint::black_box;
use std::time::Duration;

use fec8::{Backend, Code};
use reed_solomon_erasure::galois_8::ReedSolomon;

/// Turns of each contender.
const TURNS: usize = 25;
/// What a turn takes at least, by repetition.
const TURN_TIME: Duration = Duration::from_micros(400);
/// The largest shard of Moonlight at its usual packet size.
const LEN: usize = 1392;

struct Contender<'a> {
    name: String,
    work: Box<dyn FnMut() + 'a>,
    repetitions: u32,
    best: Duration,
}

impl<'a> Contender<'a> {
    fn new(name: impl Into<String>, work: impl FnMut() + 'a) -> Contender<'a> {
        let mut work: Box<dyn FnMut() + 'a> = Box::new(work);
        let mut repetitions = 1;
        while time(&mut work, repetitions) < TURN_TIME {
            repetitions *= 2;
        }
        Contender { name: name.into(), work, repetitions, best: Duration::MAX }
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench asks the time")]
fn time(work: &mut impl FnMut(), repetitions: u32) -> Duration {
    let began = std::time::Instant::now();
    for _ in 0..repetitions {
        work();
    }
    began.elapsed()
}

/// Lets the contenders take turns and prints a line for each. The first is the copy, the second the
/// other library.
fn compare(subject: &str, mut contenders: Vec<Contender<'_>>) {
    for _ in 0..TURNS {
        for it in &mut contenders {
            it.best = it.best.min(time(&mut it.work, it.repetitions) / it.repetitions);
        }
    }
    let (copy, other) = (contenders[0].best, contenders[1].best);
    for Contender { name, best, .. } in &contenders {
        println!(
            "{subject:<30} {name:<20} {:9.2} us {:8.2} x memcpy {:8.2} x faster than rse",
            best.as_nanos() as f64 / 1e3,
            best.as_secs_f64() / copy.as_secs_f64(),
            other.as_secs_f64() / best.as_secs_f64(),
        );
    }
}

fn shards(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|s| (0..LEN).map(|b| (37 * s + 11 * b + 5) as u8).collect()).collect()
}

fn copy<'a>(data: &'a [Vec<u8>], to: &'a mut [Vec<u8>]) -> Contender<'a> {
    Contender::new("memcpy of the data", move || {
        for (to, from) in to.iter_mut().zip(data) {
            to.copy_from_slice(black_box(from));
        }
    })
}

fn backends() -> impl Iterator<Item = Backend> {
    Backend::ALL.into_iter().filter(|backend| backend.is_available())
}

fn protect(k: usize, m: usize) {
    let data = shards(k);
    let mut target = shards(k);
    let mut others: Vec<Vec<Vec<u8>>> = (0..9).map(|_| shards(m)).collect();
    let mut others = others.iter_mut();
    let library = ReedSolomon::new(k, m).unwrap();
    let parity = others.next().unwrap();
    let mut contenders = vec![
        copy(&data, &mut target),
        Contender::new("rse 6.0 default", || {
            library.encode_sep(black_box(&data), black_box(parity)).unwrap();
        }),
    ];
    for backend in backends() {
        let parity = others.next().unwrap();
        let data = &data;
        contenders.push(Contender::new(backend.to_string(), move || {
            let code = Code::video(k, m).unwrap().with_backend(backend).unwrap();
            code.protect(black_box(data), black_box(parity)).unwrap();
        }));
    }
    for step in [1, 8] {
        let (parity, data) = (others.next().unwrap(), &data);
        contenders.push(Contender::new(format!("best, {step} at a time"), move || {
            let mut protector = Code::video(k, m).unwrap().protector();
            for shards in black_box(data).chunks(step) {
                protector.add(shards, black_box(parity)).unwrap();
            }
        }));
    }
    compare(&format!("protect {k}+{m}"), contenders);
}

fn recover(k: usize, m: usize, lost_count: usize) {
    let data = shards(k);
    let mut target = shards(k);
    let mut parity = shards(m);
    Code::video(k, m).unwrap().protect(&data, &mut parity).unwrap();
    // Spread over the block, and so that the last parity shards are not needed.
    let lost: Vec<usize> = (0..lost_count).map(|n| n * k / lost_count).collect();
    let received: Vec<(usize, &Vec<u8>)> = (0..)
        .zip(data.iter().chain(&parity))
        .filter(|(index, _)| !lost.contains(index))
        .take(k)
        .collect();
    let library = ReedSolomon::new(k, m).unwrap();
    let mut block: Vec<(Vec<u8>, bool)> =
        data.iter().chain(&parity).map(|shard| (shard.clone(), true)).collect();
    library.encode(block.iter_mut().map(|(shard, _)| shard).collect::<Vec<_>>()).unwrap();
    let mut contenders = vec![
        copy(&data, &mut target),
        Contender::new("rse 6.0 default", || {
            lost.iter().for_each(|index| block[*index].1 = false);
            library.reconstruct_data(black_box(&mut block)).unwrap();
        }),
    ];
    for backend in backends() {
        let (lost, received) = (&lost, &received);
        let mut found: Vec<(usize, Vec<u8>)> =
            lost.iter().map(|index| (*index, vec![0; LEN])).collect();
        contenders.push(Contender::new(backend.to_string(), move || {
            let code = Code::video(k, m).unwrap().with_backend(backend).unwrap();
            code.recover(black_box(received), black_box(&mut found)).unwrap();
        }));
    }
    compare(&format!("recover {lost_count} of {k}+{m}"), contenders);
}

fn main() {
    println!("shards of {LEN} bytes; the best of {TURNS} turns each");
    protect(64, 13);
    recover(64, 13, 1);
    recover(64, 13, 6);
    recover(64, 13, 13);
    for (k, m) in [(8, 2), (20, 4), (200, 40)] {
        protect(k, m);
        [1, m / 2, m].into_iter().skip(usize::from(m == 2)).for_each(|lost| recover(k, m, lost));
    }
}
