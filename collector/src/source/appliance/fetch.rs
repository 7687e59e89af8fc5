//! One appliance's answers, one request after the other over a connection that is kept.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};

use ureq::http::header::{CACHE_CONTROL, CONTENT_ENCODING, LOCATION};
use ureq::http::{HeaderMap, HeaderName, Response};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use super::answer::{self, Head};
use super::{Address, PATH, Settings, trouble};
use crate::source::{Failure, Fault};

/// Asks one appliance.
pub(super) struct Fetch {
    agent: Agent,
    url: String,
    /// Bytes asked for at a time.
    size: usize,
    body: Zeroizing<Vec<u8>>,
    hasher: RandomState,
    /// The hash of the last answer, which tells the same one without keeping it.
    last: Option<u64>,
}

impl Fetch {
    /// For the appliance at `address`.
    pub(super) fn new(address: &Address, settings: &Settings) -> Self {
        let config = Agent::config_builder()
            .tls_config(settings.trust.tls())
            .https_only(address.is_encrypted())
            // Neither a proxy that the environment names, nor where a redirect points.
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_global(Some(settings.timeout))
            .max_idle_connections_per_host(1)
            .user_agent(concat!("qrng-collector/", env!("CARGO_PKG_VERSION")))
            .build();
        // A byte more tells a body that is too long.
        let room = answer::longest(settings.size) + 1;
        Self {
            agent: config.into(),
            url: format!("{address}{PATH}?size={}", settings.size),
            size: settings.size,
            body: Zeroizing::new(vec![0; room]),
            hasher: RandomState::new(),
            last: None,
        }
    }

    /// Asks once, and waits for the whole answer, but not beyond the time-out.
    ///
    /// # Errors
    /// The appliance cannot be reached or believed, or does not answer with random bytes that are new.
    pub(super) fn ask(&mut self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let request = self.agent.get(&self.url).header(CACHE_CONTROL, "no-store");
        let response = request.call().map_err(trouble::failure)?;
        let head = head(&response);
        head.check(self.size)?;
        let length = self.read(response)?;
        let body = &mut self.body[..length];
        let mut bytes = Zeroizing::new(vec![0; self.size]);
        let taken = answer::take(body, &mut bytes);
        body.fill(0);
        taken?;
        let hash = self.hasher.hash_one(&*bytes);
        if self.last.replace(hash) == Some(hash) {
            return Err(Failure::new(
                Fault::Nonsense,
                "gave the same bytes twice; see whether its generator works, and that no cache is in between",
            ));
        }
        Ok(bytes)
    }

    /// Reads the body of an answer, and says how long it is.
    fn read(&mut self, response: Response<Body>) -> Result<usize, Failure> {
        let mut reader = response.into_body().into_reader();
        let mut length = 0;
        while let Some(room) = self.body.get_mut(length..).filter(|room| !room.is_empty()) {
            match reader.read(room) {
                Ok(0) => return Ok(length),
                Ok(count) => length += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(trouble::failure(e.into())),
            }
        }
        Err(answer::long(length as u64, self.size))
    }
}

fn head(response: &Response<Body>) -> Head<'_> {
    fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
        // What is no text is told as nothing.
        headers.get(name).map(|value| value.to_str().unwrap_or(""))
    }
    let headers = response.headers();
    Head {
        status: response.status().as_u16(),
        encoding: text(headers, CONTENT_ENCODING),
        length: response.body().content_length(),
        location: text(headers, LOCATION),
    }
}
