use super::*;
use crate::health::{self, Alarm, Test, Tier};

fn report() -> Report {
    Report {
        collector: "0.1.0".into(),
        sources: vec![
            SourceReport {
                kind: Kind::Simulator,
                name: "simulator".into(),
                serial: None,
                state: State::Running,
                sensors: Default::default(),
                health: None,
            },
            SourceReport {
                kind: Kind::PcieModule,
                name: "card".into(),
                serial: Some("1234567A".into()),
                state: State::Failed,
                sensors: Default::default(),
                health: None,
            },
        ],
    }
}

#[test]
fn there_and_back() {
    let mut out = [0xee; 1355];
    report().encode(&mut out).unwrap();
    assert_eq!(Report::decode(&out).unwrap(), report());
    assert_eq!(out[1354], 0);
}

/// A source whose health tests have latched it, or that never had an alarm.
fn tested(name: &str, latched: bool) -> SourceReport {
    let alarm = Alarm {
        source: name.into(),
        test: Test::Autocorrelation,
        tier: Tier::Permanent,
        statistic: 0.5,
        limit: 0.010_637,
        sample: u64::MAX,
        lag: Some(64),
        at_us: u64::MAX,
    };
    SourceReport {
        kind: Kind::Usb,
        name: name.into(),
        serial: Some("12345678".into()),
        state: if latched {
            State::Latched
        } else {
            State::Running
        },
        sensors: Default::default(),
        health: Some(Summary {
            source: name.into(),
            state: if latched {
                health::State::Latched
            } else {
                health::State::Passing
            },
            examined_bytes: u64::MAX,
            passed_bytes: u64::MAX,
            intermittent_alarms: 70_000,
            permanent_alarms: 1,
            findings: Default::default(),
            bytes_per_second: Some(500_000.25),
            min_entropy_per_byte: Some(7.75),
            last_alarm: latched.then_some(alarm),
        }),
    }
}

fn of(sources: Vec<SourceReport>) -> Report {
    Report {
        collector: "10.20.30".into(),
        sources,
    }
}

#[test]
fn health_and_the_last_alarm_travel() {
    let report = of(vec![
        tested("left", true),
        tested(&"right ".repeat(20), false),
    ]);
    let mut out = [0; 1117];
    report.encode(&mut out).unwrap();
    assert_eq!(Report::decode(&out).unwrap(), report);
    let names = out.windows(4).filter(|w| w == b"left").count();
    assert_eq!(names, 1, "the name is sent once");
}

#[test]
fn findings_travel_by_test_and_a_later_test_is_no_error() {
    let mut source = tested("card", true);
    let health = source.health.as_mut().unwrap();
    health.findings = [(Test::Bias, [1, 2]), (Test::Rate, [3, 0])].into();
    let mut out = [0; 1117];
    of(vec![source.clone()]).encode(&mut out).unwrap();
    assert_eq!(Report::decode(&out).unwrap().sources, [source.clone()]);
    // The same with the name of a test that nobody knows.
    let at = out.windows(4).position(|w| w == b"rate").unwrap();
    out[at..at + 4].copy_from_slice(b"tare");
    let read = Report::decode(&out).unwrap();
    let findings = &read.sources[0].health.as_ref().unwrap().findings;
    assert_eq!(findings[&Test::Unknown], [3, 0]);
}

#[test]
fn what_does_not_fit_is_left_out_the_alarms_last() {
    let fitting = |sources: Vec<SourceReport>| {
        let mut out = [0; 1117];
        of(sources).encode_fitting(&mut out).unwrap();
        Report::decode(&out).unwrap().sources
    };
    let mut sources = vec![tested("a", false); 7];
    sources.push(tested("b", true));
    let got = fitting(sources.clone());
    assert!(got[..7].iter().all(|s| s.health.is_none()));
    assert_eq!(got[7], sources[7]);
    let got = fitting(vec![tested(&"\u{e4}".repeat(64), true); 8]);
    assert_eq!(got.len(), 8);
    assert!(
        got.iter()
            .all(|s| s.state == State::Latched && s.name.len() == 32)
    );
    let error = of(sources).encode_fitting(&mut [0; 100]).unwrap_err();
    assert!(matches!(error, ReportError::TooLong { .. }));
}

fn sensors(names: &[&str]) -> BTreeMap<String, u64> {
    names
        .iter()
        .map(|&name| (name.to_owned(), u64::MAX))
        .collect()
}

#[test]
fn sensors_travel_and_go_first_if_there_is_no_room() {
    let mut source = tested("card", false);
    source.sensors = sensors(&["modules-present", "modules-healthy"]);
    let mut out = [0; 1117];
    of(vec![source.clone()]).encode_fitting(&mut out).unwrap();
    let read = Report::decode(&out).unwrap();
    assert_eq!(read.sources, [source.clone()]);
    let told = SourceReport {
        sensors: BTreeMap::new(),
        ..source.clone()
    };
    of(vec![told]).encode(&mut out).unwrap();
    // Room for all but the sensors.
    let room = 2 + usize::from(u16::from_be_bytes([out[0], out[1]]));
    let out = &mut out[..room];
    of(vec![source.clone()]).encode_fitting(out).unwrap();
    let read = Report::decode(out).unwrap();
    assert!(read.sources[0].sensors.is_empty());
    assert_eq!(read.sources[0].health, source.health);
}

#[test]
fn sensors_are_bounded_and_tamed() {
    let mut source = tested("card", false);
    source.health = None;
    let names: Vec<String> = (0..100)
        .map(|i| format!("{i:03}\x1b[{}", "x".repeat(50)))
        .collect();
    source.sensors = names.iter().map(|name| (name.clone(), 1)).collect();
    let mut out = vec![0; 10_000];
    of(vec![source]).encode(&mut out).unwrap();
    let read = Report::decode(&out).unwrap();
    let read = &read.sources[0].sensors;
    assert_eq!(read.len(), MOST_SENSORS);
    for (name, index) in read.keys().zip(0..) {
        assert_eq!(*name, format!("{index:03}[{}", "x".repeat(28)));
    }
}

#[test]
fn too_long_is_said() {
    let error = report().encode(&mut [0; 20]).unwrap_err().to_string();
    assert!(error.contains("does not fit in 20"), "{error}");
}

#[test]
fn unknown_fields_and_states_are_tolerated() {
    // {"collector": "9", "sources": [{"kind": "usb", "name": "x", "state": "dancing", "new": [1]}], "more": {}}
    let mut map = vec![0x83, 0xa9];
    map.extend(b"collector\xa19\xa7sources\x91\x84\xa4kind\xa3usb\xa4name\xa1x\xa5state\xa7dancing\xa3new\x91\x01\xa4more\x80");
    let mut bytes = (map.len() as u16).to_be_bytes().to_vec();
    bytes.extend(map);
    let report = Report::decode(&bytes).unwrap();
    assert_eq!(report.sources[0].kind, Kind::Usb);
    assert_eq!(report.sources[0].state, State::Unknown);
    assert_eq!(report.sources[0].serial, None);
}

#[test]
fn texts_cannot_steer_a_terminal() {
    let mut sent = report();
    sent.collector = "9\r\n".into();
    sent.sources[0].name = "a\x1b[2J\u{9b}b\u{7f}\u{202e}\u{2066}\u{2028}c é".into();
    sent.sources[0].serial = Some("\x07".into());
    sent.sources[1].name = "é".repeat(300);
    let mut out = [0; 1355];
    sent.encode(&mut out).unwrap();
    let read = Report::decode(&out).unwrap();
    assert_eq!(read.collector, "9");
    assert_eq!(read.sources[0].name, "a[2Jbc é");
    assert_eq!(read.sources[0].serial.as_deref(), Some(""));
    assert_eq!(read.sources[1].name, "é".repeat(LONGEST_TEXT));
}

#[test]
fn broken_reports_are_errors() {
    for bytes in [&[][..], &[0], &[0, 1], &[0, 0], &[0, 1, 0xc1], &[0xff; 64]] {
        assert!(Report::decode(bytes).is_err(), "{bytes:?}");
    }
}
