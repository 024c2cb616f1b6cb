//! A way from one session to another in the same process, which loses, repeats and disorders
//! datagrams, the same ones for the same seed.

#![forbid(unsafe_code)]

use super::status::Status;
use super::structs::LinkOptions;

/// Bytes of datagrams that are carried at a time, which any one of them fits into.
const ROOM_LEN: usize = 1 << 16;
const MILLION: u32 = 1_000_000;

/// Takes datagrams from one end.
pub(super) type Source<'a> = dyn FnMut(&mut [u8]) -> Result<(usize, usize), Status> + 'a;
/// Hands a datagram to the other end. If it is to meet a defect there, it does.
pub(super) type Sink<'a> = dyn FnMut(&mut [u8], bool) -> Result<(), Status> + 'a;

/// See the module.
pub(super) struct Link {
    random: Random,
    /// That a datagram is lost after one that was not, and after one that was.
    to_bad: f64,
    stays_bad: f64,
    repeats: f64,
    disorders: f64,
    /// The number of the datagram that meets a defect. 0 is none.
    defect_at: u64,
    is_bad: bool,
    /// Datagrams so far.
    count: u64,
    room: Box<[u8]>,
    /// One that the next overtakes, if it has any bytes.
    held: Vec<u8>,
    /// What is handed over, which is overwritten there.
    given: Vec<u8>,
}

impl Link {
    pub(super) fn new(options: &LinkOptions) -> Result<Link, Status> {
        let shares = [options.loss_ppm, options.repeat_ppm, options.disorder_ppm];
        if shares.iter().any(|ppm| *ppm > MILLION) || options.burst_len > MILLION {
            return Err(Status::Value);
        }
        let [loss, repeats, disorders] = shares.map(|ppm| f64::from(ppm) / f64::from(MILLION));
        // Gilbert's model: what it loses of all is `loss`, in bursts of that length on average.
        let (to_bad, stays_bad) = match options.burst_len {
            0 | 1 => (loss, loss),
            _ if options.loss_ppm == MILLION => (1.0, 1.0),
            len => {
                let leaves_bad = 1.0 / f64::from(len);
                (loss * leaves_bad / (1.0 - loss), 1.0 - leaves_bad)
            }
        };
        Ok(Link {
            random: Random(options.seed),
            to_bad,
            stays_bad,
            repeats,
            disorders,
            defect_at: options.defect_at.into(),
            is_bad: false,
            count: 0,
            room: vec![0; ROOM_LEN].into(),
            held: Vec::with_capacity(ROOM_LEN),
            given: Vec::with_capacity(ROOM_LEN),
        })
    }

    /// Takes all that there is from one end to the other, and returns how many datagrams that end
    /// was handed.
    pub(super) fn carry(
        &mut self,
        from: &mut Source<'_>,
        to: &mut Sink<'_>,
    ) -> Result<usize, Status> {
        let mut room = std::mem::take(&mut self.room);
        let carried = self.carry_by(&mut room, from, to);
        self.room = room;
        carried
    }

    fn carry_by(
        &mut self,
        room: &mut [u8],
        from: &mut Source<'_>,
        to: &mut Sink<'_>,
    ) -> Result<usize, Status> {
        let mut given_count = 0;
        loop {
            let (count, len) = from(room)?;
            if count == 0 {
                // Nothing follows that would overtake it.
                return Ok(given_count + self.give_held(to)?);
            }
            for datagram in room.chunks_exact(len).take(count) {
                given_count += self.pass(datagram, to)?;
            }
        }
    }

    /// One datagram.
    fn pass(&mut self, datagram: &[u8], to: &mut Sink<'_>) -> Result<usize, Status> {
        self.count += 1;
        let becomes_bad = if self.is_bad { self.stays_bad } else { self.to_bad };
        self.is_bad = self.random.is_so(becomes_bad);
        let (repeats, is_overtaken) =
            (self.random.is_so(self.repeats), self.random.is_so(self.disorders));
        if self.is_bad {
            return Ok(0);
        }
        if is_overtaken && self.held.is_empty() {
            self.held.extend_from_slice(datagram);
            return Ok(0);
        }
        for _ in 0..=usize::from(repeats) {
            self.give(datagram, to)?;
        }
        Ok(1 + usize::from(repeats) + self.give_held(to)?)
    }

    fn give_held(&mut self, to: &mut Sink<'_>) -> Result<usize, Status> {
        if self.held.is_empty() {
            return Ok(0);
        }
        let held = std::mem::take(&mut self.held);
        let given = self.give(&held, to);
        self.held = held;
        self.held.clear();
        given.map(|()| 1)
    }

    fn give(&mut self, datagram: &[u8], to: &mut Sink<'_>) -> Result<(), Status> {
        self.given.clear();
        self.given.extend_from_slice(datagram);
        to(&mut self.given, self.count == self.defect_at)
    }
}

/// Random numbers, the same for each seed: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn is_so(&mut self, probability: f64) -> bool {
        ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: u64 = 200_000;

    fn options() -> LinkOptions {
        LinkOptions {
            struct_size: 0,
            loss_ppm: 0,
            seed: 7,
            burst_len: 0,
            repeat_ppm: 0,
            disorder_ppm: 0,
            defect_at: 0,
        }
    }

    /// The numbers that came over a link, of so many that were sent.
    fn carried(options: LinkOptions, count: u64) -> Vec<u64> {
        let mut link = Link::new(&options).unwrap();
        let (mut next, mut came) = (0, Vec::new());
        let mut from = |room: &mut [u8]| {
            let part = (count - next).min(1000);
            for slot in room.chunks_exact_mut(8).take(part as usize) {
                slot.copy_from_slice(&u64::to_be_bytes(next));
                next += 1;
            }
            Ok((part as usize, 8))
        };
        let mut to = |datagram: &mut [u8], _| {
            came.push(u64::from_be_bytes((&*datagram).try_into().unwrap()));
            datagram.fill(0xff);
            Ok(())
        };
        let given_count = link.carry(&mut from, &mut to).unwrap();
        assert_eq!(given_count, came.len());
        came
    }

    /// How many are missing, and in how many bursts.
    fn losses(came: &[u64]) -> (f64, f64) {
        let mut sorted = came.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let gaps = sorted.windows(2).filter(|pair| pair[1] > pair[0] + 1).count();
        (COUNT as f64 - sorted.len() as f64, gaps as f64)
    }

    #[test]
    fn nothing_is_what_a_link_does_if_nothing_is_asked_for() {
        assert_eq!(carried(options(), 5000), (0..5000).collect::<Vec<u64>>());
    }

    #[test]
    fn it_loses_what_it_is_told_to_and_the_same_again() {
        for (loss_ppm, burst_len) in [(10_000, 0), (50_000, 1), (50_000, 8), (200_000, 20)] {
            let options = LinkOptions { loss_ppm, burst_len, ..options() };
            let came = carried(options, COUNT);

            let (lost, bursts) = losses(&came);
            let (share, len) = (lost / COUNT as f64, lost / bursts);
            let expected = f64::from(loss_ppm) / 1e6;
            assert!((share - expected).abs() < 0.15 * expected, "{share} for {expected}");
            // Losses by themselves are in a row by chance.
            let expected = f64::from(burst_len.max(1)).max(1.0 / (1.0 - expected));
            assert!((len - expected).abs() < 0.15 * expected, "{len} for {expected}");
            assert_eq!(came, carried(options, COUNT));
            assert_ne!(came, carried(LinkOptions { seed: 8, ..options }, COUNT));
        }
        let none = LinkOptions { loss_ppm: MILLION, burst_len: 5, ..options() };
        assert_eq!(carried(none, 1000).len(), 0);
    }

    #[test]
    fn it_repeats_and_disorders_and_loses_nothing_by_it() {
        let options = LinkOptions { repeat_ppm: 100_000, disorder_ppm: 100_000, ..options() };
        let came = carried(options, COUNT);

        assert_eq!(losses(&came), (0.0, 0.0));
        let repeats = came.len() as f64 / COUNT as f64;
        assert!((1.08..1.1).contains(&repeats), "{repeats}");
        let overtaken = came.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!((0.08..0.1).contains(&(overtaken as f64 / COUNT as f64)), "{overtaken}");
    }

    #[test]
    fn shares_are_of_a_million() {
        for wrong in [
            LinkOptions { loss_ppm: MILLION + 1, ..options() },
            LinkOptions { repeat_ppm: u32::MAX, ..options() },
            LinkOptions { disorder_ppm: MILLION + 1, ..options() },
            LinkOptions { burst_len: MILLION + 1, ..options() },
        ] {
            assert!(matches!(Link::new(&wrong), Err(Status::Value)));
        }
    }
}
