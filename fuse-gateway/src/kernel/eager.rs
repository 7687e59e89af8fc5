//! Whether it pays to look out for the next request for a moment before sleeping until it comes.
//!
//! A process that reads little and often asks again within microseconds, while waking a thread on another processor takes
//! ten and more of them, and several times that where the processor is a virtual one that has been given back. Who asks
//! more slowly costs next to nothing: after a few looks in vain there are none for a while.

use std::time::Duration;

/// How long to look: shorter than waking takes, so that a look in vain costs less than one that succeeds saves.
pub(super) const LOOK: Duration = Duration::from_micros(20);

/// After so many looks in vain ...
const PATIENCE: u32 = 4;

/// ... the next requests of so many are slept for.
const PAUSE: u32 = 60;

/// What came of the last looks.
#[derive(Debug, Default)]
pub(super) struct Eager {
    in_vain: u32,
}

impl Eager {
    /// Asked before each request: whether to look for it. The answer of a look goes to [`Eager::looked`].
    pub(super) fn looks(&mut self) -> bool {
        if self.in_vain < PATIENCE {
            return true;
        }
        self.in_vain += 1;
        if self.in_vain > PATIENCE + PAUSE {
            self.in_vain = 0;
        }
        false
    }

    /// A look has found the request, or not.
    pub(super) fn looked(&mut self, found: bool) {
        self.in_vain = if found { 0 } else { self.in_vain + 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks made for `requests` of which each `hit`s or not.
    fn looks(eager: &mut Eager, requests: u32, hit: bool) -> u32 {
        let mut looks = 0;
        for _ in 0..requests {
            if eager.looks() {
                looks += 1;
                eager.looked(hit);
            }
        }
        looks
    }

    #[test]
    fn it_looks_as_long_as_that_succeeds_and_seldom_otherwise() {
        let mut eager = Eager::default();
        assert_eq!(looks(&mut eager, 1000, true), 1000);
        let in_vain = looks(&mut eager, 6500, false);
        assert!((350..=450).contains(&in_vain), "{in_vain}");
        // It finds out within a pause that asking has become frequent again.
        assert!(looks(&mut eager, 1000, true) >= 1000 - PAUSE - 1);
    }

    #[test]
    fn a_success_forgives_what_was_in_vain_before() {
        let mut eager = Eager::default();
        for _ in 0..100 {
            assert_eq!(looks(&mut eager, PATIENCE - 1, false), PATIENCE - 1);
            assert_eq!(looks(&mut eager, 1, true), 1);
        }
    }
}
