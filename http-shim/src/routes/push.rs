//! `POST /push`: packets of a collector, for networks that no datagram gets through. The path is there only if it is configured.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use qrng::push::{BODY_MAX, MEDIA_TYPE};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::front::too_large;
use crate::problem::Problem;

/// The routes of this file.
pub(super) fn routes(app: &App) -> OpenApiRouter<Arc<App>> {
    match app.push {
        Some(_) => OpenApiRouter::new().routes(routes!(push)),
        None => OpenApiRouter::new(),
    }
}

/// Packets of a collector
///
/// Needs a key of a collector. The body is packets, each with its length before it in two bytes, big-endian. The answer says that
/// they were handed over to the gateway, and nothing of what it made of them.
#[utoipa::path(
    post,
    path = "/push",
    tag = "push",
    request_body(content = Vec<u8>, content_type = "application/vnd.qrng.packets"),
    responses(
        (status = 204, description = "They were handed over."),
        (status = 400, description = "The body is no packets.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "A key is needed.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The key is not a collector's.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is of another type.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gateway does not listen.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn push(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let push = app
        .push
        .as_ref()
        .ok_or_else(|| Problem::not_found("nothing can be pushed here"))?;
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case(MEDIA_TYPE)) {
        return Err(Problem::wrong_type(format!(
            "send packets with `Content-Type: {MEDIA_TYPE}`"
        )));
    }
    let _room = push.room().ok_or_else(|| {
        Problem::too_many("too many bodies are being taken; try again later").retry_after(1)
    })?;
    // It breaks off for nothing else: a body that is too slow is the front's business, and one that ends early has nobody who
    // waits for an answer.
    let body = axum::body::to_bytes(body, BODY_MAX)
        .await
        .map_err(|_| too_large(BODY_MAX))?;
    let packets = qrng::push::packets(&body)
        .map_err(|e| Problem::bad_request(format!("the body is no packets: {e}")))?;
    push.hand_over(packets).await.map_err(|e| {
        let gateway = push.gateway();
        Problem::gone(format!(
            "the gateway does not take packets at {gateway} ({e}); start it, or see push.gateway"
        ))
        .retry_after(1)
    })?;
    Ok(StatusCode::NO_CONTENT)
}
