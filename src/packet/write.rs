//! Writing both datagrams, all but ciphertext and HMAC. Lengths are the caller's: the sealer has checked them.

use super::{ANNOUNCEMENT_LEN, ENCAPSULATION_LEN, Id, OVERHEAD, VERSION, field};
use crate::keys::KeyId;

/// Writes the fields that both datagrams begin with.
fn write_head(out: &mut [u8], array: u8, id: Id, timestamp_us: u64) {
    out[..4].copy_from_slice(&[array, VERSION, 0xc4, 16]);
    out[field::ID..][..16].copy_from_slice(&id.to_bytes());
    out[field::SEQUENCE - 1] = 0xcf;
    out[field::SEQUENCE..][..8].copy_from_slice(&id.sequence.to_be_bytes());
    out[field::TIMESTAMP - 1] = 0xcf;
    out[field::TIMESTAMP..][..8].copy_from_slice(&timestamp_us.to_be_bytes());
}

/// Writes the CRC32 of `data` and the HMAC's marker after it.
fn write_tail(out: &mut [u8], data: std::ops::Range<usize>) {
    let end = data.end;
    let crc = crc32fast::hash(&out[data]);
    out[end] = field::CRC_MARKER;
    out[end + field::CRC_GAP..][..4].copy_from_slice(&crc.to_be_bytes());
    out[end + field::MAC_GAP..][..2].copy_from_slice(&field::MAC_MARKER);
}

/// Writes all of a data packet that precedes its ciphertext; `out` has the packet's exact length.
pub fn write_data_head(out: &mut [u8], id: Id, timestamp_us: u64) {
    write_head(out, 0x97, id, timestamp_us);
    let field_len = (out.len() - OVERHEAD + field::TAG_LEN) as u16;
    out[field::DATA_LEN - 1] = 0xc5;
    out[field::DATA_LEN..][..2].copy_from_slice(&field_len.to_be_bytes());
}

/// Writes all of a data packet between its ciphertext's tag and its HMAC.
pub fn write_data_tail(out: &mut [u8]) {
    let end = out.len() - (OVERHEAD - field::DATA - field::TAG_LEN);
    write_tail(out, field::DATA..end);
}

/// Writes all of an announcement but its HMAC.
pub fn write_announcement(
    out: &mut [u8; ANNOUNCEMENT_LEN],
    id: Id,
    timestamp_us: u64,
    key_id: KeyId,
    epoch: u64,
    encapsulation: &[u8; ENCAPSULATION_LEN],
) {
    write_head(out, 0x99, id, timestamp_us);
    out[field::KEY_ID - 1] = 0xce;
    out[field::KEY_ID..][..4].copy_from_slice(&key_id.0);
    out[field::EPOCH - 1] = 0xcf;
    out[field::EPOCH..][..8].copy_from_slice(&epoch.to_be_bytes());
    out[field::ENCAPSULATION - 3..][..3].copy_from_slice(&[0xc5, 0x04, 0x60]);
    let end = field::ENCAPSULATION + ENCAPSULATION_LEN;
    out[field::ENCAPSULATION..end].copy_from_slice(encapsulation);
    write_tail(out, field::ENCAPSULATION..end);
}
