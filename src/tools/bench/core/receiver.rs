//! The receiver's stages. What it receives is sent on the same machine, over loopback.

#![forbid(unsafe_code)]

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use punktfunk_core::net::udp::{Batch, Intake, Path, Taken, UdpSocket};
use punktfunk_core::net::{clock, poll};
use punktfunk_core::proto::packet::native::header::{PACKET_HEADER_LEN, ShardHeader, TAG_LEN};
use punktfunk_core::proto::packet::native::packetize::{Packetizer, Shape, Unit};
use punktfunk_core::proto::packet::native::reassemble::{Event, Limits, Reassembler};
use punktfunk_core::proto::packet::native::seal::Opener;

use super::{BUFFER_LEN, Best, SEND_WAIT_MAX};
use crate::arguments::Core;
use crate::pattern::keys;

/// Packets of the replay window.
const WINDOW_LEN: usize = 1 << 16;
/// Access units in the making.
const FRAME_COUNT: usize = 2;
/// Bytes that are sent at one go: a socket's buffer holds them, and what the kernel adds.
const PART_LEN: usize = 8 << 20;
/// How long datagrams are waited for.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// How long an access unit waits for one before it.
const PATIENCE: Duration = Duration::from_millis(5);

/// What the stages took.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) receive: Best,
    pub(super) open: Best,
    /// Nothing is lost.
    pub(super) reassemble: Best,
    /// A data shard of each block is lost.
    pub(super) recover_one: Best,
    /// As many as can be recovered.
    pub(super) recover_all: Best,
    /// The first three of these.
    pub(super) whole: Best,
}

/// From this process to itself.
struct Way {
    batch: Batch,
    socket: UdpSocket,
    path: Path,
    intake: Intake,
}

/// See the module.
pub(super) struct Receiver {
    packetizer: Packetizer,
    way: Way,
    /// Of an access unit, as they are sent, and as they are opened.
    sealed: Vec<u8>,
    opened: Vec<u8>,
    openers: [Opener; 2],
    reassemblers: [Reassembler; 4],
    pub(super) times: Times,
}

impl Receiver {
    pub(super) fn new(arguments: &Core, shape: Shape) -> io::Result<Receiver> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        socket.set_buffers(BUFFER_LEN)?;
        let path = Path { remote: socket.local_addr()?, local: None };
        let limits = Limits {
            shard_len: shape.shard_len,
            unit_len_max: arguments.unit,
            block_data_max: shape.block_data_max,
            frame_count: FRAME_COUNT,
            patience: PATIENCE,
            stall: WAIT_MAX,
        };
        Ok(Receiver {
            packetizer: Packetizer::new(shape, &keys()),
            way: Way {
                batch: Batch::new(SEND_WAIT_MAX),
                intake: Intake::new(&socket),
                socket,
                path,
            },
            sealed: Vec::new(),
            opened: Vec::new(),
            openers: std::array::from_fn(|_| Opener::new(&keys(), WINDOW_LEN)),
            reassemblers: std::array::from_fn(|_| Reassembler::new(limits)),
            times: Times::default(),
        })
    }

    /// Every stage's turn.
    pub(super) fn turn(&mut self, unit: &Unit<'_>) -> io::Result<()> {
        let plan = self.packetizer.plan(unit).map_err(io::Error::other)?;
        self.sealed.clear();
        for index in 0..plan.block_count {
            let block = self.packetizer.block(unit, index).map_err(io::Error::other)?;
            self.sealed.extend_from_slice(block);
        }
        self.receive()?;
        self.open()?;
        for (index, lost_max) in [(0, 0), (1, 1), (2, usize::MAX)] {
            self.reassemble(index, lost_max, unit)?;
        }
        self.whole(unit)
    }

    fn receive(&mut self) -> io::Result<()> {
        let datagram_len = self.packetizer.datagram_len();
        self.times.receive.add(self.way.carry(&self.sealed, datagram_len, |_| {})?);
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        self.opened.clone_from(&self.sealed);
        let datagrams = self.opened.chunks_exact_mut(self.packetizer.datagram_len());
        let began = clock::now();
        for datagram in datagrams {
            self.openers[0].open(datagram).map_err(io::Error::other)?;
        }
        self.times.open.add_since(began);
        Ok(())
    }

    /// Puts together what was opened, without the first so many data shards of each block: as many
    /// of them as there is parity at most.
    fn reassemble(&mut self, index: usize, lost_max: usize, unit: &Unit<'_>) -> io::Result<()> {
        let datagrams = self.opened.chunks_exact(self.packetizer.datagram_len());
        let mut payloads = Vec::with_capacity(datagrams.len());
        for datagram in datagrams {
            let payload = &datagram[PACKET_HEADER_LEN..datagram.len() - TAG_LEN];
            let (header, _) = ShardHeader::parse(payload).map_err(io::Error::other)?;
            let lost_count = usize::from(header.parity_count.min(header.data_count)).min(lost_max);
            if usize::from(header.index) >= lost_count {
                payloads.push(payload);
            }
        }
        let reassembler = &mut self.reassemblers[index];
        let began = clock::now();
        for payload in payloads {
            reassembler.handle_payload(payload, began).map_err(io::Error::other)?;
        }
        let time = clock::now() - began;
        check(reassembler, unit)?;
        match index {
            0 => self.times.reassemble.add(time),
            1 => self.times.recover_one.add(time),
            _ => self.times.recover_all.add(time),
        }
        Ok(())
    }

    fn whole(&mut self, unit: &Unit<'_>) -> io::Result<()> {
        let datagram_len = self.packetizer.datagram_len();
        let (opener, reassembler) = (&mut self.openers[1], &mut self.reassemblers[3]);
        let began = clock::now();
        let time = self.way.carry(&self.sealed, datagram_len, |taken| {
            if let Ok(opened) = opener.open(taken.bytes) {
                let _ = reassembler.handle_payload(opened.payload, began);
            }
        })?;
        self.times.whole.add(time);
        check(reassembler, unit)
    }
}

impl Way {
    /// Sends datagrams of one length, part by part, and takes each part. Returns the time that was
    /// spent with taking.
    fn carry(
        &mut self,
        datagrams: &[u8],
        datagram_len: usize,
        mut take: impl FnMut(Taken<'_>),
    ) -> io::Result<Duration> {
        let mut time = Duration::ZERO;
        for part in datagrams.chunks((PART_LEN / datagram_len).max(1) * datagram_len) {
            self.batch.send(&self.socket, &self.path, part, datagram_len, None);
            let began = clock::now();
            let mut left = part.len() / datagram_len;
            while left > 0 {
                let taken = self.intake.receive(&self.socket, &mut take)?;
                expect(&self.socket, taken)?;
                left -= taken.min(left);
            }
            time += clock::now() - began;
        }
        Ok(time)
    }
}

/// Where nothing was taken, more is on its way: over loopback nothing is lost but for want of room.
fn expect(socket: &UdpSocket, taken: usize) -> io::Result<()> {
    let is_there = taken > 0 || poll::wait_readable(socket, clock::now() + WAIT_MAX)?;
    if is_there { Ok(()) } else { Err(io::Error::other("lost over loopback: the buffer is small")) }
}

/// Takes what was put together, which has to be what was sent.
fn check(reassembler: &mut Reassembler, unit: &Unit<'_>) -> io::Result<()> {
    match reassembler.poll_event(clock::now(), clock::monotonic_us()) {
        Some(Event::Unit(came)) if came.bytes == unit.bytes => Ok(()),
        other => Err(io::Error::other(format!("not what was sent: {}", other.is_some()))),
    }
}
