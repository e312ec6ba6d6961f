//! Wrong passwords, counted per address for the whole host (session §2.9).

use hbb_common::addr::normalize_ip;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// More failures than this within [`WINDOW`] and the next attempt has to wait.
const PER_WINDOW: u32 = 6;
const WINDOW: Duration = Duration::from_secs(60);

/// More failures than this since the last success and the address is refused for good.
const IN_ALL: u32 = 30;

/// IPv6 users own whole prefixes: bits of the prefix and the failures it may have.
const PREFIXES: [(u32, u32); 3] = [(64, 60), (56, 80), (48, 100)];

/// Addresses and prefixes remembered. When they are too many, the one with the fewest failures that was
/// not heard of for longest is forgotten, so that a flood of addresses does not buy a fresh start.
const REMEMBERED: usize = 4096;

/// Why a password is not even looked at. The text is what the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    #[error("Please try 1 minute later")]
    Minute,
    #[error("Too many wrong attempts")]
    Address,
    #[error("Too many wrong attempts for IPv6 prefix /{0}")]
    Prefix(u32),
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    in_all: u32,
    in_window: u32,
    window: Instant,
}

/// The memory of failed logins that all connections of a host share.
#[derive(Debug, Default)]
pub struct Attempts {
    failures: Mutex<HashMap<(IpAddr, u32), Failures>>,
}

impl Attempts {
    /// Whether a proof from `ip` is to be looked at now.
    pub fn check(&self, ip: IpAddr, now: Instant) -> Result<(), Limit> {
        let failures = self.lock();
        let ip = normalize_ip(ip);
        if let Some(own) = failures.get(&(ip, 0)) {
            if own.in_all > IN_ALL {
                return Err(Limit::Address);
            }
            if own.in_window > PER_WINDOW && now < own.window + WINDOW {
                return Err(Limit::Minute);
            }
        }
        for (bits, most) in PREFIXES {
            let Some(key) = prefix(ip, bits) else { break };
            if failures.get(&key).is_some_and(|f| f.in_all > most) {
                return Err(Limit::Prefix(bits));
            }
        }
        Ok(())
    }

    pub fn failed(&self, ip: IpAddr, now: Instant) {
        let mut failures = self.lock();
        let ip = normalize_ip(ip);
        let prefixes = PREFIXES.iter().filter_map(|(bits, _)| prefix(ip, *bits));
        for key in std::iter::once((ip, 0)).chain(prefixes) {
            if failures.len() >= REMEMBERED && !failures.contains_key(&key) {
                forget_least(&mut failures);
            }
            let entry = failures.entry(key).or_insert(Failures { in_all: 0, in_window: 0, window: now });
            if now >= entry.window + WINDOW {
                (entry.in_window, entry.window) = (0, now);
            }
            entry.in_all = entry.in_all.saturating_add(1);
            entry.in_window = entry.in_window.saturating_add(1);
        }
    }

    /// The address knows the password: its own failures are forgotten, its prefixes' are not.
    pub fn succeeded(&self, ip: IpAddr) {
        self.lock().remove(&(normalize_ip(ip), 0));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(IpAddr, u32), Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn prefix(ip: IpAddr, bits: u32) -> Option<(IpAddr, u32)> {
    let IpAddr::V6(v6) = ip else { return None };
    let kept = u128::from(v6) & (u128::MAX << (128 - bits));
    Some((Ipv6Addr::from(kept).into(), bits))
}

fn forget_least(failures: &mut HashMap<(IpAddr, u32), Failures>) {
    let least = failures.iter().min_by_key(|(_, f)| (f.in_all, f.window)).map(|(key, _)| *key);
    if let Some(key) = least {
        failures.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn seven_failures_a_minute_and_thirty_one_in_all() {
        let attempts = Attempts::default();
        let mut now = Instant::now();
        let mut in_all = 0;
        while in_all < 31 {
            for _ in 0..7 {
                if attempts.check(IP, now) == Err(Limit::Address) {
                    break;
                }
                assert_eq!(attempts.check(IP, now), Ok(()));
                attempts.failed(IP, now);
                in_all += 1;
            }
            if in_all < 31 {
                assert_eq!(attempts.check(IP, now + WINDOW - Duration::from_millis(1)), Err(Limit::Minute));
            }
            now += WINDOW;
        }
        assert_eq!(attempts.check(IP, now), Err(Limit::Address));
        assert_eq!(attempts.check("192.0.2.2".parse().unwrap(), now), Ok(()), "others are not concerned");
    }

    #[test]
    fn a_success_clears_the_address() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for _ in 0..7 {
            attempts.failed(IP, now);
        }
        assert_eq!(attempts.check("::ffff:192.0.2.1".parse().unwrap(), now), Err(Limit::Minute));
        attempts.succeeded(IP);
        assert_eq!(attempts.check(IP, now), Ok(()));
    }

    #[test]
    fn a_prefix_is_refused_whatever_its_addresses() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for i in 0..61_u16 {
            attempts.failed(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, i + 1)), now);
        }
        let neighbour = "2001:db8:0:1::ffff".parse().unwrap();
        assert_eq!(attempts.check(neighbour, now), Err(Limit::Prefix(64)));
        assert_eq!(attempts.check("2001:db8:0:2::1".parse().unwrap(), now), Ok(()));
        assert_eq!(Limit::Prefix(64).to_string(), "Too many wrong attempts for IPv6 prefix /64");
    }

    #[test]
    fn memory_is_bounded_and_the_worst_are_kept() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for _ in 0..31 {
            attempts.failed(IP, now);
        }
        for i in 0..10_000_u32 {
            attempts.failed(IpAddr::V4(i.into()), now);
        }
        assert!(attempts.lock().len() <= REMEMBERED);
        assert_eq!(attempts.check(IP, now), Err(Limit::Address));
    }
}
