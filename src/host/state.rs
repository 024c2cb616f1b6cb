//! The state directory, and files that only the daemon's user may read.
//!
//! A file is replaced whole or not at all: what is new is written under another name, brought to
//! the disk and then renamed. Nothing here follows a symbolic link in the last part of a path.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use punktfunk_core::net::process;

/// The file that says whose the directory is while a daemon runs. It holds that one's pid and
/// stays when it ends.
const LOCK_FILE: &str = "lock";
/// Bytes of that file that are looked at.
const LOCK_LEN_MAX: usize = 32;
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// What group and others may not have.
const OTHERS: u32 = 0o077;

/// The directory that the daemon keeps its files in.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    is_strict: bool,
}

/// The directory is this process's as long as this lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a file or directory of the state cannot be used.
#[derive(Debug)]
pub enum Error {
    /// Others may read or change it.
    Exposed {
        /// What.
        path: PathBuf,
        /// As it is.
        mode: u32,
        /// As it should be.
        mode_wanted: u32,
    },
    /// Not the kind of thing that must be there.
    Kind {
        /// What.
        path: PathBuf,
        /// What must be there.
        wanted: &'static str,
    },
    /// Another daemon uses the directory.
    Locked {
        /// Which, if it says so.
        pid: Option<u32>,
        /// The directory.
        path: PathBuf,
    },
    /// Another user's.
    Owner {
        /// What.
        path: PathBuf,
        /// Whose.
        uid: u32,
        /// Who this process is.
        uid_wanted: u32,
    },
    /// The system gives no access.
    System {
        /// What.
        path: PathBuf,
        /// What did not happen, as in "not written".
        not_done: &'static str,
        /// Why.
        source: io::Error,
    },
    /// More bytes than such a file has.
    TooLong {
        /// Which.
        path: PathBuf,
        /// Bytes at most.
        len_max: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Exposed { path, mode, mode_wanted } => {
                let path = path.display();
                write!(
                    f,
                    "{path}: mode {mode:04o} lets other users in, must be {mode_wanted:04o}"
                )?;
                write!(f, ": 'chmod {mode_wanted:04o} {path}' repairs it")
            }
            Error::Kind { path, wanted } => write!(f, "{}: not {wanted}", path.display()),
            Error::Locked { pid: Some(pid), path } => {
                write!(f, "another punktfunkd (pid {pid}) uses {}", path.display())
            }
            Error::Locked { pid: None, path } => {
                write!(f, "another punktfunkd uses {}", path.display())
            }
            Error::Owner { path, uid, uid_wanted } => {
                let path = path.display();
                write!(
                    f,
                    "{path}: owned by uid {uid}, must be {uid_wanted}, which punktfunkd runs as"
                )
            }
            Error::System { path, not_done, source } => {
                write!(f, "{}: {not_done}: {source}", path.display())
            }
            Error::TooLong { path, len_max } => {
                write!(f, "{}: longer than {len_max} bytes", path.display())
            }
        }
    }
}

impl Directory {
    /// Opens the directory, after making it, and what is missing above it, for this user alone.
    ///
    /// `is_strict` refuses a directory, and files in it, that others may read or change.
    pub fn open(path: &Path, is_strict: bool) -> Result<Directory, Error> {
        // Without a slash at the end, which would follow a symbolic link.
        let path: PathBuf = path.components().collect();
        let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&path);
        // What is there already is looked at below, whatever it is.
        if let Err(source) = made
            && fs::symlink_metadata(&path).is_err()
        {
            return Err(Error::System { path, not_done: "not made", source });
        }
        let metadata = fs::symlink_metadata(&path).map_err(unreadable(&path))?;
        if !metadata.is_dir() {
            return Err(Error::Kind { path, wanted: "a directory" });
        }
        check_private(&path, &metadata, is_strict, DIRECTORY_MODE)?;
        Ok(Directory { path, is_strict })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the directory for this process.
    pub fn lock(&self) -> Result<Lock, Error> {
        let path = self.path.join(LOCK_FILE);
        let not_locked =
            |source| Error::System { path: path.clone(), not_done: "not locked", source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let options = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let mut file = options.open(&path).map_err(not_locked)?;
        let metadata = file.metadata().map_err(not_locked)?;
        check_file(&path, &metadata, self.is_strict)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = read_at_most(&file, LOCK_LEN_MAX).unwrap_or_default();
                let pid = str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
                return Err(Error::Locked { pid, path: self.path.clone() });
            }
            Err(TryLockError::Error(source)) => return Err(not_locked(source)),
        }
        // The pid is for people only: on a full disk the lock holds without it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Lock { _file: file })
    }

    /// Reads a file of the directory; `None` when it is not there.
    pub fn read(&self, name: &str, len_max: usize) -> Result<Option<Vec<u8>>, Error> {
        read_file(&self.path.join(name), len_max, self.is_strict)
    }

    /// Replaces a file of the directory, or makes it. When it errs, the old one is still there.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        write_file(&self.path.join(name), bytes)
    }
}

/// Reads a file of this user's; `None` when it is not there. `is_strict` refuses one that others
/// may read or change.
pub fn read_file(path: &Path, len_max: usize, is_strict: bool) -> Result<Option<Vec<u8>>, Error> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(no_file(path)),
        Err(error) => return Err(unreadable(path)(error)),
    };
    let metadata = file.metadata().map_err(unreadable(path))?;
    check_file(path, &metadata, is_strict)?;
    let bytes = read_at_most(&file, len_max + 1).map_err(unreadable(path))?;
    if bytes.len() > len_max {
        return Err(Error::TooLong { path: path.to_owned(), len_max });
    }
    Ok(Some(bytes))
}

/// Replaces a file that only this user may read, or makes it. When it errs, the old one is still
/// there.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, |file| file.write_all(bytes)).map_err(|source| Error::System {
        path: path.to_owned(),
        not_done: "not written",
        source,
    })
}

fn replace(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut temporary = OsString::from(path);
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // One that an interrupted start left behind is nobody's.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Opened before the new name counts, so that only a disk that fails can stop what follows.
    let parent = open_parent(path)?;
    let result = fill_new(&temporary, fill).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // The reason to tell is the first one.
        let _ = fs::remove_file(&temporary);
        return result;
    }
    // Brings the new name to the disk.
    match parent.sync_all() {
        // Some file systems have nothing to do here.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

fn fill_new(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    // The mask may have taken more than it should.
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    fill(&mut file)?;
    file.sync_all()
}

fn open_parent(path: &Path) -> io::Result<File> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent),
        _ => File::open("."),
    }
}

fn read_at_most(file: &File, len_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(len_max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check_file(path: &Path, metadata: &Metadata, is_strict: bool) -> Result<(), Error> {
    if !metadata.is_file() {
        return Err(no_file(path));
    }
    check_private(path, metadata, is_strict, FILE_MODE)
}

fn check_private(
    path: &Path,
    metadata: &Metadata,
    is_strict: bool,
    mode_wanted: u32,
) -> Result<(), Error> {
    let (uid, uid_wanted) = (metadata.uid(), process::uid());
    if uid != uid_wanted {
        return Err(Error::Owner { path: path.to_owned(), uid, uid_wanted });
    }
    let mode = metadata.mode() & 0o7777;
    if is_strict && mode & OTHERS != 0 {
        return Err(Error::Exposed { path: path.to_owned(), mode, mode_wanted });
    }
    Ok(())
}

fn no_file(path: &Path) -> Error {
    Error::Kind { path: path.to_owned(), wanted: "a regular file" }
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::System { path, not_done: "not read", source }
}

#[cfg(test)]
pub mod tests {
    use std::os::unix::fs::{chown, symlink};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A folder of its own for one test, gone with the value.
    pub struct Folder(PathBuf);

    impl Folder {
        /// Makes one.
        pub fn new() -> Folder {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("punktfunk-test-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            Folder(path)
        }

        /// Where it is.
        pub fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    fn names(path: &Path) -> Vec<OsString> {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_missing_directory_is_made_for_its_owner_alone() {
        let folder = Folder::new();
        let path = folder.path().join("share/punktfunk");

        Directory::open(&path, true).unwrap();

        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o700, 0o700));
        assert_eq!(Directory::open(&path, true).unwrap().path(), path);
    }

    #[test]
    fn a_directory_open_to_others_is_refused_with_what_repairs_it() {
        let folder = Folder::new();
        let path = folder.path().display();
        for bits in [0o755, 0o710, 0o701, 0o770] {
            set_mode(folder.path(), bits);

            let error = Directory::open(folder.path(), true).unwrap_err().to_string();

            let repair = format!("must be 0700: 'chmod 0700 {path}' repairs it");
            assert_eq!(error, format!("{path}: mode {bits:04o} lets other users in, {repair}"));
            Directory::open(folder.path(), false).unwrap();
        }
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let folder = Folder::new();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "").unwrap();
        symlink(folder.path(), &link).unwrap();
        let with_slash = PathBuf::from(format!("{}/", link.display()));
        for path in [&file, &link, &with_slash] {
            let error = Directory::open(path, false).unwrap_err().to_string();

            assert!(error.ends_with(": not a directory"), "{error}");
        }
        let under = Directory::open(&file.join("under"), false).unwrap_err().to_string();
        assert!(under.contains("file/under: not made: "), "{under}");
    }

    #[test]
    fn a_directory_of_another_user_is_refused() {
        let folder = Folder::new();
        let own = folder.path().join("own");
        fs::create_dir(&own).unwrap();
        // Only root can give a directory away, and root's are there for everyone else.
        let anothers = if process::uid() == 0 { &own } else { Path::new("/") };
        if process::uid() == 0 {
            chown(&own, Some(1), None).unwrap();
        }

        let error = Directory::open(anothers, false).unwrap_err().to_string();

        assert!(error.contains(": owned by uid "), "{error}");
    }

    #[test]
    fn a_directory_is_locked_by_one_and_free_when_that_one_is_gone() {
        let folder = Folder::new();
        let directory = Directory::open(folder.path(), true).unwrap();
        let second = Directory::open(folder.path(), true).unwrap();

        let lock = directory.lock().unwrap();
        let refused = second.lock().unwrap_err();
        drop(lock);
        let again = second.lock();

        let (pid, path) = (std::process::id(), folder.path().display());
        assert_eq!(refused.to_string(), format!("another punktfunkd (pid {pid}) uses {path}"));
        assert!(matches!(refused, Error::Locked { pid: Some(_), .. }));
        assert!(again.is_ok());
        assert_eq!(mode(&folder.path().join(LOCK_FILE)), 0o600);
    }

    #[test]
    fn what_is_written_is_read_back_and_only_its_owner_may_read_it() {
        let folder = Folder::new();
        let directory = Directory::open(folder.path(), true).unwrap();

        assert_eq!(directory.read("file", 9).unwrap(), None);
        for bytes in [&b"first"[..], b"", b"the third"] {
            directory.write("file", bytes).unwrap();
            assert_eq!(directory.read("file", 9).unwrap().as_deref(), Some(bytes));
        }

        assert_eq!(mode(&folder.path().join("file")), 0o600);
        assert_eq!(names(folder.path()), ["file"]);
        assert!(matches!(directory.read("file", 8), Err(Error::TooLong { .. })));
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_nothing_else() {
        let folder = Folder::new();
        let path = folder.path().join("file");
        write_file(&path, b"old").unwrap();

        let full = replace(&path, |file| {
            file.write_all(b"new")?;
            Err(io::Error::from_raw_os_error(libc::ENOSPC))
        });

        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["file"]);
        fs::create_dir(folder.path().join("folder")).unwrap();
        let error = write_file(&folder.path().join("folder"), b"").unwrap_err().to_string();
        assert!(error.contains("/folder: not written: "), "{error}");
        assert_eq!(names(folder.path()), ["file", "folder"]);
    }

    #[test]
    fn what_an_interrupted_write_left_is_replaced_and_a_link_there_not_followed() {
        let folder = Folder::new();
        let (path, new) = (folder.path().join("file"), folder.path().join("file.new"));
        let victim = folder.path().join("victim");
        fs::write(&victim, "whole").unwrap();
        symlink(&victim, &new).unwrap();

        write_file(&path, b"bytes").unwrap();

        assert_eq!(fs::read(&victim).unwrap(), b"whole");
        assert_eq!(names(folder.path()), ["file", "victim"]);
    }

    #[test]
    fn files_open_to_others_are_refused_unless_that_is_wanted() {
        let folder = Folder::new();
        let path = folder.path().join("file");
        write_file(&path, b"bytes").unwrap();
        for bits in [0o640, 0o604, 0o620, 0o777] {
            set_mode(&path, bits);

            let error = read_file(&path, 9, true).unwrap_err().to_string();

            let shown = path.display();
            let repair = format!("must be 0600: 'chmod 0600 {shown}' repairs it");
            assert_eq!(error, format!("{shown}: mode {bits:04o} lets other users in, {repair}"));
            assert!(read_file(&path, 9, false).is_ok());
        }
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = Folder::new();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        write_file(&file, b"bytes").unwrap();
        symlink(&file, &link).unwrap();

        for path in [&link, folder.path(), Path::new("/dev/null")] {
            let error = read_file(path, 9, false).unwrap_err().to_string();
            assert!(error.ends_with(": not a regular file"), "{error}");
        }
    }
}
