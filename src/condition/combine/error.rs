//! What can be wrong with a combination.

use thiserror::Error;

/// Why sources are not combined. Sources are named by their identity.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CombineError {
    /// Fewer than two sources.
    #[error("combining needs at least two sources, and there are {0}")]
    TooFew(usize),
    /// Neither serial number nor path.
    #[error("nothing tells the source {0} from others: give its serial number or its path")]
    Nameless(String),
    /// No independence group.
    #[error(
        "source {0} declares no independence group: name one, its own if it is independent of all others"
    )]
    NoGroup(String),
    /// No min-entropy per bit.
    #[error(
        "the min-entropy of source {identity} is above 0 and at most 1 bit per bit, not {min_entropy}"
    )]
    MinEntropy {
        /// The source.
        identity: String,
        /// What it declares.
        min_entropy: f64,
    },
    /// Two handles on one device.
    #[error("sources {first} and {second} are one device: two reads of it add nothing, remove one")]
    SameDevice {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// Sources that may depend on each other, combined by what needs independent ones.
    #[error(
        "sources {first} and {second} are both of group {group}: {} needs independent sources; use HKDF, or declare two groups if they are independent",
        if *.interleaved { "interleaving" } else { "XOR" }
    )]
    SameGroup {
        /// The one.
        first: String,
        /// The other.
        second: String,
        /// Their group.
        group: String,
        /// Whether they are to be interleaved.
        interleaved: bool,
    },
    /// An output of HKDF that its hash can't fill with entropy.
    #[error("HKDF-SHA256 gives 1 to 32 bytes of full entropy at a time, not {0}")]
    OutputLen(usize),
    /// Too little input for full entropy.
    #[error(
        "{output} bits of full entropy need {needed} bits of min-entropy from independent sources, and {entropy:.1} go in: take more bytes of each source"
    )]
    TooLittle {
        /// Bits of an output.
        output: usize,
        /// Min-entropy needed, in bits.
        needed: usize,
        /// Min-entropy that goes in, in bits.
        entropy: f64,
    },
    /// A source failed, and all are required.
    #[error("source {0} failed, and all sources are required")]
    Failed(String),
    /// No source works.
    #[error("all sources failed")]
    AllFailed,
    /// Blocks of several sources, which are to be interleaved.
    #[error("interleaved sources give their blocks one at a time")]
    OneAtATime,
    /// A block of a source that failed, or does not exist.
    #[error("source number {0} does not work, and gave a block")]
    NotWorking(usize),
    /// A source that works has no block.
    #[error("source {0} gave no block and is not marked as failed")]
    NoBlock(String),
    /// Blocks of different lengths.
    #[error("the sources' blocks have different lengths")]
    Lengths,
    /// A block is no whole number of inputs.
    #[error("blocks of {len} bytes are not a multiple of the {bytes_each} bytes taken at a time")]
    Multiple {
        /// Bytes of a block.
        len: usize,
        /// Bytes taken of each source at a time.
        bytes_each: usize,
    },
}
