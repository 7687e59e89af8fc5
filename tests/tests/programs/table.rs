//! docs/compatibility.md: a run with `QRNG_WRITE_COMPATIBILITY=1` in its environment writes it, row by row.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::case::Case;
use crate::cases::ALL;

const HEAD: &str =
    "| Program | Version | Setting | Result | Bytes taken |\n|---|---|---|---|---|\n";

/// The document.
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md")
}

/// The cells of a row that are the same on all machines: program, setting, result.
pub fn fixed(case: &Case) -> [String; 3] {
    [
        case.name.to_owned(),
        format!("`{}`", case.setting.replace('|', "\\|")),
        case.result().replace('|', "\\|"),
    ]
}

/// The table's rows in `document`, each as its cells.
pub fn rows(document: &str) -> Vec<Vec<String>> {
    let table = document.split_once(HEAD).map_or("", |(_, table)| table);
    let lines = table.lines().take_while(|line| line.starts_with("| "));
    let inner = lines.map(|line| line.trim_start_matches("| ").trim_end_matches(" |"));
    inner
        .map(|line| line.split(" | ").map(str::to_owned).collect())
        .collect()
}

/// Writes the row of a case that has been run, if that is asked for. Other rows stay.
pub fn note(case: &Case, version: &str, taken: u64) {
    static WRITING: Mutex<()> = Mutex::new(());
    if std::env::var_os("QRNG_WRITE_COMPATIBILITY").is_none() {
        return;
    }
    let _one = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let document = fs::read_to_string(path()).expect("docs/compatibility.md");
    let (before, table) = document.split_once(HEAD).expect("the table's head");
    let (_, after) = table.split_once("\n\n").unwrap_or((table, ""));
    let old = rows(&document);
    let mut text = format!("{before}{HEAD}");
    for each in ALL {
        let [name, setting, result] = fixed(each);
        let row = if each.name == case.name {
            let version = version.replace('|', "\\|");
            Some(vec![name, version, setting, result, taken.to_string()])
        } else {
            old.iter().find(|row| row[0] == name).cloned()
        };
        if let Some(row) = row {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
        }
    }
    fs::write(path(), format!("{text}\n{after}")).expect("docs/compatibility.md");
}
