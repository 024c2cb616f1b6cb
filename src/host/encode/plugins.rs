//! The plug-in, loaded when the first session needs it.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::library::{self, Plugin};

/// Where the plug-in may lie, and the plug-in once it is loaded. Asked by threads of sessions as
/// they begin.
#[derive(Debug)]
pub struct Plugins {
    candidates: Vec<PathBuf>,
    loaded: Mutex<Option<Plugin>>,
}

impl Plugins {
    /// Loads nothing yet.
    pub fn new(candidates: Vec<PathBuf>) -> Plugins {
        Plugins { candidates, loaded: Mutex::new(None) }
    }

    /// The file of the plug-in.
    pub fn find(&self) -> Result<PathBuf, library::Error> {
        library::find(&self.candidates)
    }

    /// The plug-in. The first time takes as long as loading does; where that fails, it is tried
    /// again the next time.
    pub fn get(&self) -> Result<Plugin, library::Error> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        match *loaded {
            Some(plugin) => Ok(plugin),
            None => Ok(*loaded.insert(Plugin::open(&self.find()?)?)),
        }
    }
}
