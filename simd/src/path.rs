//! Which instructions a calculation uses.

/// A way to calculate, named after the instructions it needs. All ways give the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// Plain Rust.
    Portable,
    /// `PEXT` (BMI2), for von Neumann's rule.
    Pext,
    /// 256-bit vectors (AVX2 and POPCNT), for ordinary loops.
    Avx2,
    /// 512-bit vectors (AVX-512 F, BW and VL, with VPOPCNTDQ), for ordinary loops.
    Avx512,
    /// `GF2P8AFFINEQB` (GFNI) on 512-bit vectors, for a matrix.
    Gfni,
    /// `PCLMULQDQ`, for a Toeplitz matrix.
    Pclmul,
    /// `VPCLMULQDQ` on 512-bit vectors, for a Toeplitz matrix.
    Vpclmul,
}

impl Path {
    /// Its name, as in benchmarks and status documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Path::Portable => "portable",
            Path::Pext => "pext",
            Path::Avx2 => "avx2",
            Path::Avx512 => "avx512",
            Path::Gfni => "gfni",
            Path::Pclmul => "pclmul",
            Path::Vpclmul => "vpclmul",
        }
    }

    /// Asks the processor whether it has the instructions.
    ///
    /// `PEXT` counts as missing where it is microcode whose time depends on the data: on AMD before Zen 3, told by
    /// SSE4A (AMD only) without `VPCLMULQDQ` (new in Zen 3).
    #[must_use]
    #[cfg(target_arch = "x86_64")]
    pub fn is_available(self) -> bool {
        match self {
            Path::Portable => true,
            Path::Pext => {
                let microcoded =
                    is_x86_feature_detected!("sse4a") && !is_x86_feature_detected!("vpclmulqdq");
                is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("popcnt")
                    && !microcoded
            }
            Path::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt"),
            Path::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vpopcntdq")
                    && is_x86_feature_detected!("popcnt")
            }
            Path::Gfni => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("gfni"),
            Path::Pclmul => is_x86_feature_detected!("pclmulqdq"),
            Path::Vpclmul => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("vpclmulqdq")
            }
        }
    }

    /// Asks the processor whether it has the instructions.
    #[must_use]
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_available(self) -> bool {
        self == Path::Portable
    }

    /// Whether it is one of `paths`, and this processor has it.
    pub(crate) fn is_one_of(self, paths: &[Path]) -> bool {
        paths.contains(&self) && self.is_available()
    }

    /// The first of `paths` that this processor has, or the portable one.
    pub(crate) fn best_of(paths: &[Path]) -> Path {
        let available = paths.iter().copied().find(|path| path.is_available());
        available.unwrap_or(Path::Portable)
    }
}
