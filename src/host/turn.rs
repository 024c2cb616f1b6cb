//! Outputs that are turned or mirrored. A compositor draws for the screen, which hangs on its side or
//! upside down; clients see the output upright.

#![forbid(unsafe_code)]

use std::ops::Sub;

use wayland_client::protocol::wl_output::Transform;

/// How a screen hangs, by where a place of what is seen upright is on it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Turn {
    /// Across is down. This comes before the others.
    is_on_its_side: bool,
    /// Places count from the right of the screen.
    is_from_right: bool,
    /// Places count from its bottom.
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

    /// Whether the screen hangs upright.
    pub fn is_none(self) -> bool {
        self == Turn::default()
    }

    /// Width and height as one sees them.
    pub fn size<T>(self, (width, height): (T, T)) -> (T, T) {
        if self.is_on_its_side { (height, width) } else { (width, height) }
    }

    /// Where on the screen that place of what is seen upright is. `last` is the place at the right
    /// and at the bottom of the screen.
    pub fn on_screen<T: Sub<Output = T>>(self, (x, y): (T, T), last: (T, T)) -> (T, T) {
        let (x, y) = if self.is_on_its_side { (y, x) } else { (x, y) };
        let x = if self.is_from_right { last.0 - x } else { x };
        let y = if self.is_from_bottom { last.1 - y } else { y };
        (x, y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_where_the_compositor_turns_it_back_from() {
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
        for (name, transform, place) in table {
            let turn = Turn::of_name(name);

            assert_eq!(turn, transform.into(), "{name}");
            assert_eq!(turn.on_screen((0.25, 0.125), (1.0, 1.0)), place, "{name}");
            let is_on_its_side = name.ends_with("90") || name.ends_with("270");
            assert_eq!(
                turn.size((16, 9)),
                if is_on_its_side { (9, 16) } else { (16, 9) },
                "{name}"
            );
        }
    }
}
