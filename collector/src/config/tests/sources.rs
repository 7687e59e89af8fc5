//! What reads a source: settings of the simulator, of nodes and of USB cards.

use super::*;

#[test]
fn a_wrong_source_is_told() {
    let source = |text: &str| check(&format!("[source]\n{text}\n{GATEWAY}"));
    told(
        source("kind = \"node\""),
        &["collector.toml: source.path", "missing", "/dev/qrandom0"],
    );
    told(
        source("kind = \"node\"\npath = \"/dev/x\"\nrate = 5"),
        &["source.rate", "remove it"],
    );
    told(
        source("kind = \"simulator\"\npath = \"/dev/x\""),
        &["source.path", "remove it"],
    );
    told(
        source("kind = \"simulator\"\nrate = \"pcie-5m\""),
        &["source.rate", "pcie-4m", "unlimited"],
    );
    told(
        source("kind = \"simulator\"\nrate = 0"),
        &["source.rate", "is zero"],
    );
    told(
        source("kind = \"simulator\"\nname = \"\""),
        &["source.name", "1 to 128"],
    );
    assert!(
        source("kind = \"quantum\"")
            .unwrap_err()
            .contains("unknown variant `quantum`")
    );
}

#[test]
fn rates_of_cards_are_known_by_name() {
    for (text, rate) in [
        ("pcie-4m", 500_000),
        ("pcie-16m", 2_000_000),
        ("chip-40m", 5_000_000),
        ("chip-240m", 30_000_000),
        ("usb-4m", 500_000),
        ("16 Mbit/s", 2_000_000),
    ] {
        assert_eq!(simulator_rate(text), Ok(NonZeroU64::new(rate)), "{text}");
    }
    assert_eq!(simulator_rate("unlimited"), Ok(None));
}

#[test]
fn a_usb_card_is_named_by_its_serial_number_or_not_at_all() {
    let source = |text: &str| check(&format!("[source]\nkind = \"usb\"\n{text}\n{GATEWAY}"));
    let config = source("serial = \"0123A\"").unwrap();
    let serial = Some("0123A".to_owned());
    assert_eq!(config.sources[0].driver, Driver::Usb { serial });
    assert_eq!(config.sources[0].name, "usb 0123A");
    let only = source("name = \"left\"").unwrap();
    assert_eq!(only.sources[0].driver, Driver::Usb { serial: None });
    assert_eq!(only.sources[0].name, "left");
    // Its samples are raw, so an extractor makes sense without more words.
    let conditioned = "[source.conditioning]\nmethod = \"von-neumann\"\nindependent-bits = true";
    source(conditioned).unwrap();
    for (text, word) in [
        ("serial = \"\"", "source.serial"),
        ("serial = \"a\\u0007\"", "source.serial"),
        ("path = \"/dev/x\"", "source.path"),
        ("rate = 5", "source.rate"),
        ("[source.health]\nenabled = false", "source.health.enabled"),
    ] {
        told(source(text), &[word]);
    }
    let node = "kind = \"node\"\npath = \"/dev/x\"\nserial = \"A\"";
    let node = check(&format!("[source]\n{node}\n{GATEWAY}"));
    told(node, &["source.serial", "usb"]);

    let several = |serials: [&str; 2]| {
        let each = ["a", "b"].iter().zip(serials).map(|(name, serial)| {
            format!("[[source]]\nkind = \"usb\"\nname = \"{name}\"\ngroup = \"{name}\"\n{serial}\n")
        });
        let sources: String = each.collect();
        check(&format!("{sources}[combine]\nmethod = \"xor\"\n{GATEWAY}"))
    };
    several(["serial = \"A\"", "serial = \"B\""]).unwrap();
    told(
        several(["serial = \"A\"", "serial = \"A\""]),
        &["combine", "one device"],
    );
    // The one that is not named may be the other.
    told(
        several(["serial = \"A\"", ""]),
        &["source", "serial number"],
    );
}
