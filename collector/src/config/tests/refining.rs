//! Health tests and conditioning of a source.

use super::*;

const GATEWAY_TWO: &str = "[[gateway]]\naddress = \"192.0.2.9:4790\"\nkey = \"b\"\n";

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
        health("expected-rate = \"10 kB/s\""),
        &["source.health", "blocks of 65536 bytes", "smaller blocks"],
    );
    health("expected-rate = \"10 kB/s\"\nblock-size = \"8 KiB\"").unwrap();
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
