//! The client's end of a session: datagrams in, access units and sound out.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::session::{Receiver, Settings, instant, since_us};
use super::status::Status;
use super::structs::{
    EVENT_LOST, EVENT_UNIT, Event, PING_LEN, PathState, ProbeReport, ProbeSent, Sound, UNIT_ANCHOR,
    UNIT_IDR,
};
use crate::proto::packet::native::audio::{self, AudioReceiver, FRAME_LEN_MAX};
use crate::proto::packet::native::header::{FrameHeader, Kind};
use crate::proto::packet::native::path::{ClientPath, Sample};
use crate::proto::packet::native::probe::{self, ProbeReceiver, RATE_MAX};
use crate::proto::packet::native::reassemble::{self, Limits, Reassembler};
use crate::proto::packet::native::seal::{Keys, Opened, Sealer};
use crate::proto::packet::stats::{Histograms, Stats};

/// See the module.
pub(super) struct Client {
    sealer: Sealer,
    receiver: Receiver,
    reassembler: Reassembler,
    sound: AudioReceiver,
    /// The speed test that was begun last.
    probe: Option<ProbeReceiver>,
    path: ClientPath,
    /// Of the last answer.
    sample: Option<Sample>,
    /// The frame that is lent.
    sound_bytes: Box<[u8; FRAME_LEN_MAX]>,
    /// Stands for the caller's 0.
    epoch: Instant,
    stats: Stats,
    histograms: Box<Histograms>,
}

impl Client {
    /// Any `epoch` will do.
    pub(super) fn new(settings: &Settings, epoch: Instant) -> Client {
        let limits = Limits {
            shard_len: settings.shard_len,
            unit_len_max: settings.unit_len_max,
            block_data_max: settings.block_data_max,
            frame_count: settings.frame_count,
            patience: settings.patience,
            stall: settings.stall,
        };
        Client {
            sealer: Sealer::new(&settings.send),
            receiver: Receiver::new(settings),
            reassembler: Reassembler::new(limits),
            sound: AudioReceiver::new(settings.sound_patience),
            probe: None,
            path: ClientPath::new(epoch),
            sample: None,
            sound_bytes: Box::new([0; FRAME_LEN_MAX]),
            epoch,
            stats: Stats::default(),
            histograms: Box::default(),
        }
    }

    /// Takes a datagram of the host, unless it is refused.
    pub(super) fn handle_datagram(&mut self, datagram: &mut [u8], now_us: u64) -> bool {
        let now = self.instant(now_us);
        let Some(opened) = self.receiver.open(datagram, &mut self.stats, now_us) else {
            return false;
        };
        match opened.kind {
            Kind::Video => self.reassembler.handle_payload(opened.payload, now).is_ok(),
            Kind::Audio => self.sound.handle_payload(opened.payload, now).is_ok(),
            Kind::Ping => {
                self.handle_answer(&opened, now, now_us);
                true
            }
            Kind::Probe => {
                let probe = self.probe.as_mut();
                probe.is_none_or(|it| it.handle_payload(opened.payload, now, now_us).is_ok())
            }
        }
    }

    /// The next thing to tell. An access unit stays where it is until this is called again, or the
    /// session is dropped.
    pub(super) fn poll_event(&mut self, now_us: u64) -> Option<Event> {
        let now = self.instant(now_us);
        let event = match self.reassembler.poll_event(now, now_us)? {
            reassemble::Event::Lost(first, last) => Event {
                struct_size: 0,
                kind: EVENT_LOST,
                first: first.0,
                last: last.0,
                flags: 0,
                epoch: 0,
                bytes: std::ptr::null(),
                len: 0,
                captured_us: 0,
                latency_us: 0,
                assembly_us: 0,
            },
            reassemble::Event::Unit(unit) => Event {
                struct_size: 0,
                kind: EVENT_UNIT,
                first: unit.header.index.0,
                last: unit.header.index.0,
                flags: flags(&unit.header),
                epoch: unit.header.epoch.into(),
                bytes: unit.bytes.as_ptr(),
                len: unit.bytes.len(),
                captured_us: unit.prefix.captured_us,
                latency_us: unit.prefix.latency_us,
                assembly_us: unit.assembly.as_micros().try_into().unwrap_or(u32::MAX),
            },
        };
        if event.kind == EVENT_UNIT {
            self.histograms.unit_len.add(event.len as u64);
            self.histograms.host_us.add(event.latency_us.into());
            self.histograms.assembly_us.add(event.assembly_us.into());
            self.histograms.excess_us.add(self.reassembler.delay().excess_us());
        }
        Some(event)
    }

    /// The next frame of sound, or those that are lost. A frame stays where it is until this is
    /// called again, or the session is dropped.
    pub(super) fn poll_sound(&mut self, now_us: u64) -> Option<Sound> {
        let now = self.instant(now_us);
        let nothing = Sound {
            struct_size: 0,
            sample_count: 0,
            first: 0,
            last: 0,
            bytes: std::ptr::null(),
            len: 0,
            captured_us: 0,
        };
        Some(match self.sound.poll_event(now)? {
            audio::Event::Lost(first, last) => Sound { first, last, ..nothing },
            audio::Event::Frame(frame) => {
                self.sound_bytes[..frame.bytes.len()].copy_from_slice(frame.bytes);
                Sound {
                    sample_count: frame.sample_count.into(),
                    first: frame.number,
                    last: frame.number,
                    bytes: self.sound_bytes.as_ptr(),
                    len: frame.bytes.len(),
                    captured_us: frame.captured_us,
                    ..nothing
                }
            }
        })
    }

    /// When there may be another event or sound though nothing came.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let times = [self.reassembler.poll_timeout(), self.sound.poll_timeout()];
        let at = times.into_iter().flatten().min()?;
        Some(since_us(self.epoch, at))
    }

    /// The ping that is due, if one is.
    pub(super) fn poll_ping(&mut self, now_us: u64) -> Result<Option<[u8; PING_LEN]>, Status> {
        let now = self.instant(now_us);
        if self.sealer.room(PING_LEN) == 0 {
            return Err(Status::Exhausted);
        }
        let Some(ping) = self.path.poll_ping(now, now_us) else { return Ok(None) };
        let sealed = ping.seal(&mut self.sealer).map_err(|_| Status::Exhausted)?;
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += sealed.len() as u64;
        Ok(Some(sealed))
    }

    /// When the next one is due.
    pub(super) fn poll_ping_timeout(&self) -> u64 {
        since_us(self.epoch, self.path.poll_timeout())
    }

    pub(super) fn handle_rebind(&mut self, now_us: u64) {
        self.path.handle_rebind(self.instant(now_us));
    }

    /// Counts the datagrams of a speed test from now on.
    pub(super) fn begin_probe(&mut self, test: u32) {
        self.probe = Some(ProbeReceiver::new(test));
    }

    /// What the speed test that was begun last says. The host has told what it sent, or not yet.
    pub(super) fn probe_report(&self, sent: Option<&ProbeSent>) -> Result<ProbeReport, Status> {
        let sent = sent.map(|sent| probe::Sent {
            test: sent.test,
            target: RATE_MAX,
            datagrams: sent.datagrams,
            send_dropped: sent.send_dropped,
            datagram_len: 0,
            duration: Duration::ZERO,
        });
        let report = self.probe.as_ref().ok_or(Status::Early)?.report(sent.as_ref());
        Ok(ProbeReport {
            struct_size: 0,
            test: report.test,
            received: report.received,
            lost: report.lost,
            rate_kbps: report.achieved.0.into(),
            queue_us_max: report.queue_us_max,
            jitter_us: report.jitter_us,
        })
    }

    /// What pings say of the way.
    pub(super) fn path_state(&self, now_us: u64) -> PathState {
        let sample = self.sample.unwrap_or(Sample { rtt_us: 0, offset_us: 0 });
        PathState {
            struct_size: 0,
            is_open: self.path.is_open(self.instant(now_us)).into(),
            rtt_us: sample.rtt_us,
            offset_us: sample.offset_us,
        }
    }

    fn handle_answer(&mut self, opened: &Opened<'_>, now: Instant, now_us: u64) {
        let answer = self.path.handle_answer(opened.number, opened.payload, now, now_us);
        let Ok((_, sample)) = answer else { return };
        self.sample = sample.or(self.sample);
        if let Some(last) = self.path.last_unit() {
            self.reassembler.handle_last(last, now);
        }
    }

    pub(super) fn next_send_phase(&mut self, keys: &Keys) {
        self.sealer.next_phase(keys);
    }

    pub(super) fn next_receive_phase(&mut self, keys: &Keys) -> Result<(), Status> {
        self.receiver.next_phase(keys)
    }

    /// What the caller counts for it.
    pub(super) fn counted(&mut self) -> &mut Stats {
        &mut self.stats
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = self.stats;
        self.receiver.fill(&mut stats, &self.sealer);
        stats.set_reassembly(&self.reassembler.counters());
        stats.set_sound(&self.sound.counters());
        stats.set_histograms(&self.histograms);
        stats.jitter_us = self.reassembler.delay().jitter_us();
        stats.trend_us = self.reassembler.delay().trend_us();
        stats
    }

    fn instant(&self, now_us: u64) -> Instant {
        instant(self.epoch, now_us)
    }
}

fn flags(header: &FrameHeader) -> u32 {
    let bit = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
    bit(header.is_idr, UNIT_IDR) | bit(header.is_anchor, UNIT_ANCHOR)
}
