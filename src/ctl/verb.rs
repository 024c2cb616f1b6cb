//! What each verb asks the daemon.

#![forbid(unsafe_code)]

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::arguments::{ClientVerb, PairPin, PairVerb, RunVerb, SessionVerb, Verb};
use crate::call::{Exit, Failure, call};
use crate::{doctor, print};

/// How often and how many times it is asked what became of a PIN: 20 s, longer than the device is
/// given for its proof.
const PROOF_INTERVAL: Duration = Duration::from_millis(200);
const PROOF_COUNT_MAX: u32 = 100;
/// Digits of a fingerprint that name a client.
const DIGIT_COUNT_MIN: usize = 8;
/// Bytes of a line with a PIN at most.
const LINE_LEN_MAX: u64 = 64;

/// Does what the verb says; the data is what `--json` shows.
pub fn run(verb: &Verb, sockets: &[PathBuf]) -> Result<Value, Failure> {
    let get = |path: &str| call(sockets, "GET", path, None);
    match verb {
        Verb::Apps(_) => get("/v1/apps"),
        Verb::Check(check) => check_file(&check.file),
        Verb::Client(client) => change_client(&client.verb, sockets),
        Verb::Clients(_) => get("/v1/clients"),
        Verb::Doctor(verb) => doctor::run(verb, sockets),
        Verb::Encoders(encoders) => match encoders.verb {
            None => get("/v1/encoders"),
            Some(_) => call(sockets, "POST", "/v1/encoders/probe", None),
        },
        Verb::LogLevel(log) if log.level.is_empty() => get("/v1/log-level"),
        Verb::LogLevel(log) => {
            let body = json!({ "level": log.level.join(" ") });
            call(sockets, "PUT", "/v1/log-level", Some(&body))
        }
        Verb::Pair(pair) => match &pair.verb {
            PairVerb::Deny(deny) => {
                call(sockets, "POST", &format!("/v1/pairings/{}/reject", deny.id), None)
            }
            PairVerb::List(_) => get("/v1/pairings"),
            PairVerb::Pin(pin) => give_pin(pin, sockets),
        },
        Verb::Reload(_) => call(sockets, "POST", "/v1/reload", None),
        Verb::Run(run) => match &run.verb {
            RunVerb::Stop(stop) => call(sockets, "DELETE", &format!("/v1/runs/{}", stop.id), None),
        },
        Verb::Runs(_) => get("/v1/runs"),
        Verb::Session(session) => change_session(&session.verb, sockets),
        Verb::Sessions(_) => get("/v1/sessions"),
        Verb::Stats(stats) => match stats.id {
            None => get("/v1/sessions"),
            Some(id) => Ok(json!({ "sessions": [get(&format!("/v1/sessions/{id}"))?] })),
        },
        Verb::Status(_) => get("/v1/status"),
        Verb::Version(_) => get("/v1/version"),
    }
}

/// What the data is a reason to end with, other than success.
pub fn exit(verb: &Verb, data: &Value) -> Option<Exit> {
    match verb {
        Verb::Doctor(_) => doctor::exit(data),
        _ => None,
    }
}

fn change_client(verb: &ClientVerb, sockets: &[PathBuf]) -> Result<Value, Failure> {
    let wanted = match verb {
        ClientVerb::Grant(grant) => &grant.client,
        ClientVerb::Rename(rename) => &rename.client,
        ClientVerb::Revoke(revoke) => &revoke.client,
        ClientVerb::Unpair(unpair) => &unpair.client,
    };
    let clients = call(sockets, "GET", "/v1/clients", None)?;
    let fingerprint = find_client(&clients, wanted)?;
    let path = format!("/v1/clients/{fingerprint}");
    let change_grants =
        |body: Value| call(sockets, "PATCH", &format!("{path}/grants"), Some(&body));
    match verb {
        ClientVerb::Grant(grant) => {
            change_grants(json!({ "grant": names(&grant.grant, &grant.more) }))
        }
        ClientVerb::Revoke(revoke) => {
            change_grants(json!({ "revoke": names(&revoke.grant, &revoke.more) }))
        }
        ClientVerb::Rename(rename) => {
            call(sockets, "PATCH", &path, Some(&json!({ "name": rename.name })))
        }
        ClientVerb::Unpair(_) => call(sockets, "DELETE", &path, None),
    }
}

fn change_session(verb: &SessionVerb, sockets: &[PathBuf]) -> Result<Value, Failure> {
    let ask = |method: &str, id: u32, rest: &str, body: Option<&Value>| {
        call(sockets, method, &format!("/v1/sessions/{id}{rest}"), body)
    };
    match verb {
        SessionVerb::Bitrate(bitrate) => {
            ask("PATCH", bitrate.id, "", Some(&json!({ "bitrate_kbps": bitrate.kbps })))
        }
        SessionVerb::Idr(idr) => ask("POST", idr.id, "/idr", None),
        SessionVerb::Rumble(rumble) => {
            let motors = json!({ "low": rumble.low, "high": rumble.high });
            let body = json!({ "gamepad": rumble.gamepad, "rumble": motors });
            ask("POST", rumble.id, "/feedback", Some(&body))
        }
        SessionVerb::Stop(stop) => ask("DELETE", stop.id, "", None),
    }
}

fn names<'a>(first: &'a String, more: &'a [String]) -> Vec<&'a String> {
    std::iter::once(first).chain(more).collect()
}

/// The fingerprint of the client that has this name, or a fingerprint that begins so.
fn find_client(clients: &Value, wanted: &str) -> Result<String, Failure> {
    let clients = clients["clients"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |client: &Value, key: &str| client[key].as_str().unwrap_or_default().to_owned();
    if let Some(client) = clients.iter().find(|client| client["name"] == wanted) {
        return Ok(text(client, "fingerprint"));
    }
    let begins = clients
        .iter()
        .map(|client| text(client, "fingerprint"))
        .filter(|fingerprint| begins_with(fingerprint, wanted));
    let found: Vec<String> = begins.collect();
    match found.as_slice() {
        [fingerprint] => Ok(fingerprint.clone()),
        [] => {
            let message = format!("no client has the name or fingerprint {wanted:?}");
            Err(Failure::new(Exit::NotFound, "not_found", &message))
        }
        _ => {
            let message = format!("{} clients have a fingerprint that begins so", found.len());
            Err(Failure::new(Exit::Refused, "ambiguous", &message))
        }
    }
}

/// Whether `digits` are enough of a fingerprint, and of this one. Colons between them are no digits.
fn begins_with(fingerprint: &str, digits: &str) -> bool {
    let digits = digits.replace(':', "").to_ascii_lowercase();
    digits.len() >= DIGIT_COUNT_MIN && fingerprint.starts_with(&digits)
}

fn give_pin(pin: &PairPin, sockets: &[PathBuf]) -> Result<Value, Failure> {
    let pairing = find_pairing(sockets, pin.id)?;
    let fingerprint = pairing["fingerprint"].as_str().unwrap_or_default();
    if let Some(digits) = &pin.fingerprint
        && !begins_with(fingerprint, digits)
    {
        let message = format!("the device has another fingerprint: {fingerprint}");
        return Err(Failure::new(Exit::Refused, "other_fingerprint", &message));
    }
    if pairing["state"] == "waiting" {
        tell(&print::device(&pairing));
    }
    let digits = match &pin.pin {
        Some(digits) => digits.clone(),
        None => ask_pin().map_err(|error| {
            Failure::new(Exit::Usage, "no_pin", &format!("standard input: {error}"))
        })?,
    };
    let body = json!({ "pin": digits, "fingerprint": fingerprint });
    call(sockets, "POST", &format!("/v1/pairings/{}/pin", pin.id), Some(&body))?;
    for _ in 0..PROOF_COUNT_MAX {
        let pairing = find_pairing(sockets, pin.id)?;
        match pairing["state"].as_str() {
            Some("paired") => return Ok(pairing),
            Some("failed") => {
                let reason = pairing["reason"].as_str().unwrap_or("no reason given");
                return Err(Failure::new(Exit::Refused, "pairing_failed", reason));
            }
            _ => rest(),
        }
    }
    Err(Failure::new(Exit::TimedOut, "timed_out", "the device did not finish the pairing in time"))
}

#[expect(clippy::disallowed_methods, reason = "a program of one thread that waits for a device")]
fn rest() {
    std::thread::sleep(PROOF_INTERVAL);
}

fn find_pairing(sockets: &[PathBuf], id: u64) -> Result<Value, Failure> {
    let pairings = call(sockets, "GET", "/v1/pairings", None)?;
    let mut entries = pairings["pairings"].as_array().map_or(&[][..], Vec::as_slice).iter();
    entries.find(|entry| entry["id"] == id).cloned().ok_or_else(|| {
        Failure::new(Exit::NotFound, "not_found", &format!("no pairing has the number {id}"))
    })
}

/// Writes what is to be read while the command goes on.
fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn ask_pin() -> io::Result<String> {
    let input = io::stdin();
    if input.is_terminal() {
        tell("PIN that the device shows: ");
    }
    let mut line = String::new();
    io::Read::take(input.lock(), LINE_LEN_MAX).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// The daemon's own program: the one that lies beside this one, else the one that the shell would
/// find.
pub fn daemon_program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name("punktfunkd"));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| "punktfunkd".into())
}

/// Has the daemon's own program read the file.
fn check_file(file: &str) -> Result<Value, Failure> {
    let program = daemon_program();
    let checked = Command::new(&program).args(["-t", "-c", file]).output();
    let output = checked.map_err(|error| {
        let message = format!("{}: {error}", program.display());
        Failure::new(Exit::Unreachable, "unreachable", &message)
    })?;
    if output.status.success() {
        return Ok(json!({ "file": file }));
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let details = told.lines().map(str::to_owned).collect();
    let message = format!("{file} has errors");
    Err(Failure { details, ..Failure::new(Exit::Refused, "configuration_invalid", &message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_found_by_its_name_or_the_beginning_of_its_fingerprint() {
        let clients = json!({ "clients": [
            { "name": "tv", "fingerprint": "0011223344556677" },
            { "name": "phone", "fingerprint": "0011223344aabbcc" },
            { "name": "0011223344", "fingerprint": "ffeeddccbbaa9988" },
        ] });
        let table = [
            ("tv", Ok("0011223344556677")),
            ("00112233445", Ok("0011223344556677")),
            ("00:11:22:33:44:AA", Ok("0011223344aabbcc")),
            ("0011223344", Ok("ffeeddccbbaa9988")),
            ("00112233", Err(Exit::Refused)),
            ("ffeedd", Err(Exit::NotFound)),
            ("", Err(Exit::NotFound)),
        ];
        for (wanted, expected) in table {
            let found = find_client(&clients, wanted).map_err(|failure| failure.exit);
            assert_eq!(found.as_deref(), expected.as_ref().map(|it| *it), "{wanted}");
        }
    }
}
