//! What mice, fingers and pens of a client mean for a virtual pointer.
//!
//! The protocol that compositors of wlroots have for such pointers knows neither touch nor pens, so
//! these are mice: the first finger, and the tip of the pen, hold the left button; the pen's own
//! buttons are the right and the middle one; further fingers, pressure and tilt are lost.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use punktfunk_core::proto::input::{
    Area, Pen, PenButtons, Phase, Point, Pointer, PointerButton, Touch, Wheel,
};

/// How long the left button stays down after a client that says places let go of it. Such clients
/// make a right click of a long touch: left up, then right down at once. Programs must see the
/// right button first, or they take it for a click with the left one.
const LEFT_RELEASE_DELAY: Duration = Duration::from_millis(10);

/// What a wheel turns for one click.
const CLICK: i32 = 120;

/// Something that the compositor is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// A button goes down or up.
    Button {
        /// Which.
        button: PointerButton,
        /// Down or up.
        is_down: bool,
    },
    /// The pointer moves.
    MoveBy {
        /// To the right.
        dx: i16,
        /// Down.
        dy: i16,
    },
    /// The pointer is put somewhere.
    MoveTo {
        /// From the left edge of the output, 0, to the right one, 1.
        x: f64,
        /// From the upper edge, 0, to the lower one, 1.
        y: f64,
    },
    /// A wheel turns. Positive is up or to the right.
    Scroll {
        /// Which.
        wheel: Wheel,
        /// How far: 120 to a click.
        amount: i32,
        /// Whole clicks that are through by that.
        click_count: i32,
    },
}

/// The pointer of one client.
#[derive(Debug, Default)]
pub struct Mouse {
    /// A bit for each button that is down.
    down: u8,
    /// Whether the client says places rather than ways.
    is_absolute: bool,
    /// When the left button is to go up.
    left_release: Option<Instant>,
    /// What wheels have turned beyond the last click: the horizontal one, the vertical one.
    turned: [i32; 2],
    /// The finger that holds the left button, by the client's number.
    finger: Option<u32>,
    is_pen_down: bool,
}

impl Mouse {
    /// Takes what a mouse does. `output` is the size of the output, where it is known.
    pub fn handle_pointer(
        &mut self,
        pointer: Pointer,
        output: Option<(u32, u32)>,
        now: Instant,
        acts: &mut Vec<Act>,
    ) {
        let is_right =
            matches!(pointer, Pointer::Button { button: PointerButton::Right, is_down: true });
        if !is_right {
            self.settle(acts);
        }
        match pointer {
            Pointer::Button { button: PointerButton::Left, is_down: false }
                if self.is_absolute && self.is_down(PointerButton::Left) =>
            {
                self.left_release = Some(now + LEFT_RELEASE_DELAY);
            }
            Pointer::Button { button, is_down } => self.press(button, is_down, acts),
            Pointer::MoveBy { dx, dy } => {
                self.is_absolute = false;
                acts.push(Act::MoveBy { dx, dy });
            }
            Pointer::MoveTo { at, area } => {
                self.is_absolute = true;
                let (x, y) = within(at, area, output);
                acts.push(Act::MoveTo { x, y });
            }
            Pointer::Scroll { wheel, amount } => self.turn(wheel, i32::from(amount), acts),
        }
        if is_right {
            self.settle(acts);
        }
    }

    /// Takes what a finger does: the first one only.
    pub fn handle_touch(&mut self, touch: &Touch, acts: &mut Vec<Act>) {
        self.settle(acts);
        let is_first = self.finger == Some(touch.pointer);
        match touch.phase {
            Phase::Down if self.finger.is_none() => {
                self.finger = Some(touch.pointer);
                put(touch.at, acts);
                self.press(PointerButton::Left, true, acts);
            }
            Phase::Hover if self.finger.is_none() => put(touch.at, acts),
            Phase::Move if is_first => put(touch.at, acts),
            Phase::Up if is_first => {
                put(touch.at, acts);
                self.lift(acts);
            }
            Phase::Cancel if is_first => self.lift(acts),
            Phase::CancelAll if self.finger.is_some() => self.lift(acts),
            _ => {}
        }
    }

    /// Takes what a pen does.
    pub fn handle_pen(&mut self, pen: &Pen, acts: &mut Vec<Act>) {
        self.settle(acts);
        match pen.phase {
            Phase::Hover => put(pen.at, acts),
            Phase::Down => {
                self.is_pen_down = true;
                put(pen.at, acts);
                self.press(PointerButton::Left, true, acts);
            }
            Phase::Move if self.is_pen_down => put(pen.at, acts),
            Phase::Up if self.is_pen_down => {
                put(pen.at, acts);
                self.raise(acts);
            }
            Phase::Cancel | Phase::CancelAll | Phase::HoverLeave if self.is_pen_down => {
                self.raise(acts);
            }
            _ => {}
        }
        let is_gone = matches!(pen.phase, Phase::Cancel | Phase::CancelAll | Phase::HoverLeave);
        let buttons = if is_gone { PenButtons::default() } else { pen.buttons };
        self.press(PointerButton::Right, buttons.contain(PenButtons::PRIMARY), acts);
        self.press(PointerButton::Middle, buttons.contain(PenButtons::SECONDARY), acts);
    }

    /// Does what is due: the left button goes up.
    pub fn handle_timeout(&mut self, now: Instant, acts: &mut Vec<Act>) {
        if self.left_release.is_some_and(|at| at <= now) {
            self.settle(acts);
        }
    }

    /// When to call [`Mouse::handle_timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.left_release
    }

    /// Does at once what was to be done later.
    pub fn settle(&mut self, acts: &mut Vec<Act>) {
        if self.left_release.take().is_some() {
            self.press(PointerButton::Left, false, acts);
        }
    }

    /// Lets go of everything.
    pub fn release_all(&mut self, acts: &mut Vec<Act>) {
        for button in BUTTONS {
            self.press(button, false, acts);
        }
        *self = Mouse::default();
    }

    /// A button goes down or up, if it is not already.
    fn press(&mut self, button: PointerButton, is_down: bool, acts: &mut Vec<Act>) {
        if self.is_down(button) != is_down {
            self.down ^= bit(button);
            acts.push(Act::Button { button, is_down });
        }
    }

    fn is_down(&self, button: PointerButton) -> bool {
        self.down & bit(button) != 0
    }

    /// The finger is gone.
    fn lift(&mut self, acts: &mut Vec<Act>) {
        self.finger = None;
        self.press(PointerButton::Left, false, acts);
    }

    /// The pen touches no more.
    fn raise(&mut self, acts: &mut Vec<Act>) {
        self.is_pen_down = false;
        self.press(PointerButton::Left, false, acts);
    }

    /// Turns a wheel. What is left of a click does not count for one in the other direction.
    fn turn(&mut self, wheel: Wheel, amount: i32, acts: &mut Vec<Act>) {
        if amount == 0 {
            return;
        }
        let turned = &mut self.turned[wheel as usize];
        if turned.signum() != amount.signum() {
            *turned = 0;
        }
        *turned += amount;
        let click_count = *turned / CLICK;
        *turned %= CLICK;
        acts.push(Act::Scroll { wheel, amount, click_count });
    }
}

const BUTTONS: [PointerButton; 5] = [
    PointerButton::Extra,
    PointerButton::Left,
    PointerButton::Middle,
    PointerButton::Right,
    PointerButton::Side,
];

fn bit(button: PointerButton) -> u8 {
    1 << button as u8
}

fn put(at: Point, acts: &mut Vec<Act>) {
    acts.push(Act::MoveTo { x: f64::from(at.x.value()), y: f64::from(at.y.value()) });
}

/// A place in the client's area as one in the output. Where their shapes differ, the output is as
/// large as fits in the area, in its middle, with bars at two sides that belong to its edges.
fn within(at: Point, area: Area, output: Option<(u32, u32)>) -> (f64, f64) {
    let (x, y) = (f64::from(at.x.value()), f64::from(at.y.value()));
    let Some((output_width, output_height)) = output else {
        return (x, y);
    };
    let (width, height) = (f64::from(area.width.get()), f64::from(area.height.get()));
    let scale = (width / f64::from(output_width)).min(height / f64::from(output_height));
    let along = |share: f64, whole: f64, output: u32| {
        let bars = whole - f64::from(output) * scale;
        // Clients round their area and tell one less than it has; that makes no bars.
        if bars < 2.0 {
            return share;
        }
        ((share * whole - bars / 2.0) / (whole - bars)).clamp(0.0, 1.0)
    };
    (along(x, width, output_width), along(y, height, output_height))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use punktfunk_core::net::clock;
    use punktfunk_core::proto::input::{Contact, Fraction, Reach, Tool};

    use super::*;

    const LEFT: PointerButton = PointerButton::Left;
    const RIGHT: PointerButton = PointerButton::Right;

    fn down(button: PointerButton) -> Act {
        Act::Button { button, is_down: true }
    }

    fn up(button: PointerButton) -> Act {
        Act::Button { button, is_down: false }
    }

    fn button(button: PointerButton, is_down: bool) -> Pointer {
        Pointer::Button { button, is_down }
    }

    fn point(x: f32, y: f32) -> Point {
        Point { x: Fraction::clamped(x).unwrap(), y: Fraction::clamped(y).unwrap() }
    }

    fn area(width: u16, height: u16) -> Area {
        let side = |side| NonZeroU16::new(side).unwrap();
        Area { width: side(width), height: side(height) }
    }

    fn middle() -> Pointer {
        Pointer::MoveTo { at: point(0.5, 0.5), area: area(1280, 720) }
    }

    /// What comes of all that, done at one time.
    fn pointers(mouse: &mut Mouse, pointers: &[Pointer], now: Instant) -> Vec<Act> {
        let mut acts = Vec::new();
        for pointer in pointers {
            mouse.handle_pointer(*pointer, None, now, &mut acts);
        }
        acts
    }

    fn touch(mouse: &mut Mouse, pointer: u32, phase: Phase) -> Vec<Act> {
        let touch = Touch {
            pointer,
            phase,
            at: point(0.25, 0.5),
            reach: Reach::Pressure(None),
            contact: Contact::default(),
            rotation_degrees: None,
        };
        let mut acts = Vec::new();
        mouse.handle_touch(&touch, &mut acts);
        acts
    }

    fn pen(mouse: &mut Mouse, phase: Phase, buttons: u8) -> Vec<Act> {
        let pen = Pen {
            phase,
            tool: Tool::Pen,
            buttons: PenButtons::from_bits(buttons),
            at: point(0.25, 0.5),
            reach: Reach::Pressure(None),
            contact: Contact::default(),
            rotation_degrees: None,
            tilt_degrees: None,
        };
        let mut acts = Vec::new();
        mouse.handle_pen(&pen, &mut acts);
        acts
    }

    #[test]
    fn places_are_mapped_through_the_bars() {
        let wide = Some((1600, 800));
        let cases = [
            ((0.5, 0.5), (1280, 720), None, (0.5, 0.5)),
            ((0.25, 0.75), (1280, 720), Some((1920, 1080)), (0.25, 0.75)),
            // Less than it has by one, and rounded.
            ((1.0, 0.25), (639, 359), Some((1920, 1080)), (1.0, 0.25)),
            ((0.0, 0.25), (641, 360), Some((1920, 1080)), (0.0, 0.25)),
            // Bars above and below: 800x400 in 800x800.
            ((0.25, 0.5), (800, 800), wide, (0.25, 0.5)),
            ((0.25, 0.25), (800, 800), wide, (0.25, 0.0)),
            ((0.25, 0.375), (800, 800), wide, (0.25, 0.25)),
            ((0.25, 0.0), (800, 800), wide, (0.25, 0.0)),
            ((0.25, 1.0), (800, 800), wide, (0.25, 1.0)),
            // Bars left and right: 800x400 in 1600x400.
            ((0.25, 0.125), (1600, 400), wide, (0.0, 0.125)),
            ((0.625, 0.125), (1600, 400), wide, (0.75, 0.125)),
            ((0.9, 0.125), (1600, 400), wide, (1.0, 0.125)),
        ];
        for ((x, y), (width, height), output, expected) in cases {
            let place = within(point(x, y), area(width, height), output);
            assert_eq!(place, expected, "{x} {y} in {width}x{height}");
        }
    }

    #[test]
    fn parts_of_clicks_add_up_in_one_direction() {
        let cases = [
            (40, 0),
            (40, 0),
            (40, 1),
            (240, 2),
            (100, 0),
            (-40, 0),
            (-80, -1),
            (-300, -2),
            (-60, -1),
            (i16::MIN, -273),
        ];
        let mut mouse = Mouse::default();
        for (amount, click_count) in cases {
            for wheel in [Wheel::Vertical, Wheel::Horizontal] {
                let scroll = Pointer::Scroll { wheel, amount };
                let acts = pointers(&mut mouse, &[scroll], clock::now());
                let amount = i32::from(amount);
                assert_eq!(acts, [Act::Scroll { wheel, amount, click_count }]);
            }
        }
        let still = Pointer::Scroll { wheel: Wheel::Vertical, amount: 0 };
        assert_eq!(pointers(&mut mouse, &[still], clock::now()), []);
    }

    #[test]
    fn buttons_are_told_once() {
        let inputs = [
            button(LEFT, false),
            button(LEFT, true),
            button(LEFT, true),
            button(LEFT, false),
            button(PointerButton::Side, true),
        ];

        let acts = pointers(&mut Mouse::default(), &inputs, clock::now());

        assert_eq!(acts, [down(LEFT), up(LEFT), down(PointerButton::Side)]);
    }

    #[test]
    fn the_left_button_waits_for_the_right_one_after_places() {
        let now = clock::now();
        let (early, late) = (now + LEFT_RELEASE_DELAY / 2, now + LEFT_RELEASE_DELAY);
        let mut mouse = Mouse::default();

        let clicked = pointers(&mut mouse, &[middle(), button(LEFT, true)], now);
        let released = pointers(&mut mouse, &[button(LEFT, false)], now);
        let mut acts = Vec::new();
        assert_eq!(mouse.poll_timeout(), Some(late));
        mouse.handle_timeout(early, &mut acts);
        assert_eq!(acts, []);
        mouse.handle_timeout(late, &mut acts);

        assert_eq!((clicked.len(), released.len()), (2, 0));
        assert_eq!((acts, mouse.poll_timeout()), (vec![up(LEFT)], None));

        let inputs = [button(LEFT, true), button(LEFT, false), button(RIGHT, true)];
        assert_eq!(pointers(&mut mouse, &inputs, now), [down(LEFT), down(RIGHT), up(LEFT)]);
        assert_eq!(mouse.poll_timeout(), None);
    }

    #[test]
    fn the_left_button_waits_for_nothing_else() {
        let now = clock::now();
        let way = Pointer::MoveBy { dx: 1, dy: -2 };
        let click = [button(LEFT, true), button(LEFT, false)];
        let clicked = [down(LEFT), up(LEFT)];
        let mut mouse = Mouse::default();
        pointers(&mut mouse, &[middle()], now);

        let acts = pointers(&mut mouse, &[&click[..], &click, &[way]].concat(), now);
        let relative = pointers(&mut mouse, &click, now);

        let moved = Act::MoveBy { dx: 1, dy: -2 };
        assert_eq!(acts, [&clicked[..], &clicked, &[moved]].concat());
        assert_eq!(relative, clicked);
    }

    #[test]
    fn the_first_finger_holds_the_left_button() {
        let at = Act::MoveTo { x: 0.25, y: 0.5 };
        let cases = [
            (7, Phase::Move, vec![]),
            (7, Phase::Hover, vec![at]),
            (7, Phase::Down, vec![at, down(LEFT)]),
            (8, Phase::Down, vec![]),
            (8, Phase::Move, vec![]),
            (7, Phase::Move, vec![at]),
            (8, Phase::Up, vec![]),
            (7, Phase::Up, vec![at, up(LEFT)]),
            (7, Phase::Move, vec![]),
            (9, Phase::Down, vec![at, down(LEFT)]),
            (1, Phase::CancelAll, vec![up(LEFT)]),
        ];
        let mut mouse = Mouse::default();
        for (pointer, phase, expected) in cases {
            assert_eq!(touch(&mut mouse, pointer, phase), expected, "{pointer} {phase:?}");
        }
    }

    #[test]
    fn a_pen_is_a_mouse() {
        let at = Act::MoveTo { x: 0.25, y: 0.5 };
        let cases = [
            (Phase::Hover, 0, vec![at]),
            (Phase::Buttons, 1, vec![down(RIGHT)]),
            (Phase::Buttons, 0, vec![up(RIGHT)]),
            (Phase::Down, 0, vec![at, down(LEFT)]),
            (Phase::Move, 2, vec![at, down(PointerButton::Middle)]),
            (Phase::Up, 2, vec![at, up(LEFT)]),
            (Phase::Move, 2, vec![]),
            (Phase::HoverLeave, 2, vec![up(PointerButton::Middle)]),
        ];
        let mut mouse = Mouse::default();
        for (phase, buttons, expected) in cases {
            assert_eq!(pen(&mut mouse, phase, buttons), expected, "{phase:?} {buttons}");
        }
    }

    #[test]
    fn nothing_stays_down() {
        let now = clock::now();
        let mut mouse = Mouse::default();
        let inputs = [middle(), button(RIGHT, true), button(LEFT, true), button(LEFT, false)];
        pointers(&mut mouse, &inputs, now);
        let (mut acts, mut again) = (Vec::new(), Vec::new());

        mouse.release_all(&mut acts);
        mouse.release_all(&mut again);

        assert_eq!(acts, [up(LEFT), up(RIGHT)]);
        assert_eq!((again, mouse.poll_timeout()), (vec![], None));
    }
}
