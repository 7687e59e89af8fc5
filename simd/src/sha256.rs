//! SHA-256's compression of independent messages side by side (FIPS 180-4 section 6.2.2).
//!
//! ```text
//!  messages ─┬─ 16 at a time, a lane of a vector each (AVX-512) ─┐
//!            ├─ 2 at a time, interleaved (SHA instructions) ─────┼─> the same states
//!            └─ one by one ──────────────────────────────────────┘
//! ```

#[cfg(target_arch = "x86_64")]
mod pair;
#[cfg(target_arch = "x86_64")]
mod sixteen;

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

/// Messages that are best compressed together.
pub const ROW: usize = 16;

/// With so many messages it pays to fill the other lanes of a vector with what is not needed.
#[cfg(target_arch = "x86_64")]
const FEWEST_LANES: usize = 9;

/// Compresses the blocks of some messages, each into its state, block by block until the shortest one ends.
///
/// The time depends on the number of messages and of blocks alone. Best in rows of [`ROW`]; as many states as messages
/// are wanted, what there is more of one kind is left alone.
pub fn compress_row(states: &mut [[u32; 8]], messages: &[&[[u8; 64]]]) {
    let blocks = messages.iter().map(|message| message.len()).min();
    let blocks = blocks.unwrap_or(0);
    for (states, messages) in states.chunks_mut(ROW).zip(messages.chunks(ROW)) {
        let count = states.len().min(messages.len());
        let mut row = [&[][..]; ROW];
        for (row, message) in row.iter_mut().zip(messages) {
            *row = &message[..blocks];
        }
        compress(&mut states[..count], &row[..count]);
    }
}

/// Compresses at most [`ROW`] messages of one length.
fn compress(states: &mut [[u32; 8]], messages: &[&[[u8; 64]]]) {
    #[cfg(target_arch = "x86_64")]
    if messages.len() >= FEWEST_LANES
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
    {
        let mut lanes = [[0; 8]; ROW];
        let mut row = [messages[0]; ROW];
        lanes[..states.len()].copy_from_slice(states);
        row[..messages.len()].copy_from_slice(messages);
        #[expect(unsafe_code, reason = "calls a function compiled for AVX-512")]
        // SAFETY: the processor has just said that it has these instructions.
        unsafe {
            sixteen::compress(&mut lanes, row);
        }
        states.copy_from_slice(&lanes[..states.len()]);
        return;
    }
    let (pairs, last) = states.as_chunks_mut();
    let (message_pairs, last_message) = messages.as_chunks();
    for (states, &messages) in pairs.iter_mut().zip(message_pairs) {
        compress_pair(states, messages);
    }
    one_by_one(last, last_message);
}

/// Compresses two messages of one length.
fn compress_pair(states: &mut [[u32; 8]; 2], messages: [&[[u8; 64]]; 2]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") {
        #[expect(
            unsafe_code,
            reason = "calls a function compiled for the SHA instructions"
        )]
        // SAFETY: the processor has just said that it has these instructions; SSE4.1 implies SSSE3.
        unsafe {
            pair::compress(states, messages);
        }
        return;
    }
    one_by_one(states, &messages);
}

/// One after the other.
fn one_by_one(states: &mut [[u32; 8]], messages: &[&[[u8; 64]]]) {
    for (state, message) in states.iter_mut().zip(messages) {
        sha2::block_api::compress256(state, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;
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

    /// The published hash of "abc", and that of nothing beside it, in rows of all lengths.
    #[test]
    fn known_answers() {
        let (mut abc, mut nothing) = ([0; 64], [0; 64]);
        abc[..4].copy_from_slice(b"abc\x80");
        abc[63] = 24;
        nothing[0] = 0x80;
        let hash = |state: [u32; 8]| state.map(u32::to_be_bytes).concat();
        for count in 1..=2 * ROW + 3 {
            let mut states = vec![START; count];
            let both: [&[[u8; 64]]; 2] = [&[abc], &[nothing]];
            let messages: Vec<_> = (0..count).map(|i| both[i % 2]).collect();
            compress_row(&mut states, &messages);
            for pair in states.chunks(2) {
                assert_eq!(hash(pair[0]), sha2::Sha256::digest(b"abc")[..]);
                assert_eq!(pair[0][0], 0xba78_16bf);
                if let [_, nothing] = *pair {
                    assert_eq!(hash(nothing), sha2::Sha256::digest(b"")[..]);
                    assert_eq!(nothing[0], 0xe3b0_c442);
                }
            }
        }
    }

    #[test]
    fn it_ends_with_the_shortest_one() {
        for count in [2, ROW] {
            let mut states = vec![START; count];
            let mut messages = vec![&[[1; 64]; 3][..]; count];
            messages[count - 1] = &[[2; 64]; 1];
            compress_row(&mut states, &messages);
            let mut expected = vec![START; count];
            let shortened: Vec<_> = messages.iter().map(|message| &message[..1]).collect();
            one_by_one(&mut expected, &shortened);
            assert_eq!(states, expected);
            messages[0] = &[];
            compress_row(&mut states, &messages);
            assert_eq!(states, expected);
        }
    }

    proptest! {
        #[test]
        fn a_row_is_as_good_as_one_at_a_time(
            start in prop::collection::vec(any::<[u32; 8]>(), 0..40),
            seed: u64,
            blocks in 0..30_usize,
        ) {
            let bytes: Vec<u8> = noise(seed).take(start.len() * blocks * 64).collect();
            let blocks_of = |i: usize| bytes[i * blocks * 64..][..blocks * 64].as_chunks().0;
            let messages: Vec<_> = (0..start.len()).map(blocks_of).collect();
            let mut states = start.clone();
            compress_row(&mut states, &messages);
            let mut expected = start;
            one_by_one(&mut expected, &messages);
            prop_assert_eq!(states, expected);
        }
    }
}
