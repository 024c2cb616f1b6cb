//! A touch screen and a pen of a client's own made by the kernel, as compositors take neither from
//! programs.
//!
//! Where sway reads devices of the kernel, both belong to the output of the session. Elsewhere they
//! go where the desktop has them go.

#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use punktfunk_core::net::clock;
use punktfunk_core::net::uinput::{Error, Id, Node};
use punktfunk_core::proto::input::{Fraction, Input, Pen as Pointed, Point, Touch};

use super::fingers::{self, Fingers};
use super::pen::{self, Pen};
use super::uinput::codes::BUS_VIRTUAL;
use crate::ipc;
use crate::turn::Turn;

/// Steps from edge to edge.
pub const EXTENT: i32 = 65_535;
/// Kind, code and value of what the kernel is told.
pub type Event = (u16, u16, i32);
/// All before it happened at once.
pub const PACKET_END: Event = (0, 0, 0);

const PHYS: &CStr = c"punktfunk";
/// udev, libinput and sway have this long to take devices in.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// See the module. When the value goes, so do the devices, and nothing of them stays down.
#[derive(Debug)]
pub struct Surface {
    screen: Node,
    tablet: Node,
    fingers: Fingers,
    pen: Pen,
    /// How the screen that they belong to hangs.
    turn: Turn,
    /// What the devices are called.
    names: [String; 2],
    /// Memory for what an input means; empty in between.
    events: Vec<Event>,
}

impl Surface {
    /// Makes the devices. Takes the kernel milliseconds, some more where udev is busy.
    pub fn open() -> Result<Surface, Error> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        // sway knows devices by their names.
        let owner = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let names = ["touch", "pen"].map(|kind| format!("punktfunk {kind} {owner}"));
        let id = |product| Id { bus: BUS_VIRTUAL, vendor: 0, product, version: 1 };
        Ok(Surface {
            screen: Node::open(&fingers::shape(names[0].clone(), id(4)), PHYS)?,
            tablet: Node::open(&pen::shape(names[1].clone(), id(5)), PHYS)?,
            fingers: Fingers::default(),
            pen: Pen::default(),
            turn: Turn::default(),
            names,
            events: Vec::with_capacity(128),
        })
    }

    /// Has them belong to an output of the sway with that socket. Waits a second at most until sway
    /// has them; `false`: it does not read devices of the kernel.
    pub fn map(&mut self, socket: &Path, output: &str) -> Result<bool, ipc::Error> {
        let mut client = ipc::Client::connect(socket)?;
        let deadline = clock::now() + PATIENCE;
        loop {
            let inputs = client.inputs()?;
            // sway has no spaces in names.
            let identifier = |name: &String| {
                let end = format!(":{}", name.replace(' ', "_"));
                let found = inputs.iter().find(|it| it.identifier.ends_with(&end));
                found.map(|it| it.identifier.clone())
            };
            if let [Some(screen), Some(tablet)] = self.names.each_ref().map(identifier) {
                if !ipc::is_word(output) {
                    return Err(ipc::Error::Refused("the name of its output".to_owned()));
                }
                for device in [screen, tablet] {
                    client.run(&format!("input \"{device}\" map_to_output {output}"))?;
                }
                let outputs = client.outputs()?;
                let transform = outputs.iter().find(|it| it.name == output);
                let transform = transform.and_then(|it| it.transform.as_deref());
                self.turn = Turn::of_name(transform.unwrap_or_default());
                return Ok(true);
            }
            if clock::now() >= deadline {
                return Ok(false);
            }
            clock::sleep_until(clock::now() + LOOK_INTERVAL);
        }
    }

    /// The screen that they belong to hangs like this from now on.
    pub fn set_turn(&mut self, turn: Turn) {
        self.turn = turn;
    }

    /// Takes what a finger or a pen does, of all that a client does.
    pub fn handle(&mut self, input: &Input) {
        match input {
            Input::Pen(pen) => {
                let pen = Pointed { at: on_screen(self.turn, pen.at), ..*pen };
                self.pen.handle(&pen, &mut self.events);
                tell(&mut self.tablet, &mut self.events);
            }
            Input::Touch(touch) => {
                let touch = Touch { at: on_screen(self.turn, touch.at), ..*touch };
                self.fingers.handle(&touch, &mut self.events);
                tell(&mut self.screen, &mut self.events);
            }
            _ => {}
        }
    }

    /// No finger is down any more, and no pen near.
    pub fn release_all(&mut self) {
        self.fingers.lift_all(&mut self.events);
        tell(&mut self.screen, &mut self.events);
        self.pen.leave(&mut self.events);
        tell(&mut self.tablet, &mut self.events);
    }
}

impl Drop for Surface {
    fn drop(&mut self) {
        self.release_all();
    }
}

fn tell(node: &mut Node, events: &mut Vec<Event>) {
    for event in events.drain(..) {
        match event {
            PACKET_END => node.send(),
            (kind, code, value) => node.put(kind, code, value),
        }
    }
}

/// A share of so many steps.
pub fn step(share: Fraction, whole: i32) -> i32 {
    (f64::from(share.value()) * f64::from(whole)).round() as i32
}

/// Where on the screen a point of what is seen upright is.
fn on_screen(turn: Turn, Point { x, y }: Point) -> Point {
    let (x, y) = turn.on_screen((x.value(), y.value()), (1.0, 1.0));
    let share = |value| Fraction::clamped(value).expect("a share of 1 less a share, or that share");
    Point { x: share(x), y: share(y) }
}
