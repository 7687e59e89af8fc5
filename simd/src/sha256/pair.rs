//! Two messages by the SHA instructions. Each two rounds wait for the two before, which leaves the unit idle half of the
//! time: a second message, interleaved, fills the gaps.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32,
};

use super::K;

/// A vector of four words, the first one lowest.
#[inline]
#[target_feature(enable = "sse2")]
fn words([w0, w1, w2, w3]: [u32; 4]) -> __m128i {
    _mm_set_epi32(w3 as i32, w2 as i32, w1 as i32, w0 as i32)
}

/// The working variables a, b, e, f and c, d, g, h of one message, the first one highest.
#[derive(Clone, Copy)]
struct State {
    abef: __m128i,
    cdgh: __m128i,
}

impl State {
    #[inline]
    #[target_feature(enable = "sse2")]
    fn load([a, b, c, d, e, f, g, h]: [u32; 8]) -> Self {
        State {
            abef: words([f, e, b, a]),
            cdgh: words([h, g, d, c]),
        }
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn store(self) -> [u32; 8] {
        let State { abef, cdgh } = self;
        [
            _mm_extract_epi32::<3>(abef),
            _mm_extract_epi32::<2>(abef),
            _mm_extract_epi32::<3>(cdgh),
            _mm_extract_epi32::<2>(cdgh),
            _mm_extract_epi32::<1>(abef),
            _mm_extract_epi32::<0>(abef),
            _mm_extract_epi32::<1>(cdgh),
            _mm_extract_epi32::<0>(cdgh),
        ]
        .map(|word| word as u32)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn add(self, other: Self) -> Self {
        State {
            abef: _mm_add_epi32(self.abef, other.abef),
            cdgh: _mm_add_epi32(self.cdgh, other.cdgh),
        }
    }
}

/// The 16 words of a block, read as big-endian numbers.
#[inline]
#[target_feature(enable = "ssse3")]
fn load(block: &[u8; 64]) -> [__m128i; 4] {
    let mut vectors = [words([0; 4]); 4];
    let (halves, _) = block.as_chunks::<8>();
    for (vector, halves) in vectors.iter_mut().zip(halves.chunks_exact(2)) {
        let [low, high] = [halves[0], halves[1]].map(i64::from_le_bytes);
        let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        *vector = _mm_shuffle_epi8(_mm_set_epi64x(high, low), swap);
    }
    vectors
}

/// Four rounds of both messages.
#[inline]
#[target_feature(enable = "sha,sse2")]
fn rounds(states: &mut [State; 2], k: __m128i, w: [__m128i; 2]) {
    let [x, y] = states;
    let [wx, wy] = [_mm_add_epi32(w[0], k), _mm_add_epi32(w[1], k)];
    x.cdgh = _mm_sha256rnds2_epu32(x.cdgh, x.abef, wx);
    y.cdgh = _mm_sha256rnds2_epu32(y.cdgh, y.abef, wy);
    x.abef = _mm_sha256rnds2_epu32(x.abef, x.cdgh, _mm_shuffle_epi32::<0x0e>(wx));
    y.abef = _mm_sha256rnds2_epu32(y.abef, y.cdgh, _mm_shuffle_epi32::<0x0e>(wy));
}

/// The four words of the message schedule that follow these sixteen.
#[inline]
#[target_feature(enable = "sha,ssse3")]
fn schedule(w0: __m128i, w1: __m128i, w2: __m128i, w3: __m128i) -> __m128i {
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
    _mm_sha256msg2_epu32(sum, w3)
}

/// Sixteen rounds with words that follow from those of the sixteen before. Without a loop, and called without one:
/// so every vector has its register.
#[inline]
#[target_feature(enable = "sha,ssse3")]
fn next_rounds(states: &mut [State; 2], k: usize, x: &mut [__m128i; 4], y: &mut [__m128i; 4]) {
    x[0] = schedule(x[0], x[1], x[2], x[3]);
    y[0] = schedule(y[0], y[1], y[2], y[3]);
    rounds(states, words(K[k]), [x[0], y[0]]);
    x[1] = schedule(x[1], x[2], x[3], x[0]);
    y[1] = schedule(y[1], y[2], y[3], y[0]);
    rounds(states, words(K[k + 1]), [x[1], y[1]]);
    x[2] = schedule(x[2], x[3], x[0], x[1]);
    y[2] = schedule(y[2], y[3], y[0], y[1]);
    rounds(states, words(K[k + 2]), [x[2], y[2]]);
    x[3] = schedule(x[3], x[0], x[1], x[2]);
    y[3] = schedule(y[3], y[0], y[1], y[2]);
    rounds(states, words(K[k + 3]), [x[3], y[3]]);
}

/// Compresses the blocks of both, block by block until the shorter one ends.
#[target_feature(enable = "sha,sse4.1")]
pub(super) fn compress(out: &mut [[u32; 8]; 2], [first, second]: [&[[u8; 64]]; 2]) {
    let mut states = [State::load(out[0]), State::load(out[1])];
    for (first, second) in first.iter().zip(second) {
        let before = states;
        let [mut x, mut y] = [load(first), load(second)];
        rounds(&mut states, words(K[0]), [x[0], y[0]]);
        rounds(&mut states, words(K[1]), [x[1], y[1]]);
        rounds(&mut states, words(K[2]), [x[2], y[2]]);
        rounds(&mut states, words(K[3]), [x[3], y[3]]);
        next_rounds(&mut states, 4, &mut x, &mut y);
        next_rounds(&mut states, 8, &mut x, &mut y);
        next_rounds(&mut states, 12, &mut x, &mut y);
        states = [states[0].add(before[0]), states[1].add(before[1])];
    }
    *out = [states[0].store(), states[1].store()];
}
