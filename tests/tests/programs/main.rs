//! Programs as the system's packages have them, unmodified, with the gateway's files in the place of a generator: each ends, gives
//! what it should, and takes from the gateway what is counted. docs/compatibility.md is the table that such a run makes.

mod case;
mod cases;
mod qemu;
mod table;

use std::collections::BTreeSet;
use std::fs;

/// The committed table has each case once, as it is here; versions and counts may differ between machines.
#[test]
fn the_committed_table_is_that_of_these_programs() {
    let document = fs::read_to_string(table::path()).expect("docs/compatibility.md");
    let rows = table::rows(&document);
    let mut names = BTreeSet::new();
    for case in cases::ALL {
        assert!(names.insert(case.name), "{} is there twice", case.name);
        let row = rows.iter().find(|row| row[0] == case.name);
        let row = row.unwrap_or_else(|| panic!("{} is not in the table", case.name));
        let [name, setting, result] = table::fixed(case);
        assert_eq!([&row[0], &row[2], &row[3]], [&name, &setting, &result]);
        let taken = row[4].parse::<u64>();
        assert!(taken.is_ok(), "{}: {row:?}", case.name);
    }
    assert_eq!(rows.len(), names.len(), "rows of programs that are gone");
    assert!(names.len() >= 25);
}
