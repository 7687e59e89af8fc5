//! Both ends, a bad line between them, restarts of either, and time that is made here.

use super::support::{Collector, Gateway, Got, SECOND, T0};
use proptest::prelude::*;
use qrng::session::STEPS_AHEAD;
use std::collections::{HashMap, HashSet};

/// How long the collector waits between packets, in microseconds.
const PACKET_EVERY: u64 = 20_000;

/// What happens during one slice of time.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Packets arrive as sent.
    Flow,
    /// Nothing arrives.
    Loss,
    /// Packets wait, and arrive in reverse order with the next slice.
    Reorder,
    /// Each packet arrives twice.
    Duplicate,
    /// A bit of each packet is flipped.
    Corrupt(u16),
    /// Everything that was ever on the line arrives again.
    ReplayAll,
    RestartCollector,
    RestartGateway,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Flow),
        1 => Just(Event::Loss),
        2 => Just(Event::Reorder),
        2 => Just(Event::Duplicate),
        2 => any::<u16>().prop_map(Event::Corrupt),
        2 => Just(Event::ReplayAll),
        1 => Just(Event::RestartCollector),
        1 => Just(Event::RestartGateway),
    ]
}

/// Both ends and the line.
struct World {
    now: u64,
    announce_at: u64,
    collector: Collector,
    gateway: Gateway,
    /// Everything sent, for replays.
    sent: Vec<Vec<u8>>,
    waiting: Vec<Vec<u8>>,
    served: HashSet<u64>,
    /// Sent numbers and when.
    made: HashMap<u64, u64>,
    /// When it was last certain that nothing hinders the traffic.
    undisturbed_since: u64,
    next_number: u64,
}

impl World {
    fn new() -> Self {
        World {
            now: T0,
            announce_at: T0,
            collector: Collector::start(1, T0),
            gateway: Gateway::start(1, T0),
            sent: vec![],
            waiting: vec![],
            served: HashSet::new(),
            made: HashMap::new(),
            undisturbed_since: T0,
            next_number: 1,
        }
    }

    /// Gives a datagram to the gateway; what comes out must be new and must have been sent.
    fn deliver(&mut self, datagram: &[u8]) -> bool {
        let before = self.gateway.admit.counts();
        match self.gateway.take(datagram, self.now) {
            Ok(Got::Number(number)) => {
                assert!(
                    self.made.contains_key(&number),
                    "number {number} was never sent"
                );
                assert!(self.served.insert(number), "number {number} came out twice");
                true
            }
            Ok(_) => true,
            Err(reject) => {
                assert!(!reject.commits());
                assert_eq!(self.gateway.admit.counts(), before);
                false
            }
        }
    }

    /// A slice of time: the collector sends, the line does as the event says.
    fn run(&mut self, event: Event, slice_us: u64) {
        match event {
            Event::RestartCollector => {
                self.collector.restart(self.now);
                self.announce_at = self.now;
                self.undisturbed_since = self.now;
            }
            Event::RestartGateway => {
                self.gateway.restart(self.now);
                self.undisturbed_since = self.now;
            }
            Event::ReplayAll => self.replay_all(),
            _ => {}
        }
        if !matches!(event, Event::Reorder) {
            let waiting = std::mem::take(&mut self.waiting);
            for datagram in waiting.iter().rev() {
                self.deliver(datagram);
            }
        }
        let end = self.now + slice_us;
        while self.now < end {
            if self.now >= self.announce_at {
                let announcement = self.collector.announce(self.now);
                self.announce_at = self.now + SECOND;
                self.line(event, announcement, false);
            }
            let packet = self.collector.packet(self.now);
            self.made.insert(self.next_number, self.now);
            self.next_number += 1;
            self.line(event, packet, true);
            self.now += PACKET_EVERY;
        }
    }

    fn line(&mut self, event: Event, datagram: Vec<u8>, data: bool) {
        match event {
            Event::Loss => self.undisturbed_since = self.now,
            Event::Reorder => {
                self.undisturbed_since = self.now;
                self.waiting.push(datagram.clone());
            }
            Event::Corrupt(bit) => {
                self.undisturbed_since = self.now;
                let mut damaged = datagram.clone();
                let bit = usize::from(bit) % (damaged.len() * 8);
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(!self.deliver(&damaged), "a damaged datagram was taken");
            }
            Event::Duplicate => {
                self.send(&datagram, data);
                assert!(!self.deliver(&datagram), "a datagram was taken twice");
            }
            _ => self.send(&datagram, data),
        }
        self.sent.push(datagram);
    }

    /// An undisturbed datagram: two seconds after the last disturbance it must be taken.
    fn send(&mut self, datagram: &[u8], data: bool) {
        let taken = self.deliver(datagram);
        if data && self.now >= self.undisturbed_since + 2 * SECOND {
            assert!(taken, "traffic must flow again within two seconds");
        }
    }

    /// Replays change nothing but the session that a restarted gateway has not heard of yet.
    fn replay_all(&mut self) {
        let known = self.gateway.admit.session();
        let served = self.served.len();
        let waiting: HashSet<_> = self.waiting.iter().cloned().collect();
        let sent = self.sent.clone();
        for datagram in sent.iter().filter(|datagram| !waiting.contains(*datagram)) {
            self.deliver(datagram);
        }
        // What was lost before may arrive now for the first time, within its time to live; `deliver` saw to the rest.
        assert!(self.served.len() >= served);
        if let (Some(before), Some(after)) = (known, self.gateway.admit.session()) {
            assert!(after.epoch >= before.epoch);
            assert!(after.step <= before.step + STEPS_AHEAD);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the line does and whoever restarts: no number comes out twice, nothing damaged is taken, and two seconds
    /// after the last disturbance everything flows.
    #[test]
    fn reorder_loss_duplication_corruption_restarts(
        events in prop::collection::vec((event(), 1_u64..40), 1..30)
    ) {
        let mut world = World::new();
        for (event, slices) in events {
            world.run(event, slices * 50_000);
        }
        world.run(Event::ReplayAll, 50_000);
        world.run(Event::Flow, 3 * SECOND);
        prop_assert!(world.served.contains(&(world.next_number - 1)));
    }
}

/// The worst moment for a gateway to restart: right after the bound was moved, right after an announcement.
#[test]
fn a_gateway_restarted_at_any_moment_flows_within_two_seconds() {
    for offset in (0..2 * SECOND).step_by(PACKET_EVERY as usize) {
        let mut world = World::new();
        world.run(Event::Flow, SECOND + offset);
        world.run(Event::RestartGateway, 2 * SECOND + SECOND / 10);
    }
}

/// A collector's restart costs nothing but what is on the line.
#[test]
fn a_restarted_collector_flows_at_once() {
    let mut world = World::new();
    world.run(Event::Flow, SECOND);
    world.run(Event::RestartCollector, SECOND);
    assert_eq!(world.served.len() as u64, world.next_number - 1);
}
