//! Several sources.

use super::*;

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
