//! The ratchet: every 65536 packets a step, each step with keys of its own, and no way back.
//!
//! ```text
//!            HKDF-Expand(S_i, "qrng step", 96)
//!  S_0 ───────┬──────────> S_1 ───────┬──────────> S_2 ...
//!             ├─ MAC key 0            ├─ MAC key 1
//!             └─ AEAD key 0           └─ AEAD key 1
//! ```
//!
//! HKDF-Expand is that of RFC 5869 section 2.3 with SHA-256; the 96 bytes are MAC key, AEAD key, next secret.
//! S_i is wiped as soon as it is expanded, a step's keys as soon as the replay window has left the step.

use crate::mac::Mac;
use crate::packet::EpochTag;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::collections::VecDeque;
use zeroize::Zeroizing;

/// Packets of one step.
pub const STEP_PACKETS: u64 = 1 << 16;
/// A session is renewed after this many steps, which bounds how far a gateway has to catch up: a third of a second.
pub const SESSION_STEPS: u64 = 1 << 18;
/// Steps that an unauthenticated packet may be ahead.
pub const STEPS_AHEAD: u64 = 16;

/// S_i, or whatever else nobody may see.
pub(super) type Secret = Zeroizing<[u8; 32]>;

/// The step that a sequence number belongs to.
pub(super) fn step_of(sequence: u64) -> u64 {
    sequence / STEP_PACKETS
}

/// HKDF-Expand (RFC 5869 section 2.3) with a secret as the pseudorandom key that it is.
///
/// It can't fail: the key has the length of a hash, and an output that is too long is not compiled.
fn expand<const N: usize>(secret: &Secret, label: &[u8], out: &mut [u8; N]) {
    const { assert!(N <= 255 * Mac::LEN, "the block counter is one byte") };
    let mac = Mac::new(secret);
    let mut block = Zeroizing::new([0; Mac::LEN]);
    for (counter, out) in (1u8..=255).zip(out.chunks_mut(Mac::LEN)) {
        // The first block has no block before it.
        let before: &[u8] = if counter == 1 { &[] } else { &*block };
        *block = mac.sign_all(&[before, label, &[counter]]);
        out.copy_from_slice(&block[..out.len()]);
    }
}

/// The tag that every packet of the session bears.
pub(super) fn epoch_tag(s0: &Secret) -> EpochTag {
    let mut tag = [0; 6];
    expand(s0, b"qrng epoch tag", &mut tag);
    EpochTag(tag)
}

/// The keys of one step. Boxed wherever it is kept, so that moving it leaves no copy behind. The AEAD's are in memory of
/// the library, which wipes it when it frees it.
pub(super) struct StepKeys {
    pub mac: Mac,
    /// None if the library has no memory for it.
    aead: Option<LessSafeKey>,
}

impl StepKeys {
    /// Each sequence number is used once under the keys of its step.
    fn nonce(sequence: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&sequence.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts `text` in place and returns the tag; [`None`] if it is longer than the AEAD allows.
    pub fn encrypt(&self, sequence: u64, aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        let (nonce, aad) = (Self::nonce(sequence), Aad::from(aad));
        let aead = self.aead.as_ref()?;
        let tag = aead.seal_in_place_separate_tag(nonce, aad, text).ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Decrypts what is in front of the tag at the end of `sealed`, in place, and returns it; [`None`] if the tag is
    /// wrong, and nothing is left then that could be used.
    pub fn decrypt<'t>(
        &self,
        sequence: u64,
        aad: &[u8],
        sealed: &'t mut [u8],
    ) -> Option<&'t mut [u8]> {
        let (nonce, aad) = (Self::nonce(sequence), Aad::from(aad));
        self.aead.as_ref()?.open_in_place(nonce, aad, sealed).ok()
    }
}

/// The secrets still to come: S_step, not yet expanded.
pub(super) struct Chain {
    secret: Secret,
    step: u64,
}

impl Chain {
    pub fn new(s0: Secret) -> Self {
        Chain {
            secret: s0,
            step: 0,
        }
    }

    /// The step whose keys [`Chain::next`] gives.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The keys of this step; the chain moves to the next one.
    pub fn next(&mut self) -> Box<StepKeys> {
        let mut okm = Zeroizing::new([0; 96]);
        expand(&self.secret, b"qrng step", &mut okm);
        let mut key = Secret::default();
        key.copy_from_slice(&okm[..32]);
        let mac = Mac::new(&key);
        key.copy_from_slice(&okm[32..64]);
        let aead = UnboundKey::new(&AES_256_GCM, &*key);
        let aead = aead.ok().map(LessSafeKey::new);
        self.secret.copy_from_slice(&okm[64..]);
        self.step += 1;
        Box::new(StepKeys { mac, aead })
    }

    /// Moves to the next step without making the keys of this one.
    fn skip(&mut self) {
        let mut okm = Zeroizing::new([0; 96]);
        expand(&self.secret, b"qrng step", &mut okm);
        self.secret.copy_from_slice(&okm[64..]);
        self.step += 1;
    }
}

/// Why there are no keys for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKeys {
    /// They were wiped.
    Gone,
    /// Too far ahead to be derived for a packet that nobody has verified.
    TooFarAhead,
}

/// The receiver's keys: of the newest step, of the one before while the window reaches it, and those derived for trial.
///
/// ```text
///   first            newest                 first + keys.len() = chain.step
///     │ previous step │ newest │ for trial ...│  (at most STEPS_AHEAD)
/// ```
pub(super) struct Ratchet {
    chain: Chain,
    first: u64,
    keys: VecDeque<Box<StepKeys>>,
    newest: u64,
}

impl Ratchet {
    pub fn new(s0: Secret) -> Self {
        Ratchet {
            chain: Chain::new(s0),
            first: 0,
            keys: VecDeque::with_capacity(STEPS_AHEAD as usize + 2),
            newest: 0,
        }
    }

    /// The newest step that an authenticated packet was in.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The keys of `step`, derived if need be. Costs at most [`STEPS_AHEAD`] derivations a verified step,
    /// however many packets ask.
    pub fn keys(&mut self, step: u64) -> Result<&StepKeys, NoKeys> {
        let index = step.checked_sub(self.first).ok_or(NoKeys::Gone)?;
        if step.saturating_sub(self.newest) > STEPS_AHEAD {
            return Err(NoKeys::TooFarAhead);
        }
        while self.chain.step() <= step {
            self.keys.push_back(self.chain.next());
        }
        let index = usize::try_from(index).map_err(|_| NoKeys::TooFarAhead)?;
        self.keys.get(index).map(|keys| &**keys).ok_or(NoKeys::Gone)
    }

    /// The keys of `step`, if they have been derived and [`Ratchet::keys`] would give them.
    pub fn present(&self, step: u64) -> Option<&StepKeys> {
        let index = usize::try_from(step.checked_sub(self.first)?).ok()?;
        self.keys.get(index).map(|keys| &**keys)
    }

    /// Moves to `step`, which an authenticated packet named, and wipes the keys before `oldest`.
    pub fn advance(&mut self, step: u64, oldest: u64) {
        self.newest = self.newest.max(step);
        while self.first < oldest.min(self.newest) {
            if self.keys.pop_front().is_none() {
                self.chain.skip();
            }
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn expanded<const N: usize>(prk: &str, label: &[u8]) -> [u8; N] {
        let mut secret = Secret::default();
        secret.copy_from_slice(&hex(prk));
        let mut okm = [0; N];
        expand(&secret, label, &mut okm);
        okm
    }

    /// RFC 5869 appendices A.1 to A.3: the expansion used here is the published one.
    #[test]
    fn hkdf_expand_known_answers() {
        let okm: [u8; 42] = expanded(
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            &hex("f0f1f2f3f4f5f6f7f8f9"),
        );
        let expected =
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
        assert_eq!(okm[..], hex(expected));
        let label: Vec<u8> = (0xb0..=0xff).collect();
        let okm: [u8; 82] = expanded(
            "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
            &label,
        );
        let expected = "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c\
                        59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71\
                        cc30c58179ec3e87c14c01d5c1f3434f1d87";
        assert_eq!(okm[..], hex(expected));
        let okm: [u8; 42] = expanded(
            "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
            &[],
        );
        let expected =
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8";
        assert_eq!(okm[..], hex(expected));
    }

    fn sign(keys: &StepKeys) -> [u8; 32] {
        keys.mac.sign(b"which step?")
    }

    #[test]
    fn both_ways_to_a_step_give_its_keys() {
        let mut chain = Chain::new(Secret::default());
        let all: Vec<_> = (0..40).map(|_| sign(&chain.next())).collect();
        let mut ratchet = Ratchet::new(Secret::default());
        assert_eq!(sign(ratchet.keys(3).unwrap()), all[3]);
        assert_eq!(sign(ratchet.keys(0).unwrap()), all[0]);
        assert_eq!(sign(ratchet.keys(16).unwrap()), all[16]);
        assert_eq!(ratchet.keys(17).err(), Some(NoKeys::TooFarAhead));
        // A jump over steps both derived and not.
        ratchet.advance(30, 29);
        assert_eq!(sign(ratchet.keys(30).unwrap()), all[30]);
        assert_eq!(sign(ratchet.keys(29).unwrap()), all[29]);
        assert_eq!(ratchet.keys(28).err(), Some(NoKeys::Gone));
        ratchet.advance(30, 30);
        assert_eq!(ratchet.keys(29).err(), Some(NoKeys::Gone));
        assert_eq!(sign(ratchet.keys(39).unwrap()), all[39]);
        // Backwards is no way.
        ratchet.advance(2, 1);
        assert_eq!(ratchet.newest(), 30);
        assert_eq!(ratchet.keys.len(), 10);
    }

    #[test]
    fn trials_are_bounded_and_kept() {
        let mut ratchet = Ratchet::new(Secret::default());
        for step in (0..=u64::MAX).step_by(u64::MAX as usize / 1000) {
            let _ = ratchet.keys(step);
        }
        for step in 0..100 {
            let _ = ratchet.keys(step);
        }
        assert_eq!(ratchet.keys.len() as u64, STEPS_AHEAD + 1);
        assert_eq!(ratchet.chain.step(), STEPS_AHEAD + 1);
    }
}
