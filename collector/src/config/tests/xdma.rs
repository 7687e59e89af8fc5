use qrng::condition::Method;
use qrng::condition::pair::Processing;

use super::*;

fn source(text: &str) -> Result<Config, String> {
    check(&format!("[source]\nkind = \"xdma\"\n{text}\n{GATEWAY}"))
}

fn device(text: &str) -> Option<Address> {
    Some(text.parse().unwrap())
}

#[test]
fn a_chip_card_needs_no_settings() {
    let config = source("").unwrap();
    let mode = Mode::Rng;
    assert_eq!(
        config.sources[0].driver,
        Driver::Xdma { device: None, mode }
    );
    assert_eq!(config.sources[0].name, "chip card");
    assert!(config.sources[0].health.is_some());
    let config = source("device = \"3b:00.0\"\nmode = \"sample\"\n").unwrap();
    let (device, mode) = (device("0000:3b:00.0"), Mode::Sample);
    assert_eq!(config.sources[0].driver, Driver::Xdma { device, mode });
    assert_eq!(config.sources[0].name, "chip card 0000:3b:00.0");
}

#[test]
fn wrong_settings_of_a_chip_card_are_told() {
    told(
        source("device = \"card\""),
        &["source.device", "`card` is no PCI address", "lspci"],
    );
    told(source("path = \"/dev/x\""), &["source.path", "remove it"]);
    told(source("rate = 5"), &["source.rate", "remove it"]);
    told(
        source("[source.health]\nenabled = false"),
        &["source.health.enabled", "always tested"],
    );
    assert!(source("mode = \"raw\"").unwrap_err().contains("`raw`"));
    for key in ["device = \"3b:00.0\"", "mode = \"rng\""] {
        let other = check(&format!("{SOURCE}{key}\n{GATEWAY}"));
        told(other, &["is for kind = \"xdma\"", "remove it"]);
    }
}

#[test]
fn an_extractor_is_for_raw_samples_only() {
    let seed =
        |dir: &TempDir| fs::write(dir.path().join("seed"), (0..224).collect::<Vec<u8>>()).unwrap();
    let with = |more: &str| {
        let dir = keys();
        seed(&dir);
        let toeplitz = "[source.conditioning]\nmethod = \"toeplitz\"\nfile = \"seed\"\n";
        let text = format!("[source]\nkind = \"xdma\"\n{more}{toeplitz}{GATEWAY}");
        check_with(&dir, &text, None)
    };
    told(
        with(""),
        &["source.conditioning", "conditions its output itself"],
    );
    told(with("mode = \"rng\"\n"), &["source.conditioning"]);
    let config = with("mode = \"sample\"\n").unwrap();
    let method = config.sources[0].conditioning.method();
    assert!(matches!(method, Method::Toeplitz(_)));
    // What the mode says can't be said otherwise.
    told(
        with("processing = \"raw\"\n"),
        &["source.processing", "post-process", "choose the other mode"],
    );
    told(
        with("mode = \"sample\"\nprocessing = \"post-processed\"\n"),
        &["source.processing", "raw samples"],
    );
    assert!(with("mode = \"sample\"\nprocessing = \"raw\"\n").is_ok());
}

#[test]
fn several_chip_cards_are_named() {
    let two = |first: &str, second: &str| {
        check(&format!(
            "[[source]]\nkind = \"xdma\"\nname = \"a\"\ngroup = \"a\"\n{first}\n\
             [[source]]\nkind = \"xdma\"\nname = \"b\"\ngroup = \"b\"\n{second}\n\
             [combine]\nmethod = \"xor\"\n{GATEWAY}"
        ))
    };
    let (left, right) = ("device = \"3b:00.0\"", "device = \"5e:00.0\"");
    assert_eq!(two(left, right).unwrap().sources.len(), 2);
    told(two(left, ""), &["`b` names no device", "0000:03:00.0"]);
    told(two(left, "device = \"0000:3b:00.0\""), &["combine"]);
    let error = two("", "").unwrap_err();
    assert!(error.contains("`a` names no device"), "{error}");
}

#[test]
fn what_the_chips_do_is_known_from_the_mode() {
    let mut problems = Problems::new(Path::new("x"));
    let raw = parse_toml::<Raw>(Path::new("x"), "[source]\nkind = \"xdma\"\n").unwrap();
    let place = crate::config::sources::Place::new(0, 1);
    let mut processing =
        |mode| crate::config::xdma::processing(&mut problems, &place, &raw.source[0], mode);
    assert_eq!(processing(Mode::Rng), Some(Processing::PostProcessed));
    assert_eq!(processing(Mode::Sample), Some(Processing::Raw));
}
