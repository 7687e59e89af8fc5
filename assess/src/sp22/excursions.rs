//! Sections 2.14 and 2.15: the cycles of the walk that the bits make.

use super::chi_square;
use crate::special::{erfc, igamc};

/// Fewest cycles for the tests to say anything (section 2.14.7).
const LEAST_CYCLES: usize = 500;

/// The walk's states after each bit, one more 0 at the end unless it ends there.
fn walk(bits: &[u8]) -> impl Iterator<Item = i64> + '_ {
    let total: i64 = bits.iter().map(|&bit| i64::from(bit) * 2 - 1).sum();
    let mut state = 0;
    let states = bits.iter().map(move |&bit| {
        state += i64::from(bit) * 2 - 1;
        state
    });
    states.chain((total != 0).then_some(0))
}

/// Probability that a cycle visits the state `x` exactly `k` times, 5 meaning 5 or more (section 3.14).
fn visit_probability(x: i64, k: usize) -> f64 {
    let back = 1.0 / (2.0 * x.abs() as f64);
    match k {
        0 => 1.0 - back,
        5 => back * (1.0 - back).powi(4),
        _ => back * back * (1.0 - back).powi(k as i32 - 1),
    }
}

/// Random excursions (section 2.14): a P-value for each state from -4 to -1 and 1 to 4. None for too few cycles.
pub fn random_excursions(bits: &[u8]) -> Option<[f64; 8]> {
    excursions(bits, LEAST_CYCLES)
}

pub(super) fn excursions(bits: &[u8], least_cycles: usize) -> Option<[f64; 8]> {
    const STATES: [i64; 8] = [-4, -3, -2, -1, 1, 2, 3, 4];
    // For each state, the number of cycles that visited it 0, 1, 2, 3, 4 and more times.
    let mut cycles = [[0_u64; 6]; 8];
    let mut visits = [0_usize; 8];
    for state in walk(bits) {
        if state == 0 {
            for (cycles, visits) in cycles.iter_mut().zip(&mut visits) {
                cycles[(*visits).min(5)] += 1;
                *visits = 0;
            }
        } else if let Some(index) = STATES.iter().position(|&x| x == state) {
            visits[index] += 1;
        }
    }
    if cycles[0].iter().sum::<u64>() < least_cycles as u64 {
        return None;
    }
    Some(std::array::from_fn(|i| {
        let probabilities: [f64; 6] = std::array::from_fn(|k| visit_probability(STATES[i], k));
        igamc(2.5, chi_square(&cycles[i], &probabilities) / 2.0)
    }))
}

/// Random excursions variant (section 2.15): a P-value for each state from -9 to -1 and 1 to 9. None for too few cycles.
pub fn random_excursions_variant(bits: &[u8]) -> Option<[f64; 18]> {
    variant(bits, LEAST_CYCLES)
}

pub(super) fn variant(bits: &[u8], least_cycles: usize) -> Option<[f64; 18]> {
    let mut visits = [0_u64; 19];
    for state in walk(bits).filter(|state| state.abs() <= 9) {
        visits[(state + 9) as usize] += 1;
    }
    let cycles = visits[9] as f64;
    if cycles < least_cycles as f64 {
        return None;
    }
    Some(std::array::from_fn(|i| {
        let x = if i < 9 { i as i64 - 9 } else { i as i64 - 8 };
        let off = visits[(x + 9) as usize] as f64 - cycles;
        erfc(off.abs() / (2.0 * cycles * (4.0 * x.abs() as f64 - 2.0)).sqrt())
    }))
}
