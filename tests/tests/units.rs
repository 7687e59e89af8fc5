//! The shipped units: what systemd itself says of them. No service is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use qrng_tests::skip;

/// The highest exposure that each service may have, in tenths, by `systemd-analyze security`.
const LIMITS: [(&str, u32); 7] = [
    ("qrng-collector.service", 15),
    ("qrng-egd.service", 12),
    ("qrng-fifo.service", 5),
    ("qrng-gateway.service", 12),
    ("qrng-http.service", 12),
    ("qrng-mount.service", 30),
    ("qrng-pool.service", 10),
];

/// Keys of systemd 254, which older versions pass over with a word.
const NEWER: [&str; 3] = ["RestartSteps", "RestartMaxDelaySec", "MemoryPressureWatch"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn analyze(arguments: &[&str]) -> Option<(bool, String)> {
    let mut command = Command::new("systemd-analyze");
    let output = command
        .args(arguments)
        .current_dir(repository().join("systemd"))
        .env("SYSTEMD_COLORS", "0")
        .output()
        .ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some((
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

#[test]
fn no_service_is_more_exposed_than_it_may_be() {
    for (unit, limit) in LIMITS {
        let threshold = format!("--threshold={limit}");
        let Some((good, text)) = analyze(&["security", "--offline=true", &threshold, unit]) else {
            skip!("systemd-analyze is missing");
        };
        assert!(text.contains("Overall exposure level"), "{text}");
        assert!(good, "{unit} may have {limit} tenths at most:\n{text}");
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_any_unit() {
    let mut seen = 0;
    for entry in fs::read_dir(repository().join("systemd")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".service") && !name.ends_with(".socket") {
            continue;
        }
        let Some((_, text)) = analyze(&["verify", "--man=no", &format!("./{name}")]) else {
            skip!("systemd-analyze is missing");
        };
        let complaints: Vec<_> = text.lines().filter(|line| is_a_complaint(line)).collect();
        assert!(complaints.is_empty(), "{name}: {complaints:#?}");
        seen += 1;
    }
    assert_eq!(seen, LIMITS.len() + 1);
}

/// Whether a line is about a unit of ours, and neither of a program that is not installed here nor of a key that this version
/// of systemd does not know yet.
fn is_a_complaint(line: &str) -> bool {
    let not_installed = line.contains("qrng") && line.ends_with("No such file or directory");
    let newer = NEWER
        .iter()
        .any(|key| line.contains(&format!("Unknown key '{key}'")));
    line.contains("qrng") && !not_installed && !newer
}

#[test]
fn udev_starts_a_unit_that_is_there() {
    let rules = fs::read_to_string(repository().join("udev/70-qrng.rules")).unwrap();
    let wants: Vec<_> = rules
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split("SYSTEMD_WANTS}+=\"").nth(1)?.split('"').next())
        .collect();
    assert!(wants.len() >= 3, "{wants:?}");
    for unit in wants {
        assert!(repository().join("systemd").join(unit).is_file(), "{unit}");
    }
}
