//! Packets of sound to Opus frames, at the client.
//!
//! Frames are given out in their order, each once, as soon as they are there: nothing waits but for
//! a gap. One lost packet is no gap, as the next has its frame. A gap is waited for as long as was
//! agreed on, since the first packet behind it came: some way may have held up a packet. Then it is
//! named, for the decoder to conceal. How much is kept for the loudspeakers is the player's
//! business.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::{Duration, Instant};

use super::{AudioPacket, FRAME_LEN_MAX};
use crate::proto::packet::native::header::Error;

/// Frames that may wait behind a gap.
pub const FRAME_COUNT: usize = 16;

/// What there is for the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// The frames of these numbers will not come.
    Lost(u32, u32),
}

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Counted from 1.
    pub number: u32,
    /// Samples of each channel, at 48 kHz.
    pub sample_count: u16,
    /// When the first sample was captured, by the host's clock, in microseconds.
    pub captured_us: u64,
    /// What the encoder made.
    pub bytes: &'a [u8],
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames given out.
    pub frames: u64,
    /// Those of them that came with the packet behind theirs.
    pub recovered: u64,
    /// Frames given up.
    pub lost: u64,
    /// Packets that had nothing new: they were late, or came twice.
    pub needless: u64,
    /// Payloads that are none.
    pub refused: u64,
}

/// See the module. It has all its memory.
pub struct AudioReceiver {
    patience: Duration,
    /// The next to be given out.
    next: u32,
    /// Those before it are given up.
    lost_to: u32,
    /// That of each number is at its remainder.
    slots: Box<[Slot; FRAME_COUNT]>,
    counters: Counters,
}

/// What is known of a frame that is there.
#[derive(Clone, Copy)]
struct Here {
    number: u32,
    sample_count: u16,
    captured_us: u64,
    came: Instant,
    is_recovered: bool,
}

#[derive(Clone, Copy)]
struct Slot {
    here: Option<Here>,
    len: usize,
    bytes: [u8; FRAME_LEN_MAX],
}

impl Slot {
    fn has(&self, number: u32) -> bool {
        self.here.is_some_and(|here| here.number == number)
    }
}

impl AudioReceiver {
    /// Begins with frame 1. `patience` is how long a gap is waited for.
    pub fn new(patience: Duration) -> AudioReceiver {
        let empty = Slot { here: None, len: 0, bytes: [0; FRAME_LEN_MAX] };
        AudioReceiver {
            patience,
            next: 1,
            lost_to: 1,
            slots: Box::new([empty; FRAME_COUNT]),
            counters: Counters::default(),
        }
    }

    /// Takes the payload of a packet of sound that was opened. Events are to be polled afterwards.
    pub fn handle_payload(&mut self, payload: &[u8], now: Instant) -> Result<(), Error> {
        let packet = AudioPacket::parse(payload).inspect_err(|_| self.counters.refused += 1)?;
        self.make_room(&packet);
        let AudioPacket { number, sample_count, captured_us, .. } = packet;
        let frame = Here { number, sample_count, captured_us, came: now, is_recovered: false };
        let before = Here {
            number: number - 1,
            captured_us: captured_us.saturating_sub(u64::from(sample_count) * 1000 / 48),
            is_recovered: true,
            ..frame
        };
        let is_before_new = !packet.before.is_empty() && self.put(before, packet.before);
        if !self.put(frame, packet.frame) && !is_before_new {
            self.counters.needless += 1;
        }
        Ok(())
    }

    /// The next thing for the decoder.
    pub fn poll_event(&mut self, now: Instant) -> Option<Event<'_>> {
        let next = self.next;
        if self.lost_to > next || !self.slots[place(next)].has(next) {
            let end = self.given_up_to(now)?;
            self.counters.lost += u64::from(end - next);
            (self.next, self.lost_to) = (end, end);
            return Some(Event::Lost(next, end - 1));
        }
        (self.next, self.lost_to) = (next + 1, next + 1);
        let slot = &mut self.slots[place(next)];
        let here = slot.here.take()?;
        self.counters.frames += 1;
        self.counters.recovered += u64::from(here.is_recovered);
        Some(Event::Frame(Frame {
            number: next,
            sample_count: here.sample_count,
            captured_us: here.captured_us,
            bytes: &slot.bytes[..slot.len],
        }))
    }

    /// When to call [`AudioReceiver::poll_event`] again, if nothing comes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let came = self.waiting().map(|here| here.came).min()?;
        Some(came + self.patience)
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What is so far ahead that there is no place for it makes those that wait stale.
    fn make_room(&mut self, packet: &AudioPacket<'_>) {
        if packet.number.saturating_sub(self.lost_to) < FRAME_COUNT as u32 {
            return;
        }
        self.lost_to = packet.number - u32::from(!packet.before.is_empty());
        for slot in self.slots.iter_mut() {
            slot.here = slot.here.filter(|here| here.number >= self.lost_to);
        }
    }

    /// Takes a frame, and says whether it was of use.
    fn put(&mut self, here: Here, bytes: &[u8]) -> bool {
        let slot = &mut self.slots[place(here.number)];
        if here.number < self.lost_to || slot.has(here.number) {
            return false;
        }
        (slot.here, slot.len) = (Some(here), bytes.len());
        slot.bytes[..bytes.len()].copy_from_slice(bytes);
        true
    }

    /// The first that is not given up, if any before it are.
    fn given_up_to(&self, now: Instant) -> Option<u32> {
        if self.lost_to > self.next {
            return Some(self.lost_to);
        }
        self.poll_timeout().filter(|at| *at <= now)?;
        self.waiting().map(|here| here.number).min()
    }

    fn waiting(&self) -> impl Iterator<Item = Here> {
        self.slots.iter().filter_map(|slot| slot.here)
    }
}

/// Where a frame is kept.
fn place(number: u32) -> usize {
    number as usize % FRAME_COUNT
}

impl fmt::Debug for AudioReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioReceiver").field("next", &self.next).finish_non_exhaustive()
    }
}
