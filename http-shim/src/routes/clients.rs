//! Shapes of other services whose clients can ask a gateway instead: both interfaces of the ANU generator, and pollinate.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest, Sha512};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use super::appliance::{WHOLE_MAX, hex_texts};
use super::{Params, typed, within};
use crate::app::App;
use crate::body::{self, Encoding};
use crate::problem::Problem;

/// Most values of an answer, and most bytes of one in hexadecimal.
const ANU_MAX: u64 = 1024;

/// Random bytes of a seed for pollinate.
const SEED: usize = 64;

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(anu_old))
        .routes(routes!(anu_new))
        .routes(routes!(pollen))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AnuQuery {
    /// How many values.
    #[param(minimum = 1, maximum = 1024)]
    length: u64,
    /// What they are.
    #[serde(rename = "type")]
    #[param(inline)]
    kind: AnuKind,
    /// Size of each value in hexadecimal: bytes for `hex8`, and for `hex16` of the older interface; words of two bytes for `hex16`
    /// of the newer. All values together have 65536 bytes at the most. 1 if left out.
    #[param(minimum = 1, maximum = 1024)]
    size: Option<u64>,
}

/// What the values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AnuKind {
    /// 0 to 255.
    Uint8,
    /// 0 to 65535.
    Uint16,
    /// Texts of `size` bytes.
    Hex8,
    /// Texts.
    Hex16,
}

impl AnuKind {
    /// Its name in answers, by the older and the newer interface.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Uint8 => ("uint8", "uint8"),
            Self::Uint16 => ("uint16", "uint16"),
            Self::Hex8 => ("string", "hex8"),
            Self::Hex16 => ("string", "hex16"),
        }
    }
}

/// An answer of the older interface.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written piece by piece")]
struct AnuOld {
    /// What the values are; `string` for texts.
    #[schema(rename = "type")]
    kind: String,
    /// How many there are.
    length: u64,
    /// Numbers or texts.
    #[schema(value_type = Vec<Value>)]
    data: Vec<String>,
    /// Always true.
    success: bool,
}

/// An answer of the newer interface.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written piece by piece")]
struct AnuNew {
    /// Always true.
    success: bool,
    /// What the values are.
    #[schema(rename = "type")]
    kind: String,
    /// How many there are, as text.
    length: String,
    /// Numbers or texts.
    #[schema(value_type = Vec<Value>)]
    data: Vec<String>,
}

/// The older interface of the ANU generator
#[utoipa::path(
    get,
    path = "/API/jsonI.php",
    tag = "clients",
    params(AnuQuery),
    responses((status = 200, description = "The values.", body = AnuOld), crate::openapi::Refusals)
)]
async fn anu_old(
    State(app): State<Arc<App>>,
    Params(query): Params<AnuQuery>,
) -> Result<Response, Problem> {
    let (name, length) = (query.kind.names().0, query.length);
    let before = format!(r#"{{"type":"{name}","length":{length},"data":["#);
    anu(&app, &query, 1, &before, r#"],"success":true}"#).await
}

/// The newer interface of the ANU generator
#[utoipa::path(
    get,
    path = "/anu",
    tag = "clients",
    params(AnuQuery),
    responses((status = 200, description = "The values.", body = AnuNew), crate::openapi::Refusals)
)]
async fn anu_new(
    State(app): State<Arc<App>>,
    Params(query): Params<AnuQuery>,
) -> Result<Response, Problem> {
    let (name, length) = (query.kind.names().1, query.length);
    let before = format!(r#"{{"success":true,"type":"{name}","length":"{length}","data":["#);
    anu(&app, &query, 2, &before, "]}").await
}

/// `word`: bytes of one unit of `size` for `hex16`.
async fn anu(
    app: &Arc<App>,
    query: &AnuQuery,
    word: u64,
    before: &str,
    after: &str,
) -> Result<Response, Problem> {
    let length = within("length", query.length, ANU_MAX)?;
    let each = match query.kind {
        AnuKind::Uint8 => 1,
        AnuKind::Uint16 => 2,
        AnuKind::Hex8 => within("size", query.size.unwrap_or(1), ANU_MAX)?,
        AnuKind::Hex16 => within("size", query.size.unwrap_or(1), ANU_MAX)? * word,
    };
    within("length times size in bytes", length * each, WHOLE_MAX)?;
    let taken = app
        .take((length * each) as usize, app.deadline(None)?)
        .await?;
    let (bytes, owed) = taken.into_parts();
    // Six characters for a number, and for a text its digits, quotes and comma.
    let room = before.len() + (length * (2 * each + 4)) as usize + after.len();
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    text.extend_from_slice(before.as_bytes());
    match query.kind {
        AnuKind::Uint8 => numbers(bytes.iter().map(|byte| u16::from(*byte)), &mut text),
        AnuKind::Uint16 => {
            let words = bytes.as_chunks::<2>().0.iter();
            numbers(words.map(|word| u16::from_le_bytes(*word)), &mut text);
        }
        AnuKind::Hex8 | AnuKind::Hex16 => hex_texts(&bytes, each as usize, &mut text),
    }
    text.extend_from_slice(after.as_bytes());
    Ok(typed("application/json", body::whole(text, owed)))
}

fn numbers(values: impl Iterator<Item = u16>, text: &mut Zeroizing<Vec<u8>>) {
    use std::io::Write;
    for (index, value) in values.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to memory does not fail.
        let _ = write!(&mut **text, "{comma}{value}");
    }
}

/// A seed for pollinate
///
/// The body is `challenge=TEXT`. The answer's first line is the SHA-512 of the text, which shows that this very request was
/// answered; the second is the seed.
#[utoipa::path(
    post,
    path = "/pollen",
    tag = "clients",
    request_body(content = Option<String>, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Two lines.", body = String, content_type = "text/plain"),
        (status = 408, description = "The body came too slowly.", body = Problem, content_type = "application/problem+json"),
        crate::openapi::Refusals
    )
)]
async fn pollen(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Problem> {
    let pairs = body.split(|byte| *byte == b'&');
    let challenge = pairs
        .filter_map(|pair| pair.strip_prefix(b"challenge="))
        .next();
    let digest = Sha512::digest(challenge.unwrap_or_default());
    let (seed, owed) = app.take(SEED, app.deadline(None)?).await?.into_parts();
    let mut text = Zeroizing::new(Vec::with_capacity(4 * SEED + 2));
    Encoding::Hex.write(&digest, &mut text);
    text.push(b'\n');
    Encoding::Hex.write(&seed, &mut text);
    text.push(b'\n');
    Ok(typed("text/plain; charset=utf-8", body::whole(text, owed)))
}
