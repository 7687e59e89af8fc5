//! Accounts, quotas and their file; how bytes are dealt out is in `dealing`.

mod dealing;

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const DAY: u64 = 20_000;

fn clock() -> u64 {
    DAY * DAY_US + 5
}

fn users(quota: Option<u64>, named: &[(u32, u32, Option<u64>)]) -> Users {
    let named = named.iter().map(|&(uid, weight, quota)| NamedUser {
        uid,
        name: format!("user {uid}"),
        weight,
        quota,
    });
    let config = SharesConfig {
        quota,
        users: named.collect(),
    };
    Users::new(&config, clock)
}

/// Takes up to `bytes` as a read does; how many there were.
fn take(account: &Account, day: u64, bytes: usize) -> usize {
    let allowance = account.allow(|| day);
    let bytes = bytes.min(allowance.left());
    allowance.took(bytes);
    bytes
}

#[test]
fn accounts_are_bounded_and_the_books_of_those_given_up_are_kept() {
    let users = users(None, &[(0, 3, None)]);
    assert_eq!(users.account(0).weight(), 3);
    for uid in 0..10 * MAX_USERS as u32 {
        take(&users.account(uid), DAY, 10);
    }
    let value = users.value();
    assert_eq!(value["tracked"], MAX_USERS);
    assert_eq!(value["merged"], 9 * MAX_USERS);
    let list = value["list"].as_array().unwrap();
    assert_eq!(list.len(), MAX_LISTED);
    assert_eq!(list[0]["name"], "others");
    assert_eq!(list[0]["bytes"], 9 * MAX_USERS * 10);
    assert_eq!(users.account(0).weight(), 3, "who is named stays");
    assert_eq!(users.account(0).bytes(), 10);
}

#[test]
fn an_account_in_use_is_not_given_up_and_without_room_one_is_of_the_others() {
    let users = users(None, &[]);
    let held: Vec<_> = (0..MAX_USERS as u32)
        .map(|uid| users.account(uid))
        .collect();
    assert_eq!(users.account(5_000).uid(), None);
    drop(held);
    assert_eq!(users.account(5_000).uid(), Some(5_000));
}

#[test]
fn an_account_with_a_used_quota_is_kept_for_the_day() {
    let users = users(Some(100), &[]);
    for uid in 0..MAX_USERS as u32 {
        take(&users.account(uid), DAY, 1);
    }
    let stranger = users.account(5_000);
    assert_eq!(stranger.uid(), None);
    assert_eq!(take(&stranger, DAY, 1000), 100);
    assert_eq!(take(&users.account(6_000), DAY, 1000), 0, "they have one");
    assert_eq!(
        take(&users.account(7), DAY, 1000),
        99,
        "and the others theirs"
    );
}

#[test]
fn a_thread_finds_the_accounts_that_it_has_met() {
    let users = users(None, &[]);
    let mut known = Known::default();
    for uid in [1, 9, 1, 9, UNMAPPED, 17] {
        assert_eq!(known.account(&users, uid).uid(), Some(uid));
        assert!(Arc::ptr_eq(
            &known.account(&users, uid),
            &users.account(uid)
        ));
    }
}

#[test]
fn a_quota_is_for_a_day_and_a_clock_that_is_set_back_renews_none() {
    let users = users(Some(1000), &[(3, 1, None), (4, 1, Some(50))]);
    let account = users.account(9);
    assert_eq!(take(&account, DAY, 990), 990);
    assert!(account.lacks(11, || DAY) && !account.lacks(10, || DAY));
    assert!(!account.is_spent(DAY));
    assert_eq!(take(&account, DAY, 990), 10);
    assert!(account.is_spent(DAY) && account.lacks(1, || DAY));
    assert_eq!(take(&account, DAY - 1, 990), 0);
    assert_eq!(take(&account, DAY + 1, 990), 990);
    assert!(!account.is_spent(DAY + 1));
    assert_eq!(take(&users.account(3), DAY, 1 << 30), 1 << 30, "no limit");
    assert_eq!(take(&users.account(4), DAY, 1000), 50, "its own");
    assert_eq!(account.bytes(), 1990);
}

#[test]
fn a_clock_that_was_years_ahead_locks_nobody_out_for_longer_than_a_day() {
    let users = users(Some(1000), &[]);
    let account = users.account(9);
    assert_eq!(take(&account, DAY + 4000, 2000), 1000);
    assert_eq!(take(&account, DAY, 10), 0);
    assert!(account.is_spent(DAY), "those who wait are told");
    assert_eq!(take(&account, DAY + 1, 2000), 1000);
}

#[test]
fn concurrent_reads_do_not_take_more_than_the_quota() {
    let users = users(Some(100_000), &[]);
    let account = users.account(9);
    let taken = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    let bytes = take(&account, DAY, 37) as u64;
                    taken.fetch_add(bytes, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(taken.into_inner(), 100_000);
}

#[test]
fn the_document_tells_of_each_user() {
    let users = users(None, &[(7, 4, Some(1000))]);
    take(&users.account(7), DAY, 300);
    take(&users.account(UNMAPPED), DAY, 100);
    let value = users.value();
    assert_eq!(value["quotas_renewed_in_seconds"], 86_399);
    assert_eq!(
        value["list"],
        json!([
            {"uid": 7, "name": "user 7", "bytes": 300, "percent": 75.0, "waits": 0, "weight": 4, "quota_bytes": 1000,
             "quota_left_bytes": 700},
            {"uid": 4_294_967_295u32, "name": "unmapped", "bytes": 100, "percent": 25.0, "waits": 0, "weight": 1,
             "quota_bytes": null, "quota_left_bytes": null},
        ])
    );
}

#[test]
fn what_is_used_survives_a_restart_but_not_the_day() {
    let directory = tempfile::tempdir().unwrap();
    let run = || {
        let users = Arc::new(users(Some(1000), &[]));
        let file = QuotaFile::open(directory.path(), Arc::clone(&users));
        (users, file)
    };
    let path = directory.path().join("quotas");
    let (first, file) = run();
    take(&first.account(5), DAY, 300);
    file.keep();
    assert_eq!(fs::read_to_string(&path).unwrap(), "20000\n5 300\n");
    let (second, file) = run();
    assert_eq!(take(&second.account(5), DAY, 1000), 700);
    assert_eq!(take(&second.account(6), DAY, 1000), 1000);
    file.keep();
    fs::write(&path, "19999\n6 1000\n").unwrap();
    assert_eq!(take(&run().0.account(6), DAY, 1000), 1000, "of yesterday");
    for damaged in ["", "x", "20000\n6", "20000\n6 x\n", "20000\n6 1000\n7\n"] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(take(&run().0.account(6), DAY, 1000), 1000, "{damaged:?}");
    }
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert_eq!(take(&run().0.account(6), DAY, 1000), 1000);
}

#[test]
fn without_quotas_there_is_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let users = Arc::new(users(None, &[(7, 4, None)]));
    take(&users.account(7), DAY, 300);
    QuotaFile::open(directory.path(), users).keep();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
