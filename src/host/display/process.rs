//! Processes that are not necessarily children of this one, told apart for as long as the machine
//! runs by id and start time.

#![forbid(unsafe_code)]

use std::fs;
use std::process::Child;
use std::time::Duration;

use punktfunk_core::net::{clock, process};
use serde::{Deserialize, Serialize};

/// A process that is asked to end has this long for it.
const GRACE: Duration = Duration::from_secs(1);
/// Processes that started one another, at most. Numbers may change hands while they are read.
const LINEAGE_LEN_MAX: usize = 64;
/// Between two looks at what does not tell by itself.
pub(super) const STEP: Duration = Duration::from_millis(5);

/// One process, and no later one with its number.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did.
    pub start_ticks: u64,
}

/// What /proc/PID/stat says, proc(5).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    /// `R`, `S` and so on; `Z` and `X` are of those that have ended.
    state: u8,
    parent: u32,
    group: u32,
    start_ticks: u64,
}

impl Process {
    /// The one that has that number now, ended or not.
    pub fn find(pid: u32) -> Option<Process> {
        stat(pid).map(|stat| Process { pid, start_ticks: stat.start_ticks })
    }

    /// Whether it has not ended. One that nobody has waited for has.
    pub fn is_alive(&self) -> bool {
        self.stat().is_some_and(|stat| !matches!(stat.state, b'Z' | b'X'))
    }

    /// Ends it with its process group, if it leads one and is of this user: asks first. Takes a
    /// second at most. Not for children, which have to be waited for.
    pub fn end(&self) {
        let leads = self.stat().is_some_and(|stat| stat.group == self.pid);
        if !leads || user(self.pid) != Some(process::uid()) {
            return;
        }
        process::terminate_group(self.pid);
        self.wait_end();
        // The number is still its own, or a moment ago has become free.
        process::kill_group(self.pid);
    }

    /// Whether it has started the process of that number, or whoever did.
    pub fn has_started(&self, pid: u32) -> bool {
        let lineage = std::iter::successors(Some(pid), |pid| stat(*pid).map(|stat| stat.parent));
        self.is_alive() && lineage.take(LINEAGE_LEN_MAX).any(|pid| pid == self.pid)
    }

    fn stat(&self) -> Option<Stat> {
        stat(self.pid).filter(|stat| stat.start_ticks == self.start_ticks)
    }

    fn wait_end(&self) {
        wait(GRACE, || !self.is_alive());
    }
}

/// Ends a child with its process group, which it leads: asks first, and waits for it. Takes two
/// seconds at most. The child must not have been waited for before.
pub fn end(child: &mut Child) {
    let pid = child.id();
    process::terminate_group(pid);
    if let Some(process) = Process::find(pid) {
        process.wait_end();
    }
    process::kill_group(pid);
    // One that the kernel holds even so is left to it.
    wait(GRACE, || !matches!(child.try_wait(), Ok(None)));
}

/// Looks every few milliseconds, for so long at most; returns whether `is_done` was true.
pub fn wait(patience: Duration, mut is_done: impl FnMut() -> bool) -> bool {
    let deadline = clock::now() + patience;
    while !is_done() {
        let now = clock::now();
        if now >= deadline {
            return false;
        }
        clock::sleep_until(now + STEP);
    }
    true
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The name of the program, in parentheses, may hold anything.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let end = bytes.iter().rposition(|byte| *byte == b')')?;
    let text = str::from_utf8(&bytes[end + 1..]).ok()?;
    // The third field of the line is the first here.
    let mut fields = text.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(16)?.parse().ok()?;
    Some(Stat { state, parent, group, start_ticks })
}

/// The real user id.
fn user(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_line_of_stat_is_read_whatever_the_program_is_called() {
        let rest = "S 1 41 41 0 -1 4194560 1 0 0 0 2 3 0 0 20 0 1 0 987 10 5";
        let expected = Some(Stat { state: b'S', parent: 1, group: 41, start_ticks: 987 });
        for name in ["sway", "a b", ") R 1 2 (", ""] {
            assert_eq!(parse_stat(format!("42 ({name}) {rest}\n").as_bytes()), expected);
        }
        for text in ["", "42 (sway", "42 (sway)", "42 (sway) S 1", "42 (sway) S 1 x 41"] {
            assert_eq!(parse_stat(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_process_has_started_itself_and_what_its_own_have() {
        let own = Process::find(std::process::id()).unwrap();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::find(child.id()).unwrap();

        for (process, pid, expected) in [
            (own, child.id(), true),
            (process, child.id(), true),
            (process, own.pid, false),
            (Process { start_ticks: own.start_ticks + 1, ..own }, child.id(), false),
            (own, 0, false),
            (own, u32::MAX, false),
        ] {
            assert_eq!(process.has_started(pid), expected, "{process:?} {pid}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_is_alive_until_it_has_ended_even_if_nobody_waits_for_it() {
        let mut child = Command::new("sleep")
            .arg("1000")
            .process_group(0)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let process = Process::find(child.id()).unwrap();
        let later = Process { start_ticks: process.start_ticks + 1, ..process };

        assert!(process.is_alive() && !later.is_alive());
        later.end();
        assert!(process.is_alive());
        child.kill().unwrap();
        assert!(wait(10 * GRACE, || !process.is_alive()));
        end(&mut child);

        assert_eq!(Process::find(child.id()), None);
    }

    #[test]
    fn whoever_does_not_listen_is_killed_with_all_in_its_group() {
        let script = "trap '' TERM; sleep 1000 & echo; wait; wait";
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let members = |group| {
            let pids = fs::read_dir("/proc").unwrap().flatten();
            let pids = pids.filter_map(|it| it.file_name().to_str()?.parse().ok());
            pids.filter_map(stat).filter(|it: &Stat| it.group == group && it.state != b'Z').count()
        };
        assert_eq!(members(child.id()), 2);

        end(&mut child);

        assert!(wait(10 * GRACE, || members(child.id()) == 0));
    }
}
