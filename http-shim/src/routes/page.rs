//! `/`: a page that shows the state, live, in a browser; and the picture of tested bytes that it has.
//!
//! The page itself says nothing of the gateway and needs no key: it asks `/api/status` for what it shows, and a user for a key
//! where that needs one. Its policy lets it load and ask nothing but this service.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::typed;
use crate::app::App;

const HTML: &str = include_str!("../../page/page.html");
const STYLE: &str = include_str!("../../page/page.css");
const SCRIPT: &str = include_str!("../../page/page.js");

/// What the page may do: its own script, style and requests; the empty icon is a `data:` URL.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page and its parts.
pub(super) fn page() -> Router<Arc<App>> {
    Router::new()
        .route(
            "/",
            get(|| async { part("text/html; charset=utf-8", HTML) }),
        )
        .route(
            "/page.css",
            get(|| async { part("text/css; charset=utf-8", STYLE) }),
        )
        .route(
            "/page.js",
            get(|| async { part("text/javascript; charset=utf-8", SCRIPT) }),
        )
}

/// The routes of this file that are interfaces.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(specimen))
}

fn part(kind: &'static str, text: &'static str) -> Response {
    const HEADERS: [(HeaderName, &str); 2] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (HEADERS, [(CONTENT_TYPE, kind)], text).into_response()
}

/// Bytes that the last test has used up
///
/// The first 2048 of them, for a picture of 128 by 128 bits. They were never served, and never will be.
#[utoipa::path(
    get,
    path = "/api/specimen",
    tag = "state",
    responses(
        (status = 200, description = "The bytes.", body = String, content_type = "application/octet-stream"),
        (status = 204, description = "Nothing was tested yet."),
        crate::openapi::Refusals
    )
)]
async fn specimen(State(app): State<Arc<App>>) -> Response {
    let bytes = app.specimen.bytes();
    if bytes.is_empty() {
        return StatusCode::NO_CONTENT.into_response();
    }
    typed("application/octet-stream", bytes.into())
}
