//! How often an address may try.

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

/// Keys that are remembered. More at once are only met under attack.
const KEYS: usize = 16_384;

/// So many at once, then one each so often; for each key.
#[derive(Debug)]
pub(crate) struct Limit<K: Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
    /// What to answer those who find the memory full.
    pause: Duration,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    pub(crate) fn new(at_once: NonZeroU32, then_every: Duration) -> Self {
        // A quota of no time at all does not exist.
        let every = then_every.max(Duration::from_millis(1));
        let quota = Quota::with_period(every).unwrap_or(Quota::per_second(at_once)).allow_burst(at_once);
        Self { limiter: RateLimiter::keyed(quota), clock: DefaultClock::default(), pause: every }
    }

    /// Counts one try; if it is one too many, the time until the next.
    pub(crate) fn check(&self, key: &K) -> Result<(), Duration> {
        if self.limiter.len() >= KEYS {
            self.limiter.retain_recent();
            if self.limiter.len() >= KEYS {
                return Err(self.pause);
            }
        }
        self.limiter.check_key(key).map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

/// Whoever has one address of an IPv6 network has the other 2⁶⁴, too.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: NonZeroU32 = NonZeroU32::new(3).unwrap();

    #[test]
    fn each_key_has_its_own_tries() {
        let limit = Limit::new(THREE, Duration::from_secs(3600));
        for _ in 0..3 {
            assert_eq!(limit.check(&"a"), Ok(()));
        }
        let wait = limit.check(&"a").unwrap_err();
        assert!(wait > Duration::from_secs(3000) && wait <= Duration::from_secs(3600), "{wait:?}");
        assert_eq!(limit.check(&"b"), Ok(()));
    }

    #[test]
    fn the_memory_is_bounded() {
        let limit = Limit::new(THREE, Duration::from_secs(3600));
        let fitted = (0..KEYS + 100).filter(|key| limit.check(key).is_ok()).count();
        assert_eq!(fitted, KEYS);
    }

    #[test]
    fn an_ipv6_network_is_one() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(network("10.0.0.1"), "10.0.0.1");
    }
}
