//! punktfunkd: arguments, configuration, privileges, files, sockets; then the loop.

#![deny(unsafe_code)]

mod apps;
mod arguments;
mod audio;
mod capability;
mod capture;
mod child;
mod code;
mod conf;
mod convert;
mod daemon;
mod display;
mod doctor;
mod encode;
mod errand;
mod grants;
mod hooks;
mod identity;
mod inhibit;
mod inject;
mod ipc;
mod ledger;
mod listen;
mod log;
mod notify;
mod pairing;
mod peer;
mod picture;
mod pipeline;
mod privileges;
mod quota;
mod reactor;
mod session;
mod state;
mod trust;
mod turn;

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use std::{fs, io, panic};

use ::log::LevelFilter;
use arguments::Arguments;
use audio::journal::Journal;
use audio::pactl::Server;
use audio::sink::Sinks;
use code::Code;
use conf::{Conf, Environment, LogFormat, LogLevels, Sources};
use daemon::Daemon;
use display::Displays;
use encode::abilities::Backend;
use encode::{Plugins, library, probe, prober};
use grants::Grants;
use identity::Identity;
use listen::mdns::Mdns;
use listen::media::Ports;
use listen::mgmt::token;
use notify::Notify;
use pipeline::Services;
use punktfunk_core::net::process::{self, Signals};
use punktfunk_core::net::{clock, tls};
use reactor::{Parts, Reactor};
use state::Directory;
use trust::Trust;

/// Where the administrator's configuration lies.
const SYSTEM_CONF: &str = "/etc/punktfunk.conf";
/// The file of this program.
const SELF: &str = "/proc/self/exe";

/// Why the daemon ends. The numbers are those of punktfunkd(8).
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
enum Exit {
    Done = 0,
    Conf = 1,
    Usage = 2,
    Bind = 3,
    State = 4,
    Running = 6,
    Fault = 70,
}

/// An end with its reason, which has not been told yet.
struct Failure(Exit, String);

impl Exit {
    fn because(self, why: impl Display) -> Failure {
        Failure(self, why.to_string())
    }

    /// What `punktfunkctl doctor` says of the same.
    fn code(self) -> Option<Code> {
        match self {
            Exit::Bind => Some(Code::Ports),
            Exit::Conf => Some(Code::Configuration),
            Exit::Running => Some(Code::Daemon),
            Exit::State => Some(Code::State),
            Exit::Done | Exit::Fault | Exit::Usage => None,
        }
    }
}

/// What is taken from the environment, once.
struct Surroundings {
    conf: Environment,
    has_journal: bool,
    notify_socket: Option<OsString>,
    watchdog_us: Option<OsString>,
    watchdog_pid: Option<OsString>,
    sound_server: Server,
    /// All of it, for children that need some of it.
    variables: Vec<(OsString, OsString)>,
}

fn main() -> ExitCode {
    end_with_panics();
    process::limit_arenas();
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(exit) if exit.is_help => return end(print(&format!("{}\n", exit.output))),
        Err(exit) => return end(Err(Exit::Usage.because(exit.output))),
    };
    if arguments.version {
        return end(print(&format!("{}\n", capability::version())));
    }
    if let Some(ports) = &arguments.examine_firewall {
        return end(examine_firewall(ports));
    }
    if let Some(plugin) = &arguments.probe_encoders {
        probe_encoders(plugin, arguments.probe_backend)
    }
    let surroundings = Surroundings::read();
    match run(&arguments, &surroundings) {
        Ok(()) => ExitCode::from(Exit::Done as u8),
        Err(Failure(exit, why)) => {
            match exit.code() {
                _ if why.is_empty() => {}
                Some(code) => ::log::error!("{why} [{code}]"),
                None => ::log::error!("{why}"),
            }
            ExitCode::from(exit as u8)
        }
    }
}

/// A child of punktfunkctl that root has started, which looks whether clients get through.
fn examine_firewall(ports: &str) -> Result<(), Failure> {
    let found = doctor::examine_as_root(ports);
    let found = found.ok_or_else(|| Exit::Usage.because("ports are as in tcp/47989,udp/47998"))?;
    print(&format!("{found}\n"))
}

/// A child of the daemon, which asks what can be encoded; see `encode::probe`.
fn probe_encoders(plugin: &str, backend: Option<Backend>) -> ! {
    process::close_inherited();
    if let Err(error) = process::become_expendable() {
        let _ = end(Err(Exit::Fault.because(error)));
        process::exit_now(Exit::Fault as i32);
    }
    let answer = encode::probe::answer(Path::new(plugin), backend);
    // On a line of its own, whatever a driver has written.
    let status = match print(&format!("\n{answer}\n")) {
        Ok(()) => Exit::Done,
        Err(Failure(exit, _)) => exit,
    };
    // Drivers that crash when they are unloaded do it here, where nobody would hear the answer.
    process::exit_now(status as i32)
}

/// The end of a run that began no log.
fn end(result: Result<(), Failure>) -> ExitCode {
    let Err(Failure(exit, why)) = result else {
        return ExitCode::from(Exit::Done as u8);
    };
    // Nobody is left to tell when standard error fails.
    let _ = writeln!(io::stderr(), "punktfunkd: {why}");
    ExitCode::from(exit as u8)
}

/// Writes what was asked for to standard output.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    printed.map_err(|error| Exit::Conf.because(format!("standard output: {error}")))
}

fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<(), Failure> {
    let verbosity = Verbosity::of(arguments);
    let file = conf_file(arguments, &surroundings.conf);
    // Until the configuration says how, problems are logged as this place suits.
    let format = log::resolve(LogFormat::Auto, surroundings.has_journal);
    log::start(LogLevels { default: LevelFilter::Info, modules: Vec::new() }, format);

    let load = {
        let (environment, overrides) = (surroundings.conf.clone(), arguments.option.clone());
        move || {
            conf::load(&Sources {
                file: file.as_deref(),
                overrides: &overrides,
                environment: &environment,
            })
        }
    };
    if arguments.doctor {
        return examine(surroundings, Arc::new(load));
    }
    let conf = load().map_err(|errors| {
        let prefix = if surroundings.has_journal { "<3>" } else { "" };
        for error in &errors {
            let _ = writeln!(io::stderr(), "{prefix}{error}");
        }
        Exit::Conf.because("")
    })?;
    if arguments.effective {
        return print(&conf.print());
    }
    if arguments.test {
        control_group(&conf)?;
        return privileges::run_as(&conf).map(drop);
    }
    if arguments.no_network {
        return print(&capability::report(&conf, &surroundings.conf));
    }

    let has_journal = surroundings.has_journal;
    let configure_log = move |conf: &Conf| {
        let format = log::resolve(conf.log_format, has_journal);
        log::configure(verbosity.over(&conf.log_levels), format);
    };
    configure_log(&conf);
    privileges::take_off(&conf)?;
    let signals = Signals::open().map_err(|error| Exit::Fault.because(error))?;
    let reactor = prepare(conf, surroundings, signals, Arc::new(load), Box::new(configure_log))?;
    reactor.run().map_err(|error| Exit::Fault.because(format!("loop: {error}")))
}

/// What keeps a daemon from starting, for punktfunkctl, which does not reach one.
fn examine(surroundings: &Surroundings, load: doctor::Load) -> Result<(), Failure> {
    // With errors in the configuration, the rest is looked at as if there were none.
    let defaults =
        || conf::load(&Sources { file: None, overrides: &[], environment: &surroundings.conf });
    let report = match load().map_err(|errors| (errors, defaults())) {
        Ok(conf) | Err((_, Ok(conf))) => {
            let variables = surroundings.variables.clone();
            let subject = doctor::Subject { conf: conf.clone(), load, variables, running: None };
            doctor::report(&doctor::examine(subject), Some(&conf))
        }
        Err((errors, Err(_))) => doctor::report(&[doctor::mistakes(&errors)], None),
    };
    print(&format!("{report}\n"))
}

/// Opens files and binds sockets: everything that can fail before the daemon says it is ready.
fn prepare(
    conf: Conf,
    surroundings: &Surroundings,
    signals: Signals,
    load: Arc<dyn Fn() -> Result<Conf, Vec<conf::Error>> + Send + Sync>,
    configure_log: Box<dyn Fn(&Conf)>,
) -> Result<Reactor, Failure> {
    let directory = Directory::open(&conf.state_directory, conf.strict_modes)
        .map_err(|error| Exit::State.because(error))?;
    let lock = directory.lock().map_err(|error| match error {
        state::Error::Locked { .. } => Exit::Running.because(error),
        error => Exit::State.because(error),
    })?;
    let identity = open_identity(&directory)?;
    let trust =
        read_trust(&directory, conf.default_grants).map_err(|why| Exit::State.because(why))?;
    let token = match conf.http {
        Some(_) => {
            Some(token::open(&conf.http_token_file).map_err(|why| Exit::State.because(why))?)
        }
        None => None,
    };
    let engine_path =
        open_runtime_directory(&conf.runtime_directory).map_err(|why| Exit::State.because(why))?;
    let group = control_group(&conf)?;
    let doors = listen::open(&conf, group).map_err(|error| {
        let is_second = error.is_control && error.source.kind() == io::ErrorKind::AddrInUse;
        if is_second { Exit::Running.because(error) } else { Exit::Bind.because(error) }
    })?;
    let descriptor_count =
        process::raise_descriptor_limit().map_err(|error| Exit::Fault.because(error))?;
    let tls = tls::server_config(&identity.certificate, &identity.key_pkcs8)
        .map_err(|error| Exit::State.because(error))?;
    for door in &doors {
        ::log::info!("{}: listening on {}", door.plane, door.address);
    }
    if conf.priority == conf::Priority::Realtime
        && let Err(error) = process::lock_memory()
    {
        let code = Code::RealTime;
        ::log::warn!("memory: not locked, for all that Priority says: {error} [{code}]");
    }
    if let Some(fault) = doctor::clock_fault(clock::unix_s()) {
        ::log::warn!("clock: {fault} [{}]", Code::Clock);
    }
    let now = clock::now();
    let ports = open_ports(&conf, now)?;
    for (name, address) in ports.iter().flat_map(Ports::addresses) {
        ::log::info!("{name}: listening on {address}, UDP");
    }
    let host_label = format!("punktfunk-{}", identity.label());
    let open_mdns =
        move |conf: &Conf, bound: &[IpAddr], now: Instant| open_mdns(conf, &host_label, bound, now);
    // Without /proc there are no names of programs either, and no plug-in beside this one.
    let program = fs::read_link(SELF).unwrap_or_default();
    let directory = Arc::new(directory);
    let abilities = prober::load(&directory);
    let xdg_runtime = runtime_directory_of_user(surroundings);
    let displays = open_displays(surroundings, &engine_path, &xdg_runtime, &directory)?;
    let sound_server =
        Server { runtime_directory: Some(xdg_runtime), ..surroundings.sound_server.clone() };
    let sinks = Sinks::new(sound_server.clone(), Journal::new(Arc::clone(&directory)));
    let bound: Vec<IpAddr> = doors.iter().filter_map(listen::Door::announced_ip).collect();
    let parts = Parts {
        mdns: open_mdns(&conf, &bound, now),
        daemon: Daemon::new(conf, identity, trust, abilities, Arc::clone(&displays), now),
        services: Services {
            displays,
            plugins: Arc::new(Plugins::new(library::candidates(&program))),
            sinks: Arc::new(Mutex::new(sinks)),
        },
        doors,
        ports,
        prober: probe::Program::new(SELF, surroundings.variables.iter().cloned()),
        sound_server,
        variables: surroundings.variables.clone(),
        descriptor_count,
        directory,
        tls,
        token,
        signals,
        notify: open_notify(surroundings),
        engine_path,
        load,
        open_mdns: Box::new(open_mdns),
        configure_log,
        _lock: lock,
    };
    Reactor::new(parts).map_err(|error| Exit::Fault.because(format!("loop: {error}")))
}

/// Where the desktop and the sound server of the user have their sockets. A daemon that is up before
/// its user logs in has none yet, so this need not be there; under RunAs, what the environment names
/// is that of root.
fn runtime_directory_of_user(surroundings: &Surroundings) -> PathBuf {
    let is_ours = |path: &PathBuf| fs::metadata(path).is_ok_and(|it| it.uid() == process::uid());
    let named = surroundings.sound_server.runtime_directory.clone().filter(is_ours);
    named.unwrap_or_else(|| format!("/run/user/{}", process::uid()).into())
}

/// What displays of sessions need, and what is left of those before.
fn open_displays(
    surroundings: &Surroundings,
    engine_path: &Path,
    xdg_runtime: &Path,
    directory: &Arc<Directory>,
) -> Result<Arc<Displays>, Failure> {
    let journal = display::journal::Journal::open(Arc::clone(directory))
        .map_err(|error| Exit::State.because(error))?;
    // Under RunAs the environment is that of root.
    let user = process::user_by_uid(process::uid()).ok().flatten();
    let home = user.map(|user| PathBuf::from(user.home));
    let around = display::Surroundings {
        runtime: engine_path.parent().unwrap_or(Path::new("/")).to_owned(),
        xdg_runtime: xdg_runtime.to_owned(),
        home: home.or(surroundings.sound_server.home.clone()).unwrap_or_else(|| "/".into()),
        variables: surroundings.variables.clone(),
    };
    Ok(Arc::new(Displays::new(around, journal)))
}

/// The UDP ports of sessions, unless GameStream is off.
fn open_ports(conf: &Conf, now: Instant) -> Result<Option<Ports>, Failure> {
    if conf.gamestream == conf::GameStream::Off {
        return Ok(None);
    }
    let (port, buffer_len) = (conf.gamestream_port, conf.socket_buffer_len);
    let ports = Ports::open(&conf.listen, port, buffer_len, conf.idle_timeout, now);
    ports.map(Some).map_err(|error| Exit::Bind.because(error))
}

fn open_identity(directory: &Directory) -> Result<Identity, Failure> {
    let opened = Identity::open(directory).map_err(|error| Exit::State.because(error));
    let (identity, made) = opened?;
    for (is_made, what) in
        [(made.host_id, "host id"), (made.key, "key"), (made.certificate, "certificate")]
    {
        if is_made {
            ::log::info!("identity: new {what} in {}", directory.path().display());
        }
    }
    Ok(identity)
}

/// A service manager that is not reached is no reason not to start.
fn open_notify(surroundings: &Surroundings) -> Notify {
    let opened = Notify::open(
        surroundings.notify_socket.as_deref(),
        surroundings.watchdog_us.as_deref(),
        surroundings.watchdog_pid.as_deref(),
        std::process::id(),
    );
    opened.unwrap_or_else(|error| {
        ::log::warn!("service manager: not reached: {error}");
        Notify::default()
    })
}

/// Whom the control socket is for.
fn control_group(conf: &Conf) -> Result<Option<u32>, Failure> {
    listen::control_group(&conf.control_socket).map_err(|why| Exit::Conf.because(why))
}

/// The file named by `-c`; else the administrator's, else the user's, whichever is there.
fn conf_file(arguments: &Arguments, environment: &Environment) -> Option<PathBuf> {
    if let Some(file) = &arguments.conf {
        return Some(PathBuf::from(file));
    }
    let candidates = [Some(PathBuf::from(SYSTEM_CONF)), environment.user_conf()];
    candidates.into_iter().flatten().find(|path| path.exists())
}

/// Makes the runtime directory, and in it one that only this user can enter, where the engine of
/// the management API listens. Returns that path.
fn open_runtime_directory(path: &Path) -> Result<PathBuf, String> {
    let fail =
        |path: &Path, error: &dyn Display| format!("runtime directory {}: {error}", path.display());
    let make = |path: &Path, mode| match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(fail(path, &error)),
        _ => Ok(()),
    };
    make(path, 0o755)?;
    let private = path.join("private");
    make(&private, 0o700)?;
    let writes = "must be a directory that this user owns and nobody else can write to";
    let enters = "must be a directory that this user owns and nobody else can enter";
    for (path, others, what) in [(path, 0o022, writes), (&private, 0o077, enters)] {
        let metadata = fs::symlink_metadata(path).map_err(|error| fail(path, &error))?;
        let mode = metadata.permissions().mode();
        if !metadata.is_dir() || metadata.uid() != process::uid() || mode & others != 0 {
            return Err(fail(path, &what));
        }
    }
    Ok(private.join("engine"))
}

fn read_trust(directory: &Directory, default_grants: Grants) -> Result<Trust, String> {
    let read = directory.read(trust::FILE, trust::FILE_LEN_MAX);
    match read.map_err(|error| error.to_string())? {
        None => Ok(Trust::default()),
        Some(bytes) => Trust::parse(&bytes, default_grants)
            .map_err(|error| format!("{}: {error}", directory.path().display())),
    }
}

fn open_mdns(conf: &Conf, host_label: &str, bound: &[IpAddr], now: Instant) -> Option<Mdns> {
    if !conf.mdns || bound.is_empty() {
        ::log::info!("mdns: off");
        return None;
    }
    let instance = listen::mdns::instance_name(&conf.host_name);
    let kinds = vec![("_nvstream._tcp".to_owned(), conf.gamestream_port)];
    let bound = bound.to_vec();
    match Mdns::open(&instance, host_label, kinds, bound, &conf.mdns_interfaces, now) {
        Ok(mdns) => {
            match mdns.interfaces().as_slice() {
                [] => {
                    let code = Code::Mdns;
                    ::log::warn!("mdns: no interface to announce {instance:?} on yet [{code}]");
                }
                names => ::log::info!("mdns: announcing {instance:?} on {}", names.join(", ")),
            }
            Some(mdns)
        }
        Err(error) => {
            ::log::warn!("mdns: off: {error} [{}]", Code::Mdns);
            None
        }
    }
}

/// Log levels that the command line asks for.
#[derive(Clone, Copy)]
enum Verbosity {
    AsConfigured,
    Debug,
    Quiet,
    Trace,
}

impl Verbosity {
    fn of(arguments: &Arguments) -> Verbosity {
        match (arguments.quiet, arguments.debug) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::AsConfigured,
            (false, 1) => Verbosity::Debug,
            (false, _) => Verbosity::Trace,
        }
    }

    fn over(self, levels: &LogLevels) -> LogLevels {
        let only = |default| LogLevels { default, modules: Vec::new() };
        match self {
            Verbosity::AsConfigured => levels.clone(),
            Verbosity::Debug => only(LevelFilter::Debug),
            Verbosity::Quiet => only(LevelFilter::Error),
            Verbosity::Trace => only(LevelFilter::Trace),
        }
    }
}

impl Surroundings {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn read() -> Surroundings {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let uid = process::uid();
        Surroundings {
            conf: Environment {
                home: var("HOME"),
                xdg_config_home: var("XDG_CONFIG_HOME"),
                xdg_state_home: var("XDG_STATE_HOME"),
                xdg_runtime_dir: var("XDG_RUNTIME_DIR"),
                state_directory: var("STATE_DIRECTORY"),
                runtime_directory: var("RUNTIME_DIRECTORY"),
                host_name: host_name(),
                uid,
            },
            has_journal: var("JOURNAL_STREAM").is_some_and(|stream| is_stderr(&stream)),
            notify_socket: var("NOTIFY_SOCKET"),
            watchdog_us: var("WATCHDOG_USEC"),
            watchdog_pid: var("WATCHDOG_PID"),
            sound_server: Server {
                address: var("PULSE_SERVER").and_then(|address| address.into_string().ok()),
                runtime_directory: var("XDG_RUNTIME_DIR").map(PathBuf::from),
                home: var("HOME").map(PathBuf::from),
            },
            variables: std::env::vars_os().collect(),
        }
    }
}

/// Whether standard error is the stream with these numbers of device and inode. A program that was
/// started below a service may have its variable without its standard error.
fn is_stderr(stream: &OsStr) -> bool {
    let stderr = fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|it| stream == format!("{}:{}", it.dev(), it.ino()).as_str())
}

/// The name of this machine, as the kernel has it.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// No thread outlives another's panic: the process says why and ends.
fn end_with_panics() {
    panic::set_hook(Box::new(|panic| {
        ::log::error!("fault: {panic}");
        process::exit_now(Exit::Fault as i32);
    }));
}
