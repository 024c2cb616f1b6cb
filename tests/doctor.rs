//! punktfunkctl doctor: the real daemon, with what it needs and without, and no daemon at all.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "gamestream/peer.rs"]
mod peer;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use support::device::Device;
use support::phoc::Phoc;
use support::sway::Sway;
use support::{
    Daemon, Folder, USER, attribute, command, eventually, free_port, is_root, need_encoders,
    output, paired_folder, program, tool, write_conf,
};

/// What a client says when it launches an app.
const KEYS: &str = "rikey=000102030405060708090a0b0c0d0e0f&rikeyid=-1";

const MANUAL: &str = include_str!("../man/punktfunkctl.8");

/// A sound server, which has a sink that is nowhere.
struct Sound {
    server: Child,
    address: String,
}

impl Sound {
    fn start(folder: &Folder) -> Sound {
        tool("pulseaudio");
        let home = folder.folder("pulse", 0o700);
        let socket = home.join("native");
        let mut server = command("pulseaudio");
        server.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]);
        server.arg("--load=module-null-sink sink_name=nowhere");
        let module = "module-native-protocol-unix auth-anonymous=1";
        server.arg(format!("--load={module} socket={}", socket.display()));
        server.envs([("HOME", &home), ("XDG_RUNTIME_DIR", &home)]);
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = server.spawn().unwrap();
        eventually("the sound server listens", || socket.exists().then_some(()));
        Sound { server, address: format!("unix:{}", socket.display()) }
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A network that nobody else is in: a cable with both ends here, one of which has an address.
struct Net {
    holder: Child,
}

impl Net {
    fn new() -> Net {
        for name in ["unshare", "nsenter", "setpriv", "ip", "nft"] {
            tool(name);
        }
        let mut holder = Command::new("unshare");
        if !is_root() {
            holder.args(["--user", "--map-root-user"]);
        }
        holder.args(["--net", "sh", "-c", "echo; exec sleep infinity"]);
        holder.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = holder.spawn().unwrap();
        // It is where it should be when it says so.
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let net = Net { holder };
        net.run(
            "ip link set lo up && ip link add eth0 type veth peer name far0 && \
             ip link set far0 addrgenmode none && \
             ip link set eth0 addrgenmode none && ip address add 192.0.2.1/24 dev eth0 && ip link set far0 up && ip link set eth0 up",
        );
        net
    }

    /// A program there, by root.
    fn enter(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("-t").arg(self.holder.id().to_string()).arg("-n").current_dir("/");
        if !is_root() {
            command.args(["-U", "--preserve-credentials"]);
        }
        command.arg("--").arg(program);
        command
    }

    /// A program there, by the daemon's user.
    fn enter_as_user(&self) -> Command {
        let user = USER.to_string();
        if is_root() {
            let mut command = self.enter("setpriv");
            command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]);
            return command;
        }
        let mut command = self.enter("unshare");
        command.args(["--user", "--map-user", &user, "--map-group", &user, "--"]);
        command
    }

    #[track_caller]
    fn run(&self, script: &str) {
        let ran = output(self.enter("sh").args(["-ec", script]));
        assert!(ran.status.success(), "{script}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    /// The daemon there, with this more in its environment.
    fn daemon(&self, folder: Folder, lines: &str, variables: &[(&str, &str)]) -> Daemon {
        let daemon = Daemon::begin(folder, free_port(), lines, |command| {
            let mut there = self.enter_as_user();
            there.arg(command.get_program()).args(command.get_args()).env_clear();
            for (name, value) in command.get_envs() {
                there.env(name, value.unwrap_or_default());
            }
            there.envs(variables.iter().copied());
            let log = fs::File::options().append(true).open(log_beside(command)).unwrap();
            there.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            *command = there;
        });
        daemon.wait_ready();
        daemon
    }

    /// What punktfunkctl doctor finds there, run by root.
    fn doctor(&self, socket: &Path, words: &[&str]) -> Doctor {
        let mut ctl = self.enter(program("punktfunkctl"));
        Doctor::of(&output(ctl.arg("-s").arg(socket).args(["--json", "doctor"]).args(words)))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The log of a daemon beside its configuration.
fn log_beside(command: &Command) -> PathBuf {
    let conf = command.get_args().find(|word| word.to_string_lossy().ends_with(".conf"));
    Path::new(conf.expect("-c and a file")).with_file_name("log")
}

/// What punktfunkctl doctor has found.
#[derive(Debug)]
struct Doctor {
    status: i32,
    data: Value,
}

impl Doctor {
    #[track_caller]
    fn of(output: &Output) -> Doctor {
        let value: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!((&value["version"], &value["ok"]), (&json!(1), &json!(true)), "{value}");
        Doctor { status: output.status.code().unwrap(), data: value["data"].clone() }
    }

    fn ask(daemon: &Daemon) -> Doctor {
        Doctor::of(&daemon.ctl(&["--json", "doctor"]))
    }

    fn findings(&self) -> &[Value] {
        self.data["findings"].as_array().unwrap()
    }

    #[track_caller]
    fn finding(&self, code: &str) -> &Value {
        let found = self.findings().iter().find(|finding| finding["code"] == code);
        found.unwrap_or_else(|| panic!("no {code} in {self:?}"))
    }

    /// What is found, if that is its state.
    #[track_caller]
    fn what(&self, code: &str, state: &str) -> &str {
        let finding = self.finding(code);
        assert_eq!(finding["state"], state, "{finding}");
        finding["what"].as_str().unwrap()
    }

    #[track_caller]
    fn remedy(&self, code: &str) -> &str {
        let finding = self.finding(code);
        finding["remedy"].as_str().unwrap_or_else(|| panic!("no remedy in {finding}"))
    }

    fn codes(&self) -> Vec<&str> {
        self.findings().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
    }
}

/// A daemon with these lines and this more in its environment.
fn start(folder: Folder, lines: &str, variables: &[(&str, &str)]) -> Daemon {
    let daemon = Daemon::begin(folder, free_port(), lines, |command| {
        command.envs(variables.iter().copied());
    });
    daemon.wait_ready();
    daemon
}

#[test]
fn a_daemon_that_has_what_it_needs_is_told_so() {
    need_encoders();
    let sway = Sway::start("800x600@60Hz");
    let folder = Folder::with_identity();
    let sound = Sound::start(&folder);
    let runtime = sway.socket().parent().unwrap().display().to_string();
    let variables = [("XDG_RUNTIME_DIR", runtime.as_str()), ("PULSE_SERVER", &sound.address)];
    let net = Net::new();
    let daemon = net.daemon(folder, "", &variables);
    daemon.wait_log("encoders: h264: ");

    let doctor = Doctor::ask(&daemon);
    let text = daemon.ctl(&["doctor"]);

    assert_eq!((doctor.status, &doctor.data["broken_count"]), (0, &json!(0)), "{doctor:?}");
    let well = ["PF-G01", "PF-C01", "PF-K01", "PF-K02", "PF-I01", "PF-N01", "PF-P01", "PF-T01"];
    for code in well {
        doctor.what(code, "well");
    }
    let display = doctor.what("PF-D01", "well");
    assert!(display.contains(&format!("(pid {}) runs", sway.pid())), "{display}");
    assert!(doctor.what("PF-E01", "well").contains("h264 by "), "{doctor:?}");
    assert_eq!(doctor.what("PF-S01", "well"), "pulseaudio answers");
    assert_eq!(doctor.what("PF-N01", "well"), "eth0 192.0.2.1");
    let ports = doctor.what("PF-P01", "well");
    assert!(ports.contains(&format!("http [::]:{}", daemon.port)), "{ports}");
    // Rules are for root, which neither the daemon nor whoever asks here is.
    doctor.what("PF-F01", "note");
    doctor.what("PF-M01", "note");
    for code in doctor.codes() {
        assert!(MANUAL.contains(&format!("\n.It Ql {code}\n")), "{code}");
    }
    let text = String::from_utf8(text.stdout).unwrap();
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("ok    PF-G01  daemon     punktfunkd "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(!text.contains("FAIL"), "{text}");
}

#[test]
fn what_is_missing_is_named_with_the_one_thing_to_do() {
    need_encoders();
    let folder = Folder::with_identity();
    let nowhere = folder.path().join("bin").display().to_string();
    let variables = [("PATH", nowhere.as_str()), ("PULSE_SERVER", "unix:/nowhere/native")];
    let daemon = start(folder, "", &variables);

    let doctor = Doctor::ask(&daemon);
    let text = daemon.ctl(&["doctor"]);

    assert_eq!(doctor.status, 1, "{doctor:?}");
    assert_eq!(doctor.what("PF-D01", "broken"), "no sway in PATH");
    assert_eq!(doctor.remedy("PF-D01"), "install the package sway");
    let programs = doctor.what("PF-D02", "note");
    assert!(programs.starts_with("no foot, no swaybg, no Xwayland: "), "{programs}");
    let sound = doctor.what("PF-S01", "broken");
    assert!(sound.starts_with("no sound server answers (pactl info: "), "{sound}");
    assert_eq!(doctor.remedy("PF-S01"), "start pipewire-pulse or pulseaudio as this user");
    assert_eq!(text.status.code(), Some(1), "{text:?}");
    let text = String::from_utf8(text.stdout).unwrap();
    let line = "FAIL  PF-D01  display    no sway in PATH: install the package sway";
    assert!(text.lines().any(|other| other == line), "{text}");

    daemon.configure("Display virtual\nNonsense yes");
    let doctor = Doctor::ask(&daemon);

    // What is on the disk is wrong, and does not hold.
    let wrong = doctor.what("PF-C01", "broken");
    assert!(wrong.contains("punktfunk.conf:") && wrong.contains("Nonsense"), "{wrong}");
    doctor.what("PF-D01", "broken");
}

#[test]
fn a_desktop_that_lends_its_outputs_is_told_with_their_number() {
    let phoc = Phoc::start();
    let runtime = phoc.run().display().to_string();
    let variables = [("XDG_RUNTIME_DIR", runtime.as_str())];
    let [any, sway] = ["", "Display virtual\nCompositor sway"]
        .map(|lines| start(Folder::with_identity(), lines, &variables));

    let [any, sway] = [any, sway].map(|daemon| Doctor::ask(&daemon));

    let title = format!("phoc (pid {})", phoc.pid());
    let runs = format!(
        "{title} runs: sessions are lent outputs of it that show on no screen, of which there are 1"
    );
    assert_eq!(any.what("PF-D01", "well"), runs);
    assert_eq!(any.what("PF-I01", "well"), format!("{title} takes keyboards and pointers"));
    let none = format!("no sway of this user in {runtime}; {title} runs, which gives no displays");
    assert_eq!(sway.what("PF-D01", "broken"), none);
}

#[test]
fn an_output_that_waits_for_the_next_session_is_no_fault() {
    need_encoders();
    let sway = Sway::start("800x600@60Hz");
    let runtime = sway.socket().parent().unwrap().display().to_string();
    let conf = "Display virtual\nLingerTime 0s";
    let daemon = start(Folder::with_identity(), conf, &[("XDG_RUNTIME_DIR", &runtime)]);
    daemon.wait_log("encoders: h264: ");
    let mut device = Device::new(&daemon, "127.0.0.1");
    device.pair(&daemon, "1234");

    let report = device.stream(&["--mode", "640x360x30", "--seconds", "1"]);

    assert_eq!(report["error"], Value::Null, "{report}");
    eventually("the session is over", || {
        let is_over = daemon.api("GET", "/v1/runs", "").1["runs"] == json!([]);
        let is_left = sway.modes().contains(&[640, 360]);
        (is_over && !is_left).then_some(())
    });
    Doctor::ask(&daemon).what("PF-K02", "well");
}

#[test]
fn a_desktop_that_has_gone_is_noticed_when_it_is_asked_for_the_next_time() {
    let mut sway = Sway::start("800x600@60Hz");
    let runtime = sway.socket().parent().unwrap().display().to_string();
    let variables = [("XDG_RUNTIME_DIR", runtime.as_str())];
    let on = |lines: &str| start(Folder::with_identity(), lines, &variables);
    let [wide, mirror, other, tests] = [
        on("Display virtual"),
        on("Display mirror HEADLESS-1"),
        on("Display mirror DP-7"),
        on("Capture test"),
    ];

    let found = [&wide, &mirror].map(Doctor::ask);
    let lacks = Doctor::ask(&other);
    sway.kill();
    let gone = Doctor::ask(&wide);
    let test = Doctor::ask(&tests);

    for doctor in found {
        doctor.what("PF-D01", "well");
        doctor.what("PF-I01", "well");
    }
    assert_eq!(lacks.what("PF-D01", "broken"), "no output DP-7, there are: HEADLESS-1");
    let none = "no sway or other compositor of wlroots of this user in ";
    assert!(gone.what("PF-D01", "broken").starts_with(none), "{gone:?}");
    assert_eq!(gone.remedy("PF-D01"), "start one as this user, or set Display auto");
    assert_eq!(test.what("PF-D01", "well"), "a test picture, as Capture says");
}

#[test]
fn a_packet_filter_that_drops_is_seen_by_root_and_the_command_that_is_named_helps() {
    let net = Net::new();
    let daemon = net.daemon(Folder::with_identity(), "Capture test\nMdns yes", &[]);
    daemon.wait_log("mdns: announcing");
    let open = net.doctor(&daemon.socket(), &[]);

    net.run(
        "nft add table inet filter && \
         nft add chain inet filter input '{ type filter hook input priority 0; policy drop; }' && \
         nft add rule inet filter input iifname lo accept && \
         nft add rule inet filter input ct state established,related accept",
    );
    let closed = net.doctor(&daemon.socket(), &[]);
    let unseen = Doctor::ask(&daemon);
    net.run(closed.remedy("PF-F01"));
    let opened = net.doctor(&daemon.socket(), &[]);

    for doctor in [&open, &opened] {
        assert_eq!(doctor.what("PF-F01", "well"), "rules let clients through");
        assert_eq!(doctor.what("PF-M02", "well"), "a question for it is answered");
    }
    assert_eq!(closed.status, 1);
    let (what, port) = (closed.what("PF-F01", "broken"), daemon.port);
    assert!(what.starts_with("chain inet filter input keeps clients from TCP "), "{what}");
    for port in [port - 5, port, port + 21] {
        assert!(what.contains(&format!("TCP {port}")), "{what}");
    }
    assert!(what.contains(&format!("UDP {}", port + 9)) && what.contains("UDP 5353"), "{what}");
    // Without root the rules are not known, but that something drops questions is.
    unseen.what("PF-F01", "note");
    assert_eq!(unseen.what("PF-M02", "broken"), "a question for it through eth0 is lost");
    assert_eq!(unseen.status, 1);
}

#[test]
fn programs_at_the_ports_are_named() {
    let net = Net::new();
    let script =
        "import socket\ns = socket.create_server(('', 47989))\nprint(flush=True)\ns.accept()";
    let mut other = net.enter_as_user();
    other.arg("/usr/bin/python3"); // Debian's, which every user can run
    let mut other =
        other.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let holder = format!("(pid {}) has TCP 47989", other.id());
    let folder = Folder::new();
    let conf = write_conf(&folder, 47_989, "").display().to_string();

    let stopped = net.doctor(Path::new("/nowhere/control"), &["--conf", &conf]);
    let daemon = net.daemon(Folder::with_identity(), "Capture test", &[]);
    let beside = net.doctor(&daemon.socket(), &[]);
    let _ = other.kill();
    let _ = other.wait();
    let alone = net.doctor(&daemon.socket(), &[]);

    assert_eq!(stopped.status, 3, "{stopped:?}");
    let held = stopped.what("PF-P01", "broken");
    assert!(held.starts_with("python") && held.ends_with(&holder), "{held}");
    assert_eq!(stopped.remedy("PF-P01"), "stop that program, or choose another GameStreamPort");
    let others = beside.what("PF-H01", "note");
    // In a namespace of its own for users, the daemon sees nobody.
    let seen = if is_root() { &holder } else { " has TCP 47989" };
    assert!(others.contains(seen), "{others}");
    beside.what("PF-P01", "well");
    assert!(!alone.finding("PF-H01")["what"].as_str().unwrap().contains("47989"), "{alone:?}");
}

#[test]
fn without_a_daemon_it_says_what_keeps_one_from_starting() {
    let folder = Folder::with_identity();
    let run = |conf: &Path, json: &[&str]| {
        let mut ctl = command(program("punktfunkctl"));
        ctl.env("HOME", folder.path()).env("XDG_RUNTIME_DIR", folder.path());
        ctl.args(["-s", "/nowhere/control"]).args(json).args(["doctor", "--conf"]).arg(conf);
        output(&mut ctl)
    };
    let good = write_conf(&folder, free_port(), "");
    let wrong = folder.file("wrong.conf", "GameStreamPort x\nNonsense yes\n", 0o644);
    folder.file("state/clients.json", "{}", 0o644);

    let right = Doctor::of(&run(&good, &["--json"]));
    let mistaken = Doctor::of(&run(&wrong, &["--json"]));
    let text = run(&good, &[]);

    assert_eq!((right.status, mistaken.status, text.status.code()), (3, 3, Some(3)));
    let daemon = right.what("PF-G01", "broken");
    assert!(daemon.starts_with("no daemon answers: /nowhere/control: "), "{daemon}");
    right.what("PF-C01", "well");
    right.what("PF-P01", "well");
    right.finding("PF-G02");
    let state = right.what("PF-K01", "broken");
    assert!(state.contains("clients.json has mode 0644"), "{state}");
    assert!(right.remedy("PF-K01").starts_with("chmod 0600 "), "{right:?}");
    assert!(!right.codes().contains(&"PF-D01"), "{right:?}");
    let error = mistaken.what("PF-C01", "broken");
    assert!(error.contains(&format!("{}:1:16: ", wrong.display())), "{error}");
    assert!(error.ends_with("(and 1 more)"), "{error}");
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.starts_with("FAIL  PF-G01  daemon     no daemon answers: "), "{text}");

    // Without a home there are no defaults either.
    let mut ctl = command(program("punktfunkctl"));
    let words = ["-s", "/nowhere/control", "--json", "doctor", "--conf"];
    let lost = Doctor::of(&output(ctl.args(words).arg(&wrong)));
    assert_eq!((lost.status, lost.codes()), (3, vec!["PF-G01", "PF-C01"]), "{lost:?}");

    // The directory alone could have been repaired by hand; then all is well but the daemon.
    fs::remove_file(folder.path().join("state/clients.json")).unwrap();
    let repaired = Doctor::of(&run(&good, &["--json"]));
    repaired.what("PF-K01", "well");
    assert_eq!(repaired.data["broken_count"], 1, "{repaired:?}");
}

#[test]
fn a_fault_has_the_same_code_in_the_log() {
    let folder = Folder::with_identity();
    let daemon = start(folder, "Mdns yes\nMdnsInterface nosuch0\nCapture test", &[]);
    daemon.wait_log("on yet [PF-M01]");
    let (status, log) = {
        let second = Folder::with_identity();
        write_conf(&second, daemon.port, "");
        support::refusal(&second, &[])
    };

    let doctor = Doctor::ask(&daemon);

    doctor.what("PF-M01", "broken");
    assert_eq!(doctor.remedy("PF-M01"), "name one with MdnsInterface");
    assert_eq!(status, 3);
    assert!(log.trim_end().ends_with("[PF-P01]"), "{log}");
}

#[test]
fn a_client_that_is_refused_is_told_the_code_that_doctor_names() {
    let launch = |daemon: &Daemon| {
        let (_, apps) = daemon.api("GET", "/v1/apps", "");
        let target = format!("/launch?appid={}&{KEYS}", apps["apps"][0]["id"]);
        let answer = peer::ask(daemon, "p-256", &target);
        attribute(answer.text(), "status_message").unwrap_or_default().to_owned()
    };
    let without_sway = paired_folder(&["p-256"]);
    let nowhere = without_sway.path().join("bin").display().to_string();
    let without_sway = start(without_sway, "", &[("PATH", &nowhere)]);
    // A program without the plug-in beside it.
    let without_encoders = paired_folder(&["p-256"]);
    let bin = without_encoders.folder("bin", 0o755);
    fs::copy(program("punktfunkd"), bin.join("punktfunkd")).unwrap();
    let without_encoders = start(without_encoders, "Capture test", &[]);
    without_encoders.wait_log("encoders: none, so there will be no session [PF-E01]");

    for (daemon, code) in [(&without_sway, "PF-D01"), (&without_encoders, "PF-E01")] {
        let (told, doctor) = (launch(daemon), Doctor::ask(daemon));

        assert!(told.ends_with(&format!(" [{code}]")), "{told}");
        daemon.wait_log(&format!(" [{code}]"));
        doctor.what(code, "broken");
        assert_eq!(doctor.status, 1);
    }
}
