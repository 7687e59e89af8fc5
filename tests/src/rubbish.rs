//! Numbers for rubbish: as good as random, and the same in each run.

/// Numbers by Marsaglia's xorshift.
#[derive(Debug)]
pub struct Rubbish(u64);

impl Default for Rubbish {
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl Rubbish {
    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
