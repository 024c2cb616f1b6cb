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

    /// Counts in products: a product of a shard by a constant, added to another, is 1. It takes
    /// three or four maps of every byte, a layer of a transform takes one for each value.
    fn cheapest(code: &Code, survey: &Survey, log: u32) -> Method {
        let (k, wanted) = (code.data_count() as f64, survey.wanted.len() as f64);
        let (missing, size) = (survey.missing.len() as f64, f64::from(1 << log));
        let layers = LAYER * f64::from(log);
        let scaled = if log < code.log() { 1.0 } else { 0.0 };
        let syndromes = k * (LOAD + layers + scaled) + size * layers;
        let cosets = wanted.min((k / size).ceil());
        let direct = k * wanted;
        let syndrome = syndromes + missing * (wanted + LOAD);
        let transform = syndromes + size * layers + cosets * size * (layers + COPY) + wanted;
        if direct <= syndrome.min(transform) {
            Method::Direct
        } else if syndrome <= transform {
            Method::Syndrome
        } else {
            Method::Transform
        }
    }
}

/// A layer of a transform, for each value.
const LAYER: f64 = 0.55;
/// The change between bytes and planes, with the sum that takes the result.
const LOAD: f64 = 1.2;
/// A copy of a row.
const COPY: f64 = 0.5;
