//! A progress bar on standard error, for a terminal only.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use qrng_assess::Progress;

use crate::text;

/// Cells of the bar.
const WIDTH: usize = 24;
/// Least time between two drawings.
const PACE: Duration = Duration::from_millis(100);
/// Back to the line's beginning, and nothing left on it.
const CLEAR: &str = "\r\x1b[K";

/// The bar.
pub struct Bar {
    shown: bool,
    last: Option<Instant>,
}

impl Bar {
    /// A bar that is drawn if standard error is a terminal that can be drawn on.
    pub fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
        Self {
            shown: io::stderr().is_terminal() && !dumb,
            last: None,
        }
    }

    /// Draws how far it is, a few times a second at most.
    pub fn show(&mut self, progress: Progress) {
        if !self.shown || self.last.is_some_and(|last| last.elapsed() < PACE) {
            return;
        }
        self.last = Some(Instant::now());
        draw(&frame(progress));
    }

    /// Wipes the bar away.
    pub fn clear(&mut self) {
        if self.last.take().is_some() {
            draw(CLEAR);
        }
    }
}

/// One drawing. A line that is too long for the terminal is cut by it, not wrapped.
fn frame(progress: Progress) -> String {
    format!(
        "{CLEAR}\x1b[?7l{} {:>3.0} %  {}\x1b[?7h",
        text::bar(progress.done, WIDTH),
        (progress.done * 100.0).clamp(0.0, 100.0).floor(),
        progress.stage
    )
}

fn draw(words: &str) {
    let mut out = io::stderr().lock();
    // Nobody is left to be told if this fails, and the report does not depend on it.
    let _ = out.write_all(words.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_stays_on_one_line() {
        let progress = Progress {
            stage: "runs of equal bits",
            done: 0.456,
        };
        let frame = frame(progress);
        assert!(frame.contains("[###########.............]  45 %  runs of equal bits"));
        assert!(!frame.contains('\n'));
        assert_eq!(frame.matches("\x1b[?7l").count(), 1);
        assert!(frame.ends_with("\x1b[?7h"), "wrapping is on again");
    }
}
