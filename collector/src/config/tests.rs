use std::fs;
use std::os::unix::fs::PermissionsExt;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use qrng::condition::Method;
use qrng::health::Settings;
use qrng_daemon::{Psk, parse_toml};
use tempfile::TempDir;

use super::sending::segments;
use super::sources::simulator_rate;
use super::*;

mod appliance;
mod pcie;
mod xdma;

/// A directory with collector keys `a`, `b` and the gateway's half of `a`.
fn keys() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let mut rng = UnwrapErr(SysRng);
    let (gateway, collector, _) = qrng::keys::generate(&mut rng);
    write("a", &collector);
    write("a-gateway", &gateway);
    let (_, collector, _) = qrng::keys::generate(&mut rng);
    write("b", &collector);
    dir
}

fn check_with(dir: &TempDir, text: &str, psk: Option<&str>) -> Result<Config, String> {
    check_in(dir, text, psk, Environment::default())
}

/// The same in an environment.
fn check_in(
    dir: &TempDir,
    text: &str,
    psk: Option<&str>,
    environment: Environment,
) -> Result<Config, String> {
    let file = dir.path().join("collector.toml");
    let raw = parse_toml(&file, text).map_err(|e| e.to_string())?;
    let psk = psk.map_or(Psk::unset(), Psk::from);
    let given = Given {
        file: &file,
        raw,
        keys: &|files| Ok(crate::sender::check_keys(files, &psk)),
        environment,
    };
    Config::try_from(given).map_err(|e| e.to_string())
}

fn check(text: &str) -> Result<Config, String> {
    check_with(&keys(), text, None)
}

const SOURCE: &str = "[source]\nkind = \"simulator\"\n";
const GATEWAY: &str = "[[gateway]]\naddress = \"192.0.2.1:4790\"\nkey = \"a\"\n";

fn amended(more: &str) -> Result<Config, String> {
    check(&format!("{SOURCE}{GATEWAY}{more}"))
}

/// The one problem of a configuration, which must name all of `words`.
fn told(result: Result<Config, String>, words: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(!error.contains("  "), "spaces of the source: {error}");
    for word in words {
        assert!(error.contains(word), "{word} is not in: {error}");
    }
}

#[test]
fn a_short_configuration_has_sensible_defaults() {
    let config = amended("").unwrap();
    assert_eq!(config.state_directory, Path::new("/var/lib/qrng-collector"));
    assert_eq!(config.runtime_directory, Path::new("/run/qrng-collector"));
    assert_eq!(config.sources[0].name, "simulator pcie-16m");
    let rate = NonZeroU64::new(2_000_000);
    assert_eq!(config.sources[0].driver, Driver::Simulator { rate });
    assert_eq!(config.gateways[0].name, "192.0.2.1:4790");
    assert_eq!(
        config.send,
        SendConfig {
            data_size: 1356,
            rate: None,
            burst: 262_144,
            segments: 45,
        }
    );
    assert_eq!(config.send.block(), 60_975);
    assert_eq!(config.send.batch(), 65_340);
}

#[test]
fn everything_can_be_given() {
    let config = check(
        r#"
        state-directory = "state"
        runtime-directory = "/run/x"
        [source]
        kind = "node"
        name = "left card"
        path = "/dev/qrandom0"
        [[gateway]]
        name = "one"
        address = "192.0.2.1:4790"
        key = "a"
        [[gateway]]
        name = "two"
        address = "[2001:db8::1]:4790"
        key = "b"
        [send]
        data-size = "1 KiB"
        rate = "40 MB/s"
        burst = 65536
        "#,
    )
    .unwrap();
    assert!(config.state_directory.is_absolute());
    assert_eq!(config.sources[0].name, "left card");
    let path = "/dev/qrandom0".into();
    assert_eq!(config.sources[0].driver, Driver::Node { path });
    assert_eq!(config.gateways.len(), 2);
    assert_eq!(config.send.data_size, 1024);
    assert_eq!(config.send.rate, NonZeroU64::new(40_000_000));
    assert_eq!(config.send.burst, 65_536);
}

#[test]
fn the_shipped_sample_is_good() {
    let dir = keys();
    let text = include_str!("../../../config/collector.toml");
    let key = dir.path().join("a").display().to_string();
    let text = text.replace("/etc/qrng/collector.key", &key);
    let config = check_with(&dir, &text, None).unwrap();
    assert!(matches!(config.sources[0].driver, Driver::Node { .. }));
    // Its commented settings are the defaults, so they can stand as they are.
    let is_setting = |text: &str| {
        let key = text.split_once(" = ").map_or("", |(key, _)| key);
        key.ends_with(|c: char| c.is_ascii_lowercase()) && !key.contains(' ')
    };
    let settings = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(setting) if is_setting(setting) && !setting.contains("pcie-16m") => setting,
        _ => line,
    });
    let all = settings.collect::<Vec<_>>().join("\n");
    let config_all = check_with(&dir, &all, None).unwrap();
    assert_eq!(config_all.send, config.send);
    assert_eq!(config_all.state_directory, config.state_directory);
    assert_eq!(config_all.runtime_directory, config.runtime_directory);
}

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
fn wrong_settings_for_sending_are_told() {
    told(
        amended("[send]\ndata-size = 17\n"),
        &["send.data-size", "give 18 to 1376"],
    );
    told(
        amended("[send]\ndata-size = 1377\n"),
        &["send.data-size", "IPv4"],
    );
    told(
        check(&format!(
            "{SOURCE}[[gateway]]\naddress = \"[::1]:1\"\nkey = \"a\"\n[send]\ndata-size = 1376\n"
        )),
        &["send.data-size", "IPv6", "give 18 to 1356"],
    );
    told(
        amended("[send]\nrate = \"fast\"\n"),
        &["send.rate", "unlimited"],
    );
    told(
        amended("[send]\nrate = \"15999 B/s\"\n"),
        &["send.rate", "at least 16000"],
    );
    told(
        amended("[send]\nburst = 1479\n"),
        &["send.burst", "at least 1480"],
    );
    told(amended("[send]\nburst = \"1 Mi\"\n"), &["send.burst", "Mi"]);
    let error = amended("[send]\nbursts = 1\n").unwrap_err();
    assert!(error.contains("unknown field `bursts`"), "{error}");
    let error = amended("[send]\nrate = true\n").unwrap_err();
    assert!(error.contains("whole number"), "{error}");
}

#[test]
fn all_problems_are_told_at_once() {
    let error = check("[source]\nkind = \"node\"\n[send]\nrate = \"x\"\nburst = 1\n").unwrap_err();
    for word in [
        "source.path",
        "gateway: there is none",
        "send.rate",
        "send.burst",
    ] {
        assert!(error.contains(word), "{word} is not in: {error}");
    }
    assert_eq!(error.lines().count(), 4, "{error}");
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

#[test]
fn batches_suit_the_pace() {
    let rate = NonZeroU64::new;
    assert_eq!(segments(1452, 1480, None, 0), 45);
    assert_eq!(segments(114, 142, None, 0), 64);
    assert_eq!(segments(1452, 1480, rate(40_000_000), 262_144), 45);
    assert_eq!(segments(1452, 1480, rate(40_000_000), 14_800), 10);
    assert_eq!(segments(1452, 1480, rate(1_000_000), 262_144), 6);
    assert_eq!(segments(1452, 1480, rate(16_000), 262_144), 1);
}

/// A configuration whose `[source]` section ends with these settings.
fn source(more: &str) -> Result<Config, String> {
    check(&format!(
        "[source]\nkind = \"simulator\"\n{more}\n{GATEWAY}"
    ))
}

#[test]
fn health_tests_are_on_and_hold_a_source_to_its_claims() {
    let config = source("").unwrap();
    let health = config.sources[0].health.clone().unwrap();
    assert_eq!(health, Settings::new("simulator pcie-16m"));
    let config = source(
        "[source.health]\nentropy-per-bit = 0.9\nuniform = false\nblock-size = \"8 KiB\"\n\
         expected-rate = \"2 MB/s\"",
    );
    let health = config.unwrap().sources[0].health.clone().unwrap();
    assert_eq!(
        (health.entropy_per_bit, health.entropy_per_byte),
        (0.9, 7.2)
    );
    assert_eq!((health.uniform, health.block_bytes), (false, 8192));
    assert_eq!(health.expected_rate, Some(2_000_000));

    let health = |text: &str| source(&format!("[source.health]\n{text}"));
    told(
        health("enabled = false"),
        &["source.health.enabled", "always tested"],
    );
    told(
        health("entropy-per-bit = 1.5"),
        &["source.health", "at most 1"],
    );
    told(
        health("block-size = 5000"),
        &["source.health", "8, 16, 32 or 64 KiB"],
    );
    told(
        health("expected-rate = 0"),
        &["source.health", "expected rate of 0"],
    );
    told(
        health("expected-rate = \"fast\""),
        &["source.health.expected-rate"],
    );
    told(
        health(&format!(
            "expected-rate = \"2 MB/s\"\n{GATEWAY_TWO}[send]\nrate = \"1 MB/s\""
        )),
        &["send.rate", "expected rate of 2000000"],
    );
}

const GATEWAY_TWO: &str = "[[gateway]]\naddress = \"192.0.2.9:4790\"\nkey = \"b\"\n";

#[test]
fn senseless_conditioning_is_refused_with_words() {
    let by = |text: &str| source(&format!("[source.conditioning]\n{text}"));
    told(
        by("method = \"von-neumann\""),
        &["source.conditioning", "independent bits"],
    );
    let config = by("method = \"von-neumann\"\nindependent-bits = true").unwrap();
    assert_eq!(config.sources[0].claim.after, 0.999);
    told(
        by("method = \"toeplitz\""),
        &["source.conditioning.file", "missing"],
    );
    told(
        by("method = \"matrix\"\nfile = \"none\""),
        &["conditioning.file", "none", "No such"],
    );
    // A key file is no matrix.
    told(
        by("method = \"matrix\"\nfile = \"a\""),
        &["conditioning.file", "needs 98304 bytes"],
    );
    told(
        by("method = \"toeplitz\"\nfile = \"a\""),
        &["conditioning.file", "must have 224"],
    );
    told(
        by("method = \"toeplitz\"\nfile = \"a\"\noutput-bits = 960"),
        &["source.conditioning", "within 2^"],
    );
    told(
        by("method = \"matrix\"\noutput-bits = 1024"),
        &["fewer bits than it takes in"],
    );
    told(
        by("method = \"matrix\"\ninput-bits = 1000"),
        &["multiples of 64"],
    );
    told(
        by("file = \"a\""),
        &["source.conditioning.file", "no meaning"],
    );
    let low =
        "[source.health]\nentropy-per-bit = 0.7\n[source.conditioning]\nmethod = \"toeplitz\"";
    told(source(low), &["768 bits for 716.8 bits of min-entropy"]);
    let toeplitz = "[source.conditioning]\nmethod = \"toeplitz\"\nfile = \"a\"";
    told(
        source(&format!("processing = \"post-processed\"\n{toeplitz}")),
        &["source.conditioning", "conditions its output itself"],
    );
    let node = format!("[source]\nkind = \"node\"\npath = \"/dev/x\"\n{toeplitz}\n{GATEWAY}");
    told(check(&node), &["source.processing", "raw samples"]);
}

#[test]
fn an_hmac_conditions_if_enough_entropy_goes_in() {
    let by = |more: &str| source(&format!("[source.conditioning]\nmethod = \"hmac\"\n{more}"));
    let source_of = |config: Result<Config, String>| config.unwrap().sources.remove(0);
    let default = source_of(by(""));
    assert_eq!(
        default.conditioning.method(),
        Method::Hmac { input_len: 64 }
    );
    assert_eq!(
        (default.claim.before, default.claim.output_per_input),
        (0.98, 0.5)
    );
    assert!(default.claim.after > 0.999_999);
    let tight = source_of(by("input-bytes = 41"));
    assert_eq!(tight.conditioning.method(), Method::Hmac { input_len: 41 });
    // 40 bytes at 0.98 bit a bit hold 313.6 bits.
    told(
        by("input-bytes = 40"),
        &["source.conditioning", "320 bits", "gets 313.6"],
    );
    told(
        by("input-bytes = 0"),
        &["source.conditioning.input-bytes", "is 0"],
    );
    told(
        by("input-bytes = 65537"),
        &["conditioning.input-bytes", "1 to 65536"],
    );
    told(
        by("input-bits = 512"),
        &["conditioning.input-bits", "no meaning"],
    );
    told(by("file = \"none\""), &["conditioning.file", "No such"]);
    // A key file of the link is longer.
    told(
        by("file = \"a\""),
        &["conditioning.file", "the file has more"],
    );
    let low = "[source.health]\nentropy-per-bit = 0.6\n[source.conditioning]\nmethod = \"hmac\"";
    told(source(low), &["320 bits", "gets 307.2", "longer blocks"]);
    let generator = "processing = \"post-processed\"\n[source.conditioning]\nmethod = \"hmac\"";
    told(source(generator), &["conditions its output itself"]);
    let other = source("[source.conditioning]\ninput-bytes = 64");
    told(other, &["conditioning.input-bytes", "no meaning"]);
}

#[test]
fn several_sources_are_combined_only_as_declared() {
    let several = |sources: &[(&str, &str)], combine: &str| {
        let sources = sources.iter().map(|(name, group)| {
            format!("[[source]]\nkind = \"simulator\"\nname = \"{name}\"\n{group}\n")
        });
        check(&format!(
            "{}{combine}\n{GATEWAY}",
            sources.collect::<String>()
        ))
    };
    let (a, b) = (("a", "group = \"a\""), ("b", "group = \"b\""));
    let config = several(&[a, b], "[combine]\nmethod = \"xor\"").unwrap();
    assert_eq!(config.sources[1].name, "b");
    let combine = config.combine.unwrap();
    assert_eq!((combine.method, combine.unit), ("xor", 1));
    let hkdf = several(
        &[a, b],
        "[combine]\nmethod = \"hkdf\"\non-failure = \"continue\"",
    );
    let combine = hkdf.unwrap().combine.unwrap();
    assert_eq!((combine.method, combine.unit), ("hkdf", 64));
    assert_eq!(combine.combination.min_entropy(), 1.0);

    let interleaved = several(&[a, b], "[combine]\nmethod = \"interleave\"");
    let combine = interleaved.unwrap().combine.unwrap();
    assert_eq!((combine.method, combine.unit), ("interleave", 1));
    assert!(combine.adds_up());
    told(
        several(
            &[a, ("c", "group = \"a\"")],
            "[combine]\nmethod = \"interleave\"",
        ),
        &["both of group a", "interleaving needs independent"],
    );
    told(
        several(
            &[a, b],
            "[combine]\nmethod = \"interleave\"\noutput-bytes = 32",
        ),
        &["no meaning for interleaving"],
    );
    let expected = |name, rate: &str| {
        (
            name,
            format!("group = \"{name}\"\nhealth.expected-rate = \"{rate}\""),
        )
    };
    let (left, right) = (expected("a", "2 MB/s"), expected("b", "1 MB/s"));
    let both = [(left.0, &*left.1), (right.0, &*right.1)];
    let link = |method: &str, rate: &str| {
        let combine = format!("[combine]\nmethod = \"{method}\"\n[send]\nrate = \"{rate}\"");
        several(&both, &combine)
    };
    told(
        link("interleave", "2.5 MB/s"),
        &["send.rate", "`a` and `b`", "2000000 and 1000000"],
    );
    assert!(link("interleave", "3 MB/s").is_ok());
    // Mixed sources wait for each other anyway.
    assert!(link("xor", "2.5 MB/s").is_ok());

    told(several(&[a, b], ""), &["combine", "2 sources"]);
    told(
        several(&[a], "[combine]\nmethod = \"xor\""),
        &["combine", "but one source"],
    );
    told(
        several(&[a, a], "[combine]\nmethod = \"hkdf\""),
        &["source 2: name", "another source"],
    );
    let same = ("c", "group = \"a\"");
    told(
        several(&[a, same], "[combine]\nmethod = \"xor\""),
        &["both of group a"],
    );
    told(
        several(&[a, ("c", "")], "[combine]\nmethod = \"xor\""),
        &["no independence group"],
    );
    told(
        several(&[a, same], "[combine]\nmethod = \"hkdf\"\nbytes-each = 32"),
        &["combine", "320 bits of min-entropy"],
    );
    told(
        several(&[a, b], "[combine]\nmethod = \"xor\"\nbytes-each = 32"),
        &["no meaning for XOR"],
    );
    let numbered = [("a", "group = \"a\"\nrate = \"x\""), b];
    told(
        several(&numbered, "[combine]\nmethod = \"xor\""),
        &["source 1: rate"],
    );
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
