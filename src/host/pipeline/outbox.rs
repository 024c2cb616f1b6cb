//! Orders on their way to a thread: a bounded ring, and behind it what did not fit, merged.
//!
//! A client can ask for IDR frames as fast as it likes. What is merged means the same as its parts,
//! so nothing is lost and nothing grows.

#![forbid(unsafe_code)]

use std::sync::Arc;

use punktfunk_core::net::bell::Bell;
use punktfunk_core::net::udp::Path;
use punktfunk_core::proto::units::FrameIndex;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

/// Orders that a thread has not taken yet.
const RING_COUNT: usize = 16;

/// What a thread is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// Encode at another rate from now on.
    Bitrate(u32),
    /// These frames did not arrive.
    Invalidate(FrameIndex, FrameIndex),
    /// The client needs an IDR frame.
    RequestIdr,
    /// Send there from now on. The first is what a stream begins with.
    SendTo(Path),
}

/// The reactor's end.
#[derive(Debug)]
pub struct Outbox {
    ring: Producer<Order>,
    bell: Arc<Bell>,
    waiting: Waiting,
}

/// Orders for which the ring had no room.
#[derive(Debug, Default)]
struct Waiting {
    bitrate: Option<u32>,
    lost: Option<(FrameIndex, FrameIndex)>,
    idr: bool,
    path: Option<Path>,
}

impl Outbox {
    /// An outbox, and the end that its thread takes orders from.
    pub fn new(bell: Arc<Bell>) -> (Outbox, Consumer<Order>) {
        let (ring, orders) = RingBuffer::new(RING_COUNT);
        (Outbox { ring, bell, waiting: Waiting::default() }, orders)
    }

    /// Tells the thread, now or as soon as it has taken some of what it was told before.
    pub fn push(&mut self, order: Order) {
        self.waiting.merge(order);
        self.flush();
    }

    /// Tells what still waits, as far as there is room.
    pub fn flush(&mut self) {
        while let Some(order) = self.waiting.take() {
            if let Err(PushError::Full(order)) = self.ring.push(order) {
                self.waiting.merge(order);
                break;
            }
        }
        self.bell.ring();
    }
}

impl Waiting {
    fn merge(&mut self, order: Order) {
        match order {
            Order::Bitrate(kbps) => self.bitrate = Some(kbps),
            Order::Invalidate(first, last) => {
                let (low, high) = self.lost.unwrap_or((first, last));
                self.lost = Some((low.min(first), high.max(last)));
            }
            Order::RequestIdr => self.idr = true,
            Order::SendTo(path) => self.path = Some(path),
        }
    }

    fn take(&mut self) -> Option<Order> {
        if let Some(path) = self.path.take() {
            return Some(Order::SendTo(path));
        }
        if let Some((first, last)) = self.lost.take() {
            return Some(Order::Invalidate(first, last));
        }
        if std::mem::take(&mut self.idr) {
            return Some(Order::RequestIdr);
        }
        self.bitrate.take().map(Order::Bitrate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_orders_is_merged_and_nothing_of_it_lost() {
        let bell = Arc::new(Bell::new().unwrap());
        let (mut outbox, mut orders) = Outbox::new(bell);
        let path = |port| Path { remote: ([127, 0, 0, 1], port).into(), local: None };

        for number in 1..=1000 {
            outbox.push(Order::RequestIdr);
            outbox.push(Order::Invalidate(FrameIndex(1000 - number), FrameIndex(1000 + number)));
            outbox.push(Order::Bitrate(number));
            outbox.push(Order::SendTo(path(number as u16)));
        }
        let taken: Vec<Order> = std::iter::from_fn(|| orders.pop().ok()).collect();
        outbox.flush();
        let rest: Vec<Order> = std::iter::from_fn(|| orders.pop().ok()).collect();

        assert_eq!(taken.len(), RING_COUNT);
        let merged = [
            Order::SendTo(path(1000)),
            Order::Invalidate(FrameIndex(0), FrameIndex(2000)),
            Order::RequestIdr,
            Order::Bitrate(1000),
        ];
        assert_eq!(rest, merged);
    }
}
