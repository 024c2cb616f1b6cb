//! How much parity access units get, by what the client reports.
//!
//! From the bursts of the last seconds follow how much the way loses and how long its bursts are,
//! and from these how much parity a block takes so that hardly any is lost. More is given at once,
//! less after a while and bit by bit. Where access units are lost in spite of that, the model does
//! not fit, and it gives more than the model says.
//!
//! It says nothing of the bitrate. What parity makes up for is no reason to cut it; how many access
//! units are lost all the same may be one, see [`Control::frames_lost`].

#![forbid(unsafe_code)]

mod chain;

use std::time::{Duration, Instant};

use self::chain::{COUNT_MAX, Chain};
use super::packetize::Parity;
use super::report::Report;
use super::window::BURST_CLASS_COUNT;

/// Seconds that it remembers.
const SECOND_COUNT: usize = 16;
const SECOND: Duration = Duration::from_secs(1);
/// Seconds that say something by themselves, if there are more bursts in them than chance explains.
const LATELY: [usize; 2] = [2, 5];
const BURST_COUNT_MIN: f64 = 3.0;
/// Standard deviations that chance explains.
const DEVIATIONS: f64 = 3.0;
/// So long parity stays as it is after it was last needed.
const HOLD: Duration = Duration::from_secs(5);
/// So long it takes until what was changed shows in reports.
const REACTION: Duration = Duration::from_millis(500);
/// What the model says is enough, and is not: so much more is given, in percent of it.
const EXTRA_STEP: u32 = 25;
const EXTRA_MAX: u32 = 200;
/// A queue of that length, in reports in a row, is one that more packets make longer.
const QUEUE_US: u64 = 30_000;
const QUEUE_REPORTS: u32 = 4;
/// Data shards of a block that are reckoned with at most: what is right for fewer is enough for
/// more.
const DATA_COUNT_MAX: usize = 400;
/// How long bursts of a class are on average, by the shortest: from that to less than twice as long,
/// and the longer, the fewer.
const MEAN_LEN: f64 = 1.3;
/// Access units lost in what it remembers that may be chance.
const FRAMES_LOST_MIN: u64 = 3;
/// Bursts of so many are none that parity is for, or longer than any block takes.
const OUTAGE_LEN_MIN: usize = 64;

/// What parity may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Without losses.
    pub least: Parity,
    /// Whatever is lost.
    pub most: Parity,
    /// One access unit of so many may be lost.
    pub lost_one_in: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Control {
    policy: Policy,
    parity: Parity,
    last: Report,
    seconds: [Second; SECOND_COUNT],
    /// Which of them is now, and since when.
    at: usize,
    since: Instant,
    /// More than the model says, in percent of it.
    extra: u32,
    /// When `extra` was changed last, or parity was raised.
    raised: Instant,
    /// When less parity than there is was not enough, or it was lowered.
    needed: Instant,
    queue_reports: u32,
}

/// What happened in it.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    packets: u64,
    lost: f64,
    bursts: f64,
    frames: u64,
    frames_lost: u64,
}

impl Control {
    /// Begins with the least.
    ///
    /// # Panics
    ///
    /// If the least is more than the most, or more than a hundred percent.
    pub fn new(policy: Policy, now: Instant) -> Control {
        let Policy { least, most, lost_one_in } = policy;
        let is_order = least.percent <= most.percent && least.count_min <= most.count_min;
        assert!(is_order && most.percent <= 100 && lost_one_in > 0, "{policy:?}");
        Control {
            policy,
            parity: least,
            last: Report::default(),
            seconds: [Second::default(); SECOND_COUNT],
            at: 0,
            since: now,
            extra: 0,
            raised: now,
            needed: now,
            queue_reports: 0,
        }
    }

    /// Takes a report, and says what parity is to be from now on. Blocks have about so many data
    /// shards of late.
    pub fn handle_report(&mut self, report: &Report, data_count: usize, now: Instant) -> Parity {
        let last = std::mem::replace(&mut self.last, *report);
        self.advance(now);
        let new = self.count(&last, report, data_count);
        self.note_queue(&last, report);
        let is_full = self.queue_reports >= QUEUE_REPORTS;
        let has_settled = now >= self.raised + REACTION;
        if new.frames_lost > 0 && self.loses_too_many() && has_settled && !is_full {
            self.extra = (self.extra + EXTRA_STEP).min(EXTRA_MAX);
            self.raised = now;
        }
        let need = self.need(data_count.clamp(1, DATA_COUNT_MAX));
        let raised = Parity {
            percent: self.parity.percent.max(need.percent),
            count_min: self.parity.count_min.max(need.count_min),
        };
        if raised != self.parity && !is_full {
            self.parity = raised;
            (self.raised, self.needed) = (now, now);
        } else if need == self.parity {
            self.needed = now;
        }
        if now >= self.needed + HOLD {
            // The next step is a second from now, and goes on from what is needed then.
            self.needed += SECOND;
            self.extra = self.extra.saturating_sub(EXTRA_STEP / 5);
            self.parity = Parity {
                percent: lowered(self.parity.percent, need.percent),
                count_min: lowered(self.parity.count_min, need.count_min),
            };
        }
        self.parity
    }

    /// What parity is.
    pub fn parity(&self) -> Parity {
        self.parity
    }

    /// Access units that were lost in the last seconds in spite of parity, and how many there were.
    pub fn frames_lost(&self) -> (u64, u64) {
        let sum = self.sum(SECOND_COUNT);
        (sum.frames_lost, sum.frames.saturating_add(sum.frames_lost))
    }

    /// Begins anew, as the way is another one. Parity stays until that is known better.
    pub fn handle_moved(&mut self, now: Instant) {
        self.seconds = [Second::default(); SECOND_COUNT];
        (self.extra, self.queue_reports) = (0, 0);
        (self.since, self.raised, self.needed) = (now, now, now);
    }

    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_secs();
        for _ in 0..passed.min(SECOND_COUNT as u64) {
            self.at = (self.at + 1) % SECOND_COUNT;
            self.seconds[self.at] = Second::default();
        }
        self.since += Duration::from_secs(passed);
        // After a long silence, hold on from here.
        self.needed = self.needed.max(now.checked_sub(HOLD + SECOND).unwrap_or(self.needed));
    }

    /// Counts what is new. Lost packets are counted when their burst is over, so that it is known
    /// what it is: parity is for bursts that a block can bear.
    fn count(&mut self, last: &Report, report: &Report, data_count: usize) -> Second {
        let came = |report: &Report| report.received.saturating_sub(report.late);
        let mut new = Second {
            packets: came(report).saturating_sub(came(last)),
            frames: report.frames.saturating_sub(last.frames),
            frames_lost: report.frames_lost.saturating_sub(last.frames_lost),
            ..Second::default()
        };
        let most = self.policy.most.count(data_count.clamp(1, DATA_COUNT_MAX));
        let outage_len = (2 * most).max(OUTAGE_LEN_MIN) as f64;
        for class in 0..BURST_CLASS_COUNT {
            let bursts = report.bursts[class].saturating_sub(last.bursts[class]) as f64;
            let len = if class == 0 { 1.0 } else { MEAN_LEN * f64::from(1_u32 << class) };
            if len < outage_len {
                new.bursts += bursts;
                new.lost += bursts * len;
            }
        }
        let second = &mut self.seconds[self.at];
        second.packets = second.packets.saturating_add(new.packets);
        second.frames = second.frames.saturating_add(new.frames);
        second.frames_lost = second.frames_lost.saturating_add(new.frames_lost);
        second.bursts += new.bursts;
        second.lost += new.lost;
        new
    }

    fn note_queue(&mut self, last: &Report, report: &Report) {
        let is_marked = report.ecn.ce > last.ecn.ce;
        let is_long = report.delay_excess_us > QUEUE_US;
        self.queue_reports = if is_marked || is_long { self.queue_reports + 1 } else { 0 };
    }

    /// Whether more access units were lost in the last seconds than may be, and than chance explains.
    fn loses_too_many(&self) -> bool {
        let (lost, count) = self.frames_lost();
        lost > FRAMES_LOST_MIN && lost.saturating_mul(self.policy.lost_one_in.into()) / 2 > count
    }

    /// What all that it remembers takes, and the last seconds where the way has become worse.
    fn need(&self, data_count: usize) -> Parity {
        let all = self.sum(SECOND_COUNT);
        let lately = LATELY.map(|count| self.sum(count)).into_iter();
        let mut need = self.policy.least;
        for sum in lately.filter(|sum| sum.is_worse_than(&all)).chain([all]) {
            let chain = sum.chain();
            need.percent = need.percent.max(self.percent(&chain, data_count));
            // Smaller blocks take more for each of their shards.
            let few = data_count.div_ceil(4);
            let most = usize::from(self.policy.most.count_min).min(COUNT_MAX);
            let count = self.enough(&chain, few, most);
            need.count_min = need.count_min.max(count as u8); // most is a number of 8 bits
        }
        need
    }

    fn percent(&self, chain: &Chain, data_count: usize) -> u8 {
        let most = self.policy.most.percent;
        let count_max = (data_count * usize::from(most)).div_ceil(100).min(COUNT_MAX);
        let count = self.enough(chain, data_count, count_max);
        (count * 100).div_ceil(data_count).min(most.into()) as u8
    }

    fn enough(&self, chain: &Chain, data_count: usize, count_max: usize) -> usize {
        let probability = 1.0 / f64::from(self.policy.lost_one_in);
        let count = chain.parity_count(data_count, probability, count_max).unwrap_or(count_max);
        (count * (100 + self.extra as usize)).div_ceil(100).min(count_max)
    }

    fn sum(&self, second_count: usize) -> Second {
        let mut sum = Second::default();
        for back in 0..second_count {
            let second = &self.seconds[(self.at + SECOND_COUNT - back) % SECOND_COUNT];
            sum.packets = sum.packets.saturating_add(second.packets);
            sum.frames = sum.frames.saturating_add(second.frames);
            sum.frames_lost = sum.frames_lost.saturating_add(second.frames_lost);
            sum.lost += second.lost;
            sum.bursts += second.bursts;
        }
        sum
    }
}

impl Second {
    /// What the way is like. The fewer bursts there were, the more there may have been by chance.
    fn chain(&self) -> Chain {
        if self.bursts == 0.0 {
            return Chain::new(0.0, 1.0);
        }
        let rate = self.lost / (self.packets as f64 + self.lost);
        Chain::new(rate * (1.0 + self.bursts.sqrt().recip()), self.lost / self.bursts)
    }

    fn is_worse_than(&self, all: &Second) -> bool {
        let share = (self.packets as f64 + self.lost) / (all.packets as f64 + all.lost).max(1.0);
        let expected = all.bursts * share;
        self.bursts >= BURST_COUNT_MIN && self.bursts > expected + DEVIATIONS * expected.sqrt()
    }
}

/// A quarter of the way down, one at least.
fn lowered(from: u8, to: u8) -> u8 {
    from - from.saturating_sub(to).div_ceil(4)
}

#[cfg(test)]
mod tests;
