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
mod combining;
mod gateways;
mod pcie;
mod push;
mod refining;
mod sending;
mod sources;
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
        keys: &|files, api_keys| Ok(crate::sender::check_keys(files, api_keys, &psk)),
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
