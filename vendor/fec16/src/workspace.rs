//! The memory that work takes, and how it is cut.

#![forbid(unsafe_code)]

use crate::code::Code;
use crate::field::Logarithms;
use crate::kernels::ROW_UNIT;
use crate::locator::Locator;
use crate::recover::Factors;
use crate::survey::Survey;
use crate::transform::Transform;

/// Bytes of the rows of one transform, unless it has too many. Two of them and the shards are to
/// stay in the second-level cache of a core.
const ROWS_LEN: usize = 4096 * 1024;

/// Bytes of a row at most.
const TILE_MAX: usize = 1280;

/// The bytes of shards that are taken through transforms of 2^log values at once. The columns of a
/// block are codes of their own, so it can be cut anywhere.
pub(crate) fn tile(log: u32) -> usize {
    ((ROWS_LEN >> log) / ROW_UNIT * ROW_UNIT).clamp(ROW_UNIT, TILE_MAX)
}

/// Rows are aligned to the lines of the cache.
pub(crate) const ALIGNMENT: usize = 64;

/// Memory for the work on blocks of a code, and of all codes that have no more shards of either
/// kind. Nothing is allocated after it has been made.
pub struct Workspace {
    pub(crate) data_count: usize,
    pub(crate) parity_count: usize,
    rows: Vec<u8>,
    pub(crate) logarithms: &'static Logarithms,
    pub(crate) survey: Survey,
    locator: Locator,
    /// Places of the missing shards.
    places: Vec<u32>,
    sums: Vec<u32>,
}

impl Workspace {
    /// Takes the memory. The first call in a process makes tables, see the crate's page.
    pub fn new(largest: Code) -> Workspace {
        let logarithms = Logarithms::shared();
        let rows = (0..=largest.log())
            .map(|log| Transform::new(&largest, logarithms, tile(log), 0).len(log))
            .max()
            .unwrap_or(0);
        Workspace {
            data_count: largest.data_count(),
            parity_count: largest.parity_count(),
            rows: vec![0; 2 * rows + ALIGNMENT + 8192],
            logarithms,
            survey: Survey::new(&largest),
            locator: Locator::new(largest.place_count()),
            places: Vec::with_capacity(largest.parity_count()),
            sums: vec![0; 2 * largest.parity_count()],
        }
    }

    /// Whether it is large enough.
    pub(crate) fn suits(&self, code: &Code) -> bool {
        code.data_count() <= self.data_count && code.parity_count() <= self.parity_count
    }

    /// Two pieces of memory for rows, of so many bytes each.
    pub(crate) fn rows(&mut self, len: usize) -> (&mut [u8], &mut [u8]) {
        split_aligned(&mut self.rows, len)
    }

    /// Computes what the survey's methods multiply by.
    pub(crate) fn locate(&mut self, code: &Code) {
        let (first, survey) = (code.chunk_count() as u32, &self.survey);
        self.places.clear();
        self.places.extend(survey.missing.iter().map(|index| first + index));
        self.locator.sums(
            self.logarithms,
            code.place_count(),
            &self.places,
            &survey.used,
            &mut self.sums,
        );
    }

    /// The survey, memory for rows in two halves, and what was computed by `locate`.
    pub(crate) fn parts(&mut self) -> (&Survey, (&mut [u8], &mut [u8]), Factors<'_>) {
        let len = (self.rows.len() - ALIGNMENT - 8192) / 2;
        let factors = Factors { logarithms: self.logarithms, sums: &self.sums };
        (&self.survey, split_aligned(&mut self.rows, len), factors)
    }
}

fn split_aligned(memory: &mut [u8], len: usize) -> (&mut [u8], &mut [u8]) {
    let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
    let (first, second) = memory[start..].split_at_mut(len);
    let gap = (4096 + 2048 - len % 4096) % 4096;
    (first, &mut second[gap..gap + len])
}
