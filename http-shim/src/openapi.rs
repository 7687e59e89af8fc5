//! The description of the paths, made from the code that serves them.

use utoipa::IntoResponses;

use crate::problem::Problem;

/// How a request for random bytes or for the state may be refused.
#[derive(IntoResponses)]
pub enum Refusals {
    /// The request can't be answered as it is.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// A key is needed.
    #[response(status = 401, content_type = "application/problem+json")]
    NoKey(Problem),
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
    /// Too many requests; `Retry-After` says when to come again.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
}
