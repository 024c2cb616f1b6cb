//! The parity of a block, one interface to the codes of both planes: that over GF(2^8), which
//! Moonlight decodes, and that over GF(2^16) of punktfunk/1.

#![forbid(unsafe_code)]

use std::array;
use std::ops::Range;

use fec16::Workspace;

/// The code of one block.
pub(super) enum Fec<'a> {
    /// GameStream's, gamestream.md 13.4: at most 255 shards.
    Gf8(fec8::Code),
    /// That of punktfunk/1, punktfunk-protocol(7), and what it computes in.
    Gf16(fec16::Code, &'a mut Workspace),
}

impl Fec<'_> {
    fn data_count(&self) -> usize {
        match self {
            Fec::Gf8(code) => code.data_count(),
            Fec::Gf16(code, _) => code.data_count(),
        }
    }

    fn parity_count(&self) -> usize {
        match self {
            Fec::Gf8(code) => code.parity_count(),
            Fec::Gf16(code, _) => code.parity_count(),
        }
    }

    /// Writes the parity shards of a block behind its data shards. `datagrams` are those of the
    /// block, of `datagram_len` bytes each, in which the shards are at `shard`. There are at most
    /// COUNT_MAX of either kind.
    ///
    /// # Panics
    ///
    /// If there are more, or the datagrams are not as many as the code has shards.
    pub(super) fn protect<const COUNT_MAX: usize>(
        self,
        datagrams: &mut [u8],
        datagram_len: usize,
        shard: Range<usize>,
    ) {
        let (data_count, parity_count) = (self.data_count(), self.parity_count());
        let (data, parity) = datagrams.split_at_mut(data_count * datagram_len);
        let mut data = data.chunks_exact(datagram_len);
        let mut parity = parity.chunks_exact_mut(datagram_len);
        let data: [&[u8]; COUNT_MAX] =
            array::from_fn(|_| data.next().map_or(&[][..], |datagram| &datagram[shard.clone()]));
        let mut parity: [&mut [u8]; COUNT_MAX] =
            array::from_fn(|_| parity.next().map_or(&mut [][..], |it| &mut it[shard.clone()]));
        let (data, parity) = (&data[..data_count], &mut parity[..parity_count]);
        let are_right = match self {
            Fec::Gf8(code) => code.protect(data, parity).is_ok(),
            Fec::Gf16(code, workspace) => code.protect(workspace, data, parity).is_ok(),
        };
        assert!(are_right, "shards of one length, as many as the code and the memory are for");
    }

    /// Writes the lost data shards of a block, whatever their memory held. Shards come with their
    /// index in the block, in which the parity is behind the data.
    ///
    /// # Panics
    ///
    /// If fewer are here than the block has data shards, or their lengths differ.
    pub(super) fn recover(self, here: &[(usize, &[u8])], lost: &mut [(usize, &mut [u8])]) {
        let are_right = match self {
            Fec::Gf8(code) => code.recover(here, lost).is_ok(),
            Fec::Gf16(code, workspace) => code.recover(workspace, here, lost).is_ok(),
        };
        assert!(
            are_right,
            "as many shards of one length as it takes, and the memory is for as many"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATAGRAM_LEN: usize = 72;
    const SHARD: Range<usize> = 4..68;

    /// What is lost comes back, and what is around the shards stays as it is.
    #[track_caller]
    fn hold(mut fec: impl FnMut(&mut dyn FnMut(Fec))) {
        let mut datagrams: Vec<u8> = (0..6 * DATAGRAM_LEN).map(|at| (at * 7 % 251) as u8).collect();
        let before = datagrams.clone();

        fec(&mut |fec| fec.protect::<4>(&mut datagrams, DATAGRAM_LEN, SHARD));

        let shard = |index: usize| &datagrams[index * DATAGRAM_LEN..][SHARD];
        let here = [1, 3, 4, 5].map(|index| (index, shard(index)));
        let mut found = [[0; 64]; 2];
        let [first, third] = &mut found;
        fec(&mut |fec| fec.recover(&here, &mut [(0, &mut *first), (2, &mut *third)]));

        assert_eq!(found.each_ref().map(|it| &it[..]), [shard(0), shard(2)]);
        for (at, (now, then)) in datagrams.iter().zip(&before).enumerate() {
            let is_parity = at >= 4 * DATAGRAM_LEN && SHARD.contains(&(at % DATAGRAM_LEN));
            assert!(is_parity || now == then, "{at}");
        }
    }

    #[test]
    fn both_codes_protect_and_recover_the_shards_of_datagrams() {
        hold(|work| work(Fec::Gf8(fec8::Code::video(4, 2).unwrap())));
        let code = fec16::Code::new(4, 2).unwrap();
        let mut workspace = Workspace::new(code);
        hold(|work| work(Fec::Gf16(code, &mut workspace)));
    }
}
