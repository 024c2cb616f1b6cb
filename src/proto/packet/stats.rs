//! What one end of the data plane of punktfunk/1 has counted and measured, in one structure.
//!
//! It is laid out as C lays it out and begins with its length and version, so that whoever has it
//! from another language or of another version knows what is in it. Members are only ever added at
//! its end, which is a new version; none changes its meaning.

#![forbid(unsafe_code)]

use super::native::audio;
use super::native::reassemble;
use super::native::seal::{self, Opener, Sealer};
use super::native::window::Loss;
use crate::proto::histogram::{Histogram, Summary};

/// Counts the additions to these statistics.
pub const VERSION: u32 = 2;

/// What one end has counted and measured since it was opened. What it does not do is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Stats {
    /// sizeof of this struct, set by the caller; no less than what ends with version.
    pub struct_size: u32,
    /// What the library knows to fill: members of later versions are 0.
    pub version: u32,

    /// Access units that were sent.
    pub units_sent: u64,
    /// Bytes of them.
    pub unit_bytes_sent: u64,
    /// Blocks that they were cut into.
    pub blocks_sent: u64,
    /// Packets of any kind that were sealed to be sent.
    pub packets_sent: u64,
    /// Packets of parity among them.
    pub parity_packets_sent: u64,
    /// Bytes of their datagrams.
    pub bytes_sent: u64,
    /// Datagrams that the system did not take, as the caller has told.
    pub packets_send_dropped: u64,

    /// Packets that were opened.
    pub packets_received: u64,
    /// Bytes of their datagrams.
    pub bytes_received: u64,
    /// Packets of the peer that have not come in time.
    pub packets_dropped: u64,
    /// Packets that came after all when they were counted as dropped. They are received ones too.
    pub packets_late: u64,
    /// Packets of the peer that have not come yet and may.
    pub packets_missing: u64,
    /// How often so many of these in a row were dropped: 1, 2 to 3, 4 to 7, and so on; the last
    /// counts all that were more.
    pub burst_counts: [u64; 16],
    /// Datagrams that are none of this protocol.
    pub refused_header: u64,
    /// Datagrams of a phase whose key is not there.
    pub refused_phase: u64,
    /// Datagrams that came twice, or too late to know.
    pub refused_replay: u64,
    /// Datagrams that are damaged, forged, or sealed under another key.
    pub refused_tag: u64,

    /// Access units that were given out.
    pub units_received: u64,
    /// Access units that were given up.
    pub units_lost: u64,
    /// Shards that were of use.
    pub shards_received: u64,
    /// Data shards that were recovered from parity.
    pub shards_recovered: u64,
    /// Shards that came when they were not needed any more.
    pub shards_needless: u64,
    /// Shards of access units that had been given out or up.
    pub shards_late: u64,
    /// Shards of access units for which there was no place yet.
    pub shards_early: u64,
    /// Shards that contradict others, or what was agreed on.
    pub shards_refused: u64,

    /// Frames of sound that were sent.
    pub sound_sent: u64,
    /// Frames of sound that were given out.
    pub sound_received: u64,
    /// Those of them that came with the packet behind theirs.
    pub sound_recovered: u64,
    /// Frames of sound that were given up.
    pub sound_lost: u64,

    /// Interarrival jitter of access units, RFC 3550, in microseconds.
    pub jitter_us: u64,
    /// By how much the delay grows from one access unit to the next of late, in microseconds.
    pub trend_us: i64,
    /// Bytes of access units, sent or received.
    pub unit_len: Summary,
    /// From capture until the host had the access unit to send, in microseconds.
    pub host_us: Summary,
    /// From then until the last of its datagrams was to be sent, in microseconds.
    pub send_us: Summary,
    /// From an access unit's first shard to its last, in microseconds.
    pub assembly_us: Summary,
    /// How much longer an access unit took to come than the quickest so far, in microseconds.
    pub excess_us: Summary,

    // Of version 2.
    /// Messages of the peer that the system had no room for, as the caller has told. One may be
    /// several datagrams that the system has kept together.
    pub packets_receive_dropped: u64,
    /// Datagrams that came as such that may be marked rather than dropped, by ECT(0), as the caller
    /// has told.
    pub packets_ect_0: u64,
    /// Likewise, by ECT(1).
    pub packets_ect_1: u64,
    /// Datagrams that were marked on a full way, by CE, as the caller has told.
    pub packets_ce: u64,
    /// How often the key of what is sent was changed.
    pub send_phase: u32,
    /// How often the peer has changed its key, as far as packets say.
    pub receive_phase: u32,
    /// 1 when the next phase of what is sent should begin, as half of what its key may seal is
    /// sealed; else 0.
    pub is_key_due: u32,
    /// 1 while the keys of the peer's next phase are not there; else 0.
    pub is_key_wanted: u32,
    /// What the parity of an access unit took the host, in nanoseconds.
    pub protect_ns: Summary,
    /// What sealing its datagrams took, in nanoseconds.
    pub seal_ns: Summary,
}

/// What is known of access units one by one.
#[derive(Debug, Default)]
pub struct Histograms {
    /// See [`Stats::unit_len`].
    pub unit_len: Histogram,
    /// See [`Stats::host_us`].
    pub host_us: Histogram,
    /// See [`Stats::send_us`].
    pub send_us: Histogram,
    /// See [`Stats::assembly_us`].
    pub assembly_us: Histogram,
    /// See [`Stats::excess_us`].
    pub excess_us: Histogram,
    /// See [`Stats::protect_ns`].
    pub protect_ns: Histogram,
    /// See [`Stats::seal_ns`].
    pub seal_ns: Histogram,
}

impl Default for Stats {
    fn default() -> Stats {
        let nothing = Summary::default();
        Stats {
            struct_size: size_of::<Stats>() as u32,
            version: VERSION,
            units_sent: 0,
            unit_bytes_sent: 0,
            blocks_sent: 0,
            packets_sent: 0,
            parity_packets_sent: 0,
            bytes_sent: 0,
            packets_send_dropped: 0,
            packets_received: 0,
            bytes_received: 0,
            packets_dropped: 0,
            packets_late: 0,
            packets_missing: 0,
            burst_counts: [0; 16],
            refused_header: 0,
            refused_phase: 0,
            refused_replay: 0,
            refused_tag: 0,
            units_received: 0,
            units_lost: 0,
            shards_received: 0,
            shards_recovered: 0,
            shards_needless: 0,
            shards_late: 0,
            shards_early: 0,
            shards_refused: 0,
            sound_sent: 0,
            sound_received: 0,
            sound_recovered: 0,
            sound_lost: 0,
            jitter_us: 0,
            trend_us: 0,
            unit_len: nothing,
            host_us: nothing,
            send_us: nothing,
            assembly_us: nothing,
            excess_us: nothing,
            packets_receive_dropped: 0,
            packets_ect_0: 0,
            packets_ect_1: 0,
            packets_ce: 0,
            send_phase: 0,
            receive_phase: 0,
            is_key_due: 0,
            is_key_wanted: 0,
            protect_ns: nothing,
            seal_ns: nothing,
        }
    }
}

impl Stats {
    /// Counts a datagram that was opened or refused.
    pub fn note_opened<T>(&mut self, opened: &Result<T, seal::Error>, datagram_len: usize) {
        let count = match opened {
            Ok(_) => {
                self.bytes_received += datagram_len as u64;
                return;
            }
            Err(seal::Error::Header(_)) => &mut self.refused_header,
            Err(seal::Error::Phase(_)) => &mut self.refused_phase,
            Err(seal::Error::Replay) => &mut self.refused_replay,
            Err(seal::Error::Tag) => &mut self.refused_tag,
        };
        *count += 1;
    }

    /// Counts datagrams that the system did not take.
    pub fn note_send_dropped(&mut self, count: u64) {
        self.packets_send_dropped = self.packets_send_dropped.saturating_add(count);
    }

    /// Counts messages that the system had no room for.
    pub fn note_receive_dropped(&mut self, count: u64) {
        self.packets_receive_dropped = self.packets_receive_dropped.saturating_add(count);
    }

    /// Counts datagrams that came with these two bits of congestion, RFC 3168.
    pub fn note_ecn(&mut self, bits: u8, count: u64) {
        let total = match bits & 3 {
            0 => return,
            1 => &mut self.packets_ect_1,
            2 => &mut self.packets_ect_0,
            _ => &mut self.packets_ce,
        };
        *total = total.saturating_add(count);
    }

    /// Takes over how it is with the keys of both directions.
    pub fn set_keys(&mut self, sealer: &Sealer, opener: &Opener) {
        (self.send_phase, self.receive_phase) = (sealer.phase(), opener.phase());
        self.is_key_due = sealer.is_key_due().into();
        self.is_key_wanted = opener.wanted_phase().is_some().into();
    }

    /// Takes over what a window knows.
    pub fn set_loss(&mut self, loss: &Loss, missing_count: u64) {
        self.packets_received = loss.received;
        self.packets_dropped = loss.lost;
        self.packets_late = loss.late;
        self.packets_missing = missing_count;
        self.burst_counts = loss.bursts;
    }

    /// Takes over what a reassembler has counted.
    pub fn set_reassembly(&mut self, counters: &reassemble::Counters) {
        self.units_received = counters.units;
        self.units_lost = counters.lost_units;
        self.shards_received = counters.shards;
        self.shards_recovered = counters.recovered;
        self.shards_needless = counters.needless;
        self.shards_late = counters.late;
        self.shards_early = counters.early;
        self.shards_refused = counters.refused;
    }

    /// Takes over what a receiver of sound has counted.
    pub fn set_sound(&mut self, counters: &audio::Counters) {
        self.sound_received = counters.frames;
        self.sound_recovered = counters.recovered;
        self.sound_lost = counters.lost;
    }

    /// Takes over what histograms say.
    pub fn set_histograms(&mut self, histograms: &Histograms) {
        self.unit_len = histograms.unit_len.summary();
        self.host_us = histograms.host_us.summary();
        self.send_us = histograms.send_us.summary();
        self.assembly_us = histograms.assembly_us.summary();
        self.excess_us = histograms.excess_us.summary();
        self.protect_ns = histograms.protect_ns.summary();
        self.seal_ns = histograms.seal_ns.summary();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::gamestream::secret::Secret;
    use crate::proto::packet::native::header;

    #[test]
    fn each_refusal_has_its_count() {
        let mut stats = Stats::default();
        for (times, error) in [
            (1, seal::Error::Header(header::Error::TooShort)),
            (2, seal::Error::Phase(1)),
            (3, seal::Error::Replay),
            (4, seal::Error::Tag),
        ] {
            (0..times).for_each(|_| stats.note_opened::<()>(&Err(error), 100));
        }
        stats.note_opened(&Ok(()), 100);

        let Stats { refused_header, refused_phase, refused_replay, refused_tag, .. } = stats;
        assert_eq!((refused_header, refused_phase, refused_replay, refused_tag), (1, 2, 3, 4));
        assert_eq!(stats.bytes_received, 100);
    }

    #[test]
    fn marks_are_those_of_ip() {
        let mut stats = Stats::default();

        (0..4).for_each(|bits| stats.note_ecn(bits, 10 + u64::from(bits)));

        assert_eq!((stats.packets_ect_1, stats.packets_ect_0, stats.packets_ce), (11, 12, 13));
    }

    #[test]
    fn a_key_that_is_due_or_wanted_is_told() {
        let keys =
            |number| seal::Keys { key: Secret::new([number; 16]), iv: Secret::new([number; 12]) };
        let (mut sealer, mut opener) = (Sealer::new(&keys(1)), Opener::new(&keys(1), 0));
        let mut stats = Stats::default();
        let mut told = |sealer: &Sealer, opener: &Opener| {
            stats.set_keys(sealer, opener);
            (stats.send_phase, stats.receive_phase, stats.is_key_due, stats.is_key_wanted)
        };

        assert_eq!(told(&sealer, &opener), (0, 0, 0, 1));
        sealer.leave_room(1452, 9);
        opener.set_next_keys(&keys(2));
        assert_eq!(told(&sealer, &opener), (0, 0, 1, 0));
        sealer.next_phase(&keys(2));
        let mut datagram = [0; 100];
        sealer.seal(header::Kind::Ping, &mut datagram).unwrap();
        opener.open(&mut datagram).unwrap();

        assert_eq!(told(&sealer, &opener), (1, 1, 0, 1));
    }

    #[test]
    fn it_has_no_holes() {
        let summaries = 7 * size_of::<Summary>();
        assert_eq!(size_of::<Stats>(), 2 * 4 + (30 + 16) * 8 + 4 * 8 + 4 * 4 + summaries);
    }
}
