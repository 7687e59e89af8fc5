//! One gateway's way in: bodies are posted, one after the other over a connection that is kept.

use std::time::Duration;

use qrng::push::{MEDIA_TYPE, PATH};
use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, EXPECT, RETRY_AFTER};
use ureq::http::{HeaderValue, Response};

use super::trouble::{self, Trouble};
use crate::source::appliance::trust::{Authorities, Trust, Verification};

/// How long connecting may take, TLS included.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a whole request may take beside its body ...
const WHOLE: Duration = Duration::from_secs(30);

/// ... and how many bytes of that are waited for a second, so that a full body gets over a slow line before it is stale.
const SLOWEST: u64 = 2048;

/// The longest pause that an answer may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Posts to one gateway.
pub(super) struct Post {
    agent: Agent,
    url: String,
    authorization: HeaderValue,
    /// Whether the next body waits until the server will take one.
    asks_first: bool,
}

impl Post {
    /// To `https://` of a host, without a path, with this key. Its certificate must be of one of `authorities`, and for that host.
    ///
    /// # Errors
    /// The key cannot be one.
    pub(super) fn new(host: &str, key: &str, authorities: Authorities) -> Result<Self, String> {
        let trust = Trust {
            verification: Verification::By(authorities),
            client: None,
        };
        let config = Agent::config_builder()
            .tls_config(trust.tls())
            .https_only(true)
            // Neither a proxy that the environment names, nor where a redirect points.
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .max_idle_connections_per_host(1)
            .user_agent(concat!("qrng-collector/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: config.into(),
            url: format!("{host}{PATH}"),
            authorization: authorization(key)?,
            asks_first: true,
        })
    }

    /// Posts a body, and waits for the answer. The first one, and one after a failure, is sent when the server has said that it will
    /// take it (`Expect: 100-continue`, RFC 9110 section 10.1.1): a refusal that comes before the body has been sent ends the connection, and would not be
    /// read.
    ///
    /// # Errors
    /// It is not known to have been handed over.
    pub(super) fn post(&mut self, body: &[u8]) -> Result<(), Trouble> {
        let result = self.send(body);
        self.asks_first = result.is_err();
        result
    }

    fn send(&self, body: &[u8]) -> Result<(), Trouble> {
        let mut request = self
            .agent
            .post(&self.url)
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .config()
            .timeout_global(Some(limit(body.len())))
            .build();
        if self.asks_first {
            request = request.header(EXPECT, "100-continue");
        }
        let response = request.send(body).map_err(|e| trouble::of(&e))?;
        let status = response.status().as_u16();
        if response.status().is_success() {
            return Ok(());
        }
        Err(trouble::answer(status, pause(&response)))
    }
}

/// How long a request with a body of so many bytes may take.
fn limit(bytes: usize) -> Duration {
    WHOLE + Duration::from_secs(bytes as u64 / SLOWEST)
}

/// The header that shows the key, and is never shown itself.
fn authorization(key: &str) -> Result<HeaderValue, String> {
    let is_key = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_key(key) {
        return Err("is no key in one line".into());
    }
    let mut value = HeaderValue::try_from(format!("Bearer {key}"))
        .map_err(|_| "is no key in one line".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether `text` can be a file with a key: one line.
///
/// # Errors
/// What is wrong, without the key.
pub fn check_key(text: &str) -> Result<(), String> {
    authorization(text.trim()).map(|_| ())
}

/// How long the answer asks to wait.
fn pause<B>(response: &Response<B>) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?;
    let seconds = value.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_word_and_is_not_shown() {
        assert!(check_key("0123abcd\n").is_ok());
        for wrong in ["", "\n", "two words", "two\nlines", "caf\u{e9}"] {
            let error = check_key(wrong).unwrap_err();
            assert_eq!(error, "is no key in one line");
        }
        let shown = format!("{:?}", authorization("0123abcd").unwrap());
        assert!(!shown.contains("0123abcd"), "{shown}");
    }

    #[test]
    fn the_longest_body_may_take_long_and_not_until_it_is_stale() {
        let longest = limit(qrng::push::BODY_MAX);
        assert!(longest > Duration::from_secs(120) && longest < crate::pusher::queue::STALE);
        assert_eq!(limit(0), WHOLE);
    }

    #[test]
    fn an_answer_may_ask_for_a_pause_and_not_for_a_long_one() {
        let asks = |value: &'static str| {
            let response = Response::builder().header(RETRY_AFTER, value);
            pause(&response.body(()).unwrap())
        };
        assert_eq!(asks("3"), Some(Duration::from_secs(3)));
        assert_eq!(asks("100000"), Some(LONGEST_PAUSE));
        assert_eq!(asks("-1"), None);
        assert_eq!(asks("Thu, 01 Jan 1970 00:00:00 GMT"), None);
    }
}
