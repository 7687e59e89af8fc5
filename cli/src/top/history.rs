//! What was seen of the gateway so far: two looks for the rates of now, and the rates of the last minutes.

use std::collections::VecDeque;

use crate::status::document::Gateway;
use crate::status::render::per_second;
use crate::status::{Look, Sample, Trouble};

/// Rates that are kept: one a second.
const KEPT: usize = 300;

/// What was seen.
#[derive(Default)]
pub(super) struct History {
    now: Option<Sample<Gateway>>,
    before: Option<Sample<Gateway>>,
    trouble: Option<Trouble>,
    came: VecDeque<u64>,
    went: VecDeque<u64>,
}

impl History {
    /// Takes in a look. Trouble leaves what was seen before to be seen.
    pub(super) fn add(&mut self, look: Look<Gateway>) {
        match look {
            Ok(sample) => {
                self.trouble = None;
                self.before = self.now.replace(sample);
                self.note_rates();
            }
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    fn note_rates(&mut self) {
        let Some(now) = &self.now else {
            return;
        };
        let before = self.before.as_ref();
        let came = per_second(now, before, |it| it.bytes.admitted);
        let went = per_second(now, before, |it| it.bytes.served);
        for (rate, kept) in [(came, &mut self.came), (went, &mut self.went)] {
            // None after the first look, and when the gateway was restarted.
            let Some(rate) = rate else {
                continue;
            };
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(rate as u64);
        }
    }

    /// The last look that gave a document.
    pub(super) fn now(&self) -> Option<&Sample<Gateway>> {
        self.now.as_ref()
    }

    /// The one before it.
    pub(super) fn before(&self) -> Option<&Sample<Gateway>> {
        self.before.as_ref()
    }

    /// Why the very last look gave none.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Bytes a second that came in, newest last, as many as fit into `width`.
    pub(super) fn came(&self, width: u16) -> Vec<u64> {
        last(&self.came, width)
    }

    /// Bytes a second that readers got.
    pub(super) fn went(&self, width: u16) -> Vec<u64> {
        last(&self.went, width)
    }
}

fn last(rates: &VecDeque<u64>, width: u16) -> Vec<u64> {
    let skip = rates.len().saturating_sub(usize::from(width));
    rates.iter().skip(skip).copied().collect()
}
