//! The inner loops, one set for each kind of processor.
//!
//! A kernel works on *rows*: slices of one length, a multiple of [`ROW_UNIT`], in which the two
//! planes of the words lie as the processor likes them best, and which only kernels of the same
//! back end can read. Rows come from the bytes of shards and become bytes of shards again. Shards
//! are in pieces of 64 bytes, in each the lower bytes of 32 words and then their upper bytes.
//!
//! The scalar kernel is the reference. This folder is the only one with unsafe code, of three
//! sorts: loads and stores through references to arrays, and calls of functions that want a
//! processor with certain instructions.

mod scalar;
mod vector;

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

/// Bytes of which rows are made: the largest pair of vectors.
pub(crate) const ROW_UNIT: usize = 128;

/// Bytes of which shards are made.
pub(crate) const SHARD_UNIT: usize = 64;

/// The instructions by which shards are computed. All give the same bytes.
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

/// Calls the function of the back end. For all but the scalar one this is unsafe on a processor
/// without its features.
macro_rules! dispatch {
    ($kernel:ident, $function:ident::<$R:tt>($($argument:expr),*)) => {
        match $kernel.0 {
            // SAFETY: a `Kernel` of this kind is made only where the processor has the features.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => unsafe { avx2::$function::<$R>($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2Gfni => unsafe { avx2_gfni::$function::<$R>($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512Gfni => unsafe { avx512_gfni::$function::<$R>($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Backend::Neon => unsafe { neon::$function::<$R>($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Backend::Ssse3 => unsafe { ssse3::$function::<$R>($($argument),*) },
            _ => scalar::$function::<$R>($($argument),*),
        }
    };
}

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

    /// How many layers of a transform it takes at once: those whose values fit the registers.
    pub(crate) fn layers_max(self) -> u32 {
        match self.0 {
            Backend::Avx512Gfni | Backend::Neon => 3,
            _ => 2,
        }
    }

    /// As `layers_max`, where all factors lie in the field of 256 and nothing is multiplied by
    /// another one: either plane is done on its own then, and more values fit.
    pub(crate) fn small_layers_max(self) -> u32 {
        match self.0 {
            Backend::Avx512Gfni => 4,
            _ => self.layers_max(),
        }
    }

    /// The first layers of the inverse transform of R values in a row, from bytes of shards.
    /// `place` is the word of the first, and a multiple of R. The bytes of `ahead` are asked for on
    /// the way.
    pub(crate) fn load<const R: usize>(
        self,
        shards: [&[u8]; R],
        ahead: [&[u8]; R],
        rows: [&mut [u8]; R],
        place: usize,
    ) {
        dispatch!(self, load::<R>(shards, ahead, rows, place));
    }

    /// Further layers of the inverse transform, on R values that lie 2^i apart. `place` is the word
    /// of the first without its i lower bits.
    pub(crate) fn inverse<const R: usize>(self, rows: [&mut [u8]; R], place: usize) {
        dispatch!(self, inverse::<R>(rows, place));
    }

    /// As `inverse`, but the result is multiplied by `factor` and added to `sums`. `rows` are left
    /// with anything.
    pub(crate) fn fold<const R: usize>(
        self,
        rows: [&[u8]; R],
        sums: [&mut [u8]; R],
        place: usize,
        factor: Option<u16>,
    ) {
        dispatch!(self, fold::<R>(rows, sums, place, factor));
    }

    /// `load`, whose result is multiplied by `factor` and added to `sums`.
    pub(crate) fn load_fold<const R: usize>(
        self,
        shards: [&[u8]; R],
        ahead: [&[u8]; R],
        sums: [&mut [u8]; R],
        place: usize,
        factor: Option<u16>,
    ) {
        dispatch!(self, load_fold::<R>(shards, ahead, sums, place, factor));
    }

    /// Layers of the transform, the opposite of `inverse`.
    pub(crate) fn forward<const R: usize>(self, rows: [&mut [u8]; R], place: usize) {
        dispatch!(self, forward::<R>(rows, place));
    }

    /// The last layers of the transform, to bytes of shards, the opposite of `load`. An empty slice
    /// is a value that is not wanted.
    pub(crate) fn store<const R: usize>(
        self,
        rows: [&[u8]; R],
        shards: [&mut [u8]; R],
        place: usize,
    ) {
        dispatch!(self, store::<R>(rows, shards, place));
    }

    /// The row becomes its sum with the shard, times `factor`.
    pub(crate) fn absorb(self, row: &mut [u8], shard: &[u8], factor: u16) {
        dispatch!(self, absorb::<1>([row], [shard], factor));
    }

    /// The row times `factor`, as bytes of a shard.
    pub(crate) fn emit(self, row: &[u8], shard: &mut [u8], factor: u16) {
        dispatch!(self, emit::<1>([row], [shard], factor));
    }

    /// To row r of `sums` is added, for every s, `factors[s][r]` times `shards[s]`.
    pub(crate) fn combine<const R: usize>(
        self,
        factors: &[[u16; R]],
        shards: &[&[u8]],
        sums: [&mut [u8]; R],
    ) {
        dispatch!(self, combine::<R>(factors, shards, sums));
    }

    /// To row r of `sums` is added, for every s, `factors[s][r]` times row s of `rows`.
    pub(crate) fn combine_rows<const R: usize>(
        self,
        factors: &[[u16; R]],
        rows: &[&[u8]],
        sums: [&mut [u8]; R],
    ) {
        dispatch!(self, combine_rows::<R>(factors, rows, sums));
    }

    /// The shards are added to `sum`, byte by byte.
    pub(crate) fn add(self, shards: &[&[u8]], sum: &mut [u8]) {
        dispatch!(self, add_shards::<1>(shards, sum));
    }
}

#[cfg(test)]
mod tests;
