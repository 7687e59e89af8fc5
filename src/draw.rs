//! Numbers from random bytes, without bias.
//!
//! Integers are drawn by Lemire's method ("Fast random integer generation in an interval", ACM TOMACS 29, 2019): the
//! high word of `x * n` is the answer, and the few `x` that would make some answers likelier than others are drawn
//! again. A word is eight bytes of the source, little endian.
//!
//! | Draw | Bytes taken |
//! |---|---|
//! | [`below`], [`int`] | 8, and 8 more for each rejection (for `n` of 32 bits: less than one in 2^32 draws); a range of one value: none |
//! | [`float`] | 8 |
//! | [`uuid_v4`] | 16 |
//! | [`shuffle`] of `k` | `k - 1` draws; [`choose`]: one; [`dice`]: one a die |

#[cfg(test)]
mod tests;

/// Where the random bytes come from. Each byte is given once.
pub trait ByteSource {
    /// Why no bytes could be had.
    type Error;

    /// Fills `out` whole, or fails.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Self::Error>;
}

impl<S: ByteSource + ?Sized> ByteSource for &mut S {
    type Error = S::Error;

    fn fill(&mut self, out: &mut [u8]) -> Result<(), S::Error> {
        (**self).fill(out)
    }
}

/// Why no number was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DrawError<E> {
    /// The range has no value in it.
    #[error("the range from {min} to {max} is empty: the minimum must not be above the maximum")]
    EmptyRange {
        /// The lower bound that was asked for.
        min: i64,
        /// The upper bound that was asked for.
        max: i64,
    },
    /// There is nothing to choose from: no items, or a die without sides.
    #[error("there is nothing to choose from: ask for one of at least one")]
    Nothing,
    /// The source gave so many unusable words in a row that it can't be random: less than 2^-128 for a random one.
    #[error("the source of random bytes is stuck: {MAX_REJECTIONS} words in a row were unusable")]
    Stuck,
    /// The source failed.
    #[error("no random bytes: {0}")]
    Source(E),
}

/// A rejection is less likely than one half, whatever the range.
const MAX_REJECTIONS: u32 = 128;

/// A word of Lemire's method. The width is a parameter so that tests can go through all words of a small one.
trait Word: Copy + PartialOrd {
    /// `self * n`, as high and low word.
    fn widening_mul(self, n: Self) -> (Self, Self);
    /// `2^width mod n`, for `n` > 0.
    fn wrap_remainder(n: Self) -> Self;
}

impl Word for u64 {
    fn widening_mul(self, n: u64) -> (u64, u64) {
        let product = u128::from(self) * u128::from(n);
        ((product >> 64) as u64, product as u64)
    }

    fn wrap_remainder(n: u64) -> u64 {
        n.wrapping_neg() % n
    }
}

/// An unbiased draw from `0..n` for `n` > 0, of words that `next` gives.
fn lemire<W: Word, E>(
    n: W,
    mut next: impl FnMut() -> Result<W, DrawError<E>>,
) -> Result<W, DrawError<E>> {
    let (mut high, mut low) = next()?.widening_mul(n);
    // The division is only needed when the low word is below n, since the threshold is.
    if low < n {
        let threshold = W::wrap_remainder(n);
        let mut rejections = 0;
        while low < threshold {
            rejections += 1;
            if rejections == MAX_REJECTIONS {
                return Err(DrawError::Stuck);
            }
            (high, low) = next()?.widening_mul(n);
        }
    }
    Ok(high)
}

/// Any u64, each equally likely.
pub fn word<S: ByteSource>(source: &mut S) -> Result<u64, DrawError<S::Error>> {
    let mut bytes = [0; 8];
    source.fill(&mut bytes).map_err(DrawError::Source)?;
    Ok(u64::from_le_bytes(bytes))
}

/// An integer from `0..n`, each equally likely. `n` = 0 is [`DrawError::Nothing`]; `n` = 1 draws nothing.
pub fn below<S: ByteSource>(source: &mut S, n: u64) -> Result<u64, DrawError<S::Error>> {
    match n {
        0 => Err(DrawError::Nothing),
        1 => Ok(0),
        _ => lemire(n, || word(source)),
    }
}

/// An integer from `min` to `max`, both included, each equally likely. `min` = `max` draws nothing.
pub fn int<S: ByteSource>(source: &mut S, min: i64, max: i64) -> Result<i64, DrawError<S::Error>> {
    if min > max {
        return Err(DrawError::EmptyRange { min, max });
    }
    // The number of values; the full range has 2^64, which wraps to 0.
    let span = (max as u64).wrapping_sub(min as u64).wrapping_add(1);
    let offset = if span == 0 {
        word(source)?
    } else {
        below(source, span)?
    };
    Ok((min as u64).wrapping_add(offset) as i64)
}

/// A float from [0, 1): a multiple of 2^-53, each equally likely.
pub fn float<S: ByteSource>(source: &mut S) -> Result<f64, DrawError<S::Error>> {
    Ok(unit(word(source)?))
}

/// The 53 high bits of a word as a fraction: the significand of an f64 holds no more, so nothing rounds up to 1.
fn unit(word: u64) -> f64 {
    const SCALE: f64 = 1.0 / (1_u64 << 53) as f64;
    (word >> 11) as f64 * SCALE
}

/// The bytes of a random UUID, as [`uuid_of`] makes them.
pub fn uuid_v4<S: ByteSource>(source: &mut S) -> Result<[u8; 16], DrawError<S::Error>> {
    let mut random = [0; 16];
    source.fill(&mut random).map_err(DrawError::Source)?;
    Ok(uuid_of(random))
}

/// Random bytes as a UUID: version 4, variant 10 (RFC 9562 section 5.4); 122 bits stay as they are.
#[must_use]
pub const fn uuid_of(mut random: [u8; 16]) -> [u8; 16] {
    random[6] = random[6] & 0x0F | 0x40;
    random[8] = random[8] & 0x3F | 0x80;
    random
}

/// Puts `items` into a random order, each equally likely (Fisher-Yates, from the end). After an error the items are all
/// there, in some order.
pub fn shuffle<S: ByteSource, T>(
    source: &mut S,
    items: &mut [T],
) -> Result<(), DrawError<S::Error>> {
    for last in (1..items.len()).rev() {
        let other = below(source, last as u64 + 1)?;
        items.swap(last, other as usize);
    }
    Ok(())
}

/// One of `items`, each equally likely. No items are [`DrawError::Nothing`].
pub fn choose<'t, S: ByteSource, T>(
    source: &mut S,
    items: &'t [T],
) -> Result<&'t T, DrawError<S::Error>> {
    Ok(&items[below(source, items.len() as u64)? as usize])
}

/// Throws a die of `sides` sides once for each place of `out`: 1 to `sides`. No sides are [`DrawError::Nothing`].
pub fn dice<S: ByteSource>(
    source: &mut S,
    sides: u32,
    out: &mut [u32],
) -> Result<(), DrawError<S::Error>> {
    for die in out {
        *die = below(source, u64::from(sides))? as u32 + 1;
    }
    Ok(())
}
