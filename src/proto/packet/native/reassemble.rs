//! Shards to access units, at the client.
//!
//! An access unit is given out the moment it is whole, or as much of it as gives the rest. They are
//! given out in their order: one that is whole waits for those before it as long as these may yet
//! come, and those that are given up are named, each once. Memory is bounded by what was agreed on,
//! whatever arrives, and is taken once.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::{Duration, Instant};

use super::delay::Delay;
use super::frame::{Bounds, Frame, Recovery, Refusal};
use super::header::{self, FRAME_PREFIX_LEN, FrameHeader, FramePrefix, SHARD_UNIT, ShardHeader};
use super::packetize::BLOCK_DATA_MAX;
use crate::proto::units::FrameIndex;

/// Access units in the making, at most.
pub const FRAME_COUNT_MAX: usize = 64;

/// The number of a session's first access unit.
const FIRST: u32 = 1;

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a shard, a positive multiple of [`SHARD_UNIT`].
    pub shard_len: usize,
    /// Bytes of an access unit.
    pub unit_len_max: usize,
    /// Data shards of a block, 1 to [`BLOCK_DATA_MAX`], and parity shards.
    pub block_data_max: usize,
    /// Access units in the making, 2 to [`FRAME_COUNT_MAX`].
    pub frame_count: usize,
    /// How long an access unit that is whole waits for shards of those before it, which some way
    /// may have held up. Not for an IDR, from which a decoder can go on.
    pub patience: Duration,
    /// How long the next access unit is waited for, after its last shard or after it is known that
    /// there is one, where nothing behind it is whole: so what is lost at the end of a movement is
    /// known although the host sends nothing more.
    pub stall: Duration,
}

/// What there is for the decoder.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// An access unit.
    Unit(Unit<'a>),
    /// These will not come.
    Lost(FrameIndex, FrameIndex),
}

/// An access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit<'a> {
    /// What every shard says of it.
    pub header: FrameHeader,
    /// What stands in front of it.
    pub prefix: FramePrefix,
    /// From its first shard to its last.
    pub assembly: Duration,
    /// What the encoder made. It stays where it is until the next event is polled, whatever comes
    /// in between.
    pub bytes: &'a [u8],
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Access units given out.
    pub units: u64,
    /// Access units given up.
    pub lost_units: u64,
    /// Shards that were of use.
    pub shards: u64,
    /// Data shards that were recovered.
    pub recovered: u64,
    /// Shards that came when they were not needed any more, or twice.
    pub needless: u64,
    /// Shards of access units that were given out or up before.
    pub late: u64,
    /// Shards that contradict others, or what was agreed on.
    pub refused: u64,
    /// Shards of access units for which there is no place yet.
    pub early: u64,
}

/// See the module.
pub struct Reassembler {
    limits: Limits,
    bounds: Bounds,
    recovery: Recovery,
    /// One for each that may be in the making, at the remainder of its index.
    frames: Box<[Slot]>,
    /// The next to be given out.
    next: u32,
    /// Those before this one are not waited for.
    hurry_to: u32,
    /// Those that are given up and not told yet: they end in front of `next`.
    untold: Option<(u32, u32)>,
    /// The last that the host has told of, and since when that is known.
    told: Option<(u32, Instant)>,
    /// The one that is borrowed out, which is in no place any more.
    lent: Frame,
    counters: Counters,
    delay: Delay,
}

#[derive(Debug, Default)]
struct Slot {
    frame: Frame,
    /// Since when a shard of it is there.
    begun: Option<Instant>,
    /// Since when its last shard is there.
    grown: Option<Instant>,
    /// Since when it is whole.
    whole: Option<Instant>,
}

impl Limits {
    fn assert_possible(&self) {
        let Limits { shard_len, unit_len_max, block_data_max, frame_count, .. } = *self;
        assert!(shard_len > 0 && shard_len.is_multiple_of(SHARD_UNIT), "{shard_len} bytes");
        assert!(unit_len_max <= super::packetize::UNIT_LEN_MAX, "{unit_len_max} bytes");
        assert!((1..=BLOCK_DATA_MAX).contains(&block_data_max), "{block_data_max} shards");
        assert!((2..=FRAME_COUNT_MAX).contains(&frame_count), "{frame_count} access units");
    }
}

impl Reassembler {
    /// Begins with the access unit of number 1.
    ///
    /// # Panics
    ///
    /// If the limits are not within theirs.
    pub fn new(limits: Limits) -> Reassembler {
        limits.assert_possible();
        let bounds = Bounds {
            shard_len: limits.shard_len,
            data_max: (FRAME_PREFIX_LEN + limits.unit_len_max).div_ceil(limits.shard_len),
            block_data_max: limits.block_data_max,
        };
        Reassembler {
            limits,
            bounds,
            recovery: Recovery::new(limits.block_data_max),
            frames: (0..limits.frame_count).map(|_| Slot::default()).collect(),
            next: FIRST,
            hurry_to: 0,
            untold: None,
            told: None,
            lent: Frame::default(),
            counters: Counters::default(),
            delay: Delay::default(),
        }
    }

    /// Takes the payload of a packet of video that was opened. Events are to be polled afterwards.
    pub fn handle_payload(&mut self, payload: &[u8], now: Instant) -> Result<(), header::Error> {
        let (header, shard) = ShardHeader::parse(payload).inspect_err(|_| {
            self.counters.refused += 1;
        })?;
        let index = header.frame.index.0;
        // Behind the highest number there is no next one, so it is none.
        let ahead = index.checked_sub(self.next).filter(|_| index < u32::MAX);
        let Some(ahead) = ahead else {
            self.counters.late += 1;
            return Ok(());
        };
        let count = self.limits.frame_count as u32; // at most FRAME_COUNT_MAX
        if ahead >= count && !self.make_room(index - (count - 1)) {
            self.counters.early += 1;
            return Ok(());
        }
        let slot = &mut self.frames[place(index, self.limits.frame_count)];
        if slot.whole.is_some() {
            self.counters.needless += 1;
            return Ok(());
        }
        match slot.frame.take(&header, shard, &self.bounds, &mut self.recovery) {
            Ok(taken) => {
                self.counters.shards += 1;
                self.counters.recovered += taken.recovered_count as u64;
                slot.begun.get_or_insert(now);
                slot.grown = Some(now);
                slot.whole = taken.is_whole.then_some(now);
            }
            Err(Refusal::Needless) => self.counters.needless += 1,
            Err(Refusal::Contradiction | Refusal::TooLong) => self.counters.refused += 1,
        }
        Ok(())
    }

    /// Takes the number of the last access unit that the host has sent, as it tells itself.
    pub fn handle_last(&mut self, last: FrameIndex, now: Instant) {
        let newest = self.told.map_or(0, |(told, _)| told);
        if last.0 >= self.next && last.0 > newest && last.0 < u32::MAX {
            self.told = Some((last.0, now));
        }
    }

    /// The next thing for the decoder. `now_us` is `now` by the client's own clock.
    pub fn poll_event(&mut self, now: Instant, now_us: u64) -> Option<Event<'_>> {
        if let Some((first, last)) = self.untold.take() {
            return Some(Event::Lost(FrameIndex(first), FrameIndex(last)));
        }
        let next = self.next;
        let whole = self.first_whole(next);
        if whole != Some(next) {
            let end = self.given_up_to(next, whole, now)?;
            self.give_up(end - 1);
            return Some(Event::Lost(FrameIndex(next), FrameIndex(end - 1)));
        }
        // What cannot be read is as good as lost.
        if FramePrefix::parse(self.slot(next).frame.bytes(&self.bounds)).is_err() {
            self.counters.refused += 1;
            self.give_up(next);
            return Some(Event::Lost(FrameIndex(next), FrameIndex(next)));
        }
        let slot = &mut self.frames[place(next, self.limits.frame_count)];
        let whole = slot.whole?;
        let assembly = whole.saturating_duration_since(slot.begun?);
        // The way is not what it waited for here.
        let waited_us = now.saturating_duration_since(whole).as_micros() as u64;
        std::mem::swap(&mut slot.frame, &mut self.lent);
        self.clear(next);
        self.next = next.saturating_add(1);
        self.counters.units += 1;
        let (prefix, bytes) = FramePrefix::parse(self.lent.bytes(&self.bounds)).ok()?;
        self.delay.note(prefix.captured_us, now_us.wrapping_sub(waited_us));
        Some(Event::Unit(Unit { header: self.lent.header?, prefix, assembly, bytes }))
    }

    /// When to call [`Reassembler::poll_event`] again, if nothing comes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let Some(whole) = self.first_whole(self.next) else {
            return self.stalled(self.next).map(|(since, _)| since + self.limits.stall);
        };
        let since = self.slot(whole).whole.filter(|_| whole > self.next)?;
        Some(since + self.limits.patience)
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How regularly access units come.
    pub fn delay(&self) -> &Delay {
        &self.delay
    }

    /// Bytes that its access units have taken, all in all.
    pub fn unit_capacity(&self) -> usize {
        let frames = self.frames.iter().map(|slot| &slot.frame).chain([&self.lent]);
        frames.map(Frame::capacity).sum()
    }

    fn slot(&self, index: u32) -> &Slot {
        &self.frames[place(index, self.limits.frame_count)]
    }

    /// The first that is whole.
    fn first_whole(&self, next: u32) -> Option<u32> {
        let window = next..next.saturating_add(self.limits.frame_count as u32);
        window.into_iter().find(|index| self.slot(*index).whole.is_some())
    }

    /// The first that is not given up, if any before it are.
    fn given_up_to(&self, next: u32, whole: Option<u32>, now: Instant) -> Option<u32> {
        if self.hurry_to > next {
            return Some(whole.map_or(self.hurry_to, |whole| whole.min(self.hurry_to)));
        }
        let Some(whole) = whole else {
            let (since, end) = self.stalled(next)?;
            return (since + self.limits.stall <= now).then_some(end);
        };
        let slot = self.slot(whole);
        let is_idr = slot.frame.header.is_some_and(|header| header.is_idr);
        let is_over = slot.whole.is_some_and(|since| since + self.limits.patience <= now);
        (is_idr || is_over).then_some(whole)
    }

    /// Since when the next one is waited for, where nothing is whole, and the first behind it that is
    /// waited for by itself. None if it is not known that there is one.
    fn stalled(&self, next: u32) -> Option<(Instant, u32)> {
        if let Some(grown) = self.slot(next).grown {
            return Some((grown, next.saturating_add(1)));
        }
        let mut behind = (next..next.saturating_add(self.limits.frame_count as u32)).skip(1);
        let begun = behind.find_map(|index| Some((self.slot(index).begun?, index)));
        let told = self.told.filter(|(last, _)| *last >= next);
        match (begun, told.map(|(last, since)| (since, last + 1))) {
            (Some(begun), Some(told)) => Some((begun.0.min(told.0), begun.1.min(told.1))),
            (begun, told) => begun.or(told),
        }
    }

    /// Gives up what is before one that is far ahead. Not so where something is whole, which has to be
    /// told first: then the next shard that is as far ahead finds a place.
    fn make_room(&mut self, next: u32) -> bool {
        self.hurry_to = self.hurry_to.max(next);
        if self.first_whole(self.next).is_some() {
            return false;
        }
        let first = self.untold.map_or(self.next, |(first, _)| first);
        self.give_up(next - 1);
        self.untold = Some((first, next - 1));
        true
    }

    /// Gives up the next one and those behind it, to the last of them.
    fn give_up(&mut self, last: u32) {
        self.counters.lost_units += u64::from(last - self.next + 1);
        for index in (self.next..=last).take(self.limits.frame_count) {
            self.clear(index);
        }
        self.next = last.saturating_add(1);
    }

    fn clear(&mut self, index: u32) {
        let slot = &mut self.frames[place(index, self.limits.frame_count)];
        slot.frame.clear();
        (slot.begun, slot.grown, slot.whole) = (None, None, None);
    }
}

/// Where an access unit is put together.
fn place(index: u32, frame_count: usize) -> usize {
    index as usize % frame_count
}

impl fmt::Debug for Reassembler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reassembler").field("limits", &self.limits).finish_non_exhaustive()
    }
}
