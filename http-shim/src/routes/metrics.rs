//! `/metrics`: numbers for Prometheus (text format 0.0.4). Those of the gateway are read out of its last document, those of
//! requests were counted here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::response::Response;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, CounterVec, Encoder, Gauge, GaugeVec, Opts, TextEncoder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::typed;
use crate::app::App;
use crate::document::{Gateway, Seen};
use crate::problem::Problem;

/// The media type of the format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the gateway may be doing.
const STATES: [&str; 4] = ["serving", "waiting", "stalled", "latched"];

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Numbers for Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "state",
    responses(
        (status = 200, description = "The numbers.", body = String, content_type = "text/plain"),
        crate::openapi::Refusals
    )
)]
async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let text =
        render(&app).map_err(|e| Problem::gone(format!("the numbers cannot be written: {e}")))?;
    Ok(typed(TEXT, text.into()))
}

fn render(app: &App) -> prometheus::Result<Vec<u8>> {
    let mut page = Page::default();
    let look = app.document.last();
    let seen = look.as_ref().and_then(|look| look.fresh().ok());
    page.gauge(
        "qrng_gateway_up",
        "Whether the gateway answers.",
        f64::from(seen.is_some()),
    )?;
    if let Some(Seen { gateway, .. }) = seen {
        of_gateway(&mut page, gateway)?;
    }
    own(&mut page, app)?;
    let mut families = page.0;
    families.extend(app.metrics.registry().gather());
    families.sort_by(|a, b| a.name().cmp(b.name()));
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text)?;
    Ok(text)
}

/// What the gateway says of itself.
fn of_gateway(page: &mut Page, gateway: &Gateway) -> prometheus::Result<()> {
    let fill = gateway.fill_percent();
    page.gauge(
        "qrng_buffer_capacity_bytes",
        "Most bytes that the buffer holds.",
        gateway.buffer.capacity_bytes,
    )?;
    page.gauge(
        "qrng_buffer_fill_bytes",
        "Bytes in the buffer.",
        gateway.buffer.fill_bytes,
    )?;
    page.gauge(
        "qrng_buffer_fill_ratio",
        "How full the buffer is, 0 to 1.",
        fill / 100.0,
    )?;
    page.gauge("qrng_buffer_fill_percent", "The same in percent.", fill)?;
    page.gauge(
        "qrng_entropy_rate_bytes_per_second",
        "Verified bytes that came in the last second.",
        gateway.rates.admitted_bytes_per_second,
    )?;
    page.gauge(
        "qrng_gateway_uptime_seconds",
        "Time since the gateway started.",
        gateway.uptime_seconds,
    )?;
    if let Some(age) = gateway.last_verified_age_seconds {
        page.gauge(
            "qrng_last_verified_age_seconds",
            "Time since the last packet that was verified.",
            age,
        )?;
    }
    let states = STATES.map(|state| (state.to_owned(), f64::from(gateway.state == state)));
    page.gauges(
        "qrng_gateway_state",
        "1 for what the gateway does, 0 for the others.",
        "state",
        &states.into(),
    )?;
    let count = |name: &str| gateway.packets.get(name).copied().unwrap_or(0.0);
    page.counter(
        "qrng_packets_admitted_total",
        "Data packets verified.",
        count("admitted"),
    )?;
    page.counter(
        "qrng_packets_lost_total",
        "Data packets that never came.",
        count("lost"),
    )?;
    page.counter(
        "qrng_packets_socket_dropped_total",
        "Datagrams that the socket had no room for.",
        count("socket_drops"),
    )?;
    page.counter(
        "qrng_packets_from_this_host_total",
        "Datagrams that the gateway's own host has sent: what collectors push.",
        count("from_this_host"),
    )?;
    page.counters(
        "qrng_packets_rejected_total",
        "Datagrams refused, by reason.",
        "reason",
        &gateway.rejected,
    )?;
    let is_counter = |name: &str| !matches!(name, "held" | "in_flight");
    let mut bytes = gateway.bytes.clone();
    bytes.retain(|name, _| is_counter(name));
    page.counters(
        "qrng_bytes_total",
        "What became of the bytes, by their end.",
        "end",
        &bytes,
    )?;
    page.counter(
        "qrng_health_intermittent_alarms_total",
        "Alarms of the gateway's health tests that passed.",
        gateway.health.intermittent_alarms,
    )?;
    page.counter(
        "qrng_health_permanent_alarms_total",
        "Alarms of the gateway's health tests that latched.",
        gateway.health.permanent_alarms,
    )?;
    let mut ages = BTreeMap::new();
    let mut temperatures = BTreeMap::new();
    for source in &gateway.sources {
        if let Some(age) = source.age_seconds {
            ages.insert(source.name.clone(), age);
        }
        // Only where a device reports one.
        let heat = source
            .sensors
            .iter()
            .find(|(name, _)| name.contains("temperature"));
        temperatures.extend(heat.map(|(_, value)| (source.name.clone(), *value)));
    }
    page.gauges(
        "qrng_source_report_age_seconds",
        "Time since the collector's report about a source.",
        "source",
        &ages,
    )?;
    page.gauges(
        "qrng_device_temperature_celsius",
        "Temperature that a device reports.",
        "source",
        &temperatures,
    )
}

/// What this service says of itself.
fn own(page: &mut Page, app: &App) -> prometheus::Result<()> {
    let books = app.pool.books();
    let bytes = [
        ("served", books.served.get()),
        ("tested", books.tested.get()),
        ("wiped", books.wiped.get()),
    ];
    let bytes = bytes.map(|(end, count)| (end.to_owned(), count as f64));
    page.counters(
        "qrng_http_bytes_total",
        "What became of the bytes that this service fetched.",
        "end",
        &bytes.into(),
    )?;
    page.counter(
        "qrng_http_fetched_bytes_total",
        "Bytes that this service took from the gateway.",
        books.fetched.get() as f64,
    )?;
    page.gauge(
        "qrng_http_held_bytes",
        "Bytes that this service holds for the next requests.",
        app.pool.held() as f64,
    )?;
    page.gauge(
        "qrng_http_requests_waiting",
        "Requests that wait for bytes.",
        app.pool.waiting() as f64,
    )?;
    page.gauge(
        "qrng_http_connections",
        "Connections.",
        app.connections.count() as f64,
    )?;
    if let Some(push) = &app.push {
        let (packets, bytes) = push.handed_over();
        page.counter(
            "qrng_http_pushed_packets_total",
            "Packets of collectors handed over to the gateway.",
            packets as f64,
        )?;
        page.counter(
            "qrng_http_pushed_bytes_total",
            "Bytes of these packets.",
            bytes as f64,
        )?;
        page.counter(
            "qrng_http_push_failures_total",
            "Bodies of collectors that could not be handed over, because the gateway does not listen.",
            push.failures() as f64,
        )?;
    }
    let driven_out = app.connections.driven_out.load(Ordering::Relaxed);
    page.counter(
        "qrng_http_connections_driven_out_total",
        "Connections closed or refused because there were too many.",
        driven_out as f64,
    )?;
    page.gauge(
        "qrng_http_uptime_seconds",
        "Time since this service started.",
        app.started.elapsed().as_secs_f64(),
    )
}

/// Families of numbers that are made for one answer.
#[derive(Default)]
struct Page(Vec<MetricFamily>);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> prometheus::Result<()> {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        self.0.extend(gauge.collect());
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) -> prometheus::Result<()> {
        let counter = Counter::new(name, help)?;
        counter.inc_by(value.max(0.0));
        self.0.extend(counter.collect());
        Ok(())
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &BTreeMap<String, f64>,
    ) -> prometheus::Result<()> {
        let gauges = GaugeVec::new(Opts::new(name, help), &[label])?;
        for (of, value) in values {
            gauges.with_label_values(&[of]).set(*value);
        }
        self.some(gauges.collect());
        Ok(())
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &BTreeMap<String, f64>,
    ) -> prometheus::Result<()> {
        let counters = CounterVec::new(Opts::new(name, help), &[label])?;
        for (of, value) in values {
            counters.with_label_values(&[of]).inc_by(value.max(0.0));
        }
        self.some(counters.collect());
        Ok(())
    }

    /// A family without a number is no family.
    fn some(&mut self, families: Vec<MetricFamily>) {
        let full = families
            .into_iter()
            .filter(|family| !family.get_metric().is_empty());
        self.0.extend(full);
    }
}
