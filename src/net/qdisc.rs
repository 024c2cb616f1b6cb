//! Queueing disciplines (tc(8)): whether that of the way out keeps datagrams until their times.
//!
//! A socket may say when a datagram is to leave (`SO_TXTIME`), and the kernel takes it whether or not
//! anybody heeds it. fq does, so what is on the way out is asked for by rtnetlink(7). etf does too,
//! but drops what comes to it late, where it is better to be late.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::net::sockaddr::check;

/// Bytes of an answer at most: the kernel gives no more at once.
const ANSWER_LEN_MAX: usize = 64 * 1024;
/// The same for all answers to one question. A device has one discipline for each of its queues.
const ANSWERS_LEN_MAX: usize = 4 << 20;

/// `struct nlmsghdr`, `struct rtmsg` and `struct tcmsg`, of which numbers are the machine's own.
const HEADER_LEN: usize = 16;
const ROUTE_LEN: usize = 12;
const DISCIPLINE_LEN: usize = 20;
/// linux/netlink.h and linux/rtnetlink.h.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const GET_ROUTE: u16 = 26;
const NEW_DISCIPLINE: u16 = 36;
const GET_DISCIPLINE: u16 = 38;
const REQUEST: u16 = 0x001;
const DUMP: u16 = 0x300;
const ROUTE_TO: u16 = 1;
const ROUTE_DEVICE: u16 = 4;
const KIND: u16 = 1;
/// Attributes that have others in them say so in their type.
const NESTED_MASK: u16 = 0x3fff;
/// The parent of a discipline that nothing is above.
const ROOT: u32 = 0xffff_ffff;

/// One queueing discipline of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Discipline {
    device: i32,
    handle: u32,
    parent: u32,
    /// Whether it keeps datagrams until their times.
    keeps_times: bool,
    /// Whether others below it, one for each queue of the device, do the work.
    is_of_queues: bool,
}

/// Whether the way out to an address keeps datagrams until their times, by CLOCK_MONOTONIC.
pub fn way_keeps_times(to: IpAddr) -> io::Result<bool> {
    let answer = ask(&route_request(to))?;
    let Some(device) = messages(&answer).find_map(|(_, body)| device_of_route(body)) else {
        return Ok(false);
    };
    let answer = ask(&discipline_request(device))?;
    Ok(device_keeps_times(device, &answer))
}

/// What the disciplines of a device do, going by what the kernel says of all that there are.
fn device_keeps_times(device: i32, answer: &[u8]) -> bool {
    let disciplines = || {
        messages(answer)
            .filter(|(kind, _)| *kind == NEW_DISCIPLINE)
            .filter_map(|(_, body)| Discipline::parse(body))
            .filter(|discipline| discipline.device == device)
    };
    let Some(root) = disciplines().find(|discipline| discipline.parent == ROOT) else {
        return false;
    };
    if !root.is_of_queues {
        return root.keeps_times;
    }
    let major = |handle: u32| handle & 0xffff_0000;
    let mut of_queues = disciplines()
        .filter(|it| it.parent != ROOT && major(it.parent) == major(root.handle))
        .map(|it| it.keeps_times)
        .peekable();
    of_queues.peek().is_some() && of_queues.all(|keeps_times| keeps_times)
}

impl Discipline {
    /// Reads a `struct tcmsg` and what is behind it.
    fn parse(body: &[u8]) -> Option<Discipline> {
        let (fixed, rest) = body.split_at_checked(DISCIPLINE_LEN)?;
        let kind = attributes(rest).find(|(kind, _)| *kind == KIND)?.1;
        Some(Discipline {
            device: number(fixed, 4)? as i32,
            handle: number(fixed, 8)?,
            parent: number(fixed, 12)?,
            keeps_times: kind == b"fq\0",
            is_of_queues: kind == b"mq\0",
        })
    }
}

fn device_of_route(body: &[u8]) -> Option<i32> {
    let mut attributes = attributes(body.get(ROUTE_LEN..)?);
    let device = attributes.find(|(kind, _)| *kind == ROUTE_DEVICE)?.1;
    number(device, 0).map(|device| device as i32)
}

fn route_request(to: IpAddr) -> Vec<u8> {
    let (family, address) = match to.to_canonical() {
        IpAddr::V4(ip) => (libc::AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (libc::AF_INET6, ip.octets().to_vec()),
    };
    let mut body = vec![0; ROUTE_LEN];
    body[0] = family as u8;
    body[1] = 8 * address.len() as u8; // bits, 128 at most
    body.extend((4 + address.len() as u16).to_ne_bytes());
    body.extend(ROUTE_TO.to_ne_bytes());
    body.extend(address);
    request(GET_ROUTE, REQUEST, &body)
}

/// Kernels that do not heed the device tell of all.
fn discipline_request(device: i32) -> Vec<u8> {
    let mut body = vec![0; DISCIPLINE_LEN];
    body[4..8].copy_from_slice(&device.to_ne_bytes());
    request(GET_DISCIPLINE, REQUEST | DUMP, &body)
}

fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let len = (HEADER_LEN + body.len()) as u32; // some 50 bytes
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]); // no number, and from nobody
    bytes.extend(body);
    bytes
}

/// Asks the kernel, and returns all messages of its answer. An error is an answer without any.
fn ask(request: &[u8]) -> io::Result<Vec<u8>> {
    let is_dump = short(request, 6).is_some_and(|flags| flags & DUMP != 0);
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) })?;
    // SAFETY: `fd` was returned by socket() just now and is owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: `request` has as many bytes, and outlives the call. A socket without an address sends
    // to the kernel.
    let sent = unsafe { libc::send(fd, request.as_ptr().cast(), request.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let (mut answer, mut part) = (Vec::new(), vec![0; ANSWER_LEN_MAX]);
    loop {
        let (place, len) = (part.as_mut_ptr().cast(), part.len());
        // SAFETY: `part` has `len` writable bytes, and outlives the call.
        let received = unsafe { libc::recv(socket.as_raw_fd(), place, len, 0) };
        if received < 0 {
            return Err(io::Error::last_os_error());
        }
        let received = &part[..received as usize];
        answer.extend_from_slice(received);
        let is_over = messages(received).any(|(kind, _)| kind == DONE || kind == ERROR);
        if !is_dump || is_over || received.is_empty() || answer.len() > ANSWERS_LEN_MAX {
            return Ok(answer);
        }
    }
}

/// Types and bodies of messages.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = number(rest, 0)? as usize;
        let kind = short(rest, 4)?;
        let body = rest.get(HEADER_LEN..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// Types and values of attributes.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = usize::from(short(rest, 0)?);
        let kind = short(rest, 2)? & NESTED_MASK;
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The device of the vectors that has a discipline.
    const DEVICE: i32 = 3;

    macro_rules! vector {
        ($name:literal) => {
            unhex(include_str!(concat!("../../tests/vectors/qdisc/", $name)))
        };
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    #[test]
    fn disciplines_that_keep_datagrams_until_their_times_are_known() {
        let table = [
            ("pfifo", vector!("pfifo"), false),
            ("fq", vector!("fq"), true),
            ("etf", vector!("etf"), false),
            ("mq", vector!("mq"), true),
        ];
        for (name, answer, expected) in table {
            assert_eq!(device_keeps_times(DEVICE, &answer), expected, "{name}");
            // These have none.
            for other in [1, 2, 4] {
                assert!(!device_keeps_times(other, &answer), "{name} {other}");
            }
        }
    }

    #[test]
    fn queues_of_a_device_have_to_agree() {
        let answer = vector!("mq");
        let place = |text: &[u8]| answer.windows(text.len()).position(|it| it == text).unwrap();
        let mut differing = answer.clone();
        differing[place(b"fq\0")] = b'x';
        // The root alone, and what is below it alone.
        let root = place(b"mq\0") - HEADER_LEN - DISCIPLINE_LEN - 4;
        let root_len = number(&answer, root).unwrap() as usize;

        assert!(!device_keeps_times(DEVICE, &differing));
        assert!(!device_keeps_times(DEVICE, &answer[root..][..root_len]));
        assert!(!device_keeps_times(DEVICE, &answer[root + root_len..]));
    }

    #[test]
    fn a_route_names_its_device() {
        let answer = vector!("route");

        let devices: Vec<_> = messages(&answer).map(|(_, body)| device_of_route(body)).collect();

        assert_eq!(devices, [Some(1)]);
    }

    #[test]
    fn no_bytes_are_too_few_or_too_wrong() {
        for answer in [vector!("fq"), vector!("etf"), vector!("mq"), vector!("route")] {
            for len in 0..answer.len() {
                device_keeps_times(DEVICE, &answer[..len]);
                assert!(
                    messages(&answer[..len]).filter_map(|(_, body)| device_of_route(body)).count()
                        < 9
                );
                for byte in [0, 1, 0x7f, 0xff] {
                    let mut wrong = answer.clone();
                    wrong[len] = byte;
                    device_keeps_times(DEVICE, &wrong);
                    assert!(
                        messages(&wrong).filter_map(|(_, body)| device_of_route(body)).count() < 9
                    );
                }
            }
        }
    }

    #[test]
    fn the_kernel_is_asked_and_answers() {
        // Nobody has made a discipline for loopback.
        for ip in ["127.0.0.1", "::ffff:127.0.0.1", "::1"] {
            assert!(!way_keeps_times(ip.parse().unwrap()).unwrap(), "{ip}");
        }
        let answer = ask(&discipline_request(1)).unwrap();
        assert!(messages(&answer).any(|(kind, _)| kind == DONE));
        let answer = ask(&route_request("127.0.0.1".parse().unwrap())).unwrap();
        assert!(messages(&answer).any(|(_, body)| device_of_route(body) == Some(1)));
    }
}
