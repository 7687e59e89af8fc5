//! What a user may have where users compete for bytes; elsewhere nothing of this is asked.

use std::sync::Arc;

use super::Shared;
use crate::buffer::MAX_CLAIM;
use crate::kernel::errno::Refusal;
use crate::kernel::waiting::Ask;
use crate::shares::{Account, Supply};

impl Shared {
    /// How many bytes a read may take where users compete for them; `None` if others come first. What needs no bytes waits
    /// for nobody.
    pub(super) fn most(
        &self,
        ask: &Ask,
        user: &Arc<Account>,
        patient: bool,
    ) -> Result<Option<usize>, Refusal> {
        let need = self.tree.need(ask.inode, ask.handle)?;
        let queue = self.tree.buffer().queue();
        if self.tree.failing() || user.lacks(need, || self.today()) {
            return Ok(Some(MAX_CLAIM));
        }
        if need == 0 {
            // The rest of a line is there; what follows it in a stream is not.
            let follows = self.tree.entry(ask.inode)?.is_stream();
            return Ok(Some(if follows {
                queue.pass(user, 1, true, self.supply())
            } else {
                MAX_CLAIM
            }));
        }
        let most = queue.pass(user, need, !patient, self.supply());
        Ok((most > 0).then_some(most))
    }

    /// Counts what a read has taken that did not wait while users competed, and wakes those who do.
    pub(super) fn count(&self, user: &Account, taken: usize) {
        let buffer = self.tree.buffer();
        if taken > 0 && buffer.queue().took(user, taken) && buffer.fill() > 0 {
            buffer.notify();
        }
    }

    pub(super) fn supply(&self) -> Supply {
        self.tree.buffer().supply(self.tree.failing())
    }

    pub(super) fn today(&self) -> u64 {
        self.tree.buffer().queue().users().today()
    }

    /// Whether there are bytes, or an error, for a poller of `user` where users compete.
    pub(super) fn is_for(&self, user: &Arc<Account>) -> bool {
        let queue = self.tree.buffer().queue();
        self.tree.failing()
            || user.lacks(1, || self.today())
            || queue.pass(user, 1, true, self.supply()) > 0
    }

    /// Whether a read of `user` would be answered at once, be it with an error.
    pub(super) fn ready(
        &self,
        inode: u64,
        handle: u64,
        user: &Arc<Account>,
    ) -> Result<bool, Refusal> {
        let need = self.tree.need(inode, handle)?;
        if need > 0 && user.lacks(need, || self.today()) {
            return Ok(true);
        }
        let queue = self.tree.buffer().queue();
        if need == 0 || self.tree.failing() || queue.is_free() {
            return Ok(self.tree.ready(inode, handle)?);
        }
        let supply = self.supply();
        Ok(supply.fill >= need && queue.pass(user, need, true, supply) > 0)
    }
}
