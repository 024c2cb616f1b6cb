//! A real PulseAudio for tests, with a sink that nobody hears.

use std::path::{Path, PathBuf};
use std::process::Child;

use super::{command, eventually, output};

/// A sound server for one test.
pub struct Sound {
    child: Child,
    socket: PathBuf,
}

impl Sound {
    /// Starts one with its socket in a folder that tests may write to.
    pub fn start(own: &Path) -> Sound {
        let socket = own.join("native");
        let child = command("pulseaudio")
            .env("HOME", own)
            .env("XDG_RUNTIME_DIR", own)
            .args(["-n", "-F", "/dev/null", "--daemonize=no", "--exit-idle-time=-1"])
            .args(["--use-pid-file=no", "--load=module-null-sink sink_name=speakers"])
            .arg(format!(
                "--load=module-native-protocol-unix auth-anonymous=1 socket={}",
                socket.display()
            ))
            .spawn()
            .unwrap_or_else(|error| panic!("pulseaudio: {error}: run scripts/setup test"));
        eventually("the sound server is there", || socket.exists().then_some(()));
        Sound { child, socket }
    }

    /// What `PULSE_SERVER` is to be.
    pub fn address(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// The sink that programs play to when they name none.
    pub fn default_sink(&self) -> Vec<u8> {
        let mut pactl = command("pactl");
        output(pactl.env("PULSE_SERVER", self.address()).arg("get-default-sink")).stdout
    }

    /// The names of all sinks.
    pub fn sinks(&self) -> Vec<String> {
        let mut pactl = command("pactl");
        pactl.env("PULSE_SERVER", self.address()).args(["list", "short", "sinks"]);
        let list = String::from_utf8(output(&mut pactl).stdout).unwrap();
        let names = list.lines().filter_map(|line| line.split('\t').nth(1));
        names.map(str::to_owned).collect()
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
