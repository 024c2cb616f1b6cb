//! Encoders: the plug-in that has them, what each can do here, which one serves which codec, and
//! one at work.
//!
//! The plug-in brings the drivers of graphics cards into the process that loads it, and those may
//! crash or hang. So what this machine can encode is found out in processes of their own
//! (`probe`), remembered in the state directory (`prober`), and the daemon itself loads the
//! plug-in only for a session (`library`, `encoder`).

pub mod abilities;
pub mod choice;
pub mod encoder;
pub mod library;
mod plugins;
pub mod probe;
pub mod prober;
#[cfg(test)]
pub mod stub;

pub use abilities::Backend;
pub use encoder::{Encoder, Error, Invalidation, Quality, Settings};
pub use plugins::Plugins;
