//! What this machine can encode, found out in processes of their own: the plug-in and the drivers
//! of graphics cards may crash or hang there, and it costs one backend.
//!
//! The daemon's own program is the child. `--probe-encoders FILE` alone says the version of the
//! plug-in in that file; with `--probe-backend NAME` it says what that backend can do. Either is
//! the last line on standard output, in JSON; drivers may write what they like before it.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mio::unix::pipe::Receiver;
use mio::{Events, Interest, Poll, Token};
use punktfunk_core::net::{clock, process};
use serde::{Deserialize, Serialize};

use super::abilities::{
    Abilities, Backend, CODECS, FILE_LEN_MAX, Row, emit_row, one_line, parse_row,
};
use super::library::Plugin;

/// How long one child may take, unless told.
const TIMEOUT: Duration = Duration::from_secs(20);
/// What children keep of the environment: what the loader and drivers go by.
const VARIABLES: [&str; 9] = [
    "PATH",
    "HOME",
    "XDG_RUNTIME_DIR",
    "LD_LIBRARY_PATH",
    "LIBVA_DRIVER_NAME",
    "LIBVA_DRIVERS_PATH",
    "VK_DRIVER_FILES",
    "VK_ICD_FILENAMES",
    "CUDA_VISIBLE_DEVICES",
];

/// How children are started.
#[derive(Clone, Debug)]
pub struct Program {
    /// This program.
    path: PathBuf,
    environment: Vec<(OsString, OsString)>,
    /// How long one child may take.
    pub timeout: Duration,
}

/// What a child says of the plug-in.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Version {
    Plugin(String),
    Error(String),
}

impl Program {
    /// `path` is this program's file, for which /proc/self/exe will do; `environment` is that of
    /// this process.
    pub fn new(
        path: impl Into<PathBuf>,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Program {
        let is_kept = |(name, _): &(OsString, OsString)| VARIABLES.iter().any(|it| name == it);
        let environment = environment.filter(is_kept).collect();
        Program { path: path.into(), environment, timeout: TIMEOUT }
    }
}

/// Finds out what this machine can encode with the plug-in in that file. Those `cached` are
/// returned where they are of the same version, after one child. Else there is one for each
/// backend, one after another, which takes seconds, and a time limit for each that hangs; so this
/// is not for a thread that others wait for.
pub fn run(
    program: &Program,
    plugin: &Path,
    cached: Option<&Abilities>,
) -> Result<Abilities, String> {
    let line = run_child(program, plugin, None)?;
    let version = match serde_json::from_slice(&line) {
        Ok(Version::Plugin(version)) => one_line(version.as_bytes()),
        Ok(Version::Error(why)) => return Err(one_line(why.as_bytes())),
        Err(error) => return Err(format!("probe of the encoder plug-in: {error}")),
    };
    if let Some(cached) = cached.filter(|cached| cached.plugin() == version) {
        return Ok(cached.clone());
    }
    let rows = Backend::ALL.map(|backend| {
        let row = run_child(program, plugin, Some(backend)).and_then(|line| {
            parse_row(&line).map_err(|error| one_line(format!("probe: {error}").as_bytes()))
        });
        // What is wrong with the backend is wrong with all of its codecs.
        row.unwrap_or_else(|why| CODECS.map(|_| Err(why.clone())))
    });
    Ok(Abilities::new(version, rows))
}

/// Runs one child; returns its last line.
fn run_child(
    program: &Program,
    plugin: &Path,
    backend: Option<Backend>,
) -> Result<Vec<u8>, String> {
    let mut command = Command::new(&program.path);
    command.arg0("punktfunkd").arg("--probe-encoders").arg(plugin);
    if let Some(backend) = backend {
        command.arg("--probe-backend").arg(backend.to_string());
    }
    command.env_clear().envs(program.environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.process_group(0).current_dir("/");
    let mut child = command.spawn().map_err(|error| format!("probe not started: {error}"))?;
    let stdout = child.stdout.take().expect("it is piped");
    let answer = read_answer(stdout, clock::now() + program.timeout);
    // Also what it may have started and left behind. One that has ended is not reaped yet, so the
    // number is still its own.
    process::kill_group(child.id());
    let status = child.wait().map_err(|error| format!("probe: {error}"))?;
    let bytes = answer.map_err(|why| format!("probe {why}"))?;
    // What it said whole before it ended counts, whatever became of it then.
    match last_line(&bytes) {
        Some(line) if status.signal().is_none_or(|it| it == libc::SIGKILL) => Ok(line.to_vec()),
        _ => Err(format!("probe {}", ending(status))),
    }
}

/// Everything that the child writes, until it ends.
fn read_answer(stdout: ChildStdout, deadline: Instant) -> Result<Vec<u8>, String> {
    let unread = |error: io::Error| format!("not read: {error}");
    let mut pipe = Receiver::from(stdout);
    pipe.set_nonblocking(true).map_err(unread)?;
    let mut poll = Poll::new().map_err(unread)?;
    let mut events = Events::with_capacity(1);
    poll.registry().register(&mut pipe, Token(0), Interest::READABLE).map_err(unread)?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(len) if bytes.len() + len > FILE_LEN_MAX => {
                return Err(format!("says more than {FILE_LEN_MAX} bytes"));
            }
            Ok(len) => {
                bytes.extend_from_slice(&chunk[..len]);
                continue;
            }
            // Only after this is news of more to come.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unread(error)),
        }
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Err("took too long".to_owned());
        }
        match poll.poll(&mut events, Some(left)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(unread(error)),
            _ => {}
        }
    }
}

fn last_line(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next().filter(|line| !line.is_empty())
}

fn ending(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("ended by {}", signal_name(signal)),
        (None, Some(0)) | (None, None) => "says nothing".to_owned(),
        (None, Some(code)) => format!("ended with status {code}"),
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGKILL => "SIGKILL",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// The child: what it has to say, in one line.
pub fn answer(plugin: &Path, backend: Option<Backend>) -> String {
    let opened = Plugin::open(plugin);
    let Some(backend) = backend else {
        let version = match opened {
            Ok(plugin) => Version::Plugin(plugin.version()),
            Err(error) => Version::Error(error.to_string()),
        };
        return serde_json::to_string(&version).expect("a string only");
    };
    let row: Row = match opened {
        Ok(plugin) => CODECS.map(|codec| plugin.probe(backend, codec)),
        Err(error) => CODECS.map(|_| Err(one_line(error.to_string().as_bytes()))),
    };
    emit_row(&row)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::abilities::tests::{ALL, machine};
    use super::*;
    use crate::state::tests::Folder;
    use punktfunk_core::proto::gamestream::rtsp::announce::Codec;

    const VERSION: &str = r#"{"plugin":"stub 1"}"#;
    const ROW: &str = r#"{"h264":{"can":["encode","10-bit","invalidate","set-bitrate"]},"hevc":{"why_not":"h"},"av1":{"why_not":"a"}}"#;

    /// A script in place of the program: `$backend` is which is asked for, if one is.
    fn script(folder: &Folder, body: &str) -> Program {
        let (source, path) = (folder.path().join("source"), folder.path().join("program"));
        fs::write(&source, format!("#!/bin/sh\nbackend=$4\n{body}\n")).unwrap();
        // A process that another test starts could hold what is written here, and a file that
        // somebody may write to is not run.
        let install = Command::new("install").arg("--mode=700").args([&source, &path]).status();
        assert!(install.unwrap().success());
        let environment = [("PATH", "/usr/bin:/bin"), ("SECRET", "x")];
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        Program::new(path, environment.into_iter())
    }

    fn answering(folder: &Folder, special: &str) -> Program {
        let body = format!(
            "case $backend in\n{special}\n'') echo '{VERSION}' ;;\n*) echo '{ROW}' ;;\nesac"
        );
        script(folder, &body)
    }

    #[test]
    fn each_backend_is_asked_in_a_process_of_its_own() {
        let folder = Folder::new();
        let told = r#"nvenc) printf 'noise\n{"h264":\n'; echo "{\"h264\":{\"why_not\":\"$(env | cut -d= -f1 | sort | tr '\n' ' ')\"},\"hevc\":{\"why_not\":\"$0 $1 $2 $3\"},\"av1\":{\"why_not\":\"$(pwd)\"}}" ;;"#;
        let program = answering(&folder, told);

        let abilities = run(&program, Path::new("/a b"), None).unwrap();

        assert_eq!(abilities.plugin(), "stub 1");
        assert_eq!(abilities.of(Backend::Vaapi, Codec::H264), Ok(ALL));
        assert_eq!(abilities.of(Backend::Software, Codec::Av1), Err("a"));
        // What the shell brings itself is there too.
        assert_eq!(abilities.of(Backend::Nvenc, Codec::H264), Err("PATH PWD "));
        assert_eq!(abilities.of(Backend::Nvenc, Codec::Av1), Err("/"));
        let words = abilities.of(Backend::Nvenc, Codec::Hevc).unwrap_err();
        assert!(words.ends_with("--probe-encoders /a b --probe-backend"), "{words}");
    }

    #[test]
    fn what_goes_wrong_costs_one_backend_and_is_said() {
        let table = [
            ("kill -SEGV $$", "probe ended by SIGSEGV"),
            ("ulimit -c 0; kill -ABRT $$", "probe ended by SIGABRT"),
            ("kill -WINCH $$", "probe says nothing"),
            ("exit 3", "probe ended with status 3"),
            ("sleep 1000", "probe took too long"),
            ("sleep 1000 & sleep 1000", "probe took too long"),
            ("yes", "probe says more than 65536 bytes"),
            ("yes | head -c 70000", "probe says more than 65536 bytes"),
            ("exec >&-; sleep 1000", "probe ended by SIGKILL"),
            ("echo nonsense", "probe: expected ident at line 1 column 2"),
            ("echo '{\"h264\":1}'", "probe: expected value at line 1 column 9"),
            ("printf '{}'", "probe says nothing"),
            ("echo", "probe says nothing"),
        ];
        for (body, expected) in table {
            let folder = Folder::new();
            let mut program = answering(&folder, &format!("vaapi) {body} ;;"));
            if expected.ends_with("long") {
                program.timeout = Duration::from_secs(2);
            }

            let abilities = run(&program, Path::new("/plugin"), None).unwrap();

            for codec in CODECS {
                let why = abilities.of(Backend::Vaapi, codec).unwrap_err();
                assert!(why.starts_with(expected), "{body}: {why}");
            }
            assert_eq!(abilities.of(Backend::Nvenc, Codec::H264), Ok(ALL), "{body}");
            assert_eq!(abilities.of(Backend::Software, Codec::H264), Ok(ALL), "{body}");
        }
    }

    #[test]
    fn a_plug_in_of_the_same_version_is_not_probed_again() {
        let folder = Folder::new();
        let program = answering(&folder, "nvenc|vaapi) touch \"$2\" ; exit 1 ;;");
        let mark = folder.path().join("mark");
        let cached = machine(&[(Backend::V4l2, Codec::H264)]);
        let old = Abilities::parse(
            String::from_utf8(cached.emit()).unwrap().replace("stub 1", "stub 0").as_bytes(),
        );

        let same = run(&program, &mark, Some(&cached));
        let was_probed = mark.exists();
        let other = run(&program, &mark, old.as_ref().ok()).unwrap();

        assert_eq!((same.as_ref(), was_probed), (Ok(&cached), false));
        assert_eq!(other.of(Backend::V4l2, Codec::H264), Ok(ALL));
        assert!(mark.exists());
    }

    #[test]
    fn a_plug_in_that_does_not_load_is_said_once() {
        let table = [
            (r#"echo '{"error":"not\\nthere"}'"#, "not there"),
            ("kill -SEGV $$", "probe ended by SIGSEGV"),
            ("echo '{}'", "probe of the encoder plug-in: expected value"),
        ];
        for (body, expected) in table {
            let folder = Folder::new();
            let error = run(&script(&folder, body), Path::new("/plugin"), None).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        let nothing = Program::new("/no/such/program", std::iter::empty());
        let error = run(&nothing, Path::new("/plugin"), None).unwrap_err();
        assert!(error.starts_with("probe not started: "), "{error}");
    }
}
