use super::*;

const SERVING: &str = r#"{
  "state": "serving", "reasons": [], "uptime_seconds": 8000.4, "version": "0.1.0",
  "buffer": {"capacity_bytes": 16777216, "fill_bytes": 8388608, "fill_percent": 50.0,
             "overflow_policy": "discard", "locked_bytes": 16777216},
  "bytes": {"admitted": 1200000000, "served": 1100000000, "destroyed": 0,
            "overflow_discarded": 90000000, "overflow_replaced": 0},
  "packets": {"admitted": 912331, "lost": 3, "socket_drops": 0, "announcements": 1204},
  "rejected": {"wrong-hmac": 10, "too-old": 2, "duplicate": 0},
  "session": {"key_id": "5f3a90c1", "epoch": 1700000000000000, "slot": 0},
  "sources": [{"kind": "simulator", "name": "pcie-16m", "serial": null}],
  "kinds": ["simulator"], "last_verified_age_seconds": 0.1, "clock_skew_seconds": 0.002,
  "readers": {"waiting": 3}, "a_later_field": {"is": "passed over"}
}"#;

fn sample<T: DeserializeOwned>(text: &str) -> Look<T> {
    understand(Path::new("status"), text)
}

fn gateway(text: &str) -> Sample<Gateway> {
    sample(text).unwrap_or_else(|trouble| panic!("{}", trouble.words()))
}

#[test]
fn a_serving_gateway_is_told_in_full() {
    let before = gateway(&SERVING.replace("1200000000", "1198000000"));
    let mut now = gateway(SERVING);
    now.taken = before.taken + Duration::from_secs(1);
    let text = render::gateway(Path::new("/qrng"), &now, Some(&before));
    for expected in [
        "gateway /qrng SERVING   version 0.1.0, up 2 h 13 min",
        "buffer    [###############...............] 50 % of 16.0 MiB, discard when full",
        "rates     in 2.00 MB/s   out 0 B/s   overflow 0 B/s",
        "bytes     1.20 GB admitted   1.10 GB served   0 B destroyed   90.0 MB overflowed",
        "packets   912,331 admitted   3 lost   0 dropped by the socket   1,204 announcements",
        "rejected  12 (wrong-hmac 10, too-old 2)",
        "session   key 5f3a90c1, ",
        "last packet 0.1 s ago, clock skew +0.002 s",
        "source    pcie-16m (simulator)   NOT QUANTUM",
        "readers   3 waiting for bytes",
    ] {
        assert!(
            text.contains(expected),
            "{expected:?} is missing in\n{text}"
        );
    }
    assert!(!text.contains("duplicate"));
}

#[test]
fn users_are_shown_those_with_most_bytes_first_and_not_all() {
    let one = r#"{"uid": 1000, "name": null, "bytes": 3000000, "percent": 75.0, "waits": 1234, "weight": 1,
                  "quota_bytes": null, "quota_left_bytes": null}"#;
    let other = r#"{"uid": 33, "name": "www-data", "bytes": 1000000, "percent": 25.0, "waits": 0, "weight": 4,
                    "quota_bytes": 2000000, "quota_left_bytes": 1000000}"#;
    let list = [vec![one, other], vec![one; 8]].concat().join(",");
    let now = gateway(&format!(r#"{{"users": {{"list": [{list}]}}}}"#));
    let text = render::gateway(Path::new("/qrng"), &now, None);
    for expected in [
        "user      1000   3.00 MB (75.0 %)   waited 1,234 times\n",
        "user      www-data   1.00 MB (25.0 %)   waited 0 times   weight 4   1.00 MB left today",
        "users     2 more: see --json",
    ] {
        assert!(
            text.contains(expected),
            "{expected:?} is missing in\n{text}"
        );
    }
    let nobody = render::gateway(Path::new("/qrng"), &gateway("{}"), None);
    assert!(!nobody.contains("user"), "{nobody}");
}

#[test]
fn keys_and_their_days_are_shown() {
    let now = gateway(
        r#"{"keys": [
            {"file": "/etc/qrng/a.key", "key_id": "1f2e3d4c", "days_left": null, "destroyed": 0},
            {"file": "/var/lib/qrng-gateway/b.key", "key_id": "00000007", "day": "2026-11-26",
             "last_day": "2026-12-01", "days_left": 5, "destroyed": 3, "problem": null}
        ]}"#,
    );
    let text = render::gateway(Path::new("/qrng"), &now, None);
    for expected in [
        "keys      1f2e3d4c in /etc/qrng/a.key\n",
        "keys      00000007 in /var/lib/qrng-gateway/b.key, one a day until 2026-12-01, 5 days left, 3 destroyed",
    ] {
        assert!(
            text.contains(expected),
            "{expected:?} is missing in\n{text}"
        );
    }
    let now: Sample<Collector> = sample(
        r#"{"gateways": [{"name": "lab", "address": "192.0.2.1:4790", "key_id": "00000007",
            "key_day": "2026-11-26", "last_key_day": "2026-12-01", "key_days_left": 5}]}"#,
    )
    .unwrap_or_else(|trouble| panic!("{}", trouble.words()));
    let text = render::collector(&now, None);
    let expected = "key 00000007, one a day until 2026-12-01, 5 days left   0 packets";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn without_a_second_sample_there_are_no_rates() {
    let text = render::gateway(Path::new("/qrng"), &gateway(SERVING), None);
    assert!(!text.contains("rates"));
}

#[test]
fn a_restarted_gateway_gives_no_negative_rate() {
    let before = gateway(SERVING);
    let mut now = gateway(&SERVING.replace("1200000000", "5"));
    now.taken = before.taken + Duration::from_secs(1);
    let text = render::gateway(Path::new("/qrng"), &now, Some(&before));
    assert!(!text.contains("in "), "{text}");
}

#[test]
fn an_empty_document_is_rendered_too() {
    let text = render::gateway(Path::new("/qrng"), &gateway("{}"), None);
    assert!(
        text.contains("UNKNOWN") && text.contains("none yet"),
        "{text}"
    );
}

#[test]
fn a_reason_is_shown() {
    let now = gateway(r#"{"state":"waiting","reasons":["no packet has come yet"]}"#);
    let text = render::gateway(Path::new("/qrng"), &now, None);
    assert!(text.contains("WAITING") && text.contains("because   no packet has come yet"));
}

#[test]
fn the_exit_code_follows_the_gateway_first() {
    let serving = || sample::<Gateway>(SERVING);
    let waiting = || sample::<Gateway>(r#"{"state":"waiting"}"#);
    let no_gateway =
        |trouble: fn(String) -> Trouble| -> Look<Gateway> { Err(trouble(String::new())) };
    let sending = || sample::<Collector>(r#"{"state":"running"}"#);
    let no_collector = || -> Look<Collector> { Err(Trouble::Absent(String::new())) };
    assert_eq!(verdict(&serving(), &no_collector()), 0);
    assert_eq!(verdict(&waiting(), &sending()), 1);
    assert_eq!(verdict(&no_gateway(Trouble::Absent), &sending()), 0);
    assert_eq!(verdict(&no_gateway(Trouble::Broken), &sending()), 1);
    assert_eq!(verdict(&no_gateway(Trouble::Forbidden), &no_collector()), 2);
    assert_eq!(verdict(&no_gateway(Trouble::Absent), &no_collector()), 2);
}

#[test]
fn a_missing_mount_comes_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let Err(Trouble::Absent(words)) = look_at_gateway(directory.path()) else {
        panic!("nothing is there");
    };
    assert!(words.contains("qrng-gateway --config"), "{words}");
}

#[test]
fn a_stale_collector_file_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("status.json");
    fs::write(&path, r#"{"state":"running"}"#).unwrap();
    assert!(look_at_collector(directory.path()).is_ok());
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60))
        .unwrap();
    let Err(Trouble::Broken(words)) = look_at_collector(directory.path()) else {
        panic!("a minute old");
    };
    assert!(words.contains("1 min 0 s ago"), "{words}");
}

#[test]
fn something_else_under_that_name_is_told() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("status"), "hello").unwrap();
    assert!(matches!(
        look_at_gateway(directory.path()),
        Err(Trouble::Broken(_))
    ));
}

#[test]
fn a_collector_is_told_in_full() {
    let text = r#"{
      "state": "failed", "version": "0.1.0", "uptime_seconds": 65,
      "source": {"kind": "pcie-module", "name": "card 0", "serial": "1234", "error": "Input/output error (os error 5)",
                 "bytes_per_second": 0, "bytes_acquired": 5000000, "bytes_discarded": 0},
      "gateways": [{"name": "lab", "address": "192.0.2.10:4790", "key_id": "5f3a90c1", "epoch": 1,
                    "sealed_packets": 4000, "sent_datagrams": 4100, "sent_bytes": 5800000, "failed_datagrams": 2}],
      "send_errors": {"ENETUNREACH": 2}, "pacing": null}"#;
    let before = sample::<Collector>(&text.replace("5000000", "4000000"));
    let (Ok(before), Ok(mut now)) = (before, sample::<Collector>(text)) else {
        panic!("it is a document");
    };
    now.taken = before.taken + Duration::from_secs(1);
    let words = render::collector(&now, Some(&before));
    for expected in [
        "collector FAILED   version 0.1.0, up 1 min 5 s",
        "source    card 0 (pcie-module), serial 1234",
        "because   Input/output error",
        "rates     acquired 1.00 MB/s   sent 0 B/s",
        "sends to  lab at 192.0.2.10:4790, key 5f3a90c1   4,000 packets   5.80 MB sent   2 datagrams failed",
    ] {
        assert!(
            words.contains(expected),
            "{expected:?} is missing in\n{words}"
        );
    }
}

#[test]
fn a_process_that_is_not_confined_is_told() {
    let told = |sender: &str| {
        let text = format!(
            r#"{{"state": "running", "confinement": {{"sender": "{sender}", "reader": "enforced"}}}}"#
        );
        let Ok(now) = sample::<Collector>(&text) else {
            panic!("it is a document");
        };
        render::collector(&now, None)
    };
    assert!(told("off-insecure").contains("insecure  sender NOT CONFINED"));
    assert!(!told("enforced").contains("CONFINED"));
    let told = |how: &str| {
        let document = format!(r#"{{"state": "serving", "confinement": {{"gateway": "{how}"}}}}"#);
        render::gateway(Path::new("/qrng"), &gateway(&document), None)
    };
    assert!(told("off-insecure").contains("insecure  gateway NOT CONFINED"));
    assert!(!told("without-landlock").contains("CONFINED"));
}

#[test]
fn a_latch_is_told_with_its_remedy() {
    let document = r#"{"state":"latched","reasons":["the health tests at this gateway have latched"],
      "sources":[{"kind":"usb","name":"left","state":"latched","health":{"state":"latched","permanent-alarms":1,
        "last-alarm":{"source":"left","test":"repetition-bits","tier":"permanent","statistic":61,"limit":61}}}],
      "health":{"state":"latched","examined-bytes":65536,"passed-bytes":65536}}"#;
    let words = render::gateway(Path::new("/qrng"), &gateway(document), None);
    for expected in [
        "gateway /qrng LATCHED",
        "because   the health tests at this gateway have latched",
        "then: qrng clear --gateway RUNTIME-DIRECTORY",
        "source    left (usb), latched",
        "health    latched, 0 intermittent and 1 permanent alarms",
        "alarm     permanent alarm of the repetition-bits test on left: 61 against a limit of 61",
        "health    at this gateway: latched, 65.5 kB examined",
    ] {
        assert!(
            words.contains(expected),
            "{expected:?} is missing in\n{words}"
        );
    }
    let at_collector = document.replace(
        r#""health":{"state":"latched","examined"#,
        r#""bytes":{"withheld":5},"health":{"state":"passing","examined"#,
    );
    let words = render::gateway(Path::new("/qrng"), &gateway(&at_collector), None);
    assert!(
        words.contains("on the collector's host, find out") && words.contains("clear --collector"),
        "{words}"
    );
    assert!(
        words.contains("   5 B withheld") && !words.contains("generated"),
        "{words}"
    );
    let look = || sample::<Gateway>(document);
    assert_eq!(verdict(&look(), &Err(Trouble::Absent(String::new()))), 1);
}

#[test]
fn several_sources_of_a_collector_are_told_each() {
    let document = r#"{"state":"latched","reasons":["right has latched"],"source":{"name":"unused","bytes_acquired":12},"sources":[
      {"kind":"usb","name":"left","state":"running","health":{"state":"passing"},
       "conditioning":{"method":"matrix","min_entropy_per_bit_before":0.9,"min_entropy_per_bit_after":0.999}},
      {"kind":"usb","name":"right","state":"latched","error":"its health tests failed","conditioning":{"method":"none"}}],
      "combining":{"method":"xor","on_failure":"stop","sources_working":1,"stopped":"right is needed"}}"#;
    let Ok(now) = sample::<Collector>(document) else {
        panic!("it is a document");
    };
    assert_eq!(now.document.source.bytes_acquired, 12);
    let words = render::collector(&now, None);
    for expected in [
        "collector LATCHED",
        "qrng clear --collector",
        "source    left (usb), running",
        "health    passing",
        "source    right (usb), latched",
        "because   its health tests failed",
        "because   right has latched",
        "refined   by matrix: min-entropy claimed 0.9 of a bit before, 0.999 after",
        "combined  by xor, 1 working   STOPPED: right is needed",
    ] {
        assert!(
            words.contains(expected),
            "{expected:?} is missing in\n{words}"
        );
    }
    assert!(!words.contains("unused"));
}

#[test]
fn sensors_and_failures_are_told() {
    let reported = r#"{"state":"serving","sources":[{"kind":"pcie-module","name":"card","state":"running",
      "sensors":{"modules-present":15,"modules-healthy":11}}]}"#;
    let words = render::gateway(Path::new("/qrng"), &gateway(reported), None);
    let told =
        "source    card (pcie-module), running\n  sensors   modules-healthy 11, modules-present 15";
    assert!(words.contains(told), "{words}");
    let own = r#"{"state":"running","sources":[{"kind":"usb","name":"stick","state":"running",
      "faults":{"silent":1200,"gone":1},"sensors":{"power":1}}, {"kind":"usb","name":"quiet","faults":{},"sensors":{}}]}"#;
    let Ok(now) = sample::<Collector>(own) else {
        panic!("it is a document");
    };
    let words = render::collector(&now, None);
    assert!(
        words.contains("failures  gone 1, silent 1,200\n  sensors   power 1"),
        "{words}"
    );
    assert_eq!(words.matches("sensors").count(), 1, "{words}");
}

#[test]
fn parts_and_warnings_are_told_and_a_degraded_collector_sends() {
    let document = r#"{"state":"degraded","warnings":["source rack: NOT VERIFIED"],"sources":[{"kind":"appliance","name":"rack",
      "state":"running","parts":[{"name":"https://a","bytes":8192,"error":null,"faults":{}},
      {"name":"https://b","bytes":0,"error":"answers 503","faults":{"unhealthy":2,"silent":1}}]}]}"#;
    let Ok(now) = sample::<Collector>(document) else {
        panic!("it is a document");
    };
    assert!(now.document.is_sending());
    let words = render::collector(&now, None);
    for expected in [
        "collector DEGRADED",
        "WARNING   source rack: NOT VERIFIED",
        "part      https://a, gave 8.19 kB\n",
        "part      https://b, gave 0 B, failures: silent 1, unhealthy 2   FAILS: it answers 503",
    ] {
        assert!(
            words.contains(expected),
            "{expected:?} is missing in\n{words}"
        );
    }
}
