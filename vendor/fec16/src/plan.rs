//! How lost shards are recovered, chosen by what it costs.

#![forbid(unsafe_code)]

use crate::code::Code;
use crate::survey::Survey;

/// A way to recover lost shards. All give the same bytes; which costs least depends on how many are
/// lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// Each lost shard as a sum of multiples of all others.
    Direct,
    /// Parity anew, and the difference multiplied by the inverse of a matrix.
    Syndrome,
    /// Parity anew, and the difference multiplied by that inverse by way of transforms.
    Transform,
}

/// A method and the parity shards that it uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) method: Method,
    /// The 2^log places from `block` on are those of the parity that is used.
    pub(crate) log: u32,
    pub(crate) block: usize,
}

impl Plan {
    /// Chooses the parity shards of the survey and the method, unless that is given.
    pub(crate) fn new(code: &Code, survey: &mut Survey, method: Option<Method>) -> Plan {
        let count = survey.missing.len();
        let (mut log, mut block) = (count.next_power_of_two().ilog2(), 0);
        while !survey.choose(block..code.parity_count().min(block + (1 << log))) {
            block += 1 << log;
            if block >= code.parity_count() {
                (log, block) = (log + 1, 0);
            }
        }
        let method = method.unwrap_or_else(|| Plan::cheapest(code, survey, log));
        Plan { method, log, block }
    }

    /// The same with transforms of the size that the parity has.
    pub(crate) fn whole(code: &Code, survey: &mut Survey) -> Plan {
        let is_enough = survey.choose(0..code.parity_count());
        debug_assert!(is_enough, "k shards arrived");
        let method = match Plan::cheapest(code, survey, code.log()) {
            Method::Direct => Method::Syndrome,
            method => method,
        };
        Plan { method, log: code.log(), block: 0 }
    }

    /// Counts in products: that of a shard by a constant, added to another one, is 1.
    fn cheapest(code: &Code, survey: &Survey, log: u32) -> Method {
        let (k, wanted) = (code.data_count() as f64, survey.wanted.len() as f64);
        let (missing, size) = (survey.missing.len() as f64, f64::from(1 << log));
        let layers = LAYER * f64::from(log);
        let scale = if log < code.log() { SCALE } else { 0.0 };
        let syndromes = CALLS + k * (LOAD + layers + scale) + size * layers;
        let runs = wanted.min((k / size).ceil());
        let direct = k * wanted;
        let syndrome = syndromes + ROW * missing * wanted;
        let transform = syndromes + size * layers + runs * size * (layers + COPY) + wanted;
        if direct <= syndrome.min(transform) {
            Method::Direct
        } else if syndrome <= transform {
            Method::Syndrome
        } else {
            Method::Transform
        }
    }
}

// Measured with AVX-512 and GFNI; the other back ends need no others, as products and layers get
// slower together.

/// A layer of a transform, for each value.
const LAYER: f64 = 0.33;
/// The change from bytes to planes, with the sum that takes the result.
const LOAD: f64 = 0.7;
/// The same where the result is multiplied by a constant.
const SCALE: f64 = 0.3;
/// A product of a row, which is not taken together with as many others as one of shards.
const ROW: f64 = 1.25;
/// A copy of a row.
const COPY: f64 = 0.45;
/// What does not grow with the block.
const CALLS: f64 = 12.0;
