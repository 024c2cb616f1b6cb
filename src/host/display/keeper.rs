//! The thread beside a display that its programs hang on: it starts them, so that they end with the
//! daemon, and reads what they say.
//!
//! The kernel counts the thread that started a program as its parent, and whoever opens a display
//! may be gone before it is closed.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::unix::pipe;
use mio::{Events, Interest, Poll, Token, Waker};
use punktfunk_core::net::process as system;

use super::process::{self, Kin, Process, Run};

/// Bytes that are kept of what the programs say; the oldest go first.
const LOG_LEN_MAX: usize = 64 << 10;

const SAID: Token = Token(0);
const ASKED: Token = Token(1);

/// The thread, which ends with this. Its programs have to be ended before.
pub struct Keeper {
    requests: Option<Sender<Request>>,
    waker: Waker,
    log: Arc<Mutex<VecDeque<u8>>>,
    thread: Option<JoinHandle<()>>,
}

/// A command, and where to send what comes of it.
struct Request(Command, Sender<io::Result<Child>>);

/// A program that was started, which ends with this, as does all that it has started.
pub struct Program {
    child: Child,
    process: Process,
    kin: Kin,
    /// How long it has to end when it is asked to.
    exit_time: Duration,
    /// Some that belong to it and were alive at the last look; none once all have ended.
    known: RefCell<Option<Vec<Process>>>,
}

impl Keeper {
    /// Starts the thread, for the session of that number.
    pub fn start(session: u32) -> io::Result<Keeper> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), ASKED)?;
        let (writer, mut reader) = pipe::new()?;
        poll.registry().register(&mut reader, SAID, Interest::READABLE)?;
        // Programs are not used to an output that does not wait.
        writer.set_nonblocking(false)?;
        let (requests, requested) = mpsc::channel();
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let state = State { poll, reader, writer: writer.into(), requested, log: Arc::clone(&log) };
        let name = format!("display {session}");
        let thread = thread::Builder::new().name(name).spawn(move || state.run())?;
        Ok(Keeper { requests: Some(requests), waker, log, thread: Some(thread) })
    }

    /// Starts a program as the leader of a session. It reads nothing, and what it says is kept. When
    /// it is asked to end, it has that long for it.
    pub fn spawn(&self, mut command: Command, exit_time: Duration) -> io::Result<Program> {
        let run = Run::new();
        command.env(process::RUN, run.name()).stdin(Stdio::null());
        system::take_signals(&mut command);
        system::take_descriptor_limit(&mut command);
        system::lead_session(&mut command);
        system::end_with_starter(&mut command);
        let (answer, answered) = mpsc::channel();
        let requests = self.requests.as_ref().expect("taken by drop alone");
        let gone = |_| io::Error::other("thread of the display ended");
        requests.send(Request(command, answer)).map_err(|_| gone(mpsc::RecvError))?;
        self.waker.wake()?;
        let mut child = answered.recv().map_err(gone)??;
        match Process::find(child.id()) {
            Some(process) => {
                let (kin, known) = (Kin::of(process, &run), RefCell::new(Some(vec![process])));
                Ok(Program { child, process, kin, exit_time, known })
            }
            None => {
                let _ = child.kill();
                process::reap(&mut child);
                Err(io::Error::other("/proc does not show what was started"))
            }
        }
    }

    /// The last that the programs have said.
    pub fn log(&self) -> String {
        let log = self.log.lock().expect("no thread outlives a panic");
        let (front, back) = log.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.requests.take());
        let is_told = self.waker.wake().is_ok();
        if let Some(thread) = self.thread.take().filter(|_| is_told) {
            let _ = thread.join();
        }
    }
}

impl Program {
    /// Which process it is.
    pub fn process(&self) -> Process {
        self.process
    }

    /// Whether it still runs itself.
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// Whether it runs, or anything that it has started and that does its work. Where all that was
    /// seen at the last look has ended, this looks at every process of the machine.
    pub fn runs(&self) -> bool {
        let mut known = self.known.borrow_mut();
        let Some(members) = &mut *known else { return false };
        // One that is at work is enough, and is as a rule the one that was last.
        while members.last().is_some_and(|it| !self.kin.has_worker(it)) {
            members.pop();
        }
        // One that is started during a look may be missed by it, but not by two.
        for _ in 0..2 {
            if members.is_empty() {
                *members = self.kin.members();
                members.retain(|it| self.kin.has_worker(it));
            }
        }
        if members.is_empty() {
            *known = None;
        }
        known.is_some()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kin.end(self.exit_time);
        process::reap(&mut self.child);
    }
}

/// What the thread has.
struct State {
    poll: Poll,
    reader: pipe::Receiver,
    writer: OwnedFd,
    requested: Receiver<Request>,
    log: Arc<Mutex<VecDeque<u8>>>,
}

impl State {
    fn run(mut self) {
        // The one who opens the display may be pinned, which programs are not to be.
        let _ = punktfunk_core::net::thread::unpin();
        let mut events = Events::with_capacity(2);
        loop {
            match self.requested.try_recv() {
                Ok(Request(command, answer)) => {
                    // Whoever does not wait for the answer any more is gone with the display.
                    let _ = answer.send(self.spawn(command));
                    continue;
                }
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
            if let Err(error) = self.poll.poll(&mut events, None)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return;
            }
            self.read();
        }
    }

    fn spawn(&self, mut command: Command) -> io::Result<Child> {
        command.stdout(self.writer.try_clone()?).stderr(self.writer.try_clone()?);
        command.spawn()
    }

    /// Reads until there is nothing left: only after that is there news of more.
    fn read(&mut self) {
        let mut chunk = [0; 4096];
        loop {
            let len = match self.reader.read(&mut chunk) {
                Ok(0) => return,
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let mut log = self.log.lock().expect("no thread outlives a panic");
            let excess = (log.len() + len).saturating_sub(LOG_LEN_MAX).min(log.len());
            log.drain(..excess);
            log.extend(&chunk[..len]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::process::GRACE;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn of_what_programs_say_the_last_is_kept() {
        let keeper = Keeper::start(1).unwrap();
        let talks =
            keeper.spawn(shell("yes | head -c 200000; echo; echo last >&2"), GRACE).unwrap();

        assert!(process::wait(PATIENCE, || keeper.log().ends_with("last\n")));

        assert_eq!(keeper.log().len(), LOG_LEN_MAX);
        assert!(process::wait(PATIENCE, || !talks.is_alive()));
    }

    #[test]
    fn a_program_outlives_the_thread_that_asked_for_it_and_ends_with_its_value() {
        let open = || {
            let keeper = Keeper::start(2).unwrap();
            let program = keeper.spawn(shell("echo up; sleep 1000"), GRACE).unwrap();
            (keeper, program)
        };
        let (keeper, program) = thread::scope(|scope| scope.spawn(open).join().unwrap());
        assert!(process::wait(PATIENCE, || keeper.log() == "up\n"));
        let process = program.process();
        assert!(process.is_alive());

        drop(program);

        assert!(!process.is_alive());
    }

    #[test]
    fn a_program_runs_until_all_that_it_has_started_has_ended() {
        let keeper = Keeper::start(4).unwrap();
        let launcher = keeper.spawn(shell("sleep 1000 & echo $!"), GRACE).unwrap();
        assert!(process::wait(PATIENCE, || keeper.log().ends_with('\n')));
        assert!(process::wait(PATIENCE, || !launcher.is_alive()));
        assert!(launcher.runs());

        system::kill(keeper.log().trim().parse().unwrap());

        assert!(process::wait(PATIENCE, || !launcher.runs()));
    }

    #[test]
    fn what_outlives_a_program_without_being_it_does_not_keep_it_running_and_ends_with_it() {
        let folder = crate::state::tests::Folder::new();
        let helper = folder.path().join("dbus-daemon");
        // A link would do, were the name of a program not that of its file.
        let copied = Command::new("cp").arg("/bin/sleep").arg(&helper).status().unwrap();
        assert!(copied.success());
        let keeper = Keeper::start(5).unwrap();
        let script = format!("setsid {} 1000 & echo $!", helper.display());
        let program = keeper.spawn(shell(&script), GRACE).unwrap();
        assert!(process::wait(PATIENCE, || keeper.log().ends_with('\n')));
        let helper = Process::find(keeper.log().trim().parse().unwrap()).unwrap();

        assert!(process::wait(PATIENCE, || !program.runs()));
        assert!(helper.is_alive());
        drop(program);

        assert!(!helper.is_alive());
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_and_no_more() {
        let keeper = Keeper::start(3).unwrap();

        let error = keeper.spawn(Command::new("/no/such/program"), GRACE).err().unwrap();

        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(keeper.spawn(shell(""), GRACE).is_ok());
    }
}
