//! The structs that go over the border, as C lays them out.
//!
//! They begin with their size as the caller knows it, which is how they can grow: at their ends,
//! where 0 is what callers mean who do not know the member. None has a hole between members or at
//! its end, so what a caller sets is all there is.

#![forbid(unsafe_code)]

use crate::proto::packet::native::path::PING_DATAGRAM_LEN;

/// In place of a number: none of it, where 0 is the usual.
pub const NONE: u32 = u32::MAX;

/// The end that submits access units.
pub const ROLE_HOST: u32 = 1;
/// The end that polls access units.
pub const ROLE_CLIENT: u32 = 2;

/// A decoder can begin with this access unit.
pub const UNIT_IDR: u32 = 1;
/// This access unit refers to nothing that the client has reported as lost.
pub const UNIT_ANCHOR: u32 = 2;

/// There is an access unit.
pub const EVENT_UNIT: u32 = 1;
/// Access units will not come any more.
pub const EVENT_LOST: u32 = 2;

/// Bytes of a datagram with a ping, or with the answer to one.
pub const PING_LEN: usize = 64;

const _: () = assert!(PING_LEN == PING_DATAGRAM_LEN);

/// Where datagrams of a client come from, and are to go.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Address {
    /// Of IPv6; one of IPv4 is mapped into it, RFC 4291 section 2.5.5.2.
    pub ip: [u8; 16],
    /// 1 to 65535.
    pub port: u32,
}

/// What a client's pings say of the way.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct PathState {
    /// sizeof of this struct, set by the caller; no less than what ends with is_open.
    pub struct_size: u32,
    /// 1 while the host sends media here; else 0.
    pub is_open: u32,
    /// From the last ping that was answered to its answer, in microseconds.
    pub rtt_us: u64,
    /// What the host's clock shows more than that of the caller, in microseconds; off by half of
    /// rtt_us at most.
    pub offset_us: i64,
}

/// A speed test, on which both ends have agreed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Probe {
    /// sizeof of this struct; no less than what ends with duration_ms.
    pub struct_size: u32,
    /// Which test of the session it is.
    pub test: u32,
    /// The rate of whole datagrams, in kbit/s: 1 to 3000000.
    pub rate_kbps: u32,
    /// How long it takes: 1 to 10000.
    pub duration_ms: u32,
}

/// What a host has sent of a speed test, which it tells the client when the test is over.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ProbeSent {
    /// sizeof of this struct; no less than what ends with send_dropped.
    pub struct_size: u32,
    /// Which test of the session it is.
    pub test: u32,
    /// Datagrams that were made, those among them that the system did not take.
    pub datagrams: u64,
    /// Datagrams that the system did not take, as the caller has told.
    pub send_dropped: u64,
    /// The rate of what the system took, in kbit/s.
    pub rate_kbps: u64,
}

/// What a speed test says of the way.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ProbeReport {
    /// sizeof of this struct, set by the caller; no less than what ends with lost.
    pub struct_size: u32,
    /// Which test of the session it is.
    pub test: u32,
    /// Datagrams that came.
    pub received: u64,
    /// Datagrams that the way has lost.
    pub lost: u64,
    /// The rate of what came, in kbit/s.
    pub rate_kbps: u64,
    /// How much longer the slowest took than the quickest, in microseconds: what was in queues.
    pub queue_us_max: u64,
    /// The interarrival jitter of RFC 3550 at the end, in microseconds.
    pub jitter_us: u64,
}

/// What one direction is sealed under: secrets, which must not be used for another session or the
/// other direction.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Keys {
    /// Of AES-128.
    pub key: [u8; 16],
    /// What packet numbers are combined with.
    pub iv: [u8; 12],
}

/// How a session is to be. Both ends have agreed on it. From datagram_len_max on, 0 stands for the
/// usual.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Config {
    /// sizeof of this struct; no less than what ends with receive.
    pub struct_size: u32,
    /// PUNKTFUNK_ROLE_HOST or PUNKTFUNK_ROLE_CLIENT.
    pub role: u32,
    /// For what this end sends.
    pub send: Keys,
    /// For what this end receives.
    pub receive: Keys,
    /// Bytes of a UDP payload: 108 to 65507, usually 1452.
    pub datagram_len_max: u32,
    /// Bytes of an access unit: up to 67108864, usually 16777216.
    pub unit_len_max: u32,
    /// Data shards of a block: up to 1000, which is usual.
    pub block_data_max: u32,
    /// Parity shards per hundred data shards: up to 100, usually 20, or PUNKTFUNK_NONE. Of hosts.
    pub parity_percent: u32,
    /// Parity shards of a block that has any: up to 255, no more than block_data_max, usually 1. Of
    /// hosts.
    pub parity_count_min: u32,
    /// Access units in the making: 2 to 64, usually 8. Of clients.
    pub frame_count: u32,
    /// How long an access unit that is whole waits for those before it, in microseconds: up to
    /// 1000000, usually 5000, or PUNKTFUNK_NONE. Of clients.
    pub patience_us: u32,
    /// Packets that may come late or be told from others: up to 1048576, usually 16384.
    pub window_len: u32,
    /// Samples of each channel in a frame of sound, at 48 kHz: up to 5760, usually 240. Of hosts.
    pub sound_sample_count: u32,
    /// How long frames of sound wait for one before them, in microseconds: up to 1000000, usually
    /// 10000, or PUNKTFUNK_NONE. Of clients.
    pub sound_patience_us: u32,
    /// How long an access unit that is not whole is waited for after its last datagram, in
    /// microseconds, where nothing comes behind it: up to 1000000, usually 50000. Of clients.
    pub stall_us: u32,
}

/// An access unit to be sent.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Unit {
    /// sizeof of this struct; no less than what ends with captured_us.
    pub struct_size: u32,
    /// PUNKTFUNK_UNIT_IDR, PUNKTFUNK_UNIT_ANCHOR, both or none.
    pub flags: u32,
    /// What the encoder made. It is copied.
    pub bytes: *const u8,
    /// How many bytes, at least one.
    pub len: usize,
    /// When it was captured by the host's clock, in microseconds.
    pub captured_us: u64,
    /// How long ago that is, in microseconds.
    pub latency_us: u32,
    /// Counts the changes of mode, and wraps at 256.
    pub epoch: u32,
}

/// What a client is told.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Event {
    /// sizeof of this struct, set by the caller; no less than what ends with len.
    pub struct_size: u32,
    /// PUNKTFUNK_EVENT_UNIT or PUNKTFUNK_EVENT_LOST.
    pub kind: u32,
    /// The number of the access unit, or of the first that is lost. They count from 1.
    pub first: u32,
    /// The same, or of the last that is lost.
    pub last: u32,
    /// As struct punktfunk_unit has them.
    pub flags: u32,
    /// Likewise.
    pub epoch: u32,
    /// The access unit, which is lent: until the next event of this session is polled, or it is
    /// closed. Null for what is lost.
    pub bytes: *const u8,
    /// How many bytes.
    pub len: usize,
    /// When it was captured by the host's clock, in microseconds.
    pub captured_us: u64,
    /// How long the host took from there until it sent it, in microseconds.
    pub latency_us: u32,
    /// From its first datagram to its last, in microseconds.
    pub assembly_us: u32,
}

/// Sound for a client.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Sound {
    /// sizeof of this struct, set by the caller; no less than what ends with len.
    pub struct_size: u32,
    /// Samples of each channel in the frame, at 48 kHz. 0 for what is lost.
    pub sample_count: u32,
    /// The number of the frame, or of the first that is lost. They count from 1.
    pub first: u32,
    /// The same, or of the last that is lost.
    pub last: u32,
    /// The frame, which is lent: until the next sound of this session is polled, or it is closed.
    /// Null for what is lost.
    pub bytes: *const u8,
    /// How many bytes.
    pub len: usize,
    /// When its first sample was captured by the host's clock, in microseconds.
    pub captured_us: u64,
}

/// What a link does to datagrams. 0 stands for nothing of it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LinkOptions {
    /// sizeof of this struct; no less than what ends with seed.
    pub struct_size: u32,
    /// Datagrams that are lost, of a million.
    pub loss_ppm: u32,
    /// The same seed loses the same datagrams.
    pub seed: u64,
    /// Datagrams that are lost in a row, on average. 0 and 1: each by itself.
    pub burst_len: u32,
    /// Datagrams that come twice, of a million.
    pub repeat_ppm: u32,
    /// Datagrams that the next one overtakes, of a million.
    pub disorder_ppm: u32,
    /// The datagram of this number, from 1, meets a defect of the library: to see what a program does
    /// then.
    pub defect_at: u32,
}
