//! The host's end of a session: access units and sound in, datagrams out.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::session::{Receiver, Settings, instant, since_us};
use super::status::Status;
use super::structs::{PING_LEN, Probe, ProbeSent, UNIT_ANCHOR, UNIT_IDR, Unit};
use crate::net::clock;
use crate::proto::packet::native::audio::{
    AUDIO_DATAGRAM_LEN_MAX, AUDIO_HEADER_LEN, AudioPacketizer, FRAME_LEN_MAX,
};
use crate::proto::packet::native::header::{
    FrameHeader, FramePrefix, Kind, PACKET_HEADER_LEN, TAG_LEN,
};
use crate::proto::packet::native::packetize::{self, Packetizer, Shape};
use crate::proto::packet::native::path::{HostPath, Token};
use crate::proto::packet::native::probe::{DURATION_MAX, ProbeSender, RATE_MAX};
use crate::proto::packet::native::seal::Keys;
use crate::proto::packet::stats::{Histograms, Stats};
use crate::proto::units::{FrameIndex, Kbps};

/// See the module.
pub(super) struct Host {
    packetizer: Packetizer,
    receiver: Receiver,
    unit_len_max: usize,
    /// The last access unit, whose memory stays.
    bytes: Vec<u8>,
    /// Of the next one.
    parity_percent: u8,
    /// How far its datagrams are, unless all of them were given out.
    under_way: Option<UnderWay>,
    sound: AudioPacketizer,
    /// Bytes of a frame of sound, of which a datagram has two.
    sound_len_max: usize,
    /// Its last datagram, unless that was given out.
    sound_datagram: Vec<u8>,
    path: HostPath,
    /// The speed test that was begun last.
    probe: Option<ProbeSender>,
    /// Of the next access unit.
    next: u32,
    /// Stands for the caller's 0.
    epoch: Instant,
    stats: Stats,
    histograms: Box<Histograms>,
}

/// What comes of a datagram.
pub(super) enum Taken {
    Answered([u8; PING_LEN]),
    Genuine,
    Refused,
}

/// An access unit some of whose datagrams are still to be given out.
#[derive(Clone, Copy)]
struct UnderWay {
    header: FrameHeader,
    prefix: FramePrefix,
    block_count: usize,
    /// Blocks that were made.
    made_count: usize,
    /// Bytes of the last one that were given out.
    given_len: usize,
    submitted_us: u64,
    /// What its parity and its seals took so far.
    protect_time: Duration,
    seal_time: Duration,
}

impl UnderWay {
    /// Makes the next block.
    fn make_block(
        &mut self,
        packetizer: &mut Packetizer,
        bytes: &[u8],
    ) -> Result<(), packetize::Error> {
        let block = packetizer.cut(&self.whole(bytes), self.made_count)?;
        let began = clock::now();
        packetizer.protect(&block);
        let protected = clock::now();
        packetizer.seal(&block, 0..block.datagram_count())?;
        self.protect_time += protected - began;
        self.seal_time += clock::now() - protected;
        (self.made_count, self.given_len) = (self.made_count + 1, 0);
        Ok(())
    }

    fn whole<'a>(&self, bytes: &'a [u8]) -> packetize::Unit<'a> {
        packetize::Unit { header: self.header, prefix: self.prefix, bytes }
    }
}

impl Host {
    /// Any `epoch` will do.
    pub(super) fn new(settings: &Settings, epoch: Instant) -> Host {
        let shape = Shape {
            shard_len: settings.shard_len,
            block_data_max: settings.block_data_max,
            parity_percent: settings.parity_percent,
            parity_count_min: settings.parity_count_min,
        };
        Host {
            packetizer: Packetizer::new(shape, &settings.send),
            receiver: Receiver::new(settings),
            unit_len_max: settings.unit_len_max,
            bytes: Vec::new(),
            parity_percent: settings.parity_percent,
            under_way: None,
            sound: AudioPacketizer::new(settings.sound_sample_count),
            sound_len_max: settings
                .datagram_len_max
                .saturating_sub(PACKET_HEADER_LEN + AUDIO_HEADER_LEN + TAG_LEN)
                .div_euclid(2)
                .min(FRAME_LEN_MAX),
            sound_datagram: Vec::with_capacity(AUDIO_DATAGRAM_LEN_MAX),
            path: HostPath::default(),
            probe: None,
            next: 1,
            epoch,
            stats: Stats::default(),
            histograms: Box::default(),
        }
    }

    /// Takes an access unit, and returns its number.
    pub(super) fn submit(&mut self, unit: &Unit, bytes: &[u8], now_us: u64) -> Result<u32, Status> {
        let is_known = unit.flags & !(UNIT_IDR | UNIT_ANCHOR) == 0;
        let epoch = u8::try_from(unit.epoch).map_err(|_| Status::Value)?;
        if !is_known || bytes.is_empty() {
            return Err(Status::Value);
        }
        if bytes.len() > self.unit_len_max {
            return Err(Status::TooLong);
        }
        if self.under_way.is_some() {
            return Err(Status::Full);
        }
        // The highest number is none.
        if self.next == u32::MAX {
            return Err(Status::Exhausted);
        }
        let header = FrameHeader {
            index: FrameIndex(self.next),
            is_idr: unit.flags & UNIT_IDR != 0,
            is_anchor: unit.flags & UNIT_ANCHOR != 0,
            epoch,
        };
        let prefix = FramePrefix { captured_us: unit.captured_us, latency_us: unit.latency_us };
        let whole = packetize::Unit { header, prefix, bytes };
        self.packetizer.set_parity_percent(self.parity_percent);
        let plan = self.packetizer.plan(&whole).map_err(|_| Status::TooLong)?;
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        let block_count = plan.block_count;
        self.under_way = Some(UnderWay {
            header,
            prefix,
            block_count,
            made_count: 0,
            given_len: 0,
            submitted_us: now_us,
            protect_time: Duration::ZERO,
            seal_time: Duration::ZERO,
        });
        self.next += 1;
        self.path.note_unit(header.index);
        self.stats.units_sent += 1;
        self.stats.unit_bytes_sent += bytes.len() as u64;
        self.stats.blocks_sent += block_count as u64;
        self.stats.parity_packets_sent += plan.parity_count as u64;
        self.histograms.unit_len.add(bytes.len() as u64);
        self.histograms.host_us.add(unit.latency_us.into());
        Ok(header.index.0)
    }

    /// Takes a frame of sound.
    pub(super) fn submit_sound(&mut self, frame: &[u8], captured_us: u64) -> Result<(), Status> {
        if frame.is_empty() {
            return Err(Status::Value);
        }
        if frame.len() > self.sound_len_max {
            return Err(Status::TooLong);
        }
        if !self.sound_datagram.is_empty() {
            return Err(Status::Full);
        }
        let datagram = self.sound.packet(frame, captured_us, self.packetizer.sealer())?;
        self.sound_datagram.extend_from_slice(datagram);
        self.stats.sound_sent += 1;
        Ok(())
    }

    /// Writes as many datagrams as there are and as there is room for, one behind the other, and
    /// returns how many, and the length of each. With a key that is used up it goes on where it was
    /// once there is the next one.
    pub(super) fn poll_datagrams(
        &mut self,
        room: &mut [u8],
        now_us: u64,
    ) -> Result<(usize, usize), Status> {
        if !self.sound_datagram.is_empty() {
            return self.poll_sound_datagram(room);
        }
        let datagram_len = self.packetizer.datagram_len();
        let mut filled_len = 0;
        while let Some(mut unit) = self.under_way {
            let room_len = (room.len() - filled_len) / datagram_len * datagram_len;
            if room_len == 0 {
                break;
            }
            if unit.made_count == 0 || unit.given_len >= self.packetizer.made().len() {
                match unit.make_block(&mut self.packetizer, &self.bytes) {
                    Ok(()) => {}
                    // It is told when there is nothing else to give out, and may be over by then.
                    Err(_) if filled_len > 0 => break,
                    Err(error) => return Err(error.into()),
                }
            }
            let made = self.packetizer.made();
            let left = &made[unit.given_len..];
            let len = left.len().min(room_len);
            room[filled_len..][..len].copy_from_slice(&left[..len]);
            filled_len += len;
            unit.given_len += len;
            let is_over = unit.made_count == unit.block_count && unit.given_len == made.len();
            self.under_way = (!is_over).then_some(unit);
            if is_over {
                self.histograms.send_us.add(now_us.saturating_sub(unit.submitted_us));
                self.histograms.protect_ns.add(unit.protect_time.as_nanos() as u64);
                self.histograms.seal_ns.add(unit.seal_time.as_nanos() as u64);
            }
        }
        if filled_len == 0 && self.under_way.is_some() {
            return Err(Status::Room);
        }
        self.stats.packets_sent += (filled_len / datagram_len) as u64;
        self.stats.bytes_sent += filled_len as u64;
        Ok((filled_len / datagram_len, datagram_len))
    }

    /// Sound waits for no access unit, however long that is.
    fn poll_sound_datagram(&mut self, room: &mut [u8]) -> Result<(usize, usize), Status> {
        let len = self.sound_datagram.len();
        room.get_mut(..len).ok_or(Status::Room)?.copy_from_slice(&self.sound_datagram);
        self.sound_datagram.clear();
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += len as u64;
        Ok((1, len))
    }

    /// Datagrams of clients are opened and counted.
    pub(super) fn handle_datagram(&mut self, datagram: &mut [u8], now_us: u64) -> bool {
        self.receiver.open(datagram, &mut self.stats, now_us).is_some()
    }

    /// As above, and answers a ping, if that is what it is. `token` is fresh chance.
    pub(super) fn handle_datagram_from(
        &mut self,
        datagram: &mut [u8],
        from: SocketAddr,
        token: Token,
        now_us: u64,
    ) -> Taken {
        let now = instant(self.epoch, now_us);
        let Some(opened) = self.receiver.open(datagram, &mut self.stats, now_us) else {
            return Taken::Refused;
        };
        if opened.kind != Kind::Ping {
            return Taken::Genuine;
        }
        let outcome =
            self.path.handle_ping(from, opened.number, opened.payload, token, now, now_us);
        let answer = outcome.ok().and_then(|outcome| outcome.answer);
        // Without a key there is none: the client will ask again.
        let sealed = answer.and_then(|answer| answer.seal(self.packetizer.sealer()).ok());
        let Some(sealed) = sealed else { return Taken::Genuine };
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += sealed.len() as u64;
        Taken::Answered(sealed)
    }

    /// Begins a speed test, with datagrams as long as those of access units.
    pub(super) fn begin_probe(&mut self, probe: &Probe, now_us: u64) -> Result<(), Status> {
        let is_rate = (1..=RATE_MAX.0).contains(&probe.rate_kbps);
        let duration = Duration::from_millis(probe.duration_ms.into());
        if !is_rate || duration.is_zero() || duration > DURATION_MAX {
            return Err(Status::Value);
        }
        let datagram_len = u16::try_from(self.packetizer.datagram_len()).unwrap_or(u16::MAX);
        let now = instant(self.epoch, now_us);
        let rate = Kbps(probe.rate_kbps);
        self.probe = Some(ProbeSender::new(probe.test, rate, duration, datagram_len, now));
        Ok(())
    }

    /// As [`Host::poll_datagrams`], those of the speed test that are due. Returns their number and
    /// length, and when there are the next, unless it is over.
    pub(super) fn poll_probe(
        &mut self,
        room: &mut [u8],
        now_us: u64,
    ) -> Result<(usize, usize, Option<u64>), Status> {
        let Some(probe) = &mut self.probe else { return Ok((0, 0, None)) };
        let datagram_len = usize::from(probe.sent().datagram_len);
        if room.len() < datagram_len {
            return Err(Status::Room);
        }
        let due =
            usize::try_from(probe.poll_due(instant(self.epoch, now_us))).unwrap_or(usize::MAX);
        let count = due.min(room.len() / datagram_len);
        let sealer = self.packetizer.sealer();
        if sealer.room(datagram_len) < count as u64 {
            return Err(Status::Exhausted);
        }
        for datagram in room.chunks_exact_mut(datagram_len).take(count) {
            probe.datagram(datagram, sealer, now_us).map_err(|_| Status::Exhausted)?;
        }
        self.stats.packets_sent += count as u64;
        self.stats.bytes_sent += (count * datagram_len) as u64;
        let next_us = match count < due {
            true => Some(now_us),
            false => probe.poll_timeout().map(|at| since_us(self.epoch, at)),
        };
        Ok((count, datagram_len, next_us))
    }

    pub(super) fn note_probe_dropped(&mut self, count: u64) {
        if let Some(probe) = &mut self.probe {
            probe.note_send_dropped(count);
        }
    }

    /// What was sent of the speed test that was begun last.
    pub(super) fn probe_sent(&self) -> Result<ProbeSent, Status> {
        let sent = self.probe.as_ref().ok_or(Status::Early)?.sent();
        Ok(ProbeSent {
            struct_size: 0,
            test: sent.test,
            datagrams: sent.datagrams,
            send_dropped: sent.send_dropped,
            rate_kbps: sent.rate().0.into(),
        })
    }

    /// Where media are to go, if anywhere.
    pub(super) fn media_address(&self, now_us: u64) -> Option<SocketAddr> {
        self.path.address(instant(self.epoch, now_us))
    }

    pub(super) fn set_parity_percent(&mut self, percent: u8) {
        self.parity_percent = percent;
    }

    pub(super) fn next_send_phase(&mut self, keys: &Keys) {
        self.packetizer.sealer().next_phase(keys);
    }

    pub(super) fn next_receive_phase(&mut self, keys: &Keys) -> Result<(), Status> {
        self.receiver.next_phase(keys)
    }

    /// What the caller counts for it.
    pub(super) fn counted(&mut self) -> &mut Stats {
        &mut self.stats
    }

    pub(super) fn stats(&mut self) -> Stats {
        let mut stats = self.stats;
        self.receiver.fill(&mut stats, self.packetizer.sealer());
        stats.set_histograms(&self.histograms);
        stats
    }
}
