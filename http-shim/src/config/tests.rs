use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn check(text: &str, environment: &Environment) -> Result<Config, String> {
    let file = Path::new("http.toml");
    let raw = qrng_daemon::parse_toml(file, text).map_err(|e| e.to_string())?;
    Config::check(file, raw, environment).map_err(|e| e.to_string())
}

fn complaint(text: &str) -> String {
    check(text, &Environment::default())
        .err()
        .unwrap_or_else(|| panic!("{text} is accepted"))
}

#[test]
fn an_empty_file_serves_local_users_only() {
    let config = check("", &Environment::default()).unwrap();
    assert_eq!(config.gateway, Gateway::Mount("/qrng".into()));
    assert_eq!(config.socket.unwrap().mode, 0o660);
    assert!(config.listen.is_empty() && config.access.keys.is_empty());
    assert_eq!(
        config.access.rate,
        Rate {
            per_second: 100,
            burst: 200
        }
    );
    assert_eq!(config.limits.bytes, 16 << 20);
}

#[test]
fn tcp_needs_keys_or_the_word_that_it_needs_none() {
    let error = complaint("listen = [\"127.0.0.1:0\"]");
    assert!(error.contains("there are no keys"), "{error}");
    let open = "listen = [\"127.0.0.1:0\"]\nopen-to = [\"127.0.0.0/8\"]";
    assert_eq!(
        check(open, &Environment::default()).unwrap().listen.len(),
        1
    );
    let environment = Environment {
        api_keys: Some("0123456789abcdef".to_owned().into()),
        rate_limit: Some("7".into()),
    };
    let config = check("listen = [\"127.0.0.1:0\"]", &environment).unwrap();
    assert!(config.access.keys.find(b"0123456789abcdef").is_some());
    assert_eq!(config.access.rate.per_second, 7);
    let error = complaint("listen = [\"0.0.0.0:0\"]\nopen-to = [\"10.0.0.0/8\"]");
    assert!(error.contains("in clear"), "{error}");
    let proxied = "listen = [\"0.0.0.0:0\"]\nopen-to = [\"10.0.0.0/8\"]\ninsecure-http = true";
    check(proxied, &Environment::default()).unwrap();
}

#[test]
fn every_problem_is_told_at_once_and_no_key_is_repeated() {
    let environment = Environment {
        api_keys: Some("secret".to_owned().into()),
        rate_limit: Some("many".into()),
    };
    let text = "mount = \"qrng\"\nsocket-mode = \"0888\"\nlisten = [\"here\"]\nopen-to = [\"10.0.0.1/8\"]\nhosts = [\"*\"]\n\
                keys = \"/nonexistent\"\n[limits]\nbytes = \"0\"\nheader-time = \"1 h\"\nconnections = 0\n[rate]\nburst = 0";
    let error = check(text, &environment).err().unwrap();
    for key in [
        "mount:",
        "socket-mode:",
        "listen:",
        "open-to:",
        "hosts:",
        "keys:",
        "QRNG_API_KEYS:",
        "QRNG_RATE_LIMIT:",
        "limits.bytes:",
        "limits.header-time:",
        "limits.connections:",
        "rate.burst:",
    ] {
        assert!(error.contains(key), "{key} is missing in\n{error}");
    }
    assert!(!error.contains("secret"), "{error}");
    assert!(complaint("listne = []").contains("listne"));
    let both = "mount = \"/a\"\ngateway-socket = \"b\"";
    assert!(complaint(both).contains("leave one of them out"));
    assert!(complaint(both).contains("gateway-socket: b is not an absolute path"));
    assert!(complaint("socket = \"\"").contains("nothing to listen on"));
}

#[test]
fn a_file_of_keys_must_be_private() {
    let directory = tempfile::tempdir().unwrap();
    let (key, line) = crate::keys::new_key("lab", &[3; 32]).unwrap();
    let path = directory.path().join("keys");
    fs::write(&path, line).unwrap();
    let text = format!("keys = {path:?}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(complaint(&text).contains("chmod 0600"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let config = check(&text, &Environment::default()).unwrap();
    assert!(config.access.keys.find(key.as_bytes()).is_some());
}

#[test]
fn the_sample_says_what_the_defaults_are() {
    let sample = check(
        include_str!("../../../config/http.toml"),
        &Environment::default(),
    )
    .unwrap();
    let default = check("", &Environment::default()).unwrap();
    assert_eq!(sample.gateway, default.gateway);
    assert_eq!(sample.limits, default.limits);
    assert_eq!(sample.log, default.log);
    assert_eq!(sample.access.rate, default.access.rate);
    let (sample, default) = (sample.socket.unwrap(), default.socket.unwrap());
    assert_eq!((sample.path, sample.mode), (default.path, default.mode));
}

#[test]
fn models_find_the_service_by_its_addresses_and_the_names_that_are_given() {
    let open = "listen = [\"127.0.0.7:0\"]\nopen-to = [\"127.0.0.0/8\"]\n[mcp]\n";
    let config = check(
        &format!("{open}hosts = [\"gateway.example:8443\"]\norigins = [\"https://app.example:*\"]"),
        &Environment::default(),
    );
    let models = config.unwrap().models;
    for host in ["localhost", "127.0.0.7", "gateway.example:8443"] {
        assert!(models.hosts.iter().any(|known| known == host), "{host}");
    }
    assert!(models.origins.contains(&"https://app.example:*".to_owned()));
    for wrong in ["\"\"", "\"*\"", "\"https://gateway.example\"", "\"a b\""] {
        let error = complaint(&format!("{open}hosts = [{wrong}]"));
        assert!(error.contains("mcp.hosts"), "{error}");
    }
    for wrong in [
        "\"\"",
        "\"*\"",
        "\"app.example\"",
        "\"https://\"",
        "\"https://a/b\"",
    ] {
        let error = complaint(&format!("{open}origins = [{wrong}]"));
        assert!(error.contains("mcp.origins"), "{error}");
    }
}

#[test]
fn collectors_have_keys_of_their_own_and_a_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let (reader, pusher) = (
        crate::keys::new_key("lab", &[3; 32]).unwrap(),
        crate::keys::new_key("collector", &[4; 32]).unwrap(),
    );
    let (readers, pushers) = (file("readers", &reader.1), file("pushers", &pusher.1));
    let text = format!("listen = [\"127.0.0.1:0\"]\n[push]\nkeys = {pushers:?}\n");
    let config = check(&text, &Environment::default()).unwrap();
    let push = config.push.unwrap();
    assert_eq!(push.gateway(), "127.0.0.1:4790".parse().unwrap());
    assert!(push.keys.find(pusher.0.as_bytes()).is_some());
    assert!(config.access.keys.is_empty());
    for gateway in ["0.0.0.0:4790", "127.0.0.1:0", "gateway.example:4790"] {
        let error = complaint(&format!("{text}gateway = {gateway:?}"));
        assert!(error.contains("push.gateway"), "{error}");
    }
    let both = format!("keys = {readers:?}\n[push]\nkeys = {readers:?}\n");
    assert!(complaint(&both).contains("what pushes must not read"));
    let none = format!("[push]\nkeys = {:?}\n", file("none", "# none\n"));
    assert!(complaint(&none).contains("nobody could push"));
    assert!(complaint("[push]\n").contains("keys"));
}
