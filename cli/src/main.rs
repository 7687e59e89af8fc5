//! The qrng command.
fn main() {}
