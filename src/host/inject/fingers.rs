//! Fingers of a client on a touch screen of the kernel's: each has a slot of its own, as the protocol
//! for several contacts has it (type B, Documentation/input/multi-touch-protocol of Linux).

#![forbid(unsafe_code)]

use punktfunk_core::net::uinput::{Axis, Id, Shape};
use punktfunk_core::proto::input::{Fraction, Phase, Reach, Touch};

use super::surface::{EXTENT, Event, PACKET_END, step};
use super::uinput::codes::*;

/// Fingers at once. One more is not seen.
const SLOT_COUNT: usize = 16;
/// Numbers of fingers begin anew after this one.
const TRACKING_ID_MAX: u16 = 0xffff;
const PRESSURE_MAX: i32 = 1023;
/// Of a client that cannot tell.
const PRESSURE_UNKNOWN: i32 = PRESSURE_MAX / 2;

/// The fingers that are down.
#[derive(Debug, Default)]
pub struct Fingers {
    slots: [Option<Finger>; SLOT_COUNT],
    next_id: u16,
}

#[derive(Clone, Copy, Debug)]
struct Finger {
    /// The client's number for it.
    pointer: u32,
    /// The kernel's.
    id: u16,
    x: i32,
    y: i32,
}

/// What the screen is made from.
pub fn shape(name: String, id: Id) -> Shape {
    let [x, y] = [ABS_X, ABS_Y].map(|code| Axis::new(code, 0, EXTENT));
    Shape {
        name,
        id,
        keys: vec![BTN_TOUCH],
        axes: vec![
            x,
            y,
            Axis::new(ABS_MT_SLOT, 0, SLOT_COUNT as i32 - 1),
            Axis::new(ABS_MT_TOUCH_MAJOR, 0, EXTENT),
            Axis::new(ABS_MT_TOUCH_MINOR, 0, EXTENT),
            Axis { code: ABS_MT_POSITION_X, ..x },
            Axis { code: ABS_MT_POSITION_Y, ..y },
            Axis::new(ABS_MT_TRACKING_ID, 0, TRACKING_ID_MAX.into()),
            Axis::new(ABS_MT_PRESSURE, 0, PRESSURE_MAX),
        ],
        properties: vec![INPUT_PROP_DIRECT],
        ..Shape::default()
    }
}

impl Fingers {
    /// Takes what a finger does. Those above the screen are not seen.
    pub fn handle(&mut self, touch: &Touch, events: &mut Vec<Event>) {
        let is_it = |slot: &Option<Finger>| slot.is_some_and(|it| it.pointer == touch.pointer);
        let known = self.slots.iter().position(is_it);
        match (touch.phase, known) {
            (Phase::CancelAll, _) => self.lift_all(events),
            (Phase::Down | Phase::Move, Some(index)) => {
                let id = self.slots[index].map_or(0, |finger| finger.id);
                self.put(index, id, touch, events);
            }
            (Phase::Down, None) => {
                if let Some(index) = self.slots.iter().position(Option::is_none) {
                    let id = self.next_id;
                    self.next_id = id.wrapping_add(1);
                    self.put(index, id, touch, events);
                }
            }
            (Phase::Cancel | Phase::Hover | Phase::HoverLeave | Phase::Up, Some(index)) => {
                self.lift(index, events);
                self.end(events);
            }
            _ => {}
        }
    }

    /// No finger is down any more.
    pub fn lift_all(&mut self, events: &mut Vec<Event>) {
        if self.slots.iter().all(Option::is_none) {
            return;
        }
        for index in 0..SLOT_COUNT {
            if self.slots[index].is_some() {
                self.lift(index, events);
            }
        }
        self.end(events);
    }

    fn put(&mut self, index: usize, id: u16, touch: &Touch, events: &mut Vec<Event>) {
        let finger = Finger {
            pointer: touch.pointer,
            id,
            x: step(touch.at.x, EXTENT),
            y: step(touch.at.y, EXTENT),
        };
        self.slots[index] = Some(finger);
        let pressure = match touch.reach {
            Reach::Pressure(Some(share)) => step(share, PRESSURE_MAX).max(1),
            _ => PRESSURE_UNKNOWN,
        };
        let size = |share: Option<Fraction>| share.map_or(0, |share| step(share, EXTENT));
        events.extend([
            (EV_ABS, ABS_MT_SLOT, index as i32),
            (EV_ABS, ABS_MT_TRACKING_ID, id.into()),
            (EV_ABS, ABS_MT_POSITION_X, finger.x),
            (EV_ABS, ABS_MT_POSITION_Y, finger.y),
            (EV_ABS, ABS_MT_PRESSURE, pressure),
            (EV_ABS, ABS_MT_TOUCH_MAJOR, size(touch.contact.major)),
            (EV_ABS, ABS_MT_TOUCH_MINOR, size(touch.contact.minor)),
        ]);
        self.end(events);
    }

    fn lift(&mut self, index: usize, events: &mut Vec<Event>) {
        self.slots[index] = None;
        events.push((EV_ABS, ABS_MT_SLOT, index as i32));
        events.push((EV_ABS, ABS_MT_TRACKING_ID, -1));
    }

    /// Says the same for programs that know one finger: that which came first, by numbers that wrap.
    fn end(&self, events: &mut Vec<Event>) {
        let down = self.slots.iter().flatten();
        let oldest = down.max_by_key(|finger| self.next_id.wrapping_sub(finger.id));
        events.push((EV_KEY, BTN_TOUCH, oldest.is_some().into()));
        if let Some(Finger { x, y, .. }) = oldest {
            events.extend([(EV_ABS, ABS_X, *x), (EV_ABS, ABS_Y, *y)]);
        }
        events.push(PACKET_END);
    }
}

#[cfg(test)]
mod tests {
    use punktfunk_core::proto::input::{Contact, Point};

    use super::*;

    fn touch(fingers: &mut Fingers, pointer: u32, phase: Phase, x: f32, y: f32) -> Vec<Event> {
        let share = |value| Fraction::clamped(value).unwrap();
        let mut events = Vec::new();
        let touch = Touch {
            pointer,
            phase,
            at: Point { x: share(x), y: share(y) },
            reach: Reach::Pressure(Some(share(1.0))),
            contact: Contact::default(),
            rotation_degrees: None,
        };
        fingers.handle(&touch, &mut events);
        events
    }

    /// Slots and what is in each after these events: tracking id and place; and whether the first
    /// finger is said to be down.
    fn seen(all: &[Event]) -> (Vec<(usize, i32, i32, i32)>, bool) {
        let (mut slots, mut slot, mut is_down) = ([(-1, 0, 0); SLOT_COUNT], 0, false);
        for event in all {
            match *event {
                (EV_ABS, ABS_MT_SLOT, value) => slot = value as usize,
                (EV_ABS, ABS_MT_TRACKING_ID, value) => slots[slot].0 = value,
                (EV_ABS, ABS_MT_POSITION_X, value) => slots[slot].1 = value,
                (EV_ABS, ABS_MT_POSITION_Y, value) => slots[slot].2 = value,
                (EV_KEY, BTN_TOUCH, value) => is_down = value == 1,
                _ => {}
            }
        }
        let down = slots.into_iter().enumerate().filter(|(_, slot)| slot.0 >= 0);
        (down.map(|(index, (id, x, y))| (index, id, x, y)).collect(), is_down)
    }

    #[test]
    fn fingers_have_a_slot_each_until_they_are_lifted() {
        let (mut fingers, mut all) = (Fingers::default(), Vec::new());
        let mut then = |pointer, phase, x, y| {
            all.extend(touch(&mut fingers, pointer, phase, x, y));
            seen(&all)
        };

        assert_eq!(then(70, Phase::Hover, 0.5, 0.5), (vec![], false));
        assert_eq!(then(70, Phase::Move, 0.5, 0.5), (vec![], false), "a late one");
        assert_eq!(then(70, Phase::Down, 0.0, 1.0), (vec![(0, 0, 0, EXTENT)], true));
        let two = vec![(0, 0, 0, EXTENT), (1, 1, EXTENT, 0)];
        assert_eq!(then(9, Phase::Down, 1.0, 0.0), (two, true));
        assert_eq!(then(70, Phase::Up, 0.0, 0.0), (vec![(1, 1, EXTENT, 0)], true));
        let moved = vec![(0, 2, 0, 0), (1, 1, EXTENT, 0)];
        assert_eq!(then(3, Phase::Down, 0.0, 0.0), (moved.clone(), true));
        assert_eq!(then(70, Phase::Up, 0.5, 0.5), (moved, true), "of one that is not there");
        assert_eq!(then(9, Phase::Cancel, 0.0, 0.0), (vec![(0, 2, 0, 0)], true));
        assert_eq!(then(0, Phase::CancelAll, 0.0, 0.0), (vec![], false));
        assert_eq!(touch(&mut fingers, 0, Phase::CancelAll, 0.0, 0.0), []);
    }

    #[test]
    fn one_finger_more_than_there_are_slots_is_not_seen() {
        let (mut fingers, mut all) = (Fingers::default(), Vec::new());
        for pointer in 0..SLOT_COUNT as u32 + 1 {
            all.extend(touch(&mut fingers, pointer, Phase::Down, 0.5, 0.5));
        }
        assert_eq!(seen(&all).0.len(), SLOT_COUNT);

        let mut lifted = Vec::new();
        fingers.lift_all(&mut lifted);

        all.extend(lifted);
        assert_eq!(seen(&all), (vec![], false));
    }

    #[test]
    fn the_first_finger_is_that_of_programs_that_know_one() {
        let mut fingers = Fingers::default();
        touch(&mut fingers, 1, Phase::Down, 0.0, 0.0);
        let both = touch(&mut fingers, 2, Phase::Down, 1.0, 1.0);
        let left = touch(&mut fingers, 1, Phase::Up, 0.0, 0.0);

        assert!(both.ends_with(&[(EV_ABS, ABS_X, 0), (EV_ABS, ABS_Y, 0), PACKET_END]));
        assert!(left.ends_with(&[(EV_ABS, ABS_X, EXTENT), (EV_ABS, ABS_Y, EXTENT), PACKET_END]));
    }
}
