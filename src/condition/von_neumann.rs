//! Von Neumann's rule as a conditioner.
//!
//! Pairs are bits (0, 1), (2, 3), (4, 5), (6, 7) of each byte, the lower bit being the first. 01 (first bit 0) gives
//! 0, 10 gives 1, equal bits give nothing. So at most half of the pairs' bits, and with unbiased bits a quarter of
//! all bits, come out. The result is exact for independent bits of one constant bias, and worthless for others.
//!
//! Not a vetted component (NIST SP 800-90B section 3.1.5.2).

use super::{Conditioner, Method};
use qrng_simd::von_neumann::Selector;

/// Von Neumann's rule.
#[derive(Default)]
pub struct VonNeumann(Selector);

impl VonNeumann {
    /// With the fastest instructions that the processor has.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Conditioner for VonNeumann {
    fn method(&self) -> Method {
        Method::VonNeumann
    }

    fn max_output(&self, input_len: usize) -> usize {
        self.0.max_output(input_len)
    }

    fn condition(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.0.select(input, out);
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}
