//! Programs that are run for what they print, and are ended when they take too long for it.

#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mio::unix::pipe::Receiver;
use mio::{Events, Interest, Poll, Token};
use punktfunk_core::net::clock;

/// Between two looks at a program that has closed its outputs and not ended yet.
const END_INTERVAL: Duration = Duration::from_millis(1);
/// Bytes of each output that are taken.
pub const OUTPUT_LEN_MAX: usize = 1024 * 1024;

/// What a program left.
#[derive(Debug)]
pub struct End {
    /// How it ended.
    pub status: ExitStatus,
    /// The beginning of its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
}

/// Runs a program that reads nothing; `None` when it took longer than that, and was ended.
pub fn run(command: &mut Command, time_max: Duration) -> io::Result<Option<End>> {
    let deadline = clock::now() + time_max;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let ended = finish(&mut child, deadline);
    if !matches!(ended, Ok(Some(_))) {
        // It may have ended by itself just now.
        let _ = child.kill();
        let _ = child.wait();
    }
    ended
}

/// Takes what the program prints until it ends; `None` when the time is over before.
fn finish(child: &mut Child, deadline: Instant) -> io::Result<Option<End>> {
    let missing = || io::Error::other("no pipe");
    let stdout = Receiver::from(child.stdout.take().ok_or_else(missing)?);
    let stderr = Receiver::from(child.stderr.take().ok_or_else(missing)?);
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(2);
    let mut pipes = [Some(stdout), Some(stderr)];
    let mut outputs = [Vec::new(), Vec::new()];
    for (index, pipe) in pipes.iter_mut().flatten().enumerate() {
        pipe.set_nonblocking(true)?;
        poll.registry().register(pipe, Token(index), Interest::READABLE)?;
    }
    while pipes.iter().any(Option::is_some) {
        for (pipe, output) in pipes.iter_mut().zip(&mut outputs) {
            if pipe.as_mut().is_some_and(|pipe| is_at_end(pipe, output)) {
                *pipe = None;
            }
        }
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Ok(None);
        }
        if pipes.iter().any(Option::is_some) {
            match poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }
    let [stdout, stderr] = outputs;
    while clock::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(End { status, stdout, stderr }));
        }
        clock::sleep_until(clock::now() + END_INTERVAL);
    }
    Ok(None)
}

/// Takes what is there; true when nothing more comes. What is too much is not looked at.
fn is_at_end(pipe: &mut Receiver, output: &mut Vec<u8>) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match pipe.read(&mut bytes) {
            Ok(0) => return true,
            Ok(len) => {
                let room = OUTPUT_LEN_MAX.saturating_sub(output.len());
                output.extend_from_slice(&bytes[..len.min(room)]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}
