//! Reading a configuration file, and errors that say what, where and how to mend it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::credentials;

/// What is wrong with a configuration: every problem found, each naming file, key and remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: PathBuf,
    problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{}: {problem}", self.file.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Collects the problems of one configuration file, so that all are told at once.
#[derive(Debug)]
pub struct Problems(ConfigError);

impl Problems {
    /// No problem yet with `file`.
    pub fn new(file: &Path) -> Self {
        Self(ConfigError {
            file: file.to_path_buf(),
            problems: Vec::new(),
        })
    }

    /// Notes that `key` is wrong: `what` it is, and the `remedy` as an imperative.
    pub fn add(&mut self, key: &str, what: impl fmt::Display, remedy: impl fmt::Display) {
        self.0.problems.push(format!("{key}: {what}; {remedy}"));
    }

    /// Keeps the value of a fallible step, or notes its error under `key` with the `remedy`.
    pub fn keep<T, E: fmt::Display>(
        &mut self,
        key: &str,
        result: Result<T, E>,
        remedy: impl fmt::Display,
    ) -> Option<T> {
        result.map_err(|e| self.add(key, e, remedy)).ok()
    }

    /// `Ok` if nothing was noted.
    ///
    /// # Errors
    /// All that was noted.
    pub fn finish(self) -> Result<(), ConfigError> {
        if self.0.problems.is_empty() {
            Ok(())
        } else {
            Err(self.0)
        }
    }
}

/// Reads and parses a TOML file.
///
/// # Errors
/// The file cannot be read, is not TOML, or has an unknown, missing or ill-typed key; the error
/// names the file, and the line and key where there is one.
pub fn read_toml<T: DeserializeOwned>(file: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(file).map_err(|e| ConfigError {
        file: file.to_path_buf(),
        problems: vec![format!(
            "cannot be read: {e}; give a readable file with --config"
        )],
    })?;
    parse_toml(file, &text)
}

/// A path that stands in the configuration file `file`: a relative one is relative to the file's
/// directory, wherever the process was started. `credential:NAME` is the file of the credential that the service manager has
/// handed over by this name; without one it stays as it is, and [`read_secret`](crate::read_secret) says so.
pub fn path_in(file: &Path, path: &Path) -> PathBuf {
    if let Some(name) = credentials::named(path) {
        return credentials::path(name).unwrap_or_else(|| path.to_path_buf());
    }
    file.parent().unwrap_or(Path::new("")).join(path)
}

/// Parses TOML text that came from `file`.
///
/// # Errors
/// As [`read_toml`].
pub fn parse_toml<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|e| ConfigError {
        file: file.to_path_buf(),
        problems: vec![format!(
            "{}; correct or remove it (keys are in the sample configuration)",
            e.to_string().trim_end()
        )],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Sample {
        #[allow(dead_code)]
        data_size: u32,
    }

    #[test]
    fn unknown_key_names_file_line_and_key() {
        let error =
            parse_toml::<Sample>(Path::new("/etc/x.toml"), "data-size = 1\ndata-sise = 2\n")
                .unwrap_err()
                .to_string();
        assert!(error.starts_with("/etc/x.toml: "), "{error}");
        assert!(error.contains("line 2"), "{error}");
        assert!(error.contains("data-sise"), "{error}");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let mut problems = Problems::new(Path::new("f.toml"));
        problems.add("a", "is wrong", "set it right");
        assert_eq!(
            problems.keep("b", "x".parse::<u32>(), "give a number"),
            None
        );
        let error = problems.finish().unwrap_err().to_string();
        assert_eq!(
            error,
            "f.toml: a: is wrong; set it right\nf.toml: b: invalid digit found in string; give a number"
        );
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let path = |file: &str, path: &str| path_in(Path::new(file), Path::new(path));
        assert_eq!(path("/etc/qrng/x.toml", "key"), Path::new("/etc/qrng/key"));
        assert_eq!(path("x.toml", "key"), Path::new("key"));
        assert_eq!(path("/etc/qrng/x.toml", "/key"), Path::new("/key"));
    }

    #[test]
    fn missing_file_is_told() {
        let error = read_toml::<Sample>(Path::new("/nonexistent/x.toml")).unwrap_err();
        assert!(error.to_string().contains("cannot be read"));
    }
}
