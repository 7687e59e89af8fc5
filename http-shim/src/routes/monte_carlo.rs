//! `/api/test/monte-carlo`: quick tests of fresh bytes, which are used up by it and never served.
//!
//! Each statistic has a limit that random bytes exceed with a probability of 2^-20 at the most, by the distribution that it has
//! then. So a verdict can fail, and does so for good bytes about three times in a million.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use qrng::distribution::{Tail, chi_square_limit, normal_limit_two_sided};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Params;
use crate::app::App;
use crate::problem::Problem;
use crate::supply::BLOCK;

/// Bytes that are tested if nothing is said.
const DEFAULT: u64 = 65_536;

/// Fewest and most bytes of a test: chi-square needs some of each value.
const BYTES: std::ops::RangeInclusive<u64> = 4096..=1_048_576;

/// Bytes of one point: two coordinates of 32 bits.
const POINT: usize = 8;

/// Logarithm of the probability that random bytes fail one of the tests.
const LOG2_ALPHA: f64 = -20.0;

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(get, post))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TestQuery {
    /// How many bytes to test, a multiple of 8; 65536 if left out.
    #[param(minimum = 4096, maximum = 1048576, multiple_of = 8)]
    bytes: Option<u64>,
    /// Milliseconds to wait for if there are not enough bytes; 0 if left out.
    #[param(minimum = 0, maximum = 60000)]
    wait: Option<u64>,
}

/// What came of a test.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestVerdict {
    /// Whether every statistic is within its limit.
    passed: bool,
    /// Bytes that were tested, and are used up.
    bytes: u64,
    /// Points in the unit square.
    points: u64,
    /// Four times the share of points within the quarter of the unit circle.
    pi_estimate: f64,
    /// Its difference from pi.
    pi_error: f64,
    /// Its standard deviation if the bytes are random.
    pi_standard_error: f64,
    /// The error that random bytes exceed with a probability of 2^-20.
    pi_error_limit: f64,
    /// Share of bits that are 1.
    ones_ratio: f64,
    /// How far it may be from one half.
    ones_ratio_limit: f64,
    /// Chi-square of the 256 values of a byte.
    chi_square: f64,
    /// The value that random bytes exceed with a probability of 2^-21.
    chi_square_high_limit: f64,
    /// The value that random bytes fall below with a probability of 2^-21.
    chi_square_low_limit: f64,
}

/// What is counted of the bytes.
struct Counts {
    points: u64,
    inside: u64,
    ones: u64,
    values: [u64; 256],
}

impl Counts {
    fn new() -> Self {
        Self {
            points: 0,
            inside: 0,
            ones: 0,
            values: [0; 256],
        }
    }

    /// Adds whole points.
    fn add(&mut self, bytes: &[u8]) {
        for point in bytes.chunks_exact(POINT) {
            let coordinate = |at: usize| {
                let word = point.get(at..at + 4).and_then(|word| word.first_chunk());
                // The middle of its cell, in units of 2^-33.
                u128::from(word.map_or(0, |word| u32::from_le_bytes(*word))) * 2 + 1
            };
            let (x, y) = (coordinate(0), coordinate(4));
            self.points += 1;
            self.inside += u64::from(x * x + y * y < 1 << 66);
        }
        for &byte in bytes {
            self.ones += u64::from(byte.count_ones());
            self.values[usize::from(byte)] += 1;
        }
    }

    fn judge(&self) -> TestVerdict {
        use std::f64::consts::{FRAC_PI_4, PI};
        let bytes = self.points * POINT as u64;
        let (points, bits) = (self.points as f64, bytes as f64 * 8.0);
        let deviations = normal_limit_two_sided(LOG2_ALPHA);
        let pi_estimate = 4.0 * self.inside as f64 / points;
        let pi_standard_error = 4.0 * (FRAC_PI_4 * (1.0 - FRAC_PI_4) / points).sqrt();
        let ones_ratio = self.ones as f64 / bits;
        let ones_ratio_limit = deviations * 0.5 / bits.sqrt();
        let expected = bytes as f64 / 256.0;
        let squares = self.values.iter().map(|&n| (n as f64 - expected).powi(2));
        let chi_square = squares.sum::<f64>() / expected;
        let high = chi_square_limit(255.0, LOG2_ALPHA - 1.0, Tail::Upper);
        let low = chi_square_limit(255.0, LOG2_ALPHA - 1.0, Tail::Lower);
        let pi_error = pi_estimate - PI;
        let pi_error_limit = deviations * pi_standard_error;
        TestVerdict {
            passed: pi_error.abs() <= pi_error_limit
                && (ones_ratio - 0.5).abs() <= ones_ratio_limit
                && (low..=high).contains(&chi_square),
            bytes,
            points: self.points,
            pi_estimate,
            pi_error,
            pi_standard_error,
            pi_error_limit,
            ones_ratio,
            ones_ratio_limit,
            chi_square,
            chi_square_high_limit: high,
            chi_square_low_limit: low,
        }
    }
}

/// Pi by Monte Carlo, and quick tests, of fresh bytes
#[utoipa::path(
    get,
    path = "/api/test/monte-carlo",
    tag = "state",
    params(TestQuery),
    responses(
        (status = 200, description = "The verdict.", body = TestVerdict),
        crate::openapi::Refusals
    )
)]
async fn get(
    State(app): State<Arc<App>>,
    Params(query): Params<TestQuery>,
) -> Result<Json<TestVerdict>, Problem> {
    test(&app, &query).await
}

/// Pi by Monte Carlo, and quick tests, of fresh bytes
#[utoipa::path(
    post,
    path = "/api/test/monte-carlo",
    tag = "state",
    params(TestQuery),
    responses(
        (status = 200, description = "The verdict.", body = TestVerdict),
        (status = 408, description = "The request took too long.", body = Problem, content_type = "application/problem+json"),
        crate::openapi::Refusals
    )
)]
async fn post(
    State(app): State<Arc<App>>,
    Params(query): Params<TestQuery>,
) -> Result<Json<TestVerdict>, Problem> {
    test(&app, &query).await
}

async fn test(app: &Arc<App>, query: &TestQuery) -> Result<Json<TestVerdict>, Problem> {
    let mut rest = query.bytes.unwrap_or(DEFAULT);
    if !BYTES.contains(&rest) || !rest.is_multiple_of(POINT as u64) {
        let (least, most) = (BYTES.start(), BYTES.end());
        return Err(Problem::bad_request(format!(
            "bytes: give a multiple of {POINT} from {least} to {most}"
        )));
    }
    let deadline = app.deadline(query.wait)?;
    let mut counts = Counts::new();
    while rest > 0 {
        let len = rest.min(BLOCK as u64);
        let (bytes, owed) = app.take(len as usize, deadline).await?.into_parts();
        owed.tested();
        counts.add(&bytes);
        app.specimen.keep(&bytes);
        rest -= len;
    }
    Ok(Json(counts.judge()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(bytes: impl Iterator<Item = u8>) -> TestVerdict {
        let mut counts = Counts::new();
        counts.add(&bytes.collect::<Vec<_>>());
        counts.judge()
    }

    /// A generator of the tests' own (xorshift64*).
    fn noise(count: usize) -> impl Iterator<Item = u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        (0..count).map(move |_| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
        })
    }

    #[test]
    fn noise_passes_and_what_is_none_fails() {
        let good = verdict(noise(1 << 20));
        assert!(good.passed, "{good:?}");
        assert_eq!((good.bytes, good.points), (1 << 20, 1 << 17));
        // Its standard deviation is 4.54e-3.
        assert!(good.pi_error.abs() < 0.02 && (good.pi_standard_error - 0.004_536).abs() < 1e-5);
        // Too many ones; too few values; all values alike; coordinates that follow from each other.
        assert!(!verdict(noise(1 << 20).map(|b| b | 1)).passed);
        assert!(!verdict(noise(1 << 20).map(|b| b & 0x7f)).passed);
        assert!(!verdict((0..1 << 20).map(|i| i as u8)).passed);
        let twice: Vec<u8> = noise(1 << 19).collect();
        let twice = twice.chunks_exact(4).flat_map(|x| [x, x].concat());
        let same = verdict(twice);
        assert!(
            !same.passed && same.pi_error.abs() > same.pi_error_limit,
            "{same:?}"
        );
    }
}
