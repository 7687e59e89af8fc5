//! Credentials: secrets that the service manager hands over as files of a directory of the service's own (systemd.exec(5),
//! "Credentials"). A configuration names one as `credential:NAME`.

use std::env;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// What comes before the name.
const PREFIX: &str = "credential:";

/// The environment variable that names the directory.
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// The name, if `path` names a credential.
pub(crate) fn named(path: &Path) -> Option<&str> {
    path.to_str()?.strip_prefix(PREFIX)
}

/// The file of the credential `name`, if credentials were handed over and this can be one's name.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    file(env::var_os(DIRECTORY), name)
}

fn file(directory: Option<OsString>, name: &str) -> Option<PathBuf> {
    let directory = PathBuf::from(directory.filter(|d| !d.is_empty())?);
    is_name(name).then(|| directory.join(name))
}

fn is_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(parts.next(), Some(Component::Normal(_)))
        && parts.next().is_none()
        && !name.contains('/')
}

/// Whether `path` is a file of the directory of credentials, which the service manager has made and nobody else can write in.
pub(crate) fn is_one(path: &Path) -> bool {
    let directory = env::var_os(DIRECTORY).filter(|d| !d.is_empty());
    directory.is_some_and(|directory| path.parent() == Some(Path::new(&directory)))
}

/// What is wrong with a path that still names a credential: it was not handed over.
pub(crate) fn missing(name: &str) -> String {
    if !is_name(name) {
        return "is no name of a credential; write credential: and a name without `/`".to_owned();
    }
    format!(
        "no credentials were handed over; write LoadCredential={name}:FILE or LoadCredentialEncrypted={name}:FILE \
         into the service's unit (systemctl edit), or name a file"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_file_of_the_directory() {
        let of = |name| file(Some("/run/credentials/x".into()), name);
        assert_eq!(of("key"), Some("/run/credentials/x/key".into()));
        for wrong in ["", ".", "..", "../key", "a/b", "key/", "/etc/shadow"] {
            assert_eq!(of(wrong), None, "{wrong}");
            assert!(missing(wrong).contains("is no name"), "{wrong}");
        }
        assert_eq!(file(None, "key"), None);
        assert_eq!(file(Some("".into()), "key"), None);
        assert!(missing("key").contains("LoadCredential=key:FILE"));
    }

    #[test]
    fn only_the_prefix_makes_a_credential() {
        assert_eq!(named(Path::new("credential:lab.key")), Some("lab.key"));
        assert_eq!(named(Path::new("/etc/qrng/lab.key")), None);
        assert_eq!(named(Path::new("dir/credential:x")), None);
    }
}
