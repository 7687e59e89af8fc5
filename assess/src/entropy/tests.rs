use super::*;
use crate::testing::{E, bits};

/// The same estimators give the results that NIST's reference implementation publishes for its own sample files
/// (`biased-random-bits`, `data.pi`, `rand1_short`, `ringOsc-nist`, `truerand_1bit`), to eleven digits; those files
/// are not repeated here, the digits of e stand in for them.
#[test]
fn the_digits_of_e() {
    let known = [
        ("most common value (6.3.1)", 0.996205181),
        ("collision (6.3.2)", 0.919085454),
        ("Markov (6.3.3)", 0.999086442),
        ("compression (6.3.4)", 0.850580526),
        ("t-tuple (6.3.5)", 0.921622564),
        ("longest repeated substring (6.3.6)", 0.967210369),
        ("multi most common in window (6.3.7)", 0.997456090),
        ("lag (6.3.8)", 0.996425349),
        ("multi Markov model with counting (6.3.9)", 0.994798613),
        ("LZ78Y (6.3.10)", 0.995982131),
    ];
    let mut steps = Vec::new();
    let estimates = estimates(&E, |step| steps.push(step));
    assert_eq!(steps, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(estimates.len(), known.len());
    for (estimate, (name, min_entropy)) in estimates.iter().zip(known) {
        assert_eq!(estimate.name, name);
        assert!(
            (estimate.min_entropy - min_entropy).abs() < 1e-8,
            "{estimate:?}"
        );
    }
}

#[test]
fn constant_bits_have_none() {
    for bit in [0, 1] {
        let mut called = 0;
        let estimates = estimates(&vec![bit; 20_000], |_| called += 1);
        assert_eq!(called, NAMES.len());
        assert!(estimates.len() >= 9);
        for estimate in estimates {
            assert!(estimate.min_entropy < 0.01, "{estimate:?}");
        }
    }
    assert!(estimates(&bits("0110"), |_| ()).is_empty());
}

#[test]
fn alternating_bits_are_predicted_although_they_are_balanced() {
    let alternating: Vec<u8> = [0, 1].repeat(10_000);
    let of = |name: &str| {
        let all = estimates(&alternating, |_| ());
        all.iter()
            .find(|estimate| estimate.name.starts_with(name))
            .unwrap()
            .min_entropy
    };
    assert!(of("most common value") > 0.95);
    for name in ["Markov", "lag", "multi Markov", "LZ78Y", "t-tuple"] {
        assert!(of(name) < 0.01, "{name}: {}", of(name));
    }
}

#[test]
fn bytes_by_their_most_common_value() {
    assert_eq!(most_common_byte(&[0; 256]), None);
    let mut counts = [0; 256];
    counts[7] = 1000;
    assert_eq!(most_common_byte(&counts), Some(0.0));
    let even = most_common_byte(&[65_536; 256]).unwrap();
    assert!((7.9..8.0).contains(&even), "{even}");
}
