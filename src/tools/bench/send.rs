//! The sender: access units of one length at their times, in paced bursts.

#![forbid(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use punktfunk_core::net::udp::{Batch, Pacer, Path, UdpSocket};
use punktfunk_core::net::{clock, thread};
use punktfunk_core::proto::packet::native::header::{
    FRAME_PREFIX_LEN, FrameHeader, FramePrefix, Kind, PACKET_HEADER_LEN, TAG_LEN, shard_len,
};
use punktfunk_core::proto::packet::native::packetize::{Packetizer, Shape, Unit};
use punktfunk_core::proto::packet::pace::Pace;
use punktfunk_core::proto::units::FrameIndex;

use crate::arguments::Send;
use crate::pattern::{Pattern, keys};
use crate::spread::Spread;

/// How long a full socket is waited for before datagrams are dropped.
const SEND_WAIT_MAX: Duration = Duration::from_millis(5);
/// An access unit in so many is an IDR.
const IDR_INTERVAL: u32 = 120;
/// Times that the end is told: some may be lost.
const FAREWELL_COUNT: u32 = 10;
const FAREWELL_INTERVAL: Duration = Duration::from_millis(20);
/// Of the real-time priorities a low one.
const PRIORITY: u8 = 10;
/// Bytes of what is said at the end.
pub const FAREWELL_LEN: usize = 16;

/// Sends, and returns a line of JSON.
pub fn run(arguments: &Send) -> io::Result<String> {
    let shard_len = shard_len(arguments.datagram).expect("the arguments were looked at");
    let any: IpAddr = match arguments.to.is_ipv4() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    let buffer_len = socket.set_buffers(arguments.buffer)?.send_len;
    let path = Path { remote: arguments.to, local: None };
    let len = arguments.unit_len();
    let pattern = Pattern::new(len);
    let shape = Shape {
        shard_len,
        block_data_max: arguments.block,
        parity_percent: arguments.parity,
        parity_count_min: 1,
    };
    let mut packetizer = Packetizer::new(shape, &keys());
    let mut batch = Batch::new(SEND_WAIT_MAX);
    batch.set_ecn_capable(true);
    let pacer = Pacer::of(&socket, &path);
    let interval = Duration::from_secs(1) / arguments.fps;
    let sent_kbps = u64::from(arguments.rate) * (100 + u64::from(arguments.parity)) / 100;
    let pace = Pace::new(sent_kbps.min(u32::MAX.into()) as u32, interval, arguments.spread);
    let count = arguments.seconds * arguments.fps;
    let (mut late, mut made) =
        (Spread::with_capacity(1 << 20), Spread::with_capacity(count as usize));
    let (mut datagram_count, mut dropped_count, mut call_count) = (0_u64, 0_u64, 0_u64);
    thread::sharpen_timers();
    let is_real_time = thread::set_real_time(Some(PRIORITY)).is_ok();
    let began = clock::now() + interval;
    let processor_began = thread::processor_time();
    for index in 1..=count {
        let at = began + interval * (index - 1);
        clock::wait_until(at);
        let header = FrameHeader {
            index: FrameIndex(index),
            is_idr: index % IDR_INTERVAL == 1,
            is_anchor: false,
            epoch: 0,
        };
        let prefix = FramePrefix { captured_us: clock::monotonic_us(), latency_us: 0 };
        let unit = Unit { header, prefix, bytes: pattern.unit(index, len) };
        let plan = packetizer.plan(&unit).map_err(io::Error::other)?;
        let datagram_len = packetizer.datagram_len();
        let bursts = pace.schedule(plan.datagram_count, datagram_len);
        let mut sent_count = 0;
        let mut making = Duration::ZERO;
        // The first burst leaves as soon as it is made.
        let mut first = None;
        for block in 0..plan.block_count {
            let mut mark = clock::now();
            let block = packetizer.cut(&unit, block).map_err(io::Error::other)?;
            packetizer.protect(&block);
            let indices = 0..block.datagram_count();
            for start in indices.clone().step_by(bursts.burst_len()) {
                let burst = start..indices.end.min(start + bursts.burst_len());
                let burst = packetizer.seal(&block, burst).map_err(io::Error::other)?;
                let ready = clock::now();
                making += ready - mark;
                let departure = *first.get_or_insert(ready) + bursts.departure(sent_count);
                let mut told = None;
                if arguments.spread > 0 {
                    told = pacer.wait(departure);
                    let late_by = clock::now().saturating_duration_since(departure);
                    late.add(late_by.as_nanos() as u64);
                }
                let sent = batch.send_at(&socket, &path, burst, datagram_len, None, told);
                sent_count += sent.datagrams + sent.dropped;
                datagram_count += sent.datagrams as u64;
                dropped_count += sent.dropped as u64;
                call_count += sent.calls as u64;
                mark = clock::now();
            }
        }
        made.add(making.as_nanos() as u64);
    }
    let processor_time = thread::processor_time() - processor_began;
    let took = clock::now() - began;
    for _ in 0..FAREWELL_COUNT {
        let mut datagram = [0; PACKET_HEADER_LEN + FAREWELL_LEN + TAG_LEN];
        let payload = &mut datagram[PACKET_HEADER_LEN..][..FAREWELL_LEN];
        payload[..8].copy_from_slice(&u64::from(count).to_be_bytes());
        payload[8..].copy_from_slice(&(datagram_count + dropped_count).to_be_bytes());
        packetizer.sealer().seal(Kind::Probe, &mut datagram).map_err(io::Error::other)?;
        batch.send(&socket, &path, &datagram, datagram.len(), None);
        clock::sleep_until(clock::now() + FAREWELL_INTERVAL);
    }
    let unit_kbps = (len + FRAME_PREFIX_LEN) as f64 * 8.0 * f64::from(count)
        / took.as_secs_f64().max(1e-9)
        / 1000.0;
    Ok(format!(
        "{{\"access_units\":{count},\"unit_len\":{len},\"kbps\":{unit_kbps:.0},\
         \"datagrams\":{datagram_count},\"packets_send_dropped\":{dropped_count},\
         \"calls\":{call_count},\"is_segmented\":{},\"is_paced_by_kernel\":{},\
         \"pacer\":\"{}\",\"is_real_time\":{is_real_time},\
         \"buffer_len\":{buffer_len},\"core\":{:.3},\"make_us\":{made},\"late_us\":{late}}}",
        batch.is_segmented(),
        pacer.is_kernel(),
        pacer.choice(),
        processor_time.as_secs_f64() / took.as_secs_f64().max(1e-9),
    ))
}
