//! Gateways and their keys.

use super::*;

#[test]
fn a_wrong_gateway_is_told() {
    told(check(SOURCE), &["gateway", "there is none", "[[gateway]]"]);
    let address = |text: &str| {
        check(&format!(
            "{SOURCE}[[gateway]]\naddress = \"{text}\"\nkey = \"a\"\n"
        ))
    };
    told(
        address("gateway.example:4790"),
        &["gateway 1: address", "names are not looked up"],
    );
    told(address("192.0.2.1"), &["gateway 1: address", "ip:port"]);
    told(address("192.0.2.1:0"), &["no address that can be sent to"]);
    told(address("0.0.0.0:4790"), &["no address that can be sent to"]);
    told(address("[::]:4790"), &["no address that can be sent to"]);
    told(address("224.0.0.1:4790"), &["many hosts"]);
    told(address("255.255.255.255:4790"), &["many hosts"]);
    told(address("[ff02::1]:4790"), &["many hosts"]);
    let key = |text: &str| {
        check(&format!(
            "{SOURCE}[[gateway]]\naddress = \"192.0.2.1:1\"\nkey = \"{text}\"\n"
        ))
    };
    told(key("none"), &["gateway 1: key", "none", "qrng keygen"]);
    told(
        key("a-gateway"),
        &["gateway 1: key", "a-gateway", "swapped"],
    );
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let dir = keys();
    let key = dir.path().join("a");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    told(
        check_with(&dir, &format!("{SOURCE}{GATEWAY}"), None),
        &["gateway 1: key", "0640", "chmod 0600"],
    );
}

#[test]
fn no_two_gateways_share_anything() {
    let second = |name: &str, address: &str, key: &str| {
        amended(&format!(
            "[[gateway]]\nname = \"{name}\"\naddress = \"{address}\"\nkey = \"{key}\"\n"
        ))
    };
    assert!(second("two", "192.0.2.2:4790", "b").is_ok());
    told(
        second("two", "192.0.2.1:4790", "b"),
        &["gateway 2: address", "gateway 1 too"],
    );
    told(
        second("two", "[::ffff:192.0.2.1]:4790", "b"),
        &["gateway 2: address"],
    );
    told(
        second("two", "192.0.2.2:4790", "a"),
        &["gateway 2: key", "gateway 1 too"],
    );
    told(
        second("192.0.2.1:4790", "192.0.2.2:4790", "b"),
        &["gateway 2: name"],
    );
}

#[test]
fn the_environment_replaces_the_shared_key() {
    let dir = keys();
    let text = format!("{SOURCE}{GATEWAY}");
    let own = check_with(&dir, &text, None).unwrap();
    let hex = "0123456789abcdef".repeat(4);
    let replaced = check_with(&dir, &text, Some(&hex)).unwrap();
    let id = |config: &Config| config.gateways[0].key_id.clone();
    assert_ne!(id(&own), id(&replaced));
    told(
        check_with(&dir, &text, Some("secret")),
        &["QRNG_HMAC_SECRET_KEY", "64 hexadecimal digits"],
    );
    told(
        check_with(&dir, &text, Some("")),
        &["QRNG_HMAC_SECRET_KEY", "set and empty"],
    );
}
