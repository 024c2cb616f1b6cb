//! TEXT

mod code;
mod error;
mod field;
mod kernels;
mod maps;
mod protect;
mod transform;
mod workspace;

pub use code::Code;
pub use error::Error;
pub use kernels::Backend;
pub use workspace::Workspace;
