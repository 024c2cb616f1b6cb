//! The host's end of a speed test: when a datagram is due, and what became of it.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::{
    DURATION_MAX, PACKET_HEADER_LEN, PROBE_DATAGRAM_LEN_MIN, PROBE_HEADER_LEN, ProbeHeader,
    RATE_MAX, Sent,
};
use crate::proto::packet::native::header::Kind;
use crate::proto::packet::native::seal::{Exhausted, Sealer};
use crate::proto::units::Kbps;

/// From one batch to the next at least, so that a thread wakes 2000 times a second at most.
const INTERVAL: Duration = Duration::from_micros(500);
/// What was due longer ago is not sent any more: a thread that was late does not make a burst of it.
const LATENESS_MAX: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Debug)]
pub struct ProbeSender {
    sent: Sent,
    began: Instant,
    ends: Instant,
    /// Datagrams that were due and not made, as it was too late.
    skipped: u64,
    polled: Instant,
}

impl ProbeSender {
    /// Begins a test at a rate, counted over datagrams, for a while; both within their limits. Its
    /// datagrams have that length.
    ///
    /// # Panics
    ///
    /// If no datagram of a test is that long.
    pub fn new(
        test: u32,
        target: Kbps,
        duration: Duration,
        datagram_len: u16,
        now: Instant,
    ) -> ProbeSender {
        assert!(usize::from(datagram_len) >= PROBE_DATAGRAM_LEN_MIN, "{datagram_len} bytes");
        let target = target.clamp(Kbps(1), RATE_MAX);
        let duration = duration.min(DURATION_MAX);
        ProbeSender {
            sent: Sent {
                test,
                target,
                datagrams: 0,
                send_dropped: 0,
                datagram_len,
                duration: Duration::ZERO,
            },
            began: now,
            ends: now + duration,
            skipped: 0,
            polled: now,
        }
    }

    /// How many datagrams are due.
    pub fn poll_due(&mut self, now: Instant) -> u64 {
        self.polled = now;
        let now = now.min(self.ends);
        self.sent.duration = now.saturating_duration_since(self.began);
        let elapsed = self.sent.duration;
        let too_late = elapsed.checked_sub(LATENESS_MAX).map_or(0, |before| self.due_at(before));
        let made = self.sent.datagrams + self.skipped;
        self.skipped += too_late.saturating_sub(made);
        self.due_at(elapsed).saturating_sub(self.sent.datagrams + self.skipped)
    }

    /// Makes the next datagram, in memory of its length.
    ///
    /// # Panics
    ///
    /// If the memory is of another length.
    pub fn datagram(
        &mut self,
        datagram: &mut [u8],
        sealer: &mut Sealer,
        now_us: u64,
    ) -> Result<(), Exhausted> {
        assert_eq!(datagram.len(), self.sent.datagram_len.into(), "bytes of a datagram");
        // Far fewer than 2^32: RATE_MAX times DURATION_MAX are 10^8 of the shortest.
        let index = self.sent.datagrams as u32;
        let header = ProbeHeader { test: self.sent.test, index, sent_us: now_us };
        let payload = &mut datagram[PACKET_HEADER_LEN..];
        payload[..PROBE_HEADER_LEN].copy_from_slice(&header.emit());
        // Sealed, nothing on the way can make it shorter.
        payload[PROBE_HEADER_LEN..].fill(0);
        sealer.seal(Kind::Probe, datagram)?;
        self.sent.datagrams += 1;
        Ok(())
    }

    /// Takes how many datagrams the socket did not take.
    pub fn note_send_dropped(&mut self, count: u64) {
        self.sent.send_dropped += count;
    }

    /// Ends it before its time.
    pub fn stop(&mut self, now: Instant) {
        self.ends = self.ends.min(now);
        self.sent.duration = self.ends.saturating_duration_since(self.began);
    }

    /// When to call [`ProbeSender::poll_due`] next, unless the test is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.polled >= self.ends {
            return None;
        }
        let next = self.sent.datagrams + self.skipped;
        let bits = u128::from(next) * u128::from(self.sent.datagram_len) * 8;
        // A bit at 1 kbit/s takes a million nanoseconds.
        let wait_ns = (bits * 1_000_000).div_ceil(u128::from(self.sent.target.0));
        let due = self.began + Duration::from_nanos(wait_ns as u64);
        Some(due.max(self.polled + INTERVAL).min(self.ends))
    }

    /// What was sent so far.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Datagrams that are due in that time, the first at once.
    fn due_at(&self, elapsed: Duration) -> u64 {
        let bits = elapsed.as_nanos() * u128::from(self.sent.target.0) / 1_000_000;
        (bits / (u128::from(self.sent.datagram_len) * 8)) as u64 + 1
    }
}
