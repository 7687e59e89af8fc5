//! Numbers for one request: how many bytes they need is asked of the pool at once, and more only after rejections.

use std::sync::Arc;

use qrng::draw::{ByteSource, DrawError};
use zeroize::{Zeroize, Zeroizing};

use crate::app::App;
use crate::pool::Owed;
use crate::problem::Problem;
use crate::routes::within;
use crate::supply::BLOCK;

/// The pile is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes at hand are used up")]
pub struct UsedUp;

/// Bytes at hand, each used once.
struct Pile {
    bytes: Zeroizing<Vec<u8>>,
    at: usize,
}

impl ByteSource for Pile {
    type Error = UsedUp;

    fn fill(&mut self, out: &mut [u8]) -> Result<(), UsedUp> {
        let end = self.at + out.len();
        let bytes = self.bytes.get(self.at..end).ok_or(UsedUp)?;
        out.copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }
}

/// Bytes that can be drawn from.
pub trait Draws: ByteSource<Error = UsedUp> {}
impl<S: ByteSource<Error = UsedUp>> Draws for S {}

/// Most values of one answer.
pub const COUNT_MAX: u64 = 10_000;

/// How many values a request asks for, and how long it waits for the bytes that they need.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// What the request calls the number of values.
    pub name: &'static str,
    /// That number; 1 if left out.
    pub count: Option<u64>,
    /// Milliseconds to wait; 0 if left out.
    pub wait_ms: Option<u64>,
}

/// Draws the values that are `asked` for by `draw`, each of which needs `each` bytes, and more only after a rejection. They are
/// wiped when they are done with, also if not all can be drawn.
///
/// A draw that finds the bytes used up is begun anew with others: what it had seen were rejections, on which the next word
/// does not depend.
///
/// # Errors
/// More are asked for than [`COUNT_MAX`], or a longer wait than is allowed; there are not enough bytes until then; or what
/// `draw` says.
pub async fn many<T: Zeroize>(
    app: &Arc<App>,
    asked: Asked,
    each: usize,
    mut draw: impl FnMut(&mut dyn Draws) -> Result<T, DrawError<UsedUp>>,
) -> Result<(Zeroizing<Vec<T>>, Option<Owed>), Problem> {
    let count = within(asked.name, asked.count.unwrap_or(1), COUNT_MAX)? as usize;
    let deadline = app.deadline(asked.wait_ms)?;
    // Sized beforehand: a vector that grows would leave copies behind.
    let mut values = Zeroizing::new(Vec::with_capacity(count));
    let mut all_owed: Option<Owed> = None;
    let mut pile = Pile {
        bytes: Zeroizing::default(),
        at: 0,
    };
    while values.len() < count {
        match draw(&mut pile) {
            Ok(value) => values.push(value),
            Err(DrawError::Source(UsedUp)) => {
                let want =
                    ((count - values.len()) * each.max(8)).min(BLOCK / each.max(8) * each.max(8));
                let (bytes, owed) = app.take(want, deadline).await?.into_parts();
                pile = Pile { bytes, at: 0 };
                match &mut all_owed {
                    Some(all) => all.join(owed),
                    None => all_owed = Some(owed),
                }
            }
            Err(e @ DrawError::Stuck) => return Err(Problem::stuck(e.to_string())),
            Err(e) => return Err(Problem::bad_request(e.to_string())),
        }
    }
    Ok((values, all_owed))
}
