//! The description of the paths, made from the code that serves them.

use std::sync::Arc;

use bytes::Bytes;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Info, OpenApi, Tag};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use crate::app::App;
use crate::problem::Problem;

/// The description as text.
#[derive(Clone)]
pub struct Description(pub Bytes);

/// What the paths are added to.
pub fn begin() -> OpenApi {
    let mut info = Info::new("qrng-http", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Random bytes of a quantum source, each given once, and what a gateway says of itself. \
         Over TCP every path but /health, /openapi.json and the page at / needs a key; over the Unix socket none does."
            .into(),
    );
    let mut components = Components::new();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme("key", SecurityScheme::Http(bearer));
    components
        .schemas
        .insert(Problem::name().into_owned(), Problem::schema());
    let mut document = OpenApi::new(info, utoipa::openapi::Paths::new());
    document.components = Some(components);
    document.security = Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]);
    document.tags = Some(vec![
        named("random", "Random values."),
        named("appliance", "The interface of a Quantis appliance."),
        named("clients", "Shapes that clients of other services know."),
        named("push", "The way in for collectors."),
        named("state", "How the gateway and this service are."),
    ]);
    document
}

/// The text, with the limits of this service instead of the defaults.
pub fn finish(document: OpenApi, app: &Arc<App>) -> Description {
    // A description always has a text.
    let mut document = serde_json::to_value(&document).unwrap_or_default();
    let wait = app.limits.wait.as_millis() as u64;
    let items = document["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in items {
        let methods = item.as_object_mut().into_iter().flatten();
        let parameters = methods.filter_map(|(_, method)| method.get_mut("parameters"));
        for parameter in parameters.flat_map(|all| all.as_array_mut().into_iter().flatten()) {
            let most = match (parameter["name"].as_str(), path.as_str()) {
                (Some("wait"), _) => wait,
                (Some("bytes"), "/api/random")
                | (Some("count"), "/api/v1/random/bytes")
                | (Some("size"), "/api/2.0/streambytes") => app.limits.bytes,
                _ => continue,
            };
            parameter["schema"]["maximum"] = most.into();
        }
    }
    Description(document.to_string().into())
}

fn named(name: &str, description: &str) -> Tag {
    let mut tag = Tag::new(name);
    tag.description = Some(description.into());
    tag
}

/// How a request for random bytes or for the state may be refused.
#[derive(IntoResponses)]
pub enum Refusals {
    /// The request can't be answered as it is.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// A key is needed.
    #[response(status = 401, content_type = "application/problem+json")]
    NoKey(Problem),
    /// Without a key, and by a name that this service is not known by.
    #[response(status = 421, content_type = "application/problem+json")]
    Misdirected(Problem),
    /// The body is too long.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// Too many requests; `Retry-After` says when to come again.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
    /// There are no bytes: the buffer is empty, a health test has latched, or the gateway is gone. The type tells which.
    #[response(status = 503, content_type = "application/problem+json")]
    NoBytes(Problem),
}

/// How a request that needs no key may be refused.
#[derive(IntoResponses)]
pub enum Limited {
    /// Without a key, and by a name that this service is not known by.
    #[response(status = 421, content_type = "application/problem+json")]
    Misdirected(Problem),
    /// Too many requests; `Retry-After` says when to come again.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
}
