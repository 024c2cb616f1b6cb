//! What the administrator writes and what the daemon has written: punktfunk.conf(5), the list of
//! clients, and what encoders can do.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use punktfunk_core::proto::cert::Certificate;

#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../../src/host/encode/abilities.rs"]
mod abilities;
#[allow(dead_code, unused_imports, reason = "the daemon uses the rest")]
#[path = "../../src/host/conf/mod.rs"]
mod conf;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../../src/host/trust.rs"]
mod trust;

use super::grants::{self, Grants};
use abilities::{Abilities, Backend, CODECS, Can, WHY_LEN_MAX};
use conf::file::{Content, Files};
use conf::{Environment, LogLevels, Sources};
use trust::{CLIENT_COUNT_MAX, Client, NAME_LEN_MAX, Trust};

const RICH: &str = include_str!("../../src/host/conf/rich.conf");
const PEM: [&str; 2] = [
    include_str!("../vectors/certificates/rsa-2048.pem"),
    include_str!("../vectors/certificates/p-256.pem"),
];
/// Errors of one configuration at most.
const ERROR_COUNT_MAX: usize = 100;

/// A folder in which the first file holds this, and the others its beginning: they may include
/// each other.
struct Folder<'a>(&'a [u8]);

const OTHER_LEN: usize = 200;

const FOLDER: &str = "/etc";
const NAMES: [&str; 3] = ["a.conf", "b.conf", "c.conf"];

impl Files for Folder<'_> {
    fn read(&self, path: &Path) -> io::Result<Content> {
        let is_it = |name: &&str| Path::new(FOLDER).join(name) == path;
        let index = NAMES.iter().position(is_it).ok_or(io::ErrorKind::NotFound)?;
        let len = if index == 0 { self.0.len() } else { self.0.len().min(OTHER_LEN) };
        let identity = (0, index as u64);
        Ok(Content { bytes: self.0[..len].to_vec(), uid: 0, mode: 0o644, identity })
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        if folder != Path::new(FOLDER) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(NAMES.iter().map(OsString::from).collect())
    }
}

fn environment() -> Environment {
    Environment {
        home: Some("/home/den".into()),
        xdg_runtime_dir: Some("/run/user/1000".into()),
        host_name: "den".into(),
        uid: 1000,
        ..Environment::default()
    }
}

pub fn conf_seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::owned(&[
        RICH.as_bytes(),
        b"Include *.conf\nInclude b.conf\nInclude /etc/c.conf\n",
        b"App \"a\\\"b\\\\\" # c\r\n\tImage=/x\n\tHidden no\nInclude c.conf\n  Image /y\n",
        b"LogLevel = info a::b=trace,\x00\n\xff\xfe\nApp\nApp a b\nHidden\n",
        b"Listen [::1]:1 :: 0.0.0.0\nAllowFrom ::/0 0.0.0.0/0 any\nHttp 127.0.0.1:47989\n",
        b"LoginGraceTime 99999999999999999999h\nMaxPairingAttempts 0/0\nGameStreamPort 65536\n",
    ]);
    seeds.push(format!("Nonsense 1\n{}", "Mdns maybe\n".repeat(200)).into_bytes());
    seeds.push(format!("HostName {}\n", "x".repeat(4096)).into_bytes());
    seeds
}

pub fn check_conf(bytes: &[u8]) {
    let file = format!("{FOLDER}/{}", NAMES[0]);
    let loaded = load(&Folder(bytes), Some(Path::new(&file)), &[]);
    if let Some(conf) = loaded {
        // It says of itself what it is.
        let printed = conf.print();
        let again = load(&Folder(printed.as_bytes()), Some(Path::new(&file)), &[]);
        let reload = conf.reload(again.expect("what is printed can be read"));
        assert!(reload.changed.is_empty(), "{:?}", reload.changed);
        assert!(reload.needs_restart.is_empty(), "{:?}", reload.needs_restart);
    }
    let text = String::from_utf8_lossy(bytes).into_owned();
    load(&Folder(b""), None, std::slice::from_ref(&text));
    if let Err(error) = LogLevels::parse(&text) {
        check_line(&error);
    }
}

fn load(files: &Folder<'_>, file: Option<&Path>, overrides: &[String]) -> Option<conf::Conf> {
    let environment = environment();
    match conf::load_from(&Sources { file, overrides, environment: &environment }, files) {
        Ok(conf) => {
            assert!(!conf.apps.is_empty() && conf.gamestream_port > 0);
            Some(conf)
        }
        Err(errors) => {
            assert!((1..=ERROR_COUNT_MAX).contains(&errors.len()));
            for error in errors.iter().map(ToString::to_string) {
                check_line(&error);
                if file.is_some() {
                    check_place(&error);
                }
            }
            None
        }
    }
}

/// Where a mistake is comes first: file, line, column.
fn check_place(error: &str) {
    let mut parts = error.splitn(4, ':');
    let path = parts.next().map(Path::new);
    let is_one = |path: &Path| NAMES.iter().any(|name| Path::new(FOLDER).join(name) == path);
    assert!(path.is_some_and(is_one), "{error}");
    for number in [parts.next(), parts.next()] {
        assert!(number.is_some_and(|it| it.parse().is_ok_and(|it: usize| it > 0)), "{error}");
    }
}

/// What is told to people is one line, and not a long one.
fn check_line(text: &str) {
    assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
    assert!(text.len() <= 4096, "{} bytes", text.len());
}

pub fn clients_seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::owned(&[
        b"{\"version\":1,\"clients\":[]}",
        b"{\"version\":1,\"clients\":[{\"name\":\"a\",\"protocol\":\"gamestream\",\
          \"paired_unix_s\":1,\"certificate\":\"\"}]}",
        b"{\"version\":1,\"clients\":[{\"name\":\"a\",\"protocol\":\"gamestream\",\
          \"paired_unix_s\":1,\"grants\":[\"view\",\"root\"],\"certificate\":\"\"}]}",
        b"{\"version\":1,\"clients\":[{\"name\":\"\\u001b[2J\\ud800\"}]}",
    ]);
    let mut trust = Trust::default();
    for (text, name) in PEM.iter().zip(["tv", "phone \"7\""]) {
        trust = trust.with(client(text, name)).unwrap();
    }
    seeds.push(trust.emit());
    seeds.push(format!("{{\"version\":1,\"clients\":{}", "[".repeat(1000)).into_bytes());
    seeds
}

fn client(text: &str, name: &str) -> Client {
    let certificate = Certificate::parse_pem(text.as_bytes()).unwrap();
    let grants = Grants::parse(["view", "launch"]).unwrap();
    Client { certificate, name: name.to_owned(), grants, paired_unix_s: 7 }
}

pub fn check_clients(bytes: &[u8]) {
    let trust = Trust::parse(bytes, Grants::NONE).unwrap_or_default();
    assert!(trust.clients().len() <= CLIENT_COUNT_MAX);
    for client in trust.clients() {
        assert!(client.name.len() <= NAME_LEN_MAX && !client.name.contains(char::is_control));
        assert_eq!(trust.client(&client.certificate), Some(client));
    }
    assert_eq!(Trust::parse(&trust.emit(), Grants::NONE).as_ref(), Ok(&trust));
    // Whatever a device calls itself, there is a name for it.
    let name = trust.free_name(&String::from_utf8_lossy(bytes));
    assert!(trust.with(client(PEM[0], &name)).is_ok());
}

pub fn encoders_seeds() -> Vec<Vec<u8>> {
    let can = Can { encode: true, ten_bit: true, invalidate: true, set_bitrate: true };
    let row = |backend: Backend| {
        let why = format!("no {backend} here: \u{fc} \"");
        [Ok(can), Ok(Can { ten_bit: false, invalidate: false, ..can }), Err(why)]
    };
    let abilities = Abilities::new("stub 1".to_owned(), Backend::ALL.map(row));
    let file = abilities.emit();
    let mut seeds = super::owned(&[
        b"{\"version\":1,\"plugin\":\"a\",\"backends\":{}}",
        b"{\"version\":1,\"plugin\":\"\\u001b[2J\\ud800\",\"backends\":[[[1]]]}",
        b"{\"h264\":{\"can\":[\"encode\"]},\"hevc\":{\"why_not\":\"x\"},\
          \"av1\":{\"can\":[]}}",
    ]);
    let row = abilities::emit_row(&row(Backend::Nvenc));
    seeds.extend([file, row.into_bytes(), "[".repeat(1000).into_bytes()]);
    seeds
}

pub fn check_encoders(bytes: &[u8]) {
    if let Ok(abilities) = Abilities::parse(bytes) {
        assert_eq!(Abilities::parse(&abilities.emit()).as_ref(), Ok(&abilities));
        check_reason(abilities.plugin());
        for ability in
            Backend::ALL.iter().flat_map(|it| CODECS.map(|codec| abilities.of(*it, codec)))
        {
            match ability {
                Ok(can) => assert!(can.encode || can.ten_bit),
                Err(why) => check_reason(why),
            }
        }
    }
    if let Ok(row) = abilities::parse_row(bytes) {
        assert_eq!(abilities::parse_row(abilities::emit_row(&row).as_bytes()).as_ref(), Ok(&row));
    }
    check_reason(&abilities::one_line(bytes));
}

fn check_reason(text: &str) {
    check_line(text);
    assert!(text.len() <= WHY_LEN_MAX, "{} bytes", text.len());
}
