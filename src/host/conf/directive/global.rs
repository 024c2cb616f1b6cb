//! The directives of the daemon.

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Duration;

use super::super::lexer::{Word, emit};
use super::super::{Conf, Environment, GameStream, LogFormat, Origin, Pairing, stream, value};
use super::Fallback::{Derived, Fixed};
use super::When::{Reload, Restart, Session};
use super::{Derivation, Directive, HOUR, MILLISECOND, MINUTE, SECOND};

/// Bytes of the host's name at most: it is one label of DNS.
const HOST_NAME_LEN_MAX: usize = 63;
/// What is appended to the runtime directory to make the path of a socket.
const RUNTIME_SOCKET: &str = "/private/engine";

const GAME_STREAM: [(&str, GameStream); 3] =
    [("lan", GameStream::Lan), ("off", GameStream::Off), ("on", GameStream::On)];
/// Whether programs are told things under the names that scripts for Sunshine know.
const LEGACY_ENVIRONMENT: [(&str, bool); 2] = [("off", false), ("sunshine", true)];
const LOG_FORMAT: [(&str, LogFormat); 4] = [
    ("auto", LogFormat::Auto),
    ("journal", LogFormat::Journal),
    ("json", LogFormat::Json),
    ("text", LogFormat::Text),
];
const PAIRING: [(&str, Pairing); 2] = [("arm", Pairing::Arm), ("off", Pairing::Off)];

/// What stands before the first section, in the order of the manual.
pub static GLOBAL: [Directive<Conf>; 69] = [
    Directive {
        keyword: "HostName",
        syntax: "name",
        values: 1..=1,
        default: Derived { words: "the name of this machine", make: host_name },
        when: Reload,
        set: |conf, words| {
            conf.host_name = value::title(&words[0], HOST_NAME_LEN_MAX)?;
            Ok(())
        },
        show: |conf| emit(&conf.host_name),
    },
    Directive {
        keyword: "StateDirectory",
        syntax: "path",
        values: 1..=1,
        default: Derived {
            words: "$STATE_DIRECTORY; else /var/lib/punktfunk for root, \
                    $XDG_STATE_HOME/punktfunk or $HOME/.local/state/punktfunk for other users",
            make: state_directory,
        },
        when: Restart { keep: |to, from| to.state_directory.clone_from(&from.state_directory) },
        set: |conf, words| {
            conf.state_directory = value::path(&words[0])?;
            Ok(())
        },
        show: |conf| value::emit_path(&conf.state_directory),
    },
    Directive {
        keyword: "RuntimeDirectory",
        syntax: "path",
        values: 1..=1,
        default: Derived {
            words: "$RUNTIME_DIRECTORY; else /run/punktfunk for root, \
                    $XDG_RUNTIME_DIR/punktfunk for other users",
            make: runtime_directory,
        },
        when: Restart { keep: |to, from| to.runtime_directory.clone_from(&from.runtime_directory) },
        set: |conf, words| {
            conf.runtime_directory = value::socket_path(&words[0], RUNTIME_SOCKET)?;
            Ok(())
        },
        show: |conf| value::emit_path(&conf.runtime_directory),
    },
    Directive {
        keyword: "StrictModes",
        syntax: "yes | no",
        values: 1..=1,
        default: Fixed("yes"),
        when: Reload,
        set: |conf, words| {
            conf.strict_modes = value::yes_no(&words[0])?;
            Ok(())
        },
        show: |conf| value::emit_yes_no(conf.strict_modes),
    },
    Directive {
        keyword: "RunAs",
        syntax: "none | user",
        values: 1..=1,
        default: Fixed("none"),
        when: Restart { keep: |to, from| to.run_as.clone_from(&from.run_as) },
        set: |conf, words| {
            let is_none = words[0].text == "none";
            conf.run_as = if is_none { None } else { Some(value::user(&words[0], "user")?) };
            Ok(())
        },
        show: |conf| conf.run_as.as_deref().map_or("none".into(), emit),
    },
    Directive {
        keyword: "Listen",
        syntax: "address ...",
        values: 1..=16,
        default: Fixed("::"),
        when: Restart { keep: |to, from| to.listen.clone_from(&from.listen) },
        set: |conf, words| {
            conf.listen = value::addresses(words)?;
            Ok(())
        },
        show: |conf| value::emit_list(&conf.listen),
    },
    Directive {
        keyword: "GameStream",
        syntax: "lan | off | on",
        values: 1..=1,
        default: Fixed("lan"),
        when: Restart { keep: |to, from| to.gamestream = from.gamestream },
        set: |conf, words| {
            conf.gamestream = value::choice(&words[0], &GAME_STREAM)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.gamestream, &GAME_STREAM),
    },
    Directive {
        keyword: "GameStreamPort",
        syntax: "port",
        values: 1..=1,
        default: Fixed("47989"),
        when: Restart { keep: |to, from| to.gamestream_port = from.gamestream_port },
        set: |conf, words| {
            // The ports of GameStream lie from 5 below this one to 21 above.
            conf.gamestream_port = value::number(&words[0], 6..=65_514)?;
            Ok(())
        },
        show: |conf| conf.gamestream_port.to_string(),
    },
    Directive {
        keyword: "AllowFrom",
        syntax: "any | local | network ...",
        values: 1..=64,
        default: Fixed("any"),
        when: Reload,
        set: |conf, words| {
            conf.allow_from = value::networks(words)?;
            Ok(())
        },
        show: |conf| value::emit_networks(&conf.allow_from),
    },
    Directive {
        keyword: "DenyFrom",
        syntax: "none | local | network ...",
        values: 1..=64,
        default: Fixed("none"),
        when: Reload,
        set: |conf, words| {
            let is_none = words.len() == 1 && words[0].text == "none";
            conf.deny_from = if is_none { Vec::new() } else { value::networks(words)? };
            Ok(())
        },
        show: |conf| match &conf.deny_from[..] {
            [] => "none".into(),
            networks => value::emit_networks(networks),
        },
    },
    Directive {
        keyword: "MaxConnections",
        syntax: "count",
        values: 1..=1,
        default: Fixed("64"),
        when: Reload,
        set: |conf, words| {
            conf.connections_max = value::number(&words[0], 1..=4096)?;
            Ok(())
        },
        show: |conf| conf.connections_max.to_string(),
    },
    Directive {
        keyword: "LoginGraceTime",
        syntax: "time",
        values: 1..=1,
        default: Fixed("10s"),
        when: Reload,
        set: |conf, words| {
            conf.login_grace = value::time(&words[0], SECOND..=10 * MINUTE)?;
            Ok(())
        },
        show: |conf| value::emit_time(conf.login_grace),
    },
    Directive {
        keyword: "Mdns",
        syntax: "yes | no",
        values: 1..=1,
        default: Fixed("yes"),
        when: Reload,
        set: |conf, words| {
            conf.mdns = value::yes_no(&words[0])?;
            Ok(())
        },
        show: |conf| value::emit_yes_no(conf.mdns),
    },
    Directive {
        keyword: "MdnsInterface",
        syntax: "auto | interface ...",
        values: 1..=32,
        default: Fixed("auto"),
        when: Reload,
        set: |conf, words| {
            let is_auto = words.len() == 1 && words[0].text == "auto";
            conf.mdns_interfaces = if is_auto { Vec::new() } else { value::interfaces(words)? };
            Ok(())
        },
        show: |conf| match &conf.mdns_interfaces[..] {
            [] => "auto".into(),
            names => names.iter().map(|name| emit(name)).collect::<Vec<_>>().join(" "),
        },
    },
    Directive {
        keyword: "Pairing",
        syntax: "arm | off",
        values: 1..=1,
        default: Fixed("arm"),
        when: Reload,
        set: |conf, words| {
            conf.pairing = value::choice(&words[0], &PAIRING)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.pairing, &PAIRING),
    },
    Directive {
        keyword: "PairingWindow",
        syntax: "time",
        values: 1..=1,
        default: Fixed("2m"),
        when: Reload,
        set: |conf, words| {
            conf.pairing_window = value::time(&words[0], 10 * SECOND..=60 * MINUTE)?;
            Ok(())
        },
        show: |conf| value::emit_time(conf.pairing_window),
    },
    Directive {
        keyword: "MaxPairingAttempts",
        syntax: "count/time",
        values: 1..=1,
        default: Fixed("5/10m"),
        when: Reload,
        set: |conf, words| {
            conf.pairing_attempts = value::attempts(&words[0])?;
            Ok(())
        },
        show: |conf| {
            let attempts = conf.pairing_attempts;
            format!("{}/{}", attempts.count, value::emit_time(attempts.window))
        },
    },
    Directive {
        keyword: "DefaultGrants",
        syntax: "none | grant ...",
        values: 1..=8,
        default: Fixed("view keyboard mouse gamepad touch pen audio launch"),
        when: Reload,
        set: |conf, words| {
            conf.default_grants = stream::grants(words)?;
            Ok(())
        },
        show: |conf| conf.default_grants.to_string(),
    },
    Directive {
        keyword: "MaxSessions",
        syntax: "count",
        values: 1..=1,
        default: Fixed("4"),
        when: Reload,
        set: |conf, words| {
            conf.sessions_max = value::number(&words[0], 1..=64)?;
            Ok(())
        },
        show: |conf| conf.sessions_max.to_string(),
    },
    Directive {
        keyword: "SessionConflict",
        syntax: "refuse | separate | takeover",
        values: 1..=1,
        default: Fixed("separate"),
        when: Session,
        set: |conf, words| {
            conf.session_conflict = value::choice(&words[0], &stream::SESSION_CONFLICT)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.session_conflict, &stream::SESSION_CONFLICT),
    },
    Directive {
        keyword: "IdleTimeout",
        syntax: "time",
        values: 1..=1,
        default: Fixed("10s"),
        when: Session,
        set: |conf, words| {
            conf.idle_timeout = value::time(&words[0], 2 * SECOND..=5 * MINUTE)?;
            Ok(())
        },
        show: |conf| value::emit_time(conf.idle_timeout),
    },
    Directive {
        keyword: "LingerTime",
        syntax: "time | forever",
        values: 1..=1,
        default: Fixed("5m"),
        when: Session,
        set: |conf, words| {
            conf.linger_time = value::time_or_forever(&words[0], Duration::ZERO..=24 * HOUR)?;
            Ok(())
        },
        show: |conf| conf.linger_time.map_or("forever".into(), value::emit_time),
    },
    Directive {
        keyword: "Capture",
        syntax: "auto | test",
        values: 1..=1,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.capture = value::choice(&words[0], &stream::CAPTURE)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.capture, &stream::CAPTURE),
    },
    Directive {
        keyword: "CaptureBuffers",
        syntax: "auto | dmabuf | shm",
        values: 1..=1,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.capture_buffers = value::choice(&words[0], &stream::CAPTURE_BUFFERS)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.capture_buffers, &stream::CAPTURE_BUFFERS),
    },
    Directive {
        keyword: "Display",
        syntax: "auto | private | virtual | mirror name",
        values: 1..=2,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.display = stream::display(words)?;
            Ok(())
        },
        show: |conf| stream::emit_display(&conf.display),
    },
    Directive {
        keyword: "Compositor",
        syntax: "auto | sway | wlroots",
        values: 1..=1,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.compositor = value::choice(&words[0], &stream::COMPOSITOR)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.compositor, &stream::COMPOSITOR),
    },
    Directive {
        keyword: "Scale",
        syntax: "number",
        values: 1..=1,
        default: Fixed("1"),
        when: Session,
        set: |conf, words| {
            conf.scale_percent = stream::scale(&words[0])?;
            Ok(())
        },
        show: |conf| stream::emit_scale(conf.scale_percent),
    },
    Directive {
        keyword: "MaxMode",
        syntax: "mode",
        values: 1..=1,
        default: Fixed("7680x4320@480"),
        when: Session,
        set: |conf, words| {
            conf.mode_max = stream::mode(&words[0])?;
            Ok(())
        },
        show: |conf| stream::emit_mode(conf.mode_max),
    },
    Directive {
        keyword: "MaxFps",
        syntax: "count",
        values: 1..=1,
        default: Fixed("0"),
        when: Session,
        set: |conf, words| {
            conf.fps_max = stream::limit(&words[0], 1000)?;
            Ok(())
        },
        show: |conf| stream::emit_limit(conf.fps_max),
    },
    Directive {
        keyword: "InhibitSleep",
        syntax: "yes | no",
        values: 1..=1,
        default: Fixed("yes"),
        when: Session,
        set: |conf, words| {
            conf.inhibit_sleep = value::yes_no(&words[0])?;
            Ok(())
        },
        show: |conf| value::emit_yes_no(conf.inhibit_sleep),
    },
    Directive {
        keyword: "InhibitIdle",
        syntax: "yes | no",
        values: 1..=1,
        default: Fixed("yes"),
        when: Session,
        set: |conf, words| {
            conf.inhibit_idle = value::yes_no(&words[0])?;
            Ok(())
        },
        show: |conf| value::emit_yes_no(conf.inhibit_idle),
    },
    Directive {
        keyword: "Encoder",
        syntax: "auto | nvenc | software | v4l2 | vaapi | vulkan",
        values: 1..=1,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.encoder = value::choice(&words[0], &stream::ENCODER)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.encoder, &stream::ENCODER),
    },
    Directive {
        keyword: "EncoderFallback",
        syntax: "refuse | warn",
        values: 1..=1,
        default: Fixed("warn"),
        when: Session,
        set: |conf, words| {
            conf.encoder_fallback = value::choice(&words[0], &stream::ENCODER_FALLBACK)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.encoder_fallback, &stream::ENCODER_FALLBACK),
    },
    Directive {
        keyword: "Codecs",
        syntax: "auto | codec ...",
        values: 1..=3,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.codecs = stream::codecs(words)?;
            Ok(())
        },
        show: |conf| match &conf.codecs {
            None => "auto".into(),
            Some(codecs) => value::emit_list(codecs),
        },
    },
    Directive {
        keyword: "BitDepth",
        syntax: "8 | 10 | auto",
        values: 1..=1,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.bit_depth = value::choice(&words[0], &stream::BIT_DEPTH)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.bit_depth, &stream::BIT_DEPTH),
    },
    Directive {
        keyword: "MaxBitrate",
        syntax: "rate",
        values: 1..=1,
        default: Fixed("0"),
        when: Session,
        set: |conf, words| {
            conf.bitrate_max_kbps = stream::rate(&words[0])?;
            Ok(())
        },
        show: |conf| stream::emit_rate(conf.bitrate_max_kbps),
    },
    Directive {
        keyword: "Quality",
        syntax: "balanced | best | fastest",
        values: 1..=1,
        default: Fixed("fastest"),
        when: Session,
        set: |conf, words| {
            conf.quality = value::choice(&words[0], &stream::QUALITY)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.quality, &stream::QUALITY),
    },
    Directive {
        keyword: "Slices",
        syntax: "auto | count",
        values: 1..=1,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.slices = stream::slices(&words[0])?;
            Ok(())
        },
        show: |conf| stream::emit_slices(conf.slices),
    },
    Directive {
        keyword: "IdrMinInterval",
        syntax: "time",
        values: 1..=1,
        default: Fixed("250ms"),
        when: Session,
        set: |conf, words| {
            conf.idr_interval_min = value::time(&words[0], 10 * MILLISECOND..=10 * SECOND)?;
            Ok(())
        },
        show: |conf| value::emit_time(conf.idr_interval_min),
    },
    Directive {
        keyword: "Fec",
        syntax: "auto | percent",
        values: 1..=1,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.parity_percent = stream::parity(&words[0])?;
            Ok(())
        },
        show: |conf| stream::emit_parity(conf.parity_percent),
    },
    Directive {
        keyword: "Pacing",
        syntax: "auto | off",
        values: 1..=1,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.pacing = value::choice(&words[0], &stream::AUTO_OFF)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.pacing, &stream::AUTO_OFF),
    },
    Directive {
        keyword: "PacingSpread",
        syntax: "percent",
        values: 1..=1,
        default: Fixed("50"),
        when: Session,
        set: |conf, words| {
            conf.pacing_spread_percent = value::number(&words[0], 1..=100)?;
            Ok(())
        },
        show: |conf| conf.pacing_spread_percent.to_string(),
    },
    Directive {
        keyword: "Gso",
        syntax: "auto | off",
        values: 1..=1,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.gso = value::choice(&words[0], &stream::AUTO_OFF)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.gso, &stream::AUTO_OFF),
    },
    Directive {
        keyword: "SocketBuffer",
        syntax: "size",
        values: 1..=1,
        default: Fixed("32Mi"),
        when: Restart { keep: |to, from| to.socket_buffer_len = from.socket_buffer_len },
        set: |conf, words| {
            conf.socket_buffer_len = stream::size(&words[0])?;
            Ok(())
        },
        show: |conf| stream::emit_size(conf.socket_buffer_len),
    },
    Directive {
        keyword: "Dscp",
        syntax: "auto | off",
        values: 1..=1,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.dscp = value::choice(&words[0], &stream::AUTO_OFF)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.dscp, &stream::AUTO_OFF),
    },
    Directive {
        keyword: "Encryption",
        syntax: "off | preferred | required",
        values: 1..=1,
        default: Fixed("preferred"),
        when: Session,
        set: |conf, words| {
            conf.encryption = value::choice(&words[0], &stream::ENCRYPTION)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.encryption, &stream::ENCRYPTION),
    },
    Directive {
        keyword: "LegacyControlCrypto",
        syntax: "yes | no",
        values: 1..=1,
        default: Fixed("no"),
        when: Session,
        set: |conf, words| {
            conf.legacy_control_crypto = value::yes_no(&words[0])?;
            Ok(())
        },
        show: |conf| value::emit_yes_no(conf.legacy_control_crypto),
    },
    Directive {
        keyword: "Audio",
        syntax: "both | client | off",
        values: 1..=1,
        default: Fixed("client"),
        when: Session,
        set: |conf, words| {
            conf.audio = value::choice(&words[0], &stream::AUDIO)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.audio, &stream::AUDIO),
    },
    Directive {
        keyword: "AudioSink",
        syntax: "own | name",
        values: 1..=1,
        default: Fixed("own"),
        when: Session,
        set: |conf, words| {
            conf.audio_sink = stream::sink(&words[0])?;
            Ok(())
        },
        show: |conf| conf.audio_sink.as_deref().map_or("own".into(), emit),
    },
    Directive {
        keyword: "Input",
        syntax: "auto | compositor | uinput",
        values: 1..=1,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.input = value::choice(&words[0], &stream::INPUT)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.input, &stream::INPUT),
    },
    Directive {
        keyword: "Gamepad",
        syntax: "auto | ds4 | switch | x360 | xone",
        values: 1..=1,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.gamepad = value::choice(&words[0], &stream::GAMEPAD)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.gamepad, &stream::GAMEPAD),
    },
    Directive {
        keyword: "MaxGamepads",
        syntax: "count",
        values: 1..=1,
        default: Fixed("4"),
        when: Session,
        set: |conf, words| {
            conf.gamepads_max = value::number(&words[0], 1..=16)?;
            Ok(())
        },
        show: |conf| conf.gamepads_max.to_string(),
    },
    Directive {
        keyword: "Prepare",
        syntax: "none | program [argument ...]",
        values: 1..=64,
        default: Fixed("none"),
        when: Session,
        set: |conf, words| {
            conf.prepare.push(value::command(words));
            Ok(())
        },
        show: |conf| value::emit_commands(&conf.prepare),
    },
    Directive {
        keyword: "Undo",
        syntax: "none | program [argument ...]",
        values: 1..=64,
        default: Fixed("none"),
        when: Session,
        set: |conf, words| {
            conf.undo.push(value::command(words));
            Ok(())
        },
        show: |conf| value::emit_commands(&conf.undo),
    },
    Directive {
        keyword: "OnConnect",
        syntax: "none | program [argument ...]",
        values: 1..=64,
        default: Fixed("none"),
        when: Reload,
        set: |conf, words| {
            conf.on_connect = value::command(words);
            Ok(())
        },
        show: |conf| value::emit_command(&conf.on_connect),
    },
    Directive {
        keyword: "OnDisconnect",
        syntax: "none | program [argument ...]",
        values: 1..=64,
        default: Fixed("none"),
        when: Reload,
        set: |conf, words| {
            conf.on_disconnect = value::command(words);
            Ok(())
        },
        show: |conf| value::emit_command(&conf.on_disconnect),
    },
    Directive {
        keyword: "OnStreamStart",
        syntax: "none | program [argument ...]",
        values: 1..=64,
        default: Fixed("none"),
        when: Reload,
        set: |conf, words| {
            conf.on_stream_start = value::command(words);
            Ok(())
        },
        show: |conf| value::emit_command(&conf.on_stream_start),
    },
    Directive {
        keyword: "OnStreamEnd",
        syntax: "none | program [argument ...]",
        values: 1..=64,
        default: Fixed("none"),
        when: Reload,
        set: |conf, words| {
            conf.on_stream_end = value::command(words);
            Ok(())
        },
        show: |conf| value::emit_command(&conf.on_stream_end),
    },
    Directive {
        keyword: "OnPairRequest",
        syntax: "none | program [argument ...]",
        values: 1..=64,
        default: Fixed("none"),
        when: Reload,
        set: |conf, words| {
            conf.on_pair_request = value::command(words);
            Ok(())
        },
        show: |conf| value::emit_command(&conf.on_pair_request),
    },
    Directive {
        keyword: "HookTimeout",
        syntax: "time",
        values: 1..=1,
        default: Fixed("10s"),
        when: Session,
        set: |conf, words| {
            conf.hook_timeout = value::time(&words[0], 100 * MILLISECOND..=10 * MINUTE)?;
            Ok(())
        },
        show: |conf| value::emit_time(conf.hook_timeout),
    },
    Directive {
        keyword: "LegacyEnvironment",
        syntax: "off | sunshine",
        values: 1..=1,
        default: Fixed("sunshine"),
        when: Session,
        set: |conf, words| {
            conf.legacy_environment = value::choice(&words[0], &LEGACY_ENVIRONMENT)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.legacy_environment, &LEGACY_ENVIRONMENT),
    },
    Directive {
        keyword: "ControlSocket",
        syntax: "path [mode [group]]",
        values: 1..=3,
        default: Derived {
            words: "control in RuntimeDirectory, mode 0660",
            make: |_, conf| in_directory(&conf.runtime_directory, "control"),
        },
        when: Restart { keep: |to, from| to.control_socket.clone_from(&from.control_socket) },
        set: |conf, words| {
            conf.control_socket = value::control_socket(words)?;
            Ok(())
        },
        show: |conf| value::emit_control_socket(&conf.control_socket),
    },
    Directive {
        keyword: "Http",
        syntax: "off | address:port",
        values: 1..=1,
        default: Fixed("off"),
        when: Restart { keep: |to, from| to.http = from.http },
        set: |conf, words| {
            conf.http = value::http(&words[0])?;
            Ok(())
        },
        show: |conf| conf.http.map_or("off".into(), |address| address.to_string()),
    },
    Directive {
        keyword: "HttpTokenFile",
        syntax: "path",
        values: 1..=1,
        default: Derived {
            words: "http_token in StateDirectory",
            make: |_, conf| in_directory(&conf.state_directory, "http_token"),
        },
        when: Restart { keep: |to, from| to.http_token_file.clone_from(&from.http_token_file) },
        set: |conf, words| {
            conf.http_token_file = value::path(&words[0])?;
            Ok(())
        },
        show: |conf| value::emit_path(&conf.http_token_file),
    },
    Directive {
        keyword: "LogLevel",
        syntax: "level [module=level ...]",
        values: 1..=64,
        default: Fixed("info"),
        when: Reload,
        set: |conf, words| {
            conf.log_levels = value::log_levels(words)?;
            Ok(())
        },
        show: |conf| value::emit_log_levels(&conf.log_levels),
    },
    Directive {
        keyword: "LogFormat",
        syntax: "auto | journal | json | text",
        values: 1..=1,
        default: Fixed("auto"),
        when: Reload,
        set: |conf, words| {
            conf.log_format = value::choice(&words[0], &LOG_FORMAT)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.log_format, &LOG_FORMAT),
    },
    Directive {
        keyword: "Priority",
        syntax: "auto | off | realtime",
        values: 1..=1,
        default: Fixed("auto"),
        when: Restart { keep: |to, from| to.priority = from.priority },
        set: |conf, words| {
            conf.priority = value::choice(&words[0], &stream::PRIORITY)?;
            Ok(())
        },
        show: |conf| value::emit_choice(&conf.priority, &stream::PRIORITY),
    },
    Directive {
        keyword: "Affinity",
        syntax: "auto | off | processors",
        values: 1..=1,
        default: Fixed("auto"),
        when: Session,
        set: |conf, words| {
            conf.affinity = stream::affinity(&words[0])?;
            Ok(())
        },
        show: |conf| stream::emit_affinity(&conf.affinity),
    },
    Directive {
        keyword: "CoreDumps",
        syntax: "yes | no",
        values: 1..=1,
        default: Fixed("no"),
        when: Restart { keep: |to, from| to.core_dumps = from.core_dumps },
        set: |conf, words| {
            conf.core_dumps = value::yes_no(&words[0])?;
            Ok(())
        },
        show: |conf| value::emit_yes_no(conf.core_dumps),
    },
];

fn host_name(environment: &Environment, _: &Conf) -> Derivation {
    let name = &environment.host_name;
    let word = Word { text: name.clone(), column: 1 };
    let is_name = value::title(&word, HOST_NAME_LEN_MAX).is_ok();
    // A machine without a proper name still serves under some name.
    Ok(match is_name {
        true => (name.clone(), Origin::Environment("host name")),
        false => ("punktfunk".into(), Origin::Default),
    })
}

fn state_directory(environment: &Environment, _: &Conf) -> Derivation {
    if let Some(path) = Environment::path(&environment.state_directory, "") {
        return Ok((path, Origin::Environment("STATE_DIRECTORY")));
    }
    if environment.uid == 0 {
        return Ok(("/var/lib/punktfunk".into(), Origin::Default));
    }
    if let Some(path) = Environment::path(&environment.xdg_state_home, "punktfunk") {
        return Ok((path, Origin::Environment("XDG_STATE_HOME")));
    }
    match Environment::path(&environment.home, ".local/state/punktfunk") {
        Some(path) => Ok((path, Origin::Environment("HOME"))),
        None => Err("the environment has a path from the root in none of these"),
    }
}

fn runtime_directory(environment: &Environment, _: &Conf) -> Derivation {
    if let Some(path) = Environment::path(&environment.runtime_directory, "") {
        return Ok((path, Origin::Environment("RUNTIME_DIRECTORY")));
    }
    if environment.uid == 0 {
        return Ok(("/run/punktfunk".into(), Origin::Default));
    }
    match Environment::path(&environment.xdg_runtime_dir, "punktfunk") {
        Some(path) => Ok((path, Origin::Environment("XDG_RUNTIME_DIR"))),
        None => Err("the environment has a path from the root in none of these"),
    }
}

fn in_directory(directory: &Path, name: &str) -> Derivation {
    let path = directory.join(name).to_str().map(str::to_owned);
    path.map(|path| (path, Origin::Default)).ok_or("the directory is not UTF-8")
}
