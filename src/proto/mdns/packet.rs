//! What is read from packets, whoever sent them.

#![forbid(unsafe_code)]

use simple_dns::{Name, OPCODE, Packet, RCODE, ResourceRecord};

use super::Error;

/// Bytes of the longest packet, RFC 6762 section 17.
pub const PACKET_LEN_MAX: usize = 9000;

const HEADER_LEN: usize = 12;
/// One will do for any name, and addresses may look like one.
const POINTER_DEPTH_MAX: u16 = 8;
/// A root name, type and class.
const QUESTION_LEN_MIN: usize = 5;
/// A root name, type, class, TTL and length.
const RECORD_LEN_MIN: usize = 11;

/// The packet with the header bit cleared that has no meaning and that simple-dns does not take.
pub(super) fn without_reserved_bit(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    const FLAGS: usize = 3; // the second byte of them
    const RESERVED: u8 = 0x40;
    if !(HEADER_LEN..=PACKET_LEN_MAX).contains(&bytes.len()) {
        return Err(Error::Format);
    }
    let mut bytes = bytes.to_vec();
    bytes[FLAGS] &= !RESERVED;
    Ok(bytes)
}

pub(super) fn parse(bytes: &[u8]) -> Result<Packet<'_>, Error> {
    let (header, body) = bytes.split_at_checked(HEADER_LEN).ok_or(Error::Format)?;
    // simple-dns takes memory for as many as the header promises.
    let counts = [4, 6, 8, 10].map(|at| u16::from_be_bytes([header[at], header[at + 1]]));
    let [questions, records @ ..] = counts.map(usize::from);
    let records: usize = records.iter().sum();
    if questions * QUESTION_LEN_MIN + records * RECORD_LEN_MIN > body.len() {
        return Err(Error::Format);
    }
    if pointer_depth(bytes) > POINTER_DEPTH_MAX {
        return Err(Error::Format);
    }
    let packet = Packet::parse(bytes).map_err(|_| Error::Format)?;
    let is_plain = packet.opcode() == OPCODE::StandardQuery && packet.rcode() == RCODE::NoError;
    is_plain.then_some(packet).ok_or(Error::Format)
}

/// How many compression pointers there may be one behind the other, wherever a name begins.
/// simple-dns follows each for every name, so that a packet full of them would keep it busy.
fn pointer_depth(bytes: &[u8]) -> u16 {
    let mut depths = vec![0_u16; bytes.len()];
    for (at, pair) in bytes.windows(2).enumerate().skip(HEADER_LEN) {
        let target = usize::from(u16::from_be_bytes([pair[0], pair[1]]) & 0x3fff);
        if pair[0] >= 0xc0 && target < at {
            depths[at] = depths[target] + 1;
        }
    }
    depths.into_iter().max().unwrap_or(0)
}

/// Whether the asker says that it has `records`, and will have them for a while.
pub(super) fn knows(query: &Packet<'_>, records: &[ResourceRecord<'_>]) -> bool {
    records.iter().all(|record| {
        query.answers.iter().any(|known| known.ttl >= record.ttl / 2 && known == record)
    })
}

/// Class, type and data of records in the order that breaks ties.
pub(super) fn sorted<'a>(
    records: impl IntoIterator<Item = &'a ResourceRecord<'a>>,
) -> Vec<(u16, u16, Vec<u8>)> {
    let key = |record: &ResourceRecord<'_>| {
        (record.class.into(), record.rdata.type_code().into(), data(record))
    };
    let mut keys: Vec<_> = records.into_iter().map(key).collect();
    keys.sort();
    keys
}

/// The data of a record as they are on the wire, names in full.
fn data(record: &ResourceRecord<'_>) -> Vec<u8> {
    let mut packet = Packet::new_query(0);
    let name = Name::new_with_labels(&[]);
    let (class, ttl, rdata) = (record.class, record.ttl, record.rdata.clone());
    packet.answers.push(ResourceRecord::new(name, class, ttl, rdata));
    let mut bytes = packet.build_bytes_vec().unwrap_or_default();
    bytes.drain(..bytes.len().min(HEADER_LEN + RECORD_LEN_MIN));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with these counts.
    fn header(counts: [u16; 4]) -> Vec<u8> {
        let counts = counts.into_iter().flat_map(u16::to_be_bytes);
        [0, 0, 0, 0].into_iter().chain(counts).collect()
    }

    #[test]
    fn hostile_packets_are_refused() {
        let loops: &[u8] = b"\xc0\x0c\0\x0c\0\x01"; // a name that points to itself
        let ahead: &[u8] = b"\xc0\x20\0\x0c\0\x01";
        let mutual: &[u8] = b"\x01a\xc0\x0c\0\x0c\0\x01"; // a name that contains itself
        let cases: [(&str, Vec<u8>); 9] = [
            ("nothing", vec![]),
            ("half a header", header([0; 4])[..11].to_vec()),
            ("counts without records", header([u16::MAX; 4])),
            ("one record too few", [header([1, 1, 0, 0]), b"\0\0\x0c\0\x01".to_vec()].concat()),
            ("a loop", [&header([1, 0, 0, 0]), loops].concat()),
            ("a pointer ahead", [&header([1, 0, 0, 0]), ahead].concat()),
            ("an endless name", [&header([1, 0, 0, 0]), mutual].concat()),
            ("a long label", [&header([1, 0, 0, 0]), &[0x41; 90][..]].concat()),
            ("another kind of message", {
                let mut bytes = header([0; 4]);
                bytes[2] = 0x28; // an update
                bytes
            }),
        ];
        for (what, bytes) in cases {
            assert_eq!(parse(&bytes).err(), Some(Error::Format), "{what}");
        }
        assert_eq!(without_reserved_bit(&[0; PACKET_LEN_MAX + 1]), Err(Error::Format));
        assert_eq!(without_reserved_bit(&[0; HEADER_LEN - 1]), Err(Error::Format));
    }

    #[test]
    fn chains_of_pointers_are_refused() {
        for (count, is_taken) in [(1, true), (8, true), (9, false), (1000, false)] {
            // The first question is the root's; each of the others points to the one before.
            let mut bytes = header([count + 1, 0, 0, 0]);
            bytes.extend(b"\0\0\x0c\0\x01");
            let mut last = HEADER_LEN as u16;
            for _ in 0..count {
                let at = bytes.len() as u16;
                bytes.extend((0xc000 | last).to_be_bytes());
                bytes.extend(b"\0\x0c\0\x01");
                last = at;
            }

            assert_eq!(parse(&bytes).is_ok(), is_taken, "{count}");
        }
    }

    #[test]
    fn the_reserved_bit_is_ignored() {
        let mut bytes = header([0; 4]);
        bytes[3] = 0x40;

        let bytes = without_reserved_bit(&bytes).unwrap();

        assert!(parse(&bytes).is_ok());
    }
}
