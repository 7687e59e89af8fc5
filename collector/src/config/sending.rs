//! How to cut and pace what is sent.

use std::num::NonZeroU64;

use qrng::packet::{ANNOUNCEMENT_LEN, DEFAULT_DATA, MAX_DATA, MIN_DATA, OVERHEAD};
use qrng::units::{Amount, parse_rate};
use qrng_daemon::Problems;
use serde::{Deserialize, Serialize};

use super::raw::RawSend;
use super::{Gateway, SourceConfig};
use crate::acquire::Cut;
use crate::send::{LONGEST_BATCH, MOST_SEGMENTS, headers as headers_of};

/// The largest data field that fits in IPv6 over Ethernet without fragments, in bytes.
const MAX_DATA_V6: usize = DEFAULT_DATA;
/// What may go at once over a paced link unless configured, in bytes.
const DEFAULT_BURST: u64 = 256 * 1024;
/// The lowest pace for each gateway, in bytes a second: announcements and reports alone take 3 kB.
const LEAST_RATE: u64 = 16_000;

/// How to cut and pace what is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendConfig {
    /// Length of a full packet's data field: one content byte, then random bytes.
    pub data_size: usize,
    /// Bytes a second with IP and UDP headers; `None` is no limit.
    pub rate: Option<NonZeroU64>,
    /// The most bytes at once, with headers, if there is a rate.
    pub burst: u64,
    /// Datagrams handed to the kernel at once, at most.
    pub segments: usize,
}

impl SendConfig {
    /// How random bytes are cut into packets.
    pub fn cut(&self) -> Cut {
        Cut {
            full: self.data_size - 1,
            least: MIN_DATA - 1,
        }
    }

    /// Random bytes that are handed on at once, at most.
    pub fn block(&self) -> usize {
        self.segments * self.cut().full
    }

    /// Bytes of the datagrams that are handed to the kernel at once, at most.
    pub fn batch(&self) -> usize {
        self.segments * (self.data_size + OVERHEAD)
    }
}

/// A rate in bytes a second, or `unlimited`.
pub(super) fn limit(text: &str) -> Result<Option<NonZeroU64>, String> {
    if text == "unlimited" {
        return Ok(None);
    }
    let rate = parse_rate(text).map_err(|e| e.to_string())?;
    NonZeroU64::new(rate).map(Some).ok_or("is zero".into())
}

/// Checks the settings for sending to `gateways`.
pub(super) fn check(problems: &mut Problems, raw: &RawSend, gateways: &[Gateway]) -> SendConfig {
    let data_size = data_size(problems, raw, gateways);
    let rate_text = raw.rate.as_ref().map_or("unlimited", Amount::text);
    let rate = problems
        .keep(
            "send.rate",
            limit(rate_text),
            "write \"unlimited\" or a rate such as \"40 MB/s\"",
        )
        .flatten();
    let least = LEAST_RATE * gateways.len().max(1) as u64;
    if rate.is_some_and(|r| r.get() < least) {
        problems.add(
            "send.rate",
            format!("`{rate_text}` leaves no room beside announcements and reports"),
            format!("give at least {least} B/s"),
        );
    }
    let burst = size(problems, "send.burst", raw.burst.as_ref(), DEFAULT_BURST);
    let headers = gateways.iter().filter_map(Gateway::address);
    let headers = headers.map(|address| headers_of(&address)).max();
    let datagram = data_size + OVERHEAD;
    let wire = (datagram.max(ANNOUNCEMENT_LEN) + headers.unwrap_or(0)) as u64;
    if burst < wire {
        problems.add(
            "send.burst",
            format!("{burst} bytes are less than a packet with its headers"),
            format!("give at least {wire}"),
        );
    }
    SendConfig {
        data_size,
        rate,
        burst,
        segments: segments(datagram, wire, rate, burst),
    }
}

/// Refuses a pace at which sources that are expected to give so much would be read less often, and so alarm falsely. `added_up`:
/// the link carries all that comes of each.
pub(super) fn check_pace(
    problems: &mut Problems,
    send: &SendConfig,
    sources: &[SourceConfig],
    added_up: bool,
) {
    // Sources that are mixed with others have reasons of their own to be read less often.
    let (Some(pace), true) = (send.rate, sources.len() == 1 || added_up) else {
        return;
    };
    let mut names = Vec::new();
    let mut rates = Vec::new();
    let mut output = 0.0;
    for source in sources {
        if let Some(rate) = source.health.as_ref().and_then(|h| h.expected_rate) {
            names.push(format!("`{}`", source.name));
            rates.push(rate.to_string());
            // What it asks of the link at least, without any header.
            output += rate as f64 * source.claim.output_per_input;
        }
    }
    if output > pace.get() as f64 {
        problems.add(
            "send.rate",
            format!(
                "{pace} B/s is less than comes of {} at an expected rate of {} B/s, so that less would be read and \
                 fail the test of the rate",
                names.join(" and "),
                rates.join(" and ")
            ),
            "send faster, or expect no rate",
        );
    }
}

fn data_size(problems: &mut Problems, raw: &RawSend, gateways: &[Gateway]) -> usize {
    let v6 = gateways
        .iter()
        .any(|g| g.address().is_some_and(|a| a.is_ipv6()));
    let (most, network) = if v6 {
        (MAX_DATA_V6, "IPv6")
    } else {
        (MAX_DATA, "IPv4")
    };
    let given = raw.data_size.as_ref();
    let given = size(problems, "send.data-size", given, DEFAULT_DATA as u64);
    match usize::try_from(given) {
        Ok(size) if (MIN_DATA..=most).contains(&size) => size,
        _ => {
            problems.add(
                "send.data-size",
                format!("{given} bytes do not make a packet for {network} over Ethernet"),
                format!("give {MIN_DATA} to {most}"),
            );
            DEFAULT_DATA
        }
    }
}

/// How many datagrams of `length` bytes (`wire` with headers) go to the kernel at once: no more
/// than it takes, and of a paced link no more than the burst, or than goes in 10 ms, so that
/// packets do not age in the queues.
pub(super) fn segments(length: usize, wire: u64, rate: Option<NonZeroU64>, burst: u64) -> usize {
    let kernel = MOST_SEGMENTS.min(LONGEST_BATCH / length);
    let Some(rate) = rate else {
        return kernel;
    };
    let paced = burst.min(rate.get() / 100) / wire;
    usize::try_from(paced).unwrap_or(kernel).clamp(1, kernel)
}

/// A size in bytes, or the default if it is not given or not understood.
fn size(problems: &mut Problems, key: &str, raw: Option<&Amount>, default: u64) -> u64 {
    raw.and_then(|amount| problems.keep(key, amount.size(), "write a size such as \"64 KiB\""))
        .unwrap_or(default)
}
