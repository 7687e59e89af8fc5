//! TLS 1.3 for TCP: the certificate, which is read anew when its file changes, and clients that show one.
//!
//! The key exchange prefers X25519 with ML-KEM-768, as the link to the collector does.

use std::fmt::{self, Debug};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use qrng_daemon::read_secret;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;

/// The protocols that are spoken, best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where the certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The chain of certificates, in PEM.
    pub certificate: PathBuf,
    /// The key of its first, in PEM.
    pub key: PathBuf,
}

impl Files {
    /// Reads both; `seen` says what was read, so that a change can be told.
    fn read(&self) -> Result<(CertifiedKey, [u8; 32]), String> {
        let pem = read_all(&self.certificate)?;
        let key = read_secret(&self.key).map_err(|e| e.to_string())?;
        let seen = Sha256::new()
            .chain_update(&pem)
            .chain_update(key.as_bytes())
            .finalize()
            .into();
        let chain =
            certificates(&pem).map_err(|e| format!("{}: {e}", self.certificate.display()))?;
        let der = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| format!("{}: there is no private key in it", self.key.display()))?;
        let certified = CertifiedKey::from_der(chain, der, &provider()).map_err(|e| {
            format!(
                "{}: it is not the key of the certificate: {e}",
                self.key.display()
            )
        })?;
        Ok((certified, seen))
    }
}

/// The certificate that is shown at present.
pub struct Certificate {
    files: Files,
    present: RwLock<(Arc<CertifiedKey>, [u8; 32])>,
}

impl Certificate {
    /// Reads it.
    ///
    /// # Errors
    /// A file can't be read, or is not what it should be.
    pub fn read(files: Files) -> Result<Arc<Self>, String> {
        let (certified, seen) = files.read()?;
        Ok(Arc::new(Self {
            files,
            present: RwLock::new((Arc::new(certified), seen)),
        }))
    }

    /// Reads it anew; whether it has changed. New connections get the new one; those that there are go on.
    ///
    /// # Errors
    /// The files are not what they should be at this moment: the certificate that there was is shown further.
    pub fn refresh(&self) -> Result<bool, String> {
        let (certified, seen) = self.files.read()?;
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        let changed = present.1 != seen;
        if changed {
            *present = (Arc::new(certified), seen);
        }
        Ok(changed)
    }
}

/// The file, and nothing of the key.
impl Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("files", &self.files)
            .finish()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&present.0))
    }
}

/// Takes TLS connections. With `authority`, certificates in PEM, a client may show one that they have issued instead of a key.
///
/// # Errors
/// The authority is none.
pub fn acceptor(
    certificate: &Arc<Certificate>,
    authority: Option<&[u8]>,
) -> Result<TlsAcceptor, String> {
    let provider = Arc::new(provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| e.to_string())?;
    let builder = match authority {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem)? {
                roots
                    .add(certificate)
                    .map_err(|e| format!("it cannot be used: {e}"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|e| e.to_string())?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config =
        builder.with_cert_resolver(Arc::clone(certificate) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What the log calls a client that has shown a certificate: the first digits of its SHA-256.
pub fn name(certificate: &CertificateDer<'_>) -> String {
    let digest = Sha256::digest(certificate);
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Reads a file that is no secret.
///
/// # Errors
/// It can't be read.
pub fn read_all(path: &std::path::Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: cannot be read: {e}", path.display()))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("there is no certificate in it".into()),
        Ok(chain) => Ok(chain),
        Err(_) => Err("it is no PEM".into()),
    }
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}
