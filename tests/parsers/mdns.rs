//! Packets of multicast DNS, to a responder that has its names and to one that is about to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use punktfunk_core::proto::mdns::{
    Arrival, Family, GROUP_V4, Link, PACKET_LEN_MAX, PORT, Responder,
};
use simple_dns::Packet;

/// Where the packets come in.
const INTERFACE: u32 = 2;
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 2));
/// Deadlines until a responder to which nobody speaks has nothing more to do.
const STEP_COUNT_MAX: usize = 64;
/// Packets that one packet is answered with at most.
const ANSWER_COUNT_MAX: usize = 8;

pub fn seeds() -> Vec<Vec<u8>> {
    super::owned(&[
        // Who has _nvstream._tcp.local? To all, then to the asker; then with an answer known.
        b"\0\0\0\0\0\x01\0\0\0\0\0\0\x09_nvstream\x04_tcp\x05local\0\0\x0c\0\x01",
        b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x09_nvstream\x04_tcp\x05local\0\0\x0c\x80\x01",
        b"\0\0\x02\0\0\x01\0\x01\0\0\0\0\x09_nvstream\x04_tcp\x05local\0\0\x0c\0\x01\
          \xc0\x0c\0\x0c\0\x01\0\0\x11\x94\0\x06\x03den\xc0\x0c",
        // Which services are there, and everything about the host.
        b"\0\0\0\0\0\x02\0\0\0\0\0\0\x09_services\x07_dns-sd\x04_udp\x05local\0\0\x0c\0\x01\
          \x03den\xc0\x23\0\xff\0\xff",
        // Somebody probes for the same name, with the record that he will have.
        b"\0\0\0\0\0\x01\0\0\0\x01\0\0\x03den\x09_nvstream\x04_tcp\x05local\0\0\xff\0\x01\
          \xc0\x0c\0\x21\0\x01\0\0\0\x78\0\x08\0\0\0\0\xff\xff\xc0\x21",
        // Somebody has it.
        b"\0\0\x84\0\0\0\0\x01\0\0\0\0\x03den\x09_nvstream\x04_tcp\x05local\0\0\x21\x80\x01\
          \0\0\0\x78\0\x0d\0\0\0\0\xbb\x75\x04evil\xc0\x20",
        b"\0\0\x84\0\0\0\0\x01\0\0\0\0\x03den\x05local\0\0\x01\x80\x01\0\0\0\x78\0\x04\x0a\0\0\x01",
        // A pointer to itself, a promise of many records, a question that ends early.
        b"\0\0\0\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x0c\0\x01",
        b"\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\x01\0\x01",
        b"\0\0\0\0\0\x01\0\0\0\0\0\0\x3f_nvstream",
    ])
}

fn responder(now: Instant) -> Responder {
    let kinds = [("_nvstream._tcp".to_owned(), 47_989)];
    let mut responder = Responder::new("den", "den", &kinds, 1).unwrap();
    let addresses = vec![OWN, "fe80::2".parse().unwrap()];
    responder.set_links(vec![Link { interface: INTERFACE, family: Family::V4, addresses }], now);
    responder
}

/// Does all that is due and takes all that is sent; returns the time after it.
fn settle(responder: &mut Responder, mut now: Instant) -> Instant {
    for _ in 0..STEP_COUNT_MAX {
        drain(responder);
        let Some(at) = responder.poll_timeout() else {
            return now;
        };
        now = now.max(at);
        responder.handle_timeout(now);
    }
    panic!("no rest after {STEP_COUNT_MAX} deadlines");
}

fn drain(responder: &mut Responder) {
    let mut count = 0;
    while let Some(packet) = responder.poll_output() {
        count += 1;
        assert!(packet.bytes.len() <= PACKET_LEN_MAX && packet.interface == INTERFACE);
        Packet::parse(&packet.bytes).expect("it sends what can be read");
    }
    assert!(count <= ANSWER_COUNT_MAX, "{count} packets at once");
}

pub fn check(bytes: &[u8]) {
    let peer = Ipv4Addr::new(192, 168, 1, 3);
    let arrivals = [
        (PORT, IpAddr::V4(GROUP_V4)),   // as responders ask
        (40_000, IpAddr::V4(GROUP_V4)), // as old resolvers ask
        (PORT, OWN),
    ];
    let start = super::epoch();
    let mut settled = responder(start);
    let mut now = settle(&mut settled, start);
    let mut probing = responder(start);
    for (port, to) in arrivals {
        let source = SocketAddr::from((peer, port));
        let arrival = Arrival { interface: INTERFACE, source, to, is_local: true };
        let _ = settled.handle_input(bytes, &arrival, now);
        now = settle(&mut settled, now) + Duration::from_secs(2);
        let _ = probing.handle_input(bytes, &arrival, start);
        drain(&mut probing);
    }
    settle(&mut probing, start);
    assert!(!settled.instance().is_empty());
    settled.close();
    drain(&mut settled);
}
