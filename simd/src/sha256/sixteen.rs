//! Sixteen messages by vectors of 512 bits: word by word the ordinary algorithm, each lane at a message of its own.

use std::arch::x86_64::{
    __m512i, _mm_set_epi64x, _mm256_extract_epi64, _mm512_add_epi32, _mm512_broadcast_i32x4,
    _mm512_castsi512_si256, _mm512_ror_epi32, _mm512_set_epi32, _mm512_set_epi64,
    _mm512_set1_epi32, _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_srli_epi32,
    _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};
use std::array::from_fn;

use super::{K, ROW};

/// Repeats a macro for 0 to 15. A loop would keep the sixteen words in memory: only where every index is known before
/// has each vector its register.
macro_rules! sixteen_times {
    ($each:ident) => {
        $each!(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    };
}

/// The 16 words of a block, read as big-endian numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(block: &[u8; 64]) -> __m512i {
    let (words, _) = block.as_chunks::<8>();
    let [w0, w1, w2, w3, w4, w5, w6, w7] = from_fn(|i| i64::from_le_bytes(words[i]));
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let block = _mm512_set_epi64(w7, w6, w5, w4, w3, w2, w1, w0);
    _mm512_shuffle_epi8(block, _mm512_broadcast_i32x4(swap))
}

/// A vector of sixteen words, the first one lowest.
#[inline]
#[target_feature(enable = "avx512f")]
fn words(words: [u32; ROW]) -> __m512i {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = words.map(|word| word as i32);
    _mm512_set_epi32(p, o, n, m, l, k, j, i, h, g, f, e, d, c, b, a)
}

/// The first eight words of a vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn first_words(vector: __m512i) -> [u32; 8] {
    let half = _mm512_castsi512_si256(vector);
    let pairs = [
        _mm256_extract_epi64::<0>(half),
        _mm256_extract_epi64::<1>(half),
        _mm256_extract_epi64::<2>(half),
        _mm256_extract_epi64::<3>(half),
    ];
    from_fn(|i| (pairs[i / 2] >> (32 * (i % 2))) as u32)
}

/// Rows to columns: word `i` of vector `j` becomes word `j` of vector `i`.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: [__m512i; ROW]) -> [__m512i; ROW] {
    // Words of two rows, then of four, side by side within each quarter of a vector.
    let twos: [_; ROW] = from_fn(|i| {
        let (first, second) = (rows[i & !1], rows[i | 1]);
        if i % 2 == 0 {
            _mm512_unpacklo_epi32(first, second)
        } else {
            _mm512_unpackhi_epi32(first, second)
        }
    });
    let fours: [_; ROW] = from_fn(|i| {
        let at = (i & !3) + i % 4 / 2;
        let (first, second) = (twos[at], twos[at + 2]);
        if i % 2 == 0 {
            _mm512_unpacklo_epi64(first, second)
        } else {
            _mm512_unpackhi_epi64(first, second)
        }
    });
    // Then the quarters: even and odd ones of two vectors, twice.
    from_fn(|i| {
        let at = i % 4;
        let (low, high) = if i / 4 % 2 == 0 {
            (
                _mm512_shuffle_i32x4::<0x88>(fours[at], fours[at + 4]),
                _mm512_shuffle_i32x4::<0x88>(fours[at + 8], fours[at + 12]),
            )
        } else {
            (
                _mm512_shuffle_i32x4::<0xdd>(fours[at], fours[at + 4]),
                _mm512_shuffle_i32x4::<0xdd>(fours[at + 8], fours[at + 12]),
            )
        };
        if i < 8 {
            _mm512_shuffle_i32x4::<0x88>(low, high)
        } else {
            _mm512_shuffle_i32x4::<0xdd>(low, high)
        }
    })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(x: __m512i, y: __m512i) -> __m512i {
    _mm512_add_epi32(x, y)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate<const BITS: i32>(x: __m512i) -> __m512i {
    _mm512_ror_epi32::<BITS>(x)
}

/// One round, with the names of FIPS 180-4 section 6.2.2 step 3.
#[inline]
#[target_feature(enable = "avx512f")]
fn round([a, b, c, d, e, f, g, h]: [__m512i; 8], k: u32, w: __m512i) -> [__m512i; 8] {
    let sum_1 = xor(rotate::<6>(e), rotate::<11>(e), rotate::<25>(e));
    let choice = _mm512_ternarylogic_epi32::<0xca>(e, f, g);
    let fixed = add(h, add(w, _mm512_set1_epi32(k as i32)));
    let t1 = add(add(fixed, choice), sum_1);
    let sum_0 = xor(rotate::<2>(a), rotate::<13>(a), rotate::<22>(a));
    let majority = _mm512_ternarylogic_epi32::<0xe8>(a, b, c);
    let t2 = add(sum_0, majority);
    [add(t1, t2), a, b, c, add(d, t1), e, f, g]
}

/// The word of the message schedule 16 after `w0`, from those 1, 9 and 14 after it too.
#[inline]
#[target_feature(enable = "avx512f")]
fn schedule(w0: __m512i, w1: __m512i, w9: __m512i, w14: __m512i) -> __m512i {
    let sigma_0 = xor(
        rotate::<7>(w1),
        rotate::<18>(w1),
        _mm512_srli_epi32::<3>(w1),
    );
    let sigma_1 = xor(
        rotate::<17>(w14),
        rotate::<19>(w14),
        _mm512_srli_epi32::<10>(w14),
    );
    add(add(w0, sigma_0), add(w9, sigma_1))
}

/// Compresses the blocks of all, block by block until the shortest one ends.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress(out: &mut [[u32; 8]; ROW], messages: [&[[u8; 64]]; ROW]) {
    let blocks = messages.iter().map(|message| message.len()).min();
    let mut state: [_; 8] = from_fn(|i| words(from_fn(|lane| out[lane][i])));
    let (first, later) = K.as_flattened().split_at(ROW);
    #[expect(
        clippy::needless_range_loop,
        reason = "it indexes within each of the messages"
    )]
    for block in 0..blocks.unwrap_or(0) {
        let before = state;
        let mut w = transpose(from_fn(|lane| load(&messages[lane][block])));
        macro_rules! first_rounds {
            ($($i:literal),*) => { $( state = round(state, first[$i], w[$i]); )* };
        }
        sixteen_times!(first_rounds);
        for k in later.as_chunks::<ROW>().0 {
            macro_rules! next_rounds {
                ($($i:literal),*) => { $(
                    w[$i] = schedule(w[$i], w[($i + 1) % 16], w[($i + 9) % 16], w[($i + 14) % 16]);
                    state = round(state, k[$i], w[$i]);
                )* };
            }
            sixteen_times!(next_rounds);
        }
        state = from_fn(|i| add(state[i], before[i]));
    }
    // Eight words of each lane: a transposed square of which the lower half is empty.
    let zero = words([0; ROW]);
    let lanes = transpose(from_fn(|i| state.get(i).copied().unwrap_or(zero)));
    for (out, lane) in out.iter_mut().zip(lanes) {
        *out = first_words(lane);
    }
}
