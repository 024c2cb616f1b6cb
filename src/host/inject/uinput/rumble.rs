//! The motors of one gamepad: effects that programs upload and play become strengths, as the
//! kernel's ff-memless makes them for real gamepads.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use punktfunk_core::net::uinput::{self, EFFECT_COUNT_MAX, Force};

/// The largest magnitude of a periodic effect.
const MAGNITUDE_MAX: u16 = 0x7fff;
/// Between two changes that the client is told of.
const TELL_INTERVAL: Duration = Duration::from_millis(8);
/// How often a strength is looked at that rises or falls.
const ENVELOPE_STEP: Duration = Duration::from_millis(50);

/// What the two motors do; 65535 is all they can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strengths {
    /// The heavy one, of low frequency.
    pub strong: u16,
    /// The light one, of high frequency.
    pub weak: u16,
}

/// An effect in terms of motors.
#[derive(Clone, Copy, Debug)]
struct Effect {
    /// While it runs.
    strengths: Strengths,
    /// How long it waits, once played.
    delay: Duration,
    /// How long it runs; zero is for ever.
    length: Duration,
    envelope: Envelope,
}

/// Beginning and end of an effect, of no length where it has none.
#[derive(Clone, Copy, Debug, Default)]
struct Envelope {
    /// How long it takes from `attack_level` to its strength.
    attack: Duration,
    attack_level: u16,
    /// How long it takes from its strength to `fade_level`.
    fade: Duration,
    fade_level: u16,
}

/// See the module.
#[derive(Debug)]
pub struct Motors {
    effects: [Option<Held>; EFFECT_COUNT_MAX],
    gain: u16,
    /// What the client was last told, and when.
    told: (Strengths, Option<Instant>),
    next: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    effect: Effect,
    play: Option<Play>,
}

/// An effect at work.
#[derive(Clone, Copy, Debug)]
struct Play {
    began: Instant,
    /// How often it is to run.
    count: u32,
}

impl Default for Motors {
    fn default() -> Motors {
        let told = (Strengths::default(), None);
        Motors { effects: [None; EFFECT_COUNT_MAX], gain: u16::MAX, told, next: None }
    }
}

impl Motors {
    /// Takes an effect, in place of the one of that number. One that plays goes on as the new one.
    pub fn upload(&mut self, id: usize, effect: uinput::Effect, now: Instant) {
        let effect = Effect::new(effect);
        if let Some(slot) = self.effects.get_mut(id) {
            let play = slot.and_then(|held| held.play).map(|play| Play { began: now, ..play });
            *slot = Some(Held { effect, play });
        }
    }

    /// Drops an effect, which ends it.
    pub fn erase(&mut self, id: usize) {
        if let Some(slot) = self.effects.get_mut(id) {
            *slot = None;
        }
    }

    /// Plays an effect so often from now on; none or less stops it.
    pub fn play(&mut self, id: usize, count: i32, now: Instant) {
        if let Some(Some(held)) = self.effects.get_mut(id) {
            let count = u32::try_from(count).unwrap_or(0);
            held.play = (count > 0).then_some(Play { began: now, count });
        }
    }

    /// What all strengths are multiplied by; 65535 is once.
    pub fn set_gain(&mut self, gain: u16) {
        self.gain = gain;
    }

    /// What the client was last told.
    pub fn told(&self) -> Strengths {
        self.told.0
    }

    /// What the client is to be told, if anything. To be called after every change, until there is
    /// nothing.
    pub fn poll(&mut self, now: Instant) -> Option<Strengths> {
        let strengths = self.settle(now);
        let (told, told_at) = self.told;
        if strengths == told {
            return None;
        }
        if let Some(may_at) = told_at.map(|at| at + TELL_INTERVAL).filter(|at| now < *at) {
            self.next = Some(self.next.map_or(may_at, |next| next.min(may_at)));
            return None;
        }
        self.told = (strengths, Some(now));
        Some(strengths)
    }

    /// When to call [`Motors::poll`] again, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// What the motors do now. Effects that are over end.
    fn settle(&mut self, now: Instant) -> Strengths {
        let [mut strong, mut weak] = [0_u32; 2];
        self.next = None;
        for held in self.effects.iter_mut().flatten() {
            let Some(play) = held.play else { continue };
            let Some((level, change)) = held.effect.at(play, now) else {
                held.play = None;
                continue;
            };
            strong += u32::from(level.strong);
            weak += u32::from(level.weak);
            self.next = self.next.into_iter().chain(change).min();
        }
        let gained = |sum: u32| {
            let scaled = u64::from(sum) * u64::from(self.gain) / u64::from(u16::MAX);
            scaled.min(u16::MAX.into()) as u16
        };
        Strengths { strong: gained(strong), weak: gained(weak) }
    }
}

impl Effect {
    fn new(uinput::Effect { force, delay, length }: uinput::Effect) -> Effect {
        let (strengths, envelope) = match force {
            Force::Rumble { strong, weak } => (Strengths { strong, weak }, Envelope::default()),
            Force::Periodic { magnitude, attack, fade } => {
                let strength = doubled(magnitude.unsigned_abs());
                let envelope = Envelope {
                    attack: attack.0,
                    attack_level: doubled(attack.1),
                    fade: fade.0,
                    fade_level: doubled(fade.1),
                };
                (Strengths { strong: strength, weak: strength }, envelope)
            }
        };
        Effect { strengths, delay, length, envelope }
    }

    /// What it does at that moment and when that changes; `None` when it is over.
    fn at(&self, play: Play, now: Instant) -> Option<(Strengths, Option<Instant>)> {
        let since = now.saturating_duration_since(play.began);
        let (index, within) = if self.length.is_zero() {
            (0, since)
        } else {
            let cycle = (self.delay + self.length).as_nanos();
            let since = since.as_nanos();
            (since / cycle, Duration::from_nanos((since % cycle) as u64))
        };
        if index >= u128::from(play.count) {
            return None;
        }
        let after = |time: Duration| now.checked_add(time);
        let Some(ran) = within.checked_sub(self.delay) else {
            return Some((Strengths::default(), after(self.delay - within)));
        };
        let left = (!self.length.is_zero()).then(|| self.length.saturating_sub(ran));
        let (strengths, steady_for) = self.shaped(ran, left);
        Some((strengths, steady_for.and_then(after)))
    }

    /// How strong it is after it ran so long, with so much left, and how long that stays so; `None`
    /// is for ever.
    fn shaped(&self, ran: Duration, left: Option<Duration>) -> (Strengths, Option<Duration>) {
        let Envelope { attack, attack_level, fade, fade_level } = self.envelope;
        let between = |from: u16, part: Duration, whole: Duration| {
            let (part, whole) = (part.as_millis() as i64, whole.as_millis() as i64);
            let from = i64::from(from);
            let level = |to: u16| (from + (i64::from(to) - from) * part / whole) as u16;
            let Strengths { strong, weak } = self.strengths;
            Strengths { strong: level(strong), weak: level(weak) }
        };
        let step = left.map_or(ENVELOPE_STEP, |left| left.min(ENVELOPE_STEP));
        if ran < attack {
            return (between(attack_level, ran, attack), Some(step));
        }
        match left {
            Some(left) if left <= fade => (between(fade_level, left, fade), Some(step)),
            _ => (self.strengths, left.map(|left| left - fade)),
        }
    }
}

/// From the range of magnitudes to that of motors.
fn doubled(magnitude: u16) -> u16 {
    let magnitude = u32::from(magnitude.min(MAGNITUDE_MAX));
    (magnitude * u32::from(u16::MAX) / u32::from(MAGNITUDE_MAX)) as u16
}

#[cfg(test)]
mod tests {
    use punktfunk_core::net::clock;

    use super::*;

    const FULL: u16 = u16::MAX;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn effect(strong: u16, weak: u16, delay: u64, length: u64) -> uinput::Effect {
        let force = Force::Rumble { strong, weak };
        uinput::Effect { force, delay: ms(delay), length: ms(length) }
    }

    /// What a client is told by when, with a reactor that comes exactly when it is asked to.
    fn told(motors: &mut Motors, start: Instant, until: Duration) -> Vec<(u64, u16, u16)> {
        let mut told = Vec::new();
        let mut now = start;
        for _ in 0..1_000 {
            while let Some(Strengths { strong, weak }) = motors.poll(now) {
                told.push(((now - start).as_millis() as u64, strong, weak));
            }
            match motors.poll_timeout() {
                Some(at) if at <= start + until => {
                    assert!(at > now, "it asks for no time that is over");
                    now = at;
                }
                _ => return told,
            }
        }
        panic!("it never rests: {told:?}");
    }

    #[test]
    fn effects_run_as_long_and_as_often_as_they_are_told_to() {
        // Delay and length of an effect in ms, how often it is played, what follows.
        type Told = &'static [(u64, u16, u16)];
        let cases: [(u64, u64, i32, Told); 6] = [
            (0, 100, 1, &[(0, 7, 9), (100, 0, 0)]),
            (0, 100, 3, &[(0, 7, 9), (300, 0, 0)]),
            (50, 100, 2, &[(50, 7, 9), (150, 0, 0), (200, 7, 9), (300, 0, 0)]),
            (0, 0, 1, &[(0, 7, 9)]),
            (20, 0, i32::MAX, &[(20, 7, 9)]),
            (0, 100, 0, &[]),
        ];
        for (delay, length, count, expected) in cases {
            let start = clock::now();
            let mut motors = Motors::default();
            motors.upload(3, effect(7, 9, delay, length), start);

            motors.play(3, count, start);

            assert_eq!(told(&mut motors, start, ms(10_000)), expected, "{delay} {length} {count}");
        }
    }

    #[test]
    fn what_plays_can_be_stopped_changed_and_erased() {
        let start = clock::now();
        let at = |ms_: u64| start + ms(ms_);
        let levels = |strong, weak| Some(Strengths { strong, weak });
        let mut motors = Motors::default();
        motors.upload(0, effect(100, 0, 0, 0), start);
        motors.play(0, 1, start);

        assert_eq!(motors.poll(start), levels(100, 0));
        motors.upload(0, effect(200, 1, 0, 0), at(20));
        assert_eq!(motors.poll(at(20)), levels(200, 1));
        motors.play(0, 0, at(40));
        assert_eq!(motors.poll(at(40)), levels(0, 0));
        motors.play(0, 1, at(60));
        assert_eq!(motors.poll(at(60)), levels(200, 1));
        motors.erase(0);
        assert_eq!(motors.poll(at(80)), levels(0, 0));
        motors.play(0, 1, at(100));
        assert_eq!(motors.poll(at(100)), None);
        motors.play(99, 1, at(100));
        motors.upload(99, effect(1, 1, 0, 0), at(100));
        motors.erase(99);
        assert_eq!((motors.poll(at(120)), motors.poll_timeout()), (None, None));
    }

    #[test]
    fn effects_add_up_to_no_more_than_all_there_is() {
        let start = clock::now();
        let mut motors = Motors::default();
        for (id, strong) in [(0, 0x8000), (15, 0x9000)] {
            motors.upload(id, effect(strong, 0x1000, 0, 0), start);
            motors.play(id, 1, start);
        }

        assert_eq!(motors.poll(start), Some(Strengths { strong: FULL, weak: 0x2000 }));
        motors.set_gain(0x8000);
        let half = Strengths { strong: 0x8800, weak: 0x1000 };
        assert_eq!(motors.poll(start + ms(10)), Some(half));
        motors.set_gain(0);
        assert_eq!(motors.poll(start + ms(20)), Some(Strengths::default()));
    }

    #[test]
    fn a_client_is_told_at_most_so_often_and_of_the_last_state_always() {
        let start = clock::now();
        let mut motors = Motors::default();
        let mut told = Vec::new();
        for step in 0..1_000 {
            let now = start + Duration::from_micros(100 * step);
            motors.upload(0, effect(step as u16 + 1, 0, 0, 0), now);
            motors.play(0, 1, now);
            told.extend(motors.poll(now).map(|strengths| strengths.strong));
        }
        let last = motors.poll_timeout().unwrap();

        assert_eq!(told.len(), 13);
        assert_eq!(motors.poll(last), Some(Strengths { strong: 1_000, weak: 0 }));
        assert_eq!(motors.poll_timeout(), None);
    }

    #[test]
    fn an_effect_may_rise_and_fall() {
        let start = clock::now();
        let mut motors = Motors::default();
        let force =
            Force::Periodic { magnitude: -0x7fff, attack: (ms(100), 0), fade: (ms(100), 0x4000) };
        motors.upload(0, uinput::Effect { force, ..effect(0, 0, 0, 400) }, start);
        motors.play(0, 1, start);

        let expected =
            [(50, 32_767, 32_767), (100, FULL, FULL), (350, 49_151, 49_151), (400, 0, 0)];
        assert_eq!(told(&mut motors, start, ms(10_000)), expected);
    }
}
