//! What an appliance answered: random bytes, or something to refuse.
//!
//! ```text
//!  status, headers ── Head::check ──> whether the body is to be read
//!  body ───────────── take ─────────> exactly as many bytes as were asked for
//! ```
//!
//! The bytes come raw, or on some firmware as a JSON array of numbers (Quantis hardware, docs/hardware.md section 5). The body itself
//! shows which: of [`LEAST`] random bytes, fewer than one in 2^250 look like an array of numbers, and fewer than one in
//! 2^50 are UTF-8. What a Content-Type says is not looked at: it is a text's word about itself.

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};

use crate::source::{Failure, Fault};

/// The fewest bytes to ask for, so that they cannot be taken for a text.
pub const LEAST: usize = 64;
/// Room in a body for each byte as JSON: three digits, a comma, and an indented line of its own.
const JSON_ROOM: usize = 12;
/// Characters shown of a text that came in place of random bytes.
const SHOWN: usize = 60;

/// The longest body that is read when `size` bytes are asked for, in bytes.
pub(super) const fn longest(size: usize) -> usize {
    JSON_ROOM * size
}

/// Everything of an answer but its body.
#[derive(Debug, Default)]
pub(super) struct Head<'a> {
    /// The HTTP status.
    pub(super) status: u16,
    /// Content-Encoding.
    pub(super) encoding: Option<&'a str>,
    /// Content-Length.
    pub(super) length: Option<u64>,
    /// Location.
    pub(super) location: Option<&'a str>,
}

impl Head<'_> {
    /// Refuses what cannot be followed by `size` random bytes.
    ///
    /// # Errors
    /// What the appliance said in place of them.
    pub(super) fn check(&self, size: usize) -> Result<(), Failure> {
        if self.status != 200 {
            return Err(self.refused());
        }
        if let Some(encoding) = self.encoding
            && !encoding.eq_ignore_ascii_case("identity")
        {
            return Err(nonsense(format!(
                "answers with Content-Encoding {}, which was not asked for; turn it off there",
                shown(encoding)
            )));
        }
        match self.length {
            // What is too short may be a text that says why.
            Some(length) if length > longest(size) as u64 => Err(long(length, size)),
            _ => Ok(()),
        }
    }

    /// What a status other than 200 means.
    fn refused(&self) -> Failure {
        let status = self.status;
        let (fault, text) = match status {
            300..=399 => (
                Fault::Unavailable,
                format!(
                    "answers {status} and points to {}, which is not followed; \
                     put the appliance's own address in urls",
                    shown(self.location.unwrap_or("nowhere"))
                ),
            ),
            401 | 403 => (
                Fault::Unavailable,
                format!(
                    "answers {status}: it does not let this host in; \
                     see its access list, and client-certificate"
                ),
            ),
            404 => (
                Fault::Unavailable,
                format!(
                    "answers 404: it has no {PATH}; \
                     see that urls leads to the appliance, and which firmware it has",
                    PATH = super::PATH
                ),
            ),
            500..=599 => (
                Fault::Unhealthy,
                format!("answers {status}: it says that it does not work; see its own status page"),
            ),
            _ => (
                Fault::Nonsense,
                format!("answers {status}; see that urls leads to the appliance"),
            ),
        };
        Failure::new(fault, text)
    }
}

/// Takes the random bytes out of a whole `body` into `out`, which is as long as was asked for.
///
/// # Errors
/// The body is anything but just these bytes. `out` may then hold some of it.
pub(super) fn take(body: &[u8], out: &mut [u8]) -> Result<(), Failure> {
    let size = out.len();
    // Before it can be taken for a text of zeros.
    refuse_equal(body)?;
    let count = if is_array(body) {
        array(body, out)?
    } else if let Some(text) = text(body) {
        return Err(nonsense(format!(
            "answers with text in place of random bytes: {}; see in a browser what it wants",
            shown(text)
        )));
    } else {
        if body.len() == size {
            out.copy_from_slice(body);
        }
        body.len()
    };
    if count < size {
        return Err(short(count as u64, size));
    }
    if count > size {
        return Err(long(count as u64, size));
    }
    refuse_equal(out)
}

fn refuse_equal(bytes: &[u8]) -> Result<(), Failure> {
    match bytes {
        [first, rest @ ..] if rest.iter().all(|byte| byte == first) => Err(nonsense(format!(
            "gave {} bytes that are all {first:#04x}; see whether its generator works",
            bytes.len()
        ))),
        _ => Ok(()),
    }
}

/// Whether nothing but an array of numbers can be meant.
fn is_array(body: &[u8]) -> bool {
    let Some(inner) = body.trim_ascii().strip_prefix(b"[") else {
        return false;
    };
    inner.strip_suffix(b"]").is_some_and(|inner| {
        inner
            .iter()
            .all(|b| b.is_ascii_digit() || b.is_ascii_whitespace() || *b == b',')
    })
}

/// The body, if it is a text; its beginning, if it is a page in an encoding of long ago.
fn text(body: &[u8]) -> Option<&str> {
    let whole = std::str::from_utf8(body);
    if whole.is_ok_and(|text| !text.trim().is_empty()) {
        return whole.ok();
    }
    let valid = whole.err().map_or(0, |e| e.valid_up_to());
    let start = std::str::from_utf8(&body[..valid]).ok()?.trim_start();
    let begins = |with: &str| {
        let start = start.get(..with.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    (begins("<!doctype") || begins("<html")).then_some(start)
}

/// Reads a JSON array of bytes into `out`, as far as there is room; says how many there are.
fn array(body: &[u8], out: &mut [u8]) -> Result<usize, Failure> {
    struct Bytes<'o>(&'o mut [u8]);
    impl<'de> Visitor<'de> for Bytes<'_> {
        type Value = usize;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array of numbers")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<usize, A::Error> {
            let mut count = 0;
            while let Some(number) = numbers.next_element::<u64>()? {
                let byte = u8::try_from(number);
                let byte = byte.map_err(|_| A::Error::custom("a number above 255"))?;
                if let Some(place) = self.0.get_mut(count) {
                    *place = byte;
                }
                count += 1;
            }
            Ok(count)
        }
    }
    serde_json::Deserializer::from_slice(body)
        .deserialize_seq(Bytes(out))
        .map_err(|e| {
            nonsense(format!(
                "answers with what is no array of bytes: {e}; see which firmware it has"
            ))
        })
}

/// Fewer than `size` bytes came.
fn short(count: u64, size: usize) -> Failure {
    Failure::new(
        Fault::Short,
        format!("gave {count} bytes where {size} were asked for; try a smaller fetch-size"),
    )
}

/// A body of `count` bytes or more came, where `size` bytes were asked for.
pub(super) fn long(count: u64, size: usize) -> Failure {
    nonsense(format!(
        "gave {count} bytes where {size} were asked for; see that urls leads to the appliance"
    ))
}

fn nonsense(text: String) -> Failure {
    Failure::new(Fault::Nonsense, text)
}

/// The beginning of a text from outside, in quotes, and without what would steer a terminal.
fn shown(text: &str) -> String {
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(SHOWN) {
        words.truncate(end);
        words.push_str("...");
    }
    format!("{words:?}")
}

#[cfg(test)]
mod tests;
