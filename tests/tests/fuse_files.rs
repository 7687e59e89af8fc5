//! The files as programs see them, against a real mount: sizes, records, streams, names and permissions.
//!
//! `fuse_ordinary_user.rs` runs these same tests as an ordinary user. No test asserts a duration.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

use qrng_gateway::tree::README;
use qrng_tests::fuse_harness::{Served, is_root, no_mount, run, sh};
use qrng_tests::skip;

const MIB: usize = 1 << 20;

/// A mount, or the skip of the test that asked for one.
macro_rules! served {
    ($capacity:expr) => {
        match no_mount() {
            Some(reason) => skip!("{reason}"),
            None => Served::start($capacity),
        }
    };
}

// --- programs ---------------------------------------------------------------------------------------------------------

#[test]
fn usual_programs_end_with_the_right_sizes() {
    let served = served!(4 * MIB);
    let _feeder = served.keep_filled();
    let raw = served.path("raw");
    let size = |script: &str| sh(script, &raw).success().text().trim().to_owned();
    assert_eq!(
        size("T=$(mktemp) && cp $F $T && stat -c %s $T && rm -f $T"),
        "65536"
    );
    assert_eq!(size("tail -c8 $F | wc -c"), "8");
    assert_eq!(size("head -c 100000 $F | wc -c"), "100000");
    assert_eq!(size("cat $F | head -c 300000 | wc -c"), "300000");
    assert_eq!(
        size("dd if=$F bs=32 count=1000 status=none | wc -c"),
        "32000"
    );
    assert_eq!(
        size("dd if=$F bs=1M count=8 iflag=fullblock status=none | wc -c"),
        "8388608"
    );
    assert_eq!(
        size("dd if=$F bs=64k skip=3 count=2 iflag=fullblock status=none | wc -c"),
        "131072"
    );
    assert_eq!(size("od -An -N16 -tx1 $F | wc -w"), "16");
    assert_eq!(
        size("shuf -i 1-1000 --random-source=$F | sort -n | uniq | wc -l"),
        "1000"
    );
}

#[test]
fn openssl_takes_its_seed_from_a_stream() {
    let served = served!(4 * MIB);
    if Command::new("openssl")
        .arg("version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        skip!("openssl is not installed");
    }
    let _feeder = served.keep_filled();
    let said = sh("openssl rand -rand $F -hex 8", &served.path("raw"))
        .success()
        .text();
    assert_eq!(said.trim().len(), 16, "{said}");
}

#[test]
fn a_record_file_is_one_record_an_open() {
    let served = served!(MIB);
    let _feeder = served.keep_filled();
    let hex = sh("KEY=$(cat $F); printf %s $KEY", &served.path("hex"))
        .success()
        .text();
    assert!(
        hex.len() == 64
            && hex
                .bytes()
                .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()),
        "{hex}"
    );
    let bytewise = sh("dd if=$F bs=1 status=none", &served.path("hex"))
        .success()
        .text();
    assert!(
        bytewise.len() == 65 && bytewise.ends_with('\n'),
        "{bytewise}"
    );
    assert_ne!(bytewise.trim(), hex, "each open has its own");
    assert_eq!(
        sh("tail -c5 $F | wc -c", &served.path("hex"))
            .success()
            .text()
            .trim(),
        "5"
    );
    let base64 = sh("cat $F", &served.path("base64")).success().text();
    assert!(base64.len() == 45 && base64.ends_with("=\n"), "{base64}");
    assert_eq!(
        sh("base64 -d $F | wc -c", &served.path("base64"))
            .success()
            .text()
            .trim(),
        "32"
    );
    assert_uuid(&sh("cat $F", &served.path("uuid")).success().text());
    for (file, length) in [("hex", "65"), ("base64", "45"), ("uuid", "37")] {
        let copied = sh(
            "T=$(mktemp) && cp $F $T && stat -c %s $T && rm -f $T",
            &served.path(file),
        );
        assert_eq!(copied.success().text().trim(), length, "cp of {file}");
    }
}

#[track_caller]
fn assert_uuid(line: &str) {
    let bytes = line.as_bytes();
    let dashes: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] == b'-').collect();
    assert_eq!(
        (bytes.len(), dashes, bytes[14]),
        (37, vec![8, 13, 18, 23], b'4'),
        "{line}"
    );
    assert!(
        matches!(bytes[19], b'8' | b'9' | b'a' | b'b') && bytes[36] == b'\n',
        "{line}"
    );
}

#[test]
fn one_open_gives_the_same_record_at_every_offset() {
    let served = served!(MIB);
    served.feed(64);
    let file = File::open(served.path("hex")).unwrap();
    let (mut whole, mut part) = ([0; 100], [0; 10]);
    assert_eq!(file.read_at(&mut whole, 0).unwrap(), 65);
    assert_eq!(file.read_at(&mut part, 60).unwrap(), 5);
    assert_eq!(part[..5], whole[60..65]);
    assert_eq!(file.read_at(&mut part, 65).unwrap(), 0);
    assert_eq!(served.settled().served, 32);
}

#[test]
fn streams_are_one_record_a_line() {
    let served = served!(4 * MIB);
    let _feeder = served.keep_filled();
    for (file, line) in [
        ("stream/hex", 65),
        ("stream/base64", 45),
        ("stream/uuid", 37),
    ] {
        let text = sh("head -n 3000 $F", &served.path(file)).success().text();
        assert_eq!(text.lines().count(), 3000);
        assert!(text.lines().all(|l| l.len() == line - 1), "{file}");
        if file.ends_with("uuid") {
            text.split_inclusive('\n').for_each(assert_uuid);
            let different: HashSet<_> = text.lines().collect();
            assert!(different.len() > 1);
        }
        let odd = sh("dd if=$F bs=7 count=1000 status=none", &served.path(file))
            .success()
            .text();
        assert_eq!(odd.len(), 7000);
        assert!(
            odd.lines().take(7000 / line).all(|l| l.len() == line - 1),
            "{file} in pieces"
        );
    }
}

// --- names, sizes, permissions ----------------------------------------------------------------------------------------

#[test]
fn stat_shows_sizes_modes_and_owner() {
    let served = served!(MIB);
    let owner = (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    );
    for (name, mode, size) in [
        ("", 0o40_555, 0),
        ("stream", 0o40_555, 0),
        ("raw", 0o100_444, 65_536),
        ("random", 0o100_444, 65_536),
        ("urandom", 0o100_444, 65_536),
        ("README", 0o100_444, README.len() as u64),
        ("hex", 0o100_444, 65),
        ("base64", 0o100_444, 45),
        ("uuid", 0o100_444, 37),
        ("status", 0o100_440, 20),
        ("stream/hex", 0o100_444, 65_536),
        ("stream/base64", 0o100_444, 65_536),
        ("stream/uuid", 0o100_444, 65_536),
    ] {
        let stat = std::fs::metadata(served.path(name)).unwrap();
        assert_eq!(
            (stat.mode(), stat.size(), (stat.uid(), stat.gid())),
            (mode, size, owner),
            "{name}"
        );
    }
    assert_eq!(
        std::fs::metadata(served.path("nothing"))
            .unwrap_err()
            .kind(),
        std::io::ErrorKind::NotFound
    );
    let mut names: Vec<_> = std::fs::read_dir(served.path(""))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "README", "base64", "hex", "random", "raw", "status", "stream", "urandom", "uuid"
        ]
    );
    assert_eq!(std::fs::read_dir(served.path("stream")).unwrap().count(), 3);
}

#[test]
fn nothing_can_be_written_or_run() {
    let served = served!(MIB);
    for file in ["raw", "hex", "status", "urandom", "README"] {
        let error = std::fs::OpenOptions::new()
            .write(true)
            .open(served.path(file))
            .unwrap_err();
        assert!(
            matches!(
                error.kind(),
                std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied
            ),
            "{error}"
        );
    }
    assert!(File::create(served.path("new")).is_err());
    assert!(std::fs::remove_file(served.path("raw")).is_err());
    assert!(
        std::fs::set_permissions(served.path("raw"), PermissionsExt::from_mode(0o777)).is_err()
    );
}

#[test]
fn status_is_one_document_for_the_owner_and_the_group() {
    let served = served!(MIB);
    let text = sh("cat $F", &served.path("status")).success().text();
    assert_eq!(text, "{\"state\":\"serving\"}\n");
    assert_eq!(
        sh("dd if=$F bs=1 status=none", &served.path("status"))
            .success()
            .text(),
        text
    );
    if !is_root() {
        skip!("only root can try to read it as another user");
    }
    let as_nobody = |groups: &str, file: &str| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", groups, "head", "-c2"])
            .arg(served.path(file));
        run(&mut command)
    };
    let refused = as_nobody("--clear-groups", "status");
    assert!(
        refused.code == Some(1) && refused.err.contains("Permission denied"),
        "{refused:?}"
    );
    assert_eq!(as_nobody("--groups=0", "status").success().text(), "{\"");
    served.feed(2);
    assert_eq!(as_nobody("--clear-groups", "raw").success().out.len(), 2);
}
