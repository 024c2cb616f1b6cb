//! A running punktfunkd for tests: a process of an ordinary user, with a folder, ports and sockets
//! of its own.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::disallowed_methods, reason = "tests run real programs in real time")]

pub mod device;
pub mod machine;
pub mod phoc;
pub mod sound;
pub mod sway;
pub mod wayland;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use punktfunk_core::proto::cert::Certificate;
use serde_json::{Value, json};

/// Whom the daemon runs as when the tests are root: `nobody`.
pub const USER: u32 = 65_534;
/// How long anything may take before a test gives up on it. Never what a test is about.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The encoders.
const PLUGIN: &str = "libavenc.so";

/// Whom clients know the host as, where it has any.
const HOST_ID: &str = "6F1C2A54-9B1B-4B0E-9E8A-0A5B6C7D8E9F\n";

/// A folder that goes with the value.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A new folder that the daemon's user owns.
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("punktfunk-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        give(&path);
        Folder { path }
    }

    /// As [`Folder::new`], with a state directory that holds the identity of the vectors.
    pub fn with_identity() -> Folder {
        let folder = Folder::new();
        folder.folder("state", 0o700);
        for (name, content) in [
            ("gamestream_key.pem", include_str!("../vectors/certificates/host.key.pem")),
            ("gamestream_cert.pem", include_str!("../vectors/certificates/host.pem")),
        ] {
            folder.file(&format!("state/{name}"), content, 0o600);
        }
        folder
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it with this content, which the daemon's user owns.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        give(&path);
        path
    }

    /// A folder in it with the identity of a stock client, whose certificate is that of the vectors.
    pub fn identity(&self, name: &str) -> PathBuf {
        let path = self.folder(name, 0o700);
        fs::copy(vector(&format!("{name}.pem")), path.join("cert.pem")).unwrap();
        fs::copy(vector(&format!("{name}.key.pem")), path.join("key.pem")).unwrap();
        fs::write(path.join("unique_id"), "0123456789ABCDEF").unwrap();
        path
    }

    /// A folder in it, which the daemon's user owns.
    pub fn folder(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        give(&path);
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn give(path: &Path) {
    if is_root() {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
}

/// Whether the tests are run by root, who may do more than the daemon may.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A program of this package, where every user can run it.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let built = Path::new(env!("CARGO_BIN_EXE_punktfunkd")).parent().unwrap();
    let folder = FOLDER.get_or_init(|| {
        if !is_root() {
            return built.to_owned();
        }
        remove_stale_programs();
        // The build may lie where only root can look.
        let name = format!("punktfunk-test-{}-programs", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["punktfunkd", "punktfunkctl"] {
            fs::copy(built.join(name), folder.join(name)).unwrap();
        }
        // The encoders are taken from beside the program, where `cargo build --workspace` puts them.
        let _ = fs::copy(built.join(PLUGIN), folder.join(PLUGIN));
        folder
    });
    folder.join(name)
}

/// Asserts that the daemon has its encoders.
#[track_caller]
pub fn need_encoders() {
    let built = Path::new(env!("CARGO_BIN_EXE_punktfunkd")).with_file_name(PLUGIN);
    assert!(built.is_file(), "{PLUGIN} is not there: run cargo build --workspace");
}

/// Removes the folders of test programs that have ended, which is after their last code.
fn remove_stale_programs() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let pid = name.strip_prefix("punktfunk-test-").and_then(|it| it.strip_suffix("-programs"));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another test program may be doing the same.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A command that runs as the daemon's user, in an environment that names nothing of ours.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    if is_root() {
        command.uid(USER).gid(USER);
    }
    command
}

/// A program that ends by itself: its status and what it said.
pub fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// A program that scripts/setup installs.
#[track_caller]
pub fn tool(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    assert!(is_there, "{name} is not there: run scripts/setup test");
    Command::new(name)
}

/// The Python that has what tests/requirements.txt lists.
#[track_caller]
pub fn python() -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/.venv/bin/python");
    assert!(path.is_file(), "tests/.venv is not there: run scripts/setup test");
    let mut command = Command::new(path);
    command.arg("-u").current_dir(root); // what it says is read while it runs
    command
}

/// A file of tests/vectors/certificates.
pub fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/certificates").join(name)
}

/// A certificate of tests/vectors/certificates.
pub fn certificate(name: &str) -> Certificate {
    Certificate::parse_pem(&fs::read(vector(&format!("{name}.pem"))).unwrap()).unwrap()
}

/// The fingerprint of a certificate of tests/vectors/certificates.
pub fn fingerprint(name: &str) -> String {
    certificate(name).fingerprint().to_string()
}

/// The value of an attribute of a document's root.
pub fn attribute<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, root) = document.split_once("<root ")?;
    let (_, value) = root.split_once('>')?.0.split_once(&format!("{name}=\""))?;
    Some(value.split_once('"')?.0)
}

/// The text of the first element with that name in a document.
pub fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    Some(rest.split_once('<')?.0)
}

/// A base port of GameStream whose ports are free at the moment, and the two above it.
pub fn free_port() -> u16 {
    // Below the ports that outgoing connections are given, of which tests make many.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let is_free_udp = |port: u16| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok();
    let is_free = |port: u16| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok();
    for _ in 0..2000 {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = (std::process::id() * 37 + number) % 440;
        let port = 10_010 + 50 * place as u16;
        let tcp = [port - 5, port, port + 1, port + 2, port + 21];
        let udp = [port + 9, port + 10, port + 11];
        if tcp.into_iter().all(is_free) && udp.into_iter().all(is_free_udp) {
            return port;
        }
    }
    panic!("no free ports");
}

/// Waits until `check` gives something.
#[track_caller]
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < end, "did not happen in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The daemon.
pub struct Daemon {
    child: Child,
    folder: Folder,
    notify: UnixDatagram,
    /// Its base port.
    pub port: u16,
}

impl Daemon {
    /// Starts one with these lines in its configuration, above those that keep it apart, and an
    /// identity from the vectors. Returns when it says that it is ready.
    pub fn start(lines: &str) -> Daemon {
        Daemon::start_paired(lines, &[])
    }

    /// As [`Daemon::start`], paired with clients that have these certificates of the vectors. Each
    /// is called as its file is.
    pub fn start_paired(lines: &str, clients: &[&str]) -> Daemon {
        Daemon::start_in(paired_folder(clients), free_port(), lines)
    }

    /// As [`Daemon::start`], in a folder that may hold state already.
    pub fn start_in(folder: Folder, port: u16, lines: &str) -> Daemon {
        let daemon = Daemon::begin(folder, port, lines, |_| {});
        daemon.wait_ready();
        daemon
    }

    /// As [`Daemon::start_in`], without waiting; `change` has the last word on how it is started.
    pub fn begin(
        folder: Folder,
        port: u16,
        lines: &str,
        change: impl FnOnce(&mut Command),
    ) -> Daemon {
        write_conf(&folder, port, lines);
        let (child, notify) = spawn_with(&folder, change);
        Daemon { child, folder, notify, port }
    }

    /// Waits until it says that it is ready.
    #[track_caller]
    pub fn wait_ready(&self) {
        let said = self.notification();
        assert!(said.starts_with("READY=1\n"), "{said:?}\n{}", self.log());
    }

    /// The next thing that the service manager is told.
    #[track_caller]
    pub fn notification(&self) -> String {
        let mut buffer = [0; 4096];
        match self.notify.recv(&mut buffer) {
            Ok(len) => String::from_utf8(buffer[..len].to_vec()).unwrap(),
            Err(error) => panic!("no notification: {error}\n{}", self.log()),
        }
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run/control")
    }

    /// Its state directory.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// All it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until it has logged something that contains `part`.
    #[track_caller]
    pub fn wait_log(&self, part: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.log().contains(part) {
            assert!(Instant::now() < end, "not logged: {part:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Replaces its configuration; it has to be told.
    pub fn configure(&self, lines: &str) {
        write_conf(&self.folder, self.port, lines);
    }

    /// Sends a signal: TERM, HUP, USR1 ...
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it as a crash does, and starts it again.
    #[track_caller]
    pub fn crash(&mut self) {
        self.signal("KILL");
        self.wait();
        (self.child, self.notify) = spawn(&self.folder, &[]);
        self.wait_ready();
    }

    /// Ends it as a service manager does, and hands over its folder.
    pub fn stop(self) -> (ExitStatus, Folder) {
        self.end("TERM")
    }

    /// Ends it by this signal, and hands over its folder.
    pub fn end(mut self, signal: &str) -> (ExitStatus, Folder) {
        self.signal(signal);
        let status = self.wait();
        let folder =
            std::mem::replace(&mut self.folder, Folder { path: PathBuf::from("/nowhere") });
        (status, folder)
    }

    /// What punktfunkctl says.
    pub fn ctl(&self, words: &[&str]) -> Output {
        let mut command = command(program("punktfunkctl"));
        output(command.arg("-s").arg(self.socket()).args(words))
    }

    /// What punktfunkctl says when all is well, as the data of its JSON.
    #[track_caller]
    pub fn ctl_json(&self, words: &[&str]) -> Value {
        let output = self.ctl(&[&["--json"], words].concat());
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(output.status.success(), "{value}");
        assert_eq!((&value["version"], &value["ok"]), (&Value::from(1), &Value::from(true)));
        value["data"].clone()
    }

    /// One request to the management API: status and body.
    pub fn api(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut socket = UnixStream::connect(self.socket()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (status, body) = split_answer(&answer);
        (status, serde_json::from_str(&body).unwrap())
    }

    /// The pairings that the administrator sees.
    pub fn pairings(&self) -> Vec<Value> {
        let (_, report) = self.api("GET", "/v1/pairings", "");
        report["pairings"].as_array().unwrap().clone()
    }

    /// The pairing with that number.
    #[track_caller]
    pub fn pairing(&self, id: &Value) -> Value {
        self.pairings().into_iter().find(|pairing| pairing["id"] == *id).unwrap()
    }

    /// The fingerprints of those that are trusted, by the daemon and by its file alike.
    #[track_caller]
    pub fn trusted(&self) -> Vec<String> {
        let (_, report) = self.api("GET", "/v1/clients", "");
        let clients = report["clients"].as_array().unwrap();
        let stored = fs::read(self.state().join("clients.json"))
            .map_or(json!({ "clients": [] }), |bytes| serde_json::from_slice(&bytes).unwrap());
        assert_eq!(stored["clients"].as_array().unwrap().len(), clients.len(), "{stored}");
        clients.iter().map(|client| client["fingerprint"].as_str().unwrap().to_owned()).collect()
    }

    /// One request in the clear, over IPv4: status and body.
    pub fn http(&self, target: &str) -> (u16, String) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = exchange(SocketAddr::from(([127, 0, 0, 1], self.port)), request.as_bytes());
        split_answer(&String::from_utf8_lossy(&answer))
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        process_status(self.pid(), "VmRSS").split(' ').next().unwrap().parse().unwrap()
    }

    /// Open descriptors.
    pub fn descriptor_count(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the daemon\n{}---", self.log());
        }
    }
}

/// A folder with the identity of the vectors, paired with clients that have these certificates.
pub fn paired_folder(clients: &[&str]) -> Folder {
    let folder = Folder::with_identity();
    if !clients.is_empty() {
        folder.file("state/clients.json", clients_file(clients), 0o600);
        folder.file("state/host_id", HOST_ID, 0o600);
    }
    folder
}

/// What the daemon stores of clients with these certificates of the vectors.
fn clients_file(names: &[&str]) -> String {
    let clients: Vec<Value> = names
        .iter()
        .map(|name| {
            json!({
                "name": name,
                "protocol": "gamestream",
                "paired_unix_s": 1_700_000_000,
                "certificate": certificate(name).pem(),
            })
        })
        .collect();
    json!({ "version": 1, "clients": clients }).to_string()
}

/// Writes the configuration of a daemon that keeps to its folder.
pub fn write_conf(folder: &Folder, port: u16, lines: &str) -> PathBuf {
    let path = folder.path().display();
    let conf = format!(
        "StateDirectory {path}/state\nRuntimeDirectory {path}/run\nGameStreamPort {port}\n\
         {}{}{lines}\n",
        unless(lines, "Mdns", "Mdns no\n"),
        unless(lines, "Http", "Http off\n"),
    );
    folder.file("punktfunk.conf", conf, 0o644)
}

fn unless(lines: &str, keyword: &str, line: &'static str) -> &'static str {
    let has = lines.lines().any(|line| line.split_whitespace().next() == Some(keyword));
    if has { "" } else { line }
}

/// Starts the daemon on the configuration of a folder, with a service manager to tell.
pub fn spawn(folder: &Folder, words: &[&str]) -> (Child, UnixDatagram) {
    spawn_with(folder, |command| {
        command.args(words);
    })
}

/// As [`spawn`]; `change` has the last word on how it is started.
pub fn spawn_with(folder: &Folder, change: impl FnOnce(&mut Command)) -> (Child, UnixDatagram) {
    let path = folder.path().join("notify");
    let _ = fs::remove_file(&path);
    let notify = UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let log = fs::File::create(folder.path().join("log")).unwrap();
    // Where the folder brings its own, with a plug-in beside it.
    let own = folder.path().join("bin/punktfunkd");
    let mut command = command(if own.is_file() { own } else { program("punktfunkd") });
    command
        .arg("-c")
        .arg(folder.path().join("punktfunk.conf"))
        .env("NOTIFY_SOCKET", &path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    change(&mut command);
    (command.spawn().unwrap(), notify)
}

/// A start of the daemon that must end by itself: its exit status and what it logged.
#[track_caller]
pub fn refusal(folder: &Folder, words: &[&str]) -> (i32, String) {
    let (mut child, _notify) = spawn(folder, words);
    let log = || fs::read_to_string(folder.path().join("log")).unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code().expect("no signal ended it"), log());
        }
        if Instant::now() >= end {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("does not end\n{}", log());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The value of a line of /proc/PID/status, its parts joined by one space.
pub fn process_status(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Sends bytes and reads until the other end closes; what came before a reset counts too.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let _ = socket.shutdown(Shutdown::Both);
    answer
}

/// Status and body of an HTTP answer; status 0 for what is none.
pub fn split_answer(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), body.to_owned())
}
