//! Why an appliance is believed to be one, and why it lets us in: TLS 1.3 and certificates.
//!
//! The key exchange prefers X25519 with ML-KEM-768, as the link to the gateways does: what comes from an appliance is worth
//! recording for somebody who gets a quantum computer later. That is an offer; an appliance that does not know it takes
//! another.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, SupportedCipherSuite};
use thiserror::Error;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};

/// What is wrong with a certificate or key.
#[derive(Debug, Error)]
pub enum TrustError {
    /// Not PEM.
    #[error("it is no PEM: {0:?}")]
    Pem(PemError),
    /// PEM without what is wanted.
    #[error("there is no {0} in it")]
    Empty(&'static str),
    /// A certificate by which no other can be verified.
    #[error("a certificate in it cannot be used: {0}")]
    Authority(rustls::Error),
    /// A client key that cannot be used, or not with its certificate.
    #[error("the certificate and the key cannot be used together: {0}")]
    Client(rustls::Error),
}

/// Who issues the certificates of appliances.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities(Vec<CertificateDer<'static>>);

impl Authorities {
    /// Reads certificates in PEM.
    ///
    /// # Errors
    /// There is none, or one that cannot be used.
    pub fn parse(pem: &[u8]) -> Result<Self, TrustError> {
        let certificates = certificates(pem)?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            let added = store.add(certificate.clone());
            added.map_err(TrustError::Authority)?;
        }
        Ok(Self(certificates))
    }
}

/// Who we are to an appliance that asks.
#[derive(Clone)]
pub struct Client(ClientCert);

impl Client {
    /// Reads a chain of certificates and the key of its first, both in PEM.
    ///
    /// # Errors
    /// They cannot be read or used, or do not belong together.
    pub fn parse(chain: &[u8], key: &str) -> Result<Self, TrustError> {
        let chain = certificates(chain)?;
        let pem = key.as_bytes();
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
            PemError::NoItemsFound => TrustError::Empty("private key"),
            other => TrustError::Pem(other),
        })?;
        // What is done with them at the first connection, where an error would be too late.
        ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(TrustError::Client)?
            .with_root_certificates(RootCertStore::empty())
            .with_client_auth_cert(chain.clone(), der)
            .map_err(TrustError::Client)?;
        let key = PrivateKey::from_pem(pem).map_err(|_| TrustError::Empty("private key"))?;
        Ok(Self(ClientCert::new_with_certs(&shared(&chain), key)))
    }
}

impl PartialEq for Client {
    fn eq(&self, other: &Self) -> bool {
        let (own, other) = (&self.0, &other.0);
        let same_chain = own
            .certs()
            .iter()
            .map(|certificate| certificate.der())
            .eq(other.certs().iter().map(|certificate| certificate.der()));
        same_chain && own.private_key().der() == other.private_key().der()
    }
}

impl Eq for Client {}

/// Whether and by whom appliances are verified.
#[derive(Clone, PartialEq, Eq)]
pub enum Verification {
    /// Their certificates must be issued by one of these, and be for the host that was asked for.
    By(Authorities),
    /// Anybody is believed to be one.
    Skipped,
}

/// What a connection is to be like.
#[derive(Clone, PartialEq, Eq)]
pub struct Trust {
    /// Whether and by whom appliances are verified.
    pub verification: Verification,
    /// Who we are, if they ask.
    pub client: Option<Client>,
}

impl Trust {
    /// TLS 1.3 with these certificates.
    pub(crate) fn tls(&self) -> TlsConfig {
        let builder = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(provider()))
            .client_cert(self.client.as_ref().map(|client| client.0.clone()));
        match &self.verification {
            Verification::By(Authorities(all)) => {
                builder.root_certs(RootCerts::from(shared(all))).build()
            }
            Verification::Skipped => builder.disable_verification(true).build(),
        }
    }
}

/// How many authorities there are, whether there is a client certificate, and nothing of its key.
impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authorities = match &self.verification {
            Verification::By(Authorities(all)) => all.len(),
            Verification::Skipped => 0,
        };
        f.debug_struct("Trust")
            .field("authorities", &authorities)
            .field("client", &self.client.is_some())
            .finish()
    }
}

/// Cryptography for TLS 1.3 alone: without cipher suites for TLS 1.2, that is not offered.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let is_new = |suite: &SupportedCipherSuite| matches!(suite, SupportedCipherSuite::Tls13(_));
    provider.cipher_suites.retain(is_new);
    provider
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(TrustError::Pem)?;
    if all.is_empty() {
        return Err(TrustError::Empty("certificate"));
    }
    Ok(all)
}

fn shared(all: &[CertificateDer<'_>]) -> Vec<Certificate<'static>> {
    let all = all.iter().map(|der| Certificate::from_der(der).to_owned());
    all.collect()
}
