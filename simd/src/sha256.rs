//! SHA-256's compression of two independent messages at a time (FIPS 180-4 section 6.2.2).
//!
//! With the SHA instructions each two rounds wait for the two before, which leaves the unit idle half of the time.
//! A second message, interleaved, fills the gaps.

/// Compresses the blocks of two messages, block by block until the shorter one ends; the portable way, or the
/// processor's, as it can.
pub fn compress_pair(states: &mut [[u32; 8]; 2], messages: [&[[u8; 64]]; 2]) {
    let blocks = messages[0].len().min(messages[1].len());
    let messages = messages.map(|message| &message[..blocks]);
    #[cfg(target_arch = "x86_64")]
    #[expect(
        unsafe_code,
        reason = "calls a function compiled for the SHA instructions"
    )]
    if is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") {
        // SAFETY: the processor has just said that it has these instructions; SSE4.1 implies SSSE3.
        unsafe { interleaved::compress(states, messages) };
        return;
    }
    portable(states, messages);
}

/// One after the other.
fn portable([first, second]: &mut [[u32; 8]; 2], messages: [&[[u8; 64]]; 2]) {
    sha2::block_api::compress256(first, messages[0]);
    sha2::block_api::compress256(second, messages[1]);
}

#[cfg(target_arch = "x86_64")]
mod interleaved {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32,
    };

    /// The constants of FIPS 180-4 section 4.2.2.
    const K: [[u32; 4]; 16] = [
        [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
        [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
        [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
        [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
        [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
        [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
        [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
        [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
        [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
        [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
        [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
        [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
        [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
        [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
        [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
        [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
    ];

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
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::Digest;

    /// What FIPS 180-4 section 5.3.3 starts from.
    const START: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];

    /// The published hash of "abc", and that of nothing beside it.
    #[test]
    fn known_answers() {
        let (mut abc, mut nothing) = ([0; 64], [0; 64]);
        abc[..4].copy_from_slice(b"abc\x80");
        abc[63] = 24;
        nothing[0] = 0x80;
        let mut states = [START; 2];
        compress_pair(&mut states, [&[abc], &[nothing]]);
        let hash = |state: [u32; 8]| state.map(u32::to_be_bytes).concat();
        assert_eq!(hash(states[0]), sha2::Sha256::digest(b"abc")[..]);
        assert_eq!(hash(states[1]), sha2::Sha256::digest(b"")[..]);
        assert_eq!((states[0][0], states[1][0]), (0xba78_16bf, 0xe3b0_c442));
    }

    #[test]
    fn it_ends_with_the_shorter_one() {
        let mut states = [START; 2];
        compress_pair(&mut states, [&[[1; 64]; 3], &[[2; 64]; 1]]);
        let mut expected = [START; 2];
        portable(&mut expected, [&[[1; 64]], &[[2; 64]]]);
        assert_eq!(states, expected);
        compress_pair(&mut states, [&[], &[[2; 64]; 1]]);
        assert_eq!(states, expected);
    }

    proptest! {
        #[test]
        fn pairs_are_as_good_as_one_at_a_time(
            start: [[u32; 8]; 2],
            blocks in prop::collection::vec(any::<([u64; 8], [u64; 8])>(), 0..30),
        ) {
            let bytes = |words: [u64; 8]| <[u8; 64]>::try_from(words.map(u64::to_be_bytes).concat());
            let first: Vec<_> = blocks.iter().map(|b| bytes(b.0).unwrap()).collect();
            let second: Vec<_> = blocks.iter().map(|b| bytes(b.1).unwrap()).collect();
            let mut states = start;
            compress_pair(&mut states, [&first, &second]);
            let mut expected = start;
            portable(&mut expected, [&first, &second]);
            prop_assert_eq!(states, expected);
        }
    }
}
