//! What goes wrong on the way to a gateway that is pushed to, in words that follow its name. Never words of the other end.

use std::io::{self, ErrorKind};
use std::time::Duration;

use rustls::Error as TlsError;
use ureq::Error;

use crate::source::appliance::trouble::{certificate, is_unknown_name, lacks_tls13};

/// Why a body may not have been handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// In words.
    pub(super) text: String,
    /// How long to wait before the next try, if the answer says so.
    pub(super) pause: Option<Duration>,
}

impl From<String> for Trouble {
    fn from(text: String) -> Self {
        Self { text, pause: None }
    }
}

/// What an answer other than success means to an operator.
pub(super) fn answer(status: u16, pause: Option<Duration>) -> Trouble {
    let text = match status {
        401 => "does not know the key (401); put the one that `qrng-http --new-key` has printed for this collector into api-key"
            .into(),
        403 => "knows the key for something else (403); its line must be in the file that push.keys names there".into(),
        404 => "takes no packets at this url (404); add the section [push] to its http.toml, or see the url".into(),
        429 => "wants fewer requests, or fewer bodies at a time (429); raise its rate.per-second, or the interval here, or have fewer \
                collectors push to it"
            .into(),
        503 => "cannot hand over packets (503); see whether the gateway runs on that host".into(),
        400 | 413 | 415 => format!("does not understand the packets ({status}); use one version of qrng at both ends"),
        300..400 => format!("sends us elsewhere ({status}), where we do not go; give that url, if it is right"),
        _ => format!("answers {status}; see its log"),
    };
    Trouble { text, pause }
}

/// What an error of a request means to an operator.
pub(super) fn of(error: &Error) -> Trouble {
    match error {
        Error::Timeout(_) => {
            format!("gave no answer in time ({error}); see whether it is up, and the network")
        }
        Error::HostNotFound => "has a name that is not known; give its IP address in url".into(),
        Error::Rustls(error) => tls(error),
        Error::Io(error) => of_io(error),
        Error::Protocol(_) | Error::Http(_) | Error::LargeResponseHeader(..) => {
            "gives no answer of HTTP; see that url leads to qrng-http".into()
        }
        other => format!("cannot be pushed to: {other}"),
    }
    .into()
}

fn of_io(error: &io::Error) -> String {
    let inner = error.get_ref();
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<TlsError>()) {
        return tls(error);
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            "refuses connections: nothing listens there; see the port in url, and whether it is up"
                .into()
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            format!("cannot be reached ({error}); see the address in url, and the route to it")
        }
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe => {
            format!("ended the connection without an answer ({error}); see its log")
        }
        _ if is_unknown_name(error) => {
            format!("has a name that cannot be looked up ({error}); give its IP address in url")
        }
        _ => format!("cannot be pushed to: {error}"),
    }
}

/// What an error of TLS means to an operator.
fn tls(error: &TlsError) -> String {
    match error {
        TlsError::InvalidCertificate(error) => certificate(error, "url"),
        TlsError::InvalidMessage(_) => {
            "does not speak TLS on this port; see the port in url".into()
        }
        error if lacks_tls13(error) => {
            "does not speak TLS 1.3; see that url leads to qrng-http".into()
        }
        other => {
            format!("cannot be pushed to by TLS: {other}; see that url leads to qrng-http")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_says_what_to_do() {
        for status in [302, 400, 401, 403, 404, 413, 415, 429, 500, 503] {
            let trouble = answer(status, None);
            assert!(trouble.text.contains(&status.to_string()), "{status}");
            assert!(trouble.text.contains(';'), "{status}");
        }
        let refused = of(&Error::Io(ErrorKind::ConnectionRefused.into()));
        assert!(refused.text.contains("nothing listens"), "{}", refused.text);
        let unknown = TlsError::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert!(of(&Error::Rustls(unknown)).text.contains("ca-file"));
        let inner = io::Error::other(TlsError::InvalidMessage(
            rustls::InvalidMessage::InvalidContentType,
        ));
        assert!(of(&Error::Io(inner)).text.contains("does not speak TLS"));
    }
}
