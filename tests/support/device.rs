//! Devices that run the stock client, and the administrator who lets them in.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Output, Stdio};

use serde_json::{Value, json};

use super::{Daemon, Folder, command, eventually, output, program, python};

/// A device that runs the stock client.
pub struct Device {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Its identity.
    folder: Folder,
    /// Where the daemon sees it.
    pub address: String,
    /// Of its certificate.
    pub fingerprint: String,
    /// How it knows the daemon.
    host: String,
    port: u16,
}

/// A stream that a device has begun, a process of its own.
pub struct Stream(Option<Child>);

impl Device {
    /// One that knows the daemon by this address, and has never met it.
    pub fn new(daemon: &Daemon, host: &str) -> Device {
        Device::knowing(host, daemon.port)
    }

    /// One that knows a daemon by this address and this port.
    pub fn knowing(host: &str, port: u16) -> Device {
        let folder = Folder::new();
        let mut child = python()
            .args(["tests/moonlight/peer.py", host, &port.to_string()])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let address = host.trim_matches(['[', ']']).to_owned();
        let fingerprint = String::new();
        let host = host.to_owned();
        let mut device = Device { child, input, output, folder, address, fingerprint, host, port };
        device.fingerprint = device.ask(&["fingerprint"])["ok"].as_str().unwrap().to_owned();
        device
    }

    /// Begins something whose answer comes later.
    pub fn begin(&mut self, words: &[&str]) {
        writeln!(self.input, "{}", json!(words)).unwrap();
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    /// What became of what was begun.
    #[track_caller]
    pub fn answer(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no answer: {line:?}"))
    }

    /// Does something and waits for what becomes of it.
    #[track_caller]
    pub fn ask(&mut self, words: &[&str]) -> Value {
        self.begin(words);
        self.answer()
    }

    /// Asks to pair and shows this PIN. Returns what the administrator sees of it.
    #[track_caller]
    pub fn begin_pairing(&mut self, daemon: &Daemon, pin: &str) -> Value {
        self.begin(&["pair", pin]);
        self.waiting(daemon)
    }

    /// What the administrator sees of its pairing.
    #[track_caller]
    pub fn waiting(&self, daemon: &Daemon) -> Value {
        eventually("it waits for its PIN", || {
            let is_it = |pairing: &&Value| {
                pairing["state"] == "waiting" && pairing["fingerprint"] == self.fingerprint
            };
            daemon.pairings().iter().find(is_it).cloned()
        })
    }

    /// Pairs, the administrator typing the PIN that the device shows.
    #[track_caller]
    pub fn pair(&mut self, daemon: &Daemon, pin: &str) {
        let pairing = self.begin_pairing(daemon, pin);
        let given = give_pin(daemon, &pairing, pin, &[]);
        assert!(given.status.success(), "{given:?}");
        let answer = self.answer();
        assert!(answer["ok"].is_string(), "{answer}");
    }

    /// Whether it is shown the apps of a host without any in its configuration.
    pub fn has_apps(&mut self) -> bool {
        self.ask(&["apps"]) == json!({ "ok": ["Desktop"] })
    }

    /// Ends as a device does that loses its power.
    pub fn leave(&mut self) {
        self.child.kill().unwrap();
    }

    /// Begins to stream, with these words to tests/moonlight/stream.py.
    pub fn begin_stream(&self, words: &[&str]) -> Stream {
        let child = python()
            .args(["tests/moonlight/stream.py", "--host", &self.host])
            .args(["--http-port", &self.port.to_string(), "--identity"])
            .arg(self.folder.path())
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Stream(Some(child))
    }

    /// Streams, and returns what tests/moonlight/stream.py says of it. Once more, some times, where
    /// the client was too slow for what came, which says nothing of the daemon.
    #[track_caller]
    pub fn stream(&self, words: &[&str]) -> Value {
        let is_behind = |report: &Value| {
            let events = report["events"].as_array();
            events.is_some_and(|events| events.iter().any(|event| event[1] == "overflow"))
        };
        let mut report = self.begin_stream(words).report();
        for _ in 0..4 {
            if !is_behind(&report) {
                break;
            }
            report = self.begin_stream(words).report();
        }
        report
    }
}

impl Stream {
    /// Waits for its end. Returns what became of it.
    #[track_caller]
    pub fn report(mut self) -> Value {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report: {output:?}"))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How like what stands on a screenshot is to the last picture of a record, or of the first so many
/// of it: PSNR of luma in decibels.
#[track_caller]
pub fn psnr(record: &Path, shot: &Path, count: Option<u64>) -> f64 {
    let count = count.map(|count| count.to_string());
    let mut compare = python();
    let said = output(compare.arg("tests/moonlight/compare.py").args([record, shot]).args(count));
    let number = String::from_utf8(said.stdout.clone()).unwrap();
    number.trim().parse().unwrap_or_else(|_| panic!("{said:?}"))
}

/// Types a PIN at `punktfunkctl pair pin`, which shows no terminal.
pub fn give_pin(daemon: &Daemon, pairing: &Value, pin: &str, words: &[&str]) -> Output {
    let mut child = command(program("punktfunkctl"))
        .arg("-s")
        .arg(daemon.socket())
        .args(["pair", "pin"])
        .args(words)
        .arg(pairing["id"].to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // One that refuses without the PIN does not read it.
    let _ = writeln!(input, "{pin}");
    drop(input);
    child.wait_with_output().unwrap()
}
