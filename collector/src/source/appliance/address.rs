//! Where an appliance is.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

/// The address of an appliance, as `https://host` or `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    encrypted: bool,
}

impl Address {
    /// Reads an address. Nothing is looked up.
    ///
    /// # Errors
    /// It is no such address, or has more than that in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("`{text}` {what}");
        let uri: Uri = text.trim().parse().map_err(|_| wrong("is no URL"))?;
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("does not begin with https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("has a user's name in it, which is not asked for"));
        }
        if uri.path_and_query().is_some_and(|path| path != "/") || text.contains('#') {
            return Err(wrong("goes on after the host; the path is known"));
        }
        let port = match (authority.port(), authority.as_str() == authority.host()) {
            (Some(port), _) => port.as_u16(),
            (None, true) if encrypted => 443,
            (None, true) => 80,
            (None, false) => return Err(wrong("has no port after `:`")),
        };
        let host = canonical(authority.host());
        if host.is_empty() || port == 0 {
            return Err(wrong("names no host and port that can be reached"));
        }
        Ok(Self {
            host,
            port,
            encrypted,
        })
    }

    /// The host: a name in lower case, or an IP address as it is usually written. What is asked
    /// through two ports of one host is taken for one device.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether bytes come by TLS.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = match self.encrypted {
            true => ("https", 443),
            false => ("http", 80),
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]", self.host)?,
            false => write!(f, "{scheme}://{}", self.host)?,
        }
        if self.port != usual {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

/// One spelling for each host.
fn canonical(host: &str) -> String {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().to_string(),
        Err(_) => bare.trim_end_matches('.').to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Address::parse(text).unwrap().to_string()
    }

    #[test]
    fn an_address_has_one_spelling() {
        for (text, usual) in [
            ("https://qrng-1.example", "https://qrng-1.example"),
            (" https://QRNG-1.Example.:443/ ", "https://qrng-1.example"),
            ("https://192.0.2.7:8443", "https://192.0.2.7:8443"),
            ("https://[2001:DB8:0::1]:443", "https://[2001:db8::1]"),
            ("https://[::ffff:192.0.2.7]", "https://192.0.2.7"),
            ("http://192.0.2.7:80", "http://192.0.2.7"),
            ("http://192.0.2.7:443", "http://192.0.2.7:443"),
        ] {
            assert_eq!(shown(text), usual);
            assert_eq!(shown(usual), usual);
        }
        let address = Address::parse("https://[2001:db8::1]:8443/").unwrap();
        assert_eq!(address.host(), "2001:db8::1");
        assert!(address.is_encrypted());
        assert!(!Address::parse("http://a").unwrap().is_encrypted());
    }

    #[test]
    fn anything_else_is_refused() {
        for (text, word) in [
            ("", "is no URL"),
            ("qrng-1.example", "does not begin with https://"),
            ("ftp://qrng-1.example", "does not begin with https://"),
            ("https://", "is no URL"),
            ("https://:443", "names no host"),
            ("https://a:0", "names no host and port"),
            ("https://a:70000", "no port"),
            ("https://a:", "no port"),
            ("https://user:secret@a", "user's name"),
            ("https://a/api/2.0/streambytes", "goes on after the host"),
            ("https://a/?size=5", "goes on after the host"),
            ("https://a#x", "goes on after the host"),
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
