//! What is well with a machine, and the one thing to do where it is not: from the daemon, and where
//! none answers from its program.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use punktfunk_core::net::process;
use serde_json::{Value, json};

use crate::arguments::Doctor;
use crate::call::{Exit, Failure, call};
use crate::print::{clean, list, shown};
use crate::verb;

/// That the daemon answers, or not.
const DAEMON: &str = "PF-G01";
/// Whether the packet filter lets clients through, which root alone can see.
const FIREWALL: &str = "PF-F01";

/// Columns of a line; what is longer goes on in the next.
const WIDTH: usize = 100;
/// Columns before what was found.
const INDENT: usize = 25;

/// Asks the daemon; where there is none, looks at what keeps it from starting.
pub fn run(doctor: &Doctor, sockets: &[PathBuf]) -> Result<Value, Failure> {
    let (mut data, missing) = match call(sockets, "GET", "/v1/doctor", None) {
        Ok(data) => (data, None),
        Err(failure) if failure.exit == Exit::Unreachable => {
            let conf = doctor.conf.iter().flat_map(|file| ["-c", file]);
            let words: Vec<&str> = ["--doctor"].into_iter().chain(conf).collect();
            (ask_program(&words)?, Some(failure.message))
        }
        Err(failure) => return Err(failure),
    };
    let mut findings = list(&data["findings"]).to_vec();
    if let Some(message) = missing {
        let remedy = "start it: systemctl start punktfunkd, or punktfunkd as an ordinary user";
        findings.insert(
            0,
            json!({
                "code": DAEMON, "subject": "daemon", "state": "broken", "what": message,
                "remedy": remedy,
            }),
        );
    } else if process::uid() == 0 {
        look_at_firewall(&mut findings, &data);
    }
    let broken = findings.iter().filter(|finding| finding["state"] == "broken").count();
    data["broken_count"] = json!(broken);
    data["findings"] = Value::Array(findings);
    Ok(data)
}

/// Why the command ends: nothing is broken, something is, or the daemon is not there.
pub fn exit(data: &Value) -> Option<Exit> {
    let is_broken = |finding: &&Value| finding["state"] == "broken";
    let mut broken = list(&data["findings"]).iter().filter(is_broken).peekable();
    broken.peek()?;
    let has_daemon = broken.all(|finding| finding["code"] != DAEMON);
    Some(if has_daemon { Exit::Refused } else { Exit::Unreachable })
}

/// Puts what root sees in place of what the daemon cannot see.
fn look_at_firewall(findings: &mut [Value], data: &Value) {
    let ports: Vec<&str> = list(&data["ports"]).iter().filter_map(Value::as_str).collect();
    let Some(place) = findings.iter_mut().find(|finding| finding["code"] == FIREWALL) else {
        return;
    };
    // What the daemon says is true as well, if less.
    if let Ok(seen) = ask_program(&["--examine-firewall", &ports.join(",")])
        && let [finding] = list(&seen["findings"])
    {
        *place = finding.clone();
    }
}

/// What the daemon's program prints as JSON.
fn ask_program(words: &[&str]) -> Result<Value, Failure> {
    let program = verb::daemon_program();
    let unreachable = |what: String| {
        let message = format!("{}: {what}", program.display());
        Failure::new(Exit::Unreachable, "unreachable", &message)
    };
    let output = Command::new(&program).args(words).output();
    let output = output.map_err(|error| unreachable(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(unreachable(said.lines().last().unwrap_or_default().to_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| unreachable(error.to_string()))
}

/// A line for each finding.
pub fn text(data: &Value) -> String {
    let mut text = String::new();
    for finding in list(&data["findings"]) {
        let state = match finding["state"].as_str() {
            Some("well") => "ok",
            Some("note") => "note",
            _ => "FAIL",
        };
        let (code, subject) = (shown(&finding["code"]), shown(&finding["subject"]));
        let mut what = shown(&finding["what"]);
        if let Some(remedy) = finding["remedy"].as_str() {
            let _ = write!(what, ": {}", clean(remedy));
        }
        let _ = writeln!(text, "{state:<4}  {code:<6}  {subject:<9}  {}", wrap(&what));
    }
    text
}

/// Text that goes on below itself where it is too long for a line.
fn wrap(text: &str) -> String {
    let mut wrapped = String::new();
    let mut column = INDENT;
    for (index, word) in text.split(' ').enumerate() {
        let len = word.chars().count();
        if index > 0 && column + 1 + len > WIDTH {
            let _ = write!(wrapped, "\n{:INDENT$}", "");
            column = INDENT;
        } else if index > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += len;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(code: &str, state: &str, what: &str, remedy: Option<&str>) -> Value {
        json!({ "code": code, "subject": "sound", "state": state, "what": what, "remedy": remedy })
    }

    #[test]
    fn a_finding_is_a_line_that_goes_on_below_itself() {
        let long = "word ".repeat(16);
        let data = json!({ "findings": [
            finding("PF-S01", "well", "PulseAudio answers", None),
            finding("PF-S01", "note", long.trim(), Some("start\u{1b} it")),
            finding("PF-S01", "broken", "", Some("x")),
        ] });

        let text = text(&data);

        let expected = format!(
            "ok    PF-S01  sound      PulseAudio answers\n\
             note  PF-S01  sound      {}\n{:25}word: start\\u{{1b}} it\n\
             FAIL  PF-S01  sound      -: x\n",
            "word ".repeat(15).trim(),
            "",
        );
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn the_exit_status_tells_a_missing_daemon_from_what_is_broken() {
        let note = finding("PF-B01", "note", "", None);
        let sound = finding("PF-S01", "broken", "", None);
        let daemon = finding(DAEMON, "broken", "", None);
        let table = [
            (vec![], None),
            (vec![note.clone()], None),
            (vec![note, sound.clone()], Some(Exit::Refused)),
            (vec![sound, daemon], Some(Exit::Unreachable)),
        ];
        for (findings, expected) in table {
            assert_eq!(exit(&json!({ "findings": findings })), expected, "{findings:?}");
        }
    }

    #[test]
    fn the_codes_that_are_known_here_are_those_of_the_manual() {
        let manual = include_str!("../../man/punktfunkctl.8");
        for code in [DAEMON, FIREWALL] {
            assert!(manual.contains(&format!("\n.It Ql {code}\n")), "{code}");
        }
    }
}
