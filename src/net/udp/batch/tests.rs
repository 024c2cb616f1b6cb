use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use super::*;
use crate::net::udp::message;

const WAIT_MAX: Duration = Duration::from_secs(5);

fn bind(ip: &str) -> UdpSocket {
    UdpSocket::bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap()
}

/// A receiver, and the path to it.
fn receiver(ip: &str) -> (std::net::UdpSocket, Path) {
    let ip: IpAddr = ip.parse().unwrap();
    let receiver = std::net::UdpSocket::bind(SocketAddr::new(ip, 0)).unwrap();
    receiver.set_read_timeout(Some(WAIT_MAX)).unwrap();
    let remote = receiver.local_addr().unwrap();
    (receiver, Path { remote, local: None })
}

/// Bytes of which every datagram differs from the others.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251 + index / 251) as u8).collect()
}

/// The next datagrams, which have to be these.
fn expect(receiver: &std::net::UdpSocket, bytes: &[u8], segment_len: usize) {
    let mut buffer = vec![0; 65_536];
    for (index, expected) in bytes.chunks(segment_len).enumerate() {
        let (len, _) = receiver.recv_from(&mut buffer).unwrap();
        assert!(buffer[..len] == *expected, "datagram {index}, {len} bytes");
    }
}

#[test]
fn datagrams_arrive_as_they_are_in_the_burst() {
    // Bytes, those of a datagram, and the calls that take them segmented and singly.
    let cases: &[(usize, usize, usize, usize)] = &[
        (0, 1408, 0, 0),
        (1, 1408, 1, 1),
        (1408, 1408, 1, 1),
        (1409, 1408, 1, 1),
        (22 * 1408, 1408, 1, 1),
        (46 * 1408, 1408, 1, 1),
        (47 * 1408 - 7, 1408, 1, 1),
        (66 * 1408, 1408, 1, 2),
        (65 * 16, 16, 1, 2),
        (130, 1, 1, 3),
    ];
    for (from, to) in [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::", "::1")] {
        let (socket, (receiver, path)) = (bind(from), receiver(to));
        for is_segmented in [true, false] {
            let mut batch = Batch::new(WAIT_MAX);
            batch.set_segmented(is_segmented);
            for &(len, segment_len, segmented_calls, single_calls) in cases {
                let bytes = pattern(len);

                let sent = batch.send(&socket, &path, &bytes, segment_len, Some(40));

                let datagrams = len.div_ceil(segment_len);
                let calls = if is_segmented { segmented_calls } else { single_calls };
                assert_eq!(sent, Sent { datagrams, calls, dropped: 0 }, "{to} {len}");
                expect(&receiver, &bytes, segment_len);
            }
            assert_eq!(batch.is_segmented(), is_segmented);
        }
    }
}

#[test]
fn the_source_is_the_local_address_of_the_path() {
    for from in ["0.0.0.0", "::"] {
        for is_segmented in [true, false] {
            let (socket, (receiver, path)) = (bind(from), receiver("127.0.0.1"));
            let local = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5)));
            let mut batch = Batch::new(WAIT_MAX);
            batch.set_segmented(is_segmented);

            batch.send(&socket, &Path { local, ..path }, &pattern(48), 16, None);

            for _ in 0..3 {
                let (_, source) = receiver.recv_from(&mut [0; 16]).unwrap();
                assert_eq!(Some(source.ip()), local, "{from} {is_segmented}");
            }
        }
    }
}

#[test]
fn datagrams_are_marked() {
    let cases = [
        ("0.0.0.0", "127.0.0.1", libc::IPPROTO_IP, libc::IP_RECVTOS),
        ("::", "127.0.0.1", libc::IPPROTO_IP, libc::IP_RECVTOS),
        ("::", "::1", libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
    ];
    for (from, to, level, option) in cases {
        let (socket, (receiver, path)) = (bind(from), receiver(to));
        message::set(receiver.as_fd(), level, option, &1_i32).unwrap();
        let marks = [
            (Some(40), false, 160),
            (Some(48), false, 192),
            (Some(40), true, 162),
            (None, true, 2),
            (None, false, 0),
        ];
        for (dscp, is_ecn_capable, expected) in marks {
            let mut batch = Batch::new(WAIT_MAX);
            batch.set_ecn_capable(is_ecn_capable);

            batch.send(&socket, &path, &pattern(48), 16, dscp);

            for _ in 0..3 {
                assert_eq!(received_field(&receiver), expected, "{from} {to} {dscp:?}");
            }
        }
    }
}

/// The differentiated services field of the next datagram.
fn received_field(receiver: &std::net::UdpSocket) -> u8 {
    let mut byte = [0_u8; 64];
    let mut control = [0_u64; 16];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
    // SAFETY: all zeroes is a msghdr with nothing in it.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: everything that `message` points to outlives the call and is as long as it says.
    let len = unsafe { libc::recvmsg(receiver.as_raw_fd(), &raw mut message, 0) };
    assert!(len > 0, "nothing arrived");
    // SAFETY: the kernel wrote a control message there, since it was asked for one.
    unsafe { *libc::CMSG_DATA(libc::CMSG_FIRSTHDR(&raw const message)) }
}

#[test]
fn where_the_kernel_does_not_segment_datagrams_are_given_to_it_singly() {
    // A socket without checksums is refused segmentation, as a way out without them is.
    let (socket, (receiver, path)) = (bind("127.0.0.1"), receiver("127.0.0.1"));
    message::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, &1_i32).unwrap();
    let mut batch = Batch::new(WAIT_MAX);
    let bytes = pattern(40 * 16);

    let single = batch.send(&socket, &path, &bytes[..16], 16, None);
    assert!(batch.is_segmented(), "one datagram tells nothing");
    let first = batch.send(&socket, &path, &bytes, 16, None);
    assert!(!batch.is_segmented());
    let second = batch.send(&socket, &path, &bytes, 16, None);

    assert_eq!(single, Sent { datagrams: 1, calls: 1, dropped: 0 });
    assert_eq!(first, Sent { datagrams: 40, calls: 2, dropped: 0 });
    assert_eq!(second, Sent { datagrams: 40, calls: 1, dropped: 0 });
    for expected in [&bytes[..16], &bytes, &bytes] {
        expect(&receiver, expected, 16);
    }
}

#[test]
fn what_is_too_long_for_the_way_leaves_shorter_datagrams_as_they_were() {
    let (socket, (receiver, path)) = (bind("::1"), receiver("::1"));
    message::set(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_MTU, &1280_i32).unwrap();
    let mut batch = Batch::new(WAIT_MAX);

    // Bytes, those of a datagram, and the calls: one that is refused, and one for each 64 messages.
    for (len, segment_len, calls) in
        [(65 * 16, 16, 1), (20 * 1400, 1400, 2), (20 * 1400, 1400, 1), (65 * 16, 16, 1)]
    {
        let bytes = pattern(len);
        let sent = batch.send(&socket, &path, &bytes, segment_len, None);

        assert_eq!(sent, Sent { datagrams: len / segment_len, calls, dropped: 0 });
        expect(&receiver, &bytes, segment_len);
    }
    assert!(!batch.is_segmented());
}

#[test]
fn no_way_to_the_peer_loses_the_datagrams_and_is_not_taken_for_want_of_segmentation() {
    let socket = bind("0.0.0.0");
    let (_receiver, path) = receiver("127.0.0.1");
    let mut batch = Batch::new(WAIT_MAX);
    // An address that is not this machine's; a broadcast, which is not asked for; no port.
    let foreign = Path { local: Some("192.0.2.1".parse().unwrap()), ..path };
    let broadcast = Path { remote: "255.255.255.255:9".parse().unwrap(), local: None };
    let nowhere = Path { remote: "127.0.0.1:0".parse().unwrap(), local: None };
    for path in [foreign, broadcast, nowhere] {
        let sent = batch.send(&socket, &path, &pattern(160), 16, None);

        assert_eq!((sent.datagrams, sent.dropped), (0, 10), "{path:?}");
        assert!(sent.calls <= 2 && batch.is_segmented());
    }
}

#[test]
fn a_socket_that_takes_no_more_is_waited_for_until_the_time_is_over() {
    let (full, _peer) = UnixDatagram::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send(b"more").is_ok() {}
    let free = bind("127.0.0.1");
    let (short, mut none) = (Duration::from_micros(1), None);

    // Each wait but the last ends with the time, or when there is room.
    for fd in [Some(full.as_fd()), None] {
        let mut deadline = None;
        while wait(fd, &mut deadline, short) {}
        assert!(!wait(fd, &mut deadline, WAIT_MAX), "the time begins with the first wait");
    }
    assert!(wait(Some(free.as_fd()), &mut None, WAIT_MAX));
    assert!(!wait(Some(free.as_fd()), &mut none, Duration::ZERO));
}
