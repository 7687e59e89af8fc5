use super::*;

/// Bytes of all values, such as no text has.
fn noise(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 151 + 128) as u8).collect()
}

fn taken(body: &[u8], size: usize) -> Result<Vec<u8>, Failure> {
    let mut out = vec![0; size];
    take(body, &mut out).map(|()| out)
}

/// The failure, whose text must contain all of `words`.
fn refused(result: Result<Vec<u8>, Failure>, fault: Fault, words: &[&str]) {
    let failure = result.unwrap_err();
    assert_eq!(failure.fault, fault, "{failure}");
    for word in words {
        assert!(failure.text.contains(word), "{word} is not in: {failure}");
    }
}

#[test]
fn raw_bytes_and_arrays_are_the_same_bytes() {
    let bytes = noise(256);
    assert_eq!(taken(&bytes, 256).unwrap(), bytes);
    let array = serde_json::to_string(&bytes).unwrap();
    assert_eq!(taken(array.as_bytes(), 256).unwrap(), bytes);
    let pretty = serde_json::to_string_pretty(&bytes).unwrap();
    let pretty = format!("\r\n{pretty}\n");
    assert!(pretty.len() <= longest(256));
    assert_eq!(taken(pretty.as_bytes(), 256).unwrap(), bytes);
}

#[test]
fn wrong_lengths_are_refused() {
    let words = ["256 were asked for"];
    refused(taken(&noise(255), 256), Fault::Short, &words);
    refused(taken(&[], 256), Fault::Short, &["gave 0 bytes"]);
    refused(taken(&noise(257), 256), Fault::Nonsense, &words);
    let array = |count| serde_json::to_vec(&noise(count)).unwrap();
    refused(taken(&array(255), 256), Fault::Short, &["gave 255 bytes"]);
    refused(taken(&array(257), 256), Fault::Nonsense, &["gave 257"]);
    refused(taken(b"[]", 256), Fault::Short, &["gave 0 bytes"]);
    // An array that has as many characters as bytes were asked for is no raw answer.
    let array = array(64);
    refused(taken(&array, array.len()), Fault::Short, &["gave 64"]);
}

#[test]
fn arrays_of_anything_else_are_refused() {
    for body in [
        "[256]",
        "[1,,2]",
        "[1 2]",
        "[1,2,]",
        "[99999999999999999999999]",
    ] {
        let result = taken(body.as_bytes(), 2);
        refused(result, Fault::Nonsense, &["no array of bytes", "firmware"]);
    }
    for body in [
        "[-1,2]",
        "[1.5,2]",
        "[\"ab\",\"cd\"]",
        "{\"bytes\":[1,2]}",
        "[[1,2]]",
    ] {
        refused(taken(body.as_bytes(), 2), Fault::Nonsense, &["text"]);
    }
}

#[test]
fn text_is_refused_whatever_its_length() {
    let page = "<!DOCTYPE html>\n<title>Log in</title><p>Who are you?</p>";
    for size in [64, page.len(), 4096] {
        refused(
            taken(page.as_bytes(), size),
            Fault::Nonsense,
            &["\"<!DOCTYPE html> <title>Log in</title>", "browser"],
        );
    }
    let mut latin = b" <HTML><body>Zug\xe4nglich".to_vec();
    latin.resize(64, 0xe4);
    refused(taken(&latin, 64), Fault::Nonsense, &["<HTML><body>Zug"]);
    let steering = format!("\u{1b}[2J{}", "x".repeat(100));
    let shown = taken(steering.as_bytes(), 64).unwrap_err().text;
    assert!(
        !shown.contains('\u{1b}') && shown.contains("..."),
        "{shown}"
    );
}

#[test]
fn equal_bytes_are_refused() {
    for byte in [0, b' ', b'a', 0xff] {
        let words = format!("64 bytes that are all {byte:#04x}");
        refused(taken(&[byte; 64], 64), Fault::Nonsense, &[&words]);
    }
    let zeros = serde_json::to_vec(&vec![0; 64]).unwrap();
    refused(taken(&zeros, 64), Fault::Nonsense, &["all 0x00"]);
    let mut almost = [0xff; 64];
    almost[63] = 0xfe;
    assert!(taken(&almost, 64).is_ok());
}

#[test]
fn heads_tell_what_cannot_be_bytes() {
    let good = Head {
        status: 200,
        length: Some(4096),
        encoding: Some("Identity"),
        ..Head::default()
    };
    assert!(good.check(4096).is_ok());
    let told = |head: Head<'_>, fault, words: &[&str]| {
        refused(head.check(4096).map(|()| vec![]), fault, words);
    };
    let of = |status| Head {
        status,
        location: Some("https://elsewhere.example/\u{7}"),
        ..Head::default()
    };
    told(
        of(301),
        Fault::Unavailable,
        &[
            "\"https://elsewhere.example/\\u{7}\"",
            "not followed",
            "urls",
        ],
    );
    told(of(403), Fault::Unavailable, &["client-certificate"]);
    told(of(404), Fault::Unavailable, &["/api/2.0/streambytes"]);
    told(of(503), Fault::Unhealthy, &["status page"]);
    told(of(204), Fault::Nonsense, &["204"]);
    let long = |length| Head {
        status: 200,
        length: Some(length),
        ..Head::default()
    };
    assert!(long(100).check(4096).is_ok());
    told(long(u64::MAX), Fault::Nonsense, &["4096 were asked for"]);
    let packed = Head {
        status: 200,
        encoding: Some("gzip"),
        ..Head::default()
    };
    told(packed, Fault::Nonsense, &["gzip"]);
}
