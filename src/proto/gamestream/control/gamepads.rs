//! The gamepads of a client: who is there is told by some packets, and follows from others.

#![forbid(unsafe_code)]

use super::input::Packet;
use crate::proto::input::{
    Abilities, Arrival, Buttons, Feedback, GAMEPAD_COUNT_MAX, Gamepad, GamepadEvent, GamepadIndex,
    GamepadKind, GamepadState, Input,
};

/// Bits that clients of old may set by extending a sign.
const BUTTONS_HIGH: u32 = 0xffff_0000;
/// What a gamepad is taken for whose client does not describe it.
const UNDESCRIBED: Arrival = Arrival {
    kind: GamepadKind::Unknown,
    abilities: Abilities::ANALOG_TRIGGERS.with(Abilities::RUMBLE),
    buttons: Buttons::ALL,
};

/// Those that are there, and what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gamepads([Option<Arrival>; GAMEPAD_COUNT_MAX]);

impl Gamepads {
    /// What follows from a packet: nothing, one or two events. Nothing is said of a gamepad that
    /// is not there.
    pub fn handle(&mut self, packet: Packet) -> impl Iterator<Item = Input> + use<> {
        let events = match packet {
            Packet::Gamepad { index, is_present, state } => self.on_state(index, is_present, state),
            Packet::Ignored => [None, None],
            Packet::Input(Input::Gamepad(gamepad)) => [self.on_event(gamepad), None],
            Packet::Input(input) => [Some(input), None],
        };
        events.into_iter().flatten()
    }

    /// Whether this gamepad is there and can do that.
    pub fn take(&self, index: GamepadIndex, feedback: &Feedback) -> bool {
        self.0[usize::from(index.value())].is_some_and(|arrival| arrival.takes(feedback))
    }

    fn on_state(
        &mut self,
        index: GamepadIndex,
        is_present: bool,
        mut state: GamepadState,
    ) -> [Option<Input>; 2] {
        let slot = &mut self.0[usize::from(index.value())];
        let input = |event| Some(Input::Gamepad(Gamepad { index, event }));
        if !is_present {
            return [slot.take().and_then(|_| input(GamepadEvent::Left)), None];
        }
        let arrived = slot.is_none().then_some(GamepadEvent::Arrived(UNDESCRIBED));
        let has = slot.get_or_insert(UNDESCRIBED).buttons.bits();
        let kept = !BUTTONS_HIGH | has;
        state.buttons = Buttons::from_bits(state.buttons.bits() & kept);
        [arrived.and_then(input), input(GamepadEvent::State(state))]
    }

    fn on_event(&mut self, gamepad: Gamepad) -> Option<Input> {
        let slot = &mut self.0[usize::from(gamepad.index.value())];
        let is_news = match gamepad.event {
            GamepadEvent::Arrived(arrival) => slot.replace(arrival) != Some(arrival),
            GamepadEvent::Left => slot.take().is_some(),
            GamepadEvent::Battery(_)
            | GamepadEvent::Motion(_)
            | GamepadEvent::State(_)
            | GamepadEvent::Touchpad(_) => slot.is_some(),
        };
        is_news.then_some(Input::Gamepad(gamepad))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::input::{Battery, BatteryState};

    fn index(index: u16) -> GamepadIndex {
        GamepadIndex::new(index).unwrap()
    }

    fn state(number: u16, is_present: bool, buttons: u32) -> Packet {
        let buttons = Buttons::from_bits(buttons);
        let state = GamepadState { buttons, ..GamepadState::default() };
        Packet::Gamepad { index: index(number), is_present, state }
    }

    fn event(number: u16, event: GamepadEvent) -> Packet {
        Packet::Input(Input::Gamepad(Gamepad { index: index(number), event }))
    }

    /// The events of a packet, all of which must be of this gamepad.
    fn events(gamepads: &mut Gamepads, number: u16, packet: Packet) -> Vec<GamepadEvent> {
        let only = |input| match input {
            Input::Gamepad(gamepad) if gamepad.index == index(number) => gamepad.event,
            other => panic!("{other:?}"),
        };
        gamepads.handle(packet).map(only).collect()
    }

    const ARRIVAL: Arrival = Arrival {
        kind: GamepadKind::PlayStation,
        abilities: Abilities::LED,
        buttons: Buttons::TOUCHPAD,
    };

    #[test]
    fn gamepads_come_and_go_by_their_own_bit() {
        let mut gamepads = Gamepads::default();
        let nothing = GamepadEvent::State(GamepadState::default());
        let undescribed = GamepadEvent::Arrived(UNDESCRIBED);
        let cases = [
            (state(3, false, 0), vec![]),
            (state(3, true, 0), vec![undescribed, nothing]),
            (state(3, true, 0), vec![nothing]),
            (state(3, false, 0), vec![GamepadEvent::Left]),
            (state(3, false, 0), vec![]),
        ];
        for (step, (packet, expected)) in cases.into_iter().enumerate() {
            assert_eq!(events(&mut gamepads, 3, packet), expected, "step {step}");
        }
        assert_eq!(gamepads, Gamepads::default());
    }

    #[test]
    fn a_description_is_news_once() {
        let mut gamepads = Gamepads::default();
        let arrived = GamepadEvent::Arrived(ARRIVAL);
        events(&mut gamepads, 0, state(0, true, 0));

        assert_eq!(events(&mut gamepads, 0, event(0, arrived)), [arrived]);
        assert_eq!(events(&mut gamepads, 0, event(0, arrived)), []);
    }

    #[test]
    fn high_buttons_are_those_that_were_described() {
        let all = Buttons::ALL.bits();
        let described = all & 0xffff | Buttons::TOUCHPAD.bits();
        for (is_described, expected) in [(false, all), (true, described)] {
            let mut gamepads = Gamepads::default();
            if is_described {
                events(&mut gamepads, 1, event(1, GamepadEvent::Arrived(ARRIVAL)));
            }

            let events = events(&mut gamepads, 1, state(1, true, all));

            let Some(GamepadEvent::State(state)) = events.last() else {
                panic!("{events:?}");
            };
            assert_eq!(state.buttons.bits(), expected);
        }
    }

    #[test]
    fn of_a_gamepad_that_is_not_there_nothing_is_heard() {
        let mut gamepads = Gamepads::default();
        let battery =
            GamepadEvent::Battery(Battery { state: BatteryState::Full, percent: Some(100) });
        let led = Feedback::Led { red: 0, green: 0, blue: 0 };

        assert_eq!(events(&mut gamepads, 7, event(7, battery)), []);
        assert!(!gamepads.take(index(7), &led));
        events(&mut gamepads, 7, event(7, GamepadEvent::Arrived(ARRIVAL)));

        assert_eq!(events(&mut gamepads, 7, event(7, battery)), [battery]);
        assert_eq!(events(&mut gamepads, 6, event(6, battery)), []);
        assert!(gamepads.take(index(7), &led));
        assert!(!gamepads.take(index(6), &led));
    }
}
