//! What the kernel knows of this process: user, signals, limits.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::sync::OnceLock;

/// A user of this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Home directory.
    pub home: String,
}

/// Bytes for the strings of one passwd or group entry; a group may list many members.
const ENTRY_LEN_MAX: usize = 64 * 1024;

/// The effective user id.
pub fn uid() -> u32 {
    // SAFETY: no arguments, never fails.
    unsafe { libc::geteuid() }
}

/// The user of that name, if there is one.
pub fn user_by_name(name: &str) -> io::Result<Option<User>> {
    let Ok(name) = CString::new(name) else {
        return Ok(None);
    };
    lookup(|entry, buffer, len, found| {
        // SAFETY: `name` is NUL-terminated; the others come from `lookup`, valid for the call.
        unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer, len, found) }
    })
}

/// The user with that id, if there is one.
pub fn user_by_uid(uid: u32) -> io::Result<Option<User>> {
    lookup(|entry, buffer, len, found| {
        // SAFETY: the pointers come from `lookup` and are valid for the call.
        unsafe { libc::getpwuid_r(uid, entry, buffer, len, found) }
    })
}

type Passwd = libc::passwd;

fn lookup(
    ask: impl FnOnce(*mut Passwd, *mut libc::c_char, usize, *mut *mut Passwd) -> i32,
) -> io::Result<Option<User>> {
    let mut entry = MaybeUninit::<Passwd>::uninit();
    let mut buffer = vec![0 as libc::c_char; ENTRY_LEN_MAX];
    let mut found = ptr::null_mut();
    let result = ask(entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut found);
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    if found.is_null() {
        return Ok(None);
    }
    // SAFETY: a non-null result says that the call filled `entry`, whose strings are
    // NUL-terminated and lie in `buffer`, which lives to the end of this function.
    let (entry, name, home) = unsafe {
        let entry = entry.assume_init();
        (entry, CStr::from_ptr(entry.pw_name), CStr::from_ptr(entry.pw_dir))
    };
    Ok(Some(User {
        name: name.to_string_lossy().into_owned(),
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        home: home.to_string_lossy().into_owned(),
    }))
}

/// The id of the group of that name, if there is one.
pub fn group_by_name(name: &str) -> io::Result<Option<u32>> {
    let Ok(name) = CString::new(name) else {
        return Ok(None);
    };
    let mut entry = MaybeUninit::<libc::group>::uninit();
    let mut buffer = vec![0 as libc::c_char; ENTRY_LEN_MAX];
    let mut found = ptr::null_mut();
    let (place, len) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: `name` is NUL-terminated, `place` has `len` writable bytes, the rest is local.
    let result =
        unsafe { libc::getgrnam_r(name.as_ptr(), entry.as_mut_ptr(), place, len, &mut found) };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    if found.is_null() {
        return Ok(None);
    }
    // SAFETY: a non-null result says that the call filled `entry`.
    Ok(Some(unsafe { entry.assume_init() }.gr_gid))
}

/// The name of the group with that id, if there is one.
pub fn group_by_id(group: u32) -> io::Result<Option<String>> {
    let mut entry = MaybeUninit::<libc::group>::uninit();
    let mut buffer = vec![0 as libc::c_char; ENTRY_LEN_MAX];
    let mut found = ptr::null_mut();
    let (place, len) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: `place` has `len` writable bytes, the rest is local.
    let result = unsafe { libc::getgrgid_r(group, entry.as_mut_ptr(), place, len, &mut found) };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    if found.is_null() {
        return Ok(None);
    }
    // SAFETY: a non-null result says that the call filled `entry`, whose name ends with a NUL and
    // lies in `buffer`, which lives to the end of this function.
    let name = unsafe { CStr::from_ptr(entry.assume_init().gr_name) };
    Ok(Some(name.to_string_lossy().into_owned()))
}

/// Whether this process is in that group.
pub fn has_group(group: u32) -> bool {
    // SAFETY: no arguments, never fails.
    if unsafe { libc::getegid() } == group {
        return true;
    }
    let mut groups = [0; 64];
    // SAFETY: `groups` has room for 64 ids; with more the call fails and changes nothing.
    let count = unsafe { libc::getgroups(64, groups.as_mut_ptr()) };
    usize::try_from(count).is_ok_and(|count| groups[..count].contains(&group))
}

/// Becomes `user` for good, with that user's groups. To be called before any other thread exists.
pub fn become_user(user: &User) -> io::Result<()> {
    let name = CString::new(user.name.as_str()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `name` is NUL-terminated and outlives the calls; the others take integers.
    unsafe {
        check(libc::initgroups(name.as_ptr(), user.gid))?;
        check(libc::setresgid(user.gid, user.gid, user.gid))?;
        check(libc::setresuid(user.uid, user.uid, user.uid))?;
    }
    // Going back must be impossible now.
    // SAFETY: takes an integer.
    if unsafe { libc::setuid(0) } == 0 && user.uid != 0 {
        return Err(io::Error::other("still able to become root"));
    }
    Ok(())
}

/// No program that this process starts gains privileges (prctl(2), PR_SET_NO_NEW_PRIVS).
pub fn forbid_new_privileges() -> io::Result<()> {
    // SAFETY: takes integers.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
}

/// Neither core dumps nor other processes of the same user may read this process's memory.
pub fn forbid_core_dumps() -> io::Result<()> {
    // SAFETY: takes integers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })?;
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is a whole rlimit and outlives the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) })
}

/// The limits of this process decide about core dumps, and other processes of the same user may
/// read its memory.
pub fn allow_core_dumps() -> io::Result<()> {
    // SAFETY: takes integers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) })
}

/// Has all threads share two arenas of memory. Each thread of a session would else get one of its
/// own, and leave it behind with holes. To be called before there are threads.
pub fn limit_arenas() {
    // SAFETY: takes integers. Where it is refused, memory is only less tidy.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
}

/// Gives memory back that was freed and kept for later. Takes milliseconds.
pub fn release_memory() {
    // SAFETY: takes an integer, and only touches what nobody has.
    unsafe { libc::malloc_trim(0) };
}

/// Keeps in memory what is there and what comes, as far as it is touched at all.
pub fn lock_memory() -> io::Result<()> {
    // SAFETY: takes flags.
    check(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) })
}

/// This process may crash or hang: others come first, it ends with the thread that started it or
/// after a minute, and it leaves no core dump.
pub fn become_expendable() -> io::Result<()> {
    const NICENESS: i32 = 10;
    const TIME_S: u32 = 60;
    forbid_core_dumps()?;
    // SAFETY: all take integers.
    unsafe {
        libc::alarm(TIME_S);
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        check(libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS))
    }
}

/// Closes everything but the standard streams, whatever this process was started with. To be called
/// before it has opened anything itself.
pub fn close_inherited() {
    // SAFETY: takes integers, and closes what no value of this process owns yet. Kernels that do
    // not know the call leave open what was.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
}

/// Ends a process that leads a group of its own, and all in its group, at once. To be called before
/// it is waited for: after that its number may be another's.
pub fn kill_group(leader: u32) {
    if let Some(leader) = i32::try_from(leader).ok().filter(|leader| *leader > 1) {
        // SAFETY: takes integers. An error says that nobody is left in the group.
        let _ = unsafe { libc::kill(-leader, libc::SIGKILL) };
    }
}

/// Asks one process to end (SIGTERM).
pub fn terminate(pid: u32) {
    signal(pid, libc::SIGTERM);
}

/// Ends one process at once.
pub fn kill(pid: u32) {
    signal(pid, libc::SIGKILL);
}

fn signal(pid: u32, signal: i32) {
    if let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 1) {
        // SAFETY: takes integers. An error says that it is gone, or somebody else's.
        let _ = unsafe { libc::kill(pid, signal) };
    }
}

/// What the command starts leads a session of its own (setsid(2)), which all that it starts in turn
/// belongs to, whatever becomes of it.
pub fn lead_session(command: &mut Command) {
    // SAFETY: takes nothing.
    let lead = || check(unsafe { libc::setsid() });
    // SAFETY: between fork and exec the closure makes one system call, and neither allocates nor
    // locks: an error of the system is a number.
    unsafe { command.pre_exec(lead) };
}

/// What the command starts takes signals as programs expect: it inherits neither what this process
/// blocks, which is all that a daemon is steered by, nor what it ignores.
pub fn take_signals(command: &mut Command) {
    let reset = || {
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises `none`, which outlives both calls; the rest are integers,
        // and the default is an action of every signal.
        unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
                libc::signal(signal, libc::SIG_DFL);
            }
            check(libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()))
        }
    };
    // SAFETY: between fork and exec the closure makes system calls, and neither allocates nor locks.
    unsafe { command.pre_exec(reset) };
}

/// What the command starts is asked to end (SIGTERM) when the thread that started it ends, as all
/// threads do with this process. What that starts in turn is not.
pub fn end_with_starter(command: &mut Command) {
    let starter = std::process::id();
    let follow = move || {
        // SAFETY: takes integers.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) })?;
        // One that has ended before gives no signal any more.
        // SAFETY: no arguments, never fails.
        let parent = unsafe { libc::getppid() };
        if u32::try_from(parent) == Ok(starter) { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    };
    // SAFETY: between fork and exec the closure makes two system calls, and neither allocates nor
    // locks: an error of a kind alone is a value.
    unsafe { command.pre_exec(follow) };
}

/// How many descriptors this process was to have when it started, once it may have more.
static DESCRIPTOR_LIMIT: OnceLock<libc::rlim_t> = OnceLock::new();

/// Lets this process have as many descriptors as its hard limit says; returns how many.
pub fn raise_descriptor_limit() -> io::Result<usize> {
    let limit = set_descriptor_limit(|limit| {
        DESCRIPTOR_LIMIT.get_or_init(|| limit.rlim_cur);
        limit.rlim_max
    })?;
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// What the command starts has the limit of descriptors that this process was started with: programs
/// with select(2) cannot use more than 1024, and some close as many as they may have.
pub fn take_descriptor_limit(command: &mut Command) {
    let Some(&before) = DESCRIPTOR_LIMIT.get() else { return };
    let lower = move || set_descriptor_limit(|limit| before.min(limit.rlim_max)).map(drop);
    // SAFETY: between fork and exec the closure makes two system calls, and neither allocates nor
    // locks: an error of the system is a number.
    unsafe { command.pre_exec(lower) };
}

fn set_descriptor_limit(
    choose: impl FnOnce(&libc::rlimit) -> libc::rlim_t,
) -> io::Result<libc::rlim_t> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a whole rlimit and outlives the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = choose(&limit);
    // SAFETY: as above.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    Ok(limit.rlim_cur)
}

/// Sets which permissions new files and sockets never get; returns the mask before.
pub fn set_umask(mask: u32) -> u32 {
    // SAFETY: takes an integer, never fails.
    unsafe { libc::umask(mask) }
}

/// Whether a line of up to 4 KiB can be written to standard error without waiting for its reader.
/// True as well where the write would fail.
pub fn stderr_has_room() -> bool {
    let mut stderr = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: `stderr` is one whole pollfd and outlives the call.
    unsafe { libc::poll(&mut stderr, 1, 0) != 0 }
}

/// Ends the process at once: no destructors, no exit handlers. For panics, when nothing in the
/// process may be trusted any more.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::_exit(status) }
}

/// A signal that a daemon is steered by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Signal {
    /// SIGUSR1.
    Dump,
    /// SIGHUP.
    Reload,
    /// SIGUSR2.
    Reopen,
    /// SIGTERM or SIGINT.
    Stop,
}

/// The signals of this process, as a descriptor that becomes readable (signalfd(2)).
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks the daemon's signals in this thread and all that it will start, and ignores SIGPIPE
    /// and SIGXFSZ: writing fails instead. To be called before any other thread exists.
    pub fn open() -> io::Result<Signals> {
        let taken = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises `set`, which outlives all calls; the rest are integers.
        let fd = unsafe {
            check(libc::sigemptyset(set.as_mut_ptr()))?;
            for signal in taken {
                check(libc::sigaddset(set.as_mut_ptr(), signal))?;
            }
            check(libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut()))?;
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            libc::signalfd(-1, set.as_ptr(), libc::SFD_NONBLOCK | libc::SFD_CLOEXEC)
        };
        check(fd)?;
        // SAFETY: `fd` was returned by signalfd() just now and is owned by nobody else.
        Ok(Signals { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The next signal, or `None` until the descriptor is readable again.
    pub fn poll(&mut self) -> Option<Signal> {
        loop {
            let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
            let len = size_of_val(&info);
            // SAFETY: `info` has `len` writable bytes.
            let got = unsafe { libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), len) };
            if got != len as isize {
                return None;
            }
            // SAFETY: zeroed and then filled by the kernel; every bit pattern is a value.
            let number = unsafe { info.assume_init() }.ssi_signo as i32;
            match number {
                libc::SIGHUP => return Some(Signal::Reload),
                libc::SIGINT | libc::SIGTERM => return Some(Signal::Stop),
                libc::SIGUSR1 => return Some(Signal::Dump),
                libc::SIGUSR2 => return Some(Signal::Reopen),
                _ => {}
            }
        }
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_of_this_process_is_found_by_id_and_by_name() {
        let user = user_by_uid(uid()).unwrap().expect("tests run as a user with a name");

        assert_eq!(user_by_name(&user.name).unwrap(), Some(user));
    }

    #[test]
    fn what_a_thread_started_is_asked_to_end_when_the_thread_does() {
        use std::os::unix::process::ExitStatusExt;
        let start = || {
            let mut command = Command::new("sleep");
            end_with_starter(command.arg("1000"));
            command.spawn().unwrap()
        };

        let mut child = std::thread::scope(|scope| scope.spawn(start).join().unwrap());

        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    }

    #[test]
    fn what_is_started_takes_the_signals_that_its_starter_blocks() {
        let blocked = |takes: bool| {
            let mut command = Command::new("grep");
            command.args(["SigBlk", "/proc/self/status"]);
            if takes {
                take_signals(&mut command);
            }
            let start = || {
                let mut set = MaybeUninit::<libc::sigset_t>::uninit();
                // SAFETY: sigemptyset initialises `set`, which outlives the calls. This thread alone
                // blocks the signal.
                unsafe {
                    libc::sigemptyset(set.as_mut_ptr());
                    libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
                    libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
                }
                command.output().unwrap().stdout
            };
            let said = std::thread::scope(|scope| scope.spawn(start).join().unwrap());
            let text = String::from_utf8(said).unwrap();
            u64::from_str_radix(text.trim().rsplit('\t').next().unwrap(), 16).unwrap()
        };

        let term = 1 << (libc::SIGTERM - 1);

        assert_eq!((blocked(false) & term, blocked(true)), (term, 0));
    }

    #[test]
    fn names_that_nobody_has_are_no_users() {
        for name in ["", "no such user", "nul\0inside"] {
            assert_eq!(user_by_name(name).unwrap(), None);
            assert_eq!(group_by_name(name).unwrap(), None);
        }
        assert_eq!(group_by_name("root").unwrap(), Some(0));
        assert_eq!(group_by_id(0).unwrap().as_deref(), Some("root"));
        assert_eq!(group_by_id(u32::MAX - 7).unwrap(), None);
    }
}
