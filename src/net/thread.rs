//! How the calling thread is scheduled.

use std::io;
use std::time::Duration;

/// Timers of this thread fire when they are due, not up to 50 us later.
pub fn sharpen_timers() {
    // SAFETY: PR_SET_TIMERSLACK takes nanoseconds; 1 is the finest. Nothing hangs on it.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64, 0_u64, 0_u64, 0_u64) };
}

/// Runs this thread on these processors only.
pub fn pin(processors: &[usize]) -> io::Result<()> {
    // SAFETY: a set of bits, for which zeros are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for processor in processors.iter().filter(|it| **it < libc::CPU_SETSIZE as usize) {
        // SAFETY: the index is below the size of the set.
        unsafe { libc::CPU_SET(*processor, &mut set) };
    }
    // SAFETY: the set is as long as said and outlives the call; 0 is this thread.
    let result =
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Runs this thread, and what it starts, wherever the main thread of this process may run.
pub fn unpin() -> io::Result<()> {
    // SAFETY: a set of bits, for which zeros are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let len = size_of::<libc::cpu_set_t>();
    let main = std::process::id() as libc::pid_t;
    // SAFETY: the set is as long as said and outlives the calls; 0 is this thread.
    let result = unsafe {
        match libc::sched_getaffinity(main, len, &raw mut set) {
            0 => libc::sched_setaffinity(0, len, &raw const set),
            error => error,
        }
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes this thread a real-time one, first come first served at `priority` (1 to 99), or with
/// `None` an ordinary one again. Threads that it makes are ordinary.
pub fn set_real_time(priority: Option<u8>) -> io::Result<()> {
    let policy = match priority {
        Some(_) => libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK,
        None => libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK,
    };
    let parameters = libc::sched_param { sched_priority: priority.unwrap_or(0).into() };
    // SAFETY: the parameters outlive the call; 0 is this thread.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Processor time that this thread has had.
pub fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a timespec that outlives the call. This clock is there on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_be_pinned_to_a_processor_that_is_there() {
        let pinned = std::thread::Builder::new().spawn(|| {
            sharpen_timers();
            // Which ones this process may use is not known; one of the first thousand is.
            (0..1024).any(|processor| pin(&[processor]).is_ok())
        });

        assert!(pinned.unwrap().join().unwrap());
        assert!(pin(&[]).is_err());
    }

    #[test]
    fn a_pinned_thread_can_go_back_to_where_all_may_run() {
        let count = || std::thread::available_parallelism().unwrap();
        let pinned = std::thread::Builder::new().spawn(move || {
            assert!((0..1024).any(|processor| pin(&[processor]).is_ok()));
            let before = count();
            unpin().unwrap();
            (before.get(), count())
        });

        assert_eq!(pinned.unwrap().join().unwrap(), (1, count()));
    }

    #[test]
    fn work_takes_processor_time() {
        let before = processor_time();

        let mut sum = 0_u64;
        while processor_time() == before {
            sum = std::hint::black_box(sum + 1);
        }

        assert!(processor_time() > before);
    }
}
