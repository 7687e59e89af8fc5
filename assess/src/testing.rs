//! Sequences that are known everywhere: the digits of e.

use num_bigint::BigUint;
use std::sync::LazyLock;

/// Bits from a text of zeros and ones.
pub fn bits(text: &str) -> Vec<u8> {
    text.bytes().map(|digit| digit - b'0').collect()
}

/// Bits of bytes, the most significant first.
pub fn bits_of(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect()
}

/// The first million binary digits of e, from 10.1011 on: 1 + 1/1! (1 + 1/2 (1 + 1/3 (...))).
pub static E: LazyLock<Vec<u8>> = LazyLock::new(|| {
    // 2^1,000,000 is less than 90,000!.
    let (numerator, denominator) = split(0, 90_000);
    let fraction = (numerator << 999_998_u32) / denominator;
    bits_of(&(fraction + (BigUint::from(1_u8) << 999_998_u32)).to_bytes_be())
});

/// The sum of a!/k! for k from a + 1 to b, as numerator and denominator b!/a!.
fn split(a: u32, b: u32) -> (BigUint, BigUint) {
    if b - a == 1 {
        return (BigUint::from(1_u8), BigUint::from(b));
    }
    let middle = a + (b - a) / 2;
    let (p, q) = split(a, middle);
    let (r, s) = split(middle, b);
    (p * &s + r, q * s)
}

/// Good random bytes, the same in every run.
pub fn random(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    qrng::drbg::CtrDrbg::new(&[seed; 48], &[0; 48])
        .fill(&mut bytes)
        .unwrap();
    bytes
}
