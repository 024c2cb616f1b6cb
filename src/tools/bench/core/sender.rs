//! The sender's stages, and what they are beside.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as Bare};
use std::os::fd::AsFd;
use std::time::Duration;

use punktfunk_core::net::clock;
use punktfunk_core::net::udp::{Batch, Path, UdpSocket, set_segment_len};
use punktfunk_core::proto::packet::native::packetize::{Packetizer, Shape, Unit};
use punktfunk_core::proto::packet::pace::{BURST_COUNT_MAX, BURST_LEN_MAX};

use super::{BUFFER_LEN, Best, SEND_WAIT_MAX};
use crate::arguments::Core;
use crate::pattern::keys;

/// One datagram in so many is sent singly: each takes as long as another, and all would take long.
const SINGLE_SHARE: usize = 8;

/// What the stages took, and the others.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) packetize: Best,
    pub(super) protect: Best,
    pub(super) seal: Best,
    pub(super) send: Best,
    /// All of these.
    pub(super) whole: Best,
    /// Datagrams that are there, in messages that the kernel segments.
    pub(super) bare: Best,
    /// As many, each in a message.
    pub(super) single: Best,
    /// The access unit to another place.
    pub(super) copy: Best,
}

/// See the module.
pub(super) struct Sender {
    packetizer: Packetizer,
    batch: Batch,
    socket: UdpSocket,
    path: Path,
    bare: Bare,
    single: Bare,
    /// What the bare ones send: a block, over and over.
    datagrams: Vec<u8>,
    copy: Vec<u8>,
    pub(super) datagram_len: usize,
    /// Datagrams of a burst at most.
    burst_len: usize,
    /// Of an access unit.
    pub(super) datagram_count: usize,
    pub(super) times: Times,
    pub(super) dropped_count: usize,
}

impl Sender {
    pub(super) fn new(arguments: &Core, shape: Shape) -> io::Result<Sender> {
        let any: IpAddr = match arguments.to.is_ipv4() {
            true => Ipv4Addr::UNSPECIFIED.into(),
            false => Ipv6Addr::UNSPECIFIED.into(),
        };
        let any = SocketAddr::new(any, 0);
        let socket = UdpSocket::bind(any)?;
        socket.set_buffers(BUFFER_LEN)?;
        let (bare, single) = (Bare::bind(any)?, Bare::bind(any)?);
        bare.connect(arguments.to)?;
        single.connect(arguments.to)?;
        let packetizer = Packetizer::new(shape, &keys());
        let datagram_len = packetizer.datagram_len();
        set_segment_len(bare.as_fd(), datagram_len)?;
        Ok(Sender {
            packetizer,
            batch: Batch::new(SEND_WAIT_MAX),
            socket,
            path: Path { remote: arguments.to, local: None },
            bare,
            single,
            datagrams: Vec::new(),
            copy: vec![0; arguments.unit],
            datagram_len,
            burst_len: (BURST_LEN_MAX / datagram_len).clamp(1, BURST_COUNT_MAX),
            datagram_count: 0,
            times: Times::default(),
            dropped_count: 0,
        })
    }

    /// Whether the kernel has cut messages into datagrams.
    pub(super) fn is_segmented(&self) -> bool {
        self.batch.is_segmented()
    }

    /// Everybody's turn.
    pub(super) fn turn(&mut self, unit: &Unit<'_>) -> io::Result<()> {
        let began = clock::now();
        self.copy.copy_from_slice(unit.bytes);
        black_box(&mut self.copy);
        self.times.copy.add_since(began);
        self.pipe(unit)?;
        self.bare()
    }

    /// The pipe: block by block.
    fn pipe(&mut self, unit: &Unit<'_>) -> io::Result<()> {
        let plan = self.packetizer.plan(unit).map_err(io::Error::other)?;
        self.datagram_count = plan.datagram_count;
        let [mut packetize, mut protect, mut seal, mut send] = [Duration::ZERO; 4];
        let began = clock::now();
        let mut mark = began;
        let mut lap = |stage: &mut Duration| {
            let now = clock::now();
            *stage += now - mark;
            mark = now;
        };
        for index in 0..plan.block_count {
            let block = self.packetizer.cut(unit, index).map_err(io::Error::other)?;
            lap(&mut packetize);
            self.packetizer.protect(&block);
            lap(&mut protect);
            let indices = 0..block.datagram_count();
            let block = self.packetizer.seal(&block, indices).map_err(io::Error::other)?;
            lap(&mut seal);
            let sent = self.batch.send(&self.socket, &self.path, block, self.datagram_len, None);
            lap(&mut send);
            self.dropped_count += sent.dropped;
            if self.datagrams.is_empty() {
                self.datagrams.extend_from_slice(block);
            }
        }
        self.times.whole.add_since(began);
        self.times.packetize.add(packetize);
        self.times.protect.add(protect);
        self.times.seal.add(seal);
        self.times.send.add(send);
        Ok(())
    }

    /// As many datagrams, made before.
    fn bare(&mut self) -> io::Result<()> {
        let began = clock::now();
        let mut left = self.datagram_count * self.datagram_len;
        while left > 0 {
            let block = &self.datagrams[..left.min(self.datagrams.len())];
            for burst in block.chunks(self.burst_len * self.datagram_len) {
                self.bare.send(burst)?;
            }
            left -= block.len();
        }
        self.times.bare.add_since(began);
        let single_count = self.datagram_count.div_ceil(SINGLE_SHARE);
        let began = clock::now();
        for datagram in self.datagrams.chunks(self.datagram_len).cycle().take(single_count) {
            self.single.send(datagram)?;
        }
        let time = clock::now() - began;
        self.times.single.add(time.mul_f64(self.datagram_count as f64 / single_count as f64));
        Ok(())
    }
}
