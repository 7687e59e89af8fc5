//! Section 2.9: Maurer's universal statistical test.

use crate::special::two_sided;

/// Smallest n for the block length L, from L = 6 (section 2.9.7), with the expected value and the variance of one
/// block's log2 distance (section 2.9.4).
const LENGTHS: [(usize, f64, f64); 11] = [
    (387_840, 5.2177052, 2.954),
    (904_960, 6.1962507, 3.125),
    (2_068_480, 7.1836656, 3.238),
    (4_654_080, 8.1764248, 3.311),
    (10_342_400, 9.1723243, 3.356),
    (22_753_280, 10.170032, 3.384),
    (49_643_520, 11.168765, 3.401),
    (107_560_960, 12.168070, 3.410),
    (231_669_760, 13.167693, 3.416),
    (496_435_200, 14.167488, 3.419),
    (1_059_061_760, 15.167379, 3.421),
];

/// The universal test (section 2.9). None for fewer than 387,840 bits.
pub fn universal(bits: &[u8]) -> Option<f64> {
    let row = LENGTHS
        .iter()
        .rposition(|&(least, ..)| bits.len() >= least)?;
    let (_, expected, variance) = LENGTHS[row];
    let len = row + 6;
    let mut last = vec![0_usize; 1 << len];
    let init = 10 << len;
    let total = bits.len() / len;
    let mut sum = 0.0;
    for (i, block) in bits.chunks_exact(len).enumerate() {
        let value = block
            .iter()
            .fold(0, |value, &bit| value << 1 | usize::from(bit));
        if i >= init {
            sum += ((i + 1 - last[value]) as f64).log2();
        }
        last[value] = i + 1;
    }
    let (len, tested) = (len as f64, (total - init) as f64);
    let c = 0.7 - 0.8 / len + (4.0 + 32.0 / len) * tested.powf(-3.0 / len) / 15.0;
    Some(two_sided(
        (sum / tested - expected) / (c * (variance / tested).sqrt()),
    ))
}
