//! How likely it is that more packets of a block are lost than its parity makes up for.

#![forbid(unsafe_code)]

/// A way that is either good, and loses nothing, or bad, and loses everything: Gilbert's model. One
/// that loses each packet by itself is the one whose next state does not depend on this one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chain {
    /// That a bad packet follows a good one.
    pub to_bad: f64,
    /// That a bad packet follows a bad one.
    pub stays_bad: f64,
}

impl Chain {
    /// Loses each packet by itself.
    pub const fn uniform(rate: f64) -> Chain {
        Chain { to_bad: rate, stays_bad: rate }
    }

    /// Loses this share of packets, in bursts of so many on average.
    pub const fn bursts(rate: f64, mean_len: f64) -> Chain {
        let stays_bad = 1.0 - 1.0 / mean_len;
        Chain { to_bad: rate * (1.0 - stays_bad) / (1.0 - rate), stays_bad }
    }

    /// The share of packets that it loses.
    pub fn rate(&self) -> f64 {
        let leaves_bad = 1.0 - self.stays_bad;
        if self.to_bad == 0.0 { 0.0 } else { self.to_bad / (self.to_bad + leaves_bad) }
    }

    /// That of so many packets in a row more than `spare` are lost.
    pub fn exceeds(&self, count: usize, spare: usize) -> f64 {
        // By losses so far: that the last packet was good, and that it was bad. More losses than
        // are spared are one case, from which nothing leads back.
        let mut good = vec![0.0; spare + 2];
        let mut bad = vec![0.0; spare + 2];
        (good[0], bad[0]) = (1.0 - self.rate(), self.rate());
        for _ in 0..count {
            let mut next_good = vec![0.0; spare + 2];
            let mut next_bad = vec![0.0; spare + 2];
            for losses in 0..spare + 2 {
                let after = (losses + 1).min(spare + 1);
                next_good[losses] +=
                    good[losses] * (1.0 - self.to_bad) + bad[losses] * (1.0 - self.stays_bad);
                next_bad[after] += good[losses] * self.to_bad + bad[losses] * self.stays_bad;
            }
            (good, bad) = (next_good, next_bad);
        }
        good[spare + 1] + bad[spare + 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-12
    }

    #[test]
    fn losses_by_themselves_are_binomial() {
        let chain = Chain::uniform(0.1);

        assert!(is_close(chain.rate(), 0.1));
        assert!(is_close(chain.exceeds(3, 0), 1.0 - 0.9_f64.powi(3)));
        let two_of_three = 3.0 * 0.1_f64.powi(2) * 0.9 + 0.1_f64.powi(3);
        assert!(is_close(chain.exceeds(3, 1), two_of_three));
        assert!(is_close(chain.exceeds(3, 3), 0.0));
        assert!(is_close(Chain::uniform(0.0).exceeds(100, 0), 0.0));
    }

    #[test]
    fn bursts_have_their_rate_and_make_more_of_it() {
        let chain = Chain::bursts(0.02, 8.0);

        assert!(is_close(chain.rate(), 0.02));
        assert!(is_close(chain.exceeds(1, 0), 0.02));
        assert!(chain.exceeds(100, 10) > 10.0 * Chain::uniform(0.02).exceeds(100, 10));
    }
}
