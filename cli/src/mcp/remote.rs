//! Bytes of a gateway elsewhere, over HTTPS: `GET /api/v1/random/bytes?count=&format=hex` and `GET /api/status`, with a key.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use qrng_mcp::{NoBytes, Provenance, Supply};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use zeroize::Zeroizing;

use super::{URL, WAIT};

/// The longest answer that is read, in bytes.
const LONGEST: u64 = 256 * 1024;

/// How long a request may take altogether, beyond the wait for bytes.
const LIMIT: Duration = Duration::from_secs(20);

/// A gateway's HTTP interface.
pub(super) struct Remote {
    agent: Agent,
    /// Without a slash at its end.
    url: String,
    authorization: Zeroizing<String>,
}

impl Remote {
    /// The gateway at `url`, which is asked with `key` and verified by the authorities in `ca_file`.
    ///
    /// # Errors
    /// The address is none, or would send the key unencrypted over a network; or the authorities can't be read.
    pub(super) fn new(url: &str, key: &str, ca_file: &Path) -> anyhow::Result<Self> {
        let url = url.trim_end_matches('/');
        let encrypted = is_encrypted(url)?;
        if key.chars().any(|c| !c.is_ascii_graphic()) {
            bail!("the gateway's key has characters that no key has: see that it was copied whole");
        }
        let mut config = Agent::config_builder()
            .https_only(encrypted)
            // Neither a proxy that the environment names, nor where a redirect points.
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_global(Some(LIMIT + WAIT))
            .user_agent(concat!("qrng/", env!("CARGO_PKG_VERSION")));
        if encrypted {
            config = config.tls_config(tls(ca_file)?);
        }
        Ok(Self {
            agent: config.build().into(),
            url: url.to_owned(),
            authorization: Zeroizing::new(format!("Bearer {key}")),
        })
    }

    /// The body of an answer that says all is well; else words.
    fn get(&self, path: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        let url = format!("{}{path}", self.url);
        let answer = self
            .agent
            .get(&url)
            .header("authorization", self.authorization.as_str())
            .header("accept", "application/json")
            .header("cache-control", "no-store")
            .call();
        let mut answer =
            answer.map_err(|e| format!("the gateway at {} cannot be asked: {e}", self.url))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(LONGEST).read_to_vec();
        let body =
            body.map_err(|e| format!("the gateway at {} gave half an answer: {e}", self.url))?;
        let body = Zeroizing::new(body);
        if status == 200 {
            return Ok(body);
        }
        Err(format!(
            "the gateway at {} refuses ({status}): {}",
            self.url,
            refusal(status, &body)
        ))
    }
}

impl Supply for Remote {
    fn fill(&self, out: &mut [u8]) -> Result<(), NoBytes> {
        let (count, wait) = (out.len(), WAIT.as_millis());
        let path = format!("/api/v1/random/bytes?count={count}&format=hex&wait={wait}");
        let body = self.get(&path).map_err(NoBytes)?;
        if take(&body, out) {
            return Ok(());
        }
        qrng::wipe(out);
        Err(NoBytes(format!(
            "what answers at {} is no gateway, or one of another version: see {URL}",
            self.url
        )))
    }

    fn provenance(&self) -> Provenance {
        match self.get("/api/status") {
            Ok(document) => Provenance::of_status(&document),
            Err(words) => Provenance::unknown(words),
        }
    }
}

/// Takes the bytes out of an answer: `{"success":true,"data":{"bytes":"<hex>"}}`. False if it has not exactly as many.
fn take(body: &[u8], out: &mut [u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return false;
    };
    let digits = value
        .pointer("/data/bytes")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .as_bytes();
    if digits.len() != out.len() * 2 {
        return false;
    }
    let digit = |c: &u8| char::from(*c).to_digit(16);
    out.iter_mut()
        .zip(digits.chunks_exact(2))
        .all(|(byte, pair)| {
            let (Some(high), Some(low)) = (digit(&pair[0]), digit(&pair[1])) else {
                return false;
            };
            *byte = (high << 4 | low) as u8;
            true
        })
}

/// What a refusal says (problem details, RFC 9457), or what its number means.
fn refusal(status: u16, body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = ["detail", "title", "error"]
        .iter()
        .find_map(|name| problem.get(name)?.as_str());
    match (said, status) {
        (Some(words), _) => words.chars().take(300).collect(),
        (None, 401 | 403) => "the key is not one of its keys".into(),
        (None, 404) => format!("there is no such interface; see {URL}"),
        (None, 429) => "too many requests with this key; wait".into(),
        (None, _) => "it says no more".into(),
    }
}

/// Whether the address is HTTPS; plain HTTP is for this host alone.
fn is_encrypted(url: &str) -> anyhow::Result<bool> {
    let parsed: ureq::http::Uri = url.parse().with_context(|| {
        format!("{URL}: {url:?} is no address; give one such as https://gateway.example:8443")
    })?;
    let host = parsed.host().unwrap_or_default();
    match parsed.scheme_str() {
        Some("https") => Ok(true),
        Some("http") if ["localhost", "127.0.0.1", "[::1]"].contains(&host) => Ok(false),
        Some("http") => {
            bail!("{URL}: {url} would send the key and the bytes in the clear; give https://")
        }
        _ => bail!(
            "{URL}: {url:?} has no https://; give an address such as https://gateway.example:8443"
        ),
    }
}

fn tls(ca_file: &Path) -> anyhow::Result<TlsConfig> {
    let what = || {
        format!(
            "{}: no certificates of authorities; name a file of them with --ca-file",
            ca_file.display()
        )
    };
    let pem = fs::read(ca_file).with_context(what)?;
    let authorities = CertificateDer::pem_slice_iter(&pem)
        .map(|der| Ok(Certificate::from_der(&der?).to_owned()))
        .collect::<Result<Vec<_>, rustls::pki_types::pem::Error>>();
    let authorities = authorities
        .ok()
        .filter(|all| !all.is_empty())
        .with_context(what)?;
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .root_certs(RootCerts::from(authorities))
        .build())
}
