//! Counters of sealing and sending: kept by the sender's stages, told to the reader once a second.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use qrng::keys::Day;
use serde::{Deserialize, Serialize};

use crate::seal::KeyInUse;

/// More different errors of sending than there are in Linux.
const MOST_ERRORS: usize = 256;

/// What has been sealed and sent, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Each gateway, by its slot.
    pub gateways: Vec<GatewayCounters>,
    /// Datagrams that the kernel refused, by the name of the error.
    pub errors: BTreeMap<String, u64>,
}

/// The same for one gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayCounters {
    /// The epoch of its session.
    pub epoch: u64,
    /// The id of its key, as a number; 0 before the first announcement.
    pub key: u32,
    /// The day of its key, in days since 1970-01-01, if it is of a calendar.
    pub day: Option<u32>,
    /// The last day that there is a key for, in the same way.
    pub last_day: Option<u32>,
    /// Data packets sealed.
    pub packets: u64,
    /// Announcements made.
    pub announcements: u64,
    /// Reports sealed.
    pub reports: u64,
    /// Datagrams that the kernel took, of all sorts.
    pub datagrams: u64,
    /// Bytes of these, without headers.
    pub bytes: u64,
    /// Datagrams that the kernel refused.
    pub failed: u64,
    /// Whether segmentation offload is in use.
    pub offloads: bool,
}

impl Counters {
    /// Zeros, for so many gateways.
    pub fn new(gateways: usize) -> Self {
        let zeros = GatewayCounters {
            epoch: 0,
            key: 0,
            day: None,
            last_day: None,
            packets: 0,
            announcements: 0,
            reports: 0,
            datagrams: 0,
            bytes: 0,
            failed: 0,
            offloads: true,
        };
        Self {
            gateways: vec![zeros; gateways],
            errors: BTreeMap::new(),
        }
    }

    /// Whether a sender with so many gateways can have told this.
    pub fn fits(&self, gateways: usize) -> bool {
        let is_name = |name: &String| {
            let mut letters = name.bytes();
            name.len() <= 32 && letters.all(|b| b.is_ascii_alphanumeric())
        };
        let is_day = |day: Option<u32>| day.is_none_or(|day| Day::from_number(day).is_some());
        let mut gateways_told = self.gateways.iter();
        self.gateways.len() == gateways
            && gateways_told.all(|gateway| is_day(gateway.day) && is_day(gateway.last_day))
            && self.errors.len() <= MOST_ERRORS
            && self.errors.keys().all(is_name)
    }
}

/// The same while it is counted.
#[derive(Debug)]
pub struct Counting {
    gateways: Vec<GatewayCounting>,
    errors: Mutex<BTreeMap<String, u64>>,
}

#[derive(Debug, Default)]
struct GatewayCounting {
    epoch: AtomicU64,
    key: AtomicU32,
    /// One more than the day; 0 for none.
    day: AtomicU32,
    last_day: AtomicU32,
    packets: AtomicU64,
    announcements: AtomicU64,
    reports: AtomicU64,
    datagrams: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
    no_offload: AtomicBool,
}

impl Counting {
    /// Zeros, for so many gateways.
    pub fn new(gateways: usize) -> Self {
        Self {
            gateways: (0..gateways).map(|_| GatewayCounting::default()).collect(),
            errors: Mutex::default(),
        }
    }

    /// Counts data packets sealed for a gateway.
    pub fn sealed(&self, gateway: usize, packets: usize) {
        let packets = packets as u64;
        self.gateways[gateway].packets.fetch_add(packets, Relaxed);
    }

    /// Counts announcements for a gateway, whose session has this epoch and key.
    pub fn announced(&self, gateway: usize, announcements: usize, epoch: u64, key: KeyInUse) {
        let gateway = &self.gateways[gateway];
        let stored = |day: Option<Day>| day.map_or(0, |day| day.number() + 1);
        gateway
            .announcements
            .fetch_add(announcements as u64, Relaxed);
        gateway.epoch.store(epoch, Relaxed);
        gateway.key.store(key.id.to_number(), Relaxed);
        gateway.day.store(stored(key.day), Relaxed);
        gateway.last_day.store(stored(key.last_day), Relaxed);
    }

    /// Counts a report for a gateway.
    pub fn reported(&self, gateway: usize) {
        self.gateways[gateway].reports.fetch_add(1, Relaxed);
    }

    /// Counts datagrams that the kernel took, and their bytes.
    pub fn sent(&self, gateway: usize, datagrams: usize, bytes: usize) {
        let gateway = &self.gateways[gateway];
        gateway.datagrams.fetch_add(datagrams as u64, Relaxed);
        gateway.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts datagrams that the kernel refused, and why.
    pub fn failed(&self, gateway: usize, datagrams: usize, error: Errno) {
        let datagrams = datagrams as u64;
        self.gateways[gateway].failed.fetch_add(datagrams, Relaxed);
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        // Debug of Errno is its name, such as ENETUNREACH.
        *errors.entry(format!("{error:?}")).or_default() += datagrams;
    }

    /// Notes whether segmentation offload works.
    pub fn offload(&self, gateway: usize, works: bool) {
        self.gateways[gateway].no_offload.store(!works, Relaxed);
    }

    /// How it stands now.
    pub fn now(&self) -> Counters {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        Counters {
            gateways: self.gateways.iter().map(GatewayCounting::now).collect(),
            errors: errors.clone(),
        }
    }
}

impl GatewayCounting {
    fn now(&self) -> GatewayCounters {
        GatewayCounters {
            epoch: self.epoch.load(Relaxed),
            key: self.key.load(Relaxed),
            day: self.day.load(Relaxed).checked_sub(1),
            last_day: self.last_day.load(Relaxed).checked_sub(1),
            packets: self.packets.load(Relaxed),
            announcements: self.announcements.load(Relaxed),
            reports: self.reports.load(Relaxed),
            datagrams: self.datagrams.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            failed: self.failed.load(Relaxed),
            offloads: !self.no_offload.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use qrng::keys::KeyId;

    use super::*;

    #[test]
    fn what_is_counted_is_told() {
        let counting = Counting::new(2);
        assert_eq!(counting.now(), Counters::new(2));
        counting.sealed(1, 3);
        let key = KeyInUse {
            id: KeyId::from_number(0x1f2e_3d4c),
            day: Day::from_number(0),
            last_day: Day::from_number(20_783),
        };
        counting.announced(1, 2, 7, key);
        counting.reported(1);
        counting.sent(1, 4, 400);
        counting.failed(1, 2, Errno::ENETUNREACH);
        counting.offload(1, false);
        let now = counting.now();
        assert_eq!(now.gateways[0], Counters::new(1).gateways[0]);
        assert_eq!(
            now.gateways[1],
            GatewayCounters {
                epoch: 7,
                key: 0x1f2e_3d4c,
                day: Some(0),
                last_day: Some(20_783),
                packets: 3,
                announcements: 2,
                reports: 1,
                datagrams: 4,
                bytes: 400,
                failed: 2,
                offloads: false,
            }
        );
        assert_eq!(now.errors, BTreeMap::from([("ENETUNREACH".into(), 2)]));
        assert!(now.fits(2));
    }

    #[test]
    fn what_a_sender_cannot_have_told_does_not_fit() {
        assert!(!Counters::new(1).fits(2));
        let mut counters = Counters::new(1);
        counters.gateways[0].last_day = Some(u32::MAX);
        assert!(!counters.fits(1));
        let mut counters = Counters::new(1);
        counters.errors.insert("E\u{1b}[2J".into(), 1);
        assert!(!counters.fits(1));
        let names = (0..=MOST_ERRORS).map(|n| (format!("E{n}"), 1));
        counters.errors = names.collect();
        assert!(!counters.fits(1));
    }
}
