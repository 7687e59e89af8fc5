use super::*;
use crate::keys::generate;
use crate::testing::rng;

fn from() -> Day {
    "2026-12-30".parse().unwrap()
}

fn files(days: u32) -> CalendarFiles {
    generate_calendar(from(), days, &mut rng(7)).unwrap()
}

fn error(text: &str) -> String {
    GatewayKeys::parse(text).unwrap_err().to_string()
}

#[test]
fn both_files_name_the_same_days_and_keys() {
    let files = files(4);
    assert_eq!(files.last.to_string(), "2027-01-02");
    let gateway = GatewayKeys::parse(&files.gateway).unwrap();
    let collector = CollectorKeys::parse(&files.collector).unwrap();
    assert_eq!((gateway.keys.len(), gateway.days.len()), (4, 4));
    for (number, (key, line)) in (0..).zip(gateway.keys.iter().zip(&gateway.days)) {
        let day = from().later(number).unwrap();
        assert_eq!((key.day(), line.day), (Some(day), day));
        assert_eq!((key.series(), line.key_id), (files.first, key.key_id()));
        for at in [day.start_us(), day.end_us() - 1] {
            assert_eq!(collector.at(at).key_id(), key.key_id());
            assert_eq!(collector.at(at).day(), Some(day));
            assert_eq!(collector.missing(at), None);
        }
    }
    let ids: std::collections::HashSet<_> = gateway.keys.iter().map(GatewayKey::key_id).collect();
    assert_eq!(ids.len(), 4);
    assert_eq!(collector.last_day(), Some(files.last));
    for text in [&files.gateway, &files.collector] {
        assert!(text.len() < text.capacity());
    }
}

#[test]
fn beyond_its_days_a_calendar_has_its_nearest_key_and_says_so() {
    let collector = CollectorKeys::parse(&files(2).collector).unwrap();
    let before = from().start_us() - 1;
    assert_eq!(collector.at(before).day(), Some(from()));
    assert!(
        collector
            .missing(before)
            .unwrap()
            .contains("begin on 2026-12-30 and today is 2026-12-29")
    );
    let after = from().later(2).unwrap().start_us();
    assert_eq!(collector.at(after).day(), from().later(1));
    assert!(
        collector
            .missing(after)
            .unwrap()
            .contains("ended on 2026-12-31 and today is 2027-01-01")
    );
}

#[test]
fn a_single_key_is_for_every_day() {
    let (gateway, collector, id) = generate(&mut rng(1));
    let gateway = GatewayKeys::parse(&gateway).unwrap();
    assert_eq!(
        (gateway.keys[0].key_id(), gateway.keys[0].series()),
        (id, id)
    );
    assert_eq!((gateway.keys[0].day(), gateway.days.len()), (None, 0));
    let collector = CollectorKeys::parse(&collector).unwrap();
    assert_eq!((collector.missing(0), collector.last_day()), (None, None));
    for at in [0, from().start_us(), u64::MAX] {
        assert_eq!(collector.at(at).key_id(), id);
    }
}

#[test]
fn a_destroyed_day_keeps_its_name_and_the_others_their_keys() {
    let files = files(3);
    let days = GatewayKeys::parse(&files.gateway).unwrap().days;
    // Also of a line of which only some digits were overwritten.
    let [key, psk] = days[1].secrets.clone();
    let both = [key.clone(), psk.clone()];
    let first_digit = [key.start..key.start + 1, 0..0];
    let last_digit = [psk.end - 1..psk.end, 0..0];
    for ranges in [both, first_digit, last_digit] {
        let mut text = files.gateway.as_bytes().to_vec();
        for range in ranges {
            text[range].fill(ERASED);
        }
        let text = String::from_utf8(text).unwrap();
        let keys = GatewayKeys::parse(&text).unwrap();
        let left: Vec<_> = keys.keys.iter().filter_map(GatewayKey::day).collect();
        assert_eq!(left, [days[0].day, days[2].day]);
        let destroyed: Vec<_> = keys.days.iter().map(|day| day.destroyed).collect();
        assert_eq!(destroyed, [false, true, false]);
        assert_eq!(keys.days[1].key_id, days[1].key_id);
        // Whoever destroys it again overwrites the same place.
        assert_eq!(keys.days[1].secrets, days[1].secrets);
        assert_eq!(keys.keys[1].series(), files.first);
    }
    // The secrets to the last digit.
    let line = files.gateway.lines().nth(4).unwrap();
    let words: Vec<&str> = line.split(' ').skip(3).collect();
    assert_eq!(words, [&files.gateway[key], &files.gateway[psk]]);
}

#[test]
fn comments_and_windows_line_ends_move_no_secret() {
    let text = files(2)
        .gateway
        .replace('\n', "\r\n")
        .replace("role", "# note\r\n\r\n  role");
    let keys = GatewayKeys::parse(&text).unwrap();
    for day in &keys.days {
        for secret in day.secrets.clone() {
            let digits = &text[secret];
            assert_eq!(digits.len(), 64);
            assert!(digits.bytes().all(|b| b.is_ascii_hexdigit()));
        }
    }
}

#[test]
fn another_psk_changes_the_ids_and_not_the_days() {
    let files = files(2);
    let psk = super::super::parse_psk_hex(&"0123456789abcdef".repeat(4)).unwrap();
    let gateway = GatewayKeys::parse(&files.gateway).unwrap().with_psk(&psk);
    let collector = CollectorKeys::parse(&files.collector)
        .unwrap()
        .with_psk(&psk);
    for key in &gateway.keys {
        let at = key.day().unwrap().start_us();
        assert_eq!(collector.at(at).key_id(), key.key_id());
        assert_eq!(key.series(), files.first);
        assert!(gateway.days.iter().all(|day| day.key_id != key.key_id()));
    }
}

#[test]
fn each_fault_names_its_line() {
    let text = files(3).gateway.to_string();
    let lines: Vec<&str> = text.lines().collect();
    for (text, words) in [
        (
            text.replace("calendar-1", "calendar-2"),
            "line 2: this is no key file",
        ),
        (text.replace("role gateway\n", ""), "`role` is missing"),
        (
            text.replace("role gateway", "role collector"),
            "were they swapped?",
        ),
        (lines[..3].join("\n"), "`day` is missing"),
        (
            text.replace(&format!("{}\n", lines[4]), ""),
            "line 5: the days of a calendar follow",
        ),
        (
            format!("{text}{}\n", lines[3]),
            "line 7: the days of a calendar follow",
        ),
        (
            text.replace("day 2026-12-31", "day 2026-12-32"),
            "line 5: expected `day`",
        ),
        (
            text.replace(lines[4], &lines[4][..80]),
            "line 5: expected `day`",
        ),
        (
            text.replace(lines[4], &lines[4][..lines[4].len() - 1]),
            "line 5: `psk` must be 64",
        ),
        (
            text.replace(lines[4], &format!("{} 00", lines[4])),
            "line 5: expected `day`",
        ),
    ] {
        let error = error(&text);
        assert!(error.contains(words), "wanted {words:?}, got {error:?}");
    }
    // A wrong digit.
    let digit = if lines[4].ends_with('0') { "1" } else { "0" };
    let wrong = format!("{}{digit}", &lines[4][..lines[4].len() - 1]);
    assert!(error(&text.replace(lines[4], &wrong)).contains("the keys belong to key id"));
}

#[test]
fn a_collectors_line_is_never_taken_for_destroyed() {
    let text = files(1).collector.to_string();
    let end = text.trim_end().len();
    let text = format!("{}x\n", &text[..end - 1]);
    let error = CollectorKeys::parse(&text).unwrap_err().to_string();
    assert!(error.contains("line 4: `psk` must be 64"), "{error}");
}

#[test]
fn there_is_no_calendar_of_no_days_or_too_many() {
    for days in [0, MOST_DAYS + 1, u32::MAX] {
        assert!(generate_calendar(from(), days, &mut rng(1)).is_none());
    }
    let end = "9999-12-31".parse().unwrap();
    assert!(generate_calendar(end, 1, &mut rng(1)).is_some());
    assert!(generate_calendar(end, 2, &mut rng(1)).is_none());
}
