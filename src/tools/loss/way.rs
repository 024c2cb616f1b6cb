//! Ways that packets go: what they lose, repeat and disorder.

#![forbid(unsafe_code)]

use super::theory::Chain;

/// Packets that one may be late by, where they are disordered.
const DISORDER: usize = 24;

/// Random numbers, the same for each seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    fn is_so(&mut self, probability: f64) -> bool {
        ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }
}

/// One kind of way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// For people.
    pub name: &'static str,
    /// What it loses.
    pub chain: Chain,
    /// The share of packets that come twice.
    pub repeats: f64,
    /// Whether packets overtake each other.
    pub disorders: bool,
}

impl Way {
    /// All that are tried.
    pub const ALL: [Way; 9] = [
        Way::uniform("lossless", 0.0),
        Way::uniform("0.1 %", 0.001),
        Way::uniform("1 %", 0.01),
        Way::uniform("5 %", 0.05),
        Way::uniform("15 %", 0.15),
        Way::bursts("1 % in 8", 0.01, 8.0),
        Way::bursts("5 % in 20", 0.05, 20.0),
        Way { disorders: true, ..Way::uniform("5 %, disorder", 0.05) },
        Way { repeats: 0.2, disorders: true, ..Way::uniform("5 %, twice", 0.05) },
    ];

    const fn uniform(name: &'static str, rate: f64) -> Way {
        Way { name, chain: Chain::uniform(rate), repeats: 0.0, disorders: false }
    }

    const fn bursts(name: &'static str, rate: f64, mean_len: f64) -> Way {
        Way { name, chain: Chain::bursts(rate, mean_len), repeats: 0.0, disorders: false }
    }

    /// Which of so many packets come, in which order. Each call is a stretch of its own: what
    /// follows does not depend on it.
    pub fn arrivals(&self, count: usize, random: &mut Random) -> Vec<usize> {
        let mut is_bad = random.is_so(self.chain.rate());
        let mut arrivals = Vec::with_capacity(count);
        for packet in 0..count {
            let Chain { to_bad, stays_bad } = self.chain;
            is_bad = random.is_so(if is_bad { stays_bad } else { to_bad });
            if is_bad {
                continue;
            }
            arrivals.push(packet);
            if random.is_so(self.repeats) {
                arrivals.push(packet);
            }
        }
        if self.disorders {
            for at in 0..arrivals.len() {
                let other = (at + random.below(DISORDER)).min(arrivals.len() - 1);
                arrivals.swap(at, other);
            }
        }
        arrivals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_lose_what_they_say() {
        for way in Way::ALL {
            let mut random = Random::new(7);
            let (mut sent, mut came) = (0, 0);
            for _ in 0..2000 {
                let mut arrivals = way.arrivals(1000, &mut random);
                arrivals.sort_unstable();
                arrivals.dedup();
                (sent, came) = (sent + 1000, came + arrivals.len());
            }
            let lost = 1.0 - came as f64 / sent as f64;
            assert!(
                (lost - way.chain.rate()).abs() < 0.1 * way.chain.rate() + 1e-9,
                "{way:?} {lost}"
            );
        }
    }
}
