//! Under which names this service is asked without a key.
//!
//! A page of another site can have a browser of an open network ask here: its own name is made to lead to this service (DNS
//! rebinding). The browser then takes the answer for that site's, and says its name in `Host`. So a request that needs no key is answered
//! only if it calls this service by an address, which cannot be rebound, or by a name that is known.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::uri::{Authority, Uri};

/// Names that are known, in small letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// These names, and `localhost`.
    ///
    /// # Errors
    /// The first that is no name of a host.
    pub fn new(names: &[String]) -> Result<Self, String> {
        let wrong = names.iter().find(|name| !is_name(name));
        match wrong {
            Some(name) => Err(format!("{name:?} is no name of a host")),
            None => Ok(Self(names.iter().map(|name| plain(name)).collect())),
        }
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether a request calls this service by a name that is known, or by an address. One that has no name is no browser's.
    pub fn know(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(HOST).iter();
        let host = given.next().map(|value| {
            let authority = value.to_str().ok()?.parse::<Authority>().ok()?;
            Some(authority.host().to_owned())
        });
        if given.next().is_some() {
            return false;
        }
        let named = uri.authority().map(|authority| authority.host());
        match (host, named) {
            (None, None) => true,
            (Some(None), _) => false,
            (Some(Some(host)), named) => {
                self.is_known(&host) && named.is_none_or(|named| self.is_known(named))
            }
            (None, Some(named)) => self.is_known(named),
        }
    }

    fn is_known(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = plain(host);
        bare.parse::<IpAddr>().is_ok() || name == "localhost" || self.0.contains(&name)
    }
}

/// One spelling for each name.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=253).contains(&name.len()) && name.chars().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        Hosts::new(&["Gateway.Example".into(), "rng".into()]).unwrap()
    }

    fn know(uri: &str, given: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for host in given {
            headers.append(HOST, host.parse().unwrap());
        }
        hosts().know(&uri.parse().unwrap(), &headers)
    }

    #[test]
    fn addresses_and_names_that_are_given_are_known() {
        for host in [
            "127.0.0.1",
            "192.0.2.7:8443",
            "[::1]:8443",
            "[2001:db8::1]",
            "localhost",
            "LOCALHOST:80",
            "gateway.example:8443",
            "gateway.example.",
            "rng",
        ] {
            assert!(know("/", &[host]), "{host}");
        }
        assert!(know("/", &[]));
        assert!(know("https://gateway.example:8443/", &[]));
    }

    #[test]
    fn names_of_others_are_not() {
        for host in [
            "evil.example",
            "gateway.example.evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:8443",
            "",
            "127.0.0.1@evil.example",
            "a b",
        ] {
            assert!(!know("/", &[host]), "{host}");
        }
        assert!(!know("https://evil.example/", &[]));
        assert!(!know("https://evil.example/", &["127.0.0.1"]));
        assert!(!know("/", &["127.0.0.1", "evil.example"]));
    }

    #[test]
    fn what_is_no_name_is_told() {
        for wrong in ["", "*", "a/b", "a:80", "https://a", "a b"] {
            let error = Hosts::new(&[wrong.into()]).unwrap_err();
            assert!(error.contains("no name"), "{error}");
        }
    }
}
