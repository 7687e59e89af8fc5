//! Numbers and UUIDs, drawn without bias: `/api/integers`, `/api/floats`, `/api/uuid`, `/api/v1/random/integers`.

use std::fmt::Display;
use std::io::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use qrng::draw;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use super::{Params, WantsText, typed};
use crate::app::App;
use crate::body;
use crate::draw::{Asked, many};
use crate::pool::Owed;
use crate::problem::Problem;

/// The longest value as text, with what separates it from the next: a UUID in quotes, a comma.
const LONGEST: usize = 40;

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(integers))
        .routes(routes!(floats))
        .routes(routes!(uuids))
        .routes(routes!(v1_integers))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct IntegersQuery {
    /// How many; 1 if left out.
    #[param(minimum = 1, maximum = 10000)]
    count: Option<u64>,
    /// The smallest that may come; 0 if left out.
    min: Option<i64>,
    /// The largest that may come; 100 if left out. Not below `min`.
    max: Option<i64>,
    /// Milliseconds to wait for if there are not enough bytes; 0 if left out.
    #[param(minimum = 0, maximum = 60000)]
    wait: Option<u64>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CountQuery {
    /// How many; 1 if left out.
    #[param(minimum = 1, maximum = 10000)]
    count: Option<u64>,
    /// Milliseconds to wait for if there are not enough bytes; 0 if left out.
    #[param(minimum = 0, maximum = 60000)]
    wait: Option<u64>,
}

/// An answer of /api/integers.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written piece by piece")]
struct Integers {
    /// Integers from `min` to `max`, each equally likely.
    integers: Vec<i64>,
}

/// An answer of /api/floats.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written piece by piece")]
struct Floats {
    /// Multiples of 2^-53 from 0 up to but not 1, each equally likely.
    floats: Vec<f64>,
}

/// An answer of /api/uuid.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written piece by piece")]
struct Uuids {
    /// UUIDs of version 4.
    uuids: Vec<String>,
}

/// An answer of /api/v1/random/integers.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written piece by piece")]
struct IntegersEnvelope {
    /// Always true: failures are problems with a status of their own.
    success: bool,
    /// The integers.
    data: Vec<i64>,
}

/// Random integers
#[utoipa::path(
    get,
    path = "/api/integers",
    tag = "random",
    params(IntegersQuery),
    responses(
        (status = 200, description = "The integers.", content(
            (Integers = "application/json"),
            (String = "text/plain")
        )),
        crate::openapi::Refusals
    )
)]
async fn integers(
    State(app): State<Arc<App>>,
    Params(query): Params<IntegersQuery>,
    WantsText(text): WantsText,
) -> Result<Response, Problem> {
    let (values, owed) = draw_integers(&app, &query).await?;
    Ok(answer(text, r#"{"integers":["#, "]}", &values, owed))
}

/// Random integers in an envelope
#[utoipa::path(
    get,
    path = "/api/v1/random/integers",
    tag = "random",
    params(IntegersQuery),
    responses(
        (status = 200, description = "The integers.", body = IntegersEnvelope),
        crate::openapi::Refusals
    )
)]
async fn v1_integers(
    State(app): State<Arc<App>>,
    Params(query): Params<IntegersQuery>,
) -> Result<Response, Problem> {
    let (values, owed) = draw_integers(&app, &query).await?;
    Ok(answer(
        false,
        r#"{"success":true,"data":["#,
        "]}",
        &values,
        owed,
    ))
}

async fn draw_integers(
    app: &Arc<App>,
    query: &IntegersQuery,
) -> Result<(Zeroizing<Vec<i64>>, Option<Owed>), Problem> {
    let (min, max) = (query.min.unwrap_or(0), query.max.unwrap_or(100));
    let drawn = many(app, asked(query.count, query.wait), 8, |mut source| {
        draw::int(&mut source, min, max)
    });
    drawn.await
}

/// Random fractions
#[utoipa::path(
    get,
    path = "/api/floats",
    tag = "random",
    params(CountQuery),
    responses(
        (status = 200, description = "The numbers.", content(
            (Floats = "application/json"),
            (String = "text/plain")
        )),
        crate::openapi::Refusals
    )
)]
async fn floats(
    State(app): State<Arc<App>>,
    Params(query): Params<CountQuery>,
    WantsText(text): WantsText,
) -> Result<Response, Problem> {
    let drawn = many(&app, asked(query.count, query.wait), 8, |mut source| {
        draw::float(&mut source)
    });
    let (values, owed) = drawn.await?;
    Ok(answer(text, r#"{"floats":["#, "]}", &values, owed))
}

/// Random UUIDs
#[utoipa::path(
    get,
    path = "/api/uuid",
    tag = "random",
    params(CountQuery),
    responses(
        (status = 200, description = "The UUIDs.", content(
            (Uuids = "application/json"),
            (String = "text/plain")
        )),
        crate::openapi::Refusals
    )
)]
async fn uuids(
    State(app): State<Arc<App>>,
    Params(query): Params<CountQuery>,
    WantsText(text): WantsText,
) -> Result<Response, Problem> {
    let drawn = many(&app, asked(query.count, query.wait), 16, |mut source| {
        draw::uuid_v4(&mut source)
    });
    let (values, owed) = drawn.await?;
    let mut lines = Zeroizing::new(Vec::with_capacity(values.len()));
    for uuid in values.iter() {
        let mut line = [0; 36];
        qrng::record::write_uuid(uuid, &mut line);
        lines.push(line);
    }
    let quote = if text { "" } else { "\"" };
    let words: Vec<_> = lines.iter().map(|line| Quoted(quote, line)).collect();
    Ok(answer(text, r#"{"uuids":["#, "]}", &words, owed))
}

fn asked(count: Option<u64>, wait_ms: Option<u64>) -> Asked {
    Asked {
        name: "count",
        count,
        wait_ms,
    }
}

/// A UUID as it stands in JSON or in a line.
struct Quoted<'l>(&'static str, &'l [u8; 36]);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let uuid = std::str::from_utf8(self.1).map_err(|_| std::fmt::Error)?;
        write!(f, "{}{uuid}{}", self.0, self.0)
    }
}

/// The values as lines of text, or as JSON between `before` and `after`.
pub(super) fn answer<T: Display>(
    text: bool,
    before: &str,
    after: &str,
    values: &[T],
    owed: Option<Owed>,
) -> Response {
    let (kind, before, between, after) = if text {
        ("text/plain; charset=utf-8", "", "\n", "\n")
    } else {
        ("application/json", before, ",", after)
    };
    // Sized beforehand: a buffer that grows would leave copies behind.
    let room = before.len() + values.len() * LONGEST + after.len();
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    out.extend_from_slice(before.as_bytes());
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(between.as_bytes());
        }
        // Writing to memory does not fail.
        let _ = write!(&mut *out, "{value}");
    }
    out.extend_from_slice(after.as_bytes());
    typed(
        kind,
        match owed {
            Some(owed) => body::whole(out, owed),
            None => axum::body::Body::from(std::mem::take(&mut *out)),
        },
    )
}
