//! Faults on command.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::ledger::Worth;

/// Something that goes wrong in a card until it is cleared ([`Fault::Overflow`]: once).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `module-fails N`: module N (from 0) is no longer healthy and makes no bytes. USB: status 0.
    ModuleFails(u8),
    /// `test-mode N`: module N says that it is in test mode.
    TestMode(u8),
    /// `overflow`: the FIFO overflows now.
    Overflow,
    /// `stuck`: every byte is 0xA5.
    Stuck,
    /// `biased`: three bits of four are ones.
    Biased,
    /// `zeros`: every bit is 0.
    Zeros,
    /// `ones`: every bit is 1.
    Ones,
    /// `slow N`: the whole card makes N bytes a second.
    Slow(u64),
    /// `gone`: unplugged. Registers read all ones; USB is disconnected; TCP is refused.
    Gone,
    /// `short`: a USB packet or DMA transfer is shorter than asked for.
    Short,
    /// `hang`: nothing more is made; USB transfers and HTTP requests never end; DMA stalls.
    Hang,
    /// `html`: HTTP answers with a page of HTML and status 200.
    Html,
    /// `drip`: HTTP answers one byte at a time, with long pauses.
    Drip,
    /// `wrong-length`: HTTP answers with fewer bytes than asked for.
    WrongLength,
    /// `too-long`: HTTP answers with more bytes than asked for.
    TooLong,
    /// `repeat`: HTTP answers with the same bytes as the last time.
    Repeat,
    /// `status N`: HTTP answers with this status; 301 with an address elsewhere.
    Status(u16),
    /// `packet-error N`: chip N (from 0) reports packet errors.
    PacketError(u8),
}

/// A fault that can't be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FaultError {
    /// There is no such name, or its number is missing or too many.
    #[error("no fault is called {0:?}")]
    Unknown(String),
    /// This device can't have it.
    #[error("{0} makes no sense for this device")]
    NotHere(Fault),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ModuleFails(n) => write!(f, "module-fails {n}"),
            Self::TestMode(n) => write!(f, "test-mode {n}"),
            Self::Overflow => f.write_str("overflow"),
            Self::Stuck => f.write_str("stuck"),
            Self::Biased => f.write_str("biased"),
            Self::Zeros => f.write_str("zeros"),
            Self::Ones => f.write_str("ones"),
            Self::Slow(rate) => write!(f, "slow {rate}"),
            Self::Gone => f.write_str("gone"),
            Self::Short => f.write_str("short"),
            Self::Hang => f.write_str("hang"),
            Self::Html => f.write_str("html"),
            Self::Drip => f.write_str("drip"),
            Self::WrongLength => f.write_str("wrong-length"),
            Self::TooLong => f.write_str("too-long"),
            Self::Repeat => f.write_str("repeat"),
            Self::Status(n) => write!(f, "status {n}"),
            Self::PacketError(n) => write!(f, "packet-error {n}"),
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let unknown = || FaultError::Unknown(text.to_owned());
        let words: Vec<&str> = text.split_whitespace().collect();
        let small = |word: &str| word.parse::<u8>().map_err(|_| unknown());
        Ok(match words[..] {
            ["module-fails", n] => Self::ModuleFails(small(n)?),
            ["test-mode", n] => Self::TestMode(small(n)?),
            ["overflow"] => Self::Overflow,
            ["stuck"] => Self::Stuck,
            ["biased"] => Self::Biased,
            ["zeros"] => Self::Zeros,
            ["ones"] => Self::Ones,
            ["slow", rate] => Self::Slow(rate.parse().map_err(|_| unknown())?),
            ["gone"] => Self::Gone,
            ["short"] => Self::Short,
            ["hang"] => Self::Hang,
            ["html"] => Self::Html,
            ["drip"] => Self::Drip,
            ["wrong-length"] => Self::WrongLength,
            ["too-long"] => Self::TooLong,
            ["repeat"] => Self::Repeat,
            ["status", n] => Self::Status(n.parse().map_err(|_| unknown())?),
            ["packet-error", n] => Self::PacketError(small(n)?),
            _ => return Err(unknown()),
        })
    }
}

/// The faults that are active.
#[derive(Debug, Default, Clone)]
pub struct Faults(Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.iter().map(|fault| fault.to_string()).collect();
        f.write_str(&names.join(", "))
    }
}

impl Faults {
    /// Whether this one is active.
    pub fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    /// The active faults, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = Fault> + '_ {
        self.0.iter().copied()
    }

    /// Bytes a second of the whole card, if it is slow.
    pub fn slow(&self) -> Option<u64> {
        self.iter().find_map(|fault| match fault {
            Fault::Slow(rate) => Some(rate),
            _ => None,
        })
    }

    /// The HTTP status to answer with, if it is another than it should be.
    pub fn status(&self) -> Option<u16> {
        self.iter().find_map(|fault| match fault {
            Fault::Status(status) => Some(status),
            _ => None,
        })
    }

    /// Alters bytes of the stream as the faults of the data say, and says what they are then worth.
    pub fn distort(&self, bytes: &mut [u8]) -> Worth {
        let mut worth = Worth::Good;
        for fault in self.iter() {
            match fault {
                Fault::Stuck => bytes.fill(0xA5),
                // Each byte also takes the bits of itself, rotated: two independent bits make one that is 1 in 3 cases of 4.
                Fault::Biased => bytes.iter_mut().for_each(|b| *b |= b.rotate_left(3)),
                Fault::Zeros => bytes.fill(0),
                Fault::Ones => bytes.fill(0xFF),
                _ => continue,
            }
            worth = Worth::Altered;
        }
        worth
    }

    pub(crate) fn add(&mut self, fault: Fault) {
        if matches!(fault, Fault::Slow(_)) {
            self.0.retain(|f| !matches!(f, Fault::Slow(_)));
        }
        if !self.has(fault) {
            self.0.push(fault);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Stream;

    #[test]
    fn every_fault_is_read_back_from_its_name() {
        let faults = [
            Fault::ModuleFails(3),
            Fault::TestMode(0),
            Fault::Overflow,
            Fault::Stuck,
            Fault::Biased,
            Fault::Zeros,
            Fault::Ones,
            Fault::Slow(1000),
            Fault::Gone,
            Fault::Short,
            Fault::Hang,
            Fault::Html,
            Fault::Drip,
            Fault::WrongLength,
            Fault::TooLong,
            Fault::Repeat,
            Fault::Status(503),
            Fault::PacketError(11),
        ];
        for fault in faults {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        for text in [
            "",
            "no such",
            "slow",
            "slow x",
            "stuck 1",
            "module-fails 256",
        ] {
            let unknown = FaultError::Unknown(text.to_owned());
            assert_eq!(text.parse::<Fault>(), Err(unknown));
        }
    }

    #[test]
    fn biased_bits_are_three_quarters_ones() {
        let mut bytes = Stream::new(1).bytes(0, 1 << 16);
        let mut faults = Faults::default();
        assert_eq!(faults.distort(&mut bytes), Worth::Good);
        faults.add(Fault::Biased);
        assert_eq!(faults.distort(&mut bytes), Worth::Altered);
        let ones: u32 = bytes.iter().map(|b| b.count_ones()).sum();
        let share = f64::from(ones) / f64::from(8 << 16);
        assert!((0.74..0.76).contains(&share), "{share}");
    }

    #[test]
    fn the_last_speed_counts() {
        let mut faults = Faults::default();
        faults.add(Fault::Slow(5));
        faults.add(Fault::Slow(7));
        assert_eq!(faults.slow(), Some(7));
        faults.clear();
        assert_eq!(faults.slow(), None);
    }
}
