//! How it is: `/health` for everybody, `/api/status` for those who may ask.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::document::Gateway;
use crate::problem::Problem;

/// More than this is healthy, in percent of the buffer.
const HEALTHY: f64 = 30.0;

/// Less than this is unhealthy.
const UNHEALTHY: f64 = 10.0;

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(status))
}

/// How the gateway is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Verdict {
    /// `healthy`, `degraded` or `unhealthy`.
    status: &'static str,
    /// Why, and what else an operator should know.
    warnings: Vec<String>,
    /// How full the gateway's buffer is.
    buffer_fill_percent: f64,
    /// Verified bits that came in the last second, in millions.
    entropy_rate_mbps: f64,
    /// Seconds since the gateway started.
    uptime_seconds: f64,
    /// Bytes that readers of the gateway got since it started, by whatever way.
    total_bytes_served: u64,
    /// A source's temperature in degrees Celsius, where the device reports one.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_temperature_celsius: Option<f64>,
}

/// Judges what the gateway says of itself.
pub fn judge(gateway: Result<&Gateway, &str>) -> Verdict {
    let nothing = Gateway::default();
    let told = gateway.unwrap_or(&nothing);
    let fill = told.fill_percent();
    let mut warnings: Vec<String> = gateway.err().map(str::to_owned).into_iter().collect();
    warnings.extend(told.reasons.iter().cloned());
    let status = match gateway {
        Err(_) => "unhealthy",
        Ok(gateway) if gateway.is_latched() || fill < UNHEALTHY => "unhealthy",
        Ok(_) if fill <= HEALTHY => "degraded",
        Ok(_) => "healthy",
    };
    if gateway.is_ok() && fill <= HEALTHY {
        warnings.push(format!(
            "the buffer is filled to {fill:.1} %: more is read than comes"
        ));
    }
    let mut sensors = told.sources.iter().flat_map(|source| &source.sensors);
    let temperature = sensors.find(|(name, _)| name.contains("temperature"));
    Verdict {
        status,
        warnings,
        buffer_fill_percent: (fill * 10.0).round() / 10.0,
        entropy_rate_mbps: told.rates.admitted_bytes_per_second * 8.0 / 1e6,
        uptime_seconds: told.uptime_seconds,
        total_bytes_served: told.bytes.get("served").copied().unwrap_or(0.0) as u64,
        device_temperature_celsius: temperature.map(|(_, value)| *value),
    }
}

/// How the gateway is
///
/// Needs no key. Healthy with more than 30 % in the buffer, degraded with 10 to 30 %, unhealthy below, when a health test has
/// latched, and without a gateway.
#[utoipa::path(
    get,
    path = "/health",
    tag = "state",
    security(()),
    responses(
        (status = 200, description = "Healthy or degraded.", body = Verdict),
        (status = 503, description = "Unhealthy.", body = Verdict),
        crate::openapi::Limited
    )
)]
async fn health(State(app): State<Arc<App>>) -> Response {
    let look = app.document.last();
    let verdict = match &look {
        None => judge(Err("the gateway has not been asked yet")),
        Some(look) => judge(look.fresh().map(|seen| &seen.gateway)),
    };
    let status = match verdict.status {
        "unhealthy" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    (status, Json(verdict)).into_response()
}

/// The whole state
///
/// The gateway's status document as it is, and this service's own numbers.
#[utoipa::path(
    get,
    path = "/api/status",
    tag = "state",
    responses(
        (status = 200, description = "The state.", body = StatusAnswer),
        crate::openapi::Refusals
    )
)]
async fn status(State(app): State<Arc<App>>) -> Result<Json<Value>, Problem> {
    let look = app.document.last();
    let gateway = match look.as_ref().map(|look| look.fresh()) {
        Some(Ok(seen)) => seen.raw.clone(),
        Some(Err(why)) => return Err(Problem::gone(why).retry_after(5)),
        None => return Err(Problem::gone("the gateway has not been asked yet").retry_after(1)),
    };
    let books = app.pool.books();
    Ok(Json(json!({
        "gateway": gateway,
        "http": {
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": app.started.elapsed().as_secs(),
            "bytes": {
                "fetched": books.fetched.get(),
                "served": books.served.get(),
                "tested": books.tested.get(),
                "wiped": books.wiped.get(),
                "held": app.pool.held(),
            },
            "requests_waiting": app.pool.waiting(),
            "push": app.push.as_ref().map(|push| {
                let (packets, bytes) = push.handed_over();
                json!({ "packets": packets, "bytes": bytes, "failures": push.failures() })
            }),
        },
    })))
}

/// An answer of /api/status.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is put together")]
struct StatusAnswer {
    /// The gateway's status document: what `qrng status --json` shows.
    #[schema(value_type = Object)]
    gateway: Value,
    /// This service's own numbers.
    #[schema(value_type = Object)]
    http: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(state: &str, fill: u64) -> Gateway {
        serde_json::from_value(json!({
            "state": state, "buffer": {"capacity_bytes": 1000, "fill_bytes": fill},
            "rates": {"admitted_bytes_per_second": 500_000}, "bytes": {"served": 77},
        }))
        .unwrap()
    }

    #[test]
    fn the_verdict_follows_the_fill_and_the_latch() {
        for (state, fill, expected) in [
            ("serving", 1000, "healthy"),
            ("serving", 301, "healthy"),
            ("serving", 300, "degraded"),
            ("serving", 100, "degraded"),
            ("serving", 99, "unhealthy"),
            ("waiting", 0, "unhealthy"),
            ("latched", 1000, "unhealthy"),
        ] {
            let verdict = judge(Ok(&gateway(state, fill)));
            assert_eq!(verdict.status, expected, "{state} {fill}");
            assert_eq!(verdict.warnings.is_empty(), fill > 300, "{state} {fill}");
        }
        let verdict = judge(Ok(&gateway("serving", 1000)));
        assert_eq!(verdict.entropy_rate_mbps, 4.0);
        assert_eq!(verdict.total_bytes_served, 77);
        assert!(verdict.device_temperature_celsius.is_none());
        let verdict = judge(Err("gone"));
        assert_eq!(
            (verdict.status, &*verdict.warnings),
            ("unhealthy", &["gone".to_owned()][..])
        );
    }
}
