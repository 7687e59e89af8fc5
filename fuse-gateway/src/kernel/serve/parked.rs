//! The thread `parked`: serves those who wait.

use qrng_daemon::Pulse;

use super::{After, Shared};
use crate::kernel::errno::Refusal;
use crate::kernel::waiting::{Parked, Polls};
use crate::tree::{Desk, Reading};

impl Shared {
    /// The thread `parked`: serves those who wait whenever bytes have come, until the mount ends.
    pub(in crate::kernel) fn serve_waiting(&self, desk: &mut Desk, pulse: &Pulse) {
        let buffer = self.tree.buffer();
        loop {
            // The count is read before anything is looked at, so whatever changes later ends the wait below.
            let rings = buffer.rings();
            if self.stopping() {
                break;
            }
            pulse.works();
            if !self.waiting.is_empty() {
                buffer.arm();
            }
            if buffer.fill() > 0 || self.tree.failing() {
                self.wake_pollers();
            }
            self.serve_reads(desk);
            pulse.waits();
            let lapse = (!self.waiting.is_empty()).then(|| buffer.queue().lapse());
            buffer.wait(rings, lapse.flatten());
        }
        if self.after == After::NextRun {
            return;
        }
        while let Some(placed) = self.waiting.any() {
            self.connection
                .refuse(placed.read.ask.unique, Refusal::Ending);
            self.tell(self.waiting.served(&placed, 0));
        }
    }

    /// Wakes the pollers for whom there is something. Others go on waiting, and are looked at again when more comes or what is kept
    /// lapses: woken, they would ask in vain, and again.
    fn wake_pollers(&self) {
        let queue = self.tree.buffer().queue();
        let free = queue.is_free();
        let (woken, others): (Polls, Polls) = self
            .waiting
            .watched()
            .into_iter()
            .partition(|(_, user)| free || self.is_for(user));
        // They are on their way: their parts are kept for them.
        if !free {
            woken.values().for_each(|user| queue.wants(user));
        }
        self.wake(&woken);
        for (file, user) in others {
            self.wake(&self.waiting.watch(file, &user));
        }
    }

    /// Wakes those who wait at the stream socket, if it is their turn now.
    pub(super) fn tell(&self, others: bool) {
        if others {
            self.tree.buffer().alert();
        }
    }

    fn serve_reads(&self, desk: &mut Desk) {
        while let Some((placed, most)) = self.waiting.turn(self.supply()) {
            let Parked { ask, user } = &placed.read;
            let taken = match self.serve(ask, user, most, desk) {
                Ok(Reading::Answered { taken }) => taken,
                Ok(Reading::Empty) => return self.waiting.put_back(placed),
                Err(refusal) => {
                    self.connection.refuse(ask.unique, refusal);
                    0
                }
            };
            self.tell(self.waiting.served(&placed, taken));
        }
    }
}
