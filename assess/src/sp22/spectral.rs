//! Section 2.6: the discrete Fourier transform.

use crate::special::two_sided;
use rustfft::{FftPlanner, num_complex::Complex};
use std::cell::RefCell;

thread_local! {
    /// Keeps the factors of each length: making them anew takes longer than a transform.
    static PLANNER: RefCell<FftPlanner<f64>> = RefCell::new(FftPlanner::new());
}

/// Peaks of the spectrum that stay below the 95 % line (section 2.6).
pub fn dft(bits: &[u8]) -> f64 {
    let n = bits.len();
    let mut wave: Vec<_> = bits
        .iter()
        .map(|&bit| Complex::new(f64::from(bit) * 2.0 - 1.0, 0.0))
        .collect();
    let plan = PLANNER.with_borrow_mut(|planner| planner.plan_fft_forward(n));
    plan.process(&mut wave);
    let line = (n as f64 * (1.0_f64 / 0.05).ln()).sqrt();
    let below = wave[..n / 2]
        .iter()
        .filter(|peak| peak.norm() < line)
        .count() as f64;
    let expected = 0.95 * n as f64 / 2.0;
    two_sided((below - expected) / (n as f64 * 0.95 * 0.05 / 4.0).sqrt())
}
