//! How much parity a block takes, on a way that loses packets in bursts: Gilbert's model. The way is
//! good, and loses nothing, or bad, and loses everything.

#![forbid(unsafe_code)]

/// Parity shards at most of which it can say that they are enough.
pub(super) const COUNT_MAX: usize = 200;

/// What a way does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Chain {
    /// That a lost packet follows one that came.
    to_bad: f64,
    /// That a lost packet follows a lost one.
    stays_bad: f64,
}

impl Chain {
    /// Loses this share of packets, less than all, in bursts of so many on average, 1 at least.
    pub(super) fn new(rate: f64, burst_len: f64) -> Chain {
        let rate = rate.clamp(0.0, 0.9);
        // Losses that do not depend on each other have bursts too.
        let stays_bad = (1.0 - 1.0 / burst_len.max(1.0)).clamp(rate, 0.99);
        let to_bad = rate * (1.0 - stays_bad) / (1.0 - rate);
        Chain { to_bad, stays_bad }
    }

    /// The share of packets that it loses.
    fn rate(&self) -> f64 {
        if self.to_bad == 0.0 { 0.0 } else { self.to_bad / (self.to_bad + 1.0 - self.stays_bad) }
    }

    /// Parity shards of a block of so many data shards of which more are lost than these make up for
    /// with at most this probability, if `count_max`, which is [`COUNT_MAX`] at most, are enough.
    pub(super) fn parity_count(
        &self,
        data_count: usize,
        probability: f64,
        count_max: usize,
    ) -> Option<usize> {
        // By losses so far: that the last packet came, and that it was lost.
        let (mut good, mut bad) = ([0.0; COUNT_MAX + 1], [0.0; COUNT_MAX + 1]);
        let mut beyond = 0.0; // more losses than count_max
        (good[0], bad[0]) = (1.0 - self.rate(), self.rate());
        for packet in 0..data_count + count_max {
            let high = packet.min(count_max);
            for losses in (0..=high).rev() {
                let lost = good[losses] * self.to_bad + bad[losses] * self.stays_bad;
                good[losses] += bad[losses] - lost;
                bad[losses] = 0.0;
                match bad.get_mut(losses + 1).filter(|_| losses < count_max) {
                    Some(place) => *place = lost,
                    None => beyond += lost,
                }
            }
            let Some(parity_count) = (packet + 1).checked_sub(data_count) else { continue };
            let above = parity_count + 1..=count_max;
            let more: f64 = good[above.clone()].iter().chain(&bad[above]).sum();
            if more + beyond <= probability {
                return Some(parity_count);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_that_loses_nothing_takes_no_parity() {
        assert_eq!(Chain::new(0.0, 1.0).parity_count(100, 1e-4, 50), Some(0));
    }

    /// More than so many of so many, each lost by itself.
    fn binomial(count: usize, rate: f64, spare: usize) -> f64 {
        let mut term = (1.0 - rate).powi(count as i32);
        let mut sum = term;
        for lost in 0..spare {
            term *= (count - lost) as f64 / (lost + 1) as f64 * rate / (1.0 - rate);
            sum += term;
        }
        1.0 - sum
    }

    #[test]
    fn losses_by_themselves_take_what_the_binomial_says() {
        for (data_count, rate) in [(1, 0.05), (8, 0.01), (33, 0.02), (160, 0.1), (400, 0.05)] {
            let chain = Chain::new(rate, 1.0);
            let count = chain.parity_count(data_count, 1e-4, COUNT_MAX).unwrap();

            assert!(binomial(data_count + count, rate, count) <= 1e-4, "{data_count}");
            assert!(binomial(data_count + count - 1, rate, count - 1) > 1e-4, "{data_count}");
        }
    }

    #[test]
    fn bursts_take_more_and_there_is_an_end() {
        let single = Chain::new(0.02, 1.0).parity_count(33, 1e-3, 100).unwrap();
        let bursts = Chain::new(0.02, 4.0).parity_count(33, 1e-3, 100).unwrap();

        assert!(bursts >= 2 * single, "{single} {bursts}");
        assert_eq!(Chain::new(0.02, 4.0).parity_count(33, 1e-3, bursts - 1), None);
        for (rate, len) in [(1.0, 1.0), (2.0, 1e9), (0.5, 0.0), (f64::MIN_POSITIVE, f64::MAX)] {
            let _ = Chain::new(rate, len).parity_count(400, 1e-9, COUNT_MAX);
        }
    }
}
