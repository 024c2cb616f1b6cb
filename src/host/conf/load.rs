//! From settings to a whole configuration: defaults, files, the command line, in that order.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;
use punktfunk_core::proto::gamestream::http::Mode;

use super::super::grants::Grants;
use super::directive::{APP, Directive, Fallback, GLOBAL};
use super::error::{Complaint, Error};
use super::file::Files;
use super::lexer::Word;
use super::network::{self, Network};
use super::parser::{ERROR_COUNT_MAX, Parser, Setting, Source};
use super::stream::{
    Affinity, Audio, BitDepth, Capture, CaptureBuffers, Compositor, Display, Encoder,
    EncoderFallback, Encryption, Gamepad, Input, Priority, Quality, SessionConflict,
};
use super::{
    App, Attempts, Conf, ControlSocket, Environment, GameStream, LogFormat, LogLevels, Origin,
    Pairing, Sources,
};

/// The app that there is when none is configured.
const DEFAULT_APP: &str = "Desktop";
/// Where GameStream's TCP ports lie, seen from GameStreamPort: HTTPS, HTTP, RTSP.
const TCP_OFFSETS: [i32; 3] = [-5, 0, 21];

/// Reads a configuration from `files`. The errors are in the order of files and lines, 100 at most.
pub fn load_from(sources: &Sources<'_>, files: &dyn Files) -> Result<Conf, Vec<Error>> {
    let mut parser = Parser::new(files);
    if let Some(file) = sources.file {
        parser.handle_file(file);
    }
    for (index, text) in sources.overrides.iter().enumerate() {
        parser.handle_override(index + 1, text);
    }
    let mut errors = std::mem::take(&mut parser.errors);
    let conf = Conf::new(&parser, sources.environment, &mut errors);
    if conf.strict_modes {
        let uid = sources.environment.uid;
        errors.extend(parser.sources.iter().filter_map(|source| check_mode(source, uid)));
    }
    if errors.is_empty() {
        conf.check(&parser, &mut errors);
    }
    errors.sort_by_key(Error::sort_key);
    errors.truncate(ERROR_COUNT_MAX);
    if errors.is_empty() { Ok(conf) } else { Err(errors) }
}

/// What StrictModes has against a file.
fn check_mode(source: &Source, uid: u32) -> Option<Error> {
    let is_safe_owner = source.uid == 0 || source.uid == uid;
    let what = match (is_safe_owner, source.mode & 0o022) {
        (true, 0) => return None,
        (true, _) => format!("mode {:04o} lets others change it: chmod go-w it", source.mode),
        (false, _) => format!("belongs to uid {}: chown it to yourself or root", source.uid),
    };
    let why = format!("{what}, or set StrictModes no");
    Some(Error::file(Arc::clone(&source.name), source.order, &why))
}

impl Conf {
    fn new(parser: &Parser<'_>, environment: &Environment, errors: &mut Vec<Error>) -> Conf {
        let mut conf = Conf::blank();
        let said = parser.settings.iter().zip(&parser.overrides);
        for (directive, (in_file, over)) in GLOBAL.iter().zip(said) {
            let settings = [in_file.as_ref(), over.as_ref()];
            let origin = directive.resolve(&mut conf, environment, &settings, errors);
            conf.origins.push(origin);
        }
        for section in &parser.sections {
            let mut app = App::blank();
            let mut origins = vec![Origin::of(&section.line)];
            for (directive, setting) in APP.iter().zip(&section.settings) {
                let settings = [setting.as_ref()];
                origins.push(directive.resolve(&mut app, environment, &settings, errors));
            }
            if let Some(title) = &section.title {
                app.title.clone_from(title);
                conf.apps.push(app);
                conf.app_origins.push(origins);
            }
        }
        if conf.apps.is_empty() {
            let mut app = App::blank();
            for directive in &APP {
                directive.resolve(&mut app, environment, &[], errors);
            }
            app.title = DEFAULT_APP.into();
            conf.apps.push(app);
            conf.app_origins.push(vec![Origin::Default; 1 + APP.len()]);
        }
        conf
    }

    /// A configuration before anybody, the table included, has said anything.
    fn blank() -> Conf {
        let root = PathBuf::from("/");
        Conf {
            host_name: String::new(),
            state_directory: root.clone(),
            runtime_directory: root.clone(),
            strict_modes: true,
            run_as: None,
            listen: Vec::new(),
            gamestream: GameStream::Off,
            gamestream_port: 0,
            allow_from: Vec::new(),
            deny_from: Vec::new(),
            connections_max: 0,
            login_grace: Duration::ZERO,
            mdns: false,
            mdns_interfaces: Vec::new(),
            pairing: Pairing::Off,
            pairing_window: Duration::ZERO,
            pairing_attempts: Attempts { count: 0, window: Duration::ZERO },
            default_grants: Grants::NONE,
            sessions_max: 0,
            session_conflict: SessionConflict::Refuse,
            idle_timeout: Duration::ZERO,
            linger_time: None,
            scale_percent: 0,
            capture: Capture::Auto,
            capture_buffers: CaptureBuffers::Auto,
            display: Display::Auto,
            compositor: Compositor::Auto,
            mode_max: Mode { width: 0, height: 0, refresh_mhz: 0 },
            fps_max: None,
            inhibit_sleep: false,
            inhibit_idle: false,
            encoder: Encoder::Auto,
            encoder_fallback: EncoderFallback::Refuse,
            codecs: None,
            bit_depth: BitDepth::Auto,
            bitrate_max_kbps: None,
            quality: Quality::Fastest,
            slices: None,
            idr_interval_min: Duration::ZERO,
            parity_percent: 0,
            pacing: false,
            pacing_spread_percent: 0,
            gso: false,
            socket_buffer_len: 0,
            dscp: false,
            encryption: Encryption::Required,
            legacy_control_crypto: false,
            audio: Audio::Off,
            audio_sink: None,
            input: Input::Auto,
            gamepad: Gamepad::Auto,
            gamepads_max: 0,
            prepare: Vec::new(),
            undo: Vec::new(),
            on_connect: Vec::new(),
            on_disconnect: Vec::new(),
            on_stream_start: Vec::new(),
            on_stream_end: Vec::new(),
            on_pair_request: Vec::new(),
            hook_timeout: Duration::ZERO,
            legacy_environment: false,
            control_socket: ControlSocket { path: root.clone(), mode: 0, group: None },
            http: None,
            http_token_file: root,
            log_levels: LogLevels { default: LevelFilter::Info, modules: Vec::new() },
            log_format: LogFormat::Auto,
            priority: Priority::Off,
            affinity: Affinity::Off,
            core_dumps: false,
            apps: Vec::new(),
            origins: Vec::new(),
            app_origins: Vec::new(),
        }
    }

    /// What directives must say of each other.
    fn check(&self, parser: &Parser<'_>, errors: &mut Vec<Error>) {
        let mut complain = |keyword: &str, what: String| {
            let index = GLOBAL.iter().position(|directive| directive.keyword == keyword);
            let of = |settings: &[Option<Setting>]| settings[index?].clone();
            errors.push(match of(&parser.overrides).or_else(|| of(&parser.settings)) {
                Some(setting) => setting.line.error(Complaint { column: setting.column, what }),
                None => Error::system(keyword, &what),
            });
        };
        if self.gamestream == GameStream::Lan {
            // Which IPv6 networks are near depends on where the machine is.
            let is_far = |it: &&Network| {
                it.is_ipv4() && !network::LOCAL.iter().any(|near| near.overlaps(it))
            };
            if let Some(far) = self.allow_from.iter().find(is_far) {
                let what = format!("AllowFrom {far} lets nobody in without GameStream on");
                complain("AllowFrom", what);
            }
        }
        if self.gamestream != GameStream::Off
            && let Some(address) = self.http
            && TCP_OFFSETS.contains(&(i32::from(address.port()) - i32::from(self.gamestream_port)))
        {
            let what = format!("port {} is one of GameStream's, write another", address.port());
            complain("Http", what);
        }
    }
}

impl App {
    /// An app before anybody, the table included, has said anything.
    fn blank() -> App {
        App {
            title: String::new(),
            command: Vec::new(),
            working_directory: None,
            environment: Vec::new(),
            prepare: Vec::new(),
            undo: Vec::new(),
            exit_timeout: Duration::ZERO,
            end_on_exit: false,
            image: None,
            hidden: false,
        }
    }
}

impl<T> Directive<T> {
    /// Sets what holds if nobody says anything, then what is said, the last of which stays: a line,
    /// or where there may be several, those of the command line if it has any. Returns where that
    /// comes from.
    fn resolve(
        &self,
        subject: &mut T,
        environment: &Environment,
        settings: &[Option<&Setting>],
        errors: &mut Vec<Error>,
    ) -> Origin {
        if self.repeats() {
            return self.resolve_repeated(subject, settings, errors);
        }
        let is_said = settings.iter().any(Option::is_some);
        let mut origin = match self.fall_back(subject, environment) {
            Ok(origin) => origin,
            Err(why) => {
                if !is_said {
                    errors.push(Error::system(self.keyword, &why));
                }
                Origin::Default
            }
        };
        for setting in settings.iter().copied().flatten() {
            if let Err(complaint) = (self.set)(subject, &setting.values) {
                errors.push(setting.line.error(complaint));
            }
            origin = Origin::of(&setting.line);
        }
        origin
    }

    fn resolve_repeated(
        &self,
        subject: &mut T,
        settings: &[Option<&Setting>],
        errors: &mut Vec<Error>,
    ) -> Origin {
        // None at all is the default of each.
        let Some(first) = settings.iter().copied().flatten().last() else {
            return Origin::Default;
        };
        let all = || std::iter::once(first).chain(&first.more);
        for setting in all() {
            if let Err(complaint) = (self.set)(subject, &setting.values) {
                errors.push(setting.line.error(complaint));
            }
        }
        Origin::Each(all().map(|setting| Origin::of(&setting.line)).collect())
    }

    fn fall_back(&self, subject: &mut T, environment: &Environment) -> Result<Origin, String> {
        let word = |text: &str| Word { text: text.to_owned(), column: 1 };
        let (words, origin) = match self.default {
            Fallback::Fixed(text) => (text.split(' ').map(word).collect(), Origin::Default),
            Fallback::Derived { words, make } => {
                let (text, origin) = make(environment, subject).map_err(|why| {
                    format!("not set, and its default is {words}: {why}, so set one of these")
                })?;
                (vec![word(&text)], origin)
            }
        };
        (self.set)(subject, &words).map_err(|complaint| complaint.what)?;
        Ok(origin)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::file::memory::Memory;
    use super::*;

    fn user() -> Environment {
        Environment {
            home: Some("/home/den".into()),
            xdg_runtime_dir: Some("/run/user/1000".into()),
            host_name: "den".into(),
            uid: 1000,
            ..Environment::default()
        }
    }

    fn load(
        files: &Memory,
        overrides: &[&str],
        environment: &Environment,
    ) -> Result<Conf, Vec<String>> {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        let file = Some(Path::new("/p.conf"));
        load_from(&Sources { file, overrides: &overrides, environment }, files)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    fn load_text(text: &str) -> Result<Conf, Vec<String>> {
        load(&Memory::with(&[("/p.conf", text)]), &[], &user())
    }

    #[test]
    fn an_empty_file_leaves_every_default() {
        let conf = load_text("").unwrap();

        assert_eq!(conf.host_name, "den");
        assert_eq!(conf.state_directory, Path::new("/home/den/.local/state/punktfunk"));
        assert_eq!(conf.runtime_directory, Path::new("/run/user/1000/punktfunk"));
        assert_eq!(conf.control_socket.path, Path::new("/run/user/1000/punktfunk/control"));
        assert_eq!((conf.control_socket.mode, conf.control_socket.group), (0o660, None));
        assert_eq!(conf.http_token_file, Path::new("/home/den/.local/state/punktfunk/http_token"));
        assert_eq!((conf.gamestream, conf.gamestream_port), (GameStream::Lan, 47_989));
        assert_eq!((conf.http, conf.core_dumps, conf.strict_modes), (None, false, true));
        assert_eq!(conf.pairing_attempts, Attempts { count: 5, window: Duration::from_secs(600) });
        let grants = "view keyboard mouse gamepad touch pen audio launch";
        assert_eq!(conf.default_grants.to_string(), grants);
        assert_eq!(conf.codecs, None);
        assert_eq!((conf.bitrate_max_kbps, conf.fps_max, conf.slices), (None, None, None));
        assert_eq!(conf.mode_max, Mode { width: 7680, height: 4320, refresh_mhz: 480_000 });
        assert_eq!((conf.parity_percent, conf.socket_buffer_len), (20, 32 << 20));
        assert_eq!((conf.audio_sink, conf.affinity), (None, Affinity::Auto));
        let desktop = App {
            title: "Desktop".into(),
            exit_timeout: Duration::from_secs(5),
            end_on_exit: true,
            ..App::blank()
        };
        assert_eq!(conf.apps, [desktop]);
        assert_eq!((conf.prepare, conf.hook_timeout), (Vec::new(), Duration::from_secs(10)));
    }

    #[test]
    fn lines_of_the_command_line_take_the_place_of_all_lines_of_files() {
        let text =
            "Prepare a b\nPrepare none\nUndo c\nApp A\nEnvironment A=1 B=\nEnvironment C=d=e";
        let files = Memory::with(&[("/p.conf", text)]);
        let words = |lines: &[Vec<String>]| lines.iter().map(|it| it.join(" ")).collect::<Vec<_>>();

        let conf = load(&files, &["Undo=d", "Undo=e f"], &user()).unwrap();

        assert_eq!(words(&conf.prepare), ["a b", ""]);
        assert_eq!(words(&conf.undo), ["d", "e f"]);
        let variables = conf.apps[0].environment.concat();
        let variables: Vec<_> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(variables, [("A", "1"), ("B", ""), ("C", "d=e")]);
        for word in ["A", "=b", "1A=b", "A-B=c", "none=", ""] {
            let text = format!("App A\nEnvironment A=b \"{word}\"");
            let errors = load_text(&text).err().unwrap_or_default();
            let expected = format!("/p.conf:2:17: '{word}' is not NAME=value, the name of letters");
            let is_wrong = errors.len() == 1 && errors[0].starts_with(&expected);
            assert_eq!(is_wrong, word != "none=", "{word} {errors:?}");
        }
    }

    #[test]
    fn folders_follow_the_service_manager_then_the_user() {
        let with = |change: fn(&mut Environment)| {
            let mut environment = user();
            change(&mut environment);
            environment
        };
        let table = [
            (with(|it| it.uid = 0), "/var/lib/punktfunk", "/run/punktfunk"),
            (
                with(|it| {
                    it.state_directory = Some("/srv/a:/srv/b".into());
                    it.runtime_directory = Some("/run/a/".into());
                }),
                "/srv/a",
                "/run/a",
            ),
            (
                with(|it| it.xdg_state_home = Some("/x".into())),
                "/x/punktfunk",
                "/run/user/1000/punktfunk",
            ),
            (
                with(|it| {
                    it.xdg_state_home = Some("relative".into());
                    it.state_directory = Some("also".into());
                }),
                "/home/den/.local/state/punktfunk",
                "/run/user/1000/punktfunk",
            ),
        ];
        for (environment, state, runtime) in table {
            let conf = load(&Memory::with(&[("/p.conf", "")]), &[], &environment).unwrap();
            assert_eq!(conf.state_directory, Path::new(state));
            assert_eq!(conf.runtime_directory, Path::new(runtime));
        }
    }

    #[test]
    fn a_folder_that_nobody_names_has_to_be_set() {
        let nowhere = Environment { uid: 1000, ..Environment::default() };
        let set = "StateDirectory /s\nRuntimeDirectory /r\n";

        let errors = load(&Memory::with(&[("/p.conf", "")]), &[], &nowhere).unwrap_err();
        let conf = load(&Memory::with(&[("/p.conf", set)]), &[], &nowhere).unwrap();

        assert_eq!(
            errors,
            [
                "StateDirectory: not set, and its default is $STATE_DIRECTORY; else \
                 /var/lib/punktfunk for root, $XDG_STATE_HOME/punktfunk or \
                 $HOME/.local/state/punktfunk for other users: the environment has a path from \
                 the root in none of these, so set one of these",
                "RuntimeDirectory: not set, and its default is $RUNTIME_DIRECTORY; else \
                 /run/punktfunk for root, $XDG_RUNTIME_DIR/punktfunk for other users: the \
                 environment has a path from the root in none of these, so set one of these",
            ]
        );
        assert_eq!(conf.host_name, "punktfunk");
        assert_eq!(conf.control_socket.path, Path::new("/r/control"));
    }

    #[test]
    fn a_bad_value_is_told_with_its_place_and_what_would_be_right() {
        let table = [
            ("GameStreamPort 99999", "1:16: '99999' is not a number from 6 to 65514"),
            ("GameStreamPort 5", "1:16: '5' is not a number from 6 to 65514"),
            ("GameStreamPort +47989", "1:16: '+47989' is not a number from 6 to 65514"),
            ("GameStream maybe", "1:12: 'maybe' is not one of lan, off, on"),
            ("StrictModes true", "1:13: 'true' is neither yes nor no"),
            ("MaxConnections 0", "1:16: '0' is not a number from 1 to 4096"),
            ("MaxConnections 1k", "1:16: '1k' is not a number from 1 to 4096"),
            ("LoginGraceTime 0s", "1:16: '0s' is not a time from 1s to 10m"),
            (
                "LoginGraceTime 10",
                "1:16: '10' has no unit, write a time from 1s to 10m, in ms, s, m or h",
            ),
            ("MaxSessions 65", "1:13: '65' is not a number from 1 to 64"),
            ("SessionConflict join", "1:17: 'join' is not one of refuse, separate, takeover"),
            ("IdleTimeout 1s", "1:13: '1s' is not a time from 2s to 5m"),
            (
                "LingerTime 2",
                "1:12: '2' has no unit, write a time from 0h to 24h, in ms, s, m or h",
            ),
            ("Scale 0.4", "1:7: '0.4' is not a number from 0.5 to 4, such as 1.25"),
            ("Scale 1.255", "1:7: '1.255' is not a number from 0.5 to 4, such as 1.25"),
            ("Scale +1", "1:7: '+1' is not a number from 0.5 to 4, such as 1.25"),
            ("LingerTime never", "1:12: 'never' is not a time from 0h to 24h"),
            ("Capture desktop", "1:9: 'desktop' is not one of auto, test"),
            ("CaptureBuffers gpu", "1:16: 'gpu' is not one of auto, dmabuf, shm"),
            ("Display DP-1", "1:9: 'DP-1' is not one of auto, mirror, private, virtual"),
            ("Display mirror", "1:9: 'mirror' is without the name of an output, such as DP-1"),
            ("Display mirror DP;1", "1:16: 'DP;1' is no output's name, such as DP-1"),
            ("Display virtual DP-1", "1:17: 'DP-1' is one too many, only mirror takes a name"),
            ("Compositor phoc", "1:12: 'phoc' is not one of auto, sway, wlroots"),
            ("MaxMode 4k", "1:9: '4k' is not a mode such as 3840x2160@120"),
            ("MaxFps 1001", "1:8: '1001' is not a number from 0 to 1000"),
            (
                "Encoder x264",
                "1:9: 'x264' is not one of auto, nvenc, software, v4l2, vaapi, vulkan",
            ),
            ("EncoderFallback no", "1:17: 'no' is not one of refuse, warn"),
            ("Codecs hevc h263", "1:13: unknown codec \"h263\", one of h264 hevc av1"),
            ("Codecs hevc hevc", "1:13: 'hevc' stands here twice"),
            ("Codecs", "1:1: Codecs without a value, write Codecs auto | codec ..."),
            ("BitDepth 12", "1:10: '12' is not one of 8, 10, auto"),
            (
                "MaxBitrate 20000",
                "1:12: '20000' has no unit, write 0 or a rate from 500k to 10G bits per second, \
                 in k, M or G",
            ),
            ("Quality fast", "1:9: 'fast' is not one of balanced, best, fastest"),
            ("Slices 17", "1:8: '17' is neither auto nor a number from 1 to 16"),
            ("IdrMinInterval 11s", "1:16: '11s' is not a time from 10ms to 10s"),
            ("Fec off", "1:5: 'off' is neither auto nor a number from 1 to 100"),
            ("Fec 0", "1:5: '0' is neither auto nor a number from 1 to 100"),
            ("Pacing 20M", "1:8: '20M' is not one of auto, off"),
            ("PacingSpread 0", "1:14: '0' is not a number from 1 to 100"),
            ("Gso on", "1:5: 'on' is not one of auto, off"),
            (
                "SocketBuffer 2Gi",
                "1:14: '2Gi' is not a size from 64Ki to 512Mi bytes, such as 32Mi",
            ),
            ("Dscp ef", "1:6: 'ef' is not one of auto, off"),
            ("Encryption on", "1:12: 'on' is not one of off, preferred, required"),
            ("LegacyControlCrypto 1", "1:21: '1' is neither yes nor no"),
            ("Audio host", "1:7: 'host' is not one of both, client, off"),
            ("AudioSink \"\"", "1:11: '' is no sink's name, 'pactl list short sinks' shows them"),
            ("Input evdev", "1:7: 'evdev' is not one of auto, compositor, uinput"),
            ("Gamepad xbox", "1:9: 'xbox' is not one of auto, ds4, switch, x360, xone"),
            ("MaxGamepads 0", "1:13: '0' is not a number from 1 to 16"),
            (
                "DefaultGrants view fly",
                "1:20: unknown grant \"fly\", one of view keyboard mouse gamepad touch pen audio \
                 launch",
            ),
            ("DefaultGrants pen pen", "1:19: grant \"pen\" stands there twice"),
            ("Priority high", "1:10: 'high' is not one of auto, off, realtime"),
            (
                "Affinity 3-1",
                "1:10: '3-1' is not auto, off or a list of processors from 0 to 1023, such as \
                 2,4-7",
            ),
            ("Encoders vaapi", "1:1: unknown keyword 'Encoders', did you mean Encoder?"),
            ("PairingWindow 2d", "1:15: '2d' is not a time from 10s to 1h"),
            (
                "MaxPairingAttempts 5",
                "1:20: '5' is not a number from 1 to 1000, a slash and a time from 1s to 24h, \
                 such as 5/10m",
            ),
            (
                "StateDirectory var",
                "1:16: 'var' is not a path from the root, which begins with '/'",
            ),
            ("HostName \"\"", "1:10: '' is no name"),
            ("RunAs a:b", "1:7: 'a:b' is no user's name"),
            (
                "AllowFrom 192.168.1.5/24",
                "1:11: '192.168.1.5/24' has bits after its prefix, write 192.168.1.0/24",
            ),
            (
                "DenyFrom none 10.0.0.0/8",
                "1:10: 'none' is not a network such as 192.168.1.0/24 or fd00::/8",
            ),
            ("MdnsInterface eth0 a/b", "1:20: 'a/b' is no interface's name such as eth0"),
            (
                "Http 0.0.0.0:47990",
                "1:6: '0.0.0.0:47990' is not on this machine alone, and there is no TLS: write \
                 127.0.0.1 or [::1]",
            ),
            ("Http 127.0.0.1:47984", "1:1: port 47984 is one of GameStream's, write another"),
            (
                "AllowFrom local 100.64.0.0/10",
                "1:1: AllowFrom 100.64.0.0/10 lets nobody in without GameStream on",
            ),
            (
                "App A\nImage a.png",
                "2:7: 'a.png' is not a path from the root, which begins with '/'",
            ),
        ];
        for (text, expected) in table {
            let errors = load_text(text).unwrap_err();
            assert_eq!(errors, [format!("/p.conf:{expected}")], "{text}");
        }
    }

    #[test]
    fn all_errors_are_told_in_the_order_of_files_and_lines() {
        let files = Memory::with(&[
            ("/p.conf", "CoreDumps 1\nInclude a\nProt\nHostName \"\"\nApp A\nHidden 1"),
            ("/a", "Mdns 1"),
        ]);

        let errors = load(&files, &["Pairing=1", "Http"], &user()).unwrap_err();

        assert_eq!(
            errors,
            [
                "/p.conf:1:11: '1' is neither yes nor no",
                "/p.conf:3:1: unknown keyword 'Prot', see punktfunk.conf(5)",
                "/p.conf:4:10: '' is no name",
                "/p.conf:6:8: '1' is neither yes nor no",
                "/a:1:6: '1' is neither yes nor no",
                "-o:1:9: '1' is not one of arm, off",
                "-o:2:1: Http without a value, write Http off | address:port",
            ]
        );
    }

    #[test]
    fn the_command_line_holds_over_files_which_must_still_be_right() {
        let files = Memory::with(&[("/p.conf", "Mdns yes\nPairing x")]);

        let conf = load(&Memory::with(&[("/p.conf", "Mdns yes")]), &["Mdns=no"], &user()).unwrap();
        let errors = load(&files, &["Pairing=off"], &user()).unwrap_err();

        assert!(!conf.mdns);
        assert_eq!(errors, ["/p.conf:2:9: 'x' is not one of arm, off"]);
    }

    #[test]
    fn a_file_that_others_could_change_is_refused() {
        let table = [
            (0, 0o644, "", ""),
            (1000, 0o600, "", ""),
            (
                1000,
                0o664,
                "",
                "/p.conf: mode 0664 lets others change it: chmod go-w it, or set StrictModes no",
            ),
            (
                0,
                0o646,
                "",
                "/p.conf: mode 0646 lets others change it: chmod go-w it, or set StrictModes no",
            ),
            (
                1001,
                0o600,
                "",
                "/p.conf: belongs to uid 1001: chown it to yourself or root, or set StrictModes no",
            ),
            (1001, 0o666, "StrictModes no", ""),
        ];
        for (uid, mode, text, expected) in table {
            let mut files = Memory::default();
            let content = files.add("/p.conf", text.as_bytes());
            (content.uid, content.mode) = (uid, mode);
            let errors = load(&files, &[], &user()).err().unwrap_or_default();
            assert_eq!(errors.join("\n"), expected);
        }
    }
}
