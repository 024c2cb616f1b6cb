//! Parity shards from data shards.

#![forbid(unsafe_code)]

use crate::code::{Code, common_len};
use crate::error::Error;
use crate::transform::Transform;
use crate::workspace::{Workspace, tile};

/// Shards that are added at once.
const GROUP: usize = 16;

impl Code {
    /// Writes the parity shards of a block, whatever they held.
    pub fn protect<D, P>(
        &self,
        workspace: &mut Workspace,
        data: &[D],
        parity: &mut [P],
    ) -> Result<(), Error>
    where
        D: AsRef<[u8]>,
        P: AsMut<[u8]>,
    {
        if data.len() != self.data_count() {
            return Err(Error::Count { expected: self.data_count(), found: data.len() });
        }
        if parity.len() != self.parity_count() {
            return Err(Error::Count { expected: self.parity_count(), found: parity.len() });
        }
        if !workspace.suits(self) {
            return Err(Error::Memory);
        }
        let data_lens = data.iter().map(|shard| shard.as_ref().len());
        let parity_lens = parity.iter_mut().map(|shard| shard.as_mut().len());
        let len = common_len(data_lens.chain(parity_lens))?;
        if let [parity] = parity {
            self.add_all(data, parity.as_mut());
            return Ok(());
        }
        let (log, chunk) = (self.log(), self.chunk_count());
        let places = chunk..chunk + data.len();
        for start in (0..len).step_by(tile(log)) {
            let range = start..len.min(start + tile(log));
            let transform = Transform::new(self, workspace.logarithms, range.len(), len);
            let (sums, rows) = workspace.rows(transform.len(log));
            let shard = |place: usize| match data.get(place - chunk) {
                Some(shard) => &shard.as_ref()[range.clone()],
                None => &[],
            };
            transform.load(sums, log, chunk, &places, &shard);
            for place in (2 * chunk..places.end).step_by(chunk) {
                transform.fold(rows, sums, log, place, &places, None, &shard);
            }
            transform.store(sums, log, &range, parity);
        }
        Ok(())
    }

    /// The only parity shard: all that is left of the transform of a single value is the sum.
    fn add_all<D: AsRef<[u8]>>(&self, data: &[D], parity: &mut [u8]) {
        parity.fill(0);
        for group in data.chunks(GROUP) {
            let mut shards = [&[][..]; GROUP];
            for (slot, shard) in shards.iter_mut().zip(group) {
                *slot = shard.as_ref();
            }
            self.kernel().add(&shards[..group.len()], parity);
        }
    }
}
