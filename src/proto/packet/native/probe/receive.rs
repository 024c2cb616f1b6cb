//! The client's end of a speed test.

#![forbid(unsafe_code)]

use std::time::Instant;

use super::{PACKET_HEADER_LEN, ProbeHeader, Report, Sent, TAG_LEN};
use crate::proto::packet::native::delay::Delay;
use crate::proto::packet::native::header::Error;
use crate::proto::units::Kbps;

/// See the module.
#[derive(Debug)]
pub struct ProbeReceiver {
    test: u32,
    received: u64,
    /// Bytes of datagrams behind the first.
    bytes: u64,
    /// When the first and the last came.
    came: Option<(Instant, Instant)>,
    /// One more than the highest index.
    end: u64,
    delay: Delay,
    queue_us_max: u64,
}

impl ProbeReceiver {
    /// Waits for the packets of a test.
    pub fn new(test: u32) -> ProbeReceiver {
        ProbeReceiver {
            test,
            received: 0,
            bytes: 0,
            came: None,
            end: 0,
            delay: Delay::default(),
            queue_us_max: 0,
        }
    }

    /// Takes the payload of a probe that was opened, which comes once. Those of other tests count
    /// for nothing. `now_us` is the time by the client's own clock.
    pub fn handle_payload(
        &mut self,
        payload: &[u8],
        now: Instant,
        now_us: u64,
    ) -> Result<(), Error> {
        let header = ProbeHeader::parse(payload)?;
        if header.test != self.test {
            return Ok(());
        }
        self.received += 1;
        match &mut self.came {
            None => self.came = Some((now, now)),
            Some((_, last)) => {
                *last = now;
                self.bytes += (PACKET_HEADER_LEN + payload.len() + TAG_LEN) as u64;
            }
        }
        self.end = self.end.max(u64::from(header.index) + 1);
        self.delay.note(header.sent_us, now_us);
        self.queue_us_max = self.queue_us_max.max(self.delay.excess_us());
        Ok(())
    }

    /// What came so far, and what it says where the host has told what it sent.
    pub fn report(&self, sent: Option<&Sent>) -> Report {
        let sent = sent.filter(|sent| sent.test == self.test);
        let send_dropped = sent.map_or(0, |sent| sent.send_dropped);
        let count = sent.map_or(self.end, |sent| sent.datagrams.saturating_sub(send_dropped));
        let duration = self.came.map_or_else(Default::default, |(first, last)| last - first);
        Report {
            test: self.test,
            received: self.received,
            lost: count.saturating_sub(self.received),
            send_dropped,
            achieved: Kbps::of(self.bytes, duration),
            queue_us_max: self.queue_us_max,
            jitter_us: self.delay.jitter_us(),
        }
    }
}
