//! What goes wrong on the way to an appliance, in words that follow its name.

use std::io::{self, ErrorKind};

use rustls::AlertDescription as Alert;
use rustls::{CertificateError, Error as TlsError, PeerIncompatible};
use ureq::Error;

use crate::source::{Failure, Fault};

/// How the standard library begins what it says of a name that is not known.
const UNKNOWN_NAME: &str = "failed to lookup address information";

/// What an error of a request means to an operator.
pub(super) fn failure(error: Error) -> Failure {
    match error {
        Error::Timeout(_) => Failure::new(
            Fault::Silent,
            format!(
                "gave no whole answer in time ({error}); see whether it is up, and the network"
            ),
        ),
        Error::HostNotFound => unavailable("has a name that is not known; give its IP address"),
        Error::Rustls(error) => tls(&error),
        Error::Io(error) => of_io(&error),
        Error::Protocol(_) | Error::Http(_) | Error::LargeResponseHeader(..) => Failure::new(
            Fault::Nonsense,
            format!("gives no answer of HTTP ({error}); see that urls leads to the appliance"),
        ),
        other => Failure::new(Fault::Io, format!("cannot be asked: {other}")),
    }
}

fn unavailable(text: impl Into<String>) -> Failure {
    Failure::new(Fault::Unavailable, text)
}

fn of_io(error: &io::Error) -> Failure {
    let inner = error.get_ref();
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<TlsError>()) {
        return tls(error);
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => unavailable(
            "refuses connections: nothing listens there; see the port in urls, and whether it is up",
        ),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => unavailable(format!(
            "cannot be reached ({error}); see the address in urls, and the route to it"
        )),
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe => Failure::new(
            Fault::Io,
            format!("ended the connection without a whole answer ({error}); see its own log"),
        ),
        // The resolver's errors have no kind of their own.
        _ if is_unknown_name(error) => unavailable(format!(
            "has a name that cannot be looked up ({error}); give its IP address in urls"
        )),
        _ => Failure::new(Fault::Io, format!("cannot be asked: {error}")),
    }
}

/// What an error of TLS means to an operator.
fn tls(error: &TlsError) -> Failure {
    unavailable(match error {
        TlsError::InvalidCertificate(error) => certificate(error, "urls"),
        error if lacks_tls13(error) => {
            "does not speak TLS 1.3; update it, or put a server in front of it that does".into()
        }
        TlsError::AlertReceived(Alert::CertificateRequired) => {
            "wants a client certificate; give client-certificate and client-key".into()
        }
        TlsError::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::AccessDenied
            | Alert::DecryptError),
        ) => format!(
            "does not accept who we are ({alert:?}); give a client-certificate that it knows"
        ),
        TlsError::InvalidMessage(_) => {
            "does not speak TLS on this port; see the port in urls".into()
        }
        other => format!("cannot be asked by TLS: {other}; see that urls leads to the appliance"),
    })
}

/// Whether the standard library says that a name is not known.
pub(crate) fn is_unknown_name(error: &io::Error) -> bool {
    error.to_string().starts_with(UNKNOWN_NAME)
}

/// Whether the other end does not speak TLS 1.3.
pub(crate) fn lacks_tls13(error: &TlsError) -> bool {
    matches!(
        error,
        TlsError::AlertReceived(Alert::ProtocolVersion)
            | TlsError::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                    | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            )
    )
}

/// What is wrong with the certificate of an appliance, or of another server, and what mends it. `key` is where its address is given.
pub(crate) fn certificate(error: &CertificateError, key: &str) -> String {
    use CertificateError as E;
    match error {
        E::UnknownIssuer | E::BadSignature => {
            "shows a certificate that nobody in ca-file has issued; \
             put the certificate of who did there"
                .into()
        }
        E::Expired | E::ExpiredContext { .. } => {
            "shows a certificate that has expired; renew it, or set this host's clock right".into()
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "shows a certificate that is not valid yet; set the clocks right, this host's first"
                .into()
        }
        E::NotValidForName => another_host("another host", key),
        E::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            another_host("no host (it has no subject alternative name)", key)
        }
        E::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
            another_host(&names.join(", "), key)
        }
        // The verifier's own name for it, which has no variant here.
        E::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "shows the certificate of an authority as its own; \
             give it one of its own, which has basicConstraints CA:FALSE"
                .into()
        }
        other => format!("shows a certificate that cannot be used: {other}; give it another"),
    }
}

/// A name as in a certificate, of what the library writes as `DnsName("a.example")` or `IpAddress(192.0.2.1)`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner);
    inner.trim_matches(['"', ')'])
}

fn another_host(whose: &str, key: &str) -> String {
    format!(
        "shows a certificate for {whose}; use that name in {key}, or give it a certificate for this one"
    )
}
