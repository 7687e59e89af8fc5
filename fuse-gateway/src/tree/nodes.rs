//! The table of files.

use qrng::record::Record;

/// The inode of the root directory, as the kernel wants it.
pub const ROOT: u64 = 1;

/// What stat(2) shows as the size of an endless file: with 0 many programs hang or give up.
pub const STREAM_SIZE: u64 = 65_536;

/// What is behind a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// The root directory.
    Root,
    /// The directory of endless forms.
    StreamDirectory,
    /// Verified bytes without end.
    Raw,
    /// Verified bytes, each combined with one of a local generator.
    Random,
    /// Bytes of a generator that verified bytes seed.
    Urandom,
    /// What each file promises.
    Readme,
    /// One record per open, then end of file.
    Record(Record),
    /// Records without end, one a line.
    Stream(Record),
    /// The status document.
    Status,
}

/// One file or directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name in its directory; `.` for the root.
    pub name: &'static str,
    /// The inode number.
    pub inode: u64,
    /// The directory's inode number.
    pub parent: u64,
    /// What it is.
    pub node: Node,
}

/// What stat(2) shows beside the entry itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Length in bytes.
    pub size: u64,
    /// Length in blocks of 512 bytes.
    pub blocks: u64,
    /// User id and group id.
    pub owner: (u32, u32),
    /// All times, in seconds since the Unix epoch.
    pub born: u64,
}

const STREAM: u64 = 2;

const fn entry(inode: u64, parent: u64, name: &'static str, node: Node) -> Entry {
    Entry {
        name,
        inode,
        parent,
        node,
    }
}

/// Every file and directory, parents first.
pub static NODES: [Entry; 13] = [
    entry(ROOT, ROOT, ".", Node::Root),
    entry(STREAM, ROOT, "stream", Node::StreamDirectory),
    entry(3, ROOT, "raw", Node::Raw),
    entry(4, ROOT, "hex", Node::Record(Record::Hex)),
    entry(5, ROOT, "base64", Node::Record(Record::Base64)),
    entry(6, ROOT, "uuid", Node::Record(Record::Uuid)),
    entry(7, ROOT, "status", Node::Status),
    entry(8, STREAM, "hex", Node::Stream(Record::Hex)),
    entry(9, STREAM, "base64", Node::Stream(Record::Base64)),
    entry(10, STREAM, "uuid", Node::Stream(Record::Uuid)),
    entry(11, ROOT, "random", Node::Random),
    entry(12, ROOT, "urandom", Node::Urandom),
    entry(13, ROOT, "README", Node::Readme),
];

/// The entry with that number: inodes are the table's positions, counted from 1.
pub(super) fn by_inode(inode: u64) -> Option<&'static Entry> {
    NODES.get(usize::try_from(inode.checked_sub(1)?).ok()?)
}

impl Entry {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.node, Node::Root | Node::StreamDirectory)
    }

    /// Permission bits.
    pub fn permissions(&self) -> u32 {
        match self.node {
            Node::Root | Node::StreamDirectory => 0o555,
            Node::Status => 0o440,
            _ => 0o444,
        }
    }

    /// Whether reads of it give random bytes, in whatever form.
    pub fn is_random(&self) -> bool {
        match self.node {
            Node::Root | Node::StreamDirectory | Node::Status | Node::Readme => false,
            Node::Raw | Node::Random | Node::Urandom | Node::Record(_) | Node::Stream(_) => true,
        }
    }

    /// Whether it is lines without end.
    pub fn is_stream(&self) -> bool {
        matches!(self.node, Node::Stream(_))
    }

    /// Whether its attributes never change while the tree lives.
    pub fn is_constant(&self) -> bool {
        self.node != Node::Status
    }

    /// Links to it: for a directory, its name, `.`, and each subdirectory's `..`.
    pub fn links(&self) -> u32 {
        match self.node {
            Node::Root => 3,
            Node::StreamDirectory => 2,
            _ => 1,
        }
    }

    /// The entries of this directory, without `.` and `..`.
    pub fn children(&self) -> impl Iterator<Item = &'static Entry> {
        let inode = self.inode;
        NODES
            .iter()
            .filter(move |child| child.parent == inode && child.inode != ROOT)
    }
}
