//! Random bytes: `/api/random`, `/api/v1/random/bytes`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Params, WantsJson, typed, within};
use crate::app::App;
use crate::body::{Encoding, Long};
use crate::problem::Problem;

/// Bytes that are given if nothing is said.
const DEFAULT: u64 = 32;

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(random))
        .routes(routes!(v1_bytes))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RandomQuery {
    /// How many bytes; 32 if left out.
    #[param(minimum = 1, maximum = 16777216)]
    bytes: Option<u64>,
    /// How they are written; `hex` if left out.
    #[param(inline)]
    encoding: Option<Encoding>,
    /// Milliseconds to wait for if there are not enough bytes; 0 if left out.
    #[param(minimum = 0, maximum = 60000)]
    wait: Option<u64>,
}

/// An answer of /api/random in JSON.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written piece by piece")]
struct RandomAnswer {
    /// How `data` is written: `hex` or `base64`.
    encoding: String,
    /// The bytes.
    data: String,
}

/// Random bytes
///
/// Text by default, JSON if `Accept` asks for it, and raw bytes with `encoding=binary`.
#[utoipa::path(
    get,
    path = "/api/random",
    tag = "random",
    params(RandomQuery),
    responses(
        (status = 200, description = "The bytes.", content(
            (String = "text/plain"),
            (RandomAnswer = "application/json"),
            (String = "application/octet-stream")
        )),
        crate::openapi::Refusals
    )
)]
async fn random(
    State(app): State<Arc<App>>,
    Params(query): Params<RandomQuery>,
    WantsJson(json): WantsJson,
) -> Result<Response, Problem> {
    let bytes = within("bytes", query.bytes.unwrap_or(DEFAULT), app.limits.bytes)?;
    let encoding = query.encoding.unwrap_or(Encoding::Hex);
    let deadline = app.deadline(query.wait)?;
    let (kind, before, after) = match (encoding, json) {
        (Encoding::Binary, _) => ("application/octet-stream", "", ""),
        (Encoding::Hex, true) => ("application/json", r#"{"encoding":"hex","data":""#, "\"}"),
        (Encoding::Base64, true) => (
            "application/json",
            r#"{"encoding":"base64","data":""#,
            "\"}",
        ),
        (_, false) => ("text/plain; charset=utf-8", "", "\n"),
    };
    let long = Long {
        before,
        encoding,
        after,
        bytes,
    };
    Ok(typed(kind, long.into_body(&app, deadline).await?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct BytesQuery {
    /// How many bytes; 32 if left out.
    #[param(minimum = 1, maximum = 16777216)]
    count: Option<u64>,
    /// How they are written; `hex` if left out.
    #[param(inline)]
    format: Option<Encoding>,
    /// Milliseconds to wait for if there are not enough bytes; 0 if left out.
    #[param(minimum = 0, maximum = 60000)]
    wait: Option<u64>,
}

/// An answer of /api/v1/random/bytes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written piece by piece")]
struct BytesEnvelope {
    /// Always true: failures are problems with a status of their own.
    success: bool,
    /// The answer itself.
    data: BytesData,
}

/// The bytes of an answer of /api/v1/random/bytes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written piece by piece")]
struct BytesData {
    /// How `bytes` is written.
    format: String,
    /// The bytes.
    bytes: String,
}

/// Random bytes in an envelope
#[utoipa::path(
    get,
    path = "/api/v1/random/bytes",
    tag = "random",
    params(BytesQuery),
    responses(
        (status = 200, description = "The bytes.", content(
            (BytesEnvelope = "application/json"),
            (String = "application/octet-stream")
        )),
        crate::openapi::Refusals
    )
)]
async fn v1_bytes(
    State(app): State<Arc<App>>,
    Params(query): Params<BytesQuery>,
) -> Result<Response, Problem> {
    let bytes = within("count", query.count.unwrap_or(DEFAULT), app.limits.bytes)?;
    let encoding = query.format.unwrap_or(Encoding::Hex);
    let deadline = app.deadline(query.wait)?;
    let (kind, before, after) = match encoding {
        Encoding::Binary => ("application/octet-stream", "", ""),
        Encoding::Hex => (
            "application/json",
            r#"{"success":true,"data":{"format":"hex","bytes":""#,
            "\"}}",
        ),
        Encoding::Base64 => (
            "application/json",
            r#"{"success":true,"data":{"format":"base64","bytes":""#,
            "\"}}",
        ),
    };
    let long = Long {
        before,
        encoding,
        after,
        bytes,
    };
    Ok(typed(kind, long.into_body(&app, deadline).await?))
}
