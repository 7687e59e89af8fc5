//! Keys of days: two of them around midnight, and none of the past.

use super::super::*;
use super::support::{BoundFile, Repeatable, SECOND};
use qrng::keys::{CalendarFiles, CollectorKeys, Day, GatewayKeys, generate_calendar};
use qrng::packet::{ANNOUNCEMENT_LEN, MAX_DATAGRAM};
use qrng::report::{Kind, Report};
use qrng::session::Sealer;
use std::time::Duration;

const DAY: u64 = 86_400 * SECOND;
const HOUR: Duration = Duration::from_secs(3600);

fn first() -> Day {
    "2026-11-26".parse().unwrap()
}

/// A calendar of four days, and a gateway that has its keys.
struct World {
    collector: CollectorKeys,
    admit: Admit,
    file: BoundFile,
    epoch: u64,
}

impl World {
    fn new() -> Self {
        let files = files();
        let keys = GatewayKeys::parse(&files.gateway).unwrap();
        World {
            collector: CollectorKeys::parse(&files.collector).unwrap(),
            admit: Admit::new(keys.keys, first().start_us() - 1, Kinds::REAL),
            file: BoundFile::default(),
            epoch: 0,
        }
    }

    /// A session with the key of a time.
    fn session(&mut self, at_us: u64) -> Sealer {
        self.epoch += 1;
        let mut rng = Repeatable(self.epoch, 0);
        Sealer::start(self.collector.at(at_us), 0, self.epoch, &mut rng).unwrap()
    }

    fn judge<'d>(&mut self, datagram: &'d mut [u8], now_us: u64) -> Result<Admitted<'d>, Reject> {
        let looked = self.admit.look_at(std::iter::once(datagram), now_us);
        let looked = looked.into_iter().flatten().next().unwrap();
        self.admit.judge(looked, now_us, &mut self.file)
    }

    fn take(&mut self, mut datagram: Vec<u8>, now_us: u64) -> Result<(), Reject> {
        self.judge(&mut datagram, now_us).map(|_| ())
    }
}

fn files() -> CalendarFiles {
    generate_calendar(first(), 4, &mut Repeatable(77, 0)).unwrap()
}

fn announcement(sealer: &Sealer, at_us: u64) -> Vec<u8> {
    let mut out = [0; ANNOUNCEMENT_LEN];
    sealer.announce(at_us, &mut out);
    out.to_vec()
}

fn sealed(sealer: &mut Sealer, at_us: u64, content: Content) -> Vec<u8> {
    let mut out = vec![0; MAX_DATAGRAM];
    let mut bytes = vec![7; 200];
    if content == Content::Report {
        let report = Report {
            collector: "1".into(),
            sources: Vec::new(),
        };
        report.encode(&mut bytes).unwrap();
    }
    let length = sealer.seal(at_us, content, &bytes, &mut out).unwrap();
    out.truncate(length);
    out
}

fn packet(sealer: &mut Sealer, at_us: u64) -> Vec<u8> {
    sealed(sealer, at_us, Content::Bytes(Kinds::of(Kind::Usb)))
}

#[test]
fn around_midnight_both_days_are_taken() {
    let mut world = World::new();
    let midnight = first().end_us();
    let mut today = world.session(midnight - 1);
    let mut tomorrow = world.session(midnight);
    assert_ne!(today.key_id(), tomorrow.key_id());
    let early = midnight - 60 * SECOND;
    assert_eq!(world.take(announcement(&today, early), early), Ok(()));
    assert_eq!(world.take(announcement(&tomorrow, early), early), Ok(()));
    // The status shows the session in use, not the one that was announced for later.
    assert_eq!(world.admit.session().unwrap().day, Some(first()));
    for second in 0..60 {
        let at = early + second * SECOND;
        let late = packet(&mut today, at);
        let now = packet(&mut tomorrow, at + 60 * SECOND);
        assert_eq!(world.take(now, at + 60 * SECOND), Ok(()));
        // Packets of the day before arrive five minutes late.
        assert_eq!(world.take(late.clone(), at + 300 * SECOND), Ok(()));
        assert_eq!(world.take(late, at + 300 * SECOND), Err(Reject::Duplicate));
    }
    assert_eq!(world.admit.session().unwrap().day, first().later(1));
    assert_eq!(world.admit.counts().lost, 0);
}

#[test]
fn a_past_key_goes_with_its_sessions_when_the_collectors_clock_agrees() {
    let mut world = World::new();
    let midnight = first().end_us();
    let begin = Instant::now();
    let mut today = world.session(midnight - 1);
    let early = midnight - SECOND;
    world.take(announcement(&today, early), early).unwrap();
    world.take(packet(&mut today, early), early).unwrap();
    let over = midnight + MAX_AGE_US + 1;
    // By this end's clock alone it is not believed.
    assert_eq!(world.admit.destroy_past(over, begin), []);
    let mut tomorrow = world.session(midnight);
    world.take(announcement(&tomorrow, over), over).unwrap();
    assert_eq!(world.admit.destroy_past(over - 1, begin), []);
    let destroyed = world.admit.destroy_past(over, begin);
    assert_eq!(destroyed.len(), 1);
    assert_eq!(
        (destroyed[0].key_id, destroyed[0].day),
        (today.key_id(), first())
    );
    assert_eq!(world.admit.destroy_past(over, begin), []);
    assert_eq!(world.admit.sessions().count(), 1);
    // Whatever comes of it now has a name.
    let late = announcement(&today, over);
    assert_eq!(world.take(late, over), Err(Reject::PastKey));
    let late = packet(&mut today, over);
    assert_eq!(world.take(late, over), Err(Reject::UnknownSession));
    assert_eq!(world.take(packet(&mut tomorrow, over), over), Ok(()));
}

#[test]
fn without_the_collectors_word_an_hour_has_to_pass() {
    let mut world = World::new();
    let begin = Instant::now();
    // The clock jumps forward by two days, and is set right again.
    let wrong = first().start_us() + 2 * DAY + DAY / 2;
    assert_eq!(world.admit.destroy_past(wrong, begin), []);
    assert_eq!(
        world
            .admit
            .destroy_past(wrong, begin + HOUR - Duration::from_secs(1)),
        []
    );
    let right = first().start_us() + DAY / 2;
    assert_eq!(world.admit.destroy_past(right, begin + HOUR), []);
    let today = world.session(right);
    assert_eq!(world.take(announcement(&today, right), right), Ok(()));
    // A collector that is off for days keeps no key alive.
    assert_eq!(world.admit.destroy_past(wrong, begin + 2 * HOUR), []);
    let destroyed = world.admit.destroy_past(wrong, begin + 3 * HOUR);
    let days: Vec<_> = destroyed.iter().map(|gone| gone.day).collect();
    assert_eq!(days, [first(), first().later(1).unwrap()]);
    assert_eq!(world.admit.sessions().count(), 0);
}

#[test]
fn keys_are_installed_and_taken_away_under_way() {
    let mut world = World::new();
    let now = first().start_us() + DAY / 2;
    let mut old = world.session(now);
    world.take(announcement(&old, now), now).unwrap();
    world.take(packet(&mut old, now), now).unwrap();
    let (gateway, collector, _) = qrng::keys::generate(&mut Repeatable(5, 0));
    let new = || GatewayKeys::parse(&gateway).unwrap().keys;
    let collector = CollectorKeys::parse(&collector).unwrap();
    let mut pair = Sealer::start(collector.at(now), 0, 9, &mut Repeatable(9, 0)).unwrap();
    assert_eq!(
        world.take(announcement(&pair, now), now),
        Err(Reject::UnknownKey)
    );
    // Beside the old ones: their sessions go on, and what was seen stays seen.
    let seen = packet(&mut old, now);
    world.take(seen.clone(), now).unwrap();
    let mut keys = GatewayKeys::parse(&files().gateway).unwrap().keys;
    keys.extend(new());
    world.admit.install(keys, HashSet::new());
    assert_eq!(world.take(seen, now), Err(Reject::Duplicate));
    assert_eq!(world.take(packet(&mut old, now), now), Ok(()));
    assert_eq!(world.take(announcement(&pair, now), now), Ok(()));
    assert_eq!(world.take(packet(&mut pair, now), now), Ok(()));
    // Without them: one number is missing for ever.
    packet(&mut old, now);
    world.take(packet(&mut old, now), now).unwrap();
    world.admit.install(new(), HashSet::from([old.key_id()]));
    assert_eq!(world.admit.counts().lost, 1);
    assert_eq!(
        world.take(packet(&mut old, now), now),
        Err(Reject::UnknownSession)
    );
    let again = announcement(&old, now + 1);
    assert_eq!(world.take(again, now + 1), Err(Reject::PastKey));
    assert_eq!(world.take(packet(&mut pair, now), now), Ok(()));
}

#[test]
fn reports_of_a_calendar_have_one_name_on_every_day() {
    let mut world = World::new();
    let mut names = HashSet::new();
    for day in 0..4 {
        let now = first().start_us() + day * DAY;
        let mut sealer = world.session(now);
        world.take(announcement(&sealer, now), now).unwrap();
        let mut report = sealed(&mut sealer, now, Content::Report);
        match world.judge(&mut report, now) {
            Ok(Admitted::Report { series, .. }) => names.insert(series),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(names, HashSet::from([files().first]));
}
