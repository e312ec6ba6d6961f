//! The bandwidth caps in force, and what one pair may move under them.

use super::{
    budget::{FairShare, TokenBucket},
    config::{Bandwidth, Downgrade},
};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// The relay's locks guard plain values that are consistent between any two statements, so a panic of
/// another holder does not matter.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Group = Arc<Mutex<TokenBucket>>;

/// Shared by all pairs. Can be changed while they run.
#[derive(Debug)]
pub(super) struct Caps {
    /// Whether there is any cap: without one a pair asks no further.
    any: AtomicBool,
    /// No cap is `u64::MAX`.
    per_pair: AtomicU64,
    per_ip: AtomicU64,
    slow: AtomicU64,
    total: Mutex<Option<FairShare>>,
    downgrade: Mutex<Option<Downgrade>>,
    groups: Mutex<HashMap<IpAddr, Weak<Mutex<TokenBucket>>>>,
}

impl Caps {
    pub(super) fn new(bandwidth: &Bandwidth, now: Instant) -> Self {
        let caps = Self {
            any: AtomicBool::new(false),
            per_pair: AtomicU64::new(u64::MAX),
            per_ip: AtomicU64::new(u64::MAX),
            slow: AtomicU64::new(u64::MAX),
            total: Mutex::new(None),
            downgrade: Mutex::new(None),
            groups: Mutex::default(),
        };
        caps.set(bandwidth, now);
        caps
    }

    pub(super) fn set(&self, to: &Bandwidth, now: Instant) {
        self.per_pair.store(to.per_pair.unwrap_or(u64::MAX), Relaxed);
        self.per_ip.store(to.per_ip.unwrap_or(u64::MAX), Relaxed);
        self.slow.store(to.slow.unwrap_or(u64::MAX), Relaxed);
        *lock(&self.total) = to.total.map(|total| FairShare::new(total, now));
        *lock(&self.downgrade) = to.downgrade;
        let any = [to.total, to.per_pair, to.per_ip, to.slow].iter().any(Option::is_some);
        self.any.store(any, Relaxed);
    }

    /// The bucket that all pairs of an address share.
    fn group(&self, ip: IpAddr, now: Instant) -> Group {
        let mut groups = lock(&self.groups);
        if let Some(group) = groups.get(&ip).and_then(Weak::upgrade) {
            return group;
        }
        // As many dead entries as living ones at most, at an amortised constant price.
        if groups.len() == groups.capacity() {
            groups.retain(|_, group| group.strong_count() > 0);
        }
        let group = Arc::new(Mutex::new(TokenBucket::new(now)));
        groups.insert(ip, Arc::downgrade(&group));
        group
    }

    /// Whether a pair has used so much for so long that it is slowed down for good.
    pub(super) fn downgrades(&self, age: Duration, bytes: u64) -> bool {
        let Some(rule) = *lock(&self.downgrade) else { return false };
        let cap = self.per_pair.load(Relaxed);
        if age < rule.after || cap == u64::MAX {
            return false;
        }
        let average = u128::from(bytes) * 1000 / age.as_millis().max(1);
        average * 100 > u128::from(cap) * u128::from(rule.percent)
    }
}

/// What one pair has used.
#[derive(Debug)]
pub(super) struct Throttle {
    own: TokenBucket,
    /// One of its addresses is on the slow list.
    pub(super) slow: bool,
    pub(super) downgraded: bool,
    ips: [IpAddr; 2],
    groups: Option<Box<[Group]>>,
    /// The windows of the fair share in which it last moved something, and was last told to wait.
    active: u64,
    limited: u64,
}

impl Throttle {
    pub(super) fn new(sides: [SocketAddr; 2], slow: bool, now: Instant) -> Self {
        Self {
            own: TokenBucket::new(now),
            slow,
            downgraded: false,
            ips: sides.map(|a| a.ip()),
            groups: None,
            active: 0,
            limited: 0,
        }
    }

    /// How many bytes may move now, or for how long none.
    pub(super) fn look(&mut self, caps: &Caps, now: impl FnOnce() -> Instant) -> Result<usize, Duration> {
        if !caps.any.load(Relaxed) {
            return Ok(usize::MAX);
        }
        let now = now();
        let mut rate = caps.per_pair.load(Relaxed);
        if self.slow || self.downgraded {
            rate = rate.min(caps.slow.load(Relaxed));
        }
        let mut most = usize::MAX;
        let mut fair = lock(&caps.total);
        let share = fair.as_mut().map(|fair| fair.look(now));
        if let Some((share, _)) = share {
            rate = rate.min(share);
        }
        if rate != u64::MAX {
            match self.own.look(rate, now) {
                Ok(n) => most = n,
                Err(wait) => {
                    if let (Some(fair), Some((share, window))) = (fair.as_mut(), share)
                        && share <= rate
                    {
                        let first = std::mem::replace(&mut self.limited, window) != window;
                        return Err(fair.limited(wait, first));
                    }
                    return Err(wait);
                }
            }
        }
        drop(fair);
        let rate = caps.per_ip.load(Relaxed);
        if rate != u64::MAX {
            for group in self.groups(caps, now) {
                most = most.min(lock(group).look(rate, now)?);
            }
        }
        Ok(most)
    }

    /// Bytes that did move.
    pub(super) fn spend(&mut self, caps: &Caps, bytes: usize) {
        if !caps.any.load(Relaxed) {
            return;
        }
        self.own.spend(bytes);
        if let Some(fair) = lock(&caps.total).as_mut() {
            let window = fair.window();
            fair.moved(bytes, self.active != window);
            self.active = window;
        }
        if caps.per_ip.load(Relaxed) != u64::MAX {
            for group in self.groups.iter().flatten() {
                lock(group).spend(bytes);
            }
        }
    }

    /// Looked up when they are first needed; one if both sides have one address.
    fn groups(&mut self, caps: &Caps, now: Instant) -> &[Group] {
        let [first, second] = self.ips;
        self.groups.get_or_insert_with(|| {
            let mut groups = vec![caps.group(first, now)];
            if first != second {
                groups.push(caps.group(second, now));
            }
            groups.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn throttle(first: &str, second: &str, now: Instant) -> Throttle {
        Throttle::new([first, second].map(|a| SocketAddr::new(a.parse().unwrap(), 1)), false, now)
    }

    /// Bytes that a pair which always wants more gets in a second.
    fn drink(throttle: &mut Throttle, caps: &Caps, start: Instant) -> usize {
        let (mut now, mut got) = (start, 0);
        while now < start + MS * 1000 {
            match throttle.look(caps, || now) {
                Ok(most) => {
                    let n = most.min(10_000);
                    throttle.spend(caps, n);
                    got += n;
                    now += MS / 10;
                }
                Err(wait) => now += wait,
            }
        }
        got
    }

    #[test]
    fn the_lowest_cap_holds() {
        let start = Instant::now();
        let about = |n: usize| n * 9 / 10..n * 11 / 10;
        let mut bandwidth =
            Bandwidth { per_pair: Some(1_000_000), slow: Some(100_000), ..Default::default() };
        let caps = Caps::new(&bandwidth, start);
        let mut pair = throttle("10.0.0.1", "10.0.0.2", start);
        assert!(about(1_000_000).contains(&drink(&mut pair, &caps, start)));
        pair.slow = true;
        assert!(about(100_000).contains(&drink(&mut pair, &caps, start + MS * 1100)));
        pair.slow = false;
        bandwidth.per_ip = Some(500_000);
        caps.set(&bandwidth, start);
        assert!(about(500_000).contains(&drink(&mut pair, &caps, start + MS * 2200)));
        bandwidth.total = Some(200_000);
        caps.set(&bandwidth, start + MS * 3300);
        assert!(about(200_000).contains(&drink(&mut pair, &caps, start + MS * 3300)));
    }

    #[test]
    fn an_address_has_one_bucket_for_all_its_pairs() {
        let now = Instant::now();
        let bandwidth = Bandwidth { per_ip: Some(1_000_000), ..Default::default() };
        let caps = Caps::new(&bandwidth, now);
        let mut one = throttle("10.0.0.1", "10.0.0.2", now);
        let mut two = throttle("10.0.0.3", "10.0.0.1", now);
        let mut other = throttle("10.0.0.3", "10.0.0.4", now);
        assert!(one.look(&caps, || now).is_ok());
        one.spend(&caps, 50_000);
        assert!(two.look(&caps, || now).is_err());
        assert!(other.look(&caps, || now).is_ok());
    }

    #[test]
    fn a_pair_is_downgraded_for_its_average_since_the_start() {
        let bandwidth =
            Bandwidth { per_pair: Some(1000), downgrade: Some(Downgrade::default()), ..Default::default() };
        let caps = Caps::new(&bandwidth, Instant::now());
        let age = Duration::from_secs(1800);
        assert!(!caps.downgrades(age - MS, 10_000_000), "too young");
        assert!(!caps.downgrades(age, 1800 * 660));
        assert!(caps.downgrades(age, 1800 * 661));
    }
}
