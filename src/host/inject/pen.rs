//! A client's pen on a screen of the kernel's that takes one: a tool that comes near, hovers, touches
//! and goes, as drivers of tablets tell it.

#![forbid(unsafe_code)]

use punktfunk_core::net::uinput::{Axis, Id, Shape};
use punktfunk_core::proto::input::{Pen as Input, PenButtons, Phase, Reach, Tool};

use super::surface::{EXTENT, Event, PACKET_END, step};
use super::uinput::codes::*;

const PRESSURE_MAX: i32 = 4095;
const DISTANCE_MAX: i32 = 1023;
/// Of a client that cannot tell how far away its pen is.
const DISTANCE_UNKNOWN: i32 = DISTANCE_MAX / 2;
/// Degrees from upright, either way.
const TILT_MAX: i32 = 90;
/// Degrees that round to a right angle, at which every way is that of the tip.
const LEAN_MAX: f64 = 89.5;
/// Steps to a radian.
const TILT_RESOLUTION: i32 = 57;
/// Steps to a millimetre: libinput takes no tablet that does not say.
const RESOLUTION: i32 = 100;

const BUTTONS: [(PenButtons, u16); 3] = [
    (PenButtons::PRIMARY, BTN_STYLUS),
    (PenButtons::SECONDARY, BTN_STYLUS2),
    (PenButtons::TERTIARY, BTN_STYLUS3),
];

/// The pen.
#[derive(Debug, Default)]
pub struct Pen {
    /// The tool that is near, by its key.
    near: Option<u16>,
    is_down: bool,
    /// Whether it was seen above the screen: then its client says when it goes.
    hovers: bool,
    /// Those that are pressed.
    buttons: PenButtons,
}

/// What the screen is made from.
pub fn shape(name: String, id: Id) -> Shape {
    let place = |code| Axis { resolution: RESOLUTION, ..Axis::new(code, 0, EXTENT) };
    let tilt = |code| Axis { resolution: TILT_RESOLUTION, ..Axis::new(code, -TILT_MAX, TILT_MAX) };
    Shape {
        name,
        id,
        keys: vec![BTN_TOOL_PEN, BTN_TOOL_RUBBER, BTN_STYLUS3, BTN_TOUCH, BTN_STYLUS, BTN_STYLUS2],
        axes: vec![
            place(ABS_X),
            place(ABS_Y),
            Axis::new(ABS_PRESSURE, 0, PRESSURE_MAX),
            Axis::new(ABS_DISTANCE, 0, DISTANCE_MAX),
            tilt(ABS_TILT_X),
            tilt(ABS_TILT_Y),
        ],
        properties: vec![INPUT_PROP_DIRECT],
        ..Shape::default()
    }
}

impl Pen {
    /// Takes what the pen does.
    pub fn handle(&mut self, pen: &Input, events: &mut Vec<Event>) {
        match pen.phase {
            Phase::Hover => {
                self.hovers = true;
                self.approach(pen, events);
                self.lift(events);
                self.show(pen, events);
            }
            Phase::Down => {
                self.approach(pen, events);
                self.show(pen, events);
                if !std::mem::replace(&mut self.is_down, true) {
                    events.push((EV_KEY, BTN_TOUCH, 1));
                }
            }
            Phase::Move if self.is_down => {
                self.approach(pen, events);
                // The other end touches where this one has.
                if !std::mem::replace(&mut self.is_down, true) {
                    events.push((EV_KEY, BTN_TOUCH, 1));
                }
                self.show(pen, events);
            }
            Phase::Up if self.is_down => {
                self.put(pen, events);
                self.lift(events);
                self.press(pen.buttons, events);
                if !self.hovers {
                    events.push(PACKET_END);
                    return self.leave(events);
                }
            }
            Phase::Buttons if self.near.is_some() => self.press(pen.buttons, events),
            Phase::Cancel | Phase::CancelAll | Phase::HoverLeave => return self.leave(events),
            _ => return,
        }
        events.push(PACKET_END);
    }

    /// It is not near any more, and nothing of it is down.
    pub fn leave(&mut self, events: &mut Vec<Event>) {
        let Some(tool) = self.near.take() else { return };
        self.lift(events);
        self.press(PenButtons::default(), events);
        self.hovers = false;
        events.push((EV_KEY, tool, 0));
        events.push(PACKET_END);
    }

    /// The tool comes near, if it is not; another one goes before, in a packet of its own.
    fn approach(&mut self, pen: &Input, events: &mut Vec<Event>) {
        let tool = if pen.tool == Tool::Eraser { BTN_TOOL_RUBBER } else { BTN_TOOL_PEN };
        if self.near == Some(tool) {
            return;
        }
        let hovers = self.hovers;
        self.leave(events);
        (self.near, self.hovers) = (Some(tool), hovers);
        events.push((EV_KEY, tool, 1));
    }

    /// Where it is, how it leans, and how near.
    fn show(&mut self, pen: &Input, events: &mut Vec<Event>) {
        self.put(pen, events);
        let (pressure, distance) = match pen.reach {
            // None at all would be none that touches.
            Reach::Pressure(share) => {
                (share.map_or(PRESSURE_MAX, |share| step(share, PRESSURE_MAX).max(1)), 0)
            }
            Reach::Distance(share) => {
                (0, share.map_or(DISTANCE_UNKNOWN, |share| step(share, DISTANCE_MAX)))
            }
        };
        events.push((EV_ABS, ABS_PRESSURE, pressure));
        events.push((EV_ABS, ABS_DISTANCE, distance));
        self.press(pen.buttons, events);
    }

    fn put(&self, pen: &Input, events: &mut Vec<Event>) {
        events.push((EV_ABS, ABS_X, step(pen.at.x, EXTENT)));
        events.push((EV_ABS, ABS_Y, step(pen.at.y, EXTENT)));
        if let Some([x, y]) = tilts(pen) {
            events.push((EV_ABS, ABS_TILT_X, x));
            events.push((EV_ABS, ABS_TILT_Y, y));
        }
    }

    fn lift(&mut self, events: &mut Vec<Event>) {
        if std::mem::take(&mut self.is_down) {
            events.push((EV_KEY, BTN_TOUCH, 0));
            events.push((EV_ABS, ABS_PRESSURE, 0));
        }
    }

    fn press(&mut self, buttons: PenButtons, events: &mut Vec<Event>) {
        let before = std::mem::replace(&mut self.buttons, buttons);
        for (button, code) in BUTTONS {
            let is_down = buttons.contain(button);
            if before.contain(button) != is_down {
                events.push((EV_KEY, code, is_down.into()));
            }
        }
    }
}

/// Degrees to the right and towards the user. Clients say which way the tip points, clockwise from
/// away from the user; the other end leans the other way.
fn tilts(pen: &Input) -> Option<[i32; 2]> {
    let lean = f64::from(pen.tilt_degrees?).min(LEAN_MAX).to_radians();
    let way = f64::from(pen.rotation_degrees?).to_radians();
    let degrees = |part: f64| (part * lean.sin()).atan2(lean.cos()).to_degrees().round() as i32;
    Some([degrees(-way.sin()), degrees(way.cos())])
}

#[cfg(test)]
mod tests {
    use punktfunk_core::proto::input::{Contact, Fraction, Point};

    use super::*;

    fn event(phase: Phase, tool: Tool, buttons: u8) -> Input {
        let share = |value| Fraction::clamped(value).unwrap();
        let reach = match phase {
            Phase::Hover => Reach::Distance(Some(share(1.0))),
            _ => Reach::Pressure(Some(share(0.5))),
        };
        Input {
            phase,
            tool,
            buttons: PenButtons::from_bits(buttons),
            at: Point { x: share(1.0), y: share(0.0) },
            reach,
            contact: Contact::default(),
            rotation_degrees: None,
            tilt_degrees: None,
        }
    }

    /// The keys of each packet: with a sign, whether they go down or up.
    fn packets(pen: &mut Pen, all: &[Input]) -> Vec<Vec<i32>> {
        let mut events = Vec::new();
        all.iter().for_each(|event| pen.handle(event, &mut events));
        assert!(events.is_empty() || events.ends_with(&[PACKET_END]));
        let mut packets: Vec<_> = events.split(|event| *event == PACKET_END).collect();
        packets.pop();
        let keys = |packet: &&[Event]| {
            let keys = packet.iter().filter(|event| event.0 == EV_KEY);
            keys.map(|(_, code, value)| i32::from(*code) * (2 * value - 1)).collect()
        };
        packets.iter().map(keys).collect()
    }

    const PEN: i32 = BTN_TOOL_PEN as i32;
    const RUBBER: i32 = BTN_TOOL_RUBBER as i32;
    const TIP: i32 = BTN_TOUCH as i32;
    const SIDE: i32 = BTN_STYLUS as i32;

    /// What a pen does, with its buttons, and the keys of the packets that come of it.
    type Row<'a> = (&'a [(Phase, u8)], &'a [&'a [i32]]);

    #[test]
    fn a_pen_comes_near_touches_and_goes() {
        use Phase::{Buttons, Cancel, Down, Hover, HoverLeave, Move, Up};
        let table: [Row<'_>; 8] = [
            (
                &[(Hover, 0), (Down, 0), (Move, 0), (Up, 0), (HoverLeave, 0)],
                &[&[PEN], &[TIP], &[], &[-TIP], &[-PEN]],
            ),
            // One that never hovers goes when it is lifted.
            (&[(Down, 0), (Up, 0)], &[&[PEN, TIP], &[-TIP], &[-PEN]]),
            (&[(Down, 0), (Cancel, 0)], &[&[PEN, TIP], &[-TIP, -PEN]]),
            (&[(Hover, 1), (Down, 1), (Hover, 0)], &[&[PEN, SIDE], &[TIP], &[-TIP, -SIDE]]),
            (&[(Hover, 1), (HoverLeave, 1)], &[&[PEN, SIDE], &[-SIDE, -PEN]]),
            (&[(Hover, 0), (Buttons, 1), (Buttons, 0)], &[&[PEN], &[SIDE], &[-SIDE]]),
            // Of a pen that is not there.
            (&[(Move, 1), (Up, 1), (Buttons, 1), (Cancel, 1), (HoverLeave, 0)], &[]),
            (&[(Down, 0), (Down, 0), (Up, 0), (Move, 0)], &[&[PEN, TIP], &[], &[-TIP], &[-PEN]]),
        ];
        for (phases, expected) in table {
            let all: Vec<_> =
                phases.iter().map(|(phase, buttons)| event(*phase, Tool::Pen, *buttons)).collect();
            assert_eq!(packets(&mut Pen::default(), &all), expected, "{phases:?}");
        }
    }

    #[test]
    fn one_end_goes_before_the_other_comes() {
        let all =
            [(Phase::Hover, Tool::Pen), (Phase::Down, Tool::Pen), (Phase::Move, Tool::Eraser)]
                .map(|(phase, tool)| event(phase, tool, 0));
        let mut pen = Pen::default();

        let told = packets(&mut pen, &all);

        assert_eq!(told, [vec![PEN], vec![TIP], vec![-TIP, -PEN], vec![RUBBER, TIP]]);
        let mut events = Vec::new();
        pen.leave(&mut events);
        let keys: Vec<_> = events.into_iter().filter(|event| event.0 == EV_KEY).collect();
        assert_eq!(keys, [(EV_KEY, BTN_TOUCH, 0), (EV_KEY, BTN_TOOL_RUBBER, 0)]);
    }

    #[test]
    fn pressure_and_distance_are_what_the_client_can_tell() {
        let share = |value| Some(Fraction::clamped(value).unwrap());
        let table = [
            (Reach::Pressure(share(0.5)), (2048, 0)),
            (Reach::Pressure(share(0.00001)), (1, 0)),
            (Reach::Pressure(None), (PRESSURE_MAX, 0)),
            (Reach::Distance(share(0.25)), (0, 256)),
            (Reach::Distance(None), (0, DISTANCE_UNKNOWN)),
        ];
        for (reach, (pressure, distance)) in table {
            let mut events = Vec::new();
            let input = Input { reach, ..event(Phase::Down, Tool::Unknown, 0) };
            Pen::default().handle(&input, &mut events);
            assert!(events.contains(&(EV_ABS, ABS_PRESSURE, pressure)), "{reach:?} {events:?}");
            assert!(events.contains(&(EV_ABS, ABS_DISTANCE, distance)), "{reach:?} {events:?}");
        }
    }

    #[test]
    fn a_pen_leans_away_from_where_it_points() {
        let table = [
            (Some(0), Some(30), Some([0, 30])),
            (Some(90), Some(30), Some([-30, 0])),
            (Some(180), Some(30), Some([0, -30])),
            (Some(270), Some(90), Some([90, 0])),
            (Some(45), Some(0), Some([0, 0])),
            (None, Some(30), None),
            (Some(0), None, None),
        ];
        for (rotation_degrees, tilt_degrees, expected) in table {
            let pen = Input { rotation_degrees, tilt_degrees, ..event(Phase::Down, Tool::Pen, 0) };
            assert_eq!(tilts(&pen), expected, "{rotation_degrees:?} {tilt_degrees:?}");
        }
    }
}
