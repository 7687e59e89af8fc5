//! Which method suits which source: the min-entropy claimed before and after, and refusals in words.
//!
//! Min-entropy is in bits per bit. What comes out of a component that is not vetted is claimed as 0.999 at most (NIST
//! SP 800-90B section 3.1.5.2), what comes out of a vetted one as `Output_Entropy` says (section 3.1.5.1.2), which is
//! full entropy when the input holds at least 64 bits more than the output has (NIST SP 800-90C).

use super::entropy::{leftover_hash_log2, output_entropy};
use super::{Sizes, hmac::Hmac};
use thiserror::Error;

/// The most that is claimed of a component that is not vetted (NIST SP 800-90B section 3.1.5.2).
pub const NOT_VETTED_MOST: f64 = 0.999;

/// Bits of min-entropy that must go in beyond the bits that come out with full entropy (NIST SP 800-90C).
pub const FULL_ENTROPY_MARGIN: usize = 64;

/// The largest distance from uniform, of one block, that an extractor is used with unless told otherwise: 2^-64.
pub const DEFAULT_LOG2_EPS: f64 = -64.0;

/// What a device did to its samples before it gave them away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Processing {
    /// Nothing: the samples of the noise source.
    Raw,
    /// It conditioned them: the chip cards' RNG mode, a generator of the kernel. Statistics of such output say
    /// nothing about the noise, and an extractor can add nothing.
    PostProcessed,
}

/// What is known about one bit of a source given the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bits {
    /// Independent of the others and of one constant bias, as the source's physical model argues.
    Independent,
    /// Not known to be so.
    Unknown,
}

/// What is claimed about a source's output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Source {
    /// What the device did to it.
    pub processing: Processing,
    /// Dependence of its bits.
    pub bits: Bits,
    /// Min-entropy per bit, above 0 and at most 1.
    pub min_entropy: f64,
}

/// A method of conditioning, with its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Samples as they are.
    None,
    /// Von Neumann's rule.
    VonNeumann,
    /// Troyer-Renner matrix.
    Matrix(Sizes),
    /// Toeplitz matrix.
    Toeplitz(Sizes),
    /// HMAC-SHA256, 32 bytes for each block of this many bytes.
    Hmac {
        /// Bytes of an input block.
        input_len: usize,
    },
}

/// What conditioning is claimed to make of a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// Min-entropy per bit of the source.
    pub before: f64,
    /// Min-entropy per bit of what comes out.
    pub after: f64,
    /// Bits that come out for each bit that goes in; on average for von Neumann's rule, at the claimed min-entropy.
    pub output_per_input: f64,
    /// The distance of an output block from uniform, as base-2 logarithm, by the leftover hash lemma; for extractors.
    pub log2_eps: Option<f64>,
}

/// Why a method and a source don't go together.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum Refusal {
    /// The claim about the source is no min-entropy per bit.
    #[error("the min-entropy of a source is above 0 and at most 1 bit per bit, not {0}")]
    MinEntropy(f64),
    /// An extractor on conditioned output.
    #[error(
        "{method} is meant for raw samples, and this source conditions its output itself: use no conditioning, or set the device to give raw samples"
    )]
    PostProcessed {
        /// The method's name.
        method: &'static str,
    },
    /// Von Neumann's rule on bits that may depend on each other.
    #[error(
        "von Neumann's rule needs independent bits of one constant bias, and this source is not declared to give such: use a matrix or Toeplitz extractor"
    )]
    Dependent,
    /// Less entropy goes in than is to come out.
    #[error(
        "{method} would put out {output} bits for {entropy:.1} bits of min-entropy put in: choose a shorter output or a longer input"
    )]
    MoreOutThanIn {
        /// The method's name.
        method: &'static str,
        /// Bits of an output block.
        output: usize,
        /// Min-entropy of an input block, in bits.
        entropy: f64,
    },
    /// The extractor's bound is weaker than wanted.
    #[error(
        "{method} is within 2^{log2_eps:.1} of uniform, and at most 2^{limit:.1} is wanted: choose a shorter output or a longer input"
    )]
    BoundTooWeak {
        /// The method's name.
        method: &'static str,
        /// The bound, as base-2 logarithm.
        log2_eps: f64,
        /// The wanted bound, as base-2 logarithm.
        limit: f64,
    },
    /// The HMAC's input holds too little for full entropy.
    #[error(
        "an HMAC of {output} bits needs {needed} bits of min-entropy put in, and gets {entropy:.1}: give it longer blocks"
    )]
    TooLittleForFullEntropy {
        /// Bits of the output.
        output: usize,
        /// Min-entropy needed, in bits.
        needed: usize,
        /// Min-entropy of an input block, in bits.
        entropy: f64,
    },
}

impl Method {
    /// Its name, in configurations and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Method::None => "none",
            Method::VonNeumann => "von-neumann",
            Method::Matrix(_) => "matrix",
            Method::Toeplitz(_) => "toeplitz",
            Method::Hmac { .. } => "hmac",
        }
    }

    /// What this method makes of `source`, an extractor's block being within 2^`limit` of uniform at worst
    /// ([`DEFAULT_LOG2_EPS`]).
    ///
    /// # Errors
    /// If the two make no sense together.
    pub fn claim(self, source: &Source, limit: f64) -> Result<Claim, Refusal> {
        let before = source.min_entropy;
        // Not a number is refused here too.
        if !(before > 0.0 && before <= 1.0) {
            return Err(Refusal::MinEntropy(before));
        }
        if self != Method::None && source.processing == Processing::PostProcessed {
            return Err(Refusal::PostProcessed {
                method: self.name(),
            });
        }
        match self {
            Method::None => Ok(Claim {
                before,
                after: before,
                output_per_input: 1.0,
                log2_eps: None,
            }),
            Method::VonNeumann => von_neumann(source),
            Method::Matrix(sizes) | Method::Toeplitz(sizes) => self.extractor(sizes, before, limit),
            Method::Hmac { input_len } => hmac(input_len, before),
        }
    }

    fn extractor(self, sizes: Sizes, before: f64, limit: f64) -> Result<Claim, Refusal> {
        let method = self.name();
        let (input, output) = (sizes.input_bits(), sizes.output_bits());
        let entropy = before * input as f64;
        if entropy < output as f64 {
            return Err(Refusal::MoreOutThanIn {
                method,
                output,
                entropy,
            });
        }
        let log2_eps = leftover_hash_log2(input, before, output);
        // A limit that is not a number is met by nothing.
        if limit.is_nan() || log2_eps > limit {
            return Err(Refusal::BoundTooWeak {
                method,
                log2_eps,
                limit,
            });
        }
        let after = output_entropy(input, output, output, entropy) / output as f64;
        Ok(Claim {
            before,
            after: after.min(NOT_VETTED_MOST),
            output_per_input: output as f64 / input as f64,
            log2_eps: Some(log2_eps),
        })
    }
}

/// Of independent bits that are 1 with probability p, a pair yields a bit with probability 2 p (1 - p), and that bit
/// is unbiased.
fn von_neumann(source: &Source) -> Result<Claim, Refusal> {
    if source.bits != Bits::Independent {
        return Err(Refusal::Dependent);
    }
    let likelier = (-source.min_entropy).exp2();
    Ok(Claim {
        before: source.min_entropy,
        after: NOT_VETTED_MOST,
        output_per_input: likelier * (1.0 - likelier),
        log2_eps: None,
    })
}

fn hmac(input_len: usize, before: f64) -> Result<Claim, Refusal> {
    let input = input_len.saturating_mul(8);
    let output = 8 * Hmac::OUTPUT_LEN;
    let needed = output + FULL_ENTROPY_MARGIN;
    let entropy = before * input as f64;
    if entropy < needed as f64 {
        return Err(Refusal::TooLittleForFullEntropy {
            output,
            needed,
            entropy,
        });
    }
    Ok(Claim {
        before,
        after: output_entropy(input, output, output, entropy) / output as f64,
        output_per_input: output as f64 / input as f64,
        log2_eps: None,
    })
}

#[cfg(test)]
mod tests;
