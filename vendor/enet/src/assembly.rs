//! A message of which some fragments have come.

use crate::Error;
use crate::wire::Fragment;

/// Fragments of a message: they have to fit the window of reliable numbers.
pub(crate) const FRAGMENT_COUNT_MAX: u32 = 4096;

const WORD_BITS: u32 = u64::BITS;

/// Takes its memory when the first fragment comes: as much as the message is said to be long.
#[derive(Debug)]
pub(crate) struct Assembly {
    bytes: Vec<u8>,
    /// A bit per fragment that has come.
    seen: Vec<u64>,
    count: u32,
    missing_count: u32,
}

impl Assembly {
    /// For the message of this fragment, which has been checked.
    pub(crate) fn new(fragment: &Fragment) -> Assembly {
        Assembly {
            bytes: vec![0; fragment.total_len as usize],
            seen: vec![0; fragment.count.div_ceil(WORD_BITS) as usize],
            count: fragment.count,
            missing_count: fragment.count,
        }
    }

    /// Bytes of memory that the message of this fragment takes.
    pub(crate) fn cost(fragment: &Fragment) -> usize {
        fragment.total_len as usize + fragment.count.div_ceil(WORD_BITS) as usize * 8
    }

    /// As [`Assembly::cost`].
    pub(crate) fn held_len(&self) -> usize {
        self.bytes.len() + self.seen.len() * 8
    }

    /// Takes a fragment, again if need be.
    pub(crate) fn insert(&mut self, fragment: &Fragment, data: &[u8]) -> Result<(), Error> {
        let total_len = fragment.total_len as usize;
        if (self.count, self.bytes.len()) != (fragment.count, total_len) {
            return Err(Error::Malformed);
        }
        let word = &mut self.seen[(fragment.number / WORD_BITS) as usize];
        let bit = 1 << (fragment.number % WORD_BITS);
        if *word & bit == 0 {
            *word |= bit;
            self.missing_count -= 1;
            self.bytes[fragment.offset as usize..][..data.len()].copy_from_slice(data);
        }
        Ok(())
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.missing_count == 0
    }

    /// Numbers that it takes of the channel's reliable ones.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Whether the numbers of a fragment agree with each other and with its length.
pub(crate) fn check(fragment: &Fragment, data: &[u8], len_max: usize) -> Result<(), Error> {
    let total_len = fragment.total_len as usize;
    let offset = fragment.offset as usize;
    let fits = fragment.count <= FRAGMENT_COUNT_MAX
        && fragment.number < fragment.count
        && total_len <= len_max
        && fragment.total_len >= fragment.count
        && offset < total_len
        && data.len() <= total_len - offset;
    if fits { Ok(()) } else { Err(Error::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAGMENT: Fragment = Fragment { start: 1, count: 3, number: 0, total_len: 10, offset: 0 };

    #[test]
    fn fragments_in_any_order_and_number_make_the_message() {
        let mut assembly = Assembly::new(&FRAGMENT);
        let pieces = [(2, 8, "ij"), (0, 0, "abcd"), (2, 8, "XX"), (0, 0, "abcd"), (1, 4, "efgh")];

        for (number, offset, data) in pieces {
            assert!(!assembly.is_complete());
            let fragment = Fragment { number, offset, ..FRAGMENT };
            assembly.insert(&fragment, data.as_bytes()).unwrap();
        }

        assert!(assembly.is_complete());
        assert_eq!(assembly.held_len(), Assembly::cost(&FRAGMENT));
        assert_eq!(assembly.into_bytes(), b"abcdefghij");
    }

    #[test]
    fn fragments_that_contradict_each_other_are_refused() {
        let mut assembly = Assembly::new(&FRAGMENT);
        for other in [Fragment { count: 4, ..FRAGMENT }, Fragment { total_len: 11, ..FRAGMENT }] {
            assert_eq!(assembly.insert(&other, b""), Err(Error::Malformed));
        }
    }

    #[test]
    fn fragments_that_contradict_themselves_are_refused() {
        let cases = [
            (FRAGMENT, 10, true),
            (FRAGMENT, 11, false),
            (Fragment { offset: 9, ..FRAGMENT }, 1, true),
            (Fragment { offset: 9, ..FRAGMENT }, 2, false),
            (Fragment { offset: 10, ..FRAGMENT }, 0, false),
            (Fragment { offset: u32::MAX, ..FRAGMENT }, 0, false),
            (Fragment { number: 3, ..FRAGMENT }, 1, false),
            (Fragment { count: 11, ..FRAGMENT }, 1, false),
            (Fragment { count: 0, ..FRAGMENT }, 1, false),
            (Fragment { total_len: 101, ..FRAGMENT }, 1, false),
            (Fragment { total_len: 100, ..FRAGMENT }, 1, true),
            (Fragment { total_len: u32::MAX, count: u32::MAX, ..FRAGMENT }, 1, false),
        ];
        for (fragment, data_len, is_right) in cases {
            let data = vec![0; data_len];
            assert_eq!(check(&fragment, &data, 100).is_ok(), is_right, "{fragment:?} {data_len}");
        }
        let many = Fragment { count: 4097, total_len: 5000, ..FRAGMENT };
        assert_eq!(check(&many, b"x", 5000), Err(Error::Malformed));
    }
}
