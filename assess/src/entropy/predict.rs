//! Sections 6.3.7 to 6.3.10: estimators that predict each bit from those before, and count how often they are right.

use super::{crossing, entropy_of, upper};

/// How often a predictor was right, and how often in a row.
#[derive(Default)]
struct Score {
    predictions: u64,
    right: u64,
    run: u64,
    longest: u64,
}

impl Score {
    fn add(&mut self, right: bool) {
        self.predictions += 1;
        self.right += u64::from(right);
        self.run = if right { self.run + 1 } else { 0 };
        self.longest = self.longest.max(self.run);
    }

    /// The entropy that the global and the local performance leave (the last steps of each of the sections).
    fn entropy(&self) -> f64 {
        let n = self.predictions as f64;
        let global = match self.right {
            0 => 1.0 - 0.01_f64.powf(1.0 / n),
            right => upper(right as f64 / n, n),
        };
        let floor = global.max(0.5);
        let run = self.longest + 1;
        let no_run = |p: f64| log_no_run(p, run, n);
        if floor >= 1.0 || no_run(floor) <= 0.99_f64.ln() {
            return entropy_of(floor);
        }
        entropy_of(crossing(floor, 0.99_f64.ln(), no_run))
    }
}

/// ln of the probability that `n` predictions that are each right with probability `p` have no run of `run` right ones
/// (Feller; SP 800-90B section 6.3.7 step 8).
fn log_no_run(p: f64, run: u64, n: f64) -> f64 {
    let (q, r) = (1.0 - p, run as f64);
    // x - 1 is tiny when runs are rare, so all is in terms of it.
    let factor = q * p.powf(r);
    let mut excess = 0.0_f64;
    for _ in 0..65 {
        let next = factor * ((r + 1.0) * excess.ln_1p()).exp();
        if !next.is_finite() || next == excess {
            break;
        }
        excess = next;
    }
    let x = 1.0 + excess;
    ((1.0 - p * x) / ((r + 1.0 - r * x) * q)).ln() - (n + 1.0) * excess.ln_1p()
}

/// The sub-predictor with the most right predictions; the latest to reach the top wins.
struct Scoreboard<const N: usize> {
    right: [u64; N],
    winner: usize,
}

impl<const N: usize> Scoreboard<N> {
    fn new() -> Self {
        Self {
            right: [0; N],
            winner: 0,
        }
    }

    fn add(&mut self, predictor: usize) {
        self.right[predictor] += 1;
        if self.right[predictor] >= self.right[self.winner] {
            self.winner = predictor;
        }
    }
}

/// Multi most common in window (section 6.3.7).
pub fn multi_mcw(bits: &[u8]) -> f64 {
    const WINDOWS: [usize; 4] = [63, 255, 1023, 4095];
    let mut ones = [0_usize; 4];
    let mut board = Scoreboard::<4>::new();
    let mut score = Score::default();
    for (i, &bit) in bits.iter().enumerate() {
        // The windows are odd, so one value is the most common.
        let predicts =
            |window: usize, ones: usize| i >= window && u8::from(2 * ones > window) == bit;
        if i >= WINDOWS[0] {
            score.add(predicts(WINDOWS[board.winner], ones[board.winner]));
        }
        for (predictor, &window) in WINDOWS.iter().enumerate() {
            if predicts(window, ones[predictor]) {
                board.add(predictor);
            }
            ones[predictor] += usize::from(bit);
            if i >= window {
                ones[predictor] -= usize::from(bits[i - window]);
            }
        }
    }
    score.entropy()
}

/// Lag (section 6.3.8): each bit as the one 1 to 128 places before.
pub fn lag(bits: &[u8]) -> f64 {
    let mut board = Scoreboard::<128>::new();
    let mut score = Score::default();
    // Bit d - 1 is the bit d places before.
    let mut history = 0_u128;
    for (i, &bit) in bits.iter().enumerate() {
        let known = if i < 128 { (1 << i) - 1 } else { u128::MAX };
        let mut equal = if bit == 1 { history } else { !history } & known;
        if i > 0 {
            score.add(equal >> board.winner & 1 == 1);
        }
        while equal != 0 {
            board.add(equal.trailing_zeros() as usize);
            equal &= equal - 1;
        }
        history = history << 1 | u128::from(bit);
    }
    score.entropy()
}

/// Which bit followed each pattern of `1..=16` bits how often. Patterns of all lengths are told apart by a leading 1.
struct Followers(Vec<[u32; 2]>);

impl Followers {
    const LONGEST: usize = 16;

    fn new() -> Self {
        Self(vec![[0; 2]; 2 << Self::LONGEST])
    }

    /// The followers of the last `len` bits of `history`.
    fn of(&mut self, history: u32, len: usize) -> &mut [u32; 2] {
        &mut self.0[1 << len | history as usize & ((1 << len) - 1)]
    }
}

/// The likelier follower and how often it came, a tie being a one; none if the pattern never came.
fn likelier(followers: [u32; 2]) -> Option<(u8, u32)> {
    let [zero, one] = followers;
    let best = if zero > one { (0, zero) } else { (1, one) };
    (best.1 > 0).then_some(best)
}

/// Multi Markov model with counting (section 6.3.9).
pub fn multi_mmc(bits: &[u8]) -> f64 {
    const MOST_ENTRIES: u32 = 100_000;
    let mut followers = Followers::new();
    let mut entries = [0_u32; Followers::LONGEST];
    let mut board = Scoreboard::<{ Followers::LONGEST }>::new();
    let mut score = Score::default();
    let mut history = 0_u32;
    for (i, &bit) in bits.iter().enumerate() {
        let winner = board.winner;
        let mut won = false;
        // A pattern that never came can't have come with more bits before it.
        let mut came = true;
        for (depth, entries) in entries.iter_mut().enumerate().take(i) {
            let counts = followers.of(history, depth + 1);
            let prediction = likelier(*counts).filter(|_| came);
            came = prediction.is_some();
            if prediction.is_some_and(|(predicted, _)| predicted == bit) {
                board.add(depth);
                won |= depth == winner;
            }
            let count = &mut counts[usize::from(bit)];
            if *count > 0 {
                *count += 1;
            } else if *entries < MOST_ENTRIES {
                *count = 1;
                *entries += 1;
            }
        }
        if i >= 2 {
            score.add(won);
        }
        history = history << 1 | u32::from(bit);
    }
    score.entropy()
}

/// LZ78Y (section 6.3.10).
pub fn lz78y(bits: &[u8]) -> f64 {
    const MOST_ENTRIES: u32 = 65_536;
    let mut followers = Followers::new();
    let mut entries = 0;
    let mut score = Score::default();
    let mut history = 0_u32;
    for (i, &bit) in bits.iter().enumerate() {
        if i >= Followers::LONGEST {
            let mut best: Option<(u8, u32)> = None;
            for len in (1..=Followers::LONGEST).rev() {
                let counts = followers.of(history, len);
                let found = likelier(*counts);
                if found.is_some_and(|(_, count)| best.is_none_or(|(_, most)| count > most)) {
                    best = found;
                }
                if found.is_some() {
                    counts[usize::from(bit)] += 1;
                } else if entries < MOST_ENTRIES {
                    counts[usize::from(bit)] = 1;
                    entries += 1;
                }
            }
            if i > Followers::LONGEST {
                score.add(best.is_some_and(|(predicted, _)| predicted == bit));
            }
        }
        history = history << 1 | u32::from(bit);
    }
    score.entropy()
}
