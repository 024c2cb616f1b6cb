//! The frame thread: from the display to access units.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use punktfunk_core::net::bell::Bell;
use punktfunk_core::net::clock;
use punktfunk_core::proto::packet::video::FrameKind;
use punktfunk_core::proto::units::FrameIndex;
use rtrb::{Consumer, Producer};

use super::rhythm::Rhythm;
use super::{AccessUnit, Counter, Order, Plan, Report, Reports, Services, Stage, Stats, Watch};
use crate::capture::Next;
use crate::capture::source::{Source, SourcePlan};
use crate::code::Code;
use crate::convert::Converter;
use crate::display::{Display, Lease};
use crate::encode::{self, Encoder, Invalidation};
use crate::inject::wayland::Place;
use crate::picture::Planes;

/// How often it is looked whether a display is as it was and its programs still run.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// An encoder that was lost is opened anew this often in a session.
const REOPEN_COUNT_MAX: u32 = 3;
/// The least time between two frames by their stamps: more than a tick of 90 kHz.
const STAMP_STEP: Duration = Duration::from_micros(12);
/// How long to wait for a picture where nothing else is to be done. Any time would do.
const LONG: Duration = Duration::from_secs(60);

/// The rings of this thread.
pub struct Ends {
    /// Filled access units, to the packet thread.
    pub units: Producer<AccessUnit>,
    /// Empty ones, back from it.
    pub empty: Consumer<AccessUnit>,
    /// From the reactor.
    pub orders: Consumer<Order>,
}

/// See the module.
pub struct Thread {
    plan: Plan,
    services: Services,
    ends: Ends,
    bell: Arc<Bell>,
    packet_bell: Arc<Bell>,
    stats: Arc<Stats>,
    reports: Reports,
    is_stopped: Arc<AtomicBool>,
    references: References,
    rhythm: Rhythm,
    is_begun: bool,
    reopened_count: u32,
    /// When the last frame was captured, as its access unit says. Later frames are later.
    stamp: Instant,
}

/// What there is once the encoder is open.
struct Stages {
    source: Source,
    /// When the newest picture was captured.
    captured: Instant,
    converter: Converter,
    /// What the encoder is given: of the newest picture, unless that is fresh.
    planes: Planes,
    encoder: Encoder,
    /// What `source` shows. It goes last.
    display: Option<Lease>,
    /// When that is looked at next.
    look_at: Instant,
}

impl Stages {
    /// The display, if it is time to look how it is.
    fn look(&mut self, now: Instant) -> Option<&mut Lease> {
        if now < self.look_at {
            return None;
        }
        self.look_at = now + LOOK_INTERVAL;
        self.display.as_mut()
    }
}

/// What the decoder may be without, and what is done about it.
#[derive(Debug)]
struct References {
    /// The last frame that was encoded; 0 before the first.
    newest: u32,
    wants_idr: bool,
    last_idr: Option<Instant>,
    interval_min: Duration,
    /// Frames up to this one are healed already.
    healed: u32,
}

impl Thread {
    pub fn new(
        plan: Plan,
        services: Services,
        ends: Ends,
        [bell, packet_bell]: [Arc<Bell>; 2],
        stats: Arc<Stats>,
        reports: Reports,
        is_stopped: Arc<AtomicBool>,
    ) -> Thread {
        let references = References::new(plan.idr_interval_min);
        let now = clock::now();
        let rhythm = Rhythm::new(plan.encoder.refresh_mhz, now);
        Thread {
            plan,
            services,
            ends,
            bell,
            packet_bell,
            stats,
            reports,
            is_stopped,
            references,
            rhythm,
            is_begun: false,
            reopened_count: 0,
            stamp: now,
        }
    }

    pub fn run(mut self) {
        let mut stage = match self.open() {
            Ok(stage) => stage,
            Err(why) => return self.reports.push(Report::Failed(why)),
        };
        self.reports.push(Report::Ready(stage.encoder.name().to_owned()));
        // Threads that the encoder made are where they like: pinning comes after it.
        let mut watch = Watch::begin(&self.plan.schedule, 0, clock::now());
        if self.wait_for_client(&mut stage.encoder) {
            self.stream(&mut stage, &mut watch);
        }
    }

    fn open(&mut self) -> Result<Stages, String> {
        let settings = &self.plan.encoder;
        let size = (settings.width as usize, settings.height as usize);
        let refresh_mhz = settings.refresh_mhz;
        let (source_plan, display) = match self.plan.display.take() {
            None => (SourcePlan::Test, None),
            Some(wanted) => {
                let display = self.services.displays.open(wanted).map_err(no_picture)?;
                let (socket, output) = display.wayland();
                let why = display.why();
                self.reports.push(Report::Display(why, place(&display)));
                let memory = self.plan.memory;
                (SourcePlan::Screen { socket, output, memory }, Some(display))
            }
        };
        let opened = Source::open(&source_plan, size, refresh_mhz);
        let mut source = opened.map_err(no_picture)?;
        self.tell(&mut source);
        let (encoder, converter, planes) = self.open_for(&source)?;
        Ok(Stages {
            source,
            captured: clock::now(),
            converter,
            planes,
            encoder,
            display,
            look_at: clock::now() + LOOK_INTERVAL,
        })
    }

    /// Reports what a source has to say.
    fn tell(&mut self, source: &mut Source) {
        if let Some(news) = source.take_news() {
            self.reports.push(Report::Pictures(news));
        }
    }

    /// What is made for pictures of this source's size.
    fn open_for(&mut self, source: &Source) -> Result<(Encoder, Converter, Planes), String> {
        let (width, height) = source.size();
        // A colour is for two pixels by two, so an odd row or column is left out.
        let (width, height) = (width & !1, height & !1);
        let settings = &mut self.plan.encoder;
        (settings.width, settings.height) = (width as u32, height as u32);
        let encoder = self.open_encoder()?;
        let converter = Converter::new(encoder.layout(), self.plan.encoder.colour);
        let planes = Planes::new(encoder.layout(), width, height);
        Ok((encoder, converter, planes))
    }

    fn open_encoder(&self) -> Result<Encoder, String> {
        let plugin = self.services.plugins.get().map_err(|error| error.to_string())?;
        let opened = Encoder::open(&plugin, &self.plan.encoder);
        opened.map_err(|error| format!("{error} [{}]", Code::Encoders))
    }

    /// Returns whether there is somebody to send to; otherwise it is over.
    fn wait_for_client(&mut self, encoder: &mut Encoder) -> bool {
        while !self.is_begun {
            if self.is_stopped() {
                return false;
            }
            let (orders, is_stopped) = (&self.ends.orders, &self.is_stopped);
            let has_work = || !orders.is_empty() || is_stopped.load(Ordering::Acquire);
            self.bell.sleep(has_work, None);
            self.take_orders(encoder);
        }
        true
    }

    /// Frames of pictures until told to stop, each at its time.
    fn stream(&mut self, stage: &mut Stages, watch: &mut Watch) {
        // The first picture of a screen is older than the stream.
        self.stamp = clock::now();
        loop {
            self.take_orders(&mut stage.encoder);
            if self.is_stopped() {
                return;
            }
            let now = clock::now();
            if let Some(display) = stage.look(now) {
                match display.restore() {
                    // What ran there had something to show, if it ran at all.
                    Ok(false) if display.has_ended() => {
                        return self.reports.push(Report::AppEnded(display.last_words()));
                    }
                    Ok(false) => {}
                    Ok(true) => {
                        let why = "as it was, after sway has read its configuration anew";
                        self.reports.push(Report::Display(why.to_owned(), place(display)));
                    }
                    Err(error) => return self.reports.push(Report::Failed(no_picture(error))),
                }
            }
            let repeats = stage.source.rests() && stage.source.last().is_some();
            let at = self.rhythm.frame_at(repeats, self.references.idr_at(now));
            let done = if at.is_some_and(|at| at <= now) {
                watch.look(now);
                self.make_if_room(stage, now)
            } else {
                self.wait_for_picture(stage, at.unwrap_or(now + LONG))
            };
            if let Err(why) = done {
                return self.reports.push(Report::Failed(why));
            }
        }
    }

    /// Waits for a new picture until then, or until there are orders.
    fn wait_for_picture(&mut self, stage: &mut Stages, until: Instant) -> Result<(), String> {
        let (orders, is_stopped) = (&self.ends.orders, &self.is_stopped);
        let has_work = || !orders.is_empty() || is_stopped.load(Ordering::Acquire);
        match stage.source.next(&self.bell, has_work, until) {
            Ok(Next::Nothing) => {}
            Ok(Next::Picture(_, captured)) => {
                let now = clock::now();
                stage.captured = captured;
                self.stats.time(Stage::Capture, now.saturating_duration_since(captured));
                let is_late = self.rhythm.on_picture(now);
                let late_count = stage.source.take_late_count() + u64::from(is_late);
                self.stats.add(Counter::SkippedLate, late_count);
            }
            Ok(Next::Resized) => {
                let now = clock::now();
                let opened = self.open_for(&stage.source)?;
                (stage.encoder, stage.converter, stage.planes) = opened;
                self.rhythm.on_lost();
                self.references.wants_idr = true;
                let (width, height) = stage.source.size();
                self.reports.push(Report::Resized(width, height, clock::now() - now));
            }
            Err(error) => return Err(no_picture(error)),
        }
        self.tell(&mut stage.source);
        Ok(())
    }

    /// A frame of the newest picture, if there is room for its access unit.
    fn make_if_room(&mut self, stage: &mut Stages, now: Instant) -> Result<(), String> {
        let Ok(unit) = self.ends.empty.pop() else {
            self.stats.add(Counter::SkippedBehind, 1);
            self.rhythm.on_full(now);
            return Ok(());
        };
        let Err(error) = self.make(stage, unit, now) else {
            self.rhythm.on_made(now);
            return Ok(());
        };
        if self.reopened_count == REOPEN_COUNT_MAX {
            return Err(error.to_string());
        }
        self.reopened_count += 1;
        stage.encoder = self.open_encoder()?;
        self.stats.add(Counter::EncoderReopened, 1);
        self.references.wants_idr = true;
        self.rhythm.on_full(now);
        let time = clock::now().duration_since(now);
        self.reports.push(Report::Reopened(error.to_string(), time));
        Ok(())
    }

    /// One frame, from the picture to the ring.
    fn make(
        &mut self,
        stage: &mut Stages,
        mut unit: AccessUnit,
        now: Instant,
    ) -> Result<(), encode::Error> {
        let mut captured = now;
        let mut converted = now;
        if self.rhythm.is_fresh()
            && let Some(picture) = stage.source.last()
        {
            let picture = picture.cropped(stage.planes.width(), stage.planes.height());
            stage.converter.convert(&picture, &mut stage.planes);
            captured = stage.captured;
            converted = clock::now();
            self.stats.time(Stage::Convert, converted - now);
        }
        if self.references.is_idr_due(now) {
            stage.encoder.request_idr();
        }
        let index = FrameIndex(self.references.newest + 1);
        let encoded = encode(&mut stage.encoder, &stage.planes, index, &mut unit);
        if let Err(error) = encoded {
            self.packet_bell.ring();
            self.keep(unit);
            return Err(error);
        }
        let finished = clock::now();
        // A picture that came just after the last one was repeated is older than the repetition.
        self.stamp = captured.max(self.stamp + STAMP_STEP);
        (unit.index, unit.captured) = (index, self.stamp);
        self.references.on_encoded(unit.kind, now);
        self.stats.time(Stage::Encode, finished - converted);
        self.stats.add(Counter::Frames, 1);
        self.stats.add(Counter::EncodedBytes, unit.bytes.len() as u64);
        self.stats.add(Counter::Idrs, u64::from(unit.kind == FrameKind::Idr));
        self.stats.add(Counter::Healed, u64::from(unit.kind == FrameKind::Healed));
        self.keep(unit);
        self.packet_bell.ring();
        Ok(())
    }

    /// Sends an access unit round; an empty one is given back by the packet thread.
    fn keep(&mut self, unit: AccessUnit) {
        // There is room for as many as there are.
        let _ = self.ends.units.push(unit);
    }

    fn take_orders(&mut self, encoder: &mut Encoder) {
        while let Ok(order) = self.ends.orders.pop() {
            match order {
                Order::Bitrate(kbps) => {
                    let frame_len_max = Some(self.plan.frame_len_max(kbps));
                    if encoder.set_bitrate(kbps, frame_len_max) {
                        let settings = &mut self.plan.encoder;
                        (settings.bitrate_kbps, settings.frame_len_max) = (kbps, frame_len_max);
                    }
                }
                Order::Invalidate(first, last) => {
                    if let Some((first, last)) = self.references.take_loss(first, last) {
                        match encoder.invalidate(first, last) {
                            Invalidation::IdrInstead => self.references.wants_idr = true,
                            Invalidation::Obeyed => self.rhythm.on_order(),
                        }
                    }
                }
                Order::RequestIdr => self.references.wants_idr = true,
                Order::SendTo(_) => self.is_begun = true,
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }
}

/// Why there is nothing to see, with the code of that.
fn no_picture(error: impl fmt::Display) -> String {
    format!("{error} [{}]", Code::Display)
}

/// Where input for a display goes.
fn place(display: &Display) -> Place {
    let (socket, output) = display.wayland();
    Place { socket, output, seat: display.seat(), ipc: display.ipc() }
}

fn encode(
    encoder: &mut Encoder,
    planes: &Planes,
    index: FrameIndex,
    unit: &mut AccessUnit,
) -> Result<(), encode::Error> {
    unit.bytes.clear();
    encoder.submit(planes, index)?;
    let Some(encoded) = encoder.poll()? else {
        return Err(encode::Error::Plugin("a picture without an access unit"));
    };
    unit.bytes.extend_from_slice(encoded.bytes);
    unit.kind = match (encoded.is_idr, encoded.heals) {
        (true, _) => FrameKind::Idr,
        (false, true) => FrameKind::Healed,
        (false, false) => FrameKind::P,
    };
    Ok(())
}

impl References {
    fn new(interval_min: Duration) -> References {
        References { newest: 0, wants_idr: true, last_idr: None, interval_min, healed: 0 }
    }

    /// From when on the next frame is to be an IDR frame, if one is wanted. Requests that come too
    /// fast after one are met by one later frame, all of them.
    fn idr_at(&self, now: Instant) -> Option<Instant> {
        self.wants_idr.then(|| self.last_idr.map_or(now, |last| last + self.interval_min))
    }

    fn is_idr_due(&self, now: Instant) -> bool {
        self.idr_at(now).is_some_and(|at| at <= now)
    }

    /// The frames that the next one may not refer to, in place of those that the client names:
    /// everything up to the newest depends on the first that is lost. `None` where an IDR frame is
    /// due anyway, or a frame is on its way that heals this loss.
    fn take_loss(
        &mut self,
        first: FrameIndex,
        last: FrameIndex,
    ) -> Option<(FrameIndex, FrameIndex)> {
        if first > last || last.0 > self.newest || first.0 == 0 {
            self.wants_idr = true;
            return None;
        }
        if self.wants_idr || last.0 <= self.healed {
            return None;
        }
        self.healed = self.newest;
        Some((first, FrameIndex(self.newest)))
    }

    fn on_encoded(&mut self, kind: FrameKind, now: Instant) {
        self.newest += 1;
        if kind == FrameKind::Idr {
            self.wants_idr = false;
            self.last_idr = Some(now);
            self.healed = self.newest - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL_MIN: Duration = Duration::from_millis(250);

    fn after(kinds: &[FrameKind], now: Instant) -> References {
        let mut references = References::new(INTERVAL_MIN);
        for kind in kinds {
            references.on_encoded(*kind, now);
        }
        references
    }

    #[test]
    fn the_first_frame_is_an_idr_frame_and_a_storm_of_requests_makes_few() {
        let now = clock::now();
        let mut references = References::new(INTERVAL_MIN);
        let mut idr_count = 0;

        for frame in 0..60 {
            let now = now + Duration::from_millis(16) * frame;
            references.wants_idr = true;
            let is_due = references.is_idr_due(now);
            references.on_encoded(if is_due { FrameKind::Idr } else { FrameKind::P }, now);
            assert!(frame > 0 || is_due);
            idr_count += u32::from(is_due);
        }

        assert_eq!(idr_count, 4);
    }

    #[test]
    fn what_is_lost_is_healed_once_and_from_there_on() {
        use FrameKind::{Idr, P};
        let now = clock::now();
        let frames: Vec<FrameKind> = [Idr].into_iter().chain([P; 9]).collect();
        let lost = |first, last| (FrameIndex(first), FrameIndex(last));
        let table = [
            (lost(8, 9), Some(lost(8, 10)), false),
            (lost(10, 10), Some(lost(10, 10)), false),
            // Not sent yet, the wrong way round, or no frame at all: as good as a request.
            (lost(8, 11), None, true),
            (lost(9, 8), None, true),
            (lost(0, 3), None, true),
        ];
        for ((first, last), expected, wants_idr) in table {
            let mut references = after(&frames, now);

            assert_eq!(references.take_loss(first, last), expected, "{first} to {last}");
            assert_eq!(references.wants_idr, wants_idr, "{first} to {last}");
            // The client says it again until it sees the frame that heals.
            assert_eq!(references.take_loss(first, last), None);
        }
    }

    #[test]
    fn a_later_loss_is_healed_again() {
        use FrameKind::{Healed, Idr, P};
        let mut references = after(&[Idr, P, P, P], clock::now());
        references.take_loss(FrameIndex(3), FrameIndex(3)).unwrap();
        references.on_encoded(Healed, clock::now());

        let again = references.take_loss(FrameIndex(5), FrameIndex(5));

        assert_eq!(again, Some((FrameIndex(5), FrameIndex(5))));
    }
}
