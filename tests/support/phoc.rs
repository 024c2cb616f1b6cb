//! A real compositor of wlroots that is not sway and makes no outputs, without a screen or a GPU.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Folder, command, eventually, output, tool};

/// The output that it has from the start.
pub const OUTPUT: &str = "HEADLESS-1";

/// A running phoc with one output, in a folder of its own.
pub struct Phoc {
    folder: Folder,
    phoc: Child,
}

impl Phoc {
    /// Starts one. Its output is 1280 pixels wide and 720 high.
    pub fn start() -> Phoc {
        for name in ["phoc", "grim"] {
            tool(name);
        }
        let folder = Folder::new();
        folder.folder("run", 0o700);
        let log = fs::File::create(folder.path().join("phoc.log")).unwrap();
        let mut phoc = command("phoc");
        phoc.env("XDG_RUNTIME_DIR", folder.path().join("run")).env("HOME", folder.path());
        phoc.envs([("WLR_BACKENDS", "headless"), ("WLR_HEADLESS_OUTPUTS", "1")]);
        phoc.envs([("WLR_RENDERER", "pixman"), ("WLR_LIBINPUT_NO_DEVICES", "1")]);
        // No service of settings is there to ask.
        phoc.env("GSETTINGS_BACKEND", "memory");
        phoc.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let phoc = Phoc { phoc: phoc.spawn().unwrap(), folder };
        eventually("phoc shows something", || phoc.size());
        phoc
    }

    /// Where its sockets are.
    pub fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.phoc.id()
    }

    /// What grim sees of the output, as a file in the format PPM.
    pub fn shot_file(&self) -> Option<Vec<u8>> {
        let shot = output(self.client("grim").args(["-c", "-t", "ppm", "-o", OUTPUT, "-"]));
        shot.status.success().then_some(shot.stdout)
    }

    /// Width and height of the output.
    pub fn size(&self) -> Option<[usize; 2]> {
        let shot = self.shot_file()?;
        let mut words = shot.splitn(4, |byte| byte.is_ascii_whitespace()).skip(1);
        let mut number = || std::str::from_utf8(words.next()?).ok()?.parse().ok();
        Some([number()?, number()?])
    }

    fn client(&self, name: &str) -> Command {
        let mut client = command(name);
        client.env("XDG_RUNTIME_DIR", self.run()).env("WAYLAND_DISPLAY", "wayland-0");
        client
    }
}

impl Drop for Phoc {
    fn drop(&mut self) {
        let _ = self.phoc.kill();
        let _ = self.phoc.wait();
    }
}
