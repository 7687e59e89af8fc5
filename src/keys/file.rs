//! The text of key files.

use super::{KeyError, KeyId, PSK_LEN, Role};
use zeroize::Zeroizing;

const FORMAT: &str = "qrng-key-1";

/// The entries of a key file, the role being right.
pub(super) struct Entries {
    pub id: KeyId,
    pub key: Zeroizing<Vec<u8>>,
    pub psk: Zeroizing<[u8; PSK_LEN]>,
}

/// An entry's line number and value.
type Value<'t> = Option<(usize, &'t str)>;

/// A line of a key file that is neither empty nor a comment, without the spaces around it.
pub(super) struct Entry<'t> {
    /// From 1.
    pub number: usize,
    pub text: &'t str,
    /// Where the text begins in the file, in bytes.
    pub start: usize,
}

impl<'t> Entry<'t> {
    /// Its name and its value.
    pub fn entry(&self) -> Option<(&'t str, &'t str)> {
        entry(self.text)
    }
}

/// The lines of a key file.
pub(super) struct Lines<'t> {
    text: &'t str,
    /// Where the next line begins.
    start: usize,
    number: usize,
}

impl<'t> Lines<'t> {
    pub fn of(text: &'t str) -> Self {
        Lines {
            text,
            start: 0,
            number: 0,
        }
    }
}

impl<'t> Iterator for Lines<'t> {
    type Item = Entry<'t>;

    fn next(&mut self) -> Option<Entry<'t>> {
        loop {
            let rest = self
                .text
                .get(self.start..)
                .filter(|rest| !rest.is_empty())?;
            let line = rest.split_inclusive('\n').next()?;
            let start = self.start + (line.len() - line.trim_start().len());
            let text = line.trim();
            self.start += line.len();
            self.number += 1;
            if !text.is_empty() && !text.starts_with('#') {
                let number = self.number;
                return Some(Entry {
                    number,
                    text,
                    start,
                });
            }
        }
    }
}

pub(super) fn parse(text: &str, wanted: Role) -> Result<Entries, KeyError> {
    let mut lines = Lines::of(text);
    let first = lines.next();
    let line = first.as_ref().map_or(1, |line| line.number);
    if first.and_then(|line| line.entry()) != Some(("format", FORMAT)) {
        return Err(KeyError::Format { line });
    }
    let (mut role, mut id, mut psk): (Value, Value, Value) = (None, None, None);
    let mut keys: [(Role, Value); 2] = [(Role::Gateway, None), (Role::Collector, None)];
    for entry in lines {
        let line = entry.number;
        let (name, value) = entry.entry().ok_or(KeyError::Line { line })?;
        let (name, slot) = match name {
            "role" => ("role", &mut role),
            "key-id" => ("key-id", &mut id),
            "psk" => ("psk", &mut psk),
            _ => match keys.iter_mut().find(|(role, _)| role.key_name() == name) {
                Some((role, slot)) => (role.key_name(), slot),
                None => {
                    let name = quotable(name);
                    let role = wanted;
                    return Err(KeyError::UnknownName { line, name, role });
                }
            },
        };
        if slot.replace((line, value)).is_some() {
            return Err(KeyError::Twice { line, name });
        }
    }
    check_role(role, wanted)?;
    for (role, key) in &keys {
        if let (true, Some((line, _))) = (*role != wanted, key) {
            let (line, name, role) = (*line, role.key_name().to_owned(), wanted);
            return Err(KeyError::UnknownName { line, name, role });
        }
    }
    let key = keys
        .iter()
        .find(|(role, _)| *role == wanted)
        .and_then(|(_, key)| *key);
    read_entries(id, key, psk, wanted)
}

/// A name as an error may quote it: nothing that could be part of a key in the wrong place.
fn quotable(name: &str) -> String {
    let word = name.len() <= 16 && name.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
    if word {
        name.to_owned()
    } else {
        "?".to_owned()
    }
}

fn entry(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(char::is_whitespace)?;
    Some((name, value.trim()))
}

pub(super) fn check_role(role: Value, wanted: Role) -> Result<(), KeyError> {
    let (line, name) = role.ok_or(KeyError::Missing { name: "role" })?;
    let found = [Role::Gateway, Role::Collector]
        .into_iter()
        .find(|role| role.name() == name);
    let found = found.ok_or(KeyError::Role { line })?;
    if found != wanted {
        return Err(KeyError::Swapped { wanted, found });
    }
    Ok(())
}

fn read_entries(id: Value, key: Value, psk: Value, role: Role) -> Result<Entries, KeyError> {
    let mut entries = Entries {
        id: KeyId([0; 4]),
        key: Zeroizing::new(vec![0; role.key_len()]),
        psk: Zeroizing::new([0; PSK_LEN]),
    };
    read_entry(id, "key-id", &mut entries.id.0)?;
    read_entry(key, role.key_name(), &mut entries.key)?;
    read_entry(psk, "psk", &mut *entries.psk)?;
    for (name, bytes) in [("psk", &entries.psk[..]), (role.key_name(), &entries.key)] {
        if is_constant(bytes) {
            return Err(KeyError::Unusable { name });
        }
    }
    Ok(entries)
}

fn read_entry(entry: Value, name: &'static str, out: &mut [u8]) -> Result<(), KeyError> {
    let (line, value) = entry.ok_or(KeyError::Missing { name })?;
    let digits = out.len() * 2;
    read_hex(value, out).ok_or(KeyError::Hex { line, name, digits })
}

/// Tells whether all bytes are equal: a placeholder, not a key.
pub(super) fn is_constant(bytes: &[u8]) -> bool {
    bytes.windows(2).all(|pair| pair[0] == pair[1])
}

/// Reads exactly as many hexadecimal digits as `out` needs.
pub(super) fn read_hex(text: &str, out: &mut [u8]) -> Option<()> {
    let text = text.as_bytes();
    if text.len() != out.len() * 2 {
        return None;
    }
    for (byte, digits) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = hex_value(digits[0])? << 4 | hex_value(digits[1])?;
    }
    Some(())
}

fn hex_value(digit: u8) -> Option<u8> {
    let value = (digit as char).to_digit(16)?;
    u8::try_from(value).ok()
}

/// The text of a key file.
pub(super) fn write(role: Role, id: KeyId, key: &[u8], psk: &[u8; PSK_LEN]) -> Zeroizing<String> {
    use std::fmt::Write;
    // Room for all of it: growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(key.len() * 2 + 512));
    let hex = |text: &mut String, name: &str, bytes: &[u8]| {
        text.push_str(name);
        text.push(' ');
        write_hex(text, bytes);
        text.push('\n');
    };
    let _ = write!(
        text,
        "# Key of the qrng {role}, made by `qrng keygen`. It is secret: keep its mode 0600.\n\
         format {FORMAT}\nrole {role}\nkey-id {id}\n"
    );
    hex(&mut text, role.key_name(), key);
    hex(&mut text, "psk", psk);
    text
}

/// Appends the bytes as hexadecimal digits.
pub(super) fn write_hex(text: &mut String, bytes: &[u8]) {
    use std::fmt::Write;
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
}
