use std::collections::VecDeque;

use qrng::health::Settings;
use qrng::report::Kind;

use super::*;
use crate::block::{User, ring};
use crate::config::Conditioning;
use crate::source::{Failure, Fault, Identity, Sensors};

const CUT: Cut = Cut { full: 10, least: 4 };

/// Answers reads as told; broken when it has no more answers.
struct Script(Identity, VecDeque<Result<&'static [u8], SourceError>>);

impl Script {
    fn new(answers: Vec<Result<&'static [u8], SourceError>>) -> Self {
        let identity = Identity {
            kind: Kind::Simulator,
            name: "script".into(),
            serial: None,
        };
        Self(identity, answers.into())
    }
}

impl NoiseSource for Script {
    fn identity(&self) -> &Identity {
        &self.0
    }

    fn read(&mut self, buffer: &mut [u8], _: Instant) -> Result<usize, SourceError> {
        let bytes = self
            .1
            .pop_front()
            .unwrap_or(Err(SourceError::Broken("script is over".into())))?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn wait(&mut self, _: Instant) {}

    fn sensors(&self) -> Sensors {
        Sensors::from([("answers-left", self.1.len() as u64)])
    }
}

/// The blocks that come of `answers`, and how the stage ended.
fn blocks(answers: Vec<Result<&'static [u8], SourceError>>) -> (Vec<Vec<u8>>, String) {
    let (blocks, end, _) = played(answers);
    (blocks, end)
}

/// The same, and what was told of the source.
fn played(answers: Vec<Result<&'static [u8], SourceError>>) -> (Vec<Vec<u8>>, String, Stats) {
    let (filler, user): (_, User<Block>) = ring(8, || Block::new(20));
    let script = Script::new(answers);
    let stats = Stats::new(vec![script.identity().clone()]);
    let refine = Refine::new(None, Conditioning::NONE).unwrap();
    let output = Output {
        ring: &filler,
        cut: CUT,
        counts: true,
    };
    let directory = tempfile::tempdir().unwrap();
    let input = Input {
        source: Box::new(script),
        refine,
        latched: Latched::open(directory.path()).unwrap().into(),
    };
    let end = run(input, output, &stats, 0).unwrap_err();
    let blocks = user.full.try_iter().map(|b| b.filled().to_vec());
    (blocks.collect(), end.to_string(), stats)
}

#[test]
fn small_tails_wait_for_more() {
    assert_eq!(CUT.sealable(0), 0);
    assert_eq!(CUT.sealable(3), 0);
    assert_eq!(CUT.sealable(4), 4);
    assert_eq!(CUT.sealable(10), 10);
    assert_eq!(CUT.sealable(13), 10);
    assert_eq!(CUT.sealable(14), 14);
}

#[test]
fn partial_reads_make_a_block_of_what_came_in_time() {
    let (blocks, end) = blocks(vec![
        Ok(b"abc"),
        Ok(b"d"),
        Ok(b""),
        Ok(b"0123456789012"),
        Ok(b"xyz1234"),
    ]);
    assert_eq!(blocks, [&b"abcd"[..], b"0123456789", b"012xyz1234"]);
    assert!(end.contains("script is over"), "{end}");
}

#[test]
fn a_failure_keeps_the_bytes_before_it_and_is_tried_again() {
    let (blocks, _) = blocks(vec![
        Ok(b"abc"),
        Err(Failure::new(Fault::Io, "EIO").into()),
        Ok(b"de"),
    ]);
    assert_eq!(blocks, [b"abcde"]);
}

#[test]
fn failures_are_counted_and_sensors_reported() {
    let failure = |fault| Err(Failure::new(fault, "it is so").into());
    let (_, _, stats) = played(vec![
        failure(Fault::Short),
        Ok(b"abcd"),
        failure(Fault::Short),
        Ok(b"abcd"),
        failure(Fault::Gone),
    ]);
    let source = &stats.sources()[0];
    assert_eq!(source.faults(), [("gone", 1), ("short", 2)].into());
    assert_eq!(source.condition().error.as_deref(), Some("it is so"));
    let report = source.report();
    assert_eq!(report.state, State::Failed);
    assert_eq!(report.sensors, [("answers-left".to_owned(), 0)].into());
}

/// Plays with a stage that nobody runs.
fn staged(settings: Option<Settings>, play: impl FnOnce(&mut Acquire<'_>)) {
    // Nobody takes blocks, so there must be enough.
    let (filler, _user): (_, User<Block>) = ring(16, || Block::new(20));
    let script = Script::new(vec![]);
    let stats = Stats::new(vec![script.identity().clone()]);
    let output = Output {
        ring: &filler,
        cut: CUT,
        counts: true,
    };
    let directory = tempfile::tempdir().unwrap();
    let input = Input {
        source: Box::new(script),
        refine: Refine::new(settings, Conditioning::NONE).unwrap(),
        latched: Latched::open(directory.path()).unwrap().into(),
    };
    play(&mut Acquire::new(input, &output, &stats, 0).unwrap());
}

#[test]
fn pauses_grow_until_bytes_are_served() {
    let pauses = |acquire: &mut Acquire<'_>, bytes: usize| {
        [(); 8].map(|()| {
            acquire.take((bytes, bytes)).unwrap();
            let failure = Failure::new(Fault::Gone, "flaps");
            acquire.failed(failure).unwrap().as_millis()
        })
    };
    // Too few for a test block.
    staged(Some(Settings::new("script")), |acquire| {
        let growing = [100, 200, 400, 800, 1600, 3200, 5000, 5000];
        assert_eq!(pauses(acquire, 100), growing);
    });
    staged(None, |acquire| assert_eq!(pauses(acquire, 10), [100; 8]));
}

#[test]
fn an_alarm_of_silence_does_not_hide_why_the_source_has_failed() {
    let settings = Settings {
        expected_rate: Some(50_000),
        ..Settings::new("script")
    };
    staged(Some(settings), |acquire| {
        let hangs = Failure::new(Fault::Silent, "it hangs");
        acquire.failed(hangs).unwrap();
        // A window of the rate without a byte.
        assert!(acquire.refine.tick(now_us() - 20_000_000).is_none());
        let alarm = acquire.refine.tick(now_us()).expect("an alarm of silence");
        acquire.alarm(&alarm).unwrap();
        let condition = acquire.stats.condition();
        assert_eq!(condition.state, State::Failed);
        assert_eq!(condition.error.as_deref(), Some("it hangs"));
        // With its first bytes it has not failed any more.
        acquire.take((10, 4)).unwrap();
        assert_eq!(acquire.stats.condition().state, State::Starting);
    });
}

#[test]
fn the_same_failure_without_a_byte_in_between_counts_once() {
    let failure = |fault| Err(Failure::new(fault, "why").into());
    let (_, _, stats) = played(vec![
        failure(Fault::Gone),
        failure(Fault::Gone),
        Ok(b""),
        failure(Fault::Gone),
        failure(Fault::Unavailable),
        Ok(b"abcd"),
        failure(Fault::Unavailable),
    ]);
    assert_eq!(
        stats.sources()[0].faults(),
        [("gone", 1), ("unavailable", 2)].into()
    );
}
