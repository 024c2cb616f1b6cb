//! Who knocks: listening sockets, and what is asked through them.

#![forbid(unsafe_code)]

pub mod gamestream;
pub mod launch;
pub mod mdns;
pub mod media;
pub mod mgmt;
mod rtsp;
pub mod table;

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use punktfunk_core::net::holder::{self, Port};
use punktfunk_core::net::stream::Socket;
use punktfunk_core::net::{process, tcp};
use table::Plane;

use crate::conf::{Conf, ControlSocket, GameStream};

/// Connections taken from one listener in a turn.
const ACCEPT_BUDGET: usize = 16;
/// How long a listener rests when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One listening socket.
#[derive(Debug)]
pub struct Door {
    socket: DoorSocket,
    /// What connections through it may ask.
    pub plane: Plane,
    /// Where it listens, for people.
    pub address: String,
    is_ready: bool,
    paused_until: Option<Instant>,
}

#[derive(Debug)]
enum DoorSocket {
    Tcp(TcpListener),
    /// With its path, which goes when nobody listens there any more.
    Unix(UnixListener, PathBuf),
}

/// Why a listener cannot be made.
#[derive(Debug)]
pub struct BindError {
    /// What was to be bound.
    pub address: String,
    /// Who has it already, where that is known.
    pub holder: Option<String>,
    /// Whether it is the control socket, on which only another instance can be.
    pub is_control: bool,
    /// What the system says.
    pub source: io::Error,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot listen on {}: ", self.address)?;
        match (&self.holder, self.source.kind()) {
            (Some(holder), _) => write!(f, "{holder} listens there"),
            (None, io::ErrorKind::AddrInUse) if self.is_control => {
                f.write_str("another punktfunkd listens there")
            }
            (None, io::ErrorKind::AddrInUse) => {
                f.write_str("another program listens there, 'ss -lptn' as root names it")
            }
            (None, _) => self.source.fmt(f),
        }
    }
}

/// One accepted connection.
#[derive(Debug)]
pub struct Knock {
    /// Its socket.
    pub socket: Socket,
    /// Where it came in.
    pub plane: Plane,
    /// The other end, for TCP.
    pub peer: Option<SocketAddr>,
    /// Our end, for TCP.
    pub local: Option<SocketAddr>,
}

/// What accepting came to.
#[derive(Debug)]
pub enum Accepted {
    /// There is nothing to accept.
    Empty,
    /// No descriptor or memory for another connection; the listener rests.
    Exhausted(io::Error),
    /// Some one.
    Knock(Box<Knock>),
}

/// Binds every listener of a configuration, or none. `group` is whom the control socket is for.
pub fn open(conf: &Conf, group: Option<u32>) -> Result<Vec<Door>, BindError> {
    let mut doors = Vec::new();
    if conf.gamestream != GameStream::Off {
        let http = conf.gamestream_port;
        for ip in &conf.listen {
            let rtsp = http + media::RTSP_OFFSET;
            for (plane, port) in
                [(Plane::Http, http), (Plane::Https, http - 5), (Plane::Rtsp, rtsp)]
            {
                doors.push(open_tcp(SocketAddr::new(*ip, port), plane)?);
            }
        }
    }
    if let Some(address) = conf.http {
        doors.push(open_tcp(address, Plane::Api)?);
    }
    doors.push(open_control(&conf.control_socket, group)?);
    Ok(doors)
}

fn open_tcp(address: SocketAddr, plane: Plane) -> Result<Door, BindError> {
    let (bound, listener) = match bind_or_fall_back(address, tcp::listen) {
        Ok((listener, bound)) => (bound, Ok(listener)),
        Err((bound, error)) => (bound, Err(error)),
    };
    let listener = listener.map_err(|source| {
        let in_use = source.kind() == io::ErrorKind::AddrInUse;
        let holder = if in_use { holder::name(Port::Tcp(address.port())) } else { None };
        BindError { address: bound.to_string(), holder, is_control: false, source }
    })?;
    let socket = DoorSocket::Tcp(TcpListener::from_std(listener));
    Ok(Door::new(socket, plane, bound.to_string()))
}

/// Binds an address and says what was bound. A machine without IPv6 is served over IPv4, which is
/// all it has.
fn bind_or_fall_back<T>(
    address: SocketAddr,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> Result<(T, SocketAddr), (SocketAddr, io::Error)> {
    let fallback = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
    let has_no_ipv6 = |error: &io::Error| {
        address.ip() == Ipv6Addr::UNSPECIFIED
            && matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
    };
    match bind(address) {
        Err(error) if has_no_ipv6(&error) => {
            bind(fallback).map(|bound| (bound, fallback)).map_err(|error| (fallback, error))
        }
        Err(error) => Err((address, error)),
        Ok(bound) => Ok((bound, address)),
    }
}

fn open_control(control: &ControlSocket, group: Option<u32>) -> Result<Door, BindError> {
    let path = &control.path;
    let address = path.display().to_string();
    let fail =
        |source| BindError { address: address.clone(), holder: None, is_control: true, source };
    if is_answered(path) {
        return Err(fail(io::Error::from(io::ErrorKind::AddrInUse)));
    }
    remove_stale(path).map_err(fail)?;
    // The socket must not be open to more than its mode for a moment, and bind asks the mask.
    let umask = process::set_umask(0o777);
    let bound = UnixListener::bind(path);
    process::set_umask(umask);
    let listener = bound.map_err(fail)?;
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group)).map_err(fail)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(control.mode)).map_err(fail)?;
    let socket = DoorSocket::Unix(listener, path.clone());
    Ok(Door::new(socket, Plane::Control, path.display().to_string()))
}

/// The group that the control socket is for: the one that the configuration names, else
/// `punktfunk` where there is one and this user is in it.
pub fn control_group(control: &ControlSocket) -> Result<Option<u32>, String> {
    let find = |name: &str| {
        process::group_by_name(name).map_err(|error| format!("group {name:?}: {error}"))
    };
    match &control.group {
        None => Ok(find("punktfunk")?.filter(|group| process::has_group(*group))),
        Some(name) => match find(name)? {
            None => Err(format!("ControlSocket: no group is called {name:?}")),
            group => Ok(group),
        },
    }
}

/// Whether somebody listens there. One whose queue is full does, and is not waited for.
fn is_answered(path: &Path) -> bool {
    UnixStream::connect(path)
        .map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |_| true)
}

/// Removes a socket that nobody listens on any more, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::other("there is something that is no socket")),
    }
}

impl Door {
    fn new(socket: DoorSocket, plane: Plane, address: String) -> Door {
        Door { socket, plane, address, is_ready: true, paused_until: None }
    }

    /// Makes `registry` report connections under `token`.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            DoorSocket::Tcp(socket) => registry.register(socket, token, Interest::READABLE),
            DoorSocket::Unix(socket, _) => registry.register(socket, token, Interest::READABLE),
        }
    }

    /// Notes what mio reports.
    pub fn handle_ready(&mut self) {
        self.is_ready = true;
    }

    /// Whether there may be something to accept now.
    pub fn has_work(&self, now: Instant) -> bool {
        self.is_ready && self.paused_until.is_none_or(|until| until <= now)
    }

    /// When a rest ends.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.paused_until
    }

    /// The address that clients are to be told of, for a listener that they begin at.
    pub fn announced_ip(&self) -> Option<IpAddr> {
        match &self.socket {
            DoorSocket::Tcp(socket) if self.plane == Plane::Http => {
                Some(socket.local_addr().ok()?.ip())
            }
            _ => None,
        }
    }

    /// Those who knock now, as many as one turn takes.
    pub fn poll_turn(&mut self, now: Instant) -> Vec<Accepted> {
        let mut turn = Vec::new();
        if !self.has_work(now) {
            return turn;
        }
        self.paused_until = None;
        while turn.len() < ACCEPT_BUDGET {
            match self.accept() {
                Accepted::Empty => {
                    self.is_ready = false;
                    break;
                }
                Accepted::Exhausted(error) => {
                    self.paused_until = Some(now + ACCEPT_PAUSE);
                    turn.push(Accepted::Exhausted(error));
                    break;
                }
                knock => turn.push(knock),
            }
        }
        turn
    }

    fn accept(&self) -> Accepted {
        let mut last = io::Error::from(io::ErrorKind::Other);
        for _ in 0..ACCEPT_BUDGET {
            let result = match &self.socket {
                DoorSocket::Tcp(socket) => socket.accept().map(|(socket, peer)| {
                    let local = socket.local_addr().ok();
                    (Socket::Tcp(socket), Some(peer), local)
                }),
                DoorSocket::Unix(socket, _) => {
                    socket.accept().map(|(socket, _)| (Socket::Unix(socket), None, None))
                }
            };
            let error = match result {
                Ok((socket, peer, local)) => {
                    return Accepted::Knock(Box::new(Knock {
                        socket,
                        plane: self.plane,
                        peer,
                        local,
                    }));
                }
                Err(error) => error,
            };
            match error.raw_os_error() {
                Some(libc::EAGAIN) => return Accepted::Empty,
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                    return Accepted::Exhausted(error);
                }
                // A connection that broke before it was accepted: accept(2) passes its error on.
                _ => last = error,
            }
        }
        Accepted::Exhausted(last)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let DoorSocket::Unix(_, path) = &self.socket {
            // One that is gone already is as good as removed.
            let _ = fs::remove_file(path);
        }
    }
}
