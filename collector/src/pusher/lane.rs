//! One gateway's thread: takes what waits, posts it, and tries again for as long as it is worth it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use qrng::push::{BODY_MAX, HEADER};
use serde::{Deserialize, Serialize};

use super::post::Post;
use super::queue::{Queue, Taken};
use crate::source::appliance::pause::Pauses;

/// The longest text of a trouble that is told.
const TEXT_MAX: usize = 512;

/// What was pushed to one gateway, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushCounters {
    /// Requests that were answered as they should be.
    pub requests: u64,
    /// Packets in them.
    pub packets: u64,
    /// Bytes of these packets.
    pub bytes: u64,
    /// Requests that failed. What was in them was tried again.
    pub failures: u64,
    /// Packets that were never pushed: the queue was full, or they were too old.
    pub dropped: u64,
    /// Bytes that wait.
    pub queued: u64,
    /// What is wrong at the moment.
    pub trouble: Option<String>,
}

impl PushCounters {
    /// Whether a pusher with so many gateways can have told these.
    pub fn fit(told: &[Self], gateways: usize) -> bool {
        let is_text = |text: &String| text.len() <= TEXT_MAX && !text.chars().any(char::is_control);
        let mut troubles = told.iter().filter_map(|told| told.trouble.as_ref());
        told.len() == gateways && troubles.all(is_text)
    }
}

/// The same while it is counted, and the packets that wait.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) queue: Queue,
    requests: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Lane {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            queue: Queue::new(most),
            requests: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            trouble: Mutex::default(),
        })
    }

    pub(super) fn now(&self) -> PushCounters {
        let (queued, dropped) = self.queue.told();
        PushCounters {
            requests: self.requests.load(Relaxed),
            packets: self.packets.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            failures: self.failures.load(Relaxed),
            dropped,
            queued,
            trouble: self.trouble().clone(),
        }
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        // Replaced whole.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread.
pub(super) struct Pushing {
    /// The gateway's name in the log.
    pub(super) name: String,
    pub(super) lane: Arc<Lane>,
    pub(super) post: Post,
    /// How long packets may wait for others.
    pub(super) interval: Duration,
    pub(super) pauses: Pauses,
    /// Packets that had been dropped when what is wrong now began.
    pub(super) dropped_before: u64,
    /// Whether it was told that packets are dropped.
    pub(super) told_of_drops: bool,
}

impl Pushing {
    /// Pushes for ever.
    pub(super) fn run(mut self) -> anyhow::Result<()> {
        let mut body = Vec::with_capacity(BODY_MAX);
        loop {
            let taken = self.lane.queue.take(self.interval, &mut body);
            self.deliver(&body, taken);
        }
    }

    /// Posts a body until it is taken, or too old.
    fn deliver(&mut self, body: &[u8], taken: Taken) {
        loop {
            let trouble = match self.post.post(body) {
                Ok(()) => {
                    let lane = &self.lane;
                    lane.requests.fetch_add(1, Relaxed);
                    lane.packets.fetch_add(taken.packets, Relaxed);
                    let bytes = body.len() as u64 - HEADER as u64 * taken.packets;
                    lane.bytes.fetch_add(bytes, Relaxed);
                    return self.works();
                }
                Err(trouble) => trouble,
            };
            self.lane.failures.fetch_add(1, Relaxed);
            self.fails(trouble.text);
            if taken.is_stale(Instant::now()) {
                return self.lane.queue.give_up(taken.packets);
            }
            // An answer may ask for a longer pause, and not for a shorter one.
            let least = self.pauses.next();
            thread::sleep(trouble.pause.map_or(least, |asked| asked.max(least)));
        }
    }

    /// Tells a trouble once, and once that packets are lost by it.
    fn fails(&mut self, mut text: String) {
        while text.len() > TEXT_MAX {
            text.pop();
        }
        text.retain(|c| !c.is_control());
        let (_, dropped) = self.lane.queue.told();
        let name = &self.name;
        let mut trouble = self.lane.trouble();
        if trouble.is_none() {
            self.dropped_before = dropped;
            self.told_of_drops = false;
        }
        if trouble.as_ref() != Some(&text) {
            log::warn!("gateway {name} {text}; packets wait, and are pushed when that is mended");
            *trouble = Some(text);
        }
        if dropped > self.dropped_before && !self.told_of_drops {
            self.told_of_drops = true;
            log::warn!("gateway {name}: no more packets can wait: the oldest are dropped");
        }
    }

    fn works(&mut self) {
        self.pauses.end();
        let (_, dropped) = self.lane.queue.told();
        if self.lane.trouble().take().is_some() {
            let lost = dropped - self.dropped_before;
            log::info!(
                "gateway {} takes packets again; {lost} were dropped meanwhile",
                self.name
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pusher_cannot_have_told_does_not_fit() {
        let told = |trouble: &str| PushCounters {
            trouble: Some(trouble.into()),
            ..PushCounters::default()
        };
        assert!(PushCounters::fit(
            &[told("away"), PushCounters::default()],
            2
        ));
        assert!(!PushCounters::fit(&[told("away")], 2));
        assert!(!PushCounters::fit(&[told("\u{1b}[2J")], 1));
        assert!(!PushCounters::fit(&[told(&"x".repeat(TEXT_MAX + 1))], 1));
    }
}
