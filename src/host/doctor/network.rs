//! Addresses of this machine, and whether it is announced and heard.

#![forbid(unsafe_code)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use punktfunk_core::net::udp::MulticastSocket;
use punktfunk_core::net::{Interface, clock, netlink};
use punktfunk_core::proto::mdns::{GROUP_V4, GROUP_V6, PACKET_LEN_MAX, PORT};

use super::{Finding, Running, Subject};
use crate::code::Code;
use crate::conf::GameStream;

/// The answer to a question of ours takes milliseconds; multicast may be lost once.
const ECHO_TIME: Duration = Duration::from_millis(600);
const ECHO_COUNT: usize = 3;

/// Whether there are addresses that clients can reach.
pub(super) fn check(subject: &Subject) -> Vec<Finding> {
    vec![match netlink::interfaces() {
        Ok(interfaces) => judge(&interfaces, &subject.conf.listen),
        Err(error) => Finding::note(Code::Network, format_args!("not known: {error}")),
    }]
}

fn judge(interfaces: &[Interface], listen: &[IpAddr]) -> Finding {
    let code = Code::Network;
    let is_there =
        |ip: &IpAddr| ip.is_unspecified() || interfaces.iter().any(|it| it.addresses.contains(ip));
    if let Some(ip) = listen.iter().find(|ip| !is_there(ip)) {
        return Finding::broken(code, format_args!("{ip} is no address of this machine"))
            .remedy("correct Listen");
    }
    let outward = interfaces.iter().filter(|it| it.up && !it.is_loopback);
    let named: Vec<String> = outward
        .filter(|interface| !interface.addresses.is_empty())
        .map(|interface| {
            let addresses: Vec<String> =
                interface.addresses.iter().map(ToString::to_string).collect();
            format!("{} {}", interface.name, addresses.join(" "))
        })
        .collect();
    if named.is_empty() {
        return Finding::broken(code, "no address but those of this machine alone")
            .remedy("connect it to a network: 'ip address' shows what it has");
    }
    Finding::well(code, named.join(", "))
}

/// Whether the host is announced, and whether a question for it is answered.
pub(super) fn check_mdns(subject: &Subject, running: &Running) -> Vec<Finding> {
    let code = Code::Mdns;
    let is_off = !subject.conf.mdns || subject.conf.gamestream == GameStream::Off;
    match &running.announced {
        None if is_off => vec![
            Finding::note(code, "nothing is announced, as the configuration says")
                .remedy("set Mdns yes, or add this machine by its address at the client"),
        ],
        None => vec![
            Finding::broken(code, "nothing is announced: the log says why")
                .remedy("free UDP port 5353 for others: its holder must share it"),
        ],
        Some((instance, names)) if names.is_empty() => vec![
            Finding::broken(code, format_args!("no interface to announce {instance:?} on"))
                .remedy("name one with MdnsInterface"),
        ],
        Some((instance, names)) => {
            let what = format_args!("{instance:?} is announced on {}", names.join(", "));
            vec![Finding::well(code, what), check_echo(instance, names)]
        }
    }
}

/// Asks for the host through each interface, as a client would.
fn check_echo(instance: &str, names: &[String]) -> Finding {
    let code = Code::MdnsEcho;
    let silent = netlink::interfaces().and_then(|all| {
        let named: Vec<Interface> =
            all.into_iter().filter(|interface| names.contains(&interface.name)).collect();
        ask(instance, &named)
    });
    match silent {
        Err(error) => Finding::note(code, format_args!("not known: {error}")),
        Ok(silent) if silent.is_empty() => Finding::well(code, "a question for it is answered"),
        Ok(silent) => {
            let names = silent.join(", ");
            Finding::broken(code, format_args!("a question for it through {names} is lost"))
                .remedy("let UDP port 5353 through the firewall of this machine")
        }
    }
}

/// The names of the interfaces through which nobody answers.
fn ask(instance: &str, interfaces: &[Interface]) -> io::Result<Vec<String>> {
    let open = |group: IpAddr| MulticastSocket::open(SocketAddr::new(group, 0));
    // A machine may have one family alone.
    let sockets = [open(GROUP_V4.into()), open(GROUP_V6.into())];
    let mut poll = Poll::new()?;
    for (index, socket) in sockets.iter().enumerate() {
        if let Ok(socket) = socket {
            let fd = socket.as_raw_fd();
            poll.registry().register(&mut SourceFd(&fd), Token(index), Interest::READABLE)?;
        }
    }
    // Each interface has a number of its own, as answers come by way of this machine itself.
    let first = clock::unix_us() as u16;
    let mut has_answered = vec![false; interfaces.len()];
    for _ in 0..ECHO_COUNT {
        for (index, interface) in interfaces.iter().enumerate().filter(|(i, _)| !has_answered[*i]) {
            send(&sockets, interface, first.wrapping_add(index as u16));
        }
        let deadline = clock::now() + ECHO_TIME;
        let mut events = Events::with_capacity(4);
        while has_answered.contains(&false) {
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() {
                break;
            }
            match poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let mut buffer = [0; PACKET_LEN_MAX];
            for socket in sockets.iter().flatten() {
                while let Ok(Some(datagram)) = socket.receive(&mut buffer) {
                    let number = answered(&buffer[..datagram.len], instance);
                    let index = number.map(|number| usize::from(number.wrapping_sub(first)));
                    if let Some(it) = index.and_then(|index| has_answered.get_mut(index)) {
                        *it = true;
                    }
                }
            }
        }
    }
    let silent = interfaces.iter().zip(has_answered).filter(|(_, has_answered)| !has_answered);
    Ok(silent.map(|(interface, _)| interface.name.clone()).collect())
}

/// What does not go out is not answered either.
fn send(sockets: &[io::Result<MulticastSocket>; 2], interface: &Interface, number: u16) {
    let addresses = &interface.addresses;
    let source = addresses.iter().find(|ip| ip.is_ipv4()).or(addresses.first());
    let is_ipv4 = source.is_some_and(IpAddr::is_ipv4);
    let group: IpAddr = if is_ipv4 { GROUP_V4.into() } else { GROUP_V6.into() };
    if let Ok(socket) = &sockets[usize::from(!is_ipv4)] {
        let to = SocketAddr::new(group, PORT);
        let sent = socket.send(&question(number), interface.index, Some(to), source.copied());
        if let Err(error) = sent {
            log::debug!("doctor: {}: {error}", interface.name);
        }
    }
}

/// A question for hosts, RFC 1035 section 4: from a port that is not that of multicast DNS, so that
/// the answer comes to it.
fn question(number: u16) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]); // flags, and one question
    for label in ["_nvstream", "_tcp", "local", ""] {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 12, 0, 1]); // PTR, IN
    bytes
}

/// The number of the question that a packet answers with the name of the host.
fn answered(packet: &[u8], instance: &str) -> Option<u16> {
    let number = u16::from_be_bytes([*packet.first()?, *packet.get(1)?]);
    let is_answer = packet.get(2)? & 0x80 != 0;
    let label = [&[u8::try_from(instance.len()).ok()?], instance.as_bytes()].concat();
    let has_name = packet.windows(label.len()).any(|part| part.eq_ignore_ascii_case(&label));
    (is_answer && has_name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn interface(name: &str, address: &str) -> Interface {
        let is_loopback = name == "lo";
        let addresses = vec![address.parse().unwrap()];
        Interface { name: name.into(), up: true, is_loopback, addresses, ..Interface::default() }
    }

    #[test]
    fn a_machine_without_a_network_is_broken() {
        let any: [IpAddr; 1] = ["::".parse().unwrap()];
        let own: [IpAddr; 1] = ["192.0.2.7".parse().unwrap()];
        let (lo, eth0) = (interface("lo", "127.0.0.1"), interface("eth0", "192.0.2.7"));

        let [alone, both] = [&[lo.clone()][..], &[lo, eth0]];
        assert_eq!(judge(alone, &any).state, State::Broken);
        assert_eq!(judge(alone, &own).what, "192.0.2.7 is no address of this machine");
        let well = judge(both, &own);
        assert_eq!((well.state, well.what.as_str()), (State::Well, "eth0 192.0.2.7"));
    }

    #[test]
    fn only_an_answer_with_the_name_of_the_host_is_one() {
        let answer = |flags: u8, rest: &[u8]| [&[1, 2, flags, 0], rest].concat();
        let table: [(Vec<u8>, Option<u16>); 6] = [
            (answer(0x84, b"xx\x05atticxx"), Some(0x0102)),
            (answer(0x84, b"\x05ATTIC"), Some(0x0102)),
            (answer(0x04, b"\x05attic"), None),
            (answer(0x84, b"\x06attics"), None),
            (answer(0x84, b""), None),
            (vec![1], None),
        ];
        for (packet, expected) in table {
            assert_eq!(answered(&packet, "attic"), expected, "{packet:?}");
        }
        let asked = question(0x0102);
        assert_eq!((asked.len(), &asked[..6]), (12 + 22 + 4, &[1, 2, 0, 0, 0, 1][..]));
    }
}
