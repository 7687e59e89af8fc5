//! What happens to every request before and after its route.
//!
//! ```text
//!  request ──> length ──> key, address ──> rate ──> route ──> headers ──> counted, logged ──> answer
//! ```
//!
//! A path is closed unless [`is_open`] names it: over TCP it needs a key, or an address of `open-to`. Local users have been
//! let in by the mode of the Unix socket.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, HeaderMap, HeaderName,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use tower_service::Service;

use crate::app::App;
use crate::keys::Keys;
use crate::log::Told;
use crate::network::plain;
use crate::problem::Problem;
use crate::push::Push;
use crate::rate::Standing;
use crate::routes;
use crate::server::Peer;

/// Longest body of a request, but for those of collectors, in bytes.
pub const BODY_MAX: usize = 64 * 1024;

/// Longest id that a client may give its request.
const ID_MAX: usize = 64;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The routes, and what is in front of them.
pub struct Front {
    /// What they work with.
    pub app: Arc<App>,
    router: Router,
    ids: AtomicU64,
    run: u32,
}

/// Who was let in, for the routes and the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A user of this host.
    Local(u32),
    /// A client with a key.
    Key(String),
    /// A client whose certificate was verified.
    Certificate(String),
    /// Somebody without one.
    Anonymous,
}

impl Front {
    /// Serves all routes.
    pub fn new(app: Arc<App>) -> Self {
        Self {
            router: routes::all(&app),
            app,
            ids: AtomicU64::new(0),
            run: std::process::id(),
        }
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request<Body>, peer: &Peer) -> Response {
        let begun = Instant::now();
        let (mut parts, body) = request.into_parts();
        let id = self.id(&parts.headers);
        let label = routes::label(parts.uri.path());
        let admitted = self.admit(&parts, peer);
        let (caller, standing) = match &admitted {
            Ok((caller, standing)) => (Some(caller.clone()), *standing),
            Err(refusal) => (None, refusal.standing),
        };
        let told = Told::new(self.app.log, &parts, peer, caller.as_ref());
        let mut response = match admitted {
            Err(refusal) => refusal.problem.into_response(),
            Ok((caller, _)) => {
                parts.extensions.insert(caller);
                self.route(parts, body).await
            }
        };
        let headers = response.headers_mut();
        if let Some(standing) = standing {
            standing.tell(headers);
        }
        // Nobody on the way may keep random bytes.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        self.app
            .metrics
            .answered(label, response.status(), begun.elapsed());
        told.tell(&id, response.status(), begun.elapsed());
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }

    async fn route(&self, parts: Parts, body: Body) -> Response {
        let allow = HeaderValue::from_static(routes::allow(parts.uri.path()));
        let mut response = self.call(parts, body).await;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, allow);
        }
        response
    }

    async fn call(&self, parts: Parts, body: Body) -> Response {
        if parts.method == Method::HEAD && routes::takes_bytes(parts.uri.path()) {
            return Problem::wrong_method(
                "HEAD would take random bytes and give them to nobody; use GET",
            )
            .into_response();
        }
        let limit = body_max(parts.uri.path());
        let reads = !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let mut router = self.router.clone();
        let answer = router.call(Request::from_parts(parts, body));
        let answered = if reads {
            let time = self.app.limits.request_time;
            match tokio::time::timeout(time, answer).await {
                Ok(answered) => answered,
                Err(_) => return Problem::too_slow("the body came too slowly").into_response(),
            }
        } else {
            answer.await
        };
        match answered {
            Ok(response) if response.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                too_large(limit).into_response()
            }
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Whether the request may go on.
    fn admit(&self, parts: &Parts, peer: &Peer) -> Result<(Caller, Option<Standing>), Refusal> {
        let path = parts.uri.path();
        let limit = body_max(path);
        if content_length(&parts.headers) > limit as u64 {
            return Err(too_large(limit).into());
        }
        if let Some(push) = self.app.push.as_ref().filter(|_| path == qrng::push::PATH) {
            return self.admit_collector(push, parts, peer);
        }
        let address = match peer {
            Peer::Local { uid } => return Ok((Caller::Local(*uid), None)),
            Peer::Remote { address, .. } => plain(*address),
        };
        let access = &self.app.access;
        if let Some(presented) = presented(parts, access.query_key)? {
            let push = self.app.push.as_ref();
            let others = push.map(|push| &push.keys);
            return self.admit_key(&presented, &access.keys, others, Some(address));
        }
        let standing = self.anonymous(address)?;
        if let Peer::Remote {
            certificate: Some(name),
            ..
        } = peer
        {
            return Ok((Caller::Certificate(name.clone()), Some(standing)));
        }
        let open = access
            .open_to
            .iter()
            .any(|network| network.contains(address));
        // Language models' clients have names of their own, which are checked there.
        let checked = open && parts.uri.path() != "/mcp";
        if checked && !access.hosts.know(&parts.uri, &parts.headers) {
            self.app.metrics.refused("host");
            return Err(Problem::misdirected(
                "this service is not known by the name in `Host`: ask for it by its address, add the name to `hosts`, or give a key",
            )
            .into());
        }
        if open || is_open(parts.uri.path()) {
            return Ok((Caller::Anonymous, Some(standing)));
        }
        self.app.metrics.refused("no-key");
        Err(Problem::no_key("give a key in the header `Authorization: Bearer KEY`").into())
    }

    /// Whether a collector may push. It needs its key whichever way it comes: what pushes must not be whoever may read.
    fn admit_collector(
        &self,
        push: &Push,
        parts: &Parts,
        peer: &Peer,
    ) -> Result<(Caller, Option<Standing>), Refusal> {
        let access = &self.app.access;
        let address = match peer {
            Peer::Local { .. } => None,
            Peer::Remote { address, .. } => Some(plain(*address)),
        };
        match presented(parts, access.query_key)? {
            Some(presented) => self.admit_key(&presented, &push.keys, Some(&access.keys), address),
            None => {
                address.map(|address| self.anonymous(address)).transpose()?;
                self.app.metrics.refused("no-key");
                Err(Problem::no_key(
                    "give a collector's key in the header `Authorization: Bearer KEY`",
                )
                .into())
            }
        }
    }

    /// Whether the key that was shown is one of `keys`. One of `others` is known, and for something else.
    fn admit_key(
        &self,
        presented: &str,
        keys: &Keys,
        others: Option<&Keys>,
        address: Option<IpAddr>,
    ) -> Result<(Caller, Option<Standing>), Refusal> {
        let other = others.and_then(|others| others.find(presented.as_bytes()));
        if let Some(key) = keys.find(presented.as_bytes()) {
            let standing = key.bucket.take().map_err(|s| self.too_many(s))?;
            return Ok((Caller::Key(key.name.clone()), Some(standing)));
        }
        // So that nobody can try keys faster than he can ask.
        address.map(|address| self.anonymous(address)).transpose()?;
        if other.is_some() {
            self.app.metrics.refused("other-key");
            return Err(Problem::forbidden(
                "the key is for something else: one that reads may not push, and one that pushes may not read",
            )
            .into());
        }
        self.app.metrics.refused("wrong-key");
        Err(Problem::no_key(
            "the key is not one of those that this service knows; ask its operator for one",
        )
        .into())
    }

    fn anonymous(&self, address: IpAddr) -> Result<Standing, Refusal> {
        let taken = self.app.addresses.take(address);
        taken.map_err(|standing| self.too_many(standing))
    }

    fn too_many(&self, standing: Standing) -> Refusal {
        self.app.metrics.refused("rate");
        let problem = Problem::too_many(format!(
            "more requests than {} at once, or than are allowed a second; ask again in {} s",
            standing.limit, standing.retry_after
        ));
        Refusal {
            problem: problem.retry_after(standing.retry_after),
            standing: Some(standing),
        }
    }

    /// The client's id of the request, if it can be one, or a new one.
    fn id(&self, headers: &HeaderMap) -> HeaderValue {
        let good = |id: &&HeaderValue| {
            (1..=ID_MAX).contains(&id.len())
                && id
                    .as_bytes()
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        if let Some(id) = headers.get(REQUEST_ID).filter(good) {
            return id.clone();
        }
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        HeaderValue::try_from(format!("{:x}-{number:x}", self.run))
            .unwrap_or(HeaderValue::from_static("-"))
    }
}

struct Refusal {
    problem: Problem,
    standing: Option<Standing>,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            standing: None,
        }
    }
}

/// Longest body of a request for this path, in bytes.
fn body_max(path: &str) -> usize {
    if path == qrng::push::PATH {
        qrng::push::BODY_MAX
    } else {
        BODY_MAX
    }
}

/// A body has more than `limit` bytes.
pub fn too_large(limit: usize) -> Problem {
    Problem::too_large(format!("the body may have {limit} bytes at the most"))
}

/// Paths that need no key even over TCP.
fn is_open(path: &str) -> bool {
    matches!(
        path,
        "/" | "/page.css" | "/page.js" | "/health" | "/openapi.json"
    )
}

fn content_length(headers: &HeaderMap) -> u64 {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// The key that the client shows, wherever it may.
fn presented(parts: &Parts, query_key: bool) -> Result<Option<String>, Problem> {
    if let Some(value) = parts.headers.get(AUTHORIZATION) {
        let value = value.to_str().unwrap_or_default();
        let token = value
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        return match token {
            Some((_, token)) => Ok(Some(token.trim().to_owned())),
            None => Err(Problem::no_key(
                "the header Authorization must be `Bearer KEY`",
            )),
        };
    }
    if let Some(value) = parts.headers.get(API_KEY) {
        return Ok(Some(value.to_str().unwrap_or_default().to_owned()));
    }
    let mut pairs = parts.uri.query().unwrap_or_default().split('&');
    let Some(key) = pairs.find_map(|pair| pair.strip_prefix("api_key=")) else {
        return Ok(None);
    };
    if query_key {
        Ok(Some(key.to_owned()))
    } else {
        Err(Problem::no_key(
            "a key in the query ends up in logs and is not accepted here; use the header `Authorization: Bearer KEY`",
        ))
    }
}
