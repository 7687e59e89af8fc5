use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use qrng_daemon::parse_toml;

/// A key file in a directory of its own.
fn key_file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("qrng.gateway.key");
    let (gateway, _, _) =
        qrng::keys::generate(&mut getrandom::rand_core::UnwrapErr(getrandom::SysRng));
    fs::write(&path, gateway.as_bytes()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    (dir, path)
}

fn load(text: &str, environment: &Environment) -> Result<Config, String> {
    let file = Path::new("/etc/qrng/gateway.toml");
    parse_toml(file, text)
        .and_then(|raw| Config::check(file, raw, environment))
        .map_err(|e| e.to_string())
}

fn refused(text: &str, environment: &Environment, words: &[&str]) {
    let error = match load(text, environment) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error,
    };
    for word in words.iter().chain(&["/etc/qrng/gateway.toml"]) {
        assert!(error.contains(word), "{word:?} is not in:\n{error}");
    }
}

#[test]
fn defaults_need_a_key_only() {
    let (_dir, key) = key_file();
    let config = load(&format!("keys = [{key:?}]"), &Environment::default()).unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:4790");
    assert_eq!(config.mount.as_deref(), Some(Path::new("/qrng")));
    assert_eq!(config.stream, None);
    assert_eq!(config.buffer_size, 16 << 20);
    assert_eq!(config.overflow, Overflow::Discard);
    assert_eq!(config.accept, Kinds::REAL);
    assert_eq!(config.stall_limit_s, None);
    assert_eq!(config.health, Testing::WHOLE);
}

#[test]
fn health_tests_can_be_turned_off_by_name_only() {
    let (_dir, key) = key_file();
    let off = format!("keys = [{key:?}]\n[health]\nenabled = false");
    let config = load(&off, &Environment::default()).unwrap();
    assert_eq!(config.health, Testing::OFF);
    let typo = format!("keys = [{key:?}]\n[health]\nenable = false");
    refused(&typo, &Environment::default(), &["enable"]);
}

#[test]
fn blocks_of_health_tests_have_four_sizes() {
    let (_dir, key) = key_file();
    let text = |size: &str| format!("keys = [{key:?}]\n[health]\nblock-size = {size}");
    for (size, bytes) in [
        ("\"8 KiB\"", 8192),
        ("32768", 32_768),
        ("\"64 KiB\"", 65_536),
    ] {
        let config = load(&text(size), &Environment::default()).unwrap();
        assert!(config.health.enabled);
        assert_eq!(config.health.block_bytes, bytes);
    }
    for wrong in ["0", "4096", "5000", "\"128 KiB\"", "\"much\""] {
        let words = ["health.block-size", "\"8 KiB\""];
        refused(&text(wrong), &Environment::default(), &words);
    }
}

#[test]
fn the_shipped_sample_is_valid_and_gives_the_defaults() {
    let (_dir, key) = key_file();
    let sample = include_str!("../../../config/gateway.toml");
    let config = load(
        &sample.replace("/etc/qrng/qrng.gateway.key", &key.display().to_string()),
        &Environment::default(),
    )
    .unwrap();
    let default = load(&format!("keys = [{key:?}]"), &Environment::default()).unwrap();
    assert_eq!(config.listen, default.listen);
    assert_eq!(config.mount, default.mount);
    assert_eq!(config.runtime_directory, default.runtime_directory);
    assert_eq!(config.buffer_size, default.buffer_size);
    assert_eq!(config.giving, default.giving);
    assert_eq!(config.overflow, default.overflow);
    assert_eq!(config.receive_buffer, default.receive_buffer);
    assert_eq!(config.accept, default.accept);
}

#[test]
fn a_buffer_gives_way_to_a_floor_that_it_can_hold() {
    let (_dir, key) = key_file();
    let text = |lines: &str| format!("keys = [{key:?}]\n[buffer]\n{lines}");
    let giving = |lines: &str| load(&text(lines), &Environment::default()).unwrap().giving;
    assert_eq!(giving("").floor, 1 << 20);
    assert_eq!(giving("size = \"256 KiB\"").floor, 256 << 10);
    let set = giving("size = \"8 MiB\"\nfloor = \"2 MiB\"\ncalm = 5");
    assert_eq!((set.floor, set.calm.as_secs()), (2 << 20, 5));
    for (wrong, key) in [
        ("size = \"1 MiB\"\nfloor = \"2 MiB\"", "buffer.floor"),
        ("floor = \"1 KiB\"", "buffer.floor"),
        ("calm = 0", "buffer.calm"),
        ("calm = 4000", "buffer.calm"),
    ] {
        refused(&text(wrong), &Environment::default(), &[key]);
    }
}

#[test]
fn the_environment_overrides() {
    let (_dir, key) = key_file();
    let text = format!("keys = [{key:?}]\n[buffer]\nsize = \"1 MiB\"\noverflow = \"discard\"");
    let plain = load(&text, &Environment::default()).unwrap();
    let environment = Environment {
        buffer_size: Some("2 MiB".into()),
        overflow: Some("REPLACE".into()),
        psk: "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0".into(),
        state_directory: Some("/var/lib/here".into()),
    };
    let config = load(&text, &environment).unwrap();
    assert_eq!(config.buffer_size, 2 << 20);
    assert_eq!(config.overflow, Overflow::Replace);
    assert_ne!(
        config.keys.keys()[0].key_id(),
        plain.keys.keys()[0].key_id()
    );
    assert_eq!(config.state_directory, Some("/var/lib/here".into()));
    assert_eq!(plain.state_directory, None);
    let text = text.replace("keys", "state-directory = \"/var/lib/there\"\nkeys");
    let config = load(&text, &environment).unwrap();
    assert_eq!(config.state_directory, Some("/var/lib/there".into()));
    let wrong = Environment {
        buffer_size: Some("lots".into()),
        overflow: Some("explode".into()),
        psk: "xyz".into(),
        state_directory: None,
    };
    refused(
        &text,
        &wrong,
        &[
            "QRNG_BUFFER_SIZE: ",
            "QRNG_BUFFER_OVERFLOW_POLICY: \"explode\"",
            "QRNG_HMAC_SECRET_KEY: ",
        ],
    );
}

#[test]
fn every_problem_is_told_with_key_and_remedy() {
    refused(
        "listen = \"localhost\"\nkeys = [\"/nonexistent.key\"]\nmount = \"qrng\"\nstall-limit = 0\n\
         [buffer]\nsize = \"1 KiB\"\noverflow = \"spill\"\n[socket]\nreceive-buffer = \"1\"",
        &Environment::default(),
        &[
            "listen: ",
            "0.0.0.0:4790",
            "/nonexistent.key: cannot be opened",
            "mount: qrng is not an absolute path",
            "stall-limit: ",
            "buffer.size: 1024 bytes is out of range",
            "buffer.overflow: \"spill\"",
            "socket.receive-buffer: ",
        ],
    );
    refused(
        "keys = []",
        &Environment::default(),
        &["keys: is empty", "qrng keygen"],
    );
    refused("kyes = []", &Environment::default(), &["kyes", "line 1"]);
    refused("", &Environment::default(), &["keys"]);
    let (_dir, key) = key_file();
    refused(
        &format!("keys = [{key:?}, {key:?}]"),
        &Environment::default(),
        &["there twice"],
    );
    refused(
        &format!("keys = [{key:?}]\nmount = \"/q\"\nruntime-directory = \"/q/run\""),
        &Environment::default(),
        &["runtime-directory: lies inside the mount"],
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    refused(
        &format!("keys = [{key:?}]"),
        &Environment::default(),
        &["chmod 0600"],
    );
}

#[test]
fn a_stream_socket_can_take_the_place_of_the_mount() {
    let (_dir, key) = key_file();
    let environment = Environment::default();
    let text = |more: &str| format!("keys = [{key:?}]\n{more}");
    let config = load(
        &text("mount = \"none\"\n[stream]\nlisten = \"/run/s\"\nmode = \"0600\"\ngroup = \"root\"\nusers = [\"root\"]"),
        &environment,
    )
    .unwrap();
    assert_eq!(config.mount, None);
    let stream = config.stream.unwrap();
    assert_eq!(stream.listen, Path::new("/run/s"));
    assert_eq!(stream.mode, 0o600);
    assert_eq!(stream.group.unwrap().as_raw(), 0);
    assert_eq!(stream.users.unwrap()[0].as_raw(), 0);
    let plain = load(&text("[stream]\nlisten = \"/run/s\""), &environment).unwrap();
    let stream = plain.stream.unwrap();
    assert_eq!(
        (stream.mode, stream.group, stream.users),
        (0o660, None, None)
    );
    assert!(plain.mount.is_some());
}

#[test]
fn what_is_wrong_with_a_stream_socket_is_told() {
    let (_dir, key) = key_file();
    let environment = Environment::default();
    let long = "x".repeat(200);
    for (more, words) in [
        ("mount = \"none\"", ["mount: is \"none\"", "[stream]"]),
        (
            "mount = \"none\"\nmount-helper = \"/run/m\"\n[stream]\nlisten = \"/run/s\"",
            ["mount-helper", "leave it out"],
        ),
        (
            "[stream]\nlisten = \"run/s\"",
            ["stream.listen", "absolute"],
        ),
        (
            "[stream]\nlisten = \"/qrng/s\"",
            ["stream.listen", "inside the mount"],
        ),
        ("[stream]\nmode = \"0600\"", ["listen", "stream"]),
        (
            "[stream]\nlisten = \"/run/s\"\nmode = \"rw\"\ngroup = \"no such\"",
            ["stream.mode: \"rw\"", "there is no group \"no such\""],
        ),
        (
            "[stream]\nlisten = \"/run/s\"\nmode = \"07777\"\nusers = [\"no such\"]",
            ["stream.mode", "there is no user \"no such\""],
        ),
        (
            &format!("[stream]\nlisten = \"/{long}\""),
            ["stream.listen", "at most"],
        ),
    ] {
        refused(&format!("keys = [{key:?}]\n{more}"), &environment, &words);
    }
}

#[test]
fn devices_are_named_in_a_section_of_their_own() {
    let (_dir, key) = key_file();
    let with = |more: &str| format!("keys = [{key:?}]\n{more}");
    let none = load(&with(""), &Environment::default()).unwrap();
    assert!(none.devices.is_empty());
    let text = with(
        "mount = \"none\"\nmount-helper = \"/run/qrng/mount.socket\"\n\
         [device]\nraw = \"qrng\"\nurandom = \"qrng-urandom\"",
    );
    let config = load(&text, &Environment::default()).unwrap();
    let devices = config.devices.iter();
    let devices: Vec<_> = devices.map(|d| (&*d.name, d.file.name)).collect();
    assert_eq!(devices, [("qrng", "raw"), ("qrng-urandom", "urandom")]);
    assert_eq!((config.mount, config.stream), (None, None));
}

#[test]
fn what_no_device_can_be_called_is_told() {
    let (_dir, key) = key_file();
    for (section, words) in [
        ("", &["device", "names no device", "raw = \"qrng\""][..]),
        ("hex = \"qrng\"", &["hex"]),
        (
            "raw = \"random\"",
            &["device.raw", "does not begin with qrng"],
        ),
        ("raw = \"qrng/../sda\"", &["other characters"]),
        ("raw = \"qrng\\nDEVNAME=x\"", &["other characters"]),
        ("raw = \"Qrng\"", &["other characters"]),
        (
            "random = \"qrng-0123456789-0123456789-012345\"",
            &["device.random", "longer than 32"],
        ),
        (
            "raw = \"qrng\"\nurandom = \"qrng\"",
            &["device.urandom", "another device"],
        ),
    ] {
        let text = format!("keys = [{key:?}]\n[device]\n{section}");
        refused(&text, &Environment::default(), words);
    }
}

#[test]
fn users_have_shares_and_quotas_by_name_or_number() {
    let (_dir, key) = key_file();
    let environment = Environment::default();
    let text = |more: &str| format!("keys = [{key:?}]\n{more}");
    let plain = load(&text(""), &environment).unwrap();
    assert_eq!(plain.shares, SharesConfig::default());
    let config = load(
        &text(
            "[shares]\nquota = \"1 MiB\"\n[shares.users]\nroot = { weight = 4, quota = \"none\" }\n1234 = { weight = 2 }\n\
             4321.quota = 5000",
        ),
        &environment,
    )
    .unwrap();
    let users = config.shares.users.iter();
    let users: Vec<_> = users
        .map(|user| (user.uid, user.weight, user.quota))
        .collect();
    assert_eq!(
        users,
        [
            (1234, 2, Some(1 << 20)),
            (4321, 1, Some(5000)),
            (0, 4, None)
        ]
    );
    assert_eq!(config.shares.quota, Some(1 << 20));
}

#[test]
fn what_is_wrong_with_shares_is_told() {
    let (_dir, key) = key_file();
    for (more, words) in [
        (
            "[shares]\nquota = \"100\"",
            ["shares.quota", "1024 or more"],
        ),
        ("[shares]\nquota = \"a lot\"", ["shares.quota", "100 MiB"]),
        ("[shares]\nweight = 3", ["weight", "unknown field"]),
        (
            "[shares.users]\n\"no such\" = { weight = 3 }",
            ["there is no user \"no such\"", "getent passwd"],
        ),
        (
            "[shares.users]\nroot = { weight = 0 }",
            ["shares.users.root.weight", "1 to 1000"],
        ),
        (
            "[shares.users]\nroot = { quota = \"5\" }",
            ["shares.users.root.quota", "1024 or more"],
        ),
        (
            "[shares.users]\nroot = {}\n0 = {}",
            ["shares.users.root", "name each user once"],
        ),
    ] {
        refused(
            &format!("keys = [{key:?}]\n{more}"),
            &Environment::default(),
            &words,
        );
    }
}
