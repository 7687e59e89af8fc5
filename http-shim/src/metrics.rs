//! Counters of requests, resolved ahead: counting one takes no lock and no look-up.

use std::time::Duration;

use axum::http::StatusCode;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};

use crate::routes::LABELS;

/// Upper bounds of the histogram, in seconds.
const BOUNDS: [f64; 9] = [0.0002, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Why requests are refused before they reach a route.
const REFUSALS: [&str; 5] = ["no-key", "wrong-key", "other-key", "host", "rate"];

/// Classes of status codes.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Counters since the start.
pub struct Metrics {
    registry: Registry,
    answered: Vec<[IntCounter; CLASSES.len()]>,
    time: Vec<Histogram>,
    refused: [IntCounter; REFUSALS.len()],
}

impl Metrics {
    /// All zero.
    ///
    /// # Errors
    /// Two of them have one name, which a test excludes.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let requests = IntCounterVec::new(
            Opts::new(
                "qrng_http_requests_total",
                "Requests answered, by route and class of status.",
            ),
            &["route", "class"],
        )?;
        let time = HistogramVec::new(
            HistogramOpts::new(
                "qrng_http_request_seconds",
                "Time to the head of the answer, by route.",
            )
            .buckets(BOUNDS.to_vec()),
            &["route"],
        )?;
        let refused = IntCounterVec::new(
            Opts::new(
                "qrng_http_refused_total",
                "Requests refused before any route, by reason.",
            ),
            &["reason"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(time.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self {
            registry,
            answered: LABELS
                .iter()
                .map(|label| CLASSES.map(|class| requests.with_label_values(&[label, class])))
                .collect(),
            time: LABELS
                .iter()
                .map(|label| time.with_label_values(&[*label]))
                .collect(),
            refused: REFUSALS.map(|reason| refused.with_label_values(&[reason])),
        })
    }

    /// What has been counted.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Counts an answer of the route with this label.
    pub fn answered(&self, label: usize, status: StatusCode, time: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        if let (Some(answered), Some(histogram)) = (self.answered.get(label), self.time.get(label))
        {
            answered[class].inc();
            histogram.observe(time.as_secs_f64());
        }
    }

    /// Counts a request that was refused before any route.
    pub fn refused(&self, reason: &str) {
        if let Some(index) = REFUSALS.iter().position(|known| *known == reason) {
            self.refused[index].inc();
        }
    }
}
