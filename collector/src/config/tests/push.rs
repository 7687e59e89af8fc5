//! Gateways that are pushed to.

use super::*;

const PUSHED: &str = "[[gateway]]\nname = \"far\"\nkey = \"a\"\n[gateway.push]\nurl = \"https://gateway.example:8443\"\n\
                      api-key = \"push.key\"\nca-file = \"ca.pem\"\n";

/// Keys, and what pushing needs.
fn directory() -> TempDir {
    let dir = keys();
    let path = dir.path().join("push.key");
    fs::write(&path, "0123456789abcdef\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let authority = qrng_card::certificates::Authority::new("tests").unwrap();
    fs::write(dir.path().join("ca.pem"), authority.certificate()).unwrap();
    dir
}

fn check(text: &str) -> Result<Config, String> {
    check_with(&directory(), &format!("{SOURCE}{text}"), None)
}

#[test]
fn a_gateway_is_sent_to_or_pushed_to() {
    let config = check(&format!("{GATEWAY}{}", PUSHED.replace("\"a\"", "\"b\""))).unwrap();
    let [near, far] = &config.gateways[..] else {
        panic!("two gateways");
    };
    assert_eq!(near.reach, Reach::Udp("192.0.2.1:4790".parse().unwrap()));
    let Reach::Push(push) = &far.reach else {
        panic!("it is not pushed to");
    };
    assert_eq!(far.name, "far");
    assert_eq!(push.address.to_string(), "https://gateway.example:8443");
    assert_eq!((push.interval.as_millis(), push.queue), (100, 4 << 20));
    told(
        check(&PUSHED.replace(
            "[gateway.push]",
            "address = \"192.0.2.1:1\"\n[gateway.push]",
        )),
        &["gateway 1: address", "[gateway.push]"],
    );
    told(
        check("[[gateway]]\nkey = \"a\"\n"),
        &["gateway 1: address", "is missing"],
    );
    let twice = format!(
        "{PUSHED}{}",
        PUSHED.replace("\"a\"", "\"b\"").replace("far", "two")
    );
    told(check(&twice), &["gateway 2: url", "gateway 1 too"]);
}

#[test]
fn what_is_wrong_with_pushing_is_told() {
    let with = |from: &str, to: &str| check(&PUSHED.replace(from, to));
    let url = "https://gateway.example:8443";
    told(
        with(url, "http://gateway.example"),
        &["gateway 1: push.url", "not encrypted"],
    );
    told(with(url, "gateway.example"), &["push.url", "https://"]);
    told(with(url, "https://g/other"), &["push.url", "goes on"]);
    told(
        with("ca.pem", "none.pem"),
        &["gateway 1: push.ca-file", "none.pem"],
    );
    told(with("ca.pem", "a"), &["gateway 1: push.ca-file"]);
    told(
        with("push.key", "none.key"),
        &["gateway 1: push.api-key", "none.key"],
    );
    let more = |line: &str| check(&format!("{PUSHED}{line}\n"));
    told(more("interval = \"1 ms\""), &["push.interval", "10 ms"]);
    told(more("queue = \"1 KiB\""), &["push.queue", "256 KiB"]);
    assert!(more("interval = \"1 s\"\nqueue = \"16 MiB\"").is_ok());
    let dir = directory();
    let key = dir.path().join("push.key");
    fs::write(&key, "secret words\n").unwrap();
    let error = check_with(&dir, &format!("{SOURCE}{PUSHED}"), None).unwrap_err();
    assert!(
        error.contains("push.api-key") && !error.contains("secret"),
        "{error}"
    );
    fs::write(&key, "0123456789abcdef").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    told(
        check_with(&dir, &format!("{SOURCE}{PUSHED}"), None),
        &["push.api-key", "chmod 0600"],
    );
}

#[test]
fn the_environment_replaces_the_url() {
    let dir = directory();
    let given = |text: &str, url: &str| {
        let environment = Environment {
            push_url: Some(url.into()),
            ..Environment::default()
        };
        check_in(&dir, &format!("{SOURCE}{text}"), None, environment)
    };
    for url in ["https://192.0.2.7:444/push", "https://192.0.2.7:444/"] {
        let config = given(PUSHED, url).unwrap();
        assert_eq!(config.gateways[0].place(), "https://192.0.2.7:444");
    }
    let without = PUSHED.replace("url = \"https://gateway.example:8443\"\n", "");
    assert!(given(&without, "https://192.0.2.7:444").is_ok());
    told(
        check_with(&dir, &format!("{SOURCE}{without}"), None),
        &["push.url", "is missing"],
    );
    told(
        given(PUSHED, "http://192.0.2.7"),
        &["QRNG_GATEWAY_PUSH_URL", "not encrypted"],
    );
    told(
        given(GATEWAY, "https://192.0.2.7"),
        &["QRNG_GATEWAY_PUSH_URL", "there are 0 gateways"],
    );
}
