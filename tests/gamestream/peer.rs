//! curl and openssl as clients.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::{Daemon, tool, vector};

/// The listener in the clear, and what the one under TLS can be asked with.
pub const PLAIN: &str = "plain";
pub const NOBODY: &str = "nobody";

/// An answer as curl shows it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    head: String,
}

impl Answer {
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Where a listener is, as the beginning of a URL. `ip` is as URLs have it.
pub fn url(daemon: &Daemon, ip: &str, asker: &str) -> String {
    match asker {
        PLAIN => format!("http://{ip}:{}", daemon.port),
        _ => format!("https://{ip}:{}", daemon.port - 5),
    }
}

/// Asks with curl. `asker` is [`PLAIN`], [`NOBODY`], or whose certificate is shown.
#[track_caller]
pub fn curl(asker: &str, url: &str, words: &[&str]) -> Answer {
    let mut command = tool("curl");
    command.args(["--silent", "--show-error", "--include", "--insecure", "--max-time", "20"]);
    if ![PLAIN, NOBODY].contains(&asker) {
        command.arg("--cert").arg(certificate_path(asker)).arg("--key").arg(key_path(asker));
    }
    let output = command.args(words).arg(url).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{asker} {url}: {stderr}");
    let end = output.stdout.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(output.stdout[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: output.stdout[end + 4..].to_vec() }
}

/// Asks over IPv4.
#[track_caller]
pub fn ask(daemon: &Daemon, asker: &str, target: &str) -> Answer {
    curl(asker, &(url(daemon, "127.0.0.1", asker) + target), &[])
}

/// The file with a certificate: one of the vectors, or one that a test has made.
pub fn certificate_path(name: &str) -> PathBuf {
    if Path::new(name).is_absolute() { name.into() } else { vector(&format!("{name}.pem")) }
}

/// The file with the key of a certificate.
pub fn key_path(name: &str) -> PathBuf {
    // One that a test has made belongs to the key of this one.
    let name = if Path::new(name).is_absolute() { "rsa-2048" } else { name };
    vector(&format!("{name}.key.pem"))
}

/// Asks for serverinfo with `openssl s_client`: all that it says, and its success.
pub fn s_client(daemon: &Daemon, asker: &str, words: &[&str]) -> (bool, String) {
    let mut command = tool("openssl");
    command.args(["s_client", "-ign_eof", "-connect"]);
    command.arg(format!("127.0.0.1:{}", daemon.port - 5)).args(words);
    if asker != NOBODY {
        command.arg("-cert").arg(certificate_path(asker)).arg("-key").arg(key_path(asker));
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // One that has failed already takes nothing.
    let _ = input.write_all(b"GET /serverinfo HTTP/1.1\r\nHost: localhost\r\n\r\n");
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), said)
}
