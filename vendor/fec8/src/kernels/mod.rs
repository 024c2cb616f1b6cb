//! The inner loops, one set for each kind of processor.
//!
//! A kernel adds up to [`ROWS_MAX`] sums of multiples of the same sources at once: it loads some
//! columns of a source, multiplies them once for each sum, and goes to the next source, while the
//! sums stay in registers. So a byte of data is read once for all those sums, and a byte of a sum
//! is written once.
//!
//! The scalar kernel is the reference. This folder is the only one with unsafe code, of three
//! sorts: loads and stores through references to arrays, and calls of functions that want a
//! processor with certain instructions.

mod scalar;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_gfni;
#[cfg(target_arch = "x86_64")]
mod avx512_gfni;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod ssse3;

use std::fmt;

use crate::combine::Start;

/// The largest number of sums that a kernel takes.
pub(crate) const ROWS_MAX: usize = 8;

/// The instructions by which the sums are taken. All give the same bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backend {
    /// AVX2: byte shuffles, 32 at a time.
    Avx2,
    /// AVX2 and GFNI: products by a matrix of bits, 32 at a time.
    Avx2Gfni,
    /// AVX-512 F and GFNI: products by a matrix of bits, 64 at a time.
    Avx512Gfni,
    /// NEON of 64-bit ARM: table look-ups, 16 at a time.
    Neon,
    /// No special instructions; the reference.
    Scalar,
    /// SSSE3: byte shuffles, 16 at a time.
    Ssse3,
}

impl Backend {
    /// All there are, the fastest first.
    pub const ALL: [Backend; 6] = [
        Backend::Avx512Gfni,
        Backend::Avx2Gfni,
        Backend::Avx2,
        Backend::Ssse3,
        Backend::Neon,
        Backend::Scalar,
    ];

    /// Whether this machine can run it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2Gfni => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("gfni")
            }
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512Gfni => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("gfni")
            }
            #[cfg(target_arch = "aarch64")]
            Backend::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Backend::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Backend::Ssse3 => is_x86_feature_detected!("ssse3"),
            #[allow(unreachable_patterns, reason = "which are left depends on the target")]
            _ => false,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Avx2 => "AVX2",
            Backend::Avx2Gfni => "AVX2 with GFNI",
            Backend::Avx512Gfni => "AVX-512 with GFNI",
            Backend::Neon => "NEON",
            Backend::Scalar => "scalar",
            Backend::Ssse3 => "SSSE3",
        })
    }
}

/// A back end that this machine has: there is no value for another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Kernel(Backend);

impl Kernel {
    /// None if the machine cannot run it.
    pub(crate) fn new(backend: Backend) -> Option<Kernel> {
        backend.is_available().then_some(Kernel(backend))
    }

    /// The fastest.
    pub(crate) fn best() -> Kernel {
        let best = Backend::ALL.into_iter().find_map(Kernel::new);
        best.unwrap_or(Kernel(Backend::Scalar))
    }

    pub(crate) fn backend(self) -> Backend {
        self.0
    }

    /// The number of sums at which it is fastest, [`ROWS_MAX`] at most.
    pub(crate) fn rows_max(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => avx2::ROWS,
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2Gfni => avx2_gfni::ROWS,
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512Gfni => avx512_gfni::ROWS,
            #[cfg(target_arch = "aarch64")]
            Backend::Neon => neon::ROWS,
            #[cfg(target_arch = "x86_64")]
            Backend::Ssse3 => ssse3::ROWS,
            _ => scalar::ROWS,
        }
    }

    /// Row r of `sums` becomes the sum over s of `coefficients[s][r]` times `sources[s]`.
    ///
    /// All slices have one length.
    pub(crate) fn sum<const R: usize>(
        self,
        coefficients: &[[u8; R]],
        sources: &[&[u8]],
        sums: [&mut [u8]; R],
        start: Start,
    ) {
        match self.0 {
            // SAFETY: a `Kernel` of this kind is made only where the processor has the features.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => unsafe { avx2::sum(coefficients, sources, sums, start) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2Gfni => unsafe { avx2_gfni::sum(coefficients, sources, sums, start) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512Gfni => unsafe { avx512_gfni::sum(coefficients, sources, sums, start) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Backend::Neon => unsafe { neon::sum(coefficients, sources, sums, start) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Backend::Ssse3 => unsafe { ssse3::sum(coefficients, sources, sums, start) },
            _ => scalar::sum(coefficients, sources, sums, start),
        }
    }
}

/// The loop around the instructions, which is the same for all that work on vectors.
///
/// The file that uses it has the types `Vector` and `Operand` (a vector prepared to be multiplied)
/// and `Factor` (a prepared coefficient), the length `LEN` of a vector in bytes, how many vectors
/// (`WIDTH`) of how many sources (`SOURCES`) are taken at once, and the functions `load`, `store`,
/// `zero`, `add`, `operand`, `factor` and `multiply`.
macro_rules! vector_kernel {
    ($features:literal) => {
        /// See `Kernel::sum`.
        #[target_feature(enable = $features)]
        pub(super) fn sum<const R: usize>(
            coefficients: &[[u8; R]],
            sources: &[&[u8]],
            mut sums: [&mut [u8]; R],
            start: Start,
        ) {
            let len = sums.first().map_or(0, |sum| sum.len());
            if len < LEN {
                return sum_short(coefficients, sources, sums, start);
            }
            // Where the length is not a multiple of LEN the last vector overlaps the one before. It
            // is computed before anything is written and stored after all else, so that no byte is
            // added twice.
            let last = len - LEN;
            let overlapping = match len % LEN {
                0 => None,
                _ => Some(totals::<R, 1>(coefficients, sources, &sums, start, last)),
            };
            let mut at = 0;
            if R <= 2 {
                while at + 4 * LEN <= len {
                    let totals = totals::<R, 4>(coefficients, sources, &sums, start, at);
                    write(totals, &mut sums, at);
                    at += 4 * LEN;
                }
            }
            while at + WIDTH * LEN <= len {
                let totals = totals::<R, WIDTH>(coefficients, sources, &sums, start, at);
                write(totals, &mut sums, at);
                at += WIDTH * LEN;
            }
            while at + LEN <= len {
                write(totals::<R, 1>(coefficients, sources, &sums, start, at), &mut sums, at);
                at += LEN;
            }
            if let Some(totals) = overlapping {
                write(totals, &mut sums, last);
            }
        }

        /// The sums of N vectors from byte `at`.
        #[inline]
        #[target_feature(enable = $features)]
        fn totals<const R: usize, const N: usize>(
            coefficients: &[[u8; R]],
            sources: &[&[u8]],
            sums: &[&mut [u8]; R],
            start: Start,
            at: usize,
        ) -> [[Vector; N]; R] {
            let mut totals = [[zero(); N]; R];
            if start == Start::Sums {
                for (total, sum) in totals.iter_mut().zip(sums) {
                    for (vector, bytes) in total.iter_mut().zip(vectors(sum, at, N)) {
                        *vector = load(bytes);
                    }
                }
            }
            let (columns, more_columns) = coefficients.as_chunks::<SOURCES>();
            let (groups, more_sources) = sources.as_chunks::<SOURCES>();
            for (columns, group) in columns.iter().zip(groups) {
                accumulate(&mut totals, columns, group, at);
            }
            for (column, source) in more_columns.iter().zip(more_sources) {
                accumulate(&mut totals, &[*column], &[*source], at);
            }
            totals
        }

        /// Adds the multiples of S sources.
        #[inline]
        #[target_feature(enable = $features)]
        fn accumulate<const R: usize, const N: usize, const S: usize>(
            totals: &mut [[Vector; N]; R],
            columns: &[[u8; R]; S],
            sources: &[&[u8]; S],
            at: usize,
        ) {
            let mut operands = [[operand(zero()); N]; S];
            for (operands, source) in operands.iter_mut().zip(sources) {
                for (slot, bytes) in operands.iter_mut().zip(vectors(source, at, N)) {
                    *slot = operand(load(bytes));
                }
            }
            for (r, total) in totals.iter_mut().enumerate() {
                let mut factors = [factor(0); S];
                for (slot, column) in factors.iter_mut().zip(columns) {
                    *slot = factor(column[r]);
                }
                for (n, vector) in total.iter_mut().enumerate() {
                    let mut product = multiply(factors[0], operands[0][n]);
                    for s in 1..S {
                        product = add(product, multiply(factors[s], operands[s][n]));
                    }
                    *vector = add(*vector, product);
                }
            }
        }

        /// N vectors of a shard.
        #[inline]
        fn vectors(shard: &[u8], at: usize, count: usize) -> &[[u8; LEN]] {
            shard[at..at + count * LEN].as_chunks().0
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn write<const R: usize, const N: usize>(
            totals: [[Vector; N]; R],
            sums: &mut [&mut [u8]; R],
            at: usize,
        ) {
            for (total, sum) in totals.iter().zip(sums) {
                let chunks = sum[at..at + N * LEN].as_chunks_mut().0;
                for (vector, bytes) in total.iter().zip(chunks) {
                    store(*vector, bytes);
                }
            }
        }

        /// Shards shorter than a vector, by way of copies that are one.
        #[target_feature(enable = $features)]
        fn sum_short<const R: usize>(
            coefficients: &[[u8; R]],
            sources: &[&[u8]],
            sums: [&mut [u8]; R],
            start: Start,
        ) {
            let mut totals = [zero(); R];
            for (column, source) in coefficients.iter().zip(sources) {
                let mut bytes = [0; LEN];
                bytes[..source.len()].copy_from_slice(source);
                let operand = operand(load(&bytes));
                for (total, coefficient) in totals.iter_mut().zip(column) {
                    *total = add(*total, multiply(factor(*coefficient), operand));
                }
            }
            for (total, sum) in totals.iter().zip(sums) {
                let mut bytes = [0; LEN];
                store(*total, &mut bytes);
                for (sum, byte) in sum.iter_mut().zip(&bytes) {
                    *sum = if start == Start::Sums { *sum ^ byte } else { *byte };
                }
            }
        }
    };
}
use vector_kernel;

/// What multiplies a byte when the bits of the byte are the vector and the coefficient is a matrix.
///
/// Bit i of c times b is the sum over n of bit n of b times bit i of c x^n, so row i of the matrix
/// has bit n set where c x^n has bit i set. GFNI wants row i in byte 7 - i.
#[cfg(any(target_arch = "x86_64", test))]
static MATRICES: [u64; 256] = matrices();

#[cfg(any(target_arch = "x86_64", test))]
const fn matrices() -> [u64; 256] {
    let mut matrices = [0; 256];
    let mut c = 0;
    while c < 256 {
        let mut n = 0;
        while n < 8 {
            let column = crate::field::multiply_polynomials(c as u8, 1 << n) as u64;
            let mut i = 0;
            while i < 8 {
                matrices[c] |= (column >> i & 1) << (8 * (7 - i) + n);
                i += 1;
            }
            n += 1;
        }
        c += 1;
    }
    matrices
}

#[cfg(test)]
mod tests;
