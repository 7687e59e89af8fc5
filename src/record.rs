//! Records: random bytes as one line of text. Each ends in a newline.

const DIGITS: &[u8; 16] = b"0123456789abcdef";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// 256 bits as 64 lower-case hexadecimal digits and a newline.
pub fn hex(bytes: &[u8; 32]) -> [u8; 65] {
    let mut line = [b'\n'; 65];
    for (pair, byte) in line.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    line
}

/// 256 bits as 44 characters of base64 (RFC 4648 section 4, padded) and a newline.
pub fn base64(bytes: &[u8; 32]) -> [u8; 45] {
    let mut line = [b'\n'; 45];
    for (four, three) in line.chunks_exact_mut(4).zip(bytes.chunks(3)) {
        let bits = three
            .iter()
            .fold(0u32, |bits, &byte| bits << 8 | u32::from(byte))
            << (8 * (3 - three.len()));
        for (at, character) in four.iter_mut().enumerate() {
            let digit = bits >> (18 - 6 * at) & 63;
            *character = if at <= three.len() {
                BASE64[digit as usize]
            } else {
                b'='
            };
        }
    }
    line
}

/// A version 4 UUID (RFC 9562 section 5.4) and a newline: 122 of the 128 bits are random.
pub fn uuid(bytes: &[u8; 16]) -> [u8; 37] {
    let mut bytes = *bytes;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut line = [b'\n'; 37];
    let mut at = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            line[at] = b'-';
            at += 1;
        }
        line[at] = DIGITS[usize::from(byte >> 4)];
        line[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_records() {
        let bytes: [u8; 32] = std::array::from_fn(|i| i as u8 * 8);
        assert_eq!(&hex(&bytes)[..10], b"0008101820");
        assert_eq!(hex(&bytes)[64], b'\n');
        assert_eq!(
            &base64(&[0xff; 32]),
            b"//////////////////////////////////////////8=\n"
        );
        assert_eq!(
            &base64(&[0; 32]),
            b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
        );
        assert_eq!(
            &uuid(&[0xff; 16]),
            b"ffffffff-ffff-4fff-bfff-ffffffffffff\n"
        );
        assert_eq!(&uuid(&[0; 16]), b"00000000-0000-4000-8000-000000000000\n");
    }
}
