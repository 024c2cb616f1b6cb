//! What a client reports of what came, every 50 ms while it streams.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::delay::Delay;
use super::reassemble;
use super::seal::Opener;
use super::window::BURST_CLASS_COUNT;

/// From one report to the next.
pub const INTERVAL: Duration = Duration::from_millis(50);

/// Datagrams by what the way has marked them with, RFC 3168.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ecn {
    /// ECT(0).
    pub ect_0: u64,
    /// ECT(1).
    pub ect_1: u64,
    /// Congestion experienced.
    pub ce: u64,
}

/// Counts are those since the session began, so a report that is lost takes nothing with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One more than the highest packet number.
    pub number_end: u64,
    /// Packets that came.
    pub received: u64,
    /// Packets that were given up.
    pub lost: u64,
    /// Packets that came after they were given up.
    pub late: u64,
    /// How often so many in a row were lost, by the power of two: 1, 2 and 3, 4 to 7, and so on.
    pub bursts: [u64; BURST_CLASS_COUNT],
    /// Data shards that parity has made up for.
    pub recovered: u64,
    /// Access units given out.
    pub frames: u64,
    /// Access units given up.
    pub frames_lost: u64,
    /// The interarrival jitter of access units, RFC 3550, in microseconds.
    pub jitter_us: u64,
    /// How much longer the last access unit took than the quickest, in microseconds.
    pub delay_excess_us: u64,
    /// By how much that grows from one access unit to the next, in microseconds.
    pub delay_trend_us: i64,
    /// What the way has marked.
    pub ecn: Ecn,
}

impl Report {
    /// Of what came so far. What is missing since the last report is given up.
    pub fn new(
        opener: &mut Opener,
        frames: &reassemble::Counters,
        delay: &Delay,
        ecn: Ecn,
    ) -> Report {
        opener.settle();
        let window = opener.window();
        let loss = window.loss();
        Report {
            number_end: window.end(),
            received: loss.received,
            lost: loss.lost,
            late: loss.late,
            bursts: loss.bursts,
            recovered: frames.recovered,
            frames: frames.units,
            frames_lost: frames.lost_units,
            jitter_us: delay.jitter_us(),
            delay_excess_us: delay.excess_us(),
            delay_trend_us: delay.trend_us(),
            ecn,
        }
    }
}
