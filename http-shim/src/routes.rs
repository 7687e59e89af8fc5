//! The paths. Each file has those of one purpose; a new one is a line in [`all`] and a line in [`PATHS`].

mod appliance;
mod clients;
mod description;
mod health;
mod mcp;
mod metrics;
mod monte_carlo;
mod numbers;
mod page;
mod push;
mod random;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query};
use axum::http::header::{ACCEPT, HeaderMap};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::front::BODY_MAX;
use crate::problem::Problem;

/// Every path that is counted by itself, and whether a GET of it takes random bytes. The last one stands for all others.
pub const PATHS: [(&str, bool); 29] = [
    ("/api/random", true),
    ("/api/integers", true),
    ("/api/floats", true),
    ("/api/uuid", true),
    ("/api/v1/random/bytes", true),
    ("/api/v1/random/integers", true),
    ("/api/test/monte-carlo", true),
    ("/api/2.0/streambytes", true),
    ("/api/2.0/hexbytes", true),
    ("/api/2.0/short", true),
    ("/api/2.0/int", true),
    ("/api/2.0/float", true),
    ("/api/2.0/double", true),
    ("/api/2.0/firmwareinfo", false),
    ("/api/2.0/systeminfo", false),
    ("/API/jsonI.php", true),
    ("/anu", true),
    ("/pollen", true),
    ("/health", false),
    ("/api/status", false),
    ("/metrics", false),
    ("/openapi.json", false),
    ("/mcp", false),
    (qrng::push::PATH, false),
    ("/", false),
    ("/page.css", false),
    ("/page.js", false),
    ("/api/specimen", false),
    ("other", false),
];

/// The labels that requests are counted under.
pub const LABELS: [&str; PATHS.len()] = {
    let mut labels = [""; PATHS.len()];
    let mut i = 0;
    while i < labels.len() {
        labels[i] = PATHS[i].0;
        i += 1;
    }
    labels
};

/// The index of a path's label.
pub fn label(path: &str) -> usize {
    let known = PATHS.iter().position(|(known, _)| *known == path);
    known.unwrap_or(PATHS.len() - 1)
}

/// Whether a GET of the path takes random bytes.
pub fn takes_bytes(path: &str) -> bool {
    PATHS[label(path)].1
}

/// What the header `Allow` says of a path. HEAD is never there: it would take bytes and give them to nobody.
pub fn allow(path: &str) -> &'static str {
    match path {
        "/pollen" | "/mcp" | qrng::push::PATH => "POST",
        "/api/test/monte-carlo" => "GET, POST",
        _ => "GET",
    }
}

/// All routes.
pub fn all(app: &Arc<App>) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(crate::openapi::begin())
        .merge(random::routes())
        .merge(numbers::routes())
        .merge(monte_carlo::routes())
        .merge(appliance::routes())
        .merge(clients::routes())
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(description::routes())
        .merge(page::routes())
        .merge(push::routes(app))
        .split_for_parts();
    let description = crate::openapi::finish(document, app);
    router
        .merge(page::page())
        .route_service("/mcp", mcp::service(app))
        .layer(axum::Extension(description))
        .fallback(|| async {
            Problem::not_found("no such path; /openapi.json lists those that there are")
        })
        .method_not_allowed_fallback(|| async {
            Problem::wrong_method("the path is there, but not for this method")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Arc::clone(app))
}

/// The query of a request.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(e) => Err(Problem::bad_request(e.body_text())),
        }
    }
}

/// Whether the client asks for JSON rather than for text.
pub struct WantsJson(pub bool);

impl<S: Send + Sync> FromRequestParts<S> for WantsJson {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(accepts(&parts.headers, "application/json")))
    }
}

/// Whether the client asks for lines of text rather than for JSON.
pub struct WantsText(pub bool);

impl<S: Send + Sync> FromRequestParts<S> for WantsText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(accepts(&parts.headers, "text/plain")))
    }
}

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter();
    let mut kinds = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    kinds.any(|item| {
        let item = item.split(';').next().unwrap_or_default();
        item.trim().eq_ignore_ascii_case(kind)
    })
}

/// Checks that a number that a client gave is within its limits.
///
/// # Errors
/// It is not.
pub fn within(name: &str, value: u64, most: u64) -> Result<u64, Problem> {
    if (1..=most).contains(&value) {
        Ok(value)
    } else {
        Err(Problem::bad_request(format!("{name}: give 1 to {most}")))
    }
}

/// A body with its type.
pub fn typed(kind: &'static str, body: axum::body::Body) -> Response {
    ([(axum::http::header::CONTENT_TYPE, kind)], body).into_response()
}
