//! A stream goes on while strangers, and somebody on its way, send what they like to its ports.

#![allow(clippy::disallowed_methods, reason = "attacks take real time, on real threads")]

mod support;

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use enet::wire::Header;
use serde_json::{Value, json};
use support::{Daemon, Folder, eventually, exchange, need_encoders, python};

/// Where all that is random comes from.
const SEED: u64 = 0x51e7_c0de_2b1f_9a35;
const CONF: &str = "\
Capture test
Encoder software
MaxSessions 4
SessionConflict separate
Listen 127.0.0.1
";
/// Ports above the first of the family.
const VIDEO: u16 = 9;
const CONTROL: u16 = 10;
const AUDIO: u16 = 11;
const RTSP: u16 = 21;
/// Longer than any of it takes.
const STREAM_SECONDS_MAX: u32 = 300;
/// Messages in a row that end a session, if nobody sealed them.
const FORGED_COUNT: u16 = 8;
/// CONNECTs of strangers.
const KNOCK_COUNT: usize = 20_000;
/// Datagrams of one attack of another kind.
const DATAGRAM_COUNT: usize = 3000;
/// Datagrams of the client that are remembered.
const HEARD_COUNT_MAX: usize = 256;
/// What a ping is known by.
const PAYLOAD_LEN: usize = 16;
/// Lines that all of it may add to the log, which tells of the sessions as well.
const LINE_COUNT_MAX: usize = 48;
/// Memory that all of it may take, in KiB: less than fifteen bytes a datagram.
const RESIDENT_KIB_MAX: u64 = 512;

/// Xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 8) as usize % bound.max(1)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }
}

/// Something on the way between a client and the host: it hears all, and can speak as the client.
struct Relay {
    address: Ipv4Addr,
    /// For control, video and audio: what the host takes for the client.
    mouths: [UdpSocket; 3],
    /// What the client said on each of them, some of it.
    heard: Arc<Mutex<[Vec<Vec<u8>>; 3]>>,
}

impl Relay {
    fn start(daemon: &Daemon) -> Relay {
        let address = Ipv4Addr::new(127, 0, 0, 5);
        let heard = Arc::new(Mutex::new([const { Vec::new() }; 3]));
        let mut index = 0;
        let mouths = [CONTROL, VIDEO, AUDIO].map(|offset| {
            let heard = Arc::clone(&heard);
            let mouth = relay_udp(address, daemon.port + offset, move |bytes| {
                let heard = &mut heard.lock().unwrap()[index];
                if heard.len() < HEARD_COUNT_MAX {
                    heard.push(bytes.to_vec());
                }
            });
            index += 1;
            mouth.unwrap()
        });
        for port in [daemon.port, daemon.port - 5, daemon.port + RTSP] {
            relay_tcp(address, port).unwrap();
        }
        Relay { address, mouths, heard }
    }

    fn mouth(&self, offset: u16) -> &UdpSocket {
        &self.mouths[index_of(offset)]
    }

    /// What the client said to this port.
    fn heard(&self, offset: u16) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap()[index_of(offset)].clone()
    }
}

fn index_of(offset: u16) -> usize {
    [CONTROL, VIDEO, AUDIO].iter().position(|it| *it == offset).unwrap()
}

/// Passes datagrams of one client on, for as long as this process lives.
fn relay_udp(
    address: Ipv4Addr,
    port: u16,
    hear: impl Fn(&[u8]) + Send + 'static,
) -> io::Result<UdpSocket> {
    let near = UdpSocket::bind((address, port))?;
    let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    far.connect((Ipv4Addr::LOCALHOST, port))?;
    let mouth = far.try_clone()?;
    let client = Arc::new(Mutex::new(None));
    let (to_near, to_far) = (near.try_clone()?, far.try_clone()?);
    let seen = Arc::clone(&client);
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        loop {
            // An error is what became of an earlier one.
            let Ok((len, from)) = near.recv_from(&mut buffer) else { continue };
            *seen.lock().unwrap() = Some(from);
            hear(&buffer[..len]);
            let _ = to_far.send(&buffer[..len]);
        }
    });
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        loop {
            let Ok(len) = far.recv(&mut buffer) else { continue };
            if let Some(client) = *client.lock().unwrap() {
                let _ = to_near.send_to(&buffer[..len], client);
            }
        }
    });
    Ok(mouth)
}

/// As [`relay_udp`], for connections.
fn relay_tcp(address: Ipv4Addr, port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((address, port))?;
    let pass = |mut from: TcpStream, mut to: TcpStream| {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    };
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
            pass(near.try_clone().unwrap(), far.try_clone().unwrap());
            pass(far, near);
        }
    });
    Ok(())
}

/// Begins to stream with the stock client.
fn stream(daemon: &Daemon, host: Ipv4Addr, identity: &Path, seconds: u32) -> Child {
    python()
        .args(["-W", "ignore", "tests/moonlight/stream.py", "--mode", "640x360x30"])
        .args(["--bitrate", "4000", "--seconds", &seconds.to_string()])
        .args(["--host", &host.to_string(), "--http-port", &daemon.port.to_string()])
        .arg("--identity")
        .arg(identity)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What went wrong for a client in the end, if anything. It must have got everything until then.
#[track_caller]
fn error_of(child: Child) -> Value {
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let video = &report["video"];
    assert!(video["access_unit_count"].as_u64() > Some(0), "{report}");
    assert_eq!((&video["first_number"], &video["missing_numbers"]), (&json!(1), &json!([])));
    assert_eq!(video["are_numbers_rising"], true);
    assert_eq!(video["decode_error_count"], 0);
    report["error"].clone()
}

/// Another client comes, and goes after a second.
#[track_caller]
fn serves_the_next(daemon: &Daemon, identity: &Path) {
    let error = error_of(stream(daemon, Ipv4Addr::LOCALHOST, identity, 1));
    assert_eq!(error, Value::Null);
}

/// A socket with an address and a port that nobody else has.
fn stranger(index: usize) -> UdpSocket {
    let [_, _, c, d] = (index as u32 % 0xfffe + 1).to_be_bytes();
    UdpSocket::bind((Ipv4Addr::new(127, 9, c, d), 0)).unwrap()
}

/// Sends for as long as there is something, and lets others have the machine in between.
fn send_all(to: SocketAddr, datagrams: impl IntoIterator<Item = Vec<u8>>) {
    for (index, bytes) in datagrams.into_iter().enumerate() {
        // What is lost on the way is no matter.
        let _ = stranger(index).send_to(&bytes, to);
        if index % 32 == 31 {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// One command to the peer of this number and session, as ENet has it.
fn enet_shaped(random: &mut Random) -> Vec<u8> {
    let (peer, session) = (random.below(4) as u16, random.below(4) as u8);
    let mut bytes = Vec::new();
    Header { peer, session, sent_time: Some(random.next() as u16) }.emit(&mut bytes);
    let number = random.below(16) as u8;
    let flags = *random.pick(&[0, 0x40, 0x80]);
    let channel = *random.pick(&[0, 1, 0xff]);
    bytes.extend([number | flags, channel, 0, random.below(64) as u8]);
    let len = random.below(60);
    bytes.extend(random.bytes(len));
    bytes
}

/// CONNECT, with the data of nobody.
fn knock(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0x8f, 0xff, 0, 0, 0x82, 0xff, 0, 1, 0, 0, 0xff, 0xff];
    for number in [900_u32, 65_536, 48, 0, 0, 5000, 2, 2] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(random.bytes(8));
    bytes
}

fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(seeds).clone();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(3) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => bytes.insert(at, random.next() as u8),
        }
    }
    bytes
}

/// Messages of the control stream that nobody sealed, in datagrams for the client's peer.
fn forged(heard: &[Vec<u8>], groups: Range<u16>) -> Vec<Vec<u8>> {
    let from_peer = |bytes: &&Vec<u8>| Header::parse(bytes).is_ok_and(|(it, _)| it.peer == 0);
    let (header, _) = Header::parse(heard.iter().find(from_peer).unwrap()).unwrap();
    let one = |group: u16| {
        let mut bytes = Vec::new();
        Header { sent_time: None, ..header }.emit(&mut bytes);
        let message = [&[1, 0, 26, 0, 9, 9, 9, 9][..], &[0; 22]].concat();
        // Unsequenced, so that it disturbs none of the client's.
        bytes.extend([0x49, 0, 0, 0]);
        bytes.extend(group.to_be_bytes());
        bytes.extend((message.len() as u16).to_be_bytes());
        bytes.extend(message);
        bytes
    };
    groups.map(one).collect()
}

/// Everything that is tried while a client streams through the relay.
fn attack(daemon: &Daemon, relay: &Relay) {
    let random = &mut Random(SEED);
    let at = |offset| SocketAddr::from((Ipv4Addr::LOCALHOST, daemon.port + offset));
    for offset in [CONTROL, VIDEO, AUDIO] {
        let heard = relay.heard(offset);
        let mut noise = || {
            let len = *random.pick(&[0, 1, 3, 4, 16, 20, 48, 1400, 2047, 9000]);
            random.bytes(len)
        };
        send_all(at(offset), (0..DATAGRAM_COUNT).map(|_| noise()));
        // Whoever has the payload of a ping whole is who it is for.
        let payload = heard[0][..heard[0].len().min(PAYLOAD_LEN)].to_vec();
        let is_ping = |bytes: &Vec<u8>| offset != CONTROL && bytes.starts_with(&payload);
        let all = (0..DATAGRAM_COUNT).map(|_| mutated(&heard, random));
        send_all(at(offset), all.filter(|bytes| !is_ping(bytes)));
    }
    send_all(at(CONTROL), (0..DATAGRAM_COUNT).map(|_| enet_shaped(random)));
    send_all(at(CONTROL), (0..KNOCK_COUNT).map(|_| knock(random)));
    let control = relay.heard(CONTROL);
    send_all(at(CONTROL), forged(&control, 0..64));
    // The client's own, again: from elsewhere, and from where it is.
    send_all(at(CONTROL), control.iter().cloned());
    for offset in [CONTROL, VIDEO, AUDIO] {
        for bytes in relay.heard(offset) {
            let _ = relay.mouth(offset).send(&bytes);
        }
    }
    // Pings that are nearly right.
    for offset in [VIDEO, AUDIO] {
        let [ping, ..] = &relay.heard(offset)[..] else { panic!("no ping") };
        let nearly = (0..PAYLOAD_LEN).flat_map(|index| {
            let mut other = ping.clone();
            other[index] ^= 1;
            [other, ping[..index].to_vec(), b"PING".to_vec()]
        });
        send_all(at(offset), nearly);
    }
    for _ in 0..100 {
        let len = random.below(4000);
        exchange(at(RTSP), &[&random.bytes(len)[..], b"\r\n\r\n"].concat());
    }
    exchange(at(RTSP), b"PLAY / RTSP/1.0\r\nCSeq: 7\r\n\r\n");
    exchange(at(RTSP), b"TEARDOWN / RTSP/1.0\r\nCSeq: 8\r\nSession: DEADBEEFCAFE\r\n\r\n");
}

#[test]
fn whatever_strangers_send_a_stream_goes_on_and_others_may_come() {
    need_encoders();
    let clients = ["rsa-2048", "p-256"];
    let daemon = Daemon::start_paired(CONF, &clients);
    let folder = Folder::new();
    let [one, other] = clients.map(|name| folder.identity(name));
    let relay = Relay::start(&daemon);
    let mut streaming = stream(&daemon, relay.address, &one, STREAM_SECONDS_MAX);
    daemon.wait_log("session 1: first picture sent");
    let line_count = daemon.log().lines().count();

    thread::scope(|scope| {
        scope.spawn(|| attack(&daemon, &relay));
        serves_the_next(&daemon, &other);
    });
    serves_the_next(&daemon, &other);
    // Again, while nobody comes or goes, who makes memory grow and shrink.
    let resident_kib = daemon.resident_kib();
    attack(&daemon, &relay);

    let (now_kib, now_count) = (daemon.resident_kib(), daemon.log().lines().count());
    assert!(now_kib <= resident_kib + RESIDENT_KIB_MAX, "{now_kib} KiB, {resident_kib} before");
    assert!(now_count <= line_count + LINE_COUNT_MAX, "{now_count} lines, {line_count} before");
    assert!(!daemon.log().contains("session 1: ended"), "it is over");
    assert!(streaming.try_wait().unwrap().is_none(), "the client is gone");

    // Who can speak as the client can end its stay, and nobody else's.
    let (control, mut group) = (relay.heard(CONTROL), 0);
    eventually("it is over", || {
        for bytes in forged(&control, group..group + FORGED_COUNT) {
            let _ = relay.mouth(CONTROL).send(&bytes);
        }
        group += FORGED_COUNT;
        daemon.log().contains("session 1: ended").then_some(())
    });
    assert!(daemon.log().contains("forged messages on its control stream"));
    assert_eq!(error_of(streaming)["message"], "terminated");
    serves_the_next(&daemon, &other);
}
