//! One gamepad: what a client does at it, as the kernel's drivers would tell it, and what programs
//! do to it.

#![forbid(unsafe_code)]

use std::ffi::CString;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use punktfunk_core::net::clock;
use punktfunk_core::net::uinput::{Axis, Error, Node, Request, Shape};
use punktfunk_core::proto::input::{
    Buttons, Feedback, GamepadIndex, GamepadState, Motion, Sensor, Touchpad,
};

use super::codes::*;
use super::model::Model;
use super::rumble::{Motors, Strengths};
use super::touch::{self, Contacts};

/// Of the sensors of a DualShock 4, by hid-playstation: steps to standard gravity and to a degree
/// per second, and how far either goes.
const ACCELERATION_STEPS: i32 = 8_192;
const ACCELERATION_MAX: i32 = 4 * ACCELERATION_STEPS;
const ROTATION_STEPS: i32 = 1_024;
const ROTATION_MAX: i32 = 2_048 * ROTATION_STEPS;
/// Metres per second squared.
const GRAVITY: f32 = 9.806_65;

/// Which gamepad is to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The client's number for it.
    pub index: GamepadIndex,
    /// What it is to be like.
    pub model: Model,
    /// Whose it is: stays with the client and the number, whatever happens in between.
    pub phys: String,
}

/// See the module. When the value goes, so does the gamepad, and nothing of it stays down. That
/// takes the kernel a while for each of its nodes: 34 to 130 ms in the guest of tests/guest.rs.
#[derive(Debug)]
pub struct Pad {
    index: GamepadIndex,
    model: Model,
    node: Node,
    /// A DualShock's.
    sensors: Option<Node>,
    touchpad: Option<(Node, Contacts)>,
    motors: Motors,
    opened: Instant,
}

impl Pad {
    /// Makes a gamepad. Takes the kernel 2 to 85 ms in the guest of tests/guest.rs, so this is
    /// nothing for a thread that others wait for; the value may be given to another one.
    pub fn open(order: &Order) -> Result<Pad, Error> {
        let phys = CString::new(order.phys.as_str()).unwrap_or_default();
        let shape = order.model.shape();
        let has_more = order.model == Model::DualShock4;
        let more = |shape: Shape| has_more.then(|| Node::open(&shape, &phys)).transpose();
        Ok(Pad {
            index: order.index,
            model: order.model,
            node: Node::open(&shape, &phys)?,
            sensors: more(sensors(&shape))?,
            touchpad: more(touch::shape(&shape.name, shape.id))?
                .map(|node| (node, Contacts::default())),
            motors: Motors::default(),
            opened: clock::now(),
        })
    }

    /// The client's number for it.
    pub fn index(&self) -> GamepadIndex {
        self.index
    }

    /// What it is like.
    pub fn model(&self) -> Model {
        self.model
    }

    /// Whether it tells what its sensors measure.
    pub fn has_sensors(&self) -> bool {
        self.sensors.is_some()
    }

    /// Takes all that is pressed and bent. A tenth of a millisecond in that guest.
    pub fn handle_state(&mut self, state: &GamepadState) {
        let node = &mut self.node;
        self.model.report(state, |kind, code, value| node.put(kind, code, value));
        node.send();
        if let Some((node, _)) = &mut self.touchpad {
            // The touchpad is the button.
            node.put(EV_KEY, BTN_LEFT, state.buttons.contain(Buttons::TOUCHPAD).into());
            node.send();
        }
    }

    /// Takes a sample of a sensor.
    pub fn handle_motion(&mut self, motion: &Motion) {
        let Some(node) = &mut self.sensors else {
            return;
        };
        let (codes, max, scale) = match motion.sensor {
            Sensor::Accelerometer => {
                let scale = ACCELERATION_STEPS as f32 / GRAVITY;
                ([ABS_X, ABS_Y, ABS_Z], ACCELERATION_MAX, scale)
            }
            Sensor::Gyroscope => ([ABS_RX, ABS_RY, ABS_RZ], ROTATION_MAX, ROTATION_STEPS as f32),
        };
        for (code, value) in codes.into_iter().zip(motion.axes) {
            node.put(EV_ABS, code, ((value * scale).round() as i32).clamp(-max, max));
        }
        let time = clock::now().saturating_duration_since(self.opened);
        // In microseconds, which wrap.
        node.put(EV_MSC, MSC_TIMESTAMP, time.as_micros() as u32 as i32);
        node.send();
    }

    /// Takes what a finger does on its touchpad.
    pub fn handle_touchpad(&mut self, touch: &Touchpad) {
        if let Some((node, contacts)) = self.touchpad.as_mut().filter(|_| touch.touchpad_index == 0)
        {
            contacts.handle(touch);
            contacts.report(|kind, code, value| node.put(kind, code, value));
            node.send();
        }
    }

    /// Nothing is pressed, bent or touched any more.
    pub fn release_all(&mut self) {
        if let Some((node, contacts)) = &mut self.touchpad {
            contacts.lift_all();
            contacts.report(|kind, code, value| node.put(kind, code, value));
            node.send();
        }
        self.handle_state(&GamepadState::default());
    }

    /// Whether the client was told last to turn a motor.
    pub fn is_shaking(&self) -> bool {
        self.motors.told() != Strengths::default()
    }

    /// Takes what programs want. To be called whenever the descriptor becomes readable; edges are
    /// enough. Never blocks.
    pub fn handle_ready(&mut self, now: Instant) {
        while let Some(request) = self.node.poll() {
            match request {
                Request::Erase(id) => self.motors.erase(id),
                Request::Gain(gain) => self.motors.set_gain(gain),
                Request::Play(id, count) => self.motors.play(id, count, now),
                Request::Upload(id, effect) => self.motors.upload(id, effect, now),
            }
        }
    }

    /// What the client's gamepad is to do, if anything.
    pub fn poll_feedback(&mut self, now: Instant) -> Option<Feedback> {
        let Strengths { strong, weak } = self.motors.poll(now)?;
        Some(Feedback::Rumble { low_frequency: strong, high_frequency: weak })
    }

    /// When to call [`Pad::poll_feedback`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.motors.poll_timeout()
    }
}

impl AsRawFd for Pad {
    fn as_raw_fd(&self) -> RawFd {
        self.node.as_raw_fd()
    }
}

impl Drop for Pad {
    fn drop(&mut self) {
        self.release_all();
    }
}

/// The node of the motion sensors of a DualShock 4.
fn sensors(shape: &Shape) -> Shape {
    let axes = |codes: [u16; 3], max: i32, resolution| {
        codes.map(|code| Axis { fuzz: 16, resolution, ..Axis::new(code, -max, max) })
    };
    let acceleration = axes([ABS_X, ABS_Y, ABS_Z], ACCELERATION_MAX, ACCELERATION_STEPS);
    let rotation = axes([ABS_RX, ABS_RY, ABS_RZ], ROTATION_MAX, ROTATION_STEPS);
    Shape {
        name: format!("{} Motion Sensors", shape.name),
        id: shape.id,
        axes: [acceleration, rotation].concat(),
        miscs: vec![MSC_TIMESTAMP],
        properties: vec![INPUT_PROP_ACCELEROMETER],
        ..Shape::default()
    }
}
