//! Keys of clients: kept as SHA-256, compared in constant time, each with a rate limit of its own.
//!
//! A file of keys has a line for each: a name and the SHA-256 of the key, 64 hexadecimal digits. Lines that begin with `#` are
//! passed over. `qrng-http --new-key NAME` makes a key and its line.

use std::collections::HashSet;
use std::fmt::Write;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::rate::{Bucket, Rate};

/// The shortest key that is taken from the environment, in characters.
pub const KEY_MIN: usize = 16;

/// Longest name, in bytes.
const NAME_MAX: usize = 64;

/// A client's key.
pub struct Key {
    /// What the log and the counters call it.
    pub name: String,
    /// Its rate limit.
    pub bucket: Bucket,
    digest: [u8; 32],
}

/// All keys.
#[derive(Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.name.as_str())
    }

    /// Whether one of them is also one of `others`: the name of it here.
    pub fn shared_with(&self, others: &Self) -> Option<&str> {
        let known = |key: &&Key| others.0.iter().any(|other| other.digest == key.digest);
        self.0.iter().find(known).map(|key| key.name.as_str())
    }

    /// The key that `presented` is, if it is one. Takes as long whichever it is.
    pub fn find(&self, presented: &[u8]) -> Option<&Key> {
        let digest: [u8; 32] = Sha256::digest(presented).into();
        let mut found = u32::MAX;
        for (index, key) in self.0.iter().enumerate() {
            let same: Choice = key.digest.ct_eq(&digest);
            found.conditional_assign(&(index as u32), same);
        }
        self.0.get(found as usize)
    }

    /// Adds the keys of a file's `text`.
    ///
    /// # Errors
    /// What is wrong with which line. No line is repeated: it may hold a key in clear.
    pub fn add_file(&mut self, text: &str, rate: Rate) -> Result<(), String> {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| format!("line {}: {what}", number + 1);
            let (name, digits) = line
                .split_once(char::is_whitespace)
                .ok_or_else(|| wrong("is no name and SHA-256"))?;
            let digest = parse_digest(digits.trim())
                .ok_or_else(|| wrong("has no SHA-256 of 64 hexadecimal digits"))?;
            self.add(name, digest, rate).map_err(|e| wrong(&e))?;
        }
        Ok(())
    }

    /// Adds keys in clear, separated by commas.
    ///
    /// # Errors
    /// One is too short or is there twice. None is repeated.
    pub fn add_clear(&mut self, text: &str, rate: Rate) -> Result<(), String> {
        for (number, key) in text.split(',').map(str::trim).enumerate() {
            let name = format!("environment-{}", number + 1);
            if key.len() < KEY_MIN {
                return Err(format!(
                    "key {} has fewer than {KEY_MIN} characters",
                    number + 1
                ));
            }
            self.add(&name, Sha256::digest(key).into(), rate)?;
        }
        Ok(())
    }

    fn add(&mut self, name: &str, digest: [u8; 32], rate: Rate) -> Result<(), String> {
        if !is_name(name) {
            return Err(format!(
                "a name has 1 to {NAME_MAX} letters, digits, '-', '_' and '.'"
            ));
        }
        let names: HashSet<&str> = self.names().collect();
        if names.contains(name) || self.0.iter().any(|key| key.digest == digest) {
            return Err(format!("{name} is there twice"));
        }
        self.0.push(Key {
            name: name.to_owned(),
            bucket: Bucket::new(rate),
            digest,
        });
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(good)
}

fn parse_digest(digits: &str) -> Option<[u8; 32]> {
    let digits = digits.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(digest)
}

/// A new key made of `random`, and the line that admits it.
///
/// # Errors
/// `name` is none.
pub fn new_key(name: &str, random: &[u8; 32]) -> Result<(Zeroizing<String>, String), String> {
    if !is_name(name) {
        return Err(format!(
            "{name:?} is no name; give 1 to {NAME_MAX} letters, digits, '-', '_' and '.'"
        ));
    }
    let mut digits = Zeroizing::new([0; 64]);
    qrng::record::write_hex(random, &mut *digits);
    let key = Zeroizing::new(
        digits
            .iter()
            .map(|digit| char::from(*digit))
            .collect::<String>(),
    );
    let mut line = format!("{name} ");
    for byte in Sha256::digest(key.as_bytes()) {
        let _ = write!(line, "{byte:02x}");
    }
    Ok((key, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 10,
    };

    #[test]
    fn a_new_key_is_found_by_its_line_and_nothing_else_is() {
        let (key, line) = new_key("lab", &[0xab; 32]).unwrap();
        assert_eq!(*key, "ab".repeat(32));
        let mut keys = Keys::default();
        keys.add_file(&format!("# clients\n\n{line}\n"), RATE)
            .unwrap();
        keys.add_clear("0123456789abcdef, another-key-in-clear", RATE)
            .unwrap();
        let name = |presented: &str| keys.find(presented.as_bytes()).map(|key| key.name.clone());
        assert_eq!(name(&key).as_deref(), Some("lab"));
        assert_eq!(name("0123456789abcdef").as_deref(), Some("environment-1"));
        assert_eq!(
            name("another-key-in-clear").as_deref(),
            Some("environment-2")
        );
        for wrong in ["", "lab", &line, "0123456789abcdeg", " 0123456789abcdef"] {
            assert_eq!(name(wrong), None, "{wrong}");
        }
        assert!(Keys::default().find(b"").is_none());
    }

    #[test]
    fn what_is_wrong_is_told_without_the_key() {
        let secret = "5".repeat(63);
        let (_, good) = new_key("a", &[1; 32]).unwrap();
        for text in [
            secret.clone(),
            format!("name {secret}"),
            format!("na/me {secret}5"),
            format!("{good}\n{good}"),
            format!("name {}g", &secret[1..]),
        ] {
            let error = Keys::default().add_file(&text, RATE).unwrap_err();
            assert!(
                error.starts_with("line ") && !error.contains("555"),
                "{error}"
            );
        }
        let error = Keys::default().add_clear("short", RATE).unwrap_err();
        assert!(!error.contains("short"), "{error}");
        assert!(new_key("", &[0; 32]).is_err());
    }
}
