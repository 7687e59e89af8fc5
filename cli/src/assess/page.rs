//! The file that the HTML report goes to.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::input::Input;

/// An open file whose contents are still those of before.
pub struct Page {
    path: PathBuf,
    file: File,
}

impl Page {
    /// Opens or makes the file. What it holds stays until [`Page::write`].
    pub fn open(path: &Path, input: &Input) -> Result<Self> {
        let name = path.display();
        if fs::metadata(path).is_ok_and(|metadata| input.is(&metadata)) {
            bail!("--html {name}: these are the bytes to assess; name another file");
        }
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("--html {name}: cannot write there"))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
        })
    }

    /// Replaces what the file holds.
    pub fn write(mut self, html: &str) -> Result<()> {
        let cut = match self.file.metadata() {
            Ok(metadata) if metadata.is_file() => self.file.set_len(0),
            // A pipe or a device has nothing to replace.
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        cut.and_then(|()| self.file.write_all(html.as_bytes()))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Takes the file away if there is nothing in it.
    pub fn abandon(self) {
        let empty = |metadata: fs::Metadata| metadata.is_file() && metadata.len() == 0;
        if self.file.metadata().is_ok_and(empty) {
            // An empty file left behind does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}
