use super::*;
use std::fs;
use std::os::unix::fs::MetadataExt;

fn open(path: &std::path::Path, limit: u64) -> Result<Input, String> {
    Input::open(path, limit).map_err(|error| format!("{error:#}"))
}

#[test]
fn a_file_is_named_with_how_much_of_it_was_taken() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bytes");
    fs::write(&path, vec![0; 8192]).unwrap();
    let all = open(&path, 1 << 20).unwrap();
    assert_eq!(all.max_bytes, 8192);
    assert!(all.what.ends_with("bytes, all of it"), "{}", all.what);
    let part = open(&path, 4096).unwrap();
    assert_eq!(part.max_bytes, 4096);
    assert!(
        part.what.ends_with("the first 4.00 KiB of 8.00 KiB"),
        "{}",
        part.what
    );
    assert!(part.gateway.is_none());
}

#[test]
fn what_is_no_file_is_told_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let error = open(directory.path(), 4096).err().unwrap();
    assert!(error.contains("is a directory"), "{error}");
    let error = open(&directory.path().join("none"), 4096).err().unwrap();
    assert!(error.contains("cannot find") && error.contains("none"));
}

#[test]
fn a_gateways_file_is_named_with_its_noise_sources() {
    let directory = tempfile::tempdir().unwrap();
    let raw = directory.path().join("raw");
    fs::write(&raw, "").unwrap();
    let named = |status: &str| {
        fs::write(directory.path().join("status"), status).unwrap();
        open(&raw, 4096).unwrap()
    };
    let input = named(r#"{"state":"serving","sources":[{"kind":"usb"},{"kind":"pcie-chip"}]}"#);
    assert!(
        input.what.ends_with("noise sources: usb, pcie-chip"),
        "{}",
        input.what
    );
    assert!(input.gateway.is_some());
    let input = named(r#"{"state":"serving","kinds":["simulator"]}"#);
    assert!(input.what.contains("NOT QUANTUM"), "{}", input.what);
    let input = named(r#"{"state":"waiting"}"#);
    assert!(input.what.contains("unknown"), "{}", input.what);
}

#[test]
fn a_page_replaces_only_when_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = directory.path().join("bytes");
    fs::write(&bytes, vec![0; 4096]).unwrap();
    let input = open(&bytes, 4096).unwrap();
    let page = directory.path().join("page.html");

    Page::open(&page, &input).unwrap().abandon();
    assert!(!page.exists());
    fs::write(&page, "an older and longer page").unwrap();
    Page::open(&page, &input).unwrap().abandon();
    assert_eq!(
        fs::read_to_string(&page).unwrap(),
        "an older and longer page"
    );
    Page::open(&page, &input).unwrap().write("new").unwrap();
    assert_eq!(fs::read_to_string(&page).unwrap(), "new");
    Page::open("/dev/null".as_ref(), &input)
        .unwrap()
        .write("new")
        .unwrap();

    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&bytes, &link).unwrap();
    let error = Page::open(&link, &input).err().unwrap().to_string();
    assert!(error.contains("the bytes to assess"), "{error}");
    assert_eq!(fs::metadata(&bytes).unwrap().size(), 4096);
    assert!(Page::open(&directory.path().join("no/page.html"), &input).is_err());
}

#[test]
fn sizes_are_read_with_their_units() {
    assert_eq!(size("64 MiB"), Ok(64 << 20));
    assert!(size("0").is_err());
    assert!(size("much").is_err());
}
