use super::*;
use crate::testing::rng;

fn pair() -> (String, String) {
    let (gateway, collector, _) = generate(&mut rng(1));
    (gateway.to_string(), collector.to_string())
}

fn gateway_error(text: &str) -> String {
    GatewayKey::parse(text).unwrap_err().to_string()
}

#[test]
fn a_pair_reads_back() {
    let (gateway, collector, id) = generate(&mut rng(1));
    assert_eq!(GatewayKey::parse(&gateway).unwrap().key_id(), id);
    assert_eq!(CollectorKey::parse(&collector).unwrap().key_id(), id);
    assert!(gateway.len() < gateway.capacity());
    assert!(collector.len() < collector.capacity());
    // Windows line ends, comments and empty lines do no harm.
    let edited = gateway
        .replace('\n', "\r\n")
        .replace("role", "\n# note\n  role");
    assert_eq!(GatewayKey::parse(&edited).unwrap().key_id(), id);
}

#[test]
fn debug_shows_the_id_alone() {
    let (gateway, collector, id) = generate(&mut rng(1));
    assert_eq!(
        format!("{:?}", GatewayKey::parse(&gateway).unwrap()),
        format!("GatewayKey({id})")
    );
    assert_eq!(
        format!("{:?}", CollectorKey::parse(&collector).unwrap()),
        format!("CollectorKey({id})")
    );
}

#[test]
fn another_psk_gives_another_id_on_both_sides() {
    let (gateway, collector) = pair();
    let psk = parse_psk_hex(&"0123456789abcdef".repeat(4)).unwrap();
    let before = GatewayKey::parse(&gateway).unwrap().key_id();
    let gateway = GatewayKey::parse(&gateway).unwrap().with_psk(psk.clone());
    let collector = CollectorKey::parse(&collector).unwrap().with_psk(psk);
    assert_eq!(gateway.key_id(), collector.key_id());
    assert_ne!(gateway.key_id(), before);
}

#[test]
fn swapped_files_are_told_in_words() {
    let (gateway, collector) = pair();
    let error = gateway_error(&collector);
    assert!(
        error.contains("the collector's key file, and the gateway's is needed"),
        "{error}"
    );
    let error = CollectorKey::parse(&gateway).unwrap_err().to_string();
    assert!(
        error.contains("the gateway's key file, and the collector's is needed"),
        "{error}"
    );
}

#[test]
fn each_fault_names_its_line() {
    let (gateway, _) = pair();
    let psk = gateway.lines().last().unwrap();
    for (text, words) in [
        (String::new(), "line 1: this is no key file"),
        (
            gateway.replace("qrng-key-1", "qrng-key-9"),
            "line 2: this is no key file",
        ),
        (
            gateway.replace("role gateway", "role"),
            "line 3: expected a name and a value",
        ),
        (
            gateway.replace("role gateway", "role both"),
            "line 3: the role must be",
        ),
        (gateway.replace("role gateway\n", ""), "`role` is missing"),
        (
            gateway.replace("psk", "PSK"),
            "line 6: `PSK` is not an entry of a gateway's",
        ),
        (
            format!("{gateway}{psk}\n"),
            "line 7: `psk` appears a second time",
        ),
        (gateway.replace(psk, ""), "`psk` is missing"),
        (
            gateway.replace(psk, "psk 00ff"),
            "line 6: `psk` must be 64 hexadecimal digits",
        ),
        (
            gateway.replace(psk, &format!("psk {}", "0g".repeat(32))),
            "line 6: `psk` must be 64",
        ),
        (
            gateway.replace(psk, &format!("psk {}", "00".repeat(32))),
            "`psk` is no usable key",
        ),
        (
            gateway.replace(psk, &format!("psk {}", "01ab".repeat(16))),
            "the keys belong to key id",
        ),
        (
            format!("{gateway}public-key 00\n"),
            "line 7: `public-key` is not an entry",
        ),
    ] {
        let error = gateway_error(&text);
        assert!(error.contains(words), "wanted {words:?}, got {error:?}");
    }
}

#[test]
fn errors_quote_no_key() {
    let (gateway, _) = pair();
    let secret = gateway
        .lines()
        .find_map(|line| line.strip_prefix("private-key "))
        .unwrap();
    let damaged = gateway.replace(secret, &secret[..63]);
    assert!(!gateway_error(&damaged).contains(&secret[..8]));
    // A secret on a line of its own is taken for a name: only a name with a value is quoted, and not whole.
    let damaged = gateway.replace("private-key ", "");
    assert!(!gateway_error(&damaged).contains(&secret[..8]));
    let damaged = gateway.replace("private-key ", "private-key\n");
    assert!(!gateway_error(&damaged).contains(&secret[..8]));
}

#[test]
fn a_psk_by_itself() {
    assert!(parse_psk_hex(&format!(" {}\n", "0123456789ABCDEF".repeat(4))).is_ok());
    assert_eq!(parse_psk_hex("0123"), Err(KeyError::Psk));
    assert_eq!(parse_psk_hex(&"é".repeat(32)), Err(KeyError::Psk));
    assert_eq!(
        parse_psk_hex(&"00".repeat(32)),
        Err(KeyError::Unusable { name: "psk" })
    );
}
