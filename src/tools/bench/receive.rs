//! The receiver: opens, reassembles, compares with what was sent, counts.

#![forbid(unsafe_code)]

use std::io;
use std::time::{Duration, Instant};

use punktfunk_core::net::udp::{Intake, Taken, UdpSocket};
use punktfunk_core::net::{clock, poll, thread};
use punktfunk_core::proto::packet::native::header::{Kind, shard_len};
use punktfunk_core::proto::packet::native::packetize::{BLOCK_DATA_MAX, UNIT_LEN_MAX};
use punktfunk_core::proto::packet::native::reassemble::{Event, Limits, Reassembler};
use punktfunk_core::proto::packet::native::seal::Opener;
use punktfunk_core::proto::units::FrameIndex;

use crate::arguments::Receive;
use crate::pattern::{Pattern, keys};
use crate::send::FAREWELL_LEN;
use crate::spread::Spread;

/// Packets of the replay window: more than 20 ms at 10 Gbit/s.
const WINDOW_LEN: usize = 1 << 16;
/// Access units in the making.
const FRAME_COUNT: usize = 8;
/// How long an access unit waits for one before it.
const PATIENCE: Duration = Duration::from_millis(5);
/// How long one is waited for where nothing comes behind it.
const STALL: Duration = Duration::from_millis(50);
/// How long a receiver that stays awake rests after an access unit: the kernel stops real-time
/// threads that never do.
const REST_TIME: Duration = Duration::from_millis(1);
/// Delays that are kept.
const DELAY_COUNT: usize = 1 << 16;
/// What whoever is on a full way makes of the two bits of congestion, RFC 3168.
const CONGESTED: u8 = 3;
/// Of the real-time priorities a low one.
const PRIORITY: u8 = 10;

/// What came.
struct Tally {
    opener: Opener,
    reassembler: Reassembler,
    pattern: Pattern,
    delays: Spread,
    refused_count: u64,
    wrong_count: u64,
    /// Datagrams that could be marked by whoever is on a full way, and those that were.
    markable_count: u64,
    marked_count: u64,
    /// Ranges of access units that were named as lost, and how many are in them.
    lost: Vec<(u32, u32)>,
    lost_count: u64,
    unit_bytes: u64,
    began: Option<Instant>,
    ended: Option<Instant>,
    /// Access units and packets that were sent.
    sent: Option<(u64, u64)>,
}

/// Receives, and returns a line of JSON.
pub fn run(arguments: &Receive) -> io::Result<String> {
    let shard_len = shard_len(arguments.datagram).expect("the arguments were looked at");
    let mut tally = Tally {
        opener: Opener::new(&keys(), WINDOW_LEN),
        reassembler: Reassembler::new(Limits {
            shard_len,
            unit_len_max: UNIT_LEN_MAX,
            block_data_max: BLOCK_DATA_MAX,
            frame_count: FRAME_COUNT,
            patience: PATIENCE,
            stall: STALL,
        }),
        pattern: Pattern::new(UNIT_LEN_MAX),
        delays: Spread::with_capacity(DELAY_COUNT),
        refused_count: 0,
        wrong_count: 0,
        markable_count: 0,
        marked_count: 0,
        lost: Vec::new(),
        lost_count: 0,
        unit_bytes: 0,
        began: None,
        ended: None,
        sent: None,
    };
    // Whoever sends may begin from here on.
    let socket = UdpSocket::bind(arguments.at)?;
    let buffer_len = socket.set_buffers(arguments.buffer)?.receive_len;
    let mut intake = Intake::new(&socket);
    let is_real_time = thread::set_real_time(Some(PRIORITY)).is_ok();
    let patience = Duration::from_secs(arguments.patience.into());
    let processor_began = thread::processor_time();
    let mut heard = clock::now();
    while tally.sent.is_none() && heard + patience > clock::now() {
        let timeout = tally.reassembler.poll_timeout().unwrap_or(heard + patience);
        if !arguments.awake {
            poll::wait_readable(&socket, timeout)?;
        }
        let unit_count = tally.reassembler.counters().units;
        while intake.receive(&socket, |taken| tally.take(taken))? > 0 {
            heard = clock::now();
        }
        tally.tell();
        if arguments.awake && tally.reassembler.counters().units > unit_count {
            clock::sleep_until(clock::now() + REST_TIME);
        }
    }
    // What will not come any more is named.
    if let Some((unit_count, _)) = tally.sent {
        let last = u32::try_from(unit_count).unwrap_or(u32::MAX);
        tally.reassembler.handle_last(FrameIndex(last), clock::now());
    }
    while let Some(at) = tally.reassembler.poll_timeout() {
        clock::sleep_until(at);
        tally.tell();
    }
    let processor_time = thread::processor_time() - processor_began;
    let kernel_dropped = intake.poll_dropped(&socket)?;
    Ok(tally.line(kernel_dropped, buffer_len, processor_time, is_real_time))
}

impl Tally {
    fn take(&mut self, taken: Taken<'_>) {
        self.markable_count += u64::from(taken.ecn != 0);
        self.marked_count += u64::from(taken.ecn == CONGESTED);
        let Ok(opened) = self.opener.open(taken.bytes) else {
            self.refused_count += 1;
            return;
        };
        match opened.kind {
            Kind::Video => {
                let now = clock::now();
                self.began.get_or_insert(now);
                self.ended = Some(now);
                if self.reassembler.handle_payload(opened.payload, now).is_err() {
                    self.refused_count += 1;
                }
                self.tell();
            }
            Kind::Probe => {
                if let Ok(farewell) = <[u8; FAREWELL_LEN]>::try_from(&*opened.payload) {
                    let [units, packets] = [0, 8].map(|at| {
                        farewell[at..at + 8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
                    });
                    self.sent = Some((units, packets));
                }
            }
            Kind::Audio | Kind::Ping => {}
        }
    }

    /// Takes what the reassembler has to tell.
    fn tell(&mut self) {
        loop {
            let (now, now_us) = (clock::now(), clock::monotonic_us());
            match self.reassembler.poll_event(now, now_us) {
                None => return,
                Some(Event::Lost(first, last)) => {
                    self.lost.push((first.0, last.0));
                    self.lost_count += u64::from(last.0 - first.0) + 1;
                }
                Some(Event::Unit(unit)) => {
                    let expected = self.pattern.unit(unit.header.index.0, unit.bytes.len());
                    self.wrong_count += u64::from(expected != unit.bytes);
                    self.unit_bytes += unit.bytes.len() as u64;
                    let delay_us = now_us.saturating_sub(unit.prefix.captured_us);
                    self.delays.add(delay_us * 1000);
                }
            }
        }
    }

    fn line(
        &self,
        kernel_dropped: u64,
        buffer_len: usize,
        processor_time: Duration,
        is_real_time: bool,
    ) -> String {
        let counters = self.reassembler.counters();
        let window = self.opener.window();
        let loss = window.loss();
        let (sent_units, sent_packets) = self.sent.unwrap_or_default();
        let lost_packets = loss.lost + window.missing_count();
        let took =
            self.began.zip(self.ended).map_or(Duration::ZERO, |(began, ended)| ended - began);
        let seconds = took.as_secs_f64().max(1e-9);
        let delay = self.reassembler.delay();
        format!(
            "{{\"sent_access_units\":{sent_units},\"sent_packets\":{sent_packets},\
             \"access_units\":{},\"lost_access_units\":{},\"lost\":{:?},\"wrong\":{},\
             \"kbps\":{:.0},\"packets\":{},\"packets_dropped\":{lost_packets},\
             \"kernel_dropped\":{kernel_dropped},\"bursts\":{:?},\"recovered\":{},\"late\":{},\
             \"markable\":{},\"marked\":{},\"needless\":{},\"early\":{},\"refused\":{},\"numbers\":{},\"jitter_us\":{},\"trend_us\":{},\
             \"buffer_len\":{buffer_len},\"is_real_time\":{is_real_time},\"core\":{:.3},\
             \"delay_us\":{}}}",
            counters.units,
            self.lost_count,
            self.lost.iter().map(|(first, last)| [*first, *last]).collect::<Vec<_>>(),
            self.wrong_count,
            self.unit_bytes as f64 * 8.0 / seconds / 1000.0,
            loss.received,
            loss.bursts,
            counters.recovered,
            counters.late,
            self.markable_count,
            self.marked_count,
            counters.needless,
            counters.early,
            self.refused_count + counters.refused,
            window.end(),
            delay.jitter_us(),
            delay.trend_us(),
            processor_time.as_secs_f64() / seconds,
            self.delays,
        )
    }
}
