//! Kinds of noise source, and sets of them.

use serde::{Deserialize, Serialize};

/// A kind of noise source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A PCIe card that carries generator modules.
    PcieModule,
    /// A PCIe card that carries generator chips.
    PcieChip,
    /// A USB generator.
    Usb,
    /// A network appliance.
    Appliance,
    /// A character device of the kernel or of a vendor's driver, or a file.
    KernelNode,
    /// No noise source at all: a simulator, for trials.
    Simulator,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 6] = [
        Kind::PcieModule,
        Kind::PcieChip,
        Kind::Usb,
        Kind::Appliance,
        Kind::KernelNode,
        Kind::Simulator,
    ];

    /// Its name, as in reports and status documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::PcieModule => "pcie-module",
            Kind::PcieChip => "pcie-chip",
            Kind::Usb => "usb",
            Kind::Appliance => "appliance",
            Kind::KernelNode => "kernel-node",
            Kind::Simulator => "simulator",
        }
    }

    /// Its bit in the content byte.
    const fn bit(self) -> u8 {
        match self {
            Kind::PcieModule => 0x01,
            Kind::PcieChip => 0x02,
            Kind::Usb => 0x04,
            Kind::Appliance => 0x08,
            Kind::KernelNode => 0x10,
            Kind::Simulator => 0x20,
        }
    }
}

/// A set of kinds: those that contributed to some bytes, or those that a gateway accepts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kinds(u8);

impl Kinds {
    const ALL_BITS: u8 = 0x3f;
    /// No kind.
    pub const NONE: Kinds = Kinds(0);
    /// Every kind, the simulator included.
    pub const ALL: Kinds = Kinds(Self::ALL_BITS);
    /// Every kind that is a real noise source.
    pub const REAL: Kinds = Kinds(Self::ALL_BITS & !Kind::Simulator.bit());

    /// The set of one kind.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        Kinds(kind.bit())
    }

    /// This set and `kind`.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Kinds(self.0 | kind.bit())
    }

    /// The members of both sets.
    #[must_use]
    pub const fn union(self, other: Kinds) -> Self {
        Kinds(self.0 | other.0)
    }

    /// Tells whether `kind` is a member.
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Tells whether every member is one of `other` too.
    #[must_use]
    pub const fn is_within(self, other: Kinds) -> bool {
        self.0 & !other.0 == 0
    }

    /// The members.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL
            .into_iter()
            .filter(move |&kind| self.contains(kind))
    }

    /// The bits as they travel in the content byte; also for keeping a set in an atomic.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Reads a content byte: at least one kind, and no unknown one.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits == 0 || bits & !Self::ALL_BITS != 0 {
            return None;
        }
        Some(Kinds(bits))
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Kinds::NONE, Kinds::with)
    }
}

impl std::fmt::Debug for Kinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_serde() {
        for kind in Kind::ALL {
            let named = rmp_serde::to_vec(&kind).unwrap();
            assert_eq!(&named[1..], kind.name().as_bytes());
            assert_eq!(Kinds::from_bits(kind.bit()), Some(Kinds::of(kind)));
        }
    }

    #[test]
    fn sets_of_kinds() {
        let mixed: Kinds = [Kind::Usb, Kind::Simulator].into_iter().collect();
        assert!(!mixed.is_within(Kinds::REAL));
        assert!(mixed.is_within(Kinds::ALL));
        assert!(Kinds::of(Kind::Usb).is_within(Kinds::REAL));
        assert_eq!(format!("{mixed:?}"), "{Usb, Simulator}");
        assert_eq!(Kinds::from_bits(0), None);
        assert_eq!(Kinds::from_bits(0x40), None);
        assert_eq!(Kinds::from_bits(0xa0), None);
    }
}
