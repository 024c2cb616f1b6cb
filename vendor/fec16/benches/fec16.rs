//! quick
use fec16::*;
use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{HighRateDecoder, HighRateEncoder, RateDecoder, RateEncoder};
use std::hint::black_box;
use std::time::Instant;
const LEN: usize = 1280;
fn main() {
    let only: Option<usize> = std::env::args().filter_map(|a| a.parse().ok()).next();
    for (k, percents) in [
        (64, &[10, 20, 25, 50]),
        (200, &[10, 20, 25, 50]),
        (400, &[10, 20, 25, 50]),
        (1000, &[10, 20, 25, 50]),
        (4000, &[10, 20, 25, 50]),
        (20000, &[10, 20, 25, 50]),
    ] {
        if only.is_some_and(|o| o != k) {
            continue;
        }
        for p in percents {
            let m = (k * p + 99) / 100;
            let data: Vec<Vec<u8>> = (0..k).map(|i| vec![(i * 7) as u8; LEN]).collect();
            let mut parity = vec![vec![0u8; LEN]; m];
            let mut copy = vec![0u8; LEN * k];
            let flat = vec![1u8; LEN * k];
            let mut enc = HighRateEncoder::new(k, m, LEN, DefaultEngine::new(), None).unwrap();
            let codes: Vec<Code> = Backend::ALL
                .iter()
                .filter_map(|b| Code::new(k, m).unwrap().with_backend(*b).ok())
                .filter(|c| c.backend() != Backend::Scalar)
                .collect();
            let mut ws = Workspace::new(codes[0]);
            let mut best = vec![f64::MAX; 2 + codes.len()];
            for _ in 0..15 {
                let reps = 1 + 100_000 / (k * 20);
                let mut t = |i: usize, f: &mut dyn FnMut()| {
                    let s = Instant::now();
                    for _ in 0..reps {
                        f();
                    }
                    let e = s.elapsed().as_secs_f64() * 1e6 / reps as f64;
                    if e < best[i] {
                        best[i] = e;
                    }
                };
                t(0, &mut || {
                    copy.copy_from_slice(&flat);
                    black_box(&copy);
                });
                t(1, &mut || {
                    for d in &data {
                        enc.add_original_shard(d).unwrap();
                    }
                    black_box(enc.encode().unwrap());
                });
                for (i, c) in codes.iter().enumerate() {
                    t(2 + i, &mut || {
                        c.protect(&mut ws, &data, &mut parity).unwrap();
                    });
                }
            }
            // decode
            let mut dec = vec![];
            for e in [1, 8.min(m), m / 2, m] {
                let mut parity2 = vec![vec![0u8; LEN]; m];
                for d in &data {
                    enc.add_original_shard(d).unwrap();
                }
                for (p, q) in parity2.iter_mut().zip(enc.encode().unwrap().recovery_iter()) {
                    p.copy_from_slice(q);
                }
                let lost: Vec<usize> = (0..e).map(|i| i * k / e).collect();
                let mut received: Vec<(usize, &[u8])> = vec![];
                let mut it = lost.iter().peekable();
                for i in 0..k {
                    if it.next_if(|l| **l == i).is_none() {
                        received.push((i, &data[i]));
                    }
                }
                for j in 0..e {
                    received.push((k + j, &parity2[j]));
                }
                let mut out: Vec<(usize, Vec<u8>)> =
                    lost.iter().map(|l| (*l, vec![0u8; LEN])).collect();
                let mut d = HighRateDecoder::new(k, m, LEN, DefaultEngine::new(), None).unwrap();
                let mut best = vec![f64::MAX; 1 + codes.len()];
                for _ in 0..7 {
                    let reps = 1 + 30_000 / (k * 20);
                    let mut t = |i: usize, f: &mut dyn FnMut()| {
                        let s = Instant::now();
                        for _ in 0..reps {
                            f();
                        }
                        let e = s.elapsed().as_secs_f64() * 1e6 / reps as f64;
                        if e < best[i] {
                            best[i] = e;
                        }
                    };
                    t(0, &mut || {
                        for (i, s) in &received {
                            if *i < k {
                                d.add_original_shard(*i, s).unwrap()
                            } else {
                                d.add_recovery_shard(i - k, s).unwrap()
                            }
                        }
                        black_box(d.decode().unwrap());
                    });
                    for (i, c) in codes.iter().enumerate() {
                        t(1 + i, &mut || {
                            c.recover(&mut ws, &received, &mut out).unwrap();
                        });
                    }
                }
                dec.push((e, best));
            }
            print!("{k:6} {m:6} memcpy {:8.1} rs-simd {:8.1}", best[0], best[1]);
            for (i, c) in codes.iter().enumerate() {
                print!(" | {} {:8.1} {:4.2}x", c.backend(), best[2 + i], best[1] / best[2 + i]);
            }
            println!(" | /memcpy {:4.2}", best[2] / best[0]);
            for (e, b) in dec {
                print!("        lost {e:5} rs-simd {:8.1}", b[0]);
                for (i, c) in codes.iter().enumerate() {
                    print!(" | {} {:8.1} {:4.1}x", c.backend(), b[1 + i], b[0] / b[1 + i]);
                }
                println!(" /memcpy {:4.2} /encode {:4.2}", b[1] / best[0], b[1] / best[2]);
            }
        }
    }
}
