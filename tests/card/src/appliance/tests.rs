use super::*;

fn get(size: &str) -> String {
    format!("GET {PATH}?size={size} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn both_firmwares_give_the_stream_in_order() {
    for firmware in [Firmware::Raw, Firmware::Json] {
        let mut model = Appliance::new(firmware, 7);
        let mut bytes = Vec::new();
        for size in [100, 28] {
            let reply = model.answer(&get(&size.to_string()));
            assert_eq!(reply.status, 200);
            match firmware {
                Firmware::Raw => bytes.extend(reply.body),
                Firmware::Json => {
                    let text = String::from_utf8(reply.body).unwrap();
                    let inner = text.strip_prefix('[').unwrap().strip_suffix(']').unwrap();
                    bytes.extend(inner.split(", ").map(|n| n.parse::<u8>().unwrap()));
                }
            }
        }
        assert_eq!(bytes, Stream::new(7).bytes(0, 128));
        assert_eq!(model.ledger().good(model.stream()), bytes);
        model.violations().assert_none();
    }
}

#[test]
fn what_is_no_request_for_bytes_is_a_violation() {
    for request in [
        get("0"),
        get("1048577"),
        get("x"),
        get("5&size=5"),
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        format!("POST {PATH}?size=5 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        let mut model = Appliance::new(Firmware::Raw, 1);
        assert_eq!(model.answer(&request).status, 404, "{request}");
        assert_eq!(model.violations().count(), 1, "{request}");
        assert_eq!(model.ledger().produced(), 0);
    }
}

#[test]
fn faults_change_the_answer_and_are_in_the_books() {
    let mut model = Appliance::new(Firmware::Raw, 1);
    let first = model.answer(&get("64")).body;
    let mut with = |fault| {
        model.inject(fault).unwrap();
        let reply = model.answer(&get("64"));
        model.clear();
        (reply, model.ledger().pieces().last().unwrap().worth)
    };
    assert_eq!(with(Fault::Repeat).0.body, first);
    assert_eq!(with(Fault::WrongLength).0.body.len(), 63);
    assert_eq!(with(Fault::TooLong).1, Worth::Condemned);
    let (zeros, worth) = with(Fault::Zeros);
    assert_eq!((zeros.body, worth), (vec![0; 64], Worth::Altered));
    let (page, _) = with(Fault::Html);
    assert_eq!((page.status, page.kind), (200, "text/html"));
    let (moved, _) = with(Fault::Status(301));
    assert!(moved.location.is_some() && moved.status == 301);
    assert!(model.inject(Fault::Overflow).is_err());
    // The good bytes are those of the first answer.
    assert_eq!(model.ledger().good(model.stream()), first);
}
