//! What is changed at the sound server and has to be undone, on the disk, so that it is undone
//! even after a crash.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::state::{self, Directory};

const FILE: &str = "audio.json";
const FILE_LEN_MAX: usize = 64 * 1024;

/// What is changed. Written before the change is made, so a part of it may not be there.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// The default sink that is none of ours, to go back to; none if it is as it was.
    pub original_sink: Option<String>,
    /// Our sinks, the oldest first.
    pub sinks: Vec<String>,
}

/// Where it is written.
#[derive(Clone, Debug)]
pub struct Journal {
    directory: Arc<Directory>,
}

/// Why it cannot be used.
#[derive(Debug)]
pub enum Error {
    /// The file.
    File(state::Error),
    /// What is in it.
    Content(serde_json::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::File(error) => error.fmt(f),
            Error::Content(error) => write!(f, "{FILE}: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl Journal {
    /// The one in that directory, which this process has locked.
    pub fn new(directory: Arc<Directory>) -> Journal {
        Journal { directory }
    }

    /// What was written last; nothing changed if nothing was.
    pub fn read(&self) -> Result<Changes, Error> {
        match self.directory.read(FILE, FILE_LEN_MAX).map_err(Error::File)? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(Error::Content),
            None => Ok(Changes::default()),
        }
    }

    /// Brings it to the disk.
    pub fn write(&self, changes: &Changes) -> Result<(), Error> {
        let mut bytes = serde_json::to_vec_pretty(changes).map_err(Error::Content)?;
        bytes.push(b'\n');
        self.directory.write(FILE, &bytes).map_err(Error::File)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::Folder;

    #[test]
    fn what_is_written_is_read_and_anything_else_refused() {
        let folder = Folder::new();
        let directory = Arc::new(Directory::open(folder.path(), true).unwrap());
        let journal = Journal::new(Arc::clone(&directory));
        let changes = Changes { original_sink: Some("st".into()), sinks: vec!["one".into()] };

        assert_eq!(journal.read().unwrap(), Changes::default());
        journal.write(&changes).unwrap();
        assert_eq!(journal.read().unwrap(), changes);

        for bytes in [&b""[..], b"[]", b"{\"sinks\":[1]}", b"\xff", b"{\"sinks\":[],\"x\":1}"] {
            directory.write(FILE, bytes).unwrap();
            assert!(matches!(journal.read(), Err(Error::Content(_))), "{bytes:?}");
        }
    }
}
