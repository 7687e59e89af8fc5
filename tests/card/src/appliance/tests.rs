use super::*;

fn unlimited(json: bool) -> Appliance {
    let rate = Rate::Unlimited;
    let mut appliance = Appliance::new(ApplianceConfig {
        rate,
        json,
        ..Default::default()
    });
    appliance.advance(Duration::from_secs(1));
    appliance
}

fn get(appliance: &mut Appliance, target: &str) -> Answer {
    appliance.answer(&format!("/api/2.0/{target}")).unwrap()
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

/// The items of a JSON array without strings that hold commas.
fn items(answer: &Answer) -> Vec<String> {
    assert_eq!((answer.status, answer.kind), (200, "application/json"));
    let inner = text(answer)
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'));
    inner.unwrap().split(',').map(str::to_owned).collect()
}

#[test]
fn bytes_are_the_stream_in_each_form() {
    let mut appliance = unlimited(false);
    let raw = get(&mut appliance, "streambytes?size=1000");
    assert_eq!((raw.status, raw.kind), (200, "application/octet-stream"));
    assert_eq!(raw.body, appliance.stream().bytes(0, 1000));
    let hex = items(&get(&mut appliance, "hexbytes?quantity=3&dataLength=1"));
    let expected = appliance.stream().bytes(1000, 3);
    let expected: Vec<_> = expected.iter().map(|b| format!("\"{b:02x}\"")).collect();
    assert_eq!(hex, expected);
    let hex = items(&get(&mut appliance, "hexbytes?quantity=2&dataLength=4"));
    assert_eq!(hex.iter().map(String::len).collect::<Vec<_>>(), [10, 10]);

    let mut appliance = unlimited(true);
    let array = items(&get(&mut appliance, "streambytes?size=100"));
    let array: Vec<u8> = array.iter().map(|n| n.parse().unwrap()).collect();
    assert_eq!(array, appliance.stream().bytes(0, 100));
    assert_eq!(appliance.requests(), 1);
    appliance.violations().assert_none();
}

#[test]
fn numbers_are_within_their_bounds() {
    let mut appliance = unlimited(false);
    for kind in ["short", "int", "double", "float"] {
        let target = format!("{kind}?min=-5&max=5&quantity=500");
        let numbers = items(&get(&mut appliance, &target));
        let numbers: Vec<f64> = numbers.iter().map(|n| n.parse().unwrap()).collect();
        assert_eq!(numbers.len(), 500);
        assert!(numbers.iter().all(|n| (-5.0..=5.0).contains(n)), "{kind}");
        for half in [-5.0..0.0, 0.0..5.1] {
            assert!(numbers.iter().any(|n| half.contains(n)), "{kind} {half:?}");
        }
    }
    let worths: Vec<_> = appliance
        .ledger()
        .pieces()
        .iter()
        .map(|p| p.worth)
        .collect();
    assert_eq!(worths, [Worth::Altered]);
}

#[test]
fn what_makes_no_sense_is_a_bad_query_and_another_path_a_violation() {
    let mut appliance = unlimited(false);
    for target in [
        "streambytes",
        "streambytes?size=",
        "streambytes?size=0",
        "streambytes?size=-1",
        "streambytes?size=1048577",
        "hexbytes?quantity=1",
        "hexbytes?quantity=1048576&dataLength=1048576",
        "short?min=0&max=70000&quantity=1",
        "int?min=2&max=1&quantity=1",
        "double?min=0&max=inf&quantity=1",
        "float?min=0&max=NaN&quantity=1",
    ] {
        assert_eq!(get(&mut appliance, target).status, 400, "{target}");
    }
    appliance.violations().assert_none();
    for target in ["/", "/api/1.0/streambytes?size=1", "/api/2.0/bytes?size=1"] {
        assert_eq!(appliance.answer(target).unwrap().status, 404);
    }
    assert_eq!(appliance.violations().count(), 3);
}

#[test]
fn a_request_waits_until_there_are_bytes() {
    let mut appliance = Appliance::new(ApplianceConfig::default());
    let target = "/api/2.0/streambytes?size=8192";
    appliance.advance(Duration::from_millis(100));
    assert_eq!(appliance.answer(target), None);
    appliance.advance(Duration::from_millis(103));
    assert_eq!(appliance.answer(target).unwrap().body.len(), 8192);
    assert_eq!(appliance.answer(target), None);
    appliance.inject(Fault::Slow(8)).unwrap();
    appliance.advance(Duration::from_secs(100));
    assert_eq!(appliance.answer(target), None);
}

#[test]
fn faults_are_answered_as_the_reference_fears() {
    let mut appliance = unlimited(false);
    let target = "streambytes?size=100";
    appliance.inject(Fault::Html).unwrap();
    let page = get(&mut appliance, target);
    assert_eq!((page.status, page.kind), (200, "text/html"));
    assert!(text(&page).starts_with("<!DOCTYPE html>"));
    appliance.clear();
    appliance.inject(Fault::WrongLength).unwrap();
    assert_eq!(get(&mut appliance, target).body.len(), 50);
    appliance.clear();
    let worth = |appliance: &Appliance| appliance.ledger().pieces().last().unwrap().worth;
    assert_eq!(worth(&appliance), Worth::Condemned);
    appliance.inject(Fault::TooLong).unwrap();
    let long = get(&mut appliance, target).body;
    assert_eq!((long.len(), worth(&appliance)), (101, Worth::Condemned));
    appliance.clear();
    appliance.inject(Fault::Repeat).unwrap();
    assert_eq!(get(&mut appliance, target).body, long);
    appliance.clear();
    appliance.inject(Fault::Status(301)).unwrap();
    let moved = get(&mut appliance, target);
    assert_eq!((moved.status, moved.location), (301, Some(ELSEWHERE)));
    appliance.clear();
    appliance.inject(Fault::Zeros).unwrap();
    assert_eq!(get(&mut appliance, target).body, [0; 100]);
    appliance.clear();
    for (fault, delivery) in [
        (Fault::Drip, Delivery::Drip),
        (Fault::Short, Delivery::Broken),
    ] {
        appliance.inject(fault).unwrap();
        assert_eq!(get(&mut appliance, target).delivery, delivery);
        appliance.clear();
    }
    for fault in [Fault::Hang, Fault::Gone] {
        appliance.inject(fault).unwrap();
        assert_eq!(appliance.answer("/api/2.0/systeminfo"), None);
        assert_eq!(appliance.gone(), fault == Fault::Gone);
        appliance.clear();
    }
    assert!(text(&get(&mut appliance, "systeminfo")).contains("QA-180042"));
    assert!(text(&get(&mut appliance, "firmwareinfo")).contains("version"));
    for fault in [
        Fault::Overflow,
        Fault::ModuleFails(0),
        Fault::PacketError(0),
    ] {
        assert_eq!(appliance.inject(fault), Err(FaultError::NotHere(fault)));
    }
    appliance.violations().assert_none();
}
