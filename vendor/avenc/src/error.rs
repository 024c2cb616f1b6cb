//! Why an encoder is not to be had, or does not go on.

#![forbid(unsafe_code)]

use std::fmt;

/// Why a call is refused. The texts are sentences without a full stop.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Error {
    /// A value that cannot be.
    Argument(&'static str),
    /// The encoder failed and will not work again.
    Failed(String),
    /// This FFmpeg or this machine has no such encoder.
    Missing(String),
}

impl Error {
    /// The `AVENC_E_*` that says so.
    pub(crate) fn code(&self) -> i32 {
        match self {
            Error::Argument(_) => crate::abi::AVENC_E_ARGUMENT,
            Error::Failed(_) => crate::abi::AVENC_E_FAILED,
            Error::Missing(_) => crate::abi::AVENC_E_MISSING,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Argument(text) => f.write_str(text),
            Error::Failed(text) | Error::Missing(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}
