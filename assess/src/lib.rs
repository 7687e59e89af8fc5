//! A quality report on random bytes, for a person.
//!
//! ```text
//!   reader ──> sequences of 2^20 bits ─┬─> sp22: the tests of SP 800-22, P-values
//!              (one in memory at once) ├─> stream: bytes, lags, repeats and running bias over all
//!                                      └─> entropy: the first million bits, SP 800-90B estimates
//!                                                │
//!                                          findings, each with its own verdict ──> Assessment: text(), html()
//! ```
//!
//! Memory is bounded whatever the input: one sequence unpacked (1 MiB), its spectrum and what makes it (about 50 MiB)
//! and the marks of the search for repeats (at most 2^20). So is time, by [`Options::max_bytes`].
//!
//! A verdict fails at a stated significance, so a good input fails with a stated probability: each check fails good
//! bits with probability [`Options::alpha`], one in a million if not set otherwise.
#![forbid(unsafe_code)]

pub mod entropy;
pub mod sp22;

mod finding;
mod html;
mod picture;
mod run;
mod special;
mod stream;
#[cfg(test)]
mod testing;
mod text;

pub use finding::{Finding, Verdict};
pub use run::{AssessError, Options, Progress, run};

/// What an assessment found.
#[derive(Debug, Clone)]
pub struct Assessment {
    options: Options,
    stream: stream::Stream,
    sequences: u64,
    findings: Vec<Finding>,
    estimates: Vec<entropy::Estimate>,
    entropy_bits: usize,
}

impl Assessment {
    /// Whether no check failed.
    pub fn passed(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.verdict != Verdict::Failed)
    }

    /// Every check, in the order of the report.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The SP 800-90B estimates; empty for too short an input.
    pub fn estimates(&self) -> &[entropy::Estimate] {
        &self.estimates
    }

    /// The least of the estimates, in bits of min-entropy in one bit. None for too short an input.
    pub fn min_entropy(&self) -> Option<f64> {
        self.estimates
            .iter()
            .map(|estimate| estimate.min_entropy)
            .reduce(f64::min)
    }

    /// How many bytes were read and assessed.
    pub fn bytes(&self) -> u64 {
        self.stream.bytes
    }

    /// The report as text, for a terminal.
    pub fn text(&self) -> String {
        text::report(self)
    }

    /// The report as one HTML file that needs nothing else: pictures inside, no scripts, light and dark.
    pub fn html(&self) -> String {
        html::report(self)
    }

    /// The verdict in words.
    pub fn verdict(&self) -> String {
        let run = self
            .findings
            .iter()
            .filter(|finding| finding.verdict != Verdict::NotRun)
            .count();
        let failed: Vec<_> = self
            .findings
            .iter()
            .filter(|finding| finding.verdict == Verdict::Failed)
            .collect();
        let alpha = self.options.alpha;
        if failed.is_empty() {
            format!(
                "Passed: none of the {run} checks found anything that good random bytes would not show."
            )
        } else {
            let likely = if failed.len() == 1 {
                "this check"
            } else {
                "each of these checks"
            };
            format!(
                "Failed: {} of the {run} checks. Good random bytes fail {likely} with a probability of {alpha:.0e}.",
                failed.len()
            )
        }
    }

    /// What was assessed, in words.
    fn provenance(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![
            ("Assessed", self.options.what.clone()),
            (
                "Bytes",
                if self.stream.bytes < self.options.max_bytes {
                    format!("{}, then the input ended", self.stream.bytes)
                } else {
                    self.stream.bytes.to_string()
                },
            ),
        ];
        if !self.options.when.is_empty() {
            facts.push(("When", self.options.when.clone()));
        }
        let sequences = match self.sequences {
            1 => "one sequence".to_owned(),
            n => format!("{n} sequences of 1048576 bits"),
        };
        facts.push(("SP 800-22", sequences));
        facts.push((
            "SP 800-90B",
            match self.estimates.as_slice() {
                [] => "not estimated: fewer than 8192 bits".to_owned(),
                _ if self.entropy_bits < entropy::LEAST_BITS => {
                    format!(
                        "the first {} bits, too few for a verdict on them",
                        self.entropy_bits
                    )
                }
                _ => format!("the first {} bits", self.entropy_bits),
            },
        ));
        facts.push((
            "By",
            concat!("qrng-assess ", env!("CARGO_PKG_VERSION")).to_owned(),
        ));
        facts
    }
}

/// What no verdict says.
const LIMITS: [&str; 4] = [
    "Statistics can show that bytes are bad. They can't show that bytes are good: the output of any sound cipher passes \
     every one of these checks, and whoever has its key knows every byte.",
    "Whether bytes come from a quantum process, are fresh, are secret and were handed out only once is a matter of \
     where they come from and who saw them, which no file tells.",
    "Bytes that a device has conditioned pass even when its physical source is weak; only its raw samples would show that.",
    "The entropy estimates follow SP 800-90B section 6.3; they are no validation by NIST, which looks at the source itself.",
];
