//! Which device a source is, and what a source must not be beside another.

use super::{CombineError, Combining, Member};
use crate::report::Kind;
use std::fmt;

/// What tells a device from others. At least one of serial number and path is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its kind.
    pub kind: Kind,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its canonical path (no symbolic links) or URL.
    pub path: Option<String>,
}

impl Identity {
    /// Tells whether two handles lead to one device: the same path, or the same serial number of the same kind. A
    /// kernel's node may lead to a device of any kind, so there the serial number alone decides.
    #[must_use]
    pub fn is_same_device(&self, other: &Identity) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| match (known(a), known(b)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        };
        let comparable =
            self.kind == other.kind || [self.kind, other.kind].contains(&Kind::KernelNode);
        same(&self.path, &other.path) || (comparable && same(&self.serial, &other.serial))
    }
}

/// A name that is not blank.
fn known(name: &Option<String>) -> Option<&str> {
    let name = name.as_deref().map(str::trim);
    name.filter(|name| !name.is_empty())
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if let Some(serial) = known(&self.serial) {
            write!(f, " serial {serial}")?;
        }
        if let Some(path) = known(&self.path) {
            write!(f, " at {path}")?;
        }
        Ok(())
    }
}

impl Member {
    /// Checks what one source declares.
    pub(super) fn check(&self) -> Result<(), CombineError> {
        let identity = self.identity.to_string();
        if known(&self.identity.serial).is_none() && known(&self.identity.path).is_none() {
            return Err(CombineError::Nameless(identity));
        }
        if self.group.trim().is_empty() {
            return Err(CombineError::NoGroup(identity));
        }
        let min_entropy = self.min_entropy;
        if !(min_entropy > 0.0 && min_entropy <= 1.0) {
            return Err(CombineError::MinEntropy {
                identity,
                min_entropy,
            });
        }
        Ok(())
    }

    /// Checks what two sources declare.
    pub(super) fn check_beside(
        &self,
        other: &Member,
        combining: Combining,
    ) -> Result<(), CombineError> {
        let (first, second) = (&other.identity, &self.identity);
        if first.is_same_device(second) {
            return Err(CombineError::SameDevice {
                first: first.to_string(),
                second: second.to_string(),
            });
        }
        let independent = matches!(combining, Combining::Xor | Combining::Interleave);
        if independent && self.group == other.group {
            return Err(CombineError::SameGroup {
                first: first.to_string(),
                second: second.to_string(),
                group: self.group.clone(),
                interleaved: combining == Combining::Interleave,
            });
        }
        Ok(())
    }
}
