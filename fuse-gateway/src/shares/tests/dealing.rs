//! How bytes are dealt out, by simulated readers.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Bytes that come at once: a block that has passed its health tests.
const BLOCK: usize = 65_536;

/// Time between two blocks at 0.5 MB/s.
const PERIOD: Duration = Duration::from_millis(131);

/// How long a reader is away between its answer and its next read.
const AWAY: Duration = Duration::from_micros(200);

/// A user, its readers and the size of their reads.
#[derive(Debug, Clone)]
struct Reader {
    user: usize,
    size: usize,
    /// Its place while it waits.
    ticket: Option<Ticket>,
    /// When it asks again.
    asks: Duration,
    /// Between an answer and the next read.
    away: Duration,
}

/// Readers over a supply of blocks.
struct World {
    dealing: Dealing,
    accounts: Vec<Arc<Account>>,
    readers: Vec<Reader>,
    fill: usize,
    came: u64,
    taken: Vec<u64>,
    now: Duration,
}

impl World {
    /// One user for each weight.
    fn new(weights: &[u32]) -> Self {
        let named: Vec<_> = (1..).zip(weights).map(|(uid, &w)| (uid, w, None)).collect();
        let users = users(None, &named);
        Self {
            dealing: Dealing::default(),
            accounts: (1..=weights.len() as u32)
                .map(|uid| users.account(uid))
                .collect(),
            readers: Vec::new(),
            fill: 0,
            came: 0,
            taken: vec![0; weights.len()],
            now: Duration::from_secs(1),
        }
    }

    fn reader(&mut self, user: usize, size: usize, away: Duration) {
        self.readers.push(Reader {
            user,
            size,
            ticket: None,
            asks: self.now,
            away,
        });
    }

    fn supply(&self) -> Supply {
        Supply {
            fill: self.fill,
            keep: 4 << 20,
        }
    }

    fn answer(&mut self, at: usize, most: usize) -> usize {
        let bytes = self.readers[at].size.min(most).min(self.fill);
        self.fill -= bytes;
        self.taken[self.readers[at].user] += bytes as u64;
        self.readers[at].ticket = None;
        self.readers[at].asks = self.now + self.readers[at].away;
        bytes
    }

    /// Serves those whose turn it is, as long as there are bytes for them.
    fn serve(&mut self) {
        while let Some(turn) = self.dealing.turn(self.supply(), None, self.now) {
            if turn.most.min(self.fill) == 0 {
                return;
            }
            let mine = |reader: &Reader| reader.ticket == Some(turn.ticket);
            let at = self.readers.iter().position(mine).expect("somebody waits");
            let bytes = self.answer(at, turn.most);
            self.dealing.leave(turn.ticket, bytes, self.now);
        }
    }

    /// Lets those ask whose time has come.
    fn ask(&mut self) {
        for at in 0..self.readers.len() {
            let reader = &self.readers[at];
            if reader.ticket.is_some() || reader.asks > self.now {
                continue;
            }
            let account = Arc::clone(&self.accounts[reader.user]);
            let most = self
                .dealing
                .pass(&account, (1, false), self.supply(), self.now);
            if most.min(self.fill) > 0 {
                let bytes = self.answer(at, most);
                self.dealing.took(&account, bytes);
            } else {
                let ticket = self.dealing.join(&account, Lane::Files, self.now);
                self.readers[at].ticket = Some(ticket);
            }
        }
    }

    /// Lets a block come, and time go on until the next.
    fn block(&mut self, bytes: usize, period: Duration) {
        let end = self.now + period;
        self.fill += bytes;
        self.came += bytes as u64;
        self.serve();
        while self.now < end {
            let asks = self.readers.iter().filter(|reader| reader.ticket.is_none());
            let next = asks.map(|reader| reader.asks).min().unwrap_or(end);
            let lapse = self.dealing.lapse(self.now).map_or(end, |at| self.now + at);
            self.now = next
                .max(self.now + Duration::from_micros(1))
                .min(lapse)
                .min(end);
            self.ask();
            self.serve();
        }
    }

    fn run(&mut self, blocks: usize) {
        (0..blocks).for_each(|_| self.block(BLOCK, PERIOD));
        let taken: u64 = self.taken.iter().sum();
        assert_eq!(self.came, taken + self.fill as u64, "each byte goes to one");
    }
}

#[test]
fn a_modest_reader_of_small_blocks_gets_its_part_beside_three_greedy_ones() {
    for size in [512, 4096, 16_384, 131_072] {
        let mut world = World::new(&[1, 1]);
        (0..3).for_each(|_| world.reader(0, 131_072, AWAY));
        world.reader(1, size, AWAY);
        world.run(100);
        let part = world.taken[1] as f64 / world.taken.iter().sum::<u64>() as f64;
        assert!((0.45..=0.55).contains(&part), "{size}: {part}");
    }
}

#[test]
fn who_asks_for_less_than_its_part_gets_what_it_asks_and_the_rest_is_for_others() {
    let mut world = World::new(&[1, 1]);
    (0..3).for_each(|_| world.reader(0, 131_072, AWAY));
    // 32 bytes each 5 ms: the first wait is for a block, no other one is.
    world.reader(1, 32, Duration::from_millis(5));
    world.run(100);
    let asked = (100 * PERIOD.as_millis() / 5 * 32) as u64;
    assert!(world.taken[1] >= asked - 2 * 32 * 27, "{:?}", world.taken);
    assert!(
        world.accounts[1].waits() <= 3,
        "{}",
        world.accounts[1].waits()
    );
    assert!(world.taken[0] + world.taken[1] >= 98 * BLOCK as u64);
}

#[test]
fn weights_are_parts() {
    let mut world = World::new(&[1, 3, 6]);
    for user in 0..3 {
        (0..2).for_each(|_| world.reader(user, 65_536, AWAY));
    }
    // The very first read competes with nobody.
    world.run(1);
    let first = world.taken.clone();
    world.run(200);
    let taken = world.taken.iter().zip(first);
    let taken: Vec<_> = taken.map(|(now, first)| (now - first) as f64).collect();
    let sum: f64 = taken.iter().sum();
    for (taken, weight) in taken.iter().zip([1.0, 3.0, 6.0]) {
        let part = taken / sum * 10.0 / weight;
        assert!((0.98..=1.02).contains(&part), "{taken:?}");
    }
}

#[test]
fn whoever_was_away_for_long_has_no_claim_to_what_it_left() {
    let mut world = World::new(&[1, 1]);
    world.reader(0, 131_072, AWAY);
    world.reader(1, 131_072, Duration::from_secs(60));
    world.run(100);
    assert!(world.taken[1] <= BLOCK as u64, "{:?}", world.taken);
    let before = world.taken.clone();
    world.readers[1].away = AWAY;
    world.readers[1].asks = world.now;
    world.run(20);
    let got: Vec<_> = world
        .taken
        .iter()
        .zip(before)
        .map(|(now, before)| now - before)
        .collect();
    let ahead = got[1].abs_diff(got[0]);
    assert!(ahead <= 2 * BLOCK as u64, "{got:?}");
}

#[test]
fn what_is_kept_for_who_went_away_is_for_others_after_a_while() {
    let mut world = World::new(&[1, 1]);
    world.reader(0, 131_072, AWAY);
    world.reader(1, 32, Duration::from_secs(3600));
    world.run(30);
    let waits = |world: &World| world.readers[0].ticket.is_some();
    assert!(waits(&world) && world.fill == 0, "{}", world.fill);
    assert_eq!(world.taken, [30 * BLOCK as u64 - 32, 32]);
}

#[test]
fn a_reader_that_does_not_wait_overtakes_nobody_who_was_served_less() {
    let mut world = World::new(&[1, 1]);
    let [greedy, modest] = [0, 1].map(|at| Arc::clone(&world.accounts[at]));
    let now = world.now;
    let ticket = world.dealing.join(&greedy, Lane::Files, now);
    world.dealing.leave(ticket, BLOCK, now);
    let waiting = world.dealing.join(&modest, Lane::Files, now);
    let supply = Supply { fill: 100, keep: 0 };
    for impatient in [false, true] {
        assert_eq!(world.dealing.pass(&greedy, (1, impatient), supply, now), 0);
    }
    let turn = world.dealing.turn(supply, None, now).unwrap();
    assert_eq!((turn.ticket, turn.most), (waiting, 100));
    world.dealing.leave(waiting, 2 * BLOCK, now);
    assert!(world.dealing.pass(&greedy, (1, false), supply, now) > 0);
    // Nor does a read stand before one of the same user that waits, but who will not wait need not.
    world.dealing.join(&greedy, Lane::Files, now);
    assert_eq!(world.dealing.pass(&greedy, (1, false), supply, now), 0);
    assert_eq!(world.dealing.pass(&greedy, (1, true), supply, now), 100);
}

#[test]
fn who_polls_has_its_part_kept() {
    let mut world = World::new(&[1, 1]);
    let poller = Arc::clone(&world.accounts[1]);
    world.reader(0, 131_072, AWAY);
    world.run(10);
    world.dealing.wants(&poller, world.now);
    world.run(10);
    // It has taken nothing, so what is kept has grown to its limit.
    assert_eq!(world.fill, 2 * BLOCK);
    let most = world
        .dealing
        .pass(&poller, (32, true), world.supply(), world.now);
    assert!(most >= 32);
}

#[test]
fn who_has_spent_its_quota_is_told_before_others_are_served() {
    let users = users(None, &[(1, 1, None), (2, 1, Some(2000))]);
    let [one, limited] = [1, 2].map(|uid| users.account(uid));
    let mut dealing = Dealing::default();
    let now = Duration::from_secs(1);
    dealing.join(&one, Lane::Files, now);
    let told = dealing.join(&limited, Lane::Files, now);
    take(&limited, DAY, 2000);
    let empty = Supply { fill: 0, keep: 0 };
    assert_ne!(
        dealing.turn(empty, Some(DAY + 1), now).unwrap().ticket,
        told
    );
    assert_eq!(dealing.turn(empty, Some(DAY), now).unwrap().ticket, told);
}

#[test]
fn where_there_is_plenty_reads_are_whole() {
    let mut world = World::new(&[1, 1]);
    let user = Arc::clone(&world.accounts[0]);
    let other = Arc::clone(&world.accounts[1]);
    for account in [&user, &other] {
        let ticket = world.dealing.join(account, Lane::Files, world.now);
        world.dealing.leave(ticket, 1, world.now);
    }
    assert!(!world.dealing.is_free());
    let plenty = Supply {
        fill: 5 << 20,
        keep: 4 << 20,
    };
    assert_eq!(
        world.dealing.pass(&user, (1, false), plenty, world.now),
        1 << 20
    );
    let later = world.now + Duration::from_secs(3);
    assert_eq!(
        world.dealing.pass(&user, (1, false), plenty, later),
        1 << 20
    );
    assert!(world.dealing.is_free());
}

proptest! {
    /// Within any run of blocks, whatever the weights, the numbers of readers and the sizes of their reads: users who
    /// always wait get bytes in proportion to their weights, up to an answer each; nobody starves; each byte goes to one.
    #[test]
    fn parts_are_as_the_weights_in_every_window(
        weights in prop::collection::vec(1u32..=20, 2..6),
        readers in prop::collection::vec((0usize..6, 64usize..200_000), 1..12),
        blocks in prop::collection::vec(1usize..150_000, 5..60),
        from in 0usize..40,
    ) {
        let mut world = World::new(&weights);
        // Each user has a reader at least.
        for user in 0..weights.len() {
            world.reader(user, 65_536, Duration::ZERO);
        }
        for (user, size) in readers {
            world.reader(user % weights.len(), size, Duration::ZERO);
        }
        let mut before = vec![0; weights.len()];
        for (at, bytes) in blocks.iter().enumerate() {
            if at == from {
                before.clone_from(&world.taken);
            }
            world.ask();
            world.fill += bytes;
            world.came += *bytes as u64;
            world.serve_all();
        }
        let taken: u64 = world.taken.iter().sum();
        prop_assert_eq!(world.came, taken + world.fill as u64);
        prop_assert_eq!(world.fill, 0, "while somebody waits nothing is left");
        // An answer at the beginning and one at the end of the window, for either of two users.
        let answers = blocks.iter().map(|bytes| QUANTUM.max(bytes / 4)).max().unwrap_or(0);
        let parts: Vec<_> = (0..weights.len())
            .map(|user| (world.taken[user] - before[user]) as f64 / f64::from(weights[user]))
            .collect();
        for (a, part) in parts.iter().enumerate() {
            for (b, other) in parts.iter().enumerate() {
                let slack = |user: usize| 2.0 * answers as f64 / f64::from(weights[user]);
                prop_assert!((part - other).abs() <= slack(a) + slack(b) + 1.0, "{parts:?}");
            }
        }
    }

    /// Whatever is done in whatever order, it does not lose count of who waits, and gives nobody more than there is.
    #[test]
    fn any_order_of_calls_keeps_the_count(
        calls in prop::collection::vec((0usize..6, 0u32..5, 0usize..200_000, 0u64..3000), 1..200)
    ) {
        let users = users(None, &[]);
        let mut dealing = Dealing::default();
        let mut tickets: BTreeSet<Ticket> = BTreeSet::new();
        let mut now = Duration::ZERO;
        for (call, uid, bytes, ms) in calls {
            now += Duration::from_millis(ms);
            let user = users.account(uid);
            let supply = Supply { fill: bytes, keep: bytes / 4 };
            match call {
                0 => {
                    tickets.insert(dealing.join(&user, Lane::Files, now));
                }
                1 => {
                    if let Some(ticket) = tickets.pop_first() {
                        dealing.leave(ticket, bytes, now);
                        dealing.leave(ticket, 0, now);
                    }
                }
                2 => dealing.took(&user, bytes),
                3 => dealing.wants(&user, now),
                4 => {
                    let most = dealing.pass(&user, (32, ms % 2 == 0), supply, now);
                    prop_assert!(most == 0 || most >= 32);
                }
                _ => match dealing.turn(supply, None, now) {
                    None => prop_assert!(tickets.is_empty()),
                    Some(turn) => prop_assert!(tickets.contains(&turn.ticket)),
                },
            }
            prop_assert_eq!(dealing.waiting(), tickets.len());
        }
    }
}

impl World {
    /// Serves until nothing is left; whoever is served asks again at once.
    fn serve_all(&mut self) {
        while self.fill > 0 {
            let before = self.fill;
            if let Some(turn) = self.dealing.turn(self.supply(), None, self.now) {
                let mine = |reader: &Reader| reader.ticket == Some(turn.ticket);
                if let Some(at) = self.readers.iter().position(mine) {
                    let bytes = self.answer(at, turn.most);
                    let account = Arc::clone(&self.accounts[self.readers[at].user]);
                    let again = self.dealing.join(&account, Lane::Files, self.now);
                    self.readers[at].ticket = Some(again);
                    self.dealing.leave(turn.ticket, bytes, self.now);
                }
            }
            assert!(self.fill < before, "nobody is served");
        }
    }
}
