//! Seal: numbers, encrypts and signs blocks of random bytes.
//!
//! ```text
//!  block -> one gateway -> packets of one length, one behind the other -> batch
//! ```
//!
//! Each block goes to one gateway alone: the one that had the fewest bytes so far. So the
//! gateways' slices are disjoint and of nearly one size. Pure: time and randomness are given.
//!
//! With a calendar of keys each day has a session of its own. It is announced a minute before the day begins, beside the one in
//! use, so that the gateway has it by then:
//!
//! ```text
//!             midnight - 60 s          midnight (by this clock)
//!  packets     ── of today's session ────┤── of tomorrow's ──
//!  announced   ── today's ──┤── both ────┤── tomorrow's ─────
//! ```

use getrandom::rand_core::CryptoRng;
use qrng::keys::{CollectorKey, CollectorKeys, Day, KeyId};
use qrng::packet::{ANNOUNCEMENT_LEN, Content, OVERHEAD};
use qrng::report::Kinds;
use qrng::session::{Sealer, SessionError};
use thiserror::Error;

use crate::acquire::Cut;
use crate::block::Batch;
use crate::epoch::{EpochError, Epochs};

/// The least bytes that a report's packet has for the report: no datagram longer than an announcement, which has to arrive
/// anyway.
const REPORT_ROOM: usize = ANNOUNCEMENT_LEN - OVERHEAD - 1;

/// How long before a day its session is announced, in microseconds.
pub const ANNOUNCED_AHEAD_US: u64 = 60_000_000;

/// Bytes of a report, with packets cut as `cut` says.
pub fn report_length(cut: Cut) -> usize {
    cut.full.max(REPORT_ROOM)
}

/// The longest datagram that does not carry random bytes, with packets cut as `cut` says.
pub fn longest_notice(cut: Cut) -> usize {
    ANNOUNCEMENT_LEN.max(report_length(cut) + 1 + OVERHEAD)
}

/// The room that a batch needs for what does not carry random bytes: two announcements, or a report.
pub fn notice_room(cut: Cut) -> usize {
    longest_notice(cut).max(2 * ANNOUNCEMENT_LEN)
}

/// Why sealing cannot go on.
#[derive(Debug, Error)]
pub enum SealError {
    /// A session could not be started, or is at its end.
    #[error("session: {0}")]
    Session(#[from] SessionError),
    /// There is no epoch for a session.
    #[error(transparent)]
    Epoch(#[from] EpochError),
}

/// The key that a session was started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyInUse {
    /// Its id.
    pub id: KeyId,
    /// The day that it is for, if it is of a calendar.
    pub day: Option<Day>,
    /// The last day that there is a key for, if it is of a calendar.
    pub last_day: Option<Day>,
}

/// One gateway's session.
struct Lane {
    keys: CollectorKeys,
    sealer: Sealer,
    /// The session of the next day, once it is announced.
    upcoming: Option<Sealer>,
    /// Random bytes sealed for it.
    bytes: u64,
}

impl Lane {
    fn is_of_another_day(&self, now_us: u64) -> bool {
        self.sealer.key_id() != self.keys.at(now_us).key_id()
    }
}

/// The sessions with all gateways.
pub struct Seal<R> {
    lanes: Vec<Lane>,
    cut: Cut,
    epochs: Box<dyn Epochs + Send>,
    rng: R,
}

impl<R: CryptoRng> Seal<R> {
    /// Starts a session with each gateway, whose index in `keys` is its slot.
    ///
    /// # Errors
    /// An epoch cannot be persisted, or a key cannot be used.
    pub fn start(
        keys: Vec<CollectorKeys>,
        cut: Cut,
        mut epochs: Box<dyn Epochs + Send>,
        mut rng: R,
        now_us: u64,
    ) -> Result<Self, SealError> {
        let mut lanes = Vec::with_capacity(keys.len());
        for (slot, keys) in (0..).zip(keys) {
            let key = keys.at(now_us);
            let sealer = Sealer::start(key, slot, epochs.next(now_us)?, &mut rng)?;
            lanes.push(Lane {
                keys,
                sealer,
                upcoming: None,
                bytes: 0,
            });
        }
        Ok(Self {
            lanes,
            cut,
            epochs,
            rng,
        })
    }

    /// How many gateways there are.
    pub fn gateways(&self) -> usize {
        self.lanes.len()
    }

    /// The epoch of the session with `gateway`.
    pub fn epoch(&self, gateway: usize) -> u64 {
        self.lanes[gateway].sealer.epoch()
    }

    /// The key of the session with `gateway`.
    pub fn key(&self, gateway: usize) -> KeyInUse {
        let lane = &self.lanes[gateway];
        let id = lane.sealer.key_id();
        KeyInUse {
            id,
            day: lane.keys.day_of(id),
            last_day: lane.keys.last_day(),
        }
    }

    /// Whether a session must be [announced](Self::announce) anew before more is sealed: it has sealed nearly all that it may,
    /// which leaves 65,536 packets, or its day is over.
    pub fn stale(&self, now_us: u64) -> bool {
        let mut lanes = self.lanes.iter();
        lanes.any(|lane| lane.sealer.spent() || lane.is_of_another_day(now_us))
    }

    /// Seals `bytes`, which come from noise sources of these `kinds`, for one gateway.
    ///
    /// # Errors
    /// The session is at its end, or the length cannot be cut into packets.
    pub fn block(
        &mut self,
        now_us: u64,
        kinds: Kinds,
        bytes: &[u8],
        out: &mut Batch,
    ) -> Result<(), SealError> {
        let lanes = self.lanes.iter_mut().enumerate();
        let Some((gateway, lane)) = lanes.min_by_key(|(_, lane)| lane.bytes) else {
            return Ok(());
        };
        out.begin(gateway, self.cut.full + 1 + OVERHEAD);
        let (content, piece) = (Content::Bytes(kinds), self.cut.full);
        let sealer = &mut lane.sealer;
        let length = sealer.seal_train(now_us, content, bytes, piece, out.room())?;
        out.advance(length);
        lane.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Announces the session with `gateway`: a new one if the old is spent, that of the day if another day has begun; and beside
    /// it that of the next day, if it begins soon.
    ///
    /// # Errors
    /// A new session's epoch cannot be persisted.
    pub fn announce(
        &mut self,
        gateway: usize,
        now_us: u64,
        out: &mut Batch,
    ) -> Result<(), SealError> {
        let lane = &mut self.lanes[gateway];
        let mut start = |key: &CollectorKey| -> Result<Sealer, SealError> {
            let epoch = self.epochs.next(now_us)?;
            Ok(Sealer::start(key, gateway as u16, epoch, &mut self.rng)?)
        };
        if lane.sealer.spent() || lane.is_of_another_day(now_us) {
            let key = lane.keys.at(now_us);
            let ready = lane.upcoming.take();
            lane.sealer = match ready.filter(|next| next.key_id() == key.key_id()) {
                Some(next) => next,
                None => start(key)?,
            };
        }
        let key = lane.keys.at(now_us.saturating_add(ANNOUNCED_AHEAD_US));
        // A clock that was set back may have made it one that is not needed.
        lane.upcoming.take_if(|next| next.key_id() != key.key_id());
        if lane.upcoming.is_none() && lane.sealer.key_id() != key.key_id() {
            lane.upcoming = Some(start(key)?);
        }
        out.begin(gateway, ANNOUNCEMENT_LEN);
        for sealer in [Some(&lane.sealer), lane.upcoming.as_ref()]
            .into_iter()
            .flatten()
        {
            if let Some(room) = out.room().first_chunk_mut() {
                sealer.announce(now_us, room);
                out.advance(ANNOUNCEMENT_LEN);
            }
        }
        Ok(())
    }

    /// Seals a report for `gateway`: what follows its content byte, [`report_length`] bytes.
    ///
    /// # Errors
    /// The session is at its end, or the length is wrong.
    pub fn report(
        &mut self,
        gateway: usize,
        now_us: u64,
        report: &[u8],
        out: &mut Batch,
    ) -> Result<(), SealError> {
        out.begin(gateway, report.len() + 1 + OVERHEAD);
        let sealer = &mut self.lanes[gateway].sealer;
        let length = sealer.seal(now_us, Content::Report, report, out.room())?;
        out.advance(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use getrandom::SysRng;
    use getrandom::rand_core::UnwrapErr;
    use qrng::keys::{GatewayKey, KeyId, generate, generate_calendar};
    use qrng::packet::Datagram;
    use qrng::report::{Kind, LONGEST_TEXT, Report, SourceReport, State};
    use qrng::session::Opener;

    use super::*;

    const NOW: u64 = 1_800_000_000_000_000;
    const CUT: Cut = Cut {
        full: 100,
        least: 17,
    };

    /// Counts epochs from 1.
    struct Counting(u64);

    impl Epochs for Counting {
        fn next(&mut self, _: u64) -> Result<u64, EpochError> {
            self.0 += 1;
            Ok(self.0)
        }
    }

    fn seal(gateways: usize) -> (Seal<UnwrapErr<SysRng>>, Vec<GatewayKey>) {
        let pairs = (0..gateways).map(|_| {
            let (gateway, collector, _): (_, _, KeyId) = generate(&mut UnwrapErr(SysRng));
            (
                CollectorKeys::parse(&collector).unwrap(),
                GatewayKey::parse(&gateway).unwrap(),
            )
        });
        let (collector, gateway) = pairs.unzip();
        let epochs = Box::new(Counting(0));
        let seal = Seal::start(collector, CUT, epochs, UnwrapErr(SysRng), NOW).unwrap();
        (seal, gateway)
    }

    /// The gateway's end of the session that the announcement in `batch` starts.
    fn opener(key: &GatewayKey, batch: &Batch) -> Opener {
        let mut bytes = batch.bytes().to_vec();
        let Ok(Datagram::Announcement(announcement)) = Datagram::new_checked(&mut bytes) else {
            panic!("no announcement");
        };
        assert_eq!(announcement.timestamp_us(), NOW + 1);
        Opener::start(key, &announcement).unwrap()
    }

    /// What the packets in `batch` hold.
    fn open(opener: &mut Opener, batch: &Batch) -> Vec<(Content, Vec<u8>)> {
        let packets = batch.datagrams().map(|datagram| {
            let mut bytes = datagram.to_vec();
            let Ok(Datagram::Data(data)) = Datagram::new_checked(&mut bytes) else {
                panic!("no data packet");
            };
            let plain = opener.open(data).unwrap();
            (Content::from_byte(plain[0]).unwrap(), plain[1..].to_vec())
        });
        packets.collect()
    }

    #[test]
    fn a_block_is_cut_into_packets_of_one_length() {
        let (mut seal, keys) = seal(1);
        let mut batch = Batch::new(5000);
        seal.announce(0, NOW + 1, &mut batch).unwrap();
        let mut opener = opener(&keys[0], &batch);
        assert_eq!((opener.epoch(), opener.slot()), (1, 0));
        let bytes: Vec<u8> = (0..=255).collect();
        let kinds = Kinds::of(Kind::PcieChip);
        seal.block(NOW, kinds, &bytes, &mut batch).unwrap();
        let lengths: Vec<usize> = batch.datagrams().map(<[u8]>::len).collect();
        assert_eq!(lengths, [197, 197, 153]);
        let packets = open(&mut opener, &batch);
        assert!(packets.iter().all(|(c, _)| *c == Content::Bytes(kinds)));
        let opened: Vec<u8> = packets.into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(opened, bytes);
    }

    #[test]
    fn blocks_go_to_the_gateway_that_had_least() {
        let (mut seal, _) = seal(3);
        let mut batch = Batch::new(5000);
        let mut order = Vec::new();
        for length in [100, 50, 60, 20, 20, 20, 30] {
            let kinds = Kinds::of(Kind::Usb);
            seal.block(NOW, kinds, &vec![0; length], &mut batch)
                .unwrap();
            order.push(batch.gateway());
        }
        assert_eq!(order, [0, 1, 2, 1, 2, 1, 2]);
        assert_eq!([0, 1, 2].map(|gateway| seal.epoch(gateway)), [1, 2, 3]);
        assert!(!seal.stale(NOW));
        assert!(!seal.stale(u64::MAX));
    }

    #[test]
    fn a_report_fits_even_with_small_packets_and_long_names() {
        let (mut seal, keys) = seal(2);
        let mut batch = Batch::new(longest_notice(CUT));
        seal.announce(1, NOW + 1, &mut batch).unwrap();
        let mut opener = opener(&keys[1], &batch);
        let mut report = Report {
            collector: "10.20.30".into(),
            sources: vec![SourceReport {
                kind: Kind::KernelNode,
                name: "n".repeat(128),
                serial: Some("s".repeat(256)),
                state: State::Running,
                sensors: Default::default(),
                health: None,
            }],
        };
        let mut bytes = vec![0; report_length(CUT)];
        report.clone().encode_fitting(&mut bytes).unwrap();
        seal.report(1, NOW, &bytes, &mut batch).unwrap();
        assert_eq!(batch.count(), 1);
        let (content, bytes) = open(&mut opener, &batch).remove(0);
        assert_eq!(content, Content::Report);
        report.sources[0].serial = Some("s".repeat(LONGEST_TEXT));
        assert_eq!(Report::decode(&bytes).unwrap(), report);
    }

    #[test]
    fn each_day_has_its_session_which_is_announced_before() {
        let first = Day::of_us(NOW);
        let files = generate_calendar(first, 3, &mut UnwrapErr(SysRng)).unwrap();
        let keys = vec![CollectorKeys::parse(&files.collector).unwrap()];
        let epochs = Box::new(Counting(0));
        let mut seal = Seal::start(keys, CUT, epochs, UnwrapErr(SysRng), NOW).unwrap();
        let mut batch = Batch::new(notice_room(CUT));
        let mut announced = |seal: &mut Seal<_>, at_us| {
            seal.announce(0, at_us, &mut batch).unwrap();
            let datagrams = batch.datagrams();
            let ids = datagrams.map(|datagram| {
                let mut bytes = datagram.to_vec();
                match Datagram::new_checked(&mut bytes) {
                    Ok(Datagram::Announcement(it)) => (it.key_id(), it.epoch()),
                    _ => panic!("no announcement"),
                }
            });
            ids.collect::<Vec<_>>()
        };
        let (today, midnight) = ((files.first, 1), first.end_us());
        assert_eq!(announced(&mut seal, NOW), [today]);
        let early = midnight - ANNOUNCED_AHEAD_US;
        assert_eq!(announced(&mut seal, early - 1), [today]);
        let both = announced(&mut seal, early);
        assert_eq!((both.len(), both[0], both[1].1), (2, today, 2));
        assert_ne!(both[1].0, files.first);
        assert_eq!(announced(&mut seal, midnight - 1), both);
        // Until midnight packets are of today's session, and from then on of the one that was announced.
        assert!(!seal.stale(midnight - 1) && seal.stale(midnight));
        assert_eq!(seal.key(0).day, Some(first));
        assert_eq!(announced(&mut seal, midnight), both[1..]);
        assert!(!seal.stale(midnight));
        let key = KeyInUse {
            id: both[1].0,
            day: first.later(1),
            last_day: Some(files.last),
        };
        assert_eq!((seal.key(0), seal.epoch(0)), (key, 2));
        // A clock that goes back has today's key again, in a session of a newer epoch; and then there is another tomorrow.
        let back = announced(&mut seal, early);
        assert_eq!((back[0], back[1]), ((today.0, 3), (both[1].0, 4)));
        assert_eq!(announced(&mut seal, NOW), [back[0]]);
        // Beyond its end the calendar has its last key, in one session.
        let last = announced(&mut seal, files.last.end_us() - 1);
        assert_eq!(last.len(), 1);
        assert_eq!(
            announced(&mut seal, files.last.end_us() + ANNOUNCED_AHEAD_US),
            last
        );
        assert_eq!(seal.key(0).day, Some(files.last));
    }

    #[test]
    fn an_epoch_that_cannot_be_kept_is_not_announced() {
        struct Full;
        impl Epochs for Full {
            fn next(&mut self, _: u64) -> Result<u64, EpochError> {
                let error = std::io::ErrorKind::StorageFull.into();
                Err(EpochError::File("/state/epoch".into(), error))
            }
        }
        let (_, collector, _) = generate(&mut UnwrapErr(SysRng));
        let keys = vec![CollectorKeys::parse(&collector).unwrap()];
        let error = Seal::start(keys, CUT, Box::new(Full), UnwrapErr(SysRng), NOW).err();
        assert!(error.unwrap().to_string().contains("/state/epoch"));
    }
}
