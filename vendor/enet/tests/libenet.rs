//! Debian's libenet as the other end, at either end, over a relay that loses, reorders and repeats.
//! libenet knows IPv4 only: where this end speaks IPv6, the relay goes between.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a real peer in real time")]

mod pair;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use enet::{Config, Delivery, Departure, Event, Host, Outcome, Parting, PeerId};
use pair::Random;

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Messages of each kind.
const COUNT: u32 = 40;
const DATA: u32 = 0xdead_beef;

#[derive(Clone, Copy, Debug)]
struct Weather {
    is_v6: bool,
    loss_percent: u8,
    duplicate_percent: u8,
    delay_ms_max: usize,
}

const WEATHERS: [Weather; 4] = [
    Weather { is_v6: false, loss_percent: 0, duplicate_percent: 0, delay_ms_max: 0 },
    Weather { is_v6: true, loss_percent: 0, duplicate_percent: 0, delay_ms_max: 0 },
    Weather { is_v6: false, loss_percent: 20, duplicate_percent: 10, delay_ms_max: 8 },
    Weather { is_v6: true, loss_percent: 20, duplicate_percent: 10, delay_ms_max: 8 },
];

fn has(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The C program, built once.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        assert!(has("gcc", &["--version"]), "gcc is not there: run scripts/setup build");
        let includes = ["-E", "-include", "enet/enet.h", "-x", "c", "/dev/null"];
        assert!(has("gcc", &includes), "libenet is not there: run scripts/setup test");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libenet/peer.c");
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("libenet-peer");
        let mut command = Command::new("gcc");
        command.args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&path);
        assert!(command.args([source, "-lenet"]).status().unwrap().success());
        path
    })
}

/// The program while it runs, and what it says.
struct Peer {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Peer {
    fn start(arguments: &[&str]) -> Peer {
        let mut command = Command::new(program());
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Peer { child, said }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn rest(mut self) -> Vec<String> {
        let lines = (&mut self.said).lines().map(Result::unwrap).collect();
        assert!(self.child.wait().unwrap().success(), "{lines:?}");
        lines
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket(is_v6: bool) -> UdpSocket {
    let address = match is_v6 {
        false => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        true => SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
    };
    UdpSocket::bind(address).unwrap()
}

/// Between one who calls and one who is called.
struct Relay {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// `is_v6` says it of either side: whence it is called, and whom it calls.
    fn start(called: SocketAddr, is_v6: [bool; 2], weather: Weather) -> Relay {
        let sockets = is_v6.map(socket);
        for socket in &sockets {
            socket.set_nonblocking(true).unwrap();
        }
        let address = sockets[0].local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let thread =
            thread::spawn(move || relay(&sockets, [None, Some(called)], weather, &is_stopped));
        Relay { address, stop, thread: Some(thread) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let result = self.thread.take().unwrap().join();
        assert!(result.is_ok() || thread::panicking());
    }
}

fn relay(
    sockets: &[UdpSocket; 2],
    mut peers: [Option<SocketAddr>; 2],
    weather: Weather,
    stop: &AtomicBool,
) {
    let mut random = Random::new(5);
    let mut under_way = BTreeMap::new();
    let mut count = 0_u64;
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        for side in 0..2 {
            while let Ok((len, from)) = sockets[side].recv_from(&mut buffer) {
                peers[side] = Some(from);
                if random.happens(weather.loss_percent) {
                    continue;
                }
                for _ in 0..=u8::from(random.happens(weather.duplicate_percent)) {
                    let delay = random.below(weather.delay_ms_max + 1) as u64;
                    let at = Instant::now() + Duration::from_millis(delay);
                    count += 1;
                    under_way.insert((at, count), (1 - side, buffer[..len].to_vec()));
                }
            }
        }
        while let Some(first) = under_way.first_entry() {
            if first.key().0 > Instant::now() {
                break;
            }
            let (side, bytes) = first.remove();
            if let Some(peer) = peers[side] {
                let _ = sockets[side].send_to(&bytes, peer); // whoever is gone hears nothing
            }
        }
        thread::sleep(Duration::from_micros(300));
    }
}

/// Our end, with its socket and the clock.
struct End {
    host: Host,
    socket: UdpSocket,
    start: Instant,
}

impl End {
    fn new(is_v6: bool) -> End {
        let start = Instant::now();
        End { host: Host::new(Config::default(), start), socket: socket(is_v6), start }
    }

    /// The next event, after as much work as it takes.
    fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.host.poll_event() {
                return event;
            }
            self.turn();
        }
    }

    /// Sends what there is, waits for a datagram or the clock, and takes it.
    fn turn(&mut self) {
        assert!(self.start.elapsed() < PATIENCE, "{:?}", self.host);
        self.flush();
        let now = Instant::now();
        let wait = self.host.poll_timeout().map_or(PATIENCE, |at| at.duration_since(now));
        let wait = wait.clamp(Duration::from_millis(1), Duration::from_secs(1));
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 4096];
        match self.socket.recv_from(&mut buffer) {
            Ok((len, from)) => {
                let now = Instant::now();
                let outcome = self.host.handle_datagram(from.into(), &buffer[..len], now);
                if let Ok(Outcome::Knock(knock)) = outcome {
                    assert_eq!(knock.data, DATA);
                    self.host.admit(knock, now).unwrap();
                }
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        self.host.handle_timeout(Instant::now());
    }

    fn flush(&mut self) {
        let mut bytes = Vec::new();
        while let Some(to) = self.host.poll_datagram(Instant::now(), &mut bytes) {
            self.socket.send_to(&bytes, to.remote).unwrap();
        }
    }

    /// Works on for a while.
    fn linger(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn();
        }
    }
}

fn delivery(channel: u8) -> Delivery {
    match channel {
        1 => Delivery::Unreliable,
        2 => Delivery::Unsequenced,
        _ => Delivery::Reliable,
    }
}

/// As peer.c makes them.
fn message(number: u32, len: usize) -> Vec<u8> {
    let filling = (4..len as u32).map(|index| (number * 31 + index * 7 + index / 251) as u8);
    number.to_le_bytes().into_iter().chain(filling).collect()
}

fn number(bytes: &[u8]) -> u32 {
    let number = u32::from_le_bytes(*bytes.first_chunk().unwrap());
    assert_eq!(bytes, message(number, bytes.len()));
    number
}

#[test]
fn a_client_of_libenet_is_served() {
    for weather in WEATHERS {
        let mut end = End::new(weather.is_v6);
        let called = end.socket.local_addr().unwrap();
        let relay = Relay::start(called, [false, weather.is_v6], weather);
        let port = relay.address.port().to_string();
        let client = Peer::start(&["client", &port, &COUNT.to_string()]);
        let mut numbers: [Vec<u32>; 4] = Default::default();

        let Event::Connected { peer, channel_count } = end.event() else {
            panic!("not connected, {weather:?}");
        };
        let departure = loop {
            match end.event() {
                Event::Connected { .. } => panic!("twice, {weather:?}"),
                Event::Disconnected { departure, .. } => break departure,
                Event::Message { channel, bytes, .. } => {
                    numbers[usize::from(channel)].push(number(&bytes));
                    end.host.send(peer, channel, &bytes, delivery(channel)).unwrap();
                }
            }
        };
        end.linger(Duration::from_millis(if weather.loss_percent == 0 { 50 } else { 3000 }));

        assert_eq!((departure, channel_count), (Departure::Left(77), 48), "{weather:?}");
        check(&numbers, COUNT + 1, weather);
        let said = client.rest();
        assert_eq!(said[0], "connect 48", "{weather:?}");
        let echoes: Vec<u32> =
            said[1].split(' ').skip(1).map(|count| count.parse().unwrap()).collect();
        let whole = [COUNT, numbers[1].len() as u32, numbers[2].len() as u32, COUNT / 10];
        assert_eq!([echoes[0], echoes[3]], [whole[0], whole[3]], "{weather:?}");
        assert!(echoes[1] <= whole[1] && echoes[2] <= whole[2], "{weather:?}");
    }
}

/// What came on each channel, of numbers up to `unreliable_max` on the unreliable one.
fn check(numbers: &[Vec<u32>; 4], unreliable_max: u32, weather: Weather) {
    let [reliable, unreliable, unsequenced, long] = numbers;
    assert!(reliable.iter().copied().eq(1..=COUNT), "{weather:?}: {reliable:?}");
    assert!(long.iter().copied().eq((10..=COUNT).step_by(10)), "{weather:?}: {long:?}");
    assert!(unreliable.is_sorted_by(|one, other| one < other), "{weather:?}: {unreliable:?}");
    let mut unsequenced = unsequenced.clone();
    unsequenced.sort_unstable();
    assert!(unsequenced.is_sorted_by(|one, other| one < other), "{weather:?}: {unsequenced:?}");
    assert!(!unreliable.is_empty() && !unsequenced.is_empty(), "{weather:?}");
    if weather.loss_percent == 0 {
        assert!(unreliable.iter().copied().eq(1..=unreliable_max), "{weather:?}: {unreliable:?}");
        assert!(unsequenced.into_iter().eq(1..=COUNT), "{weather:?}");
    }
}

fn send_all(end: &mut End, peer: PeerId) {
    for number in 1..=COUNT {
        let bytes = message(number, 4 + number as usize * 13 % 800);
        for channel in 0..3 {
            end.host.send(peer, channel, &bytes, delivery(channel)).unwrap();
        }
        if number % 10 == 0 {
            let bytes = message(number, number as usize * 300); // no more than sockets buffer
            end.host.send(peer, 3, &bytes, Delivery::Reliable).unwrap();
        }
    }
    let last = message(COUNT + 1, 3000);
    end.host.send(peer, 1, &last, Delivery::Unreliable).unwrap();
}

#[test]
fn a_server_of_libenet_is_called() {
    for weather in WEATHERS {
        let mut server = Peer::start(&["server"]);
        let port: u16 = server.line().strip_prefix("port ").unwrap().parse().unwrap();
        let called = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let relay = Relay::start(called, [weather.is_v6, false], weather);
        let mut end = End::new(weather.is_v6);
        let now = end.start;
        let peer = end.host.connect(relay.address.into(), 48, 0x1234_5678, DATA, now).unwrap();
        let mut echoes: [Vec<u32>; 4] = Default::default();

        assert_eq!(end.event(), Event::Connected { peer, channel_count: 48 }, "{weather:?}");
        send_all(&mut end, peer);
        while echoes[0].len() < COUNT as usize || echoes[3].len() < COUNT as usize / 10 {
            match end.event() {
                Event::Message { channel, bytes, .. } => {
                    echoes[usize::from(channel)].push(number(&bytes));
                }
                event => panic!("{event:?}, {weather:?}"),
            }
        }
        end.host.disconnect(peer, 99, Parting::WhenSent);
        let departure = loop {
            match end.event() {
                Event::Disconnected { departure, .. } => break departure,
                Event::Message { .. } => {}
                event => panic!("{event:?}, {weather:?}"),
            }
        };

        // libenet says once that it has heard; where that is lost, there is no other word of it.
        let has_loss = weather.loss_percent > 0;
        let is_lost = has_loss && departure == Departure::TimedOut;
        assert!(departure == Departure::Dismissed || is_lost, "{weather:?}");
        let unreliable_max = echoes[1].last().copied().unwrap_or(0);
        check(&echoes, unreliable_max, weather);
        assert_eq!(server.rest(), [format!("connect {DATA} 48"), "disconnect 99".into()]);
    }
}

#[test]
fn libenet_hears_of_a_sudden_end() {
    let mut server = Peer::start(&["server"]);
    let port: u16 = server.line().strip_prefix("port ").unwrap().parse().unwrap();
    let mut end = End::new(false);
    let path = SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into();
    let peer = end.host.connect(path, 255, 1, 7, end.start).unwrap();
    assert_eq!(end.event(), Event::Connected { peer, channel_count: 48 });
    end.flush();

    end.host.disconnect(peer, 5, Parting::AtOnce);
    end.flush();

    assert_eq!(server.rest(), ["connect 7 48", "disconnect 5"]);
    assert_eq!((end.host.poll_event(), end.host.poll_timeout()), (None, None));
}
