use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};

use qrng::report::Kind;

use super::*;

/// Nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);
/// A call that takes this long hangs.
const HANG: Duration = Duration::from_millis(200);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// What a call of the device does when it returns.
enum Step {
    Give(&'static [u8]),
    Claim(usize),
    Fail(SourceError),
    Panic,
}

/// Opens as often as there are scripts; a read waits for the next step of its script, perhaps for ever.
struct Scripted {
    opens: Mutex<VecDeque<Open>>,
    spares: usize,
    patience: Duration,
    /// How many streams there are.
    streams: Arc<AtomicUsize>,
}

struct Open {
    steps: Receiver<Step>,
    serial: Option<&'static str>,
    sensors: Result<u64, SourceError>,
    streams: Arc<AtomicUsize>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Relaxed);
    }
}

impl Device for Scripted {
    fn thread(&self) -> &'static str {
        "scripted"
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn spares(&self) -> usize {
        self.spares
    }

    fn open(&self) -> Result<Box<dyn Stream>, SourceError> {
        match self.opens.lock().unwrap().pop_front() {
            Some(open) => Ok(Box::new(open)),
            None => Err(Failure::new(Fault::Unavailable, "not there").into()),
        }
    }
}

impl Stream for Open {
    fn patience(&self) -> Duration {
        HANG
    }

    fn longest_read(&self) -> usize {
        8
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        assert_eq!(buffer, [0; 8], "not zeros");
        match self.steps.recv() {
            Ok(Step::Give(bytes)) => {
                // More is written than told, as some drivers do.
                buffer.fill(0xEE);
                buffer[..bytes.len()].copy_from_slice(bytes);
                Ok(bytes.len())
            }
            Ok(Step::Claim(count)) => Ok(count),
            Ok(Step::Fail(error)) => Err(error),
            Ok(Step::Panic) => panic!("a broken driver"),
            Err(_) => Err(Failure::new(Fault::Gone, "unplugged").into()),
        }
    }

    fn serial(&self) -> Option<&str> {
        self.serial
    }

    fn ask(&mut self, sensors: &mut Sensors) -> Result<(), SourceError> {
        match &self.sensors {
            Ok(value) => {
                sensors.insert("value", *value);
                Ok(())
            }
            Err(error) => {
                sensors.insert("value", 0);
                Err(error.clone())
            }
        }
    }
}

impl Scripted {
    fn new(spares: usize) -> Self {
        Self {
            opens: Mutex::default(),
            spares,
            patience: PATIENCE,
            streams: Arc::default(),
        }
    }

    /// Lets it open once more, and gives what steps that stream.
    fn opens(
        &self,
        serial: Option<&'static str>,
        sensors: Result<u64, SourceError>,
    ) -> Sender<Step> {
        let (steps, script) = channel();
        self.streams.fetch_add(1, Relaxed);
        self.opens.lock().unwrap().push_back(Open {
            steps: script,
            serial,
            sensors,
            streams: Arc::clone(&self.streams),
        });
        steps
    }

    fn opens_plainly(&self) -> Sender<Step> {
        self.opens(None, Ok(1))
    }

    fn start(self) -> Ahead {
        Ahead::start(identity(), self).unwrap()
    }
}

fn identity() -> Identity {
    Identity {
        kind: Kind::Usb,
        name: "scripted".into(),
        serial: None,
    }
}

/// Reads until there is a failure that counts as `fault`, and gives it. On a busy machine a thread may be slow to come back,
/// so there may be silence before.
fn failure(source: &mut Ahead, fault: Fault) -> Failure {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match source.read(&mut [0; 8], Instant::now() + HANG) {
            Ok(0) => {}
            Ok(count) => panic!("{count} bytes in place of a failure"),
            Err(SourceError::Retry(failure)) if failure.fault == fault => return failure,
            Err(SourceError::Retry(failure)) if failure.fault == Fault::Silent => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no failure in time");
}

/// Reads until there are bytes, and gives them. There may be silence before, but no other failure.
fn bytes(source: &mut Ahead) -> Vec<u8> {
    let mut buffer = [0; 8];
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match source.read(&mut buffer, Instant::now() + HANG) {
            Ok(0) => {}
            Ok(count) => return buffer[..count].to_vec(),
            Err(SourceError::Retry(failure)) if failure.fault == Fault::Silent => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no bytes in time");
}

/// Waits until no more than `left` streams are open.
fn wait_for_streams(streams: &AtomicUsize, left: usize) {
    let start = Instant::now();
    while streams.load(Relaxed) > left {
        assert!(start.elapsed() < PATIENCE, "a stream stays open");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_hang_is_told_once_and_ends_when_the_call_returns() {
    let device = Scripted::new(0);
    let steps = device.opens_plainly();
    let mut source = device.start();
    let hang = failure(&mut source, Fault::Silent);
    assert!(hang.text.contains("reading it"), "{hang}");
    // It goes on hanging, which is no news; a read keeps its deadline.
    for _ in 0..4 {
        assert_eq!(source.read(&mut [0; 8], Instant::now() + HANG).unwrap(), 0);
    }
    steps.send(Step::Give(b"abc")).unwrap();
    assert_eq!(bytes(&mut source), b"abc");
    // The next hang is news.
    failure(&mut source, Fault::Silent);
}

#[test]
fn a_hanging_device_is_opened_anew_beside_it_a_few_times_at_most() {
    let device = Scripted::new(2);
    let steps: [_; 5] = std::array::from_fn(|_| device.opens_plainly());
    let streams = Arc::clone(&device.streams);
    let mut source = device.start();
    for _ in 0..3 {
        failure(&mut source, Fault::Silent);
    }
    // All spares hang, so nothing more is tried and told, and two streams were never opened.
    for _ in 0..4 {
        assert_eq!(source.read(&mut [0; 8], Instant::now() + HANG).unwrap(), 0);
    }
    // What a thread left behind still gets is not served, and its stream is closed; it is a spare again.
    steps[3].send(Step::Give(b"fresh")).unwrap();
    steps[0].send(Step::Give(b"late")).unwrap();
    wait_for_streams(&streams, 4);
    assert_eq!(bytes(&mut source), b"fresh");
    failure(&mut source, Fault::Silent);
    assert_eq!(source.read(&mut [0; 8], Instant::now() + HANG).unwrap(), 0);
    steps[3].send(Step::Give(b"more")).unwrap();
    assert_eq!(bytes(&mut source), b"more");
    // Threads that hang do not keep the source from ending; they end when they return.
    drop(source);
    drop(steps);
    wait_for_streams(&streams, 0);
}

#[test]
fn an_open_that_hangs_is_silence() {
    struct Never(Receiver<()>);
    impl Device for Mutex<Never> {
        fn thread(&self) -> &'static str {
            "never"
        }
        fn patience(&self) -> Duration {
            HANG
        }
        fn open(&self) -> Result<Box<dyn Stream>, SourceError> {
            let _ = self.lock().unwrap().0.recv();
            Err(Failure::new(Fault::Io, "no more").into())
        }
    }
    let (opens, never) = channel();
    let mut source = Ahead::start(identity(), Mutex::new(Never(never))).unwrap();
    let hang = failure(&mut source, Fault::Silent);
    assert!(hang.text.contains("opening it"), "{hang}");
    drop(opens);
    assert_eq!(failure(&mut source, Fault::Io).text, "no more");
}

#[test]
fn a_device_that_does_not_open_is_told_at_the_start_and_afterwards_tried_again() {
    let start = Ahead::start(identity(), Scripted::new(0));
    let error = start.err().unwrap();
    assert!(matches!(error, SourceError::Retry(f) if f.fault == Fault::Unavailable));

    let device = Scripted::new(0);
    let first = device.opens_plainly();
    let second = device.opens_plainly();
    let mut source = device.start();
    first.send(Step::Give(b"1")).unwrap();
    drop(first);
    assert_eq!(bytes(&mut source), b"1");
    failure(&mut source, Fault::Gone);
    second.send(Step::Give(b"2")).unwrap();
    assert_eq!(bytes(&mut source), b"2");
    drop(second);
    failure(&mut source, Fault::Gone);
    for _ in 0..3 {
        failure(&mut source, Fault::Unavailable);
    }
}

#[test]
fn a_count_beyond_the_buffer_is_no_bytes() {
    let device = Scripted::new(0);
    let steps = device.opens_plainly();
    let again = device.opens_plainly();
    let mut source = device.start();
    steps.send(Step::Claim(9)).unwrap();
    let nonsense = failure(&mut source, Fault::Nonsense);
    assert!(nonsense.text.contains("9"), "{nonsense}");
    again.send(Step::Give(b"12345678")).unwrap();
    assert_eq!(bytes(&mut source), b"12345678");
}

#[test]
fn another_serial_number_is_another_device() {
    let device = Scripted::new(0);
    let first = device.opens(Some("A1"), Ok(1));
    let other = device.opens(Some("B2"), Ok(1));
    let nameless = device.opens(None, Ok(1));
    let again = device.opens(Some("A1"), Ok(1));
    let mut source = device.start();
    assert_eq!(source.identity().serial.as_deref(), Some("A1"));
    drop(first);
    failure(&mut source, Fault::Gone);
    let refused = failure(&mut source, Fault::Unavailable);
    assert!(refused.text.contains("A1") && refused.text.contains("B2"));
    assert!(
        failure(&mut source, Fault::Unavailable)
            .text
            .contains("tells none")
    );
    again.send(Step::Give(b"same")).unwrap();
    assert_eq!(bytes(&mut source), b"same");
    drop((other, nameless));
}

#[test]
fn what_the_device_says_is_kept_and_may_be_that_it_does_not_work() {
    let unhealthy = Failure::new(Fault::Unhealthy, "no module works");
    let device = Scripted::new(0);
    let first = device.opens(None, Ok(7));
    let _second = device.opens(None, Err(unhealthy.clone().into()));
    let third = device.opens(None, Ok(8));
    let mut source = device.start();
    first.send(Step::Give(b"good")).unwrap();
    assert_eq!(bytes(&mut source), b"good");
    assert_eq!(source.sensors(), Sensors::from([("value", 7)]));
    drop(first);
    failure(&mut source, Fault::Gone);
    assert_eq!(failure(&mut source, Fault::Unhealthy), unhealthy);
    assert_eq!(source.sensors(), Sensors::from([("value", 0)]));
    third.send(Step::Give(b"back")).unwrap();
    assert_eq!(bytes(&mut source), b"back");
    assert_eq!(source.sensors(), Sensors::from([("value", 8)]));
}

#[test]
fn an_end_and_a_panic_are_final() {
    let device = Scripted::new(0);
    let steps = device.opens_plainly();
    let mut source = device.start();
    steps.send(Step::Give(b"last")).unwrap();
    steps.send(Step::Fail(SourceError::Ended)).unwrap();
    assert_eq!(bytes(&mut source), b"last");
    for _ in 0..2 {
        let end = source.read(&mut [0; 8], soon());
        assert!(matches!(end, Err(SourceError::Ended)), "{end:?}");
    }

    let device = Scripted::new(0);
    let steps = device.opens_plainly();
    let mut source = device.start();
    steps.send(Step::Panic).unwrap();
    let end = source.read(&mut [0; 8], soon());
    assert!(matches!(end, Err(SourceError::Broken(_))), "{end:?}");
}

#[test]
fn a_full_backlog_stops_the_reading_and_forgetting_starts_it_again() {
    let device = Scripted::new(0);
    let steps = device.opens_plainly();
    let mut source = device.start();
    let pieces = 4 * LONGEST_READ / 8;
    for _ in 0..=pieces {
        steps.send(Step::Give(b"8 stale!")).unwrap();
    }
    steps.send(Step::Give(b"new")).unwrap();
    // A full backlog is no hang, however long nobody takes from it.
    source.wait(soon());
    thread::sleep(3 * HANG);
    assert_eq!(source.read(&mut [0; 8], soon()).unwrap(), 8);
    source.forget();
    let mut left = Vec::new();
    while !left.ends_with(b"new") {
        left.extend(bytes(&mut source));
    }
    // The piece that waited for room and the few that it had not yet read when the rest was forgotten.
    assert!(left.len() < 4 * LONGEST_READ, "{} bytes", left.len());
}
