//! The published examples: section 2 of SP 800-22 Rev. 1a, and its appendix B.

use super::*;
use crate::testing::{E, bits};

fn near(got: f64, published: f64, what: &str) {
    assert!(
        (got - published).abs() < 1.01e-6,
        "{what}: {got:.6} instead of {published:.6}"
    );
}

/// The first 100 binary digits of pi.
const PI: &str = "11001001000011111101101010100010001000010110100011\
                  00001000110100110001001100011001100010100010111000";

#[test]
fn frequency_examples() {
    near(frequency(&bits("1011010101")), 0.527089, "2.1.4");
    near(frequency(&bits(PI)), 0.109599, "2.1.8");
    near(block_frequency(&bits("0110011010"), 3), 0.801252, "2.2.4");
    near(block_frequency(&bits(PI), 10), 0.706438, "2.2.8");
    near(runs(&bits("1001101011")), 0.147232, "2.3.4");
    near(runs(&bits(PI)), 0.500798, "2.3.8");
    near(cumulative_sums(&bits("1011010111"))[0], 0.411659, "2.13.4");
    near(cumulative_sums(&bits(PI))[0], 0.219194, "2.13.8 forward");
    near(cumulative_sums(&bits(PI))[1], 0.114866, "2.13.8 backward");
}

#[test]
fn longest_run_example() {
    let sequence = "11001100000101010110110001001100111000000000001001\
                    00110101010001000100111101011010000000110101111100\
                    1100111001101101100010110010";
    near(longest_run(&bits(sequence)).unwrap(), 0.180609, "2.4.8");
}

#[test]
fn pattern_examples() {
    near(serial(&bits("0011011101"), 3)[0], 0.808792, "2.11.4");
    near(serial(&bits("0011011101"), 3)[1], 0.670320, "2.11.4");
    near(
        approximate_entropy(&bits("0100110101"), 3),
        0.261961,
        "2.12.4",
    );
    near(approximate_entropy(&bits(PI), 2), 0.235301, "2.12.8");
    assert_eq!(template::aperiodic(3), [0b001, 0b011, 0b100, 0b110]);
    let templates = non_overlapping(&bits("10100100101110010110"), 3, 2);
    near(templates[0], 0.344154, "2.7.4");
    assert_eq!(template::aperiodic(9).len(), 148);
}

#[test]
fn spectral_examples() {
    // The examples of the text, 0.029523 and 0.168669, count 4 and 46 peaks below the line, where there are 5 and 48;
    // these are the reference software's results.
    near(dft(&bits("1001010011")), 0.468160, "2.6.4");
    near(dft(&bits(PI)), 0.646355, "2.6.8");
}

#[test]
fn excursion_examples() {
    let excursions = excursions::excursions(&bits("0110110101"), 0).unwrap();
    // The standard's 0.502529 comes of probabilities rounded to four digits.
    near(excursions[4], 0.502488, "2.14.4");
    let variant = excursions::variant(&bits("0110110101"), 0).unwrap();
    near(variant[9], 0.683091, "2.15.4");
}

#[test]
fn the_digits_of_e_in_the_text() {
    near(rank(&E[..100_000]), 0.532069, "2.5.8");
    // The example takes its probabilities from a Poisson approximation; section 3.8 has since corrected them.
    let approximate = [0.367879, 0.183940, 0.137955, 0.099634, 0.069935, 0.140657];
    let got = template::overlapping_against(&E, &approximate);
    assert!((got - 0.110434).abs() < 2e-5, "2.8.8: {got}");
    let misprinted = [0.01047, 0.03125, 0.125, 0.5, 0.25, 0.0625, 0.020833];
    let published = complexity::linear_complexity_against(&E, 1000, &misprinted);
    near(published, 0.845406, "2.10.8 with the misprint");
    near(linear_complexity(&E, 1000), 0.844738, "2.10.8");
    near(serial(&E, 2)[0], 0.843764, "2.11.8");
    near(serial(&E, 2)[1], 0.561915, "2.11.8");
    let published = [
        0.573306, 0.197996, 0.164011, 0.007779, 0.786868, 0.440912, 0.797854, 0.778186,
    ];
    for (got, published) in random_excursions(&E).unwrap().into_iter().zip(published) {
        near(got, published, "2.14.8");
    }
    let published = [
        0.858946, 0.794755, 0.576249, 0.493417, 0.633873, 0.917283, 0.934708, 0.816012, 0.826009,
        0.137861, 0.200642, 0.441254, 0.939291, 0.505683, 0.445935, 0.512207, 0.538635, 0.593930,
    ];
    for (got, published) in random_excursions_variant(&E)
        .unwrap()
        .into_iter()
        .zip(published)
    {
        near(got, published, "2.15.8");
    }
}

#[test]
fn the_digits_of_e_in_appendix_b() {
    let published = [
        (Test::Frequency, 0, 0.953749),
        (Test::BlockFrequency, 0, 0.211072),
        (Test::Runs, 0, 0.561917),
        (Test::LongestRun, 0, 0.718945),
        (Test::Rank, 0, 0.306156),
        (Test::Dft, 0, 0.847187),
        (Test::NonOverlapping, 0, 0.078790),
        (Test::Universal, 0, 0.282568),
        (Test::LinearComplexity, 0, 0.826202),
        (Test::Serial, 0, 0.766182),
        (Test::ApproximateEntropy, 0, 0.700073),
        (Test::CumulativeSums, 0, 0.669886),
        (Test::CumulativeSums, 1, 0.724265),
        (Test::RandomExcursions, 4, 0.786868),
        (Test::RandomExcursionsVariant, 8, 0.826009),
    ];
    for (test, index, published) in published {
        near(test.run(&E).unwrap()[index], published, test.name());
    }
}

#[test]
fn a_sequence_that_is_too_short_gets_no_verdict_and_nothing_panics() {
    for len in (0..300).chain([1000, 6271, 6272, 40_000]) {
        for test in Test::ALL {
            for bit in [0, 1] {
                let p_values = test.run(&vec![bit; len]).unwrap_or_default();
                assert!(
                    p_values.iter().all(|p| (0.0..=1.0).contains(p)),
                    "{test} of {len}: {p_values:?}"
                );
            }
        }
    }
    for bit in [0, 1] {
        for test in Test::ALL {
            let p_values = test.run(&vec![bit; 1 << 20]).unwrap_or_default();
            assert!(
                p_values.iter().all(|p| (0.0..=1.0).contains(p)),
                "{test}: {p_values:?}"
            );
        }
    }
}
