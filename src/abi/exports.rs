//! The functions of include/punktfunk_core.h.
//!
//! What they say of pointers is the promise that their unsafe blocks rest on: a pointer is null, or
//! points to as much memory as is said there, which nobody else writes during the call, nor reads if
//! the call writes it.

#![expect(clippy::missing_safety_doc, reason = "it is the same for all: see the module")]

use std::ffi::c_char;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::host::Taken;
use super::link::Link;
use super::memory::{Out, OutRecord, bytes, bytes_mut, read, value};
use super::session::{Session, keys, parity_percent};
use super::status::{self, Status, guard};
use super::structs::{
    Address, Config, Event, Keys, LinkOptions, PING_LEN, PathState, Probe, ProbeReport, ProbeSent,
    Sound, Unit,
};
use super::table::Table;
use crate::net::clock;
use crate::proto::packet::native::path::Token;
use crate::proto::packet::stats::Stats;

/// Counts changes that old programs would notice. Additions are none.
pub const ABI_VERSION: u32 = 1;

/// One end of a session. 0 is none.
pub type SessionHandle = u64;
/// A way from one session to another in the same process. 0 is none.
pub type LinkHandle = u64;

static SESSIONS: Table<Session> = Table::new(1);
static LINKS: Table<Link> = Table::new(2);

/// PUNKTFUNK_ABI_VERSION as the library was built with. A program goes on if it is its own.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_abi_version() -> u32 {
    ABI_VERSION
}

/// What a returned number means, in a few words that stay.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_status_text(status: i32) -> *const c_char {
    status::text(status).as_ptr()
}

/// Opens one end of a session. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_session_open(
    config: *const Config,
    session: *mut SessionHandle,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let (config, out) = unsafe { (read(config)?, Out::new(session)?) };
        out.put(SESSIONS.open(Session::open(&config, clock::now())?)?);
        Ok(0)
    })
}

/// Closes it: the handle is good no more, nor is what was lent. Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_session_close(session: SessionHandle) -> i32 {
    guard(|| SESSIONS.close(session).map(|()| 0))
}

/// Writes datagrams to be sent to the peer, in this order, one behind the other, as many as there
/// are and as room has room for. All of one call have the same length, which is written to
/// datagram_len. Returns how many, 0 if there are none. With the key used up it returns
/// PUNKTFUNK_STATUS_EXHAUSTED, and goes on where it was once there is the next one. now_us is the
/// caller's clock, of which all calls on a session take the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_session_poll_datagrams(
    session: SessionHandle,
    room: *mut u8,
    room_len: usize,
    datagram_len: *mut usize,
    now_us: u64,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let (room, out) = unsafe { (bytes_mut(room, room_len)?, Out::new(datagram_len)?) };
        let (count, len) =
            SESSIONS.with(session, |session| session.poll_datagrams(room, now_us))?;
        out.put(len);
        Ok(number(count))
    })
}

/// Takes datagrams that came from the peer: len bytes, which are overwritten. They are one datagram
/// of datagram_len bytes behind the other, of which the last may be shorter. Events are to be polled
/// afterwards. Returns how many were genuine and new; what is refused is counted and harms nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_session_handle_datagrams(
    session: SessionHandle,
    datagrams: *mut u8,
    len: usize,
    datagram_len: usize,
    now_us: u64,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let datagrams = unsafe { bytes_mut(datagrams, len) }?;
        if len == 0 || datagram_len == 0 {
            return Err(Status::Value);
        }
        SESSIONS.with(session, |session| {
            let datagrams = datagrams.chunks_mut(datagram_len);
            let genuine = datagrams.map(|it| session.handle_datagram(it, now_us));
            Ok(number(genuine.filter(|is_genuine| *is_genuine).count()))
        })
    })
}

/// Seals what is sent from now on under the next keys. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_session_next_send_phase(
    session: SessionHandle,
    next: *const Keys,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let next = keys(&unsafe { value(next) }?);
        SESSIONS.with(session, |session| {
            session.next_send_phase(&next);
            Ok(0)
        })
    })
}

/// Has the keys of the peer's next phase ready, which begins with the first datagram that is sealed
/// under them. One phase at a time: until it has begun, those behind it return
/// PUNKTFUNK_STATUS_EARLY. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_session_next_receive_phase(
    session: SessionHandle,
    next: *const Keys,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let next = keys(&unsafe { value(next) }?);
        SESSIONS.with(session, |session| {
            session.next_receive_phase(&next)?;
            Ok(0)
        })
    })
}

/// Counts datagrams that the system did not take from the caller, who sends them. Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_session_note_send_dropped(session: SessionHandle, count: u64) -> i32 {
    guard(|| {
        SESSIONS.with(session, |session| {
            session.counted().note_send_dropped(count);
            Ok(0)
        })
    })
}

/// Counts messages that the system had no room for, as it tells the caller, who receives. Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_session_note_receive_dropped(
    session: SessionHandle,
    count: u64,
) -> i32 {
    guard(|| {
        SESSIONS.with(session, |session| {
            session.counted().note_receive_dropped(count);
            Ok(0)
        })
    })
}

/// Counts datagrams that came with these two bits of congestion in their IP header, 0 to 3. Returns
/// 0.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_session_note_ecn(session: SessionHandle, bits: u32, count: u64) -> i32 {
    guard(|| {
        let bits = u8::try_from(bits).ok().filter(|bits| *bits < 4).ok_or(Status::Value)?;
        SESSIONS.with(session, |session| {
            session.counted().note_ecn(bits, count);
            Ok(0)
        })
    })
}

/// Fills what a session has counted and measured. Its struct_size is set by the caller. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_session_stats(session: SessionHandle, stats: *mut Stats) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let out = unsafe { OutRecord::new(stats) }?;
        out.put(SESSIONS.with(session, |session| Ok(session.stats()))?);
        Ok(0)
    })
}

/// Takes an access unit to be sent, whose datagrams are to be polled then, all of them before the
/// next one. Writes its number to index, if that is not null. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_host_submit(
    session: SessionHandle,
    unit: *const Unit,
    index: *mut u32,
    now_us: u64,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module, of the struct and of what it points to.
        let (unit, bytes) = unsafe {
            let unit = read(unit)?;
            (unit, bytes(unit.bytes, unit.len)?)
        };
        // SAFETY: the promise of the module.
        let out = match unsafe { Out::new(index) } {
            Err(Status::Null) => None,
            out => Some(out?),
        };
        let number =
            SESSIONS.with(session, |session| session.host()?.submit(&unit, bytes, now_us))?;
        if let Some(out) = out {
            out.put(number);
        }
        Ok(0)
    })
}

/// Takes a frame of sound to be sent, as Opus makes it: up to 592 bytes, or as much as fits twice
/// into a datagram. Its datagram is polled before those of access units that are under way, and
/// before the next frame is submitted. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_host_submit_sound(
    session: SessionHandle,
    frame: *const u8,
    len: usize,
    captured_us: u64,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let frame = unsafe { bytes(frame, len) }?;
        SESSIONS.with(session, |session| session.host()?.submit_sound(frame, captured_us))?;
        Ok(0)
    })
}

/// Sets the share of parity of access units that are submitted from now on, as parity_percent of
/// struct punktfunk_config. Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_host_set_parity_percent(session: SessionHandle, percent: u32) -> i32 {
    guard(|| {
        let percent = parity_percent(percent)?;
        SESSIONS.with(session, |session| {
            session.host()?.set_parity_percent(percent);
            Ok(0)
        })
    })
}

/// Tells the next thing that has happened: an access unit to be decoded, or some that are lost. In
/// the order of their numbers. Its struct_size is set by the caller. Returns 1 if there was one, else
/// 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_client_poll_event(
    session: SessionHandle,
    event: *mut Event,
    now_us: u64,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let out = unsafe { OutRecord::new(event) }?;
        match SESSIONS.with(session, |session| Ok(session.client()?.poll_event(now_us)))? {
            Some(event) => {
                out.put(event);
                Ok(1)
            }
            None => Ok(0),
        }
    })
}

/// Tells the next frame of sound, or frames that are lost and are to be concealed. In the order of
/// their numbers. Its struct_size is set by the caller. Returns 1 if there was one, else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_client_poll_sound(
    session: SessionHandle,
    sound: *mut Sound,
    now_us: u64,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let out = unsafe { OutRecord::new(sound) }?;
        match SESSIONS.with(session, |session| Ok(session.client()?.poll_sound(now_us)))? {
            Some(sound) => {
                out.put(sound);
                Ok(1)
            }
            None => Ok(0),
        }
    })
}

/// When there may be an event or sound though no datagram comes: writes that to at_us. Returns 1 if
/// there is such a time, else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_client_poll_timeout(
    session: SessionHandle,
    at_us: *mut u64,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let out = unsafe { Out::new(at_us) }?;
        match SESSIONS.with(session, |session| Ok(session.client()?.poll_timeout()))? {
            Some(at_us) => {
                out.put(at_us);
                Ok(1)
            }
            None => Ok(0),
        }
    })
}

/// Writes the ping that is due to room, which has PUNKTFUNK_PING_LEN bytes, to be sent to the host,
/// and to at_us when there may be the next one. A client calls it only where the host is told
/// addresses by pings. Returns 1 if there was one, else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_client_poll_ping(
    session: SessionHandle,
    room: *mut u8,
    at_us: *mut u64,
    now_us: u64,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let (room, out) = unsafe { (bytes_mut(room, PING_LEN)?, Out::new(at_us)?) };
        SESSIONS.with(session, |session| {
            let client = session.client()?;
            let ping = client.poll_ping(now_us)?;
            out.put(client.poll_ping_timeout());
            if let Some(ping) = &ping {
                room.copy_from_slice(ping);
            }
            Ok(ping.is_some().into())
        })
    })
}

/// Has a ping due at once, as the client's socket or network is another one. Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_client_rebind(session: SessionHandle, now_us: u64) -> i32 {
    guard(|| {
        SESSIONS.with(session, |session| {
            session.client()?.handle_rebind(now_us);
            Ok(0)
        })
    })
}

/// Fills what pings say of the way. Its struct_size is set by the caller. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_client_path(
    session: SessionHandle,
    path: *mut PathState,
    now_us: u64,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let out = unsafe { OutRecord::new(path) }?;
        out.put(SESSIONS.with(session, |session| Ok(session.client()?.path_state(now_us)))?);
        Ok(0)
    })
}

/// Takes one datagram and where it came from, as punktfunk_session_handle_datagrams does, and
/// answers pings: chance is 16 bytes of it, fresh with each call, and answer has room for
/// PUNKTFUNK_PING_LEN bytes. Returns 0 if the datagram was refused, 1 if it was genuine and new, and
/// 2 if the answer is to be sent to where it came from besides.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_host_handle_datagram_from(
    session: SessionHandle,
    datagram: *mut u8,
    len: usize,
    from: *const Address,
    chance: *const u8,
    answer: *mut u8,
    now_us: u64,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let (datagram, from, chance, answer) = unsafe {
            (
                bytes_mut(datagram, len)?,
                value(from)?,
                bytes(chance, 16)?,
                bytes_mut(answer, PING_LEN)?,
            )
        };
        let from = socket_addr(&from)?;
        let token = chance.try_into().ok().and_then(Token::new).ok_or(Status::Value)?;
        let taken = SESSIONS.with(session, |session| {
            Ok(session.host()?.handle_datagram_from(datagram, from, token, now_us))
        })?;
        Ok(match taken {
            Taken::Refused => 0,
            Taken::Genuine => 1,
            Taken::Answered(bytes) => {
                answer.copy_from_slice(&bytes);
                2
            }
        })
    })
}

/// Writes to where datagrams are to be sent, as far as pings have shown. Returns 1 if there is such
/// an address, else 0: then nothing may be sent but answers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_host_media_address(
    session: SessionHandle,
    address: *mut Address,
    now_us: u64,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let out = unsafe { Out::new(address) }?;
        match SESSIONS.with(session, |session| Ok(session.host()?.media_address(now_us)))? {
            Some(address) => {
                out.put(of_socket_addr(address));
                Ok(1)
            }
            None => Ok(0),
        }
    })
}

/// Begins a speed test, instead of one that may be under way. Its datagrams are as long as those of
/// access units, and are to be polled. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_host_begin_probe(
    session: SessionHandle,
    probe: *const Probe,
    now_us: u64,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let probe = unsafe { read(probe) }?;
        SESSIONS.with(session, |session| session.host()?.begin_probe(&probe, now_us))?;
        Ok(0)
    })
}

/// As punktfunk_session_poll_datagrams, those of the speed test that are due. Writes to at_us when
/// there are the next, which is UINT64_MAX when it is over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_host_poll_probe(
    session: SessionHandle,
    room: *mut u8,
    room_len: usize,
    datagram_len: *mut usize,
    at_us: *mut u64,
    now_us: u64,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let (room, out_len, out_at) =
            unsafe { (bytes_mut(room, room_len)?, Out::new(datagram_len)?, Out::new(at_us)?) };
        let (count, len, next_us) =
            SESSIONS.with(session, |session| session.host()?.poll_probe(room, now_us))?;
        out_len.put(len);
        out_at.put(next_us.unwrap_or(u64::MAX));
        Ok(number(count))
    })
}

/// Counts datagrams of the speed test that the system did not take. Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_host_note_probe_dropped(session: SessionHandle, count: u64) -> i32 {
    guard(|| {
        SESSIONS.with(session, |session| {
            session.host()?.note_probe_dropped(count);
            Ok(0)
        })
    })
}

/// Fills what was sent of the speed test, for the client to be told. Its struct_size is set by the
/// caller. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_host_probe_sent(
    session: SessionHandle,
    sent: *mut ProbeSent,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let out = unsafe { OutRecord::new(sent) }?;
        out.put(SESSIONS.with(session, |session| session.host()?.probe_sent())?);
        Ok(0)
    })
}

/// Counts the datagrams of a speed test of that number from now on. Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_client_begin_probe(session: SessionHandle, test: u32) -> i32 {
    guard(|| {
        SESSIONS.with(session, |session| {
            session.client()?.begin_probe(test);
            Ok(0)
        })
    })
}

/// Fills what the speed test says. sent is what the host has told of it, or null while it has not.
/// The report's struct_size is set by the caller. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_client_probe_report(
    session: SessionHandle,
    sent: *const ProbeSent,
    report: *mut ProbeReport,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let sent = match unsafe { read(sent) } {
            Err(Status::Null) => None,
            sent => Some(sent?),
        };
        // SAFETY: the promise of the module.
        let out = unsafe { OutRecord::new(report) }?;
        out.put(SESSIONS.with(session, |session| session.client()?.probe_report(sent.as_ref()))?);
        Ok(0)
    })
}

/// Opens a link. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_link_open(
    options: *const LinkOptions,
    link: *mut LinkHandle,
) -> i32 {
    guard(|| {
        // SAFETY: the promise of the module.
        let (options, out) = unsafe { (read(options)?, Out::new(link)?) };
        out.put(LINKS.open(Link::new(&options)?)?);
        Ok(0)
    })
}

/// Closes it. Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_link_close(link: LinkHandle) -> i32 {
    guard(|| LINKS.close(link).map(|()| 0))
}

/// Polls all datagrams of one session, and hands those that are not lost to another. Returns how
/// many these were.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_link_carry(
    link: LinkHandle,
    from: SessionHandle,
    to: SessionHandle,
    now_us: u64,
) -> i32 {
    guard(|| {
        let mut source =
            |room: &mut [u8]| SESSIONS.with(from, |from| from.poll_datagrams(room, now_us));
        let mut sink = |datagram: &mut [u8], meets_defect: bool| {
            SESSIONS.with(to, |to| {
                assert!(!meets_defect, "the defect that was asked for");
                to.handle_datagram(datagram, now_us);
                Ok(())
            })
        };
        // Who is not there shows even if there is nothing to be carried.
        SESSIONS.with(to, |_| Ok(()))?;
        LINKS.with(link, |link| link.carry(&mut source, &mut sink)).map(number)
    })
}

fn socket_addr(address: &Address) -> Result<SocketAddr, Status> {
    let port = u16::try_from(address.port).ok().filter(|port| *port > 0).ok_or(Status::Value)?;
    Ok(SocketAddr::new(Ipv6Addr::from(address.ip).to_canonical(), port))
}

fn of_socket_addr(address: SocketAddr) -> Address {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    Address { ip: ip.octets(), port: address.port().into() }
}

/// No call has so many that 31 bits would not hold it, or it says as many as they do.
fn number(count: usize) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}
