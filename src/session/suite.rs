//! The one HPKE suite (RFC 9180): X-Wing (KEM 0x647a, X25519 and ML-KEM-768), HKDF-SHA256, export only, mode PSK.

use super::{SessionError, ratchet::Secret};
use crate::keys::{CollectorKey, GatewayKey, KeyId};
use crate::packet::ENCAPSULATION_LEN;
use hpke::aead::ExportOnlyAead;
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, XWing};
use hpke::{Deserializable, OpModeR, OpModeS, PskBundle, Serializable};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

pub(crate) type PublicKey = <XWing as Kem>::PublicKey;
pub(crate) type PrivateKey = <XWing as Kem>::PrivateKey;

const EXPORT: &[u8] = b"qrng session";

/// What both ends bind the session to: protocol, pair of keys, epoch.
fn info(id: KeyId, epoch: u64) -> [u8; 24] {
    let mut info = *b"qrng diode 2............";
    info[12..16].copy_from_slice(&id.0);
    info[16..].copy_from_slice(&epoch.to_be_bytes());
    info
}

/// Starts a session towards `key`: the encapsulation to announce, and S_0.
pub(super) fn send(
    key: &CollectorKey,
    epoch: u64,
    rng: &mut impl CryptoRng,
) -> Result<([u8; ENCAPSULATION_LEN], Secret), SessionError> {
    let id = key.key_id();
    let psk = PskBundle::new(&*key.psk, &id.0).map_err(|_| SessionError::Kem)?;
    let (encapsulation, context) =
        hpke::setup_sender_with_rng::<ExportOnlyAead, HkdfSha256, XWing>(
            &OpModeS::Psk(psk),
            &key.public,
            &info(id, epoch),
            rng,
        )
        .map_err(|_| SessionError::Kem)?;
    let mut secret = Secret::default();
    let exported = context.export(EXPORT, &mut *secret);
    exported.map_err(|_| SessionError::Kem)?;
    Ok((encapsulation.to_bytes().into(), secret))
}

/// Joins the session that `encapsulation` starts: S_0.
pub(super) fn receive(
    key: &GatewayKey,
    epoch: u64,
    encapsulation: &[u8],
) -> Result<Secret, SessionError> {
    let id = key.key_id();
    let psk = PskBundle::new(&**key.psk, &id.0).map_err(|_| SessionError::Kem)?;
    let private = key.private().ok_or(SessionError::Kem)?;
    let encapsulation = Deserializable::from_bytes(encapsulation).map_err(|_| SessionError::Kem)?;
    let context = hpke::setup_receiver::<ExportOnlyAead, HkdfSha256, XWing>(
        &OpModeR::Psk(psk),
        &private,
        &encapsulation,
        &info(id, epoch),
    )
    .map_err(|_| SessionError::Kem)?;
    let mut secret = Secret::default();
    let exported = context.export(EXPORT, &mut *secret);
    exported.map_err(|_| SessionError::Kem)?;
    Ok(secret)
}

pub(crate) fn key_pair(rng: &mut impl CryptoRng) -> (PrivateKey, PublicKey) {
    XWing::gen_keypair_with_rng(rng)
}

pub(crate) fn public_of(private: &PrivateKey) -> PublicKey {
    XWing::sk_to_pk(private)
}

pub(crate) fn public_from_bytes(bytes: &[u8]) -> Option<PublicKey> {
    PublicKey::from_bytes(bytes).ok()
}

pub(crate) fn public_to_bytes(public: &PublicKey) -> Vec<u8> {
    public.to_bytes().to_vec()
}

pub(crate) fn private_from_bytes(bytes: &[u8; 32]) -> Option<PrivateKey> {
    PrivateKey::from_bytes(bytes).ok()
}

pub(crate) fn private_to_bytes(private: &PrivateKey) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    private.write_exact(&mut *bytes);
    bytes
}
