//! The gamepads of one client, as devices of the kernel's.
//!
//! A gamepad is made when the client says that it is there and goes when the client says so, when
//! the client may not use gamepads any more, or with the session. Its number and its physical path
//! are the client's own, so it is the same one whenever it comes back. Making and closing take the
//! kernel milliseconds and are left to the caller, as [`Act`]s; of what comes in the meantime the
//! last state counts.

#![forbid(unsafe_code)]

pub(super) mod codes;
pub mod model;
pub mod pad;
mod rumble;
mod touch;

use std::collections::VecDeque;
use std::mem;
use std::time::Instant;

use punktfunk_core::proto::input::{
    Arrival, Feedback, GAMEPAD_COUNT_MAX, GamepadEvent, GamepadIndex, GamepadState, Sensor,
};

pub use model::Model;
pub use pad::{Order, Pad};
pub use punktfunk_core::net::uinput::Error;

/// Samples per second that are asked for of sensors that programs may read.
const MOTION_RATE_HZ: u16 = 100;

/// Gamepads that are made in a session at most. Each is some lines in the kernel's log and work for
/// udev, and a client may have one come and go as fast as it likes.
const MADE_COUNT_MAX: u32 = 1_000;

/// How gamepads of a client are made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// So many are seen, from the first on.
    pub count_max: u8,
    /// What each is like; none: what suits the client's.
    pub model: Option<Model>,
    /// Names the client in physical paths.
    pub owner: String,
}

/// Something that is not done by the reactor's thread itself.
#[derive(Debug)]
pub enum Act {
    /// Close a gamepad, at which nothing is down.
    Close(Box<Pad>),
    /// Make a gamepad, and tell [`Gamepads::attach`] of it.
    Open(Order),
}

/// See the module.
#[derive(Debug)]
pub struct Gamepads {
    terms: Terms,
    /// Whether the client may use them.
    is_allowed: bool,
    slots: [Slot; GAMEPAD_COUNT_MAX],
    made_count: u32,
    acts: VecDeque<Act>,
    feedback: VecDeque<(GamepadIndex, Feedback)>,
}

#[derive(Debug, Default)]
struct Slot {
    /// What the client has there.
    arrival: Option<Arrival>,
    state: GamepadState,
    stage: Stage,
}

/// How far a gamepad has come.
#[derive(Debug, Default)]
enum Stage {
    /// There is none.
    #[default]
    Absent,
    /// It cannot be made. It is tried again when the client has it anew.
    Failed,
    /// It is there.
    Open(Box<Pad>),
    /// It is being made.
    Opening,
}

impl Gamepads {
    /// None yet, of a client that may use them or may not.
    pub fn new(terms: Terms, is_allowed: bool) -> Gamepads {
        Gamepads {
            terms,
            is_allowed,
            slots: Default::default(),
            made_count: 0,
            acts: VecDeque::new(),
            feedback: VecDeque::new(),
        }
    }

    /// Whether a gamepad is one of those that the client may have.
    pub fn sees(&self, index: GamepadIndex) -> bool {
        index.value() < self.terms.count_max
    }

    /// Takes what happens at a gamepad that is seen. What is not allowed is remembered as far as it
    /// tells which gamepads there are. `false`: there is no device and will be none.
    pub fn handle(&mut self, index: GamepadIndex, event: &GamepadEvent) -> bool {
        let is_allowed = self.is_allowed;
        let slot = &mut self.slots[usize::from(index.value())];
        match event {
            GamepadEvent::Arrived(arrival) => {
                slot.arrival = Some(*arrival);
                slot.release_all();
                self.ask_for_motion(index);
            }
            GamepadEvent::Left => slot.arrival = None,
            GamepadEvent::State(state) if is_allowed => slot.take_state(*state),
            _ => {}
        }
        let slot = self.slot_mut(index);
        if let (Stage::Open(pad), true) = (&mut slot.stage, is_allowed) {
            match event {
                GamepadEvent::Motion(motion) => pad.handle_motion(motion),
                GamepadEvent::Touchpad(touch) => pad.handle_touchpad(touch),
                // uinput has no battery.
                _ => {}
            }
        }
        let had_failed = slot.has_failed();
        self.settle(index);
        !had_failed && !self.slot_mut(index).has_failed()
    }

    /// The client may use gamepads from now on, or may not: then there are none any more.
    pub fn set_allowed(&mut self, is_allowed: bool) {
        self.is_allowed = is_allowed;
        for index in (0..GAMEPAD_COUNT_MAX as u16).filter_map(GamepadIndex::new) {
            if !is_allowed {
                self.slot_mut(index).release_all();
            }
            self.settle(index);
        }
    }

    /// Takes a gamepad that was made by an [`Act::Open`], or that could not be.
    pub fn attach(&mut self, index: GamepadIndex, opened: Result<Box<Pad>, Error>) {
        let slot = self.slot_mut(index);
        slot.stage = match opened {
            Ok(mut pad) => {
                pad.handle_state(&slot.state);
                Stage::Open(pad)
            }
            Err(_) => Stage::Failed,
        };
        self.settle(index);
        self.ask_for_motion(index);
    }

    /// The gamepad of a number, if it is there.
    pub fn get_mut(&mut self, index: GamepadIndex) -> Option<&mut Pad> {
        match &mut self.slot_mut(index).stage {
            Stage::Open(pad) => Some(pad),
            _ => None,
        }
    }

    /// Takes what programs want of those that are there. Never blocks.
    pub fn handle_ready(&mut self, now: Instant) {
        self.pads().for_each(|pad| pad.handle_ready(now));
    }

    /// The next thing to do.
    pub fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// What a gamepad of the client's is to do, if any is to do anything.
    pub fn poll_feedback(&mut self, now: Instant) -> Option<(GamepadIndex, Feedback)> {
        let due = self.feedback.pop_front();
        due.or_else(|| self.pads().find_map(|pad| Some((pad.index(), pad.poll_feedback(now)?))))
    }

    /// When to call [`Gamepads::poll_feedback`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.slots.iter().filter_map(|slot| slot.stage.pad()?.poll_timeout()).min()
    }

    /// Makes or closes the gamepad of a number, where what is there is not what is to be. One that
    /// is being made is waited for, so there is never more than one of a number.
    fn settle(&mut self, index: GamepadIndex) {
        let (model, is_allowed) = (self.terms.model, self.is_allowed);
        let slot = self.slot_mut(index);
        let arrival = slot.arrival.filter(|_| is_allowed);
        let wanted = arrival.map(|arrival| model.unwrap_or_else(|| Model::like(&arrival)));
        match (&slot.stage, wanted) {
            (Stage::Open(pad), Some(wanted)) if pad.model() == wanted => return,
            (Stage::Absent, None) | (Stage::Failed, Some(_)) | (Stage::Opening, _) => return,
            _ => {}
        }
        let stage = if wanted.is_some() { Stage::Opening } else { Stage::Absent };
        if let Stage::Open(mut pad) = mem::replace(&mut slot.stage, stage) {
            pad.release_all();
            if pad.is_shaking() {
                let feedback = Feedback::Rumble { low_frequency: 0, high_frequency: 0 };
                self.feedback.push_back((index, feedback));
            }
            self.acts.push_back(Act::Close(pad));
        }
        if let Some(model) = wanted {
            if self.made_count >= MADE_COUNT_MAX {
                log::debug!("input: no gamepad {}: {MADE_COUNT_MAX} were made", index.value());
                self.slot_mut(index).stage = Stage::Failed;
                return;
            }
            self.made_count += 1;
            let phys = format!("punktfunk/{}/{}", self.terms.owner, index.value());
            self.acts.push_back(Act::Open(Order { index, model, phys }));
        }
    }

    /// Has the client sample its sensors, where programs can read of them.
    fn ask_for_motion(&mut self, index: GamepadIndex) {
        let slot = &self.slots[usize::from(index.value())];
        let has_sensors = slot.stage.pad().is_some_and(Pad::has_sensors);
        let Some(arrival) = slot.arrival.filter(|_| has_sensors) else {
            return;
        };
        for sensor in [Sensor::Accelerometer, Sensor::Gyroscope] {
            let feedback = Feedback::MotionRate { sensor, rate_hz: MOTION_RATE_HZ };
            if arrival.takes(&feedback) {
                self.feedback.push_back((index, feedback));
            }
        }
    }

    fn slot_mut(&mut self, index: GamepadIndex) -> &mut Slot {
        &mut self.slots[usize::from(index.value())]
    }

    fn pads(&mut self) -> impl Iterator<Item = &mut Pad> {
        self.slots.iter_mut().filter_map(|slot| match &mut slot.stage {
            Stage::Open(pad) => Some(&mut **pad),
            _ => None,
        })
    }
}

impl Slot {
    fn has_failed(&self) -> bool {
        matches!(self.stage, Stage::Failed)
    }

    fn release_all(&mut self) {
        self.state = GamepadState::default();
        if let Stage::Open(pad) = &mut self.stage {
            pad.release_all();
        }
    }

    fn take_state(&mut self, state: GamepadState) {
        self.state = state;
        if let Stage::Open(pad) = &mut self.stage {
            pad.handle_state(&state);
        }
    }
}

impl Stage {
    fn pad(&self) -> Option<&Pad> {
        match self {
            Stage::Open(pad) => Some(pad),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use punktfunk_core::proto::input::{Abilities, Buttons, GamepadKind};

    use super::*;

    fn gamepads(model: Option<Model>) -> Gamepads {
        let terms = Terms { count_max: 4, model, owner: "0123abcd".into() };
        Gamepads::new(terms, true)
    }

    fn index(index: u16) -> GamepadIndex {
        GamepadIndex::new(index).unwrap()
    }

    fn arrive(gamepads: &mut Gamepads, number: u16, kind: GamepadKind) -> bool {
        let arrival = Arrival { kind, abilities: Abilities::default(), buttons: Buttons::ALL };
        gamepads.handle(index(number), &GamepadEvent::Arrived(arrival))
    }

    /// Number, model and path of each that is to be made; nothing else may be to do.
    fn opened(gamepads: &mut Gamepads) -> Vec<(u8, Model, String)> {
        let acts = std::iter::from_fn(|| gamepads.poll_act());
        let order = |act| match act {
            Act::Open(Order { index, model, phys }) => (index.value(), model, phys),
            Act::Close(pad) => panic!("{pad:?}"),
        };
        acts.map(order).collect()
    }

    #[test]
    fn a_gamepad_is_made_once_as_its_kind_and_in_its_place() {
        let mut gamepads = gamepads(None);
        let state = GamepadEvent::State(GamepadState::default());

        for (number, kind) in [(0, GamepadKind::Nintendo), (2, GamepadKind::Xbox)] {
            assert!(arrive(&mut gamepads, number, kind));
            assert!(gamepads.handle(index(number), &state));
            assert!(arrive(&mut gamepads, number, kind));
        }

        let expected = [
            (0, Model::SwitchPro, "punktfunk/0123abcd/0".to_owned()),
            (2, Model::XboxOne, "punktfunk/0123abcd/2".to_owned()),
        ];
        assert_eq!(opened(&mut gamepads), expected);
        assert!(gamepads.sees(index(3)) && !gamepads.sees(index(4)));
    }

    #[test]
    fn the_administrator_may_have_all_of_them_alike() {
        let mut gamepads = gamepads(Some(Model::Xbox360));

        arrive(&mut gamepads, 0, GamepadKind::PlayStation);
        arrive(&mut gamepads, 1, GamepadKind::Nintendo);

        let models: Vec<_> = opened(&mut gamepads).into_iter().map(|(_, model, _)| model).collect();
        assert_eq!(models, [Model::Xbox360; 2]);
    }

    #[test]
    fn what_cannot_be_made_is_tried_again_when_the_client_has_it_anew() {
        let mut gamepads = gamepads(None);
        let state = GamepadEvent::State(GamepadState::default());
        arrive(&mut gamepads, 0, GamepadKind::Xbox);
        assert_eq!(opened(&mut gamepads).len(), 1);

        gamepads.attach(index(0), Err(Error::Missing));

        assert!(!gamepads.handle(index(0), &state));
        assert!(!arrive(&mut gamepads, 0, GamepadKind::Xbox));
        assert!(!gamepads.handle(index(0), &GamepadEvent::Left));
        assert_eq!(opened(&mut gamepads), []);
        assert!(arrive(&mut gamepads, 0, GamepadKind::Xbox));
        assert_eq!(opened(&mut gamepads).len(), 1);
    }

    #[test]
    fn there_is_never_more_than_one_of_a_number_to_be_made() {
        let mut gamepads = gamepads(None);
        for _ in 0..1_000 {
            arrive(&mut gamepads, 0, GamepadKind::Xbox);
            gamepads.handle(index(0), &GamepadEvent::Left);
        }
        assert_eq!(opened(&mut gamepads).len(), 1);

        gamepads.attach(index(0), Err(Error::Missing));

        assert_eq!(opened(&mut gamepads), [], "the client has it no more");
        arrive(&mut gamepads, 0, GamepadKind::Nintendo);
        assert_eq!(opened(&mut gamepads)[0].1, Model::SwitchPro);
    }

    #[test]
    fn a_client_cannot_have_gamepads_come_and_go_for_ever() {
        let mut gamepads = gamepads(None);
        for _ in 0..MADE_COUNT_MAX {
            assert!(arrive(&mut gamepads, 0, GamepadKind::Xbox));
            assert_eq!(opened(&mut gamepads).len(), 1);
            gamepads.attach(index(0), Err(Error::Missing));
            gamepads.handle(index(0), &GamepadEvent::Left);
        }

        assert!(!arrive(&mut gamepads, 0, GamepadKind::Xbox));
        assert!(!arrive(&mut gamepads, 1, GamepadKind::Xbox));
        assert_eq!(opened(&mut gamepads), []);
    }

    #[test]
    fn gamepads_wait_until_the_client_may_use_them() {
        let terms = Terms { count_max: 4, model: None, owner: "0123abcd".into() };
        let mut gamepads = Gamepads::new(terms, false);

        arrive(&mut gamepads, 0, GamepadKind::Xbox);
        arrive(&mut gamepads, 1, GamepadKind::Xbox);
        gamepads.handle(index(1), &GamepadEvent::Left);
        assert_eq!(opened(&mut gamepads), []);
        gamepads.set_allowed(true);

        let numbers: Vec<_> = opened(&mut gamepads).into_iter().map(|(it, ..)| it).collect();
        assert_eq!(numbers, [0]);
    }
}
