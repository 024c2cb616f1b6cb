//! Work that may block, done off the reactor: files that are written through to the disk, read or
//! parsed.
//!
//! Errands are done one after another in the order they were given, by a thread that exists only
//! while there are any, so an idle daemon has no thread for them.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use mio::Waker;

/// Errands given and not yet done. One more is refused: the disk does not keep up.
const QUEUE_LEN_MAX: usize = 64;

type Job<T> = Box<dyn FnOnce() -> T + Send>;

/// The queue; `T` is what comes of an errand.
pub struct Errands<T> {
    shared: Arc<Mutex<Shared<T>>>,
    waker: Arc<Waker>,
}

struct Shared<T> {
    jobs: VecDeque<Job<T>>,
    done: VecDeque<T>,
    /// Whether a thread is there to take the next job.
    is_running: bool,
}

impl<T: Send + 'static> Errands<T> {
    /// `waker` tells the reactor that something is done.
    pub fn new(waker: Arc<Waker>) -> Errands<T> {
        let shared = Shared { jobs: VecDeque::new(), done: VecDeque::new(), is_running: false };
        Errands { shared: Arc::new(Mutex::new(shared)), waker }
    }

    /// Has `job` done. An error says that it will not be: too many wait, or no thread can be made.
    pub fn give(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<()> {
        let mut shared = lock(&self.shared);
        if shared.jobs.len() >= QUEUE_LEN_MAX {
            return Err(io::Error::other("too many files are waiting to be written"));
        }
        shared.jobs.push_back(Box::new(job));
        if shared.is_running {
            return Ok(());
        }
        let (theirs, waker) = (Arc::clone(&self.shared), Arc::clone(&self.waker));
        let started = thread::Builder::new()
            .name("errand".into())
            .stack_size(256 * 1024)
            .spawn(move || run(&theirs, &waker));
        match started {
            Ok(_) => {
                shared.is_running = true;
                Ok(())
            }
            Err(error) => {
                shared.jobs.pop_back();
                Err(error)
            }
        }
    }

    /// Errands that nobody has begun.
    pub fn waiting_count(&self) -> usize {
        lock(&self.shared).jobs.len()
    }

    /// What came of the errand that was done first and not asked for yet.
    pub fn poll(&self) -> Option<T> {
        lock(&self.shared).done.pop_front()
    }

    /// Whether every errand is done and asked for.
    pub fn is_idle(&self) -> bool {
        let shared = lock(&self.shared);
        !shared.is_running && shared.done.is_empty()
    }
}

fn run<T>(shared: &Mutex<Shared<T>>, waker: &Waker) {
    loop {
        let job = {
            let mut shared = lock(shared);
            let Some(job) = shared.jobs.pop_front() else {
                shared.is_running = false;
                break;
            };
            job
        };
        let result = job();
        lock(shared).done.push_back(result);
        wake(waker);
    }
    wake(waker);
}

fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        log::error!("errands: reactor not woken: {error}");
    }
}

fn lock<T>(shared: &Mutex<Shared<T>>) -> std::sync::MutexGuard<'_, Shared<T>> {
    shared.lock().expect("a panic of the other thread ends the process")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errands_are_done_in_order_and_wake_the_reactor() {
        let mut poll = mio::Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let errands = Errands::new(waker);

        for number in 0..10 {
            errands.give(move || number).unwrap();
        }
        let mut done = Vec::new();
        while !errands.is_idle() {
            poll.poll(&mut mio::Events::with_capacity(8), None).unwrap();
            done.extend(std::iter::from_fn(|| errands.poll()));
        }

        assert_eq!(done, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn more_errands_than_the_queue_holds_are_refused() {
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let errands = Errands::new(waker);
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().unwrap();

        let given = (0..QUEUE_LEN_MAX + 2).filter(|_| {
            let gate = Arc::clone(&gate);
            errands.give(move || drop(gate.lock())).is_ok()
        });
        let given = given.count();
        drop(closed);

        // The thread holds one more than the queue once it has taken it.
        assert!((QUEUE_LEN_MAX..=QUEUE_LEN_MAX + 1).contains(&given), "{given}");
    }
}
