//! A real sway for tests, without a screen and without a GPU, and what stands on its output.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{Folder, command, eventually, output, tool};

/// The first output of a sway without a screen.
pub const OUTPUT: &str = "HEADLESS-1";
/// The output of the card of [`super::machine`].
pub const CARD_OUTPUT: &str = "Virtual-1";

/// What grim sees: rows of red, green and blue.
#[derive(PartialEq)]
pub struct Shot {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

/// A running sway, in a folder of its own, and the programs that were started in it.
pub struct Sway {
    folder: Folder,
    output: &'static str,
    sway: Child,
    clients: Vec<Child>,
}

impl Sway {
    /// Starts one whose output has this mode, such as 1280x720@60Hz, and a plain background.
    pub fn start(mode: &str) -> Sway {
        Sway::start_with(mode, "")
    }

    /// As [`Sway::start`], with these lines in its configuration.
    pub fn start_with(mode: &str, lines: &str) -> Sway {
        let lines = format!("output * mode {mode}\n{lines}");
        Sway::begin(Sway::folder(), &lines, OUTPUT, &[("WLR_BACKENDS", "headless")])
    }

    /// As [`Sway::start`], in a folder of [`Sway::folder`].
    pub fn start_in(folder: Folder, mode: &str) -> Sway {
        let lines = format!("output * mode {mode}\n");
        Sway::begin(folder, &lines, OUTPUT, &[("WLR_BACKENDS", "headless")])
    }

    /// A folder for one, with `run` in it, where its sockets are to be.
    pub fn folder() -> Folder {
        let folder = Folder::new();
        folder.folder("run", 0o700);
        folder
    }

    /// Starts one on the graphics card of this machine, which nobody else may use.
    pub fn start_on_card() -> Sway {
        let variables = [("WLR_BACKENDS", "drm"), ("LIBSEAT_BACKEND", "seatd")];
        Sway::begin(Sway::folder(), "", CARD_OUTPUT, &variables)
    }

    fn begin(
        folder: Folder,
        lines: &str,
        output: &'static str,
        variables: &[(&str, &str)],
    ) -> Sway {
        for name in ["sway", "swaymsg"] {
            tool(name);
        }
        let lines = format!(
            "output * bg #204060 solid_color\ndefault_border none\nxwayland disable\n{lines}"
        );
        let conf = folder.file("sway.conf", lines, 0o644);
        let log = fs::File::create(folder.path().join("sway.log")).unwrap();
        let mut sway = command("sway");
        sway.arg("--config").arg(conf).env("XDG_RUNTIME_DIR", folder.path().join("run"));
        sway.env("HOME", folder.path());
        sway.env("WLR_RENDERER", "pixman").env("WLR_LIBINPUT_NO_DEVICES", "1");
        sway.envs(variables.iter().copied());
        sway.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let sway = Sway { folder, output, sway: sway.spawn().unwrap(), clients: Vec::new() };
        eventually("sway answers", || sway.try_message(&["-t", "get_outputs"]));
        sway
    }

    /// Its Wayland socket.
    pub fn socket(&self) -> PathBuf {
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let names = fs::read_dir(self.run()).unwrap().map(|entry| name(entry.unwrap()));
        let is_socket = |name: &String| name.starts_with("wayland-") && !name.ends_with(".lock");
        self.run().join(names.into_iter().find(is_socket).expect("sway has a socket"))
    }

    /// Tells sway something. What it answers says nothing of whether it was done.
    #[track_caller]
    pub fn message(&self, words: &[&str]) {
        let message = [&["--"], words].concat();
        assert!(self.try_message(&message).is_some(), "{words:?}\n{}", self.log());
    }

    /// Starts a program in it. It is ended with sway.
    pub fn run_client(&mut self, name: &str, arguments: &[&str]) {
        tool(name);
        let mut client = self.client(name);
        let log = fs::File::options().append(true).open(self.log_path()).unwrap();
        client.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.clients.push(client.process_group(0).spawn().unwrap());
    }

    /// Runs a command line in a terminal that fills the output.
    pub fn run_in_terminal(&mut self, line: &str) {
        self.run_client("foot", &["--config=/dev/null", "sh", "-c", line]);
    }

    /// What grim sees of the output, as a file in the format PPM.
    pub fn shot_file(&self, name: &str) -> Vec<u8> {
        tool("grim");
        let shot = output(self.client("grim").args(["-c", "-t", "ppm", "-o", name, "-"]));
        assert!(shot.status.success(), "{}", String::from_utf8_lossy(&shot.stderr));
        shot.stdout
    }

    /// What grim sees of the output.
    pub fn shot(&self) -> Shot {
        tool("grim");
        let shot = output(self.client("grim").args(["-t", "ppm", "-o", self.output, "-"]));
        assert!(shot.status.success(), "{}", String::from_utf8_lossy(&shot.stderr));
        let mut head = shot.stdout.splitn(4, |byte| byte.is_ascii_whitespace());
        let mut word = || std::str::from_utf8(head.next().unwrap()).unwrap();
        assert_eq!(word(), "P6");
        let (width, height) = (word().parse().unwrap(), word().parse().unwrap());
        let pixels = head.next().unwrap().strip_prefix(b"255\n").unwrap().to_vec();
        Shot { width, height, pixels }
    }

    /// The name of the output that is so wide.
    #[track_caller]
    pub fn output_of(&self, width: u64) -> String {
        let outputs = self.outputs();
        let found = outputs.iter().find(|it| it["current_mode"]["width"] == width);
        found.unwrap_or_else(|| panic!("{outputs:?}"))["name"].as_str().unwrap().to_owned()
    }

    /// Width and height of all outputs.
    pub fn modes(&self) -> Vec<[u64; 2]> {
        let size = |output: &Value| {
            ["width", "height"].map(|it| output["current_mode"][it].as_u64().unwrap())
        };
        self.outputs().iter().map(size).collect()
    }

    fn outputs(&self) -> Vec<Value> {
        let said = self.try_message(&["-r", "-t", "get_outputs"]).unwrap();
        serde_json::from_slice(&said).unwrap()
    }

    /// Kills sway, which has no time to say so to anybody.
    pub fn kill(&mut self) {
        self.sway.kill().unwrap();
        self.sway.wait().unwrap();
    }

    /// All that it and its programs have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Where its sockets are.
    pub fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.sway.id()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("sway.log")
    }

    fn client(&self, name: &str) -> Command {
        let mut client = command(name);
        client.env("XDG_RUNTIME_DIR", self.run()).env("WAYLAND_DISPLAY", self.socket());
        client.env("HOME", self.folder.path()).env("LC_ALL", "C.UTF-8");
        client
    }

    /// `None` where sway does not answer.
    fn try_message(&self, words: &[&str]) -> Option<Vec<u8>> {
        let pid = self.sway.id();
        let socket = fs::read_dir(self.run()).unwrap().find_map(|entry| {
            let path = entry.unwrap().path();
            path.to_string_lossy().ends_with(&format!(".{pid}.sock")).then_some(path)
        })?;
        let answer = output(command("swaymsg").arg("-s").arg(socket).args(words));
        answer.status.success().then_some(answer.stdout)
    }
}

impl Drop for Sway {
    fn drop(&mut self) {
        for client in &mut self.clients {
            // Its group too: what a terminal runs does not end with it at once.
            let group = format!("-{}", client.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = client.kill();
            let _ = client.wait();
        }
        let _ = self.sway.kill();
        let _ = self.sway.wait();
    }
}
