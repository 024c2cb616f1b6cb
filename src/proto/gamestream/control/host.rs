//! What the host tells the client.

#![forbid(unsafe_code)]

use crate::proto::input::{Feedback, GamepadIndex, Sensor, TriggerEffect};

/// One message. All go on channel 0, reliably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostMessage {
    /// Something is done to a gamepad.
    Feedback {
        /// Which, by the client's number.
        gamepad: GamepadIndex,
        /// What.
        feedback: Feedback,
    },
    /// The display is HDR from now on, or with `None` is not. Said of streams of 10 bits only:
    /// clients believe it of any.
    Hdr(Option<HdrMetadata>),
    /// The session ends. The client disconnects when it reads this.
    Termination(Termination),
}

/// What an HDR display shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HdrMetadata {
    /// Red, green and blue.
    pub primaries: [Chromaticity; 3],
    /// White.
    pub white_point: Chromaticity,
    /// The brightest, in nits.
    pub luminance_max_nits: u16,
    /// The darkest, in 1/10000 of a nit.
    pub luminance_min_tenths_of_milli_nits: u16,
    /// The brightest pixel of the content, in nits.
    pub content_light_max_nits: u16,
    /// The highest average of a frame of the content, in nits.
    pub frame_average_light_max_nits: u16,
    /// The brightest when all of the display is, in nits.
    pub full_frame_luminance_max_nits: u16,
}

/// A place in the CIE 1931 diagram, in units of 1/50000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chromaticity {
    /// To the right.
    pub x: u16,
    /// Up.
    pub y: u16,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Termination {
    /// A frame could not be converted.
    FrameConversion,
    /// As it should.
    Graceful,
    /// Shown to the user as a number.
    Other(u32),
    /// The display shows what may not be captured.
    ProtectedContent,
}

impl Termination {
    /// The number that the client knows it by.
    pub fn code(self) -> u32 {
        match self {
            Termination::FrameConversion => 0x800e_9403,
            Termination::Graceful => 0x8003_0023,
            Termination::Other(code) => code,
            Termination::ProtectedContent => 0x800e_9302,
        }
    }
}

impl HostMessage {
    /// Its bytes, ready to be sealed. Little-endian, but for the code of a termination.
    pub fn emit(&self) -> Vec<u8> {
        match self {
            HostMessage::Feedback { gamepad, feedback } => emit_feedback(*gamepad, feedback),
            HostMessage::Hdr(metadata) => emit_hdr(metadata.as_ref()),
            HostMessage::Termination(termination) => {
                message(0x0109, &[&termination.code().to_be_bytes()])
            }
        }
    }
}

fn emit_feedback(gamepad: GamepadIndex, feedback: &Feedback) -> Vec<u8> {
    const RIGHT: u8 = 0x04;
    const LEFT: u8 = 0x08;
    let gamepad = u16::from(gamepad.value()).to_le_bytes();
    match *feedback {
        Feedback::AdaptiveTriggers { left, right } => {
            let flags = left.map_or(0, |_| LEFT) | right.map_or(0, |_| RIGHT);
            let unchanged = TriggerEffect { mode: 0, parameters: [0; 10] };
            let (left, right) = (left.unwrap_or(unchanged), right.unwrap_or(unchanged));
            let head = [flags, left.mode, right.mode];
            message(0x5503, &[&gamepad, &head, &left.parameters, &right.parameters])
        }
        Feedback::Led { red, green, blue } => message(0x5502, &[&gamepad, &[red, green, blue]]),
        Feedback::MotionRate { sensor, rate_hz } => {
            let sensor = match sensor {
                Sensor::Accelerometer => 1,
                Sensor::Gyroscope => 2,
            };
            message(0x5501, &[&gamepad, &rate_hz.to_le_bytes(), &[sensor]])
        }
        Feedback::Rumble { low_frequency, high_frequency } => {
            let motors = [low_frequency.to_le_bytes(), high_frequency.to_le_bytes()];
            message(0x010b, &[&[0; 4], &gamepad, &motors[0], &motors[1]])
        }
        Feedback::RumbleTriggers { left, right } => {
            message(0x5500, &[&gamepad, &left.to_le_bytes(), &right.to_le_bytes()])
        }
    }
}

fn emit_hdr(metadata: Option<&HdrMetadata>) -> Vec<u8> {
    let shown = metadata.copied().unwrap_or_default();
    let ([red, green, blue], white_point) = (shown.primaries, shown.white_point);
    let numbers = [
        red.x,
        red.y,
        green.x,
        green.y,
        blue.x,
        blue.y,
        white_point.x,
        white_point.y,
        shown.luminance_max_nits,
        shown.luminance_min_tenths_of_milli_nits,
        shown.content_light_max_nits,
        shown.frame_average_light_max_nits,
        shown.full_frame_luminance_max_nits,
    ];
    message(
        0x010e,
        &[&[u8::from(metadata.is_some())], numbers.map(u16::to_le_bytes).as_flattened()],
    )
}

fn message(kind: u16, parts: &[&[u8]]) -> Vec<u8> {
    let payload = parts.concat();
    let len = u16::try_from(payload.len()).expect("no message of the host's is long");
    [&kind.to_le_bytes()[..], &len.to_le_bytes(), &payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::hex;

    fn feedback(index: u16, feedback: Feedback) -> HostMessage {
        HostMessage::Feedback { gamepad: GamepadIndex::new(index).unwrap(), feedback }
    }

    #[test]
    fn messages_are_laid_out_as_clients_read_them() {
        let effect = |mode, first| {
            let parameters = std::array::from_fn(|index| first + index as u8);
            Some(TriggerEffect { mode, parameters })
        };
        let place = |x| Chromaticity { x, y: x + 1 };
        let metadata = HdrMetadata {
            primaries: [place(0x101), place(0x103), place(0x105)],
            white_point: place(0x107),
            luminance_max_nits: 1000,
            luminance_min_tenths_of_milli_nits: 5,
            content_light_max_nits: 0x201,
            frame_average_light_max_nits: 0x202,
            full_frame_luminance_max_nits: 0x203,
        };
        let (low_frequency, high_frequency) = (0x1234, 0xffff);
        let (left, right) = (effect(0x21, 0x10), effect(0x26, 0x20));
        let motion = |sensor, rate_hz| Feedback::MotionRate { sensor, rate_hz };
        let cases = [
            (
                feedback(3, Feedback::Rumble { low_frequency, high_frequency }),
                "0b01 0a00 00000000 0300 3412 ffff",
            ),
            (
                feedback(15, Feedback::RumbleTriggers { left: 0x0102, right: 0x0304 }),
                "0055 0600 0f00 0201 0403",
            ),
            (feedback(1, motion(Sensor::Accelerometer, 100)), "0155 0500 0100 6400 01"),
            (feedback(1, motion(Sensor::Gyroscope, 0)), "0155 0500 0100 0000 02"),
            (feedback(2, Feedback::Led { red: 1, green: 2, blue: 3 }), "0255 0500 0200 010203"),
            (
                feedback(0, Feedback::AdaptiveTriggers { left, right }),
                "0355 1900 0000 0c 21 26 10111213141516171819 20212223242526272829",
            ),
            (
                feedback(0, Feedback::AdaptiveTriggers { left, right: None }),
                "0355 1900 0000 08 21 00 10111213141516171819 00000000000000000000",
            ),
            (
                feedback(0, Feedback::AdaptiveTriggers { left: None, right }),
                "0355 1900 0000 04 00 26 00000000000000000000 20212223242526272829",
            ),
            (
                HostMessage::Hdr(Some(metadata)),
                "0e01 1b00 01 0101 0201 0301 0401 0501 0601 0701 0801 e803 0500 0102 0202 0302",
            ),
            (HostMessage::Hdr(None), &format!("0e01 1b00 00 {}", "00".repeat(26))),
            (HostMessage::Termination(Termination::Graceful), "0901 0400 80030023"),
            (HostMessage::Termination(Termination::FrameConversion), "0901 0400 800e9403"),
            (HostMessage::Termination(Termination::ProtectedContent), "0901 0400 800e9302"),
            (HostMessage::Termination(Termination::Other(7)), "0901 0400 00000007"),
        ];
        for (message, expected) in cases {
            assert_eq!(hex::emit(&message.emit()), expected.replace(' ', ""), "{message:?}");
        }
    }
}
