//! What a host did that the hardware reference does not allow.

/// Texts kept; further ones are only counted.
const KEPT: usize = 256;

/// The list of a card's violations. A test that uses the card asks for it at its end.
#[derive(Debug, Default, Clone)]
pub struct Violations {
    texts: Vec<String>,
    count: u64,
}

impl Violations {
    /// The first 256, in order.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Fails the test that calls it if there was a violation.
    ///
    /// # Panics
    /// There was one; the message lists them.
    #[track_caller]
    pub fn assert_none(&self) {
        assert!(
            self.count == 0,
            "{} violations: {:#?}",
            self.count,
            self.texts
        );
    }

    pub(crate) fn add(&mut self, text: impl Into<String>) {
        self.count += 1;
        if self.texts.len() < KEPT {
            self.texts.push(text.into());
        }
    }
}
