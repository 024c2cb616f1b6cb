//! punktfunk.conf(5): what the administrator says, typed.
//!
//! Files and `-o` of the command line become a [`Conf`] or a list of every mistake in them. The
//! environment, owners and modes of files are arguments; nothing is ever written. `directive` is
//! the table of all directives, which everything else goes by.

#![forbid(unsafe_code)]

pub mod directive;
mod error;
pub mod file;
mod lexer;
mod load;
mod network;
mod parser;
mod print;
mod reload;
mod stream;
mod value;

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;
use punktfunk_core::proto::gamestream::http::Mode;
use punktfunk_core::proto::gamestream::rtsp::announce::Codec;

use super::grants::Grants;
pub use error::Error;
use error::Line;
use file::Disk;
use lexer::statement;
pub use load::load_from;
use network::Network;
#[allow(unused_imports, reason = "what makes streams comes with the next changes")]
pub use network::is_local;
pub use reload::Reload;
pub use stream::{
    Affinity, Audio, BitDepth, Capture, CaptureBuffers, Compositor, Display, Encoder,
    EncoderFallback, Encryption, Gamepad, Input, Priority, Quality, SessionConflict,
};

/// A whole configuration: every directive has a value.
#[derive(Clone, Debug)]
pub struct Conf {
    /// What clients call this host.
    pub host_name: String,
    /// Keys and clients; not there yet, perhaps.
    pub state_directory: PathBuf,
    /// Sockets; not there yet, perhaps.
    pub runtime_directory: PathBuf,
    /// Whether files that others could change are refused.
    pub strict_modes: bool,
    /// The user to become, if root starts the daemon.
    pub run_as: Option<String>,
    /// Addresses to listen on; `::` is every address, IPv4 included.
    pub listen: Vec<IpAddr>,
    /// Who may see the GameStream plane.
    pub gamestream: GameStream,
    /// Its port for HTTP, from which the others are counted: 5 below to 21 above.
    pub gamestream_port: u16,
    /// Networks that clients may come from.
    pub allow_from: Vec<Network>,
    /// Networks that no client may come from.
    pub deny_from: Vec<Network>,
    /// Connections of clients at once.
    pub connections_max: usize,
    /// A connection has so long for its request.
    pub login_grace: Duration,
    /// Whether the host is announced.
    pub mdns: bool,
    /// Where it is announced; none: wherever it makes sense.
    pub mdns_interfaces: Vec<String>,
    /// Whether new clients may pair.
    pub pairing: Pairing,
    /// How long a client waits for its PIN.
    pub pairing_window: Duration,
    /// How often pairing may fail.
    pub pairing_attempts: Attempts,
    /// What clients that pair from now on may do.
    pub default_grants: Grants,
    /// Sessions at once, from 1 to 64.
    pub sessions_max: usize,
    /// What a client meets while another has a session.
    pub session_conflict: SessionConflict,
    /// A session ends when nothing comes from its client for so long.
    pub idle_timeout: Duration,
    /// How long an app waits for its client; without that, for as long as it takes.
    pub linger_time: Option<Duration>,
    /// Pixels of a display for each hundred that programs reckon with.
    pub scale_percent: u32,
    /// Where pictures and sound come from.
    pub capture: Capture,
    /// In what a desktop hands its pictures over.
    pub capture_buffers: CaptureBuffers,
    /// Which display a session sees.
    pub display: Display,
    /// On whose desktop that may be.
    pub compositor: Compositor,
    /// What a client may ask for at most.
    pub mode_max: Mode,
    /// Pictures a second at most; none: what the client asks for.
    pub fps_max: Option<u32>,
    /// Whether the machine stays awake while somebody streams.
    pub inhibit_sleep: bool,
    /// Whether it does not count as idle meanwhile.
    pub inhibit_idle: bool,
    /// What encodes pictures.
    pub encoder: Encoder,
    /// What follows where that does not work.
    pub encoder_fallback: EncoderFallback,
    /// Codecs that are offered, the most wanted first, one at least; `None` leaves it to what the
    /// encoders can.
    pub codecs: Option<Vec<Codec>>,
    /// Bits of a sample.
    pub bit_depth: BitDepth,
    /// Of pictures, before parity; none: what the client asks for.
    pub bitrate_max_kbps: Option<u32>,
    /// What the encoder spends its time on.
    pub quality: Quality,
    /// Slices of a picture, from 1 to 16; none: what suits encoder and client.
    pub slices: Option<u8>,
    /// Between two IDRs that clients ask for.
    pub idr_interval_min: Duration,
    /// Parity shards per hundred data shards, from 1 to 100.
    pub parity_percent: u8,
    /// Whether the datagrams of an access unit are spread over time.
    pub pacing: bool,
    /// Over how much of the interval between two pictures, from 1 to 100.
    pub pacing_spread_percent: u8,
    /// Whether the kernel may cut datagrams.
    pub gso: bool,
    /// Of each UDP socket of streams.
    pub socket_buffer_len: usize,
    /// Whether datagrams are marked for routers in private networks.
    pub dscp: bool,
    /// What of a stream has to be sealed.
    pub encryption: Encryption,
    /// Whether control streams that are sealed with nonces that repeat are let in.
    pub legacy_control_crypto: bool,
    /// Where sound is heard.
    pub audio: Audio,
    /// The sink that sound is taken from; none: one of the daemon's own.
    pub audio_sink: Option<String>,
    /// What keyboards and pointers of clients are made with.
    pub input: Input,
    /// What gamepads are like.
    pub gamepad: Gamepad,
    /// Gamepads of a session, from 1 to 16.
    pub gamepads_max: u8,
    /// What runs before every app, in this order; see [`App::prepare`].
    pub prepare: Vec<Vec<String>>,
    /// What undoes that; see [`App::undo`].
    pub undo: Vec<Vec<String>>,
    /// What runs when a client has a session; like those that follow, without words nothing.
    pub on_connect: Vec<String>,
    /// What runs when it has none any more.
    pub on_disconnect: Vec<String>,
    /// What runs when it sees something.
    pub on_stream_start: Vec<String>,
    /// What runs when it sees nothing any more.
    pub on_stream_end: Vec<String>,
    /// What runs when a device asks to pair.
    pub on_pair_request: Vec<String>,
    /// How long each such command and each hook may take.
    pub hook_timeout: Duration,
    /// Whether they are told things under the names that scripts for Sunshine know.
    pub legacy_environment: bool,
    /// The management API's own socket.
    pub control_socket: ControlSocket,
    /// The management API over TCP, on a loopback address.
    pub http: Option<SocketAddr>,
    /// The token that opens it over TCP.
    pub http_token_file: PathBuf,
    /// What is logged.
    pub log_levels: LogLevels,
    /// How it is written.
    pub log_format: LogFormat,
    /// How the threads of streams are scheduled.
    pub priority: Priority,
    /// Which processors they run on.
    pub affinity: Affinity,
    /// Whether a crash may leave the memory, secrets included, in a file.
    pub core_dumps: bool,
    /// What can be launched, one at least.
    pub apps: Vec<App>,
    /// Where each value comes from, by the order of the table.
    origins: Vec<Origin>,
    /// The same for each app: its header, then by the order of its table.
    app_origins: Vec<Vec<Origin>>,
}

/// Who may see the GameStream plane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GameStream {
    /// Clients that lie near.
    Lan,
    /// Nobody.
    Off,
    /// Everybody.
    On,
}

/// Whether new clients may pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pairing {
    /// One by one, each with a PIN that the administrator gives.
    Arm,
    /// No.
    Off,
}

/// So many within such a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attempts {
    /// 1 or more.
    pub count: u32,
    /// Counted back from now.
    pub window: Duration,
}

/// A Unix socket and who may open it.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlSocket {
    /// From the root.
    pub path: PathBuf,
    /// Permission bits, none for others.
    pub mode: u32,
    /// The group that it belongs to, if one is named.
    pub group: Option<String>,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLevels {
    /// By modules that are not named.
    pub default: LevelFilter,
    /// By modules, named without their program: `listen::mdns`.
    pub modules: Vec<(String, LevelFilter)>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LogFormat {
    /// As suits where standard error leads.
    Auto,
    /// With a priority, for the journal.
    Journal,
    /// An object each.
    Json,
    /// With time and level.
    Text,
}

/// Something that can be launched.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// What people read; no two are the same.
    pub title: String,
    /// The program that runs, and its arguments; nothing leaves it to the display.
    pub command: Vec<String>,
    /// Where it starts; nowhere: at home.
    pub working_directory: Option<PathBuf>,
    /// Names and values for its environment, a list for each line.
    pub environment: Vec<Vec<(String, String)>>,
    /// What runs before it, in this order. One without words keeps a place and does nothing.
    pub prepare: Vec<Vec<String>>,
    /// What undoes that, the first the first.
    pub undo: Vec<Vec<String>>,
    /// How long it may take from being asked to end until it is killed.
    pub exit_timeout: Duration,
    /// Whether its session ends with it.
    pub end_on_exit: bool,
    /// A picture for it, from the root.
    pub image: Option<PathBuf>,
    /// Whether clients do not see it.
    pub hidden: bool,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// The table.
    Default,
    /// Several lines, each from its own place.
    Each(Vec<Origin>),
    /// What the machine says of itself: the name of a variable, or of something else.
    Environment(&'static str),
    /// A line of a file.
    File {
        /// The file's name.
        source: Arc<str>,
        /// From 1.
        line: usize,
    },
    /// The command line.
    Override,
}

/// What a configuration is made from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The file, if there is one.
    pub file: Option<&'a Path>,
    /// `Keyword=value` each; they hold over what files say.
    pub overrides: &'a [String],
    /// What defaults depend on.
    pub environment: &'a Environment,
}

/// The parts of the environment that defaults depend on. Variables are none where they are empty.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `$HOME`.
    pub home: Option<OsString>,
    /// `$XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<OsString>,
    /// `$XDG_STATE_HOME`.
    pub xdg_state_home: Option<OsString>,
    /// `$XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<OsString>,
    /// `$STATE_DIRECTORY`, set by systemd.
    pub state_directory: Option<OsString>,
    /// `$RUNTIME_DIRECTORY`, set by systemd.
    pub runtime_directory: Option<OsString>,
    /// What the machine calls itself.
    pub host_name: String,
    /// The user that the daemon was started by.
    pub uid: u32,
}

/// Reads a configuration from this machine's files.
pub fn load(sources: &Sources<'_>) -> Result<Conf, Vec<Error>> {
    load_from(sources, &Disk)
}

impl Conf {
    /// Whether a client may connect from `ip`: GameStream must let it in, AllowFrom must name it,
    /// DenyFrom must not. An IPv4 address in IPv6 is that IPv4 address. `is_on_link` says that the
    /// address is of a network that this machine is in.
    pub fn admits(&self, ip: IpAddr, is_on_link: bool) -> bool {
        let is_in = |networks: &[Network]| networks.iter().any(|network| network.contains(ip));
        let is_near_enough = match self.gamestream {
            GameStream::Lan => is_on_link || network::is_local(ip),
            GameStream::Off => false,
            GameStream::On => true,
        };
        is_near_enough && is_in(&self.allow_from) && !is_in(&self.deny_from)
    }
}

impl Origin {
    fn of(line: &Line) -> Origin {
        match &*line.source {
            "-o" => Origin::Override,
            _ => Origin::File { source: Arc::clone(&line.source), line: line.number },
        }
    }
}

impl Environment {
    /// The user's own configuration. Root has none: the administrator's is root's.
    pub fn user_conf(&self) -> Option<PathBuf> {
        if self.uid == 0 {
            return None;
        }
        Environment::path(&self.xdg_config_home, "punktfunk/punktfunk.conf")
            .or_else(|| Environment::path(&self.home, ".config/punktfunk/punktfunk.conf"))
            .map(PathBuf::from)
    }

    /// The folder that a variable names, the first where it names several, with `rest` appended.
    /// One that a configuration could not name is as good as none.
    fn path(variable: &Option<OsString>, rest: &str) -> Option<String> {
        let text = variable.as_ref()?.to_str()?;
        let first = text.split(':').next()?;
        if !first.starts_with('/') || first.contains(char::is_control) {
            return None;
        }
        let first = first.trim_end_matches('/');
        Some(if rest.is_empty() { first.to_owned() } else { format!("{first}/{rest}") })
    }
}

impl LogLevels {
    /// Takes what follows `LogLevel`.
    pub fn parse(text: &str) -> Result<LogLevels, String> {
        let line = statement(&format!("LogLevel {text}")).map_err(|complaint| complaint.what)?;
        let words = line.map(|it| it.values).unwrap_or_default();
        if words.is_empty() {
            return Err("no level".into());
        }
        value::log_levels(&words).map_err(|complaint| complaint.what)
    }
}

impl fmt::Display for LogLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&value::emit_log_levels(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_three_rules_can_keep_a_client_out() {
        let table = [
            ("", "192.168.1.5", true),
            ("", "::ffff:192.168.1.5", true),
            ("", "2001:db8::5", false),
            ("GameStream on", "2001:db8::5", true),
            ("GameStream off", "127.0.0.1", false),
            ("AllowFrom 192.168.1.0/24", "192.168.1.5", true),
            ("AllowFrom 192.168.1.0/24", "192.168.2.5", false),
            ("AllowFrom 192.168.1.0/24", "127.0.0.1", false),
            ("AllowFrom 192.0.0.0/8", "192.0.2.1", false),
            ("AllowFrom 192.168.1.0/24\nDenyFrom 192.168.1.5", "192.168.1.5", false),
            ("DenyFrom any", "127.0.0.1", false),
            ("GameStream on\nAllowFrom local 100.64.0.0/10", "100.100.1.1", true),
            ("GameStream on\nAllowFrom local 100.64.0.0/10", "8.8.8.8", false),
        ];
        let environment = Environment { host_name: "den".into(), ..Environment::default() };
        for (text, ip, expected) in table {
            let files = file::memory::Memory::with(&[("/p.conf", text)]);
            let file = Some(Path::new("/p.conf"));
            let sources = Sources { file, overrides: &[], environment: &environment };
            let conf = load_from(&sources, &files).unwrap();
            assert_eq!(conf.admits(ip.parse().unwrap(), false), expected, "{text} {ip}");
        }
    }

    #[test]
    fn ordinary_users_have_a_configuration_of_their_own() {
        let environment = |home: Option<&str>, config: Option<&str>, uid| Environment {
            home: home.map(OsString::from),
            xdg_config_home: config.map(OsString::from),
            uid,
            ..Environment::default()
        };
        let table = [
            (environment(Some("/h"), None, 1), Some("/h/.config/punktfunk/punktfunk.conf")),
            (environment(Some("/h"), Some("/c"), 1), Some("/c/punktfunk/punktfunk.conf")),
            (environment(Some("/h"), Some("c"), 1), Some("/h/.config/punktfunk/punktfunk.conf")),
            (environment(Some("/h"), Some("/c"), 0), None),
            (environment(None, None, 1), None),
        ];
        for (environment, expected) in table {
            assert_eq!(environment.user_conf(), expected.map(PathBuf::from));
        }
    }

    #[test]
    fn log_levels_are_read_as_they_are_written() {
        for text in ["info", "warn listen::mdns=trace net=debug"] {
            assert_eq!(LogLevels::parse(text).unwrap().to_string(), text);
        }
        let loud = "'loud' is not one of error, warn, info, debug, trace";
        assert_eq!(LogLevels::parse("loud"), Err(loud.to_owned()));
        assert_eq!(LogLevels::parse(" # none"), Err("no level".to_owned()));
    }
}
