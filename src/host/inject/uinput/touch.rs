//! The touchpad of a DualShock 4 as hid-playstation has it: two fingers, each with a slot of its
//! own, and the first of them as a pointer.

#![forbid(unsafe_code)]

use punktfunk_core::net::uinput::{Axis, Id, Shape};
use punktfunk_core::proto::input::{Fraction, Phase, Touchpad};

use super::codes::*;

/// Steps from edge to edge.
const WIDTH: i32 = 1920;
const HEIGHT: i32 = 942;
/// Fingers at once.
const SLOT_COUNT: usize = 2;
/// Numbers of fingers begin anew after this one.
const TRACKING_ID_MAX: u16 = 0xffff;

/// The fingers that are down.
#[derive(Debug, Default)]
pub struct Contacts {
    slots: [Option<Contact>; SLOT_COUNT],
    next_id: u16,
}

#[derive(Clone, Copy, Debug)]
struct Contact {
    /// The client's number for it.
    pointer: u32,
    /// The kernel's.
    id: u16,
    x: i32,
    y: i32,
}

/// What the node is made from, for a gamepad of that name.
pub fn shape(name: &str, id: Id) -> Shape {
    let fingers = SLOT_COUNT as i32 - 1;
    let [x, y] = [(ABS_X, WIDTH), (ABS_Y, HEIGHT)].map(|(code, len)| Axis::new(code, 0, len - 1));
    Shape {
        name: format!("{name} Touchpad"),
        id,
        keys: vec![BTN_LEFT, BTN_TOOL_FINGER, BTN_TOUCH, BTN_TOOL_DOUBLETAP],
        axes: vec![
            x,
            y,
            Axis::new(ABS_MT_SLOT, 0, fingers),
            Axis { code: ABS_MT_POSITION_X, ..x },
            Axis { code: ABS_MT_POSITION_Y, ..y },
            Axis::new(ABS_MT_TRACKING_ID, 0, TRACKING_ID_MAX.into()),
        ],
        properties: vec![INPUT_PROP_POINTER, INPUT_PROP_BUTTONPAD],
        ..Shape::default()
    }
}

impl Contacts {
    /// Takes what a finger does. Fingers above the touchpad, and a third one, are not seen.
    pub fn handle(&mut self, touch: &Touchpad) {
        let is_it = |slot: &Option<Contact>| slot.is_some_and(|it| it.pointer == touch.pointer);
        let known = self.slots.iter().position(is_it);
        match (touch.phase, known) {
            (Phase::CancelAll, _) => self.lift_all(),
            (Phase::Down | Phase::Move, Some(index)) => {
                let id = self.slots[index].map_or(0, |contact| contact.id);
                self.slots[index] = Some(Contact::at(touch, id));
            }
            (Phase::Down, None) => {
                if let Some(slot) = self.slots.iter_mut().find(|slot| slot.is_none()) {
                    *slot = Some(Contact::at(touch, self.next_id));
                    self.next_id = self.next_id.wrapping_add(1);
                }
            }
            (Phase::Cancel | Phase::Hover | Phase::HoverLeave | Phase::Up, Some(index)) => {
                self.slots[index] = None;
            }
            _ => {}
        }
    }

    /// No finger is down any more.
    pub fn lift_all(&mut self) {
        self.slots = [None; SLOT_COUNT];
    }

    /// Gives type, code and value of every event that tells what is down.
    pub fn report(&self, mut give: impl FnMut(u16, u16, i32)) {
        for (index, slot) in self.slots.iter().enumerate() {
            give(EV_ABS, ABS_MT_SLOT, index as i32);
            give(EV_ABS, ABS_MT_TRACKING_ID, slot.map_or(-1, |it| it.id.into()));
            if let Some(contact) = slot {
                give(EV_ABS, ABS_MT_POSITION_X, contact.x);
                give(EV_ABS, ABS_MT_POSITION_Y, contact.y);
            }
        }
        let down = self.slots.iter().flatten();
        let count = down.clone().count();
        give(EV_KEY, BTN_TOUCH, (count > 0).into());
        give(EV_KEY, BTN_TOOL_FINGER, (count == 1).into());
        give(EV_KEY, BTN_TOOL_DOUBLETAP, (count == 2).into());
        // The one that came first, by numbers that wrap.
        let age = |contact: &&Contact| self.next_id.wrapping_sub(contact.id);
        if let Some(oldest) = down.max_by_key(age) {
            give(EV_ABS, ABS_X, oldest.x);
            give(EV_ABS, ABS_Y, oldest.y);
        }
    }
}

impl Contact {
    fn at(touch: &Touchpad, id: u16) -> Contact {
        let step = |share: Fraction, len: i32| (share.value() * (len - 1) as f32).round() as i32;
        let (x, y) = (step(touch.at.x, WIDTH), step(touch.at.y, HEIGHT));
        Contact { pointer: touch.pointer, id, x, y }
    }
}

#[cfg(test)]
mod tests {
    use punktfunk_core::proto::input::{Point, Reach};

    use super::*;

    fn touch(contacts: &mut Contacts, pointer: u32, phase: Phase, x: f32, y: f32) {
        let at = Point { x: Fraction::clamped(x).unwrap(), y: Fraction::clamped(y).unwrap() };
        let reach = Reach::Pressure(None);
        contacts.handle(&Touchpad { touchpad_index: 0, pointer, phase, at, reach });
    }

    /// Tracking id and place of each slot, the place of the pointer, the buttons that are down.
    type Seen = ([(i32, i32, i32); 2], Option<(i32, i32)>, Vec<u16>);

    fn seen(contacts: &Contacts) -> Seen {
        let (mut slots, mut slot) = ([(-1, 0, 0); 2], 0);
        let (mut x, mut y, mut down) = (None, None, Vec::new());
        contacts.report(|kind, code, value| match (kind, code) {
            (EV_ABS, ABS_MT_SLOT) => slot = value as usize,
            (EV_ABS, ABS_MT_TRACKING_ID) => slots[slot].0 = value,
            (EV_ABS, ABS_MT_POSITION_X) => slots[slot].1 = value,
            (EV_ABS, ABS_MT_POSITION_Y) => slots[slot].2 = value,
            (EV_ABS, ABS_X) => x = Some(value),
            (EV_ABS, ABS_Y) => y = Some(value),
            (EV_KEY, code) if value == 1 => down.push(code),
            (EV_KEY, _) => {}
            other => panic!("{other:?}"),
        });
        (slots, x.zip(y), down)
    }

    #[test]
    fn two_fingers_have_a_slot_each_and_the_first_is_the_pointer() {
        let mut contacts = Contacts::default();
        let none = (-1, 0, 0);

        touch(&mut contacts, 70, Phase::Down, 0.0, 1.0);
        let one = vec![BTN_TOUCH, BTN_TOOL_FINGER];
        assert_eq!(seen(&contacts), ([(0, 0, 941), none], Some((0, 941)), one.clone()));
        touch(&mut contacts, 9, Phase::Down, 1.0, 0.0);
        let two = vec![BTN_TOUCH, BTN_TOOL_DOUBLETAP];
        let both = [(0, 0, 941), (1, 1919, 0)];
        assert_eq!(seen(&contacts), (both, Some((0, 941)), two.clone()));
        touch(&mut contacts, 3, Phase::Down, 0.5, 0.5);
        assert_eq!(seen(&contacts), (both, Some((0, 941)), two));
        touch(&mut contacts, 70, Phase::Up, 0.0, 0.0);
        assert_eq!(seen(&contacts), ([none, (1, 1919, 0)], Some((1919, 0)), one.clone()));
        touch(&mut contacts, 70, Phase::Move, 0.5, 0.5);
        touch(&mut contacts, 9, Phase::Move, 0.0, 0.0);
        assert_eq!(seen(&contacts), ([none, (1, 0, 0)], Some((0, 0)), one));
        touch(&mut contacts, 70, Phase::Down, 1.0, 1.0);
        assert_eq!(seen(&contacts).1, Some((0, 0)), "the first of two stays the pointer");
        touch(&mut contacts, 0, Phase::CancelAll, 0.0, 0.0);
        assert_eq!(seen(&contacts), ([none; 2], None, Vec::new()));
    }
}
