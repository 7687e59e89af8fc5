//! Appliances that fail.

use super::*;

#[test]
fn whatever_is_wrong_is_told_and_bytes_come_again_when_it_ends() {
    let site = Site::new();
    let server = site.server();
    let mut settings = site.settings(&[&server]);
    settings.timeout = Duration::from_secs(3);
    let mut source = start(&settings);
    let name = format!("https://{}", server.address());
    let mut got = bytes(&mut source, SIZE);
    let mut failures = 0;
    for (wrong, fault, words) in [
        (Wrong::Html, Fault::Nonsense, ["text", "<!DOCTYPE html>"]),
        (Wrong::WrongLength, Fault::Short, ["2048", "fetch-size"]),
        (Wrong::TooLong, Fault::Nonsense, ["4097", "4096"]),
        (Wrong::Zeros, Fault::Nonsense, ["all 0x00", "generator"]),
        (Wrong::Stuck, Fault::Nonsense, ["all 0xa5", "generator"]),
        (Wrong::Repeat, Fault::Nonsense, ["same bytes", "cache"]),
        (Wrong::Status(500), Fault::Unhealthy, ["500", "status page"]),
        (Wrong::Status(404), Fault::Unavailable, ["404", "urls"]),
        (
            Wrong::Status(301),
            Fault::Unavailable,
            ["https://elsewhere.example/", "not followed"],
        ),
        (Wrong::Short, Fault::Io, ["ended the connection", "log"]),
        (Wrong::Drip, Fault::Silent, ["in time", "network"]),
        (Wrong::Hang, Fault::Silent, ["in time", "network"]),
        (Wrong::Gone, Fault::Unavailable, ["nothing listens", "port"]),
    ] {
        server.card().inject(wrong).unwrap();
        let watch = Watch::new();
        let failure = loop {
            watch.check();
            let (before, failure) = failure(&mut source);
            got.extend(before);
            failures += 1;
            // A connection that is closed when its appliance goes can be seen before that it is gone.
            if !(wrong == Wrong::Gone && failure.fault == Fault::Io) {
                break failure;
            }
        };
        told(&failure, fault, &words);
        assert!(failure.text.starts_with(&name), "{failure}");
        let part = &source.parts()[0];
        assert!(part.faults[&fault] > 0 && part.error.is_some(), "{part:?}");
        assert!(part.faults.values().sum::<u64>() >= failures);
        server.card().clear();
        got.extend(bytes(&mut source, SIZE));
        assert_eq!(source.parts()[0].error, None);
    }
    let model = server.card();
    let good = model.ledger().good(model.stream());
    // On a busy machine a good answer may come too late, and is lost whole.
    let mut answers = good.chunks(SIZE);
    for answer in got.chunks(SIZE) {
        assert!(
            answers.any(|made| made == answer),
            "not made, or not after the ones before"
        );
    }
    assert!(got.len() > SIZE);
    model.violations().assert_none();
}

#[test]
fn what_is_no_http_is_told() {
    let site = Site::new();
    let mut settings = site.settings(&[]);
    let address = answers(b"220 mail.example ESMTP\r\n\r\n".to_vec());
    settings.addresses = vec![Address::parse(&format!("http://{address}")).unwrap()];
    let (_, other) = failure(&mut start(&settings));
    told(&other, Fault::Nonsense, &["no answer of HTTP", "urls"]);
}

#[test]
fn a_name_that_nobody_knows_is_told() {
    let site = Site::new();
    let mut settings = site.settings(&[]);
    // Too long a label for any name, so that nobody need be asked.
    let host = "x".repeat(64);
    settings.addresses = vec![Address::parse(&format!("https://{host}")).unwrap()];
    let (_, unknown) = failure(&mut start(&settings));
    assert!(unknown.text.contains("cannot be looked up"), "{unknown}");
    assert!(unknown.text.contains("IP address"), "{unknown}");
}

#[test]
fn one_that_fails_does_not_stop_the_others() {
    let site = Site::new();
    let servers = [1, 2].map(|n| serve(n, &site.tls(), false));
    servers[1].card().inject(Wrong::Html).unwrap();
    let mut source = site.source(&servers.each_ref());
    let mut buffer = [0; SIZE];
    let fails = |source: &Appliances| source.parts()[1].faults.get(&Fault::Nonsense) >= Some(&2);
    // The first question of the second may come before the first has answered.
    let watch = Watch::new();
    while !fails(&source) || source.parts()[0].bytes == 0 {
        watch.check();
        let got = source.read(&mut buffer, Instant::now() + Duration::from_secs(1));
        assert!(!matches!(got, Err(SourceError::Broken(_))), "{got:?}");
    }
    for _ in 0..3 {
        assert!(next(&mut source, &mut buffer).is_ok(), "the other stopped");
    }
    let parts = source.parts();
    assert_eq!(parts[0].error, None);
    assert!(
        parts[1]
            .error
            .as_ref()
            .unwrap()
            .contains("answers with text")
    );
    assert_eq!(parts[1].bytes, 0);

    servers[0].card().inject(Wrong::Status(503)).unwrap();
    let (_, all) = failure(&mut source);
    told(
        &all,
        Fault::Unhealthy,
        &["all 2 appliances fail", "503", "answers with text"],
    );
    servers[1].card().clear();
    let watch = Watch::new();
    while source.parts()[1].bytes == 0 {
        watch.check();
        let _ = next(&mut source, &mut buffer);
    }
}
