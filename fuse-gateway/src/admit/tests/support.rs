//! A collector, a gateway and a clock for tests. Randomness is the same in every run.

use super::super::*;
use qrng::keys::{CollectorKey, generate};
use qrng::packet::{ANNOUNCEMENT_LEN, MAX_DATAGRAM};
use qrng::report::Kind;
use qrng::session::Sealer;
use rand_core::{Infallible, TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

/// SHA-256 over a seed and a counter.
pub struct Repeatable(pub u64, pub u64);

impl TryRng for Repeatable {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        rand_core::utils::next_word_via_fill(self)
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        rand_core::utils::next_word_via_fill(self)
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(32) {
            let seed = [self.0.to_be_bytes(), self.1.to_be_bytes()].concat();
            chunk.copy_from_slice(&Sha256::digest(seed)[..chunk.len()]);
            self.1 += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for Repeatable {}

/// The time at which tests begin.
pub const T0: u64 = 1_700_000_000_000_000;
/// Microseconds of a second.
pub const SECOND: u64 = 1_000_000;

/// The bound's file, kept over restarts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BoundFile {
    pub bound_us: Option<u64>,
    pub writes: u64,
    pub broken: bool,
}

impl AdvanceBound for BoundFile {
    fn advance(&mut self, to_us: u64) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("no space left"));
        }
        self.bound_us = Some(to_us);
        self.writes += 1;
        Ok(())
    }
}

/// The text of a pair of key files: gateway's, collector's.
pub fn key_texts(seed: u64) -> (String, String) {
    let (gateway, collector, _) = generate(&mut Repeatable(seed, 0));
    (gateway.to_string(), collector.to_string())
}

/// A collector that can be restarted.
pub struct Collector {
    key: CollectorKey,
    last_epoch: u64,
    pub sealer: Sealer,
    numbered: u64,
}

impl Collector {
    pub fn start(seed: u64, now_us: u64) -> Self {
        let key = CollectorKey::parse(&key_texts(seed).1).unwrap();
        let sealer = Sealer::start(&key, 5, now_us, &mut Repeatable(now_us, 0)).unwrap();
        Collector {
            key,
            last_epoch: now_us,
            sealer,
            numbered: 0,
        }
    }

    pub fn restart(&mut self, now_us: u64) {
        self.last_epoch = now_us.max(self.last_epoch + 1);
        let mut rng = Repeatable(self.last_epoch, 1);
        self.sealer = Sealer::start(&self.key, 5, self.last_epoch, &mut rng).unwrap();
    }

    pub fn announce(&self, now_us: u64) -> Vec<u8> {
        let mut out = [0; ANNOUNCEMENT_LEN];
        self.sealer.announce(now_us, &mut out);
        out.to_vec()
    }

    pub fn seal(&mut self, now_us: u64, content: Content, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![0; MAX_DATAGRAM];
        let len = self.sealer.seal(now_us, content, bytes, &mut out).unwrap();
        out.truncate(len);
        out
    }

    /// A packet of random bytes that begin with a number never used before.
    pub fn packet(&mut self, now_us: u64) -> Vec<u8> {
        self.numbered += 1;
        let mut bytes = [0x5a; 24];
        bytes[..8].copy_from_slice(&self.numbered.to_be_bytes());
        self.seal(now_us, Content::Bytes(Kinds::of(Kind::Usb)), &bytes)
    }
}

/// A gateway that can be restarted.
pub struct Gateway {
    key_text: String,
    pub admit: Admit,
    pub file: BoundFile,
}

/// A verdict without the bytes' lifetime.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Got {
    Number(u64),
    Report,
    Started,
    Announced,
}

impl Gateway {
    /// A gateway that accepts packets from `now_us` on.
    pub fn start(seed: u64, now_us: u64) -> Self {
        let key_text = key_texts(seed).0;
        let key = GatewayKey::parse(&key_text).unwrap();
        Gateway {
            key_text,
            admit: Admit::new(vec![key], now_us - 1, Kinds::REAL),
            file: BoundFile {
                bound_us: Some(now_us - 1),
                ..BoundFile::default()
            },
        }
    }

    /// Forgets everything but the bound's file.
    pub fn restart(&mut self, now_us: u64) {
        let key = GatewayKey::parse(&self.key_text).unwrap();
        let bound = self.file.bound_us.unwrap_or(first_bound(now_us));
        self.admit = Admit::new(vec![key], bound, Kinds::REAL);
    }

    /// Judges a datagram that came alone.
    pub fn judge<'d>(
        &mut self,
        datagram: &'d mut [u8],
        now_us: u64,
    ) -> Result<Admitted<'d>, Reject> {
        let looked = self.admit.look_at(std::iter::once(datagram), now_us);
        let looked = looked.into_iter().flatten().next().expect("one of one");
        self.admit.judge(looked, now_us, &mut self.file)
    }

    pub fn take(&mut self, datagram: &[u8], now_us: u64) -> Result<Got, Reject> {
        self.judge(&mut datagram.to_vec(), now_us).map(got)
    }

    /// Judges datagrams that came together.
    pub fn take_row(&mut self, row: &[&[u8]], now_us: u64) -> Vec<Result<Got, Reject>> {
        let mut row: Vec<_> = row.iter().map(|datagram| datagram.to_vec()).collect();
        let looked = self
            .admit
            .look_at(row.iter_mut().map(Vec::as_mut_slice), now_us);
        looked
            .into_iter()
            .flatten()
            .map(|looked| self.admit.judge(looked, now_us, &mut self.file).map(got))
            .collect()
    }
}

fn got(admitted: Admitted<'_>) -> Got {
    match admitted {
        Admitted::Bytes { bytes, .. } => {
            Got::Number(u64::from_be_bytes(*bytes.first_chunk().unwrap()))
        }
        Admitted::Report { .. } => Got::Report,
        Admitted::SessionStarted { .. } => Got::Started,
        Admitted::Announced => Got::Announced,
    }
}

/// Both ends, with a session between them.
pub fn joined() -> (Collector, Gateway) {
    let collector = Collector::start(1, T0);
    let mut gateway = Gateway::start(1, T0);
    assert_eq!(gateway.take(&collector.announce(T0), T0), Ok(Got::Started));
    (collector, gateway)
}
