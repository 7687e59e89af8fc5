use super::*;
use crate::drbg::{CtrDrbg, GenerateError, SEED_LEN};
use std::convert::Infallible;

impl Word for u8 {
    fn widening_mul(self, n: u8) -> (u8, u8) {
        let product = u16::from(self) * u16::from(n);
        ((product >> 8) as u8, product as u8)
    }

    fn wrap_remainder(n: u8) -> u8 {
        n.wrapping_neg() % n
    }
}

/// A four-bit word.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
struct Nibble(u8);

impl Word for Nibble {
    fn widening_mul(self, n: Nibble) -> (Nibble, Nibble) {
        let product = self.0 * n.0;
        (Nibble(product >> 4), Nibble(product & 15))
    }

    fn wrap_remainder(n: Nibble) -> Nibble {
        Nibble((16 - n.0) % n.0)
    }
}

/// Words given in advance; running out of them fails.
struct Words<'w>(&'w [u64], usize);

#[derive(Debug, PartialEq)]
struct RanOut;

impl ByteSource for Words<'_> {
    type Error = RanOut;

    fn fill(&mut self, out: &mut [u8]) -> Result<(), RanOut> {
        for bytes in out.chunks_mut(8) {
            let word = self.0.get(self.1).ok_or(RanOut)?;
            bytes.copy_from_slice(&word.to_le_bytes());
            self.1 += 1;
        }
        Ok(())
    }
}

/// A word's answer among `0..n`, or none if the method rejects the word.
fn accepted<W: Word>(n: W, word: W) -> Option<W> {
    let mut words = [word].into_iter();
    let drawn: Result<W, DrawError<RanOut>> =
        lemire(n, || words.next().ok_or(DrawError::Source(RanOut)));
    drawn.ok()
}

#[test]
fn of_all_accepted_words_every_answer_has_equally_many() {
    for n in 1..=255_u8 {
        let mut hits = vec![0_u32; usize::from(n)];
        let answers = (0..=255).filter_map(|word| accepted(n, word));
        answers.for_each(|answer| hits[usize::from(answer)] += 1);
        assert!(
            hits.iter().all(|&count| count == 256 / u32::from(n)),
            "n = {n}: {hits:?}"
        );
    }
    for n in 1..=15 {
        let mut hits = vec![0; n];
        let answers = (0..16).filter_map(|word| accepted(Nibble(n as u8), Nibble(word)));
        answers.for_each(|answer| hits[usize::from(answer.0)] += 1);
        assert!(
            hits.iter().all(|&count| count == 16 / n),
            "n = {n}: {hits:?}"
        );
    }
}

#[test]
fn the_wide_method_agrees_with_its_definition_at_the_edges() {
    let edges = [
        0,
        1,
        2,
        3,
        1 << 31,
        (1 << 32) - 1,
        1 << 32,
        1 << 63,
        (1 << 63) + 1,
        u64::MAX - 1,
        u64::MAX,
    ];
    for n in edges.into_iter().filter(|&n| n > 0) {
        let threshold = ((1_u128 << 64) % u128::from(n)) as u64;
        assert_eq!(u64::wrap_remainder(n), threshold);
        for word in edges {
            let product = u128::from(word) * u128::from(n);
            let want = (product as u64 >= threshold).then_some((product >> 64) as u64);
            assert_eq!(accepted(n, word), want, "n = {n}, word = {word}");
        }
    }
}

#[test]
fn integers_at_the_edges_of_their_ranges() {
    let draw = |min, max, word| int(&mut Words(&[word], 0), min, max);
    assert_eq!(draw(i64::MIN, i64::MAX, 0), Ok(i64::MIN));
    assert_eq!(draw(i64::MIN, i64::MAX, 1 << 63), Ok(0));
    assert_eq!(draw(i64::MIN, i64::MAX, u64::MAX), Ok(i64::MAX));
    assert_eq!(draw(i64::MIN, i64::MAX - 1, u64::MAX), Ok(i64::MAX - 1));
    assert_eq!(draw(i64::MIN + 1, i64::MAX, u64::MAX), Ok(i64::MAX));
    assert_eq!(draw(i64::MIN, -1, u64::MAX), Ok(-1));
    assert_eq!(draw(0, i64::MAX, u64::MAX), Ok(i64::MAX));
    assert_eq!(draw(-1, 0, 0), Ok(-1));
    assert_eq!(draw(-1, 0, u64::MAX), Ok(0));
    assert_eq!(draw(1, 6, u64::MAX), Ok(6));
    assert_eq!(
        draw(1, 6, 1),
        Ok(1),
        "the smallest product that is not rejected: 6 >= 2^64 mod 6 = 4"
    );
    assert_eq!(
        draw(1, 6, 0),
        Err(DrawError::Source(RanOut)),
        "0 is rejected and there is no other word"
    );
}

#[test]
fn a_range_of_one_draws_nothing_and_an_empty_one_is_an_error() {
    for value in [i64::MIN, -1, 0, 1, i64::MAX] {
        assert_eq!(int(&mut Words(&[], 0), value, value), Ok(value));
    }
    assert_eq!(below(&mut Words(&[], 0), 1), Ok(0));
    assert_eq!(below(&mut Words(&[], 0), 0), Err(DrawError::Nothing));
    for (min, max) in [(1, 0), (i64::MAX, i64::MIN), (0, -1)] {
        assert_eq!(
            int(&mut Words(&[], 0), min, max),
            Err(DrawError::EmptyRange { min, max })
        );
    }
}

#[test]
fn a_stuck_source_is_an_error_and_no_endless_loop() {
    let zeros = [0; 1000];
    let mut words = Words(&zeros, 0);
    assert_eq!(below(&mut words, 6), Err(DrawError::Stuck));
    assert_eq!(words.1, MAX_REJECTIONS as usize);
    assert_eq!(
        below(&mut words, 8),
        Ok(0),
        "a power of two rejects nothing"
    );
}

#[test]
fn a_failing_source_fails_every_draw() {
    let none = || Words(&[], 0);
    let failed = DrawError::Source(RanOut);
    assert_eq!(int(&mut none(), 0, 1), Err(DrawError::Source(RanOut)));
    assert_eq!(float(&mut none()), Err(DrawError::Source(RanOut)));
    assert_eq!(uuid_v4(&mut none()), Err(DrawError::Source(RanOut)));
    assert_eq!(choose(&mut none(), &[1, 2]), Err(DrawError::Source(RanOut)));
    assert_eq!(choose::<_, u8>(&mut none(), &[]), Err(DrawError::Nothing));
    assert_eq!(
        dice(&mut none(), 6, &mut [0]),
        Err(DrawError::Source(RanOut))
    );
    assert_eq!(dice(&mut none(), 0, &mut [0]), Err(DrawError::Nothing));
    assert_eq!(shuffle(&mut none(), &mut [1, 2]), Err(failed));
    assert_eq!(shuffle(&mut none(), &mut [1]), Ok(()));
    assert_eq!(shuffle::<_, u8>(&mut none(), &mut []), Ok(()));
}

#[test]
fn floats_never_reach_one() {
    let draw = |word| float(&mut Words(&[word], 0)).unwrap();
    assert_eq!(draw(0), 0.0);
    assert_eq!(draw((1 << 11) - 1), 0.0);
    assert_eq!(draw(1 << 11), 2_f64.powi(-53));
    assert_eq!(draw(1 << 63), 0.5);
    assert_eq!(draw(u64::MAX), 1.0 - 2_f64.powi(-53));
    assert!(draw(u64::MAX) < 1.0);
}

#[test]
fn uuids_have_version_and_variant_and_keep_the_other_bits() {
    let ones = uuid_v4(&mut Words(&[u64::MAX, u64::MAX], 0)).unwrap();
    assert_eq!(
        ones,
        [
            255, 255, 255, 255, 255, 255, 0x4F, 255, 0xBF, 255, 255, 255, 255, 255, 255, 255
        ]
    );
    let zeros = uuid_v4(&mut Words(&[0, 0], 0)).unwrap();
    assert_eq!(
        zeros,
        [0, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]
    );
}

/// Good random bytes that are the same in every run.
struct Good {
    drbg: CtrDrbg,
    buffer: Vec<u8>,
}

impl Good {
    fn new(seed: u8) -> Self {
        Self {
            drbg: CtrDrbg::new(&[seed; SEED_LEN], &[0; SEED_LEN]),
            buffer: Vec::new(),
        }
    }
}

impl ByteSource for Good {
    type Error = GenerateError;

    fn fill(&mut self, out: &mut [u8]) -> Result<(), GenerateError> {
        if self.buffer.len() < out.len() {
            self.buffer = vec![0; 1 << 16];
            self.drbg.fill(&mut self.buffer)?;
        }
        out.copy_from_slice(&self.buffer[self.buffer.len() - out.len()..]);
        self.buffer.truncate(self.buffer.len() - out.len());
        Ok(())
    }
}

/// The probability that an even draw gives counts at least this uneven (chi-square). Exact for an odd number of
/// counts, where the sum of the distribution is finite.
fn p_value(counts: &[u64]) -> f64 {
    assert_eq!(counts.len() % 2, 1);
    let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    let terms = counts
        .iter()
        .map(|&count| (count as f64 - expected).powi(2) / expected);
    upper_tail(counts.len() - 1, terms.sum())
}

/// The probability of a chi-square of at least `x`, for an even number of degrees of freedom.
fn upper_tail(freedom: usize, x: f64) -> f64 {
    let mut term = (-x / 2.0).exp();
    let mut sum = term;
    for i in 1..freedom / 2 {
        term *= x / 2.0 / i as f64;
        sum += term;
    }
    sum
}

/// Counts 600,000 draws into `N` places and says whether an even draw could have given them: false alarm 2^-30 on
/// either side.
fn is_even<const N: usize>(mut draw: impl FnMut(&mut Good) -> usize) -> bool {
    let mut counts = [0; N];
    let mut source = Good::new(N as u8);
    for _ in 0..600_000 {
        counts[draw(&mut source)] += 1;
    }
    let (p, alarm) = (p_value(&counts), 2_f64.powi(-30));
    alarm < p && p < 1.0 - alarm
}

#[test]
fn draws_are_even_and_the_same_check_fails_a_biased_one() {
    // Three quarters of the words: `%` gives the first third of the answers twice as often.
    const WIDE: u64 = 3 << 62;
    assert!(is_even::<3>(
        |source| (below(source, WIDE).unwrap() >> 62) as usize
    ));
    assert!(!is_even::<3>(
        |source| ((word(source).unwrap() % WIDE) >> 62) as usize
    ));

    // A byte: 256 = 36 * 7 + 4, so `%` gives four of seven answers 37 times and three of them 36 times.
    let byte = |source: &mut Good| {
        let mut byte = [0];
        source
            .fill(&mut byte)
            .map(|()| byte[0])
            .map_err(DrawError::Source)
    };
    assert!(is_even::<7>(|source| usize::from(
        lemire(7, || byte(source)).unwrap()
    )));
    assert!(!is_even::<7>(|source| usize::from(
        byte(source).unwrap() % 7
    )));

    // Neither multiplying without rejection nor rounding a float is even.
    assert!(!is_even::<7>(|source| usize::from(byte(source).unwrap())
        * 7
        / 256));
    assert!(is_even::<7>(
        |source| (int(source, -3, 3).unwrap() + 3) as usize
    ));
    assert!(is_even::<101>(
        |source| (float(source).unwrap() * 101.0) as usize
    ));
    // A counter is too even.
    let mut count = 0;
    assert!(!is_even::<7>(|_| {
        count += 1;
        count % 7
    }));
}

#[test]
fn shuffles_choices_and_dice_are_even() {
    // The 24 orders of four, and the even number of them made odd by a place that is never hit: count it apart.
    let mut orders = std::collections::BTreeMap::new();
    let mut source = Good::new(1);
    for _ in 0..240_000 {
        let mut items = [0, 1, 2, 3];
        shuffle(&mut source, &mut items).unwrap();
        *orders.entry(items).or_insert(0_u64) += 1;
    }
    assert_eq!(orders.len(), 24);
    // Expected 10,000 each, standard deviation 98.
    assert!(
        orders
            .values()
            .all(|&count| (9_300..10_700).contains(&count)),
        "{orders:?}"
    );

    let items = [0, 1, 2, 3, 4];
    assert!(is_even::<5>(|source| *choose(source, &items).unwrap()));
    assert!(is_even::<9>(|source| {
        let mut die = [0];
        dice(source, 9, &mut die).unwrap();
        die[0] as usize - 1
    }));
}

#[test]
fn the_chi_square_is_the_published_one() {
    // Upper 5 % and 1 % points.
    for (freedom, five, one) in [(2, 5.991, 9.210), (4, 9.488, 13.277), (6, 12.592, 16.812)] {
        assert!((upper_tail(freedom, five) - 0.05).abs() < 0.000_05);
        assert!((upper_tail(freedom, one) - 0.01).abs() < 0.000_05);
    }
    let at = |counts: &[u64]| (p_value(counts) * 1000.0).round() / 1000.0;
    // (a^2 + b^2 + c^2) / e with deviations that sum to zero.
    assert_eq!(at(&[100, 100, 100]), 1.0);
    // 2 * 10^2 / 100 = 2.0: exp(-1).
    assert_eq!(at(&[110, 90, 100]), 0.368);
    // 4 * 10^2 / 100 = 4.0 with 4 degrees: exp(-2) * (1 + 2).
    assert_eq!(at(&[110, 90, 110, 90, 100]), 0.406);
}

#[test]
fn a_source_may_be_borrowed() {
    fn first<S: ByteSource>(mut source: S) -> u64 {
        below(&mut source, 10).ok().unwrap()
    }
    let mut source = Good::new(3);
    first(&mut source);
    assert!(word(&mut source).is_ok());
    let _: DrawError<Infallible> = DrawError::Nothing;
}
