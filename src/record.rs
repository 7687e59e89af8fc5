//! Records: a fixed number of random bytes written as one line of text.
//!
//! | Record | Random bytes | Line |
//! |---|---|---|
//! | [`Record::Hex`] | 32 | 64 digits and a newline |
//! | [`Record::Base64`] | 32 | 44 characters (RFC 4648 section 4, with `=`) and a newline |
//! | [`Record::Uuid`] | 16 | a version 4 UUID (RFC 9562 section 5.4) and a newline |
//!
//! The bytes are secrets, so no digit is looked up in a table: which cache line was touched would tell it.

use crate::draw::uuid_of;
use crate::wipe;

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// 256 bits in hexadecimal.
    Hex,
    /// 256 bits in base64.
    Base64,
    /// A random UUID.
    Uuid,
}

/// The longest line of all records, in bytes.
pub const MAX_LINE: usize = Record::Hex.line_len();

impl Record {
    /// Every record.
    pub const ALL: [Record; 3] = [Record::Hex, Record::Base64, Record::Uuid];

    /// Its name, as used for files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Record::Hex => "hex",
            Record::Base64 => "base64",
            Record::Uuid => "uuid",
        }
    }

    /// Random bytes that one record needs.
    #[must_use]
    pub const fn random_len(self) -> usize {
        match self {
            Record::Hex | Record::Base64 => 32,
            Record::Uuid => 16,
        }
    }

    /// Length of one line in bytes, its newline included.
    #[must_use]
    pub const fn line_len(self) -> usize {
        match self {
            Record::Hex => 65,
            Record::Base64 => 45,
            Record::Uuid => 37,
        }
    }

    /// Writes as many whole records as `random` gives and `out` holds, and returns how many.
    ///
    /// Each takes [`Record::random_len`] bytes from `random` and [`Record::line_len`] of `out`.
    pub fn encode(self, random: &[u8], out: &mut [u8]) -> usize {
        let random = random.chunks_exact(self.random_len());
        let lines = out.chunks_exact_mut(self.line_len());
        let mut records = 0;
        for (bytes, line) in random.zip(lines) {
            match self {
                Record::Hex => hex_line(bytes, line),
                Record::Base64 => base64_line(bytes, line),
                Record::Uuid => uuid_line(bytes, line),
            }
            if let Some(last) = line.last_mut() {
                *last = b'\n';
            }
            records += 1;
        }
        records
    }
}

/// The hexadecimal digit of the low 4 bits, without table or branch.
const fn hex_digit(nibble: u8) -> u8 {
    let nibble = nibble & 0x0f;
    // 0xff if the digit is a letter, for then 9 - nibble is negative.
    let letter = 9_u8.wrapping_sub(nibble) >> 7;
    b'0' + nibble + letter * (b'a' - b'0' - 10)
}

/// Any number of bytes in hexadecimal digits, without a table or branch that depends on them.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len() * 2];
    hex_line(bytes, &mut text);
    text.into_iter().map(char::from).collect()
}

/// Any number of bytes in base64 (RFC 4648 section 4), padded, without a table or branch that depends on them.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len().div_ceil(3) * 4];
    base64_line(bytes, &mut text);
    text.into_iter().map(char::from).collect()
}

fn hex_line(bytes: &[u8], line: &mut [u8]) {
    for (byte, digits) in bytes.iter().zip(line.chunks_exact_mut(2)) {
        digits.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(*byte)]);
    }
}

/// 1 if `value` >= `limit` (both below 128), else 0, without a branch.
const fn at_least(value: u8, limit: u8) -> u8 {
    1 - (value.wrapping_sub(limit) >> 7)
}

/// The base64 character of the low 6 bits, without table or branch.
const fn base64_digit(sextet: u8) -> u8 {
    let v = sextet & 0x3f;
    let upper = b'A' + v;
    // From A-Z to a-z, to 0-9, to +, to /: each step moves the character by a constant.
    let upper = upper.wrapping_add(at_least(v, 26) * (b'a' - b'Z' - 1));
    let upper = upper.wrapping_sub(at_least(v, 52) * (b'z' - b'0' + 1));
    let upper = upper.wrapping_sub(at_least(v, 62) * (b'9' - b'+' + 1));
    upper.wrapping_add(at_least(v, 63) * (b'/' - b'+' - 1))
}

fn base64_line(bytes: &[u8], line: &mut [u8]) {
    for (group, digits) in bytes.chunks(3).zip(line.chunks_exact_mut(4)) {
        let byte = |i: usize| group.get(i).copied().unwrap_or(0);
        let (a, b, c) = (byte(0), byte(1), byte(2));
        let pad = |have: bool, digit: u8| if have { digit } else { b'=' };
        digits.copy_from_slice(&[
            base64_digit(a >> 2),
            base64_digit(a << 4 | b >> 4),
            pad(group.len() > 1, base64_digit(b << 2 | c >> 6)),
            pad(group.len() > 2, base64_digit(c)),
        ]);
    }
}

fn uuid_line(bytes: &[u8], line: &mut [u8]) {
    let Some(random) = bytes.first_chunk() else {
        return;
    };
    let mut uuid = uuid_of(*random);
    let mut at = 0;
    for (i, &byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            line[at] = b'-';
            at += 1;
        }
        line[at] = hex_digit(byte >> 4);
        line[at + 1] = hex_digit(byte);
        at += 2;
    }
    wipe(&mut uuid);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_bytes_has_a_text() {
        // RFC 4648 section 10.
        for (bytes, hexadecimal, sextets) in [
            (&b""[..], "", ""),
            (b"f", "66", "Zg=="),
            (b"fo", "666f", "Zm8="),
            (b"foo", "666f6f", "Zm9v"),
            (b"foobar", "666f6f626172", "Zm9vYmFy"),
        ] {
            assert_eq!(hex(bytes), hexadecimal);
            assert_eq!(base64(bytes), sextets);
        }
    }

    fn line(record: Record, random: &[u8]) -> String {
        let mut out = vec![0; record.line_len()];
        assert_eq!(record.encode(random, &mut out), 1);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_digit() {
        let digits: Vec<u8> = (0..16).map(hex_digit).collect();
        assert_eq!(digits, b"0123456789abcdef");
        let digits: Vec<u8> = (0..64).map(base64_digit).collect();
        assert_eq!(
            digits,
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        );
    }

    #[test]
    fn known_lines() {
        let bytes: Vec<u8> = (0xe0..=0xff).collect();
        assert_eq!(
            line(Record::Hex, &bytes),
            "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff\n"
        );
        assert_eq!(
            line(Record::Base64, &bytes),
            "4OHi4+Tl5ufo6err7O3u7/Dx8vP09fb3+Pn6+/z9/v8=\n"
        );
        assert_eq!(
            line(Record::Uuid, &bytes[..16]),
            "e0e1e2e3-e4e5-46e7-a8e9-eaebecedeeef\n"
        );
    }

    #[test]
    fn whole_records_only() {
        for record in Record::ALL {
            let random = vec![7; record.random_len() * 3 + 5];
            let mut out = vec![b'x'; record.line_len() * 4];
            assert_eq!(record.encode(&random, &mut out), 3);
            assert_eq!(out.iter().filter(|&&c| c == b'\n').count(), 3);
            assert!(out[record.line_len() * 3..].iter().all(|&c| c == b'x'));
            assert_eq!(
                record.encode(&random, &mut out[..record.line_len() * 2 - 1]),
                1
            );
            assert_eq!(record.encode(&random[..3], &mut out), 0);
        }
    }
}
