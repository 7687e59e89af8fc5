//! The pages and completions in the repository are what the programs say today.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn the_pages_and_completions_are_current() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
    let mut made = BTreeSet::new();
    for (name, text) in qrng_pages::files().unwrap() {
        let there = fs::read(directory.join(&name)).unwrap_or_default();
        assert!(
            there == text,
            "packaging/{name} is not current: run `make pages`"
        );
        made.insert(name);
    }
    for part in ["man", "completions"] {
        for entry in fs::read_dir(directory.join(part)).unwrap() {
            let name = format!("{part}/{}", entry.unwrap().file_name().display());
            assert!(
                made.contains(&name),
                "packaging/{name} is of nothing: remove it"
            );
        }
    }
}
