//! punktfunk_core: the protocols of punktfunk and the drivers that carry them, for either end.

pub mod abi;
pub mod net;
pub mod proto;
