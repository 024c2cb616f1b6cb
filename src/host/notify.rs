//! What systemd is told of the daemon's state, as sd_notify(3) describes it.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A manager that wants to hear more often than this is not told more often.
const WATCHDOG_MIN: Duration = Duration::from_millis(20);

/// The socket that the service manager listens on, if there is one.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<UnixDatagram>,
    /// How often the manager wants to hear that the daemon lives.
    watchdog: Option<Duration>,
}

impl Notify {
    /// Takes the values of NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. `pid` is this process:
    /// a watchdog that is meant for another one is not ours.
    pub fn open(
        path: Option<&OsStr>,
        watchdog_us: Option<&OsStr>,
        watchdog_pid: Option<&OsStr>,
        pid: u32,
    ) -> io::Result<Notify> {
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            return Ok(Notify::default());
        };
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_nonblocking(true)?;
        let number = |text: &OsStr| text.to_str()?.parse::<u64>().ok();
        let is_ours = watchdog_pid.and_then(number).is_none_or(|other| other == u64::from(pid));
        let watchdog = watchdog_us.and_then(number).filter(|us| is_ours && *us > 0);
        let watchdog = watchdog.map(|us| Duration::from_micros(us).max(WATCHDOG_MIN));
        Ok(Notify { socket: Some(socket), watchdog })
    }

    /// How often [`Notify::alive`] is to be called: half of what the manager waits.
    pub fn alive_interval(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// Everything is bound and answers.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// One line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Stopping");
    }

    /// The loop still turns.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.socket {
            // A manager that does not read loses a status line; nothing depends on it.
            let _ = socket.send(message.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_on_an_abstract_socket_hears_what_it_is_told() {
        let name = format!("punktfunk-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let path = format!("@{name}");
        let watchdog = OsStr::new("30000000");

        let notify = Notify::open(Some(path.as_ref()), Some(watchdog), None, 7).unwrap();
        notify.ready("Listening");

        let mut buffer = [0; 64];
        let len = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"READY=1\nSTATUS=Listening");
        assert_eq!(notify.alive_interval(), Some(Duration::from_secs(15)));
    }

    #[test]
    fn a_watchdog_of_another_process_and_nonsense_are_not_obeyed() {
        let name = format!("punktfunk-notify-other-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let _manager = UnixDatagram::bind_addr(&address).unwrap();
        let path = format!("@{name}");
        let table = [("30000000", Some("8")), ("0", None), ("-1", None), ("x", None)];
        for (us, pid) in table {
            let pid = pid.map(OsStr::new);

            let notify = Notify::open(Some(path.as_ref()), Some(us.as_ref()), pid, 7).unwrap();

            assert_eq!(notify.alive_interval(), None, "{us} {pid:?}");
        }
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        let notify = Notify::open(None, Some("1".as_ref()), None, 7).unwrap();

        notify.ready("Listening");

        assert_eq!(notify.alive_interval(), None);
    }
}
