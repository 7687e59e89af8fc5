use super::*;

fn source(text: &str) -> Result<Config, String> {
    check(&format!("[source]\nkind = \"pcie\"\n{text}\n{GATEWAY}"))
}

#[test]
fn a_module_card_needs_no_settings() {
    let config = source("").unwrap();
    assert_eq!(config.sources[0].driver, Driver::Pcie { device: None });
    assert_eq!(config.sources[0].name, "module card");
    assert!(config.sources[0].health.is_some());
    let config = source("device = \"03:00.0\"").unwrap();
    let device = Some("0000:03:00.0".parse().unwrap());
    assert_eq!(config.sources[0].driver, Driver::Pcie { device });
    assert_eq!(config.sources[0].name, "module card 0000:03:00.0");
}

#[test]
fn wrong_settings_of_a_module_card_are_told() {
    told(
        source("device = \"/dev/qrandom0\""),
        &["source.device", "is no PCI address", "lspci -D -d 179a:"],
    );
    told(
        source("path = \"/dev/x\""),
        &["source.path", "device names"],
    );
    told(source("rate = 5"), &["source.rate", "send.rate"]);
    told(
        source("mode = \"rng\""),
        &["source.mode", "kind = \"xdma\""],
    );
    told(
        source("[source.health]\nenabled = false"),
        &["source.health.enabled", "always tested"],
    );
    let node = "[source]\nkind = \"node\"\npath = \"/dev/x\"\ndevice = \"03:00.0\"\n";
    told(
        check(&format!("{node}{GATEWAY}")),
        &["source.device", "kind = \"pcie\"", "remove it"],
    );
}

#[test]
fn its_bytes_are_raw_samples() {
    let dir = keys();
    let seed: Vec<u8> = (0..224).collect();
    fs::write(dir.path().join("seed"), seed).unwrap();
    let text = |more: &str| {
        format!(
            "[source]\nkind = \"pcie\"\n{more}\n[source.conditioning]\n\
             method = \"toeplitz\"\nfile = \"seed\"\n{GATEWAY}"
        )
    };
    let config = check_with(&dir, &text(""), None).unwrap();
    assert!(config.sources[0].claim.after > config.sources[0].claim.before);
    told(
        check_with(&dir, &text("processing = \"post-processed\""), None),
        &["source.conditioning", "conditions its output itself"],
    );
}

#[test]
fn several_module_cards_are_named() {
    let two = |first: &str, second: &str| {
        check(&format!(
            "[[source]]\nkind = \"pcie\"\nname = \"a\"\ngroup = \"a\"\n{first}\n\
             [[source]]\nkind = \"pcie\"\nname = \"b\"\ngroup = \"b\"\n{second}\n\
             [combine]\nmethod = \"interleave\"\n{GATEWAY}"
        ))
    };
    let (left, right) = ("device = \"03:00.0\"", "device = \"04:00.0\"");
    assert_eq!(two(left, right).unwrap().sources.len(), 2);
    told(two(left, ""), &["`b` names no device", "0000:03:00.0"]);
    told(
        two(left, "device = \"0000:03:00.0\""),
        &["combine", "one device"],
    );
}

#[test]
fn a_module_card_and_a_chip_card_are_two() {
    let two = |first: &str, second: &str| {
        check(&format!(
            "[[source]]\nkind = \"pcie\"\nname = \"a\"\ngroup = \"a\"\n{first}\n\
             [[source]]\nkind = \"xdma\"\nname = \"b\"\ngroup = \"b\"\n{second}\n\
             [combine]\nmethod = \"xor\"\n{GATEWAY}"
        ))
    };
    assert_eq!(two("", "").unwrap().sources.len(), 2);
    let device = "device = \"03:00.0\"";
    told(two(device, device), &["combine", "one device"]);
}
