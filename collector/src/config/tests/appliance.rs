//! Sources of appliances.

use std::time::Duration;

use qrng_card::certificates::Authority;

use super::*;
use crate::source::appliance::{Address, Settings};

/// Files of the lab: its authority, and a certificate with its key.
fn site() -> TempDir {
    let dir = keys();
    let authority = Authority::new("the lab").unwrap();
    let client = authority.client("collector").unwrap();
    fs::write(dir.path().join("ca.pem"), authority.certificate()).unwrap();
    fs::write(dir.path().join("client.pem"), client.certificate).unwrap();
    let key = dir.path().join("client.key");
    fs::write(&key, client.key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    dir
}

/// A source with these settings in its section `[source.appliance]`.
fn with(settings: &str) -> Result<Config, String> {
    in_site(&site(), settings)
}

fn in_site(dir: &TempDir, settings: &str) -> Result<Config, String> {
    check_with(dir, &written(settings), None)
}

fn written(settings: &str) -> String {
    format!("[source]\nkind = \"appliance\"\n[source.appliance]\n{settings}\n{GATEWAY}")
}

fn settings(config: &Config) -> &Settings {
    match &config.sources[0].driver {
        Driver::Appliances(settings) => settings,
        other => panic!("{other:?}"),
    }
}

const GOOD: &str = "urls = [\"https://qrng-1.example\"]\nca-file = \"ca.pem\"\n";

#[test]
fn an_address_and_an_authority_suffice() {
    let config = with(GOOD).unwrap();
    let source = &config.sources[0];
    assert_eq!(source.name, "qrng-1.example");
    assert_eq!((source.claim.before, source.claim.after), (0.98, 0.98));
    assert!(source.health.is_some() && source.warnings().is_empty());
    let settings = settings(&config);
    assert_eq!(settings.addresses[0].to_string(), "https://qrng-1.example");
    assert_eq!(settings.size, 4096);
    assert_eq!(settings.interval, Duration::from_millis(100));
    assert_eq!(settings.connect_timeout, Duration::from_secs(5));
    assert_eq!(settings.timeout, Duration::from_secs(10));
    assert!(settings.trust.client.is_none());
}

#[test]
fn everything_about_appliances_can_be_given() {
    let config = with(
        "urls = [\"https://qrng-1.example\", \"https://192.0.2.7:8443\"]\n\
         ca-file = \"ca.pem\"\nclient-certificate = \"client.pem\"\nclient-key = \"client.key\"\n\
         fetch-size = \"64 KiB\"\ninterval = \"10 s\"\nconnect-timeout = \"1 s\"\ntimeout = \"1 min\"\n",
    );
    let config = config.unwrap();
    let settings = settings(&config);
    assert_eq!(settings.addresses.len(), 2);
    assert_eq!(settings.size, 65_536);
    assert_eq!(settings.interval, Duration::from_secs(10));
    assert_eq!(settings.connect_timeout, Duration::from_secs(1));
    assert_eq!(settings.timeout, Duration::from_secs(60));
    assert!(settings.trust.client.is_some());
    let shown = format!("{settings:?}");
    assert!(
        shown.contains("client: true") && !shown.contains("KEY"),
        "{shown}"
    );
}

#[test]
fn wrong_addresses_are_told() {
    let urls = |urls: &str| with(&format!("urls = [{urls}]\nca-file = \"ca.pem\"\n"));
    told(
        urls(""),
        &["source.appliance.urls", "0 addresses", "1 to 16"],
    );
    let many: Vec<_> = (1..=17).map(|n| format!("\"https://q-{n}\"")).collect();
    told(urls(&many.join(",")), &["17 addresses", "1 to 16"]);
    told(
        urls("\"qrng-1.example\""),
        &["source.appliance.urls", "https://", "192.0.2.7:8443"],
    );
    told(
        urls("\"https://a:443\", \"https://A/\""),
        &["https://a is there twice", "remove one"],
    );
    // Two ports of a host may be two appliances behind one address.
    assert!(urls("\"https://a:443\", \"https://a:444\"").is_ok());
    told(
        urls("\"http://a\""),
        &["http://a is not encrypted", "insecure-http"],
    );
    told(
        check(&format!("[source]\nkind = \"appliance\"\n{GATEWAY}")),
        &["source.appliance", "is missing", "urls and ca-file"],
    );
}

#[test]
fn certificates_and_keys_are_checked_before_anything_starts() {
    let url = "urls = [\"https://a\"]\n";
    told(
        with(url),
        &["source.appliance.ca-file", "missing", "ca-certificates.crt"],
    );
    let ca = |file: &str| with(&format!("{url}ca-file = \"{file}\"\n"));
    told(ca("none.pem"), &["ca-file", "none.pem", "No such file"]);
    told(ca("client.key"), &["ca-file", "no certificate in it"]);
    let client = |chain: &str, key: &str| {
        with(&format!(
            "{GOOD}client-certificate = \"{chain}\"\nclient-key = \"{key}\"\n"
        ))
    };
    told(
        client("ca.pem", "client.key"),
        &["client-certificate", "cannot be used together"],
    );
    told(
        client("client.pem", "client.pem"),
        &["client-key", "0644", "chmod 0600"],
    );
    told(
        client("none", "client.key"),
        &["client-certificate", "none"],
    );
    told(
        client("client.key", "client.key"),
        &["no certificate in it"],
    );
    // A file of mode 0600 that is another key.
    told(client("client.pem", "a"), &["no private key in it"]);
    told(
        with(&format!("{GOOD}client-key = \"client.key\"\n")),
        &["client-certificate", "one is missing"],
    );
    let dir = site();
    let key = dir.path().join("client.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let given = format!("{GOOD}client-certificate = \"client.pem\"\nclient-key = \"client.key\"\n");
    told(
        in_site(&dir, &given),
        &["source.appliance.client-key", "0640", "chmod 0600"],
    );
    fs::write(
        dir.path().join("ca.pem"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    told(in_site(&dir, GOOD), &["ca-file", "cannot be used"]);
}

#[test]
fn what_is_insecure_must_be_named_and_is_told() {
    let skip = "insecure-skip-verification = true\n";
    let config = with(&format!("urls = [\"https://a\"]\n{skip}")).unwrap();
    let warnings = config.sources[0].warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("NOT VERIFIED"), "{warnings:?}");
    told(
        with(&format!("{GOOD}{skip}")),
        &["ca-file", "no meaning with insecure-skip-verification"],
    );
    let config = with("urls = [\"http://a\"]\ninsecure-http = true\n").unwrap();
    let warnings = config.sources[0].warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("http://a IS ASKED WITHOUT ENCRYPTION"));
}

#[test]
fn sizes_and_times_are_held_to_what_makes_sense() {
    let wrong = |setting: &str, words: &[&str]| told(with(&format!("{GOOD}{setting}\n")), words);
    for size in ["63", "\"64.1 KiB\"", "65537", "\"x\""] {
        wrong(
            &format!("fetch-size = {size}"),
            &["source.appliance.fetch-size", "64 B to 64 KiB"],
        );
    }
    for time in ["\"99 ms\"", "\"10.1 s\"", "\"1 h\"", "0"] {
        wrong(
            &format!("interval = {time}"),
            &["source.appliance.interval", "\"100ms\" to \"10s\""],
        );
    }
    wrong("timeout = 61", &["source.appliance.timeout", "60s"]);
    wrong("connect-timeout = 0", &["connect-timeout", "100ms"]);
    let error = with(&format!("{GOOD}insecure = true\n")).unwrap_err();
    assert!(error.contains("unknown field `insecure`"), "{error}");
}

#[test]
fn settings_of_other_kinds_are_refused_and_appliances_are_not_raw() {
    let of = |more: &str| {
        let section = format!("[source.appliance]\n{GOOD}");
        let text = format!("[source]\nkind = \"appliance\"\n{more}\n{section}{GATEWAY}");
        check_with(&site(), &text, None)
    };
    told(of("path = \"/dev/x\""), &["source.path", "remove it"]);
    told(of("rate = 5"), &["source.rate", "remove it"]);
    told(
        of("processing = \"raw\""),
        &["source.processing", "condition"],
    );
    assert!(of("processing = \"post-processed\"").is_ok());
    let toeplitz = "[source.conditioning]\nmethod = \"toeplitz\"\nfile = \"a\"\n";
    told(
        check_with(&site(), &format!("{}{toeplitz}", written(GOOD)), None),
        &["source.conditioning", "conditions its output itself"],
    );
    told(
        with(&format!("{GOOD}[source.health]\nenabled = false\n")),
        &["source.health.enabled", "always tested"],
    );
    told(
        check_with(
            &site(),
            &written(GOOD).replace("\"appliance\"", "\"simulator\""),
            None,
        ),
        &["source.appliance", "kind = \"appliance\""],
    );
}

#[test]
fn one_host_is_one_device_whatever_is_declared() {
    let two = |first: &str, second: &str, more: &str| {
        let source = |name: &str, url: &str| {
            format!(
                "[[source]]\nkind = \"appliance\"\nname = \"{name}\"\ngroup = \"{name}\"\n\
                 [source.appliance]\nurls = [{url}]\nca-file = \"ca.pem\"\n{more}\n"
            )
        };
        let combine = "[combine]\nmethod = \"hkdf\"\n";
        let sources = format!("{}{}", source("a", first), source("b", second));
        check_with(&site(), &format!("{sources}{combine}{GATEWAY}"), None)
    };
    let config = two("\"https://a\"", "\"https://b\"", "").unwrap();
    assert_eq!(config.sources.len(), 2);
    for second in [
        "\"https://a\"",
        "\"https://A.:8443\"",
        "\"https://c\", \"https://a\"",
    ] {
        told(
            two("\"https://a\", \"https://b\"", second, ""),
            &["combine", "sources a and b are one device"],
        );
    }
    let error = two("\"https://a\"", "\"https://b\"", "interval = 6").unwrap_err();
    assert_eq!(error.lines().count(), 2, "{error}");
    assert!(error.contains("source b is asked each 6s only"), "{error}");
    assert!(two("\"https://a\"", "\"https://b\"", "interval = 5").is_ok());
}

#[test]
fn the_environment_replaces_the_addresses() {
    let from = |urls: &str, text: &str| {
        let appliance_urls = Some(urls.to_owned());
        check_in(
            &site(),
            text,
            None,
            Environment {
                appliance_urls,
                ..Environment::default()
            },
        )
    };
    let config = from("https://b, https://c:8443", &written(GOOD)).unwrap();
    let urls: Vec<_> = settings(&config)
        .addresses
        .iter()
        .map(Address::to_string)
        .collect();
    assert_eq!(urls, ["https://b", "https://c:8443"]);
    // They may be all there are.
    assert!(from("https://b", &written("ca-file = \"ca.pem\"")).is_ok());
    let variable = "environment variable QRNG_APPLIANCE_URLS";
    told(from("https://b,", &written(GOOD)), &[variable, "is no URL"]);
    told(
        from("http://b", &written(GOOD)),
        &[variable, "not encrypted"],
    );
    told(
        from("https://b", &format!("{SOURCE}{GATEWAY}")),
        &[variable, "0 sources of kind"],
    );
}

#[test]
fn the_section_of_the_shipped_sample_is_good_and_shows_the_defaults() {
    let dir = site();
    let sample = include_str!("../../../../config/collector.toml");
    let section = sample.split_once("#   [source.appliance]").unwrap().1;
    let section = section.split_once("[source.health]").unwrap().0;
    let lines = section.lines().filter_map(|line| line.strip_prefix("#   "));
    let mut text = lines.collect::<Vec<_>>().join("\n");
    for (shipped, own) in [
        ("/etc/qrng/appliance-ca.pem", "ca.pem"),
        ("/etc/qrng/collector.pem", "client.pem"),
        ("/etc/qrng/collector-tls.key", "client.key"),
    ] {
        assert!(text.contains(shipped));
        text = text.replace(shipped, own);
    }
    let config = in_site(&dir, &text).unwrap();
    let defaults = with(GOOD).unwrap();
    let (shown, defaults) = (settings(&config), settings(&defaults));
    assert_eq!(shown.addresses.len(), 2);
    assert!(shown.trust.client.is_some());
    assert!(config.sources[0].warnings().is_empty());
    assert_eq!(shown.size, defaults.size);
    assert_eq!(shown.interval, defaults.interval);
    assert_eq!(shown.connect_timeout, defaults.connect_timeout);
    assert_eq!(shown.timeout, defaults.timeout);
}
