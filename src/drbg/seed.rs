//! Seeds of full entropy from bytes that have a little less.
//!
//! The mechanism without derivation function wants a seed of full entropy (SP 800-90A Rev. 1, section 10.2.1.3.1), and what
//! comes of a source has what is claimed of it, such as 0.98 bit a bit. So a seed is the SHA-384 of twice as many bytes: a vetted
//! conditioning component (SP 800-90B section 3.1.5.1.1). Its 384 bits have full entropy if the material holds 384 + 64 bits
//! of min-entropy (the rule of SP 800-90C for such components): from 0.59 bit a bit on.

use sha2::{Digest, Sha384};
use zeroize::Zeroizing;

use super::{SEED_LEN, Seed};

/// Bytes of a source that one seed is made of.
pub const MATERIAL_LEN: usize = 2 * SEED_LEN;

/// The seed that `material` gives, which must be used for nothing else. The caller wipes its copy.
pub fn seed_of(material: &[u8; MATERIAL_LEN]) -> Zeroizing<Seed> {
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    Sha384::new()
        .chain_update(material)
        .finalize_into((&mut *seed).into());
    seed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::entropy::output_entropy;

    /// Another program's digest of the bytes 0 to 95.
    #[test]
    fn a_seed_is_the_digest_of_its_material() {
        let seed = seed_of(&std::array::from_fn(|i| i as u8));
        let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "e606004ecdc6878b5ec15f4554017ccf962e92cc6eaebe4997ba34ec0e53c67d\
             564c8461c013701a401fe347ec0f721e"
        );
    }

    #[test]
    fn poor_material_still_gives_full_entropy() {
        let (material, seed) = (8 * MATERIAL_LEN, 8 * SEED_LEN);
        let loss = |h: f64| seed as f64 - output_entropy(material, seed, seed, h * material as f64);
        assert!(loss(0.59) < 2f64.powi(-40), "{}", loss(0.59));
        assert!(loss(0.4) > 50.0, "{}", loss(0.4));
    }
}
