//! What is sent, which the receiver knows too: bytes of which each access unit has its own part, and
//! the keys. These protect nothing.

#![forbid(unsafe_code)]

use punktfunk_core::proto::gamestream::secret::Secret;
use punktfunk_core::proto::packet::native::seal::Keys;

/// Access units begin at so many places.
const PLACE_COUNT: usize = 251;

/// Bytes after which they are the same again: no multiple of the length of a shard.
const PERIOD: usize = 65_521;

/// See the module.
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// For access units of so many bytes at most.
    pub fn new(len_max: usize) -> Pattern {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let period: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .take(PERIOD)
        .collect();
        let len = len_max + PLACE_COUNT;
        let mut bytes = period.repeat(len.div_ceil(PERIOD));
        bytes.truncate(len);
        Pattern(bytes)
    }

    /// The bytes of an access unit of that number and length; fewer if it is too long.
    pub fn unit(&self, index: u32, len: usize) -> &[u8] {
        let start = index as usize % PLACE_COUNT;
        &self.0[start..self.0.len().min(start + len)]
    }
}

/// What both ends seal under.
pub fn keys() -> Keys {
    Keys { key: Secret::new(*b"benchbenchbench!"), iv: Secret::new(*b"bench bench!") }
}
