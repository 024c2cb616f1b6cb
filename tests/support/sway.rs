//! A real sway for tests, without a screen and without a GPU, and what stands on its output.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

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
        let variables = [("WLR_BACKENDS", "headless")];
        Sway::start_with(&format!("output * mode {mode}\n"), OUTPUT, &variables)
    }

    /// Starts one on the graphics card of this machine, which nobody else may use.
    pub fn start_on_card() -> Sway {
        let variables = [("WLR_BACKENDS", "drm"), ("LIBSEAT_BACKEND", "seatd")];
        Sway::start_with("", CARD_OUTPUT, &variables)
    }

    fn start_with(line: &str, output: &'static str, variables: &[(&str, &str)]) -> Sway {
        for name in ["sway", "swaymsg"] {
            tool(name);
        }
        let folder = Folder::new();
        folder.folder("run", 0o700);
        let lines = format!(
            "{line}output * bg #204060 solid_color\ndefault_border none\nxwayland disable\n"
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
