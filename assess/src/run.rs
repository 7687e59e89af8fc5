//! From a reader to an assessment.

use crate::finding::{Finding, PValues, Verdict};
use crate::sp22::Test;
use crate::stream::Stream;
use crate::{Assessment, entropy};
use std::io::{self, Read};

/// Bytes of one sequence of SP 800-22: 2^20 bits.
const SEQUENCE: usize = 1 << 17;
/// Fewest bytes that say anything.
const LEAST: u64 = 4096;

/// What to assess, and how strictly.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is assessed, in words, for the report: a path, or where the bytes come from.
    pub what: String,
    /// When, in words, for the report. Empty leaves it out.
    pub when: String,
    /// Bytes to read at most; the rest is left unread.
    pub max_bytes: u64,
    /// Bits to give to the SP 800-90B estimators at most.
    pub entropy_bits: usize,
    /// The probability with which a check may fail good bytes.
    pub alpha: f64,
    /// Fails below this estimate, in bits of min-entropy in one bit, of at least a million bits. The estimates of good
    /// bytes are 0.8 to 0.9, since each is the lower end of an interval; below 0.6 they come about once in 500,000.
    pub least_entropy: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            what: "unnamed bytes".into(),
            when: String::new(),
            max_bytes: 16 << 20,
            entropy_bits: entropy::LEAST_BITS,
            alpha: 1e-6,
            least_entropy: 0.6,
        }
    }
}

/// How far an assessment is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// What is being done.
    pub stage: &'static str,
    /// Of the whole work, from 0 to 1. An input that ends early makes it jump.
    pub done: f64,
}

/// Why there is no assessment.
#[derive(Debug, thiserror::Error)]
pub enum AssessError {
    /// The input could not be read.
    #[error("can't read the bytes to assess: {0}")]
    Read(#[from] io::Error),
    /// The input is too short to say anything.
    #[error("only {0} bytes to assess: at least {LEAST} are needed, and 125000 for all estimates")]
    TooShort(u64),
}

/// Share of the work that is reading and SP 800-22.
const READING: f64 = 0.9;

/// Reads up to [`Options::max_bytes`] from `reader` and assesses them, telling `progress` how far it is.
///
/// An input of at least 128 KiB is taken in sequences of 128 KiB; what is left over at its end counts for the checks on
/// the whole input only.
pub fn run(
    reader: impl Read,
    options: Options,
    mut progress: impl FnMut(Progress),
) -> Result<Assessment, AssessError> {
    let mut reader = reader.take(options.max_bytes);
    let mut stream = Stream::new(options.max_bytes);
    let mut p_values = vec![PValues::default(); Test::ALL.len()];
    let mut sample = Vec::new();
    let mut sequences = 0;
    let mut buffer = Vec::with_capacity(SEQUENCE);
    loop {
        let done = READING * stream.bytes as f64 / options.max_bytes.max(1) as f64;
        progress(Progress {
            stage: "reading",
            done,
        });
        buffer.clear();
        reader
            .by_ref()
            .take(SEQUENCE as u64)
            .read_to_end(&mut buffer)?;
        stream.add(&buffer);
        if sample.len() < options.entropy_bits {
            let wanted = (options.entropy_bits - sample.len()).div_ceil(8);
            sample.extend(unpack(&buffer[..wanted.min(buffer.len())]));
            sample.truncate(options.entropy_bits);
        }
        if buffer.len() == SEQUENCE || sequences == 0 && !buffer.is_empty() {
            sequences += 1;
            test(&buffer, &mut p_values, |stage| {
                progress(Progress { stage, done })
            });
        }
        if buffer.len() < SEQUENCE {
            break;
        }
    }
    if stream.bytes < LEAST {
        return Err(AssessError::TooShort(stream.bytes));
    }

    let steps = entropy::NAMES.len() as f64;
    let estimates = entropy::estimates(&sample, |step| {
        let done = READING + (1.0 - READING) * step as f64 / steps;
        progress(Progress {
            stage: entropy::NAMES[step],
            done,
        });
    });
    progress(Progress {
        stage: "done",
        done: 1.0,
    });

    let mut findings = stream.findings(options.alpha);
    findings.extend(
        Test::ALL
            .into_iter()
            .zip(&p_values)
            .map(|(test, values)| of_test(test, values, options.alpha)),
    );
    findings.push(of_estimates(&estimates, sample.len(), &stream, &options));
    Ok(Assessment {
        entropy_bits: sample.len(),
        options,
        stream,
        sequences,
        findings,
        estimates,
    })
}

/// Bits of bytes, the most significant first.
fn unpack(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
}

fn test(sequence: &[u8], p_values: &mut [PValues], mut before: impl FnMut(&'static str)) {
    let bits: Vec<u8> = unpack(sequence).collect();
    for (test, values) in Test::ALL.into_iter().zip(p_values) {
        before(test.name());
        values.add(&test.run(&bits).unwrap_or_default());
    }
}

fn of_test(test: Test, values: &PValues, alpha: f64) -> Finding {
    let source = format!("SP 800-22 2.{}", test.section());
    match values.combined() {
        Some(p) => Finding::of_p(test.name(), &source, p, alpha, values.seen()),
        None if matches!(test, Test::RandomExcursions | Test::RandomExcursionsVariant) => {
            Finding::not_run(test.name(), &source, "too few cycles, or too little data")
        }
        None => Finding::not_run(test.name(), &source, "too little data"),
    }
}

fn of_estimates(
    estimates: &[entropy::Estimate],
    bits: usize,
    stream: &Stream,
    options: &Options,
) -> Finding {
    const NAME: &str = "min-entropy, the least of ten estimates";
    const SOURCE: &str = "SP 800-90B 6.3";
    let Some(least) = estimates
        .iter()
        .min_by(|a, b| a.min_entropy.total_cmp(&b.min_entropy))
    else {
        return Finding::not_run(NAME, SOURCE, "too little data");
    };
    let bytes = entropy::most_common_byte(&stream.histogram).unwrap_or(0.0);
    let seen = format!(
        "{:.3} a bit ({}); by bytes at most {bytes:.3} of 8",
        least.min_entropy, least.name
    );
    if bits < entropy::LEAST_BITS {
        return Finding::not_run(
            NAME,
            SOURCE,
            &format!("{seen}; no verdict on fewer than a million bits"),
        );
    }
    let low = least.min_entropy < options.least_entropy;
    let verdict = if low {
        Verdict::Failed
    } else {
        Verdict::Passed
    };
    Finding {
        name: NAME.into(),
        source: SOURCE.into(),
        verdict,
        p: None,
        seen,
    }
}
