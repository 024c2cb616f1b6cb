//! TEXT

mod code;
mod error;
mod field;
mod incremental;
mod kernels;
mod locator;
mod maps;
mod plan;
mod protect;
mod recover;
mod survey;
mod transform;
mod workspace;

pub use code::Code;
pub use error::Error;
pub use incremental::{Protector, Recoverer};
pub use kernels::Backend;
pub use maps::TABLES_LEN;
pub use workspace::Workspace;
