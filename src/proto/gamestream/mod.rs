//! The control plane of GameStream: what a stock Moonlight speaks.

pub mod control;
pub mod http;
pub mod pairing;
pub mod rtsp;
pub mod secret;
