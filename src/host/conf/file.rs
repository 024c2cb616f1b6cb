//! Files of a configuration: read whole and bounded, found by pattern.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Bytes of a file at most.
pub const FILE_LEN_MAX: usize = 64 * 1024;
/// Names looked at in a folder at most.
const FOLDER_COUNT_MAX: usize = 4096;

/// Where files come from.
pub trait Files {
    /// Reads a file; at most one byte more than [`FILE_LEN_MAX`].
    fn read(&self, path: &Path) -> io::Result<Content>;
    /// The names in a folder, in any order.
    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>>;
}

/// What a file holds, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its owner.
    pub uid: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Device and inode: the same for the same file, whatever its name.
    pub identity: (u64, u64),
}

/// The files of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Content> {
        // A pipe that nobody writes to must not be waited for.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(FILE_LEN_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Content {
            bytes,
            uid: metadata.uid(),
            mode: metadata.mode() & 0o7777,
            identity: (metadata.dev(), metadata.ino()),
        })
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            if names.len() == FOLDER_COUNT_MAX {
                let why = format!("more than {FOLDER_COUNT_MAX} files in the folder");
                return Err(io::Error::other(why));
            }
            names.push(entry?.file_name());
        }
        Ok(names)
    }
}

/// Whether a path has parts that stand for others.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether a name fits a pattern as glob(7) says of `*` and `?`: a dot at the start is only found
/// by a dot. Costs the product of the lengths at most.
pub fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name) = (pattern.chars().collect::<Vec<_>>(), name.chars().collect::<Vec<_>>());
    let (mut at, mut position) = (0, 0);
    // The last star, and how far into the name it reaches; earlier ones need not change.
    let mut star: Option<(usize, usize)> = None;
    while position < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(character) if *character == '?' || *character == name[position] => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((star_at, reach)) = star else {
                    return false;
                };
                star = Some((star_at, reach + 1));
                (at, position) = (star_at + 1, reach + 1);
            }
        }
    }
    pattern[at..].iter().all(|character| *character == '*')
}

/// Files that are in memory only.
#[cfg(test)]
pub mod memory {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    /// Files by their path.
    #[derive(Default)]
    pub struct Memory(BTreeMap<PathBuf, Content>);

    impl Memory {
        /// Files of root's that nobody else can change.
        pub fn with(files: &[(&str, &str)]) -> Memory {
            let mut memory = Memory::default();
            for (path, text) in files {
                memory.add(path, text.as_bytes());
            }
            memory
        }

        /// One more.
        pub fn add(&mut self, path: &str, bytes: &[u8]) -> &mut Content {
            let identity = (0, self.0.len() as u64);
            let content = Content { bytes: bytes.to_vec(), uid: 0, mode: 0o644, identity };
            self.0.entry(PathBuf::from(path)).insert_entry(content).into_mut()
        }
    }

    impl Files for Memory {
        fn read(&self, path: &Path) -> io::Result<Content> {
            let found = self.0.get(path).cloned();
            found.ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
            let inside = self.0.keys().filter(|path| path.parent() == Some(folder));
            let names: Vec<OsString> =
                inside.filter_map(|path| path.file_name()).map(OsString::from).collect();
            if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_others() {
        let table = [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("*.conf", "a.conf~", false),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "ж", true),
            ("a**", "a", true),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn only_regular_files_are_read_and_not_beyond_their_bound() {
        let path = std::env::temp_dir().join(format!("punktfunk-file-{}", std::process::id()));
        fs::write(&path, vec![b'#'; 2 * FILE_LEN_MAX]).unwrap();

        let content = Disk.read(&path);
        let folder = Disk.read(&std::env::temp_dir());
        let names = Disk.names(&std::env::temp_dir()).unwrap();
        fs::remove_file(&path).unwrap();

        assert_eq!(content.unwrap().bytes.len(), FILE_LEN_MAX + 1);
        assert_eq!(folder.unwrap_err().to_string(), "not a regular file");
        assert!(names.contains(&path.file_name().unwrap().to_owned()));
    }
}
