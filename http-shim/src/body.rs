//! Bodies that hold random bytes: wiped when they are done with, counted as served when the connection has taken them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use zeroize::Zeroizing;

use crate::app::App;
use crate::pool::{Owed, Taken};
use crate::problem::Problem;

/// The body that `text` is, made of the bytes that are owed.
pub fn whole(text: Zeroizing<Vec<u8>>, owed: Owed) -> Body {
    Body::new(Whole(Some((text, owed))))
}

struct Secret(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Secret {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

struct Whole(Option<Piece>);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.take().map(|(text, owed)| {
            owed.served();
            Ok(Frame::data(Bytes::from_owner(Secret(text))))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |(text, _)| text.len() as u64))
    }
}

/// How bytes are written.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Two hexadecimal digits a byte.
    Hex,
    /// RFC 4648 section 4, with `=`.
    Base64,
    /// As they are.
    Binary,
}

impl Encoding {
    /// Length of `bytes` bytes in it.
    pub fn len(self, bytes: u64) -> u64 {
        match self {
            Self::Hex => bytes * 2,
            Self::Base64 => bytes.div_ceil(3) * 4,
            Self::Binary => bytes,
        }
    }

    /// `bytes` in it.
    pub fn write(self, bytes: &[u8], out: &mut Zeroizing<Vec<u8>>) {
        let start = out.len();
        out.resize(start + self.len(bytes.len() as u64) as usize, 0);
        match self {
            Self::Hex => qrng::record::write_hex(bytes, &mut out[start..]),
            Self::Base64 => qrng::record::write_base64(bytes, &mut out[start..]),
            Self::Binary => out[start..].copy_from_slice(bytes),
        }
    }
}

/// Bytes at a time of a long body: a multiple of three, so that base64 has no `=` but at its end.
pub const STEP: usize = 65_520;

/// A body of any length: text before, random bytes in an encoding, text after.
pub struct Long {
    /// Text before the bytes.
    pub before: &'static str,
    /// How they are written.
    pub encoding: Encoding,
    /// Text after them.
    pub after: &'static str,
    /// How many.
    pub bytes: u64,
}

impl Long {
    /// The body. Its first step is there when this returns, so that an empty buffer is told as such; the others follow as the
    /// client takes them.
    ///
    /// # Errors
    /// There are no bytes until `deadline`.
    pub async fn into_body(self, app: &Arc<App>, deadline: Instant) -> Result<Body, Problem> {
        let step = self.bytes.min(STEP as u64) as usize;
        let taken = app.take(step, deadline).await?;
        let rest = self.bytes - step as u64;
        let (bytes, owed) = taken.into_parts();
        let last = if rest == 0 { self.after } else { "" };
        let mut text = Zeroizing::new(Vec::with_capacity(
            self.before.len() + self.encoding.len(step as u64) as usize + last.len(),
        ));
        text.extend_from_slice(self.before.as_bytes());
        self.encoding.write(&bytes, &mut text);
        text.extend_from_slice(last.as_bytes());
        if rest == 0 {
            return Ok(whole(text, owed));
        }
        let length = (self.before.len() + self.after.len()) as u64 + self.encoding.len(self.bytes);
        Ok(Body::new(Stream {
            app: Arc::clone(app),
            until: Instant::now() + app.limits.request_time,
            first: Some((text, owed)),
            next: None,
            rest,
            left: length,
            encoding: self.encoding,
            after: self.after,
        }))
    }
}

/// Text, and the random bytes that it was made of.
type Piece = (Zeroizing<Vec<u8>>, Owed);

type Next = Pin<Box<dyn Future<Output = Result<Taken, Problem>> + Send>>;

/// The rest of a long body, taken step by step.
struct Stream {
    app: Arc<App>,
    until: Instant,
    first: Option<Piece>,
    next: Option<Next>,
    /// Random bytes that are still to be taken.
    rest: u64,
    /// Bytes of text that are still to come.
    left: u64,
    encoding: Encoding,
    after: &'static str,
}

impl Stream {
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Problem>> {
        let len = self.rest.min(STEP as u64) as usize;
        let (app, until) = (Arc::clone(&self.app), self.until);
        let next = self
            .next
            .get_or_insert_with(|| Box::pin(async move { app.take(len, until).await }));
        let Poll::Ready(result) = next.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        self.next = None;
        let (bytes, owed) = result?.into_parts();
        self.rest -= bytes.len() as u64;
        let last = if self.rest == 0 { self.after } else { "" };
        let len = self.encoding.len(bytes.len() as u64) as usize + last.len();
        let mut text = Zeroizing::new(Vec::with_capacity(len));
        self.encoding.write(&bytes, &mut text);
        text.extend_from_slice(last.as_bytes());
        Poll::Ready(Ok((text, owed)))
    }
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let step = match self.first.take() {
            Some(first) => Ok(first),
            None if Instant::now() >= self.until => {
                Err(Problem::too_slow("the answer took too long"))
            }
            None => match self.step(cx) {
                Poll::Ready(step) => step,
                Poll::Pending => return Poll::Pending,
            },
        };
        Poll::Ready(Some(match step {
            Ok((text, owed)) => {
                self.left = self.left.saturating_sub(text.len() as u64);
                owed.served();
                Ok(Frame::data(Bytes::from_owner(Secret(text))))
            }
            // The head has gone out long ago: a connection that is cut tells the client that something is missing.
            Err(problem) => {
                self.left = 0;
                Err(io::Error::other(format!("{problem:?}")))
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
