//! The interface of a Quantis appliance, so that software for it can ask a gateway (Quantis hardware, docs/hardware.md,
//! "Appliances"). Answers have no newline at their end.

use std::fmt::{self, Display};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use qrng::draw;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::{Zeroize, Zeroizing};

use super::numbers::answer;
use super::{Params, typed, within};
use crate::app::App;
use crate::body::{self, Encoding, Long};
use crate::draw::{Asked, many};
use crate::problem::Problem;

/// Most bytes of one text of `hexbytes`.
const TEXT_MAX: u64 = 1024;

/// Most random bytes of an answer that is made as a whole.
pub(super) const WHOLE_MAX: u64 = 65_536;

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(streambytes))
        .routes(routes!(hexbytes))
        .routes(routes!(short))
        .routes(routes!(int))
        .routes(routes!(float))
        .routes(routes!(double))
        .routes(routes!(firmwareinfo))
        .routes(routes!(systeminfo))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SizeQuery {
    /// How many bytes; 1 if left out.
    #[param(minimum = 1, maximum = 16777216)]
    size: Option<u64>,
}

/// Raw bytes
#[utoipa::path(
    get,
    path = "/api/2.0/streambytes",
    tag = "appliance",
    params(SizeQuery),
    responses(
        (status = 200, description = "The bytes.", body = String, content_type = "application/octet-stream"),
        crate::openapi::Refusals
    )
)]
async fn streambytes(
    State(app): State<Arc<App>>,
    Params(query): Params<SizeQuery>,
) -> Result<Response, Problem> {
    let long = Long {
        before: "",
        encoding: Encoding::Binary,
        after: "",
        bytes: within("size", query.size.unwrap_or(1), app.limits.bytes)?,
    };
    let body = long.into_body(&app, app.deadline(None)?).await?;
    Ok(typed("application/octet-stream", body))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
struct HexQuery {
    /// How many texts; 1 if left out. All together have 65536 bytes at the most.
    #[param(minimum = 1, maximum = 65536)]
    quantity: Option<u64>,
    /// Bytes of each; 1 if left out.
    #[param(minimum = 1, maximum = 1024)]
    data_length: Option<u64>,
}

/// Bytes in hexadecimal
#[utoipa::path(
    get,
    path = "/api/2.0/hexbytes",
    tag = "appliance",
    params(HexQuery),
    responses((status = 200, description = "The texts.", body = Vec<String>), crate::openapi::Refusals)
)]
async fn hexbytes(
    State(app): State<Arc<App>>,
    Params(query): Params<HexQuery>,
) -> Result<Response, Problem> {
    let length = within("dataLength", query.data_length.unwrap_or(1), TEXT_MAX)?;
    let quantity = within("quantity", query.quantity.unwrap_or(1), WHOLE_MAX / length)?;
    let deadline = app.deadline(None)?;
    let taken = app.take((quantity * length) as usize, deadline).await?;
    let (bytes, owed) = taken.into_parts();
    let room = (quantity * (2 * length + 3)) as usize + 2;
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    text.push(b'[');
    hex_texts(&bytes, length as usize, &mut text);
    text.push(b']');
    Ok(typed("application/json", body::whole(text, owed)))
}

/// Writes `bytes` as texts in quotes, each of `length` bytes, with commas between them.
pub(super) fn hex_texts(bytes: &[u8], length: usize, text: &mut Zeroizing<Vec<u8>>) {
    for (index, part) in bytes.chunks(length).enumerate() {
        text.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
        Encoding::Hex.write(part, text);
        text.push(b'"');
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ShortQuery {
    /// The smallest that may come; -32768 if left out.
    min: Option<i16>,
    /// The largest that may come; 32767 if left out. Not below `min`.
    max: Option<i16>,
    /// How many; 1 if left out.
    #[param(minimum = 1, maximum = 10000)]
    quantity: Option<u64>,
}

/// Integers of 16 bits
#[utoipa::path(
    get,
    path = "/api/2.0/short",
    tag = "appliance",
    params(ShortQuery),
    responses((status = 200, description = "The integers.", body = Vec<i16>), crate::openapi::Refusals)
)]
async fn short(
    State(app): State<Arc<App>>,
    Params(query): Params<ShortQuery>,
) -> Result<Response, Problem> {
    let (min, max) = (query.min.unwrap_or(i16::MIN), query.max.unwrap_or(i16::MAX));
    integers(&app, min.into(), max.into(), query.quantity).await
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct IntQuery {
    /// The smallest that may come; -2147483648 if left out.
    min: Option<i32>,
    /// The largest that may come; 2147483647 if left out. Not below `min`.
    max: Option<i32>,
    /// How many; 1 if left out.
    #[param(minimum = 1, maximum = 10000)]
    quantity: Option<u64>,
}

/// Integers of 32 bits
#[utoipa::path(
    get,
    path = "/api/2.0/int",
    tag = "appliance",
    params(IntQuery),
    responses((status = 200, description = "The integers.", body = Vec<i32>), crate::openapi::Refusals)
)]
async fn int(
    State(app): State<Arc<App>>,
    Params(query): Params<IntQuery>,
) -> Result<Response, Problem> {
    let (min, max) = (query.min.unwrap_or(i32::MIN), query.max.unwrap_or(i32::MAX));
    integers(&app, min.into(), max.into(), query.quantity).await
}

async fn integers(
    app: &Arc<App>,
    min: i64,
    max: i64,
    quantity: Option<u64>,
) -> Result<Response, Problem> {
    let drawn = many(app, asked(quantity), 8, |mut source| {
        draw::int(&mut source, min, max)
    });
    let (values, owed) = drawn.await?;
    Ok(answer(false, "[", "]", &values, owed))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RealQuery {
    /// The least; 0 if left out.
    min: Option<f64>,
    /// What is not exceeded; 1 if left out. Not below `min`.
    max: Option<f64>,
    /// How many; 1 if left out.
    #[param(minimum = 1, maximum = 10000)]
    quantity: Option<u64>,
}

/// Numbers of single precision
#[utoipa::path(
    get,
    path = "/api/2.0/float",
    tag = "appliance",
    params(RealQuery),
    responses((status = 200, description = "The numbers.", body = Vec<f32>), crate::openapi::Refusals)
)]
async fn float(
    State(app): State<Arc<App>>,
    Params(query): Params<RealQuery>,
) -> Result<Response, Problem> {
    reals(&app, &query, |value| f64::from(value as f32)).await
}

/// Numbers of double precision
#[utoipa::path(
    get,
    path = "/api/2.0/double",
    tag = "appliance",
    params(RealQuery),
    responses((status = 200, description = "The numbers.", body = Vec<f64>), crate::openapi::Refusals)
)]
async fn double(
    State(app): State<Arc<App>>,
    Params(query): Params<RealQuery>,
) -> Result<Response, Problem> {
    reals(&app, &query, |value| value).await
}

async fn reals(
    app: &Arc<App>,
    query: &RealQuery,
    round: impl Fn(f64) -> f64,
) -> Result<Response, Problem> {
    let (min, max) = (query.min.unwrap_or(0.0), query.max.unwrap_or(1.0));
    let usable = round(min).is_finite() && round(max).is_finite() && min <= max;
    if !usable {
        return Err(Problem::bad_request(
            "min, max: give numbers of this precision, min not above max",
        ));
    }
    let drawn = many(app, asked(query.quantity), 8, |mut source| {
        let share = draw::float(&mut source)?;
        // Not min + share * (max - min): the difference of two large numbers may be infinite.
        let value = round((1.0 - share) * min + share * max);
        Ok(Real(value.clamp(round(min), round(max))))
    });
    let (values, owed) = drawn.await?;
    Ok(answer(false, "[", "]", &values, owed))
}

fn asked(count: Option<u64>) -> Asked {
    Asked {
        name: "quantity",
        count,
        wait_ms: None,
    }
}

/// A number as JSON has it, never longer than 30 characters.
struct Real(f64);

impl Zeroize for Real {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0.0 || (1e-5..1e15).contains(&self.0.abs()) {
            self.0.fmt(f)
        } else {
            write!(f, "{:e}", self.0)
        }
    }
}

/// What answers in the appliance's place.
#[derive(Serialize, ToSchema)]
struct About {
    /// The name of this service.
    name: &'static str,
    /// Its version.
    version: &'static str,
}

const ABOUT: About = About {
    name: "qrng-http",
    version: env!("CARGO_PKG_VERSION"),
};

/// What answers
#[utoipa::path(
    get,
    path = "/api/2.0/firmwareinfo",
    tag = "appliance",
    responses((status = 200, description = "Name and version.", body = About), crate::openapi::Refusals)
)]
async fn firmwareinfo() -> Json<About> {
    Json(ABOUT)
}

/// What answers
#[utoipa::path(
    get,
    path = "/api/2.0/systeminfo",
    tag = "appliance",
    responses((status = 200, description = "Name and version.", body = About), crate::openapi::Refusals)
)]
async fn systeminfo() -> Json<About> {
    Json(ABOUT)
}
