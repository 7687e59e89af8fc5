//! Certificates for tests: an authority, and what it signs for servers and clients. All are PEM.

use std::fs;
use std::io;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// Why there is no certificate.
pub use rcgen::Error;

/// A certificate and its private key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// An authority that signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one with a name for people.
    ///
    /// # Errors
    /// There is no randomness for its key.
    pub fn new(name: &str) -> Result<Self, Error> {
        let mut params = params(name, &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self(CertifiedIssuer::self_signed(
            params,
            KeyPair::generate()?,
        )?))
    }

    /// Its own certificate, for those who trust it.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// For a server that is reached by these names and addresses.
    ///
    /// # Errors
    /// A name is none, or there is no randomness.
    pub fn server(&self, names: &[&str]) -> Result<Identity, Error> {
        self.sign(
            params("server", names)?,
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// The same, but it was valid in the year 2000 only.
    ///
    /// # Errors
    /// As [`Authority::server`].
    pub fn expired_server(&self, names: &[&str]) -> Result<Identity, Error> {
        let mut params = params("server", names)?;
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2000, 12, 31);
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// The same, but it will be valid from the year 2200 on.
    ///
    /// # Errors
    /// As [`Authority::server`].
    pub fn future_server(&self, names: &[&str]) -> Result<Identity, Error> {
        let mut params = params("server", names)?;
        params.not_before = date_time_ymd(2200, 1, 1);
        params.not_after = date_time_ymd(2200, 12, 31);
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// For a client.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn client(&self, name: &str) -> Result<Identity, Error> {
        self.sign(params(name, &[])?, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Identity, Error> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        Ok(Identity {
            certificate: params.signed_by(&key, &self.0)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// For a server, signed by itself, as devices make one for themselves; `authority`: it says that it may sign others.
///
/// # Errors
/// As [`Authority::server`].
pub fn self_signed(names: &[&str], authority: bool) -> Result<Identity, Error> {
    let mut params = params("device", names)?;
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate()?;
    Ok(Identity {
        certificate: params.self_signed(&key)?.pem(),
        key: key.serialize_pem(),
    })
}

fn params(name: &str, names: &[&str]) -> Result<CertificateParams, Error> {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

/// Writes a set for a server on this machine into an existing directory: `ca.pem`, `server.pem`, `server.key`, `client.pem`,
/// `client.key`, and `other-ca.pem`, which has signed none of them. Gives the authority and the server's identity.
///
/// # Errors
/// The files can't be written, or there is no randomness.
pub fn write_set(directory: &Path) -> io::Result<(Authority, Identity)> {
    let authority = Authority::new("software card").map_err(io::Error::other)?;
    let other = Authority::new("another authority").map_err(io::Error::other)?;
    let local = ["localhost", "127.0.0.1", "::1"];
    let server = authority.server(&local).map_err(io::Error::other)?;
    let client = authority.client("collector").map_err(io::Error::other)?;
    for (name, text) in [
        ("ca.pem", &authority.certificate()),
        ("server.pem", &server.certificate),
        ("server.key", &server.key),
        ("client.pem", &client.certificate),
        ("client.key", &client.key),
        ("other-ca.pem", &other.certificate()),
    ] {
        fs::write(directory.join(name), text)?;
    }
    Ok((authority, server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_written_for_a_server_here() {
        let directory = tempfile::tempdir().unwrap();
        let (authority, server) = write_set(directory.path()).unwrap();
        let read = |name| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(read("ca.pem"), authority.certificate());
        assert_eq!(read("server.key"), server.key);
        assert_ne!(read("ca.pem"), read("other-ca.pem"));
        for name in ["client.pem", "other-ca.pem"] {
            assert!(read(name).starts_with("-----BEGIN CERTIFICATE-----"));
        }
        assert!(read("client.key").starts_with("-----BEGIN PRIVATE KEY-----"));
        write_set(Path::new("/no/such/directory")).err().unwrap();
    }
}
