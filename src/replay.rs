//! The replay window: which sequence numbers have been seen.
//!
//! In the manner of RFC 6479, the bits lie in a ring of words that is never shifted: moving the window
//! forward clears the bits it moves over.
//!
//! ```text
//!            next - 8192                                next
//!  too old  │ 1 1 0 1 1 1 1 0 1 1 1 1 1 1 1 1 0 1 1 0 1 │ not seen yet
//!           └── a 0 that leaves here was lost            └── newest number seen + 1
//! ```
//!
//! [`Window::peek`] asks and changes nothing; [`Window::commit`] marks a number, and is called only for a packet
//! that was verified.

use thiserror::Error;

/// Numbers that the window reaches back.
pub const WINDOW: u64 = 8192;
const WORDS: usize = (WINDOW / 64) as usize;

/// Why a sequence number is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Replay {
    /// It lies behind the window, so nobody knows whether it was seen.
    #[error("the sequence number lies behind the replay window")]
    TooOld,
    /// It was seen.
    #[error("the sequence number was seen before")]
    Duplicate,
}

/// A sliding window over sequence numbers.
#[derive(Clone, Debug)]
pub struct Window {
    seen: [u64; WORDS],
    /// The newest number seen + 1; before the first, the number the window starts at.
    next: u64,
    /// Numbers below it were sent before this window existed, so they can't be missed.
    start: u64,
}

impl Window {
    /// A window for which numbers from `start` on count as lost if they never come.
    #[must_use]
    pub fn starting_at(start: u64) -> Self {
        Window {
            seen: [0; WORDS],
            next: start,
            start,
        }
    }

    /// The newest number seen + 1.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Tells whether `sequence` may still be accepted. Changes nothing.
    ///
    /// # Errors
    /// [`Replay`] if the number was seen or lies behind the window.
    pub fn peek(&self, sequence: u64) -> Result<(), Replay> {
        let Some(back) = self.next.checked_sub(sequence) else {
            return Ok(());
        };
        if back == 0 {
            return Ok(());
        }
        if back > WINDOW {
            return Err(Replay::TooOld);
        }
        let (word, bit) = place(sequence);
        if self.seen[word] & bit != 0 {
            return Err(Replay::Duplicate);
        }
        Ok(())
    }

    /// Marks `sequence` as seen, and returns how many never-seen numbers left the window by it.
    ///
    /// A number that [`Window::peek`] refuses changes nothing.
    pub fn commit(&mut self, sequence: u64) -> u64 {
        let Some(after) = sequence.checked_add(1) else {
            return 0;
        };
        if self.peek(sequence).is_err() {
            return 0;
        }
        let mut lost = 0;
        if after > self.next {
            // Numbers below `kept` leave the window.
            let kept = after.saturating_sub(WINDOW);
            lost =
                self.missing(self.oldest(), kept.min(self.next)) + kept.saturating_sub(self.next);
            self.clear(self.next.max(kept), after);
            self.next = after;
        }
        let (word, bit) = place(sequence);
        self.seen[word] |= bit;
        lost
    }

    /// How many numbers inside the window have not been seen: lost, if the session ends here.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.missing(self.oldest(), self.next)
    }

    /// The oldest number that may still come and can be missed.
    fn oldest(&self) -> u64 {
        self.next.saturating_sub(WINDOW).max(self.start)
    }

    /// Never-seen numbers in `from..to`, all inside the window.
    fn missing(&self, from: u64, to: u64) -> u64 {
        let mut missing = 0;
        for_words(from, to, |word, mask| {
            missing += u64::from((!self.seen[word] & mask).count_ones());
        });
        missing
    }

    /// Forgets the numbers `from..to`, at most [`WINDOW`] of them.
    fn clear(&mut self, from: u64, to: u64) {
        for_words(from, to, |word, mask| self.seen[word] &= !mask);
    }
}

/// The word and the bit of a number.
fn place(sequence: u64) -> (usize, u64) {
    ((sequence / 64) as usize % WORDS, 1 << (sequence % 64))
}

/// Calls `visit` with the word and the mask for each stretch of `from..to` that lies in one word.
fn for_words(from: u64, to: u64, mut visit: impl FnMut(usize, u64)) {
    let mut at = from;
    while at < to {
        let (word, _) = place(at);
        let end = to.min((at | 63).saturating_add(1));
        let bits = end - at;
        let ones = if bits == 64 {
            u64::MAX
        } else {
            (1 << bits) - 1
        };
        visit(word, ones << (at % 64));
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn edges_of_the_window() {
        let mut window = Window::starting_at(0);
        assert_eq!(window.commit(0), 0);
        assert_eq!(window.peek(0), Err(Replay::Duplicate));
        // 8191 is the farthest jump that keeps 0 inside.
        assert_eq!(window.commit(WINDOW - 1), 0);
        assert_eq!(window.peek(0), Err(Replay::Duplicate));
        assert_eq!(window.peek(1), Ok(()));
        // One more and 0 leaves; it was seen, so nothing is lost.
        assert_eq!(window.commit(WINDOW), 0);
        assert_eq!(window.peek(0), Err(Replay::TooOld));
        assert_eq!(window.peek(1), Ok(()));
        // 1 leaves without having been seen.
        assert_eq!(window.commit(WINDOW + 1), 1);
        assert_eq!(window.peek(1), Err(Replay::TooOld));
        // A late one inside the window is taken once.
        assert_eq!(window.commit(2), 0);
        assert_eq!(window.commit(2), 0);
        assert_eq!(window.peek(2), Err(Replay::Duplicate));
        assert_eq!(window.next(), WINDOW + 2);
    }

    #[test]
    fn word_boundaries_are_no_edges() {
        for first in [0, 1, 62, 63, 64, 65, 8127, 8128, 8191, 8192, 1 << 40] {
            let mut window = Window::starting_at(first);
            for sequence in first..first + 3 * WINDOW {
                assert_eq!(window.peek(sequence), Ok(()));
                assert_eq!(window.commit(sequence), 0);
                assert_eq!(window.peek(sequence), Err(Replay::Duplicate));
            }
            assert_eq!(window.outstanding(), 0);
        }
    }

    #[test]
    fn long_jumps_count_every_number_once() {
        let mut window = Window::starting_at(0);
        window.commit(0);
        // 1..=99_999 are missing, of which the last 8191 still lie inside.
        assert_eq!(window.commit(100_000), 99_999 - (WINDOW - 1));
        assert_eq!(window.outstanding(), WINDOW - 1);
        assert_eq!(window.peek(100_000 - WINDOW), Err(Replay::TooOld));
        assert_eq!(window.peek(100_001 - WINDOW), Ok(()));
    }

    #[test]
    fn numbers_before_the_start_are_taken_but_never_missed() {
        let mut window = Window::starting_at(10_000);
        assert_eq!(window.commit(10_000), 0);
        assert_eq!(window.commit(9_999), 0);
        assert_eq!(window.peek(9_999), Err(Replay::Duplicate));
        assert_eq!(window.peek(10_000 - WINDOW), Err(Replay::TooOld));
        assert_eq!(window.outstanding(), 0);
        assert_eq!(window.commit(30_000), 30_001 - WINDOW - 10_001);
    }

    #[test]
    fn the_largest_numbers() {
        let mut window = Window::starting_at(u64::MAX - 2);
        assert_eq!(window.commit(u64::MAX - 1), 0);
        assert_eq!(window.commit(u64::MAX), 0);
        assert_eq!(window.peek(u64::MAX - 1), Err(Replay::Duplicate));
        assert_eq!(window.outstanding(), 1);
        let mut window = Window::starting_at(0);
        assert_eq!(window.commit(u64::MAX - 1), u64::MAX - WINDOW);
    }

    proptest! {
        /// Against a plain set: the same verdicts, and seen + lost + outstanding = all.
        #[test]
        fn same_as_a_set(start in 0_u64..20_000, steps in prop::collection::vec((any::<bool>(), 0_u64..20_000), 1..400)) {
            let mut window = Window::starting_at(start);
            let (mut set, mut lost) = (HashSet::new(), 0);
            for (forward, distance) in steps {
                // Mostly small moves, now and then a long one.
                let distance = if distance % 7 == 0 { distance } else { distance % 50 };
                let sequence = if forward { window.next() + distance } else { window.next().saturating_sub(distance) };
                let verdict = window.peek(sequence);
                if sequence < window.next() && window.next() - sequence > WINDOW {
                    prop_assert_eq!(verdict, Err(Replay::TooOld));
                } else if set.contains(&sequence) {
                    prop_assert_eq!(verdict, Err(Replay::Duplicate));
                } else {
                    prop_assert_eq!(verdict, Ok(()));
                    set.insert(sequence);
                }
                lost += window.commit(sequence);
            }
            let seen = set.iter().filter(|&&s| s >= start).count() as u64;
            prop_assert_eq!(seen + lost + window.outstanding(), window.next() - start);
        }
    }
}
