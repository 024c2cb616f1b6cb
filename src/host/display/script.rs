//! A command that is run to its end, which has to come in time.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use mio::unix::pipe;
use punktfunk_core::net::clock;
use punktfunk_core::net::process as system;
use punktfunk_core::net::thread as system_thread;

use super::process::{self, Kin, Process, Run};

/// Bytes that are kept of what a command says: its last line is wanted.
const SAID_LEN_MAX: usize = 4096;
/// Reads in a row before it is looked whether the command has ended.
const READ_COUNT_MAX: usize = 16;

/// A command, and what it is started with. No shell sees the words.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// The program, a path or looked for in PATH, and its arguments.
    pub argv: Vec<OsString>,
    /// Where it starts.
    pub directory: PathBuf,
    /// All of its environment.
    pub variables: BTreeMap<OsString, OsString>,
    /// It is killed after this time.
    pub time_max: Duration,
}

/// Why a command has not done what it should.
#[derive(Debug)]
pub enum Failure {
    /// It took longer than it may.
    Late(Duration),
    /// It was not started.
    NotStarted(io::Error),
    /// It ended with something else than 0, and said this last.
    Status(ExitStatus, String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Late(time) => write!(f, "killed after {} ms (HookTimeout)", time.as_millis()),
            Failure::NotStarted(error) => write!(f, "not started: {error}"),
            Failure::Status(status, said) if said.is_empty() => write!(f, "{status}"),
            Failure::Status(status, said) => write!(f, "{status}: {said}"),
        }
    }
}

impl Script {
    /// Its words, for people.
    pub fn name(&self) -> String {
        let words: Vec<_> = self.argv.iter().map(|word| word.to_string_lossy()).collect();
        crate::ipc::one_line(&words.join(" "))
    }

    /// Runs it and waits for its end; one that is late is killed with all that it has started. What
    /// it leaves running at its end stays, and has nobody to talk to. Blocks.
    pub fn run(&self) -> Result<(), Failure> {
        thread::scope(|scope| {
            let unpinned = || {
                // Whoever waits may be pinned, which programs are not to be.
                let _ = system_thread::unpin();
                self.run_here()
            };
            let builder = thread::Builder::new().name("script".into()).stack_size(256 * 1024);
            let thread = builder.spawn_scoped(scope, unpinned).map_err(Failure::NotStarted)?;
            thread.join().expect("a panic ends the process")
        })
    }

    fn run_here(&self) -> Result<(), Failure> {
        let run = Run::new();
        let (mut child, mut reader) = self.start(&run).map_err(Failure::NotStarted)?;
        let deadline = clock::now() + self.time_max;
        let mut said = Vec::new();
        loop {
            read(&mut reader, &mut said);
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    read(&mut reader, &mut said);
                    return Err(Failure::Status(status, last_line(&said)));
                }
                Ok(None) if clock::now() < deadline => {
                    clock::sleep_until(clock::now() + process::STEP);
                }
                _ => break,
            }
        }
        if let Some(leader) = Process::find(child.id()) {
            Kin::of(leader, &run).kill();
        }
        // Whatever happens, it is waited for.
        let _ = child.kill();
        process::reap(&mut child);
        Err(Failure::Late(self.time_max))
    }

    fn start(&self, run: &Run) -> io::Result<(Child, pipe::Receiver)> {
        let Some((program, arguments)) = self.argv.split_first() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let (writer, reader) = pipe::new()?;
        // Programs are not used to an output that does not wait.
        writer.set_nonblocking(false)?;
        let writer: std::os::fd::OwnedFd = writer.into();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.directory).env_clear().envs(&self.variables);
        command.env(process::RUN, run.name());
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        system::take_signals(&mut command);
        system::take_descriptor_limit(&mut command);
        system::lead_session(&mut command);
        system::end_with_starter(&mut command);
        Ok((command.spawn()?, reader))
    }
}

/// Reads what there is, and keeps the last of it.
fn read(reader: &mut pipe::Receiver, said: &mut Vec<u8>) {
    let mut chunk = [0; 4096];
    for _ in 0..READ_COUNT_MAX {
        match reader.read(&mut chunk) {
            Ok(len) if len > 0 => {
                said.extend_from_slice(&chunk[..len]);
                let excess = said.len().saturating_sub(SAID_LEN_MAX);
                said.drain(..excess);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

fn last_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    crate::ipc::one_line(last.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::state::tests::Folder;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn shell(script: &str, time_max: Duration) -> Script {
        Script {
            argv: ["sh", "-c", script].map(OsString::from).to_vec(),
            directory: "/".into(),
            variables: [("PATH".into(), "/usr/bin:/bin".into())].into(),
            time_max,
        }
    }

    #[test]
    fn what_a_command_says_last_tells_why_it_failed() {
        let fails =
            shell("echo first; yes | head -c 100000; echo last >&2; echo; exit 3", PATIENCE);

        let failure = fails.run().unwrap_err().to_string();

        assert_eq!(failure, "exit status: 3: last");
        assert!(shell("yes | head -c 1000000", PATIENCE).run().is_ok());
        let missing = Script { argv: vec!["no-such-program".into()], ..fails.clone() };
        let failure = missing.run().unwrap_err();
        assert!(matches!(failure, Failure::NotStarted(_)), "{failure}");
        assert!(Script { argv: Vec::new(), ..fails }.run().is_err());
    }

    #[test]
    fn one_that_is_late_is_killed_with_all_that_it_has_started() {
        let folder = Folder::new();
        let file = folder.path().join("pids");
        let script = format!(
            "trap '' TERM; sleep 1000 & echo $! >{0}; setsid sleep 1000 & echo $! >>{0}; wait; wait",
            file.display()
        );
        // Whatever the time is, both have to be there before it is over.
        let hangs = shell(&script, Duration::from_secs(2));

        let failure = hangs.run().unwrap_err();

        assert_eq!(failure.to_string(), "killed after 2000 ms (HookTimeout)");
        let pids = fs::read_to_string(file).unwrap();
        let pids: Vec<u32> = pids.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(pids.len(), 2);
        let is_alive = |pid: &u32| Process::find(*pid).is_some_and(|it| it.is_alive());
        assert!(process::wait(PATIENCE, || !pids.iter().any(is_alive)));
    }

    #[test]
    fn a_command_is_not_pinned_where_its_starter_is() {
        let processors = |file: &str| {
            let status = fs::read_to_string(file).unwrap();
            let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap();
            line.to_owned()
        };
        let folder = Folder::new();
        let status = folder.path().join("status");
        let script = format!("cp /proc/self/status {}", status.display());

        let pinned = thread::scope(|scope| {
            let start = || {
                let is_pinned = (0..1024).any(|it| system_thread::pin(&[it]).is_ok());
                is_pinned && shell(&script, PATIENCE).run().is_ok()
            };
            scope.spawn(start).join().unwrap()
        });

        assert!(pinned);
        let main = processors(&format!("/proc/{}/status", std::process::id()));
        assert_eq!(processors(status.to_str().unwrap()), main);
    }

    #[test]
    fn what_a_command_leaves_running_is_not_waited_for() {
        let folder = Folder::new();
        let file = folder.path().join("pid");
        let leaves = format!("sleep 1000 & echo $! >{}", file.display());

        shell(&leaves, PATIENCE).run().unwrap();

        let pid: u32 = fs::read_to_string(file).unwrap().trim().parse().unwrap();
        let process = Process::find(pid).unwrap();
        assert!(process.is_alive());
        system::kill(pid);
    }
}
