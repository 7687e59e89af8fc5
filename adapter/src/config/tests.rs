use super::*;

fn check(text: &str, environment: &Environment) -> Result<Config, String> {
    let raw = qrng_daemon::parse_toml(Path::new("a.toml"), text).map_err(|e| e.to_string())?;
    Config::check(Path::new("a.toml"), raw, environment).map_err(|e| e.to_string())
}

fn refused(text: &str) -> String {
    check(text, &Environment::default()).unwrap_err()
}

#[test]
fn the_sample_is_the_defaults() {
    let sample = include_str!("../../../config/adapter.toml");
    let none = Environment::default();
    assert_eq!(check(sample, &none), check("", &none));
    let config = check("", &none).unwrap();
    assert_eq!((config.pool.credit, config.pool.bytes), (0, 64));
    assert_eq!(config.pool.interval, Duration::from_secs(600));
    assert!(!config.pool.credit_simulated);
    assert_eq!(config.egd.listen, None);
    assert_eq!(config.fifo.in_flight, 4096);
    assert_eq!((config.egd.mode, config.fifo.mode), (0o660, 0o640));
}

#[test]
fn every_key_is_taken() {
    let text = "gateway-socket = \"/s\"\n[pool]\nbytes = 32\ncredit = 8\ninterval = \"1 min\"\ncredit-simulated = true\n\
        [egd]\nsocket = \"/e\"\nmode = \"0600\"\ngroup = \"root\"\nlisten = \"[::1]:8888\"\nconnections = 3\n\
        [fifo]\npath = \"/f\"\nmode = \"0644\"\ngroup = \"root\"\nin-flight = 32\n[log]\nformat = \"json\"\n";
    let config = check(text, &Environment::default()).unwrap();
    let root = Some(Gid::from_raw(0));
    assert_eq!(config.gateway_socket, Path::new("/s"));
    assert_eq!(
        config.pool,
        PoolConfig {
            bytes: 32,
            credit: 8,
            interval: Duration::from_secs(60),
            credit_simulated: true
        }
    );
    assert_eq!((config.egd.mode, config.egd.group), (0o600, root));
    assert_eq!(config.egd.listen, "[::1]:8888".parse().ok());
    assert_eq!(config.egd.connections, 3);
    assert_eq!((config.fifo.mode, config.fifo.group), (0o644, root));
    assert_eq!(config.fifo.in_flight, 32);
}

#[test]
fn the_environment_overrides_and_is_checked_too() {
    let some = |text: &str| Some(text.to_owned());
    let environment = Environment {
        gateway_socket: some("/g"),
        pool_credit: some("4"),
        pool_interval: some("30 s"),
        egd_socket: some("/e"),
        fifo_path: some("/f"),
    };
    let config = check("[pool]\ncredit = 1\n", &environment).unwrap();
    assert_eq!(config.gateway_socket, Path::new("/g"));
    assert_eq!(config.pool.credit, 4);
    assert_eq!(config.pool.interval, Duration::from_secs(30));
    assert_eq!(config.egd.socket, Path::new("/e"));
    assert_eq!(config.fifo.path, Path::new("/f"));
    let environment = Environment {
        pool_credit: some("all"),
        fifo_path: some("f"),
        ..environment
    };
    let error = check("", &environment).unwrap_err();
    assert!(
        error.contains("QRNG_POOL_CREDIT: is no number of bits"),
        "{error}"
    );
    assert!(
        error.contains("QRNG_FIFO_PATH: f is not an absolute"),
        "{error}"
    );
}

#[test]
fn what_is_wrong_is_told_all_at_once() {
    let text = "gateway-socket = \"s\"\n[pool]\nbytes = 31\ncredit = 9\ninterval = 0\n\
        [egd]\nmode = \"rw\"\ngroup = \"no such group\"\nlisten = \"192.0.2.1:8888\"\nconnections = 0\n\
        [fifo]\nmode = \"0666\"\nin-flight = \"1 MiB\"\n";
    let error = refused(text);
    for words in [
        "gateway-socket: s is not an absolute path",
        "pool.bytes: 31 bytes is out of range; give 32 to 512",
        "pool.credit: is no number of bits",
        "pool.interval: 0ns is out of range",
        "egd.mode: \"rw\" is no mode",
        "egd.group: there is no group",
        "egd.listen: other hosts could reach",
        "egd.connections: 0 is out of range",
        "fifo.mode: \"0666\" lets others write",
        "fifo.in-flight: 1048576 bytes is out of range",
    ] {
        assert!(error.contains(words), "{words:?} is not in: {error}");
    }
    assert!(refused("[pool]\ncredits = 1\n").contains("credits"));
}
