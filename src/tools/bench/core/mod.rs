//! Both ends on one core, stage by stage, beside bare loops that do only what they must.
//!
//! Contenders take turns, and of each the best turn counts. A turn is one access unit: what a stage
//! takes for it is divided by its datagrams.

#![forbid(unsafe_code)]

mod receiver;
mod sender;

use std::fmt::Write;
use std::io;
use std::time::{Duration, Instant};

use punktfunk_core::net::{clock, thread};
use punktfunk_core::proto::packet::native::header::{FrameHeader, FramePrefix, shard_len};
use punktfunk_core::proto::packet::native::packetize::{Shape, Unit};
use punktfunk_core::proto::units::FrameIndex;
use receiver::Receiver;
use sender::Sender;

use crate::arguments::Core;
use crate::pattern::Pattern;

/// How long a full socket is waited for before datagrams are dropped.
const SEND_WAIT_MAX: Duration = Duration::from_millis(5);
/// Bytes of a socket's buffer that are asked for.
const BUFFER_LEN: usize = 32 << 20;

/// The best time of a contender so far.
#[derive(Clone, Copy, Debug)]
struct Best(Duration);

impl Default for Best {
    fn default() -> Best {
        Best(Duration::MAX)
    }
}

impl Best {
    fn add(&mut self, time: Duration) {
        self.0 = self.0.min(time);
    }

    fn add_since(&mut self, began: Instant) {
        self.add(clock::now() - began);
    }
}

/// Measures, and returns a table.
pub fn run(arguments: &Core) -> io::Result<String> {
    thread::pin(&[arguments.processor])?;
    let shape = Shape {
        shard_len: shard_len(arguments.datagram).expect("the arguments were looked at"),
        block_data_max: arguments.block,
        parity_percent: arguments.parity,
        parity_count_min: 0,
    };
    let pattern = Pattern::new(arguments.unit);
    let mut sender = Sender::new(arguments, shape)?;
    let mut receiver = Receiver::new(arguments, shape)?;
    for index in 1..=arguments.turns {
        let unit = Unit {
            header: FrameHeader {
                index: FrameIndex(index),
                is_idr: false,
                is_anchor: false,
                epoch: 0,
            },
            prefix: FramePrefix { captured_us: clock::monotonic_us(), latency_us: 0 },
            bytes: pattern.unit(index, arguments.unit),
        };
        sender.turn(&unit)?;
        receiver.turn(&unit)?;
    }
    Ok(table(arguments, &sender, &receiver))
}

fn table(arguments: &Core, sender: &Sender, receiver: &Receiver) -> String {
    let (of, parity) = (&sender.times, &receiver.times);
    let count = sender.datagram_count as f64;
    let ns = |best: &Best| best.0.as_nanos() as f64 / count;
    let rate = |best: &Best| arguments.unit as f64 * 8.0 / best.0.as_nanos() as f64;
    let bare = ns(&of.bare);
    let mut table = format!(
        "{} datagrams of {} bytes, {} % parity, blocks of {} data shards at most, {}\n\
         {:<16} {:>12} {:>12}\n",
        sender.datagram_count,
        sender.datagram_len,
        arguments.parity,
        arguments.block,
        if sender.is_segmented() { "segmented" } else { "not segmented" },
        "",
        "ns/datagram",
        "x bare loop",
    );
    let lines = [
        ("memcpy", &of.copy),
        ("bare loop", &of.bare),
        ("send by send", &of.single),
        ("packetize", &of.packetize),
        ("protect", &of.protect),
        ("seal", &of.seal),
        ("send", &of.send),
        ("sender", &of.whole),
        ("receive", &parity.receive),
        ("open", &parity.open),
        ("reassemble", &parity.reassemble),
        ("recover one", &parity.recover_one),
        ("recover all", &parity.recover_all),
        ("receiver", &parity.whole),
    ];
    for (name, best) in lines {
        let _ = writeln!(table, "{name:<16} {:>12.1} {:>12.2}", ns(best), ns(best) / bare);
    }
    let _ = write!(
        table,
        "sender {:.1} Gbit/s of access units, {:.1} x send by send; receiver {:.1} Gbit/s; dropped {}",
        rate(&of.whole),
        ns(&of.single) / ns(&of.whole),
        rate(&parity.whole),
        sender.dropped_count,
    );
    table
}
