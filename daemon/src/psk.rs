//! The pre-shared key that the environment may give, read alike by both ends.

use std::env;
use std::fmt;
use std::os::unix::ffi::OsStringExt;

use qrng::keys::{KeyError, parse_psk_hex};
use zeroize::Zeroizing;

use crate::Problems;

/// The environment variable that replaces the pre-shared key of every key file: 64 hex digits.
pub const PSK_VARIABLE: &str = "QRNG_HMAC_SECRET_KEY";

/// What to do about a variable that is wrong.
pub const PSK_REMEDY: &str = "give 64 hexadecimal digits, or unset it";

/// What [`PSK_VARIABLE`] holds, if it is set: not yet checked, not shown, and wiped when dropped.
#[derive(Clone, Default)]
pub struct Psk(Option<Zeroizing<Vec<u8>>>);

impl Psk {
    /// The variable is not set: the key files' own secrets are used.
    pub fn unset() -> Self {
        Self(None)
    }

    /// Reads the variable from this process's environment. (The environment itself cannot be
    /// wiped, which is one reason to prefer key files.)
    pub fn from_environment() -> Self {
        Self(env::var_os(PSK_VARIABLE).map(|value| Zeroizing::new(value.into_vec())))
    }

    /// The key, if the variable is set.
    ///
    /// # Errors
    /// What is wrong with it: a variable that is set and empty is as wrong as one that is not text.
    pub fn key(&self) -> Result<Option<Zeroizing<[u8; 32]>>, String> {
        self.0.as_ref().map(|value| parse(value)).transpose()
    }

    /// Says in the log, if the variable is set, that it had better not be: an environment is easily
    /// seen.
    pub fn warn(&self) {
        if self.0.is_some() {
            log::warn!(
                "{PSK_VARIABLE} replaces the pre-shared key of every key file; \
                 prefer key files, because an environment is easily seen"
            );
        }
    }

    /// The [key](Self::key), with the warning; what is wrong with it is noted in `problems`.
    pub fn check(&self, problems: &mut Problems) -> Option<Zeroizing<[u8; 32]>> {
        let variable = format!("environment variable {PSK_VARIABLE}");
        let key = problems.keep(&variable, self.key(), PSK_REMEDY)??;
        self.warn();
        Some(key)
    }
}

impl From<&[u8]> for Psk {
    fn from(value: &[u8]) -> Self {
        Self(Some(Zeroizing::new(value.to_vec())))
    }
}

impl From<&str> for Psk {
    fn from(value: &str) -> Self {
        Self::from(value.as_bytes())
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Psk(..)"
        } else {
            "Psk(unset)"
        })
    }
}

fn parse(value: &[u8]) -> Result<Zeroizing<[u8; 32]>, String> {
    if value.is_empty() {
        return Err("is set and empty".to_owned());
    }
    let text = std::str::from_utf8(value).map_err(|_| "is not text".to_owned())?;
    parse_psk_hex(text).map_err(|error| match error {
        KeyError::Unusable { .. } => "is no usable key: all its bytes are equal".to_owned(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn told(value: &[u8]) -> String {
        let mut problems = Problems::new(Path::new("x.toml"));
        assert!(Psk::from(value).check(&mut problems).is_none());
        problems.finish().unwrap_err().to_string()
    }

    #[test]
    fn a_variable_that_is_set_is_never_passed_over() {
        assert!(told(b"").contains("QRNG_HMAC_SECRET_KEY: is set and empty"));
        assert!(told(b"\xff\xfe").contains("is not text"));
        assert!(told(b"secret").contains("give 64 hexadecimal digits, or unset it"));
        assert!(told(&[b'0'; 64]).contains("all its bytes are equal"));
        assert!(!told(b"secret").contains("secret;"));
    }

    #[test]
    fn a_right_one_is_the_key_and_none_is_none() {
        let mut problems = Problems::new(Path::new("x.toml"));
        let hex = "0123456789abcdef".repeat(4);
        let key = Psk::from(&*hex).check(&mut problems).unwrap();
        assert_eq!(key[..2], [0x01, 0x23]);
        assert!(Psk::unset().check(&mut problems).is_none());
        problems.finish().unwrap();
    }

    #[test]
    fn it_is_not_shown() {
        assert_eq!(format!("{:?}", Psk::from("secret")), "Psk(..)");
        assert_eq!(format!("{:?}", Psk::unset()), "Psk(unset)");
    }
}
