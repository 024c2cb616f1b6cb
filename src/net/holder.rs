//! Who holds a port, as far as the kernel shows it to this user.

#![forbid(unsafe_code)]

use std::fmt;
use std::fs;

use crate::proto::hex;

/// A port, and what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// One that is listened on.
    Tcp(u16),
    /// One that is bound, and connected to nobody.
    Udp(u16),
}

/// What holds a port.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// Whose the socket is.
    pub uid: u32,
    /// The process: of this user, or anybody's where root asks.
    pub process: Option<Process>,
}

/// A process that holds a port.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// What it is called.
    pub name: String,
    /// Its number.
    pub pid: u32,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Port::Tcp(port) => write!(f, "TCP {port}"),
            Port::Udp(port) => write!(f, "UDP {port}"),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(Process { name, pid }) => write!(f, "{name} (pid {pid})"),
            None => write!(f, "a program of uid {}", self.uid),
        }
    }
}

/// A socket in a table of the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    uid: u32,
    inode: u64,
}

/// The program that holds a port, as `name (pid 123)`. `None` where the kernel does not show it to
/// us: it is another user's, or in another namespace.
pub fn name(port: Port) -> Option<String> {
    let holder = find(&[port]).pop().flatten();
    holder.filter(|holder| holder.process.is_some()).map(|holder| holder.to_string())
}

/// What holds each port; `None` for one that is free. Looks at the descriptors of every process
/// once, unless all are free.
pub fn find(ports: &[Port]) -> Vec<Option<Holder>> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let tcp = read("/proc/net/tcp") + &read("/proc/net/tcp6");
    let udp = read("/proc/net/udp") + &read("/proc/net/udp6");
    let of_port = |port: &Port| match *port {
        Port::Tcp(port) => entries(&tcp, port, "0A"), // TCP_LISTEN
        Port::Udp(port) => entries(&udp, port, "07"), // TCP_CLOSE, as for UDP that is not connected
    };
    let held: Vec<Vec<Entry>> = ports.iter().map(of_port).collect();
    let inodes: Vec<u64> = held.iter().flatten().map(|entry| entry.inode).collect();
    let owners = owners(&inodes);
    let holder = |entries: Vec<Entry>| {
        let uid = entries.first()?.uid;
        let is_its = |(inode, _): &&(u64, Process)| entries.iter().any(|it| it.inode == *inode);
        let process = owners.iter().find(is_its).map(|(_, process)| process.clone());
        Some(Holder { uid, process })
    };
    held.into_iter().map(holder).collect()
}

/// The processes that have these sockets, as far as this user may look.
fn owners(inodes: &[u64]) -> Vec<(u64, Process)> {
    let mut found: Vec<(u64, Process)> = Vec::new();
    if inodes.is_empty() {
        return found;
    }
    let sockets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        for file in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(link) = fs::read_link(file.path()) else {
                continue;
            };
            if let Some(index) = sockets.iter().position(|socket| link.as_os_str() == &**socket) {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                found.push((inodes[index], Process { name: name.trim_end().to_owned(), pid }));
            }
        }
    }
    found
}

/// The sockets on `port` in that state, in a table as proc(5) describes /proc/net/tcp.
fn entries(table: &str, port: u16, state: &str) -> Vec<Entry> {
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
        let its_state = fields.nth(1)?;
        let uid = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        let local_port = u16::from_be_bytes(hex::parse_array(local_port)?);
        (local_port == port && its_state == state).then_some(Entry { uid, inode })
    };
    table.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let held = Port::Tcp(tcp.local_addr().unwrap().port());
        let other = Port::Udp(udp.local_addr().unwrap().port());

        let found = find(&[held, other, Port::Tcp(1)]);

        let pid = std::process::id();
        for holder in &found[..2] {
            let holder = holder.as_ref().unwrap();
            assert_eq!(holder.process.as_ref().map(|it| it.pid), Some(pid), "{holder}");
        }
        assert_eq!(found[2], None);
        let name = name(held).unwrap();
        assert!(name.ends_with(&format!("(pid {pid})")), "{name}");
    }

    #[test]
    fn tables_of_the_kernel_are_read_whatever_they_hold() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 00000000:BB75 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1\n   \
             1: 00000000:BB75 00000000:0000 01 00000000:00000000 00:00000000 00000000  1000        0 4243 1\n\
             garbage\n\n1: :\n";

        assert_eq!(entries(table, 0xbb75, "0A"), [Entry { uid: 1000, inode: 4242 }]);
        assert_eq!(entries(table, 80, "0A"), []);
        assert_eq!(entries("", 80, "0A"), []);
    }
}
