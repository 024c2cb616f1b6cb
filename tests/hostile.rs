//! A daemon under attack answers or drops in bounded time and memory, and serves the next honest
//! client.

#![allow(clippy::disallowed_methods, reason = "attacks take real time")]

mod support;

use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore};

use support::{Daemon, PATIENCE, command, eventually, exchange, free_port, output, split_answer};

const CERTIFICATE: &str = include_str!("vectors/certificates/rsa-2048.pem");
/// Resident memory that an attack may leave behind, in KiB.
const RESIDENT_KIB_MAX: u64 = 6 * 1024;
/// Descriptors that may still be closing when an attack is over.
const DESCRIPTOR_COUNT_MAX: usize = 16;
/// Lines that an attack may add to the log.
const LINE_COUNT_MAX: usize = 64;
/// Connections of the longest flood.
const FLOOD_COUNT: usize = 100_000;

/// What the daemon takes while nobody attacks it.
struct Calm {
    resident_kib: u64,
    descriptor_count: usize,
    line_count: usize,
}

impl Calm {
    /// After everything that is made once was made.
    fn of(daemon: &Daemon) -> Calm {
        serves_the_next(daemon);
        Calm {
            resident_kib: daemon.resident_kib(),
            descriptor_count: daemon.descriptor_count(),
            line_count: daemon.log().lines().count(),
        }
    }

    /// Whether the daemon is as it was, and serves.
    #[track_caller]
    fn returns(&self, daemon: &Daemon) {
        serves_the_next(daemon);
        eventually("descriptors are closed", || {
            let count = daemon.descriptor_count();
            (count <= self.descriptor_count + DESCRIPTOR_COUNT_MAX).then_some(())
        });
        self.is_kept(daemon);
    }

    /// Whether memory and log are still within their bounds.
    #[track_caller]
    fn is_kept(&self, daemon: &Daemon) {
        let (before, now) = (self.resident_kib, daemon.resident_kib());
        assert!(now <= before + RESIDENT_KIB_MAX, "{now} KiB, {before} KiB before");
        let line_count = daemon.log().lines().count() - self.line_count;
        assert!(line_count <= LINE_COUNT_MAX, "{line_count} lines\n{}", daemon.log());
    }
}

/// Every plane answers.
#[track_caller]
fn serves_the_next(daemon: &Daemon) {
    let (status, body) = daemon.http("/serverinfo?uniqueid=0123456789ABCDEF");
    assert_eq!((status, body.contains("<hostname>")), (200, true), "{body}");
    let url = format!("https://127.0.0.1:{}/applist", daemon.port - 5);
    let curl = ["--silent", "--show-error", "--insecure", "--max-time", "30", &url];
    let said = output(Command::new("curl").args(curl));
    let body = String::from_utf8_lossy(&said.stdout);
    assert!(body.contains("status_code=\"401\""), "{body}{said:?}");
    assert!(daemon.ctl(&["status"]).status.success());
}

fn http(daemon: &Daemon) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], daemon.port))
}

fn https(daemon: &Daemon) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], daemon.port - 5))
}

/// A connection from one of this machine's many addresses.
fn connect_from(source: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let name = |address: SocketAddrV4| libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    };
    let check = |result: i32| match result {
        -1 => Err(std::io::Error::last_os_error()),
        result => Ok(result),
    };
    let (from, to) = (SocketAddrV4::new(source, 0), SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    let (from, to) = (name(from), name(to));
    let len = size_of_val(&to) as libc::socklen_t;
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) })?;
    // SAFETY: `fd` was returned by socket() just now and is owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: both names are whole sockaddr_in of `len` bytes and outlive the calls.
    unsafe {
        check(libc::bind(fd, (&raw const from).cast(), len))?;
        check(libc::connect(fd, (&raw const to).cast(), len))?;
    }
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Closes with a reset instead of an end.
fn reset(socket: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let len = size_of_val(&linger) as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_LINGER);
    // SAFETY: `linger` has `len` bytes and outlives the call.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const linger).cast(), len)
    };
    assert_eq!(set, 0);
}

/// The first message of an honest TLS client.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "host".try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Whether the other end has closed, without waiting.
fn is_cut(socket: &mut TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let result = socket.read(&mut [0; 1024]);
    match result {
        Ok(len) => len == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// The first stage of a pairing.
fn first_stage(query: &str) -> String {
    let certificate: String = CERTIFICATE.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "GET /pair?uniqueid=7&phrase=getservercert&salt=000102030405060708090a0b0c0d0e0f\
         &clientcert={certificate}{query} HTTP/1.1\r\nHost: a\r\n\r\n"
    )
}

#[test]
fn heads_that_drip_are_cut_off_and_the_next_client_is_served() {
    let daemon = Daemon::start("LoginGraceTime 1s");
    let calm = Calm::of(&daemon);
    let head = format!("GET /{} HTTP/1.1\r\n", "a".repeat(8000)).into_bytes();
    let hello = client_hello();

    let mut slow: Vec<(TcpStream, &[u8])> = Vec::new();
    for _ in 0..20 {
        slow.push((TcpStream::connect(http(&daemon)).unwrap(), &head));
        slow.push((TcpStream::connect(https(&daemon)).unwrap(), &hello));
    }
    let mut sent_len = 0;
    eventually("all are cut off", || {
        for (socket, bytes) in &mut slow {
            // One that is cut already takes no more.
            let _ = socket.write_all(&bytes[sent_len..=sent_len]);
        }
        sent_len += 1;
        slow.retain_mut(|(socket, _)| !is_cut(socket));
        slow.is_empty().then_some(())
    });

    calm.returns(&daemon);
}

#[test]
fn silent_connections_take_nobodys_place() {
    let daemon = Daemon::start("MaxConnections 64");
    let calm = Calm::of(&daemon);

    let mut held = VecDeque::new();
    for index in 0..4000 {
        let port = daemon.port - 5 * (index % 2);
        held.push_back(connect_from(Ipv4Addr::new(127, 0, 0, 9), port).unwrap());
        if held.len() > 200 {
            held.pop_front();
        }
        if index % 1000 == 999 {
            serves_the_next(&daemon);
        }
    }

    let limit = calm.descriptor_count + 64 + DESCRIPTOR_COUNT_MAX;
    assert!(daemon.descriptor_count() <= limit);
    calm.is_kept(&daemon);
    drop(held);
    calm.returns(&daemon);
}

/// Connections of four kinds from many addresses, in turn: nothing, an end, a reset, garbage.
fn flood(port: u16, count: usize) {
    for index in 0..count {
        let [_, _, c, d] = (index as u32 / 64 % 0xfffe + 1).to_be_bytes();
        let mut socket = connect_from(Ipv4Addr::new(127, 9, c, d), port).unwrap();
        let _ = match index / 4 % 4 {
            0 => Ok(()),
            1 => socket.shutdown(Shutdown::Write),
            2 => {
                socket.write_all(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 GET / HTTP/1.1\r\n\r\n")
            }
            _ => socket.write_all(&[0xff; 64]),
        };
        reset(socket);
    }
}

#[test]
fn a_hundred_thousand_connections_that_ask_nothing_are_survived() {
    let daemon = Daemon::start("");
    let calm = Calm::of(&daemon);

    thread::scope(|scope| {
        for port in [daemon.port, daemon.port - 5] {
            scope.spawn(move || flood(port, FLOOD_COUNT / 2));
        }
        for _ in 0..3 {
            assert!(daemon.ctl(&["status"]).status.success());
        }
    });

    calm.returns(&daemon);
}

#[test]
fn without_descriptors_it_rests_and_recovers() {
    let daemon = Daemon::start("LoginGraceTime 60s");
    let calm = Calm::of(&daemon);
    let limit = |count: usize| {
        let (pid, soft) = (daemon.pid().to_string(), format!("--nofile={count}:"));
        let said = output(command("prlimit").args(["--pid", &pid, &soft]));
        assert!(said.status.success(), "{said:?}");
    };

    limit(daemon.descriptor_count() + 4);
    let held: Vec<TcpStream> = (0..60)
        .map(|index| {
            let address = if index % 2 == 0 { http(&daemon) } else { https(&daemon) };
            TcpStream::connect(address).unwrap()
        })
        .collect();
    daemon.wait_log("none can be taken for the moment");
    let before = cpu_ticks(&daemon);
    thread::sleep(Duration::from_secs(2));
    let ticks = cpu_ticks(&daemon) - before;

    // Of two hundred. It waits, and does not try all the time.
    assert!(ticks < 100, "{ticks} ticks");
    calm.is_kept(&daemon);
    drop(held);
    eventually("it answers with the descriptors that it has", || {
        let mut socket = TcpStream::connect(http(&daemon)).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(b"GET /serverinfo HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        (split_answer(&answer).0 == 200).then_some(())
    });
    limit(1024);
    calm.returns(&daemon);
}

/// Processor time used, in hundredths of a second.
fn cpu_ticks(daemon: &Daemon) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let number = |index: usize| -> u64 { fields.split(' ').nth(index).unwrap().parse().unwrap() };
    number(11) + number(12)
}

#[test]
fn what_is_no_request_is_refused_and_the_next_client_is_served() {
    let daemon = Daemon::start("");
    let calm = Calm::of(&daemon);
    let header_bomb = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(2000));
    let long_line = format!("GET /{}", "a".repeat(100_000));
    let long_header = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "a".repeat(200_000));
    let one = "GET /serverinfo HTTP/1.1\r\nHost: a\r\n\r\n";
    let pipelined = one.repeat(500);
    let hello = client_hello();
    let table: &[(&[u8], u16)] = &[
        (b"POST /pair HTTP/1.1\r\nHost: a\r\nContent-Length: 1099511627776\r\n\r\n", 413),
        (b"POST /pair HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /pair HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", 501),
        (b"POST /serverinfo HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (header_bomb.as_bytes(), 431),
        (long_line.as_bytes(), 431),
        (long_header.as_bytes(), 431),
        (pipelined.as_bytes(), 200),
        (b"GET /serverinfo\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /serverinfo?\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /serverinfo HTTP/1.1\r\nHost: a\r\nA: \xff\r\n\r\n", 400),
        (b"GET /serverinfo HTTP/9.9\r\nHost: a\r\n\r\n", 505),
        (b"GET http://a/serverinfo HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET /appasset?appid=../../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET /appasset/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"\r\n\r\n\r\n\r\n", 400),
        // TLS that has lost its way; it asks for nothing until there is an empty line.
        (&[&hello[..], b"\r\n\r\n"].concat(), 400),
    ];

    for (bytes, status) in table {
        let answer = String::from_utf8_lossy(&exchange(http(&daemon), bytes)).into_owned();

        assert_eq!(split_answer(&answer).0, *status, "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    calm.returns(&daemon);
}

#[test]
fn tls_that_goes_wrong_costs_its_connection_and_no_more() {
    let daemon = Daemon::start("LoginGraceTime 2s");
    let calm = Calm::of(&daemon);
    let hello = client_hello();
    let early_data = [&hello[..], &[0x17, 3, 3, 0x40, 0], &[0x5a; 0x4000]].concat();
    let table: &[&[u8]] = &[
        b"GET /serverinfo HTTP/1.1\r\nHost: a\r\n\r\n",
        &[0x16, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff],
        &[0x80, 0x2e, 1, 0, 2],
        &[0; 4096],
        &[&hello[..], &[0xff; 64]].concat(),
        &hello[..hello.len() / 2],
        &[&hello[..], &hello[..]].concat(),
        &early_data,
        // A warning, and another, and another.
        &[0x15, 3, 3, 0, 2, 1, 90].repeat(10_000),
        // Change cipher spec, as often.
        &[&hello[..], &[0x14, 3, 3, 0, 1, 1].repeat(10_000)].concat(),
    ];

    for bytes in table {
        // It returns when the other end has closed.
        exchange(https(&daemon), bytes);
    }
    // A flood of handshakes that begin, each of which costs the host a signature, and do not end.
    let held: Vec<TcpStream> = (0..300)
        .map(|index| {
            let source = Ipv4Addr::new(127, 0, 1, (index % 3) as u8 + 1);
            let mut socket = connect_from(source, daemon.port - 5).unwrap();
            let _ = socket.write_all(&hello);
            socket
        })
        .collect();
    serves_the_next(&daemon);
    drop(held);
    renegotiate(&daemon);

    calm.returns(&daemon);
}

/// Asks for the handshake again and again, as `R` on a line tells s_client to.
fn renegotiate(daemon: &Daemon) {
    let address = https(daemon).to_string();
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-no_ign_eof", "-tls1_2", "-connect", &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    for _ in 0..50 {
        // It may have been cut off.
        let _ = input.write_all(b"R\n");
    }
    drop(input);
    client.wait().unwrap();
}

#[test]
fn who_asks_and_never_reads_is_not_waited_for() {
    let daemon = Daemon::start("");
    let calm = Calm::of(&daemon);

    let held: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut socket = connect_from(Ipv4Addr::new(127, 0, 0, 9), daemon.port).unwrap();
            let _ = socket.write_all(b"GET /serverinfo HTTP/1.1\r\nHost: a\r\n\r\n");
            socket
        })
        .collect();
    serves_the_next(&daemon);
    // One that goes on sending once it was answered.
    let mut endless = TcpStream::connect(http(&daemon)).unwrap();
    endless.set_write_timeout(Some(PATIENCE)).unwrap();
    let bytes = b"GET /serverinfo HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let cut = (0..10_000).find(|_| endless.write_all(&bytes).is_err());

    assert!(cut.is_some(), "400 MB were taken");
    drop(held);
    calm.returns(&daemon);
}

#[test]
fn pairings_that_nobody_asked_for_stay_few() {
    let daemon = Daemon::start("GameStream on\nPairingWindow 60s");
    let calm = Calm::of(&daemon);

    let mut held: Vec<TcpStream> = (0..20)
        .map(|index| {
            let source = Ipv4Addr::new(127, 0, 2, index + 1);
            let mut socket = connect_from(source, daemon.port).unwrap();
            socket.write_all(first_stage("").as_bytes()).unwrap();
            socket
        })
        .collect();

    // Eight wait for their PIN, and the others were told at once that there are too many.
    let mut refused_count = 0;
    eventually("twelve are refused", || {
        held.retain_mut(|socket| {
            socket.set_nonblocking(true).unwrap();
            let mut answer = [0; 1024];
            let len = socket.read(&mut answer).unwrap_or(0);
            let is_refused = String::from_utf8_lossy(&answer[..len]).contains("Too many");
            refused_count += usize::from(is_refused);
            !is_refused
        });
        (refused_count == 12).then_some(())
    });
    let pairings = daemon.ctl_json(&["pair", "list"]);
    assert_eq!(pairings.to_string().matches("\"waiting\"").count(), 8, "{pairings}");
    drop(held);
    calm.returns(&daemon);
}

#[test]
fn pairings_that_come_and_go_do_not_fill_the_log() {
    let daemon = Daemon::start("");
    let calm = Calm::of(&daemon);

    for index in 0..2000_u32 {
        let [_, _, c, d] = (index % 0xfffe + 1).to_be_bytes();
        let mut socket = connect_from(Ipv4Addr::new(127, 7, c, d), daemon.port).unwrap();
        socket.write_all(first_stage("").as_bytes()).unwrap();
    }

    calm.returns(&daemon);
}

#[test]
fn the_api_over_tcp_cannot_shut_out_the_control_socket() {
    let port = free_port();
    let daemon = Daemon::start(&format!("Http 127.0.0.1:{port}"));
    let calm = Calm::of(&daemon);
    let api = SocketAddr::from(([127, 0, 0, 1], port));

    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(api).unwrap()).collect();
    serves_the_next(&daemon);
    drop(silent);
    for _ in 0..1000 {
        let request = b"POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        let answer = exchange(api, request);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 401 "));
    }

    calm.returns(&daemon);
}

#[test]
fn the_control_socket_outlives_whoever_may_open_it() {
    let daemon = Daemon::start("LoginGraceTime 1s");
    let calm = Calm::of(&daemon);
    let nested = "[".repeat(60_000);
    let table = [
        ("PUT /v1/log-level HTTP/1.1\r\nHost: a", nested.as_str(), 400),
        ("PUT /v1/log-level HTTP/1.1\r\nHost: a", "{\"level\":\"\\ud800\"}", 400),
        ("PUT /v1/log-level HTTP/1.1\r\nHost: a", "{\"level\":\"x\\u0000\"}", 400),
        ("PATCH /v1/sessions/1 HTTP/1.1\r\nHost: a", nested.as_str(), 400),
        ("PATCH /v1/sessions/1 HTTP/1.1\r\nHost: a", "{\"bitrate_kbps\":1e400}", 400),
        ("POST /v1/sessions/1/feedback HTTP/1.1\r\nHost: a", "{\"gamepad\":-1}", 400),
        ("POST /v1/sessions/1/feedback HTTP/1.1\r\nHost: a", nested.as_str(), 400),
        ("POST /v1/sessions/18446744073709551616/idr HTTP/1.1\r\nHost: a", "", 400),
        ("DELETE /v1/sessions/%31 HTTP/1.1\r\nHost: a", "", 400),
        ("PUT /v1/log-level HTTP/1.1\r\nHost: a\r\nExpect: 100-continue", "{", 400),
        ("GET /v1/../v1/status HTTP/1.1\r\nHost: a", "", 404),
        ("GET /v1/status%00 HTTP/1.1\r\nHost: a", "", 404),
        ("PROPFIND /v1/status HTTP/1.1\r\nHost: a", "", 405),
    ];

    for (head, body, status) in table {
        let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(ask(&daemon, request.as_bytes()), status, "{head} {body:.40}");
    }
    let endless = "POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 1099511627776\r\n\r\n";
    assert_eq!(ask(&daemon, endless.as_bytes()), 413);
    let silent: Vec<UnixStream> =
        (0..200).map(|_| UnixStream::connect(daemon.socket()).unwrap()).collect();
    serves_the_next(&daemon);
    drop(silent);

    calm.returns(&daemon);
}

/// The status of what the control socket answers.
fn ask(daemon: &Daemon, request: &[u8]) -> u16 {
    let mut socket = UnixStream::connect(daemon.socket()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = socket.write_all(request);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    split_answer(&String::from_utf8_lossy(&answer)).0
}

#[test]
fn what_strangers_call_themselves_stays_on_its_line() {
    let daemon = Daemon::start("LogLevel trace\nLoginGraceTime 1s");
    let evil = "%0d%0a2026-01-01T00:00:00.000000Z%20error%20evil%1b%5b2J%c2%85%e2%80%a8";

    for target in [
        format!("/unpair?uniqueid={evil}"),
        format!("/pair?uniqueid={evil}&clientchallenge={evil}"),
        format!("/{evil}?uniqueid={evil}"),
        "/\u{85}\u{9b}2J".to_owned(),
    ] {
        daemon.http(&target);
    }
    let mut pairing = TcpStream::connect(http(&daemon)).unwrap();
    let first = first_stage(&format!("&devicename={evil}"));
    pairing.write_all(first.as_bytes()).unwrap();
    daemon.wait_log("asks to pair");
    let pairings = daemon.ctl(&["pair", "list"]);

    let log = daemon.log();
    for line in log.lines() {
        assert!(line.len() > 28 && line.as_bytes()[26] == b'Z', "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(!line.starts_with("2026-01-01T00:00:00.000000Z error"), "{line:?}");
    }
    let shown = String::from_utf8(pairings.stdout).unwrap();
    assert!(shown.lines().all(|line| !line.contains(char::is_control)), "{shown:?}");
}
