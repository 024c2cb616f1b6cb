//! A client that comes to stay: it launches an app, announces its stream and connects the control
//! stream, as Moonlight does.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use enet::{Config, Delivery, Event, Host, PeerId};
use punktfunk_core::net::clock;
use punktfunk_core::proto::gamestream::control::seal::{Opener, Scheme, Sealer};
use punktfunk_core::proto::gamestream::secret::Secret;

use crate::peer::ask;
use crate::stub;
use crate::support::{Daemon, PATIENCE, attribute, exchange, free_port, paired_folder, program};

const RIKEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const KEYS: &str = "rikey=000102030405060708090a0b0c0d0e0f&rikeyid=-1";
/// What the vectors call the session.
const VECTOR_SESSION: &str = "abababababababab";
/// The vectors of the handshake up to ANNOUNCE, in the order of Moonlight.
const HANDSHAKE: [&str; 6] = [
    include_str!("../vectors/rtsp/options"),
    include_str!("../vectors/rtsp/describe"),
    include_str!("../vectors/rtsp/setup-audio"),
    include_str!("../vectors/rtsp/setup-video"),
    include_str!("../vectors/rtsp/setup-control"),
    include_str!("../vectors/rtsp/announce"),
];
/// An Xbox gamepad with motors in its body and nothing else, which is number 0.
const ARRIVAL: &[u8] = b"\x06\x02\x10\0\0\0\0\x0c\x04\0\0\x55\0\x01\x02\0\xff\xff\0\0";

/// A daemon that can encode, or says so.
pub fn host(lines: &str, clients: &[&str]) -> Daemon {
    let daemon = host_with(&[], lines, clients);
    daemon.wait_log("encoders: h264: software");
    daemon
}

/// A daemon with a plug-in that misbehaves as these say.
pub fn host_with(defines: &[&str], lines: &str, clients: &[&str]) -> Daemon {
    let folder = paired_folder(clients);
    let bin = folder.folder("bin", 0o755);
    fs::copy(program("punktfunkd"), bin.join("punktfunkd")).unwrap();
    let plugin = stub::build(&bin, defines);
    fs::copy(plugin, bin.join("libavenc.so")).unwrap();
    fs::set_permissions(bin.join("libavenc.so"), fs::Permissions::from_mode(0o644)).unwrap();
    Daemon::start_in(folder, free_port(), &format!("Capture test\n{lines}"))
}

/// A client and its end of the control stream.
pub struct Guest {
    socket: UdpSocket,
    host: Host,
    peer: Option<PeerId>,
    sealer: Sealer,
    opener: Opener,
    base_port: u16,
    /// What SETUP told: the session, the payload of pings for pictures, the connect data.
    told: Option<(String, String, u32)>,
}

impl Guest {
    /// Has the first app launched for a client with this certificate of the vectors.
    #[track_caller]
    pub fn launch(daemon: &Daemon, client: &str) -> Guest {
        let (_, apps) = daemon.api("GET", "/v1/apps", "");
        let answer =
            ask(daemon, client, &format!("/launch?appid={}&{KEYS}", apps["apps"][0]["id"]));
        assert_eq!(attribute(answer.text(), "status_code"), Some("200"), "{}", answer.text());
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let (scheme, rikey) = (Scheme::V2, Secret::new(RIKEY));
        Guest {
            socket,
            host: Host::new(Config::default(), clock::now()),
            peer: None,
            sealer: Sealer::of_client(scheme, &rikey),
            opener: Opener::of_client(scheme, &rikey),
            base_port: daemon.port,
            told: None,
        }
    }

    /// Goes through the handshake up to ANNOUNCE.
    #[track_caller]
    pub fn announce(&mut self) {
        let (mut session, mut ping, mut data) = (VECTOR_SESSION.to_owned(), String::new(), 0);
        for request in HANDSHAKE {
            let request = request.replace(VECTOR_SESSION, &session);
            let answer = exchange(self.address(21), request.as_bytes());
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with("RTSP/1.0 200 OK\r\n"), "{request}\n{answer}");
            let header = |name: &str| {
                let mut headers = answer.lines().filter_map(|line| line.split_once(": "));
                headers.find(|(other, _)| *other == name).map(|(_, value)| value.to_owned())
            };
            if let Some(named) = header("Session") {
                session = named.split(';').next().unwrap().to_owned();
            }
            ping = header("X-SS-Ping-Payload").unwrap_or(ping);
            data = header("X-SS-Connect-Data").map_or(data, |data| data.parse().unwrap());
        }
        self.told = Some((session, ping, data));
    }

    /// Connects the control stream with a gamepad, and asks for pictures.
    #[track_caller]
    pub fn connect(&mut self) {
        let (_, ping, data) = self.told.clone().expect("announced before");
        let pictures = self.address(9);
        self.socket.send_to(&[ping.as_bytes(), &[0, 0, 0, 1]].concat(), pictures).unwrap();
        let control = self.address(10).into();
        self.peer = Some(self.host.connect(control, 48, 7, data, clock::now()).unwrap());
        self.wait(|event| matches!(event, Event::Connected { .. }).then_some(()));
        let packet = self.sealer.seal(ARRIVAL).unwrap();
        let peer = self.peer.expect("connected above");
        self.host.send(peer, 0, &packet, Delivery::Reliable).unwrap();
        self.flush();
    }

    /// The next message of the host of this kind.
    #[track_caller]
    pub fn hear(&mut self, kind: u16) -> Vec<u8> {
        let mut opener =
            std::mem::replace(&mut self.opener, Opener::of_client(Scheme::V2, &Secret::new(RIKEY)));
        let heard = self.wait(|event| {
            let Event::Message { mut bytes, .. } = event else {
                return None;
            };
            let message = opener.open(&mut bytes).unwrap();
            message.starts_with(&kind.to_le_bytes()).then(|| message.to_vec())
        });
        self.opener = opener;
        heard
    }

    fn address(&self, offset: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.base_port + offset))
    }

    /// Sends and receives until something happens.
    #[track_caller]
    fn wait<T>(&mut self, mut look: impl FnMut(Event) -> Option<T>) -> T {
        let end = clock::now() + PATIENCE;
        let (mut datagram, mut inbox) = (Vec::new(), [0; 4096]);
        loop {
            let now = clock::now();
            assert!(now < end, "did not happen in {PATIENCE:?}");
            self.host.handle_timeout(now);
            while let Some(path) = self.host.poll_datagram(now, &mut datagram) {
                self.socket.send_to(&datagram, path.remote).unwrap();
            }
            // Pictures come on the same socket and are not looked at.
            if let Ok((len, from)) = self.socket.recv_from(&mut inbox)
                && from == self.address(10)
            {
                self.host.handle_datagram(from.into(), &inbox[..len], clock::now()).unwrap();
            }
            while let Some(event) = self.host.poll_event() {
                if let Some(found) = look(event) {
                    self.flush();
                    return found;
                }
            }
        }
    }

    /// Sends what is due: answers, and acknowledgements of what was heard.
    fn flush(&mut self) {
        let mut datagram = Vec::new();
        while let Some(path) = self.host.poll_datagram(clock::now(), &mut datagram) {
            self.socket.send_to(&datagram, path.remote).unwrap();
        }
    }
}
