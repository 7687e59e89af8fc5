//! How often a client may ask: a bucket of permits that fills at a fixed rate.

use std::net::IpAddr;
use std::num::NonZeroU32;

use axum::http::HeaderValue;
use axum::http::header::{HeaderMap, HeaderName};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

/// Most addresses whose buckets are kept before the full ones are forgotten.
const ADDRESSES: usize = 4096;

/// Requests a second, and how many may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second in the long run; at least 1.
    pub per_second: u32,
    /// Requests at once after a pause; at least 1.
    pub burst: u32,
}

impl Rate {
    fn quota(self) -> Quota {
        let whole = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Quota::per_second(whole(self.per_second)).allow_burst(whole(self.burst))
    }
}

/// One client's bucket.
pub struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>,
    rate: Rate,
}

/// The buckets of clients that are told apart by their addresses.
pub struct Buckets {
    limiter:
        RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock, StateInformationMiddleware>,
    rate: Rate,
}

/// What a client is told of its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests that may come at once.
    pub limit: u32,
    /// Requests that may come now.
    pub remaining: u32,
    /// Seconds after which there is a permit again, if there is none now.
    pub retry_after: u64,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate) -> Self {
        Self {
            limiter: RateLimiter::direct(rate.quota()).with_middleware(),
            rate,
        }
    }

    /// Takes a permit.
    ///
    /// # Errors
    /// There is none.
    pub fn take(&self) -> Result<Standing, Standing> {
        let limit = self.rate.burst;
        match self.limiter.check() {
            Ok(snapshot) => Ok(Standing::good(limit, snapshot.remaining_burst_capacity())),
            Err(not) => Err(Standing::bad(
                limit,
                not.wait_time_from(DefaultClock::default().now()),
            )),
        }
    }
}

impl Buckets {
    /// None yet; each begins full.
    pub fn new(rate: Rate) -> Self {
        Self {
            limiter: RateLimiter::hashmap(rate.quota()).with_middleware(),
            rate,
        }
    }

    /// Takes a permit of `address`.
    ///
    /// # Errors
    /// There is none.
    pub fn take(&self, address: IpAddr) -> Result<Standing, Standing> {
        if self.limiter.len() > ADDRESSES {
            self.limiter.retain_recent();
        }
        let limit = self.rate.burst;
        match self.limiter.check_key(&network_of(address)) {
            Ok(snapshot) => Ok(Standing::good(limit, snapshot.remaining_burst_capacity())),
            Err(not) => Err(Standing::bad(
                limit,
                not.wait_time_from(DefaultClock::default().now()),
            )),
        }
    }
}

/// A host with IPv6 has a whole /64 of addresses, and one bucket.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
    }
}

impl Standing {
    fn good(limit: u32, remaining: u32) -> Self {
        Self {
            limit,
            remaining,
            retry_after: 0,
        }
    }

    fn bad(limit: u32, wait: std::time::Duration) -> Self {
        Self {
            limit,
            remaining: 0,
            retry_after: wait.as_secs_f64().ceil().max(1.0) as u64,
        }
    }

    /// Writes it into an answer.
    pub fn tell(self, headers: &mut HeaderMap) {
        const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
        const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
        const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(self.retry_after));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_says_when() {
        let bucket = Bucket::new(Rate {
            per_second: 1,
            burst: 3,
        });
        for remaining in [2, 1, 0] {
            assert_eq!(bucket.take().unwrap().remaining, remaining);
        }
        let standing = bucket.take().unwrap_err();
        assert_eq!((standing.limit, standing.remaining), (3, 0));
        assert!(standing.retry_after >= 1);
    }

    #[test]
    fn hosts_have_buckets_of_their_own() {
        let buckets = Buckets::new(Rate {
            per_second: 1,
            burst: 1,
        });
        let take = |address: &str| buckets.take(address.parse().unwrap()).is_ok();
        assert!(take("192.0.2.1") && !take("192.0.2.1") && take("192.0.2.2"));
        assert!(take("2001:db8::1") && !take("2001:db8::2") && take("2001:db8:0:1::1"));
    }
}
