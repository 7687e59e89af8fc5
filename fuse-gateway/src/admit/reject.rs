//! Why a datagram is refused.

use thiserror::Error;

macro_rules! rejects {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $words:literal;)+) => {
        /// Why a datagram is refused: the first check that it failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
        pub enum Reject {
            $($(#[doc = $doc])+ #[error($words)] $variant,)+
        }

        impl Reject {
            /// Every reason, in the order of the checks.
            pub const ALL: &[Reject] = &[$(Reject::$variant),+];
            /// How many reasons there are: the length of an array of counters.
            pub const COUNT: usize = Self::ALL.len();

            /// Its name in counters and status documents.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Reject::$variant => $name,)+
                }
            }
        }
    };
}

rejects! {
    /// No datagram of this protocol has this length, or the packet states another one.
    Length = "wrong-length", "wrong length";
    /// Another version of the protocol.
    Version = "unknown-version", "unknown protocol version";
    /// A marker byte is not the one that belongs there.
    Shape = "wrong-shape", "not the packet's shape";
    /// The id is no UUIDv8, or contradicts the sequence number.
    Id = "wrong-id", "the id contradicts the packet";
    /// A data packet of no known session: of an old one, or of one whose announcement has not come yet.
    UnknownSession = "unknown-session", "no announcement of this session was seen";
    /// An announcement for a key that is not installed here.
    UnknownKey = "unknown-key", "the key is not installed here";
    /// An announcement for the key of a day that is over: it was destroyed.
    PastKey = "past-key", "the key's day is over, and the key destroyed";
    /// A sequence number that was seen.
    Duplicate = "duplicate", "the sequence number was seen before";
    /// A sequence number behind the window, or of a step whose keys are gone.
    TooOld = "too-old", "the sequence number lies behind the replay window";
    /// An announcement of an epoch older than the newest.
    OldEpoch = "old-epoch", "the epoch is older than the newest session's";
    /// An announcement that is not newer than the last one of its session.
    OldAnnouncement = "old-announcement", "the announcement is not newer than the last one";
    /// A timestamp more than 5 seconds ahead of this end's clock.
    Future = "from-the-future", "the timestamp is more than 5 s ahead of this clock";
    /// A timestamp more than 300 seconds behind this end's clock.
    Expired = "expired", "the timestamp is more than 300 s behind this clock";
    /// A timestamp that an earlier run of this gateway may have accepted already.
    BeforeRestart = "before-restart", "the timestamp is not beyond the bound of the last restart";
    /// A line error: the CRC32 does not match.
    Crc = "wrong-crc", "the CRC32 does not match";
    /// Farther ahead than keys are derived for a packet that nobody has verified; the next announcement heals it.
    TooFarAhead = "too-far-ahead", "too many ratchet steps ahead";
    /// The HMAC is wrong.
    Forged = "wrong-hmac", "not authentic";
    /// The HMAC is right and the AEAD's tag is wrong.
    Undecryptable = "undecryptable", "authentic, and yet it can't be decrypted";
    /// An authentic announcement whose encapsulation leads to another session.
    SessionRefused = "session-refused", "the announcement leads to another session";
    /// The restart bound could not be written, so the packet might be accepted again after a restart.
    BoundNotWritten = "bound-not-written", "the restart bound could not be written";
    /// Authentic, but of a kind that this version does not know.
    UnknownContent = "unknown-content", "the content is of an unknown kind";
    /// An authentic report that can't be read.
    UnreadableReport = "unreadable-report", "the report can't be read";
    /// Authentic random bytes of a kind of noise source that the configuration does not accept.
    SourceRefused = "source-refused", "this kind of noise source is not accepted here";
}

impl Reject {
    /// Its place in [`Reject::ALL`], for an array of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Tells whether the packet was authentic and its sequence number is used up.
    #[must_use]
    pub const fn commits(self) -> bool {
        matches!(
            self,
            Reject::UnknownContent | Reject::UnreadableReport | Reject::SourceRefused
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_reason_has_its_name_and_place() {
        let names: HashSet<_> = Reject::ALL.iter().map(|reject| reject.name()).collect();
        assert_eq!(names.len(), Reject::COUNT);
        for (i, reject) in Reject::ALL.iter().enumerate() {
            assert_eq!(reject.index(), i);
            let kebab = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(reject.name().chars().all(kebab), "{reject:?}");
        }
    }
}
