//! Keeps the machine awake while somebody looks at it.
//!
//! logind holds what it is asked for as long as the one who asked has a descriptor open. That one is
//! the program systemd-inhibit here, whose own child reads a pipe that this process holds: it ends
//! when the pipe is let go, and when this process is gone, however that went.
//!
//! Sleep and idle are asked for one by one: who asks logind for several things at once has to be
//! allowed what is asked for lid switches.

#![forbid(unsafe_code)]

use std::io::{self, PipeWriter};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use punktfunk_core::net::process;

use crate::conf::Conf;
use crate::display::Setting;

const PROGRAM: &str = "systemd-inhibit";
/// Of these programs at once; old ones may take their time to end, or hang.
const COUNT_MAX: usize = 8;
/// Bytes of what such a program says that are shown.
const SAID_LEN_MAX: usize = 200;

/// What is kept from happening.
pub struct Inhibitor {
    setting: Setting,
    wanted: &'static [&'static str],
    holds: Vec<Hold>,
    /// Programs that run.
    count: Arc<AtomicUsize>,
    has_warned: Arc<AtomicBool>,
}

/// One request, which is taken back when this goes.
struct Hold {
    is_released: Arc<AtomicBool>,
    _pipe: PipeWriter,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.is_released.store(true, Ordering::Release);
    }
}

/// What the configuration asks for, as systemd-inhibit(1) calls it.
pub fn wanted(conf: &Conf) -> &'static [&'static str] {
    match (conf.inhibit_sleep, conf.inhibit_idle) {
        (true, true) => &["sleep", "idle"],
        (true, false) => &["sleep"],
        (false, true) => &["idle"],
        (false, false) => &[],
    }
}

impl Inhibitor {
    /// Nothing is kept from happening yet. Programs are started with that setting.
    pub fn new(setting: Setting) -> Inhibitor {
        let (count, has_warned) = (Arc::default(), Arc::default());
        Inhibitor { setting, wanted: &[], holds: Vec::new(), count, has_warned }
    }

    /// Keeps this from happening from now on, or nothing. What is held already stays as it is until
    /// nothing is wanted. Does not block.
    pub fn set(&mut self, wanted: &'static [&'static str]) {
        if wanted.is_empty() == self.wanted.is_empty() {
            return;
        }
        self.wanted = wanted;
        self.holds.clear();
        for what in wanted {
            match self.begin(what) {
                Ok(hold) => self.holds.push(hold),
                Err(error) => log::warn!("inhibit: {what} may come while clients stream: {error}"),
            }
        }
    }

    fn begin(&self, what: &'static str) -> io::Result<Hold> {
        if self.count.load(Ordering::Acquire) >= COUNT_MAX {
            return Err(io::Error::other("old requests do not end"));
        }
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(PROGRAM);
        command.args(["--who=punktfunk", "--why=a client streams", "--mode=block"]);
        command.arg(format!("--what={what}")).arg("cat");
        command.current_dir("/").env_clear().envs(&self.setting.variables);
        command.stdin(reader).stdout(Stdio::null()).stderr(Stdio::piped());
        process::take_signals(&mut command);
        let is_released: Arc<AtomicBool> = Arc::default();
        let (theirs, has_warned) = (Arc::clone(&is_released), Arc::clone(&self.has_warned));
        let count = Arc::clone(&self.count);
        count.fetch_add(1, Ordering::AcqRel);
        let started =
            thread::Builder::new().name("inhibit".into()).stack_size(256 * 1024).spawn(move || {
                run(command, what, &theirs, &has_warned);
                count.fetch_sub(1, Ordering::AcqRel);
            });
        if let Err(error) = started {
            self.count.fetch_sub(1, Ordering::AcqRel);
            return Err(error);
        }
        Ok(Hold { is_released, _pipe: writer })
    }
}

/// Waits for the end of the program, which is to be the end of the request.
fn run(mut command: Command, what: &str, is_released: &AtomicBool, has_warned: &AtomicBool) {
    let output = command.spawn().and_then(|child| {
        log::debug!("inhibit: {what} is kept off");
        child.wait_with_output()
    });
    // It holds an end of the pipe.
    drop(command);
    if is_released.load(Ordering::Acquire) {
        return;
    }
    let said = match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let line = text.lines().rev().find(|line| !line.trim().is_empty());
            line.map_or_else(|| output.status.to_string(), str::to_owned)
        }
        Err(error) => error.to_string(),
    };
    let said: String = said.chars().filter(|it| !it.is_control()).take(SAID_LEN_MAX).collect();
    if !is_refusal(&said) {
        return log::debug!("inhibit: {what} may come, without logind as it seems: {said}");
    }
    if !has_warned.swap(true, Ordering::AcqRel) {
        log::warn!(
            "inhibit: {what} may come while clients stream: {said}: logind does not let this \
             user keep the machine awake; allow it with a rule for polkit (punktfunkd(8)), or set \
             InhibitSleep no and InhibitIdle no"
        );
    }
}

/// Whether somebody who is there says no, and not nobody.
fn is_refusal(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    ["denied", "authentication", "not permitted"].iter().any(|word| said.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_logind_is_told_from_one_that_refuses() {
        let table = [
            ("Failed to inhibit: Access denied", true),
            ("Failed to inhibit: Interactive authentication required.", true),
            ("Failed to inhibit: Permission denied", true),
            ("Failed to connect to system bus: No such file or directory", false),
            ("The name org.freedesktop.login1 was not provided by any .service files", false),
            ("No such file or directory (os error 2)", false),
            ("exit status: 1", false),
        ];
        for (said, expected) in table {
            assert_eq!(is_refusal(said), expected, "{said}");
        }
    }

    #[test]
    fn the_two_directives_make_four_requests() {
        let mut conf = crate::daemon::tests::conf();
        let mut seen: Vec<&[&str]> = Vec::new();
        for (sleep, idle) in [(true, true), (true, false), (false, true), (false, false)] {
            (conf.inhibit_sleep, conf.inhibit_idle) = (sleep, idle);
            seen.push(wanted(&conf));
        }
        assert_eq!(seen, [&["sleep", "idle"][..], &["sleep"], &["idle"], &[]]);
    }
}
