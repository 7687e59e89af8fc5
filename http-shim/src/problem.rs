//! Errors as clients get them: problem details (RFC 9457) that say what to do.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::supply::NoBytes;

/// What went wrong with a request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem: `urn:qrng:problem:` and a word.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The kind in words.
    title: &'static str,
    /// The status code.
    status: u16,
    /// What is wrong with this request, and what to do.
    detail: String,
    /// Seconds after which it may be worth trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $code:ident, $word:literal, $title:literal;)+) => {
        impl Problem {
            $($(#[$doc])*
            pub fn $name(detail: impl Into<String>) -> Self {
                Self {
                    kind: concat!("urn:qrng:problem:", $word),
                    title: $title,
                    status: StatusCode::$code.as_u16(),
                    detail: detail.into(),
                    retry_after: None,
                }
            })+
        }
    };
}

kinds! {
    /// The request can't be understood, or asks for what is not given.
    bad_request: BAD_REQUEST, "bad-request", "The request cannot be answered as it is";
    /// A key is needed.
    no_key: UNAUTHORIZED, "no-key", "A key is needed";
    /// What the key or the user may not do.
    forbidden: FORBIDDEN, "forbidden", "This is not for you";
    /// The service is called by a name that is not its own.
    misdirected: MISDIRECTED_REQUEST, "wrong-host", "This service is not known by that name";
    /// There is no such path.
    not_found: NOT_FOUND, "not-found", "There is nothing at this path";
    /// The path is not for this method.
    wrong_method: METHOD_NOT_ALLOWED, "wrong-method", "The path does not know this method";
    /// The body is too long.
    too_large: PAYLOAD_TOO_LARGE, "too-large", "The body is too long";
    /// The body is of another type than the path takes.
    wrong_type: UNSUPPORTED_MEDIA_TYPE, "wrong-type", "The body is of the wrong type";
    /// It took too long.
    too_slow: REQUEST_TIMEOUT, "too-slow", "The request took too long";
    /// The key's rate limit.
    too_many: TOO_MANY_REQUESTS, "too-many-requests", "Too many requests";
    /// The gateway's buffer is empty.
    empty: SERVICE_UNAVAILABLE, "empty", "There are no random bytes at this moment";
    /// A health test has latched.
    latched: SERVICE_UNAVAILABLE, "latched", "A health test has latched";
    /// The source is silent.
    stalled: SERVICE_UNAVAILABLE, "stalled", "The noise source is silent";
    /// The gateway's quota for this service is used up.
    quota: SERVICE_UNAVAILABLE, "quota", "Today's random bytes are used up";
    /// There is no gateway.
    gone: SERVICE_UNAVAILABLE, "no-gateway", "The gateway is not there";
    /// The source of bytes can't be random.
    stuck: INTERNAL_SERVER_ERROR, "stuck", "The source of random bytes is stuck";
}

impl Problem {
    /// The same, with the advice to try again after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Why there are no bytes; `state` is what the gateway last said of itself.
    pub fn no_bytes(why: &NoBytes, state: &str) -> Self {
        match why {
            NoBytes::Empty => Self::empty(
                "the gateway's buffer is empty; try again later, ask for less, or let the request wait with wait=MILLISECONDS",
            )
            .retry_after(1),
            NoBytes::Crowded => {
                Self::empty("too many requests wait for bytes; try again later").retry_after(1)
            }
            NoBytes::Refused if state == "stalled" => Self::stalled(
                "the gateway hears nothing of its collector; look at the collector and the line",
            )
            .retry_after(10),
            NoBytes::Refused => Self::latched(
                "the random bytes failed a health test, and none is served until an operator clears that: see `qrng status`",
            )
            .retry_after(60),
            NoBytes::Quota => Self::quota(
                "this service has had all bytes that the gateway gives it in a day; try again after midnight (UTC), or have \
                 `quota` raised in the gateway's section [shares]",
            )
            .retry_after(600),
            NoBytes::Gone(what) => Self::gone(format!("{what}; start the gateway")).retry_after(5),
        }
    }

    /// What is wrong, and what to do.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
