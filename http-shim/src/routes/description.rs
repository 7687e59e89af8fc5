//! `/openapi.json`: what the paths are, made from the code that serves them.

use std::sync::Arc;

use axum::Extension;
use axum::response::Response;
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::typed;
use crate::app::App;
use crate::openapi::Description;

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(description))
}

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "state",
    security(()),
    responses(
        (status = 200, description = "The description (OpenAPI 3.1).", body = Object, content_type = "application/json"),
        crate::openapi::Limited
    )
)]
async fn description(Extension(Description(text)): Extension<Description>) -> Response {
    typed("application/json", Bytes::clone(&text).into())
}
