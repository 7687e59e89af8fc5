//! Bytes as 64-bit words, and transposed squares of bits and bytes.

/// Word `index` of `bytes`, little-endian; zero beyond the end.
#[inline(always)]
pub(crate) fn word(bytes: &[u8], index: usize) -> u64 {
    match bytes.get(8 * index..8 * index + 8) {
        Some(eight) => u64::from_le_bytes([
            eight[0], eight[1], eight[2], eight[3], eight[4], eight[5], eight[6], eight[7],
        ]),
        None => 0,
    }
}

/// Writes `value` as word `index` of `bytes`; does nothing beyond the end.
#[inline(always)]
pub(crate) fn set_word(bytes: &mut [u8], index: usize, value: u64) {
    if let Some(eight) = bytes.get_mut(8 * index..8 * index + 8) {
        eight.copy_from_slice(&value.to_le_bytes());
    }
}

/// Transposes a square of 8 x 8 bytes: byte `j` of word `i` and byte `i` of word `j` change places.
#[inline(always)]
pub(crate) fn transpose_bytes(square: &mut [u64; 8]) {
    swap_blocks::<4>(square, 32, 0x0000_0000_ffff_ffff);
    swap_blocks::<2>(square, 16, 0x0000_ffff_0000_ffff);
    swap_blocks::<1>(square, 8, 0x00ff_00ff_00ff_00ff);
}

/// Transposes a square of 64 x 64 bits: bit `j` of word `i` and bit `i` of word `j` change places.
#[inline(always)]
pub(crate) fn transpose_bits(square: &mut [u64; 64]) {
    swap_blocks::<32>(square, 32, 0x0000_0000_ffff_ffff);
    swap_blocks::<16>(square, 16, 0x0000_ffff_0000_ffff);
    swap_blocks::<8>(square, 8, 0x00ff_00ff_00ff_00ff);
    swap_blocks::<4>(square, 4, 0x0f0f_0f0f_0f0f_0f0f);
    swap_blocks::<2>(square, 2, 0x3333_3333_3333_3333);
    swap_blocks::<1>(square, 1, 0x5555_5555_5555_5555);
}

/// Of every two words that lie `DISTANCE` apart, exchanges the upper part of the first with the lower of the second.
#[inline(always)]
fn swap_blocks<const DISTANCE: usize>(square: &mut [u64], shift: u32, lower: u64) {
    for pair in square.chunks_exact_mut(2 * DISTANCE) {
        let (first, second) = pair.split_at_mut(DISTANCE);
        for (a, b) in first.iter_mut().zip(second) {
            let change = ((*a >> shift) ^ *b) & lower;
            *b ^= change;
            *a ^= change << shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_turn_over() {
        let mut bytes = [0u64; 8];
        bytes[2] = 0xab << 40;
        transpose_bytes(&mut bytes);
        let mut expected = [0u64; 8];
        expected[5] = 0xab << 16;
        assert_eq!(bytes, expected);

        for (i, j) in [(0, 0), (0, 63), (17, 42), (63, 1)] {
            let mut bits = [0u64; 64];
            bits[i] = 1 << j;
            transpose_bits(&mut bits);
            let mut expected = [0u64; 64];
            expected[j] = 1 << i;
            assert_eq!(bits, expected);
        }
    }

    #[test]
    fn words_are_little_endian_and_end() {
        let mut bytes = [0u8; 12];
        set_word(&mut bytes, 0, 0x0102_0304_0506_0708);
        set_word(&mut bytes, 1, u64::MAX);
        assert_eq!(bytes, [8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0]);
        assert_eq!(word(&bytes, 0), 0x0102_0304_0506_0708);
        assert_eq!(word(&bytes, 1), 0);
    }
}
