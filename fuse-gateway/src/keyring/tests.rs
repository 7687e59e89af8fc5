use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use qrng::keys::{generate, generate_calendar};

use super::*;

fn from() -> Day {
    "2026-11-26".parse().unwrap()
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A calendar's file in a directory of its own.
fn calendar(days: u32) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lab.gateway.key");
    let files = generate_calendar(from(), days, &mut UnwrapErr(SysRng)).unwrap();
    write(&path, &files.gateway);
    (dir, path)
}

fn load(path: &Path) -> Loaded {
    let mut loaded = Loaded::default();
    loaded.add(path.to_owned(), None).unwrap();
    loaded
}

/// As admission tells that a key is gone.
fn gone(key: &GatewayKey) -> Destroyed {
    Destroyed {
        key_id: key.key_id(),
        series: key.series(),
        day: key.day().unwrap(),
    }
}

#[test]
fn what_is_destroyed_in_memory_is_erased_on_file_and_nothing_else() {
    let (_dir, path) = calendar(3);
    let before = fs::read_to_string(&path).unwrap();
    let keyring = Keyring::new(load(&path));
    let (keys, past) = keyring.take_new().unwrap();
    assert!(keyring.take_new().is_none() && past.is_empty());
    keyring.destroyed(vec![gone(&keys[0]), gone(&keys[1])]);
    keyring.erase();
    let after = fs::read_to_string(&path).unwrap();
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    assert_eq!(old.len(), new.len());
    for (number, (old, new)) in old.iter().zip(&new).enumerate() {
        let Some(secrets) = new.strip_prefix(&old[..old.len().saturating_sub(129)]) else {
            assert_eq!(old, new);
            continue;
        };
        let x = "x".repeat(64);
        let is_past = (3..5).contains(&number);
        assert_eq!(secrets == format!("{x} {x}"), is_past, "line {number}");
        assert!(is_past || old == new);
    }
    // The next start knows the ids of the past, and has the keys of the future.
    let next = Keyring::new(load(&path));
    let (left, past) = next.take_new().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].key_id(), keys[2].key_id());
    assert_eq!(past, HashSet::from([keys[0].key_id(), keys[1].key_id()]));
    assert_eq!(next.told(from().start_us())[0].destroyed, 2);
}

#[test]
fn a_file_that_cannot_be_written_is_told_and_tried_again() {
    let (_dir, path) = calendar(2);
    let keyring = Keyring::new(load(&path));
    let (keys, _) = keyring.take_new().unwrap();
    let now_us = from().start_us();
    assert!(keyring.told(now_us)[0].problem.is_none());
    // Another mode stands for a file that the process cannot open for writing: root can open any.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    keyring.destroyed(vec![gone(&keys[0])]);
    keyring.erase();
    let reasons = keyring.reasons(now_us).join("\n");
    assert!(
        reasons.contains("the keys of past days stay on file"),
        "{reasons}"
    );
    assert!(!fs::read_to_string(&path).unwrap().contains("xx"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    keyring.erase();
    assert!(keyring.told(now_us)[0].problem.is_none());
    assert!(fs::read_to_string(&path).unwrap().contains("xx"));
    // Told at the start already.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let loaded = load(&path);
    fs::remove_file(&path).unwrap();
    let told = Keyring::new(loaded).told(now_us);
    assert!(
        told[0]
            .problem
            .as_ref()
            .unwrap()
            .contains("cannot be opened for writing")
    );
}

#[test]
fn another_calendar_in_a_files_place_is_left_alone() {
    let (_dir, path) = calendar(2);
    let keyring = Keyring::new(load(&path));
    let (keys, _) = keyring.take_new().unwrap();
    let (_other_dir, other) = calendar(2);
    fs::copy(&other, &path).unwrap();
    keyring.destroyed(vec![gone(&keys[0])]);
    keyring.erase();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&other).unwrap());
    assert!(keyring.reasons(from().start_us())[1].contains("is another calendar now"));
    // After a reload nobody waits for it any more.
    keyring.replace(load(&path));
    keyring.erase();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&other).unwrap());
    assert!(keyring.told(from().start_us())[0].problem.is_none());
}

#[test]
fn few_days_are_told() {
    let (_dir, path) = calendar(30);
    let keyring = Keyring::new(load(&path));
    let on = |days: u64| from().start_us() + days * 86_400_000_000;
    for (day, words) in [
        (0, ""),
        (15, ""),
        (16, "end in 13 days, on 2026-12-25"),
        (29, "end today, 2026-12-25"),
        (30, "ended on 2026-12-25, and there is no key for today"),
    ] {
        let few = keyring.few_days(on(day)).join("\n");
        assert!(
            few.contains(words) && few.is_empty() == words.is_empty(),
            "day {day}: {few}"
        );
    }
    let told = &keyring.told(on(16))[0];
    assert_eq!(told.day.as_deref(), Some("2026-12-12"));
    assert_eq!(
        (told.days_left, told.last_day.as_deref()),
        (Some(13), Some("2026-12-25"))
    );
    assert!(told.key_id.is_some());
    assert!(
        load(&path)
            .names(on(0))
            .ends_with("of 30 days until 2026-12-25")
    );
    assert!(load(&path).names(on(40)).starts_with("none for today"));
}

#[test]
fn a_single_key_has_no_days() {
    let (_dir, path) = calendar(1);
    let (gateway, _, id) = generate(&mut UnwrapErr(SysRng));
    write(&path, &gateway);
    let keyring = Keyring::new(load(&path));
    let told = &keyring.told(0)[0];
    assert_eq!(told.key_id, Some(id.to_string()));
    assert_eq!((told.days_left, told.destroyed), (None, 0));
    assert!(keyring.reasons(u64::MAX).is_empty());
    assert_eq!(load(&path).names(0), id.to_string());
    let twice = load(&path).add(path.clone(), None);
    assert!(twice.unwrap_err().contains("is there twice"));
}
