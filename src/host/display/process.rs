//! Processes that are not necessarily children of this one, told apart for as long as the machine
//! runs by id and start time; and what belongs to a program, whatever that has become itself.
//!
//! A launcher starts a game and ends. What it has started is still known by two things that it
//! inherits: its session (setsid(2)), whose number is that of the launcher and nobody else's while
//! anybody is in it; and a name in its environment, where it has left the session.

#![forbid(unsafe_code)]

use std::fs;
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use punktfunk_core::net::{clock, process};
use serde::{Deserialize, Serialize};

/// A process that is asked to end has this long for it, unless somebody says otherwise.
pub const GRACE: Duration = Duration::from_secs(1);
/// Processes that started one another, at most. Numbers may change hands while they are read.
const LINEAGE_LEN_MAX: usize = 64;
/// Between two looks at what does not tell by itself.
pub(super) const STEP: Duration = Duration::from_millis(5);
/// Names what a program was started as, in the environment of all that it starts.
pub const RUN: &str = "PUNKTFUNK_RUN";
/// Becoming another program takes less than this.
const EXEC_TIME_MAX: Duration = Duration::from_millis(100);
/// Those that start others while they are killed are killed again, so often.
const KILL_COUNT_MAX: usize = 8;

/// Programs that others start on the way and that outlive them. An app has ended when only these are
/// left of it. As the kernel names them, which is 15 bytes at most.
const BYSTANDERS: [&str; 18] = [
    "at-spi-bus-laun",
    "at-spi2-registr",
    "dbus-broker",
    "dbus-broker-lau",
    "dbus-daemon",
    "dbus-launch",
    "dconf-service",
    "fcitx5",
    "gpg-agent",
    "ibus-daemon",
    "keyboxd",
    "pipewire",
    "pipewire-pulse",
    "pulseaudio",
    "scdaemon",
    "speech-dispatch",
    "ssh-agent",
    "wireplumber",
];
const BYSTANDER_PREFIXES: [&str; 2] = ["gvfs", "xdg-"];

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
    session: u32,
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

    /// Ends it with all in its session, if it leads one and is of this user: asks first. Takes a
    /// second or two. Not for children, which have to be waited for.
    pub fn end(&self) {
        let leads = self.stat().is_some_and(|stat| stat.session == self.pid);
        if leads && user(self.pid) == Some(process::uid()) {
            Kin { leader: Some(*self), since: self.start_ticks, name: None }.end(GRACE);
        }
    }

    /// Whether it has started the process of that number, or whoever did.
    pub fn has_started(&self, pid: u32) -> bool {
        let lineage = std::iter::successors(Some(pid), |pid| stat(*pid).map(|stat| stat.parent));
        self.is_alive() && lineage.take(LINEAGE_LEN_MAX).any(|pid| pid == self.pid)
    }

    fn stat(&self) -> Option<Stat> {
        stat(self.pid).filter(|stat| stat.start_ticks == self.start_ticks)
    }
}

/// One start of a program, which nothing else has the name of.
pub struct Run(String);

impl Run {
    /// Another one.
    pub fn new() -> Run {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Run(format!("{}{number}.", name_of_all(this().as_ref())))
    }

    /// What [`RUN`] is in its environment.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// This process.
pub fn this() -> Option<Process> {
    Process::find(std::process::id())
}

/// What the names of all that a process has started begin with.
fn name_of_all(starter: Option<&Process>) -> String {
    starter.map_or("-".into(), |it| format!("{}-{}-", it.pid, it.start_ticks))
}

/// All processes that belong to something that was started.
pub struct Kin {
    /// Whose session they are in.
    leader: Option<Process>,
    /// None of them is older.
    since: u64,
    /// What [`RUN`] begins with in their environments; without one only the session counts.
    name: Option<String>,
}

impl Kin {
    /// A program that was started as that, as the leader of a session, and what it has started.
    pub fn of(leader: Process, run: &Run) -> Kin {
        Kin { leader: Some(leader), since: leader.start_ticks, name: Some(run.0.clone()) }
    }

    /// All that was started by a process that has ended.
    pub fn left_by(starter: &Process) -> Kin {
        let name = Some(name_of_all(Some(starter)));
        Kin { leader: None, since: starter.start_ticks, name }
    }

    /// Those that have not ended. Looks at every process of the machine, which takes milliseconds.
    pub fn members(&self) -> Vec<Process> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
        pids.filter_map(|pid| self.member(pid)).collect()
    }

    /// Whether one of them does what was started, and does not only help with it.
    pub fn has_worker(&self, member: &Process) -> bool {
        member.is_alive() && (self.leader == Some(*member) || !is_bystander(member.pid))
    }

    fn member(&self, pid: u32) -> Option<Process> {
        let stat = stat(pid).filter(|it| !matches!(it.state, b'Z' | b'X'))?;
        let is_in_session = self.leader.is_some_and(|leader| stat.session == leader.pid);
        let is_young = stat.start_ticks >= self.since;
        let is_it = is_young && (is_in_session || self.is_named(pid));
        is_it.then_some(Process { pid, start_ticks: stat.start_ticks })
    }

    /// Environments of other users' processes cannot be read, and are not ours.
    fn is_named(&self, pid: u32) -> bool {
        let Some(name) = self.name.as_deref().filter(|_| pid != std::process::id()) else {
            return false;
        };
        let mut environment = Vec::new();
        // While one becomes another program, it has no environment for a moment. Others have none
        // at all, which is rare.
        wait(EXEC_TIME_MAX, || {
            let read = fs::read(format!("/proc/{pid}/environ"));
            let is_known = read.as_ref().map_or(true, |bytes| !bytes.is_empty());
            environment = read.unwrap_or_default();
            is_known
        });
        let mut variables = environment.split(|byte| *byte == 0);
        variables.any(|variable| {
            let value = variable.strip_prefix(RUN.as_bytes()).and_then(|it| it.strip_prefix(b"="));
            value.is_some_and(|value| value.starts_with(name.as_bytes()))
        })
    }

    /// Asks all of them to end, and kills those that have not after this time.
    pub fn end(&self, grace: Duration) {
        let mut left = Vec::new();
        wait(grace, || {
            left.retain(Process::is_alive);
            if left.is_empty() {
                // Some may have been started by those that were there a moment ago.
                left = self.members();
                left.iter().for_each(|it| process::terminate(it.pid));
            }
            left.is_empty()
        });
        if !left.is_empty() {
            self.kill();
        }
    }

    /// Ends all of them at once.
    pub fn kill(&self) {
        for _ in 0..KILL_COUNT_MAX {
            let left = self.members();
            if left.is_empty() {
                return;
            }
            left.iter().for_each(|it| process::kill(it.pid));
            // One that the kernel holds even so is left to it.
            wait(GRACE / KILL_COUNT_MAX as u32, || !left.iter().any(Process::is_alive));
        }
    }
}

fn is_bystander(pid: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = name.trim_end();
    BYSTANDERS.contains(&name) || BYSTANDER_PREFIXES.iter().any(|it| name.starts_with(it))
}

/// Waits for a child that was ended, a second at most.
pub fn reap(child: &mut Child) {
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
    let session = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(15)?.parse().ok()?;
    Some(Stat { state, parent, group, session, start_ticks })
}

/// The real user id.
fn user(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A shell that leads a session, once it has said how many lines it should.
    fn start(script: &str, line_count: usize) -> (Child, Kin) {
        let run = Run::new();
        let mut command = Command::new("sh");
        command.args(["-c", script]).env(RUN, run.name()).stdin(Stdio::null());
        process::lead_session(command.stdout(Stdio::piped()));
        let mut child = command.spawn().unwrap();
        let said = child.stdout.as_mut().unwrap();
        said.read_exact(&mut vec![0; line_count]).unwrap();
        let leader = Process::find(child.id()).unwrap();
        (child, Kin::of(leader, &run))
    }

    #[test]
    fn a_line_of_stat_is_read_whatever_the_program_is_called() {
        let rest = "S 1 41 40 0 -1 4194560 1 0 0 0 2 3 0 0 20 0 1 0 987 10 5";
        let expected =
            Some(Stat { state: b'S', parent: 1, group: 41, session: 40, start_ticks: 987 });
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
        let (mut child, _) = start("echo; exec sleep 1000", 1);
        let process = Process::find(child.id()).unwrap();
        let later = Process { start_ticks: process.start_ticks + 1, ..process };

        assert!(process.is_alive() && !later.is_alive());
        later.end();
        assert!(process.is_alive());
        child.kill().unwrap();
        assert!(wait(PATIENCE, || !process.is_alive()));
        reap(&mut child);

        assert_eq!(Process::find(child.id()), None);
    }

    #[test]
    fn what_a_launcher_has_started_belongs_to_it_when_it_has_ended() {
        // One stays, one leaves the session, and one forgets the name as well as its parent.
        let script = "sleep 1000 & setsid sh -c 'echo; exec sleep 1000' & \
                      (env -u PUNKTFUNK_RUN sh -c 'echo; exec sleep 1000' &); echo";
        let (mut launcher, kin) = start(script, 3);
        let leader = Process::find(launcher.id()).unwrap();
        assert!(wait(PATIENCE, || !leader.is_alive()));
        assert!(wait(PATIENCE, || kin.members().len() == 3), "{:?}", kin.members());

        kin.end(GRACE);

        assert_eq!(kin.members(), []);
        reap(&mut launcher);
    }

    #[test]
    fn whoever_does_not_listen_is_killed_with_all_that_belongs_to_it() {
        let script =
            "trap '' TERM; sleep 1000 & (sleep 1000 & echo; wait; wait) & echo; wait; wait";
        let (mut child, kin) = start(script, 2);
        assert!(wait(PATIENCE, || kin.members().len() == 4), "{:?}", kin.members());

        kin.end(Duration::from_millis(50));

        assert_eq!(kin.members(), []);
        reap(&mut child);
    }

    #[test]
    fn those_of_others_are_not_touched() {
        let (mut mine, kin) = start("echo; exec sleep 1000", 1);
        let (mut other, other_kin) = start("echo; exec sleep 1000", 1);
        let other_process = Process::find(other.id()).unwrap();

        kin.end(GRACE);

        assert!(other_process.is_alive());
        assert_eq!(other_kin.members(), [other_process]);
        assert!(Kin::left_by(&this().unwrap()).members().contains(&other_process));
        other_kin.kill();
        reap(&mut mine);
        reap(&mut other);
    }
}
