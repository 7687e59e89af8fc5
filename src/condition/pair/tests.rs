use super::*;

const RAW: Source = Source {
    processing: Processing::Raw,
    bits: Bits::Unknown,
    min_entropy: 0.98,
};

fn claim(method: Method, source: Source) -> Result<Claim, Refusal> {
    method.claim(&source, DEFAULT_LOG2_EPS)
}

#[test]
fn extractors_claim_what_the_lemma_gives() {
    for method in [
        Method::Matrix(Sizes::DEFAULT),
        Method::Toeplitz(Sizes::DEFAULT),
    ] {
        let claim = claim(method, RAW).unwrap();
        assert_eq!(
            (claim.before, claim.after, claim.output_per_input),
            (0.98, 0.999, 0.75)
        );
        assert_eq!(claim.log2_eps.unwrap().ceil(), -117.0);
    }
}

#[test]
fn nothing_is_put_on_top_of_conditioned_output() {
    let chip_card = Source {
        processing: Processing::PostProcessed,
        ..RAW
    };
    for method in [
        Method::VonNeumann,
        Method::Matrix(Sizes::DEFAULT),
        Method::Toeplitz(Sizes::LARGE),
        Method::Hmac { input_len: 64 },
    ] {
        let method_name = method.name();
        assert_eq!(
            claim(method, chip_card),
            Err(Refusal::PostProcessed {
                method: method_name
            })
        );
    }
    assert_eq!(claim(Method::None, chip_card).unwrap().after, 0.98);
}

#[test]
fn no_more_comes_out_than_went_in() {
    let poor = |min_entropy| Source { min_entropy, ..RAW };
    let method = Method::Toeplitz(Sizes::DEFAULT);
    assert!(matches!(
        claim(method, poor(0.7)),
        Err(Refusal::MoreOutThanIn { output: 768, .. })
    ));
    // 0.875 is the least that reaches 2^-64.
    assert!(matches!(
        claim(method, poor(0.87)),
        Err(Refusal::BoundTooWeak { .. })
    ));
    assert!(claim(method, poor(0.875)).is_ok());
    assert!(matches!(
        method.claim(&RAW, f64::NAN),
        Err(Refusal::BoundTooWeak { .. })
    ));
}

#[test]
fn von_neumann_wants_independent_bits() {
    assert_eq!(claim(Method::VonNeumann, RAW), Err(Refusal::Dependent));
    let independent = Source {
        bits: Bits::Independent,
        min_entropy: 1.0,
        ..RAW
    };
    let fair = claim(Method::VonNeumann, independent).unwrap();
    assert_eq!((fair.after, fair.output_per_input), (0.999, 0.25));
}

#[test]
fn hmac_wants_64_bits_more() {
    let full = Source {
        min_entropy: 1.0,
        ..RAW
    };
    let short = claim(Method::Hmac { input_len: 39 }, full);
    assert!(matches!(
        short,
        Err(Refusal::TooLittleForFullEntropy { needed: 320, .. })
    ));
    let enough = claim(Method::Hmac { input_len: 40 }, full).unwrap();
    assert!(1.0 - enough.after < 2f64.powi(-32));
    assert!(claim(Method::Hmac { input_len: 40 }, RAW).is_err());
    let input_len = Hmac::DEFAULT_INPUT_LEN;
    let default = claim(Method::Hmac { input_len }, RAW).unwrap();
    assert_eq!((default.before, default.output_per_input), (0.98, 0.5));
    let poor = |min_entropy| claim(Method::Hmac { input_len }, Source { min_entropy, ..RAW });
    assert!(poor(0.625).is_ok());
    let refusal = poor(0.62).unwrap_err().to_string();
    assert!(
        refusal.contains("needs 320 bits of min-entropy put in, and gets 317.4"),
        "{refusal}"
    );
}

#[test]
fn a_min_entropy_is_a_positive_number_up_to_one() {
    for min_entropy in [0.0, -0.1, 1.01, f64::NAN, f64::INFINITY] {
        let source = Source { min_entropy, ..RAW };
        let refusal = claim(Method::None, source).unwrap_err();
        assert!(matches!(refusal, Refusal::MinEntropy(_)));
    }
}
