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
    /// bytes are 0.8 to 0.9, since each is the lower end of an interval; below 0.6 they come about once in a million inputs.
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
    let read = Reading::all(reader, &options, &mut progress)?;
    if read.stream.bytes < LEAST {
        return Err(AssessError::TooShort(read.stream.bytes));
    }
    let steps = entropy::NAMES.len() as f64;
    let estimates = entropy::estimates(&read.sample, |step| {
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

    let mut findings = read.stream.findings(options.alpha);
    let tests = Test::ALL.into_iter().zip(&read.p_values);
    findings.extend(tests.map(|(test, values)| of_test(test, values, options.alpha)));
    findings.push(of_estimates(
        &estimates,
        read.sample.len(),
        &read.stream,
        &options,
    ));
    Ok(Assessment {
        entropy_bits: read.sample.len(),
        options,
        stream: read.stream,
        sequences: read.sequences,
        findings,
        estimates,
    })
}

/// What one pass over the input gathers.
struct Reading {
    stream: Stream,
    /// In the order of [`Test::ALL`].
    p_values: Vec<PValues>,
    sequences: u64,
    /// The first bits, for the estimators.
    sample: Vec<u8>,
}

impl Reading {
    fn all(
        reader: impl Read,
        options: &Options,
        progress: &mut impl FnMut(Progress),
    ) -> io::Result<Self> {
        let mut read = Self {
            stream: Stream::new(options.max_bytes),
            p_values: vec![PValues::default(); Test::ALL.len()],
            sequences: 0,
            sample: Vec::new(),
        };
        let mut reader = reader.take(options.max_bytes);
        let mut buffer = Vec::with_capacity(SEQUENCE);
        loop {
            let done = READING * read.stream.bytes as f64 / options.max_bytes.max(1) as f64;
            progress(Progress {
                stage: "reading",
                done,
            });
            buffer.clear();
            reader
                .by_ref()
                .take(SEQUENCE as u64)
                .read_to_end(&mut buffer)?;
            read.add(&buffer, options.entropy_bits, |stage| {
                progress(Progress { stage, done })
            });
            if buffer.len() < SEQUENCE {
                return Ok(read);
            }
        }
    }

    /// A whole sequence, or what is left over at the end.
    fn add(&mut self, bytes: &[u8], entropy_bits: usize, mut before: impl FnMut(&'static str)) {
        self.stream.add(bytes);
        let wanted = (entropy_bits - self.sample.len())
            .div_ceil(8)
            .min(bytes.len());
        self.sample.extend(unpack(&bytes[..wanted]));
        self.sample.truncate(entropy_bits);
        let whole = bytes.len() == SEQUENCE;
        if bytes.is_empty() || !whole && self.sequences > 0 {
            return;
        }
        self.sequences += 1;
        let bits: Vec<u8> = unpack(bytes).collect();
        for (test, values) in Test::ALL.into_iter().zip(&mut self.p_values) {
            before(test.name());
            values.add(&test.run(&bits).unwrap_or_default());
        }
    }
}

/// Bits of bytes, the most significant first.
fn unpack(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
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
