//! The management API.

mod engine;
