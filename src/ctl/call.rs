//! One request to the daemon over its control socket, and its answer.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// How long the daemon may take: somewhat longer than it gives itself.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// Bytes of an answer at most.
const ANSWER_LEN_MAX: u64 = 4 * 1024 * 1024;

/// Why punktfunkctl ends. The numbers are those of punktfunkctl(8).
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
pub enum Exit {
    /// The daemon says no, or a configuration has errors.
    Refused = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No daemon answers.
    Unreachable = 3,
    /// This user may not ask it.
    NotPermitted = 4,
    /// No answer in time.
    TimedOut = 5,
    /// It does not exist.
    NotFound = 6,
}

/// An end without success.
#[derive(Debug, PartialEq)]
pub struct Failure {
    /// For the shell.
    pub exit: Exit,
    /// For programs: a code of the API, or one of ours.
    pub code: String,
    /// For people.
    pub message: String,
    /// One line each, where several things are wrong.
    pub details: Vec<String>,
}

impl Failure {
    /// A failure in one sentence.
    pub fn new(exit: Exit, code: &str, message: &str) -> Failure {
        let (code, message) = (code.to_owned(), message.to_owned());
        Failure { exit, code, message, details: Vec::new() }
    }
}

/// Asks the first daemon that answers at one of `sockets`.
pub fn call(
    sockets: &[PathBuf],
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let socket = connect(sockets)?;
    let answer = exchange(socket, method, path, body).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            Failure::new(Exit::TimedOut, "timed_out", "the daemon did not answer in time")
        }
        _ => Failure::new(Exit::Unreachable, "unreachable", &format!("daemon: {error}")),
    })?;
    read_answer(&answer)
}

fn connect(sockets: &[PathBuf]) -> Result<UnixStream, Failure> {
    let mut tried = Vec::new();
    for path in sockets {
        match UnixStream::connect(path) {
            Ok(socket) => return Ok(socket),
            Err(error) => tried.push((path, error)),
        }
    }
    let denied =
        |(_, error): &&(&PathBuf, io::Error)| error.kind() == io::ErrorKind::PermissionDenied;
    if let Some((path, _)) = tried.iter().find(denied) {
        let message = format!("{}: this user may not use it{}", path.display(), owner(path));
        return Err(Failure::new(Exit::NotPermitted, "not_permitted", &message));
    }
    let tried: Vec<String> =
        tried.iter().map(|(path, error)| format!("{}: {error}", path.display())).collect();
    let message = format!("no daemon answers: {}", tried.join("; "));
    Err(Failure::new(Exit::Unreachable, "unreachable", &message))
}

/// Who may use a socket that we may not.
fn owner(path: &Path) -> String {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    match std::fs::metadata(path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            format!(
                ", its mode is {mode:04o} for uid {} and gid {}",
                metadata.uid(),
                metadata.gid()
            )
        }
        Err(_) => String::new(),
    }
}

fn exchange(
    mut socket: UnixStream,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> io::Result<Vec<u8>> {
    socket.set_read_timeout(Some(ANSWER_TIME))?;
    socket.set_write_timeout(Some(ANSWER_TIME))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    socket.take(ANSWER_LEN_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

fn read_answer(answer: &[u8]) -> Result<Value, Failure> {
    let strange = |what: &str| {
        let message = format!("this is no answer of punktfunkd: {what}");
        Failure::new(Exit::Unreachable, "unreachable", &message)
    };
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let head_len = match head.parse(answer) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Err(strange("cut off")),
        Err(error) => return Err(strange(&error.to_string())),
    };
    let status = head.code.unwrap_or(0);
    let value: Value =
        serde_json::from_slice(&answer[head_len..]).map_err(|error| strange(&error.to_string()))?;
    if status == 200 {
        return Ok(value);
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (error, exit) = (&value["error"], exit_of(status));
    let details = error["details"].as_array();
    Err(Failure {
        exit,
        code: text(&error["code"]).unwrap_or_else(|| "unknown".into()),
        message: text(&error["message"]).unwrap_or_else(|| format!("HTTP status {status}")),
        details: details.map_or_else(Vec::new, |lines| lines.iter().filter_map(text).collect()),
    })
}

fn exit_of(status: u16) -> Exit {
    match status {
        401 | 403 => Exit::NotPermitted,
        404 => Exit::NotFound,
        504 => Exit::TimedOut,
        _ => Exit::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_data_or_a_failure_with_the_exit_of_the_manual() {
        let body = "{\"error\":{\"code\":\"c\",\"message\":\"m\",\"details\":[\"a\"]}}";
        let table = [
            (400, Exit::Refused),
            (401, Exit::NotPermitted),
            (404, Exit::NotFound),
            (409, Exit::Refused),
            (503, Exit::Refused),
            (504, Exit::TimedOut),
        ];
        for (status, exit) in table {
            let answer = format!("HTTP/1.1 {status} x\r\n\r\n{body}");

            let failure = read_answer(answer.as_bytes()).unwrap_err();

            let expected = Failure { details: vec!["a".into()], ..Failure::new(exit, "c", "m") };
            assert_eq!(failure, expected);
        }
        assert_eq!(read_answer(b"HTTP/1.1 200 OK\r\n\r\n{}"), Ok(serde_json::json!({})));
    }

    #[test]
    fn whatever_else_listens_there_is_no_daemon() {
        for answer in ["", "HTTP/1.1 200 OK\r\n", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\n\r\nhello"] {
            let failure = read_answer(answer.as_bytes()).unwrap_err();
            assert_eq!(failure.exit, Exit::Unreachable, "{answer:?}");
        }
    }
}
