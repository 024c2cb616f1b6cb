//! A client's end of the data plane: checks what clients check, recovers what is lost, and puts
//! access units together.

use std::collections::BTreeSet;

use fec8::Code;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// An access unit as it arrived.
#[derive(Debug, PartialEq)]
pub struct Arrived {
    pub kind: u8,
    pub latency_100us: u16,
    pub timestamp: u32,
    pub bytes: Vec<u8>,
}

pub struct Receiver {
    packet_len: usize,
    key: Option<LessSafeKey>,
    /// What the next access unit begins with.
    frame_index: u32,
    position: u32,
    nonce: u64,
}

/// What the headers of one block have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Block {
    sequence: u16,
    index: u8,
    last_index: u8,
    data_count: usize,
    parity_count: usize,
    timestamp: u32,
}

/// One packet and its number in the block.
struct Packet {
    block: Block,
    shard: usize,
    bytes: Vec<u8>,
}

impl Receiver {
    pub fn new(packet_len: usize, key: Option<[u8; 16]>, nonce: u64) -> Receiver {
        let key = key.map(|key| UnboundKey::new(&AES_128_GCM, &key).unwrap()).map(LessSafeKey::new);
        Receiver { packet_len, key, frame_index: 1, position: 0, nonce }
    }

    /// The next access unit, from what arrived of the datagrams of each of its blocks. `sent` is
    /// how many left of each.
    pub fn handle_frame(&mut self, blocks: &[Vec<Vec<u8>>], sent: &[usize]) -> Arrived {
        let payload_len = self.packet_len - 16;
        let (mut payload, mut timestamp) = (Vec::new(), 0);
        for (index, (datagrams, sent)) in blocks.iter().zip(sent).enumerate() {
            let packets: Vec<Packet> = datagrams.iter().map(|it| self.packet(it)).collect();
            self.check_nonces(datagrams, *sent);
            let block = packets[0].block;
            assert!(packets.iter().all(|packet| packet.block == block), "one block");
            assert_eq!(block.sequence, self.position as u16, "blocks follow each other");
            assert_eq!(
                (block.index as usize, block.last_index as usize),
                (index, blocks.len() - 1)
            );
            assert_eq!(block.data_count + block.parity_count, *sent, "parity that was computed");
            timestamp = block.timestamp;
            for (shard, packet) in recovered(packets).iter().enumerate() {
                self.check_data(&block, shard, packet);
                payload.extend_from_slice(&packet[32..]);
            }
            self.position = self.position.wrapping_add(*sent as u32);
            self.nonce += *sent as u64;
        }
        self.frame_index += 1;
        let last_len = usize::from(u16::from_le_bytes([payload[4], payload[5]]));
        assert!(payload[0] == 1 && payload[6..8] == [0, 0]);
        assert!((1..=payload_len).contains(&last_len));
        let padding = payload.split_off(payload.len() - payload_len + last_len);
        assert!(padding.iter().all(|byte| *byte == 0));
        Arrived {
            kind: payload[3],
            latency_100us: u16::from_le_bytes([payload[1], payload[2]]),
            timestamp,
            bytes: payload.split_off(8),
        }
    }

    /// How many parity shards the block of a datagram has.
    pub fn parity_count(&self, datagram: &[u8]) -> usize {
        self.packet(datagram).block.parity_count
    }

    /// Opens a datagram and reads its header.
    fn packet(&self, datagram: &[u8]) -> Packet {
        let bytes = match &self.key {
            Some(key) => self.open(key, datagram),
            None => datagram.to_vec(),
        };
        assert_eq!(bytes.len(), self.packet_len + 16);
        assert_eq!((bytes[0], bytes[1]), (0x90, 0));
        assert_eq!(bytes[8..16], [0; 8], "SSRC and what the extension bit stands for");
        assert_eq!(bytes[20..24], self.frame_index.to_le_bytes());
        let info = u32::from_le_bytes(bytes[28..32].try_into().unwrap()) as usize;
        let (shard, data_count, percent) = (info >> 12 & 1023, info >> 22, info >> 4 & 255);
        let block = Block {
            sequence: u16::from_be_bytes([bytes[2], bytes[3]]).wrapping_sub(shard as u16),
            index: bytes[27] >> 4 & 3,
            last_index: bytes[27] >> 6,
            data_count,
            parity_count: (data_count * percent).div_ceil(100),
            timestamp: u32::from_be_bytes(bytes[4..8].try_into().unwrap()),
        };
        Packet { block, shard, bytes }
    }

    fn open(&self, key: &LessSafeKey, datagram: &[u8]) -> Vec<u8> {
        let nonce: [u8; 12] = datagram[..12].try_into().unwrap();
        assert_eq!(nonce[8..], *b"\0\0\0V");
        assert_eq!(datagram[12..16], self.frame_index.to_le_bytes());
        let mut sealed = datagram[32..].to_vec();
        sealed.extend_from_slice(&datagram[16..32]);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = key.open_in_place(nonce, Aad::empty(), &mut sealed).expect("its tag");
        opened.to_vec()
    }

    /// Checks that the nonces of a block are new, and those of no other.
    fn check_nonces(&self, datagrams: &[Vec<u8>], sent: usize) {
        if self.key.is_none() {
            return;
        }
        let counters = datagrams.iter().map(|it| u64::from_le_bytes(it[..8].try_into().unwrap()));
        let different: BTreeSet<u64> = counters.collect();
        let range = self.nonce..self.nonce + sent as u64;
        assert_eq!(different.len(), datagrams.len(), "no nonce twice");
        assert!(different.iter().all(|counter| range.contains(counter)), "nonces of the block");
    }

    /// Checks what the header of a data shard has to be, whether it arrived or was recovered.
    fn check_data(&self, block: &Block, shard: usize, packet: &[u8]) {
        let stream_index = self.position.wrapping_add(shard as u32) << 8;
        assert_eq!(packet[16..20], stream_index.to_le_bytes(), "stream index");
        let start = if shard == 0 { 4 } else { 0 };
        let end = if shard + 1 == block.data_count { 2 } else { 0 };
        assert_eq!(packet[24..27], [1 | start | end, 0, 0x10], "flags");
    }
}

/// All data shards of a block, in their order.
fn recovered(packets: Vec<Packet>) -> Vec<Vec<u8>> {
    let block = packets[0].block;
    let received: Vec<(usize, &[u8])> =
        packets.iter().map(|packet| (packet.shard, &packet.bytes[..])).collect();
    let is_there = |index: &usize| received.iter().any(|(shard, _)| shard == index);
    let mut lost: Vec<(usize, Vec<u8>)> = (0..block.data_count)
        .filter(|index| !is_there(index))
        .map(|index| (index, vec![0; received[0].1.len()]))
        .collect();
    if !lost.is_empty() {
        let code = Code::video(block.data_count, block.parity_count).unwrap();
        code.recover(&received, &mut lost).unwrap();
    }
    let arrived = packets.into_iter().map(|packet| (packet.shard, packet.bytes));
    let mut data: Vec<_> = arrived.filter(|(shard, _)| *shard < block.data_count).collect();
    data.append(&mut lost);
    data.sort();
    data.into_iter().map(|(_, bytes)| bytes).collect()
}
