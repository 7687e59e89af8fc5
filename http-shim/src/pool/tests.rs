use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::*;

/// Numbered words; `room` says how many bytes it gives before it is empty.
struct Numbers {
    next: u32,
    room: Arc<AtomicUsize>,
    refuse: Arc<AtomicBool>,
    largest: Arc<AtomicUsize>,
}

impl Supply for Numbers {
    fn take(&mut self, out: &mut [u8], wait: Duration) -> Result<usize, NoBytes> {
        self.largest.fetch_max(out.len(), Ordering::SeqCst);
        if self.refuse.load(Ordering::SeqCst) {
            return Err(NoBytes::Refused);
        }
        let room = self.room.load(Ordering::SeqCst) / 4 * 4;
        let len = room.min(out.len()) / 4 * 4;
        if len == 0 {
            thread::sleep(wait);
            return Err(NoBytes::Empty);
        }
        for word in out[..len].chunks_exact_mut(4) {
            word.copy_from_slice(&self.next.to_le_bytes());
            self.next += 1;
        }
        self.room.fetch_sub(len, Ordering::SeqCst);
        Ok(len)
    }
}

struct World {
    pool: Pool,
    room: Arc<AtomicUsize>,
    refuse: Arc<AtomicBool>,
    largest: Arc<AtomicUsize>,
    runner: Option<thread::JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new(room: usize) -> Self {
        let (room, refuse) = (Arc::new(AtomicUsize::new(room)), Arc::default());
        let largest = Arc::default();
        let supply = Numbers {
            next: 0,
            room: Arc::clone(&room),
            refuse: Arc::clone(&refuse),
            largest: Arc::clone(&largest),
        };
        let pool = Pool::new(Arc::default());
        let running = pool.clone();
        Self {
            pool,
            room,
            refuse,
            largest,
            runner: Some(thread::spawn(move || running.run(Box::new(supply)))),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_time()
                .build()
                .unwrap(),
        }
    }

    fn take(&self, len: usize, wait: Duration) -> Result<Taken, NoBytes> {
        self.runtime.block_on(self.pool.take(len, wait))
    }

    /// Ends the pool; then all that was fetched has been accounted for.
    fn end(mut self) -> Arc<Books> {
        self.pool.end();
        self.runner.take().unwrap().join().unwrap();
        let books = self.pool.books();
        assert_eq!(
            books.fetched.get(),
            books.served.get() + books.tested.get() + books.wiped.get()
        );
        Arc::clone(books)
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn each_word_is_given_once_and_the_books_balance() {
    let world = World::new(usize::MAX / 2);
    let mut tasks = Vec::new();
    for task in 0..8_usize {
        let pool = world.pool.clone();
        tasks.push(world.runtime.spawn(async move {
            let mut words = Vec::new();
            for round in 0..200 {
                let len = 4 * (1 + (task * 37 + round * 101) % 3000);
                let (bytes, owed) = pool.take(len, LONG).await.unwrap().into_parts();
                assert_eq!(bytes.len(), len);
                let numbers = bytes.chunks_exact(4);
                words.extend(numbers.map(|word| u32::from_le_bytes(word.try_into().unwrap())));
                owed.served();
            }
            words
        }));
    }
    let mut seen = HashSet::new();
    let mut served = 0;
    for task in tasks {
        for word in world.runtime.block_on(task).unwrap() {
            assert!(seen.insert(word), "word {word} was given twice");
            served += 4;
        }
    }
    assert!(world.largest.load(Ordering::SeqCst) <= BLOCK);
    assert_eq!(world.end().served.get(), served);
}

#[test]
fn a_rare_request_takes_no_more_than_it_is_given() {
    let mut size = Size::default();
    let start = Instant::now();
    assert_eq!(size.next(32, start), 32);
    assert_eq!(size.next(32, start + SOON), 32);
    let mut now = start + SOON;
    let sizes: Vec<_> = (0..12)
        .map(|_| {
            now += SOON / 2;
            size.next(32, now)
        })
        .collect();
    assert_eq!(sizes[..3], [64, 128, 256]);
    assert_eq!(sizes[11], BLOCK);
    assert_eq!(size.next(32, now + SOON), 32);
    assert_eq!(size.next(10 * BLOCK, now + SOON), BLOCK);
}

#[test]
fn without_bytes_the_impatient_are_refused_and_the_patient_wait() {
    let world = World::new(0);
    assert_eq!(world.take(8, Duration::ZERO).err(), Some(NoBytes::Empty));
    let pool = world.pool.clone();
    let patient = world.runtime.spawn(async move {
        let (bytes, owed) = pool.take(8, LONG).await.unwrap().into_parts();
        owed.served();
        bytes.len()
    });
    while world.pool.waiting() == 0 {
        thread::yield_now();
    }
    assert_eq!(world.take(8, Duration::ZERO).err(), Some(NoBytes::Empty));
    assert_eq!(
        world.take(8, Duration::from_millis(30)).err(),
        Some(NoBytes::Empty)
    );
    world.room.store(64, Ordering::SeqCst);
    assert_eq!(world.runtime.block_on(patient).unwrap(), 8);
    world.end();
}

#[test]
fn what_nobody_has_any_more_is_wiped_and_counted() {
    let world = World::new(4096);
    drop(world.take(100, LONG).unwrap());
    assert_eq!(world.pool.books().wiped.get(), 100);
    let mut owed = world.take(40, LONG).unwrap().into_parts().1;
    owed.join(world.take(4, LONG).unwrap().into_parts().1);
    owed.tested();
    assert_eq!(world.end().tested.get(), 44);
}

#[test]
fn a_refusal_empties_the_pool_and_reaches_all_who_wait() {
    let world = World::new(1000);
    assert_eq!(
        world.take(2000, Duration::from_millis(50)).err(),
        Some(NoBytes::Empty)
    );
    assert_eq!(world.pool.held(), 1000);
    world.refuse.store(true, Ordering::SeqCst);
    assert_eq!(world.take(2000, LONG).err(), Some(NoBytes::Refused));
    assert_eq!(
        (world.pool.held(), world.pool.books().wiped.get()),
        (0, 1000)
    );
    world.end();
}

#[test]
fn nobody_waits_for_a_pool_that_has_ended() {
    let world = World::new(0);
    let pool = world.pool.clone();
    let waiting = world
        .runtime
        .spawn(async move { pool.take(8, LONG).await.err() });
    while world.pool.waiting() == 0 {
        thread::yield_now();
    }
    world.pool.end();
    assert!(matches!(
        world.runtime.block_on(waiting).unwrap(),
        Some(NoBytes::Gone(_))
    ));
    world.end();
}
