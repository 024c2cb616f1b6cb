//! The management API: JSON over HTTP, on a Unix socket and, with a token, on the loopback address.
//!
//! A request passes through the reactor's own HTTP code; [`front`] says who may ask; [`engine`],
//! which is tiny_http on a thread of its own, gets what passed; [`route`] says what it means;
//! [`desk`] answers it on the reactor's thread, to which it comes as a [`Post`]; [`stay`] what is
//! about sessions.

#![forbid(unsafe_code)]

mod desk;
mod engine;
pub mod front;
pub mod route;
mod stay;
pub mod token;

use std::sync::mpsc::SyncSender;

use punktfunk_core::proto::cert::Fingerprint;

pub use desk::{conf_refusal, reload_report};
pub use engine::Engine;
pub use route::{Answer, Refusal};

use super::table::Plane;
use crate::grants::Grants;
use crate::pipeline::{COUNTERS, Percentiles, STAGES, Stats};
use route::Command;

/// What the engine asks of the reactor.
#[derive(Debug)]
pub struct Post {
    /// What is asked.
    pub command: Command,
    /// Takes the answer, once.
    pub reply: SyncSender<Answer>,
}

/// What only the reactor knows.
#[derive(Debug)]
pub struct Facts {
    /// Every listener, and its address as people write it.
    pub listen: Vec<(Plane, String)>,
    /// Connections from the network.
    pub connection_count: usize,
    /// How many of these each paired client has.
    pub connections_by: Vec<(Fingerprint, usize)>,
    /// The name that is announced, where one is.
    pub mdns_instance: Option<String>,
    /// The interfaces that it is announced on.
    pub mdns_interfaces: Vec<String>,
    /// Of each session that has threads, by its number.
    pub streams: Vec<(u32, Figures)>,
}

/// What the threads of a session have counted and measured at one moment.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// In the order of [`COUNTERS`].
    pub counts: [u64; COUNTERS.len()],
    /// In the order of [`STAGES`].
    pub stages: [Percentiles; STAGES.len()],
}

impl Figures {
    /// Those of now.
    pub fn of(stats: &Stats) -> Figures {
        Figures {
            counts: COUNTERS.map(|(counter, _)| stats.count(counter)),
            stages: STAGES.map(|(stage, _)| stats.percentiles(stage)),
        }
    }
}
