//! Seal: numbers, encrypts and signs blocks of random bytes.
//!
//! ```text
//!  block -> one gateway -> packets of one length, one behind the other -> batch
//! ```
//!
//! Each block goes to one gateway alone: the one that had the fewest bytes so far. So the
//! gateways' slices are disjoint and of nearly one size. Pure: time and randomness are given.

use getrandom::rand_core::CryptoRng;
use qrng::keys::CollectorKey;
use qrng::packet::{ANNOUNCEMENT_LEN, Content, OVERHEAD};
use qrng::report::{Kinds, Report, ReportError};
use qrng::session::{Sealer, SessionError};
use thiserror::Error;

use crate::acquire::Cut;
use crate::block::Batch;
use crate::epoch::{EpochError, Epochs};

/// The least bytes that a report's packet has for the report, so that it always fits.
const REPORT_ROOM: usize = 600;

/// The longest datagram that does not carry random bytes, with packets cut as `cut` says.
pub fn longest_notice(cut: Cut) -> usize {
    ANNOUNCEMENT_LEN.max(cut.full.max(REPORT_ROOM) + 1 + OVERHEAD)
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
    /// The report could not be written.
    #[error("report: {0}")]
    Report(#[from] ReportError),
}

/// One gateway's session.
struct Lane {
    key: CollectorKey,
    sealer: Sealer,
    /// Random bytes sealed for it.
    bytes: u64,
}

/// The sessions with all gateways.
pub struct Seal<R> {
    lanes: Vec<Lane>,
    cut: Cut,
    epochs: Box<dyn Epochs + Send>,
    rng: R,
}

impl<R: CryptoRng> Seal<R> {
    /// Starts a session with the gateway of each key, whose index there is its slot.
    ///
    /// # Errors
    /// An epoch cannot be persisted, or a key cannot be used.
    pub fn start(
        keys: Vec<CollectorKey>,
        cut: Cut,
        mut epochs: Box<dyn Epochs + Send>,
        mut rng: R,
        now_us: u64,
    ) -> Result<Self, SealError> {
        let mut lanes = Vec::with_capacity(keys.len());
        for (slot, key) in (0..).zip(keys) {
            let sealer = Sealer::start(&key, slot, epochs.next(now_us)?, &mut rng)?;
            lanes.push(Lane {
                key,
                sealer,
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

    /// Whether the session with a gateway has sealed nearly all that it may, and so must be
    /// announced anew before the next 65,536 packets.
    pub fn spent(&self) -> bool {
        self.lanes.iter().any(|lane| lane.sealer.spent())
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
        for bytes in bytes.chunks(self.cut.full) {
            let length = lane
                .sealer
                .seal(now_us, Content::Bytes(kinds), bytes, out.room())?;
            out.advance(length);
        }
        lane.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Announces the session with `gateway`; a new one if the old is spent.
    ///
    /// # Errors
    /// The new session's epoch cannot be persisted.
    pub fn announce(
        &mut self,
        gateway: usize,
        now_us: u64,
        out: &mut Batch,
    ) -> Result<(), SealError> {
        let lane = &mut self.lanes[gateway];
        if lane.sealer.spent() {
            let (slot, epoch) = (gateway as u16, self.epochs.next(now_us)?);
            lane.sealer = Sealer::start(&lane.key, slot, epoch, &mut self.rng)?;
        }
        out.begin(gateway, ANNOUNCEMENT_LEN);
        if let Some(room) = out.room().first_chunk_mut() {
            lane.sealer.announce(now_us, room);
            out.advance(ANNOUNCEMENT_LEN);
        }
        Ok(())
    }

    /// Seals a report for `gateway`.
    ///
    /// # Errors
    /// It does not fit in a packet, or the session is at its end.
    pub fn report(
        &mut self,
        gateway: usize,
        now_us: u64,
        report: &Report,
        out: &mut Batch,
    ) -> Result<(), SealError> {
        let mut bytes = vec![0; self.cut.full.max(REPORT_ROOM)];
        report.encode(&mut bytes)?;
        out.begin(gateway, bytes.len() + 1 + OVERHEAD);
        let sealer = &mut self.lanes[gateway].sealer;
        let length = sealer.seal(now_us, Content::Report, &bytes, out.room())?;
        out.advance(length);
        Ok(())
    }
}
