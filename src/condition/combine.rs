//! Several sources into one stream, which is as good as the best of them, or as fast as all of them together.
//!
//! ```text
//!  source 0 ── block ─┐
//!  source 1 ── block ─┼─ XOR, HKDF-SHA256 or interleaving ──> bytes, and the kinds of the sources that contributed
//!  source 2 ──  -    ─┘  (failed: stop, or go on without it and say so)
//! ```
//!
//! XOR is sound only for independent sources: two that depend on each other may cancel. So each source declares its
//! independence group, and two of one group are refused. HKDF bears dependent sources; of each group it counts only
//! the best one's entropy. Two handles on one device are refused by both, whatever they declare.
//!
//! Interleaving adds nothing to the quality of any: blocks of the sources follow one another as they come, each of one
//! source's bytes. The claim is that of the worst source, and it holds for the whole stream only if the sources are
//! independent; so two of one group are refused here too.
//!
//! HKDF (RFC 5869) is an HMAC over the sources' blocks and one more over its result. Its output has full entropy only
//! if at least 64 bits more go in than come out (NIST SP 800-90C; the HMAC as a vetted component: SP 800-90B section
//! 3.1.5.1.1), and at most 256 bits fit through it. More output for less input would be the output of a DRBG, and is
//! refused.

mod error;
mod identity;

pub use error::CombineError;
pub use identity::Identity;

use super::pair::FULL_ENTROPY_MARGIN;
use crate::report::Kinds;
use hkdf::Hkdf;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroize;

/// One source of several.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The device.
    pub identity: Identity,
    /// Sources of one group may depend on each other; those of different groups are declared to be independent.
    pub group: String,
    /// Min-entropy per bit of its blocks, after its conditioning; above 0 and at most 1.
    pub min_entropy: f64,
}

/// How blocks are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Combining {
    /// Bit by bit; each block gives one of the same length.
    Xor,
    /// One after the other: each block gives itself.
    Interleave,
    /// HKDF-SHA256 over `bytes_each` bytes of each source, giving `output_len` bytes of full entropy.
    Hkdf {
        /// Bytes taken from each source for one output.
        bytes_each: usize,
        /// Bytes of one output, 1 to 32.
        output_len: usize,
    },
}

/// What happens when a source fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Nothing comes out until it is back.
    RequireAll,
    /// The rest goes on, which is to be said loudly.
    ContinueWithRest,
}

/// Sources that are combined, and which of them work.
#[derive(Debug)]
pub struct Combination {
    combining: Combining,
    policy: Policy,
    members: Vec<Member>,
    /// For each member, whether it failed.
    failed: Vec<bool>,
}

/// What a failure or a return changes. Its text is for the log, as a warning.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The source's identity.
    pub source: String,
    /// Whether it works again.
    pub back: bool,
    /// Sources that work now.
    pub working: usize,
    /// All sources.
    pub of: usize,
    /// Why nothing comes out now, if so.
    pub stopped: Option<CombineError>,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = if self.back { "is back" } else { "failed" };
        write!(
            f,
            "source {} {event}: {} of {} sources work, ",
            self.source, self.working, self.of
        )?;
        match &self.stopped {
            Some(reason) => write!(f, "nothing is combined: {reason}"),
            None if self.working < self.of => f.write_str("going on without the rest"),
            None => f.write_str("all contribute"),
        }
    }
}

impl Combination {
    /// Declares the sources.
    ///
    /// # Errors
    /// If there are fewer than two, one has no identity or no group, two are one device, two of one group are to be
    /// XORed or interleaved, or HKDF would not give full entropy with all of them.
    pub fn new(
        combining: Combining,
        policy: Policy,
        members: Vec<Member>,
    ) -> Result<Self, CombineError> {
        if members.len() < 2 {
            return Err(CombineError::TooFew(members.len()));
        }
        for (index, member) in members.iter().enumerate() {
            member.check()?;
            for other in &members[..index] {
                member.check_beside(other, combining)?;
            }
        }
        let combination = Combination {
            combining,
            policy,
            failed: vec![false; members.len()],
            members,
        };
        combination.check_working()?;
        Ok(combination)
    }

    /// Marks a source as failed: from now on it has no block to give. `None` if there is no such source, or it was
    /// so marked already.
    pub fn failed(&mut self, source: usize) -> Option<Notice> {
        self.mark(source, true)
    }

    /// Marks a source as working again, after its start-up tests. `None` if there is no such source, or it worked.
    pub fn is_back(&mut self, source: usize) -> Option<Notice> {
        self.mark(source, false)
    }

    fn mark(&mut self, source: usize, failed: bool) -> Option<Notice> {
        let mark = self
            .failed
            .get_mut(source)
            .filter(|mark| **mark != failed)?;
        *mark = failed;
        Some(Notice {
            source: self.members[source].identity.to_string(),
            back: !failed,
            working: self.working().count(),
            of: self.members.len(),
            stopped: self.check_working().err(),
        })
    }

    /// The sources that work, with their places.
    fn working(&self) -> impl Iterator<Item = (usize, &Member)> {
        let all = self.members.iter().enumerate();
        all.filter(|(index, _)| !self.failed[*index])
    }

    /// Tells whether something can come out now.
    fn check_working(&self) -> Result<(), CombineError> {
        let failed = self
            .members
            .iter()
            .zip(&self.failed)
            .find(|(_, failed)| **failed);
        if let (Policy::RequireAll, Some((member, _))) = (self.policy, failed) {
            return Err(CombineError::Failed(member.identity.to_string()));
        }
        if self.working().next().is_none() {
            return Err(CombineError::AllFailed);
        }
        let Combining::Hkdf {
            bytes_each,
            output_len,
        } = self.combining
        else {
            return Ok(());
        };
        if output_len == 0 || output_len > 32 {
            return Err(CombineError::OutputLen(output_len));
        }
        let needed = 8 * output_len + FULL_ENTROPY_MARGIN;
        let entropy = 8.0 * bytes_each as f64 * self.independent_entropy();
        if entropy < needed as f64 {
            return Err(CombineError::TooLittle {
                output: 8 * output_len,
                needed,
                entropy,
            });
        }
        Ok(())
    }

    /// The sum over the groups that work of their best source's min-entropy per bit.
    fn independent_entropy(&self) -> f64 {
        let mut best: BTreeMap<&str, f64> = BTreeMap::new();
        for (_, member) in self.working() {
            let group = best.entry(&member.group).or_default();
            *group = group.max(member.min_entropy);
        }
        best.values().sum()
    }

    /// Min-entropy per bit claimed of what comes out now: that of the best source under XOR, that of the worst one if
    /// they are interleaved, 1 under HKDF, 0 if nothing comes out.
    #[must_use]
    pub fn min_entropy(&self) -> f64 {
        match self.combining {
            _ if self.check_working().is_err() => 0.0,
            Combining::Xor => self
                .working()
                .map(|(_, m)| m.min_entropy)
                .fold(0.0, f64::max),
            Combining::Interleave => self
                .working()
                .map(|(_, m)| m.min_entropy)
                .fold(1.0, f64::min),
            Combining::Hkdf { .. } => 1.0,
        }
    }

    /// Combines one block of each source that works, all of one length, which under HKDF is a multiple of
    /// `bytes_each`. Appends to `out` and returns the kinds of the sources that contributed. `blocks` has a place for
    /// each source; that of a failed one is not looked at.
    ///
    /// # Errors
    /// If nothing may come out now, the blocks are not as described, or the sources are interleaved. Then `out` is
    /// unchanged.
    pub fn combine(
        &self,
        blocks: &[Option<&[u8]>],
        out: &mut Vec<u8>,
    ) -> Result<Kinds, CombineError> {
        self.check_working()?;
        let mut taken = Vec::with_capacity(self.members.len());
        for (index, member) in self.working() {
            let block = blocks.get(index).copied().flatten();
            let missing = || CombineError::NoBlock(member.identity.to_string());
            taken.push((index, block.ok_or_else(missing)?));
        }
        let len = taken.first().map_or(0, |(_, block)| block.len());
        if taken.iter().any(|(_, block)| block.len() != len) {
            return Err(CombineError::Lengths);
        }
        match self.combining {
            Combining::Interleave => return Err(CombineError::OneAtATime),
            Combining::Xor => xor(&taken, len, out),
            Combining::Hkdf { bytes_each, .. } if !len.is_multiple_of(bytes_each) => {
                return Err(CombineError::Multiple { len, bytes_each });
            }
            Combining::Hkdf {
                bytes_each,
                output_len,
            } => hkdf(&taken, len, bytes_each, output_len, out)?,
        }
        Ok(self
            .working()
            .map(|(_, member)| member.identity.kind)
            .collect())
    }
}

impl Combination {
    /// How they are combined.
    #[must_use]
    pub fn combining(&self) -> Combining {
        self.combining
    }

    /// Interleaving: tells whether a block of `source` may come out now, as it is, and of which kind it then is.
    ///
    /// # Errors
    /// If nothing may come out now, or the source is marked as failed, or there is no such source.
    pub fn pass(&self, source: usize) -> Result<Kinds, CombineError> {
        self.check_working()?;
        let member = self.working().find(|(index, _)| *index == source);
        let (_, member) = member.ok_or(CombineError::NotWorking(source))?;
        Ok(Kinds::of(member.identity.kind))
    }
}

fn xor(blocks: &[(usize, &[u8])], len: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + len, 0);
    for (_, block) in blocks {
        for (sum, byte) in out[start..].iter_mut().zip(*block) {
            *sum ^= byte;
        }
    }
}

/// For each output, the input keying material is: for each source its place (u32, big-endian), the number of bytes
/// (likewise) and the bytes. No salt.
fn hkdf(
    blocks: &[(usize, &[u8])],
    len: usize,
    bytes_each: usize,
    output_len: usize,
    out: &mut Vec<u8>,
) -> Result<(), CombineError> {
    let start = out.len();
    out.resize(start + len / bytes_each * output_len, 0);
    let mut material = Vec::with_capacity(blocks.len() * (8 + bytes_each));
    for (round, output) in out[start..].chunks_exact_mut(output_len).enumerate() {
        for (source, block) in blocks {
            material.extend_from_slice(&(*source as u32).to_be_bytes());
            material.extend_from_slice(&(bytes_each as u32).to_be_bytes());
            material.extend_from_slice(&block[round * bytes_each..][..bytes_each]);
        }
        let expanded = Hkdf::<Sha256>::new(None, &material).expand(b"qrng combine", output);
        material.zeroize();
        // At most 32 bytes: `check_working`.
        expanded.map_err(|_| CombineError::OutputLen(output_len))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
