//! `qrng-pages DIR`: writes the manual pages and completions into DIR/man and DIR/completions.

use std::path::Path;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let directory = std::env::args_os().nth(1);
    let directory = directory.context("usage: qrng-pages DIR")?;
    for (name, text) in qrng_pages::files()? {
        let path = Path::new(&directory).join(name);
        let parent = path.parent().context("a file without a directory")?;
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
