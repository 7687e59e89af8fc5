//! Ordinary loops, compiled again for wider vectors.
//!
//! ```text
//!  work ──┬─ within a function compiled for AVX-512 ─┐
//!         ├─ within one compiled for AVX2 ───────────┼─> the same result
//!         └─ as it is ───────────────────────────────┘
//! ```
//!
//! A loop that the compiler can turn into vector instructions gets the processor's best by being inlined into a function
//! for which these are enabled. There is one source for all ways, so they differ in speed alone; nothing but speed
//! depends on whether the compiler does inline it.

use crate::Path;

/// The widest vectors that a loop may be compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vectors {
    /// Invariant: one of [`Self::PATHS`], and the processor has its instructions.
    path: Path,
}

impl Vectors {
    /// The ways, best first.
    pub const PATHS: &'static [Path] = &[Path::Avx512, Path::Avx2, Path::Portable];

    /// The widest of this processor.
    #[must_use]
    pub fn best() -> Self {
        Vectors {
            path: Path::best_of(Self::PATHS),
        }
    }

    /// Those of `path`; `None` if it is not one of [`Self::PATHS`] or the processor lacks it.
    #[must_use]
    pub fn of(path: Path) -> Option<Self> {
        path.is_one_of(Self::PATHS).then_some(Vectors { path })
    }

    /// All that this processor has, best first.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::PATHS.iter().filter_map(|&path| Self::of(path))
    }

    /// The way in use.
    #[must_use]
    pub fn path(self) -> Path {
        self.path
    }

    /// Does `work`, compiled for these vectors. What it calls should be `#[inline(always)]`.
    #[inline(always)]
    pub fn run<R>(self, work: impl FnOnce() -> R) -> R {
        match self.path {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => {
                #[expect(unsafe_code, reason = "calls a function compiled for AVX-512")]
                // SAFETY: the processor has what `Path::Avx512` stands for (invariant of the field).
                unsafe {
                    avx512(work)
                }
            }
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => {
                #[expect(unsafe_code, reason = "calls a function compiled for AVX2")]
                // SAFETY: the processor has what `Path::Avx2` stands for (invariant of the field).
                unsafe {
                    avx2(work)
                }
            }
            _ => work(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq,popcnt")]
fn avx512<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    #[test]
    fn all_ways_give_the_same() {
        let bytes: Vec<u8> = noise(5).take(10_007).collect();
        let ones = || bytes.iter().map(|byte| byte.count_ones()).sum::<u32>();
        let (mut ways, expected) = (0, ones());
        for vectors in Vectors::all() {
            assert_eq!(vectors.run(ones), expected, "{vectors:?}");
            ways += 1;
        }
        assert!(ways >= 1 && Vectors::all().next() == Some(Vectors::best()));
        assert_eq!(Vectors::of(Path::Gfni), None);
    }
}
