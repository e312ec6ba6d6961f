//! What one address may ask for, in tables that can not grow past their bound (rendezvous §5.6).

use crate::clock::Tick;
use crate::registry::Rate;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// A map that forgets: entries untouched for one to two `span`s go, and when `capacity` is reached the
/// half that was untouched longest goes at once. Every operation takes constant time.
#[derive(Debug)]
pub struct Fading<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// When `young` was begun.
    since: Tick,
    span: Duration,
    capacity: usize,
}

impl<K: Eq + Hash + Clone, V: Default> Fading<K, V> {
    pub fn new(span: Duration, capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), since: Tick::NEVER, span, capacity }
    }

    /// The entry of `key`, a new one if there is none.
    pub fn entry(&mut self, key: K, now: Tick) -> &mut V {
        if !self.since.within(self.span, now)
            || (self.young.len() >= self.capacity / 2 && !self.young.contains_key(&key))
        {
            // The old generation's memory goes with it.
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
        let kept = self.old.remove(&key);
        self.young.entry(key).or_insert_with(|| kept.unwrap_or_default())
    }

    /// The entry of `key` without touching it.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Entries held, faded ones that have not gone yet included.
    pub fn held(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

/// What counts as one address: an IPv4 address, or the /64 of IPv6 that one customer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(ip: IpAddr) -> Self {
        Self(match ip {
            IpAddr::V4(_) => ip,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        })
    }
}

/// Bounds on claims of ids by one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimLimits {
    /// Claims of any id. Stock: 32, begun anew after 60 s without an accepted one.
    pub claims: Rate,
    /// Ids that were not registered before. Stock: about 300, begun anew after a day without one.
    pub new_ids: u16,
    pub new_ids_window: Duration,
    /// Addresses remembered at a time.
    pub addresses: usize,
}

impl Default for ClaimLimits {
    fn default() -> Self {
        Self {
            claims: Rate { count: 32, window: Duration::from_secs(60) },
            new_ids: 300,
            new_ids_window: Duration::from_secs(86_400),
            addresses: 65_536,
        }
    }
}

#[derive(Debug, Default)]
struct Claims {
    count: u8,
    new_ids: u16,
    at: Tick,
    new_at: Tick,
}

/// Counts claims by address.
#[derive(Debug)]
pub struct ClaimCounter {
    limits: ClaimLimits,
    by_network: Fading<Network, Claims>,
}

impl ClaimCounter {
    pub fn new(limits: ClaimLimits) -> Self {
        Self { limits, by_network: Fading::new(limits.new_ids_window, limits.addresses) }
    }

    /// Whether `ip` may claim an id now, `new` or not; counts it if so. What is refused does not make
    /// the wait longer.
    pub fn admit(&mut self, ip: IpAddr, new: bool, now: Tick) -> bool {
        let claims = self.by_network.entry(ip.into(), now);
        if !claims.at.within(self.limits.claims.window, now) {
            claims.count = 0;
        }
        if !claims.new_at.within(self.limits.new_ids_window, now) {
            claims.new_ids = 0;
        }
        if claims.count >= self.limits.claims.count || (new && claims.new_ids >= self.limits.new_ids) {
            return false;
        }
        claims.count += 1;
        claims.at = now;
        if new {
            claims.new_ids += 1;
            claims.new_at = now;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    fn counter(new_ids: u16) -> (ClaimCounter, Tick) {
        (ClaimCounter::new(ClaimLimits { new_ids, ..ClaimLimits::default() }), Tick::NEVER.after(START))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn thirty_two_claims_pass_within_a_minute() {
        let (mut counter, mut now) = counter(300);
        for number in 0..32 {
            assert!(counter.admit(ip("10.0.0.1"), false, now), "{number}");
        }
        for _ in 0..6 {
            assert!(!counter.admit(ip("10.0.0.1"), false, now));
            assert!(counter.admit(ip("10.0.0.2"), false, now), "another address");
            now = now.after(Duration::from_secs(10));
        }
        assert!(counter.admit(ip("10.0.0.1"), false, now), "a minute since the last accepted one");
    }

    #[test]
    fn new_ids_have_their_own_bound() {
        let (mut counter, mut now) = counter(2);
        assert!(counter.admit(ip("10.0.0.1"), true, now));
        assert!(counter.admit(ip("10.0.0.1"), true, now));
        assert!(!counter.admit(ip("10.0.0.1"), true, now));
        assert!(counter.admit(ip("10.0.0.1"), false, now), "known ids pass");
        now = now.after(Duration::from_secs(86_400));
        assert!(counter.admit(ip("10.0.0.1"), true, now));
    }

    #[test]
    fn an_ipv6_customer_is_one_address() {
        let (mut counter, now) = counter(1);
        assert!(counter.admit(ip("2001:db8::1"), true, now));
        assert!(!counter.admit(ip("2001:db8::ffff:2"), true, now));
        assert!(counter.admit(ip("2001:db8:0:1::1"), true, now));
    }

    #[test]
    fn tables_stay_within_their_bound() {
        let mut map: Fading<u32, u32> = Fading::new(Duration::from_secs(60), 100);
        let mut now = Tick::NEVER.after(START);
        for key in 0..10_000 {
            *map.entry(key, now) += 1;
            assert!(map.held() <= 100);
            assert_eq!(map.get(&key), Some(&1));
        }
        *map.entry(9_960, now) += 1;
        assert_eq!(map.get(&9_960), Some(&2), "what is used stays");
        now = now.after(Duration::from_secs(60));
        map.entry(0, now);
        now = now.after(Duration::from_secs(60));
        map.entry(0, now);
        assert_eq!(map.held(), 1, "what is not goes with time");
    }
}
