//! Numbers for one request: how many bytes they need is asked of the pool at once, and more only after rejections.

use std::sync::Arc;
use std::time::Instant;

use qrng::draw::{ByteSource, DrawError};
use zeroize::Zeroizing;

use crate::app::App;
use crate::pool::Owed;
use crate::problem::Problem;
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

/// Draws `count` values by `draw`, each of which needs `each` bytes, and more only after a rejection.
///
/// A draw that finds the bytes used up is begun anew with others: what it had seen were rejections, on which the next word
/// does not depend.
///
/// # Errors
/// There are not enough bytes until `deadline`, or what `draw` says.
pub async fn many<T>(
    app: &Arc<App>,
    count: usize,
    each: usize,
    deadline: Instant,
    mut draw: impl FnMut(&mut dyn Draws) -> Result<T, DrawError<UsedUp>>,
) -> Result<(Vec<T>, Option<Owed>), Problem> {
    let mut values = Vec::with_capacity(count);
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
