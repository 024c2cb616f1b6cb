//! Places on outputs that are turned or mirrored. Clients see the output upright, and compositors of
//! wlroots take what a device of an output says for a place on the screen as it hangs.

#![forbid(unsafe_code)]

use punktfunk_core::proto::input::{Fraction, Point};
use wayland_client::protocol::wl_output::Transform;

/// How a screen hangs, by where a place of what is seen upright is on it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Turn {
    /// Across is down. This comes before the others.
    is_on_its_side: bool,
    /// Places count from the right.
    is_from_right: bool,
    /// Places count from below.
    is_from_bottom: bool,
}

impl From<Transform> for Turn {
    fn from(transform: Transform) -> Turn {
        let (is_on_its_side, is_from_right, is_from_bottom) = match transform {
            Transform::_90 => (true, false, true),
            Transform::_180 => (false, true, true),
            Transform::_270 => (true, true, false),
            Transform::Flipped => (false, true, false),
            Transform::Flipped90 => (true, false, false),
            Transform::Flipped180 => (false, false, true),
            Transform::Flipped270 => (true, true, true),
            _ => (false, false, false),
        };
        Turn { is_on_its_side, is_from_right, is_from_bottom }
    }
}

impl Turn {
    /// As sway calls it.
    pub fn of_name(name: &str) -> Turn {
        let transform = match name {
            "90" => Transform::_90,
            "180" => Transform::_180,
            "270" => Transform::_270,
            "flipped" => Transform::Flipped,
            "flipped-90" => Transform::Flipped90,
            "flipped-180" => Transform::Flipped180,
            "flipped-270" => Transform::Flipped270,
            _ => Transform::Normal,
        };
        transform.into()
    }

    /// Width and height as one sees them.
    pub fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.is_on_its_side { (height, width) } else { (width, height) }
    }

    /// Shares of width and height of the screen, from those of what is seen upright.
    pub fn shares(self, x: f64, y: f64) -> (f64, f64) {
        let (x, y) = if self.is_on_its_side { (y, x) } else { (x, y) };
        let x = if self.is_from_right { 1.0 - x } else { x };
        let y = if self.is_from_bottom { 1.0 - y } else { y };
        (x, y)
    }

    /// The same of a point.
    pub fn point(self, Point { x, y }: Point) -> Point {
        let (x, y) = self.shares(x.value().into(), y.value().into());
        let share = |value| Fraction::clamped(value as f32).expect("a share, as it was before");
        Point { x: share(x), y: share(y) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_where_the_compositor_turns_it_back_from() {
        let share = |value| Fraction::clamped(value).unwrap();
        let table = [
            ("normal", Transform::Normal, (0.25, 0.125)),
            ("90", Transform::_90, (0.125, 0.75)),
            ("180", Transform::_180, (0.75, 0.875)),
            ("270", Transform::_270, (0.875, 0.25)),
            ("flipped", Transform::Flipped, (0.75, 0.125)),
            ("flipped-90", Transform::Flipped90, (0.125, 0.25)),
            ("flipped-180", Transform::Flipped180, (0.25, 0.875)),
            ("flipped-270", Transform::Flipped270, (0.875, 0.75)),
        ];
        for (name, transform, (x, y)) in table {
            let turn = Turn::of_name(name);

            let point = turn.point(Point { x: share(0.25), y: share(0.125) });

            assert_eq!(turn, transform.into(), "{name}");
            assert_eq!(point, Point { x: share(x), y: share(y) }, "{name}");
            let size =
                if name.ends_with("90") || name.ends_with("270") { (9, 16) } else { (16, 9) };
            assert_eq!(turn.size((16, 9)), size, "{name}");
        }
    }
}
